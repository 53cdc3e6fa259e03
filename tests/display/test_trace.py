"""The trace: the numbers of the pass itself, all of them, and nothing left behind."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from attrs import define
from rich.console import Console

from chainrule import (
    Activation,
    Add,
    Branches,
    Concatenate,
    Dense,
    Graph,
    Input,
    Layer,
    Residual,
    Sequential,
    Slice,
    Softmax,
    derivatives,
    losses,
)
from chainrule.core.errors import BuildError, DataError, DefinitionError, NonFiniteError, ShapeError
from chainrule.display.trace import NonFinite, Trace, size_of, trace


@pytest.fixture(autouse=True)
def a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "JUPYTER_COLUMNS"):
        monkeypatch.delenv(name, raising=False)


HALF = losses.HalfSquaredError()


@define
class Fork(Layer):
    """Returns its input twice."""

    def forward(self, inputs):
        return inputs + 0, 2 * inputs

    def backward(self, delta):
        one, two = delta
        return one + 2 * two


@define
class Noisy(Layer):
    """Adds noise, and counts in a state how often it did."""

    def build(self, input_shape):
        self.generator("noise")
        self.buffer("count", (1,), "zeros")

    def forward(self, inputs):
        self.count.value += 1
        return inputs + self.noise.normal(size=inputs.shape).astype(inputs.dtype)

    def backward(self, delta):
        return +delta


@define
class Pair(Layer):
    """Holds layers, and is no container that a plan could unroll."""

    one: Layer
    two: Layer

    def forward(self, inputs):
        return self.two.forward(self.one.forward(inputs))

    def backward(self, delta):
        return self.one.backward(self.two.backward(delta))


@define
class BadBackward(Layer):
    """Right forward; on the way back it makes one NaN of the first number."""

    def forward(self, inputs):
        return +inputs

    def backward(self, delta):
        back = +delta
        back.flat[0] = np.nan
        return back


@define
class Lost(Layer):
    """Raises on one of the two ways."""

    method: str

    def forward(self, inputs):
        if self.method == "forward" and len(inputs):
            raise ValueError("lost")
        return +inputs

    def backward(self, delta):
        raise ValueError("lost")


def built(model: Any, *shapes: Any, dtype: str = "float64") -> Any:
    model.build(*(shapes or ((4,),)), rng=0, dtype=dtype)
    return model


def many(*shapes: Any, dtype: str = "float64", batch: int = 5, seed: int = 1) -> Any:
    rng = np.random.default_rng(seed)
    arrays = tuple(rng.normal(size=(batch, *shape)).astype(dtype) for shape in shapes or ((4,),))
    return arrays if len(arrays) > 1 else arrays[0]


def several() -> Graph:
    """Two inputs, two outputs, one of which is used inside too, and a shared layer."""
    image, other = Input((4,), name="image"), Input((3,))
    shared = Dense(5)
    inner = shared(Activation("tanh")(shared(Dense(5)(image))))
    joined = Concatenate()(inner, other)
    return Graph([image, other], [joined, Dense(2)(joined)])


def forked() -> Graph:
    x = Input((4,))
    one, two = Fork()(x)
    return Graph(x, Add()(Dense(3)(one), Dense(3)(two)))


def shared() -> Sequential:
    layer = Dense(4)
    return Sequential([layer, Activation("sigmoid"), layer, Activation("sigmoid"), layer])


def tanh() -> Activation:
    return Activation("tanh")


def around() -> Sequential:
    """One activation in two places, which knows only the shape of the first."""
    layer = tanh()
    return Sequential([layer, Dense(3), layer])


MODELS: dict[str, Any] = {
    "sequential": lambda: Sequential([Dense(6), Activation("gelu"), Dense(3), Softmax()]),
    "dense": lambda: Dense(3),
    "activation": lambda: Activation("softplus"),
    "shared": shared,
    "shared activation": around,
    "residual": lambda: Sequential([Residual(Dense(4), Activation("tanh")), Dense(2)]),
    "branches": lambda: Branches([Dense(3), Sequential([Dense(2), tanh()])], merge=Concatenate()),
    "nested": lambda: Sequential([Dense(4), Sequential([Residual(Sequential([Dense(4)]))])]),
    "several": several,
    "fork": forked,
    "holding layers": lambda: Sequential([Pair(Dense(3), Activation("tanh")), Dense(2)]),
    "noisy": lambda: Sequential([Dense(3), Noisy(), Dense(2)]),
}
INPUTS = {"several": ((4,), (3,))}


def setting(name: str, dtype: str = "float64") -> tuple[Any, Any, Any, Any]:
    """A model with data and a loss."""
    shapes = INPUTS.get(name, ((4,),))
    model = built(MODELS[name](), *shapes, dtype=dtype)
    x = many(*shapes, dtype=dtype)
    if name == "several":
        return model, x, many((8,), (2,), dtype=dtype), losses.PerOutput([HALF, HALF])
    return model, x, many(model.output_shape, dtype=dtype), HALF


def as_tuple(arrays: Any) -> tuple[Any, ...]:
    return arrays if isinstance(arrays, tuple) else (arrays,)


def equal(one: Any, two: Any) -> bool:
    pairs = list(zip(as_tuple(one), as_tuple(two), strict=True))
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


# ------------------------------------------------------------------------------- the numbers


def test_every_number_of_a_small_net_is_the_one_worked_out_by_hand() -> None:
    square = Activation(lambda z: z * z, lambda z: 2 * z)
    model = built(Sequential([Dense(1), square, Dense(1)]), (2,))
    model.parameters.value[:] = [1.0, -1.0, 0.5, 2.0, 1.0]  # w¹, b¹, w², b²
    found = trace(model, np.array([[1.0, 2.0]]), np.array([[0.5]]), HALF)
    # z = 1 − 2 + ½ = −½,  y = z² = ¼,  2 y + 1 = 1½,  C = ½ (1½ − ½)² = ½
    assert found.cost == 0.5
    one, middle, two = found.steps
    assert one.output == [[-0.5]]
    assert middle.output == [[0.25]]
    assert middle.slope == [[-1.0]]  # 2 z
    assert found.outputs == two.output == [[1.5]]
    # Δ = 1,  through w² = 2,  through f′ = −1
    assert two.delta == [[1.0]]
    assert two.returned_delta == middle.delta == [[2.0]]
    assert middle.returned_delta == one.delta == [[-2.0]]
    assert two.gradients["weights"] == [[0.25]]
    assert two.gradients["biases"] == [1.0]
    assert one.gradients["weights"].tolist() == [[-2.0], [-4.0]]
    assert one.gradients["biases"].tolist() == [-2.0]
    assert found.input_deltas.tolist() == [[-2.0, 2.0]]
    assert one.parameters["weights"].tolist() == [[1.0], [-1.0]]
    assert (one.output_size, middle.slope_mean, middle.delta_size) == (0.5, -1.0, 2.0)
    assert one.returned_delta_size == 2.0
    assert one.gradient_sizes == {"weights": pytest.approx(np.sqrt(10.0)), "biases": 2.0}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MODELS)
def test_the_numbers_are_those_of_forward_and_backward_to_the_last_bit(
    name: str, dtype: str
) -> None:
    model, x, target, loss = setting(name, dtype)
    found = trace(model, x, target, loss)
    again = copy.deepcopy(model)
    again.parameters.zero_grad()
    y = again.forward(*as_tuple(x))
    cost, delta = loss.value_and_delta(y, target)
    assert equal(found.outputs, y)
    assert found.cost == float(cost)
    assert equal(found.input_deltas, again.backward(delta))
    assert equal(found.inputs, x)
    for step in found:
        for key, gradient in step.gradients.items():
            path = f"{step.place}{'/' if '.' in key else '.'}{key}"
            if len(found) == 1 and not model.children():
                path = key
            if step.shares_with is None:
                assert equal(gradient, again.parameters[path].grad)
                assert equal(step.parameters[key], again.parameters[path].value)
            else:
                assert equal(gradient, found[step.shares_with].gradients[key])
    assert {array.dtype for array in as_tuple(found.outputs)} == {np.dtype(dtype)}


@pytest.mark.parametrize("name", MODELS)
def test_cost_and_gradient_are_those_of_value_and_gradient(name: str) -> None:
    model, x, target, loss = setting(name)
    weights = np.linspace(0.5, 2.0, 5)
    cost, gradient = derivatives.value_and_gradient(model, loss, x, target, weights)
    found = trace(model, x, target, loss, sample_weights=weights)
    assert found.cost == cost
    own = [g.ravel() for step in found if not step.shares_with for g in step.gradients.values()]
    np.testing.assert_array_equal(np.sort(np.concatenate([[], *own])), np.sort(gradient))


@pytest.mark.parametrize("name", ["sequential", "residual", "branches", "nested", "several"])
def test_every_step_follows_from_what_it_takes_and_what_takes_it(name: str) -> None:
    model, x, target, loss = setting(name)
    found = trace(model, x, target, loss)
    made = dict(zip(found.input_names, as_tuple(found.inputs), strict=True))
    made |= {step.place: step.output for step in found}
    for step in found:
        if step.layer.startswith("Dense"):
            (y,) = (made[name] for name in step.takes)
            if step.place not in ("dense_2", "dense_3") or name != "several":  # those that share
                np.testing.assert_array_equal(step.gradients["weights"], y.T @ step.delta)
            np.testing.assert_array_equal(
                step.output, y @ step.parameters["weights"] + step.parameters["biases"]
            )
        if step.slope is not None:
            np.testing.assert_array_equal(step.returned_delta, step.slope * step.delta)
        assert [d.shape for d in as_tuple(step.returned_delta)] == [
            made[name].shape for name in step.takes
        ]


def test_the_slope_is_the_derivative_of_the_function() -> None:
    for name in ("sigmoid", "tanh", "relu", "gelu", "softplus", "identity"):
        z = many()
        found = trace(built(Activation(name)), z, np.zeros_like(z), HALF)
        expected = Activation(name).derivative(z)
        np.testing.assert_allclose(found["activation"].slope, expected, rtol=1e-12, atol=1e-15)


def test_the_delta_of_a_value_that_took_two_paths_is_the_sum_of_both() -> None:
    model, x, target, loss = setting("residual")
    found = trace(model, x, target, loss)
    over, through = found["residual_1/add"].returned_delta
    assert np.array_equal(over, through)
    expected = over + found["residual_1/dense_1"].returned_delta
    np.testing.assert_array_equal(found.input_deltas, expected)


def test_a_graph_that_returns_its_input_gives_it_the_delta_of_that_too() -> None:
    x = Input((3,))
    model = built(Graph(x, [x, Dense(2)(x)]), (3,))
    data, target = many((3,)), many((3,), (2,), seed=2)
    loss = losses.PerOutput([HALF, HALF])
    found = trace(model, data, target, loss)
    y = model.forward(data)
    assert equal(found.input_deltas, model.backward(loss.delta(y, target)))
    assert equal(found.outputs, y)


def test_any_object_with_value_and_delta_is_a_loss() -> None:
    class Sums:
        def value_and_delta(self, y: Any, target: Any, sample_weights: Any = None) -> Any:
            assert target == "what it likes"
            return sum(map(np.sum, y)), tuple(map(np.ones_like, y))

    model, x, _, _ = setting("several")
    found = trace(model, x, "what it likes", Sums())
    assert found.loss == "Sums"
    assert found.cost == pytest.approx(sum(map(np.sum, found.outputs)))
    assert np.array_equal(found["dense_4"].delta, np.ones((5, 2)))


def test_sizes_neither_overflow_nor_vanish_where_their_squares_would() -> None:
    assert size_of(np.full(7, 1e300)) == pytest.approx(1e300)
    assert size_of(np.full(7, 1e-300)) == pytest.approx(1e-300)
    assert size_of(np.full(7, 3e38, np.float32)) == pytest.approx(3e38, rel=1e-6)
    assert size_of((np.array([3.0, 4.0]), np.zeros((1, 2)))) == 2.5
    assert size_of(np.zeros((0, 3))) == 0.0
    assert np.isnan(size_of(np.array([1.0, np.nan])))
    assert size_of(np.array([1.0, -np.inf])) == np.inf


def test_an_empty_batch_has_a_trace() -> None:
    model = built(Sequential([Dense(3), Activation("tanh")]))
    found = trace(model, np.zeros((0, 4)), np.zeros((0, 3)), HALF)
    assert found.cost == 0
    assert found["activation_1"].slope_mean == 0
    assert "(0, 3)" in str(found)


# ------------------------------------------------------------------------------- the places


def test_every_call_has_its_own_place_and_says_what_it_takes() -> None:
    model, x, target, loss = setting("several")
    found = trace(model, x, target, loss)
    assert found.input_names == ("image", "input")
    assert {step.place: step.takes for step in found} == {
        "dense_1": ("image",),
        "dense_2": ("dense_1",),
        "activation_1": ("dense_2",),
        "dense_3": ("activation_1",),
        "concatenate_1": ("dense_3", "input"),
        "dense_4": ("concatenate_1",),
    }
    assert found["dense_3"].shares_with == "dense_2"
    assert found["dense_2"].shares_with is None
    assert not np.array_equal(found["dense_2"].output, found["dense_3"].output)


def test_layers_in_containers_have_paths() -> None:
    model, x, target, loss = setting("nested")
    places = [step.place for step in trace(model, x, target, loss)]
    assert places == [
        "dense_1",
        "sequential_1/residual_1/sequential_1/dense_1",
        "sequential_1/residual_1/add",
    ]


def test_a_layer_of_several_outputs_has_them_as_a_tuple() -> None:
    model, x, target, loss = setting("fork")
    found = trace(model, x, target, loss)
    one, two = found["fork_1"].output
    assert np.array_equal(two, 2 * one)
    assert len(found["fork_1"].delta) == 2
    assert found["fork_1"].output_shapes == ((5, 4), (5, 4))
    assert found["dense_2"].takes == ("fork_1[1]",)


def test_a_bare_layer_has_one_step() -> None:
    found = trace(built(Dense(3)), many(), many((3,)), HALF)
    (step,) = found
    assert step is found["dense"]
    assert (step.place, step.layer, step.takes) == ("dense", "Dense(3)", ("input",))


def test_a_place_that_is_not_there_is_an_error_that_names_those_that_are() -> None:
    found = trace(*setting("residual"))
    with pytest.raises(KeyError, match="no step 'dense_7'; there are residual_1/dense_1, "):
        found["dense_7"]
    deep = built(Sequential([Dense(4) for _ in range(30)]))
    with pytest.raises(KeyError, match=r"dense_31.*dense_3") as caught:
        trace(deep, many(), many(), HALF)["dense_31"]
    assert len(str(caught.value)) < 90


def test_the_dictionary_has_every_array_under_a_flat_name(tmp_path: Path) -> None:
    model, x, target, loss = setting("sequential")
    found = trace(model, x, target, loss)
    flat = found.to_dict()
    assert set(flat) == {"input.value", "input.delta", "cost"} | {
        f"{place}.{quantity}"
        for place in ("dense_1", "activation_1", "dense_2", "softmax_1")
        for quantity in ("output", "delta", "returned_delta")
    } | {"activation_1.slope"} | {
        f"dense_{n}.{name}.{quantity}"
        for n in (1, 2)
        for name in ("weights", "biases")
        for quantity in ("value", "grad")
    }
    assert flat["cost"] == found.cost
    assert equal(flat["dense_1.weights.grad"], found["dense_1"].gradients["weights"])
    np.savez(tmp_path / "pass.npz", **flat)
    with np.load(tmp_path / "pass.npz") as read:
        assert all(np.array_equal(read[name], array) for name, array in flat.items())


def test_the_dictionary_numbers_several_arrays_and_keeps_the_paths_of_parameters() -> None:
    flat = trace(*setting("fork")).to_dict()
    assert np.array_equal(flat["fork_1.output[1]"], 2 * flat["fork_1.output[0]"])
    assert "add_1.returned_delta[1]" in flat
    flat = trace(*setting("holding layers")).to_dict()
    assert {"pair_1/one.weights.grad", "dense_1.weights.value"} <= set(flat)


# ------------------------------------------------------------------------------- no trace left


@pytest.mark.parametrize("name", MODELS)
def test_a_trace_leaves_the_model_as_it_was(name: str) -> None:
    model, x, target, loss = setting(name)
    y = model.forward(*as_tuple(x))
    model.backward(loss.delta(y, target))
    twin = copy.deepcopy(model)
    before = [p.grad.copy() for p in model.parameters], model.parameters.value.copy()
    state, noise = model.buffers.value.copy(), [g.bit_generator.state for g in _noise(model)]
    memories = [dict(layer.__dict__) for _, layer in model.walk()]
    trace(model, many(*INPUTS.get(name, ((4,),)), seed=9), target, loss)
    assert equal(tuple(p.grad for p in model.parameters), tuple(before[0]))
    assert equal(model.parameters.value, before[1])
    assert equal(model.buffers.value, state)
    assert [g.bit_generator.state for g in _noise(model)] == noise
    for (_, layer), memory in zip(model.walk(), memories, strict=True):
        assert layer.__dict__.keys() == memory.keys()
        assert all(layer.__dict__[key] is memory[key] for key in memory)
    assert equal(model.forward(*as_tuple(x)), twin.forward(*as_tuple(x)))


def _noise(model: Any) -> list[Any]:
    return list(model.generators.values())


def test_nothing_that_happens_later_changes_a_trace() -> None:
    model, x, target, loss = setting("sequential")
    found = trace(model, x, target, loss)
    before = found.to_dict()
    x[:] = 7
    model.parameters.value[:] = 7
    for array in found.to_dict().values():
        array[...] = 7
    after = found.to_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    with pytest.raises(ValueError, match="read-only"):
        found["dense_1"].output[0, 0] = 1
    with pytest.raises(AttributeError):
        found["dense_1"].output = 1


# ------------------------------------------------------------------------------- not finite


def deep(**how: Any) -> Any:
    layers = [layer for _ in range(3) for layer in (Dense(4, **how), Activation("relu"))]
    return built(Sequential([*layers, Dense(2)]))


def test_a_pass_of_finite_numbers_says_so() -> None:
    found = trace(deep(), many(), many((2,)), HALF)
    assert found.first_non_finite is None
    assert "finite" not in str(found)


def test_a_nan_in_a_weight_is_found_in_that_weight() -> None:
    model = deep()
    model.parameters["dense_2.weights"].value[1, 2] = np.nan
    found = trace(model, many(), many((2,)), HALF)
    assert found.first_non_finite == NonFinite("dense_2", "weights", 1, 0, 16)
    assert np.isnan(found.cost)
    assert np.isfinite(found["activation_1"].output).all()
    assert np.isnan(found["dense_2"].output[:, 2]).all()
    assert np.isnan(found["dense_1"].gradients["weights"]).all()


def test_an_input_that_is_not_finite_is_found_in_the_input() -> None:
    x = many()
    x[2, 1], x[3, 3] = np.inf, np.nan
    found = trace(deep(), x, many((2,)), HALF)
    assert found.first_non_finite == NonFinite("input", "value", 1, 1, 20)
    assert str(found.first_non_finite) == "value of input: 1 NaN and 1 infinite of 20 numbers"


def test_an_overflow_in_the_middle_is_found_where_it_arose_even_if_it_is_hidden_again() -> None:
    model = built(Sequential([Dense(3, initializer=1e200), Dense(2, initializer=1e200), tanh()]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = trace(model, np.ones((5, 4)), np.ones((5, 2)), HALF)
    assert found.first_non_finite == NonFinite("dense_2", "output", 0, 10, 10)
    assert found.cost == 0


def test_a_nan_that_only_arises_in_the_backward_pass_is_found_there() -> None:
    model = built(Sequential([Dense(4), BadBackward(), Dense(2)]))
    found = trace(model, many(), many((2,)), HALF)
    assert found.first_non_finite == NonFinite("bad_backward_1", "returned delta", 1, 0, 20)
    assert np.isfinite(found.cost)
    assert np.isnan(found["dense_1"].delta[0, 0])


def test_a_slope_that_is_infinite_is_found_before_the_delta_that_it_makes() -> None:
    root = Activation(np.sqrt, lambda z: 0.5 / np.sqrt(z))
    model = built(Sequential([Dense(3, initializer="zeros"), root]))
    found = trace(model, many(), many((3,)), HALF)
    assert found.first_non_finite == NonFinite("activation_1", "slope", 0, 15, 15)
    assert found["activation_1"].slope_mean == np.inf


def test_a_gradient_that_overflows_is_found_in_the_gradient() -> None:
    class Steep:
        def value_and_delta(self, y: Any, target: Any, sample_weights: Any = None) -> Any:
            return y.sum(), np.full_like(y, 1e300)

    model = built(Sequential([Dense(1, initializer="zeros")]))
    found = trace(model, np.full((5, 4), 1e10), None, Steep())
    assert found.first_non_finite == NonFinite("dense_1", "gradient of weights", 0, 4, 4)


def test_a_sum_of_deltas_that_overflows_is_found_where_they_meet() -> None:
    class Steep:
        def value_and_delta(self, y: Any, target: Any, sample_weights: Any = None) -> Any:
            return 0.0, tuple(np.full_like(part, 1.5e308) for part in y)

    x = Input((4,))
    h = Activation("identity")(x)
    branches = [Activation("identity")(h), Activation("identity")(h)]
    model = built(Graph(x, branches))
    found = trace(model, many(), None, Steep())
    assert found.first_non_finite == NonFinite("activation_1", "delta", 0, 20, 20)


def test_a_target_that_is_not_finite_is_found_before_the_cost() -> None:
    target = many((2,))
    target[0, 0] = np.nan
    found = trace(deep(), many(), target, HALF)
    assert found.first_non_finite == NonFinite("target", "value", 1, 0, 10)
    silenced = np.array([0.0, 1.0, 1.0, 1.0, 1.0])
    assert trace(deep(), many(), target, HALF, silenced).first_non_finite is None


def test_a_cost_or_a_delta_that_is_not_finite_is_found_in_the_loss() -> None:
    class Faulty:
        def __init__(self, cost: float, slope: float) -> None:
            self.cost, self.slope = cost, slope

        def value_and_delta(self, y: Any, target: Any, sample_weights: Any = None) -> Any:
            return self.cost, np.full_like(y, self.slope)

    found = trace(deep(), many(), None, Faulty(np.inf, 1.0))
    assert found.first_non_finite == NonFinite("Faulty", "cost", 0, 1, 1)
    found = trace(deep(), many(), None, Faulty(1.0, np.nan))
    assert found.first_non_finite == NonFinite("Faulty", "delta", 10, 0, 10)


def certain(slope: float) -> Any:
    model = built(Sequential([Dense(2), Softmax()]))
    model.parameters.value[:] = [slope, 0.0] * 4 + [0.0, 0.0]
    return model


def test_a_loss_that_raises_is_reported_and_the_backward_pass_is_missing() -> None:
    labels = np.ones(5, int)
    found = trace(certain(1000.0), np.ones((5, 4)), labels, losses.NegativeLogLikelihood())
    assert found.first_non_finite == NonFinite("NegativeLogLikelihood", "cost", 0, 0, 1)
    assert isinstance(found.error, NonFiniteError)
    assert found.cost is None
    assert found.input_deltas is None
    for step in found:
        assert step.delta is None
        assert step.returned_delta is None
        assert step.delta_size is None
        assert step.returned_delta_size is None
        assert step.gradients == {}
        assert np.isfinite(step.output).all()
    assert set(found["dense_1"].parameters) == {"weights", "biases"}
    assert not {"cost", "input.delta", "dense_1.delta"} & set(found.to_dict())
    text = str(found)
    assert "▶ first not finite: cost of NegativeLogLikelihood" in text
    assert "no backward pass: a class that occurred has probability zero" in text


def test_a_loss_that_refuses_what_was_not_finite_before_does_not_hide_where_it_began() -> None:
    model = built(Sequential([Dense(2, initializer=1e200), Dense(2, initializer=1e200)]))
    found = trace(model, np.ones((5, 4)), np.ones(5, int), losses.NegativeLogLikelihood())
    assert found.first_non_finite == NonFinite("dense_2", "output", 0, 10, 10)
    assert isinstance(found.error, DataError)


def test_the_pass_completes_where_numpy_is_asked_to_raise() -> None:
    model = built(Sequential([Dense(3, initializer=1e200), Dense(2, initializer=1e200)]))
    with np.errstate(all="raise"):
        found = trace(model, np.ones((5, 4)), np.ones((5, 2)), HALF)
        str(found)
    assert found.first_non_finite is not None
    assert found.cost == np.inf


# ------------------------------------------------------------------------------- errors


def test_what_is_no_layer_is_a_named_error() -> None:
    with pytest.raises(DefinitionError, match="needs a layer"):
        trace([Dense(3)], many(), many(), HALF)  # type: ignore[arg-type]


def test_a_model_that_is_not_built_is_to_be_built_first() -> None:
    with pytest.raises(BuildError, match=r"not built yet.*\n.*layer\.build"):
        trace(Sequential([Dense(3)]), many(), many((3,)), HALF)


def test_the_model_and_the_loss_themselves_refuse_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match="the input has the wrong width"):
        trace(deep(), many((5,)), many((2,)), HALF)
    with pytest.raises(ShapeError, match="wrong number of inputs"):
        trace(deep(), many((4,), (4,)), many((2,)), HALF)
    with pytest.raises(ShapeError, match="target"):
        trace(deep(), many(), many((3,)), HALF)
    with pytest.raises(DataError):
        trace(certain(1.0), many(), np.full(5, 2), losses.NegativeLogLikelihood())
    with pytest.raises(DataError):
        trace(deep(), many(), many((2,)), HALF, sample_weights=np.full(5, np.nan))


def test_a_loss_whose_delta_does_not_fit_is_a_named_error() -> None:
    class Wrong:
        def value_and_delta(self, y: Any, target: Any, sample_weights: Any = None) -> Any:
            return 0.0, y[0]

    with pytest.raises(ShapeError, match="the delta does not have the shape of the last output"):
        trace(deep(), many(), None, Wrong())


def test_a_layer_that_raises_is_reported_with_its_place() -> None:
    for method in ("forward", "backward"):
        model = built(Sequential([Dense(3), Residual(Lost(method)), Dense(3)]))
        with pytest.raises(ValueError, match="lost") as caught:
            trace(model, many(), many((3,)), HALF)
        assert any(f"sequential/residual_1/lost_1.{method}" in n for n in caught.value.__notes__)


# ------------------------------------------------------------------------------- the table


def flat_net() -> Trace:
    model = built(Sequential([Dense(3, initializer=0.5), Activation("sigmoid"), Dense(1)]))
    model.parameters["dense_2.weights"].value = np.ones((3, 1))
    return trace(model, np.zeros((2, 4)), np.full((2, 1), 0.5), HALF)


def test_the_table_says_what_was_worked_out_by_hand() -> None:
    assert str(flat_net()).splitlines() == [
        "                                                          |∂C/∂θ|  |∂C/∂θ|",
        "layer                    output    |y|  mean f′      |Δ|  weights   biases",
        "──────────────────────────────────────────────────────────────────────────",
        "input                    (2, 4)      0           1.9e-01",
        "dense_1       …          (2, 3)      0           1.2e-01        0  2.5e-01",
        "activation_1  'sigmoid'  (2, 3)  0.500    0.250  5.0e-01",
        "dense_2       1          (2, 1)   1.50           5.0e-01  5.0e-01  1.0e+00",
        "C = 0.5 with HalfSquaredError() · |a| = √(Σ aᵢ²/n) · Δ = ∂C/∂y",
    ]


@pytest.mark.parametrize("name", MODELS)
def test_the_table_fits_80_columns_and_names_every_place(name: str) -> None:
    found = trace(*setting(name))
    lines = str(found).splitlines()
    assert max(map(len, lines)) <= 80
    for step in found:
        assert any(step.place.rpartition("/")[2] in line for line in lines)
    assert repr(found) == str(found)


def test_a_wide_terminal_gets_the_whole_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    found = flat_net()
    assert "Activation('sigmoid')" not in str(found)
    assert "'sigmoid'" in str(found)
    monkeypatch.setenv("COLUMNS", "120")
    assert "Activation('sigmoid')" in str(found)
    monkeypatch.setenv("COLUMNS", "50")
    assert "sigmoid" not in str(found)
    assert "activation_1" in str(found)


def test_the_row_where_it_began_is_marked() -> None:
    model = deep()
    model.parameters["dense_2.weights"].value[1, 2] = np.nan
    found = trace(model, many(), many((2,)), HALF)
    marked = [line for line in str(found).splitlines() if line.startswith("▶")]
    assert marked[0].startswith("▶ dense_2")
    assert marked[1:] == ["▶ first not finite: weights of dense_2: 1 NaN of 16 numbers"]
    console = Console(width=80, force_terminal=True, color_system="standard", record=True)
    with console.capture() as capture:
        console.print(found)
    assert "\x1b[1;31m" in capture.get()


def test_a_long_table_leaves_out_its_middle_but_not_the_row_where_it_began() -> None:
    model = built(Sequential([Dense(4) for _ in range(200)]))
    model.parameters["dense_120.weights"].value[0, 0] = np.nan
    found = trace(model, many(), many(), HALF)
    text = str(found)
    assert "▶ dense_120" in text
    assert "dense_100 " not in text
    assert "… 89 more …" in text
    assert "… 50 more …" in text
    assert len(text.splitlines()) < 75
    assert len(found) == 200


def test_parameters_of_many_names_are_in_one_column() -> None:
    text = str(trace(*setting("holding layers")))
    assert "one.weights " in text
    assert "biases " in text


def test_shared_gradients_are_marked() -> None:
    text = str(trace(*setting("shared")))
    assert text.count("¹") == 5
    assert "¹ parameters shared with a row above, with a single gradient" in text


def test_a_notebook_shows_the_table() -> None:
    html = flat_net()._repr_html_()
    heads = ["".join(cell.itertext()) for cell in ElementTree.fromstring(html).iter("th")]
    assert "activation_1" in heads and "|y|" in heads


def test_a_step_says_in_short_what_it_is() -> None:
    step = flat_net()["activation_1"]
    assert repr(step).startswith("TracedStep(activation_1: Activation('sigmoid'), |output| 0.5")


def test_the_table_needs_no_matplotlib(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import numpy as np\n"
        "from chainrule import Dense, losses\n"
        "from chainrule.core.errors import MissingExtraError\n"
        "from chainrule.display.trace import trace\n"
        "layer = Dense(2); layer.build((3,))\n"
        "found = trace(layer, np.ones((2, 3)), np.ones((2, 2)), losses.HalfSquaredError())\n"
        "print(found)\n"
        "try:\n    found.plot()\n"
        "except MissingExtraError as error:\n    print(error)\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "dense" in done.stdout
    assert "pip install 'chainrule[plot]'" in done.stdout


def test_slices_of_a_value_have_deltas_that_add_up() -> None:
    x = Input((4,))
    model = built(Graph(x, Add()(Slice(0, 2)(x), Slice(2, 4)(x))))
    found = trace(model, many(), many((2,)), HALF)
    np.testing.assert_array_equal(found.input_deltas, np.hstack([found["add_1"].delta] * 2))


def test_a_list_of_losses_is_one_for_each_output() -> None:
    x = Input((3,))
    model = built(Graph(x, [Dense(2)(x), Dense(1)(x)]), (3,))
    data = many((3,)), (many((2,)), many((1,)))
    both = trace(model, *data, losses.PerOutput([HALF, HALF]))
    assert trace(model, *data, [HALF, HALF]).cost == both.cost
