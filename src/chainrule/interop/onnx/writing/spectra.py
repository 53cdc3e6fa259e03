"""Complex numbers and Fourier transforms: arrays of the graph in two parts.

    X = np.fft.rfft(x)        DFT            (a + ib)(c + id) = (ac − bd) + i (ad + bc)

ONNX has hardly any operation on complex numbers. So a complex array is a real and an imaginary one,
and what only moves or adds numbers acts on both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from chainrule.calculus.array_methods import ArrayMethods
from chainrule.calculus.array_rules import CREATING
from chainrule.calculus.messages import name_of
from chainrule.core.types import Shape
from chainrule.interop.onnx.writing.moving import reshaped
from chainrule.interop.onnx.writing.sizes import Size
from chainrule.interop.onnx.writing.traced import (
    Trace,
    Traced,
    as_traced,
    converted,
    new,
    no_counterpart,
    refused,
)

COMPLEX = {np.dtype(np.float32): np.dtype(np.complex64)}
"""The complex dtype of two real parts, if it is not complex128."""


class TracedComplex(ArrayMethods):
    """A complex array of the graph.

    Parameters
    ----------
    real, imag
        Its parts, of the same shape.
    """

    __slots__ = ("parts",)
    __array_priority__ = 3001.0
    has_values = False

    def __init__(self, real: Traced, imag: Traced) -> None:
        self.parts = real, imag

    @property
    def graph(self) -> Trace:
        """What the parts belong to."""
        return self.parts[0].graph

    @property
    def shape(self) -> Shape:
        """The length of every axis."""
        return self.parts[0].shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """complex64 or complex128."""
        return COMPLEX.get(self.parts[0].dtype, np.dtype(np.complex128))

    @property
    def T(self) -> Any:  # noqa: N802  (NumPy's name)
        """The axes in reverse order."""
        return np.transpose(self)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """NumPy calls this instead of a ufunc (NEP 13)."""
        out = options.pop("out", None)
        if method != "__call__" or options:
            raise no_counterpart(self.graph, f"{name_of(ufunc)} of complex numbers")
        result = call_complex(self.graph, ufunc, inputs)
        if out is None:
            return result
        (target,) = out if isinstance(out, tuple) else (out,)
        target[...] = result
        return target

    def __array_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """NumPy calls this instead of any other function (NEP 18)."""
        rule = OF_COMPLEX.get(function)
        if rule is not None:
            return rule(self.graph, *args, **kwargs)
        if function in CREATING:
            return self.graph.rules.create(self.graph, function, args, dict(kwargs))
        if function not in LINEAR:
            raise no_counterpart(self.graph, f"{name_of(function)} of complex numbers")
        return _of_parts(function, args, kwargs)

    def __getitem__(self, index: Any) -> Any:
        return TracedComplex(*(part[index] for part in self.parts))

    def __setitem__(self, index: Any, item: Any) -> None:
        for part, value in zip(self.parts, _two_parts(self.graph, item), strict=True):
            part[index] = value

    def __array__(self, *args: Any, **options: Any) -> NoReturn:
        raise refused(self.graph, "np.asarray of complex numbers", "np.* on the arrays themselves")

    def astype(self, dtype: Any, **options: Any) -> Any:
        """The numbers in another dtype."""
        dtype = np.dtype(dtype)
        if dtype.kind != "c":
            return self.parts[0].astype(dtype)
        real = np.dtype(np.float32 if dtype == np.complex64 else np.float64)
        return TracedComplex(*(part.astype(real) for part in self.parts))


def _in_place(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    def call(self: TracedComplex, other: Any) -> Any:
        self[...] = ufunc(self, other)
        return self

    return call


for _name, _ufunc in {
    "__iadd__": np.add, "__isub__": np.subtract, "__imul__": np.multiply, "__itruediv__": np.divide,
}.items():  # fmt: skip
    setattr(TracedComplex, _name, _in_place(_ufunc))


# ------------------------------------------------------------------------------- parts


def _two_parts(trace: Trace, x: Any) -> tuple[Any, Any]:
    """The real and the imaginary part; 0 is the imaginary part of real numbers."""
    if isinstance(x, TracedComplex):
        return x.parts
    if isinstance(x, Traced):
        return x, 0
    if isinstance(x, complex | np.complexfloating):
        return x.real, x.imag
    array = np.asarray(x)
    return (array.real.copy(), array.imag.copy()) if array.dtype.kind == "c" else (x, 0)


def complex_of(trace: Trace, real: Any, imag: Any) -> TracedComplex:
    """The array of two parts, one of which may be a number or have fewer axes."""
    model = real if isinstance(real, Traced) else imag
    shape = np.broadcast_shapes(*(tuple(map(int, np.shape(x))) for x in (real, imag)))
    sizes = next((x.shape for x in (real, imag) if np.shape(x) == shape), model.shape)
    parts = (trace.rules.fitted(trace, x, sizes, model.dtype) for x in (real, imag))
    return TracedComplex(*parts)


def _of_parts(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """A function that moves or adds numbers, of both parts."""

    def part(x: Any, number: int) -> Any:
        if isinstance(x, TracedComplex):
            return x.parts[number]
        if isinstance(x, Traced):
            return x if number == 0 else np.zeros_like(x)
        if isinstance(x, np.ndarray) and x.dtype.kind == "c":
            return np.ascontiguousarray(x.real if number == 0 else x.imag)
        if isinstance(x, list | tuple) and any(hasattr(item, "dtype") for item in x):
            return type(x)([part(item, number) for item in x])
        return x

    def option(name: str, value: Any, number: int) -> Any:
        is_filled = name == "constant_values"  # with numbers that have two parts, too
        return (np.real, np.imag)[number](value) if is_filled else part(value, number)

    real, imag = (
        function(*(part(x, n) for x in args), **{k: option(k, v, n) for k, v in kwargs.items()})
        for n in range(2)
    )
    if isinstance(real, list | tuple):
        return [TracedComplex(*pair) for pair in zip(real, imag, strict=True)]
    return TracedComplex(real, imag)


LINEAR = frozenset(
    (
        np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis, np.expand_dims, np.squeeze,
        np.broadcast_to, np.concatenate, np.stack, np.split, np.array_split, np.tile, np.repeat,
        np.flip, np.roll, np.pad, np.take, np.sum, np.mean, np.cumsum, np.copy, np.zeros_like,
        np.empty_like, np.diff,
    )
)  # fmt: skip
"""Functions that act on the real and the imaginary part alike."""


# ------------------------------------------------------------------------------- arithmetic


def call_complex(trace: Trace, ufunc: np.ufunc, inputs: Sequence[Any]) -> Any:
    """A ufunc of complex numbers, or of real and complex ones."""
    rule = ARITHMETIC.get(ufunc)
    if rule is None:
        raise no_counterpart(trace, f"{name_of(ufunc)} of complex numbers")
    return rule(trace, *(_two_parts(trace, x) for x in inputs))


def _is_real(part: Any) -> bool:
    return type(part) is int and part == 0


def _sum(trace: Trace, x: Any, y: Any) -> Any:
    return complex_of(trace, np.add(x[0], y[0]), np.add(x[1], y[1]))


def _difference(trace: Trace, x: Any, y: Any) -> Any:
    return complex_of(trace, np.subtract(x[0], y[0]), np.subtract(x[1], y[1]))


def _product(by: np.ufunc) -> Callable[..., Any]:
    def rule(trace: Trace, x: Any, y: Any) -> Any:
        (a, b), (c, d) = x, y
        if _is_real(b):
            return complex_of(trace, by(a, c), by(a, d))
        if _is_real(d):
            return complex_of(trace, by(a, c), by(b, c))
        return complex_of(trace, by(a, c) - by(b, d), by(a, d) + by(b, c))

    return rule


def _quotient(trace: Trace, x: Any, y: Any) -> Any:
    (a, b), (c, d) = x, y
    if _is_real(d):
        return complex_of(trace, a / c, b / c)
    square = c * c + d * d
    return complex_of(trace, (a * c + b * d) / square, (b * c - a * d) / square)


ARITHMETIC: Mapping[np.ufunc, Callable[..., Any]] = {
    np.add: _sum,
    np.subtract: _difference,
    np.multiply: _product(np.multiply),
    np.matmul: _product(np.matmul),
    np.divide: _quotient,
    np.negative: lambda trace, x: complex_of(trace, -x[0], -x[1]),
    np.positive: lambda trace, x: complex_of(trace, +x[0], +x[1]),
    np.conjugate: lambda trace, x: complex_of(trace, +x[0], -x[1]),
    np.absolute: lambda trace, x: np.hypot(x[0], x[1]),
    np.square: lambda trace, x: _product(np.multiply)(trace, x, x),
    np.exp: lambda trace, x: complex_of(
        trace, np.exp(x[0]) * np.cos(x[1]), np.exp(x[0]) * np.sin(x[1])
    ),
}
"""Arithmetic of pairs of parts."""


def concatenate_complex(trace: Trace, arrays: Sequence[Any], axis: int | None) -> Any:
    """``np.concatenate`` of real and complex arrays."""
    return _of_parts(np.concatenate, (list(arrays),), {"axis": axis})


# ------------------------------------------------------------------------------- transforms


LARGEST_MATRIX = 512
"""Up to this length a transform is a product with a matrix."""


def _is_fast(n: int) -> bool:
    """Whether the node of the transform is used: programs are exact for powers of 2 alone."""
    return isinstance(n, Size) or (n > LARGEST_MATRIX and n & (n - 1) == 0)


def _dft(trace: Trace, x: Any, axis: int, *, inverse: bool = False) -> Any:
    """The discrete Fourier transform along an axis, (…, n, …)."""
    axis = int(axis) % np.ndim(x)
    n = x.shape[axis]
    if not _is_fast(n):
        turns = np.outer(np.arange(n), np.arange(n)) % n / n
        waves = np.exp((2j if inverse else -2j) * np.pi * turns) / (n if inverse else 1)
        matrix = waves.astype(np.result_type(x.dtype, np.complex64))
        return np.moveaxis(np.matmul(np.moveaxis(x, axis, -1), matrix), -1, axis)
    parts = [np.expand_dims(p, -1) for p in (x.parts if isinstance(x, TracedComplex) else (x,))]
    pair = np.concatenate(parts, axis=-1) if len(parts) == 2 else parts[0]
    place = trace.writer.constant(np.array(axis, np.int64))
    inputs = [pair, "", place]
    shape = (*x.shape, 2)
    options = {"inverse": 1} if inverse else {}
    both = new(trace, "DFT", inputs, shape, pair.dtype, **options)
    return TracedComplex(*(reshaped(both[..., n : n + 1], x.shape) for n in range(2)))


def _resized(x: Any, n: Any, axis: int) -> Any:
    """An axis cut, or filled with zeros at its end, to a length of n."""
    if n is None or int(n) == int(x.shape[axis]):
        return x
    before = (slice(None),) * (axis % len(x.shape))
    if int(n) < int(x.shape[axis]):
        return x[(*before, slice(0, n))]
    shape = list(x.shape)
    shape[axis] = n - x.shape[axis]
    return np.concatenate([x, np.zeros_like(x, shape=tuple(shape))], axis=axis)


def _scaled(x: Any, n: int, norm: str | None, *, inverse: bool) -> Any:
    """The factor of the norm; without one, the inverse alone has 1/n."""
    power = {None: 0, "backward": 0, "ortho": 0.5, "forward": 1}[norm]
    if not power:
        return x
    root = np.sqrt(float(int(n))) if power == 0.5 else float(int(n))
    return x * root if inverse else x * (1 / root)


def _fft(
    trace: Trace, a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None
) -> Any:
    x = _resized(a, n, axis)
    return _scaled(_dft(trace, x, axis), x.shape[axis], norm, inverse=False)


def _ifft(
    trace: Trace, a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None
) -> Any:
    x = _resized(a, n, axis)
    return _scaled(_dft(trace, x, axis, inverse=True), x.shape[axis], norm, inverse=True)


def _rfft(
    trace: Trace, a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None
) -> Any:
    x = _resized(a, n, axis)
    count = x.shape[axis]
    before = (slice(None),) * (int(axis) % x.ndim)
    half = _dft(trace, x, axis)[(*before, slice(0, count // 2 + 1))]
    return _scaled(half, count, norm, inverse=False)


def _irfft(
    trace: Trace, a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None
) -> Any:
    """Of the whole spectrum: the negative frequencies are the conjugates of the positive ones."""
    axis = int(axis) % np.ndim(a)
    n = 2 * (a.shape[axis] - 1) if n is None else n
    if isinstance(n, Size):
        raise refused(
            trace, "np.fft.irfft along an axis of open size", "build the model for a fixed size"
        )
    half = _resized(a, n // 2 + 1, axis)
    before = (slice(None),) * axis
    mirrored = np.conjugate(np.flip(half[(*before, slice(1, (n + 1) // 2))], axis))
    whole = np.concatenate([half, mirrored], axis=axis)
    return np.real(_ifft(trace, whole, None, axis, norm))


def _along_each(one: Callable[..., Any], last: Callable[..., Any] | None = None) -> Any:
    """The transform along several axes, one after the other."""

    def rule(
        trace: Trace, a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None
    ) -> Any:
        default = range(-len(s), 0) if s is not None else range(-np.ndim(a), 0)
        places = list(default if axes is None else axes)
        sizes = [None] * len(places) if s is None else list(s)
        pairs = list(zip(places, sizes, strict=True))
        if last is _rfft:
            a = _rfft(trace, a, pairs[-1][1], pairs[-1][0], norm)
            pairs = pairs[:-1]
        for axis, n in pairs[:-1] if last is _irfft else pairs:
            a = one(trace, a, n, axis, norm)
        return _irfft(trace, a, pairs[-1][1], pairs[-1][0], norm) if last is _irfft else a

    return rule


def _in_two(rule: Any) -> Any:
    return lambda trace, a, s=None, axes=(-2, -1), norm=None, out=None: rule(
        trace, a, s, axes, norm
    )


_fftn, _ifftn = _along_each(_fft), _along_each(_ifft)
_rfftn, _irfftn = _along_each(_fft, _rfft), _along_each(_ifft, _irfft)

FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.fft.fft: _fft,
    np.fft.ifft: _ifft,
    np.fft.rfft: _rfft,
    np.fft.irfft: _irfft,
    np.fft.fftn: _fftn,
    np.fft.ifftn: _ifftn,
    np.fft.rfftn: _rfftn,
    np.fft.irfftn: _irfftn,
    np.fft.fft2: _in_two(_fftn),
    np.fft.ifft2: _in_two(_ifftn),
    np.fft.rfft2: _in_two(_rfftn),
    np.fft.irfft2: _in_two(_irfftn),
}
"""The transforms, by the function."""


def _angle(trace: Trace, z: Any, deg: bool = False) -> Any:
    angle = np.arctan2(z.parts[1], z.parts[0])
    return np.degrees(angle) if deg else angle


OF_COMPLEX: dict[Any, Callable[..., Any]] = {
    **FUNCTIONS,
    np.real: lambda trace, val: converted(val.parts[0], val.parts[0].dtype),
    np.imag: lambda trace, val: converted(val.parts[1], val.parts[1].dtype),
    np.angle: _angle,
    np.shape: lambda trace, a: a.shape,
    np.ndim: lambda trace, a: len(a.shape),
    np.size: lambda trace, a: a.parts[0].size,
    np.iscomplexobj: lambda trace, x: True,
    np.isrealobj: lambda trace, x: False,
    np.result_type: lambda trace, *given: given[0].dtype,
}
"""Functions of complex arrays that do not act on both parts alike."""

__all__ = ["FUNCTIONS", "TracedComplex", "as_traced", "call_complex", "concatenate_complex"]
