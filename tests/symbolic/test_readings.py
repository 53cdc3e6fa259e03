"""Readings: which numbers are read as simpler ones, and that no other is."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.symbolic import forms
from chainrule.symbolic.forms import multiply, number, subtract, symbol
from chainrule.symbolic.polynomials import Ratios
from chainrule.symbolic.readings import Readings
from symbolic.trees import value_of_form


def read(value: Any) -> tuple[str, forms.Form] | None:
    readings = Readings()
    readings(Fraction(value))
    return readings.found.get(Fraction(value))


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (1 / 3, "1/3"),
        (-2 / 3, "-2/3"),
        (0.1, "1/10"),
        (1e-5, "1/100000"),
        (0.044715, "8943/200000"),
        (math.sqrt(2), "√(2)"),
        (-math.sqrt(0.5), "−√(1/2)"),
        (math.pi, "1 π"),
        (math.pi / 180, "1/180 π"),
        (1 / math.pi, "1 / π"),
        (math.sqrt(2 / math.pi), "√(2 / π)"),
        (math.sqrt(2 * math.pi), "√(2 π)"),
        (math.log(2), "1 ln 2"),
        (math.log(10), "1 ln 10"),
        (1 / math.log(2), "1 / ln 2"),
        (1 / math.log(10), "1 / ln 10"),
    ],
)
def test_what_is_read(x: float, text: str) -> None:
    found = read(x)
    assert found is not None
    assert found[0] == text
    with mpmath.workdps(40):
        assert abs(value_of_form(found[1], {}) - x) <= 2 * math.ulp(x)


@pytest.mark.parametrize("near", [1.0, 0.1, 1 / 3, math.pi, math.sqrt(2), math.log(2)])
@pytest.mark.parametrize("error", [1e-9, 1e-13, 1e-14, 1e-15, -1e-15])
def test_a_number_near_a_simple_one_is_not_read_as_that(near: float, error: float) -> None:
    found = read(near * (1 + error))
    assert found is None or found[0] != (read(near) or ("1",))[0]


@pytest.mark.parametrize("x", [0.0, 0.5, 1.0, -3.0, 0.25, 1e5, 2.0**-20, 12345.0])
def test_simple_numbers_stand_for_themselves(x: float) -> None:
    assert read(x) is None


@given(
    x=st.floats(-1e4, 1e4).filter(lambda x: abs(x) > 1e-6)
    | st.fractions(-50, 50, max_denominator=500).map(float).filter(bool)
)
@settings(max_examples=300, derandomize=True, deadline=None)
def test_a_reading_is_within_one_unit_of_the_last_place(x: float) -> None:
    found = read(x)
    if found is not None:
        with mpmath.workdps(40):
            units = abs(value_of_form(found[1], {}) - mpmath.mpf(x)) / math.ulp(x)
            assert units <= (1.01 if re.fullmatch(r"-?\d+(/\d+)?", found[0]) else 2)


def test_random_numbers_are_rarely_read() -> None:
    rng = np.random.default_rng(0)
    found = [read(x) for x in rng.uniform(0.1, 1, 2000)]
    assert sum(f is not None for f in found) <= 2


def test_every_reading_is_listed() -> None:
    readings = Readings()
    difference = subtract(multiply(symbol("x"), number(1 / 3)),
                          multiply(symbol("x"), number(Fraction(1, 3))))  # fmt: skip
    assert not Ratios().is_zero(difference)
    assert Ratios(readings).is_zero(difference)
    assert str(readings) == "0.3333333333333333 as 1/3"


@pytest.mark.parametrize("factor", [1 + 1e-9, 1 + 1e-13, 1 + 1e-15])
def test_a_factor_next_to_one_is_not_read_as_one(factor: float) -> None:
    x = symbol("x")
    assert not Ratios(Readings()).is_zero(subtract(multiply(x, number(factor)), x))
