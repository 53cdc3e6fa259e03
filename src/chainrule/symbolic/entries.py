"""Entries of a symbolic array: each a form, together with its value at one point.

    x = Entry(form "x[0]", value 0.8125),    x² − 1 = Entry(form "x[0]² − 1", value −0.339…)

The value, a number of fifty digits, decides what a program asks: ``x > 0`` is True here. Which
comparisons were made, and what their answers were, is recorded by the `Point`: all points with the
same answers form a region, in which the program computes the same form.

Constants are ordinary floats. So numbers combine with numbers as in the program itself, in doubles,
and become fractions only where they meet a symbol.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from chainrule.core.errors import UndecidedError
from chainrule.symbolic import forms
from chainrule.symbolic.forms import Form

DIGITS = 50
UNDERFLOW = -746
"""Below it, exp is 0 in doubles."""
OVERFLOW = 1e9


@functools.lru_cache(maxsize=8)
def arithmetic(digits: int) -> Any:
    """Arithmetic with so many digits; it does not change mpmath's own precision."""
    import mpmath  # with SymPy, in the extra "symbols"

    context = mpmath.MPContext()
    context.dps = digits
    return context


class Condition(NamedTuple):
    """What a program has decided at a point: that a form is above or below 0."""

    form: Form
    is_positive: bool
    is_domain: bool = False
    """Whether the form must have this sign, as the argument of a logarithm."""

    @property
    def opposite(self) -> Condition:
        """The other side."""
        return Condition(self.form, not self.is_positive, self.is_domain)


class Point:
    """Values of symbols, and what programs have decided there.

    Parameters
    ----------
    digits
        The precision of all values.
    has_forms
        Whether entries have forms. Without, everything is faster, and only values are known.
    is_same
        Decides whether two forms are equal, for two equal values.
    """

    def __init__(
        self,
        digits: int = DIGITS,
        *,
        has_forms: bool = True,
        is_same: Callable[[Form], bool] | None = None,
    ) -> None:
        self.context = arithmetic(digits)
        self.has_forms = has_forms
        self.conditions: dict[Condition, Any] = {}
        """The conditions that hold, each with the value of its form."""
        self.is_same = is_same
        self._negligible = self.context.mpf(10) ** (-digits + 8)

    def symbol(self, name: str, value: Any) -> Entry:
        """A variable, which has this value here."""
        return Entry(forms.symbol(name) if self.has_forms else None, self.number(value), self)

    def number(self, value: Any) -> Any:
        """A number with the digits of this point."""
        if isinstance(value, Fraction):
            return self.context.mpf(value.numerator) / value.denominator
        return self.context.mpf(value)

    def is_positive(self, difference: Any, *, is_domain: bool = False) -> bool | None:
        """Whether an entry is above 0, which is recorded; None if it is 0."""
        if not isinstance(difference, Entry):
            return None if difference == 0 else bool(difference > 0)
        value, form = difference.value, difference.form
        if value != value:  # not a number
            return False
        if value == 0 or abs(value) < self._negligible:
            if form is not None and self.is_same is not None and self.is_same(form):
                return None
            if form is None and value == 0:
                return None
            if value and form is not None and forms.is_surely_positive(form):
                return True
            raise undecided(
                "a comparison of two different formulas that have the same value here",
                "at kinks, and where formulas are equal for a reason that is not known",
            )
        if is_domain and form is not None and forms.is_surely_positive(form):
            return True
        if form is not None:
            key, positive = form, bool(value > 0)
            if form.kind == "product" and form.parts[1].kind == "number":
                factor = form.parts[1].detail  # x and −2x are decided together
                key, positive = form.parts[0], positive == (factor > 0)
                value = value / self.number(factor)
            self.conditions.setdefault(Condition(key, positive, is_domain), value)
        return bool(difference.value > 0)


def undecided(what: str, hint: str) -> UndecidedError:
    """The error for what a symbolic array cannot answer."""
    return UndecidedError(
        f"symbols cannot answer {what}",
        expected="NumPy's functions, called on the arrays that the layer is given",
        hint=hint,
    )


class Entry:
    """A form and its value at a point; behaves like a float in arithmetic and comparisons."""

    __slots__ = ("form", "point", "value")

    form: Any
    """None if the point has values alone."""
    __array_ufunc__ = None  # np.float64 + entry is left to the entry

    def __init__(self, form: Form | None, value: Any, point: Point) -> None:
        self.form, self.value, self.point = form, value, point

    def __repr__(self) -> str:
        return f"Entry({self.form!r}, {self.point.context.nstr(self.value, 8)})"

    # ---------------------------------------------------------------- arithmetic

    def _with(self, other: Entry) -> Any:
        """The form, to be combined with another entry of the same point."""
        if other.point is not self.point:
            raise undecided("formulas of an earlier pass", "keep what forward computes in self")
        return self.form

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Entry):
            form = self._with(other) and forms.add(self.form, other.form)
            return _entry(form, self.value + other.value, self.point)
        if not _is_finite(other):
            return float(other)
        if other == 0:
            return self
        form = self.form and forms.add(self.form, forms.number(other))
        return _entry(form, self.value + self.point.number(other), self.point)

    __radd__ = __add__

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Entry):
            form = self._with(other) and forms.multiply(self.form, other.form)
            return _entry(form, self.value * other.value, self.point)
        if other == 0:
            return 0.0
        if not _is_finite(other):
            return float(other) * (1.0 if self > 0 else -1.0)
        if other == 1:
            return self
        form = self.form and forms.multiply(self.form, forms.number(other))
        return _entry(form, self.value * self.point.number(other), self.point)

    __rmul__ = __mul__

    def __neg__(self) -> Any:
        return self * -1

    def __sub__(self, other: Any) -> Any:
        if other is self:
            return 0.0
        return self + (-other)

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __truediv__(self, other: Any) -> Any:
        return divide(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return divide(other, self)

    def __pow__(self, exponent: Any) -> Any:
        return power(self, exponent)

    def __rpow__(self, base: Any) -> Any:
        return power(base, self)

    def conjugate(self) -> Entry:
        """The number itself, which is real."""
        return self

    # ---------------------------------------------------------------- comparisons

    def _compared(self, other: Any) -> bool | None:
        if not isinstance(other, Entry) and not math.isfinite(other):
            return bool(other < 0) if other == other else False
        if isinstance(other, Entry) and other.form and other.form.serial < self.form.serial:
            below = self.point.is_positive(other - self)  # a − b and b − a are decided together
            return None if below is None else not below
        return self.point.is_positive(self - other)

    def __gt__(self, other: Any) -> bool:
        return other == other and self._compared(other) is True

    def __lt__(self, other: Any) -> bool:
        return other == other and self._compared(other) is False

    def __ge__(self, other: Any) -> bool:
        return other == other and self._compared(other) is not False

    def __le__(self, other: Any) -> bool:
        return other == other and self._compared(other) is not True

    def __eq__(self, other: object) -> bool:
        if other is self:
            return True
        return isinstance(other, Entry | float | int) and self._compared(other) is None

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return self != 0

    def __float__(self) -> float:
        raise undecided(
            "float(x)", "np.* functions instead of math.*, and arrays created with like=x"
        )

    __int__ = __index__ = __float__


def _is_finite(number: Any) -> bool:
    if isinstance(number, complex):
        raise undecided("what complex numbers inside a layer do", "real arithmetic")
    return math.isfinite(number)


def _entry(form: Form | None, value: Any, point: Point) -> Any:
    """An entry, or a float if the form is a number."""
    if form is not None and form.kind == "number":
        return float(form.detail)
    return Entry(form, value, point)


# ------------------------------------------------------------------------------- functions


def in_doubles(ufunc: np.ufunc, *numbers: Any) -> Any:
    """A function of numbers alone, as NumPy computes it."""
    with np.errstate(all="ignore"):
        result = ufunc(*[np.float64(x) for x in numbers])
    return result.item()


def _elementary(name: str, ufunc: np.ufunc, evaluate: str) -> Callable[[Any], Any]:
    """A function with a form of its own."""

    def function(x: Any) -> Any:
        if not isinstance(x, Entry):
            return in_doubles(ufunc, x)
        value = getattr(x.point.context, evaluate)(x.value)
        return _entry(x.form and forms.apply(name, x.form), value, x.point)

    return function


sin = _elementary("sin", np.sin, "sin")
cos = _elementary("cos", np.cos, "cos")
tanh = _elementary("tanh", np.tanh, "tanh")
arctan = _elementary("arctan", np.arctan, "atan")
_exp = _elementary("exp", np.exp, "exp")
_log = _elementary("log", np.log, "log")


def exp(x: Any) -> Any:
    """The exponential; 0 where it is 0 in doubles."""
    if isinstance(x, Entry) and x.value < UNDERFLOW + 1 and x < UNDERFLOW:
        return 0.0
    if isinstance(x, Entry) and x.value > OVERFLOW:  # its own exponential would fill the memory
        raise undecided("the exponential of a huge number", "smaller numbers")
    return _exp(x)


def log(x: Any, like: Entry | None = None) -> Any:
    """The natural logarithm, for x > 0; of a number with all digits, if it is ``like`` an entry."""
    if isinstance(x, Entry) and not x.point.is_positive(x, is_domain=True):
        return math.nan
    if like is not None and not isinstance(x, Entry) and x > 0 and x != 1 and math.isfinite(x):
        form = like.form and forms.apply("log", forms.number(x))
        return Entry(form, like.point.context.log(like.point.number(x)), like.point)
    return _log(x)


def erf(x: Any) -> Any:
    """The error function."""
    if not isinstance(x, Entry):
        return math.erf(x)
    return _entry(x.form and forms.apply("erf", x.form), x.point.context.erf(x.value), x.point)


def pi_times(number: float, like: Entry) -> Any:
    """A multiple of π, with all digits."""
    return like.point.symbol(forms.PI, like.point.context.pi) * number


def reciprocal(x: Any) -> Any:
    """1/x."""
    if not isinstance(x, Entry):
        return in_doubles(np.divide, 1.0, x)
    if x.value == 0:
        return math.inf
    return _entry(x.form and forms.power(x.form, -1), 1 / x.value, x.point)


def divide(a: Any, b: Any) -> Any:
    """a/b; of two numbers, as in doubles."""
    if isinstance(b, Entry):
        return a * reciprocal(b)
    if not isinstance(a, Entry):
        return in_doubles(np.divide, a, b)
    if b == 0 or not math.isfinite(b):
        return a * in_doubles(np.divide, 1.0, b)
    form = a.form and forms.multiply(a.form, forms.number(1 / Fraction(b)))
    return _entry(form, a.value / a.point.number(b), a.point)  # exact, unlike a * (1/b)


def power(x: Any, exponent: Any) -> Any:
    """A power of x: a fraction with a small denominator, or any other for x > 0."""
    if isinstance(exponent, Entry):
        return exp(exponent * log(x, exponent))
    if not isinstance(x, Entry):
        return in_doubles(np.power, x, exponent)
    if not math.isfinite(exponent):
        return exp(log(x) * exponent)
    fraction = Fraction(exponent)
    n, denominator = fraction.numerator, fraction.denominator
    if denominator == 1:
        if n < 0 and x.value == 0:
            return math.inf
        return _entry(x.form and forms.power(x.form, n), x.value**n, x.point)
    is_positive = x.point.is_positive(x, is_domain=True)
    if not is_positive:
        return (0.0 if exponent > 0 else math.inf) if is_positive is None else math.nan
    if denominator > 12:  # such as the double 0.333..., which is not 1/3
        return exp(log(x) * exponent)
    value = x.point.context.root(x.value, denominator) ** n
    return _entry(x.form and forms.power(x.form, fraction), value, x.point)


def absolute(x: Any) -> Any:
    """|x|."""
    return -x if x < 0 else x


def sign(x: Any) -> Any:
    """−1, 0 or 1."""
    return float(x > 0) - float(x < 0)


def has_minus(x: Any) -> bool:
    """Whether x is below 0, or the number −0.0."""
    return x < 0 if isinstance(x, Entry) else math.copysign(1, x) < 0


def maximum(a: Any, b: Any) -> Any:
    """The larger one."""
    return a if a != a or a >= b else b


def minimum(a: Any, b: Any) -> Any:
    """The smaller one."""
    return a if a != a or a <= b else b


def floor(x: Any) -> Any:
    """The largest integer that is not above x."""
    if not isinstance(x, Entry):
        return in_doubles(np.floor, x)
    n = int(x.point.context.floor(x.value))
    if not (x >= n and x < n + 1):
        raise undecided("how a number at a step is rounded", "other inputs")
    return float(n)


def floor_divide(a: Any, b: Any) -> Any:
    """The quotient of a and b, rounded down."""
    if not isinstance(b, Entry) and math.isinf(b):
        raise undecided("what remains of a division by infinity", "a finite divisor")
    return floor(divide(a, b))


def arcsin(x: Any) -> Any:
    """Through the arc tangent."""
    return arctan(divide(x, power(1 - x * x, 0.5)))


def arctan2(y: Any, x: Any) -> Any:
    """The angle of the point (x, y)."""
    half_turn = pi_times(1.0, x if isinstance(x, Entry) else y)
    if x == 0:
        return half_turn * (0.5 * sign(y))
    angle = arctan(divide(y, x))
    if x > 0:
        return angle
    return angle - half_turn if has_minus(y) else angle + half_turn


def _or_in_doubles(ufunc: np.ufunc, function: Callable[..., Any]) -> Callable[..., Any]:
    """Without entries among the arguments, as NumPy computes it."""

    def call(*args: Any) -> Any:
        for x in args:
            if isinstance(x, Entry):
                return function(*args)
        return in_doubles(ufunc, *args)

    return call


_ELEMENTWISE: dict[np.ufunc, Callable[..., Any]] = {
    np.add: lambda a, b: a + b,
    np.subtract: lambda a, b: a - b,
    np.multiply: lambda a, b: a * b,
    np.divide: divide,
    np.negative: lambda x: -x,
    np.positive: lambda x: x,
    np.conjugate: lambda x: x,
    np.power: power,
    np.float_power: power,
    np.square: lambda x: x * x,
    np.sqrt: lambda x: power(x, 0.5),
    np.cbrt: lambda x: sign(x) * power(absolute(x), Fraction(1, 3)),
    np.reciprocal: reciprocal,
    np.exp: exp,
    np.expm1: lambda x: _exp(x) - 1,
    np.exp2: lambda x: power(2.0, x),
    np.log: log,
    np.log1p: lambda x: log(1 + x),
    np.log2: lambda x: divide(log(x), log(2.0, x)),
    np.log10: lambda x: divide(log(x), log(10.0, x)),
    np.logaddexp: lambda a, b: log(_exp(a) + _exp(b)),
    np.tanh: tanh,
    np.sinh: lambda x: (_exp(x) - _exp(-x)) * 0.5,
    np.cosh: lambda x: (_exp(x) + _exp(-x)) * 0.5,
    np.sin: sin,
    np.cos: cos,
    np.tan: lambda x: divide(sin(x), cos(x)),
    np.arctan: arctan,
    np.arcsin: arcsin,
    np.arccos: lambda x: pi_times(0.5, x) - arcsin(x),
    np.arctan2: arctan2,
    np.arcsinh: lambda x: log(x + power(x * x + 1, 0.5)),
    np.arccosh: lambda x: log(x + power(x * x - 1, 0.5)),
    np.arctanh: lambda x: log(divide(1 + x, 1 - x)) * 0.5,
    np.hypot: lambda a, b: power(a * a + b * b, 0.5),
    np.absolute: absolute,
    np.fabs: absolute,
    np.sign: sign,
    np.copysign: lambda a, b: -absolute(a) if has_minus(b) else absolute(a),
    np.heaviside: lambda x, at_zero: x if x != x else at_zero if x == 0 else float(x > 0),
    np.maximum: maximum,
    np.minimum: minimum,
    np.fmax: lambda a, b: b if a != a else a if b != b else maximum(a, b),
    np.fmin: lambda a, b: b if a != a else a if b != b else minimum(a, b),
    np.floor: floor,
    np.ceil: lambda x: -floor(-x),
    np.trunc: lambda x: floor(x) if x >= 0 else -floor(-x),
    np.rint: lambda x: floor(x + 0.5),
    np.floor_divide: floor_divide,
    np.remainder: lambda a, b: a - b * floor_divide(a, b),
}
ELEMENTWISE = {ufunc: _or_in_doubles(ufunc, rule) for ufunc, rule in _ELEMENTWISE.items()}
"""What each of NumPy's elementwise functions does to entries."""

_PREDICATES: dict[np.ufunc, Callable[..., bool]] = {
    np.less: lambda a, b: a < b,
    np.less_equal: lambda a, b: a <= b,
    np.greater: lambda a, b: a > b,
    np.greater_equal: lambda a, b: a >= b,
    np.equal: lambda a, b: a == b,
    np.not_equal: lambda a, b: a != b,
    np.logical_not: lambda x: x == 0,
    np.logical_and: lambda a, b: a != 0 and b != 0,
    np.logical_or: lambda a, b: a != 0 or b != 0,
    np.signbit: has_minus,
    np.isfinite: lambda x: True,
    np.isnan: lambda x: False,
    np.isinf: lambda x: False,
}
PREDICATES = {ufunc: _or_in_doubles(ufunc, rule) for ufunc, rule in _PREDICATES.items()}
"""What each of NumPy's questions means for entries."""
