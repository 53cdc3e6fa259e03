"""A run owns its folder: nothing of another run is deleted, continued or written over."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule import Dense, Sequential, Trainer, callbacks, checkpoints, losses, optimizers
from chainrule.core.errors import ChainruleError, ConfigurationError, StorageError
from chainrule.core.layer_state import state_of

X, T = np.random.default_rng(0).normal(size=(2, 12, 3))


def trainer_of(rng: int = 0, units: int = 4) -> Trainer:
    model = Sequential([Dense(units), Dense(3)])
    return Trainer(model, losses.HalfSquaredError(), optimizers.Adam(0.01), rng=rng)


def fit(trainer: Trainer, *given: Any, epochs: int = 3, **how: Any) -> Trainer:
    trainer.fit(X, T, epochs=epochs, batch_size=4, callbacks=given, progress=False, **how)
    return trainer


def at(step: int, action: Any) -> Any:
    def on_step_end(trainer: Any, epoch: int, number: int, cost: float) -> None:
        if trainer.steps == step:
            action(trainer)

    return callbacks.FromFunctions(on_step_end=on_step_end)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ------------------------------------------------------------------------------- refused starts


def in_use(folder: Path) -> Any:
    """A lock, as another run holds it."""
    checkpoint = callbacks.Checkpoint(folder)
    checkpoint.lock()
    return checkpoint


@pytest.mark.parametrize("is_built", [False, True])
@pytest.mark.parametrize("why", ["in use", "another run", "resumed with other fields"])
def test_a_refused_start_leaves_everything_as_it_was(tmp_path, why, is_built):
    folder, logs = tmp_path / "run", tmp_path / "logs"
    logs.mkdir()
    given = [
        callbacks.CSVLogger(logs / "run.csv"),
        callbacks.TensorBoard(logs / "board"),
        callbacks.EarlyStopping("loss"),
    ]
    how: dict[str, Any] = {}
    fit(trainer_of(), *given, callbacks.Checkpoint(folder), epochs=1)
    held = in_use(folder) if why == "in use" else None
    if why == "resumed with other fields":
        how["resume_from"] = folder
    trainer = trainer_of(units=5 if how else 4)
    if is_built:
        trainer.model.build((3,), rng=9)
        trainer.step(X, T)
    before = contents(tmp_path)
    state = trainer.optimizer.state()
    rng = state_of(trainer.rng)
    value = trainer.model.parameters.value.copy() if is_built else None
    for _ in range(2):
        with pytest.raises(ChainruleError, match=r"another run|a different run"):
            fit(trainer, *given, callbacks.Checkpoint(folder), **how)
        assert contents(tmp_path) == before
        np.testing.assert_equal(trainer.optimizer.state(), state)
        assert state_of(trainer.rng) == rng and trainer.run is None
        assert trainer.model.is_built is is_built
        if is_built:
            np.testing.assert_array_equal(trainer.model.parameters.value, value)
    if held is not None:
        held.unlock()


def test_a_refused_start_leaves_no_new_folder(tmp_path):
    folder = tmp_path / "a" / "b"
    with pytest.raises(ConfigurationError, match="'nothing'"):
        fit(trainer_of(), callbacks.EarlyStopping("nothing"), callbacks.Checkpoint(folder))
    assert not os.listdir(tmp_path)
    fit(trainer_of(), callbacks.Checkpoint(folder))
    assert len(os.listdir(folder)) == 2


def test_one_checkpoint_callback_serves_one_run_at_a_time(tmp_path):
    saves, met = callbacks.Checkpoint(tmp_path), []

    def second(trainer: Any) -> None:
        with pytest.raises(ConfigurationError, match="in use"):
            fit(trainer_of(), saves)
        met.append(trainer.steps)

    fit(trainer_of(), saves, at(2, second))
    assert met == [2]
    saves.folder = tmp_path / "other"
    fit(trainer_of(), saves)


# ------------------------------------------------------------------------------- identity


def test_a_resumed_run_has_the_identity_of_the_run_and_a_new_one_has_another(tmp_path):
    first = fit(trainer_of(), callbacks.Checkpoint(tmp_path / "one"), epochs=1)
    resumed = fit(
        trainer_of(), callbacks.Checkpoint(tmp_path / "one"), resume_from=tmp_path / "one"
    )
    other = fit(trainer_of(), callbacks.Checkpoint(tmp_path / "two"))
    assert first.run.identity == resumed.run.identity != other.run.identity
    for name, trainer in {"one": first, "two": other}.items():
        found = [checkpoints.run_of(p) for _, p in checkpoints.found_in(tmp_path / name)]
        assert set(found) == {trainer.run.identity}


def test_a_run_does_not_delete_the_older_checkpoints_of_another(tmp_path):
    """It was resumed from one folder, and writes into another with checkpoints of fewer steps."""
    one, two = tmp_path / "one", tmp_path / "two"
    fit(trainer_of(), callbacks.Checkpoint(one), epochs=3)
    fit(trainer_of(5), callbacks.Checkpoint(two), epochs=1)
    before = contents(two)
    with pytest.raises(ConfigurationError, match="the folder has checkpoints of another run"):
        fit(trainer_of(), callbacks.Checkpoint(two, keep=1), resume_from=one, epochs=4)
    assert contents(two) == before


@pytest.mark.parametrize("is_taken", [False, True])
def test_a_folder_that_is_removed_and_recreated_belongs_to_the_run_that_writes_there(
    tmp_path, is_taken
):
    folder, kept = tmp_path / "run", {}

    def recreate(trainer: Any) -> None:
        shutil.rmtree(folder)
        if is_taken:
            fit(trainer_of(7), callbacks.Checkpoint(folder), epochs=1)
            kept.update(contents(folder))
        else:
            folder.mkdir()

    saves = callbacks.Checkpoint(folder, every_steps=1, keep=1)
    if is_taken:
        with pytest.raises(StorageError, match="the checkpoint folder was replaced"):
            fit(trainer_of(), at(4, recreate), saves)
        assert contents(folder) == kept
    else:
        trainer = fit(trainer_of(), at(4, recreate), saves)
        assert os.listdir(folder) == ["step-000000009.safetensors"]
        assert fit(trainer_of(), resume_from=folder).history == trainer.history


def test_the_checkpoints_of_version_0_1_are_continued_where_they_are(tmp_path):
    """They have no identity. The run that resumes there keeps on removing the older ones."""
    saves = callbacks.Checkpoint(tmp_path, every_steps=2)
    fit(trainer_of(), saves, epochs=1)
    for path in tmp_path.iterdir():
        saved = checkpoints.read(path)
        record = {k: v for k, v in saved.record.items() if k != "changed"}
        record["made of"].pop("frozen parameters")
        for name in ("x", "t"):
            record["made of"].pop(name)
        record["made of"]["data, by some of its rows"] = digest_of_version_0_1()
        header = {"format": "chainrule-checkpoint-1", "record": json.dumps(record)}
        path.write_bytes(checkpoints.sealed_file.pack(saved.arrays, header))
    saves = callbacks.Checkpoint(tmp_path, every_steps=2)
    resumed = fit(trainer_of(), saves, resume_from=tmp_path)
    assert resumed.run.resumes_at == 3
    assert [number for number, _ in checkpoints.found_in(tmp_path)] == [9, 8, 6]
    again = fit(trainer_of(), callbacks.Checkpoint(tmp_path), resume_from=tmp_path, epochs=4)
    assert again.steps == 12


def digest_of_version_0_1() -> str:
    from chainrule.data.batches_of import batches_of
    from chainrule.training.run_state import _digest_of_version_0_1

    rng = np.random.default_rng(0)
    return str(_digest_of_version_0_1(batches_of(X, T, batch_size=4, rng=rng)))


# ------------------------------------------------------------------------------- processes

FORKS = """
import os, sys, time
import numpy as np
from chainrule import Dense, Sequential, Trainer, callbacks, losses, optimizers

def on_step_end(trainer, epoch, step, cost):
    if trainer.steps == 3:
        if os.fork() == 0:
            os.write(1, b"%d\\n" % os.getpid())
            time.sleep(60)
            os._exit(0)
        time.sleep(60)

x = np.zeros((12, 3))
trainer = Trainer(Sequential([Dense(3)]), losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
saves = callbacks.Checkpoint(sys.argv[1], every_steps=1)
trainer.fit(x, x, batch_size=4, callbacks=[callbacks.FromFunctions(on_step_end=on_step_end), saves])
"""


def test_the_forked_child_of_a_killed_run_does_not_keep_its_lock(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", FORKS, str(tmp_path)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    child = int(run.stdout.readline())
    try:
        time.sleep(0.1)
        with pytest.raises(ConfigurationError, match="another run is writing"):
            callbacks.Checkpoint(tmp_path).lock()
        run.kill()
        run.wait()
        os.kill(child, 0)  # it lives
        saves = callbacks.Checkpoint(tmp_path)
        saves.lock()
        saves.unlock()
    finally:
        os.kill(child, signal.SIGKILL)
        run.stdout.close()


# ------------------------------------------------------------------------------- paths


def test_a_run_survives_a_change_of_the_working_folder(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    given = [
        callbacks.CSVLogger("run.csv"),
        callbacks.TensorBoard("board", every_steps=1, histograms_every=1),
        callbacks.Checkpoint("run", every_steps=1),
        at(2, lambda trainer: os.chdir(there)),
    ]
    trainer = fit(trainer_of(), *given)
    assert not os.listdir(there)
    assert sorted(os.listdir(here)) == ["board", "run", "run.csv"]
    assert len((here / "run.csv").read_text().splitlines()) == 4
    monkeypatch.chdir(here)
    given[-1] = at(99, None)
    assert fit(trainer_of(), *given, resume_from="run").history == trainer.history


def test_the_bad_batch_is_written_where_the_run_began(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    trainer = trainer_of()

    def spoils(trainer: Any) -> None:
        os.chdir(there)
        trainer.optimizer.learning_rate = 1e308

    with pytest.raises(ChainruleError, match="the batch is in bad"):
        fit(trainer, at(2, spoils), bad_batch="bad")
    assert os.listdir(here) == ["bad"] and not os.listdir(there)


def test_the_home_folder_is_found_in_every_path(tmp_path, monkeypatch):
    import chainrule
    from chainrule.training.history import History

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    trainer = fit(
        trainer_of(),
        callbacks.CSVLogger("~/run.csv"),
        callbacks.TensorBoard("~/board"),
        callbacks.Checkpoint("~/run"),
        bad_batch="~/bad",
    )
    assert fit(trainer_of(), callbacks.CSVLogger("~/run.csv"), resume_from="~/run").is_resumed
    trainer.model.save("~/model")
    trainer.model.save_weights("~/weights")
    trainer.model.load_weights("~/weights")
    trainer.history.to_csv("~/history.csv")
    trainer.history.save("~/history")
    assert History.load("~/history") == History.from_csv("~/history.csv") == trainer.history
    np.testing.assert_array_equal(chainrule.load("~/model")(X), trainer.model(X))
    names = ["board", "history", "history.csv", "model", "run", "run.csv", "weights"]
    assert sorted(os.listdir(tmp_path)) == names
