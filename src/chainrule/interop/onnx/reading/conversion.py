"""One node of an ONNX graph becomes calls of layers: what the rules for the operators work with.

A rule takes a `Site`, the node with its inputs and attributes, and returns a `Value`, or several:

    def softmax(site: Site) -> Value:
        ...
        return Value(site.call(Softmax(), rows), axes, site.dtype)
"""

from __future__ import annotations

import hashlib
import operator
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen

from chainrule.core.layer import Layer
from chainrule.graph.graph import output_shapes_of
from chainrule.graph.node import Node
from chainrule.interop.onnx.reading.layers import Weights
from chainrule.interop.onnx.reading.model_file import Allowance
from chainrule.interop.onnx.reading.values import Arranger, Constant, Operand, RefusedError, Value


@define
class Conversion:
    """The model that is being made.

    Attributes
    ----------
    version
        The version of ONNX's operators.
    dtype
        The type of the model's numbers.
    batch_size
        The number of rows that the file was written for, if it is fixed.
    uses
        How often each name is used.
    allowance
        How many numbers may still be made.
    """

    version: int
    dtype: np.dtype[Any]
    batch_size: int | None
    uses: Counter[str]
    allowance: Allowance
    arranger: Arranger = field(init=False)
    shared: dict[Any, Layer] = field(factory=dict)
    origins: dict[int, frozenset[str]] = field(factory=dict)
    rng: np.random.Generator = field(factory=lambda: np.random.default_rng(0))

    def __attrs_post_init__(self) -> None:
        self.arranger = Arranger(self.call)

    def call(
        self,
        layer: Layer,
        *nodes: Node,
        origin: frozenset[str] = frozenset(),
        **arrays: npt.NDArray[Any],
    ) -> Node:
        """The node for a layer on others; the layer is built, and has the given arrays by path.

        Where the same weights are used again in the same way, it is the same layer.
        """
        self.allowance.spend(sum(array.size for array in arrays.values()))
        given = {name: np.array(array, self.dtype, order="C") for name, array in arrays.items()}
        key = (repr(layer), origin, *map(_digest, given.values())) if origin and given else None
        if key in self.shared:
            found: Node = self.shared[key](*nodes)
            return found
        shapes = [output_shapes_of(node)[0] for node in nodes]
        layer.build(*shapes, rng=self.rng, dtype=self.dtype)
        for name, array in given.items():
            operator.attrgetter(name)(layer).value = array
        if key is not None:
            self.shared[key] = layer
            self.origins[id(layer)] = origin
        found = layer(*nodes)
        return found

    def weights(self, constant: Constant, shape: Sequence[int], like: Node) -> Node:
        """A node that gives a constant in rows of this shape, whatever the rows of another."""
        layer = Weights(tuple(shape), constant.is_learned)
        array = np.reshape(constant.array, shape)
        return self.call(layer, like, origin=constant.origin, weights=array)


def _digest(array: npt.NDArray[Any]) -> tuple[tuple[int, ...], bytes]:
    return array.shape, hashlib.sha256(array.data).digest()


@frozen
class Site:
    """A node of the ONNX graph, and what its inputs stand for.

    Attributes
    ----------
    operator
        Its operator.
    inputs
        For each input a `Value` or a `Constant`; None if it is left out.
    attributes
        Its attributes, as Python numbers, strings, lists and arrays.
    names
        The names of its inputs.
    outputs
        The names of its outputs; "" for one that no one uses.
    model
        The model that is being made.
    """

    operator: str
    inputs: Sequence[Operand | None]
    attributes: dict[str, Any]
    names: Sequence[str]
    outputs: Sequence[str]
    model: Conversion

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the model's numbers."""
        return self.model.dtype

    @property
    def version(self) -> int:
        """The version of ONNX's operators."""
        return self.model.version

    def value(self, number: int = 0) -> Value:
        """An input that depends on the data."""
        found = self.inputs[number] if number < len(self.inputs) else None
        if not isinstance(found, Value):
            raise RefusedError(f"its input {number} must be data")
        return found

    def constant(self, number: int, what: str) -> Constant | None:
        """An input that must be known when the model is read; None if it is left out."""
        found = self.inputs[number] if number < len(self.inputs) else None
        if isinstance(found, Value):
            raise RefusedError(f"its {what} depend on the data")
        return found

    def array(self, number: int, what: str, *, may_be_open: bool = False) -> npt.NDArray[Any]:
        """The numbers of a required constant, in the type of the model."""
        found = self.constant(number, what)
        if found is None:
            raise RefusedError(f"it has no {what}")
        if found.is_open and not may_be_open:
            raise RefusedError(f"its {what} depend on the size of an open axis")
        if found.repeated or found.array.dtype == object:
            raise RefusedError(f"its {what} depend on the size of the batch")
        return found.array.astype(self.dtype)

    def optional_array(self, number: int, what: str) -> npt.NDArray[Any] | None:
        """Likewise, None if the input is left out."""
        return None if self.constant(number, what) is None else self.array(number, what)

    def number(self, number: int, what: str) -> float | None:
        """An optional input that is a single number."""
        found = self.optional_array(number, what)
        if found is not None and found.size != 1:
            raise RefusedError(f"its {what} are not one number")
        return None if found is None else float(np.ravel(found)[0])

    def call(self, layer: Layer, *nodes: Node, **arrays: npt.NDArray[Any]) -> Node:
        """The node for a layer on others, with the given arrays, which come from the inputs."""
        constants = [one for one in self.inputs if isinstance(one, Constant)]
        origin = frozenset().union(*(one.origin for one in constants))
        return self.model.call(layer, *nodes, origin=origin, **arrays)

    def rows(self, value: Value, order: Sequence[int]) -> Node:
        """The node of a value whose rows have the ONNX axes in this order."""
        return self.model.arranger.rows(value, order)

    def standard(self, value: Value) -> Value:
        """A value with the batch first, then the axes in the order of ONNX."""
        return self.model.arranger.standard(value)

    def refuse_outputs(self, *numbers: int) -> None:
        """Refuse the node if one of these outputs is used."""
        for number in numbers:
            if number < len(self.outputs) and self.outputs[number]:
                raise RefusedError(f"its output {number} is used")


Outputs: TypeAlias = Value | Sequence[Operand | None]
Rule: TypeAlias = Callable[[Site], Outputs]
