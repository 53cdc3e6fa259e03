"""The figure of a trace: the sizes of all quantities, from the first layer to the last.

Values flow down the figure, deltas flow up. On the logarithmic scales, a constant factor per layer
gives a straight line:

    |Δ_n| = γ^(N−n) |Δ_N|        slope log γ;  γ < 1 vanishes, γ > 1 explodes

The three panels span the same number of decades, at least four. So equal factors have equal slopes
in all panels, and small fluctuations look small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chainrule.display.plots import VERMILION
from chainrule.figure_style import grid, ink, new_figure, paper, points, quiet

if TYPE_CHECKING:
    from chainrule.display.trace import Trace

# From M. Okabe and K. Ito, Color Universal Design (2002), as in the other figures.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
MARKERS = ("o", "s", "^", "v", "P", "X")
LABELLED = 80
"""If there are more layers, only every second, third, … is named."""
DECADES = 4
"""The minimum number of decades that the panels span."""


def plot_trace(found: Trace, into: Any = None) -> Any:
    """Draw |y|, |Δ| and |∂C/∂θ| of every step side by side: see `Trace.plot`.

    Zeros, which a logarithmic scale cannot show, are hollow marks on the left edge. Numbers that
    are not finite are crosses on the right edge, and the row where they first occur is tinted. A
    panel with such marks explains them below.

    Parameters
    ----------
    found
        The result of `trace`.
    into
        A figure or subfigure to draw into; by default a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    steps = found.steps
    learned = list(dict.fromkeys(name for step in steps for name in step.gradients))
    panels: list[tuple[str, dict[str, list[float | None]]]] = [
        ("output  |y|", {"": [step.output_size for step in steps]}),
        ("delta  |Δ| = |∂C/∂y|", {"": [step.delta_size for step in steps]}),
        (
            "gradient  |∂C/∂θ|",
            {name: [step.gradient_sizes.get(name) for step in steps] for name in learned},
        ),
    ]
    figure = _figure(into, height=1.5 + 0.19 * min(max(len(steps), 8), LABELLED))
    all_axes = figure.subplots(1, len(panels), sharey=True)
    span = max(DECADES, *(_decades(_visible(curves)) for _, curves in panels))
    for axes, (title, curves) in zip(all_axes, panels, strict=True):
        _prepare(axes, title, _visible(curves), span)
        _mark_first(axes, found)
        for (name, sizes), colour, marker in zip(
            curves.items(),
            _cycled((*COLOURS, ink()), len(curves)),
            _cycled(MARKERS, len(curves)),
            strict=True,
        ):
            _draw_curve(axes, sizes, colour, marker, name)
        if len(curves) > 1:
            axes.legend(frameon=False, labelcolor=ink(), fontsize=points(8), loc="best")
        if not any(size is not None for sizes in curves.values() for size in sizes):
            text = "no backward pass" if found.error is not None else "no parameters"
            axes.text(0.5, 0.5, text, ha="center", transform=axes.transAxes, color=quiet())
    _name_rows(all_axes[0], [step.place for step in steps])
    figure.suptitle(_title(found), x=0.01, ha="left", fontsize=points(10.5), color=ink())
    return figure


def _figure(into: Any, height: float) -> Any:
    if into is not None:
        return into
    figure = new_figure(figsize=(10.0, height), layout="constrained")
    figure.get_layout_engine().set(rect=(0.005, 0.01, 0.985, 0.98))
    return figure


def _title(found: Trace) -> str:
    cost = "no cost" if found.cost is None else f"C = {found.cost:.4g}"
    title = f"{found.name}, {cost} with {found.loss}"
    if found.first_non_finite is not None:
        title += f"\nfirst not finite: {found.first_non_finite}"
    return title


def _cycled(kinds: Sequence[str], count: int) -> list[str]:
    return [kinds[number % len(kinds)] for number in range(count)]


# ------------------------------------------------------------------------------- the panels


def _visible(curves: dict[str, list[float | None]]) -> list[float]:
    """The sizes that a logarithmic scale can show."""
    sizes = (size for curve in curves.values() for size in curve if size is not None)
    return [size for size in sizes if size > 0 and math.isfinite(size)]


def _decades(sizes: list[float]) -> float:
    return math.log10(max(sizes)) - math.log10(min(sizes)) if sizes else 0.0


def _prepare(axes: Any, title: str, sizes: list[float], span: float) -> None:
    """A logarithmic scale with the same span as the other panels, centred on the sizes."""
    lowest, highest = (min(sizes), max(sizes)) if sizes else (1.0, 1.0)
    spare = (span - math.log10(highest) + math.log10(lowest)) / 2 + 0.04 * span
    left = max(math.log10(lowest) - spare, -307.0)
    right = min(math.log10(highest) + spare, 308.0)
    step = max(1, math.ceil((right - left) / 6))
    axes.set_xscale("log")
    axes.set_xlim(10.0**left, 10.0**right)
    axes.set_xticks(
        [10.0**n for n in range(math.ceil(left / step) * step, math.floor(right) + 1, step)]
    )
    axes.minorticks_off()
    axes.set_title(title, loc="left", color=ink(), fontsize=points(10))
    axes.grid(axis="x", color=grid(), lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(ink("axes.edgecolor"))
    axes.tick_params(which="both", colors=ink("xtick.color"), labelsize=points(8))


def _draw_curve(axes: Any, sizes: list[float | None], colour: str, marker: str, name: str) -> None:
    """A line through the sizes; zeros and non-finite numbers are marked on the edges."""
    rows = [row for row, size in enumerate(sizes) if size is not None]
    known = [size for size in sizes if size is not None]
    shown = [size if size > 0 and math.isfinite(size) else math.nan for size in known]
    size = 3.5 if len(sizes) <= LABELLED else 1.5
    axes.plot(shown, rows, "-", marker=marker, color=colour, lw=1.4, ms=size, label=name or None)
    edge = {"transform": axes.get_yaxis_transform(), "clip_on": False, "linestyle": ""}
    zeros = [row for row, size in zip(rows, known, strict=True) if size == 0]
    notes = axes.get_xlabel().split(" · ")
    if zeros:
        notes.append("hollow: zero")
        axes.plot([0.0] * len(zeros), zeros, marker=marker, mfc=paper(), mec=colour, ms=4.5, **edge)
    lost = [row for row, size in zip(rows, known, strict=True) if not math.isfinite(size)]
    if lost:
        notes.append("×: not finite")
        axes.plot([1.0] * len(lost), lost, marker="x", color=VERMILION, ms=4.5, mew=1.3, **edge)
    axes.set_xlabel(
        " · ".join(filter(None, dict.fromkeys(notes))),
        fontsize=points(8),
        color=ink("axes.labelcolor"),
    )


def _mark_first(axes: Any, found: Trace) -> None:
    first = found.first_non_finite
    for row, step in enumerate(found.steps):
        if first is not None and first.place == step.place:
            axes.axhspan(row - 0.5, row + 0.5, color=VERMILION, alpha=0.18, lw=0)


def _name_rows(axes: Any, places: list[str]) -> None:
    """Label the rows of the first panel with the places, the first layer on top."""
    every = math.ceil(len(places) / LABELLED)
    rows = range(0, len(places), every)
    axes.set_yticks(rows, [_shortened(places[row]) for row in rows], fontsize=points(8))
    axes.set_ylim(len(places) - 0.4, -0.6)


def _shortened(place: str) -> str:
    """A long path, shortened to its first and last name."""
    parts = place.split("/")
    return place if len(place) <= 32 or len(parts) < 3 else f"{parts[0]}/…/{parts[-1]}"
