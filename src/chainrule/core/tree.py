"""The tree of layers: how to walk through nested layers, name them and copy them.

A layer holds another one as an attribute, or in a list, tuple or dictionary that is an attribute.
Nothing here recurses into layers, so a thousand nested layers are no problem.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from typing import Any, ClassVar, Self, TypeVar

import attrs
import numpy as np

T = TypeVar("T")


class Tree:
    """The part of `Layer` that deals with the layers inside it."""

    _bookkeeping: ClassVar[frozenset[str]] = frozenset()
    """The attributes that never hold layers."""

    def children(self) -> dict[str, Self]:
        """The layers that this one holds directly, by name.

        A layer that is an attribute has the name of the attribute; the layers of a list are
        numbered by class, from one: ``dense_1``, ``activation_1``, ``dense_2``; those of
        a dictionary are named by its keys. Nested lists are flattened. A name that is already taken
        is prefixed with the name of the attribute: ``right_dense_1``. Layers that `forward` set are
        memory, not children.
        """
        found: dict[str, Any] = {}
        bookkeeping = self._bookkeeping
        for attribute, value in self.attributes().items():
            if attribute in bookkeeping or not isinstance(value, HOLDERS):
                continue
            is_empty = isinstance(value, CONTAINER) and not value
            if not is_empty and not self._is_memory(attribute):
                for name, layer in _named_layers(attribute, value):
                    while name in found:
                        name = f"{attribute}_{name}"
                    found[name] = layer
        return found

    def _is_memory(self, attribute: str) -> bool:
        """Whether `forward` set this attribute, for `backward`."""
        return False

    def walk(self) -> Iterator[tuple[str, Self]]:
        """Yield this layer and every one inside it, each with its path, parents before children."""
        stack: list[tuple[str, Self]] = [("", self)]
        while stack:
            path, layer = stack.pop()
            yield path, layer
            children = [(join(path, name), child) for name, child in layer.children().items()]
            stack.extend(reversed(children))

    def attributes(self) -> dict[str, Any]:
        """The attributes of this layer: its fields first, then what `build` and `forward` set."""
        own, fields = self.__dict__, {}
        for field in fields_of(type(self)):
            name = field.name
            if name in own or hasattr(self, name):
                fields[name] = own[name] if name in own else getattr(self, name)
        return {**fields, **own}

    def rebuilt(
        self, replace: Mapping[int, object], keep: Mapping[int, Iterable[str]] | None = None
    ) -> Self:
        """A copy of this layer and all layers inside it, with some objects replaced.

        Parameters
        ----------
        replace
            The replacement of each object, by the ``id`` of the original. Everything not listed
            here that is neither a layer nor a container is shared with the copy.
        keep
            For each layer, by its ``id``, the attributes to copy in addition to its fields. All of
            them if not given.
        """
        originals = {id(layer): layer for _, layer in self.walk()}
        copies: dict[int, Any] = {key: object.__new__(type(o)) for key, o in originals.items()}
        replacements = {**replace, **copies}
        for key, original in originals.items():
            fields = {field.name for field in fields_of(type(original))}
            kept = fields.union(keep[key]) if keep is not None else None
            for name, value in original.attributes().items():
                if kept is None or name in kept:
                    new_value = _replaced(replacements, value, copy_arrays=name not in fields)
                    object.__setattr__(copies[key], name, new_value)
        result: Self = copies[id(self)]
        return result


CONTAINER = (list, tuple, dict)
"""The types of attributes that can contain layers."""
HOLDERS = (Tree, *CONTAINER)
"""The types of attributes that are or can contain layers."""


def fields_of(cls: type) -> tuple[Any, ...]:
    """The attrs fields of a class; those of a layer are its configuration."""
    fields: tuple[Any, ...] = cls.__attrs_attrs__  # type: ignore[attr-defined]
    return fields  # what attrs.fields returns, several times faster


def full_repr(thing: object) -> str:
    """``Linear(units=30, rate=0.5)``: all fields, as attrs prints them."""
    parts = []
    for field in fields_of(type(thing)):
        if field.repr:
            text = field.repr if callable(field.repr) else repr
            parts.append(f"{field.name}={text(getattr(thing, field.name, attrs.NOTHING))}")
    return f"{type(thing).__qualname__.rpartition('>.')[2]}({', '.join(parts)})"


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


def _named_layers(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The layers that a value is or contains, by name."""
    if isinstance(value, Tree):
        yield name, value
    elif isinstance(value, dict):
        for key, entry in value.items():
            key_name = str(key).replace("/", "_") or "_"  # a slash would look like a path
            for inner, layer in _named_layers(key_name, entry):
                yield (inner if layer is entry else f"{key_name}_{inner}"), layer
    elif isinstance(value, list | tuple):
        layers = list(_layers_in(value))
        yield from zip(numbered(type(layer).__name__ for layer in layers), layers, strict=True)


def _layers_in(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, Tree):
            yield value
        elif isinstance(value, dict):
            yield from _layers_in(value.values())
        elif isinstance(value, list | tuple):
            yield from _layers_in(value)


def join(path: str, name: str) -> str:
    """A path and a name in it, joined; the path may be empty."""
    return f"{path}/{name}" if path else name


def _replaced(replacements: Mapping[int, object], value: Any, *, copy_arrays: bool) -> Any:
    """The value or its replacement; containers are rebuilt."""
    if id(value) in replacements:
        return replacements[id(value)]
    if isinstance(value, list | tuple | set):
        make = getattr(value, "_make", type(value))  # a named tuple takes separate arguments
        return make(
            [_replaced(replacements, element, copy_arrays=copy_arrays) for element in value]
        )
    if isinstance(value, dict):
        rebuilt = copy(value)  # keeps its type; in one step, as other threads may write into it
        for key, entry in list(rebuilt.items()):
            rebuilt[key] = _replaced(replacements, entry, copy_arrays=copy_arrays)
        return rebuilt
    if copy_arrays and isinstance(value, np.ndarray):
        return value.copy()
    return value
