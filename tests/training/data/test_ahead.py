"""Working ahead: the same items in the same order, and nothing goes on behind one's back."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.training.data import ahead
from chainrule.training.data.ahead import Ahead


@given(st.lists(st.integers(), max_size=10), st.booleans())
def test_the_items_are_the_same_in_the_same_order(items: list[int], is_on: bool) -> None:
    working = Ahead(is_on)
    assert list(working.through(iter(items))) == items
    working.close()


def test_exactly_one_item_is_in_the_making_and_in_one_thread() -> None:
    begun: list[str] = []

    def items() -> Iterator[int]:
        for number in range(5):
            begun.append(threading.current_thread().name)
            yield number

    working = Ahead(True)
    for number in working.through(items()):
        assert len(begun) <= number + 2
    working.close()
    assert len(begun) == 5 and len(set(begun)) == 1 and begun[0].startswith("chainrule")


def test_an_error_is_raised_here_when_its_item_is_asked_for() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    working = Ahead(True)
    coming = working.through(items())
    assert next(coming) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(coming)
    working.close()


def test_what_is_in_the_making_is_waited_for_when_no_more_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 1
        began.set()
        may_end.wait()
        ended.set()
        yield 2

    waiting = ahead.wait

    def wait(futures: object) -> None:
        may_end.set()
        waiting(futures)  # type: ignore[arg-type]

    monkeypatch.setattr(ahead, "wait", wait)
    working = Ahead(True)
    coming = working.through(items())
    next(coming)
    began.wait()
    coming.close()
    has_ended = ended.is_set()
    may_end.set()
    working.close()
    assert has_ended


def test_the_thread_works_under_the_settings_of_the_one_that_asks() -> None:
    def items() -> Iterator[object]:
        yield np.geterr()["over"]

    working = Ahead(True)
    with np.errstate(over="call"):
        assert list(working.through(items())) == ["call"]
    working.close()
