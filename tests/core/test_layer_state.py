"""Copies and pickles of layers, at any depth, and the states of their generators."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest

from chainrule import Dense, Graph, Input, Layer, Residual, Sequential
from chainrule.core.layer_state import bookmark, copied_generator, set_state, state_of

KINDS = [
    np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64,
]  # fmt: skip


class Wrapped(Layer):
    """y = f(x), with f a layer."""

    inner: Layer

    def forward(self, x: Any) -> Any:
        return self.inner.forward(x)

    def backward(self, delta: Any) -> Any:
        return self.inner.backward(delta)


def nested(wrap: Any, depth: int) -> Layer:
    layer: Layer = Dense(2)
    for _ in range(depth):
        layer = wrap(layer)
    return layer


def graph_around(layer: Layer) -> Layer:
    node = Input((2,))
    return Graph(node, layer(node))


DEEP: dict[str, Any] = {
    "5,000 in a row": lambda: Sequential([Dense(2) for _ in range(5000)]),
    "400 nested sequences": lambda: nested(lambda layer: Sequential([layer]), 400),
    "400 nested residuals": lambda: nested(Residual, 400),
    "400 nested graphs": lambda: nested(graph_around, 400),
    "400 nested layers of a user": lambda: nested(Wrapped, 400),
}


@pytest.mark.parametrize("name", DEEP)
def test_a_deep_model_can_be_copied_and_pickled(name):
    model, x = DEEP[name](), np.ones((3, 2))
    if "user" not in name:  # Python itself limits the depth of their forward
        model.build((2,), rng=0)
    layers = [layer for _, layer in model.walk()]
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        others = [layer for _, layer in again.walk()]
        assert [type(layer) for layer in layers] == [type(layer) for layer in others]
        assert not {*map(id, layers)} & {*map(id, others)}
        if model.is_built:
            np.testing.assert_array_equal(model(x), again(x))
            again.parameters.value[...] = 0
            assert np.abs(model.parameters.value).sum() > 0


def test_a_pickle_keeps_what_a_deep_nest_shares_with_others():
    shared = Dense(2)
    model = nested(Wrapped, 40)
    both = {"first": shared, "model": Sequential([nested(Wrapped, 20), shared, model, shared])}
    again = pickle.loads(pickle.dumps([*both.values(), model]))
    assert again[1][1] is again[1][3] is again[0] and again[1][2] is again[2]


# ------------------------------------------------------------------------------- generators


def draws(rng: np.random.Generator) -> list[Any]:
    return [rng.normal(), *[child.normal() for child in rng.spawn(2)], rng.integers(9)]


def advanced(kind: Any, seed: Any) -> np.random.Generator:
    rng = np.random.Generator(kind(seed)).spawn(3)[-1]
    rng.spawn(4)
    rng.random(5)
    return rng


SEEDS = [0, 7, 2**70 + 1, [3, 2**40], np.random.SeedSequence(5, spawn_key=(2**33, 1), pool_size=8)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS, ids=str)
def test_a_generator_continues_and_spawns_as_the_one_whose_state_it_has(kind, seed):
    rng = advanced(kind, seed)
    state = json.loads(json.dumps(state_of(rng)))
    other = np.random.Generator(kind(99))
    set_state(other, state)
    assert state_of(other) == state
    copied, expected = copied_generator(rng), None
    expected = draws(rng)
    assert draws(other) == expected and draws(copied) == expected


def test_a_state_without_a_seed_leaves_the_seed_as_it_is():
    """As in the files of chainrule 0.1."""
    rng, other = np.random.default_rng(1), np.random.default_rng(2)
    other.spawn(3)
    state = state_of(rng)
    del state["seed"]
    set_state(other, state)
    assert other.bit_generator.state == rng.bit_generator.state
    assert other.bit_generator.seed_seq.n_children_spawned == 3


def test_a_bookmark_takes_back_what_was_drawn_and_spawned():
    rng = advanced(np.random.PCG64, 3)
    put_back = bookmark(rng)
    expected = draws(rng)
    for _ in range(2):
        put_back()
        assert draws(rng) == expected


def test_a_failed_build_takes_back_what_it_spawned():
    class Fails(Layer):
        def build(self, shape: Any) -> None:
            self.generator("one")
            raise RuntimeError

        def forward(self, x: Any) -> Any:
            return x

    rng = np.random.default_rng(0)
    before = state_of(rng)
    with pytest.raises(Exception, match="build fails"):
        Fails().build((2,), rng=rng)
    assert state_of(rng) == before
