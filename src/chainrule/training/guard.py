"""One step of training, and the guard that stops where a number is no longer finite.

A training step is five lines:

    ∂C/∂θ ← 0                                  parameters.zero_grad()
    y = F_θ(x)                                 model.forward(x)
    C and Δ = ∂C/∂y                            loss.value_and_delta(y, t)
    ∂C/∂θ = (∂y/∂θ)ᵀ Δ                         model.backward_parameters(Δ)
    θ ← θ − η ∂C/∂θ, or another rule           optimizer.step(θ, ∂C/∂θ)

Where a model has several outputs, y, t and Δ are tuples, and C = Σ_i λ_i C_i.

Where the learning rate η is too large, θ runs away until something overflows, and whatever is not
finite makes everything after it not finite. What is wanted then is the place where it began (see
`chainrule.training.nonfinite_origin`), and parameters that can still be used. So every step makes
sure of three things:

* C is finite, or the step is not taken.
* θ·∂C/∂θ is finite, which it only is if every number of both vectors is. Where it isn't, the sum
  alone may be too large for its type; then, and only then, the numbers are looked at one by one.
* θ is copied before it moves, as far as it moves. If the movement itself overflows, the next step
  or the end of the epoch finds it and puts the copy back, whatever has been frozen or let go since:
  the last θ of which every number was finite.

This costs one pass over the gradient and two over θ: about 3 µs a step for small networks, and up
to 3 % of a step for large ones.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from attrs import define, field

from chainrule.core.errors import NonFiniteError
from chainrule.core.layer import Layer
from chainrule.core.parameter import ParameterVector
from chainrule.core.types import Array
from chainrule.data.samples import arrays_by_name
from chainrule.losses import Loss, PerOutput
from chainrule.optimizers import Optimizer
from chainrule.optimizers.optimizer import Descent
from chainrule.optimizers.slices import ParameterSlice
from chainrule.training.nonfinite_origin import (
    FINITE,
    all_finite,
    container,
    count_of,
    first_that_is_not_finite,
    found_after_forward,
    found_forward,
    found_in_batch,
    is_large,
    largest_of,
    look_at_random,
    up_to,
)

KEPT = "the parameters are the last ones that were finite"


@define(eq=False)
class GuardedStep:
    """The training step of a model that is built, with a loss and an optimizer.

    Attributes
    ----------
    has_overflowed
        Whether a step was taken back because the optimizer made a parameter infinite or NaN.

    Raises
    ------
    NonFiniteError
        The parameters are not finite to begin with.
    """

    model: Layer
    loss: Loss
    optimizer: Optimizer
    has_overflowed: bool = field(default=False, init=False)
    _parameters: ParameterVector = field(init=False)
    _states: ParameterVector = field(init=False)
    _descent: Descent = field(init=False)
    _last_finite: Array = field(init=False)
    _moved: tuple[ParameterSlice, ...] | None = field(
        default=None, init=False
    )  # by the last step; None: all
    _states_before: Array = field(init=False)
    _quiet: dict[str, Any] = field(init=False)
    _per_output: PerOutput | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._parameters, self._states = self.model.parameters, self.model.buffers
        self._descent = Descent(self.optimizer, self._parameters)
        self._quiet = quiet()
        self._per_output = self.loss if isinstance(self.loss, PerOutput) else None
        self._last_finite = self._parameters.value.copy()
        self._states_before = self._states.value.copy()
        if not _is_finite(self._last_finite):
            place, name, value = first_that_is_not_finite(self.model)
            raise NonFiniteError(
                f"the {name} are not finite before the training begins",
                place=place,
                expected=FINITE,
                received=count_of(value),
                hint="train a new model, model.unbuilt(), or give this one finite parameters",
            )

    def take(
        self, inputs: tuple[Array, ...], target: Any, weights: Array | None
    ) -> tuple[float, Any, tuple[float, ...]]:
        """Take one step; returns C and y, both from before the parameters move.

        The third is the cost of each output where there are several losses, else empty. They are
        the C_i of C = Σ_i λ_i C_i; the target, y and Δ are then tuples.

        Raises
        ------
        NonFiniteError
            A number is not finite. The error says where that began, and the parameters are the
            last ones that were finite.
        """
        self.begin()
        with np.errstate(**self._quiet):
            y, costs, cost, delta = self._gone_up(inputs, target, weights)
            self.model.backward_parameters(delta)
            self._move(inputs, target, weights)
        return cost, y, costs

    def begin(self) -> None:
        """Begin a step of several batches: `add` each of them, then `end` it."""
        if self._states_before.size:
            np.copyto(self._states_before, self._states.value)
        self._parameters.zero_grad()

    def add(
        self, inputs: tuple[Array, ...], target: Any, weights: Array | None, rows: int
    ) -> tuple[float, Any, tuple[float, ...]]:
        """Add a batch to the step: ∂C/∂θ ← ∂C/∂θ + |B| ∂C_B/∂θ; returns what `take` does."""
        with np.errstate(**self._quiet):
            y, costs, cost, delta = self._gone_up(inputs, target, weights)
            several = isinstance(delta, tuple)
            self.model.backward_parameters(
                tuple([part * rows for part in delta]) if several else delta * rows
            )
            if not self._moves_finitely(self._parameters.value, self._parameters.grad):
                raise self._stopped(inputs, target, weights)
        return cost, y, costs

    def end(self, rows: int) -> None:
        """Take the step: the average over all rows of its batches, ∂C/∂θ ← ∂C/∂θ / Σ |B|."""
        gradient = self._parameters.grad
        with np.errstate(**self._quiet):
            gradient /= rows
            self._keep(self._parameters.value)
            self._descent.step(self._parameters.value, gradient)

    def _gone_up(
        self, inputs: tuple[Array, ...], target: Any, weights: Array | None
    ) -> tuple[Any, tuple[float, ...], float, Any]:
        """y, the costs of several outputs, C and Δ of one batch."""
        y = self.model.forward(*inputs)
        costs: Any = ()
        try:
            if self._per_output is None:
                cost, delta = self.loss.value_and_delta(y, target, weights)
            else:
                costs, delta = self._per_output.costs_and_deltas(y, target, weights)
                cost, costs = self._per_output.total(costs), tuple(map(float, costs))
        except NonFiniteError as error:
            stopped = self._stopped(inputs, target, weights, error)
            if stopped is error:
                raise
            raise stopped from error
        cost = float(cost)
        if not math.isfinite(cost):
            raise self._stopped(inputs, target, weights)
        return y, costs, cost, delta

    def _move(self, inputs: tuple[Array, ...], target: Any, weights: Array | None) -> None:
        value, gradient = self._parameters.value, self._parameters.grad
        if not self._moves_finitely(value, gradient):
            raise self._stopped(inputs, target, weights)
        self._keep(value)
        self._descent.step(value, gradient)

    def require_finite(self) -> None:
        """Raise the error of `take` if the parameters are not finite after the last step."""
        if not _is_finite(self._parameters.value):
            raise self._overflowed("last step")

    def put_back(self) -> None:
        """Take the last step back if it left parameters that are not finite."""
        value = self._parameters.value
        if not _is_finite(value):
            self._take_back(value)

    def _moves_finitely(self, value: Array, gradient: Array) -> bool:
        """Whether all that moves, and where it is to move, is finite."""
        descent = self._descent
        if descent.slices is None:
            return _are_finite(value, gradient)
        return all(map(_are_finite, descent.moving(value), descent.moving(gradient)))

    def _keep(self, value: Array) -> None:
        """Copy all that is about to move; what is frozen costs nothing."""
        slices = self._moved = self._descent.slices
        if slices is None:
            self._last_finite[:] = value
        else:
            _copy(self._last_finite, value, slices)

    def _take_back(self, value: Array) -> None:
        """Bring back what the last step has moved, which need not be what the next one would."""
        self.has_overflowed = True
        _copy(value, self._last_finite, self._moved or (ParameterSlice(0, value.size),))

    def _stopped(
        self,
        inputs: tuple[Array, ...],
        target: Any,
        weights: Array | None,
        error: NonFiniteError | None = None,
    ) -> NonFiniteError:
        """The error for a step that cannot be taken; brings the parameters in order."""
        np.copyto(self._states.value, self._states_before)
        if not _is_finite(self._parameters.value):
            return self._overflowed("last step, the one before this,")
        batch = _real(arrays_by_name(inputs, target, weights))
        with np.errstate(all="ignore"):
            found = found_in_batch(batch) or found_forward(self.model, inputs) or error
            found = found or found_after_forward(self.model, self.loss, inputs, target, weights)
        hint = found.hint if found else look_at_random(self.model)
        if not found:
            found = NonFiniteError(
                "a number was not finite, but all were when the step was repeated to find out why",
                place=container(self.model),
                expected=FINITE,
                received="a cost or a gradient that was not; does a layer draw random numbers?",
            )
        found.hint = f"{hint or self._remedy(batch)}; {KEPT}"
        return found

    def _overflowed(self, which: str) -> NonFiniteError:
        """The error for an update that overflowed; takes it back."""
        place, name, value = first_that_is_not_finite(self.model)
        received = count_of(value)
        self._take_back(self._parameters.value)
        largest = largest_of(self._parameters.value)
        return NonFiniteError(
            f"the optimizer's {which} made the {name} infinite or NaN",
            place=place,
            expected=FINITE,
            received=f"{received}; before that step no parameter was beyond ±{largest:.3g}",
            hint=f"{self._slower}; that step was taken back",
        )

    def _remedy(self, batch: dict[str, Array]) -> str:
        """What to do where a number was too large: about the data, the learning rate, or both."""
        large = [f"{name} {up_to(array)}" for name, array in batch.items() if is_large(array)]
        if not large:
            return self._slower
        smaller = f"bring the data to numbers of about 1: the batch has {' and '.join(large)}"
        return f"{smaller}; or {self._slower}" if is_large(self._parameters.value) else smaller

    @property
    def _slower(self) -> str:
        return f"a smaller learning rate than {getattr(self.optimizer, 'learning_rate', 'this')}"


def quiet() -> dict[str, Any]:
    """What `numpy.errstate` is given where an error tells what NumPy's warnings would.

    Whoever has asked NumPy to raise where a number overflows wants to see that line, and does.
    """
    return {kind: "ignore" for kind, way in np.geterr().items() if way == "warn"}


def _copy(to: Array, of: Array, slices: tuple[ParameterSlice, ...]) -> None:
    for each in slices:
        to[each.start : each.stop] = of[each.start : each.stop]


def _real(arrays: dict[str, Array]) -> dict[str, Array]:
    """Those of them that hold real numbers, and no labels."""
    found = {name: np.asarray(array) for name, array in arrays.items()}
    return {name: array for name, array in found.items() if array.dtype.kind == "f"}


# ------------------------------------------------------------------------------- looking


def _is_finite(vector: Array) -> bool:
    with np.errstate(all="ignore"):
        return _are_finite(vector, vector)


def _are_finite(one: Array, other: Array) -> bool:
    """Whether every number of two vectors is finite."""
    try:
        if math.isfinite(one.dot(other)):  # much the quicker look
            return True
    except FloatingPointError:
        pass  # where NumPy is asked to raise
    return all_finite(one) and all_finite(other)  # it may be the sum alone that overflows
