"""The notebooks of the pages: all of the code is in them, and they run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.site

ROOT = Path(__file__).parents[2]
SITE, DOCS = ROOT / "site", ROOT / "docs"
RUN = (
    "lecture/network", "layers/write-a-layer", "layers/diagnose", "recipes",
    "physics/fit-a-formula",
)  # fmt: skip
"""Those that are run here; each block of the others has run as a block of its page."""


def notebooks() -> list[str]:
    return sorted(
        file.relative_to(SITE).with_suffix("").as_posix() for file in SITE.rglob("*.ipynb")
    )


def test_every_page_with_code_has_a_notebook_with_all_of_it_and_a_link(
    browser: Any, address: str
) -> None:
    from site_builder.blocks import blocks_of, parts_of  # needs what builds the site

    pages = {}
    for page in DOCS.rglob("*.md"):
        blocks = blocks_of(parts_of(page.read_text("utf-8")), "python")
        shown = [block.content.rstrip("\n") for block in blocks if "hidden" not in block.options]
        if shown and page != DOCS / "index.md":
            pages[page.relative_to(DOCS).with_suffix("").as_posix()] = shown
    assert sorted(pages) == notebooks()
    for name, shown in pages.items():
        cells = json.loads((SITE / f"{name}.ipynb").read_text("utf-8"))["cells"]
        code = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
        assert [block for block in shown if block not in code] == [], name
        html = (SITE / name / "index.html").read_text("utf-8")
        assert f"{name.rpartition('/')[2]}.ipynb" in html, name


@pytest.mark.parametrize("name", RUN)
@pytest.mark.filterwarnings("ignore")  # those of Jupyter itself
def test_a_notebook_runs(name: str, tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(SITE / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for cell in notebook.cells:
        expected = "raises-exception" in cell.metadata.get("tags", [])
        failed = any(output.output_type == "error" for output in cell.get("outputs", []))
        assert failed == expected, cell.source


def test_the_cheat_sheet_is_one_page_of_paper() -> None:
    assert 'href="../cheat-sheet.pdf"' in (SITE / "cheat-sheet" / "index.html").read_text("utf-8")
    pdf = (SITE / "cheat-sheet.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and re.findall(rb"/Count (\d+)", pdf) == [b"1"]
