"""The commands of the site's builder.

    python -m site_builder prepare             docs/ to build/docs/: run, draw, take excerpts
    python -m site_builder build               that, then mkdocs --strict into site/, then check it
    python -m site_builder next                the same with zensical, into site-next/
    python -m site_builder serve               that, and shows it, and follows what is written
    python -m site_builder run PAGE…           run pages and tell what is wrong, without a site
    python -m site_builder accept PAGE…        write what blocks print into the pages
    python -m site_builder lint                spelling, and ruff for the blocks

Each ends with the faults that it has found, `docs/page.md:12: …`, and the status 1 where there are
any.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from site_builder.checking import check_site
from site_builder.composing import compose, rewritten
from site_builder.faults import Fault
from site_builder.preparing import Places, all_pages, alone, outcomes_of, prepare
from site_builder.prose import lint, spelling
from site_builder.vendoring import VendoringError

PLACES = Places(Path(__file__).resolve().parents[1])
PROSE_BESIDE_DOCS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the status of the process."""
    # In the background of a shell Ctrl-C is ignored, here and in all that is started; and a page
    # shows what it does.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="python -m site_builder")
    commands: dict[str, Callable[[argparse.Namespace], list[Fault]]] = {
        "prepare": lambda options: prepare(PLACES),
        "build": lambda options: _build("mkdocs", PLACES.root / "site"),
        "next": lambda options: _build("zensical", PLACES.root / "site-next"),
        "serve": _serve,
        "run": _run,
        "accept": _accept,
        "lint": _lint,
    }
    parser.add_argument("command", choices=commands)
    parser.add_argument("pages", nargs="*", type=Path, help="docs/page.md; default: all")
    parser.add_argument("--port", type=int, default=8000, help="for serve")
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    try:
        faults = commands[options.command](options)
    except VendoringError as error:
        faults = [Fault("site_builder/vendored.json", 0, str(error))]
    except KeyboardInterrupt:
        return 130
    for fault in faults:
        print(fault, file=sys.stderr)
    took = f"{options.command}: {time.perf_counter() - began:.0f} s"
    print(f"{took}, {len(faults)} faults" if faults else took, file=sys.stderr)
    return int(bool(faults))


def _build(renderer: str, site: Path) -> list[Fault]:
    with alone(PLACES):
        return _build_alone(renderer, site)


def _build_alone(renderer: str, site: Path) -> list[Fault]:
    faults = prepare(PLACES)
    if faults:  # half a page would be told again by the renderer, in other words
        return faults
    shutil.rmtree(site, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", renderer, "build", "--strict", "--config-file", "mkdocs.yml"],
        cwd=PLACES.root,
        env=_environment(site),
        check=False,
    )
    if done.returncode:
        return [Fault("mkdocs.yml", 0, f"{renderer} did not build the site; see above")]
    if not (site / "index.html").is_file():
        return [Fault("mkdocs.yml", 0, f"{renderer} has built no {site.name}/index.html")]
    return check_site(site)


def _environment(site: Path) -> dict[str, str]:
    # The variable silences the theme's announcement of its successor.
    return os.environ | {"NO_MKDOCS_2_WARNING": "1", "SITE_DIR": str(site), "NO_COLOR": "1"}


def _serve(options: argparse.Namespace) -> list[Fault]:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server ends with this
    _tell(prepare(PLACES))
    address = f"127.0.0.1:{options.port}"
    command = [sys.executable, "-m", "mkdocs", "serve", "--dev-addr", address, "--quiet"]
    with subprocess.Popen(
        command, cwd=PLACES.root, env=_environment(PLACES.root / "site")
    ) as server:
        print(f"the site is at http://{address}/; Ctrl-C ends it", file=sys.stderr)
        try:
            seen = _when_changed()
            while server.poll() is None:
                time.sleep(0.5)
                now = _when_changed()
                if now != seen:
                    seen = now
                    _tell(prepare(PLACES))
        finally:
            server.terminate()
    return []


def _tell(faults: list[Fault]) -> None:
    for fault in faults:
        print(fault, file=sys.stderr)


def _when_changed() -> dict[Path, int]:
    return {
        file: file.stat().st_mtime_ns
        for folder in (PLACES.docs, PLACES.root / "src")
        for file in folder.rglob("*")
        if file.suffix in (".md", ".py", ".css", ".js", ".html")
    }


def _run(options: argparse.Namespace) -> list[Fault]:
    faults: list[Fault] = []
    for page, outcomes in outcomes_of(PLACES, _chosen(options)).items():
        if isinstance(outcomes, Fault):
            faults.append(outcomes)
        else:
            faults += compose(PLACES.root, page, outcomes).faults
    return sorted(faults)


def _accept(options: argparse.Namespace) -> list[Fault]:
    if not options.pages:
        return [Fault("accept", 0, "name the pages whose outputs are to be written")]
    for page, outcomes in outcomes_of(PLACES, _chosen(options)).items():
        if isinstance(outcomes, dict):
            file = PLACES.root / page
            text = file.read_text(encoding="utf-8")
            new = rewritten(text, outcomes)
            if new != text:
                file.write_text(new, encoding="utf-8")
                print(f"{page}: written; read what has changed: git diff {page}", file=sys.stderr)
    return _run(options)


def _lint(options: argparse.Namespace) -> list[Fault]:
    pages = _chosen(options)
    return spelling(PLACES.root, [*pages, *map(Path, PROSE_BESIDE_DOCS)]) + lint(PLACES.root, pages)


def _chosen(options: argparse.Namespace) -> list[Path]:
    return [page.resolve().relative_to(PLACES.root) for page in options.pages] or all_pages(PLACES)


if __name__ == "__main__":
    sys.exit(main())
