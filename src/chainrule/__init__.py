"""chainrule: layers of a neural network as two methods of plain NumPy.

    from chainrule import Activation, Dense, Sequential, Trainer, losses, optimizers

    model = Sequential([Dense(30), Activation("tanh"), Dense(10)])
    history = Trainer(model, losses.SoftmaxCrossEntropy(), optimizers.Adam(1e-3)).fit(x, t)

Names are loaded when they are first used, so that ``import chainrule`` costs little more than
``import numpy``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainrule import callbacks as callbacks
    from chainrule import data as data
    from chainrule import datasets as datasets
    from chainrule import fitting as fitting
    from chainrule import interop as interop
    from chainrule import lecture as lecture
    from chainrule import losses as losses
    from chainrule import optimizers as optimizers
    from chainrule import physics as physics
    from chainrule import schedules as schedules
    from chainrule.calculus import derivatives as derivatives
    from chainrule.calculus.check import check_layer as check_layer
    from chainrule.calculus.check import check_loss as check_loss
    from chainrule.calculus.dual import Dual as Dual
    from chainrule.calculus.formula import Formula as Formula
    from chainrule.core import errors as errors
    from chainrule.core import initializers as initializers
    from chainrule.core.acceleration import show_config as show_config
    from chainrule.core.acceleration import use_fast as use_fast
    from chainrule.core.equations import Equations as Equations
    from chainrule.core.layer import Layer as Layer
    from chainrule.display.derive import derive as derive
    from chainrule.display.diagram import diagram as diagram
    from chainrule.display.equations import explain as explain
    from chainrule.display.formula import formula as formula
    from chainrule.display.picture import picture as picture
    from chainrule.display.program import program as program
    from chainrule.display.summary import summary as summary
    from chainrule.display.trace import trace as trace
    from chainrule.graph.blocks import TransformerBlock as TransformerBlock
    from chainrule.graph.ensemble import Ensemble as Ensemble
    from chainrule.graph.graph import Graph as Graph
    from chainrule.graph.node import Input as Input
    from chainrule.graph.residual import Branches as Branches
    from chainrule.graph.residual import Residual as Residual
    from chainrule.graph.sequential import Sequential as Sequential
    from chainrule.layers.activation import Activation as Activation
    from chainrule.layers.activation import PReLU as PReLU
    from chainrule.layers.attention import MultiHeadAttention as MultiHeadAttention
    from chainrule.layers.attention import PositionalEncoding as PositionalEncoding
    from chainrule.layers.convolution import Convolution as Convolution
    from chainrule.layers.convolution import TransposedConvolution as TransposedConvolution
    from chainrule.layers.dense import Dense as Dense
    from chainrule.layers.embedding import Embedding as Embedding
    from chainrule.layers.merge import Add as Add
    from chainrule.layers.merge import Average as Average
    from chainrule.layers.merge import Concatenate as Concatenate
    from chainrule.layers.merge import Dot as Dot
    from chainrule.layers.merge import Maximum as Maximum
    from chainrule.layers.merge import Multiply as Multiply
    from chainrule.layers.merge import Subtract as Subtract
    from chainrule.layers.normalization import BatchNorm as BatchNorm
    from chainrule.layers.normalization import GroupNorm as GroupNorm
    from chainrule.layers.normalization import LayerNorm as LayerNorm
    from chainrule.layers.normalization import RMSNorm as RMSNorm
    from chainrule.layers.pooling import AveragePool as AveragePool
    from chainrule.layers.pooling import GlobalAveragePool as GlobalAveragePool
    from chainrule.layers.pooling import GlobalMaxPool as GlobalMaxPool
    from chainrule.layers.pooling import MaxPool as MaxPool
    from chainrule.layers.random import Dropout as Dropout
    from chainrule.layers.random import GaussianDropout as GaussianDropout
    from chainrule.layers.random import GaussianNoise as GaussianNoise
    from chainrule.layers.random import SpatialDropout as SpatialDropout
    from chainrule.layers.recurrent import GRU as GRU
    from chainrule.layers.recurrent import LSTM as LSTM
    from chainrule.layers.recurrent import SimpleRNN as SimpleRNN
    from chainrule.layers.reshape import Flatten as Flatten
    from chainrule.layers.reshape import Permute as Permute
    from chainrule.layers.reshape import Reshape as Reshape
    from chainrule.layers.reshape import Slice as Slice
    from chainrule.layers.resize import Crop as Crop
    from chainrule.layers.resize import Pad as Pad
    from chainrule.layers.resize import Upsample as Upsample
    from chainrule.layers.softmax import Softmax as Softmax
    from chainrule.layers.spectral import SpectralConvolution as SpectralConvolution
    from chainrule.layers.wrappers import Bidirectional as Bidirectional
    from chainrule.layers.wrappers import Scan as Scan
    from chainrule.layers.wrappers import TimeDistributed as TimeDistributed
    from chainrule.storage import load as load
    from chainrule.symbolic.proof import prove_gradient as prove_gradient
    from chainrule.symbolic.proof import prove_layer as prove_layer
    from chainrule.symbolic.proof import prove_loss as prove_loss
    from chainrule.training import metrics as metrics
    from chainrule.training.trainer import Trainer as Trainer

__version__ = "0.1.0"

_PLACES = {
    "Activation": "chainrule.layers.activation",
    "Add": "chainrule.layers.merge",
    "Average": "chainrule.layers.merge",
    "AveragePool": "chainrule.layers.pooling",
    "BatchNorm": "chainrule.layers.normalization",
    "Bidirectional": "chainrule.layers.wrappers",
    "Branches": "chainrule.graph.residual",
    "Concatenate": "chainrule.layers.merge",
    "Convolution": "chainrule.layers.convolution",
    "Crop": "chainrule.layers.resize",
    "Dense": "chainrule.layers.dense",
    "Dot": "chainrule.layers.merge",
    "Dropout": "chainrule.layers.random",
    "Dual": "chainrule.calculus.dual",
    "Embedding": "chainrule.layers.embedding",
    "Ensemble": "chainrule.graph.ensemble",
    "Equations": "chainrule.core.equations",
    "Flatten": "chainrule.layers.reshape",
    "Formula": "chainrule.calculus.formula",
    "GRU": "chainrule.layers.recurrent",
    "GaussianDropout": "chainrule.layers.random",
    "GaussianNoise": "chainrule.layers.random",
    "GlobalAveragePool": "chainrule.layers.pooling",
    "GlobalMaxPool": "chainrule.layers.pooling",
    "Graph": "chainrule.graph.graph",
    "GroupNorm": "chainrule.layers.normalization",
    "Input": "chainrule.graph.node",
    "LSTM": "chainrule.layers.recurrent",
    "Layer": "chainrule.core.layer",
    "LayerNorm": "chainrule.layers.normalization",
    "MaxPool": "chainrule.layers.pooling",
    "Maximum": "chainrule.layers.merge",
    "MultiHeadAttention": "chainrule.layers.attention",
    "Multiply": "chainrule.layers.merge",
    "PReLU": "chainrule.layers.activation",
    "Pad": "chainrule.layers.resize",
    "Permute": "chainrule.layers.reshape",
    "PositionalEncoding": "chainrule.layers.attention",
    "RMSNorm": "chainrule.layers.normalization",
    "Reshape": "chainrule.layers.reshape",
    "Residual": "chainrule.graph.residual",
    "Scan": "chainrule.layers.wrappers",
    "Sequential": "chainrule.graph.sequential",
    "SimpleRNN": "chainrule.layers.recurrent",
    "Slice": "chainrule.layers.reshape",
    "Softmax": "chainrule.layers.softmax",
    "SpatialDropout": "chainrule.layers.random",
    "SpectralConvolution": "chainrule.layers.spectral",
    "Subtract": "chainrule.layers.merge",
    "TimeDistributed": "chainrule.layers.wrappers",
    "Trainer": "chainrule.training.trainer",
    "TransformerBlock": "chainrule.graph.blocks",
    "TransposedConvolution": "chainrule.layers.convolution",
    "Upsample": "chainrule.layers.resize",
    "check_layer": "chainrule.calculus.check",
    "check_loss": "chainrule.calculus.check",
    "derive": "chainrule.display.derive",
    "diagram": "chainrule.display.diagram",
    "explain": "chainrule.display.equations",
    "formula": "chainrule.display.formula",
    "load": "chainrule.storage",
    "picture": "chainrule.display.picture",
    "program": "chainrule.display.program",
    "prove_gradient": "chainrule.symbolic.proof",
    "prove_layer": "chainrule.symbolic.proof",
    "prove_loss": "chainrule.symbolic.proof",
    "show_config": "chainrule.core.acceleration",
    "summary": "chainrule.display.summary",
    "trace": "chainrule.display.trace",
    "use_fast": "chainrule.core.acceleration",
}
_MODULES = {
    "callbacks": "chainrule.callbacks",
    "data": "chainrule.data",
    "datasets": "chainrule.datasets",
    "derivatives": "chainrule.calculus.derivatives",
    "errors": "chainrule.core.errors",
    "fitting": "chainrule.fitting",
    "initializers": "chainrule.core.initializers",
    "interop": "chainrule.interop",
    "lecture": "chainrule.lecture",
    "losses": "chainrule.losses",
    "metrics": "chainrule.training.metrics",
    "optimizers": "chainrule.optimizers",
    "physics": "chainrule.physics",
    "schedules": "chainrule.schedules",
}

__all__ = [
    *_PLACES,
    *_MODULES,
]


if not TYPE_CHECKING:  # with a __getattr__, type checkers would accept any name

    def __getattr__(name: str) -> Any:
        if name in _PLACES:
            found = getattr(importlib.import_module(_PLACES[name]), name)
        elif name in _MODULES:
            found = importlib.import_module(_MODULES[name])
        else:
            from chainrule.core.hints import missing_name

            raise missing_name(__name__, name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
