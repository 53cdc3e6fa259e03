"""Layers that hold layers: how to walk through them, name them and copy them.

A layer holds another one as an attribute, or in a list, tuple or dictionary that is an attribute.
Nothing here calls itself for a layer, so a thousand of them inside each other are no problem.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from typing import Any, Self, TypeVar

import attrs
import numpy as np

T = TypeVar("T")


class Tree:
    """What `Layer` inherits: its place in a tree of layers."""

    def children(self) -> dict[str, Self]:
        """The layers that this one holds itself, by name.

        An attribute gives its own name; the layers of a list are numbered by class, from one:
        ``dense_1``, ``activation_1``, ``dense_2``; those of a dictionary are named by its keys.
        Lists in a list count as one. A name that is taken already gets that of the attribute in
        front: ``right_dense_1``.
        """
        found: dict[str, Any] = {}
        for attribute, value in self.attributes().items():
            if isinstance(value, HOLDING):
                for name, layer in _held(attribute, value):
                    while name in found:
                        name = f"{attribute}_{name}"
                    found[name] = layer
        return found

    def walk(self) -> Iterator[tuple[str, Self]]:
        """Yield this layer and every one below it, each with its path, parents before children."""
        stack: list[tuple[str, Self]] = [("", self)]
        while stack:
            path, layer = stack.pop()
            yield path, layer
            below = [(join(path, name), child) for name, child in layer.children().items()]
            stack.extend(reversed(below))

    def attributes(self) -> dict[str, Any]:
        """What is set on this layer: its fields first, then what `build` and `forward` made."""
        fields = {
            field.name: getattr(self, field.name)
            for field in fields_of(type(self))
            if hasattr(self, field.name)
        }
        return {**fields, **self.__dict__}

    def rebuilt(
        self, replace: Mapping[int, object], keep: Mapping[int, Iterable[str]] | None = None
    ) -> Self:
        """A copy of this layer and of all below it, with other parts in place of some.

        Parameters
        ----------
        replace
            What shall stand in the copy for an object, by the object's ``id``. Everything that is
            not named here, not a layer and not a container, is shared with the copy.
        keep
            For each layer, by its ``id``, the attributes besides its fields that the copy gets.
            All of them if not given.
        """
        originals = {id(layer): layer for _, layer in self.walk()}
        copies: dict[int, Any] = {key: object.__new__(type(o)) for key, o in originals.items()}
        known = {**replace, **copies}
        for key, original in originals.items():
            fields = {field.name for field in fields_of(type(original))}
            kept = fields.union(keep[key]) if keep is not None else None
            for name, value in original.attributes().items():
                if kept is None or name in kept:
                    part = _with(known, value, copy_arrays=name not in fields)
                    object.__setattr__(copies[key], name, part)
        result: Self = copies[id(self)]
        return result


HOLDING = (Tree, list, tuple, dict)
"""What a layer can be, or be in."""


def fields_of(cls: type) -> tuple[Any, ...]:
    """The attrs fields of a class, which are its configuration."""
    fields: tuple[Any, ...] = attrs.fields(cls)
    return fields


def snake_case(name: str) -> str:
    """``TwoPaths`` → ``two_paths``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def numbered(class_names: Iterable[str]) -> list[str]:
    """``Dense, Activation, Dense`` → ``dense_1, activation_1, dense_2``."""
    counts: Counter[str] = Counter()
    names = []
    for name in map(snake_case, class_names):
        counts[name] += 1
        names.append(f"{name}_{counts[name]}")
    return names


def _held(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The layers that a value is or contains, by name."""
    if isinstance(value, Tree):
        yield name, value
    elif isinstance(value, dict):
        for key, part in value.items():
            own = str(key).replace("/", "_") or "_"  # a slash would look like a path
            for inner, layer in _held(own, part):
                yield (inner if layer is part else f"{own}_{inner}"), layer
    elif isinstance(value, list | tuple):
        layers = list(_within(value))
        yield from zip(numbered(type(layer).__name__ for layer in layers), layers, strict=True)


def _within(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, Tree):
            yield value
        elif isinstance(value, dict):
            yield from _within(value.values())
        elif isinstance(value, list | tuple):
            yield from _within(value)


def join(path: str, name: str) -> str:
    """Two parts of a path, of which the first may be empty."""
    return f"{path}/{name}" if path else name


def _with(known: Mapping[int, object], value: Any, *, copy_arrays: bool) -> Any:
    """The value itself, or what stands for it; containers are made anew."""
    if id(value) in known:
        return known[id(value)]
    if isinstance(value, list | tuple | set):
        make = getattr(value, "_make", type(value))  # a named tuple is not made like a tuple
        return make([_with(known, element, copy_arrays=copy_arrays) for element in value])
    if isinstance(value, dict):
        remade = copy(value)  # of its own kind; at once, for another thread may write into it
        for key, part in list(remade.items()):
            remade[key] = _with(known, part, copy_arrays=copy_arrays)
        return remade
    if copy_arrays and isinstance(value, np.ndarray):
        return value.copy()
    return value
