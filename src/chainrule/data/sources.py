"""Sources: arrays that are read where they lie, some rows at a time.

Data may be larger than the memory. Then they lie in a file, and there is an object that reads rows
from it when it is indexed: a `numpy.memmap`, a dataset of h5py, an array of zarr, or one's own with
a length and a ``[…]``. Here each of them is brought to two questions:

    read([(start, stop), …])        the rows of some runs, one after another
    take([i, j, k, …])              these rows, in this order

and the answer is always an array with memory of its own.

Two things cost if one does not know of them. Rows that stand together are read at once for little
more than one of them alone, because files are read, and unpacked, in pieces: h5py and zarr call
them chunks. And what was read through a memory map stays in the process, counted as its memory,
until the system needs it elsewhere; so the pages are given back after every 64 MB. They can be
where the map is of the file itself (modes ``"r"``, ``"r+"`` and ``"w+"``); a map of mode ``"c"``
keeps changes that stand nowhere else, and all its pages with them.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
from attrs import define, field

from chainrule.core.errors import DataError, DtypeError, ShapeError
from chainrule.core.types import Array, Shape

READ_TOGETHER = 2**20
"""Bytes that are read together at least, where rows that stand together are."""

GIVEN_BACK = 2**26
"""Bytes that are read through a memory map before its pages are given back."""

MAPPED_AROUND = 2**21
"""Bytes that the system may map around each one that is looked at: up to a large page."""

Run = tuple[int, int]
"""The first row, and the one after the last."""


def is_stored(given: Any) -> bool:
    """Whether it is to be read piece by piece, and not an array, or what NumPy makes one of.

    That is a memory map, or a view of one, and every object with a length and an index that is no
    container of Python's and does not lend its memory, as the arrays of other libraries do.
    """
    if isinstance(given, np.ndarray):
        return _map_under(given) is not None and not isinstance(given, np.ma.MaskedArray)
    if isinstance(given, list | tuple | range | str | deque | Mapping | Set | np.generic):
        return False
    if any(hasattr(given, name) for name in IN_MEMORY) or _lends_memory(given):
        return False
    return hasattr(given, "__getitem__") and (hasattr(given, "__len__") or has_shape(given))


IN_MEMORY = ("__array_interface__", "__dlpack__", "iloc", "to_numpy", "toarray")
"""What arrays and tables of other libraries have that NumPy takes whole."""


def _lends_memory(given: Any) -> bool:
    try:
        memoryview(given).release()
    except TypeError:
        return False
    return True


def has_shape(given: Any) -> bool:
    """Whether an object says what shape it has."""
    try:
        return hasattr(given, "shape")
    except Exception:  # a file that was closed; it is said when it is read
        return True


def as_source(name: str, given: Any) -> DataSource:
    """The source that a stored object, or an array, is.

    Raises
    ------
    DtypeError, ShapeError
        It holds no real numbers, or no rows.
    DataError
        It cannot be read.
    """
    if isinstance(given, np.ndarray):
        if _map_under(given) is None:
            return Held(name, given, given.shape, given.dtype)
        return _real(Mapped(name, given, given.shape, given.dtype))
    try:
        if has_shape(given):
            shape, dtype = tuple(given.shape), getattr(given, "dtype", None)
            if dtype is None:
                dtype = np.asarray(given[0:1]).dtype
            return _real(Sliced(name, given, shape, np.dtype(dtype)))
        first = np.asarray(given[0]) if len(given) else np.zeros(0)
        return _real(Listed(name, given, (len(given), *first.shape), first.dtype))
    except (ShapeError, DtypeError):
        raise
    except Exception as error:
        raise DataError(
            f"{name} cannot be read",
            expected="an object with rows: its length, and rows by their numbers",
            received=f"{type(given).__name__}; {type(error).__name__}: {error}",
            hint="is the file that it reads from still open?",
        ) from error


def _real(source: DataSource) -> DataSource:
    if not source.shape:
        raise ShapeError(
            f"{source.name} is a single number, and no array of samples",
            expected="an array whose axis 0 counts the samples",
            received=f"{type(source.given).__name__} of shape ()",
        )
    if source.dtype.kind not in "fiub":
        raise DtypeError(
            f"{source.name} holds no real numbers",
            expected="an array of real numbers",
            received=f"{type(source.given).__name__} of dtype {source.dtype}, shape {source.shape}",
        )
    return source


def held(arrays: Sequence[Array]) -> list[DataSource]:
    """Arrays in memory, as sources."""
    return [Held("", array, array.shape, array.dtype) for array in arrays]


def block_of(sources: Sequence[DataSource]) -> int:
    """How many rows of some arrays are best read together.

    Whole chunks of the one of them that is stored in chunks and has the longest rows, and a
    megabyte of all of them together at least.
    """
    row_bytes = sum(source.row_bytes for source in sources)
    in_chunks = [source for source in sources if _chunk_of(source.given) > 1]
    longest = max(in_chunks or sources, key=lambda source: source.row_bytes)
    chunk = _chunk_of(longest.given)
    return chunk * -(-READ_TOGETHER // (chunk * row_bytes))


@define(eq=False)
class DataSource:
    """An array that is read some rows at a time.

    Attributes
    ----------
    name
        What error messages call it.
    given
        What is read from.
    shape, dtype
        Of all of it.
    """

    name: str
    given: Any
    shape: Shape
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        """How many bytes a row has."""
        return max(1, int(np.prod(self.shape[1:])) * self.dtype.itemsize)

    def read(self, runs: Sequence[Run]) -> Array:
        """The rows of some runs, one after another."""
        rows = np.empty((sum(stop - start for start, stop in runs), *self.shape[1:]), self.dtype)
        begin = 0
        for start, stop in runs:
            end = begin + stop - start
            rows[begin:end] = self._piece(start, stop)
            begin = end
        return rows

    def take(self, places: Array) -> Array:
        """The rows of these numbers, in their order."""
        rows = np.empty((len(places), *self.shape[1:]), self.dtype)
        order = np.argsort(places, kind="stable")
        for begin, end in _together(places[order]):
            first, last = int(places[order[begin]]), int(places[order[end - 1]])
            rows[order[begin:end]] = self._piece(first, last + 1)
        return rows

    def whole(self) -> Array:
        """All of it, in memory."""
        block = block_of([self])
        starts = range(0, len(self), block)
        return self.read([(start, min(start + block, len(self))) for start in starts])

    def _piece(self, start: int, stop: int) -> Array:
        """The rows of one run, looked at: they may be anything."""
        try:
            piece = self._given_rows(start, stop)
        except Exception as error:
            error.add_note(f"while rows {start:,} to {stop - 1:,} of {self.name} were read")
            raise
        expected = (stop - start, *self.shape[1:])
        if piece.shape != expected:
            raise ShapeError(
                f"{self.name} has rows of another shape than its first",
                place=f"{self.name}, rows {start:,} to {stop - 1:,}",
                expected=expected,
                received=piece.shape,
            )
        if piece.dtype != self.dtype and not np.can_cast(piece.dtype, self.dtype):
            raise DtypeError(
                f"{self.name} has rows of another type than its first",
                place=f"{self.name}, rows {start:,} to {stop - 1:,}",
                expected=self.dtype,
                received=piece.dtype,
                hint="let every row be of the same type, such as np.float32",
            )
        return piece

    def _given_rows(self, start: int, stop: int) -> Array:
        return np.asarray(self.given[start:stop])


class Sliced(DataSource):
    """An object with a shape, such as a dataset of h5py or an array of zarr."""


class Listed(DataSource):
    """An object that has a length and gives one row for a number."""

    def _given_rows(self, start: int, stop: int) -> Array:
        rows = [np.asarray(self.given[n]) for n in range(start, stop)]
        return stacked(self.name, rows, range(start, stop))


class Held(DataSource):
    """An array in memory, beside others that are not."""

    def take(self, places: Array) -> Array:
        """The rows of these numbers, in their order."""
        return self.given.take(places, axis=0)

    def whole(self) -> Array:
        """The array itself."""
        return self.given


@define(eq=False)
class Mapped(DataSource):
    """A memory map, or a view of one: its pages are given back when they were read."""

    _map: mmap.mmap | None = field(init=False, default=None)
    _since: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        mapping = _map_of_the_file(self.given)
        self._map = mapping if mapping is not None and len(mapping) > GIVEN_BACK else None
        self.given = np.asarray(self.given)  # quicker to index than the subclass

    def read(self, runs: Sequence[Run]) -> Array:
        """The rows of some runs, one after another."""
        rows = np.empty((sum(stop - start for start, stop in runs), *self.shape[1:]), self.dtype)
        begin = 0
        for start, stop in runs:
            for first, last in self._steps(start, stop):
                rows[begin : begin + last - first] = self.given[first:last]
                begin += last - first
                self._note((last - first) * self._stride + MAPPED_AROUND)
        return rows

    def take(self, places: Array) -> Array:
        """The rows of these numbers, in their order."""
        each = self._stride + MAPPED_AROUND
        at_once = max(1, GIVEN_BACK // each)
        rows = np.empty((len(places), *self.shape[1:]), self.dtype)
        for start in range(0, len(places), at_once):
            part = places[start : start + at_once]
            rows[start : start + len(part)] = self.given[part]
            self._note(len(part) * each)
        return rows

    @property
    def _stride(self) -> int:
        """How many bytes of the file a row stands in: of a map of some columns, those of all."""
        return max(self.row_bytes, abs(int(self.given.strides[0])))

    def _steps(self, start: int, stop: int) -> Iterator[Run]:
        length = max(1, GIVEN_BACK // self._stride)
        for first in range(start, stop, length):
            yield first, min(first + length, stop)

    def _note(self, count: int) -> None:
        self._since += count
        if self._since >= GIVEN_BACK and self._map is not None:
            self._since = 0
            self._map.madvise(mmap.MADV_DONTNEED)


def stacked(name: str, rows: Sequence[Array], numbers: Sequence[int]) -> Array:
    """Rows put together, if they are all of one shape."""
    for number, row in zip(numbers, rows, strict=True):
        if row.shape != rows[0].shape:
            raise ShapeError(
                f"the rows of {name} are not all of the same shape",
                place=f"{name}, row {number:,}",
                expected=f"{rows[0].shape}, as row {numbers[0]:,}",
                received=row.shape,
            )
    return np.stack(rows)


def _together(places: Array) -> Iterator[Run]:
    """The stretches of rising numbers that follow each other: [3, 4, 9] → (0, 2), (2, 3)."""
    ends = [*(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), len(places)]
    begin = 0
    for end in ends:
        if end > begin:
            yield begin, end
        begin = end


def _chunk_of(given: Any) -> int:
    """How many rows a chunk has, where the library says so."""
    chunks = getattr(given, "chunks", None)
    first = chunks[0] if isinstance(chunks, tuple) and chunks else 1
    first = first[0] if isinstance(first, tuple) and first else first
    return first if isinstance(first, int) and first > 0 else 1


def _map_under(array: Any) -> mmap.mmap | None:
    """The memory map that an array looks at, if it does."""
    while isinstance(array, np.ndarray):
        array = array.base
    if isinstance(array, memoryview):  # of np.frombuffer
        array = array.obj
    return array if isinstance(array, mmap.mmap) else None


def _map_of_the_file(array: Any) -> mmap.mmap | None:
    """The memory map whose pages may be given back without losing anything."""
    mode = None
    while isinstance(array, np.ndarray):
        mode = getattr(array, "mode", mode)
        array = array.base
    can = hasattr(mmap, "MADV_DONTNEED") and isinstance(array, mmap.mmap)
    return array if can and mode in ("r", "r+", "w+") else None
