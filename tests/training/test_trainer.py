"""The trainer: the same numbers as the plain loop and the lecture's, in a documented order."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
import weakref
from typing import Any

import numpy as np
import pytest
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import (
    Activation,
    Dense,
    Graph,
    Input,
    Layer,
    Sequential,
    Trainer,
    callbacks,
    lecture,
    losses,
    optimizers,
)
from chainrule.callbacks import Callback
from chainrule.core.errors import BuildError, ConfigurationError, DataError, DtypeError


def network(dtype: str | None = "float64", rng: int = 0) -> Sequential:
    """A small network; not built if no type is given."""
    model = Sequential([Dense(5, bias_initializer="normal"), Activation("sigmoid"), Dense(2)])
    if dtype is not None:
        model.build((3,), rng=rng, dtype=dtype)
    return model


def samples(count: int, seed: int = 1) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 3)), rng.normal(size=(count, 2))


def trainer_of(model: Layer, **options: Any) -> Trainer:
    return Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.1), **{"rng": 0, **options})


@define
class Recorder(Layer):
    """Passes its input on, and keeps a copy of every training batch."""

    def build(self, shape: Any) -> None:
        self.seen: list[Any] = []

    def forward(self, x: Any) -> Any:
        if len(x):  # not the empty batch of building
            self.seen.append(x.copy())
        return x + 0

    def backward(self, delta: Any) -> Any:
        return delta

    def apply(self, x: Any) -> Any:
        return x + 0


@define
class CostKeeper(Callback):
    """Keeps the costs passed to it at the end of every step."""

    def __attrs_post_init__(self) -> None:
        self.costs: list[tuple[int, int, float]] = []

    def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
        self.costs.append((epoch, step, cost))


# ------------------------------------------------------------------------------- the mathematics


@given(st.integers(1, 23), st.integers(1, 25), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_training_is_the_lectures_on_batches_in_the_documented_order(
    count: int, batch_size: int, shuffle: bool, seed: int
) -> None:
    x, t = samples(count, seed)
    model = network(rng=seed)
    parameters = [p.value.copy() for p in model.parameters]
    weights, biases = parameters[::2], parameters[1::2]
    f_df = [lecture.net_f_df, lambda z: (z, np.ones_like(z))]
    epochs, rng, costs = 4, np.random.default_rng(seed), []
    for _ in range(epochs):
        order = rng.permutation(count) if shuffle else np.arange(count)
        rows = [order[start : start + batch_size] for start in range(0, count, batch_size)]
        steps = [lecture.train_net(x[r], t[r], 0.1, weights, biases, f_df) for r in rows]
        costs.append(sum(c * len(r) for c, r in zip(steps, rows, strict=True)) / count)

    history = trainer_of(model, rng=seed).fit(
        x, t, epochs=epochs, batch_size=batch_size, shuffle=shuffle
    )

    np.testing.assert_allclose(history["loss"], costs, rtol=1e-12)
    lectures = [p for pair in zip(weights, biases, strict=True) for p in pair]
    for ours, theirs in zip(model.parameters, lectures, strict=True):
        np.testing.assert_allclose(ours.value, theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", [optimizers.SGD(0.1, momentum=0.9), optimizers.Adam(0.01)])
def test_a_step_is_the_five_plain_lines_bit_for_bit(dtype: str, optimizer: Any) -> None:
    x, t = (array.astype(dtype) for array in samples(8))
    loss, plain, trained = losses.HalfSquaredError(), network(dtype), network(dtype)
    optimizer.reset()
    trainer = Trainer(trained, loss, optimizer)
    costs = [trainer.step(x, t) for _ in range(20)]
    optimizer.reset()
    for cost in costs:
        plain.parameters.zero_grad()
        y = plain.forward(x)
        value, delta = loss.value_and_delta(y, t)
        plain.backward_parameters(delta)
        optimizer.step(plain.parameters.value, plain.parameters.grad)
        assert cost == float(value)
    np.testing.assert_array_equal(trained.parameters.value, plain.parameters.value)


def test_sample_weights_go_with_their_samples_into_the_cost() -> None:
    x, t = samples(10)
    weights = np.arange(10.0)
    plain, trained = network(), network()
    loss, optimizer = losses.HalfSquaredError(), optimizers.SGD(0.1)
    rng = np.random.default_rng(3)
    for _ in range(3):
        order = rng.permutation(10)
        for rows in (order[:4], order[4:8], order[8:]):
            plain.parameters.zero_grad()
            _, delta = loss.value_and_delta(plain.forward(x[rows]), t[rows], weights[rows])
            plain.backward_parameters(delta)
            optimizer.step(plain.parameters.value, plain.parameters.grad)
    trainer_of(trained, rng=3).fit(x, t, epochs=3, batch_size=4, sample_weights=weights)
    np.testing.assert_array_equal(trained.parameters.value, plain.parameters.value)


def test_the_loss_of_an_epoch_is_the_average_of_its_costs_weighted_by_the_batches_sizes() -> None:
    x, t = samples(7)
    keeper = CostKeeper()
    history = trainer_of(network()).fit(x, t, epochs=2, batch_size=3, callbacks=[keeper])
    (a, b, c), (d, e, f) = ([cost for n, _, cost in keeper.costs if n == epoch] for epoch in (1, 2))
    assert history["loss"] == pytest.approx([(3 * a + 3 * b + c) / 7, (3 * d + 3 * e + f) / 7])


def test_the_parameters_that_are_trained_are_the_models_wherever_they_are_moved() -> None:
    class Moves(Callback):
        def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
            if (epoch, step) == (1, 2):  # a vector over more than the model moves its parameters
                Sequential([trainer.model, Dense(1)]).build((3,), rng=0)

    x, t = samples(12)
    moved, alone = network(), network()
    trainer_of(moved).fit(x, t, epochs=3, batch_size=4, callbacks=[Moves()])
    trainer_of(alone).fit(x, t, epochs=3, batch_size=4)
    np.testing.assert_array_equal(moved.parameters.value, alone.parameters.value)


def test_a_model_with_several_inputs_takes_a_tuple_of_arrays() -> None:
    @define
    class Product(Layer):
        def build(self, left: Any, right: Any) -> None:
            self.parameter("scale", left, "ones")

        def forward(self, left: Any, right: Any) -> Any:
            self.pair = left, right
            return left * right * self.scale.value

        def backward(self, delta: Any) -> Any:
            left, right = self.pair
            self.scale.accumulate((delta * left * right).sum(axis=0))
            return delta * right * self.scale.value, delta * left * self.scale.value

    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, 40, 2))
    model = Product()
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.5), rng=0)
    t = 3 * left * right
    trainer.fit((left, right), t, epochs=60, batch_size=8, validation_data=((left, right), t))
    np.testing.assert_allclose(model.scale.value, 3, rtol=1e-6)
    assert trainer.evaluate((left, right), t)["loss"] < 1e-9


# ------------------------------------------------------------------------------- randomness


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_seed_repeats_a_run_bit_for_bit(dtype: str) -> None:
    def run() -> tuple[Any, Any]:
        x, t = (array.astype(dtype) for array in samples(30))
        model = network(None)
        trainer = Trainer(model, losses.Huber(), optimizers.Adam(0.01), rng=7)
        history = trainer.fit(x, t, epochs=3, batch_size=8, validation_data=(x[:5], t[:5]))
        trainer.fit(lambda rng: (rng.normal(size=(4, 3)), t[:4]), epochs=2, steps_per_epoch=3)
        return model.parameters.value, history.to_dict()

    (one, its_history), (two, other_history) = run(), run()
    assert one.dtype == dtype
    np.testing.assert_array_equal(one, two)
    assert its_history == other_history


def test_other_seeds_give_other_runs() -> None:
    x, t = samples(30)
    runs = [trainer_of(network(), rng=seed).fit(x, t, epochs=1, batch_size=4) for seed in (0, 1)]
    assert runs[0]["loss"] != runs[1]["loss"]


def test_an_unbuilt_model_is_built_by_a_generator_spawned_from_the_trainers() -> None:
    x, t = samples(6)
    model, by_hand = network(None), network(None)
    by_hand.build((3,), rng=np.random.default_rng(5).spawn(1)[0])
    trainer_of(model, rng=5).fit(x, t, epochs=2, batch_size=4)
    trainer_of(by_hand, rng=5).fit(x, t, epochs=2, batch_size=4)
    np.testing.assert_array_equal(model.parameters.value, by_hand.parameters.value)


@pytest.mark.parametrize(
    ("given", "built_for"),
    [("float32", "float32"), ("float64", "float64"), ("int64", "float64"), ("float16", "float64")],
)
def test_an_unbuilt_model_is_built_for_the_type_of_the_data(given: str, built_for: str) -> None:
    x, t = samples(6)
    model = network(None)
    trainer_of(model).fit(x.astype(given), t, epochs=1)
    assert (model.dtype, model.input_shape) == (built_for, (3,))


@given(st.integers(1, 40), st.integers(1, 45), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_every_epoch_visits_every_row_once(count: int, batch_size: int, seed: int) -> None:
    recorder = Recorder()
    rows = np.arange(count)[:, np.newaxis]
    epochs = 3
    trainer_of(Sequential([recorder, Dense(1, initializer="zeros")]), rng=seed).fit(
        rows, 0 * rows, epochs=epochs, batch_size=batch_size
    )
    steps = -(-count // batch_size)
    assert len(recorder.seen) == epochs * steps
    for epoch in range(epochs):
        batches = recorder.seen[epoch * steps : (epoch + 1) * steps]
        assert {len(batch) for batch in batches[:-1]} <= {batch_size}
        assert sorted(np.concatenate(batches).ravel()) == list(range(count))


def test_each_epoch_has_a_new_order_and_without_shuffling_that_of_the_data() -> None:
    rows = np.arange(50)[:, np.newaxis]
    orders = {}
    for shuffle in (True, False):
        recorder = Recorder()
        trainer_of(Sequential([recorder, Dense(1, initializer="zeros")])).fit(
            rows, 0 * rows, epochs=2, batch_size=50, shuffle=shuffle
        )
        orders[shuffle] = [batch.ravel() for batch in recorder.seen]
    assert not np.array_equal(*orders[True])
    for order in orders[False]:
        np.testing.assert_array_equal(order, rows.ravel())


def test_a_second_fit_continues_where_the_first_ended() -> None:
    x, t = samples(20)
    parts, whole = network(), network()
    trainer = Trainer(parts, losses.HalfSquaredError(), optimizers.Adam(0.01), rng=2)
    first = trainer.fit(x, t, epochs=3, batch_size=8)
    second = trainer.fit(x, t, epochs=2, batch_size=8)
    undivided = Trainer(whole, losses.HalfSquaredError(), optimizers.Adam(0.01), rng=2).fit(
        x, t, epochs=5, batch_size=8
    )
    np.testing.assert_array_equal(parts.parameters.value, whole.parameters.value)
    assert first["loss"] + second["loss"] == undivided["loss"]


def test_fresh_batches_are_made_one_for_each_step_from_the_trainers_generator() -> None:
    made: list[Any] = []

    def make_batch(rng: np.random.Generator) -> tuple[Any, Any]:
        made.append(rng.normal(size=(4, 3)))
        return made[-1], made[-1][:, :2]

    recorder = Recorder()
    history = trainer_of(Sequential([recorder, Dense(2)]), rng=9).fit(
        make_batch, epochs=3, steps_per_epoch=5
    )
    assert len(made) == 15 and history.epochs == 3
    rng = np.random.default_rng(9)
    for one, other in zip(made, recorder.seen, strict=True):
        np.testing.assert_array_equal(one, rng.normal(size=(4, 3)))
        np.testing.assert_array_equal(one, other)


# ------------------------------------------------------------------------------- the data


def test_data_become_the_models_type_once_and_the_callers_arrays_stay_as_they_were() -> None:
    recorder = Recorder()
    model = Sequential([recorder, Dense(2)])
    model.build((3,), rng=0, dtype="float32")
    x, t = np.arange(30).reshape(10, 3), np.arange(20).reshape(10, 2)
    kept = x.copy(), t.copy()
    trainer_of(model).fit(x / 30, t / 20, epochs=1)
    trainer_of(model).fit(x, t, epochs=1, shuffle=False, validation_data=(x, t))
    assert {batch.dtype for batch in recorder.seen} == {np.dtype("float32")}
    assert (x.dtype, t.dtype) == (kept[0].dtype, kept[1].dtype)
    np.testing.assert_array_equal(x, kept[0])
    np.testing.assert_array_equal(t, kept[1])


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_labels_stay_integers_and_other_targets_become_the_models_type(dtype: str) -> None:
    seen = []

    @define
    class Watching(losses.SoftmaxCrossEntropy):
        def value_and_delta(self, y: Any, target: Any, sample_weights: Any = None) -> Any:
            seen.append(target.dtype)
            return losses.SoftmaxCrossEntropy.value_and_delta(self, y, target, sample_weights)

    x, _ = samples(10)
    labels = (x[:, 0] > 0).astype(dtype)
    model = network("float32")
    for target in (labels, np.eye(2, dtype=dtype)[labels.astype(int)]):
        Trainer(model, Watching(), optimizers.SGD(0.1), rng=0).fit(x, target, epochs=1)
    assert seen == [np.dtype(dtype), np.dtype("float32")]


def test_what_numpy_takes_for_an_array_will_do() -> None:
    class Frame:
        """A table of another library."""

        def __init__(self, values: Any) -> None:
            self.values = values

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return np.array(self.values, dtype)

    x, t = samples(9)
    fits = {
        "arrays": (x, t),
        "lists": (x.tolist(), t.tolist()),
        "frames": (Frame(x), Frame(t)),
        "transposed": (np.asfortranarray(x), t[::-1][::-1]),
    }
    ends = {}
    for name, pair in fits.items():
        model = network()
        trainer_of(model).fit(*pair, epochs=2, batch_size=4)
        ends[name] = model.parameters.value
    for end in ends.values():
        np.testing.assert_array_equal(end, ends["arrays"])


def test_no_second_copy_of_the_callers_list_is_kept_while_training() -> None:
    class Array(np.ndarray):
        """An array that can be watched."""

    watched: list[Any] = []

    class Source:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            made = samples(5)[0].view(Array)
            watched.append(weakref.ref(made))
            return made

    class Looks(Callback):
        def on_fit_begin(self, trainer: Any) -> None:
            gc.collect()
            self.alive = [reference() for reference in watched]

    looks = Looks()
    model = network("float32")
    trainer_of(model).fit(Source(), samples(5)[1], epochs=1, callbacks=[looks])
    assert looks.alive == [None]


# ------------------------------------------------------------------------------- measuring


def largest_error(y: Any, t: Any) -> Any:
    return np.abs(y - t).max()


def test_validation_is_measured_at_the_end_of_the_epoch_on_all_samples_together() -> None:
    x, t = samples(20)
    xv, tv = samples(2500, seed=4)  # more than are evaluated at once
    model = network()
    history = trainer_of(model, metrics=[largest_error, "mean_absolute_error"]).fit(
        x, t, epochs=3, batch_size=8, validation_data=(xv, tv)
    )
    names = ["loss", "largest_error", "mean_absolute_error"]
    assert list(history) == names + [f"validation_{name}" for name in names]
    assert {len(values) for values in history.values()} == {3}
    y = model(xv)
    assert history["validation_loss"][-1] == pytest.approx(np.sum((y - tv) ** 2) / 2 / 2500)
    assert history["validation_largest_error"][-1] == np.abs(y - tv).max()
    assert history["validation_mean_absolute_error"][-1] == pytest.approx(np.abs(y - tv).mean())


def test_validation_leaves_no_trace_in_the_memory_of_the_model() -> None:
    class GoesBack(Callback):
        def on_epoch_end(self, trainer: Any, epoch: int, figures: Any) -> None:
            trainer.model.parameters.zero_grad()
            trainer.model.backward(np.ones((4, 2)))  # of the last batch, which has four rows
            self.gradient = trainer.model.parameters.grad.copy()

    x, t = samples(4)
    gradients = []
    for options in ({}, {"validation_data": samples(9)}):
        goes_back = GoesBack()
        trainer_of(network()).fit(x, t, epochs=2, shuffle=False, callbacks=[goes_back], **options)
        gradients.append(goes_back.gradient)
    np.testing.assert_array_equal(*gradients)


def test_validation_changes_nothing_in_what_is_learned() -> None:
    x, t = samples(12)
    with_it, without = network(), network()
    trainer_of(with_it).fit(x, t, epochs=3, batch_size=5, validation_data=samples(7))
    trainer_of(without).fit(x, t, epochs=3, batch_size=5)
    np.testing.assert_array_equal(with_it.parameters.value, without.parameters.value)


def test_a_validation_loss_that_is_infinite_stops_nothing() -> None:
    model = Sequential([Dense(2, initializer="ones", use_bias=False), Activation("identity")])
    model.build((1,), rng=0)
    loss = losses.HalfSquaredError()
    history = Trainer(model, loss, optimizers.SGD(1e-9), rng=0).fit(
        [[1.0]], [[1.0, 1.0]], epochs=3, validation_data=([[1e200]], [[0.0, 0.0]])
    )
    assert history["validation_loss"] == [np.inf] * 3
    assert np.all(np.isfinite(history["loss"]))


def test_evaluate_measures_the_model_as_it_is_in_batches_of_any_size() -> None:
    x, t = samples(50)
    model = network()
    before = model.parameters.value.copy()
    trainer = trainer_of(model, metrics=[largest_error])
    weights = np.linspace(0, 2, 50)
    y = model(x)
    expected = {
        "loss": np.sum(weights[:, np.newaxis] * (y - t) ** 2) / 2 / 50,
        "largest_error": np.abs(y - t).max(),
    }
    for batch_size in (1, 7, 50, 1000, None):
        figures = trainer.evaluate(x, t, sample_weights=weights, batch_size=batch_size)
        assert figures == pytest.approx(expected, rel=1e-12)
    np.testing.assert_array_equal(model.parameters.value, before)
    assert trainer.history.epochs == 0


def test_evaluate_of_an_unbuilt_model_is_a_named_error() -> None:
    with pytest.raises(BuildError, match="not built"):
        trainer_of(network(None)).evaluate(*samples(3))


def test_metrics_of_an_epoch_are_averages_over_its_samples() -> None:
    def first_target(y: Any, t: Any) -> Any:
        return t[:, 0].mean()

    x, t = samples(11)
    history = trainer_of(network(), metrics=[first_target]).fit(x, t, epochs=2, batch_size=4)
    assert history["first_target"] == pytest.approx([t[:, 0].mean()] * 2)


# ------------------------------------------------------------------------------- the trainer itself


def test_without_a_terminal_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    trainer_of(network()).fit(*samples(10), epochs=3, progress=True)
    assert capfd.readouterr() == ("", "")


def test_training_imports_neither_rich_nor_matplotlib_if_nothing_is_shown() -> None:
    program = """
import sys
from chainrule import Dense, Sequential, Trainer, losses, optimizers
trainer = Trainer(Sequential([Dense(1)]), losses.HalfSquaredError(), optimizers.SGD(0.1))
print(repr(trainer.fit([[1.0]], [[2.0]], epochs=2)))
print([name for name in ("rich", "matplotlib", "safetensors") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "[]"


def test_it_prints_what_it_is_made_of() -> None:
    text = repr(trainer_of(Dense(2), metrics=["accuracy", largest_error]))
    assert "Dense(2)" in text and "SGD(learning_rate=0.1" in text and "'accuracy'" in text
    assert " at 0x" not in text


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_converts_what_fit_converts(dtype: str) -> None:
    x, t = np.arange(12).reshape(4, 3), np.arange(8).reshape(4, 2)
    weights = [1, 0, 2, 3]
    plain = trainer_of(network(dtype))
    cost = plain.step(x.astype(dtype), t.astype(dtype), np.array(weights, dtype))
    for batch in (
        (x, t, weights),
        (x.tolist(), t.tolist(), tuple(weights)),
        (x.astype("float64"), t.astype("uint8"), np.array(weights, bool) * np.int8(1) * weights),
        (x.astype(">f4"), t, np.array(weights, "float16")),
    ):
        other = trainer_of(network(dtype))
        assert other.step(*batch) == cost
        np.testing.assert_array_equal(other.model.parameters.value, plain.model.parameters.value)


@pytest.mark.parametrize(
    ("x", "t", "kind"),
    [
        (["a", "b"], [0, 1], DtypeError),
        (np.full((4, 3), np.nan).tolist(), np.zeros((4, 2)), DataError),
        (np.zeros((4, 3), int), np.zeros((5, 2)), DataError),
    ],
)
def test_a_step_checks_what_it_converts(x: Any, t: Any, kind: type[Exception]) -> None:
    trainer = trainer_of(network())
    before = trainer.model.parameters.value.copy()
    with pytest.raises(kind):
        trainer.step(x, t)
    np.testing.assert_array_equal(trainer.model.parameters.value, before)
    assert trainer.steps == 0


def test_steps_of_a_custom_loop_are_counted() -> None:
    x, t = samples(8)
    trainer = trainer_of(network())
    for count in range(1, 4):
        trainer.step(x, t)
        assert trainer.steps == count
    trainer.fit(x, t, epochs=2, batch_size=4)
    assert trainer.steps == 4
    trainer.step(x, t)
    assert trainer.steps == 5


def test_a_step_returns_the_metrics_that_belong_to_its_cost() -> None:
    x, t = samples(8)
    weights = np.linspace(0, 1, 8)
    trainer = trainer_of(network(), metrics=["mean_absolute_error", "r2"])
    before = trainer.evaluate(x, t, sample_weights=weights)
    assert trainer.step(x, t, weights, metrics=True) == before
    assert trainer.step(x, t, weights, metrics=False) < before["loss"]


@pytest.mark.parametrize("outputs", [1, 2])
def test_accumulated_batches_average_over_the_labels_that_count(outputs: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 3))
    labels = rng.integers(0, 3, (2, 12))
    labels[0, :7], labels[1, 2:6] = -1, -1  # batches of four have 0, 1 and 4 labels that count
    inputs = Input((3,))
    loss: Any = losses.SoftmaxCrossEntropy(ignore=-1)
    each: Any = [Dense(3)(inputs), Dense(3)(inputs)]
    model = Graph(inputs, each if outputs == 2 else each[0])
    t: Any = tuple(labels) if outputs == 2 else labels[0]
    histories, vectors = [], []
    for options in ({"batch_size": 4, "accumulate": 3}, {"batch_size": 12}):
        trainer = Trainer(
            model.unbuilt(), [loss] * outputs, optimizers.SGD(0.5), metrics={0: ["accuracy"]}
            if outputs == 2 else ["accuracy"], rng=1,
        )  # fmt: skip
        history = trainer.fit(x, t, epochs=3, shuffle=False, **options)
        histories.append(history.to_dict())
        vectors.append(trainer.model.parameters.value)
    np.testing.assert_allclose(*vectors, rtol=1e-12)
    for name, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][name], rtol=1e-12)


def test_the_loss_of_an_epoch_is_the_average_over_the_labels_that_count() -> None:
    x, labels = np.ones((6, 3)), np.array([0, -1, -1, 1, 1, 1])
    model = Sequential([Dense(2)])
    trainer = Trainer(
        model,
        losses.SoftmaxCrossEntropy(ignore=-1),
        optimizers.SGD(1e-300),
        metrics=["accuracy"],
        rng=0,
    )
    history = trainer.fit(x, labels, epochs=1, batch_size=3, shuffle=False)
    expected = trainer.evaluate(x, labels)
    assert history["loss"][0] == pytest.approx(expected["loss"], rel=1e-14)
    assert history["accuracy"][0] == expected["accuracy"] in (0.25, 0.75)


def test_the_metrics_of_a_step_are_those_of_the_trainer() -> None:
    trainer = Trainer(Dense(1), losses.HalfSquaredError(), optimizers.SGD(0.1))
    with pytest.raises(ConfigurationError, match=r"Trainer\(.*metrics=\['accuracy'\]"):
        trainer.step(np.ones((2, 3)), np.ones((2, 1)), metrics=["accuracy"])  # type: ignore[call-overload]


def test_a_step_builds_a_model_that_is_not_built() -> None:
    x, t = (array.astype("float32") for array in samples(4))
    model = network(None)
    trainer = trainer_of(model)
    assert trainer.step(x, t) > trainer.step(x, t)
    assert model.dtype == "float32"


def test_metrics_assigned_later_are_resolved_like_initial_ones() -> None:
    x, t = samples(10)
    trainer = trainer_of(network())
    trainer.metrics = ["mean_absolute_error"]
    assert list(trainer.fit(x, t, epochs=1)) == ["loss", "mean_absolute_error"]
    with pytest.raises(ConfigurationError, match="mean_absolute_eror"):
        trainer.metrics = ["mean_absolute_eror"]


def test_figures_of_millions_of_float32_samples_are_those_of_float64() -> None:
    """1,500,000 errors of 1 ± 0.1: in float32 their running sum would stop at a few digits."""
    n = 1_500_000
    x = np.random.default_rng(0).uniform(0.9, 1.1, size=(n, 1)).astype(np.float32)
    t = np.zeros_like(x)
    model = Sequential([Dense(1, initializer="ones")])
    model.build((1,), rng=0, dtype="float32")
    metrics = ["mean_squared_error", "mean_absolute_error"]
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.0), metrics=metrics)
    wide = x.astype(np.float64)
    exact = {
        "loss": float(np.mean(wide**2)) / 2,
        "mean_squared_error": float(np.mean(wide**2)),
        "mean_absolute_error": float(np.mean(wide)),
    }
    assert trainer.evaluate(x, t) == pytest.approx(exact, rel=2e-7)
    history = trainer.fit(x, t, epochs=1, batch_size=n, validation_data=(x, t), progress=False)
    for name, figure in exact.items():
        assert history[name] == pytest.approx([figure], rel=2e-7)
        assert history[f"validation_{name}"] == pytest.approx([figure], rel=2e-7)


# ------------------------------------------------------------------------------- copies


def a_trained(**how: Any) -> Trainer:
    model = Sequential([Dense(4), Activation("tanh"), Dense(1)])
    trainer = Trainer(
        model,
        losses.HalfSquaredError(),
        optimizers.Adam(0.01),
        metrics=["mean_absolute_error"],
        rng=0,
    )
    x = np.random.default_rng(0).normal(size=(12, 2))
    trainer.fit(x, x[:, :1], epochs=3, validation_data=(x, x[:, :1]), progress=False, **how)
    return trainer


COPIES = [copy.deepcopy, lambda trainer: pickle.loads(pickle.dumps(trainer))]


@pytest.mark.parametrize("copied", COPIES)
def test_a_copy_of_a_trainer_knows_its_run_and_continues_as_the_trainer_does(copied):
    trainer = a_trained()
    again = copied(trainer)
    x = np.random.default_rng(1).normal(size=(12, 2))
    assert again.model is not trainer.model and again.optimizer is not trainer.optimizer
    assert again.history == trainer.history and again.steps == trainer.steps == 3
    assert again.columns == trainer.columns and again.run.is_over and again.callbacks == []
    assert again.run.trainer is again and again.run.steps_per_epoch == 1
    assert again.evaluate(x, x[:, :1]) == trainer.evaluate(x, x[:, :1])
    assert again.rng.spawn(1)[0].normal() == trainer.rng.spawn(1)[0].normal()
    histories = [
        each.fit(x, x[:, :1], epochs=3, batch_size=5, progress=False) for each in (trainer, again)
    ]
    assert histories[0] == histories[1]
    np.testing.assert_array_equal(again.model.parameters.value, trainer.model.parameters.value)
    assert copied(again).history == again.history


@pytest.mark.parametrize("copied", COPIES)
def test_a_trainer_can_be_copied_before_and_during_a_run(copied):
    fresh = Trainer(Dense(1), losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
    assert copied(fresh).run is None and copied(fresh).history.epochs == 0
    copies = []

    class Copies(callbacks.Callback):
        def on_epoch_end(self, trainer: Any, epoch: int, figures: Any) -> None:
            copies.append(copied(trainer))

    trainer = a_trained(callbacks=[Copies()])
    assert [each.history.epochs for each in copies] == [1, 2, 3]
    assert not any(each.run.is_going for each in copies)
    np.testing.assert_array_equal(copies[-1].model.parameters.value, trainer.model.parameters.value)
