"""Loading a large model, compared with the safetensors library: `python -m benchmarks.loading`.

    python -m benchmarks.loading                a model of 200 MB
    python -m benchmarks.loading --quick        a model of 40 MB

`chainrule.load` and `load_weights` also compare the digest of the file and build the model. The
library's `load_file` only reads the arrays. Each reads the same file five times, and the median
counts; the memory is what the first call adds to the peak of a process of its own, as the system
counts it. `load` may take at most three times as long as the library, and 1.3 times the size of the
file. The file was just written, so the system has it in memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.memory import peak_memory

TIME_BOUND, MEMORY_BOUND = 3.0, 1.3


def write_model(path: str, megabytes: int) -> None:
    """Write a float32 model of three equal Dense layers."""
    from chainrule import Dense, Sequential

    width = int((megabytes * 1e6 / 12) ** 0.5)
    model = Sequential([Dense(width, initializer="uniform") for _ in range(3)])
    model.build((width,), rng=0, dtype="float32")
    model.save(path)


def measured(what: str, path: str) -> tuple[float, int]:
    """The median seconds, and the bytes that the first call adds to the peak of the process."""
    call = _prepared(what, path)
    before, seconds = peak_memory(), []
    for number in range(5):
        began = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - began)
        del result
        if number == 0:
            added = peak_memory() - before
    return median(seconds), added


def _prepared(what: str, path: str) -> Callable[[], Any]:
    if what == "safetensors, load_file":
        from safetensors.numpy import load_file

        return lambda: load_file(path)
    import chainrule
    from chainrule import storage  # noqa: F401  # not part of what is measured

    if what == "load":
        return lambda: chainrule.load(path)
    model = chainrule.load(path)
    return lambda: model.load_weights(path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loading")
    parser.add_argument("--quick", action="store_true", help="a model of 40 MB")
    options = parser.parse_args(arguments)
    console = Console()
    table = Table("", "s", "vs. safetensors", "memory, times the size of the file")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.safetensors")
        found = {}
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            pool.apply(write_model, (path, 40 if options.quick else 200))
        size = Path(path).stat().st_size
        for what in ("safetensors, load_file", "load", "load_weights"):
            with console.status(what), context.Pool(1) as pool:
                found[what] = pool.apply(measured, (what, path))
    reference = found["safetensors, load_file"][0]
    for what, (seconds, added) in found.items():
        times, share = seconds / reference, added / size
        table.add_row(what, f"{seconds:.3f}", f"{times:.2f}", f"{share:.2f}")
    console.print(f"a model of {size / 1e6:,.0f} MB")
    console.print(table)
    seconds, added = found["load"]
    is_within = seconds <= TIME_BOUND * reference and added <= MEMORY_BOUND * size
    return 0 if is_within else 1


if __name__ == "__main__":
    sys.exit(main())
