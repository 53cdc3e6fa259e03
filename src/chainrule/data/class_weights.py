"""Class weights: how much each class counts, whatever there is of it in the data.

Where one class is rare, a network that never names it is right nearly always. So a sample s of the
class k is given the weight of its class, times its own where it has one:

    C = (1/N) Σ_s v_{k(s)} w_s c_s(y_s, t_s)

``"balanced"`` takes v_k = N/(K N_k), with N_k samples of each of the K classes that occur: all
classes then weigh the same, and the average weight is 1.

Source of the balanced weights: G. King and L. Zeng, *Logistic regression in rare events data*,
Political Analysis 9 (2001) 137; scikit-learn's ``compute_class_weight`` computes the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from attrs import evolve, frozen

from chainrule.core.errors import ConfigurationError
from chainrule.core.messages import batch_of
from chainrule.core.types import Array, Shape
from chainrule.core.validators import is_integer
from chainrule.data.samples import Data
from chainrule.data.validation import refuse_entries

BALANCED = "balanced"
EXPECTED = "class_weights={0: 1.0, 1: 5.0}, a list of one for each class, or 'balanced'"


@frozen(eq=False)
class ClassWeights:
    """The weight of each class.

    Attributes
    ----------
    labels
        The classes that have one, rising; None where they are balanced and not counted yet.
    weights
        The weight of each of them.
    """

    labels: Array | None
    weights: Array

    @classmethod
    def of(cls, given: Any, outputs: int) -> Self | None:
        """The weights in a dictionary by label, or in a sequence; None stays None.

        Raises
        ------
        ConfigurationError
            They are something else, or not finite, or negative; or there are several outputs.
        """
        if given is None:
            return None
        if outputs != 1:
            raise ConfigurationError(
                "class_weights are for a model with one output",
                expected="one output, whose targets are classes",
                received=f"a loss for each of {outputs} outputs",
                hint="give sample_weights, which count in all outputs; or loss_weights",
            )
        if isinstance(given, str) and given == BALANCED:
            return cls(None, np.zeros(0))
        of_labels = _by_label(given)
        for label, weight in of_labels.items():
            _require_label(label)
            _require_weight(label, weight)
        labels = sorted(of_labels)
        return cls(np.array(labels, int), np.array([of_labels[label] for label in labels], float))

    def for_targets(self, row: Shape, target: Array | None, name: str) -> ClassWeights:
        """The same for a model's output, with all targets where they are in memory.

        Parameters
        ----------
        row
            The shape of a row of the output.
        target
            All targets as the loss takes them, or None where they come batch by batch.
        name
            What the targets are called.

        Raises
        ------
        ConfigurationError
            A class has a weight, and the model does not have the class; or the targets cannot be
            counted and shall be balanced.
        DataError
            A target is no class, or has no weight.
        """
        _require_classes(row)
        classes = row[0] if row and row[0] > 1 else 2
        if self.labels is not None:
            _require_known(self.labels, classes)
            if target is not None:
                self.of_targets(target, name)
            return self
        if target is None:
            raise ConfigurationError(
                "class_weights='balanced' needs all targets, to count the classes",
                expected="targets in memory, such as np.asarray(t)",
                received="targets that are read, or made, batch by batch",
                hint="give the weights by label: class_weights={0: …, 1: …}",
            )
        labels, counts = np.unique(labels_of(target, name), return_counts=True)
        return ClassWeights(labels, counts.sum() / (len(counts) * counts))

    def times(self, data: Data) -> Data:
        """Data that were fitted to the loss, each sample with the weight of its class as well."""
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
            A target is no class, or its class has no weight.
        """
        labels = labels_of(target, name, rows)
        known: Any = self.labels
        places = np.minimum(np.searchsorted(known, labels), len(known) - 1)
        has_none = known[places] != labels
        if has_none.any():
            refuse_entries(
                name,
                labels,
                np.argwhere(has_none),
                rows,
                problem="is a class that has no weight",
                expected=f"one of {', '.join(map(str, known[:20].tolist()))}",
                hint="give every class that occurs a weight; 1.0 leaves it as it is",
            )
        weights: Array = self.weights[places]
        return weights


def labels_of(target: Array, name: str, rows: Array | None = None) -> Array:
    """The class of each target: a label, or the place of the largest in a row of probabilities.

    Raises
    ------
    DataError
        Something is no label, or a row is not of one class.
    """
    if target.ndim == 2 and target.shape[1] > 1:
        bad = np.abs(target.sum(axis=1) - 1) > 1e-3
        if bad.any():
            refuse_entries(
                name,
                target,
                np.argwhere(np.broadcast_to(bad[:, np.newaxis], target.shape)),
                rows,
                problem="stands in a row that is not of one class, and class_weights are for such",
                expected="labels, or rows that sum to 1",
                hint="give sample_weights, one for each sample",
            )
        return target.argmax(axis=1)
    values = target.reshape(len(target))
    if values.dtype.kind == "f" and (values != np.floor(values)).any():
        refuse_entries(
            name,
            values,
            np.argwhere(values != np.floor(values)),
            rows,
            problem="is no label, and class_weights are for labels",
            expected="0, 1, 2, …",
            hint="leave class_weights out; sample_weights are for targets of every kind",
        )
    return values.astype(np.int64)


def _by_label(given: Any) -> Mapping[Any, Any]:
    if isinstance(given, Mapping) and given:
        return given
    is_listed = isinstance(given, Sequence | np.ndarray) and not isinstance(given, str)
    if is_listed and len(given) and np.ndim(given) == 1:
        return dict(enumerate(given))
    raise ConfigurationError(
        "class_weights are not one number for each class",
        expected=EXPECTED,
        received=f"class_weights={given!r:.60}",
        hint=f"did you mean '{BALANCED}'?" if isinstance(given, str) else None,
    )


def _require_label(label: Any) -> None:
    if not is_integer(label) or label < 0:
        raise ConfigurationError(
            "class_weights are given by label, and a label is a whole number from 0 on",
            expected=EXPECTED,
            received=f"the label {label!r:.60}",
            hint="names become labels by: names, labels = np.unique(…, return_inverse=True)",
        )


def _require_weight(label: int, weight: Any) -> None:
    try:
        is_good = 0 <= float(weight) < np.inf and not isinstance(weight, str)
    except (TypeError, ValueError):
        is_good = False
    if not is_good:
        raise ConfigurationError(
            f"the weight of class {label} is no finite number of 0 or more",
            expected=EXPECTED,
            received=f"{weight!r:.60}",
        )


def _require_classes(row: Shape) -> None:
    if len(row) > 1:
        raise ConfigurationError(
            "class_weights are for one class for each sample",
            expected="a model whose output is (batch, classes)",
            received=f"a model whose output is {batch_of(row)}",
            hint="give sample_weights, one for each sample",
        )


def _require_known(labels: Array, classes: int) -> None:
    if labels[-1] >= classes:
        raise ConfigurationError(
            f"class_weights has a weight for class {labels[-1]}, which the model does not have",
            expected=f"labels from 0 to {classes - 1}, for {classes} classes",
            received=f"the label {labels[-1]}",
            hint="classes are counted from 0",
        )
