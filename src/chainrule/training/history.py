"""The history of a training run: the loss and the metrics of every epoch, the learning curve.

The loss of an epoch is the average of the costs of its batches B, weighted by their sizes,

    loss = Σ_B |B| C_B / Σ_B |B|,        C_B computed with the parameters before the step on B,

so every sample counts the same. The network improves during the epoch, and the validation loss is
computed at its end, which is why the validation loss can be the smaller of the two.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Self

from chainrule import files
from chainrule.callbacks import csv_table
from chainrule.callbacks.column_names import nearest_column
from chainrule.core.errors import ConfigurationError, StorageError
from chainrule.core.extras import required
from chainrule.core.hints import Hinted
from chainrule.core.html_table import Html, html_table
from chainrule.core.terminal import printable

FORMAT = "chainrule-history-1"
WHAT = "the history"


class History(Hinted, dict[str, list[float]]):
    """What was measured in each epoch: a dictionary from names to lists, which `append` extends.

    ``pandas.DataFrame(history)`` and ``polars.DataFrame(history)`` have its columns, and a row for
    each epoch; with `to_pandas`, the index is the number of the epoch.

    ``history["loss"]`` always exists; ``history["dense_3_loss"]`` and so on for a model with
    several outputs; ``history["accuracy"]`` and so on for metrics; ``history["validation_loss"]``
    and so on with validation data; ``history["learning_rate"]`` if a schedule sets it. Each list
    has one number per epoch.

    Parameters
    ----------
    figures
        Lists of equal length, by name, as `to_dict` returns them; empty if not given.

    Raises
    ------
    ConfigurationError
        The lists differ in length, or one is called ``epoch``, which is the name of the row numbers
        in tables.

    Examples
    --------
    >>> history = History({"loss": [2.0, 1.0], "validation_loss": [1.5, 1.75]})
    >>> history["loss"]
    [2.0, 1.0]
    >>> print(history)
    epoch   loss  validation_loss
        1  2.000            1.500  ← best
        2  1.000            1.750
    """

    def __init__(self, figures: Mapping[str, list[float]] | None = None) -> None:
        given = figures or {}
        _require_names(given)
        super().__init__({name: [float(value) for value in given[name]] for name in given})
        if len({len(values) for values in self.values()}) > 1:
            raise ConfigurationError(
                "the columns of a history have different lengths",
                place="History",
                expected="one number for each epoch in every column",
                received=", ".join(f"{name}: {len(each)}" for name, each in self.items()),
            )

    def __missing__(self, name: str) -> list[float]:
        known = ", ".join(self) or "nothing yet"
        nearest = nearest_column(name, list(self)) if isinstance(name, str) else None
        hint = f"; did you mean {nearest!r}?" if nearest else ""
        raise KeyError(f"no {name!r} in the history; there is {known}{hint}")

    def _refuse(self, *given: Any, **named: Any) -> NoReturn:
        raise ConfigurationError(
            "the columns of a history cannot be replaced: all have one number for each epoch",
            place="History",
            expected="history.append(figures), which adds an epoch",
            received="a change of the dictionary",
            hint="History({**history, …}) makes another history",
        )

    if not TYPE_CHECKING:  # so that type checkers report it, too
        __setitem__ = __delitem__ = __ior__ = setdefault = update = _refuse
        pop = popitem = clear = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)

    def append(self, figures: Mapping[str, float]) -> None:
        """Add an epoch.

        Existing columns that it lacks get NaN, and a new column has NaN in the earlier epochs.

        Raises
        ------
        ConfigurationError
            A figure is called ``epoch``; then nothing is added.
        """
        _require_names(figures)
        epochs = self.epochs
        for name in [*self, *figures]:
            if name not in self:
                super().__setitem__(name, [math.nan] * epochs)
            column = self[name]
            if len(column) == epochs:
                column.append(float(figures.get(name, math.nan)))

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return max(map(len, self.values()), default=0)

    @property
    def best_epoch(self) -> int | None:
        """The epoch with the lowest validation loss, or without validation data the lowest loss.

        Counted from 1; the first if there are several. None if there are no epochs, or if that loss
        is NaN or infinite in all of them.
        """
        losses = self.get("validation_loss") or self.get("loss") or []
        least = min((loss for loss in losses if loss < math.inf), default=None)
        return None if least is None else losses.index(least) + 1

    def to_dict(self) -> dict[str, list[float]]:
        """A dictionary of lists, all of them copies."""
        return {name: list(values) for name, values in self.items()}

    def to_pandas(self) -> Any:
        """A pandas DataFrame with the same columns; the index is the epoch, counted from 1.

        Raises
        ------
        MissingExtraError
            pandas is not installed: ``pip install 'chainrule[pandas]'``.
        """
        pandas = required("pandas", "a DataFrame needs", otherwise="history.to_csv(path)")
        epochs = pandas.RangeIndex(1, self.epochs + 1, name=csv_table.EPOCH)
        return pandas.DataFrame(self.to_dict(), index=epochs, dtype=float)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write it as a table with one row per epoch and all digits; `from_csv` reads it.

        Raises
        ------
        StorageError
            The file cannot be written; an existing file is unchanged.
        """
        files.write(path, csv_table.table(self).encode(), WHAT)

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str]) -> Self:
        """Read a table written by `to_csv` or `callbacks.CSVLogger`; the numbers are bit-identical.

        Raises
        ------
        StorageError
            The file does not exist, holds no such table or those of several runs, or its last row
            is incomplete.
        """
        content = files.read(path, WHAT)
        try:
            return cls(csv_table.read(content.decode("utf-8-sig")))
        except ValueError as error:  # includes UnicodeDecodeError
            raise _unread(path, str(error)) from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON, which `load` reads.

        Raises
        ------
        StorageError
            The file cannot be written; an existing file is unchanged.
        """
        import json

        figures = {name: [_as_json(value) for value in values] for name, values in self.items()}
        content = json.dumps({"format": FORMAT, "history": figures}, indent=1)
        files.write(path, f"{content}\n".encode(), WHAT)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a history that `save` wrote.

        Raises
        ------
        StorageError
            The file does not exist or holds no history.
        """
        import json

        content = files.read(path, WHAT)
        try:
            found = json.loads(content)
            if found["format"] != FORMAT:
                raise ValueError(f"the format is {found['format']!r}, not {FORMAT!r}")
            return cls(dict(found["history"].items()))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _unread(path, f"{type(error).__name__}: {error}") from error

    def plot(self, ax: Any = None) -> Any:
        """Draw the learning curves with matplotlib: ``pip install 'chainrule[plot]'``.

        Parameters
        ----------
        ax
            The axes to draw the losses into. If not given, a new figure is created, with axes for
            the losses, each metric and, if it is a column, the learning rate; at most three in a
            row.

        Returns
        -------
        matplotlib.figure.Figure
            The figure, for ``.savefig("history.png")``.

        Raises
        ------
        MissingExtraError
            matplotlib is not installed.
        """
        from chainrule.training import curves

        return curves.draw(self, ax)

    @printable
    def __str__(self) -> str:
        best = self.best_epoch
        if not self.epochs:
            return "no epochs yet"
        columns = [["epoch"], *([name] for name in self)]
        shown = _shown(self.epochs, best)
        for epoch in shown:
            columns[0].append(str(epoch))
            for column, values in zip(columns[1:], self.values(), strict=True):
                column.append(_as_text(values[epoch - 1]))
        widths = [max(map(len, column)) for column in columns]
        lines = [
            "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
            for row in zip(*columns, strict=True)
        ]
        if best is not None:
            lines[shown.index(best) + 1] += "  ← best"
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The rows of `str` below a small curve of each column."""
        best, shown = self.best_epoch, _shown(self.epochs, self.best_epoch)
        rows: list[list[str]] = [["curve", *map(_curve, self.values())]] if self.epochs > 1 else []
        for epoch in shown if self.epochs else ():
            mark = "\u00a0★\u00a0best" if epoch == best else ""
            rows.append([f"{epoch}{mark}", *(_as_text(v[epoch - 1]) for v in self.values())])
        strong = {len(rows) - len(shown) + shown.index(best)} if best else ()
        head = ["epoch", *(name.replace("_", " ") for name in self)]
        title = f"History of {self.epochs:,} epoch{'s' * (self.epochs != 1)}"
        return html_table(head, rows, "l" + "r" * len(self), title=title, strong=strong)

    @printable
    def __repr__(self) -> str:
        ends = [f"{k} {_as_text(v[0])} → {_as_text(v[-1])}" for k, v in self.items() if v]
        count = f"{self.epochs} epoch{'s' if self.epochs != 1 else ''}"
        return f"History({': '.join([count, ', '.join(ends)]) if ends else count})"


def _unread(path: str | os.PathLike[str], received: str) -> StorageError:
    return StorageError("the history could not be read", place=os.fspath(path), received=received)


def _require_names(columns: Iterable[str]) -> None:
    if csv_table.EPOCH in columns:
        raise ConfigurationError(
            "a column of the history cannot be called 'epoch'",
            place="History",
            expected="another name: 'epoch' is the index of every table of a history",
            received=", ".join(columns),
            hint="rename the metric or the callback's figure, for example 'epoch_number'",
        )


def _shown(epochs: int, best: int | None) -> list[int]:
    """The epochs to print: the first, the last, the best, and at most ten in between."""
    steps = (factor * 10**power for power in itertools.count() for factor in (1, 2, 5))
    step = next(step for step in steps if epochs <= 10 * step)
    return sorted({1, *range(step, epochs + 1, step), epochs, best or 1})


WIDTH, HEIGHT, MOST_POINTS = 96, 26, 96
"""The size of a small curve in a table, and its most points."""


def _curve(values: Sequence[float]) -> Html:
    """A small curve; where the values span more than a factor of ten, its scale is logarithmic."""
    step = -(-len(values) // MOST_POINTS)
    heights = [values[n] for n in sorted({*range(0, len(values), step), len(values) - 1})]
    finite = [height for height in heights if math.isfinite(height)]
    if not finite:
        return Html("–")
    is_logarithmic = min(finite) > 0 and max(finite) > 10 * min(finite)
    scaled = [math.log(h) if is_logarithmic and math.isfinite(h) else h for h in heights]
    low = min(h for h in scaled if math.isfinite(h))
    span = max(h for h in scaled if math.isfinite(h)) - low or 1.0
    points = [
        f"{2 + (WIDTH - 4) * n / max(len(scaled) - 1, 1):.1f},"
        f"{HEIGHT - 3 - (HEIGHT - 6) * (height - low) / span:.1f}"
        for n, height in enumerate(scaled)
        if math.isfinite(height)
    ]
    label = f"from {_as_text(values[0])} to {_as_text(values[-1])}"
    x, y = points[-1].split(",")
    return Html(
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{label}" style="display: inline-block; overflow: visible">'
        f'<polyline points="{" ".join(points)}" fill="none" stroke="currentColor" '
        f'stroke-width="1.4" stroke-linejoin="round" opacity="0.75"/>'
        f'<circle cx="{x}" cy="{y}" r="2.2" fill="currentColor"/></svg>'
    )


def _as_text(value: float) -> str:
    """Four significant digits: ``0.1234``, ``12.34``, ``1.234e-05``."""
    return f"{value:#.4g}" if math.isfinite(value) else str(value)


def _as_json(value: float) -> float | str:
    # JSON has no NaN or infinity; float() reads both from a string.
    return value if math.isfinite(value) else str(value)
