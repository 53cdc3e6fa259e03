"""Modules that need the library of an edge are imported only if their tests are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

MARK = "pytestmark = pytest.mark.edges"


def pytest_ignore_collect(collection_path: Path, config: Any) -> bool | None:
    """Whether a module is left out: without `-m edges`, its libraries may not be installed."""
    if collection_path.suffix != ".py" or config.option.markexpr == "edges":
        return None
    return True if MARK in collection_path.read_text("utf-8") else None
