"""The cases of `test_ranks`, on the ranks of MPI: how far they are from one process."""

from __future__ import annotations

import json

import numpy as np
from mpi4py import MPI

from training.test_ranks import CASES, Trainer, losses, optimizers, shared, trained

everyone = MPI.COMM_WORLD


def difference(one: Trainer, other: Trainer) -> float:
    pairs = [
        (getattr(one.model, kind).value, getattr(other.model, kind).value)
        for kind in ("parameters", "buffers")
    ]
    pairs += [(one.history[name], column) for name, column in other.history.items()]
    return max(float(np.max(np.abs(np.subtract(*pair)), initial=0.0)) for pair in pairs)


def bits(trainer: Trainer) -> bytes:
    arrays = [trainer.model.parameters.value, trainer.model.buffers.value]
    arrays += [np.array(column) for column in trainer.history.values()]
    return b"".join(array.tobytes() for array in arrays)


def halves(ranks: object, **how: object) -> Trainer:
    """Equal parts, for two ranks, of layers whose rows do not affect each other."""
    x = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    return trained(
        shared(), losses.HalfSquaredError(), x, x[:, :2], ranks=ranks,
        optimizer=optimizers.Adam(0.1), **how,
    )  # fmt: skip


found = {}
for name, make in CASES.items():
    together = make(everyone)
    of_ranks = everyone.allgather(bits(together))
    again = bits(make(everyone)) == of_ranks[everyone.rank]
    found[name] = {
        "difference": difference(together, make(None)),
        "all equal": len({*of_ranks}) == 1,
        "repeats": all(everyone.allgather(again)),
    }
as_one = bits(halves(everyone)) == bits(halves(None, batch_size=5, accumulate=2))
if everyone.rank == 0:
    print(json.dumps({"cases": found, "bits of accumulate=2": as_one}))
