"""Schedules that begin small: a freshly initialised network tolerates no large steps.

The gradients of the first steps are large and point in random directions. A rate that rises from
near zero gives the statistics of an optimizer, and of a normalization, time to adapt to the data:

    η(t) = η₀ (t + 1)/(T + 1)        for t < T, then another schedule            `WarmUp`
"""

from __future__ import annotations

from itertools import pairwise

from attrs import field, frozen

from chainrule.core.validators import (
    a_rate_above_zero,
    a_rate_or_none,
    as_float,
    as_int,
    complain,
    counted,
    is_integer,
    one_of,
)
from chainrule.schedules.decays import cosine_ramp, interpolate
from chainrule.schedules.schedule import Schedule, a_schedule


@frozen
class WarmUp(Schedule):
    """A linear rise, then another schedule, whose t starts from 0 where the rise ends.

    η(t) = start + (η′(0) − start) t/steps      for t < steps
    η(t) = η′(t − steps)                        for t ≥ steps

    Parameters
    ----------
    schedule
        η′, the schedule that follows.
    steps
        The length of the rise.
    start
        η(0) ≥ 0. The default is η′(0)/(steps + 1), which gives η(t) = η′(0) (t + 1)/(steps + 1): a
        line from zero that leaves out the step with rate zero, which would not move anything.

    Notes
    -----
    The same numbers as ``LinearLR`` in ``SequentialLR`` of ``torch.optim.lr_scheduler``.

    Source: P. Goyal et al., *Accurate, large minibatch SGD: training ImageNet in 1 hour*, 2017,
    arXiv:1706.02677, section 2.2.

    Examples
    --------
    >>> schedule = WarmUp(schedules.Constant(1.0), steps=3)
    >>> [schedule(t) for t in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    schedule: Schedule = field(validator=a_schedule)
    steps: int = field(converter=as_int, validator=counted)
    start: float | None = field(default=None, converter=as_float, validator=a_rate_or_none)

    def at(self, t: int) -> float:
        """η(t); see `Schedule.__call__`."""
        if t >= self.steps:
            return self.schedule(t - self.steps)
        top = self.schedule(0)
        if self.start is None:
            return top * ((t + 1) / (self.steps + 1))
        return interpolate(self.start, top, t / self.steps)


@frozen
class OneCycle(Schedule):
    """Up to a large rate and down to a very small one: one cycle for the whole training.

    The rate moves between a and b as a + (b − a) s(u), where u goes from 0 to 1 and
    s(u) = ½ (1 − cos π u), or s(u) = u for ``shape="linear"``. With r = rise · steps − 1:

    two phases      start → peak from t = 0 to r,  peak → end from r to steps − 1
    three phases    start → peak from t = 0 to r,  peak → start from r to 2 r,
                    start → end from 2 r to steps − 1

    After the cycle the rate stays at ``end``.

    Parameters
    ----------
    peak
        The largest rate, above 0.
    steps
        The number of steps in the cycle; the last is t = steps − 1.
    start
        η(0) ≥ 0, not above ``peak``; the default is ``peak``/25.
    end
        η(steps − 1) ≥ 0, not above ``peak``; the default is ``start``/10,000.
    rise
        The fraction of the steps in which the rate rises, above 0 and below 1; for three phases at
        most 0.5. It has to be more than one step.
    shape
        ``"cosine"`` or ``"linear"``.
    phases
        2, or 3 as in the paper of Smith and Topin.

    Notes
    -----
    The same learning rates as ``torch.optim.lr_scheduler.OneCycleLR``, which also varies the
    momentum in the opposite direction; here the momentum does not change.

    Source: L. N. Smith and N. Topin, *Super-convergence: very fast training of neural networks
    using large learning rates*, 2018, arXiv:1708.07120, section 3.

    Examples
    --------
    >>> schedule = OneCycle(1.0, steps=9, start=0.5, end=0.0, rise=1 / 3, shape="linear", phases=3)
    >>> [schedule(t) for t in range(9)]
    [0.5, 0.75, 1.0, 0.75, 0.5, 0.375, 0.25, 0.125, 0.0]
    """

    peak: float = field(converter=as_float, validator=a_rate_above_zero)
    steps: int = field(converter=as_int, validator=counted)
    start: float | None = field(default=None, converter=as_float, validator=a_rate_or_none)
    end: float | None = field(default=None, converter=as_float, validator=a_rate_or_none)
    rise: float = field(default=0.3, converter=as_float, kw_only=True)
    shape: str = field(default="cosine", validator=one_of("cosine", "linear"), kw_only=True)
    phases: int = field(default=2, converter=as_int, kw_only=True)

    def __attrs_post_init__(self) -> None:
        for name, rate in (("start", self.start), ("end", self.end)):
            if rate is not None and rate > self.peak:
                hint = "the cycle rises to its peak and falls again; is one of the rates too large?"
                complain(self, name, f"no more than the peak, {self.peak}", rate, hint)
        if not is_integer(self.phases) or self.phases not in (2, 3):
            hint = "2 is the usual cycle, 3 that of the original paper"
            complain(self, "phases", "2 or 3", self.phases, hint)
        most = 0.5 if self.phases == 3 else 1.0
        is_fraction = isinstance(self.rise, float) and 0 < self.rise <= most and self.rise != 1
        if not is_fraction:
            expected = "a number above 0 and below 1" + (", at most 0.5" if most < 1 else "")
            hint = "it is the fraction of the steps in which the rate rises, such as 0.3"
            complain(self, "rise", expected, self.rise, hint)
        if self.rise * self.steps <= 1:
            expected = f"more than 1/rise = {1 / self.rise:.4g}, so that the rise takes over a step"
            hint = "use more steps, or a larger rise"
            complain(self, "steps", expected, self.steps, hint)

    def at(self, t: int) -> float:
        """η(t); see `Schedule.__call__`."""
        start = self.peak / 25 if self.start is None else self.start
        end = start / 1e4 if self.end is None else self.end
        rise = self.rise * self.steps - 1
        corners = [(0.0, start), (rise, self.peak), (float(self.steps - 1), end)]
        if self.phases == 3:
            corners.insert(2, (2 * rise, start))
        for (t_0, rate_0), (t_1, rate_1) in pairwise(corners):
            if t <= t_1:
                u = (t - t_0) / (t_1 - t_0)
                return interpolate(rate_0, rate_1, cosine_ramp(u) if self.shape == "cosine" else u)
        return end
