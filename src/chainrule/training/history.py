"""The history of a training run: one number for each epoch and figure, the learning curve.

The loss of an epoch is the average of the costs of its batches B, weighted by their sizes,

    loss = Σ_B |B| C_B / Σ_B |B|,        C_B taken from the parameters before the step on B,

so that every sample counts the same. The network gets better while the epoch lasts. The loss of
the validation data is that of the network at its end, which is why it can be the smaller one.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from chainrule import files
from chainrule.callbacks import csv_table
from chainrule.core.errors import ConfigurationError, MissingExtraError, StorageError

FORMAT = "chainrule-history-1"
WHAT = "the history"


class History(Mapping[str, list[float]]):
    """What was measured, epoch by epoch: a mapping of lists.

    ``history["loss"]`` is there always; ``history["dense_3_loss"]`` and the like for the outputs of
    a model that has several; ``history["accuracy"]`` and the like where metrics were asked for;
    ``history["validation_loss"]`` and so on where there were validation data;
    ``history["learning_rate"]`` where a schedule sets it. All lists have one number for each epoch.

    Parameters
    ----------
    figures
        Lists of the same length, by their names; what `to_dict` gives. None at all if not given.

    Raises
    ------
    ConfigurationError
        Lists of different lengths, or one called ``epoch``: that is what tables call the rows.

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
                "the columns of a history are of different lengths",
                place="History",
                expected="one number for each epoch in every column",
                received=", ".join(f"{name}: {len(each)}" for name, each in self._figures.items()),
            )

    def __getitem__(self, name: str) -> list[float]:
        try:
            return self._figures[name]
        except KeyError:
            known = ", ".join(self._figures) or "nothing yet"
            raise KeyError(f"no {name!r} in the history; there is {known}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._figures)

    def __len__(self) -> int:
        return len(self._figures)

    def append(self, figures: Mapping[str, float]) -> None:
        """Add an epoch.

        What it lacks of the columns so far is NaN; and a column that is new is NaN in the epochs
        before.

        Raises
        ------
        ConfigurationError
            There is a figure called ``epoch``; nothing is added then.
        """
        _require_names(figures)
        epochs = self.epochs
        for name in [*self._figures, *figures]:
            column = self._figures.setdefault(name, [math.nan] * epochs)
            if len(column) == epochs:
                column.append(float(figures.get(name, math.nan)))

    @property
    def epochs(self) -> int:
        """How many epochs there are."""
        return max(map(len, self._figures.values()), default=0)

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the least validation loss, or of the least loss without validation data.

        Counted from 1; of several, the first. None where there are no epochs, or where in all of
        them that loss is NaN or infinite.
        """
        losses = self._figures.get("validation_loss") or self._figures.get("loss") or []
        least = min((loss for loss in losses if loss < math.inf), default=None)
        return None if least is None else losses.index(least) + 1

    def to_dict(self) -> dict[str, list[float]]:
        """A plain dictionary of plain lists, which are copies."""
        return {name: list(values) for name, values in self.items()}

    def to_pandas(self) -> Any:
        """A pandas DataFrame with a column for each figure; the index is the epoch, from 1 on.

        Raises
        ------
        MissingExtraError
            pandas is not installed: ``pip install 'chainrule[pandas]'``.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingExtraError(
                "DataFrames are made by pandas, which is not installed",
                expected="pandas 2.2 or newer, which the extra `pandas` brings along",
                received=str(error),
                hint="pip install 'chainrule[pandas]', or history.to_csv(path)",
            ) from error
        epochs = pandas.RangeIndex(1, self.epochs + 1, name=csv_table.EPOCH)
        return pandas.DataFrame(self.to_dict(), index=epochs, dtype=float)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write it as a table, a row for each epoch, with all digits; `from_csv` reads it.

        Raises
        ------
        StorageError
            The file cannot be written; what stood there is as it was.
        """
        files.write(path, csv_table.table(self).encode(), WHAT)

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str]) -> Self:
        """The history in a table that `to_csv` wrote, or `callbacks.CSVLogger`, bit for bit.

        Raises
        ------
        StorageError
            There is no such file, or no such table in it, or that of several runs, or one whose
            last row was not written to its end.
        """
        content = files.read(path, WHAT)
        try:
            return cls(csv_table.read(content.decode("utf-8-sig")))
        except ValueError as error:  # that of UTF-8 among them
            raise _unread(path, str(error)) from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON, which `load` reads.

        Raises
        ------
        StorageError
            The file cannot be written; what stood there is as it was.
        """
        figures = {name: [_as_json(value) for value in values] for name, values in self.items()}
        content = json.dumps({"format": FORMAT, "history": figures}, indent=1)
        files.write(path, f"{content}\n".encode(), WHAT)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The history that `save` wrote.

        Raises
        ------
        StorageError
            There is no such file, or no history in it.
        """
        content = files.read(path, WHAT)
        try:
            found = json.loads(content)
            if found["format"] != FORMAT:
                raise ValueError(f"format {found['format']!r}, not {FORMAT!r}")
            return cls(dict(found["history"].items()))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _unread(path, f"{type(error).__name__}: {error}") from error

    def plot(self, ax: Any = None) -> Any:
        """Draw the learning curves with matplotlib: ``pip install 'chainrule[plot]'``.

        Parameters
        ----------
        ax
            The axes to draw the losses into. If not given, a new figure is made, with axes for
            the losses, for each metric, and for the learning rate where it is a column; at most
            three side by side.

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

    def __repr__(self) -> str:
        ends = [f"{k} {_as_text(v[0])} → {_as_text(v[-1])}" for k, v in self.items() if v]
        count = f"{self.epochs} epoch{'s' if self.epochs != 1 else ''}"
        return f"History({': '.join([count, ', '.join(ends)]) if ends else count})"


def _unread(path: str | os.PathLike[str], received: str) -> StorageError:
    return StorageError("no history could be read", place=os.fspath(path), received=received)


def _require_names(columns: Iterable[str]) -> None:
    if csv_table.EPOCH in columns:
        raise ConfigurationError(
            "a column of the history cannot be called 'epoch'",
            place="History",
            expected="another name: 'epoch' is that of the rows, in every table of it",
            received=", ".join(columns),
            hint="such as 'epoch_number', in a callback's figures or as the name of a metric",
        )


def _shown(epochs: int, best: int | None) -> list[int]:
    """The epochs that are printed: the first, the last, the best, and at most ten between."""
    steps = (factor * 10**power for power in itertools.count() for factor in (1, 2, 5))
    step = next(step for step in steps if epochs <= 10 * step)
    return sorted({1, *range(step, epochs + 1, step), epochs, best or 1})


def _as_text(value: float) -> str:
    """Four digits: ``0.1234``, ``12.34``, ``1.234e-05``."""
    return f"{value:#.4g}" if math.isfinite(value) else str(value)


def _as_json(value: float) -> float | str:
    # JSON has no NaN and no infinity; float() reads both back from a string.
    return value if math.isfinite(value) else str(value)
