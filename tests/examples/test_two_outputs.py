"""The example keeps its promise: both outputs are learned, and the sensor is weighted rightly."""

from __future__ import annotations

import numpy as np

from chainrule import datasets


def test_digit_and_drift_are_learned_together(example, tmp_path, capsys, png_size):
    found = example("two_outputs")["main"](epochs=15, output=tmp_path)
    assert found["accuracy"] > 0.7
    assert 0.4 < found["sensor error"] < 0.6
    assert found["error"] < 0.7 * found["sensor error"]
    assert 0.5 * found["best"] < found["follows"] < 1.5 * found["best"]
    assert f"{100 * found['accuracy']:.1f} % recognized" in capsys.readouterr().out
    assert png_size(tmp_path / "two_outputs.png") == (1800, 930)


def test_the_camera_sees_the_digit_where_the_drift_has_brought_it(example):
    observed = example("two_outputs")["observed"]
    x, t = datasets.digits().x_test[:20], np.arange(20)
    globals_of_example = observed.__globals__
    globals_of_example.update(PIXEL_NOISE=0.0, SENSOR_NOISE=0.0)
    (picture, reading), (digit, drift) = observed(x, t, np.random.default_rng(0))
    np.testing.assert_array_equal(digit, t)
    np.testing.assert_array_equal(reading, drift)
    ink = picture.reshape(-1, 8, 14).sum(axis=1)
    np.testing.assert_allclose(ink.sum(axis=1), x.sum(axis=1))  # none is lost at the edges
    of_digit = (x.reshape(-1, 8, 8).sum(axis=1) @ np.arange(8)) / x.sum(axis=1)
    centre = ink @ np.arange(14) / ink.sum(axis=1)
    np.testing.assert_allclose(centre - of_digit, 3 + drift[:, 0])
