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
        self.backward_parameters(delta)
        return spread(delta, self.weights.value, self.windows, self.groups)

    def backward_parameters(self, delta: Array) -> None:
        if self.weights.trainable:
            self.weights.accumulate(products(self.inputs, delta, self.windows, self.groups))
        self._accumulate_biases(delta)

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
        self.backward_parameters(delta)
        return correlation(delta, self._transposed(), self.windows, self.groups)

    def backward_parameters(self, delta: Array) -> None:
        if self.weights.trainable:
            gradient = products(delta, self.inputs, self.windows, self.groups)
            self.weights.accumulate(np.swapaxes(gradient, -1, -2))
        self._accumulate_biases(delta)

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


# ------------------------------------------------------------------------------- three functions

# Here `weights` is (*kernel, C/G, F), for C channels, F filters and G groups, and `windows` are
# those of the convolution. The outer axes of space are all but the last. Along the last axis there
# are columns: each holds what a window sees there, K C/G numbers.


def correlation(x: Array, weights: Array, windows: Windows, groups: int = 1) -> Array:
    """y_i = Σ_k x_(s i + d k) w_k, from (batch, *sizes, C) to (batch, *outputs, F)."""
    matrices, parts = _matrices(weights, groups), []
    for rows in _pieces(x, _in_columns(windows, x.shape[-1])):
        columns = _columns(x[rows], windows, groups)
        terms = (seen @ matrices[k] for k, seen in _seen(columns, windows))
        parts.append(_from_groups(functools.reduce(operator.iadd, terms), windows))
    return np.concatenate(parts)


def products(x: Array, delta: Array, windows: Windows, groups: int = 1) -> Array:
    """∂C/∂w_k = Σ_i x_(s i + d k)ᵀ Δ_i, a sum over the batch, in the shape of the weights."""
    parts = []
    for rows in _pieces(x, _in_columns(windows, x.shape[-1])):
        columns, deltas = _columns(x[rows], windows, groups), _in_groups(delta[rows], groups)
        parts.append(
            np.stack([np.swapaxes(seen, -1, -2) @ deltas for _, seen in _seen(columns, windows)])
        )
    return _from_matrices(functools.reduce(operator.iadd, parts), windows)


def spread(delta: Array, weights: Array, windows: Windows, groups: int = 1) -> Array:
    """∂C/∂x_j = Σ_(i, k: s i + d k = j) Δ_i w_kᵀ, the adjoint of `correlation`."""
    if set(windows.strides) == {1}:
        around, rest = _around(windows)
        deltas = correlation(delta, _flipped(weights, groups), around, groups)
        return folded(deltas, rest, windows.padding)
    *kernel, channels, filters = weights.shape
    split = np.reshape(weights, (*kernel, channels, groups, filters // groups))
    matrices = np.moveaxis(split, -3, -1)  # (*kernel, G, F/G, C/G): w_kᵀ
    parts = []
    for rows in _pieces(delta, math.prod(windows.outputs) * math.prod(kernel) * channels * groups):
        split = np.reshape(delta[rows], (len(delta[rows]), *windows.outputs, groups, filters // groups))
        terms = _flat(np.moveaxis(split, -2, 0)) @ matrices  # (*kernel, G, places, C/G)
        sizes = [n + sum(amount) for n, amount in zip(windows.sizes, windows.amounts, strict=True)]
        total = np.zeros_like(terms, shape=(len(split), *sizes, groups, channels))
        for k in windows.offsets():
            term = np.reshape(terms[k], (groups, *split.shape[:-2], channels))
            total[windows.seen_at(k)] += np.moveaxis(term, 0, -2)
        whole = np.reshape(total, (*total.shape[:-2], groups * channels))
        parts.append(folded(whole, windows.amounts, windows.padding))
    return np.concatenate(parts)


# ------------------------------------------------------------------------------- their parts


def _pieces(x: Array, numbers: int) -> list[slice]:
    """The rows of a batch, as many at a time as need about 1 MB for so many numbers each.

    This is for arrays in memory; anything else stays in one piece.
    """
    if type(x) is not np.ndarray:
        return [slice(None)]
    step = max(CACHED // max(numbers * x.itemsize, 1), 1)
    return [slice(start, start + step) for start in range(0, max(len(x), 1), step)]


def _in_columns(windows: Windows, channels: int) -> int:
    """How many numbers the columns of a row hold."""
    return math.prod((*windows.sizes[:-1], windows.outputs[-1], windows.kernel[-1], channels))


def _around(windows: Windows) -> tuple[Windows, Amounts]:
    """The windows on Δ that see all of which a row was a part, for strides of 1.

    If the edges are zeros, they have no delta, and nothing is computed for them. Otherwise it
    remains to be folded.
    """
    margins = [reach(*sizes) - 1 for sizes in zip(windows.kernel, windows.dilations, strict=True)]
    nothing = tuple((0, 0) for _ in margins)
    rest = windows.amounts
    is_zero = windows.padding not in ("periodic", "reflect")
    if is_zero and all(max(p) <= m for p, m in zip(rest, margins, strict=True)):
        rest = nothing
    cut = windows.amounts if rest is nothing else nothing
    amounts = tuple((m - p, m - q) for m, (p, q) in zip(margins, cut, strict=True))
    return attrs.evolve(windows, sizes=windows.outputs, amounts=amounts, padding="zeros"), rest


def _columns(x: Array, windows: Windows, groups: int) -> Array:
    """The columns: from (batch, *sizes, C) to (G, *outer, batch, outputs, K C/G)."""
    x = padded(x, windows.amounts, windows.padding)
    kernel, stride, dilation = windows.kernel[-1], windows.strides[-1], windows.dilations[-1]
    seen = np.lib.stride_tricks.sliding_window_view(x, reach(kernel, dilation), axis=-2)
    seen = seen[..., ::stride, :, ::dilation]  # (batch, *outer, outputs, C, K), still a view
    shape, last = seen.shape, seen.ndim
    seen = np.reshape(seen, (*shape[:-2], groups, shape[-2] // groups, kernel))
    order = (last - 2, *range(1, last - 3), 0, last - 3, last, last - 1)
    # A copy: windows overlap in memory, and BLAS does not take such matrices.
    columns = np.ascontiguousarray(np.transpose(seen, order))
    return np.reshape(columns, (*columns.shape[:-2], math.prod(columns.shape[-2:])))


def _seen(columns: Array, windows: Windows) -> Iterator[tuple[tuple[int, ...], Array]]:
    """For each offset along the outer axes, the columns there, as (G, places, K C/G)."""
    for k in itertools.product(*map(range, windows.kernel[:-1])):
        index = windows.seen_at((*k, 0))[:-1]  # its first is for the batch; here the groups
        yield k, _flat(columns[index])


def _flat(array: Array) -> Array:
    """(G, …, n) as (G, places, n)."""
    shape = array.shape
    return np.reshape(array, (shape[0], math.prod(shape[1:-1]), shape[-1]))


def _in_groups(delta: Array, groups: int) -> Array:
    """From (batch, *outputs, F) to (G, places, F/G), with the places in the order of columns."""
    shape, last = delta.shape, delta.ndim
    split = np.reshape(delta, (*shape[:-1], groups, shape[-1] // groups))
    return _flat(np.transpose(split, (last - 1, *range(1, last - 2), 0, last - 2, last)))


def _from_groups(flat: Array, windows: Windows) -> Array:
    """The inverse of `_in_groups`."""
    *outer, inner = windows.outputs
    groups, places, filters = flat.shape
    batch = places // max(math.prod(windows.outputs), 1)
    axes = len(outer)
    split = np.reshape(flat, (groups, *outer, batch, inner, filters))
    order = (axes + 1, *range(1, axes + 1), axes + 2, 0, axes + 3)
    return np.reshape(np.transpose(split, order), (batch, *outer, inner, groups * filters))


def _matrices(weights: Array, groups: int) -> Array:
    """(*kernel, C/G, F) as (*outer kernel, G, K C/G, F/G): one matrix for columns."""
    *outer, kernel, channels, filters = weights.shape
    split = np.reshape(weights, (*outer, kernel, channels, groups, filters // groups))
    shape = (*outer, groups, kernel * channels, filters // groups)
    return np.reshape(np.moveaxis(split, -2, -4), shape)


def _from_matrices(matrices: Array, windows: Windows) -> Array:
    """The inverse of `_matrices`, for matrices in one row."""
    _, groups, height, filters = matrices.shape
    channels = height // windows.kernel[-1]
    split = np.reshape(
        matrices, (*windows.kernel[:-1], groups, windows.kernel[-1], channels, filters)
    )
    return np.reshape(np.moveaxis(split, -4, -2), (*windows.kernel, channels, groups * filters))


def _flipped(weights: Array, groups: int) -> Array:
    """(*kernel, C/G, F) as (*kernel, F/G, C), with the entries of the kernel in reverse order."""
    *kernel, channels, filters = weights.shape
    split = np.reshape(weights, (*kernel, channels, groups, filters // groups))
    split = np.swapaxes(np.flip(split, range(len(kernel))), -1, -3)
    return np.reshape(split, (*kernel, filters // groups, groups * channels))
