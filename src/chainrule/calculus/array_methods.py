"""The methods of an array, for objects that NumPy dispatches to.

NumPy asks such an object before it calls one of its functions (NEP 13 and 18), so most methods of
an array are the function of the same name: ``x.sum(axis=1)`` is ``np.sum(x, axis=1)``. A subclass
has ``shape``, ``dtype``, ``__getitem__`` and ``__setitem__``, and handles the functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np


def method(function: Callable[..., Any]) -> Callable[..., Any]:
    """A NumPy function as a method of its first argument."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    call.__doc__ = f"``numpy.{function.__name__}`` of this array."
    return call


class ArrayMethods(np.lib.mixins.NDArrayOperatorsMixin):
    """Operators, properties and methods that are NumPy functions under another name."""

    __slots__ = ()

    if TYPE_CHECKING:
        shape: Any
        dtype: Any
        __array__: Any

        def __getitem__(self, index: Any) -> Any: ...
        def __setitem__(self, index: Any, item: Any) -> None: ...

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of entries."""
        return int(math.prod(self.shape))

    @property
    def itemsize(self) -> int:
        """Bytes for one entry."""
        return int(self.dtype.itemsize)

    @property
    def nbytes(self) -> int:
        """Bytes for all entries."""
        return self.size * self.itemsize

    @property
    def mT(self: Any) -> Any:  # noqa: N802  (NumPy's name)
        """The last two axes exchanged."""
        return np.matrix_transpose(self)

    @property
    def real(self) -> Any:
        """The real part, a view."""
        return np.real(self)

    @real.setter
    def real(self, item: Any) -> None:
        np.real(self)[...] = item

    @property
    def imag(self) -> Any:
        """The imaginary part, a view; of a real array zeros."""
        return np.imag(self)

    @imag.setter
    def imag(self, item: Any) -> None:
        np.imag(self)[...] = item

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __contains__(self, item: Any) -> bool:
        return bool(np.any(self == item))

    def fill(self, item: Any) -> None:
        """Write one number everywhere."""
        self[...] = item

    all = method(np.all)
    any = method(np.any)
    argmax = method(np.argmax)
    argmin = method(np.argmin)
    argsort = method(np.argsort)
    conj = method(np.conjugate)
    conjugate = method(np.conjugate)
    cumprod = method(np.cumprod)
    cumsum = method(np.cumsum)
    diagonal = method(np.diagonal)
    dot = method(np.dot)
    max = method(np.max)
    mean = method(np.mean)
    min = method(np.min)
    nonzero = method(np.nonzero)
    prod = method(np.prod)
    ravel = method(np.ravel)
    repeat = method(np.repeat)
    round = method(np.round)
    searchsorted = method(np.searchsorted)
    squeeze = method(np.squeeze)
    std = method(np.std)
    sum = method(np.sum)
    swapaxes = method(np.swapaxes)
    take = method(np.take)
    trace = method(np.trace)
    var = method(np.var)

    def reshape(self: Any, *shape: Any, **options: Any) -> Any:
        """``numpy.reshape``, with the shape as one tuple or as several numbers."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, **options)

    def transpose(self: Any, *axes: Any) -> Any:
        """``numpy.transpose``, with the axes as one tuple or as several numbers."""
        return np.transpose(self, axes[0] if len(axes) == 1 else axes or None)

    def clip(self: Any, min: Any = None, max: Any = None, **options: Any) -> Any:
        """``numpy.clip`` between ``min`` and ``max``."""
        return np.clip(self, min, max, **options)

    def compress(self: Any, condition: Any, axis: int | None = None) -> Any:
        """``numpy.compress``: the entries where the condition holds."""
        return np.compress(condition, self, axis)

    def copy(self: Any, order: Any = "C") -> Any:
        """A copy."""
        return np.copy(self, order)

    __copy__ = copy

    def __round__(self: Any, digits: int | None = None) -> Any:
        return np.round(self, digits or 0)

    def __deepcopy__(self: Any, memo: dict[int, Any]) -> Any:
        return np.copy(self)

    def flatten(self: Any, order: Any = "C") -> Any:
        """A copy with a single axis."""
        return np.copy(np.ravel(self, order))
