"""A run: what `Trainer.fit` goes through, and where it is.

    for each epoch:
        for each step:    batches → gradient → optimizer → callbacks
        validation, history, callbacks

Where a run is, is a handful of numbers: how many epochs it has done, how many steps of the one that
is going on, the sums of which that epoch's averages will be made, and the position in the order of
the samples. Together with the parameters, what the optimizer and the callbacks remember, and every
generator, that is all that the future depends on. So a checkpoint of it, taken between two steps,
goes on to the very same numbers: see `chainrule.checkpoints`.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define, field

from chainrule.callbacks import Callback
from chainrule.core.errors import (
    ChainruleError,
    ConfigurationError,
    DataError,
    DefinitionError,
    NonFiniteError,
)
from chainrule.data.batches import Batch, Batches
from chainrule.data.samples import Data
from chainrule.training.bad_batch import write_bad_batch
from chainrule.training.delta_watch import DeltaWatch
from chainrule.training.guard import GuardedStep
from chainrule.training.history import History
from chainrule.training.history_columns import Columns
from chainrule.training.interruption import Interruption
from chainrule.training.progress import Progress

if TYPE_CHECKING:
    from chainrule.training.trainer import Trainer


@define(eq=False)
class Run:
    """One run of `Trainer.fit`.

    Attributes
    ----------
    trainer, batches, validation, columns
        What is trained, on what, what is measured on after each epoch, and what is written down.
    callbacks
        In the order in which they are called.
    epochs
        How many there are to be.
    accumulate
        How many batches make one step of the optimizer.
    bad_batch
        The file into which a batch is written that spoils everything.
    epochs_done, steps_done, steps
        How many epochs are over, how many steps of the one that is going on, and how many in all.
    history
        Of the epochs that are over.
    reason
        Why it stopped before its time; None if it did not.
    resumed_from, resumes_at
        The checkpoint that it goes on from, if it does, and its step; −1 if it does not.
    is_going, is_failed
        Whether it is going on, and whether it ended with an error.
    """

    trainer: Trainer
    batches: Batches
    validation: Data | None
    columns: Columns
    callbacks: list[Callback]
    epochs: int
    accumulate: int = 1
    bad_batch: Path | None = None
    epochs_done: int = field(default=0, init=False)
    steps_done: int = field(default=0, init=False)
    steps: int = field(default=0, init=False)
    sums: list[float] = field(init=False, repr=False)
    samples: int = field(default=0, init=False, repr=False)
    history: History = field(factory=History, init=False, repr=False)
    reason: str | None = field(default=None, init=False)
    resumed_from: Path | None = field(default=None, init=False)
    resumes_at: int = field(default=-1, init=False)
    is_going: bool = field(default=False, init=False)
    is_failed: bool = field(default=False, init=False)
    _made_of: dict[str, Any] | None = field(default=None, init=False, repr=False)
    _guarded: GuardedStep = field(init=False, repr=False)
    _watch: DeltaWatch = field(init=False, repr=False)
    _looks: bool = field(default=False, init=False, repr=False)
    _line: Progress = field(init=False, repr=False)
    _interruption: Interruption = field(init=False, repr=False)
    _now: list[Batch] = field(factory=list, init=False, repr=False)  # the batches of this step
    _before: list[Batch] = field(factory=list, init=False, repr=False)  # and of the one before

    def __attrs_post_init__(self) -> None:
        self.callbacks = sorted(self.callbacks, key=lambda callback: callback.comes_last)
        self.sums = [0.0] * len(self.columns.names)
        self._interruption = Interruption(self._heard)

    @property
    def made_of(self) -> dict[str, Any]:
        """What a checkpoint says of it that does not change while it is going on."""
        if self._made_of is None:
            from chainrule.training.run_state import made_of

            self._made_of = made_of(self, self.trainer.model)
        return self._made_of

    @property
    def steps_per_epoch(self) -> int:
        """How many steps of the optimizer an epoch has."""
        return -(-self.batches.steps // self.accumulate)

    @property
    def is_resumed(self) -> bool:
        """Whether it goes on from a checkpoint."""
        return self.resumed_from is not None

    @property
    def measured(self) -> tuple[str, ...]:
        """The columns of the history, without those that callbacks add."""
        names = self.columns.names
        validated = [f"validation_{name}" for name in names] if self.validation else []
        return (*names, *validated)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to do."""
        return self.epochs_done >= self.epochs or self.stops

    @property
    def stops(self) -> bool:
        """Whether it ends before its time, after the step that is going on."""
        return self.reason is not None or self._interruption.is_wanted

    def go(self, progress: Any) -> None:
        """Take all steps that are left, and let the callbacks know."""
        self._line = Progress(progress, self.epochs, self.steps_per_epoch, self.steps)
        self._watch = DeltaWatch(self.trainer.model, self.trainer.loss)
        self.is_going = True
        with ExitStack() as at_the_end:
            at_the_end.callback(self.batches.close)
            for callback in self.callbacks:
                at_the_end.callback(callback.on_fit_end, self.trainer)
            at_the_end.enter_context(self._interruption)
            at_the_end.push(self._note_end)
            self._guarded = self.trainer.guarded_step()
            for callback in self.callbacks:
                callback.on_fit_begin(self.trainer)
            with self._line:
                if self.resumed_from is not None:
                    self._line.say(f"goes on from {self.resumed_from.name}")
                while not self.is_over:
                    self._one_epoch()
                if self._interruption.is_wanted:
                    self.reason = self.reason or "Ctrl-C"
            if self.reason is not None:
                self._line.say(f"stopped after {self._where}: {self.reason}")

    @property
    def _where(self) -> str:
        """``epoch 3``, or ``epoch 3, step 12``, as far as it has come."""
        if self.steps_done:
            return f"epoch {self.epochs_done + 1}, step {self.steps_done}"
        return f"epoch {self.epochs_done}"

    def save_checkpoint(self, folder: Path) -> Path:
        """Write where it is into a folder; see `chainrule.checkpoints`.

        Raises
        ------
        StorageError
            The file could not be written, or a callback remembers what cannot be in one.
        """
        from chainrule import checkpoints
        from chainrule.training.run_state import snapshot

        return checkpoints.write(folder, self.steps, *snapshot(self))

    def require_finite(self) -> None:
        """Raise the guard's error if the last step made a parameter infinite or NaN."""
        self._guarded.require_finite()

    def _note_end(self, kind: Any, error: Any, traceback: Any) -> None:
        self.is_going, self.is_failed = False, error is not None

    def _heard(self) -> None:
        self._line.say("stopping after this step; press Ctrl-C again to stop at once")

    # ---------------------------------------------------------------- an epoch

    def _one_epoch(self) -> None:
        """Take the steps of an epoch that are left, and, unless it is stopped, end it."""
        epoch, trainer = self.epochs_done + 1, self.trainer
        self._steps_of(epoch)
        if self.steps_done < self.steps_per_epoch:
            return
        try:
            figures = self._averages()
            if self.validation is not None:
                figures |= trainer.validated(self.validation, self.columns)
            for callback in self.callbacks:
                figures |= self._of_a_callback(callback, epoch, figures)
            self.history.append(figures)
            self.epochs_done, self.steps_done = epoch, 0
            self.sums, self.samples = [0.0] * len(self.sums), 0
            self._line.note(figures)
            for callback in self.callbacks:
                callback.on_epoch_end(trainer, epoch, figures)
        except Exception as error:
            _say_place(error, f"epoch {epoch}, at its end")
            raise
        if self.is_over:
            self._line.show(epoch, self.steps_per_epoch, figures)

    def _of_a_callback(
        self, callback: Callback, epoch: int, figures: dict[str, float]
    ) -> dict[str, float]:
        given = callback.figures(self.trainer, epoch)
        if not isinstance(given, Mapping) or not all(map(_is_figure, given.items())):
            raise DefinitionError(
                "figures returns what is no column of the history",
                place=f"{type(callback).__name__}.figures",
                expected='a number for each name, such as {"norm": 1.5}',
                received=f"{given!r:.80}",
                hint="return float(…) for each; {} where there is nothing to add",
            )
        added = {name: float(figure) for name, figure in given.items()}
        twice = sorted(set(added) & {*figures, "epoch"})
        if twice:
            raise ConfigurationError(
                f"two columns of the history would be called {twice[0]!r}",
                place=type(callback).__name__,
                expected="names in figures that nobody else uses",
                received=", ".join(figures),
            )
        return added

    def _steps_of(self, epoch: int) -> None:
        at_step_end = [
            callback.on_step_end
            for callback in self.callbacks
            if type(callback).on_step_end is not Callback.on_step_end
        ]
        guarded, trainer, line = self._guarded, self.trainer, self._line
        coming = self.batches.epoch(self.steps_done * self.accumulate)
        step, is_taken = self.steps_done, True
        self._looks = step == 0 and self._watch.is_due(epoch)
        try:
            for step in range(self.steps_done + 1, self.steps_per_epoch + 1):
                is_taken = False
                self._before, self._now = self._now, []
                cost = self._step(coming) if self.accumulate == 1 else self._long_step(coming)
                is_taken = True
                self.steps_done = step
                self.steps += 1
                for method in at_step_end:
                    method(trainer, epoch, step, cost)
                if perf_counter() >= line.due:
                    line.show(epoch, step, self._averages())
                if self.stops:
                    break
            guarded.require_finite()
        except BaseException as error:
            guarded.put_back()
            if guarded.has_overflowed:  # a step that was counted has been taken back
                self.steps, self.steps_done = self.steps - 1, self.steps_done - 1
            place = f"epoch {epoch}, step {step}"
            if self.accumulate > 1 and not is_taken:
                place += f", batch {(step - 1) * self.accumulate + len(self._now)}"
            _say_place(error, place)
            if isinstance(error, DataError) and error.batch and self.bad_batch is not None:
                write_bad_batch(self.bad_batch, [error.batch], error)
            if isinstance(error, NonFiniteError) and self.bad_batch is not None:
                # What the optimizer's step made infinite is seen one step later.
                at_fault = self._before if guarded.has_overflowed and not is_taken else self._now
                write_bad_batch(self.bad_batch, at_fault, error)
            raise

    # ---------------------------------------------------------------- a step

    def _step(self, coming: Iterator[Batch]) -> float:
        """One batch, one step."""
        inputs, target, weights = self._next(coming)
        cost, y, costs = self._guarded.take(inputs, target, weights)
        self._note(len(inputs[0]), cost, y, costs, target)
        return cost

    def _long_step(self, coming: Iterator[Batch]) -> float:
        """Several batches, one step: that of all their rows together."""
        total, rows = 0.0, 0
        left = self.batches.steps - self.steps_done * self.accumulate
        self._guarded.begin()
        for _ in range(min(self.accumulate, left)):
            inputs, target, weights = self._next(coming)
            size = len(inputs[0])
            cost, y, costs = self._guarded.add(inputs, target, weights, size)
            self._note(size, cost, y, costs, target)
            total, rows = total + cost * size, rows + size
        self._guarded.end(rows)
        return total / rows

    def _next(self, coming: Iterator[Batch]) -> Batch:
        """The next batch, kept for the case that it spoils everything."""
        batch = next(coming)
        self._now.append(batch)
        if self._looks:
            self._looks = False
            self._watch.look(*batch, self.epochs_done + 1, self.steps_done + 1)
        return batch

    def _note(self, size: int, cost: float, y: Any, costs: tuple[float, ...], target: Any) -> None:
        """Add what a batch says to the sums of the epoch."""
        sums = self.sums
        self.samples += size
        sums[0] += cost * size
        if len(sums) > 1:
            measured = [figure for _, figure in self.columns.measured(y, target)]
            for n, figure in enumerate([*costs, *measured], start=1):
                sums[n] += figure * size

    def _averages(self) -> dict[str, float]:
        pairs = zip(self.columns.names, self.sums, strict=True)
        return {name: total / self.samples for name, total in pairs}


def _say_place(error: BaseException, place: str) -> None:
    """Note in an error where in the run it came."""
    if isinstance(error, ChainruleError):
        error.place = f"{error.place}, {place}" if error.place else place
    else:
        error.add_note(f"in {place}")


def _is_figure(item: tuple[Any, Any]) -> bool:
    name, figure = item
    is_number = isinstance(figure, numbers.Real | np.number) and not isinstance(figure, bool)
    return isinstance(name, str) and is_number
