"""Likelihoods: the network predicts the distribution of the target, not just a value.

    p(t | x) = N(t; μ(x), σ²(x))        c = −ln p = ½ (ln σ² + (t − μ)²/σ² + ln 2π)

A large σ costs ln σ, and a small one makes every error expensive: the minimum is at the true spread
of the targets, σ² = ⟨(t − μ)²⟩. So a network learns how sure it can be, without seeing any σ.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from attrs import define, field

from chainrule.core.equations import Equations
from chainrule.core.errors import ConfigurationError, ShapeError
from chainrule.core.types import Array, Shape
from chainrule.core.validators import as_float
from chainrule.losses.loss import Loss, column_of, shares_of, sum_of_each_sample, total_of
from chainrule.losses.messages import name_of

LOG_2_PI = math.log(2 * math.pi)


def _floor(value: Any) -> float:
    number = as_float(value)
    if not isinstance(number, float) or not 0 <= number < math.inf:
        raise ConfigurationError(
            "the floor of a standard deviation must be a finite number, 0 or more",
            place="GaussianNegativeLogLikelihood",
            expected="0 ≤ floor < ∞",
            received=f"floor={value!r:.60}",
            hint="give the smallest standard deviation of the targets, such as floor=1e-3",
        )
    return number


@define
class GaussianNegativeLogLikelihood(Loss):
    """The network predicts a mean and a variance for each number: maximum likelihood.

    c_s = ½ Σ_k (ln σ_sk² + (t_sk − μ_sk)²/σ_sk² + ln 2π)

    Δ_μ = (μ − t)/(N σ²)        Δ_ℓ = (1 − (t − μ)²/σ²)/(2N)        with ℓ = ln σ²

    For n targets the network has 2n outputs: the n means μ, then the n logarithms of the variances
    ℓ, so that any number is allowed: a `Dense` without an activation comes last. C is the negative
    logarithm of the likelihood itself, with its constant, averaged over the batch and summed over
    the n targets. It is negative where the density is above 1.

    Parameters
    ----------
    floor
        The smallest standard deviation, in the units of t: σ² = floor² + exp ℓ. Without it, a
        network that fits a point exactly can lower σ, and with it C, as far as numbers go: σ² is at
        least the smallest normal number of the dtype.

    Raises
    ------
    ShapeError
        If the number of outputs is odd.

    Notes
    -----
    Shapes: y (batch, …, 2n), t (batch, …, n). The sample weights can also have the shape of t.
    For finite y, C is finite; a cost too large for the floating-point type is returned as its
    largest number.

    Metrics such as ``"r2"`` compare y with t of the same shape; a function of your own can
    use `mean`: ``def error(y, t): return np.abs(loss.mean(y) - t).mean()``.

    The pull on a mean is weak where σ² is large, so a network may first explain as noise what it
    has not learned yet. Training the means alone first, with `HalfSquaredError`, helps.

    Source: D. A. Nix and A. S. Weigend, *Estimating the mean and variance of the target probability
    distribution*, ICNN 1994. PyTorch's ``GaussianNLLLoss(full=True)`` takes the variance instead.

    Examples
    --------
    >>> loss = losses.GaussianNegativeLogLikelihood()
    >>> y = np.array([[1.0, np.log(4.0)]])  # μ = 1, σ = 2
    >>> loss(y, np.array([[3.0]])).round(4)  # ½ (ln 4 + 1 + ln 2π)
    np.float64(2.1121)
    >>> loss.mean(y), loss.deviation(y)
    (array([[1.]]), array([[2.]]))
    """

    floor: float = field(default=0.0, converter=_floor, kw_only=True)

    def target_shape(self, output_shape: Shape) -> Shape:
        """Half the outputs, for rows: (…, 2n) gives (…, n)."""
        shape = tuple(output_shape)
        if not shape or shape[-1] % 2:
            raise ShapeError(
                "the number of outputs must be even: a mean and a log variance for each target",
                place=name_of(self),
                expected="(…, 2 n), for targets of shape (…, n)",
                received=shape,
                hint="Dense(2) as the last layer, for one number",
            )
        return (*shape[:-1], shape[-1] // 2)

    def mean(self, y: Array) -> Array:
        """μ, the first half of the outputs: (batch, …, n)."""
        return y[..., : self.target_shape(y.shape[1:])[-1]]

    def deviation(self, y: Array) -> Array:
        """σ from the second half of the outputs: (batch, …, n)."""
        return np.exp(0.5 * self._log_variance(y)[0])

    def _log_variance(self, y: Array) -> tuple[Array, Array]:
        """The logarithm of σ², and its slope with respect to ℓ."""
        given = y[..., self.target_shape(y.shape[1:])[-1] :]
        if not self.floor:
            lowest = math.log(np.finfo(y.dtype).tiny)
            return np.maximum(given, lowest), (given > lowest).astype(y.dtype)
        log_variance = np.logaddexp(given, 2 * math.log(self.floor))
        return log_variance, np.exp(given - log_variance)

    def _terms_and_slopes(self, y: Array, target: Array) -> tuple[Array, Array, Array]:
        """c, ∂c/∂μ and ∂c/∂ℓ for each target."""
        log_variance, slope = self._log_variance(y)
        inverse = np.exp(-0.5 * log_variance)  # 1/σ
        z = (self.mean(y) - target) * inverse
        terms = 0.5 * (log_variance + z * z + LOG_2_PI)
        return terms, z * inverse, 0.5 * (slope - slope * z * z)

    def __call__(
        self, y: Array, target: Array | None = None, sample_weights: Array | None = None
    ) -> Array:
        """C, a scalar; see `Loss`. The weights are for samples, or for single targets."""
        return self.value_and_delta(y, target, sample_weights)[0]

    def delta(
        self, y: Array, target: Array | None = None, sample_weights: Array | None = None
    ) -> Array:
        """Δ = ∂C/∂y, with the shape of y."""
        return self.value_and_delta(y, target, sample_weights)[1]

    @np.errstate(all="ignore")  # the largest numbers may overflow, and a silenced row may be NaN
    def value_and_delta(
        self, y: Array, target: Array | None = None, sample_weights: Array | None = None
    ) -> tuple[Array, Array]:
        """C and Δ together."""
        target = self.accept(y, target)
        share = shares_of(self, y, sample_weights, target.shape, y.shape[0])
        parts = self._terms_and_slopes(y, target)
        if sample_weights is not None:
            share = column_of(share, target)
            parts = tuple(np.where(share == 0, 0.0, part) for part in parts)  # type: ignore[assignment]
        terms, *slopes = parts
        return total_of(terms, share, y), np.concatenate([s * share for s in slopes], axis=-1)

    @np.errstate(all="ignore")
    def costs(self, y: Array, target: Array) -> Array:
        """c_s, the cost of each sample: (batch,)."""
        terms, *_ = self._terms_and_slopes(y, self.accept(y, target))
        return sum_of_each_sample(terms)

    @np.errstate(all="ignore")
    def slopes(self, y: Array, target: Array) -> Array:
        """∂c_s/∂y_s, with the shape of y."""
        _, *slopes = self._terms_and_slopes(y, self.accept(y, target))
        return np.concatenate(slopes, axis=-1)

    def _terms_shape(self, y_shape: Shape) -> Shape:
        return (*y_shape[:1], *self.target_shape(y_shape[1:]))

    def equations(self) -> Equations:
        """C and Δ; see `Loss.equations`."""
        given = "np.split(y, 2, axis=-1)[1]"
        parts = {"mean": "np.split(y, 2, axis=-1)[0]", "log_variance": given}
        slope = "(1 - z**2) / 2"
        if self.floor:
            parts["log_variance"] = f"np.logaddexp({given}, {2 * math.log(self.floor)!r})"
            slope = f"np.exp({given} - log_variance) * {slope}"
        parts["z"] = "(mean - t) * np.exp(-log_variance / 2)"
        return Equations(
            "np.sum(log_variance + z**2 + np.log(2 * np.pi)) / (2 * len(y))",
            f"np.concatenate([z * np.exp(-log_variance / 2), {slope}], axis=-1) / len(y)",
            definitions=parts,
        )
