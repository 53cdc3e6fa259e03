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

from chainrule.core.contract import batch_of
from chainrule.core.errors import DefinitionError
from chainrule.core.initializers import Shape
from chainrule.core.layer import Layer
from chainrule.core.parameter import Parameter
from chainrule.core.tree import join, snake_case
from chainrule.graph.sequential import Sequential

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
    layer         what                output ↓       Δ back ↑        parameters
    ───────────────────────────────────────────────────────────────────────────
    input                             (batch, 64)
    dense_1       Dense(30)           (batch, 30)    (batch, 64) ¹        1,950
    activation_1  Activation('tanh')  (batch, 30)    (batch, 30)              0
    dense_2       Dense(10)           (batch, 10)    (batch, 30)            310
    ───────────────────────────────────────────────────────────────────────────
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
    input_shapes: tuple[Shape, ...]
    output_shapes: tuple[Shape, ...]
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
    input_shapes: tuple[Shape, ...]
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

        # As wide as the terminal, or 80 columns where there is none; never a code for a colour.
        text = io.StringIO()
        console = Console(file=text, color_system=None, force_terminal=False, force_jupyter=False)
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
    """A row for each layer that is no sequence; nothing here calls itself, however deep they are."""
    rows: list[Row] = []
    holders: dict[int, str] = {}  # by the id of a parameter or layer, the place that has it first
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

    def pass_through(self, layer: Layer, is_repeated: bool) -> tuple[tuple[Shape, ...], ...]:
        """The shapes before and after the layer."""
        before, after = layer.input_shapes, layer.output_shapes
        if is_repeated and self.shapes != before:
            # A layer without parameters may stand in two places with different shapes, and knows
            # only the first. An empty batch tells those of the second.
            before, after = self.shapes, _outputs_for(layer, self.shapes)
        self.shapes = after
        return before, after


def _row(place: str, layer: Layer, holders: dict[int, str], chain: _Chain | None) -> Row:
    before: tuple[Shape, ...] = ()
    after: tuple[Shape, ...] = ()
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


def _outputs_for(layer: Layer, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
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


def _table(found: Summary, width: int) -> Any:
    """The rows as a table; where the width does not suffice, without the layers' configuration."""
    from rich import box
    from rich.table import Table

    lines = _lines(found)
    if sum(max(map(_width, column)) + 2 for column in zip(*lines, strict=True)) - 2 > width:
        lines = [(line[0], *line[2:]) for line in lines]
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), show_footer=False
    )
    for name in lines[0]:
        numbers = name in (_PARAMETERS, _STATES)
        table.add_column(
            name,
            justify="right" if numbers else "left",
            style="dim" if name == _CONFIGURATION else "",
            overflow="fold",
            no_wrap=name in (_OUTPUT, _DELTA) and width >= 40,
        )
    for line in lines[1:]:
        table.add_row(*line)
    return table


_PLACE, _CONFIGURATION, _OUTPUT, _DELTA = "layer", "", "output ↓", "Δ returned ↑"
_PARAMETERS, _STATES = "parameters", "states"


def _lines(found: Summary) -> list[tuple[str, ...]]:
    """The table's cells, the titles first."""
    titles = [_PLACE, _CONFIGURATION, _OUTPUT, _DELTA, _PARAMETERS]
    lines = [["input", "", _shapes(found.input_shapes), "", ""]] if found.is_built else []
    half = SHOWN // 2
    for number, row in enumerate(found.rows):
        if len(found.rows) <= SHOWN or not half <= number < len(found.rows) - half:
            lines.append(_line(row))
        elif number == half:
            lines.append([f"… {len(found.rows) - 2 * half:,} more …", "", "", "", ""])
    if found.states:
        titles.append(_STATES)
        shown = {_shortened(row.place): f"{row.states:,}" for row in found.rows}
        lines = [[*line, shown.get(line[0], "")] for line in lines]
    return [tuple(titles), *map(tuple, lines)]


def _line(row: Row) -> list[str]:
    mark = "" if row.delta_is_asked_for or not row.is_built else " ¹"
    shared = row.shares_with is not None and not row.parameters
    return [
        _shortened(row.place),
        row.layer,
        _shapes(row.output_shapes),
        _shapes(row.input_shapes) + mark,
        f"as {_shortened(row.shares_with or '')}"
        if shared
        else f"{row.parameters:,}"
        if row.is_built
        else "?",
    ]


def _shapes(shapes: tuple[Shape, ...]) -> str:
    return "\n".join(map(batch_of, shapes)) or "?"


def _shortened(place: str) -> str:
    """A path of many names by its first and its last."""
    parts = place.split("/")
    return place if len(place) <= 40 or len(parts) < 3 else f"{parts[0]}/…/{parts[-1]}"


def _width(cell: str) -> int:
    return max(map(len, cell.split("\n")))


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
