"""Formulas: `backward` from `forward` alone, held to the laws and to derivatives by hand."""

from __future__ import annotations

import copy
import itertools
import pickle

import attrs
import numpy as np
import pytest
from attrs import define

from chainrule import (
    Activation,
    Add,
    Dense,
    Dropout,
    Formula,
    Graph,
    Input,
    Sequential,
    Trainer,
    check_layer,
    derivatives,
    errors,
    losses,
    optimizers,
    storage,
)
from chainrule.calculus import formula
from chainrule.calculus.tape import Tape
from laws.formulas import Decay, Several


def test_gradients_are_those_worked_out_by_hand():
    layer, time = Decay(), np.array([0.0, 0.5, 2.0])
    layer.build(())
    delta = np.array([1.0, -2.0, 0.5])
    decay = np.exp(-0.7 * time)
    np.testing.assert_allclose(layer.forward(time), 2 * decay, rtol=1e-15)
    np.testing.assert_allclose(layer.backward(delta), -1.4 * decay * delta, rtol=1e-14)
    expected = [decay @ delta, (-2 * time * decay) @ delta]
    np.testing.assert_allclose(layer.parameters.grad, expected, rtol=1e-14)


def test_rows_that_affect_each_other_have_the_derivatives_of_the_whole_batch():
    class Centred(Formula):
        couples_batch = True

        def build(self, input_shape):
            self.scale = self.parameter("scale", input_shape, 1.5)

        def forward(self, x):
            return self.scale.value * (x - x.sum(axis=0) / max(len(x), 1))

    layer, rng = Centred(), np.random.default_rng(0)
    layer.build((2,))
    x, delta = rng.normal(size=(4, 2)), rng.normal(size=(4, 2))
    _, dx, dparameters = derivatives.vjp(layer, x, delta)
    np.testing.assert_allclose(dx, 1.5 * (delta - delta.mean(axis=0)), atol=1e-15)
    np.testing.assert_allclose(dparameters, ((x - x.mean(axis=0)) * delta).sum(axis=0), atol=1e-15)


def test_rows_of_the_gradient_stay_apart():
    layer, rng = Several(), np.random.default_rng(0)
    layer.build((2,), (), rng=0)
    x = (rng.normal(size=(5, 2)), rng.normal(size=5))
    delta = tuple(rng.normal(size=(5, *shape)) for shape in layer.output_shapes)
    rows = derivatives.row_gradients(layer, x, delta)
    for n in range(5):
        one = [tuple(part[n : n + 1] for part in parts) for parts in (x, delta)]
        np.testing.assert_allclose(rows[n], derivatives.vjp(layer, *one)[2], rtol=1e-12)


def test_hessian_products_agree_with_differences_of_gradients():
    model, rng = Sequential([Dense(2), Decay(), Dense(1)]), np.random.default_rng(0)
    model.build((3,), rng=0)
    x, t, v = rng.normal(size=(6, 3)), rng.normal(size=(6, 1)), rng.normal(size=13)
    loss, theta, step = losses.HalfSquaredError(), model.parameters.value.copy(), 1e-6

    def gradient(theta):
        model.parameters.value = theta
        return derivatives.value_and_gradient(model, loss, x, t)[1]

    difference = (gradient(theta + step * v) - gradient(theta - step * v)) / (2 * step)
    model.parameters.value = theta
    np.testing.assert_allclose(derivatives.hvp(model, loss, x, t, v), difference, rtol=1e-6)


def test_frozen_parameters_cost_no_evaluation():
    calls = []

    class Counted(Formula):
        def build(self, input_shape):
            self.free = self.parameter("free", (), 1.0)
            self.many = self.parameter("many", (200,), 1.0)

        def forward(self, x):
            calls.append(getattr(self.free.value, "parts", np.zeros(0)).shape)
            return self.free.value * x * self.many.value.sum()

    layer = Counted()
    layer.build(())
    layer.parameters["many"].trainable = False
    layer.forward(np.ones(3))
    calls.clear()
    layer.backward_parameters(np.ones(3))
    assert calls == [(2,)]  # one evaluation: a value and one direction
    assert layer.parameters["free"].grad == 600
    assert not layer.parameters["many"].grad.any()
    layer.freeze()
    calls.clear()
    layer.forward(np.ones(3))
    layer.backward_parameters(np.ones(3))
    assert len(calls) == 1  # that of forward


def test_many_parameters_move_in_several_passes():
    class Wide(Formula):
        def build(self, input_shape):
            self.weights = self.parameter("weights", (formula.AT_ONCE + 7,), "normal")

        def forward(self, x):
            return np.sum(x * self.weights.value**2, axis=1)

    layer = Wide()
    x = np.random.default_rng(0).normal(size=(3, formula.AT_ONCE + 7))
    layer.build(x.shape[1:], rng=0)
    layer.forward(x)
    dx = layer.backward(np.array([1.0, 2.0, 3.0]))
    weights = layer.parameters.value
    np.testing.assert_allclose(dx, weights**2 * np.array([[1.0], [2.0], [3.0]]))
    np.testing.assert_allclose(layer.parameters.grad, 2 * weights * ([1, 2, 3] @ x), rtol=1e-13)


def test_second_backward_after_another_forward_uses_the_new_inputs():
    layer = Decay()
    layer.build(())
    for time in (np.array([1.0]), np.array([3.0])):
        layer.forward(time)
        np.testing.assert_allclose(layer.backward(np.ones(1)), -1.4 * np.exp(-0.7 * time))


def test_formula_trains_beside_a_network_in_a_graph():
    x = Input((1,))
    correction = Dense(1)(Activation("tanh")(Dense(8)(x)))
    model = Graph(x, Add()(Decay()(x), correction))
    time = np.linspace(0, 3, 40)[:, None]
    target = 3 * np.exp(-0.5 * time) + 0.2 * np.sin(2 * time)
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.Adam(0.02), rng=0)
    history = trainer.fit(time, target, epochs=150, batch_size=40, progress=False)
    assert history["loss"][-1] < 0.02 * history["loss"][0]
    assert model.parameters["decay_1.rate"].value != 0.7


def test_formula_is_saved_and_loaded_by_its_class(tmp_path):
    layer = Several(power=3)
    layer.build((2,), (), rng=1)
    storage.save(layer, tmp_path / "formula.chain")
    loaded = storage.load(tmp_path / "formula.chain", layers=[Several])
    a, b = np.ones((2, 2)), np.ones(2)
    assert loaded == layer
    np.testing.assert_array_equal(loaded(a, b)[0], layer(a, b)[0])


def test_copies_share_or_copy_as_those_of_any_layer():
    layer = Decay()
    layer.build(())
    layer.forward(np.ones(2))
    twin, deep = layer.twin(), copy.deepcopy(layer)
    unpickled = pickle.loads(pickle.dumps(layer))
    layer.rate.value = 1.0
    time = np.ones(1)
    assert twin(time) == layer(time)
    assert deep(time) == unpickled(time) == 2 * np.exp(-0.7)
    with pytest.raises(errors.BackwardBeforeForwardError):
        twin.backward(np.ones(2))


def test_explicit_define_and_mixins_work_as_for_any_layer():
    class Squares:
        def forward(self, x):
            return self.scale * x**2

    @define
    class Mixed(Squares, Formula):
        scale: float = attrs.field(default=3.0)

    assert check_layer(Mixed(2.0), (2,)).ok


def test_random_numbers_in_a_formula_are_a_named_error():
    class Noisy(Formula):
        def build(self, input_shape):
            self.inner = Dropout(0.5)
            self.inner.build(input_shape, rng=0)

        def forward(self, x):
            return self.inner.forward(x)

    layer = Noisy()
    layer.build((2,))
    layer.forward(np.ones((3, 2)))
    with pytest.raises(errors.DefinitionError, match="cannot draw random numbers"):
        layer.backward(np.ones((3, 2)))


def test_a_function_without_a_rule_is_a_named_error():
    class Lost(Formula):
        def build(self, input_shape):
            self.a = self.parameter("a", (), 1.0)

        def forward(self, x):
            return x * np.asarray(self.a.value, float)

    layer = Lost()
    layer.build(())
    layer.forward(np.ones(2))
    with pytest.raises(errors.NoTangentRuleError):
        layer.backward(np.ones(2))


# ------------------------------------------------------------------------------- tapes


def test_tape_has_the_derivatives_of_jets():
    x, theta = np.linspace(0.1, 2, 9), np.array([1.3, -0.4, 0.8])

    def function(x, a, b, c):
        peak = np.exp(-(((x - a) / c) ** 2)) + np.hypot(b, x) ** (1 / c)
        return peak * np.arctan2(a, x) + np.maximum(b * x, c) - 2**b / x**2

    class Same(Formula):
        def build(self, input_shape):
            for name, value in zip("abc", theta, strict=True):
                setattr(self, name, self.parameter(name, (), float(value)))

        def forward(self, x):
            return function(x, self.a.value, self.b.value, self.c.value)

    layer = Same()
    layer.build(())
    tape = Tape(lambda *numbers: function(x, *numbers), 3)
    np.testing.assert_allclose(tape.value(theta), layer(x), rtol=1e-15)
    expected = derivatives.jacobian(layer, x, "parameters")
    np.testing.assert_allclose(tape.jacobian(theta), expected, rtol=1e-13, atol=1e-15)
    other = theta + 0.1
    layer.parameters.value = other
    expected = derivatives.jacobian(layer, x, "parameters")
    np.testing.assert_allclose(tape.jacobian(other), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: x * self.a.value if self.a.value > 0 else x,
        lambda self, x: x * np.sum(self.a.value * x),
        lambda self, x: np.where(x > 0, self.a.value * x, 0.0),
        lambda self, x: np.abs(self.a.value) * x,
        lambda self, x: x,
        lambda self, x: x * float(self.a.value),
    ],
)
def test_what_a_tape_cannot_hold_is_left_to_jets(forward):
    assert formula.recorded(_with_forward(forward), (np.ones(3),), np.array([1.5])) is None


@pytest.mark.parametrize(
    "function",
    [
        lambda x, a, b: a / a * x + b,
        lambda x, a, b: (a * x) / (b + a * x),
        lambda x, a, b: x / a - (b - x / b),
        lambda x, a, b: -(a * x) - a**2 * b / (2.0 - b) + a**3,
        lambda x, a, b: a * a - b / (x + a) / b,
        lambda x, a, b: a / b + 0 * x,
    ],
)
def test_a_tape_has_the_derivatives_of_complex_steps(function):
    x, theta, step = np.linspace(0.5, 2, 4), np.array([1.3, -0.7]), 1e-30
    tape = Tape(lambda *numbers: function(x, *numbers), 2)
    np.testing.assert_allclose(tape.value(theta), function(x, *theta), rtol=1e-15)
    moved = [function(x, *(theta + 1j * step * unit)) for unit in np.eye(2)]
    expected = np.imag(moved).T / step
    np.testing.assert_allclose(tape.jacobian(theta), expected, rtol=1e-13, atol=1e-15)


def test_a_tape_that_computes_something_else_than_the_formula_does_not_count():
    calls = itertools.count(1.0)
    layer = _with_forward(lambda self, x: next(calls) * self.a.value * x)
    assert formula.recorded(layer, (np.ones(3),), np.array([1.5])) is None


def _with_forward(forward):
    class Made(Formula):
        def build(self, input_shape):
            self.a = self.parameter("a", (), 1.5)

        def forward(self, x):
            return forward(self, x)

    layer = Made()
    layer.build(())
    return layer


class OtherName(Formula):
    """Its attributes do not have the names of its parameters."""

    def build(self, input_shape):
        self.k = self.parameter("rate", (), 2.0)
        self.list = [self.parameter("heights", (2,), 1.0)]

    def forward(self, x):
        return self.list[0].value[1] * np.exp(self.k.value * x)


def test_attributes_may_have_other_names_than_their_parameters():
    layer, x = OtherName(), np.array([0.0, 1.0])
    layer.forward(x)
    layer.backward(np.ones(2))
    np.testing.assert_allclose(layer.parameters.grad, [np.exp(2.0), 0.0, 1 + np.exp(2.0)])
