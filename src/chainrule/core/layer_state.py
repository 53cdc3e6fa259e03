"""The attributes of a layer, grouped by what a copy does with them; and the copies.

    fields       the annotated attributes: the configuration            in every copy
    bookkeeping  what the framework keeps: shapes, dtype, parameters    in copies of a built layer
    lasting      what `build` and ``__attrs_post_init__`` set           likewise
    memory       everything else: what `forward` set for `backward`     in no copy

A twin shares parameters, buffers and generators with the original; a deep copy and a pickle copy
them. An unbuilt copy has the configuration alone.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from chainrule.core.ownership import USED_ALONE
from chainrule.core.parameter import Parameter
from chainrule.core.tree import fields_of

if TYPE_CHECKING:
    from chainrule.core.layer import Layer

L = TypeVar("L", bound="Layer")

BOOKKEEPING = frozenset(
    {
        "_dtype", "_rng", "_input_shapes", "_output_shapes", "_delta_shape", "_owner", "_initial",
        "_lasting", "_parameters", "_buffers", "_generators", "_begins_frozen", "_applies",
        "_fitting",
    }
)  # fmt: skip
"""The attributes in which the framework keeps what it knows about a layer."""

SHARED_BY_TWINS = BOOKKEEPING - {"_delta_shape", "_owner"}
"""Those that a layer and its twins have in common."""


def field_names(cls: type) -> frozenset[str]:
    """The names of a layer's attrs fields, which are its configuration."""
    names: frozenset[str] = cls._field_names  # type: ignore[attr-defined]
    return names


def lasting(layer: Layer) -> frozenset[str]:
    """The attributes, besides fields and bookkeeping, that are not memory."""
    return layer._lasting if layer.is_built else initial(layer)


def initial(layer: Layer) -> frozenset[str]:
    """The lasting attributes from before `build`, as ``__attrs_post_init__`` may set them."""
    return layer._initial if layer.is_built else frozenset(layer.__dict__) - BOOKKEEPING


def is_memory(layer: Layer, attribute: str) -> bool:
    """Whether an attribute belongs to the memory of the last forward pass."""
    return attribute not in lasting(layer) and attribute not in field_names(type(layer))


def field_values(layer: Layer) -> list[Any]:
    """The values of the fields of a layer and all layers inside."""
    members = [member for _, member in layer.walk()]
    return [getattr(m, each.name, None) for m in members for each in fields_of(type(m))]


def are_same(some: list[Any], others: list[Any]) -> bool:
    """Whether two lists contain the same objects."""
    return len(some) == len(others) and all(map(operator.is_, some, others))


# ---------------------------------------------------------------- copies of a layer


def twin(layer: L, replacements: dict[int, Any] | None = None) -> L:
    """A copy without memory that shares parameters, buffers and generators.

    ``replacements`` maps the ``id`` of a parameter, buffer or generator to what replaces it.
    """
    keep = {id(member): lasting(member) | SHARED_BY_TWINS for _, member in layer.walk()}
    return layer.rebuilt(replacements or {}, keep=keep)


def applying(layer: L) -> L:
    """A twin for inference: in its `forward`, every inner layer's `forward` is its `apply`."""
    copied = twin(layer)
    for _, member in copied.walk():
        member.__dict__["_applies"] = member is not copied
    return copied


def unbuilt(layer: L) -> L:
    """A copy of the configuration alone."""
    return layer.rebuilt({}, keep={id(member): initial(member) for _, member in layer.walk()})


def deep_copy(layer: L, memo: dict[int, Any]) -> L:
    """A copy that shares nothing, for `copy.deepcopy`."""
    replacements = copied_arrays_and_generators(layer, memo)
    copied = twin(layer, replacements)
    memo.update(replacements)
    memo[id(layer)] = copied
    return copied


def pickled(layer: Layer) -> tuple[Any, ...]:
    """What pickle calls to restore a layer: `restored`, with the class and the attributes.

    Pickle writes a layer inside another one by recursion, unless it has written it before. So some
    layers of a deep nest come first, the innermost at the very beginning.
    """
    kept = field_names(type(layer)) | lasting(layer) | SHARED_BY_TWINS - {"_rng"}
    attributes = {name: value for name, value in layer.attributes().items() if name in kept}
    inside = _from_inside(layer)
    if inside:
        return restored_after, (inside, type(layer), attributes)
    return restored, (type(layer), attributes)


PICKLED_DEPTH = 16
"""How many nested layers pickle writes by recursion."""


def _from_inside(layer: Layer) -> list[list[Layer]]:
    """The layers at every sixteenth depth below a layer, the deepest first."""
    found: list[list[Layer]] = []
    level = [layer]
    while level:
        for _ in range(PICKLED_DEPTH):
            inside = [child for outer in level for child in outer.children().values()]
            level = list({id(child): child for child in inside}.values())
        found.append(level)
    return found[-2::-1]


def restored_after(inside: Any, cls: type[Layer], attributes: dict[str, Any]) -> Layer:
    """`restored`, after some of the layers inside."""
    return restored(cls, attributes)


def restored(cls: type[Layer], attributes: dict[str, Any]) -> Layer:
    """A layer from its class and its attributes, for pickle."""
    layer = cls.__new__(cls)
    for name, value in attributes.items():
        object.__setattr__(layer, name, value)
    if layer._dtype is not None:
        # Unpickling creates another dtype object; `admit` is fast if it is the one of NumPy.
        layer.__dict__["_dtype"] = np.dtype(layer._dtype.name)
    return layer


def forget(layer: Layer) -> None:
    """Delete the memory of the last forward pass, here and in the layers inside."""
    for _, member in layer.walk():
        kept = field_names(type(member)) | lasting(member) | BOOKKEEPING
        for name in set(member.__dict__) - kept:
            del member.__dict__[name]
        member.__dict__.pop("_delta_shape", None)
        if member._owner is USED_ALONE:
            del member.__dict__["_owner"]


# ---------------------------------------------------------------- the whole tree at once


def set_trainable(layer: L, trainable: bool) -> L:
    """Freeze or unfreeze all parameters, also those that are still to be built."""
    for _, member in layer.walk():
        for parameter in member._parameters.values():
            parameter.trainable = trainable
        if not member.is_built:
            member.__dict__["_begins_frozen"] = not trainable
    return layer


def have_equal_fields(layer: Layer, other: Layer) -> bool:
    """Whether two layers of one class have the same configuration."""
    return all(
        key(getattr(layer, field.name)) == key(getattr(other, field.name))
        for field in fields_of(type(layer))
        if field.eq
        for key in [field.eq_key or (lambda value: value)]
    )


# ---------------------------------------------------------------- parameters and generators


def copied_arrays_and_generators(layer: Layer, known: dict[int, Any]) -> dict[int, Any]:
    """Copies of all parameters, buffers and generators, by the ``id`` of the originals.

    Copies that ``known`` already contains, by the same ``id``, are reused.
    """
    copies: dict[int, Any] = {}
    for _, member in layer.walk():
        for original in (*member._parameters.values(), *member._buffers.values()):
            copies[id(original)] = known.get(id(original)) or copied_parameter(original)
        for generator in member._generators.values():
            copies[id(generator)] = known.get(id(generator)) or copied_generator(generator)
    return copies


def copied_parameter(parameter: Parameter) -> Parameter:
    """A parameter with the same value and gradient, in its own memory."""
    copied = Parameter(parameter.path, parameter.value.copy(), parameter.open_shape)
    if parameter.has_grad:
        copied.accumulate(parameter.grad)
    copied.trainable = parameter.trainable
    return copied


def copied_generator(generator: np.random.Generator) -> np.random.Generator:
    """A generator that continues, and spawns others, as the original would."""
    original = generator.bit_generator
    seeds: Any = copy.deepcopy(original.seed_seq)
    bits = type(original)(seeds)
    bits.state = original.state
    return np.random.Generator(bits)


def state_of(generator: np.random.Generator) -> dict[str, Any]:
    """The state of a generator, in a form that JSON can write; `set_state` is the inverse.

    ``"seed"`` holds the seed from which `spawn` makes other generators, and how many it has made.
    """
    bits = generator.bit_generator
    plain: dict[str, Any] = _plain(bits.state)
    seeds: Any = bits.seed_seq
    if type(seeds) is np.random.SeedSequence:
        plain["seed"] = {
            "entropy": _words(seeds.entropy),
            "spawn_key": _words(seeds.spawn_key),
            "pool_size": seeds.pool_size,
            "spawned": seeds.n_children_spawned,
        }
    return plain


def set_state(generator: np.random.Generator, state: dict[str, Any]) -> None:
    """Let a generator continue, and spawn others, from a state that `state_of` returned.

    Chainrule 0.1 wrote no seed; the generator then keeps its own.
    """
    bits: Any = generator.bit_generator
    numbers = _with_arrays({name: part for name, part in state.items() if name != "seed"})
    seed = state.get("seed")
    if seed is None:
        bits.state = numbers
        return
    seeds = np.random.SeedSequence(
        seed["entropy"],
        spawn_key=tuple(seed["spawn_key"]),
        pool_size=seed["pool_size"],
        n_children_spawned=seed["spawned"],
    )
    bits.__setstate__((numbers, seeds))  # the only way to replace the seeds of a generator


def bookmark(generator: np.random.Generator) -> Callable[[], None]:
    """A function that puts a generator back to where it is now, with the count of `spawn`."""
    bits: Any = generator.bit_generator
    state, seeds = bits.state, copy.deepcopy(bits.seed_seq)
    return lambda: bits.__setstate__((state, copy.deepcopy(seeds)))


def _words(given: Any) -> list[int]:
    """The 32-bit words of which a `SeedSequence` makes its pool, from a number or several."""
    if isinstance(given, int | np.integer):
        number = int(given)
        return [number >> n & 0xFFFFFFFF for n in range(0, max(number.bit_length(), 1), 32)]
    return [word for part in given for word in _words(part)]


def _plain(state: Any) -> Any:
    """The state of a bit generator, with lists of integers in place of arrays."""
    if isinstance(state, dict):
        return {k: _plain(v) for k, v in state.items()}
    return (
        {"array": state.tolist(), "dtype": str(state.dtype)} if hasattr(state, "tolist") else state
    )


def _with_arrays(state: Any) -> Any:
    if isinstance(state, dict) and set(state) == {"array", "dtype"}:
        return np.array(state["array"], dtype=state["dtype"])
    return {k: _with_arrays(v) for k, v in state.items()} if isinstance(state, dict) else state
