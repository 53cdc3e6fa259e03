"""What a schedule is, and what is made of several of them.

A schedule is a function η(t) of the step number t = 0, 1, 2, … that remembers nothing. So two of
them can be multiplied, and one can follow another:

    (η₁ η₂)(t) = η₁(t) η₂(t)                                             `Product`
    η(t) = η₁(t) for t < T, and η₂(t − T) from there on                  `Chain`
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise
from typing import Any, ClassVar

from attrs import field, frozen

from chainrule.core.errors import ConfigurationError, DefinitionError
from chainrule.core.validators import (
    a_rate,
    as_float,
    as_plain_tuple,
    complain,
    is_integer,
    is_number,
)


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
            hint="write it, or use Cosine or another one of chainrule.schedules",
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
        if not is_integer(t) or t < 0:
            hint = "one step at a time: [schedule(t) for t in range(100)]"
            complain(self, "t", "a whole number, 0 or more", t, hint)
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
                hint="end it before that step, with .then(…, after=…), or let it grow less",
            )
        return rate

    @property
    def suggested_use(self) -> str:
        """How a training uses it, for the error where it is given in another place."""
        return f"callbacks.LearningRate({type(self).__name__}(…))"

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
        known = isinstance(other, Schedule) or is_number(other)
        return Product((self, other)) if known else NotImplemented

    def __rmul__(self, other: float) -> Product:
        return Product((other, self)) if is_number(other) else NotImplemented

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
        if not is_integer(steps) or steps < 1:
            hint = "schedule.plot(1000) shows the first 1000 steps"
            complain(self, "steps", "a whole number, 1 or more", steps, hint)
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
    """Schedules all, and none that is a product itself."""
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
    """η(t) = η₁(t) η₂(t) …: what ``schedule * schedule`` and ``0.5 * schedule`` give.

    Parameters
    ----------
    factors
        Schedules, or numbers, which become `Constant`; of a product among them, its factors.

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
            expected = f"{joins} whole number{'s' if joins != 1 else ''}, 1 or more, each larger"
            hint = "for each schedule but the first, how many steps lie before it in all"
            complain(self, "after", f"{expected} than the one before", value, hint)

    def then(self, schedule: Schedule, *, after: int) -> Chain:
        """Take this chain for ``after`` steps, then another; see `Schedule.then`."""
        return Chain((*self.schedules, schedule), (*self.after, after))

    def at(self, t: int) -> float:
        """η(t); see `Schedule.__call__`."""
        number = bisect_right(self.after, t)
        return self.schedules[number](t - (self.after[number - 1] if number else 0))


# ------------------------------------------------------------------------------- arguments


def a_schedule(owner: object, attribute: Any, value: Any) -> None:
    """Refuse what is no schedule; a validator of attrs."""
    require_schedule(owner, attribute.name, value)


def require_schedule(owner: object, name: str, value: Any) -> None:
    """Refuse what is no schedule, and say what was likely meant."""
    if isinstance(value, Schedule):
        return
    from chainrule.schedules.plateau import ReduceOnPlateau

    received: object = value
    if is_number(value):
        hint = f"Constant({value!r})"
    elif isinstance(value, type) and issubclass(value, Schedule | ReduceOnPlateau):
        hint = f"make an instance of it: {value.__name__}(…)"
    elif isinstance(value, ReduceOnPlateau):
        hint = "it depends on what is measured, and stands outside: ReduceOnPlateau(schedule, …)"
    elif callable(value):
        received = f"a function, {getattr(value, '__name__', type(value).__name__)}"
        hint = "for a rule of your own, subclass Schedule and write at(self, t)"
    else:
        hint = "take one of chainrule.schedules"
    complain(owner, name, "a schedule, such as Cosine(0.1, steps=1000)", received, hint)
