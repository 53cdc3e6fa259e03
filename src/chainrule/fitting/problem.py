"""A fit as a problem of least squares: residuals and their Jacobian for any θ.

    r(θ) = (f(x; θ) − t)/σ        J = ∂r/∂θ        χ² = rᵀ r

A prior, a parameter known to be μ ± τ from elsewhere, is one more residual, (θ_k − μ)/τ.

The problem computes with a copy of the model, so a solver can try any θ and the model itself does
not change. The copy keeps the contributions of the rows to ∂/∂θ apart (`derivatives.jacobian`), so
one backward pass for each number of an output gives J.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.calculus import derivatives
from chainrule.calculus.formula import Formula
from chainrule.calculus.replicas import Replica, RowReplica
from chainrule.core import input_checks
from chainrule.core.arrays import as_array
from chainrule.core.errors import ConfigurationError, DataError, NonFiniteError, ShapeError
from chainrule.core.input_checks import as_tuple, one_or_tuple
from chainrule.core.layer import Layer
from chainrule.core.layer_state import copied_arrays_and_generators, twin
from chainrule.fitting.noise import Noise


class Problem:
    """Residuals and Jacobian of a model for given data, as functions of its free parameters.

    Parameters
    ----------
    model
        A built model.
    inputs, targets
        One array for each input and output.
    noise
        The noise of the targets.
    priors
        (positions in θ, means, deviations).
    """

    def __init__(
        self,
        model: Layer,
        inputs: tuple[Any, ...],
        targets: tuple[Any, ...],
        noise: Noise,
        priors: tuple[Any, Any, Any],
    ) -> None:
        self.model = twin(model, copied_arrays_and_generators(model, {}))
        self.parameters = self.model.parameters
        self.is_free = np.concatenate(
            [np.zeros(0, bool), *(np.full(p.size, p.trainable) for p in self.parameters)]
        )
        self.free = np.flatnonzero(self.is_free)
        self.inputs, self.targets, self.noise, self.priors = inputs, targets, noise, priors
        self.flat_targets = _flat(targets)
        self._theta = self.parameters.value
        self._rows: RowReplica | None = _replica_of(self.model, len(inputs[0]))
        self._is_checked = isinstance(model, Formula)  # which keeps rows apart
        self._at: Any = None
        self._outputs: Any = None

    def begin(self, values: Any) -> None:
        """Set all parameters, also those that do not move."""
        self._theta[...] = values
        self._at = None

    @property
    def count(self) -> int:
        """The number of residuals that count, priors included."""
        return self.noise.count + len(self.priors[0])

    def values(self, free: Any) -> Any:
        """All parameters, where the free ones have these values."""
        values = self._theta.astype(float)
        values[self.free] = free
        return values

    def outputs(self, free: Any) -> tuple[Any, ...]:
        """The outputs of the model for the inputs of the problem."""
        if self._at is None or not np.array_equal(free, self._at):
            self._theta[self.free] = free
            self._at = None
            forward = self.model.forward if self._rows is None else self._rows.layer.forward
            self._outputs = as_tuple(forward(*self.inputs))
            self._at = np.array(free, float)
        return self._outputs  # type: ignore[no-any-return]

    def residuals(self, free: Any) -> Any:
        """r(θ), the data first, then the priors: (count,)."""
        differences = _flat(self.outputs(free)) - self.flat_targets
        positions, means, deviations = self.priors
        whitened = self.noise.whitened(differences)
        if not len(positions):
            return whitened
        return np.concatenate([whitened, (self._theta[positions] - means) / deviations])

    def jacobian(self, free: Any) -> Any:
        """∂r/∂θ for the free parameters: (count, free)."""
        self.outputs(free)
        rows = self.noise.whitened(self._jacobian_of_outputs())
        positions, _, deviations = self.priors
        if not len(positions):
            return rows
        of_priors = (positions[:, None] == self.free) / np.reshape(deviations, (-1, 1))
        return np.concatenate([rows, of_priors])

    def curve(self, free: Any, x: tuple[Any, ...]) -> tuple[Any, Any]:
        """f(x; θ) and ∂f/∂θ at other inputs: for each output (batch, …) and (batch, …, free)."""
        self._theta[self.free], self._at = free, None
        outputs = as_tuple(self.model.apply(*x))
        columns = as_tuple(derivatives.jacobian(self.model, x, "parameters"))
        return outputs, tuple([column[..., self.free] for column in columns])

    def _jacobian_of_outputs(self) -> Any:
        """∂f/∂θ of every number of the outputs, one below the other: (n, free)."""
        if self._rows is not None:
            found = self._rows_apart(self._rows)
            if found is not None and (self._is_checked or self._agrees(found)):
                self._is_checked = True
                return found
            self._rows = None  # a layer sums over the rows itself
        columns = as_tuple(derivatives.jacobian(self.model, self.inputs, "parameters"))
        size = self.parameters.size
        return np.concatenate([c.reshape(-1, size)[:, self.free] for c in columns]).astype(float)

    def _rows_apart(self, replica: RowReplica) -> Any:
        """The same by keeping rows apart; None if the layers do not allow it."""
        moving = [p for p in replica.parameters if p.trainable]
        batch, found = len(self.inputs[0]), []
        outputs = self._outputs
        for number, output in enumerate(outputs):
            columns = []
            for entry in np.ndindex(output.shape[1:]):
                deltas = [np.zeros_like(y) for y in outputs]
                deltas[number][:, *entry] = 1
                replica.layer.backward_parameters(one_or_tuple(deltas))
                taken = [p.take_rows() for p in moving]  # type: ignore[attr-defined]
                if any(rows is None for rows in taken):
                    return None
                columns.append(np.concatenate([r.reshape(batch, -1) for r in taken], axis=1))
            if columns:
                found.append(np.stack(columns, axis=1).reshape(output.size, len(self.free)))
        return np.concatenate([np.zeros((0, len(self.free))), *found])

    def _agrees(self, jacobian: Any) -> bool:
        """Whether Σ_n w_n ∂f_n/∂θ with random weights w is what a plain backward pass gives."""
        rng = np.random.default_rng(0)
        replica = Replica(self.model)
        outputs = as_tuple(replica.forward(*self.inputs))
        weights = [rng.normal(size=y.shape).astype(y.dtype) for y in outputs]
        replica.backward_parameters(one_or_tuple(weights))
        flat, gradient = _flat(tuple(weights)), replica.gradient()[self.free]
        limit = np.sqrt(np.finfo(self.model.dtype).eps) * (np.abs(flat) @ np.abs(jacobian))
        return bool(np.all(np.abs(flat @ jacobian - gradient) <= limit.max(initial=0)))


def _replica_of(model: Layer, batch: int) -> RowReplica:
    """A replica that keeps rows apart, in which frozen parameters are frozen, too."""
    replica = RowReplica(model, batch)
    for own, original in zip(replica.parameters, model.parameters, strict=True):
        own._trainable = original.trainable
    return replica


def _flat(arrays: tuple[Any, ...]) -> Any:
    if len(arrays) == 1:
        return arrays[0].reshape(-1).astype(float, copy=False)
    return np.concatenate([a.reshape(-1) for a in arrays]).astype(float, copy=False)


# ------------------------------------------------------------------------------- arguments


def data_of(model: Layer, x: Any, t: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Inputs and targets as arrays that fit the model, which is built for them if it is not."""
    inputs = input_checks.as_inputs(model, as_tuple(x))
    inputs = input_checks.admit(model, inputs)
    _require_rows(inputs)
    outputs = as_tuple(model.apply(*(i[:1] for i in inputs)))
    given = as_tuple(t) if len(outputs) > 1 else (t,)
    targets = tuple([as_array("least_squares: t", each).astype(float) for each in given])
    expected = tuple([(len(inputs[0]), *y.shape[1:]) for y in outputs])
    if tuple([each.shape for each in targets]) != expected:
        shapes = [each.shape for each in targets]
        hint = None
        if len(shapes) == len(expected) == 1 and shapes[0] == expected[0][:-1]:
            hint = "t[:, None]: the output has an axis more"
        elif len(shapes) == len(expected) == 1 and shapes[0][:-1] == expected[0]:
            hint = "t[:, 0]: the output has an axis less; or give x an axis, x[:, None]"
        raise ShapeError(
            "least_squares: the targets do not have the shape of the output",
            expected=", ".join(map(str, expected)),
            received=", ".join(map(str, shapes)),
            hint=hint,
        )
    for name, arrays in (("x", inputs), ("t", targets)):
        for array in arrays:
            require_finite(name, array)
    return inputs, targets


def _require_rows(inputs: tuple[Any, ...]) -> None:
    if not inputs or not len(inputs[0]):
        raise DataError("least_squares: there are no data", expected="at least one row")


def require_finite(name: str, array: Any) -> None:
    """Raise an error that names the first row with a number that is none."""
    if not np.all(np.isfinite(array)):
        wrong = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
        raise DataError(
            f"least_squares: {name} contains numbers that are not finite",
            place=f"row {np.flatnonzero(wrong)[0]}, and {int(wrong.sum()) - 1} others",
            expected="finite numbers",
            hint=f"leave these rows out: good = np.isfinite({name}); {name}[good]",
        )


def require_finite_residuals(residuals: Any) -> None:
    """Raise an error if the model is not a number at the start."""
    wrong = np.flatnonzero(~np.isfinite(residuals))
    if wrong.size:
        raise NonFiniteError(
            "least_squares: the model is not finite at the start",
            place=f"number {wrong[0]} of {residuals.size}, and {wrong.size - 1} others",
            expected="finite numbers to start from",
            received=f"{residuals[wrong[0]]}",
            hint="choose other start values: start={'path': …}; a logarithm, a root or an "
            "exponential may be outside its range",
        )


def windows(model: Layer) -> dict[str, slice]:
    """The part of the flat vector that each parameter has, by path."""
    found, begin = {}, 0
    for path, parameter in zip(model.parameters.paths, model.parameters, strict=True):
        found[path] = slice(begin, begin + parameter.size)
        begin += parameter.size
    return found


def window(model: Layer, path: Any, argument: str) -> slice:
    """The part of the flat vector that one parameter has."""
    known = windows(model)
    if path in known:
        return known[path]
    near = difflib.get_close_matches(str(path), known, n=1, cutoff=0.4)
    raise ConfigurationError(
        f"{argument}: the model has no parameter {path!r}",
        expected=f"one of {', '.join(map(repr, list(known)[:12]))}",
        received=repr(path),
        hint=f"do you mean {near[0]!r}?" if near else None,
    )


def by_path(
    model: Layer, given: Any, argument: str, parts: int
) -> list[tuple[str, slice, list[Any]]]:
    """Each entry of a dictionary {path: number or tuple}: path, window, arrays of its size."""
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"{argument}: this is no dictionary",
            expected=f"{argument}={{'path': …}}, with paths such as those of model.parameters",
            received=type(given).__name__,
        )
    found = []
    for path, value in given.items():
        where = window(model, path, argument)
        shape = model.parameters[path].shape
        pieces: Sequence[Any] = [value] if parts == 1 else value
        try:
            count = len(pieces)
            arrays = [np.broadcast_to(np.asarray(v, float), shape).ravel() for v in pieces]
        except (TypeError, ValueError):
            count, arrays = -1, []
        if count != parts:
            raise ConfigurationError(
                f"{argument}: the entry of {path!r} is invalid",
                expected="a number" if parts == 1 else "two numbers, such as (0, 1)",
                received=repr(value)[:60],
                hint=f"or arrays of the shape {shape}" if shape else None,
            )
        found.append((path, where, arrays))
    return found
