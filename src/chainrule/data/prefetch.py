"""Ahead: the next batch is made ready in a thread while the current one is learned from.

    without    |read 1|train 1|read 2|train 2|read 3|train 3|
    with       |read 1|train 1       |train 2       |train 3|
                      |read 2|        |read 3|

It pays where reading is mostly waiting, or is done in C while a core is free: decompression, copies
of large arrays (measured in `chainrule.data.stored_batches`). Python's own work gains
nothing from a second thread.

Nothing that is computed depends on it. One thread does the work, in the same order, one item ahead,
so that two never read at the same time; an error that happens there is raised here, when that item
is asked for; and at the end the thread is waited for.

But not where a `KeyboardInterrupt` is on its way: then a reader may hang, and whoever pressed
Ctrl-C is not to hang with it. The thread is left to itself, and ends after what it is doing, or
with the program. Nor is it waited for where items are no longer wanted in the middle: that is when
Python throws a generator away, where Ctrl-C would not be heard.
"""

from __future__ import annotations

import contextvars
import sys
import weakref
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, wait
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

END: Any = object()

Task: TypeAlias = "tuple[Future[Any], Callable[[], Any]]"


class Prefetcher:
    """A thread that works one item ahead; it begins when it is first needed.

    Parameters
    ----------
    is_on
        Whether it does so; else everything is done when it is asked for.
    """

    def __init__(self, is_on: bool) -> None:
        self.is_on = is_on
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._last: Future[Any] | None = None
        self._known = sys.exception()  # of whoever trains because something was interrupted

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
            coming.cancel()

    def begin(self, work: Callable[..., T], *given: Any) -> Future[T]:
        """Let the thread do something, under NumPy's settings of this one."""
        if self._thread is None:
            # Not one of an executor: the program could not end before such a thread has.
            self._thread = Thread(
                target=_work, args=(self._tasks,), name="chainrule-prefetch", daemon=True
            )
            self._thread.start()
            weakref.finalize(self, self._tasks.put, None).atexit = False
        coming: Future[T] = Future()
        self._last = coming
        context = contextvars.copy_context()
        self._tasks.put((coming, lambda: context.run(work, *given)))
        return coming

    def settle(self) -> None:
        """Wait until what was begun last is not going on any more, before it is done here."""
        if self._last is not None and not self._last.cancel():
            wait([self._last])

    def close(self) -> None:
        """End the thread, after what it is doing.

        It is waited for, unless this is called while a `KeyboardInterrupt` is passing.
        """
        thread, self._thread = self._thread, None
        if thread is not None:
            tasks, self._tasks = self._tasks, SimpleQueue()
            tasks.put(None)
            error = sys.exception()
            if not isinstance(error, KeyboardInterrupt) or error is self._known:
                thread.join()


def _work(tasks: SimpleQueue[Task | None]) -> None:
    """What the thread does until it is given None."""
    while (task := tasks.get()) is not None:
        coming, work = task
        if coming.set_running_or_notify_cancel():
            try:
                coming.set_result(work())
            except BaseException as error:
                coming.set_exception(error)
        del task, coming, work  # else the last batch would stay in memory while it waits
