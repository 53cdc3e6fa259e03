"""Normalization: numbers of mean 0 and variance 1, whatever the layer before computes.

    n = (x − μ) / √(σ² + ε)        y = s n + b        with a learned scale s and shift b

Mean μ and variance σ² are those of some of the numbers of a batch. Which ones is the difference
between the layers of this module; the channels c are the last axis:

    BatchNorm    for each channel, all rows and places     μ_c
    LayerNorm    for each vector, all channels             μ_r
    GroupNorm    for each row, a group of channels         μ_rg
    RMSNorm      as LayerNorm, but without subtracting μ

All x with the same μ and σ influence each other, which gives the backward pass three terms. With
h = ∂C/∂n = s Δ and the same averages ⟨ ⟩ as in μ,

    ∂C/∂x = (h − ⟨h⟩ − n ⟨h n⟩) / √(σ² + ε)

so Δ loses what a change of μ or σ² would undo.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from attrs import evolve, field

from chainrule.core import whole_batch
from chainrule.core.arrays import as_operation
from chainrule.core.equations import Equations
from chainrule.core.errors import ShapeError
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.types import Array, RowPattern, Shape
from chainrule.core.validators import (
    as_float,
    as_int,
    at_least_one,
    below_one,
    complain,
    is_integer,
)
from chainrule.layers.dense import ones, vectors


def _as_epsilon(given: Any) -> Any:
    """A float; an integer above 1 stays one, since it is meant to be a width."""
    return int(given) if is_integer(given) and given > 1 else as_float(given)


def _an_epsilon(layer: Layer, attribute: Any, epsilon: Any) -> None:
    if not isinstance(epsilon, float) or not 0 < epsilon < math.inf:
        kind = type(layer).__name__
        hint = "1e-5 is usual"
        if isinstance(epsilon, int) and epsilon > 1:
            hint = f"{kind}(): the first batch sets the width; {float(epsilon)} if you mean ε"
        complain(layer, "epsilon", "a finite number above 0", epsilon, hint)


SIGNS = {
    "mu": (r"\mu^{(<n>)}", "μ<n>"),
    "v": (r"\sigma_{(<n>)}^2", "σ²<n>"),
    "n": ("n^{(<n>)}", "n<n>"),
    "h": ("h^{(<n>)}", "h<n>"),
}
"""How `equations` writes the mean, the variance, the normalized input and the scaled delta."""


class _Normalization(Layer):
    """What all normalizations share: a scale and a shift for each channel, the last axis."""

    is_centered: ClassVar[bool] = True  # whether μ is subtracted, and there is a shift

    epsilon: float

    def build(self, input_shape: Shape, **options: Any) -> None:
        if not input_shape or input_shape[-1] == 0:
            raise ShapeError(
                f"{self!r}: the rows of the input have no channels",
                expected="(batch, …, channels)",
                received=batch_of(input_shape),
                hint=None if input_shape else "make each number a vector: x[:, np.newaxis]",
            )
        self.scale = self.parameter("scale", input_shape[-1:], "ones")
        if self.is_centered:
            self.shift = self.parameter("shift", input_shape[-1:])

    @property
    def accepted_shapes(self) -> tuple[RowPattern, ...]:
        return ((..., *self.scale.shape),)

    def _equations(self, average: str) -> Equations:
        """The equations, from the average as an expression with a place for what is averaged."""
        mean, axes = average.format, tuple(range(len(self.input_shape)))
        x, rows = "(x - mu)" if self.is_centered else "x", f"axis={axes if axes[1:] else 0}"
        deviation = f"np.sqrt(v + {self.epsilon!r})"
        centered = f" - {mean('h')}" if self.is_centered else ""
        gradients = {"scale": f"(delta * n).sum({rows})", "shift": f"delta.sum({rows})"}
        return Equations(
            "n * scale + shift" if self.is_centered else "n * scale",
            f"(h{centered} - n * {mean('(h * n)')}) / {deviation}",
            {name: gradients[name] for name in self._parameters},
            definitions={
                **({"mu": mean("x")} if self.is_centered else {}),
                "v": mean(f"({x} ** 2)"),
                "n": f"{x} / {deviation}",
            },
            backward_definitions={"h": "delta * scale"},
            signs=SIGNS,
        )


# ------------------------------------------------------------------------------- by channels


class _ByChannels(_Normalization):
    """Mean and variance of groups of channels: arrays (samples, places, channels).

    All places of a sample share the averages, which are arrays (samples, channels). Several places
    are side by side in one row, so that NumPy's loops are long although there are few channels.
    """

    def forward(self, inputs: Array) -> Array:
        self.arrangement = self._arrangement(inputs.shape)
        x = np.reshape(inputs, self.arrangement)
        mean = self._averages(self._sums(x))
        self.centered = x - self._wide(mean)
        variance = self._averages(self._sums(self.centered, self.centered))
        self.inverse = 1 / np.sqrt(variance + self.epsilon)
        outputs = self.centered * self._wide(self.inverse * self.scale.value)
        outputs += self._wide(self.shift.value[np.newaxis])
        self._learn(mean, variance)
        return np.reshape(outputs, inputs.shape)

    def backward(self, delta: Array) -> Array:
        x = np.reshape(delta, self.arrangement)
        along, total = map(self._averages_of_h, self._accumulate(x))
        factors = self.inverse * self.scale.value, along * self.inverse, total
        result = _in_blocks(_three_terms, x, self.centered, *map(self._wide, factors))
        return np.reshape(result, delta.shape)

    def backward_parameters(self, delta: Array) -> None:
        self._accumulate(np.reshape(delta, self.arrangement))

    def _accumulate(self, delta: Array) -> tuple[Array, Array]:
        """Add to the gradients; returns Σ n Δ and Σ Δ over the places, (samples, channels)."""
        along, total = self._sums(delta, self.centered) * self.inverse, self._sums(delta)
        self.scale.accumulate_product(ones(len(along), along.dtype), along)
        self.shift.accumulate_product(ones(len(total), total.dtype), total)
        return along, total

    def _learn(self, mean: Array, variance: Array) -> None:
        """Nothing; `BatchNorm` updates its running statistics."""

    def _averages_of_h(self, sums: Array) -> Array:
        """Averages of sums over Δ, times scale and inverse."""
        scale, inverse = self.scale.value, self.inverse
        if self._width == 1:  # the same product as for Δ, so that a single number gives exactly 0
            return self._averages(sums) * (inverse * scale)
        return self._averages(sums * scale) * inverse

    def _averages(self, sums: Array) -> Array:
        """From sums over the places, the average over the group of each channel."""
        width = self._width
        if width > 1:
            groups = np.reshape(sums, (len(sums), sums.shape[1] // width, width))
            sums = np.repeat(np.sum(groups, axis=2), width, axis=1)
        return sums / max(self._places * width, 1)

    @property
    def _places(self) -> int:
        """The numbers of a channel that belong together, in the last batch."""
        _, rows, columns = self.arrangement
        return rows * columns // self.scale.size

    def _arrangement(self, shape: Shape) -> Shape:
        *axes, channels = shape
        samples = self._samples(shape)
        places = math.prod(axes) // max(samples, 1)
        has_number = type(places) is int  # not a size that is open
        several = math.gcd(places, 1024 // channels) if channels < 256 and has_number else 1
        return samples, places // several, several * channels

    def _sums(self, x: Array, y: Array | None = None) -> Array:
        """The sums of x, or of x y, over the places: (samples, channels)."""
        if y is None:
            sums = np.matmul(ones(x.shape[1], x.dtype), x)
        else:
            sums = np.einsum("spc,spc->sc", x, y)
        several, channels = x.shape[2] // self.scale.size, self.scale.size
        if several > 1:
            sums = np.sum(np.reshape(sums, (len(x), several, channels)), axis=1)
        return sums

    def _wide(self, averages: Array) -> Array:
        """A number for each channel, for all places side by side."""
        several = self.arrangement[2] // self.scale.size
        if several > 1:
            averages = np.concatenate([averages] * several, axis=1)
        return averages[:, np.newaxis]

    def _samples(self, shape: Shape) -> int:
        """The number of parts of the batch with averages of their own."""
        raise NotImplementedError

    @property
    def _width(self) -> int:
        """The number of channels of a group."""
        raise NotImplementedError


def _three_terms(x: Array, y: Array, a: Array, b: Array, c: Array, out: Any = None) -> Array:
    """Compute x a − y b − c."""
    result = np.multiply(x, a, out)
    result -= y * b
    result -= c
    return result


BLOCK = 2**16
"""So many numbers, and what is computed from them, fit into a processor's cache."""


def _in_blocks(function: Callable[..., Array], *arrays: Array) -> Array:
    """``function(*arrays)``; for large arrays block by block, which is faster."""
    first = arrays[0]
    if first.size <= BLOCK or any(type(array) is not np.ndarray for array in arrays):
        return function(*arrays)
    axis = 0 if len(first) > 1 else 1
    count, result = first.shape[axis], np.empty_like(first)
    step = max(1, BLOCK * count // first.size)
    for start in range(0, count, step):
        block = (slice(None),) * axis + (slice(start, start + step),)
        parts = (array[block] if array.shape[axis] == count else array for array in arrays)
        function(*parts, result[block])
    return result


class BatchNorm(_ByChannels, repr=False):
    """Each channel normalized with its mean and variance in the batch. Ioffe and Szegedy 2015.

    Forward  y_c = scale_c n_c + shift_c  with  n_c = (x_c − μ_c) / √(σ²_c + ε),  where μ_c and σ²_c
    are the mean and variance of channel c over all rows and places of the batch
    Backward  ∂C/∂x_c = scale_c (Δ_c − ⟨Δ_c⟩ − n_c ⟨n_c Δ_c⟩) / √(σ²_c + ε),  ∂C/∂scale_c = Σ n_c
    Δ_c,  ∂C/∂shift_c = Σ Δ_c,  with Δ = ∂C/∂y and averages ⟨ ⟩ over the same numbers
    Apply  as forward, with the running mean and variance in place of μ_c and σ²_c

    Each forward pass also updates running ← momentum · running + (1 − momentum) · batch. The
    variance is that of the batch itself, divided by the number of values n, not n − 1.

    The channels are the last axis; the other axes may differ from batch to batch. If a batch has
    only one value for each channel, the variance is 0, y is the shift and ∂C/∂x is 0: use batches
    of several rows. An empty batch changes nothing. If a batch is divided among several processes
    (``Trainer(…, ranks=…)``), the statistics are those of the whole batch.

    Parameters
    ----------
    momentum
        The share of the running statistics that each batch keeps, from 0 to below 1. PyTorch calls
        1 − momentum the momentum.
    epsilon
        ε, which limits the factor of channels that hardly vary.

    Attributes
    ----------
    scale, shift : Parameter
        Of shape (channels,); initially 1 and 0.
    running_mean, running_variance : Parameter
        Buffers of shape (channels,); initially 0 and 1.

    Raises
    ------
    ConfigurationError
        If ``momentum`` is not from 0 to below 1, or ``epsilon`` not above 0.
    ShapeError
        If the rows are single numbers.

    Examples
    --------
    >>> layer = BatchNorm()
    >>> layer.forward(np.array([[1.0, 10.0], [3.0, 30.0]])).round(3)
    array([[-1., -1.],
           [ 1.,  1.]])
    >>> layer.running_mean.value
    array([0.2, 2. ])
    """

    couples_batch: ClassVar[bool] = True

    momentum: float = field(default=0.9, converter=as_float, validator=below_one)
    epsilon: float = field(default=1e-5, converter=as_float, validator=_an_epsilon)

    def build(self, input_shape: Shape, **options: Any) -> None:
        super().build(input_shape)
        self.running_mean = self.buffer("running_mean", input_shape[-1:])
        self.running_variance = self.buffer("running_variance", input_shape[-1:], "ones")

    def apply(self, inputs: Array) -> Array:
        return self._applied(inputs)

    @as_operation
    def _applied(self, inputs: Array) -> Array:
        deviation = np.sqrt(self.running_variance.value + self.epsilon)
        outputs = (inputs - self.running_mean.value) * (self.scale.value / deviation)
        outputs += self.shift.value
        return outputs

    def _averages(self, sums: Array) -> Array:
        sums, self.places = whole_batch.summed(sums, self._places)
        return sums / max(self.places, 1)

    def _learn(self, mean: Array, variance: Array) -> None:
        if not self.places:
            return
        for running, batch in ((self.running_mean, mean), (self.running_variance, variance)):
            new = self.momentum * running.value + (1 - self.momentum) * batch[0]
            # No forward pass uses them, so a plain array need not keep their tangents.
            while type(running.value) is np.ndarray and hasattr(new, "tangent"):
                new = new.value
            running.value = new

    def _samples(self, shape: Shape) -> int:
        return 1

    @property
    def _width(self) -> int:
        return 1

    def equations(self) -> Equations:
        axes = tuple(range(len(self.input_shape)))
        mean = f"{{}}.mean(axis={axes if axes[1:] else 0})".format
        learned = f"{self.momentum!r} * {{}} + (1 - {self.momentum!r}) * {{}}".format
        deviation = f"np.sqrt(running_variance + {self.epsilon!r})"
        return evolve(
            self._equations(mean("{}")),
            apply=f"(x - running_mean) / {deviation} * scale + shift",
            updates={
                "running_mean": learned("running_mean", "mu"),
                "running_variance": learned("running_variance", "v"),
            },
        )


class GroupNorm(_ByChannels, repr=False):
    """The channels of a group normalized together, in each row by itself. Wu and He 2018.

    Forward  y_c = scale_c n_c + shift_c  with  n_c = (x_c − μ) / √(σ² + ε),  where μ and σ² are the
    mean and variance of all numbers of the row that belong to the group of c
    Backward  ∂C/∂x_c = (h_c − ⟨h⟩ − n_c ⟨n h⟩) / √(σ² + ε) with h_c = scale_c Δ_c,  ∂C/∂scale_c = Σ
    n_c Δ_c,  ∂C/∂shift_c = Σ Δ_c,  with Δ = ∂C/∂y and averages ⟨ ⟩ over the same numbers

    The channels are the last axis, and those of a group are next to each other. The other axes may
    differ from batch to batch. With one group of all channels, and rows that are vectors, it is
    `LayerNorm`.

    Parameters
    ----------
    groups
        The number of groups, which divides the number of channels.
    epsilon
        ε, which limits the factor of groups that hardly vary.

    Attributes
    ----------
    scale, shift : Parameter
        Of shape (channels,); initially 1 and 0.

    Raises
    ------
    ConfigurationError
        If ``groups`` is not an integer of at least 1, or ``epsilon`` not above 0.
    ShapeError
        If the groups do not divide the channels, or the rows are single numbers.

    Examples
    --------
    >>> GroupNorm(2)(np.array([[1.0, 3.0, 10.0, 30.0]])).round(3)
    array([[-1.,  1., -1.,  1.]])
    """

    # attrs puts an inherited field that is defined again after the others; mypy does not.
    groups: int = field(converter=as_int, validator=at_least_one("GroupNorm(8)"))  # type: ignore[misc]
    epsilon: float = field(default=1e-5, converter=as_float, validator=_an_epsilon)

    def build(self, input_shape: Shape, **options: Any) -> None:
        super().build(input_shape)
        channels = input_shape[-1]
        if channels % self.groups:
            divisors = ", ".join(str(n) for n in range(1, channels + 1) if channels % n == 0)
            raise ShapeError(
                f"{self!r}: the groups do not divide the channels",
                expected=f"a number of groups that divides {channels}",
                received=f"{self.groups} groups, rows {batch_of(input_shape)}",
                hint=f"groups: {textwrap.shorten(divisors, 60, placeholder=' …')}",
            )

    def apply(self, inputs: Array) -> Array:
        return self._applied(inputs)

    @as_operation
    def _applied(self, inputs: Array) -> Array:
        return super().apply(inputs)

    def _samples(self, shape: Shape) -> int:
        return shape[0]

    @property
    def _width(self) -> int:
        return self.scale.shape[0] // self.groups

    def equations(self) -> Equations:
        *space, channels = self.input_shape
        groups, width = self.groups, channels // self.groups
        mean = f"{{}}.reshape(len(x), -1, {groups}, {width}).mean(axis=(1, 3))"
        sizes = ", ".join(["len(x)", *("1" for _ in space), str(channels)])
        return self._equations(f"np.repeat({mean}, {width}, axis=1).reshape({sizes})")


# ------------------------------------------------------------------------------- by vectors


def _product(a: Array, b: Array, memory: Array) -> Array:
    """The product a b, in the memory of an array that is no longer needed."""
    is_plain = all(type(array) is np.ndarray for array in (a, b, memory))
    return np.multiply(a, b, out=memory) if is_plain else a * b


class _ByVectors(_Normalization):
    """Each vector along the last axis by itself: (vectors, channels)."""

    epsilon: float = field(default=1e-5, converter=_as_epsilon, validator=_an_epsilon)

    def forward(self, inputs: Array) -> Array:
        x = vectors(inputs)
        self.centered = x - self._mean(x) if self.is_centered else x
        squares = np.einsum("rc,rc->r", self.centered, self.centered)
        self.inverse = 1 / np.sqrt(squares / x.shape[1] + self.epsilon)
        outputs = self._factors()
        outputs *= self.centered
        if self.is_centered:
            outputs += self.shift.value
        return np.reshape(outputs, inputs.shape)

    def apply(self, inputs: Array) -> Array:
        return self._applied(inputs)

    @as_operation
    def _applied(self, inputs: Array) -> Array:
        return super().apply(inputs)

    def backward(self, delta: Array) -> Array:
        rows, factors = vectors(delta), self._factors()
        products = self._accumulate(rows)
        along = np.dot(products, self.scale.value / rows.shape[1]) * self.inverse
        along = along * self.inverse * self.inverse
        result = _product(rows, factors, memory=factors)
        result -= _product(self.centered, along[:, np.newaxis], memory=products)
        if self.is_centered:
            result -= self._mean(result)
        return np.reshape(result, delta.shape)

    def backward_parameters(self, delta: Array) -> None:
        self._accumulate(vectors(delta))

    def _accumulate(self, delta: Array) -> Array:
        """Add to the gradients; returns (x − μ) Δ."""
        products = delta * self.centered
        self.scale.accumulate_product(self.inverse, products)
        if self.is_centered:
            self.shift.accumulate_product(ones(len(delta), delta.dtype), delta)
        return products

    def _factors(self) -> Array:
        """scale_c / √(σ² + ε), an outer product, which BLAS computes faster than NumPy."""
        return np.dot(self.inverse[:, np.newaxis], self.scale.value[np.newaxis])

    def _mean(self, x: Array) -> Array:
        return (np.dot(x, ones(x.shape[1], x.dtype)) / x.shape[1])[:, np.newaxis]

    def equations(self) -> Equations:
        return self._equations("{}.mean(axis=-1, keepdims=True)")


class LayerNorm(_ByVectors, repr=False):
    """Each vector normalized by itself, over its channels. Ba, Kiros and Hinton 2016.

    Forward  y_c = scale_c n_c + shift_c  with  n_c = (x_c − μ) / √(σ² + ε),  where μ and σ² are the
    mean and variance of the vector
    Backward  ∂C/∂x_c = (h_c − ⟨h⟩ − n_c ⟨n h⟩) / √(σ² + ε) with h_c = scale_c Δ_c,  ∂C/∂scale_c = Σ
    n_c Δ_c,  ∂C/∂shift_c = Σ Δ_c,  with Δ = ∂C/∂y and averages ⟨ ⟩ over the vector

    The vectors are the last axis; the other axes may differ from batch to batch.

    Parameters
    ----------
    epsilon
        ε, which limits the factor of vectors that hardly vary.

    Attributes
    ----------
    scale, shift : Parameter
        Of shape (channels,); initially 1 and 0.

    Raises
    ------
    ConfigurationError
        If ``epsilon`` is not above 0.
    ShapeError
        If the rows are single numbers.

    Examples
    --------
    >>> LayerNorm()(np.array([[1.0, 3.0], [10.0, 30.0]])).round(3)
    array([[-1.,  1.],
           [-1.,  1.]])
    """


class RMSNorm(_ByVectors, repr=False):
    """Each vector divided by its root mean square. Zhang and Sennrich 2019.

    Forward  y_c = scale_c n_c  with  n_c = x_c / √(⟨x²⟩ + ε)  and averages ⟨ ⟩ over the vector
    Backward  ∂C/∂x_c = (h_c − n_c ⟨n h⟩) / √(⟨x²⟩ + ε)  with  h_c = scale_c Δ_c,
    ∂C/∂scale_c = Σ n_c Δ_c,  with Δ = ∂C/∂y

    The vectors are the last axis; the other axes may differ from batch to batch.

    Parameters
    ----------
    epsilon
        ε, which limits the factor of small vectors.

    Attributes
    ----------
    scale : Parameter
        Of shape (channels,); initially 1.

    Raises
    ------
    ConfigurationError
        If ``epsilon`` is not above 0.
    ShapeError
        If the rows are single numbers.

    Examples
    --------
    >>> RMSNorm()(np.array([[3.0, 4.0]])).round(3)
    array([[0.849, 1.131]])
    """

    is_centered: ClassVar[bool] = False
