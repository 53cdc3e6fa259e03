"""Gradients of derivatives: dual numbers through `forward` and `backward`, in copies of a model."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from chainrule import (
    Activation,
    Add,
    Average,
    Branches,
    Concatenate,
    Dense,
    Dot,
    Dual,
    Flatten,
    Graph,
    Input,
    Layer,
    Maximum,
    Multiply,
    Permute,
    Reshape,
    Residual,
    Sequential,
    Slice,
    Softmax,
    Subtract,
    check_layer,
    derivatives,
    losses,
)
from chainrule.core.errors import BuildError, ConfigurationError, NoTangentRuleError, ShapeError
from chainrule.layers.functions import KNOWN
from laws import unusual_layers


def as_tuple(y):
    return y if isinstance(y, tuple) else (y,)


def as_given(parts):
    return parts[0] if len(parts) == 1 else tuple(parts)


def inner(a, b):
    return sum(float(np.sum(p * q)) for p, q in zip(as_tuple(a), as_tuple(b), strict=True))


def norm(a):
    return np.sqrt(inner(a, a))


def like(arrays, rng):
    return as_given([rng.normal(size=np.shape(a)) for a in as_tuple(arrays)])


def tangents(arrays):
    return as_given([a.tangent for a in as_tuple(arrays)])


def moving(x, v, level=None):
    pairs = zip(as_tuple(x), as_tuple(v), strict=True)
    return as_given([Dual(a, b, level) for a, b in pairs])


def _shared():
    shared = Dense(3)
    return Sequential([shared, Activation("tanh"), Sequential([shared]), Activation("sin")])


def _nested():
    a, b = Input((3,)), Input((3,))
    hidden = Residual(Dense(3), Activation("gelu"))(a)
    inside = Graph(x := Input((3,)), Add()(x, Dense(3)(Activation("sigmoid")(x))))
    mixed = Multiply()(inside(hidden), inside(b))
    return Graph([a, b], [Dense(2)(mixed), Branches([Dense(2), Softmax()], Concatenate())(mixed)])


MODELS = [
    *((Activation(name), [(3,)]) for name in sorted(KNOWN)),
    (Activation(np.sin, np.cos), [(3,)]),
    (Dense(2), [(3,)]),
    (Dense(2, use_bias=False), [(3,)]),
    (Sequential([Dense(2), Activation("tanh"), Dense(3)]), [(4, 3)]),
    (Softmax(), [(3,)]),
    *((merge(), [(3,), (3,), (3,)]) for merge in (Add, Multiply, Average, Maximum, Concatenate)),
    (Multiply(broadcast=True), [(2, 3), (1,)]),
    *((merge(), [(3,), (3,)]) for merge in (Subtract, Dot)),
    (Sequential([Flatten(), Dense(4), Reshape((2, 2)), Permute((2, 1)), Flatten()]), [(2, 3)]),
    (Sequential([Slice(1), Dense(2)]), [(3,)]),
    (Sequential([Dense(4), Residual(Dense(4), Activation("tanh")), Dense(2)]), [(3,)]),
    (Residual(Dense(2), Activation("softplus"), projection=Dense(2)), [(3,)]),
    (_shared(), [(3,)]),
    (_nested(), [(3,), (3,)]),
    (unusual_layers.BatchNorm(), [(3,)]),
    (unusual_layers.Dropout(0.4), [(3,)]),
    (unusual_layers.LayerNorm(), [(3,)]),
    (unusual_layers.Product(), [(3,), (3,)]),
    (unusual_layers.Halves(), [(4,)]),
    (unusual_layers.PeriodicConvolution(), [(5,)]),
]


@pytest.fixture(params=MODELS, ids=lambda case: repr(case[0])[:40])
def problem(request):
    """A built model, its inputs, and a generator."""
    model, shapes = request.param
    model = model.unbuilt()
    model.build(*shapes, rng=0)
    rng = np.random.default_rng(1)
    return model, as_given([rng.normal(size=(4, *shape)) for shape in shapes]), rng


def test_the_gradients_of_a_derivative_are_the_second_derivatives_of_forward(problem):
    # ⟨w, ∂/∂(x, θ) ⟨Δ, Jₓ v⟩⟩ by backward is ⟨Δ, D²y [v, w]⟩ by forward alone.
    model, x, rng = problem
    v, w, w_theta = like(x, rng), like(x, rng), rng.normal(size=model.parameters.size)
    y, dy = derivatives.jvp(model, moving(x, v), w, w_theta)
    delta = like(derivatives.jvp(model, x)[0], rng)
    again, back, gradient = derivatives.vjp(model, moving(x, v), delta)
    for one, two in zip(as_tuple(y), as_tuple(again), strict=True):
        np.testing.assert_allclose(one.tangent, two.tangent, rtol=1e-13, atol=1e-13)
    by_theta = gradient.tangent
    found = inner(w, tangents(back)) + float(w_theta @ by_theta)
    second = tangents(dy)
    size = norm(w) * norm(tangents(back)) + norm(w_theta) * norm(by_theta)
    assert abs(found - inner(delta, second)) <= 1e-12 * (size + norm(delta) * norm(second) + 1e-3)


def test_the_gradients_of_a_second_derivative_are_the_third_derivatives_of_forward(problem):
    model, x, rng = problem
    v, u, w = like(x, rng), like(x, rng), like(x, rng)
    w_theta = rng.normal(size=model.parameters.size)
    twice = moving(moving(x, v), u)
    third = tangents(tangents(derivatives.jvp(model, twice, w, w_theta)[1]))
    delta = like(third, rng)
    _, back, gradient = derivatives.vjp(model, twice, delta)
    by_x = tangents(tangents(back))
    by_theta = gradient.tangent.tangent
    found = inner(w, by_x) + float(w_theta @ by_theta)
    size = norm(w) * norm(by_x) + norm(w_theta) * norm(by_theta) + norm(delta) * norm(third) + 1e-3
    assert abs(found - inner(delta, third)) <= 1e-12 * size


def test_delta_may_move_by_itself_at_any_level(problem):
    # Jᵀ is linear: if delta moves with velocity d, the product moves with Jᵀ d.
    model, x, rng = problem
    v = like(x, rng)
    delta = like(derivatives.jvp(model, x)[0], rng)
    velocity = like(delta, rng)
    expected = derivatives.vjp(model, moving(x, v), velocity)
    found = derivatives.vjp(model, moving(x, v), moving(delta, velocity, level=5))
    for one, two in zip(as_tuple(expected[1]), as_tuple(found[1]), strict=True):
        np.testing.assert_allclose(one.value, two.tangent.value, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(one.tangent, two.tangent.tangent, rtol=1e-12, atol=1e-14)
    moved = found[2].tangent
    np.testing.assert_allclose(expected[2].tangent, moved.tangent, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "loss",
    [
        losses.HalfSquaredError(),
        losses.MeanSquaredError(),
        losses.Huber(0.3),
        losses.SoftmaxCrossEntropy(),
        losses.SigmoidCrossEntropy(),
        losses.NegativeLogLikelihood(),
    ],
    ids=repr,
)
def test_the_gradient_of_every_loss_moves_with_the_rows(loss):
    model = Sequential([Dense(4), Activation("tanh"), Dense(3), Softmax()])
    model.build((3,), rng=0)
    rng = np.random.default_rng(0)
    x, v, w = rng.normal(size=(3, 5, 3))
    t = rng.dirichlet(np.ones(3), size=5)
    cost, gradient = derivatives.value_and_gradient(model, loss, Dual(Dual(x, v), w), t)

    def at(moved):
        cost, gradient = derivatives.value_and_gradient(model, loss, moved, t)
        return cost.tangent, gradient.tangent

    ahead, behind = (at(Dual(x + step * w, v)) for step in (1e-5, -1e-5))
    assert (ahead[0] - behind[0]) / 2e-5 == pytest.approx(cost.tangent.tangent, rel=1e-6, abs=1e-8)
    slope = (ahead[1] - behind[1]) / 2e-5
    np.testing.assert_allclose(gradient.tangent.tangent, slope, rtol=1e-6, atol=1e-7)


# --- against mpmath and PyTorch ---------------------------------------------------------------


def _network(width, seed=0):
    model = Sequential([Dense(3), Activation("tanh"), Dense(1)])
    model.build((width,), rng=seed)
    model.parameters.value += np.random.default_rng(seed).normal(size=model.parameters.size) / 3
    return model


def _network_in_mpmath(theta, x):
    """The same network of one row, in numbers of any precision."""
    width = len(x)
    weights, biases, last = theta[: 3 * width], theta[3 * width : 3 * width + 3], theta[-4:]
    total = last[3]
    for k in range(3):
        z = biases[k] + sum(x[j] * weights[3 * j + k] for j in range(width))
        total += last[k] * mpmath.tanh(z)
    return total


def _gradient_in_mpmath(cost, theta):
    """∂C/∂θ by differences with forty digits."""
    with mpmath.workdps(40):
        exact = [mpmath.mpf(float(value)) for value in theta]

        def along(k):
            return lambda value: cost([*exact[:k], value, *exact[k + 1 :]])

        return np.array([float(mpmath.diff(along(k), exact[k])) for k in range(len(exact))])


def _poisson(model, x, f):
    """C = ½⟨(u″ + f)²⟩ and its gradient."""
    replica = derivatives.Replica(model)
    u = replica.forward(Dual(Dual(x, 1.0), 1.0))
    residual = u.tangent.tangent + f
    replica.backward_parameters(residual / len(x))
    return 0.5 * np.mean(residual**2), replica.gradient().tangent.tangent


def test_the_gradient_of_the_poisson_equation_is_that_of_mpmath():
    model, rng = _network(1), np.random.default_rng(2)
    x, f = rng.normal(size=(2, 3, 1))

    def cost(theta):
        terms = []
        for position, source in zip(x[:, 0], f[:, 0], strict=True):
            curvature = mpmath.diff(lambda s: _network_in_mpmath(theta, [s]), position, 2)
            terms.append((curvature + mpmath.mpf(float(source))) ** 2)
        return mpmath.fsum(terms) / 6

    theta = model.parameters.value
    own, gradient = _poisson(model, x, f)
    with mpmath.workdps(40):
        assert own == pytest.approx(float(cost([mpmath.mpf(float(p)) for p in theta])), rel=1e-13)
    expected = _gradient_in_mpmath(cost, theta)
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-13)


class Flow(Layer):
    """(q̇, ṗ) = (∂H/∂p, −∂H/∂q) for rows (q, p), with a network for H."""

    energy: Layer

    def build(self, input_shape):
        if not self.energy.is_built:
            self.energy.build(input_shape)

    def forward(self, x):
        self.x = x
        _, gradient, _ = derivatives.vjp(self.energy, x, np.ones((len(x), 1), x.dtype))
        return turned(gradient)

    def backward(self, delta):
        v = -turned(delta)  # turning by 90° back
        x = Dual(self.x, v, derivatives.unused_level(self.energy, self.x, v))
        ones = np.ones((len(delta), 1), delta.dtype)
        _, dx, dparameters = derivatives.vjp(self.energy, x, ones)
        self.energy.parameters.accumulate(dparameters.tangent)
        return dx.tangent


def turned(rows):
    """(a, b) ↦ (b, −a)."""
    half = rows.shape[1] // 2
    return np.concatenate([rows[:, half:], -rows[:, :half]], axis=1)


def _flow(seed=0):
    flow = Flow(_network(2, seed))
    flow.build((2,), rng=seed)
    return flow


def test_the_gradient_of_a_hamiltonian_network_is_that_of_mpmath():
    flow, rng = _flow(), np.random.default_rng(2)
    x, t = rng.normal(size=(2, 3, 2))

    def cost(theta):
        terms = []
        for row, target in zip(x.tolist(), t.tolist(), strict=True):
            energy = lambda q, p: _network_in_mpmath(theta, [q, p])  # noqa: E731
            by_q, by_p = (mpmath.diff(energy, row, order) for order in ((1, 0), (0, 1)))
            terms += [(by_p - target[0]) ** 2, (-by_q - target[1]) ** 2]
        return mpmath.fsum(terms) / 6

    theta = flow.parameters.value
    own, gradient = derivatives.value_and_gradient(flow, losses.HalfSquaredError(), x, t)
    with mpmath.workdps(40):
        assert own == pytest.approx(float(cost([mpmath.mpf(float(p)) for p in theta])), rel=1e-13)
    expected = _gradient_in_mpmath(cost, theta)
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.peers
def test_gradients_of_first_and_second_derivatives_are_pytorchs(torch):
    flow, rng = _flow(3), np.random.default_rng(4)
    x, t = rng.normal(size=(2, 5, 2))
    theta = torch.tensor(flow.parameters.value, requires_grad=True)

    def network(rows):
        width = rows.shape[1]
        hidden = torch.tanh(rows @ theta[: 3 * width].reshape(width, 3) + theta[-7:-4])
        return hidden @ theta[-4:-1] + theta[-1]

    rows = torch.tensor(x, requires_grad=True)
    (by_x,) = torch.autograd.grad(network(rows).sum(), rows, create_graph=True)
    field = torch.stack([by_x[:, 1], -by_x[:, 0]], dim=1)
    cost = 0.5 * ((field - torch.tensor(t)) ** 2).sum(dim=1).mean()
    (expected,) = torch.autograd.grad(cost, theta)
    _, gradient = derivatives.value_and_gradient(flow, losses.HalfSquaredError(), x, t)
    np.testing.assert_allclose(gradient, expected.numpy(), rtol=1e-12, atol=1e-14)

    model = _network(1, 5)
    theta = torch.tensor(model.parameters.value, requires_grad=True)
    rows = torch.tensor(x[:, :1], requires_grad=True)
    (slope,) = torch.autograd.grad(network(rows).sum(), rows, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), rows, create_graph=True)
    cost = 0.5 * ((curvature + torch.tensor(t[:, :1])) ** 2).mean()
    (expected,) = torch.autograd.grad(cost, theta)
    _, gradient = _poisson(model, x[:, :1], t[:, :1])
    np.testing.assert_allclose(gradient, expected.numpy(), rtol=1e-12, atol=1e-14)


# --- layers that differentiate a network --------------------------------------------------------


def test_a_layer_that_differentiates_its_network_keeps_every_law():
    network = Sequential([Dense(4), Residual(Dense(4), Activation("tanh")), Dense(1)])
    report = check_layer(Flow(network), (4,))
    assert report.ok
    assert "by central differences:" not in str(report)


def test_hvp_through_a_layer_that_differentiates_its_network_is_the_slope_of_the_gradient():
    model = Sequential([Dense(2), _flow(), Activation("sin"), _flow(1)])
    model.build((3,), rng=0)
    rng, loss = np.random.default_rng(0), losses.HalfSquaredError()
    x, t = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    u, v = rng.normal(size=(2, model.parameters.size))
    hv, hu = (derivatives.hvp(model, loss, x, t, w) for w in (v, u))
    assert u @ hv == pytest.approx(v @ hu, rel=1e-11)
    theta, gradients = model.parameters.value.copy(), []
    for step in (1e-5, -1e-5):
        model.parameters.value = theta + step * v
        gradients.append(derivatives.value_and_gradient(model, loss, x, t)[1])
    np.testing.assert_allclose(
        hv, (gradients[0] - gradients[1]) / 2e-5, rtol=1e-6, atol=1e-6 * abs(hv).max()
    )


def test_an_unused_level_keeps_two_velocities_apart():
    # The parameters move, the rows do not, and the layer inside makes dual numbers of its own.
    flow, rng = _flow(), np.random.default_rng(0)
    x, v = rng.normal(size=(4, 2)), rng.normal(size=flow.parameters.size)
    replica = derivatives.Replica(flow, v)
    delta = rng.normal(size=(4, 2))
    y, back = replica.forward(x), replica.backward(delta)
    np.testing.assert_allclose(
        y.tangent, derivatives.jvp(flow, x, dparameters=v)[1], rtol=1e-13, atol=1e-15
    )
    theta, results = flow.parameters.value.copy(), []
    for step in (1e-5, -1e-5):
        flow.parameters.value = theta + step * v
        results.append(derivatives.vjp(flow, x, delta))
    for found, n in ((back.tangent, 1), (replica.gradient().tangent, 2)):
        slope = (results[0][n] - results[1][n]) / 2e-5
        np.testing.assert_allclose(found, slope, rtol=1e-6, atol=1e-8)


class Summed(Layer):
    """y = x w, elementwise; adds to the gradient in place."""

    def build(self, input_shape):
        self.weights = self.parameter("weights", input_shape, "ones")

    def forward(self, x):
        self.x = x
        return x**2 * self.weights.value

    def backward(self, delta):
        self.weights.grad += (self.x**2 * delta).sum(axis=0)
        return 2 * self.x * self.weights.value * delta


def test_a_gradient_that_is_added_in_place_takes_dual_numbers():
    layer, rng = Summed(), np.random.default_rng(0)
    layer.build((2,))
    x, v, u, delta = rng.normal(size=(4, 3, 2))
    _, _, gradient = derivatives.vjp(layer, Dual(Dual(x, v), u), delta)
    np.testing.assert_allclose(gradient.value.tangent, (2 * x * v * delta).sum(axis=0), rtol=1e-13)
    np.testing.assert_allclose(gradient.tangent.tangent, (2 * u * v * delta).sum(axis=0))


# --- the replica ----------------------------------------------------------------------------------


def test_a_replica_leaves_no_trace_in_the_model():
    model = Sequential([Dense(3), unusual_layers.BatchNorm(), unusual_layers.Dropout(0.4)])
    model.build((3,), rng=0)
    rng = np.random.default_rng(0)
    x, v = rng.normal(size=(2, 4, 3))
    y = model.forward(x)
    model.backward(y)
    before = model.parameters.value.copy(), model.buffers.value.copy(), model.parameters.grad.copy()
    states = {path: g.bit_generator.state for path, g in model.generators.items()}
    replica = derivatives.Replica(model)
    delta = replica.forward(Dual(2 * x, v))
    replica.backward(delta)
    assert np.any(replica.gradient().tangent != 0)
    after = model.parameters.value, model.buffers.value, model.parameters.grad
    for one, two in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, two)
    assert states == {path: g.bit_generator.state for path, g in model.generators.items()}
    model.parameters.zero_grad()
    model.backward(y)  # along the pass from before
    np.testing.assert_array_equal(model.parameters.grad, before[2])


def test_the_gradients_of_a_replica_add_up_and_are_reset():
    model, rng = _network(2), np.random.default_rng(0)
    x, v = rng.normal(size=(2, 4, 2))
    replica = derivatives.Replica(model)
    delta = np.ones_like(replica.forward(Dual(x, v)))
    replica.backward(delta)
    once = replica.gradient()
    replica.backward_parameters(delta)
    twice = replica.gradient()
    np.testing.assert_allclose(twice.tangent, 2 * once.tangent, rtol=1e-14)
    replica.zero_grad()
    replica.backward(delta)
    np.testing.assert_array_equal(replica.gradient().tangent, once.tangent)


def test_without_dual_numbers_a_replica_returns_arrays():
    model, x = _network(2), np.ones((4, 2))
    replica = derivatives.Replica(model)
    y = replica.forward([[1.0, 1.0]] * 4)
    assert type(y) is type(replica.backward(y)) is type(replica.gradient()) is np.ndarray
    np.testing.assert_array_equal(replica.gradient(), derivatives.vjp(model, x, y)[2])


def test_frozen_parameters_have_gradients_of_derivatives():
    model, x = _network(2), np.ones((4, 2))
    expected = derivatives.vjp(model, Dual(x, 1.0), np.ones((4, 1)))[2]
    model.freeze()
    found = derivatives.vjp(model, Dual(x, 1.0), np.ones((4, 1)))[2]
    np.testing.assert_array_equal(found.tangent, expected.tangent)
    assert np.any(found.tangent != 0)


def test_float32_stays_float32_in_gradients_of_derivatives():
    model = Sequential([Dense(3), Activation("gelu"), Dense(1)])
    model.build((2,), rng=0, dtype="float32")
    x = np.ones((4, 2), "f")
    y, dx, gradient = derivatives.vjp(model, Dual(Dual(x, 1.0), 1.0), np.ones((4, 1)))
    for found in (y, dx, gradient):
        assert found.tangent.tangent.dtype == np.float32


def test_a_replica_needs_a_built_model_and_a_direction_that_fits():
    with pytest.raises(BuildError, match="not built"):
        derivatives.Replica(Sequential([Dense(2)]))
    with pytest.raises(ShapeError, match="expected  \\(13,\\)"):
        derivatives.Replica(_network(2), np.ones(7))


def test_inside_apply_a_layer_differentiates_what_its_network_applies():
    flow, x = _flow(), np.random.default_rng(0).normal(size=(4, 2))
    np.testing.assert_array_equal(flow(x), flow.forward(x))
    drops = Flow(Sequential([Dense(3), unusual_layers.Dropout(0.4), Dense(1)]))
    drops.build((2,), rng=0)
    assert drops.backward(drops.forward(x)).shape == (4, 2)  # in training it drops
    with pytest.raises(ConfigurationError, match="no backward pass through the apply of Dropout"):
        drops(x)


@pytest.mark.parametrize("is_zeroed", [False, True])
def test_a_dual_that_reaches_a_gradient_of_the_model_is_an_error_that_names_the_replica(is_zeroed):
    model, x = _network(2), np.ones((4, 2))
    if is_zeroed:
        model.parameters.zero_grad()
    y = model.forward(Dual(x, 1.0))
    with pytest.raises(NoTangentRuleError, match="is a plain array and cannot hold") as caught:
        model.backward(np.ones_like(y))
    assert "derivatives.Replica(model)" in str(caught.value)
    np.testing.assert_array_equal(model.parameters.grad, np.zeros(model.parameters.size))
