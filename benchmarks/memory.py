"""Training on files larger than the allowed memory: `python -m benchmarks.memory`.

    python -m benchmarks.memory                 a file of 6 GB, a few minutes
    python -m benchmarks.memory --quick         a file of 300 MB
    python -m benchmarks.memory --folder …      where to write the temporary files

Each case trains [784, 32, 10] for one epoch in batches of 128 on float32 rows: from `numpy.memmap`,
shuffled in blocks, row by row, and in order; from h5py and zarr, compressed and not, with a tenth
of the rows, because compression is slow; and from arrays in memory, also with a tenth. Each case
runs with and without prefetch in a thread. Every run has its own process, which reports its peak
memory as the system counts it, including the pages of mapped files.

The memory must stay below a gigabyte; the rows per second are only reported. The files were just
written, so the system caches as much of them as fits: the benchmark measures chainrule and the
libraries, not the disk.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

WIDTH, CLASSES, BATCH = 784, 10, 128
ROW_BYTES = WIDTH * 4
BOUND = 2**30
"""The largest memory, in bytes, that training from a file may use."""


@dataclass(frozen=True)
class Case:
    """A run: its source, its order, and whether a thread prefetches."""

    kind: str
    path: str
    rows: int
    shuffle: bool | str
    prefetch: bool

    def __str__(self) -> str:
        order = {True: "blocks", False: "in order"}.get(self.shuffle, self.shuffle)
        return f"{self.kind}, {order}"


@dataclass(frozen=True)
class Measured:
    """The memory and time of a run."""

    peak: int
    seconds: float


def measure(case: Case) -> Measured:
    """Train for one epoch in a separate process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_trained, (case,))


def peak_memory() -> int:
    """The peak memory of this process in bytes, including mapped files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("this system does not report the peak memory of a process in /proc/self/status")


def write_rows(path: Path, rows: int) -> None:
    """Write a file of float32 rows that are all different."""
    rng = np.random.default_rng(0)
    at_once = 20_000
    block = rng.normal(size=(at_once, WIDTH)).astype(np.float32)
    with open(path, "wb") as file:
        for start in range(0, rows, at_once):
            block[:, 0] = np.sin(np.arange(start, start + at_once))
            block[: min(at_once, rows - start)].tofile(file)


def _trained(case: Case) -> Measured:
    from chainrule import Activation, Dense, Sequential, Trainer, losses, optimizers

    x = _opened(case)
    t = np.random.default_rng(1).integers(0, CLASSES, case.rows)
    model = Sequential([Dense(32), Activation("tanh"), Dense(CLASSES)])
    trainer = Trainer(model, losses.SoftmaxCrossEntropy(), optimizers.SGD(1e-4), rng=0)
    began = time.perf_counter()
    trainer.fit(
        x,
        t,
        epochs=1,
        batch_size=BATCH,
        shuffle=case.shuffle,
        prefetch=case.prefetch,
        progress=False,
    )
    return Measured(peak_memory(), time.perf_counter() - began)


def _opened(case: Case) -> Any:
    if case.kind == "in memory":
        return np.fromfile(case.path, np.float32, case.rows * WIDTH).reshape(case.rows, WIDTH)
    if case.kind.startswith("h5py"):
        import h5py

        return h5py.File(case.path)["x"]
    if case.kind.startswith("zarr"):
        import zarr

        return zarr.open_array(case.path, mode="r")
    return np.memmap(case.path, np.float32, "r", shape=(case.rows, WIDTH))


def cases(folder: Path, rows: int) -> list[Case]:
    """Write the files and return all runs that use them."""
    raw, part = folder / "rows.f32", rows // 10
    write_rows(raw, rows)
    found: list[tuple[Any, ...]] = [
        ("memmap", str(raw), rows, shuffle) for shuffle in (True, "rows", False)
    ]
    found += [("in memory", str(raw), part, shuffle) for shuffle in (True, False)]
    found += [("memmap", str(raw), part, True)]
    x = np.memmap(raw, np.float32, "r", shape=(rows, WIDTH))
    if importlib.util.find_spec("h5py"):
        import h5py

        for kind, options in {"h5py": {}, "h5py gzip": {"compression": "gzip"}}.items():
            path = folder / f"{kind}.h5"
            with h5py.File(path, "w") as file:
                file.create_dataset("x", data=_coarse(x[:part]), chunks=(256, WIDTH), **options)
            found += [(kind, str(path), part, shuffle) for shuffle in (True, False)]
    if importlib.util.find_spec("zarr"):
        import zarr

        path = folder / "rows.zarr"
        array = zarr.create_array(path, shape=(part, WIDTH), chunks=(1024, WIDTH), dtype="f4")
        array[:] = _coarse(x[:part])
        found += [("zarr zstd", str(path), part, True)]
    return [Case(*one, prefetch) for one in found for prefetch in (False, True)]


def _coarse(x: Any) -> Any:
    """Round to integers, as in images: random digits cannot be compressed."""
    return np.round(x * 10).clip(0, 25).astype(np.float32)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory")
    parser.add_argument("--quick", action="store_true", help="a file of 300 MB")
    parser.add_argument("--folder", default=None, help="where to write the files")
    options = parser.parse_args(arguments)
    size = 300_000_000 if options.quick else 6_000_000_000
    console, broken = Console(), []
    table = Table("source", "file, MB", "prefetch", "peak memory, MB", "s", "rows/s")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        with console.status("writing the files"):
            all_cases = cases(Path(folder), size // ROW_BYTES)
        for case in all_cases:
            with console.status(f"{case}"):
                measured = measure(case)
            if case.kind != "in memory" and measured.peak > BOUND:
                broken.append(case)
            table.add_row(
                str(case),
                f"{case.rows * ROW_BYTES / 1e6:,.0f}",
                "yes" if case.prefetch else "no",
                f"{measured.peak / 1e6:,.0f}",
                f"{measured.seconds:.2f}",
                f"{case.rows / measured.seconds:,.0f}",
            )
    console.print(table)
    for case in broken:
        console.print(f"[red]{case} used more than {BOUND / 1e6:,.0f} MB[/]")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
