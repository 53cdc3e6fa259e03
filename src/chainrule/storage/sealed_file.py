"""The bytes of a file: safetensors, sealed with a digest of every byte.

    8 bytes     N, the length of the header
    N bytes     the header as JSON: dtype, shape and offset of each array, and __metadata__
    the rest    the arrays, one after the other

The metadata are named strings. One of them, ``digest``, is the SHA-256 of the whole file with 64
zeros in place of the digest itself. So any changed bit is detected, wherever it is, and the
safetensors library can ignore the digest.

A digest detects damage, not malice: anyone who changes a file on purpose can recompute it. So the
header is also measured before it is parsed, and everything in it is compared with the length of
the file.

A file is read twice: once to compare its digest, and then each array straight into the memory where
it will be used. So a large model needs its own memory and no more.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from attrs import frozen

from chainrule import files
from chainrule.core.errors import StorageError
from chainrule.storage import safetensors
from chainrule.storage.messages import cut, short
from chainrule.storage.safetensors import METADATA, TYPES, Entry

HEADER_LIMIT = 2**23
"""The maximum size of a header in bytes: eight megabytes, enough for some ten thousand layers."""

VALUE_LIMIT = 2**19
"""The maximum number of values in a header. Parsing needs one or two hundred bytes for each."""

LARGER = {"chainrule-checkpoint-1": 4, "chainrule-checkpoint-2": 4}
"""Factors by which some formats may exceed these limits: a checkpoint also contains the history."""

DIGITS_LIMIT = 1000
"""The maximum number of digits of a number: the time to parse it grows with their square."""

BLANK = "0" * 64
"""The placeholder for the digest while it is computed."""

UNSEALED = frozenset({"chainrule-1"})
"""The formats without a digest."""

NEWEST = {"chainrule": 2, "chainrule-weights": 1, "chainrule-checkpoint": 2}
"""The newest version of each format that this version of chainrule can read."""

AT_ONCE = 2**18
"""How many bytes are read at a time to compute the digest."""

Arrays = dict[str, npt.NDArray[Any]]


@frozen(eq=False)
class Contents:
    """The contents of a file whose digest is right.

    Attributes
    ----------
    metadata
        Named strings.
    entries
        The dtypes and shapes of the arrays, by name, in their order in the file.
    """

    metadata: dict[str, str]
    entries: dict[str, Entry]
    _file: BinaryIO
    _begin: int

    @property
    def arrays(self) -> Arrays:
        """All arrays by name, read from the file."""
        arrays = {name: np.empty(entry.shape, entry.dtype) for name, entry in self.entries.items()}
        for name, array in arrays.items():
            self.read_into(name, array)
        return arrays

    def read_into(self, name: str, array: npt.NDArray[Any]) -> None:
        """Read an array into one of the same shape and dtype.

        Raises
        ------
        StorageError
            If the file has become shorter since it was opened.
        """
        entry = self.entries[name]
        is_direct = array.flags.c_contiguous and array.dtype == entry.dtype
        target = array if is_direct else np.empty(entry.shape, entry.dtype)
        waiting = target.reshape(-1).view(np.uint8).data
        self._file.seek(self._begin + entry.start)
        while waiting:
            count = self._file.readinto(waiting)  # type: ignore[attr-defined]
            if not count:
                raise _damaged("a file that has become shorter", name)
            waiting = waiting[count:]
        if entry.dtype.itemsize == 1 and entry.dtype.kind == "b":
            target.view(np.uint8)[...] = target.view(np.uint8) != 0  # any other byte is undefined
        if not is_direct:
            array[...] = target


def pack(arrays: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a file. Equal arrays and metadata give equal bytes.

    Raises
    ------
    StorageError
        If an array has a dtype that cannot be stored, or the header would be too long to read.
    """
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
            raise StorageError(
                "an array of this dtype cannot be written to a file",
                place=name,
                expected="real numbers of at most 64 bits",
                received=str(array.dtype),
            )
    text, data = safetensors.header_and_data(arrays, {**metadata, "digest": BLANK})
    _require_bounded(text, _times([metadata.get("format", "")]))
    size = len(text).to_bytes(8, "little")
    place = text.index(_entry(BLANK))
    digest = hashlib.sha256(size + text)
    for part in data:
        digest.update(part)
    sealed = text[:place] + _entry(digest.hexdigest()) + text[place + len(_entry(BLANK)) :]
    return b"".join([size, sealed, *data])


def unpack(content: bytes, accepted: Collection[str]) -> Contents:
    """The contents of a file, from its bytes; otherwise as `opened`."""
    return _contents(io.BytesIO(content), len(content), accepted)


@contextlib.contextmanager
def opened(
    path: str | os.PathLike[str], what: str, accepted: Collection[str]
) -> Iterator[Contents]:
    """Open a file, whose arrays are then read by the caller.

    Parameters
    ----------
    path
        The file.
    what
        What it should contain, for error messages: ``"a model"``.
    accepted
        The accepted formats, such as ``("chainrule-1", "chainrule-2")``.

    Raises
    ------
    StorageError
        If the file does not exist, cannot be read, is damaged, has another format, or is not a
        safetensors file.
    """
    with files.reading(path, what) as file:
        try:
            yield _contents(file, os.fstat(file.fileno()).st_size, accepted)
        except StorageError as error:
            error.place = error.place or os.fspath(path)
            raise


def _contents(file: BinaryIO, size: int, accepted: Collection[str]) -> Contents:
    """Check everything except what the numbers mean.

    The first 8 bytes give the length of the header. If it is impossible, the rest is not read.
    """
    begin = file.read(8)
    length = require_size(begin, size)
    text = file.read(length)
    header = _header(text, _times(accepted))
    metadata = _metadata(header)
    require_format(metadata.get("format"), accepted)
    data = size - 8 - length
    _require_to_its_end(header, data)
    if metadata["format"] not in UNSEALED:
        _require_digest(file, begin, text, metadata.get("digest"))
    elif "digest" in metadata:
        raise _damaged("a digest, although files of this format have none")
    _require_numbers(header)
    try:
        entries = safetensors.entries_of(header, data)
    except ValueError as error:
        raise _not_whole(size, cut(str(error), 200)) from error
    return Contents(metadata, entries, file, 8 + length)


def read_metadata(path: str | os.PathLike[str], what: str) -> dict[str, str]:
    """The metadata of a file, without its arrays and without comparing its digest.

    Raises
    ------
    StorageError
        As `read`, and if the header is not that of a safetensors file.
    """
    with files.reading(path, what) as file:
        length = require_size(file.read(8), os.fstat(file.fileno()).st_size)
        return _metadata(_header(file.read(length), _times(LARGER)))


def require_size(begin: bytes, size: int) -> int:
    """The length of the header; raises if a file of this size cannot have it."""
    length = int.from_bytes(begin, "little")
    if len(begin) < 8 or length < 2 or length > size - 8:
        raise _not_whole(
            size, "too short for a header" if size < 10 else f"a header of {length:,} bytes"
        )
    times = _times(LARGER)  # the format is only known after reading the header
    if length > times * HEADER_LIMIT:
        raise _too_long(f"{length:,} bytes", times)
    return length


def parsed(text: str | bytes) -> Any:
    """A JSON text from a file.

    Raises
    ------
    ValueError, RecursionError
        If it is not JSON, a number has too many digits, or it is nested too deep.
    """
    return json.loads(text, parse_int=_whole, parse_float=_real)


def _whole(digits: str) -> int:
    if len(digits) > DIGITS_LIMIT:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


def _real(digits: str) -> float:
    if len(digits) > DIGITS_LIMIT:
        raise ValueError(f"a number of {len(digits):,} digits")
    return float(digits)


# ------------------------------------------------------------------------------- the header


def _header(text: bytes, times: int) -> dict[str, Any]:
    _require_bounded(text, times)
    try:
        if not text.startswith(b"{"):
            raise ValueError("it is no object")
        header: dict[str, Any] = json.loads(
            text.decode(),
            parse_int=_whole,
            parse_float=_real,
            parse_constant=_no_number,
            object_pairs_hook=_with_unique_names,
        )
        if b"\\u" in text:
            json.dumps(header, ensure_ascii=False).encode()  # half a character is not text
    except (ValueError, RecursionError) as error:
        raise _not_whole(len(text), f"a header that is not JSON; {cut(str(error), 200)}") from error
    return header


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


def _with_unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _times(formats: Collection[str]) -> int:
    """The factor by which these formats may exceed the limits."""
    return max([LARGER.get(name, 1) for name in formats], default=1)


def _require_bounded(text: bytes, times: int) -> None:
    """Raise an error if parsing a header could take much memory; count without parsing it."""
    if len(text) > times * HEADER_LIMIT:
        raise _too_long(f"{len(text):,} bytes", times)
    values = sum(text.count(sign) for sign in (b",", b"[", b"{"))
    if values > times * VALUE_LIMIT:
        raise _too_long(f"{values:,} values", times)


def _metadata(header: dict[str, Any]) -> dict[str, str]:
    metadata = header.get(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _damaged(f"metadata that are {short(metadata)}")
    return metadata


def require_format(given: str | None, accepted: Collection[str]) -> None:
    """Raise an error if the format is not accepted; say what the file contains instead."""
    if given in accepted:
        return
    family, version = _version(given)
    is_newer, hint = False, None
    if version > NEWEST.get(family, version):
        is_newer, problem = True, "the file was written by a newer version of chainrule"
        hint = "update chainrule: pip install --upgrade chainrule"
    elif family.startswith("chainrule"):
        problem = "this is a chainrule file, but of a different kind"
        if family == "chainrule-weights":
            hint = "it contains only weights: build the model and call model.load_weights(path)"
        elif family == "chainrule-checkpoint":
            hint = "it is a checkpoint: pass its folder to fit(…, resume_from=folder)"
    else:
        problem = "this is a safetensors file, but chainrule did not write it"
    error = StorageError(
        problem,
        expected=f"format {' or '.join(map(repr, accepted))}",
        received="no format" if given is None else f"format {short(given)}",
        hint=hint,
    )
    error.is_newer = is_newer
    raise error


def _version(given: str | None) -> tuple[str, int]:
    """``"chainrule-17"`` → ``("chainrule", 17)``."""
    found = re.fullmatch(r"(chainrule(?:-[a-z]+)?)-(\d{1,9})", given or "", re.ASCII)
    return (found[1], int(found[2])) if found else ("", 0)


def _require_to_its_end(header: dict[str, Any], size: int) -> None:
    """Raise an error unless the arrays end exactly at the end of the file."""
    end = 0
    for entry in header.values():
        match entry:
            case {"data_offsets": [int(), int(last)]}:
                end = max(end, last)
    if end != size:
        raise StorageError(
            "this is not a complete safetensors file: "
            + ("it is truncated" if size < end else "there are extra bytes after its end"),
            expected=f"{end:,} bytes of numbers, according to its header",
            received=f"{size:,} bytes",
            hint="copy it again; was the copy interrupted?" if size < end else None,
        )


def _require_numbers(header: dict[str, Any]) -> None:
    """Raise an error if an array has a dtype that no model has."""
    for name, entry in header.items():
        if name == METADATA:
            continue
        match entry:
            case {"dtype": str(kind), "shape": list(), "data_offsets": [int(), int()]}:
                if kind in TYPES:
                    continue
            case _:
                raise _damaged(f"the entry {short(entry)}", name)
        raise StorageError(
            "an array in the file has a dtype that no model has",
            place=cut(name, 200),
            expected=", ".join(sorted(TYPES)),
            received=short(kind),
        )


# ------------------------------------------------------------------------------- the digest


def _entry(digest: str) -> bytes:
    """The digest as it appears in the header. Inside another string its quotes would be escaped."""
    return f'"digest":"{digest}"'.encode()


def _require_digest(file: BinaryIO, begin: bytes, text: bytes, digest: str | None) -> None:
    """Compare the digest with that of the file, of which the beginning and the header are read."""
    if digest is None or not re.fullmatch("[0-9a-f]{64}", digest):
        raise _damaged("no digest" if digest is None else f"the digest {short(digest)}")
    found = hashlib.sha256(begin)
    found.update(text.replace(_entry(digest), _entry(BLANK)))
    buffer = memoryview(bytearray(AT_ONCE))
    while count := file.readinto(buffer):  # type: ignore[attr-defined]
        found.update(buffer[:count])
    if found.hexdigest() != digest:
        raise _damaged("a file that has changed since it was written")


# ------------------------------------------------------------------------------- messages


def _damaged(received: str, place: str | None = None) -> StorageError:
    return StorageError(
        "the file is damaged, or another program has changed it",
        place=place and cut(place, 200),
        expected="every byte as chainrule wrote it",
        received=received,
        hint="copy it again from its source",
    )


def _not_whole(size: int, received: str) -> StorageError:
    return StorageError(
        "this is not a complete safetensors file", received=f"{size:,} bytes; {received}"
    )


def _too_long(received: str, times: int) -> StorageError:
    return StorageError(
        "the description of the model is too long for a file",
        expected=f"a header of at most {times * HEADER_LIMIT:,} bytes and "
        f"{times * VALUE_LIMIT:,} values",
        received=received,
        hint="keep large arrays in a buffer created in build, not in the fields of a layer",
    )
