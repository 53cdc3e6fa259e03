"""Forms as SymPy expressions, to print them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Container, Iterable, Mapping
from fractions import Fraction
from typing import Any

from chainrule.core.errors import MissingExtraError
from chainrule.symbolic import forms
from chainrule.symbolic.forms import Form

LONGEST = 160
"""A longer formula is not shown in a report."""
SHORT = 10
"""A number with so many characters is written as it is: 0.044715, 1e-05."""


def require_sympy() -> Any:
    """SymPy, or an error that says how to install it."""
    try:
        return importlib.import_module("sympy")
    except ImportError as error:
        raise MissingExtraError(
            "formulas need SymPy, which is not installed",
            hint='pip install "chainrule[symbols]"',
        ) from error


def expression(
    form: Form,
    *,
    rounds: bool = False,
    reads: Callable[[Fraction], Form | None] | None = None,
    known: dict[Form, Any] | None = None,
) -> Any:
    """A SymPy expression for a form; its variables are real symbols named ``x[0, 1]``.

    Parameters
    ----------
    form
        The form.
    rounds
        Write a double that is no short fraction as in a program, such as 1e-05.
    reads
        What a number stands for, such as `Readings`; a short decimal stands for itself.
    known
        What to write for some of the forms inside; all others are added to it.
    """
    sympy = require_sympy()
    found: dict[Form, Any] = {} if known is None else known
    for part in forms.in_order([form]):
        if part in found:
            continue
        below = [found[inner] for inner in part.parts]
        if part.kind == "number":
            value = sympy.Rational(part.detail.numerator, part.detail.denominator)
            is_long = rounds and len(str(value)) > 12
            found[part] = sympy.Symbol(repr(float(part.detail))) if is_long else value
            if reads is not None:
                found[part] = _read(part, reads)
        elif part.kind == "symbol":
            is_pi = part.detail == forms.PI
            found[part] = sympy.pi if is_pi else sympy.Symbol(part.detail, real=True)
        elif part.kind == "sum":
            found[part] = sympy.Add(*below)
        elif part.kind == "product":
            found[part] = sympy.Mul(*below)
        elif part.kind == "power":
            exponent = sympy.Rational(part.detail.numerator, part.detail.denominator)
            found[part] = sympy.Pow(below[0], exponent)
        elif part.kind == "exp":
            found[part] = _exponential(*below)
        else:
            found[part] = getattr(sympy, {"arctan": "atan"}.get(part.kind, part.kind))(*below)
    return found[form]


def _read(form: Form, reads: Callable[[Fraction], Form | None]) -> Any:
    """A number as what it stands for."""
    sympy = require_sympy()
    decimal = repr(float(form.detail))
    if len(decimal) <= SHORT and Fraction(float(form.detail)) == form.detail:
        return sympy.Rational(decimal)
    read = reads(form.detail)
    if read is None:
        return sympy.Rational(form.detail.numerator, form.detail.denominator)
    return expression(read)


def _exponential(argument: Any) -> Any:
    """The exponential; exp(b log a), which a program writes as ``a**b``, is the power."""
    sympy = require_sympy()
    factors = sympy.Mul.make_args(argument)
    logarithms = [factor for factor in factors if isinstance(factor, sympy.log)]
    if len(logarithms) != 1:
        return sympy.exp(argument)
    return sympy.Pow(logarithms[0].args[0], argument / logarithms[0])


def replaced(form: Form, values: Mapping[str, Form]) -> Form:
    """The form with other forms in place of some of its symbols."""
    return rebuilt(form, lambda part: values.get(part.detail, part))


def rebuilt(form: Form, change: Callable[[Form], Form]) -> Form:
    """The form, in which each part, from the inside out, is what ``change`` makes of it."""
    found: dict[Form, Form] = {}
    for part in forms.in_order([form]):
        below = [found[inner] for inner in part.parts]
        if part.kind == "sum":
            new = forms.add(*below)
        elif part.kind == "product":
            new = forms.multiply(*below)
        elif part.kind == "power":
            new = forms.power(below[0], part.detail)
        else:
            new = forms.apply(part.kind, *below) if below else part
        found[part] = change(new)
    return found[form]


def text(form: Form, longest: int = LONGEST) -> str | None:
    """A formula in one line, if it is short enough to be read."""
    if length([form]) > longest:
        return None
    found = str(expression(form, rounds=True))
    return found if len(found) <= longest else None


def length(lines: Iterable[Form], named: Container[Form] = ()) -> int:
    """The number of symbols and operations in the longest of some formulas, written out.

    ``named`` are forms that have a name of their own in the others.
    """
    found: dict[Form, int] = {}
    lines = list(lines)
    for part in forms.in_order(lines):
        found[part] = 1 + sum(1 if inner in named else found[inner] for inner in part.parts)
    return max(found[form] for form in lines)


def exactly(value: Any, digits: int = 12) -> str:
    """A number of fifty digits: as the simple fraction that it is, or with twelve digits."""
    nearest = Fraction(str(value)).limit_denominator(10**6)
    scale = max(abs(nearest), Fraction(1))
    if abs(Fraction(str(value)) - nearest) < scale * Fraction(1, 10**30):
        return str(nearest)
    return str(value.context.nstr(value, digits)).removesuffix(".0")
