"""Cases: the formulas that a program computes, with the decisions that lead to each.

    np.maximum(x, 0)        x for x > 0, and 0 for x < 0

A run with formulas takes one side of every decision. The other sides are reached as in a proof, by
reflecting the point. Runs that compute equal formulas are one case, so a guard against overflow
that changes no value leaves no trace.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator
from fractions import Fraction

from attrs import frozen

from chainrule.core.errors import UndecidedError
from chainrule.symbolic import forms
from chainrule.symbolic.entries import Condition, Entry, undecided
from chainrule.symbolic.forms import Form
from chainrule.symbolic.prover import OutOfTimeError, Prover
from chainrule.symbolic.regions import reflected
from chainrule.symbolic.trials import Passes, Subject, Values, flat

SECONDS = 5.0
MOST_RUNS = 32
TRIES = 5
"""How often a random point is drawn until all formulas are defined there."""
BEYOND_NUMBERS = Fraction(10) ** 300
"""A comparison with a larger number only says that a double is not infinite."""


@frozen
class Case:
    """What a program computes where some conditions hold."""

    conditions: tuple[Condition, ...]
    passes: Passes

    @property
    def domain(self) -> list[Condition]:
        """What must hold for the formulas to be defined."""
        return [c for c in self.passes.point.conditions if c.is_domain]


def cases_of(
    subject: Subject,
    shown: Callable[[Passes], list[Form]],
    *,
    passes: str = "fb",
    about: Container[str] | None = None,
) -> list[Case]:
    """The cases in which a layer computes different formulas.

    Parameters
    ----------
    subject
        The layer.
    shown
        The forms in question, of which two cases differ in at least one.
    passes
        The passes: "f" for a layer without `backward`.
    about
        The names of the variables of which the formulas consist. Conditions on others are omitted.

    Raises
    ------
    UndecidedError
        If the layer asks for what formulas cannot answer, or is not defined at any point tried.
    """
    prover = Prover(subject, SECONDS)
    split = _Split(prover, shown, about)
    return split.cases(list(_runs(subject, split, passes)), frozenset())


def _runs(subject: Subject, split: _Split, passes: str) -> Iterator[Passes]:
    """A run in each region that is found."""

    def run(values: Values) -> Passes:
        return split.prover.run(values, passes=passes)

    values, first = defined(subject, run)
    waiting = [(first, values)]
    found: list[set[Condition]] = []
    tried: set[frozenset[Condition]] = set()
    while waiting and len(found) < MOST_RUNS:
        here, values = waiting.pop(0)
        sides = split.sides(here)
        if set(sides) in found:
            continue
        found.append(set(sides))
        yield here
        for condition in sides:
            across = frozenset({*sides, condition.opposite} - {condition})
            moved = None if across in tried else reflected(values, condition)
            tried.add(across)
            if moved is not None:
                try:
                    other = run(moved)
                except (UndecidedError, OutOfTimeError):
                    continue
                if _is_defined(other):
                    waiting.append((other, moved))


def defined(subject: Subject, run: Callable[[Values], Passes]) -> tuple[Values, Passes]:
    """A random point at which all formulas are defined, with the run there.

    Every second point that is tried has positive numbers alone.

    Raises
    ------
    UndecidedError
        If there is none among those that are tried.
    """
    problem = undecided(
        "what it computes: it is not defined at the points that were tried",
        "a layer that is defined for some numbers between -2 and 2",
    )
    for _ in range(TRIES):
        drawn = subject.draw()
        for values in (drawn, {name: abs(array) for name, array in drawn.items()}):
            try:
                passes = run(values)
            except UndecidedError as error:
                problem = error
                continue
            if _is_defined(passes):
                return values, passes
    raise problem


def _is_defined(run: Passes) -> bool:
    arrays = (*run.outputs, *run.received().values())
    entries = [entry for array in arrays for entry in flat(array)]
    return all(isinstance(entry, Entry) or math.isfinite(entry) for entry in entries)


def _is_beyond_numbers(condition: Condition) -> bool:
    return any(
        part.kind == "number" and abs(part.detail) > BEYOND_NUMBERS
        for part in forms.in_order([condition.form])
    )


class _Split:
    """Splits runs by their conditions, as long as they compute different formulas."""

    def __init__(
        self,
        prover: Prover,
        shown: Callable[[Passes], list[Form]],
        about: Container[str] | None,
    ) -> None:
        self.prover, self.shown, self.about = prover, shown, about
        self.known: dict[tuple[Form, Form], bool] = {}

    def cases(self, runs: list[Passes], used: frozenset[Form]) -> list[Case]:
        if all(self.is_same(runs[0], run) for run in runs[1:]):
            return [self.leaf(runs, used)]
        for condition in self.undecided(runs):
            if condition.form in used:
                continue
            here = [run for run in runs if condition.opposite not in run.point.conditions]
            there = [run for run in runs if condition not in run.point.conditions]
            if len(here) == len(runs) or len(there) == len(runs):
                continue
            one = self.cases(here, used | {condition.form})
            other = self.cases(there, used | {condition.form})
            if self.are_same(one, other):
                return one
            return [
                Case((side, *case.conditions), case.passes)
                for side, cases in ((condition, one), (condition.opposite, other))
                for case in cases
            ]
        return [self.leaf(runs[:1], used)]

    def leaf(self, runs: list[Passes], used: frozenset[Form]) -> Case:
        """The simplest of equal runs, with the conditions that hold in all of them."""
        sides = [set(self.sides(run)) for run in runs]
        kept = [c for c in self.sides(runs[0]) if c.form not in used]
        common = tuple(c for c in kept if all(c in others for others in sides))
        return Case(common, min(runs, key=self.length))

    def undecided(self, runs: list[Passes]) -> list[Condition]:
        """The conditions of the runs; first those that every run has decided."""
        found = dict.fromkeys(c for run in runs for c in self.sides(run))
        return sorted(
            found,
            key=lambda c: sum(not {c, c.opposite} & run.point.conditions.keys() for run in runs),
        )

    def sides(self, run: Passes) -> list[Condition]:
        """The conditions in question."""
        about = self.about
        return [
            c
            for c in run.point.conditions
            if not c.is_domain
            and not _is_beyond_numbers(c)
            and (about is None or all(name in about for name in forms.symbols_in(c.form)))
        ]

    def are_same(self, one: list[Case], other: list[Case]) -> bool:
        return len(one) == len(other) and all(
            a.conditions == b.conditions and self.is_same(a.passes, b.passes)
            for a, b in zip(one, other, strict=True)
        )

    def is_same(self, one: Passes, other: Passes) -> bool:
        pairs = zip(self.shown(one), self.shown(other), strict=True)
        return all(self.is_equal(a, b) for a, b in pairs)

    def is_equal(self, a: Form, b: Form) -> bool:
        if a is b:
            return True
        if (a, b) not in self.known:
            try:
                self.known[a, b] = self.prover.is_zero(forms.subtract(a, b))
            except OutOfTimeError:
                self.known[a, b] = False
        return self.known[a, b]

    def length(self, run: Passes) -> int:
        return len(forms.in_order(self.shown(run)))
