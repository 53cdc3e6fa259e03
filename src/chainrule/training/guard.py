"""One training step, with a guard that stops as soon as a number is not finite.

A training step is five lines:

    ∂C/∂θ ← 0                                  parameters.zero_grad()
    y = F_θ(x)                                 model.forward(x)
    C and Δ = ∂C/∂y                            loss.value_and_delta(y, t)
    ∂C/∂θ = (∂y/∂θ)ᵀ Δ                         model.backward_parameters(Δ)
    θ ← θ − η ∂C/∂θ, or another rule           optimizer.step(θ, ∂C/∂θ)

If a model has several outputs, y, t and Δ are tuples, and C = Σ_i λ_i C_i.

If the learning rate η is too large, θ grows until something overflows, and a number that is not
finite makes every later one not finite. The user then needs to know where it began (see
`chainrule.training.nonfinite_origin`) and needs usable parameters. So every step makes sure of
three things:

* C is finite; otherwise the step is not taken.
* θ·∂C/∂θ is finite, which implies that every number of both vectors is. If it is not finite, the
  sum alone may have overflowed; only then are the numbers checked one by one.
* The part of θ that is about to move is copied first. If the update itself overflows, the next step
  or the end of the epoch detects it and restores the copy, the last θ that was finite throughout,
  even if parameters have been frozen or unfrozen since.

This costs one pass over the gradient and two over θ: about 3 µs per step for small networks, and up
to 3 % of a step for large ones.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from attrs import define, field

from chainrule import losses
from chainrule.core import whole_batch
from chainrule.core.arrays import refuse_write
from chainrule.core.errors import NonFiniteError
from chainrule.core.input_checks import as_tuple
from chainrule.core.layer import Layer
from chainrule.core.messages import label
from chainrule.core.parameter import ParameterVector
from chainrule.core.types import Array
from chainrule.data.samples import arrays_by_name, one_or_all
from chainrule.losses import Loss
from chainrule.optimizers import Optimizer
from chainrule.optimizers.optimizer import Descent
from chainrule.optimizers.slices import ParameterSlice
from chainrule.training.nonfinite_origin import (
    FINITE,
    all_finite,
    container,
    count_of,
    first_nonfinite_parameter,
    found_after_forward,
    found_forward,
    found_in_batch,
    found_in_parameters,
    hint_for_randomness,
    is_large,
    largest_of,
    up_to,
)
from chainrule.training.ranks import Ranks

KEPT = "the parameters are the last finite ones"


@define(eq=False, repr=False)
class GuardedStep:
    """The training step of a built model, with a loss and an optimizer.

    Attributes
    ----------
    has_overflowed
        Whether a step was undone because the optimizer made a parameter infinite or NaN.

    Raises
    ------
    NonFiniteError
        The parameters are not finite before the first step.
    """

    model: Layer
    loss: Loss
    optimizer: Optimizer
    ranks: Ranks = field(factory=Ranks)
    has_overflowed: bool = field(default=False, init=False)
    _parameters: ParameterVector = field(init=False)
    _buffers: ParameterVector = field(init=False)
    _descent: Descent = field(init=False)
    _last_finite: Array = field(init=False)
    # What the last step moved; None means everything.
    _moved: tuple[ParameterSlice, ...] | None = field(default=None, init=False)
    _buffers_before: list[Array] = field(init=False)
    _total: Array | None = field(default=None, init=False)  # of the batches before, if several
    _batches: int = field(default=0, init=False)
    _is_open: bool = field(default=False, init=False)  # between `begin` and `end`
    _quiet: dict[str, Any] = field(init=False)
    _per_output: losses.PerOutput | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._parameters, self._buffers = self.model.parameters, self.model.buffers
        self.optimizer.work_for(self.model)
        self._descent = Descent(self.optimizer, self._parameters)
        self._quiet = quiet()
        self._per_output = self.loss if isinstance(self.loss, losses.PerOutput) else None
        self._last_finite = self._parameters.value.copy()
        self._buffers_before = [buffer.value.copy() for buffer in self._buffers]
        if not _is_finite(self._last_finite):
            found = found_in_parameters(self.model)
            if found is not None:
                raise found

    def take(
        self, inputs: tuple[Array, ...], target: Any, weights: Any
    ) -> tuple[float, Any, tuple[float, ...]]:
        """Take one step; returns C and y from before the update, and the C_i.

        With several losses, the C_i are the costs in C = Σ_i λ_i C_i, and the target, y and Δ are
        tuples; otherwise the tuple of the C_i is empty.

        Raises
        ------
        NonFiniteError
            A number is not finite. The error says where that began, and the parameters are the
            last finite ones.
        """
        self.begin()
        with np.errstate(**self._quiet):
            y, costs, cost, delta = self._forward_and_loss(inputs, target, weights)
            self.model.backward_parameters(delta)
            self._update(inputs, target, weights)
        return cost, y, costs

    def begin(self) -> None:
        """Begin a step of several batches: call `add` for each of them, then `end`."""
        if self._buffers_before:
            self._buffers_before = [buffer.value.copy() for buffer in self._buffers]
        self._parameters.zero_grad()
        self._batches, self._total, self._is_open = 0, None, True

    def add(
        self,
        inputs: tuple[Array, ...],
        target: Any,
        weights: Any,
        rows: float | tuple[float, ...],
    ) -> tuple[float, Any, tuple[float, ...]]:
        """Add a batch to the step, ∂C/∂θ ← ∂C/∂θ + |B| ∂C_B/∂θ; returns the same as `take`.

        If what the costs are averages over differs from output to output, the rows are a tuple.

        The gradient of each batch is complete before it is added, so the sum is to the last bit
        that of several ranks, each of which has a batch.
        """
        if self._batches:
            self._total = self._parameters.grad.copy()
            self._parameters.zero_grad()
        self._batches += 1
        with np.errstate(**self._quiet):
            y, costs, cost, delta = self._forward_and_loss(inputs, target, weights)
            deltas = as_tuple(delta)
            factors = rows if isinstance(rows, tuple) else (rows,) * len(deltas)
            pairs = zip(deltas, factors, strict=True)
            self.model.backward_parameters(one_or_all(tuple([d * factor for d, factor in pairs])))
            if self._total is not None:
                gradient = self._parameters.grad
                np.add(self._total, gradient, out=gradient)
                self._total = None
            if not self._update_is_finite(self._parameters.value, self._parameters.grad):
                raise self._failure(inputs, target, weights)
        return cost, y, costs

    def end(self, rows: int) -> None:
        """Take the step with the average over all rows of its batches, ∂C/∂θ ← ∂C/∂θ / Σ |B|.

        On several ranks these are the rows of all of them, and `gradient` has been added up.
        """
        gradient, value = self._parameters.grad, self._parameters.value
        with np.errstate(**self._quiet):
            if self.ranks.is_divided and not self._update_is_finite(value, gradient):
                raise self._too_large_together(gradient)
            gradient /= rows
            self._keep(value)
            self._descent.step(value, gradient)
        self._is_open = False

    @property
    def gradient(self) -> Array:
        """The sum of the gradients of the batches so far, between `begin` and `end`."""
        return self._parameters.grad

    def put_back_buffers(self) -> None:
        """Undo what a step that was not taken, because of another rank, did to the buffers."""
        if self._is_open:
            self._is_open = False
            for buffer, before in zip(self._buffers, self._buffers_before, strict=True):
                buffer.value = before

    def _forward_and_loss(
        self, inputs: tuple[Array, ...], target: Any, weights: Any
    ) -> tuple[Any, tuple[float, ...], float, Any]:
        """y, the costs C_i of several outputs, C and Δ of one batch."""
        costs: Any = ()
        try:
            y = self.model.forward(*inputs)
        except ValueError as error:
            refuse_write(error, f"{label(self.model)}.forward")
            raise
        try:
            if self._per_output is None:
                cost, delta = self.loss.value_and_delta(y, target, weights)
            else:
                costs, delta = self._per_output.costs_and_deltas(y, target, weights)
                cost, costs = self._per_output.total(costs), tuple(map(float, costs))
        except NonFiniteError as error:
            failure = self._failure(inputs, target, weights, error)
            if failure is error:
                raise
            raise failure from error
        except ValueError as error:
            refuse_write(error, type(self.loss).__name__)
            raise
        cost = float(cost)
        if not math.isfinite(cost):
            raise self._failure(inputs, target, weights)
        return y, costs, cost, delta

    def _update(self, inputs: tuple[Array, ...], target: Any, weights: Any) -> None:
        value, gradient = self._parameters.value, self._parameters.grad
        if not self._update_is_finite(value, gradient):
            raise self._failure(inputs, target, weights)
        self._keep(value)
        self._descent.step(value, gradient)

    def require_finite(self) -> None:
        """Raise an error if the last step made a parameter infinite or NaN."""
        if not _is_finite(self._parameters.value):
            raise self._overflow("last step")

    def put_back(self) -> None:
        """Undo the last step if it made a parameter infinite or NaN."""
        value = self._parameters.value
        if not _is_finite(value):
            self._undo_step(value)

    def _update_is_finite(self, value: Array, gradient: Array) -> bool:
        """Whether the trainable parameters and their gradients are finite."""
        descent = self._descent
        if descent.slices is None:
            return _are_finite(value, gradient)
        return all(map(_are_finite, descent.moving(value), descent.moving(gradient)))

    def _keep(self, value: Array) -> None:
        """Copy the parameters that are about to move; frozen ones cost nothing."""
        slices = self._moved = self._descent.slices
        if slices is None:
            self._last_finite[:] = value
        else:
            _copy(self._last_finite, value, slices)

    def _undo_step(self, value: Array) -> None:
        """Restore what the last step moved; what is frozen may have changed since."""
        self.has_overflowed = True
        _copy(value, self._last_finite, self._moved or (ParameterSlice(0, value.size),))

    def _failure(
        self,
        inputs: tuple[Array, ...],
        target: Any,
        weights: Any,
        error: NonFiniteError | None = None,
    ) -> NonFiniteError:
        """The error for a step that cannot be taken; restores parameters and buffers."""
        for buffer, before in zip(self._buffers, self._buffers_before, strict=True):
            buffer.value = before
        if not _is_finite(self._parameters.value):
            return self._overflow("last step, the one before this,")
        batch = _real(arrays_by_name(inputs, target, weights))
        with np.errstate(all="ignore"), whole_batch.divided(None):  # this rank alone looks for it
            found = found_in_batch(batch) or found_forward(self.model, inputs) or error
            found = found or found_after_forward(self.model, self.loss, inputs, target, weights)
        hint = found.hint if found else hint_for_randomness(self.model)
        if not found:
            found = NonFiniteError(
                "a number was not finite, but when the step was repeated, all were",
                place=container(self.model),
                expected=FINITE,
                received="a cost or gradient that was not; does a layer draw random numbers?",
            )
        found.hint = f"{hint or self._hint_for_size(batch)}; {KEPT}"
        return found

    def _too_large_together(self, gradient: Array) -> NonFiniteError:
        """The error for a sum of the gradients of all ranks that overflows."""
        return NonFiniteError(
            "the sum of the gradients of all ranks is not finite",
            place=container(self.model),
            expected=FINITE,
            received=count_of(gradient),
            hint=f"{self._slower}; {KEPT}",
        )

    def _overflow(self, which: str) -> NonFiniteError:
        """The error for an update that overflowed; undoes the update."""
        place, name, value = first_nonfinite_parameter(self.model)
        received = count_of(value)
        self._undo_step(self._parameters.value)
        largest = largest_of(self._parameters.value)
        return NonFiniteError(
            f"the optimizer's {which} made the {name} infinite or NaN",
            place=place,
            expected=FINITE,
            received=f"{received}; before that step no parameter exceeded ±{largest:.3g}",
            hint=f"{self._slower}; that step was undone",
        )

    def _hint_for_size(self, batch: dict[str, Array]) -> str:
        """The hint if a number was too large: change the data, the learning rate, or both."""
        large = [f"{name} {up_to(array)}" for name, array in batch.items() if is_large(array)]
        if not large:
            return self._slower
        smaller = f"scale the data to about 1 in size: the batch has {' and '.join(large)}"
        return f"{smaller}; or {self._slower}" if is_large(self._parameters.value) else smaller

    @property
    def _slower(self) -> str:
        return f"a smaller learning rate than {getattr(self.optimizer, 'learning_rate', 'this')}"


def quiet() -> dict[str, Any]:
    """The arguments for `numpy.errstate` that silence NumPy's warnings; our error says more.

    A user who has set NumPy to raise on overflow still sees the line that raises.
    """
    return {kind: "ignore" for kind, action in np.geterr().items() if action == "warn"}


def _copy(to: Array, of: Array, slices: tuple[ParameterSlice, ...]) -> None:
    for each in slices:
        to[each.start : each.stop] = of[each.start : each.stop]


def _real(arrays: dict[str, Array]) -> dict[str, Array]:
    """The arrays of real numbers, without labels."""
    converted = {name: np.asarray(array) for name, array in arrays.items()}
    return {name: array for name, array in converted.items() if array.dtype.kind == "f"}


# ------------------------------------------------------------------------------- checks


def _is_finite(vector: Array) -> bool:
    with np.errstate(all="ignore"):
        return _are_finite(vector, vector)


def _are_finite(one: Array, other: Array) -> bool:
    """Whether every number of two vectors is finite."""
    try:
        if math.isfinite(one.dot(other)):  # much faster than looking at each number
            return True
    except FloatingPointError:
        pass  # NumPy is set to raise
    return all_finite(one) and all_finite(other)  # the sum alone may have overflowed
