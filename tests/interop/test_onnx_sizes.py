"""Sizes that remember how they follow from the shape of a batch."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.interop.onnx.writing.sizes import (
    Size,
    SizeFloat,
    formula_of,
    same,
    terms_of,
    written,
)

pytestmark = pytest.mark.edges

NAMES = ("batch", "time")


def sizes(values):
    return [Size.named(name, value) for name, value in zip(NAMES, values, strict=True)]


def evaluated(terms, values):
    """The value of a formula for other sizes."""
    total = 0
    for product, c in terms:
        for atom in product:
            if isinstance(atom, str):
                c *= values[atom]
            else:
                over, under = evaluated(atom.over, values), evaluated(atom.under, values)
                c *= over % under if atom.is_remainder else over // under
        total += c
    return total


OPERATIONS = [
    lambda n, t: n + t,
    lambda n, t: 3 * n - t + 1,
    lambda n, t: n * t * 4,
    lambda n, t: (n * t) // n,
    lambda n, t: (t + 3) // 2,
    lambda n, t: -(-t // 3),
    lambda n, t: (t - 5) % 4,
    lambda n, t: math.ceil(t / 2) * n,
    lambda n, t: math.prod((n, 2, t)),
    lambda n, t: (2 * t + n) ** 2,
    lambda n, t: 10 - t,
    lambda n, t: 1000 // t,
    lambda n, t: math.floor(t / 4),
]


@pytest.mark.parametrize("number", range(len(OPERATIONS)))
@given(a=st.tuples(st.integers(1, 50), st.integers(1, 50)), b=st.integers(1, 50))
def test_a_formula_is_right_for_all_sizes(number, a, b):
    compute = OPERATIONS[number]
    one = compute(*sizes(a))
    assert int(one) == compute(*a)
    other = dict(zip(NAMES, (a[0] + b, a[1] + 2 * b), strict=True))
    assert evaluated(formula_of(one), other) == compute(*other.values())


def test_formulas_that_are_equal_have_equal_terms():
    n, t = sizes((7, 5))
    assert same(n * (t + 1), n * t + n)
    assert same(n + 2 - n, 2)
    assert not same(n, 7)
    assert type(n - n) is int
    assert (4 * n) // 4 is not n and same((4 * n) // 4, n)
    assert (4 * n) % 4 == 0 and type((4 * n) % 4) is int


def test_a_size_is_an_ordinary_integer_for_code():
    n, _ = sizes((7, 5))
    assert n == 7 and hash(n) == hash(7) and list(range(n)) == list(range(7))
    assert pickle.loads(pickle.dumps(n)) == 7
    assert terms_of(3) == {(): 3}


def test_formulas_as_text():
    n, t = sizes((7, 5))
    assert written(n) == "batch"
    assert written(4 * n + 1) == "4*batch + 1"
    assert written(t // 2) == "((time) // 2)"
    assert f"{n}" == "batch"


SHARES = [
    lambda n, t: 2 / (t * 3.0 / n),
    lambda n, t: (5 / n) / (t * 2.0),
    lambda n, t: (n * 3.0) / (2 / t),
    lambda n, t: (n * 0.5) * (4 / t) / n,
    lambda n, t: -(n / t) * 3,
    lambda n, t: n / (t + 1) / 4.0,
]


@pytest.mark.parametrize("number", range(len(SHARES)))
def test_a_quotient_of_sizes_is_right_for_all_sizes(number):
    compute = SHARES[number]
    found = compute(*sizes((7, 5)))
    assert isinstance(found, SizeFloat) and math.isclose(found, compute(7, 5))
    for other in ((12, 7), (3, 40)):
        values = dict(zip(NAMES, other, strict=True))
        over, under = (evaluated(formula_of(n), values) for n in (found.over, found.under))
        assert math.isclose(found.factor * over / under, compute(*other))


def test_halves_are_rounded_up_and_down():
    n, _ = sizes((7, 5))
    for found, compute in ((math.ceil(n / 2), math.ceil), (math.floor(n / 2), math.floor)):
        assert evaluated(formula_of(found), {"batch": 9}) == compute(9 / 2)


def test_the_share_of_a_row_is_a_float_that_follows_from_the_batch():
    n, t = sizes((8, 4))
    share = 1 / n
    assert isinstance(share, float) and share == 0.125
    half = 0.5 * share / t * 2
    assert isinstance(half, SizeFloat)
    assert half == 0.125 / 4
    assert math.isclose(half.factor * half.over / half.under, 0.125 / 4)
    assert same(half.under, n * t)
    assert -share == -0.125 and isinstance(-share, SizeFloat)
    assert 2 / share == 16 and same((2 / share).over, n)
