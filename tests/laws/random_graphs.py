"""Graphs drawn by hypothesis: a plan on paper, which chainrule and PyTorch both build.

A drawing is a list of calls. Each says what is called and on which of the earlier values; layers
may be called again, containers contain drawings of their own. All rows have the same width but
for those that Concatenate makes, behind which a Dense brings them back.
"""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
from attrs import frozen

from chainrule import (
    Activation,
    Add,
    Average,
    Branches,
    Concatenate,
    Dense,
    Graph,
    Input,
    Multiply,
    Residual,
    Sequential,
    Subtract,
)

SMOOTH = ("tanh", "sigmoid", "sin", "softplus")
MERGES = {"add": Add, "subtract": Subtract, "multiply": Multiply, "average": Average}


@frozen
class Call:
    """What is called, on which values; ``again`` is the number of an earlier call of the layer."""

    kind: str
    sources: tuple[int, ...]
    what: Any = None
    again: int | None = None


@frozen
class Drawing:
    """Values 0 … inputs−1 come in; each call makes one more; those in ``outputs`` go out."""

    width: int
    inputs: int
    calls: tuple[Call, ...]
    outputs: tuple[int, ...]


@st.composite
def drawings(draw: Any, depth: int = 1, width: int | None = None, ends: bool = True) -> Drawing:
    """A graph with fan-out, shared layers, containers, several inputs and outputs."""
    width = draw(st.integers(1, 3)) if width is None else width
    inputs = draw(st.integers(1, 3)) if ends else 1
    calls: list[Call] = []
    kinds = ["dense", "activation", "merge", "concatenate", "again"]
    if depth:
        kinds += ["graph", "residual", "branches", "sequential"]
    for _ in range(draw(st.integers(1, 6))):
        made = inputs + len(calls)
        value = st.integers(0, made - 1)
        kind = draw(st.sampled_from(kinds))
        denses = [n for n, call in enumerate(calls) if call.kind in ("dense", "graph")]
        if kind == "again" and denses:
            number = draw(st.sampled_from(denses))
            calls.append(Call("again", (draw(value),), again=number))
        elif kind == "activation":
            calls.append(Call(kind, (draw(value),), draw(st.sampled_from(SMOOTH))))
        elif kind == "merge":
            name = draw(st.sampled_from(sorted(MERGES)))
            count = 2 if name == "subtract" else draw(st.integers(2, 3))
            calls.append(Call(kind, tuple(draw(value) for _ in range(count)), name))
        elif kind == "concatenate":
            calls.append(Call(kind, tuple(draw(value) for _ in range(2))))
        elif kind in ("graph", "residual", "branches", "sequential"):
            inner = draw(drawings(depth=depth - 1, width=width, ends=False))
            calls.append(Call(kind, (draw(value),), inner))
        else:
            calls.append(Call("dense", (draw(value),)))
    made = inputs + len(calls)
    # Every input has to lead somewhere: what nothing takes goes out.
    taken = {source for call in calls for source in call.sources}
    outputs = [n for n in range(made) if n not in taken]
    if ends and draw(st.booleans()):
        outputs.append(draw(st.integers(0, made - 1)))
    if not ends and len(outputs) > 1:
        calls.append(Call("merge", tuple(outputs), "add"))
        outputs = [made]
    return Drawing(width, inputs, tuple(calls), tuple(outputs))


def as_graph(drawing: Drawing) -> Graph:
    """What a person would write for it."""
    values: list[Any] = [Input((drawing.width,)) for _ in range(drawing.inputs)]
    layers: dict[int, Any] = {}
    for number, call in enumerate(drawing.calls):
        given = [values[source] for source in call.sources]
        width = drawing.width
        if call.kind == "again":
            values.append(layers[call.again](*given))
            continue
        if call.kind == "concatenate":
            values.append(Dense(width)(Concatenate()(*given)))
            continue
        layers[number] = _layer(call, width)
        values.append(layers[number](*given))
    inputs, outputs = values[: drawing.inputs], [values[n] for n in drawing.outputs]
    return Graph(inputs, outputs)


def _layer(call: Call, width: int) -> Any:
    match call.kind:
        case "dense":
            return Dense(width)
        case "activation":
            return Activation(call.what)
        case "merge":
            return MERGES[call.what]()
        case "residual":
            return Residual(as_graph(call.what), Activation("tanh"))
        case "branches":
            return Branches([as_graph(call.what), Dense(width)], Add())
        case "sequential":
            return Sequential([as_graph(call.what), Dense(width)])
    return as_graph(call.what)


def in_torch(torch: Any, drawing: Drawing, inputs: list[Any], parameters: Any) -> list[Any]:
    """The outputs for tensors, with the parameters taken by ``parameters(path)`` as they come.

    Parameters
    ----------
    parameters
        A function that gives the weights and the biases of the n-th Dense, in the order of calls
        within each drawing; called as ``parameters(key)`` with a key of numbers.
    """
    functions = {
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "sin": torch.sin,
        "softplus": torch.nn.functional.softplus,
    }

    def dense(key: tuple[Any, ...], x: Any) -> Any:
        w, b = parameters(key, x.shape[1], drawing.width)
        return x @ w + b

    def run(drawing: Drawing, values: list[Any], key: tuple[Any, ...]) -> list[Any]:
        values = list(values)
        for number, call in enumerate(drawing.calls):
            given = [values[source] for source in call.sources]
            values.append(evaluate(drawing, number, call, given, key))
        return [values[n] for n in drawing.outputs]

    def evaluate(
        drawing: Drawing, number: int, call: Call, given: list[Any], key: tuple[Any, ...]
    ) -> Any:
        own = (*key, number)
        if call.kind == "again":
            original = drawing.calls[call.again]
            return evaluate(drawing, call.again, original, given, key)
        if call.kind == "dense":
            return dense(own, given[0])
        if call.kind == "activation":
            return functions[call.what](given[0])
        if call.kind == "concatenate":
            return dense(own, torch.cat(given, dim=1))
        if call.kind == "merge":
            total = given[0]
            for other in given[1:]:
                total = {
                    "add": torch.add,
                    "average": torch.add,
                    "subtract": torch.sub,
                    "multiply": torch.mul,
                }[call.what](total, other)
            return total / len(given) if call.what == "average" else total
        (inner,) = run(call.what, given, (*own, "inner"))
        if call.kind == "residual":
            return given[0] + torch.tanh(inner)
        if call.kind == "branches":
            return inner + dense((*own, "side"), given[0])
        if call.kind == "sequential":
            return dense((*own, "behind"), inner)
        return inner

    return run(drawing, inputs, ())


def own_parameters(drawing: Drawing, model: Graph, key: tuple[Any, ...] = ()) -> dict[Any, Any]:
    """Which Dense of the model belongs to which call of the drawing, by the same keys."""
    found: dict[Any, Any] = {}
    layers = dict(enumerate(_in_the_order_of_the_drawing(drawing, model)))
    for number, call in enumerate(drawing.calls):
        layer, own = layers[number], (*key, number)
        if layer is None or call.kind in ("again", "activation", "merge"):
            continue
        if call.kind in ("dense", "concatenate"):
            found[own] = layer
        else:
            parts = {
                "graph": lambda layer=layer: (layer, None),
                "residual": lambda layer=layer: (layer.layers[0], None),
                "branches": lambda layer=layer: layer.branches,
                "sequential": lambda layer=layer: layer.layers,
            }[call.kind]()
            found |= own_parameters(call.what, parts[0], (*own, "inner"))
            if call.kind in ("branches", "sequential"):
                found[(*own, {"branches": "side", "sequential": "behind"}[call.kind])] = parts[1]
    return found


def _in_the_order_of_the_drawing(drawing: Drawing, model: Graph) -> list[Any]:
    """The layer of each call; None for calls that no output needs.

    A graph may go through its layers in another order than they were called in, so they are
    found by following the wires back from the outputs.
    """
    layers: list[Any] = [None] * len(drawing.calls)
    stack = list(zip(drawing.outputs, model.tails, strict=True))
    while stack:
        value, (node, _) = stack.pop()
        if value < drawing.inputs:
            continue
        call = drawing.calls[value - drawing.inputs]
        layer, wires = model.layers[node - 1], model.wires[node - 1]
        if call.kind == "concatenate":  # a Dense behind it, which is what was noted
            layers[value - drawing.inputs] = layer
            wires = model.wires[wires[0][0] - 1]
        elif call.kind == "again":
            layers[call.again] = layer
        else:
            layers[value - drawing.inputs] = layer
        stack.extend(zip(call.sources, wires, strict=True))
    return layers


def random_inputs(drawing: Drawing, rows: int, seed: int) -> tuple[Any, ...]:
    """Numbers for all inputs."""
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=(rows, drawing.width)) for _ in range(drawing.inputs))
