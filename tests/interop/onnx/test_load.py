"""From an ONNX model to a graph: numbers, layouts, weights, training, and errors that name it."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import chainrule
from chainrule import (
    LSTM,
    Activation,
    BatchNorm,
    Convolution,
    Dense,
    Dropout,
    Embedding,
    GlobalAveragePool,
    LayerNorm,
    MaxPool,
    Permute,
    Trainer,
    check_layer,
    losses,
    optimizers,
)
from chainrule.core.errors import ConfigurationError, StorageError
from interop.exporters import DATA, FILES

pytestmark = pytest.mark.edges

from onnx import helper, load_model, numpy_helper, parser  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from chainrule.interop import onnx  # noqa: E402
from chainrule.interop.onnx.reading.layers import Reduce  # noqa: E402


def model_of(text, *, opset=18, **arrays):
    """A model from its text, with arrays as initializers."""
    header = f'<ir_version: 9, opset_import: ["" : {opset}]>\n'
    model = parser.parse_model(header + text)
    for name, array in arrays.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return model


def numbers(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def assert_as_reference(model, *inputs, tolerance=1e-5, **options):
    """The graph has the numbers of ONNX's own evaluator; returns it."""
    graph = onnx.load(model, **options)
    given = dict(zip([one.name for one in model.graph.input], inputs, strict=True))
    expected = ReferenceEvaluator(model).run(None, given)
    found = graph(*inputs)
    for one, other in zip(found if isinstance(found, tuple) else (found,), expected, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        assert np.allclose(one, other, rtol=tolerance, atol=tolerance)
    return graph


def kinds(graph):
    return [type(layer) for layer in graph.layers]


# ------------------------------------------------------------------------------- exported models


@pytest.mark.parametrize("name", FILES)
def test_an_exported_model_gives_the_numbers_of_the_program_that_wrote_it(name):
    data = np.load(DATA / f"{name}.npz")
    graph = onnx.load(DATA / f"{name}.onnx")
    found = graph(data["x"])
    assert found.dtype == np.float32
    assert np.abs(found - data["y"]).max() < 1e-6 * np.abs(data["y"]).max()


@pytest.mark.parametrize("name", FILES)
def test_an_exported_model_continues_training(name):
    data = np.load(DATA / f"{name}.npz")
    graph = onnx.load(DATA / f"{name}.onnx")
    target = np.roll(data["y"], 1, axis=0)
    trainer = Trainer(graph, losses.MeanSquaredError(), optimizers.Adam(0.01), rng=0)
    history = trainer.fit(data["x"], target, epochs=30, progress=False)
    assert history["loss"][-1] < 0.7 * history["loss"][0]


@pytest.mark.parametrize("name", FILES)
def test_an_exported_model_has_as_many_parameters_as_before(name):
    counts = {"torch_mlp": 67, "torch_lstm": 192, "keras_mlp": 67, "keras_lstm": 192,
              "keras_tokens": 217}  # fmt: skip
    graph = onnx.load(DATA / f"{name}.onnx")
    library_and_kind = "_".join(name.split("_")[:2])
    if library_and_kind in counts:
        assert len(graph.parameters.value) == counts[library_and_kind]


@pytest.mark.parametrize("name", [name for name in FILES if "torch_mlp" in name])
def test_the_gradients_are_those_of_pytorch(name):
    data = np.load(DATA / f"{name}.npz")
    graph = onnx.load(DATA / f"{name}.onnx")
    graph.backward(graph.forward(data["x"]))
    first, second = graph["dense_1"], graph["dense_2"]
    ours = [first.weights.grad.T, first.biases.grad, second.weights.grad.T, second.biases.grad]
    for n, gradient in enumerate(ours):
        assert np.allclose(gradient, data[f"gradient_{n}"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", FILES)
def test_a_loaded_model_survives_its_own_file(name, tmp_path):
    data = np.load(DATA / f"{name}.npz")
    graph = onnx.load(DATA / f"{name}.onnx")
    graph.save(tmp_path / "model.safetensors")
    again = chainrule.load(tmp_path / "model.safetensors")
    assert np.array_equal(again(data["x"]), graph(data["x"]))


@pytest.mark.parametrize("name", ["torch_cnn_script", "torch_lstm_script", "keras_lstm"])
def test_a_loaded_model_obeys_the_laws(name):
    graph = onnx.load(DATA / f"{name}.onnx")
    report = check_layer(graph, graph.input_shape)
    assert report, report


def test_a_loaded_transformer_obeys_the_laws():
    graph = onnx.load(DATA / "torch_transformer_dynamo.onnx")
    rng = np.random.default_rng(0)
    report = check_layer(graph, (6,), inputs=lambda shape: rng.integers(0, 10, shape))
    assert report, report


def test_a_convolutional_network_is_transposed_once_at_its_input():
    for way in ("dynamo", "script"):
        graph = onnx.load(DATA / f"torch_cnn_{way}.onnx")
        assert kinds(graph) == [
            Permute, Convolution, Activation, MaxPool, Convolution, Activation, chainrule.Flatten,
            Dense,
        ]  # fmt: skip


def test_an_lstm_of_pytorch_is_one_lstm():
    graph = onnx.load(DATA / "torch_lstm_dynamo.onnx")
    assert kinds(graph)[0] is LSTM and kinds(graph)[-1] is Dense


def test_a_path_its_bytes_and_its_message_are_the_same_model():
    path = DATA / "torch_mlp_script.onnx"
    graphs = [onnx.load(one) for one in (path, str(path), path.read_bytes(), load_model(path))]
    x = numbers(3, 4)
    assert all(np.array_equal(graph(x), graphs[0](x)) for graph in graphs)


# ------------------------------------------------------------------------------- layouts

CNN = """
g (float[N, 2, 8, 8] x) => (float[N, 3] y) {
    a = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, w, b)
    c = Relu(a)
    p = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(c)
    shape = Constant<value_ints = [0, -1]>()
    f = Reshape(p, shape)
    t = Tanh(f)
    u = Dropout(t)
    y = Gemm<transB = 1>(u, v, d)
}
"""


def test_a_dense_layer_after_an_image_has_the_rows_of_its_weights_in_another_order():
    arrays = {"w": numbers(4, 2, 3, 3), "b": numbers(4), "v": numbers(3, 64), "d": numbers(3)}
    graph = assert_as_reference(model_of(CNN, **arrays), numbers(5, 2, 8, 8, seed=1))
    assert kinds(graph).count(Permute) == 1


def test_images_that_come_out_are_transposed_once_more():
    text = """g (float[N, 2, 8, 8] x) => (float[N, 4, 8, 8] y) {
        a = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, w)
        r = Relu(a)
        y = Conv<kernel_shape = [1, 1]>(r, v)
    }"""
    model = model_of(text, w=numbers(4, 2, 3, 3), v=numbers(4, 4, 1, 1))
    graph = assert_as_reference(model, numbers(5, 2, 8, 8))
    assert kinds(graph) == [Permute, Convolution, Activation, Convolution, Permute]


def test_a_model_with_the_channels_last_already_needs_no_permutation():
    text = """g (float[N, 8, 8, 2] x) => (float[N, 8, 8, 4] y) {
        t = Transpose<perm = [0, 3, 1, 2]>(x)
        a = Conv<kernel_shape = [1, 1]>(t, w)
        y = Transpose<perm = [0, 2, 3, 1]>(a)
    }"""
    graph = assert_as_reference(model_of(text, w=numbers(4, 2, 1, 1)), numbers(5, 8, 8, 2))
    assert kinds(graph) == [Convolution]


def test_arithmetic_of_images_keeps_the_channels_last():
    text = """g (float[N, 2, 6, 6] x) => (float[N, 2] y) {
        a = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, w)
        scaled = Mul(a, s)
        mean = GlobalAveragePool(scaled)
        gate = Sigmoid(mean)
        gated = Mul(scaled, gate)
        sum = Add(gated, x)
        axes = Constant<value_ints = [2, 3]>()
        y = ReduceMax<keepdims = 0>(sum, axes)
    }"""
    model = model_of(text, w=numbers(2, 2, 3, 3), s=numbers(2, 1, 1))
    graph = assert_as_reference(model, numbers(5, 2, 6, 6))
    assert kinds(graph).count(Permute) == 1
    assert GlobalAveragePool in kinds(graph) and kinds(graph)[-1] is Reduce


CALLS = [
    "Mul(a, c)", "Add(a, row)", "Sub(c, a)", "Div(a, c)", "Div(c, a)", "Max(a, c)", "PRelu(a, c)",
    "Where(m, a, c)", "Concat<axis = 1>(a, more)", "Concat<axis = 3>(more, a)", "Add(a, x)",
    "Pad<mode = \"edge\">(a, amounts)", "Pad(a, amounts, half)", "Tile(a, times)",
    "Flatten(a)", "LayerNormalization<axis = 2>(a, row)", "ReduceMax(a, last)",
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS, ids=lambda one: one.replace(" ", ""))
def test_constants_meet_images_entry_by_entry(call):
    """The array of a has the channels last, and those of the constants have them first.

    All sizes are equal, so an axis in place of another one is not noticed by its size.
    """
    text = f"""g (float[N, 3, 3, 3] x) => (float[] y) {{
        a = Conv<kernel_shape = [1, 1]>(x, w)
        y = {call}
    }}"""
    arrays = {
        "w": numbers(3, 3, 1, 1), "c": numbers(3, 3, 3, seed=1), "row": numbers(3, 3, seed=2),
        "m": numbers(3, 3, 3, seed=3) > 0, "more": numbers(1, 3, 3, 3, seed=4),
        "amounts": np.array([0, 0, 1, 0, 0, 0, 2, 1]), "half": np.float32(0.5),
        "times": np.array([1, 2, 1, 2]), "last": np.array([3]),
    }  # fmt: skip
    used = {name: array for name, array in arrays.items() if name in re.findall(r"\w+", text)}
    rows = 1 if "more" in used else 5  # a constant that is joined is one for all rows
    assert_as_reference(model_of(text, **used), numbers(rows, 3, 3, 3, seed=5))


def test_a_negative_amount_of_padding_cuts():
    text = "g (float[N, 3, 4] x) => (float[] y) { y = Pad(x, amounts, one) }"
    model = model_of(text, amounts=np.array([0, -1, 1, 0, 0, -2]), one=np.float32(1))
    x = numbers(5, 3, 4)
    expected = np.concatenate([np.ones((5, 2, 1), np.float32), x[:, 1:, :2]], axis=2)
    assert np.array_equal(onnx.load(model)(x), expected)


SHAPED = [
    ("y = DepthToSpace<blocksize = 2>(x)", [8, 2, 3], 18),
    ('y = DepthToSpace<blocksize = 2, mode = "CRD">(x)', [8, 2, 3], 18),
    ("y = SpaceToDepth<blocksize = 2>(x)", [2, 4, 6], 18),
    ("a, b, c = Split<axis = 1, num_outputs = 3>(x) y = Concat<axis = 1>(c, a, b)", [8, 2], 18),
    ("a, b = Split<axis = 2>(x) y = Sub(b, a)", [3, 4], 11),
    ("y = MaxPool<kernel_shape = [2, 3], strides = [2, 2], ceil_mode = 1>(x)", [2, 5, 7], 18),
    ("y = MaxPool<kernel_shape = [2], pads = [0, 1], strides = [3], ceil_mode = 1>(x)", [2, 6], 18),
    ('y = AveragePool<kernel_shape = [3], auto_pad = "SAME_LOWER", strides = [2]>(x)', [2, 6], 18),
    ('y = Conv<dilations = [3], auto_pad = "SAME_LOWER">(x, filters)', [2, 6], 18),
    ("y = Tile(x, times)", [2, 3], 18),
    ("y = Expand(x, sizes)", [1, 3], 18),
    ("y = Gather<axis = 2>(x, grid)", [2, 3], 18),
    ("y = Slice(x, start, end, axes, step)", [2, 5], 18),
    ("s = Shape<start = 1, end = -1>(x) f = Cast<to = 1>(s) y = Mul(x, f)", [2, 5], 18),
    ("s = ConstantOfShape<value = float[1] {2.5}>(one) y = Mul(x, s)", [2, 5], 18),
    ("s = ConstantOfShape(one) y = Add(x, s)", [2, 5], 18),
]


@pytest.mark.parametrize(("nodes", "row", "opset"), SHAPED, ids=lambda one: str(one)[:40])
def test_operators_that_move_numbers_have_those_of_the_reference(nodes, row, opset):
    shape = ", ".join(map(str, ["N", *row]))
    text = f"g (float[{shape}] x) => (float[] y) {{ {nodes} }}"
    arrays = {
        "times": np.array([1, 2, 3]), "sizes": np.array([1, 4, 3]), "one": np.array([1]),
        "grid": np.array([[0, -1], [2, 0]]), "start": np.array([-1]), "end": np.array([-9]),
        "axes": np.array([2]), "step": np.array([-2]), "filters": numbers(2, 2, 2, seed=1),
    }  # fmt: skip
    used = {name: array for name, array in arrays.items() if name in re.findall(r"\w+", text)}
    assert_as_reference(model_of(text, opset=opset, **used), numbers(3, *row))


RECURRENT = """g (float[T, N, 3] x) => (float[T, 1, N, 4] y) {
    y, last = LSTM<hidden_size = 4>(x, w, r)
}"""


def test_a_recurrent_layer_with_time_first_needs_to_know_the_batch():
    model = model_of(RECURRENT, w=numbers(1, 16, 3), r=numbers(1, 16, 4))
    with pytest.raises(StorageError, match="LSTM") as error:
        onnx.load(model)
    assert "batch_axes" in str(error.value)
    graph = onnx.load(model, batch_axes={"x": 1})
    assert kinds(graph)[0] is LSTM
    x = numbers(6, 5, 3)
    (expected,) = ReferenceEvaluator(model).run(None, {"x": x})
    found = graph(np.swapaxes(x, 0, 1))  # (batch, T, 3) to (batch, T, 1, 4)
    assert np.allclose(found, np.moveaxis(expected, 2, 0), rtol=1e-5, atol=1e-6)


def test_a_unit_that_resets_before_the_product_is_right_over_many_steps():
    text = """g (float[N, T, 3] x) => (float[N, 4] last) {
        t = Transpose<perm = [1, 0, 2]>(x)
        y, h = GRU<hidden_size = 4>(t, w, r, b)
        axes = Constant<value_ints = [0]>()
        last = Squeeze(h, axes)
    }"""
    w, r, b = numbers(1, 12, 3), numbers(1, 12, 4, seed=1), numbers(1, 24, seed=2)
    x = numbers(5, 6, 3, seed=3)
    h = np.zeros((5, 4))
    for step in np.moveaxis(x, 1, 0):
        of_x = step @ w[0].T + b[0, :12] + b[0, 12:]
        gates = 1 / (1 + np.exp(-(of_x + h @ r[0].T)))
        z, reset = gates[:, :4], gates[:, 4:8]
        n = np.tanh(of_x[:, 8:] + (reset * h) @ r[0, 8:].T)
        h = (1 - z) * n + z * h
    graph = onnx.load(model_of(text, w=w, r=r, b=b))
    assert np.allclose(graph(x), h, rtol=1e-5, atol=1e-6)


def test_an_open_time_axis_stays_open():
    text = """g (float[N, T, 3] x) => (float[N, T, 2] y) {
        s = Shape(x)
        two = Constant<value_ints = [2]>()
        zero = Constant<value_int = 0>()
        one = Constant<value_int = 1>()
        batch = Gather(s, zero)
        time = Gather(s, one)
        first = Constant<value_ints = [0]>()
        b = Unsqueeze(batch, first)
        t = Unsqueeze(time, first)
        shape = Concat<axis = 0>(b, t, two)
        h = MatMul(x, w)
        y = Reshape(h, shape)
    }"""
    graph = onnx.load(model_of(text, w=numbers(3, 2)))
    assert graph.input_shapes == ((None, 3),)
    assert [graph(numbers(2, steps, 3)).shape for steps in (4, 7)] == [(2, 4, 2), (2, 7, 2)]


def test_parts_of_an_open_time_axis():
    text = "g (float[N, T, 3] x) => (float[] y) { y = Slice(x, start, end, axes, step) }"
    for start, end, step in ((2, 2**40, 1), (1, -1, 2), (-3, 2**40, 1), (-1, -(2**40), -1)):
        given = {"start": [start], "end": [end], "axes": [1], "step": [step]}
        arrays = {name: np.array(one) for name, one in given.items()}
        model, x = model_of(text, **arrays), numbers(2, 7, 3)
        assert_as_reference(model, x)
        assert_as_reference(model, x[:, :5])


def test_an_input_without_a_batch_is_a_row():
    text = "g (float[3, 4] x) => (float[3] y) { axes = Constant<value_ints = [1]>() "
    text += "s = ReduceSum<keepdims = 0>(x, axes) a = Constant<value_ints = [0]>() "
    text += "m = ReduceMax(x) y = Div(s, m) }"
    model = model_of(text)
    with pytest.raises(StorageError, match="ReduceMax"):
        onnx.load(model)
    graph = onnx.load(model, batch_axes={"x": None})
    x = numbers(5, 3, 4)
    expected = [ReferenceEvaluator(model).run(None, {"x": row})[0][0] for row in x]
    assert np.allclose(graph(x)[:, 0], expected, rtol=1e-5)


ROWS = [
    ("Clip(x, zero, six)", 18), ("Clip(x, zero)", 18), ("Clip<min = 0.0, max = 6.0>(x)", 6),
    ("ReduceL2(column, one)", 18), ("ReduceSumSquare(column, one)", 18),
    ("ReduceL1<keepdims = 0>(column, one)", 18), ("ReduceLogSum(exp, one)", 18),
    ("Cast<to = 1>(truth)", 18), ("Cast<to = 1>(whole)", 18), ("Mul(x, zeros)", 18),
    ("Pow(half, x)", 18), ("Pow(x, power)", 18), ("PRelu(x, slope)", 18), ("Selu(x)", 18),
    ("Selu<alpha = 2.0, gamma = 3.0>(x)", 18), ("Sub(six, x)", 18), ("Mean(x, exp)", 18),
    ("Div(six, exp)", 18),
    ("LayerNormalization<epsilon = 0.5>(x, s, t)", 18),
    ("Softmax<axis = 1>(x)", 11), ("BatchNormalization(x, s, t, m, v)", 15),
]  # fmt: skip


@pytest.mark.parametrize(("call", "opset"), ROWS, ids=lambda one: str(one).replace(" ", ""))
def test_operators_on_rows_have_the_numbers_of_the_reference(call, opset):
    nodes = {
        "column": "column = Unsqueeze(x, one)", "exp": "exp = Exp(x)",
        "truth": "truth = Cast<to = 9>(x)", "whole": "whole = Cast<to = 7>(x)",
        "zeros": "zeros = Cast<to = 1>(none)",
    }  # fmt: skip
    before = "\n".join(node for name, node in nodes.items() if name in call)
    text = f"g (float[N, 4] x) => (float[] y) {{ {before} y = {call} }}"
    arrays = {
        "zero": np.float32(0), "six": np.float32(6), "one": np.array([1]),
        "none": np.zeros(4, np.int64), "half": np.float32(0.5), "power": np.float32(3),
        "slope": numbers(4), "s": numbers(4), "t": numbers(4, seed=1), "m": numbers(4, seed=2),
        "v": np.exp(numbers(4, seed=3)),
    }  # fmt: skip
    used = {name: array for name, array in arrays.items() if name in re.findall(r"\w+", text)}
    x = np.array([[-7.5, 0.0, 0.25, 3.0], [6.5, -0.75, 9.0, -2.5]], np.float32)
    assert_as_reference(model_of(text, opset=opset, **used), x)


OF_CONSTANTS = [
    ("Mod<fmod = 1>(a, b)", [-5.0, 5.0, -7.0, 7.0], [3.0, -3.0, 3.0, -3.0]),
    ("Mod(a, b)", [-5, 5, -7, 7], [3, -3, 3, -3]),
    ("Div(a, b)", [-5, 5, -7, 7], [3, -3, 3, 3]),
    ("Pow(a, b)", [2, 3, 4, 5], [0.5, 1.5, 2.0, 2.5]),
    ("ReduceMean(a)", [1, 2, 4, 4], None),
    ("ReduceSum<keepdims = 0>(a)", [1.5, 2.5, -1.0, 4.0], None),
    ("Slice(a, b, ends, axes, steps)", [1, 2, 3, 4], [3]),
    ("ReduceMax(square, b)", None, [1]),
    ("Trilu(square)", None, None),
    ("Trilu<upper = 0>(square, b)", None, 1),
    ("Range(a, b, step)", 1.0, 3.5),
]


@pytest.mark.parametrize(("call", "a", "b"), OF_CONSTANTS, ids=lambda one: str(one)[:26])
def test_constants_are_computed_as_by_the_reference(call, a, b):
    """What is known when the model is read has the types of ONNX: integers stay integers."""
    text = f"""g (float[N, 4, 4] x) => (float[N, 4, 4] y) {{
        made = {call}
        floats = Cast<to = 1>(made)
        y = Add(x, floats)
    }}"""
    arrays = {
        "a": a, "b": b, "square": numbers(4, 4), "ends": [-9], "axes": [0], "steps": [-1],
        "step": 0.7,
    }  # fmt: skip
    used = {
        name: np.asarray(array, np.float32 if "." in str(array) else np.int64)
        for name, array in arrays.items()
        if name in re.findall(r"\w+", call)
    }
    assert_as_reference(model_of(text, **used), numbers(5, 4, 4))


NOT_FINITE = [
    "Max(x, ones)", "Max(ones, x)", "Min(x, ones)", "Erf(x)", "ThresholdedRelu(x)", "Relu(x)",
    "Clip(x, one, two)", "LeakyRelu(x)", "Shrink(x)", "HardSigmoid(x)", "Where(truth, x, ones)",
]  # fmt: skip


@pytest.mark.parametrize("call", NOT_FINITE, ids=lambda one: one.replace(" ", ""))
def test_what_is_not_finite_stays_what_the_reference_makes_of_it(call):
    text = f"g (float[N, 5] x) => (float[N, 5] y) {{ y = {call} }}"
    arrays = {
        "ones": np.ones(5, np.float32), "one": np.float32(1), "two": np.float32(2),
        "truth": np.array([1, 0, 1, 0, 1], bool),
    }  # fmt: skip
    used = {name: array for name, array in arrays.items() if name in re.findall(r"\w+", call)}
    model = model_of(text, **used)
    x = np.array([[np.nan, np.inf, -np.inf, -2.5, 2.5], [2.5, np.nan, 1.0, -np.inf, 0.0]], "f")
    with np.errstate(invalid="ignore"):
        (expected,) = ReferenceEvaluator(model).run(None, {"x": x})
        found = onnx.load(model)(x)
    assert np.allclose(found, expected, rtol=1e-6, equal_nan=True)


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_the_logarithm_of_a_sum_of_powers_does_not_overflow():
    text = "g (float[N, 3] x) => (float[] y) { y = ReduceLogSumExp<keepdims = 0>(x, axes) }"
    x = np.array([[900, 901, 0], [-900, -901, -902], [-np.inf] * 3, [0, np.inf, 1]], np.float32)
    found = onnx.load(model_of(text, axes=np.array([1])))(x)
    assert np.allclose(found, np.logaddexp.reduce(x.astype(float), axis=1), rtol=1e-6)


ATTENTION = """g (float[N, 6, 8] x) => (float[N, 6, 8] y) {{
    q = Transpose<perm = [1, 0, 2]>(x)
    joined = Constant<value_ints = {joined}>()
    a = Reshape(q, joined)
    b = Transpose<perm = [1, 0, 2]>(a)
    t = Transpose<perm = [0, 2, 1]>(b)
    scores = MatMul(b, t)
    half = Constant<value_float = 0.5>()
    scaled = Mul(scores, half)
    p = Softmax<axis = -1>(scaled)
    values = MatMul(p, b)
    back = Transpose<perm = [1, 0, 2]>(values)
    flat = Constant<value_ints = {flat}>()
    rows = Reshape(back, flat)
    out = Gemm(rows, w)
    apart = Constant<value_ints = {apart}>()
    z = Reshape(out, apart)
    y = Transpose<perm = [1, 0, 2]>(z)
}}"""
"""The attention of PyTorch: the heads of all rows are one axis, and then the steps of all rows."""


def attention(x, w):
    heads = np.moveaxis(x.reshape(*x.shape[:2], 2, 4), 2, 1)
    scores = np.exp(0.5 * heads @ np.swapaxes(heads, -1, -2))
    mixed = scores / scores.sum(axis=-1, keepdims=True) @ heads
    return np.moveaxis(mixed, 1, 2).reshape(x.shape) @ w


def test_an_axis_that_joins_the_batch_with_the_heads():
    x, w = numbers(5, 6, 8), numbers(8, 8, seed=1)
    text = ATTENTION.format(joined="[6, -1, 4]", flat="[-1, 8]", apart="[6, -1, 8]")
    graph = onnx.load(model_of(text, w=w))
    assert np.allclose(graph(x), attention(x, w), rtol=1e-4, atol=1e-5)
    assert np.allclose(graph(x[:2]), attention(x[:2], w), rtol=1e-4, atol=1e-5)


def test_an_axis_that_joins_a_batch_of_fixed_size_with_the_heads():
    x, w = numbers(5, 6, 8), numbers(8, 8, seed=1)
    text = ATTENTION.format(joined="[6, 10, 4]", flat="[30, 8]", apart="[6, 5, 8]")
    graph = onnx.load(model_of(text.replace("float[N,", "float[5,"), w=w))
    assert np.allclose(graph(x[:3]), attention(x[:3], w), rtol=1e-4, atol=1e-5)


def test_constants_and_permutations_of_a_joined_axis():
    text = """g (float[N, 6, 8] x) => (float[] y) {
        q = Transpose<perm = [1, 0, 2]>(x)
        joined = Constant<value_ints = [6, -1, 4]>()
        a = Reshape(q, joined)
        b = Mul(a, c)
        t = Transpose<perm = [1, 2, 0]>(b)
        s = Add(t, d)
        p = Softmax<axis = -1>(s)
        back = Transpose<perm = [2, 0, 1]>(p)
        apart = Constant<value_ints = [6, -1, 8]>()
        z = Reshape(back, apart)
        y = Transpose<perm = [1, 0, 2]>(z)
    }"""
    model = model_of(text, c=numbers(6, 1, 4), d=numbers(4, 6, seed=1))
    assert_as_reference(model, numbers(5, 6, 8, seed=2))


def test_axes_that_join_the_batch_in_another_order_do_not_meet():
    text = """g (float[N, 6, 8] x) => (float[] y) {
        sizes = Constant<value_ints = [-1, 8]>()
        rows = Reshape(x, sizes)
        t = Transpose<perm = [1, 0, 2]>(x)
        columns = Reshape(t, sizes)
        sum = Add(rows, columns)
        apart = Constant<value_ints = [-1, 6, 8]>()
        y = Reshape(sum, apart)
    }"""
    with pytest.raises(StorageError, match="not the same axis of all inputs"):
        onnx.load(model_of(text))


def test_what_acts_along_a_joined_axis_is_refused():
    text = """g (float[N, 6, 8] x) => (float[] y) {{
        sizes = Constant<value_ints = [-1, 8]>()
        a = Reshape(x, sizes)
        y = {call}
    }}"""
    for call in ("Softmax<axis = 0>(a)", "ReduceMean<axes = [0]>(a)", "Identity(a)", "Add(a, w)"):
        with pytest.raises(StorageError):
            onnx.load(model_of(text.format(call=call), opset=13, w=numbers(30, 8)))


EQUATIONS = [
    *("bij,jk->bik", "jk,bij->kbi", "...ij,jk->...ki", "bij,jk->b", "bij,ij,kj->bk", "bij,ji->bj"),
    *("bij,kj", "bij,bij,jk->bk", "bij,jk->bjki"),
]


@pytest.mark.parametrize("equation", EQUATIONS)
def test_sums_in_letters_are_those_of_numpy(equation):
    shapes = {"bij": (5, 6, 4), "...ij": (5, 6, 4), "ij": (6, 4), "ji": (4, 6), "kj": (3, 4)}
    letters = equation.partition("->")[0].split(",")
    data = [name for name in letters if name in ("bij", "...ij")]
    x = [numbers(5, 6, 4, seed=n) for n in range(len(data))]
    known = {f"w{n}": numbers(*shapes.get(name, (4, 3)), seed=9)
             for n, name in enumerate(letters) if name not in data}  # fmt: skip
    rest = iter(f"x{n}" for n in range(len(data)))
    given = [next(rest) if name in data else f"w{n}" for n, name in enumerate(letters)]
    rows = ", ".join(f"float[N, 6, 4] x{n}" for n in range(len(data)))
    text = (
        f"g ({rows}) => (float[] y) {{ y = Einsum<equation = '{equation}'>({', '.join(given)}) }}"
    )
    arrays = known | {f"x{n}": one for n, one in enumerate(x)}
    wanted = np.einsum(equation, *(arrays[name] for name in given))
    if "->kbi" in equation:
        wanted = np.moveaxis(wanted, 1, 0)  # the batch is the first axis here
    found = onnx.load(model_of(text.replace("'", '"'), **known))(*x)
    assert np.allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_an_array_as_long_as_an_open_axis_is_added_and_not_joined():
    text = """g (float[N, T, 2] x) => (float[] y) {{
        time = Shape<start = 1, end = 2>(x)
        sizes = Concat<axis = 0>(one, time, two)
        wide = Expand(w, sizes)
        y = {call}
    }}"""
    arrays = {"one": [1], "two": [2], "w": numbers(1, 1, 2)}
    x = numbers(3, 5, 2, seed=1)
    graph = onnx.load(model_of(text.format(call="Add(x, wide)"), **arrays))
    assert np.allclose(graph(x), x + arrays["w"])
    for call in ("Concat<axis = 1>(x, wide)", "Conv(x, wide)"):
        with pytest.raises(StorageError, match="open axis"):
            onnx.load(model_of(text.format(call=call), **arrays))


# ------------------------------------------------------------------------------- weights


def test_weights_that_are_used_twice_are_one_parameter():
    text = """g (float[N, 4] x) => (float[N, 4] y) {
        a = MatMul(x, w)
        b = Add(a, c)
        t = Tanh(b)
        d = MatMul(t, w)
        y = Add(d, c)
    }"""
    graph = assert_as_reference(model_of(text, w=numbers(4, 4), c=numbers(4)), numbers(5, 4))
    assert len(graph.parameters.value) == 20
    assert graph.layers[0] is graph.layers[2]


def test_a_product_that_is_used_twice_keeps_its_biases_apart():
    """The biases go into a Dense layer only if nothing else sees the product without them."""
    for outputs in ("z", "z, float[] a"):
        text = f"""g (float[N, 4] x) => (float[] {outputs}) {{
            a = MatMul(x, w)
            b = Add(a, c)
            z = {"Mul(b, a)" if outputs == "z" else "Tanh(b)"}
        }}"""
        graph = assert_as_reference(model_of(text, w=numbers(4, 4), c=numbers(4)), numbers(5, 4))
        assert len(graph.parameters.value) == 20


def test_equal_weights_with_names_of_their_own_stay_apart():
    text = "g (float[N, 4] x) => (float[N, 4] y) { a = MatMul(x, w) y = MatMul(a, v) }"
    graph = onnx.load(model_of(text, w=np.eye(4, dtype=np.float32), v=np.eye(4, dtype=np.float32)))
    assert len(graph.parameters.value) == 32


def test_biases_and_factors_of_a_product_go_into_a_dense_layer():
    text = """g (float[N, 4] x) => (float[N, 3] y) {
        y = Gemm<alpha = 0.5, beta = 2.0>(x, w, b)
    }"""
    graph = assert_as_reference(model_of(text, w=numbers(4, 3), b=numbers(3)), numbers(5, 4))
    assert kinds(graph) == [Dense]
    assert np.allclose(graph["dense_1"].biases.value, 2 * numbers(3))


def test_arrays_are_learned_and_single_numbers_are_not():
    text = """g (float[N, 4] x) => (float[N, 4] y) {
        half = Constant<value_float = 0.5>()
        a = Mul(x, half)
        b = Mul(a, s)
        y = Add(b, t)
    }"""
    graph = assert_as_reference(model_of(text, s=numbers(4), t=numbers(4)), numbers(5, 4))
    assert len(graph.parameters.value) == 8
    text = """g (float[N, 4] x) => (float[N, 4] y) {
        positive = Greater(x, zero)
        y = Where(positive, x, tenth)
    }"""
    arrays = {"zero": np.float32(0), "tenth": np.float32(0.1)}
    graph = assert_as_reference(model_of(text, **arrays), numbers(5, 4))
    assert len(graph.parameters.value) == 0


def test_the_summand_of_a_product_of_whole_matrices_has_its_factor():
    text = """g (float[3, 4] x) => (float[3, 2] y) {
        y = Gemm<alpha = 0.5, beta = 2.0>(x, w, c)
    }"""
    x, w, c = numbers(5, 3, 4), numbers(4, 2), numbers(3, 2, seed=1)
    graph = onnx.load(model_of(text, w=w, c=c), batch_axes={"x": None})
    assert np.allclose(graph(x), 0.5 * x @ w + 2 * c, rtol=1e-5, atol=1e-6)


def test_constants_are_given_by_name():
    text = "g (float[N, 4] x, float[4, 3] w) => (float[N, 3] y) { y = MatMul(x, w) }"
    x, w = numbers(5, 4), numbers(4, 3)
    graph = onnx.load(model_of(text), constants={"w": w})
    assert np.allclose(graph(x), x @ w, rtol=1e-5)


def test_constants_replace_weights_of_the_file():
    text = "g (float[N, 4] x) => (float[N, 3] y) { y = MatMul(x, w) }"
    x, w = numbers(5, 4), numbers(4, 3)
    graph = onnx.load(model_of(text, w=0 * w), constants={"w": w})
    assert np.allclose(graph(x), x @ w, rtol=1e-5)


def test_a_table_whose_numbers_are_data_is_an_embedding():
    text = "g (int64[N, 6] tokens) => (float[N, 6, 4] y) { y = Gather(w, tokens) }"
    tokens = np.random.default_rng(0).integers(0, 9, (5, 6))
    graph = assert_as_reference(model_of(text, w=numbers(9, 4)), tokens)
    assert kinds(graph) == [Embedding]


def test_double_precision_is_kept():
    text = "g (double[N, 4] x) => (double[N, 3] y) { a = MatMul(x, w) y = Erf(a) }"
    x, w = numbers(5, 4, dtype=np.float64), numbers(4, 3, dtype=np.float64)
    graph = onnx.load(model_of(text, w=w))
    assert np.allclose(graph(x), np.vectorize(math.erf)(x @ w), rtol=1e-13)
    assert graph.dtype == np.float64


def test_layers_with_statistics_and_chance_are_those_of_chainrule():
    text = """g (float[N, 4] x) => (float[N, 4] y) {
        a = BatchNormalization(x, s, t, m, v)
        b = Dropout(a)
        y = LayerNormalization(b, s, t)
    }"""
    arrays = {"s": numbers(4), "t": numbers(4), "m": numbers(4), "v": numbers(4) ** 2}
    graph = assert_as_reference(model_of(text, **arrays), numbers(5, 4))
    assert kinds(graph) == [BatchNorm, Dropout, LayerNorm]


def test_the_momentum_of_running_statistics_is_that_of_the_file():
    text = """g (float[N, 4] x) => (float[N, 4] y) {
        y = BatchNormalization<momentum = 0.8>(x, s, t, m, v)
    }"""
    arrays = {"s": numbers(4), "t": numbers(4), "m": numbers(4), "v": numbers(4) ** 2}
    graph, x = onnx.load(model_of(text, **arrays)), numbers(5, 4)
    graph.forward(x)
    found = graph["batch_norm_1"].running_mean.value
    assert np.allclose(found, 0.8 * arrays["m"] + 0.2 * x.mean(axis=0), rtol=1e-5, atol=1e-6)


def test_the_rate_of_dropout_is_that_of_the_file():
    text = "g (float[N, 4] x) => (float[N, 4] y) {{ y = {call} }}"
    for call, opset in (("Dropout<ratio = 0.25>(x)", 10), ("Dropout(x, quarter)", 13)):
        used = {"quarter": np.float32(0.25)} if opset == 13 else {}
        graph = onnx.load(model_of(text.format(call=call), opset=opset, **used))
        assert graph.layers[0].rate == 0.25


@pytest.mark.parametrize("opset", [18, 21])
def test_a_group_norm_has_a_factor_for_each_group_or_each_channel(opset):
    text = """g (float[N, 6, 3] x) => (float[N, 6, 3] y) {
        y = GroupNormalization<num_groups = 2, epsilon = 0.01>(x, s, t)
    }"""
    count = 2 if opset == 18 else 6
    x, s, t = numbers(5, 6, 3), numbers(count, seed=1), numbers(count, seed=2)
    groups = x.reshape(5, 2, 9)
    centred = groups - groups.mean(axis=2, keepdims=True)
    normal = centred / np.sqrt(groups.var(axis=2, keepdims=True) + 0.01)
    scale, shift = (np.repeat(one, 6 // count)[:, np.newaxis] for one in (s, t))
    expected = normal.reshape(x.shape) * scale + shift
    found = onnx.load(model_of(text, opset=opset, s=s, t=t))(x)
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_every_dropout_draws_for_itself():
    text = "g (float[N, 50] x) => (float[N, 50] y) { a = Dropout(x) y = Dropout(a) }"
    graph = onnx.load(model_of(text))
    ones = np.ones((40, 50), np.float32)
    assert np.mean(graph.forward(ones) != 0) < 0.35  # a quarter is left, not a half
    assert np.array_equal(graph(ones), ones)


def test_several_inputs_and_outputs():
    text = """g (float[N, 4] first, float[N, 4] second)
    => (float[N, 4] a, float[N, 8] b, float[N, 4] c) {
        a = Add(first, second)
        b = Concat<axis = 1>(first, second)
        c = Identity(second)
    }"""
    graph = assert_as_reference(model_of(text), numbers(5, 4), numbers(5, 4, seed=1))
    assert [name for name, _ in graph.starts] == ["first", "second"]


def test_functions_of_the_model_are_written_out():
    text = """<ir_version: 9, opset_import: ["" : 18, "own" : 1]>
    g (float[N, 4] x) => (float[N, 4] y) {
        a = own.Twice<slope = 0.2>(x)
        y = own.Twice<slope = 0.3>(a)
    }
    <domain: "own", opset_import: ["" : 18]>
    Twice <slope> (z) => (out) {
        once = LeakyRelu<alpha: float = @slope>(z)
        out = LeakyRelu<alpha: float = @slope>(once)
    }"""
    x = numbers(5, 4)
    graph = onnx.load(parser.parse_model(text))
    assert np.allclose(graph(x), np.where(x > 0, x, 0.2**2 * 0.3**2 * x), rtol=1e-6)


def test_operators_that_onnx_defines_by_others_are_written_out():
    text = "g (float[N, 4] x) => (float[N, 4] y) { y = Softsign(x) }"
    assert kinds(onnx.load(model_of(text))) == [Activation]
    text = """g (float[N, 4] x, float[N, 4] z) => (float[N, 4] y) {
        c = Greater(x, z)
        y = Where(c, x, z)
    }"""
    assert_as_reference(model_of(text), numbers(5, 4), numbers(5, 4, seed=1))


OLD = [
    ("Clip<min = -0.5, max = 0.5>(x)", 6),
    ("Squeeze<axes = [1]>(x)", 11),
    ("Pad<pads = [0, 0, 1, 1, 0, 0, 0, 2], value = 0.5>(x)", 7),
    ("ReduceMean<axes = [2, 3], keepdims = 0>(x)", 13),
    ("Slice<starts = [1], ends = [-1], axes = [2]>(x)", 9),
]


@pytest.mark.parametrize(("call", "opset"), OLD, ids=lambda one: str(one)[:9])
def test_old_versions_have_their_arguments_elsewhere(call, opset):
    model = model_of(f"g (float[N, 1, 4, 4] x) => (float[] y) {{ y = {call} }}", opset=opset)
    x = numbers(5, 1, 4, 4)
    (expected,) = ReferenceEvaluator(model).run(None, {"x": x})
    assert np.allclose(onnx.load(model)(x), expected, rtol=1e-5, atol=1e-6)


def test_the_softmax_of_old_versions_is_over_all_axes_from_one_on():
    model = model_of("g (float[N, 2, 3] x) => (float[N, 2, 3] y) { y = Softmax(x) }", opset=11)
    x = numbers(5, 2, 3)
    powers = np.exp(x)
    expected = powers / powers.sum(axis=(1, 2), keepdims=True)
    assert np.allclose(onnx.load(model)(x), expected, rtol=1e-5)


def test_the_upsampling_of_old_versions():
    text = """g (float[N, 2, 3, 3] x) => (float[N, 2, 6, 9] y) {
        y = Upsample<mode = "nearest", scales = [1.0, 1.0, 2.0, 3.0]>(x)
    }"""
    x = numbers(5, 2, 3, 3)
    expected = np.repeat(np.repeat(x, 2, axis=2), 3, axis=3)
    assert np.array_equal(onnx.load(model_of(text, opset=7))(x), expected)


# ------------------------------------------------------------------------------- errors


def test_one_error_lists_every_operator_that_is_missing():
    text = """g (float[N, 4] x) => (float[N, 4] y) {
        a = NonZero(x)
        b = Tanh(x)
        c = Hardmax(b)
        d = Hardmax(c)
        y = Neg(d)
    }"""
    model = model_of(text)
    for number, node in enumerate(model.graph.node):
        node.name = f"node_{number}"
    with pytest.raises(StorageError) as error:
        onnx.load(model)
    assert error.value.problem.endswith("without a counterpart: Hardmax, NonZero")
    for name in ("node_0", "node_2", "node_3"):
        assert name in str(error.value)
    assert "node_1" not in str(error.value) and "node_4" not in str(error.value)


REFUSED = [
    ("ReduceSum(x)", "along axis 0, which is the batch"),
    ("Softmax<axis = 0>(x)", "along axis 0, which is the batch"),
    ("Concat<axis = 0>(x, x)", "along axis 0, which is the batch"),
    ("Flatten<axis = 2>(x)", "joins the batch"),
    ("Cast<to = 11>(x)", "converts float32 to float64"),
    ("Dropout(x, half, yes)", "training_mode is true"),
    ("Add(x, three)", "different for each row"),
    ("If<then_branch = t () => (float q) { q = Neg(x) }, "
     "else_branch = e () => (float q) { q = Tanh(x) }>(yes)", "another graph"),
    ("Reshape(x, sizes)", "moves the batch"),
    ("Reshape(x, pairs)", "joins or divides the batch"),
    ("Squeeze(x, last)", "whose size is not 1"),
    ("Expand(x, two)", "cannot be repeated"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "reason"), REFUSED, ids=lambda one: str(one)[:12])
def test_what_cannot_be_is_refused_with_the_reason(call, reason):
    text = f"g (float[N, 4] x) => (float[] y) {{ y = {call} }}"
    arrays = {"half": np.float32(0.5), "yes": np.True_, "three": numbers(3, 4),
              "sizes": np.array([2, 2, -1]), "last": np.array([1]), "two": np.array([2]),
              "pairs": np.array([-1, 3])}  # fmt: skip
    with pytest.raises(StorageError) as error:
        onnx.load(model_of(text, **arrays))
    assert reason in str(error.value)


def test_an_axis_of_another_input_in_place_of_the_batch_is_refused():
    text = "g (float[N, 4] x, float[4, 4] z) => (float[] y) {{ y = {call}(x, z) }}"
    for call in ("Add", "Div", "Concat<axis = 0>"):
        with pytest.raises(StorageError):
            onnx.load(model_of(text.format(call=call)), batch_axes={"z": None})


def test_a_whole_input_multiplies_each_row():
    text = "g (float[N, 4] x, float[4, 3] z) => (float[] y) { y = MatMul(x, z) }"
    found = onnx.load(model_of(text), batch_axes={"z": None})
    x, z = numbers(5, 4), numbers(4, 3)
    np.testing.assert_allclose(found(x, np.stack([z] * 5)), x @ z, rtol=1e-6)


OPTIONS = [
    ("<hidden_size = 4, clip = 1.0>(x, w, r)", "clip=1"),
    ('<hidden_size = 4, activations = ["Relu"]>(x, w, r)', "activations=.*Relu"),
    ("<hidden_size = 4>(x, w, r, , lengths)", "lengths of their own"),
    ("<hidden_size = 4>(x, w, r, , , h)", "initial state"),
]


@pytest.mark.parametrize(("call", "reason"), OPTIONS, ids=lambda one: str(one)[-20:])
def test_options_of_recurrent_layers_that_have_no_counterpart_are_refused(call, reason):
    text = f"g (float[6, N, 3] x) => (float[] y) {{ y, last = RNN{call} }}"
    arrays = {"w": numbers(1, 4, 3), "r": numbers(1, 4, 4), "h": numbers(1, 2, 4),
              "lengths": np.array([5, 6], np.int32)}  # fmt: skip
    used = {name: array for name, array in arrays.items() if name in re.findall(r"\w+", call)}
    with pytest.raises(StorageError, match=reason):
        onnx.load(model_of(text, **used), batch_axes={"x": 1})


def test_an_operator_of_another_domain_is_named_with_it():
    node = helper.make_node("Mystery", ["x"], ["y"], domain="com.example", name="here")
    model = model_of("g (float[N, 4] x) => (float[N, 4] y) { y = Tanh(x) }")
    model.graph.node[0].CopyFrom(node)
    with pytest.raises(StorageError, match=r"com\.example\.Mystery"):
        onnx.load(model)


def test_arguments_that_fit_no_input_are_named_errors():
    model = model_of("g (float[N, 4] x) => (float[N, 4] y) { y = Tanh(x) }")
    for options in (
        {"constants": {"z": 1.0}}, {"batch_axes": {"z": 0}}, {"batch_axes": {"x": 5}},
        {"constants": {"x": "text"}},
    ):  # fmt: skip
        with pytest.raises(ConfigurationError):
            onnx.load(model, **options)
    with pytest.raises(ConfigurationError, match="nothing that a model can be read from"):
        onnx.load(3.5)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "int64"])
def test_a_model_that_is_not_of_single_or_double_precision_is_refused(kind):
    text = f"g ({kind}[N, 4] x) => ({kind}[N, 4] y) {{ y = Identity(x) }}"
    with pytest.raises(StorageError):
        onnx.load(model_of(text))


def test_an_input_that_nothing_uses_is_named():
    text = "g (float[N, 4] x, float[N, 4] z) => (float[N, 4] y) { y = Tanh(x) }"
    with pytest.raises(StorageError, match="not used") as error:
        onnx.load(model_of(text))
    assert error.value.place == "z"
