"""The example keeps its promise: sixteen numbers hold more than those of a linear map do."""

from __future__ import annotations

import numpy as np

from chainrule import datasets


def test_the_network_fills_in_digits_better_than_linear_maps(example, tmp_path, capsys, png_size):
    found = example("convolutional_autoencoder")["main"](epochs=12, output=tmp_path)
    seen, components, linear, network = found.values()
    assert network < 0.9 * linear < components < seen
    assert 0.5 < linear < 0.6  # of these data, and no matter of training
    assert f"{100 * network:6.1f} %" in capsys.readouterr().out
    assert png_size(tmp_path / "convolutional_autoencoder.png") == (1860, 660)


def test_everything_passes_through_sixteen_numbers(example):
    program = example("convolutional_autoencoder")
    whole, encoder, decoder = program["autoencoder"]()
    x = datasets.digits().x_test[:20].reshape(-1, 8, 8, 1)
    whole.build((8, 8, 1), rng=0)
    codes = encoder(x)
    assert codes[0].size == program["CODE"] == 16
    np.testing.assert_array_equal(decoder(codes), whole(x))
    assert decoder(codes).shape == x.shape


def test_no_other_linear_map_with_sixteen_numbers_has_a_smaller_error(example):
    """Reduced-rank regression against gradient descent on both factors of the map."""
    best_linear = example("convolutional_autoencoder")["best_linear"]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 20)) * np.linspace(0.5, 2, 20)
    t = np.tanh(x @ rng.normal(size=(20, 20)))
    best = ((best_linear(x, t)(x) - t) ** 2).mean()
    x, t = x - x.mean(axis=0), t - t.mean(axis=0)
    down, up = rng.normal(size=(20, 16)) / 5, rng.normal(size=(16, 20)) / 5
    for _ in range(4000):
        error = (x @ down @ up - t) / len(x)
        down, up = down - 0.05 * x.T @ error @ up.T, up - 0.05 * (x @ down).T @ error
    descended = ((x @ down @ up - t) ** 2).mean()
    assert best <= descended < 1.01 * best


def test_the_best_linear_map_without_holes_is_that_of_the_principal_components(example):
    program = example("convolutional_autoencoder")
    x = datasets.digits().x_train[:300].reshape(-1, 8, 8, 1)
    expected = program["components"](x)(x)
    np.testing.assert_allclose(program["best_linear"](x, x)(x), expected, atol=1e-10)


def test_the_grid_of_codes_has_the_four_at_its_corners(example):
    between = example("convolutional_autoencoder")["between"]
    corners = np.random.default_rng(0).normal(size=(4, 2, 2, 4))
    grid = between(corners, 5).reshape(5, 5, 2, 2, 4)
    for (i, j), corner in zip(((0, 0), (0, 4), (4, 0), (4, 4)), corners, strict=True):
        np.testing.assert_allclose(grid[i, j], corner)
    np.testing.assert_allclose(grid[2, 2], corners.mean(axis=0))
