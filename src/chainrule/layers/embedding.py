"""The embedding layer: a learned vector for each entry of a table, such as a word or an atom type.

    y = w[t]        row t of w,        the product of w with the one-hot vector of t

The input consists of integers t, called tokens. The product with a one-hot vector would multiply by
zeros almost everywhere, so the layer looks the row up instead. On the backward pass, each row of w
collects the deltas of all places where its token occurs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import field

from chainrule.core import initializers
from chainrule.core.arrays import has_values
from chainrule.core.equations import Equations
from chainrule.core.errors import BuildError, DataError
from chainrule.core.initializers import Initializer, Normal
from chainrule.core.layer import Layer
from chainrule.core.types import Array, RowPattern, Shape
from chainrule.core.validators import as_int, at_least_one

CLOSE = 1e-3
"""A token may be so far from an integer: a float may have been rounded."""


_a_size = at_least_one("Embedding(entries, units), such as Embedding(1000, 16) for 1000 words")


class Embedding(Layer, repr=False):
    """y = w[t], a row of a table for each token.

    Forward  y_…k = w_tk  with the token t = x_…
    Backward  ∂C/∂w_tk = Σ Δ_…k over all places with this token,  with Δ = ∂C/∂y;  the delta of the
    tokens, which do not move, is 0

    Rows of any shape are allowed: (batch, …) becomes (batch, …, units). Inside a model all numbers
    have one type, so tokens may be floats; they are rounded.

    Parameters
    ----------
    entries
        The size of the table: tokens are integers from 0 to ``entries`` − 1.
    units
        The length of each vector.
    initializer
        The distribution of the initial w; by default normal with standard deviation 1.

    Attributes
    ----------
    weights : Parameter
        w, of shape (entries, units).

    Raises
    ------
    ConfigurationError
        If ``entries`` or ``units`` is not an integer of at least 1, or the initializer is unknown.
    DataError
        If a token is not an integer, or not in the table.
    BuildError
        If the dtype of the model cannot represent all tokens: float32 ends at 2²⁴.

    Examples
    --------
    >>> layer = Embedding(3, 2)
    >>> layer.build((2,))
    >>> layer.weights.value = [[0, 0], [1, 10], [2, 20]]
    >>> layer(np.array([[2, 1]]))
    array([[[ 2., 20.],
            [ 1., 10.]]])
    """

    entries: int = field(converter=as_int, validator=_a_size)
    units: int = field(converter=as_int, validator=_a_size)
    initializer: str | float | Initializer = field(
        default=Normal(standard_deviation=1.0), converter=initializers.get
    )

    def build(self, input_shape: Shape, **options: Any) -> None:
        if self.entries - 1 > 2 / float(np.finfo(self.dtype).eps):
            raise BuildError(
                f"{self!r}: {self.dtype} cannot represent all tokens",
                expected="float64 for a table of this size",
                received=self.dtype,
                hint="build(input_shape, dtype='float64')",
            )
        self.weights = self.parameter("weights", (self.entries, self.units), self.initializer)

    def forward(self, inputs: Array) -> Array:
        self.tokens = self._tokens(inputs)
        return np.take(self.weights.value, self.tokens, axis=0)

    def backward(self, delta: Array) -> Array:
        self.backward_parameters(delta)
        return np.zeros_like(delta, shape=self.tokens.shape)

    def backward_parameters(self, delta: Array) -> None:
        # One index for each number: for these, np.add.at is several times faster than for rows.
        numbers = self.tokens[..., np.newaxis] * self.units + np.arange(self.units)
        gradient = np.zeros_like(delta, shape=(self.entries * self.units,))
        np.add.at(gradient, np.ravel(numbers), np.ravel(delta))
        self.weights.accumulate(np.reshape(gradient, (self.entries, self.units)))

    def apply(self, inputs: Array) -> Array:
        return np.take(self.weights.value, self._tokens(inputs), axis=0)

    @property
    def accepted_shapes(self) -> tuple[RowPattern, ...]:
        return ((...,),)

    def equations(self) -> Equations:
        one_hot = f"np.where(np.expand_dims(x, -1) == np.arange({self.entries}), 1, 0)"
        columns = f"{one_hot}.reshape(-1, {self.entries}).T"
        return Equations(
            f"{one_hot} @ weights",
            "np.zeros_like(x)",
            {"weights": f"{columns} @ delta.reshape(-1, {self.units})"},
        )

    def _tokens(self, inputs: Array) -> Array:
        """The tokens as integers; an error for the first that is not in the table."""
        if not has_values(inputs):
            return np.rint(inputs).astype(np.intp)
        with np.errstate(invalid="ignore"):  # nan
            tokens = np.rint(inputs).astype(np.intp)
        fits = (np.abs(inputs - tokens) <= CLOSE) & (tokens >= 0) & (tokens < self.entries)
        if not fits.all():
            place = tuple(map(int, np.argwhere(~fits)[0]))
            raise DataError(
                f"{self!r}: a token is not in the table",
                expected=f"integers from 0 to {self.entries - 1}",
                received=f"{inputs[place]:.10g} at [{', '.join(map(str, place))}]",
                hint="entries is the largest token plus 1",
            )
        return tokens
