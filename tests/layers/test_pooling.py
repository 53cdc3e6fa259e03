"""Pools: numbers by hand, windows one by one, ties and NaN, any sizes, the laws, and PyTorch."""

from __future__ import annotations

import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule import (
    Activation,
    AveragePool,
    Dense,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    Graph,
    Input,
    MaxPool,
    Sequential,
    check_layer,
    explain,
    load,
    losses,
)
from chainrule.calculus import derivatives
from chainrule.core.errors import ConfigurationError, ShapeError

POOLS = [MaxPool, AveragePool]
GLOBAL = [GlobalMaxPool, GlobalAveragePool]
close = {"rtol": 1e-12, "atol": 1e-12}
each_pool = pytest.mark.parametrize("kind", POOLS)
each_global = pytest.mark.parametrize("kind", GLOBAL)


@st.composite
def pools_and_rows(draw, paddings=("valid", "same")):
    """The arguments of a pool, and rows on which it fits."""
    count = draw(st.integers(1, 3))
    size = tuple(draw(st.integers(1, 3)) for _ in range(count))
    stride = draw(st.none() | st.tuples(*[st.integers(1, 3)] * count))
    padding = draw(st.sampled_from(paddings))
    row = tuple(draw(st.integers(k if padding == "valid" else 1, k + 3)) for k in size)
    return (size, stride, padding), (*row, draw(st.integers(1, 2)))


def windows_one_by_one(row, size, stride, padding):
    """For each window, its place in the output and the index of its entries along each axis."""
    along_axes = []
    for n, k, s in zip(row, size, stride or size, strict=False):
        count = math.ceil(n / s) if padding == "same" else (n - k) // s + 1
        missing = max((count - 1) * s + k - n, 0) if padding == "same" else 0
        starts = [s * w - missing // 2 for w in range(count)]
        along_axes.append([(w, slice(max(a, 0), a + k)) for w, a in enumerate(starts)])
    for windows in itertools.product(*along_axes):
        yield tuple(w for w, _ in windows), tuple(entries for _, entries in windows)


def by_hand(kind, arguments, x, delta):
    """The output and ∂C/∂x, window by window."""
    outputs, delta_in = np.zeros_like(delta), np.zeros_like(x)
    for place, entries in windows_one_by_one(x.shape[1:-1], *arguments):
        for b, c in np.ndindex(len(x), x.shape[-1]):
            seen = x[(b, *entries, c)]
            outputs[(b, *place, c)] = seen.max() if kind is MaxPool else seen.mean()
            share = np.full(seen.shape, 1 / seen.size)
            if kind is MaxPool:
                share = np.zeros(seen.size)
                share[seen.argmax()] = 1
            delta_in[(b, *entries, c)] += share.reshape(seen.shape) * delta[(b, *place, c)]
    return outputs, delta_in


def test_an_image_by_hand():
    x = np.array([[1.0, 2, 5, 0], [4, 3, 1, 1]]).reshape(1, 2, 4, 1)
    delta = np.array([[10.0, 20]]).reshape(1, 1, 2, 1)
    layer = MaxPool(2)
    np.testing.assert_array_equal(layer.forward(x)[0, :, :, 0], [[4, 5]])
    np.testing.assert_array_equal(layer.backward(delta)[0, :, :, 0], [[0, 0, 20, 0], [10, 0, 0, 0]])
    layer = AveragePool(2)
    np.testing.assert_array_equal(layer.forward(x)[0, :, :, 0], [[2.5, 1.75]])
    np.testing.assert_array_equal(
        layer.backward(delta)[0, :, :, 0], [[2.5, 2.5, 5, 5], [2.5, 2.5, 5, 5]]
    )


def test_overlapping_windows_by_hand():
    x = np.array([1.0, 5, 4, 2]).reshape(1, 4, 1)
    layer = MaxPool(2, stride=1)
    np.testing.assert_array_equal(layer.forward(x)[0, :, 0], [5, 5, 4])
    delta = np.array([1.0, 10, 100]).reshape(1, 3, 1)
    np.testing.assert_array_equal(layer.backward(delta)[0, :, 0], [0, 11, 100, 0])
    layer = AveragePool(2, stride=1)
    np.testing.assert_array_equal(layer.forward(x)[0, :, 0], [3, 4.5, 3])
    np.testing.assert_array_equal(layer.backward(delta)[0, :, 0], [0.5, 5.5, 55, 50])


def test_only_entries_of_the_row_count_with_padding_same():
    x = np.array([-1.0, -2, -3]).reshape(1, 3, 1)
    np.testing.assert_array_equal(MaxPool(3, 2, "same")(x)[0, :, 0], [-1, -2])
    np.testing.assert_array_equal(AveragePool(3, 2, "same")(x)[0, :, 0], [-1.5, -2.5])
    np.testing.assert_array_equal(AveragePool(2, padding="same")(x)[0, :, 0], [-1.5, -3])


@each_pool
@given(given_=pools_and_rows(), seed=st.integers(0, 99), ties=st.booleans())
@settings(max_examples=40)
def test_all_windows_one_by_one(kind, given_, seed, ties):
    arguments, row = given_
    rng, layer = np.random.default_rng(seed), kind(*arguments)
    x = rng.integers(0, 3, (2, *row)).astype(float) if ties else rng.normal(size=(2, *row))
    y = layer.forward(x)
    delta = rng.normal(size=y.shape)
    outputs, delta_in = by_hand(kind, arguments, x, delta)
    np.testing.assert_allclose(y, outputs, **close)
    np.testing.assert_array_equal(layer(x), y)
    np.testing.assert_allclose(layer.backward(delta), delta_in, **close)


@each_pool
@given(given_=pools_and_rows(), rng=st.integers(0, 99))
@settings(max_examples=12)
def test_pools_keep_every_law(kind, given_, rng):
    arguments, row = given_
    assert check_layer(kind(*arguments), row, rng=rng).ok


@each_global
@given(row=st.lists(st.integers(1, 3), min_size=2, max_size=4).map(tuple), rng=st.integers(0, 99))
@settings(max_examples=8)
def test_global_pools_keep_every_law(kind, row, rng):
    assert check_layer(kind(), row, rng=rng).ok


def test_global_pools_by_hand():
    x = np.array([[1.0, 2], [5, 0]]).reshape(1, 2, 2, 1)
    layer = GlobalMaxPool()
    np.testing.assert_array_equal(layer.forward(x), [[5]])
    np.testing.assert_array_equal(layer.backward(np.array([[7.0]]))[0, :, :, 0], [[0, 0], [7, 0]])
    layer = GlobalAveragePool()
    np.testing.assert_array_equal(layer.forward(x), [[2]])
    np.testing.assert_array_equal(layer.backward(np.array([[8.0]]))[0, :, :, 0], [[2, 2], [2, 2]])


@pytest.mark.parametrize("layer", [MaxPool(2), MaxPool(4, 1, "same"), GlobalMaxPool()], ids=repr)
def test_the_first_of_equal_entries_gets_the_delta_and_nan_is_the_largest(layer):
    x = np.zeros((1, 2, 2, 1))
    y = layer.forward(x)
    delta = layer.backward(np.ones_like(y))
    assert delta[0, 0, 0, 0] == np.max(delta) and np.sum(delta) == y.size
    for place in np.ndindex(2, 2):
        x = np.ones((1, 2, 2, 1))
        x[(0, *place, 0)] = np.nan
        y = layer.forward(x)
        assert np.isnan(y).all() and np.isnan(layer(x)).all()
        delta = layer.backward(np.ones_like(y))
        assert delta[(0, *place, 0)] == y.size == np.sum(delta)


def test_the_tangent_at_a_tie_is_that_of_the_entry_that_gets_the_delta():
    x, v = np.zeros((1, 4, 1)), np.arange(1.0, 5).reshape(1, 4, 1)
    for layer, expected in ((MaxPool(2), [1, 3]), (MaxPool(3, 1), [1, 2]), (GlobalMaxPool(), [1])):
        layer.build((4, 1))
        _, tangent = derivatives.jvp(layer, x, v)
        np.testing.assert_array_equal(tangent.ravel(), expected)


@each_pool
def test_a_pool_takes_rows_of_any_size_and_of_one_two_or_three_axes(kind):
    layer = kind(2)
    layer.build((6, 4, 3))
    for row in [(6, 4, 3), (9, 2, 3), (2, 2, 1), (5, 3), (2, 4, 6, 1)]:
        y = layer.forward(np.ones((2, *row)))
        assert y.shape == (2, *(n // 2 for n in row[:-1]), row[-1])
        assert layer.backward(y).shape == (2, *row)
    with pytest.raises(ShapeError, match="the window is larger than the rows"):
        layer.forward(np.ones((2, 1, 4, 3)))


def test_a_network_with_pools_that_has_seen_small_images_is_used_on_large_ones():
    image = Input((None, None, 2))
    model = Graph(image, Dense(3)(GlobalAveragePool()(MaxPool(2)(image))))
    model.build(rng=0)
    for size in (4, 7, 12):
        assert model(np.ones((2, size, size, 2))).shape == (2, 3)


@each_pool
def test_pools_stay_float32(kind):
    for layer in (kind(2), kind(3, 2, "same")):
        x = np.ones((2, 5, 5, 1), np.float32)
        y = layer.forward(x)
        assert {y.dtype, layer.backward(y).dtype, layer(x).dtype} == {np.dtype(np.float32)}


@each_global
def test_global_pools_stay_float32(kind):
    layer, x = kind(), np.ones((2, 5, 1), np.float32)
    y = layer.forward(x)
    assert {y.dtype, layer.backward(y).dtype, layer(x).dtype} == {np.dtype(np.float32)}


def test_an_empty_batch_has_a_shape():
    for layer in (MaxPool(2), AveragePool(2, padding="same"), GlobalMaxPool(), GlobalAveragePool()):
        y = layer.forward(np.zeros((0, 4, 4, 2)))
        assert layer.backward(y).shape == (0, 4, 4, 2)


def test_pools_in_a_network_are_saved_and_loaded(tmp_path):
    model = Sequential([
        MaxPool(2), Activation("tanh"), AveragePool((2, 1), stride=1, padding="same"), Flatten(),
        Dense(2),
    ])  # fmt: skip
    model.build((4, 6, 2), rng=0)
    x = np.random.default_rng(0).normal(size=(3, 4, 6, 2))
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert again == model
    np.testing.assert_array_equal(again(x), model(x))
    assert check_layer(model, (4, 6, 2)).ok


def test_derivatives_of_every_kind_flow_through_pools():
    model = Sequential([
        Dense(2), Activation("tanh"), MaxPool(2), AveragePool(3, 1, "same"), GlobalAveragePool(),
        Dense(1),
    ])  # fmt: skip
    model.build((8, 2), rng=0)
    rng, loss, step = np.random.default_rng(1), losses.HalfSquaredError(), 1e-6
    x, v, t = rng.normal(size=(3, 8, 2)), rng.normal(size=(3, 8, 2)), rng.normal(size=(3, 1))
    quotient = (model(x + step * v) - model(x - step * v)) / (2 * step)
    np.testing.assert_allclose(derivatives.jvp(model, x, v)[1], quotient, rtol=1e-7, atol=1e-9)

    def gradient(theta):
        model.parameters.value = theta
        model.parameters.zero_grad()
        model.backward(loss.delta(model.forward(x), t))
        return model.parameters.grad.copy()

    theta, u = model.parameters.value.copy(), rng.normal(size=model.parameters.size)
    quotient = (gradient(theta + step * u) - gradient(theta - step * u)) / (2 * step)
    whole = gradient(theta)
    np.testing.assert_allclose(
        derivatives.hvp(model, loss, x, t, u), quotient, rtol=1e-6, atol=1e-8
    )
    delta = loss.delta(model.forward(x), t)
    rows = derivatives.row_gradients(model, x, delta)
    np.testing.assert_allclose(rows.sum(axis=0), whole, **close)
    assert rows.shape == (len(x), len(theta))


@pytest.mark.parametrize(
    ("layer", "row"),
    [
        (MaxPool(2), (4, 3)),
        (MaxPool((2, 3)), (4, 6, 1)),
        (AveragePool(2), (2, 4, 4, 1)),
        (AveragePool((1, 2)), (3, 4, 2)),
        (GlobalMaxPool(), (3, 2)),
        (GlobalAveragePool(), (2, 3, 2)),
    ],
    ids=repr,
)
def test_the_equations_are_what_the_layer_computes(layer, row):
    layer.build(row)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, *row))
    y = layer.forward(x)
    delta = rng.normal(size=y.shape)
    found = explain(layer).evaluate({"y_0": x, "Delta_1": delta})
    np.testing.assert_allclose(found["y_1"], y, **close)
    np.testing.assert_allclose(found["Delta_0"], layer.backward(delta), **close)


@pytest.mark.parametrize("layer", [MaxPool(2), AveragePool(3, 2, "same"), GlobalAveragePool()])
def test_pools_of_any_size_are_explained_without_numbers(layer):
    image = Input((None, 1))
    model = Graph(image, layer(image))
    model.build(rng=0)
    assert "does not provide" not in str(explain(model))


def test_pools_on_rows_of_any_size_are_explained():
    model = Sequential([MaxPool(3, 2), AveragePool(2, 1, "same")])
    model.build((None, 1))
    shown = str(explain(model))
    assert "does not provide" not in shown
    for line in (
        "y₁ = maxₖ(y₀[s w + k])",
        "y₂ = meanₖ(y₁[s w + k])",
        "Δ₁ = Σ[w ∋ i](Δ₂[w] / K[w])",
        "Δ₀ = Σ[w: y₀[i] is the largest](Δ₁[w])",
    ):
        assert line in shown


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("row", [(8, 2), (5, 7, 2), (4, 5, 3, 1)])
@pytest.mark.parametrize("kind", [MaxPool, AveragePool])
def test_the_equations_of_any_windows_are_what_the_layer_computes(kind, row, padding):
    layer, rng = kind(3, 2, padding), np.random.default_rng(0)
    layer.build(row)
    x = rng.integers(-3, 3, size=(4, *row)).astype(float)  # with ties, and all below the padding
    x[0] -= 9
    y = layer.forward(x)
    delta = rng.normal(size=y.shape)
    found = explain(layer).evaluate({"y_0": x, "Delta_1": delta})
    np.testing.assert_allclose(found["y_1"], y, atol=1e-12)
    np.testing.assert_allclose(found["Delta_0"], layer.backward(delta), atol=1e-12)


@each_pool
@pytest.mark.parametrize("size", [0, -1, 2.5, True, "2", None, (), (2, 0), (1, 1, 1, 1)])
def test_a_size_that_is_no_size_is_refused(kind, size):
    with pytest.raises(ConfigurationError, match="size has an invalid value") as caught:
        kind(size)
    assert "an integer of at least 1" in caught.value.expected
    assert caught.value.hint == "size=2"


@each_pool
def test_other_arguments_that_are_invalid_are_refused(kind):
    with pytest.raises(ConfigurationError, match="stride has an invalid value"):
        kind(2, 0)
    with pytest.raises(ConfigurationError, match="padding has an invalid value") as caught:
        kind(2, padding="periodic")
    assert caught.value.expected == "'valid' or 'same'"


@each_pool
def test_rows_that_do_not_fit_are_refused(kind):
    with pytest.raises(ShapeError, match="one to three axes of space"):
        kind(2).build((3,))
    with pytest.raises(ShapeError, match="one to three axes of space"):
        kind(2).build((2, 2, 2, 2, 1))
    with pytest.raises(ShapeError, match="size does not fit the rows") as caught:
        kind((2, 2)).build((4, 1))
    assert caught.value.hint == "size=2 uses the same for every axis"
    with pytest.raises(ShapeError, match="stride does not fit the rows"):
        kind(2, (1, 1)).build((4, 1))
    with pytest.raises(ShapeError, match="the window is larger than the rows") as caught:
        kind(5).build((4, 7, 1))
    assert caught.value.expected == "rows of at least 5 × 5 entries"
    assert caught.value.received == "(batch, 4, 7, 1)"


@each_global
def test_rows_without_entries_or_space_are_refused(kind):
    with pytest.raises(ShapeError, match="one to three axes of space"):
        kind().build((3,))
    with pytest.raises(ShapeError, match="the rows have no entries"):
        kind().build((0, 3))


# ------------------------------------------------------------------------------- PyTorch


def channels_first(array):
    import torch

    return torch.tensor(np.ascontiguousarray(np.moveaxis(array, -1, 1)), requires_grad=True)


def channels_last(tensor):
    return np.moveaxis(tensor.detach().numpy(), 1, -1)


@pytest.mark.peers
@each_pool
@given(given_=pools_and_rows(paddings=("valid",)), seed=st.integers(0, 99), ties=st.booleans())
@settings(max_examples=60)
def test_values_and_deltas_are_those_of_pytorch(kind, given_, seed, ties):
    import torch

    (size, stride, padding), row = given_
    name = ("max" if kind is MaxPool else "avg") + f"_pool{len(size)}d"
    rng, layer = np.random.default_rng(seed), kind(size, stride, padding)
    x = rng.integers(0, 3, (2, *row)).astype(float) if ties else rng.normal(size=(2, *row))
    theirs = channels_first(x)
    outputs = getattr(torch.nn.functional, name)(theirs, size, stride)
    np.testing.assert_allclose(layer.forward(x), channels_last(outputs), **close)
    delta = rng.normal(size=(2, *layer.output_shape))
    outputs.backward(channels_first(delta).detach())
    np.testing.assert_allclose(layer.backward(delta), channels_last(theirs.grad), **close)


@pytest.mark.peers
@each_global
@pytest.mark.parametrize("row", [(5, 2), (3, 4, 2), (2, 3, 2, 1)])
def test_global_pools_are_those_of_pytorch(kind, row):
    import torch

    name = f"adaptive_{'max' if kind is GlobalMaxPool else 'avg'}_pool{len(row) - 1}d"
    rng, layer = np.random.default_rng(0), kind()
    x, delta = rng.normal(size=(3, *row)), rng.normal(size=(3, row[-1]))
    theirs = channels_first(x)
    outputs = getattr(torch.nn.functional, name)(theirs, 1).flatten(1)
    outputs.backward(torch.tensor(delta))
    np.testing.assert_allclose(layer.forward(x), outputs.detach().numpy(), **close)
    np.testing.assert_allclose(layer.backward(delta), channels_last(theirs.grad), **close)


@pytest.mark.peers
def test_nan_is_the_maximum_as_in_pytorch():
    import torch

    x = np.random.default_rng(0).normal(size=(1, 4, 4, 1))
    x[0, 1, 2, 0] = np.nan
    theirs, layer = channels_first(x), MaxPool(2)
    outputs = torch.nn.functional.max_pool2d(theirs, 2)
    outputs.sum().backward()
    y = layer.forward(x)
    np.testing.assert_array_equal(y, channels_last(outputs))
    np.testing.assert_array_equal(layer.backward(np.ones_like(y)), channels_last(theirs.grad))
