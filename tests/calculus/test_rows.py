"""The gradient of each row: kept apart in one backward pass, against one pass for each row."""

from __future__ import annotations

import statistics
from time import process_time

import numpy as np
import pytest
from attrs import define

from chainrule import (
    LSTM,
    Activation,
    BatchNorm,
    Convolution,
    Dense,
    Dropout,
    Flatten,
    Graph,
    Input,
    LayerNorm,
    Sequential,
    Softmax,
    derivatives,
    losses,
)
from chainrule.core.errors import ConfigurationError
from chainrule.losses import Loss

RNG = np.random.default_rng(11)
X = RNG.normal(size=(7, 4))
NUMBERS, CHANCES = RNG.normal(size=(7, 3)), RNG.uniform(size=(7, 3))
LABELS = np.array([0, 2, 1, -1, 2, -1, 0])
EACH = np.where(RNG.uniform(size=(7, 3)) < 0.4, -1, RNG.integers(2, size=(7, 3)))


def network(*layers):
    model = Sequential([Dense(5), Activation("tanh"), Dense(3), *layers])
    model.build((4,), rng=0)
    return model


def by_loop(model, loss, x, t=None):
    """One call for each row."""
    rows = [slice(n, n + 1) for n in range(len(x))]
    given = [None if t is None else t[row] for row in rows]
    return np.array(
        [
            derivatives.value_and_gradient(model, loss, x[row], own)[1]
            for row, own in zip(rows, given, strict=True)
        ]
    )


@define
class Furthest(Loss):
    """Only the row with the largest output counts: rows see each other."""

    def costs(self, y, target):
        return np.where(y.max(axis=1) == y.max(), y.sum(axis=1), 0.0)

    def slopes(self, y, target):
        return np.where(y.max(axis=1, keepdims=True) == y.max(), np.ones_like(y), 0.0)


@define
class Summed(losses.HalfSquaredError):
    """A loss that sums over the batch, against the contract."""

    def value_and_delta(self, y, target=None, sample_weights=None):
        cost, delta = super().value_and_delta(y, target, sample_weights)
        return cost * len(y), delta * len(y)


@pytest.mark.parametrize(
    ("loss", "t"),
    [
        (losses.HalfSquaredError(), NUMBERS),
        (losses.MeanSquaredError(), NUMBERS),
        (losses.MeanAbsoluteError(), NUMBERS),
        (losses.Huber(0.3), NUMBERS),
        (losses.MeanSquare(), None),
        (losses.MeanOutput(), None),
        (losses.SigmoidCrossEntropy(), CHANCES),
        (losses.SigmoidCrossEntropy(ignore=-1), EACH),
        (losses.SoftmaxCrossEntropy(), CHANCES),
        (losses.SoftmaxCrossEntropy(label_smoothing=0.1), abs(LABELS)),
        (losses.SoftmaxCrossEntropy(ignore=-1), LABELS),
        (Furthest(), NUMBERS),
        (Summed(), NUMBERS),
    ],
    ids=repr,
)
def test_the_gradients_of_all_rows_are_those_of_each_row_alone(loss, t):
    model = network()
    found = derivatives.per_sample_gradients(model, loss, X, t)
    np.testing.assert_allclose(found, by_loop(model, loss, X, t), rtol=1e-11, atol=1e-14)


def test_probabilities_that_follow_a_softmax():
    model, loss = network(Softmax()), losses.NegativeLogLikelihood()
    found = derivatives.per_sample_gradients(model, loss, X, abs(LABELS))
    np.testing.assert_allclose(found, by_loop(model, loss, X, abs(LABELS)), rtol=1e-11, atol=1e-14)


def test_labels_ignored_within_a_row():
    x, labels = RNG.normal(size=(5, 6, 4)), RNG.integers(-1, 3, size=(5, 6))
    labels[2] = -1
    model = Sequential([Dense(3)])
    model.build((6, 4), rng=0)
    loss = losses.SoftmaxCrossEntropy(ignore=-1)
    found = derivatives.per_sample_gradients(model, loss, x, labels)
    np.testing.assert_allclose(found, by_loop(model, loss, x, labels), rtol=1e-11, atol=1e-14)
    assert not found[2].any()


def test_several_outputs_with_a_loss_each():
    x = Input((4,))
    model = Graph(x, (Dense(3)(x), Dense(3)(x), Dense(2)(x)))
    model.build((4,), rng=0)
    loss = losses.PerOutput(
        [losses.SoftmaxCrossEntropy(ignore=-1), losses.Huber(), losses.MeanSquare()],
        weights=[2.0, 0.5, 1.5],
    )
    found = derivatives.per_sample_gradients(model, loss, X, (LABELS, NUMBERS, None))
    for n in range(7):
        row = slice(n, n + 1)
        given = (LABELS[row], NUMBERS[row], None)
        alone = derivatives.value_and_gradient(model, loss, X[row], given)[1]
        np.testing.assert_allclose(found[n], alone, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_small_batches(batch):
    model, loss = network(), losses.HalfSquaredError()
    found = derivatives.per_sample_gradients(model, loss, X[:batch], NUMBERS[:batch])
    assert found.shape == (batch, model.parameters.size)
    if batch:
        expected = by_loop(model, loss, X[:batch], NUMBERS[:batch])
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([LayerNorm(), Dense(3)], (4,)),
        ([Convolution(2, 3), Flatten(), Dense(3)], (6, 2)),
        ([LSTM(3)], (5, 2)),
    ],
)
def test_layers_that_sum_over_more_than_rows(layers, shape):
    model, x = Sequential(layers), RNG.normal(size=(7, *shape))
    model.build(shape, rng=0)
    loss = losses.HalfSquaredError()
    found = derivatives.per_sample_gradients(model, loss, x, NUMBERS)
    np.testing.assert_allclose(found, by_loop(model, loss, x, NUMBERS), rtol=1e-10, atol=1e-13)


def test_random_numbers_are_those_of_a_batch_of_one_row():
    model, loss = network(Dropout(0.5)), losses.HalfSquaredError()
    found = derivatives.per_sample_gradients(model, loss, X, NUMBERS)
    np.testing.assert_array_equal(found, by_loop(model, loss, X, NUMBERS))
    assert derivatives.per_sample_gradients(model, loss, X[:0], NUMBERS[:0]).shape == (0, 43)


def test_rows_that_see_each_other_have_no_gradient_alone():
    with pytest.raises(ConfigurationError, match="influence each other"):
        derivatives.per_sample_gradients(
            network(BatchNorm()), losses.HalfSquaredError(), X, NUMBERS
        )


def test_rows_stay_float32():
    model = Sequential([Dense(3)])
    model.build((4,), rng=0, dtype="float32")
    loss = losses.SoftmaxCrossEntropy(ignore=-1)
    assert derivatives.per_sample_gradients(model, loss, X, LABELS).dtype == np.float32


@pytest.mark.peers
@pytest.mark.parametrize("ignored", [False, True])
def test_per_sample_gradients_equal_those_of_pytorch(torch, ignored):
    model = network()
    loss = losses.SoftmaxCrossEntropy(ignore=-1) if ignored else losses.HalfSquaredError()
    t = LABELS if ignored else NUMBERS
    theirs = [torch.tensor(p.value) for p in model.parameters]

    def cost(parameters, x, target):
        w1, b1, w2, b2 = parameters
        y = torch.tanh(x @ w1 + b1) @ w2 + b2
        if ignored:
            chance = torch.log_softmax(y, dim=-1)
            return -(chance * (target == torch.arange(3))).sum()
        return 0.5 * ((y - target) ** 2).sum()

    each = torch.func.vmap(torch.func.grad(cost), in_dims=(None, 0, 0))
    expected = each(theirs, torch.tensor(X), torch.tensor(t))
    expected = np.concatenate([part.reshape(7, -1).numpy() for part in expected], axis=1)
    found = derivatives.per_sample_gradients(model, loss, X, t)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-14)


def median(function, repeats=25):
    """The median processor time in milliseconds."""
    times = []
    for _ in range(repeats):
        start = process_time()
        function()
        times.append(process_time() - start)
    return 1e3 * statistics.median(times)


def test_all_rows_take_little_longer_than_by_hand():
    """At most five times as long and a millisecond, where by hand takes 0.13 ms."""
    x, t = RNG.normal(size=(400, 3)), RNG.normal(size=(400, 1))
    model, loss = Sequential([Dense(16), Activation("tanh"), Dense(1)]), losses.HalfSquaredError()
    model.build((3,), rng=0)
    w1, b1, w2, b2 = (p.value for p in model.parameters)

    def by_hand():
        h = np.tanh(x @ w1 + b1)
        delta = h @ w2 + b2 - t
        back = delta @ w2.T * (1 - h * h)
        parts = (x[:, :, None] * back[:, None], back, h[:, :, None] * delta[:, None], delta)
        return np.concatenate([part.reshape(400, -1) for part in parts], axis=1)

    found = derivatives.per_sample_gradients(model, loss, x, t)
    np.testing.assert_allclose(found, by_hand(), rtol=1e-11, atol=1e-13)
    calls = [
        lambda: derivatives.per_sample_gradients(model, loss, x, t),
        lambda: derivatives.row_gradients(model, x, np.ones((400, 1))),
        lambda: derivatives.jacobian(model, x, "parameters"),
    ]
    for call in calls:
        assert min(median(call) / median(by_hand) for _ in range(3)) < 5 + 1 / 0.13


@pytest.mark.parametrize("ignore", [None, -1])
def test_the_deltas_of_all_rows_take_a_few_calls_of_the_loss(ignore):
    calls = []

    @define(repr=False)
    class Counted(losses.SoftmaxCrossEntropy):
        def value_and_delta(self, y, target=None, sample_weights=None):
            calls.append(len(y))
            return super().value_and_delta(y, target, sample_weights)

    x, labels = RNG.normal(size=(60, 4)), RNG.integers(0 if ignore is None else -1, 3, size=60)
    derivatives.per_sample_gradients(network(), Counted(ignore=ignore), x, labels)
    assert sorted(calls) == [1] * 3 + [60]  # three rows are compared
