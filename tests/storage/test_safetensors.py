"""The safetensors format in plain NumPy, byte for byte that of the safetensors library."""

from __future__ import annotations

import json
import subprocess
import sys

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays_from
from safetensors import SafetensorError
from safetensors.numpy import load as load_by_the_library
from safetensors.numpy import save as save_by_the_library

from chainrule.core.errors import StorageError
from chainrule.storage import safetensors
from chainrule.storage.safetensors import TYPES, entries_of, save
from chainrule.storage.sealed_file import unpack

ANY_ARRAY = st.sampled_from([*TYPES.values()]).flatmap(
    lambda dtype: arrays_from.arrays(dtype, arrays_from.array_shapes(min_dims=0, min_side=0))
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)


def by_the_library(arrays, metadata):
    """The library's bytes, with the metadata, which it writes in any order, sorted by name."""
    plain = {name: np.ascontiguousarray(a).reshape(a.shape) for name, a in arrays.items()}
    content = save_by_the_library(plain, metadata)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    if metadata:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    assert len(text) == length
    return content[:8] + text + content[8 + length :]


@given(st.dictionaries(TEXT.filter(lambda n: n != "__metadata__"), ANY_ARRAY, max_size=6))
@settings(max_examples=100)
def test_any_arrays_give_the_bytes_of_the_library(arrays):
    assert save(arrays, {"of": "one"}) == by_the_library(arrays, {"of": "one"})


@given(st.dictionaries(TEXT, TEXT, min_size=1, max_size=4))
@settings(max_examples=50)
def test_any_metadata_give_the_bytes_of_the_library(metadata):
    arrays = {"w": np.arange(3.0)}
    assert save(arrays, metadata) == by_the_library(arrays, metadata)


def test_arrays_of_every_dtype_are_in_the_order_of_the_library():
    arrays = {f"{n % 3} of {kind}": np.ones(n, kind) for n, kind in enumerate(TYPES.values())}
    assert save(arrays, {"a": "b"}) == by_the_library(arrays, {"a": "b"})
    for name, array in load_by_the_library(save(arrays, {"a": "b"})).items():
        assert array.dtype == arrays[name].dtype
        np.testing.assert_array_equal(array, arrays[name])


@pytest.mark.parametrize("view", [np.s_[::-1], np.s_[::2], np.s_[..., ::-1]])
def test_arrays_of_any_layout_are_written_row_by_row(view):
    for array in (np.arange(12.0).reshape(3, 4), np.asfortranarray(np.arange(12).reshape(3, 4))):
        found = load_by_the_library(save({"w": array[view]}, {}))["w"]
        np.testing.assert_array_equal(found, array[view])
        swapped = array.astype(array.dtype.newbyteorder(">"))[view]
        assert save({"w": swapped}, {}) == save({"w": array[view]}, {})


def entry(dtype="F64", shape=(1,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def raw(header, size=8):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"x" * size


OLD = {"__metadata__": {"format": "chainrule-1"}}
MALFORMED = {
    "gap": raw(OLD | {"a": entry(), "b": entry(offsets=(16, 24))}, 24),
    "overlap": raw(OLD | {"a": entry(), "b": entry(offsets=(4, 12))}, 12),
    "twice": raw(OLD | {"a": entry(), "b": entry()}),
    "beyond the end": raw(OLD | {"a": entry(offsets=(0, 16), shape=(2,))}),
    "too short": raw(OLD | {"a": entry()}, 16),
    "does not begin at 0": raw(OLD | {"a": entry(offsets=(8, 16))}, 16),
    "backwards": raw(OLD | {"a": entry(offsets=(8, 0))}),
    "negative": raw(OLD | {"a": entry(offsets=(-8, 0))}, 0),
    "negative shape": raw(OLD | {"a": entry(shape=(-1, -1))}),
    "shape does not fit": raw(OLD | {"a": entry(shape=(2,))}),
    "shape overflows": raw(OLD | {"a": entry(shape=(2**40, 2**40))}),
    "shape of 0 × ∞": raw(OLD | {"a": entry(shape=(0, 2**80), offsets=(0, 0))}, 0),
    "unknown dtype": raw(OLD | {"a": entry("F65")}),
    "dtype of another size": raw(OLD | {"a": entry("F32")}),
    "no dtype": raw(OLD | {"a": {"shape": [1], "data_offsets": [0, 8]}}),
    "three offsets": raw(OLD | {"a": entry(offsets=(0, 8, 8))}),
    "offsets of text": raw(OLD | {"a": entry(offsets=("0", "8"))}),
    "offsets that are fractions": raw(OLD | {"a": entry(offsets=(0.0, 8.0))}),
    "offsets that are true": raw(OLD | {"a": entry("BOOL", offsets=(False, True))}, 1),
    "an entry that is a list": raw(OLD | {"a": [1]}),
    "metadata that are no text": raw({"__metadata__": {"format": 1}, "a": entry()}),
    "a list": raw(b"[]", 0),
    "no JSON": raw(b"{'a': 1}", 0),
    "half a character": raw(b'{"__metadata__":{"format":"chainrule-1","\\ud800":""}}', 0),
    "no UTF-8": raw(b'{"__metadata__":{"format":"chainrule-1","\xff":""}}', 0),
    "not a number": raw(b'{"__metadata__":{"format":"chainrule-1"},"a":NaN}', 0),
    "a header beyond the end": (100).to_bytes(8, "little") + b"{}",
    "an enormous header": (2**63).to_bytes(8, "little") + b"{}",
    "nothing": b"",
    "seven bytes": b"\0" * 7,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_the_library_refuses_is_a_named_error(name):
    with pytest.raises((SafetensorError, ValueError, TypeError, KeyError, OverflowError)):
        load_by_the_library(MALFORMED[name])
    with pytest.raises(StorageError) as caught:
        unpack(MALFORMED[name], ["chainrule-1"])
    assert caught.value.received and len(str(caught.value)) < 800


@pytest.mark.parametrize(
    "text",
    [
        b'{"__metadata__":{"format":"chainrule-1"},"__metadata__":{"format":"chainrule-1"}}',
        b' {"__metadata__":{"format":"chainrule-1"}}',
    ],
)
def test_a_header_with_two_meanings_is_refused(text):
    with pytest.raises(StorageError, match="not a complete safetensors file"):
        unpack(raw(text, 0), ["chainrule-1"])


@given(st.data())
@settings(max_examples=200)
def test_a_header_with_any_number_changed_is_read_like_the_library_reads_it(data):
    arrays = {"a": np.arange(4.0), "b": np.ones((2, 3), np.float32), "c": np.zeros((0, 2), "i4")}
    content = save(arrays, OLD["__metadata__"])
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    name, key = data.draw(st.sampled_from("abc")), data.draw(st.sampled_from(["shape", "offset"]))
    numbers = header[name]["shape" if key == "shape" else "data_offsets"]
    place = data.draw(st.integers(0, len(numbers) - 1))
    numbers[place] = data.draw(st.integers(-2, 70) | st.just(2**64))
    text = json.dumps(header).encode()
    changed = len(text).to_bytes(8, "little") + text + content[8 + length :]
    try:
        expected = load_by_the_library(changed)
    except Exception:
        with pytest.raises(StorageError):
            unpack(changed, ["chainrule-1"])
    else:
        found = unpack(changed, ["chainrule-1"]).arrays
        assert {n: a.tobytes() for n, a in found.items()} == {
            n: a.tobytes() for n, a in expected.items()
        }


def test_the_message_about_an_entry_is_short_however_large_the_entry_is():
    nest = "x"
    for _ in range(6):
        nest = [nest] * 6
    for given_entry in (nest, {"dtype": nest}, "x" * 10**6):
        with pytest.raises(ValueError, match="is invalid") as caught:
            entries_of({"y" * 10**6: given_entry}, 8)
        assert len(str(caught.value)) < 500


def test_models_are_saved_and_loaded_without_the_library():
    """As in a browser, where it is not installed."""
    program = """
import sys
sys.modules["safetensors"] = sys.modules["safetensors.numpy"] = None
import numpy as np
from chainrule import Dense, Sequential, load, storage
model = Sequential([Dense(2)])
model.build((3,), rng=0)
content = storage.dumps(model)
assert storage.dumps(storage.loads(content)) == content
sys.stdout.buffer.write(content)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    arrays = load_by_the_library(done.stdout)
    assert {name: a.shape for name, a in arrays.items()} == {
        "parameters/dense_1.weights": (3, 2),
        "parameters/dense_1.biases": (2,),
    }


def test_a_truth_value_in_a_file_is_true_or_false_whatever_its_byte():
    content = save({"a": np.array([True, False, True])}, OLD["__metadata__"])
    changed = content[:-3] + bytes([0, 255, 2])
    found = unpack(changed, ["chainrule-1"]).arrays["a"]
    assert found.view(np.uint8).tolist() == [0, 1, 1]
    assert safetensors.TYPES["BOOL"] == found.dtype
