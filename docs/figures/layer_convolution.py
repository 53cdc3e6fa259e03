"""Figures of the page on convolution: a window on an image, and the three sums on a signal."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from neurons import (
    BLUE,
    GREY,
    LINE,
    PALE_BLUE,
    PALE_VERMILION,
    VERMILION,
    WHITE,
    Place,
    canvas,
    connection,
    neuron,
)

WEIGHTS = "#009E73", "#CC79A7", "#E69F00"
"""The colours of w₀, w₁ and w₂: each is the same in all places."""


def window() -> Figure:
    """Draw an image with zeros around it, a window, the kernel, and the output."""
    figure, axes = canvas(9.2, 4.4)
    _image(axes, (0.2, 0.5), 6, inner=4, marked=(range(1, 4), range(2, 5)))
    axes.text(1.85, 0.15, "$x$, with zeros around it", ha="center", va="center", size=11)
    axes.text(3.9, 2.15, r"$\cdot$", ha="center", va="center", size=16)
    for row in range(3):
        for column in range(3):
            corner = (4.25 + 0.55 * column, 1.325 + 0.55 * (2 - row))
            _cell(axes, corner, WHITE, GREY)
            axes.text(
                corner[0] + 0.275, corner[1] + 0.275, f"$w_{{{row}{column}}}$",
                ha="center", va="center", size=10,
            )  # fmt: skip
    axes.text(5.075, 0.95, "$w$", ha="center", va="center", size=12)
    axes.text(6.25, 2.15, "=", ha="center", va="center", size=14)
    _image(axes, (6.65, 1.05), 4, inner=4, marked=((1,), (2,)), face=PALE_VERMILION, edge=VERMILION)
    axes.text(7.75, 0.7, "$y$", ha="center", va="center", size=12)
    return figure


def _image(
    axes: Axes,
    corner: Place,
    cells: int,
    *,
    inner: int,
    marked: tuple[object, object],
    face: str = PALE_BLUE,
    edge: str = BLUE,
) -> None:
    """Draw a square of cells; the outer ones are zeros, and a window is marked."""
    rows, columns = (tuple(part) for part in marked)  # type: ignore[call-overload]
    margin, side = (cells - inner) // 2, 0.55
    for row in range(cells):
        for column in range(cells):
            place = (corner[0] + side * column, corner[1] + side * (cells - 1 - row))
            is_inner = margin <= min(row, column) and max(row, column) < cells - margin
            _cell(axes, place, face if is_inner else WHITE, edge if is_inner else LINE)
            if not is_inner:
                axes.text(
                    place[0] + side / 2, place[1] + side / 2, "0",
                    ha="center", va="center", size=9, color=GREY,
                )  # fmt: skip
    left = corner[0] + side * columns[0], corner[1] + side * (cells - 1 - rows[-1])
    width, height = side * len(columns), side * len(rows)
    axes.add_patch(Rectangle(left, width, height, fc="none", ec="black", lw=2.6, zorder=5))


def _cell(axes: Axes, corner: Place, face: str, edge: str) -> None:
    axes.add_patch(Rectangle(corner, 0.55, 0.55, fc=face, ec=edge, lw=0.9, zorder=2))


def signal() -> Figure:
    """Draw a signal and its convolution as neurons: forward from below, back from above."""
    figure, axes = canvas(9.2, 4.3)
    for start, title, is_back in ((0.6, "forward", False), (5.5, "backward", True)):
        xs = [(start + 0.8 * n, 0.95) for n in range(5)]
        ys = [(start + 0.8 * n, 3.05) for n in range(5)]
        for i, y in enumerate(ys):
            for k, colour in enumerate(WEIGHTS):
                j = i + k - 1
                if not 0 <= j < 5:
                    continue
                is_marked = j == 2 if is_back else i == 2
                tail, head = (y, xs[j]) if is_back else (xs[j], y)
                connection(
                    axes, tail, head, colour=colour if is_marked else "#dddddd",
                    width=2.6 if is_marked else 1.0, radius=0.27,
                )  # fmt: skip
        for n in range(5):
            is_middle = n == 2
            neuron(axes, xs[n], f"$x_{n}$", radius=0.27, size=10,
                   face=PALE_VERMILION if is_back and is_middle else PALE_BLUE,
                   edge=VERMILION if is_back and is_middle else BLUE)  # fmt: skip
            neuron(axes, ys[n], rf"$\Delta_{n}$" if is_back else f"$y_{n}$", radius=0.27, size=10,
                   face=PALE_VERMILION if is_back else PALE_BLUE,
                   edge=VERMILION if is_back else BLUE)  # fmt: skip
        axes.text(start + 1.6, 3.95, title, ha="center", va="center", size=12)
        for k, colour in enumerate(WEIGHTS):
            x = start + 1.6 + (1 - k if is_back else k - 1)  # in the order of their arrows
            axes.text(x, 0.3, f"$w_{k}$", ha="center", va="center", size=13, color=colour)
    return figure
