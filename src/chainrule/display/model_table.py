"""A model in a notebook: its layers as a table in which containers open and close.

    layer                           output         parameters
    dense_1        Dense(30)        (batch, 30)         1,950
    ▸ residual_1   Residual         (batch, 30)           930

The parameters of a container are those of the layers inside, each counted once.
"""

from __future__ import annotations

from chainrule.core.html_table import Html, escaped, folded, html_table, pale
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.tree import snake_case
from chainrule.display.summary import configuration, notes, summary

HEAD, ALIGN = ("layer", "", "output", "parameters"), "lllr"
WIDTHS = (13.0, 17.0, 11.0, 6.0)
"""Of the columns, in em; the inner tables have the same, so that their columns are in line."""
INDENT = 1.2
"""How much an inner table is indented, in em."""
SHOWN, DEEPEST, OPEN = 40, 6, 8
"""How many layers of a container are shown, how deep, and how many in one that is open at first."""


def model_table(model: Layer) -> str:
    """The layers of a model as HTML, with the sizes of what they hold."""
    children = model.children()
    if not children:
        name = snake_case(type(model).__name__)
        return html_table(HEAD, [_row(name, model, {})], ALIGN, widths=WIDTHS)
    rows = _rows(children, 1, {})
    name = type(model).__name__
    return html_table(HEAD, rows, ALIGN, title=name, notes=notes(summary(model)), widths=WIDTHS)


def _rows(children: dict[str, Layer], depth: int, seen: dict[int, str]) -> list[list[str]]:
    rows: list[list[str]] = []
    items = list(children.items())
    for number, (name, layer) in enumerate(items):
        if len(items) > SHOWN and SHOWN // 2 <= number < len(items) - SHOWN // 2:
            if number == SHOWN // 2:
                rows.append([f"… {len(items) - SHOWN:,} more …"])
            continue
        inner = layer.children()
        row = _row(name, layer, seen)
        is_known = id(layer) in seen
        seen.setdefault(id(layer), name)
        if inner and depth < DEEPEST and not is_known:
            table = _indented(_rows(inner, depth + 1, seen), depth)
            row = [folded(_in_columns(row, depth), table, is_open=depth == 1 and len(inner) <= OPEN)]
        rows.append(row)
    return rows


def _row(name: str, layer: Layer, seen: dict[int, str]) -> list[str]:
    if layer.is_built:
        shapes = "\n".join(map(batch_of, layer.output_shapes))
        count = f"{layer.parameters.size:,}"
        frozen = sum(not parameter.trainable for parameter in layer.parameters)
        if frozen:
            count += " frozen" if frozen == len(layer.parameters) else " (some frozen)"
    else:
        shapes, count = "?", "?"
    if id(layer) in seen:
        count = f"as {seen[id(layer)]}"
    return [name, pale(configuration(layer)), shapes, count]


def _in_columns(cells: list[str], depth: int) -> Html:
    """The cells side by side, as wide as the columns of the table."""
    name, *others = cells
    parts = [f'<span style="{_column(0, depth, INDENT)}">{escaped(name)}</span>']
    for number, cell in enumerate(others, start=1):
        parts.append(f'<span style="{_column(number, depth)}">{escaped(cell)}</span>')
    return Html("".join(parts))


def _indented(rows: list[list[str]], depth: int) -> Html:
    widths = (WIDTHS[0] - INDENT * depth, *WIDTHS[1:])
    table = html_table(HEAD, rows, ALIGN, widths=widths, is_inner=True)
    return Html(f'<div style="padding-left: {INDENT}em">{table}</div>')
