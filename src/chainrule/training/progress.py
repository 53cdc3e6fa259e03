"""Progress: one line in the terminal or the notebook that shows how far a training run is.

    epoch  7/20 ━━━━━━━━━━━━╸━━━━━━━━━━━━━━━  34 % 0:00:12 left  loss 0.0412  validation 0.0533

The remaining time assumes that the steps to come take as long as those so far:

    left = elapsed (steps to go) / (steps done)

In a resumed run the line starts where the run was, and the time counts only the steps of this
process. Messages are printed above the line, in a notebook below it.

The line is drawn at most ten times a second, in a terminal with rich (`chainrule.training.
terminal_line`) and in a notebook as HTML (`chainrule.training.notebook_line`). In a file, a pipe or
a test nothing is printed, and rich is not even imported.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from attrs import evolve, frozen

from chainrule.core import notebook
from chainrule.core.terminal import is_terminal

PERIOD = 0.1
"""Seconds between two updates of the line."""


@frozen
class Position:
    """What the line shows.

    Attributes
    ----------
    where
        ``epoch  7/20``.
    done, total
        Steps.
    time
        ``0:00:12 left``; at the end ``in 0:00:36``.
    figures
        ``loss 0.0412``, ``validation 0.0533`` and so on.
    """

    where: str
    done: int
    total: int
    time: str = ""
    figures: tuple[str, ...] = ()


class Line(Protocol):
    """What draws the line: a terminal or a notebook."""

    def begin(self, position: Position) -> None:
        """Draw the line for the first time."""

    def draw(self, position: Position) -> None:
        """Draw it again, below the messages that wait."""

    def say(self, text: str) -> bool:
        """Print a message; False if it waits until the line is drawn again."""

    def end(self, position: Position, is_failed: bool) -> None:
        """Leave the line as it is, and print the messages that wait."""


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
        self._line = _line(wanted)
        self._epochs, self._steps, self._before, self._unit = epochs, steps, done, unit
        self._began = 0.0
        self._figures: dict[str, float] = {}
        epoch = min(done // steps + 1, epochs)
        self._position = Position(self._where(epoch), done, epochs * steps)

    def __enter__(self) -> Self:
        if self._line is not None:
            self._line.begin(self._position)
            self.due = self._began = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.due = math.inf
        if self._line is not None:
            elapsed = time.perf_counter() - self._began
            ended = evolve(self._position, time=f"in {_clock(elapsed)}")
            self._line.end(ended, is_failed=error is not None)

    def say(self, text: str) -> None:
        """Print a message at once, beside the line if there is one; without a line do nothing.

        It can be called from anywhere, even from a signal handler that interrupted the drawing of
        the line. Where writing is impossible then, the message waits for the next update.

        Parameters
        ----------
        text
            Such as ``"stopping after this step; press Ctrl-C again to stop at once"``.
        """
        if self._line is not None and not self._line.say(text) and self.due < math.inf:
            self.due = 0.0

    def show(self, epoch: int, step: int, figures: Mapping[str, float]) -> None:
        """Redraw the line after a step of an epoch, both counted from 1.

        Figures that are not given, such as those of the last validation, keep their values.
        """
        if self._line is None or self.due == math.inf:
            return
        now = time.perf_counter()
        self.note(figures)
        done, total = (epoch - 1) * self._steps + step, self._epochs * self._steps
        elapsed = now - self._began
        left = elapsed * (total - done) / max(done - self._before, 1)
        self._position = Position(
            self._where(epoch),
            done,
            total,
            f"{_clock(left)} left" if done < total else f"in {_clock(elapsed)}",
            tuple(_formatted(self._figures)),
        )
        self.due = now + PERIOD
        self._line.draw(self._position)

    def note(self, figures: Mapping[str, float]) -> None:
        """Keep figures for the next update of the line."""
        self._figures.update(figures)

    def _where(self, epoch: int) -> str:
        return f"{self._unit} {epoch:>{len(str(self._epochs))}}/{self._epochs}"


def _line(wanted: Any) -> Line | None:
    """What draws the line, if one is wanted and can be drawn; otherwise None."""
    if wanted is False:
        return None
    if (wanted is True or wanted.is_jupyter) and notebook.is_kernel():
        from chainrule.training.notebook_line import NotebookLine

        return NotebookLine()
    if wanted is True and not is_terminal():
        return None
    from chainrule.training.terminal_line import TerminalLine

    return TerminalLine.on(wanted)


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
