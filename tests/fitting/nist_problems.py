"""The nonlinear regression problems of NIST's Statistical Reference Datasets (StRD).

The files in ``nist/`` are NIST's own, works of the United States government in the public domain:
https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml. Each has data, two starting points and the
certified values and standard deviations, computed with 128-bit arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

DATA = Path(__file__).parent / "nist"

pi = np.pi


def gauss(x, b1, b2, b3, b4, b5, b6, b7, b8):
    """A decay and two peaks."""
    peaks = b3 * np.exp(-(((x - b4) / b5) ** 2)) + b6 * np.exp(-(((x - b7) / b8) ** 2))
    return b1 * np.exp(-b2 * x) + peaks


def lanczos(x, b1, b2, b3, b4, b5, b6):
    """Three decays."""
    return b1 * np.exp(-b2 * x) + b3 * np.exp(-b4 * x) + b5 * np.exp(-b6 * x)


def cubic_ratio(x, b1, b2, b3, b4, b5, b6, b7):
    """A ratio of two cubic polynomials."""
    return (b1 + b2 * x + b3 * x**2 + b4 * x**3) / (1 + b5 * x + b6 * x**2 + b7 * x**3)


def chwirut(x, b1, b2, b3):
    """A decay with a rational prefactor."""
    return np.exp(-b1 * x) / (b2 + b3 * x)


def enso(x, b1, b2, b3, b4, b5, b6, b7, b8, b9):
    """A year and two unknown periods."""
    year = b2 * np.cos(2 * pi * x / 12) + b3 * np.sin(2 * pi * x / 12)
    first = b5 * np.cos(2 * pi * x / b4) + b6 * np.sin(2 * pi * x / b4)
    return b1 + year + first + b8 * np.cos(2 * pi * x / b7) + b9 * np.sin(2 * pi * x / b7)


MODELS: dict[str, Callable[..., Any]] = {
    "Misra1a": lambda x, b1, b2: b1 * (1 - np.exp(-b2 * x)),
    "Chwirut2": chwirut,
    "Chwirut1": chwirut,
    "Lanczos3": lanczos,
    "Gauss1": gauss,
    "Gauss2": gauss,
    "DanWood": lambda x, b1, b2: b1 * x**b2,
    "Misra1b": lambda x, b1, b2: b1 * (1 - (1 + b2 * x / 2) ** -2),
    "Kirby2": lambda x, b1, b2, b3, b4, b5: (b1 + b2 * x + b3 * x**2) / (1 + b4 * x + b5 * x**2),
    "Hahn1": cubic_ratio,
    "Nelson": lambda x, b1, b2, b3: b1 - b2 * x[:, 0] * np.exp(-b3 * x[:, 1]),
    "MGH17": lambda x, b1, b2, b3, b4, b5: b1 + b2 * np.exp(-b4 * x) + b3 * np.exp(-b5 * x),
    "Lanczos1": lanczos,
    "Lanczos2": lanczos,
    "Gauss3": gauss,
    "Misra1c": lambda x, b1, b2: b1 * (1 - (1 + 2 * b2 * x) ** -0.5),
    "Misra1d": lambda x, b1, b2: b1 * b2 * x / (1 + b2 * x),
    "Roszman1": lambda x, b1, b2, b3, b4: b1 - b2 * x - np.arctan(b3 / (x - b4)) / pi,
    "ENSO": enso,
    "MGH09": lambda x, b1, b2, b3, b4: b1 * (x**2 + b2 * x) / (x**2 + b3 * x + b4),
    "Thurber": cubic_ratio,
    "BoxBOD": lambda x, b1, b2: b1 * (1 - np.exp(-b2 * x)),
    "Rat42": lambda x, b1, b2, b3: b1 / (1 + np.exp(b2 - b3 * x)),
    "MGH10": lambda x, b1, b2, b3: b1 * np.exp(b2 / (x + b3)),
    "Eckerle4": lambda x, b1, b2, b3: b1 / b2 * np.exp(-0.5 * ((x - b3) / b2) ** 2),
    "Rat43": lambda x, b1, b2, b3, b4: b1 / (1 + np.exp(b2 - b3 * x)) ** (1 / b4),
    "Bennett5": lambda x, b1, b2, b3: b1 * (b2 + x) ** (-1 / b3),
}
"""The 27 models, from NIST's easy ones to the hard ones."""


@frozen(eq=False)
class Problem:
    """Data, starting points, and what NIST certifies."""

    name: str
    x: Any
    y: Any
    starts: Any
    """(2, parameters)"""
    values: Any
    deviations: Any
    squares: float
    """The residual sum of squares."""

    @property
    def model(self) -> Callable[..., Any]:
        """f(x, b1, b2, …)."""
        return MODELS[self.name]


def problem(name: str) -> Problem:
    """Read one problem."""
    lines = (DATA / f"{name}.dat").read_text(encoding="ascii").splitlines()
    rows = [line.split("=")[1].split() for line in lines[40:] if line.strip().startswith("b")]
    table = np.array(rows, float)
    (squares,) = [line.split(":")[1] for line in lines if "Sum of Squares:" in line]
    data = np.array([line.split() for line in lines[60:] if line.strip()], float)
    x, y = np.squeeze(data[:, 1:], axis=1) if data.shape[1] == 2 else data[:, 1:], data[:, 0]
    if name == "Nelson":
        y = np.log(y)
    return Problem(name, x, y, table[:, :2].T, table[:, 2], table[:, 3], float(squares))
