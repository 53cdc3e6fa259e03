"""The range test: it finds rates that are known by hand, and does not change the trainer."""

from __future__ import annotations

import copy
import math
import signal
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from attrs import define

from chainrule import Activation, Dense, Graph, Input, Layer, Sequential, Trainer, losses
from chainrule import optimizers as rules
from chainrule.core.errors import BuildError, ConfigurationError, DataError, NonFiniteError
from chainrule.core.layer_state import state_of
from chainrule.training.delta_watch import VanishingDeltasWarning
from chainrule.training.range_test import RangeTest, range_test


def parabola(curvature: float, rule: Any = None) -> tuple[Trainer, Any, Any]:
    """A trainer for C = ½ λ w² of one weight, and its data, which are one batch."""
    x = np.sqrt(curvature) * np.array([[1.0], [-1.0]])
    model = Sequential([Dense(1, use_bias=False, initializer="ones")])
    return Trainer(model, losses.HalfSquaredError(), rule or rules.SGD(0.1), rng=0), x, 0 * x


def noisy(count: int = 64) -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(count, 4))
    return x, np.tanh(x[:, :2]) + 0.1 * rng.normal(size=(count, 2))


def network() -> Sequential:
    return Sequential([Dense(8), Activation("tanh"), Dense(2)])


def trainer_of(model: Layer | None = None, rule: Any = None) -> Trainer:
    return Trainer(model or network(), losses.HalfSquaredError(), rule or rules.Adam(0.01), rng=7)


# ------------------------------------------------------------------------------- results


@pytest.mark.parametrize("curvature", [0.05, 1.0, 30.0])
def test_on_a_parabola_the_cost_grows_from_the_step_on_for_which_the_rate_exceeds_two_over_lambda(
    curvature: float,
) -> None:
    trainer, x, t = parabola(curvature)
    found = range_test(trainer, x, t, lowest=1e-3, highest=1e4, steps=100)
    rates, costs = np.array(found.rates), np.array(found.costs)
    np.testing.assert_array_equal(np.diff(costs) > 0, rates[:-1] > 2 / curvature)
    assert found.diverged_at is not None and found.diverged_at > 2 / curvature
    assert found.suggestion is not None and found.least_at is not None
    assert found.suggestion <= found.least_at < 2 / curvature * rates[1] / rates[0]


@pytest.mark.parametrize("curvature", [0.05, 1.0, 30.0])
def test_on_a_parabola_the_costs_are_those_of_the_formula(curvature: float) -> None:
    trainer, x, t = parabola(curvature)
    found = range_test(trainer, x, t, lowest=1e-3, highest=1.0 / curvature, steps=30)
    ratio = (1.0 / curvature / 1e-3) ** (1 / 29)
    w, costs = 1.0, []
    for step in range(30):
        costs.append(0.5 * curvature * w**2)
        w *= 1 - 1e-3 * ratio**step * curvature
    np.testing.assert_allclose(found.costs, costs, rtol=1e-9, atol=1e-25)
    np.testing.assert_allclose(found.rates, 1e-3 * ratio ** np.arange(30), rtol=1e-12)
    assert found.rates[-1] == 1.0 / curvature and found.diverged_at is None


def test_a_parabola_that_is_ten_times_steeper_tolerates_rates_ten_times_smaller() -> None:
    suggestions = []
    for curvature in (1.0, 10.0):
        trainer, x, t = parabola(curvature)
        how = {"lowest": 1e-4 / curvature, "highest": 1e3 / curvature}
        suggestions.append(range_test(trainer, x, t, **how).suggestion)
    assert suggestions[0] == pytest.approx(10 * suggestions[1])


def test_a_logistic_function_of_log_eta_is_steepest_in_its_middle() -> None:
    rates = np.geomspace(1e-5, 1e1, 200)
    costs = 1 / (1 + (rates / 1e-2))
    found = RangeTest.of(rates, costs)
    assert found.steepest_at == pytest.approx(1e-2, rel=0.05)
    assert found.least_at == rates[-1] and "still falling at the end" in str(found)
    noise = np.random.default_rng(0).normal(size=200)
    found = RangeTest.of(rates, costs + 0.02 * noise)
    assert found.steepest_at == pytest.approx(1e-2, rel=0.5)
    found = RangeTest.of(rates, costs + np.where(rates > 0.05, 20 * (rates - 0.05), 0))
    assert found.steepest_at == pytest.approx(1e-2, rel=0.05)
    assert found.least_at is not None and 0.03 < found.least_at < 0.07
    assert found.suggestion == found.steepest_at


def test_where_all_is_learned_early_the_suggestion_is_a_tenth_of_the_rate_of_the_least() -> None:
    rates = np.geomspace(1e-5, 1e1, 200)
    found = RangeTest.of(rates, 1 / (1 + (rates / 1e-3) ** 2) + np.where(rates > 1, rates, 0))
    assert found.least_at is not None and 0.2 < found.least_at < 1
    assert found.steepest_at == pytest.approx(1e-3, rel=0.1)
    assert found.suggestion == found.least_at / 10


def test_what_runs_away_does_not_drown_what_came_before() -> None:
    rates = np.geomspace(1e-5, 1e1, 200)
    costs = 1 / (1 + (rates / 1e-2)) + np.where(rates > 1, 0.1 * rates, 0)
    worse = np.where(rates > 1.5, 1e12, costs)
    assert RangeTest.of(rates, worse).steepest_at == RangeTest.of(rates, costs).steepest_at
    assert RangeTest.of(rates, worse).least_at == pytest.approx(1.0, rel=0.5)


def test_slopes_beyond_the_least_cost_are_ignored() -> None:
    rates = np.geomspace(1e-5, 1e1, 200)
    valley = 1 - 0.9 * np.exp(-(np.log(rates / 1e-2) ** 2) / 8)
    cliff = np.where((rates > 0.5) & (rates < 2), 1.0, np.where(rates < 2, valley, 0.2))
    steepest = RangeTest.of(rates, valley).steepest_at
    assert steepest is not None and steepest < 1e-2
    found = RangeTest.of(rates, cliff, smoothing=1.0)
    assert np.gradient(found.smoothed, np.log(rates)).argmin() > np.argmin(found.smoothed)
    assert found.steepest_at is not None and found.steepest_at < 1e-2


def test_a_fall_of_less_than_a_hundredth_does_not_count() -> None:
    rates = np.geomspace(1e-5, 1e1, 100)
    assert RangeTest.of(rates, np.linspace(1, 0.995, 100)).suggestion is None
    assert RangeTest.of(rates, np.linspace(1, 0.5, 100)).suggestion is not None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("smoothing", [0.0, 4.0])
def test_a_cost_that_is_not_finite_is_never_the_lowest(bad: float, smoothing: float) -> None:
    rates = np.geomspace(1e-4, 1, 80)
    costs = 1 / (1 + (rates / 0.01) ** 2)
    for place in (0, 3, 60, 79):
        spoilt = costs.copy()
        spoilt[place] = bad
        found = RangeTest.of(rates, spoilt, smoothing)
        assert found.suggestion is not None and 0.005 < found.suggestion < 0.2
        assert found.least_at != rates[place]
        assert np.isfinite(found.smoothed).all()
        assert np.isfinite(found.plot().axes[0].get_ylim()).all()
    nothing = RangeTest.of(rates, np.full(80, bad), smoothing)
    assert nothing.suggestion is None and "No suggestion" in str(nothing)


def test_without_smoothing_the_costs_are_what_they_are() -> None:
    costs = [1.0, 0.9, 0.8, 0.9, 1.0, 0.5, 0.4, 0.3, 0.35, 0.9]
    assert RangeTest.of(np.geomspace(1, 10, 10), costs, smoothing=0).smoothed == tuple(costs)
    assert range_test(trainer_of(), *noisy(), steps=12, smoothing=0).smoothed


def test_smoothing_keeps_a_constant() -> None:
    found = RangeTest.of(np.geomspace(1, 10, 50), [2.0] * 50)
    np.testing.assert_allclose(found.smoothed, 2.0, rtol=1e-15)


@pytest.mark.parametrize("rule", [rules.SGD(1.0), rules.SGD(1.0, momentum=0.9), rules.Adam(1.0)])
def test_a_training_with_the_suggestion_beats_one_with_a_hundredth_or_a_hundredfold(
    rule: Any,
) -> None:
    x, t = noisy(256)
    found = range_test(trainer_of(rule=copy.deepcopy(rule)), x, t)
    ends = []
    for factor in (0.01, 1.0, 100.0):
        trained = copy.deepcopy(rule)
        trained.learning_rate = factor * found.suggestion
        trainer = Trainer(network(), losses.HalfSquaredError(), trained, rng=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                ends.append(trainer.fit(x, t, epochs=10, progress=False)["loss"][-1])
            except NonFiniteError:
                ends.append(np.inf)
    assert ends[1] < 0.7 * min(ends[0], ends[2])


# ------------------------------------------------------------------------------- all kinds of data


def test_it_takes_what_the_trainer_takes() -> None:
    x, t = noisy()
    weights = np.ones(64)

    def make_batch(rng: np.random.Generator) -> tuple[Any, Any]:
        x = rng.normal(size=(16, 4))
        return x, np.tanh(x[:, :2])

    for found in (
        range_test(trainer_of(), x, t, batch_size=16),
        range_test(trainer_of(), x, t, batch_size=16, sample_weights=weights, shuffle=False),
        range_test(trainer_of(), make_batch),
    ):
        assert found.suggestion is not None and 1e-4 < found.suggestion < 1


def test_a_step_of_several_batches_is_that_of_all_their_rows() -> None:
    x, t = noisy()
    whole = range_test(trainer_of(), x, t, batch_size=64, shuffle=False)
    parts = range_test(trainer_of(), x, t, batch_size=16, accumulate=4, shuffle=False)
    np.testing.assert_allclose(whole.costs[:80], parts.costs[:80], rtol=1e-9)


def test_it_takes_several_outputs() -> None:
    x, t = noisy()
    rows = Input((4,))
    shared = Activation("tanh")(Dense(8)(rows))
    model = Graph(rows, [Dense(2)(shared), Dense(2)(shared)])
    loss = losses.HalfSquaredError()
    trainer = Trainer(model, [loss, loss], rules.Adam(0.1), loss_weights=[1.0, 0.5], rng=0)
    found = range_test(trainer, x, (t, 2 * t))
    assert found.suggestion is not None
    single = copy.deepcopy(trainer.model.unbuilt())
    again = Trainer(single, [loss, loss], rules.Adam(1e-6), loss_weights=[1.0, 0.5], rng=0)
    again.fit(x, (t, 2 * t), epochs=1, batch_size=64, shuffle=False)
    first = range_test(trainer, x, (t, 2 * t), batch_size=64, shuffle=False).costs[0]
    assert first == pytest.approx(again.history["loss"][0])  # with its weights


def test_an_epoch_of_any_length_gives_the_requested_steps() -> None:
    x, t = noisy()
    for size in (1, 32, 64):
        found = range_test(trainer_of(), x, t, steps=20, highest=1e-3, batch_size=size)
        assert len(found.rates) == len(found.costs) == len(found.smoothed) == 20


# ------------------------------------------------------------------------------- side effects


@define
class Noise(Layer):
    """y = x + noise, with a running mean; from its own generator or one passed to it."""

    given: Any = None

    def build(self, shape: Any) -> None:
        self.generator("own")
        self.buffer("mean", shape, "zeros")

    def forward(self, x: Any) -> Any:
        self.mean.value = 0.9 * self.mean.value + 0.1 * x.mean(axis=0)
        return x + 0.1 * (self.given or self.own).normal(size=x.shape)

    def backward(self, delta: Any) -> Any:
        return delta


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_training_is_the_same_bit_for_bit_after_a_test(has_begun: bool) -> None:
    x, t = noisy()
    ends = []
    for tests in (False, True):
        model = Sequential([Dense(8), Noise(), Noise(np.random.default_rng(5)), Dense(2)])
        trainer = trainer_of(model)
        if has_begun:
            trainer.fit(x, t, epochs=2)
        run, history = trainer.run, trainer.history.to_dict()
        if tests:
            range_test(trainer, x, t)
            range_test(trainer, lambda rng: (rng.normal(size=(4, 4)), np.ones((4, 2))))
        assert trainer.run is run and trainer.history.to_dict() == history
        assert trainer.model.is_built == has_begun
        assert trainer.optimizer.learning_rate == 0.01
        trainer.fit(x, t, epochs=2)
        ends.append(np.concatenate([model.parameters.value, model.buffers.value]))
    np.testing.assert_array_equal(*ends)


@pytest.mark.parametrize("is_built", [False, True])
def test_the_generator_is_unchanged_and_spawns_what_it_would_have_spawned(
    is_built: bool,
) -> None:
    trainer, other = trainer_of(), trainer_of()
    if is_built:
        trainer.model.build((4,), rng=0)
    before = state_of(trainer.rng)
    range_test(trainer, *noisy())
    assert state_of(trainer.rng) == before
    drawn = [each.rng.spawn(1)[0].integers(1 << 60) for each in (trainer, other)]
    assert drawn[0] == drawn[1]


def test_the_copy_is_built_as_fit_would_build_the_model() -> None:
    x, t = noisy()
    found = range_test(trainer_of(), x, t, batch_size=64)
    trainer = trainer_of()
    trainer.fit(x, t, epochs=1, batch_size=64)
    assert found.costs[0] == trainer.history["loss"][0]


def test_it_is_so_too_where_a_build_has_failed_before() -> None:
    fails = [True]

    @define
    class Fails(Layer):
        def build(self, shape: Any) -> None:
            if fails:
                raise BuildError("not yet")

        def forward(self, x: Any) -> Any:
            return x + 0

        def backward(self, delta: Any) -> Any:
            return delta

    x, t = noisy()
    trainer = trainer_of(Sequential([Dense(8), Fails(), Dense(2)]))
    data = trainer_of(Sequential([Dense(8), Fails(), Dense(2)]))
    for each in (trainer, data):
        with pytest.raises(BuildError):
            each.step(x, t)
    fails.clear()
    found = range_test(trainer, x, t, batch_size=64)
    assert found.costs[0] == data.fit(x, t, epochs=1, batch_size=64)["loss"][0]


def test_no_delta_warning_is_shown_during_the_range_test() -> None:
    @define
    class Warns(Layer):
        def forward(self, x: Any) -> Any:
            text = {"place": "", "expected": "", "received": "", "hint": ""}
            warnings.warn(VanishingDeltasWarning("they vanish", **text), stacklevel=1)
            return x + 0

        def backward(self, delta: Any) -> Any:
            return delta

    assert range_test(trainer_of(Sequential([Warns(), Dense(2)])), *noisy(), steps=10)


def test_frozen_layers_are_frozen_in_the_copy() -> None:
    model = network()
    model.build((4,), rng=0)
    model.freeze()
    x, t = noisy()
    found = range_test(trainer_of(model), x, t, batch_size=64, steps=10)
    np.testing.assert_allclose(found.costs, found.costs[0], rtol=1e-12)


# ------------------------------------------------------------------------------- no suggestion


def test_ctrl_c_gives_no_verdict_on_half_a_curve() -> None:
    made = []

    def make_batch(rng: np.random.Generator) -> tuple[Any, Any]:
        made.append(1)
        if len(made) == 31:  # the first one also determines the shapes
            signal.raise_signal(signal.SIGINT)
        return noisy(16)

    trainer = trainer_of()
    with pytest.raises(KeyboardInterrupt, match=r"stopped after 31 of 100 steps: Ctrl-C"):
        range_test(trainer, make_batch, steps=100)
    assert not trainer.model.is_built


def test_fresh_batches_that_are_accumulated_give_as_many_steps() -> None:
    found = range_test(trainer_of(), lambda rng: noisy(4), steps=20, accumulate=3, highest=1e-4)
    assert len(found.costs) == 20


def test_without_a_falling_cost_there_is_no_suggestion() -> None:
    x, t = noisy()
    found = range_test(trainer_of(rule=rules.SGD(1.0)), x, t, lowest=1e-12, highest=1e-9)
    assert found.suggestion is found.steepest_at is found.least_at is found.diverged_at is None
    assert "falls at none" in str(found) and "highest=1e-07" in str(found)
    assert repr(found) == "RangeTest(140 steps, suggestion=None)"


def test_rates_that_are_all_too_large_are_reported() -> None:
    trainer, x, t = parabola(1.0)
    found = range_test(trainer, x, t, lowest=3.0, highest=1e9, steps=40)
    assert found.suggestion is None and found.diverged_at is not None
    assert "No suggestion; start lower: lowest=0.003" in str(found)


def test_it_ends_when_a_number_is_not_finite() -> None:
    trainer, x, t = parabola(1.0)
    found = range_test(trainer, x, t, lowest=1e-2, highest=1e300, steps=30)
    assert len(found.costs) < 30 and found.diverged_at == found.rates[-1]
    assert all(map(np.isfinite, found.costs))


def test_a_first_cost_that_is_not_finite_is_not_blamed_on_the_rate() -> None:
    x, t = noisy()
    model = network()
    model.build((4,), rng=0)
    model[0].weights.value[0, 0] = np.inf
    with pytest.raises(NonFiniteError, match="before the training begins"):
        range_test(trainer_of(model), x, t)


def test_a_single_outlier_does_not_end_it() -> None:
    x, t = noisy()
    t[62] = 1e3  # in the last batch of the first epoch, which is past the beginning
    found = range_test(trainer_of(), x, t, batch_size=4, highest=1e-5, steps=40, shuffle=False)
    assert len(found.rates) == 40 and found.diverged_at is None
    assert found.costs[15] > 1e3 * max(found.costs[:15])


# ------------------------------------------------------------------------------- printing


def test_it_prints_the_result() -> None:
    trainer, x, t = parabola(1.0)
    found = range_test(trainer, x, t, lowest=1e-3, highest=1e3)
    text = str(found)
    assert f"most steeply at {found.steepest_at:.2g}" in text
    assert f"lowest at {found.least_at:.2g}" in text
    assert f"at {found.diverged_at:.2g} it has diverged" in text
    assert f"Suggestion: {found.suggestion:.2g}" in text
    with pytest.raises(AttributeError):
        found.suggestion = 1.0  # type: ignore[misc]


def test_the_figure_shows_the_costs_over_the_rates_with_the_suggestion_marked() -> None:
    found = range_test(trainer_of(), *noisy())
    figure = found.plot()
    (ax,) = figure.axes
    dots, curve, mark = ax.get_lines()[:3]
    assert ax.get_xscale() == "log"
    np.testing.assert_array_equal(dots.get_xdata(), found.rates)
    np.testing.assert_array_equal(dots.get_ydata(), found.costs)
    np.testing.assert_array_equal(curve.get_ydata(), found.smoothed)
    assert set(mark.get_xdata()) == {found.suggestion}
    assert ax.get_title("right") == f"suggestion η = {found.suggestion:.2g}"
    figure.canvas.draw()


def test_it_draws_into_axes_that_are_given_and_makes_no_other_figure() -> None:
    import matplotlib.pyplot as plt

    plt.close("all")
    figure, (left, right) = plt.subplots(1, 2)
    level = RangeTest.of(np.geomspace(1, 2, 10), [1.0] * 10)
    assert level.plot(right) is figure and not left.get_lines()
    assert plt.get_fignums() == [figure.number]
    assert right.get_title("right") == "does not fall"
    figure.canvas.draw()
    plt.close(figure)


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'chainrule\[plot\]'"):
        RangeTest.of(np.geomspace(1, 2, 10), [1.0] * 10).plot()


# ------------------------------------------------------------------------------- invalid arguments


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"lowest": 0.0}, "lowest=0.0"),
        ({"lowest": "small"}, "lowest='small'"),
        ({"highest": np.inf}, "highest=inf"),
        ({"highest": True}, "highest=True"),
        ({"lowest": 1.0, "highest": 0.1}, "lowest < highest"),
        ({"steps": 9}, "10 steps or more"),
        ({"steps": 20.0}, "steps=20"),
        ({"smoothing": -1}, "smoothing=-1"),
        ({"smoothing": None}, "smoothing=None"),
        ({"epochs": 3}, "takes no epochs"),
        ({"callbacks": []}, "takes no callbacks"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused_by_name(
    arguments: dict[str, Any], said: str
) -> None:
    trainer = trainer_of()
    before = state_of(trainer.rng)
    with pytest.raises(ConfigurationError) as caught:
        range_test(trainer, *noisy(), **arguments)
    assert said in str(caught.value)
    assert state_of(trainer.rng) == before and not trainer.model.is_built


def test_an_argument_that_is_not_a_trainer_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="range_test needs a trainer") as caught:
        range_test(network(), *noisy())  # type: ignore[arg-type]
    assert caught.value.received == "Sequential"


def test_an_iterator_is_refused_before_it_is_advanced() -> None:
    batches = iter([noisy()])
    with pytest.raises(ConfigurationError, match="which a range test would exhaust"):
        range_test(trainer_of(), batches)
    assert next(batches) is not None


def test_the_hint_for_an_iterator_works() -> None:
    batches = [noisy(16), noisy(16)]
    with pytest.raises(ConfigurationError) as caught:
        range_test(trainer_of(), iter(batches))
    assert "such as the list itself" in caught.value.hint
    assert len(range_test(trainer_of(), batches, steps=20).costs) == 20


def test_unusable_data_raise_the_same_error_as_in_fit() -> None:
    x, t = noisy()
    x[3, 1] = np.nan
    with pytest.raises(DataError, match="not finite"):
        range_test(trainer_of(), x, t)
