"""Early stopping: when it stops, what it restores, and that a resumed run ends the same."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from chainrule import Dense, Layer, Sequential, Trainer, optimizers
from chainrule.callbacks import Callback, Checkpoint, EarlyStopping, FromFunctions, LearningRate
from chainrule.callbacks.improvement import is_better
from chainrule.core.errors import ConfigurationError, NonFiniteError, StorageError
from chainrule.schedules import Constant
from checkpoints.resumption import Kills, fit, killed_and_resumed, trainer_of


class Figures(Callback):
    """Replaces the measured figure, and records θ and the buffers of each epoch."""

    def __init__(self, figures: list[float]) -> None:
        self.told, self.models = figures, []

    def on_epoch_end(self, trainer: Any, epoch: int, figures: Any) -> None:
        figures["validation_loss"] = self.told[epoch - 1]
        model = trainer.model
        self.models.append((model.parameters.value.copy(), model.buffers.value.copy()))


class Energy(Callback):
    """Adds a column."""

    def __init__(self, told: list[float]) -> None:
        self.told = told

    def figures(self, trainer: Any, epoch: int) -> Any:
        return {"energy": self.told[epoch - 1]}


@define
class RunningMean(Layer):
    """Subtracts the mean of all batches so far: a layer with a buffer."""

    def build(self, input_shape: Any) -> Any:
        self.mean = self.buffer("mean", input_shape)
        return input_shape

    def forward(self, x: Any) -> Any:
        self.mean.value = 0.5 * self.mean.value + 0.5 * x.mean(0)
        return x - self.mean.value

    def apply(self, x: Any) -> Any:
        return x - self.mean.value

    def backward(self, delta: Any) -> Any:
        return delta


def run(
    stopping: EarlyStopping, figures: list[float], model: Any = None
) -> tuple[Trainer, list[tuple[Any, Any]]]:
    trainer = trainer_of()
    if model is not None:
        trainer.model = model
    measured = Figures(figures)
    fit(trainer, [measured, stopping], epochs=len(figures))
    return trainer, measured.models


def expected_stop(figures: list[float], patience: int, threshold: float) -> tuple[Any, Any]:
    """The best epoch, and the epoch after which training stops, by the definition."""
    best = None
    for epoch, figure in enumerate(figures, start=1):
        if best is None:
            if figure < math.inf:
                best = epoch
        elif figure < figures[best - 1] - threshold:
            best = epoch
        if epoch - (best or 0) >= patience:
            return best, epoch
    return best, None


@pytest.mark.parametrize(
    ("arguments", "figures", "best_epoch", "stopped"),
    [
        ({"patience": 1}, [3, 2, 2, 1], 2, 3),
        ({"patience": 2}, [3, 2, 2.5, 1, 1, 1, 0], 4, 6),
        ({"patience": 3}, [3, 2, 4, 4], 2, None),
        ({"patience": 1, "threshold": 0.5}, [3, 2.4, 2.0, 1], 2, 3),
        ({"patience": 1, "threshold": 0.5, "relative": True}, [8, 3, 1.5, 1], 2, 3),
        ({"patience": 1, "mode": "max"}, [0.5, 0.6, 0.6, 0.9], 2, 3),
        ({"patience": 2}, [math.nan, 2, math.nan, 1, math.nan, math.nan, 0], 4, 6),
        ({"patience": 2}, [math.nan, math.inf, 1.0], None, 2),
        ({"patience": 5}, [1.0, -math.inf, -math.inf], 2, None),
        ({"patience": 3, "mode": "max"}, [math.nan, 0.5, math.nan, 0.6, math.nan], 4, None),
        ({"patience": 2, "mode": "max"}, [math.nan, -math.inf, 0.5], None, 2),
    ],
)
def test_it_stops_after_patience_epochs_without_improvement(
    arguments: dict[str, Any], figures: list[float], best_epoch: int | None, stopped: int | None
) -> None:
    stopping = EarlyStopping(**arguments)
    trainer, models = run(stopping, figures)
    assert stopping.best_epoch == best_epoch and stopping.stopped_epoch == stopped
    assert stopping.best == (None if best_epoch is None else figures[best_epoch - 1])
    assert trainer.history.epochs == (stopped or len(figures))
    expected = models[best_epoch - 1][0] if best_epoch else models[-1][0]
    np.testing.assert_array_equal(trainer.model.parameters.value, expected)


@given(
    st.lists(st.sampled_from([0.0, 1.0, 1.5, 2.0, math.nan, math.inf]), min_size=1, max_size=8),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.75]),
)
def test_it_stops_by_its_definition_and_restores_the_best_model(
    figures: list[float], patience: int, threshold: float
) -> None:
    stopping = EarlyStopping(patience=patience, threshold=threshold)
    trainer, models = run(stopping, figures)
    best, stopped = expected_stop(figures, patience, threshold)
    assert (stopping.best_epoch, stopping.stopped_epoch) == (best, stopped)
    np.testing.assert_array_equal(trainer.model.parameters.value, models[(best or 0) - 1][0])


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("relative", [False, True])
def test_nan_is_never_better_and_anything_is_better_than_nan(mode: Any, relative: bool) -> None:
    criterion = EarlyStopping(threshold=0.1, relative=relative, mode=mode)
    for best in (None, math.nan, math.inf, -math.inf, 0.0, 1.0):
        assert not is_better(math.nan, best, criterion)
    for figure in (-1.0, 0.0, 1.0):
        assert is_better(figure, math.nan, criterion)


def test_the_buffers_are_those_of_the_best_epoch_too() -> None:
    model = Sequential([RunningMean(), Dense(2)])
    trainer, models = run(EarlyStopping(patience=2), [3, 1, 2, 2, 0], model)
    np.testing.assert_array_equal(trainer.model.buffers.value, models[1][1])
    assert not np.array_equal(models[1][1], models[3][1])


def test_without_restore_best_the_model_is_unchanged_and_nothing_is_kept() -> None:
    stopping = EarlyStopping(patience=2, restore_best=False)
    trainer, models = run(stopping, [3, 1, 2, 2, 0])
    np.testing.assert_array_equal(trainer.model.parameters.value, models[3][0])
    assert stopping.state()["parameters"] is None and stopping.best_epoch == 2


def test_the_reason_names_the_best_figure_and_its_epoch() -> None:
    trainer, _ = run(EarlyStopping(patience=2), [3, 1.25, 2, 2, 0])
    assert trainer.run.reason == (
        "validation_loss did not improve for 2 epochs; the best was 1.250, in epoch 2"
    )
    trainer, _ = run(EarlyStopping(patience=1), [math.nan, 1])
    assert trainer.run.reason == "validation_loss was not finite for 1 epoch"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_the_best_model_is_restored_even_after_an_error_or_ctrl_c(
    error: type[BaseException],
) -> None:
    class Fails(Callback):
        def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
            if epoch == 4:
                raise error

    trainer, measured = trainer_of(), Figures([3, 1, 2, 2])
    with pytest.raises(error):
        fit(trainer, [measured, EarlyStopping(), Fails()])
    np.testing.assert_array_equal(trainer.model.parameters.value, measured.models[1][0])


def test_the_best_model_is_restored_even_if_training_diverges() -> None:
    class Faster(Callback):
        def on_epoch_end(self, trainer: Any, epoch: int, figures: Any) -> None:
            if epoch == 3:
                trainer.optimizer.learning_rate = 1e200

    trainer, measured = trainer_of(optimizers.SGD(0.01)), Figures([1.0] * 9)
    with pytest.raises(NonFiniteError):
        fit(trainer, [measured, EarlyStopping(patience=9), Faster()], epochs=9)
    np.testing.assert_array_equal(trainer.model.parameters.value, measured.models[0][0])


def test_a_second_fit_starts_over() -> None:
    stopping = EarlyStopping(patience=2)
    run(stopping, [0.5, 1, 1])
    trainer, models = run(stopping, [9, 8, 7, 8, 8, 8])
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (7, 3, 5)
    np.testing.assert_array_equal(trainer.model.parameters.value, models[2][0])


def test_if_another_callback_raises_on_begin_no_model_is_restored() -> None:
    class Refuses(Callback):
        def on_fit_begin(self, trainer: Any) -> None:
            raise RuntimeError

    stopping = EarlyStopping(patience=2)
    run(stopping, [3, 1, 2, 2])
    trainer = trainer_of()
    fit(trainer, [], epochs=1)
    before = trainer.model.parameters.value.copy()
    for both in ([Refuses(), stopping], [stopping, Refuses()]):
        with pytest.raises(RuntimeError):
            fit(trainer, both)
        np.testing.assert_array_equal(trainer.model.parameters.value, before)


@pytest.mark.parametrize("restore_best", [True, False])
@pytest.mark.parametrize(
    ("kills", "every"),
    [(Kills(steps=4), 3), (Kills(epochs=3), 2), (Kills(steps=11), 50), (Kills(epochs=5), 1)],
)
def test_a_resumed_run_ends_the_same_bit_for_bit(
    tmp_path: Path, kills: Kills, every: int, restore_best: bool
) -> None:
    figures = [3.0, 1.0, 2.0, 2.0, 2.0, 0.0, 0.0]

    def make() -> list[Any]:
        return [Figures(figures), EarlyStopping(patience=3, restore_best=restore_best)]

    _, left = given = make()
    alone = fit(trainer_of(), given, epochs=7)
    resumed, (_, stopping) = killed_and_resumed(make, tmp_path, kills, every, epochs=7)
    assert stopping.state() == left.state() and stopping.stopped_epoch == 5
    assert resumed.history == alone.history and resumed.history.epochs == 5
    np.testing.assert_array_equal(resumed.model.parameters.value, alone.model.parameters.value)
    assert resumed.rng.bit_generator.state == alone.rng.bit_generator.state


def test_a_run_that_had_just_stopped_is_not_continued(tmp_path: Path) -> None:
    """The checkpoint of its last epoch exists, but the process died before it restored θ."""

    class Dies(Callback):
        comes_last = True

        def on_epoch_end(self, trainer: Any, epoch: int, figures: Any) -> None:
            if epoch == 4:
                raise RuntimeError

    figures = [3.0, 1.0, 2.0, 2.0, 0.0, 0.0]
    with pytest.raises(RuntimeError):
        fit(
            trainer_of(),
            [Figures(figures), EarlyStopping(patience=2), Checkpoint(tmp_path), Dies()],
        )
    stopping = EarlyStopping(patience=2)
    again = fit(
        trainer_of(), [Figures(figures), stopping, Checkpoint(tmp_path)], resume_from=tmp_path
    )
    alone, models = run(EarlyStopping(patience=2), figures)
    assert again.history == alone.history and again.history.epochs == 4
    np.testing.assert_array_equal(again.model.parameters.value, models[1][0])


@pytest.mark.parametrize(
    ("patience", "stopped", "waited"), [(2, 4, 2), (4, 6, 4), (20, None, None), (1, 4, 2)]
)
def test_a_run_that_stopped_early_continues_as_far_as_more_patience_allows(
    tmp_path: Path, patience: int, stopped: int | None, waited: int | None
) -> None:
    figures = [3.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    fit(trainer_of(), [Figures(figures), EarlyStopping(patience=2), Checkpoint(tmp_path)], epochs=8)
    stopping = EarlyStopping(patience=patience)
    again = fit(
        trainer_of(),
        [Figures(figures), stopping, Checkpoint(tmp_path)],
        epochs=8,
        resume_from=tmp_path,
    )
    assert stopping.stopped_epoch == stopped and again.history.epochs == (stopped or 8)
    said = f"validation_loss did not improve for {waited} epochs; the best was 1.000, in epoch 2"
    assert again.run.reason == (said if stopped else None)
    alone, models = run(EarlyStopping(patience=max(patience, 2)), figures)
    assert again.history == alone.history
    np.testing.assert_array_equal(again.model.parameters.value, models[1][0])


def test_the_state_of_a_refused_resumption_is_dropped(tmp_path: Path) -> None:
    class Refuses(Callback):
        def check(self, trainer: Any) -> None:
            raise RuntimeError

    fit(trainer_of(), [Figures([0.5] * 2), EarlyStopping(), Checkpoint(tmp_path)], epochs=2)
    stopping = EarlyStopping(patience=2)
    run(stopping, [4, 4, 4])
    with pytest.raises(RuntimeError):
        fit(trainer_of(), [stopping, Refuses()], resume_from=tmp_path)
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (4, 1, 3)
    run(stopping, [3, 1, 2, 2])
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (1, 2, 4)


def test_if_a_resumed_run_is_refused_the_model_is_that_of_the_checkpoint(tmp_path: Path) -> None:
    class Refuses(Callback):
        def on_fit_begin(self, trainer: Any) -> None:
            raise RuntimeError

    figures = [3.0, 1.0, 2.0, 2.0]
    measured = Figures(figures)
    fit(trainer_of(), [measured, EarlyStopping(), Checkpoint(tmp_path)], epochs=4)
    again = trainer_of()
    with pytest.raises(RuntimeError):
        fit(again, [Refuses(), EarlyStopping()], epochs=9, resume_from=tmp_path)
    np.testing.assert_array_equal(again.model.parameters.value, measured.models[3][0])


def test_a_run_is_not_resumed_with_another_column(tmp_path: Path) -> None:
    fit(trainer_of(), [EarlyStopping(), Checkpoint(tmp_path)], epochs=2)
    trainer = trainer_of()
    with pytest.raises(ConfigurationError, match="used a different monitor") as caught:
        fit(trainer, [EarlyStopping("loss")], resume_from=tmp_path)
    assert "monitor='validation_loss'" in str(caught.value.hint)
    assert not trainer.model.is_built


@pytest.mark.parametrize(
    ("monitor", "options", "hint"),
    [
        ("validation_loss", {"validation_data": None}, "give validation_data to fit, or monitor='"),
        ("validation_los", {}, "did you mean monitor='validation_loss'?"),
        ("val_loss", {}, "did you mean monitor='validation_loss'?"),
        ("val_los", {}, "did you mean monitor='validation_loss'?"),
        (
            "val_loss",
            {"validation_data": None},
            "give validation_data to fit, and monitor='validation_loss'; or monitor='loss'",
        ),
    ],
)
def test_a_column_that_is_not_there_is_named_before_the_first_step(
    monitor: str, options: dict[str, Any], hint: str
) -> None:
    trainer = trainer_of()
    with pytest.raises(ConfigurationError, match="no such column") as caught:
        fit(trainer, [EarlyStopping(monitor)], **options)
    assert hint in caught.value.hint and caught.value.place == "EarlyStopping"
    assert trainer.steps == 0 and not trainer.model.is_built


def test_a_column_that_a_callback_adds_can_be_monitored() -> None:
    told = [3.0, 1.0, 2.0, 2.0, 0.0]
    for energy in (
        FromFunctions(figures=lambda trainer, epoch: {"energy": told[epoch - 1]}),
        Energy(told),
    ):
        for both in ([energy, stopping := EarlyStopping("energy", patience=2)], [stopping, energy]):
            fit(trainer_of(), both)
            assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (1, 2, 4)


def test_the_learning_rate_can_be_monitored_if_a_schedule_sets_it() -> None:
    stopping, rate = EarlyStopping("learning_rate", patience=2), LearningRate(Constant(0.1))
    assert fit(trainer_of(), [stopping, rate]).history.epochs == 3
    with pytest.raises(ConfigurationError, match="no such column"):
        fit(trainer_of(), [stopping])


def test_a_column_that_no_callback_has_added_is_named_after_the_first_epoch() -> None:
    trainer = trainer_of()
    energy = FromFunctions(figures=lambda trainer, epoch: {"energy": 1.0})
    with pytest.raises(ConfigurationError, match="no such column") as caught:
        fit(trainer, [energy, EarlyStopping("enrgy")])
    assert caught.value.received == "loss, validation_loss, energy"
    assert caught.value.hint == "did you mean monitor='energy'?" and trainer.history.epochs == 1


@pytest.mark.parametrize(
    "other",
    [
        LearningRate(Constant(0.1)),
        FromFunctions(on_epoch_end=lambda trainer, epoch, figures: None),
        Callback(),
    ],
)
def test_callbacks_without_unknown_columns_do_not_delay_the_error(other: Callback) -> None:
    trainer = trainer_of()
    with pytest.raises(ConfigurationError, match="no such column"):
        fit(trainer, [other, EarlyStopping("energy")])
    assert not trainer.model.is_built


def test_the_most_common_typo_is_named_before_the_first_step_in_any_case() -> None:
    trainer = trainer_of()
    energy = FromFunctions(figures=lambda trainer, epoch: {"energy": 1.0})
    with pytest.raises(ConfigurationError, match="no such column"):
        fit(trainer, [energy, EarlyStopping("val_loss")])
    assert not trainer.model.is_built


def test_an_epoch_without_a_figure_is_not_better() -> None:
    stopping = EarlyStopping("now_and_then", patience=2)
    told = iter([{"now_and_then": 2.0}, {}, {"now_and_then": 1.0}, {}, {}, {}])
    fit(trainer_of(), [FromFunctions(figures=lambda trainer, epoch: next(told)), stopping])
    assert (stopping.best_epoch, stopping.stopped_epoch) == (3, 5)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"monitor": 3}, "monitor"),
        ({"patience": 0}, "patience"),
        ({"patience": 2.5}, "patience"),
        ({"threshold": -1}, "threshold"),
        ({"threshold": 1.0, "relative": True}, "threshold"),
        ({"relative": 1}, "relative"),
        ({"mode": "least"}, "mode"),
        ({"restore_best": None}, "restore_best"),
    ],
)
def test_the_error_for_an_invalid_argument_names_it(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} has an invalid value") as caught:
        EarlyStopping(**arguments)
    error = caught.value
    assert error.place == "EarlyStopping" and error.expected and error.received and error.hint


def test_it_prints_its_configuration() -> None:
    assert repr(EarlyStopping(patience=3)) == (
        "EarlyStopping(monitor='validation_loss', patience=3, threshold=0.0, relative=False, "
        "mode='min', restore_best=True)"
    )


def test_a_best_model_of_another_size_is_refused_and_not_broadcast(
    tmp_path: Path,
) -> None:
    class Short(EarlyStopping):
        def state(self) -> Any:
            return {**super().state(), "parameters": np.ones(1), "best": 0.0, "best_epoch": 1}

    Short.__name__ = "EarlyStopping"
    fit(trainer_of(), [Short(), Checkpoint(tmp_path)], epochs=2)
    with pytest.raises(StorageError, match="size of this model"):
        fit(trainer_of(), [EarlyStopping()], resume_from=tmp_path)
