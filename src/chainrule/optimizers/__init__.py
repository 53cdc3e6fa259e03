"""Optimizers: how the parameters move once the gradient is known.

An optimizer sees all parameters of a model as one flat vector θ with its gradient g = ∂C/∂θ, and
changes θ in place. The lecture's gradient descent is

    θ ← θ − η g

with the learning rate η. The others remember earlier gradients: `SGD` with momentum keeps rolling
like a heavy ball; `Adagrad`, `RMSprop`, `Adam`, `AdamW` and `Adamax` scale the step of each
parameter by the usual size of its gradient; `Lion` uses only the sign of the gradient.

What an optimizer remembers is stored in its attributes (``velocity``, ``steps``, …), so an
optimizer belongs to one model until it is `reset`. A step works through the vectors in chunks that
stay in the processor's cache while several operations use them. This is faster than working on
whole vectors, and beyond what the rule remembers it needs no memory that grows with the model.

All of them take the keyword arguments ``clip_norm`` and ``clip_value``: a gradient that is too
long, or has components that are too large, is clipped before it is used, as in PyTorch's
``clip_grad_norm_`` and ``clip_grad_value_``; see `chainrule.optimizers.chunked.ChunkedOptimizer`.
With the keyword argument ``decay_biases=False``, weight decay leaves out biases and all other
parameters with fewer than two axes.

Read in this order:

    optimizer    the base class of all optimizers; subclass it for a custom rule
    sgd, adaptive, adam, lion    the rules
    chunked      how a rule works through a long vector, and what several rules share
    kernels      the rules as loops, which numba compiles
    slices       which slices of the vector move when some parameters are frozen
    clipping     how a gradient that is too long is shortened
    messages     the errors for vectors and states that do not fit

A new rule is a subclass of `ChunkedOptimizer` with one method, `_move`.

``optimizer.step(value, gradient)`` moves the whole vector; ``optimizer.descend(model.parameters)``
leaves out what is frozen (see `chainrule.core.layer.Layer.freeze`), as a `Trainer` does. To save an
optimizer to a file, use ``optimizer.state()`` and ``optimizer.restore(state)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule.core.hints import loaded, missing_name
from chainrule.optimizers.optimizer import Optimizer

if TYPE_CHECKING:
    from chainrule.optimizers.adam import Adam, Adamax, AdamW
    from chainrule.optimizers.adaptive import Adagrad, RMSprop
    from chainrule.optimizers.lion import Lion
    from chainrule.optimizers.sgd import SGD

_MODULES = {
    "Adagrad": "chainrule.optimizers.adaptive",
    "Adam": "chainrule.optimizers.adam",
    "AdamW": "chainrule.optimizers.adam",
    "Adamax": "chainrule.optimizers.adam",
    "Lion": "chainrule.optimizers.lion",
    "RMSprop": "chainrule.optimizers.adaptive",
    "SGD": "chainrule.optimizers.sgd",
}

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


if not TYPE_CHECKING:  # with a __getattr__, type checkers would accept any name

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise missing_name(__name__, name)
        return loaded(__name__, name, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
