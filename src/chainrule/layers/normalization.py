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
from typing import Any, ClassVar

import numpy as np
from attrs import field

from chainrule.core.equations import Equations
from chainrule.core.errors import ShapeError, shortened
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.parameter import Parameter
from chainrule.core.types import Array, RowPattern, Shape
from chainrule.core.validators import as_float, as_int, below_one, complain, is_integer
from chainrule.layers.dense import ones, vectors


def _an_epsilon(layer: Layer, attribute: Any, epsilon: Any) -> None:
    if not isinstance(epsilon, float) or not 0 < epsilon < math.inf:
        complain(layer, "epsilon", "a finite number above 0", epsilon, "1e-5 is usual")


def _a_number_of_groups(layer: Layer, attribute: Any, groups: Any) -> None:
    if not is_integer(groups) or groups < 1:
        complain(layer, "groups", "an integer of at least 1", groups, "GroupNorm(8)")


class _Normalization(Layer):
    """What all normalizations share: a scale and a shift for each channel, the last axis."""

    is_centered: ClassVar[bool] = True  # whether μ is subtracted, and there is a shift

    epsilon: float = field(default=1e-5, converter=as_float, validator=_an_epsilon)

    def build(self, input_shape: Shape, **options: Any) -> None:
        if not input_shape:
            raise ShapeError(
                f"{self!r}: the rows of the input have no channels",
                expected="(batch, …, channels)",
                received="(batch,)",
                hint="make each number a vector: x[:, np.newaxis]",
            )
        self.scale = self.parameter("scale", input_shape[-1:], "ones")
        if self.is_centered:
            self.shift = self.parameter("shift", input_shape[-1:])

    @property
    def accepted_shapes(self) -> tuple[RowPattern, ...]:
        return ((..., *self.scale.shape),)

    def _equations(self, average: str) -> Equations:
        """The equations, from the average as an expression with a place for what is averaged."""
        mean, scaled = average.format, "(delta * scale)"
        x = f"(x - {mean('x')})" if self.is_centered else "x"
        deviation = f"np.sqrt({mean(f'({x} ** 2)')} + {self.epsilon!r})"
        n, axes = f"{x} / {deviation}", tuple(range(len(self.input_shape)))
        rows = f"axis={axes if axes[1:] else 0}"
        terms = [scaled, *([mean(scaled)] if self.is_centered else [])]
        terms.append(f"{n} * {mean(f'({scaled} * {n})')}")
        gradients = {"scale": f"(delta * {n}).sum({rows})", "shift": f"delta.sum({rows})"}
        return Equations(
            f"{n} * scale + shift" if self.is_centered else f"{n} * scale",
            f"({' - '.join(terms)}) / {deviation}",
            {name: gradients[name] for name in self._parameters},
        )


# ------------------------------------------------------------------------------- by channels


class _ByChannels(_Normalization):
    """Mean and variance of channels or groups of them: (samples, places, channels).

    All places of a sample share the averages, so these are arrays (samples, channels).
    """

    def forward(self, inputs: Array) -> Array:
        x = self._arranged(inputs)
        self.count = x.shape[1]
        self.mean = self._averages(self._sums(x))
        self.normal = x - self._wide(self.mean)
        self.variance = self._averages(self._sums(self.normal * self.normal))
        self.inverse = 1 / np.sqrt(self.variance + self.epsilon)
        self.normal *= self._wide(self.inverse)
        outputs = self.normal * self.scale.value
        outputs += self.shift.value
        return np.reshape(outputs, inputs.shape)

    def backward(self, delta: Array) -> Array:
        arranged = self._arranged(delta)
        along, total = self._accumulate(arranged)
        scale = self.scale.value
        result = self.normal * self._wide(self._averages(along * scale))
        result += self._wide(self._averages(total * scale))
        result -= arranged * scale
        result *= self._wide(-self.inverse)
        return np.reshape(result, delta.shape)

    def backward_parameters(self, delta: Array) -> None:
        self._accumulate(self._arranged(delta))

    def _accumulate(self, delta: Array) -> tuple[Array, Array]:
        """Add to the gradients; returns Σ n Δ and Σ Δ over the places, (samples, channels)."""
        along, total = self._sums(delta * self.normal), self._sums(delta)
        self.scale.accumulate_product(ones(len(along), along.dtype), along)
        self.shift.accumulate_product(ones(len(total), total.dtype), total)
        return along, total

    def _sums(self, x: Array) -> Array:
        """The sums over all places: (samples, channels)."""
        return np.matmul(ones(x.shape[1], x.dtype), x)

    def _wide(self, averages: Array) -> Array:
        return averages[:, np.newaxis]

    def _arranged(self, x: Array) -> Array:
        """The array as (samples, places, channels)."""
        raise NotImplementedError

    def _averages(self, sums: Array) -> Array:
        """From sums over the places, (samples, channels), the average that each channel gets."""
        raise NotImplementedError


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
    of several rows. An empty batch changes nothing.

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

    def forward(self, inputs: Array) -> Array:
        outputs = super().forward(inputs)
        if inputs.size:
            self._follow(self.running_mean, self.mean)
            self._follow(self.running_variance, self.variance)
        return outputs

    def apply(self, inputs: Array) -> Array:
        deviation = np.sqrt(self.running_variance.value + self.epsilon)
        outputs = (inputs - self.running_mean.value) * (self.scale.value / deviation)
        outputs += self.shift.value
        return outputs

    def _follow(self, running: Parameter, batch: Array) -> None:
        running.value = self.momentum * running.value + (1 - self.momentum) * batch[0]

    def _arranged(self, x: Array) -> Array:
        return np.reshape(x, (1, math.prod(x.shape[:-1]), x.shape[-1]))

    def _averages(self, sums: Array) -> Array:
        return sums / max(self.count, 1)

    def equations(self) -> Equations:
        axes = tuple(range(len(self.input_shape)))
        return self._equations(f"{{}}.mean(axis={axes if axes[1:] else 0})")


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

    groups: int = field(converter=as_int, validator=_a_number_of_groups)
    epsilon: float = field(default=1e-5, converter=as_float, validator=_an_epsilon)

    def build(self, input_shape: Shape, **options: Any) -> None:
        super().build(input_shape)
        channels = input_shape[-1]
        if channels % self.groups:
            divisors = [str(n) for n in range(1, channels + 1) if channels % n == 0]
            raise ShapeError(
                f"{self!r}: the groups do not divide the channels",
                expected=f"a number of groups that divides {channels}",
                received=f"{self.groups} groups, rows {batch_of(input_shape)}",
                hint=f"GroupNorm with {shortened(', '.join(divisors))}",
            )

    def _arranged(self, x: Array) -> Array:
        return np.reshape(x, (len(x), math.prod(x.shape[1:-1]), x.shape[-1]))

    def _averages(self, sums: Array) -> Array:
        samples, channels = sums.shape
        width = channels // self.groups
        totals = np.sum(np.reshape(sums, (samples, self.groups, width)), axis=2)
        return np.repeat(totals / max(self.count * width, 1), width, axis=1)

    def equations(self) -> Equations:
        *space, channels = self.input_shape
        groups, width = self.groups, channels // self.groups
        mean = f"{{}}.reshape(len(x), -1, {groups}, {width}).mean(axis=(1, 3))"
        sizes = ", ".join(["len(x)", *("1" for _ in space), str(channels)])
        return self._equations(f"np.repeat({mean}, {width}, axis=1).reshape({sizes})")


# ------------------------------------------------------------------------------- by vectors


class _ByVectors(_Normalization):
    """Each vector along the last axis by itself: (vectors, channels)."""

    def forward(self, inputs: Array) -> Array:
        x = vectors(inputs)
        n, sums = max(x.shape[1], 1), ones(x.shape[1], x.dtype)
        self.normal = x - (np.dot(x, sums) / n)[:, np.newaxis] if self.is_centered else +x
        variance = np.dot(self.normal * self.normal, sums) / n
        self.inverse = (1 / np.sqrt(variance + self.epsilon))[:, np.newaxis]
        self.normal *= self.inverse
        outputs = self.normal * self.scale.value
        if self.is_centered:
            outputs += self.shift.value
        return np.reshape(outputs, inputs.shape)

    def backward(self, delta: Array) -> Array:
        rows = vectors(delta)
        products = self._accumulate(rows)
        share = self.scale.value / max(rows.shape[1], 1)  # of one channel in the average of h
        result = self.normal * np.dot(products, share)[:, np.newaxis]
        if self.is_centered:
            result += np.dot(rows, share)[:, np.newaxis]
        result -= rows * self.scale.value
        result *= -self.inverse
        return np.reshape(result, delta.shape)

    def backward_parameters(self, delta: Array) -> None:
        self._accumulate(vectors(delta))

    def _accumulate(self, delta: Array) -> Array:
        """Add to the gradients; returns n Δ."""
        products, rows = delta * self.normal, ones(len(delta), delta.dtype)
        self.scale.accumulate_product(rows, products)
        if self.is_centered:
            self.shift.accumulate_product(rows, delta)
        return products

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
