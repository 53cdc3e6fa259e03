"""A callback that writes checkpoints, from which a killed run can be resumed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import define, field

from chainrule import checkpoints, files
from chainrule.callbacks.callback import Callback
from chainrule.core import validators
from chainrule.core.errors import ConfigurationError, StorageError

if TYPE_CHECKING:
    from chainrule.training.trainer import Trainer


WHAT = "the checkpoint folder"


@define(eq=False)
class Checkpoint(Callback):
    """Saves the state of the run to a folder at regular steps, and keeps the last few checkpoints.

    ``fit(…, callbacks=[Checkpoint(folder)], resume_from=folder)`` starts a new run if there is no
    checkpoint yet, and otherwise resumes the run that was killed. The resumed run gives the same
    numbers, bit for bit, as an uninterrupted one.

    Parameters
    ----------
    folder
        The folder; it is created if it does not exist.
    every_steps
        The number of optimizer steps between checkpoints. In addition, one is written before the
        first step, and one at the end of the run, unless the run ends with an error.
    keep
        The number of checkpoints to keep.

    Raises
    ------
    ConfigurationError
        An argument is invalid; or, when a run begins, the folder has later checkpoints of another
        run.
    StorageError
        The folder or a file could not be written. Existing checkpoints stay intact.

    Notes
    -----
    The cost of a checkpoint is the time to write all parameters and the memory of the optimizer,
    together three times the size of the model for Adam, and to wait for the disk.
    """

    comes_last: ClassVar[bool] = True

    folder: Any = field(validator=validators.a_path)
    every_steps: int = field(
        default=50, converter=validators.as_int, validator=validators.counted, kw_only=True
    )
    keep: int = field(
        default=3, converter=validators.as_int, validator=validators.counted, kw_only=True
    )
    _written: int = field(default=-1, init=False, repr=False)
    _lock: int | None = field(default=None, init=False, repr=False)

    def check(self, trainer: Trainer) -> None:
        """Raise an error if the folder cannot be created, or belongs to another run."""
        folder = Path(self.folder)
        files.require_place_for_folder(folder, WHAT)
        run = trainer.run
        resumed = run.resumes_at if run is not None else -1
        for path in (path for number, path in checkpoints.found_in(folder) if number > resumed):
            self._refuse_if_intact(path, resumed)

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Create and lock the folder, and write the first checkpoint."""
        folder = files.make_folder(self.folder, WHAT)
        self._lock = files.lock_folder(folder)
        if self._lock is None:
            raise ConfigurationError(
                "another run is writing checkpoints to this folder",
                place=f"Checkpoint({os.fspath(self.folder)!r})",
                expected="a separate folder for each run",
                received="a folder that is in use",
                hint="use another folder, or wait until that run ends and resume it (resume_from)",
            )
        for partial in folder.glob(f"step-*{files.PARTIAL}"):  # left by a killed run
            with contextlib.suppress(OSError):
                partial.unlink()
        self._write(trainer)

    def on_step_end(self, trainer: Trainer, epoch: int, step: int, cost: float) -> None:
        """Write a checkpoint every ``every_steps`` steps."""
        if trainer.steps % self.every_steps == 0:
            self._write(trainer)

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: Mapping[str, float]) -> None:
        """Write a checkpoint after the last epoch."""
        if trainer.run is not None and trainer.run.is_over:
            self._write(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Write a checkpoint where the run was stopped, and unlock the folder."""
        run = trainer.run
        try:
            if run is not None and not run.is_failed and self._written != run.steps:
                self._write(trainer)
        finally:
            files.unlock_folder(self._lock)
            self._lock = None

    def _refuse_if_intact(self, path: Path, resumed: int) -> None:
        try:
            checkpoints.read(path)
        except StorageError as error:
            if checkpoints.is_damaged(error):
                return  # a damaged checkpoint is ignored, and stays
            raise
        folder = os.fspath(self.folder)
        raise ConfigurationError(
            "the folder has later checkpoints of another run",
            place=f"Checkpoint({folder!r})",
            expected="an empty folder, or the folder of the run that is resumed",
            received=f"{path.name}, but the run begins at step {max(resumed, 0)}",
            hint=f"fit(…, resume_from={folder!r}) resumes that run; otherwise use another folder",
        )

    def _write(self, trainer: Trainer) -> None:
        run = trainer.run
        if run is None:
            return
        run.require_finite()
        folder = Path(self.folder)
        run.save_checkpoint(folder)
        self._written = run.steps
        found = checkpoints.found_in(folder)
        older = [path for number, path in found if number <= run.steps][self.keep :]
        for path in older:
            with contextlib.suppress(OSError):  # a leftover checkpoint does no harm
                path.unlink()
