"""An equilibrium: a layer whose output is the fixed point of another one.

    z = f(x, z)        (x; θ) ↦ z

It is like a network of infinite depth that repeats one layer, but it remembers one evaluation only.
The implicit function theorem gives its derivative. With J = ∂f/∂z at the fixed point,

    dz = J dz + df    so    dz = (1 − J)⁻¹ df,    and back    λ = (1 − Jᵀ)⁻¹ Δ,  then ∂C/∂x = f_xᵀ λ

The system for λ is solved row by row, in the space that Δ, JᵀΔ, (Jᵀ)²Δ, … span (GMRES).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import field

from chainrule.calculus.dual import Dual
from chainrule.calculus.jet import Jet
from chainrule.calculus.jet_memory import innermost
from chainrule.calculus.replicas import Replica, unused_level, without_gradients
from chainrule.core.errors import ConvergenceError, ShapeError, SingularMatrixError
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of, label
from chainrule.core.types import Array, Shape
from chainrule.core.validators import a_tolerance, as_float, as_int, at_least_one, counted_or_zero
from chainrule.layers.reshape import plain
from chainrule.layers.wrappers import a_layer, is_shape, shape_of_state
from chainrule.physics.mechanics import refuse_state
from chainrule.physics.runge_kutta import column

Numbers: TypeAlias = npt.NDArray[Any]


class Equilibrium(Layer, repr=False):
    """The fixed point z = f(x, z) of a cell.

    Forward  z = f(x, z)
    Backward  λ = Δ + Jᵀ λ  with J = ∂f/∂z,  ∂C/∂x = (∂f/∂x)ᵀ λ,  ∂C/∂θ = (∂f/∂θ)ᵀ λ

    The iteration begins with z = 0 and ends for each row when z changes by less than
    ``tolerance · (1 + |z|)``, in the norm of the row.

    Parameters
    ----------
    cell
        The layer f. It has two inputs, x and z, and returns the next z, of the same shape. Any
        layer or `Graph` without random numbers and running statistics will do. There is exactly one
        fixed point if f is a contraction: if |∂f/∂z| < 1.
    tolerance
        The accuracy of z. It is at least 32 units in the last place: 7e-15, 4e-6 in float32.
    iterations
        The number of evaluations of f after which it gives up.
    memory
        How many earlier iterates the next one combines (Anderson's acceleration). 0 iterates
        z ← f(x, z).
    state_shape
        The shape of a row of z. By default it is found: it is what the cell returns.

    Raises
    ------
    DefinitionError
        If ``cell`` is not a layer.
    ConfigurationError
        If an argument is invalid, or the cell has random numbers.
    ShapeError
        If the cell returns another shape than that of z.
    BuildError
        If the shape of z cannot be found.
    ConvergenceError
        If a row does not reach the tolerance.
    SingularMatrixError
        If 1 − J cannot be inverted, so that the fixed point has no derivative.

    Source: S. Bai, J. Z. Kolter, V. Koltun, *Deep Equilibrium Models*, NeurIPS 2019; D. G.
    Anderson, *Iterative Procedures for Nonlinear Integral Equations*, J. ACM 12 (1965) 547.

    Examples
    --------
    Kepler's equation z = x + e sin z, for an orbit with e = 0.5:

    >>> class Kepler(Layer):
    ...     def forward(self, x, z):
    ...         self.z = z
    ...         return x + 0.5 * np.sin(z)
    ...     def backward(self, delta):
    ...         return delta, 0.5 * np.cos(self.z) * delta
    >>> layer = physics.Equilibrium(Kepler(), state_shape=(1,))
    >>> z = layer(np.array([[1.0]]))
    >>> (z - 0.5 * np.sin(z)).round(9)
    array([[1.]])
    """

    cell: Layer = field(validator=a_layer)
    tolerance: float = field(default=1e-12, converter=as_float, validator=a_tolerance, kw_only=True)
    iterations: int = field(
        default=200, converter=as_int, validator=at_least_one("iterations=200"), kw_only=True
    )
    memory: int = field(default=5, converter=as_int, validator=counted_or_zero, kw_only=True)
    state_shape: tuple[int, ...] | None = field(
        default=None, converter=plain, validator=is_shape, kw_only=True
    )

    def build(self, input_shape: Shape, **options: Any) -> None:
        self.fixed_shape = self.state_shape or shape_of_state(self, self.cell, input_shape)
        if not self.cell.is_built:
            self.cell.build(input_shape, self.fixed_shape)
        if self.cell.output_shapes != (self.fixed_shape,):
            raise ShapeError(
                f"{type(self).__name__}: the cell does not return a z like the one that it takes",
                expected=batch_of(self.fixed_shape),
                received=", ".join(map(batch_of, self.cell.output_shapes)),
                hint="Equilibrium(cell, state_shape=…) sets the shape of z",
            )
        refuse_state(self, self.cell)

    def forward(self, x: Array) -> Array:
        cell, inside = self.cell.twin(), Replica(self.cell)
        z = self._fixed_point(cell, innermost(x))
        level, at = unused_level(self.cell), (innermost(x), z)

        def product(dz: Numbers) -> Any:
            return innermost(inside.forward(at[0], Dual(at[1], dz, level)).tangent)

        for _ in range(self._nesting(x)):  # Newton's method, in dual numbers: one step for each
            z = z + solved(self, product, cell.forward(x, z) - z)
        self.x, self.z = x, z
        return z + 0.0  # the caller's own, in case it writes into it

    def backward(self, delta: Array) -> Array:
        cell, inside = Replica(self.cell), without_gradients(self.cell)[1]
        cell.forward(self.x, self.z)
        inside.forward(innermost(self.x), innermost(self.z))

        def product(row: Numbers) -> Any:
            return innermost(inside.backward(row)[1])

        force = solved(self, product, delta)  # λ
        for _ in range(self._nesting(self.x, self.z, delta)):
            force = force + solved(self, product, delta + cell.backward(force)[1] - force)
        cell.zero_grad()
        dx: Array = cell.backward(force)[0]
        self.cell.parameters.accumulate(cell.gradient())
        return dx

    def _nesting(self, *arrays: Any) -> int:
        """How many dual numbers are inside each other."""
        return max(map(nesting, (*arrays, *(p.value for p in self.cell.parameters))))

    def _fixed_point(self, cell: Layer, x: Numbers) -> Numbers:
        """Anderson's iteration, each row for itself."""
        z = np.zeros((len(x), *self.fixed_shape), x.dtype)
        rows = (len(x), math.prod(self.fixed_shape))
        tolerance = max(self.tolerance, 32 * float(np.finfo(x.dtype).eps))
        steps: list[Numbers] = []  # differences of z + g and of g between iterations
        changes: list[Numbers] = []
        before: Any = None
        is_moving = np.ones(len(x), bool)
        with np.errstate(all="ignore"):
            for _ in range(self.iterations):
                new = innermost(cell.forward(x, z))
                g = np.reshape(new - z, rows)
                size = np.sqrt(np.sum(g * g, axis=1))
                allowed = tolerance * (1 + np.sqrt(np.sum(np.reshape(z, rows) ** 2, axis=1)))
                is_moving = is_moving & ~(size <= allowed)
                if not np.any(is_moving):
                    return z
                if before is not None and self.memory:
                    steps = [*steps, np.reshape(new, rows) - before[0]][-self.memory :]
                    changes = [*changes, g - before[1]][-self.memory :]
                before = np.reshape(new, rows), g
                mixed = new - np.reshape(_mixture(steps, changes, g), new.shape)
                z = np.where(column(is_moving, z), mixed, z)
        row = int(np.flatnonzero(is_moving)[0])
        raise ConvergenceError(
            f"{label(self)}: the iteration of row {row} does not converge",
            expected=f"|f(x, z) - z| below {allowed[row]:.1e} in {self.iterations} iterations",
            received=f"{size[row]:.1e}",
            hint="z ← f(x, z) must be a contraction: make the weights of z smaller, such as with "
            "initializer=0.1; or raise iterations or tolerance",
        )


def _mixture(steps: list[Numbers], changes: list[Numbers], g: Numbers) -> Any:
    """What Anderson's iteration subtracts from f(x, z): Σ γ_j (step j).

    The γ make |g − Σ γ_j (change j)| small, by the normal equations, slightly damped.
    """
    if not changes:
        return 0.0 * g
    c = np.stack(changes, axis=1)  # (batch, memory, n)
    gram = c @ np.swapaxes(c, 1, 2)
    numbers = np.finfo(g.dtype)
    damping = 10 * numbers.eps * np.trace(gram, axis1=1, axis2=2) + numbers.tiny
    gram = gram + damping[:, np.newaxis, np.newaxis] * np.eye(len(changes), dtype=g.dtype)
    if not np.all(np.isfinite(gram)):
        return 0.0 * g
    weights = np.linalg.solve(gram, c @ g[..., np.newaxis])
    return np.sum(weights * np.stack(steps, axis=1), axis=1)


def solved(layer: Layer, product: Callable[[Numbers], Any], force: Any) -> Any:
    """The solution of (1 − A) z = force for each row, where product(z) is A z with plain numbers.

    GMRES: Y. Saad, M. H. Schultz, SIAM J. Sci. Stat. Comput. 7 (1986). It takes as many products
    as a row has entries, or fewer.
    """
    if isinstance(force, Dual):
        value, tangent = (solved(layer, product, part) for part in (force.value, force.tangent))
        return Dual(value, tangent, force.level)
    if isinstance(force, Jet):
        return force.made(np.stack([solved(layer, product, part) for part in force.parts]))
    batch, width = len(force), math.prod(force.shape[1:])
    eps = float(np.finfo(force.dtype).eps)
    start = np.reshape(force, (batch, width))
    size = np.linalg.norm(start, axis=1)
    basis = [_divided(start, size)]
    triangle: list[list[Numbers]] = []  # of the matrix in this basis, made by rotations
    rotations: list[tuple[Numbers, Numbers]] = []
    rest = (size > 0).astype(force.dtype)
    sides = [rest]
    while len(triangle) < width and np.any(rest > 4 * eps):
        moved = np.reshape(product(np.reshape(basis[-1], force.shape)), (batch, width))
        image, least = basis[-1] - moved, 4 * eps * (1 + np.linalg.norm(moved, axis=1))
        image, parts = _orthogonal(image, basis)
        length = np.linalg.norm(image, axis=1)
        parts.append(np.where(length > least, length, 0))
        basis.append(_divided(image, parts[-1]))
        for n, (c, s) in enumerate(rotations):
            parts[n : n + 2] = c * parts[n] + s * parts[n + 1], c * parts[n + 1] - s * parts[n]
        *parts, last = parts
        radius = np.hypot(parts[-1], last)
        is_found = radius > least
        radius = np.where(is_found, radius, 1)
        rotations.append(
            (np.where(is_found, parts[-1] / radius, 0), np.where(is_found, last / radius, 1))
        )
        triangle.append([*parts[:-1], radius])
        c, s = rotations[-1]
        sides[-1:] = c * sides[-1], -s * sides[-1]
        rest = np.abs(sides[-1])
    if np.any(is_wrong := ~(rest <= np.sqrt(eps))):
        row = int(np.flatnonzero(is_wrong)[0])
        raise SingularMatrixError(
            f"{label(layer)}: the fixed point of row {row} has no derivative",
            expected="1 - df/dz of full rank",
            received=f"a solution with the relative residual {rest[row]:.1e}",
            hint="an eigenvalue of df/dz is 1: the fixed point is not unique, or about to vanish",
        )
    solution, weights = np.zeros_like(start), sides[: len(triangle)]
    for n in reversed(range(len(triangle))):
        weights[n] = weights[n] / triangle[n][n]
        for m in range(n):
            weights[m] = weights[m] - triangle[n][m] * weights[n]
        solution = solution + (size * weights[n])[:, np.newaxis] * basis[n]
    return np.reshape(solution, force.shape)


def _orthogonal(rows: Numbers, basis: list[Numbers]) -> tuple[Numbers, list[Numbers]]:
    """What is left of the rows without their parts along a basis, and these parts."""
    parts: list[Any] = [0.0 for _ in basis]
    for _ in range(2):  # the second time for what rounding has left
        for n, unit in enumerate(basis):
            part = np.sum(rows * unit, axis=1)
            parts[n] = parts[n] + part
            rows = rows - part[:, np.newaxis] * unit
    return rows, parts


def _divided(rows: Numbers, by: Numbers) -> Numbers:
    """Each row divided by its number; zeros where that is zero."""
    return np.where(by > 0, 1 / np.where(by > 0, by, 1), 0)[:, np.newaxis] * rows


def nesting(x: Any) -> int:
    """The order of the derivatives that x carries; 0 for an array."""
    if isinstance(x, Jet):
        return (2 if x.pairs else 1) + nesting(x.parts)
    return 1 + max(nesting(x.value), nesting(x.tangent)) if isinstance(x, Dual) else 0
