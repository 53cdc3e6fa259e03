"""Layers that move numbers without changing them: reshape, permute, slice.

    y = P x          ∂C/∂x = Pᵀ Δ

Every output is one of the inputs, so each row of the Jacobian P has a single 1 and zeros
elsewhere. Its transpose sends each delta back to where its number came from. A number that was
left out does not change the cost, so its delta is zero. The batch, axis 0, stays where it is.

Axes are counted with the batch: axis 0 is the batch, axis 1 the first axis of a row, and −1 the
last.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from attrs import field

from chainrule.core.equations import Equations
from chainrule.core.errors import ConfigurationError, ShapeError, shortened
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.types import Array, Shape
from chainrule.core.validators import is_integer


def plain(value: Any) -> Any:
    """Integers of any type as Python integers, lists of them as tuples; all else unchanged."""
    if is_integer(value):
        return int(value)
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    return tuple(map(plain, value)) if isinstance(value, list | tuple) else value


class Flatten(Layer, repr=False):
    """Every row as one vector, with the last axis running fastest.

    Forward  y_n = x_jk with n = j K + k, where k counts up to K; likewise for more axes
    Backward  ∂C/∂x_jk = Δ_n,  with Δ = ∂C/∂y

    Examples
    --------
    >>> Flatten()(np.array([[[1.0, 2.0], [3.0, 4.0]]]))
    array([[1., 2., 3., 4.]])
    """

    accepts_any_shape: ClassVar[bool] = True

    def forward(self, inputs: Array) -> Array:
        self.row = inputs.shape[1:]
        return self._moved(inputs)

    def backward(self, delta: Array) -> Array:
        return _with_rows(delta, self.row)

    def apply(self, inputs: Array) -> Array:
        return self._moved(inputs)

    def _moved(self, inputs: Array) -> Array:
        return _with_rows(inputs, (math.prod(inputs.shape[1:]),))

    def equations(self) -> Equations:
        return _reshaped_on_paper(self.output_shape, self.input_shape)


def _require_shape(layer: Layer, attribute: Any, shape: Any) -> None:
    if not _are_whole(shape) or any(n < -1 for n in shape):
        raise ConfigurationError(
            "Reshape: shape must be the shape of a row",
            expected="a tuple of integers, without the batch axis, such as (3, 4)",
            received=f"shape={shortened(shape)}",
            hint=f"Reshape(({shape},))" if is_integer(shape) else None,
        )
    if -1 in shape and (shape.count(-1) > 1 or 0 in shape):
        raise ConfigurationError(
            "Reshape: the size -1 cannot be determined",
            expected="at most one -1, and then no 0",
            received=f"shape={shape!r}",
            hint="write out all sizes",
        )


class Reshape(Layer, repr=False):
    """Every row in another shape, with its numbers in the same order.

    Forward  y has the numbers of x in the same order, with the last axis running fastest
    Backward  ∂C/∂x has the numbers of Δ = ∂C/∂y, in the same order

    Parameters
    ----------
    shape
        The shape of a row of the output, without the batch. One size may be −1: it follows from
        the number of elements in a row.

    Raises
    ------
    ConfigurationError
        If ``shape`` is not a tuple of sizes, or has more than one −1.
    ShapeError
        If a row has more or fewer numbers than the shape.

    Examples
    --------
    >>> layer = Reshape((-1, 2))
    >>> layer(np.array([[1.0, 2.0, 3.0, 4.0]]))
    array([[[1., 2.],
            [3., 4.]]])
    >>> layer.output_shape
    (2, 2)
    """

    accepts_any_shape: ClassVar[bool] = True

    shape: tuple[int, ...] = field(converter=plain, validator=_require_shape)

    def build(self, input_shape: Shape, **options: Any) -> None:
        count, named = math.prod(input_shape), math.prod(n for n in self.shape if n != -1)
        if math.prod(self._row_for(input_shape)) != count:
            raise ShapeError(
                f"{self!r}: a row does not have the number of elements of this shape",
                expected=f"rows of {named} numbers"
                if -1 not in self.shape
                else f"rows whose size is a multiple of {named}",
                received=f"{batch_of(input_shape)}, rows of {count}",
                hint=_fitting_shape(self.shape, count),
            )

    def forward(self, inputs: Array) -> Array:
        self.row = inputs.shape[1:]
        return self._moved(inputs)

    def backward(self, delta: Array) -> Array:
        return _with_rows(delta, self.row)

    def apply(self, inputs: Array) -> Array:
        return self._moved(inputs)

    def _moved(self, inputs: Array) -> Array:
        return _with_rows(inputs, self._row_for(inputs.shape[1:]))

    def equations(self) -> Equations:
        return _reshaped_on_paper(self.output_shape, self.input_shape)

    def _row_for(self, row: Shape) -> Shape:
        """The shape of a row of the output for a row of the input."""
        if -1 not in self.shape:
            return self.shape
        named = -math.prod(self.shape)
        return tuple(math.prod(row) // named if n == -1 else n for n in self.shape)


def _axes_of_row(given: Any) -> tuple[int, ...]:
    axes = plain(given)
    of_row = axes[1:] if isinstance(axes, tuple) and axes[:1] == (0,) else axes
    if not _are_whole(of_row) or sorted(of_row) != list(range(1, len(of_row) + 1)):
        raise ConfigurationError(
            "Permute: axes must list the axes of a row in their new order; 0 is the batch",
            expected="each of 1, 2, … once, such as (2, 1); a 0 only at the start",
            received=f"axes={shortened(axes)}",
            hint=_counted_from_one(axes),
        )
    return tuple(of_row)


class Permute(Layer, repr=False):
    """The axes of every row in another order.

    Forward  y_jk = x_kj for ``Permute((2, 1))``; in general axis i of y is axis ``axes[i]`` of x
    Backward  ∂C/∂x_kj = Δ_jk, the inverse permutation,  with Δ = ∂C/∂y

    Parameters
    ----------
    axes
        The axes of the input, in the order of the output. Axis 0 is the batch: it stays first and
        may be left out, so ``Permute((0, 2, 1))`` is ``Permute((2, 1))``.

    Raises
    ------
    ConfigurationError
        If ``axes`` does not contain each of 1, 2, … once, or moves the batch.
    ShapeError
        If a row has more or fewer axes.

    Examples
    --------
    >>> Permute((2, 1))(np.array([[[1.0, 2.0], [3.0, 4.0]]]))
    array([[[1., 3.],
            [2., 4.]]])
    """

    accepts_any_shape: ClassVar[bool] = True

    axes: tuple[int, ...] = field(converter=_axes_of_row)

    def build(self, input_shape: Shape, **options: Any) -> None:
        if len(self.axes) != len(input_shape):
            rest = tuple(range(len(self.axes) + 1, len(input_shape) + 1))
            raise ShapeError(
                f"{self!r}: the rows of the input have a different number of axes",
                expected=f"rows with {len(self.axes)} axes",
                received=batch_of(input_shape),
                hint=f"list every axis of a row: Permute({self.axes + rest})"
                if rest
                else "list only the axes that a row has, or add axes with Reshape",
            )

    def forward(self, inputs: Array) -> Array:
        return np.transpose(inputs, (0, *self.axes))

    def backward(self, delta: Array) -> Array:
        order = (0, *self.axes)
        return np.transpose(delta, sorted(range(len(order)), key=order.__getitem__))

    apply = forward

    def equations(self) -> Equations:
        order = (0, *self.axes)
        back = sorted(range(len(order)), key=order.__getitem__)
        return Equations(f"x.transpose{order}", f"delta.transpose{tuple(back)}")


def _require_entry(layer: Layer, attribute: Any, value: Any) -> None:
    if value is not None and not is_integer(value):
        raise ConfigurationError(
            f"Slice: {attribute.name} must be the index of an entry",
            expected="an integer, or None for the end",
            received=f"{attribute.name}={shortened(value)}",
        )


def refuse_batch_axis(layer: Layer, attribute: Any, axis: Any) -> None:
    """Raise an error if an axis is not an integer, or is the batch axis; an attrs validator."""
    if not is_integer(axis) or axis == 0:
        raise ConfigurationError(
            f"{type(layer).__name__}: axis must be an axis of a row; axis 0 is the batch",
            expected="an integer other than 0: 1 is the first axis of a row, -1 the last",
            received=f"axis={shortened(axis)}",
            hint="axis=1" if is_integer(axis) else None,
        )


def _require_step(layer: Layer, attribute: Any, step: Any) -> None:
    if not is_integer(step) or step == 0:
        raise ConfigurationError(
            "Slice: step must be the distance from one entry to the next",
            expected="an integer other than 0",
            received=f"step={shortened(step)}",
            hint="step=1 takes every entry, step=-1 takes them in reverse order",
        )


class Slice(Layer, repr=False):
    """The entries ``start:stop:step`` along one axis, as in Python's ``x[start:stop:step]``.

    Forward  y_n = x_(start + n step)
    Backward  ∂C/∂x_(start + n step) = Δ_n,  and 0 for all other entries,  with Δ = ∂C/∂y

    Parameters
    ----------
    start, stop
        The first entry, and the entry before which to stop. Negative values count from the end;
        None is the end itself.
    step
        The distance from one entry to the next; negative for the reverse order.
    axis
        The axis to slice, counted with the batch: axis 0 is the batch, 1 the first axis of a row,
        −1 the last.

    Raises
    ------
    ConfigurationError
        If a value is not an integer, ``step`` is 0, or ``axis`` is the batch.
    ShapeError
        If a row has no such axis, or the result would be empty.

    Examples
    --------
    >>> layer = Slice(1, 3)
    >>> layer.forward(np.array([[1.0, 2.0, 3.0, 4.0]]))
    array([[2., 3.]])
    >>> layer.backward(np.array([[5.0, 6.0]]))
    array([[0., 5., 6., 0.]])
    """

    accepts_any_shape: ClassVar[bool] = True

    start: int | None = field(converter=plain, validator=_require_entry)
    stop: int | None = field(default=None, converter=plain, validator=_require_entry)
    step: int = field(default=1, converter=plain, validator=_require_step)
    axis: int = field(default=-1, converter=plain, validator=refuse_batch_axis)

    def build(self, input_shape: Shape, **options: Any) -> None:
        axis = axis_of_row(self, self.axis, input_shape)
        taken, size = slice(self.start, self.stop, self.step), input_shape[axis]
        if not range(size)[taken]:
            raise ShapeError(
                f"{self!r}: the result would be empty",
                expected=f"at least one of the {size} entries along axis {self.axis}",
                received=f"none of {batch_of(input_shape)}",
                hint=f"indices run from 0 to {size - 1}, and stop itself is excluded"
                if size
                else "the axis is empty: check the previous layer",
            )

    def forward(self, inputs: Array) -> Array:
        self.row = inputs.shape[1:]
        return self._moved(inputs)

    def backward(self, delta: Array) -> Array:
        delta_in = np.zeros((len(delta), *self.row), delta.dtype, like=delta)
        delta_in[self._index(self.row)] = delta
        return delta_in

    def apply(self, inputs: Array) -> Array:
        return self._moved(inputs)

    def _moved(self, inputs: Array) -> Array:
        return inputs[self._index(inputs.shape[1:])]

    def _index(self, row: Shape) -> tuple[slice, ...]:
        axis = axis_of_row(self, self.axis, row)
        return (*(slice(None),) * (axis + 1), slice(self.start, self.stop, self.step))

    def equations(self) -> Equations:
        axis = axis_of_row(self, self.axis, self.input_shape)
        ends = (self.start, self.stop, None if self.step == 1 else self.step)
        start, stop, step = ("" if n is None else str(n) for n in ends)
        taken = f"{start}:{stop}:{step}" if step else f"{start}:{stop}"
        # P consists of the selected rows of the identity matrix: y = x Pᵀ along the last axis, and
        # y = P x along the one before it.
        p = f"np.eye({self.input_shape[axis]})[{taken}]"
        after, swap = len(self.input_shape) - 1 - axis, f"swapaxes({axis + 1}, -1)"
        if after < 2:
            back = f"{p}.T @ delta" if after else f"delta @ {p}"
        else:
            back = f"(delta.{swap} @ {p}).{swap}"
        return Equations(f"x[{index_on_paper(self, axis, taken)}]", back)


def axis_of_row(layer: Layer, axis: int, row: Shape) -> int:
    """The index in the shape of a row, without the batch, for an axis counted with the batch."""
    found = axis - 1 if axis > 0 else axis + len(row)
    if not 0 <= found < len(row):
        last = len(row)
        raise ShapeError(
            f"{layer!r}: axis {axis} is the batch"
            if found == -1
            else f"{layer!r}: the input has no axis {axis}",
            expected=f"an axis from 1 to {last}, or from {-last} to -1"
            if row
            else "rows with at least one axis",
            received=batch_of(row),
            hint="axis=-1 is the last" if row else "Reshape((1,)) makes each number a vector",
        )
    return found


def index_on_paper(layer: Layer, axis: int, taken: str) -> str:
    """The index expression in ``x[…]`` that takes ``taken`` along one axis of a row."""
    is_last = axis == len(layer.input_shapes[0]) - 1
    return f"..., {taken}" if is_last else ":, " * (axis + 1) + taken


def _reshaped_on_paper(after: Shape, before: Shape) -> Equations:
    rows = ((-1 if n is None else n for n in row) for row in (after, before))
    forward, backward = (", ".join(["len({0})", *map(str, row)]) for row in rows)
    return Equations(
        f"x.reshape({forward.format('x')})", f"delta.reshape({backward.format('delta')})"
    )


def _with_rows(array: Array, row: Shape) -> Array:
    """The same numbers in rows of that shape; without −1, which fails for an empty batch."""
    return np.reshape(array, (len(array), *row))


def _are_whole(values: Any) -> bool:
    return isinstance(values, tuple) and all(map(is_integer, values))


def _fitting_shape(shape: Shape, count: int) -> str:
    """A shape of that many numbers in which only one size is changed, if there is one."""
    for place in reversed(range(len(shape))):
        others = math.prod((*shape[:place], *shape[place + 1 :]))
        if -1 not in shape and others and count % others == 0:
            return f"Reshape({(*shape[:place], count // others, *shape[place + 1 :])})"
    return f"Flatten() makes each row a vector of {count} numbers"


def _counted_from_one(axes: Any) -> str | None:
    """The axes that were most likely meant if they were counted without the batch."""
    if is_integer(axes):
        return f"Permute(({axes},))"
    if _are_whole(axes) and sorted(axes) == list(range(len(axes))):
        return f"count the batch as axis 0: Permute({tuple(axis + 1 for axis in axes)})"
    return None
