"""An inverse problem: the diffusivity of a rod and its initial temperature, from noisy sensors.

    ∂u/∂t = κ ∂²u/∂x²,   u(0, t) = u(1, t) = 0,   u(x, 0) = 4 A x (1 − x)
    u(x, t) = Σ_n 32 A/(nπ)³ sin(nπx) exp(−κ n²π² t),   n odd

Eight sensors measure at ten times, with noise of known deviation. In 1,000 simulated experiments,
how often do the intervals of ±1 and ±1.96 standard errors contain the true κ and A?
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import Formula, fitting

TOLERANCE = 1e-6
KAPPA, AMPLITUDE, NOISE, EXPERIMENTS = 0.12, 3.0, 0.05, 1000
ORDERS = np.arange(1, 40, 2)


class Rod(Formula):
    """Rows (x, t): the temperature there and then."""

    def build(self, input_shape: Any) -> None:
        self.diffusivity = self.parameter("diffusivity", (), 0.2)
        self.amplitude = self.parameter("amplitude", (), 1.0)

    def forward(self, rows: Any) -> Any:
        x, t = rows[:, :1], rows[:, 1:]
        decay = np.exp(-self.diffusivity.value * (ORDERS * np.pi) ** 2 * t)
        waves = 32 / (ORDERS * np.pi) ** 3 * np.sin(ORDERS * np.pi * x)
        return self.amplitude.value * np.sum(waves * decay, axis=1)


def run() -> dict[str, Any]:
    """Means and coverages for both parameters."""
    x, t = np.meshgrid(np.linspace(0.1, 0.9, 8), np.linspace(0.05, 1.0, 10))
    rows = np.stack([x.ravel(), t.ravel()], axis=1)
    truth = np.array([KAPPA, AMPLITUDE])
    rod = Rod()
    rod.build((2,))
    rod.parameters.value = truth
    exact, rng = rod(rows), np.random.default_rng(0)
    scores, errors, chi = [], [], []
    for _ in range(EXPERIMENTS):
        data = exact + rng.normal(scale=NOISE, size=exact.shape)
        fit = fitting.least_squares(rod, rows, data, NOISE, start=[0.2, 1.0])
        scores.append((fit.values - truth) / fit.standard_errors)
        errors.append(fit.standard_errors)
        chi.append(fit.reduced_chi_squared)
    scores = np.abs(scores)
    return {
        "standard errors": np.mean(errors, axis=0).tolist(),
        "within one": np.mean(scores < 1, axis=0).tolist(),
        "within 1.96": np.mean(scores < 1.96, axis=0).tolist(),
        "reduced chi squared": float(np.mean(chi)),
    }
