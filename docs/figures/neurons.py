"""How neurons, connections and arrays are drawn on the pages of the lecture.

Values run forward in blue, Δ runs backward in vermilion, everything else is grey. A neuron is a
circle of radius `RADIUS`; a connection runs from the edge of one neuron to the edge of another,
with its weight on the line.
"""

from __future__ import annotations

from typing import TypeAlias

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Place: TypeAlias = tuple[float, float]

BLUE, VERMILION, GREY, LINE = "#0072B2", "#D55E00", "#555555", "#8a8a8a"
PALE_BLUE, PALE_VERMILION, PALE_GREY, WHITE = "#dcebf7", "#fbe3d3", "#eeeeee", "#ffffff"
RADIUS = 0.34


def canvas(
    width: float, height: float, *, inches: float = 4.6, origin: Place = (0.0, 0.0)
) -> tuple[Figure, Axes]:
    """Return an empty drawing, `width` × `height` units, without axes and with equal scales."""
    figure, axes = plt.subplots(figsize=(inches, inches * height / width), layout="none")
    axes.set_position((0, 0, 1, 1))
    x, y = origin
    axes.set(xlim=(x, x + width), ylim=(y, y + height), aspect="equal")
    axes.axis("off")
    return figure, axes


def neuron(
    axes: Axes,
    place: Place,
    text: str = "",
    *,
    face: str = PALE_BLUE,
    edge: str = BLUE,
    radius: float = RADIUS,
    size: float = 12,
) -> None:
    """Draw a neuron, with its value inside."""
    axes.add_patch(plt.Circle(place, radius, facecolor=face, edgecolor=edge, lw=1.5, zorder=3))
    axes.text(*place, text, ha="center", va="center", size=size, zorder=4)


def connection(
    axes: Axes,
    start: Place,
    end: Place,
    text: str = "",
    *,
    at: float = 0.5,
    colour: str = LINE,
    ink: str = "black",
    size: float = 11,
    radius: float = RADIUS,
    width: float = 1.3,
    gap: float = 0.3,
) -> None:
    """Draw an arrow from the edge of one neuron to that of another, with a gap for its weight."""
    from_, to = np.array(start), np.array(end)
    along = (to - from_) / np.linalg.norm(to - from_)
    tail, head = from_ + radius * along, to - (radius + 0.03) * along
    if text:
        middle = tail + at * (head - tail)
        axes.text(*middle, text, color=ink, size=size, ha="center", va="center", zorder=5)
        before, after = middle - gap * along, middle + gap * along
        axes.plot(*zip(tail, before, strict=True), color=colour, lw=width, zorder=2)
        tail = after
    style = {"arrowstyle": "-|>", "color": colour, "lw": width}
    style |= {"shrinkA": 0, "shrinkB": 0, "mutation_scale": 11}
    axes.annotate("", xy=tuple(head), xytext=tuple(tail), arrowprops=style, zorder=2)
