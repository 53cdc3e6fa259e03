"""Operators that move numbers: Reshape, Transpose, Concat, Gather, Slice, Pad, Resize and others.

Transpose, Squeeze and Unsqueeze only note where the axes are. The others become `Reshape`,
`Slice`, `Concatenate` and so on along the axes of a row. What would move the batch is refused, as
the rows of a batch do not see each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.graph.graph import output_shapes_of
from chainrule.graph.node import Node
from chainrule.interop.onnx.reading.conversion import Outputs, Site
from chainrule.interop.onnx.reading.folding import (
    integers,
    parts_of,
    python_slice,
    shape_part,
    sizes,
)
from chainrule.interop.onnx.reading.layers import Border, Expand, Positions, Regroup, Take
from chainrule.interop.onnx.reading.values import (
    BATCH,
    OPEN,
    Constant,
    Operand,
    RefusedError,
    Size,
    Sizes,
    Value,
    axis_of,
    refuse_batch,
)
from chainrule.layers.merge import Concatenate
from chainrule.layers.reshape import Flatten, Reshape, Slice
from chainrule.layers.resize import Pad

# ------------------------------------------------------------------------------- axes


def identity(site: Site) -> Outputs:
    """The value itself."""
    return site.value()


def shape(site: Site) -> Outputs:
    """The shape of a value, a constant in which the size of the batch is not known."""
    return [Constant(shape_part(site.value().sizes, site.attributes))]


def size(site: Site) -> Outputs:
    """The number of elements, if it does not depend on the batch."""
    taken = site.value().sizes
    if any(isinstance(n, Size) for n in taken):
        raise RefusedError("the number of elements depends on the size of the batch")
    return [Constant(np.asarray(math.prod(taken), np.int64))]


def positions(site: Site) -> Outputs:
    """The numbers 0, 1, 2, … of the entries along an open axis."""
    start, limit, step = (site.constant(n, "limits") for n in range(3))
    size = None if limit is None else limit.array.item()
    is_plain = start is not None and step is not None and start.array == 0 and step.array == 1
    if start is None or not isinstance(size, Size) or size != OPEN or not is_plain:
        raise RefusedError("its length is not the size of an open axis")
    node, place = size.origin
    return Value(site.call(Positions(place), node), (1,), start.array.dtype)


def transpose(site: Site) -> Outputs:
    """The axes in another order, which is only noted."""
    value = site.value()
    order = site.attributes.get("perm") or list(reversed(range(value.rank)))
    if sorted(order) != list(range(value.rank)):
        raise RefusedError(f"perm={order} does not list the {value.rank} axes")
    return value.with_axes([value.axes[n] for n in order])


def unsqueeze(site: Site) -> Outputs:
    """Axes of size 1, which the array need not have."""
    value, given = site.value(), _axes(site, 1)
    if given is None:
        raise RefusedError("it has no axes")
    rank = value.rank + len(given)
    new = {axis_of(n, rank) for n in given}
    if len(new) < len(given):
        raise RefusedError(f"it lists an axis twice: {given}")
    rest = iter(value.axes)
    return value.with_axes([None if n in new else next(rest) for n in range(rank)])


def squeeze(site: Site) -> Outputs:
    """Axes of size 1 taken out."""
    value, given = site.value(), _axes(site, 1)
    if given is None:
        given = [n for n, one in enumerate(value.sizes) if one == 1]
    gone = {axis_of(n, value.rank) for n in given}
    refuse_batch(value, list(gone), "removes an axis")
    if any(value.sizes[n] != 1 for n in gone):
        raise RefusedError(f"it removes axes of the shape {value.sizes}, whose size is not 1")
    return without(site, value, gone)


def without(site: Site, value: Value, gone: set[int]) -> Value:
    """A value without some of its axes, all of size 1."""
    real = [place for n, place in enumerate(value.axes) if n in gone and place is not None]
    node = value.node
    for place in sorted(real, reverse=True):
        node = site.call(Take(0, place), node)
    axes = [place for n, place in enumerate(value.axes) if n not in gone]
    return Value(node, renumbered(axes, real), value.dtype)


def renumbered(axes: Sequence[int | None], gone: Sequence[int]) -> tuple[int | None, ...]:
    """Where the axes are after some axes of the array are gone."""
    return tuple(
        None if place is None else place - sum(one < place for one in gone) for place in axes
    )


def _axes(site: Site, number: int) -> list[int] | None:
    """Axes, an input or, in old versions, an attribute."""
    if site.constant(number, "axes") is not None:
        return integers(site.constant(number, "axes"), "axes")
    found = site.attributes.get("axes")
    return None if found is None else [int(n) for n in found]


# ------------------------------------------------------------------------------- reshape


def flatten(site: Site) -> Outputs:
    """Two axes from many."""
    value = site.value()
    axis = site.attributes.get("axis", 1)
    axis = value.rank if axis == value.rank else axis_of(axis, value.rank)
    one, two = value.sizes[:axis], value.sizes[axis:]
    if BATCH in one and len(one) > 1 and _count(one)[0] != 1:
        raise RefusedError("it joins the batch with another axis")
    return reshaped(site, value, [_joined(one), _joined(two)])


def _joined(given: Sizes) -> int | Size:
    unknown = [n for n in given if isinstance(n, Size)]
    if BATCH in unknown:
        return BATCH
    return -1 if unknown else math.prod(given)


def reshape(site: Site) -> Outputs:
    """The numbers of each row in another shape."""
    value = site.value()
    given = site.attributes.get("shape") if len(site.inputs) < 2 else None
    wanted = list(given) if given is not None else sizes(site.constant(1, "sizes"), "sizes")
    if not site.attributes.get("allowzero", 0):
        if any(n == 0 and place >= value.rank for place, n in enumerate(wanted)):
            raise RefusedError(f"the shape {wanted} copies a size that the value does not have")
        wanted = [value.sizes[place] if n == 0 else n for place, n in enumerate(wanted)]
    return reshaped(site, value, wanted)


def reshaped(site: Site, value: Value, wanted: Sequence[int | Size]) -> Value:
    """A value in another shape, which keeps its batch."""
    value = value.ungrouped
    row = [n for n in value.sizes if n != BATCH]
    joined = _joined_batch(site, value, wanted)
    if joined is not None:
        start, sizes_of_it = joined
        apart = [*wanted[:start], *sizes_of_it, *wanted[start + 1 :]]
        return reshaped(site, value, apart).grouped(start, len(sizes_of_it))
    place = None if value.batch is None else _place_of_batch(site, value, wanted)
    rest = [n for number, n in enumerate(wanted) if number != place]
    rest = _solved(rest, row)
    if place is not None and value.batch is not None:
        before, after = _count(value.sizes[: value.batch]), _count(rest[:place])
        if before != after:
            raise RefusedError("it moves the batch among the other axes")
    kept = _same_but_for_ones(value, rest, place)
    if kept is not None:
        return kept
    standard = site.standard(value)
    node = _reshape(site, standard.node, rest, len(wanted))
    axes: list[int | None] = list(range(1, len(rest) + 1))
    if place is not None:
        axes.insert(place, 0)
    flat = None
    if standard.node is not value.node and len(rest) == 1 and OPEN not in row:
        # The same numbers in the order of the array, for a layer that permutes its weights.
        array = [int(n) for n in value.row if n is not None]
        places = np.reshape(np.arange(math.prod(array)), array)
        in_onnx = np.transpose(places, [value.order.index(n) for n in sorted(value.order)])
        flat = (site.call(Flatten(), value.node), np.ravel(in_onnx))
    return Value(node, tuple(axes), value.dtype, flat)


def _joined_batch(
    site: Site, value: Value, wanted: Sequence[int | Size]
) -> tuple[int, list[int | Size]] | None:
    """Which axis of the new shape joins the batch with others, and what it joins in which order."""
    if value.batch is None or BATCH in wanted:
        return None
    row = [n for n in value.sizes if n != BATCH]
    (count, is_open), size = _count(row), site.model.batch_size
    first = wanted[0] if wanted else 1
    if (isinstance(first, Size) and first.opens) or (
        first == -1 and size is None and value.batch == 0 and is_open > list(wanted).count(OPEN)
    ):
        for length in range(value.rank, 1, -1):  # all axes in front of those that remain
            if _count(value.sizes[length:]) == _count(wanted[1:]):
                return 0, list(value.sizes[:length])
        return None
    named = [n for n in wanted if n != -1 and not isinstance(n, Size)]
    found = [
        (n, one.factor) for n, one in enumerate(wanted) if isinstance(one, Size) and one.factor > 1
    ]
    if not found and list(wanted).count(-1) == 1 and is_open == list(wanted).count(OPEN):
        whole = math.prod(named)
        if whole and count % whole == 0 and count > whole:
            found = [(list(wanted).index(-1), count // whole)]
    if not found and size is not None and -1 not in wanted and math.prod(named) == size * count:
        before = _count(value.sizes[: value.batch])[0]
        for n, one in enumerate(wanted):
            until = math.prod(m for m in wanted[:n] if not isinstance(m, Size))
            if isinstance(one, int) and until * one >= before * size and one % size == 0:
                found = [(n, one // size)]
                break
    if not found:
        return None
    place, factor = found[0]
    (before, is_open_before), (until, was_open) = (
        _count(value.sizes[: value.batch]),
        _count(wanted[:place]),
    )
    if factor < 2 or is_open_before != was_open or not until or before % until:
        return None
    outer = before // until
    if factor % outer:
        return None
    inner = factor // outer
    return place, [*[outer] * (outer > 1), BATCH, *[inner] * (inner > 1)]


def _reshape(site: Site, node: Node, rest: Sequence[int | Size], rank: int) -> Node:
    if len(rest) == 1 and rank == 2:
        return site.call(Flatten(), node)
    shape = tuple(-1 if isinstance(n, Size) else n for n in rest)
    kept = 0
    if rest.count(OPEN) > 1:  # those in front stay as they are
        row = output_shapes_of(node)[0]
        pairs = zip(row, rest, strict=False)
        is_other = [(OPEN if n is None else n) != wanted for n, wanted in pairs]
        kept = [*is_other, True].index(True)
    if shape[kept:].count(-1) > 1:
        raise RefusedError("it reshapes rows with several open axes")
    return site.call(Regroup(kept, shape[kept:]) if kept else Reshape(shape), node)


def _place_of_batch(site: Site, value: Value, wanted: Sequence[int | Size]) -> int:
    """Which axis of the new shape is the batch."""
    if BATCH in wanted:
        return list(wanted).index(BATCH)
    row = [n for n in value.sizes if n != BATCH]
    known = [n for n in wanted if n != -1]
    batch = value.batch or 0
    if site.model.batch_size is not None and list(wanted[batch : batch + 1]) == [
        site.model.batch_size
    ]:
        rest = [*wanted[:batch], *wanted[batch + 1 :]]
        if -1 in rest or _count(rest) == _count(row):
            return batch
    if -1 in wanted and _count(known) == _count(row):
        return list(wanted).index(-1)
    raise RefusedError(f"it joins or divides the batch: {value.sizes} to {tuple(wanted)}")


def _count(given: Sequence[int | Size]) -> tuple[int, int]:
    """The product of the known sizes, and how many are open."""
    return math.prod(n for n in given if not isinstance(n, Size)), list(given).count(OPEN)


def _solved(rest: list[int | Size], row: Sequence[int | Size]) -> list[int | Size]:
    """The shape of a row, with the number that -1 stands for."""
    if rest.count(-1) > 1 or any(not isinstance(n, Size) and n < -1 for n in rest):
        raise RefusedError(f"the shape {rest} is none")
    (count, is_open), (named, is_named) = _count(row), _count([n for n in rest if n != -1])
    if -1 in rest:
        if is_open > is_named and count == named:
            rest[rest.index(-1)] = OPEN
        elif is_open == is_named and named and count % named == 0:
            rest[rest.index(-1)] = count // named
        elif is_open > is_named:
            rest[rest.index(-1)] = OPEN  # a multiple of an open axis, which the layer determines
            return rest
        if is_open > is_named + 1:
            return rest  # several open axes as one
    if _count(rest) != (count, is_open):
        raise RefusedError(f"rows of the shape {tuple(row)} do not fill {tuple(rest)}")
    return rest


def _same_but_for_ones(value: Value, rest: Sequence[int | Size], place: int | None) -> Value | None:
    """The same array with other axes of size 1, if that is all; else None."""
    real = [n for n in value.others if value.axes[n] is not None]
    found: list[int | None] = []
    for one in rest:
        if real and value.sizes[real[0]] == one:
            found.append(value.axes[real.pop(0)])
        elif one == 1:
            found.append(None)
        else:
            return None
    if real:
        return None
    if place is not None:
        found.insert(place, 0)
    return value.with_axes(found)


# ------------------------------------------------------------------------------- joining


def concat(site: Site) -> Outputs:
    """Values, and constants, side by side."""
    if len(site.inputs) == 1:
        return site.value()
    values = [one for one in site.inputs if isinstance(one, Value)]
    main = max(values, key=lambda one: len(one.order))
    axis = axis_of(int(site.attributes.get("axis", 1)), main.rank)
    refuse_batch(main, [axis], "joins")
    order = [*(n for n in main.others if n not in main.order), *main.order]
    if any(one.batch != main.batch for one in values):
        raise RefusedError("the batch is not the same axis of all inputs")
    nodes = [_as_rows(site, one, order, main) for one in site.inputs]
    node = site.call(Concatenate(order.index(axis) + 1), *nodes)
    return Value(node, placed(main.rank, order, main.batch), main.dtype)


def placed(rank: int, order: Sequence[int], batch: int | None) -> tuple[int | None, ...]:
    """Where each axis is, in an array whose rows have this order."""
    axes: list[int | None] = [None] * rank
    for place, n in enumerate(order, 1):
        axes[n] = place
    if batch is not None:
        axes[batch] = 0
    return tuple(axes)


def _as_rows(site: Site, one: Operand | None, order: Sequence[int], main: Value) -> Node:
    if isinstance(one, Value):
        return site.rows(one, order)
    if one is None or one.array.ndim != main.rank or one.array.dtype.kind not in "f":
        raise RefusedError("a constant that it joins has another number of axes, or is not a float")
    if one.is_open:
        raise RefusedError("a constant that it joins is as long as an open axis")
    if main.batch is not None and one.array.shape[main.batch] != 1:
        raise RefusedError("a constant that it joins is different for each row of the batch")
    array = one.array if main.batch is None else np.squeeze(one.array, axis=main.batch)
    array = np.transpose(array, [main.others.index(n) for n in order])
    return site.model.weights(one.as_array(array), array.shape, main.node)


def split(site: Site) -> Outputs:
    """Parts of an axis."""
    value = site.value()
    axis = axis_of(int(site.attributes.get("axis", 0)), value.rank)
    refuse_batch(value, [axis], "splits")
    length = value.sizes[axis]
    given: Any = site.attributes.get("split")
    if site.constant(1, "lengths") is not None:
        given = integers(site.constant(1, "lengths"), "lengths")
    if isinstance(length, Size):
        raise RefusedError("it splits an open axis")
    lengths = parts_of(length, given, len(site.outputs))
    ends = np.cumsum(lengths).tolist()
    return [
        _sliced(site, value, axis, slice(end - one, end)) if one else None
        for one, end in zip(lengths, ends, strict=True)
    ]


# ------------------------------------------------------------------------------- taking


def slices(site: Site) -> Outputs:
    """``x[start:stop:step]`` along each axis."""
    value = site.value()
    if len(site.inputs) > 1:
        starts, ends = (integers(site.constant(n, "bounds"), "bounds") for n in (1, 2))
    else:
        starts, ends = site.attributes["starts"], site.attributes["ends"]
    axes = site.attributes.get("axes") or list(range(len(starts)))
    if site.constant(3, "axes") is not None:
        axes = integers(site.constant(3, "axes"), "axes")
    steps = [1] * len(starts)
    if site.constant(4, "steps") is not None:
        steps = integers(site.constant(4, "steps"), "steps")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = axis_of(axis, value.rank)
        length = value.sizes[place]
        if start == 0 and step == 1 and end >= 2**31 - 1:
            continue
        refuse_batch(value, [place], "slices")
        if isinstance(length, Size):
            taken = _open_slice(start, end, step)
        else:
            taken = python_slice(start, end, step, length)
            if taken == slice(0, length, 1):
                continue
        value = _sliced(site, value, place, taken)
    return value


def _open_slice(start: int, end: int, step: int) -> slice:
    far = 2**31 - 1
    if step == 0:
        raise RefusedError("its step is 0")
    begin = None if (step > 0 and start == 0) or (step < 0 and start >= far) else start
    stop = None if end >= far or end <= -far else end
    return slice(begin, stop, step)


def _sliced(site: Site, value: Value, axis: int, taken: slice) -> Value:
    if value.axes[axis] is None:
        if len(range(1)[taken]) != 1:
            raise RefusedError("the result is empty")
        return value
    layer = Slice(taken.start, taken.stop, taken.step or 1, axis=value.axes[axis] or 0)
    return Value(site.call(layer, value.node), value.axes, value.dtype)


def gather(site: Site) -> Outputs:
    """Entries by their numbers; the numbers themselves are data in `products.embedding`."""
    value = site.value()
    axis = axis_of(int(site.attributes.get("axis", 0)), value.rank)
    refuse_batch(value, [axis], "takes entries")
    found = site.constant(1, "numbers")
    numbers = integers(found, "numbers")
    assert found is not None
    if value.axes[axis] is None:
        if set(numbers) - {0, -1}:
            raise RefusedError(f"the entries {numbers} are not in an axis of size 1")
        value = _with_real_axis(site, value, axis)
    shape = found.array.shape
    place = value.axes[axis]
    assert place is not None
    if not shape:
        node = site.call(Take(numbers[0], place), value.node)
        axes = [*value.axes[:axis], *value.axes[axis + 1 :]]
        return Value(node, renumbered(axes, [place]), value.dtype)
    taken = Value(site.call(Take(tuple(numbers), place), value.node), value.axes, value.dtype)
    if len(shape) == 1:
        return taken
    return reshaped(site, taken, [*taken.sizes[:axis], *shape, *taken.sizes[axis + 1 :]])


def _with_real_axis(site: Site, value: Value, axis: int) -> Value:
    order = [axis, *(n for n in value.order if n != axis)]
    return Value(site.rows(value, order), placed(value.rank, order, value.batch), value.dtype)


def take_along(site: Site, value: Value, axis: int, numbers: Sequence[int]) -> Value:
    """A value with these entries along an axis."""
    if len(numbers) == _known(value, axis) and list(numbers) == list(range(len(numbers))):
        return value
    if value.axes[axis] is None:
        value = _with_real_axis(site, value, axis)
    place = value.axes[axis]
    assert place is not None
    return Value(site.call(Take(tuple(numbers), place), value.node), value.axes, value.dtype)


def _known(value: Value, axis: int) -> int:
    found = value.sizes[axis]
    if isinstance(found, Size):
        raise RefusedError(f"the size of axis {axis} is not known when the model is read")
    return found


def tile(site: Site) -> Outputs:
    """The value repeated along its axes."""
    value, repeats = site.value(), integers(site.constant(1, "repeats"), "repeats")
    if len(repeats) != value.rank or min(repeats, default=1) < 1:
        raise RefusedError(f"repeats={repeats} for {value.rank} axes")
    for axis, times in enumerate(repeats):
        if times > 1:
            refuse_batch(value, [axis], "repeats")
            refuse_large(times * _known(value, axis))
            value = take_along(site, value, axis, list(range(_known(value, axis))) * times)
    return value


def refuse_large(entries: int, limit: int = 2**20) -> None:
    """Refuse what a few bytes of a file could ask for, and would never end."""
    if entries > limit:
        raise RefusedError(f"it needs {entries:,} entries of one array, more than {limit:,}")


def expand(site: Site) -> Outputs:
    """Axes of size 1 repeated, or new ones."""
    value, given = site.value(), sizes(site.constant(1, "sizes"), "sizes")
    rank = max(value.rank, len(given))
    wanted = [*[1] * (rank - len(given)), *given]
    value = value.with_axes([None] * (rank - value.rank) + list(value.axes))
    goal: list[int | Size] = []
    for axis, (have, want) in enumerate(zip(value.sizes, wanted, strict=True)):
        is_kept = want in (1, have) or (have == BATCH and want == site.model.batch_size)
        if not is_kept and (have != 1 or isinstance(want, Size)):
            raise RefusedError(f"axis {axis} of size {have} cannot be repeated to {want}")
        goal.append(have if is_kept else want)
    if tuple(goal) == value.sizes:
        return value
    order = value.others
    if OPEN in goal:
        raise RefusedError("it repeats rows with an open axis")
    shape = tuple(int(goal[n]) for n in order)  # type: ignore[arg-type]
    refuse_large(max(shape))
    node = site.call(Expand(shape), site.rows(value, order))
    return Value(node, placed(rank, order, value.batch), value.dtype)


# ------------------------------------------------------------------------------- padding


def pad(site: Site) -> Outputs:
    """Entries around each row: a number, or copies of its own."""
    value = site.value()
    mode = site.attributes.get("mode", "constant")
    if site.version >= 11:
        amounts = integers(site.constant(1, "amounts"), "amounts")
        fill = site.number(2, "fill value") or 0.0
    else:
        amounts = list(site.attributes["pads"])
        fill = float(site.attributes.get("value", 0.0))
    axes = list(range(value.rank))
    if site.constant(3, "axes") is not None:
        axes = [axis_of(n, value.rank) for n in integers(site.constant(3, "axes"), "axes")]
    if len(amounts) != 2 * len(axes):
        raise RefusedError(f"it has {len(amounts)} amounts for {len(axes)} axes")
    pairs = {axis: (amounts[n], amounts[n + len(axes)]) for n, axis in enumerate(axes)}
    for axis, (before, after) in list(pairs.items()):
        if min(before, after) < 0:
            refuse_batch(value, [axis], "cuts")
            start, end = max(-before, 0), None if after >= 0 else after
            value = _sliced(site, value, axis, slice(start, end))
            pairs[axis] = (max(before, 0), max(after, 0))
    wide = {axis: pair for axis, pair in pairs.items() if any(pair)}
    refuse_batch(value, list(wide), "adds entries")
    if not wide:
        return value
    refuse_large(max(map(sum, wide.values())))
    if mode != "constant":
        return _padded_with_copies(site, value, wide, mode)
    for axis in wide:
        if value.axes[axis] is None:
            value = _with_real_axis(site, value, axis)
    widths = tuple(wide.get(n, (0, 0)) for n in value.order)
    is_space = 2 <= len(widths) <= 4 and not any(widths[-1])
    layer = Pad(widths[:-1]) if fill == 0 and is_space else Border(widths, fill)
    return Value(site.call(layer, value.node), value.axes, value.dtype)


def _padded_with_copies(
    site: Site, value: Value, wide: dict[int, tuple[int, int]], mode: str
) -> Value:
    kinds = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}
    if mode not in kinds:
        raise RefusedError(f"mode={mode!r}")
    for axis, pair in wide.items():
        refuse_large(_known(value, axis) + sum(pair))
        numbers = np.arange(_known(value, axis))
        added: Any = np.pad(numbers, pair, mode=kinds[mode])  # type: ignore[call-overload]
        value = take_along(site, value, axis, added.tolist())
    return value


def depth_to_space(site: Site) -> Outputs:
    """Channels moved into blocks of places."""
    value, block = site.value(), int(site.attributes["blocksize"])
    n, c, h, w = _four(value)
    if block < 1 or c % block**2:
        raise RefusedError(f"{c} channels are not blocks of {block} by {block}")
    if site.attributes.get("mode", "DCR") == "DCR":
        value = reshaped(site, value, [n, block, block, c // block**2, h, w])
        order = (0, 3, 4, 1, 5, 2)
    else:
        value = reshaped(site, value, [n, c // block**2, block, block, h, w])
        order = (0, 1, 4, 2, 5, 3)
    value = value.with_axes([value.axes[n] for n in order])
    return reshaped(site, value, [n, c // block**2, h * block, w * block])


def space_to_depth(site: Site) -> Outputs:
    """Blocks of places moved into channels."""
    value, block = site.value(), int(site.attributes["blocksize"])
    n, c, h, w = _four(value)
    if block < 1 or h % block or w % block:
        raise RefusedError(f"{h} by {w} places are not blocks of {block} by {block}")
    value = reshaped(site, value, [n, c, h // block, block, w // block, block])
    is_deep = site.attributes.get("mode", "DCR") == "DCR"
    order = (0, 3, 5, 1, 2, 4) if is_deep else (0, 1, 3, 5, 2, 4)
    value = value.with_axes([value.axes[n] for n in order])
    return reshaped(site, value, [n, c * block**2, h // block, w // block])


def _four(value: Value) -> tuple[int | Size, int, int, int]:
    if value.rank != 4 or any(n == OPEN or value.batch not in (0, None) for n in value.sizes):
        raise RefusedError("it needs images of a known size, with the batch first")
    n, c, h, w = value.sizes
    return n, int(c), int(h), int(w)  # type: ignore[arg-type]
