"""`docs/` to `build/docs/`: every page run and composed, every other file copied.

Pages run in parallel, the longest first, each in its own process. On Linux, this is a copy of a
process that has already imported what most pages use. The outcomes of a page are cached in
`build/outcomes/`, unless a block failed. The key of the cache is everything that they can depend
on: the page, the figures, the package, the modules that run pages, every installed package with its
version, the Python, the processor as NumPy uses it, and the environment variables that choose its
kernels.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
import multiprocessing
import os
import pickle
import platform
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from attrs import frozen
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from site_builder import source
from site_builder.browser_python import browser_python
from site_builder.composing import Composed, compose, inside_site, line_anchor, source_page
from site_builder.faults import Fault, PageError
from site_builder.notebooks import notebook_of
from site_builder.running import (
    Job,
    Outcome,
    environment_of_pages,
    import_in_advance,
    runs_nothing,
)
from site_builder.vendoring import vendored_files

WORKERS = max(1, min(4, os.cpu_count() or 1))
FORKS = sys.platform == "linux"
"""Whether a process may be copied: macOS allows no copy of one that has drawn, Windows none."""
KEPT = 300
"""The number of cached outcomes; older ones are deleted."""
RUNS_PAGES = ("blocks", "drawing", "faults", "running")
"""The modules of this builder on which outcomes depend."""
NOT_COPIED = {"figures", "overrides", "__pycache__"}
CHOOSES_KERNELS = (
    "NPY_", "NUMPY_", "OPENBLAS_", "GOTO_", "OMP_", "MKL_", "BLIS_", "VECLIB_", "PYTHON",
)  # fmt: skip
"""How the names of the environment variables begin that can change what a page prints."""


@frozen
class Places:
    """The folders of a build.

    Attributes
    ----------
    root
        The repository.
    """

    root: Path

    @property
    def docs(self) -> Path:
        """The pages that authors write."""
        return self.root / "docs"

    @property
    def figures(self) -> Path:
        """The modules with the functions that draw figures."""
        return self.docs / "figures"

    @property
    def build(self) -> Path:
        """The files that the builder keeps; git ignores them."""
        return self.root / "build"

    @property
    def prepared(self) -> Path:
        """The input of the renderers."""
        return self.build / "docs"


def prepare(places: Places, pages: Iterable[Path] | None = None) -> list[Fault]:
    """Create `build/docs/`, and return the faults of the pages.

    A fault in one page does not prevent the others from being composed.

    Raises
    ------
    VendoringError
        KaTeX, Mermaid or Pyodide could not be obtained.
    """
    packages = places.build / "packages"
    vendored = vendored_files(packages)
    python, problem = browser_python(places.root, packages, vendored)
    if problem:
        print(f"The pages cannot run Python in the browser. {problem}", file=sys.stderr)
    files: dict[str, bytes] = {
        f"assets/vendor/{path}": content for path, content in (vendored | python).items()
    }
    for file in _files(places.docs):
        if file.suffix not in (".md", ".txt"):
            files[file.relative_to(places.docs).as_posix()] = file.read_bytes()
    chosen = list(pages) if pages is not None else all_pages(places)
    faults: list[Fault] = []
    linked: set[Path] = set(source.modules(places.root))
    for page, outcomes in outcomes_of(places, chosen).items():
        composed = (
            compose(places.root, page, outcomes)
            if isinstance(outcomes, dict)
            else Composed(faults=[outcomes])
        )
        if isinstance(outcomes, dict) and not composed.faults:
            notebook = notebook_of(places.root, (places.root / page).read_text("utf-8"), outcomes)
            if notebook and page.name != "index.md":
                name = inside_site(page).with_suffix(".ipynb")
                files[name.as_posix()] = notebook.encode()
                composed.markdown = _with_link_to(name.name, composed.markdown)
        faults += composed.faults
        linked |= composed.sources
        files[inside_site(page).as_posix()] = composed.markdown.encode()
        files |= {path: picture.encode() for path, picture in composed.pictures.items()}
    files |= {path: text.encode() for path, text in _source_pages(places.root, linked).items()}
    _write(places.prepared, files)
    return sorted(faults)


def all_pages(places: Places) -> list[Path]:
    """The pages of the site, relative to the root of the repository."""
    return sorted(
        file.relative_to(places.root) for file in _files(places.docs) if file.suffix == ".md"
    )


def outcomes_of(
    places: Places, pages: Iterable[Path], *, fresh: bool = False
) -> dict[Path, dict[int, Outcome] | Fault]:
    """The outcomes of the blocks of each page: from the cache, or run in a process per page."""
    surroundings = _surroundings(places)
    kept = places.build / "outcomes"
    kept.mkdir(parents=True, exist_ok=True)
    found: dict[Path, dict[int, Outcome] | Fault] = {}
    names = {
        page: kept / f"{_key(surroundings, places.root / page, places.root)}.pickle"
        for page in pages
    }
    to_run = []
    for page, name in names.items():
        if runs_nothing(places.root / page):
            found[page] = {}
        elif fresh or not name.is_file():
            to_run.append(page)
    to_run.sort(key=lambda page: -(places.root / page).stat().st_size)
    with environment_of_pages(), _lanes() as lanes:
        running = {
            page: lanes.submit(Job(places.root / page, places.figures, FORKS).do) for page in to_run
        }
        for page, job in running.items():
            try:
                outcomes = found[page] = job.result()
                if not any(outcome.problem for outcome in outcomes.values()):
                    _keep(names[page], pickle.dumps(outcomes))
            except PageError as error:
                found[page] = Fault(page.as_posix(), error.line, error.problem)
    for page in set(names) - set(found):
        found[page] = pickle.loads(names[page].read_bytes())
    return {page: found[page] for page in names}


def _lanes() -> ProcessPoolExecutor:
    """The processes that run pages, one page at a time.

    Where they cannot be copied, each ends after one page.
    """
    context = multiprocessing.get_context("spawn")
    if FORKS:
        return ProcessPoolExecutor(WORKERS, context, initializer=import_in_advance)
    return ProcessPoolExecutor(WORKERS, context, max_tasks_per_child=1)


def _keep(file: Path, content: bytes) -> None:
    """Write the file completely, then rename it: other processes may read it at the same time."""
    part = file.with_name(f"{file.name}.{os.getpid()}")
    part.write_bytes(content)
    part.replace(file)
    # Outcomes of earlier versions of the pages are not needed again.
    for old in sorted(file.parent.iterdir(), key=lambda old: old.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(places: Places) -> Iterator[None]:
    """Allow one build at a time in this working tree; a second one waits for the first."""
    places.build.mkdir(exist_ok=True)
    with open(places.build / "lock", "w") as file:
        with contextlib.suppress(ImportError):  # Windows has no such lock
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _surroundings(places: Places) -> bytes:
    """The hash of everything that a page can depend on besides itself."""
    digest = hashlib.sha256("\n".join(_facts()).encode())
    files = [*_files(places.root / "src"), *_files(places.figures)]
    for file in [*files, *(Path(__file__).with_name(f"{name}.py") for name in RUNS_PAGES)]:
        digest.update(str(file).encode() + file.read_bytes())
    return digest.digest()


def _facts() -> Iterator[str]:
    """The Python, the installed packages, the processor and the variables that choose kernels."""
    yield f"{sys.executable} {sys.version} {platform.platform()}"
    yield from sorted(
        f"{package.name} {package.version}" for package in importlib.metadata.distributions()
    )
    with contextlib.redirect_stdout(io.StringIO()) as described:
        np.show_runtime()
    yield described.getvalue()
    for name, value in sorted(os.environ.items()):
        if name.startswith(CHOOSES_KERNELS):
            yield f"{name}={value}"


def _key(surroundings: bytes, page: Path, root: Path) -> str:
    digest = hashlib.sha256(surroundings + str(page).encode() + page.read_bytes())
    reads = READS.match(page.read_text(encoding="utf-8"))
    for file in _files(root / reads.group(1)) if reads else ():
        digest.update(file.read_bytes())
    return digest.hexdigest()[:32]


READS = re.compile(r"---\n(?:.*\n)*?reads: (.+)\n(?:.*\n)*?---\n")
"""The front matter of a page whose blocks read a folder of the repository: ``reads: tests``."""


def _files(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file()
        and not (set(file.relative_to(folder).parts[:-1]) & NOT_COPIED)
        and file.suffix != ".pyc"
    )


def _source_pages(root: Path, files: Iterable[Path]) -> dict[str, str]:
    """Create a page for every source file, and one that lists the modules."""
    pages = {}
    listed: dict[str, list[str]] = {}
    for file in sorted(files):
        target = source_page(file)
        pages[target.as_posix()] = _source_page(root, file)
        if file.parts[0] == "src":
            says = source.first_sentence(root / file)
            name = target.relative_to("source").as_posix()
            folder = ".".join(file.parts[1:-1])
            listed.setdefault(folder, []).append(f"| [`{file.name}`]({name}) | {says} |")
    text = "# Source code\n\nEvery module of the package, as of the build of this site.\n"
    for folder, rows in listed.items():
        text += f"\n## {folder}\n\n| module | |\n|---|---|\n" + "\n".join(rows) + "\n"
    pages["source/index.md"] = _unsearched(text)
    return pages


def _source_page(root: Path, file: Path) -> str:
    """The code with an anchor and a number for each line.

    It is HTML, so that the renderers see the anchors of the lines when they check links.
    """
    code = (root / file).read_text(encoding="utf-8").rstrip("\n")
    marked = highlight(code, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True))
    lines = "".join(
        f'<span class="row" id="{line_anchor(number)}" data-n="{number}">{line}\n</span>'
        for number, line in enumerate(marked.rstrip("\n").split("\n"), start=1)
    )
    title = file.as_posix().removeprefix("src/")
    return _unsearched(
        f'# {title}\n\n<div class="highlight file"><pre><code>{lines}</code></pre></div>\n',
        hide="[toc]",
        title=title,
    )


def _unsearched(text: str, **more: str) -> str:
    lines = "".join(f"{key}: {value}\n" for key, value in more.items())
    return f"---\n{lines}search:\n  exclude: true\n---\n\n{text}"


def _with_link_to(notebook: str, markdown: str) -> str:
    """The page with a link to its notebook below the title."""
    link = f"[Download as a notebook]({notebook}){{ .notebook download }}"
    return re.sub(r"^(# .*)$", rf"\1\n\n{link}", markdown, count=1, flags=re.MULTILINE)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make the folder contain exactly these files; unchanged files are not rewritten."""
    for path, content in files.items():
        target = folder / path
        if target.is_file() and target.read_bytes() == content:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    for old in [file for file in folder.rglob("*") if file.is_file()]:
        if old.relative_to(folder).as_posix() not in files:
            old.unlink()
    for empty in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if not any(empty.iterdir()):
            shutil.rmtree(empty)
