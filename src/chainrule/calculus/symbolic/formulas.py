"""Forms as SymPy expressions, to print them."""

from __future__ import annotations

import importlib
from fractions import Fraction
from typing import Any

from chainrule.calculus.symbolic import forms
from chainrule.calculus.symbolic.forms import Form
from chainrule.core.errors import MissingExtraError

LONGEST = 160
"""A longer formula is not shown in a report."""


def require_sympy() -> Any:
    """SymPy, or an error that says how to install it."""
    try:
        return importlib.import_module("sympy")
    except ImportError as error:
        raise MissingExtraError(
            "formulas need SymPy, which is not installed",
            hint='pip install "chainrule[symbols]"',
        ) from error


def expression(form: Form, *, rounds: bool = False) -> Any:
    """A SymPy expression for a form; its variables are real symbols named ``x[0, 1]``.

    With ``rounds``, a double that is no short fraction is written as in a program, such as 1e-05.
    """
    sympy = require_sympy()
    found: dict[Form, Any] = {}
    for part in forms.in_order([form]):
        below = [found[inner] for inner in part.parts]
        if part.kind == "number":
            value = sympy.Rational(part.detail.numerator, part.detail.denominator)
            is_long = rounds and len(str(value)) > 12
            found[part] = sympy.Symbol(repr(float(part.detail))) if is_long else value
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
        else:
            found[part] = getattr(sympy, {"arctan": "atan"}.get(part.kind, part.kind))(*below)
    return found[form]


def text(form: Form, longest: int = LONGEST) -> str | None:
    """A formula in one line, if it is short enough to be read."""
    size: dict[Form, int] = {}
    for part in forms.in_order([form]):
        size[part] = 1 + sum(size[inner] for inner in part.parts)
    if size[form] > longest:
        return None
    found = str(expression(form, rounds=True))
    return found if len(found) <= longest else None


def exactly(value: Any, digits: int = 12) -> str:
    """A number of fifty digits: as the simple fraction that it is, or with twelve digits."""
    nearest = Fraction(str(value)).limit_denominator(10**6)
    scale = max(abs(nearest), Fraction(1))
    if abs(Fraction(str(value)) - nearest) < scale * Fraction(1, 10**30):
        return str(nearest)
    return str(value.context.nstr(value, digits)).removesuffix(".0")
