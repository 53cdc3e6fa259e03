"""A callback that writes the history into a table while it grows.

    epoch,loss,validation_loss
    1,0.6931471805599453,0.7012
    2,0.5120983,0.6604

A row is on its way to the disk as soon as its epoch is over, so ``tail -f run.csv`` follows a
training, and what is there when a program is killed stays there.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field

from chainrule import files
from chainrule.callbacks.callback import Callback
from chainrule.callbacks.csv_table import EPOCH, columns_in, ends_with_newline, line, table
from chainrule.core.errors import StorageError
from chainrule.core.validators import a_path, yes_or_no

if TYPE_CHECKING:
    from chainrule.training.history import History
    from chainrule.training.trainer import Trainer

WHAT = "the table of epochs"


@define(eq=False)
class CSVLogger(Callback):
    """Writes a row for each epoch into a CSV file, as soon as the epoch is over.

    The columns are ``epoch`` and those of the history. The numbers have all their digits, so
    `History.from_csv` reads back what the history holds, bit for bit.

    Parameters
    ----------
    path
        The file. One that is there is replaced when a new run begins.
    append
        Whether the rows of a new run are added to those that are there instead. Their epochs count
        from 1 again.

    Raises
    ------
    ConfigurationError
        An argument makes no sense.
    StorageError
        The file cannot be written; what was written before stays. Or rows are to be added to a
        file that has other columns, or whose last row was not written to its end.

    Notes
    -----
    A run that is resumed goes on without a seam: the rows of epochs after the checkpoint, which
    are gone through once more, are dropped before that.

    Single steps are not written; `TensorBoard` does that.
    """

    path: str | os.PathLike[str] = field(validator=a_path)
    append: bool = field(default=False, validator=yes_or_no, kw_only=True)
    _earlier: int = field(default=0, init=False, repr=False)
    _left: int | None = field(default=None, init=False, repr=False)  # until it begins
    _columns: list[str] | None = field(default=None, init=False, repr=False)
    _file: FileIO | None = field(default=None, init=False, repr=False)

    # ---------------------------------------------------------------- what a trainer calls

    def check(self, trainer: Trainer) -> None:
        """Refuse a file that cannot be written, or that rows cannot be added to."""
        files.require_place_for_file(self.path, WHAT)
        self._kept(trainer, self._there())

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Make the file, or, in a run that is resumed, what it was at that point."""
        there = self._there()
        earlier = self._kept(trainer, there)
        self._left, self._earlier = None, len(earlier)
        self._columns = columns_in("".join(earlier))
        self._begin(earlier, trainer.history, there)

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: Mapping[str, float]) -> None:
        """Write a row."""
        columns = [EPOCH, *trainer.history]
        row = line([epoch, *[values[-1] for values in trainer.history.values()]])
        if self._columns is None:
            self._columns = columns
            row = line(columns) + row
        elif self._earlier:
            self._require_columns(columns, self._columns)
        elif self._columns != columns:  # from here on there is one more
            self._begin([], trainer.history, None)
            return
        self._write(row.encode())

    def on_fit_end(self, trainer: Trainer) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def state(self) -> dict[str, Any]:
        """How many lines of earlier runs there are."""
        return {"earlier": self._earlier}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave, when the run begins."""
        self._left = state["earlier"]

    # ---------------------------------------------------------------- what it does

    def _kept(self, trainer: Trainer, there: str | None) -> list[str]:
        """The lines of earlier runs, which stay; nothing is changed yet."""
        lines = _lines(there or "") if self.append else []
        if self._left is not None and trainer.is_resumed:
            lines = lines[: self._left]  # what comes after is gone through once more
        if lines and not ends_with_newline(lines[-1]):
            raise self._not_written_to_its_end(len(lines), lines[-1])
        columns = columns_in("".join(lines))
        if columns is not None:
            self._require_columns([*trainer.columns, *trainer.history], columns, at_least=True)
        return lines

    def _there(self) -> str | None:
        """What stands in the file, if there is one."""
        if not Path(self.path).is_file():
            return None
        content = files.read(self.path, WHAT)
        try:
            return content.decode()
        except UnicodeDecodeError:
            if self.append:
                raise self._not_of_these_columns("no text", "the columns of a table") from None
            return None

    def _begin(self, earlier: list[str], history: History, there: str | None) -> None:
        """Bring the file to where the run is, and open it for what follows."""
        if history.epochs:
            self._columns = [EPOCH, *history]
            rows = table(history)
            earlier = [*earlier, rows.partition("\n")[2] if earlier else rows]
        content = "".join(earlier)
        if content != there:
            files.write(self.path, content.encode(), WHAT)
        if self._file is not None:
            self._file.close()
        try:
            self._file = FileIO(os.fspath(self.path), "ab")  # no buffer: what is written is there
        except OSError as error:
            raise files.unwritten(self.path, error, WHAT) from error

    def _write(self, content: bytes) -> None:
        file = self._file
        if file is None:
            return
        try:
            size = os.fstat(file.fileno()).st_size
            try:
                left = memoryview(content)
                while left:
                    left = left[file.write(left) :]
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(file.fileno(), size)  # half a row says nothing
                raise
        except OSError as error:
            raise files.unwritten(self.path, error, WHAT) from error

    def _require_columns(
        self, columns: list[str], there: list[str], *, at_least: bool = False
    ) -> None:
        """Refuse to add to a file with other columns; or one that lacks some of these."""
        if not {*columns} <= {*there} or (not at_least and columns != there):
            expected = ",".join(columns if not at_least else [EPOCH, *dict.fromkeys(columns)])
            raise self._not_of_these_columns(",".join(there), expected)

    def _not_written_to_its_end(self, number: int, received: str) -> StorageError:
        return StorageError(
            "rows cannot be added after one that was not written to its end",
            place=f"{os.fspath(self.path)}, line {number}",
            expected="an end of the line after each row, also the last: what lacks it may lack"
            " digits, too",
            received=f"{received!r:.200}",
            hint="give it an end if it is whole, else take it out; or append=False, which replaces"
            " the file",
        )

    def _not_of_these_columns(self, received: str, expected: str) -> StorageError:
        return StorageError(
            "rows cannot be added to a file that holds something else",
            place=os.fspath(self.path),
            expected=f"{expected}" + ("" if expected.startswith("the") else " in its first line"),
            received=f"{received:.200}",
            hint="give another file, or append=False, which replaces it",
        )


def _lines(text: str) -> list[str]:
    """The lines, each with its end, if it has one."""
    return [each for each in re.split(r"(?<=\n)", text) if each]
