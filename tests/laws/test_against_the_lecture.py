"""The layers compute what the lecture's thirty lines compute, to rounding."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule import Activation, Dense, Sequential, Trainer, lecture, losses, optimizers


def _tanh(z):
    return np.tanh(z), 1 - np.tanh(z) ** 2


def _relu(z):
    return np.maximum(z, 0), (z > 0).astype(z.dtype)


def _softplus(z):
    return np.logaddexp(0, z), 1 / (1 + np.exp(-z))


def _sine(z):
    return np.sin(z), np.cos(z)


PAIRS = {
    "sigmoid": lecture.net_f_df,
    "tanh": _tanh,
    "relu": _relu,
    "softplus": _softplus,
    "sin": _sine,
    "identity": lambda z: (z, np.ones_like(z)),
}


@st.composite
def networks(draw):
    """A network in both forms: a model, and the lecture's lists with its functions."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=2, max_size=6))
    names = [draw(st.sampled_from(sorted(PAIRS))) for _ in sizes[1:]]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    model = Sequential(
        [
            layer
            for size, name in zip(sizes[1:], names, strict=True)
            for layer in (Dense(size, bias_initializer="lecture_uniform"), Activation(name))
        ]
    )
    model.build(sizes[:1], rng=rng, dtype="float64")
    batch = draw(st.integers(1, 12))
    x, t = rng.normal(size=(batch, sizes[0])), rng.normal(size=(batch, sizes[-1]))
    return model, [PAIRS[name] for name in names], x, t


def _lists(model):
    weights = [layer.weights.value.copy() for layer in model if isinstance(layer, Dense)]
    biases = [layer.biases.value.copy() for layer in model if isinstance(layer, Dense)]
    return weights, biases


def _assert_equal(ours, theirs):
    scale = max(1.0, float(np.max(np.abs(theirs))))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13 * scale)


@given(networks())
@settings(max_examples=100)
def test_gradients_are_the_lectures(network):
    model, f_df, x, t = network
    weights, biases = _lists(model)
    y_layer, df_layer = lecture.apply_net(x, weights, biases, f_df)
    dw_layer, db_layer = lecture.backprop(t, y_layer, df_layer, weights)

    loss = losses.HalfSquaredError()
    model.parameters.zero_grad()
    y = model.forward(x)
    model.backward(loss.delta(y, t))

    _assert_equal(y, y_layer[-1])
    _assert_equal(model(x), lecture.apply_net_simple(x, weights, biases, f_df))
    dense = [layer for layer in model if isinstance(layer, Dense)]
    for layer, dw, db in zip(dense, dw_layer, db_layer, strict=True):
        _assert_equal(layer.weights.grad, dw)
        _assert_equal(layer.biases.grad, db)


# Of networks that are drawn at random some are dead, and rightly told to be.
@pytest.mark.filterwarnings("ignore::chainrule.training.delta_watch.DeltasWarning")
@given(networks())
@settings(max_examples=20)
def test_a_hundred_steps_of_training_are_the_lectures(network):
    model, f_df, x, t = network
    weights, biases = _lists(model)
    eta = 0.01
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(learning_rate=eta), rng=0)
    history = trainer.fit(lambda rng: (x, t), epochs=100, steps_per_epoch=1, progress=False)
    costs = [lecture.train_net(x, t, eta, weights, biases, f_df) for _ in range(100)]
    _assert_equal(history["loss"], costs)
    ours = _lists(model)
    for one, other in zip(ours[0] + ours[1], weights + biases, strict=True):
        _assert_equal(one, other)
