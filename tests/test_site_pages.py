"""The pages that list something list all of it: names, errors, laws, laws."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
import types
from pathlib import Path
from typing import Any

import pytest

import chainrule
from chainrule import storage
from chainrule.calculus.laws import LAWS
from chainrule.core.errors import ChainruleError

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = {
    page.relative_to(DOCS).as_posix(): page.read_text("utf-8")
    for page in sorted((DOCS / "reference").rglob("*.md"))
}
ERRORS, GLOSSARY, DESIGN = (
    (DOCS / f"{name}.md").read_text("utf-8") for name in ("errors", "glossary", "design")
)

EDGES = "chainrule.interop."
"""What begins so needs the library of an edge, and is tested by `make edges`."""

DIRECTIVES = [
    path for text in REFERENCE.values() for path in re.findall(r"^::: (\S+)$", text, re.MULTILINE)
]
"""What the reference shows: the full names behind `:::`."""
WITHOUT_EDGES = [path for path in DIRECTIVES if not path.startswith(EDGES)]


def thing(path: str) -> Any:
    """What a full name such as `chainrule.losses.Huber` stands for."""
    found: Any = chainrule
    for name in path.split(".")[1:]:
        if isinstance(found, types.ModuleType) and not hasattr(found, name):
            importlib.import_module(f"{found.__name__}.{name}")
        found = getattr(found, name)
    return found


def marked(names: list[str]) -> list[Any]:
    """The names, those of an edge with its mark."""
    return [pytest.param(n, marks=pytest.mark.edges) if n.startswith(EDGES) else n for n in names]


def public_names() -> list[str]:
    """All that a program may import: from chainrule, and from the modules that it names."""
    modules = {name: thing(f"chainrule.{name}") for name in chainrule._MODULES}
    names = [f"chainrule.{name}" for name in chainrule.__all__]
    for name, module in {**modules, "storage": storage}.items():
        own = [
            key
            for key, value in vars(module).items()
            if inspect.isfunction(value)
            and value.__module__ == module.__name__
            and not key.startswith("_")
        ]
        names += [f"chainrule.{name}.{key}" for key in getattr(module, "__all__", own)]
    return sorted(set(names))


def told_by_name() -> list[type]:
    """The errors and warnings of chainrule that a program may see, wherever they are defined."""
    for module in pkgutil.walk_packages(chainrule.__path__, "chainrule."):
        if not module.name.endswith("__main__") and not module.name.startswith(EDGES):
            importlib.import_module(module.name)
    found: list[type] = []
    to_see: list[type] = [ChainruleError, Warning]
    while to_see:
        kind = to_see.pop()
        to_see += kind.__subclasses__()
        if kind.__module__.startswith("chainrule.") and not kind.__name__.startswith("_"):
            found.append(kind)
    return sorted(set(found), key=lambda kind: kind.__name__)


def section(text: str, title: str) -> str:
    """What stands below a heading, up to the next of its level or a higher one."""
    heading = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert heading, f"there is no heading {title}"
    rest = text[heading.end() :]
    end = re.search(rf"^#{{1,{len(heading[1])}}} ", _without_code(rest), re.MULTILINE)
    return rest[: end.start()] if end else rest


def _without_code(text: str) -> str:
    """The text with blanks in the place of its blocks, so that a comment is no heading."""
    return re.sub(
        r"^```.*?^```$", lambda found: " " * len(found[0]), text, flags=re.MULTILINE | re.DOTALL
    )


# ------------------------------------------------------------------------------- the reference


@pytest.mark.parametrize("name", marked(public_names()))
def test_every_public_name_is_in_the_reference(name):
    assert name in DIRECTIVES or any(thing(path) is thing(name) for path in WITHOUT_EDGES), (
        f"write ::: {name} on the page of docs/reference/ on which it belongs"
    )


@pytest.mark.parametrize("path", marked(DIRECTIVES))
def test_what_the_reference_shows_is_there_and_says_what_it_is(path):
    assert inspect.getdoc(thing(path))


def test_nothing_is_in_the_reference_twice():
    assert len(DIRECTIVES) == len(set(DIRECTIVES))
    assert len(WITHOUT_EDGES) == len({id(thing(path)) for path in WITHOUT_EDGES})


def test_every_page_of_the_reference_is_linked_from_its_first():
    first = REFERENCE["reference/index.md"] + REFERENCE["reference/training/index.md"]
    for page in REFERENCE:
        name = page.removeprefix("reference/").removeprefix("training/")
        assert name == "index.md" or f"({name})" in first, page


@pytest.mark.parametrize("page", ["errors.md", "glossary.md", "design.md", *REFERENCE])
def test_a_linked_name_is_in_the_reference(page):
    for name in re.findall(r"\]\[(chainrule[\w.]*)\]", (DOCS / page).read_text("utf-8")):
        owner = name.rpartition(".")[0]  # of a method
        assert name in DIRECTIVES or (owner in DIRECTIVES and inspect.getdoc(thing(name))), name


# ---------------------------------------------------------------------------------- the errors


@pytest.mark.parametrize("kind", told_by_name(), ids=lambda kind: kind.__name__)
def test_every_error_and_every_warning_is_shown_with_its_fix(kind):
    told = section(ERRORS, kind.__name__)
    assert kind.__doc__
    if kind is ChainruleError:
        return
    assert "**Fix:**" in told
    if kind.__subclasses__():  # what others are; these are shown
        return
    if issubclass(kind, ChainruleError):
        assert f"```python raises={kind.__name__}\n" in told
    assert f"```text\n{kind.__name__}: " in told, "an example that raises it, with its message"


def test_the_page_of_errors_has_none_that_does_not_exist():
    headings = re.findall(r"^###? (\w+(?:Error|Warning))$", ERRORS, re.MULTILINE)
    assert sorted(headings) == [kind.__name__ for kind in told_by_name()]


def test_every_error_can_be_linked_by_its_full_name():
    for kind in told_by_name():
        if issubclass(kind, ChainruleError):
            place = f"[](){{ #{kind.__module__}.{kind.__name__} }}\n\n"
            assert re.search(rf"{re.escape(place)}###? {kind.__name__}$", ERRORS, re.MULTILINE)


# ---------------------------------------------------------------------------------- the design


def test_the_design_has_every_law_in_order_with_the_function_that_proves_it():
    rows = re.findall(r"^\| (\d+) \| \*(\w+)\* \| .*\[\]\(source:([\w.]+):(\w+)\)", DESIGN, re.M)
    assert [(int(number), name.lower()) for number, name, _, _ in rows] == list(enumerate(LAWS, 1))
    for _, law, module, function in rows:
        assert LAWS[law.lower()] is getattr(importlib.import_module(module), function)


def figure_of_the_packages() -> types.ModuleType:
    """The module that draws the packages and their imports, as the site does."""
    return module_of(DOCS / "figures" / "design.py")


def module_of(file: Path) -> types.ModuleType:
    specification = importlib.util.spec_from_file_location(f"site_{file.stem}", file)
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_figure_has_the_packages_and_the_imports_that_the_laws_have():
    drawn = figure_of_the_packages()
    laws = module_of(ROOT / "tests" / "laws" / "test_packages.py")
    assert drawn.packages() == [name for name in laws.PACKAGES if name not in laws.PATHS]
    found = {
        (laws.package(path), imported)
        for path in laws.MODULES
        if path != laws.ROOT / "__init__.py" and laws.package(path) not in laws.PATHS
        for _, imported in laws.packages_imported(path)
        if imported != laws.package(path) and imported not in laws.PATHS
    }
    assert set(drawn.imported()) == found
    downwards = {(file.split("/")[0], to) for file, _, to in laws.EXCEPTIONS}
    assert {
        (start, end)
        for start, end in drawn.imported()
        if laws.PACKAGES.index(end) > laws.PACKAGES.index(start)
    } == downwards


def test_a_package_that_imports_one_below_it_cannot_be_drawn(monkeypatch):
    import matplotlib

    drawn = figure_of_the_packages()
    monkeypatch.setattr(drawn, "imported", lambda: {("core", "training"): True})
    with matplotlib.rc_context({"backend": "Agg"}), pytest.raises(ValueError, match="below"):
        drawn.imports()
    drawn.plt.close("all")


def test_the_design_says_what_every_package_contains():
    rows = re.findall(r"^\| `(\w+)` \| .+ \| \[", section(DESIGN, "The packages"), re.MULTILINE)
    assert rows == [name for name in figure_of_the_packages().PACKAGES if name != "__main__"]


# ------------------------------------------------------------------------------- one source


@pytest.mark.parametrize(
    ("page", "source"),
    [
        ("changelog.md", "CHANGELOG.md"),
        ("contributing/index.md", "CONTRIBUTING.md"),
        ("security.md", "SECURITY.md"),
    ],
)
def test_a_page_that_is_also_a_file_at_the_root_is_that_file(page, source):
    assert (DOCS / page).resolve() == ROOT / source
    assert (DOCS / page).read_text("utf-8").startswith("# ")
