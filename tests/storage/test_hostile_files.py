"""Files that were made to do harm: refused at once, with little memory, and with a short message.

Their digests are right, as they would be in a file that somebody has changed on purpose.
"""

from __future__ import annotations

import json
import sys
import tracemalloc
import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
from attrs import define
from fuzz import model_files
from hypothesis import given, settings

from chainrule import Dense, Layer, Sequential, storage
from chainrule.core.errors import DefinitionError, StorageError
from chainrule.core.initializers import Initializer
from chainrule.layers.functions import Function
from chainrule.storage import architecture, sealed_file
from chainrule.storage.architecture import NESTING_LIMIT, records_of
from laws.unusual_layers import Dropout

MEGABYTE = 2**20


def a_file(*records, arrays=None, **metadata):
    """A file of these records, with some small arrays in it."""
    standard = {
        "format": "chainrule-2",
        "architecture": json.dumps(records),
        "dtype": "float64",
        "input_shapes": "[[3]]",
        "generators": "{}",
    }
    arrays = {"parameters/weights": np.ones((3, 2))} if arrays is None else arrays
    return sealed_file.pack(arrays, standard | metadata)


def record(name, **fields):
    return {"class": name, "fields": fields}


def sequence(*numbers):
    return record("Sequential", layers={"tuple": [{"layer": n} for n in numbers]})


def refused(content, **how):
    """The error for a file, which takes little memory and little to read."""
    tracemalloc.start()
    try:
        with pytest.raises(StorageError) as caught:
            storage.loads(content, place="x.safetensors", **how)
        # `build` shows the allocator a block of 32 MB, and the file itself may be parsed.
        assert tracemalloc.get_traced_memory()[1] < 40 * MEGABYTE + 30 * len(content)
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 1500
    assert caught.value.place.startswith("x.safetensors")
    return caught.value


IDENTITY = record("Activation", function={"function": "Identity", "fields": {}})
ARRAY = {"array": [], "shape": [10**12], "dtype": "float64"}


@pytest.mark.parametrize("units", [10**6, 10**8, 10**12, 10**30, 10**900])
def test_a_layer_that_the_file_cannot_fill_is_not_begun(units):
    for records in ([record("Dense", units=units)], [sequence(1), record("Dense", units=units)]):
        error = refused(a_file(*records))
        assert "larger model than its arrays can fill" in error.problem
        assert "6 numbers" in error.expected and "Dense.weights" in error.received


def test_many_small_layers_that_the_file_cannot_fill_are_refused_together():
    layers = [record("Dense", units=200) for _ in range(500)]
    error = refused(a_file(sequence(*range(1, 501)), *layers))
    assert "larger model" in error.problem


def test_states_count_as_parameters_do():
    @define
    class Remembering(Layer):
        size: int

        def build(self, input_shape):
            self.buffer("seen", (self.size,))

        def forward(self, x):
            return +x

        def backward(self, delta):
            return +delta

    model = Remembering(2)
    model.build((3,))
    assert storage.loads(storage.dumps(model)) == model
    error = refused(a_file(record("Remembering", size=10**12)))
    assert "Remembering.seen" in error.received


@pytest.mark.parametrize(
    "shapes", ["[[1000000000000]]", "[[1000000000,1000000000]]", "[[0,999999999999]]"]
)
def test_inputs_that_no_array_fits_are_refused(shapes):
    refused(
        a_file(sequence(1, 2), record("Flatten"), record("Dense", units=9), input_shapes=shapes)
    )


@pytest.mark.parametrize(
    "shapes",
    ["[3]", "[[-1]]", "[[1.5]]", "[[true]]", "{}", "null", "3", "[[%s]]" % ("9" * 999),
     "[%s[]]" % ("[]," * 20_000)],
)  # fmt: skip
def test_invalid_input_shapes_are_rejected(shapes):
    error = refused(a_file(IDENTITY, input_shapes=shapes))
    assert error.place == "x.safetensors, input_shapes"


def test_a_file_of_sixty_records_with_two_to_the_sixty_layers_is_refused():
    doubling = [sequence(n + 1, n + 1) for n in range(60)]
    error = refused(a_file(*doubling, IDENTITY))
    assert "too many layers" in error.problem


@define
class Noted(Layer):
    """Says that it was made, and that it was built."""

    def __attrs_post_init__(self):
        noted.append("made")

    def build(self, input_shape):
        noted.append("built")
        self.buffer("seen", (0,))

    def forward(self, x):
        return +x

    def backward(self, delta):
        return +delta


noted = []


@pytest.mark.parametrize("shared", [False, True])
def test_of_more_layers_than_a_file_may_have_not_one_is_made(shared):
    many = architecture.PLACES_LIMIT
    noted.clear()
    layers = [record("Noted")] * (1 if shared else many)
    error = refused(a_file(sequence(*([1] * many if shared else range(1, many + 1))), *layers))
    assert "too many layers" in error.problem and "10,002 layers" in error.received
    assert not noted


def test_as_many_layers_as_a_file_may_have_come_back_and_one_more_is_not_written(monkeypatch):
    monkeypatch.setattr(architecture, "PLACES_LIMIT", 21)
    model = Sequential([Dense(3) for _ in range(20)])
    model.build((3,), rng=0)
    assert storage.loads(storage.dumps(model)) == model
    model = Sequential([Dense(3) for _ in range(21)])
    model.build((3,), rng=0)
    with pytest.raises(StorageError, match="too many layers"):
        storage.dumps(model)


def test_arrays_that_the_file_does_not_have_are_not_made_though_they_hold_no_number():
    noted.clear()
    layers = [record("Noted")] * 5_000
    error = refused(a_file(sequence(*range(1, 5_001)), *layers))
    assert "larger model than its arrays can fill" in error.problem
    assert "6 numbers in the 1 array of the file" in error.expected
    assert noted.count("built") < 300


def test_more_arrays_than_a_model_can_have_are_refused_before_they_are_parsed():
    arrays = {f"parameters/{n}": np.ones(0) for n in range(80_000)}
    with pytest.raises(StorageError, match="too long for a file"):
        sealed_file.pack(arrays, {"format": "chainrule-2"})


def test_paths_that_would_fill_the_memory_are_refused():
    names = record("Storable", first={"dict": {"n" * 100_000: {"layer": 1}}})
    many = sequence(*[2] * 5_000)
    error = refused(a_file(names, many, IDENTITY))
    assert "characters" in error.received


def test_a_model_that_could_not_be_read_is_not_written():
    shared = Dense(3)
    for _ in range(14):
        shared = Sequential([shared, shared])
    with pytest.raises(StorageError, match="too many layers"):
        records_of(shared)


def test_layers_that_are_shared_as_models_share_them_come_back():
    cell = Sequential([Dense(3)])
    model = Sequential([Sequential([cell] * 100)] * 4)
    model.build((3,), rng=0)
    assert storage.loads(storage.dumps(model)) == model


@pytest.mark.parametrize(
    "deep",
    ["[" * 100_000, "[" * 300 + "]" * 300, '{"dict": {"a": ' * 90 + "1" + "}}" * 90],
    ids=["100,000 brackets", "300 brackets", "90 dictionaries"],
)
def test_fields_that_are_nested_too_deep_are_refused(deep):
    text = json.dumps([record("Activation", function=0)]).replace("0", deep)
    refused(a_file(architecture=text))


def test_a_field_that_is_nested_as_deep_as_allowed_comes_back_and_deeper_is_not_written():
    def model(depth):
        options = 1
        for _ in range(depth):
            options = [options]
        layer = model_files.Everything(options)
        layer.build((3,), rng=0)
        return layer

    deepest = model(NESTING_LIMIT)
    assert storage.loads(storage.dumps(deepest)).options == deepest.options
    with pytest.raises(StorageError, match="nested too deep") as caught:
        storage.dumps(model(NESTING_LIMIT + 1))
    assert caught.value.place == "Everything.options"


@pytest.mark.parametrize(
    "units",
    [-1, 0, True, False, 1.5, 2.0, float("nan"), float("inf"), None, "2", "x" * 10**6, [2] * 10_000,
     {"tuple": [2]}, {"layer": 0}, {"dict": {"a": 1}},
     {"array": [2], "shape": [1], "dtype": "int8"}],
    ids=lambda given: str(given)[:20],
)  # fmt: skip
def test_invalid_units_are_rejected(units):
    refused(a_file(record("Dense", units=units)))


@pytest.mark.parametrize(
    "value",
    [
        ARRAY,
        {**ARRAY, "shape": [0, 2**62, 2**62]},
        {**ARRAY, "shape": [-1]},
        {**ARRAY, "shape": [0] * 100},
        {**ARRAY, "shape": [1], "array": [[1]]},
        {**ARRAY, "shape": [1], "array": ["text"]},
        {**ARRAY, "shape": [1], "array": [10**400]},
        {**ARRAY, "shape": [1], "array": [300], "dtype": "uint8"},
        {**ARRAY, "shape": [1], "array": [1], "dtype": "V1000000000"},
        {**ARRAY, "shape": [1], "array": [1], "dtype": "object"},
        {**ARRAY, "shape": [1], "array": [1], "dtype": "M8[s]"},
        {**ARRAY, "shape": [1], "array": [1], "more": 1},
        {"ufunc": "fromfile"},
        {"ufunc": "f2py"},
        {"ufunc": ["sin"]},
        {"layer": 1},
        {"layer": -1},
        {"layer": True},
        {"layer": "0"},
        {"tuple": 3},
        {"dict": [1]},
        {"import": "os"},
        {"initializer": "Layer", "fields": {}},
        {"initializer": "Zeros", "fields": []},
        {"function": "LeakyRelu", "fields": {"slope": "x"}},
        {"function": ["Tanh"], "fields": {}},
    ],
    ids=lambda given: str(given)[:40],
)
def test_a_value_that_says_what_cannot_be_is_refused(value):
    refused(a_file(record("Activation", function=value)))


def test_a_name_in_a_file_imports_nothing():
    before = set(sys.modules)
    for name in ("f2py", "testing", "matlib", "os", "ctypeslib"):
        refused(a_file(record("Activation", function={"ufunc": name})))
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    "records",
    [{}, [], 3, None, [3], [{}], [{"class": "Dense"}], [{"class": 3, "fields": {}}],
     [{"class": "Dense", "fields": []}], [{"class": "Dense", "fields": {}, "more": 1}],
     [{"class": "Dense", "fields": {}}], [{"class": "Layer", "fields": {}}],
     [{"class": "Composite", "fields": {}}], [{"class": "X" * 10**6, "fields": {}}]],
    ids=lambda given: str(given)[:40],
)  # fmt: skip
def test_invalid_records_are_rejected(records):
    refused(a_file(architecture=json.dumps(records)))


def test_a_number_of_a_million_digits_is_refused():
    for digits in (
        "9" * 10**6,
        "9" * 1001,
        "-" + "9" * 10**6,
        "0." + "9" * 10**6,
        "1e" + "9" * 10**6,
    ):
        text = json.dumps([record("Dense", units=0)]).replace("0", digits)
        assert "digits" in refused(a_file(architecture=text)).received


def test_a_number_that_could_not_be_read_is_not_written():
    layer = model_files.Everything(10**899)
    layer.build((3,), rng=0)
    assert storage.loads(storage.dumps(layer)).options == 10**899
    layer.options = -(10**1000)
    with pytest.raises(StorageError, match="cannot be written"):
        storage.dumps(layer)


# ------------------------------------------------------------------------------- generators


def with_generator(change, bits):
    """A file with a generator of which the state was changed."""
    model = Dropout()
    model.build((3,), rng=np.random.Generator(bits(0)))
    contents = sealed_file.unpack(storage.dumps(model), ["chainrule-2"])
    metadata = {**contents.metadata}
    del metadata["digest"]
    states = json.loads(metadata["generators"])
    (name,) = states
    change(states[name])
    return sealed_file.pack(contents.arrays, metadata | {"generators": json.dumps(states)})


@pytest.mark.parametrize("position", [-1, 625, 10**9, 2**70, True, 1.5, "0", None])
def test_a_position_beyond_the_random_numbers_is_never_given_to_numpy(position):
    def beyond(state):
        state["state"]["pos"] = position

    def beyond_the_buffer(state):
        state["buffer_pos"] = position

    assert "generator" in refused(with_generator(beyond, np.random.MT19937)).problem
    assert "generator" in refused(with_generator(beyond_the_buffer, np.random.Philox)).problem


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["state"].update(state=-1),
        lambda state: state["state"].update(state=2**128),
        lambda state: state["state"].update(state=[1]),
        lambda state: state["state"].pop("inc"),
        lambda state: state["state"].update(more=1),
        lambda state: state.update(has_uint32=2),
        lambda state: state.update(uinteger=2**32),
        lambda state: state.update(bit_generator="MT19937"),
        lambda state: state.update(bit_generator="SeedSequence"),
        lambda state: state.update(bit_generator=["PCG64"]),
        lambda state: state.update(seed=None),
        lambda state: state.update(seed=[]),
        lambda state: state["seed"].pop("spawned"),
        lambda state: state["seed"].update(spawned=-1),
        lambda state: state["seed"].update(spawned=2**32),
        lambda state: state["seed"].update(spawned=True),
        lambda state: state["seed"].update(pool_size=2**31),
        lambda state: state["seed"].update(pool_size=3),
        lambda state: state["seed"].update(entropy="1"),
        lambda state: state["seed"].update(entropy=[-1]),
        lambda state: state["seed"].update(spawn_key=[2**32]),
        lambda state: state["seed"].update(more=1),
        lambda state: state.clear(),
    ],
)
def test_an_invalid_generator_state_is_rejected(change):
    refused(with_generator(change, np.random.PCG64))


def test_an_array_of_random_numbers_of_another_length_or_type_is_refused():
    for change in (
        lambda key: key["array"].pop(),
        lambda key: key["array"].append(1),
        lambda key: key.update(array=[0] * 10**5),
        lambda key: key.update(dtype="uint64"),
        lambda key: key.update(dtype="object"),
        lambda key: key["array"].__setitem__(0, -1),
    ):
        content = with_generator(lambda s, c=change: c(s["state"]["key"]), np.random.MT19937)
        refused(content)


def test_generators_that_are_missing_or_too_many_are_refused():
    with_one = Dropout()
    with_one.build((3,), rng=0)
    contents = sealed_file.unpack(storage.dumps(with_one), ["chainrule-2"])
    states = json.loads(contents.metadata["generators"])
    (state,) = states.values()
    metadata = {name: text for name, text in contents.metadata.items() if name != "digest"}
    for other in ({}, {"another": state}, states | {"another": state}):
        content = sealed_file.pack({}, metadata | {"generators": json.dumps(other)})
        assert "do not match its architecture" in refused(content).problem


def test_a_model_with_generators_of_two_kinds_is_not_written():
    model = Sequential([Dropout(), Dropout()])
    for part, bits in zip(model.layers, (np.random.PCG64, np.random.SFC64), strict=True):
        part.build((3,), rng=np.random.Generator(bits(0)))
    model.build((3,), rng=0)
    with pytest.raises(StorageError, match="generators of the model cannot be written"):
        storage.dumps(model)


def test_initial_numbers_that_are_replaced_may_overflow():
    model = Dense(2, initializer=1e300)
    with np.errstate(all="ignore"):
        model.build((3,), dtype="float32")
    model.parameters.value = 1 + np.arange(8)
    np.testing.assert_array_equal(
        storage.loads(storage.dumps(model)).parameters.value[:3], [1, 2, 3]
    )


# ------------------------------------------------------------------------------- classes


class NotDecorated(Function):
    """No attrs class, so no file can name it."""


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (Dense, "pass a list"),
        (Dense(2), "pass a list"),
        (3, "pass a list"),
        ([Dense(2)], "layers=[Dense]"),
        (["Dense"], None),
        ([int], None),
        ([None], None),
    ],
)
def test_what_is_given_as_layers_has_to_be_classes(given, hint):
    with pytest.raises(DefinitionError, match="must be classes of layers") as caught:
        storage.loads(b"", layers=given)
    assert caught.value.hint == hint or hint in caught.value.hint


def test_two_given_classes_of_one_name_are_refused():
    first = define(type("Twice", (Layer,), {}))
    second = define(type("Twice", (Layer,), {"__qualname__": "other.Twice"}))
    with pytest.raises(DefinitionError, match="two of the given classes are named 'Twice'"):
        storage.loads(b"", layers=[first, second])


def test_initializers_and_functions_can_be_given_too():
    @define
    class Given(Initializer):
        def draw(self, shape, rng):
            return np.full(shape, 7.0)

    model = Dense(2, initializer=Given())
    model.build((3,))
    assert type(storage.loads(storage.dumps(model), layers=[Given]).initializer) is Given


def test_a_class_whose_own_init_does_something_is_made_of_its_fields_alone():
    calls = []

    @define(init=False)
    class TellsOfItsInit(Layer):
        size: int

        def __init__(self, text):
            calls.append(text)
            self.__attrs_init__(len(text))

        def forward(self, x):
            return +x

        def backward(self, delta):
            return +delta

    model = TellsOfItsInit("four")
    model.build((3,))
    assert storage.loads(storage.dumps(model)).size == 4
    assert calls == ["four"]


# ------------------------------------------------------------------------------- old files

OLD_HEADER = (
    r'{"__metadata__":{"architecture":"[{\"class\": \"Sequential\", \"fields\": {\"layers\": '
    r"{\"tuple\": [{\"layer\": 1}, {\"layer\": 2}]}}}, {\"class\": \"Dense\", \"fields\": "
    r"{\"units\": 2, \"use_bias\": true, \"initializer\": {\"initializer\": \"Ones\", "
    r"\"fields\": {}}, \"bias_initializer\": {\"initializer\": \"Zeros\", \"fields\": {}}}}, "
    r"{\"class\": \"Activation\", \"fields\": {\"function\": {\"function\": \"Tanh\", "
    r'\"fields\": {}}, \"_derivative\": null}}]","dtype":"float32","format":"chainrule-1",'
    r'"generators":"{}","input_shapes":"[[1]]"},"parameters/dense_1.biases":{"dtype":"F32",'
    r'"shape":[2],"data_offsets":[0,8]},"parameters/dense_1.weights":{"dtype":"F32",'
    r'"shape":[1,2],"data_offsets":[8,16]}}'
)


def test_a_file_from_before_the_digest_is_still_read():
    """Written by chainrule 0.1.0: y = tanh(x (0.5, −2) + (0.25, 3))."""
    text = OLD_HEADER.encode()
    data = bytes.fromhex("0000803e000040400000003f000000c0")
    model = storage.loads(len(text).to_bytes(8, "little") + text + data)
    x = np.array([[0.5], [-1.0]], np.float32)
    assert model.dtype == np.float32
    np.testing.assert_allclose(
        model(x), np.tanh([[0.5, 2.0], [-0.25, 5.0]]), rtol=1e-6
    )  # worked by hand
    assert storage.loads(storage.dumps(model)) == model


# ------------------------------------------------------------------------------- any change

MODELS, FILES = model_files.models(), model_files.files()


def picked(data):
    return lambda n: data.draw(st.integers(0, n - 1))


@given(st.data())
@settings(max_examples=100)
def test_any_change_of_any_byte_is_found(data):
    number = data.draw(st.integers(0, len(FILES) - 1))
    content = model_files.changed_bytes(FILES[number], picked(data))
    if content != FILES[number]:
        assert not model_files.judge(content)
        assert not model_files.judge_weights(MODELS[number], content)


@pytest.mark.parametrize("change", [model_files.changed_header, model_files.changed_values])
@given(data=st.data())
@settings(max_examples=150)
def test_a_file_that_was_changed_on_purpose_is_a_whole_model_or_refused(change, data):
    number = data.draw(st.integers(0, len(FILES) - 1))
    content = change(FILES[number], picked(data))
    model_files.judge(content)
    model_files.judge_weights(MODELS[number], content)


def test_the_changes_get_as_far_as_to_whole_models_and_to_errors_of_every_kind():
    """Else the test above would show nothing."""
    rng = np.random.default_rng(0)
    problems = set()
    for _ in range(300):
        content = model_files.changed_values(FILES[rng.integers(3)], lambda n: int(rng.integers(n)))
        with warnings.catch_warnings(action="error"):
            try:
                storage.loads(content)
                problems.add("none")
            except StorageError as error:
                problems.add(error.problem)
    assert "none" in problems and len(problems) > 8


def test_the_files_themselves_are_read_and_the_old_form_of_them_too():
    for content in FILES:
        assert model_files.judge(content)
        assert model_files.judge(model_files.without_digest(content))
