"""Pair batches: a dataset that gives one sample at a time, ``dataset[i] → (x_i, t_i)``.

PyTorch's datasets have this form. Each batch requests its samples by index, in an order mixed by
one permutation, and stacks them; each sample is checked when it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from attrs import define, field

from chainrule.core.errors import DataError, ShapeError
from chainrule.core.types import Array
from chainrule.core.validators import FIXED_IN_A_RUN
from chainrule.data.batches import (
    Batch,
    OrderedBatches,
    RowsOfOutputs,
    fitted_weights,
    fitting,
    indices_of,
    rows_of,
    with_batch_numbers,
)
from chainrule.data.class_weights import ClassWeights
from chainrule.data.orders import Orders, Rows
from chainrule.data.prefetch import Prefetcher
from chainrule.data.samples import Data, names_of, one_or_all
from chainrule.data.sources import Stack
from chainrule.losses import Loss
from chainrule.losses.loss import NOTHING

TRIED = 8
"""How many samples are read before training, to determine their shapes and types."""


@define(eq=False, on_setattr=FIXED_IN_A_RUN)
class PairBatches(OrderedBatches):
    """Batches of the samples of a dataset that gives one pair for an index.

    Parameters
    ----------
    dataset
        An object with a length; ``dataset[i]`` is the pair (x_i, t_i) of one sample, or (x_i, t_i,
        w_i) with its weight. x_i is a tuple if the model has several inputs, and t_i if it has
        several outputs, for which w_i may be one, too.
    batch_size
        The number of samples in a batch.
    shuffle
        Whether to draw a new order for every epoch, by one permutation.
    rng
        The generator from which the order is drawn.
    outputs
        The number of outputs, each with a target.
    prefetch
        Whether to prepare the next batch in a thread while the network learns from the current one.
        The dataset must then be safe to read in a thread, and must not depend on the training.
    class_weights
        How much each class counts.

    Attributes
    ----------
    data
        The first samples, and the last one.
    """

    dataset: Any
    batch_size: int
    shuffle: bool | str
    rng: np.random.Generator
    outputs: int = 1
    prefetch: bool = False
    class_weights: ClassWeights | None = None
    data: Data = field(init=False)
    _orders: Orders = field(init=False)
    _prefetcher: Prefetcher = field(init=False)
    _fitted: Callable[[Data], Data] = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        samples = len(self.dataset)
        if not samples:
            raise DataError(
                "the dataset is empty",
                expected="at least one sample",
                received=f"{type(self.dataset).__name__} of length 0",
            )
        shuffle = "rows" if self.shuffle else False
        self._orders = Orders(shuffle, samples, self.batch_size, 1, 1, self.rng)
        self._prefetcher = Prefetcher(self.prefetch)
        self.data = self.read(self._tried)

    def fit_to(self, loss: Loss, rows_of_outputs: RowsOfOutputs, dtype: np.dtype[Any]) -> None:
        """Fit every batch to the loss and the model from now on; see `Data.fitted`."""
        rows = rows_of_outputs(self.data)
        self.class_weights = fitted_weights(self.class_weights, loss, rows)
        fitted = fitting(loss, rows_of_outputs, dtype, self.class_weights)
        self.data, self._fitted = fitted(self.data), fitted

    def epoch(self, done: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, or the rest of it; see `Batches.epoch`."""
        row_sets = self._orders.for_epoch(done).rows(self.batch_size, done * self.batch_size)
        return with_batch_numbers(self._prefetcher.iterate(map(self._batch, row_sets)), done)

    def read_again(self) -> Data:
        """The first samples and the last one, read once more."""
        return self._fitted(self.read(self._tried))

    @property
    def _tried(self) -> Array:
        last = len(self.dataset) - 1
        return np.unique([*range(min(TRIED - 1, last)), last])

    def _batch(self, rows: Rows) -> Batch:
        indices = indices_of(rows)
        own = indices[self.part.of(len(indices))]
        if not len(own):  # `read` cannot know the shapes of nothing
            return rows_of(self.data, slice(0))
        data = self._fitted(self.read(own))
        return data.inputs, data.target, data.sample_weights

    def read(self, rows: Array) -> Data:
        """The samples with these indices, stacked but not fitted to a model.

        Each is copied before the next is read, since a dataset may reuse its memory.
        """
        indices = rows.tolist()
        first: Any = None
        stacks: list[Stack] = []
        for index in indices:
            sample = self._sample(index)
            form = self._form(sample)
            first = first or form
            self._require_form(index, form, first)
            x, t, *weights = sample
            x, t = x if isinstance(x, tuple) else (x,), t if self.outputs != 1 else (t,)
            t = [np.zeros(NOTHING) if own is None else own for own in t]
            if weights and self.outputs != 1 and isinstance(weights[0], tuple):
                weights = list(weights[0])
            if not stacks:
                parts = {"x": x, "t": t, "sample_weights": weights}.items()
                names = [name for letter, own in parts for name in names_of("{}", letter, len(own))]
                stacks = [Stack(name, len(rows)) for name in names]
            for stack, row in zip(stacks, (*x, *t, *weights), strict=True):
                stack.add(index, row)
        inputs = first[1]
        arrays = [stack.array for stack in stacks]
        return Data.of(
            tuple(arrays[:inputs]),
            one_or_all(tuple(arrays[inputs : inputs + self.outputs])),
            one_or_all(tuple(arrays[inputs + self.outputs :])) if first[0] == 3 else None,
            outputs=self.outputs,
            rows=rows,
        )

    def _sample(self, index: int) -> Any:
        try:
            return self.dataset[index]
        except Exception as error:
            error.add_note(f"while reading sample {index:,} of the dataset")
            raise

    def _form(self, sample: Any) -> tuple[int, ...] | str:
        """The numbers of elements in a sample, its x, t and weights; its type if it is no pair."""
        if not isinstance(sample, tuple | list) or len(sample) not in (2, 3):
            length = f" of {len(sample)}" if hasattr(sample, "__len__") else ""
            return f"{type(sample).__name__}{length}"
        x, t, *weights = sample
        several = isinstance(t, tuple | list) and self.outputs != 1
        of_outputs = [len(own) for own in weights if isinstance(own, tuple)]
        counts = len(x) if isinstance(x, tuple) else 1, len(t) if several else 1
        return len(sample), *counts, *of_outputs

    def _require_form(self, index: int, form: Any, first: Any) -> None:
        t = f"a tuple of {self.outputs}" if self.outputs != 1 else "one target"
        if isinstance(form, str):
            raise DataError(
                "a sample of the dataset is not a pair",
                place=f"sample {index:,}",
                expected="(x_i, t_i), or (x_i, t_i, weight)",
                received=form,
                hint="make the dataset's __getitem__ return x_i, t_i; "
                "if it holds only the inputs: fit(dataset, t)",
            )
        if form != first or form[2] != self.outputs:
            raise ShapeError(
                "a sample of the dataset has the wrong number of elements",
                place=f"sample {index:,}",
                expected=f"{first[0]} elements, with {first[1]} in x_i, and t_i {t}",
                received=f"{form[0]} elements, with {form[1]} in x_i and {form[2]} in t_i",
            )
