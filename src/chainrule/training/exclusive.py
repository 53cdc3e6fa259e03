"""One run at a time: what is being trained must not be trained by anything else.

    callback of run A  →  fit of the same trainer       both would count the same steps
    trainer A  |  trainer B, with the same parameters   each would move what the other measures
    thread 1   |  thread 2, with the same trainer       the gradients of both would mix

Each of these gives numbers that no one can reproduce. So a run reserves everything that training
changes: parameters that are not frozen, buffers, generators, and layers that are not built yet. A
frozen part can be shared by several runs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import ClassVar, Protocol

from chainrule.core.errors import ConfigurationError
from chainrule.core.layer import Layer


class HasModel(Protocol):
    """A trainer, as far as its model is concerned."""

    model: Layer


class Reservation:
    """What the run of a trainer changes, reserved for it until `release`.

    Parameters
    ----------
    trainer
        The trainer.

    Raises
    ------
    ConfigurationError
        Another run trains the same model, or a part of it.
    """

    _all: ClassVar[list[Reservation]] = []
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, trainer: HasModel) -> None:
        self.trainer, self.thread = trainer, threading.get_ident()
        self.changing = changing(trainer.model)
        with self._lock:
            _require_free(trainer, self.changing, self._all)
            self._all.append(self)

    def note_built(self) -> None:
        """Reserve also what building the model has created."""
        self.changing |= changing(self.trainer.model)

    def release(self) -> None:
        """Let others train the model."""
        if self in self._all:  # not in a forked child
            self._all.remove(self)

    @classmethod
    def require_none_elsewhere(cls, trainer: HasModel) -> None:
        """Raise an error if a run in another thread trains the same model, or a part of it."""
        here = threading.get_ident()
        others = [each for each in list(cls._all) if each.thread != here]
        if others:
            _require_free(trainer, changing(trainer.model), others)

    @classmethod
    def forget_in_child(cls) -> None:
        """In a forked child there are no runs: they go on in the parent alone."""
        cls._all, cls._lock = [], threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Reservation.forget_in_child)


def changing(model: Layer) -> set[int]:
    """The ``id`` of everything that training changes, and of the layers that it belongs to."""
    found: set[int] = set()
    for _, layer in model.walk():
        own: list[object] = [p for p in layer._parameters.values() if p.trainable]
        own += [*layer._buffers.values(), *layer._generators.values()]
        if own or not layer.is_built:
            found.update(map(id, (layer, *own)))
    return found


def already_training(is_same: bool, is_nested: bool) -> ConfigurationError:
    """The error for a second run of the same trainer, or on the same model."""
    return ConfigurationError(
        "this trainer is already training its model"
        if is_same
        else "another trainer is training this model, or a part of it",
        expected="one run at a time",
        received="a second one, in a callback of the first"
        if is_nested
        else "a second one, in another thread",
        hint="train a copy, copy.deepcopy(trainer), or wait until the run ends",
    )


def _require_free(trainer: HasModel, wanted: set[int], others: Iterable[Reservation]) -> None:
    for other in others:
        is_same = other.trainer is trainer
        if is_same or not other.changing.isdisjoint(wanted):
            raise already_training(is_same, other.thread == threading.get_ident())
