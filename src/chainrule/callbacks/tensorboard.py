"""A callback that writes curves for TensorBoard, which shows them in a browser as they grow.

    folder/training      loss, accuracy, …, learning_rate        over the epochs
    folder/validation    loss, accuracy, …                       over the epochs, the same charts
    folder/steps         cost                                    over the steps, if asked for

TensorBoard treats each of these folders as a separate run, and draws curves with the same name into
one chart. The steps have their own folder because a TensorBoard run has a single axis: a resumed
run hides what was written after its checkpoint with the rule "all events from number n on".
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import define, field

from chainrule import files
from chainrule.callbacks.callback import Callback, require_own_place
from chainrule.callbacks.column_names import VALIDATION
from chainrule.core.extras import required
from chainrule.core.validators import FIXED_IN_A_RUN, a_path, as_int, counted_or_none

if TYPE_CHECKING:
    from chainrule.training.trainer import Trainer

WHAT = "the TensorBoard events"


@define(eq=False)
class TensorBoard(Callback):
    """Writes the history for TensorBoard, with tensorboardX.

    ``pip install 'chainrule[tensorboard]'`` installs tensorboardX. TensorBoard itself, which only
    displays the events, is separate: ``pip install tensorboard``, then
    ``tensorboard --logdir runs``.

    Parameters
    ----------
    folder
        The folder; it is created if it does not exist. Give each run its own folder inside a
        common one: ``"runs/first"``. A new run hides an earlier run in the same folder.
    every_steps
        The number of steps after which the cost of the current batch is written; the default is
        never.
    histograms_every
        The number of epochs after which the histograms of all parameters are written; the default
        is never.

    Raises
    ------
    MissingExtraError
        tensorboardX is not installed; raised when the callback is created.
    ConfigurationError
        An argument is invalid.
    StorageError
        The events cannot be written.

    Notes
    -----
    The curves of a resumed run are seamless: the new events hide those written after the
    checkpoint. Numbers are float32, as in all TensorBoard events; `CSVLogger` and `History.save`
    keep all digits.
    """

    changes_rate_alone: ClassVar[bool] = True

    folder: str | os.PathLike[str] = field(validator=a_path, on_setattr=FIXED_IN_A_RUN)
    every_steps: int | None = field(
        default=None,
        converter=as_int,
        validator=counted_or_none,
        kw_only=True,
        on_setattr=FIXED_IN_A_RUN,
    )
    histograms_every: int | None = field(
        default=None, converter=as_int, validator=counted_or_none, kw_only=True
    )
    _runs: dict[str, _Events] = field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        require_tensorboardx()

    # ---------------------------------------------------------------- called by the trainer

    def check(self, trainer: Trainer) -> None:
        """Raise an error if the folder cannot be created or written to."""
        files.require_place_for_folder(self.folder, WHAT)
        require_own_place(self, TensorBoard, "folder", trainer)

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Create the folders, and hide earlier events from this point on."""
        epochs = trainer.history.epochs
        last_events = {"training": epochs}
        if any(name.startswith(VALIDATION) for name in trainer.columns):
            last_events["validation"] = epochs
        if self.every_steps is not None:
            last_events["steps"] = trainer.steps
        for name, last in last_events.items():
            self._runs[name] = _Events(files.resolved(self.folder) / name, last + 1)

    def on_step_end(self, trainer: Trainer, epoch: int, step: int, cost: float) -> None:
        """Write the cost every ``every_steps`` steps."""
        run = trainer.run
        if self.every_steps is not None and run is not None and run.steps % self.every_steps == 0:
            self._runs["steps"].add(trainer.steps, {"cost": cost})

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: Mapping[str, float]) -> None:
        """Write the figures of the epoch, and histograms every ``histograms_every`` epochs."""
        training = {name: f for name, f in figures.items() if not name.startswith(VALIDATION)}
        self._runs["training"].add(epoch, training)
        if "validation" in self._runs:
            validation = {name: f for name, f in figures.items() if name.startswith(VALIDATION)}
            validation = {name.removeprefix(VALIDATION): f for name, f in validation.items()}
            self._runs["validation"].add(epoch, validation)
        if self.histograms_every is not None and epoch % self.histograms_every == 0:
            for path in trainer.model.parameters.paths:
                value = trainer.model.parameters[path].value
                self._runs["training"].add_histogram(epoch, path.replace(".", "/"), value)
        for events in self._runs.values():
            events.flush()

    def on_fit_end(self, trainer: Trainer) -> None:
        """Close the files."""
        runs, self._runs = self._runs, {}
        with ExitStack() as stack:
            for events in runs.values():
                stack.callback(events.close)


class _Events:
    """One TensorBoard run: a folder with a file of events.

    The SummaryWriter of tensorboardX passes events through a queue to a thread, where a disk error
    is lost and the queue fills up. This class writes the events directly with its RecordWriter, and
    raises such errors.

    Parameters
    ----------
    folder
        The folder.
    hidden_from
        The number of the first existing event to hide.
    """

    def __init__(self, folder: Path, hidden_from: int) -> None:
        from tensorboardX.proto.event_pb2 import SessionLog
        from tensorboardX.record_writer import RecordWriter

        folder = files.make_folder(folder, WHAT)
        # TensorBoard reads files in the order of their names: the second, then the nanosecond.
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
        """Write a histogram of the numbers in an array."""
        from tensorboardX.summary import histogram

        self._write(step=number, summary=histogram(name, value.ravel(), bins=64))

    def flush(self) -> None:
        """Flush the events to disk."""
        self._call(self._file.flush)

    def close(self) -> None:
        """Write the remaining events, and close the file."""
        self._call(self._file.close)

    def _write(self, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        event = Event(wall_time=time.time(), **content)
        self._call(self._file.write, event.SerializeToString())

    def _call(self, action: Any, *arguments: Any) -> None:
        try:
            action(*arguments)
        except OSError as error:
            raise files.unwritten(self._path, error, WHAT) from error


def require_tensorboardx() -> None:
    """Raise an error if tensorboardX is not installed."""
    required("tensorboardX", "the TensorBoard callback needs")
