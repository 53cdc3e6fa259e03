"""The packages: each imports from those above it, and nothing is loaded before it is needed."""

from __future__ import annotations

import ast
import functools
import importlib
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import chainrule

ROOT = Path(chainrule.__file__).parent

PACKAGES = [
    "core",
    "errors",
    "initializers",
    "figure_style",
    "files",
    "layers",
    "graph",
    "calculus",
    "derivatives",
    "symbolic",
    "storage",
    "losses",
    "optimizers",
    "data",
    "checkpoints",
    "callbacks",
    "schedules",
    "training",
    "metrics",
    "fitting",
    "physics",
    "display",
    "datasets",
    "interop",
    "lecture",
    "command",
    "__main__",
]
"""Each imports only from those above it. ``chainrule/__init__.py`` names them all."""

TRAINER = "a callback is given the trainer; at run time it imports nothing for it"
EXCEPTIONS = {
    ("core/layer.py", "save", "storage"): "model.save(path), where users look for it",
    ("core/layer.py", "save_weights", "storage"): "likewise",
    ("core/layer.py", "load_weights", "storage"): "likewise",
    ("core/layer.py", "predict", "data"): "model.predict(x), where users look for it",
    ("core/layer.py", "_repr_html_", "display"): "a notebook shows the layers as a table",
    ("calculus/laws.py", "returns", "storage"): "the law that a model survives its file",
    ("training/trainer.py", "_second_phase", "fitting"): "fit(…, then='L-BFGS-B')",
    ("training/run.py", "_minimize", "fitting"): "likewise",
    ("callbacks/__init__.py", "TYPE_CHECKING", "schedules"): "the public callbacks.LearningRate",
    ("schedules/__init__.py", "TYPE_CHECKING", "training"): "the public schedules.range_test",
    ("schedules/__init__.py", "__getattr__", "training"): "likewise",
    ("schedules/learning_rate.py", "TYPE_CHECKING", "training"): TRAINER,
    ("callbacks/callback.py", "TYPE_CHECKING", "training"): TRAINER,
    ("callbacks/checkpoint.py", "TYPE_CHECKING", "training"): TRAINER,
    ("callbacks/csv_logger.py", "TYPE_CHECKING", "training"): TRAINER,
    ("callbacks/early_stopping.py", "TYPE_CHECKING", "training"): TRAINER,
    ("callbacks/from_functions.py", "TYPE_CHECKING", "training"): TRAINER,
    ("callbacks/monitoring.py", "TYPE_CHECKING", "training"): TRAINER,
    ("callbacks/tensorboard.py", "TYPE_CHECKING", "training"): TRAINER,
}
"""The imports from a package below, with the reason. None of them is made at import time."""

PATHS = dict.fromkeys(("errors", "initializers", "derivatives", "metrics"), "this file")
"""Modules that are only the public path of a module inside a package, and what tests them."""

OUTSIDE = {"figure_style": "tests of the figures", "command": "tests/test_main.py", **PATHS}
"""Modules without tests of their own, and what tests them."""

LARGEST_SHARE = 0.20
"""No package holds more of the source than this."""
LARGEST_CYCLE = 8
"""No more modules may depend on each other, also through types and imports inside functions."""

TAUGHT = {("calculus/dual.py", "RULES"): "the table of rules, which `tangent_rule` adds to"}
"""What a module holds that a program may change while it runs, with the reason."""

PUBLIC = {**chainrule._PLACES, **chainrule._MODULES}
"""The module behind each name that ``from chainrule import …`` gives."""

MODULES = sorted(ROOT.rglob("*.py"))
each_module = pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))


def package(path: Path) -> str:
    """The package, or the top-level module, that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def dotted(path: Path) -> str:
    """The name by which a module is imported."""
    return ".".join(("chainrule", *path.relative_to(ROOT).with_suffix("").parts))


@functools.cache
def statements(path: Path) -> list[tuple[str | None, ast.stmt]]:
    """Every statement of a module, with the function it is in, or TYPE_CHECKING."""

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

    return list(inside(ast.parse(path.read_text("utf-8")), None))


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


def packages_imported(path: Path) -> Iterator[tuple[str | None, str]]:
    for function, name in imports(path):
        if name.startswith("chainrule."):
            yield function, name.split(".")[1]
        elif name == "chainrule":  # everything that it names, which only the last may do
            yield function, "__main__"


def dependencies(functions: bool) -> dict[str, set[str]]:
    """Which modules each module imports; with ``functions`` also for types and in functions.

    An import of a package's own ``__init__`` counts as one of the module that defines the name.
    """
    names = {dotted(path) for path in MODULES}
    found: dict[str, set[str]] = {}
    for path in MODULES:
        if path.name != "__init__.py":
            found[dotted(path)] = {
                module
                for function, imported in imports(path)
                if functions or function is None
                for module in names
                if defined_in(imported) in (module, module.rpartition(".")[0] + ".__init__")
                or imported == module
            } - {dotted(path)}
    return found


@functools.cache
def defined_in(imported: str) -> str:
    """The module behind ``package.Name``, which the package's ``__init__`` takes from it."""
    module, _, name = imported.rpartition(".")
    front = ROOT.parent / module.replace(".", "/") / "__init__.py"
    if (
        front.is_file()
        and not (ROOT.parent / imported.replace(".", "/")).with_suffix(".py").exists()
    ):
        for _, node in statements(front):
            if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
                return str(node.module)
    return imported


def cycles(edges: dict[str, set[str]]) -> list[set[str]]:
    """The strongly connected components of more than one module."""
    reached: dict[str, set[str]] = {}
    for start in edges:
        seen, stack = set(), [start]
        while stack:
            for module in edges.get(stack.pop(), set()) - seen:
                seen.add(module)
                stack.append(module)
        reached[start] = seen
    found = {
        frozenset(other for other in reached[name] if name in reached.get(other, set()))
        for name in edges
        if name in reached[name]
    }
    return [set(each) for each in found]


def test_every_file_is_in_a_package_of_the_design():
    assert {package(path) for path in MODULES} == {*PACKAGES, "__init__"}


@each_module
def test_each_package_imports_only_from_those_above_it(path):
    if path == ROOT / "__init__.py":
        return
    name, own = path.relative_to(ROOT).as_posix(), PACKAGES.index(package(path))
    for function, imported in packages_imported(path):
        if (name, function, imported) not in EXCEPTIONS:
            assert PACKAGES.index(imported) <= own, f"{name} imports {imported} in {function}"


def test_the_exceptions_are_all_there_and_none_is_made_at_import_time():
    found = {
        (path.relative_to(ROOT).as_posix(), function, imported)
        for path in MODULES
        for function, imported in packages_imported(path)
    }
    assert set(EXCEPTIONS) <= found
    assert all(function is not None for _, function, _ in EXCEPTIONS)


def test_modules_import_each_other_in_no_cycle():
    assert cycles(dependencies(functions=False)) == []


def test_few_modules_depend_on_each_other_even_through_types():
    for cycle in cycles(dependencies(functions=True)):
        assert len(cycle) <= LARGEST_CYCLE, sorted(cycle)


def test_a_cycle_is_found():
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"a"}}
    assert cycles(edges) == [{"a", "b", "c"}]


def test_no_package_holds_more_than_a_fifth_of_the_source():
    lines = Counter[str]()
    for path in MODULES:
        lines[package(path)] += len(path.read_text("utf-8").splitlines())
    for name, count in lines.items():
        assert count <= LARGEST_SHARE * lines.total(), f"{name} has {count} lines"


def test_the_front_of_each_package_is_a_map_of_its_modules():
    for front in ROOT.glob("*/__init__.py"):
        text = ast.get_docstring(ast.parse(front.read_text("utf-8"))) or ""
        for path in front.parent.glob("*.py"):
            if path.stem != "__init__":
                assert re.search(rf"\b{path.stem}\b", text), f"{front.parent.name}: {path.stem}"


def test_contributing_names_every_module_in_the_row_of_its_package():
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)(?:/|\.py)` \| (.*) \|$", text, re.MULTILINE))
    for path in MODULES:
        if path.parent != ROOT and path.stem != "__init__":
            assert f"`{path.stem}`" in rows[package(path)], path.relative_to(ROOT)


def test_each_package_has_its_folder_of_tests():
    tests = Path(__file__).parents[1]
    for name in PACKAGES:
        folder = tests / name
        alone = tests / f"test_{name.strip('_')}.py"
        assert any(folder.glob("test_*.py")) or alone.is_file() or name in OUTSIDE, name
    folders = {path.parent.name for path in tests.glob("*/test_*.py")}
    assert folders <= {*PACKAGES, "laws", "examples", "site", "type_checking"}


@pytest.mark.parametrize("name", chainrule._MODULES)
def test_public_modules_are_import_paths(name):
    """In an interpreter of its own, where nothing is loaded before the path."""
    program = (
        f"import importlib, chainrule.{name} as by_path, chainrule\n"
        f"assert by_path is chainrule.{name}\n"
        f"assert by_path is importlib.import_module({chainrule._MODULES[name]!r})"
    )
    assert "chainrule" in loaded_by(program)


def test_names_can_be_imported_from_a_public_path():
    from chainrule.derivatives import jvp
    from chainrule.errors import ShapeError
    from chainrule.initializers import GlorotUniform
    from chainrule.metrics import Precision

    assert jvp is chainrule.derivatives.jvp and ShapeError is chainrule.errors.ShapeError
    assert GlorotUniform is chainrule.initializers.GlorotUniform
    assert Precision is chainrule.metrics.Precision


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


FIRST_LINE = "from chainrule import Dense, Activation, Sequential, Trainer, losses, optimizers"


def test_the_first_line_of_a_program_loads_only_what_each_program_uses():
    """Each module costs time, and each attrs class in it half a millisecond."""
    modules = loaded_by(FIRST_LINE)
    later = {
        "losses": {"differences", "entropies", "likelihoods", "per_output"},
        "optimizers": {"adam", "adaptive", "chunked", "lion", "sgd"},
        "training": {"class_metrics", "delta_watch", "interruption", "number_metrics", "run"},
        "data": {"augmentation", "batches", "class_weights", "orders", "prefetch"},
        "layers": {"convolution", "normalization", "recurrent", "reshape", "softmax"},
        "graph": {"ensemble", "graph", "node"},
        "callbacks": {"checkpoint", "csv_logger", "early_stopping"},
    }
    for name, modules_of_package in later.items():
        for module in modules_of_package:
            assert (ROOT / name / f"{module}.py").is_file()
            assert f"chainrule.{name}.{module}" not in modules
    # Of the standard library, what only files, errors and threads need.
    assert not modules - loaded_by("import numpy") & {"csv", "difflib", "json", "pathlib", "signal"}


def test_training_on_arrays_loads_no_other_kind_of_data():
    modules = loaded_by(
        f"{FIRST_LINE}\n"
        "trainer = Trainer(Dense(1), losses.HalfSquaredError(), optimizers.SGD(0.1))\n"
        "trainer.fit([[1.0]], [[2.0]], epochs=1)\n"
        "trainer.evaluate([[1.0]], [[2.0]])"
    )
    assert {"chainrule.data.batches", "chainrule.losses.differences"} <= modules
    kinds = {"augmented_batches", "iterated_batches", "stored_batches"}
    assert not modules & {f"chainrule.data.{kind}" for kind in kinds}
    assert not modules & {"chainrule.losses.likelihoods", "chainrule.training.class_metrics"}


@pytest.mark.parametrize("name", ["callbacks", "data", "losses", "metrics", "optimizers"])
def test_the_names_of_a_package_that_are_loaded_on_use_can_all_be_had(name):
    package = getattr(chainrule, name)
    for each, place in package._MODULES.items():
        assert each in package.__all__ and each in dir(package)
        assert getattr(package, each) is getattr(importlib.import_module(place), each)


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
