"""A run that may be killed at any moment: start it again, and it ends with the same digits.

    python examples/long_run.py            kill it as you like (Ctrl-C, kill -9, the power switch)
    python examples/long_run.py            goes on where the last checkpoint was
    python examples/long_run.py --afresh   throws the checkpoints away and begins anew

A network of 52,650 parameters learns handwritten digits that are shifted by up to a pixel in each
direction, at random and anew for every batch, so that no picture comes twice the same. The
learning rate rises and then falls along a cosine, Adam remembers two numbers for each parameter,
and the best epoch is kept. Every 50 steps all of that is written into a checkpoint. So the last
line, a digest of all parameters, is the same however often the run was killed on its way: compare
it with that of a run that was left alone, in another folder.
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
    """Pictures of 8 × 8, each moved by −1, 0 or 1 pixels both ways; what leaves is lost."""
    padded = np.pad(x.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    down, right = rng.integers(0, 3, size=(2, len(x), 1, 1))
    rows, columns = np.arange(8)[:, np.newaxis] + down, np.arange(8) + right
    return padded[np.arange(len(x))[:, np.newaxis, np.newaxis], rows, columns].reshape(-1, 64)


def main(epochs: int = 300, seed: int = 0, output: str | Path = "chainrule-demo", afresh=False):
    """Train, or go on training; returns the history and the digest of the parameters."""
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
        print(f"unseen digits that are recognized  {100 * right:.2f} %")
        print(f"the last loss                      {history['loss'][-1]!r}")
        print(f"the parameters                     {digest}")
    return history, digest


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="chainrule-demo", help="the folder for the checkpoints")
    parser.add_argument("--afresh", action="store_true", help="begin anew")
    main(**vars(parser.parse_args()))
