"""Hamiltonian and Lagrangian: the motion, and its derivatives, compared with others."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from chainrule import (
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Layer,
    Sequential,
    check_layer,
    derivatives,
    load,
    losses,
)
from chainrule.core.errors import (
    ConfigurationError,
    DefinitionError,
    NoTangentRuleError,
    ShapeError,
    SingularMatrixError,
)
from chainrule.physics import Hamiltonian, Lagrangian

SQUARE = Activation(lambda x: x**2, lambda x: 2 * x)
RNG = np.random.default_rng(0)


def quadratic(*factors):
    """Σ_i a_i x_i², as a network."""
    network = Sequential([SQUARE, Dense(1, use_bias=False)])
    network.build((len(factors),))
    network.parameters.value = factors
    return network


def tanh_network(width=5, inputs=4, rng=0, dtype="float64"):
    network = Sequential(
        [Dense(width), Activation("tanh"), Dense(width), Activation("tanh"), Dense(1)]
    )
    network.build((inputs,), rng=rng, dtype=dtype)
    return network


# ---------------------------------------------------------------- by hand


def test_an_oscillator_moves_in_a_circle():
    layer = Hamiltonian(quadratic(0.5, 0.5))
    layer.build((2,))
    x, delta = np.array([[3.0, 4.0], [0.5, -2.0]]), np.array([[1.0, 10.0], [2.0, 3.0]])
    assert np.array_equal(layer.forward(x), [[4.0, -3.0], [-2.0, -0.5]])
    assert np.array_equal(layer.backward(delta), [[-10.0, 1.0], [-3.0, 2.0]])
    # q̇ = 2 a_p p and ṗ = −2 a_q q
    of_q = -2 * (3 * 10 + 0.5 * 3)
    of_p = 2 * (4 * 1 + -2 * 2)
    assert np.allclose(layer.parameters.grad, [of_q, of_p], rtol=1e-15)


def test_two_coordinates_come_before_their_two_momenta():
    layer = Hamiltonian(quadratic(1.0, 2.0, 3.0, 4.0))
    assert np.array_equal(layer([[1.0, 1.0, 1.0, 1.0]]), [[6.0, 8.0, -2.0, -4.0]])


def test_the_acceleration_of_an_oscillator_is_force_by_mass():
    layer = Lagrangian(quadratic(-3.0, 1.0))  # L = q̇² − 3 q²: mass 2, spring constant 6
    layer.build((2,))
    x = np.array([[1.0, 5.0], [-2.0, 0.5]])
    assert np.array_equal(layer.forward(x), [[5.0, -3.0], [0.5, 6.0]])
    dx = layer.backward(np.array([[7.0, 1.0], [0.0, 10.0]]))
    assert np.allclose(dx, [[-3.0, 7.0], [-30.0, 0.0]], rtol=1e-15)
    # q̈ = a q / b with L = a q² + b q̇²
    of_a = 1 * 1 + 10 * -2
    of_b = 3 * (1 * 1 + 10 * -2)
    assert np.allclose(layer.parameters.grad, [of_a, of_b], rtol=1e-15)


class Kepler(Layer):
    """L = ½ (ṙ² + r² φ̇²) + 1/r for rows (r, φ, ṙ, φ̇): every term of q̈ counts."""

    def forward(self, x):
        self.x = x
        r, dr, dphi = x[:, :1], x[:, 2:3], x[:, 3:]
        return (dr**2 + r**2 * dphi**2) / 2 + 1 / r

    def backward(self, delta):
        r, dr, dphi = self.x[:, :1], self.x[:, 2:3], self.x[:, 3:]
        parts = [r * dphi**2 - 1 / r**2, 0 * r, dr, r**2 * dphi]
        return np.concatenate([delta * part for part in parts], axis=1)


class Forced(Layer):
    """The squares of a row, in a way that only arrays can go."""

    def forward(self, x):
        self.x = np.asarray(x)
        return np.sum(self.x**2, axis=1, keepdims=True)

    def backward(self, delta):
        return 2 * self.x * delta


def test_a_planet_in_polar_coordinates_has_the_accelerations_of_a_textbook():
    x = np.abs(RNG.normal(size=(6, 4))) + 0.5
    r, _, dr, dphi = x.T
    by_hand = np.stack([dr, dphi, r * dphi**2 - 1 / r**2, -2 * dr * dphi / r], axis=1)
    layer = Lagrangian(Kepler())
    assert np.allclose(layer(x), by_hand, rtol=1e-13)
    delta = RNG.normal(size=(6, 4))
    layer.forward(x)
    da, db = delta[:, 2], delta[:, 3]
    gradient = [
        da * (dphi**2 + 2 / r**3) + db * 2 * dr * dphi / r**2,
        0 * r,
        delta[:, 0] - db * 2 * dphi / r,
        delta[:, 1] + da * 2 * r * dphi - db * 2 * dr / r,
    ]
    assert np.allclose(layer.backward(delta), np.stack(gradient, axis=1), rtol=1e-12, atol=1e-13)


def test_the_gradient_is_that_of_mpmath():
    """H = w_2 tanh(w_1 · x), with forty digits."""
    network = Sequential([Dense(1, use_bias=False), Activation("tanh"), Dense(1, use_bias=False)])
    network.build((2,))
    network.parameters.value = theta = [0.7, -1.3, 0.9]
    layer, x, delta = Hamiltonian(network), [0.4, 0.8], [1.5, -0.6]
    layer.build((2,))

    def projected(w_q, w_p, w, q, p):
        def energy(q, p):
            return w * mpmath.tanh(w_q * q + w_p * p)

        dq, dp = (mpmath.diff(energy, (q, p), n) for n in ((1, 0), (0, 1)))
        return delta[0] * dp - delta[1] * dq

    with mpmath.workdps(40):
        at = (*theta, *x)
        expected = [
            float(mpmath.diff(projected, at, tuple(int(i == n) for i in range(5))))
            for n in range(5)
        ]
    layer.forward(np.array([x]))
    dx = layer.backward(np.array([delta]))
    assert np.allclose(layer.parameters.grad, expected[:3], rtol=1e-12)
    assert np.allclose(dx[0], expected[3:], rtol=1e-12)


# ---------------------------------------------------------------- properties


@pytest.mark.parametrize("inputs", [2, 6])
def test_the_motion_does_not_change_the_energy(inputs):
    network, x = tanh_network(inputs=inputs), RNG.normal(size=(9, inputs))
    velocity = Hamiltonian(network)(x)
    _, gradient, _ = derivatives.vjp(network, x, np.ones((9, 1)))
    assert np.abs(np.sum(velocity * gradient, axis=1)).max() < 1e-15


def test_the_layer_is_its_network_to_parameters_files_and_freezing(tmp_path):
    network = tanh_network()
    layer = Hamiltonian(network)
    layer.build((4,), rng=1)
    assert layer.parameters["network/dense_1.weights"] is network["dense_1"].weights
    layer.save(tmp_path / "motion")
    x = RNG.normal(size=(3, 4))
    assert np.array_equal(load(tmp_path / "motion")(x), layer(x))
    network["dense_1"].freeze()
    layer.forward(x)
    layer.backward(np.ones((3, 4)))
    assert not np.any(network["dense_1"].weights.grad)
    assert np.any(network["dense_2"].weights.grad)


class Both(Layer):
    """The motion and the energy, with one network."""

    energy: Layer

    def build(self, row):
        self.energy.build(row)
        self.motion = Hamiltonian(self.energy)
        self.motion.build(row)

    def forward(self, x):
        return self.energy.forward(x), self.motion.forward(x)

    def backward(self, delta):
        of_energy, of_motion = delta
        return self.motion.backward(of_motion) + self.energy.backward(of_energy)


def test_a_network_can_also_be_used_outside():
    assert check_layer(Both(tanh_network(3).unbuilt()), (4,)).ok


@pytest.mark.parametrize("kind", [Hamiltonian, Lagrangian])
def test_hessian_products_are_differences_of_gradients(kind):
    layer = Sequential([kind(tanh_network(3))])
    layer.build((4,))
    x, t, loss = RNG.normal(size=(4, 4)), RNG.normal(size=(4, 4)), losses.HalfSquaredError()
    theta = layer.parameters.value.copy()
    v = RNG.normal(size=theta.size)

    def gradient(at):
        layer.parameters.value = at
        return derivatives.value_and_gradient(layer, loss, x, t)[1]

    h = 1e-6
    by_differences = (gradient(theta + h * v) - gradient(theta - h * v)) / (2 * h)
    layer.parameters.value = theta
    hvp = derivatives.hvp(layer, loss, x, t, v)
    assert np.allclose(hvp, by_differences, rtol=1e-5, atol=1e-6 * np.abs(hvp).max())


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("kind", [Hamiltonian, Lagrangian])
def test_wrong_rows_networks_and_layers_are_named(kind):
    with pytest.raises(DefinitionError, match="is defined around a layer"):
        kind("tanh")
    with pytest.raises(ShapeError, match=r"(?s)pairs of coordinates.*\(batch, 3\).*concatenate"):
        kind(Dense(1)).build((3,))
    with pytest.raises(ShapeError, match=r"(?s)one number for each row.*\(batch, 2\)"):
        kind(Dense(2)).build((4,))
    for noise in (Dropout(0.5), BatchNorm()):
        with pytest.raises(ConfigurationError, match="must be a function of its input"):
            kind(Sequential([noise, Dense(1)])).build((4,))


def test_a_mass_matrix_without_inverse_is_named_with_its_row():
    layer = Lagrangian(quadratic(1.0, 1.0, 2.0, 0.0))
    with pytest.raises(SingularMatrixError, match=r"(?s)row 0.*full rank.*every velocity"):
        layer(np.ones((2, 4)))
    layer = Lagrangian(Sequential([Dense(3), Activation("relu"), Dense(1)]))
    with pytest.raises(ArithmeticError, match="mass matrix"):
        layer(np.ones((2, 2)))


def test_a_network_that_forces_plain_arrays_is_named():
    layer = Hamiltonian(Forced())
    layer.build((2,))
    layer.forward(np.ones((1, 2)))
    with pytest.raises(NoTangentRuleError, match="would lose the tangent"):
        layer.backward(np.ones((1, 2)))


# ---------------------------------------------------------------- PyTorch


def torch_copy(torch, network):
    """The same network in PyTorch, with its parameters in our order."""
    parameters = [
        torch.tensor(p.value, dtype=torch.float64, requires_grad=True) for p in network.parameters
    ]

    def energy(x):
        for n in range(0, len(parameters), 2):
            x = (torch.tanh(x) if n else x) @ parameters[n] + parameters[n + 1]
        return x

    return energy, parameters


def gradients_of(parameters):
    """The gradient of the last bias is None: no derivative of H depends on it."""
    found = [np.zeros(p.shape) if p.grad is None else p.grad.numpy() for p in parameters]
    return np.concatenate([each.ravel() for each in found])


@pytest.mark.peers
def test_the_gradients_of_a_hamiltonian_are_those_of_pytorch(torch):
    network, x, delta = tanh_network(7), RNG.normal(size=(8, 4)), RNG.normal(size=(8, 4))
    layer = Hamiltonian(network)
    layer.build((4,))
    y = layer.forward(x)
    dx = layer.backward(delta)
    energy, parameters = torch_copy(torch, network)
    rows = torch.tensor(x, requires_grad=True)
    (g,) = torch.autograd.grad(energy(rows).sum(), rows, create_graph=True)
    motion = torch.cat([g[:, 2:], -g[:, :2]], dim=1)
    (motion * torch.tensor(delta)).sum().backward()
    gradient = gradients_of(parameters)
    assert np.allclose(y, motion.detach().numpy(), rtol=1e-12, atol=1e-14)
    assert np.allclose(dx, rows.grad.numpy(), rtol=1e-10, atol=1e-13)
    assert np.allclose(layer.parameters.grad, gradient, rtol=1e-10, atol=1e-13)


@pytest.mark.peers
def test_the_gradients_of_a_lagrangian_are_those_of_pytorch(torch):
    network, x, delta = tanh_network(7), RNG.normal(size=(8, 4)), RNG.normal(size=(8, 4))
    layer = Lagrangian(network)
    layer.build((4,))
    y = layer.forward(x)
    dx = layer.backward(delta)
    energy, parameters = torch_copy(torch, network)
    rows = torch.tensor(x, requires_grad=True)
    outputs = []
    for row in rows:
        hessian = torch.autograd.functional.hessian(
            lambda z: energy(z[None])[0, 0], row, create_graph=True
        )
        (g,) = torch.autograd.grad(energy(row[None])[0, 0], row, create_graph=True)
        force = g[:2] - hessian[2:, :2] @ row[2:]
        outputs.append(torch.cat([row[2:], torch.linalg.solve(hessian[2:, 2:], force)]))
    motion = torch.stack(outputs)
    (motion * torch.tensor(delta)).sum().backward()
    gradient = gradients_of(parameters)
    scale = np.abs(gradient).max()
    assert np.allclose(y, motion.detach().numpy(), rtol=1e-10, atol=1e-12)
    assert np.allclose(dx, rows.grad.numpy(), rtol=1e-9, atol=1e-10 * np.abs(dx).max())
    assert np.allclose(layer.parameters.grad, gradient, rtol=1e-9, atol=1e-10 * scale)


@pytest.mark.parametrize("kind", [Hamiltonian, Lagrangian])
def test_a_network_may_contain_a_layer_twice(kind):
    tanh = Activation("tanh")
    shared = Sequential([Dense(4), tanh, Dense(4), tanh, Dense(1)])
    each = Sequential([Dense(4), Activation("tanh"), Dense(4), Activation("tanh"), Dense(1)])
    x = np.random.default_rng(0).normal(size=(3, 2))
    layers = [kind(shared), kind(each)]
    for layer in layers:
        layer.build((2,), rng=0)
    np.testing.assert_array_equal(*[layer(x) for layer in layers])
