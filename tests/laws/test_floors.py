"""The house: each floor imports from those above it, nothing is loaded before it is needed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import chainrule

ROOT = Path(chainrule.__file__).parent

FLOORS = [
    "core",
    "layers",
    "graph",
    "calculus",
    "files",
    "storage",
    "training",
    "display",
    "datasets",
    "lecture",
    "__main__",
]
"""From the top down, as the design has them. The front door, ``__init__``, may name them all."""

DOWNWARDS = {
    ("core/layer.py", "save", "storage"): "model.save(path), where everybody looks for it",
    ("core/layer.py", "save_weights", "storage"): "likewise",
    ("core/layer.py", "load_weights", "storage"): "likewise",
    ("calculus/laws.py", "returns", "storage"): "the law that a model comes back from its file",
}
"""The imports from a floor below, each inside a function, with the reason."""

TAUGHT = {("calculus/dual.py", "RULES"): "the table of rules, which `tangent_rule` adds to"}
"""What a module holds that a program may change while it runs, with the reason."""

PUBLIC = {**chainrule._PLACES, **chainrule._MODULES}
"""The module behind each name that ``from chainrule import …`` gives."""

MODULES = sorted(ROOT.rglob("*.py"))
each_module = pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))


def floor(path: Path) -> str:
    """The floor that a file stands on."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def statements(path: Path) -> Iterator[tuple[str | None, ast.stmt]]:
    """Every statement of a module, with the function that it stands in, or the word for types."""

    def inside(body: ast.AST, where: str | None) -> Iterator[tuple[str | None, ast.stmt]]:
        for node in ast.iter_child_nodes(body):
            if isinstance(node, ast.stmt):
                yield where, node
            own = None
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                own = node.name
            elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                own = "TYPE_CHECKING"
            yield from inside(node, where or own)

    return inside(ast.parse(path.read_text("utf-8")), None)


def imports(path: Path) -> Iterator[tuple[str | None, str]]:
    """The modules that a file imports, with the function in which it does."""
    for function, node in statements(path):
        if isinstance(node, ast.Import):
            yield from ((function, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written out in full"
            yield from ((function, module_of(str(node.module), name.name)) for name in node.names)


def module_of(module: str, name: str) -> str:
    """The module that ``from module import name`` loads last."""
    if module == "chainrule":
        return PUBLIC.get(name, f"chainrule.{name}")
    is_package = (ROOT.parent / module.replace(".", "/")).is_dir()
    return f"{module}.{name}" if is_package else module


def floors_imported(path: Path) -> Iterator[tuple[str | None, str]]:
    for function, name in imports(path):
        if name.startswith("chainrule."):
            yield function, name.split(".")[1]
        elif name == "chainrule":  # all that it names, which only the last floor may do
            yield function, "__main__"


def test_every_file_stands_on_a_floor_of_the_design():
    assert {floor(path) for path in MODULES} <= {*FLOORS, "__init__"}
    for name in ("core", "layers", "graph", "calculus", "storage", "training"):
        assert any(floor(path) == name for path in MODULES)


@each_module
def test_each_floor_imports_only_from_those_above_it(path):
    if path == ROOT / "__init__.py":
        return
    name, own = path.relative_to(ROOT).as_posix(), FLOORS.index(floor(path))
    for function, imported in floors_imported(path):
        if (name, function, imported) not in DOWNWARDS:
            assert FLOORS.index(imported) <= own, f"{name} imports {imported} in {function}"


def test_the_exceptions_are_all_there():
    found = {
        (path.relative_to(ROOT).as_posix(), function, imported)
        for path in MODULES
        for function, imported in floors_imported(path)
    }
    assert set(DOWNWARDS) <= found


def test_modules_import_each_other_in_no_circle():
    names = {
        ".".join(("chainrule", *p.relative_to(ROOT).with_suffix("").parts)): p for p in MODULES
    }
    edges = {
        name: {
            candidate
            for function, imported in imports(path)
            if function is None
            for candidate in names
            if imported == candidate or imported.startswith(f"{candidate}.")
        }
        for name, path in names.items()
        if not name.endswith("__init__")
    }
    done: set[str] = set()
    while len(done) < len(edges):
        free = {
            name for name, above in edges.items() if name not in done and above & {*edges} <= done
        }
        assert free, f"a circle among {sorted(set(edges) - done)}"
        done |= free


@each_module
def test_no_state_of_a_module_is_changed_at_run_time(path):
    """No `global`, and nothing of a module that one of its functions fills, empties or changes."""
    tree = ast.parse(path.read_text("utf-8"))
    names = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    } - {name for where, name in TAUGHT if where == path.relative_to(ROOT).as_posix()}
    changing = {
        "append",
        "add",
        "update",
        "setdefault",
        "pop",
        "clear",
        "extend",
        "insert",
        "remove",
    }
    for function, node in statements(path):
        if function is None:
            continue
        assert not isinstance(node, ast.Global), f"`global` in {function}"
        for part in ast.walk(node):
            match part:
                case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                    assert name not in names, f"{function} writes into {name}"
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attribute)):
                    assert not (name in names and attribute in changing), (
                        f"{function} calls {name}.{attribute}"
                    )


def loaded_by(program: str) -> set[str]:
    """The top-level modules that another Python has loaded after a program."""
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT.parent)},
        check=True,
    )
    return set(done.stdout.split())


def test_importing_chainrule_loads_nothing_that_is_not_needed_yet():
    modules = loaded_by("import chainrule")
    assert "chainrule" in modules
    assert not modules & {"rich", "matplotlib", "safetensors", "scipy", "torch", "numpy.f2py"}


def test_a_training_step_loads_neither_display_nor_storage():
    modules = loaded_by(
        "import numpy\n"
        "from chainrule import Activation, Dense, Sequential\n"
        "model = Sequential([Dense(2), Activation('tanh')])\n"
        "model.backward(model.forward(numpy.ones((2, 3))))"
    )
    assert not modules & {"rich", "matplotlib", "safetensors", "chainrule.storage"}
    assert not any(name.startswith(("chainrule.display", "chainrule.datasets")) for name in modules)


def test_every_public_name_can_be_had_and_is_listed():
    for name in chainrule.__all__:
        assert getattr(chainrule, name) is not None
        assert name in dir(chainrule)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = chainrule.nothing
