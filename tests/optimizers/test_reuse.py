"""An optimizer that remembers one model and is used for another warns once, with the way out."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest

from chainrule import Dense, Trainer, losses, optimizers
from chainrule.core.ownership import ReusedStateWarning

X, T = np.ones((4, 2)), np.ones((4, 1))
WITH_MEMORY = [
    optimizers.SGD(0.1, momentum=0.9),
    optimizers.RMSprop(),
    optimizers.Adagrad(),
    optimizers.Adam(),
    optimizers.AdamW(),
    optimizers.Adamax(),
    optimizers.Lion(),
]


def train(model: Any, optimizer: Any) -> Trainer:
    trainer = Trainer(model, losses.HalfSquaredError(), optimizer, rng=0)
    trainer.fit(X, T, epochs=1, progress=False)
    return trainer


@pytest.mark.parametrize("optimizer", WITH_MEMORY, ids=lambda each: type(each).__name__)
def test_reuse_for_another_model_warns_once(optimizer):
    optimizer = copy.deepcopy(optimizer)
    train(Dense(1), optimizer)
    with pytest.warns(ReusedStateWarning, match=r"has trained another model") as caught:
        train(Dense(1), optimizer)  # such as the next fold
    assert "optimizer.reset()" in str(caught[0].message) and caught[0].filename == __file__
    train(Dense(1), optimizer)


def test_a_custom_loop_warns_too():
    optimizer = optimizers.Adam()
    train(Dense(1), optimizer)
    other = Trainer(Dense(1), losses.HalfSquaredError(), optimizer, rng=0)
    with pytest.warns(ReusedStateWarning):
        other.step(X, T)


@pytest.mark.parametrize("optimizer", WITH_MEMORY, ids=lambda each: type(each).__name__)
def test_what_is_fresh_or_has_the_same_model_does_not_warn(optimizer):
    optimizer = copy.deepcopy(optimizer)
    model = Dense(1)
    train(model, optimizer).fit(X, T, epochs=1, progress=False)
    train(model, optimizer)
    optimizer.reset()
    train(Dense(1), optimizer)
    trainer = train(Dense(1), copy.deepcopy(WITH_MEMORY[0]))
    copy.deepcopy(trainer).fit(X, T, epochs=1, progress=False)


def test_an_optimizer_without_memory_can_be_reused():
    optimizer = optimizers.SGD(0.1)
    for _ in range(3):
        train(Dense(1), optimizer)


def test_a_fresh_optimizer_and_one_that_was_reset_give_the_same_numbers():
    one, other, optimizer = Dense(1), Dense(1), optimizers.Adam(0.1)
    train(Dense(1), optimizer)
    optimizer.reset()
    train(one, optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(other, optimizers.Adam(0.1))
    np.testing.assert_array_equal(one.weights.value, other.weights.value)


def test_an_optimizer_with_an_init_of_its_own_trains():
    class Plain(optimizers.Optimizer):
        def __init__(self) -> None:
            self.learning_rate = 0.1

        def step(self, value: Any, gradient: Any) -> None:
            value -= self.learning_rate * gradient

    assert train(Dense(1), Plain()).steps == 1
