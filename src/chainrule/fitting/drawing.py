"""The figure of a fit: data with error bars, the curve with its band, and the residuals below.

residual  (t − f)/σ        two thirds of them should lie between −1 and 1, without a pattern
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import figure_style
from chainrule.core.errors import ConfigurationError
from chainrule.core.input_checks import as_tuple

if TYPE_CHECKING:
    from chainrule.fitting.fit import Fit

POINTS = 400
"""Of the curve."""


def draw(fit: Fit, probability: float) -> Any:
    """The figure, with a column for each number of the output."""
    problem = fit._problem
    inputs, targets = problem.inputs, problem.targets
    if len(inputs) != 1 or inputs[0].size != len(inputs[0]):
        raise ConfigurationError(
            "plot: there is no x axis for this model",
            expected="rows of one number",
            received=", ".join(str(x.shape) for x in inputs),
            hint="plot fit.residuals and fit.band(x) yourself",
        )
    x = inputs[0].ravel()
    margin = 0.03 * (np.ptp(x) or 1.0)
    grid = np.linspace(x.min() - margin, x.max() + margin, POINTS)
    rows = grid.reshape(-1, *inputs[0].shape[1:]).astype(fit.model.dtype)
    with np.errstate(all="ignore"):  # beside the data, the model may have no value
        lower, upper = fit.band(rows, probability)
        curve, _ = problem.curve(fit._solution.values, (rows,))
    columns = _columns(targets)
    residuals = np.concatenate([_two(r) for r in as_tuple(fit.residuals)], axis=1)
    deviations = _deviations(fit, targets)
    figure = figure_style.new_figure(
        figsize=(4.6 * max(len(columns) * 0.8, 1), 4.2), layout="constrained"
    )
    axes = figure.subplots(
        2, len(columns), sharex=True, squeeze=False, gridspec_kw={"height_ratios": [3, 1]}
    )
    flat = [
        np.concatenate([_two(a) for a in as_tuple(part)], axis=1) for part in (curve, lower, upper)
    ]
    for n, (name, values) in enumerate(columns):
        top, bottom = axes[:, n]
        sigma = None if deviations is None else deviations[:, n]
        style = {"fmt": "o", "ms": 4, "color": figure_style.ink(), "zorder": 3}
        top.errorbar(x, values, sigma, label="data", elinewidth=0.9, **style)
        top.plot(grid, flat[0][:, n], color=figure_style.training(), label="model")
        if np.any(np.isfinite(flat[1][:, n])):  # a model may have no value beside the data
            top.fill_between(
                grid, flat[1][:, n], flat[2][:, n], color=figure_style.training(), alpha=0.25, lw=0,
                label=f"{100 * probability:.4g} % band",
            )  # fmt: skip
        unit = np.full(len(x), fit._scale) if sigma is None else sigma
        bottom.axhspan(-1, 1, color=figure_style.pale(), lw=0)
        bottom.axhline(0, color=figure_style.training(), lw=1)
        pulls = residuals[:, n] / np.where(unit > 0, unit, 1.0)
        bottom.plot(x, pulls, "o", ms=4, color=figure_style.ink())
        largest = max(2.2, 1.15 * float(np.abs(pulls).max(initial=0)))
        bottom.set_ylim(-largest, largest)
        bottom.set_xlabel("x")
        top.set_ylabel(name)
        for ax in (top, bottom):
            figure_style.tidy(ax)
            ax.xaxis.get_major_locator().set_params(integer=False)
        top.legend(frameon=False)
    axes[1, 0].set_ylabel("residual / σ")
    return figure


def _two(array: Any) -> Any:
    return np.asarray(array).reshape(len(array), -1)


def _columns(targets: tuple[Any, ...]) -> list[tuple[str, Any]]:
    """Each number of the outputs, with a name."""
    flat = np.concatenate([_two(t) for t in targets], axis=1)
    one = flat.shape[1] == 1
    return [("y" if one else f"y[{n}]", flat[:, n]) for n in range(flat.shape[1])]


def _deviations(fit: Fit, targets: tuple[Any, ...]) -> Any:
    given = fit._problem.noise.deviations
    if given is None:
        return None
    ends = np.cumsum([t.size for t in targets])
    parts = [
        given[end - t.size : end].reshape(t.shape) for end, t in zip(ends, targets, strict=True)
    ]
    return np.concatenate([_two(part) for part in parts], axis=1)
