"""Lion: each parameter moves by the sign of an averaged gradient.

θ ← θ − η sign(β₁ m + (1 − β₁) g)        m ← β₂ m + (1 − β₂) g
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from attrs import define, field

from chainrule.core.types import Array
from chainrule.core.validators import (
    as_float,
    as_floats,
    not_negative,
    two_below_one,
)
from chainrule.optimizers import kernels
from chainrule.optimizers.chunked import (
    ChunkedOptimizer,
    add_to_average,
    descend,
    with_decay,
)
from chainrule.optimizers.slices import ParameterSlice


@define(repr=False)
class Lion(ChunkedOptimizer):
    """Lion: each parameter moves by η against the sign of its mean gradient.

    g = ∂C/∂θ
    u = sign(β₁ m + (1 − β₁) g)
    θ ← θ − η (u + λ θ)
    m ← β₂ m + (1 − β₂) g

    m starts from zero. Because every component of each step has the full length η, the learning
    rate is usually three to ten times smaller than for Adam, and the weight decay larger by the
    same factor.

    Parameters
    ----------
    learning_rate
        η ≥ 0.
    betas
        (β₁, β₂), each at least 0 and below 1.
    weight_decay
        λ ≥ 0: each parameter shrinks by the fraction η λ at each step, as in `AdamW`.
    decay_biases
        Whether weight decay also acts on biases; see `ChunkedOptimizer`.
    clip_norm, clip_value
        The limits of ‖∂C/∂θ‖ and of each component of ∂C/∂θ; see `ChunkedOptimizer`.

    Attributes
    ----------
    first_moment
        m, a vector like θ, from the first step on.

    Notes
    -----
    PyTorch does not have this optimizer. The sign of an infinite number is NaN here, so that an
    infinite gradient becomes visible in the parameters, as with Adam.

    Source: X. Chen, C. Liang, D. Huang, E. Real, K. Wang and others, *Symbolic Discovery of
    Optimization Algorithms*, NeurIPS 2023, arXiv:2302.06675, Algorithm 2.
    """

    learning_rate: float = field(default=1e-4, converter=as_float, validator=not_negative)
    betas: tuple[float, float] = field(
        default=(0.9, 0.99), converter=as_floats, validator=two_below_one
    )
    weight_decay: float = field(default=0.0, converter=as_float, validator=not_negative)
    first_moment: Array | None = field(default=None, init=False, repr=False, eq=False)

    def equations(self) -> Mapping[str, str]:
        """A step as assignments; see `Optimizer.equations`."""
        beta_1, beta_2 = self.betas
        mean = "{0!r} * first_moment + (1 - {0!r}) * gradient".format
        decay = f" + {self.weight_decay!r} * {self._decaying_on_paper()}"
        change = f"np.sign({mean(beta_1)})" + decay * bool(self.weight_decay)
        return {
            "change": change,
            "first_moment": mean(beta_2),
            "value": "value - learning_rate * change",
        }

    def _remembered(self) -> tuple[str, ...]:
        return ("first_moment",)

    def _move(
        self,
        value: Array,
        gradient: Array,
        remembered: list[Array],
        scratch: Array,
        parameter_slice: ParameterSlice,
    ) -> None:
        (first,) = remembered
        beta_1, beta_2 = self.betas
        decay = self.weight_decay if parameter_slice.decays else 0.0
        tiny = np.finfo(value.dtype).tiny
        numbers = decay, float(tiny), self.learning_rate
        if kernels.lion(value, gradient, first, self.betas, *numbers):
            return
        change, other = scratch[:2, : value.size]
        np.multiply(first, beta_1, out=change)
        change += np.multiply(gradient, 1 - beta_1, out=other)
        # sign(c) = c/|c|, and 0 for 0; faster than numpy.sign, which branches for each number.
        np.abs(change, out=other)
        np.maximum(other, tiny, out=other)
        np.divide(change, other, out=change)
        direction = with_decay(value, change, decay, other)
        descend(value, direction, self.learning_rate, change)
        add_to_average(first, gradient, beta_2, change)
