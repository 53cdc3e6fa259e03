"""The callback that sets the learning rate: the right rate at every step, in every case."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from chainrule import Dense, Sequential, Trainer, callbacks, losses, optimizers, schedules
from chainrule.callbacks import (
    Callback,
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    FromFunctions,
    TensorBoard,
)
from chainrule.core.errors import ConfigurationError, NonFiniteError
from chainrule.core.ownership import ReusedStateWarning
from chainrule.optimizers import Optimizer
from chainrule.schedules import (
    Constant,
    Cosine,
    Exponential,
    LearningRate,
    OneCycle,
    ReduceOnPlateau,
    Schedule,
    Step,
    WarmUp,
)
from checkpoints.resumption import Kills, fit, killed_and_resumed
from checkpoints.resumption import trainer_of as trainer_of_two_layers

SEVERAL = [
    Constant(0.1),
    Step(0.1, every=3, factor=0.5),
    Cosine(0.1, steps=3, restarts=True, growth=2),
    WarmUp(Cosine(0.1, steps=9), steps=3),
    OneCycle(0.1, steps=12),
    Constant(0.1).then(Exponential(0.1, 0.9), after=5),
    0.5 * Cosine(0.1, steps=12) * Exponential(1.0, 0.9),
]


def values(schedule: Schedule, steps: int) -> list[float]:
    return [schedule(t) for t in range(steps)]


def rates_of(plateau: ReduceOnPlateau, figures: list[float]) -> list[float]:
    return [plateau.update(figure) for figure in figures]


def trainer_of(optimizer: Optimizer) -> Trainer:
    model = Sequential([Dense(2)])
    model.build((3,), rng=0, dtype="float64")
    return Trainer(model, losses.HalfSquaredError(), optimizer, rng=0)


def samples(count: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(count, 3)), rng.normal(size=(count, 2))


def recording(kind: type[Optimizer]) -> tuple[Optimizer, list[float]]:
    """An optimizer that records the learning rate of each step."""
    seen: list[float] = []

    @attrs.define
    class Recording(kind):  # type: ignore[valid-type, misc]
        def step(self, value: Any, gradient: Any) -> None:
            seen.append(self.learning_rate)
            kind.step(self, value, gradient)

    return Recording(learning_rate=7.0), seen


def every_optimizer() -> list[type[Optimizer]]:
    known = [getattr(optimizers, name) for name in optimizers.__all__]
    kinds = [each for each in known if isinstance(each, type) and issubclass(each, Optimizer)]
    return [kind for kind in kinds if kind is not Optimizer]


@pytest.mark.parametrize("kind", every_optimizer())
@pytest.mark.parametrize("schedule", SEVERAL, ids=repr)
def test_step_t_is_taken_with_the_rate_of_t_over_several_fits(
    kind: type[Optimizer], schedule: Schedule
) -> None:
    optimizer, seen = recording(kind)
    trainer, rate = trainer_of(optimizer), LearningRate(schedule)
    trainer.fit(*samples(5), epochs=2, batch_size=2, callbacks=[rate])
    assert rate.steps == 6
    trainer.fit(*samples(5), epochs=3, batch_size=2, callbacks=[rate])
    assert rate.steps == 15
    assert seen == values(schedule, 15)


def test_per_epoch_the_rate_stays_the_same_within_each() -> None:
    optimizer, seen = recording(optimizers.SGD)
    trainer, rate = trainer_of(optimizer), LearningRate(Exponential(0.5, 0.5), per="epoch")
    for epochs in (2, 1):
        trainer.fit(*samples(5), epochs=epochs, batch_size=2, callbacks=[rate])
    assert seen == [0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125, 0.125]
    assert rate.steps == 3


def test_the_count_can_be_set_to_restart_or_continue() -> None:
    optimizer, seen = recording(optimizers.SGD)
    rate = LearningRate(Exponential(0.5, 0.5), steps=2)
    trainer = trainer_of(optimizer)
    trainer.fit(*samples(2), epochs=1, callbacks=[rate])
    rate.steps = 0
    trainer.fit(*samples(2), epochs=1, callbacks=[rate])
    assert seen == [0.125, 0.5]


def test_a_scheduled_training_equals_the_loop_written_out() -> None:
    schedule, (x, t) = WarmUp(Cosine(0.3, steps=6), steps=3), samples(4)
    one, two = trainer_of(optimizers.Adam()), trainer_of(optimizers.Adam())
    one.fit(x, t, epochs=10, shuffle=False, callbacks=[LearningRate(schedule)])
    for n in range(10):
        two.optimizer.learning_rate = schedule(n)
        two.step(x, t)
    np.testing.assert_array_equal(one.model.parameters.value, two.model.parameters.value)


@pytest.mark.parametrize("monitor", ["validation_loss", "loss", "mean_squared_error"])
def test_a_plateau_receives_the_column_that_it_monitors(monitor: str) -> None:
    optimizer, seen = recording(optimizers.SGD)
    model, loss = Sequential([Dense(2)]), losses.HalfSquaredError()
    trainer = Trainer(model, loss, optimizer, metrics=["mean_squared_error"], rng=0)
    plateau = ReduceOnPlateau(1.5, factor=0.5, patience=0, threshold=0.05)
    rate = LearningRate(plateau, monitor=monitor)
    found: list[float] = []
    for epochs in (12, 3):
        history = trainer.fit(
            *samples(6), epochs=epochs, validation_data=samples(3), callbacks=[rate]
        )
        found += history[monitor]
    again = ReduceOnPlateau(1.5, factor=0.5, patience=0, threshold=0.05)
    assert seen == [1.5, *rates_of(again, found)][:-1]
    assert seen[-1] < 1.5 and rate.steps == 15
    assert trainer.optimizer.learning_rate == plateau() == again()


@pytest.mark.parametrize(
    ("monitor", "validation", "hint"),
    [
        (None, False, "give validation_data to fit, or monitor='loss'"),
        ("validation_accuracy", False, "give validation_data to fit, or monitor='loss'"),
        ("validation_accuracy", True, "for example, monitor='validation_loss'"),
        ("validation_los", True, "did you mean monitor='validation_loss'?"),
        ("validtion_loss", True, "did you mean monitor='validation_loss'?"),
        ("accuracy", False, "for example, monitor='loss'"),
        ("accuracy", True, "for example, monitor='validation_loss'"),
        ("lose", False, "did you mean monitor='loss'?"),
        ("val_loss", True, "did you mean monitor='validation_loss'?"),
    ],
)
def test_a_column_that_is_not_there_is_named_before_the_first_step(
    monitor: str | None, validation: bool, hint: str
) -> None:
    plateau = ReduceOnPlateau(0.1)
    rate = LearningRate(plateau) if monitor is None else LearningRate(plateau, monitor=monitor)
    more = {"validation_data": samples(3)} if validation else {}
    trainer = trainer_of(optimizers.SGD(0.1))
    before = trainer.model.parameters.value.copy()
    with pytest.raises(ConfigurationError) as caught:
        trainer.fit(*samples(4), callbacks=[rate], **more)
    np.testing.assert_array_equal(trainer.model.parameters.value, before)
    assert caught.value.expected == f"a column {monitor or 'validation_loss'!r}"
    measured = "loss, validation_loss" if validation else "loss"
    assert caught.value.received == f"{measured}, learning_rate"
    assert caught.value.hint == hint


def test_a_plateau_can_monitor_a_column_that_a_callback_adds() -> None:
    told = [3.0, 3.0, 2.0, 2.0]
    energy = FromFunctions(figures=lambda trainer, epoch: {"energy": told[epoch - 1]})
    rate = LearningRate(ReduceOnPlateau(0.8, factor=0.5, patience=0), monitor="energy")
    history = trainer_of(optimizers.SGD(0.1)).fit(*samples(4), epochs=4, callbacks=[rate, energy])
    assert history["learning_rate"] == [0.8, 0.8, 0.4, 0.4] and rate.schedule() == 0.2
    with pytest.raises(ConfigurationError, match="no such column") as caught:
        rate = LearningRate(ReduceOnPlateau(0.8), monitor="enrgy")
        trainer_of(optimizers.SGD(0.1)).fit(*samples(4), epochs=4, callbacks=[rate, energy])
    assert caught.value.hint == "did you mean monitor='energy'?"


@pytest.mark.parametrize("is_wrapped_anew", [False, True])
def test_with_another_trainer_a_plateau_restarts_while_t_continues(
    is_wrapped_anew: bool,
) -> None:
    plateau = ReduceOnPlateau(0.1, factor=0.5, patience=0, threshold=0.999)
    rate = LearningRate(plateau, monitor="loss")
    first = trainer_of(optimizers.SGD(0.1))
    first.fit(*samples(4), epochs=5, callbacks=[rate])
    assert plateau() == 0.1 * 0.5**4
    if is_wrapped_anew:
        rate = LearningRate(plateau, monitor="loss", steps=5)
    optimizer, seen = recording(optimizers.SGD)
    history = trainer_of(optimizer).fit(*samples(4), epochs=2, callbacks=[rate])
    assert seen == [0.1, 0.1] and plateau.best == history["loss"][0]
    assert rate.steps == 7


def test_a_plateau_that_was_updated_by_hand_continues_from_there() -> None:
    plateau = ReduceOnPlateau(0.8, factor=0.5, patience=0)
    rates_of(plateau, [0.0, 1.0])
    history = trainer_of(optimizers.SGD(0.1)).fit(
        *samples(4), epochs=1, callbacks=[LearningRate(plateau, monitor="loss")]
    )
    assert history["learning_rate"] == [0.4] and plateau.best == 0.0


def test_print_shows_the_configuration() -> None:
    assert repr(LearningRate(Constant(0.1))) == (
        "LearningRate(schedule=Constant(rate=0.1), per='step', monitor=None, steps=0)"
    )
    plateau = LearningRate(ReduceOnPlateau(0.1))
    assert "per='epoch', monitor='validation_loss'" in repr(plateau)


# ------------------------------------------------------------------------------- the column


@pytest.mark.parametrize("per", ["step", "epoch"])
def test_the_history_says_with_which_rate_the_last_step_of_each_epoch_was_taken(per: str) -> None:
    optimizer, seen = recording(optimizers.SGD)
    rate = LearningRate(Exponential(0.5, 0.5), per=per)
    history = trainer_of(optimizer).fit(*samples(5), epochs=4, batch_size=2, callbacks=[rate])
    assert history["learning_rate"] == seen[2::3]
    assert list(history) == ["loss", "learning_rate"]


def test_the_history_has_the_rate_before_a_plateau_reduces_it() -> None:
    optimizer, seen = recording(optimizers.SGD)
    plateau = ReduceOnPlateau(0.3, factor=0.5, patience=0, threshold=0.1)
    rate = LearningRate(plateau, monitor="loss")
    history = trainer_of(optimizer).fit(*samples(6), epochs=30, callbacks=[rate])
    assert history["learning_rate"] == seen and seen[-1] < 0.3


# ------------------------------------------------------------------------------- combined


def test_a_plateau_counts_epochs_while_its_schedule_counts_steps() -> None:
    optimizer, seen = recording(optimizers.SGD)
    start = WarmUp(Constant(2.0), steps=4)
    rate = LearningRate(ReduceOnPlateau(start, factor=0.5, patience=0), monitor="loss")
    assert rate.per == "step"
    history = trainer_of(optimizer).fit(*samples(6), epochs=6, batch_size=2, callbacks=[rate])
    best, k, expected = math.inf, 0, []
    for epoch, loss in enumerate(history["loss"]):
        expected += [start(3 * epoch + n) * 0.5**k for n in range(3)]
        k += not loss < best * (1 - 1e-4)
        best = min(best, loss)
    assert seen == expected and k > 0


def test_the_reduced_rate_applies_from_the_first_step_of_the_next_epoch() -> None:
    optimizer, seen = recording(optimizers.SGD)
    rate = LearningRate(
        ReduceOnPlateau(Constant(1.0), factor=0.5, patience=0, threshold=0.999), monitor="loss"
    )
    trainer_of(optimizer).fit(*samples(4), epochs=4, batch_size=2, callbacks=[rate])
    assert seen == [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]


# ------------------------------------------------------------------------------- failing steps


def test_a_step_that_was_taken_back_does_not_count() -> None:
    """SGD with a very large rate overflows in one step, and the next step detects it."""
    trainer = trainer_of(optimizers.SGD(0.1))
    rate = LearningRate(Constant(0.1).then(Constant(1e300), after=4))
    x, t = samples(4)
    with pytest.raises(NonFiniteError):
        trainer.fit(x * 1e10, t, epochs=9, batch_size=2, callbacks=[rate])
    assert rate.steps == trainer.steps


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_after_an_error_in_another_callback_the_count_is_that_of_the_steps_taken(
    error: type[BaseException],
) -> None:
    class Fails(Callback):
        def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
            if trainer.steps == 4:
                raise error

    for order in (1, -1):
        optimizer, seen = recording(optimizers.SGD)
        trainer, rate = trainer_of(optimizer), LearningRate(Exponential(0.5, 0.5))
        with pytest.raises(error):
            trainer.fit(*samples(6), batch_size=2, callbacks=[rate, Fails()][::order])
        assert rate.steps == len(seen) == 4
        assert trainer.optimizer.learning_rate == 0.5**5
        trainer.fit(*samples(6), epochs=1, batch_size=2, callbacks=[rate])
        assert seen == values(Exponential(0.5, 0.5), 7)


def test_a_rate_that_overflows_stops_the_training_at_that_step() -> None:
    trainer = trainer_of(optimizers.SGD(1.0))
    rate = LearningRate(Exponential(1e-300, 1e150))
    with pytest.raises(ConfigurationError, match=r"Exponential, step 3, epoch 3, step 1"):
        trainer.fit(*samples(4), epochs=9, batch_size=4, callbacks=[rate])


# ------------------------------------------------------------------------------- resumed runs


@pytest.mark.parametrize(
    ("kills", "every"), [(Kills(steps=7), 2), (Kills(steps=9), 1), (Kills(epochs=3), 50)]
)
@pytest.mark.parametrize(
    "make",
    [
        lambda: LearningRate(WarmUp(Cosine(0.1, steps=15), steps=3)),
        lambda: LearningRate(Exponential(0.1, 0.7), per="epoch"),
        lambda: LearningRate(ReduceOnPlateau(0.5, factor=0.5, patience=0)),
        lambda: LearningRate(ReduceOnPlateau(Exponential(0.5, 0.9), factor=0.5, patience=0)),
    ],
)
def test_a_resumed_run_continues_with_the_same_rates(
    tmp_path: Path, make: Any, kills: Kills, every: int
) -> None:
    alone = fit(trainer_of_two_layers(), [left := make()])
    resumed, (rate,) = killed_and_resumed(lambda: [make()], tmp_path, kills, every)
    assert resumed.history == alone.history and len({*alone.history["learning_rate"]}) > 1
    assert rate.steps == left.steps and rate.schedule == left.schedule
    assert resumed.optimizer.learning_rate == alone.optimizer.learning_rate
    np.testing.assert_array_equal(resumed.model.parameters.value, alone.model.parameters.value)


def test_a_plateau_resumed_by_the_same_object_continues(tmp_path: Path) -> None:
    def make() -> LearningRate:
        return LearningRate(ReduceOnPlateau(0.5, factor=0.5, patience=0))

    alone = fit(trainer_of_two_layers(), [make()])
    rate, saves = make(), Checkpoint(tmp_path)
    fit(trainer_of_two_layers(), [rate, saves], epochs=4)
    resumed = fit(trainer_of_two_layers(), [rate, saves], resume_from=tmp_path)
    assert resumed.history == alone.history and len({*alone.history["learning_rate"]}) > 1


def test_a_refused_resumption_leaves_the_count_unchanged(tmp_path: Path) -> None:
    class Refuses(Callback):
        def check(self, trainer: Any) -> None:
            raise RuntimeError

    fit(trainer_of_two_layers(), [LearningRate(Constant(0.1)), Checkpoint(tmp_path)], epochs=2)
    rate = LearningRate(Constant(0.1))
    with pytest.raises(RuntimeError):
        fit(trainer_of_two_layers(), [rate, Refuses()], resume_from=tmp_path)
    assert rate.steps == 0
    fit(trainer_of_two_layers(), [rate], epochs=1)
    assert rate.steps == 3


def test_a_plateau_is_not_resumed_with_another_column(tmp_path: Path) -> None:
    def make(monitor: str) -> LearningRate:
        return LearningRate(ReduceOnPlateau(0.5), monitor=monitor)

    fit(trainer_of_two_layers(), [make("validation_loss"), Checkpoint(tmp_path)], epochs=2)
    trainer = trainer_of_two_layers()
    with pytest.raises(ConfigurationError, match="monitored a different column") as caught:
        fit(trainer, [make("loss")], resume_from=tmp_path)
    assert "monitor='validation_loss'" in str(caught.value.hint) and not trainer.model.is_built


# ------------------------------------------------------------------------------- errors


def test_two_callbacks_that_set_the_rate_are_refused_before_the_first_step() -> None:
    trainer = trainer_of(optimizers.SGD(0.1))
    both = [LearningRate(Constant(0.1)), LearningRate(Exponential(0.1, 0.9))]
    with pytest.raises(ConfigurationError, match="two callbacks set the learning rate") as caught:
        trainer.fit(*samples(4), callbacks=both)
    assert trainer.steps == 0 and "first * second" in str(caught.value.hint)


def test_a_refused_run_does_not_begin_other_callbacks(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run.csv"
    path.write_text("of yesterday")
    both = [LearningRate(Constant(0.1)), LearningRate(Exponential(0.1, 0.9))]
    for refused in (both, [LearningRate(ReduceOnPlateau(0.1))], [EarlyStopping()]):
        with pytest.raises(ConfigurationError):
            trainer_of(optimizers.SGD(0.1)).fit(
                *samples(4), callbacks=[CSVLogger(path), TensorBoard(tmp_path / "tb"), *refused]
            )
    assert path.read_text() == "of yesterday" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: LearningRate(0.1), "schedule"),
        (lambda: LearningRate(Cosine), "schedule"),
        (lambda: LearningRate(lambda t: 0.1), "schedule"),
        (lambda: LearningRate("cosine"), "schedule"),
        (lambda: LearningRate(Constant(1), per="batch"), "per"),
        (lambda: LearningRate(Constant(1), monitor="loss"), "monitor"),
        (lambda: LearningRate(Constant(1), steps=-1), "steps"),
        (lambda: LearningRate(ReduceOnPlateau(1), per="step"), "per"),
        (lambda: LearningRate(ReduceOnPlateau(1), monitor=None), "monitor"),
        (lambda: LearningRate(ReduceOnPlateau(Constant(1)), monitor=3), "monitor"),
    ],
)
def test_the_error_for_an_invalid_argument_names_it(make: Any, argument: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{argument} has an invalid value") as caught:
        make()
    error = caught.value
    assert error.place == "LearningRate" and error.expected and error.received and error.hint
    assert " at 0x" not in str(error)


# ------------------------------------------------------------------------------- another model


X = np.ones((4, 2))
T = np.ones((4, 1))


def used_for(models, rate):
    for model in models:
        trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
        trainer.fit(X, T, epochs=1, callbacks=[rate], progress=False)


def test_a_schedule_that_continues_with_another_model_warns_once_and_says_how_to_restart_it():
    one, two, three = (Dense(1) for _ in range(3))
    rate = callbacks.LearningRate(schedules.Cosine(0.1, steps=50))
    used_for([one, one], rate)
    with pytest.warns(ReusedStateWarning, match=r"continues at step 2 .*\n.*rate\.steps = 0"):
        used_for([two], rate)
    used_for([three, one], rate)


def test_what_is_no_reuse_of_a_schedule_warns_of_nothing():
    restarted = callbacks.LearningRate(schedules.Cosine(0.1, steps=50))
    for _ in range(2):
        restarted.steps = 0
        used_for([Dense(1)], restarted)
    used_for([Dense(1), Dense(1)], callbacks.LearningRate(schedules.Constant(0.1)))
    plateau = callbacks.LearningRate(schedules.ReduceOnPlateau(0.1), monitor="loss")
    used_for([Dense(1), Dense(1)], plateau)
    used_for([Dense(1)], callbacks.LearningRate(schedules.Cosine(0.1, steps=50), steps=7))
