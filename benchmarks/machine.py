"""The machine: its description, its CPUs, and whether other processes use them.

    share of others = ((time in which the CPUs worked) − (time of our processes)) / (time · CPUs)

A time is meaningless without a description of the machine, and worthless if the machine did other
work. Linux counts in /proc/stat how long each CPU has worked.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks import contenders

BUSY = 0.1
"""The largest share of the CPUs that other processes may use during a measurement."""


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpus_for(threads: int) -> list[int]:
    """The CPUs of a process with so many threads; none if the system cannot pin it.

    They are the last ones, because many systems do their own work on the first.
    """
    can = hasattr(os, "sched_getaffinity")
    return sorted(os.sched_getaffinity(0))[-threads:] if can else []


@contextlib.contextmanager
def pinned(cpus: list[int]) -> Iterator[None]:
    """Processes that start in this context stay on these CPUs."""
    if not cpus:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Others:
    """Observes the work of other processes, from its creation on.

    Parameters
    ----------
    cpus
        The CPUs to observe; all if empty.
    own
        Returns the seconds of the processor that the measured processes have used.
    """

    def __init__(self, cpus: list[int], own: Callable[[], float]) -> None:
        self.cpus, self.own = cpus, own
        self.began, self.worked, self.used = time.monotonic(), worked(cpus), own()

    def share(self) -> float:
        """The share of the CPUs that they used; 0 if the system does not count it."""
        if self.worked is None:
            return 0.0
        used = self.own() - self.used
        others = (worked(self.cpus) or 0.0) - self.worked - used
        number = len(self.cpus) or os.cpu_count() or 1
        return max(0.0, others / number / (time.monotonic() - self.began))


def worked(cpus: list[int], counters: Path = Path("/proc/stat")) -> float | None:
    """Seconds in which these CPUs, or all, have worked; None if the system does not count them."""
    names = {f"cpu{number}" for number in cpus} or {"cpu"}
    try:
        lines = [line.split() for line in counters.read_text().splitlines()]
    except OSError:
        return None
    ticks = 0
    for name, *counts in lines:
        if name in names:
            user, nice, system, _idle, _waiting, *rest = map(int, counts[:8])
            ticks += user + nice + system + sum(rest)
    return ticks / os.sysconf("SC_CLK_TCK")


def of_this_process() -> float:
    """Seconds of the processor that this process and its finished children have used."""
    return sum(os.times()[:4])


def fast() -> str:
    """What `chainrule.show_config` says about the extra `fast`, in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_fast)


def _fast() -> str:
    import chainrule

    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        getattr(chainrule, "show_config", lambda: None)()
    lines = shown.getvalue().splitlines()
    said = [n for n, line in enumerate(lines) if line.startswith("fast: ")]
    if not said:
        return "off"
    return "; ".join(line.strip().removeprefix("fast: ") for line in lines[said[0] :])


def described(threads: list[int], command: str) -> dict[str, str]:
    """Everything that affects the times, as text."""
    known = {
        "processor": f"{_processor()}, {cores()} cores",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "NumPy": f"{np.__version__}, with {_blas()}",
        "PyTorch": contenders.version("PyTorch"),
        "JAX": contenders.version("JAX"),
        "fast": fast(),
        "threads": f"{' and '.join(map(str, threads))} for each contender",
    }
    if cpus_for(1):
        known["pinned"] = f"to as many CPUs, the last of {cores()}"
    if hasattr(os, "getloadavg"):
        known["other work"] = f"{os.getloadavg()[0]:.1f} processes on average, before the start"
    return {**known, "command": f"`{command}`"}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def _blas() -> str:
    config = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {}) if config else {}
    return f"{blas.get('name', 'unknown BLAS')} {blas.get('version', '')}".strip()
