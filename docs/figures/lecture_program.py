"""Figures of the lecture's fifth page: the effects of the faults in its program."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from neurons import BLUE, GREY, VERMILION

from chainrule import lecture


def tails() -> Figure:
    """Draw the decimal exponent of f′ over z, as the program computes it and the correct one."""
    figure, axes = plt.subplots(figsize=(4.6, 2.9))
    z = np.arange(-800.0, 1.0)
    right = lecture.net_f_df(z)[1]
    with np.errstate(over="ignore", invalid="ignore"):
        f = 1 / (1 + np.exp(-z))
        faulty = np.exp(-z) * f**2
    for slope, colour, width in ((right, BLUE, 5), (faulty, VERMILION, 1.8)):
        seen = slope > 0
        axes.plot(z[seen], np.log10(slope[seen]), color=colour, lw=width, solid_capstyle="butt")
    first, last = z[faulty == 0].min(), z[faulty == 0].max()
    axes.plot([first, last], [-345, -345], color=VERMILION)
    axes.plot([-800, first], [-345, -345], color=VERMILION, ls=":")
    axes.text((first + last) / 2, -353, "0", color=VERMILION, ha="center", va="top")
    axes.text((first - 800) / 2, -353, "nan", color=VERMILION, ha="center", va="top")
    axes.text(-475, -175, "correct", color=BLUE, ha="right")
    axes.text(-190, -135, "the program", color=VERMILION)
    axes.set(
        xlabel="$z$",
        ylabel="decimal exponent of $f'(z)$",
        ylim=(-400, 12),
        yticks=[0, -100, -200, -300],
    )
    axes.grid(alpha=0.25)
    return figure


def over_batch_sizes(batches: list[int], faulty: list[float], right: list[float]) -> Figure:
    """Draw the cost after the same number of steps over the batch size, for both programs."""
    figure, axes = plt.subplots(figsize=(4.6, 2.8))
    axes.plot(batches, right, "o-", color=BLUE, ms=5)
    axes.plot(batches, faulty, "s-", color=VERMILION, ms=5)
    axes.text(batches[-1], right[-1] * 1.12, "corrected", color=BLUE, ha="right", va="bottom")
    axes.text(batches[-3], faulty[-3] * 0.82, "as written", color=VERMILION, ha="center", va="top")
    axes.axhline(0, color=GREY, lw=0.6)
    axes.set(xscale="log", ylim=(0, None), xlabel="samples per batch", ylabel="$C$ at the end")
    axes.grid(alpha=0.25)
    return figure
