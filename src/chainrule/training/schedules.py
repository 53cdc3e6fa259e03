"""Schedules: how the learning rate changes while a network learns.

Far from the minimum of the cost long steps are good; near it they jump across. A schedule is a
function that gives the learning rate η for each step number t = 0, 1, 2, …,

    θ ← θ − η(t) ∂C/∂θ,        such as    η(t) = η₁ + (η₀ − η₁) ½ (1 + cos π t/T)    (`Cosine`)

and remembers nothing, so what it gives at t is the same at any time. Schedules are made of others:

    WarmUp(Cosine(0.1, steps=900), steps=100)             rise to 0.1, then fall to zero
    Constant(0.1).then(Exponential(0.1, 0.99), after=50)  one after the other
    0.5 * Cosine(0.1, steps=900)                          a product, with a number or a schedule

A callback brings it to an optimizer, whichever that is, and t counts its steps or its epochs:

    rate = LearningRate(WarmUp(Cosine(0.1, steps=900), steps=100))
    trainer.fit(x, t, callbacks=[rate])

`ReduceOnPlateau` is no function of t: it waits for what was measured, so it has a state.
"""

from __future__ import annotations

import math
import numbers
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np
from attrs import define, evolve, field, frozen

from chainrule.core.errors import ConfigurationError, DefinitionError
from chainrule.core.wording import is_whole
from chainrule.training.callbacks import Callback
from chainrule.training.curves import INK, PALE, TRAINING, VALIDATION, missing_matplotlib

if TYPE_CHECKING:
    from chainrule.training.trainer import Trainer

__all__ = [
    "Chain",
    "Constant",
    "Cosine",
    "Exponential",
    "LearningRate",
    "OneCycle",
    "Polynomial",
    "Product",
    "ReduceOnPlateau",
    "Schedule",
    "Step",
    "WarmUp",
]

DRAWN_AT_MOST = 2000
"""How many steps a figure shows; of more, as many that lie equally far apart."""


# ------------------------------------------------------------------------------- arguments


def _complain(owner: object, name: str, expected: str, received: object, mend: str) -> NoReturn:
    raise ConfigurationError(
        f"{name} has a value that makes no sense",
        place=type(owner).__name__,
        expected=expected,
        received=f"{received!r:.60}",
        mend=mend,
    )


def _as_float(value: Any) -> Any:
    # What is no number, or none that a float can hold, is left for the validator to refuse.
    try:
        return float(value) if _is_number(value) else value
    except OverflowError:
        return value


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _as_int(value: Any) -> Any:
    return int(value) if is_whole(value) else value


def _as_tuple(values: Any) -> Any:
    return tuple(map(_as_int, values)) if isinstance(values, Iterable) else values


def _rate(owner: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, float) or not 0 <= value < math.inf:
        mend = "it is a learning rate, often between 1e-4 and 1"
        _complain(owner, attribute.name, "a finite number, 0 or more", value, mend)


def _rate_above_zero(owner: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, float) or not 0 < value < math.inf:
        mend = "it is a learning rate, often between 1e-4 and 1"
        _complain(owner, attribute.name, "a finite number above 0", value, mend)


def _rate_or_none(owner: object, attribute: Any, value: Any) -> None:
    if value is not None:
        _rate(owner, attribute, value)


def _positive(owner: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, float) or not 0 < value < math.inf:
        mend = {
            "factor": "0.1 is a tenth each time; above 1, the rate grows",
            "power": "1 is a straight line, 2 a parabola",
        }[attribute.name]
        _complain(owner, attribute.name, "a finite number above 0", value, mend)


def _counted(owner: object, attribute: Any, value: Any) -> None:
    if not is_whole(value) or value < 1:
        mend = "it counts steps (or epochs, where the rate is set once an epoch)"
        _complain(owner, attribute.name, "a whole number, 1 or more", value, mend)


def _counted_or_zero(owner: object, attribute: Any, value: Any) -> None:
    if not is_whole(value) or value < 0:
        mend = "it counts steps or epochs; 0 is none"
        _complain(owner, attribute.name, "a whole number, 0 or more", value, mend)


def _yes_or_no(owner: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, bool):
        mend = f"{attribute.name}=True or {attribute.name}=False"
        _complain(owner, attribute.name, "True or False", value, mend)


def _one_of(*words: str) -> Callable[[object, Any, Any], None]:
    def validator(owner: object, attribute: Any, value: Any) -> None:
        if not isinstance(value, str) or value not in words:
            expected = " or ".join(map(repr, words))
            _complain(owner, attribute.name, expected, value, f"{attribute.name}={words[0]!r}")

    return validator


def _schedule(owner: object, attribute: Any, value: Any) -> None:
    _require_schedule(owner, attribute.name, value)


def _require_schedule(owner: object, name: str, value: Any) -> None:
    if isinstance(value, Schedule):
        return
    received: object = value
    if _is_number(value):
        mend = f"Constant({value!r})"
    elif isinstance(value, type) and issubclass(value, Schedule | ReduceOnPlateau):
        mend = f"make an instance of it: {value.__name__}(…)"
    elif isinstance(value, ReduceOnPlateau):
        mend = "it depends on what is measured and stands alone: LearningRate(ReduceOnPlateau(…))"
    elif callable(value):
        received = f"a function, {getattr(value, '__name__', type(value).__name__)}"
        mend = "for a rule of your own, subclass Schedule and write at(self, t)"
    else:
        mend = "take one of chainrule.schedules"
    _complain(owner, name, "a schedule, such as Cosine(0.1, steps=1000)", received, mend)


# ------------------------------------------------------------------------------- schedules


@frozen
class Schedule:
    """What every schedule is: a function of the step number that gives the learning rate.

    Subclass it, decorate the subclass with `attrs.frozen`, and write ``at``:

        @frozen
        class InverseSquareRoot(Schedule):
            start: float

            def at(self, t):
                return self.start / math.sqrt(t + 1)

    A schedule never changes, so one object may serve several optimizers, and it can be a key of a
    dictionary. Its fields are all that there is to it: numbers, words, and other schedules.
    """

    __array_ufunc__: ClassVar[None] = (
        None  # so that a NumPy number leaves `number * schedule` to us
    )

    def at(self, t: int) -> float:
        """η(t), for a t that is known to be a whole number, 0 or more; what a subclass writes."""
        raise DefinitionError(
            "a schedule needs a method at",
            place=type(self).__name__,
            expected="at(self, t), which returns the learning rate of step t = 0, 1, 2, …",
            received="a class without at",
            mend="write it, or use Cosine or another one of chainrule.schedules",
        )

    def __call__(self, t: int) -> float:
        """η(t), the learning rate of step t.

        Parameters
        ----------
        t
            The number of the step, counted from 0.

        Returns
        -------
        float
            Finite, 0 or more.

        Raises
        ------
        ConfigurationError
            ``t`` is no step number, or the schedule gives no learning rate there.
        """
        if not is_whole(t) or t < 0:
            mend = "one step at a time: [schedule(t) for t in range(100)]"
            _complain(self, "t", "a whole number, 0 or more", t, mend)
        try:
            rate = float(self.at(int(t)))
        except OverflowError:
            rate = math.inf
        if not 0 <= rate < math.inf:
            raise ConfigurationError(
                "the schedule gives what is no learning rate",
                place=f"{type(self).__name__}, step {t}",
                expected="a finite number, 0 or more",
                received=rate,
                mend="end it before that step, with .then(…, after=…), or let it grow less",
            )
        return rate

    def then(self, schedule: Schedule, *, after: int) -> Chain:
        """Take this schedule for ``after`` steps, then another, whose t starts from 0.

        Parameters
        ----------
        schedule
            What follows.
        after
            How many steps lie before it, counted from the beginning of the whole:
            ``a.then(b, after=30).then(c, after=40)`` takes b for 10 steps.

        Raises
        ------
        ConfigurationError
            That is no schedule, or no such number.

        Examples
        --------
        >>> schedule = Constant(0.1).then(Constant(0.01), after=30)
        >>> schedule(29), schedule(30)
        (0.1, 0.01)
        """
        return Chain((self, schedule), (after,))

    def __mul__(self, other: Schedule | float) -> Product:
        known = isinstance(other, Schedule) or _is_number(other)
        return Product((self, other)) if known else NotImplemented

    def __rmul__(self, other: float) -> Product:
        return Product((other, self)) if _is_number(other) else NotImplemented

    def plot(self, steps: int) -> Any:
        """Draw η(t) for t = 0, …, steps − 1 with matplotlib: ``pip install 'chainrule[plot]'``.

        The scale is logarithmic where half of the steps or more have a rate below a tenth of the
        largest, which could not be read otherwise.

        Parameters
        ----------
        steps
            How many.

        Returns
        -------
        matplotlib.figure.Figure
            The figure, for ``.savefig("schedule.png")``.

        Raises
        ------
        MissingExtraError
            matplotlib is not installed.
        ConfigurationError
            ``steps`` is no whole number of at least 1.
        """
        if not is_whole(steps) or steps < 1:
            mend = "schedule.plot(1000) shows the first 1000 steps"
            _complain(self, "steps", "a whole number, 1 or more", steps, mend)
        edges = np.linspace(0, steps, min(steps, DRAWN_AT_MOST) + 1).astype(int)
        figure = _new_figure(height=3.4)
        _draw_rates(figure.subplots(), [self(int(t)) for t in edges[:-1]], edges, "step t")
        return figure


@frozen
class Constant(Schedule):
    """η(t) = rate.

    Parameters
    ----------
    rate
        η ≥ 0.
    """

    rate: float = field(converter=_as_float, validator=_rate)

    def at(self, t: int) -> float:
        """η(t); see `Schedule.__call__`."""
        return self.rate


@frozen
class Step(Schedule):
    """A staircase: η(t) = start · factor^⌊t/every⌋.

    Parameters
    ----------
    start
        η(0) ≥ 0.
    every
        After how many steps the rate changes, again and again.
    factor
        By how much, above 0.

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

    start: float = field(converter=_as_float, validator=_rate)
    every: int = field(converter=_as_int, validator=_counted)
    factor: float = field(default=0.1, converter=_as_float, validator=_positive)

    def at(self, t: int) -> float:
        """η(t); see `Schedule.__call__`."""
        return self.start * float(self.factor ** (t // self.every))


@frozen
class Exponential(Schedule):
    """η(t) = start · factor^t; in an experiment's words, start · e^(−t/τ) with τ = −1/ln factor.

    Parameters
    ----------
    start
        η(0) ≥ 0.
    factor
        From each step to the next, above 0; with one above 1 the rate grows.

    Notes
    -----
    The same numbers as ``torch.optim.lr_scheduler.ExponentialLR``.

    Examples
    --------
    >>> Exponential(0.5, factor=0.5)(2)
    0.125
    """

    start: float = field(converter=_as_float, validator=_rate)
    factor: float = field(converter=_as_float, validator=_positive)

    @classmethod
    def between(cls, start: float, end: float, steps: int) -> Exponential:
        """The one that goes from ``start`` at t = 0 to ``end`` at t = steps, and on and on.

        Parameters
        ----------
        start, end
            Rates above 0.
        steps
            How many lie between them.

        Raises
        ------
        ConfigurationError
            One of them makes no sense.

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

    start: float = field(converter=_as_float, validator=_rate_above_zero)
    end: float = field(converter=_as_float, validator=_rate_above_zero)
    steps: int = field(converter=_as_int, validator=_counted)


@frozen
class Polynomial(Schedule):
    """η(t) = end + (start − end)(1 − t/steps)^power up to t = steps, and ``end`` from there on.

    Parameters
    ----------
    start
        η(0) ≥ 0.
    steps
        When ``end`` is reached.
    end
        η ≥ 0; it may lie above ``start``.
    power
        Above 0; with 1 it is a straight line.

    Notes
    -----
    With ``end=0`` the same numbers as ``torch.optim.lr_scheduler.PolynomialLR``, and with
    ``power=1`` as ``LinearLR``.

    Source: L.-C. Chen, G. Papandreou, I. Kokkinos, K. Murphy and A. L. Yuille, *DeepLab*, IEEE
    TPAMI 40 (2018) 834, arXiv:1606.00915, section 4.1.2: the "poly" policy, with power 0.9.

    Examples
    --------
    >>> schedule = Polynomial(1.0, steps=4, end=0.5)
    >>> [schedule(t) for t in range(6)]
    [1.0, 0.875, 0.75, 0.625, 0.5, 0.5]
    """

    start: float = field(converter=_as_float, validator=_rate)
    steps: int = field(converter=_as_int, validator=_counted)
    end: float = field(default=0.0, converter=_as_float, validator=_rate)
    power: float = field(default=1.0, converter=_as_float, validator=_positive)

    def at(self, t: int) -> float:
        """η(t); see `Schedule.__call__`."""
        left = max(self.steps - t, 0) / self.steps
        return _between(self.end, self.start, left**self.power)


@frozen
class Cosine(Schedule):
    """η(t) = end + (start − end) ½ (1 + cos π t/steps) up to t = steps, and ``end`` from there on.

    With restarts, ``start`` comes again at t = steps, and the next such curve begins; it takes
    ``growth`` times as long as the one before: η(t) = end + (start − end) ½ (1 + cos π u/T) with
    T = steps · growth^n and u the number of steps since the n-th restart.

    Parameters
    ----------
    start
        η(0) ≥ 0.
    steps
        When ``end`` is reached for the first time; with restarts, when ``start`` comes again.
    end
        η ≥ 0; it may lie above ``start``.
    restarts
        Whether it begins anew.
    growth
        With restarts, a whole number of at least 1.

    Notes
    -----
    The same numbers as ``torch.optim.lr_scheduler.CosineAnnealingLR`` up to t = steps (PyTorch's
    rises again after that), and with restarts as ``CosineAnnealingWarmRestarts``.

    Source: I. Loshchilov and F. Hutter, *SGDR: Stochastic gradient descent with warm restarts*,
    ICLR 2017, arXiv:1608.03983, equation 5.

    Examples
    --------
    >>> schedule = Cosine(1.0, steps=3, restarts=True)
    >>> [round(schedule(t), 12) for t in range(5)]
    [1.0, 0.75, 0.25, 1.0, 0.75]
    """

    start: float = field(converter=_as_float, validator=_rate)
    steps: int = field(converter=_as_int, validator=_counted)
    end: float = field(default=0.0, converter=_as_float, validator=_rate)
    restarts: bool = field(default=False, validator=_yes_or_no, kw_only=True)
    growth: int = field(default=1, converter=_as_int, validator=_counted, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.growth != 1 and not self.restarts:
            mend = "Cosine(…, restarts=True, growth=2)"
            _complain(self, "growth", "restarts=True along with it", self.growth, mend)

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
        return _between(self.start, self.end, _cosine_share(t / length))


@frozen
class WarmUp(Schedule):
    """A straight line up, then another schedule, whose t starts from 0 where the line ends.

    η(t) = start + (η′(0) − start) t/steps      for t < steps
    η(t) = η′(t − steps)                        from there on

    Parameters
    ----------
    schedule
        η′, what follows.
    steps
        How long the line is.
    start
        η(0) ≥ 0. If not given, it is η′(0)/(steps + 1), and then η(t) = η′(0) (t + 1)/(steps + 1):
        the line that comes from zero, without a step that would move nothing.

    Notes
    -----
    The same numbers as ``LinearLR`` in ``SequentialLR`` of ``torch.optim.lr_scheduler``.

    Source: P. Goyal et al., *Accurate, large minibatch SGD: training ImageNet in 1 hour*, 2017,
    arXiv:1706.02677, section 2.2.

    Examples
    --------
    >>> schedule = WarmUp(Constant(1.0), steps=3)
    >>> [schedule(t) for t in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    schedule: Schedule = field(validator=_schedule)
    steps: int = field(converter=_as_int, validator=_counted)
    start: float | None = field(default=None, converter=_as_float, validator=_rate_or_none)

    def at(self, t: int) -> float:
        """η(t); see `Schedule.__call__`."""
        if t >= self.steps:
            return self.schedule(t - self.steps)
        top = self.schedule(0)
        if self.start is None:
            return top * ((t + 1) / (self.steps + 1))
        return _between(self.start, top, t / self.steps)


@frozen
class OneCycle(Schedule):
    """Up to a large rate, and down to a very small one: one cycle for the whole training.

    With r = rise · steps − 1, and the rate on the way from a to b being a + (b − a) s(u), where u
    goes from 0 to 1, and s(u) = ½ (1 − cos π u), or s(u) = u with ``shape="linear"``:

    two phases      start → peak from t = 0 to r,  peak → end from r to steps − 1
    three phases    start → peak from t = 0 to r,  peak → start from r to 2 r,
                    start → end from 2 r to steps − 1

    and ``end`` from there on.

    Parameters
    ----------
    peak
        The largest rate, above 0.
    steps
        How many steps the cycle has; the last is t = steps − 1.
    start
        η(0) ≥ 0, not above ``peak``; if not given, a 25th of it.
    end
        η(steps − 1) ≥ 0, not above ``peak``; if not given, a 10,000th of ``start``.
    rise
        Which part of the steps leads up, above 0 and below 1; for three phases 0.5 at most. It has
        to be more than one step.
    shape
        ``"cosine"`` or ``"linear"``.
    phases
        2, or 3 as in Smith's paper.

    Notes
    -----
    The same numbers as the learning rates of ``torch.optim.lr_scheduler.OneCycleLR``, which also
    turns the momentum the other way round; here, the momentum stays as it is.

    Source: L. N. Smith and N. Topin, *Super-convergence: very fast training of neural networks
    using large learning rates*, 2018, arXiv:1708.07120, section 3.

    Examples
    --------
    >>> schedule = OneCycle(1.0, steps=9, start=0.5, end=0.0, rise=1 / 3, shape="linear", phases=3)
    >>> [schedule(t) for t in range(9)]
    [0.5, 0.75, 1.0, 0.75, 0.5, 0.375, 0.25, 0.125, 0.0]
    """

    peak: float = field(converter=_as_float, validator=_rate_above_zero)
    steps: int = field(converter=_as_int, validator=_counted)
    start: float | None = field(default=None, converter=_as_float, validator=_rate_or_none)
    end: float | None = field(default=None, converter=_as_float, validator=_rate_or_none)
    rise: float = field(default=0.3, converter=_as_float, kw_only=True)
    shape: str = field(default="cosine", validator=_one_of("cosine", "linear"), kw_only=True)
    phases: int = field(default=2, converter=_as_int, kw_only=True)

    def __attrs_post_init__(self) -> None:
        for name, rate in (("start", self.start), ("end", self.end)):
            if rate is not None and rate > self.peak:
                mend = "the cycle goes up to its peak and down again; is one too large?"
                _complain(self, name, f"no more than the peak, {self.peak}", rate, mend)
        if self.phases not in (2, 3):
            mend = "2 is the usual cycle, 3 that of Smith's paper"
            _complain(self, "phases", "2 or 3", self.phases, mend)
        most = 0.5 if self.phases == 3 else 1.0
        is_part = isinstance(self.rise, float) and 0 < self.rise <= most and self.rise != 1
        if not is_part:
            expected = "a number above 0 and below 1" + (", at most 0.5" if most < 1 else "")
            mend = "it is the part of the steps that leads up, such as 0.3"
            _complain(self, "rise", expected, self.rise, mend)
        if self.rise * self.steps <= 1:
            expected = (
                f"more than 1/rise = {1 / self.rise:.4g}, so that the rise is over a step long"
            )
            mend = "take more steps, or let a larger part of them lead up"
            _complain(self, "steps", expected, self.steps, mend)

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
                return _between(rate_0, rate_1, _cosine_share(u) if self.shape == "cosine" else u)
        return end


def _as_factors(factors: Any) -> Any:
    """Schedules all, and none that is a product itself."""
    if not isinstance(factors, list | tuple):
        return factors
    flat: list[Any] = []
    for factor in factors:
        if isinstance(factor, Product):
            flat += factor.factors
        elif _is_number(factor):
            flat.append(Constant(factor))
        else:
            flat.append(factor)
    return tuple(flat)


@frozen
class Product(Schedule):
    """η(t) = η₁(t) η₂(t) …: what ``schedule * schedule`` and ``0.5 * schedule`` give.

    Parameters
    ----------
    factors
        Schedules, or numbers, which become `Constant`; of a product among them, its factors.

    Examples
    --------
    >>> (0.5 * Exponential(1.0, 0.5))(1)
    0.25
    """

    factors: tuple[Schedule, ...] = field(converter=_as_factors)

    @factors.validator
    def _are_schedules(self, attribute: Any, value: Any) -> None:
        if not isinstance(value, tuple) or not value:
            _complain(self, "factors", "schedules", value, "Product((first, second))")
        for number, factor in enumerate(value):
            _require_schedule(self, f"factors[{number}]", factor)

    def at(self, t: int) -> float:
        """η(t); see `Schedule.__call__`."""
        return math.prod(factor(t) for factor in self.factors)


@frozen
class Chain(Schedule):
    """One schedule after another: what ``first.then(second, after=30)`` gives.

    η(t) = ηₙ(t − tₙ)        for tₙ ≤ t < tₙ₊₁, with t₀ = 0

    Parameters
    ----------
    schedules
        η₀, η₁, …, each of which counts its own steps from 0.
    after
        t₁, t₂, …: how many steps lie before each but the first, counted from the beginning.

    Notes
    -----
    The same numbers as ``torch.optim.lr_scheduler.SequentialLR``, where ``after`` is called
    ``milestones``.

    Examples
    --------
    >>> schedule = Chain([Constant(0.1), Exponential(0.5, 0.5)], after=[2])
    >>> [schedule(t) for t in range(4)]
    [0.1, 0.1, 0.5, 0.25]
    """

    schedules: tuple[Schedule, ...] = field(converter=_as_tuple)
    after: tuple[int, ...] = field(converter=_as_tuple)

    @schedules.validator
    def _are_schedules(self, attribute: Any, value: Any) -> None:
        if not isinstance(value, tuple) or not value:
            _complain(self, "schedules", "schedules", value, "Chain([first, second], after=[30])")
        for number, schedule in enumerate(value):
            _require_schedule(self, f"schedules[{number}]", schedule)

    @after.validator
    def _are_in_order(self, attribute: Any, value: Any) -> None:
        joins = len(self.schedules) - 1
        is_right = (
            isinstance(value, tuple)
            and len(value) == joins
            and all(is_whole(t) for t in value)
            and all(a < b for a, b in pairwise((0, *value)))
        )
        if not is_right:
            expected = f"{joins} whole number{'s' if joins != 1 else ''}, 1 or more, each larger"
            mend = "for each schedule but the first, how many steps lie before it in all"
            _complain(self, "after", f"{expected} than the one before", value, mend)

    def then(self, schedule: Schedule, *, after: int) -> Chain:
        """Take this chain for ``after`` steps, then another; see `Schedule.then`."""
        return Chain((*self.schedules, schedule), (*self.after, after))

    def at(self, t: int) -> float:
        """η(t); see `Schedule.__call__`."""
        number = bisect_right(self.after, t)
        return self.schedules[number](t - (self.after[number - 1] if number else 0))


def _between(first: float, second: float, share: float) -> float:
    """(1 − share) · first + share · second: exact at both ends, and never beyond them."""
    return (1 - share) * first + share * second


def _cosine_share(u: float) -> float:
    """½ (1 − cos π u): from 0 to 1, level at both ends."""
    return (1 - math.cos(math.pi * u)) / 2


# ------------------------------------------------------------------------------- plateaus


@define
class ReduceOnPlateau:
    """A rate that becomes smaller when what is measured has stopped getting better.

    Each `update` is told a figure f. It is better than the best so far, f*, where

    f < f* − threshold · |f*|       (``relative``; else f < f* − threshold)

    or, for ``mode="max"``, where −f is better than −f* in that sense. After more than ``patience``
    figures in a row that were not better, η ← max(factor · η, minimum).

    Parameters
    ----------
    start
        η ≥ 0 until then.
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
    rate : float
        η now.
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

    start: float = field(converter=_as_float, validator=_rate)
    factor: float = field(default=0.1, converter=_as_float, kw_only=True)
    patience: int = field(default=10, converter=_as_int, validator=_counted_or_zero, kw_only=True)
    threshold: float = field(default=1e-4, converter=_as_float, kw_only=True)
    relative: bool = field(default=True, validator=_yes_or_no, kw_only=True)
    cooldown: int = field(default=0, converter=_as_int, validator=_counted_or_zero, kw_only=True)
    minimum: float = field(default=0.0, converter=_as_float, validator=_rate, kw_only=True)
    mode: str = field(default="min", validator=_one_of("min", "max"), kw_only=True)
    rate: float = field(init=False, repr=False)
    best: float | None = field(default=None, init=False, repr=False)
    not_better: int = field(default=0, init=False, repr=False)
    cooling: int = field(default=0, init=False, repr=False)

    @factor.validator
    def _reduces(self, attribute: Any, value: Any) -> None:
        if not isinstance(value, float) or not 0 < value < 1:
            mend = "the rate is multiplied by it, so 0.5 halves it"
            _complain(self, "factor", "a number above 0 and below 1", value, mend)

    @threshold.validator
    def _threshold_makes_sense(self, attribute: Any, value: Any) -> None:
        below = 1.0 if self.relative else math.inf
        if not isinstance(value, float) or not 0 <= value < below:
            expected = "a number, 0 or more" + (", below 1" if below == 1 else "")
            mend = "1e-4 is usual; relative=False for one that is taken from the figure as it is"
            _complain(self, "threshold", expected, value, mend)

    @rate.default
    def _rate_at_first(self) -> float:
        return self.start

    def update(self, figure: float) -> float:
        """Take note of what was measured, and return the learning rate from now on.

        Parameters
        ----------
        figure
            f, such as the validation loss of an epoch.

        Raises
        ------
        ConfigurationError
            That is no number.
        """
        if not _is_number(figure):
            mend = "update(float(figure)), where it is an array of one number"
            _complain(self, "figure", "a number", figure, mend)
        figure = float(figure)
        if self._is_better(figure):
            self.best, self.not_better = figure, 0
        else:
            self.not_better += 1
        if self.cooling:
            self.cooling, self.not_better = self.cooling - 1, 0
        if self.not_better > self.patience:
            # Where it stands below the minimum already, it stays.
            self.rate = min(self.rate, max(self.factor * self.rate, self.minimum))
            self.cooling, self.not_better = self.cooldown, 0
        return self.rate

    def reset(self) -> None:
        """Forget all figures, and go back to the first rate."""
        self.rate, self.best, self.not_better, self.cooling = self.start, None, 0, 0

    def plot(self, figures: Sequence[float]) -> Any:
        """Draw the rates that these figures lead to, below the figures; nothing here is changed.

        Parameters
        ----------
        figures
            What was measured in each epoch, such as ``history["validation_loss"]``; at least one.

        Returns
        -------
        matplotlib.figure.Figure
            The rate of an epoch is that which the figures before it have led to.

        Raises
        ------
        MissingExtraError
            matplotlib is not installed.
        ConfigurationError
            There are no figures, or one of them is no number.
        """
        if not len(figures):
            mend = 'plot(history["validation_loss"])'
            _complain(self, "figures", "at least one number", figures, mend)
        afresh = evolve(self)
        rates = [afresh.rate, *[afresh.update(figure) for figure in figures][:-1]]
        epochs = np.arange(1, len(figures) + 1)
        drawn = _new_figure(height=5.0)
        above, below = drawn.subplots(2, 1, sharex=True)
        _draw_rates(below, rates, np.arange(len(figures) + 1) + 0.5, "epoch")
        marker = "o" if len(figures) <= 30 else ""
        above.plot(epochs, figures, marker=marker, color=VALIDATION, lw=1.8, ms=3.5)
        above.set_ylabel("what is measured", color=INK)
        _tidy(above)
        return drawn

    def _is_better(self, figure: float) -> bool:
        sign = -1 if self.mode == "max" else 1
        best = math.inf if self.best is None else sign * self.best
        least = self.threshold * (abs(best) if self.relative else 1)
        return sign * figure < (best - least if math.isfinite(best) else best)


# ------------------------------------------------------------------------------- the callback


@define(eq=False)
class LearningRate(Callback):
    """Sets the learning rate of the trainer's optimizer before each step, or before each epoch.

    Parameters
    ----------
    schedule
        A `Schedule`, or a `ReduceOnPlateau`.
    per
        What t counts: ``"step"``, or ``"epoch"``, so that the rate stays the same within each.
        With a `ReduceOnPlateau` it is always ``"epoch"``.
    monitor
        For a `ReduceOnPlateau`, the column of the history that it is told at the end of each
        epoch; ``"validation_loss"`` if not given.
    steps
        t, how many steps (or epochs) there were before the first.

    Attributes
    ----------
    steps : int
        t, how many steps (or epochs) there have been. It goes on from one `Trainer.fit` to the
        next; setting it to 0 starts the schedule afresh.

    Raises
    ------
    ConfigurationError
        An argument makes no sense; or, at the end of an epoch, the history has no column
        ``monitor``.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> trainer = Trainer(Sequential([Dense(1)]), losses.HalfSquaredError(), optimizers.SGD(1.0))
    >>> rate = LearningRate(Step(0.25, every=6, factor=0.5))
    >>> history = trainer.fit(x, 2 * x + 1, epochs=5, batch_size=2, callbacks=[rate])
    >>> rate.steps, trainer.optimizer.learning_rate
    (10, 0.125)
    """

    schedule: Schedule | ReduceOnPlateau = field()
    per: str = field(kw_only=True, validator=_one_of("step", "epoch"))
    monitor: str | None = field(kw_only=True)
    steps: int = field(default=0, kw_only=True, converter=_as_int, validator=_counted_or_zero)

    @schedule.validator
    def _is_a_schedule(self, attribute: Any, value: Any) -> None:
        if not isinstance(value, ReduceOnPlateau):
            _require_schedule(self, "schedule", value)

    @per.default
    def _usual_unit(self) -> str:
        return "epoch" if isinstance(self.schedule, ReduceOnPlateau) else "step"

    @monitor.default
    def _usual_column(self) -> str | None:
        return "validation_loss" if isinstance(self.schedule, ReduceOnPlateau) else None

    def __attrs_post_init__(self) -> None:
        if isinstance(self.schedule, ReduceOnPlateau):
            if self.per != "epoch":
                mend = "leave it out: what is monitored is measured once an epoch"
                _complain(self, "per", "'epoch', for a ReduceOnPlateau", self.per, mend)
            if not isinstance(self.monitor, str):
                mend = 'monitor="validation_loss" or monitor="loss"'
                _complain(self, "monitor", "the name of a column", self.monitor, mend)
        elif self.monitor is not None:
            mend = "leave it out, or take ReduceOnPlateau(…)"
            expected = "none, for a schedule that depends on t alone"
            _complain(self, "monitor", expected, self.monitor, mend)

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Set the rate of the first step."""
        self._set(trainer)

    def on_step_end(self, trainer: Trainer, epoch: int, step: int, cost: float) -> None:
        """Set the rate of the next step."""
        if self.per == "step":
            self.steps += 1
            self._set(trainer)

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: Mapping[str, float]) -> None:
        """Set the rate of the next epoch."""
        if self.per == "epoch":
            if isinstance(self.schedule, ReduceOnPlateau):
                self.schedule.update(self._monitored(figures))
            self.steps += 1
            self._set(trainer)

    def _set(self, trainer: Trainer) -> None:
        if isinstance(self.schedule, ReduceOnPlateau):
            rate = self.schedule.rate
        else:
            rate = self.schedule(self.steps)
        trainer.optimizer.learning_rate = rate

    def _monitored(self, figures: Mapping[str, float]) -> float:
        column = str(self.monitor)
        if column in figures:
            return figures[column]
        lacks_validation = column.startswith("validation_") and not any(
            name.startswith("validation_") for name in figures
        )
        known = ", ".join(figures)
        mend = "give validation_data to fit, or" if lacks_validation else "one of these:"
        raise ConfigurationError(
            "the history has no such column to monitor",
            place="LearningRate",
            expected=f"a column {column!r}",
            received=known,
            mend=f"{mend} monitor={next(iter(figures), 'loss')!r}",
        )


# ------------------------------------------------------------------------------- the drawing


def _new_figure(height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_matplotlib(error) from error
    return Figure(figsize=(5.6, height), layout="constrained")


def _draw_rates(ax: Any, rates: Sequence[float], edges: Any, unit: str) -> None:
    """A level for each step: the rate has no value between two of them."""
    ax.stairs(rates, edges, baseline=None, color=TRAINING, lw=1.8)
    ax.set_xlabel(unit, color=INK)
    ax.set_ylabel("learning rate η", color=INK)
    _tidy(ax)
    lowest, highest = min(rates), max(rates)
    if lowest > 0 and np.median(rates) <= 0.1000001 * highest:
        ax.set_yscale("log")
    elif lowest < highest:
        ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    else:
        ax.set_ylim(0, 2 * highest or 1)


def _tidy(ax: Any) -> None:
    ax.grid(axis="y", color=PALE, lw=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(INK)
    ax.tick_params(which="both", colors=INK, labelsize=9)
    ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    ax.xaxis.set_major_formatter(lambda value, position: f"{value:,.0f}")
