"""The engine of a proof: compare formulas, region by region.

Both passes run with formulas in place of numbers. The formula of Σ Δ y is differentiated, what
`backward` returned is subtracted, and the difference is written as one fraction of polynomials: if
the numerator is the zero polynomial, the two are equal for all values at once.

Before that, values of fifty digits decide within milliseconds whether a layer is wrong. A factor of
1 + 1e-9 is seen in this way, and so is one of 1 + 1e-13, which a check in doubles can hardly tell
from rounding.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from attrs import define

from chainrule.core.equations import numbered
from chainrule.core.errors import ChainruleError, UndecidedError
from chainrule.symbolic import forms, formulas
from chainrule.symbolic.array import labels
from chainrule.symbolic.counterexample import find
from chainrule.symbolic.entries import DIGITS, Condition, Entry, undecided
from chainrule.symbolic.forms import Form
from chainrule.symbolic.polynomials import Ratios, TooLargeError
from chainrule.symbolic.readings import Readings
from chainrule.symbolic.regions import ROUNDING, Evaluation, Exploration, by_symbol
from chainrule.symbolic.report import LONGEST, REFUTED, UNDECIDED, Part, Proof
from chainrule.symbolic.trials import (
    FunctionSubject,
    Passes,
    Subject,
    Values,
    flat,
    form_of,
    value_of,
)

NOTHING = 1e-40
"""What is left of zero with fifty digits, relative to the largest number."""
TINY = 1e-30
"""An array of numbers smaller than this, relative to the largest, may be zero."""
SMALLEST = 1e-300
"""What vanishes beside it is smaller than any double."""
STEP = Fraction(1, 10**25)
"""How far a difference quotient goes to both sides."""
CLOSE = 3e-10
"""How well plain arrays must give the same numbers."""
FAR = 1000
EXACT, READING = slice(0, 2), slice(2, 4)
OUT_OF_TIME = (
    "The time is over. Formulas grow fast: try fewer units, a smaller shape, or one layer alone."
)


class OutOfTimeError(ArithmeticError):
    """The time for a proof is used up."""


class Prover:
    """Decides whether formulas are equal, region by region.

    Parameters
    ----------
    subject
        What is proven.
    seconds
        The time that it may take.
    """

    def __init__(self, subject: Subject | FunctionSubject, seconds: float) -> None:
        self.subject = subject
        self.end = time.perf_counter() + seconds
        self.readings = Readings()
        self.algebras = [
            Ratios(end=self.end),
            Ratios(end=self.end, uses_exp=True),
            Ratios(self.readings, end=self.end),
            Ratios(self.readings, end=self.end, uses_exp=True),
        ]
        self.has_read = False
        self.names: list[str] = []
        """The statements to be proven."""

    def is_zero(self, form: Form, algebras: slice = slice(None)) -> bool:
        """Whether a form is zero for all values. False may also mean that it is not known."""
        if form is forms.ZERO:
            return True
        is_split = any(part.kind in ("tanh", "sin", "cos") for part in forms.in_order([form]))
        for algebra in self.algebras[algebras]:
            if algebra.uses_exp and not is_split:
                continue
            try:
                if algebra.is_zero(form):
                    self.has_read |= algebra.reads is not None
                    return True
            except (TooLargeError, ZeroDivisionError):
                if time.perf_counter() > self.end:
                    raise OutOfTimeError from None
        return False

    def run(self, values: Values, **options: Any) -> Passes:
        """The passes of the subject, in which equal formulas are recognised."""
        if time.perf_counter() > self.end:
            raise OutOfTimeError
        try:
            return self.subject.run(
                values, is_same=lambda form: self.is_zero(form, EXACT), **options
            )
        except (ChainruleError, OutOfTimeError):
            raise
        except Exception as error:  # the code of a layer can raise anything
            raise UndecidedError(
                f"the code does not run with formulas: {type(error).__name__}: {error}",
                expected="NumPy's functions, called on the arrays that the layer is given",
                hint="check_layer checks it with numbers",
            ) from error


@define
class Difference:
    """Two entries that should be equal and are not proven to be."""

    name: str
    place: int
    expected: Form
    received: Form
    is_refuted: bool
    size: float
    """The difference, relative to the largest entry of its array."""


class Region:
    """What a layer computes around one point."""

    def __init__(self, prover: Prover, values: Values, *, is_ordinary: bool = True) -> None:
        self.prover, self.values, self.is_ordinary = prover, values, is_ordinary
        self.passes = prover.run(values)
        self.at = Evaluation(by_symbol(values))
        everything = (*self.passes.outputs, *self.passes.received().values())
        entries = [x for array in everything for x in flat(array)]
        if not all(isinstance(x, Entry) or math.isfinite(x) for x in entries):
            raise undecided("what comes after a number that is not finite", "other inputs")
        self.size = max((abs(self.at(form_of(x))) for x in entries), default=1) or 1
        self.size = max(self.size, SMALLEST)
        """The largest number that the passes return."""
        self.conditions: list[Condition] = list(self.passes.point.conditions)
        if "inference" in prover.names:  # what apply decides by itself belongs to the region, too
            with contextlib.suppress(UndecidedError):
                applied = prover.run(values, applies=True)
                self.conditions += [
                    c for c in applied.point.conditions if c not in self.passes.point.conditions
                ]

    @property
    def sides(self) -> frozenset[Condition]:
        """What the program has decided."""
        return frozenset(c for c in self.conditions if not c.is_domain)

    def compare(self, name: str, expected: list[Any], received: list[Any]) -> Difference | None:
        """The first entry that is wrong, or not proven to be right; None if there is none."""
        at = self.at
        expected = [x if isinstance(x, Form) else form_of(x) for x in expected]
        received = [form_of(x) for x in received]
        pairs = [(at(a), at(b)) for a, b in zip(expected, received, strict=True)]
        # In the tails, numbers that vanish beside the others may be rounded to 0.
        least = self.size * (TINY if self.is_ordinary else 1)
        largest = max(abs(x) for pair in [*pairs, (0, least)] for x in pair)
        gaps = [float(abs(a - b) / largest) for a, b in pairs]
        is_equal = [abs(a - b) <= self.size * NOTHING for a, b in pairs]
        for place, gap in enumerate(gaps):
            if not gap <= ROUNDING:
                return Difference(name, place, expected[place], received[place], True, gap)
        for place, gap in enumerate(gaps):
            difference = forms.subtract(expected[place], received[place])
            # Forms of different values can only be equal if numbers in them are read.
            if not self.prover.is_zero(difference, slice(None) if is_equal[place] else READING):
                return Difference(name, place, expected[place], received[place], False, gap)
        return None

    def quantity(self, name: str) -> str:
        """What is compared under a name: ∂C/∂x, ∂C/∂weights, or an output y."""
        subject = self.prover.subject
        is_delta = name in subject.input_names or name in subject.moving
        return f"∂C/∂{name}" if is_delta else name

    def entry_of(self, difference: Difference) -> str:
        """The entry that differs, such as ∂C/∂weights[0, 1]."""
        names = numbered("y", len(self.passes.outputs))
        outputs = dict(zip(names, self.passes.outputs, strict=True))
        shape = np.shape({**outputs, **self.values}[difference.name])
        return labels(self.quantity(difference.name), shape)[difference.place]

    # ---------------------------------------------------------------- the statements

    def adjoint(self) -> Iterator[Difference | None]:
        """For every input and parameter, what `backward` returns is the derivative of Σ Δ y."""
        slopes = forms.gradient(self.passes.pairs())
        for name, received in self.passes.received().items():
            if name in self.prover.subject.still:
                zeros = [forms.ZERO] * np.size(self.values[name])
                yield self.compare(name, zeros, flat(received))
                continue
            names = labels(name, self.values[name].shape)
            expected = [slopes.get(label, forms.ZERO) for label in names]
            yield self.compare(name, expected, flat(received))
            if self.is_ordinary:
                self._require_quotient(name, expected)

    def _require_quotient(self, name: str, slopes: list[Form]) -> None:
        """Raise an error unless the slopes agree with the difference quotient of Σ Δ y.

        It needs `forward` alone, and values without formulas: (f(x + h v) − f(x − h v)) / 2h.
        """
        array, totals = self.values[name], []
        v = np.array([Fraction(n % 7 + 1, 8) for n in range(array.size)], dtype=object)
        for step in (STEP, -STEP):
            moved = {**self.values, name: array + step * v.reshape(array.shape)}
            try:
                passes = self.prover.run(moved, digits=2 * DIGITS, has_forms=False)
            except UndecidedError:  # without formulas, a tie of values cannot be decided
                return
            numbers = [
                value_of(y, passes.point) * value_of(delta, passes.point)
                for output, deltas in zip(passes.outputs, passes.sent, strict=True)
                for y, delta in zip(flat(output), flat(deltas), strict=True)
            ]
            totals.append(sum(numbers))
        number = self.passes.point.number
        quotient = (totals[0] - totals[1]) / number(2 * STEP)
        terms = [self.at(form) * number(n) for form, n in zip(slopes, v, strict=True)]
        if not abs(quotient - sum(terms)) <= ROUNDING * (sum(map(abs, terms)) + self.size):
            raise undecided(
                f"why ∂C/∂{name} is not the difference quotient of forward", "check_layer"
            )

    def accumulate(self) -> Iterator[Difference | None]:
        """Two backward passes give the same deltas and twice the gradient.

        It is the same after a second forward pass; and without the deltas, once the gradient.
        """
        subject = self.prover.subject
        for passes in ("fbb", "fp") if subject.remembers else ("fbb", "fbfb", "fp"):
            others = self.prover.run(self.values, passes=passes)
            for name, delta in others.deltas.items():
                yield self.compare(name, flat(self.passes.deltas[name]), flat(delta))
            times = forms.number(passes.count("b") or 1)
            for name, gradient in others.gradients.items():
                expected = [
                    forms.multiply(times, form_of(x)) for x in flat(self.passes.gradients[name])
                ]
                yield self.compare(name, expected, flat(gradient))

    def rows(self) -> Iterator[Difference | None]:
        """Each row alone gives the same outputs and deltas as in the batch."""
        subject = self.prover.subject
        for row in range(subject.batch):
            alone = {
                name: array[row : row + 1] if name in subject.by_row else array
                for name, array in self.values.items()
            }
            single = self.prover.run(alone, first_row=row)
            for name, together, apart in zip(
                numbered("y", len(single.outputs)), self.passes.outputs, single.outputs, strict=True
            ):
                yield self.compare(name, flat(apart), flat(together[row : row + 1]))
            for name, delta in single.deltas.items():
                yield self.compare(name, flat(delta), flat(self.passes.deltas[name][row : row + 1]))

    def inference(self) -> Iterator[Difference | None]:
        """`apply` computes what `forward` computes."""
        applied = self.prover.run(self.values, applies=True)
        for name, y, other in zip(
            numbered("y", len(applied.outputs)), self.passes.outputs, applied.outputs, strict=True
        ):
            yield self.compare(name, flat(y), flat(other))

    def arrays(self) -> Iterator[Difference | None]:
        """Plain arrays give the same numbers, to rounding; far from 0, that is large."""
        if any(abs(x) > FAR for array in self.values.values() for x in array.ravel()):
            return
        plain = self.prover.subject.run_in_doubles(self.values)
        outputs = numbered("y", len(plain.outputs))
        found = {**dict(zip(outputs, self.passes.outputs, strict=True)), **self.passes.received()}
        others = {**dict(zip(outputs, plain.outputs, strict=True)), **plain.received()}
        for name, symbolic in found.items():
            exact = np.array([float(self.at(form_of(x))) for x in flat(symbolic)])
            rounded = np.asarray(others[name], float).ravel()
            gaps = abs(exact - rounded)
            scale = max(np.max(abs(exact), initial=0.0), 1e-3 * float(self.size))
            if not np.all(np.isfinite(rounded)):
                continue  # overflow is nothing that a proof sees
            if not np.all(gaps <= CLOSE * scale):
                place = int(np.argmax(gaps))
                yield Difference(
                    name, place, form_of(flat(symbolic)[place]), forms.number(rounded[place]),
                    False, float(gaps[place] / scale),
                )  # fmt: skip


STATEMENTS: dict[str, tuple[str, Callable[[Region], Iterator[Difference | None]]]] = {
    "backward": ("backward is the derivative of forward", Region.adjoint),
    "accumulate": ("the gradients of two passes add up", Region.accumulate),
    "rows": ("rows do not affect each other", Region.rows),
    "inference": ("apply computes what forward computes", Region.inference),
    "arrays": ("plain arrays give the same numbers", Region.arrays),
    "gradient": ("the gradient is the derivative", Region.adjoint),
}


def prove(
    subject: Subject | FunctionSubject,
    description: str,
    names: list[str],
    seconds: float,
    visit: Callable[[Region], None] | None = None,
) -> Proof:
    """Try to prove the statements with these names in all regions that are reached.

    ``visit`` is called with each of them.
    """
    start = time.perf_counter()
    prover = Prover(subject, seconds)
    prover.names = names
    proof = Proof(description, [Part(name, STATEMENTS[name][0]) for name in names])
    first = subject.draw()
    subject.run_in_doubles(first)  # an error of the layer itself is not one of the proof
    exploration = Exploration(first)
    domain: dict[Condition, None] = {}
    words = functools.cache(_words)
    for values, condition in exploration:
        try:
            region = Region(prover, values, is_ordinary=condition is None)
        except OutOfTimeError:
            if condition is None:
                _give_up(proof, OUT_OF_TIME)
            break
        except ChainruleError as error:
            if condition is None:
                _give_up(proof, str(error))
            elif not isinstance(error, UndecidedError):  # such values are refused
                exploration.refused[condition.opposite] = None
            continue
        domain.update(dict.fromkeys(c for c in region.conditions if c.is_domain))
        if not exploration.is_new(values, region.sides):
            continue
        _examine(region, proof)
        if visit is not None:
            visit(region)
        if proof.status == REFUTED:
            break
    proof.regions = [tuple(sorted(map(words, sides))) for sides in exploration.found]
    missing = map(words, exploration.not_reached())
    proof.not_reached = sorted(text for text in missing if not _is_of_numbers(text))
    proof.not_visited = exploration.not_visited()
    needed = [*domain, *(c.opposite for c in exploration.refused)]
    texts = [words(c) for c in needed if c.opposite not in domain]  # |x|^½ needs no sign of x
    proof.domain = sorted([*{text for text in texts if text}, *(t for t in texts if not t)])
    if prover.has_read:
        proof.readings = str(prover.readings)
    proof.seconds = time.perf_counter() - start
    return proof


def _examine(region: Region, proof: Proof) -> None:
    """Check every statement in a region, and note which do not hold."""
    for part in proof.parts:
        try:
            for difference in STATEMENTS[part.name][1](region):
                if difference is not None:
                    _note(region, part, difference)
                    break
        except OutOfTimeError:
            part.worsen(UNDECIDED, OUT_OF_TIME)
        except ChainruleError as error:
            part.worsen(UNDECIDED, str(error))


def _note(region: Region, part: Part, difference: Difference) -> None:
    if not difference.is_refuted:
        what = "differs from what plain arrays give" if part.name == "arrays" else "is not proven"
        why = f"the two sides differ by {difference.size:.1g} of the largest entry"
        if difference.size < TINY:
            why = "the formulas are too large, or equal for a reason that is not known"
        part.worsen(UNDECIDED, f"{region.entry_of(difference)} {what}: {why}.")
        return
    if part.status == REFUTED:
        return
    part.worsen(REFUTED, f"{region.quantity(difference.name)} is wrong.")
    part.counterexample = find(region, part.name, difference)


def _give_up(proof: Proof, reason: str) -> None:
    for number, part in enumerate(proof.parts):
        part.worsen(UNDECIDED, "" if number else reason)


def _words(condition: Condition) -> str:
    """The condition in one line; nothing if it is too long to be read."""
    text = formulas.text(condition.form, LONGEST)
    return f"{text} {'>' if condition.is_positive else '<'} 0" if text else ""


def _is_of_numbers(text: str) -> bool:
    """Whether a condition, such as ``2 < 0``, contains no variable: there is no such side."""
    try:
        float(text.split(" ")[0])
    except (ValueError, IndexError):
        return False
    return len(text.split(" ")) == 3
