"""The cost of a model as a function of one vector, C(θ), for minimizers and samplers.

SciPy's minimizers call a function of a vector thousands of times:

    θ ↦ C(θ)        θ ↦ (C(θ), ∂C/∂θ)        (θ, v) ↦ (∂²C/∂θ²) v

Setting the parameters of the model in each call leaves the model at the last θ that was tried,
which is often not the best one, and after an exception at an arbitrary one. So an `Objective`
computes on a copy with parameters of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.calculus.dual import dual
from chainrule.calculus.replicas import Replica, as_vector, unused_level
from chainrule.core.layer import Layer
from chainrule.core.layer_state import copied_generator, set_state, state_of
from chainrule.core.parameter import Parameter
from chainrule.core.types import Array


class Objective:
    """The cost C(θ) of a model on some data, with its gradient and its Hessian products.

    `derivatives.function` creates it. All calls share one copy of the model, so that a call costs
    little more than its two passes. The model is never changed, whatever a call raises.

    θ and all vectors that it returns are float64, also for a float32 model, which computes in its
    own type. C depends on θ alone: every call starts with the buffers and the random generators
    that the model had at first, so the random numbers of a `Dropout` are the same in each call.
    """

    def __init__(
        self, model: Layer, loss: Any, inputs: tuple[Array, ...], t: Any, sample_weights: Any
    ) -> None:
        self._model, self._loss = model, loss
        self._inputs, self._given = inputs, (t, sample_weights)
        self._plain = _OwnParameters(model)
        self._moving: _OwnParameters | None = None
        self._state = _State(self._plain)

    def __call__(self, theta: Any) -> float:
        """C(θ); the same as `value`."""
        return self.value(theta)

    def value(self, theta: Any) -> float:
        """C(θ).

        Parameters
        ----------
        theta
            θ, a flat vector in the order of ``model.parameters``.

        Raises
        ------
        ShapeError
            θ has another size.
        """
        y = self._forward(self._plain, theta)
        return float(self._loss(y, *self._given))

    def value_and_gradient(self, theta: Any) -> tuple[float, npt.NDArray[np.float64]]:
        """C(θ) and ∂C/∂θ; arguments as for `value`."""
        y = self._forward(self._plain, theta)
        cost, delta = self._loss.value_and_delta(y, *self._given)
        self._plain.backward_parameters(delta)
        return float(cost), self._plain.gradient().astype(np.float64)

    def gradient(self, theta: Any) -> npt.NDArray[np.float64]:
        """∂C/∂θ; arguments as for `value`."""
        return self.value_and_gradient(theta)[1]

    def hvp(self, theta: Any, v: Any) -> npt.NDArray[np.float64]:
        """The Hessian product (∂²C/∂θ²) v at θ, exact; v is a flat vector like θ."""
        if self._moving is None:
            self._moving = _OwnParameters(self._model, unused_level(self._model, self._inputs))
        self._moving.direction[:] = as_vector(self._model, v)
        y = self._forward(self._moving, theta)
        self._moving.backward_parameters(self._loss.delta(y, *self._given))
        return self._moving.gradient().tangent.astype(np.float64)  # type: ignore[no-any-return]

    def _forward(self, replica: _OwnParameters, theta: Any) -> Any:
        replica.vector[:] = as_vector(self._model, theta)
        replica.zero_grad()
        self._state.put_into(replica)
        return replica.forward(*self._inputs)


class _OwnParameters(Replica):
    """A replica whose parameters are windows of a vector of its own.

    With a level they are dual numbers, and the tangents are windows of ``direction``.
    """

    def __init__(self, model: Layer, level: int | None = None) -> None:
        self.vector: npt.NDArray[Any] = np.array(model.parameters.value)
        self.direction = np.zeros_like(self.vector)
        self._own_level, self._start = level, 0
        super().__init__(model)

    def _parameter(self, path: str, value: Array) -> Parameter:
        window = slice(self._start, self._start + value.size)
        self._start += value.size
        own, moves = (each[window].reshape(value.shape) for each in (self.vector, self.direction))
        level = self._own_level
        return super()._parameter(path, own if level is None else dual(own, moves, level))


class _State:
    """The buffers and generators that every call starts with."""

    def __init__(self, replica: Replica) -> None:
        self._buffers = [buffer.value.copy() for buffer in replica.buffers]
        self._generators = [copied_generator(generator) for generator in replica.generators]

    def put_into(self, replica: Replica) -> None:
        """Give a replica of the same model these buffers and generators."""
        for buffer, value in zip(replica.buffers, self._buffers, strict=True):
            buffer.value = value
        for generator, at in zip(replica.generators, self._generators, strict=True):
            set_state(generator, state_of(at))
