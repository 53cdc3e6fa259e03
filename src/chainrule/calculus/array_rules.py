"""The table of tangent rules for functions of whole arrays.

Most of what a layer does to an array is linear; the tangent then passes through the same function
as the value, ẏ = f(ẋ). Most of the rest is linear in each argument separately, like y = a b:

    ẏ = ȧ b + a ḃ.

What remains are selections, where the tangent follows the selected entry, and a few formulas, one
function each at the end of this file. Where a derivative does not exist, we choose one:

- ``max`` and ``min`` of equal entries: the tangent of the first of them. ``sort`` and ``median``
  use the order that ``argsort`` finds.
- ``clip``: an entry on the boundary counts as inside and keeps its tangent.
- ``std`` of equal entries and ``norm`` of a zero vector have an infinite slope; their tangent is
  0/0 = nan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from chainrule.calculus.rules import Evaluation, TangentRule, formula, linear, multilinear, no_rule

Function = Callable[..., Any]


def available(module: Any, *names: str) -> tuple[Any, ...]:
    """Those of the named functions that the installed NumPy has."""
    return tuple(getattr(module, name) for name in names if hasattr(module, name))


# ẏ = f(ẋ), where x is the first argument (or all of *x, or a list of arrays).
LINEAR: tuple[Any, ...] = (
    # change the shape
    *(np.reshape, np.ravel, np.squeeze, np.expand_dims, np.resize),
    *(np.atleast_1d, np.atleast_2d, np.atleast_3d, np.broadcast_to, np.broadcast_arrays),
    *(np.transpose, np.swapaxes, np.moveaxis, np.rollaxis, np.matrix_transpose),
    *(np.flip, np.fliplr, np.flipud, np.rot90, np.roll, np.repeat, np.tile, np.meshgrid),
    # join and split
    *(np.concatenate, np.stack, np.vstack, np.hstack, np.dstack, np.column_stack, np.block),
    *(np.split, np.array_split, np.hsplit, np.vsplit, np.dsplit),
    *available(np, "unstack"),
    # select a part
    *(np.take, np.take_along_axis, np.delete, np.diag, np.diagonal, np.diagflat, np.tril, np.triu),
    np.lib.stride_tricks.sliding_window_view,
    # sums and differences
    *(np.mean, np.cumsum, np.trace, np.gradient),
    *available(np, "trapezoid", "cumulative_sum"),
    # copy or convert
    *(np.copy, np.array, np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray),
    *(np.require, np.real, *available(np, "astype")),
    # the same functions under numpy.linalg
    *(np.linalg.matrix_transpose, np.linalg.diagonal, np.linalg.trace),
)

ARRAY_RULES: dict[Function, TangentRule] = {
    **dict.fromkeys(LINEAR, linear()),
    # jointly linear in several arguments
    np.append: linear("arr", "values"),
    np.bincount: linear("weights"),
    np.choose: linear("choices"),
    np.compress: linear("a", condition="condition"),
    np.diff: linear("a", "prepend", "append"),
    np.ediff1d: linear("ary", "to_begin", "to_end"),
    np.extract: linear("arr", condition="condition"),
    np.full: linear("fill_value"),
    np.full_like: linear("fill_value", condition="a"),
    np.insert: linear("arr", "values"),
    np.linspace: linear("start", "stop"),
    np.select: linear("choicelist", "default", condition="condlist"),
    np.sum: linear("a", "initial"),
    np.where: linear("x", "y", condition="condition"),
    # y = a b
    np.convolve: multilinear("a", "v"),
    np.correlate: multilinear("a", "v"),
    np.cross: multilinear("a", "b"),
    np.dot: multilinear("a", "b"),
    np.einsum: multilinear(),
    np.inner: multilinear("a", "b"),
    np.kron: multilinear("a", "b"),
    np.outer: multilinear("a", "b"),
    np.tensordot: multilinear("a", "b"),
    np.vdot: multilinear("a", "b"),
    np.linalg.cross: multilinear("x1", "x2"),
    np.linalg.matmul: multilinear("x1", "x2"),
    np.linalg.outer: multilinear("x1", "x2"),
    np.linalg.tensordot: multilinear("x1", "x2"),
    np.linalg.vecdot: multilinear("x1", "x2"),
}

# Functions that write into their first argument. All are linear in it and in the values written.
WRITING_RULES: dict[Function, TangentRule] = {
    np.copyto: linear("dst", "src"),
    np.fill_diagonal: linear("a", "val"),
    np.place: linear("arr", "vals"),
    np.put: linear("a", "v"),
    np.put_along_axis: linear("arr", "values"),
    np.putmask: linear("a", "values"),
}

# Functions whose result does not change under small changes of their arguments. The result is a
# plain array, or, if it has a floating-point dtype, a Dual with tangent zero.
CONSTANT_FUNCTIONS: tuple[Any, ...] = (
    *(np.zeros_like, np.ones_like, np.empty_like),
    *(np.zeros, np.ones, np.empty, np.arange, np.eye, np.identity, np.tri, np.fromfunction),
    *(np.round, np.around, np.fix),
    *(np.argmax, np.argmin, np.argsort, np.argpartition, np.argwhere, np.searchsorted),
    *(np.lexsort, np.nonzero, np.flatnonzero, np.count_nonzero, np.digitize),
    *(np.any, np.all, np.isclose, np.allclose, np.array_equal, np.array_equiv),
    *(np.isposinf, np.isneginf, np.isreal, np.iscomplex, np.isrealobj, np.iscomplexobj),
    *(np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.common_type),
    *(np.min_scalar_type, np.shares_memory, np.may_share_memory),
    *(np.array_repr, np.array_str, np.array2string),
)

# Functions that create an array and take ``like=``.
CREATING: tuple[Any, ...] = (
    *(np.zeros, np.ones, np.empty, np.full, np.arange, np.eye, np.identity, np.tri),
    *(np.array, np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray),
    *(np.require, np.fromfunction),
)

# Methods of ufuncs that are functions under another name; their default axis is the first.
REDUCTIONS: dict[tuple[np.ufunc, str], Function] = {
    (np.add, "reduce"): np.sum,
    (np.multiply, "reduce"): np.prod,
    (np.maximum, "reduce"): np.max,
    (np.minimum, "reduce"): np.min,
    (np.add, "accumulate"): np.cumsum,
    (np.multiply, "accumulate"): np.cumprod,
}


def merged(a: Any, axis: Any) -> Any:
    """The array with the given axes merged into one, which becomes the last."""
    axes = range(a.ndim) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, a.ndim)
    kept = [i for i in range(a.ndim) if i not in axes]
    together = math.prod(a.shape[i] for i in axes)
    return np.transpose(a, (*kept, *axes)).reshape(*(a.shape[i] for i in kept), together)


def extremum(argument: Function, nowhere: float) -> Function:
    """The formula for max or min: the tangent of the entry that ``argument`` finds."""

    def tangent(
        y: Any,
        a: Any,
        initial: Any,
        da: Any,
        dinitial: Any,
        axis: Any = None,
        keepdims: bool = False,
        where: Any = True,
    ) -> Any:
        entries, tangents = merged(np.where(where, a, nowhere), axis), merged(da, axis)
        if initial is not None:
            column = (*entries.shape[:-1], 1)
            entries = np.concatenate([entries, np.broadcast_to(initial, column)], axis=-1)
            tangents = np.concatenate([tangents, np.broadcast_to(dinitial, column)], axis=-1)
        chosen = np.expand_dims(argument(entries, axis=-1), -1)
        return np.take_along_axis(tangents, chosen, axis=-1).reshape(np.shape(y))

    return tangent


maximum_tangent = extremum(np.argmax, -math.inf)
minimum_tangent = extremum(np.argmin, math.inf)


def ptp(y: Any, a: Any, da: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The tangent of max a − min a."""
    greatest = maximum_tangent(y, a, None, da, None, axis)
    return greatest - minimum_tangent(y, a, None, da, None, axis)


def clip(
    y: Any,
    a: Any,
    a_min: Any,
    a_max: Any,
    least: Any,
    greatest: Any,
    da: Any,
    da_min: Any,
    da_max: Any,
    dleast: Any,
    dgreatest: Any,
) -> Any:
    """min(max(a, lowest), highest), with the bounds under NumPy's old or new names."""
    low, dlow = (least, dleast) if a_min is None else (a_min, da_min)
    high, dhigh = (greatest, dgreatest) if a_max is None else (a_max, da_max)
    tangent = +da if low is None else np.where(a < low, dlow, da)
    lifted = a if low is None else np.maximum(a, low)
    return tangent if high is None else np.where(lifted > high, dhigh, tangent)


def nan_to_num(
    y: Any, x: Any, dx: Any, nan: float = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    """The tangent of finite entries; other entries are replaced by a constant."""
    return np.where(np.isfinite(x), dx, 0)


def interp(
    y: Any, x: Any, fp: Any, dx: Any, dfp: Any, xp: Any, left: Any = None, right: Any = None
) -> Any:
    """Linear interpolation: linear in the heights, plus the slope of the interval times ẋ."""
    interval = np.clip(np.searchsorted(xp, x, side="right") - 1, 0, len(xp) - 2)
    slope = np.take(np.diff(fp) / np.diff(xp), interval)
    outside = (x < xp[0]) | (x > xp[-1])
    zero_left, zero_right = (None if edge is None else 0.0 for edge in (left, right))
    return np.interp(x, xp, dfp, zero_left, zero_right) + np.where(outside, 0, slope * dx)


def pad(at: Evaluation) -> Any:
    """Linear in the array and in the padding, for all modes that do not search for entries."""
    mode = at.options.get("mode", "constant")
    if mode not in ("constant", "edge", "linear_ramp", "mean", "reflect", "symmetric", "wrap"):
        raise no_rule(f"numpy.pad(mode={mode!r})")
    return linear().tangent(at)


def sort(
    y: Any, a: Any, da: Any, axis: Any = -1, kind: Any = None, order: None = None, **stable: Any
) -> Any:
    """The tangents in the order of the values."""
    if axis is None:
        a, da, axis = np.ravel(a), np.ravel(da), 0
    return np.take_along_axis(da, np.argsort(a, axis=axis, kind=kind, **stable), axis=axis)


def median(y: Any, a: Any, da: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean of the two middle entries, which may coincide."""
    entries, tangents = merged(a, axis), merged(da, axis)
    count = entries.shape[-1]
    middle = np.argsort(entries, axis=-1)[..., [(count - 1) // 2, count // 2]]
    return np.mean(np.take_along_axis(tangents, middle, axis=-1), axis=-1).reshape(np.shape(y))


def average(
    y: Any, a: Any, da: Any, axis: Any = None, weights: Any = None, keepdims: bool = False
) -> Any:
    """Linear in the averaged array; the weights are constants."""
    options: dict[str, Any] = {"axis": axis, "weights": weights, "keepdims": keepdims}
    return np.average(da, **options)


def var(
    y: Any,
    a: Any,
    mean: Any,
    da: Any,
    dmean: Any,
    axis: Any = None,
    dtype: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = True,
    correction: float | None = None,
) -> Any:
    """The variance y = Σ (a − ā)² / (n − ddof) has dy = 2 Σ (a − ā)(da − dā) / (n − ddof)."""
    if mean is None:
        mean = np.mean(a, axis=axis, keepdims=True, where=where)
        dmean = np.mean(da, axis=axis, keepdims=True, where=where)
    product = (a - mean) * (da - dmean)
    count = np.sum(np.broadcast_to(where, a.shape), axis=axis, keepdims=keepdims)
    degrees_of_freedom = count - (ddof if correction is None else correction)
    return 2 * np.sum(product, axis=axis, keepdims=keepdims, where=where) / degrees_of_freedom


def std(y: Any, *arguments: Any, **options: Any) -> Any:
    """The root of the variance: dy = d(y²) / 2y."""
    return var(y, *arguments, **options) / (2 * y)


def running_products(a: Any, da: Any, start: Any, dstart: Any) -> Iterator[Any]:
    """Tangents of start, start·a₁, start·a₁a₂, ... along the first axis: d(pa) = dp a + p da.

    There is no division, so a factor may be zero.
    """
    product, tangent = start, dstart
    yield tangent
    for factor, dfactor in zip(a, da, strict=True):
        product, tangent = product * factor, tangent * factor + product * dfactor
        yield tangent


def prod(
    y: Any,
    a: Any,
    initial: Any,
    da: Any,
    dinitial: Any,
    axis: Any = None,
    dtype: Any = None,
    keepdims: bool = False,
    where: Any = True,
) -> Any:
    """The last of the running products."""
    factors = np.moveaxis(merged(np.where(where, a, 1), axis), -1, 0)
    tangents = np.moveaxis(merged(np.where(where, da, 0), axis), -1, 0)
    start, dstart = (1, 0) if initial is None else (initial, dinitial)
    *_, last = running_products(factors, tangents, start, dstart)
    return np.broadcast_to(last, factors.shape[1:]).reshape(np.shape(y))


def cumprod(y: Any, a: Any, da: Any, axis: Any = None, dtype: Any = None) -> Any:
    """All of the running products."""
    if axis is None:
        a, da, axis = np.ravel(a), np.ravel(da), 0
    tangent = np.zeros_like(y)
    rows = running_products(np.moveaxis(a, axis, 0), np.moveaxis(da, axis, 0), 1, 0)
    next(rows)  # skip the empty product
    into = np.moveaxis(tangent, axis, 0)
    for i, row in enumerate(rows):
        into[i] = row
    return tangent


def norm(y: Any, x: Any, dx: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """‖x‖ = (Σ|xᵢ|ᵖ)^(1/p) has d‖x‖ = Σ sign(xᵢ) |xᵢ|ᵖ⁻¹ dxᵢ / ‖x‖ᵖ⁻¹; also Frobenius."""
    options = {"axis": axis, "keepdims": keepdims}
    of_vectors = np.ndim(x) == 1 if axis is None else np.size(axis) == 1
    if ord is None or ord == "fro" or (ord == 2 and of_vectors):
        return np.sum(x * dx, **options) / y
    if not of_vectors or ord == 0:
        raise no_rule(f"numpy.linalg.norm(ord={ord}) of {'vectors' if of_vectors else 'matrices'}")
    if abs(ord) == math.inf:
        formula_of_it = maximum_tangent if ord > 0 else minimum_tangent
        return formula_of_it(y, np.abs(x), None, np.sign(x) * dx, None, axis)
    weight = np.sign(x) if ord == 1 else np.sign(x) * np.abs(x) ** (ord - 1)
    return np.sum(weight * dx, **options) / y ** (ord - 1)


def solve(y: Any, a: Any, b: Any, da: Any, db: Any) -> Any:
    """The derivative of a y = b gives a dy = db − da y."""
    if np.ndim(b) > 1:
        return np.linalg.solve(a, db - da @ y)
    return np.linalg.solve(a, (db - (da @ y[..., None])[..., 0])[..., None])[..., 0]


def log_determinant(a: Any, da: Any) -> Any:
    """Jacobi's formula: d ln det a = tr(a⁻¹ da)."""
    return np.trace(np.linalg.solve(a, da), axis1=-2, axis2=-1)


FORMULAS: dict[Function, TangentRule] = {
    np.max: formula(maximum_tangent, "a", "initial"),
    np.min: formula(minimum_tangent, "a", "initial"),
    np.amax: formula(maximum_tangent, "a", "initial"),
    np.amin: formula(minimum_tangent, "a", "initial"),
    np.ptp: formula(ptp, "a"),
    np.clip: formula(clip, "a", "a_min", "a_max", "min", "max"),
    np.nan_to_num: formula(nan_to_num, "x"),
    np.interp: formula(interp, "x", "fp"),
    np.pad: TangentRule(pad, ("array", "constant_values", "end_values")),
    np.sort: formula(sort, "a"),
    np.median: formula(median, "a"),
    np.average: formula(average, "a"),
    np.var: formula(var, "a", "mean"),
    np.std: formula(std, "a", "mean"),
    np.prod: formula(prod, "a", "initial"),
    np.cumprod: formula(cumprod, "a"),
    np.linalg.norm: formula(norm, "x"),
    np.linalg.inv: formula(lambda y, a, da: -y @ da @ y, "a"),
    np.linalg.solve: formula(solve, "a", "b"),
    np.linalg.det: formula(lambda y, a, da: y * log_determinant(a, da), "a"),
    np.linalg.slogdet: formula(lambda y, a, da: (0 * y[0], log_determinant(a, da)), "a"),
    np.linalg.multi_dot: formula(
        lambda y, a, da: sum(
            np.linalg.multi_dot([*a[:i], da[i], *a[i + 1 :]]) for i in range(len(a))
        ),
        "arrays",
    ),
}
