"""Rank 1 receives Ctrl-C, once or twice, or is killed."""

from __future__ import annotations

import os
import signal
import sys

import numpy as np
from mpi4py import MPI

from training.test_ranks import Trainer, dense, losses, optimizers

everyone, how = MPI.COMM_WORLD, sys.argv[1]
trainer = Trainer(dense(), losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0, ranks=everyone)


def make_batch(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(size=(8, 5))
    if everyone.rank == 1 and trainer.steps == 5:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        for _ in range({"once": 1, "twice": 2}[how]):
            os.kill(os.getpid(), signal.SIGINT)
    return x, x[:, :2]


reason = None
try:
    trainer.fit(make_batch, epochs=1000, steps_per_epoch=100, progress=False)
except KeyboardInterrupt:
    reason = "KeyboardInterrupt"
found = everyone.gather((trainer.run.reason, reason, trainer.steps))
if everyone.rank == 0:
    print(found)
