"""The house of the page on the design: its floors, and what each of them really imports.

The dots are read out of the source. A floor that imports from one below it, where the module is
loaded, cannot be drawn: the site is then not built.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

import chainrule

ROOT = Path(chainrule.__file__).parent
FLOORS = {
    "core": "#dcebf7",
    "layers": "#dcebf7",
    "graph": "#dcebf7",
    "calculus": "#dcebf7",
    "files": "#f3ead2",
    "storage": "#f3ead2",
    "training": "#fbe3d3",
    "display": "#d5f0e6",
    "datasets": "#eeeeee",
    "lecture": "#eeeeee",
    "__main__": "#eeeeee",
}
"""From the top down, each with its colour."""
ALWAYS, WHEN_CALLED = "#0072B2", "#D55E00"


def house() -> Figure:
    """Draw a row for each floor, with a dot in the column of each floor that it imports from."""
    names = list(FLOORS)
    figure, axes = plt.subplots(figsize=(4.6, 4.1), layout="none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(-3.6, len(names) + 0.1), ylim=(len(names) + 0.1, -2.6))
    axes.axis("off")
    for row, name in enumerate(names):
        axes.add_patch(plt.Rectangle((-3.5, row + 0.06), 3.4, 0.88, fc=FLOORS[name]))
        axes.text(-3.35, row + 0.5, name, va="center", size=10.5)
        axes.plot((0, row), (row + 0.5, row + 0.5), color="#cccccc", lw=0.8, zorder=1)
        if row + 1 < len(names):  # the last one is imported by nobody
            axes.text(row + 0.2, -0.2, name, rotation=60, ha="left", va="bottom", size=9.5)
            line = (row + 0.5, row + 0.5), (row + 1, len(names))
            axes.plot(*line, color="#eeeeee", lw=0.8, zorder=0)
    axes.plot((0, len(names)), (0, len(names)), color="#999999", lw=1.0, ls=":")
    for (start, end), is_always in imported().items():
        row, column = names.index(start), names.index(end)
        if is_always and column > row:
            raise ValueError(f"the floor {start} imports {end}, which stands below it")
        colour = ALWAYS if is_always else WHEN_CALLED
        axes.plot(
            column + 0.5, row + 0.5, "o", ms=7.5, mec=colour, mew=1.6, zorder=3,
            mfc=colour if is_always else "white",
        )  # fmt: skip
    axes.text(6.2, 1.5, "nothing is imported\nfrom below …", color="#555555", size=9.5, va="center")
    axes.text(6.2, 3.6, "… but when it\nis called", color=WHEN_CALLED, size=9.5, va="center")
    return figure


def imported() -> dict[tuple[str, str], bool]:
    """Which floor imports which other, and whether it does so whenever it is loaded itself."""
    found: dict[tuple[str, str], bool] = {}
    for file in sorted(ROOT.rglob("*.py")):
        start = file.relative_to(ROOT).parts[0].removesuffix(".py")
        if start == "__init__":
            continue
        for end, is_always in imports_of(ast.parse(file.read_text("utf-8"))):
            if end in FLOORS and end != start:
                found[start, end] = found.get((start, end), False) or is_always
    return found


def imports_of(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """The floors that a module imports from, and whether that happens when it is loaded."""
    at_once = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "chainrule":
            names = [_home(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
        for name in names:
            if name.startswith("chainrule."):
                yield name.split(".")[1], id(node) in at_once


def _home(name: str) -> str:
    """The module behind `from chainrule import name`."""
    places = {**chainrule._PLACES, **chainrule._MODULES}
    return places.get(name, f"chainrule.{name}")
