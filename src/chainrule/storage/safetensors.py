"""The safetensors format: named arrays in one file, and nothing that could be executed.

    8 bytes     N, the length of the header, little-endian
    N bytes     the header, JSON padded with spaces to a multiple of 8:
                {"__metadata__": {…}, "weights": {"dtype": "F32", "shape": [2, 3],
                 "data_offsets": [0, 24]}, …}
    the rest    the arrays, row-major and little-endian, one after the other without gaps

This module reads and writes exactly the bytes of the safetensors library, which the tests compare.
It needs only NumPy, so it also works in a browser, and it reads each array straight into the memory
where it is used.

Source: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from chainrule.storage.messages import short

TYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(kind)
    for name, kind in {
        "U64": "<u8", "I64": "<i8", "F64": "<f8", "F32": "<f4", "U32": "<u4", "I32": "<i4",
        "F16": "<f2", "U16": "<u2", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?",
    }.items()
}  # fmt: skip
"""The dtypes of real numbers by their names in a file, in the order of their arrays there."""

METADATA = "__metadata__"


@frozen
class Entry:
    """Where an array is in a file: its dtype, shape, and first byte after the header."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        """The number of entries."""
        return math.prod(self.shape)

    @property
    def stop(self) -> int:
        """The byte after its last one."""
        return self.start + self.size * self.dtype.itemsize


def header_and_data(
    arrays: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]
) -> tuple[bytes, list[memoryview]]:
    """The header of a file, and the bytes of its arrays in their order there.

    The arrays are sorted by dtype and name, the metadata by name, so equal ones give equal bytes.

    Parameters
    ----------
    arrays
        Arrays of real numbers of at most 64 bits.
    metadata
        Named strings.
    """
    codes = {kind: (number, name) for number, (name, kind) in enumerate(TYPES.items())}
    plain = {name: _plain(array) for name, array in arrays.items()}
    header: dict[str, Any] = {METADATA: dict(sorted(metadata.items()))}
    data, end = [], 0
    for name in sorted(plain, key=lambda name: (codes[plain[name].dtype][0], name)):
        array = plain[name]
        start, end = end, end + array.nbytes
        code = codes[array.dtype][1]
        header[name] = {"dtype": code, "shape": [*array.shape], "data_offsets": [start, end]}
        data.append(array.reshape(-1).view(np.uint8).data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return text + b" " * (-len(text) % 8), data


def save(arrays: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a file."""
    text, data = header_and_data(arrays, metadata)
    return b"".join([len(text).to_bytes(8, "little"), text, *data])


def entries_of(header: Mapping[str, Any], size: int) -> dict[str, Entry]:
    """The arrays that a header describes, in their order in the file.

    Parameters
    ----------
    header
        The parsed header.
    size
        The number of bytes after the header.

    Raises
    ------
    ValueError
        If an entry is invalid, or the arrays do not fill these bytes without gaps or overlaps. The
        message names the array.
    """
    entries = {name: _entry(name, given) for name, given in header.items() if name != METADATA}
    in_order = sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop))
    end = 0
    for name, entry in in_order:
        if entry.start != end:
            raise ValueError(f"{short(name)} begins at byte {entry.start:,}, not at {end:,}")
        end = entry.stop
    if end != size:
        raise ValueError(f"the arrays end at byte {end:,}, not at {size:,}")
    return dict(in_order)


def _entry(name: str, given: Any) -> Entry:
    match given:
        case {"dtype": str(code), "shape": list(shape), "data_offsets": [first, last]}:
            numbers = [*shape, first, last]
            are_counts = all(type(n) is int and 0 <= n < 2**63 for n in numbers)
            if code in TYPES and are_counts and len(shape) <= 64:
                entry = Entry(TYPES[code], tuple(shape), first)
                if entry.stop == last:
                    return entry
    raise ValueError(f"the entry {short(name)} is invalid: {short(given)}")


def _plain(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array in the memory layout of the file: row-major and little-endian."""
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
