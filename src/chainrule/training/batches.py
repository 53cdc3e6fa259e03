"""Batches: the samples of one training step, cut from arrays or made fresh.

The gradient of the average cost over all N samples is estimated from a few of them, the batch B:

    ∂C/∂θ ≈ (1/|B|) Σ_{s ∈ B} ∂c_s/∂θ

An epoch goes once through all samples. They are shuffled before it by one permutation, so that
each stands in exactly one batch; the last batch has what is left over. Where samples cost nothing,
as in the lecture, a function makes fresh ones for every step and none is ever seen twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from attrs import define, field

from chainrule.core.errors import DataError, ShapeError
from chainrule.core.initializers import Shape
from chainrule.core.parameter import Array
from chainrule.training.data import Data, one_or_all
from chainrule.training.losses import Loss

Batch: TypeAlias = tuple[tuple[Array, ...], Any, Array | None]
"""The inputs, the target (a tuple for several outputs) and the sample weights of one step."""


def _as_it_is(data: Data) -> Data:
    return data


@define(eq=False)
class ArrayBatches:
    """Batches of the rows of arrays.

    Parameters
    ----------
    data
        All samples.
    batch_size
        How many of them make a batch.
    shuffle
        Whether their order is drawn anew for every epoch.
    rng
        The generator that it is drawn from: one permutation for each epoch.
    """

    data: Data
    batch_size: int
    shuffle: bool
    rng: np.random.Generator

    @property
    def steps(self) -> int:
        """How many batches an epoch has."""
        return -(-len(self.data) // self.batch_size)

    def fit_to(self, loss: Loss, rows_of_outputs: tuple[Shape, ...], dtype: np.dtype[Any]) -> None:
        """Make the samples what a loss and a model take; see `Data.fitted`."""
        self.data = self.data.fitted(loss, rows_of_outputs, dtype)

    def epoch(self) -> Iterator[Batch]:
        """The batches of one epoch."""
        data, weights = self.data, self.data.sample_weights
        arrays, count = (*data.inputs, *data.targets), len(data.inputs)
        order = self.rng.permutation(len(data)) if self.shuffle else None
        for start in range(0, len(data), self.batch_size):
            part = slice(start, start + self.batch_size)
            if order is None:
                w = None if weights is None else weights[part]
                rows = tuple([array[part] for array in arrays])
            else:
                places = order[part]
                w = None if weights is None else weights.take(places)
                rows = tuple([array.take(places, axis=0) for array in arrays])
            yield rows[:count], one_or_all(rows[count:]), w


@define(eq=False)
class FreshBatches:
    """Batches from a function, a new one for every step.

    Parameters
    ----------
    make_batch
        A function of a random generator that returns a pair (x, t). It is called once for every
        step, in order.
    steps
        How many batches an epoch has.
    rng
        The generator that it is called with; nothing else takes from it.
    outputs
        How many outputs there are targets for: t is a tuple where there are several.

    Attributes
    ----------
    data
        The batch of the first step, made ahead: it says what a model has to be built for.
    """

    make_batch: Callable[[np.random.Generator], Any]
    steps: int
    rng: np.random.Generator
    outputs: int = 1
    data: Data = field(init=False)
    _fitted: Callable[[Data], Data] = field(default=_as_it_is, init=False)
    _made: int = field(default=0, init=False)
    _is_used: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.data = self._make()

    def fit_to(self, loss: Loss, rows_of_outputs: tuple[Shape, ...], dtype: np.dtype[Any]) -> None:
        """From now on make every batch what a loss and a model take; see `Data.fitted`."""

        def fitted(data: Data) -> Data:
            return data.fitted(loss, rows_of_outputs, dtype)

        self._fitted, self.data = fitted, fitted(self.data)

    def epoch(self) -> Iterator[Batch]:
        """The batches of one epoch."""
        for _ in range(self.steps):
            data = self._fitted(self._like_the_first(self._make())) if self._is_used else self.data
            self._is_used = True
            yield data.inputs, data.target, None

    def _make(self) -> Data:
        self._made += 1
        place = f"batch {self._made}"
        try:
            made = self.make_batch(self.rng)
        except Exception as error:
            error.add_note(f"in make_batch, which was called for {place}")
            raise
        if not isinstance(made, tuple | list) or len(made) != 2:
            length = f" of {len(made)}" if hasattr(made, "__len__") else ""
            raise DataError(
                f"{place}: what make_batch returned is not a pair",
                expected="(x, t)",
                received=f"{type(made).__name__}{length}",
                mend="end the function with: return x, t",
            )
        return Data.of(made[0], made[1], named=f"{{}} of {place}", outputs=self.outputs)

    def _like_the_first(self, data: Data) -> Data:
        shapes, expected = (
            [array.shape[1:] for array in (*of.inputs, *of.targets)] for of in (data, self.data)
        )
        if shapes != expected:
            raise ShapeError(
                f"the rows of batch {self._made} are of another shape than those before",
                expected="x and t with rows of shape " + " and ".join(map(str, expected)),
                received="x and t with rows of shape " + " and ".join(map(str, shapes)),
                mend="only the number of rows may change from batch to batch",
            )
        return data
