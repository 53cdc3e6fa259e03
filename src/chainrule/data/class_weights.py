"""Class weights: how much each class counts, however many samples it has.

If one class is rare, a network that never predicts it is nearly always right. So a sample s of
class k gets the weight of its class, multiplied by its own weight if it has one:

    C = (1/N) Σ_s v_{k(s)} w_s c_s(y_s, t_s)

``"balanced"`` takes v_k = N/(K N_k), with N_k samples of each of the K classes that occur: all
classes then have the same total weight, and the average weight is 1.

Source of the balanced weights: G. King and L. Zeng, *Logistic regression in rare events data*,
Political Analysis 9 (2001) 137; scikit-learn's ``compute_class_weight`` computes the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from attrs import evolve, frozen

from chainrule.core.errors import ConfigurationError, shortened
from chainrule.core.messages import batch_of
from chainrule.core.types import Array, Shape
from chainrule.core.validators import is_integer
from chainrule.data.samples import Data
from chainrule.data.validation import refuse_entries

BALANCED = "balanced"
EXPECTED = "class_weights={0: 1.0, 1: 5.0}, a list with one for each class, or 'balanced'"


@frozen(eq=False)
class ClassWeights:
    """The weight of each class.

    Attributes
    ----------
    labels
        The classes that have a weight, in ascending order; None if balanced and not counted yet.
    weights
        Their weights, in the same order.
    """

    labels: Array | None
    weights: Array

    @classmethod
    def of(cls, given: Any, outputs: int) -> Self | None:
        """The weights from a dictionary by label, or from a sequence; None stays None.

        Raises
        ------
        ConfigurationError
            The argument is something else, a weight is negative or not finite, or there are several
            outputs.
        """
        if given is None:
            return None
        if outputs != 1:
            raise ConfigurationError(
                "class_weights are for a model with one output",
                expected="one output, whose targets are classes",
                received=f"a loss for each of {outputs} outputs",
                hint="use sample_weights, which count in all outputs, or loss_weights",
            )
        if isinstance(given, str) and given == BALANCED:
            return cls(None, np.zeros(0))
        weights = _by_label(given)
        for label, weight in weights.items():
            _require_label(label)
            _require_weight(label, weight)
        labels = sorted(weights)
        return cls(np.array(labels, int), np.array([weights[label] for label in labels], float))

    def for_targets(self, row: Shape, target: Array | None, name: str) -> ClassWeights:
        """The weights checked against an output of a model, and counted if they are balanced.

        Parameters
        ----------
        row
            The shape of a row of the output.
        target
            All targets in the form that the loss expects, or None if they come batch by batch.
        name
            The name of the targets in error messages.

        Raises
        ------
        ConfigurationError
            There is a weight for a class that the model does not have; or the weights are balanced
            and the targets cannot be counted.
        DataError
            A target is not a class, or its class has no weight.
        """
        _require_classes(row)
        classes = row[0] if row and row[0] > 1 else 2
        if self.labels is not None:
            _require_in_model(self.labels, classes)
            if target is not None:
                self.of_targets(target, name)
            return self
        if target is None:
            raise ConfigurationError(
                "class_weights='balanced' needs all targets, to count the classes",
                expected="targets in memory, such as np.asarray(t)",
                received="targets that are read or made batch by batch",
                hint="give the weights by label: class_weights={0: …, 1: …}",
            )
        labels, counts = np.unique(labels_of(target, name), return_counts=True)
        return ClassWeights(labels, counts.sum() / (len(counts) * counts))

    def times(self, data: Data) -> Data:
        """Fitted data, with the weight of each sample multiplied by that of its class."""
        target = data.targets[0]
        weights = self.of_targets(target, data.names_of_targets[0], data.rows)
        weights = weights.astype(data.inputs[0].dtype)
        if data.sample_weights is not None:
            weights *= data.sample_weights
        return evolve(data, sample_weights=weights)

    def of_targets(self, target: Array, name: str, rows: Array | None = None) -> Array:
        """The weight of each target's class, (samples,).

        Raises
        ------
        DataError
            A target is not a class, or its class has no weight.
        """
        labels = labels_of(target, name, rows)
        known: Any = self.labels
        indices = np.minimum(np.searchsorted(known, labels), len(known) - 1)
        is_unknown = known[indices] != labels
        if is_unknown.any():
            refuse_entries(
                name,
                labels,
                np.argwhere(is_unknown),
                rows,
                problem="is a class that has no weight",
                expected=f"one of {', '.join(map(str, known[:20].tolist()))}",
                hint="give every class that occurs a weight; 1.0 changes nothing",
            )
        weights: Array = self.weights[indices]
        return weights


def labels_of(target: Array, name: str, rows: Array | None = None) -> Array:
    """The class of each target: its label, or the index of the largest probability in its row.

    Raises
    ------
    DataError
        A value is not a label, or a row does not belong to one class.
    """
    if target.ndim == 2 and target.shape[1] > 1:
        bad = np.abs(target.sum(axis=1) - 1) > 1e-3
        if bad.any():
            refuse_entries(
                name,
                target,
                np.argwhere(np.broadcast_to(bad[:, np.newaxis], target.shape)),
                rows,
                problem="is in a row that does not sum to 1, so class_weights do not apply",
                expected="labels, or rows that sum to 1",
                hint="use sample_weights, one for each sample",
            )
        return target.argmax(axis=1)
    values = target.reshape(len(target))
    if values.dtype.kind == "f" and (values != np.floor(values)).any():
        refuse_entries(
            name,
            values,
            np.argwhere(values != np.floor(values)),
            rows,
            problem="is not a label, and class_weights need labels",
            expected="0, 1, 2, …",
            hint="leave out class_weights; sample_weights work for all targets",
        )
    return values.astype(np.int64)


def _by_label(given: Any) -> Mapping[Any, Any]:
    if isinstance(given, Mapping) and given:
        return given
    is_listed = isinstance(given, Sequence | np.ndarray) and not isinstance(given, str)
    if is_listed and len(given) and np.ndim(given) == 1:
        return dict(enumerate(given))
    raise ConfigurationError(
        "class_weights do not give one number for each class",
        expected=EXPECTED,
        received=f"class_weights={shortened(given)}",
        hint=f"did you mean '{BALANCED}'?" if isinstance(given, str) else None,
    )


def _require_label(label: Any) -> None:
    if not is_integer(label) or label < 0:
        raise ConfigurationError(
            "a key of class_weights is not a label, an integer from 0",
            expected=EXPECTED,
            received=f"the label {shortened(label)}",
            hint="to convert names to labels: names, labels = np.unique(…, return_inverse=True)",
        )


def _require_weight(label: int, weight: Any) -> None:
    try:
        is_valid = 0 <= float(weight) < np.inf and not isinstance(weight, str)
    except (TypeError, ValueError):
        is_valid = False
    if not is_valid:
        raise ConfigurationError(
            f"the weight of class {label} is not a finite number, 0 or more",
            expected=EXPECTED,
            received=shortened(weight),
        )


def _require_classes(row: Shape) -> None:
    if len(row) > 1:
        raise ConfigurationError(
            "class_weights need one class for each sample",
            expected="a model whose output is (batch, classes)",
            received=f"a model whose output is {batch_of(row)}",
            hint="use sample_weights, one for each sample",
        )


def _require_in_model(labels: Array, classes: int) -> None:
    if labels[-1] >= classes:
        raise ConfigurationError(
            f"class_weights has a weight for class {labels[-1]}, which the model does not have",
            expected=f"labels from 0 to {classes - 1}, for {classes} classes",
            received=f"the label {labels[-1]}",
            hint="classes are counted from 0",
        )
