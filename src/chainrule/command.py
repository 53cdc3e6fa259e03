"""The console script ``chainrule``: the same as ``python -m chainrule``."""

from __future__ import annotations

import runpy


def main() -> None:
    """Run `chainrule.__main__` as the main program: only then does it set NumPy up first."""
    runpy.run_module("chainrule", run_name="__main__", alter_sys=True)
