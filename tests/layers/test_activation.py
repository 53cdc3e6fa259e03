"""The activation layer: f on the way there, f′ on the way back. (They have their own tests.)"""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from attrs import frozen
from hypothesis import given, settings

from chainrule import check_layer, derivatives, load
from chainrule.core.errors import ConfigurationError, ShapeError
from chainrule.layers.activation import Activation, PReLU
from chainrule.layers.functions import KNOWN, Elu, Function, Gaussian, LeakyRelu, Pair, Tanh

shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
each_name = pytest.mark.parametrize("name", sorted(KNOWN))


def test_a_sigmoid_by_hand():
    """σ(ln 3) = 3/4, and σ′ = σ (1 − σ) = 3/16."""
    layer = Activation("sigmoid")
    z = np.log([[3.0, 1.0, 1 / 3]])
    np.testing.assert_allclose(layer.forward(z), [[0.75, 0.5, 0.25]], rtol=1e-15)
    delta = np.array([[16.0, 4.0, -16.0]])
    np.testing.assert_allclose(layer.backward(delta), [[3, 1, -3]], rtol=1e-15)


@each_name
@given(shape=shapes, rows=st.integers(0, 3), seed=st.integers(0, 9))
@settings(max_examples=15)
def test_every_number_goes_through_f_and_every_delta_is_multiplied_by_its_slope(
    name, shape, rows, seed
):
    rng = np.random.default_rng(seed)
    z, delta = 3 * rng.normal(size=(rows, *shape)), rng.normal(size=(rows, *shape))
    layer, f = Activation(name), KNOWN[name]()
    np.testing.assert_array_equal(layer.forward(z), f.value(z))
    np.testing.assert_array_equal(layer.apply(z), f.value(z))
    np.testing.assert_allclose(
        layer.backward(delta), f.derivative(z) * delta, rtol=1e-12, atol=1e-15
    )
    assert layer.output_shape == shape and not len(layer.parameters)


@each_name
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_is_changed_and_every_array_is_of_the_type_that_came(name, dtype):
    z, delta = np.linspace(-2, 2, 12, dtype=dtype).reshape(3, 4), np.ones((3, 4), dtype)
    kept = z.copy()
    layer = Activation(name)
    y = layer.forward(z)
    slope = layer.backward(delta)
    assert y.dtype == slope.dtype == dtype
    for array in (y, slope):
        assert not np.shares_memory(array, z) and not np.shares_memory(array, delta)
    np.testing.assert_array_equal(z, kept)
    np.testing.assert_array_equal(delta, np.ones((3, 4)))


def test_only_what_the_slope_needs_is_remembered():
    z = np.ones((2, 3))
    by_value, by_argument = Activation("relu"), Activation("sin")
    y = by_value.forward(z)
    by_argument.forward(z)
    assert by_value.remembered is y
    assert by_argument.remembered is z


def test_a_function_comes_by_name_as_an_object_or_with_its_derivative():
    assert Activation("tanh") == Activation(Tanh()) != Activation("sigmoid")
    assert Activation(LeakyRelu(0.2)) != Activation("leaky_relu") == Activation(LeakyRelu())
    assert Activation("tanh").function == Tanh()
    cubed = Activation(lambda z: z**3, lambda z: 3 * z**2)
    z = np.array([[2.0, -1.0]])
    np.testing.assert_array_equal(cubed.forward(z), [[8, -1]])
    np.testing.assert_array_equal(cubed.backward(np.ones((1, 2))), [[12, 3]])
    wave = Activation(np.sin, np.cos)
    assert wave == Activation(Pair(np.sin, np.cos)) != Activation(np.cos, np.sin)
    assert wave.derivative(0.0) == 1.0 and Activation("tanh").derivative(np.zeros(1)) == 1.0


def test_a_custom_function_is_used_like_those_of_chainrule():
    @frozen
    class Cube(Function):
        scale: float = 1.0

        def value(self, z):
            return self.scale * z**3

        def derivative(self, z):
            return 3 * self.scale * z**2

    layer = Activation(Cube(2.0))
    np.testing.assert_array_equal(layer.forward(np.array([[2.0]])), [[16]])
    np.testing.assert_array_equal(layer.backward(np.array([[1.0]])), [[24]])
    assert eval(repr(layer), {"Activation": Activation, "Cube": Cube}) == layer


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("tahn", "tanh"), ("ReLU", "relu"), ("sigmod", "sigmoid"), ("gelus", "gelu")],
)
def test_an_unknown_name_is_answered_with_the_nearest_one(wrong, meant):
    with pytest.raises(ConfigurationError) as caught:
        Activation(wrong)
    assert repr(meant) in caught.value.hint


def test_a_function_without_its_derivative_is_refused():
    with pytest.raises(ConfigurationError, match="needs the derivative") as caught:
        Activation(np.cos)
    assert caught.value.received == "Activation(cos)"
    assert "Activation(np.sin, np.cos)" in caught.value.hint
    with pytest.raises(ConfigurationError) as caught:
        Activation(np.tanh)
    assert caught.value.hint == "Activation('tanh')"


@pytest.mark.parametrize("wrong", [None, 3, ["tanh"], Tanh, ""])
def test_what_is_no_function_is_refused(wrong):
    with pytest.raises(ConfigurationError):
        Activation(wrong)


def test_the_repr_is_the_python_that_makes_the_layer():
    names = {"Activation": Activation, "LeakyRelu": LeakyRelu, "Elu": Elu, "Gaussian": Gaussian}
    for text, layer in {
        "Activation('tanh')": Activation(Tanh()),
        "Activation('leaky_relu')": Activation(LeakyRelu(0.01)),
        "Activation(LeakyRelu(slope=0.2))": Activation(LeakyRelu(0.2)),
        "Activation(Elu(alpha=2.0))": Activation(Elu(2)),
        "Activation('gaussian')": Activation(Gaussian()),
    }.items():
        assert repr(layer) == text and eval(text, names) == layer
    assert repr(Activation(np.sin, np.cos)) == "Activation(sin, cos)"


PYTORCH = {
    "identity": lambda torch: torch.nn.Identity(),
    "sigmoid": lambda torch: torch.sigmoid,
    "tanh": lambda torch: torch.tanh,
    "relu": lambda torch: torch.relu,
    "leaky_relu": lambda torch: torch.nn.functional.leaky_relu,
    "elu": lambda torch: torch.nn.functional.elu,
    "selu": lambda torch: torch.nn.functional.selu,
    "softplus": lambda torch: torch.nn.Softplus(threshold=800),
    "log_sigmoid": lambda torch: torch.nn.functional.logsigmoid,
    "softsign": lambda torch: torch.nn.functional.softsign,
    "silu": lambda torch: torch.nn.functional.silu,
    "mish": lambda torch: torch.nn.functional.mish,
    "gelu": lambda torch: torch.nn.functional.gelu,
    "step": lambda torch: lambda z: (z > 0).double() + 0 * z,
    "hard_tanh": lambda torch: torch.nn.functional.hardtanh,
    "hard_sigmoid": lambda torch: lambda z: torch.nn.functional.relu6(z + 3) / 6,
    "sin": lambda torch: torch.sin,
    "gaussian": lambda torch: lambda z: torch.exp(-z * z / 2),
}


@pytest.mark.peers
@pytest.mark.parametrize("name", PYTORCH)
def test_values_and_deltas_are_those_of_pytorch(torch, name):
    assert set(PYTORCH) == set(KNOWN)
    rng = np.random.default_rng(0)
    z, delta = 5 * rng.normal(size=(20, 5, 3)), rng.normal(size=(20, 5, 3))
    inputs = torch.tensor(z, requires_grad=True)
    outputs = PYTORCH[name](torch)(inputs)
    outputs.backward(torch.tensor(delta))
    layer = Activation(name)
    np.testing.assert_allclose(layer.forward(z), outputs.detach().numpy(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer.backward(delta), inputs.grad.numpy(), rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------- a learned slope


def built_prelu(shape, **how):
    layer = PReLU()
    layer.build(shape, **how)
    layer.slope.value = np.random.default_rng(0).uniform(-1, 1, layer.slope.shape)
    return layer


def test_a_learned_slope_by_hand():
    layer = PReLU()
    layer.build((2,))
    np.testing.assert_array_equal(layer.slope.value, [0.25, 0.25])
    layer.slope.value = [0.5, 3]
    z, delta = np.array([[-2.0, 1], [4, -1]]), np.array([[1.0, 2], [3, 4]])
    np.testing.assert_array_equal(layer.forward(z), [[-1, 1], [4, -3]])
    np.testing.assert_array_equal(layer.backward(delta), [[0.5, 2], [3, 12]])
    np.testing.assert_array_equal(layer.slope.grad, [-2, -4])


@given(shape=st.lists(st.integers(1, 4), max_size=3).map(tuple), rng=st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_a_learned_slope_keeps_every_law(shape, rng):
    assert check_layer(PReLU(), shape, rng=rng).ok


def test_a_learned_slope_belongs_to_a_channel_and_all_other_axes_are_open():
    layer = built_prelu((5, 3), rng=0)
    assert layer.slope.shape == (3,)
    for shape in [(3,), (2, 3), (2, 4, 3)]:
        z = np.random.default_rng(1).normal(size=(6, *shape))
        layer.parameters.zero_grad()
        y = layer.forward(z)
        np.testing.assert_array_equal(y, np.where(z > 0, z, layer.slope.value * z))
        np.testing.assert_array_equal(layer(z), y)
        delta = layer.backward(np.ones_like(z))
        np.testing.assert_array_equal(delta, np.where(z > 0, 1, layer.slope.value + 0 * z))
        expected = np.minimum(z, 0).reshape(-1, 3).sum(axis=0)
        np.testing.assert_allclose(layer.slope.grad, expected, rtol=1e-12)
    with pytest.raises(ShapeError, match="wrong width"):
        layer.forward(np.ones((2, 4)))


def test_a_learned_slope_is_saved_and_its_rows_are_kept_apart(tmp_path):
    layer = built_prelu((3,), rng=0)
    layer.save(tmp_path / "layer")
    z, delta = np.random.default_rng(1).normal(size=(2, 4, 3))
    np.testing.assert_array_equal(load(tmp_path / "layer")(z), layer(z))
    rows = derivatives.row_gradients(layer, z, delta)
    np.testing.assert_allclose(rows, np.minimum(z, 0) * delta)


@pytest.mark.peers
def test_a_learned_slope_is_that_of_pytorch(torch):
    layer = built_prelu((4, 3), rng=0)
    z, delta = np.random.default_rng(1).normal(size=(2, 5, 4, 3))
    theirs = torch.nn.PReLU(3, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(layer.slope.value))
    inputs = torch.tensor(np.moveaxis(z, -1, 1), requires_grad=True)
    outputs = theirs(inputs)
    outputs.backward(torch.tensor(np.moveaxis(delta, -1, 1)))
    back = [np.moveaxis(t.detach().numpy(), 1, -1) for t in (outputs, inputs.grad)]
    np.testing.assert_allclose(layer.forward(z), back[0], rtol=1e-12)
    np.testing.assert_allclose(layer.backward(delta), back[1], rtol=1e-12)
    np.testing.assert_allclose(layer.slope.grad, theirs.weight.grad.numpy(), rtol=1e-12)
