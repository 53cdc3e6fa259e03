"""Entries: exact numbers, comparisons that are recorded, and the domains of functions."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.core.errors import UndecidedError
from chainrule.symbolic import forms
from chainrule.symbolic.array import Symbolic, symbols
from chainrule.symbolic.entries import ELEMENTWISE, Condition, Entry, Point
from chainrule.symbolic.polynomials import Ratios
from symbolic.trees import value_of_form

DOUBLES = st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6)


def number_at(value: Any, point: Point | None = None, name: str = "x") -> Any:
    return symbols(point or Point(), name, value)[()]


def entry_at(value: Any, point: Point | None = None, name: str = "x") -> Any:
    return number_at(value, point, name).entries[()]


def conditions_of(point: Point) -> list[tuple[str, bool, bool]]:
    return [(repr(c.form), c.is_positive, c.is_domain) for c in point.conditions]


# ------------------------------------------------------------------------------ exact numbers


@given(a=DOUBLES, b=DOUBLES, x=DOUBLES)
@settings(max_examples=100, derandomize=True, deadline=None)
def test_numbers_combine_in_doubles_and_are_fractions_next_to_symbols(
    a: float, b: float, x: float
) -> None:
    entry = number_at(x)
    constants = np.array([a, b], like=entry)
    total = constants[0] + constants[1]  # a double, as in the program
    assert float(total.entries[()]) == a + b
    shifted = (entry + total).entries[()]
    if a + b:
        expected = forms.add(forms.symbol("x"), forms.number(Fraction(a + b)))
        assert shifted.form is expected
    if a and b:
        product = forms.multiply(forms.symbol("x"), forms.number(Fraction(a) * Fraction(b)))
        difference = forms.subtract(product, (entry * a * b).entries[()].form)
        assert Ratios().is_zero(difference)  # not a b as a double


@given(x=DOUBLES, b=DOUBLES.filter(bool))
@settings(max_examples=100, derandomize=True, deadline=None)
def test_a_quotient_is_exact(x: float, b: float) -> None:
    """Also x/3 is, which x · (1/3) is not."""
    quotient = (number_at(x) / b).entries[()]
    back = (quotient * b) - entry_at(x, quotient.point)
    assert Ratios().is_zero(back.form)


@pytest.mark.parametrize("ufunc", ELEMENTWISE, ids=lambda f: f.__name__)
@given(data=st.data())
@settings(max_examples=6, derandomize=True, deadline=None)
def test_the_form_has_the_value_that_is_carried(ufunc: np.ufunc, data: Any) -> None:
    point = Point()
    values = [data.draw(st.integers(1, 2000)) / 2048 + 0.3e-3 * n for n in range(ufunc.nin)]
    if ufunc is np.arccosh:
        values[0] += 1
    args = [number_at(v, point, f"x{n}") for n, v in enumerate(values)]
    result = ufunc(*args).entries[()]
    if not isinstance(result, Entry):
        return
    with mpmath.workdps(50):
        at = {f"x{n}": mpmath.mpf(v) for n, v in enumerate(values)}
        expected = value_of_form(result.form, at)
        assert abs(expected - mpmath.mpf(str(result.value))) < 1e-40 * (1 + abs(expected))


@pytest.mark.parametrize(
    ("base", "exponent", "kind"),
    [
        ("x", 2, "power"), ("x", 0.5, "power"), ("x", -1.5, "power"), ("x", 0.25, "power"),
        ("x", 1 / 3, "exp"), ("x", 0.1, "exp"), (2.0, "x", "exp"), (10.0, "x", "exp"),
    ],
)  # fmt: skip
def test_an_exponent_is_the_number_that_it_is(base: Any, exponent: Any, kind: str) -> None:
    """That x ** (1/3) is meant to be the third root is a reading, which is listed."""
    x = number_at(0.7)
    result = np.power(x if base == "x" else base, x if exponent == "x" else exponent).entries[()]
    assert result.form.kind == kind
    with mpmath.workdps(50):
        exact = mpmath.mpf(0.7 if base == "x" else base) ** (0.7 if exponent == "x" else exponent)
        assert abs(mpmath.mpf(str(result.value)) - exact) < 1e-45
        assert abs(value_of_form(result.form, {"x": mpmath.mpf(0.7)}) - exact) < 1e-45


def test_logarithms_to_other_bases_are_exact() -> None:
    x = number_at(0.7)
    for result, exact in ((np.log2(x), mpmath.log(0.7, 2)), (np.log10(x), mpmath.log10(0.7))):
        with mpmath.workdps(50):
            value = value_of_form(result.entries[()].form, {"x": mpmath.mpf(0.7)})
            assert abs(value - exact) < 1e-15
    with mpmath.workdps(50):
        assert abs(value_of_form(np.exp2(x).entries[()].form, {"x": mpmath.mpf(0.7)})
                   - mpmath.mpf(2) ** mpmath.mpf(0.7)) < 1e-45  # fmt: skip


# ------------------------------------------------------------------------------ exp


@pytest.mark.parametrize(("x", "is_zero"), [(-745.5, False), (-745.9, False), (-746.1, True)])
def test_exp_is_zero_where_it_is_zero_in_doubles(x: float, is_zero: bool) -> None:
    point = Point()
    result = np.exp(number_at(x, point)).entries[()]
    assert isinstance(result, float) is is_zero
    assert (result == 0.0) is is_zero
    recorded = [c for c in conditions_of(point) if not c[2]]
    assert len(recorded) == 1  # on either side, the program's decision is recorded
    assert recorded[0][1] is not is_zero


def test_exp_far_above_is_no_decision() -> None:
    point = Point()
    for x in (-700.0, -1.0, 800.0, 5000.0):
        assert isinstance(np.exp(number_at(x, point)).entries[()], Entry)
    assert not conditions_of(point)


def test_the_exponential_inside_other_functions_does_not_vanish() -> None:
    point = Point()
    x = number_at(-900.0, point)
    for result in (np.logaddexp(x, x - 1), np.sinh(x), np.cosh(x), np.expm1(x)):
        assert isinstance(result.entries[()], Entry)
    assert not [c for c in point.conditions if not c.is_domain]


# ------------------------------------------------------------------------------ decisions


def test_a_comparison_is_recorded_once_with_its_side() -> None:
    point = Point()
    x = symbols(point, "x", [0.5, -2.0])
    assert list(x > 0) == [True, False]
    assert list(x <= 0) == [False, True]
    assert list(np.less(0, 3 * x)) == [True, False]
    assert list(-2 * x > 0) == [False, True]
    assert conditions_of(point) == [("symbol(x[0])", True, False), ("symbol(x[1])", False, False)]


def test_both_orders_of_a_comparison_are_one_condition() -> None:
    point = Point()
    a, b = symbols(point, "x", [0.5, -2.0])
    assert a > b
    assert b < a
    assert not a <= b
    assert len(point.conditions) == 1
    (condition,) = point.conditions
    assert condition.opposite == Condition(condition.form, not condition.is_positive)


@pytest.mark.parametrize(
    ("call", "domain"),
    [
        (np.log, "symbol(x)"),
        (np.sqrt, "symbol(x)"),
        (lambda x: x**-0.5, "symbol(x)"),
        (lambda x: x**0.3, "symbol(x)"),
        (lambda x: np.power(x, x), "symbol(x)"),
        (np.log1p, "sum(symbol(x), number(1))"),
    ],
)
def test_domains_are_recorded(call: Any, domain: str) -> None:
    point = Point()
    call(number_at(0.7, point))
    ((form, is_positive, is_domain),) = conditions_of(point)
    assert (is_positive, is_domain) == (True, True)
    assert form in (domain, "sum(number(1), symbol(x))")


def test_a_domain_that_is_everywhere_is_not_recorded() -> None:
    point = Point()
    x = number_at(0.7, point)
    np.log(1 + np.exp(x))
    np.sqrt(1 + x * x)
    assert not point.conditions


@pytest.mark.parametrize("call", [np.log, np.sqrt, lambda x: x**0.3, np.arccosh])
def test_outside_of_its_domain_a_function_is_not_a_number(call: Any) -> None:
    assert math.isnan(call(number_at(-0.7)).entries[()])


def test_a_tie_is_decided_by_the_algebra_or_not_at_all() -> None:
    def ask(same: Any) -> Any:
        x = symbols(Point(is_same=same), "x", [0.5, 0.5])
        return (x[0] + x[1]) ** 2, x[0] ** 2 + 2 * x[0] * x[1] + x[1] ** 2, x[0], x[1]

    a, b, *_ = ask(Ratios().is_zero)
    assert a == b
    assert a >= b
    assert not a > b
    *_, a, b = ask(Ratios().is_zero)
    with pytest.raises(UndecidedError, match="same value"):
        np.maximum(a, b)
    a, b, *_ = ask(None)
    with pytest.raises(UndecidedError, match="same value"):
        bool(a > b)


def test_formulas_of_two_passes_do_not_mix() -> None:
    """Their variables have the same names, but other values."""
    first, second = number_at(0.5), number_at(0.7)
    for call in (np.add, np.multiply, np.subtract, np.divide, np.maximum, np.less, np.power):
        with pytest.raises(UndecidedError, match="an earlier pass"):
            call(first, second)
    with pytest.raises(UndecidedError, match="an earlier pass"):
        np.dot(symbols(Point(), "x", [1.0, 2.0]), symbols(Point(), "x", [1.0, 2.0]))


def test_without_forms_only_values_are_carried() -> None:
    point = Point(has_forms=False)
    x = symbols(point, "x", [0.5, 2.0])
    y = np.exp(-x).sum() / np.sqrt(x[1] + 1) + np.log(x[0]) + np.power(2.0, x[1])
    entry = y.entries[()]
    assert entry.form is None
    expected = math.fsum(np.exp([-0.5, -2.0])) / math.sqrt(3) + math.log(0.5) + 4
    assert math.isclose(float(entry.value), expected)
    assert isinstance(y, Symbolic)
    assert not point.conditions
