"""The result tables: for the terminal and for the page `docs/benchmarks.md`.

Both are made from the same `Table`s of plain text, so they always agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from benchmarks import contenders, fits, graphs, overheads, training
from benchmarks.quartiles import Quartiles
from benchmarks.race import Result

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass(frozen=True)
class Table:
    """Rows of text. Numbers are right-aligned, and a cell may have two lines."""

    title: str
    head: list[str]
    rows: list[list[str]]
    numbers: bool = True

    def justify(self) -> list[Literal["left", "right"]]:
        return ["right" if self.numbers and number else "left" for number in range(len(self.head))]


@dataclass(frozen=True)
class Measured:
    """All results of one run."""

    machine: dict[str, str]
    results: list[Result]
    trainer: dict[str, Quartiles]
    imports: dict[str, list[float]]
    graphs: graphs.Measured | None = None
    optimizers: list[Result] | None = None
    training: training.Measured | None = None
    layers: list[Result] | None = None
    jacobian: Quartiles | None = None
    check: tuple[float, float] | None = None
    rows: tuple[Quartiles, Quartiles] | None = None
    dual: Quartiles | None = None
    fits: dict[str, Quartiles] | None = None

    def tables(self) -> list[Table]:
        of_steps = [_ratios(self), _times(self)] if self.results else []
        of_graphs = [_graphs(self.graphs), _growth(self.graphs.growth)] if self.graphs else []
        of_layers = [_layers(self.layers)] if self.layers else []
        of_optimizers = [_optimizers(self.optimizers)] if self.optimizers else []
        of_training = []
        if self.training:
            of_training = [_epochs(self.training.epochs)] if self.training.epochs else []
            of_training.append(_endless(self.training.endless))
        return [
            _machine(self), *of_steps, *of_layers, _around(self), *of_graphs, *of_optimizers,
            *of_training,
        ]  # fmt: skip

    @property
    def names(self) -> list[str]:
        """The names of the contenders, chainrule first."""
        return list(self.results[0].seconds) if self.results else []


def show(measured: Measured, console: Console) -> None:
    for table in measured.tables():
        drawn = RichTable(title=table.title, title_justify="left", title_style="bold")
        for name, justify in zip(table.head, table.justify(), strict=True):
            drawn.add_column(name, justify=justify)
        for row in table.rows:
            drawn.add_row(*[_coloured(cell) for cell in row])
        console.print(drawn)
        console.print()


def as_markdown(measured: Measured) -> str:
    return "\n\n".join(_markdown(table) for table in measured.tables())


def _markdown(table: Table) -> str:
    ruler = ["---" if side == "left" else "---:" for side in table.justify()]
    rows = [table.head, ruler, *table.rows]
    lines = [f"| {' | '.join(row)} |".replace("\n", "<br>") for row in rows]
    return "\n".join([f"**{table.title}**", "", *lines])


def write(measured: Measured, page: Path) -> None:
    """Replace the tables between the markers of a page."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no markers for the tables: {BEGIN} … {END}")
    page.write_text(f"{before}{BEGIN}\n\n{as_markdown(measured)}\n\n{END}{after}", encoding="utf-8")


# ------------------------------------------------------------------------------- the tables


def _machine(measured: Measured) -> Table:
    networks = {
        result.workload.name: f"{list(result.workload.widths)}, batch {result.workload.batch}"
        for result in measured.results
    }
    rows = [[name, what] for name, what in {**networks, **measured.machine}.items()]
    return Table("Networks and machine", ["", ""], rows, numbers=False)


def _ratios(measured: Measured) -> Table:
    """The main result: chainrule's time divided by that of each other contender."""
    others = measured.names[1:]
    rows = []
    for result in measured.results:
        bounds = [result.workload.bounds.get(name) for name in others]
        cells = [
            _against(result.ratio(name), bound, "{:.2f}")
            for name, bound in zip(others, bounds, strict=True)
        ]
        rows.append([f"{result.workload.name}\n{result.dtype}", *cells])
    return Table(
        "Time of a training step of chainrule, divided by that of …", ["network", *others], rows
    )


def _times(measured: Measured) -> Table:
    """On the clock and, below it, of the processor: more than that with several threads."""
    rows = [
        [
            f"{result.workload.name}\n{result.dtype}",
            *["\n".join(_both_times(result, name)) for name in measured.names],
        ]
        for result in measured.results
    ]
    title = "Time of a step in microseconds; below it, of the processor, with all threads"
    return Table(title, ["network", *measured.names], rows)


def _both_times(result: Result, name: str) -> list[str]:
    times = (result.seconds[name], result.processor.get(name, []))
    return [_microseconds(float(np.median(each))) for each in times if each]


def _around(measured: Measured) -> Table:
    rows = []
    for dtype, seconds in measured.trainer.items():
        micro = _scaled(seconds, 1e6)
        what = f"overhead of `Trainer.fit`,\nmicroseconds per step, {dtype}"
        rows.append([what, _against(micro, 1e6 * overheads.TRAINER_BOUND, "{:.1f}")])
    if measured.jacobian:
        milli = _scaled(measured.jacobian, 1e3)
        what = "Jacobian of 200 rows with respect to\n321 parameters, milliseconds"
        rows.append([what, _against(milli, None, "{:.1f}")])
    if measured.rows:
        what = "gradients of 400 rows with respect to\n81 parameters, milliseconds"
        seconds, ratio = measured.rows
        rows.append([what, _against(_scaled(seconds, 1e3), None, "{:.1f}")])
        what = "a loop of 400 calls for one row each,\ndivided by that"
        rows.append([what, _against(ratio, None, "{:.0f}")])
    if measured.dual:
        what = "the slowest operation of dual numbers\nof three entries, microseconds"
        micro = _scaled(measured.dual, 1e6)
        rows.append([what, _against(micro, 1e6 * overheads.DUAL_BOUND, "{:.1f}")])
    for name, ratio in (measured.fits or {}).items():
        bound = fits.BOUND if name == fits.TOGETHER else None
        what = f"fit of NIST problems, {name}, divided by SciPy\nwith a Jacobian by hand"
        rows.append([what, _against(ratio, bound, "{:.2f}")])
    for name, bound in overheads.IMPORT_BOUNDS.items():
        ratio = overheads.import_ratio(measured.imports, name)
        rows.append([f"{name},\ndivided by `import numpy`", _against(ratio, bound, "{:.2f}")])
    if measured.check:
        shorter, longer = measured.check
        ratio = Quartiles.of([longer / shorter])
        what = f"`check_layer` ({shorter:.1f} s),\nof twice as many layers"
        rows.append([what, _against(ratio, overheads.CHECK_BOUND, "{:.2f}")])
    return Table("Overhead of `Trainer.fit`, import and `check_layer`", ["", "measured"], rows)


def _scaled(seconds: Quartiles, factor: float) -> Quartiles:
    return Quartiles(*(factor * s for s in (seconds.low, seconds.middle, seconds.high)))


def _graphs(measured: graphs.Measured) -> Table:
    """Graphs compared with sequences, and a residual network with that of a peer."""
    rows = []
    pairs = [
        *((result, "chainrule", "a chain as Graph,\nvs. Sequential") for result in measured.chains),
        *(
            (
                result,
                contenders.RESIDUAL_PEER,
                "20 Dense layers of 64 in residual\nblocks, vs. PyTorch",
            )
            for result in measured.residual
        ),
    ]
    for result, other, what in pairs:
        bound = result.workload.bounds[other]
        times = " and ".join(_microseconds(result.median(n)) for n in (result.first, other))
        rows.append(
            [
                what,
                f"{result.workload.name}\n{result.dtype}",
                _against(result.ratio(other), bound, "{:.3f}"),
                times,
            ]
        )
    return Table(
        "Graphs: time of a step, divided by that of the other",
        ["", "network", "ratio", "microseconds"],
        rows,
    )


def _growth(growth: graphs.Growth) -> Table:
    rows = [
        [f"{nodes:,}", _microseconds(growth.build[nodes]), _microseconds(growth.step[nodes])]
        for nodes in growth.build
    ]
    head = ["nodes in a chain", "build", "training step"]
    return Table("Microseconds per node of a graph", head, rows)


def _optimizers(results: list[Result]) -> Table:
    """A single step of Adam, compared with that of a peer."""
    rows = []
    for result in results:
        size = sum(n * m + m for n, m in pairwise(result.workload.widths))
        for other in list(result.seconds)[1:]:
            bound = result.workload.bounds.get(other)
            times = " and ".join(_microseconds(result.median(n)) for n in (result.first, other))
            ratio = _against(result.ratio(other), bound, "{:.2f}")
            rows.append([f"vs. {other}", f"{size:,}\n{result.dtype}", ratio, times])
    head = ["", "numbers", "ratio", "microseconds"]
    return Table("Time of a step of Adam, divided by that of the other", head, rows)


def _layers(results: list[Result]) -> Table:
    """Single layers, compared with those of a peer."""
    rows = []
    for result in results:
        other = contenders.LAYER_PEER
        ratio = _against(result.ratio(other), result.workload.bounds[other], "{:.2f}")
        clock, processor = (
            " and ".join(_microseconds(float(np.median(times[n]))) for n in (result.first, other))
            for times in (result.seconds, result.processor)
        )
        shape = " × ".join(map(str, result.workload.shape))
        rows.append([f"{result.workload.name}\n{shape}", ratio, clock, processor])
    head = ["layer, and its batch", "ratio", "microseconds", "of the processor"]
    title = "Time of a layer, forward and back, divided by that of PyTorch; one thread, float32"
    return Table(title, head, rows)


def _epochs(results: list[Result]) -> Table:
    """A whole epoch, compared with that of a peer."""
    rows = []
    for result in results:
        other = contenders.FIT_PEER
        times = " and ".join(f"{result.median(n):.2f}" for n in (result.first, other))
        bound = result.workload.bounds[other]
        what = f"60,000 samples,\n{list(result.workload.widths)},\nbatch {training.BATCH}, Adam"
        rows.append([what, result.dtype, _against(result.ratio(other), bound, "{:.2f}"), times])
    head = ["one epoch of `Trainer.fit`", "", "ratio", "seconds"]
    return Table("Time of an epoch, divided by that of the same loop in PyTorch", head, rows)


def _endless(endless: training.Endless) -> Table:
    """Time and memory during a long run; neither should grow."""
    rows = []
    each = endless.steps // len(endless.seconds)
    for number, (seconds, memory) in enumerate(
        zip(endless.seconds, endless.memory, strict=True), start=1
    ):
        rows.append([f"{number * each:,}", _microseconds(seconds), f"{memory / 1e6:.1f}"])
    head = ["steps", "microseconds per step", "MB in memory"]
    return Table("A long run of a tiny network", head, rows)


def _against(measured: Quartiles, bound: float | None, form: str) -> str:
    """``1.04 ≤ 1.10 ✓`` and, below it, the quartiles: ``1.02–1.07``."""
    low, middle, high = (form.format(q) for q in (measured.low, measured.middle, measured.high))
    verdict = ""
    if bound is not None:
        verdict = f" ≤ {form.format(bound)} {'✓' if measured.middle <= bound else '✗'}"
    return f"{middle}{verdict}\n{low}–{high}"


def _microseconds(seconds: float) -> str:
    micro = 1e6 * seconds
    return f"{micro:,.0f}" if micro >= 100 else f"{micro:.1f}"


def _coloured(cell: str) -> str:
    return escape(cell).replace("✓", "[green]✓[/]").replace("✗", "[red]✗[/]").replace("`", "")
