"""Pooling: a window of entries becomes one number, in each channel by itself.

    largest    y_w = max_k x_(s w + k)             average    y_w = (1/K) Σ_k x_(s w + k)

Here w counts the windows, s is the stride, and k runs over the K positions in a window; in an image
or a volume all three are vectors. To see all windows at one position k is to see a shifted view of
the batch, x[:, k::s]. So the maximum of all windows is the maximum of K shifted views, entry by
entry, and the average is their mean.

A maximum sends its Δ to the entry that was the largest, an average an equal share to each entry.
Where windows overlap, an entry adds up what it gets from all of them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
from attrs import field
from attrs.validators import optional

from chainrule.core.arrays import as_operation
from chainrule.core.equations import Equations
from chainrule.core.errors import ShapeError
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.open_axes import is_open
from chainrule.core.types import Array, Shape
from chainrule.core.validators import one_of
from chainrule.layers.windows import (
    IN_BLOCKS,
    Windows,
    as_sizes,
    blocks_on_paper,
    folded,
    over_offsets,
    padded,
    per_axis,
    repeated_on_paper,
    seen_on_paper,
    sent_by_offset,
    sent_on_paper,
    sizes_from,
    spatial_axes,
    windows_on,
)


class _Pool(Layer, repr=False):
    """What both pools share: the arguments, the windows, and the sum over overlapping windows."""

    accepts_any_shape: ClassVar[bool] = True

    size: int | tuple[int, ...] = field(converter=as_sizes, validator=sizes_from(1, example="2"))
    stride: int | tuple[int, ...] | None = field(
        default=None, converter=as_sizes, validator=optional(sizes_from(1, example="2"))
    )
    padding: str = field(default="valid", validator=one_of("valid", "same"))

    def build(self, input_shape: Shape, **options: Any) -> None:
        self._windows_on(input_shape)

    def _windows_on(self, row: Shape) -> Windows:
        size = per_axis(self, "size", self.size, spatial_axes(self, row))
        stride = size if self.stride is None else self.stride
        return windows_on(self, row, kernel=size, stride=stride, padding=self.padding)

    def _tiles(self) -> Windows | None:
        """The windows, for `equations`, if each entry is in one of them."""
        windows = self._windows_on(self.input_shape)
        return windows if _are_tiles(windows) else None


class MaxPool(_Pool, repr=False):
    """The largest entry of each window.

    Forward  y_w = max_k x_(s w + k)
    Backward  ∂C/∂x_i = Σ_w Δ_w over the windows w whose largest entry is x_i,  with Δ = ∂C/∂y

    Rows are signals (T, C), images (H, W, C) or volumes (D, H, W, C), of any size. Of several
    largest entries the first gets the Δ, in the order of memory. NaN counts as larger than any
    number.

    Parameters
    ----------
    size
        The size of a window: a number for all axes, or one for each.
    stride
        The distance from one window to the next; by default the size, so that windows don't
        overlap.
    padding
        ``"valid"``: windows lie inside the row, which gives ⌊(n − size) / stride⌋ + 1 of them.
        ``"same"``: ⌈n / stride⌉ windows, which may reach beyond the row; only entries of the row
        count.

    Raises
    ------
    ConfigurationError
        If an argument is invalid.
    ShapeError
        If the rows have no or more than three axes of space, or are smaller than a window.

    Examples
    --------
    >>> layer = MaxPool(2)
    >>> layer.forward(np.array([[[1.0], [5.0], [4.0], [2.0]]]))
    array([[[5.],
            [4.]]])
    >>> layer.backward(np.array([[[10.0], [20.0]]]))[0, :, 0]
    array([ 0., 10., 20.,  0.])
    """

    def forward(self, inputs: Array) -> Array:
        self.windows = self._windows_on(inputs.shape[1:])
        largest, *others = _views(inputs, self.windows, fill=-math.inf)
        small = np.min_scalar_type(len(others)).type  # an integer of one byte, if that is enough
        self.winner: Array = small(0)  # for each window, the position of its largest entry so far
        for number, view in enumerate(others, 1):
            larger, is_new = _larger(largest, view)
            self.winner = np.maximum(self.winner, is_new * small(number))
            largest = larger
        return largest

    def backward(self, delta: Array) -> Array:
        positions = range(math.prod(self.windows.kernel))
        parts = (delta * (self.winner == number) for number in positions)
        return _sent_back(parts, self.windows, delta)

    def apply(self, inputs: Array) -> Array:
        return largest(inputs, self._windows_on(inputs.shape[1:]))

    def equations(self) -> Equations:
        if is_open(self.input_shapes):
            return _equations("largest_k(x_k)", "over_largest(delta_w)")
        if (tiles := self._tiles()) is None:
            windows = self._windows_on(self.input_shape)
            over, number = over_offsets(windows)
            views = f"[{seen_on_paper('x', windows, fill='-np.inf')}{over}]"
            parts = f"[np.where(winner == {number}, 1, 0) * delta{over}]"
            return Equations(
                f"np.max({views}, axis=0)",
                f"sum({sent_by_offset('parts', windows, str(self.input_shape[-1]))}{over})",
                backward_definitions={
                    "winner": f"np.argmax({views}, axis=0)",
                    "parts": f"np.concatenate({parts})",
                },
                signs={
                    "winner": ("k^{(<n>)}", "k<n>"),
                    "parts": (r"\delta^{(<n>)}", "δ<n>"),
                },
            )
        blocks = blocks_on_paper("x", tiles.outputs, tiles.kernel, self.input_shape[-1])
        y, delta = (repeated_on_paper(name, tiles.kernel) for name in ("y", "delta"))
        largest = f"{blocks}.max(axis={IN_BLOCKS[len(tiles.sizes)]})"
        return Equations(largest, f"np.where(x == {y}, 1, 0) * {delta}")


class AveragePool(_Pool, repr=False):
    """The average of each window.

    Forward  y_w = (1/K_w) Σ_k x_(s w + k),  with K_w entries of the row in the window
    Backward  ∂C/∂x_i = Σ_w Δ_w / K_w over the windows w that contain x_i,  with Δ = ∂C/∂y

    Rows are signals (T, C), images (H, W, C) or volumes (D, H, W, C), of any size.

    Parameters
    ----------
    size, stride, padding
        As for `MaxPool`.

    Raises
    ------
    ConfigurationError
        If an argument is invalid.
    ShapeError
        If the rows have no or more than three axes of space, or are smaller than a window.

    Examples
    --------
    >>> layer = AveragePool(2)
    >>> layer.forward(np.array([[[1.0], [5.0], [4.0], [2.0]]]))
    array([[[3.],
            [3.]]])
    >>> layer.backward(np.array([[[10.0], [20.0]]]))[0, :, 0]
    array([ 5.,  5., 10., 10.])
    """

    def forward(self, inputs: Array) -> Array:
        self.windows = self._windows_on(inputs.shape[1:])
        return averaged(inputs, self.windows)

    def backward(self, delta: Array) -> Array:
        share = delta / _counts(self.windows, delta)
        return _sent_back((share for _ in _positions(self.windows)), self.windows, delta)

    def apply(self, inputs: Array) -> Array:
        return averaged(inputs, self._windows_on(inputs.shape[1:]))

    def equations(self) -> Equations:
        if is_open(self.input_shapes):
            return _equations("mean_k(x_k)", "over_w(delta_w / K_w)")
        if (tiles := self._tiles()) is None:
            windows = self._windows_on(self.input_shape)
            over, _ = over_offsets(windows)
            ones = f"np.ones({(1, *windows.sizes, 1)})"
            sent = sent_on_paper("share", windows, str(self.input_shape[-1]))
            return Equations(
                f"sum({seen_on_paper('x', windows)}{over}) / K_w",
                f"sum({sent}{over})",
                definitions={"K_w": f"sum({seen_on_paper(ones, windows)}{over})"},
                backward_definitions={"share": "delta / K_w"},
                signs={
                    "K_w": ("K^{(<n>)}", "K<n>"),
                    "share": (r"\delta^{(<n>)}", "δ<n>"),
                },
            )
        blocks = blocks_on_paper("x", tiles.outputs, tiles.kernel, self.input_shape[-1])
        return Equations(
            f"{blocks}.mean(axis={IN_BLOCKS[len(tiles.sizes)]})",
            f"{repeated_on_paper('delta', tiles.kernel)} / {math.prod(tiles.kernel)}",
        )


class GlobalMaxPool(Layer, repr=False):
    """The largest entry of each channel.

    Forward  y_c = max_i x_ic, over all positions i
    Backward  ∂C/∂x_ic = Δ_c where x_ic is the largest entry, and 0 elsewhere,  with Δ = ∂C/∂y

    A row (T, C), (H, W, C) or (D, H, W, C) of any size becomes a vector (C,). Of several largest
    entries the first gets the Δ. NaN counts as larger than any number.

    Raises
    ------
    ShapeError
        If the rows have no or more than three axes of space, or no entries.

    Examples
    --------
    >>> GlobalMaxPool()(np.array([[[1.0, 7.0], [5.0, 3.0]]]))
    array([[5., 7.]])
    """

    accepts_any_shape: ClassVar[bool] = True

    def build(self, input_shape: Shape, **options: Any) -> None:
        _require_entries(self, input_shape)

    def forward(self, inputs: Array) -> Array:
        self.row = inputs.shape[1:]
        entries = _entries(inputs)
        self.winner = np.argmax(entries, axis=1, keepdims=True)
        return np.take_along_axis(entries, self.winner, axis=1)[:, 0]

    def backward(self, delta: Array) -> Array:
        total = np.zeros_like(delta, shape=(len(delta), math.prod(self.row[:-1]), self.row[-1]))
        np.put_along_axis(total, self.winner, delta[:, np.newaxis], axis=1)
        return np.reshape(total, (len(delta), *self.row))

    def apply(self, inputs: Array) -> Array:
        return np.max(_entries(inputs), axis=1)

    def equations(self) -> Equations:
        axes = _axes_of_space(self)
        at_all = f"np.expand_dims({{}}, {axes})".format
        largest = f"np.where(x == {at_all('y')}, 1, 0)"
        return Equations(f"x.max(axis={axes})", f"{largest} * {at_all('delta')}")


class GlobalAveragePool(Layer, repr=False):
    """The average of each channel.

    Forward  y_c = (1/K) Σ_i x_ic, over all K positions i
    Backward  ∂C/∂x_ic = Δ_c / K,  with Δ = ∂C/∂y

    A row (T, C), (H, W, C) or (D, H, W, C) of any size becomes a vector (C,).

    Raises
    ------
    ShapeError
        If the rows have no or more than three axes of space, or no entries.

    Examples
    --------
    >>> GlobalAveragePool()(np.array([[[1.0, 7.0], [5.0, 3.0]]]))
    array([[3., 5.]])
    """

    accepts_any_shape: ClassVar[bool] = True

    def build(self, input_shape: Shape, **options: Any) -> None:
        _require_entries(self, input_shape)

    def forward(self, inputs: Array) -> Array:
        self.row = inputs.shape[1:]
        return mean(_entries(inputs))

    def backward(self, delta: Array) -> Array:
        total = np.empty_like(delta, shape=(len(delta), math.prod(self.row[:-1]), self.row[-1]))
        total[...] = (delta / total.shape[1])[:, np.newaxis]
        return np.reshape(total, (len(delta), *self.row))

    def apply(self, inputs: Array) -> Array:
        return mean(_entries(inputs))

    def equations(self) -> Equations:
        axes = _axes_of_space(self)
        has_sizes = not is_open(self.input_shapes)
        count = math.prod(self.input_shape[:-1]) if has_sizes else "K"
        share = f"np.expand_dims(delta / {count}, {axes})"
        return Equations(
            f"x.mean(axis={axes})",
            f"np.ones_like(x) * {share}",
            is_evaluable=has_sizes,
            signs={} if has_sizes else {"K": ("K", "K")},
        )


# ------------------------------------------------------------------------------- windows


def _positions(windows: Windows) -> tuple[tuple[slice, ...], ...]:
    """For each position in a window, the index of what all windows see there."""
    if windows.is_open:
        return tuple(map(windows.seen_at, windows.offsets()))
    return _known_positions(windows)


@functools.lru_cache(maxsize=64)
def _known_positions(windows: Windows) -> tuple[tuple[slice, ...], ...]:
    return tuple(map(windows.seen_at, windows.offsets()))


def _views(x: Array, windows: Windows, fill: float = 0.0) -> list[Array]:
    """For each position in a window, what all windows see there."""
    x = padded(x, windows.amounts, fill=fill)
    return [x[position] for position in _positions(windows)]


def _sent_back(parts: Iterable[Array], windows: Windows, delta: Array) -> Array:
    """∂C/∂x, from the part of the delta that goes to each position in a window."""
    sizes = [n + sum(added) for n, added in zip(windows.sizes, windows.amounts, strict=True)]
    shape = (len(delta), *sizes, delta.shape[-1])
    if _are_tiles(windows):
        total = np.empty_like(delta, shape=shape)
        for position, part in zip(_positions(windows), parts, strict=True):
            total[position] = part
    else:
        total = np.zeros_like(delta, shape=shape)
        for position, part in zip(_positions(windows), parts, strict=True):
            total[position] += part
    return folded(total, windows.amounts)


def _are_tiles(windows: Windows) -> bool:
    """Whether every entry of a row is in exactly one window, and nothing is added to the row."""
    if windows.is_open:
        return False
    covered = [k * m for k, m in zip(windows.kernel, windows.outputs, strict=True)]
    return windows.kernel == windows.strides and covered == list(windows.sizes)


def _larger(first: Array, second: Array) -> tuple[Array, Array]:
    """The larger of two arrays, entry by entry, and where it is the second.

    The first wins a tie. NaN is larger than any number.
    """
    larger = np.maximum(first, second)
    is_second = (larger != first) & (first == first)
    # At a tie, np.maximum has the mean of both tangents, and backward sends Δ to the first.
    return larger if type(larger) is np.ndarray else np.where(is_second, second, first), is_second


@as_operation
def largest(x: Array, windows: Windows) -> Array:
    """The largest entry of each window."""
    views = _views(x, windows, fill=-math.inf)
    return functools.reduce(lambda largest, view: _larger(largest, view)[0], views)


@as_operation
def averaged(x: Array, windows: Windows) -> Array:
    """The mean of each window, over its entries that are in the row."""
    first, *others = _views(x, windows)
    total = +first
    for view in others:
        total += view
    total /= _counts(windows, x)
    return total


def _counts(windows: Windows, model: Array) -> Any:
    """How many entries of each window are in the row: K, or an array if windows reach beyond it."""
    if not any(map(any, windows.amounts)):
        return math.prod(windows.kernel)
    if windows.is_open:
        return sum(_views(np.ones_like(model, shape=(1, *windows.sizes, 1)), windows))
    return _known_counts(windows, model.dtype)


@functools.lru_cache(maxsize=64)
def _known_counts(windows: Windows, dtype: Any) -> Any:
    return sum(_views(np.ones((1, *windows.sizes, 1), dtype), windows))


# ------------------------------------------------------------------------------- on paper


def _equations(forward: str, backward: str) -> Equations:
    """Formulas for any windows, which need not be tiles, on rows of any size."""
    signs = {
        "x_k": ("<x>_{s w + k}", "<x>[s w + k]"),
        "delta_w": ("<delta>_w", "<delta>[w]"),
        "K_w": ("K_w", "K[w]"),
        "largest_k": (r"\max_k", "maxₖ"),
        "mean_k": (r"\mathrm{mean}_k", "meanₖ"),
        "over_w": (r"\sum_{w \ni i}", "Σ[w ∋ i]"),
        "over_largest": (
            r"\sum_{w: <x>_i \text{ is the largest}}",
            "Σ[w: <x>[i] is the largest]",
        ),
    }
    return Equations(forward, backward, is_evaluable=False, signs=signs)


# ------------------------------------------------------------------------------- whole rows


def _entries(x: Array) -> Array:
    """A batch with its axes of space as one: (batch, positions, channels)."""
    return np.reshape(x, (len(x), math.prod(x.shape[1:-1]), x.shape[-1]))


@as_operation
def mean(entries: Array) -> Array:
    """The mean over axis 1, as a product with ones: BLAS adds faster than np.mean."""
    count = entries.shape[1]
    return np.ones_like(entries, shape=(count,)) @ entries / count


def _axes_of_space(layer: Layer) -> tuple[int, ...]:
    return tuple(range(1, len(layer.input_shape)))


def _require_entries(layer: Layer, row: Shape) -> None:
    spatial_axes(layer, row)
    if not math.prod(row[:-1]):
        raise ShapeError(
            f"{layer!r}: the rows have no entries",
            expected="at least one entry along each axis of space",
            received=batch_of(row),
        )
