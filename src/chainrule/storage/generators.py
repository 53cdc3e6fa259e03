"""The states of random generators in a file, so that a loaded model continues their sequences.

The state of a generator consists of integers, which NumPy does not check: it would read a position
beyond the end of an array. So before we use a state from a file, we compare its structure with that
of a new generator, number by number.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.core.errors import StorageError
from chainrule.core.layer import Layer
from chainrule.core.layer_state import set_state, state_of
from chainrule.storage.messages import short

BIT_GENERATORS = (
    np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64,
)  # fmt: skip
"""The bit generators that a file may use."""

LIMITS = {"pos": 624, "buffer_pos": 4, "has_uint32": 1, "uinteger": 2**32 - 1}
"""The largest values of those numbers in a state that are not random bits."""

States = dict[str, dict[str, Any]]


def states_of(model: Layer) -> States:
    """The states of the generators of a model, by path.

    Raises
    ------
    StorageError
        If they are of several kinds.
    """
    for place, layer in model.walk():
        for name, generator in layer._generators.items():
            if layer.__dict__.get(name, generator) is not generator:
                raise StorageError(
                    "a random generator of the model was replaced, and its new state would be lost",
                    place=f"{place}.{name}" if place else name,
                    expected="the generator that build has created",
                    received=short(layer.__dict__[name]),
                    hint="set its state, generator.bit_generator.state = …, or build a new model",
                )
    states = {path: state_of(generator) for path, generator in model.generators.items()}
    kinds = {state["bit_generator"] for state in states.values()}
    if len(kinds) > 1 or not kinds <= {kind.__name__ for kind in BIT_GENERATORS}:
        raise StorageError(
            "the random generators of the model cannot be written to a file",
            expected=f"one kind: {_kinds()}",
            received=", ".join(sorted(kinds)),
            hint="build the model with one generator: model.build(shape, rng=0)",
        )
    return states


def bits_for(states: Any) -> np.random.BitGenerator:
    """A bit generator to build with, of the same kind as those in the file."""
    if not isinstance(states, dict):
        raise _none("generators", states)
    kind: type[np.random.BitGenerator] = np.random.PCG64
    for number, (path, state) in enumerate(states.items()):
        name = state.get("bit_generator") if isinstance(state, dict) else None
        found = next((kind for kind in BIT_GENERATORS if kind.__name__ == name), None)
        if found is None or (number and found is not kind):
            raise StorageError(
                "the file needs a random generator that NumPy does not have"
                if found is None
                else "the file needs several kinds of random generators",
                place=path,
                expected=_kinds(),
                received=short(name),
            )
        kind = found
        if not is_state(kind, state):
            raise _none(path, state)
    return kind(0)


def set_states(model: Layer, states: States) -> None:
    """Set the generators of a model to the states in the file."""
    generators = model.generators
    if set(generators) != set(states):
        raise StorageError(
            "the random generators in the file do not match its architecture",
            expected=short(sorted(generators)),
            received=short(sorted(states)),
        )
    for path, generator in generators.items():
        set_state(generator, states[path])


def is_state(kind: type[np.random.BitGenerator], state: Any) -> bool:
    """Whether a value from a file is what `state_of` returns for a generator of this kind."""
    if not isinstance(state, dict):
        return False
    pattern = state_of(np.random.Generator(kind(0)))
    del pattern["seed"]
    given = dict(state)
    seed = given.pop("seed", None)
    return _fits(pattern, given) and ("seed" not in state or _is_seed(seed))


def _is_seed(seed: Any) -> bool:
    match seed:
        case {"entropy": list(entropy), "spawn_key": list(key), **rest}:
            return (
                list(rest) == ["pool_size", "spawned"]
                and all(type(n) is int and 0 <= n < 2**32 for n in (*entropy, *key))
                and type(rest["pool_size"]) is int
                and 4 <= rest["pool_size"] <= 2**10
                and type(rest["spawned"]) is int
                and 0 <= rest["spawned"] < 2**32
            )
    return False


def _fits(pattern: Any, given: Any, name: str = "") -> bool:
    """Whether a state from a file has the same structure as that of a new generator."""
    if isinstance(pattern, dict):
        return (
            isinstance(given, dict)
            and list(pattern) == list(given)
            and (pattern.get("dtype") == given.get("dtype"))
            and all(_fits(part, given[key], key) for key, part in pattern.items())
        )
    if isinstance(pattern, list):
        return (
            isinstance(given, list)
            and len(pattern) == len(given)
            and all(type(n) is int and 0 <= n < 2**64 for n in given)
        )
    if isinstance(pattern, str):
        return bool(pattern == given)
    return type(given) is int and 0 <= given <= LIMITS.get(name, 2**128 - 1)


def _none(path: str, state: Any) -> StorageError:
    return StorageError(
        "the state of a random generator in the file is invalid",
        place=path,
        expected="the integers of one of NumPy's generators",
        received=short(state),
    )


def _kinds() -> str:
    return ", ".join(kind.__name__ for kind in BIT_GENERATORS)
