"""Elementwise functions: which node, or which few nodes, compute a ufunc of NumPy.

    np.tanh(x)        Tanh          np.log1p(x)       Log(1 + x), with the digits that 1 + x loses

A rule is the kind of a node, or a function of the arrays that computes with others. All inputs of a
ufunc are converted to one dtype first, as NumPy does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from chainrule.calculus.array_rules import REDUCTIONS
from chainrule.calculus.messages import name_of
from chainrule.interop.onnx.writing.sizes import Size, SizeFloat
from chainrule.interop.onnx.writing.traced import (
    Trace,
    Traced,
    as_traced,
    broadcast,
    converted,
    new,
    no_counterpart,
    refused,
    written_into,
)

BOOL = np.dtype(bool)

NODES: Mapping[np.ufunc, str] = {
    np.add: "Add",
    np.subtract: "Sub",
    np.multiply: "Mul",
    np.divide: "Div",
    np.negative: "Neg",
    np.absolute: "Abs",
    np.fabs: "Abs",
    np.sign: "Sign",
    np.reciprocal: "Reciprocal",
    np.exp: "Exp",
    np.log: "Log",
    np.sqrt: "Sqrt",
    np.sin: "Sin",
    np.cos: "Cos",
    np.tan: "Tan",
    np.arcsin: "Asin",
    np.arccos: "Acos",
    np.arctan: "Atan",
    np.sinh: "Sinh",
    np.cosh: "Cosh",
    np.tanh: "Tanh",
    np.arcsinh: "Asinh",
    np.arccosh: "Acosh",
    np.arctanh: "Atanh",
    np.floor: "Floor",
    np.ceil: "Ceil",
    np.maximum: "Max",
    np.minimum: "Min",
    np.isnan: "IsNaN",
    np.isinf: "IsInf",
    np.greater: "Greater",
    np.greater_equal: "GreaterOrEqual",
    np.less: "Less",
    np.less_equal: "LessOrEqual",
    np.equal: "Equal",
    np.logical_and: "And",
    np.logical_or: "Or",
    np.logical_xor: "Xor",
    np.logical_not: "Not",
}
"""Functions that are a node."""


POWERS: Mapping[float, Callable[[Any], Any]] = {
    1.0: lambda x: +x,
    2.0: lambda x: x * x,
    3.0: lambda x: x * x * x,
    0.5: np.sqrt,
    -1.0: lambda x: 1 / x,
}
"""Powers that are computed by other nodes."""


def _power(x: Any, exponent: Any, ufunc: np.ufunc = np.power) -> Any:
    """Products for small whole exponents, which are exact and fast."""
    is_open = isinstance(exponent, Traced | Size | SizeFloat)
    known = None if is_open or np.ndim(exponent) else float(exponent)
    x, exponent = _in_one_type(ufunc, (x, exponent))
    if known is not None and known in POWERS:
        return POWERS[known](x)
    shape = broadcast(x.shape, exponent.shape)
    return new(x.graph, "Pow", [x, exponent], shape, x.dtype)


def _truncated(x: Any) -> Any:
    return np.sign(x) * np.floor(np.abs(x)) if x.dtype.kind == "f" else _unchanged(x)


def _unchanged(x: Any) -> Any:
    return converted(x, x.dtype)


def _of_floats(ufunc: np.ufunc) -> Callable[[Any], Any]:
    """A function that leaves integers and booleans as they are, for which ONNX does not have it."""

    def called(x: Any) -> Any:
        (x,) = _in_one_type(ufunc, (x,))
        return new(x.graph, NODES[ufunc], [x], x.shape, x.dtype) if x.dtype.kind == "f" else x

    return called


def _remainder(x: Any, y: Any) -> Any:
    x, y = _in_one_type(np.remainder, (x, y))
    if x.dtype.kind == "f":
        return x - np.floor(x / y) * y
    return new(x.graph, "Mod", [x, y], broadcast(x.shape, y.shape), x.dtype)


def _floor_divided(x: Any, y: Any) -> Any:
    x, y = _in_one_type(np.floor_divide, (x, y))
    if x.dtype.kind == "f":
        return np.floor(x / y)
    rest = _remainder(x, y)
    shape = broadcast(x.shape, y.shape)
    return new(x.graph, "Div", [x - rest, y], shape, x.dtype)


def _log1p(x: Any) -> Any:
    """log(1 + x), times what the rounding of 1 + x has changed. Kahan's way."""
    rounded = 1 + x
    change = rounded - 1
    is_small = np.abs(x) < 1
    factor = x / np.where(change == 0, 1, change)
    precise = np.where(change == 0, x, np.log(np.where(is_small, rounded, 1)) * factor)
    return np.where(is_small, precise, np.log(np.where(is_small, 1, rounded)))


def _expm1(x: Any) -> Any:
    """exp(x) − 1, times what the rounding of exp(x) has changed. Kahan's way."""
    is_small = np.abs(x) < 0.5
    near = np.where(is_small, x, 0)
    rounded = np.exp(near)
    logarithm = np.log(rounded)
    is_one = logarithm == 0
    precise = np.where(is_one, near, (rounded - 1) * (near / np.where(is_one, 1, logarithm)))
    return np.where(is_small, precise, np.exp(x) - 1)


def _logaddexp(a: Any, b: Any) -> Any:
    a, b = _in_one_type(np.logaddexp, (a, b))
    distance = np.where(a == b, 0, np.abs(a - b))  # ∞ − ∞ is NaN
    return np.maximum(a, b) + np.log1p(np.exp(-distance))


def _heaviside(x: Any, at_zero: Any) -> Any:
    x, at_zero = _in_one_type(np.heaviside, (x, at_zero))
    step = np.where(x > 0, 1, np.where(x < 0, 0, x))  # NaN stays
    return np.where(x == 0, at_zero, step)


def _arctan2(y: Any, x: Any) -> Any:
    """The angle of the point (x, y), from that of the quotient and the quadrant."""
    y, x = _in_one_type(np.arctan2, (y, x))
    is_axis = x == 0
    angle = np.arctan(y / np.where(is_axis, 1, x))
    turned = np.where(y >= 0, angle + math.pi, angle - math.pi)
    return np.where(is_axis, np.sign(y) * (math.pi / 2), np.where(x > 0, angle, turned))


def _hypot(x: Any, y: Any) -> Any:
    """√(x² + y²), of which no square overflows."""
    x, y = map(np.abs, _in_one_type(np.hypot, (x, y)))
    larger = np.maximum(x, y)
    unit = np.where((larger > 0) & (larger < math.inf), larger, 1)
    x, y = x / unit, y / unit
    return unit * np.sqrt(x * x + y * y)


def _where_numbers(choose: np.ufunc) -> Callable[[Any, Any], Any]:
    """The maximum or minimum that ignores a NaN if the other one is a number."""

    def chosen(a: Any, b: Any) -> Any:
        a, b = _in_one_type(choose, (a, b))
        return np.where(a != a, b, np.where(b != b, a, choose(a, b)))

    return chosen


def _rounded(x: Any) -> Any:
    """To the nearest integer; integers stay."""
    (x,) = _in_one_type(np.rint, (x,))
    if x.name in x.graph.whole:
        return _unchanged(x)
    return new(x.graph, "Round", [x], x.shape, x.dtype)


FORMULAS: Mapping[np.ufunc, Callable[..., Any]] = {
    np.positive: _unchanged,
    np.conjugate: _unchanged,
    np.floor: _of_floats(np.floor),
    np.ceil: _of_floats(np.ceil),
    np.square: lambda x: x * x,
    np.rint: _rounded,
    np.power: _power,
    np.float_power: lambda x, exponent: _power(x, exponent, np.float_power),
    np.trunc: _truncated,
    np.remainder: _remainder,
    np.floor_divide: _floor_divided,
    np.log1p: _log1p,
    np.expm1: _expm1,
    np.log2: lambda x: np.log(x) * (1 / math.log(2)),
    np.log10: lambda x: np.log(x) * (1 / math.log(10)),
    np.exp2: lambda x: np.exp(x * math.log(2)),
    np.logaddexp: _logaddexp,
    np.fmax: _where_numbers(np.maximum),
    np.fmin: _where_numbers(np.minimum),
    np.hypot: _hypot,
    np.arctan2: _arctan2,
    np.cbrt: lambda x: np.sign(x) * np.power(np.abs(x), 1 / 3),
    np.heaviside: _heaviside,
    np.deg2rad: lambda x: x * (math.pi / 180),
    np.radians: lambda x: x * (math.pi / 180),
    np.rad2deg: lambda x: x * (180 / math.pi),
    np.degrees: lambda x: x * (180 / math.pi),
    np.isfinite: lambda x: np.abs(x) < math.inf,
    np.not_equal: lambda a, b: np.logical_not(np.equal(a, b)),
    np.signbit: lambda x: x < 0,
}
"""Functions that are computed by several nodes."""

BITS = {
    np.bitwise_and: np.logical_and,
    np.bitwise_or: np.logical_or,
    np.bitwise_xor: np.logical_xor,
    np.invert: np.logical_not,
}
"""Operators such as ``&``, which for booleans are those of logic."""

OF_BOOLEANS = {np.maximum: "Or", np.add: "Or", np.minimum: "And", np.multiply: "And"}
"""Arithmetic that for booleans is a node of logic."""

LOGIC = frozenset((np.logical_and, np.logical_or, np.logical_xor, np.logical_not))
QUESTIONS = frozenset(
    (np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.isnan, np.isinf)
)
"""Functions whose result is true or false."""

ORDER = frozenset((np.greater, np.greater_equal, np.less, np.less_equal))
"""Those that ONNX does not have for booleans."""

ELSEWHERE = {"erf": "Erf", "expit": "Sigmoid"}
"""Functions of `scipy.special` that are a node."""


def call_ufunc(
    trace: Trace, ufunc: np.ufunc, method: str, inputs: Any, options: dict[str, Any]
) -> Any:
    """The result of a ufunc, or of one of its methods."""
    out, where = options.pop("out", None), options.pop("where", True)
    dtype = options.pop("dtype", None)
    options.pop("casting", None)
    if where is not True and method == "__call__":
        what = f"{name_of(ufunc)} with where=, which leaves entries undefined"
        raise refused(trace, what, "np.where(condition, x, y)")
    if method == "__call__":
        result = _called(trace, ufunc, inputs, options)
        if dtype is not None and result.dtype != dtype:
            result = converted(result, dtype)
    elif method == "outer":
        a, b = inputs
        result = ufunc(np.reshape(a, np.shape(a) + (1,) * np.ndim(b)), b)
    elif method == "at":
        if ufunc is not np.add:
            raise no_counterpart(trace, f"{name_of(ufunc)}.at")
        return trace.rules.add_at(trace, *inputs)
    else:
        function = REDUCTIONS.get((ufunc, method))
        if function is None:
            raise no_counterpart(trace, f"{name_of(ufunc)}.{method}")
        options.setdefault("axis", 0)
        if dtype is not None:
            options["dtype"] = dtype
        if where is not True:
            options["where"] = where
        result = function(*inputs, **options)
    return result if out is None else written_into(trace, result, out)


def _called(trace: Trace, ufunc: np.ufunc, inputs: Any, options: dict[str, Any]) -> Any:
    if any(_is_complex(x) for x in inputs):
        return trace.rules.call_complex(trace, ufunc, inputs)
    if ufunc is np.matmul or ufunc is np.vecdot:
        rule = trace.rules.matmul if ufunc is np.matmul else trace.rules.vecdot
        return rule(trace, *inputs)
    if ufunc in BITS:
        if not all(_dtype(x) == BOOL for x in inputs):
            what = f"{name_of(ufunc)} of integers has no counterpart in ONNX"
            raise refused(trace, what, "arithmetic with * and //")
        ufunc = BITS[ufunc]
    if ufunc in FORMULAS:
        return _narrow(ufunc, inputs, FORMULAS[ufunc](*inputs))
    kind = NODES.get(ufunc)
    if kind is None and getattr(ufunc, "__name__", "") in ELSEWHERE:
        kind = ELSEWHERE[ufunc.__name__]
    if kind is None:
        raise no_counterpart(trace, name_of(ufunc))
    if ufunc in LOGIC:
        arrays = [x if _dtype(x) == BOOL else np.not_equal(x, 0) for x in inputs]
        shape = broadcast(*map(np.shape, arrays))
        arrays = [as_traced(trace, x, BOOL, shape) for x in arrays]
        return new(trace, kind, arrays, shape, BOOL)
    arrays = _in_one_type(ufunc, inputs)
    shape = broadcast(*(x.shape for x in arrays))
    dtype = BOOL if ufunc in QUESTIONS else arrays[0].dtype
    if arrays[0].dtype == BOOL:
        if ufunc is np.absolute:
            return _unchanged(arrays[0])
        if ufunc in OF_BOOLEANS:
            kind = OF_BOOLEANS[ufunc]
        elif ufunc in ORDER:
            arrays = [converted(x, np.int32) for x in arrays]
    return _narrow(ufunc, inputs, new(trace, kind, arrays, shape, dtype))


def _narrow(ufunc: np.ufunc, inputs: Any, result: Any) -> Any:
    """The result in NumPy's dtype, if that is a narrow integer: it was computed in a wider one."""
    if result.dtype != np.int32:
        return result
    dtype = _resolved(ufunc, inputs)[-1]
    return converted(result, dtype) if dtype.itemsize < 4 else result


def _resolved(ufunc: np.ufunc, inputs: Any) -> tuple[np.dtype[Any], ...]:
    kinds: list[Any] = [_dtype(x) for x in inputs]
    return ufunc.resolve_dtypes((*kinds, *[None] * ufunc.nout))


def _in_one_type(ufunc: np.ufunc, inputs: Any) -> list[Traced]:
    """The inputs in the dtype in which NumPy computes, as arrays of the graph."""
    trace = next(x.graph for x in inputs if isinstance(x, Traced))
    dtype = _resolved(ufunc, inputs)[0]
    if dtype == np.float16:
        dtype = np.dtype(np.float32)
    if dtype.kind in "iu" and dtype.itemsize < 4:  # programs compute with wider integers alone
        dtype = np.dtype(np.int32)
    shape = broadcast(*(np.shape(x) for x in inputs))
    return [as_traced(trace, x, dtype, shape) for x in inputs]


def _dtype(x: Any) -> Any:
    """The dtype of an array; for a number of Python its type, which adapts to others."""
    if isinstance(x, bool | np.bool_):
        return BOOL
    if isinstance(x, np.generic):
        return x.dtype
    if isinstance(x, float):
        return float
    if isinstance(x, int):
        return int
    return x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype


def _is_complex(x: Any) -> bool:
    return isinstance(x, complex) or getattr(getattr(x, "dtype", None), "kind", "") == "c"
