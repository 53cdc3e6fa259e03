"""Where a layer stands: a memory belongs to one place only.

What `forward` remembers is set on the layer. So a layer stands as itself in one place, where one
can look at what it remembers; in every other, a twin stands for it. A place is a step of a plan
(see `chainrule.graph.plan`), or the layer's use by itself, whichever comes first.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainrule.core.layer import Layer

BY_ITSELF = "by itself"
"""The place of a layer whose own `forward` was called."""


class Places:
    """The layers that are given a place in a new plan."""

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def in_a_place_of_its_own(self, layer: Layer) -> Layer:
        """The layer, or a twin where it or a part of it stands elsewhere."""
        parts = [part for _, part in layer.walk()]
        elsewhere = any(id(part) in self._taken or has_owner(part) for part in parts)
        self._taken.update(map(id, parts))
        return layer.twin() if elsewhere else layer

    def claim(self, plan: Any, layers: Iterable[Layer]) -> None:
        """Note in the layers, and in what they hold, that the plan is their place."""
        here = weakref.ref(plan)
        for layer in layers:
            for _, part in layer.walk():
                part.__dict__["_place"] = (here, part is layer)


def has_owner(layer: Layer) -> bool:
    """Whether a layer has a place."""
    place = layer._place
    return place is BY_ITSELF or (place is not None and place[0]() is not None)


def used_by_itself(layer: Layer) -> None:
    """Note that the layer's own `forward` was called, and tell the plan in which it stands."""
    place = layer._place
    if place is BY_ITSELF:
        return
    plan = None if place is None else place[0]()
    if plan is None:
        layer.__dict__["_place"] = BY_ITSELF
    elif place[1]:
        plan.disturb(layer)
