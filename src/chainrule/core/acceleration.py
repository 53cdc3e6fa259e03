"""Acceleration: two optional libraries that compute the same as NumPy, in less time.

    C = A B               products of matrices by MKL, the BLAS of Intel, in one thread
    θ, memory ← rule      the steps of the optimizers, compiled by numba: all operations in one pass

They are used if they are installed, `pip install 'chainrule[fast]'`, and loaded when they are first
needed, which takes about half a second. `show_config` prints what is in use. `use_fast`, or the
environment variable ``CHAINRULE_FAST=0``, turns them off; then every number is NumPy's.

A compiled step has the same operations in the same order as NumPy's, so its results are the same
bits. MKL adds the terms of a product in another order than another BLAS, so its last bits differ.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
import os
import platform
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.core import mkl
from chainrule.core.extras import required
from chainrule.core.types import Array

VARIABLE = "CHAINRULE_FAST"

LEAST_WORK, LEAST_COLUMNS = 2**15, 8
"""Products of matrices with fewer multiplications, or fewer columns, stay with NumPy."""

WORK_OF_ONE_THREAD = 2**18
"""Up to so many multiplications, OpenBLAS uses one thread, however many it has."""


class _Switch:
    """Whether the libraries are used, and the compiled product; one for the program.

    Attributes
    ----------
    is_on
        Whether compiled functions are used; None until somebody asks.
    gemm
        Writes a product into its last argument and returns True, or returns False; None if NumPy
        computes all products.
    largest
        The most multiplications of a product that MKL computes.
    reasons
        Why a library is not used.
    """

    __slots__ = ("gemm", "is_on", "largest", "reasons")

    def __init__(self) -> None:
        self.gemm: Callable[[Array, Array, Array, float], bool] | None
        self.turn(os.environ.get(VARIABLE) != "0", f"{VARIABLE}=0")

    def turn(self, on: bool, reason: str) -> None:
        """Turn the libraries on, if they are there, or off for this reason."""
        self.is_on: bool | None = None if on else False
        self.gemm = self._first_product if on else None
        self.largest: float = math.inf
        self.reasons = {} if on else {"numba": reason, "MKL": reason}

    def finds_numba(self) -> bool:
        """Whether functions can be compiled."""
        if self.is_on is None:
            try:
                required("numba", "compiled steps need")
                self.is_on = True
            except Exception as error:  # also a numba that does not know this NumPy yet
                self.is_on, self.gemm = False, None
                self.reasons = dict.fromkeys(("numba", "MKL"), _why(error))
        return self.is_on

    def finds_mkl(self) -> bool:
        """Whether MKL computes products."""
        if self.gemm == self._first_product:
            self.gemm = None
            if self.finds_numba():
                threads = blas_threads()
                self.largest = math.inf if threads == 1 else WORK_OF_ONE_THREAD
                try:
                    if "mkl" in blas_name().lower():
                        raise ImportError("NumPy's own BLAS is MKL")
                    self.gemm = _compiled_gemm()
                except Exception as error:
                    self.reasons["MKL"] = _why(error)
        return self.gemm is not None

    def _first_product(self, left: Array, right: Array, out: Array, kept: float) -> bool:
        self.finds_mkl()
        is_small = left.size * right.shape[1] <= self.largest
        return self.gemm is not None and is_small and self.gemm(left, right, out, kept)


def _why(error: Exception) -> str:
    text = str(error.__cause__ or error).splitlines()[0] if str(error) else ""
    return getattr(error, "hint", None) or f"{type(error).__name__}: {text}"


SWITCH = _Switch()


class use_fast:  # noqa: N801, a function that is also a context
    """Turn the libraries of the extra `fast` on or off, for the whole program.

    As a context, ``with use_fast(False):``, it is undone at the end.

    Parameters
    ----------
    on
        Whether to use them.

    Raises
    ------
    MissingExtraError
        If they should be used, and numba or MKL is not installed.

    Examples
    --------
    >>> with use_fast(False):
    ...     show_config()  # doctest: +ELLIPSIS
    chainrule ...
    fast      off: use_fast(False)
    """

    def __init__(self, on: bool = True) -> None:
        self._before = {name: getattr(SWITCH, name) for name in SWITCH.__slots__}
        if on:
            required("numba", "use_fast needs")
            mkl.library()
        SWITCH.turn(on, "use_fast(False)")

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        for name, value in self._before.items():
            setattr(SWITCH, name, value)


def matrix_product(
    left: Array, right: Array, out: Array | None = None, plain: Callable[..., Any] = np.dot
) -> Array:
    """The product of two matrices, or whatever ``plain`` makes of other arguments.

    Parameters
    ----------
    left, right
        Matrices for MKL; anything else goes to ``plain``, and so do small products.
    out
        Where to write it.
    plain
        The function of NumPy that is called without MKL.
    """
    gemm = SWITCH.gemm
    if gemm is not None and type(left) is type(right) is np.ndarray and left.ndim == right.ndim == 2:
        dtype, columns = left.dtype, right.shape[1]
        work = left.size * columns
        if columns >= LEAST_COLUMNS and LEAST_WORK <= work <= SWITCH.largest and dtype.char in "fd":
            target = np.empty((len(left), columns), dtype) if out is None else out
            try:
                if gemm(left, right, target, 0.0):
                    return target
            except TypeError:
                pass  # other types, or an out that is read-only: NumPy converts or raises
    return plain(left, right) if out is None else plain(left, right, out=out)


def multiplies_fast(dtype: Any) -> bool:
    """Whether MKL computes all large products of this type, so that a copy for them pays."""
    return dtype.char in "fd" and SWITCH.finds_mkl() and SWITCH.largest == math.inf


def runs(function: Callable[..., None], *arguments: Any) -> bool:
    """Run a function compiled; False if NumPy has to do it. See `accelerated`."""
    fast = accelerated(function, *arguments[:2])
    if fast is None:
        return False
    fast(*arguments)
    return True


def accelerated(
    function: Callable[..., None], first: Array, second: Array
) -> Callable[..., None] | None:
    """The compiled function for two arrays of float32 or float64; None if NumPy has to do it."""
    if SWITCH.is_on is False:
        return None
    is_plain = type(first) is type(second) is np.ndarray and first.dtype.char in "fd"
    return compiled(function) if is_plain and SWITCH.finds_numba() else None


@functools.cache
def _compiled_gemm() -> Callable[..., bool]:
    return compiled(mkl.gemm, mkl.signatures(), mkl.symbols())


@functools.cache
def compiled_with_gemm(function: Callable[..., Any], *others: Callable[..., Any]) -> Callable[..., Any]:
    """A compiled function that calls `mkl.gemm` and other functions, by their names."""
    names = [(each.__name__, compiled(each)) for each in others]
    return compiled(function, None, (("gemm", _compiled_gemm()), *names))


@functools.cache
def compiled(
    function: Callable[..., Any], signatures: Any = None, names: tuple[Any, ...] = ()
) -> Callable[..., Any]:
    """A function compiled by numba: without fast-math, so in NumPy's arithmetic.

    Parameters
    ----------
    function
        The function, in the Python that numba can compile.
    signatures
        The types that it is compiled for; by default those it is called with.
    names
        Names that its code uses in addition, with their values.
    """
    import numba

    if names:
        function = type(function)(function.__code__, {**function.__globals__, **dict(names)})
    types = list(signatures) if signatures else None
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(types, cache=True, **options)(function)
    except RuntimeError:  # no folder for the cache can be written
        return numba.njit(types, **options)(function)


# ------------------------------------------------------------------------------- what is in use


def show_config() -> None:
    """Print the versions of everything that determines the numbers and the speed."""
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}"
    threads = blas_threads()
    print(f"chainrule {_version('chainrule')}, {versions}")
    print(f"BLAS      {blas_name()}, threads: {threads or 'unknown'}")
    steps, products = SWITCH.finds_numba(), SWITCH.finds_mkl()
    if not steps:
        print(f"fast      off: {SWITCH.reasons['numba']}")
        return
    print(f"fast      on: numba {_version('numba')} compiles the steps of optimizers")
    if not products:
        print(f"          no MKL: {SWITCH.reasons['MKL']}")
    elif threads == 1:
        print(f"          {mkl.version()} computes products of matrices")
    else:
        print(f"          {mkl.version()} computes small products of matrices, in one thread;")
        print("          all of them with OPENBLAS_NUM_THREADS=1")


def blas_in_use() -> str:
    """The BLAS that determines the last bits of products."""
    if not SWITCH.finds_mkl():
        return blas_name()
    return mkl.version() if SWITCH.largest == math.inf else f"{mkl.version()} and {blas_name()}"


def blas_name() -> str:
    """The BLAS that NumPy was built with, and its version."""
    config: Any = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def blas_threads() -> int | None:
    """How many threads NumPy's BLAS may use; None if it does not say."""
    import ctypes

    names = [f"{p}openblas_get_num_threads{s}" for p in ("scipy_", "") for s in ("64_", "")]
    try:
        library = ctypes.CDLL(sys.modules["numpy._core._multiarray_umath"].__file__)
    except (OSError, KeyError):
        return None
    found = [getattr(library, name) for name in [*names, "MKL_Get_Max_Threads"] if hasattr(library, name)]
    return int(found[0]()) if found else None


def _version(module: str) -> str:
    return str(getattr(importlib.import_module(module), "__version__", "?"))
