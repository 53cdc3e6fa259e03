"""The architecture of a model as JSON: a list of records, one for each layer.

A container refers to its layers by their index in the list. So a shared layer is written once,
and the nesting depth does not matter:

    [{"class": "Sequential", "fields": {"layers": {"tuple": [{"layer": 1}, {"layer": 2}]}}},
     {"class": "Dense", "fields": {"units": 30, …}}, …]

A class is named alone, or with its module if the program has several classes of its name. A type
that JSON lacks is written as an object whose key names the type: ``{"tuple": […]}``.

A few records can describe a huge number of layers: if each of sixty sequences contains the next
one twice, the last one occurs 2⁶⁰ times. So before any layer is created, we count the occurrences,
starting with the innermost layers:

    places(n) = 1 + Σ places(c)        over the layers c that layer n contains
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np

from chainrule.core.errors import StorageError
from chainrule.core.initializers import Initializer
from chainrule.core.layer import Layer
from chainrule.core.tree import fields_of
from chainrule.layers.functions import Function
from chainrule.storage.classes import Known, class_of, known_classes, name_in_file
from chainrule.storage.messages import cut, short, with_location
from chainrule.storage.sealed_file import DIGITS_LIMIT

NESTING_LIMIT = 50
"""The maximum nesting depth of lists, tuples and dictionaries in a field."""

PLACES_LIMIT = 10_001
"""The maximum number of layers, counting a shared layer each time it occurs: a sequence of ten
thousand. Building one takes 0.1 or 0.2 ms, so this limits how long a file can keep a program
busy."""

PATHS_LIMIT = 2**28
"""The maximum total length of the paths of all these layers, in characters. Five thousand nested
containers need 160 million."""

UNMADE = "the file does not contain a model that can be restored"

LayerRecord = dict[str, Any]


def records_of(model: Layer) -> list[LayerRecord]:
    """The records of a model.

    Raises
    ------
    StorageError
        If a field cannot be written as JSON, or there are too many layers.
    """
    numbers: dict[int, int] = {}
    found = [layer for _, layer in model.walk() if _is_new(layer, numbers)]
    known = known_classes(())
    records = [
        {
            "class": name_in_file(type(layer), "class", known),
            "fields": {
                name: _encoded(
                    getattr(layer, name), numbers, known, f"{type(layer).__name__}.{name}"
                )
                for name in configuration(type(layer))
            },
        }
        for layer in found
    ]
    _require_bounded(records, _order(records))
    return records


def model_of(records: Any, known: Known) -> Layer:
    """The model that the records describe, not built yet.

    Raises
    ------
    StorageError
        If the records are invalid or do not describe a model.
    """
    checked = _checked(records)
    order = _order(checked)
    _require_bounded(checked, order)
    made: dict[int, Layer] = {}
    for number in order:
        with with_location(UNMADE, _place(number, checked)):
            made[number] = _object("class", checked[number], made, known)
    return made[0]


def configuration(cls: type) -> list[str]:
    """The names of the fields that configure an object."""
    return [f.name for f in fields_of(cls) if f.init]


# ------------------------------------------------------------------------------- writing


def _is_new(layer: Layer, numbers: dict[int, int]) -> bool:
    if id(layer) in numbers:
        return False
    numbers[id(layer)] = len(numbers)
    return True


def _encoded(value: Any, numbers: dict[int, int], known: Known, place: str, depth: int = 0) -> Any:
    """A value as JSON; a type that JSON lacks becomes an object whose key names the type."""
    if depth > NESTING_LIMIT:
        raise _too_deep(place)
    if isinstance(value, int) and value.bit_length() > 3 * DIGITS_LIMIT:
        raise _unwritable(place, f"a number of more than {DIGITS_LIMIT * 9 // 10} digits")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic) and value.dtype.itemsize <= 8:
        return _encoded(value.item(), numbers, known, place)
    if isinstance(value, Layer) and id(value) in numbers:
        return {"layer": numbers[id(value)]}

    def inner(part: Any) -> Any:
        return _encoded(part, numbers, known, place, depth + 1)

    if isinstance(value, list):
        return [inner(part) for part in value]
    if isinstance(value, tuple):
        return {"tuple": [inner(part) for part in value]}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: inner(part) for key, part in value.items()}}
    name = getattr(value, "__name__", "")
    if isinstance(value, np.ufunc) and vars(np).get(name) is value:
        return {"ufunc": name}
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" and value.dtype.itemsize <= 8:
        return {"array": value.ravel().tolist(), "shape": value.shape, "dtype": str(value.dtype)}
    for kind, base in (("initializer", Initializer), ("function", Function)):
        if isinstance(value, base) and attrs.has(type(value)):
            fields = {own: inner(getattr(value, own)) for own in configuration(type(value))}
            return {kind: name_in_file(type(value), kind, known), "fields": fields}
    raise _unwritable(place, f"{short(value, 100)}, of type {type(value).__name__}")


def _unwritable(place: str, received: str) -> StorageError:
    return StorageError(
        "a field of a layer cannot be written to a file",
        place=place,
        expected="numbers, strings, lists, layers, initializers, activation functions",
        received=received,
        hint="for a custom function, define a subclass of Function and pass an instance of it; "
        "for a curve that is fitted, a subclass of Formula",
    )


# ------------------------------------------------------------------------------- measuring


def _checked(records: Any) -> list[LayerRecord]:
    if not isinstance(records, list) or not records:
        raise StorageError(UNMADE, expected="a list of layers", received=short(records))
    for number, record in enumerate(records):
        match record:
            case {"class": str(), "fields": dict(), **rest} if not rest:
                continue
        raise StorageError(
            UNMADE,
            place=f"layer {number}",
            expected="a class and its fields",
            received=short(record),
        )
    return records


def _place(number: int, records: list[LayerRecord]) -> str:
    return f"layer {number}, {cut(str(records[number]['class']), 60)}"


def _order(records: list[LayerRecord]) -> list[int]:
    """The indices of the layers that are needed, each after the layers that it contains."""
    done: dict[int, None] = {}
    opened: set[int] = set()
    waiting = [0]
    while waiting:
        number = waiting[-1]
        if number in done:
            waiting.pop()
            continue
        below = [n for n, _ in _held(number, records) if n not in done]
        if not below:
            done[waiting.pop()] = None
        elif number in opened:
            raise StorageError("a layer in the file contains itself", place=_place(number, records))
        else:
            opened.add(number)
            waiting.extend(reversed(below))
    return list(done)


def _held(number: int, records: list[LayerRecord]) -> Iterator[tuple[int, int]]:
    """The layers that a layer contains, each with the maximum length of its name."""
    for name, value in records[number]["fields"].items():
        for below, length in _numbers_in(value, 0, f"{_place(number, records)}.{cut(name, 60)}"):
            if type(below) is not int or not 0 <= below < len(records):
                raise StorageError(
                    UNMADE,
                    place=f"{_place(number, records)}.{cut(name, 60)}",
                    expected=f"the index of a layer, from 0 to {len(records) - 1}",
                    received=short(below),
                )
            # The name is that of the field, or in a list that of the class, in snake_case with a
            # number.
            yield below, max(len(name), length + len(records[below]["class"]) + 8)


def _numbers_in(value: Any, depth: int, place: str) -> Iterator[tuple[Any, int]]:
    """The layers that an encoded value contains, each with the length of its dictionary keys."""
    if depth > NESTING_LIMIT:
        raise _too_deep(place)
    match value:
        case {"layer": number}:
            yield number, 0
        case {"tuple": list(items)} | list(items):
            for item in items:
                yield from _numbers_in(item, depth + 1, place)
        case {"dict": dict(items)}:
            for key, item in items.items():
                for number, length in _numbers_in(item, depth + 1, place):
                    yield number, length + len(key) + 1


def _require_bounded(records: list[LayerRecord], order: list[int]) -> None:
    """Count the occurrences of all layers and the characters of their paths; limit both."""
    places: dict[int, int] = {}
    letters: dict[int, int] = {}
    for number in order:
        held = list(_held(number, records))
        places[number] = 1 + sum(places[n] for n, _ in held)
        letters[number] = sum(letters[n] + places[n] * length for n, length in held)
        if places[number] > PLACES_LIMIT or letters[number] > PATHS_LIMIT:
            raise StorageError(
                "there are too many layers for a file, or they are nested too deep",
                place=_place(number, records),
                expected=f"at most {PLACES_LIMIT:,} layers, counting shared ones each time, with "
                f"at most {PATHS_LIMIT:,} characters in their paths",
                received=f"{places[number]:,} layers or more, {letters[number]:,} characters",
            )


def _too_deep(place: str | None) -> StorageError:
    return StorageError(
        "a field of a layer is nested too deep for a file",
        place=place,
        expected=f"at most {NESTING_LIMIT} nested lists, tuples or dictionaries",
        received="more; perhaps one that contains itself",
    )


# ------------------------------------------------------------------------------- reading


def _object(
    kind: str, record: LayerRecord, made: dict[int, Layer], known: Known, depth: int = 0
) -> Any:
    """Create a layer, an initializer or a function from its class and its fields."""
    cls: Any = class_of(record[kind], kind, known)
    fields = {name: _decoded(v, made, known, depth) for name, v in record["fields"].items()}
    own = {f.name: f.alias for f in fields_of(cls) if f.init}
    unknown = [name for name in fields if name not in own]
    if unknown:
        raise StorageError(
            f"the file has a field for {cls.__name__} that the class does not have",
            expected=", ".join(own) or "no fields",
            received=", ".join(map(short, unknown[:5])),
            hint="is this a different class of that name, or a different version of it?",
        )
    given = {own[name]: value for name, value in fields.items()}
    if not hasattr(cls, "__attrs_init__"):
        return cls(**given)
    found = cls.__new__(cls)  # its __init__ takes other arguments: a Graph takes nodes
    found.__attrs_init__(**given)
    return found


def _decoded(value: Any, made: dict[int, Layer], known: Known, depth: int = 0) -> Any:
    if depth > NESTING_LIMIT:
        raise _too_deep(None)
    match value:
        case list(items):
            return [_decoded(v, made, known, depth + 1) for v in items]
        case {"layer": int(number), **rest} if number in made and not rest:
            return made[number]
        case {"tuple": list(items), **rest} if not rest:
            return tuple([_decoded(v, made, known, depth + 1) for v in items])
        case {"dict": dict(items), **rest} if not rest:
            return {k: _decoded(v, made, known, depth + 1) for k, v in items.items()}
        case {"array": list(items), "shape": list(shape), "dtype": str(dtype), **rest} if not rest:
            return _array(items, shape, dtype)
        case {"ufunc": str(name), **rest} if isinstance(vars(np).get(name), np.ufunc) and not rest:
            return vars(np)[name]
        case {"initializer": _, "fields": dict(), **rest} if not rest:
            return _object("initializer", value, made, known, depth + 1)
        case {"function": _, "fields": dict(), **rest} if not rest:
            return _object("function", value, made, known, depth + 1)
        case None | bool() | int() | float() | str():
            return value
    raise StorageError("a field in the file has an unknown format", received=short(value))


def _array(items: list[Any], shape: list[Any], dtype: str) -> Any:
    """An array in a field; a wrong count raises an error before anything is allocated."""
    count, are_sizes = 1, len(shape) <= 32
    for n in shape:
        are_sizes = are_sizes and type(n) is int and 0 <= n <= 2**48
        count = count * n if are_sizes else 0
    are_numbers = all(isinstance(item, bool | int | float) for item in items)
    if (
        not re.fullmatch(r"bool|u?int(8|16|32|64)|float(16|32|64)|[<>][fiu][248]", dtype)
        or not are_sizes
        or not are_numbers
        or count != len(items)
    ):
        raise StorageError(
            "an array in a field of the file is invalid",
            expected="as many real numbers as its shape requires",
            received=f"{len(items):,} items for {short(shape)} of {short(dtype)}",
        )
    return np.array(items, dtype=dtype).reshape(shape)
