"""Progress: one line in the terminal that says how far a training run is.

    epoch  7/20 ━━━━━━━━━━━━╸━━━━━━━━━━━━━━━  34 % 0:00:12 left  loss 0.0412  validation 0.0533

The time that is left is what all steps together would take if they took as long as those before:

    left = elapsed (steps to go) / (steps done)

In a run that is resumed the line begins where the run was, and the time is that of the steps that
this program has taken.

What there is to say besides stands above the line.

The line is drawn with rich, at most ten times a second, and only where there is a terminal: in a
file, a pipe or a test nothing at all is printed, and rich is not even loaded.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

PERIOD = 0.1
"""Seconds between two drawings of the line."""
TO_THE_BEGINNING = "\r\x1b[2K"
"""What wipes out the bar, in whose place something is said; it is drawn anew below that."""
SHORTEST, LONGEST = 6, 40
"""Between which widths the bar takes the room that the words leave."""


class Progress:
    """The line, between ``with`` and the end of its block, however that is left.

    Parameters
    ----------
    wanted
        True or False, or a rich Console to draw on.
    epochs, steps
        How many epochs there will be, and how many steps in each.
    done
        How many steps were taken before, in the run that is resumed.

    Attributes
    ----------
    due : float
        The time, as `time.perf_counter` tells it, when `show` is to be called next. Where nothing
        is drawn, never.
    """

    def __init__(self, wanted: Any, epochs: int, steps: int, done: int = 0) -> None:
        self.due = math.inf
        self._console = _terminal(wanted)
        self._epochs, self._steps, self._before = epochs, steps, done
        self._line: Any = None
        self._bar: Any = None
        self._began = 0.0
        self._figures: dict[str, float] = {}
        self._to_say: list[str] = []

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
        self._say_it()

    def say(self, text: str) -> None:
        """Print a line at once: above the bar while that is drawn; without a terminal nothing.

        It may be called from anywhere, also where a signal has broken off the drawing of the bar:
        it does not go through rich, or through Python's buffer, neither of which can be entered
        twice, but straight to the terminal. Where there is no way to do that, such as in a
        notebook, it waits until the bar is drawn the next time.

        Parameters
        ----------
        text
            Such as ``"stopping after this step; press Ctrl-C again to stop at once"``.
        """
        if self._console is None:
            return
        is_drawn = self._line is not None
        if _write_at_once(self._console, (TO_THE_BEGINNING if is_drawn else "") + text):
            return
        self._to_say.append(text)
        if is_drawn:
            self.due = 0.0
        else:
            self._say_it()

    def _say_it(self) -> None:
        while self._to_say:
            text = self._to_say.pop(0)
            if self._console is not None:
                self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, epoch: int, step: int, figures: Mapping[str, float]) -> None:
        """Draw the line anew, after a step of an epoch, both counted from 1.

        Figures that are not given anew, such as those of the last validation, stay.
        """
        if self._line is None:
            return
        self._say_it()
        now = time.perf_counter()
        self.due = now + PERIOD
        self.note(figures)
        done, total = (epoch - 1) * self._steps + step, self._epochs * self._steps
        elapsed = now - self._began
        left = elapsed * (total - done) / max(done - self._before, 1)
        where = self._where(epoch)
        when = f"{_clock(left)} left" if done < total else f"in {_clock(elapsed)}"
        room = self._console.width - len(f"{where}   {100} %  {when}  ")
        text = _as_many_as_fit(_spoken(self._figures), room - SHORTEST)
        self._bar.bar_width = min(max(room - len(text), SHORTEST), LONGEST)
        self._line.update(
            0, completed=done, epoch=where, time=when, figures=f" {text}", refresh=True
        )  # fmt: skip

    def note(self, figures: Mapping[str, float]) -> None:
        """Keep figures for the next time that the line is drawn."""
        self._figures.update(figures)

    def _where(self, epoch: int) -> str:
        return f"epoch {epoch:>{len(str(self._epochs))}}/{self._epochs}"

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
        begun = {"epoch": self._where(epoch), "time": "", "figures": ""}
        total = self._epochs * self._steps
        self._line.add_task("", total=total, completed=self._before, **begun)
        self._line.start()
        self._began = time.perf_counter()
        self.due = self._began


def _terminal(wanted: Any) -> Any:
    """The console to draw on, if one is wanted and there is a terminal behind it."""
    if wanted is False or (wanted is True and not _is_terminal(sys.stdout)):
        return None
    if wanted is True:
        from rich.console import Console

        wanted = Console()
    return wanted if wanted.is_terminal and not wanted.is_dumb_terminal else None


def _write_at_once(console: Any, text: str) -> bool:
    """Write a line past rich and Python's buffer; False where that cannot be done."""
    if console.is_jupyter or console.legacy_windows:
        return False
    line = f"{text}\n".encode(console.encoding, "replace")
    try:
        os.write(console.file.fileno(), line)
    except (AttributeError, OSError, ValueError):  # nothing of the system's stands behind it
        return False
    return True


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # no stream at all, or a closed one
        return False


def _clock(seconds: float) -> str:
    """``0:01:15``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _spoken(figures: Mapping[str, float]) -> list[str]:
    """``loss 0.123``, ``validation 0.145``, ``accuracy 0.981`` and so on, in this order."""
    texts = []
    for name, figure in figures.items():
        if name.startswith("validation_"):
            continue
        texts.append(f"{name.replace('_', ' ')} {figure:#.3g}")
        if f"validation_{name}" in figures:
            texts.append(f"validation {figures[f'validation_{name}']:#.3g}")
    return texts


def _as_many_as_fit(texts: list[str], room: int) -> str:
    """The first of them, at least one; those for which the line is too narrow are left out."""
    while len(texts) > 1 and len("  ".join(texts)) > room:
        texts.pop()
    return "  ".join(texts)
