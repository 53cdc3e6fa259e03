"""Orders: in which order an epoch goes through the samples.

Gradients of batches are only estimates of the whole one if a batch is a fair sample. Data come
sorted, by class or by time, so their order is drawn anew for each epoch. There are three ways:

* ``"rows"``: one permutation of all rows. The best mixing there is; every row is read by itself,
  which costs nothing in memory and much in a file.
* ``"blocks"``: rows that stand together in the file are read together, in blocks, about a megabyte
  or some whole chunks each. The order of the blocks is drawn; as many blocks as make 64 MB are read
  into a window, in the order in which they stand in the file; and the rows of the window are
  mixed by a permutation. A batch is so drawn from some dozens of places all over the file, and
  each row of the file is read once, in long pieces. What it does not do is to bring rows
  of one block into different windows: where a block holds one class only and the data have many
  windows, a batch is as unfair as the choice of about 64 blocks is. Data that fit into one window
  are mixed perfectly.
* none: the rows in their order.

All of it is drawn from one generator when the epoch begins: for ``"rows"`` one
``rng.permutation(samples)``; for ``"blocks"`` one ``rng.permutation(blocks)`` and one
``rng.integers(2**63)``, the seed from which window number w takes its permutation by
``default_rng([seed, w])``. So an order can be drawn again, and entered anywhere, which is what a
run that is resumed does.
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
"""Bytes of the rows that are mixed with each other."""

Rows: TypeAlias = slice | Array
"""The rows of a batch: some that follow each other, or their numbers."""

Window: TypeAlias = tuple[Sequence[Run], Array | None]
"""Runs of rows to be read together; and the places among them in the order of their use."""


@define(eq=False)
class Orders:
    """The orders of one epoch after another, which can be left and entered again.

    Parameters
    ----------
    shuffle
        ``"rows"``, ``"blocks"``, or False for the order in which they stand.
    samples
        How many rows there are.
    batch_size
        How many of them make a batch.
    block
        How many rows are best read together.
    row_bytes
        How many bytes a row has, in all arrays together.
    rng
        What the orders are drawn from, each when its epoch begins.
    """

    shuffle: bool | str
    samples: int
    batch_size: int
    block: int
    row_bytes: int
    rng: np.random.Generator
    _running: Order | None = field(default=None, init=False)
    _before: dict[str, Any] | None = field(default=None, init=False)

    @property
    def steps(self) -> int:
        """How many batches an epoch has."""
        return -(-self.samples // self.batch_size)

    def of_epoch(self, done: int) -> Order:
        """The order of a new epoch, or of the running one if some of its batches are done."""
        if not done or self._running is None:
            self._before = state_of(self.rng)
            self._running = self._drawn()
        return self._running

    def position(self) -> dict[str, Any]:
        """The generator as it is, and as it was before the running order was drawn from it."""
        return {**self._described, "order": self._before, "rng": state_of(self.rng)}

    def go_to(self, position: Mapping[str, Any]) -> None:
        """Draw the running order again, and let the generator go on where it was.

        Raises
        ------
        ConfigurationError
            These are other data than those of the position.
        """
        require_the_same(self._described, position)
        require_the_same({"bit_generator": state_of(self.rng)["bit_generator"]}, position["rng"])
        self._before, self._running = position["order"], None
        if self._before is not None:
            set_state(self.rng, self._before)
            self._running = self._drawn()
        set_state(self.rng, position["rng"])

    @property
    def _described(self) -> dict[str, Any]:
        names = ("samples", "batch_size", "shuffle", *(["block"] * (self.shuffle == "blocks")))
        return {name: getattr(self, name) for name in names}

    def _drawn(self) -> Order:
        return drawn(self.shuffle, self.samples, self.block, self.row_bytes, self.rng)


@frozen(eq=False)
class InOrder:
    """The rows in their order, read a block at a time."""

    samples: int
    block: int

    def rows(self, size: int, start: int = 0) -> Iterator[Rows]:
        """The rows of each batch, from the one on that begins with the row ``start``."""
        for first in range(start, self.samples, size):
            yield slice(first, min(first + size, self.samples))

    def windows(self, start: int = 0) -> Iterator[Window]:
        """What is to be read, and how it is to be used."""
        while start < self.samples:
            stop = min(start // self.block * self.block + self.block, self.samples)
            yield [(start, stop)], None
            start = stop


@frozen(eq=False)
class ByRows:
    """One permutation of all rows."""

    places: Array

    def rows(self, size: int, start: int = 0) -> Iterator[Rows]:
        """The rows of each batch, from the one on that begins at the place ``start``."""
        for first in range(start, len(self.places), size):
            yield self.places[first : first + size]


@frozen(eq=False)
class ByBlocks:
    """Blocks in an order of their own, and the rows mixed in windows of several blocks.

    Attributes
    ----------
    samples
        How many rows there are.
    block
        How many of them are read together.
    blocks
        The order of the blocks: a permutation of their numbers.
    together
        How many blocks make a window.
    seed
        What the permutations of the windows come from.
    """

    samples: int
    block: int
    blocks: Array
    together: int
    seed: int

    def rows(self, size: int, start: int = 0) -> Iterator[Rows]:
        """The rows of each batch, from the one on that begins at the place ``start``."""
        windows = (([numbers(runs)], places) for runs, places in self.windows(start))
        for (rows,) in cut(windows, size):
            yield rows

    def windows(self, start: int = 0) -> Iterator[Window]:
        """What is to be read, and how it is to be used, from a place in the order on."""
        for number, first in enumerate(range(0, len(self.blocks), self.together)):
            chosen = np.sort(self.blocks[first : first + self.together]).tolist()
            runs = [(b * self.block, min((b + 1) * self.block, self.samples)) for b in chosen]
            length = sum(end - begin for begin, end in runs)
            if start < length:
                yield runs, np.random.default_rng([self.seed, number]).permutation(length)[start:]
            start = max(0, start - length)


Order: TypeAlias = InOrder | ByRows | ByBlocks


def drawn(
    shuffle: bool | str, samples: int, block: int, row_bytes: int, rng: np.random.Generator
) -> Order:
    """The order of one epoch.

    Parameters
    ----------
    shuffle
        ``"rows"``, ``"blocks"``, or False for the order in which they stand.
    samples
        How many rows there are.
    block
        How many rows are best read together.
    row_bytes
        How many bytes a row has, in all arrays together.
    rng
        What it is drawn from.
    """
    if shuffle == "rows":
        return ByRows(rng.permutation(samples))
    if shuffle == "blocks":
        blocks = rng.permutation(-(-samples // block))
        together = max(1, WINDOW // (block * row_bytes))
        return ByBlocks(samples, block, blocks, together, int(rng.integers(2**63)))
    return InOrder(samples, block)


def numbers(runs: Sequence[Run]) -> Array:
    """The numbers of the rows of some runs."""
    return np.concatenate([np.arange(start, stop) for start, stop in runs])


def cut(
    windows: Iterable[tuple[list[Array], Array | None]], size: int
) -> Iterator[tuple[Array, ...]]:
    """Batches of some rows each from windows of any length; the last has what is left over.

    Parameters
    ----------
    windows
        The arrays of each, and the places in them in the order of their use, or None.
    size
        How many rows a batch has.
    """
    pieces: list[list[Any]] = []
    missing = size
    for arrays, places in windows:
        length = len(arrays[0]) if places is None else len(places)
        start = 0
        while start < length:
            part: Rows = slice(start, min(start + missing, length))
            start, missing = part.stop, missing - (part.stop - start)
            if places is None:
                pieces.append([array[part] for array in arrays])
            else:
                pieces.append([array.take(places[part], axis=0) for array in arrays])
            if not missing:
                yield _joined(pieces)
                pieces, missing = [], size
    if pieces:
        yield _joined(pieces)


def _joined(pieces: list[list[Any]]) -> tuple[Array, ...]:
    if len(pieces) == 1:
        return tuple(pieces[0])
    return tuple(map(np.concatenate, zip(*pieces, strict=True)))


def require_the_same(expected: Mapping[str, Any], position: Mapping[str, Any]) -> None:
    """Refuse a position in data of another length, or that are gone through in another way."""
    received = {name: position.get(name) for name in expected}
    if received != expected:
        raise ConfigurationError(
            "the batches are not those of the run that is to be gone on with",
            expected=_listed(received),
            received=_listed(expected),
            hint="call fit with the data and the arguments of that run",
        )


def _listed(described: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in described.items())
