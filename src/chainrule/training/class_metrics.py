"""Metrics for classes: how often the network is right, and in which way it is wrong.

Everything follows from counting the pairs of true and predicted class, the confusion matrix
C_kl = Σ_s w_s 1(true_s = k) 1(predicted_s = l):

    accuracy = Σ_k C_kk / Σ_kl C_kl,    precision_k = C_kk / Σ_j C_jk,    recall_k = C_kk / Σ_l C_kl

Definitions, averages and ties are those of scikit-learn.
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from attrs import define, evolve, field

from chainrule.core.arrays import as_array
from chainrule.core.errors import ConfigurationError, DataError, DtypeError, ShapeError
from chainrule.core.hints import hinted
from chainrule.core.types import Array
from chainrule.core.validators import is_integer, is_number
from chainrule.losses import Loss, SigmoidCrossEntropy
from chainrule.training.metric import Metric, ratio, spread_weights, wrong_shape

AVERAGES = ("binary", "macro", "micro", "weighted")


# ------------------------------------------------------------------------------- the metrics


@define(kw_only=True)
class ClassMetric(Metric):
    """The base class of metrics for classes.

    Parameters
    ----------
    border
        The threshold above which an output means yes: ½ for probabilities, 0 for logits. With
        several outputs it makes each of them an independent answer; otherwise the largest output is
        the predicted class. In a `Trainer` it is 0 for `SigmoidCrossEntropy`.
    ignore
        A label that does not count; in a `Trainer` that of the loss.
    """

    border: float | None = None
    ignore: int | None = None

    def for_loss(self, loss: Loss) -> Self:
        """The metric with the border and the ignored label of the loss."""
        border, ignore = self.border, self.ignore
        if border is None and isinstance(loss, SigmoidCrossEntropy):
            border = 0.0
        if ignore is None:
            ignore = getattr(loss, "ignore", None)
        return evolve(self, border=border, ignore=ignore)


class Accuracy(ClassMetric):
    """The share of samples whose largest output is at the right class; see `accuracy`."""

    def sums(self, y: Array, target: Array, sample_weights: Any, /) -> Array:
        """Σ w [right] and Σ w."""
        said = classes_said("accuracy", y, target, sample_weights, self.ignore)
        return _share(said.predicted == said.true, said)

    def figure(self, sums: Array, /) -> float:
        """The share."""
        return ratio(*sums)


class BinaryAccuracy(ClassMetric):
    """The share of yes-or-no answers that are right; see `binary_accuracy`."""

    def sums(self, y: Array, target: Array, sample_weights: Any, /) -> Array:
        """Σ w [right] and Σ w."""
        said = answers_said("binary_accuracy", y, target, sample_weights, self.border, self.ignore)
        return _share(said.predicted == said.true, said)

    def figure(self, sums: Array, /) -> float:
        """The share."""
        return ratio(*sums)


def _count_of_guesses(value: Any) -> int:
    if not is_integer(value) or value < 1:
        raise ConfigurationError(
            "TopAccuracy: k must be an integer of at least 1",
            expected="1, 2, 3, …",
            received=f"k={value!r:.60}",
        )
    return int(value)


@define
class TopAccuracy(ClassMetric):
    """The share of samples whose true class is among the k largest outputs.

    Of equal outputs those of the later classes count as larger, as in scikit-learn's
    ``top_k_accuracy_score``. By name: ``"top_5_accuracy"``.

    Parameters
    ----------
    k
        How many guesses are allowed.
    """

    k: int = field(default=5, converter=_count_of_guesses, kw_only=False)

    @property
    def name(self) -> str:
        """``top_5_accuracy``."""
        return f"top_{self.k}_accuracy"

    def sums(self, y: Array, target: Array, sample_weights: Any, /) -> Array:
        """Σ w [true class among the first k] and Σ w."""
        said = classes_said(self.name, y, target, sample_weights, self.ignore)
        own = np.take_along_axis(said.outputs, said.true[:, np.newaxis], axis=1)
        later = np.arange(said.classes) > said.true[:, np.newaxis]
        ahead = (said.outputs > own) | ((said.outputs == own) & later)
        return _share(ahead.sum(axis=1) < self.k, said)

    def figure(self, sums: Array, /) -> float:
        """The share."""
        return ratio(*sums)


def _average(value: Any) -> str | None:
    if value is not None and value not in AVERAGES:
        raise ConfigurationError(
            "there is no such average over the classes",
            expected=f"one of {', '.join(map(repr, AVERAGES))}, or None to decide by the classes",
            received=f"average={value!r:.60}",
        )
    return value  # type: ignore[no-any-return]


def _figure_of_nothing(value: Any) -> float:
    if not is_number(value) or not 0 <= value <= 1:
        raise ConfigurationError(
            "zero_division must be a number from 0 to 1",
            expected="zero_division=0.0 or 1.0",
            received=f"zero_division={value!r:.60}",
        )
    return float(value)


@define(kw_only=True)
class _RatioOfCounts(ClassMetric):
    """A ratio for each class, and an average of these."""

    average: str | None = field(default=None, converter=_average)
    zero_division: float = field(default=0.0, converter=_figure_of_nothing)

    def sums(self, y: Array, target: Array, sample_weights: Any, /) -> Array:
        """Weights of each class, (4, classes): right, predicted, true; and how often it appears."""
        given = y, target, sample_weights
        if _are_answers(y, target, self.border):
            said = answers_said(self.name, *given, self.border, self.ignore)
            counts, is_binary = _counts_of_answers(said), False
        else:
            said = classes_said(self.name, *given, self.ignore, self.border)
            counts, is_binary = _counts_of_classes(said), said.classes == 2
        if is_binary and self.average in (None, "binary"):
            counts = counts[:, 1:]
            counts[3] = 1.0  # the class of a yes, also where it does not appear
        if self.average == "binary" and not is_binary:
            raise ConfigurationError(
                f"the binary {self.name} is for two classes",
                place=self.name,
                expected="one output, or two classes",
                received=f"y of shape {y.shape}",
                hint="average='macro', 'micro' or 'weighted'",
            )
        return np.where(said.has_nan, np.nan, counts)

    def figure(self, sums: Array, /) -> float:
        """The average of the ratios."""
        if np.isnan(sums).any() or not sums[3].any():
            return math.nan
        right, predicted, true, appears = sums
        if self.average == "micro":
            total = sums.sum(axis=1, keepdims=True)
            return float(self._ratios(*total[:3])[0])
        ratios = self._ratios(right, predicted, true)
        weights = true if self.average == "weighted" and true.any() else (appears > 0).astype(float)
        return float(np.sum(ratios * weights) / np.sum(weights))

    def _ratios(self, right: Array, predicted: Array, true: Array) -> Array:
        part, whole = self._part_and_whole(right, predicted, true)
        empty = whole == 0
        return np.where(empty, self.zero_division, part / np.where(empty, 1.0, whole))

    def _part_and_whole(self, right: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        raise NotImplementedError


class Precision(_RatioOfCounts):
    """Of the samples that the network assigned to a class, the share that belong to it.

    precision_k = Σ_s w_s 1(true = k) 1(predicted = k) / Σ_s w_s 1(predicted = k)

    Parameters
    ----------
    average
        ``"binary"``: the precision of class 1, a yes. ``"macro"``: the mean over the classes that
        appear in targets or predictions. ``"weighted"``: that mean weighted by how often each class
        is true. ``"micro"``: all classes counted together. If not given: ``"binary"`` for one
        output or two classes, otherwise ``"macro"``.
    zero_division
        The result for a class that was never predicted: 0.
    border, ignore
        As for all metrics of classes: above ``border`` an output means yes (½; in a `Trainer` with
        `SigmoidCrossEntropy` 0), and the label ``ignore`` does not count (in a `Trainer` that of
        the loss).

    Notes
    -----
    y: (batch, …, K) with K ≥ 2 classes, targets labels (batch, …) or one-hot; or one yes-or-no
    output, (batch,) or (batch, …, 1); or, with a border, K independent answers and targets of the
    same shape. As scikit-learn's ``precision_score``.
    """

    def _part_and_whole(self, right: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        return right, predicted


class Recall(_RatioOfCounts):
    """Of the samples that belong to a class, the share that the network assigned to it.

    recall_k = Σ_s w_s 1(true = k) 1(predicted = k) / Σ_s w_s 1(true = k)

    Parameters
    ----------
    average, zero_division, border, ignore
        As for `Precision`.

    Notes
    -----
    As scikit-learn's ``recall_score``.
    """

    def _part_and_whole(self, right: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        return right, true


class F1(_RatioOfCounts):
    """The harmonic mean of precision and recall of each class.

    F1_k = 2 Σ_s w_s 1(true = k) 1(predicted = k) / Σ_s w_s (1(predicted = k) + 1(true = k))

    Parameters
    ----------
    average, zero_division, border, ignore
        As for `Precision`.

    Notes
    -----
    As scikit-learn's ``f1_score``.
    """

    def _part_and_whole(self, right: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        return 2.0 * right, predicted + true


@hinted
def confusion_matrix(
    y: Any,
    target: Any,
    sample_weights: Any = None,
    *,
    border: float | None = None,
    ignore: int | None = None,
) -> Array:
    """How often each class was taken for each: one row for each true class.

    C_kl = Σ_s 1(true_s = k) 1(predicted_s = l)

    Parameters
    ----------
    y
        The output of the model, (batch, …, K), or one yes-or-no output, (batch,) or (batch, …, 1).
        Or the predicted classes, integers with the shape of the labels.
    target
        Labels, or one-hot rows.
    sample_weights
        How much each sample counts.
    border
        The threshold above which a single output means yes: ½ for probabilities, 0 for logits.
    ignore
        A label that does not count.

    Returns
    -------
    ndarray
        (K, K): the row is the true class, the column the predicted one, as in scikit-learn.
        Integers; with sample weights sums of these.

    Raises
    ------
    ShapeError, DtypeError, DataError
        The targets cannot be compared with the output.
    """
    y, target, name = as_array("y", y), as_array("the target", target), "confusion_matrix"
    if y.dtype.kind in "iub" and y.shape == target.shape:
        said = _labels_said(name, y, target, sample_weights, ignore)
    else:
        said = classes_said(name, y, target, sample_weights, ignore, border)
    if said.has_nan:
        raise DataError(
            "an output is NaN, so it predicts no class",
            place=name,
            expected="numbers",
            received="NaN",
        )
    size = said.classes
    pairs = said.true * size + said.predicted
    counts = np.bincount(pairs, said.weights, size * size)
    return counts.reshape(size, size)


# ------------------------------------------------------------------------------- what was said


@define(eq=False)
class Said:
    """The classes that the network predicted for the labels that count, and the true ones.

    Attributes
    ----------
    predicted, true
        The classes, (labels,), or for several answers 0 or 1, (labels, answers).
    weights
        How much each counts, likewise; None if all count the same.
    classes
        The number of classes, or of answers.
    outputs
        The rows of the output, (labels, classes).
    has_nan
        Whether an output is NaN where it counts.
    """

    predicted: Array
    true: Array
    weights: Array | None
    classes: int
    outputs: Array
    has_nan: bool


def classes_said(
    name: str,
    y: Array,
    target: Array,
    sample_weights: Any,
    ignore: int | None,
    border: float | None = None,
) -> Said:
    """The classes in an output and a target."""
    if y.ndim < 2 or y.shape[-1] < 2:
        if name == "accuracy":
            raise ShapeError(
                "accuracy needs outputs for at least two classes",
                place="accuracy",
                expected="y of shape (batch, …, classes)",
                received=f"y of shape {y.shape}",
                hint="for one yes-or-no output: metrics=['binary_accuracy']",
            )
        said = answers_said(name, y, target, sample_weights, border, None)
        predicted, true = said.predicted.reshape(-1), said.true.reshape(-1)
        kept = np.full(len(true), True) if ignore is None else target.reshape(-1) != ignore
        weights = None if said.weights is None else said.weights[kept]
        return _with_nan(predicted[kept], true[kept], weights, 2, said.outputs[kept])
    if target.shape == y.shape:
        largest = target.max(axis=-1, keepdims=True)
        if not (np.count_nonzero(target == largest, axis=-1) == 1).all():
            raise DataError(
                f"{name} needs one class per sample",
                place=name,
                expected="target rows with a unique largest number",
                received="rows in which several numbers are the largest",
                hint="for yes-or-no outputs: metrics=['binary_accuracy']",
            )
        labels, ignore = target.argmax(axis=-1), None
    elif target.shape == y.shape[:-1]:
        if target.dtype.kind not in "iub":
            raise DtypeError(
                f"{name} needs classes as targets",
                place=name,
                expected="integer labels",
                received=f"an array of {target.dtype}",
                hint="t.astype(int), or another metric for targets that are not classes",
            )
        labels = target
    else:
        raise wrong_shape(name, target, f"labels {y.shape[:-1]}, or one-hot {y.shape}")
    classes = y.shape[-1]
    weights = spread_weights(name, sample_weights, labels.shape)
    outputs, true = y.reshape(-1, classes), labels.reshape(-1).astype(np.int64, copy=False)
    return _those_that_count(name, outputs.argmax(axis=1), true, weights, classes, outputs, ignore)


def answers_said(
    name: str,
    y: Array,
    target: Array,
    sample_weights: Any,
    border: float | None,
    ignore: int | None,
) -> Said:
    """The yes-or-no answers in an output and a target; an ignored one has the weight 0."""
    if y.shape == (*target.shape, 1) and target.dtype.kind in "iub":
        target = target[..., np.newaxis]
    if target.shape != y.shape:
        raise wrong_shape(name, target, y.shape)
    answers = y.shape[-1] if y.ndim > 1 else 1
    weights = spread_weights(name, sample_weights, y.shape)
    if ignore is not None:
        kept = (target != ignore).reshape(-1)
        weights = kept.astype(float) if weights is None else weights * kept
    yes = y > (0.5 if border is None else border)
    is_nan = np.isnan(y).reshape(-1)
    if target.dtype.kind == "f":
        is_nan |= np.isnan(target).reshape(-1)
    has_nan = bool(is_nan.any() and (weights is None or (is_nan & (weights > 0)).any()))
    shape = (-1, answers)
    return Said(
        yes.reshape(shape).astype(np.int64),
        (target > 0.5).reshape(shape).astype(np.int64),
        weights,
        answers,
        y.reshape(shape),
        has_nan,
    )


def _labels_said(
    name: str, predicted: Array, target: Array, sample_weights: Any, ignore: int | None
) -> Said:
    """The classes of which both are given as labels; as many as appear."""
    weights = spread_weights(name, sample_weights, target.shape)
    predicted, true = predicted.reshape(-1), target.reshape(-1)
    predicted, true = predicted.astype(np.int64), true.astype(np.int64)
    kept = true != ignore
    classes = int(max(predicted[kept].max(initial=-1), true[kept].max(initial=-1))) + 1
    if predicted[kept].min(initial=0) < 0:
        raise DataError(
            "a predicted class is negative",
            place=name,
            expected="labels from 0",
            received=f"{predicted[kept].min()}",
        )
    return _those_that_count(name, predicted, true, weights, classes, predicted[:, None], ignore)


def _those_that_count(
    name: str,
    predicted: Array,
    true: Array,
    weights: Array | None,
    classes: int,
    outputs: Array,
    ignore: int | None,
) -> Said:
    """Without the labels that are ignored."""
    if ignore is not None:
        kept = true != ignore
        predicted, true, outputs = predicted[kept], true[kept], outputs[kept]
        weights = None if weights is None else weights[kept]
    if (true.view(np.uint64) >= classes).any():  # the negative ones are large then
        wrong = true[(true < 0) | (true >= classes)][0]
        raise DataError(
            f"{name} received a label that is not a class",
            place=name,
            expected=f"labels from 0 to {classes - 1}, for {classes} classes",
            received=f"{wrong}",
            hint=f"if {wrong} marks what has no label: ignore={wrong}"
            if wrong < 0
            else "number them from 0: target - 1"
            if true.min() > 0 and wrong == classes
            else None,
        )
    return _with_nan(predicted, true, weights, classes, outputs)


def _with_nan(
    predicted: Array, true: Array, weights: Array | None, classes: int, outputs: Array
) -> Said:
    """What was said, and whether an output that counts is NaN."""
    has_nan = False
    if outputs.dtype.kind == "f":
        is_nan = np.isnan(outputs)
        has_nan = bool(is_nan.any())
        if has_nan and weights is not None:
            has_nan = bool((is_nan.any(axis=1) & (weights > 0)).any())
    return Said(predicted, true, weights, classes, outputs, has_nan)


# ------------------------------------------------------------------------------- counting


def _are_answers(y: Array, target: Array, border: float | None) -> bool:
    """Whether these are answers to several yes-or-no questions, rather than classes."""
    if y.ndim < 2 or y.shape[-1] < 2:
        return False
    return border is not None and target.shape == y.shape


def _share(is_right: Array, said: Said) -> Array:
    """Σ w [right] and Σ w."""
    if said.has_nan:
        return np.array([np.nan, np.nan])
    is_right = is_right.reshape(-1)
    if said.weights is None:
        return np.array([np.count_nonzero(is_right), is_right.size], dtype=float)
    return np.array([said.weights @ is_right, said.weights.sum()])


def _counts_of_classes(said: Said) -> Array:
    is_right = said.predicted == said.true
    weights = None if said.weights is None else said.weights[is_right]

    def counted(classes: Array, weights: Array | None) -> Array:
        return np.bincount(classes, weights, said.classes).astype(float)

    return np.array(
        [
            counted(said.true[is_right], weights),
            counted(said.predicted, said.weights),
            counted(said.true, said.weights),
            counted(said.predicted, None) + counted(said.true, None),
        ]
    )


def _counts_of_answers(said: Said) -> Array:
    weights = 1.0 if said.weights is None else said.weights.reshape(said.true.shape)
    each = said.predicted * said.true, said.predicted, said.true
    counts = [np.sum(answers * weights, axis=0, dtype=float) for answers in each]
    return np.array([*counts, np.ones(said.classes)])
