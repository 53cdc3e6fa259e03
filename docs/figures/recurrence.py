"""The figure of the page about recurrence: a step that is unrolled in time."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from neurons import BLUE, GREY, PALE_BLUE, VERMILION, canvas

STEPS = ("1", "2", "3")
X = (3.0, 4.6, 6.2)
"""The middles of the three steps."""


def unrolled() -> Figure:
    """Draw a recurrent layer on the left, and its first three steps on the right."""
    figure, axes = canvas(7.6, 3.9)
    _box(axes, 0.55, 1.95, "$f$")
    _arrow(axes, (0.55, 0.75), (0.55, 1.55), BLUE)
    _arrow(axes, (0.55, 2.35), (0.55, 3.15), BLUE)
    _text(axes, 0.55, 0.5, "$x_t$", BLUE)
    _text(axes, 0.55, 3.4, "$h_t$", BLUE)
    loop = FancyArrowPatch(
        (0.95, 2.12), (0.95, 1.78), connectionstyle="arc3,rad=-2.6", arrowstyle="-|>",
        mutation_scale=11, color=BLUE, lw=1.4, shrinkA=0, shrinkB=0,
    )  # fmt: skip
    axes.add_patch(loop)
    _text(axes, 1.5, 1.4, "$h_{t-1}$", BLUE)
    for n, x in zip(STEPS, X, strict=True):
        _box(axes, x, 1.95, "$f$")
        _arrow(axes, (x - 0.12, 0.75), (x - 0.12, 1.55), BLUE)
        _arrow(axes, (x - 0.12, 2.35), (x - 0.12, 3.15), BLUE)
        _text(axes, x - 0.2, 0.5, f"$x_{n}$", BLUE)
        _text(axes, x - 0.2, 3.42, f"$h_{n}$", BLUE)
        _arrow(axes, (x + 0.12, 3.15), (x + 0.12, 2.35), VERMILION)
        _text(axes, x + 0.32, 3.45, rf"$\frac{{\partial C}}{{\partial y_{n}}}$", VERMILION, 15)
        _arrow(axes, (x + 0.12, 1.55), (x + 0.12, 0.75), VERMILION)
        _text(axes, x + 0.3, 0.48, rf"$\frac{{\partial C}}{{\partial x_{n}}}$", VERMILION, 15)
        end = x + 1.2 if n != "3" else x + 0.95
        _arrow(axes, (x + 0.4, 2.1), (end, 2.1), BLUE)
        _arrow(axes, (end, 1.8), (x + 0.4, 1.8), VERMILION)
    _text(axes, 7.38, 1.95, "…", GREY)
    _arrow(axes, (2.3, 2.1), (2.6, 2.1), BLUE)
    _text(axes, 2.15, 2.1, "$0$", BLUE)
    return figure


def _box(axes: Axes, x: float, y: float, text: str, face: str = PALE_BLUE) -> None:
    box = FancyBboxPatch(
        (x - 0.4, y - 0.4), 0.8, 0.8, boxstyle="round,pad=0,rounding_size=0.08",
        facecolor=face, edgecolor=GREY, lw=1,
    )  # fmt: skip
    axes.add_patch(box)
    _text(axes, x, y, text, "black")


def _text(axes: Axes, x: float, y: float, text: str, color: str, size: float = 13) -> None:
    axes.text(x, y, text, ha="center", va="center", size=size, color=color)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], color: str) -> None:
    arrow = FancyArrowPatch(
        start, end, arrowstyle="-|>", mutation_scale=11, color=color, lw=1.4, shrinkA=0, shrinkB=0
    )
    axes.add_patch(arrow)
