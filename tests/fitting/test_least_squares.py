"""Fits against SciPy, against formulas worked out by hand, and on bad input."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.optimize import curve_fit

from chainrule import (
    Activation,
    Add,
    BatchNorm,
    Dense,
    Dropout,
    Formula,
    Graph,
    Input,
    Layer,
    Sequential,
    derivatives,
    errors,
    fitting,
)


def decay(x, amplitude, rate, offset=0.0):
    return amplitude * np.exp(-rate * x) + offset


def data(seed=0, n=30, sigma=0.05):
    rng = np.random.default_rng(seed)
    x = np.linspace(0, 5, n)
    deviations = sigma * (0.5 + rng.random(n))
    return x, decay(x, 2.0, 0.7, 0.3) + deviations * rng.normal(size=n), deviations


START = [1.0, 1.0, 0.0]


class TwoDecays(Formula):
    """Two outputs that share a rate, and a parameter with two entries."""

    def build(self, input_shape):
        self.rate = self.parameter("rate", (), 1.0)
        self.heights = self.parameter("heights", (2,), 1.0)

    def forward(self, x):
        curve = np.exp(-self.rate.value * x)
        return self.heights.value[0] * curve, np.stack([curve, self.heights.value[1] * x], axis=1)


# ------------------------------------------------------------------------------- against SciPy


@given(seed=st.integers(0, 1000), absolute=st.booleans(), per_row=st.booleans())
@settings(max_examples=15, deadline=None)
def test_values_and_covariance_are_those_of_curve_fit(seed, absolute, per_row):
    x, t, deviations = data(seed)
    sigma = deviations if per_row else np.full_like(deviations, 0.05)
    given = (deviations if per_row else 0.05) if absolute else None
    if not absolute:
        sigma = np.ones_like(sigma)
    fit = fitting.least_squares(fitting.curve(decay, START), x, t, given)
    values, covariance = curve_fit(
        decay, x, t, START, sigma, absolute_sigma=absolute, ftol=1e-15, xtol=1e-15, gtol=1e-15
    )
    errors_of_scipy = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(fit.values, values, atol=1e-5 * errors_of_scipy.min())
    np.testing.assert_allclose(fit.standard_errors, errors_of_scipy, rtol=1e-4)
    units = errors_of_scipy * errors_of_scipy[:, None]
    np.testing.assert_allclose(fit.covariance / units, covariance / units, atol=1e-4)


def test_full_covariance_of_the_data_is_that_of_curve_fit():
    x, t, deviations = data()
    n = len(x)
    correlation = 0.6 ** np.abs(np.arange(n)[:, None] - np.arange(n))
    matrix = correlation * deviations * deviations[:, None]
    fit = fitting.least_squares(fitting.curve(decay, START), x, t, matrix)
    values, covariance = curve_fit(
        decay, x, t, START, matrix, absolute_sigma=True, ftol=1e-15, xtol=1e-15, gtol=1e-15
    )
    np.testing.assert_allclose(fit.values, values, rtol=1e-6)
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-4)
    difference = t - decay(x, *fit.values)
    np.testing.assert_allclose(fit.chi_squared, difference @ np.linalg.solve(matrix, difference))


def test_a_line_has_the_errors_of_the_textbook():
    # Press et al., Numerical Recipes, 15.2: with S, S_x, S_xx, Delta.
    x, sigma = np.arange(6.0), np.array([0.1, 0.2, 0.1, 0.3, 0.1, 0.2])
    t = np.array([1.1, 2.9, 5.2, 6.8, 9.1, 10.8])
    w = 1 / sigma**2
    s, sx, sxx, sy, sxy = (
        w.sum(),
        (w * x).sum(),
        (w * x * x).sum(),
        (w * t).sum(),
        (w * x * t).sum(),
    )
    delta = s * sxx - sx**2
    fit = fitting.least_squares(fitting.curve(lambda x, a, b: a + b * x, [0, 0]), x, t, sigma)
    np.testing.assert_allclose(
        fit.values, [(sxx * sy - sx * sxy) / delta, (s * sxy - sx * sy) / delta]
    )
    np.testing.assert_allclose(fit.covariance, np.array([[sxx, -sx], [-sx, s]]) / delta, rtol=1e-12)
    np.testing.assert_allclose(fit.correlations[0, 1], -sx / np.sqrt(s * sxx), rtol=1e-12)


def test_p_value_is_the_tail_of_chi_squared():
    x, t, deviations = data()
    fit = fitting.least_squares(fitting.curve(decay, START), x, t, deviations)
    residuals = (t - decay(x, *fit.values)) / deviations
    assert fit.chi_squared == pytest.approx(residuals @ residuals)
    assert fit.degrees_of_freedom == 27
    assert fit.reduced_chi_squared == pytest.approx(fit.chi_squared / 27)
    half = fit.chi_squared / 2  # of a chi-squared with 2 degrees of freedom, the tail is exp(-x/2)
    few = fitting.least_squares(fitting.curve(decay, START), x[:5], t[:5], deviations[:5])
    assert few.p_value == pytest.approx(np.exp(-few.chi_squared / 2))
    assert 0 < fit.p_value < 1 < half


# ------------------------------------------------------------------------------- what is known


def test_several_outputs_and_deviations_for_each():
    rng, x = np.random.default_rng(0), np.linspace(0, 3, 20)
    first = 2 * np.exp(-0.5 * x) + 0.1 * rng.normal(size=20)
    second = np.stack([np.exp(-0.5 * x), 3 * x], axis=1) + [0.02, 0.3] * rng.normal(size=(20, 2))
    model = TwoDecays()
    fit = fitting.least_squares(model, x, (first, second), (0.1, [0.02, 0.3]))

    def stacked(x, rate, a, b):
        curve = np.exp(-rate * x)
        return np.concatenate([a * curve, np.stack([curve, b * x], axis=1).ravel()])

    sigma = np.concatenate([np.full(20, 0.1), np.tile([0.02, 0.3], 20)])
    t = np.concatenate([first, second.ravel()])
    values, covariance = curve_fit(stacked, x, t, [1, 1, 1], sigma, absolute_sigma=True)
    np.testing.assert_allclose(fit.values, values, rtol=1e-5)
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-3)
    assert fit["heights"].value.shape == (2,)
    assert fit.residuals[1].shape == (20, 2)
    lower, upper = fit.band(x)
    assert lower[1].shape == upper[1].shape == (20, 2)
    lower, upper = fit.prediction_band(x, 0.5)
    assert np.all(upper[0] - lower[0] > 2 * 0.67 * 0.1)


def test_deviations_in_a_tuple_or_a_list_are_those_in_an_array():
    x, t, deviations = data()
    expected = fitting.least_squares(fitting.curve(decay, START), x, t, deviations)
    for same in (tuple(deviations), list(deviations), (deviations,)):
        fit = fitting.least_squares(fitting.curve(decay, START), x, t, same)
        np.testing.assert_array_equal(fit.covariance, expected.covariance)
        np.testing.assert_array_equal(
            fit.prediction_band(x, deviations=same), fit.prediction_band(x, deviations=deviations)
        )
    with pytest.raises(errors.ShapeError, match="do not fit"):
        fit.prediction_band(x, deviations=(0.1, 0.2))
    two = (np.ones(30), np.ones((30, 2)))
    for wrong in ([0.1, 0.2], (0.1, 0.2, 0.3), tuple(deviations)):
        with pytest.raises(errors.ShapeError, match="a tuple of 2, one for each output"):
            fitting.least_squares(TwoDecays(), x, two, wrong)


def test_relative_errors_add_to_absolute_ones():
    x, t, _ = data()
    both = np.hypot(0.02, 0.1 * np.abs(t))
    one = fitting.least_squares(fitting.curve(decay, START), x, t, 0.02, relative=0.1)
    two = fitting.least_squares(fitting.curve(decay, START), x, t, both)
    np.testing.assert_allclose(one.covariance, two.covariance, rtol=1e-9)


def test_a_weight_of_two_counts_as_two_rows_and_zero_as_none():
    x, t, _ = data(n=12)
    weights = np.array([2.0, 0.0, *np.ones(10)])
    rows = np.repeat(np.arange(12), weights.astype(int))
    one = fitting.least_squares(fitting.curve(decay, START), x, t, 0.1, sample_weights=weights)
    two = fitting.least_squares(fitting.curve(decay, START), x[rows], t[rows], 0.1)
    np.testing.assert_allclose(one.covariance, two.covariance, rtol=1e-9)
    assert one.degrees_of_freedom == 11 - 3


def test_a_prior_is_one_more_measurement_of_the_parameter():
    x, t, deviations = data()
    fit = fitting.least_squares(
        fitting.curve(decay, START), x, t, deviations, priors={"rate": (0.65, 0.02)}
    )
    free = fitting.least_squares(fitting.curve(decay, START), x, t, deviations)

    def with_prior(x, amplitude, rate, offset):
        return np.append(decay(x, amplitude, rate, offset), rate)

    values, covariance = curve_fit(
        with_prior, x, np.append(t, 0.65), START, np.append(deviations, 0.02), absolute_sigma=True
    )
    np.testing.assert_allclose(fit.values, values, rtol=1e-5)
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-3)
    assert fit["rate"].standard_error < free["rate"].standard_error
    assert fit.degrees_of_freedom == free.degrees_of_freedom + 1


def test_bounds_hold_and_are_named():
    x, t, deviations = data()
    fit = fitting.least_squares(
        fitting.curve(decay, START), x, t, deviations, bounds={"offset": (-1.0, 0.2)}
    )
    assert fit["offset"].value == pytest.approx(0.2)
    assert fit.at_bound == ("offset",)
    assert fit.method == "trf"
    assert "at a bound: offset" in str(fit)


@pytest.mark.parametrize("unit", [1e-20, 1e-10, 1e20])
@pytest.mark.parametrize("method", ["trf", "dogbox"])
def test_units_of_data_and_parameters_change_nothing_else(unit, method):
    x, t, _ = data()
    fit = fitting.least_squares(fitting.curve(decay, START), x, t)
    scaled = fitting.curve(decay, np.array([1.0, 1.0, 0.1]) * [unit, unit, unit])
    scaled = fitting.least_squares(scaled, x / unit, t * unit, method=method)
    np.testing.assert_allclose(scaled.values / unit, fit.values, rtol=1e-7)
    np.testing.assert_allclose(scaled.standard_errors / unit, fit.standard_errors, rtol=1e-6)


@pytest.mark.parametrize("method", ["lm", "trf", "dogbox"])
@pytest.mark.parametrize("start", [[1.0, 1.0, 0.1], [2.0, 0.5, 0.0]])
def test_exact_data_are_fitted_exactly(method, start):
    x = np.arange(8.0)
    fit = fitting.least_squares(
        fitting.curve(decay, start), x, decay(x, 2.0, 0.5, 0.0), method=method
    )
    np.testing.assert_allclose(fit.values, [2.0, 0.5, 0.0], atol=1e-12)


@pytest.mark.parametrize("unit", [1e-15, 1.0, 1e15])
@pytest.mark.parametrize("bound", [0.0, 0.5])
def test_a_parameter_at_its_bound_is_named(unit, bound):
    x, t, _ = data()
    offset = (t - 0.6 + bound) * unit  # whose best offset is below the bound
    start = np.array([1.0, 1.0 / unit, bound + 0.3]) * unit
    bounds = {"offset": (bound * unit, np.inf)}
    fit = fitting.least_squares(fitting.curve(decay, start), x, offset, bounds=bounds)
    assert fit.at_bound == ("offset",)
    np.testing.assert_allclose(fit["offset"].value, bound * unit, atol=1e-8 * unit)
    assert bound or str(fit).count("%") == 2  # no relative error of zero


def test_a_robust_loss_resists_outliers():
    x, t, _ = data()
    t[[3, 11, 20]] += 2.0
    plain = fitting.least_squares(fitting.curve(decay, START), x, t, 0.05)
    robust = fitting.least_squares(fitting.curve(decay, START), x, t, 0.05, loss="soft_l1")
    assert abs(robust["rate"].value - 0.7) < 0.3 * abs(plain["rate"].value - 0.7)


def test_frozen_parameters_never_move_and_have_no_error():
    x, t, deviations = data()
    model = fitting.curve(decay, START)
    model.build(())
    model.parameters["offset"].value = 0.3
    model.parameters["offset"].trainable = False
    fit = fitting.least_squares(model, x, t, deviations)
    assert fit.values[2] == 0.3 == model.parameters["offset"].value
    assert fit.standard_errors[2] == 0.0
    assert fit.degrees_of_freedom == 28
    assert not fit.covariance[2].any()
    assert "fixed" in str(fit)
    _, covariance = curve_fit(
        lambda x, a, b: decay(x, a, b, 0.3), x, t, [1, 1], deviations, absolute_sigma=True
    )
    np.testing.assert_allclose(fit.covariance[:2, :2], covariance, rtol=1e-4)


def test_a_graph_of_a_formula_and_a_network_is_fitted():
    x = Input((1,))
    law = fitting.curve(lambda x, slope: slope * x, [1.0])(x)
    network = Dense(1, use_bias=False)(Activation("tanh")(Dense(2)(x)))
    model = Graph(x, Add()(law, network))
    model.build((1,), rng=0)
    rng, points = np.random.default_rng(0), np.linspace(-2, 2, 60)[:, None]
    t = 1.5 * points + np.tanh(2 * points - 1) + 0.01 * rng.normal(size=(60, 1))
    theta = model.parameters.value.copy()
    fit = fitting.least_squares(model, points, t, 0.01)
    assert fit.reduced_chi_squared < 2
    assert not np.array_equal(model.parameters.value, theta)
    np.testing.assert_array_equal(model.parameters.value, fit.values)


class Line(Formula):
    """A line on a background that a network has to find."""

    def build(self, input_shape):
        self.centre = self.parameter("centre", (), 0.5)

    def forward(self, x):
        return 4 / (1 + ((x - self.centre.value) / 0.4) ** 2)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_formula_with_a_network_of_26_parameters_ends_where_chi_squared_stands_still(seed):
    rng, x = np.random.default_rng(2), np.linspace(-5, 5, 101)[:, None]
    background = 2 + 1.5 * np.tanh(0.6 * x) + 0.08 * x**2
    t = 4 / (1 + ((x - 0.7) / 0.4) ** 2) + background + 0.15 * rng.normal(size=x.shape)
    one = Input((1,))
    network = Sequential([Dense(8), Activation("tanh"), Dense(1)])
    model = Graph(one, Add()(Line()(one), network(one)))
    model.build((1,), rng=seed)
    assert model.parameters.size == 26
    fit = fitting.least_squares(model, x, t, 0.15)
    assert fit.evaluations < 300 * 26  # the limit, at which it would be a ConvergenceError
    assert fit.chi_squared < 110
    assert fit["line_1.centre"].value == pytest.approx(0.7, abs=0.05)


def test_a_layer_that_sums_over_rows_itself_is_fitted_all_the_same():
    class Sums(Formula):
        def build(self, input_shape):
            self.a = self.parameter("a", (), 1.0)

        def forward(self, x):
            return self.a.value * x

        def backward(self, delta):
            self.a.accumulate((delta * self.formula_inputs[0]).sum())
            return self.a.value * delta

    x = np.arange(1.0, 6.0)
    layer = Sequential([Sums()])
    fit = fitting.least_squares(layer, x, 3 * x + [0.1, -0.1, 0.1, -0.1, 0.1], 0.1)
    assert fit.standard_errors[0] == pytest.approx(0.1 / np.sqrt((x**2).sum()))


def test_a_layer_that_sums_over_something_else_of_the_size_of_the_batch_is_found_out():
    class Scale(Layer):
        def build(self, input_shape):
            self.factor = self.parameter("factor", (), 1.0)

        def forward(self, x):
            self.x = x
            return self.factor.value * x

        def backward(self, delta):
            columns = (delta * self.x).sum(axis=0)  # as many as there are rows
            self.factor.accumulate_product(columns, np.ones_like(columns))
            return self.factor.value * delta

    x = np.random.default_rng(0).normal(size=(4, 4))
    fit = fitting.least_squares(Scale(), x, 3 * x + 0.01, 0.1)
    assert fit.standard_errors[0] == pytest.approx(0.1 / np.sqrt((x**2).sum()))


def test_integers_lists_and_single_precision_are_accepted():
    x, t = [0, 1, 2, 3], [1, 3, 5, 8]
    fit = fitting.least_squares(fitting.curve(lambda x, a, b: a + b * x, [0, 1]), x, t)
    np.testing.assert_allclose(fit.values, np.polyfit(x, t, 1)[::-1])
    model = fitting.curve(decay, START)
    model.build((), dtype="float32")
    points, values, _ = data()
    fit = fitting.least_squares(model, points, values)
    expected = curve_fit(decay, points, values, START)[0]
    np.testing.assert_allclose(fit.values, expected, rtol=1e-3)
    assert model.parameters.value.dtype == np.float32


def test_rows_of_several_numbers_are_columns_of_x():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2))
    t = 2 * x[:, 0] + x[:, 1] ** 2 + 0.01 * rng.normal(size=30)
    model = fitting.curve(lambda x, a, b: a * x[:, 0] + b * x[:, 1] ** 2, {"b": 0.0, "a": 0.0})
    fit = fitting.least_squares(model, x, t, 0.01)
    design = np.stack([x[:, 0], x[:, 1] ** 2], axis=1)
    np.testing.assert_allclose(fit.values, np.linalg.lstsq(design, t)[0], rtol=1e-9)


# ------------------------------------------------------------------------------- undetermined


def test_what_the_data_do_not_determine_is_infinite_and_spoils_nothing_else():
    x, t, deviations = data()
    plain = fitting.least_squares(fitting.curve(decay, START), x, t, deviations)
    twice = fitting.curve(
        lambda x, a, b, rate, offset: a * b * np.exp(-rate * x) + offset, [1, 1, 1, 0]
    )
    fit = fitting.least_squares(twice, x, t, deviations)
    assert fit.rank == 3
    assert fit.degrees_of_freedom == plain.degrees_of_freedom
    assert fit.undetermined == ("a", "b")
    assert np.isinf(fit.standard_errors[:2]).all()
    np.testing.assert_allclose(fit.standard_errors[2:], plain.standard_errors[1:], rtol=1e-6)
    assert "not determined by these data: a, b" in str(fit)
    np.testing.assert_allclose(fit.band(x), plain.band(x), rtol=1e-6)  # a b is determined
    assert np.isposinf(fit.covariance[0, 0])
    assert np.isneginf(fit.covariance[0, 1])


def test_a_parameter_without_effect_is_undetermined_alone():
    x, t, deviations = data()
    fit = fitting.least_squares(
        fitting.curve(lambda x, a, b, c: a * np.exp(-b * x) + 0 * c, [1, 1, 1]), x, t, deviations
    )
    assert fit.undetermined == ("c",)
    assert np.isfinite(fit.standard_errors[:2]).all()


def test_units_of_the_parameters_do_not_change_the_rank():
    x, t, deviations = data()
    fit = fitting.least_squares(
        fitting.curve(lambda x, a, b, c: 1e12 * a * np.exp(-1e-9 * b * x) + c, [1e-12, 1e9, 0]),
        x, t, deviations,
    )  # fmt: skip
    plain = fitting.least_squares(fitting.curve(decay, START), x, t, deviations)
    assert fit.rank == 3
    np.testing.assert_allclose(
        fit.standard_errors * [1e12, 1e-9, 1], plain.standard_errors, rtol=1e-6
    )


# ------------------------------------------------------------------------------- bands, profiles


def test_band_of_a_line_is_that_of_the_textbook():
    x, t = np.arange(8.0), np.array([0.9, 3.2, 4.8, 7.1, 9.2, 10.7, 13.1, 15.0])
    fit = fitting.least_squares(fitting.curve(lambda x, a, b: a + b * x, [0, 1]), x, t)
    at = np.array([-1.0, 3.5, 12.0])
    s = np.sqrt(((t - fit.model(x)) ** 2).sum() / 6)
    spread = s * np.sqrt(1 / 8 + (at - 3.5) ** 2 / ((x - 3.5) ** 2).sum())
    z = 2.446911851  # Student's t with 6 degrees of freedom, 97.5 %
    lower, upper = fit.band(at)
    np.testing.assert_allclose((upper - lower) / 2, z * spread, rtol=1e-8)
    lower, upper = fit.prediction_band(at)
    np.testing.assert_allclose((upper - lower) / 2, z * np.hypot(spread, s), rtol=1e-8)


def test_prediction_band_needs_the_error_of_the_new_measurement():
    x, t, deviations = data()
    fit = fitting.least_squares(fitting.curve(decay, START), x, t, deviations)
    with pytest.raises(errors.ConfigurationError, match="are not known"):
        fit.prediction_band(x)
    lower, upper = fit.prediction_band(x, deviations=deviations)
    inner = fit.band(x)
    half = np.hypot((inner[1] - inner[0]) / 2, 1.959963985 * deviations)
    np.testing.assert_allclose((upper - lower) / 2, half, rtol=1e-8)


def test_profile_of_a_linear_parameter_is_its_standard_error():
    x, t = np.arange(8.0), np.array([0.9, 3.2, 4.8, 7.1, 9.2, 10.7, 13.1, 15.0])
    fit = fitting.least_squares(fitting.curve(lambda x, a, b: a + b * x, [0, 1]), x, t, 0.2)
    profile = fit.profile("b")
    assert profile.upper - profile.value == pytest.approx(fit["b"].standard_error, rel=1e-4)
    assert profile.value - profile.lower == pytest.approx(fit["b"].standard_error, rel=1e-4)


def test_profile_is_where_chi_squared_rises_by_one():
    x, t, _ = data(sigma=0.4)
    sigma = 0.4
    fit = fitting.least_squares(fitting.curve(decay, [2, 0.7, 0.3]), x, t, sigma)
    theta = fit.model.parameters.value.copy()
    profile = fit.profile("rate")

    def lowest(rate):  # linear in the others, so solved exactly
        design = np.stack([np.exp(-rate * x), np.ones_like(x)], axis=1)
        return (((design @ np.linalg.lstsq(design, t)[0] - t) / sigma) ** 2).sum()

    for end in (profile.lower, profile.upper):
        assert lowest(end) - fit.chi_squared == pytest.approx(1, abs=1e-4)
    above, below = profile.upper - profile.value, profile.value - profile.lower
    assert above > 1.02 * below  # asymmetric
    assert np.all(np.diff(profile.values) > 0)
    for value, squares in zip(profile.values, profile.chi_squared, strict=True):
        assert squares == pytest.approx(lowest(value), rel=1e-7)
    np.testing.assert_array_equal(fit.model.parameters.value, theta)


def test_profile_open_to_one_side_has_an_infinite_end():
    x = np.array([1.0, 2.0, 3.0, 4.0])
    t = np.array([1.0, 1.02, 0.99, 1.01])  # saturated: the rate has a lower limit alone
    model = fitting.curve(lambda x, top, rate: top * (1 - np.exp(-rate * x)), [1.0, 3.0])
    fit = fitting.least_squares(model, x, t, 0.02)
    profile = fit.profile("rate", 0.95)
    assert np.isinf(profile.upper)
    assert 1 < profile.lower < profile.value


# ------------------------------------------------------------------------------- the model


def test_a_failed_fit_leaves_the_model_as_it_was():
    x, t, _ = data()
    model = fitting.curve(decay, START)
    model.build(())
    theta = model.parameters.value.copy()
    with pytest.raises(errors.ConvergenceError, match="did not converge") as caught:
        fitting.least_squares(model, x, t, max_evaluations=2)
    assert "max_evaluations" in caught.value.hint
    np.testing.assert_array_equal(model.parameters.value, theta)


def test_the_result_stays_when_the_model_moves_on():
    x, t, deviations = data()
    model = fitting.curve(decay, START)
    fit = fitting.least_squares(model, x, t, deviations)
    band, residuals = fit.band(x), fit.residuals
    model.parameters.value = [9.0, 9.0, 9.0]
    again = fitting.least_squares(model, x, t, deviations, start=START)
    np.testing.assert_array_equal(fit.band(x), band)
    np.testing.assert_allclose(again.residuals, residuals, rtol=1e-6)


def test_the_band_keeps_the_frozen_values_of_the_fit():
    x, t, deviations = data()
    model = fitting.curve(decay, START)
    model.build(())
    model.parameters["offset"].trainable = False
    fit = fitting.least_squares(model, x, t, deviations)
    report = str(fit)
    model.unfreeze()
    model.parameters["offset"].value = 5.0
    np.testing.assert_allclose(np.mean(fit.band(x), axis=0), decay(x, *fit.values))
    assert fit.profile("rate").value == fit["rate"].value
    assert str(fit) == report


@pytest.mark.parametrize("start", [[0.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
def test_a_formula_may_write_into_its_own_arrays(start):
    def model(x, a, b):
        array = np.array(x)
        y = a * array
        array += 1
        return y + b * np.square(array)

    x = np.linspace(0, 1, 10)
    fit = fitting.least_squares(fitting.curve(model, start), x, model(x, 2.0, 3.0))
    np.testing.assert_allclose(fit.values, [2.0, 3.0])


def test_a_function_may_change_its_own_numbers():
    def model(x, a, width):
        width /= 2  # of this call alone
        return a * np.exp(-width * x)

    x = np.linspace(0, 3, 20)
    layer = fitting.curve(model, [1.0, 1.0])
    fit = fitting.least_squares(layer, x, 2 * np.exp(-0.7 * x))
    np.testing.assert_allclose(fit.values, [2.0, 1.4])
    layer.forward(x)
    np.testing.assert_array_equal(layer.parameters.value, fit.values)
    np.testing.assert_allclose(
        derivatives.jvp(layer, x, None, [0.0, 1.0])[1],
        derivatives.jacobian(layer, x, "parameters")[:, 1],
    )
    np.testing.assert_array_equal(layer.parameters.value, fit.values)


def added(x, a, b):
    y = b
    y += a * x
    return y


def parts_of_an_array(x, a, b):
    both = np.stack([a, b])
    first = both[0]
    first *= 2  # a number: `both` stays
    return first * np.sin(x) + both[0] * both[1] * x


@pytest.mark.parametrize("function", [added, parts_of_an_array])
def test_operators_in_place_rebind_numbers_as_those_of_numpy(function):
    x = np.linspace(0, 2, 15)
    y = function(x, *np.array([2.0, 0.7]))
    layer = fitting.curve(function, [1.5, 0.8])
    fit = fitting.least_squares(layer, x, y)
    np.testing.assert_allclose(fit.values, [2.0, 0.7])
    jacobian = derivatives.jacobian(layer, x, "parameters")
    for column, step in zip(jacobian.T, 1e-6 * np.eye(2), strict=True):
        difference = function(x, *(fit.values + step)) - function(x, *(fit.values - step))
        np.testing.assert_allclose(column, difference / 2e-6, atol=1e-8)


def test_a_function_that_writes_into_x_is_named():
    def model(x, a, b):
        x -= 1
        return a * x + b

    x = np.arange(5.0)
    with pytest.raises(errors.DefinitionError, match="read-only"):
        fitting.least_squares(fitting.curve(model, [1.0, 1.0]), x, x)


def test_an_infinite_slope_is_named_and_the_model_unchanged():
    model, x = fitting.curve(lambda x, a, b: np.sqrt(a) * x + b, [0.0, 1.0]), np.arange(5.0)
    with pytest.raises(errors.NonFiniteError, match="derivative by 'a' is not finite"):
        fitting.least_squares(model, x, x)
    assert not model.is_built


def test_start_by_path_and_as_a_vector():
    x, t, _ = data()
    a = fitting.least_squares(fitting.curve(decay, START), x, t, start={"rate": 0.5})
    b = fitting.least_squares(fitting.curve(decay, START), x, t, start=[1.0, 0.5, 0.0])
    np.testing.assert_array_equal(a.values, b.values)


BAD = [
    (
        {"x": np.arange(2.0), "t": np.ones(2)},
        errors.ConfigurationError,
        "more parameters than data",
    ),
    ({"deviations": 0.0}, errors.DataError, "not those of measurements"),
    ({"deviations": [0.1] * 29 + [-1]}, errors.DataError, "not those of measurements"),
    ({"deviations": np.ones(7)}, errors.ShapeError, "do not fit"),
    ({"deviations": -np.eye(30)}, errors.DataError, "not those of measurements"),
    ({"deviations": np.triu(np.ones((30, 30)))}, errors.DataError, "not those of measurements"),
    ({"t": np.full(30, np.nan)}, errors.DataError, "t contains"),
    ({"t": np.ones((30, 1))}, errors.ShapeError, "shape of the output"),
    ({"t": np.ones(29)}, errors.ShapeError, "shape of the output"),
    ({"start": {"rat": 1}}, errors.ConfigurationError, "no parameter 'rat'"),
    ({"start": [1.0]}, errors.ShapeError, "wrong length"),
    ({"start": {"rate": -1e4}}, errors.NonFiniteError, "not finite at the start"),
    ({"start": {"rate": np.nan}}, errors.DataError, "not finite"),
    ({"bounds": {"rate": (2, 3)}}, errors.ConfigurationError, "outside"),
    ({"bounds": {"rate": (3, 2)}}, errors.ConfigurationError, "no room"),
    ({"bounds": {"rate": 3}}, errors.ConfigurationError, "entry of 'rate'"),
    ({"bounds": [0, 1]}, errors.ConfigurationError, "no dictionary"),
    ({"priors": {"rate": 0.1}}, errors.ConfigurationError, "deviations"),
    ({"priors": {"rate": 0}, "deviations": 1}, errors.ConfigurationError, "invalid"),
    ({"loss": "square"}, errors.ConfigurationError, "unknown loss"),
    ({"method": "newton"}, errors.ConfigurationError, "unknown method"),
    ({"method": "lm", "loss": "huber"}, errors.ConfigurationError, "neither bounds"),
    ({"sample_weights": np.ones(3)}, errors.ShapeError, "sample_weights"),
    ({"sample_weights": -np.ones(30)}, errors.DataError, "weight"),
    ({"relative": "much"}, errors.ConfigurationError, "relative"),
    ({"deviations": np.eye(30), "relative": 0.1}, errors.ConfigurationError, "covariance"),
    ({"priors": {"rate": (np.nan, 1)}, "deviations": 1}, errors.ConfigurationError, "invalid"),
    ({"loss": "huber", "loss_scale": -1}, errors.ConfigurationError, "loss_scale is invalid"),
    ({"loss": "huber", "loss_scale": "1"}, errors.ConfigurationError, "loss_scale is invalid"),
    ({"max_evaluations": 0}, errors.ConfigurationError, "max_evaluations is invalid"),
    ({"deviations": "small"}, errors.DtypeError, "deviations"),
    ({"deviations": [0.1, "?"]}, errors.DtypeError, "deviations"),
    ({"sample_weights": ["a"] * 30}, errors.DtypeError, "sample_weights"),
    ({"start": ["a", 1, 0]}, errors.DtypeError, "start"),
    ({"tolerance": 2}, errors.ConfigurationError, "tolerance"),
    ({"max_evaluations": 2}, errors.ConvergenceError, "did not converge"),
    ({"verbose": 2}, errors.ArgumentError, "no argument 'verbose'"),
]


@pytest.mark.parametrize(("arguments", "kind", "text"), BAD, ids=lambda v: str(v)[:40])
def test_bad_input_is_named(arguments, kind, text):
    x, t, _ = data()
    model = fitting.curve(decay, START)
    model.build(())
    theta = model.parameters.value.copy()
    with pytest.raises(kind, match=text):
        fitting.least_squares(model, **{"x": x, "t": t, **arguments})
    np.testing.assert_array_equal(model.parameters.value, theta)


@pytest.mark.parametrize(("arguments", "kind", "text"), BAD, ids=lambda v: str(v)[:40])
def test_a_refused_fit_builds_nothing(arguments, kind, text):
    x, t, _ = data()
    model = fitting.curve(decay, START)
    before = dict(model.__dict__)
    with pytest.raises(kind, match=text):
        fitting.least_squares(model, **{"x": x, "t": t, **arguments})
    assert model.__dict__ == before
    fit = fitting.least_squares(model, x, t)
    assert fit["rate"].value == pytest.approx(0.7, abs=0.1)


def test_a_refused_fit_of_a_graph_leaves_what_was_built_and_what_was_not():
    x, t, _ = data()
    built, fresh = Dense(1), Dense(2)
    built.build((1,), rng=0)
    one, before = Input((1,)), built.parameters.value.copy()
    model = Graph(one, Add()(built(one), Dense(1)(fresh(one))))
    with pytest.raises(errors.ShapeError, match="shape of the output"):
        fitting.least_squares(model, x[:, None], t)
    assert built.is_built
    assert not fresh.is_built
    assert not model.is_built
    np.testing.assert_array_equal(built.parameters.value, before)
    fit = fitting.least_squares(model, x[:, None], t[:, None], max_evaluations=10_000)
    assert fit.chi_squared > 0


def test_the_wrong_axis_of_the_targets_has_a_hint():
    x, t, _ = data()
    with pytest.raises(errors.ShapeError, match="an axis less"):
        fitting.least_squares(fitting.curve(decay, START), x, t[:, None])


def test_random_and_coupled_layers_are_refused():
    x, t, _ = data()
    for layer in (Dropout(0.5), BatchNorm()):
        model = Sequential([Dense(2), layer, Dense(1)])
        with pytest.raises(errors.ConfigurationError, match="same output"):
            fitting.least_squares(model, x[:, None], t[:, None])


def test_ambiguous_deviations_of_a_square_are_refused():
    t = np.ones((3, 3))
    model = Sequential([Dense(3)])
    with pytest.raises(errors.ShapeError, match=r"\(1, 3\)"):
        fitting.least_squares(model, np.ones((3, 1)), t, np.ones(3))


# ------------------------------------------------------------------------------- curves


@pytest.mark.parametrize(
    ("function", "start", "text"),
    [
        (lambda x: x, [], "arguments of the function"),
        (lambda x, *a: x, [1], "arguments of the function"),
        (decay, [1], "'rate' is missing"),
        (decay, [1, 2, 3, 4], "start values"),
        (decay, {"amplitude": 1, "rate": 1, "ofset": 0}, "'ofset' is no argument"),
        (decay, ["a", 1], "start values"),
        (decay, [np.nan, 1], "start values"),
    ],
)
def test_start_values_that_do_not_belong_to_the_function_are_named(function, start, text):
    with pytest.raises(errors.ConfigurationError, match=text):
        fitting.curve(function, start)


def test_a_curve_is_a_layer_that_cannot_be_saved_as_long_as_its_function_is_code(tmp_path):
    model = fitting.curve(decay, START)
    model.build(())
    with pytest.raises(errors.StorageError, match=r"Curve\.function"):
        model.save(tmp_path / "curve.chain")
    weights = tmp_path / "weights.chain"
    model.save_weights(weights)
    other = fitting.curve(decay, [9, 9, 9])
    other.build(())
    other.load_weights(weights)
    np.testing.assert_array_equal(other.parameters.value, START)


def test_a_model_without_a_free_parameter_is_named():
    x, t, _ = data()
    with pytest.raises(errors.ConfigurationError, match="no parameter to fit"):
        fitting.least_squares(fitting.curve(decay, START).freeze(), x, t)


def test_the_profile_of_a_parameter_at_its_bound_is_written_without_rounding():
    x, t, deviations = data()
    model = fitting.curve(decay, [1.0, 1.5, 0.0])
    fit = fitting.least_squares(model, x, t, deviations, bounds={"rate": (1.2, 3)})
    assert str(fit.profile("rate")).startswith("rate = 1.2000 +")
    assert "−0 (" in str(fit.profile("rate"))


@pytest.mark.parametrize(
    ("function", "hint"),
    [
        (lambda x, a: a * math.exp(x), "np.exp(x), not math.exp(x)"),
        (lambda x, a: a * x[0], "x[:, 0]"),
        (lambda x, a: a if x > 1 else 0 * x, "np.where"),
    ],
)
def test_what_beginners_write_into_a_function_has_a_hint(function, hint):
    x = np.linspace(0, 1, 5)
    with pytest.raises(errors.BuildError) as caught:
        fitting.least_squares(fitting.curve(function, [1.0]), x, x)
    assert hint in caught.value.hint


def test_a_function_that_is_no_layer_and_several_inputs_of_a_curve_have_hints():
    x = np.linspace(0, 1, 5)
    with pytest.raises(errors.DefinitionError, match=r"fitting\.curve\(function, start\)"):
        fitting.least_squares(decay, x, x)
    with pytest.raises(errors.ShapeError, match=r"np\.stack"):
        fitting.least_squares(fitting.curve(decay, START), (x, x), x)
    with pytest.raises(errors.ShapeError, match="x has 5 rows, and t 4"):
        fitting.least_squares(fitting.curve(decay, START), x, x[1:])


class ManyNumbers(Layer):
    """Fifty numbers from one parameter, and a backward pass that must not be needed."""

    def build(self, input_shape):
        self.rate = self.parameter("rate", (), 0.5)

    def forward(self, x):
        return np.exp(-self.rate.value * np.arange(50) / 10) * x[:, np.newaxis]

    def backward(self, delta):
        raise AssertionError


def test_few_parameters_of_many_numbers_take_tangents():
    x, noise = np.array([1.0, 2.0]), 0.01 * np.random.default_rng(0).normal(size=(2, 50))
    t = np.exp(-0.8 * np.arange(50) / 10) * x[:, np.newaxis] + noise
    fit = fitting.least_squares(ManyNumbers(), x, t, 0.01)
    values, covariance = curve_fit(
        lambda x, rate: (np.exp(-rate * np.arange(50) / 10) * x[:, np.newaxis]).ravel(),
        x, t.ravel(), [0.5], np.full(100, 0.01), absolute_sigma=True,
    )  # fmt: skip
    np.testing.assert_allclose(fit.values, values, rtol=1e-6)
    np.testing.assert_allclose(fit.standard_errors, np.sqrt(covariance[0]), rtol=1e-4)


def test_a_formula_without_parameters_says_how_to_create_one():
    class Line(Formula):
        slope: float = 1.0

        def forward(self, x):
            return self.slope * x

    with pytest.raises(errors.ConfigurationError, match=r"self\.parameter\('a', \(\), 1\.0\)"):
        fitting.least_squares(Line(), np.arange(3.0), np.arange(3.0))


def test_a_solver_that_asks_again_gets_the_jacobian_it_had_and_cannot_change_it():
    x = np.linspace(0, 3, 20)
    model = fitting.curve(lambda x, a, b: a * np.exp(-b * x), [1.0, 1.0])
    problem = fitting.least_squares(model, x, 2 * np.exp(-0.5 * x))._problem
    for theta in (np.array([2.0, 0.5]), np.array([1.0, -0.3])):
        found = problem.jacobian(theta)
        e = np.exp(-theta[1] * x)
        np.testing.assert_allclose(found, np.stack([e, -theta[0] * x * e], axis=1), rtol=1e-13)
        assert problem.jacobian(theta.copy()) is found
        with pytest.raises(ValueError, match="read-only"):
            found[0] = 0
