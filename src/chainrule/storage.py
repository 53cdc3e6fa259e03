"""One file holds a model: its arrays as safetensors, its architecture as JSON inside, no code.

The architecture is a list of records, one for each layer, with the layers below a layer given by
their numbers in the list. So a layer that stands in two places is written once, and depth does
not matter:

    [{"class": "Sequential", "fields": {"layers": [{"layer": 1}, {"layer": 2}]}},
     {"class": "Dense", "fields": {"units": 30, …}}, …]

Classes are found by name among chainrule's own layers, those that the running program has defined,
and those passed as ``layers=[…]``; nothing is ever imported or run by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from chainrule.core import initializers
from chainrule.core.errors import ChainruleError, StorageError
from chainrule.core.initializers import Initializer
from chainrule.core.layer import Layer
from chainrule.core.tree import fields_of
from chainrule.layers import functions
from chainrule.layers.functions import Function

FORMAT = "chainrule-1"


def save(model: Layer, path: str | Path) -> None:
    """Write a model to one file that the safetensors library can read by itself.

    Raises
    ------
    StorageError
        Where a field of a layer cannot be written as JSON, or the file cannot be written.
    """
    content = dumps(model)
    try:
        Path(path).write_bytes(content)
    except OSError as error:
        raise StorageError(
            "the model could not be written",
            place=str(path),
            received=f"{type(error).__name__}: {error.strerror}",
            mend="is the folder there, is there room, and may you write to it?",
        ) from error


def load(path: str | Path, layers: Iterable[type[Layer]] = ()) -> Layer:
    """The model that `save` wrote.

    Parameters
    ----------
    path
        The file.
    layers
        Classes of your own that the model contains, where they are not yet defined in the
        running program or two of them have the same name.

    Raises
    ------
    StorageError
        Where there is no such file, or it does not hold a model of chainrule.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise StorageError(
            "there is no model to read",
            place=str(path),
            received=f"{type(error).__name__}: {error.strerror}",
        ) from error
    return loads(content, layers, place=str(path))


def dumps(model: Layer) -> bytes:
    """The bytes of the file that `save` writes."""
    from safetensors.numpy import save as to_safetensors

    arrays = {f"parameters/{p.path}": p.value for p in _unique(model.parameters)}
    arrays |= {f"state/{p.path}": p.value for p in _unique(model.state)}
    arrays |= {name: getattr(layer, own) for name, (layer, own) in _tables(model).items()}
    header = {
        "format": FORMAT,
        "architecture": json.dumps(_records(model)),
        "dtype": str(model.dtype),
        "input_shapes": json.dumps(model.input_shapes),
        "generators": json.dumps(
            {path: _plain(g.bit_generator.state) for path, g in model.generators.items()}
        ),
    }
    content: bytes = to_safetensors(
        {name: np.array(array, order="C") for name, array in arrays.items()}, metadata=header
    )
    return content


def loads(content: bytes, layers: Iterable[type[Layer]] = (), *, place: str | None = None) -> Layer:
    """The model in the bytes that `dumps` gave."""
    try:
        header, arrays = _opened(content)
        model = _model(json.loads(header["architecture"]), _known_layers(layers))
        shapes = [tuple(shape) for shape in json.loads(header["input_shapes"])]
        model.build(*shapes, rng=0, dtype=header["dtype"])
        _fill(model, arrays, json.loads(header["generators"]))
    except StorageError as error:
        error.place = error.place or place
        raise
    except (ChainruleError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise StorageError(
            "the file does not hold a model that can be made again",
            place=place,
            received=f"{type(error).__name__}: {error}",
        ) from error
    return model


# ------------------------------------------------------------------------------- writing


def _records(model: Layer) -> list[dict[str, Any]]:
    numbers: dict[int, int] = {}
    found = [layer for _, layer in model.walk() if _is_new(layer, numbers)]
    return [
        {
            "class": type(layer).__name__,
            "fields": {
                name: _encoded(getattr(layer, name), numbers, f"{type(layer).__name__}.{name}")
                for name in _configuration(type(layer))
            },
        }
        for layer in found
    ]


def _is_new(layer: Layer, numbers: dict[int, int]) -> bool:
    if id(layer) in numbers:
        return False
    numbers[id(layer)] = len(numbers)
    return True


def _configuration(cls: type) -> list[str]:
    return [f.name for f in fields_of(cls) if f.init]


def _encoded(value: Any, numbers: dict[int, int], place: str) -> Any:
    """A value as JSON; what JSON does not have is an object with one key that says what it is."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return _encoded(value.item(), numbers, place)
    if isinstance(value, Layer):
        return {"layer": numbers[id(value)]}
    if isinstance(value, list):
        return [_encoded(v, numbers, place) for v in value]
    if isinstance(value, tuple):
        return {"tuple": [_encoded(v, numbers, place) for v in value]}
    if isinstance(value, dict) and all(isinstance(k, str) for k in value):
        return {"dict": {k: _encoded(v, numbers, place) for k, v in value.items()}}
    name = getattr(value, "__name__", "")
    if isinstance(value, np.ufunc) and getattr(np, name, None) is value:
        return {"ufunc": name}
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    for kind, base in (("initializer", Initializer), ("function", Function)):
        if isinstance(value, base) and attrs.has(type(value)):
            fields = {
                name: _encoded(getattr(value, name), numbers, place)
                for name in _configuration(type(value))
            }
            return {kind: type(value).__name__, "fields": fields}
    raise StorageError(
        "a field of a layer cannot be written to a file",
        place=place,
        expected="numbers, strings, lists, layers, initializers, activation functions",
        received=f"{value!r}, of type {type(value).__name__}",
        mend="for a function of your own, make a subclass of Function and give an instance of it",
    )


def _plain(state: Any) -> Any:
    """The state of a bit generator with whole numbers in place of arrays."""
    if isinstance(state, dict):
        return {k: _plain(v) for k, v in state.items()}
    return (
        {"array": state.tolist(), "dtype": str(state.dtype)} if hasattr(state, "tolist") else state
    )


# ------------------------------------------------------------------------------- reading


def _opened(content: bytes) -> tuple[dict[str, str], dict[str, npt.NDArray[Any]]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_safetensors

    try:
        arrays = from_safetensors(content)
        length = int.from_bytes(content[:8], "little")
        header: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, ValueError, RecursionError) as error:
        raise StorageError(
            "this is not a whole safetensors file",
            received=f"{len(content):,} bytes; {error}",
        ) from error
    if header.get("format") != FORMAT:
        raise StorageError(
            "this is a safetensors file, but not a model that this chainrule can read",
            expected=f"format {FORMAT!r}",
            received=f"format {header.get('format')!r}",
        )
    return header, arrays


def _known_layers(given: Iterable[type[Layer]]) -> dict[str, type[Layer]]:
    known: dict[str, type[Layer]] = {}
    stack: list[type[Layer]] = [Layer]
    while stack:
        for cls in stack.pop().__subclasses__():
            stack.append(cls)
            if "__attrs_attrs__" in cls.__dict__:
                known[cls.__name__] = cls
    return known | {cls.__name__: cls for cls in given}


def _model(records: list[dict[str, Any]], known: dict[str, type[Layer]]) -> Layer:
    """The layers of the records, those below made before those above."""
    made: dict[int, Layer] = {}
    opened: set[int] = set()
    waiting = [0]
    while waiting:
        number = waiting[-1]
        below = [n for n in _numbers_in(records[number]["fields"]) if n not in made]
        if number in made or not below:
            waiting.pop()
            if number not in made:
                made[number] = _layer(records[number], made, known)
        elif number in opened:
            raise StorageError("a layer in the file contains itself", place=f"layer {number}")
        else:
            opened.add(number)
            waiting.extend(below)
    return made[0]


def _layer(record: dict[str, Any], made: dict[int, Layer], known: dict[str, type[Layer]]) -> Layer:
    name = record["class"]
    if name not in known:
        raise StorageError(
            f"the file needs a layer {name!r}, which this program does not have",
            expected=f"one of {', '.join(sorted(known))}",
            received=repr(name),
            mend=f"define or import the class before loading, or load(path, layers=[{name}])",
        )
    fields = {k: _decoded(v, made) for k, v in record["fields"].items()}
    cls = known[name]
    return cls(**{f.alias: fields[f.name] for f in fields_of(cls) if f.name in fields})


def _numbers_in(value: Any) -> list[int]:
    if isinstance(value, dict):
        if set(value) == {"layer"}:
            return [value["layer"]]
        return [n for v in value.values() for n in _numbers_in(v)]
    if isinstance(value, list):
        return [n for v in value for n in _numbers_in(v)]
    return []


def _decoded(value: Any, made: dict[int, Layer]) -> Any:
    if isinstance(value, list):
        return [_decoded(v, made) for v in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"layer": number}:
            return made[number]
        case {"tuple": items}:
            return tuple(_decoded(v, made) for v in items)
        case {"dict": items}:
            return {k: _decoded(v, made) for k, v in items.items()}
        case {"array": items, "dtype": dtype}:
            return np.array(items, dtype=dtype)
        case {"ufunc": name} if isinstance(getattr(np, name, None), np.ufunc):
            return getattr(np, name)
        case {"initializer": name, "fields": fields}:
            return _object(initializers.Initializer, name, fields, made)
        case {"function": name, "fields": fields}:
            return _object(functions.Function, name, fields, made)
    raise StorageError("a field in the file says nothing that is known", received=str(value))


def _object(base: type, name: str, fields: dict[str, Any], made: dict[int, Layer]) -> Any:
    stack: list[Any] = [base]
    while stack:
        cls: Any
        for cls in stack.pop().__subclasses__():
            stack.append(cls)
            if cls.__name__ == name and attrs.has(cls):
                return cls(**{k: _decoded(v, made) for k, v in fields.items()})
    raise StorageError(
        f"the file needs {name!r}, which this program does not have",
        expected=f"a {base.__name__} that is defined before loading",
        received=repr(name),
    )


def _fill(
    model: Layer, arrays: dict[str, npt.NDArray[Any]], generators: dict[str, dict[str, Any]]
) -> None:
    wanted = {f"parameters/{p.path}": p for p in _unique(model.parameters)}
    wanted |= {f"state/{p.path}": p for p in _unique(model.state)}
    tables = _tables(model)
    names = {*wanted, *tables}
    if names != set(arrays):
        raise StorageError(
            "the arrays in the file are not those of its architecture",
            expected=", ".join(sorted(names - set(arrays))) or "nothing more",
            received=", ".join(sorted(set(arrays) - names)) or "nothing more",
        )
    for name, (layer, own) in tables.items():
        setattr(layer, own, arrays[name])
    for name, parameter in wanted.items():
        if arrays[name].dtype != parameter.dtype or arrays[name].shape != parameter.shape:
            raise StorageError(
                "an array in the file does not fit its place",
                place=name,
                expected=f"{parameter.shape}, {parameter.dtype}",
                received=f"{arrays[name].shape}, {arrays[name].dtype}",
            )
        parameter.value = arrays[name]
    for path, generator in model.generators.items():
        generator.bit_generator.state = _arrays_again(generators[path])


def _arrays_again(state: Any) -> Any:
    if isinstance(state, dict) and set(state) == {"array", "dtype"}:
        return np.array(state["array"], dtype=state["dtype"])
    return {k: _arrays_again(v) for k, v in state.items()} if isinstance(state, dict) else state


def _tables(model: Layer) -> dict[str, tuple[Layer, str]]:
    """Arrays that a layer made in `build` besides parameters and states, such as an order."""
    found: dict[int, tuple[str, tuple[Layer, str]]] = {}
    for path, layer in model.walk():
        for own in sorted(layer._lasting):
            if isinstance(layer.__dict__.get(own), np.ndarray):
                name = f"table/{path}.{own}" if path else f"table/{own}"
                found.setdefault(id(layer.__dict__[own]), (name, (layer, own)))
    return dict(found.values())


def _unique(vector: Any) -> list[Any]:
    _ = vector.value  # gives every parameter its final path
    return list(vector)
