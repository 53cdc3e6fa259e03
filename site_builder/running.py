"""Runs the Python of a page: its blocks in order, in one namespace, as a reader would type them.

Every page runs in its own process, so it cannot depend on another page, and in its own temporary
folder, so the files that its blocks write are deleted afterwards. The blocks create their own
random generators. A warning is an error, unless the block changes the filter.

The options of a block:

    raises=ShapeError     it must raise this error; the message is its output
    tolerance=1e-3        the relative tolerance for its numbers; absolute=1e-9 likewise
    output=text           or markdown, html, mermaid: the format of the output; none: not shown
    unchecked             its output is shown and not compared (times, memory addresses)
    hidden                it runs and is not shown; its output is shown
    figure="…"            its last line is a matplotlib figure; the text describes the figure
    caption="…"           the caption of that figure
    scroll                that figure may be wider than a phone, and scrolls there
    live                  a reader can change it and run it in the browser, after the blocks
                          above it that are live
    title="…" hl_lines="…"   as in Material for MkDocs
"""

from __future__ import annotations

import ast
import atexit
import contextlib
import importlib
import io
import multiprocessing
import os
import sys
import tempfile
import traceback
import types
import warnings
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from attrs import define, frozen

from site_builder.blocks import Block, Part, blocks_of, parts_of
from site_builder.drawing import Drawing, drawing_of, uses_style
from site_builder.faults import PageError

OPTIONS = {
    "raises", "tolerance", "absolute", "output", "unchecked", "hidden", "figure", "caption",
    "scroll", "live", "title", "hl_lines", "linenums",
}  # fmt: skip
OUTPUTS = {"text", "markdown", "html", "mermaid", "none"}
IMPORTED_BY_MANY = ("matplotlib.pyplot", "matplotlib.backends.backend_svg", "chainrule", "sympy")
"""What most pages import; together it takes longer than the code of a usual page."""
ENVIRONMENT = {"MPLBACKEND": "Agg", "COLUMNS": "80", "NO_COLOR": "1", "OPENBLAS_NUM_THREADS": "1"}
"""The environment of a page, the same on every machine. Pages run at once, each on one core."""
NOT_IN_ENVIRONMENT = ("FORCE_COLOR", "CLICOLOR_FORCE")


@define
class Outcome:
    """The outcome of a block that ran, or of a figure that was drawn.

    Attributes
    ----------
    printed
        Its output; if it raised the expected error, also the name and message of that error.
    problem
        The problem; None if there is none.
    problem_line
        The line of the page where the problem occurred.
    drawing
        The figure that it created.
    """

    printed: str = ""
    problem: str | None = None
    problem_line: int = 0
    drawing: Drawing | None = None


def run_page(page: Path, figures: Path) -> dict[int, Outcome]:
    """Run the Python blocks of a page and draw its figures.

    Parameters
    ----------
    page
        The Markdown file.
    figures
        The folder with the modules that contain a function for each figure.

    Returns
    -------
    dict
        The outcome of each `python` and `figure` block, by its first line.
    """
    parts = parts_of(page.read_text(encoding="utf-8"))
    namespace = types.ModuleType("page")
    sys.modules["page"] = namespace  # classes of the page are looked up in this module
    sys.path.insert(0, str(figures))
    outcomes: dict[int, Outcome] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), uses_style():
        for block in _that_run(parts):
            try:
                outcomes[block.line] = (
                    _run(block, page, namespace.__dict__)
                    if block.language == "python"
                    else _draw(block)
                )
            except PageError as error:
                outcomes[block.line] = Outcome(problem=error.problem, problem_line=error.line)
    _end_processes()
    return outcomes


def _end_processes() -> None:
    """End the processes that joblib keeps for the next search, five minutes long.

    A process of `multiprocessing` waits for those that it has started.
    """
    loky = sys.modules.get("joblib.externals.loky")
    if loky is not None:
        loky.get_reusable_executor().shutdown(wait=True)


def runs_nothing(page: Path) -> bool:
    """Whether a page has no block that runs and no figure; not if it cannot be read."""
    try:
        return not _that_run(parts_of(page.read_text(encoding="utf-8")))
    except PageError:
        return False


@contextlib.contextmanager
def environment_of_pages() -> Iterator[None]:
    """Change the environment to that of the pages, for the processes that are started meanwhile.

    NumPy reads the number of threads when it is imported, which the start of a process does.
    """
    before = dict(os.environ)
    os.environ |= ENVIRONMENT
    for name in NOT_IN_ENVIRONMENT:
        os.environ.pop(name, None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def import_in_advance() -> None:
    """Import what most pages need, once for all pages that this process runs."""
    for name in IMPORTED_BY_MANY:
        with contextlib.suppress(ImportError):  # the page that needs it will say so
            importlib.import_module(name)


def settings_of(block: Block) -> dict[str, str]:
    """The settings of a block that has lines `key: value` instead of code.

    A line that begins with spaces continues the value above it.
    """
    found: dict[str, str] = {}
    key = ""
    for number, line in enumerate(block.content.splitlines(), start=block.line + 1):
        if not line.strip():
            continue
        if line.startswith(" ") and key:
            found[key] += "\n" + line.strip()
            continue
        key, colon, value = line.partition(":")
        if not colon:
            raise PageError(number, f"{line!r} should have the form `key: value`")
        found[key.strip()] = value.strip()
    return found


def _that_run(parts: Sequence[Part]) -> list[Block]:
    return sorted(
        blocks_of(parts, "python") + blocks_of(parts, "figure"), key=lambda block: block.line
    )


def _run(block: Block, page: Path, namespace: dict[str, Any]) -> Outcome:
    _check_options(block)
    outcome = Outcome()
    printed = io.StringIO()
    try:
        code, last = _compiled(block, page)
        with warnings.catch_warnings(), contextlib.redirect_stdout(printed):
            warnings.simplefilter("error")
            exec(code, namespace)
            value = eval(last, namespace) if last else None
        outcome.printed = printed.getvalue()
    except Exception as error:
        outcome.printed = printed.getvalue()
        _judge(error, block, page, outcome)
        value = None
    else:
        if "raises" in block.options:
            raise PageError(block.line, f"it should raise {block.options['raises']}, but did not")
    if "figure" in block.options and outcome.problem is None:
        outcome.drawing = _drawing(value, block, block.options)
    return outcome


def _check_options(block: Block) -> None:
    unknown = set(block.options) - OPTIONS
    if unknown:
        known = ", ".join(sorted(OPTIONS))
        raise PageError(
            block.line, f"unknown option {', '.join(sorted(unknown))}; the options are {known}"
        )
    if block.options.get("output", "text") not in OUTPUTS:
        raise PageError(block.line, f"output= must be one of {', '.join(sorted(OUTPUTS))}")
    for name in ("tolerance", "absolute"):
        try:
            float(block.options.get(name, 0))
        except ValueError:
            raise PageError(block.line, f"{name}= must be a number, such as 1e-3") from None


def _compiled(block: Block, page: Path) -> tuple[Any, Any]:
    """The compiled code, and separately its last expression if its value is a figure.

    The code keeps the line numbers of the page, so errors are reported with them.
    """
    source = "\n" * block.line + block.content
    tree = ast.parse(source, str(page))
    last = None
    if "figure" in block.options:
        if not (tree.body and isinstance(tree.body[-1], ast.Expr)):
            raise PageError(block.line, "with figure=, the last line must be an expression")
        expression = tree.body.pop()
        assert isinstance(expression, ast.Expr)
        last = compile(ast.Expression(expression.value), str(page), "eval")
    return compile(tree, str(page), "exec"), last


def _judge(error: Exception, block: Block, page: Path, outcome: Outcome) -> None:
    """Record whether an exception is the one that the block announces."""
    name = type(error).__name__
    announced = block.options.get("raises")
    if announced == name:
        outcome.printed += f"{name}: {error}\n"
        return
    lines = [
        frame.lineno or 0
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(page)
    ]
    if isinstance(error, SyntaxError) and error.filename == str(page):
        lines = [error.lineno or block.line]
    outcome.problem_line = lines[-1] if lines else block.line
    wanted = f" instead of {announced}" if announced else ""
    outcome.problem = f"it raises {name}{wanted}: {error}"


def _draw(block: Block) -> Outcome:
    settings = settings_of(block)
    unknown = set(settings) - {"name", "alt", "caption", "scroll"}
    if unknown or "name" not in settings:
        raise PageError(
            block.line,
            "a figure has the lines name: module.function, alt: …, caption: …, scroll:",
        )
    module, _, function = settings["name"].rpartition(".")
    try:
        draw = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise PageError(block.line, f"docs/figures has no {settings['name']}: {error}") from error
    try:
        figure = draw()
    except Exception as error:
        told = "".join(traceback.format_exception(error)[-2:])
        raise PageError(block.line, f"{settings['name']} cannot be drawn:\n{told}") from error
    return Outcome(drawing=_drawing(figure, block, settings | {"figure": settings.get("alt", "")}))


def _drawing(figure: Any, block: Block, options: Any) -> Drawing:
    try:
        return drawing_of(
            figure,
            description=options["figure"],
            caption=options.get("caption", ""),
            may_scroll="scroll" in options,
        )
    except ValueError as error:
        raise PageError(block.line, str(error)) from error


@frozen
class Job:
    """The task of running a page.

    Attributes
    ----------
    page
        The Markdown file.
    figures
        The folder with the modules that draw figures.
    forks
        Whether the page runs in a copy of this process, which leaves this process as it was.
    """

    page: Path
    figures: Path
    forks: bool = False

    def do(self) -> dict[int, Outcome]:
        """Run the page.

        Raises
        ------
        PageError
            A block or a figure is not written as it should be.
        """
        if not self.forks:
            return run_page(self.page, self.figures)
        context = multiprocessing.get_context("fork")
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(target=self._answer, args=(sending,))
        process.start()
        sending.close()
        try:
            answer: dict[int, Outcome] | Exception = receiving.recv()
        except EOFError:
            process.join()
            raise PageError(1, f"its process ended with status {process.exitcode}") from None
        process.join()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _answer(self, sending: Connection) -> None:
        try:
            answer: dict[int, Outcome] | Exception = run_page(self.page, self.figures)
        except Exception as error:
            answer = error
        # As at the end of a program: joblib deletes its folders. A forked process ends without it.
        atexit._run_exitfuncs()
        sending.send(answer)
        sending.close()
