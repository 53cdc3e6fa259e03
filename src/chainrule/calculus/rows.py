"""Row by row: what each row of a batch alone adds to the gradient of the parameters.

The gradient of weights is a product that sums over the rows s of the batch,

    ∂C/∂w = Σ_s y_s Δ_sᵀ        of which row s adds y_s Δ_sᵀ

Leaving out the sum gives all rows in one backward pass (`apart`), if the layers add such products
with `Parameter.accumulate_product`, as `Dense` does. Otherwise each row takes its own pass
(`one_by_one`), which any layer allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from chainrule.calculus.jet_memory import innermost
from chainrule.calculus.replicas import Replica, RowReplica
from chainrule.core.input_checks import as_tuple, one_or_tuple
from chainrule.core.layer import Layer
from chainrule.core.types import Array

Deltas = Callable[[Any, slice], Iterator[Any]]
"""Given the output for some rows, and which rows these are: one delta after the other."""


def of_each(model: Layer, inputs: tuple[Array, ...], deltas: Deltas) -> Any:
    """J_θᵀ delta for each row and each delta: (batch, number of deltas, parameters.size)."""
    rows = apart(model, inputs, deltas)
    return one_by_one(model, inputs, deltas) if rows is None else rows


def apart(model: Layer, inputs: tuple[Array, ...], deltas: Deltas) -> Any:
    """The same with one backward pass for each delta. None if the layers do not allow it."""
    batch = len(inputs[0])
    replica = RowReplica(model, batch)
    y = replica.forward(*inputs)
    found: list[Any] = []
    for delta in deltas(y, slice(None)):
        replica.backward_parameters(delta)
        found.append(replica.take_rows())
        if found[-1] is None:
            return None
    if not found:
        return np.zeros((batch, 0, model.parameters.size), model.dtype)
    rows = found[0][:, np.newaxis] if len(found) == 1 else np.stack(found, axis=1)
    return rows if _are_rows(replica, y, deltas, rows) else None


def _are_rows(replica: RowReplica, y: Any, deltas: Deltas, rows: Any) -> bool:
    """Whether the rows were kept apart correctly.

    A product in a layer might sum over something else that has the size of the batch. So one more
    backward pass gives the sum over rows and deltas with random weights r,

        Σ_sn r_sn (J_θᵀ Δ_n)_s = J_θᵀ Σ_n (r_sn Δ_n)_s

    in which no layer keeps rows apart. If the rows are wrong, the two differ for almost every r.
    """
    (batch, count), dtype = rows.shape[:2], rows.dtype
    weights = np.random.default_rng(0).normal(size=(batch, count)).astype(dtype)
    total: list[Any] = [0] * len(as_tuple(y))
    for number, delta in enumerate(deltas(y, slice(None))):
        for n, part in enumerate(as_tuple(delta)):
            weight = weights[:, number].reshape(batch, *(1,) * (part.ndim - 1))
            total[n] = total[n] + weight * part
    replica.add_rows()
    replica.backward_parameters(one_or_tuple(total))
    together = innermost(replica.gradient())
    plain = innermost(rows).reshape(batch * count, together.size)
    weights = weights.reshape(-1)
    difference = np.abs(weights @ plain - together)
    size = np.abs(weights) @ np.abs(plain)
    start, tolerance = 0, np.sqrt(np.finfo(dtype).eps)
    for parameter in replica.parameters:
        window = slice(start, start + parameter.size)
        start += parameter.size
        limit = tolerance * size[window].max(initial=0)
        if not np.all(difference[window] <= limit):  # also if it is not a number
            return False
    return True


def row_size(model: Layer) -> int:
    """How many numbers a row of the output has, over all outputs; open axes count as one."""
    return sum(math.prod(n or 1 for n in shape) for shape in model.output_shapes)


def one_by_one(model: Layer, inputs: tuple[Array, ...], deltas: Deltas) -> Any:
    """The same from separate backward passes for each row."""
    batch, replica = len(inputs[0]), Replica(model)
    y = replica.forward(*inputs)
    # With other rows or random numbers in it, a row is not the same alone.
    is_alone = not has_state(model) and not coupled(model)
    found: list[Any] = []
    for row in range(batch):
        if is_alone:
            rows = slice(row, row + 1)
            its_deltas = deltas(replica.forward(*(x[rows] for x in inputs)), rows)
        else:
            its_deltas = _masked(deltas(y, slice(None)), row)
        for delta in its_deltas:
            replica.zero_grad()
            replica.backward_parameters(delta)
            found.append(replica.gradient())
    count = len(found) // batch if batch else sum(1 for _ in deltas(y, slice(None)))
    size = model.parameters.size
    if not found:
        return np.zeros((batch, count, size), model.dtype)
    return np.stack(found).reshape(batch, count, size)


def _masked(deltas: Iterator[Any], row: int) -> Iterator[Any]:
    """The deltas with zeros in all rows but one."""
    for delta in deltas:
        parts = [np.zeros_like(part) for part in as_tuple(delta)]
        for masked, part in zip(parts, as_tuple(delta), strict=True):
            masked[row] = part[row]
        yield one_or_tuple(parts)


def unit_deltas(y: Any, rows: slice) -> Iterator[Any]:
    """For each entry of a row of each output, the delta that is one there, in all rows."""
    outputs = as_tuple(y)
    for number, output in enumerate(outputs):
        for entry in np.ndindex(output.shape[1:]):
            deltas = [np.zeros(part.shape, part.dtype) for part in outputs]
            deltas[number][:, *entry] = 1
            yield one_or_tuple(deltas)


def deltas_alone(loss: Any, y: Any, targets: tuple[Any, ...]) -> Any:
    """The delta of each row as if it were a batch of its own.

    In a batch the delta of a row has the factor 1/N, where N is what the average is over: the
    number of rows, or of labels that count. Alone it has 1/N_s. So it is N/N_s times as large. Some
    rows are compared with the loss of that row alone; if they differ, every row is taken alone.
    """

    def delta_of(rows: slice) -> tuple[Any, ...]:
        parts = one_or_tuple([part[rows] for part in as_tuple(y)])
        given = one_or_tuple([None if t is None else t[rows] for t in targets])
        return as_tuple(loss.value_and_delta(parts, given)[1])

    batch = len(as_tuple(y)[0])
    together = delta_of(slice(None))
    if batch < 2:
        return one_or_tuple(together)
    outputs = zip(getattr(loss, "for_each_output", (loss,)), together, targets, strict=True)
    scaled = tuple([part * _times_larger(own, part, t) for own, part, t in outputs])
    for row in {0, batch // 2, batch - 1}:
        rows = slice(row, row + 1)
        if not all(_agree(a, b[rows]) for a, b in zip(delta_of(rows), scaled, strict=True)):
            each = [delta_of(slice(n, n + 1)) for n in range(batch)]
            return one_or_tuple([np.concatenate(parts) for parts in zip(*each, strict=True)])
    return one_or_tuple(scaled)


def _times_larger(loss: Any, delta: Any, target: Any) -> Any:
    """N/N_s for each row s, in the shape of the delta or as a number."""
    batch = len(delta)
    if not getattr(loss, "ignores", False):
        return float(batch)
    rows = [loss.counted((1, *delta.shape[1:]), target[n : n + 1]) for n in range(batch)]
    ratios = loss.counted(delta.shape, target) / np.maximum(rows, 1.0)
    return ratios.reshape(batch, *(1,) * (delta.ndim - 1)).astype(delta.dtype)


def _agree(one: Any, other: Any) -> bool:
    one, other = innermost(one), innermost(other)
    tolerance = np.sqrt(np.finfo(one.dtype).eps) * np.abs(one).max(initial=0)
    return bool(np.all((np.abs(one - other) <= tolerance) | np.isnan(one)))


def has_state(model: Layer) -> bool:
    """Whether a pass may depend on the passes before it."""
    return any(layer._generators or layer._buffers for _, layer in model.walk())


def coupled(model: Layer) -> list[tuple[str, Layer]]:
    """The layers, with their paths, in which the rows of a batch influence each other."""
    return [(path, layer) for path, layer in model.walk() if layer.couples_batch]
