"""Operators on values that join the batch with another axis, as the attention of PyTorch does.

    (T, batch, E)  →  (T, batch · heads, E / heads)  →  (batch · heads, T, E / heads)  →  …

The batch stays an axis of its own in the array, and the heads another one. ONNX sees both as one
axis, so a rule is given the value with all its axes, and its result is noted as joined again.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from chainrule.interop.onnx.reading.conversion import Rule, Site
from chainrule.interop.onnx.reading.values import Operand, RefusedError, Value

ELEMENTWISE = ("Add", "Div", "Mul", "Sub", "Where", "Max", "Min")
"""What may be done to several joined values at once, or to one and a constant."""

ALONG_LAST = ("Gemm", "LayerNormalization", "MatMul", "Softmax")
"""What acts along the last axes alone."""

FUNCTIONS = ("Cast", "Erf", "Exp", "Gelu", "Identity", "Relu", "Sigmoid", "Tanh")
"""What acts on each number."""


def converted(site: Site, rule: Rule) -> Value:
    """A value that joins the batch with other axes, after an operator."""
    data = [one for one in site.inputs if isinstance(one, Value)]
    first = next(one for one in data if one.group)
    batch, count = first.batch or 0, len(first.group)
    if site.operator == "Transpose":
        return _transposed(first, site.attributes.get("perm"))
    if site.operator not in (*ELEMENTWISE, *ALONG_LAST, *FUNCTIONS):
        raise RefusedError("its data join the batch with another axis")
    is_same = all(one.sizes[batch : batch + 1] == first.sizes[batch : batch + 1] for one in data)
    if not is_same or any(
        one.rank != first.rank or one.batch != batch or len(one.group) != count for one in data
    ):
        raise RefusedError("its inputs join the batch with different axes")
    axis = site.attributes.get("axis", -1)
    if axis >= 0:
        axis = axis - first.rank  # counted from the end, where nothing changes
    last = first.rank - 1 - batch
    if site.operator in ALONG_LAST and (last < 1 or -axis > last):
        raise RefusedError("it acts along an axis that joins the batch with another")
    inputs = [_whole(site, one, last) for one in site.inputs]
    found = rule(attrs.evolve(site, inputs=inputs, attributes={**site.attributes, "axis": axis}))
    several = [found] if isinstance(found, Value) else list(found)
    if len(several) != 1 or not isinstance(several[0], Value):
        raise RefusedError("its data join the batch with another axis")
    return several[0].grouped(batch, count)


def _whole(site: Site, one: Operand | None, last: int) -> Operand | None:
    """An input with all its axes by themselves; ``last`` of them are after the batch."""
    if isinstance(one, Value):
        return one.ungrouped
    is_matrix = site.operator in ALONG_LAST and one is not None and one.array.ndim <= 2
    if one is None or one.array.ndim <= last or is_matrix:
        return one
    place = one.array.ndim - 1 - last
    if one.array.shape[place] != 1 or site.operator in ALONG_LAST:
        raise RefusedError("a constant is different for each row of the batch")
    return one.as_array(np.expand_dims(one.array, place))


def _transposed(value: Value, order: Sequence[int] | None) -> Value:
    order = list(order or reversed(range(value.rank)))
    if sorted(order) != list(range(value.rank)):
        raise RefusedError(f"perm={order} does not list the {value.rank} axes")
    axes = tuple(value.axes[n] for n in order)
    return Value(value.node, axes, value.dtype, None, value.group)
