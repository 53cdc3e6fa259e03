"""What is measured: four networks, and the numbers that every contender starts from.

    y ← σ(y w + b)  for each layer          C = ½⟨‖y − t‖²⟩          θ ← θ − η ∂C/∂θ

One training step is this, on a batch that stays the same. The targets are no values that σ takes
only far out, so that however many steps a contender takes, its numbers remain ordinary ones.
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
    """A network by the widths of its layers, and how large the ratios to the others may be.

    ``scale`` makes the weights that it starts from smaller, where many layers are added up, and
    ``rate`` is η, so that however many steps are taken the numbers remain ordinary ones.
    """

    name: str
    widths: tuple[int, ...]
    batch: int
    bounds: dict[str, float]
    scale: float = 1.0
    rate: float = LEARNING_RATE

    def __str__(self) -> str:
        return f"{self.name} {list(self.widths)}, batch {self.batch}"


WORKLOADS = (
    Workload("tiny", (2, 30, 20, 1), 100, {"by hand": 1.5, "PyTorch": 0.25}),
    Workload("lecture", (2, 150, 150, 100, 1), 200, {"by hand": 1.1, "PyTorch": 0.8}),
    Workload("mnist", (784, 256, 128, 10), 128, {"by hand": 1.1, "PyTorch": 0.8}),
    Workload("wide", (784, 1024, 1024, 10), 256, {"by hand": 1.1, "PyTorch": 1.0}),
)


@dataclass(frozen=True)
class Problem:
    """The arrays that a step works on: a batch, its targets, and the parameters before step one."""

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
        """θ before the first step: w¹, b¹, w², b², … one behind the other."""
        return flat(self.weights, self.biases)


def flat(weights: list[Array], biases: list[Array]) -> Array:
    """The parameters of all layers as one vector, in the order in which chainrule has them."""
    pairs = zip(weights, biases, strict=True)
    return np.concatenate([part.ravel() for pair in pairs for part in pair])
