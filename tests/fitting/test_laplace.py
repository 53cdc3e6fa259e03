"""Laplace's approximation, against Bayesian linear regression, where it is exact, and SciPy."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats

from chainrule import (
    Activation,
    BatchNorm,
    Branches,
    Concatenate,
    Dense,
    Dropout,
    Graph,
    Input,
    Sequential,
    Trainer,
    derivatives,
    losses,
    optimizers,
)
from chainrule.core.errors import (
    ArgumentError,
    BuildError,
    ConfigurationError,
    DataError,
    DefinitionError,
    ShapeError,
)
from chainrule.fitting import Laplace

SIGMA, TAU = 0.3, 1.7


class Line:
    """Bayesian linear regression with two outputs, in closed form, and the model at its mean."""

    def __init__(self, deviations=SIGMA, rows=30):
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(rows, 3))
        self.design = np.hstack([self.x, np.ones((rows, 1))])
        truth = rng.normal(size=(4, 2))
        self.t = self.design @ truth + SIGMA * rng.normal(size=(rows, 2))
        self.sigma = np.broadcast_to(deviations, self.t.shape)
        self.model = Sequential([Dense(2)])
        self.model.build((3,), rng=0)
        self.covariances = []
        for k in range(2):
            a = self.design / self.sigma[:, k, np.newaxis]
            covariance = np.linalg.inv(a.T @ a + np.eye(4) / TAU**2)
            mean = covariance @ a.T @ (self.t[:, k] / self.sigma[:, k])
            self.model.parameters["dense_1.weights"].value[:, k] = mean[:3]
            self.model.parameters["dense_1.biases"].value[k] = mean[3]
            self.covariances.append(covariance)

    def deviation(self, x):
        rows = np.hstack([x, np.ones((len(x), 1))])
        each = [np.sqrt(np.sum((rows @ c) * rows, axis=1)) for c in self.covariances]
        return np.stack(each, axis=1)


def network(rows=40, seed=0):
    """A small network and data; it need not be trained well."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (rows, 2))
    t = np.sin(x[:, :1]) + 0.1 * rng.normal(size=(rows, 1))
    model = Sequential([Dense(5), Activation("tanh"), Dense(1)])
    model.build((2,), rng=1)
    return model, x, t


@pytest.mark.parametrize("structure", ["full", "last layer"])
@pytest.mark.parametrize(
    "deviations", [SIGMA, np.linspace(0.1, 2.0, 30), np.linspace(0.1, 2.0, 60).reshape(30, 2)]
)
def test_a_linear_model_has_the_posterior_of_bayesian_linear_regression(structure, deviations):
    array = np.asarray(deviations)
    line = Line(array[:, np.newaxis] if array.ndim == 1 else array)
    new = 3 * np.random.default_rng(1).normal(size=(6, 3))
    posterior = Laplace(
        line.model, line.x, line.t, deviations, prior_deviation=TAU, structure=structure
    )
    np.testing.assert_allclose(posterior.deviation(new), line.deviation(new), rtol=1e-12)
    # θ is the weights (3, 2), row by row, then the biases (2,).
    first = [0, 2, 4, 6]
    np.testing.assert_allclose(
        posterior.covariance[np.ix_(first, first)], line.covariances[0], rtol=1e-10, atol=1e-14
    )
    np.testing.assert_allclose(posterior.covariance[first][:, [1, 3, 5, 7]], 0, atol=1e-14)


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 12),
    width=st.integers(1, 5),
    sigma=st.floats(0.01, 10),
    tau=st.floats(0.01, 100),
)
@settings(max_examples=40, deadline=None)
def test_any_line_has_its_posterior(seed, rows, width, sigma, tau):
    rng = np.random.default_rng(seed)
    x, t, new = (rng.normal(size=shape) for shape in ((rows, width), (rows, 1), (3, width)))
    model = Sequential([Dense(1, use_bias=False)])
    model.build((width,), rng=seed)
    posterior = Laplace(model, x, t, sigma, prior_deviation=tau)
    precision = x.T @ x / sigma**2 + np.eye(width) / tau**2
    variance = np.sum(new * np.linalg.solve(precision, new.T).T, axis=1, keepdims=True)
    condition = np.linalg.cond(precision)
    np.testing.assert_allclose(posterior.deviation(new) ** 2, variance, rtol=1e-13 * condition)
    assert 0 < posterior.effective_parameters < min(rows, width) + 1e-9


def test_several_inputs_and_float32():
    a, b = np.random.default_rng(0).normal(size=(2, 30, 2))
    x_1, x_2 = Input((2,)), Input((2,))
    model = Graph([x_1, x_2], Dense(1)(Concatenate()(x_1, x_2)))
    model.build(rng=0, dtype="float32")
    t = a[:, :1] + b[:, :1]
    posterior = Laplace(model, (a, b), t, SIGMA, prior_deviation=TAU)
    design = np.hstack([a, b, np.ones((30, 1))])
    precision = design.T @ design / SIGMA**2 + np.eye(5) / TAU**2
    expected = np.sqrt(np.sum(design * np.linalg.solve(precision, design.T).T, axis=1))
    np.testing.assert_allclose(posterior.deviation((a, b))[:, 0], expected, rtol=1e-6)
    assert posterior.band((a[:0], b[:0]))[0].shape == (0, 1)


def test_the_evidence_is_the_density_of_the_data():
    """The targets of a linear model are normal, with covariance σ² + τ² X Xᵀ."""
    line = Line()
    posterior = Laplace(line.model, line.x, line.t, SIGMA, prior_deviation=TAU)
    covariance = SIGMA**2 * np.eye(30) + TAU**2 * line.design @ line.design.T
    density = stats.multivariate_normal(cov=covariance)
    expected = sum(density.logpdf(line.t[:, k]) for k in range(2))
    assert posterior.log_evidence == pytest.approx(expected, rel=1e-10)
    with_array = Laplace(line.model, line.x, line.t, np.full((30, 2), SIGMA), prior_deviation=TAU)
    assert with_array.log_evidence == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("structure", ["full", "last layer", "diagonal"])
def test_prior_and_noise_are_the_ones_with_the_largest_evidence(structure):
    model, x, t = network()
    found = Laplace(model, x, t, structure=structure)
    noise, prior = found.noise_deviation, found.prior_deviation
    for factor in (0.98, 1.02):
        for s, p in ((noise * factor, prior), (noise, prior * factor)):
            other = Laplace(model, x, t, s, prior_deviation=p, structure=structure)
            assert other.log_evidence < found.log_evidence
    same = Laplace(model, x, t, noise, prior_deviation=prior, structure=structure)
    assert same.log_evidence == pytest.approx(found.log_evidence, rel=1e-12)


def test_the_noise_of_a_line_is_that_of_the_residuals_over_the_degrees_of_freedom():
    """With a prior so wide that it does not matter: σ² = Σ r²/(N − 8)."""
    line = Line()
    posterior = Laplace(line.model, line.x, line.t, prior_deviation=1e6)
    residuals = line.t - line.model(line.x)
    assert posterior.noise_deviation == pytest.approx(np.sqrt(np.sum(residuals**2) / (60 - 8)))
    assert posterior.effective_parameters == pytest.approx(8)


def test_all_parameters_of_a_network_have_the_covariance_of_the_formula():
    model, x, t = network()
    posterior = Laplace(model, x, t, SIGMA, prior_deviation=TAU, structure="full")
    j = derivatives.jacobian(model, x, "parameters")[:, 0]
    precision = j.T @ j / SIGMA**2 + np.eye(j.shape[1]) / TAU**2
    np.testing.assert_allclose(posterior.covariance, np.linalg.inv(precision), rtol=1e-7, atol=1e-9)
    new = np.array([[0.0, 3.0], [1.0, 1.0]])
    k = derivatives.jacobian(model, new, "parameters")[:, 0]
    expected = np.sqrt(np.sum(k * np.linalg.solve(precision, k.T).T, axis=1))
    np.testing.assert_allclose(posterior.deviation(new)[:, 0], expected, rtol=1e-10)
    eigenvalues = np.linalg.eigvalsh(j.T @ j / SIGMA**2)
    effective = np.sum(eigenvalues / (eigenvalues + TAU**-2))
    assert posterior.effective_parameters == pytest.approx(effective)


def test_the_diagonal_is_that_of_the_precision():
    model, x, t = network()
    posterior = Laplace(model, x, t, SIGMA, prior_deviation=TAU, structure="diagonal")
    j = derivatives.jacobian(model, x, "parameters")[:, 0]
    variances = 1 / (np.sum(j**2, axis=0) / SIGMA**2 + TAU**-2)
    np.testing.assert_allclose(posterior.covariance, np.diag(variances), rtol=1e-12)
    np.testing.assert_allclose(posterior.deviation(x)[:, 0], np.sqrt(j**2 @ variances), rtol=1e-12)


def test_more_parameters_than_data_leave_the_prior_where_the_data_say_nothing():
    model, x, t = network(rows=4)
    posterior = Laplace(model, x, t, SIGMA, prior_deviation=TAU, structure="full")
    j = derivatives.jacobian(model, x, "parameters")[:, 0]
    precision = j.T @ j / SIGMA**2 + np.eye(j.shape[1]) / TAU**2
    np.testing.assert_allclose(posterior.covariance, np.linalg.inv(precision), rtol=1e-9, atol=1e-9)
    assert posterior.effective_parameters < 4


def test_the_last_layer_is_the_last_one_and_frozen_parameters_are_certain():
    model, x, t = network()
    last = Laplace(model, x, t, SIGMA, prior_deviation=TAU)
    assert last.paths == ["dense_2.weights", "dense_2.biases"]
    assert last.covariance.shape == (6, 6)
    model.layers[-1].freeze()
    rest = Laplace(model, x, t, SIGMA, prior_deviation=TAU, structure="full")
    assert rest.paths == ["dense_1.weights", "dense_1.biases"]
    assert Laplace(model, x, t, SIGMA).paths == ["dense_1.weights", "dense_1.biases"]


def test_the_bands_are_the_intervals_of_the_normal_distribution():
    line = Line()
    posterior = Laplace(line.model, line.x, line.t, SIGMA, prior_deviation=TAU)
    new = np.random.default_rng(1).normal(size=(5, 3))
    y, deviation = line.model(new), line.deviation(new)
    np.testing.assert_allclose(
        posterior.band(new, 0.9), stats.norm.interval(0.9, y, deviation), rtol=1e-9
    )
    for noise in (SIGMA, 2.0):
        given = None if noise == SIGMA else noise
        expected = stats.norm.interval(0.95, y, np.hypot(deviation, noise))
        found = posterior.prediction_band(new, deviations=given)
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_many_rows_are_taken_in_parts(monkeypatch):
    model, x, t = network()
    whole = Laplace(model, x, t, structure="full")
    monkeypatch.setattr("chainrule.fitting.laplace.AT_ONCE", 7 * model.parameters.size)
    parts = Laplace(model, x, t, structure="full")
    np.testing.assert_allclose(parts.covariance, whole.covariance, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(parts.deviation(x), whole.deviation(x), rtol=1e-8)


def test_the_model_is_left_as_it_was():
    model, x, t = network()
    before = model.parameters.value.copy()
    posterior = Laplace(model, x, t)
    posterior.band(x)
    assert np.array_equal(model.parameters.value, before)
    assert not np.any(model.parameters.grad)
    assert repr(posterior).startswith("Laplace(full covariance of 6 parameters")


def refused(kind, make, *words):
    with pytest.raises(kind) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


def test_what_has_no_posterior_is_refused(monkeypatch):
    model, x, t = network()
    refused(BuildError, lambda: Laplace(Dense(1), x, t), "not built", "fitting.minimize")
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.Adam())
    refused(DefinitionError, lambda: Laplace(trainer, x, t), "Laplace(trainer.model)")
    refused(ArgumentError, lambda: Laplace(model, x, t, prior=1.0), "prior_deviation=…")
    refused(ShapeError, lambda: Laplace(model, x, t[:, 0]), "(40, 1)", "np.newaxis")
    refused(ShapeError, lambda: Laplace(model, x, t[:5]), "(5, 1)")
    refused(DataError, lambda: Laplace(model, x[:0], t[:0]), "no data")
    refused(DataError, lambda: Laplace(model, x, np.where(t == t[3], np.nan, t)), "t", "row 3")
    refused(ShapeError, lambda: Laplace(model, x, t, np.ones(7)), "(40,)", "(7,)")
    for bad in (0, -1.0, np.inf, np.nan, "x"):
        refused(ConfigurationError, lambda b=bad: Laplace(model, x, t, b), "deviation", "above 0")
        refused(ConfigurationError, lambda b=bad: Laplace(model, x, t, prior_deviation=b), "prior")
    zero = np.where(np.arange(40) == 4, 0.0, 1.0)
    refused(ConfigurationError, lambda: Laplace(model, x, t, zero), "row 4", "above 0")
    refused(ConfigurationError, lambda: Laplace(model, x, t, structure="block"), "'diagonal'")
    refused(ConfigurationError, lambda: Laplace(model, x, model(x)), "exactly", "deviations=…")
    monkeypatch.setattr("chainrule.fitting.laplace.LARGEST", 10)
    refused(ConfigurationError, lambda: Laplace(model, x, t, structure="full"), "21", "last layer")
    own = Laplace(model, x, t, np.linspace(1, 2, 40))
    refused(ConfigurationError, lambda: own.prediction_band(x), "deviations=…")
    refused(ConfigurationError, lambda: own.band(x, 1.0), "0 < probability < 1")
    model.freeze()
    refused(ConfigurationError, lambda: Laplace(model, x, t), "all frozen")


@pytest.mark.parametrize("layer", [Dropout(0.5), BatchNorm()])
def test_layers_that_draw_or_couple_rows_are_refused(layer):
    model = Sequential([Dense(3), layer, Dense(1)])
    model.build((2,), rng=0)
    refused(
        ConfigurationError,
        lambda: Laplace(model, np.ones((4, 2)), np.ones((4, 1))),
        type(layer).__name__,
        "Ensemble",
    )


def test_a_model_with_several_outputs_is_refused():
    model = Branches([Dense(1), Dense(1)])
    model.build((2,), rng=0)
    refused(ShapeError, lambda: Laplace(model, np.ones((4, 2)), np.ones((4, 1))), "2 outputs")
