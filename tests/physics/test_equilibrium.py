"""Equilibria: fixed points compared with solutions in closed form, gradients with PyTorch's."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from chainrule import (
    Activation,
    Add,
    Dense,
    Dropout,
    Graph,
    Input,
    Layer,
    derivatives,
    load,
    losses,
)
from chainrule.core.errors import (
    BuildError,
    ConfigurationError,
    ConvergenceError,
    DefinitionError,
    ShapeError,
    SingularMatrixError,
)
from chainrule.physics import Equilibrium

RNG = np.random.default_rng(0)


class Kepler(Layer):
    """f(M, E) = M + e sin E."""

    eccentricity: float

    def forward(self, x, z):
        self.z = z
        return x + self.eccentricity * np.sin(z)

    def backward(self, delta):
        return delta, self.eccentricity * np.cos(self.z) * delta


class Linear(Layer):
    """f(x, z) = x + z a."""

    def build(self, x, z):
        self.matrix = self.parameter("matrix", (z[0], z[0]), "orthogonal")

    def forward(self, x, z):
        self.z = z
        return x + z @ self.matrix.value

    def backward(self, delta):
        self.matrix.accumulate(self.z.T @ delta)
        return delta, delta @ self.matrix.value.T


def cell(units=4, inputs=3, initializer=0.2):
    x, z = Input((inputs,)), Input((units,))
    mixed = Add()(Dense(units)(x), Dense(units, initializer=initializer)(z))
    return Graph([x, z], Activation("tanh")(mixed))


def test_keplers_equation_is_solved_as_mpmath_does():
    layer = Equilibrium(Kepler(0.8), tolerance=1e-15)
    layer.build((1,))
    anomalies = [0.01, 0.3, 1.0, 2.0, 3.0]
    with mpmath.workdps(30):
        exact = [
            float(mpmath.findroot(lambda z, m=m: z - 0.8 * mpmath.sin(z) - m, m)) for m in anomalies
        ]
    z = layer.forward(np.array(anomalies)[:, None])
    assert np.allclose(z[:, 0], exact, rtol=1e-14)
    dz = layer.backward(np.ones((5, 1)))
    assert np.allclose(dz[:, 0], 1 / (1 - 0.8 * np.cos(exact)), rtol=1e-13)


@pytest.mark.parametrize("size", [0.5, 3.0])
@pytest.mark.parametrize("width", [1, 4, 9])
def test_a_linear_cell_is_the_inverse_of_a_matrix(width, size):
    """z = x (1 − a)⁻¹, also where z ← f(x, z) would diverge: Anderson's iteration finds it."""
    layer = Equilibrium(Linear(), memory=width)
    layer.build((width,), rng=1)
    layer.parameters.value *= size
    a, x, delta = layer.cell.matrix.value, RNG.normal(size=(6, width)), RNG.normal(size=(6, width))
    inverse = np.linalg.inv(np.eye(width) - a)
    assert np.allclose(layer.forward(x), x @ inverse, rtol=1e-10, atol=1e-10)
    of_x = delta @ inverse.T
    assert np.allclose(layer.backward(delta), of_x, rtol=1e-10, atol=1e-11)
    assert np.allclose(layer.cell.matrix.grad, (x @ inverse).T @ of_x, rtol=1e-9, atol=1e-9)


def test_the_plain_iteration_finds_the_same():
    one = Equilibrium(cell())
    one.build((3,), rng=0)
    two = Equilibrium(one.cell, memory=0)
    x = RNG.normal(size=(5, 3))
    assert np.allclose(one(x), two(x), rtol=1e-10)
    assert np.allclose(one.cell(x, one(x)), one(x), rtol=1e-11)


def test_hessian_products_are_differences_of_gradients():
    layer = Equilibrium(cell(), tolerance=1e-14)
    layer.build((3,), rng=0)
    x, t, loss = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 4)), losses.HalfSquaredError()
    theta = layer.parameters.value.copy()
    v = RNG.normal(size=theta.size)

    def gradient(at):
        layer.parameters.value = at
        return derivatives.value_and_gradient(layer, loss, x, t)[1]

    h = 1e-5
    by_differences = (gradient(theta + h * v) - gradient(theta - h * v)) / (2 * h)
    layer.parameters.value = theta
    assert np.allclose(derivatives.hvp(layer, loss, x, t, v), by_differences, rtol=1e-6, atol=1e-7)


def test_second_derivatives_in_x_are_those_of_keplers_equation():
    """z″ = −e sin z z′³, from a velocity of a velocity."""
    layer = Equilibrium(Kepler(0.5), tolerance=1e-15)
    layer.build((1,))
    x = np.array([[0.4], [2.0]])
    from chainrule import Dual

    z = derivatives.Replica(layer).forward(Dual(Dual(x, 1.0), 1.0))
    value = z.value.value
    slope = 1 / (1 - 0.5 * np.cos(value))
    assert np.allclose(z.value.tangent, slope, rtol=1e-13)
    assert np.allclose(z.tangent.tangent, -0.5 * np.sin(value) * slope**3, rtol=1e-12)


def test_the_width_comes_from_the_cell_or_is_given(tmp_path):
    layer = Equilibrium(cell(units=5))
    layer.build((3,))
    assert layer.output_shape == (5,)
    layer.save(tmp_path / "fixed")
    x = RNG.normal(size=(2, 3))
    assert np.array_equal(load(tmp_path / "fixed")(x), layer(x))
    wide = Equilibrium(Kepler(0.1), state_shape=(2,))
    wide.build((1,))
    assert wide.output_shape == (2,)


def test_what_does_not_converge_is_named_with_its_row_and_residual():
    layer = Equilibrium(Linear(), memory=0, iterations=50)
    layer.build((2,), rng=0)
    x = np.array([[0.0, 0.0], [1.0, 2.0]])
    with pytest.raises(ConvergenceError, match=r"(?s)row 1.*50 iterations.*contraction"):
        layer(x)


def test_a_fixed_point_without_derivative_is_named():
    layer = Equilibrium(Kepler(1.0), tolerance=1e-8, iterations=5000)
    layer.build((1,))
    layer.forward(np.zeros((1, 1)))  # z = sin z touches at 0
    with pytest.raises(SingularMatrixError, match=r"(?s)row 0.*full rank.*eigenvalue"):
        layer.backward(np.ones((1, 1)))


def test_wrong_cells_and_arguments_are_named():
    with pytest.raises(DefinitionError, match=r"Equilibrium\(layer\)"):
        Equilibrium(np.tanh)
    with pytest.raises(ConfigurationError, match=r"(?s)tolerance.*between 0 and 1"):
        Equilibrium(cell(), tolerance=0)
    with pytest.raises(ConfigurationError, match=r"(?s)memory.*0 or more"):
        Equilibrium(cell(), memory=-1)
    with pytest.raises(BuildError, match="Equilibrium: the shape of the state"):
        Equilibrium(Dense(2)).build((3,))
    with pytest.raises(ShapeError, match=r"(?s)does not return a z.*\(batch, 5\).*\(batch, 4\)"):
        Equilibrium(Graph([x := Input((3,)), z := Input((5,))], Add()(Dense(4)(x), Dense(4)(z))),
                    state_shape=(5,)).build((3,))  # fmt: skip
    x, z = Input((3,)), Input((4,))
    noisy = Graph([x, z], Dropout(0.5)(Add()(Dense(4)(x), Dense(4)(z))))
    with pytest.raises(ConfigurationError, match="must be a function of its input"):
        Equilibrium(noisy).build((3,))


@pytest.mark.peers
def test_the_gradients_are_those_of_pytorch_through_many_iterations(torch):
    layer = Equilibrium(cell(), tolerance=1e-14)
    layer.build((3,), rng=0)
    x, delta = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 4))
    z = layer.forward(x)
    dx = layer.backward(delta)
    theta = [torch.tensor(p.value, requires_grad=True) for p in layer.parameters]
    rows, state = torch.tensor(x, requires_grad=True), torch.zeros(5, 4, dtype=torch.float64)
    for _ in range(300):
        state = torch.tanh(rows @ theta[0] + theta[1] + state @ theta[2] + theta[3])
    (state * torch.tensor(delta)).sum().backward()
    gradient = np.concatenate([p.grad.numpy().ravel() for p in theta])
    assert np.allclose(z, state.detach().numpy(), rtol=1e-10)
    assert np.allclose(dx, rows.grad.numpy(), rtol=1e-10)
    assert np.allclose(layer.parameters.grad, gradient, rtol=1e-10)
