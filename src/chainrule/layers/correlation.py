"""Correlation: the three linear maps of a convolution, computed by products of matrices.

    correlation  y_i = Σ_k x_(s i + d k) w_k               linear in x and in w
    spread       Σ_(i, k: s i + d k = j) Δ_i w_kᵀ          its adjoint in x: ∂C/∂x_j
    products     Σ_i x_(s i + d k)ᵀ Δ_i                    its adjoint in w: ∂C/∂w_k

The indices are places along one, two or three axes of space. Multiplication is fast and copying is
not, and a copy of all windows would hold each x as often as the kernel has entries. These functions
use what the windows see along the last axis of space alone, as columns of K C numbers: copies, or,
if lines are long, views. Along the outer axes of space, each offset of the kernel sees a slice of
the columns, and gives one product of matrices. If s = 1, the spread is a correlation too, of Δ with
the weights in reverse order; for a larger stride it is one for each remainder of a place.

In all of them, `weights` is (*kernel, C/G, F), for C channels, F filters and G groups.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.core.acceleration import compiled, gemm_for
from chainrule.core.arrays import as_operation, has_values
from chainrule.core.types import Array, Shape
from chainrule.layers import kernels
from chainrule.layers.windows import Windows, folded, inner, padded, reach

CACHED = 2**20
"""The bytes of columns that are computed at a time: about what the cache of a core holds."""

CACHED_BY_ONE_PRODUCT = 2**18
"""The same with MKL, which reads the columns twice."""

SMALL = 2**19
"""The number of multiplications of a small product of matrices."""


@as_operation
def correlation(
    x: Array, weights: Array, windows: Windows, groups: int = 1, biases: Array | None = None
) -> Array:
    """y_i = Σ_k x_(s i + d k) w_k + b, from (batch, *sizes, C) to (batch, *outputs, F)."""
    if _is_fast(x, weights, windows, groups):
        return _by_one_product(x, weights, None, windows, biases)[0]
    matrices, outputs = _matrices(weights, groups), None
    shape = len(x), *windows.outputs, weights.shape[-1]
    for rows, columns in _pieces(x, windows, groups):
        outputs = _placed(outputs, rows, _correlated(columns, matrices, windows), shape)
    return outputs if biases is None else with_biases(outputs, biases)


def with_biases(outputs: Array, biases: Array) -> Array:
    """Add a number for each filter."""
    if not has_values(outputs):
        return outputs + biases
    # Long rows: adding a short vector to each place of an image takes longer.
    *others, places, filters = outputs.shape
    lines = np.reshape(outputs, (math.prod(others), places * filters))
    lines += np.tile(biases, places)
    return np.reshape(lines, outputs.shape)


@as_operation
def products(x: Array, delta: Array, windows: Windows, groups: int = 1) -> Array:
    """∂C/∂w_k = Σ_i x_(s i + d k)ᵀ Δ_i, a sum over the batch, in the shape of the weights."""
    if _is_fast(x, delta, windows, groups):
        return _by_one_product(x, None, delta, windows)[1]
    pieces = _pieces(x, windows, groups)
    parts = (_multiplied(columns, delta[rows], windows) for rows, columns in pieces)
    return _weights(functools.reduce(operator.iadd, parts), windows)


@as_operation
def both(
    x: Array, weights: Array, delta: Array, windows: Windows, groups: int = 1
) -> tuple[Array, Array]:
    """`correlation` and `products`, which use the same columns."""
    if _is_fast(x, delta, windows, groups):
        return _by_one_product(x, weights, delta, windows)
    matrices, outputs, parts = _matrices(weights, groups), None, []
    shape = len(x), *windows.outputs, weights.shape[-1]
    for rows, columns in _pieces(x, windows, groups):
        outputs = _placed(outputs, rows, _correlated(columns, matrices, windows), shape)
        parts.append(_multiplied(columns, delta[rows], windows))
    return outputs, _weights(functools.reduce(operator.iadd, parts), windows)


@as_operation
def spread(delta: Array, weights: Array, windows: Windows, groups: int = 1) -> Array:
    """∂C/∂x_j = Σ_(i, k: s i + d k = j) Δ_i w_kᵀ, the adjoint of `correlation`."""
    return _backward(delta, weights, windows, groups)[0]


@as_operation
def gradients(
    x: Array, weights: Array, delta: Array, windows: Windows, groups: int = 1
) -> tuple[Array, Array]:
    """`spread` and `products`: the gradients of `correlation` with respect to x and weights."""
    is_fast = _is_fast(x, delta, windows, groups)
    if delta.shape[-1] > x.shape[-1] and not is_fast:  # columns of x are smaller than those of Δ
        return spread(delta, weights, windows, groups), products(x, delta, windows, groups)
    return _backward(delta, weights, windows, groups, x)


def _backward(
    delta: Array, weights: Array, windows: Windows, groups: int, x: Array | None = None
) -> tuple[Array, Any]:
    """∂C/∂x, and ∂C/∂w if x is given: by a correlation of Δ for each phase."""
    sizes, is_copied = windows.sizes, windows.padding in ("periodic", "reflect")
    if is_copied:  # also the copies have a delta
        sizes = windows.padded_sizes
        x = x if x is None else padded(x, windows.amounts, windows.padding)
    shape = len(delta), *sizes, weights.shape[-2] * groups
    deltas, gradient = None, None
    for places, kept, taps, around in _phases(windows, sizes):
        flipped = _flipped(weights[taps], groups)
        if x is None:
            part = correlation(delta[kept], flipped, around, groups)
        else:
            part, product = both(delta[kept], flipped, x[places], around, groups)
            gradient = _written(gradient, taps, _flipped(product, groups), weights.shape)
        deltas = _written(deltas, places, part, shape)
    if deltas is None:  # no window sees anything but zeros at the edges
        deltas, gradient = (np.zeros_like(delta, shape=s) for s in (shape, weights.shape))
    return folded(deltas, windows.amounts, windows.padding) if is_copied else deltas, gradient


def _written(whole: Array | None, places: tuple[slice, ...], part: Array, shape: Shape) -> Array:
    """An array with a part of it written; the part itself if it is all."""
    if part.shape == shape:
        return part
    if whole is None:
        whole = np.zeros_like(part, shape=shape)
    whole[places] = part
    return whole


# ------------------------------------------------------------------------------- with MKL


def _is_fast(x: Array, other: Array, windows: Windows, groups: int) -> bool:
    """Whether MKL computes the products, and numba copies the windows."""
    is_plain = type(x) is type(other) is np.ndarray and x.dtype is other.dtype
    is_plain = is_plain and min(x.size, other.size, *windows.outputs) > 0 and groups == 1
    return is_plain and len(windows.kernel) < 3 and gemm_for(x.dtype) is not None


def _by_one_product(
    x: Array,
    weights: Array | None,
    delta: Array | None,
    windows: Windows,
    biases: Array | None = None,
) -> tuple[Any, Any]:
    """`correlation` and `products`, with all entries of the kernel in one product.

    It needs a copy of all windows, made for some lines at a time. Only with numba and MKL this
    takes less time than several products.
    """
    amounts = windows.amounts
    if windows.padding in ("periodic", "reflect"):
        x, amounts = padded(x, amounts, windows.padding), ((0, 0),) * len(amounts)
    flat = (1,) * (2 - len(amounts))  # a signal is an image with lines of one entry
    kernel, outer = (*windows.kernel, *flat), (len(x), *windows.outputs, *flat)
    width, places = math.prod(kernel) * x.shape[-1], outer[1] * outer[2]
    nothing = np.empty((0, 0), x.dtype)
    matrix, outputs, deltas, gradient = nothing, nothing, nothing, nothing
    if weights is not None:
        matrix = np.ascontiguousarray(weights).reshape(width, -1)
        outputs = np.empty((len(x) * places, matrix.shape[1]), x.dtype)
    if delta is not None:
        deltas = np.ascontiguousarray(delta).reshape(len(x) * places, -1)
        gradient = np.zeros((width, deltas.shape[1]), x.dtype)
    lines = max(CACHED_BY_ONE_PRODUCT // (outer[2] * width * x.itemsize), 1)  # at a time
    rows = lines * outer[2] if lines < outer[1] else lines // outer[1] * places
    compiled(kernels.correlate)(
        np.ascontiguousarray(x).reshape(*x.shape[:-1], *flat, x.shape[-1]),
        matrix, np.empty(0, x.dtype) if biases is None else biases, outputs, deltas, gradient,
        np.empty((min(rows, len(x) * places), width), x.dtype),  # memory that stays in the cache
        outer, kernel, (*windows.strides, *flat), (*windows.dilations, *flat),
        (*(before for before, _ in amounts), *(0 for _ in flat)),
    )  # fmt: skip
    gradient = gradient.reshape(*windows.kernel, x.shape[-1], gradient.shape[1])
    return outputs.reshape(len(x), *windows.outputs, outputs.shape[1]), gradient


# ------------------------------------------------------------------------------- their parts


def _pieces(x: Array, windows: Windows, groups: int) -> Iterator[tuple[slice, Array]]:
    """The columns of some rows of a batch at a time: (batch, G, R, *outer, n, K C/G).

    Column n of part r is that of window R n + r.
    """
    size = math.prod((*windows.sizes[:-1], windows.outputs[-1], windows.kernel[-1], x.shape[-1]))
    is_in_place = groups == 1 and type(x) is np.ndarray and _can_stay(windows)
    for rows in _rows(x, size):
        yield rows, _views(x[rows], windows) if is_in_place else _copies(x[rows], windows, groups)


def _copies(x: Array, windows: Windows, groups: int) -> Array:
    """The columns side by side, R = 1. Windows overlap in memory, and BLAS needs matrices."""
    kernel, stride, dilation = windows.kernel[-1], windows.strides[-1], windows.dilations[-1]
    channels, last = x.shape[-1] // groups, x.ndim + 1
    seen = padded(x, windows.amounts, windows.padding)
    seen = np.lib.stride_tricks.sliding_window_view(seen, reach(kernel, dilation), axis=-2)
    seen = seen[..., np.newaxis, ::stride, :, ::dilation]  # (batch, *outer, 1, outputs, C, K)
    seen = np.reshape(seen, (*seen.shape[:-2], groups, channels, kernel))
    order = (0, last - 1, last - 3, *range(1, last - 3), last - 2, last + 1, last)
    columns = np.ascontiguousarray(np.transpose(seen, order), like=seen)
    return np.reshape(columns, (*columns.shape[:-2], kernel * channels))


def _can_stay(windows: Windows) -> bool:
    """Whether columns can be views: if the entries of a window are neighbours in memory.

    Windows that begin K entries apart do not overlap, and are the rows of a matrix. Lines need a
    length that is a multiple of K, so short lines would have many windows for nothing.
    """
    kernel, line = windows.kernel[-1], windows.padded_sizes[-1]
    is_dense = windows.strides[-1] == windows.dilations[-1] == 1 < kernel
    return is_dense and -(-line // kernel) * kernel <= 1.25 * windows.outputs[-1]


def _views(x: Any, windows: Windows) -> Any:
    """The columns as views of the padded rows, R = K: no window is copied."""
    kernel, channels = windows.kernel[-1], x.shape[-1]
    *outer, line = windows.padded_sizes
    n = -(-line // kernel)
    size = len(x) * math.prod(outer) * n * kernel * channels
    memory = np.zeros(size + kernel * channels, x.dtype)  # and room for the last windows
    lines = memory[:size].reshape(len(x), *outer, n * kernel, channels)
    if windows.padding in ("periodic", "reflect"):
        lines[..., :line, :] = padded(x, windows.amounts, windows.padding)
    else:
        lines[inner(x.shape, windows.amounts)] = x
    batch, *steps, entry, number = lines.strides
    return np.lib.stride_tricks.as_strided(
        memory,
        (len(x), 1, kernel, *outer, n, kernel * channels),
        (batch, 0, entry, *steps, kernel * entry, number),
    )


def _rows(x: Array, numbers: int) -> list[slice]:
    """The rows of a batch, as many at a time as need about 1 MB for so many numbers each.

    This is for arrays in memory; anything else stays in one piece.
    """
    if type(x) is not np.ndarray:
        return [slice(None)]
    step = max(CACHED // max(numbers * x.itemsize, 1), 1)
    return [slice(start, start + step) for start in range(0, max(len(x), 1), step)]


def _correlated(columns: Array, matrices: Array, windows: Windows) -> Array:
    """A piece of `correlation`: (batch, G, R, *outer, n, F/G)."""
    size = math.prod(matrices.shape[-2:])
    terms = (
        _product(_blocks(columns[index], windows, size), matrices[k])
        for k, index in _outer_offsets(windows)
    )
    total = functools.reduce(operator.iadd, terms)
    outer = windows.outputs[:-1]
    return np.reshape(total, (*columns.shape[:3], *outer, columns.shape[-2], total.shape[-1]))


def _placed(outputs: Array | None, rows: slice, piece: Array, shape: Shape) -> Array:
    """The outputs (batch, *outputs, F) with a piece of them written; it is all if R = 1."""
    parts = piece.shape[2]
    if parts == 1 and len(piece) == shape[0]:
        return _joined(piece)
    if outputs is None:
        outputs = np.empty_like(piece, shape=shape)
    for r in range(parts):
        places = outputs[rows][..., r::parts, :]
        places[...] = _joined(piece[:, :, r : r + 1])[..., : places.shape[-2], :]
    return outputs


def _multiplied(columns: Array, delta: Array, windows: Windows) -> Array:
    """A piece of `products`: (outer offsets, G, K C/G, F/G)."""
    _, groups, parts, *_, count, height = columns.shape
    deltas = _split(delta, groups, parts, count)
    size = height * deltas.shape[-1]
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
    """(batch, G, R, *outer, places, n), with other axes of places: matrices for BLAS.

    Small matrices are best: for up to 10⁶ multiplications OpenBLAS has a way that is up to 1.5
    times as fast as that for large ones. So several lines of an image are taken together, without
    a copy, and divided into equal parts with so few.
    """
    *others, places, n = seen.shape
    if len(others) > 3 and windows.strides[-2] == 1:
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
        offsets.append((k, (batch, slice(None), slice(None), *outer)))
    return offsets


def _split(array: Array, groups: int, parts: int, count: int) -> Array:
    """(batch, *outer, outputs, F) as (batch, G, R, *outer, count, F/G), with zeros at the end."""
    *outer, places, filters = array.shape
    zeros = count * parts - places
    array = padded(array, (*((0, 0) for _ in outer[1:]), (0, zeros)))
    array = np.reshape(array, (*outer, count, parts, groups, filters // groups))
    n = len(outer)
    return np.transpose(array, (0, n + 2, n + 1, *range(1, n + 1), n + 3))


def _joined(array: Array) -> Array:
    """(batch, G, 1, *places, F/G) as (batch, *places, F)."""
    last = array.ndim - 1
    array = np.transpose(array, (0, *range(3, last), 2, 1, last))
    *places, _, groups, filters = array.shape
    return np.reshape(array, (*places, groups * filters))


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
    split = np.swapaxes(np.flip(split, tuple(range(len(kernel)))), -1, -3)
    return np.reshape(split, (*kernel, filters // groups, groups * channels))


@functools.lru_cache(maxsize=256)
def _phases(windows: Windows, sizes: Shape) -> list[tuple[Any, Any, Any, Windows]]:
    """The places of a row by their remainders of the stride: each phase is a correlation of Δ.

    With p for what is added before, entry j = s q + r receives Δ_i w_kᵀ if s i + d k − p = j. This
    needs d k − p = r modulo s, which leaves every (s/g)-th entry of the kernel, g = gcd(d, s), and
    those of Δ at the distance d/g. For s = 1 there is one phase.

    For each phase: where its places are in a row, and what is kept of Δ, its entries of the kernel,
    the windows on what is kept.
    """
    axes = []
    is_all = sizes != windows.sizes  # the padding too, so j counts from its first entry
    for size, m, k, s, d, (before, _) in zip(
        sizes, windows.outputs, windows.kernel, windows.strides, windows.dilations,
        windows.amounts, strict=True,
    ):  # fmt: skip
        first, step = 0 if is_all else before, s // math.gcd(d, s)
        phases = []
        for r in range(min(s, size)):
            seen = [n for n in range(k) if (d * n - first - r) % s == 0]
            if not seen:
                continue
            count, distance = len(range(r, size, s)), d * step // s
            span = distance * (len(seen) - 1)
            front = span + (d * seen[0] - first - r) // s
            kept = range(m)[max(-front, 0) : max(count - front + span, 0)]
            added = max(front, 0), count + span - len(kept) - max(front, 0)
            phases.append(
                (slice(r, None, s), slice(kept.start, kept.stop), slice(seen[0], None, step),
                 len(kept), len(seen), 1, distance, added)
            )  # fmt: skip
        axes.append(phases)
    found = []
    for phase in itertools.product(*axes):
        places, of_delta, taps, *of_windows = zip(*phase, strict=True)
        batch = slice(None)
        found.append(((batch, *places), (batch, *of_delta), taps, Windows(*of_windows)))
    return found
