"""Random formulas as trees, with their values by mpmath and their forms, built independently."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import mpmath
from hypothesis import strategies as st

from chainrule.symbolic import forms
from chainrule.symbolic.forms import Form

NAMES = ("x", "y", "z")
HALF = Fraction(1, 2)

FUNCTIONS = {
    "exp": mpmath.exp,
    "log": mpmath.log,
    "tanh": mpmath.tanh,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "arctan": mpmath.atan,
    "erf": mpmath.erf,
}
TWO_SIDED = ("tanh", "sin", "cos", "arctan", "erf")

fractions = st.fractions(-3, 3, max_denominator=8)
leaves = st.sampled_from(NAMES) | fractions


def _grown(trees: Any) -> Any:
    above = trees.map(lambda u: ("+", Fraction(5, 4), ("*", u, u)))  # 1.25 + u²
    return st.one_of(
        st.tuples(st.sampled_from(["+", "*", "-"]), trees, trees),
        st.tuples(st.just("/"), trees, above),
        st.tuples(
            st.just("^"), above, st.sampled_from([HALF, -HALF, Fraction(1, 3), Fraction(-3)])
        ),
        st.tuples(st.just("^"), trees, st.sampled_from([Fraction(2), Fraction(3)])),
        st.tuples(st.sampled_from(TWO_SIDED), trees),
        st.tuples(st.just("exp"), st.tuples(st.just("/"), trees, above)),
        st.tuples(st.just("log"), above),
    )


trees = st.recursive(leaves, _grown, max_leaves=8)
"""Formulas of three variables that are defined everywhere."""

rational = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["+", "*", "-"]), inner, inner),
        st.tuples(st.just("/"), inner, inner.map(lambda u: ("+", Fraction(5, 4), ("*", u, u)))),
    ),
    max_leaves=7,
)
"""Rational functions that are defined everywhere."""


def form_of(tree: Any) -> Form:
    """The form of a tree."""
    if isinstance(tree, str):
        return forms.symbol(tree)
    if isinstance(tree, Fraction):
        return forms.number(tree)
    sign, *parts = tree
    if sign == "^":
        return forms.power(form_of(parts[0]), parts[1])
    parts = [form_of(part) for part in parts]
    binary = {"+": forms.add, "*": forms.multiply, "-": forms.subtract, "/": forms.divide}
    return binary[sign](*parts) if sign in binary else forms.apply(sign, *parts)


def value_of(tree: Any, at: dict[str, Any]) -> Any:
    """The value of a tree, by mpmath with its own precision."""
    if isinstance(tree, str):
        return at[tree]
    if isinstance(tree, Fraction):
        return mpmath.mpf(tree.numerator) / tree.denominator
    sign, *parts = tree
    if sign == "^":
        base, power = value_of(parts[0], at), parts[1]
        return base ** (mpmath.mpf(power.numerator) / power.denominator)
    a, *others = (value_of(part, at) for part in parts)
    if not others:
        return FUNCTIONS[sign](a)
    (b,) = others
    return {"+": a + b, "*": a * b, "-": a - b, "/": a / b if sign == "/" else 0}[sign]


def value_of_form(form: Form, at: dict[str, Any]) -> Any:
    """The value of a form, by mpmath with its own precision."""
    found: dict[Form, Any] = {}
    for part in forms.in_order([form]):
        inner = [found[p] for p in part.parts]
        if part.kind == "number":
            found[part] = mpmath.mpf(part.detail.numerator) / part.detail.denominator
        elif part.kind == "symbol":
            found[part] = mpmath.pi if part.detail == forms.PI else at[part.detail]
        elif part.kind == "sum":
            found[part] = inner[0] + inner[1]
        elif part.kind == "product":
            found[part] = inner[0] * inner[1]
        elif part.kind == "power":
            exponent = mpmath.mpf(part.detail.numerator) / part.detail.denominator
            found[part] = inner[0] ** exponent
        else:
            found[part] = FUNCTIONS[part.kind](inner[0])
    return found[form]


points = st.fixed_dictionaries({name: st.integers(-2000, 2000) for name in NAMES}).map(
    lambda at: {name: mpmath.mpf(2 * n + 1) / 2048 for name, n in at.items()}
)
