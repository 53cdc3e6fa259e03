"""The delta watch: it warns once if something is wrong, and never if all is well."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from attrs import define

from chainrule import (
    Activation,
    Dense,
    Graph,
    Input,
    Layer,
    Residual,
    Sequential,
    Softmax,
    Trainer,
    losses,
    optimizers,
    trace,
)
from chainrule.core.errors import DtypeError, NonFiniteError, ShapeError
from chainrule.core.initializers import Normal
from chainrule.training.delta_watch import (
    DeadActivationWarning,
    DeltasWarning,
    DeltaWatch,
    ExplodingDeltasWarning,
    VanishingDeltasWarning,
)

LOSS = losses.HalfSquaredError()


def batch(rows: int = 32, size: float = 1.0) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    return size * rng.normal(size=(rows, 8)), rng.normal(size=(rows, 3))


def plain(function: str, depth: int, width: int = 16, **how: Any) -> Sequential:
    """A sequence of layers, and a last one with three units."""
    pairs = [(Dense(width, **how), Activation(function)) for _ in range(depth)]
    return Sequential([*[layer for pair in pairs for layer in pair], Dense(3)])


def built(model: Layer, dtype: str = "float64") -> Any:
    model.build((8,), rng=0, dtype=dtype)
    return model


def warned(
    model: Layer, data: Any = None, loss: Any = LOSS, epoch: int = 1, watch: Any = None
) -> list[DeltasWarning]:
    """The warnings of a watch that measures one pass of a built model."""
    x, t = batch() if data is None else data
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        watch = watch or DeltaWatch(model)
        with np.errstate(all="ignore"):
            measure(watch, model, x, t, loss)
        watch.warn(epoch, 1)
    assert watch.has_warned == bool(caught)
    return [each.message for each in caught]  # type: ignore[misc]


def measure(watch: DeltaWatch, model: Layer, x: Any, t: Any, loss: Any = LOSS) -> None:
    """A training step without an update, measured."""
    model.parameters.zero_grad()
    with watch.measuring():
        _, delta = loss.value_and_delta(model.forward(x), t)
        model.backward_parameters(delta)


def the_one(warned: list[DeltasWarning], kind: type) -> Any:
    (only,) = warned
    assert type(only) is kind
    return only


# ------------------------------------------------------------------------------- warnings


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_vanishing_deltas_are_reported_with_the_layer_where_they_fall_below_a_millionth(
    dtype: str,
) -> None:
    model = built(plain("sigmoid", 20), dtype)
    x, t = (array.astype(dtype) for array in batch())
    warning = the_one(warned(model, (x, t)), VanishingDeltasWarning)
    dense = [step for step in trace(model, x, t, LOSS) if step.place.startswith("dense")]
    last = dense[-1]
    below = [
        step
        for step in dense
        if step.delta_size < 1e-6 * last.delta_size
        and max(step.gradient_sizes.values()) < 1e-6 * max(last.gradient_sizes.values())
    ]
    assert warning.place == f"sequential/{below[-1].place}, epoch 1, step 1"
    assert f"and {len(below) - 1} more layers before it" in warning.problem
    assert f"|Δ| = {below[-1].delta_size:.1e} here" in warning.received
    assert f"|Δ| = {last.delta_size:.1e}, as in sequential/dense_21" in warning.expected
    assert "tanh" in warning.hint and "Residual" in warning.hint
    assert str(warning).splitlines()[0] == warning.problem
    assert "print(chainrule.trace(model, x, t, loss))" in str(warning)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exploding_deltas_are_reported_with_the_layer_where_they_exceed_a_million(
    dtype: str,
) -> None:
    model = built(
        Sequential([*[Dense(16, initializer=Normal(2.0)) for _ in range(12)], Dense(3)]), dtype
    )
    x, t = (array.astype(dtype) for array in batch())
    warning = the_one(warned(model, (x, t)), ExplodingDeltasWarning)
    dense = list(trace(model, x, t, LOSS))
    last = dense[-1]
    above = [step for step in dense if step.delta_size > 1e6 * last.delta_size]
    assert above and warning.place == f"sequential/{above[-1].place}, epoch 1, step 1"
    assert f"|Δ| = {above[-1].delta_size:.1e} here" in warning.received
    assert "smaller initial weights" in warning.hint and "clip_norm" in warning.hint


def test_a_relu_whose_inputs_are_all_negative_is_reported_as_dead() -> None:
    model = built(plain("relu", 3))
    model[2].biases.value -= 1e3
    warning = the_one(warned(model), DeadActivationWarning)
    assert warning.place == "sequential/activation_2, epoch 1, step 1"
    assert "Activation('relu') is dead" in warning.problem
    assert "sequential/dense_2 learns nothing" in warning.problem
    assert "no input is above 0 in 32 rows" in warning.received
    assert "leaky_relu" in warning.hint and "learning rate" not in warning.hint


def test_for_an_activation_that_died_in_training_the_hint_is_the_learning_rate() -> None:
    model = built(plain("relu", 1))
    model[0].biases.value -= 1e3
    warning = the_one(warned(model, epoch=4), DeadActivationWarning)
    assert warning.place.endswith("epoch 4, step 1") and "smaller learning rate" in warning.hint


def test_a_relu_at_the_very_end_can_die_too() -> None:
    model = built(Sequential([Dense(16), Activation("tanh"), Dense(3), Activation("relu")]))
    model[2].biases.value -= 1e3
    assert "dense_2 learns nothing" in the_one(warned(model), DeadActivationWarning).problem


def test_a_saturated_activation_is_named_as_the_reason() -> None:
    model = built(plain("sigmoid", 1))
    model[0].weights.value *= 1e-3
    model[0].biases.value = np.full(16, 30.0)  # σ′(30) ≈ 1e-13
    warning = the_one(warned(model), VanishingDeltasWarning)
    assert "sequential/activation_1 is saturated, with inputs of up to ±30" in warning.hint
    model[0].biases.value = np.full(16, 1e3)  # σ′ = 0
    assert "up to ±1e+03" in the_one(warned(model), DeadActivationWarning).received


@pytest.mark.parametrize(
    ("function", "named"), [("sigmoid", '"tanh"'), ("relu", '"he_normal"'), ("tanh", "Residual")]
)
def test_the_hint_fits_the_activation(function: str, named: str) -> None:
    how = {} if function == "sigmoid" else {"initializer": Normal(0.02)}
    warning = the_one(warned(built(plain(function, 12, **how))), VanishingDeltasWarning)
    assert named in warning.hint


def test_a_layer_in_a_container_is_named_by_its_path() -> None:
    blocks = [Sequential([Dense(8), Activation("sigmoid")]) for _ in range(20)]
    model = built(Sequential([*blocks, Dense(3)]))
    place = the_one(warned(model), VanishingDeltasWarning).place
    assert place.startswith("sequential/sequential_") and "/dense_1, " in place


def test_the_warning_points_to_the_caller_s_line() -> None:
    trainer = Trainer(built(plain("sigmoid", 20)), LOSS, optimizers.SGD(0.1), rng=0)
    with pytest.warns(VanishingDeltasWarning) as caught:
        trainer.fit(*batch(), epochs=1, progress=False)
    assert caught[0].filename == __file__


def test_a_watch_warns_once_and_is_never_due_again() -> None:
    model = built(plain("sigmoid", 20))
    watch = DeltaWatch(model)
    assert [epoch for epoch in range(1, 40) if watch.is_due(epoch)] == [1, 4, 16]
    assert warned(model, watch=watch)
    assert not any(watch.is_due(epoch) for epoch in range(1, 40))


# ------------------------------------------------------------------------------- no warnings


@pytest.mark.parametrize("function", ["tanh", "relu", "elu", "silu"])
def test_thirty_layers_with_weights_that_suit_them_are_fine(function: str) -> None:
    assert not warned(built(plain(function, 30, initializer="he_normal")))


def test_skip_connections_save_the_deltas_of_sigmoids() -> None:
    blocks = [Residual(Dense(16), Activation("sigmoid"), Dense(16)) for _ in range(15)]
    assert not warned(built(Sequential([Dense(16), *blocks, Dense(3)])))


def test_a_perfect_fit_gives_no_warning() -> None:
    model = built(plain("tanh", 3))
    x, _ = batch()
    assert not warned(model, (x, model(x)))
    assert not warned(model, (x, model(x) + 1e-13))  # what counts is the ratio


def test_a_softmax_that_has_become_right_gives_no_warning() -> None:
    model = built(Sequential([Dense(16), Activation("tanh"), Dense(3), Softmax()]))
    model[2].weights.value *= 0
    model[2].biases.value = [40.0, 0.0, 0.0]
    model[2].weights.value += 1e-3 * np.random.default_rng(0).normal(size=(16, 3))
    x, _ = batch()
    loss = losses.NegativeLogLikelihood()
    target = np.zeros(len(x), int)
    found = trace(model, x, target, loss)
    assert found["dense_2"].delta_size < 1e-12 * found["softmax_1"].delta_size
    assert not warned(model, (x, target), loss)


def test_a_flat_sigmoid_at_the_output_gives_no_warning() -> None:
    model = built(Sequential([Dense(16), Activation("tanh"), Dense(3), Activation("sigmoid")]))
    model[2].biases.value = np.full(3, 1e3)
    assert not warned(model)


def test_a_relu_that_is_zero_in_one_small_batch_gives_no_warning_yet() -> None:
    model = built(plain("relu", 1))
    model[0].biases.value -= 1e3
    x, t = batch(6)
    watch = DeltaWatch(model)
    assert not warned(model, (x, t), watch=watch)
    assert not warned(model, (x, t), epoch=2, watch=watch)
    assert (
        "18 rows"
        in the_one(warned(model, (x, t), epoch=4, watch=watch), DeadActivationWarning).received
    )


def test_the_row_count_restarts_once_a_relu_is_active_again() -> None:
    model = built(plain("relu", 1))
    x, t = batch(6)
    watch = DeltaWatch(model)
    for epoch, shift in ((1, -1e3), (2, -1e3), (4, 1e3), (8, -1e3), (16, -1e3)):
        model[0].biases.value = np.full(16, shift)
        assert not warned(model, (x, t), epoch=epoch, watch=watch)


def test_last_weights_that_start_at_zero_or_equal_give_no_warning_in_the_first_epoch() -> None:
    x, _ = batch()
    labels, loss = np.arange(32) % 3, losses.SoftmaxCrossEntropy()
    for initializer in ("zeros", 0.1):
        last = Dense(3, initializer=initializer)
        model = built(Sequential([Dense(16), Activation("tanh"), last]))
        assert not warned(model, (x, labels), loss)
    assert not warned(model, (x, labels), loss, epoch=1)


def test_weights_that_stay_equal_are_reported_in_the_second_epoch() -> None:
    model = built(Sequential([Dense(16), Activation("tanh"), Dense(3)]))
    model[2].weights.value *= 1e-9
    assert not warned(model)
    place = the_one(warned(model, epoch=2), VanishingDeltasWarning).place
    assert place == "sequential/dense_1, epoch 2, step 1"


def test_a_layer_that_blocks_deltas_on_purpose_gives_no_warning() -> None:
    @define
    class Stops(Layer):
        def forward(self, x: Any) -> Any:
            return x + 0

        def backward(self, delta: Any) -> Any:
            return np.zeros_like(delta)

    assert not warned(built(Sequential([Dense(16), Stops(), Dense(3)])))


def test_a_parameter_that_is_used_in_many_places_is_judged_by_the_sum() -> None:
    shared, squash = Dense(16), Activation("sigmoid")
    steps = [layer for _ in range(30) for layer in (shared, squash)]
    alone = [layer for _ in range(30) for layer in (Dense(16), squash)]
    assert warned(built(Sequential([Dense(16), *alone, Dense(3)])))
    start = Dense(16)
    model = built(Sequential([start, *steps, Dense(3)]))
    start.freeze()  # the only layer that receives nothing in all its places
    assert not warned(model)


def test_frozen_layers_are_not_checked() -> None:
    model = built(plain("sigmoid", 20))
    assert warned(model)
    for layer in model.layers[:30]:
        layer.freeze()
    assert not warned(model)


def test_where_the_last_layer_is_frozen_the_one_before_it_is_the_last_that_learns() -> None:
    model = built(plain("sigmoid", 20))
    model[-1].freeze()
    assert "as in sequential/dense_20, " in the_one(warned(model), VanishingDeltasWarning).expected
    model = built(plain("relu", 2))
    model[2].biases.value -= 1e3
    model[2].freeze()
    assert (
        "sequential/dense_1 learns nothing" in the_one(warned(model), DeadActivationWarning).problem
    )


def test_an_output_that_counts_little_is_compared_with_itself() -> None:
    x = Input((8,))
    trunk = Activation("tanh")(Dense(16)(x))
    two = [Dense(3)(Activation("tanh")(Dense(16)(trunk))) for _ in range(2)]
    model = Graph(x, two)
    model.build((8,), rng=0)
    rows, target = batch()
    weighted = losses.PerOutput([LOSS, LOSS], weights=[1.0, 1e-12])
    assert not warned(model, (rows, (target, target)), weighted)


def test_numbers_that_are_not_finite_are_left_to_the_guard() -> None:
    model = built(plain("tanh", 2))
    model[0].weights.value[0, 0] = np.inf
    assert not warned(model)
    model = built(Sequential([Dense(3)]))
    model[0].weights.value *= 1e308
    assert not warned(model)


@pytest.mark.parametrize("given", ["nothing", "a list"])
def test_what_is_no_array_is_left_to_the_training(given: str) -> None:
    @define
    class Fails(Layer):
        def forward(self, x: Any) -> Any:
            return x + 0

        def backward(self, delta: Any) -> Any:
            if given == "nothing":
                raise ZeroDivisionError
            return delta.tolist()

    model = built(Sequential([Dense(16), Fails(), Dense(3)]))
    trainer = Trainer(model, LOSS, optimizers.SGD(0.1), rng=0)
    errors = {"nothing": ZeroDivisionError, "a list": ShapeError}
    with warnings.catch_warnings(), pytest.raises(errors[given]):
        warnings.simplefilter("error", DeltasWarning)
        trainer.fit(*batch(), epochs=1, progress=False)


def test_an_error_in_the_forward_pass_is_the_same_with_and_without_the_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @define
    class Lists(Layer):
        fails = False

        def forward(self, x: Any) -> Any:
            return x.tolist() if type(self).fails else x + 0

        def backward(self, delta: Any) -> Any:
            return delta

    told = []
    for looks in (True, False):
        monkeypatch.setattr(DeltaWatch, "is_due", lambda watch, epoch, looks=looks: looks)
        Lists.fails = False
        model = built(Sequential([Dense(16), Lists(), Activation("relu"), Dense(3)]))
        Lists.fails = True
        with pytest.raises(DtypeError) as caught:
            Trainer(model, LOSS, optimizers.SGD(0.1), rng=0).fit(*batch(), progress=False)
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_the_warning_comes_before_the_error_of_the_same_step() -> None:
    model = built(Sequential([*[Dense(16, initializer=Normal(1e40)) for _ in range(7)], Dense(3)]))
    trainer = Trainer(model, LOSS, optimizers.SGD(0.1), rng=0)
    x, t = batch()
    with pytest.warns(ExplodingDeltasWarning), pytest.raises(NonFiniteError):
        trainer.fit(1e-200 * x, t, epochs=1, progress=False)


# ------------------------------------------------------------------------------- side effects


@define
class Noise(Layer):
    """y = x + noise, with a running mean, from its own generator or from one passed to it."""

    given: Any = None
    couples_batch = True

    def build(self, shape: Any) -> None:
        self.generator("own")
        self.buffer("mean", shape, "zeros")

    def forward(self, x: Any) -> Any:
        self.mean.value = 0.9 * self.mean.value + 0.1 * x.mean(axis=0)
        rng = self.own if self.given is None else self.given
        return x + 0.1 * rng.normal(size=x.shape)

    def backward(self, delta: Any) -> Any:
        return delta


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("is_given", [False, True])
def test_training_is_the_same_bit_for_bit_with_and_without_the_watch(
    is_given: bool, accumulate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, t = batch(300)
    ends = []
    for looks in (False, True):
        if not looks:
            monkeypatch.setattr(DeltaWatch, "is_due", lambda watch, epoch: False)
        noise = Noise(np.random.default_rng(5) if is_given else None)
        model = built(Sequential([Dense(16), noise, Activation("tanh"), Dense(3)]))
        trainer = Trainer(model, LOSS, optimizers.Adam(1e-2), rng=0)
        trainer.fit(x, t, epochs=5, batch_size=64, accumulate=accumulate, progress=False)
        ends.append(np.concatenate([model.parameters.value, model.buffers.value]))
        monkeypatch.undo()
    np.testing.assert_array_equal(*ends)


def test_nothing_is_computed_for_the_watch() -> None:
    calls = []

    @define
    class Counts(Layer):
        def forward(self, x: Any) -> Any:
            calls.append("forward")
            return x + 0

        def backward(self, delta: Any) -> Any:
            calls.append("backward")
            return delta

    model = built(Sequential([Dense(8), Counts(), Activation("tanh"), Dense(3)]))
    calls.clear()
    trainer = Trainer(model, LOSS, optimizers.SGD(1e-3), rng=0)
    trainer.fit(*batch(), epochs=4, batch_size=16, progress=False)
    assert calls == ["forward", "backward"] * 8


def test_a_parameter_frozen_in_a_measured_step_stays_frozen_afterwards() -> None:
    model = built(plain("tanh", 2))
    x, _ = batch()
    watch = DeltaWatch(model)
    with watch.measuring():
        model[0].freeze()
    model.parameters.zero_grad()
    model.forward(x)
    model.backward_parameters(np.ones((len(x), 3)))
    assert "dense_1" not in model.plan.asked_by_training()
    assert not model[0].weights.grad.any() and model[2].weights.grad.any()


@pytest.mark.parametrize("scale", [1e-170, 1e-12, 1e150])
def test_deltas_are_measured_where_their_squares_underflow_or_overflow(scale: float) -> None:
    model = built(plain("sigmoid", 20))
    x, t = batch()
    with np.errstate(all="raise", under="ignore"):
        watch = DeltaWatch(model)
        measure(watch, model, x, t)
        sizes = [one.size for one in watch._signals.values()]
        measure(watch, model, x, t, Scaled(scale))
    scaled = [one.size for one in watch._signals.values()]
    np.testing.assert_allclose(scaled, np.multiply(scale, sizes), rtol=1e-12)


@define
class Scaled(losses.HalfSquaredError):
    """C = scale · ½⟨‖y − t‖²⟩."""

    scale: float = 1.0

    def value_and_delta(self, y: Any, target: Any, sample_weights: Any = None) -> Any:
        cost, delta = losses.HalfSquaredError.value_and_delta(self, y, target, sample_weights)
        return self.scale * cost, self.scale * delta


def test_in_later_epochs_exploding_deltas_are_reported_if_gradients_explode_too() -> None:
    model = built(Sequential([*[Dense(16, initializer=Normal(2.0)) for _ in range(12)], Dense(3)]))
    x, t = batch()
    gradients = [step.gradient_sizes["weights"] for step in trace(model, x, t, LOSS)]
    assert max(gradients) < 1e3 * min(gradients)  # y grows upwards as Δ grows downwards
    assert warned(model) and not warned(model, epoch=2)
    model = built(plain("tanh", 1))
    model[2].weights.value *= 1e8
    assert "dense_1, epoch 2" in the_one(warned(model, epoch=2), ExplodingDeltasWarning).place
