"""Mechanics: a network for the energy, and a layer for the motion that follows from it.

    Hamiltonian    H(q, p)      q̇ = ∂H/∂p,  ṗ = −∂H/∂q
    Lagrangian     L(q, q̇)      M q̈ = ∂L/∂q − (∂²L/∂q̇∂q) q̇,  with the mass matrix M = ∂²L/∂q̇²

The output is already a derivative of the network, so `backward` needs derivatives of derivatives.
They are gradients of a number that a forward pass can compute: the derivative of H along a
direction v,

    ⟨v, ∂H/∂x⟩ = d/dε H(x + ε v)        so that    ∂/∂(x, θ) ⟨v, ∂H/∂x⟩

is what a backward pass gives after a forward pass with the `Jet` x + ε v. For a Lagrangian it is a
second derivative, along two directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import field

from chainrule.calculus.jet import Jet, JetDelta, Pairs
from chainrule.calculus.jet_memory import innermost
from chainrule.calculus.replicas import unused_level, without_gradients
from chainrule.core.arrays import has_values
from chainrule.core.errors import (
    ConfigurationError,
    ShapeError,
    SingularMatrixError,
)
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of, label
from chainrule.core.types import Array, Shape
from chainrule.layers.wrappers import a_layer, current_twins


def refuse_state(owner: Layer, inside: Layer) -> None:
    """Raise an error for random numbers or buffers in a layer that is evaluated repeatedly."""
    for path, member in inside.walk():
        if member._generators or member._buffers:
            raise ConfigurationError(
                f"{type(owner).__name__}: the layer inside must be a function of its input",
                place=path or None,
                expected="layers without random numbers and running statistics",
                received=label(member),
                hint="one pass evaluates it several times: leave out Dropout and BatchNorm there",
            )


class Mechanics(Layer, repr=False):
    """What both have in common: a network that maps a row of 2 n numbers to one number."""

    network: Layer = field(validator=a_layer)

    def build(self, input_shape: Shape, **options: Any) -> None:
        if len(input_shape) != 1 or input_shape[0] % 2:
            raise ShapeError(
                f"{type(self).__name__}: the rows are not pairs of coordinates and momenta",
                expected="(batch, 2 n): n coordinates, then their n momenta or velocities",
                received=batch_of(input_shape),
                hint="np.concatenate([q, p], axis=1)",
            )
        if not self.network.is_built:
            self.network.build(input_shape)
        if self.network.output_shapes not in (((1,),), ((),)):
            raise ShapeError(
                f"{type(self).__name__}: the network does not return one number for each row",
                expected="(batch, 1), an energy",
                received=", ".join(map(batch_of, self.network.output_shapes)),
                hint="end it with Dense(1)",
            )
        refuse_state(self, self.network)

    def _inside(self) -> Layer:
        """A copy of the network for a backward pass without gradients of its parameters."""
        self.copied = without_gradients(self.network, self.__dict__.get("copied"))
        return self.copied[1]

    def _outside(self) -> Layer:
        """The network with a memory of its own, for a backward pass with gradients."""
        self.moving = current_twins(self.network, self.__dict__.get("moving"))
        if not self.moving[1]:
            self.moving[1].append(self.network.twin())
        twin: Layer = self.moving[1][0]
        return twin


def gradient_of_part(network: Layer, parts: Sequence[Array], pairs: Pairs = ()) -> Any:
    """The derivatives of the last part of network(jet) for all parts of the jet.

    Those for the parameters are added to their gradients.
    """
    jet = Jet(np.stack(parts), pairs, unused_level(network, list(parts)))
    y = network.forward(jet)
    delta = np.zeros_like(y.parts)
    delta[-1] = 1
    return network.backward(JetDelta(delta, pairs, jet.level)).parts


class Hamiltonian(Mechanics, repr=False):
    """The motion that a network for the energy H(q, p) gives: Hamilton's equations.

    Forward  (q̇, ṗ) = (∂H/∂p, −∂H/∂q) = S g,  with g = ∂H/∂x for x = (q, p)
    Backward  ∂C/∂x = (∂²H/∂x²) v,  ∂C/∂θ = ∂⟨v, g⟩/∂θ,  with v = Sᵀ Δ

    Whatever the network computes, the motion conserves it, because dH/dt = ⟨g, S g⟩ = 0. Train the
    layer with measured velocities, or inside a `NeuralODE` with trajectories. The energy itself,
    up to a constant, is ``network(x)``.

    Parameters
    ----------
    network
        The layer H, with one number for each row. It must be a function of its input: no random
        numbers, no running statistics. Choose smooth activation functions, such as tanh.

    Raises
    ------
    DefinitionError
        If ``network`` is not a layer.
    ShapeError
        If the rows do not have an even length, or the network has another output.
    ConfigurationError
        If the network contains random numbers or running statistics.

    Source: S. Greydanus, M. Dzamba, J. Yosinski, *Hamiltonian Neural Networks*, NeurIPS 2019.

    Examples
    --------
    An oscillator, H = (q² + p²)/2, moves in a circle:

    >>> square = Activation(lambda x: x**2, lambda x: 2 * x)
    >>> energy = Sequential([square, Dense(1, use_bias=False, initializer=0.5)])
    >>> physics.Hamiltonian(energy)(np.array([[3.0, 4.0]]))
    array([[ 4., -3.]])
    """

    def forward(self, x: Array) -> Array:
        self.x, inside = x, self._inside()
        y = inside.forward(x)
        return turned(inside.backward(np.ones(y.shape, y.dtype)))

    def backward(self, delta: Array) -> Array:
        v = -turned(delta)  # S is a rotation by 90 degrees: its transpose is −S
        return np.copy(gradient_of_part(self._outside(), [self.x, v])[0])


def turned(rows: Array) -> Array:
    """S: (a, b) ↦ (b, −a)."""
    half = rows.shape[1] // 2
    return np.concatenate([rows[:, half:], -rows[:, :half]], axis=1)


class Lagrangian(Mechanics, repr=False):
    """The motion that a network for L(q, q̇) gives: the Euler-Lagrange equations.

    Forward  (q, q̇) ↦ (q̇, q̈) with M q̈ = ∂L/∂q − (∂²L/∂q̇∂q) q̇,  M = ∂²L/∂q̇²
    Backward  M λ = Δ_q̈;  with r(θ, q, q̇) = ⟨λ, ∂L/∂q − d/dt ∂L/∂q̇⟩ at fixed λ and q̈:
    ∂C/∂θ = ∂r/∂θ,  ∂C/∂(q, q̇) = ∂r/∂(q, q̇) + (0, Δ_q̇)

    The output is the velocity of the row: the first half is q̇ as it came in, the second half q̈.
    So the layer is the field of a `NeuralODE`. Coordinates may be of any kind, such as angles; no
    momenta have to be known.

    Parameters
    ----------
    network
        The layer L, as for `Hamiltonian`. Its second derivatives must not vanish: tanh or softplus,
        not relu.

    Raises
    ------
    DefinitionError, ShapeError, ConfigurationError
        As for `Hamiltonian`.
    SingularMatrixError
        If M cannot be inverted for a row: L does not determine its acceleration.

    Source: M. Cranmer et al., *Lagrangian Neural Networks*, ICLR 2020 workshop on deep differential
    equations.

    Examples
    --------
    An oscillator with the mass 2 and the spring constant 6, L = q̇² − 3 q²:

    >>> square = Activation(lambda x: x**2, lambda x: 2 * x)
    >>> network = Sequential([square, Dense(1, use_bias=False)])
    >>> network.build((2,))
    >>> network.parameters.value = [-3.0, 1.0]
    >>> physics.Lagrangian(network)(np.array([[1.0, 5.0]]))
    array([[ 5., -3.]])
    """

    def forward(self, x: Array) -> Array:
        half = x.shape[1] // 2
        velocity = x[:, half:]
        # One pass gives the Hessian times the n directions of q̇, and times the velocity in q.
        along = np.concatenate([velocity, np.zeros_like(velocity)], axis=1)
        units = np.eye(2 * half, dtype=x.dtype)[half:]
        directions = [*(np.zeros_like(x) + unit for unit in units), along]
        rows = [np.concatenate([x] * (half + 1)), np.concatenate(directions)]
        parts = gradient_of_part(self._inside(), rows)
        products, gradient = np.reshape(parts[0], (half + 1, *x.shape)), parts[1, : len(x)]
        mass = np.swapaxes(products[:half, :, half:], 0, 1)
        force = gradient[:, :half] - products[half, :, half:]
        require_regular(self, mass)
        acceleration = np.linalg.solve(mass, force[..., np.newaxis])[..., 0]
        self.x, self.mass, self.acceleration = x, mass, acceleration
        return np.concatenate([velocity, acceleration], axis=1)

    def backward(self, delta: Array) -> Array:
        half = delta.shape[1] // 2
        of_velocity, of_acceleration = delta[:, :half], delta[:, half:]
        mass = np.swapaxes(self.mass, 1, 2)
        force = np.linalg.solve(mass, of_acceleration[..., np.newaxis])[..., 0]  # λ
        still = np.zeros_like(force)
        motion = np.concatenate([self.x[:, half:], self.acceleration], axis=1)
        # d/dt ∂L/∂q̇ is the derivative along the motion, and ⟨λ, ·⟩ one along (0, λ). So r is minus
        # a second derivative of L, with −⟨λ, ∂L/∂q⟩ as that along a velocity of velocities.
        push = np.concatenate([still, force], axis=1)
        bend = np.concatenate([force, still], axis=1)
        parts = gradient_of_part(self._outside(), [self.x, -push, motion, bend], ((0, 1),))
        # The motion contains q̇ itself.
        of_motion = np.concatenate([still, of_velocity + parts[2, :, :half]], axis=1)
        return parts[0] + of_motion


def require_regular(layer: Layer, matrices: Any) -> None:
    """Raise an error if a matrix, one for each row of the batch, cannot be inverted."""
    plain = innermost(matrices)
    if not has_values(plain) or not plain.size or not np.all(np.isfinite(plain)):
        return  # what is not finite is found where it appears
    sizes = np.linalg.svd(plain, compute_uv=False)
    largest, smallest = sizes[:, 0], sizes[:, -1]
    is_singular = ~(smallest > np.finfo(plain.dtype).eps * largest)
    if np.any(is_singular):
        row = int(np.argmax(is_singular))
        raise SingularMatrixError(
            f"{type(layer).__name__}: the mass matrix of row {row} cannot be inverted",
            expected="∂²L/∂q̇² of full rank",
            received=f"singular values from {largest[row]:.1e} to {smallest[row]:.1e}",
            hint="L must depend on every velocity, with curvature: tanh or softplus, not relu; "
            "and parameters that are not zero",
        )
