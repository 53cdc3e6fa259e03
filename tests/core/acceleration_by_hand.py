"""Without numba and MKL: the loops that they would run, as Python, with NumPy's numbers."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest

from chainrule.core import acceleration, mkl
from chainrule.core.acceleration import IN_USE, use_fast
from chainrule.layers import correlation


@contextmanager
def interpreted_loops(
    seen: set[str] | None = None, cached: int = correlation.CACHED_BY_ONE_PRODUCT
) -> Iterator[None]:
    """Inside, everything takes the way of compiled functions, and these are those of Python.

    Their names are added to ``seen``; ``cached`` is the memory for columns of a convolution.
    """
    names = set() if seen is None else seen

    def taken(function: Any) -> Any:
        names.add(function.__name__)
        return function

    with use_fast(False), pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(acceleration, "compiled", taken)
        patch.setattr(correlation, "compiled", taken)
        patch.setattr(correlation, "CACHED_BY_ONE_PRODUCT", cached)
        patch.setattr(acceleration, "LEAST_WORK", 2**15)
        patch.setattr(mkl, "sgemm", partial(gemm_of_a_blas, ctypes.c_float))
        patch.setattr(mkl, "dgemm", partial(gemm_of_a_blas, ctypes.c_double))
        IN_USE.compiles, IN_USE.gemm, IN_USE.dot = True, mkl.gemm, acceleration.matrix_product
        yield


def gemm_of_a_blas(number: Any, *given: Any) -> None:
    """C ← A B + kept C, given addresses, orders and steps as in the manual of a BLAS."""
    major, order_left, order_right, rows, columns, inner, factor, *matrices = given
    left, step_left, right, step_right, kept, out, step_out = matrices
    assert (major, factor) == (101, 1.0)

    def matrix(address: int, order: int, height: int, width: int, step: int) -> Any:
        lines, length = (height, width) if order == 111 else (width, height)
        assert step >= length > 0
        flat = np.ctypeslib.as_array((number * ((lines - 1) * step + length)).from_address(address))
        steps = step * flat.itemsize, flat.itemsize
        found = np.lib.stride_tricks.as_strided(flat, (lines, length), steps)
        return found if order == 111 else found.T

    target = matrix(out, 111, rows, columns, step_out)
    product = np.matmul(
        matrix(left, order_left, rows, inner, step_left),
        matrix(right, order_right, inner, columns, step_right),
    )
    target[...] = product + kept * target if kept else product


def same_bits(one: Any, other: Any) -> bool:
    """Whether two arrays are equal to the last bit; of NaN it counts only that it is one."""
    is_nan = np.isnan(one)
    if one.dtype != other.dtype or not np.array_equal(is_nan, np.isnan(other)):
        return False
    return np.where(is_nan, 0, one).tobytes() == np.where(is_nan, 0, other).tobytes()
