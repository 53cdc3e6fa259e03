"""The contenders by name, and which of them are available in this environment."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec
from typing import Any, Protocol

from benchmarks.workloads import Array


class Contender(Protocol):
    """One implementation of the step: created from a problem; `step` returns the cost C.

    If a call of `step` is a whole epoch, ``steps`` says of how many steps, and ``first_steps``
    takes single ones on the batch of the problem and returns their costs.
    """

    def step(self) -> float: ...

    def flat_parameters(self) -> Array: ...


LIMIT = "for speed alone"
REQUIRED = {
    "chainrule": "numpy",
    "by hand": "numpy",
    LIMIT: "numpy",
    "lecture": "numpy",
}
PEERS = {"PyTorch": "torch", "JAX": "jax"}
"""Each contender with the library that does its arithmetic."""
WAITING = ("JAX",)
"""Those whose threads wait for each other, and leave their CPU idle meanwhile."""

GRAPH, RESIDUAL, RESIDUAL_PEER = "as a Graph", "residual", "residual in PyTorch"
ADAM, ADAM_PEER, ADAM_FUSED = "Adam", "Adam in PyTorch", "Adam in PyTorch, fused"
FIT, FIT_PEER, FIT_FUSED = "Trainer.fit", "a loop in PyTorch", "a loop in PyTorch, fused"
LAYER, LAYER_PEER = "a layer", "the layer in PyTorch"
OURS = {
    "chainrule": "sigmoid_network",
    GRAPH: "sigmoid_graph",
    RESIDUAL: "residual_network",
}
"""Networks of layers, each with the function in `benchmarks.ours` that creates it."""


def available() -> list[str]:
    return [*REQUIRED, *(name for name, module in PEERS.items() if find_spec(module))]


def in_fit(fused: bool = False) -> list[str]:
    """`Trainer.fit` and its available peers."""
    peers = [FIT_PEER, FIT_FUSED] if fused else [FIT_PEER]
    return [FIT, *(peers if "PyTorch" in available() else [])]


def version(name: str) -> str:
    """``"torch 2.13.0"``, or ``"not installed"``."""
    distribution = {**REQUIRED, **PEERS}[name]
    try:
        return f"{distribution} {metadata.version(distribution)}"
    except metadata.PackageNotFoundError:
        return "not installed"


def make(name: str, problem: Any) -> Contender:
    """Create the contender of that name, before its first step."""
    # Imported here, so that a contender's process does not load the libraries of the others.
    if name == "by hand":
        from benchmarks.by_hand import ByHand

        return ByHand(problem)
    if name == LIMIT:
        from benchmarks.for_speed_alone import ForSpeedAlone

        return ForSpeedAlone(problem)
    if name == "lecture":
        from benchmarks.ours import Lecture

        return Lecture(problem)
    if name in (*OURS, FIT):
        from benchmarks import ours

        if name == FIT:
            return ours.Fit(problem)
        return ours.Layers(problem, getattr(ours, OURS[name]))
    if name in (ADAM, ADAM_PEER, ADAM_FUSED):
        from benchmarks import optimizers

        return {
            ADAM: optimizers.Adam,
            ADAM_PEER: optimizers.AdamOfPyTorch,
            ADAM_FUSED: optimizers.FusedAdamOfPyTorch,
        }[name](problem)
    if name in (LAYER, LAYER_PEER):
        contest = problem.contest
        return contest.ours(problem) if name == LAYER else contest.theirs(problem)  # type: ignore[no-any-return]
    from benchmarks import peers

    return {
        "PyTorch": peers.PyTorch,
        "JAX": peers.Jax,
        RESIDUAL_PEER: peers.PyTorchResidual,
        FIT_PEER: peers.Loop,
        FIT_FUSED: peers.FusedLoop,
    }[name](problem)
