"""`Derivatives` gives what one finds by hand, with PyTorch's double backward and by differences."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule
from chainrule import (
    Activation,
    BatchNorm,
    Dense,
    Formula,
    Graph,
    Input,
    LayerNorm,
    Multiply,
    Residual,
    Sequential,
    Trainer,
    derivatives,
    losses,
    optimizers,
    physics,
)
from chainrule.core.errors import ChainruleError, ConfigurationError, ShapeError


def network(units=1, widths=(7, 5)):
    hidden = [layer for width in widths for layer in (Dense(width), Activation("tanh"))]
    return Sequential([*hidden, Dense(units)])


class Cubic(Formula):
    """u = x³ y + y², with derivatives 3x²y, x³ + 2y, 6xy, 3x², 2."""

    def forward(self, rows):
        x, y = rows[:, 0], rows[:, 1]
        return x**3 * y + y**2


def test_the_derivatives_of_a_polynomial_by_hand():
    u, first, second = physics.Derivatives(Cubic(), order=2)(np.array([[2.0, 3.0], [1.0, -1.0]]))
    np.testing.assert_array_equal(u, [33.0, 0.0])
    np.testing.assert_array_equal(first, [[36.0, 14.0], [-3.0, -1.0]])
    np.testing.assert_array_equal(second, [[[36, 12], [12, 2]], [[-6, 3], [3, 2]]])


def test_only_the_second_derivatives_that_are_named_in_their_order():
    x = np.array([[2.0, 3.0]])
    layer = physics.Derivatives(Cubic(), order=2, second=[(1, 1), (1, 0), (0, 1)])
    np.testing.assert_array_equal(layer(x)[2], [[2.0, 12.0, 12.0]])
    assert [y.shape for y in physics.Derivatives(Cubic())(x)] == [(1,), (1, 2)]


def test_several_outputs_have_an_axis_of_their_own():
    layer = physics.Derivatives(network(3), order=2)
    x = np.random.default_rng(0).normal(size=(4, 2))
    u, first, second = layer(x)
    assert (u.shape, first.shape, second.shape) == ((4, 3), (4, 3, 2), (4, 3, 2, 2))
    np.testing.assert_allclose(first, derivatives.jacobian(layer.network, x), rtol=1e-13)
    h = 1e-5
    for n, step in enumerate(h * np.eye(2)):
        above, below = (derivatives.jacobian(layer.network, x + s * step) for s in (1, -1))
        np.testing.assert_allclose(second[..., n], (above - below) / (2 * h), atol=1e-9)


def test_a_derivative_of_derivatives_is_the_third():
    inner = physics.Derivatives(Cubic(), order=2, second=[(0, 0)])
    x = Input((2,))
    model = physics.Derivatives(Graph(x, inner(x)[2]), order=1)
    u, first = model(np.array([[2.0, 3.0]]))
    np.testing.assert_array_equal(u, [36.0])  # 6 x y
    np.testing.assert_array_equal(first, [[18.0, 12.0]])  # 6 y, 6 x


@pytest.mark.parametrize("order", [1, 2])
def test_the_gradient_of_a_cost_of_derivatives_is_that_of_differences(order):
    layer = physics.Derivatives(network(2), order=order)
    layer.build((2,), rng=0)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, 2))
    outputs = layer.forward(x)
    weights = [rng.normal(size=y.shape) for y in outputs]
    layer.parameters.zero_grad()
    dx = layer.backward(tuple(weights))

    def cost():
        return sum(np.sum(w * y) for w, y in zip(weights, layer.apply(x), strict=True))

    for array, gradient in ((layer.parameters.value, layer.parameters.grad), (x, dx)):
        for place in np.ndindex(array.shape):
            kept = array[place]
            ends = []
            for sign in (1, -1):
                array[place] = kept + sign * 1e-5
                ends.append(cost())
            array[place] = kept
            np.testing.assert_allclose(gradient[place], (ends[0] - ends[1]) / 2e-5, atol=1e-8)


@pytest.mark.peers
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "sin", "softplus", "gelu"])
def test_the_gradient_of_a_residual_is_that_of_double_backward(activation):
    import torch
    from torch.nn import functional

    functions = {"sin": torch.sin, "tanh": torch.tanh, "sigmoid": torch.sigmoid}
    functions |= {"softplus": functional.softplus, "gelu": functional.gelu}
    act = Activation(np.sin, np.cos) if activation == "sin" else Activation(activation)
    net = Sequential([Dense(64), act, Dense(64), act, Dense(64), act, Dense(1)])
    layer = physics.Derivatives(net, order=2)
    layer.build((2,), rng=0)
    x = np.random.default_rng(0).normal(size=(100, 2))
    u, first, second = layer.forward(x)
    r = first[:, 1] + u * first[:, 0] - 0.1 * second[:, 0, 0] + second[:, 0, 1] - second[:, 1, 1]
    delta = 2 * r / len(r)
    du, dfirst, dsecond = delta * first[:, 0], np.stack([delta * u, delta], axis=1), 0 * second
    dsecond[:, 0, 0], dsecond[:, 0, 1], dsecond[:, 1, 1] = -0.1 * delta, delta, -delta
    layer.parameters.zero_grad()
    dx = layer.backward((du, dfirst, dsecond))

    values = [torch.tensor(p.value, requires_grad=True) for p in net.parameters]
    points = torch.tensor(x, requires_grad=True)
    h = points
    for n in range(0, len(values), 2):
        h = h @ values[n] + values[n + 1]
        h = functions[activation](h) if n < 6 else h
    (g,) = torch.autograd.grad(h.sum(), points, create_graph=True)
    rows = [torch.autograd.grad(g[:, i].sum(), points, create_graph=True)[0] for i in range(2)]
    t = g[:, 1] + h[:, 0] * g[:, 0] - 0.1 * rows[0][:, 0] + rows[0][:, 1] - rows[1][:, 1]
    (t**2).mean().backward()
    np.testing.assert_allclose(r, t.detach().numpy(), rtol=1e-10, atol=1e-12)
    grads = [np.zeros(v.shape) if v.grad is None else v.grad.numpy() for v in values]
    expected = np.concatenate([g.ravel() for g in grads])
    scale = np.abs(expected).max()
    np.testing.assert_allclose(layer.parameters.grad, expected, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(dx, points.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_any_graph_can_be_inside_also_twice():
    x = Input((2,))
    shared = Sequential([Dense(3), LayerNorm(), Activation("softplus"), Residual(Dense(3))])
    u = Graph(x, Dense(1)(Multiply()(shared(x), shared(x))))
    layer = physics.Derivatives(u, order=2)
    points, edge = Input((2,)), Input((2,))
    model = Graph([points, edge], [layer(points)[2], u(edge)])  # the same weights at the edge
    assert chainrule.check_layer(model, ((2,), (2,))).ok


def test_the_residuals_of_each_row_have_their_own_gradients():
    # For Levenberg's method: J of all residuals with respect to the parameters.
    x = Input((1,))
    u, _, second = physics.Derivatives(network(), order=2)(x)
    model = Graph(x, [u, second])
    model.build((1,), rng=0)
    points = np.linspace(0, 1, 5)[:, None]
    jacobians = derivatives.jacobian(model, points, "parameters")
    for n in range(5):
        alone = derivatives.jacobian(model, points[n : n + 1], "parameters")
        for one, other in zip(jacobians, alone, strict=True):
            np.testing.assert_allclose(one[n], other[0], rtol=1e-12, atol=1e-14)


def test_an_equation_is_trained_like_any_other_model():
    class Growth(Formula):
        def forward(self, u, first):
            return first[:, 0] - u

    x = Input((1,))
    u, first = physics.Derivatives(network(widths=(8,)))(x)
    model = Graph(x, [Growth()(u, first), u])
    points = np.linspace(0, 1, 16)[:, None]
    trainer = Trainer(
        model, [losses.MeanSquare(), losses.HalfSquaredError()], optimizers.Adam(0.03), rng=0
    )
    edge = np.array([1.0] + [0.0] * 15)  # u(0) = 1, and nothing is known elsewhere
    weights = (None, 16 * edge)
    history = trainer.fit(
        points, (None, edge), epochs=600, batch_size=16, sample_weights=weights, progress=False
    )
    assert history["loss"][-1] < 0.02 * history["loss"][0]
    np.testing.assert_allclose(model(points)[1], np.exp(points[:, 0]), rtol=0.05)


def test_it_is_saved_with_its_network(tmp_path):
    layer = physics.Derivatives(network(), order=2, second=[(0, 1)])
    x = np.ones((2, 2))
    y = layer(x)
    layer.save(tmp_path / "layer.model")
    loaded = chainrule.load(tmp_path / "layer.model")
    assert loaded == layer
    for one, other in zip(loaded(x), y, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("make", "shape", "words"),
    [
        (lambda: physics.Derivatives(network(), order=3), None, "unknown order"),
        (lambda: physics.Derivatives(network(), second=[(0, 0)]), None, "need order=2"),
        (lambda: physics.Derivatives(network(), order=2, second=[0]), None, "pairs of columns"),
        (lambda: physics.Derivatives(network(), order=2, second=[(0, 5)]), (2,), "has not"),
        (lambda: physics.Derivatives(network()), (2, 3), "not vectors"),
        (lambda: physics.Derivatives(BatchNorm()), (2,), "influence each other"),
        (lambda: physics.Derivatives("tanh"), None, "around a layer"),
    ],
)
def test_what_cannot_be_differentiated_is_a_named_error(make, shape, words):
    with pytest.raises(ChainruleError, match=words):
        make().build(shape)


def test_the_errors_are_of_the_right_kind():
    with pytest.raises(ConfigurationError):
        physics.Derivatives(network(), order=True)
    with pytest.raises(ShapeError, match="one output"):
        x = Input((2,))
        physics.Derivatives(Graph(x, [Dense(1)(x), Dense(1)(x)])).build((2,))
