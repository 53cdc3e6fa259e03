"""The lecture's gradient descent, plain and with momentum.

θ ← θ − η g        v ← β v + g,  θ ← θ − η v
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field

from chainrule.core.types import Array
from chainrule.core.validators import (
    as_float,
    below_one,
    complain,
    not_negative,
)
from chainrule.optimizers.chunked import (
    ChunkedOptimizer,
    descend,
    roll,
    with_decay,
)
from chainrule.optimizers.slices import ParameterSlice


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
        μ, at least 0 and below 1: the fraction of the velocity v that is kept. v starts from zero.
    nesterov
        Whether to use the gradient at the point the ball is rolling towards. Needs momentum.
    weight_decay
        λ ≥ 0, as if ½ λ ‖θ‖² were added to the cost.
    decay_biases
        Whether weight decay also acts on biases; see `ChunkedOptimizer`.
    clip_norm, clip_value
        The limits of ‖∂C/∂θ‖ and of each component of ∂C/∂θ; see `ChunkedOptimizer`.

    Attributes
    ----------
    velocity
        v, a vector like θ, from the first step with momentum on.

    Notes
    -----
    The same numbers as ``torch.optim.SGD`` without dampening.

    Source: B. T. Polyak, USSR Computational Mathematics and Mathematical Physics 4 (1964) 1, for
    momentum; I. Sutskever, J. Martens, G. Dahl and G. Hinton, *On the importance of initialization
    and momentum in deep learning*, ICML 2013, for Nesterov's, in the form where θ is the point at
    which the gradient is taken.
    """

    momentum: float = field(default=0.0, converter=as_float)
    nesterov: bool = field(default=False)
    weight_decay: float = field(default=0.0, converter=as_float, validator=not_negative)
    velocity: Array | None = field(default=None, init=False, repr=False, eq=False)

    @momentum.validator
    def _momentum_is_valid(self, attribute: Any, value: Any) -> None:
        below_one(self, attribute, value)
        self._require_momentum_for_nesterov(value, self.nesterov)

    @nesterov.validator
    def _nesterov_is_valid(self, attribute: Any, value: Any) -> None:
        if not isinstance(value, bool):
            complain(self, "nesterov", "True or False", value, "nesterov=True with momentum=0.9")
        self._require_momentum_for_nesterov(self.momentum, value)

    def _require_momentum_for_nesterov(self, momentum: object, nesterov: object) -> None:
        if nesterov is True and not momentum:
            hint = "SGD(learning_rate, momentum=0.9, nesterov=True)"
            complain(
                self, "nesterov", "a momentum above 0 together with nesterov=True", nesterov, hint
            )

    def equations(self) -> Mapping[str, str]:
        """A step as assignments; see `Optimizer.equations`."""
        lines, direction = self._decay_on_paper(), "gradient"
        if self.momentum:
            lines["velocity"] = f"{self.momentum!r} * velocity + gradient"
            direction = "velocity"
        if self.nesterov:
            direction = f"(gradient + {self.momentum!r} * velocity)"
        return {**lines, "value": f"value - learning_rate * {direction}"}

    def _remembered(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def _move(
        self,
        value: Array,
        gradient: Array,
        remembered: list[Array],
        scratch: Array,
        parameter_slice: ParameterSlice,
    ) -> None:
        if self.weight_decay and parameter_slice.decays:
            gradient = with_decay(value, gradient, self.weight_decay, scratch[0])
        if not remembered:  # no momentum
            descend(value, gradient, self.learning_rate, scratch[0])
            return
        ahead = scratch[1] if self.nesterov else None
        roll(value, gradient, remembered[0], self.momentum, self.learning_rate, scratch[0], ahead)
