"""Models as ONNX files: the same numbers for every layer, any batch and any size of open axes."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest

from chainrule import (
    GRU,
    LSTM,
    Activation,
    Add,
    AveragePool,
    BatchNorm,
    Bidirectional,
    Convolution,
    Crop,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    Graph,
    GroupNorm,
    Input,
    LayerNorm,
    MaxPool,
    MultiHeadAttention,
    Pad,
    PositionalEncoding,
    PReLU,
    RMSNorm,
    Scan,
    Sequential,
    SimpleRNN,
    Slice,
    Softmax,
    SpectralConvolution,
    TimeDistributed,
    TransformerBlock,
    TransposedConvolution,
    Upsample,
    errors,
    interop,
    losses,
)
from chainrule.core.layer import Layer
from chainrule.layers.functions import KNOWN as FUNCTIONS
from interop.onnx_files import (
    LIMITS,
    assert_computes,
    kinds,
    model_proto,
    reference,
    run,
    runs_double,
)
from laws.library import everything

pytestmark = pytest.mark.edges

REFUSED = {
    "Inverse": "numpy.linalg.pinv",
    "Lagrangian": "numpy.linalg.solve",
    "Equilibrium": "a branch on data",
}
"""Layers that ONNX cannot express, and what the error names. Also a solver with adaptive steps."""

CASES = list(everything())
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def built(case, dtype, batch=5):
    """A layer of the library with random parameters, and inputs for it."""
    layer, rng = case.layer.unbuilt(), np.random.default_rng(1)
    shapes = case.shape if case.shape and isinstance(case.shape[0], tuple) else (case.shape,)
    if case.inputs is not None:
        inputs = (case.inputs((batch, *case.shape)),)
    else:
        inputs = tuple(rng.normal(size=(batch, *shape)) for shape in shapes)
    layer.build(*shapes, rng=0, dtype=dtype)
    for parameter in layer.parameters:
        parameter.value = parameter.value + 0.1 * rng.normal(size=parameter.shape)
    return layer, tuple(x.astype(dtype) for x in inputs)


def refused(layer):
    kind = type(layer).__name__
    if kind == "NeuralODE" and layer.solver == "dopri5":
        return "a branch on data"
    return REFUSED.get(kind)


@each_dtype
@each_case
def test_every_layer_is_the_same_in_the_file_or_refused_by_name(case, dtype):
    layer, inputs = built(case, dtype)
    reason = refused(layer)
    if reason is not None:
        with pytest.raises(errors.ExportError, match=reason):
            model_proto(layer)
        return
    proto = model_proto(layer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs = layer(*inputs)
        one = layer(*(x[:1] for x in inputs))
    assert_computes(proto, inputs, outputs if isinstance(outputs, tuple) else (outputs,))
    if not layer.couples_batch:
        single = one if isinstance(one, tuple) else (one,)
        assert_computes(proto, tuple(x[:1] for x in inputs), single)


@each_dtype
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_activation_functions_are_right_in_their_tails(name, dtype):
    """The functions choose a faster way if all numbers are small: a file must not."""
    layer = Activation(name)
    layer.build((13,), dtype=dtype)
    ends = [1.0, 20.0, 40.0, 88.0, 120.0, 1e4]
    x = np.array([[-z for z in ends] + [0.0] + ends], dtype)
    wanted = layer(x)
    for gradients in (None, "inputs"):
        proto = model_proto(layer, gradients=gradients)
        made = run(proto, x) if runs_double(proto) or dtype == "float32" else reference(proto, x)
        limit = LIMITS[dtype] * np.maximum(1, np.abs(wanted))
        assert np.all(np.abs(made[0] - wanted) <= limit)
        slope = layer.derivative(x)
        assert gradients is None or np.all(np.abs(made[1] - slope) <= LIMITS[dtype] * 2)


def test_a_batch_without_rows_is_a_batch():
    model = Sequential([Convolution(2, 3), Activation("relu"), Flatten(), Dense(3), Softmax()])
    model.build((4, 4, 1), rng=0, dtype="float32")
    (y,) = run(model_proto(model), np.zeros((0, 4, 4, 1), "float32"))
    assert y.shape == (0, 3)


# ------------------------------------------------------------------------------- open axes


def cell():
    x, h = Input((2,)), Input((3,))
    return Graph([x, h], Activation("tanh")(Add()(Dense(3)(x), Dense(3)(h))))


IMAGES = ((None, None, 3),)
OPEN = [
    (lambda: LSTM(3), ((None, 2),)),
    (lambda: LSTM(3, return_sequences=True), ((None, 2),)),
    (lambda: GRU(3, return_sequences=True), ((None, 2),)),
    (lambda: GRU(3), ((None, 2),)),
    (lambda: SimpleRNN(3), ((None, 2),)),
    (lambda: LSTM(3, return_sequences=True), ((None, 2), (None,))),
    (lambda: GRU(3), ((None, 2), (None,))),
    (lambda: SimpleRNN(3, return_sequences=True), ((None, 2), (None,))),
    (lambda: Scan(cell(), return_sequences=True), ((None, 2),)),
    (lambda: Scan(cell()), ((None, 2), (None,))),
    (lambda: Bidirectional(LSTM(3, return_sequences=True)), ((None, 2),)),
    (lambda: Bidirectional(GRU(3)), ((None, 2),)),
    (lambda: Sequential([LSTM(4, True), Dropout(0.2), LSTM(3), Dense(1)]), ((None, 2),)),
    (lambda: TimeDistributed(Sequential([Dense(3), Activation("tanh")])), ((None, 2),)),
    (lambda: TransformerBlock(2, 3, causal=True), ((None, 4),)),
    (lambda: Sequential([PositionalEncoding(), TransformerBlock(2, 3)]), ((None, 4),)),
    (lambda: MultiHeadAttention(2), ((None, 4), (None, 4), (None,))),
    (lambda: Convolution(3, 3), ((None, 2),)),
    (lambda: Convolution(3, 3, stride=2), IMAGES),
    (lambda: Convolution(3, 2, padding="periodic"), IMAGES),
    (lambda: Convolution(3, 3, padding="valid", stride=2, dilation=2), ((None, 2),)),
    (lambda: TransposedConvolution(3, 3, stride=2), IMAGES),
    (
        lambda: Sequential(
            [
                *(Convolution(4, 3), BatchNorm(), Activation("relu"), MaxPool(2)),
                *(Convolution(4, 3), GroupNorm(2), GlobalAveragePool(), Dense(2)),
            ]
        ),
        IMAGES,
    ),
    (
        lambda: Sequential(
            [MaxPool(2), AveragePool(2, padding="same"), Upsample(2), Crop(1), Pad(1), Softmax()]
        ),
        IMAGES,
    ),
    (lambda: Upsample(2, method="linear"), IMAGES),
    (lambda: SpectralConvolution(2, 3), ((None, 2),)),
    (lambda: SpectralConvolution(2, (3, 2)), IMAGES),
    (lambda: Sequential([LayerNorm(), RMSNorm(), GroupNorm(2), PReLU()]), ((None, 4),)),
    (lambda: MaxPool(3, stride=2, padding="same"), ((None, 4),)),
    (lambda: GlobalMaxPool(), IMAGES),
    (lambda: Slice(1, 3), ((None, 2),)),
    (lambda: Slice(-2), ((None, 2),)),
    (lambda: Sequential([Convolution(2, 3), Flatten()]), ((None, 4),)),
]
each_open = pytest.mark.parametrize(
    ("make", "shapes"),
    OPEN,
    ids=[f"{n:02d} {type(make()).__name__}" for n, (make, _) in enumerate(OPEN)],
)


@each_dtype
@each_open
def test_open_axes_and_the_batch_have_any_size(make, shapes, dtype):
    layer, rng = make(), np.random.default_rng(0)
    layer.build(*shapes, rng=0, dtype=dtype)
    proto = model_proto(layer)
    for size, batch in ((12, 3), (7, 1)):
        inputs = [
            rng.normal(size=(batch, *(size if n is None else n for n in row))).astype(dtype)
            for row in shapes
        ]
        if len(shapes) > 1 and shapes[-1] == (None,):  # a mask
            inputs[-1] = (inputs[-1] > -0.5).astype(dtype)
        assert_computes(proto, inputs, (layer(*inputs),))


@pytest.mark.parametrize("make", [lambda: GRU(3), lambda: Scan(cell(), return_sequences=True)])
def test_what_a_mask_leaves_out_may_be_anything(make):
    layer, rng = make(), np.random.default_rng(0)
    layer.build((None, 2), (None,), rng=0, dtype="float32")
    x = rng.normal(size=(3, 6, 2)).astype("float32")
    mask = (np.arange(6) < np.array([[6], [2], [4]])).astype("float32")
    wanted = layer(x, mask)
    x[mask == 0] = np.nan
    assert_computes(model_proto(layer), (x, mask), (wanted,))


def test_a_periodic_edge_may_be_longer_than_the_row():
    layer = Convolution(2, 7, padding="periodic")
    layer.build((2, 1), rng=0, dtype="float32")
    x = np.random.default_rng(0).normal(size=(3, 2, 1)).astype("float32")
    assert_computes(model_proto(layer), (x,), (layer(x),))


# ------------------------------------------------------------------------------- what a reader sees


def classifier(dtype="float32"):
    model = Sequential([Dense(4), Activation("relu"), Dense(3), Softmax()])
    model.build((2,), rng=0, dtype=dtype)
    return model


def test_nodes_are_named_by_layers_and_numbers_by_parameters():
    proto = model_proto(classifier())
    assert kinds(proto) == ["MatMul", "Add", "Relu", "MatMul", "Add", "Softmax"]
    assert [node.name for node in proto.graph.node] == [
        *("dense_1/MatMul", "dense_1/Add", "activation_1/Relu"),
        *("dense_2/MatMul", "dense_2/Add", "softmax_1/Softmax"),
    ]
    assert [each.name for each in proto.graph.initializer] == [
        *("dense_1.weights", "dense_1.biases", "dense_2.weights", "dense_2.biases"),
    ]


def test_inputs_outputs_and_open_axes_have_names():
    image, number = Input((None, None, 3), name="image"), Input((2,), name="number")
    pooled = GlobalAveragePool()(Convolution(4, 3)(image))
    model = Graph([image, number], {"class": Dense(5)(pooled), "size": Dense(1)(number)})
    model.build()
    proto = model_proto(model)
    shapes = {
        each.name: [d.dim_param or d.dim_value for d in each.type.tensor_type.shape.dim]
        for each in (*proto.graph.input, *proto.graph.output)
    }
    assert shapes == {
        "image": ["batch", "image_height", "image_width", 3],
        "number": ["batch", 2],
        "class": ["batch", 5],
        "size": ["batch", 1],
    }


def test_the_file_states_its_opset_and_who_wrote_it(tmp_path):
    interop.onnx.save(classifier(), tmp_path / "model.onnx")
    proto = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert [(each.domain, each.version) for each in proto.opset_import] == [("", 20)]
    assert proto.producer_name == "chainrule"
    assert proto.producer_version
    assert "Dense(4)" in proto.doc_string


@pytest.mark.parametrize(
    ("layer", "row", "node"),
    [
        (Convolution(2, 3), (5, 4, 1), "Conv"),
        (TransposedConvolution(2, 3), (5, 4, 1), "ConvTranspose"),
        (MaxPool(2), (4, 2), "MaxPool"),
        (AveragePool(2), (4, 2), "AveragePool"),
        (LSTM(3), (4, 2), "LSTM"),
        (GRU(3), (4, 2), "GRU"),
        (SimpleRNN(3), (4, 2), "RNN"),
        (Scan(cell()), (4, 2), "Scan"),
        (Softmax(), (4,), "Softmax"),
        (Activation("gelu"), (4,), "Gelu"),
        (Activation("sigmoid"), (4,), "Sigmoid"),
        (GlobalAveragePool(), (4, 2), "ReduceMean"),
    ],
)
def test_what_onnx_has_as_a_node_is_that_node(layer, row, node):
    layer = layer.unbuilt()
    layer.build(row, rng=0, dtype="float32")
    assert kinds(model_proto(layer)).count(node) == 1


def test_a_transpose_that_undoes_the_one_before_is_left_out():
    model = Sequential([Convolution(2, 3), MaxPool(2), Convolution(2, 3)])
    model.build((8, 8, 1), rng=0, dtype="float32")
    data = [kind for kind in kinds(model_proto(model)) if kind != "Transpose"]
    assert data == ["Conv", "MaxPool", "Conv"]
    perms = kinds(model_proto(model)).count("Transpose")
    assert perms == 4  # of the input, the output and two kernels


def test_saving_leaves_the_model_as_it_is():
    model = Sequential([Dense(3), BatchNorm(), Dropout(0.5), LSTM(2)])
    model.build((4, 2), rng=0)
    before, state = model.parameters.value.copy(), model.buffers.value.copy()
    drawn = {path: g.bit_generator.state for path, g in model.generators.items()}
    model_proto(model)
    assert np.array_equal(model.parameters.value, before)
    assert np.array_equal(model.buffers.value, state)
    assert drawn == {path: g.bit_generator.state for path, g in model.generators.items()}


def test_a_layer_used_twice_has_its_numbers_once():
    dense = Dense(3)
    model = Sequential([dense, Activation("tanh"), dense])
    model.build((3,), rng=0, dtype="float32")
    proto = model_proto(model)
    assert [each.name for each in proto.graph.initializer] == ["dense_1.weights", "dense_1.biases"]
    x = np.ones((2, 3), "float32")
    assert_computes(proto, (x,), (model(x),))


# ------------------------------------------------------------------------------- own layers


class Own(Layer):
    """Plain NumPy of many kinds."""

    def build(self, input_shape):
        self.scale = self.parameter("scale", input_shape, "ones")

    def forward(self, x):
        self.x = x
        y = np.zeros_like(x)
        y[:, 1:] = x[:, :-1]
        y += np.where(x > 0, x, np.expm1(x)) * self.scale.value
        y[:, 0] *= 2
        norm = np.linalg.norm(x, axis=1, keepdims=True)
        sorted_x = np.sort(x, axis=1)[:, ::-1]
        spectrum = np.abs(np.fft.rfft(x, axis=1)).sum(axis=1)[:, np.newaxis]
        return np.concatenate(
            [y / norm, np.einsum("bi,bj->bij", sorted_x, x).sum(axis=2), spectrum], 1
        )

    def backward(self, delta):
        return 0 * self.x


class Centred(Layer):
    """It divides by the number of rows, which Python gives as a plain number."""

    couples_batch = True

    def forward(self, x):
        return x - x.sum(axis=0) / max(len(x), 1) + 1.0 / max(len(x), 1)

    def backward(self, delta):
        return delta - delta.sum(axis=0) / len(delta)


class Branches(Layer):
    def forward(self, x):
        if (x > 0).all():
            return x
        return np.tanh(x)

    def backward(self, delta):
        return delta


class Unwraps(Layer):
    def forward(self, x):
        return np.unwrap(x)

    def backward(self, delta):
        return delta


class Converts(Layer):
    def forward(self, x):
        return np.asarray(x) * 2.0

    def backward(self, delta):
        return 2.0 * delta


class Loops(Layer):
    """A recurrent layer of one's own, without `Scan`."""

    @property
    def accepted_shapes(self):
        return ((None, 2),)

    def forward(self, x):
        h = 0
        for t in range(x.shape[1]):
            h = np.tanh(x[:, t] + h)
        return h

    def backward(self, delta):
        return delta


class Parity(Loops):
    """Something else for an axis of odd length."""

    def forward(self, x):
        return x[:, ::2] if int(x.shape[1]) % 2 else 2 * x[:, ::2]


class Counts(Layer):
    """Numbers that belong to one length."""

    @property
    def accepted_shapes(self):
        return ((None, 2),)

    def forward(self, x):
        return x * np.linspace(0, 1, x.shape[1])[:, np.newaxis]

    def backward(self, delta):
        return delta


class Diagonals(Layer):
    """Matrices as large as an open axis, and the first half of it."""

    @property
    def accepted_shapes(self):
        return ((None, 2),)

    def forward(self, x):
        n = x.shape[1]
        above = np.eye(n, n, 1, like=x) - 2 * np.tri(n, n, -2, like=x)
        half = -(-n // 2)
        return np.concatenate([(above @ x).astype(x.dtype), x[:, :half]], axis=1)

    def backward(self, delta):
        return delta


def test_diagonals_of_an_open_axis_are_where_numpy_has_them():
    layer = Diagonals()
    layer.build((None, 2), dtype="float32")
    proto = model_proto(layer)
    for size in (5, 3):
        x = np.random.default_rng(0).normal(size=(2, size, 2)).astype("float32")
        assert_computes(proto, (x,), (layer(x),))


@each_dtype
def test_a_layer_of_plain_numpy_needs_no_further_code(dtype):
    model = Sequential([Dense(6), Own()])
    model.build((4,), rng=0, dtype=dtype)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(dtype)
    assert_computes(model_proto(model), (x,), (model(x),))


@each_dtype
def test_numbers_that_follow_from_the_batch_are_computed_in_the_file(dtype):
    model = Sequential([Centred()])
    model.build((3,), dtype=dtype)
    proto = model_proto(model)
    for batch in (2, 7):
        x = np.random.default_rng(0).normal(size=(batch, 3)).astype(dtype)
        assert_computes(proto, (x,), (model(x),))


@pytest.mark.parametrize(
    ("layer", "row", "says"),
    [
        (Branches(), (4,), ["a branch on data", "if (x > 0).all():"]),
        (Unwraps(), (4,), ["numpy.unwrap has no counterpart in ONNX", "return np.unwrap(x)"]),
        (Converts(), (4,), ["np.asarray(x)", "return np.asarray(x) * 2.0"]),
        (Loops(), (None, 2), ["frozen into the file", "h = np.tanh(x[:, t] + h)"]),
        (Parity(), (None, 2), ["frozen into the file"]),
        (Counts(), (None, 2), ["frozen into the file", "np.linspace(0, 1, x.shape[1])"]),
    ],
)
def test_what_the_file_cannot_do_is_an_error_with_the_line_of_the_layer(layer, row, says):
    model = Sequential([layer.unbuilt()])
    model.build(row)
    with pytest.raises(errors.ExportError) as caught:
        model_proto(model)
    assert caught.value.place.startswith(f"sequential/{type(layer).__name__.lower()}_1")
    for text in says:
        assert text in str(caught.value)


@pytest.mark.parametrize("kind", [Loops, Branches])
def test_a_loop_over_an_axis_of_fixed_length_is_written_out(kind):
    model = Sequential([Loops()])
    model.build((4, 2), dtype="float32")
    x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")
    assert_computes(model_proto(model), (x,), (model(x),))


# ------------------------------------------------------------------------------- arguments


def test_a_model_that_is_not_built_is_refused(tmp_path):
    with pytest.raises(errors.BuildError):
        interop.onnx.save(Sequential([Dense(2)]), tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("name", "options"), [("output", {}), ("target", {"loss": losses.MeanSquaredError()})]
)
def test_two_values_of_one_name_are_refused(name, options):
    x = Input((3,), name=name)
    model = Graph([x], [Dense(2)(x)])
    model.build(rng=0)
    with pytest.raises(errors.ConfigurationError, match=f"would be called '{name}'"):
        model_proto(model, **options)


def test_anything_but_a_model_is_refused(tmp_path):
    with pytest.raises(errors.ConfigurationError, match="writes models"):
        interop.onnx.save("model", tmp_path / "model.onnx")


def test_a_state_that_is_carried_is_refused_until_it_is_reset():
    layer = LSTM(3, stateful=True)
    layer.forward(np.ones((2, 4, 1)))
    with pytest.raises(errors.ExportError, match="cannot carry a state") as caught:
        model_proto(layer)
    assert "reset()" in caught.value.hint
    layer.reset()
    assert "LSTM" in kinds(model_proto(layer))


def test_an_existing_file_stays_if_saving_fails(tmp_path):
    path = tmp_path / "model.onnx"
    interop.onnx.save(classifier(), path)
    before = path.read_bytes()
    bad = Sequential([Branches()])
    bad.build((2,))
    with pytest.raises(errors.ExportError):
        interop.onnx.save(bad, path)
    assert path.read_bytes() == before
    x = np.ones((1, 2), "float32")
    assert run(before, x)[0].shape == (1, 3)
