"""Schedules: their values by hand, their properties, and what they do to a training."""

from __future__ import annotations

import copy
import json
import math
import pickle
import sys
from fractions import Fraction
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import Dense, Sequential, Trainer, losses, optimizers
from chainrule.core.errors import ConfigurationError, DefinitionError, MissingExtraError
from chainrule.training import schedules
from chainrule.training.optimizers import Optimizer
from chainrule.training.schedules import (
    Chain,
    Constant,
    Cosine,
    Exponential,
    LearningRate,
    OneCycle,
    Polynomial,
    Product,
    ReduceOnPlateau,
    Schedule,
    Step,
    WarmUp,
)

ONE_OF_EACH = [
    Constant(0.1),
    Step(0.1, every=3, factor=0.5),
    Exponential(0.1, 0.9),
    Polynomial(0.1, steps=12, end=0.01, power=2.0),
    Cosine(0.1, steps=12, end=0.01),
    Cosine(0.1, steps=3, restarts=True, growth=2),
    WarmUp(Cosine(0.1, steps=9), steps=3),
    OneCycle(0.1, steps=12),
    OneCycle(0.1, steps=12, start=0.02, end=0.0, rise=0.4, shape="linear", phases=3),
    Constant(0.1).then(Exponential(0.1, 0.9), after=5),
    0.5 * Cosine(0.1, steps=12) * Exponential(1.0, 0.9),
]


def values(schedule: Schedule, steps: int) -> list[float]:
    return [schedule(t) for t in range(steps)]


# ------------------------------------------------------------------------------- by hand


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Constant(0.25), [0.25, 0.25, 0.25]),
        (Constant(0), [0.0, 0.0]),
        (Step(8.0, every=2, factor=0.5), [8, 8, 4, 4, 2, 2, 1]),
        (Exponential(8.0, 0.5), [8, 4, 2, 1, 0.5]),
        (Exponential(0.25, 2), [0.25, 0.5, 1, 2]),
        (Exponential.between(0.25, 4.0, steps=4), [0.25, 0.5, 1, 2, 4, 8]),
        (Polynomial(1.0, 4), [1, 0.75, 0.5, 0.25, 0, 0]),
        (Polynomial(1.0, 4, end=0.5, power=2), [1, 0.5 + 0.5 * 9 / 16, 0.625, 0.53125, 0.5, 0.5]),
        (Polynomial(0.0, 2, end=1.0), [0, 0.5, 1, 1]),
        (Cosine(1.0, 4), [1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125), 0, 0]),
        (Cosine(3.0, 3, end=1.0), [3, 2.5, 1.5, 1, 1, 1]),
        (Cosine(1.0, 2, restarts=True), [1, 0.5, 1, 0.5, 1]),
        (
            Cosine(1.0, 1, end=0.0, restarts=True, growth=3),
            [1, 1, 0.75, 0.25, 1, *[(1 + math.cos(math.pi * n / 9)) / 2 for n in range(1, 9)], 1],
        ),
        (WarmUp(Constant(1.0), 4), [0.2, 0.4, 0.6, 0.8, 1, 1]),
        (WarmUp(Constant(1.0), 4, start=0), [0, 0.25, 0.5, 0.75, 1, 1]),
        (WarmUp(Polynomial(1.0, 2), 2, start=0.5), [0.5, 0.75, 1, 0.5, 0, 0]),
        (
            OneCycle(1.0, 8, start=0.5, end=0.0, rise=0.375, shape="linear"),
            [0.5, 0.75, 1, 0.8, 0.6, 0.4, 0.2, 0, 0],
        ),
        (
            OneCycle(1.0, 8, start=0.5, end=0.0, rise=0.375),
            [0.5, 0.75, 1, *[(1 + math.cos(math.pi * n / 5)) / 2 for n in range(1, 6)], 0],
        ),
        (
            OneCycle(1.0, 7, start=0.5, end=0.0, rise=3 / 7, shape="linear", phases=3),
            [0.5, 0.75, 1, 0.75, 0.5, 0.25, 0, 0],
        ),
        (Constant(1.0).then(Exponential(4.0, 0.5), after=2), [1, 1, 4, 2, 1]),
        (
            Constant(1.0).then(Step(2.0, 1, 0.5), after=1).then(Constant(5.0), after=3),
            [1, 2, 1, 5, 5],
        ),
        (WarmUp(Constant(1.0), 1).then(0.5 * Constant(1.0), after=2), [0.5, 1, 0.5]),
        (0.5 * Exponential(4.0, 0.5), [2, 1, 0.5]),
        (Exponential(4.0, 0.5) * Step(1.0, 2, 0.5) * 2, [8, 4, 1, 0.5]),
    ],
    ids=repr,
)
def test_the_values_are_those_worked_out_by_hand(schedule: Schedule, expected: list[float]) -> None:
    np.testing.assert_allclose(values(schedule, len(expected)), expected, rtol=1e-14, atol=1e-16)


def test_the_ends_are_met_exactly() -> None:
    start, end = 0.3, 0.1
    for schedule in (Polynomial(start, 7, end, 0.9), Cosine(start, 7, end)):
        assert (schedule(0), schedule(7), schedule(10**9)) == (start, end, end)
    cycle = OneCycle(start, 10, start=0.07, end=0.01, rise=0.3)
    assert (cycle(0), cycle(2), cycle(9), cycle(10**9)) == (0.07, 0.3, 0.01, 0.01)
    assert OneCycle(1.0, 10)(0) == 0.04 and OneCycle(1.0, 10)(9) == pytest.approx(4e-6)


def test_the_rise_from_zero_leaves_out_the_step_that_moves_nothing() -> None:
    schedule = WarmUp(Constant(0.1), steps=9)
    np.testing.assert_allclose(values(schedule, 11), [*np.arange(1, 11) / 100, 0.1], rtol=1e-14)


# ------------------------------------------------------------------------------- properties

rates = st.floats(1e-8, 1e3)
counts = st.integers(1, 300)
decays = st.builds(Exponential, rates, st.floats(0.5, 1.0))
falls = st.one_of(
    st.builds(Step, rates, counts, st.floats(0.01, 1.0)),
    decays,
    st.builds(Polynomial, rates, counts, st.just(0.0), st.floats(0.2, 4.0)),
    st.builds(Cosine, rates, counts),
)
any_schedule = st.recursive(
    st.one_of(
        falls,
        st.builds(Constant, rates),
        st.builds(Cosine, rates, counts, rates, restarts=st.just(True), growth=st.integers(1, 3)),
        st.builds(
            OneCycle,
            rates,
            st.integers(21, 300),
            rise=st.floats(0.05, 0.5),
            shape=st.sampled_from(["cosine", "linear"]),
            phases=st.sampled_from([2, 3]),
        ),
    ),
    lambda inner: st.one_of(
        st.builds(WarmUp, inner, counts, st.one_of(st.none(), rates)),
        st.builds(lambda a, b, n: Chain((a, b), (n,)), inner, inner, counts),
        st.builds(lambda a, b: a * b, inner, inner),
        st.builds(lambda a, b: a * b, st.floats(0, 10), inner),
    ),
    max_leaves=4,
)


def assert_falls(rates: list[float]) -> None:
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in pairwise(rates))


@given(any_schedule, st.integers(0, 10**6))
def test_every_rate_is_a_float_that_an_optimizer_takes_and_depends_on_t_alone(
    schedule: Schedule, t: int
) -> None:
    rate = schedule(t)
    assert type(rate) is float and 0 <= rate < math.inf
    schedule(t + 1)
    assert schedule(t) == rate == schedule(np.int64(t))
    assert optimizers.SGD(rate).learning_rate == rate


@given(falls)
def test_what_falls_never_rises(schedule: Schedule) -> None:
    assert_falls(values(schedule, 400))


@given(rates, rates, counts, st.floats(0.2, 4.0))
def test_polynomial_and_cosine_go_one_way_and_stay_between_their_ends(
    start: float, end: float, steps: int, power: float
) -> None:
    for schedule in (Polynomial(start, steps, end, power), Cosine(start, steps, end)):
        found = values(schedule, steps + 5)
        assert_falls(found if start >= end else found[::-1])
        low, high = sorted((start, end))
        assert low * (1 - 1e-12) <= min(found) and max(found) <= high * (1 + 1e-12)
        assert found[0] == start and found[steps:] == [end] * 5


@given(rates, st.integers(1, 60), st.integers(1, 3))
def test_after_a_restart_the_same_curve_comes_more_slowly(
    start: float, steps: int, growth: int
) -> None:
    schedule = Cosine(start, steps, restarts=True, growth=growth)
    length = steps * growth
    assert schedule(steps) == schedule(steps + length) == start
    again = [schedule(steps + growth * t) for t in range(steps)]
    np.testing.assert_allclose(again, values(schedule, steps), rtol=1e-12)
    assert_falls(values(schedule, steps))


@given(falls, counts, st.one_of(st.none(), st.floats(0.0, 1.0)))
def test_a_warm_up_rises_evenly_and_meets_what_follows(
    schedule: Schedule, steps: int, part: float | None
) -> None:
    top = schedule(0)
    start = None if part is None else part * top
    warm = WarmUp(schedule, steps, start)
    rise = values(warm, steps + 1)
    assert_falls(rise[::-1])
    assert rise[-1] == top and 0 <= rise[0] <= top * (1 + 1e-12)
    np.testing.assert_allclose(np.diff(rise), (top - rise[0]) / steps, atol=1e-12 * top)
    assert [warm(steps + t) for t in range(20)] == values(schedule, 20)


@given(rates, st.integers(21, 300), st.floats(0.05, 0.5), st.sampled_from([2, 3]))
def test_one_cycle_rises_to_its_peak_and_falls_to_its_end(
    peak: float, steps: int, rise: float, phases: int
) -> None:
    for shape in ("cosine", "linear"):
        schedule = OneCycle(peak, steps, rise=rise, shape=shape, phases=phases)
        found = values(schedule, steps)
        top = rise * steps - 1
        assert_falls(found[: math.floor(top) + 1][::-1])
        assert_falls(found[math.ceil(top) :])
        assert max(found) <= peak * (1 + 1e-12) and found[0] == peak / 25
        assert found[-1] == schedule(steps + 7) == pytest.approx(peak / 25e4, rel=1e-9)
        if shape == "linear":  # no jump: no step is larger than the steepest piece makes it
            steepest = max(peak / min(top, steps - 1 - top), peak / 25)
            assert np.max(np.abs(np.diff(found))) <= steepest * (1 + 1e-9)


@given(decays, falls, falls, st.integers(1, 50), st.integers(1, 50))
def test_each_part_of_a_chain_counts_from_its_own_beginning(
    one: Schedule, two: Schedule, three: Schedule, first: int, second: int
) -> None:
    chain = one.then(two, after=first).then(three, after=first + second)
    parts = values(one, first) + values(two, second) + values(three, 30)
    assert values(chain, first + second + 30) == parts
    assert chain == Chain([one, two, three], [first, first + second])


@given(rates, st.floats(0.5, 1.0), st.integers(1, 100))
def test_a_chain_is_continuous_where_the_second_starts_from_the_rate_of_the_first(
    start: float, factor: float, after: int
) -> None:
    decay = Exponential(start, factor)
    chain = decay.then(Exponential(decay(after), factor), after=after)
    np.testing.assert_allclose(values(chain, 200), values(decay, 200), rtol=1e-11)


@given(decays, falls, st.floats(0.0, 10.0), st.integers(0, 500))
def test_a_product_multiplies_in_any_order_and_grouping(
    one: Schedule, two: Schedule, number: float, t: int
) -> None:
    expected = number * one(t) * two(t)
    grouped = (number * one * two, number * (two * one), one * (two * number))
    for product in grouped:
        assert isinstance(product, Product) and len(product.factors) == 3
        assert product(t) == pytest.approx(expected, rel=1e-14, abs=1e-300)


def test_numbers_of_numpy_multiply_from_both_sides_and_give_plain_fields() -> None:
    for number in (np.float64(0.5), np.float32(0.5), Fraction(1, 2)):
        for product in (number * Constant(2.0), Constant(2.0) * number):
            assert isinstance(product, Product) and product(0) == 1.0
            assert all(type(factor.rate) is float for factor in product.factors)
    assert type(Step(np.float32(0.5), np.int32(3)).every) is int


# ------------------------------------------------------------------------------- as objects


@pytest.mark.parametrize("schedule", ONE_OF_EACH, ids=repr)
def test_a_schedule_is_a_value_that_repr_pickle_and_its_fields_give_again(
    schedule: Schedule,
) -> None:
    names = {name: getattr(schedules, name) for name in schedules.__all__}
    copies = [
        eval(repr(schedule), names),
        pickle.loads(pickle.dumps(schedule)),
        copy.deepcopy(schedule),
        from_record(json.loads(json.dumps(as_record(schedule)))),
    ]
    for again in copies:
        assert again == schedule and hash(again) == hash(schedule)
        assert values(again, 15) == values(schedule, 15)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(schedule, attrs.fields(type(schedule))[0].name, 1.0)


def as_record(schedule: Schedule) -> Any:
    """What a file would hold: the class, and fields of numbers, words, lists and records."""
    fields = {field.name: getattr(schedule, field.name) for field in attrs.fields(type(schedule))}
    return {"class": type(schedule).__name__, "fields": {k: plain(v) for k, v in fields.items()}}


def plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    if isinstance(value, Schedule):
        return as_record(value)
    assert value is None or type(value) in (int, float, str, bool)
    return value


def from_record(record: Any) -> Any:
    if isinstance(record, list):
        return tuple(from_record(each) for each in record)
    if isinstance(record, dict):
        fields = {name: from_record(value) for name, value in record["fields"].items()}
        return getattr(schedules, record["class"])(**fields)
    return record


def test_a_schedule_of_ones_own_composes_like_any() -> None:
    @attrs.frozen
    class InverseSquareRoot(Schedule):
        start: float

        def at(self, t: int) -> float:
            return self.start / math.sqrt(t + 1)

    own = InverseSquareRoot(2.0)
    assert (own(3), (0.5 * own)(3), WarmUp(own, 4)(7)) == (1.0, 0.5, 1.0)
    with pytest.raises(DefinitionError, match="needs a method at"):
        Schedule()(0)


# ------------------------------------------------------------------------------- plateaus


def rates_of(plateau: ReduceOnPlateau, figures: list[float]) -> list[float]:
    return [plateau.update(figure) for figure in figures]


@pytest.mark.parametrize(
    ("arguments", "figures", "expected"),
    [
        ({"patience": 0}, [2, 1, 1, 0.5, 0.5], [8, 8, 4, 4, 2]),
        ({"patience": 1}, [1, 1, 1, 1, 1, 0.5], [8, 8, 4, 4, 2, 2]),
        ({"patience": 1}, [1, 2, 0.5, 2, 0.4, 2], [8] * 6),
        ({"patience": 0, "cooldown": 2}, [1, 1, 1, 1, 1, 1], [8, 4, 4, 4, 2, 2]),
        ({"patience": 0, "minimum": 3}, [1, 1, 1, 1], [8, 4, 3, 3]),
        ({"patience": 0, "minimum": 9}, [1, 1, 1], [8, 8, 8]),
        ({"patience": 0, "threshold": 0.1}, [1, 0.95, 0.85], [8, 4, 4]),
        ({"patience": 0, "threshold": 0.1, "relative": False}, [10, 9.95, 9.85], [8, 4, 4]),
        ({"patience": 0, "threshold": 1.5, "relative": False}, [10, 9, 8], [8, 4, 4]),
        ({"patience": 0, "mode": "max"}, [0.5, 0.4, 0.6, 0.6], [8, 4, 4, 2]),
        ({"patience": 0, "threshold": 0.1}, [-1, -1.05, -1.2], [8, 4, 4]),
        ({"patience": 0}, [math.nan, 1, math.nan, 0.5], [4, 4, 2, 2]),
        ({"patience": 0}, [math.inf, 1, -math.inf, -math.inf], [4, 4, 4, 2]),
        ({"patience": 0, "threshold": 0.0}, [0, 0, -1e-300], [8, 4, 4]),
    ],
)
def test_a_plateau_is_waited_for_and_then_the_rate_is_reduced(
    arguments: dict[str, Any], figures: list[float], expected: list[float]
) -> None:
    plateau = ReduceOnPlateau(8.0, factor=0.5, **arguments)
    assert rates_of(plateau, figures) == expected
    assert plateau.rate == expected[-1]
    plateau.reset()
    assert plateau == ReduceOnPlateau(8.0, factor=0.5, **arguments)
    assert rates_of(plateau, figures) == expected


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60), st.integers(0, 4))
def test_the_rate_of_a_plateau_never_rises_and_keeps_above_its_minimum(
    figures: list[float], patience: int
) -> None:
    plateau = ReduceOnPlateau(1.0, factor=0.5, patience=patience, minimum=0.1, cooldown=1)
    found = [1.0, *rates_of(plateau, figures)]
    assert all(later in (earlier, max(earlier / 2, 0.1)) for earlier, later in pairwise(found))
    falls_at = [n for n, (a, b) in enumerate(pairwise(found)) if a != b]
    assert all(later - earlier > patience for earlier, later in pairwise(falls_at))


# ------------------------------------------------------------------------------- in a training


def trainer_of(optimizer: Optimizer) -> Trainer:
    model = Sequential([Dense(2)])
    model.build((3,), rng=0, dtype="float64")
    return Trainer(model, losses.HalfSquaredError(), optimizer, rng=0)


def samples(count: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(count, 3)), rng.normal(size=(count, 2))


def recording(kind: type[Optimizer]) -> tuple[Optimizer, list[float]]:
    """An optimizer that writes down with which rate each step is taken."""
    seen: list[float] = []

    @attrs.define
    class Recording(kind):  # type: ignore[valid-type, misc]
        def step(self, value: Any, gradient: Any) -> None:
            seen.append(self.learning_rate)
            kind.step(self, value, gradient)

    return Recording(learning_rate=7.0), seen


def every_optimizer() -> list[type[Optimizer]]:
    known = [getattr(optimizers, name) for name in optimizers.__all__]
    kinds = [each for each in known if isinstance(each, type) and issubclass(each, Optimizer)]
    return [kind for kind in kinds if kind is not Optimizer]


@pytest.mark.parametrize("kind", every_optimizer())
@pytest.mark.parametrize("schedule", ONE_OF_EACH, ids=repr)
def test_step_t_is_taken_with_the_rate_of_t_over_several_fits(
    kind: type[Optimizer], schedule: Schedule
) -> None:
    optimizer, seen = recording(kind)
    trainer, rate = trainer_of(optimizer), LearningRate(schedule)
    trainer.fit(*samples(5), epochs=2, batch_size=2, callbacks=[rate])
    assert rate.steps == 6
    trainer.fit(*samples(5), epochs=3, batch_size=2, callbacks=[rate])
    assert rate.steps == 15
    assert seen == values(schedule, 15)


def test_per_epoch_the_rate_stays_the_same_within_each() -> None:
    optimizer, seen = recording(optimizers.SGD)
    trainer, rate = trainer_of(optimizer), LearningRate(Exponential(0.5, 0.5), per="epoch")
    for epochs in (2, 1):
        trainer.fit(*samples(5), epochs=epochs, batch_size=2, callbacks=[rate])
    assert seen == [0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125, 0.125]
    assert rate.steps == 3


def test_the_count_can_be_set_to_begin_afresh_or_go_on() -> None:
    optimizer, seen = recording(optimizers.SGD)
    rate = LearningRate(Exponential(0.5, 0.5), steps=2)
    trainer = trainer_of(optimizer)
    trainer.fit(*samples(2), epochs=1, callbacks=[rate])
    rate.steps = 0
    trainer.fit(*samples(2), epochs=1, callbacks=[rate])
    assert seen == [0.125, 0.5]


def test_a_scheduled_training_equals_the_loop_written_out() -> None:
    schedule, (x, t) = WarmUp(Cosine(0.3, steps=6), steps=3), samples(4)
    one, two = trainer_of(optimizers.Adam()), trainer_of(optimizers.Adam())
    one.fit(x, t, epochs=10, shuffle=False, callbacks=[LearningRate(schedule)])
    for n in range(10):
        two.optimizer.learning_rate = schedule(n)
        two.step(x, t)
    np.testing.assert_array_equal(one.model.parameters.value, two.model.parameters.value)


@pytest.mark.parametrize("monitor", ["validation_loss", "loss", "mean_squared_error"])
def test_a_plateau_is_told_the_column_that_it_monitors(monitor: str) -> None:
    optimizer, seen = recording(optimizers.SGD)
    model, loss = Sequential([Dense(2)]), losses.HalfSquaredError()
    trainer = Trainer(model, loss, optimizer, metrics=["mean_squared_error"], rng=0)
    plateau = ReduceOnPlateau(1.5, factor=0.5, patience=0, threshold=0.05)
    rate = LearningRate(plateau, monitor=monitor)
    found: list[float] = []
    for epochs in (12, 3):
        history = trainer.fit(
            *samples(6), epochs=epochs, validation_data=samples(3), callbacks=[rate]
        )
        found += history[monitor]
    again = ReduceOnPlateau(1.5, factor=0.5, patience=0, threshold=0.05)
    assert seen == [1.5, *rates_of(again, found)][:-1]
    assert seen[-1] < 1.5 and rate.steps == 15
    assert trainer.optimizer.learning_rate == plateau.rate == again.rate


@pytest.mark.parametrize(
    ("monitor", "validation", "mend"),
    [
        (None, False, "give validation_data to fit, or monitor='loss'"),
        ("validation_accuracy", False, "give validation_data to fit, or monitor='loss'"),
        ("validation_accuracy", True, "one of these: monitor='loss'"),
        ("acuracy", False, "one of these: monitor='loss'"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_those_that_are(
    monitor: str | None, validation: bool, mend: str
) -> None:
    plateau = ReduceOnPlateau(0.1)
    rate = LearningRate(plateau) if monitor is None else LearningRate(plateau, monitor=monitor)
    more = {"validation_data": samples(3)} if validation else {}
    with pytest.raises(ConfigurationError) as caught:
        trainer_of(optimizers.SGD(0.1)).fit(*samples(4), callbacks=[rate], **more)
    assert caught.value.expected == f"a column {monitor or 'validation_loss'!r}"
    assert caught.value.received == ("loss, validation_loss" if validation else "loss")
    assert caught.value.mend == mend


def test_print_says_what_is_done() -> None:
    assert repr(LearningRate(Constant(0.1))) == (
        "LearningRate(schedule=Constant(rate=0.1), per='step', monitor=None, steps=0)"
    )
    plateau = LearningRate(ReduceOnPlateau(0.1))
    assert "per='epoch', monitor='validation_loss'" in repr(plateau)


# ------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("make", "place", "argument"),
    [
        (lambda: Constant(-0.1), "Constant", "rate"),
        (lambda: Constant("0.1"), "Constant", "rate"),
        (lambda: Constant(True), "Constant", "rate"),
        (lambda: Constant(math.nan), "Constant", "rate"),
        (lambda: Constant(math.inf), "Constant", "rate"),
        (lambda: Constant(10**400), "Constant", "rate"),
        (lambda: Step(0.1, every=0), "Step", "every"),
        (lambda: Step(0.1, every=2.5), "Step", "every"),
        (lambda: Step(0.1, every=3, factor=0), "Step", "factor"),
        (lambda: Exponential(0.1, -1), "Exponential", "factor"),
        (lambda: Exponential.between(0.0, 1.0, 3), "Exponential.between", "start"),
        (lambda: Exponential.between(0.1, 1.0, 0), "Exponential.between", "steps"),
        (lambda: Polynomial(0.1, 0), "Polynomial", "steps"),
        (lambda: Polynomial(0.1, 10, end=None), "Polynomial", "end"),
        (lambda: Polynomial(0.1, 10, power=0), "Polynomial", "power"),
        (lambda: Cosine(0.1, True), "Cosine", "steps"),
        (lambda: Cosine(0.1, 10, -1), "Cosine", "end"),
        (lambda: Cosine(0.1, 10, restarts=1), "Cosine", "restarts"),
        (lambda: Cosine(0.1, 10, restarts=True, growth=0.5), "Cosine", "growth"),
        (lambda: Cosine(0.1, 10, growth=2), "Cosine", "growth"),
        (lambda: WarmUp(0.1, 10), "WarmUp", "schedule"),
        (lambda: WarmUp(Constant(0.1), -1), "WarmUp", "steps"),
        (lambda: WarmUp(Constant(0.1), 10, start="zero"), "WarmUp", "start"),
        (lambda: OneCycle(0.0, 100), "OneCycle", "peak"),
        (lambda: OneCycle(0.1, 100, start=0.2), "OneCycle", "start"),
        (lambda: OneCycle(0.1, 100, end=0.2), "OneCycle", "end"),
        (lambda: OneCycle(0.1, 100, rise=1), "OneCycle", "rise"),
        (lambda: OneCycle(0.1, 100, rise=0.6, phases=3), "OneCycle", "rise"),
        (lambda: OneCycle(0.1, 100, shape="cos"), "OneCycle", "shape"),
        (lambda: OneCycle(0.1, 100, phases=4), "OneCycle", "phases"),
        (lambda: OneCycle(0.1, 3), "OneCycle", "steps"),
        (lambda: Product(()), "Product", "factors"),
        (lambda: Product(3), "Product", "factors"),
        (lambda: Product((Constant(1), "a")), "Product", r"factors\[1\]"),
        (lambda: Constant(0.1) * -1, "Constant", "rate"),
        (lambda: Chain((), ()), "Chain", "schedules"),
        (lambda: Chain((Constant(1), 2), (3,)), "Chain", r"schedules\[1\]"),
        (lambda: Chain((Constant(1),), (3,)), "Chain", "after"),
        (lambda: Chain((Constant(1), Constant(2)), 3), "Chain", "after"),
        (lambda: Constant(1).then(Constant(2), after=0), "Chain", "after"),
        (lambda: Constant(1).then(Constant(2), after=2.5), "Chain", "after"),
        (
            lambda: Constant(1).then(Constant(2), after=5).then(Constant(3), after=5),
            "Chain",
            "after",
        ),
        (lambda: Constant(1).then(ReduceOnPlateau(0.1), after=5), "Chain", r"schedules\[1\]"),
        (lambda: ReduceOnPlateau(-1), "ReduceOnPlateau", "start"),
        (lambda: ReduceOnPlateau(1, factor=1), "ReduceOnPlateau", "factor"),
        (lambda: ReduceOnPlateau(1, patience=-1), "ReduceOnPlateau", "patience"),
        (lambda: ReduceOnPlateau(1, threshold=1), "ReduceOnPlateau", "threshold"),
        (lambda: ReduceOnPlateau(1, threshold=-1), "ReduceOnPlateau", "threshold"),
        (lambda: ReduceOnPlateau(1, relative=None), "ReduceOnPlateau", "relative"),
        (lambda: ReduceOnPlateau(1, cooldown=0.5), "ReduceOnPlateau", "cooldown"),
        (lambda: ReduceOnPlateau(1, minimum=-1), "ReduceOnPlateau", "minimum"),
        (lambda: ReduceOnPlateau(1, mode="least"), "ReduceOnPlateau", "mode"),
        (lambda: ReduceOnPlateau(1).update("low"), "ReduceOnPlateau", "figure"),
        (lambda: ReduceOnPlateau(1).plot([]), "ReduceOnPlateau", "figures"),
        (lambda: LearningRate(0.1), "LearningRate", "schedule"),
        (lambda: LearningRate(Cosine), "LearningRate", "schedule"),
        (lambda: LearningRate(lambda t: 0.1), "LearningRate", "schedule"),
        (lambda: LearningRate("cosine"), "LearningRate", "schedule"),
        (lambda: LearningRate(Constant(1), per="batch"), "LearningRate", "per"),
        (lambda: LearningRate(Constant(1), monitor="loss"), "LearningRate", "monitor"),
        (lambda: LearningRate(Constant(1), steps=-1), "LearningRate", "steps"),
        (lambda: LearningRate(ReduceOnPlateau(1), per="step"), "LearningRate", "per"),
        (lambda: LearningRate(ReduceOnPlateau(1), monitor=None), "LearningRate", "monitor"),
        (lambda: Constant(1)(-1), "Constant", "t"),
        (lambda: Constant(1)(0.5), "Constant", "t"),
        (lambda: Constant(1)(np.arange(3)), "Constant", "t"),
        (lambda: Constant(1).plot(0), "Constant", "steps"),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused_by_name(
    make: Any, place: str, argument: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{argument} has a value") as caught:
        make()
    error = caught.value
    assert error.place == place and error.expected and error.received and error.mend
    assert " at 0x" not in str(error)


@pytest.mark.parametrize("other", ["a", None, True, 1j, np.ones(2)])
def test_a_product_with_what_is_no_number_is_a_type_error(other: Any) -> None:
    with pytest.raises(TypeError):
        Constant(1) * other
    with pytest.raises(TypeError):
        other * Constant(1)


def test_a_rate_that_grows_beyond_all_numbers_is_told_where_it_happens() -> None:
    with pytest.raises(ConfigurationError, match="no learning rate") as caught:
        WarmUp(Exponential(1.0, 2.0), 10)(2010)
    assert caught.value.place == "Exponential, step 2000" and caught.value.received == math.inf
    trainer = trainer_of(optimizers.SGD(1.0))
    rate = LearningRate(Exponential(1e-300, 1e150))
    with pytest.raises(ConfigurationError, match=r"Exponential, step 3, epoch 3, step 1"):
        trainer.fit(*samples(4), epochs=9, batch_size=4, callbacks=[rate])


# ------------------------------------------------------------------------------- figures


@pytest.mark.parametrize("schedule", ONE_OF_EACH, ids=repr)
def test_the_figure_shows_every_rate_with_labelled_axes_and_touches_no_pyplot(
    schedule: Schedule,
) -> None:
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    figure = schedule.plot(15)
    (ax,) = figure.axes
    (stairs,) = ax.patches
    np.testing.assert_array_equal(stairs.get_data().values, values(schedule, 15))
    np.testing.assert_array_equal(stairs.get_data().edges, range(16))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step t", "learning rate η")
    figure.canvas.draw()
    assert plt.get_fignums() == before


@pytest.mark.parametrize(
    ("schedule", "scale"),
    [
        (Constant(0.1), "linear"),
        (Constant(0.0), "linear"),
        (Cosine(0.1, 90), "linear"),
        (OneCycle(0.1, 90), "linear"),
        (Step(0.1, 30), "log"),
        (Exponential(0.1, 0.9), "log"),
        (Exponential.between(1e-7, 1.0, 90), "log"),
        (Exponential(0.1, 0.9).then(Constant(0.0), after=80), "linear"),
    ],
    ids=repr,
)
def test_rates_that_span_decades_stand_on_a_logarithmic_scale(
    schedule: Schedule, scale: str
) -> None:
    figure = schedule.plot(90)
    assert figure.axes[0].get_yscale() == scale
    figure.canvas.draw()


@pytest.mark.parametrize("steps", [1, 2, 2000, 2001, 1_000_000])
def test_any_number_of_steps_is_drawn_from_the_first_to_the_last(steps: int) -> None:
    figure = Cosine(0.1, steps).plot(steps)
    data = figure.axes[0].patches[0].get_data()
    assert data.edges[0] == 0 and data.edges[-1] == steps
    assert len(data.values) == min(steps, schedules.DRAWN_AT_MOST)
    assert data.values[0] == 0.1
    figure.canvas.draw()


def test_the_figure_of_a_plateau_shows_the_figures_and_the_rates_they_lead_to() -> None:
    plateau = ReduceOnPlateau(0.1, factor=0.5, patience=0)
    plateau.update(0.0)
    before = copy.deepcopy(plateau)
    figure = plateau.plot([2.0, 1.0, 1.0, 0.5])
    above, below = figure.axes
    np.testing.assert_array_equal(above.lines[0].get_xydata()[:, 1], [2.0, 1.0, 1.0, 0.5])
    data = below.patches[0].get_data()
    np.testing.assert_array_equal(data.values, [0.1, 0.1, 0.1, 0.05])
    np.testing.assert_array_equal(data.edges, [0.5, 1.5, 2.5, 3.5, 4.5])
    assert (below.get_xlabel(), below.get_ylabel()) == ("epoch", "learning rate η")
    assert above.get_ylabel() == "what is measured"
    assert plateau == before
    figure.canvas.draw()


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'chainrule\[plot\]'"):
        Constant(0.1).plot(10)


# ------------------------------------------------------------------------------- PyTorch's

STEPS = 100


def rates_of_pytorch(torch: Any, start: float, make: Any) -> list[float]:
    """With which rates PyTorch takes the steps."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=start)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    rates = []
    for _ in range(STEPS):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if len(rates) < STEPS:
            scheduler.step()
    return rates


@pytest.mark.peers
@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (Constant(0.1), lambda of, o: of.ConstantLR(o, factor=1.0)),
        (Step(0.1, 7), lambda of, o: of.StepLR(o, 7)),
        (Step(0.1, 30, 0.5), lambda of, o: of.StepLR(o, 30, gamma=0.5)),
        (
            Constant(0.1).then(Constant(0.02), after=30).then(Constant(0.004), after=80),
            lambda of, o: of.MultiStepLR(o, [30, 80], gamma=0.2),
        ),
        (Exponential(0.1, 0.93), lambda of, o: of.ExponentialLR(o, 0.93)),
        (Polynomial(0.1, 80), lambda of, o: of.PolynomialLR(o, 80)),
        (Polynomial(0.1, 80, power=0.9), lambda of, o: of.PolynomialLR(o, 80, power=0.9)),
        (
            Polynomial(0.025, 60, end=0.1),
            lambda of, o: of.LinearLR(o, start_factor=0.25, total_iters=60),
        ),
        (Cosine(0.1, 100), lambda of, o: of.CosineAnnealingLR(o, 100)),
        (Cosine(0.1, 100, 0.01), lambda of, o: of.CosineAnnealingLR(o, 100, eta_min=0.01)),
        (
            Cosine(0.1, 11, 0.01, restarts=True),
            lambda of, o: of.CosineAnnealingWarmRestarts(o, 11, eta_min=0.01),
        ),
        (
            Cosine(0.1, 11, restarts=True, growth=2),
            lambda of, o: of.CosineAnnealingWarmRestarts(o, 11, T_mult=2),
        ),
        (
            WarmUp(Exponential(0.1, 0.95), 20, start=0.02),
            lambda of, o: of.SequentialLR(
                o, [of.LinearLR(o, 0.2, total_iters=20), of.ExponentialLR(o, 0.95)], [20]
            ),
        ),
        (
            Exponential(0.1, 0.95).then(Step(0.1, 9), after=20).then(Polynomial(0.1, 30), after=60),
            lambda of, o: of.SequentialLR(
                o, [of.ExponentialLR(o, 0.95), of.StepLR(o, 9), of.PolynomialLR(o, 30)], [20, 60]
            ),
        ),
        (
            Exponential(0.1, 0.95) * Step(1.0, 9, 0.5),
            lambda of, o: of.ChainedScheduler([of.ExponentialLR(o, 0.95), of.StepLR(o, 9, 0.5)]),
        ),
        (
            0.1 * Exponential(1.0, 0.95),
            lambda of, o: of.LambdaLR(o, lambda t: 0.95**t),
        ),
        *[
            (
                OneCycle(0.1, STEPS, rise=rise, shape=shape, phases=phases),
                lambda of, o, rise=rise, name=name, phases=phases: of.OneCycleLR(
                    o,
                    0.1,
                    total_steps=STEPS,
                    pct_start=rise,
                    anneal_strategy=name,
                    three_phase=phases == 3,
                    cycle_momentum=False,
                ),
            )
            for rise in (0.3, 0.4567)
            for shape, name in (("cosine", "cos"), ("linear", "linear"))
            for phases in (2, 3)
        ],
        (
            OneCycle(0.1, STEPS, start=0.02, end=0.001),
            lambda of, o: of.OneCycleLR(
                o,
                0.1,
                total_steps=STEPS,
                div_factor=5,
                final_div_factor=20,
                cycle_momentum=False,
            ),
        ),
    ],
    ids=lambda given: repr(given) if isinstance(given, Schedule) else "",
)
def test_schedules_against_pytorch(torch: Any, schedule: Schedule, make: Any) -> None:
    theirs = rates_of_pytorch(torch, 0.1, make)
    np.testing.assert_allclose(values(schedule, STEPS), theirs, rtol=1e-12, atol=1e-12 * 0.1)


@pytest.mark.peers
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"factor": 0.5, "patience": 2}, {"factor": 0.5, "patience": 2}),
        (
            {"factor": 0.5, "patience": 0, "cooldown": 3, "minimum": 1e-3},
            {"factor": 0.5, "patience": 0, "cooldown": 3, "min_lr": 1e-3},
        ),
        (
            {"patience": 1, "threshold": 0.1, "mode": "max", "factor": 0.9},
            {"patience": 1, "threshold": 0.1, "mode": "max", "factor": 0.9},
        ),
        *[
            (
                {"patience": 1, "threshold": 0.1, "relative": False, "mode": mode, "factor": 0.9},
                {"patience": 1, "threshold": 0.1, "threshold_mode": "abs", "mode": mode}
                | {"factor": 0.9},
            )
            for mode in ("min", "max")
        ],
    ],
)
def test_plateaus_against_pytorch(torch: Any, seed: int, ours: Any, theirs: Any) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, eps=0.0, **theirs)
    plateau = ReduceOnPlateau(0.1, **ours)
    rng = np.random.default_rng(seed)
    figures = np.exp(-np.arange(STEPS) / 20) + 0.3 * rng.random(STEPS)
    figures[rng.integers(STEPS, size=3)] = [np.inf, np.nan, 0.05]
    if ours.get("mode") == "max":
        figures = 1 / figures
    for figure in figures:
        scheduler.step(figure)
        assert plateau.update(figure) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
    assert plateau.rate < 0.1
