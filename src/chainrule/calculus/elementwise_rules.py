"""The table of derivatives of elementwise functions, ẏ = Σ_i (∂f/∂x_i) ẋ_i.

Each line names a function and gives ∂f/∂x for every argument, as a function of the result y and
the arguments: ``np.exp: (lambda y, x: y,)`` says that the exponential is its own derivative.

The formulas hold for complex numbers as well, except for the functions that are not analytic: their
rules are in a second table.

Where a derivative does not exist, we choose one:

- ``maximum``, ``minimum``, ``fmax``, ``fmin`` of two equal numbers: the mean of both tangents, so
  the order of the arguments does not matter. ``abs``, ``sign`` and ``hypot`` at 0: zero, the mean
  of both sides.
- Steps (``floor``, ``sign``, ``heaviside``, ...) have derivative 0 everywhere.
- An infinite slope (``sqrt`` at 0) is infinite, with NumPy's warning; but where the argument does
  not move, the tangent is 0. So ``np.sqrt(np.where(x > 0, x, 0))`` has a finite tangent. A
  ``backward`` that contains the infinite slope itself, 0 · ∞ = nan, still has to avoid it.

The derivatives are from M. Abramowitz, I. A. Stegun, *Handbook of Mathematical Functions*,
chapters 3 and 4.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from chainrule.calculus.messages import no_rule
from chainrule.calculus.rules import (
    TangentRule,
    derivatives,
    formula,
    linear,
    multilinear,
    slope_times,
)

Partial = Callable[..., Any]


def zero(y: Any, *x: Any) -> float:
    """The derivative of a step."""
    return 0.0


def one(y: Any, *x: Any) -> float:
    """The derivative of the identity."""
    return 1.0


def minus_one(y: Any, *x: Any) -> float:
    """The derivative of −x."""
    return -1.0


NUMBERS = (float, int)
"""The types of numbers that are not NumPy's."""


def d_quotient_d_first(y: Any, a: Any, b: Any) -> Any:
    """∂(a/b)/∂a = 1/b, which is infinite for a number 0, as for an array."""
    return math.copysign(math.inf, b) if type(b) in NUMBERS and not b else 1 / b


def d_power_d_base(y: Any, x: Any, a: Any) -> Any:
    """∂(xᵃ)/∂x = a xᵃ⁻¹; for a = 0 it is 0 at x = 0 too, instead of 0 · ∞."""
    if type(a) in NUMBERS:
        return a * x ** (a - 1 if a else 1)
    return a * x ** np.where((a == 0) & (x == 0), 1, a - 1)


def d_power_d_exponent(y: Any, x: Any, a: Any) -> Any:
    """∂(xᵃ)/∂a = xᵃ ln x, which tends to 0 for x → 0."""
    return y * np.log(np.where(x == 0, 1, x))


def d_sinc(y: Any, x: Any) -> Any:
    """d(sin t / t)/dx with t = πx; near 0 a series, where the closed form would lose digits."""
    is_near = np.abs(x) < 0.045
    near, far = np.where(is_near, x, 0), np.where(is_near, 1, x)
    t2 = (math.pi * near) ** 2
    series = 1 - t2 / 10 * (1 - t2 / 28 * (1 - t2 / 54 * (1 - t2 / 88)))
    closed = (np.cos(math.pi * x) - y) / far
    return np.where(is_near, -(math.pi**2) / 3 * near * series, closed)


def d_bessel(y: Any, x: Any) -> Any:
    """dI₀/dx = I₁(x), the mean of sinh(x cos θ) cos θ over 0 ≤ θ ≤ π/2.

    For a periodic function, the mean over equidistant points converges exponentially. Here its
    error is about I₂₅₅(x), below rounding for all x with finite I₀(x). As cos θ = 1 − 2 sin²(θ/2),
    the large factor eˣ can be taken out.
    """
    angle = (np.arange(64) + 0.5) * (math.pi / 128)
    cosine, square = (a.astype(x.dtype) for a in (np.cos(angle), np.sin(angle / 2) ** 2))
    side = np.where(x < 0, -1, 1).astype(x.dtype)  # I₁ is odd
    size = (side * x)[..., None]
    terms = cosine * np.exp(-2 * size * square) * -np.expm1(-2 * size * cosine)
    return side * np.exp(side * x) * np.mean(terms, axis=-1) / 2


def share_of_first(y: Any, a: Any, b: Any) -> Any:
    """1 where a was chosen, 0 where b was, ½ where they are equal."""
    return np.where(a == b, 0.5, y == a)


def share_of_second(y: Any, a: Any, b: Any) -> Any:
    """1 where b was chosen, 0 where a was, ½ where they are equal."""
    return np.where(a == b, 0.5, y == b)


def divmod_tangents(y: Any, a: Any, b: Any, da: Any, db: Any) -> Any:
    """Integer quotient q and remainder r = a − q b: dq = 0, dr = da − q db."""
    return np.zeros_like(y[0]), da - y[0] * db


def modulus(y: Any, z: Any, dz: Any) -> Any:
    """The derivative d|z| = Re(z̄ dz) / |z|, and 0 at 0."""
    return np.real(np.conjugate(np.sign(z)) * dz)


def phase(y: Any, z: Any, dz: Any, deg: bool = False) -> Any:
    """The derivative d arg z = Im(dz / z), infinite at 0 unless dz is 0."""
    if not np.iscomplexobj(z):
        return np.zeros_like(dz)
    turn = np.imag(slope_times(lambda: 1 / z, dz))
    return np.degrees(turn) if deg else turn


def sign(y: Any, z: Any, dz: Any) -> Any:
    """The phase factor y = z / |z| turns: dy = (dz - y d|z|) / |z|. Of a real number, 0."""
    if not np.iscomplexobj(z):
        return np.zeros_like(y)
    return (dz - y * modulus(y, z, dz)) / np.where(z == 0, 1, np.abs(z))


def frexp(y: Any, x: Any, dx: Any) -> Any:
    """Of x = mantissa · 2ⁿ the mantissa moves; the integer n does not."""
    return np.ldexp(dx, -y[1]), None


DERIVATIVES: dict[np.ufunc, tuple[Partial, ...]] = {
    # arithmetic
    np.add: (one, one),
    np.subtract: (one, minus_one),
    np.multiply: (lambda y, a, b: b, lambda y, a, b: a),
    np.divide: (d_quotient_d_first, lambda y, a, b: -y / b),
    np.floor_divide: (zero, zero),
    np.remainder: (one, lambda y, a, b: -np.floor_divide(a, b)),
    np.fmod: (one, lambda y, a, b: -np.trunc(a / b)),
    np.power: (d_power_d_base, d_power_d_exponent),
    np.float_power: (d_power_d_base, d_power_d_exponent),
    np.negative: (minus_one,),
    np.positive: (one,),
    np.reciprocal: (lambda y, x: -y * y,),
    np.square: (lambda y, x: 2 * x,),
    np.sqrt: (lambda y, x: 0.5 / y,),
    np.cbrt: (lambda y, x: 1 / (3 * y * y),),
    # exponentials and logarithms
    np.exp: (lambda y, x: y,),
    np.exp2: (lambda y, x: math.log(2) * y,),
    np.expm1: (lambda y, x: np.exp(x),),
    np.log: (lambda y, x: 1 / x,),
    np.log2: (lambda y, x: 1 / (math.log(2) * x),),
    np.log10: (lambda y, x: 1 / (math.log(10) * x),),
    np.log1p: (lambda y, x: 1 / (1 + x),),
    np.logaddexp: (lambda y, a, b: np.exp(a - y), lambda y, a, b: np.exp(b - y)),
    np.logaddexp2: (lambda y, a, b: np.exp2(a - y), lambda y, a, b: np.exp2(b - y)),
    # trigonometry
    np.sin: (lambda y, x: np.cos(x),),
    np.cos: (lambda y, x: -np.sin(x),),
    np.tan: (lambda y, x: 1 + y * y,),
    np.arcsin: (lambda y, x: 1 / np.sqrt(-(x - 1) * (1 + x)),),
    np.arccos: (lambda y, x: -1 / np.sqrt(-(x - 1) * (1 + x)),),
    np.arctan: (lambda y, x: 1 / (1 + x * x),),
    np.arctan2: (lambda y, a, b: b / (a * a + b * b), lambda y, a, b: -a / (a * a + b * b)),
    np.hypot: (
        lambda y, a, b: a / np.where(y == 0, 1, y),
        lambda y, a, b: b / np.where(y == 0, 1, y),
    ),
    np.degrees: (lambda y, x: 180 / math.pi,),
    np.rad2deg: (lambda y, x: 180 / math.pi,),
    np.radians: (lambda y, x: math.pi / 180,),
    np.deg2rad: (lambda y, x: math.pi / 180,),
    # hyperbolic functions
    np.sinh: (lambda y, x: np.cosh(x),),
    np.cosh: (lambda y, x: np.sinh(x),),
    np.tanh: (lambda y, x: 1 - y * y,),
    np.arcsinh: (lambda y, x: 1 / (np.sqrt(1 + x * x) if np.iscomplexobj(x) else np.hypot(1, x)),),
    np.arccosh: (lambda y, x: 1 / (np.sqrt(x - 1) * np.sqrt(x + 1)),),
    np.arctanh: (lambda y, x: 1 / ((1 - x) * (1 + x)),),
    # kinks and steps
    np.fabs: (lambda y, x: np.sign(x),),
    np.copysign: (lambda y, a, b: np.sign(a) * np.copysign(1.0, b), zero),
    np.heaviside: (zero, lambda y, x, at_zero: x == 0),
    np.maximum: (share_of_first, share_of_second),
    np.minimum: (share_of_first, share_of_second),
    np.fmax: (share_of_first, share_of_second),
    np.fmin: (share_of_first, share_of_second),
}

# Of scipy.special, by name: SciPy is imported only by those who use it. `sp` is the module.
SPECIAL: dict[str, Callable[[Any], tuple[Partial, ...]]] = {
    "erf": lambda sp: (lambda y, x: 2 / math.sqrt(math.pi) * np.exp(-x * x),),
    "erfc": lambda sp: (lambda y, x: -2 / math.sqrt(math.pi) * np.exp(-x * x),),
    "erfcx": lambda sp: (lambda y, x: 2 * x * y - 2 / math.sqrt(math.pi),),
    "ndtr": lambda sp: (lambda y, x: np.exp(-x * x / 2) / math.sqrt(2 * math.pi),),
    "expit": lambda sp: (lambda y, x: y * sp.expit(-x),),
    "log_expit": lambda sp: (lambda y, x: sp.expit(-x),),
    "gamma": lambda sp: (lambda y, x: y * sp.psi(x),),
    "gammaln": lambda sp: (lambda y, x: sp.psi(x),),
    "psi": lambda sp: (lambda y, x: d_psi(sp, x),),
    "_zeta": lambda sp: (no_zeta, lambda y, s, q: -s * sp.zeta(s + 1, q)),
    "j0": lambda sp: (lambda y, x: -sp.j1(x),),
    "j1": lambda sp: (lambda y, x: (sp.j0(x) - sp.jv(2, x)) / 2,),
    "jv": lambda sp: (no_order, lambda y, n, x: (sp.jv(n - 1, x) - sp.jv(n + 1, x)) / 2),
}


def d_psi(sp: Any, x: Any) -> Any:
    """ψ′(x) = ζ(2, x), and for x < 0 by ψ′(x) + ψ′(1 − x) = (π / sin πx)²."""
    mirrored = np.where(x > 0, x, 1 - x)
    found = sp.zeta(2.0, mirrored)
    turned = np.where(x > 0, 0.5, x)
    return np.where(x > 0, found, (math.pi / np.sin(math.pi * turned)) ** 2 - found)


def no_zeta(y: Any, s: Any, q: Any) -> Any:
    """Refuse ∂ζ(s, q)/∂s."""
    raise no_rule("the derivative of scipy.special.zeta in its first argument")


def no_order(y: Any, n: Any, x: Any) -> Any:
    """Refuse ∂J_n(x)/∂n."""
    raise no_rule("the derivative of scipy.special.jv in its order")


@cache
def partials_of(ufunc: Any) -> tuple[Partial, ...]:
    """∂f/∂x for each argument of an elementwise function; nothing if there is no rule."""
    name, module = getattr(ufunc, "__name__", ""), sys.modules.get("scipy.special")
    inner = getattr(module, "_ufuncs", None)  # zeta is a function around the ufunc _zeta there
    if name in SPECIAL and any(getattr(place, name, None) is ufunc for place in (module, inner)):
        return SPECIAL[name](module)
    return DERIVATIVES.get(ufunc, ())


# f″ from y and f′, for the functions that networks contain most often; that of any other function
# is the tangent of its formula for f′.
CURVATURES: dict[np.ufunc, Partial] = {
    np.exp: lambda y, slope: y,
    np.sin: lambda y, slope: -y,
    np.cos: lambda y, slope: -y,
    np.tanh: lambda y, slope: (-2 * y) * slope,
    np.log: lambda y, slope: -slope * slope,
}


def anywhere(*x: Any) -> bool:
    """The slope may be infinite."""
    return True


def unless_divided_by_a_number(a: Any, b: Any) -> bool:
    """The slopes 1/b and -a/b² are finite for a number b, except 0."""
    return type(b) not in NUMBERS or not b


def unless_the_power_is_a_number_from_one(x: Any, a: Any) -> bool:
    """The slope a xᵃ⁻¹ is finite for a number a of at least 1."""
    return type(a) not in NUMBERS or a < 1


# Those with an infinite slope somewhere, and for which values it may be.
STEEP: dict[np.ufunc, Callable[..., bool]] = {
    **dict.fromkeys((np.reciprocal, np.float_power, np.sqrt, np.cbrt), anywhere),
    **dict.fromkeys((np.log, np.log2, np.log10, np.log1p), anywhere),
    **dict.fromkeys((np.arcsin, np.arccos, np.arctan2, np.arccosh, np.arctanh), anywhere),
    np.divide: unless_divided_by_a_number,
    np.power: unless_the_power_is_a_number_from_one,
}

# A shorter way to compute the sum of all terms.
TOGETHER: dict[np.ufunc, Callable[..., Any]] = {
    np.divide: lambda y, a, b, da, db: (da - y * db) / b,
}

ELEMENTWISE_RULES: dict[Callable[..., Any], TangentRule] = {
    **{
        f: derivatives(*partials, steep=STEEP.get(f), together=TOGETHER.get(f))
        for f, partials in DERIVATIVES.items()
    },
    np.sinc: derivatives(d_sinc),
    np.i0: derivatives(d_bessel),
    # several results, or integers among the arguments
    np.divmod: formula(divmod_tangents),
    np.modf: formula(lambda y, x, dx: (np.copy(dx), np.zeros_like(dx))),
    np.frexp: formula(frexp),
    np.ldexp: formula(lambda y, x, n, dx, dn: np.ldexp(dx, n)),
    # not analytic
    np.absolute: formula(modulus),
    np.sign: formula(sign),
    np.conjugate: linear(),
    np.angle: formula(phase, "z"),
    **{
        getattr(np, name): multilinear()
        for name in ("matmul", "vecdot", "matvec", "vecmat")  # the last two since NumPy 2.2
        if hasattr(np, name)
    },
}

# Functions whose result does not change under small changes of their arguments. The result is a
# plain array, or, if it has a floating-point dtype, a Dual with tangent zero.
CONSTANT_UFUNCS: tuple[np.ufunc, ...] = (
    *(np.floor, np.ceil, np.trunc, np.rint),
    *(np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal),
    *(np.logical_and, np.logical_or, np.logical_xor, np.logical_not),
    *(np.isfinite, np.isinf, np.isnan, np.signbit),
)
