"""Convolution: the same few weights at every place of a signal, an image or a volume.

    y_i = Σ_k x_(s i + d k) w_k + b        k = 0 … K − 1, for every place i

Each x is a vector of channels, each w_k a matrix from channels to filters, s the stride and d the
dilation. With two or three axes of space, i and k are pairs or triples. (In mathematics this is a
correlation; a convolution has x_(i − k).) So a convolution is a `Dense` layer that is applied to
every window of the row, and its two gradients are those of a Dense layer, summed over the places:

    ∂C/∂x_j = Σ_(i, k: s i + d k = j) Δ_i w_kᵀ          ∂C/∂w_k = Σ_i x_(s i + d k)ᵀ Δ_i

The first sum is itself a convolution if s = 1, of Δ with the weights in reverse order. It is a
linear map from Δ to the rows of x, and it is what a transposed convolution computes forward. So two
layers share three functions: `correlation`, its adjoint `spread`, and the gradient `products`.

Multiplication is fast and copying is not. A copy of all windows would hold each x as often as the
kernel has entries. These functions copy what the windows see along the last axis of space alone;
along the other axes, the entries of the kernel see slices of that copy, and each gives one product
of matrices. They take as many rows at a time as fit in the cache of a processor.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
from attrs import field

from chainrule.core import initializers
from chainrule.core.errors import ShapeError
from chainrule.core.initializers import Blocks, GlorotUniform, Initializer, Zeros
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.types import Array, RowPattern, Shape
from chainrule.core.validators import as_int, complain, is_integer, yes_or_no
from chainrule.layers.dense import ones, vectors
from chainrule.layers.windows import (
    Amounts,
    Windows,
    a_padding,
    amounts_of,
    any_size,
    as_sizes,
    folded,
    padded,
    per_axis,
    reach,
    sizes_from,
    spatial_axes,
    windows_on,
)

CACHED = 2**20
"""The bytes of columns that are computed at a time."""

SMALL = 2**19
"""The number of multiplications of a small product of matrices."""


def _a_count(layer: Layer, attribute: Any, value: Any) -> None:
    if not is_integer(value) or value < 1:
        hint = f"{attribute.name}=16" if attribute.name == "filters" else "groups=1"
        complain(layer, attribute.name, "an integer of at least 1", value, hint)


def _groups(layer: _Weighted, attribute: Any, groups: Any) -> None:
    _a_count(layer, attribute, groups)
    if layer.filters % groups:
        expected = f"a number that divides the {layer.filters} filters"
        complain(layer, "groups", expected, groups, f"filters={_multiple(layer.filters, groups)}")


def _multiple(number: int, of: int) -> int:
    """The next multiple."""
    return math.ceil(number / of) * of


class _Weighted(Layer, repr=False):
    """Common to both convolutions: their arguments, parameters and biases."""

    filters: int = field(converter=as_int, validator=_a_count)
    kernel: int | tuple[int, ...] = field(converter=as_sizes, validator=sizes_from(1, example="3"))
    stride: int | tuple[int, ...] = field(
        default=1, converter=as_sizes, validator=sizes_from(1, example="1")
    )
    padding: str | int | tuple[Any, ...] = field(
        default="same", converter=as_sizes, validator=a_padding
    )
    dilation: int | tuple[int, ...] = field(
        default=1, converter=as_sizes, validator=sizes_from(1, example="1")
    )
    groups: int = field(default=1, converter=as_int, validator=_groups)
    use_bias: bool = field(default=True, validator=yes_or_no)
    # Initializers, once converted; mypy ignores the converters of a dataclass_transform.
    initializer: str | float | Initializer = field(
        default=GlorotUniform(), converter=initializers.get
    )
    bias_initializer: str | float | Initializer = field(default=Zeros(), converter=initializers.get)

    def build(self, input_shape: Shape, **options: Any) -> None:
        kernel = self._windows(input_shape).kernel
        if input_shape[-1] % self.groups:
            raise ShapeError(
                f"{self!r}: the groups do not divide the channels of the rows",
                expected=f"a multiple of {self.groups} channels",
                received=batch_of(input_shape),
                hint="groups=1, or another number of channels",
            )
        shape, axis = self._layout(input_shape[-1])
        initializer = initializers.get(self.initializer)
        if self.groups > 1:  # each group is a convolution of its own
            initializer = Blocks(initializer, self.groups, axis)
        self.weights = self.parameter("weights", (*kernel, *shape), initializer)
        if self.use_bias:
            self.biases = self.parameter("biases", (self.filters,), self.bias_initializer)

    def _windows(self, row: Shape) -> Windows:
        """The windows of the convolution, for rows of the input."""
        return windows_on(
            self,
            self._sizes(row),
            kernel=self.kernel,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )

    def _sizes(self, row: Shape) -> Shape:
        """The rows that the windows are on."""
        raise NotImplementedError

    def _layout(self, channels: int) -> tuple[tuple[int, int], int]:
        """The shape of a matrix w_k, and the axis along which it has the groups."""
        raise NotImplementedError

    @property
    def accepted_shapes(self) -> tuple[RowPattern, ...]:
        return (any_size(self.input_shape),)

    def _with_biases(self, outputs: Array) -> Array:
        if not self.use_bias:
            return outputs
        # Long rows: adding a short vector to each place of an image takes longer.
        *others, places, filters = outputs.shape
        lines = np.reshape(outputs, (math.prod(others), places * filters))
        lines += np.tile(self.biases.value, places)
        return np.reshape(lines, outputs.shape)

    def _accumulate_biases(self, delta: Array) -> None:
        if self.use_bias:
            delta = vectors(delta)
            self.biases.accumulate_product(ones(len(delta), delta.dtype), delta)


class Convolution(_Weighted, repr=False):
    """y_i = Σ_k x_(s i + d k) w_k + b, for signals, images and volumes."""

    def forward(self, inputs: Array) -> Array:
        self.inputs, self.windows = inputs, self._windows(inputs.shape[1:])
        return self._convolved(inputs, self.windows)

    def backward(self, delta: Array) -> Array:
        self._accumulate_biases(delta)
        weights, windows, groups = self.weights.value, self.windows, self.groups
        if not self.weights.trainable:
            return spread(delta, weights, windows, groups)
        delta_in, gradient = gradients(self.inputs, weights, delta, windows, groups)
        self.weights.accumulate(gradient)
        return delta_in

    def backward_parameters(self, delta: Array) -> None:
        self._accumulate_biases(delta)
        if self.weights.trainable:
            self.weights.accumulate(products(self.inputs, delta, self.windows, self.groups))

    def apply(self, inputs: Array) -> Array:
        return self._convolved(inputs, self._windows(inputs.shape[1:]))

    def _convolved(self, inputs: Array, windows: Windows) -> Array:
        outputs = correlation(inputs, self.weights.value, windows, self.groups)
        return self._with_biases(outputs)

    def _sizes(self, row: Shape) -> Shape:
        return row

    def _layout(self, channels: int) -> tuple[tuple[int, int], int]:
        return (channels // self.groups, self.filters), -1


class TransposedConvolution(_Weighted, repr=False):
    """The transpose of a `Convolution` with the same arguments, plus biases: it enlarges rows."""

    def forward(self, inputs: Array) -> Array:
        self.inputs, self.windows = inputs, self._windows(inputs.shape[1:])
        return self._convolved(inputs, self.windows)

    def backward(self, delta: Array) -> Array:
        self._accumulate_biases(delta)
        weights, windows, groups = self._transposed(), self.windows, self.groups
        if not self.weights.trainable:
            return correlation(delta, weights, windows, groups)
        delta_in, gradient = both(delta, weights, self.inputs, windows, groups)
        self.weights.accumulate(np.swapaxes(gradient, -1, -2))
        return delta_in

    def backward_parameters(self, delta: Array) -> None:
        self._accumulate_biases(delta)
        if self.weights.trainable:
            gradient = products(delta, self.inputs, self.windows, self.groups)
            self.weights.accumulate(np.swapaxes(gradient, -1, -2))

    def apply(self, inputs: Array) -> Array:
        return self._convolved(inputs, self._windows(inputs.shape[1:]))

    def _convolved(self, inputs: Array, windows: Windows) -> Array:
        return self._with_biases(spread(inputs, self._transposed(), windows, self.groups))

    def _transposed(self) -> Array:
        """The weights of the convolution: w_kᵀ for every place k of the kernel."""
        return np.swapaxes(self.weights.value, -1, -2)

    def _sizes(self, row: Shape) -> Shape:
        axes = spatial_axes(self, row)
        kernel, strides, dilations = (
            per_axis(self, name, getattr(self, name), axes)
            for name in ("kernel", "stride", "dilation")
        )
        sizes = [n * s for n, s in zip(row[:-1], strides, strict=True)]
        if self.padding not in ("same", "periodic", "reflect"):
            reaches = tuple(map(reach, kernel, dilations))
            amounts = amounts_of(self, self.padding, sizes, reaches, strides)
            sizes = [
                n - s + covered - sum(p)
                for n, s, covered, p in zip(sizes, strides, reaches, amounts, strict=True)
            ]
        if min(sizes) < 1:
            raise ShapeError(
                f"{self!r}: the padding cuts off all that the layer computes",
                expected="padding that is smaller than the kernel",
                received=f"padding={self.padding!r} for {batch_of(row)}",
                hint='padding="same" makes rows that are stride times as large',
            )
        return (*sizes, self.filters)

    def _layout(self, channels: int) -> tuple[tuple[int, int], int]:
        return (channels, self.filters // self.groups), -2


# ------------------------------------------------------------------------------- the functions

# `weights` is (*kernel, C/G, F), for C channels, F filters and G groups, and `windows` are those of
# the convolution. The outer axes of space are all but the last. Along the last axis there are
# columns: each holds the K C/G numbers that a window sees there.


def correlation(x: Array, weights: Array, windows: Windows, groups: int = 1) -> Array:
    """y_i = Σ_k x_(s i + d k) w_k, from (batch, *sizes, C) to (batch, *outputs, F)."""
    matrices = _matrices(weights, groups)
    return np.concatenate(
        [_correlated(columns, matrices, windows) for _, columns in _pieces(x, windows, groups)]
    )


def products(x: Array, delta: Array, windows: Windows, groups: int = 1) -> Array:
    """∂C/∂w_k = Σ_i x_(s i + d k)ᵀ Δ_i, a sum over the batch, in the shape of the weights."""
    pieces = _pieces(x, windows, groups)
    parts = (_multiplied(columns, delta[rows], windows) for rows, columns in pieces)
    return _weights(functools.reduce(operator.iadd, parts), windows)


def both(
    x: Array, weights: Array, delta: Array, windows: Windows, groups: int = 1
) -> tuple[Array, Array]:
    """`correlation` and `products`, which use the same columns."""
    matrices = _matrices(weights, groups)
    outputs, parts = [], []
    for rows, columns in _pieces(x, windows, groups):
        outputs.append(_correlated(columns, matrices, windows))
        parts.append(_multiplied(columns, delta[rows], windows))
    return np.concatenate(outputs), _weights(functools.reduce(operator.iadd, parts), windows)


def spread(delta: Array, weights: Array, windows: Windows, groups: int = 1) -> Array:
    """∂C/∂x_j = Σ_(i, k: s i + d k = j) Δ_i w_kᵀ, the adjoint of `correlation`."""
    if set(windows.strides) == {1}:
        around, rest = _around(windows)
        deltas = correlation(delta, _flipped(weights, groups), around, groups)
        return folded(deltas, rest, windows.padding)
    *kernel, channels, filters = weights.shape
    shape = (*kernel, channels, groups, *(1 for _ in kernel[1:]), filters // groups)
    matrices = np.moveaxis(np.reshape(weights, shape), len(kernel), -1)  # w_kᵀ for each group
    sizes = [n + sum(amount) for n, amount in zip(windows.sizes, windows.amounts, strict=True)]
    parts = []
    for rows in _rows(delta, math.prod(windows.outputs) * channels * groups):
        deltas, total = _split(delta[rows], groups), None
        for k in windows.offsets():
            term = _joined(deltas @ matrices[k])
            if total is None:
                total = np.zeros_like(term, shape=(len(term), *sizes, term.shape[-1]))
            total[windows.seen_at(k)] += term
        parts.append(folded(total, windows.amounts, windows.padding))
    return np.concatenate(parts)


def gradients(
    x: Array, weights: Array, delta: Array, windows: Windows, groups: int = 1
) -> tuple[Array, Array]:
    """`spread` and `products`: the gradients of `correlation` with respect to x and weights."""
    if set(windows.strides) != {1}:
        return spread(delta, weights, windows, groups), products(x, delta, windows, groups)
    around, rest = _around(windows)
    x = padded(x, rest, windows.padding)
    deltas, gradient = both(delta, _flipped(weights, groups), x, around, groups)
    return folded(deltas, rest, windows.padding), _flipped(gradient, groups)


# ------------------------------------------------------------------------------- their parts


def _pieces(x: Array, windows: Windows, groups: int) -> Iterator[tuple[slice, Array]]:
    """The columns, (batch, G, *outer, outputs, K C/G), of some rows of a batch at a time."""
    kernel, stride, dilation = windows.kernel[-1], windows.strides[-1], windows.dilations[-1]
    channels = x.shape[-1] // groups
    size = math.prod((*windows.sizes[:-1], windows.outputs[-1], kernel, x.shape[-1]))
    for rows in _rows(x, size):
        seen = padded(x[rows], windows.amounts, windows.padding)
        seen = np.lib.stride_tricks.sliding_window_view(seen, reach(kernel, dilation), axis=-2)
        seen = seen[..., ::stride, :, ::dilation]  # (batch, *outer, outputs, C, K), still a view
        seen = np.reshape(seen, (*seen.shape[:-2], groups, channels, kernel))
        # A copy: windows overlap in memory, and BLAS does not take such matrices.
        columns = np.ascontiguousarray(np.swapaxes(np.moveaxis(seen, -3, 1), -1, -2))
        yield rows, np.reshape(columns, (*columns.shape[:-2], kernel * channels))


def _rows(x: Array, numbers: int) -> list[slice]:
    """The rows of a batch, as many at a time as need about 1 MB for so many numbers each.

    This is for arrays in memory; anything else stays in one piece.
    """
    if type(x) is not np.ndarray:
        return [slice(None)]
    step = max(CACHED // max(numbers * x.itemsize, 1), 1)
    return [slice(start, start + step) for start in range(0, max(len(x), 1), step)]


def _correlated(columns: Array, matrices: Array, windows: Windows) -> Array:
    """A piece of `correlation`."""
    size = math.prod(matrices.shape[-2:])
    terms = (
        _product(_blocks(columns[index], windows, size), matrices[k])
        for k, index in _outer_offsets(windows)
    )
    total = functools.reduce(operator.iadd, terms)
    return _joined(np.reshape(total, (*total.shape[:2], *windows.outputs, total.shape[-1])))


def _multiplied(columns: Array, delta: Array, windows: Windows) -> Array:
    """A piece of `products`: (outer offsets, G, K C/G, F/G)."""
    deltas = _split(delta, columns.shape[1])
    size = columns.shape[-1] * deltas.shape[-1]
    deltas = _blocks(deltas, windows, size)
    axes = (0, *range(2, deltas.ndim - 2))  # all but the groups, and those of the matrices
    return np.stack(
        [
            np.sum(np.swapaxes(_blocks(columns[index], windows, size), -1, -2) @ deltas, axis=axes)
            for _, index in _outer_offsets(windows)
        ]
    )


def _product(blocks: Array, matrices: Array) -> Array:
    """The products of blocks (batch, G, …, places, n) with the matrix of each group."""
    groups, *shape = matrices.shape
    return blocks @ np.reshape(matrices, (groups, *(1 for _ in blocks.shape[4:]), *shape))


def _blocks(seen: Array, windows: Windows, size: int) -> Array:
    """(batch, G, *outputs, n) with other axes of places: the last is that of a matrix for BLAS.

    Small matrices are best: for up to 10⁶ multiplications OpenBLAS has a way that is up to 1.5
    times as fast as that for large ones. So several lines of an image are taken together, without
    a copy, and divided into equal parts with so few.
    """
    *others, places, n = seen.shape
    if len(others) > 2 and windows.strides[-2] == 1:
        places *= others.pop()
    parts = _parts(places, size)
    return np.reshape(seen, (*others, parts, places // parts, n))


@functools.lru_cache(maxsize=256)
def _parts(places: int, size: int) -> int:
    parts = range(1, places // 64 + 1)
    return next((p for p in parts if places % p == 0 and places // p * size <= SMALL), 1)


@functools.lru_cache(maxsize=256)
def _outer_offsets(windows: Windows) -> list[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """The offsets along the outer axes, with the index of columns that gives what is seen there."""
    offsets = []
    for k in itertools.product(*map(range, windows.kernel[:-1])):
        batch, *outer, _ = windows.seen_at((*k, 0))
        offsets.append((k, (batch, slice(None), *outer)))
    return offsets


def _split(array: Array, groups: int) -> Array:
    """(batch, *places, channels) as (batch, G, *places, channels/G)."""
    *places, channels = array.shape
    return np.moveaxis(np.reshape(array, (*places, groups, channels // groups)), -2, 1)


def _joined(array: Array) -> Array:
    """(batch, G, *places, channels/G) as (batch, *places, channels)."""
    array = np.moveaxis(array, 1, -2)
    return np.reshape(array, (*array.shape[:-2], math.prod(array.shape[-2:])))


def _matrices(weights: Array, groups: int) -> Array:
    """(*kernel, C/G, F) as (*outer kernel, G, K C/G, F/G): matrices for columns."""
    *outer, kernel, channels, filters = weights.shape
    split = np.reshape(weights, (*outer, kernel, channels, groups, filters // groups))
    shape = (*outer, groups, kernel * channels, filters // groups)
    return np.reshape(np.moveaxis(split, -2, -4), shape)


def _weights(matrices: Array, windows: Windows) -> Array:
    """(outer offsets, G, K C/G, F/G) as (*kernel, C/G, F)."""
    *outer, kernel = windows.kernel
    _, groups, height, filters = matrices.shape
    split = np.reshape(matrices, (*outer, groups, kernel, height // kernel, filters))
    shape = (*outer, kernel, height // kernel, groups * filters)
    return np.reshape(np.moveaxis(split, -4, -2), shape)


def _flipped(weights: Array, groups: int) -> Array:
    """(*kernel, C/G, F) as (*kernel, F/G, C), with the entries of the kernel in reverse order."""
    *kernel, channels, filters = weights.shape
    split = np.reshape(weights, (*kernel, channels, groups, filters // groups))
    split = np.swapaxes(np.flip(split, range(len(kernel))), -1, -3)
    return np.reshape(split, (*kernel, filters // groups, groups * channels))


def _around(windows: Windows) -> tuple[Windows, Amounts]:
    """The windows on Δ that see all places an entry of a row was seen from, for strides of 1.

    Zeros at the edges have no delta, and nothing is computed for them. Other paddings remain to be
    folded.
    """
    margins = [reach(*sizes) - 1 for sizes in zip(windows.kernel, windows.dilations, strict=True)]
    nothing = tuple((0, 0) for _ in margins)
    is_copied = windows.padding in ("periodic", "reflect")
    if is_copied or any(max(p) > m for p, m in zip(windows.amounts, margins, strict=True)):
        cut, rest = nothing, windows.amounts
    else:
        cut, rest = windows.amounts, nothing
    amounts = tuple((m - p, m - q) for m, (p, q) in zip(margins, cut, strict=True))
    return attrs.evolve(windows, sizes=windows.outputs, amounts=amounts, padding="zeros"), rest
