"""The step of one network in NumPy, optimised only for speed: how fast NumPy can be.

This goes beyond `benchmarks.by_hand`, a loop with preallocated arrays. It uses that f is the
sigmoid, whose derivative is y/s; its eᶻ overflows for large z; and for each product it uses the
call with the least overhead. It shows what a program for a single network can gain, and is the
limit with which `fit` is compared.

Every array is allocated once and reused in each step; all parameters form one vector, and so do
their gradients. The formulas are the lecture's, in the cheapest order:

    y = e/s              with e = eᶻ in the memory of z, and s = 1 + e in a separate array
    Δ ← Δ y/s            in the memory of Δ, since y (1 − y) = y/s
    Σ Δ                  as a product with a vector of ones, which is faster than np.sum
    1/N                  multiplied into the smallest array, the delta of the output
    θ ← θ − η ∂C/∂θ      in pieces that stay in the cache between the two operations

As with the other contenders, the gradient ∂C/∂θ is available after a step. Without that
requirement, η could be multiplied into the delta, which would save one operation on a vector as
long as θ.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.workloads import LEARNING_RATE, Array, Problem

PIECE = 32768  # numbers


class ForSpeedAlone:
    """A hand-optimised loop for one network."""

    def __init__(self, problem: Problem) -> None:
        batch, dtype = len(problem.inputs), problem.dtype
        self.targets = problem.targets
        self.parameters = problem.start()
        self.gradient = np.empty_like(self.parameters)
        self.one = np.ones((), dtype)
        self.ones = np.ones(batch, dtype)
        self.share = np.array(1 / batch, dtype)
        self.rate = np.array(LEARNING_RATE, dtype)
        self.half_share = 0.5 / batch

        # The arrays that each layer uses in the forward pass and in the backward pass.
        self.up: list[tuple[Any, ...]] = []
        self.down: list[tuple[Any, ...]] = []
        y_in: Any = problem.inputs
        delta_in: Any = None
        offset = 0
        for b in problem.biases:
            y, s, delta = (np.empty((batch, b.size), dtype) for _ in range(3))
            shape, size = (y_in.shape[1], b.size), y_in.shape[1] * b.size
            vectors = (self.parameters, self.gradient)
            w, dw = (vector[offset : offset + size].reshape(shape) for vector in vectors)
            offset += size
            b, db = (vector[offset : offset + b.size] for vector in vectors)
            offset += b.size
            multiply = _fastest_product(shape)
            self.up.append((multiply, y_in, w, b, y, s))
            self.down.insert(0, (multiply, y, s, delta, db, y_in.T, dw, w.T, delta_in))
            y_in, delta_in = y, delta
        self.output, self.delta = y_in, delta_in
        self.deviations = self.delta.ravel()
        change = np.empty(PIECE, dtype)
        self.pieces = [
            (self.parameters[piece], self.gradient[piece], change[: offset - piece.start])
            for piece in (slice(start, start + PIECE) for start in range(0, offset, PIECE))
        ]

    def step(self) -> float:
        one, ones = self.one, self.ones
        for multiply, y_in, w, b, y, s in self.up:
            multiply(y_in, w, y)
            np.add(y, b, y)
            np.exp(y, y)
            np.add(y, one, s)
            np.divide(y, s, y)

        np.subtract(self.output, self.targets, self.delta)
        cost = float(np.dot(self.deviations, self.deviations)) * self.half_share
        np.multiply(self.delta, self.share, self.delta)

        for multiply, y, s, delta, db, y_in_across, dw, w_across, delta_in in self.down:
            np.multiply(delta, y, delta)
            np.divide(delta, s, delta)
            np.dot(ones, delta, db)
            multiply(y_in_across, delta, dw)
            if delta_in is not None:
                multiply(delta, w_across, delta_in)
        for piece, gradient, change in self.pieces:
            np.multiply(gradient, self.rate, change)
            np.subtract(piece, change, piece)
        return cost

    def flat_parameters(self) -> Array:
        return self.parameters


def _fastest_product(shape: tuple[int, int]) -> Any:
    """Choose between two calls of the same BLAS: `dot` has less overhead, `matmul` moves less."""
    small = 1 in shape or shape[0] * shape[1] <= 4096
    return np.dot if small else np.matmul
