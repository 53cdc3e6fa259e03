"""The example keeps its promise: gates keep a number, and a cell counts down."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import LSTM


def test_numbers_are_recalled_and_counted_down_for_longer_than_in_training(
    example, tmp_path, capsys, png_size
):
    found = example("memory")["main"](output=tmp_path)
    recalled, simple, later, _, counted, counted_later = found.values()
    assert recalled < 0.1 and later < 0.3  # a network that says 0 has 0.577
    assert simple > 3 * recalled
    assert counted > 0.9 and counted_later > 0.9
    assert f"{recalled:6.3f}" in capsys.readouterr().out
    assert png_size(tmp_path / "memory.png") == (1860, 930)


def test_targets_by_hand(example):
    program = example("memory")
    numbers = np.array([[0.5, -0.25, 0.75, 0.0], [0.125, 0.25, 0.5, -1.0]])
    x, t = program["recall"](np.array([1, 0]), np.array([3, 2]), numbers)
    np.testing.assert_array_equal(x[..., 0], numbers)
    np.testing.assert_array_equal(x[..., 1], [[0, 1, 0, 0], [1, 0, 0, 0]])
    np.testing.assert_array_equal(x[..., 2], [[0, 0, 0, 1], [0, 0, 1, 0]])
    np.testing.assert_array_equal(t[..., 0], [[0, 0, 0, -0.25], [0, 0, 0.125, 0]])
    nan = np.nan
    expected = [[nan, -0.25, -0.25, nan], [0.125, 0.125, nan, nan]]
    np.testing.assert_array_equal(program["to_keep"](x), expected)

    x, t = program["count_down"](np.array([3, 1]), np.array([1, 0]), 6)
    np.testing.assert_allclose(10 * x[..., 0], [[0, 3, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(10 * t[..., 0], [[0, 3, 2, 1, 0, 0], [1, 0, 0, 0, 0, 0]], rtol=1e-6)


def test_gates_by_hand_give_the_output_of_the_layer(example):
    layer = LSTM(4, return_sequences=True)
    layer.build((9, 3), rng=0)
    x = np.random.default_rng(1).normal(size=(5, 9, 3))
    values = example("memory")["inside"](layer, x)
    np.testing.assert_allclose(values["h"], layer(x), atol=1e-14)
    kept = values["f"][:, 1:] * values["c"][:, :-1] + values["i"][:, 1:] * values["g"][:, 1:]
    np.testing.assert_allclose(values["c"][:, 1:], kept, atol=1e-14)
    assert all(values[gate].min() > 0 and values[gate].max() < 1 for gate in "ifo")


def test_a_cell_with_gates_set_by_hand_keeps_its_number(example):
    """f = 1 always, i = 1 at the first mark only, o = 1 at the second mark only."""
    program, large = example("memory"), 100.0
    layer = LSTM(1, return_sequences=True)
    layer.build((40, 3), rng=0)
    layer.recurrent_weights.value = np.zeros((1, 4))
    #                     i      f      g      o
    layer.weights.value = [
        [0, 0, 1, 0],  #                            the number
        [large, 0, 0, 0],  #                        keep it
        [0, 0, 0, large],  #                        recall it
    ]
    layer.biases.value = [-large / 2, large / 2, 0, -large / 2]
    x, t = program["any_recall"](50, np.random.default_rng(0), steps=200)
    np.testing.assert_allclose(layer(x), np.tanh(np.tanh(t.astype(float))), atol=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_unit_that_follows_a_number_is_found(example, sign):
    rng = np.random.default_rng(0)
    numbers = np.where(rng.random((20, 6)) < 0.3, np.nan, rng.normal(size=(20, 6)))
    cells = rng.normal(size=(20, 6, 5))
    cells[..., 3] += sign * np.nan_to_num(numbers)
    assert example("memory")["follows_best"](cells, numbers) == 3
