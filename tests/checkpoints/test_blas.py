"""A checkpoint names the BLAS, and a run that resumes with another says so."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule import (
    Activation,
    Dense,
    Sequential,
    Trainer,
    callbacks,
    checkpoints,
    losses,
    optimizers,
    use_fast,
)
from chainrule.checkpoints import OtherBlasWarning
from chainrule.core import acceleration
from checkpoints.resumption import KilledError, Kills, fit, trainer_of


def killed(folder: Path) -> None:
    with pytest.raises(KilledError):
        fit(trainer_of(), [Kills(steps=7), callbacks.Checkpoint(folder, every_steps=2)])


def resumed(folder: Path) -> np.ndarray:
    trainer = fit(trainer_of(), [callbacks.Checkpoint(folder)], resume_from=folder)
    assert trainer.is_resumed
    return trainer.model.parameters.value


def named_by(folder: Path) -> str | None:
    saved = checkpoints.newest_in(folder)
    assert saved is not None
    return saved.blas


def test_a_checkpoint_names_the_blas_in_use(tmp_path):
    killed(tmp_path)
    assert named_by(tmp_path) == acceleration.blas_in_use()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed(tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "hint"),
    [
        ("MKL 2026.2", "scipy-openblas 0.3.31", "pip install 'chainrule[fast]'"),
        ("scipy-openblas 0.3.31", "MKL 2026.2", "chainrule.use_fast(False), or CHAINRULE_FAST=0"),
        ("scipy-openblas 0.3.30", "scipy-openblas 0.3.31", "install the NumPy of that run"),
    ],
)
def test_resuming_with_another_blas_says_so(tmp_path, monkeypatch, before, after, hint):
    monkeypatch.setattr(checkpoints, "blas_in_use", lambda: before)
    killed(tmp_path)
    monkeypatch.setattr(checkpoints, "blas_in_use", lambda: after)
    with pytest.warns(OtherBlasWarning, match="another BLAS") as caught:
        resumed(tmp_path)
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "at " in message and "step-000000006.safetensors" in message
    assert f"expected  {before}\n" in message and f"received  {after}\n" in message
    assert hint in message
    assert named_by(tmp_path) == after


def test_a_checkpoint_that_names_no_blas_resumes_without_a_word(tmp_path, monkeypatch):
    killed(tmp_path)
    pack = checkpoints.sealed_file.pack
    monkeypatch.setattr(
        checkpoints.sealed_file,
        "pack",
        lambda arrays, names: pack(arrays, {n: v for n, v in names.items() if n != "blas"}),
    )
    newest = checkpoints.newest_in(tmp_path)
    assert newest is not None
    checkpoints.write(tmp_path, 6, str(newest.run), newest.record, newest.arrays)
    assert named_by(tmp_path) is None
    resumed(tmp_path)


@pytest.mark.peers
def test_a_run_with_mkl_resumes_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(acceleration, "require_one_thread", lambda: None)
    monkeypatch.setattr(acceleration, "processor", lambda: "sapphirerapids")
    x, t = np.random.default_rng(0).normal(size=(2, 200, 500))

    def trained(*given: callbacks.Callback, **options: Any) -> np.ndarray:
        model = Sequential([Dense(64), Activation("tanh"), Dense(500)])
        trainer = Trainer(model, losses.HalfSquaredError(), optimizers.Adam(0.01), rng=0)
        options |= {"batch_size": 100, "progress": False}
        trainer.fit(x, t, epochs=6, callbacks=list(given), **options)
        return model.parameters.value

    with use_fast():
        expected = trained()
        with pytest.raises(KilledError):
            trained(Kills(steps=7), callbacks.Checkpoint(tmp_path, every_steps=2))
        assert "MKL" in str(named_by(tmp_path))
        found = trained(callbacks.Checkpoint(tmp_path), resume_from=tmp_path)
        assert np.array_equal(found, expected)
