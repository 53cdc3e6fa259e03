"""Gradients in ONNX files: forces of an energy, and training steps, against other derivatives."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest

from chainrule import (
    GRU,
    LSTM,
    Activation,
    AveragePool,
    BatchNorm,
    Convolution,
    Dense,
    Dropout,
    Dual,
    Embedding,
    Flatten,
    GaussianDropout,
    GaussianNoise,
    GlobalAveragePool,
    Graph,
    GroupNorm,
    Input,
    LayerNorm,
    MaxPool,
    Multiply,
    Sequential,
    TransformerBlock,
    errors,
    interop,
    losses,
)
from chainrule.core.layer import Layer
from interop.onnx_files import assert_close, assert_computes, kinds, model_proto, reference, run
from interop.test_onnx_save import CASES, REFUSED, built, refused

pytestmark = pytest.mark.edges

each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def has_own_inference(layer):
    """Whether a layer, or one inside it, has random numbers or statistics, and its own `apply`."""
    return any(
        (member._generators or member._buffers)
        and type(member).apply is not Layer.apply
        and not type(member).__module__.startswith("chainrule")
        for _, member in layer.walk()
    )


def as_tuple(arrays):
    return arrays if isinstance(arrays, tuple) else (arrays,)


def derivative(layer, inputs, velocities):
    """The derivative of the sum of all outputs of `apply` along velocities, by dual numbers."""
    moved = [Dual(x, v) for x, v in zip(inputs, velocities, strict=True)]
    return sum(float(np.sum(getattr(y, "tangent", 0.0))) for y in as_tuple(layer.apply(*moved)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_gradients_of_the_inputs_are_those_of_the_inference_function(case):
    layer, inputs = built(case, "float64", batch=3)
    if refused(layer) is not None or type(layer).__name__ in REFUSED or has_own_inference(layer):
        with pytest.raises(errors.ExportError):
            model_proto(layer, gradients="inputs")
        return
    proto = model_proto(layer, gradients="inputs")
    names = [each.name for each in proto.graph.output]
    given = [each.name for each in proto.graph.input]
    assert names[-len(given) :] == [f"gradient_of_{name}" for name in given]
    made = reference(proto, *inputs)
    outputs, gradients = made[: -len(given)], made[-len(given) :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_close(outputs, as_tuple(layer(*inputs)), 1e-12)
    assert [g.shape for g in gradients] == [x.shape for x in inputs]
    if case.inputs is not None:
        assert all(not np.any(g) for g in gradients)
        return
    rng = np.random.default_rng(2)
    for _ in range(3):
        velocities = [rng.normal(size=x.shape) for x in inputs]
        expected = derivative(layer, inputs, velocities)
        found = sum(float(np.sum(g * v)) for g, v in zip(gradients, velocities, strict=True))
        terms = [np.abs(g * v) for g, v in zip(gradients, velocities, strict=True)]
        size = 1 + sum(float(np.sum(each)) for each in terms)
        assert abs(found - expected) <= 1e-11 * size


# ---------------------------------------------------------------- energies and forces


def energy_network(dtype="float64"):
    model = Sequential([Dense(16), Activation("tanh"), Dense(16), Activation("silu"), Dense(1)])
    model.build((6,), rng=0, dtype=dtype)
    return model


@pytest.mark.parametrize(
    "layers",
    [
        [Convolution(4, 3), Activation("tanh"), MaxPool(2), Flatten(), Dense(1)],
        [Convolution(4, 3, stride=2, groups=2), GroupNorm(2), AveragePool(2), Flatten(), Dense(1)],
        [Convolution(4, 3, padding="periodic"), BatchNorm(), GlobalAveragePool(), Dense(1)],
        [Convolution(4, 3, padding="valid", stride=(2, 3)), Flatten(), Dense(1)],
    ],
)
def test_gradients_of_networks_for_images(layers):
    model = Sequential([layer.unbuilt() for layer in layers])
    model.build((8, 8, 2), rng=0, dtype="float32")
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype("float32")
    wide = model.unbuilt()
    wide.build((8, 8, 2), rng=0, dtype="float64")
    wide.parameters.value = model.parameters.value
    y, gradient = run(model_proto(model, gradients="inputs"), x)
    assert_close([y], (model(x),), 1e-6)
    exact = reference(model_proto(wide, gradients="inputs"), x.astype(float))[1]
    assert_close([gradient], (exact.astype("float32"),), 2e-6)


@pytest.mark.parametrize("layer", [LSTM(3), GRU(3, return_sequences=True)])
def test_gradients_of_recurrent_layers_need_a_fixed_length(layer):
    fixed, unknown = layer.unbuilt(), layer.unbuilt()
    fixed.build((4, 2), rng=0, dtype="float32")
    x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")
    y = fixed.forward(x)
    assert_computes(model_proto(fixed, gradients="inputs"), (x,), (y, fixed.backward(y * 0 + 1)))
    unknown.build((None, 2), rng=0)
    with pytest.raises(errors.ExportError, match="over an axis of open length") as caught:
        model_proto(unknown, gradients="inputs")
    assert "fixed length" in caught.value.hint


def test_several_inputs_have_a_gradient_each():
    x, y = Input((2,), name="x"), Input((2,), name="y")
    model = Graph([x, y], Multiply()(x, y))
    model.build(dtype="float32")
    proto = model_proto(model, gradients="inputs")
    one, two = np.ones((2, 2), "float32"), np.full((2, 2), 3, "float32")
    assert [each.name for each in proto.graph.output] == [
        "output",
        "gradient_of_x",
        "gradient_of_y",
    ]
    assert_computes(proto, (one, two), (one * two, two, one))


# ------------------------------------------------------------------------------- training steps


def network(outputs, *more):
    return Sequential([Dense(5), Activation("tanh"), *more, Dense(outputs)])


ROWS = 6
LOSSES = {
    "half squared": (network(2), losses.HalfSquaredError(), lambda r: r.normal(size=(ROWS, 2))),
    "mean squared": (network(2), losses.MeanSquaredError(), lambda r: r.normal(size=(ROWS, 2))),
    "mean absolute": (network(2), losses.MeanAbsoluteError(), lambda r: r.normal(size=(ROWS, 2))),
    "Huber": (network(2), losses.Huber(), lambda r: r.normal(size=(ROWS, 2))),
    "without targets": (network(2), losses.MeanSquare(), None),
    "softmax": (network(3), losses.SoftmaxCrossEntropy(), lambda r: r.integers(0, 3, ROWS)),
    "smoothed": (
        network(3),
        losses.SoftmaxCrossEntropy(label_smoothing=0.1),
        lambda r: r.integers(0, 3, ROWS),
    ),
    "ignored": (
        network(3),
        losses.SoftmaxCrossEntropy(ignore=-1),
        lambda r: r.integers(-1, 3, ROWS),
    ),
    "sigmoid": (network(2), losses.SigmoidCrossEntropy(), lambda r: r.random((ROWS, 2))),
    "likelihood": (
        network(4),
        losses.GaussianNegativeLogLikelihood(),
        lambda r: r.normal(size=(ROWS, 2)),
    ),
    "norms": (
        network(2, BatchNorm(), LayerNorm()),
        losses.MeanSquaredError(),
        lambda r: r.normal(size=(ROWS, 2)),
    ),
    "attention": (
        Sequential([TransformerBlock(2, 3), Flatten(), Dense(2)]),
        losses.MeanSquaredError(),
        lambda r: r.normal(size=(ROWS, 2)),
    ),
    "steps": (network(3), losses.SoftmaxCrossEntropy(), lambda r: r.integers(0, 3, (ROWS, 5))),
    "groups": (
        Sequential([Convolution(4, 3, stride=3, dilation=2, groups=2), Flatten(), Dense(2)]),
        losses.MeanSquaredError(),
        lambda r: r.normal(size=(ROWS, 2)),
    ),
    "convolution": (
        Sequential([Convolution(4, 3, stride=2), MaxPool(2, padding="same"), Flatten(), Dense(2)]),
        losses.MeanSquaredError(),
        lambda r: r.normal(size=(ROWS, 2)),
    ),
}
SHAPES = {"attention": (3, 4), "convolution": (7, 6, 1), "steps": (5, 4), "groups": (7, 6, 2)}


@each_dtype
@pytest.mark.parametrize("name", LOSSES)
def test_a_training_step_is_that_of_the_model(name, dtype):
    model, loss, draw = LOSSES[name]
    model, rng = model.unbuilt(), np.random.default_rng(0)
    row = SHAPES.get(name, (4,))
    model.build(row, rng=0, dtype=dtype)
    proto = model_proto(model, loss=loss)
    x = rng.normal(size=(ROWS, *row)).astype(dtype)
    given = [x] if draw is None else [x, draw(rng)]
    if len(given) > 1 and given[1].dtype.kind == "f":
        given[1] = given[1].astype(dtype)
    y = model.forward(x)
    cost, delta = loss.value_and_delta(y, *given[1:])
    model.backward_parameters(delta)
    gradients = {f"gradient_of_{p.path}": p.grad for p in model.parameters}
    updated = {f"updated_{b.path}": b.value for b in model.buffers}
    wanted = {"output": y, "loss": cost, **gradients, **updated}
    assert [each.name for each in proto.graph.output] == list(wanted)
    assert_step(proto, given, list(wanted.values()), dtype)


def assert_step(proto, given, wanted, dtype):
    """Numbers to a part of the largest gradient: all of them are steps in one direction."""
    largest = max(float(np.max(np.abs(w))) for w in wanted[2:])
    runs = [run(proto, *given)] if dtype == "float32" else [reference(proto, *given)]
    for made in runs:
        for one, other in zip(made, wanted, strict=True):
            assert one.shape == other.shape
            assert one.dtype == other.dtype
            limit = {"float32": 1e-6, "float64": 1e-12}[dtype]
            assert np.max(np.abs(one - other)) <= limit * max(largest, np.max(np.abs(other)))


def test_a_frozen_parameter_has_no_gradient():
    model = network(2)
    model.build((3,), rng=0)
    model.layers[0].freeze()
    proto = model_proto(model, loss=losses.MeanSquaredError())
    assert [each.name for each in proto.graph.output] == [
        *("output", "loss", "gradient_of_dense_2.weights", "gradient_of_dense_2.biases"),
    ]


def test_dropout_draws_in_each_call_of_a_training_step():
    model = Sequential([Dropout(0.5)])
    model.build((1000,), dtype="float32")
    proto = model_proto(model, loss=losses.MeanSquare())
    x = np.ones((4, 1000), "float32")
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    first, second = (session.run(["output"], {"input": x})[0] for _ in range(2))
    assert set(np.unique(first)) == {0.0, 2.0}
    assert not np.array_equal(first, second)
    assert abs(first.mean() - 1) < 0.1


def test_a_token_that_occurs_twice_has_the_sum_of_both_gradients():
    model = Sequential([Embedding(5, 3), Flatten(), Dense(2)])
    model.build((4,), rng=0, dtype="float32")
    loss = losses.MeanSquaredError()
    rng = np.random.default_rng(0)
    x, t = rng.integers(0, 5, (ROWS, 4)), rng.normal(size=(ROWS, 2)).astype("float32")
    model.backward_parameters(loss.value_and_delta(model.forward(x), t)[1])
    made = run(model_proto(model, loss=loss), x, t)[2:]
    for one, parameter in zip(made, model.parameters, strict=True):
        assert np.allclose(one, parameter.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", [GaussianNoise(0.3), GaussianDropout(0.2)])
def test_noise_has_its_width_in_the_file(layer):
    model = Sequential([layer.unbuilt()])
    model.build((1000,), dtype="float32")
    (y, _) = run(model_proto(model, loss=losses.MeanSquare()), np.ones((20, 1000), "float32"))
    width = 0.3 if isinstance(layer, GaussianNoise) else (0.2 / 0.8) ** 0.5
    assert abs(y.mean() - 1) < 0.05 * width
    assert abs(y.std() / width - 1) < 0.05


class Draws(Layer):
    """Normal numbers in the first half of a row, uniform ones in the second."""

    def build(self, input_shape):
        self.generator("draws")

    def forward(self, x):
        half = (len(x), x.shape[1] // 2)
        parts = [self.draws.normal(2.0, 0.5, half), self.draws.uniform(-1.0, 3.0, half)]
        return np.concatenate(parts, axis=1).astype(x.dtype) + 0 * x

    def backward(self, delta):
        return 0 * delta


def test_numbers_of_a_generator_have_their_distribution_in_the_file():
    layer = Draws()
    layer.build((2000,), dtype="float32")
    (y, _) = run(model_proto(layer, loss=losses.MeanSquare()), np.ones((10, 2000), "float32"))
    normal, uniform = y[:, :1000], y[:, 1000:]
    assert abs(normal.mean() - 2) < 0.04 and abs(normal.std() - 0.5) < 0.03
    assert -1 <= uniform.min() < -0.99 and 2.99 < uniform.max() <= 3


def test_gradients_of_several_outputs_add_up():
    x = Input((3,))
    model = Graph(x, {"a": Dense(1)(x), "b": Dense(2)(x)})
    model.build(rng=0, dtype="float32")
    loss = losses.PerOutput([losses.MeanSquaredError(), losses.HalfSquaredError()])
    proto = model_proto(model, loss=loss)
    assert [each.name for each in proto.graph.input] == ["input", "target_1", "target_2"]
    rng = np.random.default_rng(0)
    given = [rng.normal(size=(5, n)).astype("float32") for n in (3, 1, 2)]
    y = model.forward(given[0])
    cost, delta = loss.value_and_delta(y, tuple(given[1:]))
    model.backward_parameters(delta)
    wanted = [*y, cost, *(p.grad for p in model.parameters)]
    made = run(proto, *given)
    for one, other in zip(made, wanted, strict=True):
        assert np.allclose(one, other, rtol=1e-6, atol=1e-6)


# ------------------------------------------------------------------------------- arguments


def test_gradients_and_a_loss_are_two_files(tmp_path):
    with pytest.raises(errors.ConfigurationError, match="two different files"):
        interop.onnx.save(
            energy_network(), tmp_path / "m.onnx", gradients="inputs", loss=losses.MeanSquare()
        )


def test_other_gradients_are_refused(tmp_path):
    with pytest.raises(errors.ConfigurationError, match="no gradients='parameters'"):
        interop.onnx.save(energy_network(), tmp_path / "m.onnx", gradients="parameters")


def test_what_is_no_loss_is_refused(tmp_path):
    with pytest.raises(errors.ConfigurationError, match="loss is not a loss"):
        interop.onnx.save(energy_network(), tmp_path / "m.onnx", loss="mse")


def test_one_loss_for_two_outputs_is_refused(tmp_path):
    x = Input((3,))
    model = Graph(x, [Dense(1)(x), Dense(2)(x)])
    model.build()
    with pytest.raises(errors.ConfigurationError, match="2 outputs"):
        interop.onnx.save(model, tmp_path / "m.onnx", loss=losses.MeanSquaredError())


def test_the_file_of_gradients_is_checked(tmp_path):
    interop.onnx.save(energy_network(), tmp_path / "forces.onnx", gradients="inputs")
    proto = onnx.load(tmp_path / "forces.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert "Transpose" in kinds(proto)
