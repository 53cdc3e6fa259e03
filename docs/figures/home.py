"""The figure of the first page: a small network with its values, and the deltas of its layers."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from neurons import BLUE, GREY, LINE, PALE_GREY, VERMILION, canvas, neuron

from chainrule import lecture

COLUMNS = ((0.7, (2.45, 1.35)), (3.3, (3.0, 1.9, 0.8)), (5.9, (1.9,)))


def network() -> Figure:
    """Draw a network of 2, 3 and 1 neurons: y in the circles, Δ below them."""
    rng = np.random.default_rng(7)
    weights = [rng.normal(size=(2, 3)) * 1.5, rng.normal(size=(3, 1)) * 1.5]
    biases = [np.zeros(3), np.zeros(1)]
    target = np.ones((1, 1))
    values, slopes = lecture.apply_net(np.array([[0.8, -0.4]]), weights, biases)
    out = (values[-1] - target) * slopes[-1]
    deltas = [None, lecture.backward_step(out, weights[1], slopes[0])[0], out[0]]

    figure, axes = canvas(6.9, 3.75, inches=5.0)
    for (x1, below), (x2, above), w in zip(COLUMNS, COLUMNS[1:], weights, strict=False):
        for k, y1 in enumerate(below):
            for j, y2 in enumerate(above):
                axes.plot([x1, x2], [y1, y2], color=LINE, lw=0.5 + abs(w[k, j]), zorder=1)
    for (x, rows), row, delta in zip(COLUMNS, values, deltas, strict=True):
        for number, y in enumerate(rows):
            colours = {} if delta is not None else {"face": PALE_GREY, "edge": GREY}
            neuron(axes, (x, y), f"{row[0, number]:.2f}", size=10, **colours)
            if delta is not None:
                text = f"$\\Delta = {delta[number]:.3f}$"
                place = (x + 0.42, y - 0.32) if len(rows) > 1 else (x, y - 0.62)
                axes.text(*place, text, color=VERMILION, size=10.5, va="center",
                          ha="left" if len(rows) > 1 else "center",
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # fmt: skip
    ways = ((3.5, BLUE, 0.3, r"forward:  $y = f(y\,w + b)$"),
            (0.2, VERMILION, -0.3, r"backward:  $\Delta = (\Delta\,w^\mathsf{T})\,f'$")
    )  # fmt: skip
    for height, colour, way, text in ways:
        ends = (1.0, 5.6) if way > 0 else (5.6, 1.0)
        axes.annotate("", xy=(ends[1], height), xytext=(ends[0], height),
                      arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.5})  # fmt: skip
        axes.text(3.3, height, text, color=colour, size=10.5, ha="center", va="center",
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 2})  # fmt: skip
    return figure
