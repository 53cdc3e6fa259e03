"""Operators on values that join the batch with another axis, as the attention of PyTorch does.

    (T, batch, E)  →  (T, batch · heads, E / heads)  →  (batch · heads, T, E / heads)  →  …

The batch stays an axis of its own in the array, and the heads another one. ONNX sees both as one
axis, so a rule is given the value with all its axes, and its result is noted as joined again.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from chainrule.interop.onnx.reading.conversion import Outputs, Rule, Site
from chainrule.interop.onnx.reading.folding import integers
from chainrule.interop.onnx.reading.values import Constant, Operand, RefusedError, Value

ELEMENTWISE = (
    "Add", "And", "Div", "Equal", "Greater", "Less", "Max", "Min", "Mul", "Or", "Pow", "Sub",
    "Where",
)  # fmt: skip
"""What may be done to several joined values at once, or to one and a constant."""

ALONG_LAST = ("Gemm", "LayerNormalization", "MatMul", "Softmax")
"""What acts along the last axes alone."""

ALONG = {
    "Concat": None, "Gather": None, "ReduceMax": 1, "ReduceMean": 1, "ReduceMin": 1, "ReduceSum": 1,
    "Slice": 3, "Split": None, "Squeeze": 1, "Unsqueeze": 1,
}  # fmt: skip
"""What acts along other axes, with the input that lists them, if it is not an attribute."""

FUNCTIONS = (
    "Abs", "Cast", "Clip", "Cos", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "Identity",
    "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Selu", "Sigmoid", "Sign",
    "Sin", "Softplus", "Softsign", "Sqrt", "Tanh",
)  # fmt: skip
"""What acts on each number."""


def converted(site: Site, rule: Rule) -> Outputs:
    """A value that joins the batch with other axes, after an operator."""
    data = [one for one in site.inputs if isinstance(one, Value)]
    first = next(one for one in data if one.group)
    batch, count = first.batch or 0, len(first.group)
    if site.operator == "Transpose":
        return _transposed(first, site.attributes.get("perm"))
    if site.operator == "Einsum":
        return rule(site)  # whose letters stand for several axes
    if site.operator in ALONG:
        return _along(site, rule, first)
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


def _along(site: Site, rule: Rule, first: Value) -> Outputs:
    """An operator along axes after the batch, which are counted from the end."""
    place, batch, count = ALONG[site.operator], first.batch or 0, len(first.group)
    inputs = [one.ungrouped if isinstance(one, Value) else one for one in site.inputs]
    attributes = dict(site.attributes)
    rank, axes = first.rank, attributes.get("axes")
    if place is None:
        axes = [attributes.get("axis", 0)]
    elif place < len(inputs):
        axes = integers(site.constant(place, "axes"), "axes")
    rank += len(axes or ()) if site.operator == "Unsqueeze" else 0
    after = [n if n < 0 else n - rank for n in axes or ()]
    is_same = all(
        isinstance(one, Value) and one.axes[: batch + 1] == first.axes[: batch + 1]
        and one.group == first.group and one.rank == first.rank and one.row == first.row
        for one in site.inputs if site.operator == "Concat"
    )  # fmt: skip
    if not after or not is_same or any(not batch < n + rank < rank for n in after):
        raise RefusedError("it acts along an axis that joins the batch with another")
    if place is None:
        attributes["axis"] = after[0]
    elif place < len(inputs):
        inputs[place] = Constant(np.asarray(after))
    else:
        attributes["axes"] = after
    found = rule(attrs.evolve(site, inputs=inputs, attributes=attributes))
    several = [found] if isinstance(found, Value) else list(found)
    return [one.grouped(batch, count) if isinstance(one, Value) else one for one in several]


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
