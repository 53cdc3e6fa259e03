"""Words that the project does not write, found in its pages and in the prose of its code.

`docs/words.txt` lists them, each with a suggestion. In Python only comments and strings are prose,
in Markdown everything except inline code, blocks of other languages and the targets of links.

Prose is searched in a copy of the file of the same length, in which NUL replaces what is no prose.
So every match has its line, and a phrase may go on in the next line of a comment, but not across
code.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import frozen

from site_builder.blocks import Block, parts_of
from site_builder.faults import Fault, PageError

LIST = Path("docs/words.txt")
ENTRY = re.compile(r"(?P<words>.+?) -> (?P<suggestion>.+?)(?: \(except: (?P<right>.+)\))?")
IN_CODE = re.compile(
    r"(?P<ticks>`+)(?:(?!\n\s*\n|`).)+(?P=ticks)"
    r"|\]\([^()\s]*\)"  # the target of a link
    r"|(?<!\{)\{[^{}\n]*\}(?!\})",  # an expression in an f-string, attributes in Markdown
    re.DOTALL,
)
EXAMPLE = re.compile(r"^ *(?:>>>|\.\.\.) .*$", re.MULTILINE)
QUOTES = re.compile(r"\w*(\"\"\"|'''|\"|')")
NO_PROSE = "\0"


@frozen
class Rejected:
    """A line of the list.

    Attributes
    ----------
    pattern
        Matches its words and phrases, and the longer phrases in which they are right as `right`.
    suggestion
        What to write instead.
    """

    pattern: re.Pattern[str]
    suggestion: str


def rejected_words(root: Path, files: Iterable[Path]) -> list[Fault]:
    """The words in these files that `docs/words.txt` rejects."""
    listed = read_list((root / LIST).read_text(encoding="utf-8"))
    return [
        Fault(file.as_posix(), line, f"wording: {found!r}; write: {suggestion}")
        for file in files
        for line, found, suggestion in matches(prose_of(root / file), listed)
    ]


def read_list(text: str) -> list[Rejected]:
    """The entries of a list of words.

    Raises
    ------
    ValueError
        A line is neither empty, nor a comment, nor an entry.
    """
    entries = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        entry = ENTRY.fullmatch(line.strip())
        if entry is None:
            raise ValueError(f"{LIST}:{number}: expected `words -> suggestion`, received {line!r}")
        right = f"(?P<right>{_any_of(entry['right'])})|" if entry["right"] else ""
        pattern = rf"(?<![\w-])(?:{right}{_any_of(entry['words'])})(?![\w-])"
        entries.append(Rejected(re.compile(pattern, re.IGNORECASE), entry["suggestion"]))
    return entries


def matches(prose: str, listed: Iterable[Rejected]) -> list[tuple[int, str, str]]:
    """Line, words and suggestion of each match, in the order of the lines."""
    return sorted(
        (prose.count("\n", 0, found.start()) + 1, " ".join(found[0].split()), entry.suggestion)
        for entry in listed
        for found in entry.pattern.finditer(prose)
        if not found.groupdict().get("right")
    )


def prose_of(file: Path) -> str:
    """The text of a file with NUL in place of all that is no prose."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".py":
        return prose_of_python(text)
    return prose_of_page(text) if file.suffix == ".md" else text


def prose_of_page(text: str) -> str:
    """The prose of a page, with that of its Python; other blocks are printed, or not our words."""
    try:
        parts = parts_of(text)
    except PageError:  # `lint` reports it
        return ""
    return "".join(
        _prose_of_block(part) if isinstance(part, Block) else _without_code(part.text)
        for part in parts
    )


def prose_of_python(text: str) -> str:
    """The comments and strings of Python; a string that is a single name is none."""
    lines = [_masked(line) for line in text.splitlines(keepends=True)]
    for token in _tokens(text):
        shown = _prose_of_token(token)
        if shown is None:
            continue
        (first, start), (last, end) = token.start, token.end
        if first == last:  # where {{ is one character of an f-string, the token is shorter
            shown = shown.ljust(end - start, NO_PROSE)
        lines[first - 1 : last] = (
            lines[first - 1][:start] + shown + lines[last - 1][end:]
        ).splitlines(keepends=True)
    return "".join(lines)


def _any_of(phrases: str) -> str:
    return "|".join(
        r"\s+".join(map(re.escape, phrase.split()))
        for phrase in sorted(phrases.split(", "), key=len, reverse=True)
    )


def _prose_of_block(block: Block) -> str:
    if block.language != "python":
        return "\n" * block.lines_on_page
    return f"\n{prose_of_python(block.content)}\n"


def _tokens(text: str) -> Iterator[tokenize.TokenInfo]:
    try:
        yield from tokenize.generate_tokens(io.StringIO(text).readline)
    except (tokenize.TokenError, SyntaxError):
        return  # ruff reports it, or the block shows it on purpose


def _prose_of_token(token: tokenize.TokenInfo) -> str | None:
    text = token.string
    match tokenize.tok_name[token.type]:
        case "COMMENT":
            return _without_code(text.replace("#", " ", 1))
        case "FSTRING_START" | "FSTRING_END":  # from Python 3.12 on; before, it is one STRING
            return " " * len(text)
        case "FSTRING_MIDDLE":
            return None if text.isidentifier() else _without_code(text)
        case "STRING":
            opening = QUOTES.match(text)
            assert opening is not None
            begins, ends = opening.end(), len(text) - len(opening[1])
            if text[begins:ends].isidentifier():
                return None
            return " " * begins + _without_code(text[begins:ends]) + " " * (len(text) - ends)
    return None


def _without_code(text: str) -> str:
    for code in (EXAMPLE, IN_CODE):
        text = code.sub(lambda found: _masked(found[0]), text)
    return text


def _masked(text: str) -> str:
    return re.sub(r"[^\s]", NO_PROSE, text)
