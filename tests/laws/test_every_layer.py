"""Every law over every layer and container that chainrule ships, drawn by hypothesis."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule import Activation, Dense, Sequential, Softmax, check_layer, check_loss, losses
from chainrule.core.initializers import KNOWN as INITIALIZERS
from chainrule.layers.functions import KNOWN as FUNCTIONS
from chainrule.layers.functions import Elu, LeakyRelu

widths = st.integers(1, 6)
dense = st.builds(
    Dense,
    widths,
    use_bias=st.booleans(),
    initializer=st.sampled_from(sorted(set(INITIALIZERS) - {"zeros"})),
)
activation = st.sampled_from(sorted(FUNCTIONS)).map(Activation) | st.sampled_from(
    [Activation(LeakyRelu(0.3)), Activation(Elu(0.5)), Activation(np.sin, np.cos)]
)
layers = dense | activation | st.builds(Softmax)
sequences = st.recursive(
    layers, lambda inner: st.lists(inner, min_size=1, max_size=4).map(Sequential), max_leaves=8
)


@given(layer=dense, width=widths, rng=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_dense_keeps_every_law(layer, width, rng):
    assert check_layer(layer, (width,), rng=rng).ok


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
@given(shape=st.lists(widths, max_size=3).map(tuple), rng=st.integers(0, 2**32 - 1))
@settings(max_examples=8)
def test_activation_keeps_every_law(name, shape, rng):
    assert check_layer(Activation(name), shape, rng=rng).ok


@given(shape=st.lists(widths, min_size=1, max_size=3).map(tuple), rng=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_softmax_keeps_every_law(shape, rng):
    assert check_layer(Softmax(), shape, rng=rng).ok


@given(model=sequences, width=widths, rng=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_sequences_of_sequences_keep_every_law(model, width, rng):
    assert check_layer(model, (width,), rng=rng).ok


def test_a_layer_used_in_two_places_keeps_every_law():
    shared, bend = Dense(4), Activation("tanh")
    model = Sequential([shared, bend, Sequential([shared, bend]), Dense(2), Softmax()])
    assert check_layer(model, (4,)).ok


LOSSES = [
    losses.HalfSquaredError(),
    losses.MeanSquaredError(),
    losses.MeanAbsoluteError(),
    losses.MeanSquare(),
    losses.MeanOutput(),
    losses.Huber(),
    losses.Huber(0.3),
    losses.SoftmaxCrossEntropy(),
    losses.SigmoidCrossEntropy(),
    losses.NegativeLogLikelihood(),
    losses.SoftmaxCrossEntropy(label_smoothing=0.1, ignore=-1),
    losses.SoftmaxCrossEntropy(ignore=0),
    losses.NegativeLogLikelihood(label_smoothing=0.2, ignore=-100),
    losses.SigmoidCrossEntropy(pos_weight=3.0, label_smoothing=0.1, ignore=-1),
    losses.SigmoidCrossEntropy(ignore=0),
]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@given(
    shape=st.lists(st.integers(2, 6), min_size=1, max_size=2).map(tuple),
    rng=st.integers(0, 2**32 - 1),
)
@settings(max_examples=10)
def test_every_loss_keeps_every_law(loss, shape, rng):
    assert check_loss(loss, shape, rng=rng).ok


def test_probabilities_close_to_one_raise_no_false_alarm():
    assert check_loss(losses.NegativeLogLikelihood(), (2, 2), rng=2249).ok
