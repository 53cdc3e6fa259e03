"""Optimizers: how the parameters move when the gradient is known.

An optimizer sees all parameters of a model as one flat vector θ, with its gradient g = ∂C/∂θ
beside it, and changes θ in place. The lecture's gradient descent is

    θ ← θ − η g

with the learning rate η. The others remember earlier gradients: `SGD` with momentum moves on like
a heavy ball; `Adagrad`, `RMSprop`, `Adam`, `AdamW` and `Adamax` measure each parameter's step by
the size that its gradient usually has; `Lion` looks only at its sign.

What they remember stands on the optimizer under plain names (``velocity``, ``steps``, …): an
optimizer belongs to one model until it is `reset`. A step goes through the vectors in chunks that
stay in the processor's cache while several operations are done on them. So beside what is
remembered it needs no memory that grows with the model, and it is quicker than with whole vectors.

All of them take ``clip_norm`` and ``clip_value``, by name only: a gradient that is too long, or
has numbers that are too large, is clipped before anything else is done with it, as by PyTorch's
``clip_grad_norm_`` and ``clip_grad_value_``; see `chainrule.optimizers.chunked.ChunkedOptimizer`.
With ``decay_biases=False``, by name only as well, weight decay leaves out biases and all else that
has fewer than two axes.

Read in this order:

    optimizer    what an optimizer is; subclass it for your own
    sgd, adaptive, adam, lion    the rules
    chunked      how a rule goes through a long vector, and what several rules share
    slices       which parts of the vector move, where some are frozen
    clipping     gradients that are too long
    messages     the errors for vectors and states that do not fit

A new rule is a subclass of `ChunkedOptimizer` with one method, `_move`.

``optimizer.step(value, gradient)`` moves all of a vector; ``optimizer.descend(model.parameters)``
leaves out what is frozen (see `chainrule.core.layer.Layer.freeze`), as a `Trainer` does.
``optimizer.state()`` and ``optimizer.restore(state)`` are for those who write it to a file.
"""

from chainrule.optimizers.adam import Adam, Adamax, AdamW
from chainrule.optimizers.adaptive import Adagrad, RMSprop
from chainrule.optimizers.lion import Lion
from chainrule.optimizers.optimizer import Optimizer
from chainrule.optimizers.sgd import SGD

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Optimizer",
    "RMSprop",
]
