"""The diagram: every layer and every value is on it, in two notations that say the same."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from attrs import define

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
    Multiply,
    Residual,
    Sequential,
    Softmax,
    Subtract,
)
from chainrule.core.errors import DefinitionError
from chainrule.display.diagram import Diagram, diagram
from chainrule.graph.plan import Plan


@define
class Fork(Layer):
    """y_1 = x, y_2 = the first number of each row."""

    def forward(self, x: Any) -> Any:
        return 1 * x, 1 * x[:, :1]

    def backward(self, delta: Any) -> Any:
        raise NotImplementedError


@define
class Named(Layer):
    """y = x, under any name."""

    name: str

    def forward(self, x: Any) -> Any:
        return x

    def backward(self, delta: Any) -> Any:
        return delta

    def __repr__(self) -> str:
        return self.name


def a_chain() -> Layer:
    return Sequential([Dense(30), Activation("tanh"), Dense(10)])


def residuals() -> Layer:
    second = Residual(Dense(8), projection=Dense(8, use_bias=False))
    return Sequential([Residual(Dense(5), Activation("tanh")), second, Softmax()])


def two_ends() -> Layer:
    image, text = Input((8, 8), name="image"), Input((16,), name="text")
    both = Concatenate()(Dense(32)(Flatten()(image)), Activation("tanh")(Dense(32)(text)))
    return Graph([image, text], [Softmax()(Dense(10)(both)), Dense(1)(both)])


def siamese() -> Layer:
    left, right = Input((5,), name="left"), Input((5,), name="right")
    shared = Sequential([Dense(4), Activation("tanh")])
    return Graph([left, right], Dense(1)(Subtract()(shared(left), shared(right))))


def deep() -> Layer:
    x = Input((5,))
    inner = Graph(x, Add()(Dense(5)(x), Residual(Sequential([Dense(5)]))(x)))
    merged = Branches([Dense(2), Sequential([Dense(2), Softmax()])], merge=Concatenate())
    return Sequential([Residual(Residual(inner, Dense(5)), Dense(5)), merged])


def a_fork() -> Layer:
    x = Input((3,))
    parts = Fork()(x)
    return Graph(x, [Multiply(broadcast=True)(Dense(3)(parts[0]), parts[1]), parts[1]])


def all_in_all() -> Layer:
    x = Input((3,))
    made = [Dense(3)(x)]
    for _ in range(4):
        made.append(Dense(3)(Concatenate()(x, *made)))
    return Graph(x, made[-1])


MODELS = {
    a_chain: ((5,),),
    residuals: ((5,),),
    two_ends: ((8, 8), (16,)),
    siamese: ((5,), (5,)),
    deep: ((5,),),
    a_fork: ((3,),),
    all_in_all: ((3,),),
    lambda: Dense(3): ((5,),),
}
EACH_MODEL = pytest.mark.parametrize(("make", "shapes"), MODELS.items())


def built(make: Any, shapes: Any) -> Layer:
    model: Layer = make()
    model.build(*shapes, rng=0)
    return model


def name_of(found: Diagram, edge: Any) -> str:
    place = found.boxes[edge.source].place
    return place if edge.output < 0 else f"{place}[{edge.output}]"


# ------------------------------------------------------------------------------- what is on it


@EACH_MODEL
def test_every_step_and_every_value_that_it_takes_is_on_it(make: Any, shapes: Any) -> None:
    model = built(make, shapes)
    plan, found = Plan.of(model), diagram(model)
    layers = [box.place for box in found.boxes if box.kind == "layer"]
    assert layers == [step.path or plan.name for step in plan.steps]
    expected = [
        (plan.names[slot], step.path or plan.name) for step in plan.steps for slot in step.takes
    ] + [(plan.names[slot], "output") for slot in plan.outputs]
    edges = [(name_of(found, edge), found.boxes[edge.target].place) for edge in found.edges]
    assert [(a, re.sub(r"^output_\d$", "output", b)) for a, b in edges] == expected


@EACH_MODEL
def test_every_edge_has_the_shape_of_what_flows_along_it(make: Any, shapes: Any) -> None:
    model = built(make, shapes)
    found = diagram(model)
    values = [np.zeros((2, *shape)) for shape in shapes]
    plan = Plan.of(model)
    made = dict(zip([plan.names[slot] for slot in plan.inputs], values, strict=True))
    for step, _, outputs in plan.steps_forward(tuple(values)):
        made |= dict(zip([plan.names[slot] for slot in step.makes], outputs, strict=True))
    for edge in found.edges:
        assert edge.shape == made[name_of(found, edge)].shape[1:]


@EACH_MODEL
def test_without_shapes_it_is_the_same_before_building(make: Any, shapes: Any) -> None:
    before, after = diagram(make()), diagram(built(make, shapes))
    assert [box.place for box in before.boxes] == [box.place for box in after.boxes]
    assert [box.layer for box in before.boxes] == [box.layer for box in after.boxes]
    assert [box.shares_with for box in before.boxes] == [box.shares_with for box in after.boxes]
    ends = [[(e.source, e.target, e.output) for e in found.edges] for found in (before, after)]
    assert ends[0] == ends[1]
    assert {e.shape for e in before.edges if before.boxes[e.source].kind == "layer"} == {None}


def test_before_building_the_inputs_of_a_graph_say_their_shapes() -> None:
    assert [edge.label for edge in diagram(two_ends()).edges[:3]] == ["8×8", "", "16"]


def test_before_building_an_input_that_is_taken_apart_is_numbered() -> None:
    x, y = Input(), Input()
    inner = Graph([x, y], [Subtract()(x, y), y])
    found = diagram(Sequential([inner, Add()]))
    names = [name_of(found, edge) for edge in found.edges]
    assert names == ["input[0]", "input[1]", "graph_1/subtract_1", "input[1]", "add_1"]
    model = Sequential([inner, Add()])
    model.build((2,), (2,), rng=0)
    names = [name_of(diagram(model), edge) for edge in diagram(model).edges]
    assert names == ["input_1", "input_2", "graph_1/subtract_1", "input_2", "add_1"]


def test_a_layer_that_is_called_twice_has_two_boxes_and_says_so() -> None:
    model = built(siamese, MODELS[siamese])
    shares = {box.place: box.shares_with for box in diagram(model).boxes if box.shares_with}
    assert shares == {"sequential_2/dense_1": "sequential_1/dense_1"}
    assert "shared with sequential_1/dense_1" in diagram(model).mermaid
    assert "(shared with sequential_1/dense_1)" in str(diagram(model))


def test_inputs_and_outputs_are_named_as_in_the_graph() -> None:
    boxes = diagram(two_ends()).boxes
    assert [box.place for box in boxes if box.kind == "input"] == ["image", "text"]
    assert [box.place for box in boxes if box.kind == "output"] == ["output_1", "output_2"]
    assert diagram(a_chain()).boxes[-1].place == "output"


def test_an_input_that_is_an_output_has_an_edge_to_it() -> None:
    x = Input((3,))
    found = diagram(Graph(x, [Dense(2)(x), x]))
    assert (0, 3) in [(edge.source, edge.target) for edge in found.edges]


def test_a_diagram_leaves_the_model_as_it_was() -> None:
    model = built(residuals, MODELS[residuals])
    y = model.forward(np.ones((2, 5)))
    expected = model.backward(np.ones_like(y))
    str(diagram(model)), diagram(model).mermaid
    assert np.array_equal(model.backward(np.ones_like(y)), expected)


# ------------------------------------------------------------------------------- as Mermaid

BOX = re.compile(r'\s*(n\d+)(?:\["([^"]*)"\]|\(\["([^"]*)"\]\))')
EDGE = re.compile(r'    (n\d+) -->(?:\|"([^"]+)"\|)? (n\d+)')


def read(found: Diagram) -> tuple[dict[str, str], list[tuple[str, str, str]], list[str]]:
    """The boxes, edges and other lines of a flowchart."""
    boxes, edges, others = {}, [], []
    for line in found.mermaid.splitlines():
        if match := BOX.fullmatch(line):
            assert match[1] not in boxes, "an id stands for two boxes"
            boxes[match[1]] = match[2] or match[3]
        elif match := EDGE.fullmatch(line):
            edges.append((match[1], match[3], match[2] or ""))
        else:
            others.append(line.strip())
    return boxes, edges, others


def unescaped(text: str) -> str:
    return re.sub(r"#(\d+);", lambda code: chr(int(code[1])), text)


@EACH_MODEL
@pytest.mark.parametrize("is_built", [False, True])
def test_mermaid_has_every_box_and_every_edge(make: Any, shapes: Any, is_built: bool) -> None:
    found = diagram(built(make, shapes) if is_built else make())
    boxes, edges, _ = read(found)
    assert list(boxes) == [f"n{number}" for number in range(len(found.boxes))]
    for text, box in zip(boxes.values(), found.boxes, strict=True):
        lines = [unescaped(line) for line in text.split("<br/>")]
        assert lines[0] == box.place.split("/")[-1]
        assert lines[1:2] == ([box.layer] if box.layer else [])
    assert [(a, b, unescaped(label)) for a, b, label in edges] == [
        (f"n{edge.source}", f"n{edge.target}", edge.label) for edge in found.edges
    ]


@EACH_MODEL
def test_frames_are_balanced_and_hold_the_layers_of_their_containers(
    make: Any, shapes: Any
) -> None:
    found = diagram(built(make, shapes))
    opened: list[str] = []
    ids = []
    places = iter(found.boxes)
    for line in found.mermaid.splitlines():
        if match := re.fullmatch(r'\s*subgraph (g\d+)\["(.*)"\]', line):
            ids.append(match[1])
            opened.append(unescaped(match[2]))
        elif line.strip() == "end":
            opened.pop()
        elif BOX.fullmatch(line):
            assert opened == next(places).place.split("/")[:-1]
    assert opened == []
    assert len(set(ids)) == len(ids)


def test_mermaid_is_what_it_says() -> None:
    assert diagram(built(residuals, MODELS[residuals])).mermaid.splitlines() == [
        "flowchart TD",
        '    n0(["input"])',
        '    subgraph g0["residual_1"]',
        '        n1["dense_1<br/>Dense#40;5#41;"]',
        '        n2["activation_1<br/>Activation#40;#39;tanh#39;#41;"]',
        '        n3["add<br/>Add#40;#41;"]',
        "    end",
        '    subgraph g1["residual_2"]',
        '        n4["dense_1<br/>Dense#40;8#41;"]',
        '        n5["projection<br/>Dense#40;8, use_bias#61;False#41;"]',
        '        n6["add<br/>Add#40;#41;"]',
        "    end",
        '    n7["softmax_1<br/>Softmax#40;#41;"]',
        '    n8(["output"])',
        '    n0 -->|"5"| n1',
        '    n1 -->|"5"| n2',
        '    n0 -->|"5"| n3',
        '    n2 -->|"5"| n3',
        '    n3 -->|"5"| n4',
        '    n3 -->|"5"| n5',
        '    n5 -->|"8"| n6',
        '    n4 -->|"8"| n6',
        '    n6 -->|"8"| n7',
        '    n7 -->|"8"| n8',
    ]


def test_repeated_layers_have_a_dashed_frame() -> None:
    *_, others = read(diagram(siamese()))
    assert others[-2:] == ["classDef shared stroke-dasharray: 5 4", "class n4 shared"]
    assert diagram(siamese()).boxes[4].place == "sequential_2/dense_1"


@pytest.mark.parametrize(
    "name",
    [
        'A["x"] #1; <b>&amp;</b>',
        "1. first",
        "- item",
        "`**bold**` __x__",
        "style: a:#35;",
        "%%{init}%% end",
        "_a_ |c| {d}",
        "x --> y",
        "one\\two",
    ],
)
def test_what_means_something_to_mermaid_is_escaped(name: str) -> None:
    boxes, *_ = read(diagram(Named(name)))
    text = boxes["n1"].removeprefix("named<br/>")
    assert unescaped(text) == name
    assert re.sub(r"#\d+;", "", text).strip(" ").replace("/", "").replace(" ", "").isalnum()


def test_a_row_of_single_numbers_has_a_label() -> None:
    layer = Activation("tanh")
    layer.build((), rng=0)
    assert [edge.label for edge in diagram(layer).edges] == ["()", "()"]


# ------------------------------------------------------------------------------- in a notebook


def test_a_notebook_gets_markdown_mermaid_and_text() -> None:
    found = diagram(built(residuals, MODELS[residuals]))
    assert found._repr_markdown_() == f"```mermaid\n{found.mermaid}\n```"
    assert found._repr_mimebundle_() == {
        "text/plain": str(found),
        "text/markdown": found._repr_markdown_(),
        "text/vnd.mermaid": found.mermaid,
    }


def test_a_notebook_gets_text_where_mermaid_would_refuse_the_size() -> None:
    found = diagram(Sequential([Dense(2) for _ in range(600)]))
    assert found._repr_markdown_() == f"```text\n{found}\n```"
    assert set(found._repr_mimebundle_()) == {"text/plain", "text/markdown"}


# ------------------------------------------------------------------------------- in a terminal


def drawn(model: Layer) -> list[str]:
    return str(diagram(model)).splitlines()


def test_a_chain_is_a_vertical_line_with_the_shapes_on_it() -> None:
    assert drawn(built(a_chain, ((64,),))) == [
        "○  input",
        "│  64",
        "●  dense_1       Dense(30)",
        "│  30",
        "●  activation_1  Activation('tanh')",
        "│  30",
        "●  dense_2       Dense(10)",
        "│  10",
        "○  output",
    ]


def test_a_skip_connection_is_a_separate_line() -> None:
    assert drawn(built(residuals, MODELS[residuals])) == [
        "○    input",
        "│    5",
        "├─╮",
        "│ ●  residual_1/dense_1       Dense(5)",
        "│ │  5",
        "│ ●  residual_1/activation_1  Activation('tanh')",
        "│ │  5",
        "├─╯",
        "●    residual_1/add           Add()  ← input, residual_1/activation_1",
        "│    5",
        "├─╮",
        "│ ●  residual_2/dense_1       Dense(8)",
        "│ │  8",
        "● │  residual_2/projection    Dense(8, use_bias=False)  ← residual_1/add",
        "│ │  8",
        "├─╯",
        "●    residual_2/add           Add()  ← residual_2/projection, residual_2/dense_1",
        "│    8",
        "●    softmax_1                Softmax()",
        "│    8",
        "○    output",
    ]


def test_several_outputs_of_a_layer_leave_it_on_several_lines() -> None:
    assert drawn(built(a_fork, MODELS[a_fork])) == [
        "○    input",
        "│    3",
        "●    fork_1      Fork()",
        "├─╮  [0] 3, [1] 1",
        "● │  dense_1     Dense(3)",
        "│ │  3",
        "├─┤",
        "● │  multiply_1  Multiply(broadcast=True)  ← dense_1, fork_1[1]",
        "│ │  3",
        "○ │  output_1",
        "  │",
        "  ○  output_2  ← fork_1[1]",
    ]


def test_lines_that_only_cross_do_not_touch() -> None:
    x = Input((3,))
    one, two, three, four = (Dense(3)(x) for _ in range(4))
    text = drawn(Graph(x, Add()(Add()(one, three), Add()(two, four))))
    assert "├─│─╮" in text
    assert "├─┼─╮" in drawn(all_in_all())


@EACH_MODEL
def test_following_the_lines_finds_just_the_edges(make: Any, shapes: Any) -> None:
    found = diagram(built(make, shapes))
    takes: list[set[tuple[int, int]]] = [set() for _ in found.boxes]
    makes: list[set[tuple[int, int]]] = [set() for _ in found.boxes]
    for edge in found.edges:
        takes[edge.target].add((edge.source, edge.output))
        makes[edge.source].add((edge.source, edge.output))
    values: dict[int, tuple[int, int]] = {}  # by column, what comes down there
    arrived: set[tuple[int, int]] = set()
    number, parts = -1, False  # whether the outputs of the box above part on this line
    margin = str(found).index(found.boxes[0].place)
    for line in str(found).splitlines():
        cells = dict(enumerate(line[:margin]))
        dots = [column for column, cell in cells.items() if cell in "○●"][:1]
        joints = [column for column, cell in cells.items() if cell in "├┤┼╰╯┴╭╮┬"]
        if dots:
            number += 1
            if dots[0] in values:
                arrived.add(values.pop(dots[0]))
            assert arrived == takes[number], line
            arrived = set()
            made = sorted(makes[number])
            parts = len(made) > 1
            values |= dict.fromkeys(dots, made[0]) if made else {}
        elif parts:
            values |= dict(zip(joints, made, strict=True))
            parts = False
        else:
            arrived |= {values[column] for column in joints if column in values}
            for column in joints:
                if cells[column] in "╰╯┴":
                    values.pop(column)
    assert number == len(found.boxes) - 1
    assert not values


def test_long_lines_name_sources_in_the_same_container_in_short() -> None:
    model: Layer = Dense(3)
    for _ in range(3):
        model = Residual(Sequential([Activation("tanh"), model]), Dense(3))
    lines = [line for line in drawn(model) if "Add()" in line]
    assert lines[-1].endswith("Add()  ← input, dense_1")
    assert lines[-2].endswith("Add()  ← sequential_1/activation_1, …/dense_1")
    assert max(map(len, lines)) < 120


def test_with_very_many_values_at_once_it_is_a_list() -> None:
    x = Input((3,))
    text = drawn(Graph(x, Add()(*[Dense(3)(x) for _ in range(20)])))
    assert text[0] == "○  input  → 3"
    assert text[5] == "●  dense_5   Dense(3)  ← input"
    assert text[-2] == (
        "●  add_1     Add()  ← dense_1, dense_2, dense_3, … 14 more …, dense_18, dense_19, dense_20"
    )
    assert text[-1] == "○  output  ← add_1"


def test_ten_thousand_layers_and_a_thousand_in_each_other_are_no_problem() -> None:
    found = diagram(Sequential([Residual(Dense(2)) for _ in range(5000)]))
    text = str(found).splitlines()
    assert len(text) < 200
    assert any("… 9,942 more …" in line for line in text)
    assert len(found.mermaid) < 2_000_000

    model: Layer = Dense(2)
    for _ in range(1000):
        model = Residual(model)
    found = diagram(model)
    assert len(found.edges) == 2002
    assert len(found.mermaid) < 1_000_000
    assert max(map(len, str(found).splitlines())) < 150


@pytest.mark.parametrize("wrong", [3, Dense, [Dense(3)], "model"])
def test_what_is_no_layer_is_refused_by_name(wrong: object) -> None:
    with pytest.raises(DefinitionError, match="needs a layer"):
        diagram(wrong)  # type: ignore[arg-type]
