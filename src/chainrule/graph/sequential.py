"""A sequence of layers: the chain rule as a loop.

    y = f_N(… f_2(f_1(x)) …)          Δ_{n−1} = J_nᵀ Δ_n      from the last layer to the first

The delta that the last layer is given is ∂C/∂y; every layer turns the delta of its output into
that of its input, and the next one before it takes it from there. This is the lecture's delta
recursion, where a Dense after an Activation together apply its M = w f′.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self, overload

import numpy as np
from attrs import define, field

from chainrule.core import admission, contract
from chainrule.core.errors import ChainruleError, ConfigurationError, DefinitionError, ShapeError
from chainrule.core.layer import Layer
from chainrule.core.parameter import Array
from chainrule.core.tree import numbered, snake_case


def _as_layers(layers: Any) -> tuple[Layer, ...]:
    if isinstance(layers, Layer) or not isinstance(layers, Iterable):
        raise DefinitionError(
            "Sequential takes its layers as one list",
            expected="Sequential([Dense(30), Activation('tanh'), Dense(10)])",
            received=f"Sequential({layers!r})",
            mend="put brackets around the layers",
        )
    found = tuple(layers)
    for number, layer in enumerate(found):
        if not isinstance(layer, Layer):
            raise DefinitionError(
                f"Sequential: item {number} of the list is no layer",
                place=f"sequential[{number}]",
                expected="a Layer such as Dense(10)",
                received=_described(layer),
                mend=_mend(layer),
            )
    if not found:
        raise ConfigurationError(
            "Sequential: there is no layer in the list",
            expected="at least one layer",
            received="an empty list",
        )
    return found


def _refuse_new_layers(sequence: Any, attribute: Any, layers: Any) -> Any:
    raise ConfigurationError(
        "Sequential: the layers of a sequence stay the same",
        received="an assignment to layers",
        mend="make a new sequence of them: Sequential([*model.layers[:2], Dense(3)])",
    )


@define(repr=False, eq=False)
class Sequential(Layer):
    """Layers one behind the other; itself a layer, so sequences nest in each other.

    Forward  y = f_N(… f_2(f_1(x)) …)
    Backward  Δ_{n−1} = J_nᵀ Δ_n, from the last layer to the first

    Parameters
    ----------
    layers
        The layers in the order in which the values go through them. A layer that stands in it
        twice shares its parameters between the two places; its gradients add up.

    Raises
    ------
    DefinitionError
        Where something in the list is no layer.
    ConfigurationError
        Where the list is empty.

    Examples
    --------
    >>> model = Sequential([Dense(30), Activation("tanh"), Dense(10)])
    >>> model.build((64,), rng=0)
    >>> model.parameters.size
    2260
    >>> model[0], len(model)
    (Dense(30), 3)
    """

    layers: tuple[Layer, ...] = field(converter=_as_layers, on_setattr=_refuse_new_layers)

    def __new__(cls, *layers: Any, **how: Any) -> Self:
        if len(layers) > 1:
            raise DefinitionError(
                f"{cls.__name__} takes its layers as one list",
                expected="Sequential([Dense(30), Activation('tanh'), Dense(10)])",
                received=f"{len(layers)} arguments",
                mend="put brackets around the layers",
            )
        return super().__new__(cls)

    @property
    def accepts_any_shape(self) -> bool:  # type: ignore[override]
        """Whether all of the layers do. If not, a misfit is refused before the first changes."""
        return self._steps().accept_any_shape

    def forward(self, *inputs: Array) -> Any:
        steps = self._steps()
        values: Any = inputs if len(inputs) != 1 else inputs[0]
        number = 0
        try:
            if self._rng is not None:  # it is being built
                for number, layer in enumerate(steps.layers):  # noqa: B007 - the error tells it
                    values = layer.forward(*admission.as_tuple(values))
                self._settle()
                return values
            for number, (forward, memory) in enumerate(steps.forwards):  # noqa: B007
                values = forward(*values) if type(values) is tuple else forward(values)
                memory["_delta_shape"] = admission.shapes_of(values)
        except Exception as error:
            raise steps.told(error, number, "forward", values) from error.__cause__
        return values

    def backward(self, delta: Any) -> Any:
        return self._back(delta, self._steps(), down_to=0)

    def backward_parameters(self, delta: Any) -> None:
        steps = self._steps()
        if steps.first_with_parameters < len(steps.layers):
            self._back(delta, steps, down_to=steps.first_with_parameters, parameters_only=True)

    def apply(self, *inputs: Array) -> Any:
        steps = self._steps()
        values: Any = inputs if len(inputs) != 1 else inputs[0]
        number = 0
        try:
            for number, layer in enumerate(steps.layers):  # noqa: B007 - the error tells it
                values = layer.apply(*values) if type(values) is tuple else layer.apply(values)
        except Exception as error:
            raise steps.told(error, number, "apply", values) from error.__cause__
        return values

    @staticmethod
    def _back(delta: Any, steps: _Steps, down_to: int, parameters_only: bool = False) -> Any:
        number = len(steps.layers)
        try:
            for number in range(len(steps.layers) - 1, down_to - 1, -1):
                backward, memory = steps.backwards[number]
                if admission.shapes_of(delta) != memory.get("_delta_shape"):
                    raise admission.unfitting_delta(steps.layers[number], delta)
                if parameters_only and number == down_to:
                    return steps.last_backward(delta)
                delta = backward(delta)
        except Exception as error:
            raise steps.told(error, number, "backward", delta) from error.__cause__
        return delta

    def _steps(self) -> _Steps:
        """The layers that compute something, with those of sequences in this one in their place.

        So a sequence in a sequence costs nothing, however deep. It belongs to the memory, since
        a layer's second place has a twin, with a memory of its own.
        """
        steps: _Steps | None = self.__dict__.get("_unrolled")
        if steps is None:
            steps = _Steps.of(self)
            if all(layer.is_built for layer in steps.layers):
                self.__dict__["_unrolled"] = steps
        return steps

    def _settle(self) -> None:
        """Note in the sequences below, whose own `forward` is never called, what they are now."""
        for _, part in reversed(list(self.walk())):
            if type(part) is Sequential and part is not self and not part.is_built:
                part._input_shapes = part.layers[0]._input_shapes
                part._output_shapes = part.layers[-1]._output_shapes

    @overload
    def __getitem__(self, key: int | str) -> Layer: ...
    @overload
    def __getitem__(self, key: slice) -> Sequential: ...
    def __getitem__(self, key: int | str | slice) -> Layer:
        """A layer by its number or name (``"dense_1"``), or a sequence of some that shares them."""
        if isinstance(key, slice):
            part = Sequential(self.layers[key])
            if all(layer.is_built for layer in part.layers):
                part._dtype = self._dtype
                part._input_shapes = part.layers[0]._input_shapes
                part._output_shapes = part.layers[-1]._output_shapes
            return part
        if isinstance(key, str):
            children = self.children()
            if key not in children:
                raise KeyError(f"no layer {key!r}; there are {', '.join(children)}")
            return children[key]
        return self.layers[key]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Layer):
            return NotImplemented
        pairs: list[tuple[Any, Any]] = [(self, other)]
        while pairs:
            one, two = pairs.pop()
            if isinstance(one, Sequential) and type(one).__eq__ is Sequential.__eq__:
                if type(one) is not type(two) or len(one) != len(two):
                    return False
                pairs.extend(zip(one, two, strict=True))
            elif one != two:
                return False
        return True

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        lines = _lines(self)
        flat = "".join(line.text.strip() + ("" if line.opens else " ") for line in lines)
        flat = flat.replace(", ]", "]").rstrip(" ,")
        if len(flat) <= 88 and not self.is_built:
            return flat
        width = max(len(line.text) for line in lines)
        return "\n".join(
            f"{line.text:<{width}}  # {line.remark}" if line.remark else line.text for line in lines
        ).rstrip(",")


@define
class _Line:
    text: str
    remark: str = ""
    opens: bool = False


def _lines(model: Sequential) -> list[_Line]:
    """What `repr` prints: Python that makes the same model, with shapes as remarks."""
    lines: list[_Line] = []
    stack: list[tuple[int, Layer | str]] = [(0, model)]
    while stack:
        depth, item = stack.pop()
        indent = "    " * depth
        if isinstance(item, str):
            lines.append(_Line(indent + item))
        elif isinstance(item, Sequential) and type(item).__repr__ is Sequential.__repr__:
            lines.append(_Line(f"{indent}{type(item).__name__}([", opens=True))
            stack.append((depth, "]),"))
            stack.extend((depth + 1, layer) for layer in reversed(item.layers))
        else:
            text = repr(item).replace("\n", "\n" + indent)
            lines.append(_Line(f"{indent}{text},", _shapes(item)))
    return lines


def _shapes(layer: Layer) -> str:
    if not layer.is_built:
        return ""
    sides = [", ".join(map(str, shapes)) for shapes in (layer.input_shapes, layer.output_shapes)]
    size = layer.parameters.size
    return " → ".join(sides) + (f", {size:,} parameters" if size else "")


class _Steps:
    """The layers of a sequence as they are gone through, each with its path."""

    def __init__(self, container: str, paths: list[str], layers: list[Layer]) -> None:
        self.container = container
        self.paths = paths
        self.layers = layers
        self.first_with_parameters = next(
            (n for n, layer in enumerate(layers) if _has_parameters(layer)), len(layers)
        )
        self.accept_any_shape = all(layer.accepts_any_shape for layer in layers)
        # What comes from one layer fits the next, as building has shown. So the authors' own
        # methods are called, without what stands around them, each with its layer's memory.
        self.forwards = [(contract.bare(layer, "forward"), layer.__dict__) for layer in layers]
        self.backwards = [(contract.bare(layer, "backward"), layer.__dict__) for layer in layers]
        if self.first_with_parameters < len(layers):
            first = layers[self.first_with_parameters]
            self.last_backward = contract.bare(first, "backward_parameters")

    @classmethod
    def of(cls, sequence: Sequential) -> _Steps:
        paths: list[str] = []
        layers: list[Layer] = []
        seen: set[int] = set()
        stack: list[tuple[str, Layer]] = [("", sequence)]
        while stack:
            path, layer = stack.pop()
            if type(layer) is Sequential or layer is sequence:
                names = numbered(type(part).__name__ for part in layer.layers)
                below = zip(names, layer.layers, strict=True)
                stack.extend(reversed([(f"{path}/{name}", part) for name, part in below]))
                continue
            parts = {id(part) for _, part in layer.walk()}
            again = not seen.isdisjoint(parts) and layer.is_built
            seen |= parts
            paths.append(path)
            layers.append(layer.twin() if again else layer)
        return cls(snake_case(type(sequence).__name__), paths, layers)

    def told(self, error: Exception, number: int, method: str, values: Any) -> Exception:
        """The error with the place where it happened; a named one, where the input is at fault."""
        place = f"{self.container}{self.paths[number]}"
        if not isinstance(error, ChainruleError) and method != "backward":
            try:
                admission.admit(self.layers[number], admission.as_tuple(values))
            except ChainruleError as named:
                named.__cause__, error = error, named
        if not isinstance(error, ChainruleError):
            shapes = [np.shape(v) for v in admission.as_tuple(values)]
            error.add_note(f"in {place}.{method}, which was given {', '.join(map(str, shapes))}")
            return error
        if isinstance(error, ShapeError) and error.place is None:
            source = number - 1 if method != "backward" else number + 1
            if 0 <= source < len(self.paths):
                error.received = f"{error.received}, produced by {self.paths[source][1:]}"
        return error.within(place)


def _has_parameters(layer: Layer) -> bool:
    return any(part._parameters for _, part in layer.walk())


def _described(item: object) -> str:
    if isinstance(item, type):
        return f"the class {item.__name__}"
    return f"{item!r}, of type {type(item).__name__}"


def _mend(item: object) -> str | None:
    if isinstance(item, type) and issubclass(item, Layer):
        return f"make an instance of it: {item.__name__}(…)"
    if isinstance(item, str):
        return f"Activation({item!r})"
    if isinstance(item, list | tuple):
        return "a sequence in a sequence: Sequential([…])"
    if callable(item):
        return "Activation(function, derivative), or a layer of your own"
    return None
