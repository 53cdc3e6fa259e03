"""The origin of a number that is not finite: the batch, a layer, the loss, or the way back.

What is not finite makes everything after it not finite. So a step that has failed is repeated on a
copy of the model, one layer after another, and the first that makes such a number is named, with
the size of what it was given:

    x → layer 1 → layer 2 → … → y → C            the first whose output is not finite
    Δ ← layer 1 ← layer 2 ← … ← Δ                the first whose delta or gradient is not
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from chainrule.core.errors import NonFiniteError
from chainrule.core.input_checks import as_tuple
from chainrule.core.layer import Layer
from chainrule.core.messages import label
from chainrule.core.tree import join, snake_case
from chainrule.core.types import Array
from chainrule.graph.plan import Plan
from chainrule.losses import Loss, PerOutput


def found_in_batch(batch: dict[str, Array]) -> NonFiniteError | None:
    """The array of the batch that is itself not finite, as in `Trainer.step` it may be."""
    for name, array in batch.items():
        if not all_finite(array):
            rows = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))
            return NonFiniteError(
                "the batch itself is not finite",
                place=name,
                expected=FINITE,
                received=f"{count_of(array)}, first in row {rows[0]:,}",
                hint="look at where the batch comes from, and leave that row out",
            )
    return None


def found_forward(model: Layer, inputs: tuple[Array, ...]) -> NonFiniteError | None:
    """The first layer that makes a number that is not finite, seen by repeating the step."""
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
                hint=_look_at("forward", layer, *before),
            )
    return None


def found_after_forward(
    model: Layer, loss: Loss, inputs: tuple[Array, ...], target: Any, weights: Array | None
) -> NonFiniteError | None:
    """The loss, or the first layer on the way back, that makes such a number."""
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
        made = (
            {"the delta that it sends back": np.hstack([d.ravel() for d in sent])} if sent else {}
        )
        made |= {f"the gradient of {p.path}": p.grad for p in layer.parameters}
        for name, array in made.items():
            if not all_finite(array):
                return NonFiniteError(
                    f"{label(layer)} is the first layer on the way back to make a number that is "
                    "not finite",
                    place=plan.place(step),
                    expected=FINITE,
                    received=f"{name}: {count_of(array)}, from a delta {up_to(*before)}"
                    f"{_parameters_of(layer)}",
                    hint=_look_at("backward", layer, *before),
                )
    return None


def _shares_of(
    cost: Array, loss: Loss, y: Any, target: Any, weights: Array | None
) -> tuple[Array, ...]:
    """What each output adds to the cost: λ_i C_i."""
    if not isinstance(loss, PerOutput):
        return (cost,)
    costs, _ = loss.costs_and_deltas(y, target, weights)
    alone = range(len(costs))
    return tuple(loss.total([c if k == n else 0.0 for k, c in enumerate(costs)]) for n in alone)


def _found_in_loss(
    name: str, parts: tuple[Array, ...], loss: Loss, y: Any, target: Any, plan: Plan
) -> NonFiniteError:
    """The error for a cost or a delta that is not finite, with the output whose part it is."""
    each = loss.for_each_output
    for number, (own, part) in enumerate(zip(each, parts, strict=True)):
        if not all_finite(part):
            kind = type(own).__name__
            return NonFiniteError(
                f"the {name} is not finite, though the output of every layer is",
                place=kind if len(each) == 1 else f"y[{number}], {kind}",
                expected=f"a finite {name}",
                received=f"{count_of(np.asarray(part))}, from outputs "
                f"{up_to(as_tuple(y)[number])} of {plan.place_of(plan.outputs[number])} "
                f"and targets {up_to(np.asarray(as_tuple(target)[number]))}",
            )
    return NonFiniteError(
        "the weighted cost of each output is finite, and their sum is not",
        place=type(loss).__name__,
        expected=f"a finite {name}",
        received=f"costs of {', '.join(f'{float(part):.3g}' for part in parts)}",
        hint="smaller weights: all of them may be multiplied by one number",
    )


def container(model: Layer) -> str:
    """What a model is called in front of a path."""
    return snake_case(type(model).__name__)


def first_that_is_not_finite(model: Layer) -> tuple[str, str, Array]:
    """The place of a parameter, its name and its value."""
    return next(
        (join(container(model), path), name, parameter.value)
        for path, layer in model.walk()
        for name, parameter in layer._parameters.items()
        if not all_finite(parameter.value)
    )


# ------------------------------------------------------------------------------- what is said

FINITE = "finite numbers"
ORDINARY = 1e6
"""Numbers up to this size do not come from a learning rate that is too large."""


def _look_at(method: str, layer: Layer, *given: Array) -> str | None:
    """What to do about a layer that makes NaN or infinity of ordinary numbers."""
    if is_large(*given, layer.parameters.value):
        return None
    return f"the numbers that it was given are ordinary ones, so look at its {method}"


def look_at_random(model: Layer) -> str | None:
    """What to do where a step fails once, and not when it is repeated."""
    if is_large(model.parameters.value):
        return None
    drawing = list(model.generators)
    if not drawing:
        return "the parameters are ordinary ones, so look at a layer that is not the same each time"
    more = f" and {len(drawing) - 3:,} more" if len(drawing) > 3 else ""
    return f"look at what is made of the numbers that {', '.join(drawing[:3])}{more} draws"


def is_large(*arrays: Array) -> bool:
    """Whether numbers are larger than those that ordinary data and parameters have."""
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
    """The largest absolute value in some arrays, 0 where there is none."""
    return max((float(np.max(np.abs(array), initial=0)) for array in arrays), default=0.0)


def all_finite(array: Array) -> bool:
    """Whether no number of an array is infinite or NaN."""
    return bool(np.isfinite(array).all())
