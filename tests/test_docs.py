"""Every Python block on a page of the site runs, one after the other, as a reader types them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [page for page in sorted(DOCS.glob("**/*.md")) if "```python\n" in page.read_text("utf-8")]


def blocks(page: Path) -> list[tuple[str, str]]:
    """Each block with the text that is shown below it, if there is one."""
    found = re.findall(
        r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", page.read_text("utf-8"), re.DOTALL
    )
    return [(code, shown) for code, shown in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run_and_print_what_is_shown(page, capsys):
    space = {"__name__": "docs"}
    for code, shown in blocks(page):
        exec(compile(code, page.name, "exec"), space)
        printed = capsys.readouterr().out
        if shown:
            assert printed.strip() == shown.strip()
