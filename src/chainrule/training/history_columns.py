"""The columns of a history: the loss, the losses of single outputs, and the metrics.

The first column is always C, the loss. A model with several outputs has a loss C_i for each,

    C = Σ_i λ_i C_i        and a column for each C_i, without its weight λ_i

so you can see which output is learned and which is not. The metrics follow. The columns of an
output begin with its name; if the graph does not name it, that is the name of the layer it comes
from.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from attrs import frozen

from chainrule.core.errors import ConfigurationError
from chainrule.core.hints import nearest
from chainrule.core.input_checks import as_tuple
from chainrule.core.layer import Layer
from chainrule.core.types import Array
from chainrule.data.samples import of_output
from chainrule.graph.plan import Plan
from chainrule.losses import Loss
from chainrule.training.metric import Metric, is_additive, ratio
from chainrule.training.metrics import called, computed, is_known, named


@frozen(eq=False, repr=False)
class Columns:
    """The names of the columns, and the functions that fill them.

    Attributes
    ----------
    losses
        The names of the columns for the losses of several outputs, in order; empty for one output.
    metrics
        For each output, the metrics by the names of their columns.
    loss
        The loss of the training.
    """

    losses: tuple[str, ...]
    metrics: tuple[Mapping[str, Metric], ...]
    loss: Loss

    @classmethod
    def of(cls, model: Layer, loss: Loss, metrics: Mapping[Any, Any]) -> Self:
        """The columns for a built model.

        Parameters
        ----------
        model, loss
            As in `Trainer`.
        metrics
            The result of `metrics.named` for one output, of `metrics.by_output` for several.

        Raises
        ------
        ConfigurationError
            The metrics name an output that does not exist, or two columns have the same name.
        """
        each = loss.for_each_output
        if len(each) == 1:
            return cls((), (metrics,), loss)
        names = output_names(model)
        _require_known(names, metrics)
        of_outputs = []
        for number, (name, own_loss) in enumerate(zip(names, each, strict=True)):
            own = [m for key in (number, name) for m in metrics.get(key, {}).values()]
            functions = named(own, own_loss)
            of_outputs.append({f"{name}_{metric}": f for metric, f in functions.items()})
        columns = cls(tuple([f"{name}_loss" for name in names]), tuple(of_outputs), loss)
        _require_distinct(columns.names)
        return columns

    @property
    def names(self) -> list[str]:
        """All column names, in order."""
        return ["loss", *self.losses, *(name for own in self.metrics for name in own)]

    def known(self) -> Columns:
        """Only the metrics that can be tried on any data: see `metrics.is_known`."""
        kept = [{name: f for name, f in own.items() if is_known(f)} for own in self.metrics]
        return Columns((), tuple(kept) if any(kept) else (), self.loss)

    def measured(
        self, y: Any, target: Any, sample_weights: Any = None
    ) -> Iterator[tuple[str, float]]:
        """The values of the metrics for an output and its target, or for tuples of them."""
        for own, *given in self._each(y, target, sample_weights):
            yield from computed(own, *given).items()

    def add(
        self,
        sums: list[Any],
        size: int,
        costs: tuple[float, ...],
        y: Any,
        target: Any,
        sample_weights: Any,
        only: Callable[[Metric], bool] = lambda metric: True,
    ) -> None:
        """Add a batch to the sums of each column.

        Parameters
        ----------
        sums
            For each column 0.0, or what this method has made of it: for a cost Σ C |B|, or for a
            loss that ignores labels Σ C n and Σ n, with n labels that count; for a metric its sums.
        size
            The rows of the batch, |B|.
        costs
            C, and the C_i of several outputs; empty if only metrics are added.
        y, target, sample_weights
            Its outputs, targets and weights.
        only
            Which metrics are added.
        """
        if self.loss.ignores and costs:
            for n, (cost, count) in enumerate(zip(costs, self._counted(y, target), strict=True)):
                sums[n] = sums[n] + np.array([cost * count, count])
        else:
            for n, cost in enumerate(costs):
                sums[n] += cost * size
        n = 1 + len(self.losses)
        if n == len(sums):
            return
        for own, *given in self._each(y, target, sample_weights):
            for name, metric in own.items():
                if not only(metric):
                    n += 1
                    continue
                added = called(metric.sums, name, metric, *given)
                before = sums[n]
                sums[n] = added if isinstance(before, float) else metric.joined(before, added)
                n += 1

    def joined(self, some: Sequence[Any], others: Sequence[Any]) -> list[Any]:
        """The sums of two sets of batches, from those of each."""
        costs = 1 + len(self.losses)
        joined = [one + other for one, other in zip(some[:costs], others[:costs], strict=True)]
        for metric, *sums in zip(self._metrics, some[costs:], others[costs:], strict=True):
            present = [own for own in sums if not isinstance(own, float)] or sums[:1]
            joined.append(metric.joined(*present) if len(present) > 1 else present[0])
        return joined

    @property
    def additive(self) -> list[int]:
        """The columns whose sums can be added over parts of a batch."""
        costs = 1 + len(self.losses)
        added = [n for n, m in enumerate(self._metrics, start=costs) if is_additive(m)]
        return [*range(costs), *added]

    @property
    def are_additive(self) -> bool:
        """Whether the sums of all columns can."""
        return all(map(is_additive, self._metrics))

    def cost(self, sums: Sequence[Any], samples: int) -> float:
        """C of the batches in some sums."""
        costs = sums[: 1 + len(self.losses)]
        return self._costs(costs, samples)[0]

    def averages(self, sums: Sequence[Any], samples: int) -> dict[str, float]:
        """The figure of each column, for sums over so many samples."""
        costs = sums[: 1 + len(self.losses)]
        figures = self._costs(costs, samples)
        for metric, total in zip(self._metrics, sums[len(costs) :], strict=True):
            is_empty = isinstance(total, float)
            figures.append(math.nan if is_empty else metric.figure(total))
        return dict(zip(self.names, figures, strict=True))

    @property
    def _metrics(self) -> list[Metric]:
        """The metrics of all outputs, in the order of their columns."""
        return [metric for own in self.metrics for metric in own.values()]

    def _costs(self, sums: Sequence[Any], samples: int) -> list[float]:
        """C, and the C_i of several outputs."""
        # Without a label that counts, the cost is 0, as that of a batch is.
        costs = [
            (ratio(*s) if s[1] else 0.0) if isinstance(s, np.ndarray) else s / samples for s in sums
        ]
        if self.losses and self.loss.ignores:  # each C_i is an average over its own labels
            costs[0] = float(self.loss.total(costs[1:]))
        return costs

    def restored(self, sums: Sequence[Any], samples: int) -> list[Any]:
        """The sums from the lists of numbers that a checkpoint contains."""
        costs = 1 + len(self.losses)
        restored: list[Any] = []
        for n, total in enumerate(sums):
            if n >= costs and isinstance(total, float) and samples:
                total = [total, float(samples)]  # an average, as chainrule 0.1 stored it
            restored.append(np.array(total, dtype=float) if isinstance(total, list) else total)
        return restored

    def _counted(self, y: Any, target: Any) -> list[float]:
        """How much each cost is an average over: C first, then the C_i of several outputs."""
        outputs = zip(self.loss.for_each_output, as_tuple(y), as_tuple(target), strict=True)
        counts = [loss.counted(y_n.shape, t_n) for loss, y_n, t_n in outputs]
        return [float(len(as_tuple(y)[0])), *counts] if self.losses else counts

    def _each(
        self, y: Any, target: Any, sample_weights: Any
    ) -> Iterator[tuple[Mapping[str, Metric], Array, Array, Any]]:
        """The metrics of each output, with its values, targets and weights."""
        pairs = zip(self.metrics, as_tuple(y), as_tuple(target), strict=True)
        for number, (own, y_n, t_n) in enumerate(pairs):
            yield own, y_n, t_n, of_output(sample_weights, number)


def output_names(model: Layer) -> list[str]:
    """The names of the outputs of a built model.

    The names passed to a `Graph`, if there are any. Otherwise each output has the name of the layer
    that it comes from, as in ``print(model)``: ``dense_3``; outputs of the same container have the
    names of the layers in it. If those names are not distinct, as for several outputs of one layer,
    they are ``output_1``, ``output_2`` and so on.
    """
    from chainrule.graph.graph import Graph  # few models have several outputs

    if isinstance(model, Graph) and model.output_names:
        return list(model.output_names)
    plan = Plan.of(model)
    paths = [plan.names[slot].split("/") for slot in plan.outputs]
    while len({path[0] for path in paths}) == 1 and all(len(path) > 1 for path in paths):
        paths = [path[1:] for path in paths]
    names = [path[0] for path in paths]
    are_usable = len({*names}) == len(names) and all(map(str.isidentifier, names))
    return names if are_usable else [f"output_{n + 1}" for n in range(len(names))]


def _require_known(names: Sequence[str], asked: Iterable[Any]) -> None:
    for output in asked:
        if isinstance(output, str) and output not in names:
            closest = nearest(output, names)
            raise ConfigurationError(
                f"metrics names the output {output!r}, which the model does not have",
                place=f"metrics[{output!r}]",
                expected=f"one of {', '.join(names)}, or a number from 0 to {len(names) - 1}",
                received=repr(output),
                hint=f"did you mean {closest!r}?" if closest else None,
            )


def _require_distinct(columns: list[str]) -> None:
    duplicates = [name for name, count in Counter(columns).items() if count > 1]
    if duplicates:
        raise ConfigurationError(
            f"two columns of the history would be called {duplicates[0]!r}",
            expected="combinations of output and metric names that are all different",
            received=", ".join(columns),
            hint="rename a metric",
        )
