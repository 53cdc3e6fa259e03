"""A sequence of layers: the chain rule as a loop.

    y = f_N(… f_2(f_1(x)) …)          Δ_{n−1} = J_nᵀ Δ_n      from the last layer to the first

The last layer receives the delta ∂C/∂y. Each layer turns the delta of its output into that of its
input and passes it to the layer before. This is the lecture's delta recursion: a Dense and the
Activation before it together apply its matrix M = wᵀ diag(f′).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self, overload

from attrs import field

from chainrule.core.errors import ConfigurationError, DefinitionError, described, shortened
from chainrule.core.hints import hint_for_layer
from chainrule.core.layer import Layer
from chainrule.core.validators import as_plain_tuple
from chainrule.graph.composite import ALL, Composite, Layers, NodeOutput, refuse_change


def _as_layers(layers: Any) -> tuple[Layer, ...]:
    found = layers if isinstance(layers, Layer) else as_plain_tuple(layers)
    if not isinstance(found, tuple):
        raise DefinitionError(
            "Sequential takes its layers in one list",
            expected="Sequential([Dense(30), Activation('tanh'), Dense(10)])",
            received=f"Sequential({shortened(layers)})",
            hint="put brackets around the layers",
        )
    for number, layer in enumerate(found):
        if not isinstance(layer, Layer):
            raise DefinitionError(
                f"Sequential: item {number} of the list is not a layer",
                place=f"sequential[{number}]",
                expected="a layer such as Dense(10)",
                received=described(layer),
                hint=hint_for_layer(layer),
            )
    if not found:
        raise ConfigurationError(
            "Sequential: the list contains no layers",
            expected="at least one layer",
            received="an empty list",
        )
    return Layers(found)


class Sequential(Composite):
    """Layers in sequence; itself a layer, so sequences nest.

    Forward  y = f_N(… f_2(f_1(x)) …)
    Backward  Δ_{n−1} = J_nᵀ Δ_n, from the last layer to the first

    Parameters
    ----------
    layers
        The layers in the order in which values pass through them. A layer that is listed twice
        is used twice with the same parameters (weight sharing); its gradients add up.

    Raises
    ------
    DefinitionError
        If something in the list is not a layer.
    ConfigurationError
        If the list is empty.

    Examples
    --------
    >>> model = Sequential([Dense(30), Activation("tanh"), Dense(10)])
    >>> model.build((64,), rng=0)
    >>> model.parameters.size
    2260
    >>> model[0], len(model)
    (Dense(30), 3)
    """

    is_inlined: ClassVar[bool] = True
    is_laid_out: ClassVar[bool] = True

    # A tuple, once converted; mypy ignores the converters of a dataclass_transform.
    layers: Sequence[Layer] = field(converter=_as_layers, on_setattr=refuse_change)

    def __new__(cls, *layers: Any, **how: Any) -> Self:
        if len(layers) > 1:
            raise DefinitionError(
                f"{cls.__name__} takes its layers in one list",
                expected="Sequential([Dense(30), Activation('tanh'), Dense(10)])",
                received=f"{len(layers)} arguments",
                hint="put brackets around the layers",
            )
        return super().__new__(cls)

    def calls(self, size: int) -> Sequence[Sequence[NodeOutput]]:
        return [((number, ALL),) for number in range(size)]

    @overload
    def __getitem__(self, key: int | str) -> Layer: ...
    @overload
    def __getitem__(self, key: slice) -> Sequential: ...
    def __getitem__(self, key: int | str | slice) -> Layer:
        """A layer by number or name (``"dense_1"``); for a slice, a sequence of the same layers."""
        if isinstance(key, slice):
            sliced = Sequential(self.layers[key])
            # A layer that is used several times knows only the shapes of its first use. A slice of
            # such a sequence is built by its first batch.
            has_no_repeats = len({id(layer) for layer in self.layers}) == len(self.layers)
            if has_no_repeats and all(layer.is_built for layer in sliced.layers):
                sliced.__dict__.update(
                    _dtype=self._dtype,
                    _input_shapes=sliced.layers[0]._input_shapes,
                    _output_shapes=sliced.layers[-1]._output_shapes,
                )
            return sliced
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

    def as_python(self) -> tuple[str, list[tuple[str, Layer]], str]:
        return f"{type(self).__name__}([", [("", layer) for layer in self.layers], "])"
