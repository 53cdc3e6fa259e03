"""The summary of a model: a table of its layers, their shapes and their parameters.

A layer maps y to z, and its `backward` maps Δ = ∂C/∂z to ∂C/∂y. A derivative has one number for
each variable, so

    shape of Δ received = shape of the layer's output,
    shape of Δ returned = shape of the layer's input,

and two columns of shapes are enough: values flow down the table, deltas flow up. In a sequence,
the input of every layer is the output of the row above. In a graph, an additional column lists the
sources of each layer; each source gets the Δ next to it.
``print(summary(model))`` prints the table; ``summary(model).rows`` are its rows for a program.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from typing import Any

import attrs
import numpy as np
from attrs import define

from chainrule.core.hints import hinted
from chainrule.core.html_table import html_table
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of, not_a_layer
from chainrule.core.parameter import Parameter
from chainrule.core.terminal import encodable, printable, printed
from chainrule.core.tree import join, snake_case
from chainrule.core.types import Shape
from chainrule.graph.graph import Graph
from chainrule.graph.plan import Plan, learns
from chainrule.graph.unrolling import PlanStep, is_inlined_container

Shapes = tuple[Shape, ...]

SHOWN = 60
"""A longer table is printed without its middle; `Summary.rows` has every row."""


@hinted
def summary(model: Layer) -> Summary:
    """The layers of a model with their shapes and parameters, as a printable table.

    There is one row per layer, in the order of `model.parameters`. Containers such as
    `Sequential`, `Graph` and `Residual` have no row, because all computation happens in their
    layers. A shared layer has a row for each use, but its parameters count once. If the layers are
    not a simple sequence, a column lists the inputs of each layer.

    Parameters
    ----------
    model
        Any layer or container. If it is not built yet, the table shows ``?`` for the shapes.

    Raises
    ------
    DefinitionError
        If it is not a layer.

    Examples
    --------
    >>> model = Sequential([Dense(30), Activation("tanh"), Dense(10)])
    >>> model.build((64,), rng=0)
    >>> print(summary(model))                                                 # doctest: +SKIP
    layer                               output ↓      Δ returned ↑    parameters
    ────────────────────────────────────────────────────────────────────────────
    input                               (batch, 64)
    dense_1        Dense(30)            (batch, 30)   (batch, 64) ¹        1,950
    activation_1   Activation('tanh')   (batch, 30)   (batch, 30)              0
    dense_2        Dense(10)            (batch, 10)   (batch, 30)            310
    2,260 parameters, all learned · 0 buffers · 18,080 bytes (float64)
    ¹ the Δ of the data: training does not need it
    """
    if not isinstance(model, Layer):
        raise not_a_layer("summary", model)
    flow = _Flow(model) if model.is_built else None
    return Summary(
        name=type(model).__name__,
        rows=_rows(model, flow),
        input_shapes=model.input_shapes if model.is_built else (),
        dtype=str(model.dtype) if model.is_built else None,
        input_names=flow.names_of(flow.plan.inputs) if flow else (),
        output_names=flow.names_of(flow.plan.outputs) if flow else (),
        output_shapes=flow.shapes_of(flow.plan.outputs) or model.output_shapes if flow else (),
        is_chain=flow is None or flow.is_chain,
    )


@define(frozen=True)
class Row:
    """One use of a layer.

    Attributes
    ----------
    place
        Its path, such as ``dense_1`` or ``sequential_1/dense_1``.
    layer
        Its configuration, such as ``Dense(30)``.
    input_shapes, output_shapes
        The shapes of a row of each input and output, without the batch axis; empty if unknown. In
        the backward pass, the layer receives deltas with the shapes of the outputs and returns
        deltas with the shapes of the inputs.
    parameters, states
        The number of parameters, and the number of entries of buffers, which are kept but not
        learned. Those shared with a row above are not counted again.
    shares_with
        The place of the row above with which it shares parameters or buffers, if there is one.
    is_built
        Whether shapes and parameters are known.
    delta_is_asked_for
        Whether training needs the delta that it returns: only if an earlier layer has parameters
        that are not frozen.
    connected_to
        For each input the place of the layer that produces it, or the name of an input of the
        model. ``fork_1[0]`` is the first of several outputs. Empty if the model is not built, and
        for layers inside a layer that is not a container.
    frozen
        The number of frozen parameters, which training does not change.
    """

    place: str
    layer: str
    input_shapes: Shapes
    output_shapes: Shapes
    parameters: int
    states: int
    shares_with: str | None
    is_built: bool
    delta_is_asked_for: bool
    connected_to: tuple[str, ...] = ()
    frozen: int = 0


@define(frozen=True, repr=False)
class Summary:
    """The result of `summary`: prints as a table.

    Attributes
    ----------
    name
        The class of the model.
    rows
        A `Row` for each layer.
    input_shapes
        The shapes of a row of the model's inputs, without the batch axis; empty if not built.
    dtype
        ``"float32"`` or ``"float64"``; None if not built.
    input_names
        The names of the inputs.
    output_names, output_shapes
        The places of the layers that produce the outputs, as in ``Row.connected_to``, and the
        shapes of their rows.
    is_chain
        Whether the model is a simple sequence. If not, the table lists the inputs of each layer
        and names the inputs and outputs of the model.
    """

    name: str
    rows: list[Row]
    input_shapes: Shapes
    dtype: str | None
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    output_shapes: Shapes = ()
    is_chain: bool = True

    @property
    def is_built(self) -> bool:
        """Whether the model is built, so that shapes and parameters are known."""
        return self.dtype is not None

    @property
    def parameters(self) -> int:
        """The number of parameters of the model, including frozen ones."""
        return sum(row.parameters for row in self.rows)

    @property
    def frozen(self) -> int:
        """The number of frozen parameters; the others are learned."""
        return sum(row.frozen for row in self.rows)

    @property
    def states(self) -> int:
        """The number of entries of buffers, such as running means, which are not learned."""
        return sum(row.states for row in self.rows)

    @property
    def bytes(self) -> int:
        """The memory of parameters and buffers; gradients need that of the parameters again."""
        width = np.dtype(self.dtype).itemsize if self.dtype else 0
        return (self.parameters + self.states) * width

    @printable
    def __str__(self) -> str:
        # As wide as the terminal. In a narrow one, lines are wrapped, but never truncated.
        return printed(self, least=lambda width: _total(_fitting(self, width)))

    __repr__ = __str__

    def __rich_console__(self, console: Any, options: Any) -> Any:
        from rich.text import Text

        if options.ascii_only:  # or any other encoding without our signs
            yield Text(encodable(printed(self, width=options.max_width), options.encoding))
            return
        yield _table(self, options.max_width)
        for note in notes(self):
            yield Text(note, style="dim")

    def _repr_html_(self) -> str:
        titles, *lines = _lines(self)
        head = [title or "configuration" for title in titles]
        align = "".join("r" if title in (_PARAMETERS, _STATES) else "l" for title in head)
        return html_table(head, lines, align, notes=notes(self))


# ------------------------------------------------------------------------------- the rows


def _rows(model: Layer, flow: _Flow | None) -> list[Row]:
    """A row for each layer that is not a container. Not recursive, so any depth works."""
    rows: list[Row] = []
    holders: dict[int, str] = {}  # by id, the first place of a parameter
    has_learned = False  # for a model that is not built: whether a row above learns
    stack = [("", model, True)]
    while stack:
        path, layer, is_step = stack.pop()
        joins = is_inlined_container(layer)
        if not joins:
            place = path or snake_case(type(layer).__name__)
            row = _row(place, layer, holders)
            if is_step and flow is not None:
                row = flow.within(row, path)
            elif is_step:
                row = attrs.evolve(row, delta_is_asked_for=has_learned)
                has_learned |= learns(layer)
            rows.append(row)
        stack.extend(
            (join(path, name), child, is_step and joins)
            for name, child in reversed(layer.children().items())
        )
    return rows


def _row(place: str, layer: Layer, holders: dict[int, str]) -> Row:
    """The row of a layer, regardless of where it is used."""
    shared: str | None = None
    counts, frozen = [], 0
    for kept in (layer._parameters, layer._buffers):
        fresh = [p for p in kept.values() if id(p) not in holders]
        shared = shared or next((holders[id(p)] for p in kept.values() if id(p) in holders), None)
        counts.append(sum(p.size for p in _once(fresh)))
        frozen += sum(p.size for p in _once(fresh) if not p.trainable)
    for part in (*layer._parameters.values(), *layer._buffers.values()):
        holders.setdefault(id(part), place)
    return Row(
        place=place,
        layer=configuration(layer),
        input_shapes=layer.input_shapes if layer.is_built else (),
        output_shapes=layer.output_shapes if layer.is_built else (),
        parameters=counts[0],
        states=counts[1],
        frozen=frozen,
        shares_with=shared,
        is_built=layer.is_built,
        delta_is_asked_for=True,
    )


def _once(parameters: list[Parameter]) -> list[Parameter]:
    return list({id(p): p for p in parameters}.values())


def configuration(layer: Layer) -> str:
    """The layer's repr if it is short, else its class; for a container only its class."""
    if layer.children():
        return type(layer).__name__
    text = repr(layer)
    return text if len(text) <= 40 and "\n" not in text else f"{type(layer).__name__}(…)"


# ------------------------------------------------------------------------------- connections


class _Flow:
    """The plan of a built model: connections and shapes of the rows."""

    def __init__(self, model: Layer) -> None:
        self.plan = Plan.of(model)
        self.shapes = shapes_of_values(self.plan, model.input_shapes)
        self.asked = self.plan.asked_by_training()
        self.steps = {step.path: step for step in self.plan.steps}
        several = len(self.plan.inputs) > 1 or len(self.plan.outputs) > 1
        self.is_chain = is_chain(self.plan) and not (several and isinstance(model, Graph))

    def within(self, row: Row, path: str) -> Row:
        """The row of a step, with the shapes and connections of this use."""
        step = self.steps[path]
        return attrs.evolve(
            row,
            input_shapes=self.shapes_of(step.takes) or row.input_shapes,
            output_shapes=self.shapes_of(step.makes),
            delta_is_asked_for=self.asked.get(path) == "deltas",
            connected_to=self.names_of(step.takes),
        )

    def names_of(self, slots: Iterable[int]) -> tuple[str, ...]:
        return tuple(self.plan.names[slot] for slot in slots)

    def shapes_of(self, slots: Iterable[int]) -> Shapes:
        """The shapes of some values; empty if one of them is not known."""
        found = tuple(self.shapes[slot] for slot in slots)
        return () if None in found else found  # type: ignore[return-value]


def shapes_of_values(plan: Plan, input_shapes: Shapes) -> list[Shape | None]:
    """The shape of a row of the value in each slot of a plan; None if it is not known.

    A layer knows the shapes that it was built for. If it is used again with other shapes, an empty
    batch gives the shapes of its outputs.
    """
    shapes: list[Shape | None] = [*input_shapes, *[None] * (len(plan.names) - len(input_shapes))]
    for step in plan.steps:
        given = tuple(shapes[slot] for slot in step.takes)
        if None in given or given == step.layer.input_shapes:
            made: Shapes = step.layer.output_shapes
        else:
            made = _outputs_for(step, given)  # type: ignore[arg-type]
        if len(made) == len(step.makes):
            for slot, shape in zip(step.makes, made, strict=True):
                shapes[slot] = shape
    return shapes


def _outputs_for(step: PlanStep, shapes: Shapes) -> Shapes:
    layer = step.layer
    inputs = [np.zeros((0, *shape), layer.dtype) for shape in shapes]
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            outputs = layer.apply(*inputs)
    except Exception:  # printing a table should not fail; the first batch will report the error
        return ()
    return tuple(y.shape[1:] for y in (outputs if isinstance(outputs, tuple) else (outputs,)))


def is_chain(plan: Plan) -> bool:
    """Whether the inputs of each step are exactly the outputs of the previous one."""
    made = [plan.inputs, *(step.makes for step in plan.steps)]
    taken = [*(step.takes for step in plan.steps), plan.outputs]
    return made == taken


# ------------------------------------------------------------------------------- the table

_PLACE, _CONFIGURATION, _TAKES = "layer", "", "takes"
_OUTPUT, _DELTA, _DELTA_IN_BRIEF = "output ↓", "Δ returned ↑", "Δ ret. ↑"
_PARAMETERS, _STATES = "parameters", "buffers"
_GAP = 3  # between two columns
Line = tuple[str, ...]

LISTED = 8
"""If a layer has more inputs, some of them are omitted."""


def _table(found: Summary, width: int) -> Any:
    """The rows as a table."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    lines = _fitting(found, width)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, title in enumerate(lines[0]):
        table.add_column(
            title,
            justify="right" if title in (_PARAMETERS, _STATES) else "left",
            style="dim" if title == _CONFIGURATION else None,
            overflow="fold",
            no_wrap=number > 0,
            min_width=min(16, _widths(lines)[number]),
        )
    for line in lines[1:]:
        table.add_row(*map(Text, line))
    return table


def _fitting(found: Summary, width: int) -> list[Line]:
    """The lines that fit the width; configurations are omitted first, then "batch" is shortened."""
    whole = _lines(found)
    without = _without(whole, _CONFIGURATION)
    if found.is_chain:
        choices = [whole, without, _brief(without)]
    else:
        narrow = _brief(_without(_lines(found, in_brief=True), _CONFIGURATION))
        choices = [whole, _brief(whole), without, _brief(without), narrow]
    return next((lines for lines in choices if _total(lines) <= width), choices[-1])


def _brief(lines: list[Line]) -> list[Line]:
    """The lines with ``(n, 64)`` instead of ``(batch, 64)``."""
    shapes = [lines[0].index(_OUTPUT), lines[0].index(_DELTA)]
    titles = tuple({_DELTA: _DELTA_IN_BRIEF}.get(title, title) for title in lines[0])
    return [
        titles,
        *(
            tuple(c.replace("(batch", "(n") if n in shapes else c for n, c in enumerate(line))
            for line in lines[1:]
        ),
    ]


def _without(lines: list[Line], title: str) -> list[Line]:
    number = lines[0].index(title)
    return [line[:number] + line[number + 1 :] for line in lines]


def _widths(lines: list[Line]) -> list[int]:
    columns = zip(*lines, strict=True)
    return [max(len(part) for cell in column for part in cell.split("\n")) for column in columns]


def _total(lines: list[Line]) -> int:
    widths = _widths(lines)
    return sum(widths) + _GAP * (len(widths) - 1)


def _lines(found: Summary, in_brief: bool = False) -> list[Line]:
    """The cells of the table, starting with the titles."""
    titles: Line = (_PLACE, _CONFIGURATION, _TAKES, _OUTPUT, _DELTA, _PARAMETERS, _STATES)
    empty = ("",) * (len(titles) - 1)
    lines = [titles]
    for name, shapes in _inputs(found):
        lines.append((name, "", "", _shapes(shapes), "", "", ""))
    container = ""
    for number, row in enumerate(found.rows):
        if len(found.rows) > SHOWN and SHOWN // 2 <= number < len(found.rows) - SHOWN // 2:
            if number == SHOWN // 2:
                lines.append((f"… {len(found.rows) - 2 * number:,} more …", *empty))
            continue
        above, _, name = row.place.rpartition("/")
        if above and above not in (container, found.rows[number - 1].place):
            heading = f"{shortened(above)}/"
            lines.append((_broken(heading) if in_brief else heading, *empty))
        container = above
        lines.append((f"  {name}" if above else name, *_line(row, in_brief)))
    if not found.is_chain:
        names = [shortened(name) for name in found.output_names]
        ends = [batch_of(shape) for shape in found.output_shapes]
        if in_brief and len(names) == len(ends):
            names = list(map(_broken, names))
            ends = _beside(names, ends)
        lines.append(("output", "", _cut(names), _cut(ends) or "?", "", "", ""))
    lines = lines if found.states else _without(lines, _STATES)
    return _without(lines, _TAKES) if found.is_chain else lines


def _inputs(found: Summary) -> list[tuple[str, Shapes]]:
    """The lines of the inputs; in a simple sequence one line for all of them."""
    if not found.is_built:
        return []
    if found.is_chain and len(found.input_names) > 1:
        return [("input", found.input_shapes)]
    pairs = zip(found.input_names, found.input_shapes, strict=True)
    return [(name, (shape,)) for name, shape in pairs]


def _line(row: Row, in_brief: bool) -> Line:
    parameters = f"{row.parameters:,}" if row.is_built else "?"
    if row.frozen:
        parameters += " frozen" if row.frozen == row.parameters else f", {row.frozen:,} frozen"
    if row.shares_with and not row.parameters:
        parameters = f"as {shortened(row.shares_with)}"
        if in_brief:
            parameters = f"as\n{_broken(shortened(row.shares_with))}"
    takes = [shortened(name) for name in row.connected_to]
    deltas = [batch_of(shape) for shape in row.input_shapes] or ["?"]
    if row.is_built and not row.delta_is_asked_for:
        deltas[-1] += " ¹"
    if in_brief and len(takes) == len(deltas):
        container = row.place.rpartition("/")[0]
        takes = [_broken(seen_from(container, name)) for name in row.connected_to]
        deltas = _beside(takes, deltas)
    return (
        row.layer,
        _cut(takes),
        _shapes(row.output_shapes),
        _cut(deltas),
        parameters,
        f"{row.states:,}",
    )


def _beside(names: list[str], cells: list[str]) -> list[str]:
    """The cells, padded to as many lines as the names that they belong to."""
    return [cell + "\n" * name.count("\n") for name, cell in zip(names, cells, strict=True)]


def _shapes(shapes: Shapes) -> str:
    return _cut([batch_of(shape) for shape in shapes]) or "?"


def _cut(cells: list[str]) -> str:
    """One line per cell; if there are too many, some are omitted."""
    if len(cells) > LISTED:
        half = LISTED // 2
        cells = [*cells[:half], f"… {len(cells) - 2 * half:,} more", *cells[-half:]]
    return "\n".join(cells)


def shortened(place: str, length: int = 40) -> str:
    """A long path, shortened to its first and last name."""
    parts = place.split("/")
    return place if len(place) <= length or len(parts) < 3 else f"{parts[0]}/…/{parts[-1]}"


def seen_from(container: str, place: str) -> str:
    """A shortened place: one in the same container is written without the container's path."""
    if container and place.startswith(container + "/"):
        place = f"…{place[len(container) :]}"
    return shortened(place)


def _broken(path: str) -> str:
    """A path, wrapped to lines of at most 18 characters if its names allow it."""
    lines = [""]
    for part in re.findall("[^/]*/|[^/]+", path):
        if lines[-1] and len(lines[-1] + part) > 18:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def notes(found: Summary) -> list[str]:
    """The lines below the table."""
    if found.is_built:
        learned = f"{found.parameters - found.frozen:,} learned, {found.frozen:,} frozen"
        notes = [
            f"{found.parameters:,} parameters, {learned if found.frozen else 'all learned'} · "
            f"{found.states:,} buffers · {found.bytes:,} bytes ({found.dtype})"
        ]
    else:
        notes = [
            "not built yet: model.build((n,)) for rows of n numbers, or the first batch, creates "
            "the parameters and determines the shapes"
        ]
    if any(not row.delta_is_asked_for and row.is_built for row in found.rows):
        whose = "the data and of frozen layers" if found.frozen else "the data"
        notes.append(f"¹ the Δ of {whose}: training does not need it")
    if any(row.shares_with for row in found.rows):
        notes.append("as …: shares its parameters with another layer; they count once")
    if len(found.rows) > SHOWN:
        notes.append(f"summary(model).rows has all {len(found.rows):,} rows")
    return notes
