"""Composes the plain Markdown of a page from its blocks and their outcomes.

Python blocks are followed by their output; figures become two images, one for each theme; excerpts
become the code, with links to its lines in the source and to the test that checks it. All links are
Markdown links between files, so each renderer can convert and check them.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from attrs import define, field

from site_builder import source
from site_builder.blocks import Block, Part, Prose, expected_output, indented, parts_of
from site_builder.drawing import Drawing
from site_builder.faults import Fault, PageError
from site_builder.outputs import Tolerance, difference
from site_builder.running import Outcome, settings_of

IN_PROSE = re.compile(
    r"(?P<code>(?P<ticks>`+).+?(?P=ticks))"  # inline code is shown, and not a link
    r"|\[(?P<text>(?:`[^`\n]*`|[^\[\]`])*)\]\((?P<kind>source|test):(?P<name>[^()\s]+)\)"
)
EXCERPT = {"of", "line", "from", "to", "docstring", "equation", "test", "tests", "title"}
FRONT_MATTER = re.compile(r"\A---\n(.*?)^---\n", re.DOTALL | re.MULTILINE)


@define
class Composed:
    """A composed page.

    Attributes
    ----------
    markdown
        The input of the renderers.
    pictures
        Image files to write, by their path from the root of the site.
    sources
        The files of the repository that it links to.
    faults
        Its faults.
    """

    markdown: str = ""
    pictures: dict[str, str] = field(factory=dict)
    sources: set[Path] = field(factory=set)
    faults: list[Fault] = field(factory=list)


def compose(root: Path, page: Path, outcomes: Mapping[int, Outcome]) -> Composed:
    """Compose the Markdown of a page from its text and the outcomes of its blocks.

    Parameters
    ----------
    root
        The root of the repository.
    page
        The page, relative to the root.
    outcomes
        The outcomes by the first line of the block; see `running.run_page`.
    """
    return _Composer(root, page, outcomes).composed()


def rewritten(text: str, outcomes: Mapping[int, Outcome]) -> str:
    """The page with its expected outputs replaced by what the blocks printed."""
    lines = text.splitlines(keepends=True)
    parts = parts_of(text)
    for number in reversed(range(len(parts))):
        block = parts[number]
        if not isinstance(block, Block) or block.line not in outcomes or not is_compared(block):
            continue
        outcome, shown = outcomes[block.line], expected_output(parts, number)
        end = block.line - 1 + block.lines_on_page
        if shown:
            end = shown.line - 1 + shown.lines_on_page
        if outcome.problem or (not outcome.printed.strip() and not shown):
            continue
        start = block.line - 1 + block.lines_on_page
        fresh = f"\n```text\n{_tidy(outcome.printed)}```\n" if outcome.printed.strip() else ""
        lines[start:end] = [indented(fresh, block.indent)]
    return "".join(lines)


def is_compared(block: Block) -> bool:
    """Whether the output of a block is compared with the page."""
    return (
        block.language == "python"
        and "unchecked" not in block.options
        and block.options.get("output", "text") == "text"
    )


def inside_site(page: Path) -> PurePosixPath:
    """The path of a page, relative to `docs/`."""
    return PurePosixPath(page.as_posix()).relative_to("docs")


def source_page(file: Path) -> PurePosixPath:
    """The page that shows a file of the repository, relative to `docs/`."""
    inside = PurePosixPath(file.as_posix()).with_suffix("")
    if inside.parts[0] == "src":
        inside = inside.relative_to("src")
    if inside.name == "__init__":
        inside = inside.with_name("package")
    return PurePosixPath("source") / f"{inside}.md"


def line_anchor(line: int) -> str:
    """The anchor of a line on the page of a file."""
    return f"L{line}"


class _Composer:
    def __init__(self, root: Path, page: Path, outcomes: Mapping[int, Outcome]) -> None:
        self.root, self.page, self.outcomes = root, page, outcomes
        self.result = Composed()
        self.tolerance: Tolerance = Tolerance()
        self.has_mermaid = self.has_live = False
        self.number_of_pictures = 0

    def composed(self) -> Composed:
        text = (self.root / self.page).read_text(encoding="utf-8")
        try:
            parts = parts_of(text)
            self.tolerance = _tolerance_of_page(text)
        except PageError as error:
            self._fault(error.line, error.problem)
            return self.result
        written: list[str] = []
        passed_over: set[int] = set()
        for number, part in enumerate(parts):
            if part.line in passed_over:
                continue
            try:
                written.append(self._part(parts, number, passed_over))
            except PageError as error:
                self._fault(error.line, error.problem)
        self.result.markdown = self._with_meta("".join(written))
        return self.result

    def _part(self, parts: list[Part], number: int, passed_over: set[int]) -> str:
        part = parts[number]
        if isinstance(part, Prose):
            return self._prose(part)
        self.has_mermaid |= part.language == "mermaid"
        make: Callable[[Block], str] | None = {
            "figure": self._figure,
            "source": self._excerpt,
            "peer": _code,
        }.get(part.language)
        if part.language == "python":
            shown = expected_output(parts, number)
            if shown:
                passed_over.add(shown.line)
            made = self._python(part, shown)
        elif make:
            made = make(part)
        else:
            made = f"{part.fence.strip()}\n{part.content}{_closing(part)}\n"
        return indented(made, part.indent)

    def _outcome(self, block: Block) -> Outcome:
        if block.line not in self.outcomes:
            raise PageError(block.line, "the page changed during the build; build it again")
        return self.outcomes[block.line]

    # -- Python -------------------------------------------------------------------------------

    def _python(self, block: Block, shown: Block | None) -> str:
        outcome = self._outcome(block)
        if outcome.problem:
            raise PageError(outcome.problem_line or block.line, outcome.problem)
        if shown and not is_compared(block):
            raise PageError(shown.line, "this output is not compared with anything; remove it")
        if is_compared(block):
            self._compare(block, outcome.printed, shown)
        self.has_live |= "live" in block.options
        made = "" if "hidden" in block.options else _code(block)
        printed, kind = outcome.printed, block.options.get("output", "text")
        self.has_mermaid |= kind == "mermaid"
        if printed.strip() and kind != "none":
            made += "\n" + _output(printed, kind, "raises" in block.options)
        if outcome.drawing:
            made += "\n" + self._pictures(outcome.drawing)
        return made

    def _compare(self, block: Block, printed: str, shown: Block | None) -> None:
        if shown is None and printed.strip():
            raise PageError(
                block.line,
                "its output must follow in a ```text block, for comparison:\n"
                f"{_tidy(printed)}"
                f"`python -m site_builder accept {self.page}` inserts it; "
                "the option `unchecked` turns the comparison off",
            )
        options = block.options
        tolerance = Tolerance(
            float(options.get("tolerance", self.tolerance.relative)),
            float(options.get("absolute", self.tolerance.absolute)),
        )
        found = shown and difference(printed, shown.content, tolerance)
        if shown and found:
            raise PageError(shown.line, f"the output has changed\n{found}")

    # -- figures ------------------------------------------------------------------------------

    def _figure(self, block: Block) -> str:
        outcome = self._outcome(block)
        if outcome.problem or outcome.drawing is None:
            raise PageError(outcome.problem_line or block.line, outcome.problem or "not drawn")
        return self._pictures(outcome.drawing)

    def _pictures(self, drawing: Drawing) -> str:
        self.number_of_pictures += 1
        here = inside_site(self.page)
        stem = "-".join(here.with_suffix("").parts)
        images = []
        for theme, picture in (("light", drawing.light), ("dark", drawing.dark)):
            path = f"assets/figures/{stem}-{self.number_of_pictures}-{theme}.svg"
            self.result.pictures[path] = picture
            images.append(
                f"![{_plain(drawing.description)}]({self._address(PurePosixPath(path))}"
                f'#only-{theme}){{ width="{drawing.width:.0f}" '
                f'style="min-width: {drawing.least_width:.0f}px" loading="lazy" }}'
            )
        caption = " ".join(drawing.caption.split())
        below = f'<figcaption markdown="span">{caption}</figcaption>\n' if caption else ""
        return (
            '<figure class="drawn" markdown>\n<div class="frame" markdown>\n\n'
            + "\n".join(images)
            + f"\n\n</div>\n{below}</figure>\n"
        )

    # -- the source ---------------------------------------------------------------------------

    def _excerpt(self, block: Block) -> str:
        settings = settings_of(block)
        unknown = set(settings) - EXCERPT
        if unknown or "of" not in settings:
            raise PageError(
                block.line,
                f"an excerpt accepts the lines {', '.join(sorted(EXCERPT))}, and requires `of`"
                + (f"; unknown: {', '.join(sorted(unknown))}" if unknown else ""),
            )
        try:
            found = source.chosen(self.root, settings)
            names = settings.get("test", settings.get("tests", "")).split()
            held = " and ".join(self._test_link(name) for name in names)
        except source.NotFoundError as error:
            raise PageError(block.line, str(error)) from error
        where = self._link(found, _where(found))
        below = f"{where} · tested by: {held}" if held else where
        equation = settings.get("equation", "")
        paper = (
            f'<div class="paper" markdown>\n\n$$\n{equation}\n$$\n\n</div>\n' if equation else ""
        )
        title = settings.get("title", settings["of"].rpartition(":")[2])
        return (
            f'<div class="excerpt{" beside" if equation else ""}" markdown>\n{paper}'
            f'<div class="program" markdown>\n\n'
            f'```python title="{html.escape(title)}"\n{found.code.rstrip()}\n```\n\n'
            f"</div>\n\n{below}\n{{ .where }}\n\n</div>\n"
        )

    def _prose(self, prose: Prose) -> str:
        def linked(match: re.Match[str]) -> str:
            if match["code"]:
                return match[0]
            line = prose.line + prose.text.count("\n", 0, match.start())
            name, text = match["name"], match["text"]
            try:
                if match["kind"] == "test":
                    return self._test_link(name, text)
                code = f"`{name.rpartition(':')[2] or name}`"
                return self._link(source.find(self.root, name), text or code)
            except source.NotFoundError as error:
                raise PageError(line, str(error)) from error

        return IN_PROSE.sub(linked, prose.text)

    def _test_link(self, name: str, text: str = "") -> str:
        return self._link(source.find_test(self.root, name), text or source.test_title(name))

    def _link(self, excerpt: source.Excerpt, text: str) -> str:
        self.result.sources.add(excerpt.file)
        anchor = line_anchor(excerpt.first)
        return f"[{text}]({self._address(source_page(excerpt.file))}#{anchor})"

    def _address(self, target: PurePosixPath) -> str:
        here = inside_site(self.page).parent
        return os.path.relpath(target.as_posix(), here.as_posix()).replace(os.sep, "/")

    # -- the page as a whole ------------------------------------------------------------------

    def _with_meta(self, markdown: str) -> str:
        """Tell the template which scripts the page needs besides those of all pages."""
        needs = {"mermaid": self.has_mermaid, "live": self.has_live}
        lines = "".join(f"{name}: true\n" for name, needed in needs.items() if needed)
        if not lines:
            return markdown
        if FRONT_MATTER.match(markdown):
            return markdown.replace("---\n", f"---\n{lines}", 1)
        return f"---\n{lines}---\n\n{markdown}"

    def _fault(self, line: int, problem: str) -> None:
        self.result.faults.append(Fault(self.page.as_posix(), line, problem))


def _where(excerpt: source.Excerpt) -> str:
    file = excerpt.file.as_posix().removeprefix("src/")
    if excerpt.first == excerpt.last:
        return f"{file}, line {excerpt.first}"
    return f"{file}, lines {excerpt.first}–{excerpt.last}"


def _tolerance_of_page(text: str) -> Tolerance:
    matter = FRONT_MATTER.match(text)
    sizes = {}
    for name in ("tolerance", "absolute"):
        found = matter and re.search(rf"^{name}:\s*(\S+)\s*$", matter[1], re.MULTILINE)
        try:
            sizes[name] = float(found[1]) if found else 0.0
        except ValueError as error:
            raise PageError(1, f"{name} must be a number, such as 1e-6") from error
    return Tolerance(sizes["tolerance"], sizes["absolute"])


def _code(block: Block) -> str:
    shown = " ".join(
        f'{key}="{block.options[key]}"'
        for key in ("title", "hl_lines", "linenums")
        if key in block.options
    )
    if "live" in block.options:
        return f"``` {{ .python .runnable {shown} }}\n{block.content}```\n"
    return f"```python {shown}".rstrip() + f"\n{block.content}```\n"


def _output(printed: str, kind: str, is_error: bool) -> str:
    if kind == "text":
        look = ".output .raised" if is_error else ".output"
        return f"``` {{ .text {look} .no-copy }}\n{_tidy(printed)}```\n"
    if kind == "mermaid":
        return f"```mermaid\n{_tidy(printed)}```\n"
    return f"{printed.strip()}\n"


def _tidy(printed: str) -> str:
    lines = [line.rstrip() for line in printed.strip("\n").splitlines()]
    return "\n".join(lines) + "\n"


def _closing(block: Block) -> str:
    opening = block.fence.strip()
    return opening[: len(opening) - len(opening.lstrip(opening[0]))]


def _plain(description: str) -> str:
    """A description with Markdown characters escaped."""
    return re.sub(r"([\[\]\\`*_])", r"\\\1", " ".join(description.split()))
