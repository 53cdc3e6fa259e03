"""LSTM, GRU and RNN: the same steps with the weights in another order.

    ONNX      X (T, batch, F),  Y (T, directions, batch, units),  gates i o f c   and  z r h
    here      x (batch, T, F),  y (batch, T, units),              gates i f g o   and  r z n

The axes are only noted, the weights transposed once. A second direction is another layer of the
same kind, which sees the steps in reverse order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.core.layer import Layer
from chainrule.graph.node import Node
from chainrule.interop.onnx.reading.conversion import Outputs, Site
from chainrule.interop.onnx.reading.layers import ResetFirst
from chainrule.interop.onnx.reading.moving import refuse_large
from chainrule.interop.onnx.reading.values import RefusedError, Value
from chainrule.layers.merge import Concatenate
from chainrule.layers.recurrent import GRU, LSTM, Recurrent, SimpleRNN
from chainrule.layers.reshape import Reshape, Slice
from chainrule.layers.wrappers import Scan

FloatArray = npt.NDArray[Any]

KINDS: dict[str, tuple[type[Recurrent], list[int], list[str]]] = {
    "LSTM": (LSTM, [0, 2, 3, 1], ["Sigmoid", "Tanh", "Tanh"]),
    "GRU": (GRU, [1, 0, 2], ["Sigmoid", "Tanh"]),
    "RNN": (SimpleRNN, [0], ["Tanh"]),
}
"""For each operator our layer, the number that each of our gates has in ONNX, and what it uses."""


def recurrent(site: Site) -> Outputs:
    """`LSTM`, `GRU` or `SimpleRNN`, in one or both directions."""
    kind, gates, functions = KINDS[site.operator]
    value = site.value()
    time, batch = (1, 0) if site.attributes.get("layout", 0) else (0, 1)
    if value.rank != 3:
        raise RefusedError(f"its data have {value.rank} axes")
    if value.batch != batch:
        raise RefusedError(
            f"the batch is axis {batch} of its data; load(…, batch_axes={{name: {batch}}}) says "
            "so, if it is that of an input"
        )
    _refuse_options(site, functions, time, value)
    if isinstance(value.sizes[time], int):
        refuse_large(value.sizes[time], 2**14)  # type: ignore[arg-type]
    w, r = site.array(1, "weights"), site.array(2, "recurrent weights")
    count = {"forward": 1, "reverse": 1, "bidirectional": 2}.get(
        site.attributes.get("direction", "forward")
    )
    if count is None or w.ndim != 3 or r.ndim != 3 or len(w) != count or len(r) != count:
        raise RefusedError(f"weights of shape {w.shape} and {r.shape}")
    units = r.shape[2]
    if w.shape[1] != len(gates) * units or r.shape[1] != len(gates) * units:
        raise RefusedError(f"weights of shape {w.shape} and {r.shape}")
    biases = site.optional_array(3, "biases")
    if biases is None:
        biases = np.zeros((count, 2 * len(gates) * units), site.dtype)
    biases = np.reshape(biases, (count, 2, len(gates) * units))
    resets_first = site.operator == "GRU" and not site.attributes.get("linear_before_reset", 0)
    x = site.rows(value, [time, 2])
    is_reverse = site.attributes.get("direction", "forward") == "reverse"
    sequences, lasts = [], []
    for number in range(count):
        arrays = _arrays(w[number], r[number], biases[number], gates, site.operator)
        make: Callable[..., Layer] = functools.partial(kind, units)
        if resets_first:
            arrays["biases"] = arrays["biases"] + arrays.pop("recurrent_biases")
            arrays = {f"cell.{name}": array for name, array in arrays.items()}
            make = functools.partial(Scan, ResetFirst(units))
        backward = is_reverse or number == 1
        all_of_it, last = _direction(site, make, units, x, arrays, backward)
        sequences.append(all_of_it)
        lasts.append(last)
    return _outputs(site, value, sequences, lasts, units)


def _refuse_options(site: Site, functions: list[str], time: int, value: Value) -> None:
    given = site.attributes.get("activations") or functions
    if any(one.lower() != functions[n % len(functions)].lower() for n, one in enumerate(given)):
        raise RefusedError(f"activations={given}")
    for name in ("clip", "input_forget"):
        if site.attributes.get(name, 0):
            raise RefusedError(f"{name}={site.attributes[name]}")
    lengths = site.constant(4, "lengths")
    if lengths is not None and set(np.ravel(lengths.array).tolist()) != {value.sizes[time]}:
        raise RefusedError("its sequences have lengths of their own")
    for number, what in ((5, "initial state"), (6, "initial cell"), (7, "peepholes")):
        constant = site.constant(number, what)
        if constant is not None and (constant.array.dtype == object or np.any(constant.array)):
            raise RefusedError(f"it has {what}s other than 0")


def _arrays(
    w: FloatArray, r: FloatArray, biases: FloatArray, gates: list[int], operator: str
) -> dict[str, FloatArray]:
    def ordered(array: FloatArray) -> FloatArray:
        parts = np.split(array, len(gates))
        return np.concatenate([parts[n] for n in gates])

    arrays = {"weights": ordered(w).T, "recurrent_weights": ordered(r).T}
    if operator == "GRU":
        return {**arrays, "biases": ordered(biases[0]), "recurrent_biases": ordered(biases[1])}
    return {**arrays, "biases": ordered(biases[0]) + ordered(biases[1])}


def _direction(
    site: Site,
    make: Callable[..., Layer],
    units: int,
    x: Node,
    arrays: dict[str, FloatArray],
    backward: bool,
) -> tuple[Node | None, Node | None]:
    """The outputs of all steps, and that of the last, of one direction; None if not used."""
    uses_all = bool(site.outputs[0]) if site.outputs else False
    uses_last = len(site.outputs) > 1 and bool(site.outputs[1])
    turned = Slice(None, None, -1, axis=1)
    if backward:
        x = site.call(turned, x)
    if not uses_all:
        return None, site.call(make(), x, **arrays)
    steps = site.call(make(return_sequences=True), x, **arrays)
    last = site.call(Slice(-1, None, axis=1), steps) if uses_last else None
    if last is not None:
        last = site.call(Reshape((units,)), last)
    return (site.call(Slice(None, None, -1, axis=1), steps) if backward else steps), last


def _outputs(
    site: Site,
    value: Value,
    sequences: list[Node | None],
    lasts: list[Node | None],
    units: int,
) -> Outputs:
    site.refuse_outputs(2)
    is_batch_first = bool(site.attributes.get("layout", 0))
    both = len(sequences) == 2

    def joined(nodes: list[Node | None], shape: tuple[int, ...]) -> Node | None:
        found = [node for node in nodes if node is not None]
        if len(found) < 2:
            return found[0] if found else None
        return site.call(Reshape(shape), site.call(Concatenate(), *found))

    if both:
        all_axes = (0, 1, 2, 3) if is_batch_first else (1, 2, 0, 3)
        last_axes: tuple[int | None, ...] = (0, 1, 2) if is_batch_first else (1, 0, 2)
        steps: Any = (0, 1, 2, 3)
    else:
        all_axes = (0, 1, None, 2) if is_batch_first else (1, None, 0, 2)  # type: ignore[assignment]
        last_axes = (0, None, 1) if is_batch_first else (None, 0, 1)
    length = value.row[value.order.index(1 if is_batch_first else 0)]
    steps = joined(sequences, (-1 if length is None else length, 2, units))
    last = joined(lasts, (2, units))
    return [
        None if steps is None else Value(steps, all_axes, value.dtype),
        None if last is None else Value(last, last_axes, value.dtype),
    ]
