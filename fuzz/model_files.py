"""Changed model files, and the properties that each of them must have.

A file is changed in three ways; each reaches deeper code than the one before:

    bytes     bytes of the file are changed, removed or repeated: the digest must detect it
    header    the same in the header of a file without a digest: the header checks must detect it
    values    values in the architecture, the shapes or the generators are changed, and the lengths
              and the digest are corrected: the model itself must detect it

A function ``pick(n)`` makes the choices; it returns an integer from 0 to n − 1. It may come from a
random generator, from hypothesis, or from atheris, which observes the executed lines and picks
values that reach new ones.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from attrs import define

from chainrule import (
    Activation,
    Add,
    Branches,
    Concatenate,
    Dense,
    Flatten,
    Graph,
    Input,
    Layer,
    Permute,
    Reshape,
    Residual,
    Sequential,
    Slice,
    storage,
)
from chainrule.core.errors import StorageError
from chainrule.core.initializers import Constant, Orthogonal
from chainrule.layers.functions import LeakyRelu
from chainrule.storage import sealed_file, weights

Pick = Callable[[int], int]


@define
class Everything(Layer):
    """A layer with all that a file can store: a parameter, a buffer, a table and a generator."""

    options: Any = None

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.parameter("scale", input_shape, 0.5)
        self.buffer("seen", input_shape)
        self.generator("noise")
        self.order = np.arange(input_shape[-1])[::-1].copy()

    def forward(self, x: Any) -> Any:
        return x[..., self.order] * self.scale.value

    def backward(self, delta: Any) -> Any:
        return (delta * self.scale.value)[..., self.order]


def models() -> list[Layer]:
    """One model for each part of the format."""
    shared = Dense(3, initializer=Orthogonal(0.5))
    x, z = Input((3,), name="image"), Input((2,))
    graph = Graph([x, z], {"sum": Add()(shared(x), shared(shared(x))), "both": Concatenate()(x, z)})
    options = {"a": [1, (2.5, None, "text")], "b": np.arange(6.0).reshape(2, 3), "c": True}
    line = Sequential(
        [
            Reshape((3, 1)),
            Permute((2, 1)),
            Flatten(),
            Everything(options),
            Residual(Dense(3), Activation(LeakyRelu(0.1)), projection=Dense(3, use_bias=False)),
            Branches([Dense(1, bias_initializer=Constant(2.0)), Slice(0, 2)], merge=Concatenate()),
            Activation(np.sin, np.cos),
        ]
    )
    nested = Sequential([Sequential([shared, Everything()]), shared.unbuilt()])
    for number, (model, bits) in enumerate(
        [(graph, np.random.PCG64), (line, np.random.MT19937), (nested, np.random.Philox)]
    ):
        shapes = () if model is graph else ((3,),)
        model.build(
            *shapes, rng=np.random.Generator(bits(number)), dtype=("float64", "float32")[number % 2]
        )
    return [graph, line, nested]


def files() -> list[bytes]:
    """The files of `models`."""
    return [storage.dumps(model) for model in models()]


def judge(content: bytes) -> bool:
    """Return whether a file is read; if not, check that the error is named and not too long.

    Raises
    ------
    AssertionError, or any other exception
        The file was neither read as a complete model nor rejected with a StorageError.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            model = storage.loads(content, layers=[Everything], place="model.safetensors")
        except StorageError as error:
            text = str(error)
            assert error.problem and len(text) < 6000, f"a message of {len(text)} characters"
            return False
        # The model is complete: it can be saved, and loading that gives the same model.
        again = storage.dumps(model)
        assert storage.dumps(storage.loads(again, layers=[Everything])) == again
        return True


def judge_weights(model: Layer, content: bytes) -> bool:
    """The same for weights alone: if they are rejected, the model is unchanged."""
    before = storage.dumps(model)
    try:
        weights.loads_weights(model, content)
    except StorageError:
        assert storage.dumps(model) == before
        return False
    return True


# ------------------------------------------------------------------------------- changes


def changed_bytes(content: bytes, pick: Pick) -> bytes:
    """A file in which some bytes are changed, removed or repeated."""
    changed = bytearray(content)
    for _ in range(1 + pick(4)):
        place = pick(len(changed)) if changed else 0
        match pick(4):
            case 0 if changed:
                changed[place] ^= 1 << pick(8)
            case 1 if changed:
                changed[place] = pick(256)
            case 2:
                del changed[place : place + 1 + pick(64)]
            case _:
                changed[place:place] = changed[place : place + 1 + pick(64)]
    return bytes(changed)


def changed_header(content: bytes, pick: Pick) -> bytes:
    """A file without a digest, with changed bytes in the header and a correct header length."""
    text, data = _parts(without_digest(content))
    header = changed_bytes(text, pick)
    return len(header).to_bytes(8, "little") + header + data


def changed_values(content: bytes, pick: Pick) -> bytes:
    """A file in which some values are changed, with a correct digest."""
    text, data = _parts(content)
    header = json.loads(text)
    metadata = header["__metadata__"]
    parts = {name: json.loads(metadata[name]) for name in ENTRIES if name in metadata}
    for _ in range(1 + pick(3)):
        if pick(4) == 0:
            _change_somewhere(header, pick)
        else:
            _change_somewhere(parts, pick)
    if isinstance(header.get("__metadata__"), dict):
        header["__metadata__"] |= {name: json.dumps(part) for name, part in parts.items()}
        return sealed(header, data)
    return _together(json.dumps(header).encode(), data)


CHANGES = (changed_bytes, changed_header, changed_values)
ENTRIES = ("architecture", "input_shapes", "generators")


def _change_somewhere(whole: Any, pick: Pick) -> None:
    """Choose a value nested inside this one, and change it."""
    while True:
        keys = list(whole) if isinstance(whole, dict) else list(range(len(whole)))
        if not keys:
            return
        key = keys[pick(len(keys))]
        inner = whole[key]
        if isinstance(inner, dict | list) and inner and pick(8):
            whole = inner
            continue
        other = whole[keys[pick(len(keys))]]
        match pick(5):
            case 0:
                del whole[key]
            case 1 if isinstance(whole, list):
                whole.insert(key, other)
            case 1:
                whole[WORDS[pick(len(WORDS))]] = inner
            case 2:
                whole[key] = other
            case _:
                whole[key] = _another(inner, pick)
        return


def _another(value: Any, pick: Pick) -> Any:
    """A replacement for a value, often a similar one."""
    if type(value) is int and pick(2):
        return value + pick(5) - 2
    if isinstance(value, str) and pick(2):
        return WORDS[pick(len(WORDS))]
    return json.loads(STRANGE[pick(len(STRANGE))])


WORDS = (
    "Dense", "Sequential", "Graph", "Residual", "Branches", "Composite", "Layer", "Everything",
    "Add", "Zeros", "Orthogonal", "Constant", "LeakyRelu", "Pair", "Tanh", "float32", "float64",
    "int8", "<f8", "sin", "add", "array", "shape", "dtype", "tuple", "dict", "layer", "class",
    "fields", "units", "PCG64", "SFC64", "F32", "F64", "I64", "BOOL", "", "\x00", "\ud800",
    "os.system", "🜁" * 50,
)  # fmt: skip
"""Strings that have a meaning somewhere in a file."""

STRANGE = (
    "null", "true", "false", "0", "-1", "1", "2", "3", "64", "1000000000", "1e12", "1e308", "NaN",
    "Infinity", "0.5", '""', "[]", "{}", '{"layer": 0}', '{"layer": 1}', '{"layer": 2}',
    '{"tuple": []}', '{"dict": {}}', '{"ufunc": "tanh"}', '{"ufunc": "add"}',
    '{"array": [1, 2], "shape": [2], "dtype": "float64"}',
    '{"array": [], "shape": [0, 1000000000000], "dtype": "int8"}',
    '{"initializer": "Orthogonal", "fields": {}}', '{"function": "Tanh", "fields": {}}',
    "100000000000000000000000000000", "9" * 1000, "9" * 1001, f'"{"x" * 10_000}"',
    "[" * 60 + "]" * 60, "[1, 1, 1]", "[[3], [3]]", "[[1000000000, 1000000000, 1000000000]]",
    '{"tuple": [[0, 0], [1, -1]]}',
)  # fmt: skip
"""Values, as JSON, that may replace any other value."""


# ------------------------------------------------------------------------------- the file format


def without_digest(content: bytes) -> bytes:
    """The file of a model in the old format, without a digest."""
    text, data = _parts(content)
    header = json.loads(text)
    header["__metadata__"] |= {"format": "chainrule-1"}
    del header["__metadata__"]["digest"]
    return _together(json.dumps(header).encode(), data)


def sealed(header: dict[str, Any], data: bytes) -> bytes:
    """A file with this header, and with the correct digest if the header has an entry for it."""
    if "digest" in header["__metadata__"]:
        header["__metadata__"]["digest"] = sealed_file.BLANK
    text = json.dumps(header, separators=(",", ":")).encode()
    blank = _together(text, data)
    digest = hashlib.sha256(blank[:8] + text + data).hexdigest()
    return blank.replace(sealed_file._entry(sealed_file.BLANK), sealed_file._entry(digest), 1)


def _parts(content: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(content[:8], "little")
    return content[8 : 8 + length], content[8 + length :]


def _together(text: bytes, data: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text + data
