"""The example keeps its promise: the layer is checked, and it finds the derivative's stencil."""

from __future__ import annotations

import numpy as np


def test_the_kernel_is_the_best_one_and_resembles_the_stencil(example, tmp_path, capsys, png_size):
    found = example("periodic_convolution")
    kernel, error, stencil_error = found["main"](epochs=40, output=tmp_path)
    printed = capsys.readouterr().out
    assert "PeriodicConvolution(reach=2)" in printed and "all 10 laws hold" in printed
    np.testing.assert_allclose(kernel, found["STENCIL"], atol=0.06)
    np.testing.assert_allclose(kernel, -kernel[::-1], atol=0.04)
    x, t = found["make_batch"](np.random.default_rng(2), 1000)
    windows = np.stack([np.roll(x, -step, axis=1) for step in range(-2, 3)], axis=-1)
    best = np.linalg.lstsq(windows.reshape(-1, 5), t.ravel())[0]
    np.testing.assert_allclose(kernel, best, atol=0.02)
    assert error < 0.3 * stencil_error
    assert png_size(tmp_path / "periodic_convolution.png") == (1500, 900)


def test_the_layer_is_the_sum_in_its_docstring(example):
    layer = example("periodic_convolution")["PeriodicConvolution"](reach=1)
    x = np.random.default_rng(0).normal(size=(2, 5))
    y = layer.forward(x)
    w = layer.kernel.value
    for i in range(5):
        expected = sum(w[k] * x[:, (i + k - 1) % 5] for k in range(3))
        np.testing.assert_allclose(y[:, i], expected)


def test_the_derivatives_it_learns_from_are_right(example):
    found = example("periodic_convolution")
    x, t = found["make_batch"](np.random.default_rng(0), 4)
    frequencies = 2j * np.pi * np.fft.fftfreq(found["SITES"])
    np.testing.assert_allclose(t, np.fft.ifft(frequencies * np.fft.fft(x)).real, atol=1e-12)
