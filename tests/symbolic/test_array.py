"""Symbolic arrays against NumPy itself: the values that they carry are those of plain arrays."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.core.errors import UndecidedError
from chainrule.symbolic.array import (
    PASSED_ON,
    WRITTEN_OUT,
    Symbolic,
    labels,
    symbols,
)
from chainrule.symbolic.entries import ELEMENTWISE, PREDICATES, Entry, Point

sliding_window_view = np.lib.stride_tricks.sliding_window_view

PLAIN = {
    "x": np.array([[0.3, -1.7, 2.2], [-0.6, 1.1, 0.9]]),
    "y": np.array([[1.5, 0.25, 3.0], [0.75, 2.5, 1.25]]),
    "v": np.array([0.5, -2.0, 1.35]),
    "w": np.array([[0.4, -0.3], [1.2, 0.7], [-0.9, 2.0]]),
    "q": np.array([[0.2, 1.4], [-0.8, 0.6]]),
    "n": np.float64(0.35),
    "z": np.array(-1.5),
    "e": np.zeros((0, 3)),
    "t": np.linspace(-1, 1, 24).reshape(2, 3, 4) ** 3 + 0.01,
}
"""What is symbolic: matrices, a vector, a number, an array without axes, one without entries."""

STILL = {
    "np": np,
    "math": math,
    "windows": sliding_window_view,
    "f": np.array([[2.0, 0.5, -1.0], [0.1, 3.0, 0.0]]),
    "g": np.array([1, -3, 3]),
    "m": np.array([[True, False, True], [False, True, True]]),
    "i": np.array([2, 0]),
    "k": np.array([[0, 2, 1], [1, 1, 0]]),
}


def symbolic_arrays() -> dict[str, Any]:
    """The same as `PLAIN`, as symbols."""
    point = Point()
    arrays = {name: symbols(point, name, array) for name, array in PLAIN.items()}
    arrays["n"] = arrays["n"][()]
    return arrays


def numbers(result: Any) -> Any:
    """What a result carries, as plain arrays."""
    if isinstance(result, Symbolic):
        entries = [float(e.value) if isinstance(e, Entry) else e for e in result.entries.flat]
        return np.array(entries, float).reshape(result.shape)
    if isinstance(result, list | tuple):
        return type(result)(map(numbers, result))
    return result


def assert_same(received: Any, expected: Any) -> None:
    if isinstance(expected, list | tuple):
        assert type(received) is type(expected)
        assert len(received) == len(expected)
        for one, other in zip(received, expected, strict=True):
            assert_same(one, other)
        return
    if isinstance(expected, np.dtype | str):
        assert received == expected
        return
    assert np.shape(received) == np.shape(expected)
    if not isinstance(received, Symbolic):
        assert np.asarray(received).dtype.kind == np.asarray(expected).dtype.kind
    else:
        assert np.asarray(expected).dtype.kind == "f"
        assert received.is_number == (not isinstance(expected, np.ndarray))
    np.testing.assert_allclose(numbers(received), expected, rtol=1e-14, atol=1e-14)


def compare(code: str) -> None:
    """Run a program with plain arrays and with symbolic ones; its result is called ``r``."""
    program = code if code.startswith("r = ") else f"r = {code}"
    results = []
    for arrays in (PLAIN, symbolic_arrays()):
        names = copied({**STILL, **arrays})
        with np.errstate(all="ignore"):
            exec(program, names)
        results.append(names["r"])
    expected, received = results
    assert_same(received, expected)


def copied(names: dict[str, Any]) -> dict[str, Any]:
    """The same names, with arrays that a program may change."""
    return {name: np.copy(x) if type(x) is np.ndarray else x for name, x in names.items()}


# ------------------------------------------------------------------------------ expressions

MOVING = """
np.reshape(x, (3, 2)); x.reshape(-1); x.reshape(3, 2); np.ravel(x); x.ravel(); x.flatten(); x.T
x.mT; np.squeeze(x[:1]); np.expand_dims(x, 1); np.resize(x, (4, 2)); np.atleast_1d(n)
np.atleast_2d(v); np.atleast_3d(x); np.atleast_1d(n, v); np.broadcast_to(v, (2, 3))
np.broadcast_arrays(x, v); np.transpose(t, (2, 0, 1)); t.transpose(1, 0, 2); np.swapaxes(t, 0, 2)
np.moveaxis(t, 0, -1); np.rollaxis(t, 2); np.matrix_transpose(t); np.flip(x); np.flip(x, 0)
np.fliplr(x); np.flipud(x); np.rot90(x); np.roll(x, 1); np.roll(x, (1, 2), axis=(0, 1))
np.repeat(x, 2, axis=1); np.repeat(v, [1, 0, 2]); np.tile(v, (2, 2)); np.meshgrid(v, n)
np.meshgrid(v, v, indexing="ij"); np.concatenate([x, y]); np.concatenate([x, f], axis=1)
np.concatenate((x, y), axis=None); np.stack([x, f], axis=-1); np.vstack([v, v]); np.hstack([v, v])
np.dstack([v, f[0]]); np.column_stack([v, v]); np.block([[x, y], [f, x]]); np.split(x, 3, axis=1)
np.array_split(v, 2); np.hsplit(x, 3); np.vsplit(x, 2); np.dsplit(t, 2)
np.take(x, [0, 2], axis=1); np.take(x, 4); np.take(x, k, mode="wrap")
np.take_along_axis(x, k, axis=1); np.delete(x, 1, axis=1); np.diag(q); np.diag(v); np.diag(v, 1)
np.diagonal(x); np.diagonal(t, axis1=1, axis2=2); np.diagflat(v); np.tril(x); np.triu(x, 1)
windows(x, 2, axis=1); windows(t, (2, 2), axis=(1, 2)); np.copy(x); np.real(x); np.imag(x); x.real
x.imag; np.append(x, y, axis=0); np.append(v, n); np.choose((f > 0) * 1, [x, y])
np.compress([True, False, True], x, axis=1); x.compress([1, 0], axis=0); np.extract(m, x)
np.insert(v, 1, n); np.insert(x, 0, f[0], axis=0); np.select([f > 1, m], [x, y])
np.select([f > 1, m], [x, y], default=9.0); np.pad(x, 1)
np.pad(x, ((0, 1), (2, 0)), constant_values=3); np.pad(v, 2, mode="edge")
np.pad(v, 2, mode="reflect"); np.pad(v, 2, mode="wrap"); np.pad(v, 2, mode="symmetric")
np.pad(v, 1, mode="mean"); np.pad(v, 1, mode="maximum"); np.array(x, like=x)
np.asarray(x, like=x); np.asanyarray(f, like=x); np.array([n, 1.0], like=x)
np.array([v, v], like=x); np.array([[1.0]], like=x); np.array([1, 2], like=x)
np.ascontiguousarray(x.T, like=x); np.asfortranarray(x, like=x); np.require(x, like=x)
np.asarray(x, np.float64, like=x); np.full((2, 2), n, like=x); np.full((2, 2), 1.5, like=x)
np.full(2, 1, like=x); np.zeros(3, like=x); np.zeros((2, 2), dtype=int, like=x)
np.ones((2, 2), like=x); np.eye(3, like=x); np.identity(2, like=x); np.arange(3, like=x)
np.arange(3.0, like=x); np.tri(3, like=x); np.zeros_like(x); np.ones_like(n)
np.zeros_like(x, dtype=bool); np.zeros_like(x, bool); np.ones_like(x, dtype=int)
np.zeros_like(x, shape=(2, 0)); np.zeros_like(x, shape=(4,)); np.full_like(x, 2.5)
np.full_like(x, n); np.full_like(x, 1, dtype=int); np.empty_like(x, shape=(0, 2))
np.empty((0, 2), like=x); np.atleast_2d(n); np.concatenate([e, x]); np.stack([n, n, 2.0])
np.stack([n, z]); np.unstack(x); np.unstack(x, axis=1)
"""

SUMS = """
np.sum(x); x.sum(); x.sum(axis=0); x.sum(1, keepdims=True); np.sum(x, axis=(0, 1))
np.sum(t, axis=(0, 2)); np.sum(x, initial=2.0); np.sum(x, axis=0, initial=n); np.sum(x, where=m)
np.sum(x, axis=1, where=m); np.sum(x, dtype=np.float64); np.sum(e); np.sum(e, axis=0)
np.sum(e, axis=1); np.sum(z); np.sum(x, axis=()); np.mean(x); x.mean(axis=1)
np.mean(x, 0, keepdims=True); np.mean(t, axis=(0, 2)); np.mean(x, where=m)
np.mean(x, axis=1, where=m, keepdims=True); np.average(x); np.average(x, axis=1)
np.average(x, weights=y); np.average(x, axis=1, weights=v)
np.average(q, axis=0, weights=y[0, :2]); np.average(q, 1, f[0, :2])
np.average(x, axis=0, keepdims=True); np.var(x); x.var(axis=0); np.var(x, 1, ddof=1); np.std(x, 0)
x.std(); np.var(x, axis=0, keepdims=True, mean=np.mean(x, axis=0, keepdims=True))
np.std(t, axis=(1, 2), ddof=1); np.max(x); x.max(axis=1); np.max(x, axis=0, keepdims=True)
np.max(x, initial=5.0); np.max(x, initial=n); np.max(x, where=m, initial=-9.0)
np.min(x, axis=1, where=m, initial=9.0); np.min(x); x.min(0); np.amax(x, axis=1); np.amin(x)
np.max(e, axis=0, initial=1.0); np.ptp(x); np.ptp(x, axis=1); np.prod(x); x.prod(axis=0)
np.cumsum(x); x.cumsum(axis=1); np.cumprod(x, axis=0); np.cumprod(v); np.cumulative_sum(v)
np.cumulative_sum(v, include_initial=True); np.trace(q); q.trace(); np.trace(t, axis1=0, axis2=1)
np.trapezoid(x, axis=1); np.trapezoid(x, v, axis=1); np.trapezoid(x, dx=0.5); np.diff(x)
np.diff(x, 2, axis=1); np.diff(v, prepend=0.0); np.diff(v, append=n); np.sort(x)
np.sort(x, axis=0); np.sort(x, axis=None); np.linalg.norm(x); np.linalg.norm(v)
np.linalg.norm(v, 2); np.linalg.norm(x, axis=1); np.linalg.norm(x, axis=-1, keepdims=True)
np.linalg.norm(t, axis=(0, 1)); np.linalg.norm(x, 2, axis=0); np.bincount(abs(g), v)
np.bincount(abs(g), weights=v, minlength=9); np.clip(x, -1, 1); np.clip(x, None, 0.5)
np.clip(x, v, y); x.clip(0); x.clip(min=0.1); x.clip(max=0.1); np.clip(x, min=0, max=1)
np.clip(f, v, None); np.round(x); np.round(x * 10, 1); x.round(1); round(n + 0.01, 1)
np.around(x, 1); np.fix(x); np.nan_to_num(x); np.nan_to_num(np.where(m, x, np.nan))
np.nan_to_num(np.where(m, x, np.inf)); np.nan_to_num(np.where(m, x, -np.inf), neginf=-7.0)
np.nan_to_num(np.where(m, x, np.nan), nan=n); np.where(m, x, y); np.where(m, x, 0)
np.where(m, 0.0, f * n); np.where(x > 0, 1.0, n); np.where(x, 1.0, 2.0); np.where(x > 0)
np.where(True, n, 2.0); np.where(m[:, :1], v, -v); np.polyval(v, x); np.polyval([1.0, 2.0], x)
np.vander(v)
"""

PRODUCTS = """
x @ w; x @ v; v @ w; v @ v; f @ w; x @ f.T; t @ np.swapaxes(t, 1, 2); e @ w; w[:, :0] @ e[:, :2]
e.T @ e; np.matmul(x, w); np.matmul(f, w); np.dot(x, w); x.dot(w); np.dot(v, v); np.dot(n, v)
np.dot(f[0], v); np.inner(x, x); np.inner(v, v); np.outer(v, v); np.outer(v, f[0]); np.vdot(x, f)
np.tensordot(t, x, axes=([0, 1], [0, 1])); np.tensordot(x, w, 1); np.kron(q, v); np.kron(x, f)
np.vecdot(x, f); np.einsum("ij,jk->ik", x, w); np.einsum("ij,ij->i", x, f); np.einsum("ij->ji", x)
np.einsum("ii->", q); np.einsum("i,j,k->ijk", v, v, f[0]); np.einsum("...i,i", t[..., :3], v)
np.einsum("bij,bj->bi", t[..., :3], x); np.einsum("ij,jk,kl", x, w, q, optimize=True)
np.convolve(v, f[0]); np.convolve(v, f[1], mode="same"); np.cross(x, f); np.cross(v, v[::-1])
e.T @ x[:0]; np.add.outer(v, v); np.multiply.outer(x, f[0]); np.subtract.outer(v, n)
np.maximum.outer(v, g); np.add.reduce(x); np.add.reduce(x, axis=1); np.add.reduce(x, axis=None)
np.multiply.reduce(x, axis=1, keepdims=True); np.maximum.reduce(x); np.minimum.reduce(x, axis=1)
np.add.accumulate(x, axis=1); np.multiply.accumulate(v); np.maximum.accumulate(x, axis=1)
np.subtract.reduce(v); np.add.reduceat(v, [0, 2]); np.logical_and.reduce(x)
np.logical_or.reduce(x, axis=1); np.add.reduce(x, axis=0, initial=1.0); np.less.outer(v, g)
"""

QUESTIONS = """
x > 0; x >= y; x < v; x <= 0.4; x == x; x != x; x == y; x != 0; -1 < x; f > x; np.inf > x
x > np.inf; x == np.nan; x != np.nan; x < np.nan; np.isnan(x); np.isfinite(x); np.isinf(x)
np.signbit(x); np.isnan(np.where(m, x, np.nan)); np.logical_and(x > 0, x); np.logical_or(x, f)
np.logical_not(x); np.argmax(x); x.argmax(axis=1); np.argmin(x, axis=0)
np.argmax(x, axis=1, keepdims=True); np.argsort(x); x.argsort(axis=0); np.argsort(x, axis=None)
np.nonzero(x > 0); np.nonzero(x); np.flatnonzero(np.maximum(x, 0))
np.count_nonzero(np.maximum(x, 0)); np.argwhere(np.maximum(x, 0)); np.any(x)
np.all(np.maximum(x, 0)); np.any(np.maximum(x, 0), axis=0); x.all(axis=1, keepdims=True)
np.shape(x); np.ndim(x); np.size(x); len(x); x.size; x.ndim; x.nbytes; x.dtype; x.strides
np.iscomplexobj(x); np.isrealobj(x); np.result_type(x); np.result_type(x, np.float32)
np.searchsorted([0.0, 1.0], x); np.searchsorted(np.sort(v), 0.1); np.array_equal(x, x)
np.array_equal(x, y); np.array_equal(x, v); np.isclose(x, x + 1e-9); np.allclose(x, y)
np.allclose(x, x); 0.3 in y; np.zeros(2) in q; bool(n); bool(n > 1); x.astype(bool)
np.astype(x, bool); x.max() > 1; x.flags.c_contiguous; x.T.flags.c_contiguous; x.itemsize; n.shape
np.isscalar(1.0); hasattr(x, "nothing"); callable(x.sum)
"""

PROGRAMS = """
r = x[0]; r += 1.0
r = np.copy(x); r[0] += v
r = np.copy(x); s = r[0]; s *= 2
r = np.copy(x); r -= f; r *= 2; r /= y; r **= 2
r = np.copy(x); r @= np.eye(3)
r = np.copy(y); r //= 0.7
r = np.copy(y); r %= 0.7
r = np.copy(x); r[r < 0] = 0
r = np.copy(x); r[x < 0] *= -1
r = np.copy(x); r[:, i] = 0.0
r = np.copy(x); r[m] = y[m]
r = np.copy(x); r[...] = 1
r = np.copy(x); r[0, 1] = n; r[1] = [n, n, 2.0]
r = np.copy(x); r.T[0] = 7.0
r = np.copy(x); r.reshape(-1)[2:4] = n
r = np.copy(x); np.ravel(r)[0] = 5.0
r = np.copy(x); r.flatten()[0] = 5.0
r = np.copy(x); np.swapaxes(r, 0, 1)[1] = 4.0
r = np.copy(x); np.diagonal(r); r.fill(3.0)
r = np.copy(x); np.add.at(r, (i, i), v[:2]) if False else np.add.at(r, 0, v)
r = np.zeros_like(v); np.add.at(r, [0, 0, 2], v)
r = np.zeros_like(v); np.subtract.at(r, [0, 0, 2], 1.5)
r = np.zeros(3, like=v); np.maximum.at(r, [0, 1], v[:2])
r = np.zeros_like(x); np.put_along_axis(r, k, x, axis=1)
r = np.zeros_like(x); np.copyto(r, v); np.copyto(r, 1.0, where=m)
r = np.zeros_like(q); np.fill_diagonal(r, n)
r = np.zeros_like(x); np.place(r, m, v); np.put(r, [0, 5], n); np.putmask(r, m, y)
r = np.empty_like(x); r[0] = v; r[1] = 2.0
r = np.empty((2, 3), like=x); r[:] = x
r = np.zeros_like(x); np.multiply(x, y, out=r)
r = np.zeros_like(x); s = np.add(x, 1.0, out=r); s[0] = 0.0
r = np.zeros_like(v); np.sum(x, axis=0, out=r)
r = np.zeros_like(v); np.mean(x, axis=0, out=r)
r = np.zeros_like(x[:, :2]); np.matmul(x, w, out=r)
r = np.zeros_like(x[:, :2]); np.dot(x, w, out=r)
r = np.zeros((2, 3), bool); np.greater(x, 0, out=r)
r = np.zeros(3, int); np.argmax(x, axis=0, out=r)
r = np.zeros_like(x); np.clip(x, -1, 1, out=r)
r = np.zeros_like(x); np.cumsum(x, axis=1, out=r)
r = np.zeros_like(x); np.stack([v, v], out=r)
r = np.zeros_like(z); r += n; r += 1.0
r = np.zeros_like(z); s = r; s += 1.0
r = z + 0; s = r; s += 1.0
r = n; s = r; s += 1.0
r = x[0, 0]; s = r; s *= 2.0
r = x.sum(); s = r; s *= 2.0
r = [x[0, 0], x[:1, 0], x[0, 0, ...], x[()], x[..., None], x[:, None, 1:], x[::-1, ::2], x[-1]]
r = [x[i[1:]], x[k[0] % 2, k[1]], x[np.ix_([0], [1, 2])], x[:, [0, 2]], x[m]]
r = [x[True], x[k % 2, 0], x[k % 2, [0, 1, 2]]]
r = [row for row in x]; r[0][0] = 1.0
r = [sum(x), sum(v), max(v), min(v), abs(v), sorted(v), -v, +v]
r = [v**2, 2**v, v % 0.7, v // 0.7, 3 - v, 3 / v]
r = [np.float64(2) * x, f * x, g * x, np.float32(0.5) * x, True * x]
r = [x * np.array(2), np.int64(2) - n, x + [1, 2, 3]]
r = [x.astype(np.float64), x.astype(float, copy=False), x.astype(x.dtype)]
r = x.astype(float, copy=False); r[0] = 0.0; r = x * 1
r = np.copy(x); s = np.asarray(r, like=r); s[0] = 0.0
r = np.copy(x); s = np.array(r, like=r); s[0] = 0.0
r = x * (1.0 if x.max() > 2 else 0.5)
r = np.zeros_like(x)\\nfor a in range(2):\\n    r[a, 1] = x[a, 1] ** 2 if x[a, 1] > 0 else n
r = [n < 1, not n, n and 1.0, n.sum(), n.max(), n.reshape(1), n.ravel(), n[()], n[...], n[None]]
r = [z.sum(), z * 1, np.add(z, z), z.copy(), np.sqrt(-z), z[()], z[...], z.T, z.reshape(1)]
r = np.split(x, [1], axis=1); r[0][:] = 0.0; r = x * 1
r = np.broadcast_to(v, (2, 3)).flags.writeable
r = [e.sum(), e.max(axis=1), e.mean(axis=1), e + v, e[:, 0]]
r = [np.maximum(e, 0), e.reshape(3, 0), e > 0]
"""


def lines(text: str, separator: str = "; ") -> list[str]:
    """The programs in a text, as far as this NumPy has the functions."""
    found = [part for line in text.strip().splitlines() for part in line.split(separator)]
    return [
        part.replace("\\n", "\n")
        for part in found
        if all(hasattr(np, name) for name in re.findall(r"np\.(\w+)", part))
    ]


@pytest.mark.parametrize("code", lines(MOVING))
def test_what_moves_entries(code: str) -> None:
    compare(code)


@pytest.mark.parametrize("code", lines(SUMS))
def test_sums_and_extrema(code: str) -> None:
    compare(code)


@pytest.mark.parametrize("code", lines(PRODUCTS))
def test_products_and_methods_of_ufuncs(code: str) -> None:
    compare(code)


@pytest.mark.parametrize("code", lines(QUESTIONS))
def test_questions_have_plain_answers(code: str) -> None:
    compare(code)


@pytest.mark.parametrize("code", lines(PROGRAMS, "\n\n"))
def test_programs_that_write(code: str) -> None:
    compare(code)


# ------------------------------------------------------------------------------ elementwise

UFUNCS = [*ELEMENTWISE, *PREDICATES]

DOMAIN = {np.arccosh: (1.01, 9), np.arctanh: (-0.99, 0.99), np.arcsin: (-0.99, 0.99),
          np.arccos: (-0.99, 0.99), np.log: (0.01, 9), np.log2: (0.01, 9), np.log10: (0.01, 9),
          np.log1p: (-0.99, 9), np.sqrt: (0.01, 9)}  # fmt: skip
"""Where functions are defined."""

SPECIAL = (0.0, -0.0, 1.0, -1.0, 2.0, -3.0, math.inf, -math.inf, math.nan)


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda f: f.__name__)
@given(data=st.data())
@settings(max_examples=12, derandomize=True, deadline=None)
def test_elementwise_functions_give_what_numpy_gives(ufunc: np.ufunc, data: Any) -> None:
    low, high = DOMAIN.get(ufunc, (-9, 9))
    values = st.integers(-4096, 4096).map(lambda n: low + (high - low) * (2 * n + 8193) / 16387)
    plain = [data.draw(values) + 0.3e-3 * n for n in range(ufunc.nin)]  # never equal
    if ufunc in (np.power, np.float_power):
        plain[0] = abs(plain[0])
    point = Point()
    args: list[Any] = [symbols(point, f"x_{n}", value)[()] for n, value in enumerate(plain)]
    if ufunc.nin == 2 and data.draw(st.booleans()):  # one of the two is a number
        place = data.draw(st.integers(0, 1))
        allowed = [s for s in SPECIAL if s >= 0 or place or ufunc not in (np.power, np.float_power)]
        if ufunc in (np.remainder, np.floor_divide):
            allowed = [s for s in SPECIAL if math.isfinite(s)]
        args[place] = plain[place] = data.draw(
            st.sampled_from(allowed) | values.map(lambda y: y + 7e-4)
        )
    if ufunc in (np.power, np.float_power):
        plain[0], args[0] = (abs(plain[0]), abs(args[0]))
    with np.errstate(all="ignore"):
        expected = ufunc(*map(np.float64, plain))
        received = ufunc(*args)
    if ufunc in PREDICATES:
        assert received is expected or received == expected
        assert isinstance(received, np.bool_)
        return
    assert isinstance(received, Symbolic)
    if np.isfinite(expected):
        np.testing.assert_allclose(numbers(received), expected, rtol=4e-15, atol=1e-15)
    else:  # for formulas, 0 · inf and the like have no sign
        assert not np.isfinite(numbers(received)) or ufunc in (np.remainder, np.floor_divide)


@pytest.mark.parametrize("special", [0.0, -0.0, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("ufunc", [f for f in UFUNCS if f.nin == 2], ids=lambda f: f.__name__)
def test_special_numbers_beside_formulas(ufunc: np.ufunc, special: float) -> None:
    for value in (0.7, -0.7):
        for place in (0, 1):
            if ufunc in (np.power, np.float_power) and not (place and value > 0):
                continue
            if ufunc in (np.remainder, np.floor_divide) and not (place and special == 0):
                continue
            plain, args = [special, special], [special, special]
            plain[1 - place], args[1 - place] = value, symbols(Point(), "x", value)[()]
            with np.errstate(all="ignore"):
                expected, received = ufunc(*map(np.float64, plain)), ufunc(*args)
            if np.isnan(expected) or np.isfinite(expected) or ufunc in (np.maximum, np.minimum):
                np.testing.assert_allclose(numbers(received), expected, rtol=1e-15)


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda f: f.__name__)
def test_constants_combine_as_in_numpy(ufunc: np.ufunc) -> None:
    numbers_ = np.array([*SPECIAL, 0.1, 1 / 3, -1e8, 1e-300, 750.0, -750.0])
    grids = np.meshgrid(*[numbers_] * ufunc.nin)
    constants = [np.asarray(grid, like=symbols(Point(), "x", [1.0])) for grid in grids]
    with np.errstate(all="ignore"):
        expected = ufunc(*grids)
        received = ufunc(*constants)
    # NumPy's power is not the same to the last digit for a number and for an array.
    accuracy = 3e-16 if ufunc in (np.power, np.float_power) else 0
    np.testing.assert_allclose(numbers(received), expected, rtol=accuracy)
    if ufunc not in PREDICATES:
        assert all(type(entry) is float for entry in received.entries.flat)


# ------------------------------------------------------------------------------ refusals

REFUSED = """
float(x)
float(n)
int(n)
complex(n)
x.item()
x.tolist()
x.tobytes()
n.item()
math.exp(n)
math.sqrt(n)
np.asarray(x)
np.array(x)
np.array([n, 1.0])
np.array([x, x])
np.asarray([n])
np.float64(n)
np.sum([n, n])
np.ascontiguousarray(x)
np.linspace(v, v + 1, 3)
np.gradient(x)
np.unique(x)
np.median(x)
np.fft.fft(x)
np.linalg.inv(q)
np.linalg.det(q)
np.vectorize(abs)(x)
np.interp(v, [0, 1], [0, 1])
np.divmod(x, 2)
np.modf(x)
np.add(x, 1, where=m)
np.sum(x, dtype=int)
np.cumsum(x, dtype=int)
np.add(x, x, dtype=int)
np.asarray(x, dtype=int, like=x)
np.asarray(x, int, like=x)
np.full_like(x, n, dtype=int)
np.full_like(f, n)
np.mean(x, 0, None, None, True)
np.max(x, 0, None)
np.average(x, weights=y, returned=True)
np.linalg.norm(x, 1)
np.linalg.norm(x, 2)
np.linalg.norm(t, 2, axis=(0, 1))
np.divide.reduce(x)
np.hypot.accumulate(x)
x.astype(int)
np.astype(x, int)
f[n]
x[n]
x[[n, n]]
x.flat
x.sort()
x.view(int)
x.data
x.partition(1)
np.lib.stride_tricks.as_strided(x, (2, 2))
f += x
f[0] = v
f[m] = x[m]
np.add(x, 1, out=f)
np.sum(x, axis=0, out=f[0])
np.copyto(f, x)
np.add.at(f, 0, v)
np.put_along_axis(f, k, x, axis=1)
np.maximum(f, x, out=f)
np.matmul(f[:, :2], q, out=f[:, :2])
x > 1.1
x % np.inf
x // -np.inf
x == 0.3
np.maximum(x, 1.1)
x.max() > 2.2
np.zeros((2, 3))[...] + x; np.zeros((2, 3))[:] = x
bool(x == x) if False else float(x[0, 0])
x + x2
"""


@pytest.mark.parametrize("code", REFUSED.strip().splitlines())
def test_what_formulas_cannot_answer_is_an_error(code: str) -> None:
    others = {"x2": symbols(Point(), "x", PLAIN["x"])}  # of another pass
    names = copied({**STILL, **symbolic_arrays(), **others})
    with pytest.raises(UndecidedError, match="symbols cannot answer"):
        exec(code, names)


@pytest.mark.parametrize("code", ["f[0, 0] = n", "f.fill(n)"])
def test_numpy_reports_some_of_these_errors_as_its_own(code: str) -> None:
    with pytest.raises(ValueError, match="setting an array element") as caught:
        exec(code, {"f": np.zeros((2, 2)), **symbolic_arrays()})
    assert isinstance(caught.value.__cause__, UndecidedError)


def test_an_error_names_the_function_and_says_what_to_write_instead() -> None:
    x = symbols(Point(), "x", [0.5])
    for call, name, hint in (
        (lambda: np.unique(x), "numpy.unique", "NumPy"),
        (lambda: math.exp(x[0]), "math.exp(x)", "np.exp(x)"),
        (lambda: np.asarray(x), "np.asarray(x)", "like=x"),
        (lambda: x.astype(int), "x.astype(int64)", "inputs="),
        (lambda: np.add(x, 1, out=np.zeros(1)), "out=", "np.zeros_like(x)"),
        (lambda: x.sort(), "x.sort", "np.sort(x)"),
    ):
        with pytest.raises(UndecidedError) as caught:
            call()
        assert name in str(caught.value)
        assert hint in str(caught.value)


def test_an_empty_array_that_is_not_filled_is_not_a_number() -> None:
    x = symbols(Point(), "x", [0.5])
    assert np.isnan(numbers(np.empty_like(x))).all()
    assert np.isnan(numbers(np.empty(3, like=x))).all()


def test_every_function_of_the_tables_is_called_in_a_test() -> None:
    text = MOVING + SUMS + PRODUCTS + QUESTIONS + PROGRAMS
    called = set()
    for function in {*PASSED_ON, *WRITTEN_OUT}:
        name = function.__name__
        names = {name, {"amax": "amax", "sliding_window_view": "windows"}.get(name, name)}
        if any(f"{n}(" in text for n in names):
            called.add(function)
    missing = {*PASSED_ON, *WRITTEN_OUT} - called
    assert not {f.__name__ for f in missing}


def test_labels_are_in_the_order_of_the_entries() -> None:
    assert labels("w", (2, 2)) == ["w[0, 0]", "w[0, 1]", "w[1, 0]", "w[1, 1]"]
    assert labels("x", (1, 2), first_row=3) == ["x[3, 0]", "x[3, 1]"]
    assert labels("s", ()) == ["s"]
    assert repr(symbols(Point(), "x", [1.0])) == "Symbolic([symbol(x[0])])"
