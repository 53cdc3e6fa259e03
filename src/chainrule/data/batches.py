"""Batches: the samples of one training step, cut from arrays or made fresh.

The gradient of the average cost over all N samples is estimated from a few of them, the batch B:

    ∂C/∂θ ≈ (1/|B|) Σ_{s ∈ B} ∂c_s/∂θ

An epoch uses every sample once. It begins with a permutation that shuffles the samples, so each is
in exactly one batch; the last batch may be smaller. If samples cost nothing, as in the lecture, a
function makes fresh ones for every step and no sample is used twice.

For data that are not in memory there are other kinds: see `chainrule.data.batches_of`. An epoch of
any kind can be interrupted after any batch and continued there, even in another process: `position`
describes where, in plain numbers, and `go_to` returns there. Random orders are drawn from a
generator, so a position holds the state of the generator, and the state from which the current
order was drawn.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from attrs import define, field

from chainrule.core.arrays import read_only
from chainrule.core.errors import ChainruleError, DataError
from chainrule.core.layer_state import copied_generator, set_state, state_of
from chainrule.core.types import Array, Shape
from chainrule.core.validators import FIXED_IN_A_RUN
from chainrule.data.class_weights import ClassWeights
from chainrule.data.orders import Orders, Rows, require_same_run
from chainrule.data.part import WHOLE, Part
from chainrule.data.prefetch import Prefetcher
from chainrule.data.samples import Data, each_array, names_of, one_or_all
from chainrule.data.sources import DataSource, block_of, has_shape, in_memory_sources
from chainrule.losses import Loss

if TYPE_CHECKING:
    from concurrent.futures import Future

GATHERED = 2**18
"""How many bytes of shuffled rows are copied at once."""

Batch: TypeAlias = tuple[tuple[Array, ...], Any, Any]
"""The inputs, the target and the sample weights of one step.

For several outputs the target is a tuple, and so are weights that differ from output to output.
"""


class Batches:
    """The interface of all kinds of batches.

    Attributes
    ----------
    data
        Samples that determine which shapes a model is built for, and on which it is tried first:
        all of them if they are in memory, else the first ones.
    class_weights
        How much each class counts; after `fit_to`, with the classes of balanced weights counted.
    """

    data: Data
    class_weights: ClassWeights | None
    part: ClassVar[Part] = WHOLE  # or an attribute: see `divide`
    _is_in_a_run: bool = False  # see chainrule.core.validators.FIXED_IN_A_RUN

    def divide(self, part: Part) -> None:
        """From now on give only a part of the rows of each batch; the order of all is the same."""
        vars(self)["part"] = part

    @property
    def steps(self) -> int:
        """The number of batches in an epoch."""
        raise NotImplementedError

    def fit_to(self, loss: Loss, rows_of_outputs: RowsOfOutputs, dtype: np.dtype[Any]) -> None:
        """Fit every batch to the loss and the model from now on; see `Data.fitted`."""
        raise NotImplementedError

    def epoch(self, done: int = 0) -> Iterator[Batch]:
        """The batches of one epoch.

        Parameters
        ----------
        done
            How many of its batches have been used already. If not 0, the rest of the current epoch
            follows, which was interrupted or restored by `go_to`. If 0, a new epoch begins.
        """
        raise NotImplementedError

    def position(self) -> dict[str, Any]:
        """What is needed to continue after the batch that was returned last, for JSON."""
        raise NotImplementedError

    def go_to(self, position: Mapping[str, Any]) -> None:
        """Go to the position that another object of this kind returned.

        ``epoch(done)`` then gives the batches that would have followed there.

        Raises
        ------
        ConfigurationError
            The data, or the way they are shuffled and split, differ from those of the position.
        """
        raise NotImplementedError

    def read_again(self) -> Data | None:
        """`data`, read once more; None if they are in memory, or can be read only once."""
        return None

    def close(self) -> None:
        """End the prefetch thread, if there is one; see `Prefetcher.close`."""


class OrderedBatches(Batches):
    """Batches of stored samples, in an order that is drawn for each epoch."""

    batch_size: int
    rng: np.random.Generator
    _orders: Orders
    _prefetcher: Prefetcher

    def _arrange(self, sources: Sequence[DataSource], shuffle: bool | str, prefetch: bool) -> None:
        """Set up the order and the prefetching for rows of these sources."""
        self._orders = Orders(
            shuffle,
            len(sources[0]),
            self.batch_size,
            block_of(sources),
            sum(source.row_bytes for source in sources),
            self.rng,
        )
        self._prefetcher = Prefetcher(prefetch)

    @property
    def steps(self) -> int:
        """The number of batches in an epoch."""
        return self._orders.steps

    @property
    def samples(self) -> int:
        """The number of samples in an epoch."""
        return self._orders.samples

    def position(self) -> dict[str, Any]:
        """The state of the generator now, and before the current order was drawn."""
        return self._orders.position()

    def go_to(self, position: Mapping[str, Any]) -> None:
        """Draw the current order again; see `Batches.go_to`."""
        self._orders.go_to(position)

    def close(self) -> None:
        """End the prefetch thread, if there is one."""
        self._prefetcher.close()


@define(eq=False, on_setattr=FIXED_IN_A_RUN)
class ArrayBatches(OrderedBatches):
    """Batches of the rows of arrays.

    Parameters
    ----------
    data
        All samples.
    batch_size
        The number of samples in a batch.
    shuffle
        Whether to draw a new order for every epoch: ``"rows"`` or True, or ``"blocks"``; see
        `chainrule.data.orders`.
    rng
        The generator from which the order is drawn: one permutation for each epoch.
    prefetch
        Whether to prepare the next batch in a thread. For arrays in memory that costs more than it
        gains.
    class_weights
        How much each class counts.
    """

    data: Data
    batch_size: int
    shuffle: bool | str
    rng: np.random.Generator
    prefetch: bool = False
    class_weights: ClassWeights | None = None
    _orders: Orders = field(init=False)
    _prefetcher: Prefetcher = field(init=False)

    def __attrs_post_init__(self) -> None:
        sources = in_memory_sources((*self.data.inputs, *self.data.targets))
        self._arrange(sources, "rows" if self.shuffle is True else self.shuffle, self.prefetch)

    def fit_to(self, loss: Loss, rows_of_outputs: RowsOfOutputs, dtype: np.dtype[Any]) -> None:
        """Fit the samples to the loss and the model; see `Data.fitted`."""
        rows = rows_of_outputs(self.data)
        data = self.data.fitted(loss, rows, dtype)
        if self.class_weights is not None:
            names = data.names_of_targets
            weights = self.class_weights.fitted(loss, rows, data.targets, names)
            self.class_weights, data = weights, weights.times(data)
        self.data = data

    def epoch(self, done: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, or the rest of it; see `Batches.epoch`."""
        order = self._orders.for_epoch(done)
        together = max(1, GATHERED // (self.batch_size * self._orders.row_bytes))
        blocks = order.rows(self.batch_size * together, done * self.batch_size)
        return self._prefetcher.iterate(itertools.chain.from_iterable(map(self._batches, blocks)))

    def _batches(self, rows: Rows) -> Iterator[Batch]:
        """The batches of a block of rows: one large copy costs less than many small ones."""
        if not self.part.is_whole:
            yield from self._parts(indices_of(rows))
            return
        data, take = self.data, rows_taken(rows)
        arrays = [take(array) for array in (*data.inputs, *data.targets)]
        weights, count = each_array(take, data.sample_weights), len(data.inputs)
        for start in range(0, len(arrays[0]), self.batch_size):
            cut = slice(start, start + self.batch_size)
            chosen = tuple([array[cut] for array in arrays])
            w = None if weights is None else each_array(itemgetter(cut), weights)
            yield chosen[:count], one_or_all(chosen[count:]), w

    def _parts(self, rows: Array) -> Iterator[Batch]:
        """The same, of the rows that belong to the part."""
        data = self.data
        for start in range(0, len(rows), self.batch_size):
            batch = rows[start : start + self.batch_size]
            take = rows_taken(batch[self.part.of(len(batch))])
            inputs, targets = (tuple(map(take, arrays)) for arrays in (data.inputs, data.targets))
            yield inputs, one_or_all(targets), each_array(take, data.sample_weights)


@define(eq=False, on_setattr=FIXED_IN_A_RUN)
class FreshBatches(Batches):
    """Batches that a function makes, a new one for every step.

    Parameters
    ----------
    make_batch
        A function that takes a random generator and returns a pair (x, t), or (x, t,
        sample_weights); for a loss without targets also x alone. It is called once for every step,
        in order.
    steps
        How many batches an epoch has.
    rng
        The generator that is passed to it.
    outputs
        The number of outputs, each with a target: with several, t is a tuple.
    prefetch
        Whether to make the next batch in a thread while the network learns from the current one.
        The function then receives a copy of the generator. If anything else, such as a callback,
        has drawn from the generator in the meantime, that batch is discarded and made again, so
        that all numbers are the same as without a thread. The function must be safe to call in a
        thread, depend on nothing but its generator, and draw from that without spawning others.
    class_weights
        How much each class counts.

    Attributes
    ----------
    data
        The batch of the first step, made in advance: it determines which shapes a model is built
        for.

    Notes
    -----
    A position holds the state of the generator and the number of batches made. A function that
    keeps state between two calls cannot be restored.
    """

    make_batch: Callable[[np.random.Generator], Any]
    steps: int
    rng: np.random.Generator
    outputs: int = 1
    prefetch: bool = False
    class_weights: ClassWeights | None = None
    data: Data = field(init=False)
    _before: dict[str, Any] = field(init=False)
    _used: int = field(default=0, init=False)
    _fitted: Callable[[Data], Data] = field(default=None, init=False)
    _prefetcher: Prefetcher = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._prefetcher = Prefetcher(self.prefetch)
        self._before = state_of(self.rng)
        self.data = self._make(self.rng, 1)

    def fit_to(self, loss: Loss, rows_of_outputs: RowsOfOutputs, dtype: np.dtype[Any]) -> None:
        """Fit every batch to the loss and the model from now on; see `Data.fitted`."""
        rows = rows_of_outputs(self.data)
        self.class_weights = fitted_weights(self.class_weights, loss, rows)
        self._fitted = fitting(loss, rows_of_outputs, dtype, self.class_weights)
        self.data = self._fitted(self.data)

    def epoch(self, done: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, or the rest of it; see `Batches.epoch`."""
        pending: _Pending | None = None
        self._prefetcher.wait_for_last()  # what an interrupted epoch has begun
        try:
            for number in range(done + 1, self.steps + 1):
                data = self._next(pending)
                self._used += 1
                pending = self._prefetched() if self.prefetch and number < self.steps else None
                yield part_of(data, self.part)
        finally:
            if pending is not None:
                pending[1].cancel()

    def position(self) -> dict[str, Any]:
        """The state of the generator, and the number of batches made with it."""
        before = None if self._used else self._before
        return {"used": self._used, "first": before, "rng": state_of(self.rng)}

    def go_to(self, position: Mapping[str, Any]) -> None:
        """Restore the generator; see `Batches.go_to`."""
        require_same_run({"bit_generator": state_of(self.rng)["bit_generator"]}, position["rng"])
        if not position["used"]:
            set_state(self.rng, position["first"])
            self._before = position["first"]
            self.data = self._fitted(self._make(self.rng, 1))
        self._used = position["used"]
        set_state(self.rng, position["rng"])

    def close(self) -> None:
        """End the prefetch thread, if there is one."""
        self._prefetcher.close()

    def _next(self, pending: _Pending | None) -> Data:
        if not self._used:
            return self.data
        if pending is not None:
            before, making = pending
            if state_of(self.rng) == before:  # nothing else has drawn from it
                data, after = making.result()
                set_state(self.rng, after)
                return data
            self._prefetcher.wait_for_last()
        return self._make_fitted(self.rng, self._used + 1)

    def _prefetched(self) -> _Pending:
        rng, number = copied_generator(self.rng), self._used + 1

        def make() -> tuple[Data, dict[str, Any]]:
            return self._make_fitted(rng, number), state_of(rng)

        return state_of(self.rng), self._prefetcher.submit(make)

    def _make_fitted(self, rng: np.random.Generator, number: int) -> Data:
        return self._fitted(self._make(rng, number))

    def _make(self, rng: np.random.Generator, number: int) -> Data:
        try:
            made = self.make_batch(rng)
        except Exception as error:
            error.add_note(f"in make_batch, called for batch {number}")
            raise
        return data_from_pair(
            made,
            number,
            self.outputs,
            maker="make_batch",
            hint="end make_batch with: return x, t",
        )


RowsOfOutputs: TypeAlias = Callable[[Data], tuple[Shape, ...]]
"""The shape of a row of each output of the model, for a batch; or an error if it does not fit."""

_Pending: TypeAlias = "tuple[dict[str, Any], Future[tuple[Data, dict[str, Any]]]]"


def fitting(
    loss: Loss,
    rows_of_outputs: RowsOfOutputs,
    dtype: np.dtype[Any],
    class_weights: ClassWeights | None,
) -> Callable[[Data], Data]:
    """A function that fits a batch to the loss and the model, and adds fitted class weights.

    The rows of a batch may have another shape than those of the first, if the model accepts them.
    """

    def fitted(data: Data) -> Data:
        data = data.fitted(loss, rows_of_outputs(data), dtype)
        return data if class_weights is None else class_weights.times(data)

    return fitted


def fitted_weights(
    class_weights: ClassWeights | None,
    loss: Loss,
    rows_of_outputs: tuple[Shape, ...],
    targets: Sequence[Array | None] | None = None,
) -> ClassWeights | None:
    """Class weights fitted to the outputs of a model; the targets, as far as all are in memory."""
    if class_weights is None:
        return None
    targets = (None,) * len(rows_of_outputs) if targets is None else targets
    names = names_of("{}", "t", len(targets))
    return class_weights.fitted(loss, rows_of_outputs, targets, names)


def part_of(data: Data, part: Part) -> Batch:
    """The batch that consists of these samples, or a part of it."""
    if part.is_whole:
        return data.inputs, data.target, data.sample_weights
    return rows_of(data, part.of(len(data)))


def rows_of(data: Data, rows: slice) -> Batch:
    """Some rows of samples."""
    take = itemgetter(rows)
    inputs, targets = (tuple(map(take, arrays)) for arrays in (data.inputs, data.targets))
    return inputs, one_or_all(targets), each_array(take, data.sample_weights)


def rows_taken(rows: Rows) -> Callable[[Array], Array]:
    """A function that takes some rows of an array, which is read-only."""
    if isinstance(rows, slice):
        return lambda array: array[rows]
    return lambda array: read_only(array.take(rows, axis=0))


def data_from_pair(
    made: Any, number: int, outputs: int, *, maker: str, hint: str, copies: bool = True
) -> Data:
    """The data in a pair (x, t), or in (x, t, sample_weights), or in x alone.

    With ``copies`` they are copied: the code that made the batch may reuse its memory.
    """
    if has_shape(made):  # an array: whether the loss takes no target, `Data.fitted` checks
        made = (made, None)
    if not isinstance(made, tuple | list) or len(made) not in (2, 3):
        length = f" of {len(made)}" if hasattr(made, "__len__") else ""
        raise DataError(
            f"batch {number} from {maker} is not a pair",
            expected="(x, t) or (x, t, sample_weights)",
            received=f"{type(made).__name__}{length}",
            hint=hint,
        )
    x, t, *weights = made
    weight = weights[0] if weights else None
    try:
        data = Data.of(x, t, weight, named=f"{{}} of batch {number}", outputs=outputs)
        return data.copied() if copies or data.has_stored else data
    except DataError as error:
        error.batch = x if isinstance(x, tuple) else (x,), t, weight
        raise


def with_batch_numbers(batches: Iterator[Batch], done: int) -> Iterator[Batch]:
    """The same batches; an error that is not one of chainrule gets a note with the batch number."""
    number = done
    try:
        for number, batch in enumerate(batches, start=done + 1):  # noqa: B007
            yield batch
    except Exception as error:
        if not isinstance(error, ChainruleError):
            error.add_note(f"in batch {number + 1} of the epoch")
        raise


def indices_of(rows: Rows) -> Array:
    """The indices of some rows."""
    return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows
