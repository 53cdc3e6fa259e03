"""The derivative that an analytic function itself gives, f′(x) ẋ = Im f(x + ihẋ)/h.

There is no cancellation, so it is exact for h = 10⁻¹⁰⁰. `check` compares the tangents of a program
for arrays with it, and whether the program is exact, linear in the tangents and pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.calculus.dual import Dual

STEP = 1e-100


def flat(result: Any, part: Callable[[Any], Any]) -> list[Any]:
    """One part of every array in a result, which may be several."""
    if isinstance(result, list | tuple):
        return [piece for one in result for piece in flat(one, part)]
    return [part(result)]


def value(x: Any) -> Any:
    return x.value if isinstance(x, Dual) else x


def tangent(x: Any) -> Any:
    return x.tangent if isinstance(x, Dual) else np.zeros(np.shape(x))


def complex_step(function: Callable[..., Any], points: Any, directions: Any) -> list[Any]:
    moved = [x + 1j * STEP * dx for x, dx in zip(points, directions, strict=True)]
    return flat(function(*moved), lambda y: np.imag(y) / STEP)


def assert_close(received: Any, expected: Any, accuracy: float = 1e-12) -> None:
    received, expected = np.asarray(received), np.asarray(expected)
    assert received.shape == expected.shape
    scale = 1 + np.max(np.abs(expected), initial=0)
    assert np.all(np.abs(received - expected) <= accuracy * scale), (received, expected)


def check(case: Any, seed: int) -> None:
    """A function of x and y, or such a function and an analytic one that equals it."""
    function, truth = case if isinstance(case, tuple) else (case, case)
    points, directions, others = np.random.default_rng(seed).normal(size=(3, 2, 3, 4))
    plain = flat(function(*points), np.asanyarray)
    for which in ((1, 1), (1, 0), (0, 1)):
        given = [
            Dual(x, dx) if carried else x
            for x, dx, carried in zip(points.copy(), directions, which, strict=True)
        ]
        result = function(*given)
        values, tangents = flat(result, value), flat(result, tangent)
        moved = [dx * carried for dx, carried in zip(directions, which, strict=True)]
        for received, expected in zip(tangents, complex_step(truth, points, moved), strict=True):
            assert_close(received, expected)
        for received, same, dx in zip(values, plain, tangents, strict=True):
            assert np.array_equal(received, same, equal_nan=True)
            assert received.dtype == same.dtype == dx.dtype
            assert received.shape == dx.shape
        for x, dx, before in zip(given, moved, points, strict=True):
            assert np.array_equal(value(x), before)
            assert np.array_equal(tangent(x), dx)
            for y, dy in zip(flat(result, value), tangents, strict=True):
                assert np.shares_memory(y, value(x)) == np.shares_memory(
                    dy, tangent(x)
                ) or x is value(x)

    def along(direction: Any) -> Any:
        return flat(function(*map(Dual, points, direction)), tangent)

    three = zip(along(2 * directions + others), along(directions), along(others), strict=True)
    for combined, one, other in three:
        assert_close(combined, 2 * one + other)

    small = [x.astype(np.float32) for x in points]
    carried = flat(function(*map(Dual, small, directions)), lambda y: y)
    for received, same in zip(carried, flat(function(*small), np.asanyarray), strict=True):
        assert np.array_equal(received.value, same, equal_nan=True)
        assert received.value.dtype == received.tangent.dtype == same.dtype
