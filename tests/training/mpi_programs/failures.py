"""What each rank raises if one of them fails in different ways."""

from __future__ import annotations

import json
import sys

from mpi4py import MPI

from training import test_ranks
from training.test_ranks import T, X, failed

everyone = MPI.COMM_WORLD
test_ranks.this_rank = lambda: everyone.rank


def told(error: BaseException | None) -> str:
    return "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])


found = {}
for how in ("KeyError", "KeyboardInterrupt", "NaN"):
    error, trainer = failed(everyone, how)
    found[how] = (told(error), trainer.steps, float(trainer.model.parameters.value.sum()))
error, trainer = failed(everyone, given=(X[: 41 - everyone.rank], T[: 41 - everyone.rank]))
found["lengths"] = (told(error), trainer.steps, 0.0)
error, trainer = failed(everyone, epochs=2)
found["after all"] = (told(error), trainer.steps, float(trainer.model.parameters.value.sum()))
together = everyone.gather(found)
if everyone.rank == 0:
    json.dump(together, sys.stdout)
