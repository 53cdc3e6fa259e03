"""Expressions as lines of Python: each fits the page, laid out as `ruff format` does it.

    z_1 = y_0 @ p["dense_1.weights"] + p["dense_1.biases"]

A line that would be too long is divided at its largest part, which gets a name and a line of its
own. So does a part that occurs several times. A sum over indices is written with one line for each
index.
"""

from __future__ import annotations

import ast
import copy
import json
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field

from chainrule.core.errors import DefinitionError
from chainrule.display.notation import parsed

WIDTH = 100
"""The maximum width of a line."""

LONG = 24
"""A part that occurs several times gets a name if it has at least this many characters."""

SUM, PRODUCT, SIGN, POWER, ATOM = range(5)
SIGNS: Mapping[type, tuple[str, int]] = {
    ast.Add: ("+", SUM),
    ast.Sub: ("-", SUM),
    ast.Mult: ("*", PRODUCT),
    ast.MatMult: ("@", PRODUCT),
    ast.Div: ("/", PRODUCT),
    ast.Pow: ("**", POWER),
}
RELATIONS: Mapping[type, str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip


def source(node: ast.expr) -> str:
    """The Python code of an expression."""
    return _Code().of(node)


class _Code:
    """Writes an expression, and remembers the code of each of its parts."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[str, int]] = {}  # the code and its precedence, by ``id``

    def of(self, node: ast.expr | None, rank: int = -1) -> str:
        """The code, in parentheses if its precedence is below ``rank``."""
        if node is None:
            return ""
        if id(node) not in self.known:
            self.known[id(node)] = self._written(node)
        text, own = self.known[id(node)]
        return text if own >= rank else f"({text})"

    def _written(self, node: ast.expr) -> tuple[str, int]:
        match node:
            case ast.Constant(value=str()):
                return json.dumps(node.value, ensure_ascii=False), ATOM
            case ast.Constant():
                is_negative = isinstance(node.value, int | float) and node.value < 0
                return repr(node.value), SIGN if is_negative else ATOM
            case ast.BinOp(op=ast.Pow()):
                space = "" if _is_plain(node.left) and _is_plain(node.right) else " "
                left, right = self.of(node.left, ATOM), self.of(node.right, SIGN)
                return f"{left}{space}**{space}{right}", POWER
            case ast.BinOp():
                sign, rank = SIGNS[type(node.op)]
                return f"{self.of(node.left, rank)} {sign} {self.of(node.right, rank + 1)}", rank
            case ast.UnaryOp():
                sign = "-" if isinstance(node.op, ast.USub) else "+"
                return sign + self.of(node.operand, SIGN), SIGN
            case ast.Compare():
                sign = RELATIONS[type(node.ops[0])]
                return f"{self.of(node.left, SUM)} {sign} {self.of(node.comparators[0], SUM)}", -1
            case ast.Tuple():
                comma = "," if len(node.elts) == 1 else ""
                return f"({', '.join(map(self.of, node.elts))}{comma})", ATOM
            case ast.List():
                return f"[{', '.join(map(self.of, node.elts))}]", ATOM
            case ast.Subscript():
                return f"{self.of(node.value, ATOM)}[{self._index(node.slice)}]", ATOM
            case ast.Attribute():
                return f"{self.of(node.value, ATOM)}.{node.attr}", ATOM
            case ast.Call():
                return f"{self.of(node.func, ATOM)}({', '.join(self.arguments(node))})", ATOM
            case ast.ListComp():
                return f"[{' '.join(self.loop(node))}]", ATOM
            case ast.GeneratorExp():
                return " ".join(self.loop(node)), ATOM
        return ast.unparse(node), ATOM

    def arguments(self, node: ast.Call) -> list[str]:
        """The arguments of a call."""
        options = [f"{option.arg}={self.of(option.value)}" for option in node.keywords]
        return [*map(self.of, node.args), *options]

    def loop(self, node: ast.ListComp | ast.GeneratorExp) -> list[str]:
        """The parts of a comprehension: what it computes, and each ``for``."""
        pairs = ((self.of(each.target), self.of(each.iter)) for each in node.generators)
        return [self.of(node.elt), *("for {} in {}".format(*pair) for pair in pairs)]

    def _index(self, node: ast.expr) -> str:
        if isinstance(node, ast.Tuple):
            return ", ".join(map(self._index, node.elts))
        if not isinstance(node, ast.Slice):
            return self.of(node)
        ends = [node.lower, node.upper, *([node.step] if node.step else [])]
        if all(end is None or _is_bare(end) for end in ends):
            return ":".join(map(self.of, ends))
        text = self.of(ends[0])
        for end in ends[1:]:
            text = f"{text} :".lstrip() + (f" {self.of(end)}" if end is not None else "")
        return text

    def opened(self, node: ast.expr) -> tuple[str, list[str], str]:
        """An expression in several lines: before its bracket, inside it, and after it."""
        match node:
            case ast.Call(args=[ast.GeneratorExp() as only], keywords=[]):
                return f"{self.of(node.func, ATOM)}(", self._lines_of(only), ")"
            case ast.Call():
                inside = [f"{each}," for each in self.arguments(node)]
                return f"{self.of(node.func, ATOM)}(", inside, ")"
            case ast.ListComp():
                return "[", self._lines_of(node), "]"
            case ast.List() | ast.Tuple():
                begin, end = "[]" if isinstance(node, ast.List) else "()"
                return begin, [f"{self.of(each)}," for each in node.elts], end
        return "(", self._terms(node), ")"

    def _terms(self, node: ast.expr) -> list[str]:
        """The terms of a sum, or the factors of a product, each with its sign."""
        terms: list[str] = []
        rank = SIGNS[type(node.op)][1] if isinstance(node, ast.BinOp) else ATOM
        while isinstance(node, ast.BinOp) and SIGNS[type(node.op)][1] == rank < POWER:
            terms.insert(0, f"{SIGNS[type(node.op)][0]} {self.of(node.right, rank + 1)}")
            node = node.left
        return [self.of(node, rank), *terms]

    def _lines_of(self, node: ast.ListComp | ast.GeneratorExp) -> list[str]:
        """The lines of a comprehension, for an indent of 4; a long body takes several."""
        body, *loops = self.loop(node)
        parts = [body]
        if len(body) > WIDTH - 8 and isinstance(node.elt, ast.BinOp):
            parts = self._terms(node.elt)
        elif len(body) > WIDTH - 8 and isinstance(node.elt, ast.Call):
            begin, inside, end = self.opened(node.elt)
            together = " ".join(inside).rstrip(",")
            inside = [together] if len(together) <= WIDTH - 12 else inside
            parts = [begin, *(f"    {line}" for line in inside), end]
        return [*parts, *loops]


def _is_bare(node: ast.expr) -> bool:
    inner = node.operand if isinstance(node, ast.UnaryOp) else node
    return isinstance(inner, ast.Name | ast.Constant)


def _is_plain(node: ast.expr) -> bool:
    """Whether no spaces are written around a power with it."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return _is_bare(node)


# ------------------------------------------------------------------------------- lines


@define
class Lines:
    """The lines of a function, with names for the parts of long expressions.

    Attributes
    ----------
    indent
        The number of spaces before each line.
    lines
        The lines so far.
    taken
        Names that a part must not get.
    """

    indent: int = 4
    lines: list[str] = field(factory=list)
    taken: set[str] = field(factory=set)
    _parts: dict[str, str] = field(factory=dict)  # their names, by code
    _counts: Counter[str] = field(factory=Counter)

    def add(self, text: str = "", comment: str = "") -> None:
        """A line as it is, with a comment behind it, or above it if there is no room."""
        line = " " * self.indent + text if text else ""
        if comment and len(line) + len(comment) + 4 <= WIDTH:
            line += f"  # {comment}"
        elif comment and self.indent + len(comment) + 2 <= WIDTH:
            self.lines.append(" " * self.indent + f"# {comment}")
        self.lines.append(line)

    def assign(self, left: str, node: ast.expr, comment: str = "", sign: str = "=") -> None:
        """The lines of ``left = expression``."""
        self._assign(left, copy.deepcopy(node), comment, sign)

    def _assign(self, left: str, node: ast.expr, comment: str = "", sign: str = "=") -> None:
        node = self._with_names(node, len(left) + len(sign) + 2)
        code = _Code()
        text = f"{left} {sign} {code.of(node)}"
        if self._fits(text):
            self.add(text, comment)
            return
        if comment and self.indent + len(comment) + 2 <= WIDTH:
            self.add(f"# {comment}")
        begin, middle, end = code.opened(node)
        together = " ".join(middle).rstrip(",")
        if isinstance(node, ast.Call | ast.BinOp) and self._fits(f"    {together}"):
            middle = [together]
        for line in (f"{left} {sign} {begin}", *(f"    {part}" for part in middle), end):
            self.add(line)

    def forget(self, changed: str) -> None:
        """Forget the parts that contain an item which has got a new value."""
        self._parts = {text: name for text, name in self._parts.items() if changed not in text}

    def _fits(self, text: str) -> bool:
        return self.indent + len(text) <= WIDTH

    def _with_names(self, node: ast.expr, taken: int) -> ast.expr:
        """The expression with names for repeated parts, and for others until it fits."""
        while True:
            code = _Code()
            is_long = self.indent + taken + len(code.of(node)) > WIDTH
            texts = [(part, code.of(part)) for part in _parts_of(node)]
            count = Counter(text for _, text in texts)
            chosen = [
                (part, text)
                for part, text in texts
                if text in self._parts or (count[text] > 1 and len(text) >= LONG)
            ]
            if not chosen and is_long:
                texts = [(part, text) for part, text in texts if len(text) >= LONG / 2]
                room = WIDTH - self.indent - 16
                chosen = [(part, text) for part, text in texts if len(text) <= room]
                if not chosen and not self._can_be_opened(node, code):
                    chosen = [each for each in texts if not isinstance(each[0], ast.BinOp)]
            if not chosen:
                return node
            part, text = max(chosen, key=lambda each: len(each[1]))
            node = self._name(node, part, text, {id(p) for p, other in texts if other == text})

    def _can_be_opened(self, node: ast.expr, code: _Code) -> bool:
        """Whether it can be written in several lines: a list, or a call of a function."""
        match node:
            case ast.Call(func=ast.Name() | ast.Attribute(value=ast.Name(id="np"))):
                pass
            case ast.List() | ast.Tuple() | ast.ListComp():
                pass
            case _:
                return False
        return all(self._fits(f"    {line}") for line in code.opened(node)[1])

    def _name(self, node: ast.expr, part: ast.expr, text: str, places: set[int]) -> ast.expr:
        """The expression with a name for a part, wherever it occurs."""
        if text not in self._parts:
            word = name = _word_for(part)
            while name == word or name in self.taken:
                self._counts[word] += 1
                name = f"{word}_{self._counts[word]}"
            self._assign(name, copy.deepcopy(part))
            self._parts[text] = name
        name = self._parts[text]
        return _changed(node, lambda each: ast.Name(name) if id(each) in places else None)


def _word_for(node: ast.expr) -> str:
    """A word for the name of a part: the function that it calls."""
    match node:
        case ast.Call(func=ast.Attribute(attr=word) | ast.Name(id=word)):
            return word
    return "part"


def function(name: str, arguments: str, doc: str, body: str | Lines) -> str:
    """A function as code. Empty lines of the body are left out, long ones divided."""
    if isinstance(body, str):
        body = Lines(lines=textwrap.indent(textwrap.dedent(body), " " * 4).split("\n"))
    head = [f"def {name}({arguments}):"]
    if len(head[0]) > WIDTH:
        inside = [f"    {arguments}"]
        if len(inside[0]) > WIDTH:
            inside = [f"    {each}," for each in arguments.split(", ")]
        head = [f"def {name}(", *inside, "):"]
    lines = (part for line in body.lines if line.strip() for part in fitted(line))
    return "\n".join([*head, f'    """{doc}"""', *lines])


def fitted(line: str) -> list[str]:
    """A line of code, divided if it is too long and an assignment or a result."""
    if len(line) <= WIDTH:
        return [line]
    lines, code = Lines(len(line) - len(line.lstrip())), line.strip()
    left, _, right = code.partition(" = ")
    is_result = code.startswith("return ")
    try:
        node = parsed(code.removeprefix("return ") if is_result else right)
    except DefinitionError:  # a part of a statement that is divided already
        return [line]
    lines.assign("result" if is_result else left, node)
    if is_result:
        lines.add("return result")
    return lines.lines


def replaced(node: ast.expr, change: Callable[[ast.expr], ast.expr | None]) -> ast.expr:
    """A copy in which each part for which ``change`` returns an expression is that expression."""
    return _changed(copy.deepcopy(node), change)


def _changed(node: ast.expr, change: Callable[[ast.expr], ast.expr | None]) -> ast.expr:
    class Change(ast.NodeTransformer):
        def visit(self, part: ast.AST) -> ast.AST:
            new = change(part) if isinstance(part, ast.expr) else None
            return new if new is not None else super().visit(part)

    changed: Any = Change().visit(node)
    return changed  # type: ignore[no-any-return]


def _parts_of(node: ast.expr) -> list[ast.expr]:
    """The parts of an expression that could have a line of their own, without the whole."""
    free: list[tuple[ast.expr, set[str]]] = []
    bound: set[str] = set()

    def names_in(part: ast.AST) -> set[str]:
        """The names that a part uses, without those that it binds; notes all parts."""
        names = {part.id} if isinstance(part, ast.Name) else set()
        for child in ast.iter_child_nodes(part):
            names |= names_in(child)
        if isinstance(part, ast.ListComp | ast.GeneratorExp):
            own = {each.target.id for each in part.generators if isinstance(each.target, ast.Name)}
            bound.update(own)
            names -= own
        if isinstance(part, ast.Call | ast.BinOp | ast.ListComp) and part is not node:
            free.append((part, names))
        return names

    names_in(node)
    return [part for part, names in free if bound.isdisjoint(names)]
