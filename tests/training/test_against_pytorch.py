"""Losses and optimizers side by side with PyTorch's, which `make peers` installs."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import Activation, Concatenate, Dense, Graph, Input, Trainer
from chainrule.core.parameter import Parameter, ParameterVector
from chainrule.losses import (
    GaussianNegativeLogLikelihood,
    HalfSquaredError,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    NegativeLogLikelihood,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from chainrule.optimizers import SGD, Adagrad, Adam, Adamax, AdamW, RMSprop
from chainrule.optimizers.optimizer import Descent

pytestmark = pytest.mark.peers

EXACTNESS = {np.float32: 2e-6, np.float64: 1e-13}


def assert_same_value_and_delta(torch, loss, y, target, theirs, sample_weights=None):
    """Compare with ``theirs(y)``, a scalar of PyTorch, and its gradient with respect to y."""
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


@pytest.mark.parametrize("floor", [0.0, 0.3])
def test_the_gaussian_likelihood_is_that_of_pytorch_summed_over_the_targets(torch, dtype, floor):
    rng = np.random.default_rng(0)
    y, target = rng.normal(size=(8, 6)).astype(dtype), rng.normal(size=(8, 3)).astype(dtype)
    theirs = torch.nn.GaussianNLLLoss(full=True, reduction="sum", eps=1e-12)

    def cost(output):
        mean, log_variance = torch.split(output, 3, dim=1)
        return theirs(mean, torch.tensor(target), torch.exp(log_variance) + floor**2) / len(y)

    loss = GaussianNegativeLogLikelihood(floor=floor)
    assert_same_value_and_delta(torch, loss, y, target, cost)


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


@pytest.mark.parametrize("shape", [(9, 4), (3, 5, 4)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("ignored", [None, -1, 2])
def test_smoothed_and_ignored_labels_are_those_of_pytorch(torch, dtype, shape, smoothing, ignored):
    rng = np.random.default_rng(0)
    logits = (3 * rng.normal(size=shape)).astype(dtype)
    labels = rng.integers(4, size=shape[:-1])
    if ignored is not None:
        labels.flat[::3] = ignored
    theirs = torch.nn.CrossEntropyLoss(
        label_smoothing=smoothing, ignore_index=-100 if ignored is None else ignored
    )
    options = {"label_smoothing": smoothing, "ignore": ignored}
    assert_same_value_and_delta(
        torch,
        SoftmaxCrossEntropy(**options),
        logits,
        labels,
        lambda y: theirs(torch.movedim(y, -1, 1), torch.tensor(labels)),
    )
    kept = torch.tensor(np.full(labels.shape, True) if ignored is None else labels != ignored)
    chances = np.eye(4, dtype=dtype)[np.maximum(labels, 0)] * (1 - smoothing) + smoothing / 4
    assert_same_value_and_delta(
        torch,
        NegativeLogLikelihood(**options),
        softmax(logits),
        labels,
        lambda p: -(torch.tensor(chances.astype(dtype)) * torch.log(p)).sum(-1)[kept].mean(),
    )


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_smoothed_rows_are_those_of_pytorch(torch, dtype, smoothing):
    rng = np.random.default_rng(0)
    logits = (3 * rng.normal(size=(7, 5))).astype(dtype)
    rows = rng.dirichlet(np.ones(5), size=7).astype(dtype)
    theirs = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)
    assert_same_value_and_delta(
        torch,
        SoftmaxCrossEntropy(label_smoothing=smoothing),
        logits,
        rows,
        lambda y: theirs(y, torch.tensor(rows)),
    )


@pytest.mark.parametrize("weight", [0.25, 3.0, (0.0, 1.0, 2.5)])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_the_weight_of_a_yes_is_that_of_pytorch(torch, dtype, weight, scale):
    rng = np.random.default_rng(0)
    logits = (scale * rng.normal(size=(8, 3))).astype(dtype)
    target = rng.uniform(size=(8, 3)).astype(dtype)
    target[:4] = np.round(target[:4])
    theirs = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(np.broadcast_to(weight, 3).copy()))
    assert_same_value_and_delta(
        torch,
        SigmoidCrossEntropy(pos_weight=weight),
        logits,
        target,
        lambda y: theirs(y, torch.tensor(target)),
    )


def test_weights_for_positions_are_factors_before_the_average(torch, dtype):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(3, 5, 4)).astype(dtype), rng.integers(4, size=(3, 5))
    weights = rng.normal(size=(3, 5)).astype(dtype)  # of both signs
    theirs = torch.nn.CrossEntropyLoss(reduction="none")
    assert_same_value_and_delta(
        torch,
        SoftmaxCrossEntropy(),
        logits,
        labels,
        lambda y: torch.mean(
            torch.tensor(weights) * theirs(torch.movedim(y, -1, 1), torch.tensor(labels))
        ),
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
SETTINGS = {
    SGD: SETTINGS_OF_SGD,
    Adam: SETTINGS_OF_ADAM,
    AdamW: [*SETTINGS_OF_ADAM, {"weight_decay": 0.0}],
    Adamax: SETTINGS_OF_ADAM[:-1],
    RMSprop: [
        {},
        {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.03},
        {"momentum": 0.9},
        {"centered": True},
        {"centered": True, "momentum": 0.5, "alpha": 0.9, "eps": 0.1, "weight_decay": 0.03},
    ],
    Adagrad: [
        {},
        {"lr_decay": 0.1},
        {"initial_accumulator_value": 0.5, "eps": 1e-3},
        {"lr_decay": 0.01, "initial_accumulator_value": 0.1, "weight_decay": 0.03},
    ],
}
# With these, a start that differs in the last digit ends elsewhere in PyTorch alone.
CHAOTIC = [
    (Adamax, {"betas": (0.0, 0.5), "weight_decay": 0.03}),
    (RMSprop, {"centered": True, "momentum": 0.5, "alpha": 0.9, "weight_decay": 0.03}),
]
KINDS = list(SETTINGS)
NAMES = {
    "eps": "epsilon",
    "lr_decay": "learning_rate_decay",
    "initial_accumulator_value": "initial_accumulator",
}


def pair(torch, kind, parameters, rate=None, clipping=None, **settings):
    """PyTorch's optimizer of the same name, for its parameters, and ours."""
    given = {} if rate is None else {"lr": rate}
    theirs = getattr(torch.optim, kind.__name__)(parameters, **given, **settings)
    given = {} if rate is None else {"learning_rate": rate}
    ours = {NAMES.get(name, name): value for name, value in settings.items()}
    return theirs, kind(**given, **ours, **(clipping or {}))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(kind, settings) for kind, all_of_them in SETTINGS.items() for settings in all_of_them],
    ids=str,
)
def test_a_hundred_steps_are_those_of_pytorch(torch, kind, settings):
    # C(θ) = ½ θᵀ A θ with a spectrum from 0.1 to 3, so that each step depends on all before
    rng = np.random.default_rng(0)
    directions, _ = np.linalg.qr(rng.normal(size=(20, 20)))
    curvature = directions * np.linspace(0.1, 3, 20) @ directions.T
    start = rng.normal(size=20)

    def theirs(start):
        parameter = torch.tensor(start, requires_grad=True)
        optimizer, _ = pair(torch, kind, [parameter], 0.03, **settings)
        for _ in range(100):
            parameter.grad = torch.tensor(curvature @ parameter.detach().numpy())
            optimizer.step()
        return parameter.detach().numpy()

    value, expected = start.copy(), theirs(start)
    _, ours = pair(torch, kind, [torch.tensor(start, requires_grad=True)], 0.03, **settings)
    for _ in range(100):
        ours.step(value, curvature @ value)
    # How far PyTorch alone ends from itself when the start differs in the last digits. This depends
    # on the order in which the kernels of a processor sum.
    near = [start * (1 + 1e-15 * rng.uniform(-1, 1, size=20)) for _ in range(5)]
    spread = max(np.linalg.norm(theirs(other) - expected) for other in near)
    assert np.linalg.norm(value - expected) <= 1e-12 * np.linalg.norm(value) + 10 * spread
    assert spread <= 1e-9 * np.linalg.norm(value)  # else the comparison would say little


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(kind, settings) for kind, all_of_them in SETTINGS.items() for settings in all_of_them]
    + CHAOTIC,
    ids=str,
)
def test_a_hundred_steps_with_the_same_gradients_are_those_of_pytorch(torch, kind, settings):
    rng = np.random.default_rng(3)
    value = rng.normal(size=20)
    parameter = torch.tensor(value, requires_grad=True)
    theirs, ours = pair(torch, kind, [parameter], 0.03, **settings)
    for gradient in rng.normal(size=(100, 20)):
        parameter.grad = torch.tensor(gradient)
        theirs.step()
        ours.step(value, gradient)
    np.testing.assert_allclose(value, parameter.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_defaults_are_those_of_pytorch(torch, kind):
    rng = np.random.default_rng(1)
    value = rng.normal(size=10)
    parameter = torch.tensor(value, requires_grad=True)
    theirs, ours = pair(torch, kind, [parameter])
    for gradient in rng.normal(size=(20, 10)) * 10.0 ** np.arange(-10, 0):
        parameter.grad = torch.tensor(gradient)
        theirs.step()
        ours.step(value, gradient)
    np.testing.assert_allclose(value, parameter.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_a_learning_rate_that_changes_is_followed_as_in_pytorch(torch, kind):
    rng = np.random.default_rng(1)
    value = rng.normal(size=10)
    parameter = torch.tensor(value, requires_grad=True)
    settings = {"momentum": 0.9} if kind in (SGD, RMSprop) else {}
    theirs, ours = pair(torch, kind, [parameter], 0.1, **settings)
    for step in range(100):
        rate = 0.1 / (1 + step)
        gradient = rng.normal(size=10)
        theirs.param_groups[0]["lr"] = ours.learning_rate = rate
        parameter.grad = torch.tensor(gradient)
        theirs.step()
        ours.step(value, gradient)
    np.testing.assert_allclose(value, parameter.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "clipping",
    [{"clip_norm": 1.5}, {"clip_value": 0.3}, {"clip_norm": 0.5, "clip_value": 0.3}],
    ids=str,
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_clipped_steps_are_those_of_pytorch(torch, kind, clipping):
    # Two parameters there, one vector here: the norm is that of both. Some steps are clipped.
    rng = np.random.default_rng(0)
    value, curvature = rng.normal(size=20), np.linspace(0.1, 3, 20)
    parameters = [
        torch.tensor(part, requires_grad=True) for part in (value[:12].reshape(3, 4), value[12:])
    ]
    theirs, ours = pair(torch, kind, parameters, 0.03, clipping, weight_decay=0.03)
    clipped = 0
    for _ in range(100):
        g_1 = curvature[:12].reshape(3, 4) * parameters[0].detach().numpy()
        g_2 = curvature[12:] * parameters[1].detach().numpy()
        parameters[0].grad, parameters[1].grad = torch.tensor(g_1), torch.tensor(g_2)
        if "clip_value" in clipping:
            torch.nn.utils.clip_grad_value_(parameters, clipping["clip_value"])
        if "clip_norm" in clipping:
            torch.nn.utils.clip_grad_norm_(parameters, clipping["clip_norm"])
        clipped += not np.array_equal(parameters[1].grad.numpy(), g_2)
        theirs.step()
        ours.step(value, curvature * value)
    assert clipped > 3
    flat = np.concatenate([p.detach().numpy().ravel() for p in parameters])
    assert np.linalg.norm(value - flat) <= 1e-12 * np.linalg.norm(value)


def quadratic(rng):
    """C(θ) = ½ Σ c θ² with c from 0.1 to 3, for two weights and two biases."""
    shapes = [(3, 4), (4,), (4, 2), (2,)]
    parameters = {f"p{n}": Parameter(f"p{n}", rng.normal(size=s)) for n, s in enumerate(shapes)}
    vector = ParameterVector(parameters)
    ends = np.cumsum([p.size for p in vector])
    curvatures = np.split(np.linspace(0.1, 3, vector.size), ends[:-1])
    return vector, [c.reshape(p.shape) for c, p in zip(curvatures, vector, strict=True)]


def assert_same_parameters(vector, tensors):
    flat = np.concatenate([tensor.detach().numpy().ravel() for tensor in tensors])
    assert np.linalg.norm(vector.value - flat) <= 1e-12 * np.linalg.norm(flat)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(kind, settings) for kind, all_of_them in SETTINGS.items() for settings in all_of_them],
    ids=str,
)
def test_decay_without_biases_is_that_of_two_groups_of_parameters(torch, kind, settings):
    settings = {**settings, "weight_decay": settings.get("weight_decay") or 0.05}
    vector, curvatures = quadratic(np.random.default_rng(0))
    tensors = [torch.tensor(p.value, requires_grad=True) for p in vector]
    groups = [
        {"params": [t for t in tensors if t.ndim > 1]},
        {"params": [t for t in tensors if t.ndim < 2], "weight_decay": 0.0},
    ]
    theirs, ours = pair(torch, kind, groups, 0.03, {"decay_biases": False}, **settings)
    for _ in range(100):
        vector.zero_grad()
        for parameter, tensor, curvature in zip(vector, tensors, curvatures, strict=True):
            tensor.grad = torch.tensor(curvature * tensor.detach().numpy())
            parameter.accumulate(curvature * parameter.value)
        theirs.step()
        ours.descend(vector)
    assert_same_parameters(vector, tensors)


@pytest.mark.parametrize("decay_biases", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_temporarily_frozen_parameter_continues_as_in_pytorch(torch, kind, decay_biases):
    # There, a parameter without a gradient takes no part in a step, and counts its own steps.
    vector, curvatures = quadratic(np.random.default_rng(0))
    tensors = [torch.tensor(p.value, requires_grad=True) for p in vector]
    groups = [
        {"params": [t for t in tensors if t.ndim > 1]},
        {"params": [t for t in tensors if t.ndim < 2]},
    ]
    if not decay_biases:
        groups[1]["weight_decay"] = 0.0
    settings = {"momentum": 0.9} if kind in (SGD, RMSprop) else {}
    if kind is Adagrad:
        settings = {"lr_decay": 0.05}
    clipping = {"clip_norm": 1.5, "decay_biases": decay_biases}
    theirs, ours = pair(torch, kind, groups, 0.03, clipping, weight_decay=0.03, **settings)
    descent = Descent(ours, vector)
    frozen = {0: [0, 1], 30: [1, 2], 45: [], 60: [3], 61: [0, 1, 2, 3], 70: [1]}
    for step in range(100):
        for number, parameter in enumerate(vector):
            if step in frozen:
                parameter.trainable = number not in frozen[step]
        vector.zero_grad()
        for parameter, tensor, curvature in zip(vector, tensors, curvatures, strict=True):
            gradient = curvature * tensor.detach().numpy()
            tensor.grad = torch.tensor(gradient) if parameter.trainable else None
            parameter.accumulate(curvature * parameter.value)
        torch.nn.utils.clip_grad_norm_(tensors, 1.5)
        theirs.step()
        descent.step(vector.value, vector.grad)
    assert_same_parameters(vector, tensors)


@pytest.mark.parametrize(
    "gradient",
    [
        [3.0, -4.0],
        [0.3, -0.4],
        [0.0, 0.0],
        [np.inf, 1.0],
        [-np.inf, np.inf],
        [np.nan, 1.0],
        [1e200, 1.0],
    ],
    ids=str,
)
def test_a_norm_that_is_not_finite_is_taken_as_in_pytorch(torch, gradient):
    clips = {"clip_norm": torch.nn.utils.clip_grad_norm_}
    clips["clip_value"] = torch.nn.utils.clip_grad_value_
    for name, clip in clips.items():
        parameter = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        clip([parameter], 1.0)
        value = np.zeros(2)
        with np.errstate(all="ignore"):
            SGD(1.0, **{name: 1.0}).step(value, np.array(gradient))
        np.testing.assert_allclose(-value, parameter.grad.numpy(), rtol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
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
