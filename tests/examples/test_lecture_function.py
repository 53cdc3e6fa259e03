"""The example keeps its promise: the function is learned from points that come only once."""

from __future__ import annotations

import numpy as np


def test_the_function_is_learned_and_each_picture_is_nearer_to_it(
    example, tmp_path, capsys, png_size
):
    rms = example("lecture_function")["main"](epochs=8, output=tmp_path)
    assert rms < 0.03  # F itself has a standard deviation of 0.08
    lines = capsys.readouterr().out.splitlines()
    errors = [float(line.split()[1]) for line in lines[1:5]]
    assert errors == sorted(errors, reverse=True)
    assert png_size(tmp_path / "lecture_function.png") == (1650, 690)


def test_the_function_is_the_lecture_s_by_hand(example):
    function = example("lecture_function")["function"]
    points = np.array([[0.0, 0.0], [0.5, -0.5], [0.3, 0.1], [-0.3, -0.1]])
    expected = [[0.0], [0.0], [0.4 * np.exp(-0.5)], [0.4 * np.exp(-0.5)]]
    np.testing.assert_allclose(function(points), expected, rtol=1e-14)
