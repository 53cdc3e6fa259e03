"""The parts of a vector: which stretches of it move in a step, and which stay.

The parameters of a model lie one behind the other in one vector θ. Where some are frozen, or biases
are left out of the weight decay, not all of θ moves alike:

    θ = (w¹, b¹, w², b², w³, b³)    with w² and b² frozen    two parts: (w¹, b¹) and (w³, b³)

A `ParameterSlice` is such a stretch. A step goes through it in chunks, which stay in the cache of
the processor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from attrs import define, field

from chainrule.core.errors import ShapeError
from chainrule.core.parameter import ParameterVector
from chainrule.core.types import Array
from chainrule.core.validators import is_integer

CHUNK_SIZE = 32768
"""How many numbers of a vector are worked on at once. From 16384 to 65536 it matters little."""


@define(frozen=True)
class ParameterSlice:
    """A stretch of a vector that an optimizer may move: the numbers from start up to stop.

    Attributes
    ----------
    start, stop
        As in a slice.
    decays
        Whether weight decay acts on it.
    missed
        How many steps have left it out so far; an optimizer that counts steps finds that out.
    """

    start: int
    stop: int
    decays: bool = True
    missed: int = 0


def slices_of(parameters: ParameterVector, decay_biases: bool = True) -> tuple[ParameterSlice, ...]:
    """The parts of a model's vector that are not frozen, as few and as long as possible.

    Parameters
    ----------
    parameters
        Those of a model: ``model.parameters``.
    decay_biases
        If False, weight decay leaves out parameters with fewer than two axes, such as the biases
        of a layer and the scales of a normalization.
    """
    found: list[ParameterSlice] = []
    start = 0
    for parameter in parameters:
        stop = start + parameter.size
        if parameter.trainable and start != stop:
            part = ParameterSlice(start, stop, decay_biases or len(parameter.shape) > 1)
            if found and found[-1].stop == start and found[-1].decays == part.decays:
                part = ParameterSlice(found.pop().start, stop, part.decays)
            found.append(part)
        start = stop
    return tuple(found)


WHOLE_VECTOR = ParameterSlice(0, 0)
"""In place of the part, where all of a vector moves at once."""


def chunks(
    parts: Sequence[ParameterSlice] | None, size: int
) -> Iterator[tuple[slice, ParameterSlice]]:
    """All of a vector, or some parts of it, in chunks; with each, the part in which it lies."""
    for part in (ParameterSlice(0, size),) if parts is None else parts:
        for start in range(part.start, part.stop, CHUNK_SIZE):
            yield slice(start, min(start + CHUNK_SIZE, part.stop)), part


# ------------------------------------------------------------------- what lies between them


def between(parts: Sequence[ParameterSlice], size: int, place: str) -> list[slice]:
    """What lies before, between and behind some parts; they are refused if they do not fit."""
    found, reached = [], 0
    for part in parts:
        if not reached <= part.start < part.stop <= size:
            raise ShapeError(
                "the parts do not fit the vector",
                place=place,
                expected=f"parts one behind the other, within {size:,} numbers",
                received=f"{part}, where what is before it reaches up to {reached:,}",
                hint="parts_of(model.parameters), with the vectors of the same model",
            )
        if reached != part.start:
            found.append(slice(reached, part.start))
        reached = part.stop
    return [*found, slice(reached, size)] if reached != size else found


def gather(kept: Array, value: Array, stretches: Iterable[slice]) -> None:
    """Copy some stretches of a vector, one behind the other."""
    at = 0
    for stretch in stretches:
        length = stretch.stop - stretch.start
        kept[at : at + length] = value[stretch]
        at += length


def scatter(kept: Array, value: Array, stretches: Iterable[slice]) -> None:
    """The inverse: put them back."""
    at = 0
    for stretch in stretches:
        length = stretch.stop - stretch.start
        value[stretch] = kept[at : at + length]
        at += length


# ------------------------------------------------------------------- which steps they have missed


@define
class SlicesByMissedSteps:
    """Parts, cut where what is in them has missed different numbers of steps.

    Attributes
    ----------
    parts
        What was cut; None is all of the vector.
    missed
        The stretches that have missed steps, or lie between the parts: ``[start, stop, steps]``.
    moved
        The parts, each with the number of steps that all of it has missed.
    left_out
        Those of ``missed`` that lie between the parts: the same lists, in which one counts on.
    """

    parts: Sequence[ParameterSlice] | None
    missed: list[list[int]] = field(factory=list)
    moved: list[ParameterSlice] = field(factory=list)
    left_out: list[list[int]] = field(factory=list)

    @classmethod
    def of(
        cls, parts: Sequence[ParameterSlice] | None, size: int, missed: list[list[int]]
    ) -> SlicesByMissedSteps:
        """Cut slices of a vector of this size where some stretches have missed steps."""
        cut, moving = cls(parts), (ParameterSlice(0, size),) if parts is None else parts
        edges = {0, size}.union(*((part.start, part.stop) for part in moving))
        edges = edges.union(*(stretch[:2] for stretch in missed))
        before, ahead = iter(missed), iter(moving)
        old, part = next(before, None), next(ahead, None)
        runs: list[tuple[int, int, int, ParameterSlice | None]] = []
        for start, stop in pairwise(sorted(edges)):
            if old is not None and old[1] == start:
                old = next(before, None)
            if part is not None and part.stop == start:
                part = next(ahead, None)
            count = old[2] if old is not None and old[0] <= start else 0
            moves = part if part is not None and part.start <= start else None
            if runs and runs[-1][2:] == (count, moves):
                start = runs.pop()[0]
            runs.append((start, stop, count, moves))
        for run in runs:
            cut._add(*run)
        return cut

    def _add(self, start: int, stop: int, count: int, part: ParameterSlice | None) -> None:
        if part is not None:
            self.moved.append(ParameterSlice(start, stop, part.decays, count))
        if part is None or count:
            self.missed.append([start, stop, count])
        if part is None:
            self.left_out.append(self.missed[-1])


def are_stretches(missed: Any) -> bool:
    """Whether these are lists [start, stop, steps], one behind the other."""
    reached = 0
    for stretch in missed if isinstance(missed, list) else [None]:
        if not isinstance(stretch, list) or len(stretch) != 3 or not all(map(is_integer, stretch)):
            return False
        if not reached <= stretch[0] < stretch[1] or stretch[2] < 0:
            return False
        reached = stretch[1]
    return True
