"""Clipping: a gradient that is too long, or has components that are too large, is reduced first.

    by value    g_i ← min(max(g_i, −v), v)
    by norm     g ← g min(1, c / (‖g‖ + 10⁻⁶))

The gradient itself does not change: the clipped copy of each chunk is written into a scratch row.
Clipping works chunk by chunk; only the norm needs the whole vector.

Source: R. Pascanu, T. Mikolov and Y. Bengio, *On the difficulty of training recurrent neural
networks*, ICML 2013, arXiv:1211.5063, Algorithm 1, for the norm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from chainrule.core.types import Array
from chainrule.optimizers.slices import ParameterSlice, chunks

SMALL = 1e-6
"""Added to a norm, as in PyTorch, so that the divisor is never zero."""


def clipped(gradient: Array, limit: float | None, factor: float, row: Array) -> Array:
    """The clipped chunk of the gradient, in ``row``; the chunk itself if nothing changes.

    Parameters
    ----------
    gradient
        The chunk.
    limit
        v, or None.
    factor
        The result of `factor_for` for the whole gradient, or 1.
    row
        Scratch memory, at least as long as the chunk.
    """
    if limit is not None:
        row = row[: gradient.size]
        np.minimum(gradient, limit, out=row)
        gradient = np.maximum(row, -limit, out=row)
    if factor != 1:  # true for NaN, too
        gradient = np.multiply(gradient, factor, out=row[: gradient.size])
    return gradient


def factor_for(longest: float, norm: float) -> float:
    """The factor that shortens a gradient of this norm to the allowed length; 1 if it fits."""
    factor = longest / (norm + SMALL)
    return 1.0 if factor > 1 else factor  # not min(): NaN stays NaN


def norm_of(
    gradient: Array,
    slices: Sequence[ParameterSlice] | None,
    limit: float | None,
    row: Array,
    squares: Array,
) -> float:
    """‖g‖ of the slices of g that move, after clipping by value.

    Parameters
    ----------
    gradient, slices, limit
        The whole gradient, the slices that move (None means all of it), and v or None.
    row, squares
        Scratch memory, as long as a chunk; the sum has the dtype of ``squares``.
    """
    # Not a dot product: the order of its sum may depend on the number of threads.
    total = 0.0
    for chunk, _ in chunks(slices, gradient.size):
        clipped_chunk = clipped(gradient[chunk], limit, 1.0, row)
        squared = squares[: clipped_chunk.size]
        np.copyto(squared, clipped_chunk)
        total += float(np.square(squared, out=squared).sum())
    return math.sqrt(total)
