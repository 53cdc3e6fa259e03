"""Orders: the order in which an epoch goes through the samples.

The gradient of a batch is a good estimate of the whole gradient only if the batch is a random
sample. Data are often sorted, by class or by time, so a new order is drawn for each epoch.
There are three ways:

* ``"rows"``: one permutation of all rows. This mixes best, but reads every row separately, which is
  cheap in memory and expensive in a file.
* ``"blocks"``: neighbouring rows of the file are read together, in blocks of about a megabyte or
  of whole chunks. The order of the blocks is drawn; as many blocks as make 64 MB are read into
  a window, in their order in the file; and a permutation mixes the rows of the window. So the
  rows of a batch come from dozens of places all over the file, and each row of the file is read
  once, in long pieces. Rows of one block are never in different windows: if each block holds
  a single class and the data have many windows, a batch is only as representative as a choice of
  about 64 blocks. Data that fit into one window are mixed perfectly.
* none: the rows in their order.

An order is drawn from one generator when the epoch begins: for ``"rows"`` one
``rng.permutation(samples)``; for ``"blocks"`` one ``rng.permutation(blocks)`` and one
``rng.integers(2**63)``, a seed: window number w takes its permutation from
``default_rng([seed, w])``. So a resumed run can draw an order again and enter it at any batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from attrs import define, field, frozen

from chainrule.core.errors import ConfigurationError
from chainrule.core.layer_state import set_state, state_of
from chainrule.core.types import Array
from chainrule.data.sources import Run

WINDOW = 2**26
"""How many bytes of rows are mixed with each other."""

Rows: TypeAlias = slice | Array
"""The rows of a batch: a slice of neighbouring rows, or an array of indices."""

Window: TypeAlias = tuple[Sequence[Run], Array | None]
"""Runs of rows to read together; and the indices in them in the order of use, or None."""


@define(eq=False)
class Orders:
    """The orders of successive epochs, which can be interrupted and restored.

    Parameters
    ----------
    shuffle
        ``"rows"``, ``"blocks"``, or False for the given order.
    samples
        The number of rows.
    batch_size
        The number of rows in a batch.
    block
        The number of rows that are read together.
    row_bytes
        The number of bytes in a row, over all arrays.
    rng
        The generator from which each order is drawn when its epoch begins.
    """

    shuffle: bool | str
    samples: int
    batch_size: int
    block: int
    row_bytes: int
    rng: np.random.Generator
    _current: Order | None = field(default=None, init=False)
    _before: dict[str, Any] | None = field(default=None, init=False)

    @property
    def steps(self) -> int:
        """The number of batches in an epoch."""
        return -(-self.samples // self.batch_size)

    def for_epoch(self, done: int) -> Order:
        """The order of a new epoch, or of the current one if some of its batches are done."""
        if not done or self._current is None:
            self._before = state_of(self.rng)
            self._current = self._draw()
        return self._current

    def position(self) -> dict[str, Any]:
        """The state of the generator now, and before the current order was drawn."""
        return {**self._identity, "order": self._before, "rng": state_of(self.rng)}

    def go_to(self, position: Mapping[str, Any]) -> None:
        """Draw the current order again, and restore the generator.

        Raises
        ------
        ConfigurationError
            The data differ from those of the position.
        """
        require_same_run(self._identity, position)
        require_same_run({"bit_generator": state_of(self.rng)["bit_generator"]}, position["rng"])
        self._before, self._current = position["order"], None
        if self._before is not None:
            set_state(self.rng, self._before)
            self._current = self._draw()
        set_state(self.rng, position["rng"])

    @property
    def _identity(self) -> dict[str, Any]:
        names = ("samples", "batch_size", "shuffle", *(["block"] * (self.shuffle == "blocks")))
        return {name: getattr(self, name) for name in names}

    def _draw(self) -> Order:
        return draw_order(self.shuffle, self.samples, self.block, self.row_bytes, self.rng)


@frozen(eq=False)
class InOrder:
    """The rows in their order, read a block at a time."""

    samples: int
    block: int

    def rows(self, size: int, start: int = 0) -> Iterator[Rows]:
        """The rows of each batch, beginning at row ``start``."""
        for first in range(start, self.samples, size):
            yield slice(first, min(first + size, self.samples))

    def windows(self, start: int = 0) -> Iterator[Window]:
        """The windows to read, beginning at row ``start``."""
        while start < self.samples:
            stop = min(start // self.block * self.block + self.block, self.samples)
            yield [(start, stop)], None
            start = stop


@frozen(eq=False)
class ByRows:
    """One permutation of all rows."""

    indices: Array

    def rows(self, size: int, start: int = 0) -> Iterator[Rows]:
        """The rows of each batch, beginning at index ``start`` of the order."""
        for first in range(start, len(self.indices), size):
            yield self.indices[first : first + size]


@frozen(eq=False)
class ByBlocks:
    """Blocks in random order, and rows mixed within windows of several blocks.

    Attributes
    ----------
    samples
        The number of rows.
    block
        The number of rows in a block, which are read together.
    blocks
        The order of the blocks: a permutation of their indices.
    together
        The number of blocks in a window.
    seed
        The seed of the permutations within the windows.
    """

    samples: int
    block: int
    blocks: Array
    together: int
    seed: int

    def rows(self, size: int, start: int = 0) -> Iterator[Rows]:
        """The rows of each batch, beginning at index ``start`` of the order."""
        windows = (([row_indices(runs)], indices) for runs, indices in self.windows(start))
        for (rows,) in cut_batches(windows, size):
            yield rows

    def windows(self, start: int = 0) -> Iterator[Window]:
        """The windows to read, beginning at index ``start`` of the order."""
        for number, first in enumerate(range(0, len(self.blocks), self.together)):
            chosen = np.sort(self.blocks[first : first + self.together]).tolist()
            runs = [(b * self.block, min((b + 1) * self.block, self.samples)) for b in chosen]
            length = sum(end - begin for begin, end in runs)
            if start < length:
                yield runs, np.random.default_rng([self.seed, number]).permutation(length)[start:]
            start = max(0, start - length)


Order: TypeAlias = InOrder | ByRows | ByBlocks


def draw_order(
    shuffle: bool | str, samples: int, block: int, row_bytes: int, rng: np.random.Generator
) -> Order:
    """The order of one epoch.

    Parameters
    ----------
    shuffle
        ``"rows"``, ``"blocks"``, or False for the given order.
    samples
        The number of rows.
    block
        The number of rows that are read together.
    row_bytes
        The number of bytes in a row, over all arrays.
    rng
        The generator from which the order is drawn.
    """
    if shuffle == "rows":
        return ByRows(rng.permutation(samples))
    if shuffle == "blocks":
        blocks = rng.permutation(-(-samples // block))
        together = max(1, WINDOW // (block * row_bytes))
        return ByBlocks(samples, block, blocks, together, int(rng.integers(2**63)))
    return InOrder(samples, block)


def row_indices(runs: Sequence[Run]) -> Array:
    """The row indices of some runs."""
    return np.concatenate([np.arange(start, stop) for start, stop in runs])


def cut_batches(
    windows: Iterable[tuple[list[Array], Array | None]], size: int
) -> Iterator[tuple[Array, ...]]:
    """Batches of ``size`` rows, cut from windows of any length; the last batch may be smaller.

    Parameters
    ----------
    windows
        The arrays of each window, and the indices in them in the order of use, or None.
    size
        The number of rows in a batch.
    """
    pieces: list[list[Any]] = []
    missing = size
    for arrays, indices in windows:
        length = len(arrays[0]) if indices is None else len(indices)
        start = 0
        while start < length:
            chosen = slice(start, min(start + missing, length))
            start, missing = chosen.stop, missing - (chosen.stop - start)
            if indices is None:
                pieces.append([array[chosen] for array in arrays])
            else:
                pieces.append([array.take(indices[chosen], axis=0) for array in arrays])
            if not missing:
                yield _joined(pieces)
                pieces, missing = [], size
    if pieces:
        yield _joined(pieces)


def _joined(pieces: list[list[Any]]) -> tuple[Array, ...]:
    if len(pieces) == 1:
        return tuple(pieces[0])
    return tuple(map(np.concatenate, zip(*pieces, strict=True)))


def require_same_run(expected: Mapping[str, Any], position: Mapping[str, Any]) -> None:
    """Raise an error if a position belongs to data of another length or order."""
    received = {name: position.get(name) for name in expected}
    if received != expected:
        raise ConfigurationError(
            "the batches are not those of the run to resume",
            expected=_listed(received),
            received=_listed(expected),
            hint="call fit with the same data and arguments as in that run",
        )


def _listed(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in fields.items())
