"""Standard errors against a parametric bootstrap and against `scipy.optimize.curve_fit`.

For five problems: the covariance matrix gives the errors of one fit. The bootstrap asks how much
the parameters really vary: it simulates 1,000 further experiments with the fitted curve and the
given σ, and fits each. The two agree as far as the model is linear over the size of the errors, and
as 1,000 samples tell a standard deviation, to 2.2 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import curve_fit

from chainrule import fitting
from studies._five_fits import CASES, Case

TOLERANCE = 1e-3
REFITS = 1000


def run() -> dict[str, Any]:
    return {case.name: _compared(case, seed) for seed, case in enumerate(CASES)}


def _compared(case: Case, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    noise = case.deviations * rng.normal(size=case.x.size)
    t = case.curve + noise
    model = fitting.curve(case.formula, case.truth)
    fit = fitting.least_squares(model, case.x, t, case.deviations)
    best, curve = fit.values, model(case.x)
    refits = []
    for _ in range(REFITS):
        again = curve + case.deviations * rng.normal(size=case.x.size)
        refits.append(fitting.least_squares(model, case.x, again, case.deviations, best).values)
    values, covariance = curve_fit(
        case.formula, case.x, t, list(case.truth.values()), case.deviations,
        absolute_sigma=True, xtol=1e-14, ftol=1e-14, gtol=1e-14,
    )  # fmt: skip
    model.parameters.value = best
    intervals = [fit.profile(path) for path in case.truth]
    return {
        "parameters": list(case.truth),
        "values": best.tolist(),
        "standard errors": fit.standard_errors.tolist(),
        "bootstrap": np.std(refits, axis=0, ddof=1).tolist(),
        "curve_fit": np.sqrt(np.diag(covariance)).tolist(),
        "largest difference of values": float(np.abs((values - best) / fit.standard_errors).max()),
        "profile below": [p.value - p.lower for p in intervals],
        "profile above": [p.upper - p.value for p in intervals],
    }
