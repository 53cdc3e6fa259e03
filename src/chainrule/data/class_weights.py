"""Class weights: how much each class counts, however many samples it has.

If one class is rare, a network that never predicts it is nearly always right. So a sample s of
class k gets the weight of its class, multiplied by its own weight if it has one:

    C = (1/N) Σ_s v_{k(s)} w_s c_s(y_s, t_s)

If there is a class for each position of a sample, each position has the weight of its class. A
label that the loss ignores has no class. With several outputs, each has its own classes.

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
from chainrule.core.types import Array, Shape
from chainrule.core.validators import is_integer, is_number
from chainrule.data.samples import Data, of_output, one_or_all
from chainrule.data.validation import refuse_entries
from chainrule.losses import Loss

BALANCED = "balanced"
EXPECTED = "class_weights={0: 1.0, 1: 5.0}, a list with one for each class, or 'balanced'"


@frozen(eq=False)
class ClassWeights:
    """The weight of each class, for each output of a model.

    Attributes
    ----------
    each
        For each output the weights of its classes, or None if it has none.
    """

    each: tuple[OutputClassWeights | None, ...]

    @classmethod
    def of(cls, given: Any, outputs: int) -> Self | None:
        """The weights as `Trainer.fit` accepts them; None stays None.

        Parameters
        ----------
        given
            For one output a dictionary by label, a sequence, or ``"balanced"``. For several outputs
            a dictionary of these by the number of the output, or a list with one of these, or None,
            for each output.
        outputs
            The number of outputs.

        Raises
        ------
        ConfigurationError
            It is something else, or a weight is negative or not finite.
        """
        if given is None:
            return None
        if outputs == 1:
            return cls((OutputClassWeights.of(given),))
        of_outputs: dict[Any, Any] = {}
        if isinstance(given, Mapping):
            of_outputs = dict(given)
        elif isinstance(given, list | tuple) and len(given) == outputs:
            of_outputs = dict(enumerate(given))
        known = all(is_integer(number) and 0 <= number < outputs for number in of_outputs)
        if not of_outputs or not known or any(map(is_number, of_outputs.values())):
            raise ConfigurationError(
                "with several outputs, class_weights must say which output they are for",
                expected=f"a dictionary or a list with the weights for each of {outputs} outputs",
                received=f"class_weights={given!r:.60}",
                hint="class_weights={0: {0: 1.0, 1: 5.0}} for the classes 0 and 1 of the first "
                "output",
            )
        each = [of_outputs.get(number) for number in range(outputs)]
        return cls(tuple([None if own is None else OutputClassWeights.of(own) for own in each]))

    def fitted(
        self,
        loss: Loss,
        rows_of_outputs: Sequence[Shape],
        targets: Sequence[Array | None],
        names: Sequence[str],
    ) -> ClassWeights:
        """The weights checked against the outputs of a model, and counted if they are balanced.

        Parameters
        ----------
        loss
            The loss of the model.
        rows_of_outputs
            The shape of a row of each output.
        targets
            All targets of each output in the form that its loss expects, or None if they come batch
            by batch.
        names
            The names of the targets in error messages.

        Raises
        ------
        ConfigurationError
            There is a weight for a class that the model does not have; or the weights are balanced
            and the targets cannot be counted.
        DataError
            A target is not a class, or its class has no weight.
        """
        calls = zip(self.each, loss.for_each_output, rows_of_outputs, targets, names, strict=True)
        return ClassWeights(
            tuple(
                [
                    None if own is None else own.for_targets(row, target, name, _ignored_by(of))
                    for own, of, row, target, name in calls
                ]
            )
        )

    def times(self, data: Data) -> Data:
        """Fitted data, with the weights of each output multiplied by those of the classes."""
        weights: list[Any] = []
        for number, own in enumerate(self.each):
            given = of_output(data.sample_weights, number)
            if own is not None:
                target, name = data.targets[number], data.names_of_targets[number]
                found = own.of_targets(target, name, data.rows).astype(data.inputs[0].dtype)
                given = found if given is None else _product(found, given)
            weights.append(given)
        return evolve(data, sample_weights=one_or_all(tuple(weights)))


@frozen(eq=False)
class OutputClassWeights:
    """The weight of each class of one output.

    Attributes
    ----------
    labels
        The classes that have a weight, in ascending order; None if balanced and not counted yet.
    weights
        Their weights, in the same order.
    row
        The shape of a row of the output; None if not fitted yet.
    ignored
        The label that the loss ignores.
    """

    labels: Array | None
    weights: Array
    row: Shape | None = None
    ignored: int | None = None

    @classmethod
    def of(cls, given: Any) -> Self:
        """The weights from a dictionary by label, from a sequence, or ``"balanced"``.

        Raises
        ------
        ConfigurationError
            The argument is something else, or a weight is negative or not finite.
        """
        if isinstance(given, str) and given == BALANCED:
            return cls(None, np.zeros(0))
        weights = _by_label(given)
        for label, weight in weights.items():
            _require_label(label)
            _require_weight(label, weight)
        labels = sorted(weights)
        return cls(np.array(labels, int), np.array([weights[label] for label in labels], float))

    def for_targets(
        self, row: Shape, target: Array | None, name: str, ignored: int | None = None
    ) -> OutputClassWeights:
        """The weights for an output; see `ClassWeights.fitted`."""
        classes = row[-1] if row and row[-1] > 1 else 2
        if self.labels is not None:
            _require_in_model(self.labels, classes)
            fitted = evolve(self, row=row, ignored=ignored)
            if target is not None:
                fitted.of_targets(target, name)
            return fitted
        if target is None:
            raise ConfigurationError(
                "class_weights='balanced' needs all targets, to count the classes",
                expected="targets in memory, such as np.asarray(t)",
                received="targets that are read or made batch by batch",
                hint="give the weights by label: class_weights={0: …, 1: …}",
            )
        found = labels_of(target, name, row=row, ignored=ignored)
        labels, counts = np.unique(found[found != ignored], return_counts=True)
        balanced = counts.sum() / (max(len(counts), 1) * counts)
        return OutputClassWeights(labels, balanced, row, ignored)

    def of_targets(self, target: Array, name: str, rows: Array | None = None) -> Array:
        """The weight of each target's class: (samples,), or with an axis for the positions.

        Raises
        ------
        DataError
            A target is not a class, or its class has no weight.
        """
        labels = labels_of(target, name, rows, self.row, self.ignored)
        known: Any = self.labels
        counts = labels != self.ignored
        if not len(known):  # every label is ignored
            return np.ones(labels.shape)
        indices = np.minimum(np.searchsorted(known, labels), len(known) - 1)
        is_unknown = (known[indices] != labels) & counts
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
        return np.where(counts, self.weights[indices], 1.0)


def labels_of(
    target: Array,
    name: str,
    rows: Array | None = None,
    row: Shape | None = None,
    ignored: int | None = None,
) -> Array:
    """The class of each target: its label, or the index of the largest probability in its row.

    Parameters
    ----------
    target, name, rows
        The targets, their name in error messages, and their row numbers in the full data.
    row
        The shape of a row of the output; if not given, a target with two axes has a row of
        probabilities for each sample.
    ignored
        A label without a class.

    Raises
    ------
    DataError
        A value is not a label, or a row does not belong to one class.
    """
    has_rows = target.ndim > 1 and (row is None or target.ndim == len(row) + 1)
    if has_rows and target.shape[-1] > 1:
        bad = np.abs(target.sum(axis=-1) - 1) > 1e-3
        if bad.any():
            refuse_entries(
                name,
                target,
                np.argwhere(np.broadcast_to(bad[..., np.newaxis], target.shape)),
                rows,
                problem="is in a row that does not sum to 1, so class_weights do not apply",
                expected="labels, or rows that sum to 1",
                hint="use sample_weights, one for each sample",
            )
        return target.argmax(axis=-1)
    values = target[..., 0] if has_rows else target
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


def _ignored_by(loss: Loss) -> int | None:
    """The label that a loss ignores."""
    return getattr(loss, "ignore", None)


def _product(one: Array, other: Array) -> Array:
    """Weights multiplied, one of which may have further axes for the positions."""
    axes = max(one.ndim, other.ndim)
    one, other = (w.reshape(*w.shape, *[1] * (axes - w.ndim)) for w in (one, other))
    return np.asarray(one * other)


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


def _require_in_model(labels: Array, classes: int) -> None:
    if labels[-1] >= classes:
        raise ConfigurationError(
            f"class_weights has a weight for class {labels[-1]}, which the model does not have",
            expected=f"labels from 0 to {classes - 1}, for {classes} classes",
            received=f"the label {labels[-1]}",
            hint="classes are counted from 0",
        )
