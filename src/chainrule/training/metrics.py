"""Metrics: numbers that show how well a network performs; training does not use them.

A metric is a function of the output and the target, and returns one number. The best known is the
share of samples that are classified correctly:

    accuracy = (1/N) Σ_s [argmax_k y_sk = ℓ_s]

NaN is no answer, neither right nor wrong: if an output is NaN, so is the metric.

A cost must have a useful gradient; a metric only has to be meaningful. `Trainer` takes the names
below, any loss, and any function ``(y, t) -> number``:

    "accuracy", "binary_accuracy", "top_5_accuracy"    the share of right answers
    "precision", "recall", "f1"                        which mistakes: false alarms, or misses
    "mean_absolute_error", "mean_squared_error"        the size of the errors
    "root_mean_squared_error", "r2"                    in units of y; as a share of the variance

The classes `Precision`, `Recall`, `F1`, `TopAccuracy`, `RootMeanSquaredError` and `R2` are the same
with options, such as ``Precision(average="macro")``. All of them are computed from sums over the
samples (`chainrule.training.metric`), so those of an epoch are exact, not averages of its batches.

A sample with weight w counts w times: metrics divide by Σ w. The weights are those of the samples
and of the classes. A function with a third parameter ``sample_weights`` receives them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from chainrule import losses
from chainrule.core.arrays import read_only, refuse_write
from chainrule.core.errors import ConfigurationError, shortened
from chainrule.core.hints import loaded, missing_name, nearest
from chainrule.core.types import Array
from chainrule.core.validators import is_integer
from chainrule.losses import Loss
from chainrule.training.metric import FunctionMetric, LossMetric, Metric, MetricFunction

if TYPE_CHECKING:
    from chainrule.training.class_metrics import (
        F1,
        Precision,
        Recall,
        TopAccuracy,
        confusion_matrix,
    )
    from chainrule.training.number_metrics import R2, RootMeanSquaredError

_MODULES = {
    "F1": "chainrule.training.class_metrics",
    "Precision": "chainrule.training.class_metrics",
    "R2": "chainrule.training.number_metrics",
    "Recall": "chainrule.training.class_metrics",
    "RootMeanSquaredError": "chainrule.training.number_metrics",
    "TopAccuracy": "chainrule.training.class_metrics",
    "confusion_matrix": "chainrule.training.class_metrics",
}

__all__ = [
    "F1",
    "R2",
    "Metric",
    "Precision",
    "Recall",
    "RootMeanSquaredError",
    "TopAccuracy",
    "accuracy",
    "binary_accuracy",
    "confusion_matrix",
]

MetricLike: TypeAlias = str | Loss | Metric | MetricFunction
"""What can be given for a metric: a name, a loss, a metric or a function of (y, t)."""


def accuracy(y: Array, target: Array, sample_weights: Any = None) -> float:
    """The share of samples whose largest output is at the right class, from 0 to 1, or NaN.

    Σ_s w_s [argmax_k y_sk = ℓ_s] / Σ_s w_s

    Parameters
    ----------
    y
        Logits or probabilities, (batch, …, K), with at least two classes.
    target
        Labels ℓ from 0 to K−1, (batch, …), or one-hot rows of the shape of y, whose largest number
        marks the class.
    sample_weights
        How much each sample counts, 0 or more.

    Raises
    ------
    ShapeError
        There is only one class, or the target has neither of these shapes.
    DtypeError
        The labels are not integers.
    DataError
        A row of a one-hot target has no unique largest number, or a label is not a class.
    """
    return known()["accuracy"](y, target, sample_weights)


def binary_accuracy(
    y: Array, target: Array, border: float = 0.5, sample_weights: Any = None
) -> float:
    """The share of yes-or-no answers that are right, from 0 to 1, or NaN.

    (1/NK) Σ_sk [(y_sk > border) = (t_sk > ½)]

    Parameters
    ----------
    y
        (batch, …, K), K answers per sample.
    target
        0 or 1, of the shape of y; for K = 1 also (batch, …).
    border
        The threshold above which y means yes: ½ for probabilities, 0 for logits. With
        ``metrics=["binary_accuracy"]`` it is 0 for `SigmoidCrossEntropy` and ½ otherwise.
    sample_weights
        How much each sample counts, 0 or more.

    Raises
    ------
    ShapeError
        The target has another shape.
    """
    from chainrule.training.class_metrics import BinaryAccuracy

    return BinaryAccuracy(border=border)(y, target, sample_weights)


class MetricsByName(dict[Any, Any]):
    """Metrics by name, which change only as a whole: a run keeps those with which it began."""

    def _refuse(self, *given: Any, **named: Any) -> Any:
        raise ConfigurationError(
            "the metrics of a trainer cannot be changed one by one",
            place="Trainer",
            expected="all metrics at once, and not during a run",
            received=shortened([*given, named] if named else list(given)),
            hint="before fit: trainer.metrics = ['accuracy', …]",
        )

    __setitem__ = __delitem__ = __ior__ = _refuse
    update = clear = pop = popitem = setdefault = _refuse

    def __reduce__(self) -> Any:
        return type(self), (dict(self),)


def named(metrics: Iterable[Any], loss: Loss) -> dict[str, Metric]:
    """The metrics, by the names of their columns in the history.

    Parameters
    ----------
    metrics
        Names, losses and functions of (y, t).
    loss
        The training loss. It determines how outputs are read: with `SigmoidCrossEntropy` they are
        logits of independent yes-or-no answers.

    Raises
    ------
    ConfigurationError
        A name is unknown (the closest one is suggested), an item is not a metric, or two of them
        have the same name.
    """
    if isinstance(metrics, str | Mapping) or not isinstance(metrics, Iterable):
        raise ConfigurationError(
            "metrics must be a list",
            expected="a list such as ['accuracy']",
            received=f"metrics={shortened(metrics)}",
            hint="a dictionary is for a model with several outputs and one loss per output"
            if isinstance(metrics, Mapping)
            else f"metrics=[{shortened(metrics)}]",
        )
    functions: dict[str, Metric] = {}
    for metric in metrics:
        name, function = _resolved(metric, loss)
        if name in functions or name == "loss":
            raise ConfigurationError(
                f"two columns of the history would be called {name!r}",
                expected="metrics with different names, none of them 'loss'",
                received=f"metrics={shortened(list(metrics), 200)}",
                hint="define a function with a different name that calls the other",
            )
        functions[name] = function
    return functions


def by_output(metrics: Any, outputs: int) -> dict[int | str, dict[str, Any]]:
    """The metrics of each output, for a model with several outputs.

    Parameters
    ----------
    metrics
        A dictionary from an output's name, or its number from 0, to the list of its metrics; or a
        list with one such list per output.
    outputs
        The number of outputs.

    Returns
    -------
    dict
        For each output, as it was named or numbered, the metrics as they were given, by name. Which
        function each stands for depends on the output's loss: see `named`.

    Raises
    ------
    ConfigurationError
        It is neither such a dictionary nor such a list, an output with that number does not exist,
        or a list of metrics is invalid.
    """
    given: Mapping[Any, Any]
    if isinstance(metrics, Mapping):
        given = metrics
    else:
        is_sequence = isinstance(metrics, Iterable) and not isinstance(metrics, str)
        each = list(metrics) if is_sequence else [metrics]
        if each and not (len(each) == outputs and all(isinstance(m, list | tuple) for m in each)):
            raise ConfigurationError(
                "with several outputs, metrics must say which output each metric is for",
                expected=f"a dictionary of lists, or a list of {outputs} lists",
                received=f"metrics={shortened(metrics, 120)}",
                hint="metrics={0: ['accuracy']} for the first output, or use its name",
            )
        given = dict(enumerate(each))
    of_outputs: dict[int | str, dict[str, Any]] = {}
    for output, own in given.items():
        if not isinstance(output, str) and not (is_integer(output) and 0 <= output < outputs):
            raise ConfigurationError(
                "metrics names an output that does not exist",
                expected=f"the name of an output, or a number from 0 to {outputs - 1}",
                received=shortened(output),
            )
        if isinstance(own, Iterable) and not isinstance(own, str | Mapping):
            own = list(own)
        try:
            of_outputs[output] = dict(zip(named(own, Loss()), own, strict=True))
        except ConfigurationError as error:
            error.place = f"metrics[{output!r}]"
            raise
    return of_outputs


def names_in(metrics: Mapping[Any, Any]) -> str:
    """The names in the result of `named` or `by_output`, as a list or a dictionary of lists."""
    each = {key: list(own) for key, own in metrics.items() if isinstance(own, dict)}
    return repr(each or list(metrics))


def is_known(metric: Metric) -> bool:
    """Whether it is not a user's function, so that it can be tried on any data."""
    return not isinstance(metric, FunctionMetric)


def computed(
    metrics: Mapping[str, Metric], y: Array, target: Array, sample_weights: Any = None
) -> dict[str, float]:
    """The values of the metrics for these outputs."""
    return {
        name: float(called(metric, name, metric, y, target, sample_weights))
        for name, metric in metrics.items()
    }


def called(function: Any, name: str, metric: Metric, y: Array, target: Array, weights: Any) -> Any:
    """What the metric, or one of its methods, returns; an error of it names the metric."""
    try:
        return function(read_only(y), read_only(target), read_only(weights))
    except Exception as error:
        refuse_write(error, f"the metric {name!r}")
        if not (isinstance(error, ConfigurationError) and isinstance(metric, FunctionMetric)):
            error.add_note(
                f"in the metric {name!r}, given y of shape {y.shape} and t of shape {target.shape}"
            )
        raise


@functools.cache
def known() -> dict[str, Metric]:
    """The metrics that can be given by name, and any other number in ``"top_5_accuracy"``."""
    from chainrule.training import class_metrics, number_metrics  # most programs measure few

    return {
        "accuracy": class_metrics.Accuracy(),
        "binary_accuracy": class_metrics.BinaryAccuracy(),
        "f1": class_metrics.F1(),
        "mean_absolute_error": LossMetric(losses.MeanAbsoluteError()),
        "mean_squared_error": LossMetric(losses.MeanSquaredError()),
        "precision": class_metrics.Precision(),
        "r2": number_metrics.R2(),
        "recall": class_metrics.Recall(),
        "root_mean_squared_error": number_metrics.RootMeanSquaredError(),
        "top_5_accuracy": class_metrics.TopAccuracy(5),
    }


OTHER_NAMES = {
    "acc": "accuracy",
    "categorical_accuracy": "accuracy",
    "f1_score": "f1",
    "mae": "mean_absolute_error",
    "mse": "mean_squared_error",
    "r2_score": "r2",
    "rmse": "root_mean_squared_error",
    "sparse_categorical_accuracy": "accuracy",
    "top5": "top_5_accuracy",
    "top_k_accuracy": "top_5_accuracy",
}
"""What other libraries call them."""


def _resolved(metric: Any, loss: Loss) -> tuple[str, Metric]:
    if isinstance(metric, str):
        metric = _by_name(metric)
    if isinstance(metric, type) or not callable(metric):
        raise ConfigurationError(
            "an item of metrics is not a metric",
            expected="a name such as 'accuracy', a loss, or a function (y, t) -> number",
            received=shortened(metric),
            hint=f"create an instance: {metric.__name__}()" if isinstance(metric, type) else None,
        )
    if metric is accuracy or metric is binary_accuracy:
        found: Metric = known()[metric.__name__]
    elif isinstance(metric, Metric):
        found = metric
    else:
        found = LossMetric(metric) if isinstance(metric, Loss) else FunctionMetric(metric)
    if not found.name.isidentifier():
        raise ConfigurationError(
            "a metric needs a name, which becomes its column in the history",
            expected="a function defined with def",
            received=found.name,
            hint="def my_metric(y, t): return …",
        )
    return found.name, found.for_loss(loss)


def _by_name(name: str) -> Metric:
    guesses = re.fullmatch(r"top_([1-9]\d*)_accuracy", name)
    if guesses is not None:
        from chainrule.training.class_metrics import TopAccuracy

        return TopAccuracy(int(guesses[1]))
    if name in known():
        return known()[name]
    closest = nearest(name.lower(), [*known(), *OTHER_NAMES])
    meant = OTHER_NAMES.get(closest, closest) if closest else None
    raise ConfigurationError(
        f"there is no metric {name!r}",
        expected=f"one of {', '.join(known())}, a loss, or a function (y, t) -> number",
        received=repr(name),
        hint=f"did you mean {meant!r}?" if meant else None,
    )


if not TYPE_CHECKING:  # with a __getattr__, type checkers would accept any name

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise missing_name(__name__, name)
        return loaded(__name__, name, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
