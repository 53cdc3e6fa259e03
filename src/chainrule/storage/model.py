"""A whole model in one file: what it is made of, its numbers, and where its generators stand.

Beside the arrays, the file's metadata say all that is needed to make the model again:

    format          chainrule-2
    architecture    the layers: see `chainrule.storage.architecture`
    dtype           the type of the numbers it was built for
    input_shapes    the shapes it was built for
    generators      where its random generators stand, by path
    digest          of the whole file: see `chainrule.storage.sealed_file`

A model is made again in that order: its layers from the architecture, its parameters by `build`,
and then the numbers of the file take the place of the first ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from chainrule import files
from chainrule.core.errors import StorageError
from chainrule.core.layer import Layer
from chainrule.core.types import Shape
from chainrule.storage import sealed_file
from chainrule.storage.architecture import UNMADE, model_of, records_of
from chainrule.storage.arrays import arrays_of, fill
from chainrule.storage.budget import Budget
from chainrule.storage.classes import Known, known_classes
from chainrule.storage.generators import bits_for, set_states, states_of
from chainrule.storage.messages import short, telling

FORMAT = "chainrule-2"
READABLE = ("chainrule-1", FORMAT)

INPUTS_LIMIT = 10_000
"""How many inputs a model may have."""


def save(model: Layer, path: str | Path) -> None:
    """Write a model to one file that the safetensors library can read by itself.

    A file that stands there already is replaced at the end, at once, or stays as it is.

    Raises
    ------
    StorageError
        Where a field of a layer cannot be written as JSON, or the file cannot be written.
    BuildError
        Where the model is not built yet.
    """
    files.write(path, dumps(model), "the model")


def load(path: str | Path, layers: Iterable[type] = ()) -> Layer:
    """The model that `save` wrote: all of it, or an error.

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
        Where there is no such file, it is damaged, of a newer chainrule, or does not hold a model.
    DefinitionError
        Where ``layers`` are no classes.
    """
    known = known_classes(layers)
    return _loaded(sealed_file.read(path, "a model"), known, str(path))


def dumps(model: Layer) -> bytes:
    """The bytes of the file that `save` writes."""
    arrays = arrays_of(model)
    metadata = {
        "format": FORMAT,
        "architecture": json.dumps(records_of(model)),
        "dtype": str(model.dtype),
        "input_shapes": json.dumps(model.input_shapes),
        "generators": json.dumps(states_of(model)),
    }
    with telling("the model cannot be written to a file"):
        return sealed_file.pack(arrays, metadata)


def loads(content: bytes, layers: Iterable[type] = (), *, place: str | None = None) -> Layer:
    """The model in the bytes that `dumps` gave."""
    return _loaded(content, known_classes(layers), place)


def _loaded(content: bytes, known: Known, place: str | None) -> Layer:
    with telling(UNMADE, place):
        contents = sealed_file.unpack(content, READABLE)
        model = model_of(_entry(contents.metadata, "architecture"), known)
        shapes = _shapes(_entry(contents.metadata, "input_shapes"))
        states = _entry(contents.metadata, "generators")
        dtype = _dtype(contents.metadata.get("dtype"))
        numbers = sum(array.size for array in contents.arrays.values())
        budget = Budget(bits_for(states), numbers, len(contents.arrays))
        with np.errstate(all="ignore"):  # the first numbers, which nobody sees, may overflow
            model.build(*shapes, rng=budget, dtype=dtype)
        fill(
            model,
            contents.arrays,
            "the arrays in the file are not those of its architecture",
            widened=False,
        )
        set_states(model, states)
    return model


def _entry(metadata: dict[str, str], name: str) -> Any:
    """What an entry of the metadata says, which is JSON."""
    if name not in metadata:
        raise StorageError(UNMADE, expected=f"the metadata {name!r}", received="none of that name")
    with telling(UNMADE, name):
        return sealed_file.parsed(metadata[name])


def _shapes(given: Any) -> list[Shape]:
    are_lists = isinstance(given, list) and all(isinstance(shape, list) for shape in given)
    if (
        not are_lists
        or len(given) > INPUTS_LIMIT
        or not all(type(n) is int and 0 <= n <= 2**48 for shape in given for n in shape)
    ):
        raise StorageError(
            UNMADE,
            place="input_shapes",
            expected="for each input the sizes of a row, such as [[64]]",
            received=short(given),
        )
    return [tuple(shape) for shape in given]


def _dtype(given: Any) -> str:
    if given not in ("float32", "float64"):
        raise StorageError(
            UNMADE, place="dtype", expected="'float32' or 'float64'", received=short(given)
        )
    return str(given)
