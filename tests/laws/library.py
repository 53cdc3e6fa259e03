"""Every layer and container that chainrule ships, with the shape of a row for it.

`laws.seeds` checks all of them with many seeds, and the layers of the zoo that are unusual but
right. A new layer gets a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from attrs import define

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
    physics,
)
from chainrule.core.layer import Layer
from chainrule.layers.functions import KNOWN as FUNCTIONS
from chainrule.layers.functions import Elu, LeakyRelu
from laws.formulas import FORMULAS
from laws.unusual_layers import UNUSUAL, WITH_INPUTS, tokens, tokens_as_floats


def _diamond() -> Graph:
    x = Input((4,))
    left, right = Activation("tanh")(Dense(3)(x)), Dense(3)(x)
    return Graph(x, [Add()(left, right), Multiply()(left, right)])


def _shared() -> Sequential:
    dense, bend = Dense(4), Activation("tanh")
    return Sequential([dense, bend, Sequential([dense, bend]), Dense(2), Softmax()])


def _cell(function: str = "tanh") -> Graph:
    x, h = Input((2,)), Input((3,))
    return Graph([x, h], Activation(function)(Add()(Dense(3)(x), Dense(3)(h))))


def _network(*function: Any, outputs: int = 1) -> Sequential:
    return Sequential([Dense(4), Activation(*function), Dense(outputs)])


TWO = ((4,), (4,))

LIBRARY: list[tuple[Layer, Any]] = [
    (Dense(3), (4,)),
    (Dense(3, use_bias=False), (4,)),
    (Dense(2, initializer="orthogonal"), (3, 4)),
    (Dense(1), (1,)),
    (Convolution(3, 3), (5, 2)),
    (Convolution(4, (3, 2), stride=(2, 1), padding="valid", groups=2), (5, 4, 2)),
    (Convolution(2, 3, padding="periodic", dilation=2), (5, 4, 1)),
    (Convolution(2, 3, stride=2, padding="reflect"), (5, 4, 2)),
    (Convolution(2, 2, padding=((1, 0), (0, 2), (1, 1)), use_bias=False), (2, 3, 2, 2)),
    (TransposedConvolution(2, 3), (5, 2)),
    (TransposedConvolution(2, 3, stride=2, dilation=2), (3, 2, 2)),
    (TransposedConvolution(4, 3, stride=2, padding="periodic", groups=2), (2, 3, 2)),
    *((Activation(name), (4,)) for name in sorted(FUNCTIONS)),
    (Activation("tanh"), ()),
    (Activation("gelu"), (2, 3)),
    (Activation(LeakyRelu(0.3)), (4,)),
    (Activation(Elu(0.5)), (4,)),
    (Activation(np.sin, np.cos), (4,)),
    (PReLU(), (4,)),
    (PReLU(), ()),
    (PReLU(), (2, 3)),
    (Softmax(), (4,)),
    (Softmax(), (2, 3)),
    (Add(), TWO),
    (Subtract(), TWO),
    (Multiply(), TWO),
    (Multiply(), ((3,), (3,), (3,))),
    (Average(), TWO),
    (Maximum(), TWO),
    (Concatenate(), ((2,), (3,))),
    (Dot(), TWO),
    (Flatten(), (2, 3)),
    (Reshape((3, 2)), (6,)),
    (Permute((2, 1)), (2, 3)),
    (Slice(1, 3), (5,)),
    (MaxPool(2), (4, 6, 2)),
    (MaxPool(3, stride=2, padding="same"), (5, 2)),
    (AveragePool(2), (4, 6, 2)),
    (AveragePool(3, stride=2, padding="same"), (4, 5, 1)),
    (GlobalMaxPool(), (3, 2)),
    (GlobalAveragePool(), (2, 3, 2)),
    (Upsample(2), (2, 3, 2)),
    (Upsample(3, method="linear"), (3, 2)),
    (Pad(1), (2, 3, 1)),
    (Pad(((1, 2),), mode="periodic"), (3, 2)),
    (Pad((1, 2), mode="reflect"), (2, 3, 2)),
    (Crop((1, (0, 1))), (3, 3, 2)),
    (BatchNorm(), (4,)),
    (BatchNorm(momentum=0.5, epsilon=1e-3), (3, 2)),
    (LayerNorm(), (4,)),
    (LayerNorm(epsilon=0.1), (2, 3)),
    (GroupNorm(2), (4,)),
    (GroupNorm(3), (2, 2, 6)),
    (RMSNorm(), (4,)),
    (RMSNorm(), (2, 3)),
    (Dropout(0.3), (4,)),
    (Dropout(0.0), (2, 3)),
    (SpatialDropout(0.4), (3, 2)),
    (GaussianDropout(0.2), (4,)),
    (GaussianNoise(0.1), (4,)),
    (MultiHeadAttention(2), (3, 4)),
    (MultiHeadAttention(1, units=3, causal=True), ((3, 2), (4, 3))),
    (MultiHeadAttention(2, units=2), ((2, 3), (3, 2), (3,))),
    (MultiHeadAttention(1, causal=True), ((2, 3), (3, 2), (2, 3))),
    (PositionalEncoding(), (3, 3)),
    (SpectralConvolution(2, 3), (5, 2)),
    (SpectralConvolution(1, (3, 2)), (3, 4, 2)),
    (SpectralConvolution(2, 1), (2, 1, 2, 1)),
    (SpectralConvolution(1, 66), (130, 1)),
    (TransformerBlock(2, 3), (3, 4)),
    (TransformerBlock(1, 5, causal=True, rate=0.3), (2, 4)),
    (Sequential([Dense(4), BatchNorm(), PReLU(), Dropout(0.5), LayerNorm()]), (3,)),
    (Residual(Sequential([RMSNorm(), Dropout(0.2), Dense(4)])), (4,)),
    (Residual(Dense(4)), (4,)),
    (Residual(Sequential([Dense(3), Activation("relu"), Dense(4)])), (4,)),
    (Branches([Dense(2), Dense(3)], Concatenate()), (4,)),
    (Ensemble(Sequential([Dense(3), Activation("tanh"), Dense(2)]), 3), (4,)),
    (Ensemble(Dense(2), 2, gaussian=True, floor=0.1, scale=1.5), (2, 3)),
    (Sequential([Dense(5), Activation("relu"), Dense(3), Softmax()]), (4,)),
    (Sequential([Dense(3), Sequential([Activation("elu"), Residual(Dense(3))])]), (2,)),
    (_shared(), (4,)),
    (_diamond(), (4,)),
    (SimpleRNN(3, return_sequences=True), (4, 2)),
    (LSTM(3), (4, 2)),
    (LSTM(2, return_sequences=True, stateful=True), (3, 2)),
    (GRU(3, return_sequences=True), (4, 2)),
    (Scan(_cell()), (4, 2)),
    (Bidirectional(GRU(2, return_sequences=True)), (4, 2)),
    (TimeDistributed(Sequential([Dense(3), Activation("tanh")])), (4, 2)),
]


def _network(units: int, *function: Any) -> Sequential:
    return Sequential([Dense(4), Activation(*(function or ("tanh",))), Dense(units)])


PHYSICS: list[tuple[Layer, Any]] = [
    (physics.Derivatives(_network(1)), (3,)),
    (physics.Derivatives(_network(1), order=2), (2,)),
    (physics.Derivatives(_network(2), order=2, second=[(1, 0), (1, 1)]), (2,)),
    (physics.Hamiltonian(_network(1)), (4,)),
    (physics.Lagrangian(_network(1, np.sin, np.cos)), (4,)),
    (physics.NeuralODE(_network(2), [0.0, 0.5, 0.7], substeps=2), (2,)),
    (physics.NeuralODE(_network(2), [0.0, 0.01, 0.02], "dopri5", rtol=1e-3), (2,)),
    (physics.Equilibrium(_cell("sigmoid"), tolerance=1e-14), (2,)),
]
"""Layers that evaluate others several times. There is no program of them, and a check takes up to
two seconds: the tests try one seed."""


LIBRARY_WITH_INPUTS: list[tuple[Layer, Any, Any]] = [
    (Embedding(5, 3), (2,), tokens),
    (Embedding(5, 2), (2, 2), tokens_as_floats),
    (Embedding(5, 2), (), tokens),
    (Sequential([Embedding(5, 3), Flatten(), Dense(2)]), (2,), tokens),
]
"""Layers that need inputs of their own, and a function that draws them."""


@define
class Checked:
    """A layer to check: its name, how it is made, and what `check_layer` gets."""

    name: str
    layer: Layer
    shape: Any
    inputs: Callable[[Any], Any] | None = None


def everything() -> Iterator[Checked]:
    """The library, formulas, the unusual layers of the zoo, and the layers of physics."""
    cases = [(layer, shape, None) for layer, shape in [*LIBRARY, *FORMULAS, *UNUSUAL, *PHYSICS]]
    for number, (layer, shape, inputs) in enumerate([*cases, *LIBRARY_WITH_INPUTS, *WITH_INPUTS]):
        text = repr(layer)
        name = text if len(text) < 40 and "\n" not in text else type(layer).__name__
        yield Checked(f"{number:02d} {name} on {shape}", layer, shape, inputs)
