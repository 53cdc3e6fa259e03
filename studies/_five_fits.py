"""Five problems of a physics laboratory: a formula, where it was measured, and the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from attrs import frozen


@frozen(eq=False)
class Case:
    """A formula with known parameters, and how it is measured."""

    name: str
    formula: Callable[..., Any]
    x: Any
    truth: dict[str, float]
    deviations: Any
    """σ of each measurement."""

    @property
    def curve(self) -> Any:
        """f(x) with the true parameters."""
        return self.formula(self.x, *self.truth.values())


def line(x: Any, offset: float, slope: float) -> Any:
    return offset + slope * x


def decay(t: Any, amplitude: float, rate: float, background: float) -> Any:
    return amplitude * np.exp(-rate * t) + background


def peak(x: Any, height: float, centre: float, width: float, level: float, slope: float) -> Any:
    return height * np.exp(-0.5 * ((x - centre) / width) ** 2) + level + slope * x


def oscillation(t: Any, amplitude: float, damping: float, frequency: float, phase: float) -> Any:
    return amplitude * np.exp(-damping * t) * np.cos(2 * np.pi * frequency * t + phase)


def saturation(c: Any, largest: float, half: float) -> Any:
    return largest * c / (half + c)


def _cases() -> list[Case]:
    time, energy = np.linspace(0, 6, 40), np.linspace(-5, 5, 60)
    beats, dose = np.linspace(0, 4, 80), np.geomspace(0.1, 20, 14)
    current = np.linspace(0, 5, 12)
    return [
        Case("line", line, current, {"offset": 0.2, "slope": 1.5}, np.full(12, 0.15)),
        Case("decay", decay, time, {"amplitude": 100.0, "rate": 0.8, "background": 5.0},
             np.sqrt(decay(time, 100.0, 0.8, 5.0))),
        Case("peak on a slope", peak, energy,
             {"height": 10.0, "centre": 0.4, "width": 0.9, "level": 2.0, "slope": 0.1},
             np.full(60, 0.6)),
        Case("damped oscillation", oscillation, beats,
             {"amplitude": 1.0, "damping": 0.5, "frequency": 1.3, "phase": 0.4}, np.full(80, 0.1)),
        Case("saturation", saturation, dose, {"largest": 3.0, "half": 1.2},
             0.02 + 0.04 * saturation(dose, 3.0, 1.2)),
    ]  # fmt: skip


CASES = _cases()
