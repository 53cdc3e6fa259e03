"""The layer as authors and users see it: shared parameters, private memory, complete copies."""

from __future__ import annotations

import copy
import pickle
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from attrs import field

import chainrule.core.layer
from chainrule import check_layer
from chainrule.core.errors import ShapeError
from chainrule.core.layer import Layer
from chainrule.core.layer_state import field_names
from chainrule.graph.sequential import Sequential
from chainrule.layers.activation import Activation
from chainrule.layers.dense import Dense
from chainrule.layers.softmax import Softmax
from laws.unusual_layers import BatchNorm, Dropout, KeepsADictionary, Shuffled, TwoPaths


class Linear(Layer):  # the layer of the documentation
    units: int

    def build(self, input_shape):
        self.weights = self.parameter("weights", (*input_shape, self.units), "glorot_uniform")

    def forward(self, inputs):
        self.inputs = inputs
        return inputs @ self.weights.value

    def backward(self, delta):
        self.weights.accumulate(self.inputs.T @ delta)
        return delta @ self.weights.value.T


def built(layer, *shapes, **how):
    layer.build(*(shapes or ((3,),)), **{"rng": 0, **how})
    return layer


def batch(rows=5, seed=0, width=3):
    return np.random.default_rng(seed).normal(size=(rows, width))


MODELS = {
    "linear": lambda: Linear(2),
    "dense": lambda: Dense(2),
    "careless": lambda: KeepsADictionary(),
    "normalized": lambda: BatchNorm(),
    "layers": lambda: TwoPaths(Linear(3), Sequential([Linear(4), Activation("gelu"), Linear(3)])),
    "sequence": lambda: Sequential(
        [Dense(4), BatchNorm(), KeepsADictionary(), Sequential([Linear(4), Softmax()])]
    ),
}
each_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def pickled(layer):
    return pickle.loads(pickle.dumps(layer))


# ------------------------------------------------------------------------------- an own layer


def test_a_custom_layer_learns():
    """Gradient descent on ½⟨|y − t|²⟩ finds the weights that the targets were made with."""
    layer, x = built(Linear(2)), batch(50)
    truth = np.array([[1.0, -2.0], [0.5, 0.0], [3.0, 1.0]])
    for _ in range(300):
        layer.parameters.zero_grad()
        layer.backward((layer.forward(x) - x @ truth) / len(x))
        theta = layer.parameters.value
        theta -= 0.5 * layer.parameters.grad
    np.testing.assert_allclose(layer.weights.value, truth, rtol=0, atol=1e-12)


def test_forward_remembers_and_backward_gives_the_gradients():
    layer, x, delta = built(Linear(2)), batch(), batch(width=2, seed=1)
    w = layer.weights.value
    np.testing.assert_array_equal(layer.forward(x), x @ w)
    np.testing.assert_array_equal(layer.backward(delta), delta @ w.T)
    np.testing.assert_array_equal(layer.weights.grad, x.T @ delta)
    layer.backward_parameters(delta)  # by default the same, and it adds up
    np.testing.assert_array_equal(layer.weights.grad, 2 * (x.T @ delta))


def test_a_parameter_has_its_name_and_its_initial_values():
    class Many(Layer):
        def build(self, input_shape):
            self.returned = self.parameter("plain", input_shape)
            self.parameter("ones", (2, 2), "ones")
            self.parameter("half", (), 0.5)

        def forward(self, x):
            return +x

    layer = built(Many(), dtype="float32")
    assert layer.parameters.paths == ["plain", "ones", "half"]
    np.testing.assert_array_equal(layer.parameters.value, [0, 0, 0, 1, 1, 1, 1, 0.5])
    assert layer.returned is layer.plain
    assert {p.dtype for p in layer.parameters} == {np.dtype(np.float32)}


def test_buffers_have_their_own_vector_and_no_optimizer_sees_them():
    model = built(Sequential([Dense(3), BatchNorm()]))
    assert model.buffers.paths == ["batch_norm_1.mean", "batch_norm_1.variance"]
    assert model.parameters.paths[2:] == ["batch_norm_1.scale", "batch_norm_1.shift"]
    np.testing.assert_array_equal(model.buffers.value, [0, 0, 0, 1, 1, 1])
    x = batch()
    model[:1].forward(x)
    z = model[0](x)
    model.forward(x)
    np.testing.assert_allclose(model[1].mean.value, 0.1 * z.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(model[1].variance.value, 0.9 + 0.1 * z.var(axis=0), rtol=1e-14)
    mean = model.buffers["batch_norm_1.mean"]
    assert mean is model[1].mean and np.shares_memory(mean.value, model.buffers.value)


def test_a_seed_makes_random_layers_reproducible_and_each_draws_separately():
    x = np.ones((4, 3))
    one, two = (built(Sequential([Dropout(), Dropout()]), rng=3) for _ in range(2))
    for _ in range(3):
        np.testing.assert_array_equal(one.forward(x), two.forward(x))
    first, second = (step.layer for step in one.plan.steps)
    assert not np.array_equal(first.mask, second.mask)
    assert not np.array_equal(one.forward(x), one.forward(x))
    assert list(one.generators) == ["dropout_1.coin", "dropout_2.coin"]
    other = built(Sequential([Dropout(), Dropout()]), rng=4)
    assert not np.array_equal(one.forward(batch(50)), other.forward(batch(50)))


# ------------------------------------------------------------------------------- twins, inference


@each_model
def test_a_twin_shares_parameters_and_has_its_own_memory(make):
    layer = built(make())
    twin, x, other = layer.twin(), batch(seed=1), batch(seed=2)
    assert type(twin) is type(layer) and list(twin.parameters) == list(layer.parameters)
    assert list(twin.buffers) == list(layer.buffers)
    reference = copy.deepcopy(layer)
    y = layer.forward(x)
    delta = np.ones_like(y)
    reference.forward(x)
    twin.forward(other)
    twin.forget()
    np.testing.assert_array_equal(layer.backward(delta), reference.backward(delta))
    np.testing.assert_array_equal(layer.parameters.grad, reference.parameters.grad)
    layer.parameters.value = layer.parameters.value + 1
    np.testing.assert_array_equal(twin.parameters.value, layer.parameters.value)


def test_twins_share_their_buffers_and_generators():
    model = built(Sequential([BatchNorm(), Dropout()]))
    twin, x = model.twin(), batch()
    assert twin.generators == model.generators and list(twin.buffers) == list(model.buffers)
    twin.forward(x)
    np.testing.assert_allclose(model[0].mean.value, 0.1 * x.mean(axis=0), rtol=1e-14)
    alone = built(Sequential([BatchNorm(), Dropout()]))
    alone.forward(x)
    np.testing.assert_array_equal(model.forward(x), alone.forward(x))  # the second draw of both


def test_gradients_of_twins_add_up_in_the_parameters_that_they_share():
    layer = built(Linear(2))
    twin, x, other, delta = layer.twin(), batch(seed=1), batch(seed=2), batch(seed=3, width=2)
    layer.forward(x)
    twin.forward(other)
    layer.backward(delta)
    twin.backward(2 * delta)
    np.testing.assert_allclose(
        layer.weights.grad, x.T @ delta + 2 * (other.T @ delta), rtol=1e-14, atol=1e-14
    )


def remembered(layer):
    """All attributes of a layer and those inside it."""
    return [
        (path, name, id(value))
        for path, part in layer.walk()
        for name, value in part.attributes().items()
        if name != "_unrolled"
    ]


@each_model
def test_apply_leaves_no_trace(make):
    layer = built(make())
    x = batch(seed=1)
    y = layer.forward(x)
    before, grad = remembered(layer), layer.parameters.grad.copy()
    buffers = layer.buffers.value.copy()
    for use in (layer.apply, layer):
        assert use(batch(seed=2)).shape == y.shape
    assert remembered(layer) == before
    np.testing.assert_array_equal(layer.buffers.value, buffers)
    np.testing.assert_array_equal(layer.parameters.grad, grad)
    layer.forget()
    layer.apply(x)
    assert not any(name in ("inputs", "_delta_shape") for _, name, _ in remembered(layer))


def test_apply_is_what_its_author_wrote():
    x = batch()
    dropout = built(Dropout(0.9))
    np.testing.assert_array_equal(dropout(x), x)
    model = built(Sequential([dropout, BatchNorm()]))
    np.testing.assert_allclose(model(x), x / np.sqrt(1 + 1e-5), rtol=1e-15)


@pytest.fixture
def many_switches():
    """Threads switch as often as possible, so that a race shows."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@each_model
def test_eight_threads_can_apply_a_model_while_a_ninth_goes_forward_and_back(make, many_switches):
    model = built(make())
    inputs = [batch(20, seed) for seed in range(8)]
    y = model.forward(inputs[0])
    model.parameters.zero_grad()
    model.backward(np.ones_like(y))
    gradient = model.parameters.grad.copy()
    expected = [model(x) for x in inputs]
    start = threading.Barrier(9)

    def use(number):
        start.wait()
        return [np.array_equal(model(inputs[number]), expected[number]) for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        verdicts = [pool.submit(use, number) for number in range(8)]
        start.wait()
        for _ in range(30):
            model.parameters.zero_grad()
            if not len(model.buffers):  # which would change, and with it what the eight expect
                model.forward(inputs[0])
            model.backward(np.ones_like(y))
            np.testing.assert_array_equal(model.parameters.grad, gradient)
        assert all(all(verdict.result()) for verdict in verdicts)


def test_forget_deletes_the_memory_and_nothing_else():
    model = built(TwoPaths(Linear(3), Shuffled()))
    before = remembered(model)
    model.forward(batch())
    assert remembered(model) != before
    model.forget()
    assert remembered(model) == before
    assert model(batch()).shape == (5, 3)


# ------------------------------------------------------------------------------- copies


@each_model
@pytest.mark.parametrize("make_copy", [copy.deepcopy, pickled], ids=["deepcopy", "pickle"])
def test_a_copy_is_complete_and_independent(make, make_copy):
    model, x = built(make()), batch()
    y = model.forward(x)
    model.backward(np.ones_like(y))
    copied = make_copy(model)
    assert copied.unbuilt() == model.unbuilt() and repr(copied) == repr(model)
    for one, other in (
        (copied.parameters.value, model.parameters.value),
        (copied.parameters.grad, model.parameters.grad),
        (copied.buffers.value, model.buffers.value),
    ):
        np.testing.assert_array_equal(one, other)
        assert not np.shares_memory(one, other)
    assert copied.parameters.paths == model.parameters.paths
    assert (copied.input_shapes, copied.output_shapes) == (model.input_shapes, model.output_shapes)
    np.testing.assert_array_equal(copied(x), model(x))
    np.testing.assert_array_equal(copied.forward(x), model.forward(x))
    np.testing.assert_array_equal(copied.backward(np.ones_like(y)), model.backward(np.ones_like(y)))
    np.testing.assert_array_equal(copied.parameters.grad, model.parameters.grad)
    before = model(x)
    copied.parameters.value = 0 * copied.parameters.value
    copied.buffers.value = 0 * copied.buffers.value
    np.testing.assert_array_equal(model(x), before)


@pytest.mark.parametrize("make_copy", [copy.deepcopy, pickled], ids=["deepcopy", "pickle"])
def test_the_copy_of_a_random_layer_continues_with_the_same_draws(make_copy):
    model, x = built(Dropout()), np.ones((20, 3))
    model.forward(x)
    copied = make_copy(model)
    first, second = model.forward(x), model.forward(x)
    np.testing.assert_array_equal(copied.forward(x), first)
    np.testing.assert_array_equal(copied.forward(x), second)


def test_a_model_from_another_process_has_the_dtype_objects_of_numpy():
    copied = pickled(built(Sequential([Dense(2, use_bias=False)])))
    assert copied.dtype is copied[0].dtype is copied.parameters.value.dtype is np.dtype(np.float64)


@pytest.mark.parametrize("make_copy", [copy.deepcopy, pickled], ids=["deepcopy", "pickle"])
def test_what_is_shared_stays_shared_in_a_copy(make_copy):
    shared = Linear(3)
    model = built(Sequential([shared, Activation("tanh"), shared]))
    copied = make_copy(model)
    assert copied[0] is copied[2] and copied[0] is not shared
    model, part = make_copy((model, model[0]))
    assert part.weights is model[0].weights
    part, model = make_copy((part, model))
    assert part.weights is model[0].weights


def test_the_shallow_copy_is_the_twin():
    layer = built(Linear(2))
    twin = copy.copy(layer)
    assert twin is not layer and twin.weights is layer.weights


@each_model
def test_an_unbuilt_copy_has_the_configuration_and_nothing_else(make):
    model = built(make())
    model.forward(batch())
    fresh = model.unbuilt()
    assert not fresh.is_built
    assert not any(set(part.__dict__) - field_names(type(part)) for _, part in fresh.walk())
    assert fresh == make()
    built(fresh, (3,), dtype="float32")
    assert model.dtype == np.float64 and fresh.dtype == np.float32
    np.testing.assert_array_equal(
        fresh.parameters.value, built(make()).parameters.value.astype("f4")
    )


def test_what_the_constructor_computes_is_part_of_the_configuration():
    class Powers(Layer):
        highest: int
        exponents: Any = field(init=False)

        def __attrs_post_init__(self):
            self.exponents = list(range(1, self.highest + 1))
            self.number = len(self.exponents)  # not a field

        def forward(self, x):
            self.x = x
            return sum(x**n for n in self.exponents) / self.number

        def backward(self, delta):
            return sum(n * self.x ** (n - 1) for n in self.exponents) / self.number * delta

    x = batch()
    expected = (x + x**2 + x**3) / 3
    layer = Powers(3)
    layer.forget()
    for fresh in (layer.unbuilt(), copy.deepcopy(layer), layer.twin(), layer):
        np.testing.assert_allclose(fresh(x), expected, rtol=1e-14)
        assert "x" not in fresh.unbuilt().__dict__
        for again in (fresh.unbuilt(), copy.deepcopy(fresh), fresh.twin()):
            np.testing.assert_allclose(again(x), expected, rtol=1e-14)


def test_an_unbuilt_layer_can_be_pickled_and_copied():
    for make_copy in (copy.deepcopy, copy.copy, pickled):
        fresh = make_copy(Sequential([Dense(2), Activation("tanh")]))
        assert fresh == Sequential([Dense(2), Activation("tanh")]) and not fresh.is_built


# ------------------------------------------------------------------------------- what is shown


def test_layers_are_equal_if_their_configurations_are():
    assert Linear(2) == Linear(2) != Linear(3)
    assert built(Linear(2)) == Linear(2) != Dense(2)
    assert TwoPaths(Linear(2), Dense(3)) == TwoPaths(Linear(2), Dense(3))
    assert TwoPaths(Linear(2), Dense(3)) != TwoPaths(Linear(2), Dense(4))


def test_the_repr_is_the_python_that_makes_the_layer():
    for layer in (Linear(2), BatchNorm(momentum=0.5), TwoPaths(Linear(3), Dense(2))):
        assert eval(repr(layer)) == layer
    assert repr(built(Linear(2))) == "Linear(units=2)"


def test_what_a_layer_knows_once_it_is_built():
    layer = built(Linear(2), dtype="float32")
    assert layer.is_built and layer.dtype == np.float32
    assert (layer.input_shape, layer.output_shape) == ((3,), (2,))
    assert (layer.input_shapes, layer.output_shapes) == (((3,),), ((2,),))
    assert not Linear(2).is_built


def test_the_example_of_the_lesson_runs_as_written(capsys):
    lesson = chainrule.core.layer.__doc__
    first, last = lesson.index("    from chainrule"), lesson.index("The first batch")
    names: dict[str, Any] = {"__name__": __name__}
    exec(textwrap.dedent(lesson[first:last]), names)
    assert "Linear" in capsys.readouterr().out
    assert names["Linear"](2) == names["Linear"](units=2)


class RunningTotal(Layer):
    """A state of your own that is carried from batch to batch: the sum so far, for each row."""

    def build(self, input_shape):
        self.buffer("total", (None, *input_shape))

    def forward(self, x):
        y = self.apply(x)
        if len(x):
            self.total.value = y
        return y

    def backward(self, delta):
        return delta

    def apply(self, x):
        carried = self.total.value
        return x + carried if len(carried) and len(x) else +x


def test_a_buffer_with_an_open_axis_carries_a_state_until_reset():
    layer = RunningTotal()
    for expected in (1, 2, 3):
        np.testing.assert_array_equal(layer(np.ones((2, 3))), np.full((2, 3), expected))
        np.testing.assert_array_equal(layer.forward(np.ones((2, 3))), np.full((2, 3), expected))
    layer.reset()
    np.testing.assert_array_equal(layer.forward(np.ones((4, 3))), np.ones((4, 3)))
    assert check_layer(RunningTotal(), (3,)).ok


def test_a_parameter_has_no_open_axis():
    class Wrong(Layer):
        def build(self, input_shape):
            self.parameter("weights", (None, 3))

        def forward(self, x):
            return x

    with pytest.raises(ShapeError, match="invalid shape"):
        Wrong().build((3,))
