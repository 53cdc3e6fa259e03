"""The race: each contender runs in its own process, all of them in turn.

    ratio of a round = (chainrule's time per step) / (the other's time per step)

Libraries that share a process also share its cores, and their idle threads busy-wait and slow each
other down. So every contender has its own process, and only one process runs at a time. A turn is a
few steps to warm up and then a timed block of steps; between turns there is a rest, in which the
threads of the last contender fall asleep.

In each round every contender has one turn, in random order. A disturbance that lasts longer than a
round affects all of them, and hardly changes the ratios; the median takes care of shorter ones. All
processes are restarted several times, because their memory addresses affect the times as well.

Processes are pinned to as many CPUs as they have threads, where the system can do that: on a
virtual machine, two busy processes that are not can get half a CPU each. A race on CPUs that other
processes used as well decides nothing: see `Result.disturbance`.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np

from benchmarks import contenders, machine
from benchmarks.quartiles import Quartiles
from benchmarks.workloads import STEPS_TO_AGREE, Array

TOLERANCES = {"float32": 2e-5, "float64": 1e-10}
"""The largest difference of the parameters of two contenders after `STEPS_TO_AGREE`."""

LEAST_SHARE = 0.9
"""How much of the time a process with one thread must have had the CPU."""


class DisagreementError(AssertionError):
    """Contenders that should take the same steps computed different parameters."""


class Raced(Protocol):
    """What contenders race on: a `Workload`, or the contest of a single layer."""

    @property
    def name(self) -> str: ...

    @property
    def bounds(self) -> dict[str, float]:
        """The largest ratio to another contender, by its name."""

    def problem(self, dtype: str) -> Any:
        """What every contender starts with."""


@dataclass
class Result:
    """The seconds per step of each contender, one number per round.

    ``seconds`` is the time on the clock, ``processor`` that of all threads together. ``others`` is
    the share of the CPUs that other processes used, one number per start.
    """

    workload: Any
    dtype: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    processor: dict[str, list[float]] = field(default_factory=dict)
    threads: int = 1
    others: list[float] = field(default_factory=list)

    @property
    def disturbance(self) -> str:
        """Why these times decide nothing; empty if the machine was quiet."""
        others = max(self.others, default=0.0)
        if others > machine.BUSY:
            return f"other processes used {others:.0%} of the CPUs"
        shares = {
            name: float(np.median(np.divide(used, self.seconds[name])))
            for name, used in self.processor.items()
            if used and self.threads == 1 and name not in contenders.WAITING
        }
        name = min(shares, key=shares.__getitem__, default="")
        if name and shares[name] < LEAST_SHARE:
            return f"{name!r} had a CPU for {shares[name]:.0%} of the time only"
        return ""

    def median(self, name: str) -> float:
        return float(np.median(self.seconds[name]))

    @property
    def first(self) -> str:
        """The contender whose time is compared with the others."""
        return next(iter(self.seconds))

    def ratio(self, to: str, of: str = "") -> Quartiles:
        """The time of a contender, by default the first, divided by the other's, in each round."""
        return Quartiles.of(np.divide(self.seconds[of or self.first], self.seconds[to]))


@dataclass(frozen=True)
class Length:
    """The length of a race: the number of starts, and what follows each start."""

    starts: int = 2
    seconds: float = 6.0  # in which new rounds begin
    fewest: int = 5  # rounds at least, even if they take longer
    most: int = 12  # rounds, even if they take less time
    block: float = 0.08  # seconds that are timed
    rest: float = 0.05  # seconds between two turns


def race(
    workload: Raced,
    dtype: str,
    names: Sequence[str],
    length: Length,
    seen: Callable[[], None] = lambda: None,
) -> Result:
    """Run the contenders in turn and return their times.

    Parameters
    ----------
    seen
        Called after the rounds of each start, to show the progress.

    Raises
    ------
    DisagreementError
        The contenders did not compute the same parameters.
    """
    result = Result(workload, dtype, {n: [] for n in names}, {n: [] for n in names}, threads())
    order = list(names)
    shuffle = random.Random(f"{workload.name} {dtype}").shuffle
    for _ in range(length.starts):
        with Runners(workload, dtype, names) as runners:
            require_agreement({name: runners.ask(name, "agree") for name in names}, dtype)
            steps = {name: runners.ask(name, "calibrate", length.block) for name in names}
            others = machine.Others(
                runners.cpus, lambda: sum(runners.ask(n, "used") for n in names)
            )
            end, rounds = time.monotonic() + length.seconds, 0
            while rounds < length.fewest or (rounds < length.most and time.monotonic() < end):
                shuffle(order)
                for name in order:
                    time.sleep(length.rest)
                    seconds, processor = runners.ask(name, "run", steps[name])
                    result.seconds[name].append(seconds)
                    result.processor[name].append(processor)
                rounds += 1
            result.others.append(others.share())
        seen()
    return result


def require_agreement(outcomes: dict[str, tuple[list[float], Array]], dtype: str) -> None:
    """Compare the costs and parameters of all contenders with those of the first."""
    (first, (costs, parameters)), *others = outcomes.items()
    for name, (other_costs, other_parameters) in others:
        differences = [
            np.subtract(other_costs, costs, dtype=np.float64),
            np.subtract(other_parameters, parameters, dtype=np.float64),
        ]
        apart = np.max(np.abs(np.concatenate(differences)))  # NaN if any of them is
        if not apart <= TOLERANCES[dtype]:
            raise DisagreementError(
                f"after {len(costs)} steps in {dtype}, {name!r} is {apart:.1e} away from "
                f"{first!r}; rounding explains at most {TOLERANCES[dtype]:.0e}"
            )


class Runners:
    """The processes of all contenders, which run one at a time."""

    def __init__(self, workload: Raced, dtype: str, names: Sequence[str]) -> None:
        # Not "fork": forked processes would share a library's threads.
        context = multiprocessing.get_context("spawn")
        self._ends: dict[str, Connection] = {}
        self._processes = []
        self.cpus = machine.cpus_for(threads())
        with machine.pinned(self.cpus):  # before any library starts its threads
            for name in names:
                here, there = context.Pipe()
                process = context.Process(
                    target=_serve, args=(there, name, workload, dtype), daemon=True
                )
                process.start()
                there.close()
                self._ends[name] = here
                self._processes.append(process)

    def ask(self, name: str, *question: Any) -> Any:
        """Send a request to one contender, and wait for its answer."""
        self._ends[name].send(question)
        answer = self._ends[name].recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def __enter__(self) -> Runners:
        return self

    def __exit__(self, *_: object) -> None:
        for end in self._ends.values():
            end.close()
        for process in self._processes:
            process.join(timeout=5)
            if process.is_alive():
                process.terminate()
                process.join()


def _serve(end: Connection, name: str, workload: Raced, dtype: str) -> None:
    """The process of one contender: answer requests until the connection closes."""
    contender: contenders.Contender | None = None
    while True:
        try:
            what, *arguments = end.recv()
        except EOFError:
            return
        try:
            if contender is None:
                contender = contenders.make(name, workload.problem(dtype))
            end.send(ANSWERS[what](contender, *arguments))
        except Exception as error:
            error.add_note(f"in the process of {name!r}")
            end.send(error)


def _agree(contender: contenders.Contender) -> tuple[list[float], Array]:
    # Over a whole epoch, rounding errors grow too large; such a contender returns its first steps.
    first_steps = getattr(contender, "first_steps", None)
    costs = first_steps() if first_steps else [contender.step() for _ in range(STEPS_TO_AGREE)]
    return costs, contender.flat_parameters()


def _calibrate(contender: contenders.Contender, block: float) -> int:
    """The number of calls that take about as long as a block."""
    calls = 1
    for _ in range(5):
        took = _run(contender, calls)[0] * calls * getattr(contender, "steps", 1)
        calls = max(1, round(calls * block / took))
        if took > block:
            break
    return calls


def _run(contender: contenders.Contender, calls: int) -> tuple[float, float]:
    """Seconds per step on the clock and of the processor, after some calls to warm up."""
    for _ in range(max(1, calls // 4)):
        contender.step()
    began, used = time.perf_counter(), time.process_time()
    for _ in range(calls):
        contender.step()
    steps = calls * getattr(contender, "steps", 1)  # an epoch is many steps
    return (time.perf_counter() - began) / steps, (time.process_time() - used) / steps


def _used(contender: contenders.Contender) -> float:
    """Seconds of the processor since the start of the process."""
    return time.process_time()


ANSWERS: dict[str, Callable[..., Any]] = {
    "agree": _agree,
    "calibrate": _calibrate,
    "run": _run,
    "used": _used,
}


def use_threads(number: int) -> None:
    """Set the number of threads of every contender that starts from now on."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(number)


def threads() -> int:
    """How many threads a contender has that starts now."""
    return int(os.environ.get("OMP_NUM_THREADS", machine.cores()))


@contextmanager
def one_thread() -> Iterator[None]:
    """For races that are held with one thread, whatever the number of the others."""
    before = threads()
    use_threads(1)
    try:
        yield
    finally:
        use_threads(before)


THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
"""Read by NumPy's BLAS, by OpenMP and MKL in PyTorch, and by XLA in JAX."""
