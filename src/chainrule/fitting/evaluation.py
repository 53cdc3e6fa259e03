"""A model evaluated again and again, for the same inputs and changing parameters.

    f(x; θ),   ∂f_n/∂θ for each number f_n of the outputs

It computes with a copy of the model, so a solver can try any θ and the model itself does not
change. The copy keeps the contributions of the rows to ∂/∂θ apart (see `derivatives.jacobian`), so
one backward pass for each number in a row of the output gives all of J. If the free parameters are
fewer than these numbers, a tangent for each of them is cheaper.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.calculus import derivatives
from chainrule.calculus.formula import Formula
from chainrule.calculus.replicas import Replica, RowReplica
from chainrule.calculus.rows import row_size
from chainrule.core.input_checks import as_tuple, one_or_tuple
from chainrule.core.layer import Layer
from chainrule.core.layer_state import copied_arrays_and_generators, twin


class Evaluation:
    """A copy of a model, its outputs and their Jacobian.

    Parameters
    ----------
    model
        A built model.
    inputs
        One array for each input.
    theta
        The values of all parameters; those of the model may have changed since.
    free
        The positions of those that move.
    """

    def __init__(self, model: Layer, inputs: tuple[Any, ...], theta: Any, free: Any) -> None:
        self._model = twin(model, copied_arrays_and_generators(model, {}))
        self._theta = self._model.parameters.value
        self._theta[:] = theta
        self._inputs, self._free = inputs, free
        self._rows: RowReplica | None = RowReplica(self._model, len(inputs[0]))
        start = 0
        for own in self._rows.parameters:
            own._trainable = start in free
            start += own.size
        if len(free) < row_size(model):
            self._rows = None
        self._is_checked = isinstance(model, Formula)  # which keeps rows apart
        self._at: Any = None
        self._outputs: tuple[Any, ...] = ()

    def outputs(self, free: Any) -> tuple[Any, ...]:
        """The outputs where the free parameters have these values."""
        if self._at is None or not np.array_equal(free, self._at):
            self._theta[self._free], self._at = free, None
            forward = self._model.apply if self._rows is None else self._rows.layer.forward
            self._outputs = as_tuple(forward(*self._inputs))
            self._at = np.array(free, float)
        return self._outputs

    def curve(self, free: Any, x: tuple[Any, ...]) -> tuple[Any, Any]:
        """Outputs and their Jacobian at other inputs: (batch, …) and (batch, …, free) for each."""
        self._theta[self._free], self._at = free, None
        outputs = as_tuple(self._model.apply(*x))
        columns = as_tuple(derivatives.jacobian(self._model, x, "parameters"))
        return outputs, tuple([column[..., self._free] for column in columns])

    def jacobian(self, free: Any) -> Any:
        """∂f/∂θ of every number of the outputs, one below the other: (n, free)."""
        self.outputs(free)
        if self._rows is not None:
            found = self._rows_apart(self._rows)
            if found is not None and (self._is_checked or self._agrees(found)):
                self._is_checked = True
                return found
            self._rows = None  # a layer sums over the rows itself
        columns = as_tuple(derivatives.jacobian(self._model, self._inputs, "parameters"))
        flattened = [c.reshape(-1, c.shape[-1])[:, self._free] for c in columns]
        return np.concatenate(flattened).astype(float)

    def _rows_apart(self, replica: RowReplica) -> Any:
        """The same by keeping rows apart; None if the layers do not allow it."""
        moving: list[Any] = [p for p in replica.parameters if p.trainable]
        batch, found = len(self._inputs[0]), []
        for number, output in enumerate(self._outputs):
            columns = []
            for entry in np.ndindex(output.shape[1:]):
                deltas = [np.zeros_like(y) for y in self._outputs]
                deltas[number][:, *entry] = 1
                replica.backward_parameters(one_or_tuple(deltas))
                taken = [p.take_rows() for p in moving]
                if any(rows is None for rows in taken):
                    return None
                columns.append(np.concatenate([r.reshape(batch, -1) for r in taken], axis=1))
            if columns:
                found.append(np.stack(columns, axis=1).reshape(output.size, len(self._free)))
        return np.concatenate([np.zeros((0, len(self._free))), *found])

    def _agrees(self, jacobian: Any) -> bool:
        """Whether Σ_n w_n ∂f_n/∂θ with random weights w is what a plain backward pass gives."""
        rng = np.random.default_rng(0)
        replica = Replica(self._model)
        outputs = as_tuple(replica.forward(*self._inputs))
        weights = tuple([rng.normal(size=y.shape).astype(y.dtype) for y in outputs])
        replica.backward_parameters(one_or_tuple(weights))
        difference = np.abs(flat(weights) @ jacobian - replica.gradient()[self._free])
        size = np.abs(flat(weights)) @ np.abs(jacobian)
        tolerance = np.sqrt(np.finfo(self._model.dtype).eps)
        return bool(np.all(difference <= tolerance * size.max(initial=0)))


def flat(arrays: tuple[Any, ...]) -> Any:
    """All numbers of the arrays in one vector of float64."""
    if len(arrays) == 1:
        return arrays[0].reshape(-1).astype(float, copy=False)
    return np.concatenate([a.reshape(-1) for a in arrays]).astype(float, copy=False)
