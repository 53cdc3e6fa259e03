"""Iterated batches: batches from an iterable, such as a generator or a loader.

A loader already makes batches. They are used in the order in which it gives them, one for each
step. The length of an epoch depends on the kind of iterable:

* an iterable with a length, such as a loader of another library: one pass is one epoch, and has as
  many batches as the length says, no fewer and no more;
* with ``steps_per_epoch``: an epoch is that many batches, and if a pass ends in the middle of an
  epoch, the next pass continues it;
* an iterator, such as a generator, gives its batches only once. It needs ``steps_per_epoch``, and
  enough batches for all epochs.

An iterable does not report its position. So a resumed run takes all batches that were used before
and discards them. The iterable has to give the same batches again, even in a new process, so seed
everything random in it. Of an iterable with several passes, the first batch is compared; of an
iterator, nothing can be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import numpy as np
from attrs import define, field

from chainrule.core.errors import DataError
from chainrule.core.layer_state import set_state, state_of
from chainrule.core.validators import FIXED_IN_A_RUN
from chainrule.data.batches import (
    Batch,
    Batches,
    RowsOfOutputs,
    data_from_pair,
    fitted_weights,
    fitting,
    part_of,
)
from chainrule.data.class_weights import ClassWeights
from chainrule.data.orders import require_same_run
from chainrule.data.prefetch import END, Prefetcher
from chainrule.data.samples import Data
from chainrule.losses import Loss


@define(eq=False, on_setattr=FIXED_IN_A_RUN)
class IteratedBatches(Batches):
    """Batches from an iterable of pairs (x, t), or of (x, t, sample_weights).

    Parameters
    ----------
    iterable
        The object that gives the batches.
    steps
        The number of batches in an epoch.
    rng
        The generator of the trainer. Nothing is drawn from it, but a position holds its state.
    outputs
        The number of outputs, each with a target: with several, t is a tuple.
    by_passes
        Whether each epoch is one new pass, rather than the next ``steps`` batches.
    prefetch
        Whether to take the next batch in a thread while the network learns from the current one.
        The iterable must then be safe in a thread and must not depend on the training. If the run
        is stopped in the middle of an epoch, a batch that was already taken is lost to later uses
        of the iterator.
    class_weights
        How much each class counts.

    Attributes
    ----------
    data
        The first batch: it determines which shapes a model is built for, and is used first.
    """

    iterable: Any
    steps: int
    rng: np.random.Generator
    outputs: int = 1
    by_passes: bool = False
    prefetch: bool = False
    class_weights: ClassWeights | None = None
    data: Data = field(init=False)
    _iterator: Iterator[Any] = field(init=False)
    _given: int = field(default=0, init=False)
    _used: int = field(default=0, init=False)
    _waiting: deque[Data] = field(factory=deque, init=False)
    _fitted: Callable[[Data], Data] = field(default=None, init=False)
    _prefetcher: Prefetcher = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._prefetcher = Prefetcher(self.prefetch)
        self._iterator = self._items()
        self.data = self._read(self._take())

    def fit_to(self, loss: Loss, rows_of_outputs: RowsOfOutputs, dtype: np.dtype[Any]) -> None:
        """Fit every batch to the loss and the model from now on; see `Data.fitted`."""
        rows = rows_of_outputs(self.data)
        self.class_weights = fitted_weights(self.class_weights, loss, rows)
        fitted = fitting(loss, rows_of_outputs, dtype, self.class_weights)
        self.data, self._fitted = fitted(self.data), fitted
        self._waiting.append(self.data)

    def epoch(self, done: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, or the rest of it; see `Batches.epoch`."""
        with closing(self._prefetcher.iterate(self._next(self.steps - done))) as batches:
            for data in batches:
                self._waiting.popleft()
                self._used += 1
                yield part_of(data, self.part)

    def position(self) -> dict[str, Any]:
        """The number of batches that were used."""
        return {"used": self._used, "steps": self.steps, "rng": state_of(self.rng)}

    def go_to(self, position: Mapping[str, Any]) -> None:
        """Take and discard the batches that were used; see `Batches.go_to`."""
        require_same_run({"steps": self.steps}, position)
        self._prefetcher.wait_for_last()
        if position["used"]:
            self._waiting.clear()
            for _ in range(position["used"] - self._given):
                self._take()
        self._used = position["used"]
        set_state(self.rng, position["rng"])

    def read_again(self) -> Data | None:
        """The first batch of a new pass, if there can be one."""
        iterator = self._call(iter, self.iterable)
        if iterator is self.iterable:
            return None
        return self._fitted(self._read(self._call(next, iterator)))

    def close(self) -> None:
        """End the prefetch thread, if there is one."""
        self._prefetcher.close()

    def _next(self, count: int) -> Iterator[Data]:
        """The next batches; each stays in ``_waiting`` until it is returned."""
        waiting = list(self._waiting)
        yield from waiting[:count]
        for _ in range(count - len(waiting)):
            data = self._fitted(self._read(self._take()))
            self._waiting.append(data)
            yield data
        if self.by_passes and count:
            next(self._iterator)  # the end of the pass, or an error if there is another batch

    def _take(self) -> Any:
        """The next item, of this pass or of the next one."""
        item = next(self._iterator)
        return next(self._iterator) if item is END else item

    def _read(self, item: Any) -> Data:
        return data_from_pair(
            item,
            self._given,
            self.outputs,
            maker="the iterable",
            hint="make the iterable give pairs of arrays, the x and t of one batch",
            copies=not isinstance(self.iterable, list | tuple),
        )

    def _items(self) -> Iterator[Any]:
        """The items of one pass after another, without end; with ``by_passes``, END after each."""
        while True:
            start = self._given
            iterator = self._call(iter, self.iterable)
            for item in self._each(iterator):
                if self.by_passes and self._given - start == self.steps:
                    raise self._too_long()
                self._given += 1
                yield item
            found = self._given - start
            if not found or (self.by_passes and found < self.steps):
                raise self._ended(found)
            if self.by_passes:
                yield END
            if iterator is self.iterable:  # it has only one pass
                raise self._ended(found)

    def _each(self, iterator: Iterator[Any]) -> Iterator[Any]:
        end = object()
        while (item := self._call(next, iterator, end)) is not end:
            yield item

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            error.add_note(f"in the iterable of batches, at batch {self._given + 1}")
            raise

    def _too_long(self) -> DataError:
        name = type(self.iterable).__name__
        return DataError(
            f"the iterable gave more batches than its length, which is {self.steps:,}",
            expected=f"{self.steps:,} batches in each pass, the length of {name}",
            received=f"batch {self.steps + 1:,} of a pass",
            hint=f"make the __len__ of {name} count its batches; or "
            "steps_per_epoch=…, with which passes and epochs are independent",
        )

    def _ended(self, found: int) -> DataError:
        name = type(self.iterable).__name__
        after = f"after batch {self._given:,}" if self._given else "before the first one"
        if self.by_passes:
            return DataError(
                f"the batches ended {after}, in the middle of an epoch",
                expected=f"{self.steps:,} batches in each pass, the length of {name}",
                received=f"a pass of {found:,} batches",
            )
        return DataError(
            f"the batches ended {after}",
            expected=f"{self.steps:,} batches for each epoch",
            received=f"{name}, which ended after {found:,}",
            hint="use an object that can be iterated again, fewer epochs, or a smaller "
            "steps_per_epoch",
        )
