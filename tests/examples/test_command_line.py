"""Every example that draws runs from the command line, with public names only."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
DRAWING = [
    "autoencoder",
    "deep_residual",
    "lecture_function",
    "memory_mapped",
    "periodic_convolution",
    "siamese",
    "two_outputs",
]

MORE = {"memory_mapped": ["--samples", "2000"]}
"""What else keeps an example short."""


@pytest.mark.parametrize("name", DRAWING)
def test_an_example_writes_its_figure_into_the_folder_that_it_is_given(
    name, tmp_path, monkeypatch, capsys
):
    path = EXAMPLES / f"{name}.py"
    folder = tmp_path / "new" / "folder"
    options = ["--epochs", "1", "--seed", "3", "--output", str(folder), *MORE.get(name, [])]
    monkeypatch.setattr(sys, "argv", [str(path), *options])
    runpy.run_path(str(path), run_name="__main__")
    figure = folder / f"{name}.png"
    assert figure.is_file()
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == f"figure: {figure}"
    assert max(map(len, printed)) <= 120
    assert all(line == line.rstrip() for line in printed)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_uses_public_names_only(path):
    source = path.read_text(encoding="utf-8")
    assert "from chainrule import" in source
    assert "from chainrule." not in source and "import chainrule." not in source
