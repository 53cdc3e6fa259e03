"""Metrics for numbers: how far the outputs are from the targets.

    R² = 1 − Σ_s w_s (y_s − t_s)² / Σ_s w_s (t_s − t̄)²        1 is perfect, 0 is a constant, t̄

Each output has its own, and the metric is their mean. The variance of the targets is updated from
batch to batch with their mean, so that it does not cancel for targets far from zero.

Source of the update: T. F. Chan, G. H. Golub and R. J. LeVeque, *Algorithms for computing the
sample variance*, The American Statistician 37 (1983) 242.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.core.types import Array
from chainrule.training.metric import Metric, spread_weights, wrong_shape


class RootMeanSquaredError(Metric):
    """The root of the mean squared error of each output, averaged over the outputs.

    (1/K) Σ_k √(Σ_s w_s (y_sk − t_sk)² / Σ_s w_s), in the units of y. As scikit-learn's
    ``root_mean_squared_error``; for one output it is the root of `MeanSquaredError`.

    y and target: (batch, …, K), or (batch,) for one output.
    """

    def sums(self, y: Array, target: Array, sample_weights: Any, /) -> Array:
        """Σ w (y − t)² and Σ w, (2, outputs)."""
        y, t, w = _columns(self.name, y, target, sample_weights)
        return np.array([np.sum(_counted(w, (y - t) ** 2), axis=0), np.sum(w, axis=0)])

    def figure(self, sums: Array, /) -> float:
        """The mean of the roots."""
        squares, weights = sums
        if not weights.all():
            return math.nan
        return float(np.mean(np.sqrt(squares / weights)))


class R2(Metric):
    """The coefficient of determination: the share of the targets' variance that is explained.

    R²_k = 1 − Σ_s w_s (y_sk − t_sk)² / Σ_s w_s (t_sk − t̄_k)², averaged over the outputs k

    1 is perfect, 0 is as good as the mean of the targets, and it can be negative. If all targets of
    an output are equal, it is 1 for a perfect output and 0 for any other; for fewer than two
    samples it is NaN. As scikit-learn's ``r2_score``.

    y and target: (batch, …, K), or (batch,) for one output.
    """

    def sums(self, y: Array, target: Array, sample_weights: Any, /) -> Array:
        """Samples, Σ w, t̄, Σ w (t − t̄)² and Σ w (y − t)², (5, outputs)."""
        y, t, w = _columns(self.name, y, target, sample_weights)
        total = np.sum(w, axis=0)
        mean = np.sum(_counted(w, t), axis=0) / np.where(total == 0, 1.0, total)
        spread = np.sum(_counted(w, (t - mean) ** 2), axis=0)
        rest = np.sum(_counted(w, (y - t) ** 2), axis=0)
        return np.array([np.full(len(total), float(len(t))), total, mean, spread, rest])

    def joined(self, one: Array, other: Array) -> Array:
        """The same of both: Σ w (t − t̄)² grows by the distance of the two means."""
        total = one[1] + other[1]
        share = other[1] / np.where(total == 0, 1.0, total)
        step = other[2] - one[2]
        return np.array(
            [
                one[0] + other[0],
                total,
                one[2] + step * share,
                one[3] + other[3] + step**2 * one[1] * share,
                one[4] + other[4],
            ]
        )

    def figure(self, sums: Array, /) -> float:
        """The mean of the R² of the outputs."""
        samples, _, _, spread, rest = sums
        if np.isnan(sums).any() or not samples.size or samples[0] < 2:
            return math.nan
        is_constant = spread == 0
        shares = 1.0 - rest / np.where(is_constant, 1.0, spread)
        return float(np.mean(np.where(is_constant, np.where(rest == 0, 1.0, 0.0), shares)))


def _columns(name: str, y: Array, target: Array, sample_weights: Any) -> tuple[Array, Array, Array]:
    """Output, target and weights in float64, (samples, outputs)."""
    if target.shape != y.shape:
        raise wrong_shape(name, target, y.shape)
    shape = (-1, y.shape[-1] if y.ndim > 1 else 1)
    weights = spread_weights(name, sample_weights, y.shape)
    y, t = (np.asarray(array, dtype=float).reshape(shape) for array in (y, target))
    return y, t, np.ones_like(y) if weights is None else weights.reshape(shape)


def _counted(weights: Array, values: Array) -> Array:
    """The products w v, and 0 where the weight is 0, whatever v is."""
    return np.where(weights == 0, 0.0, weights * values)
