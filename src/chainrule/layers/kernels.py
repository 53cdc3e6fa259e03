"""Loops of layers, for numba: copies for which NumPy needs several passes, between products by MKL.

    columns[b, i, j, p, q] = x[b, s i + d p − before, s' j + d' q − before']    zero outside of x

Columns are made for a part of the batch at a time, so that they stay in the processor's cache.
"""

from __future__ import annotations

from typing import TypeAlias

from chainrule.core.acceleration import loop
from chainrule.core.mkl import gemm
from chainrule.core.types import Array

Pair: TypeAlias = tuple[int, int]


def correlate(
    x: Array, matrix: Array, biases: Array, outputs: Array, deltas: Array, gradient: Array,
    memory: Array, outer: tuple[int, int, int],
    kernel: Pair, strides: Pair, dilations: Pair, before: Pair,
) -> None:  # fmt: skip
    """Write columns · matrix + biases, add columnsᵀ · deltas, for as many lines as memory holds."""
    batch, lines, places = outer
    some = min(len(memory) // places, lines)
    images = max(len(memory) // (places * lines), 1)
    for first in range(0, batch, images):
        for line in range(0, lines, some):
            shape = (min(images, batch - first), min(some, lines - line), places)
            start, count = (first * lines + line) * places, shape[0] * shape[1] * shape[2]
            columns, rows = memory[:count], slice(start, start + count)
            windows, shift = columns.reshape((*shape, *kernel, x.shape[3])), line * strides[0]
            some_x, some_before = x[first : first + shape[0]], (before[0] - shift, before[1])
            columns_of(windows, some_x, strides, dilations, some_before)
            fits = matrix.size == 0 or gemm(columns, matrix, outputs[rows], 0.0)
            fits &= deltas.size == 0 or gemm(columns.T, deltas[rows], gradient, 1.0)
            if not fits:
                raise ValueError("columns of a convolution that are no matrix")
            for row in range(start, start + count):
                for f in range(len(biases)):
                    outputs[row, f] += biases[f]


def columns_of(columns: Array, x: Array, strides: Pair, dilations: Pair, before: Pair) -> None:
    """Write what the windows on images see into (batch, *outputs, *kernel, C)."""
    batch, lines, places, height, width, channels = columns.shape
    for b in range(batch):
        for i in range(lines):
            for p in range(height):
                line = i * strides[0] + p * dilations[0] - before[0]
                for q in range(width):
                    for j in range(places):
                        place = j * strides[1] + q * dilations[1] - before[1]
                        if 0 <= line < x.shape[1] and 0 <= place < x.shape[2]:
                            for c in range(channels):
                                columns[b, i, j, p, q, c] = x[b, line, place, c]
                        else:
                            for c in range(channels):
                                columns[b, i, j, p, q, c] = 0


@loop
def lstm_cells(gates: Array, c: Array, cells: Array) -> None:
    """Make sigmoids of the gates i, f and o; write i g, f c and their sum, the new c.

    Several loops with few arrays each: only such loops become vector instructions.
    """
    size, half = c.size, c.dtype.type(0.5)
    for start, stop in ((0, 2 * size), (3 * size, 4 * size)):
        part = gates.ravel()[start:stop]
        for n in range(len(part)):
            part[n] = part[n] * half + half
    i, f, g = gates.ravel()[:size], gates.ravel()[size : 2 * size], gates.ravel()[2 * size :]
    written, kept, new = cells[0].ravel(), cells[1].ravel(), cells[2].ravel()
    for out, one, other in ((written, i, g), (kept, f, c.ravel())):
        for n in range(size):
            out[n] = one[n] * other[n]
    for n in range(size):
        new[n] = written[n] + kept[n]


@loop
def lstm_slopes(
    slopes: Array, gates: Array, written: Array, kept: Array, read: Array, h: Array
) -> None:
    """Write what the backward pass of an LSTM multiplies deltas by."""
    size, to, of = h.size, slopes.ravel(), gates.ravel()
    w, k, r, y = written.ravel(), kept.ravel(), read.ravel(), h.ravel()
    i, f, g, o = of[:size], of[size : 2 * size], of[2 * size : 3 * size], of[3 * size :]
    for number, one, two, three in (
        (0, w, w, i), (1, k, k, f), (2, i, w, g), (3, y, y, o), (4, o, y, r),
    ):  # fmt: skip
        out = to[number * size : (number + 1) * size]
        for n in range(size):
            out[n] = one[n] - two[n] * three[n]
    to[5 * size :] = f


@loop
def lstm_back(room: Array, dh: Array, dc: Array, slopes: Array, before: Array) -> None:
    """Write ∂C/∂z of the gates, and ∂C/∂c of the step before."""
    size, to, of = dh.size, room.ravel(), slopes.ravel()
    h, c, new = dh.ravel(), dc.ravel(), before.ravel()
    slope = of[4 * size : 5 * size]
    for n in range(size):
        new[n] = c[n] + h[n] * slope[n]
    for gate, delta in ((0, new), (1, new), (2, new), (3, h)):
        out, slope = to[gate * size : (gate + 1) * size], of[gate * size : (gate + 1) * size]
        for n in range(size):
            out[n] = delta[n] * slope[n]
    slope = of[5 * size :]
    for n in range(size):
        new[n] *= slope[n]
