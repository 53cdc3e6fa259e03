"""Forms: what a program has computed, as a formula without values.

    y = 1/(1 + exp(−x))        is the form        power(sum(1, exp(product(−1, x))), −1)

Equal subexpressions are one object, so a form is a graph, not a tree, and a formula that is used a
hundred times is stored, differentiated and reduced once. The derivative of a sum Σ δ y with respect
to every symbol takes one pass through this graph, from the result back: it is backpropagation,

    ∂C/∂a += ∂C/∂b · ∂b/∂a        for each form b that uses a,

with formulas for numbers. Numbers in a form are exact fractions.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any, ClassVar
from weakref import WeakValueDictionary

FUNCTIONS = ("exp", "log", "tanh", "sin", "cos", "arctan", "erf")
"""The functions of one argument; all others are written with these."""


class Form:
    """A number, a symbol, a sum or product of two forms, a power, or a function of a form.

    Attributes
    ----------
    kind
        "number", "symbol", "sum", "product", "power", or one of `FUNCTIONS`.
    parts
        The forms that it consists of.
    detail
        The fraction of a number, the name of a symbol, the exponent of a power.
    """

    __slots__ = ("__weakref__", "detail", "kind", "parts", "serial")

    known: ClassVar[WeakValueDictionary[Any, Form]] = WeakValueDictionary()
    """All forms that exist, by what they consist of; so equal ones are one object."""
    serials: ClassVar[Iterator[int]] = itertools.count()

    serial: int
    """Forms are numbered in the order in which they are created."""
    kind: str
    parts: tuple[Form, ...]
    detail: Any

    def __repr__(self) -> str:
        inner = [repr(part) for part in self.parts]
        return f"{self.kind}({', '.join([*inner, *([str(self.detail)] if self.detail else [])])})"


def _form(kind: str, parts: tuple[Form, ...] = (), detail: Any = None) -> Form:
    key = (kind, detail, *map(id, parts))
    found = Form.known.get(key)
    if found is None:
        found = object.__new__(Form)
        found.kind, found.parts, found.detail = kind, parts, detail
        found.serial = next(Form.serials)
        Form.known[key] = found
    return found


def number(value: Any) -> Form:
    """A number as the fraction that it is; a double is one, too."""
    return _form("number", (), Fraction(value))


def symbol(name: str) -> Form:
    """A variable."""
    return _form("symbol", (), name)


SHORT = 2**20
"""Numbers with larger denominators may stand for others, as 0.333… does for 1/3."""

ZERO, ONE, MINUS_ONE = number(0), number(1), number(-1)


def add(a: Form, b: Form) -> Form:
    """The sum a + b."""
    if a is ZERO:
        return b
    if b is ZERO:
        return a
    if a.kind == b.kind == "number":
        return number(a.detail + b.detail)
    if b.serial < a.serial:
        a, b = b, a
    return _form("sum", (a, b))


def multiply(a: Form, b: Form) -> Form:
    """The product a b."""
    if a.kind == "number" or (b.kind != "number" and b.serial < a.serial):
        a, b = b, a
    if b is ONE:
        return a
    if b is ZERO:
        return ZERO
    if b.kind == "number":  # numbers come second, and are combined
        if a.kind == "number":
            return number(a.detail * b.detail)
        if a.kind == "product" and a.parts[1].kind == "number":
            other = a.parts[1].detail
            if min(other.denominator, b.detail.denominator) <= SHORT:  # else each is read by itself
                return multiply(a.parts[0], number(other * b.detail))
    return _form("product", (a, b))


def negative(a: Form) -> Form:
    """The form −a."""
    return multiply(a, MINUS_ONE)


def subtract(a: Form, b: Form) -> Form:
    """The difference a − b."""
    return ZERO if a is b else add(a, negative(b))


def power(a: Form, exponent: Fraction | int) -> Form:
    """The power a^exponent, with a fraction as exponent."""
    exponent = Fraction(exponent)
    if exponent == 0:
        return ONE
    if exponent == 1:
        return a
    if a.kind == "number" and exponent.denominator == 1:
        return number(a.detail**exponent)
    if a.kind == "power" and (exponent.denominator == 1 or a.detail.denominator > 1):
        # (x^½)² = x, and (x^½)^½ = x^¼, for x > 0; but (x²)^½ = |x|
        return power(a.parts[0], a.detail * exponent)
    return _form("power", (a,), exponent)


def divide(a: Form, b: Form) -> Form:
    """The quotient a/b."""
    return multiply(a, power(b, -1))


def apply(function: str, a: Form) -> Form:
    """One of `FUNCTIONS` of a form."""
    return _form(function, (a,))


def in_order(roots: Iterable[Form]) -> list[Form]:
    """All forms that the roots consist of, from left to right, each after its parts."""
    done: dict[Form, None] = {}
    stack = [(root, False) for root in reversed(list(roots))]
    while stack:
        form, is_ready = stack.pop()
        if form in done:
            continue
        if is_ready or not form.parts:
            done[form] = None
        else:
            stack.append((form, True))
            stack += [(part, False) for part in reversed(form.parts)]
    return list(done)


def symbols_in(form: Form) -> set[str]:
    """The names of the symbols in a form."""
    return {part.detail for part in in_order([form]) if part.kind == "symbol"}


def is_surely_positive(form: Form) -> bool:
    """Whether a form is above 0 wherever it is defined, as a glance at it shows."""
    sure: dict[Form, tuple[bool, bool]] = {}  # above 0, not below 0
    for part in in_order([form]):
        below = [sure[inner] for inner in part.parts]
        above = not_below = False
        if part.kind == "number":
            above, not_below = part.detail > 0, part.detail >= 0
        elif part.kind == "exp" or part.detail == PI:
            above = not_below = True
        elif part.kind == "sum":
            not_below = all(b for _, b in below)
            above = not_below and any(a for a, _ in below)
        elif part.kind == "product":
            is_square = part.parts[0] is part.parts[1]
            not_below = is_square or all(b for _, b in below)
            above = all(a for a, _ in below)
        elif part.kind == "power":
            is_even = part.detail.numerator % 2 == 0 or part.detail.denominator % 2 == 0
            above, not_below = below[0][0], below[0][1] or is_even
        sure[part] = above, not_below
    return sure[form][0]


def _two_over_root_of_pi() -> Form:
    return multiply(number(2), power(symbol(PI), Fraction(-1, 2)))


PI = "the number π"
"""The symbol that stands for the number π."""

SLOPES: dict[str, Callable[[Form, Form], Form]] = {
    "exp": lambda y, a: y,
    "log": lambda y, a: power(a, -1),
    "tanh": lambda y, a: subtract(ONE, multiply(y, y)),
    "sin": lambda y, a: apply("cos", a),
    "cos": lambda y, a: negative(apply("sin", a)),
    "arctan": lambda y, a: power(add(ONE, multiply(a, a)), -1),
    "erf": lambda y, a: multiply(_two_over_root_of_pi(), apply("exp", negative(multiply(a, a)))),
}
"""The derivative of each function, from its value and its argument."""


def gradient(terms: Iterable[tuple[Form, Form]]) -> dict[str, Form]:
    """The derivatives of Σ δ y with respect to every symbol in any y, from pairs (y, δ)."""
    deltas: dict[Form, Form] = {}

    def send(form: Form, delta: Form) -> None:
        deltas[form] = add(deltas.get(form, ZERO), delta)

    terms = list(terms)
    for y, delta in terms:
        send(y, delta)
    for form in reversed(in_order(y for y, _ in terms)):
        delta = deltas.get(form, ZERO)
        if delta is ZERO or not form.parts:
            continue
        a = form.parts[0]
        if form.kind == "sum":
            for part in form.parts:
                send(part, delta)
        elif form.kind == "product":
            b = form.parts[1]
            send(a, multiply(delta, b))
            send(b, multiply(delta, a))
        elif form.kind == "power":
            slope = multiply(number(form.detail), power(a, form.detail - 1))
            send(a, multiply(delta, slope))
        else:
            send(a, multiply(delta, SLOPES[form.kind](form, a)))
    return {form.detail: delta for form, delta in deltas.items() if form.kind == "symbol"}
