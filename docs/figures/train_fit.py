"""Figures of the page on `fit`: an epoch as shuffled samples, batches and steps."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from neurons import BLUE, GREY, PALE_BLUE, VERMILION

SAMPLES, BATCH = 12, 5


def epoch() -> Figure:
    """Draw twelve samples, their order in one epoch, and the three steps."""
    figure, axes = plt.subplots(figsize=(4.6, 2.75), layout="none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(-0.4, 12.4), ylim=(-0.2, 7.3))
    axes.axis("off")
    order = np.random.default_rng(2).permutation(SAMPLES)
    _row(axes, range(SAMPLES), 5.6, ["#ffffff"] * SAMPLES)
    colours = [PALE_BLUE, "#ffffff", PALE_BLUE]
    _row(axes, order, 3.2, [colours[place // BATCH] for place in range(SAMPLES)])
    for place, sample in enumerate(order):
        axes.plot([sample + 0.5, place + 0.5], [5.6, 4.2], color=GREY, lw=0.6, alpha=0.6)
    axes.text(0, 6.85, "the samples", size=10.5)
    for number, first in enumerate(range(0, SAMPLES, BATCH)):
        last = min(first + BATCH, SAMPLES)
        middle = (first + last) / 2
        axes.annotate(
            "", (middle, 1.75), (middle, 3.1), arrowprops={"arrowstyle": "-|>", "color": VERMILION}
        )
        axes.text(middle, 1.15, f"step {number + 1}", ha="center", size=11, color=VERMILION)
        axes.text(middle, 0.35, f"batch of {last - first}", ha="center", size=10, color=BLUE)
    return figure


def _row(axes: plt.Axes, samples: object, bottom: float, colours: list[str]) -> None:
    for place, (sample, colour) in enumerate(zip(samples, colours, strict=True)):  # type: ignore[call-overload]
        axes.add_patch(Rectangle((place, bottom), 1, 1, fc=colour, ec=GREY, lw=0.8))
        axes.text(place + 0.5, bottom + 0.47, str(sample), ha="center", va="center", size=10)
