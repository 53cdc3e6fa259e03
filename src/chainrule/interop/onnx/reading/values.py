"""What a name in an ONNX graph stands for while the graph is read: data, or numbers known already.

    Value       rows that flow through the model: a node of our graph, and where each axis is
    Constant    an array that does not depend on the data: a weight, a shape, a table

ONNX puts the channels of an image before its rows and columns, chainrule puts them last; ONNX has
the batch of a recurrent layer second, chainrule first. If each operator were moved to the other
order and back, half of a model would be permutations. So a `Value` remembers where its axes are,

    ONNX axis i  is  axis `axes[i]` of the array;  None is an axis of size 1 that the array lacks

and `Transpose`, `Squeeze` and `Unsqueeze` only change this note. A `Permute` is made where an
operator needs another order than the array has, which for a usual network is once, at the start.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import evolve, field, frozen

from chainrule.core.layer import Layer
from chainrule.graph.graph import output_shapes_of
from chainrule.graph.node import Node
from chainrule.interop.onnx.reading.layers import Unsqueeze
from chainrule.layers.reshape import Permute


class RefusedError(Exception):
    """An operator, as this node uses it, has no counterpart; the message says why."""


@frozen
class Size:
    """A size that is known only when the model is used: that of the batch, or of an open axis.

    The batch times a number, or times open axes, is the size of an axis that joins it with others.
    The origin of an open axis is a node and the axis of its array.
    """

    name: str
    factor: int = 1
    opens: int = 0
    origin: Any = field(default=None, eq=False)

    def __mul__(self, other: Any) -> Size:
        if self.name != "batch":
            return other * self if other == BATCH else NotImplemented
        if other == OPEN:
            return Size(self.name, self.factor, self.opens + 1)
        if not isinstance(other, int | np.integer):
            return NotImplemented
        return Size(self.name, self.factor * int(other), self.opens)

    __rmul__ = __mul__

    def __repr__(self) -> str:
        number = "" if self.factor == 1 else f" · {self.factor}"
        return self.name + " · open" * self.opens + number


BATCH, OPEN = Size("batch"), Size("open")

Sizes: TypeAlias = tuple[int | Size, ...]


@frozen(eq=False)
class Constant:
    """An array that does not depend on the data.

    Attributes
    ----------
    array
        The numbers; with dtype object if some of them are a `Size`.
    is_learned
        Whether it is a weight of the model, or was computed from one. A number by itself is not.
    repeated
        The axis that has the size of the batch, and has size 1 in the array: −1 is the last one, 0
        means that there is none.
    origin
        The names of the weights that it is, or was computed from.
    is_open
        Whether it has size 1 along axes that have the size of an open one.
    """

    array: npt.NDArray[Any]
    is_learned: bool = False
    repeated: int = 0
    origin: frozenset[str] = frozenset()
    is_open: bool = False

    @property
    def rank(self) -> int:
        """The number of its axes."""
        return self.array.ndim

    def as_array(self, array: npt.NDArray[Any]) -> Constant:
        """The same weights in another shape or order."""
        return evolve(self, array=array)


@frozen(eq=False)
class Value:
    """Rows that flow through the model.

    Attributes
    ----------
    node
        The node of our graph, whose array has the batch first.
    axes
        Where each axis of the ONNX value is in that array.
    dtype
        The type that ONNX gives the numbers; inside a model, all are floats.
    flat
        If the value is (batch, n), another node with the same numbers, and where in a row of it
        each of the n is: what a layer with weights can use instead of a permutation.
    group
        If the ONNX axis of the batch is several axes in one, their places in the array in the order
        of ONNX, such as (0, 1) for the heads of each row one after the other. These axes are not
        in ``axes``, apart from the batch.
    """

    node: Node
    axes: tuple[int | None, ...]
    dtype: np.dtype[Any]
    flat: tuple[Node, npt.NDArray[np.intp]] | None = field(default=None)
    group: tuple[int, ...] = ()

    @property
    def rank(self) -> int:
        """The number of axes that ONNX sees."""
        return len(self.axes)

    @property
    def batch(self) -> int | None:
        """Which ONNX axis is the batch; None if the whole value is one row."""
        return self.axes.index(0) if 0 in self.axes else None

    @property
    def row(self) -> tuple[int | None, ...]:
        """The shape of a row of the array; None is an open axis."""
        (shape,) = output_shapes_of(self.node)
        return shape

    @property
    def sizes(self) -> Sizes:
        """The shape that ONNX sees."""
        row = [
            Size("open", origin=(self.node, place)) if n is None else n
            for place, n in enumerate(self.row, 1)
        ]
        array = (math.prod([BATCH, *(row[n - 1] for n in self.group if n)]), *row)
        return tuple(1 if place is None else array[place] for place in self.axes)

    @property
    def others(self) -> list[int]:
        """The ONNX axes other than the batch."""
        return [n for n, place in enumerate(self.axes) if place != 0]

    @property
    def order(self) -> list[int]:
        """The ONNX axes that the array has, other than the batch, in the order of the array."""
        places = [(place, n) for n, place in enumerate(self.axes) if place]
        return [n for _, n in sorted(places)]

    def with_axes(self, axes: Sequence[int | None]) -> Value:
        """The same array, seen by ONNX with other axes."""
        return Value(self.node, tuple(axes), self.dtype)

    @property
    def ungrouped(self) -> Value:
        """The same value with all axes by themselves."""
        if not self.group or self.batch is None:
            return self
        before, after = self.axes[: self.batch], self.axes[self.batch + 1 :]
        return Value(self.node, (*before, *self.group, *after), self.dtype)

    def grouped(self, start: int, count: int) -> Value:
        """The same value with so many axes, of which one is the batch, as one."""
        group = self.axes[start : start + count]
        if count < 2 or 0 not in group or None in group:
            return self
        axes = (*self.axes[:start], 0, *self.axes[start + count :])
        return Value(self.node, axes, self.dtype, None, tuple(n for n in group if n is not None))

    def mapped(self, call: Callable[[Node], Node], dtype: np.dtype[Any] | None = None) -> Value:
        """A function of each number by itself, which needs no particular order."""
        flat = None if self.flat is None else (call(self.flat[0]), self.flat[1])
        return Value(call(self.node), self.axes, dtype or self.dtype, flat, self.group)


Operand: TypeAlias = Value | Constant


class Arranger:
    """Brings arrays into the order that an operator needs; each order of a value is made once.

    Parameters
    ----------
    call
        Calls a layer on nodes.
    """

    def __init__(self, call: Callable[..., Node]) -> None:
        self._call = call
        self._made: dict[tuple[int, Any], tuple[Node, Node]] = {}

    def rows(self, value: Value, order: Sequence[int]) -> Node:
        """The node whose rows have exactly these ONNX axes in this order.

        Parameters
        ----------
        value
            The value.
        order
            All ONNX axes of it but the batch; those of size 1 that the array lacks are added, or
            stay out if they are not named.
        """
        places = [value.axes[n] for n in order]
        present = tuple(place for place in places if place is not None)
        node = value.node
        if present != tuple(sorted(present)):
            node = self._once(node, Permute(present))
        missing = tuple(n for n, place in enumerate(places, 1) if place is None)
        return self._once(node, Unsqueeze(missing)) if missing else node

    def standard(self, value: Value) -> Value:
        """The value with the batch first and the other axes in the order of ONNX."""
        order = value.others
        axes: list[int | None] = [0] * value.rank
        for place, n in enumerate(order, 1):
            axes[n] = place
        return Value(self.rows(value, order), tuple(axes), value.dtype)

    def _once(self, node: Node, layer: Layer) -> Node:
        key = (id(node), repr(layer))
        if key not in self._made:  # with the node, whose id is then not taken by another
            self._made[key] = (node, self._call(layer, node))
        return self._made[key][1]


def axis_of(number: int, rank: int) -> int:
    """An ONNX axis, which may count from the end, as a number from 0."""
    if not -rank <= number < rank:
        raise RefusedError(f"it has no axis {number}: the value has {rank} axes")
    return number % rank


def refuse_batch(value: Value, axes: Sequence[int], what: str) -> None:
    """Refuse an operator that acts along the batch."""
    if value.batch is not None and value.batch in axes:
        raise RefusedError(f"it {what} along axis {value.batch}, which is the batch")
