"""A description of the machine and the software: a time is meaningless without it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np

from benchmarks import contenders


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def described(threads: int, command: str) -> dict[str, str]:
    """Everything that affects the times, as text."""
    known = {
        "processor": f"{_processor()}, {cores()} cores",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "NumPy": f"{np.__version__}, with {_blas()}",
        "PyTorch": contenders.version("PyTorch"),
        "JAX": contenders.version("JAX"),
        "threads": f"{threads} for each contender",
    }
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
