"""Residual and Branches: two small graphs, run by the plan like all containers."""

from __future__ import annotations

import numpy as np
import pytest
from attrs import define

from chainrule import (
    Activation,
    Add,
    Branches,
    Concatenate,
    Dense,
    Multiply,
    Residual,
    Sequential,
    check_layer,
    storage,
)
from chainrule.core.errors import ConfigurationError, DefinitionError


def batch(rows=5, width=3, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, width))


def built(model, *shapes):
    model.build(*shapes, rng=0)
    return model


def refused(kind, make, *words):
    with pytest.raises(kind) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


def test_a_residual_adds_its_input():
    block = built(Residual(Dense(3), Activation("tanh")), (3,))
    a, delta = batch(), batch(seed=1)
    dense = block.layers[0]
    y = np.tanh(a @ dense.weights.value + dense.biases.value)
    np.testing.assert_array_equal(block.forward(a), a + y)
    expected = delta + (delta * (1 - y**2)) @ dense.weights.value.T
    np.testing.assert_allclose(block.backward(delta), expected, rtol=1e-13)


def test_a_residual_with_a_projection_adds_the_projected_input():
    block = built(Residual(Dense(2), projection=Dense(2, use_bias=False)), (3,))
    a = batch()
    inside, beside = block.layers[0], block.projection
    expected = a @ beside.weights.value + (a @ inside.weights.value + inside.biases.value)
    np.testing.assert_allclose(block.forward(a), expected, rtol=1e-13)
    assert block.parameters.paths == ["dense_1.weights", "dense_1.biases", "projection.weights"]


def test_branches_are_merged_or_returned_as_a_tuple():
    parts = [Dense(2), Sequential([Dense(3), Activation("sin")])]
    merged, apart = Branches(parts, merge=Concatenate()), Branches(parts)
    a = batch()
    one, two = built(apart, (3,)).forward(a)
    assert built(merged, (3,)).forward(a).shape == (5, 5)
    np.testing.assert_array_equal(merged(a), np.hstack([one, two]))


@pytest.mark.parametrize(
    "model",
    [
        Residual(Dense(3), Activation("tanh"), Dense(3)),
        Residual(Dense(2), projection=Dense(2)),
        Residual(Residual(Dense(3)), Residual(Dense(3))),
        Branches([Dense(2), Dense(2)], merge=Multiply()),
        Branches([Dense(2), Activation("sin")]),
        Branches([Residual(Dense(3)), Sequential([Dense(3), Activation("tanh")])], merge=Add()),
    ],
    ids=lambda model: repr(model).replace("\n", "")[:60],
)
def test_small_graphs_obey_every_law_print_as_python_and_survive_saving(model):
    assert check_layer(model, (3,)).ok
    assert eval(repr(model)) == model
    fresh = built(model.unbuilt(), (3,))
    assert storage.loads(storage.dumps(fresh)) == fresh


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: Residual(), ConfigurationError, "no layers given"),
        (lambda: Residual([Dense(3)]), DefinitionError, "Sequential([…])"),
        (lambda: Residual(Dense(3), projection=3), DefinitionError, "projection"),
        (lambda: Branches(Dense(3)), DefinitionError, "brackets"),
        (lambda: Branches([Dense(3), 4]), DefinitionError, "argument 1"),
        (lambda: Branches([]), ConfigurationError, "no layers given"),
        (lambda: Branches([Dense(3)], merge="add"), DefinitionError, "merge"),
    ],
)
def test_small_graphs_reject_what_is_not_a_layer(make, kind, words):
    refused(kind, make, words)


def test_a_subclass_of_a_graph_that_changes_a_pass_is_not_inlined():
    @define
    class Doubled(Residual):
        def forward(self, x):
            return 2 * super().forward(x)

        def backward(self, delta):
            return super().backward(2 * delta)

    inside = Doubled(Dense(3))
    model = built(Sequential([inside, Activation("tanh")]), (3,))
    a = batch()
    np.testing.assert_allclose(model(a), np.tanh(2 * (a + inside.layers[0](a))), rtol=1e-13)
    assert check_layer(model, (3,)).ok
