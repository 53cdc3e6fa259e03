"""Losses: one number C for how wrong the network is, and the delta ∂C/∂y for the backward pass.

Each sample s of a batch of N has its own cost c_s, which compares the network's output y_s with the
target t_s. The cost function C is the average of these costs, and the delta is its derivative:

    C = (1/N) Σ_s w_s c_s(y_s, t_s)            Δ_s = ∂C/∂y_s = (w_s/N) ∂c_s/∂y_s

The average over the batch is taken only here: the deltas carry the factor 1/N through all layers,
and no layer divides by N again.

A sample weight w_s multiplies its sample's contribution, and the average is still over all N: a
weight of one changes nothing, a weight of two doubles the contribution, and a weight of zero
silences the sample, whatever its row of y contains. (A weighted mean would divide by Σ w_s
instead; the costs of the parts of a batch would then no longer add up to the cost of the batch.)

Losses for classes take integer labels 0 … K−1, or a row of K probabilities for each sample, which
is "one-hot" if one of them is 1. For logits (the output of the last Dense), use
`SoftmaxCrossEntropy` or `SigmoidCrossEntropy`: they never form a probability that could underflow,
and are finite for all finite logits.

A cost of the output alone has no t: an energy, a likelihood, or the residual of an equation. See
`MeanSquare`, `MeanOutput`, and ``takes_targets`` of `Loss`.

A model with several outputs has one loss for each output, and minimises their weighted sum: see
`PerOutput`.

    loss           the base class of all losses; subclass it for a custom loss
    differences    losses for numbers: squared, absolute and Huber, and those without targets
    entropies      losses for classes and probabilities
    likelihoods    a mean and a variance for each number
    per_output     one loss for each output of a model
    messages       the errors for outputs, targets and weights that do not fit
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule.core.hints import loaded, missing_name
from chainrule.losses.loss import Loss

if TYPE_CHECKING:
    from chainrule.losses.differences import (
        HalfSquaredError,
        Huber,
        MeanAbsoluteError,
        MeanOutput,
        MeanSquare,
        MeanSquaredError,
    )
    from chainrule.losses.entropies import (
        NegativeLogLikelihood,
        SigmoidCrossEntropy,
        SoftmaxCrossEntropy,
    )
    from chainrule.losses.likelihoods import GaussianNegativeLogLikelihood
    from chainrule.losses.per_output import PerOutput

_MODULES = {
    "GaussianNegativeLogLikelihood": "chainrule.losses.likelihoods",
    "HalfSquaredError": "chainrule.losses.differences",
    "Huber": "chainrule.losses.differences",
    "MeanAbsoluteError": "chainrule.losses.differences",
    "MeanOutput": "chainrule.losses.differences",
    "MeanSquare": "chainrule.losses.differences",
    "MeanSquaredError": "chainrule.losses.differences",
    "NegativeLogLikelihood": "chainrule.losses.entropies",
    "PerOutput": "chainrule.losses.per_output",
    "SigmoidCrossEntropy": "chainrule.losses.entropies",
    "SoftmaxCrossEntropy": "chainrule.losses.entropies",
}

__all__ = [
    "GaussianNegativeLogLikelihood",
    "HalfSquaredError",
    "Huber",
    "Loss",
    "MeanAbsoluteError",
    "MeanOutput",
    "MeanSquare",
    "MeanSquaredError",
    "NegativeLogLikelihood",
    "PerOutput",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
]


if not TYPE_CHECKING:  # with a __getattr__, type checkers would accept any name

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise missing_name(__name__, name)
        return loaded(__name__, name, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
