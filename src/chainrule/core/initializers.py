"""Initializers: the values that parameters start with.

A sum z_k = Σ_j y_j w_jk over n_in inputs has n_in times the variance of one term. So that values
neither vanish nor explode as they pass through many layers, the weights of a layer are drawn
with a variance inversely proportional to the number of its connections:

    Glorot  Var w = 2 / (n_in + n_out)     a compromise between forward and backward pass
    He      Var w = 2 / n_in               for relu, which silences half of its inputs
    LeCun   Var w = 1 / n_in               for functions with slope one at zero

For weights of shape (…, n_in, n_out) the leading axes are positions of a kernel: each position is
a connection, so they multiply n_in and n_out.
"""

from __future__ import annotations

import contextlib
import math
import numbers
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from attrs import field, frozen

from chainrule.core.elsewhere import INITIALIZERS
from chainrule.core.errors import ConfigurationError, ShapeError, described, shortened
from chainrule.core.hints import Hinted, missing_name, nearest, value_elsewhere
from chainrule.core.types import Shape

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "LeCunNormal",
    "LeCunUniform",
    "LectureUniform",
    "Normal",
    "Ones",
    "Orthogonal",
    "Uniform",
    "Zeros",
]


def finite(number: Any) -> float:
    """The number as a Python float; raise an error if it is not finite, or not a number."""
    if isinstance(number, numbers.Real) and not isinstance(number, bool | np.bool_):
        with contextlib.suppress(OverflowError):
            if math.isfinite(number):
                return float(number)
    raise ConfigurationError(
        "an initializer needs finite numbers",
        expected="a finite number",
        received=shortened(number),
    )


class Initializer(Hinted):
    """Draws the initial values of a parameter.

    A subclass, decorated with `attrs.frozen`, implements `draw`. Values are drawn in float64 and
    rounded, so that a float32 model starts with the same values as a float64 model.
    """

    name: ClassVar[str] = ""

    def __call__(self, shape: Shape, rng: np.random.Generator, dtype: npt.DTypeLike) -> Any:
        """An array of the given shape and dtype, drawn from ``rng``."""
        values = np.array(self.draw(shape, rng), dtype=dtype, order="C")
        if values.shape != shape:
            raise ShapeError(
                f"{self!r}: draw returned an array of the wrong shape",
                expected=shape,
                received=values.shape,
            )
        return values

    def draw(self, shape: Shape, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """An array of the given shape in float64."""
        raise NotImplementedError


@frozen
class _WithoutFields(Initializer):
    """What attrs makes of this class is right for those below, too, if they add no field."""


class Zeros(_WithoutFields):
    """w = 0. Right for biases; as weights they keep all units of a layer identical forever."""

    name: ClassVar[str] = "zeros"

    def draw(self, shape: Shape, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """Zeros."""
        return np.zeros(shape)


class Ones(_WithoutFields):
    """w = 1."""

    name: ClassVar[str] = "ones"

    def draw(self, shape: Shape, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """Ones."""
        return np.ones(shape)


@frozen
class Constant(Initializer):
    """w = value for every element."""

    value: float = field(converter=finite)
    name: ClassVar[str] = "constant"

    def draw(self, shape: Shape, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """An array of that value."""
        return np.full(shape, self.value, dtype=np.float64)


@frozen
class Uniform(Initializer):
    """w ~ U(low, high)."""

    low: float = field(default=-0.1, converter=finite)
    high: float = field(default=0.1, converter=finite)
    name: ClassVar[str] = "uniform"

    def __attrs_post_init__(self) -> None:
        if not self.low <= self.high:
            raise ConfigurationError(
                "Uniform: the interval is empty",
                expected="low <= high",
                received=f"low={self.low}, high={self.high}",
            )

    def draw(self, shape: Shape, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """Numbers between low and high."""
        return rng.uniform(self.low, self.high, shape)


class LectureUniform(Uniform):
    """w ~ U(−0.1, 0.1): the initial weights of the lecture when it learns a 2D function."""

    name: ClassVar[str] = "lecture_uniform"


@frozen
class Normal(Initializer):
    """w ~ N(mean, standard_deviation²)."""

    mean: float = field(default=0.0, converter=finite)
    standard_deviation: float = field(default=0.05, converter=finite)
    name: ClassVar[str] = "normal"

    def __attrs_post_init__(self) -> None:
        if not self.standard_deviation >= 0:
            raise ConfigurationError(
                "Normal: the standard deviation is negative",
                expected="standard_deviation >= 0",
                received=self.standard_deviation,
            )

    def draw(self, shape: Shape, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """Normally distributed numbers."""
        return rng.normal(self.mean, self.standard_deviation, shape)


class _Scaled(_WithoutFields):
    """Draws values with the `variance` that follows from the numbers of connections."""

    uniform: ClassVar[bool]

    def variance(self, n_in: int, n_out: int) -> float:
        raise NotImplementedError

    def draw(self, shape: Shape, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        deviation = math.sqrt(self.variance(*connections(shape)))
        if self.uniform:
            limit = math.sqrt(3) * deviation  # U(−a, a) has the variance a²/3
            return rng.uniform(-limit, limit, shape)
        return rng.normal(0.0, deviation, shape)


class _Glorot(_Scaled):
    def variance(self, n_in: int, n_out: int) -> float:
        return 2.0 / max(1, n_in + n_out)


class _He(_Scaled):
    def variance(self, n_in: int, n_out: int) -> float:
        return 2.0 / max(1, n_in)


class _LeCun(_Scaled):
    def variance(self, n_in: int, n_out: int) -> float:
        return 1.0 / max(1, n_in)


class GlorotUniform(_Glorot):
    """w ~ U(−a, a) with a = √(6 / (n_in + n_out)). Glorot and Bengio 2010, equation 16."""

    name: ClassVar[str] = "glorot_uniform"
    uniform: ClassVar[bool] = True


class GlorotNormal(_Glorot):
    """w ~ N(0, 2 / (n_in + n_out)). Glorot and Bengio 2010, equation 12."""

    name: ClassVar[str] = "glorot_normal"
    uniform: ClassVar[bool] = False


class HeUniform(_He):
    """w ~ U(−a, a) with a = √(6 / n_in). He et al. 2015, equation 10."""

    name: ClassVar[str] = "he_uniform"
    uniform: ClassVar[bool] = True


class HeNormal(_He):
    """w ~ N(0, 2 / n_in). He et al. 2015, equation 10."""

    name: ClassVar[str] = "he_normal"
    uniform: ClassVar[bool] = False


class LeCunUniform(_LeCun):
    """w ~ U(−a, a) with a = √(3 / n_in). LeCun et al. 1998, section 4.6."""

    name: ClassVar[str] = "lecun_uniform"
    uniform: ClassVar[bool] = True


class LeCunNormal(_LeCun):
    """w ~ N(0, 1 / n_in). LeCun et al. 1998, section 4.6."""

    name: ClassVar[str] = "lecun_normal"
    uniform: ClassVar[bool] = False


@frozen
class Orthogonal(Initializer):
    """A matrix with orthonormal rows or columns, times ``gain``: wᵀ w = gain² 1 (or w wᵀ).

    If it has at most as many rows as columns, it scales the length of every vector by ``gain``.
    Saxe et al. 2014. All axes before the last are flattened into rows.
    """

    gain: float = field(default=1.0, converter=finite)
    name: ClassVar[str] = "orthogonal"

    def draw(self, shape: Shape, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """A matrix drawn uniformly from all orthogonal ones."""
        if len(shape) < 2:
            raise ShapeError(
                "Orthogonal: only a matrix can be orthogonal",
                expected="a shape with at least two axes",
                received=shape,
                hint="use another initializer for this parameter, such as 'zeros'",
            )
        rows, columns = math.prod(shape[:-1]), shape[-1]
        gaussian = rng.normal(size=(max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(gaussian)
        q = q * np.sign(np.diagonal(r))  # without the signs of r, q is not uniformly distributed
        return np.reshape(self.gain * (q if rows >= columns else q.T), shape)


@frozen
class Blocks(Initializer):
    """Equal blocks along one axis, each drawn as if it were alone, such as groups of channels.

    A unit of one block has no connections to the others, so they do not count for its variance.
    """

    initializer: Initializer
    count: int
    axis: int = -1

    def draw(self, shape: Shape, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """The blocks, next to each other."""
        sizes = list(shape)
        sizes[self.axis] //= self.count
        blocks = [self.initializer.draw(tuple(sizes), rng) for _ in range(self.count)]
        return np.concatenate(blocks, axis=self.axis)


def connections(shape: Shape) -> tuple[int, int]:
    """The numbers of connections (n_in, n_out) of a unit, from the shape of the weights."""
    if len(shape) < 2:
        n = math.prod(shape)
        return n, n
    positions = math.prod(shape[:-2])
    return shape[-2] * positions, shape[-1] * positions


KNOWN: dict[str, Callable[[], Initializer]] = {
    kind.name: kind
    for kind in (
        Zeros, Ones, Uniform, LectureUniform, Normal, GlorotUniform, GlorotNormal, HeUniform,
        HeNormal, LeCunUniform, LeCunNormal, Orthogonal,
    )
}  # fmt: skip
"""The initializers that can be given by name, without arguments."""


def get(initializer: str | float | Initializer) -> Initializer:
    """The initializer of that name, the constant of that value, or the object itself.

    Raises
    ------
    ConfigurationError
        The name is unknown; the message suggests the most similar one.
    """
    if isinstance(initializer, str) and initializer in KNOWN:
        return KNOWN[initializer]()
    if isinstance(initializer, Initializer):
        return initializer
    if isinstance(initializer, numbers.Real) and not isinstance(initializer, bool | np.bool_):
        return Constant(initializer)
    name = initializer if isinstance(initializer, str) else ""
    meant = nearest(name, KNOWN)
    hint = value_elsewhere(INITIALIZERS, name)
    if hint is None and meant:
        hint = f"did you mean {meant!r}?"
    elif isinstance(initializer, type) and issubclass(initializer, Initializer):
        hint = f"create an instance: {initializer.__name__}(…)"
    raise ConfigurationError(
        f"there is no initializer {shortened(initializer)}",
        expected=f"one of {', '.join(KNOWN)}, or an Initializer such as Constant(0.5)",
        received=described(initializer),
        hint=hint,
    )


if not TYPE_CHECKING:  # with a __getattr__, type checkers would accept any name

    def __getattr__(name: str) -> Any:
        raise missing_name(__name__, name)
