"""The progress line of a terminal, drawn with rich.

    epoch  7/20 ━━━━━━━━━━━━╸━━━━━━━━━━━━━━━  34 % 0:00:12 left  loss 0.0412  validation 0.0533

The bar takes the space that the text leaves, and the last figures are omitted if the terminal is
narrow: the line must stay one line, or redrawing it would leave copies.
"""

from __future__ import annotations

import os
from typing import Any, Self

from chainrule.core.terminal import encodable
from chainrule.training.progress import Position

ERASE_LINE = "\r\x1b[2K"
"""Erases the bar, so that a message can take its place; the bar is redrawn below."""
SHORTEST, LONGEST = 6, 40
"""The limits of the bar's width, which is otherwise the space that the text leaves."""


class TerminalLine:
    """The progress line on a console of rich."""

    @classmethod
    def on(cls, wanted: Any) -> Self | None:
        """The line on a console, or on that of standard output; None if it cannot be drawn."""
        if wanted is True:
            from rich.console import Console

            wanted = Console()
        return cls(wanted) if wanted.is_terminal and not wanted.is_dumb_terminal else None

    def __init__(self, console: Any) -> None:
        self._console = console
        self._line: Any = None
        self._bar: Any = None
        self._pending: list[str] = []

    def begin(self, position: Position) -> None:
        """Draw the line for the first time."""
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = BarColumn(complete_style="cyan", finished_style="green")
        self._line = Progress(
            TextColumn("{task.fields[epoch]}"),
            self._bar,
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[time]}"),
            TextColumn("{task.fields[figures]}"),
            console=self._console,
            auto_refresh=False,
        )
        texts = {"epoch": position.where, "time": "", "figures": ""}
        self._line.add_task("", total=position.total, completed=position.done, **texts)
        self._line.start()

    def draw(self, position: Position) -> None:
        """Draw it again, below the messages that wait."""
        self._print_pending()
        width = self._console.width - len(f"{position.where}   {100} %  {position.time}  ")
        text = _as_many_as_fit(list(position.figures), width - SHORTEST)
        text = encodable(text, self._console.encoding)
        self._bar.bar_width = min(max(width - len(text), SHORTEST), LONGEST)
        self._line.update(
            0, completed=position.done, epoch=position.where, time=position.time,
            figures=f" {text}", refresh=True,
        )  # fmt: skip

    def say(self, text: str) -> bool:
        """Print a message above the bar; False if it waits for the next update of the bar.

        It bypasses rich and Python's buffer, which are not reentrant, and writes directly to the
        terminal: a signal handler may call it.
        """
        is_drawn = self._line is not None
        if _write_directly(self._console, (ERASE_LINE if is_drawn else "") + text):
            return True
        self._pending.append(text)
        if not is_drawn:
            self._print_pending()
        return not is_drawn

    def end(self, position: Position, is_failed: bool) -> None:
        """Keep the last state of the line, and print the messages that wait."""
        self._line.stop()  # shows the cursor again
        self._line = None
        self._print_pending()

    def _print_pending(self) -> None:
        while self._pending:
            text = encodable(self._pending.pop(0), self._console.encoding)
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _write_directly(console: Any, text: str) -> bool:
    """Write a line, bypassing rich and Python's buffer; False if that is impossible."""
    if console.is_jupyter or console.legacy_windows:
        return False
    line = f"{encodable(text, console.encoding)}\n".encode(console.encoding, "replace")
    try:
        os.write(console.file.fileno(), line)
    except (AttributeError, OSError, ValueError):  # not a file of the operating system
        return False
    return True


def _as_many_as_fit(texts: list[str], width: int) -> str:
    """As many of the texts as fit, from the first on, but at least one."""
    while len(texts) > 1 and len("  ".join(texts)) > width:
        texts.pop()
    return "  ".join(texts)
