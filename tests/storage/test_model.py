"""Storage: what is saved comes back bit for bit; what is no model is refused with the reason."""

from __future__ import annotations

import ast
import copy
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from attrs import define, field, frozen
from hypothesis import given, settings
from safetensors import safe_open

import chainrule
from chainrule import storage
from chainrule.core.errors import BuildError, StorageError
from chainrule.core.initializers import KNOWN as INITIALIZERS
from chainrule.core.initializers import Constant, Initializer, Normal, Orthogonal, Uniform
from chainrule.core.layer import Layer
from chainrule.graph.sequential import Sequential
from chainrule.layers.activation import Activation
from chainrule.layers.dense import Dense
from chainrule.layers.functions import KNOWN as FUNCTIONS
from chainrule.layers.functions import Elu, Function, LeakyRelu
from chainrule.layers.softmax import Softmax
from chainrule.storage import sealed_file
from chainrule.storage.generators import BIT_GENERATORS
from laws.unusual_layers import BatchNorm, Dropout, Product, Shuffled, Temperature, Tied, TwoPaths

X = np.linspace(-2, 2, 12).reshape(4, 3)


def built(layer, *shapes, **how):
    layer.build(*(shapes or ((3,),)), **{"rng": 0, **how})
    return layer


def returned(model, path):
    """What comes back from a file, with all that must be as it was."""
    model.save(path)
    loaded = storage.load(path, layers={type(part) for _, part in model.walk()})
    assert type(loaded) is type(model)
    assert loaded.unbuilt() == model.unbuilt() and repr(loaded) == repr(model)
    assert (loaded.dtype, loaded.input_shapes) == (model.dtype, model.input_shapes)
    assert loaded.output_shapes == model.output_shapes
    for one, other in ((loaded.parameters, model.parameters), (loaded.buffers, model.buffers)):
        assert one.paths == other.paths
        assert one.value.dtype == other.value.dtype
        assert one.value.tobytes() == other.value.tobytes()
    assert list(loaded.generators) == list(model.generators)
    return loaded


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


# ------------------------------------------------------------------------------- what comes back

layers = st.one_of(
    st.builds(
        Dense,
        st.integers(1, 4),
        use_bias=st.booleans(),
        initializer=st.sampled_from(
            [*INITIALIZERS, Constant(0.1), Orthogonal(0.5), Uniform(-1, 2), Normal(0.5, 1e-300)]
        ),
        bias_initializer=st.floats(-1, 1),
    ),
    st.sampled_from([*FUNCTIONS, LeakyRelu(0.1), Elu(1 / 3)]).map(Activation),
    st.builds(Activation, st.just(np.sin), st.just(np.cos)),
    st.builds(Softmax),
)
models = st.recursive(
    layers, lambda inner: st.lists(inner, min_size=1, max_size=4).map(Sequential), max_leaves=8
)


@given(models, st.sampled_from(["float32", "float64"]))
@settings(max_examples=60)
def test_every_layer_initializer_and_function_comes_back_bit_for_bit(
    tmp_path_factory, model, dtype
):
    built(model, dtype=dtype)
    model.parameters.value *= 1 + 1e-7  # numbers that no initializer draws
    loaded = returned(model, tmp_path_factory.getbasetemp() / "any.safetensors")
    x = X.astype(dtype)
    y = model.forward(x)
    assert loaded(x).tobytes() == model(x).tobytes()
    assert loaded.forward(x).tobytes() == y.tobytes()
    assert loaded.backward(np.ones_like(y)).tobytes() == model.backward(np.ones_like(y)).tobytes()
    np.testing.assert_array_equal(loaded.parameters.grad, model.parameters.grad)


@pytest.mark.parametrize("name", [*INITIALIZERS])
def test_the_initializer_is_still_there_for_the_next_model(name, path):
    loaded = returned(built(Dense(2, initializer=name)), path)
    one, other = built(loaded.unbuilt(), rng=5), built(Dense(2, initializer=name), rng=5)
    np.testing.assert_array_equal(one.weights.value, other.weights.value)


def test_numbers_that_are_not_finite_and_signed_zeros_come_back(path):
    model = built(Dense(2))
    model.biases.value = [np.nan, -0.0]
    model.weights.value = [[np.inf, -np.inf], [5e-324, 1e308], [0.1, 1 / 3]]
    returned(model, path)


@define
class Storable(Layer):
    """A layer of one's own with fields of every kind that can be written."""

    first: Any
    _hidden: Any = None
    named: Any = field(default="a name", kw_only=True)

    def build(self, input_shape):
        self.parameter("scale", input_shape, 0.5)

    def forward(self, x):
        self.x = x
        return x * self.scale.value

    def backward(self, delta):
        self.scale.accumulate((delta * self.x).sum(axis=0))
        return delta * self.scale.value


plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8")),
)
keys = st.text(max_size=3) | st.sampled_from(["layer", "tuple", "dict", "array", "fields", "ufunc"])
values = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
    ),
    max_leaves=10,
)


@given(values, values, values)
@settings(max_examples=60)
def test_fields_of_nested_lists_tuples_and_dictionaries_come_back(first, hidden, named):
    model = built(Storable(first, hidden, named=named))
    loaded = storage.loads(storage.dumps(model))
    assert loaded == model
    assert repr(loaded) == repr(model)  # which tells (1,) from [1], 1 from 1.0 and True


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.array([0.1, np.nan, np.inf, -0.0], np.float32),
        np.array(1 / 3),
        np.zeros((0, 3)),
        np.zeros((2, 0), np.uint8),
        np.array([[True, False]]),
        np.array([2**63 - 1, -(2**63)]),
        np.array([[1.5, 2.5], [3.5, 4.5]]).T,
    ],
)
def test_fields_that_are_arrays_come_back_with_shape_and_type(array):
    loaded = storage.loads(storage.dumps(built(Storable({"in": [array]}))))
    (found,) = loaded.first["in"]
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found, array)
    assert found.tobytes() == array.tobytes()


def test_numbers_of_numpy_become_those_of_python():
    model = built(Storable(np.float32(0.1), np.int64(3), named=np.bool_(True)))
    loaded = storage.loads(storage.dumps(model))
    assert (loaded.first, loaded._hidden, loaded.named) == (float(np.float32(0.1)), 3, True)
    assert type(loaded._hidden) is int and type(loaded.named) is bool


@define
class OneField(Layer):
    """Its only field has a name that the file uses too."""

    layer: Layer

    def forward(self, x):
        return self.layer.forward(x)

    def backward(self, delta):
        return self.layer.backward(delta)


def test_custom_layers_are_found_by_name(path):
    model = built(Sequential([Storable(1), OneField(Dense(2))]))
    model.save(path)
    assert storage.load(path) == model


def test_layers_in_fields_of_any_name_and_any_container_come_back(path):
    returned(built(OneField(OneField(Dense(2)))), path)
    inner = {"layer": [Dense(2), (Softmax(), {"deep": OneField(Dense(3))})]}
    loaded = storage.loads(storage.dumps(built(Storable(inner))))
    assert loaded.first == inner


def test_shared_layers_stay_shared(path):
    shared = Dense(3)
    model = built(
        Sequential([shared, Activation("tanh"), OneField(shared), TwoPaths(shared, shared)])
    )
    loaded = returned(model, path)
    assert loaded[0] is loaded[2].layer is loaded[3].left is loaded[3].right
    assert loaded.parameters.size == 12
    np.testing.assert_array_equal(loaded(X), model(X))


def test_equal_layers_stay_apart(path):
    loaded = returned(built(Sequential([Dense(3), Dense(3)])), path)
    assert loaded[0] is not loaded[1]


def test_a_part_of_a_larger_model_is_saved_as_it_is_by_itself(path):
    model = built(Sequential([Sequential([Dense(4), Activation("tanh")]), Dense(2)]))
    slice_of_it = model[0:1]
    slice_of_it(X)
    for part in (model[0], model[0][0], slice_of_it, model):
        returned(part, path)


def test_states_tables_and_several_inputs_come_back(path):
    model = built(
        Sequential([Product(), BatchNorm(), Shuffled(), Tied(2), Temperature()]), (3,), (3,)
    )
    model.forward(X, X + 1)
    loaded = returned(model, path)
    assert loaded.buffers.value.any()
    np.testing.assert_array_equal(loaded[2].order, model[2].order)
    np.testing.assert_array_equal(loaded(X, X), model(X, X))


@pytest.mark.parametrize("kind", BIT_GENERATORS, ids=lambda kind: kind.__name__)
def test_a_random_layer_continues_with_the_same_numbers(kind, path):
    model = built(Sequential([Dropout(), Dropout(0.1)]), rng=np.random.Generator(kind(7)))
    x = np.ones((30, 3))
    model.forward(x)
    loaded = returned(model, path)
    for _ in range(3):
        np.testing.assert_array_equal(loaded.forward(x), model.forward(x))


@frozen
class Steep(Function):
    """A function of one's own, with a field that no caller names."""

    _slope: float = 2.0

    def value(self, z):
        return self._slope * z

    def derivative(self, z):
        return np.full_like(z, self._slope)


@frozen
class Ramp(Initializer):
    """An initializer of one's own."""

    start: float = 0.0

    def draw(self, shape, rng):
        return self.start + np.arange(float(np.prod(shape))).reshape(shape)


def test_custom_functions_and_initializers_are_restored(path):
    model = built(Sequential([Dense(2, initializer=Ramp(5)), Activation(Steep(3))]))
    np.testing.assert_array_equal(returned(model, path)(X), model(X))


# ------------------------------------------------------------------------------- the file


def test_the_file_is_read_by_safetensors_alone(path):
    model = built(Sequential([Dense(2), BatchNorm()]), dtype="float32")
    model.save(path)
    with safe_open(path, framework="numpy") as file:
        assert file.metadata()["format"] == "chainrule-2"
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    expected = {f"parameters/{p.path}": p.value for p in model.parameters}
    expected |= {f"state/{p.path}": p.value for p in model.buffers}
    assert set(found) == set(expected) and "parameters/dense_1.weights" in found
    for name, array in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array)


def test_the_architecture_is_json_without_code(path):
    built(Sequential([Dense(2), Activation("tanh")])).save(path)
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])["__metadata__"]
    records = json.loads(header["architecture"])
    assert [record["class"] for record in records] == ["Sequential", "Dense", "Activation"]
    assert records[0]["fields"] == {"layers": {"tuple": [{"layer": 1}, {"layer": 2}]}}
    assert records[1]["fields"]["units"] == 2
    imported = {
        name.name
        for module in Path(storage.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert not imported & {"pickle", "marshal", "shelve", "dill", "eval", "exec"}


def test_another_program_loads_without_having_named_a_layer(path):
    model = built(Sequential([Dense(2), Activation("gelu"), Sequential([Softmax()])]))
    model.save(path)
    program = (
        "import sys, numpy, chainrule\n"
        "model = chainrule.load(sys.argv[1])\n"
        "sys.stdout.buffer.write(model(numpy.linspace(-2, 2, 12).reshape(4, 3)).tobytes())\n"
    )
    source = str(Path(chainrule.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": source},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == model(X).tobytes()


def test_saving_leaves_the_model_as_it_was(path):
    model = built(Sequential([Dense(2), BatchNorm(), Dropout()]))
    y = model.forward(X)
    value, state = model.parameters.value.copy(), model.buffers.value.copy()
    model.save(path)
    np.testing.assert_array_equal(model.parameters.value, value)
    np.testing.assert_array_equal(model.buffers.value, state)
    assert model.backward(np.ones_like(y)).shape == X.shape


def test_saving_replaces_a_file_and_leaves_nothing_beside_it(path):
    for units in (2, 300, 1):
        built(Dense(units)).save(path)
        assert storage.load(path).units == units
    assert os.listdir(path.parent) == [path.name]


# ------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "value",
    [
        np.sin.__call__,
        lambda z: z,
        object(),
        {1: "a number as a key"},
        {"a", "set"},
        1j,
        np.complex128(1j),
        np.array(["text"]),
        np.array([1j]),
        np.longdouble(1) / 3,
        np.ones(2, np.longdouble) / 3,
        b"bytes",
        int,
    ],
)
def test_a_field_that_cannot_be_written_is_refused_by_name(value, path):
    with pytest.raises(StorageError, match="cannot be written") as caught:
        built(Storable([value])).save(path)
    assert caught.value.place == "Storable.first"
    assert not path.exists()


def test_a_function_without_a_name_is_refused_with_the_way_out(path):
    model = built(Activation(lambda z: z, np.ones_like))
    with pytest.raises(StorageError) as caught:
        model.save(path)
    assert (
        caught.value.place == "Activation.function" and "subclass of Function" in caught.value.hint
    )


def test_a_model_that_is_not_built_is_refused(path):
    with pytest.raises(BuildError, match="not built yet"):
        Dense(2).save(path)
    assert not path.exists()


def test_a_file_that_is_not_there_is_refused(path):
    with pytest.raises(StorageError, match="no file to read a model from") as caught:
        storage.load(path)
    assert caught.value.place == str(path) and "FileNotFoundError" in caught.value.received


def test_every_truncated_file_is_refused(path):
    content = storage.dumps(built(Dense(2)))
    for length in [*range(0, 64), len(content) // 2, len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(StorageError, match="not a complete safetensors file") as caught:
            storage.load(path)
        assert caught.value.place == str(path)


@given(st.binary(max_size=200))
def test_what_is_no_safetensors_file_is_refused(content):
    with pytest.raises(StorageError):
        storage.loads(content)


@given(st.data())
@settings(max_examples=60)
def test_a_file_with_any_byte_of_its_header_changed_is_a_model_or_refused(data):
    content = bytearray(storage.dumps(built(Sequential([Dense(2), Dropout()]))))
    (length,) = struct.unpack("<Q", content[:8])
    content[data.draw(st.integers(0, 8 + length - 1))] = data.draw(st.integers(0, 255))
    try:
        assert isinstance(storage.loads(bytes(content)), Layer)
    except StorageError as error:
        assert str(error)


def changed(model, arrays=lambda arrays: arrays, **header):
    """The bytes of a model with something changed: entries of the header are given by functions.

    The digest is right again, as it would be in a file that somebody has changed on purpose.
    """
    contents = sealed_file.unpack(storage.dumps(model), ["chainrule-2"])
    metadata = {name: text for name, text in contents.metadata.items() if name != "digest"}
    for name, change in header.items():
        if change is None:
            del metadata[name]
        else:
            metadata[name] = change(metadata[name])
    return sealed_file.pack(arrays(contents.arrays), metadata)


@pytest.mark.parametrize("name", ["architecture", "dtype", "input_shapes", "generators"])
def test_a_header_with_a_part_missing_or_garbled_is_refused(name):
    for change in (
        None,
        lambda _: "?",
        lambda _: "null",
        lambda _: "[[[[",
        lambda _: "[" * 100_000,
    ):
        with pytest.raises(StorageError):
            storage.loads(changed(built(Dropout()), **{name: change}))


def test_a_class_that_the_program_does_not_have_is_refused_by_name():
    content = changed(built(Dense(2)), architecture=lambda text: text.replace("Dense", "Sparse"))
    with pytest.raises(StorageError, match="needs 'Sparse'") as caught:
        storage.loads(content, place="here")
    assert "Layer" in caught.value.expected and "layers=[Sparse]" in caught.value.hint
    assert caught.value.place == "here, layer 0, Sparse"
    for name in ("GlorotUniform", "Zeros"):
        content = changed(
            built(Dense(2)), architecture=lambda text, n=name: text.replace(n, "Magic")
        )
        with pytest.raises(StorageError, match="needs 'Magic'"):
            storage.loads(content)


def test_only_layers_functions_and_initializers_can_be_made():
    """A file can name no other class, no function but NumPy's ufuncs, and nothing to import."""
    model = built(Activation(np.sin, np.cos))
    for change in (
        lambda text: text.replace('"Activation"', '"Path"'),
        lambda text: text.replace('"Activation"', '"Layer"'),
        lambda text: text.replace('{"ufunc": "sin"}', '{"ufunc": "fromfile"}'),
        lambda text: text.replace('{"ufunc": "sin"}', '{"ufunc": "os.system"}'),
        lambda text: text.replace('{"ufunc": "sin"}', '{"import": "os"}'),
        lambda text: text.replace('"Pair"', '"Initializer"'),
    ):
        assert change(storage.dumps(model).decode("latin1").replace('\\"', '"'))
        with pytest.raises(StorageError):
            storage.loads(changed(model, architecture=change))


def test_fields_that_the_class_refuses_or_does_not_have_are_refused():
    for old, new, problem in (
        ('"units": 2', '"units": -2', "can be restored"),
        ('"units": 2', '"units": true', "can be restored"),
        ('"units": 2, ', "", "can be restored"),
        ('"units": 2', '"units": 2, "size": 2', "does not have"),
    ):
        content = changed(
            built(Dense(2)), architecture=lambda text, o=old, n=new: text.replace(o, n)
        )
        with pytest.raises(StorageError, match=problem) as caught:
            storage.loads(content, place="here")
        assert caught.value.place == "here, layer 0, Dense"


def test_a_layer_that_contains_itself_is_refused():
    model = built(OneField(Dense(3)))
    content = changed(model, architecture=lambda text: text.replace('{"layer": 1}', '{"layer": 0}'))
    with pytest.raises(StorageError, match="contains itself"):
        storage.loads(content)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda a: {k: v for k, v in a.items() if "biases" not in k},
            "do not match its architecture",
        ),
        (lambda a: a | {"parameters/extra": np.ones(3)}, "do not match its architecture"),
        (
            lambda a: {k.replace("dense_1", "dense_9"): v for k, v in a.items()},
            "do not match its architecture",
        ),
        (lambda a: {k: np.ones((2, 2)) for k in a}, "do not match its architecture"),
        (lambda a: {k: v.T.copy() for k, v in a.items()}, "do not match its architecture"),
        (lambda a: {k: v.astype("f4") for k, v in a.items()}, "do not match its architecture"),
        (lambda a: {k: v.astype("i8") for k, v in a.items()}, "do not match its architecture"),
        (lambda a: {k: v[np.newaxis] for k, v in a.items()}, "do not match its architecture"),
    ],
)
def test_arrays_that_are_missing_too_many_or_do_not_fit_are_refused(change, problem):
    with pytest.raises(StorageError, match=problem) as caught:
        storage.loads(changed(built(Sequential([Dense(2)])), arrays=change))
    assert caught.value.expected and caught.value.received


def test_a_table_of_another_shape_is_refused():
    model = built(Shuffled())
    with pytest.raises(StorageError, match="do not match its architecture") as caught:
        storage.loads(changed(model, arrays=lambda a: {k: v[:2] for k, v in a.items()}))
    assert "table/order  (3,) int64    (2,) int64" in caught.value.received


def define_another(name):
    """A layer with the same name as one elsewhere, and without a field of its."""
    body = {"forward": lambda self, x: -x, "backward": lambda self, delta: -delta}
    return define(type(name, (Layer,), {**body, "__qualname__": f"elsewhere.{name}"}))


def test_of_two_classes_with_the_same_name_one_has_to_be_given():
    """If the file was written when there was one: otherwise it names the module, too."""
    other = define_another("NamedTwice")
    content = storage.dumps(built(other()))

    @define
    class NamedTwice(Layer):
        def forward(self, x):
            return +x

        def backward(self, delta):
            return +delta

    with pytest.raises(StorageError, match="2 classes of that name") as caught:
        storage.loads(content)
    assert "elsewhere.NamedTwice" in caught.value.received and "layers=" in caught.value.hint
    assert type(storage.loads(content, layers=[other])) is other
    assert type(storage.loads(content, layers=[NamedTwice])) is NamedTwice
    for kind in (other, NamedTwice):
        content = storage.dumps(built(Sequential([kind()])))
        assert type(storage.loads(content)[0]) is kind
        assert type(storage.loads(content, layers=[NamedTwice])[0]) is NamedTwice


def test_a_layer_of_ones_own_may_be_named_like_one_of_chainrule():
    own, builtin = define_another("Dropout"), Dropout(0.25)
    model = Sequential([builtin, own()])
    model.build((3,), rng=0)
    loaded = storage.loads(storage.dumps(model))
    assert [type(layer) for layer in loaded] == [Dropout, own]
    assert loaded[0].rate == 0.25


def test_a_redefined_class_replaces_the_old_one():
    old, new = define_another("NamedAnew"), define_another("NamedAnew")
    loaded = storage.loads(storage.dumps(built(old())))
    assert type(loaded) is new is not old


def test_equal_models_are_equal_files():
    model = Sequential([Dense(4), Activation("tanh"), Dense(2)])
    model.build((3,), rng=0)
    assert storage.dumps(model) == storage.dumps(copy.deepcopy(model)) == storage.dumps(model)


class SpawnsNoise(Layer):
    """y = x + noise, each batch from a new child of the layer's generator."""

    def build(self, input_shape):
        self.source = self.generator("source")

    def forward(self, x):
        (child,) = self.source.spawn(1)
        return x + child.normal(size=x.shape)

    def backward(self, delta):
        return delta


def test_a_loaded_generator_spawns_what_the_saved_one_would_have_spawned(path):
    model = built(SpawnsNoise())
    for _ in range(3):
        model.forward(X)
    model.save(path)
    loaded = chainrule.load(path)
    for _ in range(2):
        np.testing.assert_array_equal(loaded.forward(X), model.forward(X))
