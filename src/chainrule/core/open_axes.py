"""Open axes: the axes of a row whose size may differ from batch to batch.

In the shape of a row, None stands for an axis of any size. In the shapes that a layer accepts,
``...`` also stands for any number of axes:

    (64,)               rows of exactly this shape
    (None, None, 3)     images of any height and width, with three channels
    (..., 64)           rows of any rank whose last axis has the size 64
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from chainrule.core.types import RowPattern, Shape

PROBES = (96, 384)
"""The sizes that open axes have while a layer is built: an axis that is open gets both of them.

They can be halved five times, for networks that do so and double again. The second is so large that
an axis that depends on them differs after many strides, too: ⌈96 / 64⌉ is also ⌈128 / 64⌉.
"""


def fits(shape: Shape, pattern: RowPattern) -> bool:
    """Whether rows of this shape fit a pattern such as ``(..., 64)``."""
    if ... in pattern:
        place = pattern.index(...)
        before, after = pattern[:place], pattern[place + 1 :]
        if len(shape) < len(before) + len(after):
            return False
        shape = (*shape[:place], *shape[len(shape) - len(after) :])
        pattern = (*before, *after)
    return len(shape) == len(pattern) and all(
        size is None or size == n for n, size in zip(shape, pattern, strict=True)
    )


def is_open(shapes: Sequence[Shape]) -> bool:
    """Whether one of the shapes has an open axis."""
    return any(n is None for shape in shapes for n in shape)


def with_sizes(shapes: Sequence[Shape], size: int) -> tuple[Shape, ...]:
    """The shapes with this size for every open axis."""
    return tuple(tuple(size if n is None else n for n in shape) for shape in shapes)


def merged(one: Shape, two: Shape) -> Shape:
    """The shape with an open axis wherever two shapes differ; the first if their ranks differ."""
    if len(one) != len(two):
        return one
    return tuple(n if n == m else None for n, m in zip(one, two, strict=True))  # type: ignore[misc]


_OPENING: ContextVar[bool] = ContextVar("opening", default=False)


def is_opening() -> bool:
    """Whether a model is tried with other sizes of its open axes; see `opening`."""
    return _OPENING.get()


@contextmanager
def opening() -> Iterator[None]:
    """In this context, layers that are called record which axes of their rows are open."""
    token = _OPENING.set(True)
    try:
        yield
    finally:
        _OPENING.reset(token)


class HasShapes(Protocol):
    """What a built layer knows about its rows."""

    _input_shapes: tuple[Shape, ...] | None
    _output_shapes: tuple[Shape, ...]


def record_open_axes(layer: HasShapes, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> None:
    """Open the axes of a built layer along which the sizes differ from those it was built for."""
    for name, seen in (("_input_shapes", inputs), ("_output_shapes", outputs)):
        known = getattr(layer, name)
        if len(known) == len(seen):
            layer.__dict__[name] = tuple(map(merged, known, seen))
