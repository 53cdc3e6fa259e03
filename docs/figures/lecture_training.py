"""Figures of the lecture's last page: steps on a parabola, and a network that learns a function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from neurons import BLUE, GREY, VERMILION

COLOURS = ("#0072B2", "#009E73", "#D55E00")


def steps_on_a_parabola(
    curvature: float, target: float, paths: Mapping[float, Sequence[float]]
) -> Figure:
    """Draw the cost over one weight, and the steps at each learning rate."""
    figure, panels = plt.subplots(2, 2, figsize=(4.6, 3.9), sharex=True, sharey=True)
    weights = np.linspace(-1.4, 5.4, 200)

    def cost(w: np.ndarray) -> np.ndarray:
        return 0.5 * curvature * (np.asarray(w) - target) ** 2

    for panel, (rate, path) in zip(panels.flat, paths.items(), strict=True):
        panel.plot(weights, cost(weights), color=BLUE, lw=1.3)
        panel.plot(path, cost(np.array(path)), "o-", color=VERMILION, ms=4, lw=1)
        panel.set_title(rf"$\eta = {rate:.3g}$", size=11)
        panel.set(xlim=(weights[0], weights[-1]), ylim=(-0.4, 8.3), yticks=[0, 4, 8])
    for panel in panels[1]:
        panel.set_xlabel("$w$")
    for panel in panels[:, 0]:
        panel.set_ylabel("$C$", rotation=0, labelpad=10)
    return figure


def pictures(images: Mapping[str, np.ndarray]) -> Figure:
    """Draw each of several functions over the square."""
    rows = (len(images) + 2) // 3
    figure, panels = plt.subplots(
        rows, 3, figsize=(4.6, 0.3 + 1.7 * rows), sharex=True, sharey=True, squeeze=False
    )
    for panel, (title, image) in zip(panels.flat, images.items(), strict=False):
        shown = panel.imshow(
            image, origin="lower", extent=(-0.5, 0.5, -0.5, 0.5), vmin=-0.05, vmax=0.28
        )
        panel.set_title(title, size=10)
        panel.set(xticks=[-0.5, 0.5], yticks=[-0.5, 0.5])
    for panel in panels[-1]:
        panel.set_xlabel("$x_0$", labelpad=-8)
    for panel in panels[:, 0]:
        panel.set_ylabel("$x_1$", labelpad=-12, rotation=0)
    bar = figure.colorbar(shown, ax=panels, location="bottom", shrink=0.6, aspect=30, pad=0.04)
    bar.set_ticks([0, 0.1, 0.2])
    return figure


def costs(curves: Mapping[str, Sequence[float]], at_once: int = 25) -> Figure:
    """Draw the cost over the steps for three learning rates, averaged over `at_once` steps."""
    figure, axes = plt.subplots(figsize=(4.6, 2.9))
    for colour, (name, curve) in zip(COLOURS, curves.items(), strict=True):
        whole = len(curve) // at_once * at_once
        smooth = np.asarray(curve[:whole]).reshape(-1, at_once).mean(axis=1)
        steps = at_once * (np.arange(len(smooth)) + 0.5)
        axes.semilogy(steps, smooth, color=colour)
        axes.text(steps[-1] * 1.02, smooth[-1], name, color=colour, va="center")
    last = len(curve)
    axes.set(xlabel="step", ylabel="$C$ of the batch", xlim=(0, 1.28 * last))
    axes.set_xticks(range(0, last + 1, last // 4))
    axes.spines["bottom"].set_bounds(0, last)
    axes.grid(alpha=0.25, axis="y", color=GREY)
    return figure
