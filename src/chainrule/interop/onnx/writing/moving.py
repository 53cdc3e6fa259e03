"""Arrays in other shapes: reshape, transpose, join, repeat, sum over axes, and create new ones.

    np.reshape(x, (len(x), -1))    Reshape        np.sum(x, axis=1)    ReduceSum

`FUNCTIONS` has a rule for each function of NumPy that a `Traced` can flow through, except for the
ufuncs. A rule has the arguments of the function, after the trace.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from chainrule.calculus.messages import name_of
from chainrule.core.types import Shape
from chainrule.interop.onnx.writing.sizes import Size, same
from chainrule.interop.onnx.writing.traced import (
    Trace,
    Traced,
    as_traced,
    broadcast,
    converted,
    equal_shapes,
    first_of,
    new,
    no_counterpart,
    refused,
)

BOOL, INT64 = np.dtype(bool), np.dtype(np.int64)
GIVEN = np._NoValue


# ------------------------------------------------------------------------------- shapes


def fitted(trace: Trace, value: Any, shape: Shape, dtype: Any) -> Traced:
    """Numbers of this dtype, broadcast to this shape."""
    x = as_traced(trace, value, dtype, shape)
    if equal_shapes(x.shape, shape):
        return x
    return expanded(x, shape)


def expanded(x: Traced, shape: Shape) -> Traced:
    """An array broadcast to a shape."""
    missing = x.ndim - len(shape)
    if missing > 0:  # as in NumPy, an assignment ignores axes of length 1 in front
        x = reshaped(x, x.shape[missing:])
    if [int(n) for n in broadcast(x.shape, shape)] != [int(n) for n in shape]:
        np.broadcast_to(np.empty([int(n) for n in x.shape]), [int(n) for n in shape])
    if equal_shapes(x.shape, shape):
        return x
    return new(x.graph, "Expand", [x, x.graph.writer.integers(shape)], shape, x.dtype)


def known_sizes(trace: Trace, shape: Any) -> list[int]:
    """A shape with the formula of each size; ``len(x)`` returns the batch as a plain integer."""
    sizes = [shape] if np.ndim(shape) == 0 else list(shape)
    return [trace.size_of(n) for n in sizes]


def reshaped(x: Traced, shape: Sequence[int]) -> Traced:
    """The same numbers in another shape, one size of which may be −1."""
    target = known_sizes(x.graph, shape)
    total: Any = x.size
    if any(int(n) == -1 for n in target):
        place = next(i for i, n in enumerate(target) if int(n) == -1)
        rest: Any = 1
        for n in (*target[:place], *target[place + 1 :]):
            rest = n * rest
        target[place] = total // rest if int(rest) else 0
    if math.prod(map(int, target)) != int(total):
        np.reshape(np.empty([int(n) for n in x.shape]), [int(n) for n in target])  # NumPy's error
    if equal_shapes(x.shape, tuple(target)):
        return Traced(x.graph, x.name, target, x.dtype)
    inserted = _only_ones_differ(x.shape, target)
    if inserted is not None:
        return squeezed(x, *inserted, target)
    return new(x.graph, "Reshape", [x, _reshape_sizes(x, target)], target, x.dtype)


def squeezed(x: Traced, kind: str, axes: Sequence[int], shape: Sequence[int]) -> Traced:
    """An array with other axes of length 1: by the node Squeeze, or Unsqueeze."""
    graph = x.graph
    before, source, others = graph.squeezes.get(x.name, ("", "", ()))
    if before and before != kind and others == tuple(axes):
        return Traced(graph, source, shape, x.dtype)
    result = new(graph, kind, [x, graph.writer.integers(axes)], shape, x.dtype)
    graph.squeezes[result.name] = kind, x.name, tuple(axes)
    return result


def _only_ones_differ(before: Shape, after: Sequence[int]) -> tuple[str, list[int]] | None:
    """Which axes of length 1 are added or removed, if nothing else changes."""
    kind, fewer, more = "Unsqueeze", list(before), list(after)
    if len(fewer) > len(more):
        kind, fewer, more = "Squeeze", more, fewer
    if len(fewer) == len(more):
        return None
    axes, place = [], 0
    for axis, n in enumerate(more):
        if place < len(fewer) and same(n, fewer[place]):
            place += 1
        elif same(n, 1):
            axes.append(axis)
        else:
            return None
    return (kind, axes) if place == len(fewer) else None


def _reshape_sizes(x: Traced, target: Sequence[int]) -> str:
    """The sizes as Reshape wants them: 0 keeps a size, one −1 follows from the others."""
    writer = x.graph.writer
    open_axes = [axis for axis, n in enumerate(target) if isinstance(n, Size)]
    if not open_axes or any(int(n) == 0 for n in target):
        return writer.integers(target)
    kept = {a for a in open_axes if a < x.ndim and same(x.shape[a], target[a])}
    unknown = [axis for axis in open_axes if axis not in kept]
    if len(unknown) == 1 or (not unknown and len(open_axes) == 1):
        unknown = unknown or open_axes
        sizes = [-1 if a in unknown else 0 if a in kept else n for a, n in enumerate(target)]
        return writer.integers(sizes)
    if not unknown:
        return writer.integers([0 if a in kept else n for a, n in enumerate(target)])
    return writer.integers(target)


def transposed(x: Traced, axes: Sequence[int]) -> Traced:
    """The axes in another order."""
    axes = [int(axis) % x.ndim for axis in axes]
    shape = [x.shape[axis] for axis in axes]
    source, before = x.graph.transposes.get(x.name, (x.name, list(range(x.ndim))))
    axes = [before[axis] for axis in axes]  # one after the other is one
    if axes == list(range(x.ndim)):
        return Traced(x.graph, source, shape, x.dtype)
    result = new(x.graph, "Transpose", [source], shape, x.dtype, perm=axes)
    x.graph.transposes[result.name] = source, axes
    return result


def _reshape(
    trace: Trace, a: Any, /, shape: Any = None, order: str = "C", *, copy: Any = None, **old: Any
) -> Any:
    shape = old.pop("newshape", shape)
    if order not in ("C", "A", "K"):
        raise refused(trace, f"np.reshape(order={order!r})", "transpose the array")
    view, before = reshaped(a, shape), a.shape
    return view.as_view_of(
        a, lambda base: reshaped(base, view.shape), lambda base, v: reshaped(v, before)
    )


def _transpose(trace: Trace, a: Any, axes: Any = None) -> Any:
    order = tuple(range(a.ndim))[::-1] if axes is None else tuple(int(n) % a.ndim for n in axes)
    back = tuple(order.index(n) for n in range(a.ndim))
    view = transposed(a, order)
    return view.as_view_of(
        a, lambda base: transposed(base, order), lambda base, v: transposed(v, back)
    )


def _swapaxes(trace: Trace, a: Any, axis1: int, axis2: int) -> Any:
    order = list(range(a.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return np.transpose(a, order)


def _moveaxis(trace: Trace, a: Any, source: Any, destination: Any) -> Any:
    sources = [int(n) % a.ndim for n in np.ravel(source)]
    places = [int(n) % a.ndim for n in np.ravel(destination)]
    order = [n for n in range(a.ndim) if n not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return np.transpose(a, order)


def _expand_dims(trace: Trace, a: Any, axis: Any) -> Any:
    axes = [int(n) for n in np.ravel(axis)]
    rank = a.ndim + len(axes)
    places = {n % rank for n in axes}
    sizes = iter(a.shape)
    return np.reshape(a, tuple(1 if n in places else next(sizes) for n in range(rank)))


def _squeeze(trace: Trace, a: Any, axis: Any = None) -> Any:
    if axis is None:
        axes = {n for n, size in enumerate(a.shape) if same(size, 1)}
    else:
        axes = {int(n) % a.ndim for n in np.ravel(axis)}
    return np.reshape(a, tuple(size for n, size in enumerate(a.shape) if n not in axes))


def _broadcast_to(trace: Trace, array: Any, shape: Any, subok: bool = False) -> Any:
    return expanded(array, tuple(known_sizes(trace, shape)))


def _broadcast_arrays(trace: Trace, *arrays: Any, subok: bool = False) -> Any:
    shape = broadcast(*map(np.shape, arrays))
    return tuple(fitted(trace, x, shape, x.dtype) for x in arrays)


# ------------------------------------------------------------------------------- joining


def common_dtype(arrays: Sequence[Any]) -> Any:
    """The dtype in which arrays and numbers meet; numbers of Python adapt."""
    return np.result_type(*(x.dtype if hasattr(x, "dtype") else x for x in arrays))


def _concatenate(
    trace: Trace, arrays: Any, /, axis: int | None = 0, *, dtype: Any = None, casting: Any = None
) -> Any:
    arrays = list(arrays)
    if any(getattr(x.dtype, "kind", "") == "c" for x in arrays):
        return trace.rules.concatenate_complex(trace, arrays, axis)
    if axis is None:
        arrays, axis = [np.ravel(x) for x in arrays], 0
    dtype = dtype or common_dtype(arrays)
    axis = int(axis) % np.ndim(arrays[0])
    model = next(x for x in arrays if isinstance(x, Traced))
    parts = []
    for x in arrays:
        part = x if isinstance(x, Traced) else _beside(trace, np.asarray(x), model.shape, axis)
        parts.append(as_traced(trace, part, dtype))
    total: Any = 0
    for part in parts:
        total = total + part.shape[axis]
    first = parts[0].shape
    for part in parts:  # NumPy's error
        if [int(n) for n in (*part.shape[:axis], *part.shape[axis + 1 :])] != [
            int(n) for n in (*first[:axis], *first[axis + 1 :])
        ]:
            np.concatenate([np.empty([int(n) for n in p.shape]) for p in parts], axis)
    shape = (*first[:axis], total, *first[axis + 1 :])
    parts = [part for part in parts if not same(part.shape[axis], 0)] or parts[:1]
    if len(parts) == 1:
        return Traced(trace, parts[0].name, shape, dtype)
    return new(trace, "Concat", parts, shape, dtype, axis=axis)


def _beside(trace: Trace, array: Any, shape: Shape, axis: int) -> Any:
    """Numbers next to an array with open axes: as long as it along these."""
    open_axes = [n for n, size in enumerate(shape) if isinstance(size, Size) and n != axis]
    for n in open_axes:
        array = first_of(trace, array, n, shape[n]) if array.shape[n] > 1 else array
    if not open_axes:
        return array
    wide = [shape[n] if n in open_axes else size for n, size in enumerate(array.shape)]
    return expanded(as_traced(trace, array), tuple(wide))


def _stack(
    trace: Trace,
    arrays: Any,
    axis: int = 0,
    out: Any = None,
    *,
    dtype: Any = None,
    casting: Any = 0,
) -> Any:
    arrays = list(arrays)
    dtype = dtype or common_dtype(arrays)
    rank = max(np.ndim(x) for x in arrays) + 1
    shape = broadcast(*map(np.shape, arrays))
    wide = [fitted(trace, x, shape, dtype) for x in arrays]
    return np.concatenate([np.expand_dims(x, axis % rank) for x in wide], axis % rank)


def _split(trace: Trace, ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    axis, n = int(axis) % ary.ndim, ary.shape[axis]
    if np.ndim(indices_or_sections) == 0:
        count = int(indices_or_sections)
        each: Any = n // count
        if int(each) * count != int(n):
            raise ValueError("array split does not result in an equal division")
        bounds = [each * i for i in range(1, count)]
    else:
        bounds = list(indices_or_sections)
    starts, stops = [0, *bounds], [*bounds, None]
    before = (slice(None),) * axis
    return [ary[(*before, slice(a, b))] for a, b in zip(starts, stops, strict=True)]


def _tile(trace: Trace, A: Any, reps: Any) -> Any:  # noqa: N803
    repeats = [trace.size_of(n) for n in ([reps] if np.ndim(reps) == 0 else list(reps))]
    rank = max(A.ndim, len(repeats))
    repeats = [1] * (rank - len(repeats)) + repeats
    x = reshaped(A, (*[1] * (rank - A.ndim), *A.shape))
    shape = [r * n for n, r in zip(x.shape, repeats, strict=True)]
    return new(trace, "Tile", [x, trace.writer.integers(repeats)], shape, A.dtype)


def _repeat(trace: Trace, a: Any, repeats: Any, axis: int | None = None) -> Any:
    if np.ndim(repeats):
        raise refused(trace, "np.repeat with several counts", "np.take(x, index, axis)")
    if axis is None:
        a, axis = np.ravel(a), 0
    axis, count = int(axis) % a.ndim, trace.size_of(repeats)
    before, n, after = a.shape[:axis], a.shape[axis], a.shape[axis + 1 :]
    wide = expanded(reshaped(a, (*before, n, 1, *after)), (*before, n, count, *after))
    return reshaped(wide, (*before, n * count, *after))


def _flip(trace: Trace, m: Any, axis: Any = None) -> Any:
    axes = set(range(m.ndim)) if axis is None else {int(n) % m.ndim for n in np.ravel(axis)}
    return m[tuple(slice(None, None, -1 if n in axes else 1) for n in range(m.ndim))]


def _roll(trace: Trace, a: Any, shift: Any, axis: Any = None) -> Any:
    if axis is None:
        return np.reshape(np.roll(np.ravel(a), shift, 0), a.shape)
    shifts = np.broadcast_arrays(np.ravel(shift), np.ravel(axis))
    for by, along in zip(*shifts, strict=True):
        along, n = int(along) % a.ndim, a.shape[int(along) % a.ndim]
        by = int(by) % int(n) if not isinstance(n, Size) else int(by)
        if by:
            before = (slice(None),) * along
            parts = [a[(*before, slice(-by, None))], a[(*before, slice(None, -by))]]
            a = np.concatenate(parts, axis=along)
    return a


def _pad(trace: Trace, array: Any, pad_width: Any, mode: str = "constant", **options: Any) -> Any:
    widths = np.broadcast_to(np.asarray(pad_width), (array.ndim, 2))
    pairs = [(int(before), int(after)) for before, after in widths]
    fill = options.pop("constant_values", 0)
    modes = {"constant": "constant", "edge": "edge", "reflect": "reflect", "wrap": "wrap"}
    if mode not in modes or options or np.ndim(fill):
        raise refused(trace, f"np.pad(mode={mode!r}) has no counterpart", "np.concatenate")
    return padded_by(array, pairs, modes[mode], fill)


def padded_by(x: Traced, pairs: Sequence[tuple[int, int]], mode: str, fill: float = 0) -> Traced:
    """An array with entries added before and after each axis."""
    amounts = [before for before, _ in pairs] + [after for _, after in pairs]
    inputs: list[Any] = [x, x.graph.writer.integers(amounts)]
    if mode == "constant" and fill:
        inputs.append(x.graph.writer.constant(np.array(fill, x.dtype)))
    shape = [n + before + after for n, (before, after) in zip(x.shape, pairs, strict=True)]
    return new(x.graph, "Pad", inputs, shape, x.dtype, mode=mode)


# ------------------------------------------------------------------------------- choosing


def _where(trace: Trace, condition: Any, x: Any = None, y: Any = None, /) -> Any:
    if x is None:
        raise no_counterpart(trace, "numpy.where with one argument")
    if any(getattr(getattr(v, "dtype", None), "kind", "") == "c" for v in (x, y)):
        raise refused(trace, "np.where of complex numbers", "the real and the imaginary part")
    dtype = common_dtype((x, y))
    shape = broadcast(*(np.shape(v) for v in (condition, x, y)))
    if not hasattr(condition, "dtype") or condition.dtype != BOOL:
        condition = np.not_equal(condition, 0)
    parts = [as_traced(trace, condition, BOOL, shape)]
    parts += [as_traced(trace, v, dtype, shape) for v in (x, y)]
    if dtype == BOOL:  # programs have Where for numbers alone
        condition, x, y = parts
        return (condition & x) | (~condition & y)
    return new(trace, "Where", parts, shape, dtype)


def _clip(
    trace: Trace, a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, **named: Any
) -> Any:
    low, high = named.pop("min", a_min), named.pop("max", a_max)
    low, high = (None if v is GIVEN else v for v in (low, high))
    result = a if low is None else np.maximum(a, low)
    if high is not None:
        result = np.minimum(result, high)
    return converted(result, result.dtype)


def _take(trace: Trace, a: Any, indices: Any, axis: int | None = None, **options: Any) -> Any:
    if axis is None:
        a, axis = np.ravel(a), 0
    if not isinstance(a, Traced):
        a = as_traced(trace, a)
    index = indices if isinstance(indices, Traced) else np.asarray(indices)
    return trace.rules.gather(a, index, int(axis) % a.ndim)


def _take_along_axis(trace: Trace, arr: Any, indices: Any, axis: int | None = -1) -> Any:
    if axis is None:
        arr, axis = np.ravel(arr), 0
    axis = int(axis) % np.ndim(arr)
    x, index = as_traced(trace, arr), as_traced(trace, indices, INT64)
    around = [1 if n == axis else size for n, size in enumerate(x.shape)]
    shape = tuple(
        size if n == axis else a
        for n, (size, a) in enumerate(zip(index.shape, around, strict=True))
    )
    index = expanded(index, shape)
    return new(trace, "GatherElements", [x, index], shape, x.dtype, axis=axis)


def _put_along_axis(trace: Trace, arr: Any, indices: Any, values: Any, axis: int | None) -> None:
    if not isinstance(arr, Traced) or axis is None:
        raise refused(trace, "np.put_along_axis into a plain array", "np.zeros_like(x)")
    index = as_traced(trace, indices, INT64)
    value = fitted(trace, values, index.shape, arr.dtype)
    inputs = [arr, index, value]
    arr.assign(new(trace, "ScatterElements", inputs, arr.shape, arr.dtype, axis=axis % arr.ndim))


def _sort(trace: Trace, a: Any, axis: int | None = -1, **options: Any) -> Any:
    return _sorted(trace, a, axis)[0]


def _argsort(trace: Trace, a: Any, axis: int | None = -1, **options: Any) -> Any:
    return _sorted(trace, a, axis)[1]


def _sorted(trace: Trace, a: Any, axis: int | None) -> tuple[Traced, Traced]:
    if axis is None:
        a, axis = np.ravel(a), 0
    axis = int(axis) % a.ndim
    inputs = [a.name, trace.writer.size(a.shape[axis])]
    values, places = trace.add("TopK", inputs, 2, axis=axis, largest=0, sorted=1)
    return Traced(trace, values, a.shape, a.dtype), Traced(trace, places, a.shape, INT64)


# ------------------------------------------------------------------------------- sums


def _axes(x: Traced, axis: Any) -> list[int]:
    return list(range(x.ndim)) if axis is None else sorted(int(n) % x.ndim for n in np.ravel(axis))


def reduced(kind: str, x: Traced, axis: Any, keepdims: Any = False) -> Traced:
    """One number for all entries along some axes."""
    axes, keeps = _axes(x, axis), keepdims is not GIVEN and bool(keepdims)
    if keeps:
        shape = [1 if n in axes else size for n, size in enumerate(x.shape)]
    else:
        shape = [size for n, size in enumerate(x.shape) if n not in axes]
    if not axes:
        return Traced(x.graph, x.name, shape, x.dtype)
    inputs = [x, x.graph.writer.integers(axes)]
    return new(x.graph, kind, inputs, shape, x.dtype, keepdims=int(keeps))


def _reduction(kind: str, neutral: Any, combine: Any = None) -> Callable[..., Any]:
    def rule(
        trace: Trace, a: Any, axis: Any = None, dtype: Any = None, out: Any = None,
        keepdims: Any = False, initial: Any = GIVEN, where: Any = True,
    ) -> Any:  # fmt: skip
        a = as_traced(trace, a)
        if dtype in (None, GIVEN) and a.dtype.kind in "bui" and combine is not None:
            dtype = INT64
        if dtype not in (None, GIVEN):
            a = converted(a, dtype)
        if where is not True and where is not GIVEN:
            a = np.where(where, a, neutral)
        result = reduced(kind, a, axis, keepdims)
        if initial is not GIVEN and initial is not None:
            result = (combine or np.add)(result, initial)
        return result

    return rule


def _extreme(kind: str, combine: np.ufunc) -> Callable[..., Any]:
    def rule(
        trace: Trace, a: Any, axis: Any = None, out: Any = None, keepdims: Any = False,
        initial: Any = GIVEN, where: Any = True,
    ) -> Any:  # fmt: skip
        if where is not True and where is not GIVEN:
            raise refused(trace, "np.max(where=…)", "np.where(condition, x, -np.inf)")
        result = reduced(kind, a, axis, keepdims)
        return result if initial is GIVEN else combine(result, initial)

    return rule


def _truth(kind: str) -> Callable[..., Any]:
    def rule(
        trace: Trace, a: Any, axis: Any = None, out: Any = None, keepdims: Any = False,
        *, where: Any = True,
    ) -> Any:  # fmt: skip
        x = a if a.dtype == BOOL else np.not_equal(a, 0)
        return converted(reduced(kind, converted(x, np.int32), axis, keepdims), BOOL)

    return rule


def _mean(
    trace: Trace, a: Any, axis: Any = None, dtype: Any = None, out: Any = None,
    keepdims: Any = False, *, where: Any = True,
) -> Any:  # fmt: skip
    if where is not True and where is not GIVEN:
        count = np.sum(np.broadcast_to(where, a.shape), axis=axis, keepdims=keepdims)
        return np.sum(a, axis=axis, keepdims=keepdims, where=where) / count
    if dtype is None:
        dtype = np.float64 if a.dtype.kind in "bui" else a.dtype
    return reduced("ReduceMean", converted(a, dtype), axis, keepdims)


def _var(
    trace: Trace, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0,
    keepdims: Any = False, *, correction: Any = GIVEN, mean: Any = GIVEN,
) -> Any:  # fmt: skip
    free = ddof if correction is GIVEN else correction
    centre = np.mean(a, axis=axis, keepdims=True) if mean is GIVEN else mean
    squares = np.sum(np.square(a - centre), axis=axis, keepdims=keepdims)
    count: Any = 1
    for n in _axes(a, axis):
        count = a.shape[n] * count
    return squares / (count - free)


def _std(trace: Trace, a: Any, *args: Any, **options: Any) -> Any:
    return np.sqrt(_var(trace, a, *args, **options))


def _average(
    trace: Trace, a: Any, axis: Any = None, weights: Any = None, returned: bool = False,
    *, keepdims: Any = False,
) -> Any:  # fmt: skip
    if weights is None:
        return np.mean(a, axis=axis, keepdims=keepdims)
    if np.shape(weights) != np.shape(a) and np.ndim(weights) == 1:
        weights = np.reshape(weights, [-1 if n == axis % a.ndim else 1 for n in range(a.ndim)])
    total = np.sum(np.broadcast_to(weights, np.shape(a)), axis=axis, keepdims=keepdims)
    return np.sum(a * weights, axis=axis, keepdims=keepdims) / total


def _arg(kind: str) -> Callable[..., Any]:
    def rule(
        trace: Trace, a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False
    ) -> Any:
        if axis is None:
            a, axis = np.ravel(a), 0
        axis, keeps = int(axis) % a.ndim, keepdims is not GIVEN and bool(keepdims)
        x = converted(a, np.int32) if a.dtype == BOOL else a
        shape = (*a.shape[:axis], *([1] if keeps else []), *a.shape[axis + 1 :])
        return new(trace, kind, [x], shape, INT64, axis=axis, keepdims=int(keeps))

    return rule


def _cumsum(trace: Trace, a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    if axis is None:
        a, axis = np.ravel(a), 0
    if dtype is not None or a.dtype.kind in "bui":
        a = converted(a, dtype or INT64)
    place = trace.writer.constant(np.array(int(axis) % a.ndim, np.int64))
    return new(trace, "CumSum", [a, place], a.shape, a.dtype)


def _count_nonzero(trace: Trace, a: Any, axis: Any = None, *, keepdims: Any = False) -> Any:
    return np.sum(np.not_equal(a, 0), axis=axis, keepdims=keepdims)


def _norm(trace: Trace, x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Any:
    is_vector = np.ndim(axis) == 0 and (axis is not None or x.ndim == 1)
    if ord is None or (ord == 2 and is_vector) or ord == "fro":
        return np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))
    if ord == 1 and is_vector:
        return np.sum(np.abs(x), axis=axis, keepdims=keepdims)
    if ord == math.inf and is_vector:
        return np.max(np.abs(x), axis=axis, keepdims=keepdims)
    raise no_counterpart(trace, f"numpy.linalg.norm(ord={ord})")


def _vector_norm(
    trace: Trace, x: Any, /, *, axis: Any = None, keepdims: Any = False, ord: Any = 2
) -> Any:
    if axis is None:
        x = np.ravel(x)
    return _norm(trace, x, ord, -1 if axis is None else axis, keepdims)


def _diff(trace: Trace, a: Any, n: int = 1, axis: int = -1) -> Any:
    before = (slice(None),) * (int(axis) % a.ndim)
    for _ in range(n):
        a = a[(*before, slice(1, None))] - a[(*before, slice(None, -1))]
    return a


def _trapezoid(trace: Trace, y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    before = (slice(None),) * (int(axis) % y.ndim)
    widths: Any = dx
    if x is not None:
        widths = np.diff(x, axis=axis if np.ndim(x) > 1 else 0)
        if np.ndim(x) == 1:
            widths = np.reshape(widths, [-1 if n == axis % y.ndim else 1 for n in range(y.ndim)])
    heights = y[(*before, slice(1, None))] + y[(*before, slice(None, -1))]
    return np.sum(heights * widths / 2, axis=axis)


def _sliding_windows(
    trace: Trace, x: Any, window_shape: Any, axis: Any = None, **options: Any
) -> Any:
    """Copies of all windows of some lengths along some axes, which become the last ones."""
    lengths = [int(n) for n in np.ravel(window_shape)]
    axes = range(x.ndim) if axis is None else [int(n) % x.ndim for n in np.ravel(axis)]
    for length, along in zip(lengths, axes, strict=True):
        starts = np.arange(x.shape[along] - length + 1, like=x)
        places = np.add(np.expand_dims(starts, 1), np.arange(length))
        x = np.moveaxis(trace.rules.gather(x, places, along), along + 1, -1)
    return x


def _nan_to_num(
    trace: Trace,
    x: Any,
    copy: bool = True,
    nan: float = 0.0,
    posinf: Any = None,
    neginf: Any = None,
) -> Any:
    limits = np.finfo(x.dtype)
    high = float(limits.max) if posinf is None else posinf
    low = float(limits.min) if neginf is None else neginf
    x = np.where(np.isnan(x), nan, x)
    return np.where(x == math.inf, high, np.where(x == -math.inf, low, x))


def _round(trace: Trace, a: Any, decimals: int = 0, out: Any = None) -> Any:
    return np.rint(a) if not decimals else np.rint(a * 10**decimals) / 10**decimals


def _triangle(upper: int) -> Callable[..., Any]:
    def rule(trace: Trace, m: Any, k: int = 0) -> Any:
        place = trace.writer.constant(np.array(k, np.int64))
        return new(trace, "Trilu", [m, place], m.shape, m.dtype, upper=upper)

    return rule


# ------------------------------------------------------------------------------- creating


def filled(trace: Trace, shape: Any, value: Any, dtype: Any) -> Traced:
    """An array with the same number everywhere."""
    sizes, dtype = known_sizes(trace, shape), np.dtype(dtype)
    if isinstance(value, Traced) or np.ndim(value):
        return expanded(as_traced(trace, value, dtype), tuple(sizes))
    tensor = numpy_helper.from_array(np.full(1, value, dtype))
    if not sizes:
        return as_traced(trace, np.array(value, dtype))
    return new(trace, "ConstantOfShape", [trace.writer.integers(sizes)], sizes, dtype, value=tensor)


def create(trace: Trace, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """A new array ``like`` a traced one, or what is given as such a one."""
    kwargs.pop("like", None)
    dtype = kwargs.pop("dtype", None)
    if function in (np.zeros, np.ones, np.empty):
        shape, dtype = kwargs.get("shape", args[:1] and args[0]), args[1] if args[1:] else dtype
        return filled(trace, shape, 1 if function is np.ones else 0, dtype or np.float64)
    if function is np.full:
        shape, value = (*args, *kwargs.values())[:2]
        dtype = args[2] if args[2:] else dtype or common_dtype([np.asarray(value)])
        return filled(trace, shape, value, dtype)
    if function is np.arange:
        return _arange(trace, args, dtype)
    if function in (np.eye, np.identity, np.tri):
        return _diagonal(trace, function, args, kwargs, dtype)
    if function is np.fromfunction:
        raise no_counterpart(trace, name_of(function))
    given = args[0]
    dtype = args[1] if args[1:] else dtype
    x = as_traced(trace, given, dtype)
    copies = function is np.array and kwargs.get("copy", True)
    return converted(x, x.dtype) if copies or x is not given else x


def _arange(trace: Trace, args: Sequence[Any], dtype: Any) -> Any:
    limits = [trace.size_of(n) if isinstance(n, int) else n for n in args]
    if not any(isinstance(n, Size | Traced) for n in limits):
        return np.arange(*limits, dtype=dtype)
    start, stop, step = (0, limits[0], 1) if len(limits) == 1 else (*limits, 1)[:3]
    inputs = [trace.writer.scalar(n, INT64) for n in (start, stop, step)]
    count = -(-(stop - start) // step)
    numbers = new(trace, "Range", inputs, (count,), INT64)
    return numbers if dtype is None else converted(numbers, dtype)


def _diagonal(
    trace: Trace, function: Any, args: Sequence[Any], kwargs: dict[str, Any], dtype: Any
) -> Any:
    sizes = [trace.size_of(n) for n in args[:2]]
    if not any(isinstance(n, Size) for n in sizes):
        return function(*args, dtype=dtype or np.float64, **kwargs)
    rows, columns = sizes[0], sizes[-1]
    shift = args[2] if args[2:] else kwargs.get("k", 0)
    i, j = (_arange(trace, (n,), None) for n in (rows, columns))
    i = np.expand_dims(i, 1) + int(shift)
    held: Any = np.greater_equal(i, j) if function is np.tri else np.equal(i, j)
    return held.astype(dtype or np.float64)


def _like(value: Any) -> Callable[..., Any]:
    def rule(
        trace: Trace, a: Any, dtype: Any = None, order: Any = "K", subok: bool = True,
        shape: Any = None, **options: Any,
    ) -> Any:  # fmt: skip
        return filled(trace, a.shape if shape is None else shape, value, dtype or a.dtype)

    return rule


def _full_like(
    trace: Trace, a: Any, fill_value: Any, dtype: Any = None, order: Any = "K",
    subok: bool = True, shape: Any = None, **options: Any,
) -> Any:  # fmt: skip
    sizes = np.shape(a) if shape is None else shape
    return filled(trace, sizes, fill_value, dtype or a.dtype)


def _share_memory(trace: Trace, a: Any, b: Any, max_work: Any = None) -> bool:
    """Whether writing into one array changes the other."""
    owners = [x.owner if isinstance(x, Traced) else x for x in (a, b)]
    return owners[0] is owners[1]


def _copyto(trace: Trace, dst: Any, src: Any, casting: Any = None, where: Any = True) -> None:
    if not isinstance(dst, Traced):
        raise refused(trace, "np.copyto into a plain array", "np.zeros_like(x)")
    dst.assign(src if where is True else np.where(where, src, dst))


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.reshape: _reshape,
    np.ravel: lambda trace, a, order="C": np.reshape(a, (a.size,)),
    np.transpose: _transpose,
    np.permute_dims: _transpose,
    np.matrix_transpose: lambda trace, x: np.swapaxes(x, -1, -2),
    np.swapaxes: _swapaxes,
    np.moveaxis: _moveaxis,
    np.expand_dims: _expand_dims,
    np.squeeze: _squeeze,
    np.broadcast_to: _broadcast_to,
    np.broadcast_arrays: _broadcast_arrays,
    np.atleast_1d: lambda trace, x: x if x.ndim else np.reshape(x, (1,)),
    np.concatenate: _concatenate,
    np.stack: _stack,
    np.hstack: lambda trace, xs: np.concatenate(xs, 0 if np.ndim(xs[0]) == 1 else 1),
    np.vstack: lambda trace, xs: np.concatenate(
        [x if np.ndim(x) > 1 else np.expand_dims(x, 0) for x in xs], 0
    ),
    np.column_stack: lambda trace, xs: np.concatenate(
        [x if np.ndim(x) > 1 else np.expand_dims(x, 1) for x in xs], 1
    ),
    np.lib.stride_tricks.sliding_window_view: _sliding_windows,
    np.split: _split,
    np.array_split: _split,
    np.tile: _tile,
    np.repeat: _repeat,
    np.flip: _flip,
    np.fliplr: lambda trace, m: np.flip(m, 1),
    np.flipud: lambda trace, m: np.flip(m, 0),
    np.roll: _roll,
    np.pad: _pad,
    np.where: _where,
    np.clip: _clip,
    np.take: _take,
    np.take_along_axis: _take_along_axis,
    np.put_along_axis: _put_along_axis,
    np.sort: _sort,
    np.argsort: _argsort,
    np.sum: _reduction("ReduceSum", 0, np.add),
    np.prod: _reduction("ReduceProd", 1, np.multiply),
    np.max: _extreme("ReduceMax", np.maximum),
    np.amax: _extreme("ReduceMax", np.maximum),
    np.min: _extreme("ReduceMin", np.minimum),
    np.amin: _extreme("ReduceMin", np.minimum),
    np.ptp: lambda trace, a, axis=None, **o: np.max(a, axis=axis, **o) - np.min(a, axis=axis, **o),
    np.any: _truth("ReduceMax"),
    np.all: _truth("ReduceMin"),
    np.mean: _mean,
    np.var: _var,
    np.std: _std,
    np.average: _average,
    np.argmax: _arg("ArgMax"),
    np.argmin: _arg("ArgMin"),
    np.cumsum: _cumsum,
    np.count_nonzero: _count_nonzero,
    np.linalg.norm: _norm,
    np.linalg.vector_norm: _vector_norm,
    np.diff: _diff,
    np.trapezoid: _trapezoid,
    np.nan_to_num: _nan_to_num,
    np.round: _round,
    np.around: _round,
    np.fix: lambda trace, x: np.trunc(x),
    np.tril: _triangle(0),
    np.triu: _triangle(1),
    np.zeros_like: _like(0),
    np.ones_like: _like(1),
    np.empty_like: _like(0),
    np.full_like: _full_like,
    np.copy: lambda trace, a, order="K", subok=False: converted(a, a.dtype),
    np.copyto: _copyto,
    np.astype: lambda trace, x, dtype, **options: converted(x, dtype),
    np.may_share_memory: _share_memory,
    np.shares_memory: _share_memory,
    np.shape: lambda trace, a: a.shape,
    np.ndim: lambda trace, a: a.ndim,
    np.size: lambda trace, a, axis=None: a.size if axis is None else a.shape[axis],
    np.real: lambda trace, val: converted(val, val.dtype),
    np.imag: lambda trace, val: np.zeros_like(val),
    np.iscomplexobj: lambda trace, x: x.dtype.kind == "c",
    np.isrealobj: lambda trace, x: x.dtype.kind != "c",
    np.result_type: lambda trace, *given: common_dtype(given),
}
"""The rule of each function, by the function."""

__all__ = [
    "FUNCTIONS",
    "create",
    "expanded",
    "filled",
    "fitted",
    "helper",
    "reshaped",
    "transposed",
]
