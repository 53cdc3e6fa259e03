"""The built site, served from this machine, and a browser to read it with.

The browser is the system's Chromium. It reaches nothing but the server here: it finds no other
host, and the tests remember every request for one and say that there was none.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SITE = Path(__file__).parents[2] / "site"
QUIET = [
    "--disable-background-networking", "--disable-component-update", "--disable-gpu",
    "--disable-quic", "--disable-sync", "--no-first-run", "--no-sandbox",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
NO_PAGES = b"""{"docs": [], "config": {"lang": ["en"], "separator": " ", "pipeline": [],
  "fields": {"title": {"boost": 1}, "text": {"boost": 1}, "tags": {"boost": 1}}}}"""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class _Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class _WithoutSearch(_Handler):
    """An index of no pages in place of the search: the browser reads it anew for each page."""

    def do_GET(self) -> None:
        if self.path != "/search/search_index.json":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", str(len(NO_PAGES)))
        self.end_headers()
        self.wfile.write(NO_PAGES)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that leaves a page ends its requests: no fault of the site."""


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Where the site is served, for tests that do not search."""
    with served(_WithoutSearch) as address:
        yield address


@pytest.fixture(scope="session")
def address_with_search() -> Iterator[str]:
    """Where the whole site is served."""
    with served(_Handler) as address:
        yield address


@contextlib.contextmanager
def served(kind: type[_Handler]) -> Iterator[str]:
    """Serve the site."""
    assert (SITE / "index.html").is_file(), "there is no site/ to be read; run `make docs` first"
    handler = functools.partial(kind, directory=str(SITE))
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One headless Chromium for all tests."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found, "there is no Chromium on this machine; on Debian: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=QUIET)
        yield browser
        browser.close()
