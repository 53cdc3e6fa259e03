"""The plan: all layers as one list of steps, whatever containers they are in."""

from __future__ import annotations

from collections import deque
from typing import Any

import attrs
import hypothesis.strategies as st
import numpy as np
import pytest
from attrs import define, field
from hypothesis import given, settings

from chainrule import Activation, Add, Concatenate, Dense, Graph, Input, Layer, Residual, Sequential
from chainrule.core.errors import ShapeError
from chainrule.graph.plan import Plan
from laws.random_graphs import as_graph, drawings, random_inputs
from laws.unusual_layers import Halves, PassesOn, TwoPaths


def built(model, *shapes):
    model.build(*shapes, rng=0)
    return model


def batch(rows=4, width=3, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, width))


def test_containers_are_unrolled_into_one_row_with_their_paths():
    x = Input((3,))
    inner = Graph(x, Add()(x, Sequential([Dense(3), Activation("tanh")])(x)))
    model = built(Sequential([inner, Residual(Dense(3))]), (3,))
    assert [step.path for step in Plan.of(model).steps] == [
        "graph_1/sequential_1/dense_1",
        "graph_1/sequential_1/activation_1",
        "graph_1/add_1",
        "residual_1/dense_1",
        "residual_1/add",
    ]


def test_every_value_is_computed_once_and_before_its_use():
    x, z = Input((3,)), Input((3,))
    h = Dense(3)(Add()(x, z))
    plan = Plan.of(built(Graph([x, z], [Concatenate()(h, x), h, Residual(Dense(3))(h)])))
    made = list(plan.inputs)
    for step in plan.steps:
        assert set(step.takes) <= set(made)
        made.extend(step.makes)
    assert len(set(made)) == len(made) == len(plan.names)
    assert set(plan.outputs) <= set(made)


def test_a_custom_layer_that_contains_layers_is_one_step():
    model = built(Sequential([TwoPaths(Dense(3)), Dense(2)]), (3,))
    assert [step.path for step in Plan.of(model).steps] == ["two_paths_1", "dense_1"]


def test_a_single_layer_is_a_plan_of_one_step():
    layer = built(Dense(2), (3,))
    plan = Plan.of(layer)
    assert [plan.place(step) for step in plan.steps] == ["dense"]
    a = batch()
    np.testing.assert_array_equal(plan.forward((a,)), layer(a))
    plan.forward((a,))
    assert not hasattr(layer, "inputs")


def test_values_in_slots_have_names():
    x, z = Input((4,), name="image"), Input((2,))
    first, second = Halves()(x)
    plan = Plan.of(built(Graph([x, z], [Add()(first, z), second])))
    assert plan.names == ["image", "input", "halves_1[0]", "halves_1[1]", "add_1"]
    assert [plan.place_of(slot) for slot in plan.outputs] == ["graph/add_1", "graph/halves_1[1]"]


@pytest.mark.parametrize("model", [Residual(Dense(3)), Sequential([Dense(3), Residual(Dense(3))])])
def test_what_training_does_not_need_is_not_computed(model):
    """The first layer that learns computes only its gradients; layers before it compute nothing."""
    asked = []

    class Spy(PassesOn):
        __attrs_attrs__ = PassesOn.__attrs_attrs__

        def backward(self, delta):
            asked.append("delta")
            return delta

    whole = built(Sequential([Spy(), model, Spy()]), (3,))
    delta = np.ones_like(whole.forward(batch()))
    whole.backward_parameters(delta)
    assert asked == ["delta"]
    whole.backward(delta)
    assert asked == ["delta"] * 3


def test_the_delta_of_the_data_is_not_computed_for_training():
    x = Input((3,))
    model = built(Graph(x, Add()(Dense(3)(Activation("tanh")(x)), Activation("sin")(x))))
    plan = Plan.of(model)
    y = plan.forward((batch(),))
    went = [step.path for step, _, _ in plan.steps_backward(y, parameters_only=True)]
    assert went == ["add_1", "dense_1"]


# ------------------------------------------------------------------------------- what is frozen


@define
class Watched(Dense):
    """A Dense layer that records what it computes in the backward pass."""

    name: str = ""
    asked: deque = field(factory=deque)  # no list: that of a twin would be another

    def backward(self, delta):
        self.asked.append(self.name)
        return super().backward(delta)

    def backward_parameters(self, delta):
        self.asked.append(f"({self.name})")
        super().backward_parameters(delta)


def watched(*names):
    asked = deque()
    return asked, [Watched(3, name=name, asked=asked) for name in names]


def asked_of(model, asked):
    """What training computes: the names of the layers, in brackets if no delta is needed."""
    asked.clear()
    model.backward_parameters(np.ones_like(model.forward(batch())))
    return list(asked)


def test_training_computes_nothing_before_the_first_layer_that_learns():
    asked, (a, b, c) = watched("a", "b", "c")
    model = built(Sequential([a, Activation("tanh"), b, c]), (3,))
    assert asked_of(model, asked) == ["c", "b", "(a)"]
    a.freeze()
    assert asked_of(model, asked) == ["c", "(b)"]
    c.freeze()
    assert asked_of(model, asked) == ["c", "(b)"]
    b.freeze()
    assert asked_of(model, asked) == []
    c.weights.trainable = True
    assert asked_of(model, asked) == ["(c)"]
    model.unfreeze()
    assert asked_of(model, asked) == ["c", "b", "(a)"]


def test_freezing_between_forward_and_backward_counts_in_backward():
    asked, (a, b) = watched("a", "b")
    model = built(Sequential([a, b]), (3,))
    y = model.forward(batch())
    a.freeze()
    model.backward_parameters(np.ones_like(y))
    assert list(asked) == ["(b)"]


def test_the_complete_backward_pass_does_not_depend_on_what_is_frozen():
    asked, layers = watched("a", "b")
    model = built(Sequential(layers), (3,)).freeze()
    y = model.forward(batch())
    assert model.backward(np.ones_like(y)).shape == (4, 3)
    assert list(asked) == ["b", "a"]


def test_all_containers_follow_what_is_frozen():
    @define
    class Own(Sequential):  # one step of the plan, with a plan of its own
        pass

    @define
    class Holds(PassesOn):  # one step, without a plan
        inner: Layer

        def forward(self, inputs):
            return self.inner.forward(inputs)

        def backward(self, delta):
            return self.inner.backward(delta)

    for container in (Sequential, Own, lambda layers: Holds(Sequential(layers))):
        asked, (a, b, c) = watched("a", "b", "c")
        model = built(Sequential([container([a, b]), c]), (3,))
        whole = asked_of(model, asked)
        assert whole[:2] == ["c", "b"]
        c.freeze()
        assert asked_of(model, asked) == whole
        a.freeze()
        b.freeze()
        assert asked_of(model, asked) == []
        c.unfreeze()
        assert asked_of(model, asked) == ["(c)"]
        b.unfreeze()
        assert asked_of(model, asked)[:1] == ["c"]


def test_a_layer_that_is_used_several_times_is_frozen_everywhere():
    asked, (a, b) = watched("a", "b")
    x = Input((3,))
    model = built(Graph(x, Add()(b(a(x)), a(Activation("sin")(a(x))))), (3,))
    assert sorted(asked_of(model, asked)) == ["(a)", "(a)", "a", "b"]
    a.freeze()
    assert asked_of(model, asked) == ["(b)"]
    a.twin().unfreeze()
    assert sorted(asked_of(model, asked)) == ["(a)", "(a)", "a", "b"]


def test_two_models_with_one_layer_both_notice():
    asked, (shared, b, c) = watched("shared", "b", "c")
    one, two = built(Sequential([shared, b]), (3,)), Sequential([shared, c])
    two.build((3,), rng=0)
    for model, other in ((one, "b"), (two, "c")):
        assert asked_of(model, asked) == [other, "(shared)"]
    shared.freeze()
    for model, other in ((one, "b"), (two, "c")):
        assert asked_of(model, asked) == [f"({other})"]


def test_step_by_step_the_backward_pass_is_the_same():
    _, (a, b) = watched("a", "b")
    plan = Plan.of(built(Sequential([a, b]), (3,)))
    y = plan.forward((batch(),))
    for freeze, expected in ((a.unfreeze, ["watched_2", "watched_1"]), (a.freeze, ["watched_2"])):
        freeze()
        went = [step.path for step, _, _ in plan.steps_backward(y, parameters_only=True)]
        assert went == expected
    went = [step.path for step, _, _ in plan.steps_backward(y)]
    assert went == ["watched_2", "watched_1"]


def test_a_plan_checks_its_layers_only_after_something_was_frozen():
    looked = deque()

    @define
    class Counted(Dense):
        def walk(self):
            looked.append(self)
            return super().walk()

    model = built(Sequential([Counted(3), Dense(2)]), (3,))
    delta = np.ones_like(model.forward(batch()))
    model.backward_parameters(delta)
    for freeze in (model["dense_1"].freeze, model["dense_1"].unfreeze):
        freeze()
        looked.clear()
        for _ in range(5):
            model.backward_parameters(delta)
        assert len(looked) == 1


@given(drawing=drawings(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_what_is_frozen_changes_no_digit_of_the_other_gradients(drawing, seed):
    """In any graph, and again after other parameters were frozen in the middle of a run."""
    rng = np.random.default_rng(seed)
    model = as_graph(drawing)
    model.build(*[(drawing.width,)] * drawing.inputs, rng=rng)
    x = random_inputs(drawing, 3, seed)
    y = model.forward(*x)
    delta = tuple(map(np.ones_like, y)) if isinstance(y, tuple) else np.ones_like(y)
    model.parameters.zero_grad()
    model.backward_parameters(delta)
    expected = [p.grad.copy() for p in model.parameters]
    for _ in range(3):
        for parameter in model.parameters:
            parameter.trainable = bool(rng.integers(2))
        model.parameters.zero_grad()
        model.forward(*x)
        model.backward_parameters(delta)
        for parameter, gradient in zip(model.parameters, expected, strict=True):
            whole = gradient if parameter.trainable else np.zeros_like(gradient)
            np.testing.assert_array_equal(parameter.grad, whole)


def test_an_input_may_be_an_output():
    x = Input((3,))
    model = built(Graph(x, [x, Dense(2)(x)]))
    a = batch()
    same, _ = model.forward(a)
    np.testing.assert_array_equal(same, a)
    w = model["dense_1"].weights.value
    dx = model.backward((a, np.ones((4, 2))))
    np.testing.assert_allclose(dx, a + np.ones((4, 2)) @ w.T, rtol=1e-13)


def test_the_error_that_a_layer_raises_stays_the_cause():
    """The named error that replaces it shows the shapes; the line of the layer is kept."""

    class Fails(PassesOn):
        __attrs_attrs__ = PassesOn.__attrs_attrs__
        accepts_any_shape = False

        def forward(self, inputs):
            if len(inputs):
                raise FloatingPointError("of its own")
            return inputs

    model = built(Sequential([Dense(3), Fails()]), (3,))
    with pytest.raises(FloatingPointError, match="of its own") as caught:
        model.forward(batch())
    assert caught.value.__notes__ == ["in sequential/fails_1.forward, for inputs of shape (4, 3)"]
    plan = model.plan
    plan.steps[1].layer.__dict__["_input_shapes"] = ((7,),)  # so that the input is at fault, too
    with pytest.raises(ShapeError) as caught:
        plan.forward((batch(),))
    assert isinstance(caught.value.__cause__, FloatingPointError)


class Times(Layer):
    """y = k x, with fields of several kinds."""

    factor: float = 1.0
    offsets: list[float] = attrs.field(factory=lambda: [0.0])

    def forward(self, x: Any) -> Any:
        return self.factor * x + sum(self.offsets)

    def backward(self, delta: Any) -> Any:
        return self.factor * delta


@pytest.mark.parametrize("wrap", [lambda layer: layer, lambda layer: Sequential([layer])])
def test_a_changed_field_takes_effect_at_every_use_of_a_layer(wrap: Any) -> None:
    x, times = np.arange(6.0).reshape(2, 3), Times()
    shared, node = wrap(times), Input((3,))
    model = Graph(node, shared(shared(node)))
    np.testing.assert_array_equal(model(x), x)
    times.factor = 3.0
    np.testing.assert_array_equal(model(x), 9 * x)
    times.offsets.append(1.0)
    np.testing.assert_array_equal(model.forward(x), 9 * x + 4)
    np.testing.assert_array_equal(model.backward(x), 9 * x)
    times.offsets = []
    np.testing.assert_array_equal(model.forward(x), 9 * x)
