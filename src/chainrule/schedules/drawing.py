"""Plots of schedules: one level for each step, because the rate has no value between steps.

    η(t) for t = 0, …, T − 1        stairs with the edges 0, 1, …, T

`chainrule.figure_style.scale_for_rates` chooses the scale, as in the plot of a history.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.figure_style import (
    figure_without_window,
    ink,
    rate,
    scale_for_rates,
    tidy,
    validation,
)
from chainrule.schedules.schedule import Schedule

WIDTH = 5.6
"""Of the plots, in inches."""
MOST_STEPS = 2000
"""The most steps that a plot shows; of a longer schedule, this many equally spaced steps."""


def draw(schedule: Schedule, steps: int) -> Any:
    """A plot of η(t) for t = 0, …, steps − 1; see `Schedule.plot`."""
    edges = sampled(steps)
    figure = figure_without_window(figsize=(WIDTH, 3.4), layout="constrained")
    draw_rates(figure.subplots(), [schedule(int(t)) for t in edges[:-1]], edges, "step t")
    return figure


def draw_with_figures(rates: Sequence[float], edges: Any, figures: Sequence[float]) -> Any:
    """A plot of the measurement in each epoch, and below it the resulting learning rates."""
    figure = figure_without_window(figsize=(WIDTH, 5.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    draw_rates(below, rates, edges, "epoch")
    marker = "o" if len(figures) <= 30 else ""
    epochs = np.arange(1, len(figures) + 1)
    above.plot(epochs, figures, marker=marker, color=validation(), lw=1.8, ms=3.5)
    above.set_ylabel("measurement", color=ink("axes.labelcolor"))
    _prepare(above)
    return figure


def sampled(steps: int) -> Any:
    """The edges of the steps that are drawn, including the first and the last."""
    return np.linspace(0, steps, min(steps, MOST_STEPS) + 1).astype(int)


def draw_rates(ax: Any, rates: Sequence[float], edges: Any, unit: str) -> None:
    """Draw the levels between their edges."""
    ax.stairs(rates, edges, baseline=None, color=rate(), lw=1.8)
    ax.set_xlabel(unit, color=ink("axes.labelcolor"))
    ax.set_ylabel("learning rate η", color=ink("axes.labelcolor"))
    _prepare(ax)
    scale_for_rates(ax, rates)


def _prepare(ax: Any) -> None:
    tidy(ax)
    ax.xaxis.set_major_formatter(lambda value, position: f"{value:,.0f}")
