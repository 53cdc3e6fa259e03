"""The callback that brings a schedule to an optimizer, whichever that is.

    before step t:      optimizer.learning_rate ← η(t)
    after an epoch:     history["learning_rate"] ← the η with which its last step was taken

t counts the steps that were taken, no more and no less: it goes on from one `Trainer.fit` to the
next, it stands in a checkpoint, and a step that was broken off does not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import Factory, define, field

from chainrule.callbacks.callback import Callback
from chainrule.callbacks.monitoring import figure_of, require_column
from chainrule.core.errors import ConfigurationError
from chainrule.core.validators import as_int, complain, counted_or_zero, one_of, text
from chainrule.schedules.plateau import ReduceOnPlateau
from chainrule.schedules.schedule import Schedule, require_schedule

if TYPE_CHECKING:
    from chainrule.training.trainer import Trainer

RATE = "learning_rate"
"""The column that it adds to the history."""


def _usual_unit(rate: LearningRate) -> str:
    return "epoch" if rate._waits_only else "step"


def _usual_column(rate: LearningRate) -> str | None:
    return "validation_loss" if isinstance(rate.schedule, ReduceOnPlateau) else None


@define(eq=False)
class LearningRate(Callback):
    """Sets the learning rate of the trainer's optimizer before each step, or before each epoch.

    The history gets a column ``"learning_rate"``: for each epoch, the rate with which its last step
    was taken.

    Parameters
    ----------
    schedule
        A `Schedule`, or a `ReduceOnPlateau`.
    per
        What t counts: ``"step"``, or ``"epoch"``, so that the rate stays the same within each.
        With a `ReduceOnPlateau` that starts from a number it is always ``"epoch"``.
    monitor
        For a `ReduceOnPlateau`, the column of the history that it is told at the end of each
        epoch; ``"validation_loss"`` if not given.
    steps
        t, how many steps (or epochs) there were before the first.

    Attributes
    ----------
    steps : int
        t, how many steps (or epochs) there have been. It goes on from one `Trainer.fit` to the
        next; setting it to 0 starts the schedule afresh.

    Raises
    ------
    ConfigurationError
        An argument makes no sense; or, before the first step, there is another LearningRate, or
        the history will have no column ``monitor`` (where callbacks of one's own add columns, that
        is seen after the first epoch).

    Notes
    -----
    t goes on also where the next `Trainer.fit` is that of another trainer. What a `ReduceOnPlateau`
    has been told of one trainer says nothing of another, so with that it begins afresh.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> trainer = Trainer(Sequential([Dense(1)]), losses.HalfSquaredError(), optimizers.SGD(1.0))
    >>> rate = LearningRate(schedules.Step(0.25, every=6, factor=0.5))
    >>> history = trainer.fit(x, 2 * x + 1, epochs=5, batch_size=2, callbacks=[rate])
    >>> rate.steps, trainer.optimizer.learning_rate
    (10, 0.125)
    >>> history["learning_rate"]
    [0.25, 0.25, 0.25, 0.125, 0.125]
    """

    schedule: Schedule | ReduceOnPlateau = field()
    per: str = field(
        default=Factory(_usual_unit, takes_self=True),
        kw_only=True,
        validator=one_of("step", "epoch"),
    )
    monitor: str | None = field(default=Factory(_usual_column, takes_self=True), kw_only=True)
    steps: int = field(default=0, kw_only=True, converter=as_int, validator=counted_or_zero)
    _taken: float | None = field(default=None, init=False, repr=False)
    _seen: int | None = field(default=None, init=False, repr=False)
    _left: Mapping[str, Any] | None = field(default=None, init=False, repr=False)  # until it begins

    @schedule.validator
    def _is_a_schedule(self, attribute: Any, value: Any) -> None:
        if not isinstance(value, ReduceOnPlateau):
            require_schedule(self, "schedule", value)

    @monitor.validator
    def _is_a_column(self, attribute: Any, value: Any) -> None:
        if isinstance(self.schedule, ReduceOnPlateau):
            text(self, attribute, value)
        elif value is not None:
            hint = "leave it out, or take ReduceOnPlateau(…)"
            expected = "none, for a schedule that depends on t alone"
            complain(self, "monitor", expected, value, hint)

    def __attrs_post_init__(self) -> None:
        if self._waits_only and self.per != "epoch":
            expected = "'epoch', for a ReduceOnPlateau that starts from a number"
            hint = "leave it out: what is monitored is measured once an epoch"
            complain(self, "per", expected, self.per, hint)

    @property
    def _waits_only(self) -> bool:
        """Whether the rate changes with what is measured, and with nothing else."""
        plateau = self.schedule
        return isinstance(plateau, ReduceOnPlateau) and not isinstance(plateau.start, Schedule)

    # ---------------------------------------------------------------- what a trainer calls

    def check(self, trainer: Trainer) -> None:
        """Refuse a second one, and a column that there will not be."""
        self._require_to_be_alone(trainer)
        if self.monitor is not None:
            require_column(self, self.monitor, trainer)
            self._require_same_column(trainer)

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Set the rate of the first step."""
        left, self._left = self._left, None
        if isinstance(self.schedule, ReduceOnPlateau):
            self.schedule.belong_to(trainer)
        if left is not None and trainer.is_resumed:
            self.steps, self._taken = left["steps"], left["taken"]
            if isinstance(self.schedule, ReduceOnPlateau) and left["plateau"] is not None:
                self.schedule.restore(left["plateau"])
        self._set(trainer)
        self._seen = trainer.steps

    def on_step_end(self, trainer: Trainer, epoch: int, step: int, cost: float) -> None:
        """Set the rate of the next step."""
        self._seen = trainer.steps
        self._taken = trainer.optimizer.learning_rate
        if self.per == "step":
            self.steps += 1
            self._set(trainer)

    def figures(self, trainer: Trainer, epoch: int) -> Mapping[str, float]:
        """The rate with which the last step was taken."""
        taken = trainer.optimizer.learning_rate if self._taken is None else self._taken
        return {RATE: taken}

    def added_columns(self) -> Sequence[str] | None:
        """The one column, unless a subclass measures more."""
        return (RATE,) if type(self).figures is LearningRate.figures else None

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: Mapping[str, float]) -> None:
        """Set the rate of the next epoch."""
        if isinstance(self.schedule, ReduceOnPlateau):
            self.schedule.update(figure_of(self, str(self.monitor), trainer, figures))
        if self.per == "epoch":
            self.steps += 1
        self._set(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Count what was taken, also where the last step was taken back, or not told any more."""
        if self.per == "step" and self._seen is not None and trainer.steps != self._seen:
            self.steps = max(self.steps + trainer.steps - self._seen, 0)
            self._set(trainer)
        self._seen = None

    def state(self) -> dict[str, Any]:
        """How far it is, and what a plateau waits for."""
        plateau = self.schedule.state() if isinstance(self.schedule, ReduceOnPlateau) else None
        counted = {"steps": self.steps, "taken": self._taken}
        return {**counted, "plateau": plateau, "monitor": self.monitor}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave, when the run begins."""
        self._left = dict(state)

    def _require_to_be_alone(self, trainer: Trainer) -> None:
        others = [
            each
            for each in trainer.callbacks
            if isinstance(each, LearningRate) and each is not self
        ]
        if others:
            raise ConfigurationError(
                "two callbacks set the learning rate, of which the last would win",
                place="LearningRate",
                expected="one LearningRate among the callbacks",
                received=f"{self.schedule!r:.60} and {others[0].schedule!r:.60}",
                hint="multiply them, LearningRate(first * second), or first.then(second, after=…)",
            )

    def _require_same_column(self, trainer: Trainer) -> None:
        before = (
            self._left.get("monitor") if self._left is not None and trainer.is_resumed else None
        )
        if before not in (None, self.monitor):
            raise ConfigurationError(
                "the run that is resumed waited for another column to get better",
                place="LearningRate",
                expected=f"monitor={before!r}",
                received=f"monitor={self.monitor!r}",
                hint=f"LearningRate(…, monitor={before!r}), or begin a new run",
            )

    def _set(self, trainer: Trainer) -> None:
        trainer.optimizer.learning_rate = self.schedule(self.steps)
