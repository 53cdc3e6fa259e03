"""Stored batches: the samples of one step, read from where they are stored.

Neither data larger than the memory nor a data set that makes each sample when it is asked for can
be shuffled by moving rows about. What is shuffled is the order in which they are read:

* `StoredBatches` are for arrays (see `chainrule.training.data.sources`). By default the rows are
  read in blocks and mixed in windows of 64 MB, so that a file is read in long pieces; with
  ``shuffle="rows"`` each row is read by itself. `chainrule.training.data.orders` says what that
  means for the mixing. At most two windows are in memory, the one in use and the next.
* `PairBatches` are for a data set that gives the pair of one sample, ``dataset[i] → (x_i, t_i)``.

What is read is looked at when it is read: a number that is not finite, or a label that does not
exist, stops the training there and not before it, with the number of its row.

The next window, or the next batch where there are no windows, is read in a thread. Whether that
pays was measured with 60,000 float32 rows of 784 and a small network, [784, 32, 10], of which an
epoch takes 0.12 s of computing from memory. From a memory map whose pages the system has already it
takes 0.14 s in blocks and 0.23 s by rows, from zarr 0.4 s, from h5py packed by gzip 0.6 s: all that
is beyond the 0.12 s is reading. NumPy, h5py and zarr let Python go on while they read, so with
a second core that is free it is hidden behind the training as far as that takes as long; and where
none is free the thread itself costs less than 0.03 s. So it is on unless one says
otherwise; ``python -m benchmarks.memory`` shows what it is worth on another machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import numpy as np
from attrs import define, field

from chainrule.core.errors import ChainruleError, DataError, ShapeError
from chainrule.core.initializers import Shape
from chainrule.core.parameter import Array
from chainrule.training.data.ahead import Ahead
from chainrule.training.data.batches import Batch, Batches, fitting
from chainrule.training.data.class_weights import ClassWeights
from chainrule.training.data.orders import ByRows, Orders, Rows, Window, cut, numbers
from chainrule.training.data.samples import (
    Data,
    as_numbers,
    as_targets,
    as_weights,
    converted,
    fitted_target,
    names_of,
    one_or_all,
    require_equal_lengths,
    require_finite,
)
from chainrule.training.data.sources import (
    Held,
    Source,
    as_source,
    block_of,
    is_stored,
    stacked,
)
from chainrule.training.losses import Loss

TRIED = 8
"""How many samples are read before the training, to see what they are."""


@define(eq=False)
class StoredBatches(Batches):
    """Batches of the rows of arrays some of which are stored.

    Parameters
    ----------
    inputs, targets
        One source for each input and each output of the model.
    sample_weights
        (samples,), or None where all count the same.
    batch_size
        How many samples make a batch.
    shuffle
        ``"blocks"`` or True, ``"rows"``, or False for the order in which they are stored.
    rng
        The generator that the order is drawn from.
    ahead
        Whether the next rows are read in a thread while the current ones are learned from.
    class_weights
        How much each class counts.

    Attributes
    ----------
    data
        The first rows.
    """

    inputs: tuple[Source, ...]
    targets: tuple[Source, ...]
    sample_weights: Array | None
    batch_size: int
    shuffle: bool | str
    rng: np.random.Generator
    ahead: bool = True
    class_weights: ClassWeights | None = None
    data: Data = field(init=False)
    _orders: Orders = field(init=False)
    _ahead: Ahead = field(init=False)
    _fitted: Callable[[Data], Data] = field(default=None, init=False)

    @classmethod
    def of(
        cls, x: Any, t: Any, sample_weights: Any = None, *, outputs: int = 1, **options: Any
    ) -> StoredBatches:
        """Batches of what is stored and what is not, each looked at as far as it is in memory.

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
        if sample_weights is not None:
            sample_weights = arrays["sample_weights"] = as_weights("sample_weights", sample_weights)
        require_equal_lengths(arrays)
        return cls(inputs, targets, sample_weights, **options)

    def __attrs_post_init__(self) -> None:
        sources = (*self.inputs, *self.targets)
        self._orders = Orders(
            "blocks" if self.shuffle is True else self.shuffle,
            len(self.inputs[0]),
            self.batch_size,
            block_of(sources),
            sum(source.row_bytes for source in sources),
            self.rng,
        )
        self._ahead = Ahead(self.ahead)
        first = [(0, min(TRIED, self._orders.samples))]
        weights = self.sample_weights
        self.data = Data.of(
            tuple([x.read(first) for x in self.inputs]),
            one_or_all(tuple([t.read(first) for t in self.targets])),
            None if weights is None else weights[: first[0][1]],
            named=f"{{}}[:{first[0][1]}]",
            outputs=len(self.targets),
        )

    @property
    def steps(self) -> int:
        """How many batches an epoch has."""
        return self._orders.steps

    def fit_to(self, loss: Loss, rows_of_outputs: tuple[Shape, ...], dtype: np.dtype[Any]) -> None:
        """From now on make every batch what a loss and a model take; see `Data.fitted`.

        What is in memory becomes so at once.
        """
        inputs = tuple(
            _held_again(x, converted(x.name, x.given, dtype)) if isinstance(x, Held) else x
            for x in self.inputs
        )
        of_each = zip(self.targets, loss.for_each_output, rows_of_outputs, strict=True)
        targets = tuple(
            _held_again(t, fitted_target(t.name, t.given, one, row, dtype))
            if isinstance(t, Held)
            else t
            for t, one, row in of_each
        )
        weights = self.class_weights
        if weights is not None:
            (t,) = targets
            whole = t.given if isinstance(t, Held) else None
            weights = weights.for_targets(rows_of_outputs[0], whole, t.name)
        fitted = fitting(loss, rows_of_outputs, dtype, weights)
        self.data = fitted(self.data)
        self.inputs, self.targets, self._fitted = inputs, targets, fitted

    def epoch(self, done: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, or the rest of it; see `Batches.epoch`."""
        order, size = self._orders.of_epoch(done), self.batch_size
        if isinstance(order, ByRows):
            parts = order.rows(size, done * size)
            return told(self._ahead.through(map(self._taken, parts)), done)
        return told(self._through_windows(order.windows(done * size)), done)

    def position(self) -> dict[str, Any]:
        """Where the generator stands, and where it stood before the order was drawn."""
        return self._orders.position()

    def go_to(self, position: Mapping[str, Any]) -> None:
        """Draw the running order again; see `Batches.go_to`."""
        self._orders.go_to(position)

    def close(self) -> None:
        """End the thread that reads ahead, if there is one."""
        self._ahead.close()

    def _through_windows(self, windows: Iterator[Window]) -> Iterator[Batch]:
        with closing(self._ahead.through(map(self._read, windows))) as read:
            for rows, *arrays in cut(read, self.batch_size):
                yield self._batch(rows, arrays)

    def _read(self, window: Window) -> tuple[list[Array], Array | None]:
        """What is stored of the rows of a window, and the numbers of the rows before it."""
        runs, places = window
        rows = numbers(runs)
        stored = [source for source in self._sources if not isinstance(source, Held)]
        return [rows, *(_looked_at(source, source.read(runs), rows) for source in stored)], places

    def _taken(self, part: Rows) -> Batch:
        rows = _numbers_in(part)
        stored = [source for source in self._sources if not isinstance(source, Held)]
        return self._batch(rows, [_looked_at(source, source.take(rows), rows) for source in stored])

    def _batch(self, rows: Array, stored: list[Array]) -> Batch:
        """The batch of some rows, with what was stored of them."""
        read = iter(stored)
        arrays = [s.take(rows) if isinstance(s, Held) else next(read) for s in self._sources]
        weights = None if self.sample_weights is None else self.sample_weights.take(rows)
        count = len(self.inputs)
        data = Data(tuple(arrays[:count]), tuple(arrays[count:]), weights, rows=rows)
        data = self._fitted(data)
        return data.inputs, data.target, data.sample_weights

    @property
    def _sources(self) -> tuple[Source, ...]:
        return (*self.inputs, *self.targets)


@define(eq=False)
class PairBatches(Batches):
    """Batches of the samples of a data set that gives one pair for a number.

    Parameters
    ----------
    dataset
        An object with a length, of which ``dataset[i]`` is the pair (x_i, t_i) of one sample, or
        (x_i, t_i, w_i) with its weight. x_i is a tuple where the model has several inputs, and t_i
        where it has several outputs.
    batch_size
        How many samples make a batch.
    shuffle
        Whether their order is drawn anew for every epoch, by one permutation.
    rng
        The generator that it is drawn from.
    outputs
        How many outputs there are targets for.
    ahead
        Whether the next batch is made ready in a thread while the current one is learned from.
    class_weights
        How much each class counts.

    Attributes
    ----------
    data
        The first samples.
    """

    dataset: Any
    batch_size: int
    shuffle: bool | str
    rng: np.random.Generator
    outputs: int = 1
    ahead: bool = True
    class_weights: ClassWeights | None = None
    data: Data = field(init=False)
    _orders: Orders = field(init=False)
    _ahead: Ahead = field(init=False)
    _fitted: Callable[[Data], Data] = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        samples = len(self.dataset)
        if not samples:
            raise DataError(
                "there are no samples in the data set",
                expected="one sample at least",
                received=f"{type(self.dataset).__name__} of length 0",
            )
        shuffle = "rows" if self.shuffle else False
        self._orders = Orders(shuffle, samples, self.batch_size, 1, 1, self.rng)
        self._ahead = Ahead(self.ahead)
        self.data = self.read(np.arange(min(TRIED, samples)))

    @property
    def steps(self) -> int:
        """How many batches an epoch has."""
        return self._orders.steps

    def fit_to(self, loss: Loss, rows_of_outputs: tuple[Shape, ...], dtype: np.dtype[Any]) -> None:
        """From now on make every batch what a loss and a model take; see `Data.fitted`."""
        fitted = fitting(loss, rows_of_outputs, dtype, self.class_weights)
        self.data, self._fitted = fitted(self.data), fitted

    def epoch(self, done: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, or the rest of it; see `Batches.epoch`."""
        parts = self._orders.of_epoch(done).rows(self.batch_size, done * self.batch_size)
        return told(self._ahead.through(map(self._batch, parts)), done)

    def position(self) -> dict[str, Any]:
        """Where the generator stands, and where it stood before the order was drawn."""
        return self._orders.position()

    def go_to(self, position: Mapping[str, Any]) -> None:
        """Draw the running order again; see `Batches.go_to`."""
        self._orders.go_to(position)

    def close(self) -> None:
        """End the thread that reads ahead, if there is one."""
        self._ahead.close()

    def _batch(self, part: Rows) -> Batch:
        data = self._fitted(self.read(_numbers_in(part)))
        return data.inputs, data.target, data.sample_weights

    def read(self, rows: Array) -> Data:
        """The samples of these numbers, one after another, as they are given."""
        places = rows.tolist()
        samples = [self._sample(n) for n in places]
        forms = [self._form(sample) for sample in samples]
        for number, form in zip(places, forms, strict=True):
            self._require_form(number, form, forms[0])
        x, t, *weights = zip(*samples, strict=True)
        inputs = tuple(zip(*x, strict=True)) if isinstance(x[0], tuple) else (x,)
        targets = tuple(zip(*t, strict=True)) if self.outputs != 1 else (t,)
        return Data.of(
            _columns("x", inputs, places),
            one_or_all(_columns("t", targets, places)),
            np.asarray(weights[0]) if weights else None,
            outputs=self.outputs,
            rows=rows,
        )

    def _sample(self, number: int) -> Any:
        try:
            return self.dataset[number]
        except Exception as error:
            error.add_note(f"while sample {number:,} of the data set was read")
            raise

    def _form(self, sample: Any) -> tuple[int, int, int] | str:
        """How many parts a sample, its x and its t have; else what it is instead."""
        if not isinstance(sample, tuple | list) or len(sample) not in (2, 3):
            length = f" of {len(sample)}" if hasattr(sample, "__len__") else ""
            return f"{type(sample).__name__}{length}"
        x, t, *_ = sample
        several = isinstance(t, tuple | list) and self.outputs != 1
        return len(sample), len(x) if isinstance(x, tuple) else 1, len(t) if several else 1

    def _require_form(self, number: int, form: Any, first: Any) -> None:
        t = f"a tuple of {self.outputs}" if self.outputs != 1 else "one target"
        if isinstance(form, str):
            raise DataError(
                "a sample of the data set is not a pair",
                place=f"sample {number:,}",
                expected="(x_i, t_i), or (x_i, t_i, weight)",
                received=form,
                mend="let the data set's __getitem__ return x_i, t_i; "
                "if it holds the inputs only: fit(dataset, t)",
            )
        if form != first or form[2] != self.outputs:
            raise ShapeError(
                "a sample of the data set has other parts than it should have",
                place=f"sample {number:,}",
                expected=f"{first[0]} parts, with {first[1]} in x_i, and t_i {t}",
                received=f"{form[0]} parts, with {form[1]} in x_i and {form[2]} in t_i",
            )


def told(batches: Iterator[Batch], done: int) -> Iterator[Batch]:
    """The same batches; an error of someone else's, on the way, says for which it was."""
    number = done
    try:
        for number, batch in enumerate(batches, start=done + 1):  # noqa: B007
            yield batch
    except Exception as error:
        if not isinstance(error, ChainruleError):
            error.add_note(f"in batch {number + 1} of the epoch")
        raise


def _source(name: str, given: Any) -> Source:
    if is_stored(given):
        return as_source(name, given)
    array = as_numbers(name, given)
    require_finite(name, array)
    return as_source(name, array)


def _held_again(source: Source, array: Array) -> Source:
    return Held(source.name, array, array.shape, array.dtype)


def _looked_at(source: Source, array: Array, rows: Array) -> Array:
    require_finite(source.name, array, rows)
    return array


def _numbers_in(part: Rows) -> Array:
    return np.arange(part.start, part.stop) if isinstance(part, slice) else part


def _columns(letter: str, columns: Any, places: list[int]) -> tuple[Array, ...]:
    names = names_of("{}", letter, len(columns))
    return tuple(
        stacked(name, [np.asarray(row) for row in rows], places)
        for name, rows in zip(names, columns, strict=True)
    )
