"""The written program: it runs with NumPy alone, and computes what the framework computes."""

from __future__ import annotations

import builtins
import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import (
    GRU,
    LSTM,
    Activation,
    Add,
    BatchNorm,
    Bidirectional,
    Branches,
    Concatenate,
    Convolution,
    Dense,
    Dropout,
    Embedding,
    Equations,
    Flatten,
    Graph,
    Input,
    Layer,
    LayerNorm,
    MaxPool,
    MultiHeadAttention,
    Residual,
    Scan,
    Sequential,
    SimpleRNN,
    Softmax,
    TimeDistributed,
    Trainer,
    losses,
    optimizers,
    program,
)
from chainrule.core.errors import BuildError, ConfigurationError, DefinitionError
from chainrule.core.input_checks import as_tuple, one_or_tuple
from chainrule.layers.functions import KNOWN, Function
from laws.library import LIBRARY, LIBRARY_WITH_INPUTS
from laws.random_graphs import as_graph, drawings

ROWS = 3
STEPS = 20


class Weigh(Layer):
    """A layer of a user: y = x w with one weight for each number, whose gradient is Σ x Δ."""

    def build(self, input_shape: Any) -> None:
        self.weights = self.parameter("weights", input_shape, "normal")

    def forward(self, x: Any) -> Any:
        self.x = x
        return x * self.weights.value

    def backward(self, delta: Any) -> Any:
        self.weights.accumulate((delta * self.x).sum(axis=0))
        return delta * self.weights.value

    def equations(self) -> Equations:
        gradients = {"weights": "(delta * x).sum(axis=0)"}
        return Equations("x * weights", "delta * weights", gradients)


def run(text: str) -> dict[str, Any]:
    """The names that a program defines; it may import NumPy, math and sys, and nothing else."""

    def only_numpy(name: str, *rest: Any, **named: Any) -> Any:
        assert name.partition(".")[0] in ("numpy", "math", "sys"), name
        return builtins.__import__(name, *rest, **named)

    names: dict[str, Any] = {
        "__name__": "program",
        "__builtins__": {**vars(builtins), "__import__": only_numpy},
    }
    exec(compile(text, "program.py", "exec"), names)
    return names


def state_of(model: Layer) -> dict[str, Any]:
    """The dict p of a program with the numbers of a model."""
    arrays = {
        path: vector[path].value.copy()
        for vector in (model.parameters, model.buffers)
        for path in vector.paths
    }
    return {**arrays, **copy.deepcopy(model.generators)}


def built(model: Layer, shapes: Any, seed: int = 0) -> Layer:
    model = model.unbuilt()
    model.build(*(shapes if shapes and isinstance(shapes[0], tuple) else (shapes,)), rng=seed)
    rng = np.random.default_rng(seed)
    model.parameters.value = rng.normal(size=model.parameters.size) / 2
    return model


def close(one: Any, other: Any, what: str) -> None:
    scale = max(1.0, np.abs(other).max(initial=0))
    assert np.shape(one) == np.shape(other), what
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * scale, err_msg=what)


def check(
    model: Layer,
    inputs: tuple[Any, ...],
    loss: Any = None,
    optimizer: Any = None,
    targets: Any = None,
    steps: int = STEPS,
) -> str:
    """Hold a program to its model: outputs, gradients, buffers, and some steps of training."""
    options = {"loss": loss, "optimizer": optimizer}
    text = program(model, **{name: given for name, given in options.items() if given is not None})
    names = run(text)
    p, rng = state_of(model), np.random.default_rng(5)
    for x, y in zip(
        as_tuple(names["apply"](*inputs, dict(p))), as_tuple(model.apply(*inputs)), strict=True
    ):
        close(x, y, "apply")

    model.parameters.zero_grad()
    expected = as_tuple(model.forward(*inputs))
    y, values = names["forward"](*inputs, p)
    for one, other in zip(as_tuple(y), expected, strict=True):
        close(one, other, "forward")
    deltas = [rng.normal(size=each.shape) for each in expected]
    model.backward(one_or_tuple(deltas))
    gradient = names["backward"](*deltas, values, p)
    for path in model.parameters.paths:
        close(gradient[path], model.parameters[path].grad, path)
    for path in model.buffers.paths:
        close(p[path], model.buffers[path].value, path)

    if loss is None:
        each = losses.HalfSquaredError()
        loss = each if len(expected) == 1 else losses.PerOutput([each] * len(expected))
    optimizer = optimizer or optimizers.SGD(0.1)
    if targets is None:
        targets = tuple(rng.normal(size=each.shape) for each in expected)
    memory = [names["initial_memory"](p)] if "initial_memory" in names else []
    for _ in range(steps):
        cost = names["training_step"](*inputs, *targets, p, *memory)
        model.parameters.zero_grad()
        expected_cost, delta = loss.value_and_delta(model.forward(*inputs), one_or_tuple(targets))
        model.backward_parameters(delta)
        optimizer.descend(model.parameters)
        close(cost, expected_cost, "cost")
    for path, value in state_of(model).items():
        if isinstance(value, np.ndarray):
            close(p[path], value, f"{path} after {steps} steps")
    return text


def with_weights_first(layer: Layer, shapes: Any, rows: int = ROWS) -> tuple[Layer, Any]:
    """The layer behind a `Weigh` for each input, whose gradient shows its delta; and a batch."""
    several = shapes if shapes and isinstance(shapes[0], tuple) else (shapes,)
    given = [Input(shape) for shape in several]
    weighed = [Weigh()(x) for x in given]
    y = layer.unbuilt()(*weighed)
    model = built(Graph(given, list(y) if isinstance(y, tuple) else y), tuple(several))
    rng = np.random.default_rng(1)
    return model, tuple(rng.normal(size=(rows, *shape)) for shape in several)


# -------------------------------------------------------------------------- the whole library


@pytest.mark.parametrize(
    ("layer", "shapes"), [pytest.param(*each, id=repr(each[0])[:60]) for each in LIBRARY]
)
def test_every_layer_of_the_library_is_written_as_it_computes(layer, shapes):
    model, inputs = with_weights_first(layer, shapes)
    check(model, inputs, optimizer=optimizers.SGD(0.01))
