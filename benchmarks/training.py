"""Whole epochs: an epoch of `Trainer.fit` compared with the usual loop in PyTorch.

    ratio = (an epoch of fit)/(an epoch of the loop)

The data are 60,000 samples of 784 numbers, the size of MNIST; the network is [784, 256, 128, 10]
with batches of 128. An epoch shuffles, gathers each batch, takes the step with Adam, and computes
the loss. The loop in PyTorch is the fastest of the usual ones: the data are tensors, indexed by a
permutation, without a DataLoader.

A second measurement is a long run: a million steps of a tiny network, during which neither the time
of a step nor the memory of the process may grow.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks import contenders
from benchmarks.race import STEPS_TO_AGREE, Length, Result, race
from benchmarks.workloads import Array, Problem, Workload, flat

EPOCH = Workload("epoch", (784, 256, 128, 10), 60_000, {contenders.FIT_PEER: 0.9})
BATCH = 128
RATE = 1e-3


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
    """Run the race, then the long run."""
    epochs = []
    if "PyTorch" in contenders.available():
        names = [contenders.FIT, contenders.FIT_PEER]
        epochs = [race(EPOCH, "float32", names, length, seen)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        endless = pool.apply(go_on, (10, 1_000 if quick else 100_000))
    seen()
    return Measured(epochs, endless)


class Fit:
    """`Trainer.fit`, an epoch at a time."""

    def __init__(self, problem: Problem) -> None:
        from chainrule import Activation, Dense, Sequential, Trainer, losses, optimizers

        widths = [b.size for b in problem.biases]
        layers: list[Any] = [Dense(widths[0])]
        for units in widths[1:]:
            layers += [Activation("relu"), Dense(units)]
        self.inputs, self.labels = problem.inputs, problem.targets.argmax(axis=1)
        self.model = Sequential(layers)
        self.model.build(problem.inputs.shape[1:], rng=0, dtype=problem.dtype)
        self.model.parameters.value = problem.start()
        self.trainer = Trainer(
            self.model, losses.SoftmaxCrossEntropy(), optimizers.Adam(RATE), rng=0
        )

    def step(self) -> float:
        return self._epoch(self.inputs, self.labels)

    def first_steps(self) -> list[float]:
        parts = [slice(n * BATCH, (n + 1) * BATCH) for n in range(STEPS_TO_AGREE)]
        return [self._epoch(self.inputs[part], self.labels[part]) for part in parts]

    def _epoch(self, inputs: Array, labels: Any) -> float:
        history = self.trainer.fit(inputs, labels, epochs=1, batch_size=BATCH, progress=False)
        return history["loss"][-1]

    def flat_parameters(self) -> Array:
        return self.model.parameters.value


class Loop:
    """The same in PyTorch: tensors in memory, a permutation, torch.optim.Adam with its defaults."""

    def __init__(self, problem: Problem) -> None:
        import torch

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
        self.torch = torch
        self.inputs = torch.from_numpy(problem.inputs)
        self.labels = torch.from_numpy(problem.targets.argmax(axis=1))
        modules: list[Any] = []
        for n_in, n_out in pairwise([problem.inputs.shape[1], *[b.size for b in problem.biases]]):
            modules += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
        self.model = torch.nn.Sequential(*modules[:-1])
        self.linears = [m for m in modules if isinstance(m, torch.nn.Linear)]
        with torch.no_grad():
            for linear, w, b in zip(self.linears, problem.weights, problem.biases, strict=True):
                linear.weight.copy_(torch.from_numpy(w.T))
                linear.bias.copy_(torch.from_numpy(b))
        self.loss = torch.nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=RATE)

    def step(self) -> float:
        order = self.torch.randperm(len(self.inputs))
        return self._epoch(self.inputs, self.labels, order)

    def first_steps(self) -> list[float]:
        parts = self.torch.arange(STEPS_TO_AGREE * BATCH).split(BATCH)
        return [self._epoch(self.inputs, self.labels, part) for part in parts]

    def _epoch(self, inputs: Any, labels: Any, order: Any) -> float:
        total = 0.0
        for rows in order.split(BATCH):
            x, t = inputs[rows], labels[rows]
            self.optimizer.zero_grad(set_to_none=True)
            cost = self.loss(self.model(x), t)
            cost.backward()
            self.optimizer.step()
            total += cost.item() * len(rows)
        return total / len(order)

    def flat_parameters(self) -> Array:
        return flat(
            [linear.weight.detach().numpy().T for linear in self.linears],
            [linear.bias.detach().numpy() for linear in self.linears],
        )


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
