"""Windows: what a convolution or a pool sees of a row at once, and how the edges are padded.

A row is a signal (T, C), an image (H, W, C) or a volume (D, H, W, C): one, two or three spatial
axes, then the channels. A window of k entries, d apart, covers

    reach = d (k − 1) + 1

entries of a spatial axis. It moves in steps of the stride s over the n entries of the axis and the
p entries that were added at its two ends, which gives the sizes

    out = ⌊(n + p − reach) / s⌋ + 1

The padding "valid" adds nothing; "same" adds what makes out = ⌈n / s⌉, with the odd entry at the
end. "periodic" and "reflect" add as much as "same", copied from the other end or mirrored without
the entry at the edge. An integer is a number of zeros at both ends of an axis.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from attrs import frozen

from chainrule.core.arrays import as_operation
from chainrule.core.errors import ShapeError, shortened
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.types import Array, RowPattern, Shape
from chainrule.core.validators import complain, is_integer
from chainrule.layers.reshape import plain

PADDINGS = ("same", "valid", "periodic", "reflect")
"""The paddings that have a name."""

Amounts = tuple[tuple[int, int], ...]
"""For each spatial axis, how many entries are added before and after."""

# ------------------------------------------------------------------------------- arguments


as_sizes = plain
"""A converter: a list of sizes as a tuple, and integers of NumPy as Python integers."""


def sizes_from(least: int, *, example: str) -> Callable[[object, Any, Any], None]:
    """A validator for a number for all axes, or one for each of up to three."""

    def validator(owner: object, attribute: Any, value: Any) -> None:
        several = value if isinstance(value, tuple) else (value,)
        if not 1 <= len(several) <= 3 or not all(is_integer(n) and n >= least for n in several):
            expected = f"an integer of at least {least}, or one for each axis of space, up to three"
            complain(owner, attribute.name, expected, value, f"{attribute.name}={example}")

    return validator


def a_padding(owner: object, attribute: Any, value: Any) -> None:
    """Accept only a name of `PADDINGS`, and integers: see `amounts_of`."""
    if isinstance(value, str) and value in PADDINGS:
        return
    if not _are_amounts(value):
        expected = f"{', '.join(map(repr, PADDINGS))}; or how many zeros: {AMOUNTS}"
        complain(owner, attribute.name, expected, value, f"{attribute.name}='same'")


AMOUNTS = (
    "an integer of at least 0 for all axes, or a tuple with an integer or a pair (before, after) "
    "for each axis"
)


def a_width(owner: object, attribute: Any, value: Any) -> None:
    """Accept only how many entries to add or remove: see `amounts_along`."""
    if not _are_amounts(value):
        complain(owner, attribute.name, AMOUNTS, value, f"{attribute.name}=1")


def _are_amounts(value: Any) -> bool:
    numbers = value if isinstance(value, tuple) else (value,)
    pairs = [pair if isinstance(pair, tuple) and len(pair) == 2 else (pair,) for pair in numbers]
    return 1 <= len(numbers) <= 3 and all(is_integer(n) and n >= 0 for p in pairs for n in p)


def amounts_along(owner: Layer, name: str, value: Any, axes: int) -> Amounts:
    """How many entries before and after each axis: from a number for both, or from pairs."""
    each = per_axis(owner, name, value, axes)
    return tuple(n if isinstance(n, tuple) else (n, n) for n in each)


def per_axis(owner: Layer, name: str, value: Any, axes: int) -> tuple[Any, ...]:
    """One value for each spatial axis: a number is repeated, a tuple must have that length."""
    if not isinstance(value, tuple):
        return (value,) * axes
    if len(value) != axes:
        raise ShapeError(
            f"{owner!r}: {name} does not fit the rows, which have {axes} "
            f"{'axis' if axes == 1 else 'axes'} of space",
            expected=f"a number, or a tuple of {axes}",
            received=f"{name}={shortened(value)}",
            hint=None
            if isinstance(value[0], tuple)
            else f"{name}={value[0]} uses the same for every axis",
        )
    return value


def spatial_axes(owner: Layer, shape: Shape) -> int:
    """The number of spatial axes of a row, one to three; another number is an error."""
    axes = len(shape) - 1
    if not 1 <= axes <= 3:
        raise ShapeError(
            f"{owner!r}: a row needs one to three axes of space and one of channels",
            expected="(batch, time, channels), (batch, height, width, channels) or volumes",
            received=batch_of(shape),
            hint=f"Reshape(({shape[0]}, 1)) before it makes them signals of one channel"
            if axes == 0
            else None,
        )
    return axes


def any_size(shape: Shape) -> RowPattern:
    """The rows that a layer accepts which fixes the number of axes and the channels."""
    return (*(None for _ in shape[:-1]), shape[-1])


# ------------------------------------------------------------------------------- windows


@frozen
class Windows:
    """The windows on rows of given sizes, with one entry of each attribute for a spatial axis.

    Attributes
    ----------
    sizes
        The spatial sizes n of a row.
    kernel, strides, dilations
        The entries k of a window, its steps s, and the distance d of its entries.
    amounts
        How many entries are added before and after each axis.
    padding
        What they are: "periodic", "reflect", and anything else for zeros.
    """

    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    amounts: Amounts
    padding: Any = "zeros"

    @property
    def is_open(self) -> bool:
        """Whether a size is not a number yet: see `chainrule.interop.onnx.writing.sizes`."""
        return any(type(n) is not int for n in self.sizes)

    @property
    def padded_sizes(self) -> tuple[int, ...]:
        """The spatial sizes of a padded row."""
        return tuple(n + sum(added) for n, added in zip(self.sizes, self.amounts, strict=True))

    @functools.cached_property
    def outputs(self) -> tuple[int, ...]:
        """The number of windows along each axis."""
        return tuple(
            (n + before + after - reach(k, d)) // s + 1
            for n, k, s, d, (before, after) in zip(
                self.sizes, self.kernel, self.strides, self.dilations, self.amounts, strict=True
            )
        )

    def offsets(self) -> Iterator[tuple[int, ...]]:
        """The positions (i, j, …) in the window, the last axis running fastest."""
        return itertools.product(*map(range, self.kernel))

    def seen_at(self, offset: Sequence[int]) -> tuple[slice, ...]:
        """The index of a padded batch that gives what all windows see at one of their positions."""
        return (
            slice(None),
            *(
                slice(i * d, i * d + s * (m - 1) + 1 if m else 0, s)
                for i, d, s, m in zip(
                    offset, self.dilations, self.strides, self.outputs, strict=True
                )
            ),
        )


def windows_on(
    owner: Layer,
    shape: Shape,
    *,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any = 1,
) -> Windows:
    """The windows of a layer on rows of this shape; an error if the rows are too small."""
    axes, sizes = spatial_axes(owner, shape), shape[:-1]
    kernel = per_axis(owner, "kernel", kernel, axes)
    strides = per_axis(owner, "stride", stride, axes)
    dilations = per_axis(owner, "dilation", dilation, axes)
    reaches = tuple(map(reach, kernel, dilations))
    amounts = amounts_of(owner, padding, sizes, reaches, strides)
    least = [covered - sum(added) for covered, added in zip(reaches, amounts, strict=True)]
    if any(n < max(needed, 1) for n, needed in zip(sizes, least, strict=True)):
        raise ShapeError(
            f"{owner!r}: the window is larger than the rows",
            expected=f"rows of at least {' × '.join(str(max(n, 1)) for n in least)} entries",
            received=batch_of(shape),
            hint='a smaller window, or padding="same"',
        )
    if padding == "reflect":
        require_mirror(owner, shape, amounts, 'padding="same" adds zeros instead')
    return Windows(sizes, kernel, strides, dilations, amounts, padding)


def require_mirror(owner: Layer, shape: Shape, amounts: Amounts, hint: str) -> None:
    """Raise an error if rows have fewer entries than are mirrored at an edge."""
    for n, added in zip(shape[:-1], amounts, strict=True):
        if max(added) >= n:
            raise ShapeError(
                f"{owner!r}: rows are too small to be mirrored at their edges",
                expected=f"at least {max(added) + 1} entries along each axis of space",
                received=batch_of(shape),
                hint=hint,
            )


def reach(kernel: int, dilation: int) -> int:
    """How many entries of an axis a window covers: d (k − 1) + 1."""
    return dilation * (kernel - 1) + 1


def amounts_of(
    owner: Layer,
    padding: Any,
    sizes: Sequence[int],
    reaches: Sequence[int],
    strides: Sequence[int],
) -> Amounts:
    """How many entries a padding adds before and after each axis."""
    if padding == "valid":
        return tuple((0, 0) for _ in sizes)
    if isinstance(padding, str):
        missing = [
            max((math.ceil(n / s) - 1) * s + covered - n, 0)
            for n, covered, s in zip(sizes, reaches, strides, strict=True)
        ]
        return tuple((p // 2, p - p // 2) for p in missing)
    return amounts_along(owner, "padding", padding, len(sizes))


# ------------------------------------------------------------------------------- padding


@as_operation
def padded(x: Array, amounts: Amounts, mode: Any = "zeros", fill: float = 0.0) -> Array:
    """A batch with entries added along its spatial axes; itself if nothing is added.

    Any mode but "periodic" and "reflect" adds the number ``fill``.
    """
    if not any(map(any, amounts)):
        return x
    if mode in ("periodic", "reflect"):
        for axis, (before, after) in enumerate(amounts, 1):
            if before or after:
                x = np.take(x, _sources(x.shape[axis], before, after, mode), axis=axis)
        return x
    shape = list(x.shape)
    for axis, (before, after) in enumerate(amounts, 1):
        shape[axis] += before + after
    larger = np.full_like(x, fill, shape=shape) if fill else np.zeros_like(x, shape=shape)
    larger[inner(x.shape, amounts)] = x
    return larger


def folded(delta: Array, amounts: Amounts, mode: Any = "zeros") -> Array:
    """The adjoint of `padded`: the delta of a batch from the delta of the padded batch.

    What was copied from an entry adds its delta to that of the entry; constants have none.
    """
    if not any(map(any, amounts)):
        return delta
    if mode not in ("periodic", "reflect"):
        sizes = [
            n - before - after
            for n, (before, after) in zip(delta.shape[1:-1], amounts, strict=True)
        ]
        return delta[inner((len(delta), *sizes, delta.shape[-1]), amounts)]
    for axis, (before, after) in enumerate(amounts, 1):
        size = delta.shape[axis] - before - after
        sources = _sources(size, before, after, mode)
        moved = np.moveaxis(delta, axis, 0)
        total = np.array(moved[before : before + size], like=moved)
        for place in (*range(before), *range(before + size, len(sources))):
            total[int(sources[place])] += moved[place]
        delta = np.moveaxis(total, 0, axis)
    return delta


def inner(shape: Sequence[int], amounts: Amounts) -> tuple[slice, ...]:
    """The index of the original batch in a padded one."""
    return (
        slice(None),
        *(slice(p, p + n) for n, (p, _) in zip(shape[1:-1], amounts, strict=True)),
    )


def _sources(size: int, before: int, after: int, mode: str) -> Any:
    """Which entry of an axis each entry of the padded axis is a copy of."""
    places = np.arange(-before, size + after)
    if mode == "periodic":
        return places % max(size, 1)
    period = max(2 * (size - 1), 1)  # … 2 1 0 1 2 … : there and back, without the edges twice
    there = places % period
    return np.minimum(there, period - there)


# ------------------------------------------------------------------------------- equations


def repeated_on_paper(array: str, times: Sequence[int]) -> str:
    """The expression that repeats every entry so many times along each axis of space."""
    return array + "".join(f".repeat({k}, axis={axis})" for axis, k in enumerate(times, 1))


def blocks_on_paper(array: str, blocks: Sequence[Any], sizes: Sequence[int], channels: Any) -> str:
    """The expression that splits each axis of space into some blocks of a size: see `IN_BLOCKS`."""
    pairs = itertools.chain(*zip(blocks, sizes, strict=True))
    return f"{array}.reshape(len({array}), {', '.join(map(str, pairs))}, {channels})"


IN_BLOCKS = {1: "2", 2: "(2, 4)", 3: "(2, 4, 6)"}
"""The axes of the entries of a block, for so many axes of space."""


def over_offsets(windows: Windows) -> tuple[str, str]:
    """The loops over all offsets i, j, … of the kernel, and the number of an offset."""
    number = ""
    for i, n in zip("ijk", windows.kernel, strict=False):
        number = f"{number} * {n} + {i}" if number and "+" not in number else (
            f"({number}) * {n} + {i}" if number else i)  # fmt: skip
    loops = (f" for {i} in range({n})" for i, n in zip("ijk", windows.kernel, strict=False))
    return "".join(loops), number


def along_axes(matrices: Sequence[str], array: str) -> str:
    """The expression A x along each axis of space, given expressions for all A."""
    if len(matrices) == 1:
        return f"{matrices[0]} @ {array}"
    before, after = "ijk"[: len(matrices)], "uvw"[: len(matrices)]
    each = ",".join(map("".join, zip(after, before, strict=True)))
    return f"np.einsum('{each},n{before}c->n{after}c', {', '.join(matrices)}, {array})"


def seen_on_paper(wide: str, windows: Windows, has_groups: bool = False, *, fill: str = "") -> str:
    """What the windows see at the offset i, j, … of the kernel, with ``fill`` around the row."""
    slices = [
        f"{_times(d, i)}:{_times(d, i)} + {s * (m - 1) + 1}" + (f":{s}" if s > 1 else "")
        for i, d, s, m in zip(
            "ijk", windows.dilations, windows.strides, windows.outputs, strict=False
        )
    ]
    amounts = (*windows.amounts, (0, 0)) if has_groups else windows.amounts
    padded_wide = _padded(wide, amounts, windows.padding, fill)
    return f"{padded_wide}[:, {', '.join(slices)}]"


def sent_on_paper(narrow: str, windows: Windows, channels: str) -> str:
    """What offset i, j, … sends to each padded entry; to each entry if the padding is zeros."""
    array, slices, _ = _sent(narrow, windows, channels)
    return f"{array}[:, {slices}]"


def sent_by_offset(parts: str, windows: Windows, channels: str) -> str:
    """The same if each offset sends another part; ``parts`` has the rows of all, by offset."""
    array, slices, sizes = _sent(parts, windows, channels)
    _, number = over_offsets(windows)
    shape = ", ".join(map(str, (math.prod(windows.kernel), -1, *sizes, channels)))
    return f"{array}.reshape({shape})[{number}, :, {slices}]"


def _sent(narrow: str, windows: Windows, channels: str) -> tuple[str, str, list[int]]:
    """An array from which each offset takes a slice, the slice, and the sizes of the array."""
    is_copied = windows.padding in ("periodic", "reflect")
    amounts, slices, sizes = [], [], []
    for i, n, k, s, d, m, (before, after) in zip(
        "ijk", windows.sizes, windows.kernel, windows.strides, windows.dilations, windows.outputs,
        windows.amounts, strict=False,
    ):  # fmt: skip
        first, size = (0, n + before + after) if is_copied else (before, n)
        start = first + reach(k, d) - 1
        front = max(reach(k, d) - 1 - first, 0)
        start += front - reach(k, d) + 1
        back = max(start + size - front - s * m, 0)
        amounts.append((front, back))
        slices.append(f"{start} - {_times(d, i)}:{start + size} - {_times(d, i)}")
        sizes.append(front + s * m + back)
    groups = [(0, 0)] * channels.count(",")
    array = _padded(_spaced(narrow, windows, channels), (*amounts, *groups))
    return array, ", ".join(slices), sizes


def _spaced(narrow: str, windows: Windows, channels: str) -> str:
    """An array with s − 1 zeros behind each entry."""
    if set(windows.strides) == {1}:
        return narrow
    single = [str(n) for m in windows.outputs for n in (m, 1)]
    zeros = [(0, n) for s in windows.strides for n in (0, s - 1)] + [(0, 0)] * channels.count(",")
    sizes = [str(m * s) for m, s in zip(windows.outputs, windows.strides, strict=True)]
    rows = f"len({narrow.partition('.')[0]})"
    before, after = (", ".join([rows, *shape, channels]) for shape in (single, sizes))
    return f"{_padded(f'{narrow}.reshape({before})', tuple(zeros))}.reshape({after})"


def _padded(x: str, amounts: Amounts, padding: Any = "zeros", fill: str = "") -> str:
    if not any(map(any, amounts)):
        return x
    mode = {"periodic": ", mode='wrap'", "reflect": ", mode='reflect'"}.get(padding, "")
    mode += f", constant_values={fill}" if fill else ""
    return f"np.pad({x}, {((0, 0), *amounts, (0, 0))}{mode})"


def _times(number: int, index: str) -> str:
    return index if number == 1 else f"{number} * {index}"
