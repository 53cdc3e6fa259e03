"""MKL, the BLAS of Intel: one product of two matrices, called from a compiled function.

    C_ik = Σ_j A_ij B_jk

The library is loaded with one thread, and in the mode in which it gives the same bits wherever in
memory the matrices are. Its function is called by a function that numba compiles (`gemm`), which
takes half as long to reach it as `np.dot` to reach NumPy's BLAS; ctypes alone takes ten times as
long.
"""

from __future__ import annotations

import ctypes
import functools
import site
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.core.extras import missing_extra
from chainrule.core.types import Array

ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112
SEQUENTIAL, LP64, REPRODUCIBLE = 1, 0, 2
LARGEST = 2**31 - 1

if TYPE_CHECKING:
    sgemm: Callable[..., None]
    dgemm: Callable[..., None]


@functools.cache
def library() -> Any:
    """The library, with one thread.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    patterns = ("lib/libmkl_rt.so*", "lib/libmkl_rt*.dylib", "Library/bin/mkl_rt*.dll")
    folders = [Path(sys.prefix), Path(site.getuserbase())]
    files = sorted(file for folder in folders for p in patterns for file in folder.glob(p))
    if not files:
        error = ImportError("no libmkl_rt in the folders of this Python")
        raise missing_extra("mkl", "these products need", error)
    loaded = ctypes.CDLL(str(files[0]))
    for name, value in [
        ("MKL_Set_Threading_Layer", SEQUENTIAL),
        ("MKL_Set_Interface_Layer", LP64),
        ("MKL_CBWR_Set", REPRODUCIBLE),
    ]:
        getattr(loaded, name)(value)
    return loaded


def version() -> str:
    """Its name and version."""
    text = ctypes.create_string_buffer(198)
    library().MKL_Get_Version_String(text, len(text))
    words = text.value.decode().split()
    return f"MKL {words[words.index('Version') + 1].removesuffix('-Product')}"


def symbols() -> tuple[tuple[str, Any], ...]:
    """Its products, for float32 and float64, by the names that `gemm` gives them."""
    import llvmlite.binding
    from numba import types

    found, i, address = [], types.int32, types.uintp
    for name, number in (("sgemm", types.float32), ("dgemm", types.float64)):
        function = ctypes.cast(getattr(library(), f"cblas_{name}"), ctypes.c_void_p)
        llvmlite.binding.add_symbol(f"chainrule_{name}", function.value)
        matrices = (address, i, address, i, number, address, i)
        signature = types.void(i, i, i, i, i, i, number, *matrices)
        found.append((name, types.ExternalFunction(f"chainrule_{name}", signature)))
    return tuple(found)


def signatures() -> Any:
    """The types of `gemm`: matrices of either dtype, in any layout."""
    from numba import types

    return tuple(
        types.boolean(
            *(types.Array(number, 2, "A", readonly=n < 2) for n in range(3)), types.float64
        )
        for number in (types.float32, types.float64)
    )


def gemm(left: Array, right: Array, out: Array, kept: float) -> bool:
    """Write the product into ``out``, plus ``kept`` times what is there; False if the arrays are no matrices of a BLAS.

    A matrix of a BLAS has its rows, or its columns, side by side in memory, without overlap.
    """
    (rows, inner), columns, size = left.shape, right.shape[1], out.itemsize
    if right.shape[0] != inner or out.shape != (rows, columns) or rows * inner * columns == 0:
        return False
    (down, along), kind, step = left.strides, PLAIN, left.strides[0] // size
    if along != size or down < inner * size:
        kind, step = TRANSPOSED, along // size
        if down != size or along < rows * size:
            return False
    (down_right, along_right), kind_right, step_right = right.strides, PLAIN, right.strides[0] // size
    if along_right != size or down_right < columns * size:
        kind_right, step_right = TRANSPOSED, along_right // size
        if down_right != size or along_right < inner * size:
            return False
    down_out, step_out = out.strides[0], out.strides[0] // size
    if out.strides[1] != size or down_out < columns * size:
        return False
    if (down + along + down_right + along_right + down_out) % size:
        return False
    if max(rows, inner, columns, step, step_right, step_out) > LARGEST:
        return False
    a, b, c = left.ctypes.data, right.ctypes.data, out.ctypes.data
    end = c + (rows - 1) * down_out + columns * size
    end_left = a + (rows - 1) * down + (inner - 1) * along + size
    end_right = b + (inner - 1) * down_right + (columns - 1) * along_right + size
    if (c < end_left and a < end) or (c < end_right and b < end):
        return False  # NumPy makes a copy first
    numbers = rows, columns, inner
    if size == 4:
        sgemm(ROW_MAJOR, kind, kind_right, *numbers, 1.0, a, step, b, step_right, kept, c, step_out)
    else:
        dgemm(ROW_MAJOR, kind, kind_right, *numbers, 1.0, a, step, b, step_right, kept, c, step_out)
    return True
