"""Arrays without numbers, and operations that an array does in one piece."""

from __future__ import annotations

import numpy as np

from chainrule import Activation, Convolution, Dual, MaxPool
from chainrule.core.arrays import as_operation, has_values, places


class Recorder:
    """An array without numbers that takes over the operations that it knows."""

    has_values = False
    known: tuple = ()

    def __init__(self):
        self.asked = []

    def __layer_function__(self, function, args, kwargs):
        self.asked.append(function)
        return "its own" if function in self.known else NotImplemented

    def __array_function__(self, function, types, args, kwargs):
        return function.__name__


@as_operation
def doubled(x, y=None):
    """An operation."""
    return "usual"


def test_numbers_can_be_looked_at_unless_an_array_says_otherwise():
    assert has_values(np.ones(2))
    assert has_values(Dual(np.ones(2), np.ones(2)))
    assert has_values(2.0)
    assert not has_values(Recorder())


def test_an_array_may_take_over_an_operation():
    x = Recorder()
    assert doubled(x) == "usual"
    x.known = (doubled,)
    assert doubled(x) == "its own"
    assert doubled("self", x) == "its own"  # a method, whose first argument is self
    assert x.asked == [doubled] * 3
    assert doubled(np.ones(2), x) == "usual"
    assert doubled.__doc__ == "An operation."


def test_places_are_integers_or_what_the_array_makes_of_them():
    assert np.array_equal(places(3, np.ones(2)), [0, 1, 2])
    assert places(3, Recorder()) == "arange"


def test_plain_arrays_and_dual_numbers_are_computed_as_usual():
    x = np.linspace(-2, 2, 16).reshape(1, 8, 2)
    for layer in (Convolution(2, 3), MaxPool(2), Activation("gelu")):
        layer.build((8, 2), rng=0)
        y = layer(x)
        moved = layer.forward(Dual(x, np.ones_like(x)))
        assert np.allclose(moved.value, y)
