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
    before = dict(p)
    used = as_tuple(names["apply"](*inputs, p))
    assert all(p[path] is part for path, part in before.items())  # inference changes nothing
    for one, other in zip(used, as_tuple(model.apply(*inputs)), strict=True):
        close(one, other, "apply")

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
    memory: list[Any] = [{}] if " memory," in text else []
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


@pytest.mark.parametrize(
    ("layer", "shape", "draw"),
    [pytest.param(*each, id=repr(each[0])[:60]) for each in LIBRARY_WITH_INPUTS],
)
def test_layers_of_tokens_are_written_as_they_compute(layer, shape, draw):
    model = built(layer, shape)
    tokens = np.random.default_rng(0).integers(5, size=(ROWS, *shape)).astype(float)
    check(model, (tokens,))


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_activation_is_written_as_it_computes(name):
    model = built(Sequential([Dense(4), Activation(name), Dense(2)]), (3,))
    check(model, (np.random.default_rng(0).normal(size=(5, 3)),))


RECURRENT: list[Layer] = [
    kind(3, sequences) for kind in (SimpleRNN, LSTM, GRU) for sequences in (False, True)
]


@pytest.mark.parametrize(
    "layer", [*RECURRENT, *(Bidirectional(each) for each in RECURRENT)], ids=repr
)
def test_masks_are_written_as_they_compute(layer):
    x, mask = Input((4, 2)), Input((4,))
    model = built(Graph([x, mask], layer.unbuilt()(Weigh()(x), mask)), ((4, 2), (4,)))
    rng = np.random.default_rng(0)
    used = rng.integers(0, 2, size=(5, 4)).astype(float)
    used[0] = 0
    check(model, (rng.normal(size=(5, 4, 2)), used))


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_a_scan_of_any_cell_is_written_as_it_computes(masked, sequences):
    x, h = Input((2,)), Input((3,))
    new = Activation("tanh")(Add()(Dense(3)(x), Dropout(0.3)(Dense(3)(h))))
    scan = Scan(Graph([x, h], new), sequences)
    given = [Input((4, 2)), *([Input((4,))] if masked else [])]
    model = built(Graph(given, scan(Weigh()(given[0]), *given[1:])), tuple(i.shape for i in given))
    rng = np.random.default_rng(0)
    mask = [rng.integers(0, 2, size=(5, 4)).astype(float)] if masked else []
    check(model, (rng.normal(size=(5, 4, 2)), *mask))


@pytest.mark.parametrize("layer", [LSTM(3, True), GRU(2), SimpleRNN(2)], ids=repr)
def test_a_carried_state_is_written_as_it_is_carried(layer):
    kind, sequences = type(layer), layer.return_sequences
    model = built(kind(layer.units, sequences, stateful=True), (4, 2))
    check(model, (np.random.default_rng(0).normal(size=(5, 4, 2)),))


def test_wrappers_nest():
    inner = Sequential([Dense(3), BatchNorm(), LSTM(2), Dropout(0.2)])
    model = built(Sequential([TimeDistributed(inner), Bidirectional(GRU(2)), Dense(1)]), (3, 4, 2))
    text = check(model, (np.random.default_rng(0).normal(size=(5, 3, 4, 2)),))
    assert "def apply_time_distributed_1(" in text


def test_a_layer_with_loops_may_be_shared():
    x, y, lstm, cell = Input((4, 2)), Input((4, 2)), LSTM(2), Dense(2)
    shared = TimeDistributed(cell)
    model = Graph([x, y], [Add()(lstm(x), lstm(shared(y))), cell(lstm(y))])
    rng = np.random.default_rng(0)
    text = check(built(model, ((4, 2), (4, 2))), tuple(rng.normal(size=(2, 5, 4, 2))))
    assert text.count("def forward_lstm_1(") == 1


def test_a_shared_layer_is_written_for_the_rows_of_each_use():
    x, y, flat = Input((2, 3)), Input((4, 2)), Flatten()
    model = built(Graph([x, y], [Dense(2)(flat(x)), Dense(2)(flat(y))]), ((2, 3), (4, 2)))
    rng = np.random.default_rng(0)
    check(model, (rng.normal(size=(5, 2, 3)), rng.normal(size=(5, 4, 2))))


def test_two_loops_over_one_cell_have_functions_of_their_own():
    x, z, h = Input((4, 2)), Input((2,)), Input((3,))
    cell = Graph([z, h], Activation("tanh")(Add()(Dense(3)(z), Dense(3)(h))))
    last, all_steps = Scan(cell), Scan(cell, return_sequences=True)
    model = built(Graph(x, [last(x), Flatten()(all_steps(x))]), (4, 2))
    check(model, (np.random.default_rng(0).normal(size=(5, 4, 2)),))


class Shortened(Layer):
    """y = x / (1 + Σ x²), with a name for the sum that a program chooses for parts, too."""

    def forward(self, x: Any) -> Any:
        self.x, self.total = x, (x**2).sum(axis=-1, keepdims=True) + 1
        return x / self.total

    def backward(self, delta: Any) -> Any:
        along = (delta * self.x).sum(axis=-1, keepdims=True)
        return delta / self.total - 2 * self.x * along / self.total**2

    def equations(self) -> Equations:
        return Equations(
            "x / pad",
            "delta / pad - 2 * x * (delta * x).sum(axis=-1, keepdims=True) / pad ** 2",
            definitions={"pad": "(x ** 2).sum(axis=-1, keepdims=True) + 1"},
            signs={"pad": ("S", "S")},
        )


def test_names_of_a_layer_and_names_of_parts_are_kept_apart():
    layers = [Convolution(2, (3, 3, 3)), Shortened(), Convolution(2, (3, 3, 3), groups=2)]
    model = built(Sequential([*layers, BatchNorm(), Dense(1)]), (3, 3, 3, 1))
    inputs = (np.random.default_rng(0).normal(size=(4, 3, 3, 3, 1)),)
    text = check(model, inputs, optimizer=optimizers.SGD(1e-4))
    assert "    pad_2 = (z_1**2).sum(" in text and "    pad_3 = np.pad(" in text


def test_a_shared_normalization_updates_its_statistics_at_each_use():
    x, norm = Input((3,)), BatchNorm()
    deep = Sequential([Sequential([norm])])  # a long path
    h = deep(Activation("tanh")(deep(x)))
    text = check(built(Graph(x, h), (3,)), (np.random.default_rng(0).normal(size=(5, 3)),))
    divided = [line for line in text.splitlines() if line.startswith("    part_")]
    assert sum('0.9 * p["sequential_1/' in line for line in divided) == 4


def test_many_outputs_are_laid_out_too(tmp_path):
    x = [Input((2,), name=f"the_input_with_the_number_{n}") for n in range(9)]
    model = built(Graph(x, [Dense(1)(each) for each in x]), ((2,),) * 9)
    check(model, tuple(np.random.default_rng(0).normal(size=(9, 5, 2))))
    (tmp_path / "program.py").write_text(program(model), encoding="utf-8")
    require_clean(tmp_path)


@given(drawing=drawings(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_any_graph_is_written_as_it_computes(drawing, seed):
    model = built(as_graph(drawing), ((drawing.width,),) * drawing.inputs, seed)
    rng = np.random.default_rng(seed)
    # Products of products grow fast, and formulas on paper have no guards: small inputs and steps.
    inputs = tuple(rng.normal(size=(ROWS, drawing.width)) / 9 for _ in range(drawing.inputs))
    check(model, inputs, optimizer=optimizers.SGD(1e-6))


def test_nested_containers_and_inputs_with_names():
    image, label = Input((4, 4, 1), name="image"), Input((2,), name="the_label")
    h = Flatten()(MaxPool(2)(Convolution(2, 3)(image)))
    h = Residual(Dense(8), Activation("relu"), LayerNorm())(h)
    h = Branches([Dense(3), Sequential([Dense(2), Activation("tanh")])], Concatenate())(h)
    model = Graph([image, label], [Dense(1)(h), Softmax()(Dense(2)(Concatenate()(h, label)))])
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(5, 4, 4, 1)), rng.normal(size=(5, 2))
    text = check(built(model, ((4, 4, 1), (2,))), inputs)
    assert "def forward(y_image, y_the_label, p):" in text


def test_what_is_frozen_has_no_gradient_and_stays():
    model = built(Sequential([Dense(4), Activation("tanh"), Dense(2)]), (3,))
    model["dense_1"].freeze()
    text = program(model)
    assert 'gradient["dense_2.weights"]' in text and 'dense_1.weights"] = y' not in text
    assert "delta_1" not in text  # nothing needs it
    names, p = run(text), state_of(model)
    x, t = np.ones((3, 3)), np.zeros((3, 2))
    names["training_step"](x, t, p)
    np.testing.assert_array_equal(p["dense_1.weights"], model.parameters["dense_1.weights"].value)
    assert (p["dense_2.weights"] != model.parameters["dense_2.weights"].value).all()


# -------------------------------------------------------------------------- losses, optimizers


LOSSES = [
    losses.HalfSquaredError(), losses.MeanSquaredError(), losses.MeanAbsoluteError(),
    losses.Huber(0.5), losses.SoftmaxCrossEntropy(),
    losses.SoftmaxCrossEntropy(label_smoothing=0.1), losses.SoftmaxCrossEntropy(ignore=-1),
    losses.SoftmaxCrossEntropy(ignore=1, label_smoothing=0.2),
    losses.NegativeLogLikelihood(), losses.NegativeLogLikelihood(ignore=0),
    losses.SigmoidCrossEntropy(), losses.SigmoidCrossEntropy(pos_weight=[1.0, 2.0, 3.0]),
    losses.SigmoidCrossEntropy(pos_weight=2.0, label_smoothing=0.1),
    losses.SigmoidCrossEntropy(ignore=-1), losses.MeanSquare(), losses.MeanOutput(),
    losses.GaussianNegativeLogLikelihood(),
]  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("kind", ["labels", "rows"])
@pytest.mark.parametrize("row", [(4,), (2, 4)])
def test_every_loss_is_written_as_it_computes(loss, kind, row):
    ending = [Softmax()] if isinstance(loss, losses.NegativeLogLikelihood) else []
    width = 4 if isinstance(loss, losses.GaussianNegativeLogLikelihood) else 3
    model = built(Sequential([Dense(width), *ending]), row)
    rng, ignore = np.random.default_rng(0), getattr(loss, "ignore", None)
    shape = (7, *loss.target_shape(model.output_shape))
    t: Any = rng.random(size=shape)
    if loss.takes_labels and kind == "labels":
        t = rng.integers(3, size=shape[:-1])
        t[0] = t[0] if ignore is None else ignore
    elif ignore is not None and isinstance(loss, losses.SigmoidCrossEntropy):
        t[rng.random(size=shape) < 0.3] = ignore
    check(model, (rng.normal(size=(7, *row)),), loss, targets=(t,))


def test_a_single_output_takes_labels_of_yes_and_no():
    model = built(Dense(1), (3,))
    rng = np.random.default_rng(0)
    t = rng.integers(2, size=7)
    check(model, (rng.normal(size=(7, 3)),), losses.SigmoidCrossEntropy(), targets=(t,))


def test_several_outputs_have_a_loss_each():
    x = Input((3,))
    h = Activation("tanh")(Dense(4)(x))
    model = built(Graph(x, [Dense(2)(h), Dense(3)(h)]), (3,))
    rng = np.random.default_rng(0)
    each = [losses.HalfSquaredError(), losses.SoftmaxCrossEntropy()]
    targets = rng.normal(size=(5, 2)), rng.integers(3, size=5)
    loss = losses.PerOutput(each, weights=[0.5, 2.0])
    check(model, (rng.normal(size=(5, 3)),), loss, targets=targets)


OPTIMIZERS = [
    optimizers.SGD(0.1), optimizers.SGD(0.1, momentum=0.9),
    optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    optimizers.SGD(0.1, weight_decay=0.1, decay_biases=False),
    optimizers.SGD(0.1, clip_norm=0.1), optimizers.SGD(0.1, clip_value=0.05, clip_norm=0.1),
    optimizers.Adam(), optimizers.Adam(0.01, betas=(0.8, 0.9), weight_decay=0.1),
    optimizers.AdamW(0.01, weight_decay=0.1), optimizers.AdamW(0.01, decay_biases=False),
    optimizers.Adamax(weight_decay=0.1), optimizers.RMSprop(), optimizers.RMSprop(centered=True),
    optimizers.RMSprop(momentum=0.5, centered=True, weight_decay=0.1), optimizers.Adagrad(),
    optimizers.Adagrad(learning_rate_decay=0.1, initial_accumulator=0.5, weight_decay=0.1),
    optimizers.Lion(0.01), optimizers.Lion(0.01, weight_decay=0.1, decay_biases=False),
]  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_every_optimizer_is_written_as_it_steps(optimizer):
    model = built(Sequential([Dense(4), Activation("tanh"), Dense(2)]), (3,))
    check(model, (np.random.default_rng(0).normal(size=(5, 3)),), optimizer=optimizer)


def test_every_loss_and_optimizer_is_among_them():
    shipped = {name for name in losses.__all__ if name not in ("Loss", "PerOutput")}
    assert {type(loss).__name__ for loss in LOSSES} >= shipped
    kinds = [getattr(optimizers, name) for name in optimizers.__all__]
    rules = {each for each in kinds if issubclass(each, optimizers.Optimizer)}
    assert {type(optimizer) for optimizer in OPTIMIZERS} == rules - {optimizers.Optimizer}
    assert len(rules) > 6


# -------------------------------------------------------------------------- the file


def small() -> Layer:
    layers = [Dense(2), Activation("sigmoid"), Dense(1), Activation("sigmoid")]
    return built(Sequential(layers), (2,))


def test_the_program_of_the_lecture_has_its_thirty_lines():
    text = program(small())
    start, end = text.index("def f("), text.index("def initial_parameters")
    code = [line for line in text[start:end].splitlines() if line and '"""' not in line]
    assert len(code) <= 36
    for line in (
        '    z_1 = y_0 @ p["dense_1.weights"] + p["dense_1.biases"]  # z₁ = y₀ w₁ + b₁',
        "    delta_2 = dC_dy_2 * df(z_2)  # Δ₂ = ∂C/∂y₂ ⊙ f′(z₂)",
        '    gradient["dense_1.weights"] = y_0.T @ delta_1  # ∂C/∂w₁ = y₀ᵀ Δ₁',
        "        p[name] -= eta * g",
    ):
        assert line in text.splitlines()
    assert "delta_0" not in text  # training does not need the delta of the data


def test_the_file_runs_as_a_program_and_the_cost_falls(tmp_path):
    model = small()
    (tmp_path / "program.py").write_text(program(model), encoding="utf-8")
    costs = _costs(tmp_path)
    assert len(costs) == 11 and costs[-1] < costs[0]

    x = np.random.default_rng(0).normal(size=(30, 2))
    t = (x[:, :1] * x[:, 1:] > 0).astype(float)
    arrays = {path: model.parameters[path].value for path in model.parameters.paths}
    np.savez(tmp_path / "data.npz", x=x, t=t, **arrays)
    costs = _costs(tmp_path, "data.npz")
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.1))
    history = trainer.fit(x, t, epochs=20, batch_size=30)
    np.testing.assert_allclose(costs[:2], [history["loss"][0], history["loss"][19]], atol=1e-6)


def _costs(folder: Path, *arguments: str) -> list[float]:
    command = [sys.executable, "-I", "program.py", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [float(line.split()[1]) for line in done.stdout.splitlines()]


LOOK: list[tuple[Layer, Any]] = [
    *LIBRARY,
    (Sequential([Sequential([Sequential([BatchNorm(), Dense(2)])])]), (3,)),
    (Sequential([Dense(5) for _ in range(30)]), (5,)),
    (Sequential([Convolution(3, 3, stride=2, groups=3), MaxPool(3, 2)]), (9, 9, 9, 6)),
    (Sequential([Embedding(5, 3), Bidirectional(LSTM(3)), Dense(1)]), (4,)),
]


def test_every_file_is_laid_out_and_clean(tmp_path):
    for number, (layer, shapes) in enumerate(LOOK):
        text = program(built(layer, shapes), optimizer=optimizers.Adam())
        (tmp_path / f"program_{number}.py").write_text(text, encoding="utf-8")
    require_clean(tmp_path)


def require_clean(folder: Path) -> None:
    """Require that ruff finds nothing to format or to report."""
    ruff = [sys.executable, "-m", "ruff"]
    options = ["--isolated", "--line-length", "100", "--no-cache"]
    for command in (["format", "--diff"], ["check", "--select", "E,F,W,I,B,UP,PIE"]):
        done = subprocess.run(
            [*ruff, *command, *options, str(folder)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[:3000]


@pytest.mark.parametrize(
    ("layer", "shapes"), [pytest.param(*e, id=repr(e[0])[:40]) for e in LOOK[::7]]
)
def test_the_initial_parameters_are_like_those_of_the_model(layer, shapes):
    model = built(layer, shapes)
    p = run(program(model))["initial_parameters"](np.random.default_rng(0))
    expected = state_of(model)
    assert p.keys() == expected.keys()
    for path, part in expected.items():
        if isinstance(part, np.ndarray):
            assert p[path].shape == part.shape
            assert 0.2 * np.std(part) <= np.std(p[path]) <= 5 * np.std(part)


def two_of_each() -> Layer:
    x, y = Input((3,)), Input((2, 2))
    h = Dropout(0.1)(Dense(6)(Concatenate()(x, Flatten()(y))))
    return Graph([x, y], [Dense(2)(h), Softmax()(Dense(4)(h))])


@pytest.mark.parametrize(
    ("model", "shapes", "loss"),
    [
        (Sequential([Embedding(9, 4), LSTM(5), Dense(3)]), (6,), losses.SoftmaxCrossEntropy()),
        (Sequential([Dense(3), BatchNorm(), Dense(1)]), (2,), losses.SigmoidCrossEntropy()),
        (two_of_each(), ((3,), (2, 2)),
         losses.PerOutput([losses.Huber(), losses.NegativeLogLikelihood()], [1.0, 0.5])),
        (Sequential([Dense(3, initializer="ones")]), (None, 2), losses.MeanAbsoluteError()),
    ],
    ids=["tokens", "labels", "several", "any length"],
)  # fmt: skip
def test_the_file_trains_on_random_data_of_the_right_kind(model, shapes, loss, capsys, monkeypatch):
    text = program(built(model, shapes), loss=loss, optimizer=optimizers.Adam(0.01))
    monkeypatch.setattr(sys, "argv", ["program.py"])
    exec(compile(text, "program.py", "exec"), {"__name__": "__main__"})
    costs = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines()]
    assert len(costs) == 11 and costs[-1] < costs[0]


# -------------------------------------------------------------------------- errors


class Bare(Layer):
    def forward(self, x: Any) -> Any:
        return 2 * x

    def backward(self, delta: Any) -> Any:
        return 2 * delta


class Half(Weigh):
    def equations(self) -> Equations:
        return Equations("x * weights", "delta * weights")


def test_a_layer_without_equations_is_named_with_its_place():
    with pytest.raises(DefinitionError, match="does not provide its equations") as caught:
        program(built(Sequential([Dense(2), Residual(Bare())]), (3,)))
    assert caught.value.place == "sequential/residual_1/bare_1"
    assert "equations(self)" in caught.value.expected and "backward=" in caught.value.hint
    with pytest.raises(DefinitionError, match="do not contain the gradient") as caught:
        program(built(Sequential([Half()]), (3,)))
    assert caught.value.place == "sequential/half_1" and "'weights'" in caught.value.expected


def test_a_layer_inside_a_wrapper_is_named_too():
    with pytest.raises(DefinitionError, match="does not provide its equations") as caught:
        program(built(Sequential([TimeDistributed(Bare())]), (3, 2)))
    assert caught.value.place == "sequential/time_distributed_1/bare"


def test_a_subclass_that_computes_something_else_is_not_written_as_its_parent():
    class Twice(LSTM):
        def forward(self, *inputs: Any) -> Any:
            return 2 * super().forward(*inputs)

    with pytest.raises(DefinitionError, match="does not provide its equations"):
        program(built(Twice(2), (3, 2)))


def test_a_model_for_rows_of_any_size_is_refused_where_its_lines_need_sizes():
    with pytest.raises(DefinitionError, match="needs the sizes of the rows") as caught:
        program(built(Sequential([Convolution(2, 3)]), (None, 1)))
    assert "build(" in caught.value.hint


@define
class MyLoss(losses.Loss):
    def costs(self, y: Any, target: Any) -> Any:
        return y

    def slopes(self, y: Any, target: Any) -> Any:
        return y


@define
class MyError(losses.HalfSquaredError):
    def costs(self, y: Any, target: Any) -> Any:
        return y


@define
class MyDescent(optimizers.Optimizer):
    def step(self, value: Any, gradient: Any) -> None:
        value -= gradient


@define
class MySGD(optimizers.SGD):
    def step(self, value: Any, gradient: Any) -> None:
        value -= gradient


@pytest.mark.parametrize("loss", [MyLoss(), MyError()])
def test_a_loss_without_equations_is_named(loss):
    with pytest.raises(DefinitionError, match="needs a method named equations") as caught:
        program(small(), loss=loss)
    assert caught.value.place == type(loss).__name__


@pytest.mark.parametrize("optimizer", [MyDescent(0.1), MySGD(0.1)])
def test_an_optimizer_without_equations_is_named(optimizer):
    with pytest.raises(DefinitionError, match="needs a method named equations") as caught:
        program(small(), optimizer=optimizer)
    assert caught.value.place == type(optimizer).__name__


def test_an_activation_without_a_formula_is_named():
    class Square(Function):
        def value(self, z: Any) -> Any:
            return z * z

        def derivative(self, z: Any) -> Any:
            return 2 * z

    with pytest.raises(DefinitionError, match="has no formula") as caught:
        program(built(Sequential([Dense(2), Activation(Square())]), (3,)))
    assert "formula" in caught.value.expected


def test_other_arguments_that_are_invalid_are_refused():
    with pytest.raises(DefinitionError, match="program needs a layer"):
        program(3)
    with pytest.raises(BuildError):
        program(Dense(3))
    with pytest.raises(DefinitionError, match="the loss is not one of"):
        program(small(), loss="mse")
    with pytest.raises(DefinitionError, match="the optimizer is not one of"):
        program(small(), optimizer=0.1)
    with pytest.raises(ConfigurationError, match="does not fit the outputs") as caught:
        program(small(), loss=losses.PerOutput([losses.HalfSquaredError()] * 2))
    assert caught.value.expected == "a loss for 1 output"


def test_the_model_is_not_changed():
    model = built(Sequential([Dense(3), BatchNorm(), Dropout(0.5), MultiHeadAttention(1)]), (2, 3))
    before = state_of(model)
    program(model)
    for path, value in state_of(model).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, before[path])
        else:
            assert value.bit_generator.state == before[path].bit_generator.state
