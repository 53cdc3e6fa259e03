"""One file holds a model: its arrays as safetensors, its architecture as JSON inside, no code.

The architecture is a list of records, one for each layer, with the layers below a layer given by
their numbers in the list. So a layer that stands in two places is written once, and depth does
not matter:

    [{"class": "Sequential", "fields": {"layers": [{"layer": 1}, {"layer": 2}]}},
     {"class": "Dense", "fields": {"units": 30, …}}, …]

Classes are found by name among chainrule's own layers, those that the running program has defined,
and those passed as ``layers=[…]``; nothing that a file names is ever imported or run.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import numpy as np
import numpy.typing as npt

import chainrule.graph
import chainrule.layers
from chainrule import files
from chainrule.core.errors import StorageError
from chainrule.core.initializers import Initializer
from chainrule.core.layer import Layer
from chainrule.core.record import set_state, state_of
from chainrule.core.tree import fields_of
from chainrule.layers.functions import Function

FORMAT = "chainrule-1"

Known: TypeAlias = dict[str, dict[str, list[Any]]]
"""What the running program has: the classes of each kind by name."""

BIT_GENERATORS = (
    np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64,
)  # fmt: skip
"""Where random numbers may come from."""


def save(model: Layer, path: str | Path) -> None:
    """Write a model to one file that the safetensors library can read by itself.

    A file that stands there already is replaced at the end, at once, or stays as it is.

    Raises
    ------
    StorageError
        Where a field of a layer cannot be written as JSON, or the file cannot be written.
    """
    files.write(path, dumps(model), "the model")


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
    content = files.read(path, "a model")
    return loads(content, layers, place=str(path))


def dumps(model: Layer) -> bytes:
    """The bytes of the file that `save` writes."""
    from safetensors.numpy import save as to_safetensors

    arrays = _arrays(model)
    header = {
        "format": FORMAT,
        "architecture": json.dumps(_records(model)),
        "dtype": str(model.dtype),
        "input_shapes": json.dumps(model.input_shapes),
        "generators": json.dumps(
            {path: state_of(g) for path, g in model.generators.items()}
        ),
    }
    return _in_order(
        to_safetensors(
            {name: np.array(array, order="C") for name, array in arrays.items()}, metadata=header
        )
    )


def loads(content: bytes, layers: Iterable[type[Layer]] = (), *, place: str | None = None) -> Layer:
    """The model in the bytes that `dumps` gave."""
    try:
        header, arrays = _opened(content)
        _import_own_layers()
        known = {
            "class": _classes(Layer, layers),
            "initializer": _classes(Initializer),
            "function": _classes(Function),
        }
        model = _model(json.loads(header["architecture"]), known)
        shapes = [tuple(shape) for shape in json.loads(header["input_shapes"])]
        generators = json.loads(header["generators"])
        model.build(*shapes, rng=_source_of(generators), dtype=header["dtype"])
        _fill(model, arrays, generators)
    except StorageError as error:
        error.place = error.place or place
        raise
    except Exception as error:  # whatever a class or NumPy says to what stands in the file
        raise StorageError(
            "the file does not hold a model that can be made again",
            place=place,
            received=f"{type(error).__name__}: {error}",
        ) from error
    return model


# ------------------------------------------------------------------------------- writing


def _in_order(content: bytes) -> bytes:
    """The file with its metadata sorted. The library shuffles them: equal models would differ."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


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
    if isinstance(value, np.generic) and value.dtype.itemsize <= 8:
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
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" and value.dtype.itemsize <= 8:
        return {"array": value.ravel().tolist(), "shape": value.shape, "dtype": str(value.dtype)}
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


def _import_own_layers() -> None:
    """All that chainrule has, so that a program can load what it has not named itself."""
    for package in (chainrule.layers, chainrule.graph):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def _classes(base: type, given: Iterable[type] = ()) -> dict[str, list[Any]]:
    """The classes below one, by name. One that was defined anew takes the place of the old."""
    places: dict[str, dict[str, type]] = {}
    stack: list[Any] = [base]
    while stack:
        for cls in stack.pop().__subclasses__():
            stack.append(cls)
            if "__attrs_attrs__" in cls.__dict__:
                places.setdefault(cls.__name__, {})[f"{cls.__module__}.{cls.__qualname__}"] = cls
    known = {name: list(found.values()) for name, found in places.items()}
    return known | {cls.__name__: [cls] for cls in given}


def _class(name: str, known: dict[str, list[Any]]) -> Any:
    found = known.get(name, [])
    if len(found) == 1:
        return found[0]
    if found:
        raise StorageError(
            f"the file needs {name!r}, and this program has {len(found)} classes of that name",
            received=", ".join(f"{cls.__module__}.{cls.__qualname__}" for cls in found),
            mend="load(path, layers=[…]) with the layer that is meant",
        )
    raise StorageError(
        f"the file needs {name!r}, which this program does not have",
        expected=f"one of {', '.join(sorted(known))}",
        received=repr(name),
        mend=f"define or import the class before loading, or load(path, layers=[{name}])",
    )


def _model(records: list[dict[str, Any]], known: Known) -> Layer:
    """The layers of the records, those below made before those above."""
    made: dict[int, Layer] = {}
    opened: set[int] = set()
    waiting = [0]
    while waiting:
        number = waiting[-1]
        fields = records[number]["fields"].values()
        below = [n for value in fields for n in _numbers_in(value) if n not in made]
        if number in made or not below:
            waiting.pop()
            if number not in made:
                made[number] = _object("class", records[number], made, known)
        elif number in opened:
            raise StorageError("a layer in the file contains itself", place=f"layer {number}")
        else:
            opened.add(number)
            waiting.extend(below)
    return made[0]


def _object(kind: str, record: dict[str, Any], made: dict[int, Layer], known: Known) -> Any:
    """A layer, an initializer or a function from its class and its fields."""
    cls: Any = _class(record[kind], known[kind])
    fields = {name: _decoded(value, made, known) for name, value in record["fields"].items()}
    given = {f.alias: fields[f.name] for f in fields_of(cls) if f.name in fields}
    if not hasattr(cls, "__attrs_init__"):
        return cls(**given)
    found = cls.__new__(cls)  # its own __init__ takes something else: a Graph takes nodes
    found.__attrs_init__(**given)
    return found


def _numbers_in(value: Any) -> list[int]:
    """The layers that an encoded value contains."""
    match value:
        case {"layer": number}:
            return [number]
        case {"tuple": list(items)} | list(items):
            return [n for item in items for n in _numbers_in(item)]
        case {"dict": dict(items)}:
            return [n for item in items.values() for n in _numbers_in(item)]
    return []


def _decoded(value: Any, made: dict[int, Layer], known: Known) -> Any:
    match value:
        case list(items):
            return [_decoded(v, made, known) for v in items]
        case {"layer": number}:
            return made[number]
        case {"tuple": items}:
            return tuple(_decoded(v, made, known) for v in items)
        case {"dict": items}:
            return {k: _decoded(v, made, known) for k, v in items.items()}
        case {"array": items, "shape": shape, "dtype": dtype}:
            return np.array(items, dtype=dtype).reshape(shape)
        case {"ufunc": name} if isinstance(getattr(np, name, None), np.ufunc):
            return getattr(np, name)
        case {"initializer": _, "fields": _}:
            return _object("initializer", value, made, known)
        case {"function": _, "fields": _}:
            return _object("function", value, made, known)
        case None | bool() | int() | float() | str():
            return value
    raise StorageError("a field in the file says nothing that is known", received=str(value))


def _source_of(generators: dict[str, Any]) -> np.random.Generator:
    """A generator to build with, of the kind of those in the file."""
    names = {state["bit_generator"] for state in generators.values()} or {"PCG64"}
    kinds = [kind for kind in BIT_GENERATORS if kind.__name__ in names]
    if len(kinds) != len(names):
        raise StorageError(
            "the file needs a kind of random numbers that NumPy does not have",
            expected=", ".join(kind.__name__ for kind in BIT_GENERATORS),
            received=", ".join(map(str, names)),
        )
    return np.random.Generator(kinds[0](0))


def _fill(
    model: Layer, arrays: dict[str, npt.NDArray[Any]], generators: dict[str, dict[str, Any]]
) -> None:
    wanted = _arrays(model)
    if set(wanted) != set(arrays):
        raise StorageError(
            "the arrays in the file are not those of its architecture",
            expected=", ".join(sorted(set(wanted) - set(arrays))) or "nothing more",
            received=", ".join(sorted(set(arrays) - set(wanted))) or "nothing more",
        )
    for name, array in wanted.items():
        if arrays[name].dtype != array.dtype or arrays[name].shape != array.shape:
            raise StorageError(
                "an array in the file does not fit its place",
                place=name,
                expected=f"{array.shape}, {array.dtype}",
                received=f"{arrays[name].shape}, {arrays[name].dtype}",
            )
        array[...] = arrays[name]
    for path, generator in model.generators.items():
        set_state(generator, generators[path])


# ------------------------------------------------------------------------------- both ways


def _arrays(model: Layer) -> dict[str, npt.NDArray[Any]]:
    """All arrays of a built model, by their names in the file."""
    named = [("parameters", model.parameters), ("state", model.state)]
    arrays = {
        f"{kind}/{path}": parameter.value
        for kind, vector in named
        for path, parameter in zip(vector.paths, vector, strict=True)
    }
    return arrays | _tables(model)


def _tables(model: Layer) -> dict[str, npt.NDArray[Any]]:
    """Arrays that a layer made in `build` besides parameters and states, such as an order."""
    found: dict[int, tuple[str, npt.NDArray[Any]]] = {}
    for path, layer in model.walk():
        for own in sorted(layer._lasting):
            array = layer.__dict__.get(own)
            if isinstance(array, np.ndarray):
                found.setdefault(
                    id(array), (f"table/{path}.{own}" if path else f"table/{own}", array)
                )
    return dict(found.values())
