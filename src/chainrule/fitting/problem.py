"""A fit as a problem of least squares: residuals and their Jacobian for any θ.

    d(θ) = (f(x; θ) − t)/σ        J = ∂d/∂θ        χ² = dᵀ d

The solvers work with model minus data, d, as J is then the derivative of the model. What is public,
`Fit.residuals` and its figure, is data minus model, t − f. A prior, a parameter known to be μ ± τ
from elsewhere, is one more difference, (θ_k − μ)/τ.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np

from chainrule.calculus import formula
from chainrule.core.errors import NonFiniteError
from chainrule.core.layer import Layer
from chainrule.core.parameter import ParameterVector
from chainrule.fitting.arguments import windows
from chainrule.fitting.evaluation import Evaluation, flat
from chainrule.fitting.noise import Noise


class Problem:
    """Residuals and Jacobian of a model for given data, as functions of its free parameters.

    Parameters
    ----------
    model, parameters
        A built model, which does not change, and its parameters.
    inputs, targets
        One array for each input and output.
    noise
        The noise of the targets.
    priors
        (positions in θ, means, deviations).
    start
        The values of all parameters, of which the frozen ones remain.
    """

    def __init__(
        self,
        model: Layer,
        parameters: ParameterVector,
        inputs: tuple[Any, ...],
        targets: tuple[Any, ...],
        noise: Noise,
        priors: tuple[Any, Any, Any],
        start: Any,
    ) -> None:
        self._model, self.inputs, self.targets = model, inputs, targets
        self.noise, self.priors = noise, priors
        self._flat_targets, self._parameters = flat(targets), parameters
        self.free = free_entries(parameters)
        self._at: bytes | None = None
        self._jacobian: Any = None
        self._theta, self._tape = start, None
        if isinstance(model, formula.Formula) and start.size <= TAPED:
            with np.errstate(all="ignore"):
                self._tape = formula.recorded(model, inputs, start[self.free])

    def __getstate__(self) -> dict[str, Any]:
        """Without the record of the formula, whose functions cannot be pickled."""
        return self.__dict__ | {"_tape": None, "_at": None, "_jacobian": None}

    @property
    def count(self) -> int:
        """The number of residuals that count, priors included."""
        return self.noise.count + len(self.priors[0])

    def values(self, free: Any) -> Any:
        """All parameters, where the free ones have these values."""
        values = self._theta.copy()
        values[self.free] = free
        return values

    def outputs(self, free: Any) -> tuple[Any, ...]:
        """The outputs of the model for the inputs of the problem."""
        if self._tape is not None:
            return (self._tape.value(free),)
        return self._evaluation.outputs(free)

    def residuals(self, free: Any) -> Any:
        """d(θ), the data first, then the priors: (count,)."""
        whitened = self.noise.whitened(flat(self.outputs(free)) - self._flat_targets)
        positions, means, deviations = self.priors
        if not len(positions):
            return whitened
        return np.concatenate([whitened, (self.values(free)[positions] - means) / deviations])

    def jacobian(self, free: Any) -> Any:
        """J = ∂d/∂θ for the free parameters: (count, free)."""
        at = free.tobytes()
        if at != self._at:  # solvers ask again where they began, and often where they ended
            self._jacobian = self._new_jacobian(free)
            self._jacobian.flags.writeable = False
            self._at = at
        return self._jacobian

    def _new_jacobian(self, free: Any) -> Any:
        rows = self._tape.jacobian(free) if self._tape is not None else None
        if rows is None or not math.isfinite(rows.sum()):  # jets know more about 0 · ∞
            rows = self._evaluation.jacobian(free)
            self._require_finite(free, rows)
        rows = self.noise.whitened(rows)
        positions, _, deviations = self.priors
        if not len(positions):
            return rows
        of_priors = (positions[:, None] == self.free) / np.reshape(deviations, (-1, 1))
        return np.concatenate([rows, of_priors])

    def curve(self, free: Any, x: tuple[Any, ...]) -> tuple[Any, Any]:
        """f(x; θ) and ∂f/∂θ at other inputs: for each output (batch, …) and (batch, …, free)."""
        return self._evaluation.curve(free, x)

    @cached_property
    def _evaluation(self) -> Evaluation:
        return Evaluation(self._model, self.inputs, self._theta, self.free)

    def _require_finite(self, free: Any, rows: Any) -> None:
        wrong = np.flatnonzero(~np.isfinite(rows).all(axis=0))
        if wrong.size:
            at = self.free[wrong[0]]
            (path,) = [
                path
                for path, where in windows(self._parameters).items()
                if where.start <= at < where.stop
            ]
            raise NonFiniteError(
                f"least_squares: the derivative by {path!r} is not finite",
                place=f"{path} = {free[wrong[0]]:.6g}",
                expected="a model with finite derivatives",
                received=f"{rows[:, wrong[0]][~np.isfinite(rows[:, wrong[0]])][0]}",
                hint="choose another start, or bounds that keep it away from there: the slope of a "
                "root, for example, is infinite at 0",
            )


TAPED = 64
"""A formula with more parameters is not recorded."""


def free_entries(parameters: ParameterVector) -> Any:
    """The positions in the flat vector of the parameters that are not frozen."""
    is_free = np.array([p.trainable for p in parameters], bool)
    return np.flatnonzero(np.repeat(is_free, [p.size for p in parameters]))
