"""Checkpoints: a resumed run gives the numbers of a run that was never interrupted."""

from __future__ import annotations

import errno
import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import (
    Activation,
    Dense,
    Graph,
    Input,
    Sequential,
    Trainer,
    callbacks,
    checkpoints,
    losses,
    optimizers,
    schedules,
)
from chainrule.checkpoints import DamagedCheckpointWarning
from chainrule.core.errors import ChainruleError, ConfigurationError, NonFiniteError, StorageError

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(23, 3)), RNG.normal(size=(23, 2))
EPOCHS, BATCH = 4, 5

OPTIMIZERS = [
    lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    lambda: optimizers.Adagrad(0.05),
    lambda: optimizers.Adam(0.01),
    lambda: optimizers.AdamW(0.01),
    lambda: optimizers.Adamax(0.01),
    lambda: optimizers.Lion(0.001),
]


def network() -> Sequential:
    return Sequential([Dense(4), Activation("tanh"), Dense(2)])


class StopsAfter(callbacks.Callback):
    """Ends the run after some steps, like a kill between two steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
        if trainer.steps == self.steps:
            trainer.stop("enough")


def trainer_of(optimizer: Any = None, model: Any = None, loss: Any = None, rng: int = 3) -> Trainer:
    return Trainer(
        model or network(),
        loss or losses.HalfSquaredError(),
        optimizer or optimizers.Adam(0.01),
        metrics=["mean_absolute_error"],
        rng=rng,
    )


def outcome(trainer: Trainer) -> tuple[Any, ...]:
    """All results of a run."""
    state = trainer.optimizer.state()
    return (
        trainer.model.parameters.value.tobytes(),
        {k: v.tobytes() if hasattr(v, "tobytes") else v for k, v in state.items()},
        trainer.history.to_dict(),
        trainer.steps,
        trainer.rng.bit_generator.state,
    )


def make_batch(rng: np.random.Generator) -> Any:
    x = rng.normal(size=(rng.integers(2, 6), 3))
    return x, np.tanh(x[:, :2])


@settings(max_examples=40)
@given(
    stop=st.integers(1, EPOCHS * 5),
    optimizer=st.sampled_from(OPTIMIZERS),
    how=st.sampled_from(["arrays", "in order", "weighted", "function", "function prefetch"]),
    accumulate=st.integers(1, 3),
    every=st.integers(1, 7),
)
def test_a_run_resumes_bit_for_bit_wherever_it_was_stopped(
    tmp_path_factory: Any, stop: int, optimizer: Any, how: str, accumulate: int, every: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    of_arrays: dict[str, Any] = {"x": X, "t": T, "batch_size": BATCH}
    data: dict[str, Any] = {
        "arrays": of_arrays,
        "in order": of_arrays | {"shuffle": False},
        "weighted": of_arrays | {"sample_weights": np.arange(23.0)},
        "function": {"x": make_batch, "steps_per_epoch": 5},
        "function prefetch": {"x": make_batch, "steps_per_epoch": 5, "prefetch": True},
    }[how]

    def run(*more: callbacks.Callback, **resumed: Any) -> tuple[Any, ...]:
        rate = callbacks.LearningRate(schedules.Exponential(0.05, 0.9))
        trainer = trainer_of(optimizer())
        trainer.fit(
            **data,
            epochs=EPOCHS,
            accumulate=accumulate,
            validation_data=(X[:4], T[:4]),
            callbacks=[*more, rate],
            **resumed,
        )
        return outcome(trainer)

    keeps = callbacks.Checkpoint(folder, every_steps=every)
    run(keeps, StopsAfter(stop))
    assert run(callbacks.Checkpoint(folder), resume_from=folder) == run()


@pytest.mark.parametrize("stop", range(1, 9))
def test_metrics_of_several_sums_resume_bit_for_bit(tmp_path: Path, stop: int) -> None:
    labels = np.arange(23) % 4 - 1
    kinds = ["f1", "accuracy", "top_2_accuracy", "recall"]
    for classes in (True, False):
        loss: Any = losses.SoftmaxCrossEntropy(ignore=-1) if classes else losses.Huber()
        target: Any = labels if classes else np.column_stack([T, X[:, 0]])

        def run(folder: Path, *more: callbacks.Callback, **given: Any) -> tuple[Any, ...]:
            model = Sequential([Dense(3)])
            model.build((3,), rng=0)
            metrics = kinds if classes else ["r2", "root_mean_squared_error"]  # noqa: B023
            optimizer = optimizers.Adam(0.01)
            trainer = Trainer(model, loss, optimizer, metrics=metrics, rng=1)  # noqa: B023
            trainer.fit(X, target, epochs=2, batch_size=6, callbacks=more, **given)  # noqa: B023
            return outcome(trainer)

        folder = tmp_path / str(classes)
        run(folder, callbacks.Checkpoint(folder, every_steps=1), StopsAfter(stop))
        again = run(folder, callbacks.Checkpoint(folder), resume_from=folder)
        assert again == run(folder)


def stopped(folder: Path, steps: int = 7, **how: Any) -> Trainer:
    """A run that was stopped after some steps, with a checkpoint every two of them."""
    trainer = trainer_of(**how)
    keeps = [callbacks.Checkpoint(folder, every_steps=2), StopsAfter(steps)]
    trainer.fit(X, T, epochs=EPOCHS, batch_size=BATCH, callbacks=keeps)
    return trainer


def resumed(folder: Path, **how: Any) -> Trainer:
    trainer = trainer_of(**how)
    trainer.fit(X, T, epochs=EPOCHS, batch_size=BATCH, resume_from=folder)
    return trainer


def left_alone() -> Trainer:
    trainer = trainer_of()
    trainer.fit(X, T, epochs=EPOCHS, batch_size=BATCH)
    return trainer


# ------------------------------------------------------------------------------- the files


def test_the_last_few_are_kept_and_the_names_count_the_steps(tmp_path):
    stopped(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [f"step-{number:09}.safetensors" for number in (4, 6, 7)]


def test_the_first_checkpoint_keeps_a_random_seed(tmp_path):
    first = Trainer(network(), losses.HalfSquaredError(), optimizers.SGD(0.1))
    keeps = [callbacks.Checkpoint(tmp_path, every_steps=100, keep=1), StopsAfter(3)]
    first.fit(X, T, epochs=2, callbacks=keeps[:1])
    (tmp_path / "step-000000002.safetensors").unlink()
    assert os.listdir(tmp_path) == []
    again = Trainer(network(), losses.HalfSquaredError(), optimizers.SGD(0.1))
    again.fit(X, T, epochs=1, callbacks=[callbacks.Checkpoint(tmp_path, every_steps=100)])
    assert len(os.listdir(tmp_path)) == 2  # step 0, and the end


def test_the_file_can_be_read_by_the_safetensors_library_alone(tmp_path):
    from safetensors import safe_open

    trainer = stopped(tmp_path)
    with safe_open(tmp_path / "step-000000007.safetensors", framework="numpy") as file:
        weights = file.get_tensor("model/parameters/dense_1.weights")
        assert file.metadata()["format"] == "chainrule-checkpoint-2"
    np.testing.assert_array_equal(weights, trainer.model.parameters["dense_1.weights"].value)


def test_resuming_from_a_missing_folder_starts_from_the_beginning(tmp_path):
    folder = tmp_path / "a" / "b"
    trainer = trainer_of()
    keeps = [callbacks.Checkpoint(folder)]
    trainer.fit(X, T, epochs=EPOCHS, batch_size=BATCH, callbacks=keeps, resume_from=folder)
    assert outcome(trainer) == outcome(left_alone())
    assert len(os.listdir(folder)) == 2


def test_a_run_that_is_over_is_not_trained_any_further(tmp_path):
    trainer = trainer_of()
    keeps = callbacks.Checkpoint(tmp_path)
    trainer.fit(X, T, epochs=EPOCHS, batch_size=BATCH, callbacks=[keeps])
    assert outcome(resumed(tmp_path)) == outcome(trainer)


def test_a_run_can_be_made_longer(tmp_path):
    short, long = trainer_of(), trainer_of()
    short.fit(X, T, epochs=2, batch_size=BATCH, callbacks=[callbacks.Checkpoint(tmp_path)])
    long.fit(X, T, epochs=EPOCHS, batch_size=BATCH, resume_from=tmp_path)
    assert outcome(long) == outcome(left_alone())


def test_a_model_that_is_built_already_is_filled(tmp_path):
    stopped(tmp_path)
    model = network()
    model.build((3,), rng=99)
    assert outcome(resumed(tmp_path, model=model)) == outcome(left_alone())


# ------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "other", "header"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, damage):
    stopped(tmp_path)
    newest = tmp_path / "step-000000007.safetensors"
    content = newest.read_bytes()
    newest.write_bytes(
        {
            "truncated": content[:-3],
            "flipped": content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
            "empty": b"",
            "other": b"something else",
            "header": content.replace(b'"steps_done\\": 2', b'"steps_done\\": 1'),
        }[damage]
    )
    assert newest.read_bytes() != content
    with pytest.warns(DamagedCheckpointWarning, match="step-000000007"):
        trainer = resumed(tmp_path)
    assert outcome(trainer) == outcome(left_alone())


@settings(max_examples=60)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_is_taken_for_a_checkpoint(tmp_path_factory, place, bit):
    folder = tmp_path_factory.getbasetemp() / "flipped"
    if not folder.exists():
        stopped(folder)
    content = bytearray((folder / "step-000000007.safetensors").read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    damaged = folder / "damaged"
    damaged.write_bytes(content)
    try:
        found = checkpoints.read(damaged)
    except StorageError:
        return
    # The damaged byte is padding between the header and the arrays.
    whole = checkpoints.read(folder / "step-000000007.safetensors")
    assert found.record == whole.record
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)


def test_what_a_killed_run_left_half_written_is_swept_away(tmp_path):
    stopped(tmp_path)
    (tmp_path / "step-000000008.safetensors.12ab.partial").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    trainer = trainer_of()
    keeps = [callbacks.Checkpoint(tmp_path)]
    trainer.fit(X, T, epochs=EPOCHS, batch_size=BATCH, callbacks=keeps, resume_from=tmp_path)
    assert outcome(trainer) == outcome(left_alone())
    assert not list(tmp_path.glob("*.partial")) and (tmp_path / "notes.txt").exists()


# ------------------------------------------------------------------------------- another run


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (
            {"model": Sequential([Dense(5), Activation("tanh"), Dense(2)])},
            "Dense.units was 4, is now 5",
        ),
        (
            {"model": Sequential([Dense(4), Activation("relu"), Dense(2)])},
            "Activation.function was Tanh, is now Relu",
        ),
        ({"model": Sequential([Dense(4), Dense(2)])}, "'Activation', 'Dense'], is now"),
        ({"loss": losses.MeanAbsoluteError()}, "MeanAbsoluteError"),
        ({"optimizer": optimizers.SGD(0.1)}, "SGD"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_nothing_changes(tmp_path, how, told):
    stopped(tmp_path)
    trainer = trainer_of(**how)
    trainer.model.build((3,), rng=1)
    before, rng = trainer.model.parameters.value.copy(), trainer.rng.bit_generator.state
    with pytest.raises(StorageError, match="different run") as caught:
        trainer.fit(X, T, epochs=EPOCHS, batch_size=BATCH, resume_from=tmp_path)
    assert told in str(caught.value) and "step-000000007" in str(caught.value)
    np.testing.assert_array_equal(trainer.model.parameters.value, before)
    assert trainer.rng.bit_generator.state == rng and trainer.history.epochs == 0


@pytest.mark.parametrize(
    "how", [{"batch_size": 6}, {"shuffle": False}, {"accumulate": 2}, {"validation_data": (X, T)}]
)
def test_a_call_that_would_take_other_batches_is_refused(tmp_path, how):
    stopped(tmp_path)
    with pytest.raises(
        (StorageError, ConfigurationError), match=r"different run|the run to resume"
    ):
        trainer_of().fit(
            **{
                "x": X,
                "t": T,
                "epochs": EPOCHS,
                "batch_size": BATCH,
                "resume_from": tmp_path,
                **how,
            }
        )


def test_a_callback_that_remembers_something_has_to_be_there_again(tmp_path):
    keeps = callbacks.Checkpoint(tmp_path)
    rate = callbacks.LearningRate(schedules.Constant(0.1))
    trainer_of().fit(X, T, epochs=1, callbacks=[keeps, rate])
    with pytest.raises(ConfigurationError, match=r"had a callback LearningRate"):
        trainer_of().fit(X, T, epochs=2, resume_from=tmp_path)


def test_a_new_run_does_not_mix_with_the_checkpoints_of_another(tmp_path):
    stopped(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ConfigurationError, match="checkpoints of another run") as caught:
        trainer_of().fit(X, T, epochs=1, callbacks=[callbacks.Checkpoint(tmp_path)])
    assert "resume_from" in str(caught.value.hint)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_a_callback_remembers_must_fit_into_a_file(tmp_path):
    class Odd(callbacks.Callback):
        def state(self) -> dict[str, Any]:
            return {"function": print}

    with pytest.raises(StorageError, match="cannot be written into a checkpoint") as caught:
        trainer_of().fit(X, T, epochs=1, callbacks=[Odd(), callbacks.Checkpoint(tmp_path)])
    assert caught.value.place == "callbacks/0/function"


@pytest.mark.parametrize("figures", [[np.nan, np.inf, -np.inf, 0.1 + 0.2, 5e-324]])
def test_figures_are_restored_to_the_last_bit(tmp_path, figures):
    class Adds(callbacks.Callback):
        def figures(self, trainer: Any, epoch: int) -> dict[str, float]:
            return {"odd": figures[epoch - 1]}

    trainer = trainer_of()
    trainer.fit(X, T, epochs=5, callbacks=[Adds(), callbacks.Checkpoint(tmp_path)])
    again = trainer_of()
    again.fit(X, T, epochs=5, callbacks=[Adds()], resume_from=tmp_path)
    np.testing.assert_array_equal(again.history["odd"], figures)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"t": 2 * T}, "t: changed in rows 0, 1, 2 to 3 and 13 more blocks, of 23"),
        ({"x": X[:22], "t": T[:22]}, "x: was 23 of (3,), float64, is now 22 of (3,), float64"),
        ({"sample_weights": np.ones(23)}, "sample_weights: was not given, is now 23 of ()"),
        ({"callbacks": [callbacks.EarlyStopping()]}, "'validation_loss'"),
    ],
)
def test_a_refused_resumption_changes_nothing(tmp_path, how, told):
    trainer = trainer_of()
    keeps = [callbacks.Checkpoint(tmp_path), callbacks.EarlyStopping("loss")]
    trainer.fit(X, T, epochs=2, batch_size=BATCH, callbacks=keeps)
    for _ in range(2):
        model = network()
        model.build((3,), rng=99)
        again = trainer_of(model=model)
        before, state = model.parameters.value.copy(), again.rng.bit_generator.state
        stops = callbacks.EarlyStopping("loss")
        given = {"x": X, "t": T, "batch_size": BATCH, "callbacks": [stops], **how}
        with pytest.raises((StorageError, ConfigurationError)) as caught:
            again.fit(**given, epochs=3, resume_from=tmp_path)
        assert told in str(caught.value)
        np.testing.assert_array_equal(model.parameters.value, before)
        assert again.optimizer.state()["steps"] == 0 and again.optimizer.first_moment is None
        assert again.rng.bit_generator.state == state and again.run is None
        other = trainer_of()
        other.fit(X, T, epochs=2, batch_size=BATCH, callbacks=[stops])  # starts over
        assert stops.best == min(other.history["loss"])


def test_a_failed_resumption_builds_no_model(tmp_path):
    stopped(tmp_path)
    model = Sequential([Dense(5), Dense(2)])
    with pytest.raises(StorageError):
        resumed(tmp_path, model=model)
    assert not model.is_built


def test_an_optimizer_with_another_configuration_is_refused(tmp_path):
    stopped(tmp_path)
    with pytest.raises(
        StorageError, match=r"the optimizer's betas: .*\(0\.9, 0\.999\).*, is now"
    ) as caught:
        resumed(tmp_path, optimizer=optimizers.Adam(0.01, betas=(0.8, 0.999)))
    assert "(0.8, 0.999)" in str(caught.value)
    resumed(tmp_path, optimizer=optimizers.Adam(0.5))  # the learning rate is part of the state


def test_numbers_of_numpy_are_numbers(tmp_path):
    trainer = trainer_of()
    how = {"batch_size": np.int64(BATCH), "accumulate": np.int64(1), "shuffle": np.bool_(True)}
    keeps = callbacks.Checkpoint(tmp_path, every_steps=np.int64(2))
    trainer.fit(X, T, epochs=np.int64(EPOCHS), callbacks=[keeps, StopsAfter(7)], **how)
    assert outcome(resumed(tmp_path)) == outcome(left_alone())


def test_what_is_infinite_is_not_written(tmp_path):
    class Leaps(callbacks.Callback):
        def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
            if trainer.steps == 2:
                trainer.optimizer.learning_rate = 1e308

    trainer = trainer_of(optimizers.SGD(1e-3))
    keeps = callbacks.Checkpoint(tmp_path, every_steps=1, keep=9)
    with pytest.raises(NonFiniteError, match="step 3"):
        trainer.fit(1e4 * X, 1e4 * T, epochs=2, batch_size=BATCH, callbacks=[Leaps(), keeps])
    found = checkpoints.found_in(tmp_path)
    assert [number for number, _ in found] == [2, 1, 0]
    for _, path in found:
        assert all(np.isfinite(array).all() for array in checkpoints.read(path).arrays.values())


def test_what_a_newer_chainrule_wrote_is_neither_passed_over_nor_deleted(tmp_path):
    stopped(tmp_path)
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        path.write_bytes(content.replace(b"chainrule-checkpoint-2", b"chainrule-checkpoint-9"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    trainer = trainer_of()
    with pytest.raises(StorageError, match="newer version of chainrule"):
        keeps = [callbacks.Checkpoint(tmp_path)]
        trainer.fit(X, T, epochs=1, batch_size=BATCH, callbacks=keeps, resume_from=tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_cannot_be_read_now_is_not_taken_for_damaged(tmp_path, monkeypatch):
    stopped(tmp_path)
    before = sorted(os.listdir(tmp_path))
    from chainrule import files

    def fails(path: Any, what: str, accepted: Any) -> Any:
        raise files.unread(path, OSError(errno.EIO, "Input/output error"), what) from OSError()

    monkeypatch.setattr(checkpoints.sealed_file, "opened", fails)
    with pytest.raises(StorageError, match="could not be read"):
        resumed(tmp_path)
    assert sorted(os.listdir(tmp_path)) == before


def test_two_runs_do_not_share_a_folder(tmp_path):
    class Starts(callbacks.Callback):
        def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
            with pytest.raises(ConfigurationError, match="another run is writing"):
                other = callbacks.Checkpoint(tmp_path)
                trainer_of().fit(X, T, epochs=1, callbacks=[other], resume_from=tmp_path)

    trainer_of().fit(X, T, epochs=1, callbacks=[callbacks.Checkpoint(tmp_path), Starts()])
    keeps = [callbacks.Checkpoint(tmp_path)]
    trainer_of().fit(X, T, epochs=1, callbacks=keeps, resume_from=tmp_path)


HOSTILE: list[Any] = [
    lambda record: [],
    lambda record: None,
    lambda record: {k: v for k, v in record.items() if k != "position"},
    lambda record: {**record, "position": {**record["position"], "epochs_done": "x"}},
    lambda record: {**record, "position": {**record["position"], "epochs_done": -5}},
    lambda record: {**record, "position": {**record["position"], "steps_done": 10**9}},
    lambda record: {**record, "position": {**record["position"], "sums": []}},
    lambda record: {**record, "position": {**record["position"], "batches": {}}},
    lambda record: {**record, "position": {**record["position"], "batches": None}},
    lambda record: {**record, "history": ["nothing"]},
    lambda record: {**record, "optimizer": {}},
    lambda record: {**record, "callbacks": [3]},
    lambda record: {**record, "model": {**record["model"], "generators": {"a": 1}}},
    lambda record: {**record, "made of": {**record["made of"], "the model's layers": [1]}},
    lambda record: {**record, "made of": {}},
]


@pytest.mark.parametrize("change", HOSTILE)
def test_an_intact_file_with_invalid_contents_raises_a_named_error(tmp_path, change):
    stopped(tmp_path)
    path = tmp_path / "step-000000007.safetensors"
    saved = checkpoints.read(path)
    record = json.dumps(change(saved.record))
    header = {"format": checkpoints.FORMAT, "record": record}
    path.write_bytes(checkpoints.sealed_file.pack(saved.arrays, header))
    for other in tmp_path.glob("step-00000000[0-6]*"):
        other.unlink()
    model = network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedCheckpointWarning)
        try:
            trainer = resumed(tmp_path, model=model)
        except (StorageError, ConfigurationError):
            assert not model.is_built
        else:  # it was skipped
            assert trainer.run is not None and not trainer.run.is_resumed


# ------------------------------------------------------------------------------- the disk


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_fails_in_the_middle_leaves_the_checkpoints_before(
    tmp_path, monkeypatch, number
):
    true, calls = os.replace, []

    def fails_later(*paths: Any) -> None:
        calls.append(paths)
        if len(calls) > 3:
            raise OSError(number, os.strerror(number))
        true(*paths)

    monkeypatch.setattr(os, "replace", fails_later)
    trainer = trainer_of()
    with pytest.raises(StorageError, match="the checkpoint could not be written") as caught:
        keeps = callbacks.Checkpoint(tmp_path, every_steps=2)
        trainer.fit(X, T, epochs=EPOCHS, batch_size=BATCH, callbacks=[keeps])
    assert os.strerror(number) in str(caught.value) and "epoch 2, step 1" in str(caught.value.place)
    assert trainer.history.epochs == 1
    monkeypatch.undo()
    assert len(list(tmp_path.iterdir())) == 3
    assert outcome(resumed(tmp_path)) == outcome(left_alone())


def test_a_folder_that_cannot_be_created_is_an_error_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("mine")
    trainer = trainer_of()
    with pytest.raises(StorageError, match="the checkpoint folder could not be written"):
        trainer.fit(X, T, callbacks=[callbacks.Checkpoint(tmp_path / "file" / "below")])
    assert trainer.steps == 0 and (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "arguments",
    [{"every_steps": 0}, {"every_steps": 2.5}, {"keep": 0}, {"keep": True}, {"folder": 3}],
)
def test_invalid_arguments_are_refused(arguments):
    with pytest.raises(ChainruleError, match=next(iter(arguments))):
        callbacks.Checkpoint(**{"folder": "runs", **arguments})


def test_a_layer_frozen_during_a_run_is_frozen_after_resuming(tmp_path):
    class Freezes(callbacks.Callback):
        def on_epoch_end(self, trainer: Any, epoch: int, figures: Any) -> None:
            layer = trainer.model["dense_1"]
            if epoch == 1:
                layer.freeze()
            if epoch == 3:
                layer.unfreeze()

    def run(*more: Any, **how: Any) -> Trainer:
        trainer = trainer_of()
        trainer.fit(X, T, epochs=EPOCHS, batch_size=BATCH, callbacks=[*more, Freezes()], **how)
        return trainer

    run(callbacks.Checkpoint(tmp_path, every_steps=2), StopsAfter(12))
    assert outcome(run(resume_from=tmp_path)) == outcome(run())


def test_a_graph_with_two_losses_resumes(tmp_path):
    def run(**how: Any) -> Trainer:
        x = Input((3,))
        h = Activation("tanh")(Dense(4)(x))
        model = Graph(x, {"one": Dense(1)(h), "two": Dense(2)(h)})
        each = [losses.HalfSquaredError(), losses.SoftmaxCrossEntropy()]
        trainer = Trainer(model, each, optimizers.Adam(0.01), metrics={"two": ["accuracy"]}, rng=1)
        trainer.fit(X, (T[:, :1], T.argmax(axis=1)), epochs=3, batch_size=BATCH, **how)
        return trainer

    run(callbacks=[callbacks.Checkpoint(tmp_path, every_steps=3), StopsAfter(8)])
    assert outcome(run(resume_from=tmp_path)) == outcome(run())
