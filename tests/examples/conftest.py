"""What the tests of the examples share: how one is loaded, and how its figure is measured."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
QUICK = "test_command_line.py", "test_own_layer.py"


@pytest.hookimpl(tryfirst=True)  # before the marks are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs an example to its end, which takes minutes in all."""
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.name not in QUICK:
            item.add_marker(pytest.mark.examples)


@pytest.fixture
def example():
    """Load an example by its name: the dictionary of what it defines."""
    return lambda name: runpy.run_path(str(EXAMPLES / f"{name}.py"))


@pytest.fixture
def png_size():
    """Width and height of a PNG in pixels, from its header."""

    def measured(path: Path) -> tuple[int, int]:
        header = path.read_bytes()[:24]
        assert header[:8] == b"\x89PNG\r\n\x1a\n"
        return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")

    return measured
