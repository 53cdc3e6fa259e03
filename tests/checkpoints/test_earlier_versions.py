"""Checkpoints that earlier versions wrote: a run resumes from them and ends as it did then."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from chainrule import (
    Activation,
    Dense,
    Sequential,
    Trainer,
    callbacks,
    losses,
    optimizers,
    schedules,
)

WRITTEN_BY_0_1 = Path(__file__).parent / "version_0_1"


def test_a_run_that_version_0_1_began_ends_as_it_did_then(tmp_path):
    folder = shutil.copytree(WRITTEN_BY_0_1 / "run", tmp_path / "run")
    then = np.load(WRITTEN_BY_0_1 / "run.npz")
    x, t = then["x"], then["t"]
    model = Sequential([Dense(4), Activation("sigmoid"), Dense(2)])
    trainer = Trainer(
        model,
        losses.HalfSquaredError(),
        optimizers.Adam(0.05),
        metrics=["mean_absolute_error"],
        rng=99,  # the checkpoint has the generator of the run that wrote it
    )
    history = trainer.fit(
        x,
        t,
        epochs=6,
        batch_size=8,
        validation_data=(x[:5], t[:5]),
        progress=False,
        resume_from=folder,
        callbacks=[
            callbacks.LearningRate(schedules.Cosine(0.05, steps=18)),
            callbacks.EarlyStopping(patience=50),
            callbacks.Checkpoint(folder, every_steps=4, keep=1),
        ],
    )
    assert trainer.run.resumes_at == 8
    # Ten steps more, in which kernels of another processor may sum in another order.
    np.testing.assert_allclose(model.parameters.value, then["parameters"], rtol=1e-10)
    for name in history:
        np.testing.assert_allclose(history[name], then[f"history/{name}"], rtol=1e-10)
