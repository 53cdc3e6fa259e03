"""Clipping: a gradient that is too long, or has numbers that are too large, is cut down first.

    by value    g_i ← min(max(g_i, −v), v)
    by norm     g ← g min(1, c / (‖g‖ + 10⁻⁶))

The gradient itself stays as it is: what a rule is to see of a chunk is written into a row beside
it. Chunks are needed because only the norm is of the whole vector.

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
"""What is added to a norm, as PyTorch does, so that it is never divided by zero."""


def clipped(gradient: Array, limit: float | None, factor: float, row: Array) -> Array:
    """A chunk of the gradient as the rule shall see it: in ``row``, or itself if nothing changes.

    Parameters
    ----------
    gradient
        The chunk.
    limit
        v, or None.
    factor
        What `factor_for` has found for the whole gradient, or 1.
    row
        As long as the chunk, or longer.
    """
    if limit is not None:
        row = row[: gradient.size]
        np.minimum(gradient, limit, out=row)
        gradient = np.maximum(row, -limit, out=row)
    if factor != 1:  # as NaN is
        gradient = np.multiply(gradient, factor, out=row[: gradient.size])
    return gradient


def factor_for(longest: float, norm: float) -> float:
    """What a gradient of this norm is multiplied with, so that it is not longer than allowed."""
    factor = longest / (norm + SMALL)
    return 1.0 if factor > 1 else factor  # not min(): NaN stays NaN


def norm_of(
    gradient: Array,
    parts: Sequence[ParameterSlice] | None,
    limit: float | None,
    row: Array,
    squares: Array,
) -> float:
    """‖g‖, of what clipping by value leaves of the parts of g that move.

    Parameters
    ----------
    gradient, parts, limit
        The whole gradient, its parts (None is all of it), and v or None.
    row, squares
        As long as a chunk, to work in; the sum is of the type of ``squares``.
    """
    # Not a dot product: the order of its sum may depend on the number of threads.
    total = 0.0
    for chunk, _ in chunks(parts, gradient.size):  # however they are cut
        seen = clipped(gradient[chunk], limit, 1.0, row)
        held = squares[: seen.size]
        np.copyto(held, seen)
        total += float(np.square(held, out=held).sum())
    return math.sqrt(total)
