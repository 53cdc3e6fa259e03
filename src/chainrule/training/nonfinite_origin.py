"""Where a NaN or infinity began: in the batch, a layer's forward or backward pass, or the loss.

A number that is not finite makes every later one not finite. So a failed step is repeated on a copy
of the model, layer by layer, and the error names the first layer that produces such a number, with
the size of its input:

    x → layer 1 → layer 2 → … → y → C            the first output that is not finite
    Δ ← layer 1 ← layer 2 ← … ← Δ                the first delta or gradient that is not finite
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from chainrule import losses
from chainrule.core.errors import NonFiniteError
from chainrule.core.input_checks import as_tuple
from chainrule.core.layer import Layer
from chainrule.core.messages import label
from chainrule.core.tree import join, snake_case
from chainrule.core.types import Array
from chainrule.graph.plan import Plan
from chainrule.losses import Loss


def origin_of(
    model: Layer, loss: Loss, inputs: tuple[Array, ...], target: Any, weights: Any
) -> NonFiniteError:
    """The error for a cost or gradient that is not finite at the start, for data that are."""
    with np.errstate(all="ignore"):
        try:
            found = found_in_parameters(model) or found_forward(model, inputs)
            found = found or found_after_forward(model, loss, inputs, target, weights)
        except NonFiniteError as error:  # the loss itself says more
            found = error
    return found or NonFiniteError(
        "the cost or its gradient is not finite at the start",
        place=container(model),
        expected=FINITE,
        received="numbers that are finite when computed again; does a layer draw random numbers?",
    )


def found_in_parameters(model: Layer) -> NonFiniteError | None:
    """The error for parameters that are not finite before a training begins."""
    if all_finite(model.parameters.value):
        return None
    place, name, value = first_nonfinite_parameter(model)
    return NonFiniteError(
        f"the {name} are not finite before the training begins",
        place=place,
        expected=FINITE,
        received=count_of(value),
        hint="train a new model, model.unbuilt(), or set finite parameters in this one",
    )


def found_in_batch(batch: dict[str, Array]) -> NonFiniteError | None:
    """The error for a batch that is itself not finite, which `Trainer.step` does not rule out."""
    for name, array in batch.items():
        if not all_finite(array):
            rows = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))
            return NonFiniteError(
                "the batch itself is not finite",
                place=name,
                expected=FINITE,
                received=f"{count_of(array)}, first in row {rows[0]:,}",
                hint="check where the batch comes from, and drop that row",
            )
    return None


def found_forward(model: Layer, inputs: tuple[Array, ...]) -> NonFiniteError | None:
    """Repeat the forward pass; the error for the first layer whose output is not finite."""
    plan = Plan.of(copy.deepcopy(model))
    for step, before, values in plan.steps_forward(inputs):
        if not all(map(all_finite, values)):
            layer = step.layer
            return NonFiniteError(
                f"{label(layer)} is the first layer whose output is not finite",
                place=plan.place(step),
                expected=FINITE,
                received=f"{count_of(*values)}, from inputs {up_to(*before)}"
                f"{_parameters_of(layer)}",
                hint=_hint_for_method("forward", layer, *before),
            )
    return None


def found_after_forward(
    model: Layer, loss: Loss, inputs: tuple[Array, ...], target: Any, weights: Array | None
) -> NonFiniteError | None:
    """The error for the loss, or for the first layer of the backward pass, that is not finite."""
    model = copy.deepcopy(model)
    model.parameters.zero_grad()
    plan = Plan.of(model)
    y = plan.forward(inputs)
    cost, delta = loss.value_and_delta(y, target, weights)
    if not all_finite(cost):
        shares = _shares_of(cost, loss, y, target, weights)
        return _found_in_loss("cost", shares, loss, y, target, plan)
    if not all(map(all_finite, as_tuple(delta))):
        return _found_in_loss("delta", as_tuple(delta), loss, y, target, plan)
    for step, before, sent in plan.steps_backward(delta, parameters_only=True):
        layer = step.layer
        results = (
            {"the delta that it returns": np.hstack([d.ravel() for d in sent])} if sent else {}
        )
        results |= {f"the gradient of {p.path}": p.grad for p in layer.parameters}
        for name, array in results.items():
            if not all_finite(array):
                return NonFiniteError(
                    f"{label(layer)} is the first layer of the backward pass whose result is not "
                    "finite",
                    place=plan.place(step),
                    expected=FINITE,
                    received=f"{name}: {count_of(array)}, from a delta {up_to(*before)}"
                    f"{_parameters_of(layer)}",
                    hint=_hint_for_method("backward", layer, *before),
                )
    return None


def _shares_of(
    cost: Array, loss: Loss, y: Any, target: Any, weights: Array | None
) -> tuple[Array, ...]:
    """What each output contributes to the cost: λ_i C_i."""
    if not isinstance(loss, losses.PerOutput):
        return (cost,)
    costs, _ = loss.costs_and_deltas(y, target, weights)
    outputs = range(len(costs))
    return tuple(loss.total([c if k == n else 0.0 for k, c in enumerate(costs)]) for n in outputs)


def _found_in_loss(
    name: str, shares: tuple[Array, ...], loss: Loss, y: Any, target: Any, plan: Plan
) -> NonFiniteError:
    """The error for a cost or delta that is not finite, with the output that it belongs to."""
    each = loss.for_each_output
    for number, (own, share) in enumerate(zip(each, shares, strict=True)):
        if not all_finite(share):
            kind = type(own).__name__
            return NonFiniteError(
                f"the {name} is not finite, though the output of every layer is",
                place=kind if len(each) == 1 else f"y[{number}], {kind}",
                expected=f"a finite {name}",
                received=f"{count_of(np.asarray(share))}, from outputs "
                f"{up_to(as_tuple(y)[number])} of {plan.place_of(plan.outputs[number])} "
                f"and targets {up_to(np.asarray(as_tuple(target)[number]))}",
            )
    return NonFiniteError(
        "the weighted cost of each output is finite, but their sum is not",
        place=type(loss).__name__,
        expected=f"a finite {name}",
        received=f"costs of {', '.join(f'{float(share):.3g}' for share in shares)}",
        hint="smaller weights: all of them can be multiplied by the same number",
    )


def container(model: Layer) -> str:
    """The name of a model as the first part of a path."""
    return snake_case(type(model).__name__)


def first_nonfinite_parameter(model: Layer) -> tuple[str, str, Array]:
    """The place, name and value of the first parameter that is not finite."""
    return next(
        (join(container(model), path), name, parameter.value)
        for path, layer in model.walk()
        for name, parameter in layer._parameters.items()
        if not all_finite(parameter.value)
    )


# ------------------------------------------------------------------------------- messages

FINITE = "finite numbers"
ORDINARY = 1e6
"""Numbers up to this size do not indicate a learning rate that is too large."""


def _hint_for_method(method: str, layer: Layer, *given: Array) -> str | None:
    """The hint for a layer that produces NaN or infinity from numbers of ordinary size."""
    if is_large(*given, layer.parameters.value):
        return None
    return f"its inputs are of ordinary size, so check its {method}"


def hint_for_randomness(model: Layer) -> str | None:
    """The hint if a step fails once but not when it is repeated."""
    if is_large(model.parameters.value):
        return None
    drawing = list(model.generators)
    if not drawing:
        return "the parameters are of ordinary size, so check for a layer that is not deterministic"
    more = f" and {len(drawing) - 3:,} more" if len(drawing) > 3 else ""
    return f"check how the random numbers of {', '.join(drawing[:3])}{more} are used"


def is_large(*arrays: Array) -> bool:
    """Whether a number is larger than ordinary data and parameters are."""
    return largest_of(*arrays) > ORDINARY


def count_of(*arrays: Array) -> str:
    """``3 NaN and 1 infinite of 40 numbers``."""
    nans = sum(int(np.isnan(array).sum()) for array in arrays)
    infinite = sum(int(np.isinf(array).sum()) for array in arrays)
    size = sum(array.size for array in arrays)
    counts = [f"{n:,} {what}" for n, what in ((nans, "NaN"), (infinite, "infinite")) if n]
    return " and ".join(counts) + f" of {size:,} number{'s' if size != 1 else ''}"


def up_to(*arrays: Array) -> str:
    """``of up to ±2.5``."""
    return f"of up to ±{largest_of(*arrays):.3g}"


def _parameters_of(layer: Layer) -> str:
    value = layer.parameters.value
    return f" and parameters {up_to(value)}" if value.size else ""


def largest_of(*arrays: Array) -> float:
    """The largest absolute value in some arrays; 0 if they are empty."""
    return max((float(np.max(np.abs(array), initial=0)) for array in arrays), default=0.0)


def all_finite(array: Array) -> bool:
    """Whether no number of an array is infinite or NaN."""
    return bool(np.isfinite(array).all())
