"""Labels: what is predicted from the rows of a table keeps the labels of these rows.

    DataFrame, Series of pandas     the index
    DataFrame, Series of polars     none, but the result is a table of polars again
    DataArray of xarray             the first dimension, with its coordinates

The columns of the result are new quantities, so the labels of the columns end here; an output with
more axes than a table of pandas or polars has stays an array. Nothing is imported: a table exists
only if its library is loaded.
"""

from __future__ import annotations

import sys
from typing import Any


def labelled_like(given: Any, result: Any) -> Any:
    """A result with the labels of the rows that it was computed from.

    Parameters
    ----------
    given
        What the user passed: a table, or anything else; a tuple for several inputs, of which the
        first table counts.
    result
        An array with one row for each row of it, or a tuple of such arrays.
    """
    if isinstance(result, tuple):
        return tuple([labelled_like(given, part) for part in result])
    for table in given if isinstance(given, tuple) else (given,):
        for library, label in LABELLED.items():
            if type(table).__module__.partition(".")[0] == library and hasattr(table, "shape"):
                return label(sys.modules[library], table, result)
    return result


def _of_pandas(pandas: Any, table: Any, result: Any) -> Any:
    if result.ndim == 1:
        return pandas.Series(result, index=table.index)
    return pandas.DataFrame(result, index=table.index) if result.ndim == 2 else result


def _of_polars(polars: Any, table: Any, result: Any) -> Any:
    if result.ndim == 1:
        return polars.Series(result)
    return polars.DataFrame(result) if result.ndim == 2 else result


def _of_xarray(xarray: Any, table: Any, result: Any) -> Any:
    rows = table.dims[0]
    others = [f"output_{axis}" for axis in range(1, result.ndim)]
    names = ["output"] if len(others) == 1 else others
    kept = {name: axis for name, axis in table.coords.items() if axis.dims in ((), (rows,))}
    return xarray.DataArray(result, kept, (rows, *names))


LABELLED = {"pandas": _of_pandas, "polars": _of_polars, "xarray": _of_xarray}
"""How each library makes a table."""
