"""The plan of a model: the order in which its layers run, and where their values go.

However layers are composed, in sequence, in branches or nested, a model runs as one list of steps.
A step takes values from numbered slots and puts its outputs into other slots. The backward pass
goes through the list in reverse: each step takes the deltas of its outputs and passes on those of
its inputs:

    forward     v_out = f(v_in)
    backward    Δ_in = Jᵀ Δ_out,    and Δ = Σ_n Δ_n for a value that several steps took

The sum is the chain rule for several variables, and all that a graph adds to a sequence. The layers
of containers become part of the list (`chainrule.graph.unrolling`), so nesting costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from attrs import define, field

from chainrule.core.input_checks import (
    as_tuple,
    has_recorded_shape,
    one_or_tuple,
    record_output_shape,
)
from chainrule.core.layer import Layer
from chainrule.core.ownership import Claims
from chainrule.core.parameter import Parameter
from chainrule.core.tree import fields_of, snake_case
from chainrule.core.types import Array
from chainrule.graph import plan_messages
from chainrule.graph.lines import (
    Asked,
    Line,
    See,
    in_lines,
    lines_backward,
    lines_forward,
    observed,
    reader_of,
)
from chainrule.graph.unrolling import PlanStep, Slots, input_names, is_inlined_container, unroll

if TYPE_CHECKING:
    from chainrule.graph.composite import Composite

Passed: TypeAlias = tuple[PlanStep, tuple[Array, ...], tuple[Array, ...]]
"""A step, the arrays that it took, and the arrays that it returned."""


@define(eq=False)
class Plan:
    """The steps of a built model, and the passes through them.

    Attributes
    ----------
    name
        The name of the model, which begins every place: ``graph``.
    steps
        The steps, each after those whose outputs it takes.
    inputs, outputs
        The slots of the inputs and outputs of the model.
    names
        The name of the value in each slot: the path of the step that makes it, or that of an input.
    """

    name: str
    steps: list[PlanStep]
    inputs: Slots
    outputs: Slots
    names: list[str]
    _needed: list[PlanStep] = field(init=False, repr=False)  # the steps that an output depends on
    _unused_inputs: Slots = field(init=False, repr=False)
    _unused_shapes: dict[int, Any] = field(factory=dict, init=False, repr=False)  # in forward
    _take_inputs: Callable[[list[Any]], Any] = field(init=False, repr=False)
    _take_outputs: Callable[[list[Any]], Any] = field(init=False, repr=False)
    _step_lines: list[list[PlanStep]] = field(init=False, repr=False)  # the needed steps, as lines
    _lines: dict[str, list[Line]] = field(init=False, repr=False)  # by method
    _last_freezing: object = field(default=None, init=False, repr=False)  # as of the last pass
    _used_alone: Layer | None = field(default=None, init=False, repr=False)
    # The twins among the steps: their attributes, those of the originals, and the plain fields.
    _twins: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = field(
        factory=list, init=False, repr=False
    )

    @classmethod
    def of(cls, model: Layer) -> Plan:
        """The plan of a built model; a single step for a layer that is not a container."""
        if is_inlined_container(model):
            return cls.of_parts(model)  # type: ignore[arg-type]
        name, count = snake_case(type(model).__name__), len(model.input_shapes)
        inputs = tuple(range(count))
        outputs = tuple(range(count, count + len(model.output_shapes)))
        steps = [PlanStep(model.twin(), "", inputs, outputs)]
        return cls(name, steps, inputs, outputs, [*input_names(count), *[name for _ in outputs]])

    @classmethod
    def of_parts(cls, model: Composite) -> Plan:
        """The plan of the layers in a built container."""
        claims = Claims()
        plan = cls(*unroll(model, claims))
        claims.assign(plan, [step.layer for step in plan.steps])
        plan._twins = [
            (twin.__dict__, original.__dict__, names)
            for twin, original in claims.twins
            for names in [plain_fields(original)]
            if names
        ]
        return plan

    def __attrs_post_init__(self) -> None:
        used = {*self.outputs}
        self._needed = []
        for step in reversed(self.steps):
            if not used.isdisjoint(step.makes):
                used.update(step.takes)
                self._needed.append(step)
        self._needed.reverse()
        self._unused_inputs = tuple({*self.inputs} - used)
        self._take_inputs = reader_of(self.inputs)
        self._take_outputs = reader_of(self.outputs)
        self._step_lines = in_lines(self._needed, self.outputs)
        methods = ("forward", "apply")
        self._lines = {
            name: lines_forward(self._step_lines, self.outputs, name) for name in methods
        }
        self._lines["backward"] = lines_backward(self._step_lines)

    # ---------------------------------------------------------------- what training needs

    def asked_by_training(self) -> dict[str, Asked]:
        """What each step must compute so that all parameters get their gradients, by path.

        ``"deltas"`` of its inputs, if they depend on a parameter that is not frozen; otherwise only
        the ``"gradients"`` of its own parameters, if one of them is not frozen. Steps that need not
        compute anything are not listed.
        """
        learning: set[int] = set()  # the slots whose values depend on such a parameter
        asked: dict[str, Asked] = {}
        for step in self._needed:
            if not learning.isdisjoint(step.takes):
                asked[step.path] = "deltas"
            elif learns(step.layer):
                asked[step.path] = "gradients"
            else:
                continue
            learning.update(step.makes)
        return asked

    # ---------------------------------------------------------------- the passes

    def forward(self, inputs: tuple[Array, ...]) -> Any:
        """The outputs; each layer remembers what its backward pass needs."""
        self._used_alone = None
        for slot in self._unused_inputs:
            self._unused_shapes[slot] = inputs[slot].shape
        return self._run(inputs, "forward")

    def apply(self, inputs: tuple[Array, ...]) -> Any:
        """The outputs, without remembering anything."""
        return self._run(inputs, "apply")

    def _run(self, inputs: tuple[Array, ...], method: str) -> Any:
        for twin, original, names in self._twins:  # a field may have been changed
            for name in names:
                twin[name] = original[name]
        values = [*inputs, *[None] * (len(self.names) - len(inputs))]
        remembers = method == "forward"
        try:
            for line in self._lines[method]:
                value = line.take(values)
                for slot in line.drops:
                    values[slot] = None
                for call in line.calls:
                    given = value
                    value = call.method(given)
                    if remembers:
                        record_output_shape(call.memory, value)
                if len(line.puts) == 1:
                    values[line.puts[0]] = value
                else:
                    _put_each(values, line.puts, value)
        except Exception as error:
            located = self._located(error, call.step, method, as_tuple(given))
            raise located from located.__cause__
        return self._take_outputs(values)

    def backward(self, delta: Any) -> Any:
        """The deltas of all inputs; adds to the gradients of all parameters."""
        deltas = self._run_back(delta, self._lines["backward"])
        for slot in self._unused_inputs:
            some = as_tuple(delta)[0]
            deltas[slot] = np.zeros(self._unused_shapes[slot], some.dtype, like=some)
        return self._take_inputs(deltas)

    def backward_parameters(self, delta: Any) -> None:
        """Add to the gradients of all parameters; skip the deltas that none of them needs."""
        if self._last_freezing is not Parameter.last_freezing:
            self._find_what_learns()
        self._run_back(delta, self._lines["backward_parameters"])

    def _find_what_learns(self) -> None:
        # Recorded first: if another thread freezes a parameter now, the next pass notices.
        self._last_freezing = Parameter.last_freezing
        self._lines["backward_parameters"] = lines_backward(
            self._step_lines, self.asked_by_training()
        )

    @contextmanager
    def observed(self, forward: See, backward: See) -> Iterator[None]:
        """Within the context, the passes of training make each call through these functions."""
        if self._last_freezing is not Parameter.last_freezing:
            self._find_what_learns()
        plain, freezing = self._lines, self._last_freezing
        self._lines = plain | {
            "forward": observed(plain["forward"], forward),
            "backward_parameters": observed(plain["backward_parameters"], backward),
        }
        try:
            yield
        finally:
            self._lines = plain
            if self._last_freezing is not freezing:  # a parameter was frozen within the context
                self._last_freezing = None

    def _run_back(self, delta: Any, lines: list[Line]) -> list[Any]:
        """The deltas of the inputs, each in its slot."""
        if self._used_alone is not None:
            step = next(step for step in self.steps if step.layer is self._used_alone)
            raise plan_messages.used_in_between(step.layer, self.place(step))
        deltas = self._output_deltas(delta)
        try:
            for line in lines:
                if len(line.takes) == 1:
                    delta = line.take(deltas)
                else:
                    delta = _deltas_of(line.calls[0].step, deltas)
                for call in line.calls:
                    step = call.step
                    if not has_recorded_shape(call.memory, delta):
                        step, error = plan_messages.unfitting(self._needed, step, delta)
                        raise error
                    delta = call.method(delta)
                if len(line.puts) == 1:
                    _add(deltas, line.puts[0], delta)
                elif line.puts:
                    _add_each(deltas, line.puts, delta)
        except Exception as error:
            located = self._located_back(error, step, as_tuple(delta))
            raise located from located.__cause__
        return deltas

    def _output_deltas(self, delta: Any) -> list[Any]:
        deltas: list[Any] = [None] * len(self.names)
        if len(self.outputs) == 1:
            deltas[self.outputs[0]] = delta
        else:
            for slot, one in zip(self.outputs, as_tuple(delta), strict=True):
                _add(deltas, slot, one)
        return deltas

    # ---------------------------------------------------------------- one step at a time

    def steps_forward(self, inputs: tuple[Array, ...]) -> Iterator[Passed]:
        """Run the forward pass step by step: yields each step with its inputs and outputs."""
        values = [*inputs, *[None] * (len(self.names) - len(inputs))]
        for step in self.steps:
            taken = tuple(values[slot] for slot in step.takes)
            try:
                made = as_tuple(step.layer.forward(*taken))
                _put_each(values, step.makes, made)
            except Exception as error:
                located = self._located(error, step, "forward", taken)
                raise located from located.__cause__
            yield step, taken, made

    def steps_backward(self, delta: Any, parameters_only: bool = False) -> Iterator[Passed]:
        """Run the backward pass step by step: yields each step with the deltas it takes and sends.

        Call it after `steps_forward`. With ``parameters_only``, only what some parameter needs is
        computed, as in training. Steps that no output depends on are omitted.
        """
        deltas = self._output_deltas(delta)
        asked = self.asked_by_training() if parameters_only else None
        for step in reversed(self._needed):
            what = "deltas" if asked is None else asked.get(step.path, "nothing")
            if what == "nothing":
                continue
            given = _deltas_of(step, deltas)
            sent: tuple[Any, ...] = ()
            try:
                if what == "deltas":
                    sent = as_tuple(step.layer.backward(one_or_tuple(given)))
                    _add_each(deltas, step.takes, sent)
                else:
                    step.layer.backward_parameters(one_or_tuple(given))
            except Exception as error:
                located = self._located_back(error, step, given)
                raise located from located.__cause__
            yield step, given, sent

    # ---------------------------------------------------------------- places and errors

    def place(self, step: PlanStep) -> str:
        """The place of a step, with the name of the model: ``graph/residual_1/dense_2``."""
        return f"{self.name}/{step.path}" if step.path else self.name

    def place_of(self, slot: int) -> str:
        """The place of the step that makes the value in a slot."""
        return self.name if self.names[slot] == self.name else f"{self.name}/{self.names[slot]}"

    def note_used_alone(self, layer: Layer) -> None:
        """Record that a layer of the plan was called outside it, which replaced its memory."""
        self._used_alone = layer

    def _located(
        self, error: Exception, step: PlanStep, method: str, given: Sequence[Any]
    ) -> Exception:
        sources = [self.names[slot] for slot in step.takes]
        place = self.place(step)
        return plan_messages.with_location(error, step.layer, place, method, given, sources)

    def _located_back(self, error: Exception, step: PlanStep, given: Sequence[Any]) -> Exception:
        if isinstance(error, plan_messages.UnequalDeltasError):
            step, error = plan_messages.unequal(self._needed, step, error)
        return plan_messages.with_location(error, step.layer, self.place(step), "backward", given)


def plain_fields(layer: Layer) -> list[str]:
    """The fields that hold no layers; a twin shares their values."""
    inside = set(map(id, layer.children().values()))
    return [
        each.name
        for each in fields_of(type(layer))
        if each.name in layer.__dict__ and not _holds(layer.__dict__[each.name], inside)
    ]


def _holds(value: Any, layers: set[int]) -> bool:
    if isinstance(value, list | tuple | dict):
        return any(
            _holds(v, layers) for v in (value.values() if isinstance(value, dict) else value)
        )
    return id(value) in layers


def learns(layer: Layer) -> bool:
    """Whether a layer, or one inside it, has a parameter that is not frozen."""
    return any(p.trainable for _, member in layer.walk() for p in member._parameters.values())


def _put_each(values: list[Any], slots: Slots, made: Any) -> None:
    for slot, value in zip(slots, made, strict=True):
        values[slot] = value


def _deltas_of(step: PlanStep, deltas: list[Any]) -> tuple[Any, ...]:
    """The deltas of all outputs of a step; zeros for an output that no step took."""
    if len(step.makes) == 1:
        return (deltas[step.makes[0]],)
    shapes = step.layer.__dict__.get("_delta_shape") or ()
    some = next(deltas[slot] for slot in step.makes if deltas[slot] is not None)
    return tuple(
        deltas[slot] if deltas[slot] is not None else np.zeros(shape, some.dtype, like=some)
        for slot, shape in zip(step.makes, shapes, strict=True)
    )


def _add(deltas: list[Any], slot: int, delta: Any) -> None:
    """Add a delta to those of other steps that took the same value, in a new array."""
    total = deltas[slot]
    if total is None and delta is not None:
        deltas[slot] = delta
    elif total is not None and getattr(delta, "shape", None) == total.shape:
        deltas[slot] = total + delta
    else:
        raise plan_messages.UnequalDeltasError(slot, total, delta)


def _add_each(deltas: list[Any], slots: Slots, sent: Any) -> None:
    """Add each delta that a layer with several inputs sends."""
    several = as_tuple(sent)
    if len(several) != len(slots):
        raise plan_messages.wrong_number_of_deltas(len(slots), sent)
    for slot, delta in zip(slots, several, strict=True):
        _add(deltas, slot, delta)
