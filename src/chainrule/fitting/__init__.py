"""Fitting: parameters with error bars, and minimization with second derivatives.

A model f(x; θ) is compared with measurements t of standard deviation σ,

    χ²(θ) = Σ_s ((f(x_s; θ) − t_s)/σ_s)²        covariance of θ  =  (Jᵀ J)⁻¹,    J = ∂(f/σ)/∂θ

The solvers are SciPy's (the extra ``scipy``). The exact J, gradient and Hessian products come from
the layers.

    curves          `curve`: a plain function f(x, a, b) as a model
    least_squares   `least_squares`: the fit
    fit             `Fit`: its result, with `estimate`, `profile`, `report`, `drawing`
    problem         residuals and Jacobian, with `arguments`, `noise`, `evaluation`
    solver          SciPy's solvers; `spread` has the covariance
    laplace         `Laplace`: error bars for a network that is already trained
    minimize        `minimize`, `Minimum`: any loss, by the solvers of SciPy
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule.core.hints import missing_name
from chainrule.fitting.curves import Curve, curve
from chainrule.fitting.estimate import Estimate
from chainrule.fitting.fit import Fit
from chainrule.fitting.laplace import Laplace
from chainrule.fitting.least_squares import least_squares
from chainrule.fitting.minimize import Minimum, minimize

__all__ = ["Curve", "Estimate", "Fit", "Laplace", "Minimum", "curve", "least_squares", "minimize"]


if not TYPE_CHECKING:  # with a __getattr__, type checkers would accept any name

    def __getattr__(name: str) -> Any:
        raise missing_name(__name__, name)
