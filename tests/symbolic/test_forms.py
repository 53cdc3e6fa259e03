"""Forms: their derivatives against mpmath and SymPy, and what is simplified on the way."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import mpmath
import pytest
import sympy
from hypothesis import given, settings

from chainrule.symbolic import forms
from chainrule.symbolic.forms import (
    add,
    apply,
    gradient,
    in_order,
    is_surely_positive,
    multiply,
    negative,
    number,
    power,
    subtract,
    symbol,
)
from chainrule.symbolic.formulas import expression
from symbolic.trees import (
    FUNCTIONS,
    HALF,
    form_of,
    points,
    trees,
    value_of,
    value_of_form,
)

X, Y = symbol("x"), symbol("y")
TANH = apply("tanh", X)


@given(tree=trees, at=points)
@settings(max_examples=150, derandomize=True, deadline=None)
def test_a_form_has_the_value_of_its_formula(tree: Any, at: dict[str, Any]) -> None:
    with mpmath.workdps(40):
        expected = value_of(tree, at)
        received = value_of_form(form_of(tree), at)
        assert abs(received - expected) <= 1e-35 * (1 + abs(expected))


@given(tree=trees, at=points)
@settings(max_examples=120, derandomize=True, deadline=None)
def test_the_gradient_is_that_of_mpmath(tree: Any, at: dict[str, Any]) -> None:
    slopes = gradient([(form_of(tree), number(1))])
    with mpmath.workdps(40):
        for name in at:
            expected = mpmath.diff(lambda v, name=name: value_of(tree, {**at, name: v}), at[name])
            received = value_of_form(slopes.get(name, forms.ZERO), at)
            assert abs(received - expected) <= 1e-13 * (1 + abs(expected))


@given(tree=trees, at=points)
@settings(max_examples=50, derandomize=True, deadline=None)
def test_the_gradient_is_that_of_sympy(tree: Any, at: dict[str, Any]) -> None:
    form = form_of(tree)
    formula = expression(form)
    slopes = gradient([(form, number(1))])
    x = sympy.Symbol("x", real=True)
    with mpmath.workdps(40):
        values = {sympy.Symbol(name, real=True): sympy.Float(str(v), 45) for name, v in at.items()}
        expected = mpmath.mpf(str(sympy.diff(formula, x).evalf(40, subs=values)))
        received = value_of_form(slopes.get("x", forms.ZERO), at)
        assert abs(received - expected) <= 1e-30 * (1 + abs(expected))


def test_the_gradient_of_several_terms_is_a_sum() -> None:
    shared = multiply(X, Y)
    slopes = gradient([(shared, symbol("a")), (add(shared, X), symbol("b")), (X, number(3))])
    at = {"x": mpmath.mpf(2), "y": mpmath.mpf(5), "a": mpmath.mpf(7), "b": mpmath.mpf(11)}
    assert value_of_form(slopes["x"], at) == 7 * 5 + 11 * (5 + 1) + 3
    assert value_of_form(slopes["y"], at) == (7 + 11) * 2


def test_the_gradient_takes_one_pass_through_a_shared_form() -> None:
    form = X
    for _ in range(400):  # as a tree, it has 2⁴⁰⁰ leaves
        form = multiply(form, form)
    slope = gradient([(form, number(1))])["x"]
    assert len(in_order([slope])) < 2500


def test_equal_forms_are_one_object() -> None:
    assert add(X, Y) is add(Y, X)
    assert multiply(X, Y) is multiply(Y, X)
    assert apply("exp", X) is apply("exp", X)
    assert number(0.5) is number(Fraction(1, 2))
    assert number(0.1) is not number(Fraction(1, 10))  # a double is the fraction that it is


@pytest.mark.parametrize(
    ("form", "simple"),
    [
        (add(X, number(0)), X),
        (multiply(X, number(1)), X),
        (multiply(X, number(0)), number(0)),
        (multiply(multiply(X, number(3)), number(2)), multiply(X, number(6))),
        (multiply(multiply(X, number(0.1)), number(2)), multiply(X, number(0.2))),
        (subtract(X, X), number(0)),
        (negative(negative(X)), X),
        (power(X, 0), number(1)),
        (power(X, 1), X),
        (power(number(2), -2), number(Fraction(1, 4))),
        (power(power(X, HALF), 2), X),
        (power(power(X, HALF), HALF), power(X, Fraction(1, 4))),
        (power(power(X, 3), -1), power(X, -3)),
    ],
)
def test_what_is_simplified(form: Any, simple: Any) -> None:
    assert form is simple


def test_two_long_numbers_are_not_combined_as_each_is_read_by_itself() -> None:
    root, tenth = number(0.7978845608028654), number(0.1)  # √(2/π) and 1/10
    product = multiply(multiply(X, root), tenth)
    assert product.parts == (multiply(X, root), tenth)


def test_the_root_of_a_square_is_not_the_number() -> None:
    root = power(power(X, 2), HALF)
    assert root is not X
    assert value_of_form(root, {"x": mpmath.mpf(-3)}) == 3


@given(tree=trees, at=points)
@settings(max_examples=150, derandomize=True, deadline=None)
def test_what_is_surely_positive_is_positive(tree: Any, at: dict[str, Any]) -> None:
    for form in in_order([form_of(tree)]):
        if is_surely_positive(form):
            with mpmath.workdps(40):
                assert value_of_form(form, at) > 0


def test_what_a_glance_shows() -> None:
    square = multiply(X, X)
    for form in (
        apply("exp", X),
        add(square, number(1)),
        add(apply("exp", X), apply("exp", Y)),
        power(apply("exp", X), -1),
        symbol(forms.PI),
    ):
        assert is_surely_positive(form)
    tilted = add(number(1), multiply(X, apply("exp", Y)))
    for form in (X, square, power(X, 2), negative(apply("exp", X)), number(0), TANH, tilted):
        assert not is_surely_positive(form)


def test_every_function_has_a_slope() -> None:
    assert set(forms.SLOPES) == set(forms.FUNCTIONS) == set(FUNCTIONS)
