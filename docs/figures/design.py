"""The packages of the page on the design, and what each of them really imports.

The dots are read from the source. If a package imports one below it when it is loaded, the figure
raises an error and the site is not built.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

import chainrule

ROOT = Path(chainrule.__file__).parent
PACKAGES = {
    "core": "#dcebf7",
    "figure_style": "#f3ead2",
    "files": "#f3ead2",
    "layers": "#dcebf7",
    "graph": "#dcebf7",
    "calculus": "#dcebf7",
    "symbolic": "#dcebf7",
    "storage": "#f3ead2",
    "losses": "#fbe3d3",
    "optimizers": "#fbe3d3",
    "data": "#fbe3d3",
    "checkpoints": "#fbe3d3",
    "callbacks": "#fbe3d3",
    "schedules": "#fbe3d3",
    "training": "#fbe3d3",
    "fitting": "#e8dcf7",
    "physics": "#e8dcf7",
    "display": "#d5f0e6",
    "datasets": "#eeeeee",
    "interop": "#d5f0e6",
    "lecture": "#eeeeee",
    "command": "#eeeeee",
    "__main__": "#eeeeee",
}
"""Every package from the top down, with its colour; some are single modules."""
ALWAYS, WHEN_CALLED = "#0072B2", "#D55E00"
WIDTH, NAMES, HEADINGS, SLANT = 4.6, 1.05, 1.0, 0.35
"""The width of the figure, of its column of names, of its row of headings, and of what the last
heading needs to the right of its column, in inches."""


def packages() -> list[str]:
    """The packages that the source contains, from the top down."""
    present = {path.name.removesuffix(".py") for path in ROOT.iterdir()}
    return [name for name in PACKAGES if name in present]


def imports() -> Figure:
    """Draw a row for each package, with a dot in the column of each package that it imports."""
    names = packages()
    unit = (WIDTH - NAMES - SLANT) / (len(names) + 0.1)  # of a row and of a column, in inches
    left, top = NAMES / unit, HEADINGS / unit
    figure, axes = plt.subplots(figsize=(WIDTH, HEADINGS + WIDTH - NAMES - SLANT), layout="none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(-left, len(names) + 0.1 + SLANT / unit), ylim=(len(names) + 0.1, -top))
    axes.axis("off")
    for row, name in enumerate(names):
        box = plt.Rectangle((0.1 - left, row + 0.06), left - 0.2, 0.88, fc=PACKAGES[name])
        axes.add_patch(box)
        axes.text(0.3 - left, row + 0.5, name, va="center", size=9)
        axes.plot((0, row), (row + 0.5, row + 0.5), color="#cccccc", lw=0.8, zorder=1)
        if row + 1 < len(names):  # no package imports the last one
            axes.text(row + 0.2, -0.2, name, rotation=60, ha="left", va="bottom", size=9)
            line = (row + 0.5, row + 0.5), (row + 1, len(names))
            axes.plot(*line, color="#eeeeee", lw=0.8, zorder=0)
    axes.plot((0, len(names)), (0, len(names)), color="#999999", lw=1.0, ls=":")
    for (start, end), is_always in imported().items():
        row, column = names.index(start), names.index(end)
        if is_always and column > row:
            raise ValueError(f"the package {start} imports {end}, which is below it")
        colour = ALWAYS if is_always else WHEN_CALLED
        axes.plot(
            column + 0.5, row + 0.5, "o", ms=7, mec=colour, mew=1.5, zorder=3,
            mfc=colour if is_always else "white",
        )  # fmt: skip
    x, y = 0.57 * len(names), 0.14 * len(names)
    note = {"size": 9.5, "va": "center"}
    axes.text(x, y, "no package below\nis imported …", color="#555555", **note)
    axes.text(x, 2.3 * y, "… except inside\na function,\nor for types", color=WHEN_CALLED, **note)
    return figure


def imported() -> dict[tuple[str, str], bool]:
    """Which package imports which other one, and whether it does so whenever it is loaded."""
    found: dict[tuple[str, str], bool] = {}
    for file in sorted(ROOT.rglob("*.py")):
        start = file.relative_to(ROOT).parts[0].removesuffix(".py")
        if start not in PACKAGES:  # a public path
            continue
        for end, is_always in imports_of(ast.parse(file.read_text("utf-8"))):
            if end in PACKAGES and end != start:
                found[start, end] = found.get((start, end), False) or is_always
    return found


def imports_of(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """The packages that a module imports, and whether it does so when it is loaded."""
    at_once = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "chainrule":
            names = [_module_of(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
        for name in names:
            if name.startswith("chainrule."):
                yield name.split(".")[1], id(node) in at_once


def _module_of(name: str) -> str:
    """The module that `from chainrule import name` loads."""
    places = {**chainrule._PLACES, **chainrule._MODULES}
    return places.get(name, f"chainrule.{name}")
