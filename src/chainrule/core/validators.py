"""Validators: the checks of the arguments of optimizers, schedules and callbacks.

A field has a converter and a validator. The converter turns a number, such as one of NumPy, into a
plain one, and leaves everything else unchanged. The validator rejects invalid values with a named
error:

    given → converted → validated, or an error: what, where, expected, received, hint
"""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from attrs import setters

from chainrule.core.errors import ConfigurationError, shortened
from chainrule.core.types import SuggestsUse

__all__ = [
    "FIXED_IN_A_RUN",
    "a_path",
    "a_rate",
    "a_rate_above_zero",
    "a_rate_or_none",
    "a_tolerance",
    "as_float",
    "as_floats",
    "as_int",
    "as_plain_tuple",
    "at_least_one",
    "below_one",
    "changed_in_a_run",
    "complain",
    "counted",
    "counted_or_none",
    "counted_or_zero",
    "is_integer",
    "is_number",
    "not_negative",
    "one_of",
    "positive",
    "positive_or_none",
    "text",
    "two_below_one",
    "yes_or_no",
]

# ------------------------------------------------------------------------------- converters


def is_integer(value: Any) -> bool:
    """Whether a value is an integer; True and False are not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether a value is a real number; True and False are not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def as_float(value: Any) -> Any:
    """A Python float, also from a NumPy number: that would turn float32 arrays into float64."""
    # Anything else, and numbers too large for a float, are left to the validator.
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return value
    try:
        return float(value)
    except OverflowError:
        return value


def as_floats(values: Any) -> Any:
    """A tuple of Python floats, from a tuple or a list of numbers."""
    return (
        tuple(as_float(value) for value in values) if isinstance(values, list | tuple) else values
    )


def as_int(value: Any) -> Any:
    """A Python int, also from a NumPy integer."""
    return int(value) if is_integer(value) else value


def as_plain_tuple(values: Any) -> Any:
    """A tuple, from any iterable, with its integers as Python ints."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        return values
    try:
        return tuple(map(as_int, values))
    except TypeError:  # an array without axes
        return values


# ------------------------------------------------------------------------------- validators


def complain(owner: object, name: str, expected: str, received: object, hint: str) -> NoReturn:
    """Raise the error for an invalid argument."""
    raise ConfigurationError(
        f"{name} has an invalid value",
        place=type(owner).__name__,
        expected=expected,
        received=shortened(received),
        hint=hint,
    )


def a_rate(owner: object, attribute: Any, value: Any) -> None:
    """Accept only finite numbers, 0 or more."""
    if not isinstance(value, float) or not 0 <= value < math.inf:
        hint = "it is a learning rate, often between 1e-4 and 1"
        complain(owner, attribute.name, "a finite number, 0 or more", value, hint)


def a_rate_above_zero(owner: object, attribute: Any, value: Any) -> None:
    """Accept only finite numbers above 0."""
    if not isinstance(value, float) or not 0 < value < math.inf:
        hint = "it is a learning rate, often between 1e-4 and 1"
        complain(owner, attribute.name, "a finite number above 0", value, hint)


def a_rate_or_none(owner: object, attribute: Any, value: Any) -> None:
    """Accept only None and finite numbers, 0 or more."""
    if value is not None:
        a_rate(owner, attribute, value)


def positive(owner: object, attribute: Any, value: Any) -> None:
    """Accept only finite numbers above 0."""
    if not isinstance(value, float) or not 0 < value < math.inf:
        hint = {
            "epsilon": "1e-8 is usual",
            "factor": "0.1 divides the rate by 10 each time; above 1, it grows",
            "power": "1 is a straight line, 2 a parabola",
        }[attribute.name]
        complain(owner, attribute.name, "a finite number above 0", value, hint)


def positive_or_none(owner: object, attribute: Any, value: Any) -> None:
    """Accept only None and finite numbers above 0."""
    if value is not None and (not isinstance(value, float) or not 0 < value < math.inf):
        hint = "1.0 is usual; None clips nothing"
        complain(owner, attribute.name, "a finite number above 0, or None", value, hint)


def not_negative(owner: object, attribute: Any, value: Any) -> None:
    """Accept only finite numbers, 0 or more."""
    if not isinstance(value, float) or not 0 <= value < math.inf:
        if attribute.name == "learning_rate" and isinstance(value, SuggestsUse):  # a schedule
            hint = f"fit(…, callbacks=[{value.suggested_use}])"
            complain(owner, attribute.name, "a number, the initial learning rate", value, hint)
        kind = type(value)
        if hasattr(kind, "grad") or hasattr(kind, "parameters"):  # parameters, or a model
            hint = "an optimizer takes no parameters: Trainer(model, loss, optimizer)"
            complain(owner, attribute.name, "a number, the learning rate", kind, hint)
        hint = {
            "learning_rate": "often between 1e-4 and 1; 0 changes nothing",
            "learning_rate_decay": "0 means no decay; 1e-3 is weak, 1 is strong",
            "initial_accumulator": "0 starts empty; 0.1 shortens the first steps",
            "weight_decay": "0 means no decay; 1e-4 is usual",
        }[attribute.name]
        complain(owner, attribute.name, "a finite number, 0 or more", value, hint)


def below_one(owner: object, attribute: Any, value: Any) -> None:
    """Accept only numbers from 0 to below 1."""
    if not isinstance(value, float) or not 0 <= value < 1:
        hint = "it is the fraction of the past kept at each step, such as 0.9"
        complain(owner, attribute.name, "a number from 0 to below 1", value, hint)


def a_tolerance(owner: object, attribute: Any, value: Any) -> None:
    """Accept only numbers between 0 and 1."""
    if not isinstance(value, float) or not 0 < value < 1:
        complain(owner, attribute.name, "a number between 0 and 1", value, "1e-6 is usual")


def two_below_one(owner: object, attribute: Any, values: Any) -> None:
    """Accept only two numbers from 0 to below 1."""
    if not isinstance(values, tuple) or len(values) != 2:
        complain(owner, attribute.name, "two numbers", values, "(0.9, 0.999) are usual")
    for value in values:
        below_one(owner, attribute, value)


def counted(owner: object, attribute: Any, value: Any) -> None:
    """Accept only integers, 1 or more."""
    if not is_integer(value) or value < 1:
        hint = "it counts steps or epochs, such as 10"
        complain(owner, attribute.name, "an integer, 1 or more", value, hint)


def counted_or_none(owner: object, attribute: Any, value: Any) -> None:
    """Accept only None and integers, 1 or more."""
    if value is not None and (not is_integer(value) or value < 1):
        hint = "it counts steps or epochs; None means never"
        complain(owner, attribute.name, "an integer, 1 or more, or None", value, hint)


def counted_or_zero(owner: object, attribute: Any, value: Any) -> None:
    """Accept only integers, 0 or more."""
    if not is_integer(value) or value < 0:
        hint = "it counts steps or epochs; 0 means none"
        complain(owner, attribute.name, "an integer, 0 or more", value, hint)


def at_least_one(
    hint: str, expected: str = "an integer of at least 1"
) -> Callable[[object, Any, Any], None]:
    """A validator for a size or a number of parts; ``{kind}`` in the hint is the class's name."""

    def validator(owner: object, attribute: Any, value: Any) -> None:
        if not is_integer(value) or value < 1:
            complain(owner, attribute.name, expected, value, hint.format(kind=type(owner).__name__))

    return validator


def yes_or_no(owner: object, attribute: Any, value: Any) -> None:
    """Accept only True and False."""
    if not isinstance(value, bool):
        hint = f"{attribute.name}=True or {attribute.name}=False"
        complain(owner, attribute.name, "True or False", value, hint)


def text(owner: object, attribute: Any, value: Any) -> None:
    """Accept only strings; the only ones used are names of history columns."""
    if not isinstance(value, str):
        hint = f'{attribute.name}="validation_loss" or {attribute.name}="loss"'
        complain(owner, attribute.name, "the name of a column of the history", value, hint)


def a_path(owner: object, attribute: Any, value: Any) -> None:
    """Accept only the path of a file or a folder."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        hint = f'a string such as "runs/first", or a pathlib.Path, as {attribute.name}'
        complain(owner, attribute.name, "a path", value, hint)


def one_of(*words: str, **nearest: str) -> Callable[[object, Any, Any], None]:
    """A validator that accepts only these strings, and knows the nearest to some others."""
    nearest |= {word: word for word in words}

    def validator(owner: object, attribute: Any, value: Any) -> None:
        if not isinstance(value, str) or value not in words:
            expected = " or ".join(map(repr, words))
            meant = nearest.get(str(value).lower(), words[0])
            complain(owner, attribute.name, expected, value, f"{attribute.name}={meant!r}")

    return validator


# ------------------------------------------------------------------------------- assignments


def changed_in_a_run(owner: str, name: str, given: object) -> ConfigurationError:
    """The error for something that a run could not, or only in part, respond to."""
    return ConfigurationError(
        f"{name} of a run cannot be changed",
        place=owner,
        expected=f"the {name} with which the run began",
        received=shortened(given),
        hint="end the run with trainer.stop(…), and call fit again",
    )


def _not_in_a_run(owner: Any, attribute: Any, given: Any) -> Any:
    if owner._is_in_a_run and not attribute.name.startswith("_"):
        raise changed_in_a_run(type(owner).__name__, attribute.name, given)
    return given


FIXED_IN_A_RUN: list[Callable[[Any, Any, Any], Any]] = [
    _not_in_a_run,
    setters.convert,
    setters.validate,
]
"""The ``on_setattr`` of fields that a run reads only when it begins."""
