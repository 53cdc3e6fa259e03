"""Figures of the page on what goes wrong: the size of the delta in each layer, and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from neurons import BLUE, GREY, VERMILION

GREEN, PURPLE = "#009E73", "#9c4f7d"


def deltas(sizes: Mapping[str, Sequence[float]]) -> Figure:
    """Draw |Δ| in each layer, on a logarithmic scale, for each of several networks."""
    figure, axes = plt.subplots(figsize=(4.6, 3.2))
    colours, lowest = (VERMILION, BLUE, GREEN, PURPLE), np.inf
    ordered = sorted(sizes.items(), key=lambda pair: -pair[1][0])
    for colour, (name, of_one) in zip(colours, ordered, strict=False):
        layers = range(1, len(of_one) + 1)
        axes.semilogy(layers, of_one, "o-", color=colour, ms=4, lw=1.4)
        lowest = min(of_one[0], lowest / 20)  # of the labels, so that none covers another
        axes.text(0.7, lowest, name, color=colour, ha="right", va="center")
    last = max(map(len, sizes.values()))
    axes.set(xlim=(-4.4, last + 0.5), xlabel="layer (outputs on the right)", ylabel=r"$|\Delta|$")
    axes.set_xticks([1, *range(4, last + 1, 4)])
    axes.spines["bottom"].set_bounds(1, last)
    axes.grid(alpha=0.25, axis="y", color=GREY)
    return figure


def validation(curves: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the validation loss of several trainings."""
    figure, axes = plt.subplots(figsize=(4.6, 3.1))
    last = max(map(len, curves.values()))
    for colour, (name, curve) in zip((VERMILION, BLUE, GREEN), curves.items(), strict=False):
        axes.plot(range(1, len(curve) + 1), curve, color=colour, lw=1.4)
        axes.text(last * 1.02, curve[-1], name, color=colour, va="center")
    axes.set(xlabel="epoch", ylabel="validation loss", xlim=(0, last * 1.42))
    axes.set_xticks(range(0, last + 1, last // 4))
    axes.spines["bottom"].set_bounds(0, last)
    axes.set_ylim(bottom=0)
    return figure
