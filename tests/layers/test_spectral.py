"""SpectralConvolution: waves by hand, NumPy's FFT, any grid, the laws, and PyTorch."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule import (
    Activation,
    Add,
    Dense,
    Graph,
    Input,
    Sequential,
    SpectralConvolution,
    check_layer,
    derivatives,
    explain,
    load,
    losses,
)
from chainrule.core.errors import ConfigurationError, ShapeError
from chainrule.layers import spectral as module

CLOSE = {"rtol": 1e-12, "atol": 1e-12}
both_ways = pytest.mark.parametrize("few", [0, 100], ids=["by FFT", "by products"])


@pytest.fixture
def _(monkeypatch, few):
    monkeypatch.setattr(module, "FEW", few)


def built(layer, shape, rng=0, dtype=None):
    layer.build(shape, rng=rng, dtype=dtype)
    return layer


def complex_weights(layer):
    return layer.weights.value[..., 0] + 1j * layer.weights.value[..., 1]


def by_numpy(layer, x):
    """The whole spectrum, of which all but the modes are set to zero."""
    axes = tuple(range(1, x.ndim - 1))
    spectrum, weights = np.fft.rfftn(x, axes=axes), complex_weights(layer)
    mixed = np.zeros((*spectrum.shape[:-1], layer.filters), complex)
    *leading, last = weights.shape[:-2]
    lowest = [np.fft.fftfreq(m, 1 / m).astype(int) for m in leading]
    index = np.ix_(np.arange(len(x)), *lowest, np.arange(last))
    mixed[index] = np.einsum("b...c,...cd->b...d", spectrum[index], weights)
    return np.fft.irfftn(mixed, x.shape[1:-1], axes=axes)


@st.composite
def cases(draw):
    """A layer and the shape of a row, on one to three axes."""
    grid = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    most = [*grid[:-1], grid[-1] // 2 + 1]
    modes = tuple(draw(st.integers(1, m)) for m in most)
    channels, filters = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    modes = modes[0] if len(modes) == 1 else modes
    return SpectralConvolution(filters, modes), (*grid, channels)


@both_ways
@pytest.mark.usefixtures("_")
def test_each_wave_is_multiplied_by_its_number():
    """For W_k = r e^(iφ), the wave cos(k t) becomes r cos(k t + φ)."""
    layer = built(SpectralConvolution(1, 4), (16, 1))
    numbers = np.array([2.0, 3 * np.exp(0.5j), 1j, -1.0])
    layer.weights.value[..., 0] = numbers.real[:, np.newaxis, np.newaxis]
    layer.weights.value[..., 1] = numbers.imag[:, np.newaxis, np.newaxis]
    t = 2 * np.pi * np.arange(16) / 16
    x = 1 + np.cos(t) + np.cos(2 * t) + np.cos(3 * t) + np.cos(4 * t)
    y = layer(x[np.newaxis, :, np.newaxis])[0, :, 0]
    expected = 2 + 3 * np.cos(t + 0.5) + np.cos(2 * t + np.pi / 2) - np.cos(3 * t)
    np.testing.assert_allclose(y, expected, **CLOSE)


@both_ways
@pytest.mark.usefixtures("_")
def test_negative_frequencies_of_the_leading_axes_are_their_own_modes():
    layer = built(SpectralConvolution(1, (3, 2)), (8, 8, 1))
    a, b = 2 * np.pi * np.mgrid[:8, :8] / 8
    for place, k in enumerate((0, 1, -1)):
        layer.weights.value = np.zeros(layer.weights.shape)
        layer.weights.value[place, 1, 0, 0, 0] = 1
        x = sum(np.cos(m * a + n * b + m + 2 * n) for m in (-2, -1, 0, 1, 2) for n in (0, 1, 2))
        y = layer(x[np.newaxis, ..., np.newaxis])[0, ..., 0]
        np.testing.assert_allclose(y, np.cos(k * a + b + k + 2), **CLOSE)


@both_ways
@pytest.mark.usefixtures("_")
@given(case=cases(), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_values_are_those_of_the_whole_transform(case, seed):
    layer, shape = case
    built(layer, shape, rng=seed)
    x = np.random.default_rng(seed).normal(size=(2, *shape))
    np.testing.assert_allclose(layer.forward(x), by_numpy(layer, x), **CLOSE)
    np.testing.assert_array_equal(layer(x), layer.forward(x))


@both_ways
@pytest.mark.usefixtures("_")
@given(case=cases(), rng=st.integers(0, 2**32 - 1))
@settings(max_examples=6)
def test_it_keeps_every_law(case, rng):
    layer, shape = case
    result = check_layer(layer, shape, rng=rng)
    assert result.ok, result


@both_ways
@pytest.mark.usefixtures("_")
@given(case=cases(), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_backward_is_the_transpose_of_what_dual_numbers_compute(case, seed):
    layer, shape = case
    built(layer, shape, rng=seed)
    rng = np.random.default_rng(seed)
    x, move = rng.normal(size=(2, 2, *shape))
    along = rng.normal(size=layer.parameters.size)
    y, jv = derivatives.jvp(layer, x, move, along)
    delta = rng.normal(size=y.shape)
    layer.forward(x)
    back = (layer.backward(delta) * move).sum() + layer.parameters.grad @ along
    np.testing.assert_allclose((delta * jv).sum(), back, **CLOSE)


@both_ways
@pytest.mark.usefixtures("_")
@pytest.mark.parametrize("shape", [(9, 2), (6, 9, 2), (4, 5, 9, 2)])
def test_float32_stays_float32_with_the_same_numbers(shape):
    layer = built(SpectralConvolution(3, 3), shape, dtype="float32")
    exact = built(SpectralConvolution(3, 3), shape)
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    y, expected = layer.forward(x), exact.forward(x.astype(float))
    delta = layer.backward(np.ones_like(y))
    assert {y.dtype, delta.dtype, layer.weights.grad.dtype} == {np.dtype(np.float32)}
    np.testing.assert_allclose(y, expected, atol=1e-5)
    np.testing.assert_allclose(delta, exact.backward(np.ones_like(expected)), atol=1e-5)


@both_ways
@pytest.mark.usefixtures("_")
def test_a_function_gives_the_same_values_on_a_finer_grid():
    layer = built(SpectralConvolution(2, (4, 3)), (8, 10, 1))

    def sampled(n):
        a, b = 2 * np.pi * np.mgrid[: 4 * n, : 5 * n] / np.array([4 * n, 5 * n])[:, None, None]
        return (np.sin(a - b) + np.cos(2 * b) * np.sin(a) + 0.3)[np.newaxis, ..., np.newaxis]

    coarse, fine = layer(sampled(2)), layer(sampled(4))
    np.testing.assert_allclose(fine[:, ::2, ::2], coarse, **CLOSE)
    y = layer.forward(sampled(3))
    assert layer.backward(np.ones_like(y)).shape == sampled(3).shape


def test_the_grid_may_be_open():
    layer = SpectralConvolution(2, 3)
    layer.build((None, 1), rng=0)
    assert layer.output_shape == (None, 2)
    assert layer(np.ones((1, 5, 1))).shape == (1, 5, 2)
    with pytest.raises(ShapeError, match="more modes than the grid"):
        layer(np.ones((1, 3, 1)))
    with pytest.raises(ShapeError):
        layer(np.ones((1, 5, 5, 1)))


def test_weights_have_the_layout_and_spread_of_the_docstring():
    layer = built(SpectralConvolution(40, (6, 8)), (16, 16, 60))
    assert layer.weights.shape == (6, 8, 60, 40, 2)
    np.testing.assert_allclose(layer.weights.value.std(), np.sqrt(1 / 100), rtol=0.02)
    assert repr(layer) == "SpectralConvolution(40, (6, 8))" and eval(repr(layer)) == layer
    assert SpectralConvolution(2, [3, 4]) == SpectralConvolution(2, (3, 4))


def test_a_fourier_layer_in_a_graph_is_saved_and_frozen(tmp_path):
    x = Input((None, 2))
    h = Add()(SpectralConvolution(4, 3)(x), Dense(4)(x))
    model = Graph(x, Dense(1)(Activation("gelu")(h)))
    model.build(rng=0)
    data = np.random.default_rng(0).normal(size=(3, 12, 2))
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again == model
    np.testing.assert_array_equal(again(data), model(data))
    model["spectral_convolution_1"].freeze()
    y = model.forward(data)
    model.backward(np.ones_like(y))
    assert not model.parameters["spectral_convolution_1.weights"].grad.any()
    shown = str(explain(model))
    assert "Y₁ = einsum(nkc,kcd->nkd, X₁, W₁)" in shown and "does not provide" not in shown


@pytest.mark.parametrize(
    ("modes", "row"), [(3, (7, 2)), (4, (6, 1)), ((3, 2), (5, 4, 2)), ((2, 3, 2), (3, 4, 2, 1))]
)
def test_the_equations_are_what_the_layer_computes(modes, row):
    layer, rng = built(SpectralConvolution(2, modes), row), np.random.default_rng(0)
    x = rng.normal(size=(3, *row))
    y = layer.forward(x)
    delta = rng.normal(size=y.shape)
    delta_in = layer.backward(delta)
    found = explain(layer).evaluate({"y_0": x, "Delta_1": delta, "w_1": layer.weights.value})
    np.testing.assert_allclose(found["y_1"], y, atol=1e-12)
    np.testing.assert_allclose(found["Delta_0"], delta_in, atol=1e-12)
    np.testing.assert_allclose(found["dC_dw_1"], layer.weights.grad, atol=1e-12)


def test_second_derivatives_and_gradients_of_rows():
    model = Sequential([SpectralConvolution(2, 3), Activation("tanh"), SpectralConvolution(1, 2)])
    model.build((7, 2), rng=0)
    rng = np.random.default_rng(0)
    x, t, loss = rng.normal(size=(3, 7, 2)), rng.normal(size=(3, 7, 1)), losses.HalfSquaredError()
    along = rng.normal(size=model.parameters.size)

    def gradient(step):
        moved = model.unbuilt()
        moved.build((7, 2), rng=0)
        moved.parameters.value = model.parameters.value + step * along
        return derivatives.value_and_gradient(moved, loss, x, t)[1]

    by_differences = (gradient(1e-5) - gradient(-1e-5)) / 2e-5
    product = derivatives.hvp(model, loss, x, t, along)
    np.testing.assert_allclose(product, by_differences, rtol=1e-5, atol=1e-7)
    rows = derivatives.row_gradients(model, x, t)
    model.parameters.zero_grad()
    model.forward(x)
    model.backward(t)
    np.testing.assert_allclose(rows.sum(0), model.parameters.grad, **CLOSE)
    kept = model.parameters.grad.copy()
    model.parameters.zero_grad()
    model.backward_parameters(t)
    np.testing.assert_array_equal(model.parameters.grad, kept)


@pytest.mark.parametrize("filters", [0, 1.5, "3", None, True])
def test_the_number_of_filters_is_checked(filters):
    with pytest.raises(ConfigurationError, match="filters has an invalid value"):
        SpectralConvolution(filters, 3)


@pytest.mark.parametrize("modes", [0, (2, 0), 1.5, (), (1, 2, 3, 4), "3", None])
def test_modes_are_checked(modes):
    with pytest.raises(ConfigurationError, match="modes has an invalid value"):
        SpectralConvolution(1, modes)


@pytest.mark.parametrize(
    ("modes", "shape", "expected", "received"),
    [
        (6, (9, 1), "modes=5", "modes=6 on (batch, 9, 1)"),
        ((5, 3), (4, 8, 1), "modes=(4, 5)", "modes=(5, 3) on (batch, 4, 8, 1)"),
        ((4, 6), (4, 8, 1), "modes=(4, 5)", "modes=(4, 6) on (batch, 4, 8, 1)"),
        (1, (0, 1), "modes=0", "modes=1 on (batch, 0, 1)"),
        ((2, 2), (8, 1), "a tuple of 1", "modes=(2, 2)"),
        (2, (8,), "(batch, time, channels)", "(batch, 8)"),
        (2, (8, 8, 8, 8, 1), "volumes", "(batch, 8, 8, 8, 8, 1)"),
    ],
)
def test_rows_that_do_not_fit_are_refused(modes, shape, expected, received):
    with pytest.raises(ShapeError) as caught:
        SpectralConvolution(1, modes).build(shape)
    assert expected in str(caught.value.expected) and received in str(caught.value.received)
    assert "SpectralConvolution" in str(caught.value)


@both_ways
@pytest.mark.usefixtures("_")
@pytest.mark.peers
@given(case=cases(), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_values_and_gradients_are_those_of_pytorch(torch, case, seed):
    layer, shape = case
    built(layer, shape, rng=seed)
    x = np.random.default_rng(seed).normal(size=(2, *shape))
    inputs = torch.tensor(x, requires_grad=True)
    weights = torch.tensor(layer.weights.value, requires_grad=True)
    axes = tuple(range(1, x.ndim - 1))
    spectrum = torch.fft.rfftn(inputs, dim=axes)
    *leading, last = layer.weights.shape[:-3]
    index = np.ix_(
        np.arange(2), *(np.fft.fftfreq(m, 1 / m).astype(int) for m in leading), np.arange(last)
    )
    index = tuple(map(torch.tensor, index))
    mixed = torch.einsum("b...c,...cd->b...d", spectrum[index], torch.view_as_complex(weights))
    whole = torch.zeros((*spectrum.shape[:-1], layer.filters), dtype=torch.complex128)
    y = torch.fft.irfftn(whole.index_put(index, mixed), shape[:-1], dim=axes)
    delta = np.random.default_rng(seed + 1).normal(size=y.shape)
    y.backward(torch.tensor(delta))
    np.testing.assert_allclose(layer.forward(x), y.detach().numpy(), **CLOSE)
    np.testing.assert_allclose(layer.backward(delta), inputs.grad.numpy(), **CLOSE)
    np.testing.assert_allclose(layer.weights.grad, weights.grad.numpy(), **CLOSE)
