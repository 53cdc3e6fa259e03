"""Ownership: which use of a layer owns its memory.

What `forward` remembers is set on the layer, so only one use of the layer can have this memory:
a step of a plan (see `chainrule.graph.plan`), or a direct call of the layer's own `forward`. The
first use owns the layer, and you can inspect on the layer what this use remembers. Every other step
runs a twin, which has the same parameters but its own memory.

While a layer is being built, it belongs to the thread that builds it. Others wait: of several
threads that make the first call to a model, one builds it.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Protocol, TypeVar

from chainrule.core.caller import warn_caller


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
        self.twins: list[tuple[Any, Any]] = []
        """The twins that were made, each with its original."""

    def owned_or_twin(self, layer: L) -> L:
        """The layer, or a twin of it if the layer or one inside it already has an owner."""
        family = _members(layer)
        has_other = any(id(member) in self._taken or has_owner(member) for member in family)
        self._taken.update(map(id, family))
        if not has_other:
            return layer
        twin: L = layer.twin()
        self.twins.extend(zip(_members(twin), family, strict=True))
        return twin

    def assign(self, plan: Any, layers: Iterable[HasMemory]) -> None:
        """Record in the layers, and in those inside them, that the plan owns them."""
        owner = weakref.ref(plan)
        for layer in layers:
            for _, member in layer.walk():
                member.__dict__["_owner"] = (owner, member is layer)


def _members(layer: HasMemory) -> list[Any]:
    return [member for _, member in layer.walk()]


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


class ReusedStateWarning(UserWarning):
    """An optimizer or a schedule continues with another model from where it was with the first."""


class UsedBy:
    """A weak reference to what an object with a memory has worked for; a copy has none."""

    def __init__(self, user: object = None) -> None:
        self._user = None if user is None else weakref.ref(user)
        self._has_warned = False

    def is_another_than(self, user: object) -> bool:
        """Whether there was a user, and it is not this one."""
        return self._user is not None and self._user() is not user

    def is_now(self, user: object, warning: str | None) -> None:
        """Note the user; the first time that it is another one, warn, if there is something to say.

        Warns
        -----
        ReusedStateWarning
            With the text of ``warning``.
        """
        if warning is not None and not self._has_warned and self.is_another_than(user):
            self._has_warned = True
            warn_caller(ReusedStateWarning(warning))
        self._user = weakref.ref(user)

    def __reduce__(self) -> Any:
        return UsedBy, ()


BUILDING: ContextVar[Any] = ContextVar("building", default=None)
"""The layer whose `build` is running."""


class Builder:
    """The thread that may build layers: one at a time, as models can share layers."""

    _lock: ClassVar[Any] = threading.RLock()
    _is_here: ClassVar[ContextVar[bool]] = ContextVar("is_here", default=False)

    @classmethod
    @contextmanager
    def here(cls) -> Iterator[None]:
        """Be the builder; wait until another thread has finished."""
        with cls._lock:
            token = cls._is_here.set(True)
            try:
                yield
            finally:
                cls._is_here.reset(token)

    @classmethod
    def is_here(cls) -> bool:
        """Whether this thread is the builder."""
        return cls._is_here.get()

    @classmethod
    def wait(cls) -> None:
        """Wait until no other thread builds."""
        with cls._lock:
            pass

    @classmethod
    def forget_in_child(cls) -> None:
        """In a forked child, no other thread builds."""
        cls._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Builder.forget_in_child)
