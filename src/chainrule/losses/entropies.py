"""Losses for classes: how much the truth surprises the network.

c = −Σ_k t_k log p_k        with p = softmax(y), p = y, or p = 1/(1 + e^−y) for each output alone
"""

from __future__ import annotations

import math

import numpy as np
from attrs import define

from chainrule.core.errors import DataError, DtypeError, NonFiniteError, ShapeError
from chainrule.core.types import Array
from chainrule.losses.loss import Loss, shares_of, sum_of_each_sample, total_of
from chainrule.losses.messages import (
    description_of,
    name_of,
    require_each,
    require_numbers,
    require_output,
    wrong_shape,
)


@define
class _EntropyLoss(Loss):
    """A loss of probabilities or logits: a sum of terms, one for each label or each output."""

    def _terms_and_delta(self, y: Array, target: Array, share: Array) -> tuple[Array, Array]:
        """Return the terms c of the cost C = Σ share·c, and ∂C/∂y, which includes the share."""
        raise NotImplementedError

    def _terms_shape(self, y: Array) -> tuple[int, ...]:
        raise NotImplementedError

    def __call__(self, y: Array, target: Array, sample_weights: Array | None = None) -> Array:
        return self.value_and_delta(y, target, sample_weights)[0]

    def delta(self, y: Array, target: Array, sample_weights: Array | None = None) -> Array:
        return self.value_and_delta(y, target, sample_weights)[1]

    # Exponentials may underflow, differences of the largest numbers may overflow, and a silenced
    # row may contain anything.
    @np.errstate(all="ignore")
    def value_and_delta(
        self, y: Array, target: Array, sample_weights: Array | None = None
    ) -> tuple[Array, Array]:
        target = self.accept(y, target)
        shape = self._terms_shape(y)
        share = shares_of(self, y, sample_weights, max(math.prod(shape[1:]), 1))
        if sample_weights is None:
            terms, delta = self._terms_and_delta(y, target, share)
        else:
            silent = share == 0
            share = share.reshape(-1, *[1] * (len(shape) - 1))
            terms, delta = self._terms_and_delta(y, target, share)
            terms[silent] = 0.0
            delta[silent] = 0.0
        return total_of(terms, share, y), delta

    @np.errstate(all="ignore")
    def costs(self, y: Array, target: Array) -> Array:
        shape = self._terms_shape(y)
        terms, _ = self._terms_and_delta(y, self.accept(y, target), 1.0)
        return sum_of_each_sample(terms) * (1 / max(math.prod(shape[1:]), 1))

    @np.errstate(all="ignore")
    def slopes(self, y: Array, target: Array) -> Array:
        share = 1 / max(math.prod(self._terms_shape(y)[1:]), 1)
        return self._terms_and_delta(y, self.accept(y, target), share)[1]


@define
class _ClassLoss(_EntropyLoss):
    """A loss for K classes, the last axis of y: targets are labels, or rows of K probabilities."""

    def accept(self, y: Array, target: Array) -> Array:
        require_output(self, y)
        self._check_targets(y.shape, target)
        if target.shape == y.shape:
            return target if target.dtype == y.dtype else target.astype(y.dtype)
        return target.astype(np.intp) if target.dtype.kind == "b" else target

    def validate_targets(self, y_shape: tuple[int, ...], target: Array) -> None:
        self._check_targets(tuple(y_shape), target)
        if target.shape == tuple(y_shape):
            require_each(self, target, np.isfinite(target), "a finite number")

    def _check_targets(self, y_shape: tuple[int, ...], target: Array) -> None:
        require_numbers(self, target)
        if len(y_shape) < 2 or y_shape[-1] < 2:
            raise ShapeError(
                "a loss for classes needs two classes or more, in the last axis of y",
                place=name_of(self),
                expected="y with shape (batch, …, classes) and at least two classes",
                received=f"y with shape {y_shape}",
                hint="for a single yes-or-no output, use SigmoidCrossEntropy",
            )
        if target.shape == y_shape:
            if target.size and not target.min() >= 0:
                require_each(self, target, target >= 0, "a probability, 0 or more")
        elif target.shape == y_shape[:-1]:
            _require_labels(self, target, y_shape[-1])
        else:
            wrong_shape(self, y_shape, target, f"labels {y_shape[:-1]}, or one-hot {y_shape}")

    def _terms_shape(self, y: Array) -> tuple[int, ...]:
        shape: tuple[int, ...] = y.shape[:-1]
        return shape


@define
class SoftmaxCrossEntropy(_ClassLoss):
    """The cross entropy of K classes from logits z, the output of a Dense without a `Softmax`.

    c_s = −Σ_k t_sk ln p_sk        p = softmax(z)        Δ = (p Σ_k t_k − t)/N

    With a label ℓ instead of the row t, c_s = −ln p_ℓ and Δ = (p − [k = ℓ])/N. Labels are faster.
    The rows t may be soft; they are used as given, whether they sum to 1 or not.

    Notes
    -----
    Shapes: z (batch, …, K); labels (batch, …), integers from 0 to K−1; rows t (batch, …, K).
    Axes between the first and the last are averaged over, like the batch: c_s is then a mean.

    With m = max_k z_k and R = Σ exp(z_k − m) over all classes except the one with the maximum,
    −ln p_ℓ = ln(1 + R) − (z_ℓ − m). Both terms are positive, so nothing cancels, and a cost of
    1e−30 is as exact as a cost of 30: to a few ulp, plus the effect of rounding z_k − m on its
    exponential. For finite logits all results are finite; a cost too large for the floating-point
    type is returned as its largest number.

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
        # powers becomes (1 + R)(p Σt − t). The order matters: the 1 of the winner and the 1 of its
        # target have to cancel before R is added, which would otherwise be rounded away.
        if target.shape == y.shape:
            target = target.reshape(below.shape)
            total = target.sum(axis=1)
            spread = np.where(target > 0, target * below, 0.0)  # 0 × ∞ counts as 0
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
    """The cross entropy of K classes from probabilities p, the output of a `Softmax`.

    c_s = −Σ_k t_sk ln p_sk        Δ = −t/(N p)

    With a label ℓ instead of the row t, c_s = −ln p_ℓ and Δ_ℓ = −1/(N p_ℓ).

    Shapes: p (batch, …, K); labels (batch, …), integers from 0 to K−1; rows t (batch, …, K).
    Axes between the first and the last are averaged over, like the batch.

    Raises
    ------
    NonFiniteError
        A class that occurred has probability zero (or one so small that 1/p overflows). Its cost
        is infinite, and after a Softmax that underflowed its delta would vanish: the network would
        learn nothing from the sample that is most wrong. `SoftmaxCrossEntropy`, which takes
        logits, does not have this limit.
    DataError
        The number for a class that occurred is negative or above 1, so it is not a probability.

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
        # 1/p of the smallest normal number is finite. Rounding, or the step of a difference
        # quotient, can push a probability slightly above 1; logits soon exceed 1.001.
        smallest = np.finfo(probabilities.dtype).tiny
        if np.any(probabilities > 1.001) or np.any(probabilities < 0):
            raise DataError(
                "the output for a class that occurred is not a probability",
                place=name_of(self),
                expected="numbers from 0 to 1, such as a Softmax returns",
                received=f"numbers from {np.min(probabilities)} to {np.max(probabilities)}",
                hint="end the model with a Softmax, or give its logits to SoftmaxCrossEntropy",
            )
        if np.any(probabilities < smallest):
            raise NonFiniteError(
                "a class that occurred has probability zero, so its cost −ln 0 is infinite",
                place=name_of(self),
                expected=f"probabilities of {smallest:.3g} or more where the target is not zero",
                received=f"{np.min(probabilities)}, {np.sum(probabilities < smallest)} times",
                hint="remove the Softmax and give the logits to SoftmaxCrossEntropy",
            )


@define
class SigmoidCrossEntropy(_EntropyLoss):
    """The cross entropy of yes-or-no outputs from logits z, without an ``Activation("sigmoid")``.

    c_s = (1/K) Σ_k −t_sk ln p_sk − (1 − t_sk) ln(1 − p_sk)    p = 1/(1 + e⁻ᶻ)    Δ = (p − t)/(N K)

    Shapes: z (batch, …, K), and targets t from 0 to 1 with the same shape; K outputs for each
    sample, independent of each other, so several or none may be true. Integers t with shape
    (batch, …) are labels: 0 or 1 if K = 1, otherwise the index of the one output that is true.

    Notes
    -----
    Let q be the chance that z has the wrong sign: q = 1 − t where z ≥ 0, and q = t where z < 0.
    The cost of an output is |z| q + ln(1 + e^−|z|). Both terms are positive, so nothing cancels,
    and the cost is exact to a few ulp for all z; so is p − t. For finite logits all results are
    finite; a cost too large for the floating-point type is returned as its largest number.

    Source: Bishop, *Pattern Recognition and Machine Learning* (2006), eqs. 5.21 to 5.23.
    """

    def accept(self, y: Array, target: Array) -> Array:
        """Return the target as probabilities with the shape and dtype of y."""
        require_output(self, y)
        self._check_targets(y.shape, target)
        if target.shape == y.shape:
            return target if target.dtype == y.dtype else target.astype(y.dtype)
        labels = target.astype(np.intp)[..., np.newaxis]
        classes = np.ones(1, int) if y.shape[-1] == 1 else np.arange(y.shape[-1])
        return (labels == classes).astype(y.dtype)

    def validate_targets(self, y_shape: tuple[int, ...], target: Array) -> None:
        """As in `Loss`; here the fast check is complete."""
        self._check_targets(tuple(y_shape), target)

    def _check_targets(self, y_shape: tuple[int, ...], target: Array) -> None:
        require_numbers(self, target)
        if target.shape == y_shape:
            if target.size and not (target.min() >= 0 and target.max() <= 1):
                require_each(self, target, (target >= 0) & (target <= 1), "a number from 0 to 1")
        elif target.shape == y_shape[:-1] and target.dtype.kind in "iub" and len(y_shape) > 1:
            _require_labels(self, target, max(y_shape[-1], 2))
        else:
            wrong_shape(self, y_shape, target)

    def _terms_shape(self, y: Array) -> tuple[int, ...]:
        shape: tuple[int, ...] = y.shape
        return shape

    def _terms_and_delta(self, y: Array, target: Array, share: Array) -> tuple[Array, Array]:
        # Not abs(z): its slope at z = 0 is zero, that of the formula is not.
        right = y >= 0
        distance = np.where(right, y, -y)
        chance = np.where(right, 1.0 - target, target)  # q
        decay = np.exp(-distance)
        terms = distance * chance + np.log1p(decay)
        excess = chance - decay / (1.0 + decay)  # ±(t − p), and 1 − p = 1/(1 + eᶻ) is exact
        return terms, np.where(right, excess, -excess) * share


def _require_labels(loss: Loss, labels: Array, classes: int) -> None:
    if labels.dtype.kind not in "iub":
        are_integral = bool(np.all(labels == np.floor(labels)))
        raise DtypeError(
            "labels must be integers",
            place=name_of(loss),
            expected=f"integers from 0 to {classes - 1}",
            received=description_of(labels),
            hint="target.astype(int)"
            if are_integral
            else "if the targets are not classes, use a loss for numbers such as HalfSquaredError",
        )
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        good = (labels >= 0) & (labels < classes)
        expected = f"a label from 0 to {classes - 1}, for {classes} classes"
        hint = "number them from 0: names, labels = np.unique(target, return_inverse=True)"
        require_each(loss, labels, good, expected, hint)
