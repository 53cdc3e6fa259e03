"""Convolution: the same few weights at every place of a signal, an image or a volume.

    y_i = Σ_k x_(s i + d k) w_k + b        k = 0 … K − 1, for every place i

Each x is a vector of channels, each w_k a matrix from channels to filters, s the stride and d the
dilation. With two or three axes of space, i and k are pairs or triples. (In mathematics this is a
correlation; a convolution has x_(i − k).) So a convolution is a `Dense` layer that is applied to
every window of the row, and its two gradients are those of a Dense layer, summed over the places:

    ∂C/∂x_j = Σ_(i, k: s i + d k = j) Δ_i w_kᵀ          ∂C/∂w_k = Σ_i x_(s i + d k)ᵀ Δ_i

The first sum is itself a convolution if s = 1, of Δ with the weights in reverse order. It is a
linear map from Δ to the rows of x, and it is what a transposed convolution computes forward. So two
layers share the functions of `chainrule.layers.correlation`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from attrs import field

from chainrule.core import initializers
from chainrule.core.equations import Equations
from chainrule.core.errors import ShapeError
from chainrule.core.initializers import Blocks, GlorotUniform, Initializer, Zeros
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.open_axes import is_open
from chainrule.core.types import Array, RowPattern, Shape
from chainrule.core.validators import as_int, at_least_one, complain, yes_or_no
from chainrule.layers.correlation import (
    both,
    correlation,
    gradients,
    products,
    spread,
    with_biases,
)
from chainrule.layers.dense import ones, vectors
from chainrule.layers.windows import (
    Windows,
    a_padding,
    amounts_of,
    any_size,
    as_sizes,
    over_offsets,
    per_axis,
    reach,
    seen_on_paper,
    sent_on_paper,
    sizes_from,
    spatial_axes,
    windows_on,
)

_at_least_one_group = at_least_one("groups=1")


def _groups(layer: _Weighted, attribute: Any, groups: Any) -> None:
    _at_least_one_group(layer, attribute, groups)
    if layer.filters % groups:
        expected = f"a number that divides the {layer.filters} filters"
        complain(layer, "groups", expected, groups, f"filters={_multiple(layer.filters, groups)}")


def _multiple(number: int, of: int) -> int:
    """The next multiple."""
    return math.ceil(number / of) * of


class _Weighted(Layer, repr=False):
    """Common to both convolutions: their arguments, parameters and biases."""

    filters: int = field(converter=as_int, validator=at_least_one("filters=16"))
    kernel: int | tuple[int, ...] = field(converter=as_sizes, validator=sizes_from(1, example="3"))
    stride: int | tuple[int, ...] = field(
        default=1, converter=as_sizes, validator=sizes_from(1, example="1")
    )
    padding: str | int | tuple[Any, ...] = field(
        default="same", converter=as_sizes, validator=a_padding
    )
    dilation: int | tuple[int, ...] = field(
        default=1, converter=as_sizes, validator=sizes_from(1, example="1")
    )
    groups: int = field(default=1, converter=as_int, validator=_groups)
    use_bias: bool = field(default=True, validator=yes_or_no)
    # Initializers, once converted; mypy ignores the converters of a dataclass_transform.
    initializer: str | float | Initializer = field(
        default=GlorotUniform(), converter=initializers.get
    )
    bias_initializer: str | float | Initializer = field(default=Zeros(), converter=initializers.get)

    def build(self, input_shape: Shape, **options: Any) -> None:
        kernel = self._windows(input_shape).kernel
        if input_shape[-1] % self.groups:
            raise ShapeError(
                f"{self!r}: the groups do not divide the channels of the rows",
                expected=f"a multiple of {self.groups} channels",
                received=batch_of(input_shape),
                hint="groups=1, or another number of channels",
            )
        shape, axis = self._layout(input_shape[-1])
        initializer = initializers.get(self.initializer)
        if self.groups > 1:  # each group is a convolution of its own
            initializer = Blocks(initializer, self.groups, axis)
        self.weights = self.parameter("weights", (*kernel, *shape), initializer)
        if self.use_bias:
            self.biases = self.parameter("biases", (self.filters,), self.bias_initializer)

    def _windows(self, row: Shape) -> Windows:
        """The windows of the convolution, for rows of the input."""
        return windows_on(
            self,
            self._sizes(row),
            kernel=self.kernel,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )

    def _sizes(self, row: Shape) -> Shape:
        """The rows that the windows are on."""
        raise NotImplementedError

    def _layout(self, channels: int) -> tuple[tuple[int, int], int]:
        """The shape of a matrix w_k, and the axis along which it has the groups."""
        raise NotImplementedError

    @property
    def accepted_shapes(self) -> tuple[RowPattern, ...]:
        return (any_size(self.input_shape),)

    def _with_biases(self, outputs: Array) -> Array:
        return with_biases(outputs, self.biases.value) if self.use_bias else outputs

    def _accumulate_biases(self, delta: Array) -> None:
        if self.use_bias:
            delta = vectors(delta)
            self.biases.accumulate_product(ones(len(delta), delta.dtype), delta)


class Convolution(_Weighted, repr=False):
    """y_i = Σ_k x_(s i + d k) w_k + b, for signals, images and volumes.

    Forward  y_i = Σ_k x_(s i + d k − p) w_k + b
    Backward  ∂C/∂x_j = Σ_(i, k) Δ_i w_kᵀ over all i and k with s i + d k − p = j,
        ∂C/∂w_k = Σ_rows Σ_i x_(s i + d k − p)ᵀ Δ_i,  ∂C/∂b = Σ_rows Σ_i Δ_i,  with Δ = ∂C/∂y

    Every x_j is a vector of C channels and every y_i one of F filters; s is the stride, d the
    dilation, p the padding in front. The axes of space come from the rows: (T, C) is a signal,
    (H, W, C) an image, (D, H, W, C) a volume, and i, j, k have as many indices. Their sizes may
    differ from batch to batch; C is fixed. Along an axis of n entries there are

        ⌊(n + added − d (K − 1) − 1) / s⌋ + 1  outputs,  or ⌈n / s⌉ with the padding "same"

    Parameters
    ----------
    filters
        F, the number of output channels.
    kernel
        The size K of the kernel: a number for all axes, or a tuple with one for each.
    stride
        The distance s from one window to the next, likewise.
    padding
        What is added at the edges. ``"same"`` adds zeros for ⌈n / s⌉ outputs, an odd one at the
        end; ``"valid"`` adds nothing. ``"periodic"`` and ``"reflect"`` add as much as ``"same"``,
        entries from the other end, or from the same end in reverse order, without the edge itself.
        Or a number of zeros for both ends of all axes, or a tuple with a number or a pair
        (before, after) for each axis.
    dilation
        The distance d of the entries that a window sees, as for ``kernel``.
    groups
        In how many groups G channels and filters are divided: each group of F / G filters sees
        its own C / G channels. G = C is a depthwise convolution.
    use_bias
        Whether to add b.
    initializer
        The distribution of the initial w: a name such as ``"glorot_uniform"``, a number, or an
        `Initializer`. A filter has K C / G inputs, for the entries K of the whole kernel.
    bias_initializer
        The same for b.

    Attributes
    ----------
    weights : Parameter
        w, of shape (*kernel, C / G, F); filters of the same group are next to each other.
    biases : Parameter
        b, of shape (F,); only if ``use_bias``.

    Raises
    ------
    ConfigurationError
        If an argument is invalid, or ``groups`` does not divide ``filters``.
    ShapeError
        If the rows have another number of axes than the arguments, their channels cannot be
        divided into groups, or the kernel is larger than the padded rows.

    References
    ----------
    LeCun et al., Neural Computation 1 (1989) 541. Goodfellow, Bengio and Courville, Deep Learning
    (2016), chapter 9.

    Examples
    --------
    >>> layer = Convolution(1, 3, initializer="ones")
    >>> layer(np.array([[[1.0], [2.0], [3.0], [4.0]]])).ravel()
    array([3., 6., 9., 7.])
    >>> Convolution(8, (3, 5), stride=2)(np.zeros((10, 28, 28, 3))).shape
    (10, 14, 14, 8)
    """

    def forward(self, inputs: Array) -> Array:
        self.inputs, self.windows = inputs, self._windows(inputs.shape[1:])
        return self._convolved(inputs, self.windows)

    def backward(self, delta: Array) -> Array:
        self._accumulate_biases(delta)
        weights, windows, groups = self.weights.value, self.windows, self.groups
        if not self.weights.trainable:
            return spread(delta, weights, windows, groups)
        delta_in, gradient = gradients(self.inputs, weights, delta, windows, groups)
        self.weights.accumulate(gradient)
        return delta_in

    def backward_parameters(self, delta: Array) -> None:
        self._accumulate_biases(delta)
        if self.weights.trainable:
            self.weights.accumulate(products(self.inputs, delta, self.windows, self.groups))

    def apply(self, inputs: Array) -> Array:
        return self._convolved(inputs, self._windows(inputs.shape[1:]))

    def _convolved(self, inputs: Array, windows: Windows) -> Array:
        biases = self.biases.value if self.use_bias else None
        return correlation(inputs, self.weights.value, windows, self.groups, biases)

    def equations(self) -> Equations:
        return _equations(self, is_transposed=False)

    def _sizes(self, row: Shape) -> Shape:
        return row

    def _layout(self, channels: int) -> tuple[tuple[int, int], int]:
        return (channels // self.groups, self.filters), -1


class TransposedConvolution(_Weighted, repr=False):
    """The transpose of a `Convolution`, plus biases: it makes rows larger by its stride.

    Forward  y_j = Σ_(i, k) x_i w_k + b over all i and k with s i + d k − p = j
    Backward  ∂C/∂x_i = Σ_k Δ_(s i + d k − p) w_kᵀ,
        ∂C/∂w_k = Σ_rows Σ_i x_iᵀ Δ_(s i + d k − p),  ∂C/∂b = Σ_rows Σ_j Δ_j,  with Δ = ∂C/∂y

    The two passes of a convolution with the same arguments, from F channels to C filters, in
    exchanged roles. Its backward pass is linear and maps small rows to large ones; here that is the
    forward pass. So n entries of an axis become those from which the convolution makes n:

        n s  with the paddings "same", "periodic" and "reflect"
        (n − 1) s + d (K − 1) + 1  with "valid"; integers are subtracted from it

    What a convolution adds at the edges is cut off here; with ``"periodic"`` and ``"reflect"`` it
    is added to the entries of which it would be a copy. Other libraries call the layer
    deconvolution; it is not the inverse of a convolution.

    Parameters
    ----------
    filters
        F, the number of output channels.
    kernel, stride, padding, dilation, groups, use_bias, initializer, bias_initializer
        As for `Convolution`.

    Attributes
    ----------
    weights : Parameter
        w, of shape (*kernel, C, F / groups).
    biases : Parameter
        b, of shape (F,); only if ``use_bias``.

    Raises
    ------
    ConfigurationError
        If an argument is invalid, or ``groups`` does not divide ``filters``.
    ShapeError
        If the rows have another number of axes than the arguments, their channels cannot be
        divided into groups, or the padding cuts off everything.

    References
    ----------
    Zeiler et al., Deconvolutional networks, CVPR 2010. Dumoulin and Visin, arXiv:1603.07285,
    chapter 4.

    Examples
    --------
    >>> layer = TransposedConvolution(1, 2, stride=2, initializer="ones")
    >>> layer(np.array([[[1.0], [2.0], [3.0]]])).ravel()
    array([1., 1., 2., 2., 3., 3.])
    """

    def forward(self, inputs: Array) -> Array:
        self.inputs, self.windows = inputs, self._windows(inputs.shape[1:])
        return self._convolved(inputs, self.windows)

    def backward(self, delta: Array) -> Array:
        self._accumulate_biases(delta)
        weights, windows, groups = self._transposed(), self.windows, self.groups
        if not self.weights.trainable:
            return correlation(delta, weights, windows, groups)
        delta_in, gradient = both(delta, weights, self.inputs, windows, groups)
        self.weights.accumulate(np.swapaxes(gradient, -1, -2))
        return delta_in

    def backward_parameters(self, delta: Array) -> None:
        self._accumulate_biases(delta)
        if self.weights.trainable:
            gradient = products(delta, self.inputs, self.windows, self.groups)
            self.weights.accumulate(np.swapaxes(gradient, -1, -2))

    def apply(self, inputs: Array) -> Array:
        return self._convolved(inputs, self._windows(inputs.shape[1:]))

    def _convolved(self, inputs: Array, windows: Windows) -> Array:
        return self._with_biases(spread(inputs, self._transposed(), windows, self.groups))

    def equations(self) -> Equations:
        return _equations(self, is_transposed=True)

    def _transposed(self) -> Array:
        """The weights of the convolution: w_kᵀ for every place k of the kernel."""
        return np.swapaxes(self.weights.value, -1, -2)

    def _sizes(self, row: Shape) -> Shape:
        axes = spatial_axes(self, row)
        kernel, strides, dilations = (
            per_axis(self, name, getattr(self, name), axes)
            for name in ("kernel", "stride", "dilation")
        )
        sizes = [n * s for n, s in zip(row[:-1], strides, strict=True)]
        if self.padding not in ("same", "periodic", "reflect"):
            reaches = tuple(map(reach, kernel, dilations))
            amounts = amounts_of(self, self.padding, sizes, reaches, strides)
            sizes = [
                n - s + covered - sum(p)
                for n, s, covered, p in zip(sizes, strides, reaches, amounts, strict=True)
            ]
        if min(sizes) < 1:
            raise ShapeError(
                f"{self!r}: the padding cuts off all that the layer computes",
                expected="padding that is smaller than the kernel",
                received=f"padding={self.padding!r} for {batch_of(row)}",
                hint='padding="same" makes rows that are stride times as large',
            )
        return (*sizes, self.filters)

    def _layout(self, channels: int) -> tuple[tuple[int, int], int]:
        return (channels, self.filters // self.groups), -2


# ------------------------------------------------------------------------------- on paper


def _equations(layer: _Weighted, *, is_transposed: bool) -> Equations:
    """Sums over the offsets of the kernel, as expressions.

    A convolution's windows are on x, those of its transpose on Δ. At each offset they see some
    entries there, and to some the entries of the other array are sent. Several groups have an axis
    of their own, g: c and f are the channels and filters of a group.
    """
    if is_open(layer.input_shapes):  # the slices need sizes
        return _equations_for_any_size(layer, is_transposed=is_transposed)
    windows, groups = layer._windows(layer.input_shape), layer.groups
    c, f = layer.input_shape[-1] // groups, layer.filters // groups
    space = "ijk"[: len(windows.kernel)]
    over, _ = over_offsets(windows)
    x, delta, w = "x", "delta", "weights"
    channels, filters = str(c), str(f)
    there, back = "{} @ {}", "{} @ {}.T"
    product = f"{{}}.reshape(-1, {c}).T @ {{}}.reshape(-1, {f})"
    if groups > 1:
        channels, filters = f"{groups}, {c}", f"{groups}, {f}"
        x, delta = (
            _reshaped(x, layer.input_shape, channels),
            _reshaped(delta, layer.output_shape, filters),
        )
        layout = (f"{groups}, {c}, {f}", "gcf") if is_transposed else (f"{c}, {groups}, {f}", "cgf")
        w = f"weights.reshape({', '.join(map(str, windows.kernel))}, {layout[0]})"
        there, back = (f"np.einsum('{way},{layout[1]}->{out}', {{}}, {{}})"
                       for way, out in (("...gc", "...gf"), ("...gf", "...gc")))  # fmt: skip
        rows = "n" + "xyz"[: len(space)]
        product = f"np.einsum('{rows}gc,{rows}gf->{layout[1]}', {{}}, {{}})"
    w += f"[{', '.join(space)}]"
    if is_transposed:
        seen, sent = seen_on_paper(delta, windows, groups > 1), sent_on_paper(x, windows, channels)
        ways, parts = (there.format(sent, w), back.format(seen, w)), (x, seen)
    else:
        seen, sent = seen_on_paper(x, windows, groups > 1), sent_on_paper(delta, windows, filters)
        ways, parts = (there.format(seen, w), back.format(sent, w)), (seen, delta)
    forward, backward = (f"sum({way}{over})" for way in ways)
    if groups > 1:
        is_copied = windows.padding in ("periodic", "reflect")
        wide = (*(windows.padded_sizes if is_copied else windows.sizes), 0)
        shapes = (wide, layer.input_shape) if is_transposed else (layer.output_shape, wide)
        forward = _reshaped(forward, shapes[0], str(layer.filters), "x")
        backward = _reshaped(backward, shapes[1], str(layer.input_shape[-1]), "delta")
    if is_transposed:
        forward = _folded(forward, windows)
    else:
        backward = _folded(backward, windows)
    shape = ", ".join(map(str, layer.weights.shape))
    gradients = {"weights": f"np.stack([{product.format(*parts)}{over}]).reshape({shape})"}
    if layer.use_bias:
        forward += " + biases"
        gradients["biases"] = f"delta.sum(axis={tuple(range(len(layer.input_shape)))})"
    return Equations(forward, backward, gradients, letter="z")


def _reshaped(array: str, row: Shape, last: str, rows: str = "") -> str:
    """The expression with other last axes than those of a row; ``rows`` has as many rows."""
    return f"{array}.reshape({', '.join([f'len({rows or array})', *map(str, row[:-1]), last])})"


def _equations_for_any_size(layer: _Weighted, *, is_transposed: bool) -> Equations:
    """The sums as in the docstrings, for rows of which the sizes are not known."""
    narrow, wide = ("x", "delta") if is_transposed else ("delta", "x")
    seen, sent = "over_k(wide_k @ {})", "over_ik(narrow_i @ {})"
    ways = [seen, sent.replace("{}", "{}.T")]
    if is_transposed:
        ways = [sent, seen.replace("{}", "{}.T")]
    forward, backward = (way.format("weights[k]") for way in ways)
    left, right = ("narrow_i", "wide_k") if is_transposed else ("wide_k", "narrow_i")
    gradients = {"weights": f"over_i({left}.T @ {right})"}
    if layer.use_bias:
        forward += " + biases"
        gradients["biases"] = f"delta.sum(axis={tuple(range(len(layer.input_shape)))})"
    signs = {
        "wide_k": (f"<{wide}>_{{s i + d k - p}}", f"<{wide}>[s i + d k − p]"),
        "narrow_i": (f"<{narrow}>_i", f"<{narrow}>[i]"),
        "over_k": (r"\sum_k", "Σₖ"),
        "over_i": (r"\sum_i", "Σᵢ"),
        "over_ik": (r"\sum_{s i + d k - p = j}", "Σ[s i + d k − p = j]"),
        "k": ("k", "k"),
    }
    return Equations(forward, backward, gradients, letter="z", is_evaluable=False, signs=signs)


def _folded(total: str, windows: Windows) -> str:
    """The sum over the copies of each entry, with the matrix P of the padding of an axis: Pᵀ y."""
    modes = {"periodic": "wrap", "reflect": "reflect"}
    if windows.padding in modes:
        for axis, (n, added) in enumerate(zip(windows.sizes, windows.amounts, strict=True), 1):
            if any(added):
                p = f"np.pad(np.eye({n}), ({added}, (0, 0)), mode={modes[windows.padding]!r})"
                total = f"({p}.T @ {total}.swapaxes({axis}, -2)).swapaxes({axis}, -2)"
    return total
