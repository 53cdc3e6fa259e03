"""Slices of the parameter vector: which of them move in a step, and which stay.

The parameters of a model follow each other in one vector θ. If some are frozen, or biases are left
out of the weight decay, not all of θ moves alike:

    θ = (w¹, b¹, w², b², w³, b³)    with w² and b² frozen    two slices: (w¹, b¹) and (w³, b³)

A `ParameterSlice` is such a slice. A step works through it in chunks that stay in the processor's
cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from attrs import define, field

from chainrule.core.errors import ShapeError
from chainrule.core.parameter import ParameterVector
from chainrule.core.types import Array
from chainrule.core.validators import is_integer

CHUNK_SIZE = 32768
"""How many numbers of a vector are processed at once. From 16384 to 65536 it matters little."""


class ParameterSlice(NamedTuple):
    """A slice of a vector that an optimizer may move: the numbers from start up to stop.

    Attributes
    ----------
    start, stop
        As in a Python slice.
    decays
        Whether weight decay acts on it.
    missed
        How many steps have left it out so far; an optimizer that counts steps sets this.
    """

    start: int
    stop: int
    decays: bool = True
    missed: int = 0


def slices_of(parameters: ParameterVector, decay_biases: bool = True) -> tuple[ParameterSlice, ...]:
    """The slices of a model's vector that are not frozen, as few and as long as possible.

    Parameters
    ----------
    parameters
        The parameters of a model, ``model.parameters``.
    decay_biases
        If False, weight decay leaves out parameters with fewer than two axes, such as the biases
        of a layer and the scales of a normalization.
    """
    slices: list[ParameterSlice] = []
    start = 0
    for parameter in parameters:
        stop = start + parameter.size
        if parameter.trainable and start != stop:
            decays = decay_biases or len(parameter.shape) > 1
            extends_last = slices and slices[-1].stop == start and slices[-1].decays == decays
            first = slices.pop().start if extends_last else start
            slices.append(ParameterSlice(first, stop, decays))
        start = stop
    return tuple(slices)


WHOLE_VECTOR = ParameterSlice(0, 0)
"""Stands for the slice when all of a vector moves at once."""


def chunks(
    slices: Sequence[ParameterSlice] | None, size: int
) -> Iterator[tuple[slice, ParameterSlice]]:
    """Each chunk of the given slices (None means the whole vector), with its `ParameterSlice`."""
    for each in (ParameterSlice(0, size),) if slices is None else slices:
        for start in range(each.start, each.stop, CHUNK_SIZE):
            yield slice(start, min(start + CHUNK_SIZE, each.stop)), each


# ------------------------------------------------------------------- the gaps between slices


def gaps_between(slices: Sequence[ParameterSlice], size: int, place: str) -> list[slice]:
    """The gaps before, between and after the slices; raises an error if the slices do not fit."""
    gaps, end = [], 0
    for each in slices:
        if not end <= each.start < each.stop <= size:
            raise ShapeError(
                "the slices do not fit the vector",
                place=place,
                expected=f"slices in order, without overlap, within {size:,} numbers",
                received=f"{each}, after slices that reach up to {end:,}",
                hint="use slices_of(model.parameters) with the vectors of the same model",
            )
        if end != each.start:
            gaps.append(slice(end, each.start))
        end = each.stop
    return [*gaps, slice(end, size)] if end != size else gaps


def gather(kept: Array, value: Array, gaps: Iterable[slice]) -> None:
    """Copy the gaps of a vector into ``kept``, one after another."""
    start = 0
    for gap in gaps:
        stop = start + gap.stop - gap.start
        kept[start:stop] = value[gap]
        start = stop


def scatter(kept: Array, value: Array, gaps: Iterable[slice]) -> None:
    """The inverse of `gather`: copy them back."""
    start = 0
    for gap in gaps:
        stop = start + gap.stop - gap.start
        value[gap] = kept[start:stop]
        start = stop


# ------------------------------------------------------------------- the steps that slices missed


@define(eq=False, repr=False)
class SlicesByMissedSteps:
    """Slices, split so that all numbers in a slice have missed the same number of steps.

    Attributes
    ----------
    slices
        The slices before the split; None means the whole vector.
    missed
        The ranges that have missed steps or are in a gap: ``[start, stop, steps]``.
    moved
        The slices after the split, each with the number of steps that it has missed.
    left_out
        The ranges of ``missed`` that are in a gap: the same list objects, so that counting in
        ``left_out`` counts in ``missed``.
    """

    slices: Sequence[ParameterSlice] | None
    missed: list[list[int]] = field(factory=list)
    moved: list[ParameterSlice] = field(factory=list)
    left_out: list[list[int]] = field(factory=list)

    @classmethod
    def of(
        cls, slices: Sequence[ParameterSlice] | None, size: int, missed: list[list[int]]
    ) -> SlicesByMissedSteps:
        """Split the slices of a vector of this size at the edges of the ranges in ``missed``."""
        split, moving = cls(slices), (ParameterSlice(0, size),) if slices is None else slices
        edges = {0, size}.union(*((each.start, each.stop) for each in moving))
        edges = edges.union(*(missed_range[:2] for missed_range in missed))
        next_ranges, next_slices = iter(missed), iter(moving)
        missed_range, current = next(next_ranges, None), next(next_slices, None)
        runs: list[tuple[int, int, int, ParameterSlice | None]] = []
        for start, stop in pairwise(sorted(edges)):
            if missed_range is not None and missed_range[1] == start:
                missed_range = next(next_ranges, None)
            if current is not None and current.stop == start:
                current = next(next_slices, None)
            count = missed_range[2] if missed_range is not None and missed_range[0] <= start else 0
            moves = current if current is not None and current.start <= start else None
            if runs and runs[-1][2:] == (count, moves):
                start = runs.pop()[0]
            runs.append((start, stop, count, moves))
        for run in runs:
            split._add(*run)
        return split

    def _add(self, start: int, stop: int, count: int, moves: ParameterSlice | None) -> None:
        if moves is not None:
            self.moved.append(ParameterSlice(start, stop, moves.decays, count))
        if moves is None or count:
            self.missed.append([start, stop, count])
        if moves is None:
            self.left_out.append(self.missed[-1])


def are_missed_ranges(missed: Any) -> bool:
    """Whether this is a list of [start, stop, steps], in order and without overlap."""
    end = 0
    for each in missed if isinstance(missed, list) else [None]:
        if not isinstance(each, list) or len(each) != 3 or not all(map(is_integer, each)):
            return False
        if not end <= each[0] < each[1] or each[2] < 0:
            return False
        end = each[1]
    return True
