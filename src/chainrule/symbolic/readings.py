"""Readings: the simple number that a double stands for.

    0.3333333333333333  is read as  1/3,    0.7978845608028654  as  √(2/π)

A program can write neither, so a proof over the real numbers may fail for rounding alone. A number
is read only as a fraction within one unit of its last place, or a multiple of π and the like within
two, since ``1 / np.log(10)`` has been rounded twice. Every reading is listed.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from typing import Any

from chainrule.symbolic import forms
from chainrule.symbolic.entries import arithmetic
from chainrule.symbolic.forms import Form

LARGEST = 1000
"""The largest numerator and denominator in a multiple of π or the like."""
LARGEST_DENOMINATOR = 10**6

_PI = forms.symbol(forms.PI)
_HALF = Fraction(1, 2)

_LOGARITHMS = {n: forms.apply("log", forms.number(n)) for n in (2, 3, 5, 10)}


@functools.cache
def _bases() -> dict[str, tuple[Any, Form]]:
    """Patterns of simple numbers, with their values; mpmath is imported when it is needed."""
    reals = _reals()
    return {
        "{}": (reals.mpf(1), forms.ONE),
        "√({})": (reals.mpf(1), forms.ONE),
        "{} π": (+reals.pi, _PI),
        "{} / π": (1 / reals.pi, forms.power(_PI, -1)),
        "√({} π)": (+reals.pi, _PI),
        "√({} / π)": (1 / reals.pi, forms.power(_PI, -1)),
        **{f"{{}} ln {n}": (reals.log(n), form) for n, form in _LOGARITHMS.items()},
        **{
            f"{{}} / ln {n}": (1 / reals.log(n), forms.power(form, -1))
            for n, form in _LOGARITHMS.items()
        },
    }


def _reals() -> Any:
    return arithmetic(40)


class Readings:
    """Reads numbers, and remembers which. A number that is not near a simple one stays."""

    def __init__(self) -> None:
        self.found: dict[Fraction, tuple[str, Form]] = {}

    def __call__(self, value: Fraction) -> Form | None:
        """The form of the simple number, or None."""
        if value.denominator <= forms.SHORT:  # a number such as 0.5, which stands for itself
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
    for pattern, (base, form) in _bases().items():
        is_root, is_fraction = pattern.startswith("√"), pattern == "{}"
        limit = LARGEST_DENOMINATOR if is_fraction else LARGEST
        ratio = (x * x if is_root else x) / float(base)
        simple = Fraction(ratio).limit_denominator(limit)
        if not simple or abs(simple.numerator) > limit * 10:
            continue
        value = base * simple.numerator / simple.denominator
        value = math.copysign(1, x) * _reals().sqrt(value) if is_root else value
        if abs(value - x) > (1.01 if is_fraction else 2) * math.ulp(x):
            continue
        read = forms.multiply(forms.number(simple), form)
        if is_root:
            read = forms.power(read, _HALF)
            read = forms.negative(read) if x < 0 else read
        text = pattern.format(simple)
        return ("−" if is_root and x < 0 else "") + text, read
    return None
