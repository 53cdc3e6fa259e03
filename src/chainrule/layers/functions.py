"""Activation functions f, each with its derivative f′.

    y = f(z),    δ_z = f′(z) δ_y        element by element: the lecture's f and f′

A formula that is right on paper can fail in floating point, above all in the tails. The
sigmoid 1 / (1 + e⁻ᶻ) overflows for z below −710 (in float32 below −88), and its derivative,
written with e⁻ᶻ, becomes ∞/∞. The functions here neither overflow nor lose digits for any finite
z: they take exponentials only of negative numbers, add only terms of the same sign, and use a
separate formula wherever a tail needs one.

A derivative that follows exactly from y, such as that of relu, needs no z. Others do not: y (1 − y)
for the sigmoid and 1 − y² for tanh are right on paper, but y is rounded to 1 for large z, and the
derivative to 0. They are computed from z, or from what f has computed on its way to y.

All formulas call NumPy's functions on the array they are given, so float32 stays float32, and a
`Dual` carries its tangent through.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from attrs import frozen

from chainrule.core.arrays import as_operation, has_values
from chainrule.core.elsewhere import FUNCTIONS
from chainrule.core.errors import ConfigurationError
from chainrule.core.hints import Hinted, nearest, value_elsewhere
from chainrule.core.types import Array

if TYPE_CHECKING:
    import numpy.typing as npt


@frozen
class Function(Hinted):
    """A function y = f(z) of one number, and its derivative f′(z).

    A subclass, decorated with `attrs.frozen`, implements `value` and `derivative`. Both take
    float32 or float64 arrays of any shape and return new ones of the same shape and dtype.

    Attributes
    ----------
    name : str
        Its name in ``Activation("name")``.
    derivative_from_value : method or None
        f′ as a function of y = f(z), if that is cheap and as exact as `derivative`, also where y is
        rounded to a limit. A subclass that supports this defines it as a method; if it is None,
        `derivative` is used.
    formula : tuple of str or None
        f and f′ as written on paper, for `chainrule.explain`: two NumPy expressions of z, the
        second of which may use f(z). The code may compute them differently.

    Examples
    --------
    >>> @frozen
    ... class Square(Function):
    ...     def value(self, z):
    ...         return z * z
    ...
    ...     def derivative(self, z):
    ...         return 2 * z
    >>> Square()([1.0, 2.0, 3.0])
    array([1., 4., 9.])
    """

    name: ClassVar[str] = ""
    derivative_from_value: ClassVar[Any] = None
    formula: ClassVar[Any] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "value" in vars(cls) or "derivative" in vars(cls):
            # What another function derives from its own formulas is wrong for this one.
            for name in ("derivative_from_value", "value_and_memory", "derivative_from_memory"):
                if name not in vars(cls):
                    setattr(cls, name, vars(Function)[name])

    def value(self, z: Array) -> Array:
        """Compute y = f(z), with the shape and dtype of z."""
        raise NotImplementedError

    def derivative(self, z: Array) -> Array:
        """Compute f′(z), with the shape and dtype of z."""
        raise NotImplementedError

    def value_and_memory(self, z: Array) -> tuple[Array, Any]:
        """Compute y = f(z), and return with it what `derivative_from_memory` needs.

        This is z, or y if f′ follows from it. A subclass whose f and f′ share work overrides both
        methods.
        """
        y = self.value(z)
        return y, (z if self.derivative_from_value is None else y)

    def derivative_from_memory(self, memory: Any) -> Array:
        """Compute f′ from what `value_and_memory` returned with y, in a new array."""
        slope: Array = (self.derivative_from_value or self.derivative)(memory)
        return slope

    def __call__(self, z: Array) -> Array:
        """Compute y = f(z); z may also be a plain number, a list, or integers."""
        if not hasattr(z, "dtype") or z.dtype.kind in "iub":
            z = np.asarray(z, np.float64)
        return self.value(z)


class Identity(Function):
    """The identity: every number stays as it is.

    y = z

    f′ = 1
    """

    name: ClassVar[str] = "identity"
    formula: ClassVar[Any] = ("z", "1")

    def value(self, z: Array) -> Array:
        """f(z) = z, in a new array."""
        return +z

    def derivative(self, z: Array) -> Array:
        """f′ = 1."""
        return np.ones_like(z)

    def derivative_from_value(self, y: Array) -> Array:
        """f′ = 1."""
        return np.ones_like(y)


class Sigmoid(Function):
    """The logistic function, which rises smoothly from 0 to 1: the lecture's first choice.

    y = 1 / (1 + e⁻ᶻ)    → e^z for z → −∞,  → 1 − e⁻ᶻ for z → ∞

    f′ = y (1 − y) = e⁻ᶻ / (1 + e⁻ᶻ)²,  which is even in z
    """

    name: ClassVar[str] = "sigmoid"
    formula: ClassVar[Any] = ("1 / (1 + np.exp(-z))", "f(z) * (1 - f(z))")

    @as_operation
    def value(self, z: Array) -> Array:
        """f(z) = e / (1 + e) with e = e^z."""
        return Sigmoid.value_and_memory(self, z)[0]  # not that of a subclass

    def derivative(self, z: Array) -> Array:
        """f′ = e / (1 + e)² with e = exp(−|z|)."""
        e = np.exp(-np.abs(z))
        return e / (1 + e) ** 2

    def value_and_memory(self, z: Array) -> tuple[Array, Any]:
        """f(z) = e / (1 + e), with y and 1 + e as memory: f′ = y / (1 + e)."""
        if type(z) is not np.ndarray:
            # The tangent of a large e would overflow, but beyond z = 40, f is 1 to all digits.
            e = np.exp(np.minimum(z, 40))
            return e / (1 + e), z
        # Finding the largest z is faster than comparing every z with the limit.
        limit = EXP_END.get(z.dtype, 40.0)
        is_near = _stays_below(z, limit)
        e = np.exp(z if is_near else np.minimum(z, limit))
        one_plus_e = _plus_one(e)
        e /= one_plus_e
        if not is_near:
            one_plus_e = np.where(z > limit, math.inf, one_plus_e)  # there f′ is 0
        return e, (e, one_plus_e)

    def derivative_from_memory(self, memory: Any) -> Array:
        """f′ = y / (1 + e), which keeps its digits where y is rounded to 1."""
        if type(memory) is not tuple:
            return self.derivative(memory)
        y, one_plus_e = memory
        slope: Array = y / one_plus_e
        return slope


class Tanh(Function):
    """The hyperbolic tangent, from −1 to 1.

    y = tanh z    → ±(1 − 2 e^−2|z|) for z → ±∞

    f′ = 1 − y² = 1 / cosh² z
    """

    name: ClassVar[str] = "tanh"
    formula: ClassVar[Any] = ("np.tanh(z)", "1 - f(z) ** 2")

    def value(self, z: Array) -> Array:
        """f(z) = tanh z."""
        return np.tanh(z)

    def derivative(self, z: Array) -> Array:
        """f′ = (2 e / (1 + e²))² with e = exp(−|z|), which is 1 / cosh² z without overflow."""
        e = np.abs(z)
        e = np.exp(np.negative(e, out=e if e.ndim else None))
        e /= _plus_one(e * e)
        e *= e
        e *= 4
        return e

    def value_and_memory(self, z: Array) -> tuple[Array, Any]:
        """The value, with z as memory; of a `Jet` y, as 1 − y² takes a third of the operations."""
        if not hasattr(z, "parts"):
            return super().value_and_memory(z)
        y = self.value(z)
        return y, (y,)

    def derivative_from_memory(self, memory: Any) -> Array:
        """f′ from z, or 1 − y² from y."""
        if type(memory) is not tuple:
            return super().derivative_from_memory(memory)
        (y,) = memory
        return 1 - y * y


class Relu(Function):
    """The rectifier: positive numbers pass, negative ones become 0.

    y = max(z, 0)

    f′ = 1 for z > 0, else 0;  at the kink f′(0) = 0
    """

    name: ClassVar[str] = "relu"
    formula: ClassVar[Any] = ("np.maximum(z, 0)", "np.where(z > 0, 1, 0)")

    @as_operation
    def value(self, z: Array) -> Array:
        """f(z) = max(z, 0)."""
        return _positive_part(z)

    def derivative(self, z: Array) -> Array:
        """f′ = 1 where z > 0, else 0."""
        return _is_positive(z)

    def derivative_from_value(self, y: Array) -> Array:
        """f′ = 1 where y > 0, else 0."""
        return _is_positive(y)


@frozen
class LeakyRelu(Function):
    """The leaky rectifier: negative numbers are multiplied by a small slope.

    y = max(z, 0) + slope · min(z, 0)

    f′ = 1 for z > 0, else slope;  at the kink f′(0) = slope

    If slope ≥ 0, f′ follows from y alone, because then y > 0 means z > 0.

    Parameters
    ----------
    slope
        f′ for negative z; any finite number.
    """

    slope: float = 0.01
    name: ClassVar[str] = "leaky_relu"

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "slope", _finite("LeakyRelu: slope", self.slope))

    @property
    def formula(self) -> tuple[str, str]:
        """On paper: z or slope · z, and 1 or slope."""
        return f"np.where(z > 0, z, {self.slope!r} * z)", f"np.where(z > 0, 1, {self.slope!r})"

    @as_operation
    def value(self, z: Array) -> Array:
        """f(z) = max(z, 0) + slope · min(z, 0)."""
        y = _negative_part(z)
        y *= self.slope
        y += _positive_part(z)
        return y

    def derivative(self, z: Array) -> Array:
        """f′ = 1 where z > 0, else slope."""
        positive = _is_positive(z)
        return positive + (1 - positive) * self.slope

    @property
    def derivative_from_value(self) -> Callable[[Array], Array] | None:
        """f′ = 1 where y > 0, else slope; None if the slope is negative."""
        return self.derivative if self.slope >= 0 else None


@frozen
class Elu(Function):
    """The exponential linear unit. Clevert, Unterthiner and Hochreiter 2016.

    y = z for z > 0, else alpha (e^z − 1)    → −alpha for z → −∞

    f′ = 1 for z > 0, else alpha e^z;  at the join f′(0) = alpha

    On paper, alpha e^z = y + alpha; but y is rounded to −alpha where e^z is small.

    Parameters
    ----------
    alpha
        The limit for z → −∞ is −alpha; any finite number.
    """

    alpha: float = 1.0
    name: ClassVar[str] = "elu"

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "alpha", _finite("Elu: alpha", self.alpha))

    @property
    def formula(self) -> tuple[str, str]:
        """On paper: z or alpha (e^z − 1), and 1 or alpha e^z."""
        below = "" if self.alpha == 1 else f"{self.alpha!r} * "
        return (
            f"np.where(z > 0, z, {below}(np.exp(z) - 1))",
            f"np.where(z > 0, 1, {below}np.exp(z))",
        )

    @as_operation
    def value(self, z: Array) -> Array:
        """f(z) = max(z, 0) + alpha (exp(min(z, 0)) − 1); one of the two terms is always zero."""
        y = np.expm1(_negative_part(z))
        y *= self.alpha
        y += _positive_part(z)
        return y

    def derivative(self, z: Array) -> Array:
        """f′ = 1 where z > 0, else alpha e^z."""
        slope: Array = np.exp(_negative_part(z))
        if self.alpha != 1:
            positive = _is_positive(z)
            slope = positive + (1 - positive) * (self.alpha * slope)
        return slope


class Selu(Function):
    """The scaled exponential linear unit. Klambauer, Unterthiner, Mayr and Hochreiter 2017.

    y = 1.0507… · (z for z > 0, else 1.6733… (e^z − 1))

    f′ = 1.0507… · (1 for z > 0, else 1.6733… e^z);  at the join f′(0) = 1.7581…

    With these two numbers, and weights of variance 1/n_in, the outputs of deep networks keep mean 0
    and variance 1.
    """

    name: ClassVar[str] = "selu"
    scale: ClassVar[float] = 1.0507009873554805
    alpha: ClassVar[float] = 1.6732632423543772
    formula: ClassVar[Any] = (
        f"{scale} * np.where(z > 0, z, {alpha} * (np.exp(z) - 1))",
        f"{scale} * np.where(z > 0, 1, {alpha} * np.exp(z))",
    )

    @as_operation
    def value(self, z: Array) -> Array:
        """f(z) = scale · elu(z)."""
        return self.scale * Elu(self.alpha).value(z)

    def derivative(self, z: Array) -> Array:
        """f′ = scale · elu′(z)."""
        return self.scale * Elu(self.alpha).derivative(z)


class Softplus(Function):
    """The smooth rectifier, whose derivative is the sigmoid.

    y = ln(1 + e^z)    → e^z for z → −∞,  → z + e⁻ᶻ for z → ∞

    f′ = 1 / (1 + e⁻ᶻ)
    """

    name: ClassVar[str] = "softplus"
    formula: ClassVar[Any] = ("np.log(1 + np.exp(z))", "1 / (1 + np.exp(-z))")

    @as_operation
    def value(self, z: Array) -> Array:
        """f(z) = max(z, 0) + ln(1 + exp(−|z|))."""
        positive = _positive_part(z)
        # −|z| from the two parts, not from np.abs: this gives the right tangent at z = 0, too.
        return positive + np.log1p(np.exp(_negative_part(z) - positive))

    def derivative(self, z: Array) -> Array:
        """f′ = 1 / (1 + e⁻ᶻ)."""
        return Sigmoid().value(z)


class Silu(Function):
    """The sigmoid linear unit, also called swish. Elfwing, Uchibe and Doya 2018.

    y = z σ(z) = z / (1 + e⁻ᶻ)    → z e^z for z → −∞,  → z for z → ∞

    f′ = σ(z) + z σ′(z)

    Here σ is the sigmoid.
    """

    name: ClassVar[str] = "silu"
    formula: ClassVar[Any] = (
        "z / (1 + np.exp(-z))",
        "(1 + (1 + z) * np.exp(-z)) / (1 + np.exp(-z)) ** 2",
    )

    def value(self, z: Array) -> Array:
        """f(z) = z / (1 + e⁻ᶻ)."""
        if _goes_below(z, FAR):
            far = self._far(np.clip(z, 100 * FAR, FAR))
            return np.where(z < FAR, far, self._near(np.maximum(z, FAR)))
        return self._near(z)

    def _near(self, z: Array) -> Array:
        y = _one_plus_exp_of_minus(z)
        np.divide(z, y, out=y)
        return y

    def _far(self, z: Array) -> Array:
        # z e^z. Here e^z itself may be subnormal and lose digits, so we compute e^(z + 64) and
        # multiply by e^−64 last. For such z the sum z + 64 is exact.
        return z * np.exp(z + 64) * math.exp(-64)

    def derivative(self, z: Array) -> Array:
        """f′ = σ(z) + z σ′(z)."""
        sigmoid = Sigmoid()
        z = np.clip(z, 100 * FAR, -100 * FAR)  # beyond these, f′ is 0 or 1; avoids ∞ · 0
        return sigmoid.value(z) + z * sigmoid.derivative(z)


class LogSigmoid(Function):
    """The logarithm of the sigmoid: a softplus turned upside down.

    y = ln σ(z) = −ln(1 + e⁻ᶻ)    → z for z → −∞,  → −e⁻ᶻ for z → ∞

    f′ = σ(−z) = 1 / (1 + e^z)
    """

    name: ClassVar[str] = "log_sigmoid"
    formula: ClassVar[Any] = ("-np.log(1 + np.exp(-z))", "1 / (1 + np.exp(z))")

    def value(self, z: Array) -> Array:
        """f(z) = −softplus(−z)."""
        return -Softplus().value(-z)

    def derivative(self, z: Array) -> Array:
        """f′ = σ(−z)."""
        return Sigmoid().value(-z)


class Softsign(Function):
    """A curve from −1 to 1 that approaches its limits slowly, as 1/|z|.

    y = z / (1 + |z|)

    f′ = 1 / (1 + |z|)²
    """

    name: ClassVar[str] = "softsign"
    formula: ClassVar[Any] = ("z / (1 + np.abs(z))", "1 / (1 + np.abs(z)) ** 2")

    @as_operation
    def value(self, z: Array) -> Array:
        """f(z) = z / (1 + |z|)."""
        return z / (1 + np.abs(z))

    def derivative(self, z: Array) -> Array:
        """f′ = 1 / (1 + |z|)², squared last, because the square of a large z overflows."""
        return (1 / (1 + np.abs(z))) ** 2


class Mish(Function):
    """A smooth rectifier, similar to silu. Misra 2019.

    y = z tanh(softplus(z))    → z e^z for z → −∞,  → z for z → ∞

    f′ = t + z (1 − t²) σ(z)  with  t = tanh(softplus(z)) and the sigmoid σ
    """

    name: ClassVar[str] = "mish"
    formula: ClassVar[Any] = (
        "z * np.tanh(np.log(1 + np.exp(z)))",
        "np.tanh(np.log(1 + np.exp(z)))"
        " + z / np.cosh(np.log(1 + np.exp(z))) ** 2 / (1 + np.exp(-z))",
    )

    @as_operation
    def value(self, z: Array) -> Array:
        """f(z) = z tanh(softplus(z)); below `FAR` it is z e^z, as silu."""
        near = np.maximum(z, FAR) if _goes_below(z, FAR) else z
        y = near * np.tanh(Softplus().value(near))
        return y if near is z else np.where(z < FAR, Silu().value(z), y)

    def derivative(self, z: Array) -> Array:
        """f′ = tanh s + z σ(z) / cosh² s with s = softplus(z)."""
        z = np.clip(z, 100 * FAR, -100 * FAR)  # beyond these, f′ is 0 or 1; avoids ∞ · 0
        s = Softplus().value(z)
        return np.tanh(s) + z * Tanh().derivative(s) * Sigmoid().value(z)


class Gelu(Function):
    """The Gaussian error linear unit, exact, not its tanh approximation.

    y = z Φ(z)    → −φ(z) for z → −∞,  → z for z → ∞

    f′ = Φ(z) + z φ(z)

    Here Φ(z) = (1 + erf(z/√2)) / 2 is the normal distribution function and φ(z) =
    exp(−z²/2) / √(2π) its density. Hendrycks and Gimpel 2016. Since Φ(z) = 1 − Φ(−z), one tail
    serves both sides: y = max(z, 0) − |z| Φ(−|z|).
    """

    name: ClassVar[str] = "gelu"
    formula: ClassVar[Any] = (
        "z * (1 + erf(z / np.sqrt(2))) / 2",
        "(1 + erf(z / np.sqrt(2))) / 2 + z * np.exp(-(z**2 / 2)) / np.sqrt(2 * np.pi)",
    )

    @as_operation
    def value(self, z: Array) -> Array:
        """f(z) = max(z, 0) − |z| Φ(−|z|)."""
        positive = _positive_part(z)
        # |z| from the two parts, not from np.abs: this gives the right tangent at z = 0, too.
        t = np.minimum(positive - _negative_part(z), NORMAL_END)
        y = _scaled_normal_tail(t)
        y *= t
        y *= _bell(t)  # last, because it may be subnormal and then has few digits
        return positive - y

    def derivative(self, z: Array) -> Array:
        """f′ = Φ(z) + z φ(z)."""
        z = np.clip(z, -NORMAL_END, NORMAL_END)
        positive = _is_positive(z)
        sign = 2 * positive - 1
        bell = _bell(z)
        tail = _scaled_normal_tail(sign * z) * bell
        return positive - sign * tail + z * bell * (1 / math.sqrt(2 * math.pi))


class Step(Function):
    """The Heaviside step of the first artificial neurons. McCulloch and Pitts 1943.

    y = 1 for z > 0, else 0

    f′ = 0

    No delta passes a step, so nothing before it can learn: it is for weights that are set by hand.
    """

    name: ClassVar[str] = "step"
    formula: ClassVar[Any] = ("np.where(z > 0, 1, 0)", "0 * z")

    def value(self, z: Array) -> Array:
        """f(z) = 1 where z > 0, else 0."""
        return np.heaviside(z, 0)

    def derivative(self, z: Array) -> Array:
        """f′ = 0, also at the step."""
        return np.zeros_like(z)

    def derivative_from_value(self, y: Array) -> Array:
        """f′ = 0."""
        return np.zeros_like(y)


class HardTanh(Function):
    """A tanh made of straight lines.

    y = z for −1 < z < 1, else ±1

    f′ = 1 for −1 < z < 1, else 0
    """

    name: ClassVar[str] = "hard_tanh"
    formula: ClassVar[Any] = ("np.clip(z, -1, 1)", "np.where(np.abs(z) < 1, 1, 0)")

    def value(self, z: Array) -> Array:
        """f(z) = z where |z| < 1, else the sign of z."""
        return np.where(np.abs(z) < 1, z, np.sign(z))

    def derivative(self, z: Array) -> Array:
        """f′ = 1 where |z| < 1, else 0."""
        return (np.abs(z) < 1).astype(z.dtype)

    def derivative_from_value(self, y: Array) -> Array:
        """f′ = 1 where |y| < 1, else 0."""
        return (np.abs(y) < 1).astype(y.dtype)


class HardSigmoid(Function):
    """A sigmoid made of straight lines, as PyTorch and Keras 3 define it.

    y = (z + 3) / 6 for −3 < z < 3, else 0 or 1

    f′ = 1/6 for −3 < z < 3, else 0
    """

    name: ClassVar[str] = "hard_sigmoid"
    formula: ClassVar[Any] = ("np.clip(z / 6 + 1 / 2, 0, 1)", "np.where(np.abs(z) < 3, 1 / 6, 0)")

    @as_operation
    def value(self, z: Array) -> Array:
        """f(z) = (z + 3) / 6 where |z| < 3, else 0 or 1."""
        return np.where(np.abs(z) < 3, (z + 3) / 6, (1 + np.sign(z)) / 2)

    def derivative(self, z: Array) -> Array:
        """f′ = 1/6 where |z| < 3, else 0."""
        return (np.abs(z) < 3).astype(z.dtype) / 6


class Sin(Function):
    """The sine, which makes a network a sum of Fourier components.

    y = sin z

    f′ = cos z
    """

    name: ClassVar[str] = "sin"
    formula: ClassVar[Any] = ("np.sin(z)", "np.cos(z)")

    def value(self, z: Array) -> Array:
        """f(z) = sin z."""
        return np.sin(z)

    def derivative(self, z: Array) -> Array:
        """f′ = cos z."""
        return np.cos(z)


class Gaussian(Function):
    """The Gaussian bell, a localised function.

    y = exp(−z²/2)

    f′ = −z y
    """

    name: ClassVar[str] = "gaussian"
    formula: ClassVar[Any] = ("np.exp(-(z**2 / 2))", "-z * f(z)")

    def value(self, z: Array) -> Array:
        """f(z) = exp(−z²/2)."""
        return _bell(np.clip(z, -NORMAL_END, NORMAL_END))

    def derivative(self, z: Array) -> Array:
        """f′ = −z exp(−z²/2)."""
        z = np.clip(z, -NORMAL_END, NORMAL_END)
        return -z * _bell(z)


@frozen(repr=False)
class Pair(Function):
    """A function f and its derivative f′, both given as functions of arrays.

    y = function(z)

    f′ = slope(z)

    Parameters
    ----------
    function, slope
        f and f′. They return an array of the same shape and dtype as their argument.

    Raises
    ------
    ConfigurationError
        If one of them is not callable.

    Examples
    --------
    >>> Pair(np.sin, np.cos)
    Pair(sin, cos)
    """

    function: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    name: ClassVar[str] = "pair"

    def __attrs_post_init__(self) -> None:
        for place, given in (("function", self.function), ("slope", self.slope)):
            if not callable(given):
                raise ConfigurationError(
                    f"Pair: {place} is not callable",
                    expected="f and f′ as functions of z, such as Pair(np.sin, np.cos)",
                    received=f"{place}={given!r}",
                )

    @property
    def formula(self) -> tuple[str, str] | None:
        """On paper: the names of two functions of NumPy; None for functions of your own."""
        both = (self.function, self.slope)
        if not all(isinstance(f, np.ufunc) and getattr(np, f.__name__, None) is f for f in both):
            return None
        value, slope = (f"np.{f.__name__}(z)" for f in both)
        return value, slope

    def value(self, z: Array) -> Array:
        """f(z) = function(z)."""
        return self.function(z)

    def derivative(self, z: Array) -> Array:
        """f′ = slope(z)."""
        return self.slope(z)

    def __repr__(self) -> str:
        names = (getattr(f, "__name__", repr(f)) for f in (self.function, self.slope))
        return f"Pair({', '.join(names)})"


KNOWN: dict[str, Callable[[], Function]] = {
    kind.name: kind
    for kind in (
        Identity, Sigmoid, Tanh, Relu, LeakyRelu, Elu, Selu, Softplus, LogSigmoid, Softsign, Silu,
        Mish, Gelu, Step, HardTanh, HardSigmoid, Sin, Gaussian,
    )
}  # fmt: skip
"""The functions by name; all can be created without arguments."""


def get(function: str | Function) -> Function:
    """Find the function with that name; return a `Function` unchanged.

    Raises
    ------
    ConfigurationError
        If the name is unknown (the closest one is suggested), or the argument is neither.
    """
    if isinstance(function, str) and function in KNOWN:
        return KNOWN[function]()
    if isinstance(function, Function):
        return function
    raise ConfigurationError(
        f"there is no activation function {function!r}",
        expected=f"one of {', '.join(KNOWN)}, or a Function such as LeakyRelu(0.2)",
        received=repr(function),
        hint=_hint(function),
    )


def _hint(function: object) -> str | None:
    if isinstance(function, str):
        meant = nearest(function.lower(), KNOWN)
        suggestion = f"did you mean {meant!r}?" if meant else None
        return value_elsewhere(FUNCTIONS, function) or suggestion
    if function is None:
        return FUNCTIONS["none"]
    if isinstance(function, type) and issubclass(function, Function):
        return f"create an instance: {function.__name__}()"
    if callable(function):
        return "add its derivative: Pair(np.sin, np.cos)"
    return None


def _finite(what: str, number: Any) -> float:
    """The number as a Python float, which does not widen float32; raise if it is not finite."""
    if isinstance(number, numbers.Real) and not isinstance(number, bool | np.bool_):
        try:
            plain = float(number)
        except OverflowError:
            plain = math.inf
        if math.isfinite(plain):
            return plain
    raise ConfigurationError(
        f"{what} must be a finite number", expected="a finite number", received=repr(number)
    )


def _is_positive(z: Array) -> Array:
    """1 where z > 0, else 0, in the dtype of z."""
    return (z > 0).astype(z.dtype)


def _positive_part(z: Array) -> Array:
    """max(z, 0), with the slope 0 at z = 0."""
    positive = np.maximum(z, 0)
    if type(z) is not np.ndarray:
        # For two equal numbers, np.maximum may give half the tangent of each. A plain array has
        # no tangent, so it skips this step.
        positive *= z > 0
    return positive


def _negative_part(z: Array) -> Array:
    """min(z, 0), with the slope 1 at z = 0, so that the two parts add up to the slope of z."""
    return np.clip(z, None, 0)


# ------------------------------------------------------------------------------- the sigmoid

EXP_END = {np.dtype(np.float32): 88.0, np.dtype(np.float64): 709.0}
"""Up to this z, e^z is finite, and beyond it, e⁻ᶻ is below the smallest normal number."""

FAR = -88.0
"""Down to this z, e⁻ᶻ is finite in float32 too; below it, σ(z) = e^z to 38 digits."""


def _goes_below(z: Array, limit: float) -> bool:
    """Whether any z is below the limit; to be safe, NaN counts as below.

    This test costs a tenth of a sigmoid; the careful formula costs several times as much.
    """
    return not has_values(z) or (z.size > 0 and not z.min() >= limit)


def _stays_below(z: npt.NDArray[Any], limit: float) -> bool:
    """Whether every z is below the limit; NaN is not."""
    below: bool = z.size > 0 and z.item(z.argmax()) < limit
    return below


_ONE = {np.dtype(kind): np.ones((), kind) for kind in (np.float32, np.float64)}


def _plus_one(x: Array) -> Array:
    """One more than x. For small arrays, a 1 of the same dtype halves the time."""
    return x + (_ONE.get(x.dtype, 1) if type(x) is np.ndarray else 1)


def _one_plus_exp_of_minus(z: Array) -> Array:
    """1 + e⁻ᶻ for z ≥ FAR, in one new array."""
    y = np.empty_like(z)
    np.negative(z, out=y)
    np.exp(y, out=y)
    y += 1
    return y


# ------------------------------------------------------------------------------- the normal tail

NORMAL_END = 40.0
"""Beyond this z, exp(−z²/2) is zero in float64, and therefore in float32."""

# (t + 1.25) Φ(−t) exp(t²/2) as a polynomial in x = (t − 6) / (t + 6), highest power first. The
# function varies so little, from 0.63 to 0.41, that one polynomial suffices for all t, and its
# coefficients decrease so fast that rounding adds only a few ulp (after Shepherd and Laframboise
# 1981). It interpolates at 23 Chebyshev points for t from 0 to 40, with an error below 2⁻⁵⁷. A
# test recomputes it.
NORMAL_TAIL = (
    1.5340802771479736e-09, 3.052606536110794e-09, -1.4866562348828838e-08,
    -2.1233963799182923e-08, 1.2623243708637318e-07, 1.5178774573910857e-08,
    -9.711382805868116e-07, 1.6045881944783324e-06, 4.531612705964525e-06, -2.4981924143954667e-05,
    3.2667557984420195e-05, 0.00012258318851844996, -0.0008239014326630648, 0.002682292482416709,
    -0.006205337417683196, 0.011035255170834243, -0.015019559475559, 0.013828832106425286,
    -0.0019357291735028943, -0.02484989672939327, 0.06626929792504747, -0.11582454567002547,
    0.46965002885223966,
)  # fmt: skip


def _scaled_normal_tail(t: Array) -> Array:
    """Φ(−t) exp(t²/2) for 0 ≤ t ≤ 40. It decreases slowly from 1/2, like 1 / (t √(2π))."""
    x = (t - 6) / (t + 6)
    highest, *others, constant = NORMAL_TAIL
    tail = highest * x
    for coefficient in others:
        tail += coefficient
        tail *= x
    tail += constant
    tail /= t + 1.25
    return tail


def _bell(z: Array) -> Array:
    """exp(−z²/2) for |z| ≤ 40, correct to a few ulp down to the subnormal numbers.

    Rounding z² changes the exponent by up to 800 ulp of 1, and so the result by up to 800 ulp.
    The lost digits are recovered as in Cody (1969): a q near z with few digits has an exact
    square, and z² − q² = (z − q) (z + q). Then exp(−z²/2) = exp(−square/2) (1 − (z² − square)/2).
    """
    square = z * z
    q = np.trunc(64 * z) / 64
    lost = (q * q - square) + (z - q) * (z + q)
    y = np.exp(-0.5 * square)
    y -= y * (0.5 * lost)
    return y
