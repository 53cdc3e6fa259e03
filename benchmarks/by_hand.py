"""A practical limit: the lecture's step as one NumPy loop with preallocated arrays.

The formulas are the lecture's, for a network whose neurons are sigmoids:

    forward   z = y w + b,    y = 1/(1 + e⁻ᶻ)
    backward  Δ = (y − t) f′/N at the output, with f′ = y (1 − y);    then Δ ← (Δ wᵀ) f′
              ∂C/∂w = yᵀ Δ,    ∂C/∂b = Σ Δ
    step      w ← w − η ∂C/∂w,    b ← b − η ∂C/∂b

Every result is written into an existing array, mostly in place. The code is specific to this
network and checks nothing.
"""

from __future__ import annotations

import numpy as np

from benchmarks.workloads import LEARNING_RATE, Array, Problem, flat


class ByHand:
    """A loop that allocates no arrays."""

    def __init__(self, problem: Problem) -> None:
        batch, dtype = len(problem.inputs), problem.dtype
        self.targets = problem.targets
        self.weights = [w.copy() for w in problem.weights]
        self.biases = [b.copy() for b in problem.biases]
        outputs = [np.empty((batch, b.size), dtype) for b in problem.biases]
        self.values = [problem.inputs, *outputs]
        self.slopes = [np.empty_like(y) for y in outputs]
        self.deltas = [np.empty_like(y) for y in outputs]
        self.weight_gradients = [np.empty_like(w) for w in self.weights]
        self.bias_gradients = [np.empty_like(b) for b in self.biases]
        # Both call the same BLAS: dot has less overhead, matmul does not write zeros first.
        self.products = [
            np.dot if w.size <= 4096 or 1 in w.shape else np.matmul for w in self.weights
        ]

    def step(self) -> float:
        values, deltas, batch = self.values, self.deltas, len(self.targets)
        for n, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = values[n + 1]
            self.products[n](values[n], w, out=z)
            z += b
            np.negative(z, out=z)
            np.exp(z, out=z)
            z += 1
            np.reciprocal(z, out=z)

        delta = deltas[-1]
        np.subtract(values[-1], self.targets, out=delta)
        cost = float(np.vdot(delta, delta)) / (2 * batch)
        delta /= batch
        for n in range(len(deltas) - 1, -1, -1):
            y, slope, delta = values[n + 1], self.slopes[n], deltas[n]
            np.subtract(1, y, out=slope)
            slope *= y
            delta *= slope
            self.products[n](values[n].T, delta, out=self.weight_gradients[n])
            np.sum(delta, axis=0, out=self.bias_gradients[n])
            if n > 0:
                self.products[n](delta, self.weights[n].T, out=deltas[n - 1])

        for parameters, gradients in (
            (self.weights, self.weight_gradients),
            (self.biases, self.bias_gradients),
        ):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                gradient *= LEARNING_RATE
                parameter -= gradient
        return cost

    def flat_parameters(self) -> Array:
        return flat(self.weights, self.biases)
