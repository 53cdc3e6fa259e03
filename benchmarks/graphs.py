"""The cost of graphs: a chain as a Graph, a residual network, and chains of many nodes.

    ratio = (a step of the chain as a Graph)/(a step of the same Sequential)

Both run the same plan of steps, so the ratio should be close to 1. The time per node, for building
and for a step, is measured for chains of ten to ten thousand nodes: if it stays constant, the total
time is proportional to the number of nodes.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks import contenders
from benchmarks.race import Length, Result, race
from benchmarks.workloads import DTYPES, WORKLOADS, Workload

CHAINS = tuple(
    Workload(w.name, w.widths, w.batch, {"chainrule": bound})
    for w in WORKLOADS
    for name, bound in (("tiny", 1.1), ("wide", 1.02))
    if w.name == name
)
"""Bounds for the time of a Graph, divided by that of a Sequential."""

RESIDUAL = Workload(
    "residual", (64,) * 21, 128, {contenders.RESIDUAL_PEER: 0.6}, scale=0.1, rate=1e-4
)
"""Ten blocks x + F(x), each with two Dense layers of 64."""

NODES = (10, 100, 1000, 10_000)


@dataclass
class Growth:
    """Seconds per node, by the length of the chain: for building it and for one training step."""

    build: dict[int, float] = field(default_factory=dict)
    step: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """All results about graphs."""

    chains: list[Result]
    residual: list[Result]
    growth: Growth


def measure(length: Length, seen: Callable[[], None], quick: bool = False) -> Measured:
    """Run the races, then measure the growth with the number of nodes."""
    chains = [
        race(workload, dtype, [contenders.GRAPH, "chainrule"], length, seen)
        for dtype in DTYPES
        for workload in CHAINS
    ]
    residual = []
    if "PyTorch" in contenders.available():
        names = [contenders.RESIDUAL, contenders.RESIDUAL_PEER]
        residual = [race(RESIDUAL, dtype, names, length, seen) for dtype in DTYPES]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        growth = pool.apply(growth_with_nodes, (3 if quick else 9,))
    seen()
    return Measured(chains, residual, growth)


def growth_with_nodes(rounds: int) -> Growth:
    """Return medians over several rounds; each round measures every length once."""
    building: dict[int, list[float]] = {nodes: [] for nodes in NODES}
    stepping: dict[int, list[float]] = {nodes: [] for nodes in NODES}
    for _ in range(rounds):
        for nodes in NODES:
            built, stepped = _build_and_step(nodes)
            building[nodes].append(built / nodes)
            stepping[nodes].append(stepped / nodes)
    return Growth(
        {nodes: float(np.median(times)) for nodes, times in building.items()},
        {nodes: float(np.median(times)) for nodes, times in stepping.items()},
    )


def _build_and_step(nodes: int) -> tuple[float, float]:
    """Seconds for creating and building a chain of Dense and Activation, and for one step."""
    from chainrule import Activation, Dense, Graph, Input

    batch = np.ones((1, 2))
    began = time.perf_counter()
    node = x = Input((2,))
    for number in range(nodes):
        node = (Activation("tanh") if number % 2 else Dense(2))(node)
    model = Graph(x, node)
    model.build(rng=0)
    built = time.perf_counter() - began
    _step(model, batch)  # the first step makes the plan
    steps = max(1, 2000 // nodes)
    began = time.perf_counter()
    for _ in range(steps):
        _step(model, batch)
    return built, (time.perf_counter() - began) / steps


def _step(model, batch) -> None:  # type: ignore[no-untyped-def]
    parameters = model.parameters
    parameters.zero_grad()
    model.backward_parameters(model.forward(batch))
    parameters.value -= 1e-3 * parameters.grad
