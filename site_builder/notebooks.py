"""A Jupyter notebook of each page that has code: its prose, its blocks, its figures.

The code cells are the blocks of the page, so whatever ran when the site was built runs there. A
hidden block that only draws becomes its picture. Notebooks have no outputs until they are run.
"""

from __future__ import annotations

import base64
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from site_builder import source
from site_builder.blocks import Block, Part, Prose, expected_output, parts_of
from site_builder.composing import FRONT_MATTER, IN_PROSE
from site_builder.running import Outcome, settings_of

GROUP = r"\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"
MACROS = {
    rf"\\pd{GROUP}{GROUP}": r"\\frac{\\partial \1}{\\partial \2}",
    rf"\\mean{GROUP}": r"\\left\\langle \1 \\right\\rangle",
    r"\\T(?![A-Za-z])": r"^{\\mathsf{T}}",
}
"""The site's own LaTeX, written out."""
ADMONITION = re.compile(r'^ *(?:!!!|\?\?\?\+?) \w+(?: "(.*)")?$', re.MULTILINE)
HTML = re.compile(r"^ *</?(?:div|script|figure|figcaption)\b[^\n]*\n", re.MULTILINE)
LIVE = re.compile(r'^<div class="live"[^\n]*>', re.MULTILINE)
ON_THE_PAGE = "*(The figure that can be changed is on the page itself.)*\n"
LINK = re.compile(
    r"(?<!!)\[([^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*)\](?:\((?!https?:)[^()\s]*\)|\[[\w.]*\])"
)
ATTRIBUTES = re.compile(r"^\s*\{ [^}\n]*\}\s*$| *\{ [.#][^}\n]*\}", re.MULTILINE)


def notebook_of(root: Path, text: str, outcomes: Mapping[int, Outcome]) -> str:
    """The notebook of a page as JSON; empty if it has no code to run.

    Parameters
    ----------
    root
        The root of the repository, for excerpts of its source.
    text
        The page.
    outcomes
        The outcomes of its blocks, by their first line.
    """
    parts = parts_of(FRONT_MATTER.sub("", text))
    skipped = text.count("\n") - FRONT_MATTER.sub("", text).count("\n")
    if not any(isinstance(p, Block) and p.language == "python" and _is_shown(p) for p in parts):
        return ""
    cells = list(_cells(root, parts, {line - skipped: one for line, one in outcomes.items()}))
    content = {
        "cells": [{"id": f"cell-{number}", **cell} for number, cell in enumerate(_joined(cells))],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _is_shown(block: Block) -> bool:
    return "hidden" not in block.options


def _computes(block: Block) -> bool:
    """Whether a hidden block may be needed by others: it draws nothing, and writes no table."""
    return "figure" not in block.options and block.options.get("output") != "markdown"


def _cells(
    root: Path, parts: list[Part], outcomes: Mapping[int, Outcome]
) -> Iterator[dict[str, Any]]:
    shown_outputs = {
        shown.line
        for number, part in enumerate(parts)
        if isinstance(part, Block) and part.language == "python"
        for shown in [expected_output(parts, number)]
        if shown
    }
    for part in parts:
        if isinstance(part, Prose):
            yield _markdown(_plain_prose(part.text))
        elif part.line in shown_outputs:
            continue
        elif part.language == "python" and (_is_shown(part) or _computes(part)):
            tags = ["raises-exception"] if "raises" in part.options else []
            yield {
                "cell_type": "code", "execution_count": None, "outputs": [],
                "metadata": {"tags": tags} if tags else {}, "source": part.content.rstrip("\n"),
            }  # fmt: skip
        elif part.line in outcomes and outcomes[part.line].drawing:
            yield _picture(part, outcomes[part.line])
        elif part.language == "python":
            if part.options.get("output") == "markdown":
                yield _markdown(_plain_prose(outcomes[part.line].printed))
        elif part.language == "source":
            settings = settings_of(part)
            yield _markdown(f"`{settings['of']}`\n\n```python\n{_code(root, settings)}\n```")
        elif part.language != "figure":
            yield _markdown(f"```{part.language}\n{part.content}```")


def _markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text.strip("\n")}


def _picture(block: Block, outcome: Outcome) -> dict[str, Any]:
    drawing = outcome.drawing
    assert drawing is not None
    text = f"![{' '.join(drawing.description.split())}](attachment:figure.svg)\n\n{drawing.caption}"
    encoded = base64.b64encode(drawing.light.encode()).decode()
    return _markdown(_plain_prose(text)) | {
        "attachments": {"figure.svg": {"image/svg+xml": encoded}}
    }


def _code(root: Path, settings: Mapping[str, str]) -> str:
    return textwrap.dedent(source.chosen(root, settings).code).rstrip()


def _plain_prose(text: str) -> str:
    """Markdown that Jupyter shows: no admonitions, no HTML of the site, links as their text."""

    def of_source(match: re.Match[str]) -> str:
        return (
            match[0] if match["code"] else match["text"] or f"`{match['name'].rpartition(':')[2]}`"
        )

    text = IN_PROSE.sub(of_source, HTML.sub("", LIVE.sub(ON_THE_PAGE, text)))
    text = ADMONITION.sub(lambda match: f"\n**{match[1]}**\n" if match[1] else "", text)
    text = ATTRIBUTES.sub("", LINK.sub(r"\1", text))
    for pattern, written in MACROS.items():
        text = re.sub(pattern, written, text)
    # What was inside of an admonition is indented, and would be a block of code.
    return re.sub(r"^(?: {4})+", "", text, flags=re.MULTILINE)


def _joined(cells: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Neighbouring cells of prose as one; empty ones left out."""
    waiting = ""
    for cell in cells:
        if cell["cell_type"] == "markdown" and "attachments" not in cell:
            waiting += ("\n\n" if waiting and cell["source"] else "") + cell["source"]
            continue
        if waiting.strip():
            yield _markdown(waiting)
        waiting = ""
        yield cell
    if waiting.strip():
        yield _markdown(waiting)
