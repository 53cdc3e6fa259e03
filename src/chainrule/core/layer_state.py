"""What lasts of a layer: the names of its attributes, and copies of its parts.

Of what is set on a layer, the fields are its configuration, the record is what it knows of itself
(its shapes, type and parameters), and what `build` and ``__attrs_post_init__`` made lasts with
them. All else is its memory of the last forward pass, which no copy takes along.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.core.parameter import Parameter
from chainrule.core.tree import fields_of

if TYPE_CHECKING:
    from chainrule.core.layer import Layer

RECORD = frozenset(
    {
        "_dtype", "_rng", "_input_shapes", "_output_shapes", "_delta_shape", "_place", "_initial",
        "_lasting", "_parameters", "_buffers", "_generators", "_begins_frozen",
    }
)  # fmt: skip
"""The names under which a layer notes what it knows of itself."""

KNOWN_EVERYWHERE = RECORD - {"_delta_shape", "_place"}
"""Those that do not depend on the place where it stands, and are the same in its twins."""


def field_names(cls: type) -> frozenset[str]:
    """The names of a layer's attrs fields, which are its configuration."""
    return frozenset(field.name for field in fields_of(cls))


def lasting(layer: Layer) -> frozenset[str]:
    """The attributes, besides fields and record, that are no memory of a forward pass."""
    return layer._lasting if layer.is_built else initial(layer)


def initial(layer: Layer) -> frozenset[str]:
    """Those that were there before `build`, such as ``__attrs_post_init__`` may have set."""
    return layer._initial if layer.is_built else frozenset(layer.__dict__) - RECORD


def copied_parts(layer: Layer, known: dict[int, Any]) -> dict[int, Any]:
    """Copies of all parameters, states and generators, by the ``id`` of the originals.

    Those that are in ``known`` already, by ``id``, are taken from there.
    """
    parts: dict[int, Any] = {}
    for _, part in layer.walk():
        for original in (*part._parameters.values(), *part._buffers.values()):
            parts[id(original)] = known.get(id(original)) or copied_parameter(original)
        for generator in part._generators.values():
            parts[id(generator)] = known.get(id(generator)) or copied_generator(generator)
    return parts


def copied_parameter(parameter: Parameter) -> Parameter:
    """A parameter of the same value and gradient, with memory of its own."""
    twin = Parameter(parameter.path, parameter.value.copy())
    twin.accumulate(parameter.grad)
    twin.trainable = parameter.trainable
    return twin


def copied_generator(generator: np.random.Generator) -> np.random.Generator:
    """A generator that goes on, and spawns others, as the original would."""
    original = generator.bit_generator
    seeds: Any = copy.deepcopy(original.seed_seq)
    bits = type(original)(seeds)
    bits.state = original.state
    return np.random.Generator(bits)


def state_of(generator: np.random.Generator) -> dict[str, Any]:
    """Where a generator stands, in what JSON can write; `set_state` is its inverse."""
    plain: dict[str, Any] = _plain(generator.bit_generator.state)
    return plain


def set_state(generator: np.random.Generator, state: dict[str, Any]) -> None:
    """Let a generator go on where the one of `state_of` would have."""
    generator.bit_generator.state = _arrays_again(state)


def _plain(state: Any) -> Any:
    """The state of a bit generator with whole numbers in place of arrays."""
    if isinstance(state, dict):
        return {k: _plain(v) for k, v in state.items()}
    return (
        {"array": state.tolist(), "dtype": str(state.dtype)} if hasattr(state, "tolist") else state
    )


def _arrays_again(state: Any) -> Any:
    if isinstance(state, dict) and set(state) == {"array", "dtype"}:
        return np.array(state["array"], dtype=state["dtype"])
    return {k: _arrays_again(v) for k, v in state.items()} if isinstance(state, dict) else state


def restored(cls: type[Layer], parts: dict[str, Any]) -> Layer:
    """A layer from its class and its attributes, as pickle calls it."""
    layer = cls.__new__(cls)
    for name, value in parts.items():
        object.__setattr__(layer, name, value)
    if layer._dtype is not None:
        # Pickle makes a new object of it; `admit` is fast for the one that NumPy's arrays have.
        layer._dtype = np.dtype(layer._dtype.name)
    return layer
