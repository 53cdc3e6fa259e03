"""Checks the spelling of the prose, and the Python of the pages with ruff.

All blocks of a page are checked as one file in which they keep their line numbers. So an undefined
name is found and reported with its line. The rules are those of the repository, except for rules
that only make sense for a file.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from site_builder.blocks import blocks_of, parts_of
from site_builder.faults import Fault, PageError

RULES = "E,F,W,UP,B,C4,SIM,RUF"
NOT_ON_A_PAGE = "E402,E501,F811,B018,RUF001,RUF002,RUF003,W291,W293,W391"
COLUMNS = 88
"""The number of characters of code that fit in a line of a page at a width of 1280 pixels."""


def lint(root: Path, pages: Iterable[Path]) -> list[Fault]:
    """The faults that ruff finds in the blocks of these pages, and lines that are too long."""
    faults = []
    for page in pages:
        text = (root / page).read_text(encoding="utf-8")
        try:
            code = python_of(text)
        except PageError as error:
            faults.append(Fault(page.as_posix(), error.line, error.problem))
            continue
        if code.strip():
            faults += _by_ruff(root, page, code)
        faults += [
            Fault(
                page.as_posix(),
                number,
                f"{len(line)} characters; at most {COLUMNS} fit on a page",
            )
            for number, line in enumerate(code.splitlines(), start=1)
            if len(line) > COLUMNS
        ]
    return sorted(faults)


def spelling(root: Path, files: Iterable[Path]) -> list[Fault]:
    """Misspelt words, by codespell."""
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib", *(file.as_posix() for file in files)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 65):  # 65: it found misspelt words
        raise RuntimeError(f"codespell failed:\n{done.stdout}{done.stderr}")
    found = re.findall(r"^(.+?):(\d+): (.+)$", done.stdout, re.MULTILINE)
    return [Fault(file, int(line), f"spelling: {told}") for file, line, told in found]


def python_of(text: str) -> str:
    """The Python of a page, with the line numbers of the page."""
    lines: list[str] = [""] * (text.count("\n") + 1)
    for block in blocks_of(parts_of(text), "python"):
        for number, line in enumerate(block.content.splitlines()):
            lines[block.line + number] = line
    return "\n".join(lines) + "\n"


def _by_ruff(root: Path, page: Path, code: str) -> list[Fault]:
    command = [
        *(sys.executable, "-m", "ruff", "check", "--isolated", "--quiet"),
        *("--select", RULES, "--ignore", NOT_ON_A_PAGE, "--target-version", "py311"),
        *("--output-format", "concise", "--stdin-filename", f"{page.as_posix()}.py", "-"),
    ]
    done = subprocess.run(
        command, cwd=root, input=code, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"ruff failed:\n{done.stdout}{done.stderr}")
    found = re.findall(r"^.+?:(\d+):\d+: (.+)$", done.stdout, re.MULTILINE)
    return [Fault(page.as_posix(), int(line), told) for line, told in found]
