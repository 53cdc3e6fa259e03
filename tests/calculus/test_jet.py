"""Jets agree with nested dual numbers, in every layer and in NumPy's functions."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import Activation, Dense, Dual, Layer, Sequential, derivatives, physics
from chainrule.calculus.jet import Jet, JetDelta
from chainrule.core.errors import NoTangentRuleError, ShapeError
from chainrule.core.input_checks import as_tuple
from laws.formulas import FORMULAS
from laws.library import LIBRARY, PHYSICS

PAIRS = ((0, 0), (0, 1))
KINDS = (None, 0, 1, (0, 0), (0, 1))
"""What each part is the derivative along."""

LAYERS = [
    (layer, shape if shape and isinstance(shape[0], tuple) else (shape,))
    for layer, shape in [*LIBRARY, *FORMULAS, *PHYSICS]
    if not getattr(layer, "stateful", False)
    and not isinstance(layer, physics.Hamiltonian | physics.Lagrangian)
]


def part_of(x, kind):
    """The value, tangent, or tangent of the tangent of nested dual numbers."""
    if kind is None:
        return x
    return x.tangent if isinstance(kind, int) else x.tangent.tangent


def nested(x, v, kind):
    """x as a dual number, or one of dual numbers, that moves along these directions."""
    if kind is None:
        return x
    if isinstance(kind, int):
        return Dual(x, v[kind])
    return Dual(Dual(x, v[kind[0]]), v[kind[1]])


def jets(x, v):
    return Jet(np.concatenate([x[None], v, np.zeros((2, *x.shape))]), PAIRS, 1)


@pytest.mark.parametrize(
    ("layer", "shapes"), [pytest.param(*each, id=f"{each[0]!r:.40} {each[1]}") for each in LAYERS]
)
def test_both_passes_of_every_layer_agree_with_nested_dual_numbers(layer, shapes):
    layer, rng = layer.unbuilt(), np.random.default_rng(0)
    layer.build(*shapes, rng=0)
    if layer.couples_batch or layer.generators or any(m.couples_batch for _, m in layer.walk()):
        assert layer.buffers or layer.generators
        return  # such layers need the whole batch, or new random numbers in each pass
    xs = [rng.uniform(0.2, 1.2, size=(3, *shape)) for shape in shapes]
    vs = [rng.normal(size=(2, *x.shape)) for x in xs]
    layer.parameters.zero_grad()
    outputs = layer.forward(*map(jets, xs, vs))
    deltas = [rng.normal(size=y.parts.shape) for y in as_tuple(outputs)]
    given = tuple(JetDelta(delta, PAIRS, 1) for delta in deltas)
    back = as_tuple(layer.backward(given if isinstance(outputs, tuple) else given[0]))
    gradient, dxs = np.zeros(layer.parameters.size), [0.0] * len(xs)
    for n, kind in enumerate(KINDS):
        replica = derivatives.Replica(layer)
        y = replica.forward(*(nested(x, v, kind) for x, v in zip(xs, vs, strict=True)))
        for one, other in zip(as_tuple(y), as_tuple(outputs), strict=True):
            np.testing.assert_allclose(other.parts[n], part_of(one, kind), rtol=1e-11, atol=1e-11)
        # With a constant delta, the tangent of Jᵀ Δ is the gradient of the derivative along v.
        plain = tuple(delta[n] for delta in deltas)
        dx = as_tuple(replica.backward(plain if isinstance(y, tuple) else plain[0]))
        gradient = gradient + part_of(replica.gradient(), kind)
        dxs = [a + part_of(b, kind) for a, b in zip(dxs, dx, strict=True)]
    scale = max(1.0, np.abs(gradient).max(initial=0))
    np.testing.assert_allclose(layer.parameters.grad, gradient, rtol=0, atol=1e-11 * scale)
    for one, other in zip(back, dxs, strict=True):
        size = max(1.0, np.abs(other).max(initial=0))
        np.testing.assert_allclose(one.constant_part, other, rtol=0, atol=1e-11 * size)


FUNCTIONS = {
    "polynomial": lambda x, y: x**3 - 2 * x * y + 1 / y,
    "quotient": lambda x, y: (x - 1) / (2 + y) + 3 / x,
    "power": lambda x, y: x**y + 2**x + x**0.5,
    "exponentials": lambda x, y: np.exp(x) * np.log(y) + np.expm1(-x) + np.log1p(y),
    "circles": lambda x, y: np.sin(x) * np.cos(y) + np.arctan2(x, y) + np.tan(x / 2),
    "hyperbolic": lambda x, y: np.tanh(x) + np.cosh(y) - np.sinh(x * y) + np.arctan(y),
    "root": lambda x, y: np.sqrt(x) + np.cbrt(y) + np.hypot(x, y) + np.square(x),
    "absolute": lambda x, y: np.abs(x - 0.7) + np.sign(x) * y + np.maximum(x, y),
    "choice": lambda x, y: np.where(x > 0.6, x * y, y) + np.clip(x, 0.4, 0.8) * y,
    "sums": lambda x, y: x.sum(axis=1, keepdims=True) * y + np.mean(x * y) + y.mean(axis=0),
    "cumulative": lambda x, y: np.cumsum(x * x, axis=1) + np.cumprod(y, axis=1),
    "shapes": lambda x, y: x.reshape(-1)[::-1].reshape(x.shape) * y.T.swapaxes(0, 1),
    "joined": lambda x, y: np.concatenate([x * x, y], axis=1)[:, 1:4] * np.stack([y, x])[0],
    "joined with constants": lambda x, y: np.concatenate([np.ones((4, 1)), x * y], axis=1),
    "indices": lambda x, y: x[[0, 2, 1, 1]] * y,
    "lists": lambda x, y: x[[0, 1, 2], [2, 1, 0]] * y[:3, 0],
    "lists and numbers": lambda x, y: _cubic(x, y)[0, :, [2, 1, 0]] * y[:3],
    "a list and a new axis": lambda x, y: _cubic(x, y)[[2, 1, 0], None, 1] + y[0],
    "tuples": lambda x, y: _cubic(x, y)[(0, 1, 2), :, (0, 1, 2)] * y[:3],
    "written to lists and numbers": lambda x, y: _placed(x, y),
    "masks": lambda x, y: np.sum(x[x > 0.6]) * y,
    "matrices": lambda x, y: (x.T @ y) @ np.dot(y.T, x) + np.einsum("ij,ik->jk", x, y),
    "stacks": lambda x, y: np.matmul(x[:, None, :], y[:, :, None])[:, 0] + np.tensordot(x, y, 2),
    "norm": lambda x, y: x / np.linalg.norm(y, axis=1, keepdims=True),
    "solved": lambda x, y: np.linalg.solve(x[:3] + 3 * np.eye(3), y[:3]),
    "extremes": lambda x, y: np.max(x * y, axis=1) - np.min(y, axis=1) + np.prod(x, axis=1),
    "sorted": lambda x, y: np.sort(x * y, axis=1) + np.var(x, axis=1, keepdims=True),
    "complex": lambda x, y: np.abs(x * np.exp(1j * y) + 1) ** 2 + np.real((x + 1j) * (1j - y)),
    "padded": lambda x, y: np.pad(x * y, 1) * 2.0,
    "written": lambda x, y: _written(x, y),
    "numbers in place": lambda x, y: _numbers_in_place(x, y),
    "filled": lambda x, y: _filled(x, y) * x,
    "in place": lambda x, y: _in_place(x, y),
    "transposed": lambda x, y: np.transpose(x * y, (1, 0)) @ np.moveaxis(x, 0, -1).T,
    "outer": lambda x, y: np.multiply.outer(x[0], y[1]) + np.outer(x[1], y[0]),
    "broadcast": lambda x, y: np.broadcast_to(x[:1], x.shape) * y + x[0] * y[:, :1] + np.ones(3),
    "rolled": lambda x, y: np.roll(x, 1, axis=1) * np.flip(y, axis=0) + np.repeat(x[:2], 2, axis=0),
}


def _cubic(x, y):
    return x[:3, None] * y[None, :3]


def _placed(x, y):
    z = np.zeros_like(_cubic(x, y))
    z[0, :, [2, 1, 0]] = x[:3] * y[:3]
    return z


def _numbers_in_place(x, y):
    x = x * 1.0
    held = x[0, 0]
    x[0, 0] = x[0, 1]  # swapped
    x[0, 1] = held
    total, first = x[0, 0] * y[0, 0], x[0, 1]
    old = total
    total += y[1, 1]
    total *= x[1, 0]
    total -= 0.5
    first /= y[0, 0]
    first **= 2
    return total * x + old * y + first


def _filled(x, y):
    z = np.empty_like(x)
    z[:2], z[2:] = x[:2] * y[2:], 1.0
    np.add.at(z, (slice(None), np.array([0, 0, 1])), y)
    return z


def _written(x, y):
    z = np.zeros_like(x)
    z[:, 1:] = x[:, :-1] * y[:, 1:]
    z[0] = 1.5
    z[[1, 2], [0, 2]] = y[[1, 2], [1, 1]]
    w = np.ones((4, 3), like=x)
    np.copyto(w, z)
    np.copyto(w, x[:, ::-1], where=np.eye(4, 3, dtype=bool))
    return w * z


def _in_place(x, y):
    z = x * 1.0
    z += y
    z *= x
    z -= 0.5
    z /= y
    return z


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_numpy_agree_with_nested_dual_numbers(name):
    function, rng = FUNCTIONS[name], np.random.default_rng(1)
    x, y = rng.uniform(0.3, 1.1, size=(2, 4, 3))
    v, w = rng.normal(size=(2, 2, 4, 3))
    z = function(jets(x, v), jets(y, w))
    for n, kind in enumerate(KINDS):
        expected = part_of(function(nested(x, v, kind), nested(y, w, kind)), kind)
        np.testing.assert_allclose(z.parts[n], expected, rtol=1e-11, atol=1e-11)


def test_the_parts_of_a_polynomial_by_hand():
    # y = x² z along x(ε) = 3 + 2 ε₀ + ε₁, z = 5 + ε₁: y₀ = 2 · 3 · 2 · 5 = 60, y₁ = 6 · 5 + 9 = 39,
    # y₀₀ = 2 · 2² · 5 = 40, y₀₁ = 2 · 2 · 1 · 5 + 2 · 3 · 2 · 1 = 32.
    x = Jet(np.array([3.0, 2.0, 1.0, 0.0, 0.0]), PAIRS)
    z = Jet(np.array([5.0, 0.0, 1.0, 0.0, 0.0]), PAIRS)
    np.testing.assert_array_equal((x**2 * z).parts, [45.0, 60.0, 39.0, 40.0, 32.0])


def test_second_derivatives_at_zero_by_hand():
    # ∂²(xᵃ)/∂x∂a = xᵃ⁻¹ (1 + a ln x), and sin(πx)/(πx) = 1 − (πx)²/6 + …
    base = Jet(np.array([4.0, 1.0, 0.0, 0.0]), ((0, 1),))
    exponent = Jet(np.array([0.0, 0.0, 1.0, 0.0]), ((0, 1),))
    expected = [1.0, 0.0, np.log(4.0), 1 / 4]
    np.testing.assert_allclose(np.power(base, exponent).parts, expected)
    np.testing.assert_allclose((base**exponent).parts, expected)
    zero = Jet(np.array([0.0, 1.0, 0.0]), ((0, 0),))
    np.testing.assert_allclose(np.sinc(zero).parts, [1.0, 0.0, -(np.pi**2) / 3])


def test_jets_of_jets_give_third_derivatives():
    inner = Jet(np.array([2.0, 1.0, 0.0]), ((0, 0),))
    parts = np.zeros((2,), like=inner)
    parts[0] = inner
    parts[1] = 1.0
    y = Jet(parts) ** 4
    assert float(y.first[0].second[0]) == 4 * 3 * 2 * 2.0  # the third derivative of x⁴ at 2


def test_jets_of_dual_numbers_give_third_derivatives():
    x = Dual(np.array([2.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0]))
    y = np.exp(Jet(x, ((0, 0),)))
    np.testing.assert_allclose(y.parts.tangent, np.exp(2.0) * np.ones(3), rtol=1e-15)


# ---- what is refused


@pytest.mark.parametrize("kind", [physics.Hamiltonian, physics.Lagrangian])
def test_the_motion_of_a_network_has_derivatives_but_no_gradient_of_them(kind):
    # Its backward moves x along the delta, and a jet cannot move along several deltas.
    network = Sequential([Dense(4), Activation("tanh"), Dense(1)])
    layer = physics.Derivatives(kind(network))
    layer.build((4,), rng=0)
    x = np.random.default_rng(0).normal(size=(3, 4))
    y, first = layer.forward(x)
    np.testing.assert_allclose(first, derivatives.jacobian(layer.network, x), rtol=1e-9, atol=1e-12)
    with pytest.raises(NoTangentRuleError, match="not linear in it"):
        layer.backward((y, first))


def test_what_would_lose_derivatives_is_a_named_error():
    x = Jet(np.ones((3, 2)), ((0, 0),))
    with pytest.raises(NoTangentRuleError):
        np.asarray(x)
    with pytest.raises(NoTangentRuleError):
        float(x[0])
    with pytest.raises(NoTangentRuleError):
        np.zeros(2)[...] = x
    with pytest.raises(NoTangentRuleError, match="lose"):
        np.add(np.ones(2), x, out=np.zeros(2))
    with pytest.raises(NoTangentRuleError, match="full_like"):
        np.full_like(np.ones(4), x[0])
    with pytest.raises(NoTangentRuleError, match="copyto"):
        np.copyto(np.ones(2), x, where=np.array([True, False]))
    with pytest.raises(NoTangentRuleError, match="no tangent rule"):
        np.unique(x)
    with pytest.raises(ShapeError, match="too few parts"):
        Jet(np.ones((2, 3)), PAIRS)
    with pytest.raises(NoTangentRuleError, match="level"):
        Jet(Dual(1.0, 1.0) * np.ones(3), level=1)


def test_a_backward_that_is_not_linear_in_delta_is_a_named_error():
    delta = JetDelta(np.ones((5, 2)), PAIRS, 1)
    for wrong in (
        lambda d: d * d,
        lambda d: np.exp(d),
        lambda d: np.abs(d),
        lambda d: np.maximum(d, 0),
        lambda d: np.max(d),
        lambda d: 1 / d,
        lambda d: d**2,
        lambda d: d @ d,
        lambda d: d + Jet(np.ones((5, 2)), PAIRS, 1),
    ):
        with pytest.raises(NoTangentRuleError, match="not linear in it"):
            wrong(delta)


# ---- several directions at once


class Orbit(Layer):
    """Ten steps of the Runge–Kutta method for a pendulum with friction: a layer of one's own."""

    def build(self, input_shape):
        self.rates = self.parameter("rates", (2,), 0.3)

    def forward(self, x):
        for _ in range(10):
            k1 = self.slope(x)
            k2 = self.slope(x + 0.05 * k1)
            k3 = self.slope(x + 0.05 * k2)
            k4 = self.slope(x + 0.1 * k3)
            x = x + 0.1 / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return x

    def slope(self, x):
        q, p = x[:, 0], x[:, 1]
        rates = self.rates.value
        return np.stack([p, -rates[0] * np.sin(q) - rates[1] * p], axis=1)


@pytest.mark.parametrize("layer", ["network", "orbit"])
def test_several_directions_give_the_products_of_each(layer):
    network = Sequential([Dense(4), Activation("tanh"), Dense(2)])
    model = network if layer == "network" else Orbit()
    model.build((2,), rng=0)
    rng, size = np.random.default_rng(0), model.parameters.size
    x, dx = rng.normal(size=(5, 2)), rng.normal(size=(3, 5, 2))
    directions = rng.normal(size=(3, size))
    for given in ((dx, None), (None, directions), (dx, directions)):
        y, together = derivatives.jvp(model, x, *given)
        np.testing.assert_array_equal(y, model(x))
        for n in range(3):
            one = [None if v is None else v[n] for v in given]
            np.testing.assert_allclose(
                together[n], derivatives.jvp(model, x, *one)[1], rtol=1e-12, atol=1e-14
            )


def test_a_layer_that_writes_its_buffers_takes_one_direction_after_the_other():
    from chainrule import BatchNorm

    model = Sequential([Dense(3), BatchNorm(), Dense(2)])
    model.build((2,), rng=0)
    rng = np.random.default_rng(0)
    x, dx = rng.normal(size=(5, 2)), rng.normal(size=(3, 5, 2))
    before = model.buffers.value.copy()
    y, together = derivatives.jvp(model, x, dx)
    assert y.shape == (5, 2) and np.array_equal(model.buffers.value, before)
    for n in range(3):
        np.testing.assert_allclose(together[n], derivatives.jvp(model, x, dx[n])[1], rtol=1e-12)


def test_directions_that_do_not_fit_are_named():
    model = Sequential([Dense(2)])
    model.build((2,), rng=0)
    x = np.ones((5, 2))
    with pytest.raises(ShapeError, match="different numbers of directions"):
        derivatives.jvp(model, x, np.ones((3, 5, 2)), np.ones((2, 6)))
    with pytest.raises(ShapeError, match="dx has the wrong shape"):
        derivatives.jvp(model, x, np.ones((3, 4, 2)))
    with pytest.raises(ShapeError, match="do not fit the parameters"):
        derivatives.jvp(model, x, None, np.ones((3, 5)))
