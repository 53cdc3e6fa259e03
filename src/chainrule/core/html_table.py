"""Tables in a notebook: plain HTML that looks right in light and dark themes.

A table takes its colours from the page: text inherits them, and lines are a transparent version of
the text colour. It therefore needs no style sheet and no script, and looks the same in Jupyter, in
VS Code and in a saved page. A viewer that ignores styles, such as GitHub, shows the plain table,
which is complete.

Text is escaped, unless it is `Html`. The first cell of each row is its header.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape

LINE = "color-mix(in srgb, currentColor 30%, transparent)"
FAINT_LINE = "color-mix(in srgb, currentColor 12%, transparent)"
PALE = "opacity: 0.7"
SIDES = {"l": "left", "r": "right"}
TRIANGLE = 1.25
"""The space for the triangle that opens a row, in em."""
OPEN = ' open=""'
HIDDEN = "position: absolute; clip-path: inset(50%); white-space: nowrap"
"""Hidden, but read aloud."""


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
        The widths of the columns, in em; if not given, each is as wide as its cells.
    is_inner
        Whether it is within another table with the same columns; its head is then only read aloud.
    """
    sides = [SIDES[letter] for letter in align]
    titles = "".join(
        f'<th scope="col" style="{_cell(side)}; font-weight: 600; {PALE}">{escaped(text)}</th>'
        for side, text in zip(sides, head, strict=True)
    )
    lines = "".join(_row(row, sides, number in strong) for number, row in enumerate(rows))
    caption = (
        f'<caption style="caption-side: top; text-align: left; padding: 0 0 0.4em; '
        f'color: inherit; font-weight: 600">{escaped(title)}</caption>'
        if title
        else ""
    )
    columns = "".join(f'<col style="width: {width:g}em"/>' for width in widths)
    size = "margin: 0; font-size: 1em" if is_inner else "margin: 0.5em 0; font-size: 0.93em"
    if widths:
        size += f"; table-layout: fixed; width: {sum(widths):g}em"
    table = (
        '<table class="chainrule" style="border-collapse: collapse; border: 0; color: inherit; '
        f'line-height: 1.4; font-variant-numeric: tabular-nums; {size}">'
        f"{caption}<colgroup>{columns}</colgroup>"
        f'<thead style="{HIDDEN if is_inner else f"border-bottom: 1px solid {LINE}"}">'
        f"<tr>{titles}</tr></thead><tbody>{lines}</tbody></table>"
    )
    below = "".join(f"<div>{escaped(note)}</div>" for note in notes)
    if below:
        below = f'<div style="{PALE}; font-size: 0.93em; margin: 0.4em 0 0.8em">{below}</div>'
    # On a narrow page it scrolls in its own box, which the keyboard reaches.
    return Html(f'<div tabindex="0" style="overflow-x: auto">{table}{below}</div>')


def escaped(text: str) -> str:
    """The text as HTML."""
    return text if isinstance(text, Html) else escape(text)


def pale(text: str) -> Html:
    """Text that is less important."""
    return Html(f'<span style="{PALE}; font-weight: 400">{escaped(text)}</span>')


def folded(
    cells: Sequence[str], widths: Sequence[float], align: str, content: str, is_open: bool
) -> Html:
    """A row that opens to show more: cells in columns of these widths, after a triangle."""
    spans = "".join(
        f'<span style="display: inline-block; width: {width:g}em; box-sizing: border-box; '
        f'{_cell(SIDES[letter])}; vertical-align: baseline">{escaped(cell)}</span>'
        for cell, width, letter in zip(cells, widths, align, strict=True)
    )
    return Html(
        f'<details{OPEN * is_open}><summary style="cursor: pointer; margin-left: {TRIANGLE}em; '
        f"list-style-position: outside; white-space: nowrap; "
        f'border-bottom: 1px solid {FAINT_LINE}">{spans}</summary>'
        f"{escaped(content)}</details>"
    )


def beside_triangles(text: str) -> Html:
    """The text of a first cell in line with those of rows that open."""
    return Html(f'<span style="margin-left: {TRIANGLE}em">{escaped(text)}</span>')


def _row(cells: Sequence[str], sides: Sequence[str], is_strong: bool) -> str:
    line = f'<tr style="background: none; border-bottom: 1px solid {FAINT_LINE}">'
    if len(cells) == 1:
        style = "text-align: left; padding: 0" if isinstance(cells[0], Html) else _cell("left")
        line = '<tr style="background: none">' if isinstance(cells[0], Html) else line
        return f'{line}<td colspan="{len(sides)}" style="{style}">{escaped(cells[0])}</td></tr>'
    texts = []
    for number, (side, cell) in enumerate(zip(sides, cells, strict=True)):
        style = _cell(side)
        if is_strong or number == 0:
            style += f"; font-weight: {600 if is_strong else 400}"
        if cell != cell.strip() or "\n" in cell:
            style += "; white-space: pre-wrap"
        tag, scope = ("td", "") if number else ("th", ' scope="row"')
        texts.append(f'<{tag}{scope} style="{style}">{escaped(cell)}</{tag}>')
    return f"{line}{''.join(texts)}</tr>"


def _cell(side: str) -> str:
    """What notebooks would set otherwise."""
    return f"text-align: {side}; vertical-align: top; padding: 0.25em 1.6em 0.25em 0"
