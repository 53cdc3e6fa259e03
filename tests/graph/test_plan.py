"""The plan: all layers in one row, whatever they stand in."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import Activation, Add, Concatenate, Dense, Graph, Input, Residual, Sequential
from chainrule.core.errors import ShapeError
from chainrule.graph.plan import Plan
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


def test_every_value_is_made_before_it_is_taken_and_only_once():
    x, z = Input((3,)), Input((3,))
    h = Dense(3)(Add()(x, z))
    plan = Plan.of(built(Graph([x, z], [Concatenate()(h, x), h, Residual(Dense(3))(h)])))
    made = list(plan.inputs)
    for step in plan.steps:
        assert set(step.takes) <= set(made)
        made.extend(step.makes)
    assert len(set(made)) == len(made) == len(plan.names)
    assert set(plan.outputs) <= set(made)


def test_a_layer_that_holds_layers_in_its_own_way_is_one_step():
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
def test_what_training_does_not_need_is_not_asked_for(model):
    """The first layer that learns is only asked for its gradients, what lies before for nothing."""
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


def test_a_delta_that_goes_back_to_the_data_is_not_computed_for_training():
    x = Input((3,))
    model = built(Graph(x, Add()(Dense(3)(Activation("tanh")(x)), Activation("sin")(x))))
    plan = Plan.of(model)
    y = plan.forward((batch(),))
    went = [step.path for step, _, _ in plan.steps_backward(y, parameters_only=True)]
    assert went == ["add_1", "dense_1"]


def test_an_input_may_be_an_output():
    x = Input((3,))
    model = built(Graph(x, [x, Dense(2)(x)]))
    a = batch()
    same, _ = model.forward(a)
    np.testing.assert_array_equal(same, a)
    w = model["dense_1"].weights.value
    dx = model.backward((a, np.ones((4, 2))))
    np.testing.assert_allclose(dx, a + np.ones((4, 2)) @ w.T, rtol=1e-13)


def test_what_a_layer_says_of_its_own_failure_stays_the_cause():
    """The named error that takes its place tells of the shapes; the line of the layer is kept."""

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
    assert caught.value.__notes__ == ["in sequential/fails_1.forward, which was given (4, 3)"]
    plan = model.plan
    plan.steps[1].layer.__dict__["_input_shapes"] = ((7,),)  # so that the input is at fault, too
    with pytest.raises(ShapeError) as caught:
        plan.forward((batch(),))
    assert isinstance(caught.value.__cause__, FloatingPointError)
