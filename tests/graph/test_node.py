"""Nodes: a call that is noted, and never changes."""

from __future__ import annotations

import numpy as np
import pytest
from attrs.exceptions import FrozenInstanceError

from chainrule import Activation, Add, Dense, Graph, Input
from chainrule.core.errors import ConfigurationError, DefinitionError
from chainrule.graph.node import Node
from laws.unusual_layers import Halves


def test_calling_a_layer_on_a_node_notes_the_call_and_computes_nothing():
    x, layer = Input((3,)), Dense(2)
    node = layer(x)
    assert (node.layer, node.sources) == (layer, (x,))
    assert not layer.is_built


def test_each_call_is_a_separate_node():
    x, layer = Input((3,)), Dense(2)
    assert layer(x) is not layer(x)
    assert layer(x) != layer(x)


def test_a_node_never_changes():
    node = Dense(2)(Input((3,)))
    with pytest.raises(FrozenInstanceError):
        node.layer = Dense(3)


def test_nodes_print_as_what_was_called():
    x = Input((3,), name="image")
    assert repr(x) == "Input((3,), name='image')"
    assert repr(Dense(2)(x)) == "Dense(2)(Input((3,), name='image'))"
    deep = Add()(Dense(2)(x), Activation("tanh")(Dense(2)(x)))
    assert repr(deep) == "Add()(…, …)"
    assert repr(Halves()(x)[1]) == "Halves()(Input((3,), name='image'))[1]"


def test_a_deep_line_of_nodes_prints_and_is_let_go_of():
    node = Input((3,))
    for _ in range(100_000):
        node = Node(Activation("tanh"), (node,))
    assert repr(node) == "Activation('tanh')(…)"
    del node


def test_as_many_outputs_as_the_layer_has_are_taken_apart():
    x = Input((5,))
    first, second = Halves()(Dense(7)(x))
    assert (first.number, second.number) == (0, 1)
    (only,) = Dense(2)(x)
    assert Graph(x, only).unbuilt() == Graph(x, only)
    assert list(x) == [x]


def test_how_many_outputs_there_are_is_not_guessed():
    with pytest.raises(DefinitionError, match=r"node\[0\], node\[1\]"):
        _ = [*Halves()(Input())]


@pytest.mark.parametrize(
    "bad", [lambda n: n[-1], lambda n: n["a"], lambda n: n[0:1], lambda n: n[0][0]]
)
def test_what_is_no_output_is_refused(bad):
    with pytest.raises(ConfigurationError, match="Slice"):
        bad(Halves()(Input((4,))))
    with pytest.raises(ConfigurationError, match="Slice"):
        Input((4,))[0]


@pytest.mark.parametrize("shape", [64, "64", (1.5,), (-1,), [(3,)]])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(ConfigurationError, match="shape of a row"):
        Input(shape)


@pytest.mark.parametrize("name", ["", "a b", "1st", 7])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(ConfigurationError, match="name"):
        Input((3,), name=name)


def test_a_plain_number_as_shape_comes_with_a_hint():
    with pytest.raises(ConfigurationError) as caught:
        Input(64)
    assert caught.value.hint == "Input((64,))"


@pytest.mark.parametrize("other", [np.ones((2, 3)), 3, None, "x"])
def test_a_node_and_something_else_do_not_go_together(other):
    for arguments in ((Input((3,)), other), (other, Input((3,)))):
        with pytest.raises(DefinitionError, match="on a node and on something else"):
            Add()(*arguments)


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: x + x,
        lambda x: 2 * x,
        lambda x: -x,
        lambda x: x @ np.ones((3, 3)),
        lambda x: np.ones((2, 3)) + x,
        lambda x: np.exp(x),
        lambda x: np.concatenate([x, x]),
        lambda x: np.asarray(x),
        lambda x: Add()([x, x]),
    ],
)
def test_arithmetic_with_nodes_raises_an_error_that_suggests_a_layer(compute):
    for node in (Input((3,)), Dense(3)(Input((3,)))):
        with pytest.raises(DefinitionError, match=r"Add\(\)\(a, b\)"):
            compute(node)
