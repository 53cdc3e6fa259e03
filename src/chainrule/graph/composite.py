"""A layer that is made of layers: how they are connected, and nothing else.

A container says which of its layers takes which values; `chainrule.graph.plan` turns that into a
list of steps and runs them. So all containers share one mechanism and nest without limit.

A value is identified by its source: node 0 is the inputs of the container, node n its n-th layer,
and a source ``(node, output)`` is one of the values that the node makes, or all of them:

    Sequential   layer n takes  (n − 1, ALL)
    Residual     the last, an Add, takes  (n − 1, ALL)  and  (0, ALL)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from chainrule.core.errors import ConfigurationError, DefinitionError
from chainrule.core.layer import Layer
from chainrule.core.tree import fields_of, snake_case
from chainrule.core.types import Array, Shape
from chainrule.graph.plan import Plan
from chainrule.graph.unrolling import build_by, input_names

NodeOutput: TypeAlias = tuple[int, int]
"""A node and one of its outputs."""

ALL = -1
"""In place of the number of an output: all of them."""


def refuse_change(container: Any, attribute: Any, value: Any) -> Any:
    """Refuse an assignment to a field that defines a container; called by attrs."""
    name = type(container).__name__
    raise ConfigurationError(
        f"{name}: the layers of a container stay the same, and how they are connected",
        received=f"an assignment to {attribute.name}",
        hint="make a new sequence or graph of them: Sequential([*model.layers[:2], Dense(3)])",
    )


class Composite(Layer):
    """The base class of `Sequential`, `Graph`, `Residual` and `Branches`.

    A subclass holds layers in its fields; `calls` and `ends` say how they are connected.
    """

    if TYPE_CHECKING:  # attrs adds it to a class that has an __init__ of its own

        def __attrs_init__(self, *fields: Any, **named: Any) -> None: ...

    is_inlined: ClassVar[bool] = False
    """Whether the class adds nothing to its layers in any method, so that a plan unrolls it."""
    is_laid_out: ClassVar[bool] = False
    """Whether each layer prints on a line of its own, even if there are only a few."""

    def calls(self, size: int) -> Sequence[Sequence[NodeOutput]]:
        """The inputs of each layer in `children`, which lists the layers in the order of the calls.

        Parameters
        ----------
        size
            How many layers there are.
        """
        raise DefinitionError(
            f"{type(self).__name__} does not say how its layers are connected",
            hint="write calls, or use Graph",
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
        """Raise a ShapeError if the container was made for rows of other shapes."""

    def explained(self, error: Exception, name: str) -> Exception:
        """The error that the layer of that name raised while it was built, with a better hint."""
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
        """The steps of all passes. It belongs to the memory: a twin makes its own."""
        plan: Plan | None = self.__dict__.get("_plan")
        if plan is None:
            plan = self.__dict__["_plan"] = Plan.of_parts(self)
        return plan

    @property
    def accepts_any_shape(self) -> bool:  # type: ignore[override]
        """Whether all layers do. If not, a misfit is refused before any layer changes."""
        return all(
            layer.accepts_any_shape for _, layer in self.walk() if not isinstance(layer, Composite)
        )

    # ---------------------------------------------------------------- as a value

    def as_python(self) -> tuple[str, list[tuple[str, Layer]], str]:
        """What `repr` prints: an opening, the layers, each after a prefix, and a closing."""
        named: list[tuple[str, Layer]] = [(f"{n}=", part) for n, part in self.children().items()]
        return f"{type(self).__name__}(", named, ")"

    def __repr__(self) -> str:
        text = None if self.is_built else _on_one_line(self, 88)
        return text or "\n".join(_on_many_lines(self)).rstrip(",")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Layer):
            return NotImplemented
        pairs: list[tuple[Any, Any]] = [(self, other)]
        known: dict[int, int] = {}  # so that what is shared on one side is on the other
        while pairs:
            one, two = pairs.pop()
            learns = type(one).build is not Layer.build  # else it does not matter which one it is
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
            and not (isinstance(value, tuple) and any(id(part) in layers for part in value))
        }


def _prints_its_layers(item: Any) -> bool:
    return isinstance(item, Composite) and type(item).__repr__ is Composite.__repr__


def _on_one_line(model: Composite, limit: int) -> str | None:
    """The Python that makes a model, if it is short."""
    text = ""
    stack: list[Any] = [model]
    while stack:
        item = stack.pop()
        if _prints_its_layers(item):
            begin, parts, end = item.as_python()
            inside = [piece for prefix, part in parts for piece in (", ", prefix, part)][1:]
            stack.extend([end, *reversed(inside), begin])
        else:
            text += item if isinstance(item, str) else repr(item)
        if len(text) > limit or "\n" in text:
            return None
    return text


def repr_of_part(item: Layer) -> str | None:
    """How a layer in a container prints; None if it takes several lines."""
    if isinstance(item, Composite) and _prints_its_layers(item):
        return None if item.is_laid_out else _on_one_line(item, 60)
    return repr(item)


def _on_many_lines(model: Composite) -> list[str]:
    """The same with a line for each layer, and shapes as comments."""
    lines: list[tuple[str, str]] = []
    stack: list[tuple[int, str, Any]] = [(0, "", model)]
    while stack:
        depth, prefix, item = stack.pop()
        indent = "    " * depth
        short = None if isinstance(item, str) or item is model else repr_of_part(item)
        if isinstance(item, str):
            lines.append((indent + item, ""))
        elif short is not None:
            text = short.replace("\n", "\n" + indent)
            lines.append((f"{indent}{prefix}{text},", sizes_of(item)))
        else:
            begin, parts, end = item.as_python()
            lines.append((f"{indent}{prefix}{begin}", ""))
            stack.append((depth, "", f"{end},"))
            stack.extend((depth + 1, before, part) for before, part in reversed(parts))
    width = max(len(text) for text, _ in lines)
    return [f"{text:<{width}}  # {remark}" if remark else text for text, remark in lines]


def sizes_of(layer: Layer) -> str:
    """``(64,) → (30,), 1,950 parameters`` for a built layer."""
    if not layer.is_built:
        return ""
    sides = [", ".join(map(str, shapes)) for shapes in (layer.input_shapes, layer.output_shapes)]
    size = layer.parameters.size
    return " → ".join(sides) + (f", {size:,} parameters" if size else "")
