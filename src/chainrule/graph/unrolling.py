"""Unrolling: nested containers become one list of steps.

A container says which values each of its layers takes (`Composite.calls`). `walk` follows these
calls, including those of nested containers. Called with slot numbers instead of values, it finds
the steps of a plan; called with arrays, it builds a model, since a layer builds itself when called.

    Sequential([Dense(3), Residual(Dense(3))])        dense_1                 0 → 1
                                                      residual_1/dense_1      1 → 2
                                                      residual_1/add       1, 2 → 3
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import define

from chainrule.core.input_checks import as_tuple, one_or_tuple
from chainrule.core.layer import Layer
from chainrule.core.open_axes import is_opening, record_open_axes
from chainrule.core.ownership import Claims
from chainrule.core.tree import snake_case
from chainrule.core.types import Array
from chainrule.graph.plan_messages import no_such_output, with_location

if TYPE_CHECKING:
    from chainrule.graph.composite import Composite

Slots: TypeAlias = tuple[int, ...]


@define(eq=False)
class PlanStep:
    """One layer where it is used.

    Attributes
    ----------
    layer
        The layer, or a twin of it if it is also used elsewhere: each use has its own memory.
    path
        Its path in the model: ``residual_1/dense_2``.
    takes, makes
        The slots of its inputs and of its outputs.
    """

    layer: Layer
    path: str
    takes: Slots
    makes: Slots


def unroll(model: Composite, claims: Claims) -> tuple[str, list[PlanStep], Slots, Slots, list[str]]:
    """The fields of the `Plan` of a built container."""
    inputs: Slots = tuple(range(len(model.input_shapes)))
    names = model.input_names(len(inputs))
    steps: list[PlanStep] = []

    def add_step(container: Composite, layer: Layer, path: str, takes: Slots) -> Slots:
        size = len(layer.output_shapes)
        makes = tuple(range(len(names), len(names) + size))
        names.extend(output_names(path, size))
        steps.append(PlanStep(claims.owned_or_twin(layer), path, takes, makes))
        return makes

    outputs = walk(model, inputs, add_step)
    return snake_case(type(model).__name__), steps, inputs, outputs, names


def build_by(model: Composite, inputs: Sequence[Array]) -> Any:
    """Build each layer for what the layers before it return; returns the outputs of the model."""
    name = snake_case(type(model).__name__)
    named_inputs = tuple(zip(inputs, model.input_names(len(inputs)), strict=True))

    def refuse(container: Composite, path: str, takes: Any) -> None:
        producers = [f", produced by {source}" for _, source in takes]
        container.refuse_unfitting(_shapes(takes), f"{name}/{path}", producers)

    def call(container: Composite, layer: Layer, path: str, takes: Any) -> Any:
        given, sources = [value for value, _ in takes], [source for _, source in takes]
        try:
            made = as_tuple(layer.forward(*given))
        except Exception as error:
            located = with_location(error, layer, f"{name}/{path}", "forward", given, sources)
            explained = container.explained(located, path.rpartition("/")[2])
            raise explained from explained.__cause__
        return tuple(zip(made, output_names(path, len(made)), strict=True))

    def record_shapes(container: Composite, takes: Any, makes: Any) -> None:
        # It is inlined, so its own forward never records them.
        if not container.is_built:
            container.__dict__["_input_shapes"] = _shapes(takes)
            container.__dict__["_output_shapes"] = _shapes(makes)
        elif is_opening():
            record_open_axes(container, _shapes(takes), _shapes(makes))

    outputs = walk(model, named_inputs, call, refuse, record_shapes)
    return one_or_tuple([value for value, _ in outputs])


def _shapes(named: Any) -> tuple[Any, ...]:
    return tuple(value.shape[1:] for value, _ in named)


def walk(
    model: Composite,
    inputs: tuple[Any, ...],
    call: Callable[..., Any],
    enter: Callable[..., None] = lambda *_: None,
    leave: Callable[..., None] = lambda *_: None,
) -> Any:
    """Call ``call`` for each layer in order, including those of nested containers.

    Parameters
    ----------
    model, inputs
        The outermost container, and its inputs: arrays, or slots instead of arrays.
    call
        Receives a container, one of its layers, the layer's path and inputs; returns the outputs.
    enter, leave
        Receive a nested container: with its path and inputs, and with its inputs and outputs.
    """
    stack = [_Container(model, "", inputs)]
    while True:
        container = stack[-1]
        if container.is_finished:
            outputs = container.outputs
            stack.pop()
            if not stack:
                return outputs
            leave(container.layer, container.made[0], outputs)
            stack[-1].made.append(outputs)
            continue
        path, layer, takes = container.next_call()
        if is_inlined_container(layer) and not makes_its_layers(layer):
            stack.append(_Container(layer, path, takes))
            enter(layer, path, takes)
        else:
            container.made.append(call(container.layer, layer, path, takes))


class _Container:
    """A container on the walk. ``made`` holds the outputs of its nodes; node 0 is its inputs."""

    def __init__(self, layer: Any, path: str, inputs: tuple[Any, ...]) -> None:
        self.layer, self.path, self.made = layer, path, [inputs]
        self._children = list(layer.children().items())
        self._calls = layer.calls(len(self._children))

    @property
    def is_finished(self) -> bool:
        return len(self.made) > len(self._children)

    @property
    def outputs(self) -> tuple[Any, ...]:
        return self._values(self.layer.ends(len(self._children)))

    def next_call(self) -> tuple[str, Any, tuple[Any, ...]]:
        """The path of the next layer, the layer, and its inputs."""
        number = len(self.made) - 1
        name, layer = self._children[number]
        path = f"{self.path}/{name}" if self.path else name
        return path, layer, self._values(self._calls[number])

    def _values(self, sources: Sequence[tuple[int, int]]) -> tuple[Any, ...]:
        found: list[Any] = []
        for node, output in sources:
            made = self.made[node]
            if output >= len(made):
                what = self._children[node - 1][0] if node else "the input"
                raise no_such_output(what, output, len(made), self.path)
            found.extend(made if output < 0 else [made[output]])
        return tuple(found)


def is_inlined_container(layer: Layer) -> bool:
    """Whether a layer's class declares `Composite.is_inlined`; a subclass must do so itself."""
    return "is_inlined" in type(layer).__dict__


def makes_its_layers(layer: Layer) -> bool:
    """Whether a container is still to be built and creates its layers in its own `build`."""
    return not layer.is_built and type(layer).build is not Layer.build


def input_names(count: int) -> list[str]:
    """``input``, or ``input_1``, ``input_2`` and so on if there are several."""
    return ["input"] if count == 1 else [f"input_{n + 1}" for n in range(count)]


def output_names(path: str, count: int) -> list[str]:
    """The path of the layer, or ``halves_1[0]``, ``halves_1[1]`` and so on for several outputs."""
    return [path] if count == 1 else [f"{path}[{n}]" for n in range(count)]
