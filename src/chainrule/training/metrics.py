"""Metrics: figures that tell a person how well a network does; nothing is learned from them.

A metric is a function of what the model returned and what it should have returned, and gives one
number. The best known one counts:

    accuracy = (1/N) Σ_s [argmax_k y_sk = ℓ_s]

A cost has to have a slope everywhere; a metric only has to be understood. `Trainer` takes the
names below, any of the losses, and any function ``(y, t) -> number``.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from chainrule import losses
from chainrule.core.errors import ConfigurationError, DataError, DtypeError, ShapeError
from chainrule.core.tree import snake_case
from chainrule.core.types import Array
from chainrule.core.validators import is_integer
from chainrule.losses import Loss, SigmoidCrossEntropy

Metric: TypeAlias = Callable[[Array, Array], Any]


def accuracy(y: Array, target: Array) -> float:
    """The part of the samples whose largest output stands at the right class, from 0 to 1.

    (1/N) Σ_s [argmax_k y_sk = ℓ_s]

    Parameters
    ----------
    y
        Logits or probabilities, (batch, …, K), with two classes at least.
    target
        Labels ℓ from 0 to K−1, (batch, …), or one-hot rows of the shape of y, whose class is
        where they are largest.

    Raises
    ------
    ShapeError
        There is only one output, so nothing to choose between, or the target fits neither way.
    DtypeError
        The labels are no whole numbers.
    """
    if y.ndim < 2 or y.shape[-1] < 2:
        raise ShapeError(
            "accuracy compares the outputs for two classes or more",
            place="accuracy",
            expected="y of the shape (batch, …, classes)",
            received=f"y of the shape {y.shape}",
            hint="for one yes-or-no output: metrics=['binary_accuracy']",
        )
    if target.shape == y.shape:
        largest = target.max(axis=-1, keepdims=True)
        if not (np.count_nonzero(target == largest, axis=-1) == 1).all():
            raise DataError(
                "accuracy needs one class for each sample",
                place="accuracy",
                expected="rows of the target with one largest number",
                received="rows with several, or with none that is larger than the others",
                hint="for yes-or-no outputs: metrics=['binary_accuracy']",
            )
        labels = target.argmax(axis=-1)
    elif target.shape == y.shape[:-1]:
        if target.dtype.kind not in "iub":
            raise DtypeError(
                "accuracy needs classes to compare with",
                place="accuracy",
                expected="labels as whole numbers",
                received=f"an array of {target.dtype}",
                hint="t.astype(int), or another metric for targets that are no classes",
            )
        labels = target
    else:
        raise _wrong_shape("accuracy", target, f"labels {y.shape[:-1]}, or one-hot {y.shape}")
    return float(np.mean(y.argmax(axis=-1) == labels))


def binary_accuracy(y: Array, target: Array, border: float = 0.5) -> float:
    """The part of the yes-or-no answers that are right, from 0 to 1.

    (1/NK) Σ_sk [(y_sk > border) = (t_sk > ½)]

    Parameters
    ----------
    y
        (batch, …, K), K answers for each sample.
    target
        0 or 1, of the shape of y; where K = 1 also (batch, …).
    border
        From where on y says yes: ½ for probabilities, 0 for logits. By its name,
        ``metrics=["binary_accuracy"]``, it is 0 with `SigmoidCrossEntropy` and else ½.

    Raises
    ------
    ShapeError
        The target has another shape.
    """
    if y.shape == (*target.shape, 1) and target.dtype.kind in "iub":
        target = target[..., np.newaxis]
    if target.shape != y.shape:
        raise _wrong_shape("binary_accuracy", target, y.shape)
    return float(np.mean((y > border) == (target > 0.5)))


def named(metrics: Iterable[Any], loss: Loss) -> dict[str, Metric]:
    """The functions that compute some metrics, by the names under which a history has them.

    Parameters
    ----------
    metrics
        Names, losses and functions of (y, t).
    loss
        What is learned from. It tells what the outputs are: with `SigmoidCrossEntropy` they are
        logits, each of them an answer of its own.

    Raises
    ------
    ConfigurationError
        A name is not known (the nearest one is suggested), something is no metric, or two of them
        would have the same name.
    """
    if isinstance(metrics, str | Mapping) or not isinstance(metrics, Iterable):
        raise ConfigurationError(
            "metrics is a list",
            expected="a list such as ['accuracy']",
            received=f"metrics={metrics!r:.60}",
            hint="a dictionary is for a model with several outputs, and a loss for each"
            if isinstance(metrics, Mapping)
            else f"metrics=[{metrics!r:.60}]",
        )
    found: dict[str, Metric] = {}
    for metric in metrics:
        name, function = _resolved(metric, loss)
        if name in found or name == "loss":
            raise ConfigurationError(
                f"two columns of the history would be called {name!r}",
                expected="metrics of different names, and none called 'loss'",
                received=f"metrics={list(metrics)!r:.200}",
                hint="define a function with a name of its own that calls the other",
            )
        found[name] = function
    return found


def by_output(metrics: Any, outputs: int) -> dict[int | str, dict[str, Any]]:
    """The metrics of each output, for a model that has several.

    Parameters
    ----------
    metrics
        A dictionary: for the name of an output, or its number from 0, the list of its metrics. Or
        a list with one such list for each output.
    outputs
        How many there are.

    Returns
    -------
    dict
        By the output as it was given, and the name of the metric, what was given for it. Which
        function that is depends on the output's loss: see `named`.

    Raises
    ------
    ConfigurationError
        It is no such dictionary and no such list, there is no output of a number, or a list of
        metrics is refused.
    """
    given: Mapping[Any, Any]
    if isinstance(metrics, Mapping):
        given = metrics
    else:
        is_series = isinstance(metrics, Iterable) and not isinstance(metrics, str)
        each = list(metrics) if is_series else [metrics]
        if each and not (len(each) == outputs and all(isinstance(m, list | tuple) for m in each)):
            raise ConfigurationError(
                "the metrics of several outputs say to which output they belong",
                expected=f"a dictionary of lists, or a list of {outputs} lists",
                received=f"metrics={metrics!r:.120}",
                hint="metrics={0: ['accuracy']} for the first output, or by its name",
            )
        given = dict(enumerate(each))
    found: dict[int | str, dict[str, Any]] = {}
    for output, own in given.items():
        if not isinstance(output, str) and not (is_integer(output) and 0 <= output < outputs):
            raise ConfigurationError(
                "metrics names an output that there is not",
                expected=f"the name of an output, or a number from 0 to {outputs - 1}",
                received=f"{output!r:.60}",
            )
        if isinstance(own, Iterable) and not isinstance(own, str | Mapping):
            own = list(own)
        try:
            found[output] = dict(zip(named(own, Loss()), own, strict=True))
        except ConfigurationError as error:
            error.place = f"metrics[{output!r}]"
            raise
    return found


def names_in(metrics: Mapping[Any, Any]) -> str:
    """The names of what `named` or `by_output` gave, as a list or a dictionary of lists."""
    each = {key: list(own) for key, own in metrics.items() if isinstance(own, dict)}
    return repr(each or list(metrics))


def is_known(metric: Metric) -> bool:
    """Whether a metric is one of this module or a loss, so that it may be tried on any data."""
    function = getattr(metric, "func", metric)
    return isinstance(metric, Loss) or function in (accuracy, binary_accuracy)


def computed(metrics: Mapping[str, Metric], y: Array, target: Array) -> dict[str, float]:
    """What each of the metrics says of these outputs."""
    figures = {}
    for name, metric in metrics.items():
        try:
            figure = metric(y, target)
        except Exception as error:
            error.add_note(
                f"in the metric {name!r}, given y of shape {y.shape} and t of shape {target.shape}"
            )
            raise
        try:
            figures[name] = float(figure)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"the metric {name!r} does not return a number",
                expected="a function (y, t) -> number",
                received=f"{type(figure).__name__} of shape {np.shape(figure)}"
                if hasattr(figure, "shape")
                else f"{figure!r:.60}",
                hint="take the mean over the samples",
            ) from error
    return figures


KNOWN: dict[str, Metric] = {
    "accuracy": accuracy,
    "binary_accuracy": binary_accuracy,
    "mean_absolute_error": losses.MeanAbsoluteError(),
    "mean_squared_error": losses.MeanSquaredError(),
}
"""The metrics that have a name."""


def _resolved(metric: Any, loss: Loss) -> tuple[str, Metric]:
    if isinstance(metric, str):
        if metric not in KNOWN:
            nearest = difflib.get_close_matches(metric.lower(), KNOWN, n=1, cutoff=0.4)
            raise ConfigurationError(
                f"there is no metric {metric!r}",
                expected=f"one of {', '.join(KNOWN)}, a loss, or a function (y, t) -> number",
                received=repr(metric),
                hint=f"did you mean {nearest[0]!r}?" if nearest else None,
            )
        if metric == "binary_accuracy" and isinstance(loss, SigmoidCrossEntropy):
            return metric, functools.partial(binary_accuracy, border=0.0)
        return metric, KNOWN[metric]
    if isinstance(metric, type) or not callable(metric):
        raise ConfigurationError(
            "this is no metric",
            expected="a name such as 'accuracy', a loss, or a function (y, t) -> number",
            received=f"{metric!r:.60}",
            hint=f"an instance: {metric.__name__}()" if isinstance(metric, type) else None,
        )
    if isinstance(metric, Loss):
        return snake_case(type(metric).__name__), metric
    name = getattr(metric, "__name__", snake_case(type(metric).__name__))
    if not name.isidentifier():
        raise ConfigurationError(
            "a metric has a name, under which it stands in the history",
            expected="a function that is made with def",
            received=name,
            hint="def my_metric(y, t): return …",
        )
    return name, metric


def _wrong_shape(place: str, target: Array, expected: object) -> ShapeError:
    return ShapeError(
        "the target has another shape than the metric compares with the output",
        place=place,
        expected=expected,
        received=target.shape,
    )
