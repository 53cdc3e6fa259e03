"""A graph of layers: any acyclic architecture.

    x = Input((64,))
    h = Dense(32)(x)
    y = Add()(h, Dense(32)(x))
    model = Graph(x, y)

Forward, each node computes its value once its inputs are known. Backward, the deltas follow the
same connections in reverse, and where a value went to several nodes,

    Δ = Σ_n J_nᵀ Δ_n        over the nodes n that took it

This is the chain rule for several variables, and all that a graph adds to a sequence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from attrs import field

from chainrule.core.errors import (
    ConfigurationError,
    DefinitionError,
    ShapeError,
    described,
    shortened,
)
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.open_axes import fits, merged
from chainrule.core.terminal import printable
from chainrule.core.tree import numbered
from chainrule.core.types import Shape
from chainrule.graph.composite import ALL, Composite, NodeOutput, refuse_change, sizes_of
from chainrule.graph.node import Input, Node

Start = tuple[str | None, Shape | None]
"""An input: its name and the shape of a row, each None if not given."""


def _as_starts(starts: Any) -> tuple[Start, ...]:
    return tuple((name, shape if shape is None else tuple(shape)) for name, shape in starts)


class Graph(Composite, on_setattr=refuse_change):
    """The layers between input nodes and output nodes, as one layer.

    Forward  each node's layer is called on the values of its sources
    Backward  Δ = Σ_n J_nᵀ Δ_n, over the nodes n that took a value

    Parameters
    ----------
    inputs
        A node, or a list of nodes: an `Input`, or any other node, where the graph then begins.
    outputs
        A node, or a list of nodes, whose values the graph returns: a tuple if there are several.
        Or a dictionary of nodes, whose keys name the outputs in a history:
        ``{"digit": y_1, "drift": y_2}``.

    Attributes
    ----------
    layers
        The layer of each call, in topological order. A layer that is called several times is listed
        several times; its gradients add up.

    Raises
    ------
    DefinitionError
        If something is not a node, no output depends on one of the inputs, an output depends on no
        input or on an `Input` that is not in the list, or a node depends on itself.

    Examples
    --------
    >>> x = Input((3,))
    >>> h = Dense(4)(x)
    >>> model = Graph(x, Add()(h, Dense(4)(x)))
    >>> model
    Graph: input → add_1
        input    Input((3,))
        dense_1  Dense(4)(input)
        dense_2  Dense(4)(input)
        add_1    Add()(dense_1, dense_2)

    It is a layer like any other: ``build`` or the first batch builds it, and `Trainer` trains it.
    `summary`, `diagram` and `explain` show it, `trace` shows a pass, `check_layer` checks it.

    >>> model.build(rng=0)
    >>> model.forward(np.ones((2, 3))).shape, model.backward(np.ones((2, 4))).shape
    ((2, 4), (2, 3))
    >>> trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
    >>> len(trainer.fit(np.ones((8, 3)), np.zeros((8, 4)), epochs=5, progress=False)["loss"])
    5

    With several inputs and outputs, ``forward`` takes as many arrays and returns a tuple,
    ``backward`` takes a tuple of deltas, and `Trainer` a list of losses.

    >>> a, b = Input((3,), name="image"), Input((2,))
    >>> both = Graph([a, b], {"sum": Dense(1)(Concatenate()(a, b)), "same": Dense(3)(a)})
    >>> cost = [losses.HalfSquaredError(), losses.HalfSquaredError()]
    >>> trainer = Trainer(both, cost, optimizers.SGD(0.1), loss_weights=[1.0, 0.5], rng=0)
    >>> data = (np.ones((8, 3)), np.ones((8, 2))), (np.ones((8, 1)), np.ones((8, 3)))
    >>> list(trainer.fit(*data, epochs=2, progress=False))
    ['loss', 'sum_loss', 'same_loss']
    """

    is_inlined: ClassVar[bool] = True

    layers: tuple[Layer, ...]
    wires: tuple[tuple[NodeOutput, ...], ...]
    tails: tuple[NodeOutput, ...]
    starts: tuple[Start, ...] = field(converter=_as_starts)
    output_names: tuple[str, ...] | None = None

    def __init__(self, inputs: Any, outputs: Any) -> None:
        names = _as_names(outputs) if isinstance(outputs, dict) else None
        given = list(outputs.values()) if isinstance(outputs, dict) else outputs
        begin, end = _as_nodes("inputs", inputs), _as_nodes("outputs", given)
        layers, wires, tails, starts = _traversed(begin, end)
        self.__attrs_init__(layers, wires, tails, starts, names)

    def __attrs_post_init__(self) -> None:
        _require_fields(self)  # which may come from a file
        _require_distinct(self.input_names(len(self.starts)), self._names())

    def calls(self, size: int) -> Sequence[Sequence[NodeOutput]]:
        return self.wires

    def ends(self, size: int) -> Sequence[NodeOutput]:
        return self.tails

    def children(self) -> dict[str, Layer]:  # type: ignore[override]
        return dict(zip(self._names(), self.layers, strict=True))

    def input_names(self, count: int) -> list[str]:
        given = {name for name, _ in self.starts}
        unnamed = sum(name is None for name, _ in self.starts)
        free = ["input"] if unnamed == 1 and "input" not in given else []
        free += [
            f"input_{n + 1}" for n in range(2 * len(self.starts)) if f"input_{n + 1}" not in given
        ]
        fresh = iter(free)
        return [name or next(fresh) for name, _ in self.starts]

    @property
    def known_input_shapes(self) -> tuple[Shape, ...] | None:
        """The shapes that the inputs specify; None if one of them does not."""
        shapes = [shape for _, shape in self.starts]
        return None if None in shapes else tuple(shapes)  # type: ignore[arg-type]

    def refuse_unfitting(
        self, shapes: Sequence[Shape], place: str, producers: Sequence[str] = ()
    ) -> None:
        names = self.input_names(len(self.starts))
        if len(shapes) != len(self.starts):
            raise ShapeError(
                "Graph: wrong number of inputs",
                place=place,
                expected=f"{len(self.starts)} input(s): {', '.join(names)}",
                received=f"{len(shapes)}: {', '.join(map(batch_of, shapes))}",
            )
        for number, (name, (_, expected)) in enumerate(zip(names, self.starts, strict=True)):
            shape = shapes[number]
            if expected is not None and not fits(shape, expected):
                raise ShapeError(
                    f"Graph: the rows do not have the shape of its Input {name!r}",
                    place=f"{place}/{name}",
                    expected=batch_of(expected),
                    received=batch_of(shape) + (producers[number] if producers else ""),
                    hint=f"Input({merged(expected, shape)}) leaves the axis open, "
                    f"or pass rows of shape {expected}"
                    if len(shape) == len(expected) > 1
                    else f"Input({shape}), or pass rows of shape {expected}",
                )

    def __getitem__(self, name: str) -> Layer:
        """The layer with a name such as ``"dense_1"``."""
        found = self.children()
        if name not in found:
            raise KeyError(f"no layer {name!r}; there are {', '.join(found)}")
        return found[name]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def _names(self) -> list[str]:
        return numbered(type(layer).__name__ for layer in self.layers)

    @printable
    def __repr__(self) -> str:
        names, calls = self._names(), []
        inputs = self.input_names(len(self.starts))

        def called(source: NodeOutput) -> str:
            node, output = source
            if node == 0:
                return inputs[output]
            return names[node - 1] + (f"[{output}]" if output != ALL else "")

        for name, (given_name, shape) in zip(inputs, self.starts, strict=True):
            calls.append((name, repr(Input(shape, given_name)), ""))
        first: dict[int, str] = {}
        for name, layer, sources in zip(names, self.layers, self.wires, strict=True):
            given = ", ".join(map(called, sources))
            short = repr(layer) if not layer.children() else f"{type(layer).__name__}(…)"
            is_repeated = first.setdefault(id(layer), name) != name
            remark = f"the same as {first[id(layer)]}" if is_repeated else sizes_of(layer)
            calls.append((name, f"{short}({given})", remark))
        width, length = (max(len(call[n]) for call in calls) for n in (0, 1))
        lines = [
            f"    {name:<{width}}  {call:<{length}}  {f'# {remark}' if remark else ''}".rstrip()
            for name, call, remark in calls
        ]
        ends = list(map(called, self.tails))
        if self.output_names:
            ends = [f"{name} = {end}" for name, end in zip(self.output_names, ends, strict=True)]
        head = f"{type(self).__name__}: {', '.join(inputs)} → {', '.join(ends)}"
        return "\n".join([head, *lines])


def output_shapes_of(node: Node) -> tuple[Shape, ...]:
    """The output shapes of a node; an empty batch goes through a copy of each layer before it."""
    stack = [node.origin[0]]
    waiting: set[int] = set()
    while stack:
        call = stack[-1]
        before = [source.origin for source in call.sources]
        if not call.known and (missing := [c for c, _ in before if not c.known]):
            if id(call) in waiting:
                raise _cycle_error([call])
            waiting.add(id(call))
            stack.extend(missing)
            continue
        if not call.known:
            inputs = [c.known[0] if n < 0 else c.known[0][n : n + 1] for c, n in before]
            call.known.append(_shapes_of_call(call, [s for shapes in inputs for s in shapes]))
        stack.pop()
    return node.origin[0].known[0]


def _shapes_of_call(call: Node, shapes: list[Shape]) -> tuple[Shape, ...]:
    if isinstance(call, Input):
        if call.shape is None:
            raise DefinitionError(
                "the number of outputs of a node is only known once the shapes are",
                expected="an Input with the shape of a row, such as Input((64,))",
                received=repr(call),
                hint="select outputs by number: node[0], node[1]",
            )
        return (call.shape,)
    layer: Any = call.layer
    if not layer.is_built or layer.input_shapes != tuple(shapes):
        layer = layer.unbuilt()
        layer.build(*shapes, rng=0)
    found: tuple[Shape, ...] = layer.output_shapes
    return found


# ---------------------------------------------------------------- from nodes to fields


def _as_nodes(what: str, given: Any) -> list[Node]:
    nodes = list(given) if isinstance(given, list | tuple) else [given]
    for number, node in enumerate(nodes):
        if not isinstance(node, Node):
            is_layer = isinstance(node, Layer)
            raise DefinitionError(
                f"Graph: {what} must be nodes",
                place=f"{what}[{number}]" if isinstance(given, list | tuple) else what,
                expected="an Input, or the result of calling a layer on a node",
                received=described(node),
                hint="call the layer: Dense(3)(x)"
                if is_layer
                else "Graph(x, y), with x = Input(…)",
            )
    if not nodes:
        raise ConfigurationError(
            f"Graph: there are no {what}", expected="at least one node", received="an empty list"
        )
    return nodes


def _require_distinct(inputs: list[str], layers: list[str]) -> None:
    taken = Counter([*inputs, *layers])
    for number, name in enumerate(inputs):
        if taken[name] > 1:
            raise ConfigurationError(
                f"Graph: an input has the name {name!r} of another input or a layer",
                place=f"inputs[{number}]",
                expected="a different name for each input and layer",
                received=", ".join(inputs),
                hint=f"Input(…, name='{name}_in')",
            )


def _require_fields(graph: Graph) -> None:
    """Raise an error unless the fields describe a graph: each call after what it takes."""
    layers, wires, tails, names = graph.layers, graph.wires, graph.tails, graph.output_names
    fields: list[tuple[str, Any, int]] = [
        ("layers", layers, 0), ("wires", wires, 0), ("starts", graph.starts, 1), ("tails", tails, 1)
    ]  # fmt: skip
    for place, given, least in fields:
        if not isinstance(given, tuple) or len(given) < least:
            raise _not_the_field_of_a_graph(place, f"a tuple of {least} items or more", given)
    if len(wires) != len(layers):
        raise _not_the_field_of_a_graph("wires", f"{len(layers)} items, one for each call", wires)
    for number, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise _not_the_field_of_a_graph(f"layers[{number}]", "a layer", layer)
    for name, shape in graph.starts:
        Input(shape, name)  # raises the error of an invalid name or shape
    for place, below, sources in (
        *((f"wires[{n}]", n, sources) for n, sources in enumerate(wires)),
        ("tails", len(layers), tails),
    ):
        if not isinstance(sources, tuple) or not sources:
            raise _not_the_field_of_a_graph(place, "a tuple of sources", sources)
        for source in sources:
            if not _is_source(source, below, len(graph.starts)):
                raise _not_the_field_of_a_graph(
                    place, f"(number of a call, from 0 to {below}; number of its output)", source
                )
    if names is not None:
        if not isinstance(names, tuple):
            raise _not_the_field_of_a_graph("output_names", "a tuple, or None", names)
        _as_names(dict.fromkeys(names))
        if len({*names}) != len(tails):
            raise _not_the_field_of_a_graph("output_names", f"{len(tails)} different names", names)


def _is_source(source: Any, below: int, inputs: int) -> bool:
    if not isinstance(source, tuple) or len(source) != 2:
        return False
    call, output = source
    if type(call) is not int or type(output) is not int or not 0 <= call <= below:
        return False
    return 0 <= output < inputs if call == 0 else output >= ALL


def _not_the_field_of_a_graph(place: str, expected: str, given: Any) -> DefinitionError:
    return DefinitionError(
        f"Graph: the field {place} does not describe a graph",
        place=place,
        expected=expected,
        received=f"{given!r:.60}",
        hint="create a graph from nodes: Graph(x, y)",
    )


def _as_names(outputs: dict[Any, Any]) -> tuple[str, ...]:
    for name in outputs:
        if not isinstance(name, str) or not name.isidentifier():
            raise ConfigurationError(
                "Graph: invalid name of an output",
                place=f"outputs[{name!r}]",
                expected="letters, digits and underscores, such as 'digit'",
                received=shortened(name),
            )
    return tuple(outputs)


def _traversed(inputs: list[Node], outputs: list[Node]) -> tuple[Any, ...]:
    """The fields of a graph: the layers in order, what each takes, the outputs and the inputs."""
    begin = {_key(node): number for number, node in enumerate(inputs)}
    if len(begin) < len(inputs):
        raise DefinitionError(
            "Graph: a node is listed twice as an input",
            received=", ".join(map(repr, inputs)),
        )
    numbers: dict[int, int] = {}
    calls: list[Node] = []
    used: set[int] = set()
    for output in outputs:
        _number(output, begin, numbers, calls, used, inputs)

    def source(node: Node) -> NodeOutput:
        if _key(node) in begin:
            return 0, begin[_key(node)]
        call, output = node.origin
        return numbers[id(call)], output

    for node in inputs:
        if begin[_key(node)] not in used:
            raise DefinitionError(
                "Graph: no output depends on this input",
                place=f"inputs[{begin[_key(node)]}]",
                expected="inputs that the outputs depend on",
                received=repr(node),
                hint="omit it, or connect it: call a layer on it",
            )
    starts = [(n.name, n.shape) if isinstance(n, Input) else (None, None) for n in inputs]
    return (
        tuple(call.layer for call in calls),
        tuple(tuple(map(source, call.sources)) for call in calls),
        tuple(map(source, outputs)),
        tuple(starts),
    )


def _mixed_outputs_error(node: Node) -> DefinitionError:
    return DefinitionError(
        "Graph: a node that it begins at is used both as a whole and output by output",
        place=repr(node),
        expected="each output as a separate input, and layers called on these inputs",
        received="the node itself in one place, and node[…] in another",
        hint="a, b = node; Graph([a, b], …), with layers that are called on a and b",
    )


def _key(node: Node) -> tuple[int, int]:
    call, output = node.origin
    return id(call), output


def _number(
    output: Node,
    begin: dict[tuple[int, int], int],
    numbers: dict[int, int],
    calls: list[Node],
    used: set[int],
    inputs: list[Node],
) -> None:
    """Number the calls that an output depends on, each after those that it depends on itself."""
    open_calls: dict[int, Node] = {}  # begun, but not yet numbered: the path to the current node
    begin_calls = {call for call, _ in begin}
    stack: list[tuple[Node, bool]] = [(output, False)]
    while stack:
        node, is_done = stack.pop()
        if _key(node) in begin:
            used.add(begin[_key(node)])
            continue
        call, _ = node.origin
        if id(call) in begin_calls and not isinstance(call, Input):
            raise _mixed_outputs_error(node)
        if is_done:
            del open_calls[id(call)]
            calls.append(call)
            numbers[id(call)] = len(calls)
            continue
        if id(call) in numbers:
            continue
        if isinstance(call, Input):
            raise _foreign_input_error(call, output, list(open_calls.values()), inputs)
        if id(call) in open_calls:
            raise _cycle_error([*_chain_from(call, open_calls), call])
        open_calls[id(call)] = call
        stack.append((node, True))
        stack.extend((before, False) for before in reversed(call.sources))


def _cycle_error(chain: list[Node]) -> DefinitionError:
    return DefinitionError(
        "Graph: a node depends on its own output",
        place=_path(chain),
        expected="an acyclic graph",
        received=f"a cycle through {chain[-1]!r}",
        hint="create nodes only by calling layers, and never change them",
    )


def _chain_from(call: Node, open_calls: dict[int, Node]) -> list[Node]:
    chain = list(open_calls.values())
    return chain[next(n for n, held in enumerate(chain) if held is call) :]


def _path(chain: Sequence[Node]) -> str:
    """``Dense(3) → Add()``: how values flow, from the last of the chain to the first."""
    names = [repr(node.layer) if node.layer is not None else repr(node) for node in chain]
    if len(names) > 7:
        names = [*names[:3], "…", *names[-3:]]
    return " → ".join(reversed(names))


def _foreign_input_error(
    call: Input, output: Node, chain: list[Node], inputs: list[Node]
) -> DefinitionError:
    given = set(map(_key, inputs))
    is_reached = any(_key(node) in given for node in _upstream(output))
    return DefinitionError(
        "Graph: an output depends on an Input that is not in the list of inputs"
        if is_reached
        else "Graph: an output depends on none of the inputs",
        place=_path([*chain, call]),
        expected=f"outputs that depend on {', '.join(map(repr, inputs))}",
        received=f"{output!r}, which depends on {call!r} of another graph, or on an omitted one",
        hint="the order is Graph(inputs, outputs)"
        if any(node.origin[0] is output.origin[0] for start in inputs for node in _upstream(start))
        else "Graph([…, that Input], …), or call the layers on nodes of this graph",
    )


def _upstream(node: Node) -> list[Node]:
    """All nodes that a node depends on, in the order in which they are found."""
    found: dict[int, Node] = {}
    stack = [node]
    while stack:
        call, _ = stack.pop().origin
        if id(call) not in found:
            found[id(call)] = call
            stack.extend(reversed(call.sources))
    return list(found.values())
