"""The parts of a jet in memory: where NumPy would give a view of the value, a view of all parts.

Whether NumPy's reshape is a view or a copy depends on the order of the axes in memory. With the
strides s_i in bytes, entry (n_1, n_2, …) of part p is at

    address = start + p s_0 + Σ_i n_i s_i

and the s_i, i ≥ 1, are in the order that they would have for the value alone. So each program that
writes through a view changes the same entries as it does without derivatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.calculus.array_methods import ArrayMethods
from chainrule.calculus.dual import Dual, dual, same_layout
from chainrule.core.arrays import has_values


class Parts(ArrayMethods):
    """An array in parts: a value, and derivatives of the same shape. Its subclass is `Jet`."""

    __slots__ = ()

    if TYPE_CHECKING:
        parts: Any
        value: Any
        made: Any


def with_zeros(value: Any, count: int) -> Any:
    """The parts of a constant."""
    parts = room_for(value, count)
    parts[0], parts[1:] = value, 0
    return parts


def innermost(x: Any) -> Any:
    """The plain array in a Dual or a Jet, or in one inside the other."""
    while isinstance(x, Dual | Parts):
        x = x.value
    return x


def is_contiguous(x: Any) -> bool:
    """Whether the value is in NumPy's usual order, row after row; also true of a number."""
    x = innermost(x)
    return bool(x.flags.c_contiguous) if hasattr(x, "flags") else True


def room_for(value: Any, count: int, kind: Any = None) -> Any:
    """An array for parts that have the shape of the value, and its order in memory."""
    shape, plain, kind = value.shape, innermost(value), like(value if kind is None else kind)
    if is_contiguous(plain):
        return np.empty((count, *shape), value.dtype, **kind)
    axes = sorted(range(len(shape)), key=lambda n: -abs(plain.strides[n]))
    room = np.empty((count, *(shape[n] for n in axes)), value.dtype, **kind)
    return np.transpose(room, (0, *(1 + axes.index(n) for n in range(len(shape)))))


def stacked(images: Sequence[Any]) -> Any:
    """Parts, in the order in memory of the first."""
    room = room_for(images[0], len(images))
    for n, image in enumerate(images):
        room[n] = image
    return room


def ordered(parts: Any, value: Any) -> Any:
    """The parts with axes in the order in memory that those of the value have."""
    if same_layout(innermost(parts[0]), innermost(value)):
        return parts
    room = room_for(value, len(parts), parts)
    room[...] = parts
    return room


def in_order(result: Any, inputs: Sequence[Any]) -> Any:
    """The result of a ufunc in the order in memory that NumPy would give its value alone."""
    for x in (result, *inputs):  # usually all are in NumPy's usual order, row after row
        whole = x.parts if isinstance(x, Parts) else x
        if not (whole.flags.c_contiguous if type(whole) is np.ndarray else is_contiguous(whole)):
            break
    else:
        return result
    if not isinstance(result, Parts):
        return result
    flags: Any = [*[["readonly"]] * len(inputs), ["writeonly", "allocate"]]
    dtypes = [*[None] * len(inputs), result.dtype]
    given = [*map(innermost, inputs), None]
    value = np.nditer(given, ["zerosize_ok"], flags, dtypes).operands[-1]
    return result.made(ordered(result.parts, value))


def lifted(image: Any, parts: Any, axis: int = 0) -> Any:
    """The view of all parts, given the view of the first: it takes the same steps in each."""
    if isinstance(parts, Dual):
        value = lifted(image.value, parts.value, axis)
        return dual(value, lifted(image.tangent, parts.tangent, axis), parts.level)
    if isinstance(parts, Parts):
        return parts.made(lifted(image.parts, parts.parts, axis + 1))
    shape, strides = list(image.shape), list(image.strides)
    shape.insert(axis, parts.shape[axis])
    strides.insert(axis, parts.strides[axis])
    return np.lib.stride_tricks.as_strided(image, shape, strides)


def read_only(x: Any) -> Any:
    """A view that cannot be written to."""
    if isinstance(x, Dual):
        return dual(read_only(x.value), read_only(x.tangent), x.level)
    if isinstance(x, Parts):
        return x.made(read_only(x.parts))
    view = x.view()
    view.flags.writeable = False
    return view


def like(x: Any) -> dict[str, Any]:
    """The argument that makes NumPy create an array of this kind."""
    return {"like": x} if isinstance(x, Dual | Parts) or not has_values(x) else {}
