"""Augmented batches: the batches of any kind of data, with inputs that are changed at random."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from attrs import define, field

from chainrule.core.arrays import read_only
from chainrule.core.input_checks import as_tuple
from chainrule.data.augmentation import Augmented
from chainrule.data.batches import Batch, Batches, OrderedBatches, RowsOfOutputs, rows_of
from chainrule.data.class_weights import ClassWeights
from chainrule.data.orders import require_same_run
from chainrule.data.part import Part
from chainrule.data.samples import Data
from chainrule.losses import Loss


@define(eq=False)
class AugmentedBatches(Batches):
    """Batches whose inputs are changed after they are taken from the data.

    Parameters
    ----------
    given
        The batches of the data.
    augmentation
        How they are changed.
    rng
        The generator from which each epoch draws the seed of its changes.

    Attributes
    ----------
    data
        Samples as they are given.
    """

    given: Batches
    augmentation: Augmented
    rng: np.random.Generator
    data: Data = field(init=False)
    class_weights: ClassWeights | None = field(init=False)
    _seed: int | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.data, self.class_weights = self.given.data, self.given.class_weights
        self.augmentation.require_images(self.data.row_shapes)

    def divide(self, part: Part) -> None:
        """Give only a part of each batch, with the changes that it has in the whole one."""
        super().divide(part)
        if isinstance(self.given, OrderedBatches):  # others are read as a whole
            self.given.divide(part)

    @property
    def steps(self) -> int:
        """The number of batches in an epoch."""
        return self.given.steps

    def fit_to(self, loss: Loss, rows_of_outputs: RowsOfOutputs, dtype: np.dtype[Any]) -> None:
        """Fit every batch to the loss and the model from now on; see `Data.fitted`."""
        self.given.fit_to(loss, rows_of_outputs, dtype)
        self.data, self.class_weights = self.given.data, self.given.class_weights

    def epoch(self, done: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, or the rest of it; see `Batches.epoch`."""
        if not done or self._seed is None:
            self._seed = int(self.rng.integers(2**63))
        return self._changed(self.given.epoch(done), done, self._seed)

    def _changed(self, batches: Iterator[Batch], done: int, seed: int) -> Iterator[Batch]:
        for number, ((x,), target, weights) in enumerate(batches, start=done):
            count = self._rows_of_batch(number) or len(x)
            rows = self.part.of(count)
            if count == len(x) and not self.part.is_whole:  # the given batch is whole
                (x,), target, weights = rows_of(Data((x,), as_tuple(target), weights), rows)
            rng = np.random.default_rng([seed, number])
            changed = self.augmentation.changed(x, rng, count, rows)
            yield (read_only(changed),), target, weights

    def _rows_of_batch(self, number: int) -> int:
        """How many rows a whole batch has; 0 if the given batches are whole."""
        given = self.given
        if not isinstance(given, OrderedBatches):
            return 0
        return min(given.batch_size, given.samples - number * given.batch_size)

    def position(self) -> dict[str, Any]:
        """The position in the data, and the seed of the epoch."""
        return {
            **self.given.position(),
            "augmentation": repr(self.augmentation),
            "seed": self._seed,
        }

    def go_to(self, position: Mapping[str, Any]) -> None:
        """Go to the position in the data, and take the seed of that epoch; see `Batches.go_to`."""
        require_same_run({"augmentation": repr(self.augmentation)}, position)
        self.given.go_to(position)
        self._seed = position["seed"]

    def close(self) -> None:
        """End the prefetch thread, if there is one."""
        self.given.close()
