"""No false alarms: every layer of the library and every unusual one of the zoo, with many seeds.

    make seeds                    1,000 seeds for each layer, on all cores
    make seeds N=100              100 seeds for each layer
    make seeds N=1 FIRST=437      seed 437 alone
    make seeds ONLY=Attention     the layers whose names contain this

One check of one layer with one seed is one `check_layer`: about 0.05 s, and 80 layers with 1,000
seeds about an hour on two cores. Every alarm is printed with the line that repeats it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import warnings
from typing import Any

# One thread for each process; set before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from chainrule import check_layer
from chainrule.core.errors import LayerCheckError
from laws.library import everything


def alarm(task: tuple[int, int]) -> str | None:
    """What `check_layer` reports of one layer with one seed; None if all laws hold."""
    number, seed = task
    case = list(everything())[number]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_layer(case.layer, case.shape, rng=seed, inputs=case.inputs)
    except (LayerCheckError, Warning) as error:
        repeat = f"make seeds N=1 FIRST={seed} ONLY='{case.name}'"
        return f"{case.name}, seed {seed}\nrepeat with  {repeat}\n{error}"
    return None


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    cases = list(everything())
    numbers = [n for n, case in enumerate(cases) if options.only in case.name]
    seeds = range(options.first, options.first + options.n)
    tasks = [(number, seed) for seed in seeds for number in numbers]
    print(
        f"{len(numbers)} layers × {options.n} seeds, with {options.workers} processes", flush=True
    )
    began, alarms = time.monotonic(), []
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        for done, found in enumerate(pool.imap(alarm, tasks, chunksize=16), start=1):
            if found is not None:
                alarms.append(found)
                print(f"\n{found}\n", flush=True)
            if done % (10 * max(len(numbers), 1)) == 0:
                minutes = (time.monotonic() - began) / 60
                print(f"  {done // len(numbers)} seeds  {minutes:.1f} min", flush=True)
    checks = f"{len(tasks):,} checks of {len(numbers)} layers, seeds {seeds[0]} to {seeds[-1]}"
    print(f"{checks}: {len(alarms)} false alarm(s)")
    return 1 if alarms else 0


def _options(arguments: list[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="make seeds", description=__doc__)
    parser.add_argument("-n", type=int, default=1000, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", default="", help="part of the name of a layer")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
