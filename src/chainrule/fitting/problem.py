"""A fit as a problem of least squares: residuals and their Jacobian for any θ.

    d(θ) = (f(x; θ) − t)/σ        J = ∂d/∂θ        χ² = dᵀ d

The solvers work with model minus data, d, as J is then the derivative of the model. What is public,
`Fit.residuals` and its figure, is data minus model, t − f. A prior, a parameter known to be μ ± τ
from elsewhere, is one more difference, (θ_k − μ)/τ.
"""

from __future__ import annotations

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
    """

    def __init__(
        self,
        model: Layer,
        parameters: ParameterVector,
        inputs: tuple[Any, ...],
        targets: tuple[Any, ...],
        noise: Noise,
        priors: tuple[Any, Any, Any],
    ) -> None:
        self._model, self.inputs, self.targets = model, inputs, targets
        self.noise, self.priors = noise, priors
        self._flat_targets, self._windows = flat(targets), windows(parameters)
        self.free = free_entries(parameters)
        self._theta = parameters.value.astype(float)
        is_formula = isinstance(model, formula.Formula) and self._theta.size <= TAPED
        self._tape = formula.recorded(model, inputs) if is_formula else None  # type: ignore[arg-type]
        if self._tape is not None and not self._is_right(self._tape):
            self._tape = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the record of the formula, whose functions cannot be pickled."""
        return self.__dict__ | {"_tape": None}

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
        rows = self._tape.jacobian(free) if self._tape is not None else None
        if rows is None or not np.isfinite(rows.sum()):  # jets know more about 0 · ∞
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
                path for path, where in self._windows.items() if where.start <= at < where.stop
            ]
            raise NonFiniteError(
                f"least_squares: the derivative by {path!r} is not finite",
                place=f"{path} = {free[wrong[0]]:.6g}",
                expected="a model with finite derivatives",
                received=f"{rows[:, wrong[0]][~np.isfinite(rows[:, wrong[0]])][0]}",
                hint="choose another start, or bounds that keep it away from there: the slope of a "
                "root, for example, is infinite at 0",
            )

    def _is_right(self, tape: Any) -> bool:
        """Whether the tape computes what the model computes."""
        with np.errstate(all="ignore"):
            recorded, plain = tape.value(self._theta[self.free]), self._model.apply(*self.inputs)
            if recorded.shape != plain.shape:
                return False
            differs = np.abs(recorded - plain) > 1e-9 * np.abs(plain)
        return not differs.any()


TAPED = 64
"""A formula with more parameters is not recorded."""


def free_entries(parameters: ParameterVector) -> Any:
    """The positions in the flat vector of the parameters that are not frozen."""
    is_free = [np.full(p.size, p.trainable) for p in parameters]
    return np.flatnonzero(np.concatenate([np.zeros(0, bool), *is_free]))
