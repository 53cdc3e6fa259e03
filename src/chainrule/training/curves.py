"""Learning curves: a plot of the history.

The figure answers three questions. Is the loss still falling? Then train longer. Does the
validation loss rise while the training loss falls? Then the network is overfitting. Does the loss
jump? Then the learning rate is too large.

A loss that changes by more than a factor of ten gets a logarithmic scale, where loss ∝ e^−ct is a
straight line. The learning rate, if a schedule records it in the history, is the last panel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.figure_style import (
    ink,
    new_figure,
    points,
    rate,
    scale_for_rates,
    tidy,
    training,
    validation,
)
from chainrule.training.history import History

VALIDATED = "validation_"
NOT_FINITE = "no finite value"
MOST_COLUMNS = 3
"""The largest number of panels in a row."""


def draw(history: History, ax: Any = None) -> Any:
    """Draw the learning curves of a history and return the figure; see `History.plot`."""
    if ax is not None:
        draw_panel(ax, history, "loss")
        return ax.figure
    names = panels_of(history)
    rows, columns = layout(len(names))
    figure = new_figure(figsize=(4.6 * columns, 3.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    figure.set_layout_engine("constrained", hspace=0.06)
    for panel, name in zip(panels.flat, names, strict=False):
        draw_panel(panel, history, name)
    for panel in panels.flat[len(names) :]:
        panel.remove()
    return figure


def panels_of(history: Mapping[str, Sequence[float]]) -> list[str]:
    """The quantities that get a panel, the learning rate last."""
    names = [name for name in history if not name.startswith(VALIDATED)] or ["loss"]
    return sorted(names, key=lambda name: name == "learning_rate")


def layout(panels: int) -> tuple[int, int]:
    """Rows and columns for this many panels, with as few empty cells as possible."""
    rows = math.ceil(panels / MOST_COLUMNS)
    return rows, math.ceil(panels / rows)


def draw_panel(ax: Any, history: Mapping[str, Sequence[float]], name: str) -> None:
    """Draw one quantity against the epoch: for training and, if there is any, validation data."""
    first = ("", rate(), name) if name == "learning_rate" else ("training", training(), name)
    curves = [first, ("validation", validation(), VALIDATED + name)]
    curves = [_labelled(curve, history) for curve in curves if history.get(curve[2])]
    for label, colour, key in curves:
        _draw_curve(ax, history[key], "-" if key == name else "--", color=colour, label=label)
    ax.set_title(name.replace("_", " "), loc="left", color=ink(), fontsize=points(11))
    ax.set_xlabel("epoch", color=ink("axes.labelcolor"))
    tidy(ax)
    values = [value for _, _, key in curves for value in history[key]]
    _span_all_epochs(ax, values, max((len(history[key]) for _, _, key in curves), default=0))
    if name == "learning_rate":
        scale_for_rates(ax, values)
    else:
        _choose_scale(ax, values)
    if len(curves) == 2:
        ax.legend(frameon=False, labelcolor=ink(), fontsize=points(9))
    if name.endswith("accuracy"):
        ax.yaxis.set_major_formatter(lambda share, position: f"{100 * share:g} %")
    if name == "loss" and curves:
        _mark_best(ax, curves[-1], history)


def _draw_curve(ax: Any, values: Sequence[float], dashes: str, **style: Any) -> None:
    """A curve through the measured values; with few of them, each also gets a dot."""
    measured = int(np.count_nonzero(np.isfinite(values)))
    marker = "o" if measured <= 30 else ""
    epochs = np.arange(1, len(values) + 1)
    ax.plot(epochs, values, dashes, marker=marker, lw=1.8, ms=3.5, **style)


def _labelled(
    curve: tuple[str, str, str], history: Mapping[str, Sequence[float]]
) -> tuple[str, str, str]:
    """The curve; if it has no visible point, its label in the legend says so."""
    label, colour, key = curve
    is_visible = bool(np.any(np.isfinite(history[key])))
    return (label if is_visible or not label else f"{label}: {NOT_FINITE}", colour, key)


def _span_all_epochs(ax: Any, values: Sequence[float], epochs: int) -> None:
    """Include epochs without a finite value in the axis; if no epoch has one, say so."""
    if not epochs:
        return
    ax.update_datalim([(1, 0), (epochs, 0)], updatey=False)
    ax.autoscale_view(scaley=False)
    if not np.any(np.isfinite(values)):
        ax.set_yticks([])
        ax.text(0.5, 0.5, NOT_FINITE, transform=ax.transAxes, ha="center", va="center", color=ink())


def _choose_scale(ax: Any, values: list[float]) -> None:
    """A logarithmic scale with plain numbers if the values span more than a factor of ten."""
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
    """A ring around the lowest loss; its value goes into the title, where no curve crosses it."""
    _, colour, key = curve
    values = np.asarray(history[key], dtype=float)
    if not np.any(np.isfinite(values)):
        return
    epoch = int(np.argmin(np.where(np.isfinite(values), values, np.inf))) + 1
    least = values[epoch - 1]
    ax.plot([epoch], [least], "o", ms=9, mfc="none", mec=colour, mew=1.4)
    ax.set_title(
        f"lowest {least:#.3g}, epoch {epoch}", loc="right", color=colour, fontsize=points(9)
    )
