"""Resizing: more, or fewer, entries along the axes of space of a row.

    y = A x           ∂C/∂x = Aᵀ Δ           along each axis of space, in each channel by itself

All of these layers are linear, with a matrix A of few entries. Upsampling repeats entries, or puts
new ones between them on straight lines; padding surrounds a row with zeros or with copies of its
own entries; cropping cuts its edges off. The transpose of a copy is a sum: an entry gets the Δ of
all of its copies. So `Crop` is the transpose of `Pad` with zeros.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from attrs import field

from chainrule.core.arrays import as_operation, places
from chainrule.core.equations import Equations
from chainrule.core.errors import ShapeError
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.types import Array, Shape
from chainrule.core.validators import one_of
from chainrule.layers.windows import (
    IN_BLOCKS,
    Amounts,
    a_width,
    along_axes,
    amounts_along,
    as_sizes,
    blocks_on_paper,
    folded,
    padded,
    per_axis,
    repeated_on_paper,
    require_mirror,
    sizes_from,
    spatial_axes,
)


class Upsample(Layer, repr=False):
    """Every axis of space f times longer, for an integer f.

    Forward, nearest  y_m = x_⌊m / f⌋: every entry f times
    Forward, linear  y_m = (1 − a) x_i + a x_(i+1) with i + a = (m + ½) / f − ½: the centres of the
    entries of x and y divide the same length, and beyond the outermost centres x is constant
    Backward  ∂C/∂x_i = Σ_m A_mi Δ_m, where A_mi is the factor of x_i in y_m,  with Δ = ∂C/∂y

    Rows are signals (T, C), images (H, W, C) or volumes (D, H, W, C), of any size. In images and
    volumes the axes follow one after another, so ``"linear"`` is bilinear or trilinear.

    Parameters
    ----------
    factor
        How many times longer an axis becomes, f: a number for all axes, or one for each.
    method
        ``"nearest"`` or ``"linear"``.

    Raises
    ------
    ConfigurationError
        If an argument is invalid.
    ShapeError
        If the rows have no or more than three axes of space.

    Examples
    --------
    >>> x = np.array([[[1.0], [5.0]]])
    >>> Upsample(2)(x)[0, :, 0]
    array([1., 1., 5., 5.])
    >>> Upsample(2, "linear")(x)[0, :, 0]
    array([1., 2., 4., 5.])
    """

    accepts_any_shape: ClassVar[bool] = True

    factor: int | tuple[int, ...] = field(converter=as_sizes, validator=sizes_from(1, example="2"))
    method: str = field(default="nearest", validator=one_of("nearest", "linear"))

    def build(self, input_shape: Shape, **options: Any) -> None:
        self._factors(input_shape)

    def forward(self, inputs: Array) -> Array:
        return self._upsampled(inputs)

    def backward(self, delta: Array) -> Array:
        for axis, factor in enumerate(self._factors(delta.shape[1:]), 1):
            delta = _gathered(delta, axis, self._distances(factor))
        return delta

    apply = forward

    @as_operation
    def _upsampled(self, inputs: Array) -> Array:
        for axis, factor in enumerate(self._factors(inputs.shape[1:]), 1):
            inputs = _stretched(inputs, axis, self._distances(factor))
        return inputs

    def equations(self) -> Equations:
        *sizes, channels = _sizes_on_paper(self.input_shape)
        factors = self._factors(self.input_shape)
        if self.method == "nearest":
            parts = blocks_on_paper("delta", sizes, factors, channels)
            added = f"{parts}.sum(axis={IN_BLOCKS[len(sizes)]})"
            return Equations(repeated_on_paper("x", factors), added)
        matrices = [_hats(n, f) for n, f in zip(sizes, factors, strict=True)]
        transposed = [f"{matrix}.T" for matrix in matrices]
        return Equations(along_axes(matrices, "x"), along_axes(transposed, "delta"))

    def _factors(self, row: Shape) -> tuple[int, ...]:
        return per_axis(self, "factor", self.factor, spatial_axes(self, row))

    def _distances(self, factor: int) -> list[float]:
        """How far the f entries that x_i becomes are from it, −½ < a < ½; 0 to repeat it."""
        is_linear = self.method == "linear"
        return [is_linear * ((number + 0.5) / factor - 0.5) for number in range(factor)]


def _sizes_on_paper(row: Shape) -> list[str]:
    """The sizes of a row of x as expressions."""
    return [f"x.shape[{axis}]" if n is None else str(n) for axis, n in enumerate(row, 1)]


def _hats(n: str, factor: int) -> str:
    """The matrix of one axis, for `equations`: a factor falls with the distance of the centres."""
    many = str(int(n) * factor) if n.isdigit() else f"{n} * {factor}"
    last = str(int(n) - 1) if n.isdigit() else f"{n} - 1"
    centres = f"(np.arange({many}).reshape({many}, 1) + 0.5) / {factor} - 0.5"
    distances = f"np.abs(np.clip({centres}, 0, {last}) - np.arange({n}))"
    return f"np.maximum(1 - {distances}, 0)"


def _stretched(x: Array, axis: int, distances: list[float]) -> Array:
    """y_(i f + r) = (1 − |a_r|) x_i + |a_r| x_(i ± 1) along one axis, with ± the sign of a_r."""
    before, n, after = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])
    rows = np.reshape(x, (before, n, after))
    y = np.empty_like(x, shape=(before, n, len(distances), after))
    for number, a in enumerate(distances):
        if a:
            neighbours = np.clip(places(n, x) + (1 if a > 0 else -1), 0, n - 1)
            y[:, :, number] = (1 - abs(a)) * rows + abs(a) * np.take(rows, neighbours, axis=1)
        else:
            y[:, :, number] = rows
    return np.reshape(y, (*x.shape[:axis], n * len(distances), *x.shape[axis + 1 :]))


def _gathered(delta: Array, axis: int, distances: list[float]) -> Array:
    """The adjoint of `_stretched`: x_i gets the deltas of all entries that it is in."""
    shape, factor = delta.shape, len(distances)
    before, n, after = math.prod(shape[:axis]), shape[axis] // factor, math.prod(shape[axis + 1 :])
    parts = np.reshape(delta, (before, n, factor, after))
    total = np.zeros_like(delta, shape=(before, n, after))
    for number, a in enumerate(distances):
        part = parts[:, :, number]
        total += (1 - abs(a)) * part if a else part
        if a < 0:
            total[:, :-1] -= a * part[:, 1:]
            total[:, :1] -= a * part[:, :1]
        elif a > 0:
            total[:, 1:] += a * part[:, :-1]
            total[:, -1:] += a * part[:, -1:]
    return np.reshape(total, (*shape[:axis], n, *shape[axis + 1 :]))


class Pad(Layer, repr=False):
    """More entries around every row, in space.

    Forward  y is x with ``width`` entries added at the ends of each axis of space:
    zeros, or copies of entries of x
    Backward  ∂C/∂x_i = Σ_j Δ_j over x_i itself and its copies,  with Δ = ∂C/∂y

    Rows are signals (T, C), images (H, W, C) or volumes (D, H, W, C), of any size.

    Parameters
    ----------
    width
        How many entries to add at both ends of each axis: a number for all axes, or a tuple that
        has for each axis a number or a pair (before, after).
    mode
        ``"zeros"``; ``"periodic"``: from the other end, c d | a b c d | a b; or ``"reflect"``:
        mirrored without the entry at the edge, c b | a b c d | c b.

    Raises
    ------
    ConfigurationError
        If an argument is invalid.
    ShapeError
        If the rows have no or more than three axes of space, or are too small to be mirrored or
        repeated.

    Examples
    --------
    >>> Pad(1)(np.array([[[1.0], [5.0]]]))[0, :, 0]
    array([0., 1., 5., 0.])
    >>> Pad(((0, 3),), mode="periodic")(np.array([[[1.0], [5.0]]]))[0, :, 0]
    array([1., 5., 1., 5., 1.])
    """

    accepts_any_shape: ClassVar[bool] = True

    width: int | tuple[Any, ...] = field(converter=as_sizes, validator=a_width)
    mode: str = field(default="zeros", validator=one_of("zeros", "periodic", "reflect"))

    def build(self, input_shape: Shape, **options: Any) -> None:
        amounts = self._amounts(input_shape)
        if self.mode == "reflect":
            require_mirror(self, input_shape, amounts, 'mode="zeros", or a smaller width')
        if self.mode == "periodic" and not all(input_shape[:-1]):
            raise ShapeError(
                f"{self!r}: the rows have no entries to copy",
                expected="at least one entry along each axis of space",
                received=batch_of(input_shape),
                hint='mode="zeros"',
            )

    def forward(self, inputs: Array) -> Array:
        return padded(inputs, self._amounts(inputs.shape[1:]), self.mode)

    def backward(self, delta: Array) -> Array:
        return folded(delta, self._amounts(delta.shape[1:]), self.mode)

    apply = forward

    def equations(self) -> Equations:
        sizes, amounts = _sizes_on_paper(self.input_shape)[:-1], self._amounts(self.input_shape)
        if self.mode == "zeros":
            return Equations(_padded_on_paper("x", amounts), _inner_on_paper("delta", amounts))
        mode = {"periodic": "wrap", "reflect": "reflect"}[self.mode]
        copies = [
            f"np.pad(np.eye({n}), ((0, 0), {added}), mode='{mode}')"
            for n, added in zip(sizes, amounts, strict=True)
        ]
        forward = _padded_on_paper("x", amounts, f", mode='{mode}'")
        return Equations(forward, along_axes(copies, "delta"))

    def _amounts(self, row: Shape) -> Amounts:
        return amounts_along(self, "width", self.width, spatial_axes(self, row))


class Crop(Layer, repr=False):
    """Fewer entries in every row: the edges in space are cut off.

    Forward  y is x without ``width`` entries at the ends of each axis of space
    Backward  ∂C/∂x is Δ = ∂C/∂y with zeros around it

    Rows are signals (T, C), images (H, W, C) or volumes (D, H, W, C), of any size.

    Parameters
    ----------
    width
        How many entries to remove at both ends of each axis: a number for all axes, or a tuple that
        has for each axis a number or a pair (before, after).

    Raises
    ------
    ConfigurationError
        If ``width`` is invalid.
    ShapeError
        If the rows have no or more than three axes of space, or nothing would be left of them.

    Examples
    --------
    >>> layer = Crop(((1, 0),))
    >>> layer.forward(np.array([[[1.0], [5.0], [4.0]]]))[0, :, 0]
    array([5., 4.])
    >>> layer.backward(np.array([[[10.0], [20.0]]]))[0, :, 0]
    array([ 0., 10., 20.])
    """

    accepts_any_shape: ClassVar[bool] = True

    width: int | tuple[Any, ...] = field(converter=as_sizes, validator=a_width)

    def build(self, input_shape: Shape, **options: Any) -> None:
        removed = tuple(map(sum, self._amounts(input_shape)))
        if any(n <= few for n, few in zip(input_shape, removed, strict=False)):
            least = " × ".join(str(few + 1) for few in removed)
            raise ShapeError(
                f"{self!r}: nothing would be left of the rows",
                expected=f"rows of at least {least} entries",
                received=batch_of(input_shape),
                hint="a smaller width",
            )

    def forward(self, inputs: Array) -> Array:
        return folded(inputs, self._amounts(inputs.shape[1:]))

    def backward(self, delta: Array) -> Array:
        return padded(delta, self._amounts(delta.shape[1:]))

    apply = forward

    def equations(self) -> Equations:
        amounts = self._amounts(self.input_shape)
        return Equations(_inner_on_paper("x", amounts), _padded_on_paper("delta", amounts))

    def _amounts(self, row: Shape) -> Amounts:
        return amounts_along(self, "width", self.width, spatial_axes(self, row))


def _padded_on_paper(array: str, amounts: Amounts, mode: str = "") -> str:
    return f"np.pad({array}, {((0, 0), *amounts, (0, 0))}{mode})"


def _inner_on_paper(array: str, amounts: Amounts) -> str:
    kept = (f"{before or ''}:{-after or ''}" for before, after in amounts)
    return f"{array}[:, {', '.join(kept)}]"
