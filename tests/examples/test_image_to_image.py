"""The example keeps its promise: squares around noisy circles, on images of any size."""

from __future__ import annotations

import numpy as np


def test_squares_are_drawn_on_small_images_and_on_a_large_one(example, tmp_path, capsys, png_size):
    found = example("image_to_image")["main"](steps=120, output=tmp_path)
    small, large = found.values()
    assert small > 0.5 and large > 0.5
    assert f"{small:6.3f}" in capsys.readouterr().out
    assert png_size(tmp_path / "image_to_image.png") == (1860, 840)


def test_a_pixel_sees_the_neighbourhood_in_the_docstring_and_nothing_else(example):
    model = example("image_to_image")["network"]()
    model.build((96, 96, 1), rng=0, dtype="float64")
    x = np.random.default_rng(0).normal(size=(1, 96, 96, 1))
    changed = x.copy()
    changed[0, 48, 48] += 1
    seen = np.argwhere(model(changed)[0, ..., 0] != model(x)[0, ..., 0])
    np.testing.assert_array_equal(seen.min(axis=0), [48 - 19] * 2)
    np.testing.assert_array_equal(seen.max(axis=0), [48 + 19] * 2)


def test_the_squares_contain_the_circles(example):
    scenes = example("image_to_image")["scenes"]
    images, squares = scenes(3, np.random.default_rng(0), size=64, circles=2)
    assert images.shape == squares.shape == (3, 64, 64, 1) and images.dtype == np.float32
    assert set(np.unique(squares)) == {0, 1}
    for square in squares[..., 0]:
        rows = np.flatnonzero(square.any(axis=1))
        assert 2 * 4 <= rows.max() - rows.min() + 1 <= 64
