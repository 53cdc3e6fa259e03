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
        An argument is invalid; or, when a run begins, the folder is in use, or has checkpoints of
        another run.
    StorageError
        The folder or a file could not be written. Existing checkpoints stay intact.

    Notes
    -----
    The folder is locked before anything else of the run begins, until it ends or is killed. Each
    run has a random identity, and only checkpoints of the same run are deleted.

    The cost of a checkpoint is the time to write all parameters and the memory of the optimizer,
    together three times the size of the model for Adam, and to wait for the disk.
    """

    comes_last: ClassVar[bool] = True
    writes_checkpoints: ClassVar[bool] = True
    changes_rate_alone: ClassVar[bool] = True

    folder: Any = field(validator=validators.a_path, on_setattr=validators.FIXED_IN_A_RUN)
    every_steps: int = field(
        default=50, converter=validators.as_int, validator=validators.counted, kw_only=True
    )
    keep: int = field(
        default=3, converter=validators.as_int, validator=validators.counted, kw_only=True
    )
    _written: int = field(default=-1, init=False, repr=False)
    _lock: files.FolderLock | None = field(default=None, init=False, repr=False)
    _own: dict[Path, int] = field(factory=dict, init=False, repr=False)  # the files of this run

    def lock(self) -> None:
        """Create and lock the folder, before anything else of a run begins.

        Raises
        ------
        ConfigurationError
            Another run is writing checkpoints to the folder.
        StorageError
            The folder cannot be created.
        """
        folder = files.resolved(self.folder)
        files.require_place_for_folder(folder, WHAT)
        lock = None if self._lock is not None else files.FolderLock(folder, WHAT)
        if lock is None or not lock.is_held:
            raise ConfigurationError(
                "another run is writing checkpoints to this folder",
                place=self._place,
                expected="a separate folder for each run",
                received="a folder that is in use",
                hint="use another folder, or wait until that run ends and resume it (resume_from)",
            )
        self._lock = lock

    def unlock(self, *, undo: bool = False) -> None:
        """Unlock the folder; with ``undo``, after a start that was refused, as it was before."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release(undo=undo)

    def check(self, trainer: Trainer) -> None:
        """Raise an error if the folder cannot be created, or belongs to another run."""
        folder = self._folder
        files.require_place_for_folder(folder, WHAT)
        run = trainer.run
        resumed = run.resumes_at if run is not None else -1
        self._own = {}
        for number, path in checkpoints.found_in(folder):
            if number <= resumed and run is not None and run.owns(checkpoints.run_of(path), folder):
                self._own[path] = number
            else:
                self._refuse_if_intact(path, resumed)

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Remove what a killed run left half written, and write the first checkpoint."""
        if self._lock is None:
            self.lock()
        files.sweep(self._folder, "step-*")
        self._write(trainer)

    def on_step_end(self, trainer: Trainer, epoch: int, step: int, cost: float) -> None:
        """Write a checkpoint every ``every_steps`` steps."""
        if trainer.run is not None and trainer.run.steps % self.every_steps == 0:
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
            self.unlock()

    @property
    def _place(self) -> str:
        return f"Checkpoint({os.fspath(self.folder)!r})"

    @property
    def _folder(self) -> Path:
        """The folder as it was when the run began, wherever the program has gone since."""
        return files.resolved(self.folder) if self._lock is None else self._lock.folder

    def _refuse_if_intact(self, path: Path, resumed: int) -> None:
        try:
            checkpoints.read(path)
        except StorageError as error:
            if checkpoints.is_damaged(error):
                return  # a damaged checkpoint is ignored, and stays
            raise
        folder = os.fspath(self.folder)
        raise ConfigurationError(
            "the folder has later checkpoints of another run"
            if checkpoints.number_of(path) > resumed
            else "the folder has checkpoints of another run",
            place=self._place,
            expected="an empty folder, or the folder of the run that is resumed",
            received=f"{path.name}, but the run begins at step {max(resumed, 0)}"
            if checkpoints.number_of(path) > resumed
            else path.name,
            hint=f"fit(…, resume_from={folder!r}) resumes that run; otherwise use another folder",
        )

    def _require_own_folder(self) -> None:
        """Raise an error if the folder was replaced, unless the new one belongs to no run."""
        lock = self._lock
        if lock is None or lock.is_current() or not lock.folder.exists():
            return
        new = files.FolderLock(lock.folder, WHAT)
        if not new.is_held or checkpoints.found_in(new.folder):
            new.release()
            raise StorageError(
                "the checkpoint folder was replaced during the run, by that of another run",
                place=self._place,
                expected="the folder in which the run began",
                received="another folder of the same name",
                hint="give each run its own folder",
            )
        lock.release()
        self._lock, self._own = new, {}

    def _write(self, trainer: Trainer) -> None:
        run = trainer.run
        if run is None:
            return
        run.require_finite()
        self._require_own_folder()
        self._own[run.save_checkpoint(self._folder)] = self._written = run.steps
        written = sorted((n, path) for path, n in self._own.items() if n <= run.steps)
        for _, path in written[: -self.keep]:
            del self._own[path]
            with contextlib.suppress(OSError):  # a leftover checkpoint does no harm
                path.unlink()
