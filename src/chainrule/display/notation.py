r"""One expression, three readers: a computer, a page and a terminal.

    (Delta_3 @ w_3.T) * df(z_2)                            what NumPy computes
    (\Delta^{(3)} {w^{(3)}}^\top) \odot f'(z^{(2)})         the same in LaTeX
    (Δ₃ w₃ᵀ) ⊙ f′(z₂)                                      the same in a terminal

All three use the syntax tree of Python's `ast` module, so the printed formula is the one that is
computed. In a product of arrays ``@`` is written with nothing between the factors, and ``*`` as ⊙,
element by element; ``.sum(axis=0)`` is Σ_s, the sum over the samples s of a batch. Expressions are
never passed to Python's `eval`: they may only contain arithmetic, computing functions of NumPy, and
given names.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from attrs import frozen

from chainrule.core.errors import DefinitionError

TERMS = 12
"""A longer sum is written without its middle."""


@frozen
class Sign:
    """How a name is written.

    Attributes
    ----------
    latex, text
        In LaTeX, and in a terminal.
    is_quotient
        Whether it is a quotient such as ∂C/∂y, which needs parentheses before a matrix.
    """

    latex: str
    text: str
    is_quotient: bool = False


Signs = Mapping[str, Sign]


def parsed(expression: str) -> ast.expr:
    """The syntax tree of an expression.

    Raises
    ------
    DefinitionError
        If it is not a valid expression.
    """
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except SyntaxError as error:
        raise DefinitionError(
            "an equation is not a Python expression",
            expected='an expression such as "delta @ weights.T"',
            received=repr(expression),
            hint=error.msg,
        ) from None


def names_in(expression: str) -> set[str]:
    """The names that an expression uses, without np, len and erf."""
    return _names(parsed(expression)) - KNOWN


def _names(tree: ast.expr) -> set[str]:
    """The names, without the indices that a sum such as ``sum(x[i] for i in range(3))`` binds."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    bound = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return {node.id for node in names} - bound


def renamed(expression: str, names: Mapping[str, str]) -> str:
    """The expression with some names replaced by other names or expressions."""
    tree = parsed(expression)
    if isinstance(tree, ast.Name):
        return names.get(tree.id, tree.id)
    parts = {name: parsed(names[name]) for name in _names(tree) if name in names}
    return ast.unparse(_Renaming(parts).visit(tree))


class _Renaming(ast.NodeTransformer):
    def __init__(self, parts: Mapping[str, ast.expr]) -> None:
        self.parts = parts

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.parts.get(node.id, node)


def to_latex(expression: str, signs: Signs, *, of_numbers: bool = False) -> str:
    """The expression in LaTeX, for math mode.

    Parameters
    ----------
    expression
        A NumPy expression.
    signs
        The notation of its names.
    of_numbers
        Whether the names are numbers, so that their product needs no sign.
    """
    return _Latex(signs, of_numbers).write(parsed(expression))


def to_text(expression: str, signs: Signs, *, of_numbers: bool = False) -> str:
    """The expression as Unicode text, for a terminal."""
    return _Text(signs, of_numbers).write(parsed(expression))


# ------------------------------------------------------------------------------- its value


def evaluate(expression: str, names: Mapping[str, Any]) -> Any:
    """The value of an expression for these arrays and functions.

    Raises
    ------
    DefinitionError
        If it uses an unknown name, or a construct that is not allowed in an equation.
    """
    return _value(parsed(expression), names)


ARITHMETIC: Mapping[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.MatMult: operator.matmul,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}

FUNCTIONS = frozenset(
    {
        "all", "any", "arange", "argmax", "argmin", "average", "broadcast_to", "clip",
        "concatenate", "cumsum", "diff", "dot", "einsum", "expand_dims", "eye", "flip", "full_like",
        "imag", "matmul", "max", "mean", "min", "moveaxis", "ones", "ones_like", "outer", "pad",
        "prod", "ravel", "real", "repeat", "reshape", "roll", "sort", "split", "squeeze", "stack",
        "std", "sum", "swapaxes", "take", "tensordot", "tile", "trace", "transpose", "var", "where",
        "zeros", "zeros_like",
    }
)  # fmt: skip
"""The functions that an expression may call, as ``np.sum(x)`` or ``x.sum()``, besides ufuncs."""

CONSTANTS = frozenset({"pi", "e", "inf", "newaxis"})
ATTRIBUTES = frozenset({"T", "mT", "shape", "size", "ndim"})
KNOWN = frozenset({"np", "len", "erf", "sum", "range"})
"""Names that are not symbols."""


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    def value(part: ast.expr) -> Any:
        return _value(part, names)

    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            if node.id in names:
                return names[node.id]
            raise DefinitionError(f"the symbol {node.id} has no value", expected=", ".join(names))
        case ast.BinOp() if type(node.op) in ARITHMETIC:
            return ARITHMETIC[type(node.op)](value(node.left), value(node.right))
        case ast.UnaryOp() if type(node.op) in ARITHMETIC:
            return ARITHMETIC[type(node.op)](value(node.operand))
        case ast.Compare(ops=[sign], comparators=[right]) if type(sign) in ARITHMETIC:
            return ARITHMETIC[type(sign)](value(node.left), value(right))
        case ast.Tuple() | ast.List():
            return tuple(map(value, node.elts))
        case ast.Subscript():
            return value(node.value)[value(node.slice)]
        case ast.Slice():
            ends = (node.lower, node.upper, node.step)
            return slice(*[end and value(end) for end in ends])
        case ast.Attribute(value=ast.Name(id="np"), attr=name) if name in CONSTANTS:
            return getattr(np, name)
        case ast.Attribute() if node.attr in ATTRIBUTES:
            return getattr(value(node.value), node.attr)
        case ast.ListComp() | ast.GeneratorExp():
            return tuple(_values(node.elt, _indices(node), names))
        case ast.Call():
            how = {str(part.arg): value(part.value) for part in node.keywords}
            return _called(node.func, names)(*map(value, node.args), **how)
    raise _no_formula(node)


def _values(
    node: ast.expr, indices: list[tuple[str, int]], names: Mapping[str, Any]
) -> Iterator[Any]:
    """The values of an expression for all values of some indices, the last running fastest."""
    if not indices:
        yield _value(node, names)
        return
    (index, count), *others = indices
    for n in range(count):
        yield from _values(node, others, {**names, index: n})


def _indices(node: ast.ListComp | ast.GeneratorExp) -> list[tuple[str, int]]:
    """The indices of ``for i in range(3) for j in range(3)``, with their counts."""
    found = []
    for loop in node.generators:
        match loop:
            case ast.comprehension(
                target=ast.Name(id=index),
                iter=ast.Call(func=ast.Name(id="range"), args=[ast.Constant(value=int(count))]),
                ifs=[],
            ):
                found.append((index, count))
            case _:
                raise _no_formula(node)
    return found


def _called(node: ast.expr, names: Mapping[str, Any]) -> Callable[..., Any]:
    """The function that is called: one of NumPy's, a method of an array, or a given one."""
    match node:
        case ast.Name(id="len"):
            return len
        case ast.Name(id="sum"):
            return sum
        case ast.Name():
            return _value(node, names)  # type: ignore[no-any-return]
        case ast.Attribute(value=ast.Name(id="np"), attr=name):
            found = getattr(np, name, None)
            if name in FUNCTIONS or isinstance(found, np.ufunc):
                return found  # type: ignore[return-value]
        case ast.Attribute(attr=name) if name in FUNCTIONS:
            return getattr(_value(node.value, names), name)  # type: ignore[no-any-return]
    raise _no_formula(node)


def _no_formula(node: ast.AST) -> DefinitionError:
    return DefinitionError(
        "this is not allowed in an equation",
        expected="arithmetic, x.T, x[...], and functions of NumPy such as np.exp(x)",
        received=ast.unparse(node),
    )


# ------------------------------------------------------------------------------- its notation

# The precedence of written formulas. Both products have the same precedence in Python, but not on
# paper: w f ⊙ g could be read in two ways.
COMPARED, SUM, NEGATIVE, ELEMENTWISE, MATRIX, QUOTIENT, PREFIXED, ATOM = range(8)
Written = tuple[str, int]


class _Writer:
    """Writes the tree of an expression. The two subclasses define the notation of its parts."""

    minus, times, elementwise, space = "−", "·", "⊙", " "
    relations: ClassVar[Mapping[type, str]] = {
        ast.Eq: "=", ast.NotEq: "≠", ast.Lt: "<", ast.LtE: "≤", ast.Gt: ">", ast.GtE: "≥",
    }  # fmt: skip
    renames: ClassVar[Mapping[str, str]] = {}

    def __init__(self, signs: Signs, of_numbers: bool) -> None:
        self.signs = signs
        self.of_numbers = of_numbers

    def write(self, node: ast.expr) -> str:
        if (found := self.cases(node)) is not None:
            return found
        return self.any(node)[0]

    def any(self, node: ast.expr) -> Written:
        match node:
            case ast.Constant():
                return self.constant(node.value)
            case ast.Name():
                return self.name(node.id)
            case ast.BinOp(op=ast.Add() | ast.Sub()):
                return self.sum(node), SUM
            case ast.BinOp(op=ast.Mult()):
                return self.product(node)
            case ast.BinOp(op=ast.MatMult()):
                left, right = self.factor(node.left, MATRIX), self.factor(node.right, MATRIX, True)
                return f"{left}{self.space}{right}", MATRIX
            case ast.BinOp(op=ast.Div()):
                return self.quotient(node.left, node.right)
            case ast.BinOp(op=ast.Pow()):
                return self.power(node.left, node.right)
            case ast.UnaryOp(op=ast.USub()):
                return self.minus + self.within(node.operand, ELEMENTWISE), NEGATIVE
            case ast.UnaryOp(op=ast.UAdd()):
                return self.any(node.operand)
            case ast.Compare(ops=[sign], comparators=[right]) if type(sign) in self.relations:
                parts = self.any(node.left)[0], self.any(right)[0]
                return f" {self.relations[type(sign)]} ".join(parts), COMPARED
            case ast.Tuple() | ast.List():
                return self.fenced(self.listed(node.elts)), ATOM
            case ast.ListComp():
                return self.indexed(self.within(node.elt, ATOM), self.ranges(node)), ATOM
            case ast.Subscript():
                return self.subscript(node.value, node.slice)
            case ast.Attribute():
                return self.attribute(node)
            case ast.Call():
                return self.call(node)
        raise _no_formula(node)

    def within(self, node: ast.expr, rank: int) -> str:
        """The written node, in parentheses if its precedence is lower than ``rank``."""
        text, own = self.any(node)
        return text if own >= rank else self.fenced(text)

    def atom(self, node: ast.expr) -> str:
        return self.within(node, ATOM)

    # ---------------------------------------------------------------- arithmetic

    def sum(self, node: ast.expr) -> str:
        """A sum of any number of terms; a very long one without its middle."""
        terms: list[tuple[str, ast.expr]] = []
        stack = [("+", node)]
        while stack:
            sign, part = stack.pop()
            if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add) and sign == "+":
                stack += [("+", part.right), ("+", part.left)]
            elif isinstance(part, ast.BinOp) and isinstance(part.op, ast.Sub) and sign == "+":
                stack += [("−", part.right), ("+", part.left)]
            else:
                terms.append((sign, part))
        if len(terms) > TERMS:
            terms = [*terms[:3], ("+", ast.Constant(...)), terms[-1]]
        first = self.within(terms[0][1], SUM)
        rest = [
            f" {self.minus if sign == '−' else '+'} {self.within(part, ELEMENTWISE)}"
            for sign, part in terms[1:]
        ]
        return first + "".join(rest)

    def product(self, node: ast.BinOp) -> Written:
        left, right = node.left, node.right
        if _is_number(right) and not _is_number(left):
            left, right = right, left
        if _is_number(left) and _is_number(right) and isinstance(right, ast.Constant):
            return f"{self.factor(left)} {self.times} {self.factor(right, last=True)}", ELEMENTWISE
        if self.of_numbers or _is_number(left):
            rank = ELEMENTWISE if self.of_numbers else MATRIX
            parts = self.factor(left, rank), self.factor(right, rank, last=True)
            return self.space.join(parts), ELEMENTWISE
        parts = self.factor(left), self.factor(right, last=True)
        return f"{parts[0]} {self.elementwise} {parts[1]}", ELEMENTWISE

    def factor(self, node: ast.expr, rank: int = ELEMENTWISE, last: bool = False) -> str:
        """A factor: in parentheses if it is a sum, or a product of the other kind."""
        text, own = self.any(node)
        is_open = own in (COMPARED, SUM) or (not last and own == PREFIXED)
        is_open |= last and text.startswith(self.minus)  # else it would look like a difference
        is_other = {own, rank} == {ELEMENTWISE, MATRIX} and not (
            self.of_numbers or (rank == MATRIX and _is_scaled(node))
        )
        is_quotient = own == QUOTIENT and (rank == MATRIX or not isinstance(node, ast.Name))
        return self.fenced(text) if is_open or is_other or is_quotient else text

    # ---------------------------------------------------------------- calls

    def call(self, node: ast.Call) -> Written:
        name, arguments = _name_of(node)
        how = {part.arg: part.value for part in node.keywords if part.arg != "keepdims"}
        if name == "sum" and isinstance(arguments[0], ast.GeneratorExp):
            terms = arguments[0]
            body = self.within(terms.elt, ELEMENTWISE)
            return self.sum_over(self.ranges(terms), body), PREFIXED
        if isinstance(node.func, ast.Name) and name in self.signs:
            return self.name(name)[0] + self.fenced(self.listed(node.args)), ATOM
        match name, arguments:
            case "exp", [x] if not how:
                return self.exponential(x)
            case "sqrt", [x] if not how:
                return self.root(x), ATOM
            case "square", [x] if not how:
                return self.power(x, ast.Constant(2))
            case (("abs" | "absolute"), [x]):
                return self.bars(x), ATOM
            case (("maximum" | "minimum"), [ast.Call() as x, y]) if _name_of(x)[0] == name:
                arguments = [*_flattened(x, name), y]
            case (("dot" | "matmul"), [x, y]):
                return self.any(ast.BinOp(x, ast.MatMult(), y))
            case "transpose", [x] if not how:
                return self.transposed(x), ATOM
            case "where", [condition, one, nothing] if _is(one, 1) and _is(nothing, 0):
                return self.iverson(condition), ATOM
            case "len", [_]:
                return "N", ATOM
            case "zeros_like", [_]:
                return "0", ATOM
            case "ones_like", [_]:
                return "1", ATOM
            case "eye", [_]:
                return "I", ATOM
            case (("sum" | "mean"), [x, *axis]) if set(how) <= {"axis"} and len(axis) < 2:
                over = how.get("axis", axis[0] if axis else None)
                return self.over_axis(name, x, over)
        options = []
        if name in ("reshape", "transpose", "swapaxes", "broadcast_to"):
            arguments, shape = arguments[:1], arguments[1:]
            if len(shape) == 1 and isinstance(shape[0], ast.Tuple):
                shape = shape[0].elts
            sign = "×" if name in ("reshape", "broadcast_to") else ", "
            options.append(self.cross(sign).join(self.any(size)[0] for size in shape))
        if name == "concatenate" and _is(how.get("axis"), -1):
            del how["axis"]
        if len(arguments) == 1 and isinstance(arguments[0], ast.Tuple | ast.List):
            arguments = arguments[0].elts
        options += [self.option(str(key), self.any(part)[0]) for key, part in how.items()]
        return self.function(name, options) + self.fenced(self.listed(arguments)), ATOM

    def listed(self, nodes: list[ast.expr]) -> str:
        shown = nodes if len(nodes) <= TERMS else [*nodes[:3], ast.Constant(...), nodes[-1]]
        return ", ".join(self.any(node)[0] for node in shown)

    def ranges(self, node: ast.ListComp | ast.GeneratorExp) -> str:
        """The indices of a sum, with their bounds: ``i < 3, j < 3``."""
        sign = self.relations[ast.Lt]
        return ", ".join(f"{index} {sign} {count}" for index, count in _indices(node))

    def over_axis(self, name: str, node: ast.expr, axis: ast.expr | None) -> Written:
        """A sum or a mean: over the samples s of the batch, or over the entries k of a row."""
        index = ""
        if axis is not None:
            known = {"0": "s", "-1": "k"}
            text = ast.unparse(axis).strip("(,)")
            index = known.get(text, "") or f"axis {text}"
        return self.mean(node, index) if name == "mean" else (self.total(node, index), PREFIXED)

    # ---------------------------------------------------------------- depends on the style

    def constant(self, value: Any) -> Written:
        if value is ...:
            return "…", ATOM
        if isinstance(value, float | int) and not isinstance(value, bool) and value < 0:
            return self.minus + self.constant(-value)[0], NEGATIVE
        return (str(int(value)) if isinstance(value, float) and value.is_integer()
                and abs(value) < 1e6 else str(value)), ATOM  # fmt: skip

    def name(self, name: str) -> Written:
        raise NotImplementedError

    def fenced(self, text: str) -> str:
        return f"({text})"

    def quotient(self, over: ast.expr, under: ast.expr) -> Written:
        raise NotImplementedError

    def power(self, base: ast.expr, exponent: ast.expr) -> Written:
        raise NotImplementedError

    def exponential(self, node: ast.expr) -> Written:
        raise NotImplementedError

    def transposed(self, node: ast.expr) -> str:
        raise NotImplementedError

    def root(self, node: ast.expr) -> str:
        raise NotImplementedError

    def bars(self, node: ast.expr) -> str:
        return f"|{self.any(node)[0]}|"

    def iverson(self, node: ast.expr) -> str:
        return f"[{self.any(node)[0]}]"

    def total(self, node: ast.expr, index: str) -> str:
        raise NotImplementedError

    def mean(self, node: ast.expr, index: str) -> Written:
        raise NotImplementedError

    def sum_over(self, indices: str, body: str) -> str:
        raise NotImplementedError

    def indexed(self, body: str, indices: str) -> str:
        raise NotImplementedError

    def function(self, name: str, options: list[str]) -> str:
        raise NotImplementedError

    def option(self, key: str, value: str) -> str:
        return f"{key} {value}"

    def cross(self, sign: str) -> str:
        return sign

    def cases(self, node: ast.expr) -> str | None:
        """A whole formula that consists of two cases."""
        return None

    def subscript(self, node: ast.expr, index: ast.expr) -> Written:
        raise NotImplementedError

    def index(self, node: ast.expr) -> str:
        """The index inside brackets."""
        if isinstance(node, ast.Tuple):
            return ", ".join(map(self.index, node.elts))
        if isinstance(node, ast.Slice):
            ends = [node.lower, node.upper, *([node.step] if node.step else [])]
            return ":".join(self.any(end)[0] if end else "" for end in ends)
        return self.any(node)[0]

    def attribute(self, node: ast.Attribute) -> Written:
        if node.attr in ("T", "mT"):
            return self.transposed(node.value), ATOM
        if isinstance(node.value, ast.Name) and node.value.id == "np" and node.attr in CONSTANTS:
            return self.function({"pi": "π", "inf": "∞"}.get(node.attr, node.attr), []), ATOM
        if node.attr in ATTRIBUTES:
            return self.function(node.attr, []) + self.fenced(self.any(node.value)[0]), ATOM
        raise _no_formula(node)


class _Text(_Writer):
    """For a terminal."""

    renames: ClassVar[Mapping[str, str]] = {"log": "ln", "maximum": "max", "minimum": "min"}

    def name(self, name: str) -> Written:
        sign = self.signs.get(name)
        if sign is None:
            return name, ATOM
        return sign.text, QUOTIENT if sign.is_quotient else ATOM

    def quotient(self, over: ast.expr, under: ast.expr) -> Written:
        return f"{self.within(over, NEGATIVE)} / {self.within(under, PREFIXED)}", QUOTIENT

    def power(self, base: ast.expr, exponent: ast.expr) -> Written:
        if isinstance(exponent, ast.Constant) and exponent.value == 0.5:
            return self.root(base), ATOM
        text = self.any(exponent)[0]
        if text.isdigit():
            return self.atom(base) + raised(text), ATOM
        return f"{self.atom(base)}^{self.atom(exponent)}", ATOM

    def exponential(self, node: ast.expr) -> Written:
        return f"exp({self.any(node)[0]})", ATOM

    def transposed(self, node: ast.expr) -> str:
        return f"{self.atom(node)}ᵀ"

    def root(self, node: ast.expr) -> str:
        return f"√{self.atom(node)}"

    def total(self, node: ast.expr, index: str) -> str:
        sign = {"": "Σ", "s": "Σₛ", "k": "Σₖ"}.get(index, f"Σ[{index}]")
        return f"{sign} {self.atom(node)}"

    def mean(self, node: ast.expr, index: str) -> Written:
        sign = {"": "", "s": "ₛ", "k": "ₖ"}.get(index, f"[{index}]")
        return f"⟨{self.any(node)[0]}⟩{sign}", ATOM

    def sum_over(self, indices: str, body: str) -> str:
        return f"Σ[{indices}] {body}"

    def indexed(self, body: str, indices: str) -> str:
        return f"{body}[{indices}]"

    def function(self, name: str, options: list[str]) -> str:
        return self.renames.get(name, name) + (f"[{', '.join(options)}]" if options else "")

    def cases(self, node: ast.expr) -> str | None:
        match node:
            case ast.Call(func=ast.Attribute(attr="where"), args=[condition, one, other]):
                parts = [self.any(part)[0] for part in (one, condition, other)]
                return "{} for {}, else {}".format(*parts) if self.of_numbers else None
        return None

    def subscript(self, node: ast.expr, index: ast.expr) -> Written:
        return f"{self.atom(node)}[{self.index(index)}]", ATOM


class _Latex(_Writer):
    """For LaTeX."""

    minus, times, elementwise, space = "-", r"\cdot", r"\odot", r" \, "
    relations: ClassVar[Mapping[type, str]] = {
        ast.Eq: "=", ast.NotEq: r"\ne", ast.Lt: "<", ast.LtE: r"\le", ast.Gt: ">", ast.GtE: r"\ge",
    }  # fmt: skip
    renames: ClassVar[Mapping[str, str]] = {
        "log": r"\ln", "maximum": r"\max", "minimum": r"\min", "max": r"\max", "min": r"\min",
        "tanh": r"\tanh", "sin": r"\sin", "cos": r"\cos", "tan": r"\tan", "sinh": r"\sinh",
        "cosh": r"\cosh", "arctan": r"\arctan", "π": r"\pi", "∞": r"\infty", "e": "e",
    }  # fmt: skip

    def constant(self, value: Any) -> Written:
        if value is ...:
            return r"\ldots", ATOM
        text, rank = super().constant(value)
        if isinstance(value, float) and "e" in text:
            digits, _, exponent = text.partition("e")
            power = f"10^{{{int(exponent)}}}"
            return (power if digits == "1" else rf"{digits} \cdot {power}"), rank
        return (rf"\text{{{latex_name(text)}}}" if isinstance(value, str) else text), rank

    def name(self, name: str) -> Written:
        sign = self.signs.get(name)
        if sign is None and len(name) == 1:  # the index of a sum
            return name, ATOM
        return (sign.latex, ATOM) if sign else (rf"\mathrm{{{latex_name(name)}}}", ATOM)

    def fenced(self, text: str) -> str:
        is_tall = any(sign in text for sign in (r"\frac", r"\sum", r"\left"))
        return rf"\left({text}\right)" if is_tall else f"({text})"

    def quotient(self, over: ast.expr, under: ast.expr) -> Written:
        return rf"\frac{{{self.any(over)[0]}}}{{{self.any(under)[0]}}}", ATOM

    def power(self, base: ast.expr, exponent: ast.expr) -> Written:
        if isinstance(exponent, ast.Constant) and exponent.value == 0.5:
            return self.root(base), ATOM
        return rf"{self.raisable(base)}^{{{self.any(exponent)[0]}}}", ATOM

    def exponential(self, node: ast.expr) -> Written:
        if self.of_numbers:
            return rf"e^{{{self.any(node)[0]}}}", ATOM
        return rf"\exp{self.fenced(self.any(node)[0])}", ATOM

    def transposed(self, node: ast.expr) -> str:
        return rf"{self.raisable(node)}^\top"

    def raisable(self, node: ast.expr) -> str:
        """A base for an exponent: a fraction gets parentheses, a base with an exponent braces."""
        text = self.atom(node)
        if text.startswith(r"\frac"):
            return self.fenced(text)
        return f"{{{text}}}" if "^" in text and not text.endswith(")") else text

    def bars(self, node: ast.expr) -> str:
        return rf"\left\lvert {self.any(node)[0]} \right\rvert"

    def root(self, node: ast.expr) -> str:
        return rf"\sqrt{{{self.any(node)[0]}}}"

    def total(self, node: ast.expr, index: str) -> str:
        return rf"\sum{self.lower(index)} {self.atom(node)}"

    def mean(self, node: ast.expr, index: str) -> Written:
        body = rf"\left\langle {self.any(node)[0]} \right\rangle"
        return body + self.lower(index), ATOM

    def lower(self, index: str) -> str:
        if not index:
            return ""
        return f"_{index}" if len(index) == 1 else rf"_{{\text{{{index}}}}}"

    def sum_over(self, indices: str, body: str) -> str:
        return rf"\sum_{{{indices}}} {body}"

    def indexed(self, body: str, indices: str) -> str:
        return rf"{{{body}}}_{{{indices}}}"

    def function(self, name: str, options: list[str]) -> str:
        sign = self.renames.get(name) or rf"\operatorname{{{latex_name(name)}}}"
        return sign + (f"_{{{', '.join(options)}}}" if options else "")

    def option(self, key: str, value: str) -> str:
        return rf"\text{{{latex_name(key)} }}{value}"

    def cross(self, sign: str) -> str:
        return sign.replace("×", r" \times ")

    def cases(self, node: ast.expr) -> str | None:
        match node:
            case ast.Call(func=ast.Attribute(attr="where"), args=[condition, one, other]):
                parts = [self.any(part)[0] for part in (one, condition, other)]
                body = r"{} & {} \\ {} & \text{{else}}".format(*parts)
                whole = rf"\begin{{cases}} {body} \end{{cases}}"
                return whole if self.of_numbers else None
        return None

    def subscript(self, node: ast.expr, index: ast.expr) -> Written:
        return f"{self.atom(node)}_{{[{self.index(index)}]}}", ATOM


def latex_name(name: str) -> str:
    r"""A name of the program inside ``\text`` or ``\mathrm``."""
    for sign in "\\{}$&#%^~":
        name = name.replace(sign, " ")
    return name.replace("_", r"\_")


def raised(text: str) -> str:
    """Digits as exponents: ``2`` → ``²``."""
    return text.translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def lowered(text: str) -> str:
    """Digits as indices: ``12`` → ``₁₂``."""
    return text.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def _name_of(node: ast.Call) -> tuple[str, list[ast.expr]]:
    """The name and arguments of a call; the array of a method is its first argument."""
    match node.func:
        case ast.Name(id=name):
            return name, node.args
        case ast.Attribute(value=ast.Name(id="np"), attr=name):
            return name, node.args
        case ast.Attribute(value=array, attr=name):
            return name, [array, *node.args]
    raise _no_formula(node)


def _flattened(node: ast.Call, name: str) -> list[ast.expr]:
    """The arguments of nested calls: ``max(max(a, b), c)`` is ``max(a, b, c)``."""
    parts: list[ast.expr] = []
    inner: ast.expr = node
    while isinstance(inner, ast.Call) and _name_of(inner)[0] == name:
        inner, last = _name_of(inner)[1]
        parts.insert(0, last)
    return [inner, *parts]


def _is(node: ast.expr | None, value: int) -> bool:
    return node is not None and ast.unparse(node) == str(value)


def _is_number(node: ast.expr) -> bool:
    """Whether it is a literal number, or computed from literal numbers only."""
    return not any(
        isinstance(part, ast.Name) and part.id != "np" for part in ast.walk(node)
    ) and not isinstance(node, ast.Tuple | ast.Subscript)


def _is_scaled(node: ast.expr) -> bool:
    """Whether it is a product with a number, which needs no parentheses before a matrix."""
    return isinstance(node, ast.BinOp) and (_is_number(node.left) or _is_number(node.right))
