"""Schedules that fall: in steps, exponentially, along a power or along a cosine.

staircase        η(t) = η₀ γ^⌊t/T⌋                           `Step`
exponential      η(t) = η₀ γ^t                               `Exponential`
polynomial       η(t) = η₁ + (η₀ − η₁)(1 − t/T)^p            `Polynomial`
cosine           η(t) = η₁ + (η₀ − η₁) ½ (1 + cos π t/T)     `Cosine`
"""

from __future__ import annotations

import math

from attrs import field, frozen

from chainrule.core.errors import ConfigurationError
from chainrule.core.validators import (
    a_rate,
    a_rate_above_zero,
    as_float,
    as_int,
    complain,
    counted,
    positive,
    yes_or_no,
)
from chainrule.schedules.schedule import Schedule


@frozen
class Step(Schedule):
    """A staircase: η(t) = start · factor^⌊t/every⌋.

    Parameters
    ----------
    start
        η(0) ≥ 0.
    every
        The number of steps between changes of the rate.
    factor
        The factor of each change, above 0.

    Notes
    -----
    The same numbers as ``torch.optim.lr_scheduler.StepLR``.

    Source: K. He, X. Zhang, S. Ren and J. Sun, *Deep residual learning for image recognition*,
    CVPR 2016, arXiv:1512.03385, section 3.4, divide the rate by ten in this way.

    Examples
    --------
    >>> schedule = Step(0.1, every=30)
    >>> schedule(29), round(schedule(30), 12)
    (0.1, 0.01)
    """

    start: float = field(converter=as_float, validator=a_rate)
    every: int = field(converter=as_int, validator=counted)
    factor: float = field(default=0.1, converter=as_float, validator=positive)

    def at(self, t: int) -> float:
        """η(t); see `Schedule.__call__`."""
        return self.start * float(self.factor ** (t // self.every))


@frozen
class Exponential(Schedule):
    """η(t) = start · factor^t, an exponential decay start · e^(−t/τ) with τ = −1/ln factor.

    Parameters
    ----------
    start
        η(0) ≥ 0.
    factor
        The factor from each step to the next, above 0; if it is above 1, the rate grows.

    Notes
    -----
    The same numbers as ``torch.optim.lr_scheduler.ExponentialLR``.

    Examples
    --------
    >>> Exponential(0.5, factor=0.5)(2)
    0.125
    """

    start: float = field(converter=as_float, validator=a_rate)
    factor: float = field(converter=as_float, validator=positive)

    @classmethod
    def between(cls, start: float, end: float, steps: int) -> Exponential:
        """The schedule that goes from ``start`` at t = 0 to ``end`` at t = steps, and beyond.

        Parameters
        ----------
        start, end
            Rates above 0.
        steps
            The number of steps from ``start`` to ``end``.

        Raises
        ------
        ConfigurationError
            An argument is invalid.

        Examples
        --------
        >>> Exponential.between(0.25, 4.0, steps=4).factor
        2.0
        """
        try:
            ends = _Ends(start, end, steps)
        except ConfigurationError as error:
            error.place = "Exponential.between"
            raise
        logarithm = (math.log(ends.end) - math.log(ends.start)) / ends.steps
        return cls(ends.start, math.exp(logarithm))

    def at(self, t: int) -> float:
        """η(t); see `Schedule.__call__`."""
        return self.start * float(self.factor**t)


@frozen
class _Ends:
    """The arguments of `Exponential.between`."""

    start: float = field(converter=as_float, validator=a_rate_above_zero)
    end: float = field(converter=as_float, validator=a_rate_above_zero)
    steps: int = field(converter=as_int, validator=counted)


@frozen
class Polynomial(Schedule):
    """η(t) = end + (start − end)(1 − t/steps)^power up to t = steps, then ``end``.

    Parameters
    ----------
    start
        η(0) ≥ 0.
    steps
        The number of steps after which the rate reaches ``end``.
    end
        η ≥ 0; it may be above ``start``.
    power
        Above 0; 1 gives a straight line.

    Notes
    -----
    With ``end=0``, the same numbers as ``torch.optim.lr_scheduler.PolynomialLR``; with ``power=1``,
    the same as ``LinearLR``.

    Source: L.-C. Chen, G. Papandreou, I. Kokkinos, K. Murphy and A. L. Yuille, *DeepLab*, IEEE
    TPAMI 40 (2018) 834, arXiv:1606.00915, section 4.1.2: the "poly" policy, with power 0.9.

    Examples
    --------
    >>> schedule = Polynomial(1.0, steps=4, end=0.5)
    >>> [schedule(t) for t in range(6)]
    [1.0, 0.875, 0.75, 0.625, 0.5, 0.5]
    """

    start: float = field(converter=as_float, validator=a_rate)
    steps: int = field(converter=as_int, validator=counted)
    end: float = field(default=0.0, converter=as_float, validator=a_rate)
    power: float = field(default=1.0, converter=as_float, validator=positive)

    def at(self, t: int) -> float:
        """η(t); see `Schedule.__call__`."""
        remaining = max(self.steps - t, 0) / self.steps
        return interpolate(self.end, self.start, remaining**self.power)


@frozen
class Cosine(Schedule):
    """η(t) = end + (start − end) ½ (1 + cos π t/steps) up to t = steps, then ``end``.

    With restarts, the rate returns to ``start`` at t = steps, and the next such curve begins. Each
    curve takes ``growth`` times as long as the previous one. With u steps since the n-th restart,
    and T = steps · growth^n, the rate is η(t) = end + (start − end) ½ (1 + cos π u/T).

    Parameters
    ----------
    start
        η(0) ≥ 0.
    steps
        The number of steps after which the rate reaches ``end``; with restarts, the number of
        steps before the first restart.
    end
        η ≥ 0; it may be above ``start``.
    restarts
        Whether the curve restarts.
    growth
        With restarts, an integer of at least 1.

    Notes
    -----
    The same numbers as ``torch.optim.lr_scheduler.CosineAnnealingLR`` up to t = steps (in PyTorch
    the rate then rises again); with restarts, the same as ``CosineAnnealingWarmRestarts``.

    Source: I. Loshchilov and F. Hutter, *SGDR: Stochastic gradient descent with warm restarts*,
    ICLR 2017, arXiv:1608.03983, equation 5.

    Examples
    --------
    >>> schedule = Cosine(1.0, steps=3, restarts=True)
    >>> [round(schedule(t), 12) for t in range(5)]
    [1.0, 0.75, 0.25, 1.0, 0.75]
    """

    start: float = field(converter=as_float, validator=a_rate)
    steps: int = field(converter=as_int, validator=counted)
    end: float = field(default=0.0, converter=as_float, validator=a_rate)
    restarts: bool = field(default=False, validator=yes_or_no, kw_only=True)
    growth: int = field(default=1, converter=as_int, validator=counted, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.growth != 1 and not self.restarts:
            hint = "Cosine(…, restarts=True, growth=2)"
            complain(self, "growth", "restarts=True as well", self.growth, hint)

    def at(self, t: int) -> float:
        """η(t); see `Schedule.__call__`."""
        length = self.steps
        if not self.restarts:
            t = min(t, length)
        elif self.growth == 1:
            t %= length
        else:
            while t >= length:
                t, length = t - length, length * self.growth
        return interpolate(self.start, self.end, cosine_ramp(t / length))


def interpolate(first: float, second: float, share: float) -> float:
    """(1 − share) · first + share · second: exact at both ends, and never beyond them."""
    return (1 - share) * first + share * second


def cosine_ramp(u: float) -> float:
    """½ (1 − cos π u): from 0 to 1, flat at both ends."""
    return (1 - math.cos(math.pi * u)) / 2
