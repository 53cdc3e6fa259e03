"""Losses: how wrong the network is, as one number C, and the delta ∂C/∂y that starts the way back.

Each sample s of a batch of N has a cost c_s of its own, which compares the network's output y_s
with the target t_s. The cost function is their average, and so is its derivative:

    C = (1/N) Σ_s w_s c_s(y_s, t_s)            Δ_s = ∂C/∂y_s = (w_s/N) ∂c_s/∂y_s

This is the one place where the average over the batch is taken: the deltas carry the 1/N from
here through all layers, and no layer divides by it again.

A sample weight w_s multiplies its sample's contribution, and the average stays over all N: weights
of one change nothing, a weight of two doubles what the sample adds, and a weight of zero
silences the sample, whatever stands in its row of y. (A weighted mean would divide by Σ w_s
instead; then the parts of a batch would no longer add up to the whole.)

Losses of class targets take integer labels 0 … K−1, or a row of K probabilities for each sample,
which is "one-hot" where one of them is one. From logits (what the last Dense returns) use
`SoftmaxCrossEntropy` or `SigmoidCrossEntropy`: they never form a probability that could underflow,
and are finite for all finite logits.

A model with several outputs has a loss for each of them, and their weighted sum is what is made
small: see `PerOutput`.
"""

from __future__ import annotations

import functools
import math
import numbers
import operator
import sys
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NoReturn

import numpy as np
from attrs import define, field

from chainrule.core.errors import (
    ChainruleError,
    ConfigurationError,
    DataError,
    DefinitionError,
    DtypeError,
    NonFiniteError,
    ShapeError,
)
from chainrule.core.parameter import Array

__all__ = [
    "HalfSquaredError",
    "Huber",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "NegativeLogLikelihood",
    "PerOutput",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
]


@define
class Loss:
    """What every loss is: a cost C, and the delta ∂C/∂y.

    Subclass it, decorate the subclass with `attrs.define`, and write two methods:

    * ``costs(self, y, target)``: c_s, one number for each sample, shape (batch,);
    * ``slopes(self, y, target)``: ∂c_s/∂y_s, of the shape of y.

    The average over the batch, the sample weights, the empty batch and the checks are then done
    here. A loss of one's own is

        @define
        class LogCosh(Loss):
            def costs(self, y, target):
                return np.sum(np.log(np.cosh(y - target)), axis=1)

            def slopes(self, y, target):
                return np.tanh(y - target)

    As in a layer: call ``np.*`` on what you are given and write into none of it, so that `Dual`
    numbers can flow through and give exact second derivatives. A loss whose targets do not have
    the shape of y also overrides `accept` and `validate_targets`; one whose two results share work
    overrides `value_and_delta`.

    Arrays are batch first. Everything has the dtype of y, to which the target and the weights are
    rounded.
    """

    def __call__(self, y: Array, target: Array, sample_weights: Array | None = None) -> Array:
        """C = (1/N) Σ_s w_s c_s, a scalar of the dtype of y; of an empty batch, zero.

        Parameters
        ----------
        y
            What the model returned, (batch, …), float32 or float64.
        target
            What it should have returned, of the shape of y unless the loss says otherwise.
        sample_weights
            w_s, shape (batch,), finite and not negative. Default: one for each sample.

        Raises
        ------
        ShapeError
            The target or the weights have another shape; nothing is ever broadcast.
        DtypeError
            y is not an array of floating-point numbers, or the target holds no numbers.
        DataError
            The weights, or the labels, have values that make no sense.
        """
        target = self.accept(y, target)
        share = _shares(self, y, sample_weights)
        costs = self.costs(y, target)
        if np.shape(costs) != y.shape[:1]:
            raise DefinitionError(
                "costs returns one number for each sample",
                place=_name(self),
                expected=y.shape[:1],
                received=np.shape(costs),
                mend="sum over a sample's outputs, and leave the average over the batch to Loss",
            )
        if sample_weights is not None:
            costs = np.where(share == 0, 0.0, costs)
        return np.sum(costs * share)

    def delta(self, y: Array, target: Array, sample_weights: Array | None = None) -> Array:
        """Δ = ∂C/∂y = (w_s/N) ∂c_s/∂y_s, of the shape and dtype of y. Arguments as for C."""
        target = self.accept(y, target)
        share = _shares(self, y, sample_weights)
        slopes = self.slopes(y, target)
        if np.shape(slopes) != y.shape:
            raise DefinitionError(
                "slopes returns one number for each output",
                place=_name(self),
                expected=y.shape,
                received=np.shape(slopes),
                mend="return ∂c_s/∂y_s, and leave the average over the batch to Loss",
            )
        if sample_weights is not None:
            share = _column(share, y)
            slopes = np.where(share == 0, 0.0, slopes)
        return slopes * share

    def value_and_delta(
        self, y: Array, target: Array, sample_weights: Array | None = None
    ) -> tuple[Array, Array]:
        """C and Δ together, for less than the two cost apart where they share work."""
        return self(y, target, sample_weights), self.delta(y, target, sample_weights)

    def costs(self, y: Array, target: Array) -> Array:
        """c_s, the cost of each sample before weights and average: shape (batch,)."""
        self._is_missing("costs")

    def slopes(self, y: Array, target: Array) -> Array:
        """∂c_s/∂y_s, the derivative of each sample's cost for its outputs: the shape of y."""
        self._is_missing("slopes")

    def accept(self, y: Array, target: Array) -> Array:
        """Return the target as the formulas take it, in the dtype of y, or raise a named error.

        Every call passes through here, so it is quick; what is worth a slower look is checked by
        `validate_targets`, once for all data.
        """
        try:
            dtype = y.dtype
            if y.shape == target.shape and dtype == target.dtype and dtype.kind == "f" and y.ndim:
                return target
        except AttributeError:
            pass  # no array at all: said in full below
        _require_output(self, y)
        _require_numbers(self, target)
        if target.shape != y.shape:
            _wrong_shape(self, y.shape, target)
        return target.astype(y.dtype)

    def validate_targets(self, y_shape: tuple[int, ...], target: Array) -> None:
        """Raise a named error for targets that nothing can be learned from.

        The thorough look that is taken once, at all targets of a data set, before training.

        Parameters
        ----------
        y_shape
            The shape that the model's output has for all these samples, (samples, …).
        target
            All targets.

        Raises
        ------
        ShapeError, DtypeError
            As when the loss is called.
        DataError
            A target is not finite, or no value that this loss can compare with. It says which.
        """
        _require_numbers(self, target)
        if target.shape != tuple(y_shape):
            _wrong_shape(self, tuple(y_shape), target)
        _require_each(self, target, np.isfinite(target), "a finite number")

    @property
    def for_each_output(self) -> tuple[Loss, ...]:
        """The loss of each output of the model: where there is one output, this one."""
        return (self,)

    def total(self, costs: Sequence[Any]) -> Any:
        """C, from the cost of each output: where there is one output, its cost."""
        (cost,) = costs
        return cost

    def _is_missing(self, method: str) -> NoReturn:
        raise DefinitionError(
            f"a loss needs a method {method}",
            place=_name(self),
            expected="costs(self, y, target) and slopes(self, y, target)",
            received=f"a class without {method}",
            mend=f"write {method}, or use one of the losses of chainrule.losses",
        )


@define
class _DifferenceLoss(Loss):
    """A loss of the difference d = y − t, output by output: c_s = Σ_k f(d_sk), or the mean over k.

    f is given as a product of its slope and what may be called its chord, f(d) = f′(d) f(d)/f′(d),
    because then C = Σ Δ·chord is a dot product with the delta, which is needed anyway.
    """

    _averages_outputs: ClassVar[bool] = True
    # f′(d) = _slope_scale × slope and f(d)/f′(d) = _chord_scale × chord, with slope and chord from
    # _slope_and_chord: the constants are multiplied in where that costs no pass over the array.
    _slope_scale: ClassVar[float] = 1.0
    _chord_scale: ClassVar[float] = 1.0

    def _slope_and_chord(self, difference: Array) -> tuple[Array, Array]:
        raise NotImplementedError

    def __call__(self, y: Array, target: Array, sample_weights: Array | None = None) -> Array:
        return self.value_and_delta(y, target, sample_weights)[0]

    def delta(self, y: Array, target: Array, sample_weights: Array | None = None) -> Array:
        return self.value_and_delta(y, target, sample_weights)[1]

    def value_and_delta(
        self, y: Array, target: Array, sample_weights: Array | None = None
    ) -> tuple[Array, Array]:
        target = self.accept(y, target)
        share = _shares(self, y, sample_weights, self._terms(y))
        difference = y - target
        if sample_weights is not None:
            difference[share == 0] = 0.0
            share = _column(share, y)
        slope, chord = self._slope_and_chord(difference)
        delta = slope * (self._slope_scale * share)
        return self._chord_scale * np.vdot(delta, chord), delta

    def costs(self, y: Array, target: Array) -> Array:
        target = self.accept(y, target)
        slope, chord = self._slope_and_chord(y - target)
        scale = self._slope_scale * self._chord_scale / self._terms(y)
        return scale * _sum_of_each_sample(slope * chord)

    def slopes(self, y: Array, target: Array) -> Array:
        slope, _ = self._slope_and_chord(y - self.accept(y, target))
        return slope * (self._slope_scale / self._terms(y))

    def _terms(self, y: Array) -> int:
        return max(math.prod(y.shape[1:]), 1) if self._averages_outputs else 1


@define
class HalfSquaredError(_DifferenceLoss):
    """The lecture's cost function: C = ½⟨‖y − t‖²⟩, the average over the batch only.

    c_s = ½ Σ_k (y_sk − t_sk)²        Δ = (y − t)/N

    The sum runs over all outputs of a sample. Shapes: y and t (batch, …), the same.

    Source: the lecture, and Bishop, *Pattern Recognition and Machine Learning* (2006), eq. 5.11.
    """

    _averages_outputs: ClassVar[bool] = False
    _chord_scale: ClassVar[float] = 0.5

    def _slope_and_chord(self, difference: Array) -> tuple[Array, Array]:
        return difference, difference


@define
class MeanSquaredError(_DifferenceLoss):
    """The mean of the squares, over the batch and the K outputs: 2/K of `HalfSquaredError`.

    c_s = (1/K) Σ_k (y_sk − t_sk)²        Δ = 2 (y − t)/(N K)

    Shapes: y and t (batch, …), the same. Source: as `HalfSquaredError`.
    """

    _slope_scale: ClassVar[float] = 2.0
    _chord_scale: ClassVar[float] = 0.5

    def _slope_and_chord(self, difference: Array) -> tuple[Array, Array]:
        return difference, difference


@define
class MeanAbsoluteError(_DifferenceLoss):
    """The mean distance, over the batch and the K outputs: a far point pulls no more than a near.

    c_s = (1/K) Σ_k |y_sk − t_sk|        Δ = sign(y − t)/(N K)

    At the kink, y = t, the slope is taken as zero. Shapes: y and t (batch, …), the same.

    Source: Hastie, Tibshirani and Friedman, *The Elements of Statistical Learning* (2009), §10.6.
    """

    def _slope_and_chord(self, difference: Array) -> tuple[Array, Array]:
        return np.sign(difference), difference


def _threshold(value: Any) -> float:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not 0 < value <= sys.float_info.max:
        raise ConfigurationError(
            "the threshold of a Huber loss is a positive number",
            place="Huber",
            expected="0 < threshold < ∞",
            received=repr(value),
            mend="give the distance from which on an error counts as an outlier, such as 1.0",
        )
    # A Python float, also of a NumPy number: that one would make float64 of float32 arrays.
    return float(value)


@define
class Huber(_DifferenceLoss):
    """Squares near the target, distances far from it: outliers pull with a force that is bounded.

    f(d) = ½ d² where |d| ≤ θ, and θ (|d| − ½ θ) beyond it;        f′(d) = min(max(d, −θ), θ)

    c_s = (1/K) Σ_k f(y_sk − t_sk)        Δ = f′(y − t)/(N K)

    Parameters
    ----------
    threshold
        θ, the distance where the square turns into a straight line, in the units of y.

    Notes
    -----
    Shapes: y and t (batch, …), the same; K outputs for each sample.

    Source: P. J. Huber, *Robust estimation of a location parameter*, Annals of Mathematical
    Statistics 35 (1964) 73.
    """

    threshold: float = field(default=1.0, converter=_threshold)

    def _slope_and_chord(self, difference: Array) -> tuple[Array, Array]:
        slope = np.minimum(np.maximum(difference, -self.threshold), self.threshold)
        return slope, difference - 0.5 * slope


@define
class _EntropyLoss(Loss):
    """A loss of probabilities or logits, made of terms: one for each label, or for each output."""

    def _terms_and_delta(self, y: Array, target: Array, share: Array) -> tuple[Array, Array]:
        """Return the terms c of the cost C = Σ share·c, and ∂C/∂y, which has the share in it."""
        raise NotImplementedError

    def _terms_shape(self, y: Array) -> tuple[int, ...]:
        raise NotImplementedError

    def __call__(self, y: Array, target: Array, sample_weights: Array | None = None) -> Array:
        return self.value_and_delta(y, target, sample_weights)[0]

    def delta(self, y: Array, target: Array, sample_weights: Array | None = None) -> Array:
        return self.value_and_delta(y, target, sample_weights)[1]

    # Exponentials are meant to underflow, differences of the largest numbers to overflow, and a
    # silenced row may hold anything.
    @np.errstate(all="ignore")
    def value_and_delta(
        self, y: Array, target: Array, sample_weights: Array | None = None
    ) -> tuple[Array, Array]:
        target = self.accept(y, target)
        shape = self._terms_shape(y)
        share = _shares(self, y, sample_weights, max(math.prod(shape[1:]), 1))
        if sample_weights is None:
            terms, delta = self._terms_and_delta(y, target, share)
        else:
            silent = share == 0
            share = share.reshape(-1, *[1] * (len(shape) - 1))
            terms, delta = self._terms_and_delta(y, target, share)
            terms[silent] = 0.0
            delta[silent] = 0.0
        return _total(terms, share, y), delta

    @np.errstate(all="ignore")
    def costs(self, y: Array, target: Array) -> Array:
        shape = self._terms_shape(y)
        terms, _ = self._terms_and_delta(y, self.accept(y, target), 1.0)
        return _sum_of_each_sample(terms) * (1 / max(math.prod(shape[1:]), 1))

    @np.errstate(all="ignore")
    def slopes(self, y: Array, target: Array) -> Array:
        share = 1 / max(math.prod(self._terms_shape(y)[1:]), 1)
        return self._terms_and_delta(y, self.accept(y, target), share)[1]


@define
class _ClassLoss(_EntropyLoss):
    """A loss of K classes, the last axis of y: targets are labels, or rows of K probabilities."""

    def accept(self, y: Array, target: Array) -> Array:
        _require_output(self, y)
        self._check_targets(y.shape, target)
        if target.shape == y.shape:
            return target if target.dtype == y.dtype else target.astype(y.dtype)
        return target.astype(np.intp) if target.dtype.kind == "b" else target

    def validate_targets(self, y_shape: tuple[int, ...], target: Array) -> None:
        self._check_targets(tuple(y_shape), target)
        if target.shape == tuple(y_shape):
            _require_each(self, target, np.isfinite(target), "a finite number")

    def _check_targets(self, y_shape: tuple[int, ...], target: Array) -> None:
        _require_numbers(self, target)
        if len(y_shape) < 2 or y_shape[-1] < 2:
            raise ShapeError(
                "there is nothing to choose between: the classes are the last axis of y",
                place=_name(self),
                expected="y of the shape (batch, …, classes), with two classes at least",
                received=f"y of the shape {y_shape}",
                mend="for one yes-or-no output, use SigmoidCrossEntropy",
            )
        if target.shape == y_shape:
            if target.size and not target.min() >= 0:
                _require_each(self, target, target >= 0, "a probability, 0 or more")
        elif target.shape == y_shape[:-1]:
            _require_labels(self, target, y_shape[-1])
        else:
            _wrong_shape(self, y_shape, target, f"labels {y_shape[:-1]}, or one-hot {y_shape}")

    def _terms_shape(self, y: Array) -> tuple[int, ...]:
        shape: tuple[int, ...] = y.shape[:-1]
        return shape


@define
class SoftmaxCrossEntropy(_ClassLoss):
    """The cross entropy of K classes, from logits z: what a Dense returns, without a `Softmax`.

    c_s = −Σ_k t_sk ln p_sk        p = softmax(z)        Δ = (p Σ_k t_k − t)/N

    With a label ℓ in place of the row t this is −ln p_ℓ, and Δ = (p − [k = ℓ])/N. Labels are the
    quicker way. The rows t may be soft; they are taken as they are, whether they sum to 1 or not.

    Notes
    -----
    Shapes: z (batch, …, K); labels (batch, …), whole numbers from 0 to K−1; rows t (batch, …, K).
    Axes between the first and the last are averaged over, like the batch: c_s is then a mean.

    With m = max_k z_k and R = Σ exp(z_k − m) over all classes but the one that has the maximum,
    −ln p_ℓ = ln(1 + R) − (z_ℓ − m). Both terms are positive, so that nothing cancels, and a cost
    of 1e−30 is as exact as one of 30: to a few ulp, and to what rounding z_k − m does to its
    exponential. For finite logits all is finite; a cost that no floating-point number can hold is
    given as the largest one.

    Source: Bishop, *Pattern Recognition and Machine Learning* (2006), eqs. 4.108, 4.109 and 5.24.
    """

    def _terms_and_delta(self, y: Array, target: Array, share: Array) -> tuple[Array, Array]:
        logits = y.reshape(-1, y.shape[-1])
        rows = np.arange(len(logits))
        winner = logits.argmax(axis=1)
        below = logits - logits[rows, winner][:, np.newaxis]  # z − m
        powers = np.exp(below)
        powers[rows, winner] = 0.0
        rest = powers.sum(axis=1)  # R
        powers[rows, winner] = 1.0
        # What stands in powers becomes (1 + R) times p Σt − t, in an order in which the 1 of the
        # winner and the 1 of its target cancel before R is rounded away beside them.
        if target.shape == y.shape:
            target = target.reshape(below.shape)
            total = target.sum(axis=1)
            spread = np.where(target > 0, target * below, 0.0)  # 0 × ∞ is no cost
            terms = total * np.log1p(rest) - spread.sum(axis=1)
            powers *= total[:, np.newaxis]
            powers -= target
            powers -= target * rest[:, np.newaxis]
        else:
            labels = target.reshape(-1)
            terms = np.log1p(rest) - below[rows, labels]
            powers[rows, labels] = (powers[rows, labels] - 1.0) - rest
        scale = share / (1.0 + rest.reshape(y.shape[:-1]))
        powers *= scale.reshape(-1, 1)
        return terms.reshape(y.shape[:-1]), powers.reshape(y.shape)


@define
class NegativeLogLikelihood(_ClassLoss):
    """The cross entropy of K classes, from probabilities p: what a `Softmax` returns.

    c_s = −Σ_k t_sk ln p_sk        Δ = −t/(N p)

    With a label ℓ in place of the row t this is −ln p_ℓ, and Δ_ℓ = −1/(N p_ℓ).

    Shapes: p (batch, …, K); labels (batch, …), whole numbers from 0 to K−1; rows t (batch, …, K).
    Axes between the first and the last are averaged over, like the batch.

    Raises
    ------
    NonFiniteError
        A class that occurred was given the probability zero (or one so small that 1/p overflows).
        Its cost is infinite, and behind a Softmax that underflowed its delta would vanish: nothing
        would be learned from the sample that is the most wrong. From logits,
        `SoftmaxCrossEntropy` does not have this limit.
    DataError
        What was given for a class that occurred is negative or more than 1, so no probability.

    Notes
    -----
    Source: Bishop, *Pattern Recognition and Machine Learning* (2006), eq. 4.108.
    """

    def _terms_and_delta(self, y: Array, target: Array, share: Array) -> tuple[Array, Array]:
        silent = np.broadcast_to(share == 0, y.shape[:-1]).reshape(-1)
        rows_of_y = y.reshape(-1, y.shape[-1])
        if target.shape == y.shape:
            target = target.reshape(rows_of_y.shape)
            counts = (target > 0) & ~silent[:, np.newaxis]
            probabilities = np.where(counts, rows_of_y, 1.0)
            self._require_probabilities(probabilities)
            terms = np.sum(0.0 - target * np.log(probabilities), axis=1)
            delta = (0.0 - target) / probabilities
        else:
            labels = target.reshape(-1)
            rows = np.arange(len(labels))
            probabilities = rows_of_y[rows, labels]
            probabilities[silent] = 1.0
            self._require_probabilities(probabilities)
            terms = 0.0 - np.log(probabilities)
            delta = np.zeros_like(rows_of_y)
            delta[rows, labels] = -1.0 / probabilities
        delta = delta.reshape(y.shape)
        delta *= share if isinstance(share, float) else share[..., np.newaxis]
        return terms.reshape(y.shape[:-1]), delta

    def _require_probabilities(self, probabilities: Array) -> None:
        # 1/p of the smallest normal number is finite. A little above 1 is what rounding, or the
        # step of a difference quotient, makes of a probability; logits are above it soon.
        smallest = np.finfo(probabilities.dtype).tiny
        if np.any(probabilities > 1.001) or np.any(probabilities < 0):
            raise DataError(
                "what was given for a class that occurred is no probability",
                place=_name(self),
                expected="numbers from 0 to 1, as a Softmax returns them",
                received=f"numbers from {np.min(probabilities)} to {np.max(probabilities)}",
                mend="end the model with a Softmax, or give its logits to SoftmaxCrossEntropy",
            )
        if np.any(probabilities < smallest):
            raise NonFiniteError(
                "a class that occurred was given a probability of zero: −ln 0 is infinite",
                place=_name(self),
                expected=f"probabilities of {smallest:.3g} or more where the target is not zero",
                received=f"{np.min(probabilities)}, {np.sum(probabilities < smallest)} times",
                mend="leave out the Softmax and give the logits to SoftmaxCrossEntropy",
            )


@define
class SigmoidCrossEntropy(_EntropyLoss):
    """The cross entropy of yes-or-no outputs, from logits z, without an ``Activation("sigmoid")``.

    c_s = (1/K) Σ_k −t_sk ln p_sk − (1 − t_sk) ln(1 − p_sk)    p = 1/(1 + e⁻ᶻ)    Δ = (p − t)/(N K)

    Shapes: z (batch, …, K), and targets t from 0 to 1 of the same shape; K outputs for each sample,
    each a question of its own, so that several or none may be true. Whole numbers t of the shape
    (batch, …) are labels: 0 or 1 where K = 1, and else the number of the one output that is true.

    Notes
    -----
    With q = 1 − t where z ≥ 0 and q = t where z < 0, the chance that z has the wrong sign, the
    cost of an output is |z| q + ln(1 + e^−|z|). Both terms are positive, so nothing cancels, and
    it is exact to a few ulp for all z; so is p − t. For finite logits all is finite; a cost that no
    floating-point number can hold is given as the largest one.

    Source: Bishop, *Pattern Recognition and Machine Learning* (2006), eqs. 5.21 to 5.23.
    """

    def accept(self, y: Array, target: Array) -> Array:
        """Return the target as probabilities, of the shape and dtype of y."""
        _require_output(self, y)
        self._check_targets(y.shape, target)
        if target.shape == y.shape:
            return target if target.dtype == y.dtype else target.astype(y.dtype)
        labels = target.astype(np.intp)[..., np.newaxis]
        classes = np.ones(1, int) if y.shape[-1] == 1 else np.arange(y.shape[-1])
        return (labels == classes).astype(y.dtype)

    def validate_targets(self, y_shape: tuple[int, ...], target: Array) -> None:
        """As in `Loss`: the quick look is thorough enough here."""
        self._check_targets(tuple(y_shape), target)

    def _check_targets(self, y_shape: tuple[int, ...], target: Array) -> None:
        _require_numbers(self, target)
        if target.shape == y_shape:
            if target.size and not (target.min() >= 0 and target.max() <= 1):
                _require_each(self, target, (target >= 0) & (target <= 1), "a number from 0 to 1")
        elif target.shape == y_shape[:-1] and target.dtype.kind in "iub" and len(y_shape) > 1:
            _require_labels(self, target, max(y_shape[-1], 2))
        else:
            _wrong_shape(self, y_shape, target)

    def _terms_shape(self, y: Array) -> tuple[int, ...]:
        shape: tuple[int, ...] = y.shape
        return shape

    def _terms_and_delta(self, y: Array, target: Array, share: Array) -> tuple[Array, Array]:
        # Not abs(z): its slope at z = 0 is zero, and that of the formula is not.
        right = y >= 0
        distance = np.where(right, y, -y)
        chance = np.where(right, 1.0 - target, target)  # q
        decay = np.exp(-distance)
        terms = distance * chance + np.log1p(decay)
        excess = chance - decay / (1.0 + decay)  # ±(t − p), and 1 − p = 1/(1 + eᶻ) is exact
        return terms, np.where(right, excess, -excess) * share


def _losses_of_outputs(given: Any) -> tuple[Loss, ...]:
    is_series = isinstance(given, Iterable) and not isinstance(given, str)
    losses = tuple(given) if is_series else (given,)
    for number, loss in enumerate(losses):
        is_class = isinstance(loss, type) and issubclass(loss, Loss)
        if not isinstance(loss, Loss) or isinstance(loss, PerOutput):
            raise ConfigurationError(
                "PerOutput takes losses, each of them for one output",
                place=f"losses[{number}]",
                expected="a loss such as HalfSquaredError()",
                received=f"{loss!r:.80}",
                mend=f"make an instance of it: {losses[number].__name__}(…)" if is_class else None,
            )
    if len(losses) < 2:
        raise ConfigurationError(
            "PerOutput is for several outputs, with a loss for each",
            place="losses",
            expected="a list of two losses at least",
            received=f"{given!r:.80}",
            mend="where the model has one output, give the loss itself",
        )
    return losses


def _weights_of_outputs(given: Any) -> tuple[float, ...]:
    is_series = isinstance(given, Iterable) and not isinstance(given, str)
    weights = tuple(given) if is_series else (given,)
    for number, weight in enumerate(weights):
        is_number = isinstance(weight, numbers.Real) and not isinstance(weight, bool)
        if not is_number or not 0 <= weight <= sys.float_info.max:
            raise ConfigurationError(
                "the weight of a loss is a finite number, 0 or more",
                place=f"weights[{number}]",
                expected="0 ≤ weight < ∞",
                received=f"{weight!r:.60}",
                mend="a weight of 0 silences an output: its cost is measured, and not learned from",
            )
    return tuple(map(float, weights))


@define
class PerOutput(Loss):
    """A loss for each of a model's outputs, and what is made small is their weighted sum.

    C = Σ_i λ_i C_i(y_i, t_i)        Δ_i = ∂C/∂y_i = λ_i ∂C_i/∂y_i

    Where other losses take an array y and an array t, this one takes a tuple of them, with one
    array for each output, and gives a tuple of deltas. The sample weights are those of all outputs.

    Parameters
    ----------
    losses
        The losses C_i, in the order of the outputs: two at least.
    weights
        λ_i, finite and not negative. Default: one for each. A weight of zero silences an output,
        whatever stands in it: its C_i is computed, and neither C nor any Δ knows of it.

    Raises
    ------
    ConfigurationError
        Something is no loss of one output, or no such weight, or there are not as many of both.
    ShapeError
        When it is called: y or t is no tuple, or has not as many arrays as there are losses.

    Notes
    -----
    What an array is refused for, its own loss says; the error's place begins with ``y[i]``.

    Source: the weighted sum of R. Caruana, *Multitask Learning*, Machine Learning 28 (1997) 41.

    Examples
    --------
    >>> loss = PerOutput([HalfSquaredError(), MeanAbsoluteError()], weights=[1.0, 0.5])
    >>> y = np.array([[3.0]]), np.array([[1.0, 2.0]])
    >>> t = np.array([[1.0]]), np.array([[1.0, 6.0]])
    >>> loss(y, t)  # ½ 2² + ½ (0 + 4)/2
    np.float64(3.0)
    >>> loss.delta(y, t)
    (array([[2.]]), array([[ 0.  , -0.25]]))
    """

    losses: tuple[Loss, ...] = field(converter=_losses_of_outputs)
    weights: tuple[float, ...] = field(converter=_weights_of_outputs)

    @weights.default
    def _of_one(self) -> tuple[float, ...]:
        return (1.0,) * len(self.losses)

    @weights.validator
    def _require_one_for_each(self, attribute: Any, weights: tuple[float, ...]) -> None:
        if len(weights) != len(self.losses):
            raise ConfigurationError(
                "PerOutput: there is one weight for each loss",
                expected=f"{len(self.losses)} weights",
                received=f"{len(weights)}: {', '.join(map(str, weights))}",
            )

    def __call__(self, y: Any, target: Any, sample_weights: Array | None = None) -> Array:
        """C = Σ_i λ_i C_i, a scalar; arguments as in `Loss`, y and the target in tuples."""
        return self.total(self._each("__call__", y, target, sample_weights))

    def delta(self, y: Any, target: Any, sample_weights: Array | None = None) -> tuple[Array, ...]:
        """The tuple of the Δ_i = λ_i ∂C_i/∂y_i. Arguments as for C."""
        return self._weighted(self._each("delta", y, target, sample_weights))

    def value_and_delta(
        self, y: Any, target: Any, sample_weights: Array | None = None
    ) -> tuple[Array, tuple[Array, ...]]:
        """C and the tuple of the Δ_i."""
        costs, deltas = self.costs_and_deltas(y, target, sample_weights)
        return self.total(costs), deltas

    def costs_and_deltas(
        self, y: Any, target: Any, sample_weights: Array | None = None
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """The C_i without their weights, of which `total` makes C; and the Δ_i, which have them."""
        pairs = self._each("value_and_delta", y, target, sample_weights)
        return tuple([c for c, _ in pairs]), self._weighted([delta for _, delta in pairs])

    def costs(self, y: Any, target: Any) -> Array:
        """c_s = Σ_i λ_i c_is, the cost of each sample in all of its outputs: shape (batch,)."""
        return self.total(self._each("costs", y, target))

    def slopes(self, y: Any, target: Any) -> tuple[Array, ...]:
        """The tuple of the λ_i ∂c_is/∂y_is."""
        return self._weighted(self._each("slopes", y, target))

    def accept(self, y: Any, target: Any) -> tuple[Array, ...]:
        """Return the tuple of the targets as their losses take them, or raise a named error."""
        return tuple(self._each("accept", y, target))

    def validate_targets(self, y_shape: Any, target: Any) -> None:
        """As in `Loss`, with a tuple of shapes and a tuple of targets."""
        self._each("validate_targets", tuple(y_shape), target)

    @property
    def for_each_output(self) -> tuple[Loss, ...]:
        """The losses, in the order of the outputs."""
        return self.losses

    def total(self, costs: Sequence[Any]) -> Any:
        """C = Σ_i λ_i C_i, from the C_i."""
        return functools.reduce(operator.add, self._weighted(costs))

    def _weighted(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        return tuple([_times(w, array) for w, array in zip(self.weights, arrays, strict=True)])

    def _each(self, method: str, y: Any, target: Any, *more: Any) -> list[Any]:
        """What a method of each loss gives for its own output and target."""
        self._require_tuple("y", "output", y)
        self._require_tuple("t", "target", target)
        found = []
        for number, (loss, *given) in enumerate(zip(self.losses, y, target, strict=True)):
            try:
                found.append(getattr(loss, method)(*given, *more))
            except ChainruleError as error:
                error.place = ", ".join(filter(None, [f"y[{number}]", error.place]))
                raise
            except Exception as error:
                error.add_note(f"in {_name(loss)}, the loss of y[{number}]")
                raise
        return found

    def _require_tuple(self, name: str, what: str, given: Any) -> None:
        count = len(self.losses)
        if type(given) is tuple and len(given) == count:
            return
        arrays = ", ".join(f"{name}_{n + 1}" for n in range(count))
        is_series = isinstance(given, tuple | list)
        raise ShapeError(
            f"there is one {what} for each of {count} losses, and this is another number of them"
            if is_series and len(given) != count
            else f"the {what}s of {count} losses are a tuple, and this is none",
            place=f"PerOutput, {name}",
            expected=f"({arrays}), a tuple of arrays",
            received=f"a {type(given).__name__} of {len(given)}: "
            + ", ".join(map(_description, given))
            if is_series
            else _description(given),
            mend="a model with one output takes one loss, such as HalfSquaredError()"
            if name == "y" and not is_series
            else f"one {what} for each loss, in their order: ({arrays})",
        )


def _times(weight: float, array: Any) -> Any:
    """λ times an array; zeros where λ is zero, whatever stands in it."""
    if weight == 1.0:
        return array
    return weight * array if weight else np.zeros_like(array)


def _total(terms: Array, share: Array, y: Array) -> Array:
    """Σ share·terms, at most the largest finite number where y is finite."""
    total = (terms * share).sum()
    if total < math.inf or not np.all(np.abs(y) < math.inf):
        return total
    largest = float(np.finfo(y.dtype).max)
    return np.minimum(np.sum(np.minimum(terms, largest) * share), largest)


def _sum_of_each_sample(terms: Array) -> Array:
    if terms.ndim == 1:
        return terms
    return np.sum(terms.reshape(terms.shape[0], math.prod(terms.shape[1:])), axis=1)


def _shares(loss: Loss, y: Array, sample_weights: Array | None, terms: int = 1) -> Array:
    """Weight of a term in C: 1/(N terms), or w_s/(N terms) for each sample, (batch,)."""
    samples = y.shape[0]
    count = (samples or 1) * terms
    if sample_weights is None:
        return 1.0 / count
    if not hasattr(sample_weights, "dtype") or sample_weights.dtype.kind not in "fiub":
        raise DtypeError(
            "sample weights are an array of numbers",
            place=_name(loss),
            expected=f"an array of {samples} numbers",
            received=_description(sample_weights),
            mend="np.asarray(sample_weights, dtype=float)",
        )
    if sample_weights.shape != (samples,):
        raise ShapeError(
            "there is one weight for each sample",
            place=_name(loss),
            expected=(samples,),
            received=sample_weights.shape,
            mend="give a weight for every row of y, and one only",
        )
    with np.errstate(over="ignore"):
        weights = sample_weights.astype(y.dtype)
    if samples and not (weights.min() >= 0 and weights.max() < math.inf):
        good = (weights >= 0) & (weights < math.inf)
        mend = "a weight of 0 silences a sample"
        _require_each(loss, sample_weights, good, f"a finite {y.dtype} number, 0 or more", mend)
    return weights / count


def _column(share: Array, y: Array) -> Array:
    """One number for each sample, shaped so that it multiplies all of the sample's row in y."""
    return share.reshape(-1, *[1] * (y.ndim - 1))


def _name(loss: Loss) -> str:
    return type(loss).__name__


def _description(thing: object) -> str:
    if hasattr(thing, "dtype") and hasattr(thing, "shape"):
        return f"{thing.dtype} {thing.shape}"
    return f"{type(thing).__name__}: {thing!r:.60}"


def _require_output(loss: Loss, y: Array) -> None:
    if isinstance(y, tuple):
        raise ShapeError(
            f"{len(y)} outputs in a tuple, and a loss for one",
            place=_name(loss),
            expected="one array, (batch, …)",
            received=", ".join(map(_description, y)),
            mend="a loss for each output: losses.PerOutput([…, …])",
        )
    if not hasattr(y, "dtype") or y.dtype.kind != "f":
        raise DtypeError(
            "the first argument is the model's output, an array of floating-point numbers",
            place=_name(loss),
            expected="float32 or float64, (batch, …)",
            received=_description(y),
            mend="give y first and the target second; numbers of another kind: y.astype(float)",
        )
    if not y.ndim:
        raise ShapeError(
            "the model's output has a batch axis in front",
            place=_name(loss),
            expected="(batch, …)",
            received="a single number",
            mend="y.reshape(1, 1) is a batch of one sample with one output",
        )


def _require_numbers(loss: Loss, target: Array) -> None:
    if not hasattr(target, "dtype"):
        raise DtypeError(
            "the target is an array",
            place=_name(loss),
            expected="an array of numbers",
            received=_description(target),
            mend="np.asarray(target)",
        )
    if target.dtype.kind not in "fiub":
        raise DtypeError(
            "the target holds no real numbers",
            place=_name(loss),
            expected="an array of real numbers",
            received=_description(target),
            mend="names become labels by: names, labels = np.unique(target, return_inverse=True)",
        )


def _require_labels(loss: Loss, labels: Array, classes: int) -> None:
    if labels.dtype.kind not in "iub":
        whole = bool(np.all(labels == np.floor(labels)))
        raise DtypeError(
            "labels are whole numbers",
            place=_name(loss),
            expected=f"integers from 0 to {classes - 1}",
            received=_description(labels),
            mend="target.astype(int)"
            if whole
            else "for targets that are no classes, use HalfSquaredError or another such loss",
        )
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        good = (labels >= 0) & (labels < classes)
        expected = f"a label from 0 to {classes - 1}, for {classes} classes"
        mend = "number them from 0: names, labels = np.unique(target, return_inverse=True)"
        _require_each(loss, labels, good, expected, mend)


def _require_each(
    loss: Loss,
    array: Array,
    good: Array,
    expected: str,
    mend: str = "correct these targets, or leave their samples out",
) -> None:
    if np.all(good):
        return
    bad = np.argwhere(~good)
    names = ("row", "column") if array.ndim <= 2 else ("index",) * array.ndim
    where = ", ".join(f"{name} {index}" for name, index in zip(names, bad[0], strict=False))
    raise DataError(
        f"{len(bad)} of {array.size} numbers cannot be used",
        place=f"{_name(loss)}, {where}",
        expected=expected,
        received=f"{array[tuple(bad[0])]}",
        mend=mend,
    )


def _wrong_shape(
    loss: Loss, y_shape: tuple[int, ...], target: Array, expected: str | None = None
) -> NoReturn:
    shape = tuple(target.shape)
    mend = "give one target for every output: nothing is broadcast"
    if shape[:1] != y_shape[:1]:
        mend = "give as many targets as there are samples"
    elif (*shape, 1) == y_shape:
        mend = (
            "target[:, np.newaxis] makes a column of it"
            if len(shape) == 1
            else "target[..., np.newaxis]"
        )
    elif shape == (*y_shape, 1):
        mend = "target[..., 0] takes the axis of length one away"
    elif expected is not None and shape == (*y_shape[:-1], 1):
        mend = "target[..., 0] gives labels"
    elif len(shape) == 1 and len(y_shape) == 2 and target.dtype.kind in "iub":
        mend = f"if these are labels: SoftmaxCrossEntropy, or one-hot, np.eye({y_shape[1]})[target]"
    raise ShapeError(
        "the target has another shape than the model's output",
        place=_name(loss),
        expected=expected or y_shape,
        received=shape,
        mend=mend,
    )
