"""Loops of layers, for numba: copies for which NumPy needs several passes, between products by MKL.

    columns[b, i, j, p, q] = x[b, s i + d p − before, s' j + d' q − before']    zero outside of x

`chainrule.core.acceleration` compiles a loop when it is first called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainrule.core.types import Array

if TYPE_CHECKING:
    from chainrule.core.mkl import gemm


def correlate(
    x: Array,
    matrix: Array,
    outputs: Array,
    deltas: Array,
    gradient: Array,
    memory: Array,
    outer: tuple[int, int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    before: tuple[int, int],
) -> None:
    """Write columns · matrix and add columnsᵀ · deltas, for as many lines as memory has rows."""
    batch, lines, places = outer
    some = min(len(memory) // places, lines)
    images = max(len(memory) // (places * lines), 1)
    for first in range(0, batch, images):
        for line in range(0, lines, some):
            shape = (min(images, batch - first), min(some, lines - line), places)
            start, count = (first * lines + line) * places, shape[0] * shape[1] * shape[2]
            columns = memory[:count]
            columns_of(
                columns.reshape((*shape, *kernel, x.shape[3])),
                x[first : first + shape[0]],
                strides,
                dilations,
                (before[0] - line * strides[0], before[1]),
            )
            if matrix.size:
                gemm(columns, matrix, outputs[start : start + count], 0.0)
            if deltas.size:
                gemm(columns.T, deltas[start : start + count], gradient, 1.0)


def columns_of(
    columns: Array,
    x: Array,
    strides: tuple[int, int],
    dilations: tuple[int, int],
    before: tuple[int, int],
) -> None:
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
