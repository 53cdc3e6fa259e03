"""The workloads: four networks, and the data and parameters with which every contender starts.

    y ← σ(y w + b)  for each layer          C = ½⟨‖y − t‖²⟩          θ ← θ − η ∂C/∂θ

This is one training step. The bare step always gets the same batch; an epoch has as many different
ones as the workload says. The targets are far from the limits 0 and 1 of σ, so the numbers stay in
a normal range, however many steps a contender takes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]

LEARNING_RATE = 0.1
DTYPES = ("float32", "float64")
STEPS_TO_AGREE = 10


@dataclass(frozen=True)
class Workload:
    """A network, given by the widths of its layers, with upper bounds for the ratios.

    ``scale`` multiplies the initial weights, for networks in which many layers are added up, and
    ``rate`` is η. Both keep the numbers in a normal range, however many steps are taken. ``steps``
    are the batches of an epoch. With ``labels``, the network has relus and classifies.
    """

    name: str
    widths: tuple[int, ...]
    batch: int
    bounds: dict[str, float]
    scale: float = 1.0
    rate: float = LEARNING_RATE
    steps: int = 1
    optimizer: str = "SGD"
    labels: bool = False

    def __str__(self) -> str:
        return f"{self.name} {list(self.widths)}, batch {self.batch}"

    def problem(self, dtype: str) -> Problem:
        """What every contender starts with."""
        problem = Problem.of(self.widths, self.batch, dtype, scale=self.scale, rate=self.rate)
        return replace(problem, steps=self.steps, optimizer=self.optimizer, labels=self.labels)


WORKLOADS = (
    Workload("tiny", (2, 30, 20, 1), 100, {"by hand": 1.5}, steps=500),
    Workload("lecture", (2, 150, 150, 100, 1), 200, {"by hand": 1.1}, steps=100),
    Workload("mnist", (784, 256, 128, 10), 128, {"by hand": 1.1}, steps=50),
    Workload("wide", (784, 1024, 1024, 10), 256, {"by hand": 1.1}, steps=8),
)


@dataclass(frozen=True)
class Problem:
    """The arrays of a step: a batch, its targets and the initial parameters."""

    inputs: Array
    targets: Array
    weights: list[Array]
    biases: list[Array]
    rate: float = LEARNING_RATE
    steps: int = 1
    optimizer: str = "SGD"
    labels: bool = False

    @classmethod
    def of(
        cls,
        widths: tuple[int, ...],
        batch: int,
        dtype: str,
        seed: int = 0,
        scale: float = 1.0,
        rate: float = LEARNING_RATE,
    ) -> Problem:
        rng = np.random.default_rng(seed)
        pairs = list(pairwise(widths))
        limits = [scale * np.sqrt(6 / (n_in + n_out)) for n_in, n_out in pairs]
        return cls(
            inputs=rng.normal(size=(batch, widths[0])).astype(dtype),
            targets=rng.uniform(0.1, 0.9, size=(batch, widths[-1])).astype(dtype),
            weights=[
                rng.uniform(-limit, limit, size=pair).astype(dtype)
                for limit, pair in zip(limits, pairs, strict=True)
            ],
            biases=[rng.normal(0.0, 0.1, size=n).astype(dtype) for n in widths[1:]],
            rate=rate,
        )

    @property
    def dtype(self) -> np.dtype[np.floating]:
        return self.inputs.dtype

    def epoch(self) -> tuple[Array, Array]:
        """The inputs and targets of all batches of an epoch."""
        rng, rows = np.random.default_rng(1), self.steps * len(self.inputs)
        return (
            rng.normal(size=(rows, self.inputs.shape[1])).astype(self.dtype),
            rng.uniform(0.1, 0.9, size=(rows, self.targets.shape[1])).astype(self.dtype),
        )

    def as_targets(self, numbers: Array) -> npt.NDArray[Any]:
        """Targets as they are, or the label of each row, the index of its largest number."""
        return numbers.argmax(axis=1) if self.labels else numbers

    def start(self) -> Array:
        """θ before the first step: w¹, b¹, w², b², … concatenated."""
        return flat(self.weights, self.biases)


def flat(weights: list[Array], biases: list[Array]) -> Array:
    """The parameters of all layers as one vector, in the order that chainrule uses."""
    pairs = zip(weights, biases, strict=True)
    return np.concatenate([part.ravel() for pair in pairs for part in pair])
