"""Lines: how the passes of a plan run through its steps.

In most models, many steps take just the output of the step before. Such steps form a line, in which
each passes its result directly to the next. Values are read from slots only at the start of a line,
and written to slots only at its end:

    slots → f_1 → f_2 → … → f_N → slots             slots ← J_1ᵀ ← J_2ᵀ ← … ← J_Nᵀ ← slots
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Literal, TypeAlias

from attrs import define, field

from chainrule.core import method_wrapping
from chainrule.graph.unrolling import PlanStep, Slots

See: TypeAlias = Callable[[PlanStep, Callable[[Any], Any], Any], Any]
"""Makes a call of a step's method, ``see(step, method, given)``, and returns what it returns."""
Asked: TypeAlias = Literal["deltas", "gradients"]


@define(eq=False, repr=False)
class _Call:
    """A step, the author's own method of its layer, without the checks, and the layer's memory."""

    step: PlanStep
    method: Callable[[Any], Any]
    memory: dict[str, Any]

    @classmethod
    def of(cls, step: PlanStep, name: str) -> _Call:
        method = method_wrapping.bare(step.layer, name)
        if name in ("forward", "apply") and len(step.takes) != 1:
            return cls(step, lambda several: method(*several), step.layer.__dict__)
        return cls(step, method, step.layer.__dict__)


@define(eq=False, repr=False)
class Line:
    """Calls in sequence, each on the result of the one before; only the ends use slots.

    Attributes
    ----------
    takes, puts
        The slots of the arguments of the first call, and of the result of the last call.
    drops
        The slots whose values no later line takes.
    take
        Reads the slots: a single value, or a tuple of several.
    """

    calls: list[_Call]
    takes: Slots
    puts: Slots
    drops: Slots = ()
    take: Callable[[list[Any]], Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.take = reader_of(self.takes)


def in_lines(steps: Sequence[PlanStep], outputs: Slots) -> list[list[PlanStep]]:
    """The steps as lines: a line continues while only its next step takes its last output."""
    taken = Counter(slot for step in steps for slot in step.takes)
    taken.update(outputs)
    lines: list[list[PlanStep]] = []
    for step in steps:
        goes_on = lines and len(step.takes) == 1 and step.takes == lines[-1][-1].makes
        if goes_on and taken[step.takes[0]] == 1:
            lines[-1].append(step)
        else:
            lines.append([step])
    return lines


def lines_forward(step_lines: list[list[PlanStep]], outputs: Slots, method: str) -> list[Line]:
    """The lines of a forward pass, which drop each value after its last use."""
    lines = []
    used = {*outputs}
    for steps in reversed(step_lines):
        takes = steps[0].takes
        calls = [_Call.of(step, method) for step in steps]
        lines.append(Line(calls, takes, steps[-1].makes, tuple({*takes} - used)))
        used.update(takes)
    return lines[::-1]


def lines_backward(
    step_lines: list[list[PlanStep]], asked: Mapping[str, Asked] | None = None
) -> list[Line]:
    """The lines of a backward pass: through all steps, or those that ``asked`` lists by path."""
    lines = []
    for steps in reversed(step_lines):
        computed = [step for step in reversed(steps) if asked is None or step.path in asked]
        if computed:
            first, last = computed[-1], computed[0]
            sends = asked is None or asked[first.path] == "deltas"
            calls = [_Call.of(step, "backward") for step in computed]
            if not sends:
                calls[-1] = _Call.of(first, "backward_parameters")
            lines.append(Line(calls, last.makes, first.takes if sends else ()))
    return lines


def observed(lines: list[Line], see: See) -> list[Line]:
    """The same lines, where ``see`` makes each call."""

    def seen(call: _Call) -> _Call:
        return _Call(call.step, partial(see, call.step, call.method), call.memory)

    return [
        Line([seen(c) for c in line.calls], line.takes, line.puts, line.drops) for line in lines
    ]


def reader_of(slots: Slots) -> Callable[[list[Any]], Any]:
    """A function that reads slots: a single value, or a tuple of several."""
    return itemgetter(*slots) if slots else lambda _: ()
