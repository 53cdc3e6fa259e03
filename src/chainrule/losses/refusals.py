"""Refusals: outputs, targets and weights that no cost can be made of, named by their place."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import numpy as np

from chainrule.core.errors import DataError, DtypeError, ShapeError
from chainrule.core.types import Array

if TYPE_CHECKING:
    from chainrule.losses.loss import Loss


def name_of(loss: Loss) -> str:
    """What a loss is called in an error."""
    return type(loss).__name__


def description_of(thing: object) -> str:
    """``float64 (3, 2)`` of an array, and what there is to say of anything else."""
    if hasattr(thing, "dtype") and hasattr(thing, "shape"):
        return f"{thing.dtype} {thing.shape}"
    return f"{type(thing).__name__}: {thing!r:.60}"


def require_output(loss: Loss, y: Array) -> None:
    """Refuse what is no output of a model."""
    if isinstance(y, tuple):
        raise ShapeError(
            f"{len(y)} outputs in a tuple, and a loss for one",
            place=name_of(loss),
            expected="one array, (batch, …)",
            received=", ".join(map(description_of, y)),
            hint="a loss for each output: losses.PerOutput([…, …])",
        )
    if not hasattr(y, "dtype") or y.dtype.kind != "f":
        raise DtypeError(
            "the first argument is the model's output, an array of floating-point numbers",
            place=name_of(loss),
            expected="float32 or float64, (batch, …)",
            received=description_of(y),
            hint="give y first and the target second; numbers of another kind: y.astype(float)",
        )
    if not y.ndim:
        raise ShapeError(
            "the model's output has a batch axis in front",
            place=name_of(loss),
            expected="(batch, …)",
            received="a single number",
            hint="y.reshape(1, 1) is a batch of one sample with one output",
        )


def require_numbers(loss: Loss, target: Array) -> None:
    """Refuse a target that is no array of real numbers."""
    if not hasattr(target, "dtype"):
        raise DtypeError(
            "the target is an array",
            place=name_of(loss),
            expected="an array of numbers",
            received=description_of(target),
            hint="np.asarray(target)",
        )
    if target.dtype.kind not in "fiub":
        raise DtypeError(
            "the target holds no real numbers",
            place=name_of(loss),
            expected="an array of real numbers",
            received=description_of(target),
            hint="names become labels by: names, labels = np.unique(target, return_inverse=True)",
        )


def require_each(
    loss: Loss,
    array: Array,
    good: Array,
    expected: str,
    hint: str = "correct these targets, or leave their samples out",
) -> None:
    """Refuse an array of which not every number is good; the error names the first."""
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
    """Raise the error for a target that does not fit the output, with the likely mend."""
    shape = tuple(target.shape)
    hint = "give one target for every output: nothing is broadcast"
    if shape[:1] != y_shape[:1]:
        hint = "give as many targets as there are samples"
    elif (*shape, 1) == y_shape:
        hint = (
            "target[:, np.newaxis] makes a column of it"
            if len(shape) == 1
            else "target[..., np.newaxis]"
        )
    elif shape == (*y_shape, 1):
        hint = "target[..., 0] takes the axis of length one away"
    elif expected is not None and shape == (*y_shape[:-1], 1):
        hint = "target[..., 0] gives labels"
    elif len(shape) == 1 and len(y_shape) == 2 and target.dtype.kind in "iub":
        hint = f"if these are labels: SoftmaxCrossEntropy, or one-hot, np.eye({y_shape[1]})[target]"
    raise ShapeError(
        "the target has another shape than the model's output",
        place=name_of(loss),
        expected=expected or y_shape,
        received=shape,
        hint=hint,
    )
