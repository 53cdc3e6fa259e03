"""The covariance of fitted parameters, from the singular values of the Jacobian.

    J D⁻¹ = U S Vᵀ        C = (Jᵀ J)⁻¹ = D⁻¹ V S⁻² Vᵀ D⁻¹        D: the lengths of J's columns

The columns are scaled first, so the units of the parameters do not matter. A singular value below
10⁻¹⁰ of the largest is a direction that the data do not determine: (Jᵀ J)⁻¹ does not exist, and
what depends on this direction is infinitely uncertain. Everything else keeps its error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

CUTOFF = 1e-10
"""Singular values below this fraction of the largest count as zero."""
NEGLIGIBLE = 1e-6
"""A direction that has at most this share in an undetermined one does not depend on it."""


@frozen(eq=False)
class Spread:
    """C as a product F Fᵀ, and the directions that have none."""

    factor: Any
    """F, (p, rank)."""
    undetermined: Any
    """Directions of D θ without information, (p, p − rank), orthonormal."""
    lengths: Any
    """D, (p,)."""

    @property
    def rank(self) -> int:
        """The number of directions that the data determine."""
        return int(self.factor.shape[1])

    @property
    def covariance(self) -> Any:
        """C, (p, p), where infinities belong to undetermined directions."""
        covariance = self.factor @ self.factor.T
        if self.undetermined.size:
            shares = self.undetermined @ self.undetermined.T
            is_infinite = np.abs(shares) > NEGLIGIBLE**2
            covariance[is_infinite] = np.copysign(np.inf, shares[is_infinite])
        return covariance

    def variances(self, directions: Any) -> Any:
        """gᵀ C g for each g in the last axis, which is infinite if g is not determined."""
        found = np.square(directions @ self.factor).sum(axis=-1)
        if self.undetermined.size:
            scaled = directions / self.lengths
            size = np.linalg.norm(scaled, axis=-1)
            share = np.linalg.norm(scaled @ self.undetermined, axis=-1)
            found = np.where(share > NEGLIGIBLE * size, np.inf, found)
        return found


def spread_of(jacobian: Any) -> Spread:
    """The spread of parameters whose residuals have this Jacobian, (n, p)."""
    lengths = np.sqrt(np.einsum("np,np->p", jacobian, jacobian))
    lengths[lengths == 0] = 1.0
    _, s, v = np.linalg.svd(jacobian / lengths, full_matrices=len(jacobian) < len(lengths))
    if len(s) < len(v):
        s = np.concatenate([s, np.zeros(len(v) - len(s))])
    is_kept = s > CUTOFF * s.max(initial=0)
    factor = v[is_kept].T / s[is_kept] / lengths[:, None]
    return Spread(factor, v[~is_kept].T, lengths)
