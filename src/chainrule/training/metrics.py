"""Metrics: numbers that show how well a network performs; training does not use them.

A metric is a function of the output and the target, and returns one number. The best known is the
share of samples that are classified correctly:

    accuracy = (1/N) Σ_s [argmax_k y_sk = ℓ_s]

A cost must have a useful gradient; a metric only has to be meaningful. `Trainer` takes the names
below, any loss, and any function ``(y, t) -> number``.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from chainrule import losses
from chainrule.core.arrays import as_array, read_only, refuse_write
from chainrule.core.errors import ConfigurationError, DataError, DtypeError, ShapeError
from chainrule.core.tree import snake_case
from chainrule.core.types import Array
from chainrule.core.validators import is_integer
from chainrule.losses import Loss, SigmoidCrossEntropy

Metric: TypeAlias = Callable[[Array, Array], Any]

MetricLike: TypeAlias = str | Loss | Metric
"""What can be given for a metric: a name, a loss or a function of (y, t)."""


def accuracy(y: Array, target: Array) -> float:
    """The share of samples whose largest output is at the right class, from 0 to 1.

    (1/N) Σ_s [argmax_k y_sk = ℓ_s]

    Parameters
    ----------
    y
        Logits or probabilities, (batch, …, K), with at least two classes.
    target
        Labels ℓ from 0 to K−1, (batch, …), or one-hot rows of the shape of y, whose largest number
        marks the class.

    Raises
    ------
    ShapeError
        There is only one class, or the target has neither of these shapes.
    DtypeError
        The labels are not integers.
    DataError
        A row of a one-hot target has no unique largest number.
    """
    y, target = as_array("y", y), as_array("the target", target)
    if y.ndim < 2 or y.shape[-1] < 2:
        raise ShapeError(
            "accuracy needs outputs for at least two classes",
            place="accuracy",
            expected="y of shape (batch, …, classes)",
            received=f"y of shape {y.shape}",
            hint="for one yes-or-no output: metrics=['binary_accuracy']",
        )
    if target.shape == y.shape:
        largest = target.max(axis=-1, keepdims=True)
        if not (np.count_nonzero(target == largest, axis=-1) == 1).all():
            raise DataError(
                "accuracy needs one class per sample",
                place="accuracy",
                expected="target rows with a unique largest number",
                received="rows in which several numbers are the largest",
                hint="for yes-or-no outputs: metrics=['binary_accuracy']",
            )
        labels = target.argmax(axis=-1)
    elif target.shape == y.shape[:-1]:
        if target.dtype.kind not in "iub":
            raise DtypeError(
                "accuracy needs classes as targets",
                place="accuracy",
                expected="integer labels",
                received=f"an array of {target.dtype}",
                hint="t.astype(int), or another metric for targets that are not classes",
            )
        labels = target
    else:
        raise _wrong_shape("accuracy", target, f"labels {y.shape[:-1]}, or one-hot {y.shape}")
    return float(np.mean(y.argmax(axis=-1) == labels))


def binary_accuracy(y: Array, target: Array, border: float = 0.5) -> float:
    """The share of yes-or-no answers that are right, from 0 to 1.

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

    Raises
    ------
    ShapeError
        The target has another shape.
    """
    y, target = as_array("y", y), as_array("the target", target)
    if y.shape == (*target.shape, 1) and target.dtype.kind in "iub":
        target = target[..., np.newaxis]
    if target.shape != y.shape:
        raise _wrong_shape("binary_accuracy", target, y.shape)
    return float(np.mean((y > border) == (target > 0.5)))


def named(metrics: Iterable[Any], loss: Loss) -> dict[str, Metric]:
    """The metric functions, by the names of their columns in the history.

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
            received=f"metrics={metrics!r:.60}",
            hint="a dictionary is for a model with several outputs and one loss per output"
            if isinstance(metrics, Mapping)
            else f"metrics=[{metrics!r:.60}]",
        )
    functions: dict[str, Metric] = {}
    for metric in metrics:
        name, function = _resolved(metric, loss)
        if name in functions or name == "loss":
            raise ConfigurationError(
                f"two columns of the history would be called {name!r}",
                expected="metrics with different names, none of them 'loss'",
                received=f"metrics={list(metrics)!r:.200}",
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
                received=f"metrics={metrics!r:.120}",
                hint="metrics={0: ['accuracy']} for the first output, or use its name",
            )
        given = dict(enumerate(each))
    of_outputs: dict[int | str, dict[str, Any]] = {}
    for output, own in given.items():
        if not isinstance(output, str) and not (is_integer(output) and 0 <= output < outputs):
            raise ConfigurationError(
                "metrics names an output that does not exist",
                expected=f"the name of an output, or a number from 0 to {outputs - 1}",
                received=f"{output!r:.60}",
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
    """Whether it is a metric of this module or a loss, which can be tried on any data."""
    function = getattr(metric, "func", metric)
    return isinstance(metric, Loss) or function in (accuracy, binary_accuracy)


def computed(metrics: Mapping[str, Metric], y: Array, target: Array) -> dict[str, float]:
    """The values of the metrics for these outputs."""
    figures = {}
    y, target = read_only(y), read_only(target)
    for name, metric in metrics.items():
        try:
            figure = metric(y, target)
        except Exception as error:
            refuse_write(error, f"the metric {name!r}")
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
                hint="return the mean over the samples",
            ) from error
    return figures


KNOWN: dict[str, Metric] = {
    "accuracy": accuracy,
    "binary_accuracy": binary_accuracy,
    "mean_absolute_error": losses.MeanAbsoluteError(),
    "mean_squared_error": losses.MeanSquaredError(),
}
"""The metrics that can be given by name."""


def _resolved(metric: Any, loss: Loss) -> tuple[str, Metric]:
    if isinstance(metric, str):
        if metric not in KNOWN:
            closest = difflib.get_close_matches(metric.lower(), KNOWN, n=1, cutoff=0.4)
            raise ConfigurationError(
                f"there is no metric {metric!r}",
                expected=f"one of {', '.join(KNOWN)}, a loss, or a function (y, t) -> number",
                received=repr(metric),
                hint=f"did you mean {closest[0]!r}?" if closest else None,
            )
        if metric == "binary_accuracy" and isinstance(loss, SigmoidCrossEntropy):
            return metric, functools.partial(binary_accuracy, border=0.0)
        return metric, KNOWN[metric]
    if isinstance(metric, type) or not callable(metric):
        raise ConfigurationError(
            "an item of metrics is not a metric",
            expected="a name such as 'accuracy', a loss, or a function (y, t) -> number",
            received=f"{metric!r:.60}",
            hint=f"create an instance: {metric.__name__}()" if isinstance(metric, type) else None,
        )
    if isinstance(metric, Loss):
        return snake_case(type(metric).__name__), metric
    name = getattr(metric, "__name__", snake_case(type(metric).__name__))
    if not name.isidentifier():
        raise ConfigurationError(
            "a metric needs a name, which becomes its column in the history",
            expected="a function defined with def",
            received=name,
            hint="def my_metric(y, t): return …",
        )
    return name, metric


def _wrong_shape(place: str, target: Array, expected: object) -> ShapeError:
    return ShapeError(
        "the shape of the target does not fit the output",
        place=place,
        expected=expected,
        received=target.shape,
    )
