"""The style of all figures: colours, axes, and the error if matplotlib is not installed."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.core.errors import MissingExtraError
from chainrule.core.extras import missing_extra

# Blue, vermilion and bluish green from M. Okabe and K. Ito, Color Universal Design (2002): people
# with any kind of colour vision can distinguish them.
TRAINING, VALIDATION, RATE, INK, PALE = "#0072B2", "#D55E00", "#009E73", "#444444", "#e4e4e4"


def missing_matplotlib(error: ImportError) -> MissingExtraError:
    """The error for a figure when matplotlib is not installed."""
    return missing_extra("matplotlib", "figures need", error)


def new_figure(**options: Any) -> Any:
    """A figure of pyplot that a notebook shows exactly once; ``options`` are those of its `figure`.

    A notebook shows the value of a cell's last line, and then every figure that pyplot still has.
    So a figure that was shown leaves pyplot.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise missing_matplotlib(error) from error
    figure = plt.figure(**options)
    figure._repr_html_ = functools.partial(_leave_pyplot, figure)  # type: ignore[method-assign]
    return figure


def _leave_pyplot(figure: Any) -> Any:
    """What a notebook calls to show a figure; a picture is shown in place of HTML."""
    import matplotlib
    import matplotlib.pyplot as plt

    if "inline" in matplotlib.get_backend():
        plt.close(figure)
    return type(figure)._repr_html_(figure)


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
