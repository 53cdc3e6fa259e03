"""The summary of many rounds: median and quartiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Quartiles:
    """The median and the two values between which the middle half of the rounds lies."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: npt.ArrayLike) -> Quartiles:
        low, middle, high = np.percentile(np.asarray(values, float), [25, 50, 75])
        return cls(float(low), float(middle), float(high))
