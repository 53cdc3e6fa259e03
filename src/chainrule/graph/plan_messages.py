"""Error messages of a plan: what went wrong, in which layer, and with which inputs.

A layer that fails knows nothing about the model around it. The functions here add the place, such
as ``graph/residual_1/dense_2``, and the names of the layers that produced its inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.core.arrays import write_error
from chainrule.core.errors import (
    BackwardBeforeForwardError,
    ChainruleError,
    DefinitionError,
    ShapeError,
)
from chainrule.core.input_checks import admit, unfitting_delta
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of, label
from chainrule.core.types import Shape

if TYPE_CHECKING:
    from chainrule.graph.unrolling import PlanStep


def with_location(
    error: Exception,
    layer: Layer,
    place: str,
    method: str,
    given: Sequence[Any],
    sources: Sequence[str] = (),
) -> Exception:
    """The error with its place; if its cause is a wrong input, a named error instead.

    Parameters
    ----------
    error, layer, place
        What a layer raised, and where the layer is.
    method
        Which method raised it: ``forward``, ``apply`` or ``backward``.
    given, sources
        The arguments of the method, and the names of the layers that produced them.
    """
    if not isinstance(error, ChainruleError) and method != "backward":
        try:
            admit(layer, tuple(given))
        except ChainruleError as named:
            named.__cause__, error = error, named
    shapes = [np.shape(value) for value in given]
    error = write_error(error) or error
    if not isinstance(error, ChainruleError):
        given_as = "deltas" if method == "backward" else "inputs"
        described = ", ".join(map(str, shapes))
        error.add_note(f"in {place}.{method}, for {given_as} of shape {described}")
        return error
    if isinstance(error, ShapeError) and error.place is None:
        if len(sources) == 1:
            error.received = f"{error.received}, produced by {sources[0]}"
        elif sources:
            pairs = zip(map(_described_shape, shapes), sources, strict=True)
            error.received = ", ".join(f"{shape} produced by {source}" for shape, source in pairs)
    return error.within(place)


def _described_shape(shape: Shape) -> str:
    return batch_of(shape[1:]) if shape[:1] == (0,) else str(shape)


# ---------------------------------------------------------------- deltas that do not fit


class UnequalDeltasError(Exception):
    """Two deltas of one value cannot be added: the sum so far, and the next delta."""

    def __init__(self, slot: int, total: Any, delta: Any) -> None:
        super().__init__()
        self.slot, self.total, self.delta = slot, total, delta


def unfitting(
    steps: Sequence[PlanStep], step: PlanStep, delta: Any
) -> tuple[PlanStep, ChainruleError]:
    """The step that sent a delta of the wrong shape to this step, and the error for it."""
    expected = step.layer.__dict__.get("_delta_shape")
    senders = [other for other in steps if not set(other.takes).isdisjoint(step.makes)]
    if expected is None or not senders:  # no forward pass, or a delta from outside the model
        return step, unfitting_delta(step.layer, delta)
    return senders[-1], _wrong_delta(senders[-1], expected, delta)


def unequal(
    steps: Sequence[PlanStep], sender: PlanStep, deltas: UnequalDeltasError
) -> tuple[PlanStep, ChainruleError]:
    """The same if several steps took one value: the step whose delta has the wrong shape."""
    slot, delta, expected = deltas.slot, deltas.delta, np.shape(deltas.total)
    for step in steps:
        if slot in step.makes:
            recorded: Any = step.layer.__dict__.get("_delta_shape")
            expected = recorded if len(step.makes) == 1 else recorded[step.makes.index(slot)]
    if getattr(delta, "shape", None) == expected:  # then an earlier delta is wrong
        delta = deltas.total
        later = steps[steps.index(sender) + 1 :]
        sender = next((step for step in later if slot in step.takes), sender)
    return sender, _wrong_delta(sender, expected, delta)


def _wrong_delta(step: PlanStep, expected: Any, delta: Any) -> ChainruleError:
    return ShapeError(
        f"{label(step.layer)}: backward returns a delta that does not have the shape of the input",
        expected=expected if expected else "an array of the shape of the input",
        received=_described_delta(delta),
        hint="return ∂C/∂x = Jᵀ Δ, which has the shape of x",
    )


def wrong_number_of_deltas(count: int, sent: Any) -> ChainruleError:
    """The error for a `backward` that does not return one delta for each of its inputs."""
    return DefinitionError(
        "backward must return one delta for each input of forward",
        expected=f"a tuple of {count} arrays",
        received=_described_delta(sent),
        hint="return delta_1, delta_2" if not isinstance(sent, list) else "return tuple(…)",
    )


def _described_delta(delta: Any) -> str:
    if delta is None:
        return "None: is the return missing?"
    if isinstance(delta, list | tuple):
        return f"a {type(delta).__name__} of {len(delta)}"
    return f"an array of shape {np.shape(delta)}"


# ---------------------------------------------------------------- invalid uses of a model


def used_in_between(layer: Layer, place: str) -> ChainruleError:
    """The error for `backward` after a layer of the model was called outside the model."""
    return BackwardBeforeForwardError(
        f"{label(layer)} was called outside the model since the model's last forward pass",
        place=place,
        expected="backward right after the model's forward",
        received="a call of the layer's own forward in between",
        hint="call a twin instead, layer.twin(), or call model.forward(x) again",
    )


def no_such_output(what: str, output: int, count: int, path: str) -> ChainruleError:
    """The error for ``node[2]`` of a layer that has two outputs."""
    return DefinitionError(
        f"{what} has no output {output}",
        place=path or None,
        expected=f"{what}[0]" + (f" to {what}[{count - 1}]" if count > 1 else ""),
        received=f"{what}[{output}]",
        hint="to slice rows, call Slice(start, stop) on the node",
    )
