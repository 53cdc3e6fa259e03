"""The rules of the optimizers as loops, for numba: all operations on a number in one pass.

    m ← β₁ m + (1 − β₁) g,    s ← β₂ s + (1 − β₂) g²,    θ ← θ − η m / (√s + ε)    for each number

Each loop has the operations of the NumPy code of its rule, in the same order and type, so it gives
the same bits; NumPy needs a pass through memory for each operation. The factors are Python numbers,
which become those of the type of the vector first, as NumPy does it.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from chainrule.core.acceleration import loop
from chainrule.core.types import Array

Pair: TypeAlias = tuple[float, float]


@loop
def descend(value: Array, direction: Array, rate: float) -> None:
    """θ ← θ − η direction."""
    rate = value.dtype.type(rate)
    for n in range(value.size):
        value[n] -= direction[n] * rate


@loop
def heavy_ball(
    value: Array, gradient: Array, velocity: Array, momentum: float, rate: float, ahead: bool
) -> None:
    """V ← μ v + g, θ ← θ − η v; ahead, as Nesterov's, θ ← θ − η (μ v + g)."""
    momentum, rate = value.dtype.type(momentum), value.dtype.type(rate)
    for n in range(value.size):
        velocity[n] = v = velocity[n] * momentum + gradient[n]
        value[n] -= ((v * momentum + gradient[n]) if ahead else v) * rate


@loop
def adam(
    value: Array, gradient: Array, m: Array, s: Array, betas: Pair, epsilon: float, rate: float
) -> None:
    """The step of `Adam`, with the corrections in ε and η."""
    kind, (beta, beta_square) = value.dtype.type, betas
    kept, new, epsilon, rate = kind(beta), kind(1 - beta), kind(epsilon), kind(rate)
    kept_square, new_square = kind(beta_square), kind(1 - beta_square)
    for n in range(value.size):
        g = gradient[n]
        m[n] = mean = m[n] * kept + g * new
        s[n] = square = s[n] * kept_square + g * g * new_square
        value[n] -= mean / (np.sqrt(square) + epsilon) * rate


@loop
def adamax(
    value: Array, gradient: Array, m: Array, u: Array, betas: Pair, epsilon: float, rate: float
) -> None:
    """The step of `Adamax`, with the correction in η."""
    kind, (beta, decay) = value.dtype.type, betas
    kept, new, epsilon, rate = kind(beta), kind(1 - beta), kind(epsilon), kind(rate)
    decay = kind(decay)
    for n in range(value.size):
        m[n] = mean = m[n] * kept + gradient[n] * new
        old, size = u[n] * decay, np.abs(gradient[n]) + epsilon
        u[n] = largest = old if old >= size or old != old else size  # NaN stays, as in np.maximum
        value[n] -= mean / largest * rate


@loop
def adagrad(
    value: Array, gradient: Array, sum_of_squares: Array, epsilon: float, rate: float
) -> None:
    """The step of `Adagrad`."""
    epsilon, rate = value.dtype.type(epsilon), value.dtype.type(rate)
    for n in range(value.size):
        sum_of_squares[n] = s = sum_of_squares[n] + gradient[n] * gradient[n]
        value[n] -= gradient[n] / (np.sqrt(s) + epsilon) * rate


@loop
def scaled(
    change: Array, gradient: Array, s: Array, mean: Array, alpha: float, epsilon: float
) -> None:
    """The direction of `RMSprop`, g / (√s + ε), in ``change``; with √(s − a²) for a mean a."""
    kind = change.dtype.type
    kept, new, epsilon, zero = kind(alpha), kind(1 - alpha), kind(epsilon), kind(0)
    for n in range(change.size):
        g = gradient[n]
        s[n] = variance = s[n] * kept + g * g * new
        if mean.size:
            mean[n] = a = mean[n] * kept + g * new
            variance -= a * a
            variance = variance if variance > zero or variance != variance else zero
        change[n] = g / (np.sqrt(variance) + epsilon)


@loop
def lion(
    value: Array, gradient: Array, m: Array, betas: Pair, decay: float, tiny: float, rate: float
) -> None:
    """The step of `Lion`; the sign is c/|c|, and 0 for 0."""
    kind, (beta, beta_later), decays = value.dtype.type, betas, decay != 0
    kept, new, rate, tiny = kind(beta), kind(1 - beta), kind(rate), kind(tiny)
    kept_later, new_later, decay = kind(beta_later), kind(1 - beta_later), kind(decay)
    for n in range(value.size):
        g = gradient[n]
        c = m[n] * kept + g * new
        size = np.abs(c)
        u = c / (size if size >= tiny else tiny)
        if decays:
            u = value[n] * decay + u
        value[n] -= u * rate
        m[n] = m[n] * kept_later + g * new_later
