"""Warnings that point to the line of the user's program that called chainrule."""

from __future__ import annotations

import sys
import warnings
from typing import Any


def warn_caller(warning: Warning) -> None:
    """Issue a warning that points to the innermost line outside chainrule."""
    frame = sys._getframe(1)
    while _is_internal(frame) and frame.f_back is not None:
        frame = frame.f_back
    warnings.warn_explicit(
        warning,
        None,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=frame.f_globals.get("__name__"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _is_internal(frame: Any) -> bool:
    """Whether a frame belongs to chainrule, to a method that attrs generated, or to an import."""
    name = frame.f_globals.get("__name__") or ""
    is_generated = frame.f_code.co_filename.startswith(("<frozen importlib", "<attrs generated"))
    return is_generated or name == "chainrule" or name.startswith("chainrule.")
