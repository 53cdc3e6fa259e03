"""Ranks that are threads: a communicator for tests of what needs no MPI."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

LIMIT = 60.0
"""Seconds after which a rank that waits for another one gives up."""


class ThreadRank:
    """A communicator, with the methods that `chainrule.training.ranks` uses."""

    def __init__(self, rank: int, slots: list[Any], barrier: threading.Barrier) -> None:
        self._rank, self._slots, self._barrier = rank, slots, barrier
        self.exchanges = 0

    def Get_rank(self) -> int:  # noqa: N802 - the names of mpi4py
        return self._rank

    def Get_size(self) -> int:  # noqa: N802
        return len(self._slots)

    def Is_inter(self) -> bool:  # noqa: N802
        return False

    def Allreduce(self, given: None, array: Any) -> None:  # noqa: N802
        parts = self.allgather(array.copy())
        with np.errstate(all="ignore"):
            array[...] = sum(parts)

    def Bcast(self, array: Any, root: int) -> None:  # noqa: N802
        array[...] = self.allgather(array.copy())[root]

    def bcast(self, thing: Any, root: int) -> Any:
        return self.allgather(thing)[root]

    def gather(self, thing: Any, root: int) -> Any:
        found = self.allgather(thing)
        return found if self._rank == root else None

    def allgather(self, thing: Any) -> list[Any]:
        self.exchanges += 1
        self._slots[self._rank] = thing
        self._barrier.wait(LIMIT)
        found = [
            each if isinstance(each, np.ndarray) else copy.deepcopy(each) for each in self._slots
        ]
        self._barrier.wait(LIMIT)
        return found


def on_ranks(size: int, function: Callable[[ThreadRank], Any]) -> list[Any]:
    """What a function of a communicator returns, or raises, on each of several ranks."""
    slots, barrier = [None] * size, threading.Barrier(size)
    results: list[Any] = [None] * size

    def run(rank: int) -> None:
        try:
            results[rank] = function(ThreadRank(rank, slots, barrier))
        except BaseException as error:
            results[rank] = error

    threads = [
        threading.Thread(target=run, args=(rank,), name=f"rank {rank}") for rank in range(size)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
