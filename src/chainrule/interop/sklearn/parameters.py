"""The parameters of a model, an optimizer or a loss, by the names that a search uses.

    model__dense_1__units        the field `units` of the layer at the path ``dense_1``
    optimizer__learning_rate     the field `learning_rate` of the optimizer

The names of layers are those of `model.children()`, with two underscores between the levels. The
fields are the arguments of a class, except those that hold layers.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from chainrule.core.layer import Layer
from chainrule.core.tree import CONTAINER, fields_of
from chainrule.graph.graph import Graph


def parameters_in(owner: Any) -> dict[str, Any]:
    """The parameters inside an object by name; none if it is neither a layer nor an attrs object.

    Parameters
    ----------
    owner
        A layer, or an object of an attrs class, such as an optimizer or a loss.
    """
    if isinstance(owner, Layer):
        return {
            _joined(path, field.name): getattr(layer, field.name)
            for path, layer in owner.walk()
            for field in _settable(layer)
        }
    if not attrs.has(type(owner)):
        return {}
    return {field.name: getattr(owner, field.name) for field in _arguments(type(owner))}


def with_parameters(owner: Any, values: Mapping[str, Any]) -> Any:
    """A copy of an object with other values for some of its `parameters_in`.

    The class checks the values, as it does when it is called.

    Parameters
    ----------
    owner
        The object; it does not change.
    values
        The new values, by the names in `parameters_in`.

    Raises
    ------
    ConfigurationError
        The class rejects a value.
    """
    if not isinstance(owner, Layer):
        aliases = {field.name: field.alias for field in _arguments(type(owner))}
        return attrs.evolve(owner, **{aliases[name]: value for name, value in values.items()})
    copied = copy.deepcopy(owner)
    for path, layer in copied.walk():
        names = {_joined(path, field.name): field.name for field in _settable(layer)}
        given = {own: values[name] for name, own in names.items() if name in values}
        if given:
            _set(layer, given)
    return copied


def _joined(path: str, field: str) -> str:
    return "__".join([*filter(None, path.split("/")), field])


def _settable(layer: Layer) -> Iterator[Any]:
    """The fields of a layer that a search can vary: those that hold no layers or connections."""
    if not isinstance(layer, Graph):
        for field in _arguments(type(layer)):
            if not _holds_layers(getattr(layer, field.name)):
                yield field


def _arguments(cls: type) -> Iterator[Any]:
    return (each for each in fields_of(cls) if each.init and not each.name.startswith("_"))


def _holds_layers(value: Any) -> bool:
    if isinstance(value, CONTAINER):
        return any(map(_holds_layers, value.values() if isinstance(value, dict) else value))
    return isinstance(value, Layer)


def _set(layer: Layer, values: Mapping[str, Any]) -> None:
    """Let a layer that is not built yet be what its class makes of other arguments.

    It stays the same object, so every place of a shared layer changes. Its attributes become those
    of a new one: the fields of a container, for example, cannot be set.
    """
    cls: Any = type(layer)
    fields = [each for each in fields_of(cls) if each.init]
    made = cls.__new__(cls)
    made.__attrs_init__(
        **{each.alias: values.get(each.name, getattr(layer, each.name)) for each in fields}
    )
    for name, value in made.attributes().items():
        object.__setattr__(layer, name, value)
