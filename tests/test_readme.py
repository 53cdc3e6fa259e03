"""What the README shows runs as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_there_are_blocks_to_run():
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_a_block_runs_and_prints(block, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # one of them writes files
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out.strip()


def test_the_network_of_the_first_block_reads_digits(capsys):
    exec(compile(BLOCKS[0], "README.md", "exec"), {"__name__": "readme"})
    assert float(capsys.readouterr().out.split()[-1]) > 0.95


def test_the_custom_layer_takes_under_fifteen_lines_and_trains():
    import numpy as np

    from chainrule import Dense, Sequential, Trainer, losses, optimizers

    lines = [line for line in BLOCKS[3].splitlines() if line.strip()]
    assert len(lines) <= 15
    space = {"__name__": "readme"}
    exec(compile(BLOCKS[3], "README.md", "exec"), space)
    model = Sequential([space["Scale"](), Dense(1)])
    x = np.random.default_rng(0).normal(size=(200, 3))
    t = x @ [[1.0], [-2.0], [0.5]]
    history = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0).fit(
        x, t, epochs=50, batch_size=20, progress=False
    )
    assert history["loss"][-1] < 1e-6
    assert "Scale()" in repr(model)
