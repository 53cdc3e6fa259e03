"""Symbolic arrays: formulas that flow through NumPy's functions like numbers.

    x = Symbolic with entries x[0], x[1]        np.sum(x**2)   has the entry   x[0]² + x[1]²

A layer's ``forward``, written for arrays, returns what it computes as formulas when a `Symbolic`
flows in, and its ``backward`` the formula of every delta. NumPy dispatches its functions to a
`Symbolic` (NEP 13 for ufuncs, NEP 18 for all others, NEP 35 for ``like=``). Most of them only move
or add entries, and NumPy does this itself with arrays of objects; the others are in the tables of
this module and of `chainrule.calculus.symbolic.entries`.

What is asked of values is decided at one point, and recorded there: comparisons, ``argmax``, masks,
``if x.max() > 1``. What needs a plain number, such as ``float(x)``, is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from chainrule.calculus.array_methods import ArrayMethods
from chainrule.calculus.array_rules import CREATING, LINEAR, WRITING_RULES
from chainrule.calculus.messages import converting_call, name_of
from chainrule.calculus.symbolic.entries import (
    ELEMENTWISE,
    PREDICATES,
    Entry,
    Point,
    undecided,
)
from chainrule.core.errors import UndecidedError
from chainrule.core.types import Shape

FLOAT = np.dtype(np.float64)


def _refuse_conversion(what: str) -> Callable[..., NoReturn]:
    def call(self: Symbolic, *args: Any, **kwargs: Any) -> NoReturn:
        call, alternative = converting_call(what)
        raise undecided(
            f"{call}, which needs numbers",
            alternative or "np.* functions of the arrays that are given; new arrays with like=x",
        )

    return call


def _in_place(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    def call(self: Symbolic, other: Any) -> Any:
        return ufunc(self, other) if self.is_scalar else ufunc(self, other, out=(self,))

    return call


class Symbolic(ArrayMethods):
    """An array of formulas, each with its value at a point.

    Parameters
    ----------
    entries
        An array of objects: `Entry`, or floats for constants.

    Raises
    ------
    UndecidedError
        If a program asks for what formulas cannot answer: ``float(x)``, ``np.asarray(x)``, a
        comparison of equal values, a function that has no formula here.

    Examples
    --------
    >>> x = symbols(Point(), "x", np.array([0.5, 2.0]))
    >>> np.maximum(x, 1.0) * 3
    Symbolic([3.0, product(symbol(x[1]), number(3))])
    """

    __slots__ = ("entries", "is_scalar")
    __array_priority__ = 2000.0

    entries: Any
    is_scalar: bool
    """Whether NumPy would return a scalar here, which += does not change in place."""

    def __init__(self, entries: Any, *, is_scalar: bool = False) -> None:
        self.entries, self.is_scalar = entries, is_scalar

    # ---- NumPy's protocols

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """NumPy calls this instead of a ufunc (NEP 13)."""
        out = options.pop("out", None)
        if options.pop("where", True) is not True:
            raise undecided(
                f"{name_of(ufunc)} with where=, which leaves entries undefined",
                "np.where(condition, x, y)",
            )
        options.pop("dtype", None)
        if any(getattr(getattr(x, "dtype", None), "kind", "") == "c" for x in inputs):
            raise undecided("what complex numbers inside a layer do", "real arithmetic")
        arrays = [entries_of(x) for x in inputs]
        function = ELEMENTWISE.get(ufunc) or PREDICATES.get(ufunc)
        if method == "__call__" and function is not None:
            result = np.frompyfunc(function, ufunc.nin, 1)(*arrays)
            result = np.asarray(result, dtype=object)
            if ufunc in PREDICATES:
                return result.astype(bool)[()]
        elif method == "__call__" and ufunc in CONTRACTIONS:
            result = ufunc(*arrays, **options)
        elif method == "outer" and function is not None:
            a, b = inputs
            return ufunc(np.reshape(a, np.shape(a) + (1,) * np.ndim(b)), b)
        elif method != "__call__" and ufunc in FOLDED:
            result = getattr(ufunc, method)(*arrays, **options)
            if method == "at":
                return None
        else:
            name = name_of(ufunc) + ("" if method == "__call__" else f".{method}")
            raise undecided(f"{name}, which has no formula", "other functions of NumPy")
        if result is NotImplemented:
            return result
        return written(result, out) if out is not None else symbolic(result)

    def __array_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """NumPy calls this instead of any other function (NEP 18, and NEP 35 for ``like=``)."""
        if not all(issubclass(kind, Symbolic | np.ndarray) for kind in types):
            return NotImplemented
        if function in WRITTEN_OUT:
            options = dict(kwargs)
            out = options.pop("out", None)
            result = WRITTEN_OUT[function](*args, **options)
            return result if out is None else written(entries_of(result), out)
        if function not in PASSED_ON:
            raise undecided(f"{name_of(function)}, which has no formula", "other functions")
        if function in CREATING:
            return _created(function, args, kwargs)
        kwargs = dict(kwargs)
        out = kwargs.pop("out", None)
        if function in FILLING:
            kwargs["dtype"] = object
        elif "dtype" in kwargs:
            kwargs["dtype"] = None
        writes = function in WRITING_RULES
        if writes and not isinstance(args[0], Symbolic):
            raise _into_plain(name_of(function))
        with np.errstate(all="ignore"):
            result = function(
                *map(entries_of, args), **{k: entries_of(v) for k, v in kwargs.items()}
            )
        if writes:
            return None
        if function is np.empty_like:
            result = np.full(result.shape, np.nan, dtype=object)
        return written(result, out) if out is not None else symbolic(result)

    __array__ = _refuse_conversion("np.asarray(x), or assigning x into a plain array,")
    __float__ = _refuse_conversion("float(x), or assigning x into a plain array,")
    __int__ = _refuse_conversion("int(x)")
    __index__ = _refuse_conversion("an index from x")
    __complex__ = _refuse_conversion("complex(x)")
    item = _refuse_conversion("x.item()")
    tolist = _refuse_conversion("x.tolist()")
    tobytes = _refuse_conversion("x.tobytes()")

    # ---- attributes of an array

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        """The length of every axis."""
        return self.entries.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]
        """float64, for which formulas stand."""
        return FLOAT

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps through memory, in bytes."""
        return self.entries.strides  # type: ignore[no-any-return]

    @property
    def T(self) -> Any:  # noqa: N802  (NumPy's name)
        """The axes in reverse order."""
        return Symbolic(self.entries.T)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and hasattr(np.ndarray, name):
            raise undecided(f"x.{name}", "NumPy's functions: np.ravel(x), np.* of x")
        raise AttributeError(f"a Symbolic has no attribute {name!r}")

    def __bool__(self) -> bool:
        if self.size != 1:
            return bool(np.empty(self.shape))  # NumPy's error or warning
        entry = self.entries.ravel()[0]
        return bool(entry != 0)

    def __repr__(self) -> str:
        forms = np.vectorize(
            lambda entry: repr(entry.form) if isinstance(entry, Entry) else repr(entry),
            otypes=[object],
        )
        shown = np.array2string(
            forms(self.entries) if self.size else self.entries,
            separator=", ",
            formatter={"object": str},
            prefix="Symbolic(",
        )
        return f"Symbolic({shown})"

    def __getitem__(self, index: Any) -> Any:
        return symbolic(self.entries[_index(index)])

    def __setitem__(self, index: Any, item: Any) -> None:
        item = entries_of(item)
        if isinstance(item, np.ndarray) and item.ndim == 0:
            item = item[()]
        self.entries[_index(index)] = item

    def __pow__(self, exponent: Any) -> Any:
        return np.power(self, exponent)

    __iadd__ = _in_place(np.add)
    __isub__ = _in_place(np.subtract)
    __imul__ = _in_place(np.multiply)
    __itruediv__ = _in_place(np.divide)
    __ipow__ = _in_place(np.power)
    __ifloordiv__ = _in_place(np.floor_divide)
    __imod__ = _in_place(np.remainder)
    __imatmul__ = _in_place(np.matmul)

    def astype(self, dtype: Any, **options: Any) -> Any:
        """The same formulas, for a floating-point dtype."""
        if np.dtype(dtype).kind != "f":
            raise undecided(f"x.astype({np.dtype(dtype)})", "np.where(condition, x, y)")
        return Symbolic(self.entries.copy())


def symbols(point: Point, name: str, values: Any, first_row: int = 0) -> Symbolic:
    """An array of variables ``name[i, j]``, with these values at the point."""
    values = np.asarray(values)
    entries = np.empty(values.shape, dtype=object)
    for index, label in zip(np.ndindex(values.shape), labels(name, values.shape, first_row)):
        entries[index] = point.symbol(label, values[index])
    return Symbolic(entries)


def labels(name: str, shape: Shape, first_row: int = 0) -> list[str]:
    """The names of the variables of an array, in order: ``x[0, 0]``, ``x[0, 1]``, ..."""
    if not shape:
        return [name]
    indices = ((index[0] + first_row, *index[1:]) for index in np.ndindex(shape))
    return [f"{name}[{', '.join(map(str, index))}]" for index in indices]


def entries_of(x: Any) -> Any:
    """The entries of an argument of a NumPy function, also within lists."""
    if isinstance(x, Symbolic):
        return x.entries
    if isinstance(x, list | tuple) and any(isinstance(part, Symbolic) for part in x):
        parts = [entries_of(part) for part in x]
        if all(isinstance(part, Symbolic) and not part.shape for part in x):
            parts = [part[()] for part in parts]
        return type(x)(parts)
    return x


def symbolic(result: Any) -> Any:
    """The result of a function of entries, as a symbolic array; others as they are."""
    if isinstance(result, Entry | float):
        entries = np.empty((), dtype=object)
        entries[()] = result
        return Symbolic(entries, is_scalar=True)
    if isinstance(result, np.ndarray) and result.dtype == object:
        return Symbolic(result)
    if isinstance(result, list | tuple):
        parts = [symbolic(part) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    return result


def written(result: Any, out: Any) -> Any:
    """A result, written into what the caller has provided for it."""
    (out,) = out if isinstance(out, tuple) else (out,)
    if not isinstance(out, Symbolic):
        raise _into_plain("out=")
    out.entries[...] = result
    return out


def _into_plain(what: str) -> UndecidedError:
    return undecided(
        f"{what} with a plain array, into which a formula would be written",
        "np.zeros_like(x), or np.zeros(shape, like=x), makes an array for formulas",
    )


def _index(index: Any) -> Any:
    parts = index if isinstance(index, tuple) else (index,)
    if any(isinstance(part, Symbolic) for part in parts):
        raise undecided("x[i] with an index that is a formula", "np.where(condition, x, y)")
    return index


def _created(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """A new array of constants, or of what is given, ``like`` a symbolic one."""
    options = {key: given for key, given in kwargs.items() if key != "like"}
    dtype = options.get("dtype")
    if any(isinstance(x, Symbolic) for x in args):
        options["dtype"] = object
        return symbolic(function(*map(entries_of, args), **options))
    if any(isinstance(part, Symbolic) for x in args if isinstance(x, list | tuple) for part in x):
        return np.stack([part if isinstance(part, Symbolic) else _full(part) for part in args[0]])
    made = np.asarray(function(*args, **options))
    if dtype is not None and np.dtype(dtype).kind in "biu":
        return made
    if function is np.empty:
        made = np.full(made.shape, np.nan)
    return Symbolic(made.astype(object))


def _full(number: Any) -> Symbolic:
    return Symbolic(np.array(number, dtype=object))


# ------------------------------------------------------------------------------- the tables


def _mean(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, **_: Any) -> Any:
    total = np.sum(a, axis=axis, keepdims=keepdims)
    return total / (a.size // max(total.size, 1))


def _var(a: Any, axis: Any = None, ddof: float = 0, keepdims: bool = False, **_: Any) -> Any:
    deviations = a - np.mean(a, axis=axis, keepdims=True)
    total = np.sum(deviations * deviations, axis=axis, keepdims=keepdims)
    return total / (a.size // max(total.size, 1) - ddof)


def _clip(a: Any, a_min: Any = None, a_max: Any = None, **bounds: Any) -> Any:
    low = bounds.get("min") if a_min is None else a_min
    high = bounds.get("max") if a_max is None else a_max
    a = a if low is None else np.maximum(a, low)
    return a if high is None else np.minimum(a, high)


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if ord not in (None, 2) or (ord == 2 and axis is None and np.ndim(x) != 1):
        raise undecided(f"numpy.linalg.norm with ord={ord!r}", "np.sqrt(np.sum(x**2))")
    return np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))


def _bincount(x: Any, weights: Any, minlength: int = 0) -> Any:
    total = np.zeros(max(minlength, int(np.max(x, initial=-1)) + 1), like=weights)
    np.add.at(total, x, weights)
    return total


def _where(condition: Any, *branches: Any) -> Any:
    if isinstance(condition, Symbolic):
        condition = condition != 0
    if not branches:
        return np.nonzero(condition)
    return symbolic(np.asarray(np.where(condition, *map(_as_objects, branches)), dtype=object))


def _as_objects(x: Any) -> Any:
    entries = entries_of(x)
    return entries if isinstance(x, Symbolic) else np.asarray(entries).astype(object)


def _sum(
    a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, initial: Any = 0.0,
    where: Any = True,
) -> Any:  # fmt: skip
    if where is not True:
        a = np.where(where, a, 0.0)
    entries = np.sum(entries_of(a), axis=axis, keepdims=keepdims)
    total = symbolic(float(entries) if isinstance(entries, int) else entries)
    return total if isinstance(initial, float | int) and initial == 0 else total + initial


def _extremum(ufunc: np.ufunc, nowhere: float) -> Callable[..., Any]:
    def function(
        a: Any, axis: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True
    ) -> Any:
        if where is not True:
            a = np.where(where, a, nowhere)
        entries = entries_of(a)
        if initial is None and not entries.size:
            return ufunc.reduce(np.empty(entries.shape), axis=axis)  # NumPy's error
        options = {} if initial is None else {"initial": entries_of(initial)}
        result = ufunc.reduce(entries, axis=axis, keepdims=keepdims, **options)
        return symbolic(result)

    return function


def _nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, **_: Any) -> Any:
    return np.where(np.isnan(x), nan, x)


def _einsum(*operands: Any, **options: Any) -> Any:
    options.pop("optimize", None)
    return symbolic(np.einsum(*[_as_objects(x) if not isinstance(x, str) else x for x in operands]))


def _contraction(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arrays: Any, **options: Any) -> Any:
        named = [options.pop(name) for name in ("a", "b") if name in options]
        result = function(*[_as_objects(x) for x in (*arrays, *named)], **options)
        result = np.asarray(result, dtype=object)
        return symbolic(np.where(np.equal(result, None), 0.0, result) if result.size else result)

    return call


WRITTEN_OUT: dict[Callable[..., Any], Callable[..., Any]] = {
    np.sum: _sum,
    np.mean: _mean,
    np.average: lambda a, axis=None, weights=None, **_: (
        np.mean(a, axis=axis)
        if weights is None
        else np.sum(a * weights, axis=axis) / np.sum(weights + 0 * a, axis=axis)
    ),
    np.var: _var,
    np.std: lambda a, **options: np.sqrt(np.var(a, **options)),
    np.max: _extremum(np.maximum, -np.inf),
    np.amax: _extremum(np.maximum, -np.inf),
    np.min: _extremum(np.minimum, np.inf),
    np.amin: _extremum(np.minimum, np.inf),
    np.clip: _clip,
    np.where: _where,
    np.bincount: _bincount,
    np.nan_to_num: _nan_to_num,
    np.linalg.norm: _norm,
    np.round: lambda a, decimals=0: np.rint(a * 10.0**decimals) / 10.0**decimals,
    np.einsum: _einsum,
    np.dot: _contraction(np.dot),
    np.inner: _contraction(np.inner),
    np.outer: _contraction(np.outer),
    np.vdot: _contraction(np.vdot),
    np.tensordot: _contraction(np.tensordot),
    np.kron: _contraction(np.kron),
}
"""Functions written with others."""

FILLING = {np.zeros_like, np.ones_like, np.empty_like, np.full_like}

PASSED_ON: frozenset[Callable[..., Any]] = frozenset(
    (
        *(function for function in LINEAR if not function.__module__.startswith("numpy.fft")),
        *CREATING,
        *FILLING,
        *WRITING_RULES,
        *(np.append, np.choose, np.compress, np.diff, np.extract, np.insert, np.select, np.pad),
        *(np.prod, np.cumprod, np.sort, np.full, np.take, np.delete),
        *(np.argmax, np.argmin, np.argsort, np.nonzero, np.flatnonzero, np.count_nonzero),
        *(np.any, np.all, np.shape, np.ndim, np.size, np.iscomplexobj, np.isrealobj),
    )
) - {np.mean, np.gradient, np.polyder}
"""Functions that NumPy itself computes with arrays of objects: they move, add or compare entries."""

CONTRACTIONS = {np.matmul, np.vecdot} if hasattr(np, "vecdot") else {np.matmul}
FOLDED = {np.add, np.multiply, np.subtract, np.maximum, np.minimum, np.logical_and, np.logical_or}
