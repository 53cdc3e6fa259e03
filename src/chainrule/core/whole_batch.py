"""Sums over the whole batch, also where each process has some of its rows alone.

If a batch is divided among several processes (``Trainer(…, ranks=…)``), a layer whose rows affect
each other sees only its own part. What it needs of the others are sums over rows, such as

    Σ_s x_s    and    Σ_s 1        for the mean of a batch normalization

so it calls `summed` in `forward` and in `backward`, each time in the same order in all processes.
Within `divided`, the function given there adds what all of them have; otherwise `summed` returns
what it is given. Threads and deep copies elsewhere are not concerned: the context belongs to the
step of one training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from chainrule.core.types import Array

Add = Callable[[Array], Array]
"""Adds a vector of float64 over all processes."""

_ADD: ContextVar[Add | None] = ContextVar("how the parts of a batch are added", default=None)


def summed(sums: Array, count: int) -> tuple[Array, int]:
    """Sums over rows, and how many numbers they are sums of: of the whole batch."""
    add = _ADD.get()
    if add is None:
        return sums, count
    total = add(np.append(np.asarray(sums, float), float(count)))
    return np.reshape(total[:-1], sums.shape).astype(sums.dtype), int(total[-1])


@contextmanager
def divided(add: Add | None) -> Iterator[None]:
    """Within the context, the batch is divided; with None, every part is a batch by itself."""
    token = _ADD.set(add)
    try:
        yield
    finally:
        _ADD.reset(token)
