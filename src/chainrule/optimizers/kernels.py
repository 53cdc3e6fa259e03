"""The rules of the optimizers as loops, for numba: all operations on a number in one pass.

    m ← β₁ m + (1 − β₁) g,    s ← β₂ s + (1 − β₂) g²,    θ ← θ − η m / (√s + ε)    for each number

Each loop has the operations of the NumPy code of its rule, in the same order and type, so it gives
the same bits; NumPy needs a pass through memory for each operation. `chainrule.core.acceleration`
compiles a loop when it is first called. The factors are Python numbers, which become those of the
type of the vector first, as NumPy does it.
"""

from __future__ import annotations

import numpy as np

from chainrule.core.types import Array


def descend(value: Array, direction: Array, rate: float) -> None:
    """θ ← θ − η direction."""
    rate = value.dtype.type(rate)
    for n in range(value.size):
        value[n] -= direction[n] * rate


def heavy_ball(
    value: Array, gradient: Array, velocity: Array, momentum: float, rate: float, ahead: bool
) -> None:
    """V ← μ v + g, θ ← θ − η v; ahead, as Nesterov's, θ ← θ − η (μ v + g)."""
    momentum, rate = value.dtype.type(momentum), value.dtype.type(rate)
    for n in range(value.size):
        v = velocity[n] * momentum + gradient[n]
        velocity[n] = v
        value[n] -= ((v * momentum + gradient[n]) if ahead else v) * rate


def adam(
    value: Array,
    gradient: Array,
    first: Array,
    second: Array,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    rate: float,
) -> None:
    """The step of `Adam`, with the corrections in ε and η."""
    kind = value.dtype.type
    kept, new, epsilon, rate = kind(beta_1), kind(1 - beta_1), kind(epsilon), kind(rate)
    kept_square, new_square = kind(beta_2), kind(1 - beta_2)
    for n in range(value.size):
        g = gradient[n]
        m = first[n] * kept + g * new
        s = second[n] * kept_square + g * g * new_square
        first[n], second[n] = m, s
        value[n] -= m / (np.sqrt(s) + epsilon) * rate


def adamax(
    value: Array,
    gradient: Array,
    first: Array,
    largest: Array,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    rate: float,
) -> None:
    """The step of `Adamax`, with the correction in η."""
    kind = value.dtype.type
    kept, new, epsilon, rate = kind(beta_1), kind(1 - beta_1), kind(epsilon), kind(rate)
    decay = kind(beta_2)
    for n in range(value.size):
        m = first[n] * kept + gradient[n] * new
        u, size = largest[n] * decay, np.abs(gradient[n]) + epsilon
        u = u if u >= size or u != u else size  # NaN stays NaN, as in np.maximum
        first[n], largest[n] = m, u
        value[n] -= m / u * rate


def adagrad(
    value: Array, gradient: Array, sum_of_squares: Array, epsilon: float, rate: float
) -> None:
    """The step of `Adagrad`."""
    epsilon, rate = value.dtype.type(epsilon), value.dtype.type(rate)
    for n in range(value.size):
        s = sum_of_squares[n] + gradient[n] * gradient[n]
        sum_of_squares[n] = s
        value[n] -= gradient[n] / (np.sqrt(s) + epsilon) * rate


def scaled(
    change: Array, gradient: Array, mean_square: Array, alpha: float, epsilon: float
) -> None:
    """The direction of `RMSprop`, g / (√s + ε), in ``change``."""
    kind = change.dtype.type
    kept, new, epsilon = kind(alpha), kind(1 - alpha), kind(epsilon)
    for n in range(change.size):
        g = gradient[n]
        s = mean_square[n] * kept + g * g * new
        mean_square[n] = s
        change[n] = g / (np.sqrt(s) + epsilon)


def scaled_centered(
    change: Array,
    gradient: Array,
    mean_square: Array,
    mean: Array,
    alpha: float,
    epsilon: float,
) -> None:
    """The same with the standard deviation, √(s − a²)."""
    kind = change.dtype.type
    kept, new, epsilon, zero = kind(alpha), kind(1 - alpha), kind(epsilon), kind(0)
    for n in range(change.size):
        g = gradient[n]
        s = mean_square[n] * kept + g * g * new
        a = mean[n] * kept + g * new
        mean_square[n], mean[n] = s, a
        variance = s - a * a
        variance = variance if variance > zero or variance != variance else zero
        change[n] = g / (np.sqrt(variance) + epsilon)


def lion(
    value: Array,
    gradient: Array,
    first: Array,
    beta_1: float,
    beta_2: float,
    weight_decay: float,
    tiny: float,
    rate: float,
) -> None:
    """The step of `Lion`; the sign is c/|c|, and 0 for 0."""
    kind = value.dtype.type
    kept, new, rate, tiny = kind(beta_1), kind(1 - beta_1), kind(rate), kind(tiny)
    kept_later, new_later, decay = kind(beta_2), kind(1 - beta_2), kind(weight_decay)
    for n in range(value.size):
        g = gradient[n]
        c = first[n] * kept + g * new
        size = np.abs(c)
        u = c / (size if size >= tiny else tiny)
        if weight_decay != 0:
            u = value[n] * decay + u
        value[n] -= u * rate
        first[n] = first[n] * kept_later + g * new_later
