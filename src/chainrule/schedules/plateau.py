"""A learning rate that is reduced when a measurement has stopped improving.

On a plateau of the validation loss, the steps are too long to go further down. So the rate is
reduced again and again; k counts the reductions:

    η(t) = max(η₀(t) γᵏ, η_min)        with η₀ a number, or a schedule such as a warm-up
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, evolve, field

from chainrule.callbacks.improvement import is_better, threshold_is_valid
from chainrule.core.hints import Hinted
from chainrule.core.ownership import UsedBy
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


@define
class ReduceOnPlateau(Hinted):
    """A learning rate that is reduced when a measurement has stopped improving.

    Each `update` takes a figure f. It is better than the best so far, f*, if

    f < f* − threshold · |f*|       (``relative``; otherwise f < f* − threshold)

    or, for ``mode="max"``, if −f is better than −f* in this sense. After more than ``patience``
    figures in a row without improvement, the rate is reduced. After k reductions it is

    η(t) = max(start(t) · factorᵏ, minimum)

    but never more than start(t).

    Parameters
    ----------
    start
        η ≥ 0 before the first reduction, or a `Schedule`:
        ``ReduceOnPlateau(WarmUp(Constant(0.1), 500))``.
    factor
        Above 0 and below 1.
    patience
        How many figures in a row may fail to improve.
    threshold
        The improvement that counts, 0 or more; if it is relative, below 1.
    relative
        Whether the threshold is a fraction of the best figure, or an absolute difference.
    cooldown
        How many figures after a reduction are not counted.
    minimum
        The lowest rate, η ≥ 0.
    mode
        ``"min"`` for a figure such as a loss, ``"max"`` for one such as an accuracy.

    Attributes
    ----------
    reductions : int
        k, the number of reductions so far.
    best : float or None
        f*; None before the first figure.
    not_better : int
        How many figures in a row did not improve.
    cooling : int
        How many of the next figures will not be counted.

    Notes
    -----
    The same numbers as ``torch.optim.lr_scheduler.ReduceLROnPlateau`` with ``eps=0``, except for a
    negative best figure, where PyTorch applies the relative threshold in the wrong direction. NaN
    is never better.

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
        default=1e-4, converter=as_float, validator=threshold_is_valid, kw_only=True
    )
    relative: bool = field(default=True, validator=yes_or_no, kw_only=True)
    cooldown: int = field(default=0, converter=as_int, validator=counted_or_zero, kw_only=True)
    minimum: float = field(default=0.0, converter=as_float, validator=a_rate, kw_only=True)
    mode: str = field(default="min", validator=one_of("min", "max"), kw_only=True)
    reductions: int = field(default=0, init=False, repr=False)
    best: float | None = field(default=None, init=False, repr=False)
    not_better: int = field(default=0, init=False, repr=False)
    cooling: int = field(default=0, init=False, repr=False)
    _owner: UsedBy = field(factory=UsedBy, init=False, repr=False, eq=False)

    @start.validator
    def _is_a_rate_or_a_schedule(self, attribute: Any, value: Any) -> None:
        if callable(value):  # a schedule, or something given in its place
            require_schedule(self, "start", value)
        else:
            a_rate(self, attribute, value)

    @factor.validator
    def _reduces(self, attribute: Any, value: Any) -> None:
        if not isinstance(value, float) or not 0 < value < 1:
            hint = "the rate is multiplied by it, so 0.5 halves it"
            complain(self, "factor", "a number above 0 and below 1", value, hint)

    def __call__(self, t: int = 0) -> float:
        """η(t) after the measurements so far; without a schedule it is the same for every t.

        Raises
        ------
        ConfigurationError
            ``t`` is not a step number, or the schedule returns an invalid rate there.
        """
        schedule = self.start if isinstance(self.start, Schedule) else Constant(self.start)
        start = schedule(t)
        # A rate that starts below the minimum stays unchanged.
        return max(start * self.factor**self.reductions, min(self.minimum, start))

    @property
    def suggested_use(self) -> str:
        """The correct use, for the error when it is given in the wrong place."""
        return f"callbacks.LearningRate({type(self).__name__}(…))"

    def update(self, figure: float, t: int = 0) -> float:
        """Take a new measurement into account, and return the new learning rate.

        Parameters
        ----------
        figure
            f, such as the validation loss of an epoch.
        t
            The number of the next step, if ``start`` is a schedule.

        Raises
        ------
        ConfigurationError
            ``figure`` is not a number.
        """
        if not is_number(figure):
            hint = "for an array with one number: update(float(figure))"
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
        """Forget all figures, and return to the initial rate."""
        self.reductions, self.best, self.not_better, self.cooling = 0, None, 0, 0
        self._owner = UsedBy()

    def belong_to(self, owner: object) -> None:
        """Receive figures from this owner from now on; reset if the owner was another one.

        Parameters
        ----------
        owner
            The source of the figures, such as the `Trainer`. Figures received before there was an
            owner are kept.
        """
        if self._owner.is_another_than(owner):
            self.reset()
        self._owner = UsedBy(owner)

    def state(self) -> dict[str, Any]:
        """The current state as plain numbers; `restore` continues from it."""
        return {name: getattr(self, name) for name in REMEMBERED}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from an earlier `state`."""
        for name in REMEMBERED:
            setattr(self, name, state[name])

    def plot(self, figures: Sequence[float], steps_per_epoch: int = 1) -> Any:
        """Plot these figures, and below them the rates that result; this object does not change.

        Parameters
        ----------
        figures
            The measurement of each epoch, such as ``history["validation_loss"]``; at least one.
        steps_per_epoch
            The number of steps t in an epoch, if ``start`` is a schedule that counts steps.

        Returns
        -------
        matplotlib.figure.Figure
            The rate of each epoch results from the figures of the epochs before it.

        Raises
        ------
        MissingExtraError
            matplotlib is not installed.
        ConfigurationError
            There are no figures, one of them is not a number, or ``steps_per_epoch`` is not an
            integer of at least 1.
        """
        from chainrule.schedules.drawing import draw_with_figures, sampled

        if not len(figures):
            hint = 'plot(history["validation_loss"])'
            complain(self, "figures", "at least one number", figures, hint)
        if not is_integer(steps_per_epoch) or steps_per_epoch < 1:
            hint = "use 1 if the rate is set once per epoch"
            complain(self, "steps_per_epoch", "an integer, 1 or more", steps_per_epoch, hint)
        edges = sampled(len(figures) * steps_per_epoch)
        fresh, epoch, rates = evolve(self), 0, []
        for t in edges[:-1]:
            while epoch < t // steps_per_epoch:
                fresh.update(figures[epoch])
                epoch += 1
            rates.append(fresh(int(t)))
        for figure in figures[epoch:]:
            fresh.update(figure)  # raises an error if it is not a number
        return draw_with_figures(rates, 0.5 + edges / steps_per_epoch, figures)
