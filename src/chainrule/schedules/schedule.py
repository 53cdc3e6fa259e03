"""The base class of all schedules, and how schedules are combined.

A schedule is a function η(t) of the step number t = 0, 1, 2, … without memory. So two schedules can
be multiplied, and one can follow another:

    (η₁ η₂)(t) = η₁(t) η₂(t)                                             `Product`
    η(t) = η₁(t) for t < T, then η₂(t − T)                               `Chain`
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise
from typing import Any, ClassVar

from attrs import field, frozen

from chainrule.core.errors import ConfigurationError, DefinitionError
from chainrule.core.hints import Hinted
from chainrule.core.validators import (
    a_rate,
    as_float,
    as_plain_tuple,
    complain,
    is_integer,
    is_number,
)


@frozen
class Schedule(Hinted):
    """The base class of all schedules: a function from the step number to the learning rate.

    For a custom schedule, subclass it, decorate the subclass with `attrs.frozen`, and write ``at``:

        @frozen
        class InverseSquareRoot(Schedule):
            start: float

            def at(self, t):
                return self.start / math.sqrt(t + 1)

    A schedule never changes, so one object can serve several optimizers and can be a dictionary
    key. Its fields define it completely: numbers, strings and other schedules.
    """

    __array_ufunc__: ClassVar[None] = (
        None  # makes NumPy numbers leave `number * schedule` to this class
    )

    def at(self, t: int, /) -> float:
        """η(t) for an integer t ≥ 0, already checked; every subclass defines this method."""
        raise DefinitionError(
            "a schedule needs a method named at",
            place=type(self).__name__,
            expected="at(self, t), which returns the learning rate of step t = 0, 1, 2, …",
            received="a class without at",
            hint="write at, or use Cosine or another schedule from chainrule.schedules",
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
            ``t`` is not a step number, or the schedule returns an invalid rate there.
        """
        if not is_integer(t) or t < 0:
            hint = "one step at a time: [schedule(t) for t in range(100)]"
            complain(self, "t", "an integer, 0 or more", t, hint)
        try:
            rate = float(self.at(int(t)))
        except OverflowError:
            rate = math.inf
        if not 0 <= rate < math.inf:
            raise ConfigurationError(
                "the schedule returned an invalid learning rate",
                place=f"{type(self).__name__}, step {t}",
                expected="a finite number, 0 or more",
                received=rate,
                hint="end it before that step with .then(…, after=…), or let it grow more slowly",
            )
        return rate

    @property
    def suggested_use(self) -> str:
        """The correct use, for the error when it is given in the wrong place."""
        return f"callbacks.LearningRate({type(self).__name__}(…))"

    def then(self, schedule: Schedule, *, after: int) -> Chain:
        """Use this schedule for ``after`` steps, then another, whose t starts from 0.

        Parameters
        ----------
        schedule
            The schedule that follows.
        after
            The number of steps before it, counted from the start of the whole chain:
            ``a.then(b, after=30).then(c, after=40)`` uses b for 10 steps.

        Raises
        ------
        ConfigurationError
            ``schedule`` is not a schedule, or ``after`` is not a valid number of steps.

        Examples
        --------
        >>> schedule = Constant(0.1).then(Constant(0.01), after=30)
        >>> schedule(29), schedule(30)
        (0.1, 0.01)
        """
        return Chain((self, schedule), (after,))

    def __mul__(self, other: Schedule | float) -> Product:
        known = isinstance(other, Schedule) or is_number(other)
        return Product((self, other)) if known else NotImplemented

    def __rmul__(self, other: float) -> Product:
        return Product((other, self)) if is_number(other) else NotImplemented

    def plot(self, steps: int) -> Any:
        """Plot η(t) for t = 0, …, steps − 1 with matplotlib: ``pip install 'chainrule[plot]'``.

        The scale is logarithmic if at least half of the steps have a rate below a tenth of the
        largest, because they would not be readable otherwise.

        Parameters
        ----------
        steps
            The number of steps to plot.

        Returns
        -------
        matplotlib.figure.Figure
            The figure, for ``.savefig("schedule.png")``.

        Raises
        ------
        MissingExtraError
            matplotlib is not installed.
        ConfigurationError
            ``steps`` is not an integer of at least 1.
        """
        if not is_integer(steps) or steps < 1:
            hint = "schedule.plot(1000) shows the first 1000 steps"
            complain(self, "steps", "an integer, 1 or more", steps, hint)
        from chainrule.schedules.drawing import draw

        return draw(self, int(steps))


@frozen
class Constant(Schedule):
    """η(t) = rate.

    Parameters
    ----------
    rate
        η ≥ 0.
    """

    rate: float = field(converter=as_float, validator=a_rate)

    def at(self, t: int) -> float:
        """η(t); see `Schedule.__call__`."""
        return self.rate


def _as_factors(factors: Any) -> Any:
    """Convert numbers to schedules, and replace each product by its factors."""
    if not isinstance(factors, list | tuple):
        return factors
    flat: list[Any] = []
    for factor in factors:
        if isinstance(factor, Product):
            flat += factor.factors
        elif is_number(factor):
            flat.append(Constant(factor))
        else:
            flat.append(factor)
    return tuple(flat)


@frozen
class Product(Schedule):
    """η(t) = η₁(t) η₂(t) …: the result of ``schedule * schedule`` and ``0.5 * schedule``.

    Parameters
    ----------
    factors
        Schedules, or numbers, which become `Constant`; a product is replaced by its factors.

    Examples
    --------
    >>> (0.5 * schedules.Exponential(1.0, 0.5))(1)
    0.25
    """

    factors: tuple[Schedule, ...] = field(converter=_as_factors)

    @factors.validator
    def _are_schedules(self, attribute: Any, value: Any) -> None:
        if not isinstance(value, tuple) or not value:
            complain(self, "factors", "schedules", value, "Product((first, second))")
        for number, factor in enumerate(value):
            require_schedule(self, f"factors[{number}]", factor)

    def at(self, t: int) -> float:
        """η(t); see `Schedule.__call__`."""
        return math.prod(factor(t) for factor in self.factors)


@frozen
class Chain(Schedule):
    """One schedule after another: the result of ``first.then(second, after=30)``.

    η(t) = ηₙ(t − tₙ)        for tₙ ≤ t < tₙ₊₁, with t₀ = 0

    Parameters
    ----------
    schedules
        η₀, η₁, …; each counts its own steps from 0.
    after
        t₁, t₂, …: the number of steps before each schedule except the first, counted from the
        start.

    Notes
    -----
    The same numbers as ``torch.optim.lr_scheduler.SequentialLR``, which calls ``after``
    ``milestones``.

    Examples
    --------
    >>> schedule = Chain([Constant(0.1), schedules.Exponential(0.5, 0.5)], after=[2])
    >>> [schedule(t) for t in range(4)]
    [0.1, 0.1, 0.5, 0.25]
    """

    schedules: tuple[Schedule, ...] = field(converter=as_plain_tuple)
    after: tuple[int, ...] = field(converter=as_plain_tuple)

    @schedules.validator
    def _are_schedules(self, attribute: Any, value: Any) -> None:
        if not isinstance(value, tuple) or not value:
            complain(self, "schedules", "schedules", value, "Chain([first, second], after=[30])")
        for number, schedule in enumerate(value):
            require_schedule(self, f"schedules[{number}]", schedule)

    @after.validator
    def _are_in_order(self, attribute: Any, value: Any) -> None:
        joins = len(self.schedules) - 1
        is_right = (
            isinstance(value, tuple)
            and len(value) == joins
            and all(is_integer(t) for t in value)
            and all(a < b for a, b in pairwise((0, *value)))
        )
        if not is_right:
            expected = f"{joins} integer{'s' if joins != 1 else ''}, 1 or more, each larger"
            hint = "for each schedule except the first, give the number of steps before it"
            complain(self, "after", f"{expected} than the one before", value, hint)

    def then(self, schedule: Schedule, *, after: int) -> Chain:
        """Use this chain for ``after`` steps, then another schedule; see `Schedule.then`."""
        return Chain((*self.schedules, schedule), (*self.after, after))

    def at(self, t: int) -> float:
        """η(t); see `Schedule.__call__`."""
        number = bisect_right(self.after, t)
        return self.schedules[number](t - (self.after[number - 1] if number else 0))


# ------------------------------------------------------------------------------- arguments


def a_schedule(owner: object, attribute: Any, value: Any) -> None:
    """An attrs validator that raises an error for anything that is not a schedule."""
    require_schedule(owner, attribute.name, value)


def require_schedule(owner: object, name: str, value: Any) -> None:
    """Raise an error for anything that is not a schedule, with a hint at what was likely meant."""
    if isinstance(value, Schedule):
        return
    from chainrule.schedules.plateau import ReduceOnPlateau

    received: object = value
    if is_number(value):
        hint = f"Constant({value!r})"
    elif isinstance(value, type) and issubclass(value, Schedule | ReduceOnPlateau):
        hint = f"make an instance: {value.__name__}(…)"
    elif isinstance(value, ReduceOnPlateau):
        hint = "it depends on measurements: put it outside, ReduceOnPlateau(schedule, …)"
    elif callable(value):
        received = f"a function, {getattr(value, '__name__', type(value).__name__)}"
        hint = "for a custom rule, subclass Schedule and write at(self, t)"
    else:
        hint = "use one of the schedules in chainrule.schedules"
    complain(owner, name, "a schedule, such as Cosine(0.1, steps=1000)", received, hint)
