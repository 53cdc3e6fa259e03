"""Functions of NumPy through the tracer: the file computes what NumPy computes."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from chainrule import errors
from chainrule.core.layer import Layer
from interop.onnx_files import assert_computes, kinds, model_proto, reference, run, runs_double

pytestmark = pytest.mark.edges


class Computes(Layer):
    """What a function of an array computes."""

    def __init__(self, function):
        self.__attrs_init__()
        self.__dict__["function"] = function

    def forward(self, x):
        return self.__dict__["function"](x).astype(x.dtype)

    def backward(self, delta):
        return delta


class Typed(Computes):
    """The same, in the type in which NumPy computes it."""

    def forward(self, x):
        return self.__dict__["function"](x)


def written(function):
    """An array of zeros into which a function writes."""

    def compute(x):
        y = np.zeros_like(x)
        function(y, x)
        return y

    return compute


def put_parts(y, x):
    y[:, 1:3] = x[:, :2]
    y[:, 3] += x[:, 0]
    y[0::1] *= 2
    y[:, ::2] -= 1


def put_in_views(y, x):
    view = y.T
    view[0] = x[:, 1]
    part = y[:, 2:]
    part += x[:, 2:]
    part[:, 0] *= 3.0
    flat = y.reshape(-1)
    flat += 1
    y[:, 1] -= view[3]  # as it is now


def put_where(y, x):
    y[x > 0] = 7.0
    y[:, np.array([2, 0])] = x[:, :2]


def put_numbers(y, x):
    """NumPy's numbers are not changed in place: += makes another one."""
    total = np.max(np.abs(x), initial=0) * 0
    shifted = total
    shifted += 1
    y += total + shifted
    row = np.zeros_like(x, shape=(3,))
    row[1] = 5.0
    entry = row[1]
    entry += 1
    y += row.sum()


def put_out(y, x):
    np.multiply(x, 2, out=y)
    np.add(y, 1, out=y[:, :])
    np.exp(x[:, 1], out=y[:, 1])


def put_steps(y, x):
    y[:, 1::2] = x[:, :2]
    y[:, 3:0:-2] += x[:, 2:]
    y[x[:, 0] > 0] = 3
    y[:, np.array([[3, 0], [1, 2]])] *= x.reshape(-1, 2, 2)


def fancy(x):
    return x[:, np.array([3, 1, 1])]


ELEMENTWISE = [
    "exp", "log1p", "expm1", "sqrt", "square", "sin", "cos", "tan", "arctan", "sinh", "tanh",
    "arcsinh", "floor", "ceil", "trunc", "rint", "sign", "abs", "negative", "reciprocal", "log",
    "log2", "log10", "exp2", "cbrt", "deg2rad", "degrees", "positive", "nan_to_num", "round", "fix",
]  # fmt: skip
OF_POSITIVE = {"sqrt", "log", "log2", "log10", "reciprocal", "log1p"}


def of_numpy(name, x):
    """A function of NumPy where it is real."""
    return getattr(np, name)(np.abs(x) + 0.5 if name in OF_POSITIVE else x)


FUNCTIONS = {
    **{name: functools.partial(of_numpy, name) for name in ELEMENTWISE},
    "power": lambda x: np.abs(x) ** 1.5 + x**2 + x**3 + np.abs(x) ** 0.5 + (x * x + 1) ** -1,
    "maximum": lambda x: np.maximum(x, 0) + np.minimum(x, x[:, :1]),
    "clip": lambda x: np.clip(x, -0.5, 0.5) + np.clip(x, None, 0) + np.clip(x, 0.1, None),
    "where": lambda x: np.where(x > 0, x, 0.1 * x),
    "comparisons": lambda x: ((x > 0) & (x < 1) | (x == 0) | ~(x != 2)).astype(x.dtype),
    "logical": lambda x: np.logical_xor(x > 0, x[:, :1] > 0) * x,
    "heaviside": lambda x: np.heaviside(x, 0.5),
    "logaddexp": lambda x: np.logaddexp(x, 0.3),
    "hypot": lambda x: np.hypot(x, 2 * x),
    "hypot of large numbers": lambda x: np.hypot(x * 1e30, x[:, ::-1] * 1e29),
    "modulus of large numbers": lambda x: np.abs(x * 1e30 + 1j * (x[:, ::-1] * 1e29)),
    "hypot of nothing": lambda x: np.hypot(x * 0, x * 0),
    "complex numbers in a frame": lambda x: np.abs(
        np.pad(x + 1j * x, ((0, 0), (1, 1)), constant_values=2.0)
    ),
    "complex numbers in a complex frame": lambda x: np.abs(
        np.pad(x + 1j * x, ((0, 0), (1, 2)), constant_values=1.0 + 3j)
    ),
    "arctan2": lambda x: np.arctan2(x, x[:, ::-1]),
    "remainder": lambda x: x % 0.7 + x // 0.7,
    "isfinite": lambda x: np.where(np.isfinite(x) & ~np.isnan(x) & ~np.isinf(x), x, 0),
    "sum": lambda x: x.sum(axis=1) + np.sum(x * x, axis=-1),
    "sum of two axes": lambda x: np.sum(x[:, :, np.newaxis] * x[:, np.newaxis], axis=(1, 2)),
    "mean and std": lambda x: (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True),
    "var": lambda x: np.var(x, axis=1, ddof=1),
    "average": lambda x: np.average(x, axis=1, weights=np.array([1.0, 2.0, 3.0, 4.0])),
    "max and min": lambda x: x.max(axis=1) - x.min(axis=1) + np.ptp(x, axis=1),
    "max from": lambda x: x.max(axis=1, initial=0.5),
    "prod": lambda x: np.prod(x, axis=1),
    "argmax": lambda x: np.take_along_axis(x, np.argmax(x, axis=1)[:, np.newaxis], axis=1),
    "argmin": lambda x: np.argmin(x, axis=1, keepdims=True) * x,
    "any and all": lambda x: np.where(np.any(x > 0, axis=1) & ~np.all(x > 0, axis=1), 1.0, 2.0),
    "count_nonzero": lambda x: np.count_nonzero(x > 0, axis=1) * x[:, 0],
    "cumsum": lambda x: np.cumsum(x, axis=1),
    "norm": lambda x: np.linalg.norm(x, axis=1) + np.linalg.norm(x, ord=1, axis=1),
    "diff": lambda x: np.diff(x, axis=1),
    "trapezoid": lambda x: np.trapezoid(x, dx=0.1, axis=1),
    "sort": lambda x: np.sort(x, axis=1),
    "argsort": lambda x: np.take_along_axis(x, np.argsort(x, axis=1), axis=1),
    "reshape": lambda x: x.reshape(-1, 2, 2).reshape(len(x), 4) + x.reshape((x.shape[0], 4)),
    "transpose": lambda x: np.transpose(x.reshape(-1, 2, 2), (0, 2, 1)),
    "swapaxes": lambda x: np.swapaxes(x.reshape(-1, 2, 2), 1, 2) + x.reshape(-1, 2, 2).mT,
    "moveaxis": lambda x: np.moveaxis(x.reshape(-1, 2, 2), 2, 1),
    "expand and squeeze": lambda x: np.squeeze(np.expand_dims(x, (1, 3)), 1),
    "ravel": lambda x: np.ravel(x).reshape(x.shape),
    "concatenate": lambda x: np.concatenate([x, x[:, :1], np.ones((len(x), 2))], axis=1),
    "stack": lambda x: np.stack([x, 2 * x], axis=-1),
    "split": lambda x: np.split(x, 2, axis=1)[1] - np.split(x, [2], axis=1)[0],
    "tile": lambda x: np.tile(x, (1, 3)),
    "repeat": lambda x: np.repeat(x, 3, axis=1),
    "flip": lambda x: np.flip(x, 1) + x[:, ::-1],
    "roll": lambda x: np.roll(x, 1, axis=1) - np.roll(x, -2, axis=1),
    "pad": lambda x: np.pad(x, ((0, 0), (1, 2))) + np.pad(x, ((0, 0), (2, 1)), mode="reflect"),
    "broadcast_to": lambda x: np.broadcast_to(x[:, :1], (len(x), 3)),
    "tril": lambda x: np.tril(x[:, :, np.newaxis] * x[:, np.newaxis]),
    "take": lambda x: np.take(x, [3, 0], axis=1),
    "an index of integers": fancy,
    "an index of a mask": lambda x: x[:, np.array([True, False, True, False])],
    "an ellipsis": lambda x: x[..., 1:, np.newaxis] - x[..., -1:, None],
    "a number and a slice": lambda x: x[:, -1] + x[:, 1:3].sum(axis=1),
    "dot": lambda x: np.dot(x, np.arange(8.0).reshape(4, 2).astype(x.dtype)),
    "matmul": lambda x: (x[:, np.newaxis] @ x[:, :, np.newaxis])[:, 0],
    "einsum": lambda x: np.einsum("bi,bj,ij->b", x, x, np.eye(4, dtype=x.dtype)),
    "tensordot": lambda x: np.tensordot(x, np.ones((4, 3), x.dtype), axes=1),
    "inner": lambda x: np.inner(x, np.ones((3, 4), x.dtype)),
    "vecdot": lambda x: np.vecdot(x, x[:, ::-1]),
    "cross": lambda x: np.cross(x[:, :3], x[:, 1:]),
    "trace": lambda x: np.trace(x.reshape(-1, 2, 2), axis1=1, axis2=2),
    "det": lambda x: np.linalg.det(x.reshape(-1, 2, 2)),
    "windows": lambda x: np.lib.stride_tricks.sliding_window_view(x, 2, axis=1).sum(axis=2),
    "arange": lambda x: x * np.arange(x.shape[1], like=x),
    "full": lambda x: x + np.full_like(x, 2) + np.ones(x.shape, x.dtype, like=x),
    "rfft": lambda x: np.abs(np.fft.rfft(x, axis=1)),
    "irfft": lambda x: np.fft.irfft(np.fft.rfft(x, axis=1) * (1 + 2j), 4, axis=1),
    "fft": lambda x: np.real(np.fft.ifft(np.fft.fft(x, axis=1) * np.exp(1j * x), axis=1)),
    "fft2": lambda x: np.imag(np.fft.fft2(x.reshape(-1, 2, 2))),
    "heaviside at 0": lambda x: np.heaviside(np.rint(x), 0.3),
    "arctan2 of the axes": lambda x: np.arctan2(np.rint(x) + 0.0, np.rint(x[:, ::-1]) + 0.0),
    "small numbers": lambda x: 1e9 * (np.expm1(1e-9 * x) - 2 * np.log1p(1e-9 * x)),
    "outer": lambda x: np.subtract.outer(x, np.arange(3.0)),
    "sums of some": lambda x: (
        np.sum(x, axis=1, where=x > 0)
        + np.prod(x, axis=1, where=x > 0)
        + np.mean(x, axis=1, where=x > -1)
    ),
    "average by the numbers": lambda x: np.average(x, axis=1, weights=np.abs(x)),
    "other diagonals": lambda x: (
        np.tril(x[:, :, np.newaxis] * x[:, np.newaxis], 1)
        + np.triu(x[:, :, np.newaxis] * x[:, np.newaxis], -2)
    ),
    "places of a trapezoid": lambda x: np.trapezoid(x, np.array([0, 0.1, 0.5, 2]), axis=1),
    "einsum without an output": lambda x: np.einsum("ac,b", x, np.arange(3.0).astype(x.dtype)),
    "tensordot of two axes": lambda x: np.tensordot(
        x.reshape(-1, 2, 2), np.arange(12.0).reshape(2, 2, 3).astype(x.dtype), ([2, 1], [0, 1])
    ),
    "beyond the ends": lambda x: x[:, 1:9].reshape(-1, 3) - x[:, -9:3].reshape(-1, 3),
    "the same columns of all rows": lambda x: x[
        np.arange(len(x))[:, np.newaxis], np.tile([[2, 0]], (len(x), 1))
    ],
    "another axis squeezed": lambda x: np.squeeze(np.expand_dims(x[:, :1], 0), 2)[0],
    "equal bytes": lambda x: (
        x[:, np.zeros(2, np.int64)]
        + np.zeros(2)
        + (x.reshape(-1, 2, 2) * 2 ** np.arange(2.0) + 2 ** np.arange(2.0)[:, None]).sum(2)
    ),
    "quotients of complex numbers": lambda x: np.imag((x + 1j) / (x[:, ::-1] - 2j)),
    "angle": lambda x: np.angle(x + 1j * x[:, ::-1], deg=True) + np.angle(x - 2j),
    "irfft of other lengths": lambda x: np.concatenate(
        [np.fft.irfft(np.fft.rfft(x, axis=1), n, axis=1) for n in (3, 5, 8)], axis=1
    ),
    "fft of other lengths": lambda x: np.concatenate(
        [np.abs(np.fft.fft(x, n, axis=1)) for n in (3, 6)], axis=1
    ),
    "norms of transforms": lambda x: (
        np.fft.irfft(np.abs(np.fft.rfft(x, norm="ortho")), norm="forward")
        + np.real(np.fft.ifft(np.abs(np.fft.fft(x, norm="forward")), norm="ortho"))
    ),
    "other norms": lambda x: (
        np.linalg.norm(x, ord=np.inf, axis=1) + np.linalg.vector_norm(x, ord=1, axis=1)
    ),
    "negative numbers are true": lambda x: (
        np.count_nonzero(np.rint(x), axis=1) + 9.0 * np.any(np.minimum(np.rint(x), 0), axis=1)
    ),
    "axes moved": lambda x: np.moveaxis(
        x.reshape(-1, 2, 2)[..., None] * np.arange(3.0), (1, 2, 3), (3, 2, 1)
    ),
    "trace in between": lambda x: np.trace(
        x.reshape(-1, 2, 2)[..., None] * np.arange(3.0), axis1=1, axis2=2
    ),
    "powers of complex numbers": lambda x: np.abs(np.exp(x + 1j * x)),
    "rfft2": lambda x: np.abs(
        np.fft.rfft2(x[:, :2, None] * np.array([1, 2, 4], x.dtype) + x[:, 2:, None])
    ),
    "einsum of one index": lambda x: np.einsum("ab,b", x, np.arange(4.0).astype(x.dtype)),
    "four parts": lambda x: np.split(x, 4, axis=1)[2],
    "steps": written(put_steps),
    "parts": written(put_parts),
    "views": written(put_in_views),
    "masks": written(put_where),
    "out": written(put_out),
    "numbers": written(put_numbers),
    "methods": lambda x: x.copy().clip(0, 1).astype(float).astype(x.dtype).T.T.sum(axis=1).round(2),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_numpy_is_the_same_in_the_file(name, dtype):
    layer = Computes(FUNCTIONS[name])
    layer.build((4,), dtype=dtype)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(dtype)
    y = layer.forward(x)
    assert_computes(model_proto(layer), (x,), (y,))


def test_a_long_transform_is_a_node_and_its_inverse_undoes_it():
    layer = Computes(lambda x: np.real(np.fft.ifft(np.fft.fft(x, axis=1) * 2j, axis=1) * 1j))
    layer.build((1024,))
    x = np.random.default_rng(0).normal(size=(2, 1024))
    proto = model_proto(layer)
    assert kinds(proto).count("DFT") == 2
    assert_computes(proto, (x,), (-2 * x,))


def whole(x, dtype="int64"):
    return (5 * x).astype(dtype)


TYPES = {
    "booleans as factors": lambda x: ((x > 0) * (x < 1) + (x < -1)) * x,
    "powers of booleans": lambda x: np.power(x > 0, 2) + np.power(x < 1, 2) + x,
    "the order of booleans": lambda x: ((x > 0) < (x < 1)) * x,
    "the size of booleans": lambda x: np.abs(x > 0) * x,
    "where of booleans": lambda x: np.where(x > 0, x > 1, x < 0.5) * x,
    "rounded integers": lambda x: np.floor(whole(x)) + np.ceil(whole(x)) - np.trunc(whole(x)),
    "integers by way of floats": lambda x: whole(x).astype(x.dtype).astype("int32"),
    "integers of other floats": lambda x: (
        (5 * x).astype("float64" if x.dtype == "float32" else "float32").astype("int64")
    ),
    "the nearest integers": lambda x: np.rint(whole(x)),
    "integers that overflow": lambda x: (20 * x).astype("int8") * np.int8(9) + x,
    "division of integers": lambda x: whole(x) // 3 + 7 * (whole(x) // -4) + whole(x) % 3,
    "logic of integers": lambda x: np.logical_and(whole(x), x > 0) * x,
    "what is finite": lambda x: (
        np.isfinite(np.log(np.maximum(x, 0))) * x + 2 * np.isfinite(np.sqrt(x))
    ),
    "numbers for ∞": lambda x: (
        np.nan_to_num(np.log(np.maximum(x, 0)), neginf=-5) + np.nan_to_num(np.sqrt(x), nan=3)
    ),
    "heaviside of NaN": lambda x: np.heaviside(np.sqrt(x), 0.5),
    "powers of integers": lambda x: whole(x) ** 2 + whole(x) ** 2.0,
    "a power of another type": lambda x: x ** np.float64(2) + x ** np.array(3.0),
    "float_power": lambda x: np.float_power(x, 2) + np.float_power(np.abs(x), 1.5),
    "arctan2 of a number": lambda x: np.arctan2(x, -0.5) + np.arctan2(0.5, x) + np.arctan2(x, -1),
    "fmax of NaN": lambda x: np.fmax(np.sqrt(x), -1) + np.fmin(0, np.log(x)),
    "logaddexp of ∞": lambda x: np.logaddexp(np.log(np.maximum(x, 0)), -np.inf),
}
"""Functions whose type, and numbers that are not finite, are those of NumPy, too."""


@pytest.mark.filterwarnings("ignore:(invalid value|divide by zero):RuntimeWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", TYPES)
def test_the_type_is_the_one_of_numpy(name, dtype):
    layer = Typed(TYPES[name])
    layer.build((4,), dtype=dtype)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(dtype)
    y = layer.forward(x)
    proto = model_proto(layer)
    programs = (reference, run) if dtype == "float32" or runs_double(proto) else (reference,)
    for program in programs:
        (made,) = program(proto, x)
        assert made.dtype == y.dtype
        limit = 1e-6 if dtype == "float32" else 1e-12
        largest = np.max(np.abs(y[np.isfinite(y)]))
        np.testing.assert_allclose(made, y, rtol=limit, atol=limit * largest)


def test_a_type_that_onnx_does_not_allow_is_named():
    layer = Computes(lambda x: np.sort(x > 0, axis=1))
    layer.build((4,))
    with pytest.raises(errors.ExportError, match="of a type that ONNX does not allow") as caught:
        model_proto(layer)
    assert "TopK" in caught.value.received


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda x: np.linalg.inv(x.reshape(-1, 2, 2)), "numpy.linalg.inv"),
        (lambda x: x[x > 0], "depends on the numbers"),
        (
            lambda x: x[
                np.arange(len(x))[:, np.newaxis], np.arange(len(x))[:, np.newaxis] % [[4, 3]]
            ],
            "an index with several arrays",
        ),
        (
            lambda x: np.concatenate([x, np.arange(float(len(x)))[:, np.newaxis]], axis=1),
            "would be frozen into the file",
        ),
        (lambda x: np.add(x, 1, where=x > 0), "numpy.add with where="),
        (lambda x: np.array([float(v) for v in x[:, 0]]), "float"),
        (lambda x: np.copysign(x, -1.0), "numpy.copysign"),
        (lambda x: np.add(x, 1, out=np.empty(x.shape)), "an array of numbers"),
        (lambda x: x.tolist(), "x.tolist()"),
        (lambda x: x.byteswap(), "x.byteswap"),
    ],
)
def test_what_has_no_counterpart_is_named(function, says):
    layer = Computes(lambda x: x)
    layer.build((4,))
    layer.__dict__["function"] = function
    with pytest.raises(errors.ExportError, match=says):
        model_proto(layer)
