"""The solvers: SciPy's, with a second one if the first does not end at a minimum.

    θ ← θ − (Jᵀ J + λ D²)⁻¹ Jᵀ d        Levenberg and Marquardt: between Gauss–Newton and descent

"lm" is MINPACK's, which is the fastest without bounds and with least squares alone; "trf" works
with a trust region, bounds and robust losses. "lm" can run off onto a plateau, where a parameter
has no effect any more. "trf" then starts again from the beginning, and the lower χ² wins.

J. J. Moré, *The Levenberg–Marquardt algorithm*, Lecture Notes in Mathematics 630 (1978); M. A.
Branch, T. F. Coleman and Y. Li, SIAM J. Sci. Comput. 21 (1999).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from attrs import evolve, frozen

from chainrule.core.errors import ConfigurationError, ConvergenceError, NonFiniteError, shortened
from chainrule.core.extras import required
from chainrule.core.validators import is_integer, is_number
from chainrule.fitting.spread import Spread, spread_of

METHODS = ("lm", "trf", "dogbox")
SMALL_GRADIENT = 1
"""The status of a solver that ends there."""
STILL = 1e-5
"""χ² no longer falls if a round lowers it by less than this share."""
MINPACK_CONVERGED = (1, 2, 3, 4)
"""The statuses of MINPACK at a minimum."""
LOSSES = ("linear", "soft_l1", "huber", "cauchy", "arctan")


@frozen(eq=False)
class Solution:
    """Where a solver ended."""

    values: Any
    """The free parameters."""
    residuals: Any
    """d, model minus data: see `Problem`."""
    jacobian: Any
    """∂d/∂θ; with a robust loss, that of the differences as the loss weighs them."""
    cost: float
    """½ Σ ρ(d²)."""
    spread: Spread
    method: str
    evaluations: int
    has_converged: bool
    ran_out: bool
    """Whether it ended because of the number of evaluations."""
    message: str


@frozen
class Settings:
    """How to solve."""

    method: str | None
    loss: str
    loss_scale: float
    low: Any
    high: Any
    max_evaluations: int | None
    tolerance: float

    def __attrs_post_init__(self) -> None:
        needs_region = self.has_bounds or self.loss != "linear"
        if self.loss not in LOSSES:
            raise _unknown("loss", self.loss, LOSSES)
        if self.method is not None and self.method not in METHODS:
            raise _unknown("method", self.method, METHODS)
        if not is_number(self.loss_scale) or not 0 < self.loss_scale < math.inf:
            raise ConfigurationError(
                "least_squares: loss_scale is invalid",
                expected="a positive number, in deviations",
                received=shortened(self.loss_scale),
            )
        if self.max_evaluations is not None and (
            not is_integer(self.max_evaluations) or self.max_evaluations < 1
        ):
            raise ConfigurationError(
                "least_squares: max_evaluations is invalid",
                expected="an integer of at least 1",
                received=shortened(self.max_evaluations),
            )
        if self.method == "lm" and needs_region:
            raise ConfigurationError(
                'least_squares: "lm" knows neither bounds nor robust losses',
                expected='method="trf" or "dogbox", or leave it out',
                received='method="lm"',
            )

    @property
    def has_bounds(self) -> bool:
        """Whether a free parameter is bounded."""
        return bool(np.isfinite(self.low).any() or np.isfinite(self.high).any())

    @property
    def methods(self) -> tuple[str, ...]:
        """What to try, one after the other."""
        if self.method is not None:
            return (self.method,)
        return ("trf", "dogbox") if self.has_bounds or self.loss != "linear" else ("lm", "trf")


def solve(problem: Any, start: Any, settings: Settings) -> Solution:
    """The best of what the solvers find from one start.

    Parameters
    ----------
    problem
        Has ``residuals(θ)`` and ``jacobian(θ)``.

    Raises
    ------
    ConvergenceError
        None of them converged.
    NonFiniteError
        All of them arrived where the model has no finite derivative.
    """
    best: Solution | None = None
    refusal: NonFiniteError | None = None
    for method in settings.methods:
        try:
            found = _settled(problem, start, settings, method)
        except NonFiniteError as error:
            refusal = error
            continue
        if best is None or _is_better(found, best):
            best = found
        if best.has_converged and best.spread.rank == len(start):
            return best
    if best is None:
        assert refusal is not None
        raise refusal
    if not best.has_converged:
        raise ConvergenceError(
            "least_squares: the solver did not converge, and the model is as before",
            expected="a minimum of χ²",
            received=f"after {best.evaluations} evaluations: {best.message}",
            hint="choose start values closer to the data (plot the model there first), bound the "
            "parameters, or allow more: max_evaluations=10_000; for a network, stop earlier with "
            "tolerance=1e-6, or give its weights priors={path: (0, 2), …}",
        )
    return best


def _is_better(found: Solution, best: Solution) -> bool:
    if found.has_converged != best.has_converged:
        return found.has_converged
    return found.cost < best.cost * (1 - 1e-9)


def _settled(problem: Any, start: Any, settings: Settings, method: str) -> Solution:
    """Where a solver converges, or where χ² no longer falls.

    A network has directions in which χ² falls ever more slowly, and no minimum that a solver could
    reach to the last digit. So it works in rounds, and ends if a whole one changes next to nothing.
    """
    limit = settings.max_evaluations or max(3000, 300 * len(start))
    used, cost = 0, math.inf
    while True:
        size = min(limit - used, 100 + 20 * len(start))
        found = _solved(problem, start, settings, method, size)
        if used:
            found = evolve(found, evaluations=used + found.evaluations)
        used = found.evaluations
        is_still = cost - found.cost <= STILL * cost < math.inf
        if is_still and found.ran_out:
            return evolve(found, has_converged=True, message="χ² no longer falls")
        if not found.ran_out or used >= limit:
            return found
        start, cost = found.values, found.cost


def _solved(problem: Any, start: Any, settings: Settings, method: str, limit: int) -> Solution:
    # A step that goes too far may overflow; the solver then takes a shorter one.
    with np.errstate(all="ignore"):
        if method == "lm":
            found = _by_minpack(problem, start, settings.tolerance, limit)
        else:
            found = _by_region(problem, start, settings, method, limit)
    is_finite = np.isfinite(found.jac).all() and np.isfinite(found.cost)
    spread = spread_of(found.jac if is_finite else np.zeros_like(found.jac))
    has_converged = bool(is_finite and found.status > 0)
    if has_converged and method == "lm":
        has_converged = _is_minimum(found, spread, settings.tolerance)
    return Solution(
        found.x, found.fun, found.jac, float(found.cost), spread, method, int(found.nfev),
        has_converged, bool(is_finite and found.status == 0),
        found.message if is_finite else "the model is not finite there",
    )  # fmt: skip


def _by_minpack(problem: Any, start: Any, tolerance: float, limit: int) -> Any:
    """MINPACK's lmder, by `leastsq`: `least_squares` finds the same, but calls it with more steps.

    For small data these would take as long as everything else together.
    """
    optimize = required("scipy.optimize", "fitting needs")
    tolerances = dict.fromkeys(("ftol", "xtol", "gtol"), tolerance)
    x, _, info, message, status = optimize.leastsq(
        problem.residuals, start, Dfun=lambda theta: problem.jacobian(theta).T, col_deriv=True,
        full_output=True, maxfev=limit, **tolerances,
    )  # fmt: skip
    r = info["fvec"]
    return optimize.OptimizeResult(
        x=x, fun=r, jac=problem.jacobian(x), cost=r @ r / 2, nfev=info["nfev"],
        status=status if status in MINPACK_CONVERGED else 0, message=message,
    )  # fmt: skip


def _by_region(problem: Any, start: Any, settings: Settings, method: str, limit: int) -> Any:
    """A trust region, by `least_squares`; once more, from where a small gradient stopped it."""
    least_squares = required("scipy.optimize", "fitting needs").least_squares
    options: dict[str, Any] = {"method": method, "x_scale": "jac", "loss": settings.loss}
    options |= dict.fromkeys(("ftol", "xtol", "gtol"), settings.tolerance)
    evaluations = 0
    while True:
        units = Units.of(problem, start, settings)
        found = least_squares(
            units.residuals_of(problem), start / units.values, units.jacobian_of(problem),
            bounds=(settings.low / units.values, settings.high / units.values),
            f_scale=settings.loss_scale / units.residuals,
            max_nfev=max(limit - evaluations, 1), **options,
        )  # fmt: skip
        size, found = np.abs(found.fun).max(initial=0), units.undone(found)
        evaluations += int(found.nfev)
        if found.status != SMALL_GRADIENT or not 0 < size < 0.01:
            found.nfev = evaluations
            return found
        start = found.x  # the gradient was small beside that at the start, not beside itself


@frozen(eq=False)
class Units:
    """The units in which a trust region computes: θ_k = c_k u_k, d = s ρ.

    "trf" and "dogbox" compare gradient and step with numbers, whatever their units. So residuals
    are measured by those at the start, and parameters by what they change in them.
    """

    values: Any
    """c, (p,)."""
    residuals: float
    """s."""
    low: Any
    high: Any

    @classmethod
    def of(cls, problem: Any, start: Any, settings: Settings) -> Units:
        """Those for a start at which the residuals are finite."""
        values = np.ones(len(start))
        largest = float(np.abs(problem.residuals(start)).max(initial=0)) or 1.0
        lengths = np.linalg.norm(problem.jacobian(start) / largest, axis=0)
        is_usable = np.isfinite(lengths) & (lengths > 0)
        values[is_usable] /= lengths[is_usable]
        return cls(values, largest, settings.low, settings.high)

    def theta(self, u: Any) -> Any:
        """θ, which rounding does not move out of its bounds."""
        return np.clip(u * self.values, self.low, self.high)

    def residuals_of(self, problem: Any) -> Any:
        """The function ρ(u)."""
        return lambda u: problem.residuals(self.theta(u)) / self.residuals

    def jacobian_of(self, problem: Any) -> Any:
        """The function ∂ρ/∂u."""
        return lambda u: problem.jacobian(self.theta(u)) * (self.values / self.residuals)

    def undone(self, found: Any) -> Any:
        """A result of SciPy in the units of the caller."""
        found.x = self.theta(found.x)
        found.fun = found.fun * self.residuals
        found.jac = found.jac * (self.residuals / self.values)
        found.cost = found.cost * self.residuals**2
        return found


def _is_minimum(found: Any, spread: Spread, tolerance: float) -> bool:
    """Whether no step that the Jacobian allows would make the residuals much smaller.

    The Gauss–Newton step changes the residuals by their projection onto the columns of J, which is
    zero at a minimum. Bates and Watts, *Nonlinear Regression Analysis*, Wiley 1988, call it the
    relative offset.
    """
    change = found.jac @ (spread.factor @ (spread.factor.T @ (found.jac.T @ found.fun)))
    size, least = change @ change, tolerance
    if size <= max(1e-8, least) * (found.fun @ found.fun):
        return True
    reach = np.abs(found.jac) @ np.abs(found.x)  # if the fit is exact, rounding remains
    return bool(size <= least * (reach @ reach))


def _unknown(argument: str, received: Any, known: tuple[str, ...]) -> ConfigurationError:
    return ConfigurationError(
        f"least_squares: unknown {argument}",
        expected=", ".join(map(repr, known)),
        received=shortened(received),
    )
