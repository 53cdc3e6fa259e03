"""The summary: numbers that were counted by hand, and a table that can be read anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from attrs import define
from rich.console import Console

from chainrule import (
    Activation,
    Add,
    Branches,
    Concatenate,
    Dense,
    Flatten,
    Graph,
    Input,
    Layer,
    Residual,
    Sequential,
    Softmax,
    Subtract,
    summary,
)
from chainrule.core.errors import DefinitionError
from chainrule.graph.plan import Plan


@pytest.fixture(autouse=True)
def a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "JUPYTER_COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def digits_network(dtype: str = "float64") -> Sequential:
    model = Sequential([Dense(30), Activation("tanh"), Dense(10)])
    model.build((64,), rng=0, dtype=dtype)
    return model


# ------------------------------------------------------------------------------- the numbers


def test_parameters_and_shapes_are_those_counted_by_hand() -> None:
    rows = summary(digits_network()).rows
    assert [row.place for row in rows] == ["dense_1", "activation_1", "dense_2"]
    assert [row.layer for row in rows] == ["Dense(30)", "Activation('tanh')", "Dense(10)"]
    assert [row.input_shapes for row in rows] == [((64,),), ((30,),), ((30,),)]
    assert [row.output_shapes for row in rows] == [((30,),), ((30,),), ((10,),)]
    assert [row.parameters for row in rows] == [64 * 30 + 30, 0, 30 * 10 + 10]
    assert [row.states for row in rows] == [0, 0, 0]


@pytest.mark.parametrize(("dtype", "width"), [("float32", 4), ("float64", 8)])
def test_totals_count_every_number_and_its_bytes(dtype: str, width: int) -> None:
    found = summary(digits_network(dtype))
    assert found.parameters == 2260
    assert found.states == 0
    assert found.bytes == 2260 * width
    assert found.dtype == dtype
    assert f"2,260 parameters, all learned · 0 buffers · {2260 * width:,} bytes ({dtype})" in str(
        found
    )


def test_the_deltas_have_the_shapes_that_backward_takes_and_returns() -> None:
    model = digits_network()
    model.forward(np.zeros((5, 64)))
    for row, step in reversed(list(zip(summary(model).rows, model.plan.steps, strict=True))):
        returned = step.layer.backward(np.zeros((5, *row.output_shapes[0])))
        assert returned.shape == (5, *row.input_shapes[0])


def test_only_the_delta_of_the_data_is_not_asked_for() -> None:
    model = Sequential([Activation("tanh"), Dense(3), Activation("tanh"), Dense(2)])
    model.build((4,), rng=0)
    asked = [row.delta_is_asked_for for row in summary(model).rows]
    assert asked == [False, False, True, True]


def test_the_table_says_what_the_rows_say() -> None:
    assert str(summary(digits_network())).splitlines() == [
        "layer                               output ↓      Δ returned ↑    parameters",
        "────────────────────────────────────────────────────────────────────────────",
        "input                               (batch, 64)",
        "dense_1        Dense(30)            (batch, 30)   (batch, 64) ¹        1,950",
        "activation_1   Activation('tanh')   (batch, 30)   (batch, 30)              0",
        "dense_2        Dense(10)            (batch, 10)   (batch, 30)            310",
        "2,260 parameters, all learned · 0 buffers · 18,080 bytes (float64)",
        "¹ the Δ of the data: training does not need it",
    ]


def test_frozen_and_learned_parameters_are_counted_separately() -> None:
    model = Sequential([Dense(30), Activation("tanh"), Dense(20), Dense(10)])
    model.build((64,), rng=0)
    model["dense_1"].freeze()
    model["dense_2"].weights.trainable = False
    found = summary(model)
    assert [row.frozen for row in found.rows] == [1950, 0, 600, 0]
    assert [row.delta_is_asked_for for row in found.rows] == [False, False, False, True]
    assert (found.parameters, found.frozen) == (1950 + 620 + 210, 1950 + 600)
    text = str(found).splitlines()
    assert text[3].endswith("  1,950 frozen")
    assert text[5].endswith("  620, 600 frozen")
    assert text[6].endswith("  210")
    assert text[7:] == [
        "2,780 parameters, 230 learned, 2,550 frozen · 0 buffers · 22,240 bytes (float64)",
        "¹ the Δ of the data and of frozen layers: training does not need it",
    ]
    model.unfreeze()
    assert "frozen" not in str(summary(model))


def test_what_is_shared_and_frozen_counts_once() -> None:
    shared, x = Dense(3), Input((3,))
    model = Graph(x, shared(shared(x)))
    model.build(rng=0)
    shared.freeze()
    assert [row.frozen for row in summary(model).rows] == [12, 0]
    assert "12 parameters, 0 learned, 12 frozen" in str(summary(model))


def test_repr_is_the_table_too() -> None:
    found = summary(digits_network())
    assert repr(found) == str(found)


def test_a_bare_layer_has_a_summary() -> None:
    layer = Dense(5, use_bias=False)
    layer.build((3,), rng=0)
    (row,) = summary(layer).rows
    assert (row.place, row.parameters, row.output_shapes) == ("dense", 15, ((5,),))


def test_a_summary_leaves_the_model_as_it_was() -> None:
    tanh = Activation("tanh")
    model = Sequential([Dense(3), tanh, Dense(2), tanh])
    model.build((4,), rng=0)
    y, value = model.forward(np.ones((2, 4))), model.parameters.value.copy()
    expected = model.backward(np.ones((2, 2)))
    str(summary(model))
    assert np.array_equal(model.backward(np.ones((2, 2))), expected)
    assert np.array_equal(model.parameters.value, value)
    assert y.shape == (2, 2)


# ------------------------------------------------------------------------------- compositions


def test_nested_layers_have_the_places_that_their_parameters_have() -> None:
    model = Sequential([Dense(6), Sequential([Dense(5), Sequential([Dense(4)])]), Dense(3)])
    model.build((7,), rng=0)
    rows = summary(model).rows
    assert [row.place for row in rows] == [
        "dense_1",
        "sequential_1/dense_1",
        "sequential_1/sequential_1/dense_1",
        "dense_2",
    ]
    for row in rows:
        assert model.parameters[f"{row.place}.weights"].size + row.output_shapes[0][0] == (
            row.parameters
        )
    text = str(summary(model))
    assert "\nsequential_1/\n  dense_1 " in text
    assert "\nsequential_1/sequential_1/\n  dense_1 " in text


def test_a_layer_in_two_places_counts_once_and_says_so() -> None:
    shared = Dense(4)
    model = Sequential([shared, Activation("tanh"), shared])
    model.build((4,), rng=0)
    found = summary(model)
    assert [row.parameters for row in found.rows] == [20, 0, 0]
    assert [row.shares_with for row in found.rows] == [None, None, "dense_1"]
    assert found.parameters == model.parameters.size == 20
    assert "as dense_1" in str(found)
    assert "they count once" in str(found)


def test_twins_share_their_parameters_and_count_once() -> None:
    layer = Dense(4)
    layer.build((4,), rng=0)
    found = summary(Sequential([layer, layer.twin()]))
    assert [row.parameters for row in found.rows] == [20, 0]
    assert found.rows[1].shares_with == "dense_1"


def test_an_activation_in_two_places_has_the_shapes_of_each() -> None:
    tanh = Activation("tanh")
    model = Sequential([Dense(6), tanh, Sequential([Dense(3), tanh])])
    model.build((5,), rng=0)
    found = [(row.place, row.input_shapes, row.output_shapes) for row in summary(model).rows]
    assert found[1] == ("activation_1", ((6,),), ((6,),))
    assert found[3] == ("sequential_1/activation_1", ((3,),), ((3,),))


@define
class Gate(Layer):
    """y = g (a(x) + b(x)): layers inside, a parameter and a state of its own."""

    one: Layer
    other: Layer

    def build(self, input_shape: Any) -> None:
        self.one.build(input_shape)
        self.other.build(input_shape)
        self.parameter("gate", (1,), "ones")
        self.buffer("mean", input_shape)

    def forward(self, x: Any) -> Any:
        self.sum = self.one.forward(x) + self.other.forward(x)
        return self.gate.value * self.sum

    def backward(self, delta: Any) -> Any:
        self.gate.accumulate((delta * self.sum).sum(keepdims=True).reshape(1))
        inside = self.gate.value * delta
        return self.one.backward(inside) + self.other.backward(inside)


def test_a_layer_with_inner_layers_is_listed_above_them_with_its_own_parameters() -> None:
    model = Sequential([Gate(Sequential([Dense(3), Activation("tanh")]), Dense(3)), Dense(2)])
    model.build((4,), rng=0)
    found = summary(model)
    assert [(row.place, row.parameters, row.states) for row in found.rows] == [
        ("gate_1", 1, 4),
        ("gate_1/one/dense_1", 15, 0),
        ("gate_1/one/activation_1", 0, 0),
        ("gate_1/other", 15, 0),
        ("dense_1", 8, 0),
    ]
    assert [row.delta_is_asked_for for row in found.rows] == [False, True, True, True, True]
    assert found.parameters == model.parameters.size
    assert found.states == model.buffers.size == 4
    assert found.bytes == 8 * (39 + 4)
    assert "buffers" in str(found).splitlines()[0]


@define
class Fork(Layer):
    """Two inputs, two outputs."""

    def forward(self, x: Any, y: Any) -> Any:
        return x * y, x[:, :1]

    def backward(self, delta: Any) -> Any:
        raise NotImplementedError


def test_several_inputs_and_outputs_have_a_line_each() -> None:
    layer = Fork()
    layer.build((3,), (3,))
    (row,) = summary(layer).rows
    assert row.input_shapes == ((3,), (3,))
    assert row.output_shapes == ((3,), (1,))
    lines = str(summary(layer)).splitlines()
    assert [line.split("   ")[0].strip() for line in lines[2:6]] == ["input", "", "fork", ""]
    assert "(batch, 1)" in lines[5]


def test_a_thousand_nested_layers_and_a_thousand_in_a_row_are_no_problem() -> None:
    model: Layer = Dense(2)
    for _ in range(1000):
        model = Sequential([model])
    model.build((2,), rng=0)
    (row,) = summary(model).rows
    assert row.place.count("/") == 999
    assert max(map(len, str(summary(model)).splitlines())) <= 80

    model = Sequential([Dense(2) for _ in range(1000)])
    model.build((2,), rng=0)
    found = summary(model)
    assert len(found.rows) == 1000
    assert found.parameters == 6000
    lines = str(found).splitlines()
    assert len(lines) < 70
    assert any("… 940 more …" in line for line in lines)
    assert any(line.startswith("dense_30 ") for line in lines)
    assert any(line.startswith("dense_971 ") for line in lines)
    assert not any(line.startswith("dense_31 ") for line in lines)
    assert "all 1,000 rows" in lines[-1]


# ------------------------------------------------------------------------------- graphs


def two_ends() -> Graph:
    image, text = Input((8, 8), name="image"), Input((16,), name="text")
    both = Concatenate()(Dense(32)(Flatten()(image)), Activation("tanh")(Dense(32)(text)))
    model = Graph([image, text], [Softmax()(Dense(10)(both)), Dense(1)(both)])
    model.build(rng=0)
    return model


def residuals() -> Sequential:
    second = Residual(Dense(8), projection=Dense(8, use_bias=False))
    model = Sequential([Dense(5), Residual(Dense(5), Activation("tanh")), second, Softmax()])
    model.build((4,), rng=0)
    return model


def siamese() -> Graph:
    left, right = Input((5,), name="left"), Input((5,), name="right")
    shared = Sequential([Dense(4), Activation("tanh")])
    model = Graph([left, right], Dense(1)(Subtract()(shared(left), shared(right))))
    model.build(rng=0)
    return model


def test_every_row_of_a_graph_says_what_it_takes() -> None:
    assert {row.place: row.connected_to for row in summary(two_ends()).rows} == {
        "flatten_1": ("image",),
        "dense_1": ("flatten_1",),
        "dense_2": ("text",),
        "activation_1": ("dense_2",),
        "concatenate_1": ("dense_1", "activation_1"),
        "dense_3": ("concatenate_1",),
        "softmax_1": ("dense_3",),
        "dense_4": ("concatenate_1",),
    }


def test_inputs_and_outputs_have_the_names_and_shapes_of_the_graph() -> None:
    found = summary(two_ends())
    assert found.input_names == ("image", "text")
    assert found.output_names == ("softmax_1", "dense_4")
    assert found.output_shapes == ((10,), (1,))
    assert not found.is_chain


def test_the_table_of_a_graph_says_what_the_rows_say() -> None:
    assert str(summary(two_ends())).splitlines() == [
        "layer           takes           output ↓        Δ returned ↑      parameters",
        "────────────────────────────────────────────────────────────────────────────",
        "image                           (batch, 8, 8)",
        "text                            (batch, 16)",
        "flatten_1       image           (batch, 64)     (batch, 8, 8) ¹            0",
        "dense_1         flatten_1       (batch, 32)     (batch, 64) ¹          2,080",
        "dense_2         text            (batch, 32)     (batch, 16) ¹            544",
        "activation_1    dense_2         (batch, 32)     (batch, 32)                0",
        "concatenate_1   dense_1         (batch, 64)     (batch, 32)                0",
        "                activation_1                    (batch, 32)",
        "dense_3         concatenate_1   (batch, 10)     (batch, 64)              650",
        "softmax_1       dense_3         (batch, 10)     (batch, 10)                0",
        "dense_4         concatenate_1   (batch, 1)      (batch, 64)               65",
        "output          softmax_1       (batch, 10)",
        "                dense_4         (batch, 1)",
        "3,339 parameters, all learned · 0 buffers · 26,712 bytes (float64)",
        "¹ the Δ of the data: training does not need it",
    ]


def test_containers_have_no_row_and_their_layers_are_listed_under_their_path() -> None:
    model = residuals()
    assert [row.place for row in summary(model).rows] == [
        "dense_1",
        "residual_1/dense_1",
        "residual_1/activation_1",
        "residual_1/add",
        "residual_2/dense_1",
        "residual_2/projection",
        "residual_2/add",
        "softmax_1",
    ]
    assert summary(model).parameters == model.parameters.size
    text = str(summary(model))
    assert "\nresidual_1/\n  dense_1 " in text
    assert "Residual" not in text


def test_a_row_in_a_container_takes_what_comes_from_outside() -> None:
    takes = {row.place: row.connected_to for row in summary(residuals()).rows}
    assert takes["residual_1/dense_1"] == ("dense_1",)
    assert takes["residual_1/add"] == ("dense_1", "residual_1/activation_1")
    assert takes["residual_2/add"] == ("residual_2/projection", "residual_2/dense_1")
    assert takes["softmax_1"] == ("residual_2/add",)


def test_the_rows_of_an_unbuilt_graph_are_the_same_without_shapes_and_connections() -> None:
    before = summary(residuals().unbuilt())
    assert [row.place for row in before.rows] == [row.place for row in summary(residuals()).rows]
    assert {row.connected_to for row in before.rows} == {()}
    assert {row.output_shapes for row in before.rows} == {()}
    assert "takes" not in str(before)


def test_a_layer_that_is_called_twice_has_two_rows_and_counts_once() -> None:
    model = siamese()
    found = summary(model)
    assert [(row.place, row.parameters, row.shares_with) for row in found.rows] == [
        ("sequential_1/dense_1", 24, None),
        ("sequential_1/activation_1", 0, None),
        ("sequential_2/dense_1", 0, "sequential_1/dense_1"),
        ("sequential_2/activation_1", 0, None),
        ("subtract_1", 0, None),
        ("dense_1", 5, None),
    ]
    assert found.rows[4].connected_to == ("sequential_1/activation_1", "sequential_2/activation_1")
    assert found.parameters == model.parameters.size == 29
    assert found.rows[2].connected_to == ("right",)


def test_a_layer_called_on_two_shapes_has_the_shapes_of_each() -> None:
    x = Input((6,))
    tanh = Activation("tanh")
    model = Graph(x, Concatenate()(tanh(x), tanh(Dense(3)(x))))
    model.build(rng=0)
    rows = {row.place: row for row in summary(model).rows}
    assert rows["activation_1"].output_shapes == ((6,),)
    assert rows["activation_2"].output_shapes == ((3,),)
    assert rows["concatenate_1"].input_shapes == ((6,), (3,))


def test_a_delta_is_asked_for_where_a_parameter_lies_on_the_way() -> None:
    x = Input((3,))
    plain = Activation("tanh")(x)
    learned = Dense(3)(plain)
    model = Graph(x, Add()(Softmax()(Flatten()(plain)), Activation("tanh")(learned)))
    model.build(rng=0)
    asked = {row.place: row.delta_is_asked_for for row in summary(model).rows}
    assert asked == {
        "activation_1": False,
        "flatten_1": False,
        "softmax_1": False,
        "dense_1": False,
        "activation_2": True,
        "add_1": True,
    }


@pytest.mark.parametrize("make", [digits_network, two_ends, residuals, siamese])
def test_the_deltas_that_are_asked_for_are_those_that_training_computes(make: Any) -> None:
    model = make()
    plan = Plan.of(model)
    list(plan.steps_forward(tuple(np.zeros((2, *shape)) for shape in model.input_shapes)))
    deltas = tuple(np.ones((2, *shape)) for shape in model.output_shapes)
    delta = deltas if len(deltas) > 1 else deltas[0]
    sent = {
        step.path: bool(sent) for step, _, sent in plan.steps_backward(delta, parameters_only=True)
    }
    asked = plan.asked_by_training()
    assert {path: what == "deltas" for path, what in asked.items()} == sent


def test_only_what_is_no_chain_says_what_it_takes() -> None:
    x = Input((5,), name="pixels")
    model = Graph(x, Dense(3)(Dense(4)(x)))
    model.build(rng=0)
    assert summary(model).is_chain
    text = str(summary(model))
    assert "takes" not in text
    assert "\noutput" not in text
    assert "\npixels " in text
    assert [row.connected_to for row in summary(model).rows] == [("pixels",), ("dense_1",)]


def test_a_chain_in_a_chain_is_one() -> None:
    x = Input((5,))
    model = Sequential([Graph(x, Dense(4)(x)), Branches([Dense(3)], merge=Flatten())])
    model.build((5,), rng=0)
    assert summary(model).is_chain


def test_branches_without_a_merge_have_several_outputs() -> None:
    model = Branches([Dense(2), Dense(3)])
    model.build((4,), rng=0)
    found = summary(model)
    assert found.output_names == ("dense_1", "dense_2")
    assert str(found).splitlines()[-5:-2] == [
        "dense_2   Dense(3)   input     (batch, 3)   (batch, 4) ¹           15",
        "output               dense_1   (batch, 2)",
        "                     dense_2   (batch, 3)",
    ]


def test_several_outputs_are_distinguished_by_number() -> None:
    x = Input((3,))
    parts = Forked()(x)
    model = Graph(x, Concatenate()(parts[1], parts[0]))
    model.build(rng=0)
    assert summary(model).rows[1].connected_to == ("forked_1[1]", "forked_1[0]")


@define
class Forked(Layer):
    """y_1 = x, y_2 = the first number of each row."""

    def forward(self, x: Any) -> Any:
        return 1 * x, 1 * x[:, :1]

    def backward(self, delta: Any) -> Any:
        raise NotImplementedError


def test_layers_inside_of_a_layer_in_a_graph_have_rows_without_connections() -> None:
    x = Input((4,))
    model = Graph(x, Add()(x, Gate(Dense(4), Dense(4))(x)))
    model.build(rng=0)
    rows = [(row.place, row.connected_to) for row in summary(model).rows]
    assert rows == [
        ("gate_1", ("input",)),
        ("gate_1/one", ()),
        ("gate_1/other", ()),
        ("add_1", ("input", "gate_1")),
    ]


def test_a_summary_of_a_graph_leaves_it_as_it_was() -> None:
    model = residuals()
    y = model.forward(np.ones((2, 4)))
    expected = model.backward(np.ones_like(y))
    str(summary(model))
    assert np.array_equal(model.backward(np.ones_like(y)), expected)


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("depth", [0, 1, 2, 6])
def test_the_table_of_a_graph_fits_the_terminal(
    depth: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    model: Layer = Sequential([Dense(32), Activation("tanh")])
    for _ in range(depth):
        model = Residual(model, Dense(32), Activation("tanh"), projection=Dense(32))
    x, y = Input((32,)), Input((32,))
    model = Graph([x, y], Subtract()(model(x), model(y)))
    model.build(rng=0)
    text = str(summary(model))
    assert max(map(len, text.splitlines())) <= columns
    assert "32" in text


def test_thousands_of_branches_are_no_problem() -> None:
    x = Input((2,))
    model = Graph(x, Add()(*[Dense(2)(x) for _ in range(3000)]))
    model.build(rng=0)
    found = summary(model)
    assert len(found.rows) == 3001
    assert len(found.rows[-1].connected_to) == 3000
    text = str(found)
    assert "… 2,992 more" in text
    assert len(text.splitlines()) < 90


# ------------------------------------------------------------------------------- the table


def test_a_model_that_is_not_built_says_how_to_build_it() -> None:
    found = summary(Sequential([Dense(30), Softmax()]))
    assert not found.is_built
    assert [row.output_shapes for row in found.rows] == [(), ()]
    text = str(found)
    assert "?" in text
    assert "model.build((n,))" in text
    assert "bytes" not in text


@pytest.mark.parametrize("columns", [60, 72, 80, 120])
def test_every_line_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    model = Sequential([Dense(1000), Activation("tanh"), Sequential([Dense(10), Softmax()])])
    model.build((64,), rng=0)
    text = str(summary(model))
    assert max(map(len, text.splitlines())) <= columns
    for name in ("dense_1", "activation_1", "sequential_1/", "softmax_1", "65,000", "10,010"):
        assert name in text


def test_a_very_narrow_terminal_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    text = str(summary(digits_network()))
    for part in ("dense_1 ", "activation_1 ", "(n, 30)", "(n, 64) ¹", "1,950", "310"):
        assert part in text


def test_brackets_in_a_layer_are_printed_as_they_are() -> None:
    @define
    class Weighted(Layer):
        factors: list[str]

        def forward(self, x: Any) -> Any:
            return x

        def backward(self, delta: Any) -> Any:
            return delta

    assert "Weighted(factors=['[bold]'])" in str(summary(Weighted(["[bold]"])))


def test_there_are_no_colours_where_there_is_no_terminal() -> None:
    found = summary(digits_network())
    assert "\x1b" not in str(found)
    code = (
        "from chainrule import Dense, summary\n"
        "layer = Dense(3); layer.build((2,), rng=0); print(summary(layer))"
    )
    source = Path(__file__).parents[2] / "src"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(source), "PYTHONIOENCODING": "utf-8"},
    )
    assert b"\x1b" not in done.stdout
    assert "9 parameters" in done.stdout.decode()


def test_a_rich_console_prints_it_in_its_own_style() -> None:
    console = Console(width=80, force_terminal=True, color_system="truecolor", record=True)
    with console.capture() as captured:
        console.print(summary(digits_network()))
    assert "\x1b[" in captured.get()
    assert "dense_1" in captured.get()


def test_a_notebook_gets_it_as_html() -> None:
    html = summary(digits_network())._repr_html_()
    table = ElementTree.fromstring(html)
    rows = [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]
    assert rows[2] == ["dense_1", "Dense(30)", "(batch, 30)", "(batch, 64) ¹", "1,950"]
    assert "2,260 parameters" in "".join(table.itertext())


def test_rich_is_loaded_only_when_something_is_printed() -> None:
    code = (
        "import sys\nfrom chainrule import Dense, summary\n"
        "layer = Dense(3); layer.build((2,), rng=0); found = summary(layer)\n"
        "assert found.parameters == 9 and 'rich' not in sys.modules\n"
        "str(found)\nassert 'rich' in sys.modules\n"
    )
    source = Path(__file__).parents[2] / "src"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(source)},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("wrong", [3, Dense, [Dense(3)], "model"])
def test_what_is_no_layer_is_refused_by_name(wrong: object) -> None:
    with pytest.raises(DefinitionError, match="needs a layer"):
        summary(wrong)  # type: ignore[arg-type]
