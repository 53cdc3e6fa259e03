"""Operators that make one number of many: sums, means and maxima along axes, and pools.

A reduced axis is gone from the array; ONNX, if it keeps it with size 1, sees one that the array
lacks. A mean over all places of an image is a `GlobalAveragePool`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.core.layer import Layer
from chainrule.interop.onnx.reading.conversion import Outputs, Rule, Site
from chainrule.interop.onnx.reading.elementwise import activated
from chainrule.interop.onnx.reading.folding import integers
from chainrule.interop.onnx.reading.functions import Elementwise
from chainrule.interop.onnx.reading.layers import Mix, Reduce, WideAveragePool, WideMaxPool
from chainrule.interop.onnx.reading.moving import placed, refuse_large, renumbered
from chainrule.interop.onnx.reading.products import alike, padding, space
from chainrule.interop.onnx.reading.values import RefusedError, Size, Value, axis_of, refuse_batch
from chainrule.layers.pooling import AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool
from chainrule.layers.resize import Pad
from chainrule.layers.windows import reach

ONES = {"L1": "Abs", "L2": "Abs", "LogSum": "Log", "SumSquare": "Square"}
"""What remains of a reduction along axes of size 1; nothing, for those that are not here."""


def reduction(operator: str) -> Rule:
    """The rule for a reduction."""

    def rule(site: Site) -> Outputs:
        value = site.value()
        given = site.attributes.get("axes")
        if site.constant(1, "axes") is not None:
            given = integers(site.constant(1, "axes"), "axes")
        if not given and site.attributes.get("noop_with_empty_axes", 0):
            if operator in ONES:
                raise RefusedError("it has no axes")
            return value
        axes = [axis_of(int(n), value.rank) for n in given or range(value.rank)]
        return reduced(site, value, operator, axes, keep=bool(site.attributes.get("keepdims", 1)))

    return rule


def reduced(site: Site, value: Value, operator: str, axes: Sequence[int], *, keep: bool) -> Value:
    """A value reduced along some axes."""
    refuse_batch(value, axes, "reduces")
    if operator == "Prod":
        refuse_large(math.prod(n for n in value.sizes if not isinstance(n, Size)), 2**16)
    places = sorted(place for n in axes if (place := value.axes[n]) is not None)
    node = value.node
    if places:
        node = site.call(_layer(operator, places, value), node)
    elif operator in ONES:
        node = activated(site, Elementwise(ONES[operator]), value).node
    after = renumbered([None if n in axes else place for n, place in enumerate(value.axes)], places)
    if not keep:
        after = tuple(place for n, place in enumerate(after) if n not in axes)
    return Value(node, after, value.dtype)


def running_sum(site: Site) -> Outputs:
    """CumSum: a product with a triangular matrix."""
    value, given = site.value(), integers(site.constant(1, "axis"), "axis")
    axis = axis_of(given[0], value.rank)
    refuse_batch(value, [axis], "sums")
    size, place = value.sizes[axis], value.axes[axis]
    if isinstance(size, Size) or place is None:
        raise RefusedError(f"the size of axis {axis} is not known, or 1")
    refuse_large(size, 2**12)
    matrix = np.tri(size, size, -int(site.attributes.get("exclusive", 0)))
    matrix = matrix.T if site.attributes.get("reverse", 0) else matrix
    return value.mapped(lambda node: site.call(Mix(size, size, place), node, matrix=matrix))


def _layer(operator: str, places: list[int], value: Value) -> Layer:
    """The layer that reduces these axes of the array."""
    row = len(value.row)
    if places == list(range(1, row)) and 2 <= row <= 4 and operator == "Mean":
        return GlobalAveragePool()
    return Reduce(operator, tuple(places))


# ------------------------------------------------------------------------------- pools


def global_pool(layer: type[Layer]) -> Rule:
    """The rule for a pool over all places."""

    def rule(site: Site) -> Outputs:
        value = site.value()
        node = site.call(layer(), site.rows(value, space(value)))
        return Value(node, (0, 1, *[None] * (value.rank - 2)), value.dtype)

    return rule


global_average_pool, global_max_pool = global_pool(GlobalAveragePool), global_pool(GlobalMaxPool)


def max_pool(site: Site) -> Outputs:
    """`MaxPool`."""
    site.refuse_outputs(1)
    if site.attributes.get("storage_order", 0):
        raise RefusedError("storage_order=1")
    return _pool(site, MaxPool, WideMaxPool)


def average_pool(site: Site) -> Outputs:
    """`AveragePool`."""
    return _pool(site, AveragePool, WideAveragePool)


def _pool(site: Site, plain: type[Any], wide: type[Any]) -> Outputs:
    value = site.value()
    order, size = space(value), tuple(int(n) for n in site.attributes["kernel_shape"])
    axes = value.rank - 2
    refuse_large(math.prod(size), 2**12)
    if len(size) != axes:
        raise RefusedError(f"kernel_shape={size} for {axes} axes of space")
    stride = tuple(int(n) for n in site.attributes.get("strides") or [1] * axes)
    dilation = tuple(int(n) for n in site.attributes.get("dilations") or [1] * axes)
    ceil: bool | tuple[bool, ...] = bool(site.attributes.get("ceil_mode", 0))
    around = padding(site, value, size, stride, dilation)
    counted = plain is AveragePool and bool(site.attributes.get("count_include_pad", 0))
    node = site.rows(value, order)
    if counted and not isinstance(around, str):
        if ceil:
            ceil = _starts_inside(value, size, stride, dilation, around)
        node, around = site.call(Pad(around), node), "valid"
    elif counted and around == "same":
        raise RefusedError("count_include_pad=1 with auto_pad")
    is_plain = isinstance(around, str) and ceil is False and set(dilation) == {1}
    if is_plain:
        layer = plain(alike(size), None if stride == size else alike(stride), around)
    elif around == "same":
        raise RefusedError("auto_pad with dilations or ceil_mode")
    else:
        amounts = around if not isinstance(around, str) else ((0, 0),) * axes
        layer = wide(
            alike(size), alike(stride), amounts=amounts, dilation=alike(dilation), ceil=ceil
        )
    return Value(site.call(layer, node), placed(value.rank, order, 0), value.dtype)


def _starts_inside(
    value: Value,
    size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    around: Sequence[tuple[int, int]],
) -> tuple[bool, ...]:
    """For each axis, whether a window that is not full starts before the padding at the end."""
    found = []
    for n, k, s, d, (before, after) in zip(
        value.sizes[2:], size, stride, dilation, around, strict=True
    ):
        if isinstance(n, Size):
            raise RefusedError("ceil_mode with count_include_pad on an open axis")
        full = (n + before + after - reach(k, d)) // s + 1
        found.append(full * s < n + before)
    return tuple(found)
