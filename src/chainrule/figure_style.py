"""The style of all figures: colours, axes, and the error if matplotlib is not installed.

A colour that the user's style sets is used, such as that of text after
``plt.style.use("dark_background")``; where matplotlib's own value is unchanged, ours is:

    colour = rcParams[key]  if  rcParams[key] ≠ rcParamsDefault[key],  otherwise ours

So the colours are functions, which are called when a figure is drawn.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.core.errors import MissingExtraError
from chainrule.core.extras import missing_extra

# Blue, vermilion and bluish green from M. Okabe and K. Ito, Color Universal Design (2002): people
# with any kind of colour vision can distinguish them.
CURVES = ("#0072B2", "#D55E00", "#009E73")
INK, QUIET, PALE, PAPER = "#444444", "#666666", "#e4e4e4", "white"


# ------------------------------------------------------------------------------- colours


def training() -> str:
    """The colour of what training sees, and of a model."""
    return _of_cycle(0)


def validation() -> str:
    """The colour of what training does not see, and of what is marked."""
    return _of_cycle(1)


def rate() -> str:
    """The colour of learning rates."""
    return _of_cycle(2)


def ink(part: str = "text.color") -> Any:
    """The colour of text, or of another part, such as ``axes.edgecolor``."""
    return _of_style(part, INK)


def quiet() -> Any:
    """The colour of text that is less important."""
    return _between(0.75, QUIET)


def pale() -> Any:
    """The colour of lines and areas behind the others."""
    return _between(0.13, PALE)


def paper() -> Any:
    """The colour of the background."""
    return _of_style("axes.facecolor", PAPER)


def on_paper(colour: Any, strength: Any) -> Any:
    """A colour laid over the background: 0 is the background, 1 the colour; as (r, g, b)."""
    from matplotlib.colors import to_rgb

    below = np.asarray(to_rgb(paper()))
    return below + np.asarray(strength) * (np.asarray(to_rgb(colour)) - below)


def points(size: float) -> float:
    """A font size for text of 10 points, scaled to the style's."""
    return size * float(_style()[0]["font.size"]) / 10


def _style() -> tuple[Any, Any]:
    """The user's style, and matplotlib's own."""
    import matplotlib

    return matplotlib.rcParams, matplotlib.rcParamsDefault


def _of_style(key: str, ours: str) -> Any:
    style, default = _style()
    return ours if style[key] == default[key] else style[key]


def _of_cycle(number: int) -> str:
    style, default = _style()
    cycle = style["axes.prop_cycle"]
    if cycle == default["axes.prop_cycle"]:
        return CURVES[number]
    colours = cycle.by_key().get("color", CURVES)
    return str(colours[number % len(colours)])


def _between(strength: float, ours: str) -> Any:
    """A mixture of ink and background; ours if both are."""
    return ours if (ink(), paper()) == (INK, PAPER) else tuple(on_paper(ink(), strength))


# ------------------------------------------------------------------------------- figures


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


def figure_without_window(**options: Any) -> Any:
    """A figure that pyplot does not know, and that a notebook shows as the value of a cell.

    A notebook knows how to show figures only after pyplot was imported; this one shows itself.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_matplotlib(error) from error
    figure: Any = Figure(**options)
    figure._repr_png_ = functools.partial(_png, figure)
    return figure


def _leave_pyplot(figure: Any) -> Any:
    """What a notebook calls to show a figure; a picture is shown in place of HTML."""
    import matplotlib
    import matplotlib.pyplot as plt

    if "inline" in matplotlib.get_backend():
        plt.close(figure)
    return type(figure)._repr_html_(figure)


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight")
    return file.getvalue()


# ------------------------------------------------------------------------------- axes


def tidy(ax: Any) -> None:
    """An unobtrusive frame, and integers on the x axis."""
    ax.grid(axis="y", color=grid(), lw=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(ink("axes.edgecolor"))
    ax.tick_params(which="both", colors=ink("xtick.color"), labelsize=points(9))
    ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def grid() -> Any:
    """The colour of a grid: that of the style if the style draws one."""
    style, _ = _style()
    return style["grid.color"] if style["axes.grid"] else pale()


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
