"""Validation: data must be arrays of finite real numbers with equally many rows.

A number that is not finite spoils everything computed from it, and text, masks or rows of unequal
length are not numbers at all. Errors name the array, the row and the column:

    x, row 17, column 3: nan        expected finite numbers only

This module holds the checks; `chainrule.data.samples` and the batches decide when each is made.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

import numpy as np

from chainrule.core.arrays import as_array, read_only
from chainrule.core.errors import ConfigurationError, DataError, DtypeError, ShapeError, shortened
from chainrule.core.types import Array, Shape
from chainrule.data.sources import as_source, is_stored
from chainrule.losses import Loss
from chainrule.losses.loss import NOTHING
from chainrule.losses.messages import hint_for_own

TUPLE_OF_INPUTS = "pass several inputs as a tuple, (x_1, x_2), not as a list"

CHECKED_AT_ONCE = 2**20
"""How many numbers are checked at a time, so that a large array needs no temporary of its size."""


def require_finite(name: str, array: Array, rows: Array | None = None) -> None:
    """Raise a `DataError` that names the place if a number in the array is NaN or infinite.

    Parameters
    ----------
    name
        The name of the array.
    array
        The array to check.
    rows
        The row numbers in the full data, if the array is a selection of them.
    """
    if array.dtype.kind != "f":
        return
    at_once = max(1, CHECKED_AT_ONCE // max(1, array[:1].size))
    for start in range(0, len(array), at_once):
        if not np.isfinite(array[start : start + at_once]).all():
            refuse_entries(
                name,
                array,
                np.argwhere(~np.isfinite(array)),
                rows,
                problem="is not finite",
                expected="finite numbers only",
                hint="remove such rows, or replace the values; np.isfinite finds them all",
            )


def as_numbers(name: str, given: Any) -> Array:
    """The array of real numbers that an object holds, read-only, with an axis for the samples.

    Raises
    ------
    DtypeError, ShapeError, DataError
        As `Data.of`.
    """
    if given is None:
        raise missing(name)
    if is_stored(given):
        return as_source(name, given).whole()
    array = _as_array(name, given)
    if not array.ndim:
        raise ShapeError(
            f"{name} is a single number, not an array of samples",
            expected="an array whose axis 0 counts the samples",
            received=shortened(given),
        )
    return array


def as_targets(name: str, given: Any, outputs: int, samples: int) -> tuple[Any, ...]:
    """The targets of all outputs, from a tuple of as many.

    None becomes an array of the shape (samples, 0), which `fitted_target` accepts for a loss
    without targets.
    """
    if outputs == 1:
        _refuse_several(name, given, samples)
        given = (given,)
    elif given is None:
        given = (None,) * outputs
    if isinstance(given, tuple) and len(given) == outputs:
        return tuple([np.zeros((samples, *NOTHING)) if t is None else t for t in given])
    arrays = f"({', '.join(f't_{n + 1}' for n in range(outputs))})"
    received = type(given).__name__
    if hasattr(given, "shape"):
        received = f"one array of shape {given.shape}"
    elif hasattr(given, "__len__"):
        received = f"a {received} of {len(given):,}"
    raise ShapeError(
        f"{name} is not one target for each of {outputs} outputs",
        expected=f"{arrays}, a tuple of {outputs} arrays",
        received=received,
        hint=f"pass a tuple of targets, in the order of the outputs: {arrays}; if all have the "
        f"same, as in an Ensemble: (t,) * {outputs}",
    )


def _refuse_several(name: str, given: Any, samples: int) -> None:
    """Raise an error for a tuple of targets that cannot be the rows of a single one."""
    if not isinstance(given, tuple) or len(given) in (1, samples):
        return
    if given and all(hasattr(part, "__len__") for part in given):
        raise ShapeError(
            f"{name} is a tuple of targets, but the loss is for one output",
            expected=f"one array of {samples:,} rows",
            received=f"a tuple of {len(given):,}",
            hint="pass one target; for several outputs, pass a loss for each: "
            f"Trainer(model, [loss_1, loss_2], …), or [loss] * {len(given)}",
        )


def fitted_target(
    name: str,
    target: Array,
    loss: Loss,
    row: Shape,
    dtype: np.dtype[Any],
    rows: Array | None = None,
) -> Array:
    """A target, converted to what the loss of its output expects."""
    y_shape, shape = (len(target), *row), target.shape[1:]
    if loss.takes_targets and shape == NOTHING != row:
        raise missing(name, loss)
    try:
        loss.validate_targets(y_shape, target)
    except (ConfigurationError, ShapeError, DtypeError, DataError) as error:
        error.place = f"{name}, {_in_full_data(rows, error.place)}"
        raise
    if target.dtype.kind == "f" or shape == loss.target_shape(row):  # else they are labels
        return converted(name, target, dtype, rows)
    return target


def _in_full_data(rows: Array | None, place: str | None) -> str | None:
    """The place of a row in a batch, with its number in the full data."""
    if rows is None or place is None:
        return place
    return re.sub(r"\b(row|index) (\d+)", lambda m: f"{m[1]} {rows[int(m[2])]}", place, count=1)


def missing(name: str, loss: Loss | None = None) -> DataError:
    """The error for missing data, which a loss may need."""
    return DataError(
        f"{name} is missing",
        expected="inputs x and targets t",
        received=f"no {name}" if " of batch " not in name else "a batch that is not a pair (x, t)",
        hint="fit(x, t); if the targets are the inputs themselves: fit(x, x)"
        + ("" if loss is None else hint_for_own(loss)),
    )


def _as_array(name: str, given: Any) -> Array:
    try:
        array: Array = read_only(as_array(name, given))
        return array
    except ShapeError as error:
        if isinstance(given, list) and all(np.ndim(part) > 1 for part in given):
            error.hint = TUPLE_OF_INPUTS
        raise


def as_weights(
    name: str, given: Any, outputs: int, rows: Array | None = None
) -> tuple[Array | None, ...] | None:
    """Sample weights: finite numbers of either sign, for all outputs, or a tuple for each output.

    Returns a tuple with one array for all outputs, or one array or None for each; None for None.
    """
    each = given if is_for_each_output(given, outputs) else (given,)
    if all(weights is None for weights in each):
        return None
    names = [f"{name}[{n}]" if len(each) > 1 else name for n in range(len(each))]
    found: list[Array | None] = []
    for own_name, own in zip(names, each, strict=True):
        weights = None if own is None else as_numbers(own_name, own)
        if weights is not None:
            require_finite(own_name, weights, rows)
        found.append(weights)
    return tuple(found)


def is_for_each_output(given: Any, outputs: int) -> bool:
    """Whether these are sample weights for each output, rather than an array for all of them."""
    if outputs == 1 or not isinstance(given, tuple) or len(given) != outputs:
        return False
    return all(weights is None or hasattr(weights, "__len__") for weights in given)


def require_equal_lengths(arrays: dict[str, Any]) -> None:
    """Raise an error if the arrays differ in length or are empty."""
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(
            f"{' and '.join(lengths)} do not have the same length",
            expected="one row in each of them for each sample",
            received=", ".join(f"{name} with {length:,} rows" for name, length in lengths.items()),
            hint=_hint_for_inputs(arrays)
            or "axis 0 counts the samples; is one of the arrays transposed or truncated?",
        )
    if not next(iter(lengths.values())):
        raise DataError(
            f"there are no samples in {' and '.join(lengths)}",
            expected="at least one row",
            received=", ".join(f"{name} of shape {array.shape}" for name, array in arrays.items()),
        )


def _hint_for_inputs(arrays: dict[str, Any]) -> str | None:
    """The hint if a list of inputs has become the axis of the samples of one."""
    (first, x), *others = arrays.items()
    is_list_of_inputs = len(getattr(x, "shape", ())) > 2 and others
    if is_list_of_inputs and len(x) < x.shape[1] == len(others[0][1]):
        return f"{TUPLE_OF_INPUTS}; {first} is read as {len(x)} samples of shape {x.shape[1:]}"
    return None


def converted(name: str, array: Array, dtype: np.dtype[Any], rows: Array | None = None) -> Array:
    """The array in the dtype of the model, if that can represent all its numbers."""
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):
        result = array.astype(dtype)
    if np.can_cast(array.dtype, dtype) or np.isfinite(result).all():
        return result
    refuse_entries(
        name,
        array,
        np.argwhere(~np.isfinite(result)),
        rows,
        problem=f"is too large for the model, which computes in {dtype}",
        expected=f"numbers between ±{np.finfo(dtype).max:.3g}",
        hint="scale the column, or build the model with dtype='float64'",
    )


def refuse_entries(
    name: str,
    array: Array,
    bad: Array,
    rows: Array | None = None,
    *,
    problem: str,
    expected: str,
    hint: str | None,
) -> NoReturn:
    """Raise an error that names the first of the bad numbers and counts them and their rows."""
    if rows is not None:
        bad = bad[np.argsort(rows[bad[:, 0]], kind="stable")]
    first = tuple(int(index) for index in bad[0])
    places = [f"row {first[0] if rows is None else rows[first[0]]}"]
    if array.ndim == 2:
        places.append(f"column {first[1]}")
    elif array.ndim > 2:
        places.append(f"index {first[1:]}")
    count, in_rows = len(bad), len(set(bad[:, 0].tolist()))
    total = f"{count:,} such numbers in {in_rows:,} of" if count > 1 else "the only one in"
    selection = "" if rows is None else " read together"
    raise DataError(
        f"a number in {name} {problem}",
        place=", ".join([name, *places]),
        expected=expected,
        received=f"{array[first]}; {total} {len(array):,} rows{selection}",
        hint=hint,
    )
