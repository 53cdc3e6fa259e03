"""Layers with several inputs: where the paths of a network meet.

    y = f(a_1, …, a_k)          ∂C/∂a_i = (∂y/∂a_i)ᵀ Δ

By the chain rule every input has its own delta, so `backward` returns a tuple: one delta for each
input, in the order of `forward`. Addition passes Δ itself to each of them. This is why the delta
of a skip connection y = x + F(x) comes back undiminished, however deep F is.

Rows of different shapes raise an error unless ``broadcast=True`` allows a size of 1 to be
repeated. The chain rule then has a sum: a repeated number acts in every place it was copied to, and
its delta is the sum of the deltas there.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
from attrs import field

from chainrule.core.equations import Equations, numbered, total
from chainrule.core.errors import BuildError, ConfigurationError, ShapeError, shortened
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.types import Array, Shape
from chainrule.layers.reshape import axis_of_row, index_on_paper, plain, refuse_batch_axis


def _require_flag(layer: Layer, attribute: Any, broadcast: Any) -> None:
    if not isinstance(broadcast, bool):
        nodes = isinstance(broadcast, np.ndarray) or hasattr(broadcast, "extended_by")
        raise ConfigurationError(
            f"{type(layer).__name__}: broadcast must say whether sizes of 1 may be repeated",
            expected="True or False",
            received=f"broadcast={shortened(broadcast)}",
            hint=f"{type(layer).__name__}()(a, b)" if nodes else None,
        )


class Broadcasting(Layer):
    """A layer of several inputs, whose rows may have different shapes that broadcast to one."""

    accepts_any_shape: ClassVar[bool] = True

    def _aligned(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """The inputs with equally many axes, so that no axis is mistaken for the batch."""
        axes = max(len(x.shape) for x in inputs)
        return tuple(with_axes(x, axes) for x in inputs)

    def _remember_rows(self, inputs: tuple[Array, ...]) -> None:
        self.rows = [x.shape[1:] for x in inputs]

    def _summed(self, deltas: Iterable[Array]) -> tuple[Array, ...]:
        """The delta of each input, from deltas that have the shape of the output."""
        pairs = zip(deltas, self.rows, strict=True)
        return tuple(summed_to(delta, shape) for delta, shape in pairs)


class _Elementwise(Broadcasting):
    """Common to the elementwise layers: rows of equal shape, or shapes that broadcast."""

    broadcast: bool
    takes_two: ClassVar[bool] = False

    def build(self, *input_shapes: Shape, **options: Any) -> None:
        _refuse_number(self, input_shapes, exactly_two=self.takes_two)
        if len(set(input_shapes)) > 1 and not (self.broadcast and fit_together(input_shapes)):
            raise ShapeError(
                f"{self!r}: the rows of the inputs do not fit together",
                expected="sizes that are equal or 1, compared from the last axis"
                if self.broadcast
                else "the same shape for every input",
                received=_listed(input_shapes),
                hint=_hint(self, input_shapes),
            )

    def _on_paper(self) -> list[str]:
        """The names of the inputs, reshaped to equally many axes as in `_aligned`."""
        axes = max(map(len, self.input_shapes))
        inputs, names = numbered("x", len(self.input_shapes)), []
        for name, shape in zip(inputs, self.input_shapes, strict=True):
            sizes = [f"len({name})", *["1"] * (axes - len(shape)), *map(str, shape)]
            is_short = len(shape) < axes
            names.append(f"{name}.reshape({', '.join(sizes)})" if is_short else name)
        return names

    def _summed_on_paper(self, deltas: Iterable[str]) -> list[str]:
        """The same operation as `_summed`, on expressions."""
        pairs = zip(deltas, self.input_shapes, strict=True)
        return [_summed_to_on_paper(text, self.output_shape, shape) for text, shape in pairs]


class Add(_Elementwise, repr=False):
    """The sum of two or more inputs, element by element.

    Forward  y = Σ_i a_i
    Backward  ∂C/∂a_i = Δ, summed where a_i was broadcast,  with Δ = ∂C/∂y

    Parameters
    ----------
    broadcast
        Whether rows may have different shapes that broadcast to one by NumPy's rules.

    Raises
    ------
    ConfigurationError
        If ``broadcast`` is neither True nor False.
    BuildError
        If there is only one input.
    ShapeError
        If the inputs do not fit together.

    Examples
    --------
    >>> layer = Add()
    >>> layer(np.array([[1.0, 2.0]]), np.array([[10.0, 20.0]]))
    array([[11., 22.]])
    """

    broadcast: bool = field(default=False, kw_only=True, validator=_require_flag)

    def forward(self, *inputs: Array) -> Array:
        self._remember_rows(inputs)
        return self._merged(inputs)

    def backward(self, delta: Array) -> tuple[Array, ...]:
        return self._summed(delta for _ in self.rows)

    def apply(self, *inputs: Array) -> Array:
        return self._merged(inputs)

    def _merged(self, inputs: tuple[Array, ...]) -> Array:
        return functools.reduce(np.add, self._aligned(inputs))

    def equations(self) -> Equations:
        inputs = self._on_paper()
        return Equations(total(inputs), self._summed_on_paper("delta" for _ in inputs))


class Subtract(_Elementwise, repr=False):
    """The difference of two inputs, element by element.

    Forward  y = a_1 − a_2
    Backward  ∂C/∂a_1 = Δ,  ∂C/∂a_2 = −Δ, summed where broadcast,  with Δ = ∂C/∂y

    Parameters
    ----------
    broadcast
        Whether rows may have different shapes that broadcast to one by NumPy's rules.

    Raises
    ------
    ConfigurationError
        If ``broadcast`` is neither True nor False.
    BuildError
        If there are not two inputs.
    ShapeError
        If the inputs do not fit together.

    Examples
    --------
    >>> layer = Subtract()
    >>> layer(np.array([[1.0, 2.0]]), np.array([[10.0, 20.0]]))
    array([[ -9., -18.]])
    """

    takes_two: ClassVar[bool] = True

    broadcast: bool = field(default=False, kw_only=True, validator=_require_flag)

    def forward(self, *inputs: Array) -> Array:
        self._remember_rows(inputs)
        return self._merged(inputs)

    def backward(self, delta: Array) -> tuple[Array, ...]:
        return self._summed((delta, -delta))

    def apply(self, *inputs: Array) -> Array:
        return self._merged(inputs)

    def _merged(self, inputs: tuple[Array, ...]) -> Array:
        return np.subtract(*self._aligned(inputs))

    def equations(self) -> Equations:
        deltas = self._summed_on_paper(("delta", "-delta"))
        return Equations(total(self._on_paper(), "-"), deltas)


class Multiply(_Elementwise, repr=False):
    """The product of two or more inputs, element by element: one path can gate another.

    Forward  y = Π_i a_i
    Backward  ∂C/∂a_i = Δ Π_(j≠i) a_j, summed where a_i was broadcast,  with Δ = ∂C/∂y

    There is no division, so any input may be zero.

    Parameters
    ----------
    broadcast
        Whether rows may have different shapes that broadcast to one by NumPy's rules.

    Raises
    ------
    ConfigurationError
        If ``broadcast`` is neither True nor False.
    BuildError
        If there is only one input.
    ShapeError
        If the inputs do not fit together.

    Examples
    --------
    >>> layer = Multiply()
    >>> layer.forward(np.array([[1.0, 2.0]]), np.array([[10.0, 20.0]]))
    array([[10., 40.]])
    >>> layer.backward(np.array([[1.0, 1.0]]))
    (array([[10., 20.]]), array([[1., 2.]]))
    """

    broadcast: bool = field(default=False, kw_only=True, validator=_require_flag)

    def forward(self, *inputs: Array) -> Array:
        self._remember_rows(inputs)
        self.factors = self._aligned(inputs)
        return functools.reduce(np.multiply, self.factors)

    def backward(self, delta: Array) -> tuple[Array, ...]:
        # For each factor: Δ times all factors before it, times the product of all factors after
        # it. This needs no division, and the time is linear in the number of inputs.
        before = [delta]
        for factor in self.factors[:-1]:
            before.append(before[-1] * factor)
        after: Array = None
        found = []
        for factor, product in zip(reversed(self.factors), reversed(before), strict=True):
            found.append(product if after is None else product * after)
            after = factor if after is None else factor * after
        return self._summed(reversed(found))

    def apply(self, *inputs: Array) -> Array:
        return functools.reduce(np.multiply, self._aligned(inputs))

    def equations(self) -> Equations:
        a = self._on_paper()
        deltas = (total(("delta", *a[:i], *a[i + 1 :]), "*") for i in range(len(a)))
        return Equations(total(a, "*"), self._summed_on_paper(deltas))


class Average(_Elementwise, repr=False):
    """The mean of k inputs, element by element.

    Forward  y = (1/k) Σ_i a_i
    Backward  ∂C/∂a_i = Δ / k, summed where a_i was broadcast,  with Δ = ∂C/∂y

    Parameters
    ----------
    broadcast
        Whether rows may have different shapes that broadcast to one by NumPy's rules.

    Raises
    ------
    ConfigurationError
        If ``broadcast`` is neither True nor False.
    BuildError
        If there is only one input.
    ShapeError
        If the inputs do not fit together.

    Examples
    --------
    >>> layer = Average()
    >>> layer(np.array([[1.0, 2.0]]), np.array([[3.0, 6.0]]))
    array([[2., 4.]])
    """

    broadcast: bool = field(default=False, kw_only=True, validator=_require_flag)

    def forward(self, *inputs: Array) -> Array:
        self._remember_rows(inputs)
        return self._merged(inputs)

    def backward(self, delta: Array) -> tuple[Array, ...]:
        share = delta / len(self.rows)
        return self._summed(share for _ in self.rows)

    def apply(self, *inputs: Array) -> Array:
        return self._merged(inputs)

    def _merged(self, inputs: tuple[Array, ...]) -> Array:
        return functools.reduce(np.add, self._aligned(inputs)) / len(inputs)

    def equations(self) -> Equations:
        inputs = self._on_paper()
        deltas = self._summed_on_paper(f"delta / {len(inputs)}" for _ in inputs)
        return Equations(f"({total(inputs)}) / {len(inputs)}", deltas)


class Maximum(_Elementwise, repr=False):
    """The largest of two or more inputs, element by element.

    Forward  y = max_i a_i
    Backward  ∂C/∂a_i = Δ / m where a_i is one of the m largest inputs, and 0 elsewhere;
    summed where a_i was broadcast,  with Δ = ∂C/∂y

    At a tie the derivative is not unique; equal shares treat all inputs alike.

    Parameters
    ----------
    broadcast
        Whether rows may have different shapes that broadcast to one by NumPy's rules.

    Raises
    ------
    ConfigurationError
        If ``broadcast`` is neither True nor False.
    BuildError
        If there is only one input.
    ShapeError
        If the inputs do not fit together.

    Examples
    --------
    >>> layer = Maximum()
    >>> layer.forward(np.array([[1.0, 7.0]]), np.array([[3.0, 7.0]]))
    array([[3., 7.]])
    >>> layer.backward(np.array([[1.0, 1.0]]))
    (array([[0. , 0.5]]), array([[1. , 0.5]]))
    """

    broadcast: bool = field(default=False, kw_only=True, validator=_require_flag)

    def forward(self, *inputs: Array) -> Array:
        self._remember_rows(inputs)
        aligned = self._aligned(inputs)
        outputs = functools.reduce(np.maximum, aligned)
        self.are_largest = [x == outputs for x in aligned]
        return outputs

    def backward(self, delta: Array) -> tuple[Array, ...]:
        # If y is NaN, it equals none of the inputs; the 1 avoids a division by zero.
        count = np.maximum(sum(mask.astype(delta.dtype) for mask in self.are_largest), 1)
        share = delta / count
        return self._summed(np.where(mask, share, 0) for mask in self.are_largest)

    def apply(self, *inputs: Array) -> Array:
        return functools.reduce(np.maximum, self._aligned(inputs))

    def equations(self) -> Equations:
        first, *others = self._on_paper()
        largest = functools.reduce("np.maximum({}, {})".format, others, first)
        masks = [f"np.where({x} == y, 1, 0)" for x in (first, *others)]
        deltas = (f"delta * {mask} / ({total(masks)})" for mask in masks)
        return Equations(largest, self._summed_on_paper(deltas))


class Concatenate(Layer, repr=False):
    """The inputs side by side along one axis.

    Forward  y = (a_1, a_2, …, a_k)
    Backward  (∂C/∂a_1, …, ∂C/∂a_k) = Δ, split where y was joined,  with Δ = ∂C/∂y

    Parameters
    ----------
    axis
        The axis along which to join, counted with the batch: axis 0 is the batch, 1 the first
        axis of a row, −1 the last.

    Raises
    ------
    ConfigurationError
        If ``axis`` is not an integer, or is the batch axis.
    BuildError
        If there is only one input.
    ShapeError
        If a row has no such axis, or the inputs differ in size along another axis.

    Examples
    --------
    >>> layer = Concatenate()
    >>> layer.forward(np.array([[1.0, 2.0]]), np.array([[3.0]]))
    array([[1., 2., 3.]])
    >>> layer.backward(np.array([[4.0, 5.0, 6.0]]))
    (array([[4., 5.]]), array([[6.]]))
    """

    accepts_any_shape: ClassVar[bool] = True

    axis: int = field(default=-1, converter=plain, validator=refuse_batch_axis)

    def build(self, *input_shapes: Shape, **options: Any) -> None:
        _refuse_number(self, input_shapes)
        axis = axis_of_row(self, self.axis, input_shapes[0])
        if not _differ_only(input_shapes, axis):
            raise ShapeError(
                f"{self!r}: the inputs differ along an axis other than the one that joins them",
                expected=f"the same shape for every input, except along axis {self.axis}",
                received=_listed(input_shapes),
                hint=_side_by_side(input_shapes)
                or "put Flatten() before each input: vectors always fit",
            )

    def forward(self, *inputs: Array) -> Array:
        self.sizes = [x.shape[self.axis] for x in inputs]
        return self._merged(inputs)

    def backward(self, delta: Array) -> tuple[Array, ...]:
        boundaries = tuple(itertools.accumulate(self.sizes[:-1]))
        return tuple(np.split(delta, boundaries, axis=self.axis))

    def apply(self, *inputs: Array) -> Array:
        return self._merged(inputs)

    def _merged(self, inputs: tuple[Array, ...]) -> Array:
        return np.concatenate(inputs, axis=self.axis)

    def equations(self) -> Equations:
        inputs = numbered("x", len(self.input_shapes))
        axis = axis_of_row(self, self.axis, self.input_shapes[0])
        sizes = [shape[axis] for shape in self.input_shapes]
        parts = itertools.pairwise(itertools.accumulate(sizes, initial=0))
        return Equations(
            f"np.concatenate(({', '.join(inputs)}), axis={self.axis})",
            [f"delta[{index_on_paper(self, axis, f'{a}:{b}')}]" for a, b in parts],
        )


class Dot(Layer, repr=False):
    """The inner product of two inputs over the last axis, which keeps the length 1.

    Forward  y = Σ_i a_i b_i
    Backward  ∂C/∂a_i = Δ b_i,  ∂C/∂b_i = Δ a_i,  with Δ = ∂C/∂y

    Raises
    ------
    BuildError
        If there are not two inputs.
    ShapeError
        If the inputs have different shapes, or their rows are single numbers.

    Examples
    --------
    >>> layer = Dot()
    >>> layer(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]))
    array([[11.]])
    """

    accepts_any_shape: ClassVar[bool] = True

    def build(self, *input_shapes: Shape, **options: Any) -> None:
        _refuse_number(self, input_shapes, exactly_two=True)
        if len(set(input_shapes)) > 1 or not input_shapes[0]:
            raise ShapeError(
                f"{self!r}: rows of these shapes have no inner product",
                expected="(batch, …, n) for both inputs",
                received=_listed(input_shapes),
                hint=_hint(self, input_shapes)
                if any(input_shapes)
                else "for single numbers, use Multiply()",
            )

    def forward(self, *inputs: Array) -> Array:
        self.factors = inputs
        return self._product(inputs)

    def backward(self, delta: Array) -> tuple[Array, ...]:
        a, b = self.factors
        return delta * b, delta * a

    def apply(self, *inputs: Array) -> Array:
        return self._product(inputs)

    def equations(self) -> Equations:
        product = "(x_1 * x_2).sum(axis=-1, keepdims=True)"
        return Equations(product, ("delta * x_2", "delta * x_1"))

    def _product(self, inputs: tuple[Array, ...]) -> Array:
        return np.sum(np.multiply(*inputs), axis=-1, keepdims=True)


# ------------------------------------------------------------------------------- broadcasting


def fit_together(shapes: Iterable[Shape]) -> bool:
    """Whether rows of these shapes broadcast to a common shape."""
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        return False
    return True


def with_axes(array: Array, axes: int) -> Array:
    """The array with that many axes, with sizes of 1 inserted after the batch axis."""
    missing = axes - len(array.shape)
    if not missing:
        return array
    batch, *row = array.shape
    return np.reshape(array, (batch, *(1,) * missing, *row))


def summed_to(delta: Array, shape: Shape) -> Array:
    """The delta of an array with rows of this shape that was broadcast to the shape of delta."""
    row = delta.shape[1:]
    if row == shape:
        return delta
    missing = len(row) - len(shape)
    repeated = [n for n, size in enumerate((*(1,) * missing, *shape)) if size != row[n]]
    summed = np.sum(delta, axis=tuple(n + 1 for n in repeated), keepdims=True)
    return np.reshape(summed, (len(delta), *shape))


def _summed_to_on_paper(text: str, row: Shape, shape: Shape) -> str:
    """The same operation as `summed_to`, on an expression with rows of shape ``row``."""
    if row == shape:
        return text
    missing = len(row) - len(shape)
    sizes = zip((*(1,) * missing, *shape), row, strict=True)
    repeated = [str(n + 1) for n, (size, whole) in enumerate(sizes) if size != whole]
    summed = f"({text}).sum(axis=({', '.join(repeated)},), keepdims=True)" if repeated else text
    rows = ", ".join(["len(delta)", *map(str, shape)])
    return f"({summed}).reshape({rows})" if missing else summed


# ------------------------------------------------------------------------------- shape errors


def _refuse_number(layer: Layer, shapes: tuple[Shape, ...], *, exactly_two: bool = False) -> None:
    if len(shapes) < 2 or (exactly_two and len(shapes) > 2):
        raise BuildError(
            f"{layer!r}: it takes {'two inputs' if exactly_two else 'two or more inputs'}",
            expected=f"{type(layer).__name__}()(a, b), one argument for each input",
            received=f"{len(shapes)} input(s): {_listed(shapes)}" if shapes else "no input",
            hint="in a Sequential every layer has one input; use a Graph for several"
            if len(shapes) < 2
            else "apply it to two of them, then apply another one to the result",
        )


def _listed(shapes: Iterable[Shape]) -> str:
    return ", ".join(map(batch_of, shapes))


def _differ_only(shapes: tuple[Shape, ...], axis: int) -> bool:
    """Whether rows have equally many axes, and the same size along all axes but this one."""
    others = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    return len({len(shape) for shape in shapes}) == 1 and len(others) == 1


def _side_by_side(shapes: tuple[Shape, ...]) -> str | None:
    """How Concatenate can join rows of these shapes, if it can."""
    for axis in range(len(shapes[0])):
        if _differ_only(shapes, axis):
            where = "" if axis == len(shapes[0]) - 1 else f"axis={axis + 1}"
            return f"Concatenate({where}) joins them side by side"
    return None


def _hint(layer: Any, shapes: tuple[Shape, ...]) -> str:
    """A hint on how to combine rows of different shapes."""
    ways, is_elementwise = [], isinstance(layer, _Elementwise)
    widest = max(shapes, key=math.prod)
    if is_elementwise and not layer.broadcast and fit_together(shapes):
        ways.append("set broadcast=True if you mean to broadcast")
    elif all(len(shape) == 1 for shape in shapes):
        which = "narrower one" if len(shapes) == 2 else "others"
        ways.append(f"Dense({widest[0]}) brings the {which} to width {widest[0]}")
    elif len(set(map(math.prod, shapes))) == 1:
        ways.append(f"Reshape({shapes[0]}) gives the same numbers that shape")
    if is_elementwise and (joined := _side_by_side(shapes)):
        ways.append(joined)
    return "; ".join(ways) or "Flatten() and Dense bring both to the same width"
