"""Steps scaled by the usual size of each parameter's gradient.

RMSprop  s ← ρ s + (1 − ρ) g²        Adagrad  s ← s + g²        θ ← θ − η g / √s
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import define, field

from chainrule.core.types import Array
from chainrule.core.validators import (
    as_float,
    below_one,
    complain,
    not_negative,
    positive,
)
from chainrule.optimizers import kernels
from chainrule.optimizers.chunked import (
    ChunkedOptimizer,
    CountingOptimizer,
    add_to_average,
    add_to_average_of_squares,
    descend,
    roll,
    with_decay,
)
from chainrule.optimizers.slices import ParameterSlice


@define(repr=False)
class RMSprop(ChunkedOptimizer):
    """RMSprop: the gradient is divided by its recent root mean square.

    g = ∂C/∂θ + λ θ
    s ← α s + (1 − α) g²            the mean of its square, over about 1/(1 − α) steps
    u = g / (√s + ε)

    plain       θ ← θ − η u
    momentum    v ← μ v + u,    θ ← θ − η v

    centered    a ← α a + (1 − α) g, and √(s − a²) instead of √s: the standard deviation of the
                gradient, not its size

    s, v and a start from zero.

    Parameters
    ----------
    learning_rate
        η ≥ 0.
    alpha
        α, at least 0 and below 1.
    epsilon
        ε > 0: keeps the step finite where the gradient has always been zero.
    momentum
        μ, at least 0 and below 1.
    centered
        Whether the mean is subtracted. Where rounding makes s − a² negative, 0 is used.
    weight_decay
        λ ≥ 0, as if ½ λ ‖θ‖² were added to the cost.
    decay_biases
        Whether weight decay also acts on biases; see `ChunkedOptimizer`.
    clip_norm, clip_value
        The limits of ‖∂C/∂θ‖ and of each component of ∂C/∂θ; see `ChunkedOptimizer`.

    Attributes
    ----------
    mean_square
        s, a vector like θ, from the first step on.
    mean
        a, a vector like θ, from the first centered step on.
    velocity
        v, a vector like θ, from the first step with momentum on.

    Notes
    -----
    The same numbers as ``torch.optim.RMSprop``, which however returns NaN where s − a² is negative.

    Source: T. Tieleman and G. Hinton, *Lecture 6.5: rmsprop*, Neural Networks for Machine Learning,
    Coursera 2012; A. Graves, *Generating Sequences With Recurrent Neural Networks*,
    arXiv:1308.0850, eqs. (38) to (40), for the centered form; here ε is outside the root.
    """

    learning_rate: float = field(default=1e-2, converter=as_float, validator=not_negative)
    alpha: float = field(default=0.99, converter=as_float, validator=below_one)
    epsilon: float = field(default=1e-8, converter=as_float, validator=positive)
    momentum: float = field(default=0.0, converter=as_float, validator=below_one)
    centered: bool = field(default=False)
    weight_decay: float = field(default=0.0, converter=as_float, validator=not_negative)
    mean_square: Array | None = field(default=None, init=False, repr=False, eq=False)
    mean: Array | None = field(default=None, init=False, repr=False, eq=False)
    velocity: Array | None = field(default=None, init=False, repr=False, eq=False)

    @centered.validator
    def _centered_is_valid(self, attribute: Any, value: Any) -> None:
        if not isinstance(value, bool):
            complain(self, "centered", "True or False", value, "centered=True")

    def equations(self) -> Mapping[str, str]:
        """A step as assignments; see `Optimizer.equations`."""
        lines = self._decay_on_paper()
        new, variance, direction = f"(1 - {self.alpha!r}) * gradient", "mean_square", "change"
        lines["mean_square"] = f"{self.alpha!r} * mean_square + {new}**2"
        if self.centered:
            lines["mean"] = f"{self.alpha!r} * mean + {new}"
            variance = "np.maximum(mean_square - mean**2, 0)"
        lines["change"] = f"gradient / (np.sqrt({variance}) + {self.epsilon!r})"
        if self.momentum:
            lines["velocity"] = f"{self.momentum!r} * velocity + change"
            direction = "velocity"
        return {**lines, "value": f"value - learning_rate * {direction}"}

    def _remembered(self) -> tuple[str, ...]:
        mean = ("mean",) if self.centered else ()
        return ("mean_square", *mean, "velocity") if self.momentum else ("mean_square", *mean)

    def _move(
        self,
        value: Array,
        gradient: Array,
        remembered: list[Array],
        scratch: Array,
        parameter_slice: ParameterSlice,
    ) -> None:
        change = scratch[0, : value.size]
        if parameter_slice.decays:
            gradient = with_decay(value, gradient, self.weight_decay, scratch[1])
        self._scale(change, gradient, *remembered)
        if self.momentum:
            roll(value, change, remembered[-1], self.momentum, self.learning_rate, change)
        else:
            descend(value, change, self.learning_rate, change)

    def _scale(self, change: Array, gradient: Array, mean_square: Array, *others: Array) -> None:
        """Write g / (√s + ε) into ``change``."""
        mean = others[0] if self.centered else change[:0]
        if kernels.scaled(change, gradient, mean_square, mean, self.alpha, self.epsilon):
            return
        add_to_average_of_squares(mean_square, gradient, self.alpha, change)
        if self.centered:
            add_to_average(mean, gradient, self.alpha, change)
            np.square(mean, out=change)
            np.subtract(mean_square, change, out=change)
            np.maximum(change, 0, out=change)
            np.sqrt(change, out=change)
        else:
            np.sqrt(mean_square, out=change)
        change += self.epsilon
        np.divide(gradient, change, out=change)


@define(repr=False)
class Adagrad(CountingOptimizer):
    """Adagrad: the gradient is divided by the root of the sum of its squares so far.

    g = ∂C/∂θ + λ θ
    G ← G + g²
    θ ← θ − η_t g / (√G + ε)        with η_t = η/(1 + (t − 1) κ) at step t = 1, 2, …

    So the steps of each parameter become shorter over time, more slowly for rarely used parameters.

    Parameters
    ----------
    learning_rate
        η ≥ 0.
    learning_rate_decay
        κ ≥ 0.
    initial_accumulator
        The initial value of each number of G, 0 or more.
    epsilon
        ε > 0: keeps the step finite where the gradient has always been zero.
    weight_decay
        λ ≥ 0, as if ½ λ ‖θ‖² were added to the cost.
    decay_biases
        Whether weight decay also acts on biases; see `ChunkedOptimizer`.
    clip_norm, clip_value
        The limits of ‖∂C/∂θ‖ and of each component of ∂C/∂θ; see `ChunkedOptimizer`.

    Attributes
    ----------
    steps, missed
        t, the number of steps taken; for a slice that was frozen, minus the steps it missed, see
        `CountingOptimizer`.
    sum_of_squares
        G, a vector like θ, from the first step on.

    Notes
    -----
    The same numbers as ``torch.optim.Adagrad``.

    Source: J. Duchi, E. Hazan and Y. Singer, *Adaptive Subgradient Methods for Online Learning and
    Stochastic Optimization*, Journal of Machine Learning Research 12 (2011) 2121, Figure 1, with a
    diagonal matrix.
    """

    learning_rate: float = field(default=1e-2, converter=as_float, validator=not_negative)
    learning_rate_decay: float = field(default=0.0, converter=as_float, validator=not_negative)
    initial_accumulator: float = field(default=0.0, converter=as_float, validator=not_negative)
    epsilon: float = field(default=1e-10, converter=as_float, validator=positive)
    weight_decay: float = field(default=0.0, converter=as_float, validator=not_negative)
    sum_of_squares: Array | None = field(default=None, init=False, repr=False, eq=False)

    def equations(self) -> Mapping[str, str]:
        """A step as assignments; see `Optimizer.equations`."""
        lines, rate = self._decay_on_paper(), "learning_rate"
        if self.learning_rate_decay:
            rate += f" / (1 + (steps - 1) * {self.learning_rate_decay!r})"
            lines["steps"] = "steps + 1"
        return {
            **lines,
            "sum_of_squares": "sum_of_squares + gradient**2",
            "change": f"gradient / (np.sqrt(sum_of_squares) + {self.epsilon!r})",
            "value": f"value - {rate} * change",
        }

    def _remembered(self) -> tuple[str, ...]:
        return ("sum_of_squares",)

    def _initial_memory(self, value: Array) -> Array:
        return np.full_like(value, self.initial_accumulator)

    def _move(
        self,
        value: Array,
        gradient: Array,
        remembered: list[Array],
        scratch: Array,
        parameter_slice: ParameterSlice,
    ) -> None:
        (sum_of_squares,) = remembered
        change = scratch[0, : value.size]
        if parameter_slice.decays:
            gradient = with_decay(value, gradient, self.weight_decay, scratch[1])
        earlier_steps = self.steps - parameter_slice.missed - 1
        rate = self.learning_rate / (1 + earlier_steps * self.learning_rate_decay)
        if kernels.adagrad(value, gradient, sum_of_squares, self.epsilon, rate):
            return
        np.square(gradient, out=change)
        sum_of_squares += change
        np.sqrt(sum_of_squares, out=change)
        change += self.epsilon
        np.divide(gradient, change, out=change)
        descend(value, change, rate, change)
