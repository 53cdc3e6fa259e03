"""Lion: only the sign of a mean of gradients decides where each parameter moves.

θ ← θ − η sign(β₁ m + (1 − β₁) g)        m ← β₂ m + (1 − β₂) g
"""

from __future__ import annotations

import numpy as np
from attrs import define, field

from chainrule.core.types import Array
from chainrule.core.validators import (
    as_float,
    as_floats,
    not_negative,
    two_below_one,
)
from chainrule.optimizers.chunked import (
    ChunkedOptimizer,
    add_to_average,
    descend,
    with_decay,
)
from chainrule.optimizers.slices import ParameterSlice


@define(repr=False)
class Lion(ChunkedOptimizer):
    """Lion: each parameter moves by η, against the sign of its mean gradient.

    g = ∂C/∂θ
    u = sign(β₁ m + (1 − β₁) g)
    θ ← θ − η (u + λ θ)
    m ← β₂ m + (1 − β₂) g

    m starts from zero. As each step has the full length in every direction, the learning rate is
    usually three to ten times smaller than Adam's, and the weight decay as much larger.

    Parameters
    ----------
    learning_rate
        η ≥ 0.
    betas
        (β₁, β₂), each from 0 up to 1.
    weight_decay
        λ ≥ 0: each parameter loses the part η λ of itself at each step, as in `AdamW`.
    decay_biases
        Whether weight decay acts on biases, too; see `ChunkedOptimizer`.
    clip_norm, clip_value
        The largest ‖∂C/∂θ‖, and the largest single number of it; likewise.

    Attributes
    ----------
    first_moment
        m, a vector like θ, from the first step on.

    Notes
    -----
    PyTorch has no such optimizer. The sign of an infinite number is taken as NaN, so that such a
    gradient is seen in the parameters, as it is with Adam.

    Source: X. Chen, C. Liang, D. Huang, E. Real, K. Wang and others, *Symbolic Discovery of
    Optimization Algorithms*, NeurIPS 2023, arXiv:2302.06675, Algorithm 2.
    """

    learning_rate: float = field(default=1e-4, converter=as_float, validator=not_negative)
    betas: tuple[float, float] = field(
        default=(0.9, 0.99), converter=as_floats, validator=two_below_one
    )
    weight_decay: float = field(default=0.0, converter=as_float, validator=not_negative)
    first_moment: Array | None = field(default=None, init=False, repr=False, eq=False)

    def _remembered(self) -> tuple[str, ...]:
        return ("first_moment",)

    def _move(
        self,
        value: Array,
        gradient: Array,
        remembered: list[Array],
        scratch: Array,
        part: ParameterSlice,
    ) -> None:
        (first,) = remembered
        beta_1, beta_2 = self.betas
        change, other = scratch[:2, : value.size]
        np.multiply(first, beta_1, out=change)
        change += np.multiply(gradient, 1 - beta_1, out=other)
        # sign(c) = c/|c|, and 0 for 0; numpy.sign decides number by number and takes longer.
        np.abs(change, out=other)
        np.maximum(other, np.finfo(value.dtype).tiny, out=other)
        np.divide(change, other, out=change)
        direction = with_decay(value, change, self.weight_decay, other) if part.decays else change
        descend(value, direction, self.learning_rate, change)
        add_to_average(first, gradient, beta_2, change)


# ------------------------------------------------------------------- the parts of a rule
