"""The classes that a file may name: those that are defined in the running program.

These are the subclasses of `Layer`, `Initializer` and `Function` that are currently defined, or
that the caller passes. So a file can choose among existing classes, but never import anything.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from typing import Any, TypeAlias

import chainrule.graph
import chainrule.layers
from chainrule.core.errors import DefinitionError, StorageError
from chainrule.core.hints import nearest
from chainrule.core.initializers import Initializer
from chainrule.core.layer import Layer
from chainrule.layers.functions import Function
from chainrule.storage.messages import short

Known: TypeAlias = dict[str, dict[str, list[Any]]]
"""The classes of the running program: for each kind, the classes by name."""

KINDS: dict[str, type] = {"class": Layer, "initializer": Initializer, "function": Function}
"""The kinds of classes under their names in a file, each with its base class."""


FROM_ONNX = ("chainrule.interop.onnx.reading.layers", "chainrule.interop.onnx.reading.functions")
"""Modules of further layers, of models that `interop.onnx.load` makes: imported if a file needs a
class of theirs. A file names these with their module, as a program may have its own ``Scale``."""


def known_classes(given: Iterable[type]) -> Known:
    """All classes that a file may name.

    Parameters
    ----------
    given
        Classes that take precedence over others of the same name.

    Raises
    ------
    DefinitionError
        If something given is not such a class, or two of them have the same name.
    """
    _import_own_layers()
    chosen = _chosen(given)
    return {kind: _below(base) | chosen[kind] for kind, base in KINDS.items()}


def name_in_file(cls: type, kind: str, known: Known) -> str:
    """The name of a class, with its module if the program has several classes of that name."""
    is_only = len(known[kind].get(cls.__name__, [])) < 2 and cls.__module__ not in FROM_ONNX
    return cls.__name__ if is_only else _place(cls)


def class_of(name: Any, kind: str, known: Known) -> Any:
    """The class for a name in a file."""
    module, _, short_name = name.rpartition(".") if isinstance(name, str) else ("", "", "")
    found = known[kind].get(short_name, [])
    exactly = [cls for cls in found if _place(cls) == name]
    if module in FROM_ONNX and not exactly:
        cls = getattr(importlib.import_module(module), short_name, None)
        is_one = isinstance(cls, type) and issubclass(cls, KINDS[kind]) and _place(cls) == name
        exactly, found = ([cls], found) if is_one else ([], [])
    own = [cls for cls in found if cls.__module__ not in FROM_ONNX]
    if len(exactly or own or found) == 1:
        return (exactly or own or found)[0]
    if found:
        raise StorageError(
            f"the file needs {name!r}, but this program has {len(found)} classes of that name",
            received=", ".join(map(_place, found)),
            hint="pass the one that you mean: load(path, layers=[…])",
        )
    is_name = isinstance(name, str) and name.isidentifier() and len(name) < 60
    meant = nearest(name, known[kind]) if is_name else None
    raise StorageError(
        f"the file needs {short(name)}, which this program does not have",
        expected=f"a subclass of {KINDS[kind].__name__}"
        + (f", such as {meant!r}" if meant else ""),
        received=short(name),
        hint=f"define or import the class before loading, or use load(path, layers=[{name}])"
        if is_name
        else None,
    )


def _place(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _import_own_layers() -> None:
    """Import all of chainrule's layers, so that a program can load those it did not import."""
    for package in (chainrule.layers, chainrule.graph):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def _below(base: type) -> dict[str, list[Any]]:
    """All subclasses of a class, by name. A redefined class replaces the old one."""
    places: dict[str, dict[str, type]] = {}
    stack: list[Any] = [base]
    while stack:
        for cls in stack.pop().__subclasses__():
            stack.append(cls)
            # Of a class that attrs has made anew, the later one counts, too.
            places.setdefault(cls.__name__, {})[_place(cls)] = cls
    return {name: list(found.values()) for name, found in places.items()}


def _chosen(given: Any) -> dict[str, dict[str, list[Any]]]:
    """The given classes of each kind by name."""
    if isinstance(given, type) or not isinstance(given, Iterable) or isinstance(given, Layer):
        raise _no_class(given, "pass a list: layers=[…]")
    chosen: dict[str, dict[str, list[Any]]] = {kind: {} for kind in KINDS}
    for cls in given:
        kinds = [k for k, b in KINDS.items() if isinstance(cls, type) and issubclass(cls, b)]
        if not kinds:
            own = type(cls).__name__
            is_made = isinstance(cls, tuple(KINDS.values()))
            raise _no_class(
                cls, f"pass the class, not an instance: layers=[{own}]" if is_made else None
            )
        before = chosen[kinds[0]].setdefault(cls.__name__, [cls])
        if before != [cls]:
            raise DefinitionError(
                f"two of the given classes are named {cls.__name__!r}",
                place="layers",
                expected="classes with different names",
                received=", ".join(map(_place, (*before, cls))),
            )
    return chosen


def _no_class(given: Any, hint: str | None) -> DefinitionError:
    return DefinitionError(
        "layers must be classes of layers",
        place="layers",
        expected="a list of classes such as layers=[Linear]",
        received=f"{short(given)}, of type {type(given).__name__}",
        hint=hint,
    )
