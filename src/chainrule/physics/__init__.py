"""Physics: layers whose outputs contain derivatives of a network, or solutions of equations.

    Derivatives     x ↦ u, ∂u/∂x_i, ∂²u/∂x_i∂x_j              differential equations as losses

    mechanics       Hamiltonian: (q, p) ↦ (∂H/∂p, −∂H/∂q)     motion that conserves energy
                    Lagrangian: (q, q̇) ↦ (q̇, q̈)               motion in any coordinates
    neural_ode      NeuralODE: ẏ = f(y), y_0 ↦ y(t_1), …      trajectories of a learned field
    runge_kutta     its solvers, forwards and backwards
    equilibrium     Equilibrium: x ↦ z with z = f(x, z)       what an iteration converges to

Each is a layer with an exact `backward`, so it trains, saves and nests like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule.core.hints import missing_name
from chainrule.physics.derivatives import Derivatives
from chainrule.physics.equilibrium import Equilibrium
from chainrule.physics.mechanics import Hamiltonian, Lagrangian
from chainrule.physics.neural_ode import NeuralODE

__all__ = ["Derivatives", "Equilibrium", "Hamiltonian", "Lagrangian", "NeuralODE"]


if not TYPE_CHECKING:  # with a __getattr__, type checkers would accept any name

    def __getattr__(name: str) -> Any:
        raise missing_name(__name__, name)
