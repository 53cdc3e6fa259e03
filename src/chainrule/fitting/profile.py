"""The likelihood profile of one parameter: how χ² rises when it is fixed beside its best value.

    χ²_k(θ_k) = min over all other θ        interval:  χ²_k ≤ χ²_min + z² s²

For a model that is linear in its parameters, χ²_k is a parabola and the interval θ_k ± z σ_k. A
curved model gives an asymmetric interval, or one that is open to one side: the data then set
only a limit.

Source: D. M. Bates and D. G. Watts, *Nonlinear Regression Analysis*, Wiley 1988, chapter 6.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from attrs import frozen

from chainrule.core.errors import ConfigurationError, ConvergenceError
from chainrule.core.extras import required
from chainrule.core.terminal import printable
from chainrule.fitting.arguments import window
from chainrule.fitting.estimate import written
from chainrule.fitting.problem import Problem
from chainrule.fitting.solver import solve

if TYPE_CHECKING:
    from chainrule.fitting.fit import Fit

REACH = 30
"""How many standard errors from the best value an end of the interval is looked for."""


@frozen(eq=False, repr=False)
class Profile:
    """The interval of one parameter, and χ² along it.

    Attributes
    ----------
    path : str
        The parameter.
    value : float
        Its best value.
    lower, upper : float
        The ends of the interval; infinite if χ² does not rise enough on that side.
    probability : float
        That of the interval.
    values, chi_squared : ndarray
        The values that were tried, in ascending order, and χ² minimised over all others there.
    """

    path: str
    value: float
    lower: float
    upper: float
    probability: float
    values: Any
    chi_squared: Any

    @printable
    def __repr__(self) -> str:
        below, above = self.value - self.lower, self.upper - self.value
        least = 1e-12 * abs(self.value)  # at a bound, rounding may remain
        below, above = (side if side > least else 0.0 for side in (below, above))
        finite = [side for side in (below, above) if side and math.isfinite(side)]
        number = written(self.value, min(finite) if finite else math.inf)[0]
        upper, lower = (written(self.value, side)[1] for side in (above, below))
        return f"{self.path} = {number} +{upper} −{lower} ({self.probability:.4g})"


def profile(fit: Fit, path: str, probability: float, entry: int) -> Profile:
    """The profile of one entry of a parameter."""
    where = window(fit._parameters, path, "profile")
    index = where.start + entry
    problem, best = fit._problem, fit._solution
    error = float(fit.standard_errors[index]) if 0 <= entry < where.stop - where.start else 0.0
    if not error or not math.isfinite(error):
        raise ConfigurationError(
            f"profile: {path!r} has none",
            expected="a free parameter that the data determine, and an entry that it has",
            received=f"entry {entry}, with the standard error {error:g}",
            hint="freeze one of the parameters in fit.undetermined, or add data"
            if fit.undetermined
            else "give deviations: there are as many parameters as data"
            if math.isinf(error)
            else None,
        )
    place = int(np.flatnonzero(problem.free == index)[0])
    rise = (fit._quantile(probability) * fit._scale) ** 2 / 2  # of the cost ½ χ²
    others = _Others(problem, place)
    centre, found = float(best.values[place]), {float(best.values[place]): 2 * best.cost}
    settings = attrs.evolve(
        fit._settings, low=np.delete(fit._settings.low, place),
        high=np.delete(fit._settings.high, place),
    )  # fmt: skip
    ends = []
    for sign in (-1.0, 1.0):
        others.at = np.delete(best.values, place)
        slope = fit._spread.covariance[place] / fit._spread.covariance[place, place]
        tangent = np.delete(slope, place)
        limit = (fit._settings.low if sign < 0 else fit._settings.high)[place]

        def excess(value: float, tangent: Any = tangent, rise: float = rise) -> float:
            guess = np.delete(best.values, place) + tangent * (value - centre)
            cost = others.cost(value, guess, settings)
            found[value] = 2 * cost
            if cost < best.cost - 1e-3 * rise:
                raise ConvergenceError(
                    f"profile: there is a lower minimum at {path} = {value:.6g}",
                    expected=f"χ² of at least {2 * best.cost:.6g}",
                    received=f"{2 * cost:.6g}",
                    hint=f"fit again from there: start={{{path!r}: {value:.6g}}}",
                )
            return cost - best.cost - rise

        ends.append(_end(excess, centre, sign, error * math.sqrt(2 * rise) / fit._scale, limit))
    values = np.array(sorted(found))
    squares = np.array([found[value] for value in values])
    return Profile(path, centre, ends[0], ends[1], probability, values, squares)


def _end(excess: Any, centre: float, sign: float, step: float, limit: float) -> float:
    """Where χ² has risen by the right amount on one side."""
    inner, outer = centre, centre + sign * step
    while True:
        outer = max(outer, limit) if sign < 0 else min(outer, limit)
        if excess(outer) > 0:
            break
        if outer == limit or abs(outer - centre) > REACH * step:
            return limit if outer == limit else sign * math.inf
        inner, outer = outer, centre + 1.6 * (outer - centre)
    brentq = required("scipy.optimize", "profiles need").brentq
    if inner == centre:  # where the excess is known, but its slope is zero
        inner = centre + 0.05 * (outer - centre)
        if excess(inner) > 0:
            inner = centre
    return float(brentq(excess, inner, outer, xtol=1e-6 * step, rtol=1e-12))


class _Others:
    """The problem for all parameters but one."""

    def __init__(self, problem: Problem, place: int) -> None:
        self._problem, self._place = problem, place
        self._value = 0.0
        self.at: Any = None

    def cost(self, value: float, guess: Any, settings: Any) -> float:
        """The lowest ½ χ² with the parameter at this value."""
        self._value = value
        if not len(guess):
            return float(np.sum(np.square(self.residuals(guess))) / 2)
        guess = np.clip(guess, settings.low, settings.high)
        if not np.all(np.isfinite(self.residuals(guess))):
            guess = self.at
        solution = solve(self, guess, settings)
        self.at = solution.values
        return solution.cost

    def residuals(self, others: Any) -> Any:
        """As `Problem.residuals`."""
        return self._problem.residuals(np.insert(others, self._place, self._value))

    def jacobian(self, others: Any) -> Any:
        """As `Problem.jacobian`."""
        full = np.insert(others, self._place, self._value)
        return np.delete(self._problem.jacobian(full), self._place, axis=1)
