"""Ownership: which use of a layer owns its memory.

What `forward` remembers is set on the layer, so only one use of the layer can have this memory:
a step of a plan (see `chainrule.graph.plan`), or a direct call of the layer's own `forward`. The
first use owns the layer, and you can inspect on the layer what this use remembers. Every other step
runs a twin, which has the same parameters but its own memory.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeVar


class HasMemory(Protocol):
    """What ownership needs of a layer."""

    _owner: Any

    def walk(self) -> Iterator[tuple[str, Any]]:
        """The layer and all inside it, with their paths."""

    def twin(self) -> Any:
        """A copy with its own memory."""


L = TypeVar("L", bound=HasMemory)

USED_ALONE = "used alone"
"""The owner of a layer whose own `forward` was called, outside any plan."""


class Claims:
    """The layers that a new plan claims."""

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def owned_or_twin(self, layer: L) -> L:
        """The layer, or a twin of it if the layer or one inside it already has an owner."""
        family = [member for _, member in layer.walk()]
        has_other = any(id(member) in self._taken or has_owner(member) for member in family)
        self._taken.update(map(id, family))
        owned: L = layer.twin() if has_other else layer
        return owned

    def assign(self, plan: Any, layers: Iterable[HasMemory]) -> None:
        """Record in the layers, and in those inside them, that the plan owns them."""
        owner = weakref.ref(plan)
        for layer in layers:
            for _, member in layer.walk():
                member.__dict__["_owner"] = (owner, member is layer)


def has_owner(layer: HasMemory) -> bool:
    """Whether a plan or a direct call owns the layer's memory."""
    owner = layer._owner
    return owner is USED_ALONE or (owner is not None and owner[0]() is not None)


def note_used_alone(layer: HasMemory) -> None:
    """Record that the layer's own `forward` was called, and inform the plan that owns it."""
    owner = layer._owner
    if owner is USED_ALONE:
        return
    plan = None if owner is None else owner[0]()
    if plan is None:
        layer.__dict__["_owner"] = USED_ALONE
    elif owner[1]:  # the layer itself is a step
        plan.note_used_alone(layer)
