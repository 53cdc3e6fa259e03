"""Labels: results computed from the rows of a table keep the labels of these rows.

    DataFrame, Series of pandas     the index
    DataFrame, Series of polars     there are none, but the result is a polars table again
    DataArray of xarray             the first dimension, with its coordinates

Predictions are new quantities, so they drop the column labels; residuals have the columns of the
targets. An output with more axes than a pandas or polars table can have stays an array. No library
is imported here: if you pass a table, its library is already loaded.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])


def keeps_labels(method: Method) -> Method:
    """Make a method of x, whose result has a row for each row of x, keep the labels of x."""

    @functools.wraps(method)
    def labelled(self: Any, x: Any, *args: Any, **named: Any) -> Any:
        return labelled_like(x, method(self, x, *args, **named))

    return labelled  # type: ignore[return-value]


def labelled_like(given: Any, result: Any, *, columns: bool = False) -> Any:
    """A result with the labels of the rows that it was computed from.

    Parameters
    ----------
    given
        What the user passed: a table, or anything else; a tuple for several inputs, of which the
        first table counts.
    result
        An array with one row for each row of it, or a tuple of such arrays.
    columns
        Whether the columns of the result are those of the table.
    """
    for table in given if isinstance(given, tuple) else (given,):
        for kind in type(table).__mro__:
            label = LABELLED.get((kind.__module__.partition(".")[0], kind.__name__))
            if label is not None:
                if isinstance(result, tuple):
                    return tuple([label(table, part, columns) for part in result])
                return label(table, result, columns)
    return result


def _of_pandas(table: Any, result: Any, columns: bool) -> Any:
    pandas: Any = sys.modules["pandas"]
    if result.ndim == 1:
        return pandas.Series(result, table.index, name=table.name if columns else None)
    if result.ndim == 2:
        return pandas.DataFrame(result, table.index, table.columns if columns else None)
    return result


def _of_polars(table: Any, result: Any, columns: bool) -> Any:
    polars: Any = sys.modules["polars"]
    if result.ndim == 1:
        return polars.Series(table.name if columns else "", result)
    if result.ndim == 2:
        return polars.DataFrame(result, table.columns if columns else None)
    return result


def _of_xarray(table: Any, result: Any, columns: bool) -> Any:
    xarray: Any = sys.modules["xarray"]
    if columns:
        return xarray.DataArray(result, table.coords, table.dims)
    first, *others = table.dims
    rows = table.isel(dict.fromkeys(others, 0), drop=True)  # with what has a value for each row
    outputs = [f"output_{axis}" for axis in range(1, result.ndim)]
    names = ["output"] if len(outputs) == 1 else outputs
    return xarray.DataArray(result, rows.coords, (first, *names))


LABELLED: dict[tuple[str, str], Callable[[Any, Any, bool], Any]] = {
    ("pandas", "DataFrame"): _of_pandas,
    ("pandas", "Series"): _of_pandas,
    ("polars", "DataFrame"): _of_polars,
    ("polars", "Series"): _of_polars,
    ("xarray", "DataArray"): _of_xarray,
}
"""How a result is labelled, by the library and the class of the table."""
