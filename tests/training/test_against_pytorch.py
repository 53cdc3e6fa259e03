"""Losses and optimizers side by side with PyTorch's, which `make peers` installs."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import Activation, Concatenate, Dense, Graph, Input, Trainer
from chainrule.training.losses import (
    HalfSquaredError,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    NegativeLogLikelihood,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from chainrule.training.optimizers import SGD, Adam

pytestmark = pytest.mark.peers

EXACTNESS = {np.float32: 2e-6, np.float64: 1e-13}


def assert_same_value_and_delta(torch, loss, y, target, theirs, sample_weights=None):
    """Compare with ``theirs(y)``, a scalar of PyTorch, and what it gives back to y."""
    output = torch.tensor(y, requires_grad=True)
    cost = theirs(output)
    cost.backward()
    value, delta = loss.value_and_delta(y, target, sample_weights)
    exactness = EXACTNESS[y.dtype.type]
    assert value == pytest.approx(cost.item(), rel=exactness)
    scale = np.max(np.abs(delta))
    np.testing.assert_allclose(
        delta, output.grad.numpy(), rtol=exactness, atol=float(exactness * scale)
    )


@pytest.fixture(params=[np.float32, np.float64])
def dtype(request):
    return request.param


@pytest.mark.parametrize("shape", [(7, 3), (4, 2, 5), (6,)])
@pytest.mark.parametrize(
    ("loss", "name", "arguments"),
    [
        (MeanSquaredError(), "MSELoss", {}),
        (MeanAbsoluteError(), "L1Loss", {}),
        (Huber(), "HuberLoss", {}),
        (Huber(0.3), "HuberLoss", {"delta": 0.3}),
        (SigmoidCrossEntropy(), "BCEWithLogitsLoss", {}),
    ],
)
def test_means_over_batch_and_outputs_are_those_of_pytorch(
    torch, dtype, shape, loss, name, arguments
):
    rng = np.random.default_rng(0)
    y = (3 * rng.normal(size=shape)).astype(dtype)
    target = rng.uniform(size=shape).astype(dtype)
    theirs = getattr(torch.nn, name)(**arguments)
    assert_same_value_and_delta(
        torch, loss, y, target, lambda output: theirs(output, torch.tensor(target))
    )


def test_half_squared_error_is_half_the_sum_of_pytorch_over_the_batch(torch, dtype):
    rng = np.random.default_rng(0)
    y, target = rng.normal(size=(2, 8, 3)).astype(dtype)
    total = torch.nn.MSELoss(reduction="sum")
    assert_same_value_and_delta(
        torch,
        HalfSquaredError(),
        y,
        target,
        lambda output: total(output, torch.tensor(target)) / (2 * len(y)),
    )


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("shape", [(9, 4), (3, 5, 4)])
def test_softmax_cross_entropy_is_that_of_pytorch(torch, dtype, shape, scale):
    rng = np.random.default_rng(0)
    logits = (scale * rng.normal(size=shape)).astype(dtype)
    labels = rng.integers(shape[-1], size=shape[:-1])
    soft = rng.dirichlet(np.ones(shape[-1]), size=shape[:-1]).astype(dtype)
    theirs = torch.nn.CrossEntropyLoss()
    loss = SoftmaxCrossEntropy()

    def classes_last(output):  # PyTorch has the classes on the second axis
        return torch.movedim(output, -1, 1)

    assert_same_value_and_delta(
        torch, loss, logits, labels, lambda y: theirs(classes_last(y), torch.tensor(labels))
    )
    assert_same_value_and_delta(
        torch,
        loss,
        logits,
        soft,
        lambda y: theirs(classes_last(y), classes_last(torch.tensor(soft))),
    )


@pytest.mark.parametrize("shape", [(9, 4), (3, 5, 4)])
def test_negative_log_likelihood_is_that_of_pytorch(torch, dtype, shape):
    rng = np.random.default_rng(0)
    y = rng.dirichlet(np.ones(shape[-1]), size=shape[:-1]).astype(dtype)
    labels = rng.integers(shape[-1], size=shape[:-1])
    theirs = torch.nn.NLLLoss()
    assert_same_value_and_delta(
        torch,
        NegativeLogLikelihood(),
        y,
        labels,
        lambda output: theirs(torch.movedim(torch.log(output), -1, 1), torch.tensor(labels)),
    )


def test_sample_weights_are_factors_before_the_average(torch, dtype):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 4)).astype(dtype)
    labels = rng.integers(4, size=6)
    weights = np.array([0.0, 1.0, 0.5, 2.0, 1.0, 3.0], dtype)
    theirs = torch.nn.CrossEntropyLoss(reduction="none")
    assert_same_value_and_delta(
        torch,
        SoftmaxCrossEntropy(),
        logits,
        labels,
        lambda y: torch.mean(torch.tensor(weights) * theirs(y, torch.tensor(labels))),
        weights,
    )


SETTINGS_OF_SGD = [
    {},
    {"weight_decay": 0.03},
    {"momentum": 0.9},
    {"momentum": 0.9, "weight_decay": 0.03},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.03},
]
SETTINGS_OF_ADAM = [
    {},
    {"betas": (0.8, 0.95), "eps": 1e-3},
    {"weight_decay": 0.03},
    {"betas": (0.0, 0.5), "weight_decay": 0.03},
]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(SGD, settings) for settings in SETTINGS_OF_SGD]
    + [(Adam, settings) for settings in SETTINGS_OF_ADAM],
    ids=str,
)
def test_a_hundred_steps_are_those_of_pytorch(torch, kind, settings):
    # C(θ) = ½ θᵀ A θ with a spectrum from 0.1 to 3, so that each step depends on all before
    rng = np.random.default_rng(0)
    directions, _ = np.linalg.qr(rng.normal(size=(20, 20)))
    curvature = directions * np.linspace(0.1, 3, 20) @ directions.T
    value = rng.normal(size=20)
    parameter = torch.tensor(value, requires_grad=True)
    theirs = getattr(torch.optim, kind.__name__)([parameter], lr=0.03, **settings)
    ours = kind(0.03, **{"epsilon" if k == "eps" else k: v for k, v in settings.items()})
    for _ in range(100):
        parameter.grad = torch.tensor(curvature @ parameter.detach().numpy())
        theirs.step()
        ours.step(value, curvature @ value)
    difference = np.linalg.norm(value - parameter.detach().numpy())
    assert difference <= 1e-12 * np.linalg.norm(value)


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_learning_rate_that_changes_is_followed_as_in_pytorch(torch, kind):
    rng = np.random.default_rng(1)
    value = rng.normal(size=10)
    parameter = torch.tensor(value, requires_grad=True)
    settings = {"momentum": 0.9} if kind is SGD else {}
    theirs = getattr(torch.optim, kind.__name__)([parameter], lr=0.1, **settings)
    ours = kind(0.1, **settings)
    for step in range(100):
        rate = 0.1 / (1 + step)
        gradient = rng.normal(size=10)
        theirs.param_groups[0]["lr"] = ours.learning_rate = rate
        parameter.grad = torch.tensor(gradient)
        theirs.step()
        ours.step(value, gradient)
    np.testing.assert_allclose(value, parameter.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_twenty_steps_of_two_inputs_outputs_and_losses_are_those_of_pytorch(torch, kind):
    rng = np.random.default_rng(2)
    left, right = rng.normal(size=(16, 3)), rng.normal(size=(16, 4))
    numbers, labels = rng.normal(size=(16, 2)), rng.integers(0, 3, 16)
    weights = rng.uniform(0.5, 2.0, 16)
    inputs = Input((3,)), Input((4,))
    hidden = Activation("tanh")(Dense(8)(Concatenate()(*inputs)))
    model = Graph(list(inputs), [Dense(2)(hidden), Dense(3)(hidden)])
    model.build(rng=0)

    parameters = [torch.tensor(p.value, requires_grad=True) for p in model.parameters]
    w, b, w_1, b_1, w_2, b_2 = parameters
    theirs = getattr(torch.optim, kind.__name__)(parameters, lr=0.05)
    x = torch.tensor(np.concatenate([left, right], axis=1))
    cross_entropy = torch.nn.CrossEntropyLoss(reduction="none")
    costs = []
    for _ in range(20):
        theirs.zero_grad()
        h = torch.tanh(x @ w + b)
        c_1 = 0.5 * torch.sum((h @ w_1 + b_1 - torch.tensor(numbers)) ** 2, dim=1)
        c_2 = cross_entropy(h @ w_2 + b_2, torch.tensor(labels))
        cost = torch.mean(torch.tensor(weights) * (c_1 + 0.3 * c_2))
        cost.backward()
        theirs.step()
        costs.append(cost.item())

    losses = [HalfSquaredError(), SoftmaxCrossEntropy()]
    trainer = Trainer(model, losses, kind(0.05), loss_weights=[1.0, 0.3], rng=0)
    history = trainer.fit(
        (left, right), (numbers, labels), sample_weights=weights, epochs=20, batch_size=16
    )
    np.testing.assert_allclose(history["loss"], costs, rtol=1e-10)
    flat = np.concatenate([p.detach().numpy().ravel() for p in parameters])
    np.testing.assert_allclose(model.parameters.value, flat, rtol=1e-10, atol=1e-10)
