"""How a file is spoken of: values cut to a length that can be read, and errors that tell the place.

What stands in a file may be of any size, and none of it belongs into a message at full length.
"""

from __future__ import annotations

import contextlib
import reprlib
from collections.abc import Iterator
from typing import Any

from chainrule.core.errors import ChainruleError, StorageError


def short(value: Any, limit: int = 60) -> str:
    """The ``repr`` of a value from a file, cut to a length that can be read."""
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = brief.maxlong = limit
    return cut(brief.repr(value), 2 * limit)


def cut(text: str, limit: int) -> str:
    """A text with its middle left out where it is too long."""
    half = (limit - 3) // 2
    return text if len(text) <= limit else f"{text[:half]} … {text[-half:]}"


@contextlib.contextmanager
def telling(problem: str, place: str | None = None) -> Iterator[None]:
    """Let whatever goes wrong inside be a StorageError that says where.

    Parameters
    ----------
    problem
        What is wrong where something else is raised, such as by a class with what it is given.
    place
        Put in front of the place of the error.
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
    except Exception as error:  # whatever a class or NumPy says to what stands in the file
        raise StorageError(
            problem, place=place, received=cut(f"{type(error).__name__}: {error}", 300)
        ) from error


def _joined(outer: str | None, inner: str | None) -> str | None:
    places = [cut(place, 200) for place in (outer, inner) if place]
    return ", ".join(places) or None
