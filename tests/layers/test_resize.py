"""Resizing: numbers by hand, the matrices, adjoints of each other, the laws, and PyTorch."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule import (
    Activation,
    Crop,
    Dense,
    Flatten,
    Graph,
    Input,
    Pad,
    Sequential,
    Upsample,
    check_layer,
    explain,
    load,
    losses,
)
from chainrule.calculus import derivatives
from chainrule.core.errors import ConfigurationError, ShapeError

close = {"rtol": 1e-12, "atol": 1e-12}
amounts = st.integers(0, 2)
EACH = [Upsample(2), Upsample(3, "linear"), Pad(1), Pad(2, "periodic"), Pad(1, "reflect"), Crop(1)]
each = pytest.mark.parametrize("layer", EACH, ids=repr)


def column(*numbers):
    """A batch of one signal of one channel."""
    return np.array(numbers, float).reshape(1, -1, 1)


@st.composite
def upsamplings(draw):
    """An Upsample, and rows for it."""
    row = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    factor = draw(st.integers(1, 3) | st.tuples(*[st.integers(1, 3)] * len(row)))
    return Upsample(factor, draw(st.sampled_from(["nearest", "linear"]))), (*row, 2)


@st.composite
def pads_and_crops(draw):
    """A Pad or a Crop, and rows for it."""
    row = tuple(draw(st.lists(st.integers(5, 7), min_size=1, max_size=2)))
    width = draw(amounts | st.tuples(*[amounts | st.tuples(amounts, amounts)] * len(row)))
    mode = draw(st.sampled_from(["zeros", "periodic", "reflect", "crop"]))
    return Crop(width) if mode == "crop" else Pad(width, mode), (*row, 1)


def pairs(layer, axes):
    width = layer.width if isinstance(layer.width, tuple) else (layer.width,) * axes
    return [n if isinstance(n, tuple) else (n, n) for n in width]


def test_upsampling_by_hand():
    x, delta = column(1, 5, 3), column(1, 2, 3, 4, 5, 6)
    layer = Upsample(2)
    np.testing.assert_array_equal(layer.forward(x), column(1, 1, 5, 5, 3, 3))
    np.testing.assert_array_equal(layer.backward(delta), column(3, 7, 11))
    layer = Upsample(2, "linear")
    np.testing.assert_array_equal(layer.forward(x), column(1, 2, 4, 4.5, 3.5, 3))
    np.testing.assert_array_equal(
        layer.backward(delta), column(1 + 1.5 + 0.75, 0.5 + 2.25 + 3 + 1.25, 1 + 3.75 + 6)
    )


def test_images_and_volumes_are_stretched_along_each_axis():
    x = np.array([[1.0, 2], [3, 4]]).reshape(1, 2, 2, 1)
    np.testing.assert_array_equal(Upsample((1, 2))(x)[0, :, :, 0], [[1, 1, 2, 2], [3, 3, 4, 4]])
    plane = np.add.outer(np.arange(4.0), 10 * np.arange(4.0)).reshape(1, 4, 4, 1)
    middle = Upsample(2, "linear")(plane)[0, 1:-1, 1:-1, 0]
    centres = np.arange(0.25, 3, 0.5)
    np.testing.assert_allclose(middle, np.add.outer(centres, 10 * centres), **close)
    assert Upsample((2, 1, 3))(np.ones((2, 2, 3, 2, 1))).shape == (2, 4, 3, 6, 1)


def test_padding_by_hand():
    x, delta = column(1, 2, 3), column(1, 10, 100, 1000, 10_000, 100_000)
    for mode, padded, gathered in (
        ("zeros", [0, 0, 1, 2, 3, 0], [100, 1000, 10_000]),
        ("periodic", [2, 3, 1, 2, 3, 1], [100_100, 1001, 10_010]),
        ("reflect", [3, 2, 1, 2, 3, 2], [100, 101_010, 10_001]),
    ):
        layer = Pad(((2, 1),), mode)
        np.testing.assert_array_equal(layer.forward(x), column(*padded))
        np.testing.assert_array_equal(layer.backward(delta), column(*gathered))


def test_cropping_by_hand():
    layer = Crop(((2, 1),))
    np.testing.assert_array_equal(layer.forward(column(1, 2, 3, 4, 5)), column(3, 4))
    np.testing.assert_array_equal(layer.backward(column(6, 7)), column(0, 0, 6, 7, 0))
    assert Crop((1, (0, 2)))(np.ones((1, 5, 5, 3))).shape == (1, 3, 3, 3)


@given(case=upsamplings(), rng=st.integers(0, 99))
@settings(max_examples=12)
def test_upsampling_keeps_every_law(case, rng):
    layer, row = case
    assert check_layer(layer, row, rng=rng).ok


@given(case=pads_and_crops(), rng=st.integers(0, 99))
@settings(max_examples=12)
def test_pad_and_crop_keep_every_law(case, rng):
    layer, row = case
    assert check_layer(layer, row, rng=rng).ok


@given(case=pads_and_crops(), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_pad_and_crop_are_those_of_numpy(case, seed):
    layer, row = case
    x = np.random.default_rng(seed).normal(size=(2, *row))
    added = pairs(layer, len(row) - 1)
    if isinstance(layer, Crop):
        kept = [slice(p, n - q) for n, (p, q) in zip(row, added, strict=False)]
        expected = x[(slice(None), *kept)]
    else:
        mode = {"zeros": "constant", "periodic": "wrap", "reflect": "reflect"}[layer.mode]
        expected = np.pad(x, [(0, 0), *added, (0, 0)], mode)
    np.testing.assert_array_equal(layer(x), expected)
    np.testing.assert_array_equal(layer.forward(x), expected)


def test_a_crop_undoes_a_pad_and_is_its_adjoint():
    rng = np.random.default_rng(0)
    pad, crop = Pad(((2, 1), 3)), Crop(((2, 1), 3))
    x, u = rng.normal(size=(2, 4, 5, 3)), rng.normal(size=(2, 7, 11, 3))
    np.testing.assert_array_equal(crop.forward(pad.forward(x)), x)
    np.testing.assert_array_equal(pad.backward(u), crop.forward(u))
    np.testing.assert_array_equal(crop.backward(x), pad.forward(x))


@each
def test_rows_of_any_size_and_of_one_two_or_three_axes(layer):
    layer = layer.unbuilt()
    layer.build((4, 5, 2))
    for row in [(4, 5, 2), (5, 4, 2), (4, 6, 1), (6, 1), (4, 4, 4, 2)]:
        y = layer.forward(np.ones((2, *row)))
        assert y.ndim == len(row) + 1 and y.shape[-1] == row[-1]
        assert layer.backward(y).shape == (2, *row)


@each
def test_float32_stays_float32_and_an_empty_batch_has_a_shape(layer):
    layer = layer.unbuilt()
    for batch in (2, 0):
        x = np.ones((batch, 4, 5, 1), np.float32)
        y = layer.forward(x)
        assert {y.dtype, layer.backward(y).dtype, layer(x).dtype} == {np.dtype(np.float32)}
        assert len(y) == batch


def test_networks_are_open_saved_loaded_and_have_derivatives(tmp_path):
    image = Input((None, None, 1))
    hidden = Dense(2)(Upsample(2, "linear")(Pad(1, "periodic")(image)))
    model = Graph(image, Crop(2)(hidden))
    model.build(rng=0)
    rng = np.random.default_rng(1)
    for size in (3, 6):
        assert model(rng.normal(size=(2, size, size, 1))).shape == (2, 2 * size, 2 * size, 2)
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    x, v = rng.normal(size=(2, 4, 3, 1)), rng.normal(size=(2, 4, 3, 1))
    np.testing.assert_array_equal(again(x), model(x))
    _, tangent = derivatives.jvp(model, x, v)
    np.testing.assert_allclose(tangent, model(x + v) - model(x), **close)
    assert check_layer(Sequential([Pad(1), Upsample(2), Crop(1), Flatten(), Dense(1)]), (3, 2)).ok


@each
def test_hessian_products_and_gradients_of_rows_flow_through(layer):
    model = Sequential([
        Dense(2), Activation("tanh"), layer.unbuilt(), Flatten(), Dense(1),
    ])  # fmt: skip
    model.build((3, 4, 1), rng=0)
    rng, loss, step = np.random.default_rng(1), losses.HalfSquaredError(), 1e-6
    x, t = rng.normal(size=(2, 3, 4, 1)), rng.normal(size=(2, 1))
    theta, u = model.parameters.value.copy(), rng.normal(size=model.parameters.size)

    def gradient(parameters):
        model.parameters.value = parameters
        model.parameters.zero_grad()
        model.backward(loss.delta(model.forward(x), t))
        return model.parameters.grad.copy()

    quotient = (gradient(theta + step * u) - gradient(theta - step * u)) / (2 * step)
    whole = gradient(theta)
    product = derivatives.hvp(model, loss, x, t, u)
    np.testing.assert_allclose(product, quotient, rtol=1e-6, atol=1e-8)
    rows = derivatives.row_gradients(model, x, loss.delta(model.forward(x), t))
    np.testing.assert_allclose(rows.sum(axis=0), whole, **close)


@pytest.mark.parametrize(
    ("layer", "row"),
    [(layer, row) for layer in EACH for row in ((4, 2), (4, 3, 2), (3, 4, 5, 1))]
    + [(Crop(((1, 0), 0)), (3, 2, 1)), (Pad(((0, 2), 0), "periodic"), (3, 2, 1))],
    ids=repr,
)
def test_the_equations_are_what_the_layer_computes(layer, row):
    layer = layer.unbuilt()
    layer.build(row)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, *row))
    y = layer.forward(x)
    delta = rng.normal(size=y.shape)
    found = explain(layer).evaluate({"y_0": x, "Delta_1": delta})
    np.testing.assert_allclose(found["y_1"], y, **close)
    np.testing.assert_allclose(found["Delta_0"], layer.backward(delta), **close)


@each
def test_layers_for_any_size_are_explained_by_the_size_of_the_batch(layer):
    signal, rng = Input((None, 1)), np.random.default_rng(0)
    model = Graph(signal, layer.unbuilt()(signal))
    model.build(rng=0)
    for size in (5, 6):
        x = rng.normal(size=(3, size, 1))
        y = model.forward(x)
        delta = rng.normal(size=y.shape)
        found = explain(model).evaluate({"y_0": x, "Delta_1": delta})
        np.testing.assert_allclose(found["y_1"], y, **close)
        np.testing.assert_allclose(found["Delta_0"], model.backward(delta), **close)


@pytest.mark.parametrize("factor", [0, -1, 1.5, True, "2", None, ()])
def test_a_factor_that_is_no_factor_is_refused(factor):
    with pytest.raises(ConfigurationError, match="factor has an invalid value") as caught:
        Upsample(factor)
    assert caught.value.hint == "factor=2"


@pytest.mark.parametrize("kind", [Pad, Crop])
@pytest.mark.parametrize("width", [-1, 0.5, True, "same", None, (), ((1, 2, 3),), (1, 1, 1, 1)])
def test_a_width_that_is_no_width_is_refused(kind, width):
    with pytest.raises(ConfigurationError, match="width has an invalid value") as caught:
        kind(width)
    assert "a pair (before, after)" in caught.value.expected and caught.value.hint == "width=1"


def test_names_that_are_unknown_are_refused():
    with pytest.raises(ConfigurationError, match="method has an invalid value") as caught:
        Upsample(2, "cubic")
    assert caught.value.expected == "'nearest' or 'linear'"
    with pytest.raises(ConfigurationError, match="mode has an invalid value") as caught:
        Pad(1, "same")
    assert caught.value.expected == "'zeros' or 'periodic' or 'reflect'"


@each
def test_rows_without_space_are_refused(layer):
    with pytest.raises(ShapeError, match="one to three axes of space"):
        layer.unbuilt().build((3,))


def test_rows_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="factor does not fit the rows"):
        Upsample((2, 2)).build((3, 1))
    with pytest.raises(ShapeError, match="width does not fit the rows"):
        Pad((1, 2)).build((3, 1))
    with pytest.raises(ShapeError, match="too small to be mirrored") as caught:
        Pad(3, "reflect").build((3, 1))
    assert caught.value.expected == "at least 4 entries along each axis of space"
    assert caught.value.hint == 'mode="zeros", or a smaller width'
    with pytest.raises(ShapeError, match="no entries to copy") as caught:
        Pad(1, "periodic").build((3, 0, 1))
    assert caught.value.received == "(batch, 3, 0, 1)"
    with pytest.raises(ShapeError, match="nothing would be left") as caught:
        Crop((1, (2, 1))).build((3, 3, 1))
    assert caught.value.expected == "rows of at least 3 × 4 entries"
    assert caught.value.received == "(batch, 3, 3, 1)"


# ------------------------------------------------------------------------------- PyTorch


def channels_first(array):
    import torch

    return torch.tensor(np.ascontiguousarray(np.moveaxis(array, -1, 1)), requires_grad=True)


def assert_equal_to(their_function, layer, x, rng):
    theirs = channels_first(x)
    outputs = their_function(theirs)
    y = layer.forward(x)
    np.testing.assert_allclose(y, np.moveaxis(outputs.detach().numpy(), 1, -1), **close)
    delta = rng.normal(size=y.shape)
    outputs.backward(channels_first(delta).detach())
    delta_in = np.moveaxis(theirs.grad.numpy(), 1, -1)
    np.testing.assert_allclose(layer.backward(delta), delta_in, **close)


@pytest.mark.peers
@given(case=upsamplings(), seed=st.integers(0, 99))
@settings(max_examples=50)
def test_upsampling_is_that_of_pytorch(case, seed):
    import torch

    (layer, row), rng = case, np.random.default_rng(seed)
    axes = len(row) - 1
    factor = layer.factor if isinstance(layer.factor, tuple) else (layer.factor,) * axes
    linear = {1: "linear", 2: "bilinear", 3: "trilinear"}[axes]
    options = {"mode": linear, "align_corners": False} if layer.method == "linear" else {}

    def theirs(x):
        return torch.nn.functional.interpolate(x, scale_factor=tuple(map(float, factor)), **options)

    assert_equal_to(theirs, layer, rng.normal(size=(2, *row)), rng)


@pytest.mark.peers
@given(case=pads_and_crops(), seed=st.integers(0, 99))
@settings(max_examples=50)
def test_pad_and_crop_are_those_of_pytorch(case, seed):
    import torch

    (layer, row), rng = case, np.random.default_rng(seed)
    sign = -1 if isinstance(layer, Crop) else 1
    added = [sign * n for pair in pairs(layer, len(row) - 1)[::-1] for n in pair]
    modes = {"zeros": "constant", "periodic": "circular", "reflect": "reflect"}
    mode = "constant" if isinstance(layer, Crop) else modes[layer.mode]
    x = rng.normal(size=(2, *row))
    assert_equal_to(lambda a: torch.nn.functional.pad(a, added, mode=mode), layer, x, rng)
