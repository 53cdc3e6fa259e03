"""The result of a fit: values, errors, the quality of the fit, and bands.

    C = s² (Jᵀ J)⁻¹     σ_k = √C_kk     band of the model:  f ± z √(g C gᵀ),   g = ∂f/∂θ

s² is 1 if the deviations of the data are known, otherwise χ² per degree of freedom. z is the
quantile of the normal distribution, or of Student's t if s² was estimated.

Source: Bates and Watts, *Nonlinear Regression Analysis*, Wiley 1988, chapters 1 and 2; W. H. Press
et al., *Numerical Recipes*, 3rd ed., Cambridge 2007, chapter 15.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.core import input_checks
from chainrule.core.errors import ConfigurationError, shortened
from chainrule.core.extras import required
from chainrule.core.hints import Hinted
from chainrule.core.input_checks import as_tuple, one_or_tuple
from chainrule.core.labels import keeps_labels, labelled_like
from chainrule.core.layer import Layer
from chainrule.core.parameter import ParameterVector
from chainrule.fitting.arguments import window, windows
from chainrule.fitting.estimate import Estimate
from chainrule.fitting.noise import of_one, parts_of
from chainrule.fitting.problem import Problem
from chainrule.fitting.solver import Settings, Solution

if TYPE_CHECKING:
    from chainrule.fitting.profile import Profile
    from chainrule.fitting.report import Report


class Fit(Hinted):
    """What `least_squares` returns. It prints as its report.

    All vectors have the order of ``model.parameters``. A frozen parameter has the standard error 0.
    ``fit["path"]`` is one parameter: an `Estimate`.

    Attributes
    ----------
    model : Layer
        The model, with the best values in it.
    values : ndarray
        The best values, (P,).
    method : str
        The solver that found them.
    evaluations : int
        How often it evaluated the model.
    loss : str
        The loss of the residuals: ``"linear"``, or a robust one.
    """

    def __init__(
        self,
        model: Layer,
        parameters: ParameterVector,
        problem: Problem,
        solution: Solution,
        settings: Settings,
        given: Any = None,
    ) -> None:
        self._given = given  # the targets, whose labels the residuals keep
        self.model, self._parameters = model, parameters
        self._problem, self._solution, self._settings = problem, solution, settings
        self.values = problem.values(solution.values)
        self.method, self.evaluations = solution.method, solution.evaluations
        self.loss = settings.loss
        self._spread = solution.spread

    # ------------------------------------------------------------------------- the parameters

    def __getitem__(self, path: str) -> Estimate:
        where = window(self._parameters, path, "fit")
        shape = self._parameters[path].shape
        return Estimate(
            path, self.values[where].reshape(shape), self.standard_errors[where].reshape(shape)
        )

    @cached_property
    def standard_errors(self) -> Any:
        """σ of each parameter, (P,): infinite for one that the data do not determine.

        All are infinite if σ of the data is neither given nor left to estimate, as there are no
        degrees of freedom.
        """
        errors = np.zeros(self.values.shape)
        units = np.eye(len(self._problem.free))
        errors[self._problem.free] = np.sqrt(self._spread.variances(units)) * self._scale
        return errors

    @cached_property
    def covariance(self) -> Any:
        """C, (P, P), by the singular values of J.

        A direction with a singular value below 10⁻¹⁰ of the largest is undetermined; the entries
        that belong to it are infinite.
        """
        covariance = np.zeros((len(self.values),) * 2)
        inner = self._spread.covariance * self._scale**2
        covariance[np.ix_(self._problem.free, self._problem.free)] = inner
        return covariance

    @property
    def correlations(self) -> Any:
        """C_jk/(σ_j σ_k), (P, P); 0 beside a frozen parameter, NaN for an undetermined one."""
        inner = self._spread.covariance  # without s, which may be infinite
        errors = np.sqrt(np.diag(inner))
        found, free = np.eye(len(self.values)), self._problem.free
        with np.errstate(invalid="ignore"):
            found[np.ix_(free, free)] = inner / errors / errors[:, None]
        np.fill_diagonal(found, 1.0)
        return found

    @property
    def rank(self) -> int:
        """The number of directions in the space of parameters that the data determine."""
        return self._spread.rank

    @property
    def undetermined(self) -> tuple[str, ...]:
        """The paths of the parameters that the data do not determine."""
        is_infinite = np.zeros(self.values.shape, bool)
        units = np.eye(len(self._problem.free))
        is_infinite[self._problem.free] = np.isinf(self._spread.variances(units))
        return tuple(
            [p for p, where in windows(self._parameters).items() if is_infinite[where].any()]
        )

    @property
    def at_bound(self) -> tuple[str, ...]:
        """The paths of the parameters that ended at a bound: their errors are only indicative."""
        at = np.zeros(self.values.shape, bool)
        free, best = self._problem.free, self._solution.values
        errors = self.standard_errors[free]
        near = 1e-8 * np.maximum(np.abs(best), 1e-300)
        near = np.maximum(near, np.where(np.isfinite(errors), 1e-6 * errors, 0))  # "trf" stays off
        for limit in (self._settings.low, self._settings.high):
            with np.errstate(invalid="ignore"):
                at[free] |= np.abs(best - limit) <= near
        return tuple([p for p, where in windows(self._parameters).items() if at[where].any()])

    # ------------------------------------------------------------------------- the quality

    @cached_property
    def residuals(self) -> Any:
        """The differences t − f(x), with the shape of the targets, and the labels of a table.

        A tuple for several outputs.
        """
        outputs = self._problem.outputs(self._solution.values)
        pairs = zip(self._problem.targets, outputs, strict=True)
        residuals = one_or_tuple([t - y for t, y in pairs])
        return labelled_like(self._given, residuals, columns=True)

    @property
    def chi_squared(self) -> float:
        """χ², the sum of the squares of (t − f)/σ and of the priors; without σ, of t − f."""
        return float(self._solution.residuals @ self._solution.residuals)

    @property
    def degrees_of_freedom(self) -> int:
        """The number of data and priors, minus the rank."""
        return self._problem.count - self.rank

    @property
    def reduced_chi_squared(self) -> float:
        """χ² per degree of freedom: about 1 if model and deviations are right."""
        freedom = self.degrees_of_freedom
        return self.chi_squared / freedom if freedom else math.nan

    @property
    def p_value(self) -> float:
        """The probability of a larger χ² by chance; NaN if no deviations were given."""
        if not self._problem.noise.is_known or not self.degrees_of_freedom:
            return math.nan
        stats = required("scipy.stats", "the p-value needs")
        return float(stats.chi2.sf(self.chi_squared, self.degrees_of_freedom))

    @property
    def has_absolute_errors(self) -> bool:
        """Whether deviations were given; if not, errors are scaled by the reduced χ²."""
        return self._problem.noise.is_known

    @property
    def _scale(self) -> float:
        """s: √(χ² per degree of freedom), or 1 if the deviations are known."""
        if self.has_absolute_errors:
            return 1.0
        freedom = self.degrees_of_freedom
        return math.sqrt(2 * self._solution.cost / freedom) if freedom else math.inf

    # ------------------------------------------------------------------------- bands

    @keeps_labels
    def band(self, x: Any, probability: float = 0.95) -> Any:
        """Where the curve f(x; θ) lies with this probability, at each x separately.

        Parameters
        ----------
        x
            Inputs as for the model; a tuple for several inputs.
        probability
            Between 0 and 1.

        Returns
        -------
        lower, upper
            Arrays with the shape of the output, with the labels of x if it is a table; tuples for
            several outputs.
        """
        return self._band(x, probability, None)

    @keeps_labels
    def prediction_band(self, x: Any, probability: float = 0.95, deviations: Any = None) -> Any:
        """Where one more measurement at x lies with this probability.

        Parameters
        ----------
        x, probability
            As in `band`.
        deviations
            σ of the new measurements, which broadcasts to the output. By default that of the
            data, if it was the same for all rows or was not given.
        """
        noise = self._problem.noise
        if deviations is not None:
            parts = parts_of(deviations, len(self._problem.targets))
        elif not noise.is_known:
            parts = (np.array(self._scale),) * len(self._problem.targets)
        else:
            parts = tuple(noise.common)
        if any(part is None for part in parts):
            raise ConfigurationError(
                "prediction_band: the errors of measurements at x are not known",
                expected="deviations=…, as those of the data differ from row to row",
                received=shortened(deviations),
                hint="band(x) is where the curve lies, without the error of a measurement",
            )
        return self._band(x, probability, parts)

    def _band(self, x: Any, probability: float, noise: tuple[Any, ...] | None) -> Any:
        inputs = input_checks.as_inputs(self.model, as_tuple(x))
        lower, upper, z = [], [], self._quantile(probability)
        outputs, columns = self._problem.curve(self._solution.values, inputs)
        for number, (y, gradient) in enumerate(zip(outputs, columns, strict=True)):
            variance = self._spread.variances(gradient.astype(float)) * self._scale**2
            if noise is not None:
                variance = variance + np.square(of_one(noise[number], y))
            half = z * np.sqrt(variance)
            lower.append(y - half)
            upper.append(y + half)
        return one_or_tuple(lower), one_or_tuple(upper)

    def _quantile(self, probability: float) -> float:
        """The z such that a normal, or Student's, variable is within ±z with this probability."""
        if not 0 < probability < 1:
            raise ConfigurationError(
                "the probability is invalid",
                expected="a number between 0 and 1, such as 0.95",
                received=shortened(probability),
            )
        stats = required("scipy.stats", "bands need")
        tail = (1 + probability) / 2
        if self.has_absolute_errors:
            return float(stats.norm.ppf(tail))
        freedom = self.degrees_of_freedom
        return float(stats.t.ppf(tail, freedom)) if freedom else math.inf

    # ------------------------------------------------------------------------- for people

    def profile(self, path: str, probability: float = 0.68268949, entry: int = 0) -> Profile:
        """The likelihood profile of one parameter: χ² with it fixed and all others fitted again.

        The interval ends where χ² has risen by z² (by s² z² if no deviations were given). It may be
        asymmetric, and does not assume that the model is nearly linear.

        Parameters
        ----------
        path
            The parameter.
        probability
            Of the interval; by default that of one standard deviation.
        entry
            The index of the number, if the parameter has several.

        Returns
        -------
        Profile
            ``.lower``, ``.upper``, and the curve: ``.values``, ``.chi_squared``.
        """
        from chainrule.fitting.profile import profile

        return profile(self, path, probability, entry)

    def report(self) -> Report:
        """Values, errors and quality as a table: ``print(fit.report())``, HTML in a notebook.

        ``fit.report().latex()`` is a table for an article.
        """
        from chainrule.fitting.report import Report

        return Report(self)

    def plot(self, probability: float = 0.95) -> Any:
        """Data, model and its band, with the residuals below, for a model of one number x.

        Returns
        -------
        matplotlib.figure.Figure
            Save it with ``.savefig("fit.png")``.
        """
        from chainrule.fitting.drawing import draw

        return draw(self, probability)

    def __repr__(self) -> str:
        return str(self.report())

    def _repr_html_(self) -> str:
        return self.report()._repr_html_()
