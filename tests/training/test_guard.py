"""The guard: training stops at a number that is not finite, names the place, and stays finite."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import Activation, Dense, Layer, Sequential, Softmax, Trainer, losses, optimizers
from chainrule.callbacks import Callback
from chainrule.core.errors import NonFiniteError


def samples(count: int = 8, seed: int = 1) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 3)), rng.normal(size=(count, 2))


def stopped(
    model: Layer, optimizer: Any = None, loss: Any = None, **options: Any
) -> tuple[Any, Any]:
    """The error that ends the training, and the trainer."""
    x, t = options.pop("data", samples())
    optimizer = optimizer or optimizers.SGD(0.1)
    trainer = Trainer(model, loss or losses.HalfSquaredError(), optimizer, rng=0)
    with pytest.raises(NonFiniteError) as caught:
        trainer.fit(x, t, **{"epochs": 100, "batch_size": 4, **options})
    return caught.value, trainer


@define
class Spoils(Layer):
    """y = x, but for what `spoil` makes of y or of the delta from some training step on."""

    forward_value: Any = None
    backward_value: Any = None
    from_step: int = 1

    def build(self, shape: Any) -> None:
        self.parameter("weights", shape, "ones")
        self.steps = [0]

    def forward(self, x: Any) -> Any:
        self.x = x
        self.steps[0] += len(x) > 0
        return self.spoilt(x * self.weights.value, self.forward_value)

    def backward(self, delta: Any) -> Any:
        self.weights.accumulate((delta * self.x).sum(axis=0))
        return self.spoilt(delta * self.weights.value, self.backward_value)

    def spoilt(self, array: Any, value: Any) -> Any:
        if value is not None and self.steps[0] >= self.from_step:
            array[:1, 0] = value
        return array


class Parameters(Callback):
    """Keeps the parameters of every step."""

    def on_fit_begin(self, trainer: Any) -> None:
        self.seen = [trainer.model.parameters.value.copy()]

    def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
        self.seen.append(trainer.model.parameters.value.copy())


# ------------------------------------------------------------------------------- where it began


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("nested", [False, True])
def test_the_first_layer_whose_output_is_not_finite_is_named_with_its_path(
    value: float, nested: bool
) -> None:
    inner = [Dense(4), Activation("tanh"), Spoils(forward_value=value, from_step=6)]
    model = Sequential([Sequential(inner), Dense(2)] if nested else [*inner, Dense(2)])
    kept = Parameters()
    error, trainer = stopped(model, callbacks=[kept])
    path = "sequential/sequential_1/spoils_1" if nested else "sequential/spoils_1"
    assert error.place == f"{path}, epoch 3, step 2"  # two steps an epoch
    assert "Spoils(" in error.problem
    what = "1 NaN" if np.isnan(value) else "1 infinite"
    assert error.received.startswith(f"{what} of 16 numbers")
    assert "forward" in error.hint
    np.testing.assert_array_equal(model.parameters.value, kept.seen[-1])
    assert trainer.history.epochs == 2


def test_a_layer_in_two_places_is_named_by_the_place_that_fails() -> None:
    twice = Dense(3, initializer="ones", use_bias=False)
    model = Sequential([twice, Activation("tanh"), twice])
    model.build((3,), rng=0)
    twice.weights.value = np.full((3, 3), 1e308)  # tanh keeps the first place finite
    error, _ = stopped(
        model, data=(np.full((4, 3), 1e-300), np.zeros((4, 3))), loss=losses.MeanAbsoluteError()
    )
    assert error.place.startswith("sequential/dense_2, ")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_first_layer_of_the_backward_pass_is_named_if_only_a_gradient_is_not_finite(
    value: float,
) -> None:
    spoils = Spoils(backward_value=value, from_step=4)
    model = Sequential([Dense(4), Activation("tanh"), spoils, Activation("tanh"), Dense(2)])
    kept = Parameters()
    error, _ = stopped(model, callbacks=[kept])
    assert error.place == "sequential/spoils_1, epoch 2, step 2"
    assert "delta that it returns" in error.received and "backward" in error.hint
    np.testing.assert_array_equal(model.parameters.value, kept.seen[-1])
    assert len(kept.seen) == 4


def test_a_layer_whose_own_gradient_is_not_finite_is_named_with_the_parameter() -> None:
    @define
    class Root(Layer):
        def build(self, shape: Any) -> None:
            self.parameter("scale", shape, "zeros")

        def forward(self, x: Any) -> Any:
            self.x = x
            return x + np.sqrt(self.scale.value)

        def backward(self, delta: Any) -> Any:
            self.scale.accumulate(delta.sum(axis=0) / (2 * np.sqrt(self.scale.value)))
            return delta

    model = Sequential([Root(), Dense(2)])  # the first layer needs no delta for x
    error, _ = stopped(model)
    assert error.place == "sequential/root_1, epoch 1, step 1"
    assert "gradient of root_1.scale: 3 infinite of 3 numbers" in error.received
    np.testing.assert_array_equal(model[0].scale.value, np.zeros(3))


def test_an_unneeded_delta_stops_nothing() -> None:
    @define
    class Blocks(Layer):
        def forward(self, x: Any) -> Any:
            return x + 0

        def backward(self, delta: Any) -> Any:
            return delta * np.inf

    model = Sequential([Blocks(), Dense(2)])
    x, t = samples()
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
    assert np.all(np.isfinite(trainer.fit(x, t, epochs=3)["loss"]))


def test_the_loss_is_named_where_all_outputs_are_finite_and_the_cost_is_not() -> None:
    model = Sequential([Dense(5), Dense(2)])
    error, _ = stopped(model, optimizers.SGD(10.0))
    assert error.place.startswith("HalfSquaredError, epoch ")
    assert "sequential/dense_2" in error.received
    assert "a smaller learning rate than 10.0" in error.hint
    assert np.all(np.isfinite(model.parameters.value))


def test_an_error_from_a_loss_is_kept_and_located() -> None:
    model = Sequential([Dense(2), Softmax()])
    x, _ = samples()
    data = (x, (x[:, 0] > 0).astype(int))
    error, _ = stopped(model, optimizers.SGD(1e5), losses.NegativeLogLikelihood(), data=data)
    assert error.place.startswith("NegativeLogLikelihood, epoch 1, step ")
    assert "SoftmaxCrossEntropy" in error.hint
    assert np.all(np.isfinite(model.parameters.value))


def test_a_model_that_is_one_layer_is_named_as_it_is() -> None:
    error, _ = stopped(Spoils(forward_value=np.nan), data=(samples()[0], samples()[0]))
    assert error.place == "spoils, epoch 1, step 1"


def test_an_error_that_is_not_reproducible_is_attributed_to_randomness() -> None:
    armed = []

    class Arms(Callback):
        def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
            if trainer.steps == 5:
                armed.append(True)

    @define
    class Once(Layer):
        def forward(self, x: Any) -> Any:
            return x * np.nan if armed and armed.pop() else x + 0

        def backward(self, delta: Any) -> Any:
            return delta

    error, _ = stopped(Sequential([Once(), Dense(2)]), callbacks=[Arms()])
    assert error.place.startswith("sequential, epoch ")
    assert "when the step was repeated, all were" in error.problem
    assert "random" in error.received


def test_a_layer_that_draws_an_infinity_is_to_blame_and_not_the_learning_rate() -> None:
    @define
    class Noise(Layer):
        def build(self, shape: Any) -> None:
            self.generator("draws")

        def forward(self, x: Any) -> Any:
            return x * (np.inf if self.draws.random() < 0.1 else 1.0)

        def backward(self, delta: Any) -> Any:
            return delta

    error, _ = stopped(Sequential([Dense(4), Noise(), Dense(2)]), optimizers.SGD(0.01))
    assert "when the step was repeated, all were" in error.problem
    assert "how the random numbers of noise_1.draws are used" in error.hint
    assert "learning rate" not in error.hint


# ------------------------------------------------------------------------------- bad data


@pytest.mark.parametrize("spoilt", ["x", "t"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_batch_that_is_itself_not_finite_is_named_and_no_layer(spoilt: str, value: float) -> None:
    x, t = samples()
    {"x": x, "t": t}[spoilt][5] = value
    trainer = Trainer(Sequential([Dense(2)]), losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
    trainer.step(*samples())
    before = trainer.model.parameters.value.copy()
    with pytest.raises(NonFiniteError, match="batch itself is not finite") as caught:
        trainer.step(x, t)
    assert caught.value.place == spoilt
    what = "NaN" if np.isnan(value) else "infinite"
    counts = {"x": (3, 24), "t": (2, 16)}[spoilt]
    assert caught.value.received == f"{counts[0]} {what} of {counts[1]} numbers, first in row 5"
    assert "where the batch comes from" in caught.value.hint
    np.testing.assert_array_equal(trainer.model.parameters.value, before)


def test_several_inputs_and_targets_are_named_by_their_numbers() -> None:
    from chainrule import Concatenate, Graph, Input

    a, b = Input((3,)), Input((2,))
    h = Concatenate()(a, b)
    model = Graph([a, b], [Dense(2)(h), Dense(1)(h)])
    each = [losses.HalfSquaredError(), losses.HalfSquaredError()]
    trainer = Trainer(model, each, optimizers.SGD(0.1), rng=0)
    x, t = (np.ones((4, 3)), np.ones((4, 2))), (np.ones((4, 2)), np.ones((4, 1)))
    trainer.step(x, t)
    t[1][2] = np.nan
    with pytest.raises(NonFiniteError) as caught:
        trainer.step(x, t)
    assert caught.value.place == "t[1]"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_huge_target_is_to_blame_and_not_the_learning_rate(dtype: str) -> None:
    huge = {"float32": 1e25, "float64": 1e200}[dtype]
    x, t = samples()
    t[3, 1] = huge
    model = Sequential([Dense(5), Activation("tanh"), Dense(2)])
    model.build((3,), rng=0, dtype=dtype)
    error, _ = stopped(model, data=(x, t), batch_size=8)
    assert error.place == "HalfSquaredError, epoch 1, step 1"
    assert f"and targets of up to ±{huge:.3g}" in error.received
    assert f"the batch has t of up to ±{huge:.3g}" in error.hint
    assert "learning rate" not in error.hint


def test_a_huge_input_is_to_blame_and_not_the_learning_rate() -> None:
    x, t = samples()
    x[2, 0] = 1e300
    model = Sequential([Dense(2, initializer=1e10)])
    model.build((3,), rng=0)
    error, _ = stopped(model, data=(x, t), batch_size=8)
    assert "the batch has x of up to ±1e+300" in error.hint
    # A weight of 1e10 may have come from a rate that is too large.
    assert "a smaller learning rate than 0.1" in error.hint
    model.parameters.value[:] = 1e5
    x[2] = 1.7e308
    error, _ = stopped(model, data=(x, t), batch_size=8)
    assert "of up to ±1.7e+308" in error.hint and "learning rate" not in error.hint


# ------------------------------------------------------------------------------- afterwards


@pytest.mark.filterwarnings("ignore::chainrule.training.delta_watch.DeltasWarning")
@given(
    st.sampled_from(["float32", "float64"]),
    st.floats(0, 305),
    st.sampled_from(["identity", "tanh", "relu", "sigmoid"]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_however_training_ends_the_parameters_are_finite_and_the_last_that_were(
    dtype: str, exponent: float, activation: str, momentum: bool, seed: int
) -> None:
    x, t = samples(8, seed)
    model = Sequential([Dense(4), Activation(activation), Dense(2)])
    model.build((3,), rng=seed, dtype=dtype)
    kept = Parameters()
    optimizer = optimizers.SGD(10**exponent, momentum=0.9 if momentum else 0.0)
    trainer = Trainer(model, losses.HalfSquaredError(), optimizer, rng=seed)
    try:
        trainer.fit(x, t, epochs=20, batch_size=4, callbacks=[kept])
    except NonFiniteError as error:
        assert "epoch " in error.place and "step " in error.place
    finite = [value for value in kept.seen if np.all(np.isfinite(value))]
    np.testing.assert_array_equal(model.parameters.value, finite[-1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_that_overflows_is_undone_and_the_parameter_named(dtype: str) -> None:
    @define
    class Overflows(optimizers.Optimizer):
        steps: int = 0

        def step(self, value: Any, gradient: Any) -> None:
            self.steps += 1
            value += 1
            if self.steps == 3:
                value[1] = np.inf

    x, t = (array.astype(dtype) for array in samples(20))
    model = Sequential([Activation("tanh"), Dense(2), Activation("sigmoid")])
    model.build((3,), rng=0, dtype=dtype)
    kept = Parameters()
    # The sigmoid makes finite numbers of infinite ones, with a slope of zero: neither the cost nor
    # the gradient shows it.
    error, _ = stopped(model, Overflows(0.1), data=(x, t), callbacks=[kept])
    assert error.place == "sequential/dense_1, epoch 1, step 4"
    assert "last step, the one before this, made the weights infinite" in error.problem
    assert error.received.startswith("1 infinite of 6 numbers; ")
    np.testing.assert_array_equal(model.parameters.value, kept.seen[2])


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("change", ["freeze", "unfreeze"])
def test_a_step_that_overflows_is_undone_whatever_was_frozen_since(
    change: str, accumulate: int
) -> None:
    class Changes(Callback):
        """Step 3 overflows; before the next one finds it, what moves is something else."""

        def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
            if trainer.run.steps == 2:
                self.before = trainer.model.parameters.value.copy()
                trainer.optimizer.learning_rate = 1e308
            if trainer.run.steps == 3:
                getattr(trainer.model.layers[2], change)()

    model, changes = Sequential([Dense(5), Activation("tanh"), Dense(2)]), Changes()
    model.build((3,), rng=0)
    if change == "unfreeze":
        model.layers[2].freeze()
    x, t = samples(40)
    options: Any = {"data": (10 * x, 10 * t), "accumulate": accumulate, "callbacks": [changes]}
    error, _ = stopped(model, optimizers.SGD(0.01), **options)
    assert "that step was undone" in error.hint
    np.testing.assert_array_equal(model.parameters.value, changes.before)


def test_a_step_that_overflows_at_the_end_of_an_epoch_is_found_before_callbacks_run() -> None:
    @define
    class Overflows(optimizers.Optimizer):
        def step(self, value: Any, gradient: Any) -> None:
            value[:] = np.nan

    class Looks(Callback):
        def on_epoch_end(self, trainer: Any, epoch: int, figures: Any) -> None:
            raise AssertionError

    model = Sequential([Dense(2)])
    model.build((3,), rng=0)
    before = model.parameters.value.copy()
    error, trainer = stopped(model, Overflows(0.1), batch_size=8, callbacks=[Looks()])
    assert error.place == "sequential/dense_1, epoch 1, step 1"
    assert "last step made the weights" in error.problem  # not the one before this
    np.testing.assert_array_equal(model.parameters.value, before)
    with pytest.raises(NonFiniteError, match="last step"):
        trainer.step(*samples())
    np.testing.assert_array_equal(model.parameters.value, before)


def test_a_step_that_overflows_is_undone_even_if_another_error_ends_the_training() -> None:
    @define
    class Overflows(optimizers.Optimizer):
        def step(self, value: Any, gradient: Any) -> None:
            value[:] = np.inf

    class Interrupts(Callback):
        def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
            raise KeyboardInterrupt

    model = Sequential([Dense(2)])
    model.build((3,), rng=0)
    before = model.parameters.value.copy()
    trainer = Trainer(model, losses.HalfSquaredError(), Overflows(0.1), rng=0)
    with pytest.raises(KeyboardInterrupt) as caught:
        trainer.fit(*samples(), callbacks=[Interrupts()])
    assert caught.value.__notes__ == ["in epoch 1, step 1"]
    np.testing.assert_array_equal(model.parameters.value, before)


def test_the_optimizer_remembers_nothing_of_a_gradient_that_is_not_finite() -> None:
    model = Sequential([Dense(4), Spoils(backward_value=np.nan, from_step=3), Dense(2)])
    optimizer = optimizers.Adam(0.01)
    stopped(model, optimizer)
    assert optimizer.steps == 2
    assert np.all(np.isfinite(optimizer.first_moment))


def test_what_the_model_keeps_but_does_not_learn_is_that_of_before_the_step() -> None:
    @define
    class Mean(Layer):
        def build(self, shape: Any) -> None:
            self.buffer("mean", shape, "zeros")

        def forward(self, x: Any) -> Any:
            self.mean.value = 0.5 * self.mean.value + 0.5 * x.mean(axis=0)
            return x - self.mean.value

        def backward(self, delta: Any) -> Any:
            return 0.5 * delta

    class States(Callback):
        def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
            self.last = trainer.model.buffers.value.copy()

    kept = States()
    model = Sequential([Spoils(forward_value=np.nan, from_step=4), Mean(), Dense(2)])
    stopped(model, callbacks=[kept])
    assert np.any(kept.last)
    np.testing.assert_array_equal(model.buffers.value, kept.last)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_that_are_huge_but_finite_stop_nothing(dtype: str) -> None:
    # Their product overflows, so the numbers are checked one by one.
    huge = float(np.sqrt(np.finfo(dtype).max)) * 8

    @define
    class Scale(Layer):
        def build(self, shape: Any) -> None:
            self.parameter("scale", shape, huge)

        def forward(self, x: Any) -> Any:
            self.x = x
            return x * (self.scale.value / huge)

        def backward(self, delta: Any) -> Any:
            self.scale.accumulate(np.full_like(self.scale.value, huge))
            return delta

    @define
    class Nothing(optimizers.Optimizer):
        def step(self, value: Any, gradient: Any) -> None:
            pass

    model = Scale()
    model.build((3,), rng=0, dtype=dtype)
    x, _ = samples()
    trainer = Trainer(model, losses.HalfSquaredError(), Nothing(1.0), rng=0)
    assert trainer.fit(x, x, epochs=2).epochs == 2


def test_initial_parameters_that_are_not_finite_are_refused() -> None:
    model = Sequential([Dense(3), Dense(2)])
    model.build((3,), rng=0)
    model[1].biases.value = [0.0, np.nan]
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
    with pytest.raises(NonFiniteError, match="biases are not finite before") as caught:
        trainer.fit(*samples())
    assert caught.value.place == "sequential/dense_2"
    assert caught.value.received == "1 NaN of 2 numbers"


# ------------------------------------------------------------------------------- warnings


def test_the_error_replaces_numpys_warnings() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stopped(Sequential([Dense(5), Dense(2)]), optimizers.SGD(1e200), validation_data=samples())


def test_numpy_set_to_raise_shows_the_line_that_overflows() -> None:
    model = Sequential([Dense(5), Activation(np.square, lambda z: 2 * z), Dense(2)])
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(1e200), rng=0)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError) as caught:
        trainer.fit(*samples(), epochs=10)
    assert caught.value.__notes__[0].startswith("in ")
    assert np.all(np.isfinite(model.parameters.value))
