"""The report of a fit: a table of values with errors, and how good the fit is.

It prints in a terminal, shows as HTML in a notebook, and `Report.latex` is a table for an article.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.core.html_table import html_table
from chainrule.core.terminal import encodable, printable, printed
from chainrule.fitting.arguments import windows
from chainrule.fitting.estimate import written

if TYPE_CHECKING:
    from chainrule.fitting.fit import Fit

Row = tuple[str, str, str, str]
HEAD = ("parameter", "value", "standard error", "relative")

SHOWN = 40
"""A longer table is printed without its middle."""
STRONG = 0.9
"""Correlations above are listed."""


class Report:
    """What `Fit.report` returns.

    Attributes
    ----------
    rows : list of tuple
        (name, value, standard error) of each number, as text.
    notes : list of str
        The lines below the table.
    """

    def __init__(self, fit: Fit) -> None:
        self._fit = fit
        self.rows = _rows(fit)
        self.notes = _notes(fit)

    @printable
    def __str__(self) -> str:
        return printed(self, width=100).rstrip("\n")

    __repr__ = __str__

    def __rich_console__(self, console: Any, options: Any) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
        table.add_column(HEAD[0])
        for name in HEAD[1:]:
            table.add_column(name, justify="right")
        for row in _shortened(self.rows):
            table.add_row(*(encodable(cell, options.encoding) for cell in row))
        yield table
        for note in self.notes:
            yield Text(encodable(note, options.encoding), style="dim")

    def html(self) -> str:
        """A table for a page; a notebook shows it by itself."""
        return html_table(HEAD, _shortened(self.rows), "lrrr", notes=self.notes)

    _repr_html_ = html

    def latex(self) -> str:
        """A table for LaTeX, without a package: ``print(fit.report().latex())``."""
        lines = [r"\begin{tabular}{lr@{ $\pm$ }l}", r"\hline"]
        lines += [r"parameter & \multicolumn{2}{c}{value} \\", r"\hline"]
        for name, value, error, _ in self.rows:
            escaped, number = name.replace("_", r"\_"), _latex_number(value)
            if error == "fixed":
                lines.append(rf"{escaped} & \multicolumn{{2}}{{c}}{{${number}$ (fixed)}} \\")
            else:
                lines.append(rf"{escaped} & ${number}$ & ${_latex_number(error)}$ \\")
        fit = self._fit
        if fit.has_absolute_errors:
            quality = rf"$\chi^2 = {fit.chi_squared:.4g}$ with {fit.degrees_of_freedom} degrees"
            lines += [r"\hline", rf"\multicolumn{{3}}{{l}}{{{quality} of freedom}} \\"]
        return "\n".join([*lines, r"\hline", r"\end{tabular}"])


def _latex_number(text: str) -> str:
    if text == "∞":
        return r"\infty"
    mantissa, e, exponent = text.partition("e")
    return rf"{mantissa}\times 10^{{{int(exponent)}}}" if e else mantissa


def _rows(fit: Fit) -> list[Row]:
    rows = []
    for path, where in windows(fit._parameters).items():
        parameter = fit._parameters[path]
        for number, entry in enumerate(np.ndindex(parameter.shape)):
            value = float(fit.values[where][number])
            error = float(fit.standard_errors[where][number])
            name = path + (f"[{', '.join(map(str, entry))}]" if entry else "")
            if where.start not in fit._problem.free:
                rows.append((name, f"{value:.6g}", "fixed", ""))
                continue
            text, deviation = written(value, error)
            has_share = abs(value) > 1e-6 * error and math.isfinite(error)
            relative = f"{float(f'{100 * abs(error / value):.2g}'):,g} %" if has_share else ""
            rows.append((name, text, deviation, relative))
    return rows


def _shortened(rows: Sequence[Row]) -> Sequence[Row]:
    if len(rows) <= SHOWN:
        return rows
    half = SHOWN // 2
    gap = (f"… {len(rows) - 2 * half} more", "", "", "")
    return [*rows[:half], gap, *rows[-half:]]


def _notes(fit: Fit) -> list[str]:
    freedom = fit.degrees_of_freedom
    per = f"{fit.reduced_chi_squared:.4g}" if freedom else "–"
    quality = f"χ² = {fit.chi_squared:.6g}, {freedom} degrees of freedom, χ² per degree {per}"
    if not math.isnan(fit.p_value):
        quality += f", p = {fit.p_value:.2g}"
    notes = [quality]
    if fit.loss != "linear":
        notes.append(f"robust loss {fit.loss}: χ² and p count the outliers in full")
    if not fit.has_absolute_errors:
        notes.append(
            "no deviations given: errors are scaled by the residuals"
            if freedom
            else "as many parameters as data: the values are determined, but no residuals are left "
            "to estimate their errors from; give deviations"
        )
    strong = _strong_correlations(fit)
    if strong:
        notes.append("correlations: " + ", ".join(strong))
    if fit.undetermined:
        notes.append(
            f"not determined by these data: {', '.join(fit.undetermined)}; freeze one of them, or "
            "add data or priors"
        )
    if fit.at_bound:
        notes.append(f"at a bound: {', '.join(fit.at_bound)}; the errors are only indicative")
    return notes


def _strong_correlations(fit: Fit, shown: int = 5) -> list[str]:
    names = [row[0] for row in _rows(fit)]
    if len(names) > 200:
        return []
    found = np.nan_to_num(np.triu(fit.correlations, 1))
    pairs = np.argwhere(np.abs(found) > STRONG)
    order = sorted(pairs.tolist(), key=lambda pair: -abs(found[pair[0], pair[1]]))
    texts = [f"{names[i]}, {names[j]} {found[i, j]:+.3f}" for i, j in order[:shown]]
    return texts + ([f"{len(order) - shown} more"] if len(order) > shown else [])
