"""The picture of a network: neurons as circles, weights as lines, as every lecture draws it.

    circle      a neuron; with a row x, its value y_k, blue if positive and vermilion if negative
    line        a weight w_jk, in the same colours; its width is |w_jk| / max |w|
    circle "1"  the input that the biases multiply:  z_k = Σ_j y_j w_jk + 1 · b_k
    image       a feature map; beside it the filter that makes it
    chain       a recurrent layer, unrolled: one cell for each step of time

The values of a network are columns, from left to right; what is between two columns is a layer.
Layers that act on each value, such as an activation, are named under the column that they make.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from chainrule.core import input_checks
from chainrule.core.errors import ShapeError, shortened
from chainrule.core.hints import hinted
from chainrule.core.input_checks import as_tuple
from chainrule.core.layer import Layer
from chainrule.core.messages import NETWORK, not_a_layer, require_built
from chainrule.core.types import Array, Shape
from chainrule.display.picture_drawing import Drawing
from chainrule.display.picture_layout import Column, Link, place
from chainrule.graph.plan import Plan
from chainrule.graph.unrolling import PlanStep

BY_VALUE = (
    *("Activation", "Softmax", "PReLU", "Dropout", "SpatialDropout", "GaussianDropout"),
    *("GaussianNoise", "BatchNorm", "LayerNorm", "GroupNorm", "RMSNorm", "PositionalEncoding"),
)
"""Layers that keep the shape: they are named under the column of their values."""
BY_SHAPE = (
    *("Flatten", "Reshape", "Permute", "Slice", "Upsample", "Pad", "Crop"),
    *("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool"),
)
"""Layers without parameters that change the shape: an arrow with a name."""
IN_SPACE = (
    *("Convolution", "TransposedConvolution", "SpectralConvolution", "MaxPool", "AveragePool"),
    *("Upsample", "Pad", "Crop"),
)
"""Layers for which a matrix is a signal with channels, and not a series of vectors."""
IN_TIME = ("SimpleRNN", "LSTM", "GRU", "Scan", "Bidirectional")
FILTERS = ("Convolution", "TransposedConvolution")
SIGNS = {"Add": "+", "Subtract": "−", "Multiply": "×", "Dot": "·"}
MERGING = {"Average": "average", "Maximum": "maximum", "Concatenate": "concatenate"}


@hinted
def picture(model: Layer, x: Any = None) -> Any:
    """Draw a network with its neurons and weights, its feature maps and filters.

    A positive weight is a blue line, a negative one vermilion, and its width is its size relative
    to the largest of its layer. Of a wide layer, the first and the last neurons are drawn, and its
    width is below them. Images and series are drawn as such; a recurrent layer is unrolled in
    time. A layer that the function does not know is a labelled box.

    Parameters
    ----------
    model
        A built layer or container.
    x
        One row, as a batch of one; a tuple for several inputs. Then the values of all neurons are
        shown, as ``model(x)`` computes them, in the same colours: the stronger, the closer a value
        is to the largest of its column.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``figure.savefig("network.svg")``. The artist of each neuron, line and image
        has an id, ``get_gid()``, such as ``"dense_1[0]"`` or ``"dense_1.weights[2, 0]"``.

    Raises
    ------
    DefinitionError
        If the model is not a layer.
    BuildError
        If it is not built yet.
    ShapeError, DtypeError
        If x is not one row that fits the model.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> model = Sequential([Dense(4), Activation("tanh"), Dense(1)])
    >>> model.build((2,), rng=0)
    >>> figure = picture(model, np.array([[0.5, -1.0]]))
    >>> len(figure.axes[0].patches) >= 2 + 4 + 1
    True
    """
    if not isinstance(model, Layer):
        raise not_a_layer("picture", model, NETWORK.replace("a Layer", "a built Layer"))
    inputs = None if x is None else _one_row(require_built(model), x)
    columns, links = arranged(Plan.of(require_built(model)), inputs)
    place(columns, links)
    return Drawing(columns, links).figure()


def _one_row(model: Layer, x: Any) -> tuple[Array, ...]:
    inputs = input_checks.as_inputs(model, as_tuple(x))
    shapes = [np.shape(value) for value in inputs]
    expected = [(1, *shape) for shape in model.input_shapes]
    if any(len(a) == len(b) and a[0] != 1 for a, b in zip(shapes, expected, strict=False)):
        raise ShapeError(
            "picture shows the values of one row",
            expected=", ".join(map(str, expected)),
            received=", ".join(map(str, shapes)),
            hint="take one of them: picture(model, x[:1])",
        )
    if shapes == [shape[1:] for shape in expected]:
        raise ShapeError(
            "picture: x has no batch axis",
            expected=", ".join(map(str, expected)),
            received=", ".join(map(str, shapes)),
            hint="picture(model, x[np.newaxis])",
        )
    return input_checks.admit(model, inputs)


# ------------------------------------------------------------------------------- what is drawn


def _name(layer: Layer) -> str:
    """The name of the class, if it is one of chainrule's own; otherwise nothing."""
    return type(layer).__name__ if type(layer).__module__.startswith("chainrule.layers.") else ""


def _words(layer: Any) -> str:
    """``tanh``, ``max pool 2``, ``dropout 0.5``; the class of a layer in a box."""
    kind = _name(layer)
    if kind == "Activation":
        return str(layer.function.name)
    if kind in (*SIGNS, *MERGING):
        return {**SIGNS, **MERGING}[kind]
    if kind in IN_TIME:
        inner = getattr(layer, "cell", None) or getattr(layer, "layer", None) or layer
        return type(inner).__name__.removeprefix("Simple")
    if kind not in (*BY_VALUE, *BY_SHAPE):
        text = repr(layer)
        return text if len(text) <= 24 and "\n" not in text else type(layer).__name__
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind)
    words = words if re.search(r"[A-Z]{2}", kind) else words.lower()
    given = [getattr(layer, name, None) for name in ("size", "factor", "rate")]
    return " ".join([words, *[shortened(value) for value in given if value is not None]])


def arranged(plan: Plan, inputs: tuple[Array, ...] | None) -> tuple[list[Column], list[Link]]:
    """The columns of a network and the layers between them, with the values of a row."""
    makers = {slot: step for step in plan.steps for slot in step.makes}
    uses = [slot for step in plan.steps for slot in step.takes] + list(plan.outputs)
    values: list[Any] = [*(inputs or ()), *[None] * len(plan.names)]
    columns: dict[int, Column] = {}
    links: list[Link] = []
    sizes = {
        slot: shape
        for step in plan.steps
        for slot, shape in zip(step.takes, step.layer.input_shapes, strict=True)
    }
    for slot in plan.inputs:
        shape = sizes.get(slot, ()) if inputs is None else inputs[slot].shape[1:]
        columns[slot] = _column(plan, slot, shape, values[slot])
        columns[slot].is_input = True
    for step in plan.steps:
        if inputs is not None:
            made = as_tuple(step.layer.apply(*[values[slot] for slot in step.takes]))
            for slot, value in zip(step.makes, made, strict=True):
                values[slot] = value
        first = step.takes[0]
        source = columns[first]
        is_alone = first in makers and uses.count(first) == 1
        if is_alone and _name(step.layer) in BY_VALUE:
            source.notes.append(_words(step.layer))
            source.value = _row(values[step.makes[0]])
            columns[step.makes[0]] = source
            continue
        for slot, shape in zip(step.makes, step.layer.output_shapes, strict=True):
            known = shape if values[slot] is None else values[slot].shape[1:]
            columns[slot] = _column(plan, slot, known, values[slot])
            given = list(dict.fromkeys(columns[taken] for taken in step.takes))
            path, kind = step.path or plan.name, _kind(step, source)
            links.append(Link(step.layer, path, given, columns[slot], kind, _words(step.layer)))
            columns[slot].depth = 1 + max(each.depth for each in given)
            source.has_one = source.has_one or (
                kind == "weights" and "biases" in step.layer.parameters.paths
            )
    for slot in plan.inputs:
        after = [link.target.depth for link in links if columns[slot] in link.sources]
        columns[slot].depth = min(after, default=1) - 1
    for slot in plan.outputs:
        if not columns[slot].notes:
            columns[slot].notes.append("output")
    return list(dict.fromkeys(columns.values())), links


def _row(value: Any) -> Array | None:
    return None if value is None else np.asarray(value)[0]


def _column(plan: Plan, slot: int, shape: Shape, value: Any) -> Column:
    kinds = [_name(step.layer) for step in plan.steps if slot in (*step.takes, *step.makes)]
    kind = "neurons" if len(shape) < 2 else "maps"
    if len(shape) == 2:
        kind = "series" if set(kinds).isdisjoint(IN_SPACE) else "matrix"
    return Column(plan.names[slot], shape, _row(value), kind)


def _kind(step: PlanStep, source: Column) -> str:
    name = _name(step.layer)
    if name == "Dense" and source.kind == "neurons":
        return "weights"
    if name in IN_TIME and source.kind == "series":
        return "cells"
    if name in FILTERS:
        return "filters"
    if name in SIGNS:
        return "sign"
    return "arrow" if name in (*BY_SHAPE, *BY_VALUE) else "box"
