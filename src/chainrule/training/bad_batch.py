"""The bad batch: what a step was given that made a number infinite or NaN, kept for study.

The file has the arrays as they came: x, t and sample_weights (``x[0]``, ``x[1]`` of several inputs,
``x/1``, ``x/2`` of several batches in one step), and the error in its metadata.

    arrays = safetensors.numpy.load_file("bad_batch.safetensors")
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chainrule import files
from chainrule.core.errors import ChainruleError
from chainrule.data.batches import Batch
from chainrule.data.samples import arrays_by_name

WHAT = "the bad batch"


def write_bad_batch(path: Path, batches: list[Batch], error: ChainruleError) -> None:
    """Write the batches of one step to a file, and say so in the error."""
    from safetensors.numpy import save

    arrays = {
        name if len(batches) == 1 else f"{name}/{number}": np.array(array, order="C")
        for number, batch in enumerate(batches, start=1)
        for name, array in arrays_by_name(*batch).items()
    }
    try:
        files.write(path, save(arrays, metadata={"error": str(error)}), WHAT)
    except Exception as failed:  # what it is about must not be lost over it
        error.add_note(str(failed))
    else:
        error.hint = f"{error.hint}; the batch is in {path}" if error.hint else f"look at {path}"
