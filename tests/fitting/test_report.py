"""What people see of a fit: numbers with errors, the report, the figure."""

from __future__ import annotations

import io
import pickle
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from chainrule import errors, fitting
from chainrule.fitting.estimate import written
from chainrule.fitting.spread import spread_of


def decay(x, amplitude, rate):
    return amplitude * np.exp(-rate * x)


def fitted(deviations=0.1):
    x = np.linspace(0, 4, 20)
    t = decay(x, 2.0, 0.7) + 0.1 * np.random.default_rng(0).normal(size=20)
    return fitting.least_squares(fitting.curve(decay, [1, 1]), x, t, deviations)


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (0.50217, 0.00481, "0.5022 ± 0.0048"),
        (238.94213, 2.707, "238.9 ± 2.7"),
        (1234567.0, 1234.0, "1.2346e+06 ± 0.0012e+06"),
        (5.5015643e-7, 7.2668688e-9, "5.502e-07 ± 0.073e-07"),
        (3.0, 0.0995, "3.00 ± 0.10"),
        (-0.0012, 0.34, "-0.00 ± 0.34"),
        (52.0, 11.0, "52 ± 11"),
        (5200.0, 1100.0, "5.2e+03 ± 1.1e+03"),
        (1.5, np.inf, "1.5 ± ∞"),
        (1.5, 0.0, "1.5 ± 0"),
    ],
)
def test_the_error_has_two_digits_and_the_value_as_many_decimals(value, error, expected):
    assert " ± ".join(written(value, error)) == expected


def test_report_has_each_parameter_and_the_quality():
    fit = fitted()
    lines = str(fit.report()).splitlines()
    assert lines[0].split() == ["parameter", "value", "standard", "error", "relative"]
    value, error = written(*[float(n) for n in (fit.values[1], fit.standard_errors[1])])
    assert lines[2].split()[:3] == ["rate", value, error]
    assert f"p = {fit.p_value:.2g}" in lines[3]
    assert "18 degrees of freedom" in lines[3]
    assert str(fit) == str(fit.report()) == repr(fit)


def test_report_says_when_errors_come_from_the_residuals():
    assert "scaled by the residuals" in str(fitted(None))
    assert "scaled by the residuals" not in str(fitted())


def test_report_lists_strong_correlations():
    x = np.linspace(10, 11, 20)
    t = 1 + 2 * x + 0.01 * np.random.default_rng(0).normal(size=20)
    fit = fitting.least_squares(fitting.curve(lambda x, a, b: a + b * x, [1, 1]), x, t)
    assert f"a, b {fit.correlations[0, 1]:+.3f}" in str(fit)
    assert fit.correlations[0, 1] < -0.99


def test_report_as_html_and_latex():
    report = fitted().report()
    table = ElementTree.fromstring(f"<div>{report.html()}</div>")
    rows = [[cell.text for cell in row] for row in table.iter("tr")]
    assert rows == [["parameter", "value", "standard error", "relative"], *map(list, report.rows)]
    assert report._repr_html_() == report.html()
    lines = report.latex().splitlines()
    assert lines[0] == r"\begin{tabular}{lr@{ $\pm$ }l}"
    assert lines[4].startswith("amplitude & $") and lines[4].endswith(r"\\")
    assert r"$\chi^2 = " in lines[-3]
    x = np.linspace(0, 1, 9)
    model = fitting.curve(lambda x, k_b: k_b * x, [1.0])
    small = fitting.least_squares(model, x, 1.38e-23 * x + 1e-26 * np.sin(99 * x))
    assert r"k\_b & $1.3" in small.report().latex()
    assert r"\times 10^{-23}" in small.report().latex()


def test_report_shows_what_an_encoding_can():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Console(file=stream, width=100).print(fitted().report())
    stream.flush()
    printed = stream.buffer.getvalue().decode()
    assert "chi^2 = " in printed


def test_estimates_print_as_value_and_error():
    fit = fitted()
    assert repr(fit["rate"]) == " ± ".join(written(fit.values[1], fit.standard_errors[1]))
    assert fit["rate"].value == fit.values[1]
    with pytest.raises(errors.ConfigurationError, match="do you mean 'rate'"):
        fit["rat"]


def test_profile_prints_its_interval_and_refuses_what_has_none():
    fit = fitted()
    assert repr(fit.profile("rate", 0.95)).startswith("rate = 0.746 +0.0")
    assert " (0.95)" in repr(fit.profile("rate", 0.95))
    with pytest.raises(errors.ConfigurationError, match="has none"):
        fit.profile("rate", entry=3)
    with pytest.raises(errors.ConfigurationError, match="probability"):
        fit.profile("rate", 95)


def test_figure_has_data_model_band_and_residuals():
    fit = fitted()
    top, bottom = fit.plot().axes
    curve = next(line for line in top.lines if line.get_label() == "model")
    x, y = curve.get_data()
    np.testing.assert_allclose(y, decay(x, *fit.values), rtol=1e-12)
    points = next(line for line in bottom.lines if len(line.get_xdata()) == 20)
    np.testing.assert_allclose(points.get_ydata(), fit.residuals / 0.1, rtol=1e-9)
    assert "95 % band" in [text.get_text() for text in top.get_legend().get_texts()]


def test_figure_of_several_outputs_has_a_column_for_each():
    x = np.linspace(0, 1, 10)
    model = fitting.curve(lambda x, a: np.concatenate([a * x, a * x**2], axis=1), [1.0])
    t = np.stack([x, x**2], axis=1) + 0.01 * np.cos(9 * x)[:, None]
    assert len(fitting.least_squares(model, x[:, None], t).plot().axes) == 4


def test_figure_without_an_x_axis_is_a_named_error():
    x = np.random.default_rng(0).normal(size=(9, 2))
    model = fitting.curve(lambda x, a: a * x[:, 0], [1.0])
    fit = fitting.least_squares(model, x, x[:, 0] + 0.1 * x[:, 1])
    with pytest.raises(errors.ConfigurationError, match="no x axis"):
        fit.plot()


def test_spread_is_the_inverse_of_the_normal_matrix():
    jacobian = np.random.default_rng(0).normal(size=(9, 3)) * [1e-6, 1.0, 1e6]
    inverse = np.linalg.inv(jacobian.T @ jacobian)
    np.testing.assert_allclose(spread_of(jacobian).covariance, inverse, rtol=1e-9)
    directions = np.random.default_rng(1).normal(size=(4, 3))
    expected = np.einsum("np,pq,nq->n", directions, inverse, directions)
    np.testing.assert_allclose(spread_of(jacobian).variances(directions), expected, rtol=1e-9)


@pytest.mark.parametrize("library", ["scipy", "scipy.optimize"])
def test_missing_scipy_is_a_named_error(monkeypatch, library):
    model = fitting.curve(decay, [1, 1])
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(errors.MissingExtraError, match=r"fitting needs scipy"):
        fitting.least_squares(model, np.arange(4.0), np.ones(4))


def test_a_fixed_parameter_in_latex():
    model = fitting.curve(decay, [2.0, 0.7])
    model.build(())
    model.parameters["amplitude"].trainable = False
    x = np.linspace(0, 4, 20)
    fit = fitting.least_squares(model, x, decay(x, 2.0, 0.6) + 0.01 * np.sin(9 * x))
    assert r"amplitude & \multicolumn{2}{c}{$2$ (fixed)} \\" in fit.report().latex()


def test_as_many_parameters_as_data_are_determined_but_their_errors_are_not():
    x = np.array([0.0, 1.0])
    fit = fitting.least_squares(fitting.curve(decay, [1, 1]), x, decay(x, 2.0, 0.7))
    assert fit.undetermined == () and fit.rank == 2
    assert np.all(np.isinf(fit.standard_errors))
    assert "the values are determined" in str(fit)
    assert "give deviations" in str(fit)
    assert "not determined" not in str(fit)
    known = fitting.least_squares(fitting.curve(decay, [1, 1]), x, decay(x, 2.0, 0.7), 0.1)
    np.testing.assert_allclose(fit.correlations, known.correlations)
    with pytest.raises(errors.ConfigurationError) as caught:
        fit.profile("rate")
    assert "give deviations" in caught.value.hint


def test_a_profile_that_ends_at_a_bound_has_no_digits_of_rounding():
    x = np.linspace(0, 4, 20)
    t = decay(x, 2.0, 0.7) + 0.1 * np.random.default_rng(0).normal(size=20)
    model = fitting.curve(decay, [1, 0.3])
    fit = fitting.least_squares(model, x, t, 0.1, bounds={"rate": (None, 0.5)})
    assert fit.at_bound == ("rate",)
    assert str(fit.profile("rate")).startswith("rate = 0.5") and " +0 −" in str(fit.profile("rate"))
    assert len(str(fit.profile("rate"))) < 40


def test_the_band_is_drawn_where_the_model_has_a_value():
    x = np.geomspace(0.001, 100, 9)
    power = fitting.curve(lambda x, a, k: a * x**k, [1.0, 0.5])  # none below zero
    figure = fitting.least_squares(power, x, 3 * x**0.7, relative=0.05).plot()
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "95 % band" in labels


@pytest.mark.parametrize(
    ("name", "hint"),
    [("popt", "fit.values"), ("pcov", "fit.covariance"), ("redchi", "fit.reduced_chi_squared")],
)
def test_the_attributes_of_other_programs_have_hints(name, hint):
    fit = fitted()
    with pytest.raises(AttributeError, match=hint):
        getattr(fit, name)
    with pytest.raises(AttributeError, match="standard_error"):
        fit["rate"].stderr  # noqa: B018
    assert name not in dir(fit)


def test_a_fit_can_be_pickled():
    fit = fitted()  # of a function in a module
    same = pickle.loads(pickle.dumps(fit))
    assert str(same) == str(fit)
    x = np.linspace(0, 4, 3)
    np.testing.assert_array_equal(same.band(x), fit.band(x))
    np.testing.assert_allclose(same.profile("rate").upper, fit.profile("rate").upper)


def test_a_robust_loss_is_named_in_the_report():
    x = np.linspace(0, 1, 9)
    model = fitting.curve(lambda x, a: a * x, [1.0])
    fit = fitting.least_squares(model, x, 2 * x + (x == 0.5), 0.1, loss="soft_l1")
    assert "robust loss soft_l1" in str(fit)
    assert "robust" not in str(fitted())


def test_a_tolerance_ends_a_fit_early_and_is_checked():
    x = np.linspace(0, 3, 30)
    t = 2 * np.exp(-0.7 * x) + 0.01 * np.sin(40 * x)
    model = fitting.curve(lambda x, a, b: a * np.exp(-b * x), [1.0, 1.0])
    exact = fitting.least_squares(model, x, t, start=[1.0, 1.0])
    early = fitting.least_squares(model, x, t, start=[1.0, 1.0], tolerance=1e-3)
    assert early.evaluations < exact.evaluations
    np.testing.assert_allclose(early.values, exact.values, rtol=1e-3)
    for wrong in (0, 1, -1e-3, "small", np.nan):
        with pytest.raises(errors.ConfigurationError, match="tolerance is invalid"):
            fitting.least_squares(model, x, t, tolerance=wrong)
