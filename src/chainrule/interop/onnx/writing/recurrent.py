"""Loops over time: LSTM, GRU and RNN are nodes; any other cell is a Scan with a graph inside.

    h_t = f(x_t, h_{t−1})        Scan, with the nodes of f as its body, for any number of steps

Traced like any other code, a loop would become as many copies of a step as the sequence has, and
its length would be fixed. A training pass, whose `backward` needs what every step remembers, is
written that way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.interop.onnx.writing.moving import filled, reshaped, transposed
from chainrule.interop.onnx.writing.sizes import Size
from chainrule.interop.onnx.writing.traced import Trace, Traced, as_traced, converted, refused
from chainrule.interop.onnx.writing.writer import Body, described, names_in
from chainrule.layers.recurrent import GRU, LSTM, Recurrent, SimpleRNN
from chainrule.layers.wrappers import Scan

KINDS: dict[type[Recurrent], tuple[str, tuple[int, ...]]] = {
    SimpleRNN: ("RNN", (0,)),
    LSTM: ("LSTM", (0, 3, 1, 2)),
    GRU: ("GRU", (1, 0, 2)),
}
"""The node of a layer, and the order of its gates, counted as in the layer."""


def _recurrent(
    trace: Trace, layer: Any, x: Any, mask: Any = None, *, remembers: bool = False
) -> Any:
    """`Recurrent._through_time` as one node; with a mask, as a loop of the layer's own steps."""
    _require_length(trace, x, remembers)
    if remembers:
        return NotImplemented
    x = as_traced(trace, x)
    carried = [layer._buffers[name] for name in layer.states if layer.stateful]
    if any(state.value.size for state in carried):
        raise refused(
            trace,
            "a file cannot carry a state from batch to batch",
            "model.reset() begins new sequences, as the file does in each call",
            "a layer without a carried state",
        )
    kind = KINDS.get(type(layer))
    if mask is not None or kind is None:
        return _with_mask(trace, layer, x, mask), (), None
    return _one_node(trace, layer, x, *kind), (), None


def _require_length(trace: Trace, x: Any, remembers: bool) -> None:
    if remembers and isinstance(x.shape[1], Size):
        raise refused(
            trace,
            f"the backward pass of a recurrent layer over an axis of open length: {x.shape[1]}",
            "build the model for sequences of a fixed length, such as build((50, 3))",
            "sequences of a fixed length",
        )


def _one_node(trace: Trace, layer: Any, x: Traced, kind: str, order: tuple[int, ...]) -> Traced:
    batch, steps, _ = x.shape
    units = layer.units
    rows = np.concatenate([np.arange(n * units, (n + 1) * units) for n in order])
    matrices = [
        np.expand_dims(_in_order(np.transpose(p.value), rows, order), 0)
        for p in (layer.weights, layer.recurrent_weights)
    ]
    inner = getattr(layer, "recurrent_biases", None)
    biases = [_in_order(p.value, rows, order) for p in (layer.biases, inner) if p is not None]
    if inner is None:
        biases.append(np.zeros_like(biases[0]))
    inputs: list[Any] = [
        transposed(x, (1, 0, 2)),
        *matrices,
        np.expand_dims(np.concatenate(biases), 0),
    ]
    options: dict[str, Any] = {"linear_before_reset": 1} if kind == "GRU" else {}
    all_steps, last = trace.add(
        kind, [part.name for part in inputs], 2, hidden_size=units, **options
    )
    if not layer.return_sequences:
        return reshaped(Traced(trace, last, (1, batch, units), x.dtype), (batch, units))
    hidden = Traced(trace, all_steps, (steps, 1, batch, units), x.dtype)
    return transposed(reshaped(hidden, (steps, batch, units)), (1, 0, 2))


def _in_order(part: Any, rows: Any, order: tuple[int, ...]) -> Any:
    return part if order == tuple(range(len(order))) else np.take(part, rows, axis=0)


def _with_mask(trace: Trace, layer: Any, x: Any, mask: Any) -> Any:
    """A Scan of the layer's own steps, as `Recurrent._through_time` has them."""
    batch, _, features = x.shape
    scale = np.repeat(np.array(layer.scales, x.dtype), layer.units)
    w = np.concatenate([layer.weights.value, layer._input_biases()[np.newaxis]]) * scale
    w = np.transpose(w)
    u = np.transpose(layer.recurrent_weights.value * scale)
    zeros = filled(trace, (layer.units, batch), 0, x.dtype)
    sequences: list[tuple[Any, int]] = [(transposed(x, (1, 2, 0)), 0)]  # (T, F, batch)
    if mask is not None:
        sequences.append((np.transpose(np.not_equal(mask, 0)), 0))

    def step(states: Sequence[Traced], x_t: Traced, used: Traced | None = None) -> Any:
        if used is not None:  # padding may be anything
            x_t = np.where(used, x_t, 0)  # type: ignore[assignment]
        z = np.dot(w[:, :features], x_t) + w[:, features:]
        new, _ = layer._step(z, tuple(states), u)
        if used is not None:
            new = tuple(np.where(used, *pair) for pair in zip(new, states, strict=True))
        return new, [new[0]]

    last, (hidden,) = scan(trace, step, [zeros] * len(layer.states), sequences)
    if layer.return_sequences:
        return transposed(hidden, (2, 0, 1))
    return transposed(last[0], (1, 0))


def _scan(trace: Trace, layer: Any, x: Any, mask: Any = None, *, calls: Any = None) -> Any:
    """`Scan._through_time`."""
    _require_length(trace, x, calls is not None)
    if calls is not None:
        return NotImplemented
    x = as_traced(trace, x)
    batch, _, *rest = x.shape
    hidden_shape = layer.hidden_shape
    h = filled(trace, (batch, *hidden_shape), 0, x.dtype)
    sequences: list[tuple[Any, int]] = [(x, 1)]
    if mask is not None:
        sequences.append((np.not_equal(mask, 0), 1))

    def step(states: Sequence[Traced], x_t: Traced, used: Traced | None = None) -> Any:
        (h,) = states
        if used is None:
            new = layer.cell.apply(x_t, h)
            return [new], [new]
        of_x, of_h = (reshaped(used, (batch, *[1] * len(s))) for s in (rest, hidden_shape))
        new = layer.cell.apply(np.where(of_x, x_t, 0), h)
        new = np.where(of_h, new, h)
        return [new], [new]

    last, (hidden,) = scan(trace, step, [h], sequences)
    return np.swapaxes(hidden, 0, 1) if layer.return_sequences else last[0]


def scan(
    trace: Trace,
    step: Callable[..., tuple[Sequence[Any], Sequence[Any]]],
    states: Sequence[Traced],
    sequences: Sequence[tuple[Traced, int]],
) -> tuple[list[Traced], list[Traced]]:
    """A loop in the file, for any number of steps.

    Parameters
    ----------
    step
        ``step(states, *entries)`` returns the new states and the outputs of a step.
    states
        The first states.
    sequences
        Arrays, each with the axis that is time.

    Returns
    -------
    last, outputs
        The last states, and the outputs of all steps, with time as the first axis.
    """
    writer = trace.writer
    writer.place = trace.place()
    inner = [Traced(trace, writer.new_name("state"), s.shape, s.dtype) for s in states]
    entries = [
        Traced(trace, writer.new_name("entry"), (*x.shape[:axis], *x.shape[axis + 1 :]), x.dtype)
        for x, axis in sequences
    ]
    given = [part.name for part in (*inner, *entries)]
    outside, writer.steps = writer.steps, []
    try:
        new, outputs = step(inner, *entries)
        made: list[Any] = []
        for part, like in zip((*new, *outputs), (*states, *new[: len(outputs)]), strict=False):
            part = converted(as_traced(trace, part, like.dtype), like.dtype)
            if (
                part.name in given
                or part.name in [m.name for m in made]
                or not any(part.name in s.outputs for s in writer.steps)
            ):
                part = Traced(trace, trace.add("Identity", [part.name]), part.shape, part.dtype)
            made.append(part)
        steps = writer.steps
    finally:
        writer.steps = outside
    inside, taken = [], set(given)
    for one in steps:  # what does not depend on the time is computed once
        if taken.isdisjoint(names_in(one)):
            writer.steps.append(one)
        else:
            inside.append(one)
            taken.update(one.outputs)
    for part in made:
        if not any(part.name in one.outputs for one in inside):
            part._name = writer.add("Identity", [part.name])
            inside.append(writer.steps.pop())
    body = Body(
        f"{trace.place()}/step",
        given,
        [part.name for part in made],
        [described(p.name, p.dtype, p.shape) for p in (*inner, *entries)],
        [described(p.name, p.dtype, p.shape) for p in made],
        inside,
    )
    count, length = len(states), sequences[0][0].shape[sequences[0][1]]
    # With time first: onnx.reference knows no other axis.
    along = [
        transposed(x, (axis, *(n for n in range(x.ndim) if n != axis))) for x, axis in sequences
    ]
    names = trace.add(
        "Scan",
        [part.name for part in (*states, *along)],
        len(made),
        body=body,
        num_scan_inputs=len(sequences),
    )
    last = [Traced(trace, n, s.shape, s.dtype) for n, s in zip(names, states, strict=False)]
    return last, [
        Traced(trace, n, (length, *p.shape), p.dtype)
        for n, p in zip(names[count:], made[count:], strict=True)
    ]


OPERATIONS: dict[Any, Callable[..., Any]] = {
    Recurrent._through_time: _recurrent,
    Scan._through_time: _scan,
}
"""The rules of the loops of layers."""
