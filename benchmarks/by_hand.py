"""The practical limit: the step of one network, written out in NumPy for speed alone.

Nothing is general here. Every array is made once and filled again in each step; all parameters are
one vector, and so are their gradients; σ is worked out in place, and so is the delta, from
σ′ = y − y²; the sums over a batch are products with a vector of ones, which BLAS does faster; and
η/N is multiplied into the smallest array there is, the delta of the output, so that what the
products leave behind is already the change of the parameters.
"""

from __future__ import annotations

import numpy as np

from benchmarks.workloads import LEARNING_RATE, Array, Problem


class ByHand:
    """What one gets who writes the loop for one network by hand, and has time to spare."""

    name = "by hand"

    def __init__(self, problem: Problem) -> None:
        self.inputs, self.targets = problem.inputs, problem.targets
        batch, dtype = len(problem.inputs), problem.dtype
        self.parameters = problem.start()
        self.change = np.empty_like(self.parameters)
        self.ones = np.ones(batch, dtype)
        self.rate = dtype.type(LEARNING_RATE / batch)
        self.half_per_sample = 0.5 / batch
        # For each layer: its parameters and their changes, its output, and Δ and Δy beside it.
        self.layers = []
        offset = 0
        for w, b in zip(problem.weights, problem.biases, strict=True):
            windows = []
            for part in (w, b):
                window = slice(offset, offset + part.size)
                windows.append(self.parameters[window].reshape(part.shape))
                windows.append(self.change[window].reshape(part.shape))
                offset += part.size
            arrays = [np.empty((batch, b.size), dtype) for _ in range(3)]
            self.layers.append((*windows, *arrays))

    def step(self) -> float:
        y = self.inputs
        for w, _, b, _, z, _, _ in self.layers:
            np.matmul(y, w, out=z)
            np.add(z, b, out=z)
            np.negative(z, out=z)
            np.exp(z, out=z)
            np.add(z, 1, out=z)
            y = np.reciprocal(z, out=z)

        delta = self.layers[-1][-2]
        np.subtract(y, self.targets, out=delta)
        deviations = delta.ravel()
        cost = float(np.dot(deviations, deviations)) * self.half_per_sample
        np.multiply(delta, self.rate, out=delta)

        for number in range(len(self.layers) - 1, -1, -1):
            w, dw, _, db, y, delta, product = self.layers[number]
            np.multiply(delta, y, out=delta)
            np.multiply(delta, y, out=product)
            np.subtract(delta, product, out=delta)
            np.dot(self.ones, delta, out=db)
            if number:
                _, _, _, _, y_in, delta_in, _ = self.layers[number - 1]
                np.matmul(y_in.T, delta, out=dw)
                np.matmul(delta, w.T, out=delta_in)
            else:
                np.matmul(self.inputs.T, delta, out=dw)
        np.subtract(self.parameters, self.change, out=self.parameters)
        return cost

    def flat_parameters(self) -> Array:
        return self.parameters
