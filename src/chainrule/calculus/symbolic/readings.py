"""Readings: the simple number that a double stands for.

    0.3333333333333333  is read as  1/3,    0.7978845608028654  as  √(2/π)

A program can write neither, so a proof over the real numbers may fail for rounding alone. A number
is read only as a value within one unit of its last place, and every reading is listed.
"""

from __future__ import annotations

import math
from fractions import Fraction

from chainrule.calculus.symbolic import forms
from chainrule.calculus.symbolic.forms import Form

LARGEST = 1000
"""The largest numerator and denominator in a multiple of π or the like."""
LARGEST_DENOMINATOR = 10**5

_PI = forms.symbol(forms.PI)
_HALF = Fraction(1, 2)

BASES: dict[str, tuple[float, Form]] = {
    "{}": (1.0, forms.ONE),
    "√({})": (0.0, forms.ONE),
    "{} π": (math.pi, _PI),
    "{} / π": (1 / math.pi, forms.power(_PI, -1)),
    "√({} π)": (math.pi, _PI),
    "√({} / π)": (1 / math.pi, forms.power(_PI, -1)),
    "{} ln 2": (math.log(2), forms.apply("log", forms.number(2))),
    "{} / ln 2": (1 / math.log(2), forms.power(forms.apply("log", forms.number(2)), -1)),
    "{} / ln 10": (1 / math.log(10), forms.power(forms.apply("log", forms.number(10)), -1)),
}


class Readings:
    """Reads numbers, and remembers which. A number that is not near a simple one stays."""

    def __init__(self) -> None:
        self.found: dict[Fraction, tuple[str, Form]] = {}

    def __call__(self, value: Fraction) -> Form | None:
        """The form of the simple number, or None."""
        if value.denominator <= 2**20:  # a number such as 0.5, which stands for itself
            return None
        if value not in self.found:
            read = _read(float(value))
            if read is None:
                return None
            self.found[value] = read
        return self.found[value][1]

    def __str__(self) -> str:
        return ", ".join(f"{float(value)!r} as {text}" for value, (text, _) in self.found.items())


def _read(x: float) -> tuple[str, Form] | None:
    for pattern, (base, form) in BASES.items():
        is_root = pattern.startswith("√")
        ratio = (x * x if is_root else x) / (base or 1.0)
        limit = LARGEST_DENOMINATOR if pattern == "{}" else LARGEST
        simple = Fraction(ratio).limit_denominator(limit)
        if not simple or abs(simple.numerator) > limit * 10:
            continue
        value = float(simple) * (base or 1.0)
        value = math.copysign(math.sqrt(value), x) if is_root else value
        if abs(value - x) > 1.01 * math.ulp(x):
            continue
        read = forms.multiply(forms.number(simple), form)
        if is_root:
            read = forms.power(read, _HALF)
            read = forms.negative(read) if x < 0 else read
        text = pattern.format(simple)
        return ("−" if is_root and x < 0 else "") + text, read
    return None
