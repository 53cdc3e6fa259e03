"""The errors for vectors that an optimizer cannot use, and for states that it cannot restore.

    step(θ, g)         θ and g have to be floating-point vectors of the same size and dtype
    restore(state)     the state has to have the names, types and sizes of what the rule remembers

A step checks its arguments in a single expression, because it does so every time. Only if that
check fails do the functions here find out what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from chainrule.core.errors import ConfigurationError, DtypeError, ShapeError, shortened
from chainrule.core.types import Array

if TYPE_CHECKING:
    from chainrule.optimizers.optimizer import Optimizer


def refuse_vectors(optimizer: Optimizer, value: Array, gradient: Array) -> NoReturn:
    """Raise the error for a value and a gradient that do not fit."""
    place = type(optimizer).__name__
    for name, array in (("value", value), ("gradient", gradient)):
        if not hasattr(array, "dtype") or array.dtype.kind != "f":
            raise DtypeError(
                f"the {name} is not an array of floating-point numbers",
                place=place,
                expected="a vector of dtype float32 or float64",
                received=description(array),
                hint=f"model.parameters.{'value' if name == 'value' else 'grad'} is such a vector",
            )
    if value.ndim != 1 or value.shape != gradient.shape:
        raise ShapeError(
            "value and gradient must be vectors of the same size",
            place=place,
            expected="the same shape (n,) for both",
            received=f"value {value.shape}, gradient {gradient.shape}",
            hint="model.parameters.value and model.parameters.grad are such vectors",
        )
    if value.dtype != gradient.dtype:
        raise DtypeError(
            "value and gradient have different dtypes",
            place=place,
            expected=f"a gradient of dtype {value.dtype}",
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
    """Raise an error for a state that does not have the names of this optimizer's state."""
    place, hint = type(optimizer).__name__, "give the state() of an optimizer of the same class"
    if not isinstance(state, Mapping):
        raise ConfigurationError(
            "this is not the state of an optimizer",
            place=place,
            expected="a dictionary, as returned by state()",
            received=f"{type(state).__name__}: {shortened(state)}",
            hint=hint,
        )
    if state.get("class") != place:
        raise ConfigurationError(
            "the state belongs to another optimizer",
            place=place,
            expected=f"the state of {place}",
            received=f"the state of {state['class']}" if "class" in state else "no entry 'class'",
            hint=hint,
        )
    missing = [name for name in names if name not in state]
    unknown = [str(name) for name in state if name not in ("class", *names)]
    if missing or unknown:
        differences = [("missing: ", missing), ("unknown: ", unknown)]
        raise ConfigurationError(
            "the state does not have the fields of this optimizer",
            place=place,
            expected=", ".join(names),
            received="; ".join(kind + ", ".join(found) for kind, found in differences if found),
            hint=hint,
        )


def unlike(place: str, name: str, expected: str, received: Any) -> ConfigurationError:
    """The error for a state in which one field has the wrong kind of value."""
    return ConfigurationError(
        f"the state has an invalid value for {name}",
        place=place,
        expected=expected,
        received=description(received),
        hint="give a dictionary that state() has returned",
    )


def description(thing: object) -> str:
    """``float64 (30,)`` for an array; the type and the repr for anything else."""
    if hasattr(thing, "dtype") and hasattr(thing, "shape"):
        return f"{thing.dtype} {thing.shape}"
    return f"{type(thing).__name__}: {shortened(thing)}"


def another_model(optimizer: Optimizer, remembered: str) -> str:
    """The warning for an optimizer that continues with another model."""
    name = type(optimizer).__name__
    return (
        f"this {name} has trained another model, and what it remembers ({remembered}) affects"
        " the steps of this one\n"
        f"  hint      before fit, make it fresh: optimizer.reset(); or create a new {name} for each"
        " model"
    )
