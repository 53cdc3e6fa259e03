"""Runs that are killed and resumed, and the same run undisturbed: shared by the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from chainrule import Activation, Dense, Sequential, Trainer, callbacks, losses, optimizers

RNG = np.random.default_rng(5)
X, T = RNG.normal(size=(10, 3)), RNG.normal(size=(10, 2))
VALIDATION = (RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2)))
BATCH = 4
STEPS_PER_EPOCH = 3


class KilledError(Exception):
    """Simulates the end of a process."""


class Kills(callbacks.Callback):
    """Ends the run with an error after some steps or epochs."""

    def __init__(self, steps: int = -1, epochs: int = -1) -> None:
        self.steps, self.epochs = steps, epochs

    def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
        if trainer.steps == self.steps:
            raise KilledError

    def on_epoch_end(self, trainer: Any, epoch: int, figures: Any) -> None:
        if epoch == self.epochs:
            raise KilledError


def trainer_of(optimizer: Any = None, rng: int = 3) -> Trainer:
    model = Sequential([Dense(4), Activation("tanh"), Dense(2)])
    return Trainer(model, losses.HalfSquaredError(), optimizer or optimizers.Adam(0.05), rng=rng)


def fit(trainer: Trainer, given: list[Any], epochs: int = 6, **options: Any) -> Trainer:
    options = {"batch_size": BATCH, "validation_data": VALIDATION, "progress": False, **options}
    trainer.fit(X, T, epochs=epochs, callbacks=given, **options)
    return trainer


def killed_and_resumed(
    make: Callable[[], list[Any]], folder: Path, kills: Kills, every: int = 2, **options: Any
) -> tuple[Trainer, list[Any]]:
    """A run with the callbacks of ``make`` that is killed, and resumed by new objects."""
    try:
        fit(
            trainer_of(),
            [*make(), kills, callbacks.Checkpoint(folder, every_steps=every)],
            **options,
        )
    except KilledError:
        pass
    else:
        raise AssertionError("the run was not killed")
    anew = make()
    saves = callbacks.Checkpoint(folder, every_steps=every)
    return fit(trainer_of(rng=99), [*anew, saves], resume_from=folder, **options), anew
