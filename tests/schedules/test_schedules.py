"""Schedules: values by hand, properties, plots, and the comparison with PyTorch."""

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

from chainrule import optimizers, schedules
from chainrule.core.errors import ConfigurationError, DefinitionError, MissingExtraError
from chainrule.schedules import (
    Chain,
    Constant,
    Cosine,
    Exponential,
    OneCycle,
    Polynomial,
    Product,
    ReduceOnPlateau,
    Schedule,
    Step,
    WarmUp,
)
from chainrule.schedules.drawing import MOST_STEPS

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
def test_the_values_are_those_computed_by_hand(schedule: Schedule, expected: list[float]) -> None:
    np.testing.assert_allclose(values(schedule, len(expected)), expected, rtol=1e-14, atol=1e-16)


def test_the_ends_are_met_exactly() -> None:
    start, end = 0.3, 0.1
    for schedule in (Polynomial(start, 7, end, 0.9), Cosine(start, 7, end)):
        assert (schedule(0), schedule(7), schedule(10**9)) == (start, end, end)
    cycle = OneCycle(start, 10, start=0.07, end=0.01, rise=0.3)
    assert (cycle(0), cycle(2), cycle(9), cycle(10**9)) == (0.07, 0.3, 0.01, 0.01)
    assert OneCycle(1.0, 10)(0) == 0.04 and OneCycle(1.0, 10)(9) == pytest.approx(4e-6)


def test_the_warm_up_from_zero_leaves_out_the_step_with_rate_zero() -> None:
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
def test_every_rate_is_a_valid_float_that_depends_only_on_t(schedule: Schedule, t: int) -> None:
    rate = schedule(t)
    assert type(rate) is float and 0 <= rate < math.inf
    schedule(t + 1)
    assert schedule(t) == rate == schedule(np.int64(t))
    assert optimizers.SGD(rate).learning_rate == rate


@given(falls)
def test_decaying_schedules_never_rise(schedule: Schedule) -> None:
    assert_falls(values(schedule, 400))


@given(rates, rates, counts, st.floats(0.2, 4.0))
def test_polynomial_and_cosine_are_monotonic_and_stay_between_their_ends(
    start: float, end: float, steps: int, power: float
) -> None:
    for schedule in (Polynomial(start, steps, end, power), Cosine(start, steps, end)):
        found = values(schedule, steps + 5)
        assert_falls(found if start >= end else found[::-1])
        low, high = sorted((start, end))
        assert low * (1 - 1e-12) <= min(found) and max(found) <= high * (1 + 1e-12)
        assert found[0] == start and found[steps:] == [end] * 5


@given(rates, st.integers(1, 60), st.integers(1, 3))
def test_after_a_restart_the_same_curve_is_slower(start: float, steps: int, growth: int) -> None:
    schedule = Cosine(start, steps, restarts=True, growth=growth)
    length = steps * growth
    assert schedule(steps) == schedule(steps + length) == start
    again = [schedule(steps + growth * t) for t in range(steps)]
    np.testing.assert_allclose(again, values(schedule, steps), rtol=1e-12)
    assert_falls(values(schedule, steps))


@given(falls, counts, st.one_of(st.none(), st.floats(0.0, 1.0)))
def test_a_warm_up_rises_linearly_and_is_continuous_where_it_ends(
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
def test_each_schedule_of_a_chain_counts_its_own_steps(
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


def test_numpy_numbers_multiply_from_both_sides_and_become_plain_fields() -> None:
    for number in (np.float64(0.5), np.float32(0.5), Fraction(1, 2)):
        for product in (number * Constant(2.0), Constant(2.0) * number):
            assert isinstance(product, Product) and product(0) == 1.0
            assert all(type(factor.rate) is float for factor in product.factors)
    assert type(Step(np.float32(0.5), np.int32(3)).every) is int


# ------------------------------------------------------------------------------- as objects


@pytest.mark.parametrize("schedule", ONE_OF_EACH, ids=repr)
def test_a_schedule_can_be_rebuilt_from_repr_pickle_and_its_fields(
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
    """The content of a file: the class, and fields of numbers, strings, lists and records."""
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


def test_a_custom_schedule_composes_like_any_other() -> None:
    @attrs.frozen
    class InverseSquareRoot(Schedule):
        start: float

        def at(self, t: int) -> float:
            return self.start / math.sqrt(t + 1)

    own = InverseSquareRoot(2.0)
    assert (own(3), (0.5 * own)(3), WarmUp(own, 4)(7)) == (1.0, 0.5, 1.0)
    with pytest.raises(DefinitionError, match="needs a method named at"):
        Schedule()(0)


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
        (lambda: Constant(1)(-1), "Constant", "t"),
        (lambda: Constant(1)(0.5), "Constant", "t"),
        (lambda: Constant(1)(np.arange(3)), "Constant", "t"),
        (lambda: Constant(1).plot(0), "Constant", "steps"),
    ],
)
def test_the_error_for_an_invalid_argument_names_it(make: Any, place: str, argument: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{argument} has an invalid value") as caught:
        make()
    error = caught.value
    assert error.place == place and error.expected and error.received and error.hint
    assert " at 0x" not in str(error)


@pytest.mark.parametrize("other", ["a", None, True, 1j, np.ones(2)])
def test_a_product_with_anything_but_a_number_is_a_type_error(other: Any) -> None:
    with pytest.raises(TypeError):
        Constant(1) * other
    with pytest.raises(TypeError):
        other * Constant(1)


def test_the_error_for_a_rate_that_overflows_names_the_step() -> None:
    with pytest.raises(ConfigurationError, match="invalid learning rate") as caught:
        WarmUp(Exponential(1.0, 2.0), 10)(2010)
    assert caught.value.place == "Exponential, step 2000" and caught.value.received == math.inf


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
def test_rates_that_span_decades_are_on_a_logarithmic_scale(schedule: Schedule, scale: str) -> None:
    figure = schedule.plot(90)
    assert figure.axes[0].get_yscale() == scale
    figure.canvas.draw()


@pytest.mark.parametrize("steps", [1, 2, 2000, 2001, 1_000_000])
def test_any_number_of_steps_is_drawn_from_the_first_to_the_last(steps: int) -> None:
    figure = Cosine(0.1, steps).plot(steps)
    data = figure.axes[0].patches[0].get_data()
    assert data.edges[0] == 0 and data.edges[-1] == steps
    assert len(data.values) == min(steps, MOST_STEPS)
    assert data.values[0] == 0.1
    figure.canvas.draw()


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'chainrule\[plot\]'"):
        Constant(0.1).plot(10)


# ------------------------------------------------------------------------------- PyTorch's

STEPS = 100


def rates_of_pytorch(torch: Any, start: float, make: Any) -> list[float]:
    """The learning rates of the steps in PyTorch."""
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
