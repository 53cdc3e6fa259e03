"""The workloads: four networks, and the data and parameters with which every contender starts.

    y ← σ(y w + b)  for each layer          C = ½⟨‖y − t‖²⟩          θ ← θ − η ∂C/∂θ

This is one training step; the batch is always the same. The targets are far from the limits 0 and 1
of σ, so the numbers stay in a normal range, however many steps a contender takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]

LEARNING_RATE = 0.1
DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Workload:
    """A network, given by the widths of its layers, with upper bounds for the ratios.

    ``scale`` multiplies the initial weights, for networks in which many layers are added up, and
    ``rate`` is η. Both keep the numbers in a normal range, however many steps are taken.
    """

    name: str
    widths: tuple[int, ...]
    batch: int
    bounds: dict[str, float]
    scale: float = 1.0
    rate: float = LEARNING_RATE

    def __str__(self) -> str:
        return f"{self.name} {list(self.widths)}, batch {self.batch}"

    def problem(self, dtype: str) -> Problem:
        """What every contender starts with."""
        return Problem.of(self.widths, self.batch, dtype, scale=self.scale, rate=self.rate)


WORKLOADS = (
    Workload("tiny", (2, 30, 20, 1), 100, {"by hand": 1.5, "PyTorch": 0.25}),
    Workload("lecture", (2, 150, 150, 100, 1), 200, {"by hand": 1.1, "PyTorch": 0.8}),
    Workload("mnist", (784, 256, 128, 10), 128, {"by hand": 1.1, "PyTorch": 0.8}),
    Workload("wide", (784, 1024, 1024, 10), 256, {"by hand": 1.1, "PyTorch": 1.0}),
)


@dataclass(frozen=True)
class Problem:
    """The arrays of a step: a batch, its targets and the initial parameters."""

    inputs: Array
    targets: Array
    weights: list[Array]
    biases: list[Array]
    rate: float = LEARNING_RATE

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

    def start(self) -> Array:
        """θ before the first step: w¹, b¹, w², b², … concatenated."""
        return flat(self.weights, self.biases)


def flat(weights: list[Array], biases: list[Array]) -> Array:
    """The parameters of all layers as one vector, in the order that chainrule uses."""
    pairs = zip(weights, biases, strict=True)
    return np.concatenate([part.ravel() for pair in pairs for part in pair])
