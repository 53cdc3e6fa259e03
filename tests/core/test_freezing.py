"""Freezing: a parameter that is frozen has no gradient, and costs none, wherever it is shared."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from chainrule import Activation, Dense, Graph, Input, Layer, Sequential, check_layer, derivatives
from chainrule.core.errors import BuildError, ConfigurationError
from chainrule.core.parameter import Parameter, ParameterVector
from chainrule.losses import HalfSquaredError
from laws.unusual_layers import BatchNorm, Tied, TwoPaths


def batch(rows=4, width=3, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, width))


def network():
    return Sequential([Dense(4), Activation("tanh"), Sequential([Dense(3), Dense(2)])])


def built(model, *shapes):
    model.build(*shapes or [(3,)], rng=0)
    return model


def trainable(model):
    return [parameter.trainable for parameter in model.parameters]


class Untouchable(np.ndarray):
    """An array with which nobody may compute."""

    def __array_ufunc__(self, *arguments: Any, **how: Any) -> Any:
        raise AssertionError("a product was computed for a frozen parameter")

    def __array_function__(self, *arguments: Any, **how: Any) -> Any:
        raise AssertionError("a product was computed for a frozen parameter")


# ------------------------------------------------------------------------------- one parameter


def test_a_parameter_is_trainable_until_it_is_frozen():
    parameter = Parameter("w", np.ones(2))
    assert parameter.trainable is True
    parameter.trainable = np.bool_(False)
    assert parameter.trainable is False
    assert repr(parameter) == "Parameter('w', shape=(2,), dtype=float64, trainable=False)"


@pytest.mark.parametrize("bad", [0, 1, None, "no", [], np.zeros(1)], ids=repr)
def test_trainable_is_true_or_false_and_nothing_else(bad):
    parameter = Parameter("dense_1.weights", np.ones(2))
    with pytest.raises(ConfigurationError, match=r"dense_1\.weights") as caught:
        parameter.trainable = bad
    assert caught.value.expected == "True or False"
    assert parameter.trainable is True


def test_the_gradient_is_zero_from_the_freezing_on_and_nothing_is_added():
    parameter = Parameter("w", np.ones((2, 2)))
    parameter.accumulate(np.ones((2, 2)))
    parameter.trainable = False
    for clear in (lambda: None, parameter.zero_grad):
        clear()
        parameter.accumulate(np.ones((2, 2)))
        parameter.accumulate_product(np.ones((2, 5)), np.ones((5, 2)))
        np.testing.assert_array_equal(parameter.grad, np.zeros((2, 2)))
    parameter.trainable = True
    np.testing.assert_array_equal(parameter.grad, np.zeros((2, 2)))
    parameter.accumulate(np.ones((2, 2)))
    parameter.accumulate_product(np.ones((2, 5)), np.ones((5, 2)))
    np.testing.assert_array_equal(parameter.grad, np.full((2, 2), 6.0))


def test_the_product_for_a_frozen_parameter_is_not_computed():
    parameter = Parameter("w", np.ones((2, 2)))
    parameter.trainable = False
    left, right = (np.ones((2, 2)).view(Untouchable) for _ in range(2))
    for clear in (lambda: None, parameter.zero_grad):
        clear()
        parameter.accumulate_product(left, right)
        parameter.accumulate(left)


def test_no_zeros_are_written_into_the_gradient_of_a_frozen_parameter():
    frozen, free = Parameter("a", np.ones(3)), Parameter("b", np.ones(2))
    vector = ParameterVector({"a": frozen, "b": free})
    assert vector.grad.size == 5
    frozen.trainable = False
    frozen.grad.flags.writeable = False  # whoever writes there now fails
    for _ in range(2):
        free.accumulate(np.ones(2))
        vector.zero_grad()
        frozen.zero_grad()
        np.testing.assert_array_equal(vector.grad, np.zeros(5))
        np.testing.assert_array_equal(frozen.grad, np.zeros(3))


def test_numbers_written_into_a_frozen_gradient_are_gone_when_it_learns_again():
    parameter = Parameter("w", np.ones(2))
    parameter.trainable = False
    parameter.grad[:] = 7
    parameter.trainable = True
    parameter.accumulate(np.ones(2))
    np.testing.assert_array_equal(parameter.grad, np.ones(2))


def test_the_value_of_a_frozen_parameter_may_be_assigned_to():
    parameter = Parameter("w", np.ones(2))
    parameter.trainable = False
    parameter.value = [3.0, 4.0]
    np.testing.assert_array_equal(parameter.value, [3, 4])


def test_a_cache_holding_the_freezing_object_notices_the_next_freezing():
    parameter = Parameter("w", np.ones(2))
    seen = [Parameter.last_freezing]
    for trainable in (False, True, False):
        parameter.trainable = trainable
        assert all(Parameter.last_freezing is not before for before in seen)
        seen.append(Parameter.last_freezing)
    parameter.trainable = False  # nothing new
    assert Parameter.last_freezing is seen[-1]


@pytest.mark.parametrize("again", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_a_copied_parameter_is_as_frozen_as_the_original(again):
    parameter = Parameter("w", np.ones(2))
    assert again(parameter).trainable is True
    parameter.trainable = False
    copied = again(parameter)
    assert copied.trainable is False
    copied.trainable = True
    assert parameter.trainable is False


def test_a_vector_shows_what_is_frozen():
    model = built(network())
    model["dense_1"].weights.trainable = False
    lines = repr(model.parameters).splitlines()
    assert lines[1] == "  dense_1.weights  (3, 4)  frozen"
    assert lines[2] == "  dense_1.biases  (4,)"


# ------------------------------------------------------------------------------- layers


def test_freezing_reaches_all_layers_below_and_returns_the_layer():
    model = built(network())
    inner = model["sequential_1"]
    assert inner.freeze() is inner
    assert trainable(model) == [True] * 2 + [False] * 4
    assert model.freeze() is model
    assert trainable(model) == [False] * 6
    assert inner["dense_1"].unfreeze() is inner["dense_1"]
    assert trainable(model) == [False] * 2 + [True] * 2 + [False] * 2
    assert model.unfreeze() is model
    assert trainable(model) == [True] * 6


def test_a_frozen_layer_computes_what_it_did_and_sends_back_the_same_delta():
    model, delta = built(network()), batch(4, 2, 1)
    y = model.forward(batch())
    dx = model.backward(delta)
    model.parameters.zero_grad()
    model.freeze()
    np.testing.assert_array_equal(model.forward(batch()), y)
    np.testing.assert_array_equal(model.backward(delta), dx)
    np.testing.assert_array_equal(model.parameters.grad, np.zeros(model.parameters.size))
    np.testing.assert_array_equal(model(batch()), y)


def test_it_is_the_parameter_that_is_frozen_so_twins_and_shared_layers_are():
    shared = Dense(3)
    x = Input((3,))
    model = built(Graph(x, shared(Activation("tanh")(shared(x)))))
    twin, replica = model.twin(), model.replica({})
    shared.freeze()
    for each in (model, twin, replica, copy.copy(model)):
        assert trainable(each) == [False, False]
    twin.unfreeze()
    assert trainable(model) == [True, True]


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_of_a_layer_stay_frozen_and_are_let_go_by_themselves(again):
    model = built(network())
    model["sequential_1"].freeze()
    copied = again(model)
    assert trainable(copied) == [True] * 2 + [False] * 4
    np.testing.assert_array_equal(copied.parameters.value, model.parameters.value)
    copied.unfreeze()
    assert trainable(copied) == [True] * 6
    assert trainable(model) == [True] * 2 + [False] * 4


def test_buffers_are_not_parameters_and_still_change():
    model = built(Sequential([BatchNorm(), Dense(2)])).freeze()
    before = model.buffers.value.copy()
    model.forward(5 + batch())
    assert np.all(model.buffers.value != before)


def test_a_layer_without_parameters_can_be_frozen():
    layer = built(Activation("tanh")).freeze()
    assert trainable(layer) == []


# ------------------------------------------------------------------------------- before build


@pytest.mark.parametrize("build", [built, lambda model: model.forward(batch())])
def test_a_layer_that_is_frozen_before_it_is_built_is_built_frozen(build):
    model = network()
    model["sequential_1"].freeze()
    build(model)
    assert trainable(model) == [True] * 2 + [False] * 4
    model.unfreeze()
    assert trainable(model) == [True] * 6


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), Layer.twin]
)
def test_copies_of_a_layer_that_is_not_built_are_built_as_frozen(again):
    model = network().freeze()
    assert trainable(built(again(model))) == [False] * 6
    model.unfreeze()
    assert trainable(built(again(model))) == [True] * 6


def test_the_last_word_before_building_counts():
    model = network().freeze()
    model["dense_1"].unfreeze()
    assert trainable(built(model)) == [True] * 2 + [False] * 4


def test_what_a_frozen_layer_makes_in_build_is_frozen_too():
    class Makes(Layer):
        def build(self, input_shape):
            self.inner = Sequential([Dense(3), Dense(3)])
            self.ready = Dense(3)
            self.ready.build(input_shape, rng=self.rng)
            self.parameter("scale", (3,), "ones")
            self.by_hand = Parameter("by_hand", np.ones(3).astype(self._dtype))

        def forward(self, inputs):
            return self.ready.forward(self.inner.forward(inputs * self.scale.value))

        def backward(self, delta):
            return self.inner.backward(self.ready.backward(delta)) * self.scale.value

    assert trainable(built(Makes())) == [True] * 8
    assert trainable(built(Makes().freeze())) == [False] * 8
    assert trainable(built(Sequential([Dense(3), Makes().freeze()]))) == [True] * 2 + [False] * 8


def test_an_unbuilt_copy_is_not_frozen():
    for model in (built(network()).freeze(), network().freeze()):
        assert trainable(built(model.unbuilt())) == [True] * 6


def test_a_layer_that_could_not_be_built_stays_frozen():
    class FailsOnce(Layer):
        fails: bool = True

        def build(self, input_shape):
            self.parameter("weights", input_shape)
            if self.fails:
                raise RuntimeError

        def forward(self, inputs):
            return inputs * self.weights.value

        def backward(self, delta):
            return delta * self.weights.value

    layer = FailsOnce().freeze()
    with pytest.raises(BuildError):
        layer.build((3,))
    layer.fails = False
    assert trainable(built(layer)) == [False]


def test_a_layer_that_is_built_already_is_not_frozen_by_building_its_container():
    ready = built(Dense(3))
    model = Sequential([ready, Dense(2)]).freeze()
    ready.unfreeze()
    assert trainable(built(model)) == [True] * 2 + [False] * 2


# ------------------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("layer", [Dense(2), Tied(2), TwoPaths(Dense(3)), network()], ids=repr)
def test_derivatives_and_laws_do_not_depend_on_what_is_frozen(layer):
    model, x = built(copy.deepcopy(layer)), batch()
    t = np.zeros_like(model(x))
    value, gradient = derivatives.value_and_gradient(model, HalfSquaredError(), x, t)
    product = derivatives.hvp(model, HalfSquaredError(), x, t, gradient)
    model.freeze()
    assert derivatives.value_and_gradient(model, HalfSquaredError(), x, t)[0] == value
    same = derivatives.value_and_gradient(model, HalfSquaredError(), x, t)[1]
    np.testing.assert_array_equal(same, gradient)
    np.testing.assert_array_equal(
        derivatives.hvp(model, HalfSquaredError(), x, t, gradient), product
    )
    assert np.any(gradient)
    assert check_layer(model, (3,), rng=0).ok
    assert trainable(model) == [False] * len(model.parameters)
