"""A callback that writes the history to a CSV file while it grows.

    epoch,loss,validation_loss
    1,0.6931471805599453,0.7012
    2,0.5120983,0.6604

A row is written as soon as its epoch is over, so ``tail -f run.csv`` follows the training, and a
killed program loses no row that it has written.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import define, field

from chainrule import files
from chainrule.callbacks.callback import Callback, require_own_place, require_state
from chainrule.callbacks.csv_table import EPOCH, columns_in, ends_with_newline, line, table
from chainrule.core.errors import StorageError, shortened
from chainrule.core.validators import FIXED_IN_A_RUN, a_path, yes_or_no

if TYPE_CHECKING:
    from chainrule.training.history import History
    from chainrule.training.trainer import Trainer

WHAT = "the table of epochs"


@define(eq=False)
class CSVLogger(Callback):
    """Writes a row for each epoch to a CSV file, as soon as the epoch is over.

    The columns are ``epoch`` and those of the history. The numbers have all their digits, so
    `History.from_csv` reads back the history bit for bit.

    Parameters
    ----------
    path
        The file. A new run replaces an existing file.
    append
        Whether to add the rows of a new run to an existing file instead. Their epochs count from 1
        again.

    Raises
    ------
    ConfigurationError
        An argument is invalid.
    StorageError
        The file cannot be written; existing rows stay. Or ``append`` is on, and the file has other
        columns or an incomplete last row.

    Notes
    -----
    A resumed run continues the table seamlessly: the rows of epochs after the checkpoint, which are
    computed again, are removed first.

    Single steps are not written; use `TensorBoard` for them.
    """

    changes_rate_alone: ClassVar[bool] = True

    path: str | os.PathLike[str] = field(validator=a_path, on_setattr=FIXED_IN_A_RUN)
    append: bool = field(
        default=False, validator=yes_or_no, kw_only=True, on_setattr=FIXED_IN_A_RUN
    )
    _earlier: int = field(default=0, init=False, repr=False)
    _restored: int | None = field(default=None, init=False, repr=False)  # until the run begins
    _columns: list[str] | None = field(default=None, init=False, repr=False)
    _file: FileIO | None = field(default=None, init=False, repr=False)
    _at: Path | None = field(default=None, init=False, repr=False)  # wherever the program goes

    # ---------------------------------------------------------------- called by the trainer

    def check(self, trainer: Trainer) -> None:
        """Raise an error if the file cannot be written, or rows cannot be added to it."""
        self._at = files.resolved(self.path)
        files.require_place_for_file(self.path, WHAT)
        require_own_place(self, CSVLogger, "path", trainer)
        self._lines_to_keep(trainer, self._content())

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Create the file; in a resumed run, bring it back to the state at the checkpoint."""
        content = self._content()
        earlier = self._lines_to_keep(trainer, content)
        self._restored, self._earlier = None, len(earlier)
        self._columns = columns_in("".join(earlier))
        self._begin(earlier, trainer.history, content)

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: Mapping[str, float]) -> None:
        """Write a row."""
        columns = [EPOCH, *trainer.history]
        row = line([epoch, *[values[-1] for values in trainer.history.values()]])
        if self._columns is None:
            self._columns = columns
            row = line(columns) + row
        elif self._earlier:
            self._require_columns(columns, self._columns)
        elif self._columns != columns:  # a column was added
            self._begin([], trainer.history, None)
            return
        self._write(row.encode())

    def on_fit_end(self, trainer: Trainer) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file = self._at = None

    def state(self) -> dict[str, Any]:
        """The number of lines from earlier runs."""
        return {"earlier": self._earlier}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from an earlier `state` when the run begins."""
        require_state(self, state, {"earlier": (int,)})
        self._restored = state["earlier"]

    # ---------------------------------------------------------------- reading and writing

    @property
    def _place(self) -> Path:
        return self._at or files.resolved(self.path)

    def _lines_to_keep(self, trainer: Trainer, content: str | None) -> list[str]:
        """The lines of earlier runs, which are kept; nothing is changed yet."""
        lines = _lines(content or "") if self.append else []
        if self._restored is not None and trainer.is_resumed:
            lines = lines[: self._restored]  # later epochs are computed again
        if lines and not ends_with_newline(lines[-1]):
            raise self._incomplete_row(len(lines), lines[-1])
        columns = columns_in("".join(lines))
        if columns is not None:
            self._require_columns([*trainer.columns, *trainer.history], columns, at_least=True)
        return lines

    def _content(self) -> str | None:
        """The content of the file; None if there is no file."""
        if not self._place.is_file():
            return None
        content = files.read(self._place, WHAT)
        try:
            return content.decode()
        except UnicodeDecodeError:
            if self.append:
                raise self._other_content("not a text file", "the columns of a table") from None
            return None

    def _begin(self, earlier: list[str], history: History, current: str | None) -> None:
        """Bring the file to the state of the run, and open it for the rows that follow."""
        if history.epochs:
            self._columns = [EPOCH, *history]
            rows = table(history)
            earlier = [*earlier, rows.partition("\n")[2] if earlier else rows]
        content = "".join(earlier)
        if content != current:
            files.write(self._place, content.encode(), WHAT)
        if self._file is not None:
            self._file.close()
        try:
            self._file = FileIO(self._place, "ab")  # unbuffered: rows reach the file at once
        except OSError as error:
            raise files.unwritten(self.path, error, WHAT) from error

    def _write(self, content: bytes) -> None:
        file = self._file
        if file is None:
            return
        try:
            size = os.fstat(file.fileno()).st_size
            try:
                remaining = memoryview(content)
                while remaining:
                    remaining = remaining[file.write(remaining) :]
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(file.fileno(), size)  # leave no incomplete row
                raise
        except OSError as error:
            raise files.unwritten(self.path, error, WHAT) from error

    def _require_columns(
        self, columns: list[str], existing: list[str], *, at_least: bool = False
    ) -> None:
        """Raise an error if the file has other columns, or, with ``at_least``, not all of these."""
        if not {*columns} <= {*existing} or (not at_least and columns != existing):
            expected = ",".join(columns if not at_least else [EPOCH, *dict.fromkeys(columns)])
            raise self._other_content(",".join(existing), expected)

    def _incomplete_row(self, number: int, received: str) -> StorageError:
        return StorageError(
            "rows cannot be added after an incomplete row",
            place=f"{os.fspath(self.path)}, line {number}",
            expected="a newline after each row, including the last; without it, digits may be"
            " missing, too",
            received=shortened(received, 200),
            hint="add a newline if the row is complete, otherwise delete the row; or use"
            " append=False, which replaces the file",
        )

    def _other_content(self, received: str, expected: str) -> StorageError:
        return StorageError(
            "rows cannot be added to a file with other content",
            place=os.fspath(self.path),
            expected=f"{expected}" + ("" if expected.startswith("the") else " in its first line"),
            received=f"{received:.200}",
            hint="use another file, or append=False, which replaces it",
        )


def _lines(text: str) -> list[str]:
    """The lines, each with its newline, if it has one."""
    return [each for each in re.split(r"(?<=\n)", text) if each]
