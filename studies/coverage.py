"""How often 95 % bands and intervals contain the truth, in 1,000 simulated experiments.

For each of five problems, data are drawn from the true curve 1,000 times and fitted. A band of 95 %
should contain the true curve at a point in 95 % of the experiments; counting 1,000 of them has an
error of 0.7 %. Half of the experiments know σ; the other half estimate it from the residuals.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import fitting
from studies._five_fits import CASES, Case

TOLERANCE = 5e-3
EXPERIMENTS = 1000


def run() -> dict[str, Any]:
    return {case.name: _covered(case, seed) for seed, case in enumerate(CASES)}


def _covered(case: Case, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(100 + seed)
    model = fitting.curve(case.formula, case.truth)
    truth, places = np.array(list(case.truth.values())), case.x[1 :: max(case.x.size // 5, 1)]
    curve = case.formula(places, *truth)
    # Without deviations all rows count equally, which is right if they are equally uncertain.
    is_even = np.ptp(case.deviations) == 0
    inside: dict[str, list[Any]] = {"band": [], "parameters": [], "next measurement": []}
    for number in range(EXPERIMENTS):
        t = case.curve + case.deviations * rng.normal(size=case.x.size)
        known = None if is_even and number % 2 else case.deviations
        fit = fitting.least_squares(model, case.x, t, known, truth)
        lower, upper = fit.band(places)
        inside["band"].append((lower <= curve) & (curve <= upper))
        reach = fit._quantile(0.95) * fit.standard_errors
        inside["parameters"].append(np.abs(fit.values - truth) <= reach)
        sigma = np.interp(places, case.x, case.deviations)
        following = curve + sigma * rng.normal(size=places.size)
        lower, upper = fit.prediction_band(places, deviations=None if known is None else sigma)
        inside["next measurement"].append((lower <= following) & (following <= upper))
    return {name: float(100 * np.mean(each)) for name, each in inside.items()} | {
        "band at each x": (100 * np.mean(inside["band"], axis=0)).tolist()
    }
