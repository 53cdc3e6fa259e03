"""What is accepted: arrays of finite real numbers, as many rows in each, and nothing else.

A number that is not finite spoils everything after it, and words, masks or rows of unequal length
are no numbers at all. What is refused is named by its array, its row and its column:

    x, row 17, column 3: nan        expected finite numbers only

Here are the looks; `chainrule.data.samples` and the batches say when each is taken.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

import numpy as np

from chainrule.core.errors import DataError, DtypeError, ShapeError
from chainrule.core.types import Array, Shape
from chainrule.data.sources import as_source, is_stored
from chainrule.losses import Loss

LOOKED_AT_ONCE = 2**20
"""How many numbers are looked at together, so that a large array needs no second one beside it."""


def require_finite(name: str, array: Array, rows: Array | None = None) -> None:
    """Raise a `DataError` that says where, if a number in the array is NaN or infinite.

    Parameters
    ----------
    name
        What the array is called.
    array
        All of it is looked at.
    rows
        The numbers that its rows have where they come from, if that is elsewhere.
    """
    if array.dtype.kind != "f":
        return
    at_once = max(1, LOOKED_AT_ONCE // max(1, array[:1].size))
    for start in range(0, len(array), at_once):
        if not np.isfinite(array[start : start + at_once]).all():
            refuse_entries(
                name,
                array,
                np.argwhere(~np.isfinite(array)),
                rows,
                problem="is not finite",
                expected="finite numbers only",
                hint="leave such rows out, or put numbers in them; np.isfinite finds them all",
            )


def as_numbers(name: str, given: Any) -> Array:
    """The array of real numbers that NumPy takes it for, with an axis for the rows.

    Raises
    ------
    DtypeError, ShapeError, DataError
        As `Data.of`.
    """
    if given is None:
        raise missing(name)
    if is_stored(given):
        return as_source(name, given).whole()
    if hasattr(given, "toarray") and hasattr(given, "nnz"):
        _refuse_kind(name, f"a sparse matrix of shape {given.shape}", "its .toarray()")
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise DataError(
            f"{name} is a masked array, and what is masked in it would be learned from too",
            expected="numbers that all count",
            received=f"{int(np.ma.getmaskarray(given).sum()):,} of {given.size:,} numbers masked",
            hint="leave those rows out, or put numbers there with .filled(…)",
        )
    try:
        array = np.asarray(given)
    except Exception as error:
        if isinstance(given, list | tuple):
            raise ShapeError(
                f"the rows of {name} are not all of the same shape",
                expected="as many numbers in each row",
                received=f"{type(given).__name__} of {len(given):,} rows of different shapes",
            ) from error
        raise DtypeError(
            f"{name} cannot be made an array",
            expected="an array of real numbers",
            received=f"{type(given).__name__}; {type(error).__name__}: {error}",
        ) from error
    if array.dtype.kind not in "fiub":
        described = f"{type(given).__name__} of dtype {array.dtype}, shape {array.shape}"
        mends = {
            "O": "np.asarray(…, dtype=float), if there are only numbers in it",
            "c": "give real and imaginary part as two columns",
            "U": "names become labels by: names, labels = np.unique(…, return_inverse=True)",
        }
        _refuse_kind(name, described, mends.get(array.dtype.kind))
    if not array.ndim:
        raise ShapeError(
            f"{name} is a single number, and no array of samples",
            expected="an array whose axis 0 counts the samples",
            received=f"{given!r:.60}",
        )
    return array


def as_targets(name: str, given: Any, outputs: int, samples: int) -> tuple[Any, ...]:
    """What was given for each of the outputs, if it is a tuple of as many."""
    if outputs == 1:
        _refuse_several(name, given, samples)
        return (given,)
    if given is None:
        raise missing(name)
    if isinstance(given, tuple) and len(given) == outputs:
        return given
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
        hint=f"put the targets in a tuple, in the order of the outputs: {arrays}",
    )


def _refuse_several(name: str, given: Any, samples: int) -> None:
    """Refuse a tuple of targets, where it cannot be a tuple of the rows of one."""
    if not isinstance(given, tuple) or len(given) in (1, samples):
        return
    if given and all(hasattr(part, "__len__") for part in given):
        raise ShapeError(
            f"{name} is a tuple of targets, and there is a loss for one output",
            expected=f"one array of {samples:,} rows",
            received=f"a tuple of {len(given):,}",
            hint="one target for one output; for several, also a loss for each: "
            "Trainer(model, [loss_1, loss_2], …)",
        )


def fitted_target(
    name: str,
    target: Array,
    loss: Loss,
    row: Shape,
    dtype: np.dtype[Any],
    rows: Array | None = None,
) -> Array:
    """A target as the loss of its output takes it."""
    y_shape = (len(target), *row)
    try:
        loss.validate_targets(y_shape, target)
    except (ShapeError, DtypeError, DataError) as error:
        error.place = f"{name}, {_among(rows, error.place)}"
        raise
    if target.dtype.kind == "f" or target.shape == y_shape:  # else they are labels
        return converted(name, target, dtype, rows)
    return target


def _among(rows: Array | None, place: str | None) -> str | None:
    """The place of a row in a batch, with the number that it has among all rows."""
    if rows is None or place is None:
        return place
    return re.sub(r"\b(row|index) (\d+)", lambda m: f"{m[1]} {rows[int(m[2])]}", place, count=1)


def missing(name: str) -> DataError:
    """The error for data of which there are none."""
    return DataError(
        f"{name} is missing",
        expected="inputs x and targets t",
        received=f"no {name}",
        hint="fit(x, t); where the targets are the inputs themselves: fit(x, x)",
    )


def _refuse_kind(name: str, received: str, hint: str | None) -> NoReturn:
    raise DtypeError(
        f"{name} holds no real numbers",
        expected="an array of real numbers",
        received=received,
        hint=hint,
    )


def as_weights(name: str, given: Any, rows: Array | None = None) -> Array:
    """Sample weights: finite, and 0 or more."""
    weights = as_numbers(name, given)
    if weights.ndim != 1:
        raise ShapeError(
            f"{name} has one number for each sample",
            expected=(len(weights),),
            received=weights.shape,
            hint="its .ravel()" if weights.size == len(weights) else None,
        )
    require_finite(name, weights, rows)
    if (weights < 0).any():
        refuse_entries(
            name,
            weights,
            np.argwhere(weights < 0),
            rows,
            problem="is negative",
            expected="weights of 0 or more",
            hint="a weight of 0 leaves a sample out",
        )
    return weights


def require_equal_lengths(arrays: dict[str, Any]) -> None:
    """Refuse arrays that do not have a row each for the same samples, or have none."""
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(
            f"{' and '.join(lengths)} are not of the same length",
            expected="one row in each of them for each sample",
            received=", ".join(f"{name} with {length:,} rows" for name, length in lengths.items()),
            hint="samples are counted by axis 0; is one of the arrays transposed, or cut short?",
        )
    if not next(iter(lengths.values())):
        raise DataError(
            f"there are no samples in {' and '.join(lengths)}",
            expected="one row at least",
            received=", ".join(f"{name} of shape {array.shape}" for name, array in arrays.items()),
        )


def converted(name: str, array: Array, dtype: np.dtype[Any], rows: Array | None = None) -> Array:
    """The array in the model's type of numbers, if that can hold them all."""
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
    """Say which numbers they are: the first by its place, and how many in how many rows."""
    if rows is not None:
        bad = bad[np.argsort(rows[bad[:, 0]], kind="stable")]
    first = tuple(int(index) for index in bad[0])
    places = [f"row {first[0] if rows is None else rows[first[0]]}"]
    if array.ndim == 2:
        places.append(f"column {first[1]}")
    elif array.ndim > 2:
        places.append(f"index {first[1:]}")
    count, in_rows = len(bad), len(set(bad[:, 0].tolist()))
    total = f"{count:,} such numbers in {in_rows:,} rows of" if count > 1 else "the only one in"
    those = "" if rows is None else " that were read together"
    raise DataError(
        f"a number in {name} {problem}",
        place=", ".join([name, *places]),
        expected=expected,
        received=f"{array[first]}; {total} {len(array):,}{those}",
        hint=hint,
    )
