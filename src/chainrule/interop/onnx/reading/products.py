"""Operators with matrices of weights: Gemm, MatMul, Conv, Gather of a table, and normalisations.

    Gemm     y = α x W + β b           Dense, with α W and β b
    Conv     y_i = Σ_k x_(i + k) w_k    Convolution, whose rows have the channels last

The weights are transposed once, when the model is read. A `Dense` after a flattened image takes the
numbers in the order in which they lie in memory, with the rows of its weights in that order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.graph.node import Node
from chainrule.interop.onnx.reading import sums
from chainrule.interop.onnx.reading.conversion import Outputs, Site
from chainrule.interop.onnx.reading.elementwise import activated
from chainrule.interop.onnx.reading.functions import Elementwise
from chainrule.interop.onnx.reading.layers import LogSoftmax, MatrixProduct, Mix, Shift
from chainrule.interop.onnx.reading.moving import placed, refuse_large, reshaped
from chainrule.interop.onnx.reading.values import (
    Constant,
    RefusedError,
    Size,
    Value,
    axis_of,
    refuse_batch,
)
from chainrule.layers.convolution import Convolution, TransposedConvolution
from chainrule.layers.dense import Dense
from chainrule.layers.embedding import Embedding
from chainrule.layers.normalization import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from chainrule.layers.softmax import Softmax

FloatArray = npt.NDArray[Any]

# ------------------------------------------------------------------------------- matrices


def gemm(site: Site) -> Outputs:
    """`Dense`: the factors α and β go into its weights and biases."""
    alpha, beta = (float(site.attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    value = site.value()
    if site.attributes.get("transA", 0):
        value = value.with_axes(value.axes[::-1])
    matrix = site.array(1, "matrix")
    if site.attributes.get("transB", 0):
        matrix = matrix.T
    added = site.optional_array(2, "summand")
    biases = None
    if added is not None:
        wide = np.reshape(added, (*(1,) * (2 - added.ndim), *added.shape))
        if wide.shape[0] == 1 and matrix.ndim == 2:
            biases = beta * np.broadcast_to(wide[0], matrix.shape[1:])
    product = _dense(site, value, alpha * matrix, biases)
    if added is None or biases is not None:
        return product
    if value.batch is not None:
        raise RefusedError("its summand is different for each row of the batch")
    row = np.broadcast_to(beta * wide, [int(n) for n in product.sizes])  # type: ignore[arg-type]
    moved = np.transpose(row, product.order)
    node = site.call(Shift(moved.shape), product.node, weights=moved)
    return Value(node, product.axes, product.dtype)


def _dense(site: Site, value: Value, matrix: FloatArray, biases: FloatArray | None = None) -> Value:
    """The product of the last axis with a matrix."""
    if matrix.ndim != 2 or not matrix.size or value.sizes[-1] != len(matrix):
        raise RefusedError(f"a matrix of shape {matrix.shape} does not fit {value.sizes}")
    refuse_batch(value, [value.rank - 1], "multiplies")
    layer = Dense(matrix.shape[1], use_bias=biases is not None)
    arrays = {"weights": matrix} if biases is None else {"weights": matrix, "biases": biases}
    if value.flat is not None and value.axes == (0, 1):
        node, places = value.flat
        arrays["weights"] = np.empty_like(matrix)
        arrays["weights"][places] = matrix
        return Value(site.call(layer, node, **arrays), (0, 1), value.dtype)
    last = value.rank - 1
    order = [n for n in value.order if n != last]
    order = [*order, last]
    axes = placed(value.rank, order, value.batch)
    return Value(site.call(layer, site.rows(value, order), **arrays), axes, value.dtype)


def matmul(site: Site) -> Outputs:
    """`Dense` for a matrix of weights, on either side; a product of two values otherwise."""
    a, b = site.inputs
    if isinstance(a, Value) and isinstance(b, Constant) and b.array.ndim == 2:
        make = _dense if _may_learn(b) else _mixed
        return make(site, a, site.array(1, "matrix"))
    if isinstance(b, Value) and isinstance(a, Constant) and a.array.ndim == 2 and b.rank > 1:
        # y = W x is yᵀ = xᵀ Wᵀ, and the two last axes are only noted the other way round.
        make = _dense if _may_learn(a) else _mixed
        return _swapped(make(site, _swapped(b), site.array(0, "matrix").T))
    if isinstance(a, Value) and isinstance(b, Constant) and b.array.ndim == 1 and _may_learn(b):
        product = _dense(site, a, site.array(1, "vector")[:, np.newaxis])
        return reshaped(site, product, product.sizes[:-1])
    return _product(site)


def _may_learn(constant: Constant) -> bool:
    """Whether it is a matrix of weights; one number among layers is none, but here it is one."""
    return constant.is_learned or (constant.array.size == 1 and bool(constant.origin))


def _mixed(site: Site, value: Value, matrix: FloatArray) -> Value:
    """The product of the last axis with a fixed matrix."""
    place = value.axes[-1]
    if place is None or value.sizes[-1] != len(matrix) or not matrix.size:
        return _product(site)
    refuse_batch(value, [value.rank - 1], "multiplies")
    node = site.call(Mix(matrix.shape[1], len(matrix), place), value.node, matrix=matrix.T)
    return Value(node, value.axes, value.dtype)


def _swapped(value: Value) -> Value:
    *before, one, two = value.axes
    return value.with_axes([*before, two, one])


def _product(site: Site) -> Value:
    ranks = [one.rank for one in site.inputs if one is not None]
    rank = max(ranks)
    values = [one for one in site.inputs if isinstance(one, Value)]
    if min(ranks) < 2 or any(one.batch is not None and one.batch >= one.rank - 2 for one in values):
        return sums.product(site)
    wide = [one.with_axes([None] * (rank - one.rank) + list(one.axes)) for one in values]
    batches = {one.batch for one in wide if one.batch is not None}
    if len(batches) > 1:
        raise RefusedError("the batch is not the same axis of both inputs")
    batch = next(iter(batches), None)
    if batch is not None and any(one.batch is None and one.sizes[batch] != 1 for one in wide):
        raise RefusedError("one of its inputs has another axis in place of the batch")
    order = [n for n in range(rank) if n != batch]
    rest = iter(wide)
    nodes: list[Node] = []
    for number, one in enumerate(site.inputs):
        if isinstance(one, Value):
            nodes.append(site.rows(next(rest), order))
            continue
        array = site.array(number, "matrices")
        array = np.reshape(array, (*(1,) * (rank - array.ndim), *array.shape))
        if batch is not None and array.shape[batch] != 1:
            raise RefusedError("a constant is different for each row of the batch")
        row = array if batch is None else np.squeeze(array, axis=batch)
        assert one is not None
        nodes.append(site.model.weights(one.as_array(row), row.shape, values[0].node))
    return Value(site.call(MatrixProduct(), *nodes), placed(rank, order, batch), site.dtype)


def embedding(site: Site, table: Constant, tokens: Value) -> Outputs:
    """`Embedding`, for a Gather whose table is known and whose numbers are data."""
    axis = axis_of(int(site.attributes.get("axis", 0)), table.array.ndim)
    if table.array.ndim != 2 or axis != 0 or table.array.dtype.kind != "f":
        raise RefusedError("the table is not a matrix of floats whose rows it takes")
    if tokens.dtype.kind not in "iu":
        raise RefusedError("the numbers that it takes are not integers")
    entries, units = table.array.shape
    if not entries or not units:
        raise RefusedError("the table is empty")
    array = site.array(0, "table")
    node = site.call(Embedding(entries, units), tokens.node, weights=array)
    return Value(node, (*tokens.axes, len(tokens.order) + 1), site.dtype)


# ------------------------------------------------------------------------------- convolutions


def space(value: Value) -> list[int]:
    """The order of the axes of a row that the layers of images need: the channels last."""
    if value.batch not in (0, None) or not 3 <= value.rank <= 5:
        raise RefusedError(f"its data have the shape {value.sizes}, not one to three axes of space")
    if value.batch is None:
        raise RefusedError("its data have no batch")
    known = [n for n in value.sizes[2:] if not isinstance(n, Size)]
    refuse_large(max(known, default=0))
    refuse_large(math.prod(known), 2**26)
    return [*range(2, value.rank), 1]


def conv(site: Site) -> Outputs:
    """`Convolution`, with the channels last."""
    value = site.value()
    order, weights = space(value), site.array(1, "weights")
    if weights.ndim != value.rank or not weights.size:
        raise RefusedError(f"weights of shape {weights.shape} for data of shape {value.sizes}")
    kernel = weights.shape[2:]
    _require_kernel(site, kernel)
    biases = site.optional_array(2, "biases")
    stride, dilation = (_each(site, name, len(kernel)) for name in ("strides", "dilations"))
    layer = Convolution(
        weights.shape[0],
        alike(kernel),
        stride=alike(stride),
        padding=alike(padding(site, value, kernel, stride, dilation)),
        dilation=alike(dilation),
        groups=int(site.attributes.get("group", 1)),
        use_bias=biases is not None,
    )
    arrays = {"weights": np.moveaxis(weights, (0, 1), (-1, -2))}
    if biases is not None:
        arrays["biases"] = biases
    node = site.call(layer, site.rows(value, order), **arrays)
    return Value(node, placed(value.rank, order, 0), value.dtype)


def alike(values: Any) -> Any:
    """A number for all axes, if they all have the same; the values themselves otherwise."""
    if isinstance(values, tuple) and len(set(values)) == 1:
        pair = values[0]
        return pair if isinstance(pair, int) else pair[0] if pair[0] == pair[1] else values
    return values


def _require_kernel(site: Site, kernel: Sequence[int]) -> None:
    given = site.attributes.get("kernel_shape")
    if given is not None and tuple(given) != tuple(kernel):
        raise RefusedError(f"kernel_shape={given}, but its weights have {tuple(kernel)}")


def _each(site: Site, name: str, axes: int) -> tuple[int, ...]:
    """An attribute with a number for each axis of space."""
    found = site.attributes.get(name) or [1] * axes
    if len(found) != axes:
        raise RefusedError(f"{name}={found} for {axes} axes of space")
    refuse_large(max(map(abs, found)), 2**16)
    return tuple(int(n) for n in found)


def pairs(site: Site, axes: int) -> tuple[tuple[int, int], ...]:
    """The attribute pads, as (before, after) for each axis of space."""
    found = site.attributes.get("pads") or [0] * 2 * axes
    if len(found) != 2 * axes or min(found) < 0:
        raise RefusedError(f"pads={found}")
    refuse_large(max(found), 2**12)
    return tuple((int(found[n]), int(found[n + axes])) for n in range(axes))


def padding(
    site: Site, value: Value, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Any:
    """The padding of a convolution or a pool: a name, or (before, after) for each axis."""
    auto = site.attributes.get("auto_pad", "NOTSET")
    if auto == "VALID":
        return "valid"
    if auto == "SAME_UPPER":
        return "same"
    if auto == "SAME_LOWER":
        return tuple(
            _same_lower(n, k, s, d)
            for n, k, s, d in zip(value.sizes[2:], kernel, stride, dilation, strict=True)
        )
    found = pairs(site, len(kernel))
    return found if any(map(any, found)) else "valid"


def _same_lower(n: int | Size, k: int, s: int, d: int) -> tuple[int, int]:
    if isinstance(n, Size):
        if s != 1:
            raise RefusedError("auto_pad=SAME_LOWER with a stride on an open axis")
        n = 0
    missing = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0) if n else d * (k - 1)
    return missing - missing // 2, missing // 2


def conv_transpose(site: Site) -> Outputs:
    """`TransposedConvolution`, with the channels last."""
    value = site.value()
    order, weights = space(value), site.array(1, "weights")
    groups = int(site.attributes.get("group", 1))
    if weights.ndim != value.rank or not weights.size or groups < 1:
        raise RefusedError(f"weights of shape {weights.shape} for data of shape {value.sizes}")
    kernel = weights.shape[2:]
    _require_kernel(site, kernel)
    stride, dilation = (_each(site, name, len(kernel)) for name in ("strides", "dilations"))
    biases = site.optional_array(2, "biases")
    cut, more = _cut(site, value, kernel, stride, dilation)
    if any(more) and not all(isinstance(n, int) for n in value.sizes[1:]):
        raise RefusedError("its padding needs the size of an open axis")
    layer = TransposedConvolution(
        weights.shape[1] * groups,
        alike(kernel),
        stride=alike(stride),
        padding=alike(cut) if any(map(any, cut)) else "valid",
        dilation=alike(dilation),
        groups=groups,
        use_bias=biases is not None and not any(more),
    )
    # (C, F / G, *k): our weights have the same two axes, after those of space.
    arrays = {"weights": np.moveaxis(weights, (0, 1), (-2, -1))}
    if layer.use_bias and biases is not None:
        arrays["biases"] = biases
    node = site.call(layer, site.rows(value, order), **arrays)
    if any(more):
        from chainrule.layers.resize import Pad

        node = site.call(Pad(tuple((0, n) for n in more)), node)
        if biases is not None:
            shift = Shift((*(1,) * len(kernel), len(biases)))
            node = site.call(shift, node, weights=np.reshape(biases, shift.shape))
    return Value(node, placed(value.rank, order, 0), value.dtype)


def _cut(
    site: Site, value: Value, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[tuple[int, int], ...], list[int]]:
    """What a transposed convolution cuts off at both ends, and adds at the far one."""
    axes = len(kernel)
    extra = site.attributes.get("output_padding") or [0] * axes
    wanted = site.attributes.get("output_shape")
    auto = site.attributes.get("auto_pad", "NOTSET")
    found = list(pairs(site, axes))
    reaches = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    if wanted is not None or auto in ("SAME_UPPER", "SAME_LOWER"):
        for n in range(axes):
            size = value.sizes[2 + n]
            goal = None if wanted is None else wanted[len(wanted) - axes + n]
            if goal is None:
                total = reaches[n] + extra[n] - stride[n]
            elif isinstance(size, Size):
                raise RefusedError("output_shape on an open axis")
            else:
                total = stride[n] * (size - 1) + extra[n] + reaches[n] - goal
            half = total // 2
            found[n] = (half, total - half) if auto == "SAME_UPPER" else (total - half, half)
    ends = [(before, after - extra[n]) for n, (before, after) in enumerate(found)]
    more = [max(-after, 0) for _, after in ends]
    if any(before < 0 for before, _ in ends):
        raise RefusedError(f"pads={found}")
    return tuple((before, max(after, 0)) for before, after in ends), more


# ------------------------------------------------------------------------------- normalisations


def batch_norm(site: Site) -> Outputs:
    """`BatchNorm`, with the running statistics of the file."""
    site.refuse_outputs(1, 2, 3, 4)
    if site.attributes.get("training_mode", 0):
        raise RefusedError("training_mode=1: it normalises with the batch at inference")
    scale, shift, mean, variance = (site.array(n, "statistics") for n in range(1, 5))
    momentum = _single(site, "momentum", 0.9)
    layer = BatchNorm(momentum if 0 <= momentum < 1 else 0.9, _epsilon(site))
    return _by_channels(
        site, layer, scale=scale, shift=shift, running_mean=mean, running_variance=variance
    )


def _epsilon(site: Site) -> float:
    return _single(site, "epsilon", 1e-5)


def _single(site: Site, name: str, default: float) -> float:
    # The file has it in single precision.
    return float(np.format_float_positional(np.float32(site.attributes.get(name, default))))


def _by_channels(site: Site, layer: Any, **arrays: FloatArray) -> Value:
    """A layer whose rows have the channels, ONNX's axis 1, last."""
    value = site.value()
    if value.rank < 2:
        raise RefusedError("its data have no axis of channels")
    refuse_batch(value, [1], "has its channels")
    if value.batch is None:
        raise RefusedError("its data have no batch")
    order = [*(n for n in value.order if n != 1), 1]
    if any(array.shape != (value.sizes[1],) for array in arrays.values()):
        raise RefusedError("it does not have one number for each channel")
    node = site.call(layer, site.rows(value, order), **arrays)
    return Value(node, placed(value.rank, order, value.batch), value.dtype)


def instance_norm(site: Site) -> Outputs:
    """`GroupNorm` with a group for each channel."""
    scale, shift = site.array(1, "scale"), site.array(2, "shift")
    return _by_channels(
        site, GroupNorm(groups=len(scale), epsilon=_epsilon(site)), scale=scale, shift=shift
    )


def group_norm(site: Site) -> Outputs:
    """`GroupNorm`."""
    groups, channels = int(site.attributes["num_groups"]), site.value().sizes[1]
    scale, shift = site.array(1, "scale"), site.array(2, "shift")
    if site.version < 21 and scale.shape == shift.shape == (groups,) and isinstance(channels, int):
        scale, shift = (np.repeat(one, channels // groups) for one in (scale, shift))
    return _by_channels(
        site, GroupNorm(groups=groups, epsilon=_epsilon(site)), scale=scale, shift=shift
    )


def layer_norm(site: Site) -> Outputs:
    """`LayerNorm` over the last axis, or over several as one."""
    site.refuse_outputs(1, 2)
    return _by_vectors(site, LayerNorm(_epsilon(site)), ["scale", "shift"])


def rms_norm(site: Site) -> Outputs:
    """`RMSNorm` over the last axis, or over several as one."""
    return _by_vectors(site, RMSNorm(_epsilon(site)), ["scale"])


def _by_vectors(site: Site, layer: Any, names: Sequence[str]) -> Value:
    value = site.value()
    axis = axis_of(int(site.attributes.get("axis", -1)), value.rank)
    last = range(axis, value.rank)
    refuse_batch(value, list(last), "normalises")
    row = tuple(n for n in value.sizes[axis:] if not isinstance(n, Size))
    if len(row) < len(last):
        raise RefusedError("it normalises along an open axis")
    joined = value
    if len(last) > 1:
        joined = reshaped(site, value, [*value.sizes[:axis], -1])
    count = math.prod(row)
    arrays = {}
    for number, name in enumerate(names, 1):
        given = site.optional_array(number, name)
        neutral = float(name == "scale")
        array = np.full(row, neutral) if given is None else np.broadcast_to(given, row)
        arrays[name] = np.reshape(array, count)
    end = joined.rank - 1
    order = [*(n for n in joined.order if n != end), end]
    node = site.call(layer, site.rows(joined, order), **arrays)
    found = Value(node, placed(joined.rank, order, joined.batch), value.dtype)
    return reshaped(site, found, value.sizes) if len(last) > 1 else found


def softmax(site: Site) -> Outputs:
    """`Softmax` along any axis but the batch; in old versions, along several as one."""
    return _along(site, Softmax())


def log_softmax(site: Site) -> Outputs:
    """The logarithm of a softmax."""
    return _along(site, LogSoftmax())


def _along(site: Site, layer: Any) -> Value:
    value = site.value()
    is_old = site.version < 13
    axis = axis_of(int(site.attributes.get("axis", 1 if is_old else -1)), value.rank)
    refuse_batch(value, range(axis, value.rank) if is_old else [axis], "normalises")
    if is_old and axis < value.rank - 1:
        joined = reshaped(site, value, [*value.sizes[:axis], -1])
        found = _last(site, joined, joined.rank - 1, layer)
        return reshaped(site, found, value.sizes)
    return _last(site, value, axis, layer)


def _last(site: Site, value: Value, axis: int, layer: Any) -> Value:
    order = [*(n for n in value.order if n != axis), axis]
    node = site.call(layer, site.rows(value, order))
    return Value(node, placed(value.rank, order, value.batch), value.dtype)


def lp_normalization(site: Site) -> Outputs:
    """Each vector divided by its length."""
    from chainrule.interop.onnx.reading.reductions import reduced

    value = site.value()
    axis, p = int(site.attributes.get("axis", -1)), int(site.attributes.get("p", 2))
    axis = axis_of(axis, value.rank)
    refuse_batch(value, [axis], "normalises")
    if p not in (1, 2):
        raise RefusedError(f"p={p}")
    length = reduced(site, value, f"L{p}", [axis], keep=True)
    inverse = activated(site, Elementwise("Inverse"), length)
    from chainrule.layers.merge import Multiply

    order = [*(n for n in value.order if n != axis), axis]
    nodes = [site.rows(one, order) for one in (value, inverse)]
    node = site.call(Multiply(broadcast=True), *nodes)
    return Value(node, placed(value.rank, order, value.batch), value.dtype)
