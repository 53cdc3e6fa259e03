"""A model in a notebook: a table in which containers open, with every layer and its size."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from chainrule import Activation, Dense, Graph, Input, Layer, Residual, Sequential
from chainrule.display.model_table import SHOWN
from laws.library import LIBRARY


def nested() -> Sequential:
    inner = Residual(Dense(3), Activation("tanh"), Residual(Dense(3)))
    return Sequential([Dense(3), inner, Dense(1)])


def table(model: Layer) -> ElementTree.Element:
    return ElementTree.fromstring(model._repr_html_())


def leaves(page: ElementTree.Element) -> list[list[str]]:
    heads = [row for head in page.iter("thead") for row in head]
    rows = (row for row in page.iter("tr") if row not in heads)
    texts = (["".join(cell.itertext()) for cell in row] for row in rows)
    return [text for text in texts if len(text) == 4]


def containers(page: ElementTree.Element) -> list[list[str]]:
    found = (details.find("summary") for details in page.iter("details"))
    return [["".join(span.itertext()) for span in one] for one in found if one is not None]


def test_it_has_the_layers_their_shapes_and_parameters() -> None:
    model = nested()
    model.build((4,), rng=0)
    page = table(model)
    assert leaves(page) == [
        ["dense_1", "Dense(3)", "(batch, 3)", "15"],
        ["dense_1", "Dense(3)", "(batch, 3)", "12"],
        ["activation_1", "Activation('tanh')", "(batch, 3)", "0"],
        ["dense_1", "Dense(3)", "(batch, 3)", "12"],
        ["add", "Add()", "(batch, 3)", "0"],
        ["add", "Add()", "(batch, 3)", "0"],
        ["dense_2", "Dense(1)", "(batch, 1)", "4"],
    ]
    assert containers(page) == [
        ["residual_1", "Residual", "(batch, 3)", "24"],
        ["residual_1", "Residual", "(batch, 3)", "12"],
    ]
    assert "43 parameters, all learned" in "".join(page.itertext())


def test_the_parts_of_a_container_are_to_the_right_of_its_name() -> None:
    def indent(name: ElementTree.Element, boxes: list[ElementTree.Element]) -> float:
        styles = [part.get("style", "") for part in (*name, name, *boxes)]
        return sum(
            float(em) for one in styles for em in re.findall(r"margin-left: ([\d.]+)em", one)
        )

    page = table(nested())
    above = {child: parent for parent in page.iter() for child in parent}

    def around(element: ElementTree.Element) -> list[ElementTree.Element]:
        return [above[element], *around(above[element])] if element in above else []

    for details in page.iter("details"):
        (summary, box) = details
        outside = indent(summary, around(details))
        for name in box.iter("th"):
            if name.get("scope") == "row":
                assert indent(name, around(name)) > outside


def test_before_it_is_built_nothing_is_known() -> None:
    page = table(nested())
    assert {(row[2], row[3]) for row in leaves(page)} == {("?", "?")}
    assert "not built yet" in "".join(page.itertext())


def test_frozen_and_shared_layers_are_marked() -> None:
    shared = Dense(3)
    model = Sequential([shared, Activation("tanh"), shared])
    model.build((3,), rng=0)
    shared.biases.trainable = False
    assert leaves(table(model))[0][3] == "12 (some frozen)"
    x = Input((3,))
    graph = Graph(x, Dense(2)(Sequential([Dense(3)])(x)))
    graph.build((3,), rng=0)
    graph.freeze()
    assert leaves(table(graph))[-1][3] == "8 frozen"


def test_a_container_opens_where_it_is_first() -> None:
    shared = Residual(Dense(3))
    model = Sequential([Sequential([shared]), Sequential([shared])])
    model.build((3,), rng=0)
    page = table(model)
    assert [name for name, *_ in containers(page)] == ["sequential_1", "residual_1", "sequential_2"]
    assert leaves(page)[-1][0::3] == ["residual_1", "as residual_1"]


def test_a_single_layer_is_a_row() -> None:
    layer = Dense(2)
    layer.build((3,), rng=0)
    assert leaves(table(layer)) == [["dense", "Dense(2)", "(batch, 2)", "8"]]


def test_long_and_deep_models_are_shortened() -> None:
    long = Sequential([Activation("tanh") for _ in range(3 * SHOWN)])
    text = "".join(table(long).itertext())
    assert f"… {2 * SHOWN} more …" in text and len(leaves(table(long))) == SHOWN
    deep = Dense(3)
    for _ in range(300):
        deep = Sequential([deep])
    deep.build((3,), rng=0)
    assert "12 parameters" in "".join(table(deep).itertext())


def test_names_are_escaped() -> None:
    class Wide(Layer):
        text: str = "<b>&"

        def forward(self, x):
            return x

        def backward(self, delta):
            return delta

    assert "Wide(text='<b>')" in "".join(table(Wide("<b>")).itertext())


@pytest.mark.parametrize(("layer", "shape"), LIBRARY, ids=lambda case: type(case).__name__)
def test_every_shipped_layer_has_one(layer: Layer, shape: Any) -> None:
    model = layer.unbuilt()
    assert leaves(table(model)) or containers(table(model))
    shapes = shape if shape and isinstance(shape[0], tuple) else (shape,)
    model.build(*shapes, rng=0)
    rows = leaves(table(model))
    assert rows and all("?" not in row[2:] for row in rows)
