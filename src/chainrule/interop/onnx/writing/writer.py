"""The writer: collects the nodes of an ONNX graph while a tracer flows through a model.

    y = x w + b        MatMul("input", "dense_1.weights"), Add(…, "dense_1.biases")

Each node is named by the layer that computes it, and each parameter by its path, so that a viewer
of the file shows the model that the user knows. What no output depends on is left out at the end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from attrs import define, field
from onnx import helper, numpy_helper

from chainrule.core.types import Array
from chainrule.interop.onnx.writing.sizes import Quotient, Size, SizeFloat, formula_of, written

OPSET = 20
"""The version of the operators: onnxruntime 1.17 and newer run it."""
IR_VERSION = 9
"""The version of the file's format that belongs to it."""

INT64 = np.dtype(np.int64)


def element_type(dtype: Any) -> int:
    """The number that ONNX has for a dtype."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


@define
class Step:
    """A node that is still to be written."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    name: str
    line: tuple[str, int] | None = field(default=None, eq=False)


@define(eq=False)
class Writer:
    """Nodes, initializers, and the names of values.

    Attributes
    ----------
    place
        The path of the layer that computes at the moment: the first part of new names.
    line
        The file and line of its code that is executed.
    steps
        The nodes so far.
    constants
        The parameters, buffers and other numbers by name.
    axes
        For the name of an open axis, the input and the axis of it that has this size.
    sizes
        The nodes that compute sizes from the shapes of inputs. They come before all others.
    """

    place: str = ""
    line: tuple[str, int] | None = None
    steps: list[Step] = field(factory=list)
    constants: dict[str, Array] = field(factory=dict)
    axes: dict[str, tuple[str, int]] = field(factory=dict)
    sizes: list[Step] = field(factory=list)
    _known: dict[Any, str] = field(factory=dict)
    _used: set[str] = field(factory=set)
    _learned: set[str] = field(factory=set)
    _numbers: dict[str, int] = field(factory=dict)

    def add(self, kind: str, inputs: Sequence[str], count: int = 1, **attributes: Any) -> Any:
        """Add a node; returns the name of its output, or of each of several."""
        given = {name: value for name, value in attributes.items() if value is not None}
        name = self.new_name(kind)
        outputs = (name,) if count == 1 else tuple(f"{name}.{n}" for n in range(count))
        self.steps.append(Step(kind, tuple(inputs), outputs, given, name, self.line))
        return outputs[0] if count == 1 else outputs

    def new_name(self, kind: str) -> str:
        """A name that no other value has, after the layer at work."""
        stem = f"{self.place}/{kind}" if self.place else kind
        number = self._numbers.get(stem, 1)
        name = stem if number == 1 else f"{stem}_{number}"
        while name in self._used:
            number += 1
            name = f"{stem}_{number}"
        self._numbers[stem] = number + 1
        self._used.add(name)
        return name

    def reserved(self, name: str) -> str:
        """A name for a value that no node computes: an input."""
        self._used.add(name)
        return name

    def parameter(self, path: str, value: Array, *, is_buffer: bool = False) -> str:
        """A parameter, or a buffer, with a name of its own."""
        self._used.add(path)
        self.constants[path] = value
        if not is_buffer:
            self._learned.add(path)
        return path

    def constant(self, array: Any) -> str:
        """Numbers without a name: equal arrays are one."""
        array = np.ascontiguousarray(array).reshape(np.shape(array))
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        key = array.dtype.str, array.shape, digest
        if key not in self._known:
            place, self.place = self.place, ""
            name = self._known[key] = self.new_name("constant")
            self.place = place
            self.constants[name] = array
        return self._known[key]

    def integers(self, numbers: Iterable[int]) -> str:
        """The name of a vector of integers, some of which may be sizes."""
        numbers = list(numbers)
        if not any(isinstance(n, Size) for n in numbers):
            return self.constant(np.array([int(n) for n in numbers], np.int64))
        key = ("integers", *map(formula_of, numbers))
        if key not in self._known:
            parts = [self.size(n) for n in numbers]
            with self.among_sizes():
                self._known[key] = (
                    parts[0] if len(parts) == 1 else self.add("Concat", parts, axis=0)
                )
        return self._known[key]

    def size(self, number: int) -> str:
        """The name of an integer as a vector of one entry."""
        if not isinstance(number, Size):
            return self.constant(np.array([int(number)], np.int64))
        key = ("size", formula_of(number))
        if key not in self._known:
            with self.among_sizes():
                self._known[key] = self._polynomial(number.terms.items())
        return self._known[key]

    @contextmanager
    def among_sizes(self) -> Iterator[None]:
        """In this context, nodes are added to those that compute sizes."""
        kept = self.place, self.steps
        self.place, self.steps = "sizes", self.sizes
        try:
            yield
        finally:
            self.place, self.steps = kept

    def scalar(self, number: Any, dtype: Any) -> str:
        """The name of a number without axes, which may be a size or follow from one."""
        dtype = np.dtype(dtype)
        if isinstance(number, SizeFloat):
            wide = np.dtype(np.float64)
            product = self.constant(np.array(number.factor, wide))
            for kind, size in (("Mul", number.over), ("Div", number.under)):
                if size != 1:
                    product = self.add(kind, [product, self.scalar(size, wide)])
            return product if dtype == wide else self.cast(product, dtype)
        if isinstance(number, Size):
            vector = self.size(number)
            return self.cast(self.add("Squeeze", [vector]), dtype)
        return self.constant(np.array(number, dtype))

    def cast(self, name: str, dtype: Any) -> str:
        """The value in another dtype."""
        return str(self.add("Cast", [name], to=element_type(dtype)))

    def _polynomial(self, terms: Iterable[tuple[tuple[Any, ...], int]]) -> str:
        total = ""
        for product, c in terms:
            factors = [self._atom(atom) for atom in product]
            if c != 1 or not factors:
                factors.append(self.constant(np.array([c], np.int64)))
            value = factors[0]
            for factor in factors[1:]:
                value = self.add("Mul", [value, factor])
            total = self.add("Add", [total, value]) if total else value
        return total

    def _atom(self, atom: Any) -> str:
        key = ("atom", atom)
        if key in self._known:
            return self._known[key]
        if isinstance(atom, Quotient):
            over, under = self._polynomial(atom.over), self._polynomial(atom.under)
            # Sizes are not negative, but numbers between may be: ⌈n/s⌉ is −(−n // s).
            rest = self.add("Mod", [over, under])
            value = rest
            if not atom.is_remainder:
                value = self.add("Div", [self.add("Sub", [over, rest]), under])
        else:
            name, axis = self.axes[atom]
            value = self.add("Shape", [name], start=axis, end=axis + 1)
        self._known[key] = value
        return str(value)

    def rename(self, old: str, wanted: str) -> None:
        """Give a value the name of an output of the graph."""
        self._used.add(wanted)
        for step in (*self.sizes, *self.steps):
            step.inputs = tuple(wanted if name == old else name for name in step.inputs)
            step.outputs = tuple(wanted if name == old else name for name in step.outputs)

    def repeat(self, old: str, wanted: str) -> None:
        """A second name, for a value that has to keep its own, such as that of an input."""
        self._used.add(wanted)
        self.steps.append(Step("Identity", (old,), (wanted,), {}, f"{wanted}/Identity"))

    # ---------------------------------------------------------------- the file

    def needed(self, outputs: Sequence[str]) -> list[Step]:
        """The steps that the outputs depend on."""
        wanted, kept = set(outputs), []
        for step in reversed([*self.sizes, *self.steps]):
            if not wanted.isdisjoint(step.outputs):
                kept.append(step)
                wanted.update(names_in(step))
        return kept[::-1]

    def model(
        self,
        name: str,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        *,
        producer: tuple[str, str],
        documentation: str,
    ) -> onnx.ModelProto:
        """The file, with these descriptions of inputs and outputs, from `described`."""
        steps = self.needed([output.name for output in outputs])
        nodes = [_node(step) for step in steps]
        used = {name for step in steps for name in names_in(step)}
        used.update(output.name for output in outputs)
        initializers = []
        for name, array in self.constants.items():
            if name not in used:
                continue
            tensor = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
            if name in self._learned or array.dtype.kind != "f" or not array.ndim:
                initializers.append(tensor)
            else:  # a program that trains the model must not take it for weights
                nodes.insert(0, helper.make_node("Constant", [], [name], name=name, value=tensor))
        graph = helper.make_graph(nodes, name, list(inputs), list(outputs), initializers)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name=producer[0],
            producer_version=producer[1],
            doc_string=documentation,
        )


def names_in(step: Step) -> set[str]:
    """The values that a step takes, also those that the graphs inside it take from outside."""
    names = set(step.inputs)
    for value in step.attributes.values():
        if isinstance(value, Body):
            made = {*value.inputs, *(n for inner in value.steps for n in inner.outputs)}
            taken = {n for inner in value.steps for n in names_in(inner)} | set(value.outputs)
            names |= taken - made
    names.discard("")
    return names


@define
class Body:
    """A graph inside a node: what a Scan computes in each step."""

    name: str
    inputs: list[str]
    outputs: list[str]
    described: list[Any]
    described_outputs: list[Any]
    steps: list[Step]


def _node(step: Step) -> Any:
    attributes = {
        name: _graph(value) if isinstance(value, Body) else value
        for name, value in step.attributes.items()
    }
    return helper.make_node(step.kind, step.inputs, step.outputs, name=step.name, **attributes)


def _graph(body: Body) -> Any:
    wanted, kept = set(body.outputs), []
    for step in reversed(body.steps):
        if not wanted.isdisjoint(step.outputs):
            kept.append(step)
            wanted.update(names_in(step))
    nodes = [_node(step) for step in kept[::-1]]
    return helper.make_graph(nodes, body.name, body.described, body.described_outputs)


def described(name: str, dtype: Any, shape: Iterable[int]) -> Any:
    """How the file describes an input or output: its type, and its axes by size or name."""
    axes = [written(n) if isinstance(n, Size) else int(n) for n in shape]
    return helper.make_tensor_value_info(name, element_type(dtype), axes)
