"""The history as comma-separated values, for spreadsheets and pandas.

    epoch,loss,validation_loss
    1,0.6931471805599453,0.7012
    2,0.5120983,nan

Numbers have enough digits to read back the same bits: Python's `repr` of a float.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

EPOCH = "epoch"


def line(cells: Iterable[Any]) -> str:
    """One line, with its newline."""
    return ",".join(map(_as_text, cells)) + "\n"


def table(history: Mapping[str, Sequence[float]]) -> str:
    """All lines: the names of the columns, and a row for each epoch."""
    rows = zip(*history.values(), strict=True)
    lines = [line([epoch, *row]) for epoch, row in enumerate(rows, start=1)]
    return "".join([line([EPOCH, *history]), *lines])


def columns_in(text: str) -> list[str] | None:
    """The names in the first line; None if the text is empty."""
    import csv

    return next(csv.reader(io.StringIO(text)), None)


def ends_with_newline(text: str) -> bool:
    """Whether the last line has a newline; without it, digits may be missing, too."""
    return not text or text.endswith(("\n", "\r"))


def read(text: str) -> dict[str, list[float]]:
    """The inverse of `table`: read the columns of a history.

    Raises
    ------
    ValueError
        The text is not such a table; the message names the line.
    """
    import csv

    if not ends_with_newline(text):
        last, number = text.rpartition("\n")[2], text.count("\n") + 1
        raise ValueError(
            f"line {number}, {last!r:.40}, may be incomplete: it has no newline; add one if the"
            " line is complete"
        )
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = next(reader, [])
        if header[:1] != [EPOCH] or len({*header}) < len(header):
            raise ValueError(f"line 1 is {','.join(header)!r:.60} instead of epoch,loss,…")
        rows = [
            _numbers(cells, reader.line_num, epoch, len(header))
            for epoch, cells in enumerate(reader, start=1)
        ]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error
    return {name: [row[n] for row in rows] for n, name in enumerate(header[1:])}


def _numbers(cells: list[str], number: int, epoch: int, count: int) -> list[float]:
    if len(cells) != count:
        raise ValueError(f"line {number} has {len(cells)} cells instead of {count}")
    if cells[0] != str(epoch):
        raise ValueError(f"line {number} is epoch {cells[0]!r:.20} instead of {epoch}")
    try:
        return [float(cell) for cell in cells[1:]]
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from error


def _as_text(cell: Any) -> str:
    if isinstance(cell, str):  # quoted if necessary; csv.writer does not quote a lone \\r
        escaped = cell.replace('"', '""')
        return f'"{escaped}"' if any(sign in cell for sign in ',"\r\n') else cell
    if isinstance(cell, int):
        return str(cell)
    number = float(cell)
    return repr(number) if math.isfinite(number) else str(number)
