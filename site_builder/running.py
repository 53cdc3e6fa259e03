"""The Python of a page: its blocks run in order, in one namespace, as a reader types them.

A page has a process of its own, so that no page can lean on another, in an empty folder of its
own, so that what its blocks write is gone afterwards. The random generators are those that the
blocks make; a warning is an error, unless the block says otherwise to Python.

The options of a block:

    raises=ShapeError     it must raise that; its message is its output
    tolerance=1e-3        how far its numbers may move, relatively; absolute=1e-9 likewise
    output=text           or markdown, html, mermaid: what the printed text is; none: not shown
    unchecked             what it prints is shown and not compared (times, addresses of memory)
    hidden                it runs and is not shown; its output is
    figure="…"            its last line is a matplotlib figure, of which this is the description
    caption="…"           stands below that figure
    scroll                that figure may be wider than a phone, and is then moved under the thumb
    title="…" hl_lines="…"   as in every Markdown of this kind
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import os
import sys
import tempfile
import traceback
import types
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import define, frozen

from site_builder.blocks import Block, Part, blocks_of, parts_of
from site_builder.drawing import Drawing, drawing_of, uses_style
from site_builder.faults import PageError

OPTIONS = {
    "raises", "tolerance", "absolute", "output", "unchecked", "hidden", "figure", "caption",
    "scroll", "title", "hl_lines", "linenums",
}  # fmt: skip
OUTPUTS = {"text", "markdown", "html", "mermaid", "none"}


@define
class Outcome:
    """What came of a block that ran, or of a figure that was drawn.

    Attributes
    ----------
    printed
        What it printed; where it raised what it should, the name and the message of that too.
    problem
        Why it did not do what it should; None where all is well.
    problem_line
        The line of the page where that happened.
    drawing
        The figure that it made.
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
        The folder of the modules that have a function for each figure.

    Returns
    -------
    dict
        The outcome of each `python` and `figure` block, by the line where the block begins.
    """
    parts = parts_of(page.read_text(encoding="utf-8"))
    namespace = types.ModuleType("page")
    sys.modules["page"] = namespace  # classes of the page are looked up in their module
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
    return outcomes


def prepare_process() -> None:
    """What every process that runs pages begins with: the same on a laptop and in the build."""
    os.environ |= {"MPLBACKEND": "Agg", "COLUMNS": "80", "NO_COLOR": "1"}
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):
        os.environ.pop(name, None)


def settings_of(block: Block) -> dict[str, str]:
    """The keys and values of a block that has them as lines, `key: value`, in place of code.

    A line that begins with blanks goes on with the value above it.
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
            raise PageError(number, f"{line!r} should be a line like `key: value`")
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
            raise PageError(block.line, f"it should raise {block.options['raises']}, and did not")
    if "figure" in block.options and outcome.problem is None:
        outcome.drawing = _drawing(value, block, block.options)
    return outcome


def _check_options(block: Block) -> None:
    unknown = set(block.options) - OPTIONS
    if unknown:
        known = ", ".join(sorted(OPTIONS))
        raise PageError(
            block.line, f"there is no option {', '.join(sorted(unknown))}; there are {known}"
        )
    if block.options.get("output", "text") not in OUTPUTS:
        raise PageError(block.line, f"output= is one of {', '.join(sorted(OUTPUTS))}")
    for name in ("tolerance", "absolute"):
        try:
            float(block.options.get(name, 0))
        except ValueError:
            raise PageError(block.line, f"{name}= is a number, such as 1e-3") from None


def _compiled(block: Block, page: Path) -> tuple[Any, Any]:
    """The code, and its last line by itself where its value is a figure.

    Its lines have the numbers that they have on the page, so what goes wrong is told with them.
    """
    source = "\n" * block.line + block.content
    tree = ast.parse(source, str(page))
    last = None
    if "figure" in block.options:
        if not (tree.body and isinstance(tree.body[-1], ast.Expr)):
            raise PageError(block.line, "figure= takes the value of the last line: let it be one")
        expression = tree.body.pop()
        assert isinstance(expression, ast.Expr)
        last = compile(ast.Expression(expression.value), str(page), "eval")
    return compile(tree, str(page), "exec"), last


def _judge(error: Exception, block: Block, page: Path, outcome: Outcome) -> None:
    """Whether an exception is the one that the block announces."""
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
    wanted = f", and not {announced}" if announced else ""
    outcome.problem = f"it raises {name}{wanted}: {error}"


def _draw(block: Block) -> Outcome:
    settings = settings_of(block)
    unknown = set(settings) - {"name", "alt", "caption", "scroll"}
    if unknown or "name" not in settings:
        raise PageError(
            block.line, "a figure has the lines name: module.function, alt: …, caption: …, scroll:"
        )
    module, _, function = settings["name"].rpartition(".")
    try:
        draw = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise PageError(
            block.line, f"docs/figures has no {settings['name']} to draw this figure: {error}"
        ) from error
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
    """What a process of its own is asked to do with a page."""

    page: Path
    figures: Path

    def do(self) -> dict[int, Outcome]:
        """Run the page, with whatever it prints to the error stream kept out of the way."""
        prepare_process()
        return run_page(self.page, self.figures)
