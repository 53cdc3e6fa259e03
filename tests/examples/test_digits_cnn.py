"""The example keeps its promise: at least 98.5 % of the test digits, and maps of every layer."""

from __future__ import annotations

import numpy as np

from chainrule import datasets


def test_the_network_recognizes_nearly_all_test_digits(example, tmp_path, capsys, png_size):
    found = example("digits_cnn")["main"](output=tmp_path)
    assert found["right of the test digits"] >= 0.985
    assert found["right of the training digits"] > 0.999
    assert f"{found['right of the test digits']:8.4f}" in capsys.readouterr().out
    assert png_size(tmp_path / "digits_cnn.png") == (1860, 960)


def test_the_maps_are_what_the_layers_compute(example):
    program = example("digits_cnn")
    model, x = program["network"](), datasets.digits().x_test.reshape(-1, 8, 8, 1)
    model.build((8, 8, 1), rng=0)
    maps = program["feature_maps"](model, x[0])
    assert [each.shape for each in maps] == [(8, 8, 16), (8, 8, 32), (4, 4, 32), (4, 4, 64)]
    blocks = maps[1].reshape(4, 2, 4, 2, 32)
    np.testing.assert_array_equal(maps[2], blocks.max(axis=(1, 3)))
    weights, biases = model[0].weights.value, model[0].biases.value
    scale, shift = model[1].scale.value, model[1].shift.value
    padded = np.pad(x[0], ((1, 1), (1, 1), (0, 0)))
    window = padded[3:6, 2:5]  # what the pixel (3, 2) sees
    z = np.einsum("klm,klmc->c", window, weights) + biases
    normalized = z / np.sqrt(1 + model[1].epsilon) * scale + shift  # no batch was seen yet
    np.testing.assert_allclose(maps[0][3, 2], np.maximum(normalized, 0), atol=1e-14)
