"""The types that all of chainrule speaks of: arrays, and the shapes of their rows."""

from __future__ import annotations

from typing import Any, TypeAlias

Array: TypeAlias = Any
"""An ndarray, or anything that NumPy's functions accept as one: a `Dual`, a GPU array, a tracer."""

Shape: TypeAlias = tuple[int, ...]
"""The shape of an array, or of one row of a batch: then without the batch axis."""
