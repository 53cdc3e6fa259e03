"""Rational functions: what is proven to be zero is zero, against mpmath and SymPy."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import mpmath
import pytest
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chainrule.symbolic import forms, polynomials
from chainrule.symbolic.forms import (
    Form,
    add,
    apply,
    gradient,
    multiply,
    negative,
    number,
    power,
    subtract,
    symbol,
)
from chainrule.symbolic.formulas import expression
from chainrule.symbolic.polynomials import Ratios, TooLargeError
from symbolic.trees import (
    HALF,
    NAMES,
    form_of,
    points,
    rational,
    trees,
    value_of_form,
)

X, Y, Z = map(symbol, NAMES)
ONE, TWO = number(1), number(2)


def is_zero(form: Form, **options: Any) -> bool:
    return Ratios(**options).is_zero(form)


def from_sympy(formula: sympy.Expr) -> Form:
    """A form for a SymPy expression with powers and functions."""
    if formula.is_Symbol:
        return symbol(formula.name)
    if formula.is_Rational:
        return number(Fraction(int(formula.p), int(formula.q)))
    if formula is sympy.pi:
        return symbol(forms.PI)
    parts = [from_sympy(part) for part in formula.args]
    if formula.is_Add or formula.is_Mul:
        total = parts[0]
        for part in parts[1:]:
            total = add(total, part) if formula.is_Add else multiply(total, part)
        return total
    if formula.is_Pow and formula.args[1].is_Rational:
        exponent = formula.args[1]
        return power(parts[0], Fraction(int(exponent.p), int(exponent.q)))
    name = {"atan": "arctan"}.get(formula.func.__name__, formula.func.__name__)
    return apply(name, parts[0])


# ------------------------------------------------------------------------------ true zeros


@given(tree=rational, way=st.sampled_from([sympy.expand, sympy.together, sympy.cancel]))
@settings(max_examples=40, derandomize=True, deadline=None)
def test_a_rational_function_equals_what_sympy_makes_of_it(tree: Any, way: Any) -> None:
    form = form_of(tree)
    other = from_sympy(way(expression(form)))
    assert is_zero(subtract(form, other))


@given(tree=trees)
@settings(max_examples=30, derandomize=True, deadline=None)
def test_a_formula_equals_its_expansion(tree: Any) -> None:
    form = form_of(tree)
    other = from_sympy(sympy.expand(expression(form), power_base=False, log=False))
    assert is_zero(subtract(form, other))


@given(tree=trees, name=st.sampled_from(NAMES))
@settings(max_examples=30, derandomize=True, deadline=None)
def test_the_derivative_equals_that_of_sympy(tree: Any, name: str) -> None:
    form = form_of(tree)
    slope = gradient([(form, ONE)]).get(name, forms.ZERO)
    other = sympy.diff(expression(form), sympy.Symbol(name, real=True))
    assert is_zero(subtract(slope, from_sympy(other)))


def root(a: Form) -> Form:
    return power(a, HALF)


def exp(a: Form) -> Form:
    return apply("exp", a)


def of(function: str, a: Form) -> Form:
    return apply(function, a)


def minus(a: Form, b: Form) -> Form:
    return subtract(a, b)


SQUARE_PLUS = add(multiply(X, X), ONE)
TANH, SIN, COS = (of(name, X) for name in ("tanh", "sin", "cos"))

TRUE: dict[str, Form] = {
    "√(4x) = 2 √x": minus(root(multiply(number(4), X)), multiply(TWO, root(X))),
    "√(x/4) = √x / 2": minus(root(multiply(X, number(0.25))), multiply(number(0.5), root(X))),
    "√(5/4) = √5/2": minus(root(number(1.25)), multiply(root(number(5)), number(0.5))),
    "√(4x/3) = 2 √(x/3)": minus(
        root(multiply(X, number(Fraction(4, 3)))),
        multiply(TWO, root(multiply(X, number(Fraction(1, 3))))),
    ),
    "√2 √3 = √6": minus(multiply(root(TWO), root(number(3))), root(number(6))),
    "√(2x) = √2 √x": minus(root(multiply(TWO, X)), multiply(root(TWO), root(X))),
    "√exp x = exp(x/2)": minus(root(exp(X)), exp(multiply(X, number(0.5)))),
    "√8 = 2 √2": minus(root(number(8)), multiply(TWO, root(TWO))),
    "√0 = 0": root(minus(multiply(X, add(X, ONE)), add(multiply(X, X), X))),
    "√√x = x^¼": minus(root(root(X)), power(X, Fraction(1, 4))),
    "(x^¼)² = √x": minus(power(power(X, Fraction(1, 4)), 2), root(X)),
    "x^¼ x^¼ = √x": minus(multiply(*[power(X, Fraction(1, 4))] * 2), root(X)),
    "x^⅓ x^⅙ = √x": minus(multiply(power(X, Fraction(1, 3)), power(X, Fraction(1, 6))), root(X)),
    "x^1.5 = x √x": minus(power(X, Fraction(3, 2)), multiply(X, root(X))),
    "x^−½ √x = 1": minus(multiply(power(X, -HALF), root(X)), ONE),
    "1/(1 + √x) = (1 − √x)/(1 − x)": minus(
        power(add(ONE, root(X)), -1), multiply(minus(ONE, root(X)), power(minus(ONE, X), -1))
    ),
    "√2 √2 = 2": minus(multiply(root(TWO), root(TWO)), TWO),
    "√(1 + √x)⁴ = 1 + 2 √x + x": minus(
        power(root(add(ONE, root(X))), 4), add(add(ONE, multiply(TWO, root(X))), X)
    ),
    "√(1 + √x)⁻⁴": minus(
        power(root(add(ONE, root(X))), -4),
        power(add(add(ONE, multiply(TWO, root(X))), X), -1),
    ),
    "√(x² + 2x + 1) = √((x + 1)²)": minus(
        root(add(add(multiply(X, X), multiply(TWO, X)), ONE)), root(power(add(X, ONE), 2))
    ),
    "exp(log x) = x": minus(exp(of("log", X)), X),
    "exp(−log(x)/2) = 1/√x": minus(exp(multiply(of("log", X), number(-0.5))), power(X, -HALF)),
    "exp(x + log y) = y exp x": minus(exp(add(X, of("log", Y))), multiply(Y, exp(X))),
    "exp(x/3)³ = exp x": minus(power(exp(multiply(X, number(Fraction(1, 3)))), 3), exp(X)),
    "exp(x/2)² = exp x": minus(power(exp(multiply(X, number(0.5))), 2), exp(X)),
    "exp x exp −x = 1": minus(multiply(exp(X), exp(negative(X))), ONE),
    "exp((x + y)(x − y))": minus(
        exp(multiply(add(X, Y), minus(X, Y))), exp(minus(multiply(X, X), multiply(Y, Y)))
    ),
    "tanh((x + y)(x − y))": minus(
        of("tanh", multiply(add(X, Y), minus(X, Y))),
        of("tanh", minus(multiply(X, X), multiply(Y, Y))),
    ),
    "sin² + cos² = 1": minus(add(multiply(SIN, SIN), multiply(COS, COS)), ONE),
    "1/cos² = 1 + tan²": minus(
        power(COS, -2), add(ONE, multiply(multiply(SIN, SIN), power(COS, -2)))
    ),
    "sin −x = −sin x": add(of("sin", negative(X)), SIN),
    "cos −x = cos x": minus(of("cos", negative(X)), COS),
    "tanh −x = −tanh x": add(of("tanh", negative(X)), TANH),
    "erf −x = −erf x": add(of("erf", negative(X)), of("erf", X)),
    "arctan(y − x) = −arctan(x − y)": add(of("arctan", minus(Y, X)), of("arctan", minus(X, Y))),
    "1/(x − y) = −1/(y − x)": add(power(minus(X, Y), -1), power(minus(Y, X), -1)),
    "1/(2x + 2)": minus(
        power(add(multiply(TWO, X), TWO), -1), multiply(number(0.5), power(add(X, ONE), -1))
    ),
    "1/(x² − 1) by its factors": minus(
        power(minus(multiply(X, X), ONE), -1),
        multiply(power(minus(X, ONE), -1), power(add(X, ONE), -1)),
    ),
    "x⁻³ x² = x⁻¹": minus(multiply(power(X, -3), power(X, 2)), power(X, -1)),
    "1/(1/x + 1/y) = xy/(x + y)": minus(
        power(add(power(X, -1), power(Y, -1)), -1),
        multiply(multiply(X, Y), power(add(X, Y), -1)),
    ),
}

WITH_EXP: dict[str, Form] = {
    "sigmoid = (1 + tanh(x/2))/2": minus(
        power(add(ONE, exp(negative(X))), -1),
        multiply(number(0.5), add(ONE, of("tanh", multiply(X, number(0.5))))),
    ),
    "(1 − tanh²) cosh² = 1": minus(
        multiply(
            minus(ONE, multiply(TANH, TANH)),
            power(multiply(number(0.5), add(exp(X), exp(negative(X)))), 2),
        ),
        ONE,
    ),
    "tanh 2x": minus(
        of("tanh", multiply(TWO, X)),
        multiply(multiply(TWO, TANH), power(add(ONE, multiply(TANH, TANH)), -1)),
    ),
}


@pytest.mark.parametrize("form", TRUE.values(), ids=TRUE)
def test_identities(form: Form) -> None:
    assert is_zero(form)
    assert is_zero(form, uses_exp=True)
    assert is_zero(multiply(Z, form))
    assert not is_zero(add(form, multiply(number(Fraction(1, 10**30)), X)))


@pytest.mark.parametrize("form", WITH_EXP.values(), ids=WITH_EXP)
def test_identities_that_need_tanh_as_exp(form: Form) -> None:
    assert is_zero(form, uses_exp=True)
    assert not is_zero(add(form, multiply(number(Fraction(1, 10**30)), X)), uses_exp=True)


MISSED: dict[str, Form] = {
    "√(xy) = √x √y": minus(root(multiply(X, Y)), multiply(root(X), root(Y))),
    "log exp x = x": minus(of("log", exp(X)), X),
    "log xy = log x + log y": minus(of("log", multiply(X, Y)), add(of("log", X), of("log", Y))),
    "sin 2x = 2 sin x cos x": minus(of("sin", multiply(TWO, X)), multiply(multiply(TWO, SIN), COS)),
}
"""True for x, y > 0, and not known here; a layer that needs one of them is undecided."""


@pytest.mark.parametrize("form", MISSED.values(), ids=MISSED)
def test_what_is_not_known_is_not_claimed(form: Form) -> None:
    assert not is_zero(form)
    with mpmath.workdps(40):
        assert abs(value_of_form(form, {"x": mpmath.mpf(0.5), "y": mpmath.mpf(3)})) < 1e-35


# ------------------------------------------------------------------------------ never a false one


@given(one=trees, other=trees, at=points)
@settings(max_examples=40, derandomize=True, deadline=None)
def test_what_is_proven_to_be_zero_is_zero(one: Any, other: Any, at: dict[str, Any]) -> None:
    difference = subtract(form_of(one), form_of(other))
    if is_zero(difference) or is_zero(difference, uses_exp=True):
        with mpmath.workdps(40):
            assert abs(value_of_form(difference, at)) < 1e-30


@given(tree=trees, at=points, factor=st.sampled_from([1e-9, 1e-13, 2.0**-52, 2.0**-200]))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_a_factor_next_to_one_is_seen(tree: Any, at: dict[str, Any], factor: float) -> None:
    form = form_of(tree)
    with mpmath.workdps(40):
        assume(abs(value_of_form(form, at)) > 1e-20)
    scaled = multiply(form, number(1 + Fraction(factor)))
    assert not is_zero(subtract(scaled, form))
    assert not is_zero(subtract(scaled, form), uses_exp=True)


FALSE: dict[str, Form] = {
    "√(x²) = x": minus(root(power(X, 2)), X),
    "√(x² + 1) = x + 1": minus(root(SQUARE_PLUS), add(X, ONE)),
    "exp(x y) = exp x exp y": minus(exp(multiply(X, Y)), multiply(exp(X), exp(Y))),
    "exp 2x = 2 exp x": minus(exp(multiply(TWO, X)), multiply(TWO, exp(X))),
    "exp(x/y) = exp(y/x)": minus(exp(multiply(X, power(Y, -1))), exp(multiply(Y, power(X, -1)))),
    "log x = exp x": minus(of("log", X), exp(X)),
    "sin x = cos x": minus(SIN, COS),
    "cos = √(1 − sin²)": minus(COS, root(minus(ONE, multiply(SIN, SIN)))),
    "cos −x = −cos x": add(of("cos", negative(X)), COS),
    "sin −x = sin x": minus(of("sin", negative(X)), SIN),
    "log −x = −log x": add(of("log", negative(X)), of("log", X)),
    "tanh x = tanh y": minus(TANH, of("tanh", Y)),
    "x^⅓ = √x": minus(power(X, Fraction(1, 3)), root(X)),
    "√(2x) = 2 √x": minus(root(multiply(TWO, X)), multiply(TWO, root(X))),
    "√(−4x) = 2 √x": minus(root(multiply(number(-4), X)), multiply(TWO, root(X))),
    "1/x = 1/y": minus(power(X, -1), power(Y, -1)),
    "x = y": minus(X, Y),
    "π = 3.14159…": minus(symbol(forms.PI), number(float(mpmath.pi))),
    "0.1 = 1/10": minus(number(0.1), number(Fraction(1, 10))),
}


@pytest.mark.parametrize("form", FALSE.values(), ids=FALSE)
def test_what_is_not_zero_is_not_claimed(form: Form) -> None:
    assert not is_zero(form)
    assert not is_zero(form, uses_exp=True)


# ------------------------------------------------------------------------------ sizes


def squared(form: Form, times: int) -> Form:
    for _ in range(times):
        form = multiply(form, form)
    return form


@pytest.mark.parametrize("times", [28, 29, 30, 31, 32, 33, 64])
def test_an_exponent_beyond_its_bits_is_an_error_not_another_symbol(times: int) -> None:
    """The exponent 2³² of x would be the exponent 1 of the next generator."""
    for form in (squared(X, times), squared(power(X, -1), times), power(X, 2**times)):
        for other in (Y, multiply(X, Y), power(Y, -1), ONE):
            try:
                assert not is_zero(subtract(other, form))
            except TooLargeError:
                assert times > 28


@pytest.mark.parametrize("factor", [2**20, 2**24, 2**31, 2**32, 2**40, 2.0**-40, 0.1, 1e300])
def test_large_and_small_factors_in_exp(factor: float) -> None:
    large = exp(multiply(X, number(factor)))
    assert not is_zero(subtract(large, Y))
    assert not is_zero(subtract(multiply(large, Y), Z))
    assert is_zero(subtract(multiply(large, exp(multiply(X, number(-factor)))), ONE))


@given(
    exponents=st.lists(
        st.tuples(*[st.integers(-300, 300)] * 3).map(lambda e: dict(enumerate(e))),
        min_size=2,
        max_size=2,
    )
)
@settings(max_examples=60, derandomize=True, deadline=None)
def test_monomials_with_negative_exponents(exponents: list[dict[int, int]]) -> None:
    def packed(powers: dict[int, int]) -> int:
        return sum(e << (polynomials.BITS * n) for n, e in powers.items())

    a, b = exponents
    total = packed(a) + packed(b)
    for n in range(3):
        assert dict(polynomials._exponents(total)).get(n, 0) == a[n] + b[n]
    found = dict(polynomials._exponents(total))
    assert found == {n: a[n] + b[n] for n in range(3) if a[n] + b[n]}


def test_relations_are_used_from_the_outside_in() -> None:
    inner = root(add(ONE, multiply(X, X)))
    middle = root(add(inner, of("cos", X)))
    outer = root(add(middle, TWO))
    form = power(outer, 8)  # (middle + 2)⁴
    expected = ONE
    for _ in range(4):
        expected = multiply(expected, add(middle, TWO))
    assert is_zero(subtract(form, expected))
    assert is_zero(subtract(power(outer, -8), power(expected, -1)))
    assert not is_zero(subtract(form, add(expected, inner)))


def test_atoms_with_equal_fingerprints_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ratios, "_residue", lambda self, a: 0)
    assert is_zero(minus(exp(add(X, Y)), multiply(exp(X), exp(Y))))
    for name in ("tanh", "log", "erf"):
        assert not is_zero(minus(of(name, X), of(name, Y)))
        assert not is_zero(minus(of(name, X), of(name, multiply(X, X))))
    assert is_zero(minus(of("tanh", add(X, X)), of("tanh", multiply(TWO, X))))


def test_too_many_terms_and_too_much_time_are_errors() -> None:
    total = ONE
    for n in range(40):
        total = add(total, symbol(f"s{n}"))
    with pytest.raises(TooLargeError):
        is_zero(subtract(power(total, 12), ONE), limit=2000)
    with pytest.raises(TooLargeError):
        is_zero(subtract(power(total, 12), ONE), end=time.perf_counter())


def test_a_division_by_what_is_zero_is_an_error() -> None:
    zero = subtract(multiply(add(X, ONE), minus(X, ONE)), minus(multiply(X, X), ONE))
    with pytest.raises(ZeroDivisionError):
        is_zero(multiply(power(zero, -1), Y))
