"""Training on two ranks: the time of a step on two cores, divided by that of one process on one.

    ratio of a round = (a step of `fit` on two ranks)/(a step of `fit` in one process)

Both compute the same batches of the network [784, 1100, 1024, 10], with gradient descent and one
thread for each process. Each round starts both anew, with mpiexec and without.

    mpiexec -n 2 python -m mpi4py benchmarks/ranks.py 8      prints the seconds of a step
    python benchmarks/ranks.py 8                             the same in one process
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

WIDTHS = (784, 1100, 1024, 10)
"""2 million parameters."""
BATCH = 1024
RANKS = 2
BOUND = 1 / 1.6
"""The largest ratio: at least 1.6 times as many steps in a second."""
STEPS = 6
"""The steps of an epoch; the fastest epoch counts."""
LIMIT = 300


@dataclass(frozen=True)
class Measured:
    """Seconds of a step for each round, of one process and of the ranks; and of one exchange."""

    alone: list[float]
    together: list[float]
    exchange: list[float]

    @property
    def ratios(self) -> list[float]:
        return [b / a for a, b in zip(self.alone, self.together, strict=True)]


def measure(rounds: int, epochs: int) -> Measured | None:
    """The rounds; None if there is no mpiexec."""
    beside = Path(sys.executable).with_name("mpiexec")
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    if mpiexec is None:
        return None
    alone, together = [], []
    for _ in range(rounds):
        alone.append(_run([sys.executable, __file__], epochs))
        started = [mpiexec, "-n", str(RANKS), sys.executable, "-m", "mpi4py", __file__]
        together.append(_run(started, epochs))
    return Measured(
        [each["step"] for each in alone],
        [each["step"] for each in together],
        [each["exchange"] for each in together],
    )


def _run(command: list[str], epochs: int) -> dict[str, float]:
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    done = subprocess.run(
        [*command, str(epochs)],
        env={**os.environ, **threads},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


# ------------------------------------------------------------------------------- the program


def main(epochs: int) -> None:
    """Train in this process, or in all that mpiexec has started, and print the times."""
    from chainrule import Activation, Dense, Sequential, Trainer, callbacks, losses, optimizers

    times: list[float] = []

    class Clock(callbacks.Callback):
        changes_rate_alone = True

        def on_epoch_end(self, trainer: Any, epoch: int, figures: Mapping[str, float]) -> None:
            times.append(time.perf_counter())

    ranks = None
    if "mpi4py" in sys.modules:  # started with -m mpi4py
        from mpi4py import MPI

        ranks = MPI.COMM_WORLD
    rng = np.random.default_rng(0)
    x = rng.normal(size=(STEPS * BATCH, WIDTHS[0])).astype(np.float32)
    labels = rng.integers(WIDTHS[-1], size=len(x))
    layers = [layer for width in WIDTHS[1:] for layer in (Dense(width), Activation("relu"))]
    trainer = Trainer(
        Sequential(layers[:-1]),
        losses.SoftmaxCrossEntropy(),
        optimizers.SGD(1e-3),
        rng=0,
        ranks=ranks,
    )
    trainer.fit(x, labels, epochs=epochs + 1, batch_size=BATCH, callbacks=[Clock()], progress=False)
    if trainer.ranks.leads:
        step = float(np.min(np.diff(times))) / STEPS
    exchange = 0.0 if ranks is None else _exchange(ranks, trainer.model.parameters.grad)
    if trainer.ranks.leads:
        print(json.dumps({"step": step, "exchange": exchange}))


def _exchange(ranks: Any, vector: Any) -> float:
    """Seconds in which all ranks add up a vector."""
    vector[:] = 0
    seconds = []
    for _ in range(20):
        ranks.Barrier()
        began = time.perf_counter()
        ranks.Allreduce(None, vector)
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))


if __name__ == "__main__":
    main(int(sys.argv[1]))
