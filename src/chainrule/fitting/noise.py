"""The noise of the data: what turns differences into numbers of standard deviation 1.

    d = (f − t)/σ        χ² = Σ d²        for independent deviations σ
    d = L⁻¹ (f − t)      χ² = dᵀ d        for correlated data with the covariance matrix L Lᵀ

A sample weight w multiplies the squares of its row, so it divides σ² by w.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import frozen

from chainrule.core.arrays import as_array
from chainrule.core.errors import ConfigurationError, DataError, ShapeError, shortened
from chainrule.core.extras import required
from chainrule.core.validators import is_number
from chainrule.fitting.arguments import and_others


@frozen(eq=False)
class Noise:
    """Standard deviations, or a covariance matrix, of all targets in one vector."""

    factors: Any
    """√w/σ of each number, (n,)."""
    cholesky: Any
    """L of a covariance matrix, (n, n); None if the numbers are independent."""
    deviations: Any
    """σ of each number, (n,); None if unknown."""
    common: Any
    """For each output σ, if it is the same in all rows, so that it is known for others; or None."""
    has_weights: bool
    is_known: bool
    """Whether the caller gave deviations. If not, the residuals tell them."""

    @property
    def count(self) -> int:
        """The number of data: those with weight zero do not count."""
        return int(np.count_nonzero(self.factors))

    def whitened(self, differences: Any) -> Any:
        """The differences (n,), or the rows of a matrix (n, k), in units of their deviation."""
        if self.cholesky is None:
            if not self.is_known and not self.has_weights:
                return differences
            return (differences.T * self.factors).T
        solve = required("scipy.linalg", "correlated data need").solve_triangular
        return solve(self.cholesky, differences, lower=True, check_finite=False)


def noise_of(targets: Sequence[Any], deviations: Any, relative: Any, sample_weights: Any) -> Noise:
    """The noise that the arguments of `least_squares` describe."""
    count = sum(t.size for t in targets)
    is_known = deviations is not None or relative is not None
    factors, cholesky, given = np.ones(count), None, np.ones(count)
    common: list[Any] = [None] * len(targets)
    parts = parts_of(deviations, len(targets))
    if _are_covariance(parts, targets):
        if relative is not None or sample_weights is not None:
            raise ConfigurationError(
                "least_squares: a covariance matrix already says how certain the data are",
                expected="deviations=matrix alone",
                received="also relative or sample_weights",
                hint="add their variances to the diagonal of the matrix",
            )
        cholesky = _cholesky(parts[0])
        given = np.sqrt(np.diag(parts[0]))
    elif is_known:
        pairs = list(zip(parts, targets, strict=True))
        given = np.concatenate([of_one(part, t).ravel() for part, t in pairs])
        if relative is not None:
            flat = np.concatenate([np.ravel(t) for t in targets])
            given = np.hypot(given, _relative(relative) * np.abs(flat))
        else:
            common = [part if _is_common(part, t) else None for part, t in pairs]
        _require_positive(given)
        factors = 1 / given
    if sample_weights is not None:
        factors = factors * np.sqrt(_row_weights(sample_weights, targets))
    return Noise(
        factors, cholesky, given if is_known else None, common, sample_weights is not None, is_known
    )


def parts_of(deviations: Any, outputs: int) -> tuple[Any, ...]:
    """σ of each output, from a tuple with one for each, or one for all; a single output has one."""
    is_for_each = isinstance(deviations, tuple) and (outputs > 1 or len(deviations) == 1)
    if (
        outputs > 1
        and isinstance(deviations, list | tuple)
        and (not is_for_each or len(deviations) != outputs)
    ):
        raise _wrong_shape(
            f"a tuple of {outputs}, one for each output, or one number or array for all",
            f"a {type(deviations).__name__} of {len(deviations)}",
        )
    if is_for_each:
        return tuple(map(_as_deviations, deviations))
    return (_as_deviations(deviations),) * outputs


def _as_deviations(given: Any) -> Any:
    return None if given is None else as_array("least_squares: deviations", given).astype(float)


def of_one(deviations: Any, target: Any) -> Any:
    """The deviations of one output, with the shape of its targets."""
    if deviations is None:
        return np.zeros(target.shape)
    given = deviations
    row, rows = target.shape[1:], (len(target),)
    if given.shape == target.shape or not given.shape:
        return np.broadcast_to(given, target.shape)
    if given.shape == rows == row:
        raise _wrong_shape(
            f"{(1, *row)} for one of each entry, or {(*rows, 1)} for one of each row", given.shape
        )
    if given.shape == rows:
        return np.broadcast_to(given.reshape(-1, *(1,) * len(row)), target.shape)
    try:
        return np.broadcast_to(given, target.shape)
    except ValueError:
        n = target.size
        raise _wrong_shape(
            f"a number, {target.shape} as the targets, {row} for one of each entry, or a "
            f"covariance matrix {(n, n)}",
            given.shape,
        ) from None


def _is_common(deviations: Any, target: Any) -> bool:
    shape = np.shape(deviations)
    return deviations is not None and (
        shape == () or (shape == target.shape[1:] and shape != target.shape)
    )


def _are_covariance(parts: Sequence[Any], targets: Sequence[Any]) -> bool:
    """Whether all outputs have the same matrix, with a row and a column for each target."""
    n = sum(t.size for t in targets)
    is_matrix = np.shape(parts[0]) == (n, n) and all(part is parts[0] for part in parts)
    return is_matrix and not any(t.shape == (n, n) for t in targets)


def _cholesky(matrix: Any) -> Any:
    if not np.allclose(matrix, matrix.T, rtol=1e-8, atol=0, equal_nan=True):
        raise _invalid("a symmetric matrix", "one that differs from its transpose")
    try:
        return np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        lowest = np.linalg.eigvalsh(matrix)[0] if np.all(np.isfinite(matrix)) else np.nan
        raise _invalid(
            "a covariance matrix, whose eigenvalues are positive", f"a lowest one of {lowest:.3g}"
        ) from None


def _require_positive(given: Any) -> None:
    wrong = np.flatnonzero(~(np.isfinite(given) & (given > 0)))
    if wrong.size:
        raise _invalid(
            "positive numbers",
            f"{given[wrong[0]]:g} at position {wrong[0]}" + and_others(wrong.size),
        )


def _relative(relative: Any) -> Any:
    if not is_number(relative) or not np.isfinite(relative) or relative < 0:
        raise ConfigurationError(
            "least_squares: relative is invalid",
            expected="a fraction of the target, such as 0.05",
            received=shortened(relative),
        )
    return relative


def _row_weights(weights: Any, targets: Sequence[Any]) -> Any:
    given = as_array("least_squares: sample_weights", weights).astype(float)
    if given.shape != (len(targets[0]),):
        raise ShapeError(
            "least_squares: sample_weights has the wrong shape",
            expected=f"one weight for each row, {(len(targets[0]),)}",
            received=given.shape,
        )
    if not np.all(np.isfinite(given) & (given >= 0)):
        raise DataError(
            "least_squares: a sample weight is negative or not a number",
            place=f"row {np.flatnonzero(~(given >= 0) | ~np.isfinite(given))[0]}",
            expected="numbers of at least 0; a row with weight 0 does not count",
        )
    return np.concatenate([np.repeat(given, t[0].size if len(t) else 0) for t in targets])


def _wrong_shape(expected: str, received: Any) -> ShapeError:
    return ShapeError(
        "least_squares: the deviations do not fit the targets", expected=expected, received=received
    )


def _invalid(expected: str, received: str) -> DataError:
    return DataError(
        "least_squares: the deviations are not those of measurements",
        expected=expected,
        received=received,
        hint="a datum without an error would decide the fit alone: give it a small deviation, or "
        "leave deviations out, and the residuals tell how large they are",
    )
