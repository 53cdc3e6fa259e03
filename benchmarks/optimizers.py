"""The cost of an optimizer's step for a given gradient: Adam on ten million numbers.

    ratio = (time of chainrule's step)/(time of PyTorch's)

A step of Adam reads four vectors and writes three, with little arithmetic per number. So the time
depends on how often the numbers move between memory and processor: once if all operations run on a
piece that stays in the cache, once per operation if they run on whole vectors. PyTorch has both:
its default uses whole vectors; ``fused=True`` is a single C++ loop over all of them, with as many
cores as threads.
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
"""3124 · 3200 weights and 3200 biases. The fused version has no bound."""

DTYPE = "float32"


def measure(length: Length, seen: Callable[[], None]) -> list[Result]:
    """Run the race, if PyTorch is installed."""
    if "PyTorch" not in contenders.available():
        return []
    names = [contenders.ADAM, contenders.ADAM_PEER, contenders.ADAM_FUSED]
    return [race(TEN_MILLION, DTYPE, names, length, seen)]


def gradient_of(problem: Problem) -> Array:
    """A fixed gradient with numbers of all usual magnitudes."""
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
    """The same, with the whole step in one C++ loop."""

    how = {"fused": True}  # noqa: RUF012
