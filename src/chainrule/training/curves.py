"""Learning curves: the loss of every epoch, drawn.

The figure answers three questions. Does the loss still fall? Then train longer. Does the loss of
the validation data rise while that of the training data falls? Then the network has begun to learn
its samples by heart. Does it jump? Then the learning rate is too large.

Losses that change by more than a factor of ten stand on a logarithmic scale, where loss ∝ e^−ct is
a straight line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.core.errors import MissingExtraError
from chainrule.training.history import History

# Blue and vermilion of M. Okabe and K. Ito, Color Universal Design (2002), which people with any
# kind of colour vision can tell apart.
TRAINING, VALIDATION, INK, PALE = "#0072B2", "#D55E00", "#444444", "#e4e4e4"
VALIDATED = "validation_"


def draw(history: History, ax: Any = None) -> Any:
    """Draw the learning curves of a history, and return the figure; see `History.plot`."""
    names = [name for name in history if not name.startswith(VALIDATED)] or ["loss"]
    if ax is not None:
        draw_panel(ax, history, "loss")
        return ax.figure
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise missing_matplotlib(error) from error
    figure, panels = plt.subplots(
        1, len(names), figsize=(5 * len(names), 3.6), squeeze=False, layout="constrained"
    )
    for panel, name in zip(panels[0], names, strict=True):
        draw_panel(panel, history, name)
    return figure


def missing_matplotlib(error: ImportError) -> MissingExtraError:
    """The error for a figure that nothing is there to draw."""
    return MissingExtraError(
        "figures are drawn by matplotlib, which is not installed",
        expected="matplotlib 3.9 or newer, which the extra `plot` brings along",
        received=str(error),
        mend="pip install 'chainrule[plot]'",
    )


def draw_panel(ax: Any, history: Mapping[str, Sequence[float]], name: str) -> None:
    """Draw one quantity over the epochs: of the training data, and of validation data if any."""
    curves = [("training", TRAINING, name), ("validation", VALIDATION, VALIDATED + name)]
    curves = [curve for curve in curves if history.get(curve[2])]
    for label, colour, key in curves:
        values = history[key]
        epochs = np.arange(1, len(values) + 1)
        marker = "o" if len(values) <= 30 else ""
        dashes = "-" if key == name else "--"
        ax.plot(epochs, values, dashes, marker=marker, color=colour, lw=1.8, ms=3.5, label=label)
    ax.set_title(name.replace("_", " "), loc="left", color=INK, fontsize=11)
    ax.set_xlabel("epoch", color=INK)
    ax.grid(axis="y", color=PALE, lw=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(INK)
    ax.tick_params(which="both", colors=INK, labelsize=9)
    ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    _choose_scale(ax, [value for _, _, key in curves for value in history[key]])
    if len(curves) == 2:
        ax.legend(frameon=False, labelcolor=INK, fontsize=9)
    if name == "accuracy":
        ax.yaxis.set_major_formatter(lambda share, position: f"{100 * share:g} %")
    if name == "loss" and curves:
        _mark_best(ax, curves[-1], history)


def _choose_scale(ax: Any, values: list[float]) -> None:
    """A logarithmic scale for what falls by more than a factor of ten, with plain numbers at it."""
    finite = [value for value in values if np.isfinite(value)]
    if not finite or min(finite) <= 0 or max(finite) <= 10 * min(finite):
        return
    ax.set_yscale("log")
    has_few_decades = max(finite) < 1e3 * min(finite)
    ax.yaxis.get_major_locator().set_params(subs=(1, 2, 5) if has_few_decades else (1,))
    ax.yaxis.set_major_formatter(lambda value, position: f"{value:g}")
    ax.yaxis.set_minor_formatter(lambda value, position: "")


def _mark_best(
    ax: Any, curve: tuple[str, str, str], history: Mapping[str, Sequence[float]]
) -> None:
    """A ring around the least loss; what it is stands above, where no curve can cross it."""
    _, colour, key = curve
    values = np.asarray(history[key], dtype=float)
    if not np.any(np.isfinite(values)):
        return
    epoch = int(np.argmin(np.where(np.isfinite(values), values, np.inf))) + 1
    least = values[epoch - 1]
    ax.plot([epoch], [least], "o", ms=9, mfc="none", mec=colour, mew=1.4)
    ax.set_title(f"least {least:#.3g}, epoch {epoch}", loc="right", color=colour, fontsize=9)
