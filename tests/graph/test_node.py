"""Nodes: each records a call and never changes."""

from __future__ import annotations

import numpy as np
import pytest
from attrs.exceptions import FrozenInstanceError

from chainrule import Activation, Add, Dense, Graph, Input
from chainrule.core.errors import ConfigurationError, DefinitionError
from chainrule.graph.node import Node
from laws.unusual_layers import Halves


def test_calling_a_layer_on_a_node_records_the_call_and_computes_nothing():
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


def test_a_long_chain_of_nodes_prints_and_is_released():
    node = Input((3,))
    for _ in range(100_000):
        node = Node(Activation("tanh"), (node,))
    assert repr(node) == "Activation('tanh')(…)"
    del node


def test_unpacking_a_node_gives_each_output_of_the_layer():
    x = Input((5,))
    first, second = Halves()(Dense(7)(x))
    assert (first.number, second.number) == (0, 1)
    (only,) = Dense(2)(x)
    assert Graph(x, only).unbuilt() == Graph(x, only)
    assert list(x) == [x]


def test_the_number_of_outputs_is_not_guessed():
    with pytest.raises(DefinitionError, match=r"node\[0\], node\[1\]"):
        _ = [*Halves()(Input())]


@pytest.mark.parametrize(
    "bad", [lambda n: n[-1], lambda n: n["a"], lambda n: n[0:1], lambda n: n[0][0]]
)
def test_an_invalid_output_is_rejected(bad):
    with pytest.raises(ConfigurationError, match="Slice"):
        bad(Halves()(Input((4,))))
    with pytest.raises(ConfigurationError, match="Slice"):
        Input((4,))[0]


@pytest.mark.parametrize("shape", [64, "64", (1.5,), (-1,), [(3,)]])
def test_an_invalid_shape_is_rejected(shape):
    with pytest.raises(ConfigurationError, match="shape of a row"):
        Input(shape)


@pytest.mark.parametrize("name", ["", "a b", "1st", 7])
def test_an_invalid_name_is_rejected(name):
    with pytest.raises(ConfigurationError, match="name"):
        Input((3,), name=name)


def test_the_error_for_a_plain_number_as_shape_has_a_hint():
    with pytest.raises(ConfigurationError) as caught:
        Input(64)
    assert caught.value.hint == "Input((64,))"


@pytest.mark.parametrize("other", [np.ones((2, 3)), 3, None, "x"])
def test_a_node_and_something_else_are_rejected(other):
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
def test_the_error_for_arithmetic_with_nodes_mentions_a_layer(compute):
    for node in (Input((3,)), Dense(3)(Input((3,)))):
        with pytest.raises(DefinitionError, match=r"Add\(\)\(a, b\)"):
            compute(node)
