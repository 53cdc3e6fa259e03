"""Random generators in a file: where each of them stands, so that its numbers go on.

A generator is whole numbers, and NumPy takes what it is given for them: a position beyond the end
of an array would be read there. So a state from a file is held against that of a fresh generator,
number by number, before it is used.
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
"""Where random numbers may come from."""

LIMITS = {"pos": 624, "buffer_pos": 4, "has_uint32": 1, "uinteger": 2**32 - 1}
"""The largest values of the numbers in a state that are no random bits."""

States = dict[str, dict[str, Any]]


def states_of(model: Layer) -> States:
    """Where the generators of a model stand, by path.

    Raises
    ------
    StorageError
        They are of several kinds.
    """
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
    """Random bits to build with, of the kind of those in the file, if all states are such."""
    if not isinstance(states, dict):
        raise _none("generators", states)
    kind: type[np.random.BitGenerator] = np.random.PCG64
    for number, (path, state) in enumerate(states.items()):
        name = state.get("bit_generator") if isinstance(state, dict) else None
        found = next((kind for kind in BIT_GENERATORS if kind.__name__ == name), None)
        if found is None or (number and found is not kind):
            raise StorageError(
                "the file needs a kind of random numbers that NumPy does not have"
                if found is None
                else "the file needs several kinds of random numbers",
                place=path,
                expected=_kinds(),
                received=short(name),
            )
        kind = found
        if not _fits(state_of(np.random.Generator(kind(0))), state):
            raise _none(path, state)
    return kind(0)


def set_states(model: Layer, states: States) -> None:
    """Let the generators of a model go on where those of the file stood."""
    generators = model.generators
    if set(generators) != set(states):
        raise StorageError(
            "the random generators in the file are not those of its architecture",
            expected=short(sorted(generators)),
            received=short(sorted(states)),
        )
    for path, generator in generators.items():
        set_state(generator, states[path])


def _fits(pattern: Any, given: Any, name: str = "") -> bool:
    """Whether a state from a file is made like one of a fresh generator."""
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
        "the state of a random generator in the file is none",
        place=path,
        expected="the whole numbers of one of NumPy's generators",
        received=short(state),
    )


def _kinds() -> str:
    return ", ".join(kind.__name__ for kind in BIT_GENERATORS)
