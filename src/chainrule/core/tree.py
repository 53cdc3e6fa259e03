"""Layers that hold layers: how to walk through them, name them and copy them.

A layer holds another layer as an attribute, or in a list, tuple or dictionary that is an attribute.
There is no recursion over layers, so a thousand nested layers are no problem.
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
    """The base of `Layer`: a node in a tree of layers."""

    def children(self) -> dict[str, Self]:
        """The layers that this one holds directly, by name.

        A layer in an attribute has the attribute's name; layers in a list are numbered by class,
        from one: ``dense_1``, ``activation_1``, ``dense_2``; layers in a dictionary are named by
        its keys. Nested lists are numbered as one. A name that is already in use gets the name of
        the attribute in front: ``right_dense_1``.
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
        """Yield this layer and all layers below it with their paths, parents before children."""
        stack: list[tuple[str, Self]] = [("", self)]
        while stack:
            path, layer = stack.pop()
            yield path, layer
            below = [(join(path, name), child) for name, child in layer.children().items()]
            stack.extend(reversed(below))

    def attributes(self) -> dict[str, Any]:
        """The attributes of this layer: its fields, then what `build` and `forward` have set."""
        fields = {
            field.name: getattr(self, field.name)
            for field in fields_of(type(self))
            if hasattr(self, field.name)
        }
        return {**fields, **self.__dict__}

    def rebuilt(
        self, replace: Mapping[int, object], keep: Mapping[int, Iterable[str]] | None = None
    ) -> Self:
        """A copy of this layer and all layers below it, with some objects replaced.

        Parameters
        ----------
        replace
            The replacement for an object, by the object's ``id``. Other objects that are neither
            layers nor containers are shared with the copy.
        keep
            For each layer, by its ``id``, which attributes besides its fields to copy; all of them
            if not given.
        """
        originals = {id(layer): layer for _, layer in self.walk()}
        copies: dict[int, Any] = {key: object.__new__(type(o)) for key, o in originals.items()}
        known = {**replace, **copies}
        for key, original in originals.items():
            fields = {field.name for field in fields_of(type(original))}
            kept = fields.union(keep[key]) if keep is not None else None
            for name, value in original.attributes().items():
                if kept is None or name in kept:
                    copied = _with(known, value, copy_arrays=name not in fields)
                    object.__setattr__(copies[key], name, copied)
        result: Self = copies[id(self)]
        return result


HOLDING = (Tree, list, tuple, dict)
"""The types of attributes that can be or contain layers."""


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
        for key, element in value.items():
            own = str(key).replace("/", "_") or "_"  # a slash would look like a path
            for inner, layer in _held(own, element):
                yield (inner if layer is element else f"{own}_{inner}"), layer
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
    """A path followed by a name; the path may be empty."""
    return f"{path}/{name}" if path else name


def _with(known: Mapping[int, object], value: Any, *, copy_arrays: bool) -> Any:
    """The value or its replacement; containers are copied."""
    if id(value) in known:
        return known[id(value)]
    if isinstance(value, list | tuple | set):
        make = getattr(value, "_make", type(value))  # for named tuples
        return make([_with(known, element, copy_arrays=copy_arrays) for element in value])
    if isinstance(value, dict):
        # Keeps the dictionary's class; in one call, since another thread may write into it.
        copied = copy(value)
        for key, element in list(copied.items()):
            copied[key] = _with(known, element, copy_arrays=copy_arrays)
        return copied
    if copy_arrays and isinstance(value, np.ndarray):
        return value.copy()
    return value
