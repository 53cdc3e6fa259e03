"""The classifier: one or several labels, or several yes-or-no answers, for each row.

    p = softmax(z)          one of K classes, from K outputs z; and for each of several labels
    p = 1/(1 + e⁻ᶻ)         each of L yes-or-no answers, from L outputs z

The second is the first for the two classes no and yes, with the outputs 0 and z. So in this module
everything is a list of scores (samples, K), one for each label: p = softmax(scores).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import Any, Literal, Self

import numpy as np
from attrs import frozen
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from chainrule.callbacks import Callback
from chainrule.core.errors import ConfigurationError, DataError, ShapeError, shortened
from chainrule.core.layer import Layer
from chainrule.core.types import Array
from chainrule.graph.graph import Graph
from chainrule.graph.node import Input
from chainrule.interop.sklearn.estimator import Estimator, Samples
from chainrule.interop.sklearn.output_layer import Network, network_for
from chainrule.interop.sklearn.weights import class_weights
from chainrule.layers.reshape import Slice
from chainrule.losses import (
    Loss,
    NegativeLogLikelihood,
    PerOutput,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from chainrule.optimizers import Optimizer
from chainrule.training.metrics import MetricLike

Kind = Literal["one label", "several labels", "yes or no"]


@frozen
class Labels:
    """The labels that a classifier knows.

    Attributes
    ----------
    kind
        One label or several for each sample, or a yes or no for each of several.
    classes
        The classes of each label, in ascending order.
    """

    kind: Kind
    classes: tuple[Array, ...]

    @classmethod
    def of(cls, y: Array, given: Any = None) -> Labels:
        """The labels in y, or those given for a first part of the data."""
        if y.ndim == 1:
            return cls("one label", (_classes(y if given is None else given),))
        is_listed = isinstance(given, list | tuple) and all(np.ndim(each) == 1 for each in given)
        if type_of_target(y) == "multilabel-indicator" and not is_listed:
            return cls("yes or no", (np.arange(2),) * y.shape[1])
        each = y.T if given is None else given
        return cls("several labels", tuple(map(_classes, each)))

    @property
    def widths(self) -> tuple[int, ...]:
        """The numbers of outputs that a network can have, the usual one first."""
        if self.kind == "yes or no":
            return (len(self.classes),)
        total = sum(map(len, self.classes))
        return (2, 1) if self.kind == "one label" and total == 2 else (total,)

    @property
    def meaning(self) -> str:
        """What the outputs are, for errors."""
        if self.kind == "yes or no":
            return f"{len(self.classes)} answers"
        return " + ".join(str(len(classes)) for classes in self.classes) + " classes"

    def numbers(self, y: Array, place: str) -> Array:
        """The number of the class of each label, (samples, labels)."""
        columns = y.reshape(len(y), -1).T
        if len(columns) != len(self.classes):
            raise ShapeError(
                f"{place}: the number of labels for each sample has changed",
                expected=f"{len(self.classes)}, as in the calls before",
                received=f"{len(columns)}",
                hint="fit, with warm_start=False, begins anew",
            )
        found = []
        for column, classes in zip(columns, self.classes, strict=True):
            unknown = np.setdiff1d(column, classes)
            if len(unknown):
                raise DataError(
                    f"{place}: y has a class that the classifier does not know",
                    expected=f"one of {shortened(classes.tolist())}",
                    received=shortened(unknown.tolist()),
                    hint="name all classes in the first call: partial_fit(X, y, classes=…)",
                )
            found.append(np.searchsorted(classes, column))
        return np.stack(found, axis=1)


def _classes(labels: Any) -> Array:
    found = np.unique(np.asarray(labels))
    if len(found) < 2:
        raise DataError(
            "a classifier needs two classes or more",
            expected="two different labels, or more, in each column of y",
            received=f"one class: {found.tolist()[0]!r}",
        )
    return found


class Classifier(ClassifierMixin, Estimator):  # type: ignore[misc]
    """A network as a classifier of scikit-learn.

    Parameters
    ----------
    model
        The network, a layer that is not built yet; it is copied. Its output layer is added: a
        `Dense` with one output for each class. If the model ends with a `Dense` or a `Softmax`,
        that is the output layer. None for one hidden layer of 100 with relu.
    loss
        One of `chainrule.losses`; None for `SoftmaxCrossEntropy`, or for yes-or-no answers
        `SigmoidCrossEntropy`. For several labels each has this loss.
    optimizer
        One of `chainrule.optimizers`; it is copied. None for `Adam`.
    learning_rate
        That of the optimizer, if given.
    epochs
        How often `fit` uses all samples.
    batch_size
        The number of samples per batch; None for all samples together.
    metrics, callbacks
        As in `Trainer` and its `fit`.
    class_weight
        The weight of each class: a dictionary by label; ``"balanced"``, which gives every class the
        same total weight; or a list with one of these for each of several labels.
    early_stopping, patience, validation_fraction
        Whether to hold back a part of the samples, and stop when the loss on it has not improved
        for ``patience`` epochs. The model is then the best one.
    warm_start
        Whether `fit` continues with the network of the last call.
    random_state
        A seed, a generator of NumPy's older kind (RandomState), or None for new numbers each time.
    verbose
        Whether to show the progress in a terminal.

    Attributes
    ----------
    classes_ : ndarray, or list of ndarray
        The classes in ascending order; for several labels those of each.
    model_ : Layer
        The trained network, with its output layer.
    history_ : History
        The loss and the metrics of each epoch, of all calls that continued each other.
    loss_curve_ : list of float
        Its column ``"loss"``.
    n_iter_ : int
        The number of epochs.
    optimizer_ : Optimizer
        The optimizer with its memory.
    n_features_in_, feature_names_in_
        As in all estimators of scikit-learn.

    Notes
    -----
    For two classes the output layer has two outputs. One that the model brings may also have one,
    the logit of the second class.

    scikit-learn's MLPClassifier has the same loss, optimizer and hidden layer, with a weight decay
    of 1e-4.

    Examples
    --------
    >>> x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> model = Sequential([Dense(8), Activation("tanh")])
    >>> classifier = Classifier(model, learning_rate=0.1, random_state=0)
    >>> classifier.fit(x, ["same", "different", "different", "same"]).predict(x).tolist()
    ['same', 'different', 'different', 'same']
    """

    classes_: Array | list[Array]
    _labels: Labels
    _ends_with_softmax: bool

    def __init__(
        self,
        model: Layer | None = None,
        *,
        loss: Loss | None = None,
        optimizer: Optimizer | None = None,
        learning_rate: float | None = None,
        epochs: int = 200,
        batch_size: int | None = 200,
        metrics: Iterable[MetricLike] = (),
        callbacks: Iterable[Callback] = (),
        class_weight: Any = None,
        early_stopping: bool = False,
        patience: int = 10,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            model,
            loss=loss,
            optimizer=optimizer,
            learning_rate=learning_rate,
            epochs=epochs,
            batch_size=batch_size,
            metrics=metrics,
            callbacks=callbacks,
            early_stopping=early_stopping,
            patience=patience,
            validation_fraction=validation_fraction,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new network; with ``warm_start``, continue with that of the last call.

        Parameters
        ----------
        X
            The inputs, (samples, features): an array, or a table of pandas or polars. float32 stays
            float32, everything else becomes float64.
        y
            The labels, (samples,), numbers or texts; (samples, labels) for several labels; zeros
            and ones (samples, answers) for several yes-or-no answers.
        sample_weight
            The weight of each sample, 0 or more; they are divided by their mean. If all samples
            are in one batch, a weight of 2 equals the sample twice.

        Raises
        ------
        ConfigurationError, DefinitionError, ShapeError
            A parameter is invalid, or the model does not fit the data.
        DataError
            There is only one class, or a class is new in a call that continues.
        DtypeError
            X or y is sparse.
        ValueError, TypeError
            Those of scikit-learn, for data that cannot be used.
        """
        continues = bool(self.warm_start) and hasattr(self, "model_")
        return self._fit(
            X, y, sample_weight, None, continues, self.epochs, bool(self.early_stopping)
        )

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch: a new network in the first call, later the same.

        Parameters
        ----------
        X, y, sample_weight
            A part of the data, as in `fit`.
        classes
            All classes, required in the first call; for several labels a list with those of each,
            for yes-or-no answers their numbers from 0.

        Raises
        ------
        ConfigurationError
            The classes are not given in the first call, or differ in another; or
            ``class_weight="balanced"``, which needs all samples.
        ConfigurationError, DefinitionError, ShapeError, DataError, DtypeError
            As in `fit`.
        """
        name, continues = type(self).__name__, hasattr(self, "model_")
        self._refuse_stopping()
        if isinstance(self.class_weight, str):
            raise ConfigurationError(
                f"{name}: partial_fit cannot balance classes without all samples",
                expected="a dictionary from a class to its weight",
                received=f"class_weight={self.class_weight!r}",
                hint="compute_class_weight of sklearn.utils.class_weight",
            )
        if classes is None and not continues:
            raise ConfigurationError(
                f"{name}: classes must be passed on the first call to partial_fit",
                expected="classes=[…], with all labels that y will have",
                received="classes=None",
            )
        return self._fit(X, y, sample_weight, classes, continues, 1, False)

    def predict(self, X: Any) -> Array:
        """The most probable class of each sample, in the shape of y.

        Parameters
        ----------
        X
            The inputs, as in `fit`.
        """
        found = [
            classes[scores.argmax(axis=1)]
            for scores, classes in zip(self._scores(X), self._labels.classes, strict=True)
        ]
        return np.asarray(found[0] if self._labels.kind == "one label" else np.stack(found, axis=1))

    def predict_proba(self, X: Any) -> Array | list[Array]:
        """The probability of each class: (samples, classes), in the order of `classes_`.

        For several labels a list with one such array for each; for yes-or-no answers the
        probabilities of a yes, (samples, answers). ``X`` as in `fit`.
        """
        return self._in_shape_of_y([np.exp(_log_softmax(scores)) for scores in self._scores(X)])

    def predict_log_proba(self, X: Any) -> Array | list[Array]:
        """The logarithms of `predict_proba`, without underflow."""
        return self._in_shape_of_y([_log_softmax(scores) for scores in self._scores(X)])

    def decision_function(self, X: Any) -> Array | list[Array]:
        """The outputs z of the network, from which `predict_proba` follows.

        (samples, classes); for two classes the difference of both, (samples,); for several labels a
        list of these; for yes-or-no answers (samples, answers). ``X`` as in `fit`.
        """
        each = [
            scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores
            for scores in self._scores(X)
        ]
        if self._labels.kind == "yes or no":
            return np.stack(each, axis=1)
        return each[0] if self._labels.kind == "one label" else each

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of samples whose prediction is right, for several labels in all of them.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        """
        if np.ndim(y) < 2:
            return float(super().score(X, y, sample_weight))
        is_right = (self.predict(X).reshape(np.shape(y)) == np.asarray(y)).all(axis=1)
        return float(np.average(is_right, weights=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    # ---------------------------------------------------------------- how it is done

    def _fit(
        self,
        x: Any,
        y: Any,
        weights: Any,
        classes: Any,
        continues: bool,
        epochs: Any,
        splits: bool,
    ) -> Self:
        name = type(self).__name__
        x, y, weights = self._checked(x, y, weights, continues=continues, numeric=False)
        check_classification_targets(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        labels = self._labels if continues else Labels.of(y, classes)
        if continues and classes is not None:
            _require_same(labels, Labels.of(y, classes), name)
        numbers = labels.numbers(y, name)
        if self.class_weight is not None:
            weights = class_weights(self.class_weight, numbers, labels.classes, weights, name)
        network, is_softmax = None, continues and self._ends_with_softmax
        if not continues:
            found = network_for(self.model, x.shape[1], labels.widths, labels.meaning, name)
            network, is_softmax = _with_heads(found, labels, x.shape[1], name)
        width = self.model_.output_shapes[0][0] if network is None else found.width
        loss = self._loss(_usual_loss(labels, width, is_softmax))
        if labels.kind == "several labels":
            loss = PerOutput([loss] * len(labels.classes))
        strata = numbers[:, 0] if labels.kind == "one label" else None
        samples = Samples(x, _targets(labels, numbers, x.dtype), weights, strata)
        self._train(samples, network, loss, epochs, splits)
        self._labels, self._ends_with_softmax = labels, is_softmax
        if labels.kind == "yes or no":
            self.classes_ = np.arange(len(labels.classes))
        else:
            several = labels.kind == "several labels"
            self.classes_ = list(labels.classes) if several else labels.classes[0]
        return self

    def _scores(self, x: Any) -> list[Array]:
        """The scores of the classes, (samples, classes), for each label."""
        z = self._outputs(x)
        if self._labels.kind == "several labels":
            return list(z)
        if self._labels.kind == "yes or no":
            return [_no_or_yes(column) for column in z.T]
        if self._ends_with_softmax:
            return [np.log(np.maximum(z, np.finfo(z.dtype).tiny))]
        return [_no_or_yes(z[:, 0]) if z.shape[1] == 1 else z]

    def _in_shape_of_y(self, each: list[Array]) -> Array | list[Array]:
        if self._labels.kind == "yes or no":
            return np.stack([both[:, 1] for both in each], axis=1)
        return each[0] if self._labels.kind == "one label" else each


def _no_or_yes(logit: Array) -> Array:
    """The scores of no and yes, whose softmax is the sigmoid of the logit."""
    return np.stack([np.zeros_like(logit), logit], axis=1)


def _log_softmax(scores: Array) -> Array:
    return np.asarray(scores - np.logaddexp.reduce(scores, axis=1)[:, np.newaxis])


def _targets(labels: Labels, numbers: Array, dtype: Any) -> Any:
    """The numbers of the classes as the loss takes them."""
    if labels.kind == "yes or no":
        return numbers.astype(dtype)
    columns = tuple(np.ascontiguousarray(numbers.T))
    return columns if labels.kind == "several labels" else columns[0]


def _usual_loss(labels: Labels, width: int, is_softmax: bool) -> Loss:
    if labels.kind == "yes or no" or (labels.kind == "one label" and width == 1):
        return SigmoidCrossEntropy()
    return NegativeLogLikelihood() if is_softmax else SoftmaxCrossEntropy()


def _with_heads(network: Network, labels: Labels, features: int, place: str) -> tuple[Layer, bool]:
    """The network, for several labels with an output for each; and whether it ends in a Softmax."""
    if labels.kind == "one label":
        return network.layers, network.gives_probabilities
    if network.gives_probabilities:
        raise ConfigurationError(
            f"{place}: the model ends with a Softmax, but there is not one class for each row",
            expected=f"a Dense with {network.width} outputs, for {labels.meaning}, or none",
            received="probabilities that sum to 1 over all of them",
            hint="leave out the Softmax",
        )
    if labels.kind == "yes or no":
        return network.layers, False
    x = Input((features,))
    z = network.layers(x)
    ends = list(accumulate(map(len, labels.classes)))
    heads = [Slice(start, end)(z) for start, end in zip([0, *ends], ends, strict=False)]
    return Graph(x, heads), False


def _require_same(known: Labels, given: Labels, place: str) -> None:
    pairs = zip(known.classes, given.classes, strict=False)
    if len(known.classes) == len(given.classes) and all(np.array_equal(*pair) for pair in pairs):
        return
    raise ConfigurationError(
        f"{place}: the classes differ from those of the first call",
        expected=shortened([each.tolist() for each in known.classes]),
        received=shortened([each.tolist() for each in given.classes]),
        hint="pass them in the first call only",
    )
