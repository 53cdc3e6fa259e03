"""The plan of a model: all its layers in one row, and which value goes where.

However layers are composed, in a line, with branches, inside each other, what is computed is a row
of steps. Each takes some values and makes new ones; a value stands in a slot. On the way back
every step takes the deltas of what it made and sends back those of what it took:

    up      v_out = f(v_in)
    down    Δ_in = Jᵀ Δ_out,    and where a value went to several steps, Δ = Σ of what they send

The sum is the chain rule for a function of several variables, and the only thing that a graph has
beyond a sequence. Containers inside of a container are unrolled into the row, so that nesting costs
nothing; each step has a twin of its layer if the layer stands elsewhere, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from attrs import define, field

from chainrule.core import input_checks, method_wrapping
from chainrule.core.errors import (
    BackwardBeforeForwardError,
    ChainruleError,
    DefinitionError,
    ShapeError,
)
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of, label
from chainrule.core.ownership import Places
from chainrule.core.parameter import Parameter
from chainrule.core.tree import snake_case
from chainrule.core.types import Array, Shape

if TYPE_CHECKING:
    from chainrule.graph.composite import Composite

Slots: TypeAlias = tuple[int, ...]


@define(eq=False)
class Step:
    """One layer in one place.

    Attributes
    ----------
    layer
        The layer, or a twin of it where it stands elsewhere, too: each place has its own memory.
    path
        Where it stands: ``residual_1/dense_2``.
    takes, makes
        The slots of its inputs and of its outputs.
    """

    layer: Layer
    path: str
    takes: Slots
    makes: Slots


@define(eq=False)
class Plan:
    """The steps of a model that is built, and the two ways through them.

    Attributes
    ----------
    name
        What the model is called in front of a path: ``graph``.
    steps
        In an order in which every value is made before it is taken.
    inputs, outputs
        The slots of what comes in and of what goes out.
    names
        What stands in each slot: the path of the step that makes it, or the name of an input.
    """

    name: str
    steps: list[Step]
    inputs: Slots
    outputs: Slots
    names: list[str]
    _row: list[Step] = field(init=False, repr=False)  # those that an output depends on
    # Of each step of the row: what is called, the layer's memory, and where values are taken from
    # and put. None says in hand, that is from the step before or to the step behind, without a
    # slot; a number is one slot, a tuple several.
    _up: list[tuple[Any, ...]] = field(init=False, repr=False)  # forward, memory, take, keep, drop
    _applies: list[tuple[Any, ...]] = field(init=False, repr=False)  # apply, None, …
    _down: list[tuple[Any, ...]] = field(init=False, repr=False)  # number, backward, memory, …
    _down_to_parameters: list[tuple[Any, ...]] = field(init=False, repr=False)
    _last_freezing: object = field(init=False, repr=False)  # when the last line was made
    _begins_in_hand: bool = field(init=False, repr=False)
    _ends_in_hand: bool = field(init=False, repr=False)
    _untaken: tuple[int, ...] = field(init=False, repr=False)  # inputs that nobody takes
    _shapes: dict[int, Any] = field(factory=dict, init=False, repr=False)  # of those, in forward
    _disturbed: Layer | None = field(default=None, init=False, repr=False)

    @classmethod
    def of(cls, model: Layer) -> Plan:
        """The plan of a built model; of a layer that is not made of layers, a single step."""
        count = len(model.input_shapes)
        if is_unrolled(model):
            return unroll(model, count)  # type: ignore[arg-type]
        name = snake_case(type(model).__name__)
        inputs = tuple(range(count))
        makes = tuple(range(count, count + len(model.output_shapes)))
        names = [*input_names(count), *[name for _ in makes]]
        return cls(name, [Step(model.twin(), "", inputs, makes)], inputs, makes, names)

    def __attrs_post_init__(self) -> None:
        self._row = self._needed()
        handed = self._handed_on()
        last = {slot: number for number, step in enumerate(self._row) for slot in step.takes}
        self._up, self._applies, self._down = [], [], []
        for number, step in enumerate(self._row):
            layer, memory = step.layer, step.layer.__dict__
            take = None if number in handed else _one_or_all(step.takes)
            keep = None if number + 1 in handed else _one_or_all(step.makes)
            done = [slot for slot in {*step.takes} - {*self.outputs} if last[slot] == number]
            drop = () if take is None else tuple(done)
            self._up.append((method_wrapping.bare(layer, "forward"), memory, take, keep, drop))
            self._applies.append((method_wrapping.bare(layer, "apply"), None, take, keep, drop))
            self._down.append((number, method_wrapping.bare(layer, "backward"), memory, keep, take))
        self._down.reverse()
        self._begins_in_hand, self._ends_in_hand = 0 in handed, len(self._row) in handed
        self._untaken = tuple(s for s in self.inputs if s not in last and s not in self.outputs)
        self._follow_what_is_frozen()

    def _needed(self) -> list[Step]:
        """The steps without those from which no way leads to an output."""
        asked = {*self.outputs}
        row = []
        for step in reversed(self.steps):
            if not asked.isdisjoint(step.makes):
                asked.update(step.takes)
                row.append(step)
        return row[::-1]

    def _handed_on(self) -> set[int]:
        """The steps that take just what the step before made, and nobody else takes.

        Such a value, and its delta, is handed on without a slot. Step 0 takes what comes in; what
        goes out counts as taken by one more step at the end.
        """
        taken = [*(step.takes for step in self._row), self.outputs]
        made = [self.inputs, *(step.makes for step in self._row)]
        uses = Counter(slot for slots in taken for slot in slots)
        return {
            number
            for number, (before, now) in enumerate(zip(made, taken, strict=True))
            if len(before) == 1 and now == before and uses[before[0]] == 1
        }

    def _follow_what_is_frozen(self) -> None:
        # Noted first: what another thread freezes meanwhile is then looked at the next time.
        self._last_freezing = Parameter.last_freezing
        self._down_to_parameters = list(self._without_the_deltas_of_data())

    def _without_the_deltas_of_data(self) -> Iterator[tuple[Any, ...]]:
        """The way back that only asks for what some parameter needs that is not frozen."""
        learning: set[int] = set()  # slots that depend on such a parameter
        modes = []
        for step in self._row:
            asks = not learning.isdisjoint(step.takes)
            mode = "all" if asks else "parameters" if learns(step.layer) else "nothing"
            modes.append(mode)
            if mode != "nothing":
                learning.update(step.makes)
        for number, backward, memory, give, send in self._down:
            if modes[number] == "all":
                yield number, backward, memory, give, send
            elif modes[number] == "parameters":
                bare = method_wrapping.bare(self._row[number].layer, "backward_parameters")
                yield number, bare, memory, give, ()

    # ---------------------------------------------------------------- the two ways

    def forward(self, inputs: tuple[Array, ...]) -> Any:
        """All outputs; each layer remembers what its way back needs."""
        self._disturbed = None
        for slot in self._untaken:
            self._shapes[slot] = inputs[slot].shape
        return self._go_up(inputs, self._up, "forward")

    def apply(self, inputs: tuple[Array, ...]) -> Any:
        """All outputs, with nothing remembered."""
        return self._go_up(inputs, self._applies, "apply")

    def _go_up(self, inputs: tuple[Array, ...], steps: list[tuple[Any, ...]], method: str) -> Any:
        values: list[Any] = [*inputs, *[None] * (len(self.names) - len(inputs))]
        value = inputs[0] if inputs else None
        number = 0
        try:
            for number, (compute, memory, take, keep, drop) in enumerate(steps):  # noqa: B007
                if take is None:
                    value = compute(value)
                elif type(take) is int:
                    value = compute(values[take])
                else:
                    value = compute(*[values[slot] for slot in take])
                if memory is not None:
                    is_one = type(value) is np.ndarray
                    memory["_delta_shape"] = (
                        value.shape if is_one else input_checks.shapes_of(value)
                    )
                if keep is not None:
                    _put(values, keep, value)
                if drop:
                    _drop(values, drop)
        except Exception as error:
            told = self._told(error, number, method, values, value)
            raise told from told.__cause__
        return value if self._ends_in_hand else self._outputs(values)

    def backward(self, delta: Any) -> Any:
        """The deltas of all inputs; adds to the gradients of all parameters."""
        deltas, last = self._back(delta, self._down)
        if self._begins_in_hand:
            return last
        some = input_checks.as_tuple(delta)[0]
        for slot in self._untaken:
            deltas[slot] = np.zeros(self._shapes[slot], some.dtype, like=some)
        return _one_or_tuple([deltas[slot] for slot in self.inputs])

    def backward_parameters(self, delta: Any) -> None:
        """The gradients of all parameters, without the deltas that nobody needs for them."""
        if self._last_freezing is not Parameter.last_freezing:
            self._follow_what_is_frozen()
        self._back(delta, self._down_to_parameters)

    def _back(self, delta: Any, steps: list[tuple[Any, ...]]) -> tuple[list[Any], Any]:
        """Go back along some steps: the deltas of all slots, and the one that is in hand."""
        if self._disturbed is not None:
            raise self._used_in_between(self._disturbed)
        deltas: list[Any] = [None] * len(self.names)
        number = len(self._row)
        try:
            if not self._ends_in_hand:
                for slot, part in zip(self.outputs, input_checks.as_tuple(delta), strict=True):
                    _add(deltas, slot, part)
            for number, backward, memory, give, send in steps:
                if give is not None:
                    delta = deltas[give] if type(give) is int else self._deltas(deltas, number)
                shape = delta.shape if type(delta) is np.ndarray else input_checks.shapes_of(delta)
                if shape != memory.get("_delta_shape"):
                    number, unfitting = self._unfitting(number, delta)
                    raise unfitting
                delta = backward(delta)
                if type(send) is int:
                    _add(deltas, send, delta)
                elif send:
                    _add_each(deltas, send, delta)
        except _UnequalError as unequal:
            number, error = self._unequal(number, unequal)
            raise self._told(error, number, "backward", deltas, delta) from None
        except Exception as error:
            told = self._told(error, number, "backward", deltas, delta)
            raise told from told.__cause__
        return deltas, delta

    def _deltas(self, deltas: list[Any], number: int) -> tuple[Any, ...]:
        """Those of all that a step made, several values; of what nobody took, zeros."""
        step = self._row[number]
        shapes = step.layer.__dict__.get("_delta_shape") or ()
        some = next(deltas[slot] for slot in step.makes if deltas[slot] is not None)
        return tuple(
            deltas[slot] if deltas[slot] is not None else np.zeros(shape, some.dtype, like=some)
            for slot, shape in zip(step.makes, shapes, strict=True)
        )

    def _outputs(self, values: list[Any]) -> Any:
        return _one_or_tuple([values[slot] for slot in self.outputs])

    # ---------------------------------------------------------------- one step at a time

    def steps_forward(
        self, inputs: tuple[Array, ...]
    ) -> Iterator[tuple[Step, tuple[Array, ...], tuple[Array, ...]]]:
        """Go up step by step: yields each with what it takes and what it makes."""
        values: list[Any] = [*inputs, *[None] * (len(self.names) - len(inputs))]
        for step in self.steps:
            taken = tuple(values[slot] for slot in step.takes)
            made = input_checks.as_tuple(step.layer.forward(*taken))
            for slot, value in zip(step.makes, made, strict=True):
                values[slot] = value
            yield step, taken, made

    def steps_backward(
        self, delta: Any, parameters_only: bool = False
    ) -> Iterator[tuple[Step, tuple[Array, ...], tuple[Array, ...]]]:
        """Go down step by step, after going up: yields each with the deltas it is given and sends.

        With ``parameters_only``, as training does: what nobody needs is not computed. Steps from
        which no way leads to an output are left out.
        """
        if parameters_only and self._last_freezing is not Parameter.last_freezing:
            self._follow_what_is_frozen()
        deltas: list[Any] = [None] * len(self.names)
        for slot, part in zip(self.outputs, input_checks.as_tuple(delta), strict=True):
            _add(deltas, slot, part)
        for number, *_, send in self._down_to_parameters if parameters_only else self._down:
            step = self._row[number]
            several = len(step.makes) != 1
            given = self._deltas(deltas, number) if several else (deltas[step.makes[0]],)
            sent: tuple[Any, ...] = ()
            if parameters_only and send == ():
                step.layer.backward_parameters(_one_or_tuple(given))
            else:
                sent = input_checks.as_tuple(step.layer.backward(_one_or_tuple(given)))
                _add_each(deltas, step.takes, sent)
            yield step, given, sent

    def place(self, step: Step) -> str:
        """Where a step stands, seen from outside: ``graph/residual_1/dense_2``."""
        return f"{self.name}/{step.path}" if step.path else self.name

    def place_of(self, slot: int) -> str:
        """What makes the value in a slot, likewise."""
        return self.name if self.names[slot] == self.name else f"{self.name}/{self.names[slot]}"

    # ---------------------------------------------------------------- when something fails

    def _told(
        self, error: Exception, number: int, method: str, values: list[Any], last: Any
    ) -> Exception:
        step = self._row[number]
        given, sources = input_checks.as_tuple(last), []
        if method != "backward":
            # What is handed on stands in no slot: it is the value that was made last.
            given = tuple(values[s] if values[s] is not None else last for s in step.takes)
            sources = [self.names[s] for s in step.takes]
        return told(error, step, self.name, method, given, sources)

    def disturb(self, layer: Layer) -> None:
        """Note that a layer in its place here was used by itself: its memory is of that."""
        self._disturbed = layer

    def _used_in_between(self, layer: Layer) -> ChainruleError:
        step = next(step for step in self.steps if step.layer is layer)
        return BackwardBeforeForwardError(
            f"{label(layer)} was used by itself since the last pass, and only remembers that",
            place=self.place(step),
            expected="backward right after the model's forward",
            received="a call of the layer's own forward in between",
            hint="use a twin by itself, layer.twin(), or call model.forward(x) once more",
        )

    def _unfitting(self, number: int, delta: Any) -> tuple[int, ChainruleError]:
        """The error for a delta that a step cannot be given, and the step that has sent it."""
        step = self._row[number]
        expected = step.layer.__dict__.get("_delta_shape")
        if expected is None:
            return number, input_checks.unfitting_delta(step.layer, delta)
        took = [n for n, s in enumerate(self._row) if not set(s.takes).isdisjoint(step.makes)]
        if not took:  # it has come from outside
            return number, input_checks.unfitting_delta(step.layer, delta)
        return took[-1], self._wrong_delta(took[-1], expected, delta)

    def _unequal(self, number: int, unequal: _UnequalError) -> tuple[int, ChainruleError]:
        """The same where several steps took a value: the one whose delta has not its shape."""
        slot, delta, expected = unequal.slot, unequal.delta, np.shape(unequal.held)
        for step in self._row:
            if slot in step.makes:
                noted: Any = step.layer.__dict__.get("_delta_shape")
                expected = noted if len(step.makes) == 1 else noted[step.makes.index(slot)]
        if getattr(delta, "shape", None) == expected:  # then it was one that came before
            delta = unequal.held
            number = next(
                n for n in range(number + 1, len(self._row)) if slot in self._row[n].takes
            )
        return number, self._wrong_delta(number, expected, delta)

    def _wrong_delta(self, number: int, expected: Any, delta: Any) -> ChainruleError:
        return ShapeError(
            f"{label(self._row[number].layer)}: backward returns a delta of another shape than "
            "its input",
            expected=expected if expected else "an array of the shape of the input",
            received=_described_delta(delta),
            hint="the delta of an input has the shape of the input: return ∂C/∂x = Jᵀ Δ",
        )


def unroll(model: Composite, count: int, values: list[Any] | None = None) -> Plan:
    """The steps of a model made of layers, those of the containers in it in their places.

    Parameters
    ----------
    model
        The model.
    count
        How many inputs it has.
    values
        Inputs for which it is to be built: each layer is sent what comes to it, and is built by
        that. The list is lengthened by what the layers make. Without, all layers are built.
    """
    name = snake_case(type(model).__name__)
    inputs = tuple(range(count))
    names = model.input_names(count)
    steps: list[Step] = []
    places = Places()
    stack = [_Frame(model, "", inputs)]
    outputs: Slots = ()
    while stack:
        frame = stack[-1]
        if frame.number == len(frame.layers):
            outputs = frame.slots_of(frame.container.ends(len(frame.layers)))
            if values is not None and frame.container is not model:
                frame.settle(values, outputs)
            stack.pop()
            if stack:
                stack[-1].made.append(outputs)
            continue
        path, layer, takes = frame.next()
        if is_unrolled(layer):
            stack.append(_Frame(layer, path, takes))
            if values is not None:
                producers = [f", produced by {names[slot]}" for slot in takes]
                shapes = [values[slot].shape[1:] for slot in takes]
                layer.refuse_unfitting(shapes, f"{name}/{path}", producers)
            continue
        if values is None:
            size = len(layer.output_shapes)
            layer = places.in_a_place_of_its_own(layer)
        else:
            given = tuple(values[slot] for slot in takes)
            step = Step(layer, path, takes, ())
            try:
                made = input_checks.as_tuple(layer.forward(*given))
            except Exception as error:
                sources = [names[slot] for slot in takes]
                error = told(error, step, name, "forward", given, sources)
                last_name = path.rpartition("/")[2]
                error = frame.container.explained(error, last_name)
                raise error from error.__cause__
            values.extend(made)
            size = len(made)
        makes = tuple(range(len(names), len(names) + size))
        names.extend([path] * size if size == 1 else [f"{path}[{n}]" for n in range(size)])
        steps.append(Step(layer, path, takes, makes))
        frame.made.append(makes)
    if values is not None:
        return Plan(name, [], inputs, outputs, names)
    plan = Plan(name, steps, inputs, outputs, names)
    places.claim(plan, [step.layer for step in steps])
    return plan


@define(eq=False)
class _Frame:
    """A container whose layers are being gone through."""

    container: Any
    path: str
    inputs: Slots
    layers: list[tuple[str, Layer]] = field(init=False)
    calls: Any = field(init=False)
    made: list[Slots] = field(init=False)
    number: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.layers = list(self.container.children().items())
        self.calls = self.container.calls(len(self.layers))
        self.made = [self.inputs]

    def next(self) -> tuple[str, Any, Slots]:
        name, layer = self.layers[self.number]
        takes = self.slots_of(self.calls[self.number])
        self.number += 1
        return f"{self.path}/{name}" if self.path else name, layer, takes

    def slots_of(self, sources: Sequence[tuple[int, int]]) -> Slots:
        found: list[int] = []
        for node, output in sources:
            slots = self.made[node]
            if output >= len(slots):
                what = self.layers[node - 1][0] if node else "the input"
                raise DefinitionError(
                    f"{what} has {len(slots)} output(s), and output {output} is asked for",
                    place=self.path or None,
                    expected=f"{what}[0]" + (f" to [{len(slots) - 1}]" if len(slots) > 1 else ""),
                    received=f"{what}[{output}]",
                    hint="to cut rows into parts, call Slice(start, stop) on the node",
                )
            found.extend(slots if output < 0 else [slots[output]])
        return tuple(found)

    def settle(self, values: list[Any], outputs: Slots) -> None:
        """Note in a container, whose own `forward` is never called, what it is now."""
        if not self.container.is_built:
            self.container._input_shapes = tuple(values[s].shape[1:] for s in self.inputs)
            self.container._output_shapes = tuple(values[s].shape[1:] for s in outputs)


def learns(layer: Layer) -> bool:
    """Whether a layer has a parameter that is not frozen, itself or in what it holds."""
    return any(p.trainable for _, part in layer.walk() for p in part._parameters.values())


def is_unrolled(layer: Layer) -> bool:
    """Whether a layer is a container that adds nothing to the layers in it."""
    return "joins_the_plan" in type(layer).__dict__


def input_names(count: int) -> list[str]:
    """``input``, or ``input_1``, ``input_2`` and so on."""
    return ["input"] if count == 1 else [f"input_{n + 1}" for n in range(count)]


def _one_or_all(slots: Slots) -> Any:
    return slots[0] if len(slots) == 1 else slots


def _put(values: list[Any], keep: Any, value: Any) -> None:
    if type(keep) is int:
        values[keep] = value
    else:
        for slot, part in zip(keep, value, strict=True):
            values[slot] = part


def _one_or_tuple(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else tuple(values)


class _UnequalError(Exception):
    """Deltas of one value that cannot be added: the slot, and the one that came last."""

    def __init__(self, slot: int, held: Any, delta: Any) -> None:
        super().__init__()
        self.slot, self.held, self.delta = slot, held, delta


def _add(deltas: list[Any], slot: int, delta: Any) -> None:
    """Where a value went to several steps, their deltas add up, in an array of their own."""
    held = deltas[slot]
    if held is None and delta is not None:
        deltas[slot] = delta
    elif held is not None and getattr(delta, "shape", None) == held.shape:
        deltas[slot] = held + delta
    else:
        raise _UnequalError(slot, held, delta)


def _add_each(deltas: list[Any], slots: Slots, sent: Any) -> None:
    """What a layer with several inputs sends back: a tuple, a delta for each."""
    parts = input_checks.as_tuple(sent)
    if len(parts) != len(slots):
        raise DefinitionError(
            "backward returns another number of deltas than forward takes inputs",
            expected=f"a tuple of {len(slots)} arrays",
            received=_described_delta(sent),
            hint="return delta_1, delta_2" if not isinstance(sent, list) else "return tuple(…)",
        )
    for slot, part in zip(slots, parts, strict=True):
        _add(deltas, slot, part)


def _described_delta(delta: Any) -> str:
    if delta is None:
        return "None: is the return missing?"
    if isinstance(delta, list | tuple):
        return f"a {type(delta).__name__} of {len(delta)}"
    return f"an array of shape {np.shape(delta)}"


def _drop(values: list[Any], slots: Slots) -> None:
    """Let go of values that nobody takes any more."""
    for slot in slots:
        values[slot] = None


def told(
    error: Exception,
    step: Step,
    name: str,
    method: str,
    given: tuple[Any, ...],
    sources: list[str],
) -> Exception:
    """The error with the place where it happened; a named one, where the input is at fault."""
    place = f"{name}/{step.path}" if step.path else name
    if not isinstance(error, ChainruleError) and method != "backward":
        try:
            input_checks.admit(step.layer, given)
        except ChainruleError as named:
            named.__cause__, error = error, named
    shapes = [np.shape(value) for value in given]
    if not isinstance(error, ChainruleError):
        error.add_note(f"in {place}.{method}, which was given {', '.join(map(str, shapes))}")
        return error
    if isinstance(error, ShapeError) and error.place is None:
        if len(sources) == 1:
            error.received = f"{error.received}, produced by {sources[0]}"
        elif sources:
            pairs = zip(map(_described, shapes), sources, strict=True)
            error.received = ", ".join(f"{shape} produced by {source}" for shape, source in pairs)
    return error.within(place)


def _described(shape: Shape) -> str:
    return batch_of(shape[1:]) if shape[:1] == (0,) else str(shape)
