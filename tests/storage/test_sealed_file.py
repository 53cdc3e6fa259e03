"""The sealed file: any bit that changes is found, and nothing large is done for a small file."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pytest
from safetensors.numpy import load as by_the_library
from safetensors.numpy import save as of_another_program

from chainrule.core.errors import StorageError
from chainrule.storage import sealed_file
from chainrule.storage.sealed_file import pack, unpack

ACCEPTED = ("chainrule-1", "chainrule-2")
ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([True, False]), "c": np.zeros((0, 4))}
METADATA = {"format": "chainrule-2", "text": 'a "quoted" text, ∂C/∂θ, "digest":"' + "0" * 64 + '"'}


def raw(header, data=b""):
    """A file of this header, which is JSON or bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def test_what_is_packed_is_unpacked():
    contents = unpack(pack(ARRAYS, METADATA), ACCEPTED)
    assert METADATA.items() <= contents.metadata.items()
    assert set(contents.arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert contents.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(contents.arrays[name], array)


def test_arrays_of_any_byte_order_and_layout_keep_their_numbers():
    arrays = {"big": np.arange(4, dtype=">i4"), "turned": np.arange(6.0).reshape(2, 3).T}
    for name, array in by_the_library(pack(arrays, METADATA)).items():
        np.testing.assert_array_equal(array, arrays[name])


def test_the_digest_is_the_sha256_of_the_file_with_zeros_in_its_place():
    content = pack(ARRAYS, METADATA)
    digest = unpack(content, ACCEPTED).metadata["digest"]
    zeroed = content.replace(digest.encode(), b"0" * 64)
    assert hashlib.sha256(zeroed).hexdigest() == digest


def test_every_bit_of_a_file_is_watched():
    content = pack(ARRAYS, METADATA)
    for number in range(8 * len(content)):
        changed = bytearray(content)
        changed[number // 8] ^= 1 << number % 8
        with pytest.raises(StorageError):
            unpack(bytes(changed), ACCEPTED)


def test_every_length_but_its_own_is_refused():
    content = pack(ARRAYS, METADATA)
    for length in range(len(content)):
        with pytest.raises(StorageError, match="not a complete safetensors file"):
            unpack(content[:length], ACCEPTED)
    with pytest.raises(StorageError, match="after its end"):
        unpack(content + b"\0", ACCEPTED)


def test_a_file_cannot_be_made_to_look_like_one_from_before_the_digest():
    content = pack(ARRAYS, METADATA).replace(b'"chainrule-2"', b'"chainrule-1"')
    with pytest.raises(StorageError, match="damaged"):
        unpack(content, ACCEPTED)
    without = of_another_program(ARRAYS, METADATA)
    with pytest.raises(StorageError, match="damaged") as caught:
        unpack(without, ACCEPTED)
    assert caught.value.received == "no digest"


@pytest.mark.parametrize(
    ("given", "problem", "hint"),
    [
        ("chainrule-3", "newer version of chainrule", "update"),
        ("chainrule-17", "newer version of chainrule", "update"),
        ("chainrule-weights-2", "newer version of chainrule", "update"),
        ("chainrule-weights-1", "of a different kind", "load_weights"),
        ("chainrule-0", "of a different kind", None),
        ("chainrule-run-1", "of a different kind", None),
        ("chainrule-" + "9" * 50, "chainrule did not write it", None),
        ("chainrule-x", "chainrule did not write it", None),
        ("pt", "chainrule did not write it", None),
    ],
)
def test_a_file_of_another_format_is_named_in_the_error(given, problem, hint):
    with pytest.raises(StorageError, match=problem) as caught:
        unpack(pack(ARRAYS, {"format": given}), ACCEPTED)
    assert caught.value.expected == "format 'chainrule-1' or 'chainrule-2'"
    assert (hint or "") in (caught.value.hint or "") and bool(hint) == bool(caught.value.hint)


def test_a_newer_file_is_reported_as_newer_whatever_else_is_new_in_it():
    content = raw({"__metadata__": {"format": "chainrule-3"}, "new": {"dtype": "F4", "of": [2]}})
    with pytest.raises(StorageError, match="newer version of chainrule"):
        unpack(content, ACCEPTED)


def entry(dtype="F64", shape=(1,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


OLD = {"__metadata__": {"format": "chainrule-1"}}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (raw(b"not json at all"), "not a complete"),
        (raw(b"[1, 2]"), "not a complete"),
        (raw(b'"text"'), "not a complete"),
        (raw(b"\xff\xfe{}"), "not a complete"),
        (raw(b"[" * 10**5), "not a complete"),
        (raw(b'{"a": ' * 10**5), "not a complete"),
        (raw(b'{"a": ' + b"9" * 10**6 + b"}"), "not a complete"),
        (raw(b'{"a": 0.' + b"9" * 10**6 + b"}"), "not a complete"),
        (raw({"__metadata__": []}), "damaged"),
        (raw({"__metadata__": {"format": 1}}), "damaged"),
        (raw(OLD | {"a": 7}), "damaged"),
        (raw(OLD | {"a": entry(offsets=(0, "8"))}), "damaged"),
        (raw(OLD | {"a": entry(offsets=(0, 16))}, b"x" * 8), "truncated"),
        (raw(OLD | {"a": entry(offsets=(0, 8))}, b"x" * 16), "after its end"),
        (raw(OLD | {"a": entry(shape=(2,))}, b"x" * 8), "not a complete"),
        (raw(OLD | {"a": entry(shape=(2**62, 2**62))}, b"x" * 8), "not a complete"),
        (raw(OLD | {"a": entry(shape=(-1,))}, b"x" * 8), "not a complete"),
        (raw(OLD | {"a": entry(offsets=(-8, 8))}, b"x" * 8), "not a complete"),
        (raw(OLD | {"a": entry(), "b": entry()}, b"x" * 8), "not a complete"),
        (raw(OLD | {"a": entry("C64")}, b"x" * 8), "type that no model has"),
        (raw(OLD | {"a": entry("Q" * 10**6)}, b"x" * 8), "type that no model has"),
        ((2**63).to_bytes(8, "little") + b"{}", "not a complete"),
        ((2**26).to_bytes(8, "little") + b" " * 2**26, "too long"),
        (raw(b'{"a": [' + b"0," * 2**21 + b"0]}"), "too long"),
    ],
    ids=lambda given: given[8:40] if isinstance(given, bytes) else None,
)
def test_a_header_that_says_what_cannot_be_is_refused_in_a_short_message(content, problem):
    with pytest.raises(StorageError, match=problem) as caught:
        unpack(content, ACCEPTED)
    assert caught.value.received and len(str(caught.value)) < 1000


def test_a_header_that_could_not_be_read_is_not_written(monkeypatch):
    monkeypatch.setattr(sealed_file, "HEADER_LIMIT", 10_000)
    monkeypatch.setattr(sealed_file, "VALUE_LIMIT", 1_000)
    with pytest.raises(StorageError, match="too long"):
        pack({}, {"format": "chainrule-2", "text": "," * (sealed_file.VALUE_LIMIT + 1)})
    with pytest.raises(StorageError, match="too long"):
        pack({}, {"format": "chainrule-2", "text": "x" * sealed_file.HEADER_LIMIT})


@pytest.mark.parametrize("text", [",", "x"])
def test_a_checkpoint_may_hold_four_times_as_much_and_a_model_that_says_it_is_one_not(
    monkeypatch, text
):
    monkeypatch.setattr(sealed_file, "HEADER_LIMIT", 10_000)
    monkeypatch.setattr(sealed_file, "VALUE_LIMIT", 1_000)
    most = {",": 4 * 1_000 - 10, "x": 4 * 10_000 - 300}[text]
    metadata = {"format": "chainrule-checkpoint-1", "text": text * most}
    content = pack({}, metadata)
    assert unpack(content, ["chainrule-checkpoint-1"]).metadata["text"] == text * most
    with pytest.raises(StorageError, match="too long"):
        unpack(content, ["chainrule-2"])
    with pytest.raises(StorageError, match="too long"):
        pack({}, metadata | {"text": text * (most + 400)})


@pytest.mark.parametrize("array", [np.ones(2, complex), np.ones(2, object), np.array(["text"])])
def test_an_array_that_is_no_numbers_is_refused_by_name(array):
    with pytest.raises(StorageError, match="of this dtype") as caught:
        pack({"table/order": array}, METADATA)
    assert caught.value.place == "table/order"


def test_of_a_file_in_another_format_only_the_beginning_is_read(tmp_path):
    path = tmp_path / "large"
    with open(path, "wb") as file:
        file.write(b"\xff" * 8)
        file.truncate(2**40)  # a terabyte that takes no room
    with (
        pytest.raises(StorageError, match="not a complete safetensors file") as caught,
        sealed_file.opened(path, "a model", ACCEPTED),
    ):
        raise AssertionError("it was opened")
    assert caught.value.place == str(path) and re.search(r"1,099,5\d\d", caught.value.received)
