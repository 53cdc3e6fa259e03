"""Finds pieces of the source, and tests, by name when the site is built.

    chainrule.layers.dense:Dense.backward      a function, method or class of a module
    examples/own_layer.py:Scale                the same, in a file outside the package
    tests/layers/test_dense.py::test_two_rows_by_hand          a test

A name that no longer exists is a fault of the page that uses it. Each file that a page refers to,
and each module of the package, has a page with numbered lines, so a link to a line stays within the
site.
"""

from __future__ import annotations

import ast
import functools
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

PACKAGE = "chainrule"


class NotFoundError(Exception):
    """The source has nothing of that name."""


@frozen
class Excerpt:
    """A piece of a file.

    Attributes
    ----------
    file
        The path, relative to the root of the repository.
    first, last
        The line numbers in the file, from 1.
    code
        These lines, without common indentation.
    """

    file: Path
    first: int
    last: int
    code: str


def find(root: Path, name: str) -> Excerpt:
    """The lines of `module:qualified.name` or `file.py:qualified.name`.

    Without a name after the colon, the whole module.
    """
    place, _, qualified = name.partition(":")
    file = Path(place) if place.endswith(".py") else _file_of(root, place)
    if not (root / file).is_file():
        raise NotFoundError(f"{file} does not exist")
    lines = _lines(root / file)
    first, last = _extent(root / file, qualified) if qualified else (1, len(lines))
    return Excerpt(file, first, last, textwrap.dedent("".join(lines[first - 1 : last])))


def chosen(root: Path, settings: Mapping[str, str]) -> Excerpt:
    """What the lines of a `source` block choose: `of`, and perhaps `line`, `from`, `docstring`."""
    found = find(root, settings["of"])
    if "line" in settings:
        return part(found, settings["line"])
    if "from" in settings:
        return part(found, settings["from"], settings.get("to", settings["from"]))
    return without_docstring(root, found) if settings.get("docstring") == "no" else found


def without_docstring(root: Path, excerpt: Excerpt) -> Excerpt:
    """The same without the docstring of the function or class."""
    tree = ast.parse(excerpt.code)
    lines = excerpt.code.splitlines(keepends=True)
    match tree.body[0]:
        case ast.FunctionDef(body=body) | ast.ClassDef(body=body) if ast.get_docstring(
            tree.body[0]
        ):
            text = body[0]
            rest = lines[text.end_lineno :]
            if rest and not rest[0].strip():
                rest = rest[1:]
            code = "".join(lines[: text.lineno - 1] + rest)
            return Excerpt(excerpt.file, excerpt.first, excerpt.last, code)
    return excerpt


def part(excerpt: Excerpt, begins: str, ends: str | None = None) -> Excerpt:
    """The line that matches a pattern, or the lines from there to the next match of another."""
    lines = excerpt.code.splitlines(keepends=True)
    start = _only_match(lines, begins, excerpt)
    end = start
    if ends is not None:
        matches = [i for i in range(start, len(lines)) if re.search(ends, lines[i])]
        if not matches:
            raise NotFoundError(f"no line after the first one matches {ends!r} in {excerpt.file}")
        end = matches[0]
    code = textwrap.dedent("".join(lines[start : end + 1]))
    return Excerpt(excerpt.file, excerpt.first + start, excerpt.first + end, code)


def find_test(root: Path, name: str) -> Excerpt:
    """The test `tests/file.py::test_name` or `tests/file.py::Class::test_name`."""
    place, _, qualified = name.partition("::")
    if not qualified or not (root / place).is_file():
        raise NotFoundError(f"the test {name} does not exist; write tests/file.py::test_name")
    qualified = re.sub(r"\[.*\]$", "", qualified).replace("::", ".")
    if not qualified.rpartition(".")[2].startswith("test_"):
        raise NotFoundError(f"{name} is not a test: its name does not begin with test_")
    return find(root, f"{place}:{qualified}")


def test_title(name: str) -> str:
    """The name of a test as a sentence."""
    return re.sub(r"\[.*\]$", "", name).rpartition("::")[2].removeprefix("test_").replace("_", " ")


def modules(root: Path) -> list[Path]:
    """The files of the package, relative to the root of the repository."""
    return sorted(
        path.relative_to(root)
        for path in (root / "src" / PACKAGE).rglob("*.py")
        if path.stat().st_size > 0
    )


def first_sentence(file: Path) -> str:
    """The first sentence of the docstring of a module."""
    text = ast.get_docstring(_tree(file, file.stat().st_mtime_ns)) or ""
    return re.split(r"\n\s*\n", text)[0].replace("\n", " ").strip()


def _file_of(root: Path, module: str) -> Path:
    path = Path("src", *module.split("."))
    return path / "__init__.py" if (root / path).is_dir() else path.with_suffix(".py")


def _extent(file: Path, qualified: str) -> tuple[int, int]:
    body: list[ast.stmt] = _tree(file, file.stat().st_mtime_ns).body
    node: ast.stmt | None = None
    for name in qualified.split("."):
        node = next((item for item in body if _name(item) == name), None)
        if node is None:
            near = ", ".join(filter(None, map(_name, body)))
            raise NotFoundError(f"{file.name} has no {qualified}; it has {near}")
        body = getattr(node, "body", [])
    assert node is not None
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return first, node.end_lineno or first


def _name(node: ast.stmt) -> str | None:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return None


def _only_match(lines: list[str], pattern: str, excerpt: Excerpt) -> int:
    try:
        found = [number for number, line in enumerate(lines) if re.search(pattern, line)]
    except re.error as error:
        raise NotFoundError(f"{pattern!r} is not a valid pattern: {error}") from error
    if len(found) != 1:
        shown = "".join(f"\n{lines[number].rstrip()}" for number in found[:5])
        raise NotFoundError(
            f"{len(found)} lines match {pattern!r} in {excerpt.file}, lines {excerpt.first} to "
            f"{excerpt.last}; exactly one should match{shown}"
        )
    return found[0]


@functools.cache
def _tree(file: Path, changed: int) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines(keepends=True)
