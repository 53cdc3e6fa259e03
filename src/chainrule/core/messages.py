"""How a layer appears in text: its repr, its label in errors, and the errors about a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from chainrule.core.errors import BuildError, DefinitionError, ShapeError, described
from chainrule.core.hints import hint_for_layer, missing_attribute
from chainrule.core.initializers import KNOWN, Initializer
from chainrule.core.layer_state import BOOKKEEPING
from chainrule.core.tree import fields_of
from chainrule.core.types import RowPattern, Shape

if TYPE_CHECKING:
    from chainrule.core.layer import Layer


def label(layer: Layer) -> str:
    """The layer in an error message: its repr if that is short, otherwise its class."""
    text = repr(layer)
    return text if len(text) <= 60 and "\n" not in text else type(layer).__name__


def short_repr(layer: Layer) -> str:
    """``Dense(30, use_bias=False)``: the fields without a default or with another value."""
    parts = []
    for field in fields_of(type(layer)):
        if not field.init or not field.repr:  # not an argument, or excluded from the repr
            continue
        value = getattr(layer, field.name)
        if field.default is attrs.NOTHING:
            parts.append(f"{field.alias}={value!r}" if field.kw_only else repr(value))
        elif value != _default(field, layer):
            parts.append(f"{field.alias}={_name_or_repr(value)}")
    return f"{type(layer).__name__}({', '.join(parts)})"


def _name_or_repr(value: Any) -> str:
    """``'he_normal'`` for an initializer that has this name, otherwise the repr."""
    name = getattr(value, "name", None)
    is_named = isinstance(value, Initializer) and name in KNOWN and KNOWN[name]() == value
    return repr(name if is_named else value)


def _default(field: Any, layer: Layer) -> Any:
    default = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        default = default.factory(layer) if default.takes_self else default.factory()
    return field.converter(default) if callable(field.converter) else default


def batch_of(shape: RowPattern) -> str:
    """``(64,)`` → ``(batch, 64)``; ``(..., None, 64)`` → ``(batch, …, any, 64)``."""
    sizes = ["…" if n is ... else "any" if n is None else str(n) for n in shape]
    return f"({', '.join(['batch', *sizes])})" if shape else "(batch,)"


NETWORK = "a Layer such as Sequential([Dense(30), Dense(10)])"
ONE_LAYER = "a Layer such as Dense(3)"


def not_a_layer(
    caller: str, given: Any, expected: str = NETWORK, hint: str | None = None
) -> DefinitionError:
    """The error for a function of a layer, such as `summary`, that is given something else."""
    has_model = hasattr(given, "model")  # a trainer
    return DefinitionError(
        f"{caller} needs a layer",
        expected=expected,
        received=described(given),
        hint=f"{caller}(trainer.model)" if has_model else hint or hint_for_layer(given),
    )


def require_built(layer: Layer) -> Layer:
    """The layer, if it is built."""
    if layer._input_shapes is None:
        raise BuildError(
            f"{label(layer)} is not built yet, so it has no shapes and no parameters",
            hint="call layer.build(input_shape), or send a first batch through it",
        )
    return layer


def not_building(layer: Layer) -> BuildError:
    """The error for a parameter or generator that is created outside `build`."""
    return BuildError(
        f"{label(layer)}: parameters, buffers and generators can only be created in build",
        hint="move the line into build(self, input_shape); for random numbers in forward, create "
        'self.source = self.generator("source") there',
    )


def made_in_forward(layer: Layer) -> BuildError:
    """The error for a layer with parameters that `forward` of another layer creates."""
    return BuildError(
        f"{label(layer)} is created in forward, so each pass would begin with new parameters that "
        "are never learned",
        expected="layers that are fields, or that build creates",
        received="a layer with parameters, built for the first time inside forward",
        hint="create it in build: self.inner = …, or pass it as a field",
    )


def unbuilt_twin(layer: Layer) -> BuildError:
    """The error for a twin of an inner layer that is not built yet, made while its outer is."""
    return BuildError(
        f"{label(layer)} is not built yet: a twin of it would create parameters that no model "
        "would contain",
        expected="the layer itself to be built before its twins are made",
        received="twin() of a layer that has no parameters yet",
        hint="build the inner layer in build of the layer around it, as in "
        "self.cell.build(input_shape)",
    )


def only(layer: Layer, what: str, shapes: tuple[Shape, ...]) -> Shape:
    """The shape of the only input or output of a layer."""
    if len(shapes) != 1:
        raise ShapeError(
            f"{label(layer)} has {len(shapes)} {what}s, not one",
            received=shapes,
            hint=f"use {what}_shapes",
        )
    return shapes[0]


def plain_array(layer: Layer, name: str, value: Any) -> DefinitionError:
    """The error for an array where a parameter belongs."""
    kind, shape = type(value).__name__, np.shape(value)
    if name in layer._parameters:
        return DefinitionError(
            f"{label(layer)}: self.{name} is a parameter, which a plain {kind} cannot replace",
            expected=f"a Parameter of shape {layer._parameters[name].shape}",
            received=f"{kind} of shape {shape}",
            hint=f"assign to its value: self.{name}.value = …",
        )
    return DefinitionError(
        f"{label(layer)}: build sets self.{name} to a plain array, which would never be learned",
        expected="a Parameter, or a buffer",
        received=f"{kind} of shape {shape}, {value.dtype}",
        hint=f'self.parameter("{name}", {shape}, "glorot_uniform") if it is learned, '
        f'self.buffer("{name}", {shape}) if it is kept',
    )


def missing(layer: Layer, name: str) -> AttributeError:
    """The error for an attribute that does not exist."""
    if name.startswith("__") or name in BOOKKEEPING:
        return AttributeError(name)
    otherwise = ""
    if not layer.is_built:
        otherwise = ": it is not built yet; build(input_shape) creates the parameters"
    elif layer._delta_shape is None:
        otherwise = ": if forward sets it, call forward first"
    return missing_attribute(layer, name, otherwise)
