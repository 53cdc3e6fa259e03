"""The figure of the page on several machines: how many steps a second so many ranks take."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from neurons import BLUE, GREY, VERMILION

ROW, UPDATE, SIZE = 0.14e-3, 10e-3, 8.0e6
"""On one core: seconds for a row, and for an update; the bytes of the gradient."""
NETWORKS = {"100 Gbit/s": (2e-6, 12e9, "-"), "as measured": (7e-6, 2.7e9, "--")}
"""Latency in seconds, bandwidth in bytes a second, and the line."""


def scaling() -> Figure:
    """Draw the speedup over the number of ranks, for two sizes of the batch."""
    figure, axes = plt.subplots(figsize=(4.6, 3.6), layout="constrained")
    ranks = np.unique(np.geomspace(1, 1024, 60).round())
    for batch, colour in ((1024, VERMILION), (65536, BLUE)):
        for name, (latency, bandwidth, line) in NETWORKS.items():
            rows, exchange = batch * ROW, 2 * np.ceil(np.log2(ranks)) * latency
            exchange += 2 * (ranks - 1) / ranks * SIZE / bandwidth
            axes.loglog(
                ranks,
                (rows + UPDATE) / (rows / ranks + UPDATE + exchange),
                line,
                color=colour,
                label=f"batch {batch:,}, {name}",
            )
    axes.loglog(ranks, ranks, ":", color=GREY, label="N times as fast")
    axes.set(xlabel="ranks N", ylabel="steps a second, by those of one rank", xlim=(1, 1024))
    axes.set_ylim(1, 1024)
    axes.legend(fontsize=9.5, frameon=False)
    return figure
