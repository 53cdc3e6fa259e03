"""Metrics side by side with those of scikit-learn, which `make peers` installs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from chainrule import Dense, Trainer, losses, optimizers
from chainrule.training.metric import Metric
from chainrule.training.metrics import (
    F1,
    R2,
    Precision,
    Recall,
    RootMeanSquaredError,
    TopAccuracy,
    accuracy,
    binary_accuracy,
    confusion_matrix,
)

pytestmark = pytest.mark.peers

SEEDS = range(12)
RATIOS = [(Precision, "precision_score"), (Recall, "recall_score"), (F1, "f1_score")]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """scikit-learn warns where a class is missing; here the number is compared."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="session")
def theirs() -> Any:
    """The metrics of scikit-learn."""
    import sklearn.metrics

    return sklearn.metrics


def drawn(seed: int, classes: int) -> tuple[Any, Any, Any, np.random.Generator]:
    """Outputs on a coarse grid, so that some are equal, labels of which some do not appear."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 12))
    y = np.round(rng.normal(size=(count, classes)), 1)
    labels = rng.integers(0, rng.integers(1, classes + 1), count)
    weights = None if seed % 2 else rng.uniform(size=count) * rng.integers(0, 2, count)
    if weights is not None and not weights.sum():
        weights[0] = 1.0
    return y, labels, weights, rng


def in_parts(metric: Metric, y: Any, t: Any, w: Any) -> float:
    """The metric of all samples, from the sums of batches of two."""
    total: Any = None
    for n in range(0, len(t), 2):
        rows = slice(n, n + 2)
        sums = metric.sums(y[rows], t[rows], None if w is None else w[rows])
        total = sums if total is None else metric.joined(total, sums)
    return metric.figure(total)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("zero", [0.0, 1.0])
@pytest.mark.parametrize(("kind", "name"), RATIOS)
def test_ratios_of_several_classes(
    theirs: Any, kind: Any, name: str, average: str, zero: float, seed: int
) -> None:
    y, labels, w, _ = drawn(seed, 4)
    options = {"average": average, "zero_division": zero}
    expected = getattr(theirs, name)(labels, y.argmax(axis=1), sample_weight=w, **options)
    metric = kind(**options)
    assert metric(y, labels, w) == pytest.approx(expected, rel=1e-13)
    assert metric(y, np.eye(4)[labels], w) == pytest.approx(expected, rel=1e-13)
    assert in_parts(metric, y, labels, w) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("average", [None, "binary", "macro", "micro", "weighted"])
@pytest.mark.parametrize("zero", [0.0, 1.0])
@pytest.mark.parametrize(("kind", "name"), RATIOS)
def test_ratios_of_yes_and_no(
    theirs: Any, kind: Any, name: str, average: Any, zero: float, seed: int
) -> None:
    y, labels, w, _ = drawn(seed, 2)
    said = (y[:, 0] > 0.5).astype(int)
    options = {"average": average or "binary", "zero_division": zero}
    expected = getattr(theirs, name)(labels, said, sample_weight=w, **options)
    metric = kind(average=average, zero_division=zero)
    for output, target in ((y[:, :1], labels), (y[:, 0], labels), (y[:, :1], labels[:, None])):
        assert metric(output, target, w) == pytest.approx(expected, rel=1e-13)
    pair = np.column_stack([1 - said, said])  # the same with two classes
    assert metric(pair, labels, w) == pytest.approx(expected, rel=1e-13)
    assert in_parts(metric, y[:, :1], labels, w) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize(("kind", "name"), RATIOS)
def test_ratios_of_independent_answers(
    theirs: Any, kind: Any, name: str, average: str, seed: int
) -> None:
    y, _, w, rng = drawn(seed, 3)
    t = rng.integers(0, 2, y.shape)
    options = {"average": average, "zero_division": 0.0}
    expected = getattr(theirs, name)(t, (y > 0).astype(int), sample_weight=w, **options)
    metric = kind(average=average, border=0.0)
    assert metric(y, t, w) == pytest.approx(expected, rel=1e-13)
    assert in_parts(metric, y, t, w) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_the_first_k_guesses(theirs: Any, k: int, seed: int) -> None:
    y, labels, w, _ = drawn(seed, 4)
    expected = theirs.top_k_accuracy_score(labels, y, k=k, sample_weight=w, labels=range(4))
    assert TopAccuracy(k)(y, labels, w) == pytest.approx(expected, rel=1e-13)
    assert in_parts(TopAccuracy(k), y, labels, w) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("seed", SEEDS)
def test_accuracies_and_confusions(theirs: Any, seed: int) -> None:
    y, labels, w, _ = drawn(seed, 4)
    said = y.argmax(axis=1)
    expected = theirs.accuracy_score(labels, said, sample_weight=w)
    assert accuracy(y, labels, w) == pytest.approx(expected, rel=1e-13)
    expected = theirs.confusion_matrix(labels, said, sample_weight=w, labels=range(4))
    np.testing.assert_allclose(confusion_matrix(y, labels, w), expected, rtol=1e-13)
    assert confusion_matrix(y, labels).dtype.kind == "i"
    yes = y[:, 0] > 0.5
    expected = theirs.accuracy_score(labels > 0, yes, sample_weight=w)
    found = binary_accuracy(y[:, :1], (labels > 0).astype(int), sample_weights=w)
    assert found == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_errors_of_numbers(theirs: Any, outputs: int, offset: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 12))
    t = rng.normal(size=(count, outputs)) + offset
    y = t + rng.normal(size=t.shape)
    w = rng.uniform(0.1, 1, size=count) if seed % 2 else None
    if seed % 5 == 0:
        t[:, 0] = 2.0  # a constant target
    if seed % 10 == 0:
        y[:, 0] = 2.0
    exactness = 1e-12 if not offset else 1e-8  # of differences of numbers near 1e6
    for metric, name in (
        (R2(), "r2_score"),
        (RootMeanSquaredError(), "root_mean_squared_error"),
    ):
        expected = getattr(theirs, name)(t, y, sample_weight=w)
        assert metric(y, t, w) == pytest.approx(expected, rel=exactness, abs=exactness)
        assert in_parts(metric, y, t, w) == pytest.approx(expected, rel=exactness, abs=exactness)


def test_the_columns_of_a_history_are_those_of_all_samples_with_their_weights(theirs: Any) -> None:
    rng = np.random.default_rng(0)
    x, labels, w = rng.normal(size=(50, 3)), rng.integers(0, 3, 50), rng.uniform(size=50)
    trainer = Trainer(
        Dense(3),
        losses.SoftmaxCrossEntropy(),
        optimizers.SGD(1e-300),  # the outputs stay as they are
        metrics=["accuracy", "precision", "recall", "f1", "top_2_accuracy"],
        rng=0,
    )
    data = {"sample_weights": w, "validation_data": (x, labels, w)}
    history = trainer.fit(x, labels, epochs=1, batch_size=7, **data)
    y = trainer.model(x)
    said, macro = y.argmax(axis=1), {"average": "macro"}
    expected = {
        "accuracy": theirs.accuracy_score(labels, said, sample_weight=w),
        "precision": theirs.precision_score(labels, said, sample_weight=w, **macro),
        "recall": theirs.recall_score(labels, said, sample_weight=w, **macro),
        "f1": theirs.f1_score(labels, said, sample_weight=w, **macro),
        "top_2_accuracy": theirs.top_k_accuracy_score(labels, y, k=2, sample_weight=w),
    }
    for name, figure in expected.items():
        assert history[name] == [pytest.approx(figure, rel=1e-13)]
        assert history[f"validation_{name}"] == [pytest.approx(figure, rel=1e-13)]
