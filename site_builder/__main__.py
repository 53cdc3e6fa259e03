"""The commands of the site's builder.

    python -m site_builder prepare             docs/ to build/docs/: blocks, figures, excerpts
    python -m site_builder build               prepare, build site/ with mkdocs --strict, check it
    python -m site_builder next                the same with zensical, into site-next/
    python -m site_builder serve               prepare, serve the site, rebuild after each change
    python -m site_builder run PAGE…           run pages and report faults, without building a site
    python -m site_builder accept PAGE…        write the output of blocks into the pages
    python -m site_builder lint                spelling, rejected words, and ruff for the blocks

Each command prints the faults that it found, `docs/page.md:12: …`, and exits with status 1 if there
are any.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from site_builder.checking import check_site
from site_builder.composing import compose, rewritten
from site_builder.faults import Fault
from site_builder.finishing import finish
from site_builder.preparing import Places, all_pages, alone, outcomes_of, prepare
from site_builder.printing import print_cheat_sheet
from site_builder.prose import lint, spelling
from site_builder.vendoring import VendoringError
from site_builder.vocabulary import rejected_words

PLACES = Places(Path(__file__).resolve().parents[1])
CODE = ("src", "site_builder", "examples", "benchmarks", "fuzz", "docs/figures")
OTHER_PROSE = ("pyproject.toml", "mkdocs.yml", "Makefile", ".ci/environment", ".ci/run")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status of the process."""
    # A background job of a shell ignores Ctrl-C, and so do its child processes; but one page
    # demonstrates Ctrl-C.
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
    parser.add_argument("pages", nargs="*", type=Path, help="docs/page.md; default: all pages")
    parser.add_argument("--port", type=int, default=8000, help="port for serve")
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
    print(
        f"{took}, {len(faults)} fault{'s' * (len(faults) != 1)}" if faults else took,
        file=sys.stderr,
    )
    return int(bool(faults))


def _build(renderer: str, site: Path) -> list[Fault]:
    with alone(PLACES):
        return _build_alone(renderer, site)


def _build_alone(renderer: str, site: Path) -> list[Fault]:
    faults = prepare(PLACES)
    if faults:  # the renderer would report an incomplete page again
        return faults
    shutil.rmtree(site, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", renderer, "build", "--strict", "--config-file", "mkdocs.yml"],
        cwd=PLACES.root,
        env=_environment(site),
        check=False,
    )
    if done.returncode:
        return [Fault("mkdocs.yml", 0, f"{renderer} could not build the site; see above")]
    if not (site / "index.html").is_file():
        return [Fault("mkdocs.yml", 0, f"{renderer} did not create {site.name}/index.html")]
    faults = finish(site)
    print_cheat_sheet(site)
    return [*faults, *check_site(site)]


def _environment(site: Path) -> dict[str, str]:
    # This variable turns off the theme's announcement of its successor.
    return os.environ | {"NO_MKDOCS_2_WARNING": "1", "SITE_DIR": str(site), "NO_COLOR": "1"}


def _serve(options: argparse.Namespace) -> list[Fault]:
    # Let the server end with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _tell(prepare(PLACES))
    address = f"127.0.0.1:{options.port}"
    command = [sys.executable, "-m", "mkdocs", "serve", "--dev-addr", address, "--quiet"]
    with subprocess.Popen(
        command, cwd=PLACES.root, env=_environment(PLACES.root / "site")
    ) as server:
        print(f"serving the site at http://{address}/; press Ctrl-C to stop", file=sys.stderr)
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
        return [Fault("accept", 0, "name the pages whose output blocks should be updated")]
    for page, outcomes in outcomes_of(PLACES, _chosen(options)).items():
        if isinstance(outcomes, dict):
            file = PLACES.root / page
            text = file.read_text(encoding="utf-8")
            new = rewritten(text, outcomes)
            if new != text:
                file.write_text(new, encoding="utf-8")
                print(f"{page}: updated; review the changes: git diff {page}", file=sys.stderr)
    return _run(options)


def _lint(options: argparse.Namespace) -> list[Fault]:
    pages = _chosen(options)
    prose, code = pages, list[Path]()
    if not options.pages:
        at_root = [*PLACES.root.glob("*.md"), *map(PLACES.root.joinpath, OTHER_PROSE)]
        prose = [
            *(page for page in pages if not (PLACES.root / page).is_symlink()),
            *_named(at_root),
        ]
        code = _named(file for folder in CODE for file in (PLACES.root / folder).rglob("*.py"))
    return [
        *spelling(PLACES.root, prose),
        *rejected_words(PLACES.root, [*prose, *code]),
        *lint(PLACES.root, pages),
    ]


def _named(files: Iterable[Path]) -> list[Path]:
    return sorted(file.relative_to(PLACES.root) for file in files)


def _chosen(options: argparse.Namespace) -> list[Path]:
    return [page.resolve().relative_to(PLACES.root) for page in options.pages] or all_pages(PLACES)


if __name__ == "__main__":
    sys.exit(main())
