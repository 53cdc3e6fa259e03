"""Regions: which sides of a program's decisions have been seen, and how to get to the others.

A program with ``np.maximum(x, 0)`` computes one formula for x > 0 and another for x < 0. At a point
p, where c(p) > 0 for a condition c, the point is reflected at the surface c = 0,

    p′ = p − 2 c(p) ∇c / |∇c|²,

which gets to the other side if c is linear; otherwise, shorter and longer steps are tried.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from fractions import Fraction
from typing import Any

from chainrule.symbolic import forms
from chainrule.symbolic.array import labels
from chainrule.symbolic.entries import DIGITS, Condition, Point
from chainrule.symbolic.forms import Form
from chainrule.symbolic.trials import Values

ROUNDING = 1e-14
"""A relative difference up to this may come from constants that a program has rounded."""
STEPS = (2.0, 1.25, 3.0, 6.0, 20.0, 100.0)
"""How far to go, in units of the distance to the surface."""
SHORT_STEPS = (1.03, 1.001, 1.00001, 1.0000001)
"""Tried as well if only one surface is to be crossed: x = 5, but not x = 6."""

IMPOSSIBLE = (ValueError, ZeroDivisionError, TypeError, OverflowError)
"""What arithmetic raises outside the domain of a function."""


class Evaluation:
    """The values of forms, from the values of their symbols; each form is evaluated once."""

    def __init__(self, symbols: Mapping[str, Any], digits: int = DIGITS) -> None:
        self._point = Point(digits, has_forms=False)
        self._symbols = symbols
        self._found: dict[Form, Any] = {}

    def __call__(self, form: Form) -> Any:
        """The value of a form."""
        if form not in self._found:
            for part in forms.in_order([form]):
                if part not in self._found:
                    self._found[part] = self._value(part)
        return self._found[form]

    def _value(self, form: Form) -> Any:
        number, context = self._point.number, self._point.context
        if form.kind == "number":
            return number(form.detail)
        if form.kind == "symbol":
            is_pi = form.detail == forms.PI
            return +context.pi if is_pi else number(self._symbols[form.detail])
        a, *others = (self._found[part] for part in form.parts)
        if form.kind == "sum":
            return a + others[0]
        if form.kind == "product":
            return a * others[0]
        if form.kind == "power":
            n, root = form.detail.numerator, form.detail.denominator
            return a**n if root == 1 else context.root(a, root) ** n
        return getattr(context, {"arctan": "atan"}.get(form.kind, form.kind))(a)


MOST_SIDES, MOST_COMBINATIONS = 64, 32
"""How many regions are visited to see all sides, and how many to see combinations of them."""


class Exploration:
    """Which regions to visit: first the other side of each condition, then other combinations.

    Attributes
    ----------
    found
        The regions so far: in each, what the program has decided.
    seen
        All sides that were seen.
    refused
        Sides for which the layer raised an error of its own.
    """

    def __init__(self, first: Values) -> None:
        self.found: dict[frozenset[Condition], None] = {}
        self.seen: dict[Condition, None] = {}
        self.refused: dict[Condition, None] = {}
        self._sides: deque[tuple[Values, Condition | None]] = deque([(first, None)])
        self._combinations: deque[tuple[Values, Condition, frozenset[Condition]]] = deque()
        self._tried: set[frozenset[Condition]] = set()

    def __iter__(self) -> Iterator[tuple[Values, Condition | None]]:
        """Points to look at, each with the condition that it was reflected at."""
        while self._sides and len(self.found) < MOST_SIDES:
            values, condition = self._sides.popleft()
            if condition is None:
                yield values, None
            elif condition.opposite not in self.seen:
                yield from self._reflected(values, condition)
        while self._combinations and len(self.found) < MOST_COMBINATIONS:
            values, condition, target = self._combinations.popleft()
            if target not in self.found and target not in self._tried:
                self._tried.add(target)
                yield from self._reflected(values, condition, self._band(condition, target))

    def _band(self, condition: Condition, target: frozenset[Condition]) -> list[Condition]:
        """The sides of parallel surfaces, such as x = 5 and x = 6, between which no region is."""
        other = condition.opposite
        apart = [
            s for s in target - {other} if not any({s, other} <= found for found in self.found)
        ]
        return [side for side in apart if _are_parallel(side.form, other.form)]

    def _reflected(
        self, values: Values, condition: Condition, target: Collection[Condition] = ()
    ) -> Iterator[tuple[Values, Condition]]:
        moved = reflected(values, condition, target)
        if moved is not None:
            yield moved, condition

    def is_new(self, values: Values, sides: frozenset[Condition]) -> bool:
        """Note the region of a point; whether it is a new one."""
        if sides in self.found:
            return False
        self.found[sides] = None
        self.seen.update(dict.fromkeys(sides))
        in_order = sorted(sides, key=lambda side: side.form.serial)
        self._sides += [(values, c) for c in in_order if c.opposite not in self.seen]
        self._combinations += [(values, c, sides - {c} | {c.opposite}) for c in in_order]
        return True

    def not_reached(self) -> list[Condition]:
        """The sides that were not seen, and not refused."""
        missing = (c.opposite for c in self.seen)
        return [c for c in missing if c not in self.seen and c not in self.refused]

    def not_visited(self) -> int:
        """How many combinations were not even tried; there may be more beyond them."""
        left = {target for _, _, target in self._combinations}
        return len(left - set(self.found) - self._tried)


def by_symbol(values: Values) -> dict[str, Any]:
    """The values by the names of the variables: ``x[0, 1]``."""
    return {
        label: value
        for name, array in values.items()
        for label, value in zip(labels(name, array.shape), array.ravel(), strict=True)
    }


def _are_parallel(a: Form, b: Form) -> bool:
    slopes, others = (forms.gradient([(form, forms.ONE)]) for form in (a, b))
    return slopes == others or {n: forms.negative(s) for n, s in slopes.items()} == others


def reflected(
    values: Values, condition: Condition, target: Collection[Condition] = ()
) -> Values | None:
    """Values for which a condition is on the other side; None if none are found.

    Values for which all conditions of a target hold are preferred.
    """
    symbols = by_symbol(values)
    slopes = forms.gradient([(condition.form, forms.ONE)])
    slopes.pop(forms.PI, None)
    try:
        at = Evaluation(symbols)
        height = at(condition.form)
        gradient = {name: at(slope) for name, slope in slopes.items()}
        square = sum(slope * slope for slope in gradient.values())
    except IMPOSSIBLE:
        return None
    if not square:
        return None
    others: Values | None = None
    for step in (*STEPS[:2], *SHORT_STEPS, *STEPS[2:]) if target else STEPS:
        try:
            moved = {
                name: Fraction(float(symbols[name]) - step * float(height * slope / square))
                for name, slope in gradient.items()
            }
            at = Evaluation({**symbols, **moved})
            new = at(condition.form)
            if not isinstance(new, type(height)) or not new or (new > 0) == condition.is_positive:
                continue
            if all((at(side.form) > 0) == side.is_positive for side in target):
                return _with(values, moved)
            others = others or _with(values, moved)
        except IMPOSSIBLE:
            continue
    return others


def _with(values: Values, symbols: Mapping[str, Any]) -> Values:
    moved: Values = {}
    for name, array in values.items():
        moved[name] = array.copy()
        for place, label in enumerate(labels(name, array.shape)):
            if label in symbols:
                moved[name].flat[place] = symbols[label]
    return moved
