"""Noise: its distribution, the same noise both ways, none in use, and a state that is saved."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule import (
    Dense,
    Dropout,
    Dual,
    GaussianDropout,
    GaussianNoise,
    Sequential,
    SpatialDropout,
    Trainer,
    check_layer,
    derivatives,
    explain,
    load,
    losses,
    optimizers,
)
from chainrule.core.errors import ConfigurationError, ShapeError

ALL = [Dropout(0.3), SpatialDropout(0.3), GaussianDropout(0.3), GaussianNoise(0.3)]
each_layer = pytest.mark.parametrize("layer", ALL, ids=repr)
each_share = pytest.mark.parametrize("kind", [Dropout, SpatialDropout, GaussianDropout])
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
shares = st.sampled_from([0.0, 0.1, 0.5, 0.9])


def built(layer: Any, shape: tuple[int, ...] = (50, 40), **how: Any) -> Any:
    layer = layer.unbuilt()
    layer.build(shape, **{"rng": 0, **how})
    return layer


@each_dtype
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.75])
def test_dropout_keeps_numbers_with_the_probability_and_the_factor(rate: float, dtype: Any) -> None:
    layer = built(Dropout(rate), dtype=dtype)
    y = layer.forward(np.ones((100, 50, 40), dtype))
    kept = np.asarray(1 / (1 - rate), dtype)
    assert y.dtype == dtype and set(np.unique(y).tolist()) <= {0.0, kept.item()}
    assert abs(np.mean(y == 0) - rate) <= 5 * np.sqrt(rate * (1 - rate) / y.size)
    np.testing.assert_array_equal(layer.backward(y), y * y)


def test_spatial_dropout_drops_whole_channels_of_each_row():
    layer = built(SpatialDropout(0.5), (3, 5, 40))
    y = layer.forward(np.ones((100, 3, 5, 40)))
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1, :1], y.shape))
    assert abs(y[:, 0, 0].mean() - 1) < 5 / np.sqrt(4000)
    assert len(np.unique(y[:, 0, 0], axis=0)) == 100
    np.testing.assert_array_equal(layer.backward(y), y * y)


@each_dtype
def test_gaussian_noise_has_its_mean_and_deviation(dtype: Any) -> None:
    x = np.full((100, 50, 40), 3, dtype)
    for layer, deviation in [
        (GaussianDropout(0.2), 3 * 0.5),
        (GaussianDropout(0.5), 3),
        (GaussianNoise(0.7), 0.7),
    ]:
        y = built(layer, dtype=dtype).forward(x)
        assert y.dtype == dtype
        assert abs(y.mean() - 3) < 5 * deviation / np.sqrt(y.size)
        assert abs(y.std() / deviation - 1) < 5 / np.sqrt(y.size)


def test_the_factors_on_the_way_back_are_those_of_the_way_forward():
    layer, x = built(GaussianDropout(0.4)), np.full((2, 50, 40), 2.0)
    y = layer.forward(x)
    np.testing.assert_allclose(layer.backward(np.ones_like(y)), y / 2)
    delta = np.random.default_rng(0).normal(size=x.shape)
    noise = built(GaussianNoise(0.4))
    noise.forward(x)
    np.testing.assert_array_equal(noise.backward(delta), delta)


@each_layer
def test_in_use_it_is_the_identity(layer: Any) -> None:
    layer = built(layer)
    x = np.random.default_rng(0).normal(size=(3, 50, 40))
    before = layer.draws.bit_generator.state
    np.testing.assert_array_equal(layer(x), x)
    assert layer.draws.bit_generator.state == before
    assert not np.array_equal(layer.forward(x), x)


@each_layer
def test_every_pass_draws_anew_and_a_seed_repeats_them(layer: Any) -> None:
    one, other, x = built(layer), built(layer), np.ones((2, 50, 40))
    first, second = one.forward(x), one.forward(x)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, other.forward(x))
    np.testing.assert_array_equal(second, other.forward(x))
    assert not np.array_equal(first, built(layer, rng=1).forward(x))


@each_layer
def test_a_saved_layer_continues_with_the_same_numbers(layer: Any, tmp_path: Any) -> None:
    layer, x = built(layer), np.ones((2, 50, 40))
    layer.forward(x)
    layer.save(tmp_path / "layer")
    loaded = load(tmp_path / "layer")
    assert loaded == layer and repr(loaded) == repr(layer)
    np.testing.assert_array_equal(loaded.forward(x), layer.forward(x))


@each_layer
@pytest.mark.parametrize("shape", [(4, 3), (2, 5, 3), (1, 1)])
def test_all_axes_are_open(layer: Any, shape: Any) -> None:
    layer = built(layer)
    for batch in (3, 0):
        x = np.ones((batch, *shape))
        assert layer.forward(x).shape == layer(x).shape == layer.backward(x).shape == x.shape


@pytest.mark.parametrize("kind", [Dropout, GaussianDropout, SpatialDropout, GaussianNoise])
@given(share=shares, shape=st.lists(st.integers(1, 4), min_size=2, max_size=3), rng=st.integers(0))
@settings(max_examples=5)
def test_every_law_holds(kind: Any, share: float, shape: Any, rng: int) -> None:
    assert check_layer(kind(share), tuple(shape), rng=rng).ok


@each_layer
def test_tangents_meet_the_same_noise(layer: Any) -> None:
    v = np.random.default_rng(0).normal(size=(2, 50, 40))
    y = built(layer).forward(Dual(np.ones_like(v), v))
    plain = built(layer)
    np.testing.assert_array_equal(plain.forward(np.ones_like(v)), y.value)
    np.testing.assert_allclose(plain.backward(v), y.tangent)


def test_gradients_of_single_rows_work_with_noise():
    model = Sequential([Dense(4), Dropout(0.5), Dense(1)])
    model.build((3,), rng=0)
    x, t = np.random.default_rng(0).normal(size=(2, 5, 3))
    rows = derivatives.per_sample_gradients(model, losses.HalfSquaredError(), x, t[:, :1])
    assert rows.shape == (5, model.parameters.size) and np.isfinite(rows).all()


def test_a_network_learns_in_spite_of_the_noise():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    t = x @ [[1.0], [-2.0], [0.5]]
    model = Sequential([GaussianNoise(0.05), Dense(20), Dropout(0.1), Dense(1)])
    model.build((3,), rng=0)
    Trainer(model, losses.HalfSquaredError(), optimizers.Adam(0.01)).fit(x, t, epochs=30)
    assert np.mean((model(x) - t) ** 2) < 0.05 * np.mean(t**2)


@each_share
@pytest.mark.parametrize("given", [1, 1.0, -0.1, 50, float("nan"), "0.5", None, True])
def test_a_rate_that_is_no_share_is_refused(kind: Any, given: Any) -> None:
    with pytest.raises(ConfigurationError, match="rate has an invalid value") as caught:
        kind(given)
    assert caught.value.expected == "a number from 0 to below 1"
    hint = str(caught.value.hint)
    if given == 1 and given is not True:
        assert hint.startswith("with rate 1 nothing would be left")
    if given == 50:
        assert hint == f"a share, not a percentage: {kind.__name__}(0.5)"


@pytest.mark.parametrize("given", [-0.1, float("inf"), float("nan"), "0.1", None, True])
def test_a_deviation_that_is_none_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="deviation has an invalid value"):
        GaussianNoise(given)


def test_vectors_have_no_channels_to_drop_as_a_whole():
    with pytest.raises(ShapeError, match="no axes of space or time") as caught:
        SpatialDropout(0.25).build((4,))
    assert caught.value.hint == "Dropout(0.25)"


def test_layers_print_as_they_are_written():
    for layer in ALL:
        assert eval(repr(layer), globals()) == layer
    assert repr(Dropout(0.5)) == "Dropout(0.5)"


# ------------------------------------------------------------------------------- on paper


def test_explain_shows_the_random_factors():
    model = Sequential(
        [Dropout(0.3), SpatialDropout(0.5), GaussianDropout(0.2), GaussianNoise(0.1)]
    )
    model.build((2, 4), rng=0)
    shown = str(explain(model))
    assert "does not provide" not in shown
    for line in (
        "r₁ = where(random(shape(y₀)) ≥ 0.3, 1 / (1 − 0.3), 0)",
        "r₂ = where(random(N, 1, 4) ≥ 0.5, 1 / (1 − 0.5), 0)",
        "r₃ = 1 + √(0.2 / (1 − 0.2)) normal(shape(y₂))",
        "y₁ = r₁ ⊙ y₀",
        "y₄ = y₃ + 0.1 normal(shape(y₃))",
        "Δ₀ = r₁ ⊙ Δ₁",
        "Δ₃ = Δ₄",
    ):
        assert line in shown
