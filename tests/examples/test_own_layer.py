"""The example keeps its promise: the layer is checked, and it learns the wave."""

from __future__ import annotations

import runpy
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_layer.py"


def test_the_wave_is_checked_and_learned(capsys):
    cost = runpy.run_path(str(EXAMPLE))["main"]()
    printed = capsys.readouterr().out
    assert (
        "Wave(), checked on rows of shape (4,) in batches of 7 (and 0 to 128): all 10 laws hold"
        in printed
    )
    assert cost < 1e-3
