"""The compiled steps give the bits of NumPy's, for every rule, size, type and number."""

from __future__ import annotations

from inspect import isfunction
from typing import Any

import numpy as np
import pytest

from chainrule import Activation, Dense, Sequential, optimizers, use_fast
from chainrule.optimizers import kernels
from core.acceleration_by_hand import interpreted_loops, same_bits

RULES = {
    "SGD": lambda: optimizers.SGD(0.1, weight_decay=0.01),
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9),
    "Nesterov": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "Adam": lambda: optimizers.Adam(0.01),
    "Adam, decay": lambda: optimizers.Adam(0.01, betas=(0.8, 0.95), weight_decay=0.1),
    "AdamW": lambda: optimizers.AdamW(0.01),
    "Adamax": lambda: optimizers.Adamax(0.01),
    "Adamax, decay": lambda: optimizers.Adamax(0.01, weight_decay=0.1),
    "RMSprop": lambda: optimizers.RMSprop(0.01),
    "RMSprop, momentum": lambda: optimizers.RMSprop(0.01, momentum=0.5, weight_decay=0.1),
    "RMSprop, centered": lambda: optimizers.RMSprop(0.01, centered=True),
    "RMSprop, both": lambda: optimizers.RMSprop(0.01, centered=True, momentum=0.9),
    "Adagrad": lambda: optimizers.Adagrad(0.01, learning_rate_decay=0.1, initial_accumulator=0.1),
    "Lion": lambda: optimizers.Lion(0.01),
    "Lion, decay": lambda: optimizers.Lion(0.01, weight_decay=0.1),
    "clipping": lambda: optimizers.Adam(0.01, clip_norm=1.0, clip_value=0.5),
}
UNUSUAL = [0.0, -0.0, 1e-45, -1e-40, 1e-30, 3e38, -1e30, np.inf, -np.inf, np.nan]

each_rule = pytest.mark.parametrize("rule", RULES)
each_type = pytest.mark.parametrize("dtype", ["float32", "float64"])


def moved(rule: str, size: int, dtype: str, seed: int, steps: int = 3) -> list[Any]:
    """The vector, and what the optimizer remembers, after some steps."""
    optimizer, rng = RULES[rule](), np.random.default_rng(seed)
    value = rng.normal(size=size).astype(dtype)
    with np.errstate(all="ignore"):
        for _ in range(steps):
            gradient = rng.normal(size=size) * 10.0 ** rng.integers(-20, 15, size)
            unusual = rng.random(size) < 0.1
            gradient[unusual] = rng.choice(UNUSUAL, unusual.sum())
            optimizer.step(value, gradient.astype(dtype))
    return [value, *(getattr(optimizer, name) for name in optimizer._remembered())]


def assert_same(found: list[Any], expected: list[Any]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert same_bits(one, other)


@each_type
@each_rule
def test_the_loop_of_a_rule_gives_the_bits_of_numpy(rule, dtype):
    for seed, size in enumerate((1, 8, 200)):
        with use_fast(False):
            expected = moved(rule, size, dtype, seed)
        with interpreted_loops():
            assert_same(moved(rule, size, dtype, seed), expected)


def test_every_loop_belongs_to_a_rule():
    run: set[str] = set()
    with interpreted_loops(run):
        for rule in RULES:
            moved(rule, 3, "float32", 0)
    own = {
        n for n, f in vars(kernels).items() if isfunction(f) and f.__module__ == kernels.__name__
    }
    assert run == own


@pytest.mark.parametrize("dtype", ["float16", "longdouble", ">f4", ">f8"])
def test_other_types_are_left_to_numpy(dtype):
    run: set[str] = set()
    with interpreted_loops(run):
        assert moved("Adam", 5, dtype, 0)[0].dtype == dtype
    assert not run


def test_half_a_run_with_loops_continues_without_them():
    """The state of an optimizer is the same in both, so a run can go from one to the other."""

    def trained(*loops: bool) -> list[Any]:
        optimizer, rng = optimizers.AdamW(0.01, decay_biases=False), np.random.default_rng(0)
        model = Sequential([Dense(4), Activation("tanh"), Dense(2)])
        model.build((3,), rng=0)
        frozen = model.parameters[0]
        for step, is_loop in enumerate(loops):
            frozen.trainable = step % 3 != 1
            model.parameters.grad[...] = rng.normal(size=model.parameters.size)
            with interpreted_loops() if is_loop else use_fast(False):
                optimizer.descend(model.parameters)
            state, optimizer = optimizer.state(), optimizers.AdamW(0.01, decay_biases=False)
            optimizer.restore(state)
        return [model.parameters.value, optimizer.first_moment, optimizer.second_moment]

    expected = trained(*[False] * 6)
    assert_same(trained(*[True] * 6), expected)
    assert_same(trained(False, True, True, False, True, False), expected)


# ------------------------------------------------------------------------------- compiled


@pytest.mark.peers
@each_type
@each_rule
def test_the_compiled_loop_of_a_rule_gives_the_bits_of_numpy(rule, dtype):
    for seed, size in enumerate((1, 2, 7, 15, 16, 17, 33, 100, 1000, 1001, 40_000, 100_003)):
        with use_fast(False):
            expected = moved(rule, size, dtype, seed)
        with use_fast():
            assert_same(moved(rule, size, dtype, seed), expected)


@pytest.mark.peers
@each_type
def test_many_seeds_give_the_bits_of_numpy(dtype):
    for seed in range(200):
        rule = list(RULES)[seed % len(RULES)]
        with use_fast(False):
            expected = moved(rule, 500, dtype, seed, steps=6)
        with use_fast():
            assert_same(moved(rule, 500, dtype, seed, steps=6), expected)


@pytest.mark.peers
def test_vectors_of_other_layouts_give_the_bits_of_numpy():
    def stepped() -> Any:
        memory = np.random.default_rng(0).normal(size=(4, 200)).astype("float32")
        gradient = np.ones(200, "float32")
        gradient.flags.writeable = False
        optimizer = optimizers.Adam(0.01)
        for _ in range(3):
            optimizer.step(memory.ravel()[3:603:3], gradient)
        return memory

    with use_fast(False):
        expected = stepped()
    with use_fast():
        assert same_bits(stepped(), expected)
