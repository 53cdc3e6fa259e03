"""A rate that waits: it becomes smaller when what is measured has stopped getting better.

On a plateau of the validation loss the steps are too long to get further down. So they are made
shorter, again and again; k counts how often:

    η(t) = max(η₀(t) γᵏ, η_min)        with η₀ a number, or a schedule such as a warm-up
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, evolve, field

from chainrule.callbacks.improvement import is_better, threshold_makes_sense
from chainrule.core.validators import (
    a_rate,
    as_float,
    as_int,
    complain,
    counted_or_zero,
    is_integer,
    is_number,
    one_of,
    yes_or_no,
)
from chainrule.schedules.schedule import Constant, Schedule, require_schedule

REMEMBERED = ("reductions", "best", "not_better", "cooling")


class _Owner:
    """Whose figures were told; a copy belongs to nobody yet, and keeps nobody alive."""

    def __init__(self, owner: object = None) -> None:
        self._owner = None if owner is None else weakref.ref(owner)

    def is_another_than(self, owner: object) -> bool:
        """Whether there is one, and it is not this."""
        return self._owner is not None and self._owner() is not owner

    def __reduce__(self) -> Any:
        return _Owner, ()


@define
class ReduceOnPlateau:
    """A rate that becomes smaller when what is measured has stopped getting better.

    Each `update` is told a figure f. It is better than the best so far, f*, where

    f < f* − threshold · |f*|       (``relative``; else f < f* − threshold)

    or, for ``mode="max"``, where −f is better than −f* in that sense. After more than ``patience``
    figures in a row that were not better, the rate is reduced. After k reductions

    η(t) = max(start(t) · factorᵏ, minimum)

    but never more than start(t).

    Parameters
    ----------
    start
        η ≥ 0 until then; or a `Schedule` of it: ``ReduceOnPlateau(WarmUp(Constant(0.1), 500))``.
    factor
        Above 0 and below 1.
    patience
        How many figures in a row may be no better.
    threshold
        How much better counts, 0 or more; where it is relative, below 1.
    relative
        Whether the threshold is a part of the best figure, or a number to be taken from it.
    cooldown
        For how many figures after a reduction nothing is counted.
    minimum
        Where it ends, η ≥ 0.
    mode
        ``"min"`` for a figure such as a loss, ``"max"`` for one such as an accuracy.

    Attributes
    ----------
    reductions : int
        k, how often the rate was reduced.
    best : float or None
        f*; none before the first figure.
    not_better : int
        How many figures in a row were no better.
    cooling : int
        For how many figures more nothing is counted.

    Notes
    -----
    The same numbers as ``torch.optim.lr_scheduler.ReduceLROnPlateau`` with ``eps=0``, but for a
    negative best figure, of which PyTorch takes the relative threshold in the wrong direction. A
    figure that is NaN is no better than any.

    Examples
    --------
    >>> plateau = ReduceOnPlateau(1.0, factor=0.5, patience=1)
    >>> [plateau.update(loss) for loss in [3.0, 2.0, 2.0, 2.0, 1.0]]
    [1.0, 1.0, 1.0, 0.5, 0.5]
    """

    start: float | Schedule = field(converter=as_float)
    factor: float = field(default=0.1, converter=as_float, kw_only=True)
    patience: int = field(default=10, converter=as_int, validator=counted_or_zero, kw_only=True)
    threshold: float = field(
        default=1e-4, converter=as_float, validator=threshold_makes_sense, kw_only=True
    )
    relative: bool = field(default=True, validator=yes_or_no, kw_only=True)
    cooldown: int = field(default=0, converter=as_int, validator=counted_or_zero, kw_only=True)
    minimum: float = field(default=0.0, converter=as_float, validator=a_rate, kw_only=True)
    mode: str = field(default="min", validator=one_of("min", "max"), kw_only=True)
    reductions: int = field(default=0, init=False, repr=False)
    best: float | None = field(default=None, init=False, repr=False)
    not_better: int = field(default=0, init=False, repr=False)
    cooling: int = field(default=0, init=False, repr=False)
    _owner: _Owner = field(factory=_Owner, init=False, repr=False, eq=False)

    @start.validator
    def _is_a_rate_or_a_schedule(self, attribute: Any, value: Any) -> None:
        if callable(value):  # a schedule, or what was meant to be one
            require_schedule(self, "start", value)
        else:
            a_rate(self, attribute, value)

    @factor.validator
    def _reduces(self, attribute: Any, value: Any) -> None:
        if not isinstance(value, float) or not 0 < value < 1:
            hint = "the rate is multiplied by it, so 0.5 halves it"
            complain(self, "factor", "a number above 0 and below 1", value, hint)

    def __call__(self, t: int = 0) -> float:
        """η(t) after all that was measured so far; without a schedule it is the same for every t.

        Raises
        ------
        ConfigurationError
            ``t`` is no step number, or the schedule gives no learning rate there.
        """
        schedule = self.start if isinstance(self.start, Schedule) else Constant(self.start)
        start = schedule(t)
        # Where it stands below the minimum already, it stays.
        return max(start * self.factor**self.reductions, min(self.minimum, start))

    @property
    def suggested_use(self) -> str:
        """How a training uses it, for the error where it is given in another place."""
        return f"callbacks.LearningRate({type(self).__name__}(…))"

    def update(self, figure: float, t: int = 0) -> float:
        """Take note of what was measured, and return the learning rate from now on.

        Parameters
        ----------
        figure
            f, such as the validation loss of an epoch.
        t
            The number of the next step, where ``start`` is a schedule.

        Raises
        ------
        ConfigurationError
            That is no number.
        """
        if not is_number(figure):
            hint = "update(float(figure)), where it is an array of one number"
            complain(self, "figure", "a number", figure, hint)
        figure = float(figure)
        if is_better(figure, self.best, self):
            self.best, self.not_better = figure, 0
        else:
            self.not_better += 1
        if self.cooling:
            self.cooling, self.not_better = self.cooling - 1, 0
        if self.not_better > self.patience:
            self.reductions, self.cooling, self.not_better = self.reductions + 1, self.cooldown, 0
        return self(t)

    def reset(self) -> None:
        """Forget all figures, and go back to the first rate."""
        self.reductions, self.best, self.not_better, self.cooling = 0, None, 0, 0
        self._owner = _Owner()

    def belong_to(self, owner: object) -> None:
        """Be told the figures of this one from now on; if those so far are of another, reset.

        Parameters
        ----------
        owner
            What is trained, such as the `Trainer`. What was told before there was an owner stays.
        """
        if self._owner.is_another_than(owner):
            self.reset()
        self._owner = _Owner(owner)

    def state(self) -> dict[str, Any]:
        """What it has come to, in plain numbers; `restore` goes on from there."""
        return {name: getattr(self, name) for name in REMEMBERED}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        for name in REMEMBERED:
            setattr(self, name, state[name])

    def plot(self, figures: Sequence[float], steps_per_epoch: int = 1) -> Any:
        """Draw the rates that these figures lead to, below the figures; nothing here is changed.

        Parameters
        ----------
        figures
            What was measured in each epoch, such as ``history["validation_loss"]``; at least one.
        steps_per_epoch
            How many t there are in an epoch, where ``start`` is a schedule of the steps.

        Returns
        -------
        matplotlib.figure.Figure
            The rate of an epoch is that which the figures before it have led to.

        Raises
        ------
        MissingExtraError
            matplotlib is not installed.
        ConfigurationError
            There are no figures, or one of them is no number; or there is no such number of steps.
        """
        from chainrule.schedules.drawing import draw_with_figures, sampled

        if not len(figures):
            hint = 'plot(history["validation_loss"])'
            complain(self, "figures", "at least one number", figures, hint)
        if not is_integer(steps_per_epoch) or steps_per_epoch < 1:
            hint = "1 where the rate is set once an epoch"
            complain(self, "steps_per_epoch", "a whole number, 1 or more", steps_per_epoch, hint)
        edges = sampled(len(figures) * steps_per_epoch)
        afresh, told, rates = evolve(self), 0, []
        for t in edges[:-1]:
            while told < t // steps_per_epoch:
                afresh.update(figures[told])
                told += 1
            rates.append(afresh(int(t)))
        for figure in figures[told:]:
            afresh.update(figure)  # refuses what is no number there, too
        return draw_with_figures(rates, 0.5 + edges / steps_per_epoch, figures)
