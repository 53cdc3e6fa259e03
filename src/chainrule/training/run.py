"""A run: one call of `Trainer.fit`, and its position.

    for each epoch:
        for each step:    batches → gradient → optimizer → callbacks
        validation, history, callbacks

The position of a run is a few numbers: the epochs done, the steps done in the current epoch, the
sums for that epoch's averages, and the position in the order of the samples. Together with the
parameters, the state of the optimizer and the callbacks, and every generator, it determines all the
rest of the run. So a run that resumes from a checkpoint taken between two steps continues with
exactly the same numbers: see `chainrule.checkpoints`.
"""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define, field

from chainrule import files
from chainrule.callbacks import Callback
from chainrule.core.errors import (
    ChainruleError,
    ConfigurationError,
    DataError,
    DefinitionError,
    NonFiniteError,
    shortened,
)
from chainrule.core.layer import Layer
from chainrule.core.validators import changed_in_a_run
from chainrule.data.batches import Batch, Batches
from chainrule.data.samples import Data
from chainrule.training.bad_batch import write_bad_batch
from chainrule.training.batch_sums import BatchSums, joined_batches, shares_of_labels
from chainrule.training.decisions import Decisions
from chainrule.training.delta_watch import DeltaWatch
from chainrule.training.guard import GuardedStep
from chainrule.training.history import History
from chainrule.training.history_columns import Columns
from chainrule.training.interruption import Interruption
from chainrule.training.progress import Progress
from chainrule.training.ranks import Ranks

if TYPE_CHECKING:
    from pathlib import Path

    from chainrule.training.trainer import Trainer


_COPIED = (
    "trainer", "columns", "epochs", "accumulate", "bad_batch", "epochs_done", "steps_done", "steps",
    "sums", "samples", "history", "reason", "identity", "resumed_from", "resumes_at", "is_failed",
    "then", "minimum",
)  # fmt: skip
"""What a copy of a run has."""


_FIXED = ("batches", "validation", "columns", "callbacks", "epochs", "accumulate")
"""What cannot change while a run goes on: a run that resumes would not know of it."""


class _Callbacks(list[Callback]):
    """The callbacks of a run, which keeps those with which it began."""

    def _refuse(self, *given: Any, **how: Any) -> Any:
        raise changed_in_a_run("Run", "callbacks", given)

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = extend = insert = remove = pop = clear = sort = reverse = _refuse


@define(eq=False)
class Run:
    """One run of `Trainer.fit`.

    Attributes
    ----------
    trainer, batches, validation, columns
        The trainer, the training data, the validation data, and the columns of the history.
    callbacks
        The callbacks, in the order in which they are called.
    epochs
        The number of epochs to train.
    accumulate
        The number of batches in one step of the optimizer.
    bad_batch
        The file for a batch that produces a NaN or an infinity.
    epochs_done, steps_done, steps
        The number of complete epochs, of steps in the current epoch, and of steps in total.
    model
        The model, or a built copy until it is built itself.
    made_of, settings
        What the run was started with, for its checkpoints: see `describe`.
    history
        The history of the complete epochs.
    reason
        Why it stopped early; None if it did not.
    identity
        A random name; a run that resumes has that of the run that wrote the checkpoint.
    resumed_from, resumes_at
        The checkpoint from which it resumes, and the step; None and −1 if it does not resume.
    then, minimum
        The settings of the solver that follows the last epoch, and the `Minimum` that it found.
    is_going, is_failed
        Whether it is running, and whether it ended with an error.
    """

    trainer: Trainer
    batches: Batches
    validation: list[Data]
    columns: Columns
    callbacks: list[Callback]
    epochs: int
    accumulate: int = 1
    bad_batch: Path | None = None
    epochs_done: int = field(default=0, init=False)
    steps_done: int = field(default=0, init=False)
    steps: int = field(default=0, init=False)
    sums: list[Any] = field(init=False, repr=False)  # see Columns.add
    samples: int = field(default=0, init=False, repr=False)
    history: History = field(factory=History, init=False, repr=False)
    reason: str | None = field(default=None, init=False)
    identity: str = field(factory=lambda: os.urandom(8).hex(), init=False, repr=False)
    resumed_from: Path | None = field(default=None, init=False)
    resumes_at: int = field(default=-1, init=False)
    is_going: bool = field(default=False, init=False)
    is_failed: bool = field(default=False, init=False)
    model: Layer | None = field(default=None, init=False, repr=False)
    then: Any = field(default=None, init=False, repr=False)
    minimum: Any = field(default=None, init=False, repr=False)
    made_of: dict[str, Any] = field(factory=dict, init=False, repr=False)
    settings: dict[str, tuple[Any, dict[str, Any]]] = field(factory=dict, init=False, repr=False)
    _guarded: GuardedStep = field(init=False, repr=False)
    _sums: BatchSums = field(init=False, repr=False)  # of one step
    _decisions: Decisions = field(init=False, repr=False)
    _generators: list[np.random.Generator] = field(factory=list, init=False, repr=False)
    _watch: DeltaWatch = field(init=False, repr=False)
    # What a copy knows of the data, which it does not have; see __getstate__.
    _known: dict[str, Any] | None = field(default=None, init=False, repr=False)
    _bad_batch_at: Path | None = field(init=False, repr=False)  # wherever the program goes
    _line: Progress = field(init=False, repr=False)
    _interruption: Interruption = field(init=False, repr=False)
    _step_batches: list[Batch] = field(factory=list, init=False, repr=False)
    _previous_batches: list[Batch] = field(factory=list, init=False, repr=False)
    _is_step_failed: bool = field(default=False, init=False, repr=False)
    _is_unread: bool = field(default=False, init=False, repr=False)
    _of_last_row: Any = field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.callbacks = _Callbacks(
            sorted(self.callbacks, key=lambda callback: callback.comes_last)
        )
        self.sums = [0.0] * len(self.columns.names)
        self._bad_batch_at = None if self.bad_batch is None else files.resolved(self.bad_batch)
        self._interruption = Interruption(self._confirm_interruption)
        self._sums = BatchSums(self.columns, self.ranks)

    @property
    def ranks(self) -> Ranks:
        """The ranks that compute parts of each batch; one process by itself, as a rule."""
        return self.trainer.ranks

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: how far it is, without data, callbacks and open files."""
        known = {"measured": self.measured, "steps_per_epoch": self.steps_per_epoch}
        return {**{name: getattr(self, name) for name in _COPIED}, "_known": known}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.is_going, self.callbacks, self.validation = False, [], []
        self._interruption = Interruption()
        for name, value in state.items():
            setattr(self, name, value)

    def describe(self, model: Layer) -> None:
        """Note what the run is started with, which is compared when it resumes.

        Parameters
        ----------
        model
            The model of the run, or a built copy if it is not built yet.

        Raises
        ------
        StorageError
            A field of a layer cannot be written into a file.
        """
        from chainrule.training.run_state import made_of, settings_of, texts_of

        self.made_of = made_of(self, model)
        self.settings = texts_of(settings_of(self))

    def owns(self, identity: str | None, folder: Path) -> bool:
        """Whether it continues the run that wrote a checkpoint in a folder.

        Checkpoints of chainrule 0.1 have no identity; they belong to the run that is resumed there.
        """
        if identity is None:
            resumed = self.resumed_from
            return resumed is not None and os.path.samefile(resumed.parent, folder)
        return identity == self.identity

    @property
    def steps_per_epoch(self) -> int:
        """The number of optimizer steps in an epoch."""
        if self._known is not None:
            return int(self._known["steps_per_epoch"])
        return -(-self.batches.steps // self.accumulate)

    @property
    def is_resumed(self) -> bool:
        """Whether it resumes from a checkpoint."""
        return self.resumed_from is not None

    @property
    def measured(self) -> tuple[str, ...]:
        """The columns of the history, except those that callbacks add."""
        if self._known is not None:
            return tuple(self._known["measured"])
        names = self.columns.names
        validated = [f"validation_{name}" for name in names] if self.validation else []
        return (*names, *validated)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return self.epochs_done >= self.epochs or self.stops

    @property
    def stops(self) -> bool:
        """Whether it stops early, after the current step."""
        return self.ranks.stop_reason(self._wish()) is not None

    def _wish(self) -> str | None:
        """Why this process wants to stop."""
        return self.reason or ("Ctrl-C" if self._interruption.is_wanted else None)

    def go(self, progress: Any) -> None:
        """Take all remaining steps and call the callbacks."""
        ranks, model = self.ranks, self.trainer.model
        self._line = Progress(progress, self.epochs, self.steps_per_epoch, self.steps)
        self._watch = DeltaWatch(model)
        self._generators = list({id(each): each for each in model.generators.values()}.values())
        self._decisions = Decisions(self)
        self._note_begin()
        with ExitStack() as stack:
            stack.callback(self.batches.close)
            stack.callback(self._end_together)
            for callback in self.callbacks:
                stack.callback(ranks.led, callback.on_fit_end, self.trainer)
            stack.enter_context(self._interruption)
            stack.enter_context(ranks.attended(self._wish, self._interruption.held, self._at_fault))
            stack.push(self._note_end)
            stack.enter_context(ranks.together())
            self._guarded = self.trainer.guarded_step()
            for callback in self.callbacks:
                ranks.led(callback.on_fit_begin, self.trainer)
            self._decisions.follow()
            with self._line:
                if self.resumed_from is not None:
                    self._line.say(f"resuming from {self.resumed_from.name}")
                while not self.is_over:
                    self._run_epoch()
                self.reason = ranks.stop_reason(self._wish())
            if self.then is not None and self.reason is None:
                self._minimize(progress)
            if self.reason is not None:
                self._line.say(f"stopped after {self._where}: {self.reason}")

    def _end_together(self) -> None:
        """Give all ranks what the callbacks on rank 0 have left, however the run has ended."""
        if self.ranks.is_divided:
            with self.ranks.together():
                self._decisions.follow(is_end=True)

    def _minimize(self, progress: Any) -> None:
        """The second phase: a solver that continues on all samples together.

        An error ends it as it ends an epoch: with the parameters of the last row of the history.
        """
        from chainrule.fitting.minimize import descend

        self._line = Progress(progress, self.then.iterations, 1, unit="iteration")
        model, loss, data = self.trainer.model, self.trainer.loss, self.batches.data
        self._of_last_row = model.parameters.value.copy()
        with self._line:
            try:
                self.minimum = descend(model, loss, data, self.then, self._end_iteration)
            except BaseException:
                model.parameters.value = self._of_last_row
                raise
            if self._interruption.is_wanted:
                self.reason = self.reason or "Ctrl-C"
        self._line.say(f"{self.then.method}: {self.minimum}")

    def _end_iteration(self, iteration: int, found: dict[str, float]) -> str | None:
        """Add a row to the history and call the callbacks; a reason to stop, if there is one."""
        epoch, figures = self.history.epochs + 1, {"loss": found["loss"]}
        try:
            if len(self.columns.names) > 1:
                figures = self.trainer.measured([self.batches.data], self.columns) | figures
            self._add_row(epoch, figures)
            self._of_last_row = self.trainer.model.parameters.value.copy()
            for callback in self.callbacks:
                if not callback.writes_checkpoints:  # a checkpoint holds a position in an epoch
                    callback.on_epoch_end(self.trainer, epoch, figures)
        except Exception as error:
            _add_location(error, f"iteration {iteration} of {self.then.method}")
            raise
        self._line.show(iteration, 1, figures)
        return (self.reason or "Ctrl-C") if self.stops else None

    def _add_row(self, epoch: int, figures: dict[str, float]) -> None:
        """Add a row to the history, with what validation and callbacks measure."""
        if self.validation:
            figures |= self.trainer.validated(self.validation, self.columns)
        figures |= self.ranks.lead(partial(self._figures_of_callbacks, epoch, figures))
        self.history.append(figures)
        self._line.note(figures)

    def _figures_of_callbacks(self, epoch: int, figures: dict[str, float]) -> dict[str, float]:
        added: dict[str, float] = {}
        for callback in self.callbacks:
            added |= self._figures_from(callback, epoch, figures | added)
        return added

    @property
    def _where(self) -> str:
        """``epoch 3``, or ``epoch 3, step 12`` within an epoch."""
        if self.steps_done:
            return f"epoch {self.epochs_done + 1}, step {self.steps_done}"
        return f"epoch {self.epochs_done}"

    def save_checkpoint(self, folder: Path) -> Path:
        """Write a checkpoint into a folder; see `chainrule.checkpoints`.

        Raises
        ------
        StorageError
            The file could not be written, or the state of a callback cannot be stored.
        """
        from chainrule import checkpoints
        from chainrule.training.run_state import snapshot

        if not self.made_of:
            self.describe(self.trainer.model)
        return checkpoints.write(folder, self.steps, self.identity, *snapshot(self))

    def require_finite(self) -> None:
        """Raise the guard's error if the last step made a parameter infinite or NaN."""
        self._guarded.require_finite()

    def _note_begin(self) -> None:
        self.is_going = True
        for part in (self.batches, *self.callbacks):
            vars(part)["_is_in_a_run"] = True

    def _note_end(self, kind: Any, error: Any, traceback: Any) -> None:
        self._write_bad_batch(error)
        self.is_going, self.is_failed = False, error is not None
        for part in (self.batches, *self.callbacks):
            vars(part)["_is_in_a_run"] = False

    def _confirm_interruption(self) -> None:
        self._line.say("stopping after this step; press Ctrl-C again to stop at once")

    # ---------------------------------------------------------------- an epoch

    def _run_epoch(self) -> None:
        """Take the remaining steps of an epoch and, unless the run is stopped, complete it."""
        epoch = self.epochs_done + 1
        self._run_steps(epoch)
        if self.steps_done < self.steps_per_epoch:
            return
        try:
            figures = self.ranks.lead(self._averages)
            self._add_row(epoch, figures)
            self.epochs_done, self.steps_done = epoch, 0
            self.sums, self.samples = [0.0] * len(self.sums), 0
            for callback in self.callbacks:
                self.ranks.led(callback.on_epoch_end, self.trainer, epoch, figures)
            self._decisions.follow()
            self.ranks.require_equal(self.trainer.model)
        except Exception as error:
            _add_location(error, f"epoch {epoch}, at its end")
            raise
        if self.is_over:
            self._line.show(epoch, self.steps_per_epoch, figures)

    def _figures_from(
        self, callback: Callback, epoch: int, figures: dict[str, float]
    ) -> dict[str, float]:
        given = callback.figures(self.trainer, epoch)
        if not isinstance(given, Mapping) or not all(map(_is_figure, given.items())):
            raise DefinitionError(
                "figures does not return columns for the history",
                place=f"{type(callback).__name__}.figures",
                expected='a number for each name, such as {"norm": 1.5}',
                received=shortened(given, 80),
                hint="return a float for each name; return {} if there is nothing to add",
            )
        added = {name: float(figure) for name, figure in given.items()}
        duplicates = sorted(set(added) & {*figures, "epoch"})
        if duplicates:
            raise ConfigurationError(
                f"two columns of the history would be called {duplicates[0]!r}",
                place=type(callback).__name__,
                expected="names in figures that are not used elsewhere",
                received=", ".join(figures),
            )
        return added

    def _run_steps(self, epoch: int) -> None:
        at_step_end = [
            callback.on_step_end
            for callback in self.callbacks
            if type(callback).on_step_end is not Callback.on_step_end
        ]
        guarded, trainer, line, ranks = self._guarded, self.trainer, self._line, self.ranks
        batches = self.batches.epoch(self.steps_done * self.accumulate)
        is_single = self.accumulate == 1 and not ranks.is_divided
        take_step = self._step if is_single else self._accumulated_step
        step, is_taken = self.steps_done, True
        is_watched = step == 0 and ranks.leads and self._watch.is_due(epoch)
        try:
            for step in range(self.steps_done + 1, self.steps_per_epoch + 1):
                is_taken = False
                self._previous_batches, self._step_batches = self._step_batches, []
                cost = self._watched(take_step, batches) if is_watched else take_step(batches)
                is_taken = True
                self.steps_done = step
                self.steps += 1
                if is_watched:
                    is_watched = False
                    self._watch.warn(epoch, step)
                if self._decisions.at_steps:
                    self._decisions.begin_step()
                    for method in at_step_end:
                        ranks.led(method, trainer, epoch, step, cost)
                    self._decisions.follow()
                if perf_counter() >= line.due:
                    line.show(epoch, step, self._averages())
                if self.stops:
                    break
            guarded.require_finite()
            if self.steps_done == self.steps_per_epoch:
                next(batches, None)  # an iterable of batches checks that there are no more
        except BaseException as error:
            guarded.put_back()
            if ranks.is_divided and not is_taken:
                guarded.put_back_buffers()
            if guarded.has_overflowed:  # a step that was counted has been undone
                self.steps, self.steps_done = self.steps - 1, self.steps_done - 1
            place = f"epoch {epoch}, step {step}"
            if self.accumulate > 1 and not is_taken:
                place += f", batch {(step - 1) * self.accumulate + len(self._step_batches)}"
            _add_location(error, place)
            self._is_step_failed = True
            # A step of the optimizer that overflows is detected one step later.
            if guarded.has_overflowed and not is_taken:
                self._step_batches = self._previous_batches
            if isinstance(error, DataError) and error.batch:
                self._step_batches, self._is_unread = [error.batch], True
            raise

    def _at_fault(self) -> tuple[bool, list[Batch]] | None:
        """The batches of the step, for the bad batch; and whether they could not even be read."""
        return None if self.bad_batch is None else (self._is_unread, self._step_batches)

    def _write_bad_batch(self, error: BaseException | None) -> None:
        """Write the batches of a step that produced a NaN or an infinity."""
        path, own = self._bad_batch_at, self._at_fault()
        if path is None or own is None or not self._is_step_failed:
            return
        if not isinstance(error, NonFiniteError | DataError):
            return
        found = [each for each in self.ranks.carried(own) if each is not None]
        unread = [batches for is_unread, batches in found if is_unread]
        if not found or (isinstance(error, DataError) and not unread):
            return
        batches = unread[0] if unread else joined_batches([batches for _, batches in found])
        write_bad_batch(path, batches, error, shown=self.bad_batch or path)

    # ---------------------------------------------------------------- a step

    def _step(self, batches: Iterator[Batch]) -> float:
        """One step with one batch."""
        batch = self._next(batches)
        cost, y, costs = self._guarded.take(*batch)
        self._add_to_sums(batch, cost, y, costs)
        return cost

    def _accumulated_step(self, batches: Iterator[Batch]) -> float:
        """One step with several batches: the step for all their rows together."""
        left = self.batches.steps - self.steps_done * self.accumulate
        count = min(self.accumulate, left)
        sums = self._sums
        sums.begin()
        with self.ranks.step(self._generators):
            if self.trainer.loss.ignores:
                self._add_over_labels([self._next(batches) for _ in range(count)])
            else:
                self._guarded.begin()
                for _ in range(count):
                    batch = self._next(batches)
                    cost, y, costs = self._guarded.add(*batch, len(batch[0][0]))
                    sums.add(batch, (cost, *costs), y)
        sums.join(self._guarded.gradient)
        self._guarded.end(1 if self.trainer.loss.ignores else sums.rows)
        sums.join_whole_batches()
        self.sums = self.columns.joined(self.sums, sums.totals)
        self.samples += sums.rows
        return self.columns.cost(sums.totals, sums.rows)

    def _add_over_labels(self, batches: list[Batch]) -> None:
        """Add batches for a loss that ignores labels: each C_i is averaged over those that count.

        So how many count in all batches of the step, on all ranks, must be known before the first.
        """
        trainer = self.trainer
        shares = shares_of_labels(batches, trainer.loss, trainer.model, self.ranks)
        self._guarded.begin()
        for batch, share in zip(batches, shares, strict=True):
            cost, y, costs = self._guarded.add(*batch, share)
            self._sums.add(batch, (cost, *costs), y)

    def _watched(
        self, take_step: Callable[[Iterator[Batch]], float], batches: Iterator[Batch]
    ) -> float:
        """A step whose deltas are measured; if it fails, the warning comes before the error."""
        try:
            with self._watch.measuring():
                return take_step(batches)
        except NonFiniteError:
            self._watch.warn(self.epochs_done + 1, self.steps_done + 1)
            raise

    def _next(self, batches: Iterator[Batch]) -> Batch:
        """The next batch, kept in case it produces a NaN or an infinity."""
        batch = next(batches)
        self._step_batches.append(batch)
        return batch

    def _add_to_sums(self, batch: Batch, cost: float, y: Any, costs: tuple[float, ...]) -> None:
        """Add the costs and metrics of a batch to the sums of the epoch."""
        inputs, target, weights = batch
        size = len(inputs[0])
        self.samples += size
        self.columns.add(self.sums, size, (cost, *costs), y, target, weights)

    def _averages(self) -> dict[str, float]:
        return self.columns.averages(self.sums, self.samples)


def _fixed(name: str) -> property:
    """A field that cannot be set while the run goes on.

    The on_setattr of attrs would check every assignment of a run, several in each step.
    """
    slot = vars(Run)[name]

    def set_before(run: Run, given: Any) -> None:
        if getattr(run, "is_going", False):
            raise changed_in_a_run("Run", name, given)
        slot.__set__(run, given)

    return property(slot.__get__, set_before)


for _name in _FIXED:
    setattr(Run, _name, _fixed(_name))


def _add_location(error: BaseException, place: str) -> None:
    """Add to an error where in the run it occurred."""
    if isinstance(error, ChainruleError) and error.is_located:
        return
    if isinstance(error, ChainruleError):
        error.place = f"{error.place}, {place}" if error.place else place
    else:
        error.add_note(f"in {place}")


def _is_figure(item: tuple[Any, Any]) -> bool:
    name, figure = item
    is_number = isinstance(figure, numbers.Real | np.number) and not isinstance(figure, bool)
    return isinstance(name, str) and is_number
