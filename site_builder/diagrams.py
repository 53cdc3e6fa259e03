"""Diagrams as SVG, drawn at build time, so that no page loads the three megabytes of Mermaid.

Mermaid measures its labels, so it needs a browser: a headless Chromium, which is started once. The
colours are the theme's variables, so a diagram changes with the theme. Without Chromium, the pages
draw their diagrams in the reader's browser.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

NEEDS = "Chromium"
DIAGRAM = re.compile(r'<pre class="mermaid"><code>(.*?)</code></pre>', re.DOTALL)
SCRIPT = re.compile(r'\s*<script src="[^"]*/mermaid\.min\.js"></script>')
LOOK = re.compile(r'="(\.node circle,[^"]+)"')
"""The style sheet for diagrams in the theme's script."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PAGE = """<!doctype html><meta charset="utf-8"><body>
<style>:root {{ --md-mermaid-font-family: {font}; }}</style>
<script src="{library}"></script>
<script>
(async () => {{
  mermaid.initialize({{ startOnLoad: false, themeCSS: {look} }});
  const drawn = [];
  for (const [id, code] of {diagrams}) {{
    try {{ drawn.push([(await mermaid.render(id, code)).svg, ""]); }}
    catch (error) {{ drawn.push(["", error.message]); }}
  }}
  const result = document.createElement("pre");
  result.id = "drawn";
  result.textContent = JSON.stringify(drawn);
  document.body.replaceChildren(result);
}})();
</script>
"""
FONT = (
    '"Source Sans 3", "Source Sans Pro", "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", '
    "Arial, sans-serif"
)
"""The letters of the site, as in its style sheet: the labels are measured with them."""


def chromium() -> str | None:
    """The Chromium of the system."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def drawn(site: Path, diagrams: Iterable[str]) -> dict[str, tuple[str, str]] | None:
    """The SVG of each diagram, and what is wrong with it; None without a Chromium that draws it."""
    browser = chromium()
    looks = [LOOK.search(file.read_text("utf-8")) for file in site.rglob("bundle*.js")]
    look = next(filter(None, looks), None)
    library = site / "assets/vendor/mermaid/dist/mermaid.min.js"
    chosen = sorted(set(diagrams))
    if browser is None or look is None or not library.is_file():
        return None
    named = [(f"d{hashlib.sha256(code.encode()).hexdigest()[:10]}", code) for code in chosen]
    page = PAGE.format(
        font=FONT,
        library=library.resolve().as_uri(),
        look=json.dumps(look[1]),
        diagrams=json.dumps(named).replace("<", "\\u003c"),
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "diagrams.html"
        file.write_text(page, encoding="utf-8")
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", f"--user-data-dir={folder}/profile",
            "--virtual-time-budget=60000", "--dump-dom", file.as_uri(),
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, timeout=120, check=False)
        except subprocess.TimeoutExpired:
            return None
    found = re.search(r'<pre id="drawn">(.*?)</pre>', done.stdout.decode("utf-8"), re.DOTALL)
    if not found:
        return None
    made = json.loads(html.unescape(found[1]))
    return {code: (svg, problem) for code, (svg, problem) in zip(chosen, made, strict=True)}


def found_in(page: str) -> list[str]:
    """The Mermaid code of a rendered page."""
    return [html.unescape(found[1]) for found in DIAGRAM.finditer(page)]


def inserted(page: str, made: dict[str, tuple[str, str]]) -> str:
    """The page with its diagrams drawn, each where the style of the page does not reach it."""

    def svg(found: re.Match[str]) -> str:
        image = made[html.unescape(found[1])][0]
        return f'<div class="mermaid"><template shadowrootmode="open">{image}</template></div>'

    return SCRIPT.sub("", DIAGRAM.sub(svg, page))
