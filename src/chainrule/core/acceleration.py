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
from typing import Any

import numpy as np

from chainrule.core.types import Array

VARIABLE = "CHAINRULE_FAST"

LEAST_WORK, LEAST_COLUMNS = 2**19, 8
"""Products with fewer multiplications, or fewer columns, stay with NumPy, which is faster there."""


class _Libraries:
    """What is in use; there is one for the program.

    Attributes
    ----------
    is_on
        Whether functions are compiled; None until the first one.
    dot
        The product that layers call: `np.dot`, or `matrix_product` if `gemm` is not None.
    gemm
        `mkl.gemm`, compiled; None if NumPy computes all products.
    reasons
        Why a library is not used.
    """

    __slots__ = ("dot", "gemm", "is_on", "reasons")

    def __init__(self) -> None:
        self.turn(os.environ.get(VARIABLE) != "0", f"{VARIABLE}=0")

    def turn(self, on: bool, reason: str) -> None:
        """Turn the libraries on, where they are installed, or off for this reason."""
        self.is_on: bool | None = None if on else False
        self.multiply_by(self._first_product if on else None)
        self.reasons: dict[str, str] = {} if on else dict.fromkeys(("numba", "MKL"), reason)

    def multiply_by(self, gemm: Callable[..., bool] | None) -> None:
        """Use this function for products, or NumPy."""
        self.gemm = gemm
        self.dot: Callable[..., Any] = np.dot if gemm is None else matrix_product

    def finds_numba(self) -> bool:
        """Whether functions can be compiled."""
        if self.is_on is None:
            from chainrule.core.extras import required

            try:
                required("numba", "compiled functions need")
                self.is_on = True
            except Exception as error:  # also of a numba that does not know this NumPy yet
                self.is_on = False
                self.multiply_by(None)
                self.reasons = dict.fromkeys(("numba", "MKL"), _reason(error))
        return self.is_on

    def finds_mkl(self) -> bool:
        """Whether MKL computes products."""
        if self.gemm == self._first_product:
            gemm = None
            if self.finds_numba():
                try:
                    _require_one_thread()
                    gemm = compiled_gemm()
                except Exception as error:
                    self.reasons["MKL"] = _reason(error)
            self.multiply_by(gemm)
        return self.gemm is not None

    def _first_product(self, left: Array, right: Array, out: Array, kept: float) -> bool:
        return self.finds_mkl() and self.gemm is not None and self.gemm(left, right, out, kept)


def _require_one_thread() -> None:
    """MKL is faster than another BLAS in one thread, but not than one with several."""
    if "mkl" in blas_name().lower():
        raise ImportError("NumPy's own BLAS is MKL")
    threads = blas_threads()
    if threads != 1:
        said = f"NumPy's BLAS has {threads or 'an unknown number of'} threads"
        raise ImportError(f"{said}; with one, by OPENBLAS_NUM_THREADS=1, MKL is used")


def _reason(error: Exception) -> str:
    missing = isinstance(error.__cause__, ModuleNotFoundError)
    cause = error.__cause__ or error
    lines = str(cause).splitlines() or [type(cause).__name__]
    return f"numba is not installed: {getattr(error, 'hint', '')}" if missing else lines[0]


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
            from chainrule.core.extras import required

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
    gemm = IN_USE.gemm
    if type(left) is np.ndarray is type(right) and left.ndim == 2 == right.ndim:
        columns = right.shape[1]
        is_large = left.size * columns >= LEAST_WORK and columns >= LEAST_COLUMNS
        if is_large and gemm is not None and _is_native(left.dtype):
            target = np.empty((len(left), columns), left.dtype) if out is None else out
            try:
                if gemm(left, right, target, 0.0):
                    return target
            except (TypeError, ValueError):  # types that differ, or an out that is read-only
                pass
    return plain(left, right) if out is None else plain(left, right, out=out)


IN_USE = _Libraries()


def _is_native(dtype: np.dtype[Any]) -> bool:
    """Whether it is float32 or float64, in the byte order of the processor."""
    return dtype.char in "fd" and dtype.isnative


def multiplies_fast(dtype: np.dtype[Any]) -> bool:
    """Whether MKL computes products of this type, so that a copy for a large one pays."""
    return _is_native(dtype) and IN_USE.finds_mkl()


def accelerated(
    function: Callable[..., None], first: Array, second: Array
) -> Callable[..., None] | None:
    """The compiled function for two arrays of float32 or float64; None if NumPy has to do it."""
    if IN_USE.is_on is False:
        return None
    is_plain = type(first) is type(second) is np.ndarray and _is_native(first.dtype)
    return compiled(function) if is_plain and IN_USE.finds_numba() else None


def runs(function: Callable[..., None], *arguments: Any) -> bool:
    """Run a function compiled; False if NumPy has to do it. See `accelerated`."""
    fast = None if IN_USE.is_on is False else accelerated(function, *arguments[:2])
    if fast is None:
        return False
    fast(*arguments)
    return True


# ------------------------------------------------------------------------------- compiling


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function compiled by numba."""
    return _compiled(function, {})


@functools.cache
def compiled_gemm() -> Callable[..., bool]:
    """The product of MKL."""
    from chainrule.core import mkl

    names = {"layout": compiled(mkl.layout), "reach": compiled(mkl.reach), **mkl.symbols()}
    return _compiled(mkl.gemm, names, list(mkl.signatures()))


@functools.cache
def compiled_with_gemm(
    function: Callable[..., Any], *others: Callable[..., Any]
) -> Callable[..., Any]:
    """A compiled function that calls `mkl.gemm` and other functions by their names."""
    names = {each.__name__: compiled(each) for each in others}
    return _compiled(function, {"gemm": compiled_gemm(), **names})


def _compiled(function: Any, names: dict[str, Any], signatures: Any = None) -> Callable[..., Any]:
    """Compiled without fast-math, so in NumPy's arithmetic, and kept in a cache on the disk.

    numba compiles again if the file of a function has changed, but not if that of a function that
    it calls has: after a change of `mkl`, delete src/chainrule/layers/__pycache__.
    """
    import numba

    if names:
        function = type(function)(function.__code__, {**function.__globals__, **names})
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

    from chainrule.core import mkl

    threads = blas_threads()
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}"
    print(f"chainrule {sys.modules['chainrule'].__version__}, {versions}")
    print(f"BLAS of NumPy: {blas_name()}, threads: {threads or 'unknown'}")
    if not IN_USE.finds_numba():
        print(f"fast: off, {IN_USE.reasons['numba']}")
        return
    import numba

    print(f"fast: on, numba {numba.__version__} compiles the steps of optimizers and LSTMs")
    if not IN_USE.finds_mkl():
        print(f"      without MKL: {IN_USE.reasons['MKL']}")
    else:
        print(f"      {mkl.version()} computes products of matrices")


def blas_in_use() -> str:
    """The BLAS that determines the last bits of products, with its version."""
    from chainrule.core import mkl

    return mkl.version() if IN_USE.finds_mkl() else blas_name()


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
