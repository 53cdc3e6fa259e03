"""The bad batch: the input of the step that produced a NaN or an infinity, saved for inspection.

The file holds the arrays unchanged: x, t and sample_weights (``x[0]``, ``x[1]`` for several inputs,
``x/1``, ``x/2`` for several batches in one step). Its metadata holds the error.

    arrays = safetensors.numpy.load_file("bad_batch.safetensors")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chainrule import files
from chainrule.core.errors import ChainruleError
from chainrule.data.samples import arrays_by_name

if TYPE_CHECKING:
    from pathlib import Path

    from chainrule.data.batches import Batch

WHAT = "the bad batch"


def write_bad_batch(
    path: Path, batches: list[Batch], error: ChainruleError, *, shown: Path
) -> None:
    """Write the batches of one step to a file, and name the file, as ``shown``, in the hint."""
    from chainrule.storage.safetensors import save

    arrays = {
        name if len(batches) == 1 else f"{name}/{number}": np.array(array, order="C")
        for number, batch in enumerate(batches, start=1)
        for name, array in arrays_by_name(*batch).items()
    }
    try:
        files.write(path, save(arrays, {"error": str(error)}), WHAT)
    except Exception as failure:  # must not replace the error that is being reported
        error.add_note(str(failure))
    else:
        error.hint = f"{error.hint}; the batch is in {shown}" if error.hint else f"inspect {shown}"
