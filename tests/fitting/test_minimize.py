"""Minimization of a cost by SciPy's solvers: the minimum, and the model whatever happens."""

from __future__ import annotations

import io
import signal
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from attrs import define
from rich.console import Console

from chainrule import Activation, Dense, Graph, Input, Sequential, derivatives, fitting, losses
from chainrule.core.errors import (
    ConfigurationError,
    DataError,
    DefinitionError,
    MissingExtraError,
    NonFiniteError,
    ShapeError,
)
from chainrule.fitting.minimize import TOLERANCES, WITH_PRODUCTS
from chainrule.losses import Loss

RNG = np.random.default_rng(6)
X = RNG.normal(size=(30, 3))
T = X @ RNG.normal(size=(3, 2)) + 0.3 * RNG.normal(size=(30, 2))
LOSS = losses.HalfSquaredError()
every_method = pytest.mark.parametrize("method", TOLERANCES)


def line():
    model = Sequential([Dense(2)])
    model.build((3,), rng=0)
    return model


def network(dtype="float64"):
    model = Sequential([Dense(4), Activation("tanh"), Dense(2)])
    model.build((3,), rng=1, dtype=dtype)
    return model


def solution(weights=None):
    """The least squares of a line, by LAPACK: weights and biases."""
    root = np.sqrt(np.ones(30) if weights is None else weights)[:, np.newaxis]
    design = np.column_stack([X, np.ones(30)])
    return np.linalg.lstsq(design * root, T * root, rcond=None)[0]


@every_method
def test_every_method_finds_the_least_squares_of_a_line(method):
    model = line()
    found = fitting.minimize(model, LOSS, X, T, method)
    assert found.converged, found.message
    expected = solution()
    np.testing.assert_allclose(model.parameters.value.reshape(4, 2), expected, atol=1e-6)
    assert found.value == pytest.approx(LOSS(np.column_stack([X, np.ones(30)]) @ expected, T))
    assert found.value == derivatives.value_and_gradient(model, LOSS, X, T)[0]
    assert np.abs(found.gradient).max() < 1e-6
    np.testing.assert_allclose(
        found.gradient, derivatives.value_and_gradient(model, LOSS, X, T)[1], atol=1e-15
    )
    assert found.iterations == len(found.history["loss"]) == len(found.history["gradient"])
    assert found.history["loss"][-1] == pytest.approx(found.value, rel=1e-6)


@every_method
def test_the_minimum_of_rosenbrock_is_found_and_second_derivatives_save_iterations(method):
    @define
    class Rosenbrock(Loss):
        takes_targets = False

        def costs(self, y):
            return (1 - y[:, 0]) ** 2 + 100 * (y[:, 1] - y[:, 0] ** 2) ** 2

        def slopes(self, y):
            valley = y[:, 1] - y[:, 0] ** 2
            first = -2 * (1 - y[:, 0]) - 400 * y[:, 0] * valley
            return np.stack([first, 200 * valley], axis=1)

    model = Sequential([Dense(2, use_bias=False)])
    model.build((1,), rng=0)
    model.parameters.value = [-1.2, 1.0]
    found = fitting.minimize(model, Rosenbrock(), np.ones((1, 1)), method=method)
    np.testing.assert_allclose(model.parameters.value, [1, 1], atol=1e-5)
    assert found.converged
    if method in WITH_PRODUCTS[:3]:
        assert found.iterations < 120


@every_method
@pytest.mark.parametrize("factor", [1e-12, 1e12])
def test_a_factor_of_the_loss_changes_nothing(method, factor):
    x = np.linspace(-1, 1, 20)[:, np.newaxis]
    t, ends = np.exp(x) + 0.1 * np.cos(9 * x), []
    for scale in (1.0, factor):
        model = fitting.curve(lambda x, a, b: a * np.exp(b * x[:, 0]), [0.5, 0.5])
        weights = np.full(20, scale)
        found = fitting.minimize(model, LOSS, x, t[:, 0], method, sample_weights=weights)
        assert found.converged, found.message
        assert found.iterations > 3
        ends.append((*model.parameters.value, found.value / scale))
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-7)


@every_method
def test_a_minimum_can_be_found_again(method):
    x = np.linspace(-1, 1, 20)
    t = np.exp(x) + 0.1 * np.cos(9 * x)
    model = fitting.curve(lambda x, a, b: a * np.exp(b * x), [0.5, 0.5])
    first = fitting.minimize(model, LOSS, x, t, method)
    again = fitting.minimize(model, LOSS, x, t, method)
    assert first.converged
    assert again.converged, again.message
    assert again.value <= first.value


def test_a_slope_that_does_not_belong_to_the_cost_is_not_called_converged():
    @define
    class Wrong(Loss):
        takes_targets = False

        def costs(self, y):
            return np.sum(y**2, axis=1)

        def slopes(self, y):
            return -2 * y

    for method in ("BFGS", "CG"):
        found = fitting.minimize(line(), Wrong(), X, method=method)
        assert not found.converged
        assert "found no lower cost" in found.message


def test_weights_and_frozen_parameters():
    model, weights = line(), RNG.uniform(size=30)
    fitting.minimize(model, LOSS, X, T, sample_weights=weights)
    np.testing.assert_allclose(model.parameters.value.reshape(4, 2), solution(weights), atol=1e-6)
    model = network()
    model.layers[0].freeze()
    before = model.parameters.value.copy()
    found = fitting.minimize(model, LOSS, X, T, "trust-ncg")
    frozen = [not p.trainable for p in model.parameters for _ in range(p.size)]
    np.testing.assert_array_equal(model.parameters.value[frozen], before[frozen])
    assert not np.any(model.parameters.value[np.logical_not(frozen)] == 0)
    assert not found.gradient[frozen].any()
    hidden = np.column_stack([model.layers[1](model.layers[0](X)), np.ones(30)])
    expected = np.linalg.lstsq(hidden, T, rcond=None)[0]  # a linear fit remains
    np.testing.assert_allclose(
        model.parameters.value[np.logical_not(frozen)].reshape(5, 2), expected, atol=1e-5
    )
    model.freeze()
    nothing = fitting.minimize(model, LOSS, X, T)
    assert nothing.converged
    assert nothing.iterations == 0


def test_several_outputs_and_losses_without_targets():
    x = Input((3,))
    model = Graph(x, (Dense(2)(x), Dense(1)(x)))
    model.build((3,), rng=0)
    found = fitting.minimize(model, [LOSS, losses.MeanSquare()], X, (T, None))
    assert found.converged
    np.testing.assert_allclose(model(X)[1], 0, atol=1e-6)
    np.testing.assert_allclose(
        model(X)[0], np.column_stack([X, np.ones(30)]) @ solution(), atol=1e-5
    )


def test_a_float32_model_stays_float32():
    model = network("float32")
    found = fitting.minimize(model, LOSS, X, T, iterations=50, tolerance=1e-4)
    assert model.dtype == np.float32
    assert found.gradient.dtype == np.float64
    assert found.value < 0.2


def test_the_callback_sees_the_model_at_each_iteration_and_can_end_it():
    model, seen = network(), []

    def callback(iteration, figures):
        seen.append((iteration, figures["loss"], float(LOSS(model(X), T))))
        return iteration == 4

    found = fitting.minimize(model, LOSS, X, T, callback=callback)
    assert [number for number, _, _ in seen] == [1, 2, 3, 4]
    for _, recorded, now in seen:
        assert recorded == pytest.approx(now, rel=1e-12)
    assert found.history["loss"] == [recorded for _, recorded, _ in seen]
    assert not found.converged
    assert "the callback returned True" in found.message
    assert found.value == min(found.history["loss"])


def test_ctrl_c_ends_after_the_iteration_with_the_best_so_far():
    model = network()

    def press(iteration, figures):
        if iteration == 3:
            signal.raise_signal(signal.SIGINT)

    found = fitting.minimize(model, LOSS, X, T, callback=press)
    assert found.iterations == 3
    assert "Ctrl-C" in found.message
    assert not found.converged
    assert float(LOSS(model(X), T)) == pytest.approx(min(found.history["loss"]), rel=1e-12)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_model_is_as_before_if_anything_is_raised():
    model = network()
    before = model.parameters.value.copy()

    def fail(iteration, figures):
        if iteration == 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fitting.minimize(model, LOSS, X, T, callback=fail)
    np.testing.assert_array_equal(model.parameters.value, before)


def test_too_few_iterations_are_reported_with_what_to_do():
    model = network()
    found = fitting.minimize(model, LOSS, X, T, iterations=2)
    assert not found.converged
    assert found.iterations == 2
    assert "not converged after 2 iterations" in found.message
    assert "iterations=" in str(found)
    assert found.value == float(LOSS(model.forward(X), T))


@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS", "CG", "trust-ncg"])
def test_a_step_that_overflows_is_taken_back(method):
    @define
    class Barrier(Loss):
        """−ln of a number that must be positive, plus the number: the minimum is at 1."""

        takes_targets = False

        def costs(self, y):
            return np.sum(y - np.log(y), axis=1)

        def slopes(self, y):
            return 1 - 1 / y

    model = Sequential([Dense(1, use_bias=False)])
    model.build((1,), rng=0)
    model.parameters.value = [1e-3]
    found = fitting.minimize(model, Barrier(), np.ones((1, 1)), method=method)
    assert model.parameters.value[0] == pytest.approx(1, abs=1e-4)
    assert found.value == pytest.approx(1, abs=1e-6)


def test_what_is_not_finite_at_the_start_is_named_and_changes_nothing():
    model = network()
    model.layers[0].weights.value[1, 2] = np.nan
    before = model.parameters.value.copy()
    with pytest.raises(NonFiniteError, match="weights are not finite") as caught:
        fitting.minimize(model, LOSS, X, T)
    assert caught.value.place == "sequential/dense_1"
    np.testing.assert_array_equal(model.parameters.value, before)
    steep = Sequential([Dense(2), Activation(np.exp, np.exp)])
    steep.build((3,), rng=0)
    steep.parameters.value = np.full(8, 1e3)
    with pytest.raises(NonFiniteError, match="first layer whose output is not finite"):
        fitting.minimize(steep, LOSS, X, T)


REFUSED = {
    "an unknown method": ({"method": "L-BFGS"}, ConfigurationError, "did you mean 'L-BFGS-B'"),
    "no iterations": ({"iterations": 0}, ConfigurationError, "integer of at least 1"),
    "a negative tolerance": ({"tolerance": -1}, ConfigurationError, "0 or more"),
    "a number as callback": ({"callback": 3}, ConfigurationError, "must be a function"),
    "progress as text": ({"progress": "yes"}, ConfigurationError, "progress"),
    "too few targets": ({"t": T[:9]}, DataError, "same length"),
    "other targets": ({"t": T[:, :1]}, ShapeError, "shape"),
    "no targets": ({"t": None}, DataError, "t is missing"),
    "NaN in x": ({"x": np.where(X > 2, np.nan, X)}, DataError, "not finite"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_arguments_are_refused_and_nothing_changes(case):
    options, kind, words = REFUSED[case]
    model = network()
    before = model.parameters.value.copy()
    with pytest.raises(kind) as caught:
        fitting.minimize(model, LOSS, **{"x": X, "t": T, **options})
    assert words in str(caught.value)
    np.testing.assert_array_equal(model.parameters.value, before)


@pytest.mark.parametrize("case", REFUSED)
def test_bad_arguments_build_nothing(case):
    options, kind, words = REFUSED[case]
    model = Sequential([Dense(4), Activation("tanh"), Dense(2)])
    with pytest.raises(kind) as caught:
        fitting.minimize(model, LOSS, **{"x": X, "t": T, **options})
    assert words in str(caught.value)
    assert not any(layer.is_built for _, layer in model.walk())


def test_a_model_that_is_not_built_is_built_unless_something_is_raised():
    def fail(iteration, figures):
        raise ZeroDivisionError

    model = Sequential([Dense(2)])
    with pytest.raises(ZeroDivisionError):
        fitting.minimize(model, LOSS, X, T, callback=fail)
    assert not any(layer.is_built for _, layer in model.walk())
    assert fitting.minimize(model, LOSS, X, T).converged
    np.testing.assert_allclose(model.parameters.value.reshape(4, 2), solution(), atol=1e-6)
    single = Sequential([Dense(2)])
    fitting.minimize(single, LOSS, X.astype(np.float32), T)
    assert single.dtype == np.float32
    with pytest.raises(ShapeError, match="only one loss"):
        fitting.minimize(Graph(row := Input((3,)), [Dense(2)(row), Dense(2)(row)]), LOSS, X, T)


def test_what_is_no_layer_and_a_missing_scipy_are_named(monkeypatch):
    with pytest.raises(DefinitionError, match="minimize needs a layer"):
        fitting.minimize(np.sin, LOSS, X, T)
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(MissingExtraError) as caught:
        fitting.minimize(line(), LOSS, X, T)
    assert caught.value.hint == "pip install 'chainrule[scipy]'"


def test_the_progress_line_counts_iterations():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    fitting.minimize(network(), LOSS, X, T, iterations=30, progress=console)
    text = console.file.getvalue()
    assert "iteration" in text
    assert "/30" in text
    assert "epoch" not in text


def test_the_model_ends_at_the_best_point_wherever_the_callback_leaves_it():
    model = network()

    def move(iteration, figures):
        model.parameters.value = np.zeros(26)

    found = fitting.minimize(model, LOSS, X, T, iterations=5, callback=move)
    assert float(LOSS(model(X), T)) == pytest.approx(found.value, rel=1e-12)
    assert found.value == min(found.history["loss"])


def test_a_notebook_shows_where_it_ended():
    x = np.linspace(-1, 1, 9)[:, np.newaxis]
    found = fitting.minimize(Dense(1), losses.HalfSquaredError(), x, x)
    page = ElementTree.fromstring(found._repr_html_())
    rows = dict(["".join(cell.itertext()) for cell in row] for row in page.iter("tr"))
    assert rows["converged"] == "yes" and rows["iterations"] == str(found.iterations)
    assert rows["C"] == f"{found.value:.6g}" and found.message in "".join(page.itertext())
