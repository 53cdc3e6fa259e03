"""The numbers of a model in a file, without its architecture.

    model.save_weights("weights.safetensors")        model.load_weights("weights.safetensors")

Loading needs a model with the same arrays. Each array is found by its path, such as
``parameters/dense_1.weights``; the error lists paths that differ.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt

from chainrule import files
from chainrule.core.layer import Layer
from chainrule.core.messages import require_built
from chainrule.storage import sealed_file
from chainrule.storage.arrays import arrays_of, fill
from chainrule.storage.messages import with_location
from chainrule.storage.model import READABLE as MODELS
from chainrule.storage.sealed_file import Contents

FORMAT = "chainrule-weights-1"
READABLE = (FORMAT, *MODELS)
UNFIT = "the file does not contain the weights of a model"


def save_weights(model: Layer, path: str | Path) -> None:
    """Write the arrays of a model to a file: parameters, buffers, and tables created in `build`.

    Raises
    ------
    StorageError
        If the file cannot be written; an existing file then remains unchanged.
    BuildError
        If the model is not built yet.
    """
    arrays = arrays_of(model)
    with with_location("the weights cannot be written to a file"):
        content = sealed_file.pack(arrays, {"format": FORMAT})
    files.write(path, content, "the weights")


def load_weights(model: Layer, path: str | Path) -> None:
    """Load the arrays of a file into a model: all of them, or none.

    Parameters
    ----------
    model
        A built model. Its random generators do not change.
    path
        A file written by `save_weights`, or by `save`, of which only the arrays are used. float32
        numbers become float64 if the model has those, which is exact; the opposite would round
        them and raises an error.

    Raises
    ------
    StorageError
        If the file cannot be read, is damaged or contains something else, or if arrays are
        missing, unexpected, or have another shape or dtype. The error lists their paths, and the
        model is unchanged.
    BuildError
        If the model is not built yet.
    """
    require_built(model)
    with sealed_file.opened(path, "weights", READABLE) as contents:
        _fill(model, contents, str(path))


def loads_weights(model: Layer, content: bytes, *, place: str | None = None) -> None:
    """`load_weights` from the bytes of a file."""
    require_built(model)
    with with_location(UNFIT, place):
        contents = sealed_file.unpack(content, READABLE)
    _fill(model, contents, place)


def _fill(model: Layer, contents: Contents, place: str | None) -> None:
    with with_location(UNFIT, place):
        arrays = contents.arrays  # all of them, before the first is changed

        def copy(name: str, array: npt.NDArray[Any]) -> None:
            array[...] = arrays[name]

        problem = "the weights in the file do not match the model"
        fill(model, arrays, copy, problem, widened=True)
