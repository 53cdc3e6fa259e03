"""Pair batches: a data set that gives one sample after another, ``dataset[i] → (x_i, t_i)``.

As PyTorch's data sets are. Each batch asks for its samples by number, in an order that one
permutation has mixed, and stacks them; what comes is looked at when it comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from attrs import define, field

from chainrule.core.errors import DataError, ShapeError
from chainrule.core.types import Array, Shape
from chainrule.data.batches import Batch, OrderedBatches, fitting, numbers_in, with_batch_numbers
from chainrule.data.class_weights import ClassWeights
from chainrule.data.orders import Orders, Rows
from chainrule.data.prefetch import Prefetcher
from chainrule.data.samples import Data, names_of, one_or_all
from chainrule.data.sources import stacked
from chainrule.losses import Loss

TRIED = 8
"""How many samples are read before the training, to see what they are."""


@define(eq=False)
class PairBatches(OrderedBatches):
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
    prefetch
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
    prefetch: bool = True
    class_weights: ClassWeights | None = None
    data: Data = field(init=False)
    _orders: Orders = field(init=False)
    _prefetcher: Prefetcher = field(init=False)
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
        self._prefetcher = Prefetcher(self.prefetch)
        self.data = self.read(np.arange(min(TRIED, samples)))

    def fit_to(self, loss: Loss, rows_of_outputs: tuple[Shape, ...], dtype: np.dtype[Any]) -> None:
        """From now on make every batch what a loss and a model take; see `Data.fitted`."""
        fitted = fitting(loss, rows_of_outputs, dtype, self.class_weights)
        self.data, self._fitted = fitted(self.data), fitted

    def epoch(self, done: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, or the rest of it; see `Batches.epoch`."""
        parts = self._orders.of_epoch(done).rows(self.batch_size, done * self.batch_size)
        return with_batch_numbers(self._prefetcher.through(map(self._batch, parts)), done)

    def _batch(self, part: Rows) -> Batch:
        data = self._fitted(self.read(numbers_in(part)))
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
                hint="let the data set's __getitem__ return x_i, t_i; "
                "if it holds the inputs only: fit(dataset, t)",
            )
        if form != first or form[2] != self.outputs:
            raise ShapeError(
                "a sample of the data set has other parts than it should have",
                place=f"sample {number:,}",
                expected=f"{first[0]} parts, with {first[1]} in x_i, and t_i {t}",
                received=f"{form[0]} parts, with {form[1]} in x_i and {form[2]} in t_i",
            )


def _columns(letter: str, columns: Any, places: list[int]) -> tuple[Array, ...]:
    names = names_of("{}", letter, len(columns))
    return tuple(
        stacked(name, [np.asarray(row) for row in rows], places)
        for name, rows in zip(names, columns, strict=True)
    )
