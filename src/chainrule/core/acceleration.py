"""Acceleration: two optional libraries that compute the same as NumPy, in less time.

    C = A B               products of matrices by MKL, the BLAS of Intel, in one thread
    θ, memory ← rule      the steps of optimizers, compiled by numba: all operations in one pass

They are used if they are installed, `pip install 'chainrule[fast]'`, and loaded when they are first
needed, which takes about half a second. `show_config` prints what is in use. `use_fast`, or the
environment variable ``CHAINRULE_FAST=0``, turns them off; then every number is NumPy's.

A compiled step has the operations of NumPy in the same order, so its results are the same bits. MKL
adds the terms of a product in another order than another BLAS, so its last bits differ.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from inspect import isfunction
from typing import Any

import numpy as np

from chainrule.core import mkl
from chainrule.core.extras import required
from chainrule.core.types import Array

VARIABLE = "CHAINRULE_FAST"

LEAST_WORK, LEAST_COLUMNS = 2**19, 8
"""Products with fewer multiplications, or fewer columns, stay with NumPy, which is faster there."""

FEW = 4096
"""With at most so many numbers in the first matrix, layers call `np.dot` and do not even ask."""


class _Libraries:
    """What is in use; there is one for the program.

    Attributes
    ----------
    compiles
        Whether loops are compiled; None until the first one, or the first large product.
    gemm
        `mkl.gemm`, compiled; None if there is no MKL. Convolutions use it wherever it is.
    dot
        The product that layers call: `np.dot`, or `matrix_product` if MKL may be faster.
    reason
        Why something is not used.
    """

    __slots__ = ("compiles", "dot", "gemm", "reason")

    def __init__(self) -> None:
        self.turn(os.environ.get(VARIABLE) != "0", f"{VARIABLE}=0")

    def turn(self, on: bool, reason: str) -> None:
        """Turn the libraries on, where they are installed, or off for this reason."""
        self.reason = reason
        self.compiles: bool | None = None if on else False
        self.gemm: Callable[..., bool] | None = None
        self.dot: Callable[..., Any] = matrix_product if on else np.dot

    def loaded(self) -> _Libraries:
        """The same, after it was found out what there is."""
        if self.compiles is None:
            compiles = False
            dot: Callable[..., Any] = np.dot
            try:
                required("numba", "compiled functions need")
                compiles = True
                require_one_thread()
                self.gemm = compiled(mkl.gemm)
                if not processor().startswith("znver"):  # on AMD's, NumPy's BLAS is faster
                    dot = self.dot
            except Exception as error:  # also of a numba that does not know this NumPy yet
                self.reason = _reason(error)
            self.dot, self.compiles = dot, compiles  # last: another thread may multiply meanwhile
        return self


def require_one_thread() -> None:
    """MKL is faster than another BLAS in one thread, but not than one with several."""
    if "mkl" in blas_name().lower():
        raise ImportError("NumPy's own BLAS is MKL")
    threads = blas_threads()
    if threads != 1:
        said = f"NumPy's BLAS has {threads or 'an unknown number of'} threads"
        raise ImportError(f"{said}; with one, by OPENBLAS_NUM_THREADS=1, MKL is used")


def _reason(error: Exception) -> str:
    if isinstance(error.__cause__, ModuleNotFoundError):
        return f"numba is not installed: {getattr(error, 'hint', '')}"
    cause = error.__cause__ or error
    return (str(cause).splitlines() or [type(cause).__name__])[0]


class use_fast:  # noqa: N801, a function that is also a context
    """Turn the libraries of the extra `fast` on or off, for the whole program.

    As a context, ``with use_fast(False):``, it holds inside.

    Parameters
    ----------
    on
        Whether to use them.

    Raises
    ------
    MissingExtraError
        They should be used, and numba is not installed.

    Examples
    --------
    >>> with use_fast(False):
    ...     show_config()  # doctest: +ELLIPSIS
    chainrule ...
    fast: off, use_fast(False)
    """

    def __init__(self, on: bool = True) -> None:
        self._before = {name: getattr(IN_USE, name) for name in IN_USE.__slots__}
        if on:
            required("numba", "use_fast needs")
        IN_USE.turn(on, "use_fast(False)")

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        for name, value in self._before.items():
            setattr(IN_USE, name, value)


# ------------------------------------------------------------------------------- computing


def matrix_product(
    left: Array, right: Array, out: Array | None = None, plain: Callable[..., Any] = np.dot
) -> Array:
    """The product of two matrices, by MKL if it is in use.

    Parameters
    ----------
    left, right
        Matrices. Whatever MKL does not compute goes to ``plain``: small matrices, arrays of other
        types or with other numbers of axes, dual numbers.
    out
        Where to write it.
    plain
        The function of NumPy that computes it otherwise.
    """
    if type(left) is type(right) is np.ndarray and left.ndim == right.ndim == 2:
        columns = right.shape[1]
        if left.size * columns >= LEAST_WORK and columns >= LEAST_COLUMNS:
            product = _product_of_mkl(left, right, out)
            if product is not None:
                return product
    return plain(left, right) if out is None else plain(left, right, out=out)


def _product_of_mkl(left: Array, right: Array, out: Array | None) -> Array | None:
    gemm = gemm_for(left.dtype)
    if gemm is None or IN_USE.dot is np.dot:
        return None
    if out is None:
        out = np.empty((len(left), right.shape[1]), left.dtype)
    elif np.may_share_memory(left, out) or np.may_share_memory(right, out):
        return None  # NumPy makes a copy first
    try:
        return out if gemm(left, right, out, 0.0) else None
    except (TypeError, ValueError):  # types that differ, or an out that is read-only
        return None


def gemm_for(dtype: np.dtype[Any]) -> Callable[..., bool] | None:
    """`mkl.gemm`, if it is in use and computes products of this type."""
    return IN_USE.loaded().gemm if _is_native(dtype) else None


def _is_native(dtype: np.dtype[Any]) -> bool:
    """Whether it is float32 or float64, in the byte order of the processor."""
    return dtype.char in "fd" and dtype.isnative


IN_USE = _Libraries()


def loop(function: Callable[..., None]) -> Callable[..., bool]:
    """A decorator: the function runs compiled, or not at all; it returns whether it did.

    It does not if numba is not in use, or the first two arguments are not arrays of float32 or
    float64. Then NumPy has to do the same.
    """

    @functools.wraps(function)
    def run(first: Array, second: Array, *others: Any) -> bool:
        if IN_USE.compiles is False or not type(first) is type(second) is np.ndarray:
            return False
        if not _is_native(first.dtype) or not (IN_USE.compiles or IN_USE.loaded().compiles):
            return False
        compiled(function)(first, second, *others)
        return True

    return run


@functools.cache
def compiled(function: Any) -> Callable[..., Any]:
    """A function compiled by numba, and the functions that it calls.

    This is without fast-math, so in NumPy's arithmetic. The result is kept in a cache on the disk.
    numba compiles again if the file of a function has changed, but not if that of a function that
    it calls has: after a change of `mkl`, delete src/chainrule/layers/__pycache__.
    """
    import numba

    is_gemm = function is mkl.gemm
    names: dict[str, Any] = mkl.symbols() if is_gemm else {}
    for name in function.__code__.co_names:
        called = function.__globals__.get(name)
        if isfunction(called) and name not in names:
            names[name] = compiled(called)
    function = type(function)(function.__code__, {**function.__globals__, **names})
    signatures = list(mkl.signatures()) if is_gemm else None
    options = {"nogil": True, "error_model": "numpy"}
    try:
        fast: Callable[..., Any] = numba.njit(signatures, cache=True, **options)(function)
    except RuntimeError:  # there is no folder for the cache that can be written
        fast = numba.njit(signatures, **options)(function)
    return fast


# ------------------------------------------------------------------------------- what is in use


def show_config() -> None:
    """Print the versions of all that determines the numbers and the speed, and what is in use.

    See Also
    --------
    numpy.show_config : how NumPy was built.
    """
    import platform

    threads = blas_threads()
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}"
    print(f"chainrule {sys.modules['chainrule'].__version__}, {versions}")
    print(f"BLAS of NumPy: {blas_name()}, threads: {threads or 'unknown'}")
    if not IN_USE.loaded().compiles:
        print(f"fast: off, {IN_USE.reason}")
        return
    import numba

    print(f"fast: on, numba {numba.__version__} compiles the steps of optimizers and LSTMs")
    products = f"without MKL: {IN_USE.reason}"
    if IN_USE.gemm is not None:
        what = "convolutions" if IN_USE.dot is np.dot else "products of matrices"
        products = f"{mkl.version()} computes {what}"
    print(f"      {products}")


def blas_in_use() -> str:
    """The BLAS that determines the last bits of products, with its version."""
    return blas_name() if IN_USE.loaded().gemm is None else mkl.version()


def processor() -> str:
    """The family of processors, such as ``"sapphirerapids"``, or ``"znver4"`` of AMD."""
    import llvmlite.binding

    name: str = llvmlite.binding.get_host_cpu_name()
    return name


def blas_name() -> str:
    """The BLAS that NumPy was built with, and its version."""
    config: Any = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def blas_threads() -> int | None:
    """How many threads NumPy's BLAS may use; None if this is not known."""
    import ctypes

    names = [f"{a}openblas_get_num_threads{b}" for a in ("scipy_", "") for b in ("64_", "")]
    try:  # a search in NumPy's module also finds the functions of the libraries that it needs
        library = ctypes.CDLL(sys.modules["numpy._core._multiarray_umath"].__file__)
    except (OSError, KeyError):
        library = None
    found = [getattr(library, name) for name in names if hasattr(library, name)]
    declared = os.environ.get("OPENBLAS_NUM_THREADS", "")
    return int(found[0]()) if found else int(declared) if declared.isdecimal() else None
