"""Figures of the page on optimizers: paths in one valley, and schedules side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from neurons import BLUE, VERMILION

GREEN = "#009E73"


def paths(walks: Mapping[str, np.ndarray], hessian: np.ndarray) -> Figure:
    """Draw the path of each optimizer over the contours of the same valley."""
    rows = -(-len(walks) // 2)
    figure, panels = plt.subplots(
        rows, 2, figsize=(4.6, 1.55 * rows + 0.3), sharex=True, sharey=True
    )
    w_0, w_1 = np.meshgrid(np.linspace(-4.3, 1.4, 120), np.linspace(-2.4, 1.3, 120))
    w = np.stack([w_0, w_1], axis=-1)
    cost = 0.5 * np.einsum("...i,ij,...j", w, hessian, w)
    for panel, (name, walk) in zip(panels.flat, walks.items(), strict=True):
        panel.contour(
            w_0, w_1, cost, levels=[0.1, 0.5, 1.5, 4, 10, 25], colors="0.75", linewidths=0.7
        )
        panel.plot(*walk.T, ".-", color=BLUE, ms=3.5, lw=0.9)
        panel.plot(*walk[0], "o", color=VERMILION, ms=5)
        panel.plot(0, 0, "+", color="black", ms=9, mew=1.4)
        panel.set_title(name, loc="left", size=10.5, pad=3)
        panel.set(xlim=(-4.3, 1.4), ylim=(-2.4, 1.3), xticks=[], yticks=[], aspect="equal")
    for panel in panels[-1]:
        panel.set_xlabel("$w_0$")
    for panel in panels[:, 0]:
        panel.set_ylabel("$w_1$", rotation=0, labelpad=9)
    return figure


def schedules(rates: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the rate over the steps for each of several schedules, all on one scale."""
    rows = -(-len(rates) // 2)
    figure, panels = plt.subplots(
        rows, 2, figsize=(4.6, 1.25 * rows + 0.35), sharex=True, sharey=True
    )
    for panel, (name, values) in zip(panels.flat, rates.items(), strict=False):
        panel.plot(values, color=GREEN, lw=1.6)
        panel.set_title(name, loc="left", size=10, pad=3)
        panel.set(ylim=(0, 1.12), yticks=[0, 1], xticks=[0, 50, 100])
    for panel in panels.flat[len(rates) :]:
        panel.remove()
    for panel in panels[-1]:
        panel.set_xlabel("step $t$")
    for panel in panels[:, 0]:
        panel.set_ylabel(r"$\eta$", rotation=0, labelpad=8)
    return figure


def fixed_and_falling(
    fixed: Mapping[str, Sequence[float]], falling: Mapping[str, Sequence[float]]
) -> Figure:
    """Draw the validation loss with a fixed rate and with a schedule, and the schedule below."""
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(4.6, 4.2), sharex=True, height_ratios=[1.6, 1]
    )
    last = len(fixed["loss"])
    epochs = range(1, last + 1)
    for colour, name, history in ((VERMILION, "fixed", fixed), (BLUE, "schedule", falling)):
        curve = history["validation_loss"]
        above.semilogy(epochs, curve, color=colour)
        above.text(last + 0.4, curve[-1], name, color=colour, va="center")
    above.set_ylabel("validation loss")
    below.plot(epochs, falling["learning_rate"], color=GREEN)
    below.set(xlabel="epoch", ylabel=r"$\eta$", ylim=(0, None), xlim=(0, 1.28 * last))
    below.set_xticks([1, 5, 10, 15, 20])
    for axes in (above, below):
        axes.spines["bottom"].set_bounds(1, last)
    return figure
