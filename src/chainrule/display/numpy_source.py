"""SymPy expressions as the source of NumPy expressions.

    a exp(−b x)        is written        a * np.exp(-b * x)

The order is that of a textbook: numbers before symbols, symbols before sums and functions, and
negative terms last. The source is what `derive` puts into a program, and what
`chainrule.display.notation` turns into a formula on a page.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

from chainrule.symbolic.formulas import require_sympy

NUMPY = {"atan": "arctan", "asin": "arcsin", "acos": "arccos", "Abs": "abs"}
"""NumPy's names of functions, where they differ from SymPy's."""

LARGEST_DENOMINATOR = 1000
"""A fraction with a larger one is written as a decimal."""


class Source:
    """Writes expressions.

    Parameters
    ----------
    names
        For each symbol what to write, a name or any other expression, in the order in which sums
        are sorted.
    factors
        The same symbols in the order of the factors of a product; by default as in sums.
    on_paper
        Whether the sign of a fraction comes before the whole fraction, −(a / b), not (−a) / b.
    """

    def __init__(
        self,
        names: dict[Any, str],
        factors: Sequence[Any] | None = None,
        *,
        on_paper: bool = False,
    ) -> None:
        self._sympy = require_sympy()
        self._names = names
        self._terms = {symbol: n for n, symbol in enumerate(names)}
        self._factors = {symbol: n for n, symbol in enumerate(factors or names)}
        self._on_paper = on_paper

    def __call__(self, expression: Any) -> str:
        """The source of an expression, formatted as ruff does."""
        return _with_close_powers(ast.unparse(self._tree(expression)))

    def _tree(self, e: Any) -> ast.expr:
        sympy = self._sympy
        if e.is_Rational:
            return _number(e)
        if e.is_Symbol:
            name: str = self._names.get(e, e.name)
            return ast.parse(name, mode="eval").body
        if e == sympy.pi or e == sympy.E:
            return ast.Attribute(ast.Name("np"), "pi" if e == sympy.pi else "e")
        if e.is_Add:
            return self._sum(e)
        if e.is_Mul or (e.is_Pow and e.exp.is_Rational and e.exp < 0):
            return self._product(e)
        if e.is_Pow:
            return self._power(e.base, e.exp)
        if e.is_Relational:
            sign = ast.Gt() if isinstance(e, sympy.Gt) else ast.Lt()
            return ast.Compare(self._tree(e.lhs), [sign], [self._tree(e.rhs)])
        return _call(NUMPY.get(e.func.__name__, e.func.__name__), *map(self._tree, e.args))

    # ---------------------------------------------------------------- sums

    def _sum(self, e: Any) -> ast.expr:
        terms = sorted(e.args, key=self._place_in_sum)
        positive = next((term for term in terms if not _is_negative(term)), terms[0])
        terms.remove(positive)
        total = self._tree(positive)
        for term in terms:
            if _is_negative(term):
                total = ast.BinOp(total, ast.Sub(), self._tree(-term))
            else:
                total = ast.BinOp(total, ast.Add(), self._tree(term))
        return total

    def _place_in_sum(self, term: Any) -> Any:
        used = sorted(self._terms.get(s, len(self._terms)) for s in term.free_symbols)
        degree = sum(p.exp if p.is_Pow and p.exp.is_Integer else 1 for p in _factors(term))
        return bool(used), used, not self._is_plain(term), degree, term.sort_key()

    def _is_plain(self, term: Any) -> bool:
        return all(part.is_Symbol or part.is_Number for part in self._sympy.preorder_traversal(term)
                   if not (part.is_Mul or part.is_Pow))  # fmt: skip

    # ---------------------------------------------------------------- products

    def _product(self, e: Any) -> ast.expr:
        over: list[ast.expr] = []
        under: list[ast.expr] = []
        coefficient, factors = e.as_coeff_mul()
        if _is_decimal(coefficient):
            coefficient, factors = self._sympy.Integer(1), (coefficient, *factors)
        is_negative = coefficient < 0 or (factors[0].is_Rational and factors[0] < 0)
        if is_negative and coefficient > 0:
            factors = (-factors[0], *factors[1:])
        numerator, denominator = abs(coefficient.p), coefficient.q
        for factor in sorted(factors, key=self._place_in_product):
            base, exponent = factor.as_base_exp()
            is_under = factor.is_Pow and exponent.is_Rational and exponent < 0
            (under if is_under else over).append(
                self._power(base, -exponent) if is_under else self._tree(factor)
            )
        if numerator != 1 or not over:
            over.insert(0, ast.Constant(int(numerator)))
        if denominator != 1:
            under.insert(0, ast.Constant(int(denominator)))
        if is_negative and not (self._on_paper and under):
            over[0] = _negated(over[0])
        result = _multiplied(over)
        if under:
            result = ast.BinOp(result, ast.Div(), _multiplied(under))
        if is_negative and self._on_paper and under:
            result = _negated(result)
        return result

    def _place_in_product(self, factor: Any) -> Any:
        base = factor.base if factor.is_Pow else factor
        kind = 0 if factor.is_number else 1 if base.is_Symbol else 2 if base.is_Add else 3
        used = sorted(self._factors.get(s, len(self._factors)) for s in factor.free_symbols)
        return kind, used, factor.sort_key()

    def _power(self, base: Any, exponent: Any) -> ast.expr:
        if exponent == 1:
            return self._tree(base)
        if exponent == self._sympy.Rational(1, 2):
            return _call("sqrt", self._tree(base))
        return ast.BinOp(self._tree(base), ast.Pow(), self._tree(exponent))


def _factors(term: Any) -> Sequence[Any]:
    return term.args if term.is_Mul else (term,)


def _is_negative(term: Any) -> bool:
    return bool(_factors(term)[0].is_Rational and _factors(term)[0] < 0)


def _is_decimal(number: Any) -> bool:
    """Whether a number is rather written as 0.1 than as 1 / 10."""
    q = number.q
    while q % 2 == 0:
        q //= 2
    while q % 5 == 0:
        q //= 5
    return bool((q == 1 and number.q >= 10) or number.q > LARGEST_DENOMINATOR)


def _number(e: Any) -> ast.expr:
    size: ast.expr
    if _is_decimal(e):
        size = ast.Constant(float(abs(e)))
    else:
        size = ast.Constant(int(abs(e.p)))
        if e.q != 1:
            size = ast.BinOp(size, ast.Div(), ast.Constant(int(e.q)))
    return _negated(size) if e < 0 else size


def _negated(node: ast.expr) -> ast.expr:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        node = ast.Call(ast.Name(""), [node], [])  # in parentheses: -(x**2), as ruff writes it
    return ast.UnaryOp(ast.USub(), node)


def _multiplied(factors: list[ast.expr]) -> ast.expr:
    result, *others = factors
    for factor in others:
        result = ast.BinOp(result, ast.Mult(), factor)
    return result


def _call(name: str, *arguments: ast.expr) -> ast.expr:
    function = ast.Name(name) if name == "erf" else ast.Attribute(ast.Name("np"), name)
    return ast.Call(function, list(arguments), [])


SIMPLE = r"(?:[A-Za-z_][\w.]*|\d[\d.]*)"


def _with_close_powers(source: str) -> str:
    """``x**2`` for powers of names and numbers, as ruff writes it; (x + 1) ** 2 stays."""
    return re.sub(rf"(?<![\w.)\]])({SIMPLE}) \*\* (-?{SIMPLE})(?![\w.(\[])", r"\1**\2", source)
