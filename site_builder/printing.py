"""The cheat sheet as a PDF, printed by the Chromium of the system.

Without a Chromium the site has no PDF, and the page no link to one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from site_builder.diagrams import chromium

PAGE = "cheat-sheet"
SHEET = '<div class="sheet"'
LINK = f'<p class="pdf"><a href="../{PAGE}.pdf">As a PDF, one page</a></p>\n'


def print_cheat_sheet(site: Path) -> None:
    """Write `cheat-sheet.pdf` beside the page, and a link to it into the page."""
    page, pdf = site / PAGE / "index.html", site / f"{PAGE}.pdf"
    browser = chromium()
    if browser:
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
            "--allow-file-access-from-files", f"--print-to-pdf={pdf}", page.as_uri(),
        ]  # fmt: skip
        subprocess.run(command, capture_output=True, timeout=120, check=False)
    if pdf.is_file():
        text = page.read_text("utf-8").replace(SHEET, LINK + SHEET, 1)
        page.write_text(text, encoding="utf-8")
    else:
        print("Without Chromium, there is no PDF of the cheat sheet.", file=sys.stderr)
