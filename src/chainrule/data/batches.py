"""Batches: the samples of one training step, cut from arrays or made fresh.

The gradient of the average cost over all N samples is estimated from a few of them, the batch B:

    ∂C/∂θ ≈ (1/|B|) Σ_{s ∈ B} ∂c_s/∂θ

An epoch goes once through all samples. They are shuffled before it by one permutation, so that
each stands in exactly one batch; the last batch has what is left over. Where samples cost nothing,
as in the lecture, a function makes fresh ones for every step and none is ever seen twice.

There are other kinds, for data that do not lie in memory: see `chainrule.data.batches_of`.
All of them can be left after any batch and entered again there, in another process: `position` says
where, in plain numbers, and `go_to` finds it. What is random in an epoch is drawn from a generator,
so a position holds the generator's state, and the one from which the running order was drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeAlias

import numpy as np
from attrs import define, field

from chainrule.core.errors import ChainruleError, DataError, ShapeError
from chainrule.core.layer_state import copied_generator, set_state, state_of
from chainrule.core.types import Array, Shape
from chainrule.data.class_weights import ClassWeights
from chainrule.data.orders import Orders, Rows, require_the_same
from chainrule.data.prefetch import Prefetcher
from chainrule.data.samples import Data, one_or_all
from chainrule.data.sources import DataSource, block_of, held
from chainrule.losses import Loss

Batch: TypeAlias = tuple[tuple[Array, ...], Any, Array | None]
"""The inputs, the target (a tuple for several outputs) and the sample weights of one step."""


class Batches:
    """What every kind of batches is.

    Attributes
    ----------
    data
        Samples that say what a model has to be built for, and on which it is tried first: all of
        them where they are in memory, else the first ones.
    """

    data: Data

    @property
    def steps(self) -> int:
        """How many batches an epoch has."""
        raise NotImplementedError

    def fit_to(self, loss: Loss, rows_of_outputs: tuple[Shape, ...], dtype: np.dtype[Any]) -> None:
        """From now on make every batch what a loss and a model take; see `Data.fitted`."""
        raise NotImplementedError

    def epoch(self, done: int = 0) -> Iterator[Batch]:
        """The batches of one epoch.

        Parameters
        ----------
        done
            How many of its batches were used already: then the rest of the running epoch, which
            `go_to` has found again or which was left. If none, a new epoch.
        """
        raise NotImplementedError

    def position(self) -> dict[str, Any]:
        """All that is needed to go on after the batch that was handed out last, for JSON."""
        raise NotImplementedError

    def go_to(self, position: Mapping[str, Any]) -> None:
        """Stand where another object of this kind stood when it was asked for its position.

        ``epoch(done)`` then gives what would have followed there.

        Raises
        ------
        ConfigurationError
            These are other data, or they are gone through in another way.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End the prefetch thread, if there is one; see `Prefetcher.close`."""


class OrderedBatches(Batches):
    """Batches of samples that are there, in an order that is drawn for each epoch."""

    batch_size: int
    rng: np.random.Generator
    _orders: Orders
    _prefetcher: Prefetcher

    def _arrange(self, sources: Sequence[DataSource], shuffle: bool | str, prefetch: bool) -> None:
        """Get ready to give the rows of these in some order, and to prefetch."""
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
        """How many batches an epoch has."""
        return self._orders.steps

    def position(self) -> dict[str, Any]:
        """Where the generator stands, and where it stood before the order was drawn."""
        return self._orders.position()

    def go_to(self, position: Mapping[str, Any]) -> None:
        """Draw the running order again; see `Batches.go_to`."""
        self._orders.go_to(position)

    def close(self) -> None:
        """End the prefetch thread, if there is one."""
        self._prefetcher.close()


@define(eq=False)
class ArrayBatches(OrderedBatches):
    """Batches of the rows of arrays.

    Parameters
    ----------
    data
        All samples.
    batch_size
        How many of them make a batch.
    shuffle
        Whether their order is drawn anew for every epoch: ``"rows"`` or True, or ``"blocks"``; see
        `chainrule.data.orders`.
    rng
        The generator that it is drawn from: one permutation for each epoch.
    prefetch
        Whether the next batch is made ready in a thread. For arrays that costs more than it
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
        sources = held((*self.data.inputs, *self.data.targets))
        self._arrange(sources, "rows" if self.shuffle is True else self.shuffle, self.prefetch)

    def fit_to(self, loss: Loss, rows_of_outputs: tuple[Shape, ...], dtype: np.dtype[Any]) -> None:
        """Make the samples what a loss and a model take; see `Data.fitted`."""
        data = self.data.fitted(loss, rows_of_outputs, dtype)
        if self.class_weights is not None:
            name = data.names_of_targets[0]
            weights = self.class_weights.for_targets(rows_of_outputs[0], data.targets[0], name)
            data = weights.times(data)
        self.data = data

    def epoch(self, done: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, or the rest of it; see `Batches.epoch`."""
        order = self._orders.of_epoch(done)
        parts = order.rows(self.batch_size, done * self.batch_size)
        return self._prefetcher.through(map(self._batch, parts))

    def _batch(self, part: Rows) -> Batch:
        data, weights = self.data, self.data.sample_weights
        arrays, count = (*data.inputs, *data.targets), len(data.inputs)
        if isinstance(part, slice):
            w = None if weights is None else weights[part]
            rows = tuple([array[part] for array in arrays])
        else:
            w = None if weights is None else weights.take(part)
            rows = tuple([array.take(part, axis=0) for array in arrays])
        return rows[:count], one_or_all(rows[count:]), w


@define(eq=False)
class FreshBatches(Batches):
    """Batches from a function, a new one for every step.

    Parameters
    ----------
    make_batch
        A function of a random generator that returns a pair (x, t). It is called once for every
        step, in order.
    steps
        How many batches an epoch has.
    rng
        The generator that it is called with.
    outputs
        How many outputs there are targets for: t is a tuple where there are several.
    prefetch
        Whether the next batch is made in a thread while the current one is learned from. The
        function is then given a copy of the generator. If someone else, such as a callback, has
        drawn from the generator in the meantime, that batch is thrown away and made again, so that
        all numbers are those that they are without a thread. The function must be safe in
        a thread, depend on nothing but its generator, and draw from that without spawning others.
    class_weights
        How much each class counts.

    Attributes
    ----------
    data
        The batch of the first step, prefetched: it says what a model has to be built for.

    Notes
    -----
    A position holds the generator's state, and how many batches were made. A function that
    remembers something of its own between two calls cannot be put back to where it was.
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
        self.data = self._made(self.rng, 1)

    def fit_to(self, loss: Loss, rows_of_outputs: tuple[Shape, ...], dtype: np.dtype[Any]) -> None:
        """From now on make every batch what a loss and a model take; see `Data.fitted`."""
        self._fitted = fitting(loss, rows_of_outputs, dtype, self.class_weights)
        self.data = self._fitted(self.data)

    def epoch(self, done: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, or the rest of it; see `Batches.epoch`."""
        coming: _Coming | None = None
        self._prefetcher.settle()  # what an epoch that was left has begun
        try:
            for number in range(done + 1, self.steps + 1):
                data = self._next(coming)
                self._used += 1
                coming = self._begun() if self.prefetch and number < self.steps else None
                yield data.inputs, data.target, data.sample_weights
        finally:
            if coming is not None:
                coming[1].cancel()

    def position(self) -> dict[str, Any]:
        """Where the generator stands, and how many batches were made with it."""
        before = None if self._used else self._before
        return {"used": self._used, "first": before, "rng": state_of(self.rng)}

    def go_to(self, position: Mapping[str, Any]) -> None:
        """Let the generator go on where it was; see `Batches.go_to`."""
        require_the_same({"bit_generator": state_of(self.rng)["bit_generator"]}, position["rng"])
        if not position["used"]:
            set_state(self.rng, position["first"])
            self._before = position["first"]
            self.data = self._fitted(self._made(self.rng, 1))
        self._used = position["used"]
        set_state(self.rng, position["rng"])

    def close(self) -> None:
        """End the prefetch thread, if there is one."""
        self._prefetcher.close()

    def _next(self, coming: _Coming | None) -> Data:
        if not self._used:
            return self.data
        if coming is not None:
            before, making = coming
            if state_of(self.rng) == before:  # nobody else has drawn from it
                data, after = making.result()
                set_state(self.rng, after)
                return data
            self._prefetcher.settle()
        return self._ready(self.rng, self._used + 1)

    def _begun(self) -> _Coming:
        rng, number = copied_generator(self.rng), self._used + 1

        def make() -> tuple[Data, dict[str, Any]]:
            return self._ready(rng, number), state_of(rng)

        return state_of(self.rng), self._prefetcher.begin(make)

    def _ready(self, rng: np.random.Generator, number: int) -> Data:
        data = self._made(rng, number)
        require_alike(data, self.data, number)
        return self._fitted(data)

    def _made(self, rng: np.random.Generator, number: int) -> Data:
        try:
            made = self.make_batch(rng)
        except Exception as error:
            error.add_note(f"in make_batch, which was called for batch {number}")
            raise
        return batch_in(
            made,
            number,
            self.outputs,
            what="what make_batch returned is",
            hint="end the function with: return x, t",
        )


_Coming: TypeAlias = tuple[dict[str, Any], "Future[tuple[Data, dict[str, Any]]]"]


def fitting(
    loss: Loss,
    rows_of_outputs: tuple[Shape, ...],
    dtype: np.dtype[Any],
    class_weights: ClassWeights | None,
) -> Callable[[Data], Data]:
    """What makes each batch what a loss and a model take, with the weights of its classes."""
    if class_weights is not None:
        class_weights = class_weights.for_targets(rows_of_outputs[0], None, "t")

    def fitted(data: Data) -> Data:
        data = data.fitted(loss, rows_of_outputs, dtype)
        return data if class_weights is None else class_weights.times(data)

    return fitted


def batch_in(
    made: Any, number: int, outputs: int, *, what: str, hint: str, may_weigh: bool = False
) -> Data:
    """The data in a pair (x, t), or where that may be in (x, t, sample_weights)."""
    counts = (2, 3) if may_weigh else (2,)
    if not isinstance(made, tuple | list) or len(made) not in counts:
        length = f" of {len(made)}" if hasattr(made, "__len__") else ""
        raise DataError(
            f"batch {number}: {what} not a pair",
            expected="(x, t)" + " or (x, t, sample_weights)" * may_weigh,
            received=f"{type(made).__name__}{length}",
            hint=hint,
        )
    x, t, *weights = made
    weight = weights[0] if weights else None
    try:
        return Data.of(x, t, weight, named=f"{{}} of batch {number}", outputs=outputs)
    except DataError as error:
        error.batch = x if isinstance(x, tuple) else (x,), t, weight
        raise


def require_alike(data: Data, first: Data, number: int) -> None:
    """Refuse a batch whose rows have another shape than those of the first."""
    shapes, expected = (
        [array.shape[1:] for array in (*of.inputs, *of.targets)] for of in (data, first)
    )
    if shapes != expected:
        raise ShapeError(
            f"the rows of batch {number} are of another shape than those before",
            expected="x and t with rows of shape " + " and ".join(map(str, expected)),
            received="x and t with rows of shape " + " and ".join(map(str, shapes)),
            hint="only the number of rows may change from batch to batch",
        )


def with_batch_numbers(batches: Iterator[Batch], done: int) -> Iterator[Batch]:
    """The same batches; an error of someone else's, on the way, says for which it was."""
    number = done
    try:
        for number, batch in enumerate(batches, start=done + 1):  # noqa: B007
            yield batch
    except Exception as error:
        if not isinstance(error, ChainruleError):
            error.add_note(f"in batch {number + 1} of the epoch")
        raise


def numbers_in(part: Rows) -> Array:
    """The numbers of the rows of a part."""
    return np.arange(part.start, part.stop) if isinstance(part, slice) else part
