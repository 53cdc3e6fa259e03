"""Metrics: counted by hand, and looked up by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import Dense, Sequential, Trainer, losses, optimizers
from chainrule.core.errors import ConfigurationError, DataError, DtypeError, ShapeError
from chainrule.training.metrics import KNOWN, accuracy, binary_accuracy, computed, named

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
        trainer = Trainer(model, loss, optimizers.SGD(0.1), metrics=list(KNOWN))
        figures = trainer.evaluate(x, t)
        assert set(figures) == {"loss", *KNOWN}
        assert all(np.isnan(figure) for figure in figures.values()), figures


def test_binary_accuracy_takes_logits_where_the_loss_does() -> None:
    logits, target = np.array([[0.3], [-0.1]]), np.array([[1.0], [0.0]])
    for loss, right in ((losses.SigmoidCrossEntropy(), 1.0), (LOSS, 0.5)):
        assert computed(named(["binary_accuracy"], loss), logits, target) == {
            "binary_accuracy": right
        }


@pytest.mark.parametrize(
    ("function", "y", "target", "kind", "words"),
    [
        (accuracy, np.zeros((4, 1)), np.zeros(4, int), ShapeError, "binary_accuracy"),
        (accuracy, np.zeros((4, 3)), np.zeros(5, int), ShapeError, "(5,)"),
        (accuracy, np.zeros((4, 3)), np.zeros(4), DtypeError, "t.astype(int)"),
        (accuracy, np.zeros((2, 3)), np.array([[1, 1, 0], [0, 1, 0]]), DataError, "one class"),
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
