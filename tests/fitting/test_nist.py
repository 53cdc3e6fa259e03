"""NIST's certified regressions: values and standard deviations from both starting points."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import fitting
from fitting.nist_problems import MODELS, problem

FROM_ROUNDING = "Lanczos1"
"""Its residuals are rounding errors of the data, 10⁻¹³, so double precision has no more digits."""


def digits(found, certified):
    """The number of correct digits of the worst number."""
    return -np.log10(np.max(np.abs(found - certified) / np.abs(certified)) + 1e-16)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", MODELS)
def test_certified_values_and_deviations_to_six_digits(name, start):
    nist = problem(name)
    fit = fitting.least_squares(fitting.curve(nist.model, nist.starts[start]), nist.x, nist.y)
    assert digits(fit.values, nist.values) > 6
    assert digits(fit.standard_errors, nist.deviations) > (2 if name == FROM_ROUNDING else 6)
    if name != FROM_ROUNDING:
        assert digits(fit.chi_squared, nist.squares) > 6
    assert fit.degrees_of_freedom == len(nist.y) - len(nist.values)


def test_all_27_problems_are_here():
    assert len(MODELS) == 27
