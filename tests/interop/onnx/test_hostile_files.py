"""A file from anywhere: bounded, named, nothing executed, nothing read outside its folder."""

from __future__ import annotations

import os

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule.core.errors import ChainruleError, StorageError
from interop.exporters import DATA

pytestmark = pytest.mark.edges

from onnx import ModelProto, TensorProto, helper, numpy_helper, parser  # noqa: E402

from chainrule.interop import onnx  # noqa: E402

HEADER = '<ir_version: 9, opset_import: ["" : 18]>\n'
DENSE = HEADER + "g (float[N, 4] x) => (float[N, 3] y) { y = MatMul(x, w) }"


def with_tensor(**fields):
    """A model whose weight has these fields."""
    model = parser.parse_model(DENSE)
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 3])
    tensor.raw_data = np.zeros((4, 3), np.float32).tobytes()
    for name, value in fields.items():
        tensor.ClearField(name)
        if name in ("dims", "float_data"):
            getattr(tensor, name).extend(value)
        else:
            setattr(tensor, name, value)
    model.graph.initializer.append(tensor)
    return model


def external(location, folder, **numbers):
    """The path of a model whose weight is in another file."""
    model = with_tensor(data_location=TensorProto.EXTERNAL, raw_data=b"")
    (tensor,) = model.graph.initializer
    for key, value in {"location": location, **numbers}.items():
        tensor.external_data.add(key=key, value=str(value))
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


# ------------------------------------------------------------------------------- bytes


@pytest.mark.parametrize("content", [b"", b"\0", b"not a model", b"PK\3\4" * 100, b"\xff" * 1000])
def test_bytes_that_are_no_model(content):
    with pytest.raises(StorageError):
        onnx.load(content)


@pytest.mark.parametrize("name", ["torch_mlp_script", "torch_cnn_dynamo"])
def test_a_file_that_ends_too_early(name):
    content = (DATA / f"{name}.onnx").read_bytes()
    for end in range(0, len(content), max(1, len(content) // 40)):
        with pytest.raises(StorageError):
            onnx.load(content[:end])


CONTENTS = {name: (DATA / f"{name}.onnx").read_bytes()
            for name in ("torch_mlp_script", "torch_cnn_script", "torch_lstm_script")}  # fmt: skip


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(CONTENTS)),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damaged_bytes_load_or_raise_a_named_error(name, changes):
    content = bytearray(CONTENTS[name])
    for place, value in changes:
        content[place % len(content)] = value
    with np.errstate(all="ignore"):
        try:
            graph = onnx.load(bytes(content))
        except ChainruleError:
            return
    assert graph.is_built


def test_a_file_that_is_not_there_and_a_folder(tmp_path):
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(StorageError):
            onnx.load(path)


# ------------------------------------------------------------------------------- tensors

HUGE = [
    {"dims": [2**40, 2**40]},
    {"dims": [10**9, 3]},
    {"dims": [-4, 3]},
    {"dims": [1] * 40},
    {"dims": [4, 4]},
    {"raw_data": b""},
    {"raw_data": b"\0" * 47},
    {"data_type": TensorProto.STRING},
    {"data_type": TensorProto.COMPLEX128},
    {"data_type": 99},
]


@pytest.mark.parametrize("fields", HUGE, ids=str)
def test_a_tensor_has_the_numbers_of_its_shape_or_is_refused(fields):
    with pytest.raises(StorageError, match=r"tensor|numbers|model"):
        onnx.load(with_tensor(**fields))


GREEDY = {
    "ConstantOfShape": "s = Constant<value_ints = [1000000, 1000000]>() c = ConstantOfShape(s)",
    "Expand": "s = Constant<value_ints = [1000000, 1000000]>() "
    "o = Constant<value_floats = [1.0]>() c = Expand(o, s)",
    "Range": "a = Constant<value_int = 0>() b = Constant<value_int = 1000000000000>() "
    "d = Constant<value_int = 1>() c = Range(a, b, d)",
    "Tile": "o = Constant<value_floats = [1.0]>() s = Constant<value_ints = [100000000000]>() "
    "c = Tile(o, s)",
    "MatMul": "s = Constant<value_ints = [100000, 1]>() u = Constant<value_ints = [1, 100000]>() "
    "a = ConstantOfShape(s) b = ConstantOfShape(u) c = MatMul(a, b)",
    "Add": "s = Constant<value_ints = [100000, 1]>() u = Constant<value_ints = [1, 100000]>() "
    "a = ConstantOfShape(s) b = ConstantOfShape(u) c = Add(a, b)",
    "Pad": "p = Constant<value_ints = [0, 0, 0, 1000000000000]>() c = Pad(x, p)",
    "Resize": 's = Constant<value_floats = [1.0, 1e12]>() c = Resize(x, "", s)',
}


@pytest.mark.parametrize("operator", sorted(GREEDY))
def test_a_few_bytes_cannot_ask_for_a_large_array(operator):
    text = HEADER + f"g (float[N, 4] x) => (float[] y) {{ {GREEDY[operator]} y = Add(x, c) }}"
    with pytest.raises(StorageError, match=operator):
        onnx.load(parser.parse_model(text))


# ------------------------------------------------------------------------------- other files


def test_weights_beside_the_model_are_read(tmp_path):
    w = np.arange(12, dtype=np.float32).reshape(4, 3)
    (tmp_path / "weights.bin").write_bytes(b"\0" * 8 + w.tobytes())
    path = external("weights.bin", tmp_path, offset=8, length=48)
    x = np.ones((2, 4), np.float32)
    assert np.array_equal(onnx.load(path)(x), x @ w)


ELSEWHERE = [
    "../secret.bin", "/etc/passwd", "a/../../secret.bin", "", ".", "link.bin",
    "folder/../../secret.bin", "\0",
]  # fmt: skip


@pytest.mark.parametrize("location", ELSEWHERE)
def test_nothing_outside_the_folder_is_read(location, tmp_path):
    (tmp_path / "secret.bin").write_bytes(b"\0" * 48)
    folder = tmp_path / "models"
    folder.mkdir()
    os.symlink(tmp_path / "secret.bin", folder / "link.bin")
    with pytest.raises(StorageError):
        onnx.load(external(location, folder))


def test_a_pipe_in_the_folder_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.bin")
    with pytest.raises(StorageError, match="weights"):
        onnx.load(external("pipe.bin", tmp_path))


@pytest.mark.parametrize(
    "numbers",
    [{"offset": 1}, {"length": 47}, {"offset": -8}, {"offset": "9" * 30}, {"length": "x"}],
)
def test_offsets_and_lengths_stay_in_the_file(numbers, tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"\0" * 48)
    with pytest.raises(StorageError):
        onnx.load(external("weights.bin", tmp_path, **numbers))


def test_a_model_in_memory_reads_no_files(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"\0" * 48)
    path = external("weights.bin", tmp_path)
    with pytest.raises(StorageError, match="another file"):
        onnx.load(path.read_bytes())


# ------------------------------------------------------------------------------- graphs


def test_a_cycle_is_named():
    model = parser.parse_model(
        HEADER + "g (float[N, 4] x) => (float[N, 4] y) { a = Tanh(x) y = Tanh(a) }"
    )
    model.graph.node[0].input[0] = "y"
    with pytest.raises(StorageError, match="no node before it computes"):
        onnx.load(model)


def test_a_value_that_is_computed_twice_is_named():
    model = parser.parse_model(
        HEADER + "g (float[N, 4] x) => (float[N, 4] y) { y = Tanh(x) y = Neg(x) }"
    )
    with pytest.raises(StorageError, match="value 'y'"):
        onnx.load(model)


def test_functions_that_multiply_end_at_a_number_of_nodes():
    header = '<ir_version: 9, opset_import: ["" : 18, "own" : 1]>\n'
    text = header + "g (float[N, 4] x) => (float[N, 4] y) { y = own.f40(x) }\n"
    for n in range(1, 41):
        text += '<domain: "own", opset_import: ["" : 18, "own" : 1]>\n'
        text += f"f{n} (a) => (c) {{ b = own.f{n - 1}(a) c = own.f{n - 1}(b) }}\n"
    text += '<domain: "own", opset_import: ["" : 18]>\nf0 (a) => (b) { b = Identity(a) }'
    with pytest.raises(StorageError, match="too many nodes"):
        onnx.load(parser.parse_model(text))


def test_a_function_that_calls_itself_ends_too():
    text = '<ir_version: 9, opset_import: ["" : 18, "own" : 1]>\n'
    text += "g (float[N, 4] x) => (float[N, 4] y) { y = own.f(x) }\n"
    text += '<domain: "own", opset_import: ["own" : 1]>\nf (a) => (b) { b = own.f(a) }'
    with pytest.raises(StorageError, match="too many nodes"):
        onnx.load(parser.parse_model(text))


@pytest.mark.parametrize("versions", [[], [("", 0)], [("", 10**6)], [("com.example", 1)]])
def test_an_unknown_version_of_the_operators_is_named(versions):
    model = parser.parse_model(DENSE)
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(*one) for one in versions)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((4, 3), np.float32), "w"))
    with pytest.raises(StorageError, match="version of the operators"):
        onnx.load(model)


def test_a_model_without_a_graph_without_outputs_without_inputs():
    empty = parser.parse_model(DENSE)
    del empty.graph.output[:]
    constant = parser.parse_model(
        HEADER + "g () => (float[1] y) { y = Constant<value_floats = [1.0]>() }"
    )
    for model in (ModelProto(), empty, constant):
        with pytest.raises(StorageError):
            onnx.load(model)


def test_attributes_of_the_wrong_kind_are_named_with_the_node():
    model = parser.parse_model(
        HEADER + "g (float[N, 4] x) => (float[N, 4] y) { y = Softmax<axis = 1>(x) }"
    )
    model.graph.node[0].attribute[0].CopyFrom(helper.make_attribute("axis", "text"))
    with pytest.raises(StorageError, match="Softmax"):
        onnx.load(model)


def test_a_long_name_does_not_fill_the_message():
    model = parser.parse_model(HEADER + "g (float[N, 4] x) => (float[N, 4] y) { y = Hardmax(x) }")
    model.graph.node[0].name = "x" * 10**6
    with pytest.raises(StorageError) as error:
        onnx.load(model)
    assert len(str(error.value)) < 2000
