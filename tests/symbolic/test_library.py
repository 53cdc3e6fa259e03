"""The library, proven: every layer, loss and activation function, at small shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule import (
    GRU,
    LSTM,
    Activation,
    Add,
    Average,
    AveragePool,
    BatchNorm,
    Bidirectional,
    Branches,
    Concatenate,
    Convolution,
    Crop,
    Dense,
    Dot,
    Dropout,
    Embedding,
    Ensemble,
    Flatten,
    GaussianDropout,
    GaussianNoise,
    GlobalAveragePool,
    GlobalMaxPool,
    Graph,
    GroupNorm,
    Input,
    Layer,
    LayerNorm,
    Maximum,
    MaxPool,
    MultiHeadAttention,
    Multiply,
    Pad,
    Permute,
    PositionalEncoding,
    PReLU,
    Reshape,
    Residual,
    RMSNorm,
    Scan,
    Sequential,
    SimpleRNN,
    Slice,
    Softmax,
    SpatialDropout,
    SpectralConvolution,
    Subtract,
    TimeDistributed,
    TransformerBlock,
    TransposedConvolution,
    Upsample,
    losses,
    prove_layer,
    prove_loss,
)
from chainrule.layers.functions import KNOWN, Elu, LeakyRelu


def _shared() -> Sequential:
    dense = Dense(2)
    return Sequential([dense, Activation("tanh"), dense])


def _two_outputs() -> Graph:
    x = Input((2,))
    left, right = Activation("tanh")(Dense(2)(x)), Dense(2)(x)
    return Graph(x, [Add()(left, right), Multiply()(left, right)])


def _cell() -> Graph:
    x, h = Input((1,)), Input((2,))
    return Graph([x, h], Activation("tanh")(Add()(Dense(2)(x), Dense(2)(h))))


TWO = ((2,), (2,))
PROVEN: list[tuple[Layer, Any]] = [
    (Dense(2), (3,)),
    (Dense(2, use_bias=False), (2, 2)),
    (Convolution(2, 3), (4, 1)),
    (Convolution(2, 2, padding="valid", stride=2), (4, 1)),
    (Convolution(2, 2, dilation=2, padding="periodic"), (4, 1)),
    (Convolution(2, 3, padding="reflect"), (3, 1)),
    (Convolution(2, 2, groups=2), (3, 2)),
    (Convolution(1, 2), (3, 3, 1)),
    (Convolution(1, 2), (2, 2, 2, 1)),
    (TransposedConvolution(1, 2, stride=2), (2, 2)),
    (TransposedConvolution(1, 3), (3, 1)),
    (MaxPool(2), (4, 1)),
    (MaxPool(3, stride=2, padding="same"), (4, 1)),
    (AveragePool(2), (4, 1)),
    (AveragePool(3, stride=2, padding="same"), (3, 3, 1)),
    (GlobalMaxPool(), (3, 1)),
    (GlobalAveragePool(), (3, 1)),
    (Upsample(2), (2, 1)),
    (Upsample(2, method="linear"), (3, 1)),
    (Pad(1, mode="reflect"), (3, 1)),
    (Crop(1), (4, 1)),
    (BatchNorm(), (2,)),
    (BatchNorm(), (2, 1)),
    (LayerNorm(), (3,)),
    (GroupNorm(2), (4,)),
    (RMSNorm(), (3,)),
    (Dropout(0.5), (3,)),
    (SpatialDropout(0.5), (2, 2)),
    (GaussianDropout(0.5), (3,)),
    (GaussianNoise(0.5), (3,)),
    (PReLU(), (2,)),
    (PReLU(), ()),
    (Softmax(), (3,)),
    (Add(), TWO),
    (Subtract(), TWO),
    (Multiply(), ((2,), (2,), (2,))),
    (Average(), TWO),
    (Maximum(), TWO),
    (Concatenate(), ((2,), (1,))),
    (Dot(), TWO),
    (Flatten(), (2, 2)),
    (Reshape((2, 2)), (4,)),
    (Permute((2, 1)), (2, 2)),
    (Slice(1, 3), (4,)),
    (PositionalEncoding(), (2, 2)),
    (Embedding(3, 2), (2,)),
    (SimpleRNN(2), (2, 1)),
    (LSTM(2), (2, 2)),
    (LSTM(1, return_sequences=True), ((2, 1), (2,))),
    (GRU(2, return_sequences=True), (2, 2)),
    (Scan(_cell()), (2, 1)),
    (Bidirectional(GRU(1)), (2, 1)),
    (TimeDistributed(Dense(2)), (2, 1)),
    (MultiHeadAttention(1, causal=True), (2, 1)),
    (MultiHeadAttention(1), ((1, 1), (2, 1), (2,))),
    (Residual(Sequential([Dense(2), Activation("tanh"), Dense(2)])), (2,)),
    (Branches([Dense(1), Dense(2)], Concatenate()), (2,)),
    (Ensemble(Sequential([Dense(2), Activation("tanh")]), 2), (1,)),
    (Sequential([Dense(2), BatchNorm(), PReLU(), Dense(1)]), (2,)),
    (_shared(), (2,)),
    (_two_outputs(), (2,)),
]

WITHOUT_GUARDS = {"sigmoid", "softplus", "log_sigmoid", "silu", "mish", "gelu"}
"""Those that are proven by their formula: their code ends, or changes, in the tails."""


def _name(argument: Any) -> str:
    return type(argument).__name__ if isinstance(argument, Layer) else str(argument)


@pytest.mark.parametrize(("layer", "shape"), PROVEN, ids=_name)
def test_layer_is_proven(layer: Layer, shape: Any) -> None:
    proof = prove_layer(layer, shape)
    assert proof.status == "proven", str(proof)


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_activation_function_is_proven(name: str) -> None:
    proof = prove_layer(Activation(name), (1,))
    assert proof.status == "proven", str(proof)
    assert (proof.gap is not None) == (name in WITHOUT_GUARDS)
    assert proof.gap is None or proof.gap < 1e-15


@pytest.mark.parametrize(
    "function", [LeakyRelu(0.3), LeakyRelu(-0.5), Elu(0.5), Elu(2.0)], ids=repr
)
def test_activation_function_with_a_parameter_is_proven(function: Any) -> None:
    assert prove_layer(Activation(function), (1,)).status == "proven"


@pytest.mark.parametrize(
    "loss",
    [
        losses.HalfSquaredError(),
        losses.MeanSquaredError(),
        losses.MeanAbsoluteError(),
        losses.MeanSquare(),
        losses.MeanOutput(),
        losses.Huber(0.5),
        losses.GaussianNegativeLogLikelihood(),
        losses.GaussianNegativeLogLikelihood(floor=0.5),
        losses.SoftmaxCrossEntropy(),
        losses.SoftmaxCrossEntropy(label_smoothing=0.25),
        losses.NegativeLogLikelihood(),
        losses.SigmoidCrossEntropy(),
    ],
    ids=repr,
)
def test_loss_is_proven(loss: Any) -> None:
    proof = prove_loss(loss)
    assert proof.status == "proven", str(proof)


def test_cancelled_constants_leave_a_loss_undecided() -> None:
    """1 − 0.95 is 0.05 and six units of its last place: no simple number is read there."""
    proof = prove_loss(losses.SoftmaxCrossEntropy(label_smoothing=0.1))
    assert proof.status == "undecided"
    assert "∂C/∂y" in proof["gradient"].reason


def test_two_positions_of_attention() -> None:
    assert prove_layer(MultiHeadAttention(1), (2, 2), batch=1).status == "proven"


def test_a_block_of_attention_grows_too_large() -> None:
    proof = prove_layer(TransformerBlock(1, 2), (2, 2), batch=1, seconds=1.0)
    assert proof.status == "undecided"
    assert proof.seconds < 10


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(SpectralConvolution(1, 3), (5, 1)), (SpectralConvolution(1, 66), (130, 1))],
    ids=repr,
)
def test_fourier_transforms_are_undecidable(layer: Layer, shape: Any) -> None:
    proof = prove_layer(layer, shape)
    assert proof.status == "undecided"
    assert "complex numbers inside a layer" in proof["backward"].reason


def test_every_layer_has_a_test() -> None:
    import chainrule

    shipped = {
        name
        for name in chainrule.__all__
        if isinstance(thing := getattr(chainrule, name), type) and issubclass(thing, Layer)
    }
    seen = {type(layer).__name__ for layer, _ in PROVEN} | {
        "Graph",
        "Layer",
        "Formula",
        "Activation",
    }
    assert shipped - seen == {"SpectralConvolution", "TransformerBlock"}


def test_inference_with_running_statistics_is_not_claimed() -> None:
    names = [part.name for part in prove_layer(BatchNorm(), (2,))]
    assert names == ["backward", "accumulate", "arrays"]


def test_the_layer_does_not_change() -> None:
    layer = Dense(2)
    layer.build((2,), rng=0)
    before = layer.parameters.value.copy()
    prove_layer(layer)
    assert np.array_equal(layer.parameters.value, before)
    assert not np.any(layer.parameters.grad)
