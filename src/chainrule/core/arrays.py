"""Arrays: what layers and losses compute with, and what only looks like it.

Many objects look like an array of numbers, and NumPy accepts them all:

    np.matrix           X * Y is a matrix product
    a masked array      np.asarray reveals the numbers that it hides
    a sparse matrix     np.asarray makes one Python object of it
    a table             its columns may hold text, dates or missing values
    bytes swapped       dtype ">f4" is not float32, but holds the same numbers

What a user passes as data goes through `as_array` once: it returns a plain array of real numbers,
or raises an error that says what the object is. A layer's ``forward`` and a loss convert nothing;
they take what `is_array` accepts.

Arrays of the user are passed on as `read_only` views, so no layer, loss or metric can change them.
"""

from __future__ import annotations

import functools
import numbers
from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, NoReturn, ParamSpec, TypeVar

import numpy as np

from chainrule.core.errors import ChainruleError, DataError, DefinitionError, DtypeError, ShapeError
from chainrule.core.types import Array

P = ParamSpec("P")
R = TypeVar("R")

REAL = "fiub"
"""The kinds of dtypes that hold real numbers."""


def as_array(name: str, given: Any) -> Array:
    """The plain array of real numbers, in native byte order, that an object holds.

    Parameters
    ----------
    name
        What the object is called in an error message.
    given
        An array, a list, a table, a tensor: anything that NumPy converts to an array.

    Raises
    ------
    DtypeError
        It does not hold real numbers only, or it is a sparse matrix.
    DataError
        Some of its values are masked or missing.
    ShapeError
        It is a list of rows of different shapes.
    """
    array = given
    if type(given) is not np.ndarray:
        if type(given) not in WITHOUT_MASK:
            _refuse_hidden(name, given)
        array = _converted(name, given)
    dtype = array.dtype
    if dtype.kind not in REAL:
        _refuse_content(name, given, array)
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def is_array(given: Any) -> bool:
    """Whether a layer or a loss can compute with an object as it is.

    That is a plain array, or an array of another library that handles NumPy's functions itself.
    """
    kind = type(given)
    if kind is np.ndarray:
        return True
    if issubclass(kind, np.ndarray):
        return not issubclass(kind, np.matrix | np.ma.MaskedArray)
    return hasattr(kind, "__array_function__") and isinstance(
        getattr(given, "dtype", None), np.dtype
    )


def has_values(array: Any) -> bool:
    """Whether code can look at the numbers of an array, and choose its way by them.

    An array that writes down what is computed has none yet. Code that would choose the faster of
    two ways must take the one that is right for all numbers.
    """
    return getattr(array, "has_values", True) is True


def places(count: int, model: Any) -> Any:
    """The integers from 0 to below ``count``: of an array without numbers, if the model is one."""
    return np.arange(count) if has_values(model) else np.arange(count, like=model)


def as_operation(function: Callable[P, R]) -> Callable[P, R]:
    """A decorator for what some arrays do in one piece, such as a convolution.

    NumPy asks arrays of other libraries before it calls its functions; likewise this asks the first
    argument that has a method ``__layer_function__(function, args, kwargs)``. If that returns
    NotImplemented, the function is called as usual.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for given in args[:2]:
            if type(given) is np.ndarray:
                break
            ask = getattr(type(given), "__layer_function__", None)
            if ask is not None:
                result: R = ask(given, call, args, kwargs)
                if result is not NotImplemented:
                    return result
                break
        return function(*args, **kwargs)

    return call


def look_alike(given: Any) -> str | None:
    """What an object is that looks like an array but is none; None for anything else."""
    if is_array(given):
        return None
    if isinstance(given, np.matrix):
        return "a np.matrix, whose * is a matrix product"
    if isinstance(given, np.ma.MaskedArray):
        return "a masked array, which hides some of its values"
    if _is_sparse(given):
        return f"a sparse matrix ({type(given).__name__})"
    if hasattr(given, "shape") and hasattr(given, "dtype"):
        module = type(given).__module__.partition(".")[0]
        return f"a {type(given).__name__} of {module}"
    return None


def hint_to_convert(given: Any, example: str) -> str:
    """How to convert what looks like an array to a plain one."""
    if _is_sparse(given):
        return f"{example}.toarray()"
    if isinstance(given, np.ma.MaskedArray):
        return f"{example}.filled(…), or leave those rows out"
    return f"np.asarray({example})"


def read_only(array: Any) -> Any:
    """A view of an array that cannot be written into; anything else unchanged."""
    if type(array) is not np.ndarray or not array.flags.writeable:
        return array
    view = array.view()
    view.setflags(write=False)  # several times faster than view.flags.writeable = False
    return view


def refuse_write(error: BaseException, place: str) -> None:
    """Raise the named error if code wrote into an array that is read-only; see `write_error`."""
    named = write_error(error, place)
    if named is not None:
        raise named from error


def write_error(error: BaseException, place: str | None = None) -> DefinitionError | None:
    """The named error for NumPy's own if code wrote into an array that is read-only, else None.

    Parameters
    ----------
    error
        What was raised.
    place
        Which code raised it.
    """
    if not isinstance(error, ValueError) or "read-only" not in str(error):
        return None
    if isinstance(error, ChainruleError):
        return None
    named = DefinitionError(
        "an array that is read-only was written into",
        place=place,
        expected="layers, losses and metrics that leave the arrays they are given unchanged",
        received=str(error),
        hint="compute a new array, such as y = x - 1, or work on a copy: x = x.copy()",
    )
    named.__cause__ = error
    return named


# ------------------------------------------------------------------------------- what is hidden


def _refuse_hidden(name: str, given: Any, depth: int = 0) -> None:
    """Raise an error for masked values and sparse matrices, also within lists."""
    if isinstance(given, np.ma.MaskedArray):
        if np.ma.is_masked(given):
            raise DataError(
                f"{name} has masked values, which would be used as if they were not masked",
                expected="an array without masked values",
                received=f"{int(np.ma.getmaskarray(given).sum()):,} of {given.size:,} numbers "
                f"masked{' in an item of a list' if depth else ''}",
                hint="remove those rows, or replace the values with .filled(…)",
            )
    elif _is_sparse(given):
        raise DtypeError(
            f"{name} is a sparse matrix, not an array"
            if not depth
            else f"{name} contains a sparse matrix",
            expected="an array of real numbers",
            received=f"{type(given).__name__}, a sparse matrix of shape {given.shape}",
            hint="use its .toarray()",
        )
    elif hasattr(given, "collect_schema") and not hasattr(given, "to_numpy"):
        raise DtypeError(
            f"{name} is a query that has not run yet",
            expected="an array of real numbers",
            received=f"a {type(given).__name__}",
            hint="run it: .collect() gives its table",
        )
    elif callable(getattr(given, "null_count", None)):
        _refuse_hidden_in_columns(name, given)
    elif (
        isinstance(given, list | tuple | deque)
        and depth < DEEPEST
        and not set(map(type, given)) <= WITHOUT_MASK
    ):
        for item in given:
            _refuse_hidden(name, item, depth + 1)


def _refuse_hidden_in_columns(name: str, given: Any) -> None:
    """Raise an error for nulls and dates of polars, which NumPy turns into NaN and into days."""
    dates = [
        f"{column!r} ({dtype})" if column else str(dtype)
        for column, dtype in _dtypes_of(given).items()
        if dtype.is_temporal()
    ]
    if dates:
        raise DtypeError(
            f"{name} has dates or times, which are not numbers",
            expected="an array of real numbers",
            received=f"{type(given).__name__} with {', '.join(dates[:3])}",
            hint="subtract the first one, and use .dt.total_seconds()",
        )
    missing = int(np.sum(np.asarray(given.null_count())))
    if missing:
        raise DataError(
            f"{name} has missing values",
            expected="an array of real numbers",
            received=f"{type(given).__name__} with {missing:,} null{'s' * (missing > 1)}",
            hint="remove those rows with .drop_nulls(), or replace the values with .fill_null(…)",
        )


WITHOUT_MASK = {int, float, bool, np.ndarray, np.float64, np.float32, np.int64, np.bool_}
"""The most common types of items in a list; none of them hides anything."""

DEEPEST = 64
"""How many axes an array of NumPy has at most."""


def _is_sparse(given: Any) -> bool:
    return hasattr(given, "nnz") and (hasattr(given, "toarray") or hasattr(given, "todense"))


# ------------------------------------------------------------------------------- conversion


def _converted(name: str, given: Any) -> Array:
    try:
        array = np.asarray(given)
    except (ChainruleError, MemoryError):
        raise
    except Exception as error:
        if isinstance(given, list | tuple | deque) and "inhomogeneous" in str(error):
            raise ShapeError(
                f"the rows of {name} do not all have the same shape",
                expected="the same number of values in each row",
                received=f"{type(given).__name__} of {len(given):,} rows of different shapes"
                f"{_first_of_another_shape(given)}",
            ) from error
        raise DtypeError(
            f"{name} cannot be converted to an array",
            expected="an array of real numbers",
            received=f"{type(given).__name__}; {type(error).__name__}: {error}",
            hint="x.to_dataarray().T is one array of its variables"
            if hasattr(given, "to_dataarray")
            else None,
        ) from error
    if array.dtype.kind == "O" and hasattr(given, "to_numpy"):
        return _of_table(name, given, array)
    return array


def _first_of_another_shape(given: Any) -> str:
    try:
        shapes = [np.shape(row) for row in given]
    except ValueError:
        return ""
    number = next((n for n, shape in enumerate(shapes) if shape != shapes[0]), None)
    return "" if number is None else f": row {number} has {shapes[number]}, row 0 has {shapes[0]}"


def _of_table(name: str, given: Any, array: Array) -> Array:
    """The array of a table or a column of pandas whose types NumPy does not have."""
    dtypes = _dtypes_of(given)
    if not dtypes or any(getattr(dtype, "kind", "O") not in REAL for dtype in dtypes.values()):
        return array
    missing = int(np.sum(np.asarray(given.isna())))
    if missing:
        raise DataError(
            f"{name} has missing values",
            expected="an array of real numbers",
            received=f"{type(given).__name__} in which {missing:,} of {array.size:,} values are NA",
            hint="remove those rows with .dropna(), or replace the values with .fillna(…)",
        )
    plain = [np.dtype(getattr(dtype, "numpy_dtype", dtype)) for dtype in dtypes.values()]
    return array.astype(np.result_type(*plain))


def _dtypes_of(given: Any) -> dict[str, Any]:
    """The dtype of each column of a table, or of the only one."""
    if hasattr(given, "columns") and hasattr(given, "dtypes"):
        return dict(zip(map(str, given.columns), given.dtypes, strict=False))
    return {"": given.dtype} if hasattr(given, "dtype") else {}


# ------------------------------------------------------------------------------- other content


def _refuse_content(name: str, given: Any, array: Array) -> NoReturn:
    """Raise the error for an array that does not hold real numbers."""
    kind = array.dtype.kind
    received = f"{type(given).__name__} of dtype {array.dtype}, shape {array.shape}"
    columns = [
        f"{column!r} ({kind})"
        for column, kind in _dtypes_of(given).items()
        if column and getattr(kind, "kind", "f") not in REAL
    ]
    if columns:
        received += f"; columns without numbers: {', '.join(columns[:3])}"
    if kind == "O":
        others = islice((v for v in array.flat if not isinstance(v, numbers.Real)), 1)
        kind = "numbers"
        for other in others:
            kind = "U" if isinstance(other, str | bytes) else "O"
            if not columns:
                received += f"; it contains {other!r:.40}, of type {type(other).__name__}"
    raise DtypeError(
        f"{name} does not hold real numbers",
        expected="an array of real numbers",
        received=received,
        hint=HINTS.get("dict" if isinstance(given, Mapping) else kind),
    )


TEXT = (
    "to convert names to labels: names, labels = np.unique(…, return_inverse=True); "
    "leave out columns of text, or encode them"
)

HINTS = {
    "dict": "pass the arrays as a tuple, in the order of the inputs: tuple(….values())",
    "O": "make it one array of numbers, with rows of equal length",
    "numbers": "np.asarray(…, dtype=float)",
    "U": TEXT,
    "T": TEXT,
    "S": TEXT,
    "c": "pass the real and imaginary parts as two columns",
    "M": "convert them to numbers, such as (dates - dates[0]) / np.timedelta64(1, 's')",
    "m": "divide by a unit, such as np.timedelta64(1, 's')",
    "V": "np.lib.recfunctions.structured_to_unstructured(…) makes columns of the fields",
}
