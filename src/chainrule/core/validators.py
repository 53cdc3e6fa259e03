"""Checked arguments: what fields of optimizers, schedules and callbacks are taken for, and refused.

A field has a converter and a validator. The converter takes what stands for a number, such as
NumPy's, for a plain one; what is none it leaves alone. The validator refuses by name:

    given → converted → validated, or an error: what, where, what was expected, what came, the mend
"""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from chainrule.core.errors import ConfigurationError
from chainrule.core.types import SuggestsUse

__all__ = [
    "a_path",
    "a_rate",
    "a_rate_above_zero",
    "a_rate_or_none",
    "as_float",
    "as_floats",
    "as_int",
    "as_plain_tuple",
    "below_one",
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
    """Whether a value is a real number; True and False are none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def as_float(value: Any) -> Any:
    """A Python float, also of a NumPy number: that one would make float64 of float32 arrays."""
    # What is no number, or none that a float can hold, is left for the validator to refuse.
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return value
    try:
        return float(value)
    except OverflowError:
        return value


def as_floats(values: Any) -> Any:
    """Two Python floats, of a tuple or a list."""
    return (
        tuple(as_float(value) for value in values) if isinstance(values, list | tuple) else values
    )


def as_int(value: Any) -> Any:
    """A Python int, also of a NumPy one."""
    return int(value) if is_integer(value) else value


def as_plain_tuple(values: Any) -> Any:
    """A tuple, of anything that can be gone through, with plain whole numbers."""
    return tuple(map(as_int, values)) if isinstance(values, Iterable) else values


# ------------------------------------------------------------------------------- validators


def complain(owner: object, name: str, expected: str, received: object, hint: str) -> NoReturn:
    """Raise the error for an argument that makes no sense."""
    raise ConfigurationError(
        f"{name} has a value that makes no sense",
        place=type(owner).__name__,
        expected=expected,
        received=f"{received!r:.60}",
        hint=hint,
    )


def a_rate(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but finite numbers from 0 on."""
    if not isinstance(value, float) or not 0 <= value < math.inf:
        hint = "it is a learning rate, often between 1e-4 and 1"
        complain(owner, attribute.name, "a finite number, 0 or more", value, hint)


def a_rate_above_zero(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but finite numbers above 0."""
    if not isinstance(value, float) or not 0 < value < math.inf:
        hint = "it is a learning rate, often between 1e-4 and 1"
        complain(owner, attribute.name, "a finite number above 0", value, hint)


def a_rate_or_none(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but None and finite numbers from 0 on."""
    if value is not None:
        a_rate(owner, attribute, value)


def positive(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but finite numbers above 0."""
    if not isinstance(value, float) or not 0 < value < math.inf:
        hint = {
            "epsilon": "1e-8 is usual",
            "factor": "0.1 is a tenth each time; above 1, the rate grows",
            "power": "1 is a straight line, 2 a parabola",
        }[attribute.name]
        complain(owner, attribute.name, "a finite number above 0", value, hint)


def positive_or_none(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but None and finite numbers above 0."""
    if value is not None and (not isinstance(value, float) or not 0 < value < math.inf):
        hint = "None clips nothing; 1.0 is a usual one"
        complain(owner, attribute.name, "a finite number above 0, or None", value, hint)


def not_negative(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but finite numbers from 0 on."""
    if not isinstance(value, float) or not 0 <= value < math.inf:
        if attribute.name == "learning_rate" and isinstance(value, SuggestsUse):  # a schedule
            hint = f"fit(…, callbacks=[{value.suggested_use}])"
            complain(owner, attribute.name, "the number to begin with", value, hint)
        hint = {
            "learning_rate": "often between 1e-4 and 1; with 0 nothing moves",
            "learning_rate_decay": "0 is no decay at all; 1e-3 is small, 1 is strong",
            "initial_accumulator": "0 begins with nothing; 0.1 makes the first steps shorter",
            "weight_decay": "0 is no decay at all; 1e-4 is a usual one",
        }[attribute.name]
        complain(owner, attribute.name, "a finite number, 0 or more", value, hint)


def below_one(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but numbers from 0 up to, but not, 1."""
    if not isinstance(value, float) or not 0 <= value < 1:
        hint = "it is the part of the past that is kept at each step, such as 0.9"
        complain(owner, attribute.name, "a number from 0 up to, but not, 1", value, hint)


def two_below_one(owner: object, attribute: Any, values: Any) -> None:
    """Refuse all but two numbers from 0 up to, but not, 1."""
    if not isinstance(values, tuple) or len(values) != 2:
        complain(owner, attribute.name, "two numbers", values, "(0.9, 0.999) are usual")
    for value in values:
        below_one(owner, attribute, value)


def counted(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but whole numbers from 1 on."""
    if not is_integer(value) or value < 1:
        hint = "it counts steps, or epochs"
        complain(owner, attribute.name, "a whole number, 1 or more", value, hint)


def counted_or_none(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but None and whole numbers from 1 on."""
    if value is not None and (not is_integer(value) or value < 1):
        hint = "it counts steps, or epochs; None is never"
        complain(owner, attribute.name, "a whole number, 1 or more, or None", value, hint)


def counted_or_zero(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but whole numbers from 0 on."""
    if not is_integer(value) or value < 0:
        hint = "it counts steps or epochs; 0 is none"
        complain(owner, attribute.name, "a whole number, 0 or more", value, hint)


def yes_or_no(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but True and False."""
    if not isinstance(value, bool):
        hint = f"{attribute.name}=True or {attribute.name}=False"
        complain(owner, attribute.name, "True or False", value, hint)


def text(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but words; the only ones that are asked for are names of columns."""
    if not isinstance(value, str):
        hint = f'{attribute.name}="validation_loss" or {attribute.name}="loss"'
        complain(owner, attribute.name, "the name of a column", value, hint)


def a_path(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but what names a file or a folder."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        hint = f'a string such as "runs/first", or a pathlib.Path, as {attribute.name}'
        complain(owner, attribute.name, "a path", value, hint)


def one_of(*words: str) -> Callable[[object, Any, Any], None]:
    """A validator that refuses all but these words."""

    def validator(owner: object, attribute: Any, value: Any) -> None:
        if not isinstance(value, str) or value not in words:
            expected = " or ".join(map(repr, words))
            complain(owner, attribute.name, expected, value, f"{attribute.name}={words[0]!r}")

    return validator


# ------------------------------------------------------------------------------- places
