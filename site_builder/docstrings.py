"""Prepares docstrings for the reference, as an extension of griffe, the parser of mkdocstrings.

Docstrings are written to be read in an editor. On a page, three things differ:

    columns      lines that are aligned in columns become a block of code, without Markdown in it
    signatures   an attrs class gets a signature with its fields, which griffe does not know
    names        `Dense` becomes a link to its documentation

The linked names are those of the directives `::: chainrule.Dense` on the pages under
`docs/reference/` and of the anchors `[](){ #chainrule.core.errors.ShapeError }` in
`docs/errors.md`. So a name that the site does not document is never linked.
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
QUOTED = re.compile(r"(`{1,2})([^`\n]+)\1")
HEADER = re.compile(r"(\w[\w ]*)\n-{3,}\n")
SECTIONS_OF_ITEMS = ("Parameters", "Returns", "Yields", "Raises", "Warns", "Attributes")
"""Their items are indented, so a block of code there is indented twice."""


class Docstrings(griffe.Extension):
    """Prepares every docstring, and adds signatures to attrs classes."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Format columns and add links in the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = for_the_page(obj.docstring.value, obj.path)

    def on_class(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        """Add the `__init__` that attrs generates."""
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


def for_the_page(text: str, here: str = "") -> str:
    """The docstring with columns and examples as blocks of code, and with links elsewhere.

    A page shows a block of code as it is, without reading Markdown, so names there lose their
    backquotes.
    """
    made, section = [], ""
    for paragraph in re.split(r"(\n\s*\n)", inspect.cleandoc(text)):
        if found := HEADER.match(paragraph):
            section, paragraph = found[1], paragraph[found.end() :]
            made.append(found[0])
        has_items = section in SECTIONS_OF_ITEMS
        if paragraph.lstrip().startswith(">>>"):
            # An example stays as it is; griffe itself recognizes those in a section of examples.
            indented = textwrap.indent(paragraph, "    ")
            made.append(paragraph if section == "Examples" else indented)
        elif not has_items and _is_set(paragraph):
            made.append(textwrap.indent(QUOTED.sub(r"\2", paragraph), "    "))
        elif paragraph.startswith("    " * (2 if has_items else 1)):
            made.append(QUOTED.sub(r"\2", paragraph))
        else:
            linked = NAME.sub(functools.partial(_linked, here), paragraph)
            made.append(re.sub(r"::$", ":", linked))
    return "".join(made)


@functools.cache
def places() -> dict[str, str]:
    """The full name of each documented object, by every name that a docstring may use for it."""
    found: dict[str, str] = {}
    for page in [*sorted((DOCS / "reference").rglob("*.md")), DOCS / "errors.md"]:
        for path in DIRECTIVE.findall(page.read_text(encoding="utf-8")):
            parts = path.split(".")
            for begin in range(len(parts)):
                short = ".".join(parts[begin:])
                # If two share a name, as callbacks.LearningRate and schedules.LearningRate do, the
                # shorter full name wins: the one imported from chainrule itself.
                if short not in found or len(parts) < found[short].count(".") + 1:
                    found[short] = path
    return found


def _is_set(paragraph: str) -> bool:
    first, *others = paragraph.split("\n")
    if not first or first[0] in " *->":
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
    converted = given.annotation in (
        Any,
        "Any",
        "typing.Any",
    )  # the field is more precise
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
