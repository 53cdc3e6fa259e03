"""Messages about files: values cut to a readable length, and errors with their location.

Anything in a file may be of any size, so a message never shows it at full length.
"""

from __future__ import annotations

import contextlib
import reprlib
from collections.abc import Iterator
from typing import Any

from chainrule.core.errors import ChainruleError, StorageError


def short(value: Any, limit: int = 60) -> str:
    """The ``repr`` of a value from a file, cut to a readable length."""
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = brief.maxlong = limit
    brief.maxlevel = 3  # six levels of six items each would be 46,656 items
    return cut(brief.repr(value), 2 * limit)


def cut(text: str, limit: int) -> str:
    """A text, with its middle omitted if it is too long."""
    half = (limit - 3) // 2
    return text if len(text) <= limit else f"{text[:half]} … {text[-half:]}"


@contextlib.contextmanager
def with_location(problem: str, place: str | None = None) -> Iterator[None]:
    """Convert any error inside to a StorageError with its location.

    Parameters
    ----------
    problem
        The message for errors other than StorageError, such as those raised by a layer's class.
    place
        The location to prepend to that of the error.
    """
    try:
        yield
    except StorageError as error:
        error.place = _joined(place, error.place)
        raise
    except ChainruleError as error:
        received = "" if error.received is None else f"; received {error.received}"
        raise StorageError(
            problem,
            place=_joined(place, error.place),
            expected=None if error.expected is None else cut(str(error.expected), 200),
            received=cut(f"{type(error).__name__}: {error.problem}{received}", 300),
        ) from error
    except Exception as error:  # a class or NumPy may raise anything for the values in a file
        raise StorageError(
            problem, place=place, received=cut(f"{type(error).__name__}: {error}", 300)
        ) from error


def _joined(outer: str | None, inner: str | None) -> str | None:
    places = [cut(place, 200) for place in (outer, inner) if place]
    return ", ".join(places) or None
