"""Adam and its variants: a running mean of the gradient divided by one of its size.

m ← β₁ m + (1 − β₁) g        s ← β₂ s + (1 − β₂) g²        θ ← θ − η m̂ / (√ŝ + ε)
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from attrs import define, field

from chainrule.core.types import Array
from chainrule.core.validators import (
    as_float,
    as_floats,
    not_negative,
    positive,
    two_below_one,
)
from chainrule.optimizers import kernels
from chainrule.optimizers.chunked import (
    CountingOptimizer,
    add_to_average,
    add_to_average_of_squares,
    descend,
    with_decay,
)
from chainrule.optimizers.slices import ParameterSlice


@define(repr=False)
class Adam(CountingOptimizer):
    """Adam: each parameter moves by about η per step, whatever the size of its gradient.

    g = ∂C/∂θ + λ θ
    m ← β₁ m + (1 − β₁) g           the mean of the gradient, over about 1/(1 − β₁) steps
    v ← β₂ v + (1 − β₂) g²          the mean of its square
    θ ← θ − η m̂ / (√v̂ + ε)          with m̂ = m/(1 − β₁ᵗ) and v̂ = v/(1 − β₂ᵗ) at step t = 1, 2, …

    m and v start from zero; m̂ and v̂ correct for that.

    Parameters
    ----------
    learning_rate
        η ≥ 0.
    betas
        (β₁, β₂), each at least 0 and below 1.
    epsilon
        ε > 0: keeps the step finite where the gradient has always been zero.
    weight_decay
        λ ≥ 0, as if ½ λ ‖θ‖² were added to the cost (not the decoupled decay of `AdamW`).
    decay_biases
        Whether weight decay also acts on biases; see `ChunkedOptimizer`.
    clip_norm, clip_value
        The limits of ‖∂C/∂θ‖ and of each component of ∂C/∂θ; see `ChunkedOptimizer`.

    Attributes
    ----------
    steps, missed
        t, the number of steps taken; for a slice that was frozen, minus the steps it missed, see
        `CountingOptimizer`.
    first_moment, second_moment
        m and v, vectors like θ, from the first step on.

    Notes
    -----
    The same numbers as ``torch.optim.Adam``.

    Source: D. P. Kingma and J. Ba, *Adam: A Method for Stochastic Optimization*, ICLR 2015,
    arXiv:1412.6980, Algorithm 1.
    """

    learning_rate: float = field(default=1e-3, converter=as_float, validator=not_negative)
    betas: tuple[float, float] = field(
        default=(0.9, 0.999), converter=as_floats, validator=two_below_one
    )
    epsilon: float = field(default=1e-8, converter=as_float, validator=positive)
    weight_decay: float = field(default=0.0, converter=as_float, validator=not_negative)
    first_moment: Array | None = field(default=None, init=False, repr=False, eq=False)
    second_moment: Array | None = field(default=None, init=False, repr=False, eq=False)

    def equations(self) -> Mapping[str, str]:
        """A step as assignments; see `Optimizer.equations`."""
        beta_1, beta_2 = self.betas
        return {
            **self._decay_on_paper(),
            "steps": "steps + 1",
            "first_moment": f"{beta_1!r} * first_moment + (1 - {beta_1!r}) * gradient",
            "second_moment": f"{beta_2!r} * second_moment + (1 - {beta_2!r}) * gradient**2",
            "change": f"np.sqrt(second_moment / (1 - {beta_2!r}**steps)) + {self.epsilon!r}",
            "value": f"value - learning_rate * first_moment / (1 - {beta_1!r}**steps) / change",
        }

    def _remembered(self) -> tuple[str, ...]:
        return ("first_moment", "second_moment")

    def _move(
        self,
        value: Array,
        gradient: Array,
        remembered: list[Array],
        scratch: Array,
        parameter_slice: ParameterSlice,
    ) -> None:
        if self.weight_decay and parameter_slice.decays:
            gradient = self._decayed(value, gradient, scratch[1])
        change = scratch[0, : value.size]
        first, second = remembered
        beta_1, beta_2 = self.betas
        # η m̂/(√v̂ + ε) = (η r/(1 − β₁ᵗ)) m/(√v + ε r) with r = √(1 − β₂ᵗ) saves two passes.
        steps = self.steps - parameter_slice.missed
        root = math.sqrt(1 - beta_2**steps)
        epsilon, rate = self.epsilon * root, self.learning_rate * root / (1 - beta_1**steps)
        if kernels.adam(value, gradient, first, second, self.betas, epsilon, rate):
            return
        add_to_average(first, gradient, beta_1, change)
        add_to_average_of_squares(second, gradient, beta_2, change)
        np.sqrt(second, out=change)
        change += epsilon
        np.divide(first, change, out=change)
        descend(value, change, rate, change)

    def _decayed(self, value: Array, gradient: Array, row: Array) -> Array:
        return with_decay(value, gradient, self.weight_decay, row)


@define(repr=False)
class AdamW(Adam):
    """AdamW: Adam with weight decay applied directly to each parameter, not through the moments.

    g = ∂C/∂θ
    θ ← (1 − η λ) θ
    θ ← θ − η m̂ / (√v̂ + ε)          with m̂ and v̂ of g, as in `Adam`

    In `Adam` the decay λ θ is divided by √v̂ like the gradient, so it acts least on the parameters
    with the largest gradients; here it acts on all parameters alike.

    Parameters
    ----------
    learning_rate, betas, epsilon
        As in `Adam`.
    weight_decay
        λ ≥ 0: each parameter shrinks by the fraction η λ at each step.
    decay_biases
        Whether weight decay also acts on biases; see `ChunkedOptimizer`.
    clip_norm, clip_value
        The limits of ‖∂C/∂θ‖ and of each component of ∂C/∂θ; see `ChunkedOptimizer`.

    Attributes
    ----------
    steps, missed, first_moment, second_moment
        As in `Adam`.

    Notes
    -----
    The same numbers as ``torch.optim.AdamW``.

    Source: I. Loshchilov and F. Hutter, *Decoupled Weight Decay Regularization*, ICLR 2019,
    arXiv:1711.05101, Algorithm 2, where η λ is a single hyperparameter.
    """

    weight_decay: float = field(default=1e-2, converter=as_float, validator=not_negative)

    def equations(self) -> Mapping[str, str]:
        """A step as assignments; see `Optimizer.equations`."""
        rule = dict(super().equations())
        if rule.pop("gradient", None):
            decay = f"learning_rate * {self.weight_decay!r} * {self._decaying_on_paper()}"
            rule["value"] = rule["value"].replace("value", f"value - {decay}", 1)
        return rule

    def _decayed(self, value: Array, gradient: Array, row: Array) -> Array:
        value *= 1 - self.learning_rate * self.weight_decay
        return gradient


@define(repr=False)
class Adamax(CountingOptimizer):
    """Adamax: Adam with the largest recent gradient instead of the root mean square.

    g = ∂C/∂θ + λ θ
    m ← β₁ m + (1 − β₁) g
    u ← max(β₂ u, |g| + ε)
    θ ← θ − η m̂ / u                 with m̂ = m/(1 − β₁ᵗ) at step t = 1, 2, …

    m and u start from zero.

    Parameters
    ----------
    learning_rate
        η ≥ 0.
    betas
        (β₁, β₂), each at least 0 and below 1.
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
    first_moment, infinity_norm
        m and u, vectors like θ, from the first step on.

    Notes
    -----
    The same numbers as ``torch.optim.Adamax``.

    Source: D. P. Kingma and J. Ba, *Adam: A Method for Stochastic Optimization*, ICLR 2015,
    arXiv:1412.6980, Algorithm 2, which has no ε.
    """

    learning_rate: float = field(default=2e-3, converter=as_float, validator=not_negative)
    betas: tuple[float, float] = field(
        default=(0.9, 0.999), converter=as_floats, validator=two_below_one
    )
    epsilon: float = field(default=1e-8, converter=as_float, validator=positive)
    weight_decay: float = field(default=0.0, converter=as_float, validator=not_negative)
    first_moment: Array | None = field(default=None, init=False, repr=False, eq=False)
    infinity_norm: Array | None = field(default=None, init=False, repr=False, eq=False)

    def equations(self) -> Mapping[str, str]:
        """A step as assignments; see `Optimizer.equations`."""
        beta_1, beta_2 = self.betas
        largest = f"np.maximum({beta_2!r} * infinity_norm, np.abs(gradient) + {self.epsilon!r})"
        return {
            **self._decay_on_paper(),
            "steps": "steps + 1",
            "first_moment": f"{beta_1!r} * first_moment + (1 - {beta_1!r}) * gradient",
            "infinity_norm": largest,
            "change": f"first_moment / (1 - {beta_1!r}**steps) / infinity_norm",
            "value": "value - learning_rate * change",
        }

    def _remembered(self) -> tuple[str, ...]:
        return ("first_moment", "infinity_norm")

    def _move(
        self,
        value: Array,
        gradient: Array,
        remembered: list[Array],
        scratch: Array,
        parameter_slice: ParameterSlice,
    ) -> None:
        first, largest = remembered
        beta_1, beta_2 = self.betas
        change = scratch[0, : value.size]
        if parameter_slice.decays:
            gradient = with_decay(value, gradient, self.weight_decay, scratch[1])
        rate = self.learning_rate / (1 - beta_1 ** (self.steps - parameter_slice.missed))
        if kernels.adamax(value, gradient, first, largest, self.betas, self.epsilon, rate):
            return
        add_to_average(first, gradient, beta_1, change)
        largest *= beta_2
        np.abs(gradient, out=change)
        change += self.epsilon
        np.maximum(largest, change, out=largest)
        np.divide(first, largest, out=change)
        descend(value, change, rate, change)
