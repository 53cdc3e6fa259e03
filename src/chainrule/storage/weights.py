"""The numbers of a model in a file, without its architecture.

    model.save_weights("weights.safetensors")        model.load_weights("weights.safetensors")

Loading needs a model with the same arrays. Each array is found by its path, such as
``parameters/dense_1.weights``; the error lists paths that differ.
"""

from __future__ import annotations

from pathlib import Path

from chainrule import files
from chainrule.core.layer import Layer
from chainrule.core.messages import require_built
from chainrule.storage import sealed_file
from chainrule.storage.arrays import arrays_of, fill
from chainrule.storage.messages import with_location
from chainrule.storage.model import READABLE as MODELS

FORMAT = "chainrule-weights-1"
READABLE = (FORMAT, *MODELS)


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
    loads_weights(model, sealed_file.read(path, "weights"), place=str(path))


def loads_weights(model: Layer, content: bytes, *, place: str | None = None) -> None:
    """`load_weights` from the bytes of a file."""
    require_built(model)
    with with_location("the file does not contain the weights of a model", place):
        arrays = sealed_file.unpack(content, READABLE).arrays
        fill(model, arrays, "the weights in the file do not match the model", widened=True)
