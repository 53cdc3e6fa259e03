"""The sums of a step: what its batches add to the figures of an epoch.

Costs and most metrics are sums over rows, which can be added over batches, and over the ranks that
each compute a part of a batch (`chainrule.training.ranks`). A metric that is not, such as a
function of (y, t), needs all rows: rank 0 collects them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define, field

from chainrule.core.errors import RankError
from chainrule.core.input_checks import as_tuple
from chainrule.core.layer import Layer
from chainrule.core.types import Array, Shape
from chainrule.data.samples import each_array
from chainrule.losses import Loss
from chainrule.training.history_columns import Columns
from chainrule.training.metric import is_additive
from chainrule.training.ranks import Ranks

if TYPE_CHECKING:
    from chainrule.data.batches import Batch

Kept = tuple[Any, Any, Any]
"""The outputs, the target and the weights of a part of a batch."""


@define(eq=False)
class BatchSums:
    """Adds up batches, and then the ranks.

    Parameters
    ----------
    columns
        The columns whose sums they are.
    ranks
        The ranks that compute parts of the batches.

    Attributes
    ----------
    rows
        The number of rows.
    totals
        For each column the sum: see `Columns.add`.
    """

    columns: Columns
    ranks: Ranks
    rows: int = field(default=0, init=False)
    totals: list[Any] = field(init=False)
    _kept: list[Kept] = field(factory=list, init=False)
    _shapes: list[Shape] | None = field(default=None, init=False)  # of the sums, once known

    def __attrs_post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin a new sum."""
        self.rows, self.totals, self._kept = 0, [0.0] * len(self.columns.names), []

    def add(self, batch: Batch, costs: tuple[float, ...], y: Any) -> None:
        """Add a batch, or the part of this rank.

        Parameters
        ----------
        batch
            Its inputs, target and weights.
        costs
            C, and the C_i of several outputs.
        y
            Its outputs.
        """
        inputs, target, weights = batch
        size = len(inputs[0])
        self.rows += size
        if not self.ranks.is_divided:
            self.columns.add(self.totals, size, costs, y, target, weights)
            return
        if size:
            self.columns.add(self.totals, size, costs, y, target, weights, only=is_additive)
        if not self.columns.are_additive:
            self._kept.append((y, target, weights))

    def join(self, gradient: Array | None = None) -> None:
        """Make them the sums over all ranks: the sums of the whole batches.

        Parameters
        ----------
        gradient
            A vector that is replaced by its sum, too.
        """
        if not self.ranks.is_divided:
            return
        if self._shapes is None:
            self._shapes = self.ranks.lead(lambda: [np.shape(total) for total in self.totals])
        shared = self.columns.additive
        sizes = [math.prod(self._shapes[n]) for n in shared]
        flat = [self._flat(n) for n in shared]
        rows, *joined = np.split(
            self.ranks.summed(np.concatenate([[self.rows], *flat]), gradient),
            np.cumsum([1, *sizes])[:-1],
        )
        self.rows = int(rows[0])
        for n, total in zip(shared, joined, strict=True):
            shape = self._shapes[n]
            self.totals[n] = np.reshape(total, shape) if shape else float(total[0])

    def join_whole_batches(self) -> None:
        """Add, on rank 0, the metrics that are computed from all rows of a batch."""
        if not self.ranks.is_divided or self.columns.are_additive:
            return
        for parts in zip(*(self.ranks.gathered(self._kept) or []), strict=True):
            present = [part for part in parts if len(as_tuple(part[0])[0])]
            y, target, weights = (_joined(each) for each in zip(*present, strict=True))
            self.columns.add(
                self.totals, 0, (), y, target, weights, only=lambda m: not is_additive(m)
            )

    def _flat(self, n: int) -> Array:
        """The sum of a column; zeros if this rank has no rows."""
        total, shape = np.asarray(self.totals[n], float), (self._shapes or [])[n]
        if total.shape != shape and total.shape:
            raise RankError(
                f"the sums of {self.columns.names[n]!r} differ in shape from those of rank 0",
                expected=f"{shape}, in every batch",
                received=total.shape,
                hint="override `joined` in the metric: rank 0 then computes it from all rows",
            )
        return total.ravel() if total.shape == shape else np.zeros(math.prod(shape))


def shares_of_labels(
    batches: Sequence[Batch], loss: Loss, model: Layer, ranks: Ranks
) -> list[tuple[float, ...]]:
    """For a loss that ignores labels: the share of each batch in those that count, by output.

    C_i of several batches, or of the parts of one on several ranks, is averaged with these shares.
    """
    counts = [
        [
            one.counted((len(t), *row), t)
            for one, row, t in zip(
                loss.for_each_output, model.output_shapes, as_tuple(target), strict=True
            )
        ]
        for _, target, _ in batches
    ]
    totals = np.maximum(ranks.summed(np.sum(counts, axis=0)), 1.0)
    return [tuple((count / totals).tolist()) for count in counts]


def joined_batches(of_ranks: list[list[Batch]]) -> list[Batch]:
    """Whole batches, from the parts of all ranks."""
    if len(of_ranks) == 1:
        return of_ranks[0]
    return [
        (tuple(map(_joined, zip(*inputs, strict=True))), _joined(targets), _joined(weights))
        for parts in zip(*of_ranks, strict=False)
        for inputs, targets, weights in [zip(*parts, strict=True)]
    ]


def _joined(parts: tuple[Any, ...]) -> Any:
    """Arrays, tuples of arrays, or None, row after row."""
    if not isinstance(parts[0], tuple):
        return each_array(lambda _: np.concatenate(parts), parts[0])
    columns = zip(*parts, strict=True)
    return tuple([None if each[0] is None else np.concatenate(each) for each in columns])
