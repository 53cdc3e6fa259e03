"""Chunk by chunk: how the rules of `chainrule.optimizers` work through a long vector.

    g ← clipped g                   if clipping is on; see `chainrule.optimizers.clipping`
    θ, memory ← rule(θ, g, memory)  chunk by chunk

A chunk stays in the processor's cache while several operations use it. This is faster than working
on whole vectors, and beyond what the rule remembers a step needs no memory that grows with the
model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import define, field, fields

from chainrule.core.hints import hinted
from chainrule.core.types import Array
from chainrule.core.validators import as_float, is_integer, positive_or_none, yes_or_no
from chainrule.optimizers import kernels
from chainrule.optimizers.clipping import clipped, factor_for, norm_of
from chainrule.optimizers.messages import description, unlike
from chainrule.optimizers.optimizer import Optimizer
from chainrule.optimizers.slices import (
    CHUNK_SIZE,
    WHOLE_VECTOR,
    ParameterSlice,
    SlicesByMissedSteps,
    are_missed_ranges,
    chunks,
    gaps_between,
)


@define
class ChunkedOptimizer(Optimizer):
    """An optimizer that works chunk by chunk, and can clip the gradient first.

    A rule defines which vectors it remembers, `_remembered`, and how a chunk moves, `_move`.

    Parameters
    ----------
    decay_biases
        Whether the weight decay of a rule acts on all parameters. If False, parameters with fewer
        than two axes are left out, such as biases and the scales of normalizations. This
        corresponds to two parameter groups in PyTorch, the second with ``weight_decay=0``. It works
        in a `Trainer` and in `descend`; `step` takes plain vectors, in which biases look like
        weights, and applies the decay to all numbers.
    clip_norm
        If given, a longer gradient is shortened to this length, in the same direction:
        g ← g min(1, clip_norm / (‖g‖ + 10⁻⁶)), with the norm of all that is not frozen.
    clip_value
        If given, each component of the gradient is limited to the range from −clip_value to
        clip_value. If both are given, this comes first.

    Notes
    -----
    Clipping gives the same numbers as ``torch.nn.utils.clip_grad_value_`` and ``clip_grad_norm_``
    (the source of the 10⁻⁶), and comes before ``weight_decay`` is added; unlike in PyTorch, the
    gradient itself does not change. As in PyTorch, a norm of NaN makes every component of the
    gradient NaN, and an infinite norm makes finite components 0 and the others NaN. (A `Trainer`
    stops before such a step.) The norm is summed in float64, so it is finite for all finite float32
    numbers.

    Frozen parameters do not move, and what the optimizer remembers of them does not change. Once
    unfrozen, they continue, or begin, as if the steps in between had not happened, as in PyTorch.

    Source: R. Pascanu, T. Mikolov and Y. Bengio, *On the difficulty of training recurrent neural
    networks*, ICML 2013, arXiv:1211.5063, Algorithm 1, for the norm.
    """

    decay_biases: bool = field(default=True, kw_only=True, validator=yes_or_no)
    clip_norm: float | None = field(
        default=None, kw_only=True, converter=as_float, validator=positive_or_none
    )
    clip_value: float | None = field(
        default=None, kw_only=True, converter=as_float, validator=positive_or_none
    )
    _scratch: Array | None = field(default=None, init=False, repr=False, eq=False)
    _squares: Array | None = field(default=None, init=False, repr=False, eq=False)
    _slices: Sequence[ParameterSlice] | None = field(default=None, init=False, repr=False, eq=False)

    @hinted
    def step(self, value: Array, gradient: Array) -> None:
        """Change ``value`` in place by one step; see `Optimizer.step`."""
        names = self._remembered()
        memory = [getattr(self, name) for name in names] if names else []
        self.check(value, gradient, *memory)
        for n, vector in enumerate(memory):
            if vector is None:
                memory[n] = self._initial_memory(value)
                setattr(self, names[n], memory[n])
        scratch = self._scratch_for(value)
        slices = self._slices_for(value)  # None: the whole vector
        factor = 1.0 if self.clip_norm is None else self._clip_factor(gradient, scratch[2])
        limit = self.clip_value
        clips = factor != 1 or limit is not None
        self._count()
        if slices is None and value.size <= CHUNK_SIZE:
            usable = clipped(gradient, limit, factor, scratch[2]) if clips else gradient
            self._move(value, usable, memory, scratch, WHOLE_VECTOR)
            return
        for chunk, parameter_slice in chunks(slices, value.size):
            usable = gradient[chunk]
            if clips:
                usable = clipped(usable, limit, factor, scratch[2])
            remembered = [vector[chunk] for vector in memory]
            self._move(value[chunk], usable, remembered, scratch, parameter_slice)

    def step_parts(self, value: Array, gradient: Array, parts: Sequence[ParameterSlice]) -> None:
        """`step` for some slices of the vector; the rest is neither read nor written."""
        self.check(value, gradient)
        gaps_between(parts, value.size, type(self).__name__)  # raises if they do not fit
        self._slices = parts
        try:
            if type(self).step is ChunkedOptimizer.step:
                self.step(value, gradient)
            else:  # a subclass has its own step, which may do more
                super().step_parts(value, gradient, parts)
        finally:
            self._slices = None

    @property
    def _excludes_biases(self) -> bool:
        """Whether weight decay leaves out biases; a step then has to know the slices."""
        return not self.decay_biases

    def _decay_on_paper(self) -> dict[str, str]:
        """The line that adds λ θ to the gradient, for `equations`."""
        weight_decay = getattr(self, "weight_decay", 0.0)
        if not weight_decay:
            return {}
        return {"gradient": f"gradient + {weight_decay!r} * {self._decaying_on_paper()}"}

    def _decaying_on_paper(self) -> str:
        """The part of θ on which weight decay acts."""
        return "value" if self.decay_biases else "(value.ndim > 1) * value"

    def _remembered(self) -> tuple[str, ...]:
        """The names of the vectors that a step needs in addition to value and gradient."""
        return ()

    def _initial_memory(self, value: Array) -> Array:
        """The value of such a vector before the first step."""
        return np.zeros_like(value)

    def _slices_for(self, value: Array) -> Sequence[ParameterSlice] | None:
        """The slices that this step moves; None means the whole vector."""
        return self._slices

    def _count(self) -> None:
        """Count a step; called once per step, not once per chunk."""

    def _move(
        self,
        value: Array,
        gradient: Array,
        remembered: list[Array],
        scratch: Array,
        parameter_slice: ParameterSlice,
    ) -> None:
        """Move one chunk; the first two rows of ``scratch`` are working memory.

        The chunk belongs to ``parameter_slice``, which says whether weight decay acts on it; see
        `WHOLE_VECTOR`.
        """
        raise NotImplementedError

    def _refuse_state(self, state: dict[str, Any]) -> None:
        """A rule remembers vectors, all of the same size and dtype."""
        place = type(self).__name__
        first: Array | None = None
        for name in self._remembered():
            value = state[name]
            if value is None:
                continue
            if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind != "f":
                raise unlike(place, name, "a vector of floating-point numbers", value)
            first = value if first is None else first
            if value.shape != first.shape or value.dtype != first.dtype:
                raise unlike(place, name, description(first), value)

    def _scratch_for(self, value: Array) -> Array:
        """Three rows as long as a chunk: two for the rule, one for the clipped gradient."""
        scratch = self._scratch
        length = min(value.size, CHUNK_SIZE)
        # Assigned only when new, because an assignment goes through attrs, which is slow.
        if scratch is None or scratch.shape[1] != length or scratch.dtype != value.dtype:
            scratch = self._scratch = np.empty_like(value, shape=(3, length))
        return scratch

    def _clip_factor(self, gradient: Array, row: Array) -> float:
        """The factor for the whole gradient that limits its norm to clip_norm."""
        squares, length = self._squares, row.size
        # The sum is in float64, or in the dtype of the gradient if that is wider.
        dtype = np.promote_types(gradient.dtype, np.float64)
        if squares is None or squares.size != length or squares.dtype != dtype:
            squares = self._squares = np.empty_like(gradient, shape=length, dtype=dtype)
        norm = norm_of(gradient, self._slices, self.clip_value, row, squares)
        return factor_for(self.clip_norm or 0.0, norm)

    def __repr__(self) -> str:
        # The options that every optimizer has come last, and only if they are used.
        given = [(each, getattr(self, each.name)) for each in fields(type(self)) if each.init]
        shown = [pair for pair in given if not pair[0].kw_only]
        shown += [pair for pair in given if pair[0].kw_only and pair[1] != pair[0].default]
        arguments = ", ".join(f"{each.name}={value!r}" for each, value in shown)
        return f"{type(self).__name__}({arguments})"


@define(repr=False)
class CountingOptimizer(ChunkedOptimizer):
    """An optimizer whose rule depends on the number of earlier steps.

    Attributes
    ----------
    steps
        The number of steps taken.
    missed
        If parameters were frozen in some of the steps: the ranges of the vector that missed steps,
        as ``[start, stop, steps]``, with the number of steps missed. A rule leaves these steps out
        of its t.
    """

    steps: int = field(default=0, init=False, repr=False, eq=False)
    missed: list[list[int]] | None = field(default=None, init=False, repr=False, eq=False)
    _split: SlicesByMissedSteps | None = field(default=None, init=False, repr=False, eq=False)

    def _count(self) -> None:
        self.steps += 1

    def _slices_for(self, value: Array) -> Sequence[ParameterSlice] | None:
        if self._slices is None and self.missed is None:
            return None
        split = self._split
        if split is None or split.slices is not self._slices or split.missed is not self.missed:
            split = SlicesByMissedSteps.of(self._slices, value.size, self.missed or [])
            self._split, self.missed = split, split.missed
        for missed_range in split.left_out:
            missed_range[2] += 1
        return split.moved

    def _refuse_state(self, state: dict[str, Any]) -> None:
        super()._refuse_state(state)
        place, steps, missed = type(self).__name__, state["steps"], state["missed"]
        if not is_integer(steps) or steps < 0:
            raise unlike(place, "steps", "0, 1, 2, …", steps)
        if missed is not None and not are_missed_ranges(missed):
            raise unlike(place, "missed", "None, or a list of [start, stop, steps]", missed)
        vector = state[self._remembered()[0]]
        if missed and (vector is None or missed[-1][1] > vector.size):
            raise unlike(place, "missed", "ranges within the remembered vectors", missed)


def with_decay(value: Array, gradient: Array, weight_decay: float, row: Array) -> Array:
    """The sum g + λ θ of a chunk, in ``row``; if λ is 0, the gradient itself."""
    if not weight_decay:
        return gradient
    decayed = np.multiply(value, weight_decay, out=row[: value.size])
    decayed += gradient
    return decayed


def add_to_average(mean: Array, new: Array, kept: float, row: Array) -> None:
    """Mean ← β mean + (1 − β) new."""
    np.multiply(new, 1 - kept, out=row)
    mean *= kept
    mean += row


def add_to_average_of_squares(mean: Array, new: Array, kept: float, row: Array) -> None:
    """Mean ← β mean + (1 − β) new²."""
    np.square(new, out=row)
    row *= 1 - kept
    mean *= kept
    mean += row


def roll(
    value: Array,
    gradient: Array,
    velocity: Array,
    momentum: float,
    rate: float,
    row: Array,
    ahead: Array | None = None,
) -> None:
    """V ← μ v + g, θ ← θ − η v; with a row for the point ahead, θ ← θ − η (μ v + g)."""
    if kernels.heavy_ball(value, gradient, velocity, momentum, rate, ahead is not None):
        return
    velocity *= momentum
    velocity += gradient
    direction = velocity
    if ahead is not None:
        direction = np.multiply(velocity, momentum, out=ahead[: value.size])
        direction += gradient
    descend(value, direction, rate, row)


def descend(value: Array, direction: Array, rate: float, row: Array) -> None:
    """θ ← θ − η direction, where ``row`` may be the direction itself."""
    if kernels.descend(value, direction, rate):
        return
    row = row[: value.size]
    np.multiply(direction, rate, out=row)
    np.subtract(value, row, out=value)
