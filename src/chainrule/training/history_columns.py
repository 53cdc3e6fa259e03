"""Columns: what of a model's outputs enters the history.

There is always C, the loss. Where a model has several outputs, with a loss C_i for each,

    C = Σ_i λ_i C_i        and a column for each C_i, without its weight λ_i

so that one sees which of them is learned, and which is not. After them come the metrics. The
columns of an output begin with its name, which is that of the layer it comes from if the graph
gives it no other.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

from attrs import frozen

from chainrule.core.errors import ConfigurationError
from chainrule.core.input_checks import as_tuple
from chainrule.core.layer import Layer
from chainrule.graph.graph import Graph
from chainrule.graph.plan import Plan
from chainrule.losses import Loss
from chainrule.training.metrics import Metric, computed, is_known, named


@frozen(eq=False)
class Columns:
    """The names of the columns, and how they are filled.

    Attributes
    ----------
    losses
        Those of the losses of several outputs, in their order; none where there is one output.
    metrics
        For each output, the metrics by the names of their columns.
    """

    losses: tuple[str, ...]
    metrics: tuple[Mapping[str, Metric], ...]

    @classmethod
    def of(cls, model: Layer, loss: Loss, metrics: Mapping[Any, Any]) -> Self:
        """The columns for a model that is built.

        Parameters
        ----------
        model, loss
            As a `Trainer` has them.
        metrics
            What `metrics.named` gives where there is one output, and `metrics.by_output` else.

        Raises
        ------
        ConfigurationError
            There is no output of the name that metrics are for, or two columns have one name.
        """
        each = loss.for_each_output
        if len(each) == 1:
            return cls((), (metrics,))
        names = output_names(model)
        _require_known(names, metrics)
        of_outputs = []
        for number, (name, own_loss) in enumerate(zip(names, each, strict=True)):
            own = [m for key in (number, name) for m in metrics.get(key, {}).values()]
            functions = named(own, own_loss)
            of_outputs.append({f"{name}_{metric}": f for metric, f in functions.items()})
        columns = cls(tuple([f"{name}_loss" for name in names]), tuple(of_outputs))
        _require_distinct(columns.names)
        return columns

    @property
    def names(self) -> list[str]:
        """All of them, in their order."""
        return ["loss", *self.losses, *(name for own in self.metrics for name in own)]

    def known(self) -> Columns:
        """Those of them that may be tried on any data: see `metrics.is_known`."""
        kept = [{name: f for name, f in own.items() if is_known(f)} for own in self.metrics]
        return Columns((), tuple(kept) if any(kept) else ())

    def measured(self, y: Any, target: Any) -> Iterator[tuple[str, float]]:
        """What the metrics say of an output and its target, or of tuples of them."""
        for own, y_n, t_n in zip(self.metrics, as_tuple(y), as_tuple(target), strict=True):
            yield from computed(own, y_n, t_n).items()


def output_names(model: Layer) -> list[str]:
    """What the outputs of a built model are called.

    By the names that a `Graph` was given for them. Else each by the layer that it comes from, as
    ``print(model)`` has it: ``dense_3``; of outputs that come from one container, by the layers in
    it. Where that does not tell them apart, such as the outputs of one layer, they are
    ``output_1``, ``output_2`` and so on.
    """
    if isinstance(model, Graph) and model.output_names:
        return list(model.output_names)
    plan = Plan.of(model)
    paths = [plan.names[slot].split("/") for slot in plan.outputs]
    while len({path[0] for path in paths}) == 1 and all(len(path) > 1 for path in paths):
        paths = [path[1:] for path in paths]
    names = [path[0] for path in paths]
    tells_apart = len({*names}) == len(names) and all(map(str.isidentifier, names))
    return names if tells_apart else [f"output_{n + 1}" for n in range(len(names))]


def _require_known(names: Sequence[str], asked: Iterable[Any]) -> None:
    for output in asked:
        if isinstance(output, str) and output not in names:
            nearest = difflib.get_close_matches(output, names, n=1)
            raise ConfigurationError(
                f"metrics are for an output {output!r}, which the model does not have",
                place=f"metrics[{output!r}]",
                expected=f"one of {', '.join(names)}, or a number from 0 to {len(names) - 1}",
                received=repr(output),
                hint=f"did you mean {nearest[0]!r}?" if nearest else None,
            )


def _require_distinct(columns: list[str]) -> None:
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise ConfigurationError(
            f"two columns of the history would be called {twice[0]!r}",
            expected="outputs and metrics whose names together are different",
            received=", ".join(columns),
            hint="give a metric another name",
        )
