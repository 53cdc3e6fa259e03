"""Schedules: how the learning rate changes while a network learns.

Far from the minimum of the cost, long steps are good; near the minimum they jump across it. A
schedule is a function that gives the learning rate η for each step number t = 0, 1, 2, …,

    θ ← θ − η(t) ∂C/∂θ,        such as    η(t) = η₁ + (η₀ − η₁) ½ (1 + cos π t/T)    (`Cosine`)

and has no memory: its value at t is always the same. Schedules can be combined:

    WarmUp(Cosine(0.1, steps=900), steps=100)             rise to 0.1, then fall to zero
    Constant(0.1).then(Exponential(0.1, 0.99), after=50)  one after the other
    0.5 * Cosine(0.1, steps=900)                          a product with a number or a schedule

A callback applies the schedule to any optimizer; t counts steps or epochs:

    rate = LearningRate(WarmUp(Cosine(0.1, steps=900), steps=100))
    trainer.fit(x, t, callbacks=[rate])

`ReduceOnPlateau` is not a function of t: it reacts to measurements, so it has a state. It can start
from a schedule, whose rate it then reduces:

    LearningRate(ReduceOnPlateau(WarmUp(Constant(0.1), steps=100), factor=0.5, patience=5))

`range_test` finds the learning rates that work for a model.

Read in this order:

    schedule        the base class of all schedules, and how schedules are combined
    decays          Step, Exponential, Polynomial, Cosine
    warmups         WarmUp, OneCycle
    plateau         ReduceOnPlateau
    learning_rate   the callback that sets the learning rate of an optimizer
    drawing         plots of schedules

A new schedule is a subclass of `Schedule` with one method, `at`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule.core.hints import missing_name
from chainrule.schedules.decays import Cosine, Exponential, Polynomial, Step
from chainrule.schedules.learning_rate import LearningRate
from chainrule.schedules.plateau import ReduceOnPlateau
from chainrule.schedules.schedule import Chain, Constant, Product, Schedule
from chainrule.schedules.warmups import OneCycle, WarmUp

if TYPE_CHECKING:
    from chainrule.training.range_test import RangeTest as RangeTest
    from chainrule.training.range_test import range_test as range_test

__all__ = [
    "Chain",
    "Constant",
    "Cosine",
    "Exponential",
    "LearningRate",
    "OneCycle",
    "Polynomial",
    "Product",
    "RangeTest",
    "ReduceOnPlateau",
    "Schedule",
    "Step",
    "WarmUp",
    "range_test",
]


if not TYPE_CHECKING:  # with a __getattr__, type checkers would accept any name

    def __getattr__(name: str) -> Any:
        if name not in ("RangeTest", "range_test"):
            raise missing_name(__name__, name)
        from chainrule.training import range_test  # imported on first use

        return getattr(range_test, name)
