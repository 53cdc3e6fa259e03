"""Arrays stored in every supported way, and blocks and windows of only a few rows."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr

from chainrule.data import orders, sources

FILES = itertools.count()


class RowByRow:
    """An object with a length that gives one row at a time."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, number: int) -> Any:
        if not isinstance(number, int):
            raise TypeError(f"one row at a time, not {number!r}")
        return self.array[number]


class WithAShape:
    """An object with a shape that gives slices and records them."""

    def __init__(self, array: Any, chunks: Any = None) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.read: list[tuple[int, int]] = []
        if chunks is not None:
            self.chunks = chunks

    def __getitem__(self, part: slice) -> Any:
        self.read.append((part.start, part.stop))
        return self.array[part]


class Blocked(WithAShape):
    """Like an array of dask, which reports the length of each chunk."""

    def __init__(self, array: Any, rows: int) -> None:
        super().__init__(array, ((rows,) * (len(array) // rows), (array.shape[1],)))


def mapped(folder: Path, array: Any, mode: Any = "r") -> np.memmap[Any, Any]:
    """A memory map of a file that holds the array."""
    path = folder / f"{len(list(folder.iterdir()))}.raw"
    array.tofile(path)
    return np.memmap(path, array.dtype, mode, shape=array.shape)


def in_hdf5(array: Any, rows: int | None = None, **options: Any) -> Any:
    """A dataset in an HDF5 file in memory."""
    file = h5py.File(f"in memory {next(FILES)}", "w", driver="core", backing_store=False)
    chunks = None if rows is None else (rows, *array.shape[1:])
    return file.create_dataset("x", data=array, chunks=chunks, **options)


def in_zarr(array: Any, rows: int = 7, zarr_format: int = 3) -> Any:
    """An array of zarr in memory."""
    stored = zarr.create_array(
        {},
        shape=array.shape,
        dtype=array.dtype,
        chunks=(rows, *array.shape[1:]),
        zarr_format=zarr_format,
    )
    stored[:] = array
    return stored


STORED: dict[str, Any] = {
    "memmap": mapped,
    "a view of a memmap": lambda folder, a: np.asarray(mapped(folder, np.repeat(a, 2, 0)))[::2],
    "h5py": lambda folder, a: in_hdf5(a),
    "h5py, packed": lambda folder, a: in_hdf5(a, 7, compression="gzip"),
    "zarr 2": lambda folder, a: in_zarr(a, zarr_format=2),
    "zarr 3": lambda folder, a: in_zarr(a),
    "with a shape": lambda folder, a: WithAShape(a),
    "row by row": lambda folder, a: RowByRow(a),
}


@contextlib.contextmanager
def small(block_bytes: int = 1, window_bytes: int = 1) -> Iterator[None]:
    """Blocks and windows of some bytes instead of megabytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "READ_TOGETHER", block_bytes)
        patch.setattr(orders, "WINDOW", window_bytes)
        yield
