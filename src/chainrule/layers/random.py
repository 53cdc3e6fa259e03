"""Noise in training, as a regularizer: dropout and Gaussian noise.

    y = r ⊙ x        ∂C/∂x = r ⊙ Δ        with random factors r of mean 1

A network that is trained with noise cannot rely on single values, and becomes robust. Since the
factors have mean 1, the next layer gets the same values on average as without noise, so `apply`
needs neither noise nor a correction: it is the identity. Srivastava et al. 2014.

`forward` draws from a generator that `build` spawns from the seed of the model. A saved model
contains its state, so a resumed run continues with the same numbers.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from attrs import field

from chainrule.core.equations import Equations
from chainrule.core.errors import ShapeError
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.types import Array, Shape
from chainrule.core.validators import as_float, complain


def a_share(layer: Layer, attribute: Any, rate: Any) -> None:
    """Accept only a number from 0 to below 1."""
    if not isinstance(rate, float) or not 0 <= rate < 1:
        hint = f"0 keeps everything; 0.5 is usual: {type(layer).__name__}(0.5)"
        if isinstance(rate, float) and rate == 1:
            hint = "with rate 1 nothing would be left; " + hint
        elif isinstance(rate, float) and 1 < rate < 100:
            hint = f"a share, not a percentage: {type(layer).__name__}({rate / 100:g})"
        complain(layer, attribute.name, "a number from 0 to below 1", rate, hint)


def _a_deviation(layer: Layer, attribute: Any, deviation: Any) -> None:
    if not isinstance(deviation, float) or not 0 <= deviation < math.inf:
        hint = "it is in the units of the input; 0.1 is usual for standardized data"
        complain(layer, "deviation", "a finite number, 0 or more", deviation, hint)


SIGNS = {"r": ("r^{(<n>)}", "r<n>")}
"""How `equations` writes the random factors."""


class _Noise(Layer):
    """What the layers with noise share: factors drawn in `forward`, and nothing in `apply`."""

    accepts_any_shape: ClassVar[bool] = True

    def build(self, input_shape: Shape, **options: Any) -> None:
        self.draws = self.generator("draws")

    def forward(self, inputs: Array) -> Array:
        self.factors = self._factors(inputs)
        return inputs * self.factors

    def backward(self, delta: Array) -> Array:
        return delta * self.factors

    def apply(self, inputs: Array) -> Array:
        return inputs

    def equations(self) -> Equations:
        definition = {"r": self._factors_on_paper()}
        return Equations(
            "r * x",
            "r * delta",
            is_evaluable=False,
            definitions=definition,
            apply="x",
            signs=SIGNS,
        )

    def _factors(self, inputs: Array) -> Array:
        """Random factors of mean 1, of a shape that broadcasts to that of the inputs."""
        raise NotImplementedError

    def _factors_on_paper(self) -> str:
        """The same, as an expression."""
        raise NotImplementedError


class Dropout(_Noise, repr=False):
    """Some numbers, chosen at random in each pass, become 0; the others grow to compensate.

    Forward  y = r ⊙ x,  where r is 0 with probability ``rate``, else 1 / (1 − rate)
    Backward  ∂C/∂x = r ⊙ Δ,  with Δ = ∂C/∂y
    Apply  y = x

    Parameters
    ----------
    rate
        The probability that a number becomes 0, from 0 to below 1.

    Raises
    ------
    ConfigurationError
        If ``rate`` is not such a number.

    Examples
    --------
    >>> layer = Dropout(0.5)
    >>> layer.build((4,), rng=0)
    >>> layer.forward(np.ones((1, 4)))
    array([[2., 2., 0., 0.]])
    >>> layer(np.ones((1, 4)))
    array([[1., 1., 1., 1.]])
    """

    rate: float = field(converter=as_float, validator=a_share)

    def _factors(self, inputs: Array) -> Array:
        return self._kept(inputs.shape).astype(inputs.dtype) * (1 / (1 - self.rate))

    def _factors_on_paper(self) -> str:
        numbers = f"np.random({self._shape_on_paper()})"
        return f"np.where({numbers} >= {self.rate!r}, 1 / (1 - {self.rate!r}), 0)"

    def _shape_on_paper(self) -> str:
        return "x.shape"

    def _kept(self, shape: Shape) -> Array:
        # Numbers of 24 bits are drawn faster, and suffice to compare with the rate.
        return self.draws.random(shape, np.float32) >= self.rate


class SpatialDropout(Dropout, repr=False):
    """`Dropout` of whole channels: the same factor at all places of a row. Tompson et al. 2015.

    In an image, neighbours are so similar that a single missing number is no loss.

    Forward  y_…c = r_c x_…c,  where r_c is 0 with probability ``rate``, else 1 / (1 − rate)
    Backward  ∂C/∂x_…c = r_c Δ_…c,  with Δ = ∂C/∂y
    Apply  y = x

    The channels are the last axis, and each row has its own factors.

    Parameters
    ----------
    rate
        The probability that a channel becomes 0, from 0 to below 1.

    Raises
    ------
    ConfigurationError
        If ``rate`` is not such a number.
    ShapeError
        If the rows have no axes but the channels.

    Examples
    --------
    >>> layer = SpatialDropout(0.5)
    >>> layer.build((2, 3), rng=0)
    >>> layer.forward(np.ones((1, 2, 3)))
    array([[[2., 2., 0.],
            [2., 2., 0.]]])
    """

    def build(self, input_shape: Shape, **options: Any) -> None:
        if len(input_shape) < 2:
            raise ShapeError(
                f"{self!r}: the rows have no axes of space or time",
                expected="(batch, …, channels) with at least one axis between",
                received=batch_of(input_shape),
                hint=f"Dropout({self.rate:g})",
            )
        super().build(input_shape)

    def _shape_on_paper(self) -> str:
        *space, channels = self.input_shape
        return ", ".join(["len(x)", *("1" for _ in space), str(channels)])

    def _kept(self, shape: Shape) -> Array:
        return super()._kept((shape[0], *(1 for _ in shape[2:]), shape[-1]))


class GaussianDropout(_Noise, repr=False):
    """Gaussian factors, of the mean and variance that those of `Dropout` have.

    Forward  y = r ⊙ x,  with r drawn from a normal distribution of mean 1 and standard deviation
    √(rate / (1 − rate))
    Backward  ∂C/∂x = r ⊙ Δ,  with Δ = ∂C/∂y
    Apply  y = x

    Parameters
    ----------
    rate
        That of the `Dropout` with the same variance, from 0 to below 1.

    Raises
    ------
    ConfigurationError
        If ``rate`` is not such a number.

    Examples
    --------
    >>> layer = GaussianDropout(0.2)  # a standard deviation of 0.5
    >>> layer.build((10000,), rng=0)
    >>> layer.forward(np.ones((1, 10000))).std(axis=1).round(2)
    array([0.5])
    """

    rate: float = field(converter=as_float, validator=a_share)

    def _factors(self, inputs: Array) -> Array:
        deviation = math.sqrt(self.rate / (1 - self.rate))
        return 1 + deviation * _normal(self.draws, inputs)

    def _factors_on_paper(self) -> str:
        return f"1 + np.sqrt({self.rate!r} / (1 - {self.rate!r})) * np.normal(x.shape)"


class GaussianNoise(_Noise, repr=False):
    """Gaussian noise, added: an input that is different in each pass augments little data.

    Forward  y = x + n,  with n drawn from a normal distribution of mean 0
    Backward  ∂C/∂x = Δ = ∂C/∂y
    Apply  y = x

    Parameters
    ----------
    deviation
        The standard deviation of n; 0 or more.

    Raises
    ------
    ConfigurationError
        If ``deviation`` is not a finite number, 0 or more.

    Examples
    --------
    >>> layer = GaussianNoise(0.1)
    >>> layer(np.ones((1, 3)))
    array([[1., 1., 1.]])
    """

    deviation: float = field(converter=as_float, validator=_a_deviation)

    def forward(self, inputs: Array) -> Array:
        return inputs + self.deviation * _normal(self.draws, inputs)

    def backward(self, delta: Array) -> Array:
        return delta

    def apply(self, inputs: Array) -> Array:
        return inputs

    def equations(self) -> Equations:
        forward = f"x + {self.deviation!r} * np.normal(x.shape)"
        return Equations(forward, "delta", is_evaluable=False, apply="x")


def _normal(generator: np.random.Generator, inputs: Array) -> Array:
    """Standard normal numbers, as many and of the type of the inputs."""
    return generator.standard_normal(inputs.shape).astype(inputs.dtype)
