"""Decisions: what the callbacks on rank 0 change, and how the other ranks follow.

Callbacks run on rank 0 alone. What they decide there must hold on all ranks before the next step:

    the learning rate, and other fields of the optimizer, the loss and the layers
    what is frozen
    the parameters, if a callback assigns to them
    the generator of the trainer, if a callback draws from it

The reason to stop travels with every exchange: see `chainrule.training.ranks`.

Callbacks such as those of chainrule declare that they change nothing but the learning rate before
the run ends. Only for others is everything compared after each event that they take part in.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from attrs import define, field, fields, has

from chainrule import losses
from chainrule.callbacks import Callback
from chainrule.core.errors import ConfigurationError
from chainrule.core.layer_state import set_state, state_of
from chainrule.core.parameter import Parameter
from chainrule.core.tree import fields_of
from chainrule.core.types import Array
from chainrule.training.ranks import Ranks

PLAIN = (bool, int, float, str, type(None), np.generic)
"""The types of settings that travel to other ranks."""

Key = tuple[str, str]
"""Which object a setting belongs to, and the name of its field."""


class HasCallbacks(Protocol):
    """A run, as far as its callbacks are concerned."""

    trainer: Any
    callbacks: list[Callback]

    @property
    def ranks(self) -> Ranks:
        """The ranks of the training."""


@define(eq=False)
class Decisions:
    """What the callbacks of a run have changed since the last exchange.

    Parameters
    ----------
    run
        The run.

    Attributes
    ----------
    are_made, at_steps
        Whether rank 0 has callbacks, and whether some are called after each step.
    """

    run: HasCallbacks
    are_made: bool = field(init=False)
    at_steps: bool = field(init=False)
    _are_known: bool = field(init=False)
    _settings: dict[Key, Any] = field(init=False)
    _freezing: object = field(init=False)
    _values: Array | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        callbacks = self.run.callbacks
        steps = any(type(each).on_step_end is not Callback.on_step_end for each in callbacks)
        known = all(vars(type(each)).get("changes_rate_alone") for each in callbacks)
        found = self.run.ranks.lead(lambda: (bool(callbacks), steps, known))
        self.are_made, self.at_steps, self._are_known = found
        if not self.run.ranks.is_divided:  # no one has to follow
            self.are_made, self._are_known = False, True
        self._settings = {} if self._are_known else settings(self.run)
        self._freezing = Parameter.last_freezing

    def begin_step(self) -> None:
        """Remember the parameters before the callbacks of a step."""
        if not self._are_known:
            self._values = self.run.trainer.model.parameters.value.copy()

    def follow(self, *, is_end: bool = False) -> None:
        """Make the decisions on rank 0 those of all ranks.

        Parameters
        ----------
        is_end
            Whether the run ends: the best parameters may have been restored.
        """
        if not self.are_made:
            return
        run, ranks = self.run, self.run.ranks
        has_moved, made = ranks.lead(self._made)
        if not ranks.leads:
            self._obey(made)
        if has_moved or is_end:
            ranks.share(run.trainer.model)

    def _made(self) -> tuple[bool, dict[str, Any]]:
        """Whether the parameters have changed, and what else has."""
        trainer = self.run.trainer
        made: dict[str, Any] = {"rate": trainer.optimizer.learning_rate}
        if self._are_known:
            return False, made
        now = settings(self.run)
        before, self._settings = self._settings, now
        changed = {key: value for key, value in now.items() if value != before.get(key)}
        for key, value in changed.items():
            if isinstance(value, _Thing):
                raise ConfigurationError(
                    f"a callback has replaced the {key[1]} of the {key[0]}",
                    expected="on several ranks, changes of numbers, strings and tuples of these",
                    received=f"{value.thing!r:.80}",
                    hint="set it on all ranks before fit",
                )
        made |= {"settings": changed, "rng": state_of(trainer.rng)}
        if Parameter.last_freezing is not self._freezing:
            self._freezing = Parameter.last_freezing
            made["trainable"] = [p.trainable for p in trainer.model.parameters]
        values, self._values = self._values, None
        has_moved = values is None or not np.array_equal(values, trainer.model.parameters.value)
        return has_moved, made

    def _obey(self, made: dict[str, Any]) -> None:
        trainer = self.run.trainer
        trainer.optimizer.learning_rate = made["rate"]
        things = things_of(self.run)
        for (part, name), value in made.get("settings", {}).items():
            setattr(things[part], name, value)
        if "rng" in made:
            set_state(trainer.rng, made["rng"])
        if "trainable" in made:
            for parameter, trainable in zip(
                trainer.model.parameters, made["trainable"], strict=True
            ):
                parameter.trainable = trainable


class _Thing:
    """A setting that is an object: equal only to the same one."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Thing) and other.thing is self.thing

    __hash__ = None  # type: ignore[assignment]


def settings(run: HasCallbacks) -> dict[Key, Any]:
    """The fields of the optimizer, the loss and the layers, by their names."""
    return {
        (part, each.name): value if is_plain(value) else _Thing(value)
        for part, thing in things_of(run).items()
        for each in (fields_of(type(thing)) if part.startswith("layer") else fields(type(thing)))
        if each.init and not (isinstance(thing, losses.PerOutput) and each.name == "losses")
        for value in [getattr(thing, each.name, None)]
    }


def things_of(run: HasCallbacks) -> dict[str, Any]:
    """What callbacks may change the fields of, by name."""
    trainer = run.trainer
    losses = {f"loss {n}": one for n, one in enumerate(trainer.loss.for_each_output)}
    layers = {f"layer {path}": layer for path, layer in trainer.model.walk()}
    things = {"optimizer": trainer.optimizer, "loss": trainer.loss, **losses}
    return {part: thing for part, thing in things.items() if has(type(thing))} | layers


def is_plain(value: Any) -> bool:
    """Whether a setting is a number, a string, None, or a tuple of these."""
    if isinstance(value, tuple):
        return all(map(is_plain, value))
    return isinstance(value, PLAIN)
