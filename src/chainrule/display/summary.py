"""The summary of a model: what goes through it forward, and what comes back.

A layer maps y to z, and its `backward` maps Δ = ∂C/∂z to ∂C/∂y. A derivative has one number for
each number that it is taken by, so

    shape of Δ received = shape of the layer's output,
    shape of Δ returned = shape of the layer's input,

and one table with two columns of shapes says all of it: the values run down the table, the deltas
run up. ``print(summary(model))`` prints it; ``summary(model).rows`` are its rows for a program.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from attrs import define

from chainrule.core.errors import DefinitionError
from chainrule.core.initializers import Shape
from chainrule.core.layer import Layer
from chainrule.core.parameter import Parameter
from chainrule.core.tree import join, snake_case
from chainrule.core.wording import batch_of
from chainrule.graph.sequential import Sequential

Shapes = tuple[Shape, ...]

SHOWN = 60
"""A longer table is printed with its middle left out; `Summary.rows` has every row."""


def summary(model: Layer) -> Summary:
    """The layers of a model with their shapes and parameters, as a table that prints itself.

    A row stands for every place where a layer is, in the order in which `model.parameters` has
    them; sequences have none of their own, since all that they do is done by the layers in them.
    A layer that stands in several places has a row for each, and its parameters count once.

    Parameters
    ----------
    model
        Any layer, with others in it or not. Where it is not built yet, the table says ``?`` for
        the shapes, which come with building.

    Raises
    ------
    DefinitionError
        Where it is no layer.

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
    2,260 parameters, all learned · 0 states · 18,080 bytes in float64
    ¹ the Δ of the data: training does not ask for it
    """
    if not isinstance(model, Layer):
        raise DefinitionError(
            "summary is given something that is no layer",
            expected="a Layer such as Sequential([Dense(30), Dense(10)])",
            received=f"{model!r:.60}, of type {type(model).__name__}",
            mend="summary(trainer.model)" if hasattr(model, "model") else None,
        )
    rows = _rows(model)
    return Summary(
        name=type(model).__name__,
        rows=rows,
        input_shapes=model.input_shapes if model.is_built else (),
        dtype=str(model.dtype) if model.is_built else None,
    )


@define(frozen=True)
class Row:
    """One layer in one place.

    Attributes
    ----------
    place
        Its path, such as ``dense_1`` or ``sequential_1/dense_1``.
    layer
        Its configuration, such as ``Dense(30)``.
    input_shapes, output_shapes
        The shapes of a row of each input and output, without the batch axis; empty if unknown.
        A delta of the shapes of the outputs comes in on the way back, and one of the shapes of
        the inputs goes out.
    parameters, states
        How many numbers it learns, and how many it keeps but does not learn; those that are
        shared with a row above are not counted again.
    shares_with
        The place of the row above with which it shares parameters or states, if there is one.
    is_built
        Whether shapes and parameters are known.
    delta_is_asked_for
        Whether training needs the delta that it returns: not so for the first layer that learns
        and all before it.
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


@define(frozen=True, repr=False)
class Summary:
    """What `summary` returns: it prints as a table.

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
    """

    name: str
    rows: list[Row]
    input_shapes: Shapes
    dtype: str | None

    @property
    def is_built(self) -> bool:
        """Whether the model is built, and so shapes and parameters are known."""
        return self.dtype is not None

    @property
    def parameters(self) -> int:
        """How many numbers the model learns."""
        return sum(row.parameters for row in self.rows)

    @property
    def states(self) -> int:
        """How many numbers it keeps but does not learn, such as running means."""
        return sum(row.states for row in self.rows)

    @property
    def bytes(self) -> int:
        """The memory of both; the gradients take that of the parameters once more."""
        width = np.dtype(self.dtype).itemsize if self.dtype else 0
        return (self.parameters + self.states) * width

    def __str__(self) -> str:
        from rich.console import Console

        text = io.StringIO()
        console = Console(file=text, color_system=None, force_terminal=False, force_jupyter=False)
        # As wide as the terminal; where that is too narrow, lines are wrapped, but never cut.
        console.width = max(console.width, _total(_fitting(self, console.width)))
        console.print(self)
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    __repr__ = __str__

    def __rich_console__(self, console: Any, options: Any) -> Any:
        from rich.text import Text

        yield _table(self, options.max_width)
        for note in _notes(self):
            yield Text(note, style="dim")

    def _repr_html_(self) -> str:
        from rich.console import Console

        console = Console(file=io.StringIO(), width=100, record=True, force_jupyter=False)
        console.print(self)
        return console.export_html(
            inline_styles=True, code_format='<pre style="line-height: 1.3">{code}</pre>'
        )


# ------------------------------------------------------------------------------- the rows


def _rows(model: Layer) -> list[Row]:
    """A row for each layer that is no sequence. Nothing here calls itself, however deep it goes."""
    rows: list[Row] = []
    holders: dict[int, str] = {}  # by id, the first place of a parameter or a layer
    chain = _Chain(model)
    stack = [("", model, True)]
    while stack:
        path, layer, in_chain = stack.pop()
        is_sequence = type(layer) is Sequential
        if not is_sequence:
            place = path or snake_case(type(layer).__name__)
            rows.append(_row(place, layer, holders, chain if in_chain else None))
        stack.extend(
            (join(path, name), child, in_chain and is_sequence)
            for name, child in reversed(layer.children().items())
        )
    return rows


class _Chain:
    """The layers through which a batch goes one after the other, and how far it has come."""

    def __init__(self, model: Layer) -> None:
        self.shapes = model.input_shapes if model.is_built else ()
        self.has_learned = False  # whether a layer that learns has been passed

    def pass_through(self, layer: Layer, is_repeated: bool) -> tuple[Shapes, Shapes]:
        """The shapes before and after the layer."""
        before, after = layer.input_shapes, layer.output_shapes
        if is_repeated and self.shapes and self.shapes != before:
            # A layer without parameters may stand in two places with different shapes, and knows
            # only the first. An empty batch tells those of the second.
            before, after = self.shapes, _outputs_for(layer, self.shapes)
        self.shapes = after
        return before, after


def _row(place: str, layer: Layer, holders: dict[int, str], chain: _Chain | None) -> Row:
    before: Shapes = ()
    after: Shapes = ()
    is_repeated = id(layer) in holders
    shared: str | None = holders.setdefault(id(layer), place) if is_repeated else None
    holders.setdefault(id(layer), place)
    if layer.is_built:
        before, after = (
            chain.pass_through(layer, is_repeated)
            if chain is not None
            else (layer.input_shapes, layer.output_shapes)
        )
    counts = []
    for kept in (layer._parameters, layer._states):
        fresh = [p for p in kept.values() if id(p) not in holders]
        shared = shared or next((holders[id(p)] for p in kept.values() if id(p) in holders), None)
        counts.append(sum(p.size for p in _once(fresh)))
    for part in (*layer._parameters.values(), *layer._states.values()):
        holders.setdefault(id(part), place)
    asked_for = chain is None or chain.has_learned
    if chain is not None:
        chain.has_learned |= any(part._parameters for _, part in layer.walk())
    return Row(
        place=place,
        layer=_configuration(layer),
        input_shapes=before,
        output_shapes=after,
        parameters=counts[0],
        states=counts[1],
        shares_with=shared if layer._parameters or layer._states else None,
        is_built=layer.is_built,
        delta_is_asked_for=asked_for,
    )


def _once(parameters: list[Parameter]) -> list[Parameter]:
    return list({id(p): p for p in parameters}.values())


def _outputs_for(layer: Layer, shapes: Shapes) -> Shapes:
    inputs = [np.zeros((0, *shape), layer.dtype) for shape in shapes]
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            outputs = layer.apply(*inputs)
    except Exception:  # a table is no place to fail in: the first batch will say what is wrong
        return ()
    return tuple(y.shape[1:] for y in (outputs if isinstance(outputs, tuple) else (outputs,)))


def _configuration(layer: Layer) -> str:
    """The layer's repr where it is short, else its class: layers are also in their containers."""
    if layer.children():
        return type(layer).__name__
    text = repr(layer)
    return text if len(text) <= 40 and "\n" not in text else f"{type(layer).__name__}(…)"


# ------------------------------------------------------------------------------- the table

_PLACE, _CONFIGURATION, _OUTPUT, _DELTA = "layer", "", "output ↓", "Δ returned ↑"
_PARAMETERS, _STATES = "parameters", "states"
_GAP = 3  # between two columns
Line = tuple[str, ...]


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
    """The lines with as much as the width allows: configurations, then shapes that say batch."""
    whole = _lines(found)
    without = [line[:1] + line[2:] for line in whole]
    brief = [
        (line[0], *(cell.replace("(batch", "(n") for cell in line[1:3]), *line[3:])
        for line in without
    ]
    brief[0] = tuple({_DELTA: "Δ ret. ↑"}.get(title, title) for title in brief[0])
    return next((lines for lines in (whole, without) if _total(lines) <= width), brief)


def _widths(lines: list[Line]) -> list[int]:
    columns = zip(*lines, strict=True)
    return [max(len(part) for cell in column for part in cell.split("\n")) for column in columns]


def _total(lines: list[Line]) -> int:
    widths = _widths(lines)
    return sum(widths) + _GAP * (len(widths) - 1)


def _lines(found: Summary) -> list[Line]:
    """The table's cells, the titles first."""
    titles: Line = (_PLACE, _CONFIGURATION, _OUTPUT, _DELTA, _PARAMETERS, _STATES)
    empty = ("",) * (len(titles) - 1)
    lines = [titles]
    if found.is_built:
        lines.append(("input", "", _shapes(found.input_shapes), "", "", ""))
    container = ""
    for number, row in enumerate(found.rows):
        if len(found.rows) > SHOWN and SHOWN // 2 <= number < len(found.rows) - SHOWN // 2:
            if number == SHOWN // 2:
                lines.append((f"… {len(found.rows) - 2 * number:,} more …", *empty))
            continue
        above, _, name = row.place.rpartition("/")
        if above and above not in (container, found.rows[number - 1].place):
            lines.append((f"{_shortened(above)}/", *empty))
        container = above
        lines.append((f"  {name}" if above else name, *_line(row)))
    return lines if found.states else [line[:-1] for line in lines]


def _line(row: Row) -> Line:
    mark = "" if row.delta_is_asked_for or not row.is_built else " ¹"
    parameters = f"{row.parameters:,}" if row.is_built else "?"
    if row.shares_with and not row.parameters:
        parameters = f"as {_shortened(row.shares_with)}"
    return (
        row.layer,
        _shapes(row.output_shapes),
        _shapes(row.input_shapes) + mark,
        parameters,
        f"{row.states:,}",
    )


def _shapes(shapes: Shapes) -> str:
    return "\n".join(map(batch_of, shapes)) or "?"


def _shortened(place: str) -> str:
    """A path of many names by its first and its last."""
    parts = place.split("/")
    return place if len(place) <= 40 or len(parts) < 3 else f"{parts[0]}/…/{parts[-1]}"


def _notes(found: Summary) -> list[str]:
    if found.is_built:
        notes = [
            f"{found.parameters:,} parameters, all learned · {found.states:,} states · "
            f"{found.bytes:,} bytes in {found.dtype}"
        ]
    else:
        notes = [
            "not built yet: model.build((n,)) for rows of n numbers, or a first batch, brings the "
            "shapes and the parameters"
        ]
    if any(not row.delta_is_asked_for and row.is_built for row in found.rows):
        notes.append("¹ the Δ of the data: training does not ask for it")
    if any(row.shares_with for row in found.rows):
        notes.append("as …: the same parameters in another place; they count once")
    if len(found.rows) > SHOWN:
        notes.append(f"summary(model).rows has all {len(found.rows):,} rows")
    return notes
