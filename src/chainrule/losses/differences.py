"""Losses for numbers: the distance between y and t, squared or not.

½ ‖y − t‖²        mean (y − t)²        mean |y − t|        Huber: the first near t, the last far
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from attrs import define, field

from chainrule.core.equations import Equations
from chainrule.core.errors import ConfigurationError
from chainrule.core.types import Array, Shape
from chainrule.core.validators import as_float
from chainrule.losses.loss import Loss, column_of, dot_of, shares_of, sum_of_each_sample


class _DifferenceLoss(Loss):
    """A loss of the difference d = y − t in each output: c_s = Σ_k f(d_sk), or the mean over k.

    f is given as the product of its slope f′(d) and its chord f(d)/f′(d), because C = Σ Δ·chord is
    then a dot product with the delta, which is needed anyway.
    """

    _averages_outputs: ClassVar[bool] = True
    # f′(d) = _slope_scale × slope and f(d)/f′(d) = _chord_scale × chord, with slope and chord from
    # _slope_and_chord. The constants are multiplied in where that costs no pass over the array.
    _slope_scale: ClassVar[float] = 1.0
    _chord_scale: ClassVar[float] = 1.0

    def _slope_and_chord(self, difference: Array) -> tuple[Array, Array]:
        raise NotImplementedError

    def __call__(
        self, y: Array, target: Array | None = None, sample_weights: Array | None = None
    ) -> Array:
        return self.value_and_delta(y, target, sample_weights)[0]

    def delta(
        self, y: Array, target: Array | None = None, sample_weights: Array | None = None
    ) -> Array:
        return self.value_and_delta(y, target, sample_weights)[1]

    def value_and_delta(
        self, y: Array, target: Array | None = None, sample_weights: Array | None = None
    ) -> tuple[Array, Array]:
        difference = self._difference(y, target)
        share = shares_of(self, y, sample_weights, y.shape, y.shape[0] * self._terms(y))
        if sample_weights is not None:
            difference[share == 0] = 0.0
            share = column_of(share, y)
        slope, chord = self._slope_and_chord(difference)
        delta = slope * (self._slope_scale * share)
        return self._chord_scale * dot_of(delta, chord), delta

    def costs(self, y: Array, target: Array | None = None) -> Array:
        slope, chord = self._slope_and_chord(self._difference(y, target))
        scale = self._slope_scale * self._chord_scale / self._terms(y)
        return scale * sum_of_each_sample(slope * chord)

    def slopes(self, y: Array, target: Array | None = None) -> Array:
        slope, _ = self._slope_and_chord(self._difference(y, target))
        return slope * (self._slope_scale / self._terms(y))

    def _difference(self, y: Array, target: Array | None) -> Array:
        """The difference y − t; a copy of y for a loss without targets."""
        target = self.accept(y, target)
        return y.copy() if target is None else y - target

    def _terms_shape(self, y_shape: Shape) -> Shape:
        return y_shape

    def _terms(self, y: Array) -> int:
        return max(math.prod(y.shape[1:]), 1) if self._averages_outputs else 1


class HalfSquaredError(_DifferenceLoss):
    """The lecture's cost function: C = ½⟨‖y − t‖²⟩, averaged over the batch only.

    c_s = ½ Σ_k (y_sk − t_sk)²        Δ = (y − t)/N

    The sum runs over all outputs of a sample. Shapes: y and t have the same shape (batch, …).

    Source: the lecture, and Bishop, *Pattern Recognition and Machine Learning* (2006), eq. 5.11.
    """

    _averages_outputs: ClassVar[bool] = False
    _chord_scale: ClassVar[float] = 0.5

    def _slope_and_chord(self, difference: Array) -> tuple[Array, Array]:
        return difference, difference

    def equations(self) -> Equations:
        """C and Δ; see `Loss.equations`."""
        return Equations("np.sum((y - t) ** 2) / (2 * len(y))", "(y - t) / len(y)")


class MeanSquaredError(_DifferenceLoss):
    """The mean of the squares over the batch and the K outputs: 2/K times `HalfSquaredError`.

    c_s = (1/K) Σ_k (y_sk − t_sk)²        Δ = 2 (y − t)/(N K)

    Shapes: y and t have the same shape (batch, …). Source: as for `HalfSquaredError`.
    """

    _slope_scale: ClassVar[float] = 2.0
    _chord_scale: ClassVar[float] = 0.5

    def _slope_and_chord(self, difference: Array) -> tuple[Array, Array]:
        return difference, difference

    def equations(self) -> Equations:
        """C and Δ; see `Loss.equations`."""
        return Equations("np.mean((y - t) ** 2)", "2 * (y - t) / y.size")


class MeanSquare(_DifferenceLoss):
    """The mean square of the output: `MeanSquaredError` without targets.

    c_s = (1/K) Σ_k y_sk²        Δ = 2 y/(N K)

    For outputs that should be zero, such as the residuals of a differential equation. Shape: y is
    (batch, …). Source: as for `HalfSquaredError`.

    Examples
    --------
    >>> losses.MeanSquare()(np.array([[1.0], [-3.0]]))
    np.float64(5.0)
    """

    takes_targets: ClassVar[bool] = False
    _slope_scale: ClassVar[float] = 2.0
    _chord_scale: ClassVar[float] = 0.5

    def _slope_and_chord(self, difference: Array) -> tuple[Array, Array]:
        return difference, difference

    def equations(self) -> Equations:
        """C and Δ; see `Loss.equations`."""
        return Equations("np.mean(y**2)", "2 * y / y.size")


class MeanOutput(_DifferenceLoss):
    """The mean of the output itself, without targets: the model computes its own cost.

    c_s = (1/K) Σ_k y_sk        Δ = 1/(N K)

    For a model whose output is an energy or the negative logarithm of a likelihood. Shape: y is
    (batch, …). Source: W. E and B. Yu, *The Deep Ritz Method*, Communications in Mathematics and
    Statistics 6 (2018) 1, for energies.

    Examples
    --------
    >>> losses.MeanOutput()(np.array([[1.0], [-3.0]]))
    np.float64(-1.0)
    """

    takes_targets: ClassVar[bool] = False

    def _slope_and_chord(self, difference: Array) -> tuple[Array, Array]:
        return np.ones_like(difference), difference

    def equations(self) -> Equations:
        """C and Δ; see `Loss.equations`."""
        return Equations("np.mean(y)", "np.ones_like(y) / y.size")


class MeanAbsoluteError(_DifferenceLoss):
    """The mean distance over the batch and the K outputs: outliers pull no harder than near points.

    c_s = (1/K) Σ_k |y_sk − t_sk|        Δ = sign(y − t)/(N K)

    At the kink, y = t, the slope is taken as zero. Shapes: y and t have the same shape (batch, …).

    Source: Hastie, Tibshirani and Friedman, *The Elements of Statistical Learning* (2009), §10.6.
    """

    def _slope_and_chord(self, difference: Array) -> tuple[Array, Array]:
        return np.sign(difference), difference

    def equations(self) -> Equations:
        """C and Δ; see `Loss.equations`."""
        return Equations("np.mean(np.abs(y - t))", "np.sign(y - t) / y.size")


def _threshold(value: Any) -> float:
    # A Python float even for a NumPy number, which would turn float32 arrays into float64.
    number = as_float(value)
    if not isinstance(number, float) or not 0 < number < math.inf:
        raise ConfigurationError(
            "the threshold of a Huber loss must be a positive number",
            place="Huber",
            expected="0 < threshold < ∞",
            received=repr(value),
            hint="give the distance beyond which an error counts as an outlier, such as 1.0",
        )
    return number


@define
class Huber(_DifferenceLoss):
    """Squares near the target, distances far from it: the pull of an outlier is bounded.

    f(d) = ½ d² where |d| ≤ θ, and θ (|d| − ½ θ) beyond;         f′(d) = min(max(d, −θ), θ)

    c_s = (1/K) Σ_k f(y_sk − t_sk)        Δ = f′(y − t)/(N K)

    Parameters
    ----------
    threshold
        θ, the distance at which the parabola becomes a straight line, in the units of y.

    Notes
    -----
    Shapes: y and t have the same shape (batch, …), with K outputs for each sample.

    Source: P. J. Huber, *Robust estimation of a location parameter*, Annals of Mathematical
    Statistics 35 (1964) 73.
    """

    threshold: float = field(default=1.0, converter=_threshold)

    def _slope_and_chord(self, difference: Array) -> tuple[Array, Array]:
        slope = np.minimum(np.maximum(difference, -self.threshold), self.threshold)
        return slope, difference - 0.5 * slope

    def equations(self) -> Equations:
        """C and Δ; see `Loss.equations`."""
        slope = f"np.clip(y - t, -{self.threshold!r}, {self.threshold!r})"
        cost = "np.mean(slope * (y - t - slope / 2))"
        return Equations(cost, "slope / y.size", definitions={"slope": slope})
