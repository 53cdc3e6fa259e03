"""The table of a trace: one line per step, as wide as the terminal allows.

    |a| = √(Σ aᵢ²/n)        the size of a typical number, in every column

If the terminal is too narrow, configurations are shortened, then omitted; numbers are never
truncated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from chainrule.core import input_checks
from chainrule.core.html_table import html_table

if TYPE_CHECKING:
    from chainrule.display.trace import Trace, TracedStep

Arrays: TypeAlias = npt.NDArray[Any] | tuple[npt.NDArray[Any], ...]
"""An array, or a tuple of several."""

SHOWN = 60
"""A longer table is printed without its middle; `Trace.steps` has every step."""

_PLACE, _CONFIGURATION, _OUTPUT = "layer", "", "output"
_SIZES = ("|y|", "mean f′", "|Δ|")
_MARK = "▶ "
_GAP = 2  # between two columns
Line: TypeAlias = tuple[str, ...]


def size_of(arrays: Arrays) -> float:
    """√(Σ aᵢ²/n) over all numbers; zero if there are none; NaN or infinite if a number is.

    >>> size_of(np.array([3.0, 4.0, 0.0, 0.0]))
    2.5
    """
    flat = np.concatenate([np.ravel(a) for a in input_checks.as_tuple(arrays)]).astype(np.float64)
    largest = float(np.max(np.abs(flat), initial=0.0))
    if largest == 0 or not np.isfinite(largest):
        return largest
    # After division by the largest number, the squares neither overflow nor underflow.
    return largest * float(np.sqrt(np.mean((flat / largest) ** 2)))


def least_width(found: Trace, width: int) -> int:
    """The width that the table needs if this width is available."""
    return _total(_fitting(found, width))


def table(found: Trace, width: int) -> Any:
    """The steps as a table."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    lines = _fitting(found, width)
    widths = _widths(lines)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for number, title in enumerate(lines[0]):
        table.add_column(
            title,
            justify="left" if title in (_PLACE, _CONFIGURATION, _OUTPUT) else "right",
            vertical="bottom",
            style="dim" if title == _CONFIGURATION else None,
            overflow="fold",
            no_wrap=number > 0,
            min_width=min(16, widths[number]) if number == 0 else widths[number],
        )
    for line in lines[1:]:
        table.add_row(*map(Text, line), style="bold red" if line[0].startswith(_MARK) else None)
    return table


def html(found: Trace) -> str:
    """The steps as a table of a notebook."""
    titles, *lines = _lines(found)
    head = [title or "configuration" for title in titles]
    align = "".join("l" if title in (_PLACE, _CONFIGURATION, _OUTPUT) else "r" for title in titles)
    marked = [n for n, line in enumerate(lines) if line[0].startswith(_MARK)]
    return html_table(head, lines, align, notes=[text for text, _ in notes(found)], strong=marked)


def _fitting(found: Trace, width: int) -> list[Line]:
    """The lines that fit the width; configurations are omitted first, then shapes."""
    whole = _lines(found)
    brief = [(line[0], _inside(line[1]), *line[2:]) for line in whole]
    without = [line[:1] + line[2:] for line in whole]
    bare = [line[:1] + line[2:] for line in without]
    return next((lines for lines in (whole, brief, without) if _total(lines) <= width), bare)


def _inside(configuration: str) -> str:
    """``'tanh'`` for ``Activation('tanh')``; the name of the place already says the class."""
    inside = configuration.partition("(")[2][:-1]
    return inside if len(inside) <= 16 else f"{inside[:15]}…"


def _widths(lines: list[Line]) -> list[int]:
    columns = zip(*lines, strict=True)
    return [max(len(part) for cell in column for part in cell.split("\n")) for column in columns]


def _total(lines: list[Line]) -> int:
    widths = _widths(lines)
    return sum(widths) + _GAP * (len(widths) - 1)


def _lines(found: Trace) -> list[Line]:
    """The cells of the table, starting with the titles; empty columns are omitted."""
    learned = list(dict.fromkeys(name for step in found.steps for name in step.parameters))
    has_columns = len(learned) <= 2  # else one column for all, with a line for each parameter
    gradients = [f"|∂C/∂θ|\n{name}" for name in learned] if has_columns else ["|∂C/∂θ|"]
    first = found.first_non_finite
    lines: list[Line] = [(_PLACE, _CONFIGURATION, _OUTPUT, *_SIZES, *gradients)]
    for line in _input_lines(found):
        lines.append((*line, *[""] * len(gradients)))
    container, before, count = "", -1, len(found.steps)
    for number, step in enumerate(found.steps):
        is_first = first is not None and first.place == step.place
        if SHOWN // 2 <= number < count - SHOWN // 2 and count > SHOWN and not is_first:
            continue
        if number - before > 1:
            lines.append((f"… {number - before - 1:,} more …", *[""] * (len(lines[0]) - 1)))
        before = number
        above, _, name = step.place.rpartition("/")
        if above and above != container:
            lines.append((f"{above}/", *[""] * (len(lines[0]) - 1)))
        container = above
        mark = _MARK if is_first else "  " if above else ""
        lines.append((mark + name, *_line(step), *_gradients(step, learned, has_columns)))
    filled = [n for n, cells in enumerate(zip(*lines[1:], strict=True)) if n < 3 or any(cells)]
    return [tuple(line[n] for n in filled) for line in lines]


def _input_lines(found: Trace) -> Iterator[Line]:
    values = input_checks.as_tuple(found.inputs)
    deltas = input_checks.as_tuple(found.input_deltas)
    deltas = deltas if len(deltas) == len(values) else (None,) * len(values)
    first = found.first_non_finite
    for name, value, delta in zip(found.input_names, values, deltas, strict=True):
        mark = _MARK if first is not None and first.place == name else ""
        size = "" if delta is None else _power(size_of(delta))
        yield mark + name, "", str(value.shape), _number(size_of(value)), "", size


def _line(step: TracedStep) -> Line:
    return (
        step.layer,
        "\n".join(map(str, step.output_shapes)),
        _number(step.output_size),
        "" if step.slope_mean is None else _number(step.slope_mean),
        "" if step.delta_size is None else _power(step.delta_size),
    )


def _gradients(step: TracedStep, learned: list[str], has_columns: bool) -> Line:
    sizes = {name: _power(size) for name, size in step.gradient_sizes.items()}
    if step.shares_with is not None:
        sizes = {name: f"¹ {size}" for name, size in sizes.items()}
    if has_columns:
        return tuple(sizes.get(name, "") for name in learned)
    return ("\n".join(f"{name} {size}" for name, size in sizes.items()),)


def _number(value: float) -> str:
    """Three digits for numbers of order one, else two digits with a power of ten."""
    return f"{value:#.3g}" if 0.01 <= abs(value) < 100 else _power(value)


def _power(value: float) -> str:
    """Always with a power of ten, so that rows are easy to compare."""
    return f"{value:.1e}" if value != 0 else "0"


def notes(found: Trace) -> list[tuple[str, str]]:
    """The notes below the table, each with its style."""
    cost = "no cost" if found.cost is None else f"C = {found.cost:.6g}"
    notes = [(f"{cost} with {found.loss} · |a| = √(Σ aᵢ²/n) · Δ = ∂C/∂y", "dim")]
    if any(step.shares_with for step in found.steps):
        notes.append(("¹ parameters shared with a row above, with a single gradient", "dim"))
    if len(found.steps) > SHOWN:
        notes.append((f"trace(…).steps has all {len(found.steps):,} steps", "dim"))
    if found.first_non_finite is not None:
        text = f"{_MARK}first not finite: {found.first_non_finite}"
        notes.append((text, "bold red"))
    if found.error is not None:
        notes.append((f"no backward pass: {found.error.problem}", "bold red"))
    return notes
