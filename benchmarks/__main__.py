"""The command: `python -m benchmarks`, or `make bench`.

    python -m benchmarks                      everything, about twenty-five minutes
    python -m benchmarks --quick              a short run, to check that it works
    python -m benchmarks --only tiny,graphs   a part of it
    python -m benchmarks --fast               with numba and MKL, which are otherwise turned off
    python -m benchmarks --threads 1,4        with one thread for each contender, then with four

Only a complete run without --fast writes its tables into docs/benchmarks.md. The exit code is 0
even if a bound does not hold, because timings are not tests; it is 1 if the contenders compute
different parameters.
"""

from __future__ import annotations

import argparse
import os
import sys
from itertools import product
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from benchmarks import (
    contenders,
    fits,
    graphs,
    layers,
    machine,
    optimizers,
    overheads,
    ranks,
    report,
    training,
)
from benchmarks.race import DisagreementError, Length, race, use_threads
from benchmarks.workloads import DTYPES, WORKLOADS
from chainrule.core.acceleration import VARIABLE

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    os.environ[VARIABLE] = str(int(options.fast))  # for the processes of the contenders, too
    console = Console()
    try:
        measured = measure(options, console)
    except DisagreementError as error:
        console.print(f"[red]the contenders disagree:[/] {error}")
        return 1
    report.show(measured, console)
    if options.is_whole:
        report.write(measured, PAGE)
        console.print(f"The tables were written to {PAGE.parent.name}/{PAGE.name}.")
    return 0


def measure(options: argparse.Namespace, console: Console) -> report.Measured:
    """Run the races, then the other measurements."""
    length = Length(1, 1.0, block=0.03, rest=0.03) if options.quick else Length()
    workloads = [w for w in WORKLOADS if w.name in options.only]
    in_fit, fused = contenders.in_fit(), contenders.in_fit(fused=True)
    first, *others = contenders.available()
    names = [first, in_fit[0], *others, *in_fit[1:]]
    adam = [w for w in training.ADAM if w.name in options.only and len(fused) > 1]
    use_threads(options.threads[0])
    described = machine.described(options.threads, options.command)
    # Refreshed by hand between the races: a drawing thread would disturb them.
    with Progress(console=console, auto_refresh=False, transient=True) as progress:
        races = len(DTYPES) * len(workloads) * len(options.threads) + len(adam)
        races += len(DTYPES) * (len(graphs.CHAINS) + 1) * options.with_graphs
        races += options.with_optimizers + options.with_training
        races += len(layers.CONTESTS) * options.with_layers
        bar = progress.add_task("", total=races * length.starts + 3)

        def seen() -> None:
            progress.advance(bar)
            progress.refresh()

        of_adam = []
        for workload in adam:
            progress.update(bar, description=f"{workload.name}, Adam", refresh=True)
            of_adam.append(race(workload, DTYPES[0], fused, length, seen))
        results = []
        for threads, dtype, workload in product(options.threads, DTYPES, workloads):
            use_threads(threads)
            progress.update(bar, description=f"{workload.name} {dtype}", refresh=True)
            results.append(race(workload, dtype, names, length, seen))
        use_threads(options.threads[-1])
        others_around = machine.Others([], machine.of_this_process)
        progress.update(bar, description="Trainer.fit", refresh=True)
        rounds, epochs = (5, 4) if options.quick else (25, 10)
        trainer = {dtype: overheads.trainer_overhead(dtype, rounds, epochs) for dtype in DTYPES}
        progress.update(bar, description="import", advance=1, refresh=True)
        imports = overheads.import_times(5 if options.quick else 25)
        jacobian = overheads.jacobian_time(rounds)
        rows, dual = overheads.rows_time(rounds), overheads.dual_time(rounds)
        progress.update(bar, description="fits", refresh=True)
        of_fits = fits.measure(3 if options.quick else 40)
        progress.update(bar, description="check_layer", refresh=True)
        check = overheads.check_times(20 if options.quick else overheads.CHECKED)
        busy = others_around.share()
        of_graphs = None
        if options.with_graphs:
            progress.update(bar, description="graphs", refresh=True)
            of_graphs = graphs.measure(length, seen, options.quick)
        of_layers = None
        if options.with_layers:
            progress.update(bar, description="layers", refresh=True)
            of_layers = layers.measure(length, seen)
        of_optimizers = None
        if options.with_optimizers:
            progress.update(bar, description="optimizers", refresh=True)
            of_optimizers = optimizers.measure(length, seen)
        of_training = None
        if options.with_training:
            progress.update(bar, description="training runs", refresh=True)
            of_training = training.measure(length, seen, options.quick)
        of_ranks = None
        if options.with_ranks:
            progress.update(bar, description="two ranks", refresh=True)
            of_ranks = ranks.measure(*((1, 2) if options.quick else (7, 8)))
    return report.Measured(
        described,
        results,
        trainer,
        imports,
        of_graphs,
        of_optimizers,
        of_training,
        of_layers,
        jacobian,
        check,
        rows,
        dual,
        of_fits,
        of_adam,
        busy,
        of_ranks,
    )


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.split("\n")[0]
    )
    names = [workload.name for workload in WORKLOADS]
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument(
        "--fast", action="store_true", help="with the libraries of the extra fast, if installed"
    )
    parser.add_argument(
        "--threads",
        type=_threads,
        default=sorted({1, machine.cores()}),
        help="per contender, one number or several; default: one, then all",
    )
    names += ["graphs", "layers", "optimizers", "training", "ranks"]
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=names, help=",".join(names)
    )
    options = parser.parse_args(arguments)
    unknown = set(options.only) - set(names)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {names}")
    is_reduced = options.quick or options.fast
    options.is_whole = not is_reduced and set(options.only) == set(names)
    options.with_graphs = "graphs" in options.only
    options.with_layers = "layers" in options.only
    options.with_optimizers = "optimizers" in options.only
    options.with_training = "training" in options.only
    options.with_ranks = "ranks" in options.only
    given = sys.argv[1:] if arguments is None else arguments
    options.command = " ".join(["python -m benchmarks", *given])
    return options


def _threads(text: str) -> list[int]:
    numbers = text.split(",")
    if not all(number.isdecimal() and int(number) > 0 for number in numbers):
        raise argparse.ArgumentTypeError("must be integers of at least 1, separated by commas")
    return [int(number) for number in numbers]


if __name__ == "__main__":
    sys.exit(main())
