"""Where the parts of a picture are: columns of values from left to right, layers between them.

    x_d = x_{d−1} + half a column + the gap that the layers need + half a column

The depth d of a column is the length of the longest path to it. Columns of equal depth are above
each other, each as near as possible to the columns that it comes from. The unit is an inch.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from attrs import define, field

from chainrule.core.types import Array, Shape

Point: TypeAlias = tuple[float, float]

RADIUS, PITCH, UNKNOWN = 0.23, 0.66, 8
"""The radius of a neuron, the distance of two, and the length of an axis of any size."""
WIDTHS = {"weights": 1.7, "filters": 1.5, "cells": 1.7, "sign": 1.1}
"""The widths of the gaps between columns; other layers need room for their name."""


@define(eq=False)
class Column:
    """The values between two layers.

    Attributes
    ----------
    name, shape, value
        The name of the step that computes them, the shape of a row, and the row, if there is one.
    kind
        ``"neurons"``; ``"series"``, a strip for each step of time; ``"maps"``, an image for each
        channel; or ``"matrix"``, one image of all channels over time.
    is_input
        Whether it is an input of the model.
    has_one
        Whether the next layer has biases, and so a line from an input that is 1.
    notes
        The lines of the caption.
    depth, x, y
        Its place: see `place`.
    lowered
        Where the caption begins, if it is aligned with others.
    """

    name: str
    shape: Shape
    value: Array | None
    kind: str = "neurons"
    is_input: bool = False
    has_one: bool = False
    notes: list[str] = field(factory=list)
    depth: int = 0
    x: float = 0.0
    y: float = 0.0
    lowered: float | None = None

    @property
    def count(self) -> int:
        """The number of items: neurons, maps, or steps of time."""
        if self.kind == "matrix":
            return 1
        size = (self.shape or (1,))[0 if self.kind in ("neurons", "series") else -1]
        return UNKNOWN if size is None else size

    @property
    def item(self) -> tuple[float, float]:
        """The width and the height of an item."""
        if self.kind == "neurons":
            return 2 * RADIUS, 2 * RADIUS
        if self.kind == "series":
            return 0.9, 0.3
        side = 0.8 if self.count > 1 else 1.4
        rows, columns = self.shape[-3:-1] if self.kind == "maps" else self.shape[1::-1]
        share = min(max((rows or UNKNOWN) / (columns or UNKNOWN), 0.4), 1.6)  # height / width
        return side / max(share, 1), side * min(share, 1)

    @property
    def items(self) -> list[int | None]:
        """The items that are drawn, from top to bottom; None is "⋮"."""
        most, first, last = (10, 5, 3) if self.kind == "neurons" else (5, 3, 1)
        if self.count <= most:
            return list(range(self.count))
        return [*range(first), None, *range(self.count - last, self.count)]

    @property
    def pitch(self) -> float:
        """The distance of two items."""
        return PITCH if self.kind in ("neurons", "series") else self.item[1] + 0.16

    @property
    def places(self) -> dict[int | None, Point]:
        """The centre of each item that is drawn, and of "⋮"."""
        middle = (len(self.items) - 1) / 2
        rows = enumerate(self.items)
        return {number: (self.x, self.y + self.pitch * (middle - row)) for row, number in rows}

    def at(self) -> dict[int, Point]:
        """The centre of each item that is drawn."""
        return {number: place for number, place in self.places.items() if number is not None}

    @property
    def top(self) -> float:
        """The upper edge of the first item."""
        return self.y + (self.pitch * (len(self.items) - 1) + self.item[1]) / 2

    @property
    def one(self) -> Point:
        """The centre of the unit that the biases multiply."""
        return self.x, 2 * self.y - self.top - 0.42

    @property
    def foot(self) -> float:
        """Where the caption begins."""
        if self.lowered is not None:
            return self.lowered
        return 2 * self.y - self.top - (0.62 if self.has_one else 0.0)

    @property
    def bottom(self) -> float:
        """Below the caption."""
        return self.foot - 0.42 - 0.2 * max(len(self.notes), 1)

    @property
    def half(self) -> float:
        """Half the width."""
        return self.item[0] / 2

    @property
    def size(self) -> str:
        """The shape, as in ``28 × 28 × 1``."""
        return " × ".join("…" if n is None else f"{n:,}" for n in self.shape) or "1"


@define(eq=False)
class Link:
    """A layer between two columns.

    Attributes
    ----------
    layer, path
        The layer, and its path in the model.
    sources, target
        The columns that it takes, and the one that it makes.
    kind
        ``"weights"``, ``"filters"``, ``"cells"``, ``"sign"``, ``"arrow"`` or ``"box"``.
    label
        What is written at a sign, an arrow or a box.
    """

    layer: Any
    path: str
    sources: list[Column]
    target: Column
    kind: str
    label: str

    @property
    def source(self) -> Column:
        """The first of the columns that it takes."""
        return self.sources[0]

    @property
    def is_two_way(self) -> bool:
        """Whether the cells of a recurrent layer pass their states in both directions."""
        return type(self.layer).__name__ == "Bidirectional"

    @property
    def length(self) -> float:
        """About the length of the label."""
        return 0.09 * len(self.label) + 0.2

    @property
    def width(self) -> float:
        """The width of the gap that it needs."""
        named = max(self.length + (0.8 if self.kind == "box" else 0.35), 1.0)
        return WIDTHS.get(self.kind, named)

    @property
    def end(self) -> Point:
        """Where an arrow to the target ends."""
        return self.target.x - self.target.half - 0.06, self.target.y


def place(columns: list[Column], links: list[Link]) -> None:
    """Put columns of equal depth above each other, near the columns that they come from."""
    x = 0.0
    for depth in range(1 + max(column.depth for column in columns)):
        row = [column for column in columns if column.depth == depth]
        half = max(column.half for column in row)
        gap = max((link.width for link in links if link.target.depth == depth), default=0.0)
        x += gap + half
        for column in row:
            column.x, column.y = x, _wish(column, links)
        row.sort(key=lambda column: -column.y)
        middle = np.mean([column.y for column in row])
        for above, column in pairwise(row):
            column.y = min(column.y, above.bottom - 0.3 - (column.top - column.y))
        shift = middle - np.mean([column.y for column in row])
        for column in row:
            column.y += float(shift)
        x += half
    _align(columns)


def _align(columns: list[Column]) -> None:
    """Put captions at one height, if no column is above another and all are of similar size."""
    if len({column.depth for column in columns}) == len(columns):
        rows = [column for column in columns if column.kind in ("neurons", "series")]
        feet = [column.foot for column in rows]
        for column in rows:
            column.lowered = min(feet) if max(feet) - min(feet) < 2.0 else None


def _wish(column: Column, links: list[Link]) -> float:
    into = [link for link in links if link.target is column]
    ys = [
        source.y  # of cells, that of the series alone: their steps are at its steps
        for link in into
        for source in (link.sources[:1] if link.kind == "cells" else link.sources)
    ]
    return sum(ys) / len(ys) if ys else 0.0
