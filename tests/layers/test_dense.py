"""Dense: numbers by hand, the formulas as sums, the lecture, and PyTorch."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule.core.errors import BuildError, ConfigurationError, ShapeError
from chainrule.core.initializers import Constant, HeNormal, Zeros
from chainrule.layers.dense import Dense

sizes = st.integers(1, 6)


def built(layer, width=3, **how):
    layer.build((width,), **{"rng": 0, **how})
    return layer


def test_two_rows_by_hand():
    layer = built(Dense(2))
    layer.weights.value = [[1, 2], [3, 4], [5, 6]]
    layer.biases.value = [10, 20]
    x = np.array([[1.0, 0, -1], [2, 1, 0]])
    z = layer.forward(x)
    np.testing.assert_array_equal(z, [[1 - 5 + 10, 2 - 6 + 20], [2 + 3 + 10, 4 + 4 + 20]])
    delta = np.array([[1.0, 0], [0, 2]])
    np.testing.assert_array_equal(layer.backward(delta), [[1, 3, 5], [4, 8, 12]])
    np.testing.assert_array_equal(layer.weights.grad, [[1, 4], [0, 2], [-1, 0]])
    np.testing.assert_array_equal(layer.biases.grad, [1, 2])


@given(rows=st.integers(0, 5), n_in=sizes, n_out=sizes, use_bias=st.booleans(), seed=sizes)
def test_forward_and_backward_are_the_sums_of_the_lecture(rows, n_in, n_out, use_bias, seed):
    """z_k = Σ y_j w_jk + b_k;  ∂C/∂y_j = Σ Δ_k w_jk;  ∂C/∂w_jk = Σ y_j Δ_k;  ∂C/∂b_k = Σ Δ_k."""
    rng = np.random.default_rng(seed)
    layer = built(Dense(n_out, use_bias=use_bias, bias_initializer="normal"), n_in)
    y, delta = rng.normal(size=(rows, n_in)), rng.normal(size=(rows, n_out))
    w = layer.weights.value
    b = layer.biases.value if use_bias else np.zeros(n_out)
    z, delta_in = np.zeros((rows, n_out)), np.zeros((rows, n_in))
    dw, db = np.zeros((n_in, n_out)), np.zeros(n_out)
    for row in range(rows):
        for k in range(n_out):
            z[row, k] = sum(y[row, j] * w[j, k] for j in range(n_in)) + b[k]
            db[k] += delta[row, k]
            for j in range(n_in):
                delta_in[row, j] += delta[row, k] * w[j, k]
                dw[j, k] += y[row, j] * delta[row, k]
    close = {"rtol": 1e-13, "atol": 1e-13}
    np.testing.assert_allclose(layer.forward(y), z, **close)
    np.testing.assert_array_equal(layer(y), layer.forward(y))
    np.testing.assert_allclose(layer.backward(delta), delta_in, **close)
    np.testing.assert_allclose(layer.weights.grad, dw, **close)
    if use_bias:
        np.testing.assert_allclose(layer.biases.grad, db, **close)
    assert layer.parameters.paths == ["weights", "biases"][: 1 + use_bias]


def test_there_is_no_average_over_the_batch():
    """The 1/batch belongs to the cost: twice the rows, twice the gradient."""
    layer = built(Dense(2))
    x, delta = np.ones((4, 3)), np.ones((4, 2))
    layer.forward(x)
    layer.backward(delta)
    np.testing.assert_array_equal(layer.weights.grad, np.full((3, 2), 4.0))
    np.testing.assert_array_equal(layer.biases.grad, [4, 4])


def test_the_parameters_begin_as_the_initializers_say():
    layer = built(Dense(4, initializer=0.5, bias_initializer="ones"))
    np.testing.assert_array_equal(layer.weights.value, np.full((3, 4), 0.5))
    np.testing.assert_array_equal(layer.biases.value, np.ones(4))
    assert (layer.weights.shape, layer.biases.shape) == ((3, 4), (4,))
    limit = np.sqrt(6 / (300 + 200))
    weights = built(Dense(200), 300).weights.value
    assert 0.99 * limit < np.abs(weights).max() <= limit
    np.testing.assert_array_equal(built(Dense(4)).biases.value, np.zeros(4))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_array_is_of_the_type_that_it_was_built_for(dtype):
    layer = built(Dense(2), dtype=dtype)
    z = layer.forward(np.ones((5, 3), dtype))
    delta_in = layer.backward(np.ones((5, 2), dtype))
    arrays = [z, delta_in, layer(np.ones((5, 3), dtype)), layer.weights.grad, layer.biases.grad]
    assert {array.dtype for array in arrays} == {np.dtype(dtype)}


def test_nothing_that_comes_in_is_changed_and_nothing_that_went_out():
    layer = built(Dense(2))
    x, delta = np.ones((5, 3)), np.ones((5, 2))
    z = layer.forward(x)
    delta_in = layer.backward(delta)
    kept = z.copy(), delta_in.copy()
    layer.weights.value = 7 * layer.weights.value
    layer.forward(2 * x)
    layer.backward(2 * delta)
    np.testing.assert_array_equal(x, np.ones((5, 3)))
    np.testing.assert_array_equal(delta, np.ones((5, 2)))
    np.testing.assert_array_equal(z, kept[0])
    np.testing.assert_array_equal(delta_in, kept[1])


def test_arrays_in_any_order_of_memory_give_the_same():
    layer, rng = built(Dense(4)), np.random.default_rng(0)
    x, delta = rng.normal(size=(10, 6)), rng.normal(size=(4, 10))
    layer.forward(np.ascontiguousarray(x[::2, ::2]))
    layer.backward(np.ascontiguousarray(delta[:, ::2].T))
    expected = layer.parameters.grad.copy()
    layer.parameters.zero_grad()
    layer.forward(x[::2, ::2])
    layer.backward(delta[:, ::2].T)
    np.testing.assert_allclose(layer.parameters.grad, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("units", [0, -1, 2.5, True, "3", None, [3], float("inf"), float("nan")])
def test_units_that_are_no_number_of_outputs_are_refused(units):
    with pytest.raises(ConfigurationError, match="units must be the number of outputs") as caught:
        Dense(units)
    assert caught.value.received == f"units={units!r}"
    assert caught.value.hint is None


def test_units_that_are_almost_whole_are_refused_with_the_number_that_is_meant():
    with pytest.raises(ConfigurationError) as caught:
        Dense(30.0)
    assert caught.value.hint == "Dense(30)"


def test_an_unknown_initializer_is_refused_when_it_is_named():
    with pytest.raises(ConfigurationError, match="did you mean 'he_normal'"):
        Dense(3, initializer="he_norml")
    with pytest.raises(ConfigurationError):
        Dense(3, bias_initializer="zero-ish")


def test_rows_that_are_single_numbers_are_refused():
    layer = Dense(2)
    with pytest.raises(ShapeError, match="not vectors") as caught:
        layer.build(())
    assert caught.value.received == "(batch,)" and "x[:, np.newaxis]" in caught.value.hint
    with pytest.raises(ShapeError, match="not vectors"):
        layer.forward(np.ones(4))
    assert not layer.is_built


@pytest.mark.parametrize("rows", [(4,), (2, 4), (3, 0, 4), (2, 3, 1, 4)])
@pytest.mark.parametrize("use_bias", [True, False])
def test_rows_of_any_rank_are_the_same_as_all_their_vectors_in_one_batch(rows, use_bias):
    rng = np.random.default_rng(0)
    layer, flat = Dense(3, use_bias), Dense(3, use_bias)
    layer.build(rows, rng=1)
    flat.build((4,), rng=1)
    x, delta = rng.normal(size=(5, *rows)), rng.normal(size=(5, *rows[:-1], 3))
    np.testing.assert_array_equal(layer(x).reshape(-1, 3), flat(x.reshape(-1, 4)))
    np.testing.assert_array_equal(layer.forward(x).reshape(-1, 3), flat.forward(x.reshape(-1, 4)))
    delta_in = layer.backward(delta)
    assert delta_in.shape == x.shape
    np.testing.assert_array_equal(delta_in.reshape(-1, 4), flat.backward(delta.reshape(-1, 3)))
    np.testing.assert_array_equal(layer.parameters.grad, flat.parameters.grad)
    # The definition, element by element.
    np.testing.assert_allclose(
        layer.weights.grad,
        np.tensordot(x, delta, axes=(range(x.ndim - 1),) * 2),
        rtol=1e-12,
        atol=1e-12,
    )


def test_only_the_last_axis_is_fixed():
    layer = Dense(2)
    layer.build((5, 4))
    for rows in [(4,), (7, 4), (2, 3, 4)]:
        assert layer.forward(np.ones((3, *rows))).shape == (3, *rows[:-1], 2)
    with pytest.raises(ShapeError, match="wrong width") as caught:
        layer.forward(np.ones((3, 4, 5)))
    assert caught.value.expected == "(batch, …, 4)"


def test_a_second_input_is_refused():
    with pytest.raises(BuildError, match="does not accept 2 input shape"):
        Dense(2).build((3,), (3,))


def test_the_repr_shows_what_is_not_default_and_makes_an_equal_layer():
    layers = {
        "Dense(30)": Dense(30),
        "Dense(30, use_bias=False)": Dense(30, use_bias=False),
        "Dense(3, initializer='he_normal')": Dense(3, initializer=HeNormal()),
        "Dense(3, bias_initializer=Constant(value=0.5))": Dense(3, bias_initializer=0.5),
    }
    for text, layer in layers.items():
        assert repr(layer) == text
        assert eval(text, {"Dense": Dense, "Constant": Constant}) == layer
    assert len({repr(layer) for layer in layers.values()}) == 4
    assert Dense(3) != Dense(3, initializer=Zeros())


@pytest.mark.peers
@given(rows=st.integers(1, 8), n_in=sizes, n_out=sizes, use_bias=st.booleans(), seed=sizes)
@settings(max_examples=50)
def test_values_and_gradients_are_those_of_pytorch(rows, n_in, n_out, use_bias, seed):
    import torch

    rng = np.random.default_rng(seed)
    layer = built(Dense(n_out, use_bias=use_bias, bias_initializer="normal"), n_in, rng=seed)
    theirs = torch.nn.Linear(n_in, n_out, bias=use_bias, dtype=torch.float64)
    x, delta = rng.normal(size=(rows, n_in)), rng.normal(size=(rows, n_out))
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(layer.weights.value.T))
        if use_bias:
            theirs.bias.copy_(torch.tensor(layer.biases.value))
    inputs = torch.tensor(x, requires_grad=True)
    outputs = theirs(inputs)
    outputs.backward(torch.tensor(delta))
    close = {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(layer.forward(x), outputs.detach().numpy(), **close)
    np.testing.assert_allclose(layer.backward(delta), inputs.grad.numpy(), **close)
    np.testing.assert_allclose(layer.weights.grad.T, theirs.weight.grad.numpy(), **close)
    if use_bias:
        np.testing.assert_allclose(layer.biases.grad, theirs.bias.grad.numpy(), **close)


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ("relu", "[Dense(3), Activation('relu')]"),
        (5, "Dense(5) if these are n_in and n_out"),
        (None, ""),
    ],
)
def test_a_second_argument_that_is_no_flag_is_an_error_with_what_was_meant(second, words):
    with pytest.raises(ConfigurationError, match="use_bias must be True or False") as caught:
        Dense(3, second)
    assert words in str(caught.value.hint)
