"""A run: Ctrl-C and `stop` end it between two steps; several batches make one step; bad batches."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import numpy as np
import pytest
from attrs import define
from safetensors.numpy import load_file

from chainrule import (
    Activation,
    Dense,
    Graph,
    Input,
    Layer,
    Sequential,
    Trainer,
    losses,
    optimizers,
)
from chainrule.callbacks import Callback, Checkpoint
from chainrule.core.errors import (
    ConfigurationError,
    DataError,
    DefinitionError,
    NonFiniteError,
    StorageError,
)

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(23, 3)), RNG.normal(size=(23, 2))


def trainer_of(rate: float = 0.1, model: Any = None) -> Trainer:
    model = model or Sequential([Dense(4), Activation("tanh"), Dense(2)])
    return Trainer(model, losses.HalfSquaredError(), optimizers.SGD(rate), rng=0)


class At(Callback):
    """Does something after one step, or at the end of one epoch."""

    def __init__(self, what: Any, *, step: int = 0, epoch: int = 0) -> None:
        self.what, self.at_step, self.at_epoch, self.seen = what, step, epoch, []

    def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
        self.seen.append((epoch, step))
        if trainer.steps == self.at_step:
            self.what(trainer)

    def on_epoch_end(self, trainer: Any, epoch: int, figures: Any) -> None:
        if epoch == self.at_epoch:
            self.what(trainer)


def press(trainer: Any) -> None:
    """Ctrl-C."""
    signal.raise_signal(signal.SIGINT)


# ------------------------------------------------------------------------------- the end


def test_ctrl_c_ends_after_the_step_and_returns_the_history_so_far():
    trainer, at = trainer_of(), At(press, step=7)
    before = signal.getsignal(signal.SIGINT)
    history = trainer.fit(X, T, epochs=9, batch_size=5, callbacks=[at])
    assert at.seen[-1] == (2, 2) and trainer.steps == 7
    assert history.epochs == 1 and history is trainer.history
    assert trainer.run is not None and trainer.run.reason == "Ctrl-C"
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_at_the_end_of_an_epoch_counts_the_epoch():
    trainer, at = trainer_of(), At(press, epoch=2)
    assert trainer.fit(X, T, epochs=9, batch_size=5, callbacks=[at]).epochs == 2
    assert at.seen[-1] == (2, 5)


def test_a_second_ctrl_c_stops_at_once():
    def twice(trainer: Any) -> None:
        press(trainer)
        press(trainer)

    trainer = trainer_of()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, T, epochs=9, batch_size=5, callbacks=[At(twice, step=7)])
    assert trainer.history.epochs == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_leaves_a_checkpoint_from_which_the_run_continues(tmp_path):
    alone = trainer_of()
    alone.fit(X, T, epochs=4, batch_size=5)
    at, keeps = At(press, step=7), Checkpoint(tmp_path, every_steps=1000)
    trainer_of().fit(X, T, epochs=4, batch_size=5, callbacks=[at, keeps])
    again = trainer_of()
    history = again.fit(X, T, epochs=4, batch_size=5, resume_from=tmp_path)
    np.testing.assert_array_equal(again.model.parameters.value, alone.model.parameters.value)
    assert history.to_dict() == alone.history.to_dict()


def test_a_handler_of_the_program_s_own_stays():
    heard = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        trainer = trainer_of()
        trainer.fit(X, T, epochs=2, callbacks=[At(press, step=1)])
        assert heard == [signal.SIGINT] and trainer.history.epochs == 2
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_works_in_a_thread_that_receives_no_signals():
    trainer = trainer_of()
    thread = threading.Thread(target=trainer.fit, args=(X, T), kwargs={"epochs": 2})
    thread.start()
    thread.join()
    assert trainer.history.epochs == 2


@pytest.mark.parametrize(("when", "epochs", "steps"), [({"step": 7}, 1, 7), ({"epoch": 2}, 2, 10)])
def test_a_callback_stops_the_run(when, epochs, steps):
    trainer = trainer_of()
    at = At(lambda trainer: trainer.stop("enough"), **when)
    trainer.fit(X, T, epochs=9, batch_size=5, callbacks=[at])
    assert trainer.history.epochs == epochs and trainer.steps == steps
    assert trainer.run is not None and trainer.run.reason == "enough"
    assert trainer.fit(X, T, epochs=3).epochs == 3  # the next run is not affected
    assert trainer.run.reason is None


@define
class Noise(Layer):
    """y = x + ξ in training."""

    def build(self, shape: Any) -> None:
        self.generator("source")

    def forward(self, x: Any) -> Any:
        return x + self.source.normal(size=x.shape)

    def backward(self, delta: Any) -> Any:
        return delta


def test_the_seed_of_the_trainer_repeats_the_draws_of_a_random_layer_too():
    def run() -> Any:
        trainer = trainer_of(model=Sequential([Noise(), Dense(2)]))
        return trainer.fit(X, T, epochs=2).to_dict()

    assert run() == run()


def test_a_callback_adds_columns_to_the_history():
    class Norm(Callback):
        def figures(self, trainer: Any, epoch: int) -> dict[str, float]:
            return {"norm": float(np.linalg.norm(trainer.model.parameters.value))}

    trainer = trainer_of()
    history = trainer.fit(X, T, epochs=2, callbacks=[Norm()])
    assert list(history) == ["loss", "norm"]
    assert history["norm"][-1] == np.linalg.norm(trainer.model.parameters.value)


@pytest.mark.parametrize("given", [None, "x", 3, {"a": None}, {"a": np.ones(2)}, {3: 1.0}])
def test_an_invalid_column_raises_a_named_error(given):
    class Odd(Callback):
        def figures(self, trainer: Any, epoch: int) -> Any:
            return given

    with pytest.raises(DefinitionError, match="does not return columns") as caught:
        trainer_of().fit(X, T, epochs=2, callbacks=[Odd()])
    assert caught.value.place == "Odd.figures, epoch 1, at its end"


def test_an_error_at_the_end_of_an_epoch_names_the_epoch():
    class Fails(Callback):
        def on_epoch_end(self, trainer: Any, epoch: int, figures: Any) -> None:
            if epoch == 2:
                raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        trainer_of().fit(X, T, epochs=3, callbacks=[Fails()])
    assert caught.value.__notes__ == ["in epoch 2, at its end"]


def test_a_failing_check_comes_before_callbacks_begin_and_before_the_model_is_built():
    begun = []

    class Begins(Callback):
        def on_fit_begin(self, trainer: Any) -> None:
            begun.append(trainer)

    class Refuses(Callback):
        def check(self, trainer: Any) -> None:
            assert trainer.columns == ("loss",)
            raise ConfigurationError("no")

    trainer = trainer_of()
    with pytest.raises(ConfigurationError, match="no"):
        trainer.fit(X, T, epochs=3, callbacks=[Begins(), Refuses()])
    assert not begun and not trainer.model.is_built and trainer.run is None


def test_stopping_without_a_run_changes_nothing():
    trainer = trainer_of()
    trainer.stop("now")
    trainer.fit(X, T, epochs=2)
    trainer.stop("later")
    assert trainer.run is not None and trainer.run.reason is None


def test_on_fit_end_is_called_even_if_the_initial_parameters_are_not_finite():
    ended = []

    class Ends(Callback):
        def on_fit_end(self, trainer: Any) -> None:
            ended.append(trainer)

    trainer = trainer_of()
    trainer.fit(X, T, epochs=1)
    trainer.model.parameters.value[0] = np.nan
    with pytest.raises(NonFiniteError, match="before the training begins"):
        trainer.fit(X, T, epochs=1, callbacks=[Ends()])
    assert ended == [trainer]


@pytest.mark.parametrize("name", ["loss", "epoch"])
def test_two_columns_of_one_name_are_refused(name):
    class Loss(Callback):
        def figures(self, trainer: Any, epoch: int) -> dict[str, float]:
            return {name: 1.0}

    with pytest.raises(ConfigurationError, match=f"two columns .* '{name}'"):
        trainer_of().fit(X, T, epochs=2, callbacks=[Loss()])


def test_those_that_come_last_do_so_wherever_they_are():
    order = []

    class Writes(Callback):
        def on_fit_begin(self, trainer: Any) -> None:
            order.append(type(self).__name__)

    class Last(Writes):
        comes_last = True

    class First(Writes):
        pass

    trainer_of().fit(X, T, epochs=1, callbacks=[Last(), First()])
    assert order == ["First", "Last"]


# ------------------------------------------------------------------------------- accumulation


@pytest.mark.parametrize("weights", [None, np.arange(23.0) / 11])
@pytest.mark.parametrize("parts", [2, 3, 7])
def test_several_batches_make_the_step_of_all_their_rows(parts, weights):
    small, large = trainer_of(), trainer_of()
    how: dict[str, Any] = {"epochs": 5, "sample_weights": weights}
    one = small.fit(X, T, batch_size=3, accumulate=parts, **how)
    other = large.fit(X, T, batch_size=3 * parts, **how)
    np.testing.assert_allclose(
        small.model.parameters.value, large.model.parameters.value, rtol=0, atol=1e-13
    )
    np.testing.assert_allclose(one["loss"], other["loss"], rtol=1e-13)
    assert small.steps == large.steps == 5 * -(-23 // (3 * parts))


def test_several_batches_of_several_outputs():
    def run(**how: Any) -> Any:
        x = Input((3,))
        model = Graph(x, [Dense(2)(x), Dense(1)(x)])
        each = [losses.HalfSquaredError(), losses.MeanAbsoluteError()]
        trainer = Trainer(model, each, optimizers.SGD(0.1), loss_weights=[1.0, 0.5], rng=0)
        trainer.fit(X, (T, T[:, :1]), epochs=3, **how)
        return model.parameters.value

    np.testing.assert_allclose(
        run(batch_size=4, accumulate=2), run(batch_size=8), rtol=0, atol=1e-13
    )


def test_steps_are_those_of_the_optimizer():
    at = At(None)
    trainer_of().fit(X, T, epochs=1, batch_size=5, accumulate=2, callbacks=[at])
    assert at.seen == [(1, 1), (1, 2), (1, 3)]


@pytest.mark.parametrize("accumulate", [0, -1, 1.5, None])
def test_an_invalid_number_of_batches_is_refused(accumulate):
    with pytest.raises(ConfigurationError, match="accumulate"):
        trainer_of().fit(X, T, accumulate=accumulate)


# ------------------------------------------------------------------------------- bad batches


def bad_at(number: int, made: list[Any]) -> Any:
    """A function whose batch with that number makes the output of the first layer overflow."""

    def make_batch(rng: np.random.Generator) -> Any:
        scale = 8.9e307 if len(made) == number - 1 else 1.0
        made.append((scale * rng.uniform(1, 2, size=(4, 3)), rng.normal(size=(4, 2))))
        return made[-1]

    return make_batch


def test_the_batch_that_spoils_everything_is_written_down(tmp_path):
    made: list[Any] = []
    trainer, path = trainer_of(model=Sequential([Dense(2, initializer="ones")])), tmp_path / "bad"
    with pytest.raises(NonFiniteError, match="epoch 2, step 3") as caught:
        trainer.fit(bad_at(8, made), epochs=3, steps_per_epoch=5, bad_batch=path)
    arrays = load_file(path)
    np.testing.assert_array_equal(arrays["x"], made[7][0])
    np.testing.assert_array_equal(arrays["t"], made[7][1])
    assert str(path) in str(caught.value.hint)
    assert np.isfinite(trainer.model.parameters.value).all() and trainer.history.epochs == 1


def test_of_a_step_that_overflowed_it_is_the_batch_before(tmp_path):
    made: list[Any] = []

    def make_batch(rng: np.random.Generator) -> Any:
        made.append((rng.normal(size=(4, 3)), 1e150 * np.ones((4, 2))))
        return made[-1]

    path = tmp_path / "bad"
    told = r"optimizer's last step, the one before this, made .*\n.*epoch 1, step 2"
    with pytest.raises(NonFiniteError, match=told):
        trainer_of(1e200).fit(make_batch, epochs=1, steps_per_epoch=9, bad_batch=path)
    assert len(made) == 2
    np.testing.assert_array_equal(load_file(path)["x"], made[0][0])


def test_of_several_batches_of_a_step_all_are_written_and_the_bad_one_is_named(tmp_path):
    made: list[Any] = []
    path = tmp_path / "bad"
    trainer = trainer_of(model=Sequential([Dense(2, initializer="ones")]))
    with pytest.raises(NonFiniteError, match="epoch 1, step 3, batch 8"):
        trainer.fit(bad_at(8, made), epochs=1, steps_per_epoch=12, accumulate=3, bad_batch=path)
    arrays = load_file(path)
    assert sorted(arrays) == ["t/1", "t/2", "x/1", "x/2"]
    np.testing.assert_array_equal(arrays["x/2"], made[7][0])


@pytest.mark.parametrize("prefetch", [False, True])
def test_a_batch_that_contains_nan_is_written_too(tmp_path, prefetch):
    made: list[Any] = []

    def make_batch(rng: np.random.Generator) -> Any:
        x = rng.normal(size=(4, 3))
        x[2, 1] = np.nan if len(made) == 3 else 0.0
        made.append((x, rng.normal(size=(4, 2))))
        return made[-1]

    path = tmp_path / "bad"
    with pytest.raises(DataError, match="x of batch 4") as caught:
        trainer_of().fit(make_batch, epochs=1, steps_per_epoch=9, prefetch=prefetch, bad_batch=path)
    np.testing.assert_array_equal(load_file(path)["x"], made[3][0])
    np.testing.assert_array_equal(load_file(path)["t"], made[3][1])
    assert str(path) in str(caught.value.hint)


def test_a_disk_that_fails_does_not_hide_what_went_wrong(tmp_path, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    trainer = trainer_of(model=Sequential([Dense(2, initializer="ones")]))
    path = tmp_path / "bad"
    with pytest.raises(NonFiniteError) as caught:
        trainer.fit(bad_at(2, []), epochs=1, steps_per_epoch=3, bad_batch=path)
    assert "could not be written" in caught.value.__notes__[0]


@pytest.mark.parametrize("name", ["missing/bad", "."])
def test_an_unwritable_path_is_refused_before_it_is_needed(tmp_path, name):
    trainer = trainer_of()
    with pytest.raises(StorageError, match="the bad batch could not be written") as caught:
        trainer.fit(X, T, epochs=1, bad_batch=tmp_path / name)
    assert caught.value.place == str(tmp_path / name) and "folder" in str(caught.value.hint)
    assert trainer.steps == 0


def test_nothing_is_written_where_nothing_goes_wrong(tmp_path):
    trainer_of().fit(X, T, epochs=1, bad_batch=tmp_path / "bad")
    assert list(tmp_path.iterdir()) == []
