"""Embedding: rows of a table, sums of deltas, and tokens that are not in the table."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule import (
    Dense,
    Embedding,
    Flatten,
    Graph,
    Input,
    Sequential,
    Trainer,
    check_layer,
    derivatives,
    explain,
    load,
    losses,
    optimizers,
)
from chainrule.core.errors import BuildError, ConfigurationError, DataError

rows = st.lists(st.integers(1, 4), max_size=2).map(tuple)
seeds = st.integers(0, 2**32 - 1)


def built(layer: Any, shape: tuple[int, ...] = (2,), **how: Any) -> Any:
    layer.build(shape, **{"rng": 0, **how})
    return layer


def test_a_table_by_hand():
    layer = built(Embedding(3, 2))
    layer.weights.value = [[1, 2], [3, 4], [5, 6]]
    y = layer.forward(np.array([[2, 0], [2, 2]]))
    np.testing.assert_array_equal(y, [[[5, 6], [1, 2]], [[5, 6], [5, 6]]])
    delta = np.array([[[1.0, 2], [3, 4]], [[10, 20], [100, 200]]])
    np.testing.assert_array_equal(layer.backward(delta), np.zeros((2, 2)))
    np.testing.assert_array_equal(layer.weights.grad, [[3, 4], [0, 0], [111, 222]])


def test_the_initial_vectors_are_normal_with_standard_deviation_1():
    weights = built(Embedding(1000, 50)).weights.value
    assert abs(weights.mean()) < 0.02 and abs(weights.std() - 1) < 0.02
    assert abs((np.abs(weights) < 1).mean() - 0.6827) < 0.01


@given(shape=rows, batch=st.integers(0, 5), entries=st.integers(1, 6), seed=seeds)
def test_it_is_the_product_with_one_hot_vectors(shape, batch, entries, seed):
    rng = np.random.default_rng(seed)
    layer = built(Embedding(entries, 3), shape)
    tokens, delta = rng.integers(0, entries, (batch, *shape)), rng.normal(size=(batch, *shape, 3))
    one_hot = np.eye(entries)[tokens]
    np.testing.assert_array_equal(layer.forward(tokens), one_hot @ layer.weights.value)
    np.testing.assert_array_equal(layer(tokens), one_hot @ layer.weights.value)
    layer.backward(delta)
    gradient = one_hot.reshape(-1, entries).T @ delta.reshape(-1, 3)
    np.testing.assert_allclose(layer.weights.grad, gradient, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["i8", "i4", "u1", "f4", "f8", "?", list])
def test_tokens_of_any_type_are_accepted(kind):
    layer = built(Embedding(2, 3))
    tokens = np.array([[1, 0], [1, 1]])
    given = tokens.tolist() if kind is list else tokens.astype(kind)
    np.testing.assert_array_equal(layer(given), layer.weights.value[tokens])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_everything_has_the_type_of_the_table(dtype):
    layer = built(Embedding(4, 3), dtype=dtype)
    y = layer.forward(np.array([[1, 3]]))
    assert {y.dtype, layer.backward(y).dtype, layer.weights.grad.dtype} == {np.dtype(dtype)}


@given(shape=rows, entries=st.integers(1, 5), units=st.integers(1, 4), seed=seeds)
@settings(max_examples=10)
def test_every_law_holds(shape, entries, units, seed):
    def tokens(shape: Any) -> Any:
        return np.random.default_rng(seed).integers(0, entries, shape)

    assert check_layer(Embedding(entries, units), shape, inputs=tokens, rng=seed).ok
    as_floats = lambda shape: tokens(shape).astype(float)  # noqa: E731
    assert check_layer(Embedding(entries, units), shape, inputs=as_floats, rng=seed).ok


def test_all_axes_are_open():
    layer = built(Embedding(4, 3))
    for shape in [(), (5,), (2, 0), (2, 3, 4)]:
        assert layer.forward(np.zeros((2, *shape), int)).shape == (2, *shape, 3)


def test_a_model_with_tokens_is_trained_saved_and_used(tmp_path):
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 6, (200, 3))
    t = np.array([0.0, 1, -1, 2, -2, 3])[tokens].sum(axis=1, keepdims=True)
    model = Sequential([Embedding(6, 2), Flatten(), Dense(1)])
    Trainer(model, losses.HalfSquaredError(), optimizers.Adam(0.05)).fit(
        tokens, t, epochs=60, batch_size=20
    )
    assert np.mean((model(tokens) - t) ** 2) < 0.01
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(load(tmp_path / "model")(tokens), model(tokens))


def test_one_table_in_two_places_collects_both_deltas():
    a, b, table = Input((2,)), Input((3,)), Embedding(4, 2)
    model = Graph([a, b], [Flatten()(table(a)), Flatten()(table(b))])
    model.build(rng=0)
    model.forward(np.array([[0, 1]]), np.array([[1, 1, 2]]))
    model.backward((np.ones((1, 4)), np.ones((1, 6))))
    np.testing.assert_array_equal(table.weights.grad, [[1, 1], [3, 3], [1, 1], [0, 0]])


def test_a_frozen_table_gets_no_gradient():
    layer = built(Embedding(4, 2)).freeze()
    layer.backward(layer.forward(np.array([[0, 1]])))
    assert not layer.weights.grad.any()


def test_derivatives_pass_through_the_table():
    model = built(Sequential([Embedding(4, 2), Flatten(), Dense(1)]), (3,))
    rng = np.random.default_rng(0)
    tokens, t, v = rng.integers(0, 4, (5, 3)), rng.normal(size=(5, 1)), rng.normal(size=15)
    value, loss = model.parameters.value.copy(), losses.HalfSquaredError()
    product = derivatives.hvp(model, loss, tokens, t, v)
    _, moved = derivatives.jvp(model, tokens, dparameters=v)
    results = []
    for step in (1e-5, -1e-5):
        model.parameters.value = value + step * v
        gradient = derivatives.value_and_gradient(model, loss, tokens, t)[1]
        results.append((gradient, model(tokens)))
    (gradient, y), (gradient_before, y_before) = results
    np.testing.assert_allclose(product, (gradient - gradient_before) / 2e-5, atol=1e-7)
    np.testing.assert_allclose(moved, (y - y_before) / 2e-5, atol=1e-7)
    model.parameters.value = value
    delta = rng.normal(size=(5, 1))
    each = derivatives.row_gradients(model, tokens, delta)
    np.testing.assert_allclose(
        each.sum(axis=0), derivatives.vjp(model, tokens, delta)[2], atol=1e-12
    )


def test_the_equations_are_what_the_layer_computes():
    layer = built(Embedding(4, 2))
    tokens, delta = np.array([[0.0, 3], [3, 1]]), np.random.default_rng(0).normal(size=(2, 2, 2))
    y = layer.forward(tokens)
    layer.backward(delta)
    found = explain(layer).evaluate({"y_0": tokens, "w_1": layer.weights.value, "Delta_1": delta})
    np.testing.assert_array_equal(found["y_1"], y)
    np.testing.assert_allclose(found["dC_dw_1"], layer.weights.grad)
    np.testing.assert_array_equal(found["Delta_0"], np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("token", "received"),
    [(5, "5 at [1, 2]"), (-1, "-1 at [1, 2]"), (1.5, "1.5 at [1, 2]"), (np.nan, "nan at [1, 2]"),
     (np.inf, "inf at [1, 2]"), (1e30, "1e+30 at [1, 2]")],
)  # fmt: skip
def test_a_token_that_is_not_in_the_table_is_refused_with_its_place(token, received):
    tokens = np.tile([0.0, 1, 2], (2, 1))
    tokens[1, 2] = token
    layer = built(Embedding(5, 2), (3,))
    for call in (layer.forward, layer):
        with pytest.raises(DataError, match="a token is not in the table") as caught:
            call(tokens)
        assert caught.value.received == received
        assert caught.value.expected == "integers from 0 to 4"


def test_a_float_that_was_rounded_still_counts():
    layer = built(Embedding(5, 2))
    tokens = (np.array([[3, 4]], "f4") / 255 * 255).astype("f4")
    np.testing.assert_array_equal(layer(tokens), layer.weights.value[[[3, 4]]])


@pytest.mark.parametrize("given", [0, -1, 2.5, "3", None, True])
def test_sizes_that_are_none_are_refused(given):
    with pytest.raises(ConfigurationError, match="entries has an invalid value"):
        Embedding(given, 3)
    with pytest.raises(ConfigurationError, match="units has an invalid value"):
        Embedding(3, given)


def test_a_table_that_float32_cannot_count_is_refused():
    with pytest.raises(BuildError, match="cannot represent all tokens"):
        built(Embedding(2**24 + 2, 1, initializer=0.0), dtype="float32")


def test_the_layer_prints_as_it_is_written():
    for layer in (Embedding(5, 2), Embedding(5, 2, initializer="zeros")):
        assert eval(repr(layer), globals()) == layer
    assert repr(Embedding(5, 2)) == "Embedding(5, 2)"


@pytest.mark.peers
@given(shape=rows, entries=st.integers(1, 6), units=st.integers(1, 4), seed=seeds)
@settings(max_examples=50)
def test_values_and_gradients_are_those_of_pytorch(shape, entries, units, seed):
    import torch

    rng = np.random.default_rng(seed)
    layer = built(Embedding(entries, units), shape)
    tokens, delta = rng.integers(0, entries, (3, *shape)), rng.normal(size=(3, *shape, units))
    theirs = torch.nn.Embedding(entries, units, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(layer.weights.value))
    outputs = theirs(torch.tensor(tokens))
    outputs.backward(torch.tensor(delta))
    np.testing.assert_array_equal(layer.forward(tokens), outputs.detach().numpy())
    layer.backward(delta)
    np.testing.assert_allclose(
        layer.weights.grad, theirs.weight.grad.numpy(), rtol=1e-12, atol=1e-12
    )
