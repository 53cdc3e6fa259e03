"""Training from a file larger than its memory limit: the file is never in memory as a whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MEGABYTES = 320
BOUND = 150
"""Megabytes that training from a large file may use beyond training from a small one."""

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from chainrule import Dense, losses
from chainrule.data import orders, sources
from chainrule.data.batches_of import batches_of

def peak():
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        import resource  # not on Linux: in bytes, and not inherited

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return int([line.split()[1] for line in lines if line.startswith("VmHWM:")][0])

path, rows, shuffle = sys.argv[1], int(sys.argv[2]), sys.argv[3]
orders.WINDOW = sources.RELEASED_AFTER = 2**24
x = np.memmap(path, np.float32, "r", shape=(rows, 1024))
t = np.zeros((rows, 1), np.float32)
shuffle = {"blocks": True, "rows": "rows", "order": False}[shuffle]
batches = batches_of(x, t, batch_size=1000, shuffle=shuffle, rng=np.random.default_rng(0))
batches.fit_to(losses.HalfSquaredError(), lambda data: ((1,),), np.dtype("float32"))
seen = sum(len(x) for (x,), _, _ in batches.epoch())
batches.close()
assert seen == rows
print(peak())
"""


def peak(path: Path, rows: int, shuffle: str) -> float:
    """The peak memory of a process that reads so many rows, in megabytes."""
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), str(rows), shuffle],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(finished.stdout) / 1000


@pytest.mark.parametrize("shuffle", ["blocks", "rows", "order"])
def test_memory_does_not_grow_with_the_file(shuffle: str, tmp_path: Path) -> None:
    path = tmp_path / "zeros"
    rows = MEGABYTES * 1_000_000 // 4096
    with open(path, "wb") as file:
        file.truncate(rows * 4096)  # takes no disk space
    assert peak(path, rows, shuffle) - peak(path, 1000, shuffle) < BOUND
