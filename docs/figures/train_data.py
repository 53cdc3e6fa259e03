"""Figures of the page on data: how the rows of a file are shuffled in blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from neurons import BLUE, GREY, VERMILION

BLOCKS, ROWS, TOGETHER = 6, 4, 3
PALE = ["#dcebf7", "#fbe3d3", "#d9efe6", "#fdf0cc", "#f3e0ea", "#e0f1fb"]


def blocks() -> Figure:
    """Draw a file of six blocks, their random order, the two windows and the batches."""
    rng = np.random.default_rng(3)
    order = rng.permutation(BLOCKS)
    windows = [np.sort(order[first : first + TOGETHER]) for first in (0, TOGETHER)]
    mixed = [
        rng.permutation(np.concatenate([b * ROWS + np.arange(ROWS) for b in window]))
        for window in windows
    ]
    count = BLOCKS * ROWS
    figure, axes = plt.subplots(figsize=(4.6, 4.4), layout="none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(-0.6, count + 0.6), ylim=(-1.9, 20.6))
    axes.axis("off")
    _label(axes, 19.6, "the file, six blocks of four rows")
    _cells(axes, range(count), 17.4)
    _label(axes, 14.6, "1. the blocks get a random order")
    _cells(axes, np.concatenate([b * ROWS + np.arange(ROWS) for b in order]), 12.4)
    _label(axes, 9.6, "2. a window is read in the order of the file")
    _cells(axes, np.concatenate([b * ROWS + np.arange(ROWS) for w in windows for b in w]), 7.4)
    for number, first in enumerate((0, count // 2)):
        axes.add_patch(
            Rectangle((first, 7.1), count / 2, 2.1, fc="none", ec=VERMILION, lw=1.6, zorder=3)
        )
        axes.text(
            first + count / 4, 6.0, f"window {number + 1}", size=10, color=VERMILION, ha="center"
        )
    _label(axes, 4.1, "3. its rows are shuffled and cut into batches")
    _cells(axes, np.concatenate(mixed), 1.9)
    for first in range(0, count, 6):
        axes.plot([first + 0.25, first + 5.75], [1.2, 1.2], color=BLUE, lw=1.6)
        axes.text(first + 3, 0.2, f"batch {first // 6 + 1}", size=10, color=BLUE, ha="center")
    axes.plot([0, 0], [-1.9, -1.9], alpha=0)
    return figure


def places(orders: Mapping[str, Sequence[int]], window: float) -> Figure:
    """Draw which row is used when, for each value of ``shuffle``."""
    figure, panels = plt.subplots(len(orders), 1, figsize=(4.6, 2.1 * len(orders)), sharex=True)
    for panel, (name, order) in zip(panels, orders.items(), strict=True):
        used = np.arange(len(order))
        rows = np.asarray(order)[::5] / 1000
        panel.plot(used[::5] / 1000, rows, ".", color=BLUE, ms=2, mew=0, rasterized=True)
        panel.set_title(name, loc="left", size=10.5)
        panel.set_ylabel("row / 1,000")
        if "blocks" in name:
            for edge in np.arange(window, len(order), window):
                panel.axvline(edge / 1000, color=VERMILION, lw=0.9, ls="--")
    panels[-1].set_xlabel("position in the epoch / 1,000")
    return figure


def _label(axes: Axes, height: float, text: str) -> None:
    axes.text(0, height, text, size=10.5)


def _cells(axes: Axes, rows: Sequence[int] | np.ndarray | range, bottom: float) -> None:
    for place, row in enumerate(rows):
        axes.add_patch(
            Rectangle((place, bottom), 1, 1.5, fc=PALE[int(row) // ROWS], ec=GREY, lw=0.6)
        )
        if int(row) % ROWS == 0:
            axes.plot([place + 0.5], [bottom + 0.75], ".", color=GREY, ms=4)
