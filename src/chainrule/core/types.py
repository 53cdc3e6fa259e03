"""The types that all of chainrule uses: arrays, and the shapes of their rows."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

Array: TypeAlias = Any
"""An ndarray, or anything that NumPy's functions accept as one: a `Dual`, a GPU array, a tracer."""

FloatArray: TypeAlias = np.ndarray[Any, np.dtype[np.floating[Any]]]
"""An array of float32 or float64, as type checkers see the arrays of a parameter."""

Shape: TypeAlias = tuple[int, ...]
"""The shape of an array, or of one row of a batch, without the batch axis."""


RowPattern: TypeAlias = tuple[Any, ...]
"""A shape of rows in which None is an axis of any size, and ``...`` any number of axes."""


@runtime_checkable
class SuggestsUse(Protocol):
    """An object that says how to use it.

    If it is passed as an argument of the wrong kind, the error shows this as its hint.
    """

    @property
    def suggested_use(self) -> str:
        """Such as ``callbacks.LearningRate(Cosine(…))``."""
