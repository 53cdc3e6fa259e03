"""Notebooks: detect whether a program runs in one, and update the output of a cell in place.

A Jupyter kernel runs the cells; a browser, VS Code or Colab shows their outputs. An output is
created with an id, and can be replaced under the same id any number of times:

    display_data           {"text/html": "…  3 %"}, id            creates it
    update_display_data    {"text/html": "… 40 %"}, id            replaces it

The notebook file keeps only the last state. This needs no widgets.

IPython is never imported here: in a kernel, it has already been imported.
"""

from __future__ import annotations

import importlib
import multiprocessing
import sys
import uuid
from typing import Any


def is_kernel() -> bool:
    """Whether the program runs in a kernel of Jupyter, whose outputs are shown in a notebook.

    False in the terminal of IPython, and in a process that a kernel started.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None and multiprocessing.parent_process() is None


class LiveOutput:
    """One output of a cell, which is replaced as often as it is shown."""

    def __init__(self) -> None:
        self._identity = uuid.uuid4().hex
        self._is_shown = False

    def show(self, html: str, text: str) -> None:
        """Show it, as HTML and as the text for what shows no HTML."""
        display: Any = importlib.import_module("IPython.display")
        publish = display.update_display if self._is_shown else display.display
        self._is_shown = True
        bundle = {"text/html": html, "text/plain": text}
        publish(bundle, raw=True, display_id=self._identity)
