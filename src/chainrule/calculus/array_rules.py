"""The table of tangent rules for functions of whole arrays.

Most of what a layer does to an array is linear; the tangent then passes through the same function
as the value, ẏ = f(ẋ). Most of the rest is linear in each argument separately, like y = a b:

    ẏ = ȧ b + a ḃ.

What remains are selections, where the tangent follows the selected entry, and formulas, one
function each at the end of this file. Some functions are written out in terms of others, such as
``nanmean(a) = mean(a, where=~isnan(a))``, and have the tangent of that. Where a derivative does not
exist, we choose one:

- ``max`` and ``min`` of equal entries: the tangent of the first of them. ``sort``, ``median`` and
  the quantiles use the order that ``argsort`` finds.
- ``clip``: an entry on the boundary counts as inside and keeps its tangent.
- ``std`` of equal entries: 0, the mean of both sides.

The rules of `numpy.linalg` are in `linear_algebra_rules`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from chainrule.calculus.messages import lost, no_derivative, no_rule
from chainrule.calculus.rules import (
    Evaluation,
    TangentRule,
    composition,
    formula,
    linear,
    multilinear,
)

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
    *available(np, "trapezoid", "trapz", "cumulative_sum"),
    # Fourier transforms, and coefficients of polynomials
    *(np.fft.fft, np.fft.ifft, np.fft.fft2, np.fft.ifft2, np.fft.fftn, np.fft.ifftn),
    *(np.fft.rfft, np.fft.irfft, np.fft.rfft2, np.fft.irfft2, np.fft.rfftn, np.fft.irfftn),
    *(np.fft.hfft, np.fft.ihfft, np.fft.fftshift, np.fft.ifftshift),
    np.polyder,
    # copy or convert
    *(np.copy, np.array, np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray),
    *(np.require, np.real, np.imag, *available(np, "astype")),
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
    np.polyadd: linear("a1", "a2"),
    np.polyint: linear("p", "k"),
    np.polysub: linear("a1", "a2"),
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
    *(np.zeros, np.ones, np.empty, np.eye, np.identity, np.tri, np.fromfunction),
    *(np.round, np.around, np.fix),
    *(np.argmax, np.argmin, np.argsort, np.argpartition, np.argwhere, np.searchsorted),
    *(np.nanargmax, np.nanargmin, np.isin),
    *(np.lexsort, np.nonzero, np.flatnonzero, np.count_nonzero, np.digitize),
    *(np.any, np.all, np.isclose, np.allclose, np.array_equal, np.array_equiv),
    *(np.isposinf, np.isneginf, np.isreal, np.iscomplex, np.isrealobj, np.iscomplexobj),
    *(np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.common_type),
    *(np.min_scalar_type, np.shares_memory, np.may_share_memory),
    *(np.diag_indices_from, np.tril_indices_from, np.triu_indices_from, np.linalg.matrix_rank),
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
    """The tangent of finite numbers; others are replaced by a constant."""
    if not np.iscomplexobj(x):
        return np.where(np.isfinite(x), dx, 0)
    tangent = np.zeros_like(dx)  # the real and the imaginary part are replaced separately
    tangent.real = np.where(np.isfinite(np.real(x)), np.real(dx), 0)
    tangent.imag = np.where(np.isfinite(np.imag(x)), np.imag(dx), 0)
    return tangent


def interp(
    y: Any,
    x: Any,
    xp: Any,
    fp: Any,
    dx: Any,
    dxp: Any,
    dfp: Any,
    left: Any = None,
    right: Any = None,
) -> Any:
    """Linear in the heights, plus the slope times the velocity of x relative to the knots."""
    interval = np.clip(np.searchsorted(xp, x, side="right") - 1, 0, len(xp) - 2)
    slope = np.take(np.diff(fp) / np.diff(xp), interval)
    outside = (x < xp[0]) | (x > xp[-1])
    zero_left, zero_right = (None if edge is None else 0.0 for edge in (left, right))
    relative = dx - np.interp(x, xp, dxp)
    return np.interp(x, xp, dfp, zero_left, zero_right) + np.where(outside, 0, slope * relative)


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


def quantile(
    y: Any,
    a: Any,
    da: Any,
    q: Any,
    axis: Any = None,
    method: Any = "linear",
    keepdims: bool = False,
    percent: float = 1.0,
) -> Any:
    """Linear between neighbours in the sorted order; NaN are last in it and do not count.

    Of the numbers 0, 1, 2, ..., n − 1 the quantile is its own position in the order, so NumPy
    itself says where it lies and this holds for all of its methods.
    """
    entries, tangents = merged(a, axis), merged(da, axis)
    count = np.sum(~np.isnan(entries), axis=-1)
    levels = np.ravel(q) / percent
    position = np.zeros((*count.shape, levels.size))
    for n in set(np.ravel(count)) - {0}:
        position[count == n] = np.quantile(np.arange(float(n)), levels, method=method)
    ordered = np.take_along_axis(tangents, np.argsort(entries, axis=-1), axis=-1)
    lower, upper = np.floor(position).astype(int), np.ceil(position).astype(int)
    share = (position - lower).astype(y.dtype)
    below, above = (np.take_along_axis(ordered, i, axis=-1) for i in (lower, upper))
    return np.moveaxis(below + share * (above - below), -1, 0).reshape(np.shape(y))


def partition(
    y: Any, a: Any, da: Any, kth: Any, axis: Any = -1, kind: Any = None, order: None = None
) -> Any:
    """The tangents in the order of the result, which is found by sorting both."""
    if axis is None:
        a, da, axis = np.ravel(a), np.ravel(da), 0
    before, after = (np.argsort(entries, axis=axis, kind="stable") for entries in (a, y))
    tangent = np.zeros_like(da)
    np.put_along_axis(tangent, after, np.take_along_axis(da, before, axis=axis), axis=axis)
    return tangent


def average(a: Any, weights: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean Σ w a / Σ w; weights may have the axes of the average alone."""
    if weights is None:
        return np.mean(a, axis=axis)
    if np.shape(weights) != a.shape:
        axes = np.lib.array_utils.normalize_axis_tuple(axis, a.ndim)
        lengths = [n if i in axes else 1 for i, n in enumerate(a.shape)]
        weights = np.reshape(np.transpose(weights, np.argsort(axes)), lengths)
    return np.sum(a * weights, axis=axis) / np.sum(weights + np.zeros_like(a), axis=axis)


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
    """The variance y = Σ |a − ā|² / (n − ddof), dy = 2 Re Σ conj(a − ā)(da − dā) / (n − ddof)."""
    if mean is None:
        mean = np.mean(a, axis=axis, keepdims=True, where=where)
        dmean = np.mean(da, axis=axis, keepdims=True, where=where)
    product = np.real(np.conjugate(a - mean) * (da - dmean))
    count = np.sum(np.broadcast_to(where, a.shape), axis=axis, keepdims=keepdims)
    degrees_of_freedom = count - (ddof if correction is None else correction)
    return 2 * np.sum(product, axis=axis, keepdims=keepdims, where=where) / degrees_of_freedom


def std(y: Any, *arguments: Any, **options: Any) -> Any:
    """The root of the variance: dy = d(y²) / 2y, and 0 for equal entries."""
    return var(y, *arguments, **options) / np.where(y == 0, 1, 2 * y)


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


def arange(at: Evaluation) -> Any:
    """How many numbers there are depends on the limits."""
    raise lost("numpy.arange(x)", "use np.linspace(start, stop, number)")


def roots(y: Any, p: Any, dp: Any) -> Any:
    """Where p(y) = 0 stays true, p′(y) dy = −dp(y)."""
    slope = np.polyval(np.polyder(p), y)
    if np.any(slope == 0):
        raise no_derivative(
            "numpy.roots", "a multiple root", "a multiple root splits at infinite speed"
        )
    return -np.polyval(dp, y) / slope


def polymul(y: Any, a1: Any, a2: Any, d1: Any, d2: Any) -> Any:
    """The product rule; y has no leading zeros."""
    a1, a2, d1, d2 = map(np.atleast_1d, (a1, a2, d1, d2))
    return aligned(np.convolve(d1, a2) + np.convolve(a1, d2), y)


def polydiv(y: Any, u: Any, v: Any, du: Any, dv: Any) -> Any:
    """U = q v + r gives du − q dv = dq v + dr, again with a remainder of lower degree than v."""
    v, du, change = np.atleast_1d(v), np.atleast_1d(du), np.convolve(y[0], np.atleast_1d(dv))
    length = max(len(du), len(change))
    change = np.pad(du, (length - len(du), 0)) - np.pad(change, (length - len(change), 0))
    return tuple(map(aligned, np.polydiv(change, v), y))


def aligned(p: Any, y: Any) -> Any:
    """A polynomial with as many coefficients as y has."""
    return np.pad(p, (max(len(y) - len(p), 0), 0))[len(p) - len(y) if len(p) > len(y) else 0 :]


def numbers(a: Any) -> Any:
    """Which entries are not NaN."""
    return ~np.isnan(a)


def polyval(p: Any, x: Any) -> Any:
    """Horner's scheme."""
    y = 0 * x
    for coefficient in p:
        y = y * x + coefficient
    return y


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """Columns of powers, the highest first by default."""
    powers = np.arange(len(x) if N is None else N)
    return x[:, None] ** (powers if increasing else powers[::-1])


def cumulative_prod(x: Any, axis: int | None = None, include_initial: bool = False) -> Any:
    """The running products, from 1 if ``include_initial``."""
    axis = 0 if axis is None else axis
    if include_initial:
        x = np.concatenate([np.ones_like(np.take(x, [0], axis=axis)), x], axis=axis)
    return np.cumprod(x, axis=axis)


def cov(
    m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None
) -> Any:
    """The covariances of rows, X Xᴴ / (n − ddof) with centred rows X."""
    rows = [np.atleast_2d(a if rowvar or a.ndim == 1 else a.T) for a in (m, y) if a is not None]
    together = rows[0] if y is None else np.concatenate(rows)
    centred = together - np.mean(together, axis=1, keepdims=True)
    degrees_of_freedom = centred.shape[1] - (int(not bias) if ddof is None else ddof)
    return np.squeeze(centred @ np.conjugate(centred.T) / degrees_of_freedom)


def corrcoef(x: Any, y: Any = None, rowvar: bool = True) -> Any:
    """Covariances of rows divided by their standard deviations."""
    covariance = np.atleast_2d(cov(x, y, rowvar))
    deviation = np.sqrt(np.real(np.diag(covariance)))
    return covariance / np.outer(deviation, deviation)


def apply_along_axis(arr: Any, func1d: Function, axis: int) -> Any:
    """The function of each row in turn."""
    rows = np.moveaxis(arr, axis, -1)
    results = np.stack([func1d(rows[i]) for i in np.ndindex(rows.shape[:-1])])
    shape = results.shape[1:]
    results = np.reshape(results, (*rows.shape[:-1], *shape))
    first = axis % arr.ndim
    return np.moveaxis(results, range(-len(shape), 0), range(first, first + len(shape)))


def piecewise(x: Any, condlist: Any, funclist: Any) -> Any:
    """The function, or number, of the last condition that holds; an extra one where none does."""
    conditions = np.asarray(condlist, dtype=bool)
    conditions = conditions.reshape(-1, *np.shape(x))
    if len(funclist) == len(conditions) + 1:
        conditions = np.concatenate([conditions, ~np.any(conditions, axis=0, keepdims=True)])
    y = np.zeros_like(x)
    for condition, function in zip(conditions, funclist, strict=True):
        y[condition] = function(x[condition]) if callable(function) else function
    return y


def nan_to(constant: float, function: Function) -> Function:
    """A reduction in which NaN counts as a constant."""
    return lambda a, **options: function(np.where(numbers(a), a, constant), **options)


def without_nan(function: Function) -> Function:
    """A reduction that leaves out NaN."""
    return lambda a, where=True, **options: function(a, where=numbers(a) & where, **options)


def extended(function: Function, *arrays: str) -> TangentRule:
    """The rule of a function that `numpy.emath` continues into the complex numbers if need be."""

    def tangent(at: Evaluation) -> Any:
        dtype = at.result.dtype
        return at.through(lambda *given: function(*(np.multiply(x, dtype.type(1)) for x in given)))

    return TangentRule(tangent, arrays)


COMPOSITIONS: dict[Function, TangentRule] = {
    np.nansum: composition(nan_to(0, np.sum)),
    np.nanprod: composition(nan_to(1, np.prod)),
    np.nanmax: composition(nan_to(-math.inf, np.max)),
    np.nanmin: composition(nan_to(math.inf, np.min)),
    np.nancumsum: composition(nan_to(0, np.cumsum)),
    np.nancumprod: composition(nan_to(1, np.cumprod)),
    np.nanmean: composition(without_nan(np.mean)),
    np.nanvar: composition(without_nan(np.var)),
    np.nanstd: composition(without_nan(np.std)),
    np.polyval: composition(polyval, "p", "x"),
    np.vander: composition(vander),
    np.average: composition(average, "a", "weights"),
    np.cov: composition(cov, "m", "y"),
    np.corrcoef: composition(corrcoef, "x", "y"),
    np.apply_along_axis: composition(apply_along_axis, "arr"),
    np.piecewise: composition(piecewise),
    **{f: composition(cumulative_prod, "x") for f in available(np, "cumulative_prod")},
    **{
        getattr(np.emath, name): extended(getattr(np, name))
        for name in ("sqrt", "log", "log2", "log10", "arccos", "arcsin", "arctanh")
    },
    np.emath.logn: extended(lambda n, x: np.log(x) / np.log(n), "n", "x"),
    np.emath.power: extended(np.power, "x", "p"),
}

FORMULAS: dict[Function, TangentRule] = {
    np.max: formula(maximum_tangent, "a", "initial"),
    np.min: formula(minimum_tangent, "a", "initial"),
    np.amax: formula(maximum_tangent, "a", "initial"),
    np.amin: formula(minimum_tangent, "a", "initial"),
    np.ptp: formula(ptp, "a"),
    np.clip: formula(clip, "a", "a_min", "a_max", "min", "max"),
    np.nan_to_num: formula(nan_to_num, "x"),
    np.interp: formula(interp, "x", "xp", "fp"),
    np.arange: TangentRule(arange),
    np.pad: TangentRule(pad, ("array", "constant_values", "end_values")),
    np.sort: formula(sort, "a"),
    np.sort_complex: formula(lambda y, a, da: sort(y, a, da) * y.dtype.type(1), "a"),
    np.median: formula(median, "a"),
    np.var: formula(var, "a", "mean"),
    np.std: formula(std, "a", "mean"),
    np.prod: formula(prod, "a", "initial"),
    np.cumprod: formula(cumprod, "a"),
    np.quantile: formula(quantile, "a"),
    np.nanquantile: formula(quantile, "a"),
    np.percentile: formula(partial(quantile, percent=100.0), "a"),
    np.nanpercentile: formula(partial(quantile, percent=100.0), "a"),
    np.nanmedian: formula(partial(quantile, q=0.5), "a"),
    np.partition: formula(partition, "a"),
    np.unwrap: formula(lambda y, p, dp, **options: dp, "p"),
    np.real_if_close: formula(
        lambda y, a, da, **options: da if np.iscomplexobj(y) else np.real(da), "a"
    ),
    np.logspace: formula(
        lambda y, a, b, da, db, base=10.0, **shape: y * np.log(base) * np.linspace(da, db, **shape),
        *("start", "stop"),
    ),
    np.geomspace: formula(
        lambda y, a, b, da, db, **shape: y * np.linspace(da / a, db / b, **shape), "start", "stop"
    ),
    np.roots: formula(roots, "p"),
    np.polymul: formula(polymul, "a1", "a2"),
    np.polydiv: formula(polydiv, "u", "v"),
    np.polyfit: formula(
        lambda c, y, dy, x, deg, rcond=None, w=None: np.polyfit(x, dy, deg, rcond, w=w), "y"
    ),
}
