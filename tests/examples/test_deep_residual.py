"""The example keeps its promise: short cuts, and nothing else, save the deltas and the learning."""

from __future__ import annotations

import numpy as np


def test_deltas_vanish_without_skip_connections_and_nothing_is_learned(
    example, tmp_path, capsys, png_size
):
    found = example("deep_residual")["main"](epochs=4, output=tmp_path)
    plain, residual = found["plain"], found["residual"]
    assert len(plain["deltas"]) == len(residual["deltas"]) == 16
    assert plain["deltas"][0] < 1e-6 * residual["deltas"][0]
    assert np.all(np.diff(np.log10(plain["deltas"])) > 0.2)  # a factor for each block
    assert max(residual["deltas"]) < 3 * min(residual["deltas"])
    assert residual["accuracy"][-1] > 0.85
    assert plain["accuracy"][-1] < 0.2
    assert "by chance: 10 %" in capsys.readouterr().out
    assert png_size(tmp_path / "deep_residual.png") == (1650, 660)


def test_both_networks_begin_with_the_same_parameters(example):
    network = example("deep_residual")["network"]
    plain, residual = network(False), network(True)
    plain.build((64,), rng=0)
    residual.build((64,), rng=0)
    np.testing.assert_array_equal(plain.parameters.value, residual.parameters.value)
