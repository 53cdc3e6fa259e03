"""The caller: where in the user's own program a warning is about."""

from __future__ import annotations

import sys


def frames_to_the_caller() -> int:
    """How many frames up the first is that is none of chainrule's: the line that called `fit`.

    It is the ``stacklevel`` of a warning that the function warns which has called this one.
    """
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("chainrule."):
        frame, level = frame.f_back, level + 1
    return level
