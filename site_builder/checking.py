"""A check of the links in the built site.

The renderers only check the links that they recognise. This module follows every `href` and `src`
of every page: the file must exist, and contain the anchor after the #. Nothing that a browser loads
automatically may come from another host, and every image must have a description.
"""

from __future__ import annotations

import functools
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from attrs import define, field

from site_builder.faults import Fault

LOADED = {"script": "src", "img": "src", "source": "src", "iframe": "src", "video": "src"}
COLOURING = re.compile(r'</?span(?: class="[^"]*")?>')
NOT_LOADED_LINKS = {"canonical", "next", "prev", "alternate", "author", "license", "edit"}


@define
class Page(HTMLParser):
    """The contents of a page that the check needs.

    Attributes
    ----------
    anchors
        All its ids and names.
    links
        Line, tag, address, and whether a browser loads it automatically.
    faults
        Line and problem of each fault.
    """

    anchors: set[str] = field(factory=set)
    links: list[tuple[int, str, str, bool]] = field(factory=list)
    faults: list[tuple[int, str]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record the anchors, links and faults of a tag."""
        given = {key: value or "" for key, value in attrs}
        line = self.getpos()[0]
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and "href" in given:
            self.links.append((line, tag, given["href"], False))
        if tag == "link" and "href" in given:
            is_loaded = not set(given.get("rel", "").split()) & NOT_LOADED_LINKS
            self.links.append((line, tag, given["href"], is_loaded))
        if given.get(LOADED.get(tag, "")):
            self.links.append((line, tag, given[LOADED[tag]], True))
        if tag == "img" and not given.get("alt", "").strip():
            self.faults.append((line, f"the image {given.get('src')} has no description (alt)"))

    handle_startendtag = handle_starttag


def check_site(site: Path) -> list[Fault]:
    """The faults in the links and images of a built site."""
    pages = {page: _read(page) for page in sorted(site.rglob("*.html"))}
    anchors = {page.resolve(): read.anchors for page, read in pages.items()}
    faults = []
    for page, read in pages.items():
        name = page.relative_to(site).as_posix()
        faults += [Fault(name, line, problem) for line, problem in read.faults]
        for line, tag, link, is_loaded in read.links:
            problem = _problem(site, page, link, is_loaded, anchors)
            if problem:
                faults.append(Fault(name, line, f"<{tag}> {problem}"))
    for sheet in sorted(site.rglob("*.css")):
        faults += _foreign_in_style(site, sheet)
    return faults


def _problem(
    site: Path, page: Path, link: str, is_loaded: bool, anchors: dict[Path, set[str]]
) -> str | None:
    parts = urlsplit(link)
    if parts.scheme in ("data", "mailto", "javascript"):
        return None
    if parts.scheme or parts.netloc:
        return f"loads {link} from another host" if is_loaded else None
    path = unquote(parts.path)
    target = site / path.lstrip("/") if path.startswith("/") else page.parent / path
    if not path:
        target = page
    target = target.resolve()
    if target.is_dir():
        target = target / "index.html"
    if not target.is_file():
        return f"{link} is a broken link: {_seen_from(site, target)} does not exist"
    fragment = unquote(parts.fragment)
    if fragment and not is_loaded and target in anchors and fragment not in anchors[target]:
        return f"{link} is a broken link: {_seen_from(site, target)} has no #{fragment}"
    return None


def _foreign_in_style(site: Path, sheet: Path) -> list[Fault]:
    found = re.findall(r"url\(\s*['\"]?((?:https?:)?//[^)'\"]+)", sheet.read_text("utf-8"))
    name = sheet.relative_to(site).as_posix()
    return [Fault(name, 0, f"loads {address} from another host") for address in found]


def _seen_from(site: Path, file: Path) -> str:
    root = site.resolve()
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)


@functools.cache
def _read(page: Path) -> Page:
    parser = Page()
    # Four of five tags only colour the code, and would take most of the time.
    parser.feed(COLOURING.sub("", page.read_text(encoding="utf-8")))
    parser.close()
    return parser
