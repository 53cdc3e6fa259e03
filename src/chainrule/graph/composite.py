"""A layer that is made of layers: what is connected with what, and nothing else.

A container says which of its layers takes which values; `chainrule.graph.plan` makes a row of
steps of that, and goes through them. So all containers share one mechanism, and can stand inside
each other without limit.

Values are told by where they come from: node 0 is the inputs of the container, node n its n-th
layer, and a source ``(node, output)`` is one of the values that the node makes, or all of them:

    Sequential   layer n takes  (n − 1, ALL)
    Residual     the last, an Add, takes  (n − 1, ALL)  and  (0, ALL)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

from attrs import define

from chainrule.core.errors import DefinitionError
from chainrule.core.initializers import Shape
from chainrule.core.layer import Layer
from chainrule.core.parameter import Array
from chainrule.core.tree import fields_of, snake_case
from chainrule.graph.plan import Plan, input_names, unroll

Source: TypeAlias = tuple[int, int]
"""A node and one of its outputs."""

ALL = -1
"""In place of the number of an output: all of them."""


@define(repr=False, eq=False)
class Composite(Layer):
    """What `Sequential`, `Graph`, `Residual` and `Branches` are.

    A subclass holds layers in its fields and says in `calls` and `ends` how they are connected.
    """

    joins_the_plan: ClassVar[bool] = False
    """True says that the class adds nothing to the layers in it, in any of its methods."""

    def __init_subclass__(cls, **how: Any) -> None:
        super().__init_subclass__(**how)
        # A Graph takes nodes, and a Residual its layers one by one: so do their subclasses, for
        # which @define would make an __init__ of the fields; and likewise for the others.
        kept = ["__eq__", "__repr__", *(["__init__"] if hasattr(cls, "__attrs_init__") else [])]
        for name in kept:
            if name not in cls.__dict__:
                setattr(cls, name, getattr(cls, name))

    def calls(self, size: int) -> Sequence[Sequence[Source]]:
        """For each of the layers in `children`, which stand in the order of the calls: its inputs.

        Parameters
        ----------
        size
            How many layers there are.
        """
        raise DefinitionError(
            f"{type(self).__name__} does not say how its layers are connected",
            mend="write calls, or use Graph",
        )

    def ends(self, size: int) -> Sequence[Source]:
        """The outputs of the container."""
        return ((size, ALL),)

    def input_names(self, count: int) -> list[str]:
        """What the inputs are called."""
        return input_names(count)

    def refuse_unfitting(self, shapes: Sequence[Shape], place: str) -> None:
        """Raise a ShapeError where the container was made for rows of other shapes."""

    def explained(self, error: Exception, name: str) -> Exception:
        """The error of the layer of that name while it was built, where there is more to say."""
        return error

    # ---------------------------------------------------------------- what a layer does

    def forward(self, *inputs: Array) -> Any:
        if self._rng is not None:  # it is being built
            self.refuse_unfitting([x.shape[1:] for x in inputs], snake_case(type(self).__name__))
            values = list(inputs)
            outputs = unroll(self, len(inputs), values).outputs
            found = tuple(values[slot] for slot in outputs)
            return found if len(found) != 1 else found[0]
        return self.plan.forward(inputs)

    def backward(self, delta: Any) -> Any:
        return self.plan.backward(delta)

    def backward_parameters(self, delta: Any) -> None:
        self.plan.backward_parameters(delta)

    def apply(self, *inputs: Array) -> Any:
        return self.plan.apply(inputs)

    @property
    def plan(self) -> Plan:
        """The steps that are gone through. It belongs to the memory: a twin makes its own."""
        plan: Plan | None = self.__dict__.get("_plan")
        if plan is None:
            plan = self.__dict__["_plan"] = unroll(self, len(self.input_shapes))
        return plan

    @property
    def accepts_any_shape(self) -> bool:  # type: ignore[override]
        """Whether all of the layers do. If not, a misfit is refused before the first changes."""
        return all(
            layer.accepts_any_shape for _, layer in self.walk() if not isinstance(layer, Composite)
        )

    # ---------------------------------------------------------------- as a value

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

    __hash__ = None  # type: ignore[assignment]

    def _other_fields(self) -> dict[str, Any]:
        """The fields in which there are no layers."""
        layers = set(map(id, self.children().values()))
        values = {f.name: getattr(self, f.name) for f in fields_of(type(self))}
        return {
            name: value
            for name, value in values.items()
            if not isinstance(value, Layer)
            and not (isinstance(value, tuple) and any(id(part) in layers for part in value))
        }


def sizes_of(layer: Layer) -> str:
    """``(64,) → (30,), 1,950 parameters`` for a layer that is built."""
    if not layer.is_built:
        return ""
    sides = [", ".join(map(str, shapes)) for shapes in (layer.input_shapes, layer.output_shapes)]
    size = layer.parameters.size
    return " → ".join(sides) + (f", {size:,} parameters" if size else "")
