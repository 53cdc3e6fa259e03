"""Common mistakes of newcomers and users of PyTorch, and the error that helps."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import Activation, Dense, Layer, Sequential
from chainrule.core.errors import BuildError, ConfigurationError, DefinitionError, DtypeError


def built(*layers):
    model = Sequential(list(layers))
    model.build((4,), rng=0)
    return model


class Scale(Layer):
    """y = s x, with the computation given, for mistakes in it."""

    def build(self, shape):
        self.parameter("scale", shape, "ones")

    def forward(self, x):
        self.x = x
        return self.compute(x)

    def backward(self, delta):
        return delta

    def compute(self, x):
        return x * self.scale.value


@pytest.mark.parametrize(
    "compute",
    [
        lambda self, x: x * self.scale,
        lambda self, x: self.scale * x,
        lambda self, x: x @ self.scale,
        lambda self, x: np.dot(x, self.scale),
        lambda self, x: np.exp(self.scale) + x,
        lambda self, x: x - self.scale[0],
    ],
    ids=["x*w", "w*x", "x@w", "dot", "exp", "index"],
)
def test_a_parameter_instead_of_its_value_is_a_named_error(compute):
    class Forgetful(Scale):
        pass

    Forgetful.compute = compute
    with pytest.raises(DefinitionError, match=r"self\.scale\.value"):
        Forgetful().build((4,))


def test_a_gradient_that_is_added_to_by_hand_is_added_once():
    layer = Scale()
    layer.build((4,))
    layer.scale.grad += np.ones(4)
    np.testing.assert_array_equal(layer.scale.grad, np.ones(4))
    with pytest.raises(DefinitionError, match="accumulate"):
        layer.scale.grad = np.ones(4)


@pytest.mark.parametrize("container", [lambda a: [a], lambda a: (a,), lambda a: {"w": a}])
def test_plain_arrays_in_containers_are_rejected_too(container):
    class Hidden(Scale):
        def build(self, shape):
            self.weights = container(np.ones(shape))

    with pytest.raises(DefinitionError, match="never be learned"):
        Hidden().build((4,))


def test_the_error_for_layers_without_brackets_mentions_the_brackets():
    with pytest.raises(DefinitionError, match="brackets"):
        Sequential(Dense(3), Dense(4))


def test_the_layers_of_a_sequence_cannot_be_replaced():
    model = built(Dense(3), Activation("tanh"))
    with pytest.raises(ConfigurationError, match="make a new sequence"):
        model.layers = (model[0],)
    assert len(model) == 2


@pytest.mark.parametrize("dtype", ["float32", "int64", "complex128", "U1"])
def test_a_delta_of_the_wrong_dtype_is_rejected_before_a_gradient_changes(dtype):
    model = built(Dense(3), Activation("tanh"), Dense(2))
    y = model.forward(np.ones((5, 4)))
    model.parameters.zero_grad()
    with pytest.raises(DtypeError, match="does not have the dtype"):
        model.backward(np.ones_like(y).astype(dtype))
    assert not model.parameters.grad.any()


def test_a_reshape_that_cannot_work_without_rows_is_explained():
    class Flat(Layer):
        def forward(self, x):
            return x.reshape(len(x), -1)

        def backward(self, delta):
            return delta

    with pytest.raises(BuildError, match="give the width"):
        Flat().build((2, 3))


def test_a_subclass_with_a_new_backward_does_not_keep_the_old_backward_parameters():
    class Doubled(Dense):
        def forward(self, x):
            return 2 * super().forward(x)

        def backward(self, delta):
            return super().backward(2 * delta)

    layer, x = Doubled(3), np.random.default_rng(0).normal(size=(5, 4))
    layer.build((4,), rng=0)
    y = layer.forward(x)
    np.testing.assert_array_equal(layer(x), y)
    layer.parameters.zero_grad()
    layer.backward_parameters(np.ones_like(y))
    np.testing.assert_allclose(layer.weights.grad, 2 * x.T @ np.ones((5, 3)), rtol=1e-13)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fit", "Trainer"),
        ("predict_proba", "model.predict"),
        ("eval", "no mode"),
        ("summary", "summary"),
    ],
)
def test_the_error_for_a_name_of_another_library_says_what_to_use_here(name, words):
    for model in (Sequential([Dense(3)]), built(Dense(3))):
        with pytest.raises(AttributeError, match=words):
            getattr(model, name)


def test_the_error_for_a_list_of_arrays_mentions_several_arguments():
    with pytest.raises(DtypeError, match=r"model\(a, b\)"):
        built(Dense(3))([np.ones((2, 3)), np.ones((2, 2))])


def test_a_layer_instead_of_an_array_is_a_named_error():
    with pytest.raises(DtypeError, match="called on a layer"):
        Dense(3)(Dense(4))


def test_the_error_for_a_list_of_deltas_mentions_a_tuple():
    model = built(Dense(3))
    model.forward(np.ones((2, 4)))
    with pytest.raises(DtypeError, match="as a tuple"):
        model.backward([np.ones((2, 3))])
