"""Refusals: what an optimizer cannot work on, and what none of its kind can have remembered.

    step(θ, g)         θ and g are vectors of floating-point numbers, equally long and of one type
    restore(state)     the state has the names, the kinds and the sizes of what the rule remembers

A step looks at what it is given in one expression, since it does so every time; only where that
fails is it asked here what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from chainrule.core.errors import ConfigurationError, DtypeError, ShapeError
from chainrule.core.types import Array

if TYPE_CHECKING:
    from chainrule.optimizers.optimizer import Optimizer


def refuse_vectors(optimizer: Optimizer, value: Array, gradient: Array) -> NoReturn:
    """Raise the error for a value and a gradient that do not fit."""
    place = type(optimizer).__name__
    for name, array in (("value", value), ("gradient", gradient)):
        if not hasattr(array, "dtype") or array.dtype.kind != "f":
            raise DtypeError(
                f"the {name} is no array of floating-point numbers",
                place=place,
                expected="a vector of float32 or float64",
                received=description(array),
                hint=f"model.parameters.{'value' if name == 'value' else 'grad'} is one",
            )
    if value.ndim != 1 or value.shape != gradient.shape:
        raise ShapeError(
            "value and gradient are vectors of the same size",
            place=place,
            expected="two shapes (n,)",
            received=f"value {value.shape}, gradient {gradient.shape}",
            hint="model.parameters.value and model.parameters.grad are such vectors",
        )
    if value.dtype != gradient.dtype:
        raise DtypeError(
            "value and gradient are of different types",
            place=place,
            expected=f"a gradient of {value.dtype}",
            received=gradient.dtype,
            hint="gradient.astype(value.dtype)",
        )
    raise ConfigurationError(
        "the value is read-only",
        place=place,
        expected="an array that can be changed in place",
        received="value.flags.writeable = False",
        hint="value = value.copy()",
    )


def refuse_state_of_another(optimizer: Optimizer, state: Any, names: list[str]) -> None:
    """Raise the error for a state that has not the names of this optimizer's own."""
    place, hint = type(optimizer).__name__, "give the state() of an optimizer of the same class"
    if not isinstance(state, Mapping):
        raise ConfigurationError(
            "this is no state of an optimizer",
            place=place,
            expected="a dictionary, as state() returns it",
            received=f"{type(state).__name__}: {state!r:.60}",
            hint=hint,
        )
    if state.get("class") != place:
        raise ConfigurationError(
            "the state is that of another optimizer",
            place=place,
            expected=f"the state of {place}",
            received=f"that of {state['class']}" if "class" in state else "no class in it",
            hint=hint,
        )
    missing = [name for name in names if name not in state]
    unknown = [str(name) for name in state if name not in ("class", *names)]
    if missing or unknown:
        told = [("missing: ", missing), ("unknown: ", unknown)]
        raise ConfigurationError(
            "the state has not what this optimizer remembers",
            place=place,
            expected=", ".join(names),
            received="; ".join(what + ", ".join(some) for what, some in told if some),
            hint=hint,
        )


def unlike(place: str, name: str, expected: str, received: Any) -> ConfigurationError:
    """The error for a state in which something is of another kind than what it is named for."""
    return ConfigurationError(
        f"the state cannot be one of this optimizer: {name}",
        place=place,
        expected=expected,
        received=description(received),
        hint="give what state() has returned",
    )


def description(thing: object) -> str:
    """``float64 (30,)`` of an array; of anything else its type and how it looks."""
    if hasattr(thing, "dtype") and hasattr(thing, "shape"):
        return f"{thing.dtype} {thing.shape}"
    return f"{type(thing).__name__}: {thing!r:.60}"
