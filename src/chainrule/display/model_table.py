"""A model in a notebook: its layers as a table in which containers open and close.

    layer                           output         parameters
    dense_1        Dense(30)        (batch, 30)         1,950
    ▸ residual_1   Residual         (batch, 30)           930

The parameters of a container are those of the layers inside, each counted once.
"""

from __future__ import annotations

from chainrule.core.html_table import (
    TRIANGLE,
    Html,
    beside_triangles,
    folded,
    html_table,
    pale,
)
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.tree import snake_case
from chainrule.display.summary import configuration, notes, summary

HEAD, ALIGN = ("layer", "configuration", "output", "parameters"), "lllr"
WIDTHS = (14.0, 15.0, 12.0, 9.0)
"""Of the columns, in em; the inner tables have the same, so that their columns are in line."""
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
    return html_table(HEAD, rows, ALIGN, title=name, notes=notes(summary(model))[:1], widths=WIDTHS)


def _rows(children: dict[str, Layer], depth: int, seen: dict[int, str]) -> list[list[str]]:
    rows: list[list[str]] = []
    items = list(children.items())
    opens = any(layer.children() for layer in children.values())
    for number, (name, layer) in enumerate(items):
        if len(items) > SHOWN and SHOWN // 2 <= number < len(items) - SHOWN // 2:
            if number == SHOWN // 2:
                rows.append([f"… {len(items) - SHOWN:,} more …"])
            continue
        row, inner = _row(name, layer, seen), layer.children()
        is_new = id(layer) not in seen
        seen.setdefault(id(layer), name)
        if inner and depth < DEEPEST and is_new:
            is_open = depth == 1 and len(inner) <= OPEN
            widths = (_widths(depth)[0] - TRIANGLE, *WIDTHS[1:])
            row = [
                folded(
                    row,
                    widths,
                    ALIGN,
                    _inner_table(_rows(inner, depth + 1, seen), depth + 1),
                    is_open,
                )
            ]
        elif opens or depth > 1:  # the parts of a container are to the right of its name
            row[0] = beside_triangles(row[0])
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


def _inner_table(rows: list[list[str]], depth: int) -> Html:
    table = html_table(HEAD, rows, ALIGN, widths=_widths(depth), is_inner=True)
    return Html(f'<div style="margin-left: {TRIANGLE}em">{table}</div>')


def _widths(depth: int) -> tuple[float, ...]:
    """The widths at a depth, so that the columns of all tables are in line."""
    return (WIDTHS[0] - TRIANGLE * (depth - 1), *WIDTHS[1:])
