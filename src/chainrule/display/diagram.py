"""The diagram of a model: its layers as boxes, and on every arrow the shape of the values.

A model is a directed acyclic graph. Values flow along its arrows, deltas flow back along the same
arrows, and where arrows split, the deltas add up:

    Δ = Σ_n J_nᵀ Δ_n        over the arrows n that leave a box

So the drawing shows at a glance where deltas are summed (arrows split) and where a layer returns
several of them (arrows meet). ``print(diagram(model))`` draws it for a terminal, with the arrows
as lines on the left; ``diagram(model).mermaid`` is a Mermaid flowchart, which notebooks, GitHub
and many wikis display.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeAlias

from attrs import define, field

from chainrule.core.hints import hinted
from chainrule.core.layer import Layer
from chainrule.core.messages import not_a_layer
from chainrule.core.terminal import for_terminal, printable
from chainrule.core.tree import join, snake_case
from chainrule.core.types import Shape
from chainrule.display.summary import configuration, seen_from, shapes_of_values, shortened
from chainrule.graph.composite import ALL
from chainrule.graph.graph import Graph
from chainrule.graph.plan import Plan
from chainrule.graph.unrolling import is_inlined_container

SHOWN = 60
"""In a terminal, a longer diagram is printed without its middle."""
PLACE = 60
"""A longer path is shortened to its first and last name."""
LANES = 12
"""If more values than this are in use at once, the lines on the left are omitted."""
LISTED = 6
"""If a layer has more inputs, only the first and last ones are listed."""
LONG = 80
"""In longer lines, sources in the same container are written as ``…/dense_1``."""
MERMAID_EDGES, MERMAID_CHARACTERS = 500, 50_000
"""Mermaid's default limits."""

Value: TypeAlias = tuple[int, int]
"""The number of a box and the index of its output; `ALL` if it has only one."""


@hinted
def diagram(model: Layer) -> Diagram:
    """Draw the layers of a model and the connections between them.

    Containers such as `Sequential`, `Graph` and `Residual` are frames around their layers. A
    shared layer has a box for each use.

    Parameters
    ----------
    model
        Any layer or container. If it is not built yet, the arrows have no shapes.

    Raises
    ------
    DefinitionError
        If it is not a layer.

    Examples
    --------
    >>> model = Sequential([Dense(32), Residual(Dense(32), Activation("tanh"))])
    >>> model.build((64,), rng=0)
    >>> print(diagram(model))
    ○    input
    │    64
    ●    dense_1                  Dense(32)
    │    32
    ├─╮
    │ ●  residual_1/dense_1       Dense(32)
    │ │  32
    │ ●  residual_1/activation_1  Activation('tanh')
    │ │  32
    ├─╯
    ●    residual_1/add           Add()  ← dense_1, residual_1/activation_1
    │    32
    ○    output
    """
    if not isinstance(model, Layer):
        raise not_a_layer("diagram", model)
    found = _Found()
    ends = _read_plan(model, found) if model.is_built else _read_calls(model, found)
    for number, value in enumerate(ends):
        name = "output" if len(ends) == 1 else f"output_{number + 1}"
        found.add(Box("output", name), [value])
    return Diagram(type(model).__name__, found.boxes, found.edges)


@define(frozen=True)
class Box:
    """An input, one use of a layer, or an output.

    Attributes
    ----------
    kind
        ``"input"``, ``"layer"`` or ``"output"``.
    place
        Its path, such as ``residual_1/dense_1``, or the name of an input or output.
    layer
        The layer's configuration, such as ``Dense(30)``; empty for inputs and outputs.
    shares_with
        The place of the first box with the same parameters, if there is one; before building, of
        the first box with the same layer.
    """

    kind: Literal["input", "layer", "output"]
    place: str
    layer: str = ""
    shares_with: str | None = None


@define(frozen=True)
class Edge:
    """A value that flows from one box to another.

    Attributes
    ----------
    source, target
        The numbers of the boxes in ``Diagram.boxes``.
    output
        The index of the output of the source; −1 if it has only one.
    shape
        The shape of a row, without the batch axis; None if it is not known.
    """

    source: int
    target: int
    output: int
    shape: Shape | None

    @property
    def label(self) -> str:
        """``8×8`` for rows of shape (8, 8)."""
        return _label(self.output, self.shape)


@define(frozen=True, repr=False)
class Diagram:
    """The result of `diagram`: prints as a drawing, also in notebooks.

    Attributes
    ----------
    name
        The class of the model.
    boxes
        Inputs, layers and outputs, in topological order: each after its sources.
    edges
        The connections, in the order of their targets.
    """

    name: str
    boxes: list[Box]
    edges: list[Edge]

    @property
    def mermaid(self) -> str:
        """The diagram as the text of a Mermaid flowchart."""
        return for_terminal("\n".join(_mermaid(self)))

    @printable
    def __str__(self) -> str:
        return "\n".join(_drawing(self))

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        # For a larger diagram, Mermaid shows an error instead.
        if not self._is_for_mermaid():
            return f"```text\n{self}\n```"
        return f"```mermaid\n{self.mermaid}\n```"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        bundle = {"text/plain": str(self), "text/markdown": self._repr_markdown_()}
        if self._is_for_mermaid():
            bundle["text/vnd.mermaid"] = self.mermaid
        return bundle

    def _is_for_mermaid(self) -> bool:
        return len(self.edges) <= MERMAID_EDGES and len(self.mermaid) <= MERMAID_CHARACTERS


# ------------------------------------------------------------------------------- reading a model


@define
class _Found:
    """The boxes and edges found so far."""

    boxes: list[Box] = field(factory=list)
    edges: list[Edge] = field(factory=list)
    shapes: dict[Value, Shape | None] = field(factory=dict)
    holders: dict[int, str] = field(factory=dict)  # by id, the first place of a shareable object

    def add(self, box: Box, takes: Iterable[Value]) -> int:
        """Add a box with the edges that lead to it; return its number."""
        number = len(self.boxes)
        self.boxes.append(box)
        self.edges.extend(
            Edge(source, number, output, self.shapes.get((source, output)))
            for source, output in takes
        )
        return number

    def add_layer(self, place: str, layer: Layer, takes: Iterable[Value]) -> int:
        shared = _what_can_be_shared(layer)
        first = next((self.holders[part] for part in shared if part in self.holders), None)
        for part in shared:
            self.holders.setdefault(part, place)
        return self.add(Box("layer", place, configuration(layer), first), takes)


def _what_can_be_shared(layer: Layer) -> list[int]:
    """The ids of a layer's parameters; before building, of the layers that may have parameters."""
    parts = [part for _, part in layer.walk()]
    if layer.is_built:
        return [id(p) for part in parts for p in part._parameters.values()]
    return [id(part) for part in parts if type(part).build is not Layer.build]


def _read_plan(model: Layer, found: _Found) -> list[Value]:
    """Add the boxes of a built model; return the values that are its outputs."""
    plan = Plan.of(model)
    shapes = shapes_of_values(plan, model.input_shapes)
    values: dict[int, Value] = {}

    def note(slots: tuple[int, ...], box: int) -> None:
        for output, slot in enumerate(slots):
            values[slot] = (box, ALL if len(slots) == 1 else output)
            found.shapes[values[slot]] = shapes[slot]

    for slot in plan.inputs:
        note((slot,), found.add(Box("input", plan.names[slot]), []))
    for step in plan.steps:
        place = step.path or plan.name
        note(step.makes, found.add_layer(place, step.layer, [values[s] for s in step.takes]))
    return [values[slot] for slot in plan.outputs]


@define
class _Frame:
    """A container whose layers are being read, before it is built."""

    container: Any
    path: str
    made: list[list[Value]]
    layers: list[tuple[str, Layer]] = field(init=False)
    calls: Any = field(init=False)
    starts: int = field(init=False)  # the number of inputs that it declares
    number: int = 0

    def __attrs_post_init__(self) -> None:
        self.layers = list(self.container.children().items())
        self.calls = self.container.calls(len(self.layers))
        self.starts = len(self.container.starts) if isinstance(self.container, Graph) else 1

    def values_of(self, sources: Iterable[tuple[int, int]]) -> list[Value]:
        """The values of some sources. The number of a layer's outputs is known after building."""
        found: list[Value] = []
        for node, output in sources:
            values = self.made[node]
            if output == ALL:
                found.extend(values)
            elif node == 0 and len(values) == self.starts:
                found.append(values[output])
            elif len(values) == 1 and values[0][1] == ALL:
                found.append((values[0][0], output))
            else:
                found.append(values[output])
        return found


def _read_calls(model: Layer, found: _Found) -> list[Value]:
    """Add the boxes of a model that is not built, from the calls that its containers declare."""
    starts = model.starts if isinstance(model, Graph) else ((None, None),)
    names = model.input_names(len(starts)) if isinstance(model, Graph) else ["input"]
    inputs = [(found.add(Box("input", name), []), ALL) for name in names]
    found.shapes.update(zip(inputs, (shape for _, shape in starts), strict=True))
    if not is_inlined_container(model):
        return [(found.add_layer(snake_case(type(model).__name__), model, inputs), ALL)]
    stack = [_Frame(model, "", [inputs])]
    while True:
        frame = stack[-1]
        if frame.number == len(frame.layers):
            ends = frame.values_of(frame.container.ends(len(frame.layers)))
            stack.pop()
            if not stack:
                return ends
            stack[-1].made.append(ends)
            continue
        name, layer = frame.layers[frame.number]
        takes = frame.values_of(frame.calls[frame.number])
        path = join(frame.path, name)
        frame.number += 1
        if is_inlined_container(layer):
            stack.append(_Frame(layer, path, [takes]))
        else:
            frame.made.append([(found.add_layer(path, layer, takes), ALL)])


def _label(output: int, shape: Shape | None) -> str:
    sizes = ["any" if n is None else str(n) for n in shape or ()]
    text = "" if shape is None else "×".join(sizes) or "()"
    return text if output == ALL else f"[{output}] {text}".rstrip()


# ------------------------------------------------------------------------------- as Mermaid


def _mermaid(found: Diagram) -> Iterator[str]:
    """The lines of the flowchart: boxes in their frames, edges, and the style of shared layers."""
    yield "flowchart TD"
    yield from _frames(found.boxes)
    for edge in found.edges:
        label = f'|"{_escaped(edge.label)}"|' if edge.label else ""
        yield f"    n{edge.source} -->{label} n{edge.target}"
    shared = [f"n{number}" for number, box in enumerate(found.boxes) if box.shares_with]
    if shared:
        yield "    classDef shared stroke-dasharray: 5 4"
        yield f"    class {','.join(shared)} shared"


def _frames(boxes: list[Box]) -> Iterator[str]:
    """The boxes; those of a container are between ``subgraph`` and ``end``."""
    opened: list[str] = []
    frames = 0
    for number, box in enumerate(boxes):
        *containers, name = box.place.split("/")
        shared = 0
        while shared < min(len(opened), len(containers)) and opened[shared] == containers[shared]:
            shared += 1
        while len(opened) > shared:
            opened.pop()
            yield f"{_indent(len(opened))}end"
        for container in containers[shared:]:
            yield f'{_indent(len(opened))}subgraph g{frames}["{_escaped(container)}"]'
            opened.append(container)
            frames += 1
        lines = [name, box.layer, box.shares_with and f"shared with {shortened(box.shares_with)}"]
        text = "<br/>".join(_escaped(line) for line in lines if line)
        begin, end = ("[", "]") if box.kind == "layer" else ("([", "])")
        yield f'{_indent(len(opened))}n{number}{begin}"{text}"{end}'
    while opened:
        opened.pop()
        yield f"{_indent(len(opened))}end"


def _indent(depth: int) -> str:
    return "    " * min(depth + 1, 10)


def _escaped(text: str) -> str:
    """The text of a label, with special characters of Mermaid, Markdown and HTML as entities."""
    plain = []
    for before, letter, after in zip(f" {text}", text, f"{text[1:]} ", strict=False):
        within_a_name = letter == "_" and before.isalnum() and after.isalnum()
        harmless = letter.isalnum() or letter in " ,/×…" or within_a_name
        plain.append(letter if harmless else f"#{ord(letter)};")
    return "".join(plain)


# ------------------------------------------------------------------------------- for a terminal

_DOTS = {"input": "○", "layer": "●", "output": "○"}


def _drawing(found: Diagram) -> Iterator[str]:
    """A line for each box, followed by a line with the shapes of its outputs."""
    boxes = found.boxes
    takes, makes = _at_each_box(found)
    shown = _shown(len(boxes))
    lanes = _lanes(boxes, takes, makes)
    width = max(len(shortened(boxes[number].place, PLACE)) for number in shown)
    margin = max((len(row) for number in shown for row in lanes[number]), default=1) if lanes else 1
    for before, number in zip([-1, *shown], shown, strict=False):
        if number > before + 1:
            yield from ("", f"{'⋮':<{margin}}  … {number - before - 1:,} more …", "")
        text = _described(found, number, takes[number], width, is_listed=not lanes)
        shapes = ", ".join(dict.fromkeys(edge.label for edge in makes[number] if edge.label))
        if lanes:
            *above, dot, below = lanes[number]
            yield from (line.rstrip() for line in above)
            yield f"{dot:<{margin}}  {text}"
            if below.strip():
                yield f"{below:<{margin}}  {shapes}".rstrip()
        else:
            yield f"{_DOTS[boxes[number].kind]}  {text}" + (f"  → {shapes}" if shapes else "")


def _shown(count: int) -> list[int]:
    """The numbers of the boxes that are printed."""
    if count <= SHOWN:
        return list(range(count))
    return [*range(SHOWN // 2), *range(count - SHOWN // 2, count)]


def _at_each_box(found: Diagram) -> tuple[list[list[Edge]], list[list[Edge]]]:
    """The edges that lead to each box, and those that leave it."""
    takes: list[list[Edge]] = [[] for _ in found.boxes]
    makes: list[list[Edge]] = [[] for _ in found.boxes]
    for edge in found.edges:
        takes[edge.target].append(edge)
        makes[edge.source].append(edge)
    return takes, makes


def _described(found: Diagram, number: int, takes: list[Edge], width: int, is_listed: bool) -> str:
    """``dense_2  Dense(32)  ← dense_1``; a source on the line above is not mentioned."""
    box = found.boxes[number]
    parts = (
        [f"{shortened(box.place, PLACE):<{width}}", box.layer]
        if box.layer
        else [shortened(box.place, PLACE)]
    )
    if takes and (is_listed or len(takes) > 1 or takes[0].source != number - 1):
        names = _listed([_source(found, edge) for edge in takes])
        if len("  ".join([*parts, names])) > LONG:
            container = box.place.rpartition("/")[0]
            names = _listed([seen_from(container, _source(found, edge)) for edge in takes])
        parts.append(f"← {names}")
    if box.shares_with is not None:
        parts.append(f"(shared with {shortened(box.shares_with)})")
    return "  ".join(parts)


def _source(found: Diagram, edge: Edge) -> str:
    place = found.boxes[edge.source].place
    return place if edge.output == ALL else f"{place}[{edge.output}]"


def _listed(names: list[str]) -> str:
    half = LISTED // 2
    if len(names) > LISTED:
        names = [*names[:half], f"… {len(names) - 2 * half:,} more …", *names[-half:]]
    return ", ".join(map(shortened, names))


def _lanes(boxes: list[Box], takes: list[list[Edge]], makes: list[list[Edge]]) -> list[list[str]]:
    """For each box the lines on its left; the last two contain its dot and its outputs.

    A value has a lane from the box that produces it to the last one that uses it. The result is
    empty if there are too many lanes.
    """
    last = {(edge.source, edge.output): edge.target for edges in takes for edge in edges}
    lanes: list[Value | None] = []
    drawn: list[list[str]] = []
    for number, box in enumerate(boxes):
        taken = {(edge.source, edge.output) for edge in takes[number]}
        up = {lane for lane, value in enumerate(lanes) if value in taken}
        ending = {lane for lane in up if last[lanes[lane]] == number}  # type: ignore[index]
        own = min(ending) if ending else _free(lanes, min(up, default=-1))
        for lane in ending:
            lanes[lane] = None
        lines = [_crossing(lanes, up, {own} | (up - ending))] if up - {own} else []
        dots = ["│" if value is not None else " " for value in lanes]
        dots[own] = _DOTS[box.kind]
        lines.append(" ".join(dots).rstrip())
        begun: set[int] = set()
        for value in sorted({(edge.source, edge.output) for edge in makes[number]}):
            lane = _free(lanes, own) if begun else own
            lanes[lane] = value
            begun.add(lane)
        while lanes and lanes[-1] is None:
            lanes.pop()
        going_on = " ".join("│" if value is not None else " " for value in lanes)
        lines.append(_crossing(lanes, {own}, begun) if len(begun) > 1 else going_on)
        if len(lanes) > LANES:
            return []
        drawn.append(lines)
    return drawn


def _free(lanes: list[Value | None], beyond: int) -> int:
    """A free lane, if possible to the right of another one."""
    free = [lane for lane, value in enumerate(lanes) if value is None]
    if not free:
        lanes.append(None)
        return len(lanes) - 1
    return min(free, key=lambda lane: (lane < beyond, lane))


_LINES = {
    (True, True, False, True): "├",
    (True, True, True, False): "┤",
    (True, True, True, True): "┼",
    (True, False, False, True): "╰",
    (True, False, True, False): "╯",
    (True, False, True, True): "┴",
    (False, True, False, True): "╭",
    (False, True, True, False): "╮",
    (False, True, True, True): "┬",
}
"""The character for a line that goes up, down, left and right from here, or does not."""


def _crossing(lanes: list[Value | None], up: set[int], down: set[int]) -> str:
    """The line that connects some lanes from above with some that continue below."""
    first, last = min(up | down), max(up | down)
    cells = []
    for lane in range(max(len(lanes), last + 1)):
        within = first <= lane < last
        if lane in up | down:
            cells.append(_LINES[lane in up, lane in down, lane > first, lane < last])
        elif lane < len(lanes) and lanes[lane] is not None:
            cells.append("│")  # a crossing without connection
        else:
            cells.append("─" if within else " ")
        cells.append("─" if within else " ")
    return "".join(cells).rstrip()
