"""Rational functions: a form is zero for all values if its numerator is the zero polynomial.

A form is written as a fraction of polynomials

    N(g₁, g₂, …) / (c · D₁^k₁ · D₂^k₂ …)

with integer coefficients. The generators g are the symbols and, for every function of them, atoms:
exp x, tanh x, √x, … . Sums of fractions get a common denominator; nothing is ever factored, and no
greatest common divisor is computed. What is known about atoms is used:

    exp(a + b) = exp a · exp b,    (√a)² = a,    cos² a = 1 − sin² a

If N is the zero polynomial, the form is zero wherever it is defined, whatever the generators are.
If it isn't, the form may still be zero, for a reason that is not in this list.

A monomial is one integer: the exponent of generator n times 2^(32 n), added up. So the product of
two monomials is a sum of integers, and negative exponents need no special case; an exponent that
gets near the border of its 32 bits is an error.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from chainrule.symbolic.forms import PI, Form, in_order

Polynomial = dict[int, int]
"""Coefficients by monomial."""

BITS = 32
LARGEST_EXPONENT = 2**29
PARTS_OF_EXP = 768
"""exp x is (exp(x/768))^768, so that exp(x/2) and exp(x/3) are powers of the same atom."""
PARTS_OF_ROOT = 12
"""x^½ is written as (x^(1/12))^6."""
MOST_TURNS = 24
"""The largest multiple n for which cos n x is written with cos x and sin x."""
LARGEST_ROOT = 100
"""exp(k log x) is x^k for k with such a denominator."""
PRIME = 2**127 - 1


class TooLargeError(ArithmeticError):
    """A polynomial has too many terms, or the time is over."""


class Ratio(NamedTuple):
    """numerator / (content · Π denominators^power)."""

    numerator: Polynomial
    content: int
    denominators: dict[int, int]


ONE = Ratio({0: 1}, 1, {})


class Ratios:
    """Forms as rational functions of symbols and atoms.

    Parameters
    ----------
    reads
        What each number in a form stands for: a form for the number itself, or for a simple value
        near it.
    uses_exp
        Whether tanh is written with exp, and sin and cos of sums and multiples with those of terms.
    limit
        The number of terms that a polynomial may have.
    end
        When to give up, on the clock of `time.perf_counter`.

    Raises
    ------
    TooLargeError
        From its methods, if a polynomial has too many terms, or the time is over.
    """

    def __init__(
        self,
        reads: Callable[[Fraction], Form | None] | None = None,
        *,
        uses_exp: bool = False,
        limit: int = 50_000,
        end: float = math.inf,
    ) -> None:
        self._end = end
        self.reads = reads
        self.uses_exp = uses_exp
        self._limit = limit
        self._ratios: dict[Form, Ratio] = {}
        self._generators: dict[object, int] = {}
        self._factors: list[Polynomial] = []
        self._factor_numbers: dict[frozenset[tuple[int, int]], int] = {}
        self._residues: list[int] = []
        self._middle = self._border = 0
        self._relations: dict[int, tuple[int, Ratio]] = {}  # g^k = ratio
        self._logarithms: dict[int, Ratio] = {}
        self._positive: set[int] = set()  # generators that are above 0: π, exponentials
        self._atoms: dict[tuple[object, ...], tuple[int, Ratio]] = {}

    def is_zero(self, form: Form) -> bool:
        """Whether the numerator is the zero polynomial."""
        return not self._reduced(self.ratio(form)).numerator

    # ---------------------------------------------------------------- from forms

    def ratio(self, form: Form) -> Ratio:
        """A form as a rational function."""
        ratios = self._ratios
        if form not in ratios:
            for part in in_order([form]):
                if part not in ratios:
                    ratios[part] = self._of(part)
        return ratios[form]

    def _of(self, form: Form) -> Ratio:
        kind = form.kind
        if kind == "number":
            read = self.reads(form.detail) if self.reads else None
            if read is not None and read is not form:
                return self.ratio(read)
            return Ratio(
                {0: form.detail.numerator} if form.detail else {}, form.detail.denominator, {}
            )
        if kind == "symbol":
            found = self._generator(("symbol", form.detail))
            if form.detail == PI:
                self._positive.add(_index(*found.numerator))
            return found
        parts = [self._ratios[part] for part in form.parts]
        if kind == "sum":
            return self._sum(*parts)
        if kind == "product":
            return self._product(*parts)
        (a,) = parts
        if kind == "power":
            return self._power(a, form.detail)
        if kind == "exp":
            return self._exp(a)
        if kind == "tanh" and self.uses_exp:
            e = self._exp(self._sum(a, a))
            return self._product(
                self._sum(e, Ratio({0: -1}, 1, {})), self._reciprocal(self._sum(e, ONE))
            )
        if kind in ("sin", "cos") and self.uses_exp:
            return self._turned(a)[kind == "sin"]
        if kind == "log":
            return self._atom(kind, a)
        a = self._reduced(a)  # the others are odd, f(−a) = −f(a), but for cos, which is even
        is_below = bool(a.numerator) and a.numerator[max(a.numerator)] < 0
        a = _negative(a) if is_below else a
        if kind == "cos":
            return self._circular(a)[0]
        atom = self._circular(a)[1] if kind == "sin" else self._atom(kind, a)
        return _negative(atom) if is_below else atom

    def _circular(self, a: Ratio) -> tuple[Ratio, Ratio]:
        """The atoms cos a and sin a, with cos² a = 1 − sin² a."""
        sine, cosine = self._atom("sin", a), self._atom("cos", a)
        (generator,) = cosine.numerator
        minus_square = self._product(_negative(sine), sine)
        self._relations[_index(generator)] = (2, self._sum(ONE, minus_square))
        return cosine, sine

    def _turned(self, a: Ratio) -> tuple[Ratio, Ratio]:
        """The cosine and sine of a sum: cos(a + b) = cos a cos b − sin a sin b."""
        a = self._reduced(a)
        cosine, sine = ONE, Ratio({}, 1, {})
        for monomial, coefficient in a.numerator.items():
            size = Fraction(coefficient, a.content)
            unit = Fraction(1, max(2, size.denominator))  # so that x and x/2 meet
            if abs(size) > MOST_TURNS * unit:
                unit = abs(size)
            c, s = self._circular(
                Ratio({monomial: unit.numerator}, unit.denominator, a.denominators)
            )
            s = _negative(s) if size < 0 else s
            for _ in range(int(abs(size) / unit)):
                minus = _negative(self._product(sine, s))
                cosine, sine = (
                    self._reduced(self._sum(self._product(cosine, c), minus)),
                    self._reduced(self._sum(self._product(sine, c), self._product(cosine, s))),
                )
        return cosine, sine

    def _exp(self, a: Ratio) -> Ratio:
        """A product of exp for each term of the argument."""
        a = self._reduced(a)
        result = ONE
        for monomial, coefficient in a.numerator.items():
            size = Fraction(coefficient, a.content)
            logarithm = self._logarithms.get(monomial)
            if logarithm is not None and not a.denominators and size.denominator <= LARGEST_ROOT:
                result = self._product(result, self._power(logarithm, size))  # exp(k log b) = bᵏ
                continue
            parts = size.denominator if PARTS_OF_EXP % size.denominator else PARTS_OF_EXP
            unit = Fraction(1, parts)
            if parts > PARTS_OF_EXP or abs(size) * parts > 2**20:
                unit = abs(size)
            base = Ratio({monomial: unit.numerator}, unit.denominator, a.denominators)
            atom = self._atom("exp", base)
            (generator,) = atom.numerator
            result = self._product(result, Ratio({generator * int(size / unit): 1}, 1, {}))
        return result

    def _power(self, a: Ratio, exponent: Fraction) -> Ratio:
        n, root = exponent.numerator, exponent.denominator
        if root > 1:
            a = self._root(a, root)
        if n < 0:
            a, n = self._reciprocal(a), -n
        result = ONE
        while n:
            if n & 1:
                result = self._product(result, a)
            n >>= 1
            if n:
                a = self._product(a, a)
        return result

    def _root(self, a: Ratio, order: int) -> Ratio:
        """A root: that of a positive number, π or an exponential is taken by itself."""
        a = self._reduced(a)
        if not a.numerator:
            return a
        monomial, content, rest = _primitive(a.numerator)
        positive = sum(e << (BITS * n) for n, e in _exponents(monomial) if n in self._positive)
        sign = -1 if content < 0 else 1
        rest = {m + monomial - positive: sign * c for m, c in rest.items()}
        result = ONE
        for number, power in _prime_factors(Fraction(abs(content), a.content)).items():
            atom = self._root_atom(Ratio({0: number}, 1, {}), order)
            result = self._product(result, self._power(atom, Fraction(power)))
        for number, power in _exponents(positive):
            atom = self._root_atom(Ratio({1 << (BITS * number): 1}, 1, {}), order)
            result = self._product(result, self._power(atom, Fraction(power)))
        remaining = Ratio(rest, 1, a.denominators)
        if remaining == ONE:
            return result
        return self._product(result, self._root_atom(remaining, order))

    def _root_atom(self, argument: Ratio, order: int) -> Ratio:
        parts = PARTS_OF_ROOT if PARTS_OF_ROOT % order == 0 else order
        (generator,) = self._atom(f"root {parts}", argument).numerator
        self._relations[_index(generator)] = (parts, argument)
        return Ratio({generator * (parts // order): 1}, 1, {})

    def _atom(self, kind: str, argument: Ratio) -> Ratio:
        """The generator for a function of an argument; equal arguments have the same one."""
        argument = self._reduced(argument)
        key: tuple[object, ...] = (kind, self._residue(argument))
        while key in self._atoms:
            generator, known = self._atoms[key]
            if not self._sum(argument, _negative(known)).numerator:
                return Ratio({generator: 1}, 1, {})
            key = (*key, "other")
        ratio = self._generator(key)
        (generator,) = ratio.numerator
        self._atoms[key] = generator, argument
        if kind == "log":
            self._logarithms[generator] = argument
        if kind == "exp":
            self._positive.add(_index(generator))
        return ratio

    def _generator(self, key: object) -> Ratio:
        number = self._generators.setdefault(key, len(self._generators))
        if number == len(self._residues):
            self._residues.append(pow(number + 3, 5**31 + number, PRIME))
            self._middle += LARGEST_EXPONENT << (BITS * number)
            self._border += (2**BITS - 2 * LARGEST_EXPONENT) << (BITS * number)
        return Ratio({1 << (BITS * number): 1}, 1, {})

    def _residue(self, a: Ratio) -> int:
        """The value modulo a prime, if every generator is a certain number: a fingerprint."""
        value = self._residue_of(a.numerator) * pow(a.content, -1, PRIME)
        for number, exponent in a.denominators.items():
            value *= pow(self._residue_of(self._factors[number]), -exponent, PRIME)
        return value % PRIME

    def _residue_of(self, polynomial: Polynomial) -> int:
        total = 0
        for monomial, coefficient in polynomial.items():
            term = coefficient
            for number, exponent in _exponents(monomial):
                term = term * pow(self._residues[number], exponent, PRIME) % PRIME
            total += term
        return total % PRIME

    # ---------------------------------------------------------------- arithmetic

    def _sum(self, a: Ratio, b: Ratio) -> Ratio:
        if not a.numerator:
            return b
        if not b.numerator:
            return a
        self._watch()
        content = math.lcm(a.content, b.content)
        powers = dict(a.denominators)
        for number, power in b.denominators.items():
            powers[number] = max(powers.get(number, 0), power)
        total: Polynomial = {}
        for ratio in (a, b):
            numerator = _scaled(ratio.numerator, content // ratio.content)
            for number, power in powers.items():
                for _ in range(power - ratio.denominators.get(number, 0)):
                    numerator = self._times(numerator, self._factors[number])
            if total:
                for monomial, coefficient in numerator.items():
                    new = total.get(monomial, 0) + coefficient
                    if new:
                        total[monomial] = new
                    else:
                        del total[monomial]
            else:
                total = dict(numerator)
        if not total:
            return Ratio({}, 1, {})
        return _shortened(total, content, powers)

    def _product(self, a: Ratio, b: Ratio) -> Ratio:
        if a is ONE:
            return b
        if b is ONE:
            return a
        powers = dict(a.denominators)
        for number, power in b.denominators.items():
            powers[number] = powers.get(number, 0) + power
        numerators = [self._cancelled(r.numerator, powers) for r in (a, b)]
        numerator = self._times(*numerators)
        if not numerator:
            return Ratio({}, 1, {})
        return _shortened(numerator, a.content * b.content, powers)

    def _cancelled(self, numerator: Polynomial, powers: dict[int, int]) -> Polynomial:
        """A numerator, without the factor of the denominator that it is, if it is one."""
        if len(numerator) < 2 or len(numerator) > 64 or not powers:
            return numerator
        monomial, content, primitive = _primitive(numerator)
        number = self._factor_numbers.get(frozenset(primitive.items()))
        if number is None or not powers.get(number):
            return numerator
        powers[number] -= 1
        if not powers[number]:
            del powers[number]
        return {monomial: content}

    def _times(self, a: Polynomial, b: Polynomial) -> Polynomial:
        if len(a) > len(b):
            a, b = b, a
        work = len(a) * len(b)
        if work > 50 * self._limit or time.perf_counter() > self._end:
            raise TooLargeError
        product: Polynomial = {}
        get = product.get
        for m, c in a.items():
            for n, d in b.items():
                product[m + n] = get(m + n, 0) + c * d
        if len(a) > 1:
            product = {m: c for m, c in product.items() if c}
        if len(product) > self._limit:
            raise TooLargeError
        middle, border = self._middle, self._border
        for m in product:
            if (m + middle) & border:  # an exponent is not within ±LARGEST_EXPONENT
                raise TooLargeError
        return product

    def _watch(self) -> None:
        if time.perf_counter() > self._end:
            raise TooLargeError

    def _reciprocal(self, a: Ratio) -> Ratio:
        a = self._reduced(a)
        numerator: Polynomial = {0: a.content}
        for number, power in a.denominators.items():
            for _ in range(power):
                numerator = self._times(numerator, self._factors[number])
        if not a.numerator:
            raise ZeroDivisionError
        monomial, content, primitive = _primitive(a.numerator)
        numerator = {m - monomial: c for m, c in numerator.items()}
        powers = {}
        if len(primitive) > 1:
            key = frozenset(primitive.items())
            if key not in self._factor_numbers:
                self._factor_numbers[key] = len(self._factors)
                self._factors.append(primitive)
            powers[self._factor_numbers[key]] = 1
        if content < 0:
            numerator, content = _scaled(numerator, -1), -content
        return _shortened(numerator, content, powers)

    def _reduced(self, a: Ratio) -> Ratio:
        """Without powers of atoms for which there is a relation: (√a)³ = a √a."""
        for index in sorted(self._relations, reverse=True):
            order, value = self._relations[index]
            self._watch()
            shift, offset, place = 1 << (BITS * index), _offset(index), BITS * index
            parts: dict[int, Polynomial] = {}
            for monomial, coefficient in a.numerator.items():
                exponent = ((monomial + offset >> place) & _MASK) - _HALF
                times, rest = divmod(exponent, order)
                part = parts.setdefault(times, {})
                rest_of = monomial + (rest - exponent) * shift
                part[rest_of] = part.get(rest_of, 0) + coefficient
            if set(parts) <= {0}:
                continue
            total = Ratio({}, 1, {})
            for times, part in parts.items():
                term = Ratio({m: c for m, c in part.items() if c}, a.content, a.denominators)
                total = self._sum(total, self._product(term, self._power(value, Fraction(times))))
            a = total
        return a


def _negative(a: Ratio) -> Ratio:
    return Ratio(_scaled(a.numerator, -1), a.content, a.denominators)


def _scaled(polynomial: Polynomial, factor: int) -> Polynomial:
    return polynomial if factor == 1 else {m: c * factor for m, c in polynomial.items()}


def _shortened(numerator: Polynomial, content: int, powers: dict[int, int]) -> Ratio:
    """A ratio without a common integer factor above and below."""
    common = content
    for coefficient in numerator.values():
        if common == 1:
            break
        common = math.gcd(common, coefficient)
    if common > 1:
        numerator = {m: c // common for m, c in numerator.items()}
        content //= common
    return Ratio(numerator, content, powers)


def _primitive(polynomial: Polynomial) -> tuple[int, int, Polynomial]:
    """A monomial, an integer, and the polynomial divided by both."""
    lowest: dict[int, int] = {}
    all_exponents = [dict(_exponents(monomial)) for monomial in polynomial]
    for number in set().union(*all_exponents):
        lowest[number] = min(exponents.get(number, 0) for exponents in all_exponents)
    monomial = sum(exponent << (BITS * number) for number, exponent in lowest.items())
    content = math.gcd(*polynomial.values())
    if polynomial[max(polynomial)] < 0:
        content = -content
    return monomial, content, {m - monomial: c // content for m, c in polynomial.items()}


def _exponents(monomial: int) -> list[tuple[int, int]]:
    """The generators of a monomial with their exponents."""
    found, number, half = [], 0, 1 << (BITS - 1)
    while monomial:
        digit = ((monomial + half) & ((1 << BITS) - 1)) - half
        if digit:
            found.append((number, digit))
        monomial = (monomial - digit) >> BITS
        number += 1
    return found


_HALF, _MASK = 1 << (BITS - 1), (1 << BITS) - 1


@functools.cache
def _offset(number: int) -> int:
    """What makes the exponents of all generators up to this one positive."""
    return sum(_HALF << (BITS * n) for n in range(number + 1))


def _index(monomial: int) -> int:
    """The number of the generator that a monomial consists of."""
    ((number, _),) = _exponents(monomial)
    return number


def _prime_factors(value: Fraction) -> dict[int, int]:
    """The prime factors of a positive number with their exponents, found by division up to 1000."""
    found: dict[int, int] = {}
    for number, sign in ((value.numerator, 1), (value.denominator, -1)):
        divisor = 2
        while number > 1 and divisor <= 1000:
            while number % divisor == 0:
                found[divisor] = found.get(divisor, 0) + sign
                number //= divisor
            divisor += 1
        if number > 1:
            found[number] = found.get(number, 0) + sign
    return found
