"""Functions of one number that ONNX has and `chainrule.layers.functions` lacks, each with f′.

    y = f(z),    δ_z = f′(z) δ_y

One line of the table is one operator. A function of two numbers, such as the power, is here a
function of the first alone, if the second is known when the model is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import numpy as np
from attrs import frozen

from chainrule.core.types import Array
from chainrule.layers.functions import Elu, Function, Gelu, Sigmoid, Tanh

Formula: TypeAlias = Callable[..., Array]


@frozen
class Elementwise(Function):
    """A function of ONNX, y = f(z), and its derivative.

    Parameters
    ----------
    operator
        The name of the operator, such as ``"Sqrt"``.
    numbers
        The numbers that the function has besides z, such as the bounds of ``"Clip"``.
    """

    operator: str
    numbers: tuple[float, ...] = ()
    name: ClassVar[str] = "onnx"

    def value(self, z: Array) -> Array:
        """f(z)."""
        return FUNCTIONS[self.operator][0](z, *self.numbers)

    def derivative(self, z: Array) -> Array:
        """f′(z)."""
        return FUNCTIONS[self.operator][1](z, *self.numbers)


def _one_where(condition: Array, z: Array) -> Array:
    """1 where a condition holds, else 0, in the dtype of z."""
    return condition.astype(z.dtype)


def _clip(z: Array, low: float, high: float) -> Array:
    return np.clip(z, low, max(low, high)) if low <= high else np.full_like(z, high)


def _clip_slope(z: Array, low: float, high: float) -> Array:
    return _one_where((z >= low) & (z <= high), z)


def _power(z: Array, p: float) -> Array:
    return z**p


def _power_slope(z: Array, p: float) -> Array:
    return np.zeros_like(z) if p == 0 else p * z ** (p - 1)


def _of_power(p: float, z: Array) -> Array:
    return p**z


def _gelu_inner(z: Array) -> Array:
    return math.sqrt(2 / math.pi) * (z + 0.044715 * z * z * z)


def _gelu_tanh(z: Array) -> Array:
    return 0.5 * z * (1 + np.tanh(_gelu_inner(z)))


def _gelu_tanh_slope(z: Array) -> Array:
    inner = _gelu_inner(z)
    slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * z * z)
    return 0.5 * (1 + np.tanh(inner)) + 0.5 * z * Tanh().derivative(inner) * slope


def _hard_sigmoid(z: Array, alpha: float, beta: float) -> Array:
    return np.clip(alpha * z + beta, 0, 1)


def _hard_sigmoid_slope(z: Array, alpha: float, beta: float) -> Array:
    inner = alpha * z + beta
    return alpha * _one_where((inner > 0) & (inner < 1), z)


def _hard_swish(z: Array) -> Array:
    return z * _hard_sigmoid(z, 1 / 6, 0.5)


def _hard_swish_slope(z: Array) -> Array:
    return _hard_sigmoid(z, 1 / 6, 0.5) + z * _hard_sigmoid_slope(z, 1 / 6, 0.5)


def _swish(z: Array, alpha: float) -> Array:
    return z * Sigmoid().value(alpha * z)


def _swish_slope(z: Array, alpha: float) -> Array:
    return Sigmoid().value(alpha * z) + alpha * z * Sigmoid().derivative(alpha * z)


def _shrink(z: Array, lambd: float, bias: float) -> Array:
    zeros = np.zeros_like(z)
    return np.where(z < -lambd, z + bias, np.where(z > lambd, z - bias, zeros))


def _erf(z: Array) -> Array:
    # z Φ(z) is the gelu, and erf z = 2 Φ(z √2) − 1; near 0, where that is a difference of equal
    # numbers, the series.
    small = np.abs(z) < 0.5
    # At 9 it is 1 to the last bit, and of ∞ the quotient is NaN.
    far = np.where(small, np.ones_like(z), np.clip(z, -9, 9)) * math.sqrt(2)
    near = np.where(small, z, np.zeros_like(z))
    square, term = near * near, 2 / math.sqrt(math.pi) * near
    total = term
    for n in range(1, 16):
        term = -term * square / n
        total = total + term / (2 * n + 1)
    return np.where(small, total, 2 * Gelu().value(far) / far - 1)


def _erf_slope(z: Array) -> Array:
    return 2 / math.sqrt(math.pi) * np.exp(-z * z)


def _inverse(z: Array) -> Array:
    """1 / z, and 0 for 0, as what is divided by the length of a vector then is 0, too."""
    is_zero = z == 0
    return np.where(is_zero, 0, 1 / np.where(is_zero, 1, z))


def _flat(z: Array, *numbers: float) -> Array:
    return np.zeros_like(z)


FUNCTIONS: dict[str, tuple[Formula, Formula]] = {
    "Abs": (np.abs, np.sign),
    "Acos": (np.arccos, lambda z: -1 / np.sqrt(1 - z * z)),
    "Acosh": (np.arccosh, lambda z: 1 / (np.sqrt(z - 1) * np.sqrt(z + 1))),
    "Asin": (np.arcsin, lambda z: 1 / np.sqrt(1 - z * z)),
    "Asinh": (np.arcsinh, lambda z: 1 / np.sqrt(1 + z * z)),
    "Atan": (np.arctan, lambda z: 1 / (1 + z * z)),
    "Atanh": (np.arctanh, lambda z: 1 / ((1 - z) * (1 + z))),
    "Ceil": (np.ceil, _flat),
    "Celu": (
        lambda z, a: a * Elu().value(z / a),
        lambda z, a: Elu().derivative(z / a),
    ),
    "Clip": (_clip, _clip_slope),
    "Cos": (np.cos, lambda z: -np.sin(z)),
    "Cosh": (np.cosh, np.sinh),
    "Divide": (lambda z, c: z / c, lambda z, c: np.full_like(z, 1) / c),
    "Erf": (_erf, _erf_slope),
    "Exp": (np.exp, np.exp),
    "Floor": (np.floor, _flat),
    "GeluTanh": (_gelu_tanh, _gelu_tanh_slope),
    "HardSigmoid": (_hard_sigmoid, _hard_sigmoid_slope),
    "HardSwish": (_hard_swish, _hard_swish_slope),
    "Inverse": (_inverse, lambda z: -_inverse(z) ** 2),
    "Log": (np.log, lambda z: 1 / z),
    "Maximum": (lambda z, c: np.maximum(z, c), lambda z, c: _one_where(z > c, z)),
    "Minimum": (lambda z, c: np.minimum(z, c), lambda z, c: _one_where(z < c, z)),
    "Neg": (lambda z: -z, lambda z: -np.ones_like(z)),
    "NonZero": (lambda z: _one_where(z != 0, z), _flat),
    "Not": (lambda z: _one_where(z == 0, z), _flat),
    "Over": (lambda z, c: c / z, lambda z, c: -c / (z * z)),
    "Plus": (lambda z, c: z + c, lambda z, c: np.ones_like(z)),
    "Power": (_power, _power_slope),
    "PowerOf": (lambda z, c: _of_power(c, z), lambda z, c: math.log(c) * _of_power(c, z)),
    "Reciprocal": (lambda z: 1 / z, lambda z: -1 / (z * z)),
    "Round": (np.rint, _flat),
    "Shrink": (_shrink, lambda z, lambd, bias: _one_where(np.abs(z) > lambd, z)),
    "Sign": (np.sign, _flat),
    "Sinh": (np.sinh, np.cosh),
    "Sqrt": (np.sqrt, lambda z: 0.5 / np.sqrt(z)),
    "Square": (lambda z: z * z, lambda z: 2 * z),
    "Swish": (_swish, _swish_slope),
    "Tan": (np.tan, lambda z: 1 + np.tan(z) ** 2),
    "ThresholdedRelu": (
        lambda z, a: np.where(z > a, z, np.zeros_like(z)),
        lambda z, a: _one_where(z > a, z),
    ),
    "Trunc": (np.trunc, _flat),
    "Times": (lambda z, c: z * c, lambda z, c: np.full_like(z, c)),
}  # fmt: skip
"""For each operator, f and f′ as functions of z and of the numbers besides it."""


def numbers_of(*values: Any) -> tuple[float, ...]:
    """Numbers from a file as Python floats, which do not widen float32."""
    return tuple(float(value) for value in values)
