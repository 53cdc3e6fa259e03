"""What the reference makes of docstrings, as an extension of griffe, which mkdocstrings reads with.

Docstrings are written to be read in an editor. Three things are different on a page:

    columns      lines that are set in columns keep them, as a block of code
    signatures   an attrs class is called with its fields; griffe does not know that
    names        `Dense` leads to the place where it is documented

The names that lead somewhere are those of the directives `::: chainrule.Dense` on the pages under
`docs/reference/` and of the places `[](){ #chainrule.core.errors.ShapeError }` in `docs/errors.md`:
a name is never linked that the site does not have.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import griffe

DOCS = Path(__file__).resolve().parents[1] / "docs"
DIRECTIVE = re.compile(r"^(?:::: |\[\]\(\)\{ #)(chainrule(?:\.\w+)+)(?: \})?$", re.MULTILINE)
COLUMN = re.compile(r"\S {2,}\S")
NAME = re.compile(r"(?<![`\[\w])`([A-Za-z_][\w.]*)`(?!`)")
HEADER = re.compile(r"(\w[\w ]*)\n-{3,}\n")


class Docstrings(griffe.Extension):
    """Prepares every docstring, and gives attrs classes their signatures."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Set columns and links in the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = with_links(with_columns(obj.docstring.value), obj.path)

    def on_class(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        """Add the `__init__` that attrs writes."""
        found = getattr(importlib.import_module(cls.module.path), cls.name, None)
        if "__init__" in cls.members or "__init__" not in vars(found or object):
            return
        fields = getattr(found, "__attrs_attrs__", None)
        if fields is None:
            return
        types = {field.alias: field.type for field in fields}
        written = inspect.signature(vars(found)["__init__"])
        cls.set_member(
            "__init__",
            griffe.Function(
                "__init__",
                lineno=cls.lineno,
                endlineno=cls.endlineno,
                parameters=griffe.Parameters(
                    *(
                        _parameter(given, types.get(name), cls)
                        for name, given in written.parameters.items()
                    )
                ),
            ),
        )


def with_columns(text: str) -> str:
    """The docstring with its paragraphs that are set in columns as blocks of code.

    So is an example that stands outside of a section of examples; griffe sees those by itself.
    """
    made, section = [], ""
    for paragraph in re.split(r"(\n\s*\n)", inspect.cleandoc(text)):
        section = found[1] if (found := HEADER.match(paragraph)) else section
        if _is_set(paragraph) or (paragraph.startswith(">>>") and section != "Examples"):
            paragraph = textwrap.indent(paragraph, "    ")
        made.append(re.sub(r"::$", ":", paragraph))
    return "".join(made)


def with_links(text: str, here: str = "") -> str:
    """The docstring with each name in single backquotes that the reference has as a link to it."""
    lines = []
    for line in text.splitlines():
        is_code = line.lstrip().startswith((">>>", "...")) or line.startswith("    " * 2)
        lines.append(line if is_code else NAME.sub(functools.partial(_linked, here), line))
    return "\n".join(lines)


@functools.cache
def places() -> dict[str, str]:
    """The full name behind each way in which a docstring may call what the reference has."""
    found: dict[str, str] = {}
    for page in [*sorted((DOCS / "reference").rglob("*.md")), DOCS / "errors.md"]:
        for path in DIRECTIVE.findall(page.read_text(encoding="utf-8")):
            parts = path.split(".")
            for begin in range(len(parts)):
                short = ".".join(parts[begin:])
                # Where two are called alike, as callbacks.LearningRate and schedules.LearningRate,
                # the shorter full name wins: what is imported from chainrule itself.
                if short not in found or len(parts) < found[short].count(".") + 1:
                    found[short] = path
    return found


def _is_set(paragraph: str) -> bool:
    first, *others = paragraph.split("\n")
    if not first or first[0] in " *->" or HEADER.match(paragraph):
        return False
    return any(COLUMN.search(line) for line in (first, *others))


def _linked(here: str, match: re.Match[str]) -> str:
    path = places().get(match[1])
    if path is None or path.rpartition(".")[2] in here.split("."):
        return match[0]
    return f"[`{match[1]}`][{path}]"


def _parameter(given: inspect.Parameter, kind: Any, cls: griffe.Class) -> griffe.Parameter:
    default = None
    if given.default is not inspect.Parameter.empty:
        default = "…" if repr(given.default) == "NOTHING" else repr(given.default)
    converted = given.annotation in (Any, "Any", "typing.Any")  # then the field says more
    return griffe.Parameter(
        given.name,
        annotation=_annotation(kind if converted else given.annotation, cls),
        kind=griffe.ParameterKind[given.kind.name.lower()],
        default=default,
    )


def _annotation(given: Any, cls: griffe.Class) -> Any:
    if given in (inspect.Parameter.empty, None, "None", Any, "Any"):
        return None
    text = given if isinstance(given, str) else getattr(given, "__name__", None) or str(given)
    try:
        return griffe.safe_get_annotation(ast.parse(text, mode="eval").body, parent=cls)
    except SyntaxError:
        return text
