"""A counterexample: values, as simple as possible, for which a layer's gradient is wrong.

A random point that refutes is hard to read. So one number after the other is replaced by 0, 1, −1,
2 or ½, as long as the entry in question stays wrong.
"""

from __future__ import annotations

import math
import time
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define

from chainrule.calculus import diagnosis
from chainrule.core.errors import ChainruleError
from chainrule.symbolic import forms, formulas
from chainrule.symbolic.array import labels
from chainrule.symbolic.regions import IMPOSSIBLE, ROUNDING, Evaluation, by_symbol
from chainrule.symbolic.trials import Values, flat, form_of

if TYPE_CHECKING:
    from chainrule.symbolic.prover import Difference, Region

SIMPLE = [Fraction(0), Fraction(1), Fraction(-1), Fraction(2), Fraction(1, 2)]
FEW_DIGITS = 1e-5
SECONDS = 3.0
"""How long to look for simpler values."""


@define
class Counterexample:
    """Values for which two sides that should be equal are not.

    Attributes
    ----------
    values
        By name, the values of inputs, parameters and deltas: arrays of floats.
    entry
        The entry that is wrong, such as ``∂C/∂weights[0, 1]``.
    expected, received
        What it should be, and what it is: fractions, or numbers with twelve digits.
    expected_formula, received_formula
        The same as formulas, if these are short.
    diagnosis
        What mistake it looks like.
    """

    values: dict[str, Any]
    entry: str
    expected: str
    received: str
    expected_formula: str | None = None
    received_formula: str | None = None
    diagnosis: str = ""

    def lines(self) -> list[str]:
        """The values and both sides, line by line."""
        lines: list[str] = []
        for name, array in self.values.items():
            shown = np.array2string(
                array, separator=", ", prefix=name + " = ", formatter={"float": "{:.6g}".format}
            )
            lines += f"{name} = {shown}".splitlines()
        lines.append(f"{self.entry} is {self.received}, but should be {self.expected}.")
        if self.expected_formula and self.received_formula:
            lines.append(f"received  {self.received_formula}")
            lines.append(f"expected  {self.expected_formula}")
        return lines

    def __str__(self) -> str:
        return "\n".join([self.diagnosis, *self.lines()]).lstrip()


def find(region: Region, part: str, difference: Difference) -> Counterexample:
    """The simplest values found, with the diagnosis of the whole array."""
    name = difference.name
    words = ""
    formula_pair: tuple[str | None, str | None] = (None, None)
    values = region.values
    at = region.at
    sides = difference.expected, difference.received
    if part in ("backward", "gradient"):
        expected, received = both_sides(region, name)
        words = _diagnosed(region, name, [at(x) for x in expected], [at(x) for x in received]) or ""
        values, sides = _simplified(region, difference)
        at = Evaluation(by_symbol(values))
        formula_pair = formulas.text(sides[0]), formulas.text(sides[1])
    if name in region.prover.subject.still:
        words = f"{name} is of integers, which do not move: the derivative is 0. Are floats meant?"
    elif part == "rows":
        words = "If rows are to affect each other, write couples_batch = True in the class."
    kept = {key: array.astype(float) for key, array in values.items() if array.size}
    digits = 12 if difference.size > 1e-9 else 25
    expected_text, received_text = (formulas.exactly(at(form), digits) for form in sides)
    return Counterexample(
        kept, region.entry_of(difference), expected_text, received_text, *formula_pair, words
    )


def both_sides(region: Region, name: str) -> tuple[list[Any], list[Any]]:
    """The derivatives of Σ Δ y, and what `backward` has returned."""
    slopes = forms.gradient(region.passes.pairs())
    names = labels(name, region.values[name].shape)
    expected = [slopes.get(label, forms.ZERO) for label in names]
    return expected, [form_of(x) for x in flat(region.passes.received()[name])]


def _diagnosed(region: Region, name: str, expected: list[Any], received: list[Any]) -> str | None:
    """The mistake it looks like: a factor, a sign, a transposition."""
    shape = region.values[name].shape
    want, have = (
        np.array([float(x) for x in side]).reshape(shape) for side in (expected, received)
    )
    sizes = region.prover.subject.sizes
    size = np.max(np.abs(want))
    if not np.any(have) and np.any(want):
        return f"It is zero everywhere: does backward omit {name}?"
    error = np.max(np.abs(have - want)) / size if size else 1.0
    if error < FEW_DIGITS:
        return (
            f"It is right to {-math.log10(error):.0f} digits: is a constant rounded, or a "
            "derivative taken by differences?"
        )
    words = diagnosis.factor(have, want, sizes)
    if words and "is the batch size" in words and _is_wrong_alone(region, name):
        others = {what: n for what, n in sizes.items() if what != "the batch size"}
        words = diagnosis.factor(have, want, others)
    if words and words.startswith("Every entry") and want.size == 1:
        return None  # of a single entry, everything is a multiple
    if words is None and want.ndim == 2 and have.shape == want.T.shape:
        is_transposed = np.max(np.abs(have - want.T)) <= diagnosis.CLOSE * size
        words = "It is transposed." if is_transposed else None
    return words


def _is_wrong_alone(region: Region, name: str) -> bool:
    """Whether the derivatives are also wrong for the first row by itself."""
    by_row = region.prover.subject.by_row
    if not by_row:  # a function, of which it is not known what its rows are
        return False
    values = {
        label: array[:1] if label in by_row else array for label, array in region.values.items()
    }
    try:
        alone = type(region)(region.prover, values)
        pairs = zip(*both_sides(alone, name), strict=True)
        return any(abs(alone.at(a) - alone.at(b)) > FEW_DIGITS * abs(alone.at(a)) for a, b in pairs)
    except (ChainruleError, ArithmeticError, *IMPOSSIBLE):
        return False


def _simplified(region: Region, difference: Difference) -> tuple[Values, tuple[Any, Any]]:
    """Values with as many simple numbers as possible, and both sides there."""
    end = time.perf_counter() + SECONDS
    values = {name: array.copy() for name, array in region.values.items()}
    sides = difference.expected, difference.received
    for name, array in values.items():
        if name in region.prover.subject.still:
            continue
        for index in np.ndindex(array.shape):
            before = array[index]
            for simple in SIMPLE:
                if time.perf_counter() > end:
                    return values, sides
                if simple == before:
                    break
                array[index] = simple
                found = _wrong_sides(region, difference, values)
                if found is not None:
                    sides = found
                    break
                array[index] = before
    return values, sides


def _wrong_sides(region: Region, difference: Difference, values: Values) -> Any:
    """Both sides of the entry at these values, if it is wrong there, too."""
    try:
        moved = type(region)(region.prover, values)
        expected, received = both_sides(moved, difference.name)
        sides = expected[difference.place], received[difference.place]
        a, b = map(moved.at, sides)
        return sides if abs(a - b) > ROUNDING * (abs(a) + abs(b)) else None
    except (ChainruleError, ArithmeticError, *IMPOSSIBLE):
        return None
