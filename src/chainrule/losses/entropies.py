"""Losses for classes: how much the truth surprises the network.

c = −Σ_k t_k log p_k        with p = softmax(y), p = y, or p = 1/(1 + e^−y) for each output alone
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from attrs import define, field, fields
from attrs.converters import optional

from chainrule.core.arrays import has_values
from chainrule.core.equations import Equations
from chainrule.core.errors import (
    ConfigurationError,
    DataError,
    DtypeError,
    NonFiniteError,
    ShapeError,
)
from chainrule.core.types import Array, Shape
from chainrule.core.validators import is_integer, is_number
from chainrule.losses.loss import Loss, shares_of, sum_of_each_sample, total_of
from chainrule.losses.messages import (
    description_of,
    name_of,
    require_each,
    require_numbers,
    require_output,
    wrong_shape,
)


def _smoothing(value: Any) -> float:
    if not is_number(value) or not 0 <= value < 1:
        raise ConfigurationError(
            "label_smoothing must be a share",
            expected="0 ≤ label_smoothing < 1",
            received=f"label_smoothing={value!r:.60}",
            hint="label_smoothing=0.1 is common",
        )
    return float(value)


def _ignored(value: Any) -> int | None:
    if value is not None and not is_integer(value):
        raise ConfigurationError(
            "ignore must be the one label that does not count",
            expected="an integer such as ignore=-1, or None",
            received=f"ignore={value!r:.60}",
        )
    return None if value is None else int(value)


def _weights_of_yes(value: Any) -> float | tuple[float, ...]:
    several = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
    each = tuple(value) if several and np.ndim(value) == 1 else (value,)
    if not each or not all(is_number(weight) and 0 <= weight < math.inf for weight in each):
        raise ConfigurationError(
            "pos_weight must be a finite number of at least 0, or one for each output",
            expected="pos_weight=3.0, or pos_weight=[3.0, 1.0]",
            received=f"pos_weight={value!r:.60}",
            hint="the number of samples without, divided by the number of those with",
        )
    # Python floats, which do not turn float32 arrays into float64.
    return tuple(map(float, each)) if several else float(value)


@define(repr=False)
class _EntropyLoss(Loss):
    """A loss of probabilities or logits: a sum of terms, one for each label or each output."""

    takes_labels: ClassVar[bool] = True

    label_smoothing: float = field(default=0.0, converter=_smoothing, kw_only=True)
    ignore: int | None = field(default=None, converter=_ignored, kw_only=True)

    def _terms_and_delta(self, y: Array, target: Array, share: Any) -> tuple[Array, Array]:
        """Return the terms c of the cost C = Σ share·c, and ∂C/∂y, which includes the share."""
        raise NotImplementedError

    def _kept(self, y_shape: Shape, target: Array) -> Array | None:
        """Where a term counts, in the shape of the terms; None if all do."""
        raise NotImplementedError

    def __call__(
        self, y: Array, target: Array | None = None, sample_weights: Array | None = None
    ) -> Array:
        return self.value_and_delta(y, target, sample_weights)[0]

    def delta(
        self, y: Array, target: Array | None = None, sample_weights: Array | None = None
    ) -> Array:
        return self.value_and_delta(y, target, sample_weights)[1]

    # Exponentials may underflow, differences of the largest numbers may overflow, and a silenced
    # row may contain anything.
    @np.errstate(all="ignore")
    def value_and_delta(
        self, y: Array, target: Array | None = None, sample_weights: Array | None = None
    ) -> tuple[Array, Array]:
        accepted = self.accept(y, target)
        shape, kept = self._terms_shape(y.shape), self._kept(y.shape, target)
        count = None if kept is None else _count_of(kept)
        share = shares_of(self, y, sample_weights, shape, count)
        if sample_weights is None and kept is None:
            terms, delta = self._terms_and_delta(y, accepted, share)
            return total_of(terms, share, y), delta
        if sample_weights is not None and share.ndim < len(shape):
            share = share.reshape(*share.shape, *[1] * (len(shape) - share.ndim))
        if kept is not None:
            share = np.where(kept, share, 0.0).astype(y.dtype)
        silent = share == 0
        if silent.shape != shape:
            silent = np.broadcast_to(silent, shape)
        terms, delta = self._terms_and_delta(y, accepted, share)
        terms[silent] = 0.0
        delta[silent] = 0.0
        return total_of(terms, share, y), delta

    @np.errstate(all="ignore")
    def costs(self, y: Array, target: Array) -> Array:
        accepted, kept = self.accept(y, target), self._kept(y.shape, target)
        shape = self._terms_shape(y.shape)
        share: Any = 1.0
        if kept is not None:
            share = kept.astype(y.dtype)
        terms, _ = self._terms_and_delta(y, accepted, share)
        if kept is not None:
            terms[~kept] = 0.0
        return sum_of_each_sample(terms) * self._share(shape, kept)

    @np.errstate(all="ignore")
    def slopes(self, y: Array, target: Array) -> Array:
        accepted, kept = self.accept(y, target), self._kept(y.shape, target)
        share: Any = self._share(self._terms_shape(y.shape), kept)
        if kept is not None:
            share = np.where(kept, share, 0.0).astype(y.dtype)
        delta = self._terms_and_delta(y, accepted, share)[1]
        if kept is not None:
            delta[~kept] = 0.0
        return delta

    def counted(
        self, y_shape: tuple[int, ...], target: Any, sample_weights: Array | None = None
    ) -> float:
        """The rows; with ``ignore`` the labels that count. With weights the sum of theirs."""
        kept = self._kept(y_shape, target)
        if kept is None:
            return super().counted(y_shape, target, sample_weights)
        if sample_weights is None or not kept.size:
            return float(np.count_nonzero(kept))
        further = kept.reshape(*sample_weights.shape, -1).sum(axis=-1)
        return float(np.sum(further * sample_weights, dtype=float))

    def __repr__(self) -> str:
        """The options that are not the default; the name alone if all are."""
        given = {each.name: (getattr(self, each.name), each.default) for each in fields(type(self))}
        options = [f"{name}={value!r}" for name, (value, usual) in given.items() if value != usual]
        return f"{type(self).__name__}({', '.join(options)})"

    def _on_paper(self, terms: str, slopes: str, parts: dict[str, str]) -> Equations:
        """The equations from the terms of C and their slopes; ``kept`` is 1 where a term counts."""
        parts = {**parts, "terms": terms}
        if self.ignore is None:
            return Equations("np.mean(terms)", f"({slopes}) / terms.size", definitions=parts)
        parts["share"] = "kept / np.maximum(kept.sum(), 1)"
        share = "share" if self._has_term_for_each_output else "np.expand_dims(share, -1)"
        return Equations("np.sum(share * terms)", f"{share} * ({slopes})", definitions=parts)

    _has_term_for_each_output: ClassVar[bool] = False

    def _share(self, shape: Shape, kept: Array | None) -> float:
        """The weight of a term in c_s, whose mean over the samples is C."""
        count = math.prod(shape) if kept is None else int(np.count_nonzero(kept))
        return max(shape[0], 1) / max(count, 1)


class _ClassLoss(_EntropyLoss):
    """A loss for K classes, the last axis of y: targets are labels, or rows of K probabilities."""

    def accept(self, y: Array, target: Array) -> Array:
        require_output(self, y)
        self._check_targets(y.shape, target)
        if target.shape == y.shape:
            rows = target if target.dtype == y.dtype else target.astype(y.dtype)
            return self._smooth(rows) if self.label_smoothing else rows
        labels = target.astype(np.intp) if target.dtype.kind == "b" else target
        if self.ignore is not None:
            labels = np.where(labels == self.ignore, 0, labels)
        if not self.label_smoothing:
            return labels
        rows = np.zeros(y.shape, y.dtype) if has_values(y) else np.zeros_like(y)
        np.put_along_axis(rows, labels.astype(np.intp)[..., np.newaxis], 1.0, axis=-1)
        return self._smooth(rows)

    def validate_targets(self, y_shape: tuple[int, ...], target: Array) -> None:
        self._check_targets(tuple(y_shape), target)
        if target.shape == tuple(y_shape):
            require_each(self, target, np.isfinite(target), "a finite number")

    def _smooth_on_paper(self) -> dict[str, str]:
        part = self.label_smoothing
        return {"t": f"{1 - part!r} * t + {part!r} / y.shape[-1]"} if part else {}

    def _smooth(self, rows: Array) -> Array:
        """(1 − ε) t + ε/K."""
        part = self.label_smoothing
        return rows * (1.0 - part) + part / rows.shape[-1]

    def _kept(self, y_shape: Shape, target: Array) -> Array | None:
        if self.ignore is None or target.ndim == len(y_shape):
            return None
        return _where_not(target, self.ignore)

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
            if has_values(target) and target.size and not target.min() >= 0:
                require_each(self, target, target >= 0, "a probability, 0 or more")
        elif target.shape == y_shape[:-1]:
            _require_labels(self, target, y_shape[-1])
        else:
            wrong_shape(self, y_shape, target, f"labels {y_shape[:-1]}, or one-hot {y_shape}")

    def _terms_shape(self, y_shape: Shape) -> Shape:
        return y_shape[:-1]


class SoftmaxCrossEntropy(_ClassLoss):
    """The cross entropy of K classes from logits z, the output of a Dense without a `Softmax`.

    c_s = −Σ_k t_sk ln p_sk        p = softmax(z)        Δ = (p Σ_k t_k − t)/N

    With a label ℓ instead of the row t, c_s = −ln p_ℓ and Δ = (p − [k = ℓ])/N. Labels are faster.
    The rows t may be soft; they are used as given, whether they sum to 1 or not.

    Parameters
    ----------
    label_smoothing
        ε, 0 ≤ ε < 1. Each target is moved towards all K classes: t becomes (1 − ε) t + ε/K.
    ignore
        A label that does not count, such as −1 for padding or for pixels without a label.
        C is then the mean over the labels that count, and 0 if none does: N is their number, in
        the whole batch. Rows of probabilities always count.

    Notes
    -----
    Shapes: z (batch, …, K); labels (batch, …), integers from 0 to K−1; rows t (batch, …, K).
    Axes between the first and the last are averaged over, like the batch: c_s is then a mean.

    With m = max_k z_k and R = Σ exp(z_k − m) over all classes except the one with the maximum,
    −ln p_ℓ = ln(1 + R) − (z_ℓ − m). Both terms are positive, so nothing cancels, and a cost of
    1e−30 is as exact as a cost of 30: to a few ulp, plus the effect of rounding z_k − m on its
    exponential. For finite logits all results are finite; a cost too large for the floating-point
    type is returned as its largest number.

    Source: Bishop, *Pattern Recognition and Machine Learning* (2006), eqs. 4.108, 4.109 and 5.24;
    label smoothing: C. Szegedy et al., *Rethinking the Inception Architecture for Computer Vision*,
    CVPR 2016, section 7. Both options are those of PyTorch's ``CrossEntropyLoss``.
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

    def equations(self) -> Equations:
        """C and Δ; see `Loss.equations`."""
        parts = {
            "below": "y - y.max(axis=-1, keepdims=True)",
            "total": "np.exp(below).sum(axis=-1, keepdims=True)",
            "chance": "np.exp(below) / total",
        }
        return self._on_paper(
            "(t * (np.log(total) - below)).sum(axis=-1)",
            "chance * t.sum(axis=-1, keepdims=True) - t",
            {**self._smooth_on_paper(), **parts},
        )


class NegativeLogLikelihood(_ClassLoss):
    """The cross entropy of K classes from probabilities p, the output of a `Softmax`.

    c_s = −Σ_k t_sk ln p_sk        Δ = −t/(N p)

    With a label ℓ instead of the row t, c_s = −ln p_ℓ and Δ_ℓ = −1/(N p_ℓ).

    Shapes: p (batch, …, K); labels (batch, …), integers from 0 to K−1; rows t (batch, …, K).
    Axes between the first and the last are averaged over, like the batch.

    Parameters
    ----------
    label_smoothing, ignore
        As for `SoftmaxCrossEntropy`.

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
        if not has_values(probabilities):
            return
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

    def equations(self) -> Equations:
        """C and Δ; see `Loss.equations`."""
        parts = {**self._smooth_on_paper(), "chance": "np.where(t > 0, y, 1)"}
        return self._on_paper("-(t * np.log(chance)).sum(axis=-1)", "-t / chance", parts)


@define(repr=False)
class SigmoidCrossEntropy(_EntropyLoss):
    """The cross entropy of yes-or-no outputs from logits z, without an ``Activation("sigmoid")``.

    c_s = (1/K) Σ_k −t_sk ln p_sk − (1 − t_sk) ln(1 − p_sk)    p = 1/(1 + e⁻ᶻ)    Δ = (p − t)/(N K)

    Shapes: z (batch, …, K), and targets t from 0 to 1 with the same shape; K outputs for each
    sample, independent of each other, so several or none may be true. Integers t with shape
    (batch, …) are labels: 0 or 1 if K = 1, otherwise the index of the one output that is true.

    Parameters
    ----------
    pos_weight
        w₊, a number, or one for each of the K outputs: the cost of a yes counts w₊ times,
        −w₊ t ln p − (1 − t) ln(1 − p). Above 1 it finds more of what is rare, below 1 it raises
        fewer false alarms.
    label_smoothing
        ε, 0 ≤ ε < 1: t becomes (1 − ε) t + ε/2.
    ignore
        A label that does not count, such as −1. C is then the mean over the targets that count, and
        0 if none does: N K is their number, in the whole batch.

    Notes
    -----
    Let q be the chance that z has the wrong sign: q = 1 − t where z ≥ 0, and q = t where z < 0.
    The cost of an output is |z| q + ln(1 + e^−|z|). Both terms are positive, so nothing cancels,
    and the cost is exact to a few ulp for all z; so is p − t. For finite logits all results are
    finite; a cost too large for the floating-point type is returned as its largest number. With
    ``pos_weight``, t becomes w₊ t, and the logarithm is multiplied by w₊ t + 1 − t.

    Source: Bishop, *Pattern Recognition and Machine Learning* (2006), eqs. 5.21 to 5.23;
    ``pos_weight`` is that of PyTorch's ``BCEWithLogitsLoss``.
    """

    pos_weight: float | tuple[float, ...] | None = field(
        default=None, converter=optional(_weights_of_yes), kw_only=True
    )

    def accept(self, y: Array, target: Array) -> Array:
        """Return the target as probabilities with the shape and dtype of y."""
        require_output(self, y)
        self._check_targets(y.shape, target)
        if target.shape == y.shape:
            chances = target if target.dtype == y.dtype else target.astype(y.dtype)
            if self.ignore is not None:
                chances = np.where(chances == self.ignore, 0.0, chances).astype(y.dtype)
        else:
            labels = target[..., np.newaxis]
            classes = np.ones(1, int) if y.shape[-1] == 1 else np.arange(y.shape[-1])
            chances = (labels == classes).astype(y.dtype)
        part = self.label_smoothing
        return chances * (1.0 - part) + 0.5 * part if part else chances

    def validate_targets(self, y_shape: tuple[int, ...], target: Array) -> None:
        """As in `Loss`; here the fast check is complete."""
        self._check_targets(tuple(y_shape), target)

    def _kept(self, y_shape: Shape, target: Array) -> Array | None:
        if self.ignore is None:
            return None
        kept = _where_not(target, self.ignore)
        if target.ndim == len(y_shape):
            return kept
        return np.repeat(kept[..., np.newaxis], y_shape[-1], axis=-1)

    def _check_targets(self, y_shape: tuple[int, ...], target: Array) -> None:
        require_numbers(self, target)
        self._require_weight_for_each(y_shape)
        if target.shape == y_shape:
            if has_values(target) and target.size and not (target.min() >= 0 and target.max() <= 1):
                good = (target >= 0) & (target <= 1)
                if self.ignore is not None:
                    good |= target == self.ignore
                hint = _hint_for_ignored(self, target[~good])
                require_each(self, target, good, "a number from 0 to 1", hint)
        elif target.shape == y_shape[:-1] and target.dtype.kind in "iub" and len(y_shape) > 1:
            _require_labels(self, target, max(y_shape[-1], 2))
        else:
            wrong_shape(self, y_shape, target)

    def _require_weight_for_each(self, y_shape: Shape) -> None:
        weights = self.pos_weight
        if isinstance(weights, tuple) and y_shape[-1:] != (len(weights),):
            raise ShapeError(
                "pos_weight must be one number, or one for each output",
                place=name_of(self),
                expected=f"{len(weights)} outputs, for pos_weight={list(weights)!r:.60}",
                received=f"y with shape {y_shape}",
            )

    def _terms_shape(self, y_shape: Shape) -> Shape:
        return y_shape

    def _terms_and_delta(self, y: Array, target: Array, share: Any) -> tuple[Array, Array]:
        # Not abs(z): its slope at z = 0 is zero, that of the formula is not.
        right = y >= 0
        distance = np.where(right, y, -y)
        decay = np.exp(-distance)
        if self.pos_weight is None:
            chance = np.where(right, 1.0 - target, target)  # q
            terms = distance * chance + np.log1p(decay)
            excess = chance - decay / (1.0 + decay)  # ±(t − p), and 1 − p = 1/(1 + eᶻ) is exact
        else:
            yes, no = target * np.asarray(self.pos_weight, target.dtype), 1.0 - target
            chance = np.where(right, no, yes)
            terms = distance * chance + (yes + no) * np.log1p(decay)
            excess = chance - (yes + no) * (decay / (1.0 + decay))
        return terms, np.where(right, excess, -excess) * share

    _has_term_for_each_output: ClassVar[bool] = True

    def equations(self) -> Equations:
        """C and Δ; see `Loss.equations`."""
        part, weight = self.label_smoothing, self.pos_weight
        given = list(weight) if isinstance(weight, tuple) else weight
        parts = {"t": f"{1 - part!r} * t + {part / 2!r}"} if part else {}
        parts["yes"] = "t" if weight is None else f"t * np.multiply({given!r}, 1)"
        parts |= {"no": "1 - t", "chance": "np.exp(-np.logaddexp(0, -y))"}
        return self._on_paper(
            "yes * np.logaddexp(0, -y) + no * np.logaddexp(0, y)",
            "no * chance - yes * (1 - chance)",
            parts,
        )


def _where_not(target: Array, number: int) -> Array:
    """Where a target is not this number."""
    is_other: Array = target != number
    return np.asarray(is_other) if has_values(is_other) else is_other


def _count_of(kept: Array) -> Any:
    """How many terms count."""
    count = np.count_nonzero(kept)
    return int(count) if has_values(kept) else count


def _require_labels(loss: _EntropyLoss, labels: Array, classes: int) -> None:
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
    if has_values(labels) and labels.size and not (labels.min() >= 0 and labels.max() < classes):
        good = (labels >= 0) & (labels < classes)
        if loss.ignore is not None:
            good |= labels == loss.ignore
        if not good.all():
            expected = f"a label from 0 to {classes - 1}, for {classes} classes"
            hint = _hint_for_labels(loss, labels, good, classes)
            require_each(loss, labels, good, expected, hint)


def _hint_for_labels(loss: _EntropyLoss, labels: Array, good: Array, classes: int) -> str:
    bad, usable = labels[~good], labels[good]
    largest = int(bad.max())
    if _marks_nothing(bad):
        return _hint_for_ignored(loss, bad)
    if bad.min() == largest == classes and (not usable.size or usable.min() >= 1):
        return "number them from 0: target - 1"
    return (
        "number them from 0: names, labels = np.unique(target, return_inverse=True)"
        if bad.min() < 0 or len(np.unique(labels)) <= classes
        else f"labels up to {largest} need {largest + 1} outputs"
    )


def _hint_for_ignored(loss: _EntropyLoss, bad: Array) -> str:
    """The hint for values that are no labels: usually a single one marks what has no label."""
    if _marks_nothing(bad):
        value = int(bad.ravel()[0])
        return f"if {value} marks what has no label: {name_of(loss)}(ignore={value})"
    return "correct these targets, or leave out their samples"


def _marks_nothing(bad: Array) -> bool:
    """Whether the values are all the same, and one that is used for what has no label."""
    if not bad.size or np.any(bad != bad.ravel()[0]) or bad.ravel()[0] != np.floor(bad.ravel()[0]):
        return False
    return bool(bad.ravel()[0] < 0 or bad.ravel()[0] >= 99)
