"""Tables in a notebook: plain HTML that looks right in a light and in a dark theme.

A table takes its colours from the page: text inherits them, lines are the colour of the text made
transparent. So it needs no style sheet and no script, and is the same in Jupyter, in VS Code, in a
saved page. What shows no style, such as GitHub, shows the bare table, which is complete.

Text is escaped, unless it is `Html`. The cells of the first column are the headers of their rows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape

LINE = "color-mix(in srgb, currentColor 30%, transparent)"
FAINT_LINE = "color-mix(in srgb, currentColor 12%, transparent)"
PALE = "opacity: 0.7"
SIDES = {"l": "left", "r": "right"}
HIDDEN = "; visibility: collapse"


class Html(str):
    """Text that is HTML already."""


def html_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    align: str,
    *,
    title: str = "",
    notes: Sequence[str] = (),
    strong: Collection[int] = (),
    widths: Sequence[float] = (),
    is_inner: bool = False,
) -> Html:
    """A table with a header for each column and each row.

    Parameters
    ----------
    head
        The titles of the columns.
    rows
        The cells. A row of one cell is as wide as the table.
    align
        A letter for each column, as in LaTeX: l or r.
    title
        The caption above it.
    notes
        Lines below it.
    strong
        The numbers of the rows that are emphasized.
    widths
        The least widths of the columns, in em.
    is_inner
        Whether it is within another table with the same columns, so that its head is only for those
        who cannot see the outer one.
    """
    sides = [SIDES[letter] for letter in align]
    least = [f"; min-width: {width}em" for width in widths] or [""] * len(sides)
    titles = "".join(
        f'<th scope="col" style="{_cell(side)}; font-weight: 600; {PALE}; '
        f'border-bottom: 1px solid {LINE}{width}">{escaped(text)}</th>'
        for side, text, width in zip(sides, head, least, strict=True)
    )
    lines = "".join(_row(row, sides, number in strong) for number, row in enumerate(rows))
    caption = (
        f'<caption style="caption-side: top; text-align: left; padding: 0 0 0.4em; '
        f'color: inherit; font-weight: 600">{escaped(title)}</caption>'
        if title
        else ""
    )
    table = (
        f'<table style="border-collapse: collapse; border: 0; margin: {"0" if is_inner else "0.5em 0"}; '
        f'color: inherit; font-variant-numeric: tabular-nums; line-height: 1.4">{caption}'
        f'<thead style="border: 0{HIDDEN * is_inner}"><tr>{titles}</tr></thead>'
        f"<tbody>{lines}</tbody></table>"
    )
    below = "".join(f"<div>{escaped(note)}</div>" for note in notes)
    return Html(table + (f'<div style="{PALE}; margin: 0.4em 0 0.8em">{below}</div>' * bool(below)))


def escaped(text: str) -> str:
    """The text as HTML."""
    return text if isinstance(text, Html) else escape(text)


def pale(text: str) -> Html:
    """Text that is less important."""
    return Html(f'<span style="{PALE}">{escaped(text)}</span>')


def folded(summary: str, content: str) -> Html:
    """A line that opens to show more."""
    return Html(
        f'<details><summary style="cursor: pointer">{escaped(summary)}</summary>'
        f"{escaped(content)}</details>"
    )


def _row(cells: Sequence[str], sides: Sequence[str], is_strong: bool) -> str:
    if len(cells) == 1:
        only = f'<td colspan="{len(sides)}" style="{_cell("left")}">{escaped(cells[0])}</td>'
        return f'<tr style="background: none">{only}</tr>'
    weight = 600 if is_strong else 400
    texts = []
    for number, (side, cell) in enumerate(zip(sides, cells, strict=True)):
        tag, scope = ("td", "") if number else ("th", ' scope="row"')
        style = f"{_cell(side)}; font-weight: {weight}; border-bottom: 1px solid {FAINT_LINE}"
        texts.append(f'<{tag}{scope} style="{style}">{escaped(cell)}</{tag}>')
    return f'<tr style="background: none">{"".join(texts)}</tr>'


def _cell(side: str) -> str:
    """The style of a cell; each part overrides one that notebooks set."""
    return (
        f"text-align: {side}; vertical-align: top; padding: 0.25em 1.6em 0.25em 0; border: 0; "
        "background: none; max-width: none; white-space: pre-wrap"
    )
