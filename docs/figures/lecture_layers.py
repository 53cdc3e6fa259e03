"""Figures of the lecture's fourth page: layers, the arrays they exchange, and every shape."""

from __future__ import annotations

from itertools import pairwise

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from neurons import BLUE, GREY, PALE_BLUE, PALE_GREY, VERMILION, canvas

HALF = 0.62
"""Half the width of a box in a row."""


def one_step() -> Figure:
    """Draw a Dense between two Activations, and mark the pairs that the lecture combines."""
    figure, axes = canvas(6.6, 4.1)
    for x, name in ((1.45, "Activation"), (3.3, "Dense"), (5.15, "Activation")):
        face = PALE_BLUE if name == "Dense" else PALE_GREY
        _box(axes, (x - HALF, 1.55), 2 * HALF, 1.1, face)
        axes.text(x, 2.1, name, ha="center", va="center", size=10.5)
    up = ["$z^{(n-1)}$", "$y^{(n-1)}$", "$z^{(n)}$", "$y^{(n)}$"]
    down = [r"$\Delta^{(n-1)}$", r"$\frac{\partial C}{\partial y^{(n-1)}}$", r"$\Delta^{(n)}$"]
    down.append(r"$\frac{\partial C}{\partial y^{(n)}}$")
    ends = [(0.1, 0.83), (2.07, 2.68), (3.92, 4.53), (5.77, 6.5)]
    for (start, end), above, below in zip(ends, up, down, strict=True):
        middle = (start + end) / 2
        _arrow(axes, (start, 2.36), (end, 2.36), BLUE)
        _arrow(axes, (end, 1.84), (start, 1.84), VERMILION)
        axes.text(middle, 2.86, above, ha="center", va="center", size=13.5, color=BLUE)
        size = 16 if "frac" in below else 13.5
        axes.text(middle, 1.2, below, ha="center", va="center", size=size, color=VERMILION)
    _bracket(axes, 2.68, 5.77, 3.3, 0.14, BLUE, "forward: one step of the lecture")
    _bracket(axes, 0.83, 3.92, 0.72, -0.14, VERMILION, "backward: one step of the lecture")
    return figure


def three_layers() -> Figure:
    """Draw a stack of three layers, the values that go up, and the deltas that come down."""
    sizes, batch = (2, 4, 3, 1), 5
    figure, axes = canvas(6.6, 12.35)
    y = 0.35
    axes.text(3.3, y, "the data", ha="center", va="center", size=10.5, color=GREY)
    y += 0.3
    y = _between(axes, y, f"$y^{{(0)}}$   ({batch}, {sizes[0]})", "", is_asked=False)
    for n, (below, here) in enumerate(pairwise(sizes), start=1):
        y = _parameters(axes, y, n, below, here)
        shape = f"({batch}, {here})"
        y = _between(axes, y, f"$z^{{({n})}}$   {shape}", rf"$\Delta^{{({n})}}$   {shape}")
        y = _activation(axes, y, n, shape)
        y = _between(
            axes, y, f"$y^{{({n})}}$   {shape}", rf"$\partial C/\partial y^{{({n})}}$   {shape}"
        )
    axes.text(3.3, y + 0.22, "the cost", ha="center", va="center", size=10.5, color=GREY)
    return figure


def _parameters(axes: Axes, y: float, n: int, below: int, here: int) -> float:
    """Draw the box of a Dense: its parameters and their gradients, which have the same shapes."""
    _box(axes, (0.3, y), 6.0, 1.2, PALE_BLUE)
    axes.text(3.3, y + 0.95, f"Dense({here})", ha="center", va="center", size=10.5)
    w, b = f"({below}, {here})", f"({here},)"
    axes.text(0.5, y + 0.6, f"$w^{{({n})}}$   {w}", va="center", size=12.5)
    axes.text(0.5, y + 0.24, f"$b^{{({n})}}$   {b}", va="center", size=12.5)
    for letter, shape, height in (("w", w, 0.6), ("b", b, 0.24)):
        text = rf"$\partial C/\partial {letter}^{{({n})}}$   {shape}"
        axes.text(6.1, y + height, text, ha="right", va="center", size=12.5, color=VERMILION)
    return y + 1.2


def _activation(axes: Axes, y: float, n: int, shape: str) -> float:
    _box(axes, (0.3, y), 6.0, 0.62, PALE_GREY)
    axes.text(3.3, y + 0.31, "Activation", ha="center", va="center", size=10.5)
    axes.text(0.5, y + 0.31, "$f$", va="center", size=12.5)
    axes.text(6.1, y + 0.31, f"$f'(z^{{({n})}})$   {shape}", ha="right", va="center", size=12.5)
    return y + 0.62


def _between(axes: Axes, y: float, up: str, down: str, *, is_asked: bool = True) -> float:
    """Draw the values that go up on the left and the deltas that come down on the right."""
    top = y + 0.74
    _arrow(axes, (2.5, y + 0.05), (2.5, top - 0.05), BLUE)
    axes.text(2.3, y + 0.37, up, ha="right", va="center", size=12.5, color=BLUE)
    if is_asked:
        _arrow(axes, (4.1, top - 0.05), (4.1, y + 0.05), VERMILION)
        axes.text(4.3, y + 0.37, down, va="center", size=12.5, color=VERMILION)
    return top


def _box(axes: Axes, corner: tuple[float, float], width: float, height: float, face: str) -> None:
    style = "round,pad=0,rounding_size=0.1"
    box = plt.matplotlib.patches.FancyBboxPatch(
        corner, width, height, boxstyle=style, facecolor=face, edgecolor=GREY, lw=1.1
    )
    axes.add_patch(box)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    style = {"arrowstyle": "-|>", "color": colour, "lw": 1.6, "mutation_scale": 12}
    axes.annotate("", xy=end, xytext=start, arrowprops=style | {"shrinkA": 0, "shrinkB": 0})


def _bracket(
    axes: Axes, left: float, right: float, y: float, depth: float, colour: str, text: str
) -> None:
    """Draw a bracket that opens towards the boxes that it spans."""
    axes.plot([left, left, right, right], [y, y + depth, y + depth, y], color=colour, lw=1.3)
    middle = (left + right) / 2
    axes.text(middle, y + 2.6 * depth, text, ha="center", va="center", size=10.5, color=colour)
