"""A callback that writes checkpoints, from which a run goes on that was killed."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import define, field

from chainrule import files
from chainrule.core.errors import ConfigurationError, StorageError
from chainrule.core.wording import is_whole
from chainrule.training import checkpoints
from chainrule.training.callbacks.contract import Callback

if TYPE_CHECKING:
    from chainrule.training.trainer import Trainer


def _counted(callback: object, attribute: Any, value: Any) -> None:
    if not is_whole(value) or value < 1:
        raise ConfigurationError(
            f"{attribute.name} has a value that makes no sense",
            place="Checkpoint",
            expected="1, 2, 3, …",
            received=f"{value!r:.60}",
            mend=f"{attribute.name}={attribute.default}",
        )


def _as_path(value: Any) -> Path:
    try:
        return Path(value)
    except TypeError as error:
        raise ConfigurationError(
            "folder is no path",
            place="Checkpoint",
            expected="a path such as 'runs/first'",
            received=f"{value!r:.60}",
        ) from error


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

    folder: Path = field(converter=_as_path)
    every_steps: int = field(default=50, validator=_counted, kw_only=True)
    keep: int = field(default=3, validator=_counted, kw_only=True)
    _written: int = field(default=-1, init=False, repr=False)

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Make the folder, and write down the beginning."""
        files.make_folder(self.folder, "the folder of checkpoints")
        for left in self.folder.glob(f"step-*{files.PARTIAL}"):  # by a run that was killed
            left.unlink(missing_ok=True)
        self._refuse_those_of_another_run(trainer.steps)
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
        if run is not None and not run.is_failed and self._written != run.steps:
            self._write(trainer)

    def _refuse_those_of_another_run(self, steps: int) -> None:
        later = [path for number, path in checkpoints.found_in(self.folder) if number > steps]
        for path in later:
            with contextlib.suppress(StorageError):
                checkpoints.read(path)
                raise ConfigurationError(
                    "the folder has checkpoints of another run, which has come further",
                    place=f"Checkpoint({str(self.folder)!r})",
                    expected="an empty folder, or one that the run goes on from",
                    received=f"{path.name}, and a run that is at step {steps}",
                    mend=f"fit(…, resume_from={str(self.folder)!r}) goes on; else another folder",
                )

    def _write(self, trainer: Trainer) -> None:
        run = trainer.run
        if run is None:
            return
        checkpoints.write(run, self.folder)
        self._written = run.steps
        found = checkpoints.found_in(self.folder)
        kept = [path for number, path in found if number <= run.steps][: self.keep]
        for _, path in found:
            if path not in kept:
                with contextlib.suppress(OSError):  # one too many does no harm
                    path.unlink()
