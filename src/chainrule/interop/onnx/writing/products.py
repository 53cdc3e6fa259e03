"""Products of matrices: np.dot, np.matmul, np.einsum and their relatives.

x @ w        MatMul            np.einsum("spc,spc->sc", x, y)        Einsum
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.core.types import Shape
from chainrule.interop.onnx.writing.sizes import Size
from chainrule.interop.onnx.writing.traced import (
    Trace,
    Traced,
    as_traced,
    broadcast,
    first_of,
    new,
    no_counterpart,
    refused,
)


def matmul(trace: Trace, a: Any, b: Any) -> Any:
    """``a @ b``."""
    dtype = np.result_type(*(x.dtype for x in (a, b)))
    inner = np.shape(a)[-1], np.shape(b)[-2 if np.ndim(b) > 1 else 0]
    if int(inner[0]) != int(inner[1]):
        np.matmul(*(np.empty([int(n) for n in np.shape(x)]) for x in (a, b)))  # NumPy's error
    length = next((n for n in inner if isinstance(n, Size)), inner[0])
    a = _factor(trace, a, dtype, -1, length)
    b = _factor(trace, b, dtype, -2 if np.ndim(b) > 1 else 0, length)
    outer = broadcast(a.shape[:-2], b.shape[:-2])
    shape = (*outer, *a.shape[-2:-1], *(b.shape[-1:] if b.ndim > 1 else ()))
    return new(trace, "MatMul", [a, b], shape, dtype)


def _factor(trace: Trace, x: Any, dtype: Any, axis: int, length: int) -> Traced:
    """A factor; numbers that sum over an open axis are as long as that axis."""
    if isinstance(x, Traced) or not isinstance(length, Size):
        return as_traced(trace, x, dtype)
    array = np.asarray(x, dtype)
    if array.shape[axis] > 1:
        array = first_of(trace, array, axis, length)
    shape: list[int] = list(array.shape)
    shape[axis] = length
    wide: Traced = np.broadcast_to(as_traced(trace, array), tuple(shape))  # type: ignore[assignment]
    return wide


def dot(trace: Trace, a: Any, b: Any) -> Any:
    """``np.dot``: as ``@``, if one of the factors is a matrix or a vector."""
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return np.multiply(a, b)
    if np.ndim(b) > 2:
        raise refused(trace, "np.dot with a stack of matrices", "np.matmul or np.einsum")
    return matmul(trace, a, b)


def vecdot(trace: Trace, a: Any, b: Any, **options: Any) -> Any:
    """The sum of products along the last axis."""
    return np.sum(np.multiply(a, b), axis=-1)


def _inner(trace: Trace, a: Any, b: Any) -> Any:
    return matmul(trace, a, np.swapaxes(b, -1, -2) if np.ndim(b) > 1 else b)


def _outer(trace: Trace, a: Any, b: Any, out: Any = None) -> Any:
    return np.multiply(np.expand_dims(np.ravel(a), 1), np.ravel(b))


def _tensordot(trace: Trace, a: Any, b: Any, axes: Any = 2) -> Any:
    if isinstance(axes, int):
        one, two = list(range(np.ndim(a) - axes, np.ndim(a))), list(range(axes))
    else:
        one = [int(n) % np.ndim(a) for n in np.ravel(axes[0])]
        two = [int(n) % np.ndim(b) for n in np.ravel(axes[1])]
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    left = [next(letters) for _ in range(np.ndim(a))]
    right = [left[one[two.index(n)]] if n in two else next(letters) for n in range(np.ndim(b))]
    kept = [c for n, c in enumerate(left) if n not in one]
    kept += [c for n, c in enumerate(right) if n not in two]
    return np.einsum(f"{''.join(left)},{''.join(right)}->{''.join(kept)}", a, b)


def _einsum(trace: Trace, *operands: Any, optimize: Any = False, **options: Any) -> Any:
    subscripts, *arrays = operands
    if not isinstance(subscripts, str) or options:
        raise refused(trace, "np.einsum with lists of axes", "np.einsum('ij,jk->ik', x, y)")
    text = subscripts.replace(" ", "")
    if "->" not in text:
        counted = text.replace(",", "").replace(".", "")
        once = "".join(sorted(c for c in set(counted) if counted.count(c) == 1))
        text += "->" + ("..." if "..." in text else "") + once
    inputs, output = text.split("->")
    sizes: dict[str, int] = {}
    outer: list[Shape] = []
    dtype = np.result_type(*(x.dtype for x in arrays))
    for letters, x in zip(inputs.split(","), arrays, strict=True):
        _note_sizes(letters, np.shape(x), sizes, outer)
    parts = []
    for letters, x in zip(inputs.split(","), arrays, strict=True):
        part = x
        for place, letter in enumerate(letters.replace("...", "")):
            if "..." not in letters and not isinstance(x, Traced):
                part = _factor(trace, part, dtype, place, sizes[letter])
        parts.append(as_traced(trace, part, dtype))
    ellipsis = broadcast(*outer)
    shape = [n for c in output.replace("...", ".") for n in (ellipsis if c == "." else [sizes[c]])]
    return new(trace, "Einsum", parts, shape, dtype, equation=f"{inputs}->{output}")


def _note_sizes(letters: str, shape: Shape, sizes: dict[str, int], outer: list[Shape]) -> None:
    before, dots, after = letters.partition("...")
    count = len(shape) - len(before) - len(after)
    if dots:
        outer.append(tuple(shape[len(before) : len(before) + count]))
    pairs = [*zip(before, shape, strict=False)]
    pairs += [*zip(after, shape[len(shape) - len(after) :], strict=True)]
    for letter, n in pairs:
        if letter not in sizes or isinstance(n, Size) or int(sizes[letter]) == 1:
            sizes[letter] = n


def _det(trace: Trace, a: Any) -> Any:
    return new(trace, "Det", [a], a.shape[:-2], a.dtype)


def _cross(trace: Trace, a: Any, b: Any, **options: Any) -> Any:
    if options or np.shape(a)[-1] != 3 or np.shape(b)[-1] != 3:
        raise no_counterpart(trace, "numpy.cross with these arguments")
    (ax, ay, az), (bx, by, bz) = ([x[..., n] for n in range(3)] for x in (a, b))
    parts = [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx]
    return np.stack(parts, axis=-1)


def _trace(trace: Trace, a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    if offset:
        raise no_counterpart(trace, "numpy.trace with an offset")
    moved = np.moveaxis(a, (axis1, axis2), (-2, -1))
    return np.sum(moved * np.eye(*map(int, moved.shape[-2:]), dtype=a.dtype), axis=(-2, -1))


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.dot: dot,
    np.vdot: lambda trace, a, b: np.sum(np.multiply(np.ravel(a), np.ravel(b))),
    np.inner: _inner,
    np.outer: _outer,
    np.tensordot: _tensordot,
    np.einsum: _einsum,
    np.linalg.det: _det,
    np.cross: _cross,
    np.linalg.cross: lambda trace, a, b, axis=-1: _cross(trace, a, b),
    np.trace: _trace,
}
"""The rule of each function, by the function."""
