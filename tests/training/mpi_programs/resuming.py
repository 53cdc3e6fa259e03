"""Train to a folder of checkpoints, on any number of ranks: the folder, the epochs, the result."""

from __future__ import annotations

import sys

import numpy as np
from mpi4py import MPI

from training.test_ranks import checkpointed, dense, with_noise

folder, epochs, model = sys.argv[1], int(sys.argv[2]), {"dense": dense, "noise": with_noise}
trainer = checkpointed(MPI.COMM_WORLD, folder, model[sys.argv[3]], epochs=epochs)
if MPI.COMM_WORLD.rank == 0:
    history = np.array([trainer.history[name] for name in sorted(trainer.history)])
    np.savez(sys.argv[4], theta=trainer.model.parameters.value, history=history)
