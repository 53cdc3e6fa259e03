"""Symbolic arrays: formulas that flow through NumPy's functions like numbers.

    x = Symbolic with entries x[0], x[1]        np.sum(x**2)   has the entry   x[0]² + x[1]²

A layer's ``forward``, written for arrays, returns what it computes as formulas when a `Symbolic`
flows in, and its ``backward`` the formula of every delta. NumPy dispatches its functions to a
`Symbolic` (NEP 13 for ufuncs, NEP 18 for all others, NEP 35 for ``like=``). Most of them only move
or add entries, and NumPy does this itself with arrays of objects; the others are in the tables of
this module and of `chainrule.symbolic.entries`.

What is asked of values is decided at one point, and recorded there: comparisons, ``argmax``, masks,
``if x.max() > 1``. What needs a plain number, such as ``float(x)``, is an error.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from chainrule.calculus.array_methods import ArrayMethods
from chainrule.calculus.array_rules import CREATING, LINEAR, WRITING_RULES
from chainrule.calculus.messages import converting_call, name_of
from chainrule.core.errors import UndecidedError
from chainrule.core.types import Shape
from chainrule.symbolic.entries import (
    ELEMENTWISE,
    PREDICATES,
    Entry,
    Point,
    undecided,
)
from chainrule.symbolic.functions import COMPOSED

FLOAT = np.dtype(np.float64)


def _refuse_conversion(what: str) -> Callable[..., NoReturn]:
    def call(self: Symbolic, *args: Any, **kwargs: Any) -> NoReturn:
        call, alternative = converting_call(what)
        raise undecided(
            f"{call.rstrip(',')}, which needs numbers",
            alternative or "np.* functions of the arrays that are given; new arrays with like=x",
        )

    return call


def _in_place(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    def call(self: Symbolic, other: Any) -> Any:
        if self.is_number:  # as for NumPy's scalars, += rebinds the name
            return ufunc(self, other)
        return ufunc(self, other, out=(self,))

    return call


class Symbolic(ArrayMethods):
    """An array of formulas, each with its value at a point.

    Parameters
    ----------
    entries
        An array of objects: `Entry`, or floats for constants.
    is_number
        Whether it stands for a number, not for an array without axes.

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

    __slots__ = ("entries", "is_number")
    __array_priority__ = 2000.0

    entries: Any

    def __init__(self, entries: Any, *, is_number: bool = False) -> None:
        self.entries = entries
        self.is_number = is_number

    def __getattr__(self, name: str) -> NoReturn:
        if not name.startswith("_") and hasattr(np.ndarray, name):
            hint = f"np.{name}(x)" if hasattr(np, name) else "indexing and NumPy's functions"
            raise undecided(f"x.{name}", hint)
        raise AttributeError(f"a Symbolic has no attribute {name!r}")

    # ---- NumPy's protocols

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """NumPy calls this instead of a ufunc (NEP 13)."""
        out = options.pop("out", None)
        if options.pop("where", True) is not True:
            raise undecided(
                f"{name_of(ufunc)} with where=, which leaves entries undefined",
                "np.where(condition, x, y)",
            )
        _require_float(ufunc, options.pop("dtype", None))
        name = name_of(ufunc) + ("" if method == "__call__" else f".{method}")
        if any(getattr(getattr(x, "dtype", None), "kind", "") == "c" for x in inputs):
            raise undecided("what complex numbers inside a layer do", "real arithmetic")
        arrays = [entries_of(x) for x in inputs]
        function = ELEMENTWISE.get(ufunc) or PREDICATES.get(ufunc)
        if method == "__call__" and function is not None:
            result = np.frompyfunc(function, ufunc.nin, 1)(*arrays)
            if ufunc in PREDICATES:
                result = np.asarray(result).astype(bool)[()]
                return result if out is None else written(result, out)
        elif method == "__call__" and ufunc in CONTRACTIONS:
            result = ufunc(*arrays, **options)
        elif method == "outer" and function is not None:
            a, b = inputs
            return ufunc(np.reshape(a, np.shape(a) + (1,) * np.ndim(b)), b)
        elif method == "at" and ufunc in FOLDED:
            if not isinstance(inputs[0], Symbolic):
                raise _into_plain(name)
            return ufunc.at(*arrays)
        elif method != "__call__" and ufunc in PREDICATES and ufunc in FOLDED:
            return getattr(ufunc, method)(np.not_equal(inputs[0], 0), *arrays[1:], **options)
        elif method != "__call__" and ufunc in FOLDED:
            result = getattr(ufunc, method)(*arrays, **options)
        else:
            raise undecided(f"{name}, which has no formula", "other functions of NumPy")
        return written(result, out) if out is not None else floating(result)

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
        if function in CREATING:
            return _created(function, args, kwargs)
        kwargs = dict(kwargs)
        out = kwargs.pop("out", None)
        if function in FILLING:
            return _filled(function, args, kwargs)
        if function is not ASTYPE:
            _require_float(function, kwargs.pop("dtype", None))
        if function in WRITTEN_OUT:
            rule = WRITTEN_OUT[function]
            try:
                inspect.signature(rule).bind(*args, **kwargs)
            except TypeError as error:
                what = f"{name_of(function)} with these arguments ({error})"
                raise undecided(what, "leave them out, or name them") from None
            result = rule(*args, **kwargs)
            return result if out is None else written(entries_of(result), out)
        if function not in PASSED_ON:
            name = name_of(function)
            if "fft" in name:
                raise undecided(f"{name}, which is complex", "a sum of sines and cosines")
            raise undecided(f"{name}, which has no formula", "other functions of NumPy")
        writes = function in WRITING_RULES
        if writes and not isinstance(args[0], Symbolic):
            raise _into_plain(name_of(function))
        with np.errstate(all="ignore"):
            result = function(
                *map(entries_of, args), **{k: entries_of(v) for k, v in kwargs.items()}
            )
        if writes:
            return None
        if out is not None:
            return written(result, out)
        return result if function in QUESTIONS else floating(result)

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
    def shape(self) -> Shape:
        """The length of every axis."""
        return self.entries.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64, whatever the formulas are."""
        return FLOAT

    @property
    def flags(self) -> Any:
        """How the entries lie in memory."""
        return self.entries.flags

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps through memory, in bytes."""
        return self.entries.strides  # type: ignore[no-any-return]

    @property
    def T(self) -> Any:  # noqa: N802  (NumPy's name)
        """The axes in reverse order."""
        return Symbolic(self.entries.T)

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
        return floating(self.entries[_index(index)])

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
        if np.dtype(dtype) == bool:
            return self != 0
        if np.dtype(dtype).kind != "f":
            hint = "np.where(condition, x, y); a layer for integers needs prove_layer(..., inputs=)"
            raise undecided(f"x.astype({np.dtype(dtype)})", hint)
        is_same = np.dtype(dtype) == FLOAT and not options.get("copy", True)
        return self if is_same else Symbolic(self.entries.copy(), is_number=self.is_number)


def symbols(point: Point, name: str, values: Any, first_row: int = 0) -> Symbolic:
    """An array of variables ``name[i, j]``, with these values at the point."""
    values = np.asarray(values)
    entries = np.empty(values.shape, dtype=object)
    for index, label in zip(
        np.ndindex(values.shape), labels(name, values.shape, first_row), strict=True
    ):
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
    if isinstance(x, list | tuple):
        parts = [entries_of(part) for part in x]
        if any(part is not given for part, given in zip(parts, x, strict=True)):
            return type(x)([part if np.ndim(part) else np.asarray(part)[()] for part in parts])
    return x


def floating(result: Any) -> Any:
    """The result of a function of entries: a symbolic array, or several."""
    if isinstance(result, np.ndarray) and result.dtype == object:
        return Symbolic(result)
    if isinstance(result, list | tuple):
        parts = [floating(part) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    entries = np.empty(np.shape(result), dtype=object)
    entries[...] = result if isinstance(result, Entry | np.ndarray) else float(result)
    return Symbolic(entries, is_number=not isinstance(result, np.ndarray))


def written(result: Any, out: Any) -> Any:
    """A result, written into what the caller has provided for it."""
    (out,) = out if isinstance(out, tuple) else (out,)
    if isinstance(out, Symbolic):
        out.entries[...] = result
    elif isinstance(result, Entry) or np.asarray(result).dtype == object:
        raise _into_plain("out=")
    else:
        out[...] = result
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


def _require_float(function: Any, dtype: Any) -> None:
    if dtype is not None and np.dtype(dtype).kind not in "fO":
        raise undecided(f"{name_of(function)} with dtype={np.dtype(dtype)}", "leave dtype= out")


def _created(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """A new array of constants, or of what is given, ``like`` a symbolic one."""
    options = {key: given for key, given in kwargs.items() if key != "like"}
    if any(isinstance(x, Symbolic) for x in args):
        if len(args) == 2 and function not in (np.full, np.arange):
            args, options["dtype"] = args[:1], args[1]
        _require_float(function, options.get("dtype"))
        options["dtype"] = object
        return floating(function(*map(entries_of, args), **options))
    if any(isinstance(part, Symbolic) for x in args if isinstance(x, list | tuple) for part in x):
        return np.stack([part if isinstance(part, Symbolic) else _full(part) for part in args[0]])
    made = np.asarray(function(*args, **options))
    if made.dtype.kind in "biu":
        return made
    return floating(np.full(made.shape, np.nan) if function is np.empty else made)


def _full(number: Any) -> Symbolic:
    return Symbolic(np.array(number, dtype=object))


def _filled(function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """An array of the shape of another; of integers or booleans, a plain one."""
    place = 2 if function is np.full_like else 1
    before, after = args[:place], args[place + 1 :]
    dtype = args[place] if len(args) > place else kwargs.pop("dtype", None)
    if dtype is None and not isinstance(args[0], Symbolic):
        dtype = np.asarray(args[0]).dtype
    if dtype is not None and np.dtype(dtype).kind != "f":
        if any(isinstance(x, Symbolic) for x in args[1:]):
            _require_float(function, dtype)
        return function(np.empty(np.shape(args[0])), *before[1:], dtype, *after, **kwargs)
    made = function(*map(entries_of, before), object, *after, **kwargs)
    return floating(np.full(made.shape, np.nan) if function is np.empty_like else made)


# ------------------------------------------------------------------------------- the tables


def _where(condition: Any, *branches: Any) -> Any:
    if isinstance(condition, Symbolic):
        condition = condition != 0
    if not branches:
        return np.nonzero(condition)
    return floating(np.where(condition, *map(_as_objects, branches)))


def _as_objects(x: Any) -> Any:
    entries = entries_of(x)
    return entries if isinstance(x, Symbolic) else np.asarray(entries).astype(object)


def _sum(
    a: Any, axis: Any = None, *, keepdims: bool = False, initial: Any = 0.0, where: Any = True
) -> Any:
    if where is not True:
        a = np.where(where, a, 0.0)
    total = floating(np.sum(entries_of(a), axis=axis, keepdims=keepdims))
    return total if isinstance(initial, float | int) and initial == 0 else total + initial


def _extremum(ufunc: np.ufunc, nowhere: float) -> Callable[..., Any]:
    def function(
        a: Any, axis: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = True
    ) -> Any:
        if where is not True:
            a = np.where(where, a, nowhere)
        entries = _as_objects(a)
        if initial is None and not entries.size:
            return ufunc.reduce(np.empty(entries.shape), axis=axis)  # NumPy's error
        options = {} if initial is None else {"initial": np.asarray(entries_of(initial))[()]}
        return floating(ufunc.reduce(entries, axis=axis, keepdims=keepdims, **options))

    return function


def _einsum(*operands: Any, **options: Any) -> Any:
    options.pop("optimize", None)
    given: list[Any] = [x if isinstance(x, str) else _as_objects(x) for x in operands]
    return floating(np.einsum(*given))


def _contraction(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arrays: Any, **options: Any) -> Any:
        named = [options.pop(name) for name in ("a", "b") if name in options]
        pair, others = (*arrays[:2], *named), arrays[2:]
        result = function(*map(_as_objects, pair), *others, **options)
        return floating(0.0 if result is None else result)

    return call


WRITTEN_OUT: dict[Callable[..., Any], Callable[..., Any]] = {
    **COMPOSED,
    np.sum: _sum,
    np.max: _extremum(np.maximum, -np.inf),
    np.amax: _extremum(np.maximum, -np.inf),
    np.min: _extremum(np.minimum, np.inf),
    np.amin: _extremum(np.minimum, np.inf),
    np.where: _where,
    np.einsum: _einsum,
    np.result_type: lambda *x: np.result_type(
        *(FLOAT if isinstance(a, Symbolic) else a for a in x)
    ),
    **{
        function: _contraction(function)
        for function in (np.dot, np.inner, np.outer, np.vdot, np.tensordot, np.kron)
    },
    **{function: _contraction(function) for function in (np.convolve, np.cross)},
}
"""Functions written with others."""

ASTYPE = getattr(np, "astype", None)  # since NumPy 2.1
if ASTYPE is not None:
    WRITTEN_OUT[ASTYPE] = lambda x, dtype, copy=True: x.astype(dtype, copy=copy)

FILLING = {np.zeros_like, np.ones_like, np.empty_like, np.full_like}

QUESTIONS = {
    *(np.argmax, np.argmin, np.argsort, np.argwhere, np.searchsorted),
    *(np.nonzero, np.flatnonzero, np.count_nonzero, np.any, np.all),
    *(np.shape, np.ndim, np.size, np.iscomplexobj, np.isrealobj),
}
"""Functions whose results are plain integers and booleans."""

PASSED_ON: frozenset[Callable[..., Any]] = frozenset(
    (
        *(function for function in LINEAR if not function.__module__.startswith("numpy.fft")),
        *WRITING_RULES,
        *QUESTIONS,
        *(np.append, np.choose, np.compress, np.diff, np.extract, np.insert, np.select, np.pad),
        *(np.prod, np.cumprod, np.sort, np.vander),
    )
) - {np.mean, np.gradient, np.polyder, ASTYPE}
"""Functions that NumPy computes with arrays of objects: they move, add or compare entries."""

CONTRACTIONS = {
    np.matmul,
    *(getattr(np, n) for n in ("vecdot", "matvec", "vecmat") if hasattr(np, n)),
}
FOLDED = {np.add, np.multiply, np.subtract, np.maximum, np.minimum, np.logical_and, np.logical_or}
