"""Checked arguments: what the fields of schedules and callbacks are taken for, and what is refused.

A field has a converter and a validator. The converter takes what stands for a number, such as
NumPy's, for a plain one; what is none it leaves alone. The validator refuses by name:

    given → converted → validated, or an error: what, where, what was expected, what came, the mend
"""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Callable, Iterable
from typing import Any

from chainrule.core.wording import is_whole
from chainrule.training.descent import as_float, complain

__all__ = [
    "a_path",
    "a_rate",
    "a_rate_above_zero",
    "a_rate_or_none",
    "as_float",
    "as_int",
    "as_plain_tuple",
    "complain",
    "counted",
    "counted_or_none",
    "counted_or_zero",
    "is_number",
    "one_of",
    "positive",
    "text",
    "yes_or_no",
]

# ------------------------------------------------------------------------------- converters


def is_number(value: object) -> bool:
    """Whether a value is a real number; True and False are none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def as_int(value: Any) -> Any:
    """A Python int, also of a NumPy one."""
    return int(value) if is_whole(value) else value


def as_plain_tuple(values: Any) -> Any:
    """A tuple, of anything that can be gone through, with plain whole numbers."""
    return tuple(map(as_int, values)) if isinstance(values, Iterable) else values


# ------------------------------------------------------------------------------- validators


def a_rate(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but finite numbers from 0 on."""
    if not isinstance(value, float) or not 0 <= value < math.inf:
        mend = "it is a learning rate, often between 1e-4 and 1"
        complain(owner, attribute.name, "a finite number, 0 or more", value, mend)


def a_rate_above_zero(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but finite numbers above 0."""
    if not isinstance(value, float) or not 0 < value < math.inf:
        mend = "it is a learning rate, often between 1e-4 and 1"
        complain(owner, attribute.name, "a finite number above 0", value, mend)


def a_rate_or_none(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but None and finite numbers from 0 on."""
    if value is not None:
        a_rate(owner, attribute, value)


def positive(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but finite numbers above 0."""
    if not isinstance(value, float) or not 0 < value < math.inf:
        mend = {
            "factor": "0.1 is a tenth each time; above 1, the rate grows",
            "power": "1 is a straight line, 2 a parabola",
        }[attribute.name]
        complain(owner, attribute.name, "a finite number above 0", value, mend)


def counted(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but whole numbers from 1 on."""
    if not is_whole(value) or value < 1:
        mend = "it counts steps, or epochs"
        complain(owner, attribute.name, "a whole number, 1 or more", value, mend)


def counted_or_none(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but None and whole numbers from 1 on."""
    if value is not None and (not is_whole(value) or value < 1):
        mend = "it counts steps, or epochs; None is never"
        complain(owner, attribute.name, "a whole number, 1 or more, or None", value, mend)


def counted_or_zero(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but whole numbers from 0 on."""
    if not is_whole(value) or value < 0:
        mend = "it counts steps or epochs; 0 is none"
        complain(owner, attribute.name, "a whole number, 0 or more", value, mend)


def yes_or_no(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but True and False."""
    if not isinstance(value, bool):
        mend = f"{attribute.name}=True or {attribute.name}=False"
        complain(owner, attribute.name, "True or False", value, mend)


def text(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but words; the only ones that are asked for are names of columns."""
    if not isinstance(value, str):
        mend = f'{attribute.name}="validation_loss" or {attribute.name}="loss"'
        complain(owner, attribute.name, "the name of a column", value, mend)


def a_path(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but what names a file or a folder."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        mend = f'a string such as "runs/first", or a pathlib.Path, as {attribute.name}'
        complain(owner, attribute.name, "a path", value, mend)


def one_of(*words: str) -> Callable[[object, Any, Any], None]:
    """A validator that refuses all but these words."""

    def validator(owner: object, attribute: Any, value: Any) -> None:
        if not isinstance(value, str) or value not in words:
            expected = " or ".join(map(repr, words))
            complain(owner, attribute.name, expected, value, f"{attribute.name}={words[0]!r}")

    return validator
