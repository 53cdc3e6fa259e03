"""The situations in which the laws are checked: batch sizes, values, parameters, deltas, layouts.

A gradient can be right for an ordinary batch and wrong for two rows, for integers, in the tails or
in Fortran order. Each situation is one entry of a table: a phrase for the report, and a function
that draws numbers of a shape. Add one here, and every law that looks everywhere tries it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias
from unittest import mock

import numpy as np
import numpy.typing as npt
from attrs import define, evolve

from chainrule.calculus.test_case import Case
from chainrule.core.types import Shape

Numbers: TypeAlias = npt.NDArray[Any]
Draw: TypeAlias = Callable[[np.random.Generator, Shape], Numbers]

SIZES = (1, 2, 3, 4, 8, 9, 65, 128)
"""The batch sizes, besides the usual one and the empty batch."""
FEW_SIZES = (1, 2, 8, 65)
"""The sizes for laws in which each of them is expensive."""
MOST_NUMBERS = 2**18
"""Batches of more than eight rows are left out if they have more numbers than this."""


@define
class Situation:
    """A case, and where it differs from an ordinary one: ``for a batch of 2 rows``."""

    phrase: str
    at: Case


def sizes(case: Case, wanted: tuple[int, ...] = SIZES) -> list[int]:
    """The batch sizes to try, without those that are too large for these rows."""
    row = sum(int(np.prod(shape)) for shape in case.layer.input_shapes)
    return [n for n in wanted if n <= 8 or n * row <= MOST_NUMBERS]


def all_situations(case: Case) -> Iterator[Situation]:
    """The ordinary case first, then values of inputs, batch sizes, and values of parameters."""
    yield from input_situations(case)
    theta = case.theta
    if theta.size:
        for phrase, draw in PARAMETERS.items():
            yield Situation(phrase, case.with_parameters(draw(case.rng, theta.shape)))


def input_situations(case: Case) -> Iterator[Situation]:
    """The ordinary case first, then values of inputs, and batch sizes."""
    yield Situation("", case)
    if not case.is_given:
        for phrase, draw in VALUES.items():
            inputs = tuple(draw(case.rng, x.shape) for x in case.inputs)
            yield Situation(phrase, evolve(case, inputs=inputs))
        zeros = evolve(case, inputs=tuple(np.zeros_like(x) for x in case.inputs))
        yield Situation("for an input of zeros", zeros.rows(slice(0, 1)))
    for size in sizes(case):
        rows = "row" if size == 1 else "rows"
        yield Situation(f"for a batch of {size} {rows}", case.of_size(size))


# ------------------------------------------------------------------------------- numbers


def _of_about(size: float) -> Draw:
    return lambda rng, shape: size * rng.normal(size=shape)


def _between(low: float, high: float) -> Draw:
    """Of both signs, with magnitudes between two powers of ten."""
    return lambda rng, shape: rng.choice([-1.0, 1.0], shape) * 10 ** rng.uniform(low, high, shape)


def _positive(rng: np.random.Generator, shape: Shape) -> Numbers:
    return 0.01 + np.abs(rng.normal(size=shape))


def _negative(rng: np.random.Generator, shape: Shape) -> Numbers:
    return -_positive(rng, shape)


def _integers(rng: np.random.Generator, shape: Shape) -> Numbers:
    return rng.integers(-4, 5, shape).astype(float)


def _with_zeros(rng: np.random.Generator, shape: Shape) -> Numbers:
    """About a quarter of the entries are zero, half of these negative zeros."""
    x = rng.normal(size=shape)
    kinds = rng.integers(0, 8, shape)
    x[kinds == 0], x[kinds == 1] = 0.0, -0.0
    x.reshape(-1)[:1] = 0.0
    return x


def _equal_rows(rng: np.random.Generator, shape: Shape) -> Numbers:
    return np.repeat(rng.normal(size=(1, *shape[1:])), shape[0], axis=0)


def _two_equal_rows(rng: np.random.Generator, shape: Shape) -> Numbers:
    x = rng.normal(size=shape)
    x[1:2] = x[:1]
    return x


def _constant_rows(rng: np.random.Generator, shape: Shape) -> Numbers:
    x = np.ones(shape) * rng.normal(size=(shape[0], *(1 for _ in shape[1:])))
    return x


def _a_constant_row(rng: np.random.Generator, shape: Shape) -> Numbers:
    x = rng.normal(size=shape)
    x[:1] = rng.normal()
    return x


def _a_row_of_zeros(rng: np.random.Generator, shape: Shape) -> Numbers:
    x = rng.normal(size=shape)
    x[-1:] = 0.0
    return x


def _sparse(rng: np.random.Generator, shape: Shape) -> Numbers:
    return rng.normal(size=shape) * (rng.random(shape) < 0.2)


def _one_hot(rng: np.random.Generator, shape: Shape) -> Numbers:
    """A single one in each row."""
    x = np.zeros((shape[0], int(np.prod(shape[1:]))))
    if x.size:
        x[np.arange(shape[0]), rng.integers(0, x.shape[1], shape[0])] = 1.0
    return x.reshape(shape)


def _one_entry(rng: np.random.Generator, shape: Shape) -> Numbers:
    x = np.zeros(shape)
    if x.size:
        x.reshape(-1)[rng.integers(x.size)] = 1.0
    return x


def _sorted(rng: np.random.Generator, shape: Shape) -> Numbers:
    return np.sort(rng.normal(size=shape).ravel()).reshape(shape)


def _uniform(rng: np.random.Generator, shape: Shape) -> Numbers:
    return rng.uniform(0.0, 1.0, shape)


def _zeros(rng: np.random.Generator, shape: Shape) -> Numbers:
    return np.zeros(shape)


def _ones(rng: np.random.Generator, shape: Shape) -> Numbers:
    return np.ones(shape)


VALUES: dict[str, Draw] = {
    "near zero, for inputs of about 0.001": _of_about(1e-3),
    "near zero, for inputs below 1e-6": _between(-8, -6.3),
    "in the tails, for inputs of about 10": _of_about(10.0),
    "in the tails, for inputs of about 100": _of_about(100.0),
    "in the tails, for inputs of about 1000": _of_about(1000.0),
    "in the tails, for inputs above 10,000": _between(4.2, 5),
    "for inputs from 1e-8 to 10,000": _between(-8, 4),
    "for positive inputs": _positive,
    "for negative inputs": _negative,
    "for inputs between 0 and 1": _uniform,
    "for integers": _integers,
    "for inputs with zeros": _with_zeros,
    "for sparse inputs": _sparse,
    "for one-hot rows": _one_hot,
    "for a row of zeros": _a_row_of_zeros,
    "for equal rows": _equal_rows,
    "for two equal rows": _two_equal_rows,
    "for constant rows": _constant_rows,
    "for a constant row": _a_constant_row,
    "for sorted inputs": _sorted,
}
"""Values of the inputs, which replace those of an ordinary batch."""

PARAMETERS: dict[str, Draw] = {
    "for parameters below 1e-6": _between(-8, -6.3),
    "for parameters of about 0.01": _of_about(0.01),
    "for parameters of about 30": _between(1, 2),
    "for positive parameters": _positive,
    "for negative parameters": _negative,
    "for integer parameters": _integers,
    "for parameters of zero": _zeros,
}
"""Values of all parameters."""

DELTAS: dict[str, Draw] = {
    "for a delta above 10": _between(1.2, 3),
    "for a delta below 0.001": _between(-6, -3.3),
    "for a delta below 1e-8": _between(-11, -8),
    "for a delta with a single one": _one_entry,
    "for a delta of one-hot rows": _one_hot,
    "for a sparse delta": _sparse,
    "for a delta with a row of zeros": _a_row_of_zeros,
    "for a delta of zeros": _zeros,
    "for a delta of ones": _ones,
    "for a positive delta": _positive,
    "for a negative delta": _negative,
    "for a delta of integers": _integers,
    "for a delta with zeros": _with_zeros,
    "for a delta of equal rows": _equal_rows,
    "for a delta of constant rows": _constant_rows,
}
"""Values of the delta."""


# ------------------------------------------------------------------------------- layouts


def _strided(x: Numbers) -> Numbers:
    """Every second element along each axis of a larger array."""
    larger = np.zeros(tuple(2 * n for n in x.shape), x.dtype)
    window = larger[tuple(slice(None, None, 2) for _ in x.shape)]
    window[...] = x
    return window


def _strided_rows(x: Numbers) -> Numbers:
    window = np.zeros((2 * len(x), *x.shape[1:]), x.dtype)[::2]
    window[...] = x
    return window


def _window(x: Numbers) -> Numbers:
    """Some rows and columns of a larger array."""
    larger = np.zeros(tuple(n + 2 for n in x.shape), x.dtype)
    window = larger[tuple(slice(1, n + 1) for n in x.shape)]
    window[...] = x
    return window


def _reversed(x: Numbers) -> Numbers:
    return np.flip(np.flip(x).copy())


def _swapped(x: Numbers) -> Numbers:
    """The last two axes are exchanged in memory."""
    return np.swapaxes(np.swapaxes(x, -1, -2).copy(), -1, -2) if x.ndim > 2 else x.copy(order="F")


def _read_only(x: Numbers) -> Numbers:
    x = x.copy()
    x.setflags(write=False)
    return x


def _unaligned(x: Numbers) -> Numbers:
    result: Numbers = np.ndarray(x.shape, x.dtype, np.zeros(x.nbytes + 1, np.uint8), offset=1)
    result[...] = x
    return result


LAYOUTS: dict[str, Callable[[Numbers], Numbers]] = {
    "in Fortran order": np.asfortranarray,
    "that are read-only": _read_only,
    "with strides": _strided,
    "that are every second row of a larger array": _strided_rows,
    "that are a window of a larger array": _window,
    "with negative strides": _reversed,
    "with two axes swapped in memory": _swapped,
    "that are not aligned in memory": _unaligned,
}
"""Arrays with the same numbers, laid out differently in memory."""


def all_layouts(case: Case) -> Iterator[Situation]:
    """The same numbers in every layout: of the inputs, of the delta, and of both."""
    for phrase, lay in LAYOUTS.items():
        yield Situation(f"for inputs {phrase}", evolve(case, lay_inputs=lay))
        yield Situation(f"for deltas {phrase}", evolve(case, lay_delta=lay))
        yield Situation(
            f"for inputs and deltas {phrase}", evolve(case, lay_inputs=lay, lay_delta=lay)
        )


# ------------------------------------------------------------------------------- the world


@contextmanager
def elsewhere(seed: int) -> Iterator[None]:
    """Other states of the global random generators, and another time on the clock."""
    states = np.random.get_state(legacy=False), random.getstate()
    clocks = {name: getattr(time, name) for name in ("time", "time_ns", "perf_counter")}
    later = {name: seed * 10 ** (15 if name == "time_ns" else 6) for name in clocks}
    shifted: dict[str, Any] = {
        name: (lambda clock=clock, later=later[name]: clock() + later)
        for name, clock in clocks.items()
    }
    try:
        np.random.seed(seed)
        random.seed(seed)
        with mock.patch.multiple(time, **shifted):
            yield
    finally:
        np.random.set_state(states[0])
        random.setstate(states[1])
