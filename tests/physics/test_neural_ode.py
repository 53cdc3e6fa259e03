"""Neural ODEs: trajectories compared with exact ones and SciPy, gradients with PyTorch."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.integrate import solve_ivp

from chainrule import Activation, BatchNorm, Dense, Layer, Sequential, derivatives, load, losses
from chainrule.core.errors import (
    ConfigurationError,
    ConvergenceError,
    DefinitionError,
    NonFiniteError,
    ShapeError,
)
from chainrule.physics import Hamiltonian, Lagrangian, NeuralODE

RNG = np.random.default_rng(0)
TIMES = (0.0, 0.3, 1.0, 1.2)


class Pendulum(Layer):
    """(q, p) ↦ (p, −sin q)."""

    def forward(self, y):
        self.y = y
        return np.stack([y[:, 1], -np.sin(y[:, 0])], axis=1)

    def backward(self, delta):
        return np.stack([-np.cos(self.y[:, 0]) * delta[:, 1], delta[:, 0]], axis=1)


class DoublePendulum(Layer):
    """L for two equal masses and rods, with rows (φ_1, φ_2, ω_1, ω_2) and g = 1."""

    def forward(self, x):
        self.x = x
        a, b, u, v = (x[:, n : n + 1] for n in range(4))
        return u**2 + v**2 / 2 + u * v * np.cos(a - b) + 2 * np.cos(a) + np.cos(b)

    def backward(self, delta):
        a, b, u, v = (self.x[:, n : n + 1] for n in range(4))
        turn = u * v * np.sin(a - b)
        parts = [
            -turn - 2 * np.sin(a),
            turn - np.sin(b),
            2 * u + v * np.cos(a - b),
            v + u * np.cos(a - b),
        ]
        return np.concatenate([delta * part for part in parts], axis=1)


class Square(Layer):
    """ẏ = y², which diverges at t = 1/y(0)."""

    def forward(self, y):
        self.y = y
        return y**2

    def backward(self, delta):
        return 2 * self.y * delta


def network(units=2, rng=0):
    field = Sequential([Dense(6), Activation("tanh"), Dense(units)])
    field.build((units,), rng=rng)
    return field


def built(*arguments, **options):
    layer = NeuralODE(*arguments, **options)
    layer.build((2,))
    return layer


# ---------------------------------------------------------------- trajectories


def test_one_step_of_rk4_is_worked_out_by_hand():
    layer = NeuralODE(Dense(1, use_bias=False, initializer=1.0), [0.0, 0.5])
    # k = 1, 1.25, 1.3125, 1.65625: the sum 1 + h + h²/2 + h³/6 + h⁴/24
    assert np.allclose(layer([[1.0]])[0, :, 0], [1.0, 1.6484375], rtol=1e-15)


def test_rk4_has_order_4_and_dopri5_the_tolerance_asked_for():
    exact = np.array([np.cos(1.2), -np.sin(1.2)])
    turn = Dense(2, use_bias=False)
    turn.build((2,))
    turn.weights.value = [[0.0, -1.0], [1.0, 0.0]]
    x = np.array([[1.0, 0.0]])
    errors = [np.abs(built(turn, [0, 1.2], substeps=n)(x)[0, -1] - exact).max() for n in (4, 8, 16)]
    assert all(14 < a / b < 18 for a, b in itertools.pairwise(errors))
    for rtol in (1e-4, 1e-7, 1e-10):
        error = np.abs(built(turn, [0, 1.2], "dopri5", rtol=rtol, atol=rtol)(x)[0, -1] - exact)
        assert 1e-3 * rtol < error.max() < 10 * rtol


@pytest.mark.parametrize("solver", ["rk4", "dopri5"])
def test_the_trajectory_of_a_pendulum_is_that_of_scipy(solver):
    times = np.linspace(0, 6, 13)
    x = RNG.uniform(-2, 2, size=(5, 2))
    y = NeuralODE(Pendulum(), times, solver, substeps=100, rtol=1e-10, atol=1e-11)(x)
    assert y.shape == (5, 13, 2) and np.array_equal(y[:, 0], x)
    for start, path in zip(x, y, strict=True):
        exact = solve_ivp(
            lambda t, y: [y[1], -np.sin(y[0])],
            (0, 6),
            start,
            "DOP853",
            times,
            rtol=1e-12,
            atol=1e-13,
        )
        assert np.abs(path - exact.y.T).max() < 1e-8


def test_a_double_pendulum_is_that_of_scipy_from_its_lagrangian_alone():
    def field(t, y):  # the equations of motion, as a textbook has them
        a, b, u, v = y
        mass = [[2, np.cos(a - b)], [np.cos(a - b), 1]]
        force = [-(v**2) * np.sin(a - b) - 2 * np.sin(a), u**2 * np.sin(a - b) - np.sin(b)]
        return [u, v, *np.linalg.solve(mass, force)]

    times, x = np.linspace(0, 4, 9), np.array([[1.2, -0.4, 0.3, 0.5]])
    layer = NeuralODE(Lagrangian(DoublePendulum()), times, "dopri5", rtol=1e-9, atol=1e-10)
    exact = solve_ivp(field, (0, 4), x[0], "DOP853", times, rtol=1e-12, atol=1e-13)
    assert np.abs(layer(x)[0] - exact.y.T).max() < 1e-7


def test_a_hamiltonian_keeps_its_energy():
    energy = Sequential([Dense(6), Activation("tanh"), Dense(1)])
    energy.build((2,), rng=3)
    x = RNG.normal(size=(4, 2))
    y = NeuralODE(Hamiltonian(energy), np.linspace(0, 10, 11), substeps=10)(x)
    h = energy(y.reshape(-1, 2)).reshape(4, 11)
    assert np.abs(h - h[:, :1]).max() < 1e-6


@given(
    times=st.lists(st.floats(0.05, 0.6), min_size=1, max_size=5),
    rows=st.integers(1, 4),
    solver=st.sampled_from(["rk4", "dopri5"]),
)
@settings(max_examples=15, deadline=None)
def test_a_row_and_the_times_between_make_no_difference(times, rows, solver):
    """What a row does depends neither on the other rows nor, within the tolerance, on stops."""
    field, x = network(), RNG.normal(size=(rows, 2))
    ends = np.cumsum([0.0, *times])
    layer = built(field, ends, solver, rtol=1e-9, atol=1e-9, substeps=8)
    whole = layer(x)
    alone = np.concatenate([layer(row[None]) for row in x])
    assert np.allclose(whole, alone, rtol=1e-12, atol=1e-13)
    direct = built(field, [0.0, ends[-1]], "dopri5", rtol=1e-10, atol=1e-10)(x)
    assert np.allclose(whole[:, -1], direct[:, -1], atol=1e-5)


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("solver", ["rk4", "dopri5"])
def test_the_adjoint_and_the_discrete_gradient_agree_within_the_tolerance(solver):
    field, x, delta = network(), RNG.normal(size=(6, 2)), RNG.normal(size=(6, 4, 2))
    options = {"substeps": 20, "rtol": 1e-9, "atol": 1e-10}
    one, two = (
        derivatives.vjp(built(field, TIMES, solver, gradient, **options), x, delta)
        for gradient in ("discrete", "adjoint")
    )
    for a, b in zip(one, two, strict=True):
        assert np.allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
def test_the_gradient_of_decay_is_that_of_the_exponential_function(gradient):
    """y(t) = x e^(a t):  ∂y/∂x = e^(a t),  ∂y/∂a = x t e^(a t)."""
    layer = NeuralODE(
        Dense(1, use_bias=False, initializer=-0.7), [0, 1, 2.5], "dopri5", gradient, rtol=1e-10
    )
    layer.build((1,))
    x, delta = np.array([[2.0], [-1.0]]), np.array([[[0.0], [1.0], [3.0]], [[5.0], [0.0], [1.0]]])
    y = layer.forward(x)
    dx = layer.backward(delta)
    t = np.array([0, 1, 2.5])
    grow = np.exp(-0.7 * t)
    assert np.allclose(y[..., 0], x * grow, rtol=1e-8)
    assert np.allclose(dx[:, 0], delta[..., 0] @ grow, rtol=1e-8)
    assert np.allclose(layer.parameters.grad, np.sum(delta[..., 0] * x * t * grow), rtol=1e-8)


@pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
def test_hessian_products_are_differences_of_gradients(gradient):
    layer = built(network(), (0, 0.5, 0.8), gradient=gradient, substeps=3)
    x, t, loss = RNG.normal(size=(3, 2)), RNG.normal(size=(3, 3, 2)), losses.HalfSquaredError()
    theta = layer.parameters.value.copy()
    v = RNG.normal(size=theta.size)

    def gradient_at(value):
        layer.parameters.value = value
        return derivatives.value_and_gradient(layer, loss, x, t)[1]

    h = 1e-5
    by_differences = (gradient_at(theta + h * v) - gradient_at(theta - h * v)) / (2 * h)
    layer.parameters.value = theta
    assert np.allclose(derivatives.hvp(layer, loss, x, t, v), by_differences, rtol=1e-6, atol=1e-8)


def test_the_field_of_a_neural_ode_may_be_a_hamiltonian_network():
    energy = Sequential([Dense(5), Activation("tanh"), Dense(1)])
    energy.build((2,), rng=0)
    layer = built(Hamiltonian(energy), (0, 0.4, 1.0), substeps=2)
    x, delta = RNG.normal(size=(3, 2)), RNG.normal(size=(3, 3, 2))
    layer.forward(x)
    dx = layer.backward(delta)
    for n in range(2):
        e = 1e-6 * np.eye(2)[n]
        by_differences = np.sum(delta * (layer(x + e) - layer(x - e)), axis=(1, 2)) / 2e-6
        assert np.allclose(dx[:, n], by_differences, rtol=1e-7, atol=1e-8)


@pytest.mark.peers
def test_the_discrete_gradient_of_rk4_is_that_of_a_loop_in_pytorch(torch):
    layer = built(network(), TIMES, substeps=3)
    x, delta = RNG.normal(size=(5, 2)), RNG.normal(size=(5, 4, 2))
    y = layer.forward(x)
    dx = layer.backward(delta)
    theta = [torch.tensor(p.value, requires_grad=True) for p in layer.parameters]

    def f(y):
        return torch.tanh(y @ theta[0] + theta[1]) @ theta[2] + theta[3]

    start = state = torch.tensor(x, requires_grad=True)
    path = [state]
    for a, b in itertools.pairwise(TIMES):
        h = (b - a) / 3
        for _ in range(3):
            k1 = f(state)
            k2 = f(state + h / 2 * k1)
            k3 = f(state + h / 2 * k2)
            k4 = f(state + h * k3)
            state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        path.append(state)
    outputs = torch.stack(path, dim=1)
    (outputs * torch.tensor(delta)).sum().backward()
    gradient = np.concatenate([p.grad.numpy().ravel() for p in theta])
    assert np.allclose(y, outputs.detach().numpy(), rtol=1e-12)
    assert np.allclose(dx, start.grad.numpy(), rtol=1e-10)
    assert np.allclose(layer.parameters.grad, gradient, rtol=1e-10)


# ---------------------------------------------------------------- errors and files


def test_a_saved_neural_ode_computes_the_same(tmp_path):
    layer = built(network(), TIMES, "dopri5", "adjoint", rtol=1e-5)
    layer.save(tmp_path / "flow")
    back = load(tmp_path / "flow")
    x = RNG.normal(size=(3, 2))
    assert back == layer and np.array_equal(back(x), layer(x))
    assert back.times == TIMES


@pytest.mark.parametrize(
    ("times", "problem"),
    [
        ([0, 1, 1], r"(?s)do not increase.*times\[1\] = 1, times\[2\] = 1"),
        ([0, -1], "do not increase"),
        ([0], "two or more finite numbers"),
        ([0, np.inf], "two or more finite numbers"),
        ("ab", "two or more finite numbers"),
        (3.0, "two or more finite numbers"),
    ],
)
def test_wrong_times_are_named(times, problem):
    with pytest.raises(ConfigurationError, match=problem):
        NeuralODE(Dense(2), times)


def test_wrong_arguments_and_fields_are_named():
    with pytest.raises(DefinitionError, match=r"NeuralODE\(layer\)"):
        NeuralODE(np.tanh, [0, 1])
    with pytest.raises(ConfigurationError, match=r"(?s)solver.*'rk4' or 'dopri5'.*euler"):
        NeuralODE(Dense(2), [0, 1], "euler")
    with pytest.raises(ConfigurationError, match=r"(?s)substeps.*received  0"):
        NeuralODE(Dense(2), [0, 1], substeps=0)
    with pytest.raises(ConfigurationError, match=r"(?s)rtol.*between 0 and 1"):
        NeuralODE(Dense(2), [0, 1], rtol=0)
    with pytest.raises(ShapeError, match=r"(?s)a velocity for each coordinate.*2\).*3\)"):
        NeuralODE(Dense(3), [0, 1]).build((2,))
    with pytest.raises(ConfigurationError, match="must be a function of its input"):
        NeuralODE(BatchNorm(), [0, 1]).build((2,))


def test_a_solution_that_diverges_is_named_with_its_row_and_time():
    x = np.array([[0.1], [2.0]])  # the second diverges at t = 0.5
    with pytest.raises(ConvergenceError, match=r"(?s)row 1.*at t = 0\.5"):
        NeuralODE(Square(), [0, 0.4, 1], "dopri5")(x)
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match=r"(?s)row 1.*at t = 5"):
        NeuralODE(Square(), [0, 0.4, 5, 6], substeps=20)(x)
    with pytest.raises(ConvergenceError, match="more than 5 steps"):
        NeuralODE(Square(), [0, 0.4, 0.499], "dopri5", most_steps=5)(x)
    with pytest.raises(NonFiniteError, match=r"(?s)row 0.*at t = 0"):
        NeuralODE(Square(), [0, 1], "dopri5")([[np.nan]])


def test_a_row_that_has_arrived_waits_for_the_others():
    """A fast row needs many steps, a slow one few; both are exact, with their gradients."""
    layer = NeuralODE(Square(), [0, 0.2, 0.4], "dopri5", rtol=1e-9, atol=1e-12)
    x, delta = np.array([[2.4], [1e-3]]), np.array([[[0.0], [0.0], [1.0]]] * 2)
    layer.build((1,))
    y = layer.forward(x)
    steps = np.sum(layer.plan.steps > 0, axis=0)
    assert steps[0] > 2 * steps[1]
    t = np.array([0, 0.2, 0.4])
    assert np.allclose(y[..., 0], x / (1 - x * t), rtol=1e-7)
    assert np.allclose(layer.backward(delta), 1 / (1 - 0.4 * x) ** 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "meant"), [("RK45", "dopri5"), ("DOP853", "dopri5"), ("RK4", "rk4"), ("euler", "rk4")]
)
def test_the_names_of_other_solvers_have_the_nearest_one_as_a_hint(name, meant):
    with pytest.raises(ConfigurationError) as caught:
        NeuralODE(Dense(1), [0.0, 1.0], solver=name)
    assert caught.value.hint == f"solver={meant!r}"
