"""Derivatives of whole models, against closed forms, difference quotients and each other."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from attrs import define
from hypothesis import given, settings

from chainrule import (
    Activation,
    Add,
    Dense,
    Dual,
    Flatten,
    Graph,
    Input,
    Layer,
    Multiply,
    Reshape,
    Residual,
    Sequential,
    Softmax,
    derivatives,
    losses,
)
from chainrule.core.errors import BuildError, ConfigurationError, ShapeError
from laws import unusual_layers


def _model(seed: int, *layers, width: int = 3, dtype: str = "float64"):
    model = Sequential(list(layers))
    model.build((width,), rng=seed, dtype=dtype)
    return model


@st.composite
def problems(draw):
    """A smooth model, a loss, data and a generator."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    names = st.sampled_from(["tanh", "sigmoid", "softplus", "gelu", "silu", "sin", "gaussian"])
    shared = Dense(4)
    layers = [Dense(4), Activation(draw(names)), shared, Activation(draw(names)), shared, Dense(2)]
    if draw(st.booleans()):
        layers.append(Softmax())
    model = _model(seed, *layers)
    loss = draw(
        st.sampled_from(
            [losses.HalfSquaredError(), losses.MeanSquaredError(), losses.SoftmaxCrossEntropy()]
        )
    )
    x, t = rng.normal(size=(5, 3)), rng.uniform(size=(5, 2))
    return model, loss, x, t, rng


def _moved(model, loss, x, t, v, step):
    """The gradient after a step of the parameters along v."""
    theta = model.parameters.value.copy()
    try:
        model.parameters.value = theta + step * v
        return derivatives.value_and_gradient(model, loss, x, t)
    finally:
        model.parameters.value = theta


@given(problems())
@settings(max_examples=30)
def test_the_gradient_is_the_slope_of_the_cost(problem):
    model, loss, x, t, rng = problem
    v = rng.normal(size=model.parameters.size)
    cost, gradient = derivatives.value_and_gradient(model, loss, x, t)
    prefetch, behind = (_moved(model, loss, x, t, v, step)[0] for step in (1e-5, -1e-5))
    assert isinstance(cost, float)
    assert cost == float(loss(model(x), t))
    assert (prefetch - behind) / 2e-5 == pytest.approx(gradient @ v, rel=1e-6, abs=2e-7)


@given(problems())
@settings(max_examples=30)
def test_hvp_is_the_derivative_of_the_gradient_and_symmetric(problem):
    model, loss, x, t, rng = problem
    u, v = rng.normal(size=(2, model.parameters.size))
    hv = derivatives.hvp(model, loss, x, t, v)
    prefetch, behind = (_moved(model, loss, x, t, v, step)[1] for step in (1e-5, -1e-5))
    np.testing.assert_allclose(hv, (prefetch - behind) / 2e-5, rtol=1e-6, atol=1e-7)
    hu = derivatives.hvp(model, loss, x, t, u)
    assert u @ hv == pytest.approx(v @ hu, rel=1e-10, abs=1e-12)


@given(problems())
@settings(max_examples=30)
def test_jvp_and_vjp_are_adjoint(problem):
    model, _, x, _, rng = problem
    dx, dtheta = rng.normal(size=x.shape), rng.normal(size=model.parameters.size)
    y, dy = derivatives.jvp(model, x, dx, dtheta)
    u = rng.normal(size=y.shape)
    again, back, gradient = derivatives.vjp(model, x, u)
    np.testing.assert_array_equal(y, again)
    left, right = np.vdot(u, dy), np.vdot(back, dx) + gradient @ dtheta
    assert left == pytest.approx(right, rel=1e-12, abs=1e-13)


def test_hvp_of_a_linear_model_is_the_normal_matrix():
    # C = ½⟨|x w − t|²⟩ has the Hessian ⟨x xᵀ⟩ for each column of w, by hand.
    rng = np.random.default_rng(3)
    model = _model(0, Dense(2, use_bias=False))
    x, t, v = rng.normal(size=(6, 3)), rng.normal(size=(6, 2)), rng.normal(size=6)
    expected = (x.T @ x / 6) @ v.reshape(3, 2)
    found = derivatives.hvp(model, losses.HalfSquaredError(), x, t, v)
    np.testing.assert_allclose(found.reshape(3, 2), expected, rtol=1e-13)


def test_jacobians_of_a_dense_layer_are_its_weights_and_its_input():
    rng = np.random.default_rng(1)
    layer = Dense(2)
    layer.build((3,), rng=0)
    x = rng.normal(size=(4, 3))
    by_input = derivatives.jacobian(layer, x)
    assert by_input.shape == (4, 2, 3)
    for row in by_input:
        np.testing.assert_array_equal(row, layer.weights.value.T)
    by_parameters = derivatives.jacobian(layer, x, with_respect_to="parameters")
    assert by_parameters.shape == (4, 2, 8)
    for row, n in ((row, n) for n, row in enumerate(by_parameters)):
        for k in range(2):
            by_weights = np.zeros((3, 2))
            by_weights[:, k] = x[n]
            expected = np.concatenate([by_weights.ravel(), np.eye(2)[k]])
            np.testing.assert_array_equal(row[k], expected)


@given(problems())
@settings(max_examples=15)
def test_per_sample_gradients_average_to_the_gradient(problem):
    model, loss, x, t, _ = problem
    rows = derivatives.per_sample_gradients(model, loss, x, t)
    assert rows.shape == (5, model.parameters.size)
    gradient = derivatives.value_and_gradient(model, loss, x, t)[1]
    np.testing.assert_allclose(rows.mean(axis=0), gradient, rtol=1e-11, atol=1e-13)
    alone = derivatives.value_and_gradient(model, loss, x[2:3], t[2:3])[1]
    np.testing.assert_allclose(rows[2], alone, rtol=1e-12, atol=1e-14)


def test_sample_weights_weigh_the_rows():
    rng = np.random.default_rng(0)
    model, loss = _model(0, Dense(2)), losses.HalfSquaredError()
    x, t, weights = rng.normal(size=(4, 3)), rng.normal(size=(4, 2)), np.array([0.0, 1.0, 2.0, 0.5])
    rows = derivatives.per_sample_gradients(model, loss, x, t)
    found = derivatives.value_and_gradient(model, loss, x, t, sample_weights=weights)[1]
    np.testing.assert_allclose(found, weights @ rows / 4, rtol=1e-12)


def test_nothing_leaves_a_trace_in_the_model():
    rng = np.random.default_rng(0)
    model = _model(0, Dense(4), Activation("tanh"), Dense(2))
    loss, x, t = losses.HalfSquaredError(), rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    y = model.forward(x)
    model.backward(loss.delta(y, t))
    theta, grad = model.parameters.value.copy(), model.parameters.grad.copy()
    v = np.ones_like(theta)
    derivatives.value_and_gradient(model, loss, 2 * x, t)
    derivatives.hvp(model, loss, 2 * x, t, v)
    derivatives.jvp(model, 2 * x, x, v)
    derivatives.jacobian(model, 2 * x)
    derivatives.per_sample_gradients(model, loss, 2 * x, t)
    np.testing.assert_array_equal(model.parameters.value, theta)
    np.testing.assert_array_equal(model.parameters.grad, grad)
    model.parameters.zero_grad()
    model.backward(loss.delta(y, t))  # along the pass from before
    np.testing.assert_array_equal(model.parameters.grad, grad)


def test_float32_stays_float32():
    rng = np.random.default_rng(0)
    model = _model(0, Dense(4), Activation("gelu"), Dense(2), dtype="float32")
    loss = losses.HalfSquaredError()
    x, t = rng.normal(size=(4, 3)).astype("f"), rng.normal(size=(4, 2)).astype("f")
    v = np.ones(model.parameters.size)
    assert derivatives.value_and_gradient(model, loss, x, t)[1].dtype == np.float32
    assert derivatives.hvp(model, loss, x, t, v).dtype == np.float32
    assert derivatives.jvp(model, x, x)[1].dtype == np.float32
    assert derivatives.jacobian(model, x).dtype == np.float32


@define
class Rotated(Layer):
    """Two inputs, two outputs: (a, b) ↦ (a b, a − b)."""

    def forward(self, a, b):
        self.a, self.b = a, b
        return a * b, a - b

    def backward(self, delta):
        product, difference = delta
        return product * self.b + difference, product * self.a - difference


def test_several_inputs_and_outputs_are_tuples():
    layer = Rotated()
    layer.build((2,), (2,))
    a, b, da, db = np.random.default_rng(0).normal(size=(4, 3, 2))
    y, dy = derivatives.jvp(layer, (a, b), (da, db))
    np.testing.assert_array_equal(y[0], a * b)
    np.testing.assert_allclose(dy[0], a * db + b * da, rtol=1e-14)
    np.testing.assert_allclose(dy[1], da - db, rtol=1e-14)
    _, back, gradient = derivatives.vjp(layer, (a, b), (da, db))
    np.testing.assert_allclose(back[0], da * b + db, rtol=1e-14)
    assert gradient.shape == (0,)


def test_what_does_not_fit_is_refused():
    model = _model(0, Dense(2))
    x, loss = np.ones((4, 3)), losses.HalfSquaredError()
    with pytest.raises(ShapeError, match="expected  \\(8,\\)"):
        derivatives.hvp(model, loss, x, np.ones((4, 2)), np.ones(7))
    with pytest.raises(ShapeError, match="expected  \\(4, 3\\)"):
        derivatives.jvp(model, x, np.ones((4, 2)))
    with pytest.raises(ShapeError, match="delta"):
        derivatives.vjp(model, x, np.ones((4, 3)))
    with pytest.raises(ConfigurationError, match="'input' or 'parameters'"):
        derivatives.jacobian(model, x, with_respect_to="weights")
    with pytest.raises(BuildError, match="not built"):
        derivatives.jvp(Sequential([Dense(2)]), x)


def test_rows_that_see_each_other_have_no_jacobian_of_their_own():
    @define
    class Centred(Layer):
        couples_batch = True

        def forward(self, x):
            return x - x.mean(axis=0)

        def backward(self, delta):
            return delta - delta.mean(axis=0)

    layer = Centred()
    layer.build((3,))
    with pytest.raises(ConfigurationError, match="couples_batch"):
        derivatives.jacobian(layer, np.ones((4, 3)))


@pytest.mark.peers
@given(problems())
@settings(max_examples=20)
def test_hvp_is_pytorchs(torch, problem):
    model, _, x, t, rng = problem
    functions = {
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "softplus": lambda z: torch.logaddexp(z, torch.zeros_like(z)),
        "silu": torch.nn.functional.silu,
        "gelu": torch.nn.functional.gelu,
        "sin": torch.sin,
        "gaussian": lambda z: torch.exp(-z * z / 2),
    }

    def cost(theta):
        y, start, seen = torch.tensor(x), 0, {}
        for layer in model:
            if isinstance(layer, Dense):
                if id(layer) not in seen:
                    shapes = [layer.weights.shape, layer.biases.shape]
                    parts = []
                    for shape in shapes:
                        size = int(np.prod(shape))
                        parts.append(theta[start : start + size].reshape(shape))
                        start += size
                    seen[id(layer)] = parts
                w, b = seen[id(layer)]
                y = y @ w + b
            elif isinstance(layer, Activation):
                y = functions[layer.function.name](y)
            else:
                y = torch.softmax(y, dim=-1)
        return 0.5 * ((y - torch.tensor(t)) ** 2).sum(dim=1).mean()

    v = rng.normal(size=model.parameters.size)
    theta = torch.tensor(model.parameters.value)
    _, expected = torch.autograd.functional.hvp(cost, theta, torch.tensor(v))
    found = derivatives.hvp(model, losses.HalfSquaredError(), x, t, v)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-9, atol=1e-11)


# --- several outputs, a loss for each ------------------------------------------------------------


def _two_outputs(seed=0):
    """Two outputs of a shared layer, and for each the graph that has it alone: the same layers."""
    x = Input((3,))
    hidden = Activation("tanh")(Dense(5)(x))
    outputs = [Dense(2)(hidden), Dense(3)(hidden)]
    both = Graph(x, outputs)
    both.build(rng=seed)
    alone = [Graph(x, output) for output in outputs]
    for graph in alone:
        graph.build()
    return both, alone


def _problem_of_two_outputs(seed=0):
    rng = np.random.default_rng(seed)
    x, t = rng.normal(size=(6, 3)), (rng.normal(size=(6, 2)), rng.integers(0, 3, 6))
    each = [losses.HalfSquaredError(), losses.SoftmaxCrossEntropy()]
    return x, t, each, rng


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_the_gradient_of_two_losses_is_the_weighted_sum_of_those_of_two_models(
    first, second, is_weighted, seed
):
    x, t, each, rng = _problem_of_two_outputs(seed)
    weights = rng.uniform(size=6) if is_weighted else None
    both, alone = _two_outputs(seed)
    loss = losses.PerOutput(each, weights=[first, second])
    cost, gradient = derivatives.value_and_gradient(both, loss, x, t, weights)
    expected, total = np.zeros_like(gradient), 0.0
    head = 3 * 5 + 5  # the shared layer stands in front, then the two heads
    sizes = [5 * 2 + 2, 5 * 3 + 3]
    starts = [head, head + sizes[0]]
    parts = zip((first, second), alone, each, t, starts, sizes, strict=True)
    for factor, model, own, target, start, size in parts:
        its_cost, its = derivatives.value_and_gradient(model, own, x, target, weights)
        expected[:head] += factor * its[:head]
        expected[start : start + size] = factor * its[head:]
        total += factor * its_cost
    assert cost == pytest.approx(total, rel=1e-14)
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-14)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_hvp_of_two_losses_is_the_derivative_of_their_gradient_and_symmetric(seed):
    x, t, each, rng = _problem_of_two_outputs(seed)
    model, _ = _two_outputs(seed)
    loss = losses.PerOutput(each, weights=[2.0, 0.5])
    u, v = rng.normal(size=(2, model.parameters.size))
    hv = derivatives.hvp(model, loss, x, t, v)
    prefetch, behind = (_moved(model, loss, x, t, v, step)[1] for step in (1e-5, -1e-5))
    np.testing.assert_allclose(hv, (prefetch - behind) / 2e-5, rtol=1e-6, atol=1e-7)
    hu = derivatives.hvp(model, loss, x, t, u)
    assert u @ hv == pytest.approx(v @ hu, rel=1e-10, abs=1e-12)


def test_per_sample_gradients_of_two_losses_average_to_the_gradient():
    x, t, each, _ = _problem_of_two_outputs()
    model, _ = _two_outputs()
    loss = losses.PerOutput(each, weights=[2.0, 0.5])
    rows = derivatives.per_sample_gradients(model, loss, x, t)
    gradient = derivatives.value_and_gradient(model, loss, x, t)[1]
    np.testing.assert_allclose(rows.mean(axis=0), gradient, rtol=1e-12, atol=1e-15)
    one = x[2:3], tuple(target[2:3] for target in t)
    alone = derivatives.value_and_gradient(model, loss, *one)[1]
    np.testing.assert_allclose(rows[2], alone, rtol=1e-12, atol=1e-14)


def test_per_sample_gradients_take_labels_in_a_tuple_where_there_is_one_output():
    x, (_, labels), (_, loss), _ = _problem_of_two_outputs()
    model = _model(0, Dense(3))
    np.testing.assert_array_equal(
        derivatives.per_sample_gradients(model, loss, x, tuple(labels.tolist())),
        derivatives.per_sample_gradients(model, loss, x, labels),
    )


def test_a_list_of_losses_raises_an_error_that_suggests_per_output():
    model = Sequential([Dense(2)])
    model.build((3,), rng=0)
    x, t = np.ones((4, 3)), np.ones((4, 2))
    for call in (
        lambda loss: derivatives.value_and_gradient(model, loss, x, t),
        lambda loss: derivatives.hvp(model, loss, x, t, np.ones(8)),
    ):
        with pytest.raises(ConfigurationError, match="PerOutput"):
            call([losses.HalfSquaredError()])
        with pytest.raises(ConfigurationError, match="loss is not a loss"):
            call("mse")


# --- several inputs and outputs ------------------------------------------------------------------


def _rotated(seed=0):
    """Two inputs of different widths, two outputs of different shapes, and shared parameters."""
    a, b = Input((3,)), Input((2,))
    shared = Dense(4)
    one, two = Activation("tanh")(shared(Dense(4)(a))), shared(Dense(4)(b))
    outputs = [Dense(2)(Residual(Dense(4))(Multiply()(one, two))), Reshape((2, 2))(Add()(one, two))]
    model = Graph([a, b], outputs)
    model.build(rng=seed)
    rng = np.random.default_rng(seed)
    model.parameters.value += rng.normal(size=model.parameters.size) / 3
    return model, (rng.normal(size=(5, 3)), rng.normal(size=(5, 2))), rng


def test_the_jacobian_of_two_inputs_and_two_outputs_is_a_tuple_of_tuples():
    layer = Rotated()
    layer.build((2,), (2,))
    a, b = np.random.default_rng(0).normal(size=(2, 4, 2))
    (product_a, product_b), (difference_a, difference_b) = derivatives.jacobian(layer, (a, b))
    for found, rows in ((product_a, b), (product_b, a), (difference_a, [1]), (difference_b, [-1])):
        expected = np.array(
            [np.diag(np.broadcast_to(row, 2)) for row in np.broadcast_to(rows, (4, 2))]
        )
        np.testing.assert_array_equal(found, expected)
    by_nothing = derivatives.jacobian(layer, (a, b), with_respect_to="parameters")
    assert [part.shape for part in by_nothing] == [(4, 2, 0), (4, 2, 0)]


def test_jacobians_of_several_inputs_and_outputs_give_the_products():
    model, x, rng = _rotated()
    by_input = derivatives.jacobian(model, x)
    by_parameters = derivatives.jacobian(model, x, with_respect_to="parameters")
    v, v_theta = tuple(rng.normal(size=a.shape) for a in x), rng.normal(size=model.parameters.size)
    _, dy = derivatives.jvp(model, x, v, v_theta)
    for output, shape in enumerate(((2,), (2, 2))):
        assert by_parameters[output].shape == (5, *shape, model.parameters.size)
        total = by_parameters[output] @ v_theta
        for one, direction in zip(by_input[output], v, strict=True):
            assert one.shape == (5, *shape, direction.shape[1])
            total = total + np.einsum("s...j,sj->s...", one, direction)
        np.testing.assert_allclose(total, dy[output], rtol=1e-12, atol=1e-13)


def test_with_one_input_or_one_output_the_jacobian_has_no_tuple_for_it():
    model, _ = _two_outputs()
    first, second = derivatives.jacobian(model, np.ones((4, 3)))
    assert (first.shape, second.shape) == ((4, 2, 3), (4, 3, 3))
    layer = Multiply()
    layer.build((3,), (3,))
    a, b = np.ones((2, 4, 3))
    left, right = derivatives.jacobian(layer, (a, 2 * b))
    np.testing.assert_array_equal(left, np.broadcast_to(2 * np.eye(3), (4, 3, 3)))
    np.testing.assert_array_equal(right, np.broadcast_to(np.eye(3), (4, 3, 3)))


def test_none_stands_for_an_input_that_does_not_move_and_for_a_delta_of_zeros():
    model, x, rng = _rotated()
    da, delta = rng.normal(size=x[0].shape), rng.normal(size=(5, 2))
    zeros = np.zeros_like(x[1]), np.zeros((5, 2, 2))
    for found, expected in (
        (derivatives.jvp(model, x, (da, None))[1], derivatives.jvp(model, x, (da, zeros[0]))[1]),
        (
            derivatives.vjp(model, x, (delta, None))[1],
            derivatives.vjp(model, x, (delta, zeros[1]))[1],
        ),
    ):
        for one, two in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, two)


# --- rows apart ----------------------------------------------------------------------------------


class Gain(Layer):
    """y = w x², elementwise, in three ways to add the gradient of w; all of them sum the rows."""

    way: str

    def build(self, input_shape):
        self.weights = self.parameter("weights", input_shape, "ones")

    def forward(self, x):
        self.x = x
        return self.weights.value * x**2

    def backward(self, delta):
        gradient = (delta * self.x**2).sum(axis=0)
        if self.way == "accumulate":
            self.weights.accumulate(gradient)
        elif self.way == "in place":
            self.weights.grad += gradient
        elif self.way == "product":  # sums over something else that is as long as the batch
            self.weights.accumulate_product(
                gradient * np.eye(len(gradient)), np.ones(len(gradient))
            )
        return 2 * self.x * self.weights.value * delta


class PerStep(Layer):
    """A Dense for each step of a row (time, n): its product sums over rows and steps at once."""

    inner: Layer
    time_first: bool = False

    def forward(self, x):
        self.shape = x.shape
        self.order = (1, 0, 2) if self.time_first else (0, 1, 2)
        rows = np.transpose(x, self.order)
        y = self.inner.forward(rows.reshape(rows.shape[0] * rows.shape[1], x.shape[2]))
        y = y.reshape(rows.shape[0], rows.shape[1], y.shape[1])
        return np.transpose(y, self.order)

    def backward(self, delta):
        rows = np.transpose(delta, self.order)
        flat = self.inner.backward(rows.reshape(rows.shape[0] * rows.shape[1], rows.shape[2]))
        shape = (*rows.shape[:2], self.shape[2])
        return np.transpose(flat.reshape(shape), self.order)


class Centred(Layer):
    """Rows see each other."""

    couples_batch = True

    def forward(self, x):
        return x - x.mean(axis=0)

    def backward(self, delta):
        return delta - delta.mean(axis=0)


def _row_cases():
    shared = Dense(3)
    yield Dense(2), (3,)
    yield Dense(2, use_bias=False), (3,)
    yield Sequential([Dense(4), Residual(Dense(4), Activation("tanh")), Dense(2), Softmax()]), (3,)
    yield Sequential([shared, Activation("sin"), Sequential([shared]), Dense(2)]), (3,)
    for way in ("accumulate", "in place", "product"):
        yield Sequential([Dense(5), Gain(way), Dense(2)]), (3,)
    for time_first in (False, True):
        yield Sequential([PerStep(Dense(3), time_first), Flatten(), Dense(2)]), (2, 3)
    yield Sequential([Dense(3), Activation("tanh"), Flatten(), Dense(2)]), (2, 3)
    yield Sequential([Dense(3), Activation("tanh"), Centred(), Dense(2)]), (3,)
    yield Sequential([Dense(3), unusual_layers.BatchNorm(), Dense(2)]), (3,)
    yield Sequential([Dense(4), unusual_layers.Dropout(0.4), Gain("accumulate"), Dense(2)]), (3,)
    yield Sequential([unusual_layers.LayerNorm(), Dense(2)]), (3,)
    yield Activation("tanh"), (3,)


@pytest.mark.parametrize("case", list(_row_cases()), ids=lambda case: repr(case[0])[:60])
@pytest.mark.parametrize("batch", [1, 5, 40])
def test_the_jacobian_of_the_parameters_is_made_of_exact_columns(case, batch):
    # Each column is J v by dual numbers, which use neither `backward` nor the rows.
    model, shape = case[0].unbuilt(), case[1]
    model.build(shape, rng=0)
    rng = np.random.default_rng(0)
    x, size = rng.normal(size=(batch, *shape)), model.parameters.size
    found = derivatives.jacobian(model, x, with_respect_to="parameters")
    y = derivatives.jvp(model, x)[0]
    columns = [derivatives.jvp(model, x, dparameters=v)[1] for v in np.eye(size)]
    expected = np.stack(columns, axis=-1) if columns else np.zeros((*y.shape, 0))
    assert found.shape == (*y.shape, size)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)
    delta = rng.normal(size=y.shape)
    rows = derivatives.row_gradients(model, x, delta)
    assert rows.shape == (batch, size)
    expected_rows = np.einsum("sn,snp->sp", delta, expected)
    np.testing.assert_allclose(rows, expected_rows, rtol=1e-11, atol=1e-12)
    total = derivatives.vjp(model, x, delta)[2]
    np.testing.assert_allclose(rows.sum(axis=0), total, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("way", ["accumulate", "in place", "product"])
def test_an_empty_batch_has_an_empty_jacobian(way):
    model = Sequential([Dense(5), Gain(way), Dense(2)])
    model.build((3,))
    x, size = np.zeros((0, 3)), model.parameters.size
    assert derivatives.jacobian(model, x).shape == (0, 2, 3)
    assert derivatives.jacobian(model, x, with_respect_to="parameters").shape == (0, 2, size)
    assert derivatives.row_gradients(model, x, np.zeros((0, 2))).shape == (0, size)


@pytest.mark.parametrize("way", ["accumulate", "in place", "product"])
def test_layers_that_sum_the_rows_themselves_are_taken_row_by_row(way):
    layer, rng = Gain(way), np.random.default_rng(0)
    layer.build((3,))
    x, delta = rng.normal(
        size=(2, 3, 3)
    )  # as many rows as entries: a product looks like one of rows
    np.testing.assert_allclose(derivatives.row_gradients(layer, x, delta), delta * x**2, rtol=1e-13)
    found = derivatives.jacobian(layer, x, with_respect_to="parameters")
    np.testing.assert_allclose(found, x[:, :, np.newaxis] ** 2 * np.eye(3), rtol=1e-13)


def test_the_jacobian_of_the_parameters_takes_one_backward_pass_for_each_output():
    passes = []

    class Counted(Layer):
        """The identity, which counts the rows that pass."""

        def forward(self, x):
            return +x

        def backward(self, delta):
            passes.append(len(delta))
            return delta

    step, shared = PerStep(Dense(4)), Residual(Dense(8))
    model = Sequential([step, Flatten(), shared, Counted(), shared, Dense(3)])
    model.build((2, 5), rng=0)
    x = np.random.default_rng(0).normal(size=(30, 2, 5))
    derivatives.jacobian(model, x, with_respect_to="parameters")
    assert passes == [30] * 4  # one for each output, and one that checks them
    passes.clear()
    derivatives.row_gradients(model, x, np.ones((30, 3)))
    assert passes == [30] * 2


def test_a_layer_without_tangent_rules_has_a_jacobian_of_its_parameters():
    class Forced(Gain):
        def forward(self, x):
            self.x = np.asarray(x)
            return np.asarray(self.weights.value) * self.x**2

    layer = Forced("accumulate")
    layer.build((3,))
    x = np.random.default_rng(0).normal(size=(9, 3))
    found = derivatives.jacobian(layer, x, with_respect_to="parameters")
    np.testing.assert_allclose(found, x[:, :, np.newaxis] ** 2 * np.eye(3), rtol=1e-13)


def test_integers_do_not_move_and_their_table_has_a_jacobian():
    class Table(Layer):
        """A vector for each integer."""

        def build(self, input_shape):
            self.vectors = self.parameter("vectors", (3, 2), "glorot_uniform")

        def forward(self, x):
            self.rows = x.astype(int)
            return self.vectors.value[self.rows]

        def backward(self, delta):
            gradient = np.zeros_like(self.vectors.value)
            np.add.at(gradient, self.rows, delta)
            self.vectors.accumulate(gradient)
            return np.zeros(self.rows.shape, delta.dtype)

    layer, x = Table(), np.array([[0, 2], [2, 2]])
    layer.build((2,))
    np.testing.assert_array_equal(derivatives.jacobian(layer, x), np.zeros((2, 2, 2, 2)))
    expected = np.zeros((2, 2, 2, 3, 2))
    for row, position in np.ndindex(2, 2):
        expected[row, position, :, x[row, position]] = np.eye(2)
    found = derivatives.jacobian(layer, x, with_respect_to="parameters")
    np.testing.assert_array_equal(found, expected.reshape(2, 2, 2, 6))


def test_row_gradients_of_several_inputs_and_outputs_sum_to_the_product():
    model, x, rng = _rotated()
    delta = rng.normal(size=(5, 2)), rng.normal(size=(5, 2, 2))
    rows = derivatives.row_gradients(model, x, delta)
    np.testing.assert_allclose(
        rows.sum(axis=0), derivatives.vjp(model, x, delta)[2], rtol=1e-12, atol=1e-13
    )
    for n in range(5):
        alone = tuple(a[n : n + 1] for a in x), tuple(d[n : n + 1] for d in delta)
        np.testing.assert_allclose(
            rows[n], derivatives.vjp(model, *alone)[2], rtol=1e-12, atol=1e-13
        )


def test_row_gradients_and_jacobians_include_frozen_parameters_and_leave_no_trace():
    model, x, rng = _rotated()
    delta = rng.normal(size=(5, 2)), None
    rows = derivatives.row_gradients(model, x, delta)
    jacobian = derivatives.jacobian(model, x, with_respect_to="parameters")[0]
    model.freeze()
    grad = model.parameters.grad.copy()
    np.testing.assert_array_equal(derivatives.row_gradients(model, x, delta), rows)
    again = derivatives.jacobian(model, x, with_respect_to="parameters")[0]
    np.testing.assert_array_equal(again, jacobian)
    np.testing.assert_array_equal(model.parameters.grad, grad)


def test_rows_apart_stay_float32():
    model = _model(0, Dense(4), Activation("gelu"), Dense(2), dtype="float32")
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("f")
    by_parameters = derivatives.jacobian(model, x, with_respect_to="parameters")
    assert by_parameters.dtype == np.float32
    assert derivatives.row_gradients(model, x, np.ones((4, 2))).dtype == np.float32
    twice = _model(0, Dense(4), Activation("gelu"), Dense(2))
    twice.parameters.value = model.parameters.value
    exact = derivatives.jacobian(twice, x.astype(float), with_respect_to="parameters")
    np.testing.assert_allclose(by_parameters, exact, rtol=1e-4, atol=1e-5)


def test_derivatives_of_jacobians_and_row_gradients_are_those_of_their_entries():
    model, x, rng = _rotated()
    v = tuple(rng.normal(size=a.shape) for a in x)
    delta = rng.normal(size=(5, 2)), rng.normal(size=(5, 2, 2))
    moving = tuple(Dual(a, b) for a, b in zip(x, v, strict=True))

    def results(at):
        by_input = derivatives.jacobian(model, at)
        by_parameters = derivatives.jacobian(model, at, with_respect_to="parameters")
        rows = derivatives.row_gradients(model, at, delta)
        return [*by_input[0], *by_input[1], *by_parameters, rows]

    ahead, behind = (
        results(tuple(a + step * b for a, b in zip(x, v, strict=True))) for step in (1e-5, -1e-5)
    )
    for found, up, down in zip(results(moving), ahead, behind, strict=True):
        np.testing.assert_allclose(found.tangent, (up - down) / 2e-5, rtol=1e-6, atol=1e-8)


def test_per_sample_gradients_of_moving_rows_move():
    model, loss = _model(0, Dense(2)), losses.HalfSquaredError()
    x, v, t = np.random.default_rng(0).normal(size=(3, 4, 3))
    found = derivatives.per_sample_gradients(model, loss, Dual(x, v), t[:, :2])
    for n in range(4):
        _, gradient = derivatives.value_and_gradient(
            model, loss, Dual(x, v)[n : n + 1], t[n : n + 1, :2]
        )
        np.testing.assert_allclose(found[n].tangent, gradient.tangent, rtol=1e-12, atol=1e-14)


def test_too_few_directions_and_deltas_are_refused_by_name():
    model, x, _ = _rotated()
    with pytest.raises(ShapeError, match="dx has the wrong number of arrays"):
        derivatives.jvp(model, x, x[0])
    for call in (derivatives.vjp, derivatives.row_gradients):
        with pytest.raises(ShapeError, match="delta has the wrong number of arrays") as caught:
            call(model, x, np.ones((5, 2)))
        assert "None for zeros" in str(caught.value)
    with pytest.raises(ShapeError, match="wrong number of inputs"):
        derivatives.jacobian(model, x[0])
