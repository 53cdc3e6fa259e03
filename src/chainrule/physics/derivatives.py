"""Derivatives as outputs of a layer: u, ∂u/∂x_i and ∂²u/∂x_i∂x_j of a network u(x).

A differential equation is then a loss like any other. Its residual, such as

    r = ∂u/∂t + u ∂u/∂x − ν ∂²u/∂x²

is computed from these outputs by a `Formula`, and a network for which ⟨r²⟩ is zero solves it.

The layer sends a `Jet` through the network: x with a direction e_i for each column. The output
contains the exact derivatives. Its `backward` sends the deltas of all outputs back together, as a
`JetDelta`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import field

from chainrule.calculus.jet import Jet, JetDelta, Pairs
from chainrule.calculus.replicas import unused_level
from chainrule.core.errors import ConfigurationError, NoTangentRuleError, ShapeError
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.types import Array, Shape
from chainrule.core.validators import is_integer
from chainrule.layers.wrappers import a_layer


class Derivatives(Layer):
    """The value and the derivatives of a network: x ↦ (u, ∂u/∂x, ∂²u/∂x²).

    Forward  u(x),  u_i = ∂u/∂x_i,  u_ij = ∂²u/∂x_i∂x_j
    Backward  ∂C/∂x and ∂C/∂θ of a cost C that depends on all three

    Parameters
    ----------
    network
        The network u(x; θ): a layer whose rows are vectors of d numbers, mapped to n numbers. The
        rows of a batch must not influence each other. Choose smooth activation functions, such as
        tanh: the second derivative of relu is zero.
    order
        1 for u and ∂u/∂x; 2 for second derivatives, too.
    second
        Which second derivatives, such as ``[(0, 0), (1, 1)]``; all if not given. Those that are not
        needed cost time.

    Returns
    -------
    u, first, second
        For n = 1, (batch,), (batch, d) and (batch, d, d), or (batch, len(second)) if these are
        named. Otherwise each has an axis of n after the batch: (batch, n), (batch, n, d),
        (batch, n, d, d).

    Raises
    ------
    ConfigurationError
        If the order is neither 1 nor 2, ``second`` names something other than pairs of columns, or
        the rows of a batch influence each other in the network.
    ShapeError
        If the rows are not vectors, or the network has several inputs or outputs.

    Notes
    -----
    Pages: "Solve a differential equation". Time and memory grow with 1 + d + the number of second
    derivatives. Theory: A. Griewank, A. Walther, *Evaluating Derivatives* (2008), chapter 13.

    Examples
    --------
    u = x³ has the derivatives 3 x² and 6 x:

    >>> cube = Activation(lambda x: x**3, lambda x: 3 * x**2)
    >>> layer = physics.Derivatives(cube, order=2)
    >>> u, first, second = layer(np.array([[2.0]]))
    >>> u, first, second
    (array([8.]), array([[12.]]), array([[[12.]]]))
    """

    network: Layer = field(validator=a_layer)
    order: int = field(default=1)
    second: Any = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.order not in (1, 2) or isinstance(self.order, bool):
            raise ConfigurationError(
                "Derivatives: unknown order",
                expected="1 for u and ∂u/∂x, or 2 for second derivatives, too",
                received=repr(self.order),
            )
        if self.second is not None:
            self.second = _pairs_of(self.second, self.order)

    def build(self, input_shape: Shape, **options: Any) -> None:
        if len(input_shape) != 1:
            raise ShapeError(
                "Derivatives: the rows of the input are not vectors",
                expected="(batch, d)",
                received=batch_of(input_shape),
                hint="one input with the coordinates as columns: np.stack([x, t], axis=1)",
            )
        for path, layer in self.network.walk():
            if layer.couples_batch:
                raise ConfigurationError(
                    f"Derivatives: the rows of a batch influence each other in {layer!r}",
                    place=path or None,
                    expected="layers that treat each row independently",
                    received=f"{type(layer).__name__}.couples_batch is True",
                    hint="leave it out, or use LayerNorm instead of BatchNorm",
                )
        if not self.network.is_built:
            self.network.build(input_shape)
        shapes = self.network.output_shapes
        if len(shapes) != 1 or len(shapes[0]) > 1:
            raise ShapeError(
                "Derivatives: the network must have one output, a vector or a number for each row",
                expected="(batch, n)",
                received=", ".join(map(batch_of, shapes)),
            )
        wrong = [pair for pair in self.second or () if max(pair) >= input_shape[0]]
        if wrong:
            raise ConfigurationError(
                "Derivatives: second names a column that the input has not",
                expected=f"pairs of numbers from 0 to {input_shape[0] - 1}",
                received=repr(wrong[0]),
            )

    def forward(self, x: Array) -> Any:
        jet = self._jet(x)
        self.level = jet.level
        return self._outputs(self.network.forward(jet))

    def backward(self, delta: Any) -> Array:
        dx = self.network.backward(self._delta(delta))
        if not isinstance(dx, JetDelta):
            raise NoTangentRuleError(
                "Derivatives: the backward of the network returned something else than a delta",
                place=type(self.network).__name__,
                received=type(dx).__name__,
                hint="in a layer that writes into a new array, create it with np.zeros_like(delta)",
            )
        return np.copy(dx.constant_part)

    def backward_parameters(self, delta: Any) -> None:
        self.network.backward_parameters(self._delta(delta))

    def apply(self, x: Array) -> Any:
        return self._outputs(self.network.apply(self._jet(x)))

    def _pairs(self) -> Pairs:
        """The second derivatives that the jets carry."""
        d = self.input_shape[0] if self.order == 2 else 0
        wanted = (
            [(i, j) for i in range(d) for j in range(d)] if self.second is None else self.second
        )
        return tuple(dict.fromkeys((min(p), max(p)) for p in wanted))

    def _places(self) -> list[int]:
        """The part of a jet that holds each second derivative of the output."""
        pairs, d = self._pairs(), self.input_shape[0]
        part = {pair: 1 + d + n for n, pair in enumerate(pairs)}
        if self.second is not None:
            return [part[min(p), max(p)] for p in self.second]
        return [part[min(i, j), max(i, j)] for i in range(d) for j in range(d)] if pairs else []

    def _jet(self, x: Array) -> Jet:
        """The input x with a direction for each of its columns."""
        pairs, (batch, d) = self._pairs(), x.shape
        parts = np.zeros((1 + d + len(pairs), batch, d), x.dtype, like=x)
        parts[0] = x
        parts[1 : 1 + d] = np.eye(d, dtype=x.dtype)[:, np.newaxis, :]
        return Jet(parts, pairs, unused_level(self.network, x))

    def _outputs(self, jet: Any) -> Any:
        """(batch, …), (batch, …, d), (batch, …, d, d) from the parts of a jet."""
        d, parts = self.input_shape[0], jet.parts
        if parts.ndim == 3 and parts.shape[2] == 1:
            parts = parts[:, :, 0]
        value, first = np.copy(parts[0]), np.copy(np.moveaxis(parts[1 : 1 + d], 0, -1))
        if self.order == 1:
            return value, first
        second = np.copy(np.moveaxis(parts[self._places()], 0, -1))
        if self.second is None:
            second = np.reshape(second, (*second.shape[:-1], d, d))
        return value, first, second

    def _delta(self, deltas: Any) -> JetDelta:
        """The deltas of the outputs as the parts of one."""
        value, first, *second = deltas
        pairs, d = self._pairs(), self.input_shape[0]
        parts = np.zeros((1 + d + len(pairs), *value.shape), value.dtype, like=value)
        parts[0] = value
        parts[1 : 1 + d] = np.moveaxis(first, -1, 0)
        for dsecond in second:
            flat = np.reshape(dsecond, (*value.shape, len(self._places())))
            for n, part in enumerate(self._places()):
                parts[part] += flat[..., n]
        (rows,) = self.network.output_shapes
        return JetDelta(np.reshape(parts, (*parts.shape[:2], *rows)), pairs, self.level)


def _pairs_of(given: Any, order: int) -> tuple[tuple[int, int], ...]:
    """The pairs of columns that the user named."""
    pairs = list(given) if isinstance(given, list | tuple) else None
    if (
        order == 2
        and pairs is not None
        and all(
            isinstance(p, list | tuple) and len(p) == 2 and all(is_integer(n) and n >= 0 for n in p)
            for p in pairs
        )
    ):
        return tuple((int(i), int(j)) for i, j in pairs)
    raise ConfigurationError(
        "Derivatives: second must name pairs of columns"
        if order == 2
        else "Derivatives: second derivatives need order=2",
        expected="pairs of columns, such as second=[(0, 0), (1, 1)]",
        received=repr(given),
    )
