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
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from chainrule import files
from chainrule.callbacks import csv_table
from chainrule.callbacks.column_names import nearest_column
from chainrule.core.errors import ConfigurationError, StorageError
from chainrule.core.extras import required
from chainrule.core.hints import Hinted
from chainrule.core.terminal import printable

FORMAT = "chainrule-history-1"
WHAT = "the history"


class History(Hinted, Mapping[str, list[float]]):
    """What was measured in each epoch: a mapping from names to lists.

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
        self._figures = {name: [float(value) for value in given[name]] for name in given}
        if len({len(values) for values in self._figures.values()}) > 1:
            raise ConfigurationError(
                "the columns of a history have different lengths",
                place="History",
                expected="one number for each epoch in every column",
                received=", ".join(f"{name}: {len(each)}" for name, each in self._figures.items()),
            )

    def __getitem__(self, name: str) -> list[float]:
        try:
            return self._figures[name]
        except KeyError:
            known = ", ".join(self._figures) or "nothing yet"
            nearest = nearest_column(name, list(self._figures)) if isinstance(name, str) else None
            hint = f"; did you mean {nearest!r}?" if nearest else ""
            raise KeyError(f"no {name!r} in the history; there is {known}{hint}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._figures)

    def __len__(self) -> int:
        return len(self._figures)

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
        for name in [*self._figures, *figures]:
            column = self._figures.setdefault(name, [math.nan] * epochs)
            if len(column) == epochs:
                column.append(float(figures.get(name, math.nan)))

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return max(map(len, self._figures.values()), default=0)

    @property
    def best_epoch(self) -> int | None:
        """The epoch with the lowest validation loss, or without validation data the lowest loss.

        Counted from 1; the first if there are several. None if there are no epochs, or if that loss
        is NaN or infinite in all of them.
        """
        losses = self._figures.get("validation_loss") or self._figures.get("loss") or []
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


def _as_text(value: float) -> str:
    """Four significant digits: ``0.1234``, ``12.34``, ``1.234e-05``."""
    return f"{value:#.4g}" if math.isfinite(value) else str(value)


def _as_json(value: float) -> float | str:
    # JSON has no NaN or infinity; float() reads both from a string.
    return value if math.isfinite(value) else str(value)
