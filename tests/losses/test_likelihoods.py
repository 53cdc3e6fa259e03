"""The Gaussian likelihood as a loss, against SciPy, mpmath and numbers worked out by hand."""

from __future__ import annotations

import hypothesis.strategies as st
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats

from chainrule import (
    Activation,
    Dense,
    Dual,
    Sequential,
    Trainer,
    check_loss,
    derivatives,
    losses,
    optimizers,
    program,
)
from chainrule.core.errors import ConfigurationError, ShapeError
from chainrule.losses import GaussianNegativeLogLikelihood

FLOORS = [0.0, 0.3]
every_floor = pytest.mark.parametrize("floor", FLOORS)


def drawn(shape, seed=0, dtype="float64"):
    """Outputs for targets of this shape, and targets."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(*shape[:-1], 2 * shape[-1])).astype(dtype)
    return y, rng.normal(size=shape).astype(dtype)


def test_two_rows_by_hand():
    """μ = 1, σ² = 4, t = 3 and μ = 0, σ² = 1, t = −2."""
    y = np.array([[1.0, np.log(4.0)], [0.0, 0.0]])
    t = np.array([[3.0], [-2.0]])
    loss = GaussianNegativeLogLikelihood()
    first = 0.5 * (np.log(4) + 1 + np.log(2 * np.pi))
    second = 0.5 * (0 + 4 + np.log(2 * np.pi))
    np.testing.assert_allclose(loss.costs(y, t), [first, second], rtol=1e-15)
    assert loss(y, t) == pytest.approx((first + second) / 2, rel=1e-15)
    # (μ − t)/σ² and ½ (1 − (t − μ)²/σ²), each divided by 2 rows
    np.testing.assert_allclose(loss.delta(y, t), [[-0.25, 0.0], [1.0, -0.75]], atol=1e-15)


@every_floor
@pytest.mark.parametrize("shape", [(7, 1), (5, 3), (4, 2, 3)])
def test_the_cost_is_minus_the_logarithm_of_the_density(floor, shape):
    y, t = drawn(shape)
    loss = GaussianNegativeLogLikelihood(floor=floor)
    mean, log_variance = np.split(y, 2, axis=-1)
    deviation = np.sqrt(np.exp(log_variance) + floor**2)
    expected = -stats.norm.logpdf(t, mean, deviation)
    np.testing.assert_allclose(loss.costs(y, t), expected.reshape(len(y), -1).sum(1), rtol=1e-12)
    assert loss(y, t) == pytest.approx(expected.sum() / len(y), rel=1e-12)
    np.testing.assert_array_equal(loss.mean(y), mean)
    np.testing.assert_allclose(loss.deviation(y), deviation, rtol=1e-13)


@every_floor
@given(
    shape=st.lists(st.integers(1, 4), max_size=2),
    n=st.integers(1, 3),
    rng=st.integers(0, 2**32 - 1),
)
@settings(max_examples=10)
def test_it_keeps_every_law(floor, shape, n, rng):
    loss = GaussianNegativeLogLikelihood(floor=floor)
    assert check_loss(loss, (*shape, 2 * n), rng=rng).ok


@every_floor
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("mean", "log_variance", "t"),
    [(0.0, -60.0, 0.0), (1e-9, -60.0, 0.0), (1e3, 60.0, -1e3), (3.0, 80.0, 5.0), (1.0, -80.0, 1.0)],
)
def test_it_is_exact_far_from_one(floor, dtype, mean, log_variance, t):
    mean, log_variance, t = (float(np.dtype(dtype).type(v)) for v in (mean, log_variance, t))
    with mpmath.workdps(60):
        e = mpmath.exp(log_variance)
        variance = e + mpmath.mpf(floor) ** 2
        square = (mpmath.mpf(t) - mean) ** 2 / variance
        cost = (mpmath.log(variance) + square + mpmath.log(2 * mpmath.pi)) / 2
        slopes = (mean - mpmath.mpf(t)) / variance, e / variance * (1 - square) / 2
    loss = GaussianNegativeLogLikelihood(floor=floor)
    y, target = np.array([[mean, log_variance]], dtype), np.array([[t]], dtype)
    found, delta = loss.value_and_delta(y, target)
    limit = 200 * float(np.finfo(dtype).eps)  # an ulp of ℓ = 80 is 80 ulp of exp ℓ
    assert found == pytest.approx(float(cost), rel=limit)
    np.testing.assert_allclose(delta[0], np.array(slopes, float), rtol=limit, atol=1e-300)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_most_extreme_outputs_give_no_nan_and_no_warning(dtype):
    largest = float(np.finfo(dtype).max)
    logs = [-largest, -1e4, -100.0, 0.0, 100.0, 1e4, largest]
    y = np.array([[mean, log] for mean in (0.0, 1.0, -1e6) for log in logs], dtype)
    target = np.zeros((len(y), 1), dtype)
    for floor in FLOORS:
        loss = GaussianNegativeLogLikelihood(floor=floor)
        cost, delta = loss.value_and_delta(y, target)
        assert np.isfinite(cost) and not np.any(np.isnan(loss.costs(y, target)))
        assert not np.any(np.isnan(delta[y[:, 0] == 0]))
        assert np.all(np.isfinite(GaussianNegativeLogLikelihood(floor=0.3).delta(y, target)))


@every_floor
def test_the_hessian_product_is_that_of_differences(floor):
    rng = np.random.default_rng(0)
    model = Sequential([Dense(4), Activation("tanh"), Dense(4)])
    model.build((3,), rng=0)
    x, t, v = rng.normal(size=(6, 3)), rng.normal(size=(6, 2)), rng.normal(size=36)
    loss = GaussianNegativeLogLikelihood(floor=floor)
    theta, h = model.parameters.value.copy(), 1e-5
    moved = []
    for sign in (1, -1):
        model.parameters.value[...] = theta + sign * h * v
        moved.append(derivatives.value_and_gradient(model, loss, x, t)[1])
    model.parameters.value[...] = theta
    product = derivatives.hvp(model, loss, x, t, v)
    np.testing.assert_allclose(product, (moved[0] - moved[1]) / (2 * h), rtol=1e-6, atol=1e-8)


def test_tangents_flow_through():
    y, t = drawn((4, 2))
    loss = GaussianNegativeLogLikelihood()
    v = np.random.default_rng(1).normal(size=y.shape)
    assert loss(Dual(y, v), t).tangent == pytest.approx(np.sum(loss.delta(y, t) * v), rel=1e-13)


def test_weights_belong_to_samples_or_to_single_targets():
    y, t = drawn((3, 2))
    loss = GaussianNegativeLogLikelihood()
    weights = np.array([[1.0, 2.0], [0.0, 1.0], [0.5, 0.0]])
    mean, log_variance = np.split(y, 2, axis=-1)
    each = -stats.norm.logpdf(t, mean, np.exp(log_variance / 2))
    assert loss(y, t, weights) == pytest.approx(np.sum(weights * each) / 3, rel=1e-13)
    plain = loss.delta(y, t)
    np.testing.assert_allclose(loss.delta(y, t, weights), plain * np.tile(weights, 2), rtol=1e-13)
    y[1, [0, 2]] = np.nan  # where the weight is zero, anything may be
    t[1, 0] = np.nan
    assert loss(y, t, weights) == pytest.approx(np.sum(weights * np.nan_to_num(each)) / 3)
    assert np.all(np.isfinite(loss.delta(y, t, weights)))
    np.testing.assert_allclose(loss(y, t, weights[:, 1]), np.nan)


def test_a_network_learns_where_the_data_are_noisy():
    """t = x + (0.6 + 0.4 x) noise: the deviation is 0.2 at −1 and 1.0 at 1."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (2000, 1))
    t = x + (0.6 + 0.4 * x) * rng.normal(size=x.shape)
    loss = GaussianNegativeLogLikelihood()
    model = Sequential([Dense(8), Activation("tanh"), Dense(2)])
    trainer = Trainer(model, loss, optimizers.Adam(0.02), rng=0)
    trainer.fit(x, t, epochs=30, batch_size=100, progress=False)
    y = model(np.array([[-0.9], [0.0], [0.9]]))
    np.testing.assert_allclose(loss.mean(y)[:, 0], [-0.9, 0, 0.9], atol=0.15)
    np.testing.assert_allclose(loss.deviation(y)[:, 0], [0.24, 0.6, 0.96], rtol=0.2)


@every_floor
@pytest.mark.parametrize("row", [(2,), (3, 4)])
def test_the_program_computes_the_same(floor, row):
    model = Sequential([Dense(row[-1])])
    model.build(row, rng=0)
    loss = GaussianNegativeLogLikelihood(floor=floor)
    names = {"__name__": "program"}
    exec(compile(program(model, loss=loss), "program.py", "exec"), names)
    y, t = drawn((5, *row[:-1], row[-1] // 2))
    cost, delta = names["cost_and_delta"](y, t)
    np.testing.assert_allclose(cost, loss(y, t), rtol=1e-13)
    np.testing.assert_allclose(delta, loss.delta(y, t), rtol=1e-12, atol=1e-15)


def test_what_does_not_fit_is_refused():
    loss = GaussianNegativeLogLikelihood()
    with pytest.raises(ShapeError, match=r"even(.|\n)*Dense\(2\)"):
        loss(np.zeros((4, 3)), np.zeros((4, 1)))
    with pytest.raises(ShapeError, match="even"):
        loss(np.zeros(4), np.zeros(4))
    with pytest.raises(ShapeError, match=r"\(4, 1\)(.|\n)*np.newaxis"):
        loss(np.zeros((4, 2)), np.zeros(4))
    with pytest.raises(ShapeError, match=r"\(4, 1\)"):
        loss(np.zeros((4, 2)), np.zeros((4, 2)))
    for floor in (-1.0, np.inf, np.nan, "small", None):
        with pytest.raises(ConfigurationError, match="0 ≤ floor"):
            GaussianNegativeLogLikelihood(floor=floor)
    model = Sequential([Dense(3)])
    trainer = Trainer(model, losses.GaussianNegativeLogLikelihood(), optimizers.Adam())
    with pytest.raises(ShapeError, match="even"):
        trainer.fit(np.zeros((4, 1)), np.zeros((4, 1)), progress=False)
