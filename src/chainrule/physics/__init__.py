"""Physics: layers whose outputs contain derivatives of a network, or solutions of equations.

    Derivatives     x ↦ u, ∂u/∂x_i, ∂²u/∂x_i∂x_j              differential equations as losses
    Hamiltonian     (q, p) ↦ (∂H/∂p, −∂H/∂q)                  motion that conserves energy

Each is a layer with an exact `backward`, so it trains, saves and nests like any other.
"""

from __future__ import annotations

from chainrule.physics.derivatives import Derivatives

__all__ = ["Derivatives"]
