"""Parts of arrays: which nodes read them, and which write into them.

    y = x[:, 1:3]        Slice              x[:, 1:3] = y        Concat of what is before, y, after

What basic indices select is a view: writing into it changes the array behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import frozen

from chainrule.core.types import Shape
from chainrule.interop.onnx.writing.moving import fitted, reshaped, squeezed, transposed
from chainrule.interop.onnx.writing.sizes import Size, same
from chainrule.interop.onnx.writing.traced import Trace, Traced, as_traced, new, refused

END = np.iinfo(np.int64).max
INT64 = np.dtype(np.int64)


@frozen
class Range:
    """What a slice or a number selects of an axis: ``count`` entries from ``start`` on."""

    start: int
    stop: int
    step: int
    count: int

    def is_all(self, size: int) -> bool:
        """Whether it selects an axis as it is."""
        return self.step == 1 and int(self.start) == 0 and same(self.count, size)


def taken(x: Traced, index: Any) -> Traced:
    """``x[index]``."""
    parts = _parts(x, index)
    if any(isinstance(part, Traced) and part.dtype == bool for part in parts):
        raise refused(
            x.graph,
            "x[mask], whose shape depends on the numbers, has no counterpart in ONNX",
            "np.where(mask, x, 0)",
        )
    if any(_is_advanced(part) for part in parts):
        return _gathered(x, parts)
    view = _view(x, parts)
    if x.shape and not view.shape and not any(isinstance(part, slice) for part in parts):
        number = Traced(x.graph, view.name, (), x.dtype)
        number.is_number = True  # a number is no view
        return number
    return view


def _view(x: Traced, parts: Sequence[Any]) -> Traced:
    """What basic indices select, as a view of the array."""
    ranges, numbers, added = _basic(x, parts)
    view = _read(x, ranges, numbers, added)
    if view.name == x.name and view.shape == x.shape:
        view = Traced(x.graph, x.name, x.shape, x.dtype)

    def read(base: Traced) -> Traced:
        return _read(base, ranges, numbers, added)

    def write(base: Traced, value: Traced) -> Traced:
        return _written(base, ranges, _as_selected(value, base, ranges))

    return view.as_view_of(x, read, write)


def put(x: Any, index: Any, item: Any) -> None:
    """``x[index] = item``."""
    if isinstance(index, Traced) and index.dtype == bool:
        _put_where(x, index, item)
        return
    parts = _parts(x, index)
    if not any(_is_advanced(part) for part in parts):
        _view(x, parts).assign(item)
        return
    places = [n for n, part in enumerate(parts) if _is_advanced(part)]
    if places == [0, 1] and x.ndim == 2 and _counts_rows(parts[0], x.shape[0]):
        column: Any = np.expand_dims(as_traced(x.graph, parts[1], INT64), 1)
        value: Any = fitted(x.graph, item, x.shape[:1], x.dtype)
        np.put_along_axis(x, column, np.expand_dims(value, 1), axis=1)
        return
    others = [part for n, part in enumerate(parts) if n not in places]
    if len(places) > 1 or not all(_is_whole(part) for part in others):
        raise refused(
            x.graph,
            "an assignment to several places that are given by arrays has no counterpart in ONNX",
            "np.where(condition, new, old), or slices",
        )
    (axis,) = places
    chosen = as_traced(x.graph, parts[axis], INT64)
    moved: Any = np.moveaxis(x, axis, 0)
    value = fitted(x.graph, item, (*x.shape[:axis], *chosen.shape, *x.shape[axis + 1 :]), x.dtype)
    value = np.moveaxis(value, range(axis, axis + chosen.ndim), range(chosen.ndim))
    result = _scattered(moved, reshaped(chosen, (*chosen.shape, 1)), value)
    x.assign(np.moveaxis(result, 0, axis))


def add_at(trace: Trace, x: Any, index: Any, values: Any) -> None:
    """``np.add.at(x, index, values)`` along the first axis."""
    if not isinstance(x, Traced) or isinstance(index, tuple):
        raise refused(
            trace,
            "np.add.at with this array or index has no counterpart in ONNX",
            "an array made with np.zeros_like(x), and one index for the first axis",
        )
    chosen = as_traced(trace, index, INT64)
    value = fitted(trace, values, (*chosen.shape, *x.shape[1:]), x.dtype)
    x.assign(_scattered(x, reshaped(chosen, (*chosen.shape, 1)), value, reduction="add"))


def _scattered(x: Any, places: Any, value: Any, **options: Any) -> Any:
    return new(x.graph, "ScatterND", [x, places, value], x.shape, x.dtype, **options)


# ------------------------------------------------------------------------------- what is meant


def _parts(x: Traced, index: Any) -> list[Any]:
    """One part for each axis, and None for each new one."""
    given = list(index) if isinstance(index, tuple) else [index]
    given = [np.asarray(part) if isinstance(part, list) else part for part in given]
    given = [
        axis for part in given for axis in (part.nonzero() if _is_plain_mask(part) else (part,))
    ]
    count = sum(part is not None and part is not Ellipsis for part in given)
    missing = [slice(None)] * (x.ndim - count)
    places = [n for n, part in enumerate(given) if part is Ellipsis]
    if not places:
        return [*given, *missing]
    return [*given[: places[0]], *missing, *given[places[0] + 1 :]]


def _is_plain_mask(part: Any) -> bool:
    return isinstance(part, np.ndarray) and part.dtype == bool


def _is_advanced(part: Any) -> bool:
    return isinstance(part, np.ndarray | Traced) and not (
        isinstance(part, np.ndarray) and part.ndim == 0
    )


def _is_whole(part: Any) -> bool:
    return isinstance(part, slice) and part == slice(None)


def _basic(x: Traced, parts: Sequence[Any]) -> tuple[list[Range], list[int], list[int]]:
    """The ranges of all axes, those axes that a number removes, and the places of new axes."""
    ranges: list[Range] = []
    numbers: list[int] = []
    added: list[int] = []
    place = 0  # in the result
    for part in parts:
        if part is None:
            added.append(place)
            place += 1
            continue
        axis = len(ranges)
        if isinstance(part, slice):
            ranges.append(_range(part, x.shape[axis]))
            place += 1
            continue
        n = x.shape[axis]
        number = part if isinstance(part, Size) else int(part)
        if not -int(n) <= int(number) < int(n):
            raise IndexError(f"index {number} is out of bounds for axis {axis} with size {n}")
        start = number if number >= 0 else n + number
        numbers.append(axis)
        ranges.append(Range(start, start + 1, 1, 1))
    return ranges, numbers, added


def _range(part: slice, n: int) -> Range:
    step = 1 if part.step is None else int(part.step)
    if step < 0:
        start = n - 1 if part.start is None else _inside(part.start, n, -1, n - 1)
        stop: int = -1 if part.stop is None else _inside(part.stop, n, -1, n - 1)
        count = max(-(-(start - stop) // -step), 0)
        return Range(start, stop, step, count)
    start = 0 if part.start is None else _inside(part.start, n, 0, n)
    stop = n if part.stop is None else _inside(part.stop, n, 0, n)
    return Range(start, stop, step, max(-(-(stop - start) // step), 0))


def _inside(place: Any, n: int, least: int, most: int) -> int:
    """A place in an axis, counted from its beginning."""
    place = place if isinstance(place, Size) else int(place)
    place = place if place >= 0 else n + place
    if int(place) < int(least):
        return least
    return most if int(place) > int(most) else place


# ------------------------------------------------------------------------------- reading


def _read(
    x: Traced, ranges: Sequence[Range], numbers: Sequence[int], added: Sequence[int]
) -> Traced:
    cut = [(axis, r) for axis, r in enumerate(ranges) if not r.is_all(x.shape[axis])]
    result = x
    if cut:
        result = _sliced(x, cut)
    shape = [r.count for r in ranges]
    if numbers:
        shape = [n for axis, n in enumerate(shape) if axis not in numbers]
        result = squeezed(result, "Squeeze", numbers, shape)
    if added:
        for place in added:
            shape.insert(place, 1)
        result = squeezed(result, "Unsqueeze", added, shape)
    return Traced(x.graph, result.name, shape, x.dtype)


def _sliced(x: Traced, cut: Sequence[tuple[int, Range]]) -> Traced:
    part = _part(x, cut)
    if part is not None:
        return part
    writer = x.graph.writer
    shape = list(x.shape)
    starts, stops, axes, steps = [], [], [], []
    for axis, r in cut:
        shape[axis] = r.count
        n = x.shape[axis]
        starts.append(_from_end(r.start, n))
        is_end = same(r.stop, n) and r.step > 0
        is_start = r.step < 0 and int(r.stop) < 0
        stops.append(END if is_end else -END if is_start else _from_end(r.stop, n))
        axes.append(axis)
        steps.append(r.step)
    inputs = [x, *map(writer.integers, (starts, stops, axes))]
    if any(step != 1 for step in steps):
        inputs.append(writer.integers(steps))
    return new(x.graph, "Slice", inputs, shape, x.dtype)


def _from_end(place: int, n: int) -> int:
    """A place in an open axis, counted from the end if it is a fixed number of entries away."""
    away = place - n if isinstance(n, Size) else 0
    return place if isinstance(away, Size) or away >= 0 else away


def _gathered(x: Traced, parts: Sequence[Any]) -> Traced:
    """``x[…]`` with arrays of integers."""
    places = [n for n, part in enumerate(parts) if _is_advanced(part)]
    if any(part is None for part in parts) or not all(
        _is_advanced(part) or _is_whole(part) for part in parts
    ):
        rest = tuple(slice(None) if _is_advanced(part) else part for part in parts)
        inner = tuple(part if _is_advanced(part) else slice(None) for part in parts)
        if all(
            part is not None and isinstance(part, slice | np.ndarray | Traced) for part in parts
        ):
            return _gathered(taken(x, rest), inner)
        raise refused(
            x.graph, "this index has no counterpart in ONNX", "one array, and slices, at a time"
        )
    if len(places) == 1:
        (axis,) = places
        return gather(x, parts[axis], axis)
    if len(places) == 2 and places == [0, 1] and _counts_rows(parts[0], x.shape[0]):
        column = as_traced(x.graph, parts[1], INT64)
        if column.ndim == 1 and same(column.shape[0], x.shape[0]) and x.ndim == 2:
            chosen: Any = np.expand_dims(column, 1)
            found = new(x.graph, "GatherElements", [x, chosen], chosen.shape, x.dtype, axis=1)
            return reshaped(found, column.shape)
    rows, columns = (parts[n] for n in places[:2])
    if places == [0, 1] and _is_the_same_for_all_rows(rows, columns, x.shape[0]):
        return gather(x, columns[0], 1)
    raise refused(
        x.graph,
        "an index with several arrays has no counterpart in ONNX",
        "np.take_along_axis(x, index, axis)",
    )


def _is_the_same_for_all_rows(rows: Any, columns: Any, n: int) -> bool:
    """Whether two arrays select the same entries of each row of a batch."""
    if not isinstance(rows, np.ndarray) or not isinstance(columns, np.ndarray):
        return False
    is_column = rows.ndim == columns.ndim and rows.size == len(rows)
    return (
        is_column
        and _counts_rows(rows.ravel(), n)
        and np.array_equal(columns, columns[:1] + 0 * rows)
    )


def _counts_rows(part: Any, n: int) -> bool:
    """Whether it is ``np.arange(n)`` for the length that an axis has now."""
    return isinstance(part, np.ndarray) and np.array_equal(part, np.arange(int(n)))


def gather(x: Traced, index: Any, axis: int) -> Traced:
    """The entries of one axis that an array of integers names, as `numpy.take`."""
    chosen = as_traced(x.graph, index, INT64)
    shape = (*x.shape[:axis], *chosen.shape, *x.shape[axis + 1 :])
    return new(x.graph, "Gather", [x, chosen], shape, x.dtype, axis=axis)


# ------------------------------------------------------------------------------- writing


def _as_selected(value: Traced, base: Traced, ranges: Sequence[Range]) -> Traced:
    """A value with the axes that the base has: those that were removed and added are undone."""
    return reshaped(value, tuple(r.count for r in ranges))


def _written(base: Traced, ranges: Sequence[Range], value: Traced, axis: int = 0) -> Traced:
    """The base with a value in these ranges; the axes before are whole."""
    while axis < base.ndim and ranges[axis].is_all(base.shape[axis]):
        axis += 1
    if axis == base.ndim:
        return value
    r = ranges[axis]
    if r.step == 1:
        return _between(base, ranges, value, axis)
    if isinstance(r.count, Size):
        limits = r.start, r.start + r.count * r.step, r.step
        places: Any = base.graph.rules.create(base.graph, np.arange, limits, {})
    else:
        places = as_traced(base.graph, np.arange(r.count) * r.step + int(r.start), INT64)
    inner = _written(_sliced(base, [(axis, r)]), _all_of(ranges, axis), value, axis + 1)
    order = (axis, *(n for n in range(base.ndim) if n != axis))
    back = tuple(np.argsort(order))
    result = _scattered(
        transposed(base, order), reshaped(places, (*places.shape, 1)), transposed(inner, order)
    )
    return transposed(result, tuple(map(int, back)))


def _part(x: Traced, cut: Sequence[tuple[int, Range]]) -> Traced | None:
    """What was selected, if the array was joined of parts and it is one of them."""
    along, parts = x.graph.joined.get(x.name, (-1, []))
    ranges = dict(cut)
    r = ranges.pop(along, None)
    if r is None or r.step != 1 or any(isinstance(n, Size) for n in (r.start, r.stop)):
        return None
    start = 0
    for count, name in parts:
        if start == r.start and count == r.count:
            shape = [count if axis == along else n for axis, n in enumerate(x.shape)]
            part = Traced(x.graph, name, shape, x.dtype)
            return _sliced(part, list(ranges.items())) if ranges else part
        start += count
    return None


def _parts_of(x: Traced, axis: int) -> list[tuple[int, str]]:
    """The parts of which an array was joined along an axis, with their lengths; or all of it."""
    along, parts = x.graph.joined.get(x.name, (-1, []))
    return parts if along == axis else [(x.shape[axis], x.name)]


def _pieces(base: Traced, axis: int, start: int, stop: int) -> list[tuple[int, str]]:
    """The parts of an array between two places of an axis."""
    found, place = [], 0
    for count, name in _parts_of(base, axis):
        first, last = max(start, place), min(stop, place + count)
        if first < last:
            shape = [count if n == axis else size for n, size in enumerate(base.shape)]
            part = Traced(base.graph, name, shape, base.dtype)
            if last - first < count:
                r = Range(first - place, last - place, 1, last - first)
                part = _sliced(part, [(axis, r)])
            found.append((last - first, part.name))
        place += count
    return found


def _between(base: Traced, ranges: Sequence[Range], value: Traced, axis: int) -> Traced:
    """Entries before, the value, entries after."""
    r, n = ranges[axis], base.shape[axis]
    inner = value
    if any(not rest.is_all(base.shape[m]) for m, rest in enumerate(ranges) if m > axis):
        inner = _written(_sliced(base, [(axis, r)]), _all_of(ranges, axis), value, axis + 1)
    if not any(isinstance(m, Size) for m in (r.start, r.stop, n)):
        pieces = _pieces(base, axis, 0, r.start)
        pieces += [(r.count, inner.name), *_pieces(base, axis, r.stop, n)]
        names = [name for _, name in pieces]
        result = new(base.graph, "Concat", names, base.shape, base.dtype, axis=axis)
        base.graph.joined[result.name] = axis, pieces
        return result
    parts = []
    if int(r.start) > 0 or isinstance(r.start, Size):
        parts.append(_sliced(base, [(axis, Range(0, r.start, 1, r.start))]))
    parts.append(inner)
    if not same(r.stop, n):
        parts.append(_sliced(base, [(axis, Range(r.stop, n, 1, n - r.stop))]))
    if len(parts) == 1:
        return inner
    return new(base.graph, "Concat", parts, base.shape, base.dtype, axis=axis)


def _all_of(ranges: Sequence[Range], axis: int) -> list[Range]:
    r = ranges[axis]
    return [*ranges[:axis], Range(0, r.count, 1, r.count), *ranges[axis + 1 :]]


def _put_where(x: Traced, mask: Traced, item: Any) -> None:
    if np.ndim(item):
        raise refused(
            x.graph,
            "an assignment of several numbers to a mask has no counterpart in ONNX",
            "np.where(mask, new, old)",
        )
    missing = x.ndim - mask.ndim
    condition = reshaped(mask, (*mask.shape, *[1] * missing))
    x.assign(np.where(condition, as_traced(x.graph, item, x.dtype), x))


def shape_of(x: Any) -> Shape:
    """The shape of an array of the graph, or of any other."""
    return x.shape if isinstance(x, Traced) else np.shape(x)
