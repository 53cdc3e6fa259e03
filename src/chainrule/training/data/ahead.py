"""Ahead: the next batch is made ready in a thread while the current one is learned from.

    without    |read 1|train 1|read 2|train 2|read 3|train 3|
    with       |read 1|train 1       |train 2       |train 3|
                      |read 2|        |read 3|

It pays where reading is mostly waiting, or is done in C: files, decompression, copies of large
arrays. Python's own work gains nothing from a second thread.

Nothing that is computed depends on it. One thread does the work, in the same order, one item ahead;
an error that happens there is raised here, when that item is asked for; and when the items are no
longer wanted the thread is waited for, so that two never read at the same time.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

T = TypeVar("T")

END: Any = object()


class Ahead:
    """A thread that works one item ahead; it begins when it is first needed.

    Parameters
    ----------
    is_on
        Whether it does so; else everything is done when it is asked for.
    """

    def __init__(self, is_on: bool) -> None:
        self.is_on = is_on
        self._thread: ThreadPoolExecutor | None = None

    def through(self, items: Iterator[T]) -> Generator[T, None, None]:
        """The same items, the next one always in the making."""
        if not self.is_on:
            yield from items
            return
        coming: Future[T] = self.begin(next, items, END)
        try:
            while (item := coming.result()) is not END:
                coming = self.begin(next, items, END)
                yield item
        finally:
            settle(coming)

    def begin(self, work: Callable[..., T], *given: Any) -> Future[T]:
        """Let the thread do something, under NumPy's settings of this one."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="chainrule-ahead")
        return self._thread.submit(contextvars.copy_context().run, work, *given)

    def close(self) -> None:
        """End the thread, after what it is doing."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=True, cancel_futures=True)


def settle(coming: Future[Any]) -> None:
    """See that something that is no longer wanted is not going on any more."""
    if not coming.cancel():
        wait([coming])
