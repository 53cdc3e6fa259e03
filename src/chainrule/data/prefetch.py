"""Prefetch: a thread prepares the next batch while the network learns from the current one.

    without    |read 1|train 1|read 2|train 2|read 3|train 3|
    with       |read 1|train 1       |train 2       |train 3|
                      |read 2|        |read 3|

It helps if reading mostly waits, or runs in C while a core is free: decompression, copies of large
arrays (measured in `chainrule.data.stored_batches`). Work in Python itself gains nothing from a
second thread.

No result depends on it, as long as reading does not depend on the training. Code of the user might
(a loader that applies the model, a database connection that belongs to its thread), so it runs here
only on request. One thread does the work, in the same order, one item ahead, so that two
items are never read at the same time; an error in the thread is raised here when that item is
requested; and at the end the thread is joined.

There are two exceptions. During a `KeyboardInterrupt` the thread is not joined: a reader may hang,
and Ctrl-C must not hang with it. The thread is abandoned, and ends after its current task or
with the program. Nor is it joined when the iteration ends early: Python is then closing
a generator, where Ctrl-C would have no effect.
"""

from __future__ import annotations

import contextvars
import sys
import weakref
from collections.abc import Callable, Generator, Iterator
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")

END: Any = object()

Task: TypeAlias = "tuple[Future[Any], Callable[[], Any]]"


class Prefetcher:
    """A thread that works one item ahead; it starts when it is first needed.

    Parameters
    ----------
    is_on
        Whether to use the thread; if not, all work is done when it is requested.
    """

    def __init__(self, is_on: bool) -> None:
        self.is_on = is_on
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._last: Future[Any] | None = None
        self._handled = sys.exception()  # if the training itself runs in an except block

    def iterate(self, items: Iterator[T]) -> Generator[T, None, None]:
        """The same items, with the next one always in preparation."""
        if not self.is_on:
            yield from items
            return
        pending: Future[T] = self.submit(next, items, END)
        try:
            while (item := pending.result()) is not END:
                pending = self.submit(next, items, END)
                yield item
        finally:
            pending.cancel()

    def submit(self, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """Run a function in the thread, with the NumPy settings of the calling thread."""
        from concurrent.futures import Future  # it loads much that training seldom needs

        if self._thread is None:
            # Not a thread of an executor: the program could not exit before it has ended.
            self._thread = Thread(
                target=_work, args=(self._tasks,), name="chainrule-prefetch", daemon=True
            )
            self._thread.start()
            weakref.finalize(self, self._tasks.put, None).atexit = False
        future: Future[T] = Future()
        self._last = future
        context = contextvars.copy_context()
        self._tasks.put((future, lambda: context.run(work, *arguments)))
        return future

    def wait_for_last(self) -> None:
        """Wait until the task submitted last has ended or is cancelled."""
        from concurrent.futures import wait

        if self._last is not None and not self._last.cancel():
            wait([self._last])

    def close(self) -> None:
        """End the thread after its current task.

        The thread is joined, unless this is called while a `KeyboardInterrupt` is being handled.
        """
        thread, self._thread = self._thread, None
        if thread is not None:
            tasks, self._tasks = self._tasks, SimpleQueue()
            tasks.put(None)
            error = sys.exception()
            if not isinstance(error, KeyboardInterrupt) or error is self._handled:
                thread.join()


def _work(tasks: SimpleQueue[Task | None]) -> None:
    """Run tasks in the thread until it is given None."""
    while (task := tasks.get()) is not None:
        future, work = task
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
        del task, future, work  # else the last batch stays in memory while the thread waits
