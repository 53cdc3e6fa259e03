"""The style of all figures: colours, axes, and the error if matplotlib is not installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.core.errors import MissingExtraError

# Blue, vermilion and bluish green from M. Okabe and K. Ito, Color Universal Design (2002): people
# with any kind of colour vision can distinguish them.
TRAINING, VALIDATION, RATE, INK, PALE = "#0072B2", "#D55E00", "#009E73", "#444444", "#e4e4e4"


def missing_matplotlib(error: ImportError) -> MissingExtraError:
    """The error for a figure when matplotlib is not installed."""
    return MissingExtraError(
        "figures need matplotlib, which is not installed",
        expected="matplotlib 3.9 or newer, which the extra `plot` installs",
        received=str(error),
        hint="pip install 'chainrule[plot]'",
    )


def tidy(ax: Any) -> None:
    """An unobtrusive frame, and integers on the x axis."""
    ax.grid(axis="y", color=PALE, lw=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(INK)
    ax.tick_params(which="both", colors=INK, labelsize=9)
    ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def scale_for_rates(ax: Any, rates: Sequence[float]) -> None:
    """A logarithmic scale if at least half of the rates are below a tenth of the largest.

    On a linear scale those rates could not be read. Otherwise the scale begins at zero.
    """
    finite = [rate for rate in rates if np.isfinite(rate)] or [0.0]
    lowest, highest = min(finite), max(finite)
    if lowest > 0 and np.median(finite) <= 0.1000001 * highest:
        ax.set_yscale("log")
        ax.yaxis.set_minor_formatter(lambda value, position: "")
    elif lowest < highest:
        ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    else:
        ax.set_ylim(0, 2 * highest or 1)
    ax.yaxis.set_major_formatter(lambda value, position: f"{value:g}")
