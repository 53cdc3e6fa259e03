"""Sources: arrays that stay where they are stored and are read some rows at a time.

Data can be larger than memory. Then they are in a file, and an object reads rows from it when it is
indexed: a `numpy.memmap`, an h5py dataset, a zarr array, or your own class with a length and a
``[…]``. This module gives them all the same two methods:

    read([(start, stop), …])        the rows of some runs, in sequence
    take([i, j, k, …])              these rows, in this order

The result is always an array with its own memory.

Two costs matter. Reading neighbouring rows together costs little more than reading a single one,
because files are read, and decompressed, in pieces: h5py and zarr call them chunks. And what was
read through a memory map counts as memory of the process until the system needs it elsewhere, so
the pages are released after every 64 MB. That is possible if the map is backed by the file (modes
``"r"``, ``"r+"`` and ``"w+"``); a map of mode ``"c"`` holds changes that exist nowhere else, so all
its pages are kept.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
from attrs import define, field

from chainrule.core.arrays import REAL, as_array
from chainrule.core.errors import ChainruleError, DataError, DtypeError, ShapeError
from chainrule.core.types import Array, Shape

READ_TOGETHER = 2**20
"""The minimum number of bytes that are read together where neighbouring rows are."""

RELEASED_AFTER = 2**26
"""How many bytes are read through a memory map before its pages are released."""

MAPPED_AROUND = 2**21
"""How many bytes the system may map around each byte that is read: up to a large page."""

Run = tuple[int, int]
"""The first row, and the row after the last."""


def is_stored(given: Any) -> bool:
    """Whether an object is to be read piece by piece, rather than converted to an array.

    That is a memory map, or a view of one, and every object with a length and an index that is not
    a Python container and does not expose its memory, as the arrays of other libraries do.
    """
    if isinstance(given, np.ndarray):
        return _map_of(given) is not None and not isinstance(given, np.ma.MaskedArray)
    if isinstance(given, list | tuple | range | str | deque | Mapping | Set | np.generic):
        return False
    if any(hasattr(given, name) for name in IN_MEMORY) or _exposes_memory(given):
        return False
    return hasattr(given, "__getitem__") and (hasattr(given, "__len__") or has_shape(given))


IN_MEMORY = ("__array_interface__", "__dlpack__", "iloc", "to_numpy", "toarray")
"""Attributes of arrays and tables of other libraries, which NumPy converts as a whole."""


def _exposes_memory(given: Any) -> bool:
    try:
        memoryview(given).release()
    except TypeError:
        return False
    return True


def is_read_here(given: Any) -> bool:
    """Whether only chainrule and a known library run when rows are read, and no code of the user.

    That is a memory map, or an array of h5py or zarr: reading it in a thread is safe, in any order.
    """
    if isinstance(given, np.ndarray):
        return True
    return type(given).__module__.partition(".")[0] in READ_HERE


READ_HERE = ("h5py", "zarr")
"""The libraries whose arrays are read by code that is known."""


def has_shape(given: Any) -> bool:
    """Whether an object has an attribute ``shape``."""
    try:
        return hasattr(given, "shape")
    except Exception:  # a closed file; reading it will report that
        return True


def as_source(name: str, given: Any) -> DataSource:
    """The source that reads a stored object, or an array.

    Raises
    ------
    DtypeError, ShapeError
        The object does not hold real numbers, or has no rows.
    DataError
        The object cannot be read.
    """
    if isinstance(given, np.ndarray):
        if _map_of(given) is None:
            return InMemory(name, given, given.shape, given.dtype)
        return _require_real_rows(Mapped(name, given, given.shape, _native(given.dtype)))
    try:
        if has_shape(given):
            shape, dtype = tuple(given.shape), getattr(given, "dtype", None)
            if dtype is None:
                dtype = as_array(name, given[0:1]).dtype
            return _require_real_rows(Sliced(name, given, shape, _native(np.dtype(dtype))))
        first = as_array(name, given[0]) if len(given) else np.zeros(0)
        return _require_real_rows(Listed(name, given, (len(given), *first.shape), first.dtype))
    except ChainruleError as error:
        error.place = error.place or f"{name}, read from {type(given).__name__}"
        raise
    except Exception as error:
        raise DataError(
            f"{name} cannot be read",
            expected="an object with a length, and rows by index",
            received=f"{type(given).__name__}; {type(error).__name__}: {error}",
            hint="check that its file is still open",
        ) from error


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The same dtype in the byte order of this machine; reading converts to it."""
    return dtype if dtype.isnative else dtype.newbyteorder("=")


def _require_real_rows(source: DataSource) -> DataSource:
    if not source.shape:
        raise ShapeError(
            f"{source.name} is a single number, not an array of samples",
            expected="an array whose axis 0 counts the samples",
            received=f"{type(source.given).__name__} of shape ()",
        )
    if source.dtype.kind not in REAL:
        raise DtypeError(
            f"{source.name} does not hold real numbers",
            expected="an array of real numbers",
            received=f"{type(source.given).__name__} of dtype {source.dtype}, shape {source.shape}",
        )
    return source


def in_memory_sources(arrays: Sequence[Array]) -> list[DataSource]:
    """Arrays in memory, as sources."""
    return [InMemory("", array, array.shape, array.dtype) for array in arrays]


def block_of(sources: Sequence[DataSource]) -> int:
    """How many rows of some arrays to read together.

    Whole chunks of the chunked array with the longest rows, and at least a megabyte of all arrays
    together.
    """
    row_bytes = sum(source.row_bytes for source in sources)
    in_chunks = [source for source in sources if _chunk_of(source.given) > 1]
    longest = max(in_chunks or sources, key=lambda source: source.row_bytes)
    chunk = _chunk_of(longest.given)
    return chunk * -(-READ_TOGETHER // (chunk * row_bytes))


@define(eq=False, repr=False)
class DataSource:
    """An array that is read some rows at a time.

    Attributes
    ----------
    name
        The name in error messages.
    given
        The object that is read from.
    shape, dtype
        The shape and the dtype of the whole array.
    """

    name: str
    given: Any
    shape: Shape
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        """The number of bytes in a row."""
        return max(1, int(np.prod(self.shape[1:])) * self.dtype.itemsize)

    def read(self, runs: Sequence[Run]) -> Array:
        """The rows of some runs, in sequence."""
        rows = np.empty((sum(stop - start for start, stop in runs), *self.shape[1:]), self.dtype)
        begin = 0
        for start, stop in runs:
            end = begin + stop - start
            rows[begin:end] = self._piece(start, stop)
            begin = end
        return rows

    def take(self, indices: Array) -> Array:
        """The rows with these indices, in their order."""
        rows = np.empty((len(indices), *self.shape[1:]), self.dtype)
        order = np.argsort(indices, kind="stable")
        for begin, end in _consecutive(indices[order]):
            first, last = int(indices[order[begin]]), int(indices[order[end - 1]])
            rows[order[begin:end]] = self._piece(first, last + 1)
        return rows

    def whole(self) -> Array:
        """The whole array, in memory."""
        block = block_of([self])
        starts = range(0, len(self), block)
        return self.read([(start, min(start + block, len(self))) for start in starts])

    def _piece(self, start: int, stop: int) -> Array:
        """The rows of one run, checked: the object may return anything."""
        try:
            piece = self._given_rows(start, stop)
        except Exception as error:
            error.add_note(f"while reading rows {start:,} to {stop - 1:,} of {self.name}")
            raise
        expected = (stop - start, *self.shape[1:])
        if piece.shape != expected:
            raise ShapeError(
                f"{self.name} has rows that do not have the shape of its first",
                place=f"{self.name}, rows {start:,} to {stop - 1:,}",
                expected=expected,
                received=piece.shape,
            )
        if piece.dtype != self.dtype and not np.can_cast(piece.dtype, self.dtype):
            raise DtypeError(
                f"{self.name} has rows that do not have the type of its first",
                place=f"{self.name}, rows {start:,} to {stop - 1:,}",
                expected=self.dtype,
                received=piece.dtype,
                hint="store every row as the same type, such as np.float32",
            )
        return piece

    def _given_rows(self, start: int, stop: int) -> Array:
        return as_array(self.name, self.given[start:stop])


class Sliced(DataSource):
    """An object with a shape, such as a dataset of h5py or an array of zarr."""


class Listed(DataSource):
    """An object that has a length and gives one row for an index."""

    def _given_rows(self, start: int, stop: int) -> Array:
        rows = Stack(self.name, stop - start)
        for number in range(start, stop):
            rows.add(number, self.given[number])
        return rows.array


class InMemory(DataSource):
    """An array in memory, used together with stored ones."""

    def take(self, indices: Array) -> Array:
        """The rows with these indices, in their order."""
        return self.given.take(indices, axis=0)

    def whole(self) -> Array:
        """The array itself."""
        return self.given


@define(eq=False, repr=False)
class Mapped(DataSource):
    """A memory map, or a view of one: its pages are released after they are read."""

    _map: mmap.mmap | None = field(init=False, default=None)
    _unreleased: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        mapping = _releasable_map(self.given)
        self._map = mapping if mapping is not None and len(mapping) > RELEASED_AFTER else None
        self.given = np.asarray(self.given)  # faster to index than the subclass

    def read(self, runs: Sequence[Run]) -> Array:
        """The rows of some runs, in sequence."""
        rows = np.empty((sum(stop - start for start, stop in runs), *self.shape[1:]), self.dtype)
        begin = 0
        for start, stop in runs:
            for first, last in self._released_runs(start, stop):
                rows[begin : begin + last - first] = self.given[first:last]
                begin += last - first
                self._count_read((last - first) * self._stride + MAPPED_AROUND)
        return rows

    def take(self, indices: Array) -> Array:
        """The rows with these indices, in their order."""
        each = self._stride + MAPPED_AROUND
        at_once = max(1, RELEASED_AFTER // each)
        rows = np.empty((len(indices), *self.shape[1:]), self.dtype)
        for start in range(0, len(indices), at_once):
            chosen = indices[start : start + at_once]
            rows[start : start + len(chosen)] = self.given[chosen]
            self._count_read(len(chosen) * each)
        return rows

    @property
    def _stride(self) -> int:
        """The bytes from one row to the next in the file, which may have more columns."""
        return max(self.row_bytes, abs(int(self.given.strides[0])))

    def _released_runs(self, start: int, stop: int) -> Iterator[Run]:
        length = max(1, RELEASED_AFTER // self._stride)
        for first in range(start, stop, length):
            yield first, min(first + length, stop)

    def _count_read(self, count: int) -> None:
        self._unreleased += count
        if self._unreleased >= RELEASED_AFTER and self._map is not None:
            self._unreleased = 0
            self._map.madvise(mmap.MADV_DONTNEED)


@define(eq=False, repr=False)
class Stack:
    """Rows of the same shape, each copied when it is added: a dataset may reuse its memory.

    Parameters
    ----------
    name
        The name of the array in error messages.
    expected
        The number of rows that will be added, for which memory is reserved.

    Raises
    ------
    ShapeError
        A row does not have the shape of the first.
    DtypeError, DataError
        A row does not hold real numbers.
    """

    name: str
    expected: int
    _rows: Array = field(init=False, default=None)
    _count: int = field(init=False, default=0)
    _first: int = field(init=False, default=0)

    def add(self, index: int, row: Any) -> None:
        """Add the row with this index in the dataset."""
        rows = self._rows
        is_plain = type(row) is np.ndarray and rows is not None and row.dtype is rows.dtype
        if not is_plain:
            row = as_array(self.name, row)
        if self._rows is None:
            self._rows, self._first = np.empty((self.expected, *row.shape), row.dtype), index
        elif row.shape != self._rows.shape[1:]:
            raise ShapeError(
                f"the rows of {self.name} do not all have the same shape",
                place=f"{self.name}, row {index:,}",
                expected=f"{self._rows.shape[1:]}, as in row {self._first:,}",
                received=row.shape,
            )
        elif row.dtype != self._rows.dtype:
            self._rows = self._rows.astype(np.result_type(self._rows.dtype, row.dtype))
        self._rows[self._count] = row
        self._count += 1

    @property
    def array(self) -> Array:
        """All rows in one array."""
        return self._rows


def _consecutive(indices: Array) -> Iterator[Run]:
    """The ranges of consecutive indices: [3, 4, 9] → (0, 2), (2, 3)."""
    ends = [*(np.flatnonzero(np.diff(indices) != 1) + 1).tolist(), len(indices)]
    begin = 0
    for end in ends:
        if end > begin:
            yield begin, end
        begin = end


def _chunk_of(given: Any) -> int:
    """How many rows a chunk has, if the library reports it; else 1."""
    chunks = getattr(given, "chunks", None)
    first = chunks[0] if isinstance(chunks, tuple) and chunks else 1
    first = first[0] if isinstance(first, tuple) and first else first
    return first if isinstance(first, int) and first > 0 else 1


def _map_of(array: Any) -> mmap.mmap | None:
    """The memory map that an array is a view of, or None."""
    while isinstance(array, np.ndarray):
        array = array.base
    if isinstance(array, memoryview):  # of np.frombuffer
        array = array.obj
    return array if isinstance(array, mmap.mmap) else None


def _releasable_map(array: Any) -> mmap.mmap | None:
    """The memory map whose pages can be released without losing data, or None."""
    mode = None
    while isinstance(array, np.ndarray):
        mode = getattr(array, "mode", mode)
        array = array.base
    is_possible = hasattr(mmap, "MADV_DONTNEED") and isinstance(array, mmap.mmap)
    return array if is_possible and mode in ("r", "r+", "w+") else None
