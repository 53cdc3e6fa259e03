"""Training with a loss for each output: the same five lines, with tuples instead of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from attrs import define

from chainrule import (
    Activation,
    Concatenate,
    Dense,
    Ensemble,
    Graph,
    Input,
    Layer,
    Sequential,
    Softmax,
    Trainer,
    fitting,
    losses,
    optimizers,
)
from chainrule.callbacks import Callback
from chainrule.core.errors import (
    ChainruleError,
    ConfigurationError,
    DataError,
    DtypeError,
    NonFiniteError,
    ShapeError,
)

NUMBERS, CLASSES = losses.HalfSquaredError(), losses.SoftmaxCrossEntropy()
LOSSES = [NUMBERS, CLASSES]


def network(dtype: str | None = "float64") -> Graph:
    """One input, a shared layer, and two outputs: two numbers, and three classes."""
    x = Input((3,))
    h = Activation("tanh")(Dense(5)(x))
    model = Graph(x, [Dense(2)(h), Dense(3)(h)])
    if dtype is not None:
        model.build(rng=0, dtype=dtype)
    return model


def samples(count: int = 20, seed: int = 1) -> tuple[Any, tuple[Any, Any]]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3))
    return x, (rng.normal(size=(count, 2)), rng.integers(0, 3, count))


def trainer_of(model: Layer, loss: Any = None, **options: Any) -> Trainer:
    return Trainer(model, loss or LOSSES, optimizers.SGD(0.1), **{"rng": 0, **options})


# ------------------------------------------------------------------------------- the mathematics


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("is_weighted", [True, False])
def test_training_is_the_plain_loop_over_the_same_batches_bit_for_bit(
    dtype: str, is_weighted: bool
) -> None:
    x, (numbers, labels) = samples(20)
    x, numbers = x.astype(dtype), numbers.astype(dtype)
    weights = np.linspace(0, 2, 20).astype(dtype) if is_weighted else None
    plain, trained = network(dtype), network(dtype)
    rng, optimizer, lambdas, costs = np.random.default_rng(5), optimizers.Adam(0.01), (1.0, 0.5), []
    for _ in range(3):
        order = rng.permutation(20)
        for rows in (order[:8], order[8:16], order[16:]):
            w = None if weights is None else weights[rows]
            plain.parameters.zero_grad()
            y_1, y_2 = plain.forward(x[rows])
            cost_1, delta_1 = NUMBERS.value_and_delta(y_1, numbers[rows], w)
            cost_2, delta_2 = CLASSES.value_and_delta(y_2, labels[rows], w)
            plain.backward((lambdas[0] * delta_1, lambdas[1] * delta_2))
            optimizer.step(plain.parameters.value, plain.parameters.grad)
            total = lambdas[0] * cost_1 + lambdas[1] * cost_2
            costs.append([float(cost) * len(rows) for cost in (total, cost_1, cost_2)])

    trainer = Trainer(trained, LOSSES, optimizers.Adam(0.01), loss_weights=lambdas, rng=5)
    history = trainer.fit(x, (numbers, labels), epochs=3, batch_size=8, sample_weights=weights)

    np.testing.assert_array_equal(trained.parameters.value, plain.parameters.value)
    assert list(history) == ["loss", "dense_2_loss", "dense_3_loss"]
    for name, column in zip(history, np.array(costs).T, strict=True):
        assert history[name] == [sum(epoch.tolist()) / 20 for epoch in column.reshape(3, 3)]


def test_a_list_of_losses_and_their_sum_are_the_same() -> None:
    x, t = samples()
    ends = []
    for loss, options in [
        (LOSSES, {"loss_weights": [2, 0.5]}),
        (tuple(LOSSES), {"loss_weights": np.array([2, 0.5])}),
        (losses.PerOutput(LOSSES, weights=[2, 0.5]), {}),
        (losses.PerOutput(LOSSES), {"loss_weights": [2, 0.5]}),
    ]:
        model = network()
        trainer = trainer_of(model, loss, **options)
        trainer.fit(x, t, epochs=2)
        assert trainer.loss == losses.PerOutput(LOSSES, weights=[2.0, 0.5])
        ends.append(model.parameters.value)
    for end in ends:
        np.testing.assert_array_equal(end, ends[0])


def test_a_loss_that_is_set_later_may_be_a_list_too() -> None:
    trainer = trainer_of(network())
    trainer.loss = [CLASSES, NUMBERS]
    assert trainer.loss == losses.PerOutput([CLASSES, NUMBERS])
    x, (numbers, labels) = samples()
    trainer.loss = LOSSES
    assert trainer.fit(x, (numbers, labels), epochs=2).epochs == 2


def test_an_output_of_weight_zero_teaches_nothing_and_is_measured() -> None:
    x, (numbers, labels) = samples()
    model, before = network(), network().parameters.value
    node = Input((3,))
    alone = Graph(node, Dense(2)(Activation("tanh")(Dense(5)(node))))
    alone.build(rng=0)
    size = alone.parameters.size
    alone.parameters.value = before[:size]
    history = trainer_of(model, loss_weights=[1, 0]).fit(x, (numbers, labels), epochs=3)
    expected = trainer_of(alone, NUMBERS).fit(x, numbers, epochs=3)
    assert history["loss"] == history["dense_2_loss"] == expected["loss"]
    assert all(cost > 0 for cost in history["dense_3_loss"])
    after = np.concatenate([alone.parameters.value, before[size:]])
    np.testing.assert_array_equal(model.parameters.value, after)


def test_several_inputs_and_several_outputs_go_together() -> None:
    a, b = Input((2,)), Input((4,))
    h = Activation("tanh")(Dense(6)(Concatenate()(a, b)))
    model = Graph([a, b], [Dense(1)(h), Dense(2)(h)])
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2)), rng.normal(size=(60, 4))
    t = np.sin(x[0][:, :1]), np.tanh(x[1][:, :2])
    trainer = Trainer(model, [NUMBERS, losses.Huber()], optimizers.Adam(0.02), rng=0)
    history = trainer.fit(x, t, epochs=40, batch_size=10, validation_data=(x, t))
    assert history["loss"][-1] < 0.2 * history["loss"][0]
    assert trainer.evaluate(x, t)["loss"] == history["validation_loss"][-1]


@pytest.mark.parametrize("is_built", [True, False])
def test_fresh_batches_bring_a_tuple_of_targets(is_built: bool) -> None:
    def make_batch(rng: np.random.Generator) -> Any:
        x = rng.normal(size=(6, 3))
        return x, (x[:, :2], (x[:, 2] > 0).astype(int))

    ends = []
    for _ in range(2):
        model = network("float64" if is_built else None)
        history = trainer_of(model).fit(make_batch, epochs=3, steps_per_epoch=4)
        assert history.epochs == 3
        ends.append(model.parameters.value)
    np.testing.assert_array_equal(*ends)
    rng, by_hand = np.random.default_rng(0), network()
    if is_built:
        trainer = trainer_of(by_hand)
        for _ in range(12):
            trainer.step(*make_batch(rng))
        np.testing.assert_array_equal(by_hand.parameters.value, ends[0])


def test_a_step_takes_tuples_returns_the_weighted_sum_and_builds_what_is_not_built() -> None:
    x, t = samples()
    model = network(None)
    trainer = trainer_of(model, loss_weights=[1, 3])
    before = trainer.step(x, t)
    again = network(None)
    again.build(rng=np.random.default_rng(0).spawn(1)[0])
    assert before == float(losses.PerOutput(LOSSES, weights=[1, 3])(again.forward(x), t))
    assert trainer.step(x, t) < before


def test_targets_become_the_models_type_and_labels_stay_integers() -> None:
    seen = []

    @define
    class Watching(losses.HalfSquaredError):
        def value_and_delta(self, y: Any, target: Any, sample_weights: Any = None) -> Any:
            seen.append(target.dtype)
            return losses.HalfSquaredError.value_and_delta(self, y, target, sample_weights)

    @define
    class WatchingClasses(losses.SoftmaxCrossEntropy):
        def value_and_delta(self, y: Any, target: Any, sample_weights: Any = None) -> Any:
            seen.append(target.dtype)
            return losses.SoftmaxCrossEntropy.value_and_delta(self, y, target, sample_weights)

    x, (numbers, labels) = samples()
    trainer = trainer_of(network("float32"), [Watching(), WatchingClasses()])
    trainer.fit(x, (numbers.tolist(), labels.tolist()), epochs=1)
    assert seen == [np.dtype("float32"), labels.dtype]


# ------------------------------------------------------------------------------- measuring


def test_validation_and_evaluate_measure_each_output_on_all_samples_together() -> None:
    x, t = samples()
    xv, tv = samples(2500, seed=4)
    model = network()
    metrics = {"dense_3": ["accuracy"], 0: ["mean_absolute_error", largest_error]}
    trainer = trainer_of(model, loss_weights=[1, 0.5], metrics=metrics)
    history = trainer.fit(x, t, epochs=2, batch_size=8, validation_data=(xv, tv))
    names = [
        "loss",
        "dense_2_loss",
        "dense_3_loss",
        "dense_2_mean_absolute_error",
        "dense_2_largest_error",
        "dense_3_accuracy",
    ]
    assert list(history) == names + [f"validation_{name}" for name in names]
    y = model(xv)
    own = [float(loss(y_n, t_n)) for loss, y_n, t_n in zip(LOSSES, y, tv, strict=True)]
    expected = [
        own[0] + 0.5 * own[1],
        *own,
        np.abs(y[0] - tv[0]).mean(),
        np.abs(y[0] - tv[0]).max(),
        np.mean(y[1].argmax(axis=1) == tv[1]),
    ]
    last = [history[f"validation_{name}"][-1] for name in names]
    assert last == pytest.approx(expected, rel=1e-12)
    for batch_size in (1, 7, None):
        figures = trainer.evaluate(xv, tv, batch_size=batch_size)
        assert list(figures) == names
        assert list(figures.values()) == pytest.approx(expected, rel=1e-12)


def largest_error(y: Any, t: Any) -> Any:
    return np.abs(y - t).max()


def test_sample_weights_apply_to_the_losses_of_all_outputs() -> None:
    x, t = samples()
    weights = np.linspace(0, 2, 20)
    trainer = trainer_of(network())
    figures = trainer.evaluate(x, t, sample_weights=weights)
    y = trainer.model(x)
    own = [float(loss(y_n, t_n, weights)) for loss, y_n, t_n in zip(LOSSES, y, t, strict=True)]
    assert list(figures.values()) == pytest.approx([sum(own), *own], rel=1e-13)


def test_a_metric_of_an_output_is_resolved_with_the_loss_of_that_output() -> None:
    x, (_, labels) = samples()
    yes = (labels[:, np.newaxis] == [0, 1]).astype(float)
    model = network()
    trainer = trainer_of(
        model,
        [losses.SigmoidCrossEntropy(), CLASSES],
        metrics=[["binary_accuracy"], []],
    )
    figures = trainer.evaluate(x, (yes, labels))
    assert figures["dense_2_binary_accuracy"] == np.mean((model(x)[0] > 0) == (yes > 0.5))


def test_a_validation_loss_that_is_infinite_is_that_of_its_output_only() -> None:
    x = Input((1,))
    model = Graph(x, [Softmax()(Dense(2, initializer="ones")(x)), Dense(1)(x)])
    model.build(rng=0)
    model["dense_1"].weights.value = [[1.0, 0.0]]
    trainer = Trainer(model, [losses.NegativeLogLikelihood(), NUMBERS], optimizers.SGD(1e-9), rng=0)
    t = np.array([1]), np.array([[0.0]])
    history = trainer.fit([[1.0]], t, epochs=2, validation_data=([[1e4]], t))
    assert history["validation_loss"] == history["validation_softmax_1_loss"] == [np.inf] * 2
    assert np.all(np.isfinite(history["validation_dense_2_loss"]))


def test_one_output_keeps_the_columns_that_it_had() -> None:
    x, (numbers, _) = samples()
    model = Sequential([Dense(2)])
    trainer = trainer_of(model, NUMBERS, metrics=["mean_absolute_error"])
    history = trainer.fit(x, numbers, epochs=1, validation_data=(x, numbers))
    names = ["loss", "mean_absolute_error"]
    assert list(history) == names + [f"validation_{name}" for name in names]
    assert list(trainer.evaluate(x, numbers)) == names


def test_rows_of_one_target_may_be_in_a_tuple() -> None:
    x, (numbers, labels) = samples()
    trainer_of(Sequential([Dense(2)]), NUMBERS).fit(x, tuple(numbers), epochs=1)
    history = trainer_of(Sequential([Dense(3)]), CLASSES).fit(x, tuple(labels.tolist()), epochs=1)
    assert history.epochs == 1


def test_a_trainer_prints_the_losses_and_the_names_of_the_metrics_by_output() -> None:
    metrics = {"dense_3": ["accuracy", largest_error]}
    text = repr(trainer_of(network(), loss_weights=[1, 2], metrics=metrics))
    assert "weights=(1.0, 2.0)" in text
    assert "{'dense_3': ['accuracy', 'largest_error']}" in text
    assert " at 0x" not in text


# ------------------------------------------------------------------------------- errors

X, (NUM, LAB) = samples(60)
T = (NUM, LAB)


def spoilt(array: Any, *place: int, value: float = np.nan) -> Any:
    array = array.copy()
    array[place] = value
    return array


def making(batch: Any) -> Any:
    return lambda rng: batch


STEPS = {"steps_per_epoch": 2}

# What the trainer is given for a loss; what fit is given; the error; words of its message.
REFUSED: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any], type[ChainruleError], list[str]]] = {
    "one loss": (NUMBERS, (X, NUM), {}, ShapeError, ["several outputs", "[loss_1, loss_2]"]),
    "one loss for two targets": (NUMBERS, (X, T), {}, ShapeError, ["[loss_1, loss_2]"]),
    "three losses": ([NUMBERS] * 3, (X, (NUM, NUM, NUM)), {}, ShapeError,
                     ["2 outputs", "3 losses", "(batch, 2), (batch, 3)", "[loss_1, loss_2]"]),
    "one target": (LOSSES, (X, NUM), {}, ShapeError,
                   ["t is not one target", "one array of shape (60, 2)", "(t_1, t_2)"]),
    "a list of targets": (LOSSES, (X, [NUM, LAB]), {}, ShapeError,
                          ["a list of 2", "a tuple of", "(t_1, t_2)"]),
    "three targets": (LOSSES, (X, (NUM, LAB, LAB)), {}, ShapeError, ["a tuple of 3"]),
    "no targets": (LOSSES, (X,), {}, DataError, ["t[0] is missing"]),
    "half of the targets": (LOSSES, (X, (NUM, None)), {}, DataError, ["t[1] is missing"]),
    "targets in the other order": (LOSSES, (X, (LAB, NUM)), {}, ShapeError,
                                   ["t[0], HalfSquaredError", "(60, 2)", "(60,)"]),
    "NaN in the first": (LOSSES, (X, (spoilt(NUM, 7, 1), LAB)), {}, DataError,
                         ["t[0], row 7, column 1", "nan; the only one in 60 rows"]),
    "a label out of range": (LOSSES, (X, (NUM, spoilt(LAB, 9, value=3))), {}, DataError,
                             ["t[1], SoftmaxCrossEntropy, row 9", "from 0 to 2"]),
    "too few of the second": (LOSSES, (X, (NUM, LAB[:59])), {}, DataError,
                              ["x with 60 rows", "t[0] with 60 rows", "t[1] with 59 rows"]),
    "strings in the second": (LOSSES, (X, (NUM, ["a"] * 60)), {}, DtypeError, ["t[1] does not"]),
    "one target to validate": (LOSSES, (X, T), {"validation_data": (X, NUM)}, ShapeError,
                               ["validation t is not one target"]),
    "NaN to validate": (LOSSES, (X, T), {"validation_data": (X, (spoilt(NUM, 4, 0), LAB))},
                        DataError, ["validation t[0], row 4, column 0"]),
    "labels to validate": (LOSSES, (X, T),
                           {"validation_data": (X, (NUM, spoilt(LAB, 4, value=-1)))},
                           DataError, ["validation t[1], SoftmaxCrossEntropy, row 4"]),
    "a batch with one target": (LOSSES, (making((X, NUM)),), STEPS, ShapeError,
                                ["t of batch 1 is not one target"]),
    "a batch with NaN": (LOSSES, (making((X, (spoilt(NUM, 2, 1), LAB))),), STEPS, DataError,
                         ["t[0] of batch 1, row 2, column 1"]),
    "a batch with a bad label": (LOSSES, (making((X, (NUM, spoilt(LAB, 2, value=5)))),), STEPS,
                                 DataError, ["t[1] of batch 1, SoftmaxCrossEntropy, row 2"]),
    "infinite weights": (LOSSES, (X, T), {"sample_weights": spoilt(np.ones(60), 3, value=np.inf)},
                         DataError, ["sample_weights, row 3"]),
    "metrics of no output": (LOSSES, (X, T), {"metrics": {"dense_4": ["accuracy"]}},
                             ConfigurationError,
                             ["'dense_4'", "dense_2, dense_3, or a number from 0 to 1"]),
    "accuracy of numbers": (LOSSES, (X, (0 * NUM, LAB)), {"metrics": {0: ["accuracy"]}}, DataError,
                            ["one class per sample"]),
    "a metric twice": (LOSSES, (X, T), {"metrics": {1: ["accuracy"], "dense_3": ["accuracy"]}},
                       ConfigurationError, ["'accuracy'"]),
}  # fmt: skip


@pytest.mark.parametrize("is_built", [True, False], ids=["built", "not built"])
@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_learned_from_is_refused_and_nothing_is_changed(
    what: str, is_built: bool
) -> None:
    loss, given_to_fit, options, kind, words = REFUSED[what]
    options = dict(options)
    model = network("float64" if is_built else None)
    before = model.parameters.value.copy() if is_built else None
    trainer = trainer_of(model, loss, metrics=options.pop("metrics", ()))
    history, state = trainer.history, trainer.rng.bit_generator.state
    with pytest.raises(kind) as caught:
        trainer.fit(*given_to_fit, **options)
    for word in words:
        assert word in str(caught.value)
    assert model.is_built is is_built
    if is_built:
        np.testing.assert_array_equal(model.parameters.value, before)
    assert trainer.history is history
    assert trainer.rng.bit_generator.state == state
    assert trainer.rng.bit_generator.seed_seq.n_children_spawned == 0


@pytest.mark.parametrize(
    ("loss", "options", "words"),
    [
        (NUMBERS, {"loss_weights": [1.0, 2.0]}, "omit loss_weights"),
        (losses.PerOutput(LOSSES, [1, 2]), {"loss_weights": [1.0, 2.0]}, "already have weights"),
        (LOSSES, {"loss_weights": [1.0]}, "2 weights"),
        (LOSSES, {"loss_weights": [1.0, -1.0]}, "weights[1]"),
        (LOSSES, {"loss_weights": [1.0, np.nan]}, "weights[1]"),
        ([NUMBERS, "softmax_cross_entropy"], {}, "losses.SoftmaxCrossEntropy(…)"),
        ([NUMBERS, losses.Huber], {}, "losses.Huber(…)"),
        ([NUMBERS, 3], {}, "loss[1]"),
        (LOSSES, {"metrics": ["accuracy"]}, "metrics={0: ['accuracy']}"),
        (LOSSES, {"metrics": [["accuracy"]]}, "a list of 2 lists"),
        (LOSSES, {"metrics": "accuracy"}, "a dictionary of lists"),
        (LOSSES, {"metrics": {0: "accuracy"}}, "metrics[0]"),
        (LOSSES, {"metrics": {"dense_3": 3}}, "metrics['dense_3']"),
        (LOSSES, {"metrics": {1: ["acuracy"]}}, "did you mean 'accuracy'?"),
        (LOSSES, {"metrics": {2: ["accuracy"]}}, "a number from 0 to 1"),
        (LOSSES, {"metrics": {-1: ["accuracy"]}}, "a number from 0 to 1"),
        (LOSSES, {"metrics": {True: ["accuracy"]}}, "a number from 0 to 1"),
        (NUMBERS, {"metrics": {"dense_1": ["accuracy"]}}, "several outputs"),
    ],
)
def test_contradictory_arguments_are_refused_when_the_trainer_is_created(
    loss: Any, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        trainer_of(network(), loss, **options)
    assert words in str(caught.value)


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_several_losses_for_a_model_with_one_output_are_refused(method: str) -> None:
    x, (numbers, _) = samples()
    model = Sequential([Dense(2)])
    model.build((3,), rng=0)
    with pytest.raises(ShapeError, match="one output but there are 2 losses") as caught:
        getattr(trainer_of(model), method)(x, (numbers, numbers))
    assert "Trainer(model, loss, …)" in str(caught.value.hint)


def test_the_error_for_one_loss_and_two_outputs_says_how_to_pass_both() -> None:
    x, t = samples()
    with pytest.raises(ShapeError, match="the loss is for one") as caught:
        trainer_of(network(), NUMBERS).step(x, t)
    assert "PerOutput" in str(caught.value.hint)


def test_a_later_batch_with_other_targets_is_named_by_its_number() -> None:
    coming = iter([(X, T), (X, T), (X, (NUM, NUM))])
    with pytest.raises(ShapeError, match="batch 3") as caught:
        trainer_of(network()).fit(lambda rng: next(coming), steps_per_epoch=2)
    assert "received  (60, 2)" in str(caught.value) and "epoch 2, step 1" in str(caught.value)


def test_an_error_in_a_metric_names_its_output() -> None:
    def broken(y: Any, t: Any) -> Any:
        raise ZeroDivisionError

    x, t = samples()
    with pytest.raises(ZeroDivisionError) as caught:
        trainer_of(network(), metrics=[[], [broken]]).fit(x, t)
    assert caught.value.__notes__[0] == (
        "in the metric 'dense_3_broken', given y of shape (20, 3) and t of shape (20,)"
    )


# ------------------------------------------------------------------------------- not finite


@define
class Spoils(losses.HalfSquaredError):
    """A loss whose cost or delta is not finite."""

    cost: float = 1.0
    slope: float = 1.0

    def value_and_delta(self, y: Any, target: Any, sample_weights: Any = None) -> Any:
        cost, delta = losses.HalfSquaredError.value_and_delta(self, y, target, sample_weights)
        return cost * self.cost, delta * self.slope


@pytest.mark.parametrize(
    ("loss", "weights", "what"),
    [
        ([NUMBERS, Spoils(cost=np.nan)], None, "cost"),
        ([NUMBERS, Spoils(slope=np.inf)], None, "delta"),
        ([NUMBERS, NUMBERS], [1.0, 1e308], "cost"),
        ([Spoils(cost=np.nan), Spoils(cost=np.nan)], [0.0, 1.0], "cost"),
    ],
)
def test_the_guard_names_the_loss_and_the_output_where_something_is_not_finite(
    loss: Any, weights: Any, what: str
) -> None:
    model = network()
    before = model.parameters.value.copy()
    targets = 10 + NUM, 100 + NUM[:, [0, 1, 1]]
    with pytest.raises(NonFiniteError, match=f"the {what} is not finite") as caught:
        trainer_of(model, loss, loss_weights=weights).fit(X, targets)
    kind = type(loss[1]).__name__
    assert caught.value.place == f"y[1], {kind}, epoch 1, step 1"
    assert " of graph/dense_3 and targets of up to ±103" in str(caught.value.received)
    np.testing.assert_array_equal(model.parameters.value, before)


def test_the_guard_reports_if_only_the_sum_of_the_costs_is_not_finite() -> None:
    huge = Spoils(cost=1e306), Spoils(cost=1e306)
    with pytest.raises(NonFiniteError, match="their sum is not") as caught:
        trainer_of(network(), huge).fit(X, (10 + NUM, 10 + NUM[:, [0, 1, 1]]))
    assert caught.value.place == "PerOutput, epoch 1, step 1"
    assert "smaller weights" in str(caught.value.hint)


def test_an_error_from_the_loss_of_an_output_is_kept_and_located() -> None:
    x = Input((3,))
    model = Graph(x, [Dense(2)(x), Softmax()(Dense(3)(x))])
    model.build(rng=0)
    model["dense_2"].weights.value = 1e4 * model["dense_2"].weights.value
    loss = [NUMBERS, losses.NegativeLogLikelihood()]
    with pytest.raises(NonFiniteError, match="probability zero") as caught:
        trainer_of(model, loss).fit(X, T)
    assert caught.value.place == "y[1], NegativeLogLikelihood, epoch 1, step 1"
    assert "SoftmaxCrossEntropy" in str(caught.value.hint)


def test_the_layer_is_named_where_an_output_is_not_finite() -> None:
    @define
    class Infinite(Layer):
        def forward(self, x: Any) -> Any:
            return x + np.inf

        def backward(self, delta: Any) -> Any:
            return delta

    x = Input((3,))
    model = Graph(x, [Dense(2)(x), Infinite()(Dense(3)(x))])
    with pytest.raises(NonFiniteError) as caught:
        trainer_of(model).fit(X, T)
    assert caught.value.place == "graph/infinite_1, epoch 1, step 1"


def test_callbacks_receive_the_weighted_sum() -> None:
    class Keeps(Callback):
        def __init__(self) -> None:
            self.costs: list[float] = []

        def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
            self.costs.append(cost)

    keeps = Keeps()
    trainer = trainer_of(network(), loss_weights=[1, 5])
    history = trainer.fit(X, T, epochs=2, batch_size=60, callbacks=[keeps])
    assert keeps.costs == history["loss"]
    together = np.array(history["dense_2_loss"]) + 5 * np.array(history["dense_3_loss"])
    np.testing.assert_allclose(keeps.costs, together, rtol=1e-14)


def test_an_ensemble_says_how_to_repeat_loss_and_target():
    x = np.ones((5, 1))

    def fit(loss, t):
        ensemble = Ensemble(Sequential([Dense(1)]), 3)
        Trainer(ensemble, loss, optimizers.Adam()).fit(x, t, progress=False)

    one = losses.HalfSquaredError()
    for loss, t, hint in [
        (one, x, "[loss] * 3"),
        (one, (x,) * 3, "[loss] * 3"),
        ([one] * 3, x, "(t,) * 3"),
    ]:
        with pytest.raises(ShapeError) as caught:
            fit(loss, t)
        assert hint in caught.value.hint
    with pytest.raises(ShapeError) as caught:
        fitting.least_squares(Ensemble(Sequential([Dense(1)]), 3), x, x)
    assert "(t,) * 3" in caught.value.hint
