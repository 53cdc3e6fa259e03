"""A node: one call of a layer on the results of other calls.

    x = Input((64,))                 an input of the graph
    h = Dense(32)(x)                 a node: this layer, called on x
    y = Add()(h, Dense(32)(x))       another: it takes two values

Nothing is computed here. A node only records the layer and the nodes that it was called on, and
never changes. `Graph` makes a layer of everything between its inputs and its outputs. A layer that
is called twice has two nodes and one set of parameters.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from chainrule.core.errors import ConfigurationError, DefinitionError, shortened
from chainrule.core.hints import Hinted
from chainrule.core.messages import batch_of, label
from chainrule.core.terminal import printable
from chainrule.core.types import Shape

if TYPE_CHECKING:
    from chainrule.core.layer import Layer


@frozen(eq=False, repr=False)
class Node(Hinted):
    """One call of a layer. You create it by calling the layer on nodes, not directly.

    A layer with several outputs returns one node for all of them; ``node[0]`` is the first output,
    and ``a, b = node`` unpacks them. If a layer is called on such a node itself, it takes all
    outputs as its inputs.

    Attributes
    ----------
    layer
        The layer that is called.
    sources
        The nodes that it is called on.
    """

    layer: Layer | None
    sources: tuple[Node, ...]
    known: list[tuple[Shape, ...]] = field(factory=list, init=False)
    """The shapes of the outputs, once they have been computed; see `output_shapes_of`."""

    def extended_by(self, layer: Layer, inputs: tuple[Any, ...]) -> Node:
        """The node for a call of a layer on nodes, for `Layer.__call__`."""
        for number, node in enumerate(inputs):
            if not isinstance(node, Node):
                raise DefinitionError(
                    f"{label(layer)} is called on a node and on something else",
                    expected="only nodes, or only arrays",
                    received=f"argument {number} is {described(node)}",
                    hint="to pass an array into a graph, give the graph another Input",
                )
        return Node(layer, inputs)

    @property
    def origin(self) -> tuple[Node, int]:
        """The call that computes this value, and the number of the output; −1 for all outputs."""
        return self, -1

    def __getitem__(self, output: int) -> Node:
        try:
            number = operator.index(output)
        except TypeError:
            number = -1
        if number < 0:
            raise ConfigurationError(
                f"invalid number of an output of {self!r}",
                expected="node[0] for the first output",
                received=repr(output),
                hint="to slice rows, call Slice(start, stop) on the node",
            )
        return Output(self.layer, self.sources, of=self, number=number)

    def __iter__(self) -> Iterator[Node]:
        from chainrule.graph.graph import output_shapes_of

        return iter([self[n] for n in range(len(output_shapes_of(self)))])

    def _refuse_arithmetic(self, *arguments: Any, **how: Any) -> Any:
        raise DefinitionError(
            f"{self!r} is a node of a graph and contains no numbers",
            expected="a layer that is called on nodes, each a separate argument",
            received="a node in an array operation, or in a list",
            hint="Add()(a, b), Multiply()(a, b), Activation('tanh')(a), or your own layer",
        )

    if not TYPE_CHECKING:  # so that type checkers report it, too
        __array__ = __array_ufunc__ = __array_function__ = _refuse_arithmetic
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse_arithmetic
        __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __neg__ = _refuse_arithmetic
        __matmul__ = __rmatmul__ = _refuse_arithmetic

    @printable
    def __repr__(self) -> str:
        given = ["…" if node.sources else repr(node) for node in self.sources]
        return f"{label(self.layer) if self.layer else 'Node'}({', '.join(given)})"


@frozen(eq=False, repr=False)
class Output(Node):
    """One output of a node with several."""

    of: Node = field(kw_only=True)
    number: int = field(kw_only=True)

    @property
    def origin(self) -> tuple[Node, int]:
        """The call that computes this value, and the number of the output."""
        return self.of, self.number

    def __getitem__(self, output: int) -> Node:
        raise ConfigurationError(
            f"{self!r} is already a single output",
            expected="the node of a layer with several outputs",
            received=f"[{output!r}] of it",
            hint="to slice rows, call Slice(start, stop) on the node",
        )

    def __iter__(self) -> Iterator[Node]:
        return iter([self])

    def __repr__(self) -> str:
        return f"{self.of!r}[{self.number}]"


def _as_shape(shape: Any) -> Shape | None:
    if shape is None:
        return None
    try:
        axes: Any = tuple(None if n is None else operator.index(n) for n in shape)
    except TypeError:
        axes = (-1,)
    if isinstance(shape, str) or any(n is not None and n < 0 for n in axes):
        raise ConfigurationError(
            "Input: invalid shape of a row",
            expected="a tuple of integers, without the batch axis, such as (64,), or with None for "
            "an axis of any size",
            received=shortened(shape),
            hint=f"Input(({shape},))" if isinstance(shape, int) else None,
        )
    found: Shape = axes
    return found


def _as_name(name: Any) -> str | None:
    if name is None or (isinstance(name, str) and name.isidentifier()):
        return name
    raise ConfigurationError(
        "Input: invalid name",
        expected="letters, digits and underscores, such as 'image'",
        received=shortened(name),
    )


@frozen(eq=False, repr=False)
class Input(Node):
    """An input of a graph.

    Parameters
    ----------
    shape
        The shape of a row, without the batch axis, such as ``(64,)``; None stands for an axis whose
        size may differ from batch to batch, as in ``(None, None, 3)``. By default the shape of the
        first batch.
    name
        The name in error messages and tables. By default ``input``, or ``input_1`` and so on.

    Raises
    ------
    ConfigurationError
        If the shape or the name is not valid.

    Examples
    --------
    >>> Input((64,))
    Input((64,))
    """

    layer: None = field(init=False, default=None)
    sources: tuple[Node, ...] = field(init=False, default=())
    shape: Shape | None = field(default=None, converter=_as_shape)
    name: str | None = field(default=None, converter=_as_name)

    def __iter__(self) -> Iterator[Node]:
        return iter([self])

    def __getitem__(self, output: int) -> Node:
        raise ConfigurationError(
            f"{self!r} is a single array",
            received=f"[{output!r}] of it",
            hint="to slice rows, call Slice(start, stop) on it",
        )

    def __repr__(self) -> str:
        parts = [] if self.shape is None else [repr(self.shape)]
        if self.name:
            parts.append(f"name={self.name!r}")
        return f"Input({', '.join(parts)})"


def described(node: Node) -> str:
    """A node in an error message."""
    if isinstance(node, Input) and node.shape is not None:
        return f"{node!r}, rows {batch_of(node.shape)}"
    return repr(node)
