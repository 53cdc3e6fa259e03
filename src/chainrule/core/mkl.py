"""MKL, the BLAS of Intel: one product of two matrices, called from a compiled function.

    C_ik = Σ_j A_ij B_jk

The library is loaded with one thread, and in the mode in which its results do not depend on where
in memory the matrices are. Its functions are called by `gemm`, which numba compiles: the call then
costs half as much as that of NumPy's BLAS by `np.dot`, and a tenth of one by ctypes alone.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

from chainrule.core.types import Array

ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112
"""What the functions of a BLAS call the two orders of a matrix."""

SEQUENTIAL, INTEGERS_OF_32_BITS, REPRODUCIBLE = 1, 0, 2
"""The settings of the library."""

PATTERNS = ("lib/libmkl_rt.so*", "lib/libmkl_rt*.dylib", "Library/bin/mkl_rt*.dll")


@functools.cache
def library() -> Any:
    """The library, with one thread.

    Raises
    ------
    ImportError
        It is not installed, or used by another library with several threads.
    """
    import ctypes
    import site
    from pathlib import Path

    folders = {sys.prefix: 0, sys.base_prefix: 0, site.getuserbase(): 0}
    files = [file for folder in folders for p in PATTERNS for file in Path(folder).glob(p)]
    if not files:
        raise ImportError("MKL is not installed: pip install 'chainrule[fast]'")
    loaded = ctypes.CDLL(str(files[0]))
    if loaded.MKL_Set_Threading_Layer(SEQUENTIAL) != SEQUENTIAL:
        raise ImportError("another library uses MKL with several threads")
    loaded.MKL_Set_Interface_Layer(INTEGERS_OF_32_BITS)
    loaded.MKL_CBWR_Set(REPRODUCIBLE)
    return loaded


def version() -> str:
    """Its name and version."""
    import ctypes

    text = ctypes.create_string_buffer(198)
    library().MKL_Get_Version_String(text, len(text))
    words = text.value.decode().split()
    return f"MKL {words[words.index('Version') + 1].removesuffix('-Product')}"


def signatures() -> tuple[Any, ...]:
    """The types of `gemm`: matrices of either dtype, in any layout."""
    from numba import types

    return tuple(
        types.boolean(
            *(types.Array(number, 2, "A", readonly=n < 2) for n in range(3)), types.float64
        )
        for number in (types.float32, types.float64)
    )


def symbols() -> dict[str, Any]:
    """What the names `sgemm` and `dgemm` are in compiled code."""
    import ctypes

    import llvmlite.binding
    from numba import types

    found, i, address = {}, types.int32, types.uintp
    for name, number in (("sgemm", types.float32), ("dgemm", types.float64)):
        function = ctypes.cast(getattr(library(), f"cblas_{name}"), ctypes.c_void_p)
        llvmlite.binding.add_symbol(f"chainrule_{name}", function.value)
        matrices = (number, address, i, address, i, number, address, i)
        signature = types.void(i, i, i, i, i, i, *matrices)
        found[name] = types.ExternalFunction(f"chainrule_{name}", signature)
    return found


def gemm(left: Array, right: Array, out: Array, kept: float) -> bool:
    """Write the product into ``out``, plus ``kept`` times what is there.

    False, and nothing is written, if the arrays are not matrices of a BLAS. What ``out`` has in
    memory is its own.
    """
    (rows, inner), columns, size = left.shape, right.shape[1], out.itemsize
    if right.shape[0] != inner or out.shape != (rows, columns) or rows * inner * columns == 0:
        return False
    order, step = layout(rows, inner, left.strides, size)
    order_right, step_right = layout(inner, columns, right.strides, size)
    order_out, step_out = layout(rows, columns, out.strides, size)
    if step == 0 or step_right == 0 or step_out == 0 or order_out != PLAIN:
        return False
    a, b, c = left.ctypes.data, right.ctypes.data, out.ctypes.data
    settings = ROW_MAJOR, order, order_right, rows, columns, inner
    if size == 4:
        sgemm(*settings, 1.0, a, step, b, step_right, kept, c, step_out)
    else:
        dgemm(*settings, 1.0, a, step, b, step_right, kept, c, step_out)
    return True


def layout(rows: int, columns: int, strides: tuple[int, int], size: int) -> tuple[int, int]:
    """The order of a matrix, and the distance of its rows, or columns; 0 if it has no layout.

    In a BLAS the numbers of each row, or of each column, are side by side, without overlap.
    """
    down, along = strides
    order, step, length = PLAIN, down, columns
    if along != size or down < columns * size:
        order, step, length = TRANSPOSED, along, rows
        if down != size:
            return order, 0
    fits = step >= length * size and step % size == 0 and step // size < 2**31
    return order, step // size if fits and max(rows, columns) < 2**31 else 0


def sgemm(*arguments: Any) -> None:
    """The function of the library, in compiled code; see `symbols`."""
    raise NotImplementedError


dgemm = sgemm
