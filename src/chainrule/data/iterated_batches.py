"""Iterated batches: those that an iterable gives, such as a generator or a loader.

Whoever has a loader already has batches. They come in the order in which it gives them, one for
each step; how long an epoch is depends on what it is:

* an iterable with a length, such as a loader of another library: one pass is one epoch;
* with ``steps_per_epoch``: an epoch is so many batches, and where a pass ends in between, the next
  pass goes on;
* an iterator, such as a generator, gives its batches once. It needs ``steps_per_epoch``, and has to
  have as many batches as all epochs need.

A run that is resumed takes all the batches that were used before and drops them, because an
iterable says nothing of where it stands. So it has to give the same batches again, in a new process
too: seed what is random in it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import islice
from typing import Any

import numpy as np
from attrs import define, field

from chainrule.core.errors import DataError
from chainrule.core.layer_state import set_state, state_of
from chainrule.core.types import Shape
from chainrule.data.batches import Batch, Batches, batch_in, fitting, require_alike
from chainrule.data.class_weights import ClassWeights
from chainrule.data.orders import require_the_same
from chainrule.data.prefetch import Prefetcher
from chainrule.data.samples import Data
from chainrule.losses import Loss


@define(eq=False)
class IteratedBatches(Batches):
    """Batches from an iterable of pairs (x, t), or of (x, t, sample_weights).

    Parameters
    ----------
    iterable
        What gives them.
    steps
        How many batches an epoch has.
    rng
        The trainer's generator. Nothing is drawn from it, but a position holds its state.
    outputs
        How many outputs there are targets for: t is a tuple where there are several.
    by_passes
        Whether an epoch is one pass, begun anew, and not the next ``steps`` batches.
    prefetch
        Whether the next batch is taken in a thread while the current one is learned from. One that
        was taken when a run is stopped in the middle of an epoch is lost to whoever goes on
        with the iterator.
    class_weights
        How much each class counts.

    Attributes
    ----------
    data
        The first batch: it says what a model has to be built for, and is used first.
    """

    iterable: Any
    steps: int
    rng: np.random.Generator
    outputs: int = 1
    by_passes: bool = False
    prefetch: bool = True
    class_weights: ClassWeights | None = None
    data: Data = field(init=False)
    _coming: Iterator[Any] = field(init=False)
    _given: int = field(default=0, init=False)
    _used: int = field(default=0, init=False)
    _waiting: deque[Data] = field(factory=deque, init=False)
    _fitted: Callable[[Data], Data] = field(default=None, init=False)
    _prefetcher: Prefetcher = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._prefetcher = Prefetcher(self.prefetch)
        self._coming = self._items()
        self.data = self._read(next(self._coming))

    def fit_to(self, loss: Loss, rows_of_outputs: tuple[Shape, ...], dtype: np.dtype[Any]) -> None:
        """From now on make every batch what a loss and a model take; see `Data.fitted`."""
        fitted = fitting(loss, rows_of_outputs, dtype, self.class_weights)
        self.data, self._fitted = fitted(self.data), fitted
        self._waiting.append(self.data)

    def epoch(self, done: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, or the rest of it; see `Batches.epoch`."""
        with closing(self._prefetcher.through(self._next(self.steps - done))) as coming:
            for data in coming:
                self._waiting.popleft()
                self._used += 1
                yield data.inputs, data.target, data.sample_weights

    def position(self) -> dict[str, Any]:
        """How many batches were used."""
        return {"used": self._used, "steps": self.steps, "rng": state_of(self.rng)}

    def go_to(self, position: Mapping[str, Any]) -> None:
        """Take and drop the batches that were used; see `Batches.go_to`."""
        require_the_same({"steps": self.steps}, position)
        self._prefetcher.settle()
        if position["used"]:
            self._waiting.clear()
            for _ in range(position["used"] - self._given):
                next(self._coming)
        self._used = position["used"]
        set_state(self.rng, position["rng"])

    def close(self) -> None:
        """End the prefetch thread, if there is one."""
        self._prefetcher.close()

    def _next(self, count: int) -> Iterator[Data]:
        """The next batches; each waits until it is handed out."""
        left = list(self._waiting)
        yield from left[:count]
        for _ in range(count - len(left)):
            data = self._read(next(self._coming))
            require_alike(data, self.data, self._given)
            data = self._fitted(data)
            self._waiting.append(data)
            yield data

    def _read(self, item: Any) -> Data:
        return batch_in(
            item,
            self._given,
            self.outputs,
            what="what the iterable gave is",
            hint="let it give pairs of arrays, x and t of one batch each",
            may_weigh=True,
        )

    def _items(self) -> Iterator[Any]:
        """Pass after pass, without an end."""
        while True:
            begun = self._given
            coming = self._asked(iter, self.iterable)
            is_only_pass = coming is self.iterable
            for item in self._each(islice(coming, self.steps if self.by_passes else None)):
                self._given += 1
                yield item
            found = self._given - begun
            if is_only_pass or not found or (self.by_passes and found < self.steps):
                raise self._ended(found)

    def _each(self, coming: Iterator[Any]) -> Iterator[Any]:
        end = object()
        while (item := self._asked(next, coming, end)) is not end:
            yield item

    def _asked(self, function: Callable[..., Any], *given: Any) -> Any:
        try:
            return function(*given)
        except Exception as error:
            error.add_note(f"in the iterable of batches, asked for batch {self._given + 1}")
            raise

    def _ended(self, found: int) -> DataError:
        name = type(self.iterable).__name__
        after = f"after batch {self._given:,}" if self._given else "before the first one"
        if self.by_passes:
            return DataError(
                f"the batches ended {after}, in the middle of an epoch",
                expected=f"{self.steps:,} batches in each pass, as the length of {name} says",
                received=f"a pass of {found:,}",
            )
        return DataError(
            f"the batches ended {after}",
            expected=f"{self.steps:,} batches for each epoch",
            received=f"{name}, which gave {found:,} and has no more",
            hint="give an object that can be iterated over again; fewer epochs; or a smaller "
            "steps_per_epoch",
        )
