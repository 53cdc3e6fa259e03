"""Functions of scipy.special have derivatives: the formulas agree with mpmath."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import scipy.special as sp

from chainrule import Dual, fitting
from chainrule.calculus.jet import Jet
from chainrule.calculus.tape import Tape
from chainrule.core.errors import NoTangentRuleError

EVERYWHERE, POSITIVE = (-2.3, -0.4, 0.0, 0.3, 1.7, 4.2), (0.3, 1.7, 4.2)
EXACT = {
    "erf": (mpmath.erf, EVERYWHERE),
    "erfc": (mpmath.erfc, EVERYWHERE),
    "erfcx": (lambda x: mpmath.exp(x * x) * mpmath.erfc(x), EVERYWHERE),
    "ndtr": (mpmath.ncdf, EVERYWHERE),
    "expit": (lambda x: 1 / (1 + mpmath.exp(-x)), (*EVERYWHERE, 40.0, -40.0)),
    "log_expit": (lambda x: -mpmath.log(1 + mpmath.exp(-x)), EVERYWHERE),
    "gamma": (mpmath.gamma, (-2.3, -0.4, *POSITIVE)),
    "gammaln": (lambda x: mpmath.log(abs(mpmath.gamma(x))), (-2.3, -0.4, *POSITIVE)),
    "digamma": (mpmath.digamma, (-2.3, -0.4, *POSITIVE)),
    "j0": (lambda x: mpmath.besselj(0, x), EVERYWHERE),
    "j1": (lambda x: mpmath.besselj(1, x), EVERYWHERE),
}


@pytest.mark.parametrize("name", EXACT)
def test_first_and_second_derivatives_agree_with_mpmath(name):
    exact, places = EXACT[name]
    for x in places:
        with mpmath.workdps(40):
            expected = [float(mpmath.diff(exact, x, order)) for order in (0, 1, 2)]
        jet = getattr(sp, name)(Jet(np.array([x, 1.0, 0.0]), ((0, 0),)))
        dual = getattr(sp, name)(Dual(Dual(x, 1.0), 1.0))
        np.testing.assert_allclose(jet.parts, expected, rtol=1e-12, atol=1e-15)
        dual = [dual.value.value, dual.tangent.value, dual.tangent.tangent]
        np.testing.assert_allclose(dual, expected, rtol=1e-12, atol=1e-15)


def test_the_order_of_a_bessel_function_has_no_derivative_and_its_argument_has():
    y = sp.jv(2.0, Dual(1.5, 1.0))
    with mpmath.workdps(30):
        expected = float(mpmath.diff(lambda x: mpmath.besselj(2, x), 1.5))
    np.testing.assert_allclose(y.tangent, expected, rtol=1e-13)
    with pytest.raises(NoTangentRuleError, match="order"):
        sp.jv(Dual(2.0, 1.0), 1.5)


def test_a_blurred_edge_is_fitted_with_erf():
    # Without noise the parameters are found exactly; σ = 0.1 gives their errors from ∂y/∂(x₀, w).
    x = np.linspace(-2, 2, 41)
    model = fitting.curve(lambda x, place, width: sp.erfc((x - place) / width) / 2, [0.0, 1.0])
    fit = fitting.least_squares(model, x, sp.erfc((x - 0.3) / 0.7) / 2, 0.1)
    np.testing.assert_allclose(fit.values, [0.3, 0.7], rtol=1e-7)
    u = (x - 0.3) / 0.7
    slope = np.exp(-u * u) / np.sqrt(np.pi) / 0.7
    jacobian = np.stack([slope, slope * u], axis=1) / 0.1
    np.testing.assert_allclose(fit.covariance, np.linalg.inv(jacobian.T @ jacobian), rtol=1e-6)
    tape = Tape(lambda place, width: sp.erfc((x - place) / width) / 2, 2)
    np.testing.assert_allclose(tape.jacobian([0.3, 0.7]), 0.1 * jacobian, rtol=1e-13)


def test_a_tape_names_what_it_cannot_record():
    for function in (lambda a: np.sum(a), lambda a: float(a), lambda a: a if a > 0 else 0.0):
        with pytest.raises(NoTangentRuleError, match="cannot be recorded"):
            Tape(function, 1)
