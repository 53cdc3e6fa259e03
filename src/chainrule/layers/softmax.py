"""The softmax layer: from scores to probabilities.

    p_k = exp(z_k) / Σ_l exp(z_l)          ∂p_k/∂z_l = p_k (δ_kl − p_l)

Every output depends on every input of its row, so the Jacobian is a full matrix for each row;
its product with Δ needs no matrix, though. This is a layer with a Jacobian of its own; a loss
that takes the scores themselves and joins both is `losses.SoftmaxCrossEntropy`.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

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
        Where a row is a single number, so that there are no classes.

    Examples
    --------
    >>> Softmax()(np.array([[0.0, 0.0]]))
    array([[0.5, 0.5]])
    """

    accepts_any_shape: ClassVar[bool] = True

    def forward(self, inputs: Array) -> Array:
        self.probabilities = self.apply(inputs)
        return self.probabilities

    def backward(self, delta: Array) -> Array:
        p = self.probabilities
        return p * (delta - (delta * p).sum(axis=-1, keepdims=True))

    def apply(self, inputs: Array) -> Array:
        if len(inputs.shape) < 2:
            raise ShapeError(
                "Softmax: a row is a single number, and the last axis is the batch",
                expected="(batch, …, classes)",
                received=inputs.shape,
                hint="one row of scores is a batch too: x[np.newaxis]",
            )
        # A maximum over no classes does not exist; `initial` cannot be larger than any score.
        # The halves keep the difference of two huge scores finite.
        lowest = np.finfo(inputs.dtype).min
        largest = inputs.max(axis=-1, keepdims=True, initial=lowest)
        powers = np.exp(2 * np.maximum(inputs / 2 - largest / 2, lowest / 2))
        powers /= powers.sum(axis=-1, keepdims=True)
        return powers

    def equations(self) -> Equations:
        return Equations(
            "np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)",
            "y * (delta - (delta * y).sum(axis=-1, keepdims=True))",
        )
