"""A layer that consists of layers: how they are connected, and nothing else.

A container says which values each of its layers takes; `chainrule.graph.plan` turns that into
a list of steps and runs them. So all containers share one mechanism and nest without limit.

Node 0 is the inputs of the container, and node n its n-th layer. A pair ``(node, output)`` is one
output of a node, or all of them:

    Sequential   layer n takes  (n − 1, ALL)
    Residual     the last, an Add, takes  (n − 1, ALL)  and  (0, ALL)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from chainrule.core import building
from chainrule.core.errors import ConfigurationError, DefinitionError
from chainrule.core.hints import Hinted
from chainrule.core.layer import Layer
from chainrule.core.ownership import Builder
from chainrule.core.terminal import printable
from chainrule.core.tree import fields_of, snake_case
from chainrule.core.types import Array, RowPattern, Shape
from chainrule.graph.plan import Plan
from chainrule.graph.unrolling import build_by, input_names

NodeOutput: TypeAlias = tuple[int, int]
"""A node and the number of one of its outputs."""

ALL = -1
"""Instead of the number of an output: all of them."""


class Layers(tuple[Layer, ...], Hinted):
    """The layers of a container, which cannot change."""

    __slots__ = ()


def refuse_change(container: Any, attribute: Any, value: Any) -> Any:
    """Raise an error for an assignment to a field that defines a container; called by attrs."""
    name = type(container).__name__
    raise ConfigurationError(
        f"{name}: the layers of a container and their connections cannot be changed",
        received=f"an assignment to {attribute.name}",
        hint="make a new sequence or graph: Sequential([*model.layers[:2], Dense(3)])",
    )


class Composite(Layer):
    """The base class of `Sequential`, `Graph`, `Residual` and `Branches`.

    A subclass holds layers in its fields; `calls` and `ends` say how they are connected.
    """

    if TYPE_CHECKING:  # attrs adds it to a class with its own __init__

        def __attrs_init__(self, *fields: Any, **named: Any) -> None: ...

    is_inlined: ClassVar[bool] = False
    """Whether no method of the class adds anything to its layers, so that they become steps of
    the plan of the container around it."""
    is_laid_out: ClassVar[bool] = False
    """Whether each layer always prints on a separate line."""

    def calls(self, size: int) -> Sequence[Sequence[NodeOutput]]:
        """What each layer takes, for the layers of `children`, which are in the order of the calls.

        Parameters
        ----------
        size
            The number of layers.
        """
        raise DefinitionError(
            f"{type(self).__name__} does not say how its layers are connected",
            hint="write calls(self, size), or use Graph",
        )

    def ends(self, size: int) -> Sequence[NodeOutput]:
        """The outputs of the container."""
        return ((size, ALL),)

    def input_names(self, count: int) -> list[str]:
        """The names of the inputs."""
        return input_names(count)

    def refuse_unfitting(
        self, shapes: Sequence[Shape], place: str, producers: Sequence[str] = ()
    ) -> None:
        """Raise a ShapeError if the container was defined for rows of other shapes."""

    def explained(self, error: Exception, name: str) -> Exception:
        """The error that the layer of this name raised while it was built, with a better hint."""
        return error

    # ---------------------------------------------------------------- what a layer does

    def forward(self, *inputs: Array) -> Any:
        plan: Plan | None = self.__dict__.get("_plan")
        if plan is not None:
            return plan.forward(inputs)
        if self._rng is not None:  # it is being built
            self.refuse_unfitting([x.shape[1:] for x in inputs], snake_case(type(self).__name__))
            return build_by(self, inputs)
        return self.plan.forward(inputs)

    def backward(self, delta: Any) -> Any:
        return self.plan.backward(delta)

    def backward_parameters(self, delta: Any) -> None:
        self.plan.backward_parameters(delta)

    def apply(self, *inputs: Array) -> Any:
        return self.plan.apply(inputs)

    @property
    def plan(self) -> Plan:
        """The steps of all passes. It is part of the memory, so a twin has its own."""
        plan: Plan | None = self.__dict__.get("_plan")
        if plan is None:
            with Builder.here():
                plan = self.__dict__.get("_plan") or Plan.of_parts(self)
                self.__dict__["_plan"] = plan
        return plan

    @property
    def accepted_shapes(self) -> tuple[RowPattern, ...]:
        """Any: an empty batch of a new shape shows whether each layer accepts what it receives."""
        return tuple((...,) for _ in self.input_shapes)

    def _require_fit(self, shapes: tuple[Shape, ...]) -> None:
        if self._rng is None:  # otherwise it is being built, and its forward does the same
            building.send_empty_batch(self, shapes)

    # ---------------------------------------------------------------- repr and equality

    def as_python(self) -> tuple[str, list[tuple[str, Layer]], str]:
        """The parts of the repr: what precedes the layers, each layer with a prefix, the rest."""
        named: list[tuple[str, Layer]] = [(f"{n}=", child) for n, child in self.children().items()]
        return f"{type(self).__name__}(", named, ")"

    @printable
    def __repr__(self) -> str:
        text = None if self.is_built else _on_one_line(self, 88)
        return text or "\n".join(_on_many_lines(self)).rstrip(",")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Layer):
            return NotImplemented
        pairs: list[tuple[Any, Any]] = [(self, other)]
        known: dict[int, int] = {}  # a layer shared on one side must be shared on the other
        while pairs:
            one, two = pairs.pop()
            learns = type(one).build is not Layer.build  # otherwise sharing makes no difference
            if learns and known.setdefault(id(one), id(two)) != id(two):
                return False
            if isinstance(one, Composite) and type(one).__eq__ is Composite.__eq__:
                if type(one) is not type(two) or one._other_fields() != two._other_fields():
                    return False
                ones, twos = one.children(), two.children()
                if list(ones) != list(twos):
                    return False
                pairs.extend(zip(ones.values(), twos.values(), strict=True))
            elif one != two:
                return False
        return len(set(known.values())) == len(known)

    __hash__ = None

    def _other_fields(self) -> dict[str, Any]:
        """The fields that hold no layers."""
        layers = set(map(id, self.children().values()))
        values = {f.name: getattr(self, f.name) for f in fields_of(type(self))}
        return {
            name: value
            for name, value in values.items()
            if not isinstance(value, Layer)
            and not (isinstance(value, tuple) and any(id(item) in layers for item in value))
        }


def _prints_its_layers(item: Any) -> bool:
    return isinstance(item, Composite) and type(item).__repr__ is Composite.__repr__


def _on_one_line(model: Composite, limit: int) -> str | None:
    """The Python code that creates a model, if it is short."""
    text = ""
    stack: list[Any] = [model]
    while stack:
        item = stack.pop()
        if _prints_its_layers(item):
            begin, layers, end = item.as_python()
            pieces = [piece for prefix, layer in layers for piece in (", ", prefix, layer)][1:]
            stack.extend([end, *reversed(pieces), begin])
        else:
            text += item if isinstance(item, str) else repr(item)
        if len(text) > limit or "\n" in text:
            return None
    return text


def repr_of_inner_layer(item: Layer) -> str | None:
    """The repr of a layer in a container; None if it takes several lines."""
    if isinstance(item, Composite) and _prints_its_layers(item):
        return None if item.is_laid_out else _on_one_line(item, 60)
    return repr(item)


DEEPEST = 100
"""Deeper lines are not indented further: for ten thousand nested containers, the spaces alone would
be two hundred megabytes."""


def _on_many_lines(model: Composite) -> list[str]:
    """The same code with a line for each layer, and shapes as comments."""
    lines: list[tuple[str, str]] = []
    stack: list[tuple[int, str, Any]] = [(0, "", model)]
    while stack:
        depth, prefix, item = stack.pop()
        indent = "    " * min(depth, DEEPEST)
        short = None if isinstance(item, str) or item is model else repr_of_inner_layer(item)
        if isinstance(item, str):
            lines.append((indent + item, ""))
        elif short is not None:
            text = short.replace("\n", "\n" + indent)
            lines.append((f"{indent}{prefix}{text},", sizes_of(item)))
        else:
            begin, layers, end = item.as_python()
            lines.append((f"{indent}{prefix}{begin}", ""))
            stack.append((depth, "", f"{end},"))
            stack.extend((depth + 1, before, layer) for before, layer in reversed(layers))
    width = max(len(text) for text, _ in lines)
    return [f"{text:<{width}}  # {remark}" if remark else text for text, remark in lines]


def sizes_of(layer: Layer) -> str:
    """``(64,) → (30,), 1,950 parameters`` for a built layer."""
    if not layer.is_built:
        return ""
    sides = [", ".join(map(str, shapes)) for shapes in (layer.input_shapes, layer.output_shapes)]
    size = layer.parameters.size
    return " → ".join(sides) + (f", {size:,} parameters" if size else "")
