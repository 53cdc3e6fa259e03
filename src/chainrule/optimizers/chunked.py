"""Chunk by chunk: how the rules of `chainrule.optimizers` go through a long vector.

    g ← clipped g                   where that is asked for; see `chainrule.optimizers.clipping`
    θ, memory ← rule(θ, g, memory)  chunk by chunk

A chunk stays in the processor's cache while several operations are done on it. So beside what is
remembered a step needs no memory that grows with the model, and it is quicker than with whole
vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import define, field, fields

from chainrule.core.types import Array
from chainrule.core.validators import as_float, is_integer, positive_or_none, yes_or_no
from chainrule.optimizers.clipping import clipped, factor_for, norm_of
from chainrule.optimizers.messages import description, unlike
from chainrule.optimizers.optimizer import Optimizer
from chainrule.optimizers.slices import (
    CHUNK_SIZE,
    WHOLE_VECTOR,
    ParameterSlice,
    SlicesByMissedSteps,
    are_stretches,
    between,
    chunks,
)


@define
class ChunkedOptimizer(Optimizer):
    """An optimizer that works chunk by chunk, on gradients that it may clip first.

    A rule says which vectors it remembers, `_remembered`, and how a chunk moves, `_move`.

    Parameters
    ----------
    decay_biases
        Whether the weight decay of a rule acts on all parameters. If False, those with fewer than
        two axes, such as biases and the scales of normalizations, are left out, as with two groups
        of parameters in PyTorch, the second with ``weight_decay=0``. A `Trainer` and `descend` see
        to that; `step` is given two vectors, in which no bias can be told from a weight, and lets
        the decay act on all of them.
    clip_norm
        If given, a gradient that is longer than this is made that long, its direction kept:
        g ← g min(1, clip_norm / (‖g‖ + 10⁻⁶)), with the norm of all that is not frozen.
    clip_value
        If given, each number of the gradient is brought between −clip_value and clip_value. With
        both given, this comes first.

    Notes
    -----
    The same numbers as ``torch.nn.utils.clip_grad_value_`` and ``clip_grad_norm_``, whose 10⁻⁶
    that is, before ``weight_decay`` adds to the gradient; but the gradient itself stays as it is.
    As there, a norm that is NaN makes every number of the gradient NaN, and an infinite one makes
    0 of those that are finite and NaN of the others. (A `Trainer` stops before such a step.) The
    norm is summed in float64, so of float32 numbers that are finite it is finite, too.

    Of what is frozen nothing moves, what is remembered of it included; once it is let go, it goes
    on, or begins, as if the steps between had not been, as in PyTorch.

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
    _parts: Sequence[ParameterSlice] | None = field(default=None, init=False, repr=False, eq=False)

    def step(self, value: Array, gradient: Array) -> None:
        """Change ``value`` in place by one step; see `Optimizer.step`."""
        names = self._remembered()
        held = [getattr(self, name) for name in names] if names else []
        self.check(value, gradient, *held)
        for n, vector in enumerate(held):
            if vector is None:
                held[n] = self._beginning(value)
                setattr(self, names[n], held[n])
        scratch = self._scratch_for(value)
        parts = self._parts_for(value)  # None: all of it
        factor = 1.0 if self.clip_norm is None else self._clip_factor(gradient, scratch[2])
        limit = self.clip_value
        clips = factor != 1 or limit is not None
        self._count()
        if parts is None and value.size <= CHUNK_SIZE:
            seen = clipped(gradient, limit, factor, scratch[2]) if clips else gradient
            self._move(value, seen, held, scratch, WHOLE_VECTOR)
            return
        for chunk, part in chunks(parts, value.size):
            own = gradient[chunk]
            seen = clipped(own, limit, factor, scratch[2]) if clips else own
            self._move(value[chunk], seen, [vector[chunk] for vector in held], scratch, part)

    def step_parts(self, value: Array, gradient: Array, parts: Sequence[ParameterSlice]) -> None:
        """`step` for some parts of the vector, which does not look at the others at all."""
        self.check(value, gradient)
        between(parts, value.size, type(self).__name__)
        self._parts = parts
        try:
            if type(self).step is ChunkedOptimizer.step:
                self.step(value, gradient)
            else:  # that of a subclass, which may do more
                super().step_parts(value, gradient, parts)
        finally:
            self._parts = None

    @property
    def _spares_biases(self) -> bool:
        """Whether weight decay shall leave out biases, for which a step has to know the parts."""
        return not self.decay_biases

    def _remembered(self) -> tuple[str, ...]:
        """The names of the vectors that a step needs, besides the value and the gradient."""
        return ()

    def _beginning(self, value: Array) -> Array:
        """What such a vector is before the first step."""
        return np.zeros_like(value)

    def _parts_for(self, value: Array) -> Sequence[ParameterSlice] | None:
        """The parts that this step moves; None if it is all of the vector."""
        return self._parts

    def _count(self) -> None:
        """Do what is done once a step, not once a chunk."""

    def _move(
        self,
        value: Array,
        gradient: Array,
        remembered: list[Array],
        scratch: Array,
        part: ParameterSlice,
    ) -> None:
        """Move one chunk, with the first two rows of ``scratch`` to work in.

        It lies in ``part``, which says whether weight decay acts on it; see `WHOLE_VECTOR`.
        """
        raise NotImplementedError

    def _refuse_state(self, state: dict[str, Any]) -> None:
        """What a rule remembers are vectors of one kind."""
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
        """Three rows of a chunk's length: two for the rule, one for the clipped gradient."""
        held = self._scratch
        length = min(value.size, CHUNK_SIZE)
        # Assigned only when it is new: an assignment passes through attrs, which takes its time.
        if held is None or held.shape[1] != length or held.dtype != value.dtype:
            held = self._scratch = np.empty_like(value, shape=(3, length))
        return held

    def _clip_factor(self, gradient: Array, row: Array) -> float:
        """What the whole gradient is multiplied with so that it is not longer than clip_norm."""
        held, length = self._squares, row.size
        # Summed in float64, or a wider type of the gradient's own.
        dtype = np.promote_types(gradient.dtype, np.float64)
        if held is None or held.size != length or held.dtype != dtype:
            held = self._squares = np.empty_like(gradient, shape=length, dtype=dtype)
        norm = norm_of(gradient, self._parts, self.clip_value, row, held)
        return factor_for(self.clip_norm or 0.0, norm)

    def __repr__(self) -> str:
        # The options that every optimizer has stand last, and only if they are used.
        given = [(each, getattr(self, each.name)) for each in fields(type(self)) if each.init]
        shown = [pair for pair in given if not pair[0].kw_only]
        shown += [pair for pair in given if pair[0].kw_only and pair[1] != pair[0].default]
        arguments = ", ".join(f"{each.name}={value!r}" for each, value in shown)
        return f"{type(self).__name__}({arguments})"


@define(repr=False)
class CountingOptimizer(ChunkedOptimizer):
    """An optimizer whose rule depends on how many steps there were before.

    Attributes
    ----------
    steps
        How many steps were taken.
    missed
        Where something was frozen in some of them: each stretch of the vector, as ``[start, stop,
        steps]``, with the number of steps that have left it out. A rule counts t without them.
    """

    steps: int = field(default=0, init=False, repr=False, eq=False)
    missed: list[list[int]] | None = field(default=None, init=False, repr=False, eq=False)
    _cut: SlicesByMissedSteps | None = field(default=None, init=False, repr=False, eq=False)

    def _count(self) -> None:
        self.steps += 1

    def _parts_for(self, value: Array) -> Sequence[ParameterSlice] | None:
        if self._parts is None and self.missed is None:
            return None
        cut = self._cut
        if cut is None or cut.parts is not self._parts or cut.missed is not self.missed:
            cut = self._cut = SlicesByMissedSteps.of(self._parts, value.size, self.missed or [])
            self.missed = cut.missed
        for stretch in cut.left_out:
            stretch[2] += 1
        return cut.moved

    def _refuse_state(self, state: dict[str, Any]) -> None:
        super()._refuse_state(state)
        place, steps, missed = type(self).__name__, state["steps"], state["missed"]
        if not is_integer(steps) or steps < 0:
            raise unlike(place, "steps", "0, 1, 2, …", steps)
        if missed is not None and not are_stretches(missed):
            raise unlike(place, "missed", "None, or stretches [start, stop, steps]", missed)
        vector = state[self._remembered()[0]]
        if missed and (vector is None or missed[-1][1] > vector.size):
            raise unlike(place, "missed", "stretches of what is remembered", missed)


def with_decay(value: Array, gradient: Array, weight_decay: float, row: Array) -> Array:
    """The sum g + λ θ of a chunk, in ``row``; or the gradient itself where λ is 0."""
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


def descend(value: Array, direction: Array, rate: float, row: Array) -> None:
    """θ ← θ − η direction, where ``row`` may be the direction itself."""
    row = row[: value.size]
    np.multiply(direction, rate, out=row)
    np.subtract(value, row, out=value)
