"""NumPy's functions that are written with others, for symbolic arrays.

    mean x = Σ x / n,    var x = mean (x − mean x)²,    clip x = min(max(x, low), high)

They contain nothing that only a symbolic array can do, so NumPy sends each part on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.symbolic.entries import undecided


def _mean(a: Any, axis: Any = None, *, keepdims: bool = False, where: Any = True) -> Any:
    total = np.sum(a, axis=axis, keepdims=keepdims, where=where)
    if where is True:
        return total / (a.size // max(total.size, 1))
    return total / np.sum(np.broadcast_to(where, a.shape), axis=axis, keepdims=keepdims)


def _var(
    a: Any, axis: Any = None, *, ddof: float = 0, keepdims: bool = False, mean: Any = None
) -> Any:
    deviations = a - (np.mean(a, axis=axis, keepdims=True) if mean is None else mean)
    total = np.sum(deviations * deviations, axis=axis, keepdims=keepdims)
    return total / max(a.size // max(total.size, 1) - ddof, 0)


def _average(a: Any, axis: Any = None, weights: Any = None, *, keepdims: bool = False) -> Any:
    if weights is None:
        return np.mean(a, axis=axis, keepdims=keepdims)
    if np.shape(weights) != np.shape(a):
        shape = np.ones(np.ndim(a), int)
        shape[axis] = -1
        weights = np.reshape(weights, shape)
    total = np.sum(weights + np.zeros_like(a), axis=axis, keepdims=keepdims)
    return np.sum(a * weights, axis=axis, keepdims=keepdims) / total


def _clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    low, high = min if a_min is None else a_min, max if a_max is None else a_max
    a = +a if low is None else np.maximum(a, low)
    return a if high is None else np.minimum(a, high)


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    is_vector = np.ndim(x) == 1 if axis is None else np.ndim(axis) == 0
    if ord is not None and not (ord == 2 and is_vector):
        raise undecided(f"numpy.linalg.norm with ord={ord!r}", "np.sqrt(np.sum(x**2))")
    return np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))


def _bincount(x: Any, weights: Any, minlength: int = 0) -> Any:
    total = np.zeros(max(minlength, int(np.max(x, initial=-1)) + 1), like=weights)
    np.add.at(total, x, weights)
    return total


def _nan_to_num(
    x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    largest = np.finfo(np.float64).max
    x = np.where(np.isnan(x), nan, x)
    x = np.where(x == np.inf, largest if posinf is None else posinf, x)
    return np.where(x == -np.inf, -largest if neginf is None else neginf, x)


def _round(a: Any, decimals: int = 0) -> Any:
    return np.rint(a * 10.0**decimals) / 10.0**decimals


def _polyval(p: Any, x: Any) -> Any:
    y = x * 0
    for coefficient in p:
        y = y * x + coefficient
    return y


def _are_equal(a: Any, b: Any) -> bool:
    return np.shape(a) == np.shape(b) and bool(np.all(np.equal(a, b)))


def _is_close(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8) -> Any:
    return np.absolute(np.subtract(a, b)) <= atol + rtol * np.absolute(b)


COMPOSED: dict[Callable[..., Any], Callable[..., Any]] = {
    np.mean: _mean,
    np.average: _average,
    np.var: _var,
    np.std: lambda a, axis=None, **options: np.sqrt(np.var(a, axis, **options)),
    np.ptp: lambda a, axis=None, **options: np.max(a, axis, **options) - np.min(a, axis, **options),
    np.clip: _clip,
    np.bincount: _bincount,
    np.nan_to_num: _nan_to_num,
    np.linalg.norm: _norm,
    np.round: _round,
    np.around: _round,
    np.fix: np.trunc,
    np.polyval: _polyval,
    np.array_equal: _are_equal,
    np.isclose: _is_close,
    np.allclose: lambda a, b, rtol=1e-5, atol=1e-8: bool(np.all(_is_close(a, b, rtol, atol))),
}
"""What each of the functions is."""
