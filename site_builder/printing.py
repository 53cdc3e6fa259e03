"""The cheat sheet as a PDF, printed by the Chromium of the system.

Without a Chromium the site has no PDF, and the page no link to one.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PAGE = "cheat-sheet"
LINK = re.compile(r'<p><a class="pdf".*?</p>', re.DOTALL)


def print_cheat_sheet(site: Path) -> None:
    """Write `cheat-sheet.pdf` beside the page, or remove the link to it."""
    page, pdf = site / PAGE / "index.html", site / f"{PAGE}.pdf"
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser:
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
            "--allow-file-access-from-files", f"--print-to-pdf={pdf}", page.as_uri(),
        ]  # fmt: skip
        subprocess.run(command, capture_output=True, timeout=120, check=False)
    if not pdf.is_file():
        print("There is no Chromium, so the cheat sheet is not printed as a PDF", file=sys.stderr)
        page.write_text(LINK.sub("", page.read_text("utf-8")), encoding="utf-8")
