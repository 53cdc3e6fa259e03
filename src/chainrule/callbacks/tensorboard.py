"""A callback that writes curves which TensorBoard shows in a browser while they grow.

    folder/training      loss, accuracy, …, learning_rate        over the epochs
    folder/validation    loss, accuracy, …                       over the epochs, the same charts
    folder/steps         cost                                    over the steps, if asked for

Each is a run of its own for TensorBoard, which draws what has the same name into one chart. The
steps stand apart since a run has but one axis: what was written after a checkpoint is hidden, in a
run that is resumed, by "all events from number n on".
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field

from chainrule import files
from chainrule.callbacks.callback import Callback
from chainrule.callbacks.monitoring import VALIDATION
from chainrule.core.errors import MissingExtraError
from chainrule.core.validators import a_path, as_int, counted_or_none

if TYPE_CHECKING:
    from chainrule.training.trainer import Trainer

WHAT = "the events for TensorBoard"


@define(eq=False)
class TensorBoard(Callback):
    """Writes the history for TensorBoard, through tensorboardX.

    ``pip install 'chainrule[tensorboard]'`` brings tensorboardX along; TensorBoard itself, which
    only shows what stands there, is ``pip install tensorboard``, and ``tensorboard --logdir runs``.

    Parameters
    ----------
    folder
        Where; it is made if it is not there. Give each run its own, all in one: ``"runs/first"``.
        A new run hides one that was written into the same folder.
    every_steps
        After how many steps, again and again, the cost of the step's batch is written; never if
        not given.
    histograms_every
        After how many epochs, again and again, the histograms of all parameters are written; never
        if not given.

    Raises
    ------
    MissingExtraError
        tensorboardX is not installed; raised where the callback is made, not where it is used.
    ConfigurationError
        An argument makes no sense.
    StorageError
        The events cannot be written.

    Notes
    -----
    A run that is resumed has curves without a seam: what was written after the checkpoint is
    hidden by what is written now. Numbers are float32, as TensorBoard's events are; `CSVLogger` and
    `History.save` keep all digits.
    """

    folder: str | os.PathLike[str] = field(validator=a_path)
    every_steps: int | None = field(
        default=None, converter=as_int, validator=counted_or_none, kw_only=True
    )
    histograms_every: int | None = field(
        default=None, converter=as_int, validator=counted_or_none, kw_only=True
    )
    _runs: dict[str, _Events] = field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        require_tensorboardx()

    # ---------------------------------------------------------------- what a trainer calls

    def check(self, trainer: Trainer) -> None:
        """Refuse a folder that cannot be made, or written into."""
        files.require_place_for_folder(self.folder, WHAT)

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Make the folder, and hide what was written from here on."""
        epochs = trainer.history.epochs
        parts = {"training": epochs}
        if any(name.startswith(VALIDATION) for name in trainer.columns):
            parts["validation"] = epochs
        if self.every_steps is not None:
            parts["steps"] = trainer.steps
        for name, done in parts.items():
            self._runs[name] = _Events(Path(self.folder) / name, done + 1)

    def on_step_end(self, trainer: Trainer, epoch: int, step: int, cost: float) -> None:
        """Write the cost, every so many steps."""
        if self.every_steps is not None and trainer.steps % self.every_steps == 0:
            self._runs["steps"].add(trainer.steps, {"cost": cost})

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: Mapping[str, float]) -> None:
        """Write the figures of the epoch, and histograms every so many epochs."""
        own = {name: f for name, f in figures.items() if not name.startswith(VALIDATION)}
        self._runs["training"].add(epoch, own)
        if "validation" in self._runs:
            measured = {name: f for name, f in figures.items() if name.startswith(VALIDATION)}
            measured = {name.removeprefix(VALIDATION): f for name, f in measured.items()}
            self._runs["validation"].add(epoch, measured)
        if self.histograms_every is not None and epoch % self.histograms_every == 0:
            for path in trainer.model.parameters.paths:
                value = trainer.model.parameters[path].value
                self._runs["training"].add_histogram(epoch, path.replace(".", "/"), value)
        for events in self._runs.values():
            events.flush()

    def on_fit_end(self, trainer: Trainer) -> None:
        """Close the files."""
        runs, self._runs = self._runs, {}
        with ExitStack() as all_of_them:
            for events in runs.values():
                all_of_them.callback(events.close)


class _Events:
    """One run of TensorBoard's: a folder with a file of events.

    tensorboardX's own SummaryWriter hands events to a thread through a queue, where an error of the
    disk is lost, and the queue fills up. So the events are written here, by the part of it that
    writes, and an error is told.

    Parameters
    ----------
    folder
        Where.
    hidden_from
        The number of the first event that is to be hidden, of those that stand there.
    """

    def __init__(self, folder: Path, hidden_from: int) -> None:
        from tensorboardX.proto.event_pb2 import SessionLog
        from tensorboardX.record_writer import RecordWriter

        folder = files.make_folder(folder, WHAT)
        # Files are read in the order of their names: by the second, and here by the nanosecond.
        now = time.time_ns()
        self._path = folder / f"events.out.tfevents.{now // 10**9}.{now}"
        try:
            self._file = RecordWriter(str(self._path))
        except OSError as error:
            raise files.unwritten(self._path, error, WHAT) from error
        self._write(file_version="brain.Event:2")
        self._write(step=hidden_from, session_log=SessionLog(status=SessionLog.START))

    def add(self, number: int, figures: Mapping[str, float]) -> None:
        """Write a number for each name."""
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=f) for name, f in figures.items()]
        self._write(step=number, summary=Summary(value=values))

    def add_histogram(self, number: int, name: str, value: Any) -> None:
        """Write how the numbers of an array are distributed."""
        from tensorboardX.summary import histogram

        self._write(step=number, summary=histogram(name, value.ravel(), bins=64))

    def flush(self) -> None:
        """Bring onto the disk what was written."""
        self._told(self._file.flush)

    def close(self) -> None:
        """Write what is left, and close the file."""
        self._told(self._file.close)

    def _write(self, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        event = Event(wall_time=time.time(), **content)
        self._told(self._file.write, event.SerializeToString())

    def _told(self, action: Any, *given: Any) -> None:
        try:
            action(*given)
        except OSError as error:
            raise files.unwritten(self._path, error, WHAT) from error


def require_tensorboardx() -> None:
    """Refuse to go on without tensorboardX."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "events for TensorBoard are written by tensorboardX, which is not installed",
            expected="tensorboardX 2.6 or newer, which the extra `tensorboard` brings along",
            received=str(error),
            hint="pip install 'chainrule[tensorboard]'",
        ) from error
