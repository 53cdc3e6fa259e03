"""A whole model in one file: its architecture, its numbers, and the states of its generators.

In addition to the arrays, the metadata contain everything needed to restore the model:

    format          chainrule-2
    architecture    the layers as JSON
    dtype           the dtype it was built for
    input_shapes    the shapes it was built for
    generators      the states of its random generators, by path
    digest          the SHA-256 of the whole file

`chainrule.storage.architecture` describes the JSON, `chainrule.storage.sealed_file` the digest.
Loading first creates the layers from the architecture, then the parameters by `build`, without
drawing initial values, and finally reads the numbers in the file straight into their memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from chainrule import files
from chainrule.core import building
from chainrule.core.errors import StorageError
from chainrule.core.hints import hinted
from chainrule.core.layer import Layer
from chainrule.core.types import Shape
from chainrule.storage import sealed_file
from chainrule.storage.architecture import UNMADE, model_of, records_of
from chainrule.storage.arrays import arrays_of, fill
from chainrule.storage.budget import Budget
from chainrule.storage.classes import Known, known_classes
from chainrule.storage.generators import bits_for, set_states, states_of
from chainrule.storage.messages import short, with_location
from chainrule.storage.sealed_file import Contents

FORMAT = "chainrule-2"
READABLE = ("chainrule-1", FORMAT)

INPUTS_LIMIT = 10_000
"""The maximum number of inputs of a model."""


def save(model: Layer, path: str | Path) -> None:
    """Write a model to one file that the safetensors library can read on its own.

    An existing file is replaced atomically at the end, or remains unchanged.

    Raises
    ------
    StorageError
        If a field of a layer cannot be written as JSON, or the file cannot be written.
    BuildError
        If the model is not built yet.
    """
    files.write(path, dumps(model), "the model")


@hinted
def load(path: str | Path, layers: Iterable[type] = ()) -> Layer:
    """Load the model that `save` wrote: all of it, or an error.

    Parameters
    ----------
    path
        The file.
    layers
        Custom classes that the model contains. Optional if they are already defined in the running
        program under unique names.

    Raises
    ------
    StorageError
        If the file does not exist, is damaged, was written by a newer chainrule, or does not
        contain a model.
    DefinitionError
        If ``layers`` are not classes.
    """
    known = known_classes(layers)
    with sealed_file.opened(path, "a model", READABLE) as contents:
        return _loaded(contents, known, str(path))


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
    with with_location("the model cannot be written to a file"):
        return sealed_file.pack(arrays, metadata)


def loads(content: bytes, layers: Iterable[type] = (), *, place: str | None = None) -> Layer:
    """The model in the bytes that `dumps` returned."""
    known = known_classes(layers)
    with with_location(UNMADE, place):
        contents = sealed_file.unpack(content, READABLE)
    return _loaded(contents, known, place)


def _loaded(contents: Contents, known: Known, place: str | None) -> Layer:
    entries = contents.entries
    with with_location(UNMADE, place):
        model = model_of(_entry(contents.metadata, "architecture"), known)
        shapes = _shapes(_entry(contents.metadata, "input_shapes"))
        states = _entry(contents.metadata, "generators")
        dtype = _dtype(contents.metadata.get("dtype"))
        numbers = sum(entry.size for entry in entries.values())
        with np.errstate(all="ignore"):  # numbers that are replaced anyway may overflow
            building.build_for_stored_values(
                model,
                *shapes,
                rng=np.random.Generator(bits_for(states)),
                dtype=dtype,
                limit=lambda: Budget(numbers, len(entries)).allow,
            )
        fill(
            model,
            entries,
            contents.read_into,
            "the arrays in the file do not match its architecture",
            widened=False,
        )
        set_states(model, states)
    return model


def _entry(metadata: dict[str, str], name: str) -> Any:
    """An entry of the metadata, parsed as JSON."""
    if name not in metadata:
        raise StorageError(UNMADE, expected=f"metadata named {name!r}", received="none")
    with with_location(UNMADE, name):
        return sealed_file.parsed(metadata[name])


def _shapes(given: Any) -> list[Shape]:
    are_lists = isinstance(given, list) and all(isinstance(shape, list) for shape in given)
    if (
        not are_lists
        or len(given) > INPUTS_LIMIT
        or not all(
            n is None or (type(n) is int and 0 <= n <= 2**48) for shape in given for n in shape
        )
    ):
        raise StorageError(
            UNMADE,
            place="input_shapes",
            expected="the shape of a row for each input, such as [[64]] or [[null, 3]]",
            received=short(given),
        )
    return [tuple(shape) for shape in given]


def _dtype(given: Any) -> str:
    if given not in ("float32", "float64"):
        raise StorageError(
            UNMADE, place="dtype", expected="'float32' or 'float64'", received=short(given)
        )
    return str(given)
