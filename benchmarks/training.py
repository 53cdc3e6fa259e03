"""Training as a user does it: epochs of `Trainer.fit`, compared with the usual loop in PyTorch.

    ratio = (an epoch of fit)/(steps)/(a step of the limit, or of PyTorch's loop)

An epoch shuffles, gathers each batch, takes the step and computes the loss; all that `fit` does
once, such as its checks, is divided by the number of steps and included. The loop in PyTorch is the
fastest of the usual ones: the data are tensors, and ``index_select`` gathers the rows of a
permutation, without a DataLoader. The limit gathers nothing.

The four networks run with gradient descent and with Adam. A whole epoch has 60,032 samples of 784
numbers, about the size of MNIST, and the network [784, 256, 128, 10] with relus.

Another measurement is a long run: a million steps of a tiny network, during which neither the time
of a step nor the memory of the process may grow.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks import contenders
from benchmarks.contenders import FIT_FUSED, FIT_PEER, LIMIT
from benchmarks.race import Length, Result, one_thread, race
from benchmarks.workloads import WORKLOADS, Workload

RATE = 1e-3
"""η of Adam."""

ADAM = tuple(replace(w, optimizer="Adam", rate=RATE, bounds={}) for w in WORKLOADS)

EPOCH = Workload(
    "epoch", (784, 256, 128, 10), 128, {}, rate=RATE, steps=469, optimizer="Adam", labels=True
)

Bounds = dict[str, dict[tuple[str, str, str], float]]


def _bounds(
    limit: float | None, float32: float | None, float64: float | None, fused: float | None
) -> dict[tuple[str, str, str], float]:
    bounds = {
        ("SGD", LIMIT, "float32"): limit,
        ("SGD", FIT_PEER, "float32"): float32,
        ("SGD", FIT_PEER, "float64"): float64,
        ("Adam", FIT_FUSED, "float32"): fused,
    }
    return {what: bound for what, bound in bounds.items() if bound is not None}


BOUNDS: Bounds = {
    "tiny": _bounds(1.6, 0.15, 0.18, 0.20),
    "lecture": _bounds(1.15, 0.58, 0.85, 0.68),
    "mnist": _bounds(1.12, 0.72, 0.92, 0.95),
    "wide": _bounds(1.10, 1.05, 1.0, 1.25),
    "epoch": {("Adam", FIT_PEER, "float32"): 0.75},
}
"""The largest ratios of `fit` with one thread, by optimizer, the other contender and dtype."""

FAST_BOUNDS: Bounds = {
    "tiny": _bounds(None, 0.12, 0.15, 0.15),
    "lecture": _bounds(None, 0.48, 0.65, 0.50),
    "mnist": _bounds(None, 0.60, 0.70, 0.65),
    "wide": _bounds(None, 0.92, 0.90, 1.05),
    "epoch": {("Adam", FIT_PEER, "float32"): 0.55},
}
"""The same with the libraries of the extra `fast`."""

THREADS_BOUND = 1.1
"""The most that (fit/limit with several threads)/(fit/limit with one) may be."""


@dataclass
class Endless:
    """Seconds per step, and the memory of the process in bytes, after each epoch."""

    steps: int
    seconds: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Measured:
    """All results about whole epochs and long runs."""

    epochs: list[Result]
    endless: Endless


def measure(length: Length, seen: Callable[[], None], quick: bool = False) -> Measured:
    """Run the race with one thread, then the long run."""
    epochs = []
    if "PyTorch" in contenders.available():
        with one_thread():
            epochs = [race(EPOCH, "float32", contenders.in_fit(fused=True), length, seen)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        endless = pool.apply(go_on, (10, 1_000 if quick else 100_000))
    seen()
    return Measured(epochs, endless)


def go_on(epochs: int, steps: int) -> Endless:
    """Train a tiny network for some long epochs, and record time and memory after each."""
    from chainrule import Activation, Dense, Sequential, Trainer, callbacks, losses, optimizers

    found = Endless(epochs * steps)

    class Looks(callbacks.Callback):
        def on_fit_begin(self, trainer: Any) -> None:
            self.began = time.perf_counter()

        def on_epoch_end(self, trainer: Any, epoch: int, figures: Any) -> None:
            now = time.perf_counter()
            found.seconds.append((now - self.began) / steps)
            found.memory.append(resident())
            self.began = time.perf_counter()

    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(10 * steps, 2)).astype(np.float32)
    t = np.sin(3 * x[:, :1]) * x[:, 1:]
    model = Sequential([Dense(30), Activation("tanh"), Dense(20), Activation("tanh"), Dense(1)])
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.Adam(1e-3), rng=0)
    trainer.fit(x, t, epochs=epochs, batch_size=10, callbacks=[Looks()], progress=False)
    return found


def resident() -> int:
    """The resident memory of this process in bytes, or 0 if the system does not report it."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
