"""Fits of NIST's regression problems, against SciPy with a Jacobian that was written by hand.

    ratio of a round = (time of `fitting.least_squares`)/(time of `scipy.optimize.least_squares`)

Both solve the same problems from NIST's second start, with MINPACK's "lm" and the same tolerances.
chainrule gets the formula alone and derives the Jacobian; its time includes the covariance matrix
and the checks of the data. SciPy gets two functions, as a careful person would write them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quartiles import Quartiles

BOUND = 1.5
"""The largest ratio, for all problems together."""
DATA = Path(__file__).parent.parent / "tests" / "fitting" / "nist"
TOGETHER = "all together"


def misra1a(x: Any, b1: Any, b2: Any) -> Any:
    return b1 * (1 - np.exp(-b2 * x))


def misra1a_jacobian(x: Any, b1: float, b2: float) -> list[Any]:
    e = np.exp(-b2 * x)
    return [1 - e, b1 * x * e]


def rat42(x: Any, b1: Any, b2: Any, b3: Any) -> Any:
    return b1 / (1 + np.exp(b2 - b3 * x))


def rat42_jacobian(x: Any, b1: float, b2: float, b3: float) -> list[Any]:
    e = np.exp(b2 - b3 * x)
    y = 1 / (1 + e)
    slope = b1 * e * y * y
    return [y, -slope, slope * x]


def chwirut(x: Any, b1: Any, b2: Any, b3: Any) -> Any:
    return np.exp(-b1 * x) / (b2 + b3 * x)


def chwirut_jacobian(x: Any, b1: float, b2: float, b3: float) -> list[Any]:
    d = b2 + b3 * x
    y = np.exp(-b1 * x) / d
    slope = -y / d
    return [-x * y, slope, slope * x]


def hahn1(x: Any, b1: Any, b2: Any, b3: Any, b4: Any, b5: Any, b6: Any, b7: Any) -> Any:
    return (b1 + b2 * x + b3 * x**2 + b4 * x**3) / (1 + b5 * x + b6 * x**2 + b7 * x**3)


def hahn1_jacobian(x: Any, *b: float) -> list[Any]:
    x2, x3 = x**2, x**3
    d = 1 / (1 + b[4] * x + b[5] * x2 + b[6] * x3)
    slope = -(b[0] + b[1] * x + b[2] * x2 + b[3] * x3) * d * d
    return [d, x * d, x2 * d, x3 * d, slope * x, slope * x2, slope * x3]


def gauss(x: Any, b1: Any, b2: Any, b3: Any, b4: Any, b5: Any, b6: Any, b7: Any, b8: Any) -> Any:
    peaks = b3 * np.exp(-(((x - b4) / b5) ** 2)) + b6 * np.exp(-(((x - b7) / b8) ** 2))
    return b1 * np.exp(-b2 * x) + peaks


def gauss_jacobian(x: Any, *b: float) -> list[Any]:
    e = np.exp(-b[1] * x)
    columns = [e, -b[0] * x * e]
    for height, centre, width in (b[2:5], b[5:8]):
        z = (x - centre) / width
        e = np.exp(-z * z)
        slope = 2 * height * e * z / width
        columns += [e, slope, slope * z]
    return columns


PROBLEMS: dict[str, tuple[Callable[..., Any], Callable[..., list[Any]]]] = {
    "Misra1a": (misra1a, misra1a_jacobian),
    "Rat42": (rat42, rat42_jacobian),
    "Chwirut2": (chwirut, chwirut_jacobian),
    "Hahn1": (hahn1, hahn1_jacobian),
    "Gauss1": (gauss, gauss_jacobian),
}


def measure(rounds: int) -> dict[str, Quartiles]:
    """The ratio for each problem, and for all together."""
    pairs = {name: _both(name) for name in PROBLEMS}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in pairs}
    for number in range(rounds + 1):
        for name, pair in pairs.items():
            taken = tuple([_seconds(work) for work in pair])
            if number:  # the first round fills the caches
                times[name].append(taken)  # type: ignore[arg-type]
    found = {name: Quartiles.of([ours / by for ours, by in each]) for name, each in times.items()}
    sums = np.sum(list(times.values()), axis=0)
    return found | {TOGETHER: Quartiles.of((sums[:, 0] / sums[:, 1]).tolist())}


def _both(name: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The fit by chainrule, and by SciPy."""
    from scipy.optimize import least_squares

    from chainrule import fitting

    formula, columns = PROBLEMS[name]
    lines = (DATA / f"{name}.dat").read_text(encoding="ascii").splitlines()
    rows = [line.split("=")[1].split() for line in lines[40:] if line.strip().startswith("b")]
    start = np.array(rows, float)[:, 1]
    y, x = np.array([line.split() for line in lines[60:] if line.strip()], float).T
    model = fitting.curve(formula, start)

    def residuals(b: Any) -> Any:
        return formula(x, *b) - y

    def jacobian(b: Any) -> Any:
        return np.stack(columns(x, *b), axis=1)

    def ours() -> Any:
        return fitting.least_squares(model, x, y, start=start).standard_errors

    def by_hand() -> Any:
        tolerances = dict.fromkeys(("ftol", "xtol", "gtol"), 1e-15)
        return least_squares(residuals, start, jacobian, method="lm", x_scale="jac", **tolerances).x

    ours()
    np.testing.assert_allclose(model.parameters.value, by_hand(), rtol=1e-5)
    return ours, by_hand


def _seconds(work: Callable[[], Any], times: int = 5) -> float:
    began = time.process_time()
    for _ in range(times):
        work()
    return time.process_time() - began
