"""Ctrl-C as a request to stop after the current step.

Interrupting a step in the middle would leave half an update. So the first Ctrl-C only sets a flag,
which the run checks between two steps. The second raises `KeyboardInterrupt` immediately, as usual.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self


class Interruption:
    """A context manager that catches Ctrl-C; then `is_wanted` is True.

    Parameters
    ----------
    notify
        Called at the first Ctrl-C, to confirm it to the user.

    Notes
    -----
    Only the main thread of a program receives signals. If the program has its own handler for
    SIGINT, that handler stays.
    """

    def __init__(self, notify: Callable[[], None] = lambda: None) -> None:
        self.is_wanted = False
        self._held, self._is_late = 0, False
        self._notify = notify
        self._previous: Any = None

    def __enter__(self) -> Self:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._previous = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.is_wanted and self._held and not self._is_late:
            self._is_late = True
            return
        if self.is_wanted:
            signal.default_int_handler(number, frame)
        self.is_wanted = True
        self._notify()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within the context the second Ctrl-C waits for its end, and only the third does not.

        An exchange between processes must not be interrupted: the others would wait forever.
        Contexts can be nested.
        """
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self._is_late and not self._held:
            self._is_late = False
            raise KeyboardInterrupt
