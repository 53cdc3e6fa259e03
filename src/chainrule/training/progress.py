"""Progress: one line in the terminal that shows how far a training run is.

    epoch  7/20 ━━━━━━━━━━━━╸━━━━━━━━━━━━━━━  34 % 0:00:12 left  loss 0.0412  validation 0.0533

The remaining time assumes that the steps to come take as long as those so far:

    left = elapsed (steps to go) / (steps done)

In a resumed run the line starts where the run was, and the time counts only the steps of this
process.

Messages are printed above the line.

The line is drawn with rich, at most ten times a second, and only in a terminal: in a file, a pipe
or a test nothing is printed, and rich is not even imported.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from chainrule.core.terminal import encodable

PERIOD = 0.1
"""Seconds between two updates of the line."""
ERASE_LINE = "\r\x1b[2K"
"""Erases the bar, so that a message can take its place; the bar is redrawn below."""
SHORTEST, LONGEST = 6, 40
"""The limits of the bar's width, which is otherwise the space that the text leaves."""


class Progress:
    """The progress line, a context manager that restores the terminal however its block ends.

    Parameters
    ----------
    wanted
        True or False, or a rich Console to draw on.
    epochs, steps
        The number of epochs, and the number of steps in each.
    done
        The number of steps taken before a resumed run continues.
    unit
        What an epoch is called.

    Attributes
    ----------
    due : float
        The time of `time.perf_counter` at which `show` should be called next; infinite if nothing
        is drawn.
    """

    def __init__(
        self, wanted: Any, epochs: int, steps: int, done: int = 0, unit: str = "epoch"
    ) -> None:
        self.due = math.inf
        self._console = _terminal(wanted)
        self._epochs, self._steps, self._before, self._unit = epochs, steps, done, unit
        self._line: Any = None
        self._bar: Any = None
        self._began = 0.0
        self._figures: dict[str, float] = {}
        self._pending: list[str] = []

    def __enter__(self) -> Self:
        if self._console is not None:
            self._begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._line is not None:
            self._line.stop()  # shows the cursor again
            self._line, self.due = None, math.inf
        self._print_pending()

    def say(self, text: str) -> None:
        """Print a message at once, above the bar if there is one; without a terminal do nothing.

        It can be called from anywhere, even from a signal handler that interrupted the drawing of
        the bar: it bypasses rich and Python's buffer, which are not reentrant, and writes directly
        to the terminal. Where that is impossible, as in a notebook, the message waits for the next
        update of the bar.

        Parameters
        ----------
        text
            Such as ``"stopping after this step; press Ctrl-C again to stop at once"``.
        """
        if self._console is None:
            return
        is_drawn = self._line is not None
        if _write_directly(self._console, (ERASE_LINE if is_drawn else "") + text):
            return
        self._pending.append(text)
        if is_drawn:
            self.due = 0.0
        else:
            self._print_pending()

    def _print_pending(self) -> None:
        while self._pending:
            text = self._pending.pop(0)
            if self._console is not None:
                text = encodable(text, self._console.encoding)
                self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, epoch: int, step: int, figures: Mapping[str, float]) -> None:
        """Redraw the line after a step of an epoch, both counted from 1.

        Figures that are not given, such as those of the last validation, keep their values.
        """
        if self._line is None:
            return
        self._print_pending()
        now = time.perf_counter()
        self.due = now + PERIOD
        self.note(figures)
        done, total = (epoch - 1) * self._steps + step, self._epochs * self._steps
        elapsed = now - self._began
        left = elapsed * (total - done) / max(done - self._before, 1)
        where = self._where(epoch)
        when = f"{_clock(left)} left" if done < total else f"in {_clock(elapsed)}"
        width = self._console.width - len(f"{where}   {100} %  {when}  ")
        text = _as_many_as_fit(_formatted(self._figures), width - SHORTEST)
        text = encodable(text, self._console.encoding)
        self._bar.bar_width = min(max(width - len(text), SHORTEST), LONGEST)
        self._line.update(
            0, completed=done, epoch=where, time=when, figures=f" {text}", refresh=True
        )  # fmt: skip

    def note(self, figures: Mapping[str, float]) -> None:
        """Keep figures for the next update of the line."""
        self._figures.update(figures)

    def _where(self, epoch: int) -> str:
        return f"{self._unit} {epoch:>{len(str(self._epochs))}}/{self._epochs}"

    def _begin(self) -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Line

        self._bar = BarColumn(complete_style="cyan", finished_style="green")
        self._line = Line(
            TextColumn("{task.fields[epoch]}"),
            self._bar,
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[time]}"),
            TextColumn("{task.fields[figures]}"),
            console=self._console,
            auto_refresh=False,
        )
        epoch = min(self._before // self._steps + 1, self._epochs)
        texts = {"epoch": self._where(epoch), "time": "", "figures": ""}
        total = self._epochs * self._steps
        self._line.add_task("", total=total, completed=self._before, **texts)
        self._line.start()
        self._began = time.perf_counter()
        self.due = self._began


def _terminal(wanted: Any) -> Any:
    """The console to draw on, if one is wanted and writes to a terminal; otherwise None."""
    if wanted is False or (wanted is True and not _is_terminal(sys.stdout)):
        return None
    if wanted is True:
        from rich.console import Console

        wanted = Console()
    return wanted if wanted.is_terminal and not wanted.is_dumb_terminal else None


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


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # not a stream, or a closed one
        return False


def _clock(seconds: float) -> str:
    """``0:01:15``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _formatted(figures: Mapping[str, float]) -> list[str]:
    """``loss 0.123``, ``validation 0.145``, ``accuracy 0.981`` and so on, in this order."""
    texts = []
    for name, figure in figures.items():
        if name.startswith("validation_"):
            continue
        texts.append(f"{name.replace('_', ' ')} {figure:#.3g}")
        if f"validation_{name}" in figures:
            texts.append(f"validation {figures[f'validation_{name}']:#.3g}")
    return texts


def _as_many_as_fit(texts: list[str], width: int) -> str:
    """As many of the texts as fit, from the first on, but at least one."""
    while len(texts) > 1 and len("  ".join(texts)) > width:
        texts.pop()
    return "  ".join(texts)
