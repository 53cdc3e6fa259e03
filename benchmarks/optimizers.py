"""What an optimizer's step costs, once the gradient is there: Adam on ten million numbers.

    ratio = (time of chainrule's step)/(time of PyTorch's)

A step of Adam reads four vectors and writes three, and computes little with each number. So what
counts is how often the numbers go from memory to the processor and back: once where all operations
are done on a piece that stays in the cache, once for each operation where they are done on whole
vectors. PyTorch has both: its default goes through whole vectors, ``fused=True`` is one loop of
C++ over all of them, on as many cores as there are threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import contenders
from benchmarks.race import Length, Result, race
from benchmarks.workloads import Array, Problem, Workload

TEN_MILLION = Workload("ten million", (3124, 3200), 1, {contenders.ADAM_PEER: 0.8}, rate=1e-3)
"""3124 · 3200 weights and 3200 biases. There is no bound for the fused one."""

DTYPE = "float32"


def measure(length: Length, seen: Callable[[], None]) -> list[Result]:
    """Let them race, if PyTorch is there."""
    if "PyTorch" not in contenders.available():
        return []
    names = [contenders.ADAM, contenders.ADAM_PEER, contenders.ADAM_FUSED]
    return [race(TEN_MILLION, DTYPE, names, length, seen)]


def gradient_of(problem: Problem) -> Array:
    """A gradient that stays the same, with numbers of all sizes that are usual."""
    rng = np.random.default_rng(1)
    count = problem.start().size
    return (rng.normal(size=count) * 10.0 ** rng.uniform(-4, 0, count)).astype(problem.dtype)


class Adam:
    """`chainrule.optimizers.Adam` on the parameters as one vector."""

    def __init__(self, problem: Problem) -> None:
        from chainrule import optimizers

        self.parameters, self.gradient = problem.start(), gradient_of(problem)
        self.optimizer = optimizers.Adam(problem.rate)

    def step(self) -> float:
        self.optimizer.step(self.parameters, self.gradient)
        return float(self.parameters[0])

    def flat_parameters(self) -> Array:
        return self.parameters


class AdamOfPyTorch:
    """torch.optim.Adam on the same vector, as one tensor."""

    how: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, problem: Problem) -> None:
        import torch

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
        self.parameters = torch.from_numpy(problem.start()).requires_grad_()
        self.parameters.grad = torch.from_numpy(gradient_of(problem))
        self.optimizer = torch.optim.Adam([self.parameters], lr=problem.rate, **self.how)

    def step(self) -> float:
        self.optimizer.step()
        return float(self.parameters[0].detach())

    def flat_parameters(self) -> Array:
        return self.parameters.detach().numpy()


class FusedAdamOfPyTorch(AdamOfPyTorch):
    """The same with all of a step in one loop of C++."""

    how = {"fused": True}  # noqa: RUF012
