"""The numbers of a model in a file, without what it is made of.

    model.save_weights("weights.safetensors")        model.load_weights("weights.safetensors")

Whoever reads them brings the model along. It has to have the same arrays: each is found by its
path, such as ``parameters/dense_1.weights``, and the paths that differ are listed in the error.
"""

from __future__ import annotations

from pathlib import Path

from chainrule import files
from chainrule.core.layer import Layer
from chainrule.core.messages import require_built
from chainrule.storage import sealed_file
from chainrule.storage.arrays import arrays_of, fill
from chainrule.storage.messages import telling
from chainrule.storage.model import READABLE as MODELS

FORMAT = "chainrule-weights-1"
READABLE = (FORMAT, *MODELS)


def save_weights(model: Layer, path: str | Path) -> None:
    """Write the arrays of a model to a file: parameters, states, and tables made in `build`.

    Raises
    ------
    StorageError
        Where the file cannot be written; one that stands there stays as it is.
    BuildError
        Where the model is not built yet.
    """
    arrays = arrays_of(model)
    with telling("the weights cannot be written to a file"):
        content = sealed_file.pack(arrays, {"format": FORMAT})
    files.write(path, content, "the weights")


def load_weights(model: Layer, path: str | Path) -> None:
    """Bring the arrays of a file into a model: all of them, or none.

    Parameters
    ----------
    model
        A model that is built. Its random generators stay where they are.
    path
        A file of `save_weights`, or of `save`, of which the arrays are taken. Numbers of type
        float32 become float64 where the model has those, which is exact; the other way round they
        would be rounded, and are refused.

    Raises
    ------
    StorageError
        Where the file cannot be read, is damaged or holds something else, or where arrays are
        missing, too many, or of another shape or type. The error lists their paths, and the model
        is as it was.
    BuildError
        Where the model is not built yet.
    """
    require_built(model)
    loads_weights(model, sealed_file.read(path, "weights"), place=str(path))


def loads_weights(model: Layer, content: bytes, *, place: str | None = None) -> None:
    """`load_weights` from the bytes of a file."""
    require_built(model)
    with telling("the file does not hold the weights of a model", place):
        arrays = sealed_file.unpack(content, READABLE).arrays
        fill(model, arrays, "the weights in the file are not those of the model", widened=True)
