"""Interruption: Ctrl-C as a wish to stop, heard after the step that is going on.

A step that is broken off in the middle would leave half of an update. So the first Ctrl-C only
sets a flag, which the run looks at between two steps. The second, from somebody who cannot wait,
raises `KeyboardInterrupt` wherever the program is, as it always does.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self


class Interruption:
    """Hears Ctrl-C between ``with`` and the end of its block; `is_wanted` tells.

    Parameters
    ----------
    tell
        Called at the first, to say that it was heard.

    Notes
    -----
    Only the main thread of a program hears signals; and where the program has a handler of its
    own for this one, that stays.
    """

    def __init__(self, tell: Callable[[], None] = lambda: None) -> None:
        self.is_wanted = False
        self._tell = tell
        self._before: Any = None

    def __enter__(self) -> Self:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.is_wanted:
            signal.default_int_handler(number, frame)
        self.is_wanted = True
        self._tell()
