"""Figures of the lecture's third page: orders of multiplication, the batch, the three steps."""

from __future__ import annotations

import itertools
from typing import TypeAlias

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from neurons import (
    BLUE,
    GREY,
    PALE_BLUE,
    PALE_GREY,
    PALE_VERMILION,
    VERMILION,
    WHITE,
    Place,
    canvas,
    connection,
    neuron,
)

Shape: TypeAlias = tuple[int, int]

UNIT = 1.0 / 150
"""A matrix of 150 rows is drawn one unit high."""


def orders() -> Figure:
    """Draw the products to scale, multiplied from the left and from the right."""
    figure, axes = canvas(6.0, 5.75)
    row_100, row_150, m_3, m_2 = (1, 100), (1, 150), (100, 150), (150, 150)
    axes.text(0.15, 5.55, "from the left: a row is carried down", va="center", size=10.5)
    _product(axes, 4.75, row_100, m_3)
    _product(axes, 3.55, row_150, m_2)
    axes.text(0.15, 2.7, "from the right: a matrix is computed first", va="center", size=10.5)
    _product(axes, 1.68, m_3, m_2)
    _product(axes, 0.42, row_100, m_3)
    return figure


def _product(axes: Axes, y: float, left: Shape, right: Shape) -> None:
    """Draw two arrays, their product, and the number of multiplications."""
    result, count = (left[0], right[1]), left[0] * left[1] * right[1]
    for x, shape, sign in ((0.15, left, "·"), (1.5, right, "="), (2.85, result, "")):
        _block(axes, (x, y), *shape, is_result=not sign)
        axes.text(x + 1.18, y, sign, ha="center", va="center", size=13)
    axes.text(5.85, y, f"{count:,}", ha="right", va="center", size=11, color=VERMILION)


def _block(axes: Axes, place: Place, rows: int, columns: int, *, is_result: bool) -> None:
    width, height = columns * UNIT, max(rows * UNIT, 0.09)
    face, edge = (PALE_VERMILION, VERMILION) if is_result or rows == 1 else (PALE_BLUE, BLUE)
    x = place[0] + (1 - width) / 2
    axes.add_patch(Rectangle((x, place[1] - height / 2), width, height, fc=face, ec=edge, lw=1.3))
    text, above = f"{rows} × {columns}", place[1] + height / 2 + 0.14
    axes.text(place[0] + 0.5, above, text, ha="center", va="center", size=9)


def counts(ways: dict[str, int]) -> Figure:
    """Draw the number of multiplications for each way to the gradient, the best way first."""
    figure, axes = plt.subplots(figsize=(4.6, 2.5))
    places = range(len(ways), 0, -1)
    colours = [VERMILION, *[BLUE] * (len(ways) - 1)]
    axes.barh(places, list(ways.values()), height=0.34, color=colours)
    for place, (name, count) in zip(places, ways.items(), strict=True):
        axes.text(1.2e3, place + 0.37, f"{name}: {count:,}", ha="left", va="center", size=10)
    axes.set_xscale("log")
    axes.set(xlim=(1e3, 1e10), ylim=(0.6, 4.7), yticks=[], xlabel="multiplications")
    axes.spines["left"].set_visible(False)
    return figure


def batch() -> Figure:
    """Draw y and Δ with a row for each sample, the product of a pair of rows, and the average."""
    figure, axes = canvas(6.8, 4.6)
    axes.text(1.25, 4.3, r"$y^{(n-1)}$", ha="center", va="center", size=14, color=BLUE)
    axes.text(3.55, 4.3, r"$\Delta^{(n)}$", ha="center", va="center", size=14, color=VERMILION)
    _grid(axes, (0.65, 2.3), 4, 3, PALE_BLUE, BLUE, marked=1)
    _grid(axes, (3.15, 2.3), 4, 2, PALE_VERMILION, VERMILION, marked=1)
    axes.text(0.28, 3.1, "samples $s$", ha="center", va="center", size=10.5, rotation=90)
    axes.text(1.25, 2.08, "neurons $k$ below", ha="center", va="center", size=10.5)
    axes.text(3.55, 2.08, "neurons $j$", ha="center", va="center", size=10.5)
    how = {"arrowstyle": "-|>", "color": GREY, "lw": 1.3, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (5.0, 3.3), (4.05, 3.3), arrowprops=how)
    for shift in (0.27, 0.18, 0.09, 0.0):
        _grid(axes, (5.2 + shift, 2.45 + shift), 3, 2, WHITE, GREY)
    axes.text(5.75, 4.3, "each sample", ha="center", va="center", size=10.5)
    axes.text(5.75, 2.08, r"$y_{sk}\,\Delta_{sj}$", ha="center", va="center", size=13)
    axes.annotate("", (5.6, 1.3), (5.6, 1.8), arrowprops=how)
    axes.text(6.2, 1.55, "average", ha="center", va="center", size=10.5)
    _grid(axes, (5.2, 0.05), 3, 2, PALE_GREY, GREY)
    formula = r"$\frac{\partial C}{\partial w_{jk}} = \frac{1}{N}\sum_s \Delta_{sj}\,y_{sk}$"
    axes.text(2.65, 0.65, formula, ha="center", va="center", size=17)
    return figure


def _grid(
    axes: Axes,
    corner: Place,
    rows: int,
    columns: int,
    face: str,
    edge: str,
    *,
    marked: int | None = None,
) -> None:
    """Draw an array; the marked row is filled with the edge colour."""
    x, y = corner
    for row, column in itertools.product(range(rows), range(columns)):
        fill = edge if row == marked else face
        cell = (x + 0.4 * column, y + 0.4 * (rows - 1 - row))
        axes.add_patch(Rectangle(cell, 0.4, 0.4, fc=fill, ec=edge, lw=0.9))


def steps() -> Figure:
    """Draw the three steps of backpropagation: forward, Δ at the output, down by M."""
    figure, axes = canvas(6.8, 6.9)
    tops = (5.75, 3.5, 1.2)
    for number, y in enumerate(tops, start=1):
        _step(axes, y, number)
    texts = (
        ("1  Go forward", [r"$z^{(n)} = y^{(n-1)} w^{(n)} + b^{(n)}$", r"$y^{(n)} = f(z^{(n)})$",
                           r"keep $y^{(n)}$ and $f'(z^{(n)})$"]),
        ("2  Δ at the output", [r"$\Delta_j = (y_j - F_j)\,f'(z_j)$"]),
        ("3  Down by M", [r"$\Delta_k = \sum_j \Delta_j\,M_{jk}$",
                          r"$M_{jk} = w_{jk}\,f'(z_k)$",
                          r"$\partial C/\partial w_{jk} = \langle \Delta_j\,y_k \rangle$",
                          r"$\partial C/\partial b_j = \langle \Delta_j \rangle$"]),
    )  # fmt: skip
    names = ((), ("B1",), ("B2", "", "B3", "B4"))
    for y, (title, lines), equations in zip(tops, texts, names, strict=True):
        top = y + 0.24 * len(lines)
        axes.text(3.5, top + 0.12, title, ha="left", va="center", size=11, weight="bold")
        for n, line in enumerate(lines):
            axes.text(3.5, top - 0.45 - 0.5 * n, line, ha="left", va="center", size=11.5)
        for n, name in enumerate(equations):
            axes.text(6.7, top - 0.45 - 0.5 * n, name, ha="right", va="center", weight="bold")
    return figure


def _step(axes: Axes, y: float, number: int) -> None:
    columns = [(0.4, 2), (1.6, 3), (2.8, 2)]
    places = [[(x, y + 0.68 * ((m - 1) / 2 - j)) for j in range(m)] for x, m in columns]
    for below, above in itertools.pairwise(places):
        for start, end in itertools.product(below, above):
            if number == 3:
                connection(axes, end, start, colour=VERMILION, radius=0.21, width=0.9)
            else:
                colour = BLUE if number == 1 else "#bbbbbb"
                connection(axes, start, end, colour=colour, radius=0.21, width=0.9)
    for n, column in enumerate(places):
        has_delta = n == 2 if number == 2 else number == 3 and n > 0
        face, edge = (PALE_VERMILION, VERMILION) if has_delta else (PALE_BLUE, BLUE)
        if n == 0:
            face, edge = PALE_GREY, GREY
        for place in column:
            neuron(
                axes, place, "Δ" if has_delta else "", face=face, edge=edge, radius=0.21, size=10
            )
