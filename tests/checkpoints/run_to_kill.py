"""The program that `test_killed.py` kills: a run with every kind of state that a run can have.

    python run_to_kill.py FOLDER

It prints the number of each step, and at the end a digest of all results.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import Any

import numpy as np
from attrs import define

from chainrule import Dense, Layer, Sequential, Trainer, callbacks, losses, optimizers, schedules

EPOCHS, EVERY_STEPS, SAMPLES, BATCH = 40, 9, 100, 8


@define
class Noise(Layer):
    """y = x + σ ξ in training, with ξ from its own generator."""

    def build(self, shape: Any) -> None:
        self.generator("source")

    def forward(self, x: Any) -> Any:
        return x + 0.1 * self.source.normal(size=x.shape)

    def backward(self, delta: Any) -> Any:
        return delta

    def apply(self, x: Any) -> Any:
        return x


@define
class Centre(Layer):
    """y = x − m, with a running mean m, a buffer."""

    couples_batch = True

    def build(self, shape: Any) -> None:
        self.buffer("mean", shape, "zeros")

    def forward(self, x: Any) -> Any:
        if len(x):
            self.mean.value = 0.9 * self.mean.value + 0.1 * x.mean(axis=0)
        return x - self.mean.value

    def backward(self, delta: Any) -> Any:
        return delta

    def apply(self, x: Any) -> Any:
        return x - self.mean.value


class Says(callbacks.Callback):
    """Prints each step immediately."""

    def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
        os.write(1, b"%d\n" % trainer.steps)


def main(folder: str) -> None:
    os.makedirs(folder, exist_ok=True)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(SAMPLES, 20))
    t = np.sin(x[:, :3])
    model = Sequential([Dense(400), Noise(), Centre(), Dense(100), Dense(3)])
    trainer = Trainer(
        model,
        losses.HalfSquaredError(),
        optimizers.Adam(1e-3),
        metrics=["mean_absolute_error"],
        rng=5,
    )
    rate = schedules.WarmUp(schedules.Cosine(2e-3, steps=300), steps=40)
    history = trainer.fit(
        x,
        t,
        epochs=EPOCHS,
        batch_size=BATCH,
        validation_data=(x[:30], t[:30]),
        callbacks=[
            callbacks.Checkpoint(folder, every_steps=EVERY_STEPS, keep=3),
            callbacks.LearningRate(rate),
            callbacks.EarlyStopping(patience=EPOCHS),
            callbacks.CSVLogger(os.path.join(folder, "history.csv")),
            Says(),
        ],
        resume_from=folder,
    )
    digest = hashlib.sha256()
    for array in (model.parameters.value, model.buffers.value):
        digest.update(array.tobytes())
    digest.update(json.dumps(history.to_dict()).encode())
    with open(os.path.join(folder, "history.csv"), "rb") as file:
        digest.update(file.read())
    os.write(1, f"end {digest.hexdigest()}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1])
