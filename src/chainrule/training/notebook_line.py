"""The progress line of a notebook: one output of the cell, replaced in place.

It is HTML without scripts or widgets, so the last state is saved with the notebook and appears
wherever that is shown: nbconvert, GitHub, VS Code. Messages are lines below it.
"""

from __future__ import annotations

from html import escape

from chainrule.core.notebook import LiveOutput
from chainrule.training.progress import Position

TRACK = "color-mix(in srgb, currentColor 15%, transparent)"
RUNNING, COMPLETE, FAILED = "#2f8fce", "#009e73", "#d55e00"
"""The colours of the bar, which the dark and the light theme both show well."""


class NotebookLine:
    """The progress line in an output of a cell."""

    def __init__(self) -> None:
        self._output = LiveOutput()
        self._messages: list[str] = []
        self._ended: tuple[Position, str] | None = None

    def begin(self, position: Position) -> None:
        """Show the line for the first time."""
        self._show(position, RUNNING)

    def draw(self, position: Position) -> None:
        """Show it again, with all messages below."""
        self._show(position, RUNNING)

    def say(self, text: str) -> bool:
        """Add a message. While the line changes, it waits for the next update.

        A signal handler may call it, and sending is not reentrant.
        """
        self._messages.append(text)
        if self._ended is None:
            return False
        self._show(*self._ended)
        return True

    def end(self, position: Position, is_failed: bool) -> None:
        """Show the last state, which is the one that is saved."""
        self._ended = (position, FAILED if is_failed else COMPLETE)
        self._show(*self._ended)

    def _show(self, position: Position, colour: str) -> None:
        self._output.show(_html(position, colour, self._messages), _text(position, self._messages))


def _text(position: Position, messages: list[str]) -> str:
    share = f"{_percentage(position)} %"
    parts = [position.where, share, position.time, *position.figures]
    return "\n".join(["  ".join(filter(None, parts)), *messages])


def _html(position: Position, colour: str, messages: list[str]) -> str:
    """The bar between the text, on one line if it fits, and the messages below."""
    percentage = _percentage(position)
    bar = (
        f'<span role="progressbar" aria-label="training" aria-valuenow="{percentage}" '
        'aria-valuemin="0" aria-valuemax="100" style="flex: 0 1 14em; height: 0.5em; '
        f'border-radius: 0.25em; overflow: hidden; background: {TRACK}">'
        f'<span style="display: block; height: 100%; width: {100 * _share(position):.4g}%; '
        f'background: {colour}"></span></span>'
    )
    quiet = "".join(
        f'<span style="opacity: 0.7">{escape(text)}</span>'
        for text in (f"{percentage} %", position.time)
        if text
    )
    figures = "".join(f"<span>{_with_bold_number(text)}</span>" for text in position.figures)
    lines = "".join(f'<div style="opacity: 0.7">{escape(text)}</div>' for text in messages)
    return (
        '<div style="font-variant-numeric: tabular-nums; line-height: 1.6">'
        '<div style="display: flex; flex-wrap: wrap; align-items: center; column-gap: 1em">'
        f'<span style="white-space: pre">{escape(position.where)}</span>{bar}{quiet}{figures}'
        f"</div>{lines}</div>"
    )


def _with_bold_number(figure: str) -> str:
    """``loss 0.0412``, with the number emphasized."""
    name, _, number = figure.rpartition(" ")
    return f'<span style="opacity: 0.7">{escape(name)}</span> <b>{escape(number)}</b>'


def _share(position: Position) -> float:
    return position.done / max(position.total, 1)


def _percentage(position: Position) -> int:
    return int(100 * _share(position))
