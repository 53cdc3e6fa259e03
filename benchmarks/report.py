"""The result tables: for the terminal and for the page `docs/benchmarks.md`.

Both are made from the same `Table`s of plain text, so they always agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from benchmarks import contenders, fits, graphs, overheads, ranks, training
from benchmarks.machine import BUSY
from benchmarks.quartiles import Quartiles
from benchmarks.race import Result

MICROSECONDS = "microseconds;\nof the processor"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass(frozen=True)
class Table:
    """Rows of text. Numbers are right-aligned, and a cell may have two lines."""

    title: str
    head: list[str]
    rows: list[list[str]]
    numbers: bool = True
    note: str = ""

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
    adam: list[Result] | None = None
    others: float = 0.0
    """The share of the machine that others used during the measurements that are no races."""
    ranks: ranks.Measured | None = None

    def tables(self) -> list[Table]:
        of_steps = [_adam(self.adam, self.is_fast)] if self.adam else []
        if self.results:
            of_steps = [*_steps(self), *of_steps, *_gain(self), *_others(self), *_times(self)]
        of_graphs = [_graphs(self.graphs), _growth(self.graphs.growth)] if self.graphs else []
        of_layers = [_layers(self.layers, self.is_fast)] if self.layers else []
        of_optimizers = [_optimizers(self.optimizers)] if self.optimizers else []
        of_training = []
        if self.training:
            of_training = (
                [_epochs(self.training.epochs, self.is_fast)] if self.training.epochs else []
            )
            of_training.append(_endless(self.training.endless))
        of_ranks = [_ranks(self.ranks, self.others > BUSY)] if self.ranks else []
        return [
            _machine(self), *of_steps, *of_layers, _around(self), *of_graphs, *of_optimizers,
            *of_training, *of_ranks,
        ]  # fmt: skip

    @property
    def by_threads(self) -> dict[int, list[Result]]:
        """The results by the number of threads."""
        numbers = dict.fromkeys(result.threads for result in self.results)
        return {n: [each for each in self.results if each.threads == n] for n in numbers}

    @property
    def is_fast(self) -> bool:
        return self.machine.get("fast", "off").startswith("on")

    @property
    def names(self) -> list[str]:
        """The names of the contenders, chainrule first."""
        return list(self.results[0].seconds) if self.results else []


def show(measured: Measured, console: Console) -> None:
    for table in measured.tables():
        drawn = RichTable(
            title=table.title.replace("`", ""), title_justify="left", title_style="bold"
        )
        for name, justify in zip(table.head, table.justify(), strict=True):
            drawn.add_column(name.replace("`", ""), justify=justify)
        for row in table.rows:
            drawn.add_row(*[_coloured(cell) for cell in row])
        console.print(drawn)
        if table.note:
            console.print(escape(table.note))
        console.print()


def as_markdown(measured: Measured) -> str:
    return "\n\n".join(_markdown(table) for table in measured.tables())


def _markdown(table: Table) -> str:
    ruler = ["---" if side == "left" else "---:" for side in table.justify()]
    rows = [table.head, ruler, *table.rows]
    lines = [f"| {' | '.join(row)} |".replace("\n", "<br>") for row in rows]
    note = ["", table.note] if table.note else []
    return "\n".join([f"**{table.title}**", "", *lines, *note])


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


def _by_network(
    measured: Measured, title: str, head: list[str], cells: Callable[[Result], list[str]]
) -> list[Table]:
    """A table for each number of threads, with a row for each network and dtype."""
    return [
        Table(
            f"{title}; {_number(threads)}",
            ["network", *head],
            [[_network(result), *cells(result)] for result in results],
            note=_not_judged(results),
        )
        for threads, results in measured.by_threads.items()
    ]


def _network(result: Result) -> str:
    return f"{result.workload.name}\n{result.dtype}"


def _number(threads: int) -> str:
    return "one thread" if threads == 1 else f"{threads} threads"


COLUMNS = {
    "the step /\nthe limit": ("chainrule", contenders.LIMIT),
    "`fit` /\nthe limit": (contenders.FIT, contenders.LIMIT),
    "the step /\nPyTorch": ("chainrule", "PyTorch"),
    "`fit` /\na loop in PyTorch": (contenders.FIT, contenders.FIT_PEER),
}


def _steps(measured: Measured) -> list[Table]:
    """The main result: the bare step and that of `fit`, by those of the limit and of PyTorch."""
    columns = {head: pair for head, pair in COLUMNS.items() if {*pair} <= {*measured.names}}

    def cells(result: Result) -> list[str]:
        return [_in_fit(result, other, of, measured.is_fast) for of, other in columns.values()]

    title = "Time of a training step of chainrule, bare and in `fit`, divided by that of the other"
    return _by_network(measured, title, list(columns), cells) if columns else []


def _adam(results: list[Result], fast: bool) -> Table:
    """`fit` with Adam, by the loop of a peer with its default and its fused Adam."""
    rows = [
        [
            _network(result),
            f"vs. {other}",
            _in_fit(result, other, result.first, fast),
            _both(result, other),
        ]
        for result in results
        for other in list(result.seconds)[1:]
    ]
    threads = _number(results[0].threads)
    title = f"Time of a step of `fit` with Adam, divided by that of the other; {threads}"
    return Table(title, ["network", "", "ratio", MICROSECONDS], rows, note=_not_judged(results))


def _in_fit(result: Result, other: str, of: str, fast: bool) -> str:
    """A ratio with its bounds; for that of `fit`, they depend on the libraries in use."""
    what = (result.workload.optimizer, other, result.dtype)
    judges = of == contenders.FIT and result.threads == 1
    tables = [training.BOUNDS, training.FAST_BOUNDS] if fast else [training.BOUNDS]
    bounds = [table.get(result.workload.name, {}).get(what) for table in tables if judges]
    return _verdict(result, other, *bounds, of=of)


def _gain(measured: Measured) -> list[Table]:
    """What several threads gain `fit`, compared with what they gain the limit."""
    alone, *others = measured.by_threads.values()
    of, to = contenders.FIT, contenders.LIMIT
    if not {of, to} <= {*measured.names} or alone[0].threads != 1:
        return []
    tables = []
    for results in others:
        rows = []
        for one, several in zip(alone, results, strict=True):
            gains = [several.median(name) / one.median(name) for name in (of, to)]
            quotient = _scaled(several.ratio(to, of), 1 / one.ratio(to, of).middle)
            is_quiet = not (one.disturbance or several.disturbance)
            bounds = [training.THREADS_BOUND] if is_quiet else []
            cell = _against(quotient, "{:.2f}", *bounds)
            rows.append([_network(one), *(f"{gain:.2f}" for gain in gains), cell])
        threads = _number(results[0].threads)
        title = f"Time of a step with {threads}, divided by that with one"
        head = ["network", "`fit`", "the limit", "`fit` / the limit"]
        tables.append(Table(title, head, rows, note=_not_judged([*alone, *results])))
    return tables


def _others(measured: Measured) -> list[Table]:
    """The bare step, by those of all who have no column in the main table."""
    shown = {name for pair in COLUMNS.values() for name in pair}
    others = [name for name in measured.names if name not in shown]

    def cells(result: Result) -> list[str]:
        return [_verdict(result, name, result.workload.bounds.get(name)) for name in others]

    return _by_network(measured, "Time of the bare step, divided by that of …", others, cells)


def _times(measured: Measured) -> list[Table]:
    """On the clock and, below it, of the processor: more than that with several threads."""

    def cells(result: Result) -> list[str]:
        return ["\n".join(_both_times(result, name)) for name in measured.names]

    title = "Microseconds per step; below them, those of the processor"
    return _by_network(measured, title, measured.names, cells)


def _microseconds(seconds: float) -> str:
    micro = 1e6 * seconds
    return f"{micro:,.0f}" if micro >= 100 else f"{micro:.1f}"


def _both(result: Result, other: str, form: Callable[[float], str] = _microseconds) -> str:
    """``22 and 45``, the times of the first and another; below, those of the processor."""
    lines = [
        " and ".join(form(float(np.median(times[name]))) for name in (result.first, other))
        for times in (result.seconds, result.processor)
        if times.get(result.first) and times.get(other)
    ]
    return "\n".join(lines)


def _both_times(result: Result, name: str) -> list[str]:
    times = (result.seconds[name], result.processor.get(name, []))
    return [_microseconds(float(np.median(each))) for each in times if each]


def _around(measured: Measured) -> Table:
    rows, others = [], measured.others
    note = f"The machine was busy, so nothing is judged: other processes used {others:.0%} of it."

    def against(ratio: Quartiles, bound: float | None, form: str) -> str:
        return _against(ratio, form, None if others > BUSY else bound)

    for dtype, seconds in measured.trainer.items():
        micro = _scaled(seconds, 1e6)
        what = f"overhead of `Trainer.fit`,\nmicroseconds per step, {dtype}"
        rows.append([what, against(micro, 1e6 * overheads.TRAINER_BOUND, "{:.1f}")])
    if measured.jacobian:
        milli = _scaled(measured.jacobian, 1e3)
        what = "Jacobian of 200 rows with respect to\n321 parameters, milliseconds"
        rows.append([what, against(milli, None, "{:.1f}")])
    if measured.rows:
        what = "gradients of 400 rows with respect to\n81 parameters, milliseconds"
        seconds, ratio = measured.rows
        rows.append([what, against(_scaled(seconds, 1e3), None, "{:.1f}")])
        what = "a loop of 400 calls for one row each,\ndivided by that"
        rows.append([what, against(ratio, None, "{:.0f}")])
    if measured.dual:
        what = "the slowest operation of dual numbers\nof three entries, microseconds"
        micro = _scaled(measured.dual, 1e6)
        rows.append([what, against(micro, 1e6 * overheads.DUAL_BOUND, "{:.1f}")])
    for name, ratio in (measured.fits or {}).items():
        bound = fits.BOUND if name == fits.TOGETHER else None
        what = f"fit of NIST problems, {name}, divided by SciPy\nwith a Jacobian by hand"
        rows.append([what, against(ratio, bound, "{:.2f}")])
    for name, bound in overheads.IMPORT_BOUNDS.items():
        ratio = overheads.import_ratio(measured.imports, name)
        rows.append([f"{name},\ndivided by `import numpy`", against(ratio, bound, "{:.2f}")])
    if measured.check:
        shorter, longer = measured.check
        ratio = Quartiles.of([longer / shorter])
        what = f"`check_layer` ({shorter:.1f} s),\nof twice as many layers"
        rows.append([what, against(ratio, overheads.CHECK_BOUND, "{:.2f}")])
    title = "Overhead of `Trainer.fit`, import and `check_layer`"
    return Table(title, ["", "measured"], rows, note=note if others > BUSY else "")


def _ranks(measured: ranks.Measured, is_busy: bool) -> Table:
    """A step on two ranks, divided by one in one process."""
    ratio = _against(Quartiles.of(measured.ratios), "{:.3f}", None if is_busy else ranks.BOUND)
    milli = [
        f"{1e3 * float(np.median(seconds)):.1f}"
        for seconds in (measured.together, measured.alone, measured.exchange)
    ]
    rows = [[f"{list(ranks.WIDTHS)}\nbatch {ranks.BATCH:,}, float32", ratio, *milli]]
    title = f"Time of a step of `fit` on {ranks.RANKS} ranks, divided by that of one process"
    head = ["network", "ratio", f"{ranks.RANKS} ranks,\nms", "one process,\nms", "exchange,\nms"]
    note = "The machine was busy, so nothing is judged." if is_busy else ""
    return Table(title, head, rows, note=note)


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
        rows.append(
            [
                what,
                _network(result),
                _verdict(result, other, bound, form="{:.3f}"),
                _both(result, other),
            ]
        )
    return Table(
        "Graphs: time of a step, divided by that of the other",
        ["", "network", "ratio", MICROSECONDS],
        rows,
        note=_not_judged([*measured.chains, *measured.residual]),
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
            ratio = _verdict(result, other, bound)
            numbers = f"{size:,}\n{result.dtype}"
            rows.append([f"vs. {other}", numbers, ratio, _both(result, other)])
    head = ["", "numbers", "ratio", MICROSECONDS]
    title = "Time of a step of Adam, divided by that of the other"
    return Table(title, head, rows, note=_not_judged(results))


def _layers(results: list[Result], fast: bool) -> Table:
    """Single layers, compared with those of a peer."""
    rows = []
    for result in results:
        other = contenders.LAYER_PEER
        bounds = [result.workload.bound, result.workload.fast if fast else None]
        ratio = _verdict(result, other, *bounds)
        shape = " × ".join(map(str, result.workload.shape))
        rows.append([f"{result.workload.name}\n{shape}", ratio, _both(result, other)])
    head = ["layer, and its batch", "ratio", MICROSECONDS]
    title = "Time of a layer, forward and back, divided by that of PyTorch; one thread, float32"
    return Table(title, head, rows, note=_not_judged(results))


def _epochs(results: list[Result], fast: bool) -> Table:
    """A whole epoch, compared with that of a peer."""
    rows = []
    for result in results:
        steps, batch = result.workload.steps, result.workload.batch
        what = f"{steps * batch:,} samples,\n{list(result.workload.widths)},\nbatch {batch}, Adam"
        for other in list(result.seconds)[1:]:
            times = _both(result, other, lambda seconds, steps=steps: f"{steps * seconds:.2f}")
            ratio = _in_fit(result, other, result.first, fast)
            rows.append([what, f"vs. {other}\n{result.dtype}", ratio, times])
    head = ["one epoch of `Trainer.fit`", "", "ratio", "seconds;\nof the processor"]
    title = "Time of an epoch, divided by that of the same loop in PyTorch; one thread"
    return Table(title, head, rows, note=_not_judged(results))


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


def _verdict(
    result: Result, other: str, *bounds: float | None, of: str = "", form: str = "{:.2f}"
) -> str:
    """A ratio with its bounds, if the machine was quiet."""
    return _against(result.ratio(other, of), form, *(() if result.disturbance else bounds))


def _against(measured: Quartiles, form: str, *bounds: float | None) -> str:
    """``1.04 ≤ 1.10 ✓`` and, below it, the quartiles: ``1.02–1.07``."""
    low, middle, high = (form.format(q) for q in (measured.low, measured.middle, measured.high))
    verdicts = [
        f" ≤ {form.format(bound)} {'✓' if measured.middle <= bound else '✗'}"
        for bound in bounds
        if bound is not None
    ]
    return f"{middle}{','.join(verdicts)}\n{low}–{high}"


def _not_judged(results: list[Result]) -> str:
    """Says which results decide nothing, and why; empty if all do."""
    reasons = [
        f"{each.workload.name} {each.dtype}, {_number(each.threads)} ({each.disturbance})"
        for each in results
        if each.disturbance
    ]
    if not reasons:
        return ""
    return f"The machine was busy, so these are not judged: {'; '.join(reasons)}."


def _coloured(cell: str) -> str:
    return escape(cell).replace("✓", "[green]✓[/]").replace("✗", "[red]✗[/]").replace("`", "")
