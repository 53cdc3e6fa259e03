"""The site as a reader sees it: every page, on a wide and a narrow screen, by day and by night.

A page is loaded once, made narrow, and its theme changed. What goes wrong is collected for the
whole site and listed together, each with its page, its theme and its width. axe-core looks for what
readers without sight, colours or a mouse would miss: in one theme on the wide screen, in the other
on the narrow one. The files that a page loads are weighed, compressed.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from attrs import define, field
from site_builder.vendoring import vendored_files

pytestmark = pytest.mark.site

ROOT = Path(__file__).parents[2]
SITE = ROOT / "site"
PICTURES = ROOT / "build" / "screenshots"
WIDTHS = {1280: 800, 390: 844}
THEMES = ("light", "dark")
IN_ONE_THEME = pytest.mark.parametrize("reader", ["light"], indirect=True)
HEAVIEST = 700_000
"""The bytes that a page may load, compressed, besides Python for the browser and the search."""
NOT_WEIGHED = ("search/", "assets/vendor/pyodide/", "assets/wheels/")
SHOWN = (
    "",
    "lecture/network/",
    "compose/graphs/",
    "benchmarks/",
    "source/chainrule/layers/dense/",
    "source/",
)

# Diagrams are drawn where scripts of the page cannot look into; this lets the test look.
OPEN_SHADOWS = """
const attach = Element.prototype.attachShadow;
Element.prototype.attachShadow = function (how) {
  return attach.call(this, {...how, mode: "open"});
};
"""

# After two frames a page that was made narrower is painted anew.
PAINTED = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"

# Pictures that a reader has not scrolled to are not loaded yet.
ALL_PICTURES = """() => Promise.all([...document.images]
  .filter(image => image.checkVisibility() && !image.naturalWidth)
  .map(image => { image.loading = "eager"; return image.decode().catch(() => {}); }))"""

# What axe-core reports, as `rule: element, reason`, three elements of each rule.
AXE = """async rules => (
    await axe.run(document, {resultTypes: ["violations"], preload: false, ...rules}))
  .violations
  .flatMap(({id, nodes}) => nodes.slice(0, 3).map(
    ({html, any, all, none}) => `${id} (${nodes.length}): ${html.slice(0, 120)}, ` +
      [...any, ...all, ...none].map(check => check.message).join("; ").slice(0, 200)))"""

# Most elements of a page are words of code. Of those with the same class on the same ground, one is
# left for the audit, which takes a quarter longer otherwise; the others become plain text.
ALIKE = """() => {
  const grounds = new Map();
  const ground = element => {
    if (!element) return "";
    if (!grounds.has(element)) {
      const { backgroundColor, opacity } = getComputedStyle(element);
      const isClear = backgroundColor === "rgba(0, 0, 0, 0)" && opacity === "1";
      const own = isClear ? "" : ` ${element.tagName}.${element.className}`;
      grounds.set(element, ground(element.parentElement) + own);
    }
    return grounds.get(element);
  };
  const seen = new Set();
  for (const word of document.querySelectorAll("pre code span[class]:not([id])")) {
    if (word.childElementCount || !word.checkVisibility() || word.closest("a")) continue;
    const look = word.className + ground(word);
    if (seen.has(look)) word.replaceWith(word.textContent);
    seen.add(look);
  }
}"""

# The rules whose answer depends on the theme or the width; the others are asked once.
AS_SEEN = {"runOnly": ["color-contrast", "link-in-text-block", "scrollable-region-focusable"]}

# All that can be seen to be wrong in a page as it stands.
FAULTS = r"""() => {
  const seen = element => element.checkVisibility();
  const told = element => (element.textContent || element.outerHTML).trim().slice(0, 80);
  const faults = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) {
    const wide = [...document.querySelectorAll("body *")]
      .filter(element => element.getBoundingClientRect().right > root.clientWidth + 1)
      .map(element => `${element.tagName}.${element.className}`);
    faults.push(`the page scrolls sideways (${root.scrollWidth} pixels): ${wide.slice(0, 3)}`);
  }
  for (const error of document.querySelectorAll(".katex-error"))
    faults.push(`a formula is wrong: ${error.title} in ${told(error)}`);
  for (const formula of document.querySelectorAll(".arithmatex")) {
    const unknown = formula.querySelector("[mathcolor='#cc0000']"); // so KaTeX shows such a word
    if (unknown) faults.push(`a formula has an unknown ${told(unknown)}`);
    if (!formula.querySelector(".katex")) faults.push(`a formula is not drawn: ${told(formula)}`);
  }
  for (const code of document.querySelectorAll("pre.mermaid"))
    faults.push(`a diagram is not drawn: ${told(code)}`);
  for (const diagram of document.querySelectorAll("div.mermaid")) {
    const svg = diagram.shadowRoot?.querySelector("svg");
    if (!svg || svg.querySelector(".error-icon") || (seen(diagram) && !svg.clientWidth))
      faults.push("a diagram is not drawn");
  }
  for (const image of document.images) {
    if (!image.alt.trim()) faults.push(`${image.src} has no description`);
    if (!image.naturalWidth && seen(image)) faults.push(`${image.src} cannot be shown`);
  }
  for (const figure of document.querySelectorAll("figure.drawn")) {
    const shown = [...figure.querySelectorAll("img")].filter(seen).length;
    if (shown !== 1 && seen(figure)) faults.push(`a figure shows ${shown} of its two pictures`);
  }
  return faults;
}"""


@define(slots=False)  # the browser's client keeps notes of its own on it
class Reader:
    """A page of the browser, and what has gone wrong in it."""

    page: Any
    address: str
    faults: list[str] = field(factory=list)
    place: str = ""
    loaded: set[str] = field(factory=set)

    def __attrs_post_init__(self) -> None:
        self.page.on("request", self._asked)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.tell(f"error in a script: {error}"))
        self.page.on("requestfailed", lambda request: self._failed(request))
        self.page.on("response", self._answered)

    def tell(self, problem: str) -> None:
        """Note what is wrong, and where."""
        self.faults.append(f"{self.place}: {problem}")

    def goto(self, path: str) -> None:
        """Load a page, and wait until all of it is drawn; what is not then is told by FAULTS."""
        self.loaded.clear()
        self.page.goto(f"{self.address}/{path}", wait_until="load")
        self._wait_until_drawn()

    def _wait_until_drawn(self) -> None:
        from playwright.sync_api import TimeoutError as NotDrawnError

        drawn = (
            "() => document.readyState === 'complete' && !document.querySelector('pre.mermaid')"
            " && [...document.querySelectorAll('.arithmatex')]"
            ".every(formula => formula.querySelector('.katex'))"
        )
        with contextlib.suppress(NotDrawnError):
            self.page.wait_for_function(drawn, timeout=5_000)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.tell(f"asks another host: {request.url}")

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.tell(f"the console says: {message.text}")

    def _failed(self, request: Any) -> None:
        if request.url.startswith(self.address) and request.failure != "net::ERR_ABORTED":
            self.tell(f"{request.url} failed: {request.failure}")

    def _answered(self, response: Any) -> None:
        if response.url.startswith(self.address):
            self.loaded.add(unquote(urlsplit(response.url).path).lstrip("/"))
        if response.status >= 400:
            self.tell(f"{response.url} is answered with {response.status}")


def paths(site: Path) -> list[str]:
    """The addresses of all pages; of the files of the source, the first and the longest."""
    files = sorted(page.parent.relative_to(site) for page in site.rglob("index.html"))
    found = [f"{path}/" if path.parts else "" for path in files]
    sources = [path for path in found if path.startswith("source/") and path != "source/"]
    longest = max(sources, key=lambda path: (site / path / "index.html").stat().st_size)
    return [path for path in found if path not in sources] + sorted({sources[0], longest})


@pytest.fixture(scope="module", params=THEMES)
def reader(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Reader]:
    with opened(browser, address, request.param) as reader:
        yield reader


@contextlib.contextmanager
def opened(browser: Any, address: str, theme: str) -> Iterator[Reader]:
    """A page of the browser, for a person whose system is light or dark."""
    context = browser.new_context(
        color_scheme=theme,
        reduced_motion="reduce",  # nothing is looked at while it is moving
        viewport={"width": 1280, "height": WIDTHS[1280]},
    )
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
    context.add_init_script(OPEN_SHADOWS)
    yield Reader(context.new_page(), address, place=theme)
    context.close()


@functools.cache
def axe() -> str:
    """The script of axe-core, whose version is pinned beside this file."""
    pins = Path(__file__).with_name("vendored.json")
    return vendored_files(ROOT / "build" / "packages", pins)["axe-core/axe.min.js"].decode()


@functools.cache
def weight(path: str) -> int:
    """The size of a file of the site, compressed."""
    file = SITE / path
    if file.is_dir():
        file /= "index.html"
    content = file.read_bytes()
    return len(content) if file.suffix in (".woff2", ".png") else len(gzip.compress(content, 6))


def test_every_page_is_whole_light_accessible_and_opens_its_exercises(
    browser: Any, address: str
) -> None:
    """The theme stays from page to page: one loads in the light and turns dark, the next not."""
    with opened(browser, address, "light") as reader:
        theme = "light"
        for path in [*paths(SITE), "404.html"]:
            reader.place = f"/{path}"
            reader.page.set_viewport_size({"width": 1280, "height": WIDTHS[1280]})
            reader.goto(path)
            _open_exercises(reader)
            _look(reader, path, theme, 1280)
            _weigh(reader, theme)
            _audit(reader, {})
            _look(reader, path, theme, 390)
            reader.page.locator("form[data-md-component=palette] label:not([hidden])").click()
            theme = "dark" if theme == "light" else "light"
            _look(reader, path, theme, 390)
            _audit(reader, AS_SEEN)
            _look(reader, path, theme, 1280)
        assert not reader.faults, "\n" + "\n".join(dict.fromkeys(reader.faults))


def _look(reader: Reader, path: str, theme: str, width: int) -> None:
    reader.place = f"/{path} {theme} {width}"
    reader.page.set_viewport_size({"width": width, "height": WIDTHS[width]})
    scheme = {"light": "default", "dark": "slate"}[theme]
    if reader.page.get_attribute("body", "data-md-color-scheme") != scheme:
        reader.tell(f"the page is not {theme}")
    reader.page.evaluate(ALL_PICTURES)
    for fault in reader.page.evaluate(FAULTS):
        reader.tell(fault)


def _weigh(reader: Reader, theme: str) -> None:
    other = "dark" if theme == "light" else "light"
    for picture in (path for path in reader.loaded if path.endswith(f"-{other}.svg")):
        reader.tell(f"it loads {picture}, which it does not show")
    weights = {path: weight(path) for path in reader.loaded if not path.startswith(NOT_WEIGHED)}
    if sum(weights.values()) > HEAVIEST:
        worst = sorted(weights.items(), key=lambda item: -item[1])[:4]
        reader.tell(f"it weighs {sum(weights.values()) / 1000:.0f} kB: {worst}")


def _audit(reader: Reader, rules: dict[str, list[str]]) -> None:
    if not reader.page.evaluate("typeof axe === 'object'"):
        reader.page.evaluate(axe())
        reader.page.evaluate(ALIKE)
    reader.page.evaluate(PAINTED)
    for fault in reader.page.evaluate(AXE, rules):
        reader.tell(fault)


def _open_exercises(reader: Reader) -> None:
    """Click on every exercise from the outside in; then it is open, and was not before."""
    exercises = reader.page.locator(".md-content details")
    for number in range(exercises.count()):
        exercise = exercises.nth(number)
        if exercise.get_attribute("open") is not None:
            continue  # `???+` is meant to be open
        exercise.locator("> summary").click()
        if exercise.get_attribute("open") is None:
            reader.tell(f"exercise {number + 1} does not open")


def test_without_javascript_the_formulas_are_there() -> None:
    bare = re.compile(r'class="arithmatex">\\')
    missing = [page for page in SITE.rglob("*.html") if bare.search(page.read_text("utf-8"))]
    assert not missing, "build the site on a machine with Node.js"


@IN_ONE_THEME
def test_the_button_copies_the_code_and_nothing_else(reader: Reader) -> None:
    reader.faults.clear()
    for path in ("", "lecture/network/", "compose/graphs/", "source/chainrule/lecture/"):
        reader.goto(path)
        buttons = reader.page.locator("button.md-code__button[data-md-type=copy]")
        assert buttons.count() >= 1, f"/{path} has no button that copies"
        for number in range(min(buttons.count(), 3)):
            button = buttons.nth(number)
            if not button.is_visible():
                continue
            code = button.locator("xpath=ancestor::pre//code").text_content()
            button.click(force=True)
            copied = reader.page.evaluate("navigator.clipboard.readText()")
            assert copied.strip() == code.strip(), f"/{path}: the button copied something else"
    assert not reader.faults


def test_the_first_screen_says_what_it_is_shows_a_network_and_leads_on(reader: Reader) -> None:
    reader.page.set_viewport_size({"width": 1280, "height": 800})
    reader.goto("")
    opening = reader.page.locator(".opening")
    code = opening.locator(".runnable code")
    parts = {
        "the sentence": opening.locator(".lead"),
        "the code": code,
        "its result": opening.locator(".output"),
        "the network": opening.locator("figure img:visible").first,
        "the way on": opening.locator(".ways a").last,
    }
    assert opening.locator(".ways a").count() == 3
    assert "pip install ." in opening.inner_text()
    for name, part in parts.items():
        box = part.bounding_box()
        assert box and box["y"] + box["height"] <= 800, f"{name} is below the first screen"
    lines = [line for line in code.inner_text().splitlines() if line.strip()]
    assert len(lines) < 10
    wider = "element => element.scrollWidth > element.clientWidth"
    assert not code.evaluate(wider), "the code of the first screen is cut off"


def test_pictures_of_pages_are_kept_for_the_eye(reader: Reader) -> None:
    """They lie in build/screenshots/, a wide light and a narrow dark one of each page.

    That they are beautiful is for people to say.
    """
    PICTURES.mkdir(parents=True, exist_ok=True)
    theme = reader.place
    width = {"light": 1280, "dark": 390}[theme]
    reader.page.set_viewport_size({"width": width, "height": WIDTHS[width]})
    for path in SHOWN:
        reader.goto(path)
        name = path.strip("/").replace("/", "-") or "home"
        target = PICTURES / f"{name}-{width}-{theme}.png"
        reader.page.evaluate(PAINTED)
        tall = min(reader.page.evaluate("document.documentElement.scrollHeight"), 4000)
        reader.page.screenshot(
            path=target, full_page=True, clip={"x": 0, "y": 0, "width": width, "height": tall}
        )
        assert target.stat().st_size > 5_000
