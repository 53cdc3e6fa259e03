"""The errors for outputs, targets and weights from which no cost can be computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from chainrule.core.arrays import hint_to_convert, is_array, look_alike
from chainrule.core.errors import ConfigurationError, DataError, DtypeError, ShapeError, shortened
from chainrule.core.types import Array

if TYPE_CHECKING:
    from chainrule.losses.loss import Loss


def name_of(loss: Loss) -> str:
    """The name of a loss in an error."""
    return type(loss).__name__


def description_of(thing: Any) -> str:
    """``float64 (3, 2)`` for an array; what it is, or type and repr, for anything else."""
    if is_array(thing):
        return f"{thing.dtype} {thing.shape}"
    return look_alike(thing) or f"{type(thing).__name__}: {shortened(thing)}"


def require_output(loss: Loss, y: Array) -> None:
    """Raise an error for anything that is not a single output of a model."""
    if isinstance(y, tuple):
        raise ShapeError(
            f"the model has {len(y)} outputs, but the loss is for one",
            place=name_of(loss),
            expected="one array, (batch, …)",
            received=", ".join(map(description_of, y)),
            hint="give one loss for each output: losses.PerOutput([…, …])",
        )
    if not is_array(y) or y.dtype.kind != "f":
        raise DtypeError(
            "the first argument must be the model's output, an array of floating-point numbers",
            place=name_of(loss),
            expected="float32 or float64, (batch, …)",
            received=description_of(y),
            hint=hint_to_convert(y, "y")
            if look_alike(y)
            else "give y first and the target second; convert other numbers with y.astype(float)",
        )
    if not y.ndim:
        raise ShapeError(
            "the model's output must have a batch axis",
            place=name_of(loss),
            expected="(batch, …)",
            received="a single number",
            hint="y.reshape(1, 1) is a batch of one sample with one output",
        )


def hint_for_own(loss: Loss) -> str:
    """What to add to a hint about a missing target, if the loss is the user's own."""
    is_own = type(loss).__module__.partition(".")[0] != "chainrule"
    return "; a loss of the output alone has takes_targets = False in its class" if is_own else ""


def require_numbers(loss: Loss, target: Array) -> None:
    """Raise an error for a target that is not an array of real numbers."""
    if not is_array(target):
        raise DtypeError(
            "the target must be an array",
            place=name_of(loss),
            expected="an array of numbers",
            received=description_of(target),
            hint="give the output and its target: loss(y, t)" + hint_for_own(loss)
            if target is None
            else hint_to_convert(target, "target"),
        )
    if target.dtype.kind not in "fiub":
        raise DtypeError(
            "the target does not contain real numbers",
            place=name_of(loss),
            expected="an array of real numbers",
            received=description_of(target),
            hint="turn names into labels: names, labels = np.unique(target, return_inverse=True)",
        )


def require_no_target(loss: Loss, target: Any) -> None:
    """Raise an error for a target of a loss that takes none."""
    if target is not None and not (is_array(target) and target.shape[1:] == (0,)):
        raise ConfigurationError(
            "the loss depends on the output alone, and a target was given",
            place=name_of(loss),
            expected="no target: loss(y), or fit(x)",
            received=description_of(target),
            hint="omit the target, or give None for it; to compare with it, use a loss such as "
            "MeanSquaredError",
        )


def require_each(
    loss: Loss,
    array: Array,
    good: Array,
    expected: str,
    hint: str = "correct these targets, or leave out their samples",
) -> None:
    """Raise an error if not every number of an array is good; the error names the first bad one."""
    if np.all(good):
        return
    bad = np.argwhere(~good)
    names = ("row", "column") if array.ndim <= 2 else ("index",) * array.ndim
    where = ", ".join(f"{name} {index}" for name, index in zip(names, bad[0], strict=False))
    raise DataError(
        f"{len(bad)} of {array.size} numbers cannot be used",
        place=f"{name_of(loss)}, {where}",
        expected=expected,
        received=f"{array[tuple(bad[0])]}",
        hint=hint,
    )


def wrong_shape(
    loss: Loss, y_shape: tuple[int, ...], target: Array, expected: str | None = None
) -> NoReturn:
    """Raise the error for a target that does not fit the output, with the likely fix."""
    shape, wanted = tuple(target.shape), (*y_shape[:1], *loss.target_shape(y_shape[1:]))
    is_own = wanted != y_shape
    hint = "give one target for each output: nothing is broadcast"
    if shape[:1] != y_shape[:1]:
        hint = "give one target for each sample"
    elif (*shape, 1) == wanted:
        hint = (
            "np.asarray(target)[:, np.newaxis] turns it into a column"
            if len(shape) == 1
            else "target[..., np.newaxis]"
        )
    elif shape == (*wanted, 1):
        hint = "target[..., 0] removes the axis of length one"
    elif is_own:
        hint = f"{name_of(loss)} takes targets of shape {wanted[1:]} for outputs of {y_shape[1:]}"
    elif expected is not None and shape == (*y_shape[:-1], 1):
        hint = "target[..., 0] gives labels"
    elif shape == y_shape[:-1] and target.dtype.kind in "iub":
        hint = (
            f"if these are labels: SoftmaxCrossEntropy, or one-hot, np.eye({y_shape[-1]})[target]"
        )
    elif len(y_shape) > 2 and len(shape) <= 2:
        between = range(1, len(y_shape) - 1)
        axes = f"ax{'e' if len(between) > 1 else 'i'}s {' and '.join(map(str, between))}"
        hint = (
            "the model has an output for each position: for one output for each sample, put "
            f"Flatten(), or a pool over {axes}, before the last Dense"
        )
    raise ShapeError(
        "the target does not have the shape that belongs to the model's output"
        if is_own
        else "the target does not have the shape of the model's output",
        place=name_of(loss),
        expected=expected or (f"{wanted}, for an output of {y_shape}" if is_own else y_shape),
        received=shape,
        hint=hint,
    )
