"""Sources: stored arrays are read unchanged, and reading loses nothing."""

from __future__ import annotations

import array as arrays
import mmap
from collections import deque
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.core.errors import DataError, DtypeError, ShapeError
from chainrule.data import sources
from chainrule.data.sources import as_source, block_of, is_stored
from data.stored import (
    STORED,
    Blocked,
    RowByRow,
    WithAShape,
    in_hdf5,
    in_zarr,
    mapped,
)

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")


@pytest.mark.parametrize("way", STORED)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", ">i4", "bool"])
def test_rows_are_read_as_they_were_stored(way: str, dtype: str, tmp_path: Path) -> None:
    x = (10 * X).astype(dtype)
    source = as_source("x", STORED[way](tmp_path, x))
    assert (len(source), source.shape, source.row_bytes) == (40, (40, 3), 3 * x.itemsize)
    np.testing.assert_array_equal(
        source.read([(3, 5), (0, 1), (30, 40)]), x[[3, 4, 0, *range(30, 40)]]
    )
    np.testing.assert_array_equal(source.whole(), x)
    for places in ([5], [7, 3, 4, 5, 39, 0], [2, 2, 1], list(range(40))):
        taken = source.take(np.array(places))
        np.testing.assert_array_equal(taken, x[places])
        assert taken.flags.writeable and taken.base is None


@pytest.mark.parametrize("shape", [(40,), (40, 2, 3), (40, 1)])
@pytest.mark.parametrize("way", STORED)
def test_rows_may_have_any_shape(way: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    x = np.arange(np.prod(shape)).reshape(shape)
    source = as_source("x", STORED[way](tmp_path, x))
    np.testing.assert_array_equal(source.take(np.array([9, 1])), x[[9, 1]])
    np.testing.assert_array_equal(source.whole(), x)


def test_is_stored_distinguishes_arrays_from_what_is_read(tmp_path: Path) -> None:
    class Table(WithAShape):
        iloc = None

    class Tensor(WithAShape):
        def __dlpack__(self) -> Any:
            raise NotImplementedError

    whole = [X, X.tolist(), tuple(X), deque([1.0]), range(3), arrays.array("d", [1.0]), b"12", "12"]
    whole += [{0: 1.0}, {1.0}, 3.0, np.float64(3.0), None, Table(X), Tensor(X), np.ma.array(X)]
    assert [is_stored(one) for one in whole] == [False] * len(whole)
    read = [make(tmp_path, X) for make in STORED.values()]
    read += [mapped(tmp_path, X)[3:, 1:], np.asarray(mapped(tmp_path, X)).T, Blocked(X, 10)]
    assert [is_stored(one) for one in read] == [True] * len(read)


def test_blocks_are_whole_chunks_and_long_enough(tmp_path: Path) -> None:
    assert block_of([as_source("x", in_zarr(X, 7))]) == 7 * -(-(2**20) // (7 * 12))
    assert block_of([as_source("x", Blocked(X, 10))]) == 10 * -(-(2**20) // (10 * 12))
    assert block_of([as_source("x", mapped(tmp_path, X))]) == -(-(2**20) // 12)
    large, small = WithAShape(X, (2**20, 3)), WithAShape(X[:, 0], (5,))
    assert block_of([as_source("x", large), as_source("t", small)]) == 2**20
    assert block_of([as_source("t", small), as_source("x", X)]) % 5 == 0


# ------------------------------------------------------------------------------- memory maps


@pytest.mark.parametrize("mode", ["r+", "w+", "c"])
def test_changes_to_a_map_are_not_lost_by_reading(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "RELEASED_AFTER", 24)
    x = mapped(tmp_path, np.zeros((40, 3)), mode)
    x[:] = np.arange(120.0).reshape(40, 3)
    source = as_source("x", x)
    for _ in range(2):
        np.testing.assert_array_equal(source.read([(0, 40)]), np.arange(120.0).reshape(40, 3))
        np.testing.assert_array_equal(source.take(np.array([39, 0]))[:, 0], [117.0, 0.0])
    np.testing.assert_array_equal(x, np.arange(120.0).reshape(40, 3))


@pytest.mark.parametrize("mode", ["r", "r+", "w+", "c"])
def test_pages_are_released_only_if_the_file_backs_them(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Advised:
        def __init__(self) -> None:
            self.advice: list[int] = []

        def madvise(self, advice: int) -> None:
            self.advice.append(advice)

    monkeypatch.setattr(sources, "RELEASED_AFTER", 10 * 12)
    monkeypatch.setattr(sources, "MAPPED_AROUND", 0)
    source = as_source("x", mapped(tmp_path, X, mode)[5:])
    released = Advised()
    if source._map is not None:  # type: ignore[attr-defined]
        source._map = released  # type: ignore[attr-defined]
    source.read([(0, 25)])
    source.read([(0, 5)])
    assert released.advice == ([] if mode == "c" else [mmap.MADV_DONTNEED] * 3)


def test_single_rows_count_with_the_bytes_mapped_around_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Advised:
        count = 0

        def madvise(self, advice: int) -> None:
            self.count += 1

    monkeypatch.setattr(sources, "RELEASED_AFTER", 4 * 100)
    monkeypatch.setattr(sources, "MAPPED_AROUND", 100 - 12)
    source = as_source("x", mapped(tmp_path, X))
    source._map = Advised()  # type: ignore[attr-defined]
    for places in ([1, 2, 3], [4, 5, 6, 7, 8], [9] * 9):
        np.testing.assert_array_equal(source.take(np.array(places)), X[places])
    assert source._map.count == 3  # type: ignore[attr-defined]


def test_the_pages_of_a_map_with_unknown_mode_are_kept(
    tmp_path: Path,
) -> None:
    X.tofile(tmp_path / "x")
    with open(tmp_path / "x", "rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    source = as_source("x", np.frombuffer(mapping, "float32").reshape(X.shape))
    assert isinstance(source, sources.Mapped) and source._map is None
    np.testing.assert_array_equal(source.whole(), X)


@given(st.lists(st.integers(0, 39), min_size=1, max_size=30))
def test_rows_in_any_order_are_read_in_as_few_pieces_as_possible(places: list[int]) -> None:
    stored = WithAShape(X)
    taken = as_source("x", stored).take(np.array(places))
    np.testing.assert_array_equal(taken, X[places])
    rows = [n for start, stop in stored.read for n in range(start, stop)]
    assert rows == sorted(places)
    if len(set(places)) == len(places):
        assert all(stop < start for (_, stop), (start, _) in pairwise(stored.read))


# ------------------------------------------------------------------------------- what is rejected


class Failing(RowByRow):
    def __getitem__(self, number: int) -> Any:
        if number == 5:
            raise OSError("the disk is gone")
        return super().__getitem__(number)


def test_an_error_of_the_storage_gets_a_note_with_the_rows() -> None:
    with pytest.raises(OSError, match="the disk is gone") as caught:
        as_source("x[1]", Failing(X)).read([(3, 9)])
    assert caught.value.__notes__ == ["while reading rows 3 to 8 of x[1]"]


@pytest.mark.parametrize(
    ("stored", "kind", "words"),
    [
        (RowByRow([[1.0, 2.0], [3.0]]), ShapeError, ["x, row 1", "(2,), as in row 0", "(1,)"]),
        (RowByRow([[1, 2], [3, 4.5]]), DtypeError, ["x, rows 0 to 1", "int64", "float64"]),
        (RowByRow(["a", "b"]), DtypeError, ["x does not hold real numbers", "RowByRow", "<U1"]),
        (WithAShape(X.astype(object)), DtypeError, ["x does not hold real numbers", "object"]),
        (WithAShape(np.float64(3.0)), ShapeError, ["single number", "shape ()"]),
        (WithAShape(X.astype("complex64")), DtypeError, ["complex64"]),
    ],
)
def test_stored_objects_that_are_not_arrays_of_numbers_are_rejected(
    stored: Any, kind: type[Exception], words: list[str]
) -> None:
    with pytest.raises(kind) as caught:
        as_source("x", stored).whole()
    for word in words:
        assert word in str(caught.value)


def test_a_slice_that_is_too_short_is_rejected() -> None:
    stored = WithAShape(X)
    stored.shape = (50, 3)
    with pytest.raises(ShapeError) as caught:
        as_source("x", stored).whole()
    assert "x, rows 0 to 49" in str(caught.value) and "(40, 3)" in str(caught.value)


def test_a_closed_file_is_reported() -> None:
    stored = in_hdf5(X)
    stored.file.close()
    assert is_stored(stored)
    with pytest.raises(DataError, match="x cannot be read") as caught:
        as_source("x", stored)
    assert "still open" in str(caught.value) and "Dataset" in str(caught.value)
