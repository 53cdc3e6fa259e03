"""Stored batches: the samples of one step, read from where they are stored.

Data larger than memory cannot be shuffled by moving rows. Instead, the order in which they are
read is shuffled (see `chainrule.data.sources` for the arrays, and `chainrule.data.orders` for the
orders): by default in blocks, mixed in windows of 64 MB, so that a file is read in long pieces;
with ``shuffle="rows"`` each row separately. At most two windows are in memory, the current one and
the next.

Rows are checked when they are read: a number that is not finite, or a label that does not exist,
stops the training only when it is reached; the error gives its row number.

The next window, or the next batch if there are no windows, is read in a thread. The benefit
was measured for epochs of 60,000 float32 rows of 784 through [784, 256, 128, 10], on two
cores. The time with the thread, in units of the time without:

    NumPy with one thread, so that a core is free    h5py, gzip 0.76    memory map by rows 0.85
                                                     zarr 0.92          memory map in blocks 0.98
    a source that waits 4 ms for each block          0.67 to 0.82
    NumPy on both cores                              0.99 to 1.06

So it helps if a core is free or reading mostly waits, and otherwise costs almost nothing: it is on
by default for memory maps, h5py and zarr. An object of the user is read in the thread of the
caller: its code may not be safe in another one, and may depend on the training. ``python -m
benchmarks.memory`` compares both on your machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
from attrs import define, field

from chainrule.core.types import Array
from chainrule.core.validators import FIXED_IN_A_RUN
from chainrule.data.batches import (
    Batch,
    OrderedBatches,
    RowsOfOutputs,
    fitted_weights,
    fitting,
    indices_of,
    rows_taken,
    with_batch_numbers,
)
from chainrule.data.class_weights import ClassWeights
from chainrule.data.orders import ByRows, Orders, Rows, Window, cut_batches, row_indices
from chainrule.data.prefetch import Prefetcher
from chainrule.data.samples import Data, each_array, names_of, one_or_all, weights_by_name
from chainrule.data.sources import DataSource, InMemory, as_source, is_stored
from chainrule.data.validation import (
    as_numbers,
    as_targets,
    as_weights,
    converted,
    fitted_target,
    require_equal_lengths,
    require_finite,
)
from chainrule.losses import Loss

TRIED = 8
"""How many samples are read before training, to determine their shapes and types."""


@define(eq=False, on_setattr=FIXED_IN_A_RUN)
class StoredBatches(OrderedBatches):
    """Batches of rows of arrays, at least one of which is stored.

    Parameters
    ----------
    inputs, targets
        One source for each input or output of the model.
    sample_weights
        (samples,), or None if all count the same.
    batch_size
        The number of samples in a batch.
    shuffle
        ``"blocks"`` or True, ``"rows"``, or False for the order in which they are stored.
    rng
        The generator from which the order is drawn.
    prefetch
        Whether to read the next rows in a thread while the network learns from the current ones.
    class_weights
        How much each class counts.

    Attributes
    ----------
    data
        The first rows.
    """

    inputs: tuple[DataSource, ...]
    targets: tuple[DataSource, ...]
    sample_weights: Any
    batch_size: int
    shuffle: bool | str
    rng: np.random.Generator
    prefetch: bool = True
    class_weights: ClassWeights | None = None
    data: Data = field(init=False)
    _orders: Orders = field(init=False)
    _prefetcher: Prefetcher = field(init=False)
    _fitted: Callable[[Data], Data] = field(default=None, init=False)

    @classmethod
    def of(
        cls, x: Any, t: Any, sample_weights: Any = None, *, outputs: int = 1, **options: Any
    ) -> StoredBatches:
        """Batches of stored arrays and arrays in memory; the latter are checked at once.

        Raises
        ------
        DtypeError, ShapeError, DataError
            As `Data.of`.
        """
        given = x if isinstance(x, tuple) else (x,)
        names = names_of("{}", "x", len(given))
        inputs = tuple(map(_source, names, given))
        names_of_targets = names_of("{}", "t", outputs)
        targets = tuple(map(_source, names_of_targets, as_targets("t", t, outputs, len(inputs[0]))))
        arrays: dict[str, Any] = {source.name: source for source in (*inputs, *targets)}
        weights = as_weights("sample_weights", sample_weights, outputs)
        require_equal_lengths(arrays | weights_by_name("{}", weights))
        return cls(inputs, targets, None if weights is None else one_or_all(weights), **options)

    def __attrs_post_init__(self) -> None:
        sources = (*self.inputs, *self.targets)
        self._arrange(sources, "blocks" if self.shuffle is True else self.shuffle, self.prefetch)
        first = [(0, min(TRIED, self._orders.samples))]
        weights = self.sample_weights
        self.data = Data.of(
            tuple([x.read(first) for x in self.inputs]),
            one_or_all(tuple([t.read(first) for t in self.targets])),
            each_array(rows_taken(slice(0, first[0][1])), weights),
            named=f"{{}}[:{first[0][1]}]",
            outputs=len(self.targets),
        )

    def fit_to(self, loss: Loss, rows_of_outputs: RowsOfOutputs, dtype: np.dtype[Any]) -> None:
        """Fit every batch to the loss and the model from now on; see `Data.fitted`.

        Arrays in memory are converted at once.
        """
        inputs = tuple(
            _in_memory(x, converted(x.name, x.given, dtype)) if isinstance(x, InMemory) else x
            for x in self.inputs
        )
        rows = rows_of_outputs(self.data)
        for_each_target = zip(self.targets, loss.for_each_output, rows, strict=True)
        targets = tuple(
            _in_memory(t, fitted_target(t.name, t.given, one_loss, row, dtype))
            if isinstance(t, InMemory)
            else t
            for t, one_loss, row in for_each_target
        )
        in_memory = [t.given if isinstance(t, InMemory) else None for t in targets]
        weights = fitted_weights(self.class_weights, loss, rows, in_memory)
        fitted, self.class_weights = fitting(loss, rows_of_outputs, dtype, weights), weights
        self.data = fitted(self.data)
        self.inputs, self.targets, self._fitted = inputs, targets, fitted

    def epoch(self, done: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, or the rest of it; see `Batches.epoch`."""
        order, size = self._orders.for_epoch(done), self.batch_size
        if isinstance(order, ByRows):
            row_sets = map(self._own, order.rows(size, done * size))
            batches = self._prefetcher.iterate(map(self._take_batch, row_sets))
            return with_batch_numbers(batches, done)
        if not self.part.is_whole:
            return with_batch_numbers(self._parts(order.windows(done * size), done), done)
        return with_batch_numbers(self._from_windows(order.windows(done * size)), done)

    def _own(self, rows: Rows) -> Array:
        """The part of the rows of a batch."""
        indices = indices_of(rows)
        return indices[self.part.of(len(indices))]

    def _parts(self, windows: Iterator[Window], done: int) -> Iterator[Batch]:
        """The parts of the remaining batches; only their rows are read."""
        read = self._prefetcher.iterate(self._windows_of_part(windows, done))
        own = self._own(slice(0, min(self.batch_size, self._orders.samples)))
        with closing(read):
            batches = cut_batches(read, max(len(own), 1))
            for _ in range(done, self.steps):
                rows, *arrays = next(batches, self._no_rows)
                yield self._batch(rows, arrays)

    def _windows_of_part(
        self, windows: Iterator[Window], done: int
    ) -> Iterator[tuple[list[Array], None]]:
        first = done * self.batch_size
        for runs, indices in windows:
            rows = row_indices(runs)
            rows = rows if indices is None else rows[indices]
            is_own = self.part.own(first, len(rows), self.batch_size, self._orders.samples)
            first += len(rows)
            yield self._read_rows(rows[is_own]), None

    def _read_rows(self, rows: Array) -> list[Array]:
        """The indices of some rows, and these rows of what is stored."""
        stored = [source for source in self._sources if not isinstance(source, InMemory)]
        return [rows, *(_checked(source, source.take(rows), rows) for source in stored)]

    @property
    def _no_rows(self) -> list[Array]:
        return self._read_rows(np.arange(0))

    def _from_windows(self, windows: Iterator[Window]) -> Iterator[Batch]:
        with closing(self._prefetcher.iterate(map(self._read, windows))) as read:
            for rows, *arrays in cut_batches(read, self.batch_size):
                yield self._batch(rows, arrays)

    def _read(self, window: Window) -> tuple[list[Array], Array | None]:
        """The row indices and stored rows of a window; and its indices in order of use."""
        runs, indices = window
        rows = row_indices(runs)
        stored = [source for source in self._sources if not isinstance(source, InMemory)]
        return [rows, *(_checked(source, source.read(runs), rows) for source in stored)], indices

    def _take_batch(self, rows: Rows) -> Batch:
        indices, *arrays = self._read_rows(indices_of(rows))
        return self._batch(indices, arrays)

    def _batch(self, rows: Array, stored: list[Array]) -> Batch:
        """The batch of some rows, given those of them that are stored."""
        read = iter(stored)
        arrays = [s.take(rows) if isinstance(s, InMemory) else next(read) for s in self._sources]
        weights = each_array(rows_taken(rows), self.sample_weights)
        count = len(self.inputs)
        data = Data(tuple(arrays[:count]), tuple(arrays[count:]), weights, rows=rows)
        data = self._fitted(data)
        return data.inputs, data.target, data.sample_weights

    @property
    def _sources(self) -> tuple[DataSource, ...]:
        return (*self.inputs, *self.targets)


def _source(name: str, given: Any) -> DataSource:
    if is_stored(given):
        return as_source(name, given)
    array = as_numbers(name, given)
    require_finite(name, array)
    return as_source(name, array)


def _in_memory(source: DataSource, array: Array) -> DataSource:
    return InMemory(source.name, array, array.shape, array.dtype)


def _checked(source: DataSource, array: Array, rows: Array) -> Array:
    require_finite(source.name, array, rows)
    return array
