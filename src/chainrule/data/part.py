"""Part: which rows of a batch one of several processes computes.

A batch of n rows is divided among N processes in contiguous parts of ⌊n/N⌋ rows or one more, those
with one more first. If n < N, the last parts are empty.
"""

from __future__ import annotations

import numpy as np
from attrs import frozen

from chainrule.core.types import Array


@frozen
class Part:
    """The part of one process.

    Attributes
    ----------
    rank
        The number of the process, from 0 to size − 1.
    size
        The number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_whole(self) -> bool:
        """Whether the batch is not divided."""
        return self.size == 1

    def of(self, rows: int) -> slice:
        """Its rows of a batch that has so many."""
        each, more = divmod(rows, self.size)
        start = self.rank * each + min(self.rank, more)
        return slice(start, start + each + (self.rank < more))

    def own(self, first: int, count: int, batch_size: int, samples: int) -> Array:
        """Whether each of ``count`` samples of an epoch, from number ``first`` on, is in the part.

        The epoch has ``samples`` samples in batches of ``batch_size``; the last one may be smaller.
        """
        batch, row = np.divmod(np.arange(first, first + count), batch_size)
        whole = self.of(batch_size)
        last = self.of(samples - samples // batch_size * batch_size)
        is_last = batch == samples // batch_size
        start = np.where(is_last, last.start, whole.start)
        return (start <= row) & (row < np.where(is_last, last.stop, whole.stop))


WHOLE = Part()
