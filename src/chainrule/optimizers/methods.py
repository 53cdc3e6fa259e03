"""Optimizers: how the parameters move when the gradient is known.

An optimizer sees all parameters of a model as one flat vector θ, with its gradient g = ∂C/∂θ
beside it, and changes θ in place. The lecture's gradient descent is

    θ ← θ − η g

with the learning rate η. The others remember earlier gradients: `SGD` with momentum moves on like
a heavy ball; `Adagrad`, `RMSprop`, `Adam`, `AdamW` and `Adamax` measure each parameter's step by
the size that its gradient usually has; `Lion` looks only at its sign.

What they remember stands on the optimizer under plain names (``velocity``, ``steps``, …): an
optimizer belongs to one model until it is `reset`. A step goes through the vectors in pieces that
stay in the processor's cache while several operations are done on them. So beside what is
remembered it needs no memory that grows with the model, and it is quicker than with whole vectors.

All of them take ``clip_norm`` and ``clip_value``, by name only: a gradient that is too long, or
has numbers that are too large, is clipped before anything else is done with it, as by PyTorch's
``clip_grad_norm_`` and ``clip_grad_value_``; see `chainrule.optimizers.chunked.PiecewiseOptimizer`.
With ``decay_biases=False``, by name only as well, weight decay leaves out biases and all else that
has fewer than two axes.

``optimizer.step(value, gradient)`` moves all of a vector; ``optimizer.descend(model.parameters)``
leaves out what is frozen (see `chainrule.core.layer.Layer.freeze`), as a `Trainer` does.
``optimizer.state()`` and ``optimizer.restore(state)`` are for those who write it to a file.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from attrs import define, field

from chainrule.core.types import Array
from chainrule.core.validators import (
    as_float,
    as_floats,
    below_one,
    complain,
    not_negative,
    positive,
    two_below_one,
)
from chainrule.optimizers.chunked import ChunkedOptimizer, CountingOptimizer, with_decay
from chainrule.optimizers.optimizer import Optimizer
from chainrule.optimizers.slices import PIECE as PIECE
from chainrule.optimizers.slices import ParameterSlice

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Optimizer",
    "RMSprop",
]


@define(repr=False)
class SGD(ChunkedOptimizer):
    """Stochastic gradient descent: the lecture's gradient step; with momentum, a heavy ball.

    g = ∂C/∂θ + λ θ

    plain       θ ← θ − η g
    momentum    v ← μ v + g,    θ ← θ − η v
    Nesterov    v ← μ v + g,    θ ← θ − η (g + μ v)

    Parameters
    ----------
    learning_rate
        η ≥ 0.
    momentum
        μ, from 0 up to 1: the part of the velocity v that is kept. v is zero at the beginning.
    nesterov
        Whether the gradient is meant to be taken where the ball rolls to. It needs momentum.
    weight_decay
        λ ≥ 0, as if ½ λ ‖θ‖² were added to the cost.
    decay_biases
        Whether weight decay acts on biases, too; see `PiecewiseOptimizer`.
    clip_norm, clip_value
        The largest ‖∂C/∂θ‖, and the largest single number of it; likewise.

    Attributes
    ----------
    velocity
        v, a vector like θ, from the first step with momentum on.

    Notes
    -----
    The same numbers as ``torch.optim.SGD`` without dampening.

    Source: B. T. Polyak, USSR Computational Mathematics and Mathematical Physics 4 (1964) 1, for
    momentum; I. Sutskever, J. Martens, G. Dahl and G. Hinton, *On the importance of initialization
    and momentum in deep learning*, ICML 2013, for Nesterov's, in the form where θ stands for the
    point at which the gradient is taken.
    """

    momentum: float = field(default=0.0, converter=as_float)
    nesterov: bool = field(default=False)
    weight_decay: float = field(default=0.0, converter=as_float, validator=not_negative)
    velocity: Array | None = field(default=None, init=False, repr=False, eq=False)

    @momentum.validator
    def _momentum_makes_sense(self, attribute: Any, value: Any) -> None:
        below_one(self, attribute, value)
        self._go_together(value, self.nesterov)

    @nesterov.validator
    def _nesterov_makes_sense(self, attribute: Any, value: Any) -> None:
        if not isinstance(value, bool):
            complain(self, "nesterov", "True or False", value, "nesterov=True with momentum=0.9")
        self._go_together(self.momentum, value)

    def _go_together(self, momentum: object, nesterov: object) -> None:
        if nesterov and not momentum:
            hint = "SGD(learning_rate, momentum=0.9, nesterov=True)"
            complain(self, "nesterov", "a momentum above 0 along with it", nesterov, hint)

    def _remembered(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def _move(
        self,
        value: Array,
        gradient: Array,
        remembered: list[Array],
        scratch: Array,
        part: ParameterSlice,
    ) -> None:
        if self.weight_decay and part.decays:
            gradient = with_decay(value, gradient, self.weight_decay, scratch[0])
        for velocity in remembered:  # one, or none
            velocity *= self.momentum
            velocity += gradient
            if self.nesterov:
                ahead = scratch[1, : value.size]
                np.multiply(velocity, self.momentum, out=ahead)
                ahead += gradient
                gradient = ahead
            else:
                gradient = velocity
        _descend(value, gradient, self.learning_rate, scratch[0])


@define(repr=False)
class RMSprop(ChunkedOptimizer):
    """RMSprop: the gradient is divided by the root of its recent mean square.

    g = ∂C/∂θ + λ θ
    s ← α s + (1 − α) g²            the mean of its square, over about 1/(1 − α) steps
    u = g / (√s + ε)

    plain       θ ← θ − η u
    momentum    v ← μ v + u,    θ ← θ − η v

    centered    a ← α a + (1 − α) g, and √(s − a²) instead of √s: the gradient's deviation from
                its mean, not its size

    s, v and a start from zero.

    Parameters
    ----------
    learning_rate
        η ≥ 0.
    alpha
        α, from 0 up to 1.
    epsilon
        ε > 0: keeps the step finite where the gradient has been zero.
    momentum
        μ, from 0 up to 1.
    centered
        Whether the mean is subtracted. Where rounding makes s − a² negative, it is taken as 0.
    weight_decay
        λ ≥ 0, as if ½ λ ‖θ‖² were added to the cost.
    decay_biases
        Whether weight decay acts on biases, too; see `PiecewiseOptimizer`.
    clip_norm, clip_value
        The largest ‖∂C/∂θ‖, and the largest single number of it; likewise.

    Attributes
    ----------
    mean_square
        s, a vector like θ, from the first step on.
    mean
        a, likewise, from the first centered step on.
    velocity
        v, likewise, from the first step with momentum on.

    Notes
    -----
    The same numbers as ``torch.optim.RMSprop``; but that is NaN where s − a² is negative.

    Source: T. Tieleman and G. Hinton, *Lecture 6.5: rmsprop*, Neural Networks for Machine Learning,
    Coursera 2012; A. Graves, *Generating Sequences With Recurrent Neural Networks*,
    arXiv:1308.0850, eqs. (38) to (40), for the centered form, with ε outside of the root here.
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
    def _centered_makes_sense(self, attribute: Any, value: Any) -> None:
        if not isinstance(value, bool):
            complain(self, "centered", "True or False", value, "centered=True")

    def _remembered(self) -> tuple[str, ...]:
        mean = ("mean",) if self.centered else ()
        return ("mean_square", *mean, "velocity") if self.momentum else ("mean_square", *mean)

    def _move(
        self,
        value: Array,
        gradient: Array,
        remembered: list[Array],
        scratch: Array,
        part: ParameterSlice,
    ) -> None:
        change = scratch[0, : value.size]
        if part.decays:
            gradient = with_decay(value, gradient, self.weight_decay, scratch[1])
        mean_square = remembered[0]
        _average_square(mean_square, gradient, self.alpha, change)
        if self.centered:
            mean = remembered[1]
            _average(mean, gradient, self.alpha, change)
            np.square(mean, out=change)
            np.subtract(mean_square, change, out=change)
            np.maximum(change, 0, out=change)
            np.sqrt(change, out=change)
        else:
            np.sqrt(mean_square, out=change)
        change += self.epsilon
        np.divide(gradient, change, out=change)
        if self.momentum:
            velocity = remembered[-1]
            velocity *= self.momentum
            velocity += change
            _descend(value, velocity, self.learning_rate, change)
        else:
            _descend(value, change, self.learning_rate, change)


@define(repr=False)
class Adagrad(CountingOptimizer):
    """Adagrad: the gradient is divided by the root of the sum of all its squares so far.

    g = ∂C/∂θ + λ θ
    G ← G + g²
    θ ← θ − η_t g / (√G + ε)        with η_t = η/(1 + (t − 1) κ) at step t = 1, 2, …

    So each parameter's steps become shorter by themselves, those of a rarely used one slowly.

    Parameters
    ----------
    learning_rate
        η ≥ 0.
    learning_rate_decay
        κ ≥ 0.
    initial_accumulator
        What each number of G is at the beginning, 0 or more.
    epsilon
        ε > 0: keeps the step finite where the gradient has been zero.
    weight_decay
        λ ≥ 0, as if ½ λ ‖θ‖² were added to the cost.
    decay_biases
        Whether weight decay acts on biases, too; see `PiecewiseOptimizer`.
    clip_norm, clip_value
        The largest ‖∂C/∂θ‖, and the largest single number of it; likewise.

    Attributes
    ----------
    steps, missed
        t, how many steps were taken; less by those that a part has missed, see `CountingOptimizer`.
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

    def _remembered(self) -> tuple[str, ...]:
        return ("sum_of_squares",)

    def _beginning(self, value: Array) -> Array:
        return np.full_like(value, self.initial_accumulator)

    def _move(
        self,
        value: Array,
        gradient: Array,
        remembered: list[Array],
        scratch: Array,
        part: ParameterSlice,
    ) -> None:
        (sum_of_squares,) = remembered
        change = scratch[0, : value.size]
        if part.decays:
            gradient = with_decay(value, gradient, self.weight_decay, scratch[1])
        np.square(gradient, out=change)
        sum_of_squares += change
        np.sqrt(sum_of_squares, out=change)
        change += self.epsilon
        np.divide(gradient, change, out=change)
        before = self.steps - part.missed - 1
        rate = self.learning_rate / (1 + before * self.learning_rate_decay)
        _descend(value, change, rate, change)


@define(repr=False)
class Adam(CountingOptimizer):
    """Adam: each parameter moves by about η a step, whatever the size of its gradient.

    g = ∂C/∂θ + λ θ
    m ← β₁ m + (1 − β₁) g           the mean of the gradient, over about 1/(1 − β₁) steps
    v ← β₂ v + (1 − β₂) g²          the mean of its square
    θ ← θ − η m̂ / (√v̂ + ε)          with m̂ = m/(1 − β₁ᵗ) and v̂ = v/(1 − β₂ᵗ) at step t = 1, 2, …

    m and v start from zero, and m̂ and v̂ make up for that.

    Parameters
    ----------
    learning_rate
        η ≥ 0.
    betas
        (β₁, β₂), each from 0 up to 1.
    epsilon
        ε > 0: keeps the step finite where the gradient has been zero.
    weight_decay
        λ ≥ 0, as if ½ λ ‖θ‖² were added to the cost (not the decoupled decay of `AdamW`).
    decay_biases
        Whether weight decay acts on biases, too; see `PiecewiseOptimizer`.
    clip_norm, clip_value
        The largest ‖∂C/∂θ‖, and the largest single number of it; likewise.

    Attributes
    ----------
    steps, missed
        t, how many steps were taken; less by those that a part has missed, see `CountingOptimizer`.
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

    def _remembered(self) -> tuple[str, ...]:
        return ("first_moment", "second_moment")

    def _move(
        self,
        value: Array,
        gradient: Array,
        remembered: list[Array],
        scratch: Array,
        part: ParameterSlice,
    ) -> None:
        if self.weight_decay and part.decays:
            gradient = self._decayed(value, gradient, scratch[1])
        change = scratch[0, : value.size]
        first, second = remembered
        beta_1, beta_2 = self.betas
        # η m̂/(√v̂ + ε) = (η r/(1 − β₁ᵗ)) m/(√v + ε r) with r = √(1 − β₂ᵗ): two passes less.
        steps = self.steps - part.missed
        root = math.sqrt(1 - beta_2**steps)
        _average(first, gradient, beta_1, change)
        _average_square(second, gradient, beta_2, change)
        np.sqrt(second, out=change)
        change += self.epsilon * root
        np.divide(first, change, out=change)
        _descend(value, change, self.learning_rate * root / (1 - beta_1**steps), change)

    def _decayed(self, value: Array, gradient: Array, row: Array) -> Array:
        return with_decay(value, gradient, self.weight_decay, row)


@define(repr=False)
class AdamW(Adam):
    """AdamW: Adam whose weight decay pulls each parameter by itself, past the moments.

    g = ∂C/∂θ
    θ ← (1 − η λ) θ
    θ ← θ − η m̂ / (√v̂ + ε)          with m̂ and v̂ of g, as in `Adam`

    In `Adam` the decay λ θ is divided by √v̂ as the gradient is, and so acts least on the
    parameters whose gradients are largest; here it acts on all of them alike.

    Parameters
    ----------
    learning_rate, betas, epsilon
        As in `Adam`.
    weight_decay
        λ ≥ 0: each parameter loses the part η λ of itself at each step.
    decay_biases
        Whether weight decay acts on biases, too; see `PiecewiseOptimizer`.
    clip_norm, clip_value
        The largest ‖∂C/∂θ‖, and the largest single number of it; likewise.

    Attributes
    ----------
    steps, missed, first_moment, second_moment
        As in `Adam`.

    Notes
    -----
    The same numbers as ``torch.optim.AdamW``.

    Source: I. Loshchilov and F. Hutter, *Decoupled Weight Decay Regularization*, ICLR 2019,
    arXiv:1711.05101, Algorithm 2, where η λ is one number of its own.
    """

    weight_decay: float = field(default=1e-2, converter=as_float, validator=not_negative)

    def _decayed(self, value: Array, gradient: Array, row: Array) -> Array:
        value *= 1 - self.learning_rate * self.weight_decay
        return gradient


@define(repr=False)
class Adamax(CountingOptimizer):
    """Adamax: Adam with the largest recent gradient instead of the root of the mean square.

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
        (β₁, β₂), each from 0 up to 1.
    epsilon
        ε > 0: keeps the step finite where the gradient has been zero.
    weight_decay
        λ ≥ 0, as if ½ λ ‖θ‖² were added to the cost.
    decay_biases
        Whether weight decay acts on biases, too; see `PiecewiseOptimizer`.
    clip_norm, clip_value
        The largest ‖∂C/∂θ‖, and the largest single number of it; likewise.

    Attributes
    ----------
    steps, missed
        t, how many steps were taken; less by those that a part has missed, see `CountingOptimizer`.
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

    def _remembered(self) -> tuple[str, ...]:
        return ("first_moment", "infinity_norm")

    def _move(
        self,
        value: Array,
        gradient: Array,
        remembered: list[Array],
        scratch: Array,
        part: ParameterSlice,
    ) -> None:
        first, largest = remembered
        beta_1, beta_2 = self.betas
        change = scratch[0, : value.size]
        if part.decays:
            gradient = with_decay(value, gradient, self.weight_decay, scratch[1])
        _average(first, gradient, beta_1, change)
        largest *= beta_2
        np.abs(gradient, out=change)
        change += self.epsilon
        np.maximum(largest, change, out=largest)
        np.divide(first, largest, out=change)
        steps = self.steps - part.missed
        _descend(value, change, self.learning_rate / (1 - beta_1**steps), change)


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
        Whether weight decay acts on biases, too; see `PiecewiseOptimizer`.
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
        _descend(value, direction, self.learning_rate, change)
        _average(first, gradient, beta_2, change)


# ------------------------------------------------------------------- the parts of a rule


def _average(mean: Array, new: Array, kept: float, row: Array) -> None:
    """Mean ← β mean + (1 − β) new."""
    np.multiply(new, 1 - kept, out=row)
    mean *= kept
    mean += row


def _average_square(mean: Array, new: Array, kept: float, row: Array) -> None:
    """Mean ← β mean + (1 − β) new²."""
    np.square(new, out=row)
    row *= 1 - kept
    mean *= kept
    mean += row


def _descend(value: Array, direction: Array, rate: float, row: Array) -> None:
    """θ ← θ − η direction, where ``row`` may be the direction itself."""
    row = row[: value.size]
    np.multiply(direction, rate, out=row)
    np.subtract(value, row, out=value)
