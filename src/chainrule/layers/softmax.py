"""The softmax layer: from scores to probabilities.

    p_k = exp(z_k) / Σ_l exp(z_l)          ∂p_k/∂z_l = p_k (δ_kl − p_l)

Every output depends on every input of its row, so each row has a full Jacobian matrix; its
product with Δ can be computed without the matrix, though. This layer has its own Jacobian. For
the combination with the cross entropy, which takes the scores themselves, use
`losses.SoftmaxCrossEntropy`.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from chainrule.core.arrays import as_operation
from chainrule.core.equations import Equations
from chainrule.core.errors import ShapeError
from chainrule.core.layer import Layer
from chainrule.core.types import Array


class Softmax(Layer, repr=False):
    """p = exp(z) / Σ exp(z) over the last axis.

    Forward  p_k = exp(z_k − max z) / Σ_l exp(z_l − max z), which cannot overflow
    Backward  ∂C/∂z_l = p_l (Δ_l − Σ_k Δ_k p_k),  with Δ = ∂C/∂p

    Raises
    ------
    ShapeError
        If a row is a single number, so that there is no axis of classes.

    Examples
    --------
    >>> Softmax()(np.array([[0.0, 0.0]]))
    array([[0.5, 0.5]])
    """

    accepts_any_shape: ClassVar[bool] = True

    def forward(self, inputs: Array) -> Array:
        self.probabilities = softmax(inputs)
        return self.probabilities

    def backward(self, delta: Array) -> Array:
        p = self.probabilities
        return p * (delta - (delta * p).sum(axis=-1, keepdims=True))

    def apply(self, inputs: Array) -> Array:
        return softmax(inputs)

    def equations(self) -> Equations:
        return Equations(
            "np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)",
            "y * (delta - (delta * y).sum(axis=-1, keepdims=True))",
        )


@as_operation
def softmax(inputs: Array) -> Array:
    """exp(z) / Σ exp(z) over the last axis."""
    if len(inputs.shape) < 2:
        raise ShapeError(
            "Softmax: a row is a single number, and the last axis is the batch",
            expected="(batch, …, classes)",
            received=inputs.shape,
            hint="make one row of scores a batch: x[np.newaxis]",
        )
    # Without classes there is no maximum; `initial` is never larger than a score. Halving
    # keeps the difference of two huge scores finite.
    lowest = np.finfo(inputs.dtype).min
    largest = inputs.max(axis=-1, keepdims=True, initial=lowest)
    powers = np.exp(2 * np.maximum(inputs / 2 - largest / 2, lowest / 2))
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers
