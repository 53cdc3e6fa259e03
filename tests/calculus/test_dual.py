"""Dual numbers against truths that know nothing of them.

The derivatives come from mpmath at 40 digits, and from the complex step f′(x) ẋ = Im f(x + ihẋ)/h,
which has no cancellation and so is exact for h = 10⁻¹⁰⁰: for all of array handling too, as the
imaginary part rides along with every copy, sum and selection.
"""

from __future__ import annotations

import copy
import doctest
import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from calculus.complex_step import assert_close, check, flat
from chainrule.calculus import dual as dual_module
from chainrule.calculus.array_rules import (
    ARRAY_RULES,
    COMPOSITIONS,
    CONSTANT_FUNCTIONS,
    FORMULAS,
    WRITING_RULES,
)
from chainrule.calculus.dual import RULES, Dual, tangent_rule
from chainrule.calculus.elementwise_rules import CONSTANT_UFUNCS, DERIVATIVES, ELEMENTWISE_RULES
from chainrule.core.errors import DtypeError, NoTangentRuleError, ShapeError

SEEDS = st.integers(0, 2**32 - 1)
sliding_window_view = np.lib.stride_tricks.sliding_window_view
as_strided = np.lib.stride_tricks.as_strided


# ---- elementwise functions, against mpmath


def both(low: float, high: float) -> tuple[tuple[float, float], tuple[float, float]]:
    return (low, high), (low, high)


def remainder(a: Any, b: Any) -> Any:
    return a - b * mpmath.floor(a / b)


def truncated(x: Any) -> Any:
    return mpmath.floor(x) if x > 0 else mpmath.ceil(x)


def signed(a: Any, b: Any) -> Any:
    return abs(a) if b > 0 else -abs(a)


def logarithm_of_sum(base: Any) -> Any:
    return lambda a, b: mpmath.log(base**a + base**b) / mpmath.log(base)


MPMATH: dict[Any, tuple[Any, tuple[tuple[float, float], ...]]] = {
    np.add: (lambda a, b: a + b, both(-9, 9)),
    np.subtract: (lambda a, b: a - b, both(-9, 9)),
    np.multiply: (lambda a, b: a * b, both(-9, 9)),
    np.divide: (lambda a, b: a / b, ((-9, 9), (0.1, 9))),
    np.floor_divide: (lambda a, b: mpmath.floor(a / b), ((-9, 9), (0.1, 9))),
    np.remainder: (remainder, ((-9, 9), (0.1, 9))),
    np.fmod: (lambda a, b: a - b * truncated(a / b), ((-9, 9), (0.1, 9))),
    np.power: (lambda a, b: a**b, ((0.1, 9), (-5, 5))),
    np.float_power: (lambda a, b: a**b, ((0.1, 9), (-5, 5))),
    np.negative: (lambda x: -x, ((-9, 9),)),
    np.positive: (lambda x: x, ((-9, 9),)),
    np.conjugate: (lambda x: x, ((-9, 9),)),
    np.reciprocal: (lambda x: 1 / x, ((0.01, 9),)),
    np.square: (lambda x: x * x, ((-9, 9),)),
    np.sqrt: (mpmath.sqrt, ((1e-6, 1e6),)),
    np.cbrt: (mpmath.cbrt, ((1e-6, 1e6),)),
    np.exp: (mpmath.exp, ((-300, 300),)),
    np.exp2: (lambda x: mpmath.mpf(2) ** x, ((-300, 300),)),
    np.expm1: (mpmath.expm1, ((-50, 50),)),
    np.log: (mpmath.log, ((1e-9, 1e9),)),
    np.log2: (lambda x: mpmath.log(x, 2), ((1e-9, 1e9),)),
    np.log10: (mpmath.log10, ((1e-9, 1e9),)),
    np.log1p: (lambda x: mpmath.log(1 + x), ((-0.999, 1e9),)),
    np.logaddexp: (logarithm_of_sum(mpmath.e), both(-30, 30)),
    np.logaddexp2: (logarithm_of_sum(mpmath.mpf(2)), both(-30, 30)),
    np.sin: (mpmath.sin, ((-99, 99),)),
    np.cos: (mpmath.cos, ((-99, 99),)),
    np.tan: (mpmath.tan, ((-1.5, 1.5),)),
    np.arcsin: (mpmath.asin, ((-0.9999, 0.9999),)),
    np.arccos: (mpmath.acos, ((-0.9999, 0.9999),)),
    np.arctan: (mpmath.atan, ((-99, 99),)),
    np.arctan2: (mpmath.atan2, ((-9, 9), (0.1, 9))),
    np.hypot: (mpmath.hypot, ((0.1, 9), (-9, 9))),
    np.degrees: (mpmath.degrees, ((-9, 9),)),
    np.rad2deg: (mpmath.degrees, ((-9, 9),)),
    np.radians: (mpmath.radians, ((-999, 999),)),
    np.deg2rad: (mpmath.radians, ((-999, 999),)),
    np.sinh: (mpmath.sinh, ((-99, 99),)),
    np.cosh: (mpmath.cosh, ((-99, 99),)),
    np.tanh: (mpmath.tanh, ((-30, 30),)),
    np.arcsinh: (mpmath.asinh, ((-1e6, 1e6),)),
    np.arccosh: (mpmath.acosh, ((1.0001, 1e6),)),
    np.arctanh: (mpmath.atanh, ((-0.9999, 0.9999),)),
    np.absolute: (abs, ((0.01, 9),)),
    np.fabs: (abs, ((-9, -0.01),)),
    np.copysign: (signed, ((0.1, 9), (-9, -0.1))),
    np.heaviside: (lambda x, at_zero: mpmath.mpf(x > 0), ((0.1, 9), (0, 1))),
    np.maximum: (max, ((-9, 0), (0.1, 9))),
    np.minimum: (min, ((-9, 0), (0.1, 9))),
    np.fmax: (max, ((0.1, 9), (-9, 0))),
    np.fmin: (min, ((0.1, 9), (-9, 0))),
    np.sinc: (mpmath.sincpi, ((-9, 9),)),
    np.i0: (lambda x: mpmath.besseli(0, x), ((-700, 700),)),
}


def test_every_elementwise_rule_is_compared_with_mpmath() -> None:
    others = {np.sinc, np.i0, np.absolute, np.conjugate}
    assert MPMATH.keys() == {*DERIVATIVES, *others}


@pytest.mark.parametrize("function", MPMATH, ids=lambda f: f.__name__)
@given(data=st.data())
@settings(max_examples=12)
def test_derivatives_are_those_of_mpmath(function: Any, data: Any) -> None:
    formula, domains = MPMATH[function]
    point = [data.draw(st.floats(low, high)) for low, high in domains]
    steps = function in (np.floor_divide, np.remainder, np.fmod)
    if steps and abs(point[0] / point[1] - round(point[0] / point[1])) < 1e-9:
        point[0] += point[1] / 2  # not at the step itself
    for n in range(len(point)):
        carried = [Dual(x, 1.0) if i == n else x for i, x in enumerate(point)]
        with mpmath.workdps(40):
            order = tuple(int(i == n) for i in range(len(point)))
            exact = mpmath.diff(formula, tuple(map(mpmath.mpf, point)), order)
        received = function(*carried)
        # logaddexp: the rounding of y enters as that of exp(a - y), relative to |y|.
        accuracy = 2e-15 * (40 if function in (np.logaddexp, np.logaddexp2) else 8)
        assert_close(received.tangent, float(exact), accuracy)
        assert received.value == function(*point)


@given(x=st.floats(1e-9, 1e-3))
def test_sinc_keeps_its_digits_near_zero(x: float) -> None:
    with mpmath.workdps(60):
        exact = float((mpmath.cospi(x) - mpmath.sincpi(x)) / x)
    assert math.isclose(np.sinc(Dual(x, 1.0)).tangent, exact, rel_tol=1e-14)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 0.0, 2.0, np.int64(3), np.array([0, 1, 2])])
def test_whole_powers_have_finite_derivatives_at_zero_without_warning(exponent: Any) -> None:
    power = Dual(np.zeros(3), np.ones(3)) ** exponent
    assert np.array_equal(power.tangent, np.where(np.equal(exponent, 1), 1.0, 0.0) * np.ones(3))


def test_zero_to_a_moving_power_has_zero_tangent() -> None:
    assert (0.0 ** Dual([0.5, 2.0], [1.0, 1.0])).tangent.tolist() == [0.0, 0.0]


def test_an_infinite_slope_is_infinite_and_says_so() -> None:
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert np.sqrt(Dual(0.0, 1.0)).tangent == math.inf


SINGULAR: list[tuple[Callable[[Any], Any], float]] = [
    *((f, 0.0) for f in (np.sqrt, np.cbrt, np.abs, np.angle, np.linalg.norm, np.sign)),
    *((f, 1.0) for f in (np.arcsin, np.arccos, np.arccosh)),
    (lambda x: x**0.5, 0.0),
    (lambda x: x**1.5, 0.0),
    (lambda x: np.hypot(x, x), 0.0),
    (lambda x: np.arctan2(x, x), 0.0),
    (lambda x: np.sqrt(x * x + x * x), 0.0),
    (lambda x: np.std(x, axis=-1), 3.0),
    (lambda x: np.linalg.norm(x, axis=-1, ord=3), 0.0),
    (lambda x: np.linalg.norm(x, axis=-1, ord=0.5), 0.0),
]


@pytest.mark.parametrize(("function", "point"), SINGULAR)
def test_what_does_not_move_has_no_tangent_even_where_the_slope_is_infinite(
    function: Any, point: float
) -> None:
    x = np.full(3, point)
    assert not np.any(function(Dual(x, 0.0)).tangent)
    assert not np.any(function(Dual(Dual(x, 0.0), 0.0)).tangent.tangent)
    mixed = Dual(np.stack([x, np.array([0.3, 0.4, 0.7]) + 0.9 * (function is np.arccosh)]), 1.0)
    mixed.tangent[0] = 0.0
    if np.ndim(function(x[None])):
        assert not np.any(function(mixed).tangent[0])
        assert_close(function(mixed).tangent[1:], function(mixed[1:]).tangent)


def test_only_the_entry_with_an_infinite_slope_that_moves_is_infinite() -> None:
    with pytest.warns(RuntimeWarning, match="divide by zero") as warned:
        root = np.sqrt(Dual([0.0, 0.0, 4.0], [0.0, 1.0, 1.0]))
    assert root.tangent.tolist() == [0.0, math.inf, 0.25]
    assert len(warned) == 1
    with pytest.warns(RuntimeWarning), np.errstate(over="ignore"):
        second = np.sqrt(Dual(Dual(0.0, 0.0), Dual(0.0, 1.0)))  # moves in second order
    assert not np.isfinite(second.tangent.tangent)


@pytest.mark.parametrize(
    "function",
    [np.abs, np.linalg.norm, np.std, lambda x: np.hypot(x, x), lambda x: np.linalg.norm(x, 1)],
)
def test_at_the_kink_of_a_norm_the_tangent_is_the_mean_of_both_sides(function: Any) -> None:
    x, v = np.zeros(3), np.array([1.0, -2.0, 4.0])
    h = 1e-6
    expected = (function(x + h * v) - function(x - h * v)) / (2 * h)
    assert_close(function(Dual(x, v)).tangent, expected)


@pytest.mark.parametrize("function", [np.maximum, np.minimum, np.fmax, np.fmin])
def test_of_two_equal_numbers_both_tangents_count_half(function: Any) -> None:
    one, other = Dual([0.0, -np.inf], [1.0, 1.0]), Dual([0.0, -np.inf], [5.0, 5.0])
    assert function(one, other).tangent.tolist() == [3.0, 3.0]
    assert function(one, np.array([0.0, 7.0])).tangent[0] == 0.5


def test_fmax_follows_the_number_where_the_other_is_nan() -> None:
    assert np.fmax(
        Dual([np.nan, 1.0], [3.0, 4.0]), Dual([2.0, np.nan], [5.0, 6.0])
    ).tangent.tolist() == [5, 4]


# ---- functions of whole arrays, against the complex step
#
# x and y are 3×4. A truth of its own stands second where NumPy's function is no analytic one of
# complex numbers. NumPy asks only the arrays of a call whether they are Duals, not its options:
# with x + 0 * y both are.


def square(x: Any) -> Any:
    return x[:, :3] + 4 * np.eye(3)


def written(function: Any, *arguments: Any) -> Callable[[Any, Any], Any]:
    """What is in an array that x was in, after ``function(array, *arguments)``."""

    def call(x: Any, y: Any) -> Any:
        into = x + 0 * y
        function(into, *(a(y) if callable(a) else a for a in arguments))
        return into

    return call


def padded(x: Any, y: Any) -> Any:
    into = np.zeros((5, 8), dtype=x.dtype)
    into[1:4, 2:6] = x
    into[0], into[4], into[1:4, :2], into[1:4, 6:] = y[0, 0], y[0, 0], 2.0, y[1, 1]
    into[:, :2] = 2.0
    into[:, 6:] = y[1, 1]
    return into


def root_of_squares(x: Any, **options: Any) -> Any:
    return np.sqrt(np.sum(x * x, **options))


def interpolated(x: Any, y: Any) -> Any:
    knots = np.array([-1.0, 0.0, 0.5, 2.0])
    out = []
    for one in np.ravel(x):
        i = int(np.clip(np.searchsorted(knots, one.real, side="right") - 1, 0, 2))
        slope = (y[0, i + 1] - y[0, i]) / (knots[i + 1] - knots[i])
        inside = y[0, i] + slope * (one - knots[i])
        out.append(y[0, 0] if one.real < -1 else y[0, 3] if one.real > 2 else inside)
    return np.array(out).reshape(3, 4)


def variance(x: Any, ddof: int = 0, axis: Any = None, keepdims: bool = False) -> Any:
    squares = (x - np.mean(x, axis=axis, keepdims=True)) ** 2
    count = np.sum(np.ones(x.shape), axis=axis, keepdims=keepdims)
    return np.sum(squares, axis=axis, keepdims=keepdims) / (count - ddof)


def planes(z: Any) -> Any:
    """Real and imaginary part, which are real functions and so have a complex step each."""
    return np.stack([z.real, z.imag])


def fourier(x: Any, axes: tuple[int, ...] = (-1,), sign: int = -1) -> Any:
    """The sums of the Fourier transform written out, from planes to planes."""
    re, im = x if x.ndim > 2 else (x, 0 * x)
    for axis in axes:
        n = re.shape[axis]
        angle = 2 * np.pi / n * np.outer(np.arange(n), np.arange(n))
        c, s = np.cos(angle), sign * np.sin(angle)
        re, im = (
            np.moveaxis(np.tensordot(re, a, (axis, 0)) - np.tensordot(im, b, (axis, 0)), -1, axis)
            for a, b in ((c, s), (s, -c))
        )
    return np.stack([re, im])


def hermitian(x: Any, n: int, sign: int) -> Any:
    """The real transform of planes whose missing half is the conjugate of the first."""
    (re, im), rest = x, np.arange((n - 1) // 2, 0, -1)
    zeros = 0 * im[..., :1]
    middle = [] if n % 2 else [zeros]
    im = np.concatenate([zeros, im[..., 1 : 1 + len(rest)], *middle, -im[..., rest]], axis=-1)
    return fourier(np.stack([np.concatenate([re, re[..., rest]], axis=-1), im]), sign=sign)[0]


def knots(x: Any, positions: Any) -> Any:
    """Between neighbours in the order of size."""
    ordered, below = x[np.argsort(x.real)], np.floor(positions).astype(int)
    share = positions - below
    return (1 - share) * ordered[below] + share * ordered[np.ceil(positions).astype(int)]


def partitioned(x: Any, kth: int) -> Any:
    rank = np.argsort(np.argsort(np.partition(x.real, kth)))
    return x[np.argsort(x.real)][rank]


def newton(p: Any) -> Any:
    """The roots of a polynomial with complex coefficients, from those of the real parts."""
    root = np.roots(p.real)
    for _ in range(3):
        root = root - np.polyval(p, root) / np.polyval(np.polyder(p), root)
    return root


def between_moving_knots(knots: Any, heights: Any) -> Any:
    out, knots = [], knots[np.argsort(knots.real)]
    for x in (-0.5, 0.7, 9.0):
        i = int(np.searchsorted(knots.real, x)) - 1
        if 0 <= i < len(knots) - 1:
            share = (x - knots[i]) / (knots[i + 1] - knots[i])
            out.append(heights[i] + share * (heights[i + 1] - heights[i]))
        else:
            out.append(heights[max(0, i)])
    return np.array(out)


def weighted_line(y: Any, weight: Any) -> Any:
    """Slope and intercept by the means, for the abscissas 0, 1, 2, 4."""
    t, total = np.array([[0.0], [1.0], [2.0], [4.0]]), np.sum(weight)
    mean_t, mean_y = np.sum(weight * t) / total, np.sum(weight * y, axis=0) / total
    slope = np.sum(weight * (t - mean_t) * y, axis=0) / np.sum(weight * (t - mean_t) ** 2)
    return np.stack([slope, mean_y - slope * mean_t])


def with_gaps(x: Any) -> Any:
    return np.where(MASK, x, np.nan)


def turned(x: Any, y: Any) -> Any:
    """|z| and arg z of z = x + iy, the latter but for a constant."""
    steep = np.abs(y.real) > np.abs(x.real)
    return np.sqrt(x * x + y * y), np.where(steep, -np.arctan(x / y), np.arctan(y / x))


def covariance(x: Any, ddof: int) -> Any:
    centred = x - np.mean(x, axis=1, keepdims=True)
    return np.einsum("ik,jk->ij", centred, centred) / (x.shape[1] - ddof)


def correlation(x: Any) -> Any:
    deviation = np.sqrt(np.diag(covariance(x, 1)))
    return covariance(x, 1) / deviation / deviation[:, None]


def pair(re: Any, im: Any) -> Any:
    return np.stack([re, im])


def beyond(x: Any) -> Any:
    """Numbers above 1."""
    return 1.5 + x * x


MASK = np.array([[True, False, True, True], [False, False, True, True], [True, True, False, True]])
ROWS = np.array([2, 0, 2, 1])

CASES: dict[Any, list[Any]] = {
    # another shape
    np.reshape: [
        lambda x, y: np.reshape(x, (2, 6)),
        lambda x, y: np.reshape(x * y, -1, order="F"),
        lambda x, y: np.reshape(x.T, (2, -1)),
    ],
    np.ravel: [lambda x, y: np.ravel(x), lambda x, y: np.ravel(x.T)],
    np.squeeze: [lambda x, y: np.squeeze(x[:, None, :1]), lambda x, y: np.squeeze(x[None], axis=0)],
    np.expand_dims: [lambda x, y: np.expand_dims(x, (0, -1))],
    np.resize: [lambda x, y: np.resize(x, (5, 5))],
    np.atleast_1d: [lambda x, y: np.atleast_1d(x[0, 0]), lambda x, y: np.atleast_1d(x, y[0, 0])],
    np.atleast_2d: [lambda x, y: np.atleast_2d(x[0])],
    np.atleast_3d: [lambda x, y: np.atleast_3d(x)],
    np.broadcast_to: [lambda x, y: np.broadcast_to(x[0], (2, 3, 4))],
    np.broadcast_arrays: [lambda x, y: np.broadcast_arrays(x[0], y, 1.0)],
    np.transpose: [lambda x, y: np.transpose(x), lambda x, y: np.transpose(x[None], (1, 0, 2))],
    np.swapaxes: [lambda x, y: np.swapaxes(x, 0, -1)],
    np.moveaxis: [lambda x, y: np.moveaxis(x[None] * y, 0, -1)],
    np.rollaxis: [lambda x, y: np.rollaxis(x[None], 2)],
    np.matrix_transpose: [lambda x, y: np.matrix_transpose(x)],
    np.flip: [lambda x, y: np.flip(x), lambda x, y: np.flip(x, axis=1)],
    np.fliplr: [lambda x, y: np.fliplr(x)],
    np.flipud: [lambda x, y: np.flipud(x)],
    np.rot90: [lambda x, y: np.rot90(x, 3)],
    np.roll: [lambda x, y: np.roll(x, 2), lambda x, y: np.roll(x, (1, -1), axis=(0, 1))],
    np.repeat: [lambda x, y: np.repeat(x, 2), lambda x, y: np.repeat(x, [1, 0, 3], axis=0)],
    np.tile: [lambda x, y: np.tile(x, (2, 1, 2))],
    np.meshgrid: [lambda x, y: np.meshgrid(x[0], y[0], indexing="ij")],
    # together and apart
    np.concatenate: [
        lambda x, y: np.concatenate([x, y, np.ones((1, 4))]),
        lambda x, y: np.concatenate((x, y), axis=None),
        lambda x, y: np.concatenate((x, y), -1),
    ],
    np.stack: [lambda x, y: np.stack([x, y, x * y], axis=-1)],
    np.vstack: [lambda x, y: np.vstack([x, y[0]])],
    np.hstack: [lambda x, y: np.hstack((x, y))],
    np.dstack: [lambda x, y: np.dstack((x, y))],
    np.column_stack: [lambda x, y: np.column_stack((x[:, 0], y))],
    np.block: [lambda x, y: np.block([[x, y], [np.zeros((1, 4)), x[:1] * y[:1]]])],
    np.split: [lambda x, y: np.split(x, 2, axis=1), lambda x, y: np.split(x, [1])],
    np.array_split: [lambda x, y: np.array_split(x, 3, axis=1)],
    np.hsplit: [lambda x, y: np.hsplit(x, 2)],
    np.vsplit: [lambda x, y: np.vsplit(x, [2])],
    np.dsplit: [lambda x, y: np.dsplit(x[None], 2)],
    # a part
    np.take: [
        lambda x, y: np.take(x, [0, 5, 5]),
        lambda x, y: np.take(x, ROWS, axis=0),
        lambda x, y: np.take(x, [7, -9], axis=1, mode="clip"),
    ],
    np.take_along_axis: [lambda x, y: np.take_along_axis(x, ROWS[None], axis=0)],
    np.delete: [lambda x, y: np.delete(x, 1, axis=0)],
    np.diag: [lambda x, y: np.diag(x), lambda x, y: np.diag(x[0], 1)],
    np.diagonal: [lambda x, y: np.diagonal(x, 1)],
    np.diagflat: [lambda x, y: np.diagflat(x[0])],
    np.tril: [lambda x, y: np.tril(x)],
    np.triu: [lambda x, y: np.triu(x, 1)],
    sliding_window_view: [
        lambda x, y: sliding_window_view(x, (2, 3)),
        lambda x, y: sliding_window_view(x, 2, axis=1),
    ],
    # sums and differences
    np.sum: [
        lambda x, y: np.sum(x),
        lambda x, y: np.sum(x, axis=(0, 1), keepdims=True),
        lambda x, y: np.sum(x, 0, where=MASK),
        lambda x, y: np.sum(x, axis=1, initial=5.0),
        lambda x, y: np.sum(x + 0 * y, axis=1, initial=y[0, 0]),
        lambda x, y: np.sum(a=x, axis=1),
    ],
    np.mean: [
        lambda x, y: np.mean(x),
        lambda x, y: np.mean(x, 1, keepdims=True),
        lambda x, y: np.mean(x, 1, where=MASK),
    ],
    np.cumsum: [lambda x, y: np.cumsum(x), lambda x, y: np.cumsum(x, axis=1)],
    np.trace: [lambda x, y: np.trace(x, 1)],
    np.gradient: [
        lambda x, y: np.gradient(x),
        lambda x, y: np.gradient(x, 0.5, axis=1, edge_order=2),
    ],
    np.average: [
        lambda x, y: np.average(x),
        lambda x, y: np.average(x, axis=0, weights=[1.0, 2.0, 4.0]),
        lambda x, y: np.average(x, weights=5.0 + y),
        lambda x, y: np.average(x + 0 * y, axis=1, weights=5.0 + y[0], keepdims=True),
    ],
    np.diff: [
        lambda x, y: np.diff(x),
        lambda x, y: np.diff(x, 2, axis=0),
        lambda x, y: np.diff(x, axis=1, prepend=7.0),
        lambda x, y: np.diff(x, axis=1, append=y[:, :1]),
    ],
    np.ediff1d: [lambda x, y: np.ediff1d(x, to_begin=3.0, to_end=y[0])],
    np.prod: [
        lambda x, y: np.prod(x),
        lambda x, y: np.prod(x, axis=1, keepdims=True),
        lambda x, y: np.prod(x * MASK, axis=0),
        lambda x, y: np.prod(x + 0 * y, 0, where=MASK, initial=y[0, 0]),
        lambda x, y: np.prod(x[None] * y, axis=(0, 2)),
    ],
    np.cumprod: [lambda x, y: np.cumprod(x), lambda x, y: np.cumprod(x * MASK, axis=1)],
    np.var: [
        (lambda x, y: np.var(x), lambda x, y: variance(x)),
        (lambda x, y: np.var(x, axis=0, ddof=1), lambda x, y: variance(x, 1, axis=0)),
        (
            lambda x, y: np.var(x, axis=(0, 1), keepdims=True),
            lambda x, y: variance(x, axis=(0, 1), keepdims=True),
        ),
        (lambda x, y: np.var(x, where=MASK), lambda x, y: variance(x[MASK])),
        (
            lambda x, y: np.var(x, axis=1, mean=np.mean(x, 1, keepdims=True)),
            lambda x, y: variance(x, axis=1),
        ),
        (lambda x, y: np.var(x, axis=1, correction=1), lambda x, y: variance(x, 1, axis=1)),
    ],
    np.std: [
        (lambda x, y: np.std(x, axis=1, ddof=1), lambda x, y: np.sqrt(variance(x, 1, axis=1)))
    ],
    # the same
    np.copy: [lambda x, y: np.copy(x), lambda x, y: np.copy(x, order="F")],
    np.real: [(lambda x, y: np.real(x), lambda x, y: x)],
    np.array: [
        lambda x, y: np.array(x, like=x + y),
        lambda x, y: np.array([[x[0, 0], 2.0], [y[1, 1], x[0, 1]]], like=x + y),
        lambda x, y: np.array(x, ndmin=3, like=x + y),
    ],
    np.asarray: [
        lambda x, y: np.asarray(x, like=x + y),
        lambda x, y: np.asarray([x, y], like=x + y),
    ],
    np.asanyarray: [lambda x, y: np.asanyarray(x, like=x + y)],
    np.ascontiguousarray: [lambda x, y: np.ascontiguousarray(x.T, like=x + y)],
    np.asfortranarray: [lambda x, y: np.asfortranarray(x, like=x + y)],
    np.require: [lambda x, y: np.require(x, requirements="F", like=x + y)],
    np.arange: [lambda x, y: np.arange(4.0, like=x + y) * x],
    np.full: [lambda x, y: np.full((2, 4), x[0], like=x + y)],
    np.full_like: [lambda x, y: np.full_like(x, 3.0), lambda x, y: np.full_like(x + 0 * y, y[0])],
    # linear in several arguments
    np.append: [
        lambda x, y: np.append(x, y, axis=0),
        lambda x, y: np.append(x, [[1.0, 2.0, 3.0, 4.0]], 0),
    ],
    np.insert: [lambda x, y: np.insert(x, 1, y[0], axis=0), lambda x, y: np.insert(x, [0, 2], 9.0)],
    np.bincount: [
        (
            lambda x, y: np.bincount(ROWS, weights=x[0], minlength=5),
            lambda x, y: np.array([x[0, 1], x[0, 3], x[0, 0] + x[0, 2], 0, 0]),
        )
    ],
    np.choose: [lambda x, y: np.choose(ROWS % 2, [x, y])],
    np.compress: [lambda x, y: np.compress([True, False, True], x, axis=0)],
    np.extract: [lambda x, y: np.extract(MASK, x)],
    np.linspace: [
        lambda x, y: np.linspace(x[0], y[0], 5),
        lambda x, y: np.linspace(0.0, x[0, 0], 3, retstep=True),
    ],
    np.select: [lambda x, y: np.select([MASK, ~MASK[0]], [x, y], default=3.0)],
    np.where: [
        lambda x, y: np.where(MASK, x, y),
        lambda x, y: np.where(x > 0, x, 0.01 * x),
        lambda x, y: np.where(x, y, 1.0),
    ],
    # products
    np.convolve: [
        lambda x, y: np.convolve(x[0], y[0, :2]),
        lambda x, y: np.convolve(x[0], y[0], mode="same"),
    ],
    np.correlate: [
        (
            lambda x, y: np.correlate(x[0], y[0, :2]),
            lambda x, y: np.convolve(x[0], y[0, 1::-1], "valid"),
        )
    ],
    np.cross: [lambda x, y: np.cross(x[:, :3], y[:, :3])],
    np.dot: [
        lambda x, y: np.dot(x, y.T),
        lambda x, y: np.dot(x[0], y[0]),
        lambda x, y: np.dot(x, 2.0),
    ],
    np.einsum: [
        lambda x, y: np.einsum("ij,kj->ik", x, y),
        lambda x, y: np.einsum("ij,ij,j->i", x, y, x[0]),
        lambda x, y: np.einsum(x, [0, 1], y, [2, 1], [2, 0]),
        lambda x, y: np.einsum("...i,...i", x, y, optimize=True),
        lambda x, y: np.einsum("ij->ji", x),
        lambda x, y: np.einsum("ij,jk,lk->il", x, np.ones((4, 4)), y, optimize="greedy"),
    ],
    np.inner: [lambda x, y: np.inner(x, y)],
    np.kron: [lambda x, y: np.kron(x, y[:2])],
    np.outer: [lambda x, y: np.outer(x, y)],
    np.tensordot: [
        lambda x, y: np.tensordot(x, y, axes=([1], [1])),
        lambda x, y: np.tensordot(x, y),
    ],
    np.vdot: [(lambda x, y: np.vdot(x, y), lambda x, y: np.sum(x * y))],
    np.matmul: [
        lambda x, y: np.matmul(x, y.T),
        lambda x, y: x @ y[0],
        lambda x, y: x[0] @ y[0],
        lambda x, y: np.stack([x, y]) @ y.T,
    ],
    np.vecdot: [(lambda x, y: np.vecdot(x, y), lambda x, y: np.sum(x * y, axis=-1))],
    # selections
    np.max: [
        lambda x, y: np.max(x),
        lambda x, y: np.max(x, axis=1, keepdims=True),
        lambda x, y: np.max(x[None] * y, axis=(0, 2)),
        lambda x, y: np.max(x, axis=0, initial=0.3),
        lambda x, y: np.max(x + 0 * y, 0, where=MASK, initial=y[0, 0]),
    ],
    np.min: [lambda x, y: np.min(x), lambda x, y: np.min(x, axis=0, where=MASK, initial=9.0)],
    np.amax: [lambda x, y: np.amax(x, axis=0)],
    np.amin: [lambda x, y: np.amin(x, axis=0)],
    np.ptp: [lambda x, y: np.ptp(x), lambda x, y: np.ptp(x, axis=1, keepdims=True)],
    np.clip: [
        lambda x, y: np.clip(x, -0.5, 0.5),
        lambda x, y: np.clip(x, y, y + 1),
        lambda x, y: np.clip(x, 2 * y + 9, y),  # NumPy lets the upper bound win
        lambda x, y: np.clip(x, None, 0.2),
        lambda x, y: np.clip(x, a_min=0.2, a_max=None),
    ],
    np.sort_complex: [(lambda x, y: np.real(np.sort_complex(x)), lambda x, y: np.sort(x))],
    np.sort: [
        lambda x, y: np.sort(x),
        lambda x, y: np.sort(x, axis=None),
        lambda x, y: np.sort(x, 0, kind="stable"),
    ],
    np.median: [
        lambda x, y: np.median(x),
        lambda x, y: np.median(x, axis=0),
        lambda x, y: np.median(x, axis=1, keepdims=True),
    ],
    np.pad: [
        lambda x, y: np.pad(x, 1),
        lambda x, y: np.pad(x, ((0, 1), (2, 0)), constant_values=3.0),
        (
            lambda x, y: np.pad(
                x + 0 * y, ((1, 1), (2, 2)), constant_values=((y[0, 0], y[0, 0]), (2.0, y[1, 1]))
            ),
            padded,
        ),
        lambda x, y: np.pad(x, 2, "edge"),
        lambda x, y: np.pad(x, 2, mode="wrap"),
        lambda x, y: np.pad(x, 1, mode="reflect"),
        lambda x, y: np.pad(x, 1, mode="reflect", reflect_type="odd"),
        lambda x, y: np.pad(x, 1, mode="symmetric"),
        lambda x, y: np.pad(x, 1, mode="mean"),
        lambda x, y: np.pad(x, 2, mode="linear_ramp", end_values=1.0),
    ],
    np.nan_to_num: [lambda x, y: np.nan_to_num(np.where(MASK, x, np.nan))],
    np.interp: [
        (lambda x, y: np.interp(x, [-1.0, 0.0, 0.5, 2.0], y[0]), interpolated),
        (
            lambda x, y: np.interp(x, [-1.0, 0.0, 0.5, 2.0], y[0], left=8.0),
            lambda x, y: np.where(x.real < -1, 8.0, interpolated(x, y)),
        ),
        (
            lambda x, y: np.interp([-0.5, 0.7, 9.0], np.sort(x[0] + [0, 1, 2, 3]), y[0]),
            lambda x, y: between_moving_knots(x[0] + [0, 1, 2, 3], y[0]),
        ),
    ],
    np.partition: [
        lambda x, y: np.partition(x, 2),
        (lambda x, y: np.partition(x, 5, axis=None), lambda x, y: partitioned(x.ravel(), 5)),
        lambda x, y: np.partition(x, (0, 1), axis=0),
    ],
    np.quantile: [
        (lambda x, y: np.quantile(x[0], 0.4), lambda x, y: knots(x[0], 1.2)),
        (
            lambda x, y: np.quantile(x, [[0.0, 0.25], [0.6, 1.0]], axis=0, keepdims=True),
            lambda x, y: np.stack(
                [knots(column, np.array([0, 0.5, 1.2, 2])) for column in x.T], axis=-1
            ).reshape(2, 2, 1, 4),
        ),
        (
            lambda x, y: np.quantile(x[0], 0.5, method="lower"),
            lambda x, y: np.sort(x[0])[1],
        ),
        (
            lambda x, y: np.quantile(x[0], [0.3, 0.9], method="median_unbiased"),
            lambda x, y: knots(x[0], np.clip(np.array([0.3, 0.9]) * (4 + 1 / 3) + 1 / 3 - 1, 0, 3)),
        ),
    ],
    np.percentile: [
        (lambda x, y: np.percentile(x[0], 40), lambda x, y: knots(x[0], 1.2)),
    ],
    np.nanquantile: [
        (
            lambda x, y: np.nanquantile(with_gaps(x), [0.25, 0.5], axis=1),
            lambda x, y: np.stack(
                [
                    knots(row[mask], np.array([0.25, 0.5]) * (np.sum(mask) - 1))
                    for row, mask in zip(x, MASK, strict=True)
                ],
                axis=-1,
            ),
        )
    ],
    np.nanpercentile: [
        (lambda x, y: np.nanpercentile(with_gaps(x), 30), lambda x, y: knots(x[MASK], 0.3 * 7)),
    ],
    np.nanmedian: [(lambda x, y: np.nanmedian(with_gaps(x)), lambda x, y: np.median(x[MASK]))],
    np.nansum: [(lambda x, y: np.nansum(with_gaps(x), axis=0), lambda x, y: np.sum(x * MASK, 0))],
    np.nanprod: [(lambda x, y: np.nanprod(with_gaps(x)), lambda x, y: np.prod(x[MASK]))],
    np.nanmax: [
        (lambda x, y: np.nanmax(with_gaps(x), axis=0), lambda x, y: np.max(x - 99 * ~MASK, axis=0))
    ],
    np.nanmin: [
        (
            lambda x, y: np.nanmin(with_gaps(x), axis=0, keepdims=True),
            lambda x, y: np.min(x + 99 * ~MASK, axis=0, keepdims=True),
        )
    ],
    np.nancumsum: [
        (lambda x, y: np.nancumsum(with_gaps(x), axis=1), lambda x, y: np.cumsum(x * MASK, axis=1))
    ],
    np.nancumprod: [
        (lambda x, y: np.nancumprod(with_gaps(x)), lambda x, y: np.cumprod(np.where(MASK, x, 1)))
    ],
    np.nanmean: [
        (lambda x, y: np.nanmean(with_gaps(x)), lambda x, y: np.mean(x[MASK])),
        (
            lambda x, y: np.nanmean(with_gaps(x), axis=0, where=x < 9),
            lambda x, y: np.sum(x * MASK, axis=0) / np.sum(MASK, axis=0),
        ),
    ],
    np.nanvar: [
        (lambda x, y: np.nanvar(with_gaps(x), ddof=1), lambda x, y: variance(x[MASK], 1)),
    ],
    np.nanstd: [
        (lambda x, y: np.nanstd(with_gaps(x)), lambda x, y: np.sqrt(variance(x[MASK]))),
    ],
    # polynomials and series
    np.polyadd: [lambda x, y: np.polyadd(x[0], y[0, 1:])],
    np.polysub: [lambda x, y: np.polysub(x[0, :2], y[0])],
    np.polymul: [
        (lambda x, y: np.polymul(x[0], y[0, 1:]), lambda x, y: np.convolve(x[0], y[0, 1:])),
        (lambda x, y: np.polymul([0.0, 2.0], x[0]), lambda x, y: np.convolve([2.0], x[0])),
        (lambda x, y: np.polymul(x[0, 0], x[1]), lambda x, y: x[0, 0] * x[1]),
    ],
    np.polydiv: [
        lambda x, y: np.polydiv(x[0], y[0, 1:] + [3, 0, 0])[0],
        lambda x, y: np.polydiv(x[0], y[0, 1:] + [3, 0, 0])[1],
        lambda x, y: np.polydiv(x[0, :2], y[0])[1],
        lambda x, y: np.polydiv([1.0, 2.0, 3.0], x[0, :2] + [3, 0])[0],
        lambda x, y: np.polydiv(x[0], 2.0 + y[0, 0] ** 2)[0],
    ],
    np.polyder: [lambda x, y: np.polyder(x[0]), lambda x, y: np.polyder(x[0], 2)],
    np.polyint: [lambda x, y: np.polyint(x[0]), lambda x, y: np.polyint(x[0] + 0 * y[0], 1, [2.0])],
    np.polyfit: [
        lambda x, y: np.polyfit([0.0, 1.0, 2.0, 4.0], x[0], 2),
        (
            lambda x, y: np.polyfit([0.0, 1.0, 2.0, 4.0], x.T, 1, w=[1.0, 2.0, 1.0, 3.0]),
            lambda x, y: weighted_line(x.T, np.array([1.0, 2.0, 1.0, 3.0])[:, None] ** 2),
        ),
    ],
    np.polyval: [
        lambda x, y: np.polyval(x[0], y),
        lambda x, y: np.polyval([1.0, 2.0, 3.0], x),
        lambda x, y: np.polyval(x[:, 0], 2.0),
    ],
    np.roots: [
        (
            lambda x, y: np.roots(np.poly([1.0, 2.0, 4.0]) + 0.01 * x[0]),
            lambda x, y: newton(np.poly([1.0, 2.0, 4.0]) + 0.01 * x[0]),
        )
    ],
    np.vander: [lambda x, y: np.vander(x[0]), lambda x, y: np.vander(x[0], 3, increasing=True)],
    np.logspace: [
        lambda x, y: np.logspace(x[0], y[0], 5),
        lambda x, y: np.logspace(x[0, 0], 1.0, 3, base=2.0, endpoint=False),
    ],
    np.geomspace: [
        (
            lambda x, y: np.geomspace(np.exp(x[0]), np.exp(y[0]), 4, axis=-1),
            lambda x, y: np.exp(np.linspace(x[0], y[0], 4, axis=-1)),
        )
    ],
    np.unwrap: [
        (
            lambda x, y: np.unwrap(9 * x),
            lambda x, y: 9 * x + np.unwrap(9 * x.real) - 9 * x.real,
        ),
        (
            lambda x, y: np.unwrap(x, axis=0, period=1.0),
            lambda x, y: x + np.unwrap(x.real, axis=0, period=1.0) - x.real,
        ),
    ],
    # statistics
    np.cov: [
        (lambda x, y: np.cov(x), lambda x, y: covariance(x, 1)),
        (lambda x, y: np.cov(x[0], bias=True), lambda x, y: covariance(x[:1], 0)[0, 0]),
        (
            lambda x, y: np.cov(x + 0 * y, y, rowvar=False, ddof=0),
            lambda x, y: covariance(np.concatenate([x.T, y.T]), 0),
        ),
    ],
    np.corrcoef: [
        (lambda x, y: np.corrcoef(x), lambda x, y: correlation(x)),
        (
            lambda x, y: np.corrcoef(x[0] + 0 * y[0], y[0]),
            lambda x, y: correlation(np.stack([x[0], y[0]])),
        ),
    ],
    # functions of functions
    np.apply_along_axis: [
        lambda x, y: np.apply_along_axis(np.sum, 0, x),
        lambda x, y: np.apply_along_axis(np.cumsum, -1, x * y),
        lambda x, y: np.apply_along_axis(lambda row: np.outer(row, row), 0, x),
    ],
    np.piecewise: [
        (
            lambda x, y: np.piecewise(x, [x < -0.5, x > 0.5], [np.exp, 2.0, np.sin]),
            lambda x, y: np.where(x.real < -0.5, np.exp(x), np.where(x.real > 0.5, 2.0, np.sin(x))),
        ),
        (
            lambda x, y: np.piecewise(x[0, 0], x[0, 0] > 0, [lambda z: z**2, lambda z: z**3]),
            lambda x, y: np.where(x[0, 0].real > 0, x[0, 0] ** 2, x[0, 0] ** 3),
        ),
    ],
    # Fourier transforms
    np.fft.fft: [
        (lambda x, y: planes(np.fft.fft(x)), lambda x, y: fourier(x)),
        (
            lambda x, y: planes(np.fft.fft(x + 1j * y, axis=0, norm="ortho")),
            lambda x, y: fourier(np.stack([x, y]), (0,)) / np.sqrt(3),
        ),
        (lambda x, y: planes(np.fft.fft(x, 3)), lambda x, y: fourier(x[:, :3])),
    ],
    np.fft.ifft: [
        (
            lambda x, y: planes(np.fft.ifft(x + 1j * y)),
            lambda x, y: fourier(np.stack([x, y]), sign=1) / 4,
        )
    ],
    np.fft.fft2: [(lambda x, y: planes(np.fft.fft2(x)), lambda x, y: fourier(x, (0, 1)))],
    np.fft.ifft2: [(lambda x, y: planes(np.fft.ifft2(x)), lambda x, y: fourier(x, (0, 1), 1) / 12)],
    np.fft.fftn: [(lambda x, y: planes(np.fft.fftn(x, axes=(0,))), lambda x, y: fourier(x, (0,)))],
    np.fft.ifftn: [(lambda x, y: planes(np.fft.ifftn(x)), lambda x, y: fourier(x, (0, 1), 1) / 12)],
    np.fft.rfft: [
        (lambda x, y: planes(np.fft.rfft(x)), lambda x, y: fourier(x)[..., :3]),
        (lambda x, y: planes(np.fft.rfft(x, axis=0)), lambda x, y: fourier(x, (0,))[:, :2]),
    ],
    np.fft.irfft: [
        (
            lambda x, y: np.fft.irfft(x + 1j * y, 5),
            lambda x, y: hermitian(np.stack([x, y])[..., :3], 5, 1) / 5,
        ),
        (
            lambda x, y: np.fft.irfft(x + 1j * y),
            lambda x, y: hermitian(np.stack([x, y]), 6, 1) / 6,
        ),
    ],
    np.fft.rfft2: [
        (lambda x, y: planes(np.fft.rfft2(x)), lambda x, y: fourier(x, (0, 1))[..., :3])
    ],
    np.fft.irfft2: [
        (
            lambda x, y: np.fft.irfft2(x + 1j * y),
            lambda x, y: hermitian(fourier(np.stack([x, y]), (0,), 1) / 3, 6, 1) / 6,
        )
    ],
    np.fft.rfftn: [
        (lambda x, y: planes(np.fft.rfftn(x)), lambda x, y: fourier(x, (0, 1))[..., :3])
    ],
    np.fft.irfftn: [
        (
            lambda x, y: np.fft.irfftn(x + 1j * y, (3, 7), axes=(0, 1)),
            lambda x, y: hermitian(fourier(np.stack([x, y]), (0,), 1) / 3, 7, 1) / 7,
        )
    ],
    np.fft.hfft: [
        (
            lambda x, y: np.fft.hfft(x + 1j * y),
            lambda x, y: hermitian(np.stack([x, y]), 6, -1),
        )
    ],
    np.fft.ihfft: [
        (lambda x, y: planes(np.fft.ihfft(x)), lambda x, y: fourier(x, sign=1)[..., :3] / 4)
    ],
    np.fft.fftshift: [lambda x, y: np.fft.fftshift(x), lambda x, y: np.fft.fftshift(x, axes=1)],
    np.fft.ifftshift: [lambda x, y: np.fft.ifftshift(x)],
    # complex numbers inside
    np.imag: [
        (lambda x, y: np.imag(x + 1j * y), lambda x, y: y),
        (lambda x, y: np.imag(x), lambda x, y: 0 * x),
    ],
    np.real_if_close: [
        (lambda x, y: np.real_if_close(np.fft.ifft(np.fft.fft(x))), lambda x, y: x),
        (lambda x, y: planes(np.real_if_close(x + 1j * y)), lambda x, y: np.stack([x, y])),
    ],
    np.absolute: [(lambda x, y: np.abs(x + 1j * y), lambda x, y: turned(x, y)[0])],
    np.angle: [
        (lambda x, y: np.angle(x + 1j * y), lambda x, y: turned(x, y)[1]),
        (lambda x, y: np.angle(x + 1j * y, deg=True), lambda x, y: np.degrees(1) * turned(x, y)[1]),
        (lambda x, y: np.angle(x), lambda x, y: np.angle(x.real) + 0 * x),
    ],
    np.sign: [
        (
            lambda x, y: planes(np.sign(x + 1j * y)),
            lambda x, y: np.stack([x, y]) / turned(x, y)[0],
        ),
        (lambda x, y: np.sign(x), lambda x, y: 0 * x),
    ],
    np.conjugate: [(lambda x, y: planes(np.conjugate(x + 1j * y)), lambda x, y: np.stack([x, -y]))],
    # real functions beyond their domain
    np.emath.sqrt: [
        (
            lambda x, y: planes(np.emath.sqrt(-beyond(x))),
            lambda x, y: pair(0 * x, beyond(x) ** 0.5),
        ),
        lambda x, y: np.emath.sqrt(beyond(x)),
    ],
    np.emath.log: [
        (
            lambda x, y: planes(np.emath.log(-beyond(x))),
            lambda x, y: pair(np.log(beyond(x)), 0 * x),
        ),
    ],
    np.emath.log2: [
        (
            lambda x, y: planes(np.emath.log2(-beyond(x))),
            lambda x, y: pair(np.log(beyond(x)) / np.log(2), 0 * x),
        )
    ],
    np.emath.log10: [
        (
            lambda x, y: planes(np.emath.log10(-beyond(x))),
            lambda x, y: pair(np.log(beyond(x)) / np.log(10), 0 * x),
        )
    ],
    np.emath.logn: [
        (
            lambda x, y: planes(np.emath.logn(3.0, -beyond(x))),
            lambda x, y: pair(np.log(beyond(x)) / np.log(3), 0 * x),
        )
    ],
    np.emath.power: [
        (
            lambda x, y: planes(np.emath.power(-beyond(x), y)),
            lambda x, y: beyond(x) ** y * pair(np.cos(np.pi * y), np.sin(np.pi * y)),
        )
    ],
    np.emath.arccos: [
        (
            lambda x, y: planes(np.emath.arccos(beyond(x))),
            lambda x, y: pair(0 * x, -np.arccosh(beyond(x))),
        )
    ],
    np.emath.arcsin: [
        (
            lambda x, y: planes(np.emath.arcsin(beyond(x))),
            lambda x, y: pair(0 * x, np.arccosh(beyond(x))),
        )
    ],
    np.emath.arctanh: [
        (
            lambda x, y: planes(np.emath.arctanh(beyond(x))),
            lambda x, y: pair(np.arctanh(1 / beyond(x)), 0 * x),
        )
    ],
    # several results, or integers
    np.modf: [(lambda x, y: np.modf(x), lambda x, y: (x - np.trunc(x.real), 0 * x))],
    np.frexp: [
        (lambda x, y: np.frexp(x)[0], lambda x, y: x / 2.0 ** np.frexp(x.real)[1]),
    ],
    np.ldexp: [(lambda x, y: np.ldexp(x, ROWS), lambda x, y: x * [4, 1, 4, 2])],
    # writing
    np.copyto: [
        written(np.copyto, lambda y: y),
        written(np.copyto, 2.0),
        written(lambda z, y: np.copyto(z, y, where=MASK), lambda y: y[0]),
    ],
    np.fill_diagonal: [written(np.fill_diagonal, lambda y: y[0, 0])],
    np.place: [written(np.place, MASK, lambda y: y[0])],
    np.put: [written(np.put, [0, 7], lambda y: y[0, :2])],
    np.put_along_axis: [written(np.put_along_axis, ROWS[None], lambda y: y[:1], 0)],
    np.putmask: [written(np.putmask, MASK, lambda y: y)],
    np.divmod: [
        (
            lambda x, y: np.divmod(x, 3.0 + y**2),
            lambda x, y: (0 * x, x - np.floor_divide(x.real, 3 + y.real**2) * (3 + y**2)),
        )
    ],
}

NEWER: dict[str, list[Any]] = {  # not in every supported version of NumPy
    "unstack": [lambda x, y: np.unstack(x, axis=1)],
    "cumulative_sum": [lambda x, y: np.cumulative_sum(x, axis=1, include_initial=True)],
    "trapezoid": [lambda x, y: np.trapezoid(x, [0.0, 1.0, 1.5, 3.0])],
    "trapz": [lambda x, y: np.trapz(x, [0.0, 1.0, 1.5, 3.0])],  # until NumPy 2.4
    "cumulative_prod": [
        lambda x, y: np.cumulative_prod(x, axis=1),
        lambda x, y: np.cumulative_prod(x[0], include_initial=True),
    ],
    "astype": [lambda x, y: np.astype(x, x.dtype)],
    "matvec": [lambda x, y: np.matvec(x, y)],
    "vecmat": [(lambda x, y: np.vecmat(x[:, 0], y), lambda x, y: x[:, 0] @ y)],
}
CASES |= {getattr(np, name): cases for name, cases in NEWER.items() if hasattr(np, name)}


def test_every_rule_is_tested() -> None:
    shipped = {*ELEMENTWISE_RULES, *ARRAY_RULES, *WRITING_RULES, *FORMULAS, *COMPOSITIONS}
    assert CASES.keys() | MPMATH.keys() == shipped


@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
@given(seed=SEEDS)
@settings(max_examples=4)
def test_rules_for_arrays_are_exact_linear_and_pure(function: Any, seed: int) -> None:
    for case in CASES[function]:
        check(case, seed)


# ---- what an author writes with arrays, against the complex step


def added_in_place(x: Any, y: Any) -> Any:
    z = x + 0 * y
    z += y
    z -= 2.0
    z *= x
    z /= 3.0 + y[0]
    z **= 2
    z @= np.ones((4, 4))
    return z


def mean_and_deviation(x: Any, y: Any) -> Any:
    centred = x - x.mean(axis=0)
    return centred / np.sqrt((centred**2).mean(axis=0) + 1e-5) * y[0] + y[1]


def softmax(x: Any, y: Any) -> Any:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def convolution_and_back(x: Any, y: Any) -> Any:
    windows = sliding_window_view(x, 3, axis=1)
    out = np.einsum("bwk,k->bw", windows, y[0, :3])
    back = np.zeros(x.shape, x.dtype, like=out)
    for k in range(3):
        back[:, k : k + 2] += out * y[0, k]
    return out, back


def embedding_and_back(x: Any, y: Any) -> Any:
    rows = x[ROWS]
    gradient = np.zeros_like(x * y)
    np.add.at(gradient, ROWS, rows * y[1])
    np.subtract.at(gradient, (0, [1, 1]), 2.0)
    return gradient


def assigned(x: Any, y: Any) -> Any:
    z = np.zeros((3, 4), x.dtype, like=x + y)
    z[0] = x[0]
    z[1, 1:3] = 7.0
    z[1, ::3] = y[1, ::3]
    z[MASK] *= 2.0
    z[[2, 0], [0, 3]] = x[0, :2] * y[0, :2]
    z[2, -1] = z[0, 0]
    z[..., 2] += x[:, 2]
    z[2:, None, 1] = [y[0, 0]]
    z[1, :3] = [y[0, 1], 2.0, x[2, 2]]
    z[0] = z[0][::-1]
    return z


def overwritten_by_constants(x: Any, y: Any) -> Any:
    z = x * y
    z[0] = 1.0
    z[:, 1] = np.arange(3.0)
    z[MASK & (np.arange(4) > 1)] = 0
    z[2, 3] = np.float64(4.0)
    return z


def written_through_views(x: Any, y: Any) -> Any:
    z = x * y
    z.T[0] += 1.0
    z.reshape(-1)[5] = x[0, 0]
    z.swapaxes(0, 1)[2, 1:] *= y[0, :2]
    np.moveaxis(z, 0, 1)[3] = x[:, 0]
    np.split(z, 2, axis=1)[1][...] *= 3.0
    row = z[1]
    row[:] = row * row
    z.ravel()[:2] = 0.5
    return z


def written_through_views_of_a_transpose(x: Any, y: Any) -> Any:
    z = x.T * y.T
    z.reshape(-1)[3] = 8.0
    z.ravel()[4] = y[0, 0]
    z.reshape(2, 6)[0] *= 2.0
    return z


def scalars_are_not_arrays(x: Any, y: Any) -> Any:
    total = np.sum(x * y)
    first = total
    total += 1.0
    entry = x[0, 0]
    entry *= 2.0
    return total, first, entry, x


def iterated(x: Any, y: Any) -> Any:
    rows = [row * other for row, other in zip(x, y, strict=True)]
    return sum(rows), len(x) * x[-1], [*x[0]]


def branches(x: Any, y: Any) -> Any:
    return np.stack([a * b if a.real > b.real else b for a, b in zip(x[0], y[0], strict=True)])


def given_out(x: Any, y: Any) -> Any:
    z = np.empty_like(x + y)
    np.multiply(x, y, out=z)
    np.exp(z, out=z)
    np.add(z, 1.0, z)
    np.clip(z, 0.5, 3.0, out=z)
    totals = np.zeros(4, z.dtype, like=z)
    np.sum(z, axis=0, out=totals)
    np.matmul(x, y.T, out=z[:, :3])
    means = np.empty(3, z.dtype, like=z)
    z.mean(axis=1, out=means)
    np.concatenate([x[:1], y[:1]], axis=0, out=z[:2])
    np.add.reduce(x * y, axis=1, out=means[::-1])
    np.sum(x, 0, None, totals[:])
    np.dot(x, y[0], out=np.zeros(3, z.dtype, like=z))
    return z, totals, means


def given_where(x: Any, y: Any) -> Any:
    far = np.abs(np.real(x if not isinstance(x, Dual) else x.value)) > 0.5
    quotient = np.divide(y, x, out=np.zeros_like(x * y), where=far)
    root = np.sqrt(x * x, where=far[0], out=np.ones_like(x + y))
    return quotient, root * far, np.sum(x, axis=0, where=far)


def methods(x: Any, y: Any) -> Any:
    z = x * y
    column = z.copy()
    column.fill(2.0)
    return (
        [z.sum(), z.sum(axis=0), z.sum(1, keepdims=True), z.mean(-1), z.prod(axis=1)],
        [z.max(), z.max(axis=0), z.min(1), z.cumsum(), z.cumsum(axis=0), z.cumprod(1)],
        [z.reshape(4, 3), z.reshape((2, -1)), z.ravel(), z.flatten(), z.flatten("F")],
        [z.transpose(), z.transpose(1, 0), z.transpose((1, 0)), z.swapaxes(0, 1), z.T, z.mT],
        [z.dot(x.T), z.take([0, 3]), z.take([1], axis=1), z.repeat(2, axis=0), z.trace()],
        [z.squeeze(), z[None].squeeze(0), z.diagonal(), z.compress([True, False, True], 0)],
        [column, z.clip(-0.5, 0.5), z.clip(max=0.1), z.copy(), copy.deepcopy(z)],
    )


def methods_of_ufuncs(x: Any, y: Any) -> Any:
    return (
        [np.add.reduce(x), np.add.reduce(x, axis=(0, 1)), np.add.reduce(x, 1, keepdims=True)],
        [np.multiply.reduce(x, axis=1), np.maximum.reduce(x), np.minimum.reduce(x, axis=None)],
        [np.add.accumulate(x), np.multiply.accumulate(x, axis=1)],
        [np.multiply.outer(x, y), np.subtract.outer(x[0], y), np.add.outer(2.0, y)],
        [np.add.reduceat(x, [0, 2], axis=1), np.add.reduce(x, initial=4.0)],
    )


def with_numbers(x: Any, y: Any) -> Any:
    ones = np.ones(4, dtype=np.int32)
    return (
        [2 + x, x + 2, 2 - x, x - 2, 3 * x, x * 3, 1 / (x + 9), x / 4, 2**x, x**2, x**-1, -x, +x],
        [np.float64(2) * y, np.float32(2) ** y, y * np.int64(3), ones * x, x - ones, MASK * x],
        [
            x**3,
            (x + 9) ** 0.5,
            (x + 9) ** y,
            (x + 9) ** ones,
            ones @ x.T,
            x @ ones,
            [1.0, 2, 3, 4] * x,
        ],
        [np.add(x, 1.0), np.add(1, y, dtype=x.dtype), np.power(x, 2)],
        [x / np.full(4, 3, np.float32), np.full(4, 2, np.int8) ** y, y ** np.full(4, 2, np.uint8)],
    )


PROGRAMS: list[Any] = [
    added_in_place,
    mean_and_deviation,
    softmax,
    convolution_and_back,
    embedding_and_back,
    assigned,
    overwritten_by_constants,
    written_through_views,
    written_through_views_of_a_transpose,
    scalars_are_not_arrays,
    iterated,
    branches,
    given_out,
    given_where,
    methods,
    methods_of_ufuncs,
    with_numbers,
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
@given(seed=SEEDS)
@settings(max_examples=2)
def test_programs_for_arrays_run_on_duals(program: Any, seed: int) -> None:
    check(program, seed)


@given(data=st.data())
@settings(max_examples=40)
def test_indexing_and_assignment_do_to_the_tangent_what_they_do_to_the_value(data: Any) -> None:
    x, dx = np.arange(24.0).reshape(2, 3, 4), -np.arange(24.0).reshape(2, 3, 4)
    index = data.draw(
        arrays_of.basic_indices(x.shape, allow_newaxis=True, allow_ellipsis=True)
        | arrays_of.integer_array_indices(x.shape)
        | arrays_of.arrays(bool, x.shape)
        | arrays_of.arrays(bool, x.shape[:1])
    )
    read = Dual(x, dx)[index]
    assert np.array_equal(read.value, x[index])
    assert np.array_equal(read.tangent, dx[index])
    assert type(read.value) is type(x[index]) is type(read.tangent)

    for item, parts in (
        (Dual(5.0, 3.0), (5.0, 3.0)),
        (4.0, (4.0, 0.0)),
        (read * 2, (read.value * 2, read.tangent * 2)),
    ):
        into, value, tangent = Dual(x.copy(), dx), x.copy(), dx.copy()
        into[index] = item
        value[index], tangent[index] = parts
        assert np.array_equal(into.value, value)
        assert np.array_equal(into.tangent, tangent)


@given(data=st.data())
@settings(max_examples=60)
def test_a_view_is_a_view_of_both_parts_whatever_their_memory_looks_like(data: Any) -> None:
    layouts = (
        np.ascontiguousarray,
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        np.flip,
    )
    x = data.draw(st.sampled_from(layouts))(np.arange(6.0).reshape(2, 3))
    dx = data.draw(st.sampled_from(layouts))(np.ones((2, 3)))
    whole = Dual(x, dx) if data.draw(st.booleans()) else Dual(x.T, dx.T).T
    views = (lambda z: z.reshape(-1), np.ravel, lambda z: z.T.reshape(3, 2), np.transpose)
    data.draw(st.sampled_from(views))(whole)[2] = Dual(50.0, 70.0)
    assert np.array_equal(np.argwhere(whole.value == 50), np.argwhere(whole.tangent == 70))


@pytest.mark.parametrize(
    "function",
    [
        softmax,
        mean_and_deviation,
        lambda x, y: [
            x.sum(axis=0),
            x.sum(axis=1),
            x.max(axis=1),
            x.min(0, initial=3.0),
            x.prod(1),
        ],
        lambda x, y: [x.var(axis=1), x.std(axis=1, ddof=1), x.cumsum(0), x.cumprod(1), x.prod(0)],
        lambda x, y: [
            np.sort(x),
            np.median(x, axis=1),
            np.clip(x, 0, 1),
            np.pad(x, ((0, 0), (1, 1))),
        ],
        lambda x, y: [
            x.T @ x,
            np.einsum("ij,kj->ik", x, y),
            x.reshape(0, 2, 2),
            x[x > 0],
            x[:, ::2],
        ],
        lambda x, y: [np.concatenate([x, x]), np.linalg.norm(x, axis=1), np.where(x > 0, x, 0.0)],
    ],
)
def test_an_empty_batch_flows_through(function: Any) -> None:
    x, y = np.zeros((0, 4)), np.ones((2, 4))
    if function is mean_and_deviation:  # NumPy warns of the mean of nothing, and so do both parts
        with pytest.warns(RuntimeWarning):
            received, expected = function(Dual(x, 0.0), y), function(x, y)
    else:
        received, expected = function(Dual(x, 0.0), y), function(x, y)
    for one, other in zip(flat(received, lambda z: z), flat(expected, lambda z: z), strict=True):
        assert one.tangent.shape == one.shape == other.shape


# ---- choices at kinks


def test_of_equal_entries_max_min_and_sort_follow_the_first() -> None:
    x = Dual([2.0, 5.0, 5.0, 2.0], [1.0, 2.0, 3.0, 4.0])
    assert np.max(x).tangent == 2.0
    assert np.min(x).tangent == 1.0
    assert np.max(x, initial=5.0).tangent == 2.0
    assert np.max(x, initial=6.0).tangent == 0.0
    assert np.sort(x, kind="stable").tangent.tolist() == [1.0, 4.0, 2.0, 3.0]


def test_an_entry_on_the_border_of_clip_counts_as_inside() -> None:
    x = Dual([-2.0, -1.0, 0.0, 1.0, 2.0], np.ones(5))
    assert np.clip(x, -1, 1).tangent.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]
    assert np.clip(x, 0, None).tangent.tolist() == [0.0, 0.0, 1.0, 1.0, 1.0]


def test_abs_has_slope_zero_at_zero() -> None:
    assert np.abs(Dual([-3.0, 0.0, 3.0], np.ones(3))).tangent.tolist() == [-1.0, 0.0, 1.0]


# ---- what does not change has no tangent

X = np.array([[1.5, -0.5, 0.0], [2.5, 3.0, -1.0]])
PLAIN: list[Callable[[Any], Any]] = [
    lambda x: x > 0.5,
    lambda x: [x <= 1.5, x >= 1.5, x < x[1]],
    lambda x: x == x[0],
    lambda x: x != X,
    lambda x: np.less(x, x.T[0, 0]),
    lambda x: ~(x < 0) & np.isfinite(x),
    lambda x: np.logical_not(x),
    lambda x: np.logical_or.reduce(x, axis=0),
    lambda x: np.isnan(x),
    lambda x: np.signbit(x),
    lambda x: [np.any(x, axis=1), np.all(x), x.any(), x.all(axis=0)],
    lambda x: [x.argmax(), x.argmin(axis=1), np.argmax(x, axis=0, keepdims=True)],
    lambda x: [np.argsort(x), x.argsort(axis=0), np.argpartition(x, 1)],
    lambda x: [np.nanargmax(x), np.nanargmin(x, axis=1), np.isin(x, [1.5, 7.0])],
    lambda x: [np.tril_indices_from(x), np.triu_indices_from(x, 1), np.diag_indices_from(x[:, :2])],
    lambda x: np.linalg.matrix_rank(x),
    lambda x: [np.searchsorted(x[1, ::-1], 2.7), np.digitize(x, [0.0, 1.0])],
    lambda x: [np.nonzero(x), x.nonzero(), np.where(x > 0), np.where(x), np.argwhere(x)],
    lambda x: [np.count_nonzero(x, axis=0), np.flatnonzero(x), np.lexsort(x)],
    lambda x: [np.isclose(x, X), np.allclose(x, X), np.array_equal(x, X), np.array_equiv(x, X)],
    lambda x: [np.shape(x), np.ndim(x), np.size(x), x.shape, x.ndim, x.size, len(x)],
    lambda x: [np.result_type(x, np.float32), np.common_type(x), x.dtype, x.itemsize, x.nbytes],
    lambda x: [np.isrealobj(x), np.iscomplexobj(x), np.isreal(x), np.isneginf(x)],
    lambda x: [x.astype(int), np.round(x).astype(np.int64), x.astype(bool)],
    lambda x: [
        np.zeros_like(x, dtype=int),
        np.ones_like(x, dtype=bool),
        np.full_like(x, True, dtype=bool),
    ],
    lambda x: [np.arange(3, like=x), np.zeros(2, bool, like=x), np.array([1, 2], like=x)],
    lambda x: [1.5 in x, 7.0 in x, bool(x[0, 0]), bool(x[0, 2] > 0)],
    lambda x: np.greater(x, 0, out=np.zeros(x.shape, bool)),
    lambda x: np.greater(x, 0, where=x > 1, out=np.zeros(x.shape, bool)),
]


@pytest.mark.parametrize("function", PLAIN)
def test_what_is_no_real_number_comes_out_plain(function: Any) -> None:
    for received, expected in zip(
        flat(function(Dual(X, 1.0)), lambda y: y), flat(function(X), lambda y: y), strict=True
    ):
        assert type(received) is type(expected)
        assert np.array_equal(received, expected)


STEPS: list[Callable[[Any], Any]] = [
    *(np.floor, np.ceil, np.trunc, np.rint, np.sign, np.round, np.around, np.fix),
    lambda x: x.round(1),
    lambda x: x // 0.7,
    lambda x: np.heaviside(x, 0.5),
    lambda x: np.round(x, 1, out=np.ones_like(x)),
    lambda x: np.floor(x, out=np.array(x, like=x)),
    *(np.zeros_like, np.ones_like),
    lambda x: np.full_like(x, 2.0),
    lambda x: np.zeros_like(x, shape=4),
    lambda x: np.zeros((2, 3), like=x),
    lambda x: np.ones(3, np.float32, like=x),
    lambda x: np.full((2,), 3.5, like=x),
    lambda x: np.eye(3, like=x),
    lambda x: np.identity(2, like=x),
    lambda x: np.tri(3, like=x),
    lambda x: np.arange(0.0, 1.0, 0.25, like=x),
    lambda x: np.array([[1.0, 2.0]], like=x),
    lambda x: np.asarray(X, like=x),
    lambda x: np.asanyarray([0.5], like=x),
    lambda x: np.fromfunction(lambda i: i, (3,), like=x),
    lambda x: np.add(X, 1.0, out=np.array(x, like=x)),
]


@pytest.mark.parametrize("function", STEPS)
def test_steps_and_constants_are_duals_with_zero_tangent(function: Any) -> None:
    received, expected = function(Dual(X, 1.0)), function(X)
    assert isinstance(received, Dual)
    assert np.array_equal(received.value, expected)
    assert received.value.dtype == expected.dtype == received.tangent.dtype
    assert np.array_equal(received.tangent, np.zeros(expected.shape))
    received[...] = Dual(1.0, 2.0)  # and can be written into
    assert np.all(received.tangent == 2.0)


def test_every_constant_function_is_tested(monkeypatch: Any) -> None:
    called = set()

    class Recording(frozenset):  # type: ignore[type-arg]
        def __contains__(self, function: object) -> bool:
            known = super().__contains__(function)
            called.update([function] if known else [])
            return known

    monkeypatch.setattr(dual_module, "CONSTANT", Recording(dual_module.CONSTANT))
    for function in (*PLAIN, *STEPS):
        function(Dual(X, 1.0))
    x = Dual(X, 1.0)
    assert np.empty((2, 3), like=x).shape == np.empty_like(x).shape == (2, 3)
    assert np.can_cast(x.dtype, np.float64)
    assert np.min_scalar_type(x) == np.float64
    assert np.shares_memory(x, x.T)
    assert np.may_share_memory(x, x[0])
    assert np.array_str(x) == np.array_str(X)
    assert np.array_repr(x) == np.array_repr(X)
    assert np.array2string(x) == np.array2string(X)
    assert not np.any(np.logical_and(x, 0) | np.logical_xor(x, x) | np.isinf(x) | np.isposinf(x))
    assert not np.any(np.iscomplex(x)) and np.all(np.less_equal(x, x) & np.logical_or(x, 1))
    untested = {*CONSTANT_UFUNCS, *CONSTANT_FUNCTIONS} - called
    assert {f.__name__ for f in untested} <= {"can_cast"}  # NumPy does not ask arrays there


# ---- what would lose a tangent is refused

x3 = Dual(np.array([1.0, 2.0, 3.0]), np.ones(3))
LOSSES: list[tuple[Callable[[], Any], str]] = [
    (lambda: np.asarray(x3), "np.asarray(x) would lose"),
    (lambda: np.array([x3, x3]), "np.stack([a, b])"),
    (lambda: np.zeros(3).dot(x3), "a @ x"),
    (lambda: np.ascontiguousarray(x3), "use np.ascontiguousarray(x, like=x)"),
    (lambda: np.asfortranarray(x3), "np.asfortranarray(x) would lose"),
    (lambda: np.require(x3, requirements="C"), "np.require(x) would lose"),
    (
        lambda: np.lib.stride_tricks.as_strided(x3, (2, 2), (8, 8)),
        "np.lib.stride_tricks.as_strided(x) would lose",
    ),
    (lambda: as_strided(x3, (2, 2), (8, 8)), "sliding_window_view"),
    (lambda: np.vectorize(math.sin)(x3), "np.apply_along_axis, or np.* on whole arrays"),
    (lambda: np.polynomial.polynomial.polyval(2.0, x3), "polyval"),
    (lambda: np.r_[x3, 1.0], "np.concatenate"),
    (lambda: np.ndenumerate(x3), "np.ndenumerate(x) would lose"),
    (lambda: np.random.default_rng(0).normal(x3), "normal(x) would lose"),
    (lambda: "%f" % x3[0], "float(x), or assigning x into a plain array"),  # noqa: UP031
    (lambda: float(x3[0]), "float(x) would lose"),
    (lambda: np.float64(x3[0]), "np.float64(x) would lose"),
    (lambda: math.exp(x3[0]), "use np.exp(x)"),
    (lambda: int(x3[0]), "int(x) would lose"),
    (lambda: complex(x3[0]), "complex(x) would lose"),
    (lambda: x3.flat, "np.ravel(x)"),
    (lambda: x3.sort(), "np.sort(x)"),
    (lambda: x3.view(complex), "x.real and x.imag"),
    (lambda: x3.tofile("file"), "ndarray.tofile"),
    (lambda: x3[0].item(), "item"),
    (lambda: x3.tolist(), "tolist"),
    (lambda: x3.tobytes(), "tobytes"),
    (lambda: np.spacing(x3), "numpy.spacing has no tangent rule"),
    (lambda: np.logaddexp.reduce(x3, initial=0.0), "logaddexp.reduce with the argument 'initial'"),
    (lambda: np.quantile(x3, x3 / 4), "'q' of numpy.quantile"),
    (
        lambda: np.quantile(x3, 0.5, weights=np.ones(3), method="inverted_cdf"),
        "numpy.quantile with the argument 'weights'",
    ),
    (lambda: np.unique(x3), "numpy.unique has no tangent rule"),
    (lambda: np.multiply.at(x3, 0, 2.0), "numpy.multiply.at has no tangent rule"),
    (lambda: np.pad(x3, 1, mode="maximum"), "numpy.pad(mode='maximum')"),
    (lambda: np.pad(x3, 1, mode="empty"), "numpy.pad(mode='empty')"),
    (lambda: np.arange(x3[0], 5.0, like=x3), "np.linspace(start, stop, number)"),
    (lambda: np.arange(0.0, 5.0, x3[0], like=x3), "numpy.arange"),
    (lambda: np.average(x3, returned=True), "numpy.average with the argument 'returned'"),
    (
        lambda: np.median(x3, overwrite_input=True),
        "numpy.median with the argument 'overwrite_input'",
    ),
    (lambda: np.nan_to_num(x3, copy=False), "numpy.nan_to_num with the argument 'copy'"),
    (lambda: np.interp(x3, [0.0, 1.0], [0.0, 1.0], period=1.0), "'period'"),
    (lambda: np.add(x3, 1.0, out=np.zeros(3)), "result of numpy.add into a plain array"),
    (lambda: np.sum(x3, out=np.zeros(())), "result of numpy.sum into a plain array"),
    (lambda: np.sum(x3, 0, None, np.zeros(())), "result of numpy.sum into a plain array"),
    (lambda: np.dot(x3, x3, np.zeros(())), "result of numpy.dot into a plain array"),
    (lambda: np.divide(x3, 2.0, where=x3 > 1, out=np.zeros(3)), "numpy.divide into a plain array"),
    (lambda: np.add.at(np.zeros(3), [0], x3[:1]), "numpy.add.at on a plain array"),
    (lambda: np.copyto(np.zeros(3), x3), "numpy.copyto into a plain array"),
    (lambda: np.add.reduce(x3, out=np.zeros(())), "into a plain array"),
    (lambda: np.sum(x3, dtype=int), "int64"),
    (lambda: np.floor(x3, out=np.zeros(3)), "result of numpy.floor into a plain array"),
    (lambda: np.divmod(x3, 2.0, where=x3 > 1), "numpy.divmod with the argument 'where'"),
    (lambda: np.divmod(x3, 2.0, out=(np.zeros(3), np.zeros(3))), "numpy.divmod into a plain array"),
]


@pytest.mark.parametrize(("loss", "named"), LOSSES)
def test_what_would_lose_a_tangent_is_refused_by_name(loss: Any, named: str) -> None:
    with pytest.raises(NoTangentRuleError) as caught:
        loss()
    assert named in str(caught.value)
    assert caught.value.hint is not None


def test_without_the_source_of_the_call_the_error_describes_the_conversion() -> None:
    with pytest.raises(NoTangentRuleError, match=r"np.asarray\(x\), or assigning"):
        eval("np.ascontiguousarray(x)", {"np": np, "x": x3})
    with pytest.raises(NoTangentRuleError, match=r"as_strided\(x\) would lose"):
        eval("f(x, (2, 2), (8, 8))", {"f": as_strided, "x": x3})


def test_options_with_their_default_values_are_accepted() -> None:
    assert np.quantile(x3, 0.5, None, None, False, weights=None).tangent == 1.0
    assert np.nan_to_num(x3, copy=True).tangent.tolist() == [1.0, 1.0, 1.0]
    assert np.median(x3, None, None, False).tangent == 1.0
    assert np.average(x3, returned=False).tangent == 1.0


def test_a_function_of_indices_may_use_a_dual() -> None:
    y = np.fromfunction(lambda i: i * x3[0], (3,), like=x3)
    assert y.level == 1
    assert y.tangent.tolist() == [0.0, 1.0, 2.0]


def test_the_alternative_to_a_conversion_keeps_the_tangent() -> None:
    x = Dual(np.arange(6.0).reshape(2, 3), np.ones((2, 3))).T
    for convert in (np.ascontiguousarray, np.asfortranarray, np.asarray, np.require, np.asanyarray):
        assert np.array_equal(convert(x, like=x).tangent, np.ones((3, 2)))
        assert np.array_equal(convert(x.value, like=x.value), x.value)
    assert np.ascontiguousarray(x, like=x).value.flags.c_contiguous


def test_a_dual_is_never_assigned_into_a_plain_array() -> None:
    plain = np.zeros(3)
    with pytest.raises(NoTangentRuleError, match=r"assigning x into a plain array"):
        plain[...] = x3
    with pytest.raises(NoTangentRuleError, match=r"assigning x into a plain array"):
        plain[1:] = x3[0]
    with pytest.raises(ValueError) as caught:  # NumPy puts an error of its own in front
        plain[0] = x3[0]
    assert isinstance(caught.value.__cause__, NoTangentRuleError)
    assert np.array_equal(plain, np.zeros(3))


def test_adding_a_dual_to_a_plain_array_in_place_raises_an_error_with_a_hint() -> None:
    z = np.zeros(3)
    with pytest.raises(NoTangentRuleError, match="zeros_like"):
        z += x3
    assert np.array_equal(z, np.zeros(3))


def test_a_failed_in_place_operation_changes_neither_part() -> None:
    z = Dual(np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match="non-broadcastable"):
        z += np.ones((2, 3))
    with pytest.raises(ValueError, match="non-broadcastable"):
        np.sum(np.ones((2, 3)) * z, axis=0, keepdims=True, out=z)
    frozen = np.ones(3)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        Dual(frozen, np.ones(3))[0] = 2.0
    assert np.array_equal(z.value, np.ones(3))
    assert np.array_equal(z.tangent, np.ones(3))


def test_where_nothing_is_computed_nothing_moves() -> None:
    y = np.log(Dual([0.0, 2.0], [1.0, 1.0]), where=np.array([False, True]))
    assert y.tangent.tolist() == [0.0, 0.5]
    with pytest.raises(TypeError, match="where"):
        np.matmul(x3, x3, where=[True, False, True])


def test_someone_elses_array_type_is_left_to_decide() -> None:
    class Other:
        __array_ufunc__ = None

        def __radd__(self, other: Any) -> str:
            return "mine"

    assert x3 + Other() == "mine"


# ---- the object itself


def test_value_and_tangent_have_the_same_shape_and_type_from_the_start() -> None:
    x = Dual(np.ones((2, 3), np.float32), 2)
    assert x.tangent.shape == x.shape == (2, 3)
    assert x.tangent.dtype == x.dtype == np.float32
    assert Dual(3.0, 1.0).shape == ()
    with pytest.raises(ShapeError, match=r"\(3,\)"):
        Dual(np.ones(2), np.ones(3))
    with pytest.raises(ShapeError):
        Dual(np.ones(3), np.ones((1, 3)))
    for value, tangent in ((np.arange(3), 1.0), (np.ones(3), 1j), ("a", 1), (1.0, "a")):
        with pytest.raises(DtypeError, match="floating-point"):
            Dual(value, tangent)


def test_the_tangent_is_a_copy_even_if_it_is_the_value() -> None:
    x = np.ones(3)
    z = Dual(x, x)
    z *= 3.0
    assert z.tangent.tolist() == [3.0, 3.0, 3.0]
    direction = np.ones(3)
    z = Dual(np.ones(3), direction)
    z += z
    assert direction.tolist() == [1.0, 1.0, 1.0]


def test_no_result_shares_its_tangent_with_an_operand() -> None:
    x, y = Dual(np.ones(3), np.ones(3)), np.zeros(3)
    for result in (x + y, +x, x - y, x * 1, np.clip(x, None, 9.0), np.clip(x, 0.0, None), x**1):
        result += 5.0 * x
        result[...] = 0.0
    assert x.tangent.tolist() == [1.0, 1.0, 1.0]


def test_a_dual_is_no_key_and_prints_both_parts() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(x3)
    with pytest.raises(TypeError):
        len(Dual(1.0, 1.0))
    with pytest.raises(TypeError):
        iter(Dual(1.0, 1.0)).__next__()
    with pytest.raises(ValueError, match="ambiguous"):
        bool(x3)
    assert repr(x3) == "Dual([1., 2., 3.], tangent=[1., 1., 1.])"
    assert repr(Dual(np.float32(2.0), 1.0)) == "Dual(2., tangent=1., dtype=float32)"
    assert repr(Dual(np.eye(2), 0.0)).splitlines() == [
        "Dual([[1., 0.],",
        "      [0., 1.]],",
        "     tangent=[[0., 0.],",
        "              [0., 0.]])",
    ]


def test_the_example_in_the_lesson_is_true(monkeypatch: Any) -> None:
    monkeypatch.setattr(dual_module, "RULES", dict(RULES))
    assert doctest.testmod(dual_module).failed == 0


def test_a_user_can_add_a_rule(monkeypatch: Any) -> None:
    monkeypatch.setattr(dual_module, "RULES", dict(RULES))

    @tangent_rule(np.trim_zeros)
    def trim_zeros(y: Any, filt: Any, d_filt: Any) -> Any:
        return d_filt[np.flatnonzero(filt)[0] :][: len(y)]

    @tangent_rule(np.spacing)
    def spacing(y: Any, x: Any, dx: Any) -> Any:
        return dx

    @tangent_rule(np.polydiv, "u", "v")
    def polydiv(y: Any, u: Any, v: Any, du: Any, dv: Any) -> Any:
        change = du - np.convolve(y[0], dv)  # u = q v + r
        return np.polydiv(change, v)

    trimmed = np.trim_zeros(Dual([0.0, 1.0, 2.0, 0.0], [5.0, 6.0, 7.0, 8.0]))
    assert trimmed.tangent.tolist() == [6.0, 7.0]
    quotient, rest = np.polydiv(Dual([1.0, 3.0], [1.0, 0.0]), Dual([1.0, 1.0], [0.0, 1.0]))
    assert quotient.tangent.tolist() == [1.0]
    assert rest.tangent.tolist() == [-2.0]
    steps = np.spacing(x3)
    steps += steps  # the rule gave its argument back, and that one is safe
    assert x3.tangent.tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(NoTangentRuleError, match="trim"):
        np.trim_zeros(x3, trim="b")


# ---- derivatives of derivatives


@given(a=st.floats(0.2, 3.0), c=st.floats(0.2, 3.0))
def test_duals_of_duals_give_second_and_third_derivatives(a: float, c: float) -> None:
    def f(x: Any) -> Any:
        return np.sum(np.exp(c * x) * np.sin(x) / np.sqrt(1 + x**2))

    x = Dual(Dual(Dual(np.array([a]), 1.0), 1.0), 1.0)
    with mpmath.workdps(60):
        exact = mpmath.diff(
            lambda t: mpmath.exp(c * t) * mpmath.sin(t) / mpmath.sqrt(1 + t**2), a, 3
        )
    assert_close(f(x).tangent.tangent.tangent, float(exact), 1e-11)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.var(x**2, axis=0),
        lambda x: np.prod(x, axis=1),
        lambda x: np.cumprod(x, axis=1),
        lambda x: np.max(x**2, axis=1),
        lambda x: np.sort(x**3, axis=0),
        lambda x: np.linalg.inv(x[:2, :2] + 3 * np.eye(2)),
        lambda x: np.einsum("ij,kj,ij->ik", x, x, x),
        lambda x: np.where(x > 0, x**2, np.exp(x)),
        lambda x: np.pad(x**2, 1, mode="reflect"),
        lambda x: np.concatenate([x**2, np.ones((1, 3))]),
        lambda x: written(np.put, [0, 4], x[0, :2] ** 3)(x**2, x),
        lambda x: np.array([x[0, 0] ** 2, 1.0], like=x),
        lambda x: np.divide(x**3, x, out=np.zeros_like(x), where=np.isfinite(x)),
    ],
)
def test_second_derivatives_of_array_functions_are_differences_of_first(function: Any) -> None:
    x = np.array([[0.7, -1.2, 0.4], [1.5, 0.3, -0.6], [0.9, 1.1, 2.0]])
    v, w, h = np.cos(x), np.sin(3 * x), 1e-5
    second = function(Dual(Dual(x, v), w)).tangent.tangent
    first = [function(Dual(x + s * h * w, v)).tangent for s in (1, -1)]
    assert_close(second, (first[0] - first[1]) / (2 * h), 1e-8)


def test_two_derivatives_are_not_confused() -> None:
    # d/dx [x · d(x + y)/dy] = 1 and d/dx [x · d(x y²)/dy] = 4x at y = 1: the inner derivative must
    # not see that x moves, the outer one must.
    x = Dual(3.0, 1.0)
    y = Dual(1.0, 1.0, level=2)
    inner = (x + y).tangent
    assert (x * inner).tangent == 1.0
    for product in (x * y**2, np.prod(np.stack([x, y, y])), np.einsum(",,", x, y, y)):
        assert (x * product.tangent).value == 18.0
        assert (x * product.tangent).tangent == 12.0
    with pytest.raises(NoTangentRuleError, match="above 1"):
        Dual(x, 1.0, level=1)
    z = Dual(np.zeros(3), 0.0)
    for write in (lambda: z.__setitem__(0, y), lambda: z.__iadd__(y)):
        with pytest.raises(NoTangentRuleError, match="lower level"):
            write()


# ---- a network, worked out by hand


@given(seed=SEEDS)
@settings(max_examples=10)
def test_forward_and_backward_of_a_network_give_its_hessian_vector_product(seed: int) -> None:
    """One hidden layer, C = ½ ⟨(a tanh(x w) - t)²⟩, and its second derivative by hand."""
    rng = np.random.default_rng(seed)
    batch, n, hidden = 5, 3, 4
    x, t = rng.normal(size=(batch, n)), rng.normal(size=(batch, 1))
    w, dw = rng.normal(size=(2, n, hidden))
    a, da = rng.normal(size=(2, hidden, 1))

    def gradient(w: Any, a: Any) -> tuple[Any, Any]:
        y = np.tanh(x @ w)
        delta = (y @ a - t) / batch
        back = delta @ a.T
        back *= 1 - y**2
        return x.T @ back, y.T @ delta

    grad_w, grad_a = gradient(Dual(w, dw), Dual(a, da))

    y, f = np.tanh(x @ w), np.tanh(x @ w) @ a - t
    dy = (1 - y**2) * (x @ dw)
    df = dy @ a + y @ da
    slope, dslope = 1 - y**2, -2 * y * dy
    hessian_w = x.T @ ((df @ a.T + f @ da.T) * slope + (f @ a.T) * dslope) / batch
    hessian_a = (dy.T @ f + y.T @ df) / batch
    assert_close(grad_w.tangent, hessian_w)
    assert_close(grad_a.tangent, hessian_a)
    plain_w, plain_a = gradient(w, a)
    assert np.array_equal(grad_w.value, plain_w)
    assert np.array_equal(grad_a.value, plain_a)


def test_einsum_is_the_explicit_sum() -> None:
    rng = np.random.default_rng(3)
    (a, da), (b, db), (c, dc) = rng.normal(size=(3, 2, 2, 2))
    y = np.einsum("ij,jk,ki->j", Dual(a, da), Dual(b, db), Dual(c, dc))
    for j in range(2):
        terms = [
            da[i, j] * b[j, k] * c[k, i]
            + a[i, j] * db[j, k] * c[k, i]
            + a[i, j] * b[j, k] * dc[k, i]
            for i in range(2)
            for k in range(2)
        ]
        assert math.isclose(y.tangent[j], sum(terms), rel_tol=1e-12)
