"""Losses: how wrong the network is, as one number C, and the delta ∂C/∂y that starts the way back.

Each sample s of a batch of N has a cost c_s of its own, which compares the network's output y_s
with the target t_s. The cost function is their average, and so is its derivative:

    C = (1/N) Σ_s w_s c_s(y_s, t_s)            Δ_s = ∂C/∂y_s = (w_s/N) ∂c_s/∂y_s

This is the one place where the average over the batch is taken: the deltas carry the 1/N from
here through all layers, and no layer divides by it again.

A sample weight w_s multiplies its sample's contribution, and the average stays over all N: weights
of one change nothing, a weight of two doubles what the sample adds, and a weight of zero
silences the sample, whatever stands in its row of y. (A weighted mean would divide by Σ w_s
instead; then the parts of a batch would no longer add up to the whole.)

Losses of class targets take integer labels 0 … K−1, or a row of K probabilities for each sample,
which is "one-hot" where one of them is one. From logits (what the last Dense returns) use
`SoftmaxCrossEntropy` or `SigmoidCrossEntropy`: they never form a probability that could underflow,
and are finite for all finite logits.

A model with several outputs has a loss for each of them, and the sum to be minimised is weighted:
see `PerOutput`.

    loss           what a loss is; subclass it for your own
    differences    losses of numbers: squared, absolute and Huber
    entropies      losses of classes and probabilities
    per_output     a loss for each output of a model
    refusals       the errors for targets and weights that do not fit
"""

from __future__ import annotations

from chainrule.losses.differences import (
    HalfSquaredError,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
)
from chainrule.losses.entropies import (
    NegativeLogLikelihood,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from chainrule.losses.loss import Loss
from chainrule.losses.per_output import PerOutput

__all__ = [
    "HalfSquaredError",
    "Huber",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "NegativeLogLikelihood",
    "PerOutput",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
]
