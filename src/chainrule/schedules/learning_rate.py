"""The callback that applies a schedule to any optimizer.

    before step t:      optimizer.learning_rate ← η(t)
    after an epoch:     history["learning_rate"] ← the η of the last step of the epoch

t counts exactly the steps taken: it continues from one `Trainer.fit` to the next, checkpoints save
it, and an interrupted step does not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import Factory, define, field

from chainrule.callbacks.callback import Callback, require_state
from chainrule.callbacks.monitoring import figure_of, require_column
from chainrule.core.errors import ConfigurationError, shortened
from chainrule.core.ownership import UsedBy
from chainrule.core.validators import (
    FIXED_IN_A_RUN,
    as_int,
    complain,
    counted_or_zero,
    one_of,
    text,
)
from chainrule.schedules.plateau import ReduceOnPlateau
from chainrule.schedules.schedule import Constant, Schedule, require_schedule

if TYPE_CHECKING:
    from chainrule.training.trainer import Trainer

RATE = "learning_rate"
"""The column that the callback adds to the history."""


def _default_unit(rate: LearningRate) -> str:
    return "epoch" if rate._depends_on_measurements_only else "step"


def _default_column(rate: LearningRate) -> str | None:
    return "validation_loss" if isinstance(rate.schedule, ReduceOnPlateau) else None


def _steps_of_run(trainer: Trainer) -> int:
    """The steps of the run, without those that a callback takes with `Trainer.step`."""
    return trainer.run.steps if trainer.run is not None else trainer.steps


@define(eq=False)
class LearningRate(Callback):
    """Sets the learning rate of the trainer's optimizer before each step, or before each epoch.

    The history gets a column ``"learning_rate"``: for each epoch, the rate of its last step.

    Parameters
    ----------
    schedule
        A `Schedule`, or a `ReduceOnPlateau`.
    per
        What t counts: ``"step"``, or ``"epoch"``, which keeps the rate constant within each epoch.
        For a `ReduceOnPlateau` that starts from a number it is always ``"epoch"``.
    monitor
        For a `ReduceOnPlateau`, the column of the history that it receives at the end of each
        epoch; the default is ``"validation_loss"``.
    steps
        The initial t: the number of steps (or epochs) to count as already taken.

    Attributes
    ----------
    steps : int
        t, the number of steps (or epochs) so far. It continues from one `Trainer.fit` to the next;
        set it to 0 to restart the schedule.

    Raises
    ------
    ConfigurationError
        An argument is invalid; or, before the first step, there is another LearningRate, or the
        history will have no column ``monitor``. (With custom callbacks that add columns, a missing
        column is noticed after the first epoch.)

    Notes
    -----
    t also continues if the next `Trainer.fit` is called on another trainer; for another model, a
    `ReusedStateWarning` says so. The measurements that a `ReduceOnPlateau` has received from one
    trainer say nothing about another, so it starts over.

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

    changes_rate_alone: ClassVar[bool] = True

    schedule: Schedule | ReduceOnPlateau = field(on_setattr=FIXED_IN_A_RUN)
    per: str = field(
        default=Factory(_default_unit, takes_self=True),
        kw_only=True,
        validator=one_of("step", "epoch"),
        on_setattr=FIXED_IN_A_RUN,
    )
    monitor: str | None = field(
        default=Factory(_default_column, takes_self=True),
        kw_only=True,
        on_setattr=FIXED_IN_A_RUN,
    )
    steps: int = field(default=0, kw_only=True, converter=as_int, validator=counted_or_zero)
    _taken: float | None = field(default=None, init=False, repr=False)
    _seen: int | None = field(default=None, init=False, repr=False)
    _restored: Mapping[str, Any] | None = field(
        default=None, init=False, repr=False
    )  # until the run begins
    _begun_with: dict[str, str] = field(factory=dict, init=False, repr=False)
    _used_by: UsedBy = field(factory=UsedBy, init=False, repr=False)

    @schedule.validator
    def _is_a_schedule(self, attribute: Any, value: Any) -> None:
        if not isinstance(value, ReduceOnPlateau):
            require_schedule(self, "schedule", value)

    @monitor.validator
    def _is_a_column(self, attribute: Any, value: Any) -> None:
        if isinstance(self.schedule, ReduceOnPlateau):
            text(self, attribute, value)
        elif value is not None:
            hint = "leave it out, or use ReduceOnPlateau(…)"
            expected = "None for a schedule that depends only on t"
            complain(self, "monitor", expected, value, hint)

    def __attrs_post_init__(self) -> None:
        if self._depends_on_measurements_only and self.per != "epoch":
            expected = "'epoch' for a ReduceOnPlateau that starts from a number"
            hint = "leave it out: the monitored column is measured once per epoch"
            complain(self, "per", expected, self.per, hint)

    @property
    def _depends_on_measurements_only(self) -> bool:
        """Whether the rate depends on measurements, and not on t."""
        plateau = self.schedule
        return isinstance(plateau, ReduceOnPlateau) and not isinstance(plateau.start, Schedule)

    # ---------------------------------------------------------------- called by the trainer

    def check(self, trainer: Trainer) -> None:
        """Raise an error for a second LearningRate, or if the column will not exist."""
        self._require_no_other(trainer)
        self._begun_with = self._rule
        if self.monitor is not None:
            require_column(self, self.monitor, trainer)
            self._require_same_column(trainer)
        self._require_same_schedule(trainer)

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Set the rate of the first step."""
        restored, self._restored = self._restored, None
        if isinstance(self.schedule, ReduceOnPlateau):
            self.schedule.belong_to(trainer)
        if restored is not None and trainer.is_resumed:
            self.steps, self._taken = restored["steps"], restored["taken"]
            if isinstance(self.schedule, ReduceOnPlateau) and restored["plateau"] is not None:
                self.schedule.restore(restored["plateau"])
        self._note_model(trainer, is_restored=restored is not None and trainer.is_resumed)
        self._set(trainer)
        self._seen = _steps_of_run(trainer)

    def on_step_end(self, trainer: Trainer, epoch: int, step: int, cost: float) -> None:
        """Set the rate of the next step."""
        self._seen = _steps_of_run(trainer)
        self._taken = trainer.optimizer.learning_rate
        if self.per == "step":
            self.steps += 1
            self._set(trainer)

    def figures(self, trainer: Trainer, epoch: int) -> Mapping[str, float]:
        """The rate of the last step."""
        taken = trainer.optimizer.learning_rate if self._taken is None else self._taken
        return {RATE: taken}

    def added_columns(self) -> Sequence[str] | None:
        """The one column, unless a subclass adds more."""
        return (RATE,) if type(self).figures is LearningRate.figures else None

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: Mapping[str, float]) -> None:
        """Set the rate of the next epoch."""
        if isinstance(self.schedule, ReduceOnPlateau):
            self.schedule.update(figure_of(self, str(self.monitor), trainer, figures))
        if self.per == "epoch":
            self.steps += 1
        self._set(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Correct the count if the last step was taken back, or its callback was not called."""
        steps = _steps_of_run(trainer)
        if self.per == "step" and self._seen is not None and steps != self._seen:
            self.steps = max(self.steps + steps - self._seen, 0)
            self._set(trainer)
        self._seen = None

    def state(self) -> dict[str, Any]:
        """t, the rate of the last step, and the state of a `ReduceOnPlateau`."""
        plateau = self.schedule.state() if isinstance(self.schedule, ReduceOnPlateau) else None
        counted = {"steps": self.steps, "taken": self._taken}
        return {
            **counted,
            "plateau": plateau,
            "monitor": self.monitor,
            **(self._begun_with or self._rule),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from an earlier `state` when the run begins."""
        is_plateau = isinstance(self.schedule, ReduceOnPlateau)
        none = type(None)
        kinds = {"steps": (int,), "taken": (float, none), "monitor": (str, none)}
        require_state(self, state, {**kinds, "plateau": (dict,) if is_plateau else (none, dict)})
        if is_plateau:
            counts = {"reductions": (int,), "not_better": (int,), "cooling": (int,)}
            require_state(self, state["plateau"], {**counts, "best": (float, none)})
        self._restored = dict(state)

    def _require_no_other(self, trainer: Trainer) -> None:
        others = [
            each
            for each in trainer.callbacks
            if isinstance(each, LearningRate) and each is not self
        ]
        if others:
            raise ConfigurationError(
                "two callbacks set the learning rate, and only the last would count",
                place="LearningRate",
                expected="one LearningRate among the callbacks",
                received=f"{shortened(self.schedule)} and {shortened(others[0].schedule)}",
                hint="combine them: LearningRate(first * second), or first.then(second, after=…)",
            )

    def _require_same_column(self, trainer: Trainer) -> None:
        before = (
            self._restored.get("monitor")
            if self._restored is not None and trainer.is_resumed
            else None
        )
        if before not in (None, self.monitor):
            raise ConfigurationError(
                "the resumed run monitored a different column",
                place="LearningRate",
                expected=f"monitor={before!r}",
                received=f"monitor={self.monitor!r}",
                hint=f"LearningRate(…, monitor={before!r}), or start a new run",
            )

    def _note_model(self, trainer: Trainer, *, is_restored: bool) -> None:
        """Warn if t continues from the training of another model."""
        continues = self.steps > 0 and not is_restored
        has_memory = (
            not isinstance(self.schedule, Constant) and not self._depends_on_measurements_only
        )
        text = (
            f"LearningRate({self.schedule!r:.120}) continues at {self.per} {self.steps} of its"
            " schedule, to which the training of another model has brought it\n"
            "  hint      before fit, restart it: rate.steps = 0; or create a new LearningRate for"
            " each model"
        )
        self._used_by.is_now(trainer.model, text if continues and has_memory else None)

    @property
    def _rule(self) -> dict[str, str]:
        return {"schedule": repr(self.schedule), "per": self.per}

    def _require_same_schedule(self, trainer: Trainer) -> None:
        """Raise an error if the resumed run had another schedule; chainrule 0.1 stored none."""
        stored = self._restored if self._restored is not None and trainer.is_resumed else {}
        for name, now in self._rule.items():
            if stored.get(name, now) != now:
                raise ConfigurationError(
                    f"the resumed run had a different {name}",
                    place="LearningRate",
                    expected=stored[name],
                    received=now,
                    hint="use the same as then, or start a new run with the weights of this one",
                )

    def _set(self, trainer: Trainer) -> None:
        trainer.optimizer.learning_rate = self.schedule(self.steps)
