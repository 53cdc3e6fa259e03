"""The dense layer: every output is connected to every input.

    z_k = Σ_j y_j w_jk + b_k            for a batch of rows:  z = y w + b

Rows of higher rank, such as the time steps of a series, are many vectors: the layer acts on the
last axis, with the same w and b for all of them.

This z is the first half of the lecture's step from layer to layer. The second half, f(z), is a
separate layer, `Activation`.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field

from chainrule.core import initializers
from chainrule.core.acceleration import FEW, IN_USE
from chainrule.core.equations import Equations
from chainrule.core.errors import ConfigurationError, ShapeError, shortened
from chainrule.core.hints import activation_named
from chainrule.core.initializers import GlorotUniform, Initializer, Zeros
from chainrule.core.layer import Layer
from chainrule.core.types import Array, RowPattern, Shape
from chainrule.core.validators import as_int, is_integer

if TYPE_CHECKING:
    import numpy.typing as npt


def _as_width(units: int) -> int:
    width: int = as_int(units)  # pyright takes the type of the argument from this function
    return width


def _require_width(layer: Dense, attribute: Any, units: Any) -> None:
    if not is_integer(units) or units < 1:
        raise ConfigurationError(
            "Dense: units must be the number of outputs",
            expected="an integer of at least 1",
            received=f"units={shortened(units)}",
            hint=_hint_for_width(units),
        )


def _hint_for_width(units: Any) -> str | None:
    if isinstance(units, float) and units >= 1 and units.is_integer():
        return f"Dense({int(units)})"
    if isinstance(units, np.ndarray) or hasattr(units, "extended_by"):
        return "first the layer, then its input: Dense(3)(x)"
    return None


def _require_flag(layer: Dense, attribute: Any, use_bias: Any) -> None:
    if not isinstance(use_bias, bool):
        raise ConfigurationError(
            "Dense: use_bias must be True or False",
            expected=f"Dense({layer.units}) or Dense({layer.units}, use_bias=False)",
            received=f"Dense({layer.units}, {shortened(use_bias)})",
            hint=_hint_for_flag(layer.units, use_bias),
        )


def _hint_for_flag(units: int, given: Any) -> str | None:
    """What a user of another library most likely meant by the second argument."""
    if isinstance(given, str):
        meant = activation_named(given)
        if meant is None:
            return "use_bias=True or use_bias=False"
        is_layer = meant.startswith("Activation(")
        return (
            f"an activation is a layer of its own: [Dense({units}), {meant}]" if is_layer else meant
        )
    if callable(given) or type(given).__name__ == "Activation":
        return f"an activation is a layer of its own: [Dense({units}), Activation(…)]"
    if is_integer(given):
        return f"Dense({given}) if these are n_in and n_out: the first batch sets n_in"
    return None


class Dense(Layer, repr=False):
    """z = y w + b, an affine map of every row.

    Forward  z = y w + b
    Backward  ∂C/∂y = Δ wᵀ,  ∂C/∂w = yᵀ Δ,  ∂C/∂b = Σ_rows Δ,  with Δ = ∂C/∂z

    The vectors y are the last axis: (batch, …, n_in) becomes (batch, …, n_out), and the sums are
    over all other axes. Only n_in is fixed; the other axes may differ from batch to batch.

    As the chain rule demands, the gradients are sums over the rows of the batch. The average over
    the batch belongs to the cost, so its 1/batch is already in Δ.

    Parameters
    ----------
    units
        The number of outputs, n_out.
    use_bias
        Whether to add b.
    initializer
        The distribution of the initial w: a name such as ``"glorot_uniform"``, a number, or an
        `Initializer`.
    bias_initializer
        The same for b.

    Attributes
    ----------
    weights : Parameter
        w, of shape (n_in, n_out).
    biases : Parameter
        b, of shape (n_out,); only if ``use_bias``.

    Raises
    ------
    ConfigurationError
        If ``units`` is not an integer of at least 1, ``use_bias`` not a bool, or an initializer is
        unknown.
    ShapeError
        If the rows are single numbers.

    Examples
    --------
    >>> layer = Dense(2, initializer="ones")
    >>> layer.build((3,))
    >>> layer(np.array([[1.0, 2.0, 3.0]]))
    array([[6., 6.]])
    """

    units: int = field(converter=_as_width, validator=_require_width)
    use_bias: bool = field(default=True, validator=_require_flag)
    # Initializers, once converted; mypy ignores the converters of a dataclass_transform.
    initializer: str | float | Initializer = field(
        default=GlorotUniform(), converter=initializers.get
    )
    bias_initializer: str | float | Initializer = field(default=Zeros(), converter=initializers.get)

    def build(self, input_shape: Shape, **options: Any) -> None:
        if not input_shape:
            raise ShapeError(
                f"{self!r}: the rows of the input are not vectors",
                expected="(batch, …, n)",
                received="(batch,)",
                hint="make each number a vector: x[:, np.newaxis]",
            )
        shape = (input_shape[-1], self.units)
        self.weights = self.parameter("weights", shape, self.initializer)
        if self.use_bias:
            self.biases = self.parameter("biases", (self.units,), self.bias_initializer)

    def forward(self, inputs: Array) -> Array:
        self.inputs = inputs
        return self._affine(inputs)

    def backward(self, delta: Array) -> Array:
        self._accumulate(delta)
        return product(delta, self.weights.value.T)

    def backward_parameters(self, delta: Array) -> None:
        self._accumulate(delta)

    def apply(self, inputs: Array) -> Array:
        return self._affine(inputs)

    @property
    def accepted_shapes(self) -> tuple[RowPattern, ...]:
        return ((..., self.input_shape[-1]),)

    def equations(self) -> Equations:
        gradients = {"weights": "x.T @ delta", "biases": "delta.sum(axis=0)"}
        if len(self.input_shape) > 1:  # sums over all vectors of all rows
            n, axes = self.input_shape[-1], tuple(range(len(self.input_shape)))
            gradients["weights"] = f"x.reshape(-1, {n}).T @ delta.reshape(-1, {self.units})"
            gradients["biases"] = f"delta.sum(axis={axes})"
        if self.use_bias:
            return Equations("x @ weights + biases", "delta @ weights.T", gradients, letter="z")
        del gradients["biases"]
        return Equations("x @ weights", "delta @ weights.T", gradients, letter="z")

    def _affine(self, inputs: Array) -> Array:
        outputs = product(inputs, self.weights.value)
        if self.use_bias:
            outputs += self.biases.value
        return outputs

    def _accumulate(self, delta: Array) -> None:
        inputs = self.inputs
        if delta.ndim != 2:
            inputs, delta = vectors(inputs), vectors(delta)
        self.weights.accumulate_product(inputs.T, delta)
        if self.use_bias:
            self.biases.accumulate_product(ones(len(delta), delta.dtype), delta)


def product(rows: Array, matrix: Array) -> Array:
    """The product with the last axis of rows of any rank, as one product of two matrices."""
    dot = np.dot if rows.size <= FEW else IN_USE.dot
    if rows.ndim == 2:
        return dot(rows, matrix)
    return np.reshape(dot(vectors(rows), matrix), (*rows.shape[:-1], matrix.shape[1]))


def vectors(rows: Array) -> Array:
    """All vectors along the last axis, as the rows of one matrix."""
    return np.reshape(rows, (math.prod(rows.shape[:-1]), rows.shape[-1]))


@functools.lru_cache(maxsize=16)
def ones(batch: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The vector 1 in Σ_rows Δ = 1ᵀ Δ: BLAS sums columns faster than delta.sum(axis=0)."""
    ones = np.ones(batch, dtype)
    ones.flags.writeable = False
    return ones
