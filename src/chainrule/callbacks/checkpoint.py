"""A callback that writes checkpoints, from which a run goes on that was killed."""

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


WHAT = "the folder of checkpoints"


@define(eq=False)
class Checkpoint(Callback):
    """Writes where the run is into a folder, every so many steps; the last few are kept.

    ``fit(…, callbacks=[Checkpoint(folder)], resume_from=folder)`` begins where there is none yet,
    and goes on where it was killed: to the same numbers, bit for bit, as if it had been left alone.

    Parameters
    ----------
    folder
        Where; it is made if it is not there.
    every_steps
        After how many steps of the optimizer the next one is written. One more is written before
        the first step, and one where the run ends, however it does but with an error.
    keep
        How many are kept.

    Raises
    ------
    ConfigurationError
        An argument makes no sense; or, as a run begins, the folder has later ones of another run.
    StorageError
        The folder or a file could not be written. Those that were there are whole.

    Notes
    -----
    A checkpoint takes the time to write all parameters and all that the optimizer remembers of
    them, three times the model's size for Adam, and to wait for the disk.
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
        """Refuse a folder that cannot be made, or that belongs to another run."""
        folder = Path(self.folder)
        files.require_place_for_folder(folder, WHAT)
        run = trainer.run
        resumed = run.resumes_at if run is not None else -1
        for path in (path for number, path in checkpoints.found_in(folder) if number > resumed):
            self._refuse_if_whole(path, resumed)

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Make the folder, keep others out of it, and write down the beginning."""
        folder = files.make_folder(self.folder, WHAT)
        self._lock = files.lock_folder(folder)
        if self._lock is None:
            raise ConfigurationError(
                "another run is writing its checkpoints into this folder",
                place=f"Checkpoint({os.fspath(self.folder)!r})",
                expected="a folder for each run",
                received="one that is in use",
                hint="another folder; or wait until that run ends, and go on with resume_from",
            )
        for left in folder.glob(f"step-*{files.PARTIAL}"):  # by a run that was killed
            with contextlib.suppress(OSError):
                left.unlink()
        self._write(trainer)

    def on_step_end(self, trainer: Trainer, epoch: int, step: int, cost: float) -> None:
        """Write every so many steps."""
        if trainer.steps % self.every_steps == 0:
            self._write(trainer)

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: Mapping[str, float]) -> None:
        """Write at the end."""
        if trainer.run is not None and trainer.run.is_over:
            self._write(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Write where it was stopped."""
        run = trainer.run
        try:
            if run is not None and not run.is_failed and self._written != run.steps:
                self._write(trainer)
        finally:
            files.unlock_folder(self._lock)
            self._lock = None

    def _refuse_if_whole(self, path: Path, resumed: int) -> None:
        try:
            checkpoints.read(path)
        except StorageError as error:
            if checkpoints.is_damaged(error):
                return  # it is passed over, and stays
            raise
        folder = os.fspath(self.folder)
        raise ConfigurationError(
            "the folder has checkpoints of another run, which has come further",
            place=f"Checkpoint({folder!r})",
            expected="an empty folder, or the one that the run goes on from",
            received=f"{path.name}, and a run that begins at step {max(resumed, 0)}",
            hint=f"fit(…, resume_from={folder!r}) goes on with it; else another folder",
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
            with contextlib.suppress(OSError):  # one too many does no harm
                path.unlink()
