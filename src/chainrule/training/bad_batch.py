"""The bad batch: what a step was given that made a number infinite or NaN, kept for study.

The file has the arrays as they came: x, t and sample_weights (``x[0]``, ``x[1]`` of several inputs,
``x/1``, ``x/2`` of several batches in one step), and the error in its metadata.

    arrays = safetensors.numpy.load_file("bad_batch.safetensors")
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chainrule import files
from chainrule.core.admission import as_tuple
from chainrule.core.errors import ChainruleError, ConfigurationError
from chainrule.training.data.batches import Batch


def require_place(path: Path) -> None:
    """Refuse a path at which no file can be, before it is needed."""
    if path.is_dir() or not path.parent.is_dir():
        problem = "is a folder" if path.is_dir() else "lies in a folder that is not there"
        raise ConfigurationError(
            f"bad_batch {problem}",
            place=str(path),
            expected="the name of a file, in a folder that is there",
            received=f"bad_batch={str(path)!r}",
            mend="bad_batch='bad_batch.safetensors'",
        )


def write(path: Path, batches: list[Batch], error: ChainruleError) -> None:
    """Write the batches of one step to a file, and say so in the error."""
    from safetensors.numpy import save as to_safetensors

    arrays: dict[str, Any] = {}
    for number, (inputs, target, weights) in enumerate(batches, start=1):
        ending = f"/{number}" if len(batches) > 1 else ""
        for letter, parts in (("x", inputs), ("t", as_tuple(target))):
            for n, part in enumerate(parts):
                arrays[(f"{letter}[{n}]" if len(parts) > 1 else letter) + ending] = part
        if weights is not None:
            arrays[f"sample_weights{ending}"] = weights
    try:
        content = to_safetensors(
            {name: np.array(array, order="C") for name, array in arrays.items()},
            metadata={"error": str(error)},
        )
        files.write(path, content, "the batch that made it so")
    except Exception as failed:  # what it is about must not be lost over it
        error.add_note(str(failed))
    else:
        error.mend = f"{error.mend}; the batch is in {path}" if error.mend else f"look at {path}"
