"""Metrics: counted by hand, and looked up by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import Dense, Sequential, Trainer, losses, optimizers
from chainrule.core.errors import ConfigurationError, DataError, DtypeError, ShapeError
from chainrule.training.metric import LossMetric
from chainrule.training.metrics import (
    F1,
    R2,
    Precision,
    Recall,
    RootMeanSquaredError,
    TopAccuracy,
    accuracy,
    binary_accuracy,
    computed,
    confusion_matrix,
    known,
    named,
)

LOSS = losses.HalfSquaredError()


@given(st.integers(1, 20), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_accuracy_counts_the_samples_whose_largest_output_is_at_the_right_class(
    count: int, classes: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    y, labels = rng.normal(size=(count, classes)), rng.integers(0, classes, count)
    right = sum(
        max(range(classes), key=row.__getitem__) == k for row, k in zip(y, labels, strict=True)
    )
    assert accuracy(y, labels) == right / count
    assert accuracy(y, np.eye(classes)[labels]) == right / count
    soft = 0.9 * np.eye(classes, dtype="float32")[labels] + 0.1 / classes
    assert accuracy(y.astype("float32"), soft) == right / count


def test_accuracy_of_images_counts_every_pixel() -> None:
    y = np.array([[[0.1, 0.9], [0.8, 0.2]], [[0.3, 0.7], [0.4, 0.6]]])
    assert accuracy(y, np.array([[1, 0], [0, 0]])) == 0.5


@pytest.mark.parametrize("count", [1, 7])
def test_binary_accuracy_counts_the_answers_on_the_right_side(count: int) -> None:
    probabilities = np.tile([[0.1, 0.6, 0.5]], (count, 1))
    target = np.tile([[0, 1, 1]], (count, 1))
    assert binary_accuracy(probabilities, target) == pytest.approx(2 / 3)  # ½ is not a yes
    logits = np.tile([[-2.0, 0.1, 3.0]], (count, 1))
    assert binary_accuracy(logits, target, border=0.0) == 1
    assert binary_accuracy(logits[:, :1], target[:, 0], border=0.0) == 1  # labels of one output


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_accuracy_of_nan_is_nan(dtype: str) -> None:
    y = np.array([[0.2, 0.8], [0.9, 0.1], [0.3, 0.7]], dtype)
    for place in [(0, 0), (1, 1), (2, 0)]:
        spoilt = y.copy()
        spoilt[place] = np.nan
        assert np.isnan(accuracy(spoilt, np.array([1, 0, 1])))
        assert np.isnan(accuracy(spoilt, np.eye(2)[[1, 0, 1]]))
        for border in (0.0, 0.5):
            assert np.isnan(binary_accuracy(spoilt, np.eye(2)[[1, 0, 1]], border))
            assert np.isnan(binary_accuracy(y, np.where(np.isnan(spoilt), np.nan, 1.0), border))
    infinite = np.array([[-np.inf, 0.0], [np.inf, 0.0]], dtype)
    assert accuracy(infinite, np.array([1, 0])) == 1


def test_every_metric_that_has_a_name_is_nan_for_a_network_that_returns_nan() -> None:
    model = Sequential([Dense(2)])
    model.build((3,), rng=0)
    model.parameters["dense_1.biases"].value[0] = np.nan
    x, t = np.ones((4, 3)), np.eye(2)[[0, 1, 0, 1]]
    for loss in (LOSS, losses.SoftmaxCrossEntropy(), losses.SigmoidCrossEntropy()):
        trainer = Trainer(model, loss, optimizers.SGD(0.1), metrics=list(known()))
        figures = trainer.evaluate(x, t)
        assert set(figures) == {"loss", *known()}
        assert all(np.isnan(figure) for figure in figures.values()), figures


def test_binary_accuracy_takes_logits_where_the_loss_does() -> None:
    logits, target = np.array([[0.3], [-0.1]]), np.array([[1.0], [0.0]])
    for loss, right in ((losses.SigmoidCrossEntropy(), 1.0), (LOSS, 0.5)):
        assert computed(named(["binary_accuracy"], loss), logits, target) == {
            "binary_accuracy": right
        }


# ------------------------------------------------------------------------------- counted by hand

SAID = np.array([0, 0, 1, 1, 1, 2, 2, 0])
TRUE = np.array([0, 1, 1, 1, 2, 2, 2, 2])
SCORES = np.eye(4)[SAID]  # of four classes, the last of which appears nowhere
# right 1, 2, 2; predicted 3, 3, 2; true 1, 3, 4


def test_precision_recall_and_f1_by_hand() -> None:
    for metric, of_classes in (
        (Precision, [1 / 3, 2 / 3, 1.0]),
        (Recall, [1.0, 2 / 3, 1 / 2]),
        (F1, [2 / 4, 4 / 6, 4 / 6]),
    ):
        assert metric()(SCORES, TRUE) == pytest.approx(np.mean(of_classes), rel=1e-15)
        weighted = np.dot(of_classes, [1, 3, 4]) / 8
        assert metric(average="weighted")(SCORES, TRUE) == pytest.approx(weighted, rel=1e-15)
        assert metric(average="micro")(SCORES, TRUE) == 5 / 8
    yes = np.array([0.9, 0.8, 0.4, 0.7, 0.1])
    target = np.array([1, 0, 1, 1, 0])
    assert Precision()(yes, target) == Recall()(yes, target) == F1()(yes, target) == 2 / 3
    assert Precision(border=0.75)(yes, target) == 1 / 2
    assert Recall(border=0.75)(yes, target) == 1 / 3
    assert F1(border=0.75)(yes, target) == 2 / 5


def test_a_class_that_is_never_predicted_has_the_precision_zero_division() -> None:
    y, target = np.array([0.1, 0.2]), np.array([0, 0])
    for metric in (Precision, Recall, F1):
        assert metric()(y, target) == 0.0
        assert metric(zero_division=1.0)(y, target) == 1.0


def test_a_weight_counts_as_often_as_it_says() -> None:
    weights = np.array([2, 1, 1, 3, 1, 1, 2, 1])
    repeated = np.repeat(np.arange(8), weights)
    metrics = [Precision(), Recall(), F1(), TopAccuracy(2), accuracy]
    for metric in metrics:
        expected = metric(SCORES[repeated], TRUE[repeated])
        assert metric(SCORES, TRUE, weights) == pytest.approx(expected, rel=1e-15)
    numbers, targets = np.sin(np.arange(8.0)), np.cos(np.arange(8.0))
    for number_metric in (R2(), RootMeanSquaredError(), LossMetric(losses.Huber(0.3))):
        expected = number_metric(numbers[repeated], targets[repeated])
        assert number_metric(numbers, targets, weights) == pytest.approx(expected, rel=1e-14)
    matrix = confusion_matrix(SCORES, TRUE, weights)
    np.testing.assert_array_equal(matrix, confusion_matrix(SCORES[repeated], TRUE[repeated]))


def test_a_confusion_matrix_has_a_row_for_each_true_class() -> None:
    expected = [[1, 0, 0, 0], [1, 2, 0, 0], [1, 1, 2, 0], [0, 0, 0, 0]]
    for y, target in ((SCORES, TRUE), (SCORES, np.eye(4)[TRUE]), (SCORES, TRUE.astype(np.uint8))):
        matrix = confusion_matrix(y, target)
        np.testing.assert_array_equal(matrix, expected)
        assert matrix.dtype.kind == "i"
    np.testing.assert_array_equal(confusion_matrix(SAID, TRUE), np.array(expected)[:3, :3])
    np.testing.assert_array_equal(confusion_matrix([0.2, 0.8, 0.9], [0, 0, 1]), [[1, 1], [0, 1]])
    logits = np.array([[-1.0], [0.1], [0.2]])
    np.testing.assert_array_equal(confusion_matrix(logits, [0, 0, 1], border=0.0), [[1, 1], [0, 1]])
    some = np.where(np.arange(8) < 4, -1, TRUE)
    matrix = confusion_matrix(SCORES, some, ignore=-1)
    np.testing.assert_array_equal(matrix, confusion_matrix(SCORES[4:], TRUE[4:]))
    assert matrix.dtype.kind == "i"


def test_the_true_class_is_among_the_first_k_guesses() -> None:
    y = np.array([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6]])
    for labels, shares in (
        ([0, 1, 2], (1, 1, 1)),
        ([1, 0, 1], (0, 2 / 3, 1)),
        ([1, 0, 0], (0, 1 / 3, 1)),
    ):
        for k, share in enumerate(shares, start=1):
            assert TopAccuracy(k)(y, np.array(labels)) == pytest.approx(share)


def test_r2_and_the_root_of_the_mean_square_by_hand() -> None:
    y, t = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 3.0]]), np.array([[2.0, 0], [2.0, 0], [5.0, 0]])
    # first output: rest 1 + 0 + 4, spread 1 + 1 + 4; second: a constant that is missed
    assert R2()(y, t) == pytest.approx(((1 - 5 / 6) + 0) / 2, rel=1e-15)
    roots = np.sqrt(5 / 3), np.sqrt(9 / 3)
    assert RootMeanSquaredError()(y, t) == pytest.approx(np.mean(roots), rel=1e-15)
    assert R2()(t[:, 1], t[:, 1]) == 1.0
    assert np.isnan(R2()(y[:1], t[:1]))


def test_r2_of_batches_does_not_cancel_far_from_zero() -> None:
    rng = np.random.default_rng(0)
    t = rng.normal(size=(1000, 1))
    y = t + rng.normal(size=t.shape) / 8
    far = np.round(t * 2**16) / 2**16 + 2.0**30, np.round(y * 2**16) / 2**16 + 2.0**30  # exact
    expected = R2()(far[1] - 2.0**30, far[0] - 2.0**30)
    metric, total = R2(), None
    for n in range(0, 1000, 10):
        sums = metric.sums(far[1][n : n + 10], far[0][n : n + 10], None)
        total = sums if total is None else metric.joined(total, sums)
    assert metric.figure(total) == pytest.approx(expected, rel=1e-6)


def test_the_metrics_of_an_epoch_are_not_averages_of_its_batches() -> None:
    trainer = Trainer(
        Dense(4),
        losses.SoftmaxCrossEntropy(),
        optimizers.SGD(1e-300),
        metrics=["f1", "precision", "top_2_accuracy", losses.SoftmaxCrossEntropy()],
        rng=0,
    )
    history = trainer.fit(SCORES, TRUE, epochs=2, batch_size=3)
    expected = trainer.evaluate(SCORES, TRUE)
    assert all(history[name][1] == pytest.approx(expected[name], rel=1e-14) for name in expected)


@pytest.mark.parametrize("name", [*known(), "top_3_accuracy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_metric_with_weights_of_one_is_the_one_without(name: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    for shape in ((20, 4), (5, 4, 4)):
        y = rng.normal(size=shape).astype(dtype)
        is_number = "error" in name or name == "r2"
        labels = rng.normal(size=shape).astype(dtype) if is_number else np.eye(4)[
            rng.integers(0, 4, shape[:-1])
        ]  # fmt: skip
        (metric,) = named([name], LOSS).values()
        plain = metric(y, labels)
        for ones in (np.ones(shape[0]), np.ones(shape[:2]), np.ones(shape[0], int)):
            if ones.shape == (20, 4) and not is_number and name != "binary_accuracy":
                continue  # one weight for each label, of which a row has only one
            assert metric(y, labels, ones) == pytest.approx(plain, rel=1e-6 if is_number else 1e-14)


def test_a_sample_without_weight_may_contain_anything() -> None:
    weights = np.array([1.0, 1.0, 0.0])
    y, t = np.array([[1.0], [3.0], [np.nan]]), np.array([[2.0], [1.0], [7.0]])
    for name in ("r2", "root_mean_squared_error", "mean_absolute_error", "binary_accuracy", "f1"):
        (metric,) = named([name], LOSS).values()
        target = (t > 1).astype(int) if name in ("binary_accuracy", "f1") else t
        assert metric(y, target, weights) == metric(y[:2], target[:2])
        assert np.isnan(metric(y, target))


@pytest.mark.parametrize("loss", [losses.SoftmaxCrossEntropy(ignore=-1)])
def test_labels_that_the_loss_ignores_do_not_count_in_metrics(loss: Any) -> None:
    y = np.concatenate([SCORES, np.eye(4)])
    labels = np.concatenate([TRUE, [-1, -1, -1, -1]])
    names = ["accuracy", "precision", "recall", "f1", "top_2_accuracy", loss]
    metrics = named(names, loss)
    found = computed(metrics, y, labels)
    assert found == pytest.approx(computed(metrics, y[:8], labels[:8]), rel=1e-15)
    weights = np.linspace(0.1, 1, 12)
    found = computed(metrics, y, labels, weights)
    assert found == pytest.approx(computed(metrics, y[:8], labels[:8], weights[:8]), rel=1e-14)
    yes = named(["binary_accuracy", "f1"], losses.SigmoidCrossEntropy(ignore=-1))
    logits, target = np.array([[2.0], [-1.0], [3.0]]), np.array([1, 1, -1])
    assert computed(yes, logits, target) == {"binary_accuracy": 0.5, "f1": pytest.approx(2 / 3)}


def test_independent_answers_are_read_as_such_where_the_loss_says_so() -> None:
    logits = np.array([[1.0, 2.0], [-1.0, 0.5]])
    target = np.array([[1, 1], [1, 0]])
    (f1,) = named(["f1"], losses.SigmoidCrossEntropy()).values()
    assert f1(logits, target) == pytest.approx((2 / 3 + 2 / 3) / 2)
    (precision,) = named([Precision(average="micro")], losses.SigmoidCrossEntropy()).values()
    assert precision(logits, target) == 2 / 3


# ------------------------------------------------------------------------------- functions


def test_a_function_with_a_third_parameter_receives_the_weights() -> None:
    seen = []

    def weighted(y: Any, t: Any, sample_weights: Any = None) -> Any:
        seen.append(sample_weights)
        return np.average(np.abs(y - t)[:, 0], weights=sample_weights)

    x, t, w = np.arange(10.0)[:, None], np.ones((10, 1)), np.arange(10.0)
    trainer = Trainer(
        Dense(1), LOSS, optimizers.SGD(1e-300), metrics=[weighted, "mean_absolute_error"], rng=0
    )
    history = trainer.fit(x, t, epochs=1, batch_size=3, sample_weights=w)
    assert history["weighted"][0] == pytest.approx(history["mean_absolute_error"][0], rel=1e-14)
    assert trainer.evaluate(x, t)["weighted"] >= 0 and seen[-1] is None


def test_a_function_receives_labels_that_can_be_subtracted_from() -> None:
    def least(y: Any, t: Any) -> Any:
        return (t - 1).min()

    labels = np.array([0, 1, 1, 0], np.uint8)
    trainer = Trainer(
        Dense(2), losses.SoftmaxCrossEntropy(), optimizers.SGD(0.1), metrics=[least], rng=0
    )
    data = {"validation_data": (np.ones((4, 2)), labels)}
    history = trainer.fit(np.ones((4, 2)), labels, epochs=1, **data)
    assert history["least"] == history["validation_least"] == [-1.0]
    assert trainer.evaluate(np.ones((4, 2)), labels)["least"] == -1.0


@pytest.mark.parametrize("name", ["accuracy", "f1", "mean_squared_error", "r2"])
def test_a_weighted_mean_refuses_negative_weights(name: str) -> None:
    (metric,) = named([name], LOSS).values()
    y = np.eye(2)
    target = y if name in ("mean_squared_error", "r2") else np.array([0, 1])
    with pytest.raises(DataError, match="a weight is negative"):
        metric(y, target, np.array([1.0, -1.0]))
    loss = losses.HalfSquaredError() if target is y else losses.SoftmaxCrossEntropy()
    trainer = Trainer(Dense(2), loss, optimizers.SGD(0.1), metrics=[name], rng=0)
    with pytest.raises(DataError, match="leave out the metric"):
        trainer.fit(y, target, epochs=1, sample_weights=[1.0, -1.0])
    assert not trainer.model.is_built
    trainer.metrics = []
    trainer.fit(y, target, epochs=1, sample_weights=[1.0, -1.0])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Precision(average="mean"), "average='mean'"),
        (lambda: Recall(zero_division=2.0), "zero_division=2.0"),
        (lambda: F1(zero_division="warn"), "'warn'"),
        (lambda: TopAccuracy(0), "k=0"),
        (lambda: TopAccuracy(2.5), "k=2.5"),
        (lambda: Precision(average="binary")(SCORES, TRUE), "two classes"),
    ],
)
def test_an_invalid_option_of_a_metric_is_refused(make: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("function", "y", "target", "kind", "words"),
    [
        (accuracy, np.zeros((4, 1)), np.zeros(4, int), ShapeError, "binary_accuracy"),
        (accuracy, np.zeros((4, 3)), np.zeros(5, int), ShapeError, "(5,)"),
        (accuracy, np.zeros((4, 3)), np.zeros(4), DtypeError, "t.astype(int)"),
        (accuracy, np.zeros((2, 3)), np.array([[1, 1, 0], [0, 1, 0]]), DataError, "one class"),
        (accuracy, np.zeros((4, 3)), np.array([0, 1, 2, 3]), DataError, "from 0 to 2"),
        (accuracy, np.zeros((4, 3)), np.array([0, 1, 2, -1]), DataError, "ignore=-1"),
        (accuracy, np.zeros((4, 3)), np.array([1, 3, 2, 1]), DataError, "target - 1"),
        (confusion_matrix, np.array([0, 1, 2]), np.array([0, 1]), ShapeError, "(2,)"),
        (confusion_matrix, np.array([[0.5, np.nan]]), np.array([0]), DataError, "NaN"),
        (F1(), np.zeros((4, 3)), np.zeros(4), DtypeError, "t.astype(int)"),
        (F1(), np.zeros((4, 3)), np.zeros((4, 2)), ShapeError, "(4, 2)"),
        (R2(), np.zeros((4, 3)), np.zeros((4, 2)), ShapeError, "(4, 2)"),
        (binary_accuracy, np.zeros((4, 3)), np.zeros((4, 2)), ShapeError, "(4, 2)"),
        (binary_accuracy, np.zeros((4, 1)), np.zeros(4), ShapeError, "(4,)"),
    ],
)
def test_targets_that_cannot_be_compared_are_refused(
    function: Any, y: Any, target: Any, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind) as caught:
        function(y, target)
    assert words in str(caught.value)


def test_metrics_are_names_losses_and_functions_and_keep_their_order() -> None:
    class Largest:
        def __call__(self, y: Any, t: Any) -> Any:
            return y.max()

    def smallest(y: Any, t: Any) -> Any:
        return y.min()

    y, t = np.array([[1.0, -4.0]]), np.zeros((1, 2))
    metrics = named(
        (m for m in ["mean_squared_error", losses.MeanAbsoluteError(), smallest, Largest()]), LOSS
    )
    assert list(computed(metrics, y, t).items()) == [
        ("mean_squared_error", 8.5),
        ("mean_absolute_error", 2.5),
        ("smallest", -4.0),
        ("largest", 1.0),
    ]


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        (["acuracy"], "did you mean 'accuracy'?"),
        (["Mean_Squared_Eror"], "did you mean 'mean_squared_error'?"),
        (["qqqq"], "no metric 'qqqq'"),
        (["top5"], "did you mean 'top_5_accuracy'?"),
        (["f1_score"], "did you mean 'f1'?"),
        (["rmse"], "did you mean 'root_mean_squared_error'?"),
        (["mae"], "did you mean 'mean_absolute_error'?"),
        (["top_k_accuracy"], "did you mean 'top_5_accuracy'?"),
        (["R2"], "did you mean 'r2'?"),
        ([F1], "F1()"),
        ([F1(), "f1"], "'f1'"),
        ("accuracy", "metrics=['accuracy']"),
        (3, "metrics must be a list"),
        ([3], "not a metric"),
        ([losses.Huber], "Huber()"),
        ([lambda y, t: 0], "def my_metric"),
        (["accuracy", "accuracy"], "'accuracy'"),
    ],
)
def test_an_invalid_metric_is_refused_when_the_trainer_is_created(metrics: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Trainer(Dense(1), LOSS, optimizers.SGD(0.1), metrics=metrics)
    assert words in str(caught.value)


def test_a_metric_cannot_be_called_loss() -> None:
    def loss(y: Any, t: Any) -> Any:
        return 0

    with pytest.raises(ConfigurationError, match="'loss'"):
        named([loss], LOSS)


@pytest.mark.parametrize("result", [np.zeros(3), "much", None])
def test_a_metric_that_returns_no_number_is_named(result: Any) -> None:
    def strange(y: Any, t: Any) -> Any:
        return result

    trainer = Trainer(Sequential([Dense(1)]), LOSS, optimizers.SGD(0.1), metrics=[strange], rng=0)
    with pytest.raises(ConfigurationError, match="'strange' does not return a number") as caught:
        trainer.fit(np.ones((4, 2)), np.ones((4, 1)))
    assert caught.value.place == "epoch 1, step 1"


def test_an_error_in_a_metric_names_the_metric_and_its_arguments() -> None:
    def broken(y: Any, t: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        computed(named([broken], LOSS), np.zeros((2, 1)), np.zeros(2))
    assert caught.value.__notes__ == [
        "in the metric 'broken', given y of shape (2, 1) and t of shape (2,)"
    ]
