"""A run that you can kill at any moment: start it again, and it ends with the same numbers.

    python examples/long_run.py            kill it as you like (Ctrl-C, kill -9, the power switch)
    python examples/long_run.py            resumes from the last checkpoint
    python examples/long_run.py --afresh   deletes the checkpoints and starts again

A network of 50,826 parameters learns handwritten digits. Every batch shifts its digits at random by
up to one pixel in each direction. The learning rate rises and then falls along a cosine, Adam keeps
two numbers for each parameter, and early stopping keeps the best epoch. Every 50 steps a checkpoint
saves all of this. So the last line, a digest of all parameters, is the same however often you kill
the run: compare it with that of an uninterrupted run in another folder.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
from pathlib import Path

import numpy as np

from chainrule import (
    Activation,
    Dense,
    Sequential,
    Trainer,
    callbacks,
    datasets,
    losses,
    optimizers,
    schedules,
)

STEPS_PER_EPOCH = 100


def shifted(x, rng):
    """Pictures of 8 × 8, each shifted by −1, 0 or 1 pixels along both axes, and cut at the edge."""
    padded = np.pad(x.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    down, right = rng.integers(0, 3, size=(2, len(x), 1, 1))
    rows, columns = np.arange(8)[:, np.newaxis] + down, np.arange(8) + right
    return padded[np.arange(len(x))[:, np.newaxis, np.newaxis], rows, columns].reshape(-1, 64)


def main(epochs: int = 300, seed: int = 0, output: str | Path = "chainrule-demo", afresh=False):
    """Start or resume training; return the history and the digest of the parameters."""
    folder = Path(output) / f"long_run-epochs-{epochs}-seed-{seed}"
    if afresh:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    x, t, x_test, t_test = datasets.digits("float32")

    def make_batch(rng):
        chosen = rng.integers(len(t), size=128)
        return shifted(x[chosen], rng), t[chosen]

    model = Sequential([Dense(256), Activation("relu"), Dense(128), Activation("relu"), Dense(10)])
    steps = epochs * STEPS_PER_EPOCH
    rate = schedules.WarmUp(schedules.Cosine(3e-3, steps=steps - steps // 10), steps=steps // 10)
    trainer = Trainer(
        model, losses.SoftmaxCrossEntropy(), optimizers.Adam(), metrics=["accuracy"], rng=seed
    )
    history = trainer.fit(
        make_batch,
        epochs=epochs,
        steps_per_epoch=STEPS_PER_EPOCH,
        validation_data=(x_test, t_test),
        callbacks=[
            callbacks.Checkpoint(folder, every_steps=50, keep=3),
            callbacks.LearningRate(rate),
            callbacks.EarlyStopping("validation_loss", patience=epochs),
            callbacks.CSVLogger(folder.with_suffix(".csv")),
        ],
        resume_from=folder,
    )
    digest = hashlib.sha256(model.parameters.value.tobytes()).hexdigest()[:16]
    print(history)
    if history.epochs < epochs:
        print(f"stopped by {trainer.run.reason} in epoch {history.epochs + 1}; start it again")
    else:
        right = float((model(x_test).argmax(axis=1) == t_test).mean())
        print(f"unseen digits recognized           {100 * right:.2f} %")
        print(f"the last loss                      {history['loss'][-1]!r}")
        print(f"the parameters                     {digest}")
    return history, digest


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="chainrule-demo", help="the folder for the checkpoints")
    parser.add_argument("--afresh", action="store_true", help="delete the checkpoints first")
    main(**vars(parser.parse_args()))
