"""Sizes that are not known yet: integers that remember how they follow from the shape of a batch.

    n = Size of the axis "batch"        n * 4 + 1    is a Size, too: 4·batch + 1

A model is traced once, and the file works for batches of any size. So the tracer's shapes contain
integers of a special kind. Each has a value, which makes it an ordinary integer for the code of a
layer, and a formula in the names of the axes, which goes into the file. The formula is a
polynomial of the names, and of quotients and remainders that do not come out even.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias


class Quotient(NamedTuple):
    """⌊over / under⌋, or the remainder of this division, where it is no polynomial."""

    over: Terms
    under: Terms
    is_remainder: bool


Atom: TypeAlias = "str | Quotient"
"""The name of an axis, or a `Quotient`."""

Terms: TypeAlias = tuple[tuple[tuple[Any, ...], int], ...]
"""A polynomial: for each product of atoms its coefficient."""

CONSTANT: tuple[Any, ...] = ()
"""The empty product, 1."""


class Size(int):
    """An integer with a formula.

    Attributes
    ----------
    terms : dict
        The formula: for each product of atoms, a sorted tuple, its coefficient.
    """

    terms: Mapping[tuple[Any, ...], int]

    @staticmethod
    def named(name: str, value: int) -> Size:
        """The size of an axis with this name, which has this value for now."""
        size = Size(value)
        size.terms = {(name,): 1}
        return size

    def __add__(self, other: Any) -> Any:
        return _sum(self, other, 1)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return _sum(self, other, -1)

    def __rsub__(self, other: Any) -> Any:
        return _sum(-self, other, 1)

    def __neg__(self) -> Any:
        return self * -1

    def __pos__(self) -> Any:
        return self

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, float):
            return SizeFloat.of(float(other), self)
        if not isinstance(other, int):
            return NotImplemented
        terms: dict[tuple[Any, ...], int] = {}
        for one, a in self.terms.items():
            for two, b in terms_of(other).items():
                product = tuple(sorted((*one, *two), key=repr))
                terms[product] = terms.get(product, 0) + a * b
        return _size(int(self) * int(other), terms)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        return _divided(self, other, is_remainder=False)

    def __rfloordiv__(self, other: Any) -> Any:
        return _divided(other, self, is_remainder=False)

    def __mod__(self, other: Any) -> Any:
        return _divided(self, other, is_remainder=True)

    def __rmod__(self, other: Any) -> Any:
        return _divided(other, self, is_remainder=True)

    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, SizeFloat):
            return NotImplemented
        if isinstance(other, int) and not isinstance(other, Size):
            return SizeFloat.of(1.0, self, other)
        if isinstance(other, int):
            return SizeFloat.of(1.0, self, other)
        return SizeFloat.of(1.0 / other, self) if isinstance(other, float) else NotImplemented

    def __rtruediv__(self, other: Any) -> Any:
        if isinstance(other, float | int):
            return SizeFloat.of(float(other), 1, self)
        return NotImplemented

    def __pow__(self, exponent: Any, modulus: Any = None) -> Any:
        if isinstance(exponent, int) and not isinstance(exponent, Size) and exponent > 0:
            return math.prod([self] * exponent)
        return int(self) ** exponent

    def __repr__(self) -> str:
        return written(self)

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        return format(written(self), specification)

    def __reduce__(self) -> Any:
        return int, (int(self),)


class SizeFloat(float):
    """A number times a size and divided by one, such as the mean's 1 / batch.

    Attributes
    ----------
    factor, over, under
        The number factor · over / under.
    """

    factor: float
    over: int
    under: int

    @staticmethod
    def of(factor: float, over: int = 1, under: int = 1) -> SizeFloat:
        """The number factor · over / under."""
        value = factor * int(over) / int(under) if int(under) else math.nan
        number = SizeFloat(value)
        number.factor, number.over, number.under = factor, over, under
        return number

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, SizeFloat):
            factor, over = self.factor * other.factor, self.over * other.over
            return SizeFloat.of(factor, over, self.under * other.under)
        if isinstance(other, Size):
            return SizeFloat.of(self.factor, self.over * other, self.under)
        if isinstance(other, float | int):
            return SizeFloat.of(self.factor * float(other), self.over, self.under)
        return NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, SizeFloat):
            return self * SizeFloat.of(1 / other.factor, other.under, other.over)
        if isinstance(other, Size):
            return SizeFloat.of(self.factor, self.over, self.under * other)
        if isinstance(other, float | int):
            return SizeFloat.of(self.factor / float(other), self.over, self.under)
        return NotImplemented

    def __rtruediv__(self, other: Any) -> Any:
        if isinstance(other, float | int):
            return SizeFloat.of(1 / self.factor, self.under, self.over) * other
        return NotImplemented

    def __neg__(self) -> Any:
        return self * -1.0

    def __ceil__(self) -> Any:
        if self.factor == 1:
            return -(-self.over // self.under)
        return math.ceil(float(self))

    def __floor__(self) -> Any:
        if self.factor == 1:
            return self.over // self.under
        return math.floor(float(self))


def terms_of(number: int) -> Mapping[tuple[Any, ...], int]:
    """The formula of any integer."""
    if isinstance(number, Size):
        return number.terms
    return {CONSTANT: int(number)} if number else {}


def formula_of(number: int) -> Terms:
    """The formula in a fixed order: equal for equal formulas."""
    return _sorted(terms_of(number))


def same(one: int, two: int) -> bool:
    """Whether two sizes are equal for all batches."""
    return int(one) == int(two) and terms_of(one) == terms_of(two)


def written(number: int) -> str:
    """The formula as text, such as ``4*batch + 1``."""
    return _text(terms_of(number))


def _size(value: int, terms: Mapping[tuple[Any, ...], int]) -> Any:
    terms = {product: c for product, c in terms.items() if c}
    if set(terms) <= {CONSTANT}:
        return terms.get(CONSTANT, 0)
    size = Size(value)
    size.terms = terms
    return size


def _sum(one: int, other: Any, sign: int) -> Any:
    if isinstance(other, float):
        return float(one) + sign * other
    if not isinstance(other, int):
        return NotImplemented
    terms = dict(terms_of(one))
    for product, c in terms_of(other).items():
        terms[product] = terms.get(product, 0) + sign * c
    return _size(int(one) + sign * int(other), terms)


def _divided(over: Any, under: Any, *, is_remainder: bool) -> Any:
    if not isinstance(over, int) or not isinstance(under, int):
        return NotImplemented
    value = int(over) % int(under) if is_remainder else int(over) // int(under)
    exact = _exact_quotient(terms_of(over), terms_of(under))
    if exact is not None:
        return 0 if is_remainder else _size(value, exact)
    atom = Quotient(_sorted(terms_of(over)), _sorted(terms_of(under)), is_remainder)
    return _size(value, {(atom,): 1})


def _exact_quotient(over: Any, under: Any) -> dict[tuple[Any, ...], int] | None:
    """The quotient of two polynomials, if the second is one product that divides the first."""
    if len(under) != 1:
        return None
    ((divisor, c),) = under.items()
    quotient = {}
    for product, a in over.items():
        left = list(product)
        for atom in divisor:
            if atom not in left:
                return None
            left.remove(atom)
        if a % c:
            return None
        quotient[tuple(left)] = a // c
    return quotient


def _sorted(terms: Mapping[tuple[Any, ...], int]) -> Terms:
    return tuple(sorted(terms.items(), key=repr))


def _text(terms: Mapping[tuple[Any, ...], int] | Terms) -> str:
    parts = []
    items = terms.items() if isinstance(terms, Mapping) else terms
    for product, c in sorted(items, key=lambda item: (not item[0], repr(item))):
        factors = [_atom_text(atom) for atom in product]
        if c != 1 or not factors:
            factors.insert(0, str(c))
        parts.append("*".join(factors))
    return (" + ".join(parts) or "0").replace("+ -", "- ")


def _atom_text(atom: Any) -> str:
    if isinstance(atom, str):
        return atom
    over, under = _text(atom.over), _text(atom.under)
    sign = "%" if atom.is_remainder else "//"
    return f"(({over}) {sign} {under if under.isalnum() else f'({under})'})"
