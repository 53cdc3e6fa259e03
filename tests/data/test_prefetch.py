"""Prefetch: the same items in the same order, and no work continues unnoticed."""

from __future__ import annotations

import concurrent.futures
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.data.prefetch import Prefetcher


class Hangs:
    """Items of which the second is not ready until the test allows it."""

    def __init__(self) -> None:
        self.began, self.may_end, self.ended = (threading.Event() for _ in range(3))

    def __iter__(self) -> Iterator[int]:
        yield 1
        self.began.set()
        self.may_end.wait()
        self.ended.set()
        yield 2


@given(st.lists(st.integers(), max_size=10), st.booleans())
def test_the_items_are_the_same_in_the_same_order(items: list[int], is_on: bool) -> None:
    working = Prefetcher(is_on)
    assert list(working.iterate(iter(items))) == items
    working.close()


def test_exactly_one_item_is_prefetched_in_a_single_thread() -> None:
    begun: list[str] = []

    def items() -> Iterator[int]:
        for number in range(5):
            begun.append(threading.current_thread().name)
            yield number

    working = Prefetcher(True)
    for number in working.iterate(items()):
        assert len(begun) <= number + 2
    working.close()
    assert len(begun) == 5 and len(set(begun)) == 1 and begun[0].startswith("chainrule")


def test_an_error_is_raised_here_when_its_item_is_requested() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    working = Prefetcher(True)
    coming = working.iterate(items())
    assert next(coming) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(coming)
    working.close()


def test_a_task_ends_before_the_next_begins() -> None:
    items, working = Hangs(), Prefetcher(True)
    coming = working.iterate(iter(items))
    next(coming)
    items.began.wait()
    coming.close()  # does not wait: Ctrl-C would have no effect there
    assert not items.ended.is_set()
    has_ended = working.submit(items.ended.is_set)
    items.may_end.set()
    assert has_ended.result()
    working.close()


@pytest.mark.parametrize("how", ["wait_for_last", "close"])
def test_the_current_task_is_waited_for(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    items, working = Hangs(), Prefetcher(True)
    waiting, joining = concurrent.futures.wait, threading.Thread.join

    def wait(futures: object) -> None:
        items.may_end.set()
        waiting(futures)  # type: ignore[arg-type]

    def join(thread: threading.Thread) -> None:
        items.may_end.set()
        joining(thread)

    monkeypatch.setattr(concurrent.futures, "wait", wait)
    monkeypatch.setattr(threading.Thread, "join", join)
    coming = working.iterate(iter(items))
    next(coming)
    items.began.wait()
    coming.close()
    getattr(working, how)()
    has_ended = items.ended.is_set()
    items.may_end.set()
    working.close()
    assert has_ended


def test_the_thread_has_the_numpy_settings_of_the_caller() -> None:
    def items() -> Iterator[object]:
        yield np.geterr()["over"]

    working = Prefetcher(True)
    with np.errstate(over="call"):
        assert list(working.iterate(items())) == ["call"]
    working.close()


# ------------------------------------------------------------------------------- Ctrl-C


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def waited(*_: object) -> None:
        raise AssertionError("the thread was waited for")

    monkeypatch.setattr(concurrent.futures, "wait", waited)
    monkeypatch.setattr(threading.Thread, "join", waited)


def closed_while(error: BaseException, working: Prefetcher) -> None:
    try:
        raise error
    except BaseException:
        working.close()


@pytest.mark.usefixtures("no_waiting")
def test_ctrl_c_does_not_wait_for_a_reader_that_hangs() -> None:
    items, working = Hangs(), Prefetcher(True)
    coming = working.iterate(iter(items))
    next(coming)
    items.began.wait()
    closed_while(KeyboardInterrupt(), working)
    coming.close()  # as when the frames of the error are deleted
    items.may_end.set()


@pytest.mark.usefixtures("no_waiting")
def test_every_other_error_waits_for_the_reader() -> None:
    items, working = Hangs(), Prefetcher(True)
    coming = working.iterate(iter(items))
    next(coming)
    items.began.wait()
    with pytest.raises(AssertionError, match="waited for"):
        closed_while(OSError(), working)
    items.may_end.set()


@pytest.mark.usefixtures("no_waiting")
def test_training_in_an_except_block_still_waits() -> None:
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        working = Prefetcher(True)
        working.submit(int)
        with pytest.raises(AssertionError, match="waited for"):
            working.close()


HANGING = """
import signal, threading
import numpy as np
from chainrule import Dense, Sequential, Trainer, losses, optimizers

x, t = np.ones((64, 3)), np.ones((64, 1))
main, read, is_over = threading.main_thread().ident, [], []

def hang():
    read.append(1)
    if len(read) > 40:
        while not is_over:
            signal.pthread_kill(main, signal.SIGINT)
            threading.Event().wait(0.05)  # else one may arrive while another is handled
        threading.Event().wait()

class Pairs:
    def __len__(self): return 64
    def __getitem__(self, number): hang(); return x[number], t[number]

class Rows:
    shape, dtype = x.shape, x.dtype
    def __len__(self): return 64
    def __getitem__(self, rows): hang(); return x[rows]

class Loader:
    def __len__(self): return 64
    def __iter__(self):
        for number in range(64):
            hang()
            yield x[:4], t[:4]

def make_batch(rng):
    hang()
    return x[:4], t[:4]

trainer = Trainer(Sequential([Dense(1)]), losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
"""


@pytest.mark.parametrize(
    "call",
    [
        "fit(Pairs(), epochs=9)",
        "fit(Rows(), t, epochs=90)",
        "fit(Loader(), epochs=9)",
        "fit(make_batch, steps_per_epoch=64, prefetch=True)",
    ],
)
def test_the_second_ctrl_c_ends_the_program_even_if_a_reader_hangs(call: str) -> None:
    # A Ctrl-C may arrive during the step before; then another one follows.
    end = "except KeyboardInterrupt:\n    is_over.append(1)\n    raise"
    command = [sys.executable, "-c", f"{HANGING}\ntry:\n    trainer.{call}\n{end}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGINT
    assert "\nKeyboardInterrupt" in done.stderr
