"""The cost as a function of the parameters: exact, fast, and without a trace in the model."""

from __future__ import annotations

import statistics
from time import process_time

import numpy as np
import pytest
from attrs import define
from scipy.optimize import check_grad, minimize

from chainrule import (
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Graph,
    Input,
    Sequential,
    derivatives,
    losses,
)
from chainrule.core.errors import ConfigurationError, ShapeError
from chainrule.losses import Loss

RNG = np.random.default_rng(2)
X, T, WEIGHTS = RNG.normal(size=(9, 4)), RNG.normal(size=(9, 2)), RNG.uniform(size=9)
LOSS = losses.HalfSquaredError()


def network(*layers, dtype="float64"):
    model = Sequential([Dense(5), Activation("tanh"), *layers, Dense(2)])
    model.build((4,), rng=0, dtype=dtype)
    return model


def at(model, theta):
    """A copy of the model with these parameters."""
    copy = model.unbuilt()
    copy.build((4,), rng=0, dtype=model.dtype)
    copy.parameters.value = theta
    return copy


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_it_is_the_cost_of_the_model_with_these_parameters(weights):
    model = network()
    cost = derivatives.function(model, LOSS, X, T, sample_weights=weights)
    for _ in range(3):
        theta, v = RNG.normal(size=(2, model.parameters.size))
        moved = at(model, theta)
        value, gradient = derivatives.value_and_gradient(moved, LOSS, X, T, weights)
        assert cost.value(theta) == cost(theta) == value
        np.testing.assert_array_equal(cost.gradient(theta), gradient)
        product = derivatives.hvp(moved, LOSS, X, T, v, weights)
        np.testing.assert_allclose(cost.hvp(theta, v), product, rtol=1e-12, atol=1e-14)
        again, same = cost.value_and_gradient(theta)
        assert again == value
        np.testing.assert_array_equal(same, gradient)


def test_scipy_finds_the_gradient_and_the_products_right():
    model = network()
    cost = derivatives.function(model, LOSS, X, T)
    theta = RNG.normal(size=model.parameters.size)
    assert check_grad(cost.value, cost.gradient, theta) < 1e-6
    v, step = RNG.normal(size=theta.size), 1e-5
    difference = (cost.gradient(theta + step * v) - cost.gradient(theta - step * v)) / (2 * step)
    np.testing.assert_allclose(cost.hvp(theta, v), difference, rtol=1e-6, atol=1e-7)


def test_what_it_returned_is_not_changed_by_later_calls():
    cost = derivatives.function(network(), LOSS, X, T)
    theta, v = RNG.normal(size=(2, 37))
    first = cost.gradient(theta), cost.hvp(theta, v)
    copies = [array.copy() for array in first]
    cost.gradient(2 * theta)
    cost.hvp(2 * theta, v)
    for array, copy in zip(first, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@define
class Fails(Loss):
    """A loss that fails when the output becomes large."""

    def costs(self, y, target):
        if np.abs(y).max() > 5:
            raise ZeroDivisionError
        return np.sum((y - target) ** 2, axis=1)

    def slopes(self, y, target):
        self.costs(y, target)
        return 2 * (y - target)


def test_the_model_stays_as_it_was_whatever_happens():
    model = network(Dropout(0.5), BatchNorm())
    y = model.forward(X)
    model.backward(LOSS.delta(y, T))
    vectors = model.parameters.value, model.parameters.grad, model.buffers.value
    before = [vector.copy() for vector in vectors]
    states = [str(g.bit_generator.state) for g in model.generators.values()]
    cost = derivatives.function(model, Fails(), X, T)
    theta = model.parameters.value.copy()
    value = cost.value(theta)
    calls = [cost.value, cost.value_and_gradient, lambda theta: cost.hvp(theta, theta)]
    for call in calls:
        with pytest.raises(ZeroDivisionError):
            call(100 * theta)
        with pytest.raises(ShapeError, match="does not fit the parameters"):
            call(theta[1:])
    assert cost.value(theta) == value
    minimize(cost.value_and_gradient, theta, jac=True, options={"maxiter": 3})
    for vector, copy in zip(vectors, before, strict=True):
        np.testing.assert_array_equal(vector, copy)
    assert [str(g.bit_generator.state) for g in model.generators.values()] == states


def test_random_numbers_and_running_statistics_are_the_same_in_each_call():
    cost = derivatives.function(network(Dropout(0.5), BatchNorm()), LOSS, X, T)
    theta, v = RNG.normal(size=(2, cost.gradient(np.ones(47)).size))
    values = {cost.value(theta) for _ in range(3)} | {cost.value_and_gradient(theta)[0]}
    assert len(values) == 1
    step = 1e-5
    difference = (cost.gradient(theta + step * v) - cost.gradient(theta - step * v)) / (2 * step)
    np.testing.assert_allclose(cost.hvp(theta, v), difference, rtol=1e-5, atol=1e-6)


def test_vectors_are_float64_for_a_float32_model():
    cost = derivatives.function(network(dtype="float32"), LOSS, X, T)
    theta = np.ones(37)
    value, gradient = cost.value_and_gradient(theta)
    assert isinstance(value, float)
    assert gradient.dtype == cost.hvp(theta, theta).dtype == np.float64
    np.testing.assert_allclose(
        gradient, derivatives.function(network(), LOSS, X, T).gradient(theta), rtol=1e-4, atol=1e-5
    )


def test_several_outputs_shared_layers_and_no_targets():
    x, shared = Input((4,)), Dense(4)
    model = Graph(x, (Dense(2)(shared(shared(x))), Dense(1)(x)))
    model.build((4,), rng=0)
    loss = losses.PerOutput([LOSS, losses.MeanSquare()])
    cost = derivatives.function(model, loss, X, (T, None))
    theta = model.parameters.value.copy()
    value, gradient = derivatives.value_and_gradient(model, loss, X, (T, None))
    assert cost.value(theta) == value
    np.testing.assert_array_equal(cost.gradient(theta), gradient)
    alone = derivatives.function(network(), losses.MeanSquare(), X)
    assert alone.value(np.zeros(37)) == 0


def test_a_minimizer_with_hessian_products_converges_quadratically():
    cost = derivatives.function(network(), LOSS, X, T)
    theta = 0.5 * RNG.normal(size=37)
    found = minimize(
        cost.value_and_gradient, theta, jac=True, hessp=cost.hvp, method="trust-ncg",
        options={"gtol": 1e-9, "maxiter": 500},
    )  # fmt: skip
    assert np.abs(cost.gradient(found.x)).max() < 1e-8


def test_what_is_no_loss_is_refused():
    with pytest.raises(ConfigurationError, match="loss is not a loss"):
        derivatives.function(network(), "mse", X, T)


def test_a_call_costs_no_second_copy_of_the_model():
    model = network()
    cost = derivatives.function(model, LOSS, X, T)
    theta = model.parameters.value.copy()

    def median(function):
        times = []
        for _ in range(60):
            start = process_time()
            function()
            times.append(process_time() - start)
        return statistics.median(times)

    ratios = [
        median(lambda: derivatives.value_and_gradient(model, LOSS, X, T))
        / median(lambda: cost.value_and_gradient(theta))
        for _ in range(6)
    ]
    assert max(ratios) > 2
