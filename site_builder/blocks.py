"""Splits a page into fenced blocks and the prose between them.

An opening fence has a language and options; an option is `key=value` or a single word:

    ```python tolerance=1e-3 hidden

Blocks may be indented, inside an admonition or a list. Every block must name its language, because
`python` blocks run; blocks of other languages are shown unchanged.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from attrs import field, frozen

from site_builder.faults import PageError

FENCE = re.compile(r"^(?P<indent>[ ]*)(?P<marks>`{3,}|~{3,})(?P<rest>.*)$")
RUN_UNDER_ANOTHER_NAME = {"py", "python3", "pycon", "ipython", "py3", "pyi"}


@frozen
class Block:
    """A block and its fences.

    Attributes
    ----------
    language
        The first word of the opening fence.
    options
        The other words: `key=value`, or a single word as `{word: ""}`.
    content
        The lines between the fences, without the indentation of the fences, with their line ends.
    line
        The line of the opening fence on the page, from 1.
    indent
        The spaces before the fences.
    fence
        The opening line as written on the page.
    """

    language: str
    options: Mapping[str, str]
    content: str
    line: int
    indent: str = ""
    fence: str = field(default="", eq=False)

    @property
    def lines_on_page(self) -> int:
        """The number of its lines, including the two fences."""
        return self.content.count("\n") + 2


@frozen
class Prose:
    """The text between blocks."""

    text: str
    line: int


Part: TypeAlias = Block | Prose


def parts_of(text: str) -> list[Part]:
    """Split a page into parts; joined again, they give the page.

    Raises
    ------
    PageError
        A fence is not closed, names no language, or names Python in a way that would not run.
    """
    found: list[Part] = []
    prose: list[str] = []
    begins = 1
    lines = text.splitlines(keepends=True)
    number = 0
    while number < len(lines):
        opening = FENCE.match(lines[number].rstrip("\n"))
        if opening is None:
            prose.append(lines[number])
            number += 1
            continue
        if prose:
            found.append(Prose("".join(prose), begins))
        closing = _closing(lines, number, opening["marks"])
        found.append(_block(lines, number, closing, opening))
        number = closing + 1
        prose, begins = [], number + 1
    if prose:
        found.append(Prose("".join(prose), begins))
    return found


def blocks_of(parts: Iterable[Part], language: str) -> list[Block]:
    """The blocks of one language."""
    return [part for part in parts if isinstance(part, Block) and part.language == language]


def expected_output(parts: list[Part], number: int) -> Block | None:
    """The `text` block directly below a block, with only empty lines between."""
    below = parts[number + 1 : number + 3]
    if below and isinstance(below[0], Prose) and not below[0].text.strip():
        below = below[1:]
    match below:
        case [Block(language="text", indent=indent) as shown, *_] if (
            indent == parts[number].indent and not shown.options  # type: ignore[union-attr]
        ):
            return shown
    return None


def indented(text: str, indent: str) -> str:
    """The text with every non-empty line indented."""
    return "".join(
        indent + line if line.strip() else line for line in text.splitlines(keepends=True)
    )


def _closing(lines: list[str], opening: int, marks: str) -> int:
    for number in range(opening + 1, len(lines)):
        line = lines[number].strip()
        if line.startswith(marks) and not line.strip(marks[0]):
            return number
    raise PageError(opening + 1, f"this block is never closed: {marks} is missing below it")


def _block(lines: list[str], opening: int, closing: int, match: re.Match[str]) -> Block:
    indent, rest, line = match["indent"], match["rest"].strip(), opening + 1
    if not rest:
        raise PageError(
            line,
            "this block names no language: write ```python if it should run, or "
            "```text, ```console or another language if it should not",
        )
    options: dict[str, str] = {}
    if rest.startswith("{"):
        if re.search(r"\.(python|py)\b", rest):
            raise PageError(line, "write ```python followed by its options, without braces")
        language = rest
    else:
        language, options = _options(rest, line)
    if language in RUN_UNDER_ANOTHER_NAME:
        raise PageError(line, f"write ```python instead of ```{language}: every such block runs")
    content = "".join(
        text[len(indent) :] if text.startswith(indent) else text.lstrip(" ")
        for text in lines[opening + 1 : closing]
    )
    return Block(language, options, content, line, indent, lines[opening])


def _options(rest: str, line: int) -> tuple[str, dict[str, str]]:
    try:
        language, *words = shlex.split(rest)
    except ValueError as error:
        raise PageError(line, f"the options after ``` cannot be parsed: {error}") from error
    options: dict[str, str] = {}
    for word in words:
        key, _, value = word.partition("=")
        options[key] = value
    return language, options
