"""The types that all of chainrule speaks of: arrays, and the shapes of their rows."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

Array: TypeAlias = Any
"""An ndarray, or anything that NumPy's functions accept as one: a `Dual`, a GPU array, a tracer."""

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
"""The arrays of a parameter, for type checkers: float32 or float64."""

Shape: TypeAlias = tuple[int, ...]
"""The shape of an array, or of one row of a batch: then without the batch axis."""


@runtime_checkable
class SuggestsUse(Protocol):
    """An object that knows how it is meant to be used.

    Where it is given as an argument that cannot take it, the error quotes this as its hint.
    """

    @property
    def suggested_use(self) -> str:
        """Such as ``callbacks.LearningRate(Cosine(…))``."""
