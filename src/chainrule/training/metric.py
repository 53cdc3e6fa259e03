"""A metric as sums: what a batch adds to them, and the number that they give.

The precision of an epoch is not the average of the precisions of its batches, nor is R². But both
are functions of sums over the samples, and sums of batches can be added:

    S = Σ_batches Σ_s w_s (…)_s,        metric = f(S)

A metric of this kind is a subclass of `Metric`. Everything is computed in float64.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, Self, TypeAlias

import numpy as np
from attrs import define, field

from chainrule.core.arrays import as_array
from chainrule.core.errors import ConfigurationError, DataError, ShapeError
from chainrule.core.hints import Hinted
from chainrule.core.tree import snake_case
from chainrule.core.types import Array, Shape
from chainrule.losses import Loss

MetricFunction: TypeAlias = Callable[..., Any]
"""A function ``(y, t) -> number``, or ``(y, t, sample_weights) -> number``."""


@define
class Metric(Hinted):
    """The base class of metrics that are computed from sums over the samples.

    For a custom metric, subclass it, decorate the subclass with `attrs.define`, and write

    * ``sums(self, y, target, sample_weights)``: an array of float64, what these samples add;
    * ``figure(self, sums)``: the number that the sums of all samples give.

    Sums are added; if they have to be combined differently, also override `joined`.
    """

    @property
    def name(self) -> str:
        """The name of its column in the history."""
        return snake_case(type(self).__name__)

    def __call__(self, y: Array, target: Array, sample_weights: Any = None) -> float:
        """The metric of these samples.

        Parameters
        ----------
        y
            The output of the model, (batch, …).
        target
            The targets, as the metric takes them.
        sample_weights
            How much each sample counts, or each part of one: numbers of at least 0 with the shape
            of the first axes of y. All count the same if not given.
        """
        y, target = as_array("y", y), as_array("the target", target)
        return self.figure(self.sums(y, target, sample_weights))

    def sums(self, y: Array, target: Array, sample_weights: Any, /) -> Array:
        """What these samples add to the sums."""
        raise NotImplementedError

    def joined(self, one: Array, other: Array) -> Array:
        """The sums of two sets of samples, from those of each."""
        return one + other

    def figure(self, sums: Array, /) -> float:
        """The number that the sums of all samples give."""
        raise NotImplementedError

    def for_loss(self, loss: Loss) -> Self:
        """The metric for outputs that are trained with this loss."""
        return self


@define
class FunctionMetric(Metric):
    """A function of (y, t): the average over the batches, weighted by their samples.

    With a third parameter ``sample_weights`` it receives the weights, or None, and its average is
    weighted by their sums.
    """

    function: MetricFunction
    takes_weights: bool = field(init=False)

    def __attrs_post_init__(self) -> None:
        try:
            self.takes_weights = "sample_weights" in inspect.signature(self.function).parameters
        except (TypeError, ValueError):  # a function written in C
            self.takes_weights = False

    @property
    def name(self) -> str:
        """The name of the function."""
        return getattr(self.function, "__name__", snake_case(type(self.function).__name__))

    def __call__(self, y: Array, target: Array, sample_weights: Any = None) -> float:
        """What the function returns, as a float."""
        if target.dtype.kind == "u":  # else t − 1 would be 255 for a label 0 of type uint8
            target = target.astype(np.int64)
        more = {"sample_weights": sample_weights} if self.takes_weights else {}
        figure = self.function(y, target, **more)
        try:
            return float(figure)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"the metric {self.name!r} does not return a number",
                expected="a function (y, t) -> number",
                received=f"{type(figure).__name__} of shape {np.shape(figure)}"
                if hasattr(figure, "shape")
                else f"{figure!r:.60}",
                hint="return the mean over the samples",
            ) from error

    def sums(self, y: Array, target: Array, sample_weights: Any, /) -> Array:
        """The number times the samples, and the samples."""
        size = float(len(target))
        if self.takes_weights and sample_weights is not None:
            size *= float(np.mean(sample_weights, dtype=float))
        return np.array([self(y, target, sample_weights) * size, size])

    def figure(self, sums: Array, /) -> float:
        """The average."""
        return ratio(*sums)


@define
class LossMetric(Metric):
    """The cost of a loss as a metric, Σ_s w_s c_s / Σ_s w_s."""

    loss: Loss

    @property
    def name(self) -> str:
        """``mean_squared_error`` for `MeanSquaredError`."""
        return snake_case(type(self.loss).__name__)

    def sums(self, y: Array, target: Array, sample_weights: Any, /) -> Array:
        """Σ w c and Σ w."""
        require_no_negative(self.name, sample_weights)
        cost = float(self.loss(y, target, sample_weights))
        rows = self.loss.counted(y.shape, target)
        size = self.loss.counted(y.shape, target, sample_weights)
        return np.array([cost * rows, size])

    def figure(self, sums: Array, /) -> float:
        """The weighted mean."""
        return ratio(*sums)


def is_additive(metric: Metric) -> bool:
    """Whether the sums of parts of a batch, added, are those of the whole batch."""
    return type(metric).joined is Metric.joined and not isinstance(metric, FunctionMetric)


def ratio(part: float, whole: float) -> float:
    """part/whole; NaN if nothing was counted."""
    return float(part / whole) if whole else math.nan


def require_no_negative(name: str, sample_weights: Any) -> None:
    """Raise an error for weights with which a mean is not a mean."""
    if sample_weights is not None and np.size(sample_weights) and np.min(sample_weights) < 0:
        raise DataError(
            f"the metric {name!r} is a weighted mean, and a weight is negative",
            place=name,
            expected="sample weights of 0 or more",
            received=f"{np.min(sample_weights):.6g}",
            hint="leave out the metric, or write a function (y, t), which ignores the weights",
        )


def spread_weights(name: str, sample_weights: Any, shape: Shape) -> Array | None:
    """Weights for each entry of an array with this shape, (entries,); None if all count the same.

    Raises
    ------
    DtypeError, ShapeError, DataError
        The weights are not numbers of at least 0 with the shape of the first axes.
    """
    if sample_weights is None:
        return None
    weights = as_array("sample_weights", sample_weights)
    if not weights.ndim or weights.shape != shape[: weights.ndim]:
        raise ShapeError(
            "the sample weights do not fit the targets",
            place=name,
            expected=shape[:1],
            received=weights.shape,
            hint="give one weight for each sample",
        )
    require_no_negative(name, weights)
    column = weights.reshape(*weights.shape, *[1] * (len(shape) - weights.ndim))
    return np.broadcast_to(column, shape).reshape(-1).astype(float)


def wrong_shape(place: str, target: Array, expected: object) -> ShapeError:
    """The error for a target that does not have the shape that a metric needs."""
    return ShapeError(
        "the shape of the target does not fit the output",
        place=place,
        expected=expected,
        received=np.shape(target),
    )
