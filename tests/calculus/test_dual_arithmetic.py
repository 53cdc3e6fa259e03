"""The direct way for arithmetic equals the general one, bit for bit, and is fast."""

from __future__ import annotations

import itertools
import operator
import statistics
import timeit
import warnings
from time import process_time

import numpy as np
import pytest

from chainrule.calculus import dual as module
from chainrule.calculus.dual import ARITHMETIC, Dual, call_directly, call_ufunc
from chainrule.core.errors import NoTangentRuleError

RNG = np.random.default_rng(4)


def numbers(*shape):
    return RNG.uniform(0.1, 0.9, size=shape)


OPERANDS = [
    Dual(numbers(2, 3), numbers(2, 3)),
    Dual(numbers(3), numbers(3)),
    Dual(numbers(3, 2).T, numbers(3, 2).T),
    Dual(numbers(2, 3).astype("f"), numbers(2, 3).astype("f")),
    Dual(0.7, 0.2),
    Dual(numbers(2, 3), numbers(2, 3))[0, 0],
    Dual(numbers(2, 0), numbers(2, 0)),
    Dual(Dual(numbers(2, 3), numbers(2, 3)), numbers(2, 3)),
    numbers(2, 3),
    np.array([[1, 2, 3]]),
    np.array(0.5),
    np.float32(0.25),
    np.float64(0.5),
    0.5,
    2,
    True,
]


def outcome(call):
    """What a call returns, or the type of the error that it raises."""
    with np.errstate(all="ignore"):
        try:
            return call()
        except (TypeError, ValueError, NoTangentRuleError) as error:
            return type(error)


def assert_same(one, other):
    assert type(one) is type(other)
    if isinstance(one, Dual):
        assert one.level == other.level
        assert_same(one.value, other.value)
        assert_same(one.tangent, other.tangent)
    elif isinstance(one, np.ndarray | np.generic):
        assert (one.dtype, one.shape, one.strides) == (other.dtype, other.shape, other.strides)
        np.testing.assert_array_equal(one, other)
    else:
        assert one is other


@pytest.mark.parametrize("ufunc", sorted(ARITHMETIC, key=lambda f: f.__name__), ids=str)
def test_the_direct_way_equals_the_general_one(ufunc):
    for inputs in itertools.product(OPERANDS, repeat=ufunc.nin):
        if any(isinstance(x, Dual) for x in inputs):
            found = outcome(lambda inputs=inputs: ufunc(*inputs))
            plain = outcome(lambda inputs=inputs: call_ufunc(ufunc, inputs, None, {}))
            assert_same(found, plain)


def test_operators_equal_the_functions():
    pairs = {
        operator.add: np.add,
        operator.sub: np.subtract,
        operator.mul: np.multiply,
        operator.truediv: np.divide,
        operator.matmul: np.matmul,
    }
    for name, ufunc in pairs.items():
        for a, b in itertools.product(OPERANDS, repeat=2):
            if isinstance(a, Dual) or isinstance(b, Dual):
                assert_same(outcome(lambda: name(a, b)), outcome(lambda: ufunc(a, b)))  # noqa: B023


def test_a_tangent_is_never_shared():
    x = Dual(np.ones(3), np.ones(3))
    for y in (x + 1.0, 1.0 + x, x - 0.0, +x, 1.0 * x, x / 1.0, x**1):
        assert not np.shares_memory(y.tangent, x.tangent)
        assert not np.shares_memory(y.value, x.value)


def test_in_place_operators_write_into_value_and_tangent():
    value, tangent = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    x = Dual(value, tangent)
    whole, view = x, x[:1]
    x += Dual(np.ones(2), np.ones(2))
    assert x is whole
    x *= 2.0
    x -= np.array([1.0, 0.0])
    x /= 2
    np.testing.assert_array_equal(view.value, [1.5])
    np.testing.assert_array_equal(view.tangent, [4.0])
    np.testing.assert_array_equal(x.tangent, [4.0, 5.0])
    with pytest.raises(ValueError, match="broadcast"):
        x += np.ones((3, 2))
    with pytest.raises(NoTangentRuleError):
        x += Dual(Dual(np.ones(2), 1.0), 1.0)
    single = Dual(np.ones(2, "f"), np.ones(2, "f"))
    single += np.ones(2)  # as for arrays, rounded to the type on the left
    assert single.dtype == np.float32


@pytest.mark.parametrize("ufunc", [np.sqrt, np.log, np.reciprocal, np.cbrt])
def test_what_does_not_move_has_no_velocity_even_where_the_slope_is_infinite(ufunc):
    with np.errstate(divide="ignore"):
        y = ufunc(Dual([0.0, 1.0], [0.0, 1.0]))
    np.testing.assert_allclose(
        y.tangent, [0.0, {np.sqrt: 0.5, np.log: 1, np.reciprocal: -1, np.cbrt: 1 / 3}[ufunc]]
    )


def test_divisions_and_powers_at_zero():
    x, zero = Dual([0.0, 2.0], [1.0, 1.0]), Dual([0.0, 1.0], [0.0, 1.0])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal((1.0 / zero).tangent, [0.0, -1.0])
        np.testing.assert_array_equal((zero / 0.0).tangent[0], 0.0)
        np.testing.assert_array_equal((x**0.5).tangent[0], np.inf)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal((zero**0.5).tangent, [0.0, 0.5])
        np.testing.assert_array_equal((x**0).tangent, [0.0, 0.0])
        np.testing.assert_array_equal((x**0.0).tangent, [0.0, 0.0])
        np.testing.assert_array_equal((x**1).tangent, [1.0, 1.0])
        np.testing.assert_array_equal((x**2).tangent, [0.0, 4.0])


def test_a_replaced_rule_is_used_by_operators_too(monkeypatch):
    monkeypatch.setitem(module.RULES, np.add, module.RULES[np.subtract])
    y = Dual(np.ones(2), np.ones(2)) + Dual(np.ones(2), np.full(2, 3.0))
    np.testing.assert_array_equal(y.tangent, [-2.0, -2.0])


def test_other_arrays_are_left_to_the_general_way():
    class Sub(np.ndarray):
        pass

    x = Dual(np.ones(2), np.ones(2))
    assert call_directly(np.add, np.add, (x, np.ones(2).view(Sub))) is None
    assert call_directly(np.add, np.add, (x, [1.0, 2.0])) is None
    np.testing.assert_array_equal(operator.add(x, [1.0, 2.0]).value, [2.0, 3.0])
    with pytest.raises(TypeError):
        x + "text"


def test_arithmetic_of_small_arrays_costs_little():
    x = np.array([1.0, 2.0, 3.0])
    d, square = Dual(x, np.ones(3)), Dual(np.ones((3, 3)), np.ones((3, 3)))

    def median(function):
        times = timeit.repeat(function, number=300, repeat=9, timer=process_time)
        return statistics.median(times) / 300

    cases = [
        lambda: d + d,
        lambda: d * d,
        lambda: 2.0 * d,
        lambda: d / d,
        lambda: np.sin(d),
        lambda: np.exp(d),
        lambda: np.tanh(d),
        lambda: d**2,
        lambda: square @ square,
        lambda: d[0],
    ]
    for case in cases:  # an addition of arrays takes 0.35 µs
        assert any(median(case) < 40 * median(lambda: x + x) for _ in range(8))
