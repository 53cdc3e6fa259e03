"""Figures of the lecture's first page: the neuron, the network, the cost."""

from __future__ import annotations

import itertools

import matplotlib.pyplot as plt
import numpy as np
import small_network as net
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from neurons import (
    BLUE,
    GREY,
    PALE_GREY,
    VERMILION,
    canvas,
    connection,
    neuron,
)

from chainrule import lecture


def one_neuron() -> Figure:
    """Draw two inputs multiplied by their weights, their sum, and f of the sum."""
    figure, axes = canvas(6.6, 3.0)
    values, total, result = [(0.75, 2.15), (0.75, 0.85)], (3.3, 1.5), (5.75, 1.5)
    for place, text, weight in zip(values, ("2", "1"), ("0.5", "−1"), strict=True):
        neuron(axes, place, text, face=PALE_GREY, edge=GREY)
        connection(axes, place, total, weight, at=0.48)
    neuron(axes, total, r"$\ln 3$")
    neuron(axes, result, r"$\frac{3}{4}$", size=15)
    connection(axes, total, result, "$f$", size=13, gap=0.2)
    axes.text(3.3, 2.82, r"$b = \ln 3$", ha="center", va="center", size=12)
    connection(axes, (3.3, 2.9), total)
    for x, text in ((0.75, "$y_k$"), (1.95, "$w_k$"), (3.3, "$z$"), (5.75, "$y$")):
        axes.text(x, 0.18, text, ha="center", va="center", size=13)
    return figure


def sigmoid() -> Figure:
    """Draw f and f′ over z, and mark the values that need no calculator."""
    figure, axes = plt.subplots(figsize=(4.6, 2.8))
    z = np.linspace(-6, 6, 241)
    f, df = lecture.net_f_df(z)
    axes.plot(z, f, color=BLUE)
    axes.plot(z, df, color=VERMILION)
    known = np.array([0, np.log(3)])
    f_known, df_known = lecture.net_f_df(known)
    axes.plot(known, f_known, "o", color=BLUE, ms=5)
    axes.plot(known, df_known, "o", color=VERMILION, ms=5)
    axes.text(3.1, 0.83, "$f(z)$", color=BLUE, size=12)
    axes.text(2.3, 0.15, "$f'(z)$", color=VERMILION, size=12)
    axes.set(xlabel="$z$", yticks=[0, 0.25, 0.5, 0.75, 1], ylim=(-0.03, 1.03))
    axes.set_xticks([-6, -3, 0, np.log(3), 3, 6], ["−6", "−3", "0", r"$\ln 3$", "3", "6"])
    axes.grid(alpha=0.25)
    return figure


def layers() -> Figure:
    """Draw a network of three layers, with the names of its arrays."""
    figure, axes = canvas(6.6, 4.4)
    columns = [(0.8, 2), (2.5, 3), (4.2, 3), (5.9, 1)]
    places = [[(x, 2.35 + 1.05 * ((n - 1) / 2 - j)) for j in range(n)] for x, n in columns]
    for below, above in itertools.pairwise(places):
        for start in below:
            for end in above:
                connection(axes, start, end, width=0.9, radius=0.3)
    for n, column in enumerate(places):
        for place in column:
            colours = {"face": PALE_GREY, "edge": GREY} if n == 0 else {}
            neuron(axes, place, radius=0.3, **colours)
        name = f"$y^{{({n})}}$"
        axes.text(column[0][0], 0.62, name, ha="center", va="center", size=14)
    for n, x in enumerate((1.65, 3.35, 5.05), start=1):
        axes.text(x, 4.1, f"$w^{{({n})}}$", ha="center", va="center", size=14)
    for x, text in ((0.8, "the input"), (3.35, "hidden layers"), (5.9, "the output")):
        axes.text(x, 0.15, text, ha="center", va="center", size=10, color=GREY)
    return figure


def what_neurons_make() -> Figure:
    """Draw the output over the plane of inputs, for one, two, and four hidden neurons."""
    figure, panels = plt.subplots(1, 3, figsize=(4.6, 2.0), sharey=True)
    axis = np.linspace(-4, 4, 121)
    plane = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    steep = 4.0
    rise = np.array([[steep, -steep, 0, 0], [0, 0, steep, -steep]])
    shift = np.full(4, 1.5 * steep)
    for panel, count, title in zip(panels, (1, 2, 4), ("a step", "a ridge", "a bump"), strict=True):
        weights = [rise[:, :count], np.full((count, 1), 8.0)]
        biases = [shift[:count], np.array([-8.0 * (count - 0.5)])]
        y = lecture.apply_net_simple(plane, weights, biases)
        _picture(panel, y.reshape(121, 121), title)
    panels[0].set_ylabel("$y_2$", size=12)
    return figure


def _picture(panel: Axes, values: np.ndarray, title: str) -> None:
    panel.imshow(values, origin="lower", extent=(-4, 4, -4, 4), cmap="Blues", vmin=-0.15, vmax=1.15)
    panel.set(xticks=[], yticks=[])
    panel.set_xlabel("$y_1$", size=12)
    panel.set_title(title, size=10.5)
    for side in panel.spines.values():
        side.set_visible(True)
        side.set_linewidth(0.6)


def downhill() -> Figure:
    """Draw the cost over one weight, the tangent where we are, and the direction downhill."""
    figure, axes = plt.subplots(figsize=(4.6, 2.8))
    w = np.linspace(-4, 8, 121)
    axes.plot(w, _cost(w), color=BLUE)
    now, step = float(net.WEIGHTS[1][0, 0]), 1e-5
    slope = (_cost(now + step) - _cost(now - step)) / (2 * step)
    reach = np.array([-2.4, 1.3])
    axes.plot(now + reach, _cost(now) + slope * reach, color=VERMILION, lw=1.3)
    axes.plot(now, _cost(now), "o", color=VERMILION, ms=6, zorder=5)
    axes.annotate(
        "",
        xy=(now + 2.4, _cost(now) + 0.02),
        xytext=(now + 0.25, _cost(now) + 0.02),
        arrowprops={"arrowstyle": "-|>", "color": "black", "lw": 1.2},
    )
    axes.text(now + 1.3, _cost(now) + 0.045, "downhill", size=10, ha="center")
    slope_text = r"slope $\partial C/\partial w$"
    axes.text(now - 2.1, 0.37, slope_text, color=VERMILION, size=11, va="center")
    axes.text(-3.9, 0.35, "$C(w)$", color=BLUE, size=12, va="center")
    axes.set(xlabel="one of the weights, $w$", ylim=(0, 0.5), xlim=(-4.2, 8.2))
    return figure


def _cost(w: np.ndarray | float) -> np.ndarray:
    """Compute C of the page's network over the weight from hidden neuron 1 to the output."""
    hidden, above = net.VALUES[1], net.WEIGHTS[1][1, 0]
    z = hidden[0, 0] * np.asarray(w) + hidden[0, 1] * above + net.BIASES[1][0]
    return net.cost(lecture.net_f_df(z)[0][..., None])
