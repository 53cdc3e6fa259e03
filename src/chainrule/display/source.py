"""Expressions as lines of Python: each fits the page, laid out as `ruff format` does it.

    z_1 = y_0 @ p["dense_1.weights"] + p["dense_1.biases"]

A line that would be too long is divided at its largest part, which gets a name and a line of its
own. So does a part that occurs several times. A sum over indices is written with one line for each
index.
"""

from __future__ import annotations

import ast
import json
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import define, field

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


def source(node: ast.expr | None, rank: int = -1) -> str:
    """The Python code of an expression, in parentheses if its precedence is below ``rank``."""
    text, own = _written(node)
    return text if own >= rank else f"({text})"


def _written(node: ast.expr | None) -> tuple[str, int]:
    match node:
        case None:
            return "", ATOM
        case ast.Constant(value=str()):
            return json.dumps(node.value, ensure_ascii=False), ATOM
        case ast.Constant():
            is_negative = isinstance(node.value, int | float) and node.value < 0
            return ("..." if node.value is ... else repr(node.value)), SIGN if is_negative else ATOM
        case ast.BinOp(op=ast.Pow()):
            space = "" if _is_plain(node.left) and _is_plain(node.right) else " "
            left, right = source(node.left, ATOM), source(node.right, SIGN)
            return f"{left}{space}**{space}{right}", POWER
        case ast.BinOp():
            sign, rank = SIGNS[type(node.op)]
            return f"{source(node.left, rank)} {sign} {source(node.right, rank + 1)}", rank
        case ast.UnaryOp():
            sign = "-" if isinstance(node.op, ast.USub) else "+"
            return sign + source(node.operand, SIGN), SIGN
        case ast.Compare():
            sign = RELATIONS[type(node.ops[0])]
            return f"{source(node.left, SUM)} {sign} {source(node.comparators[0], SUM)}", -1
        case ast.Tuple() | ast.List():
            inside = ", ".join(map(source, node.elts))
            comma = "," if isinstance(node, ast.Tuple) and len(node.elts) == 1 else ""
            return (f"[{inside}]" if isinstance(node, ast.List) else f"({inside}{comma})"), ATOM
        case ast.Subscript():
            return f"{source(node.value, ATOM)}[{_index(node.slice)}]", ATOM
        case ast.Attribute():
            value = source(node.value, ATOM)
            return f"{value}.{node.attr}", ATOM
        case ast.Call():
            return f"{source(node.func, ATOM)}({', '.join(_arguments(node))})", ATOM
        case ast.ListComp():
            return f"[{_comprehension(node)}]", ATOM
    return ast.unparse(node), ATOM


def _arguments(node: ast.Call) -> Iterator[str]:
    for part in node.args:
        yield _comprehension(part) if isinstance(part, ast.GeneratorExp) else source(part)
    for option in node.keywords:
        yield f"{option.arg}={source(option.value)}"


def _comprehension(node: ast.ListComp | ast.GeneratorExp, separator: str = " ") -> str:
    loops = (f"for {source(each.target)} in {source(each.iter)}" for each in node.generators)
    return separator.join([source(node.elt), *loops])


def _index(node: ast.expr) -> str:
    if isinstance(node, ast.Tuple):
        return ", ".join(map(_index, node.elts))
    if not isinstance(node, ast.Slice):
        return source(node)
    ends = [node.lower, node.upper, *([node.step] if node.step else [])]
    if all(end is None or _is_bare(end) for end in ends):
        return ":".join(map(source, ends))
    text = source(ends[0])
    for end in ends[1:]:
        text = f"{text} :".lstrip() + (f" {source(end)}" if end is not None else "")
    return text


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
    """

    indent: int = 4
    lines: list[str] = field(factory=list)
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
        node = self._with_names(node, len(left) + len(sign) + 2)
        text = f"{left} {sign} {source(node)}"
        if self._fits(text):
            self.add(text, comment)
            return
        if comment and self.indent + len(comment) + 2 <= WIDTH:
            self.add(f"# {comment}")
        begin, middle, end = _opened(node)
        together = " ".join(middle).rstrip(",")
        if isinstance(node, ast.Call) and middle[0] != "[" and self._fits(f"    {together}"):
            middle = [together]
        for line in (f"{left} {sign} {begin}", *(f"    {part}" for part in middle), end):
            self.add(line)

    def _fits(self, text: str) -> bool:
        return self.indent + len(text) <= WIDTH

    def _with_names(self, node: ast.expr, taken: int) -> ast.expr:
        """The expression with names for repeated parts, and for others until it fits."""
        while (repeated := self._repeated(node)) is not None:
            node = self._name(node, repeated)
        while self.indent + taken + len(source(node)) > WIDTH:
            room = WIDTH - self.indent - 16
            parts = [part for part in _parts_of(node) if len(source(part)) >= LONG / 2]
            fitting = [part for part in parts if len(source(part)) <= room]
            if not fitting and not self._can_be_opened(node):
                fitting = [part for part in parts if not isinstance(part, ast.BinOp)]
            if not fitting:
                break
            node = self._name(node, max(fitting, key=lambda part: len(source(part))))
        return node

    def _can_be_opened(self, node: ast.expr) -> bool:
        """Whether it can be written in several lines: a list, or a call of a function."""
        match node:
            case ast.Call(func=ast.Name() | ast.Attribute(value=ast.Name(id="np"))):
                pass
            case ast.Tuple() | ast.List() | ast.ListComp():
                pass
            case _:
                return False
        return all(self._fits(f"    {line}") for line in _opened(node)[1])

    def _repeated(self, node: ast.expr) -> ast.expr | None:
        """The longest part that occurs several times, or already has a name."""
        parts = list(_parts_of(node))
        count = Counter(map(source, parts))
        several = [
            part
            for part in parts
            if (text := source(part)) in self._parts or (count[text] > 1 and len(text) >= LONG)
        ]
        return max(several, key=lambda part: len(source(part)), default=None)

    def _name(self, node: ast.expr, part: ast.expr) -> ast.expr:
        text = source(part)
        if text not in self._parts:
            word = _word_for(part)
            self._counts[word] += 1
            name = f"{word}_{self._counts[word]}"
            self.assign(name, part)
            self._parts[text] = name
        return replaced(node, lambda each: _named(each, text, self._parts[text]))


def _named(node: ast.expr, text: str, name: str) -> ast.expr | None:
    is_it = isinstance(node, ast.Call | ast.BinOp | ast.ListComp) and source(node) == text
    return ast.Name(name) if is_it else None


def _word_for(node: ast.expr) -> str:
    """A word for the name of a part: the function that it calls."""
    match node:
        case ast.Call(func=ast.Attribute(attr=word) | ast.Name(id=word)):
            return word
    return "part"


def function(name: str, arguments: str, doc: str, body: str | Lines) -> str:
    """A function as code. Empty lines of the body are left out, long ones divided."""
    if isinstance(body, str):
        text = textwrap.indent(textwrap.dedent(body), " " * 4)
        body = Lines(
            lines=[part for line in text.split("\n") if line.strip() for part in _fit(line)]
        )
    return "\n".join([f"def {name}({arguments}):", f'    """{doc}"""', *body.lines])


def _fit(line: str) -> list[str]:
    """A line of code, divided if it is too long: an assignment, or a result."""
    lines, code = Lines(len(line) - len(line.lstrip())), line.strip()
    if len(line) <= WIDTH:
        return [line]
    left, is_assignment, right = code.partition(" = ")
    if code.startswith("return "):
        lines.assign("result", ast.parse(code.removeprefix("return "), mode="eval").body)
        lines.add("return result")
    elif is_assignment:
        lines.assign(left, ast.parse(right, mode="eval").body)
    else:
        lines.add(code)
    return lines.lines


def replaced(node: ast.expr, change: Callable[[ast.expr], ast.expr | None]) -> ast.expr:
    """A copy in which each part for which ``change`` returns an expression is that expression."""

    class Change(ast.NodeTransformer):
        def visit(self, part: ast.AST) -> ast.AST:
            new = change(part) if isinstance(part, ast.expr) else None
            return new if new is not None else super().visit(part)

    copy = ast.parse(ast.unparse(node), mode="eval").body
    changed: Any = Change().visit(copy)
    return changed  # type: ignore[no-any-return]


def _parts_of(node: ast.expr) -> Iterator[ast.expr]:
    """The parts of an expression that could have a line of their own, without the whole."""
    bound: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.comprehension):
            bound |= {each.id for each in ast.walk(part.target) if isinstance(each, ast.Name)}
    for part in ast.walk(node):
        is_part = isinstance(part, ast.Call | ast.BinOp | ast.ListComp) and part is not node
        if is_part and not bound & {n.id for n in ast.walk(part) if isinstance(n, ast.Name)} - {
            name for name in bound if _binds(part, name)
        }:
            yield part  # type: ignore[misc]


def _binds(node: ast.AST, name: str) -> bool:
    """Whether a part contains the loop over an index itself."""
    loops = (part for part in ast.walk(node) if isinstance(part, ast.comprehension))
    return any(isinstance(each.target, ast.Name) and each.target.id == name for each in loops)


def _opened(node: ast.expr) -> tuple[str, list[str], str]:
    """An expression in several lines: before its bracket, inside it, and after it."""
    if isinstance(node, ast.Call):
        begin, end = f"{source(node.func, ATOM)}(", ")"
        if len(node.args) == 1 and isinstance(node.args[0], ast.GeneratorExp):
            return begin, _loop(node.args[0]), end
        return begin, [f"{each}," for each in _arguments(node)], end
    if isinstance(node, ast.ListComp):
        return "[", _loop(node), "]"
    if isinstance(node, ast.Tuple | ast.List):
        begin, end = "[]" if isinstance(node, ast.List) else "()"
        return begin, [f"{source(each)}," for each in node.elts], end
    return "(", [source(node)], ")"


def _loop(node: ast.ListComp | ast.GeneratorExp) -> list[str]:
    """A comprehension in several lines, the last product of a long one in a line of its own."""
    body, *loops = _comprehension(node, "\n").split("\n")
    if len(body) > WIDTH - 8 and isinstance(node.elt, ast.BinOp):
        sign, rank = SIGNS[type(node.elt.op)]
        return [source(node.elt.left, rank), f"{sign} {source(node.elt.right, rank + 1)}", *loops]
    return [body, *loops]
