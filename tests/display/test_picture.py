"""The picture of a network: what is drawn is what the network has, and computes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle

from chainrule import (
    Activation,
    Add,
    Branches,
    Concatenate,
    Dense,
    Dropout,
    Flatten,
    Graph,
    Input,
    Layer,
    MaxPool,
    Residual,
    Sequential,
    Softmax,
    picture,
)
from chainrule.core.errors import BuildError, ChainruleError, DefinitionError, ShapeError
from chainrule.display.picture_drawing import NEGATIVE, POSITIVE, _short
from chainrule.layers.convolution import Convolution, TransposedConvolution
from chainrule.layers.recurrent import GRU, LSTM, SimpleRNN
from chainrule.layers.wrappers import Bidirectional

X = np.array([[0.5, -1.0, 0.25]])


@pytest.fixture(autouse=True)
def no_figure_stays_open() -> Iterator[None]:
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def built(*layers: Any, row: tuple[int | None, ...] = (3,)) -> Any:
    model = Sequential(list(layers))
    model.build(row, rng=0)
    return model


def network(last: int = 2) -> Any:
    return built(
        Dense(4, bias_initializer="normal"), Activation("tanh"), Dense(last, use_bias=False)
    )


class Picture:
    """A picture, with its artists by id."""

    def __init__(self, model: Layer, x: Any = None) -> None:
        self.figure = picture(model, x)
        FigureCanvasAgg(self.figure).draw()
        (self.axes,) = self.figure.axes
        children = self.axes.get_children()
        self.artists = {each.get_gid(): each for each in children if each.get_gid()}
        self.texts = [text.get_text() for text in self.axes.texts]

    def named(self, start: str) -> dict[str, Any]:
        return {gid: each for gid, each in self.artists.items() if gid.startswith(start)}

    def text_at(self, place: tuple[float, float]) -> str:
        found = [t for t in self.axes.texts if math.dist(t.get_position(), place) < 1e-9]
        return str(found[0].get_text()) if found else ""


# ------------------------------------------------------------------------------- neurons, weights


def test_each_neuron_is_a_circle_and_each_column_is_right_of_the_one_before() -> None:
    found = Picture(network())
    columns = [
        [found.artists[f"{name}[{n}]"] for n in range(count)]
        for name, count in (("input", 3), ("dense_1", 4), ("dense_2", 2))
    ]
    for column in columns:
        assert len({circle.center[0] for circle in column}) == 1
        heights = [circle.center[1] for circle in column]
        assert heights == sorted(heights, reverse=True)
        assert np.mean(heights) == pytest.approx(0)
    xs = [column[0].center[0] for column in columns]
    assert xs == sorted(set(xs))
    assert {"input", "tanh", "output", "3", "4", "2"} <= set(found.texts)


def test_the_lines_have_the_signs_and_the_sizes_of_the_weights() -> None:
    model = network()
    found = Picture(model)
    w, b = model[0].weights.value, model[0].biases.value
    largest = max(abs(w).max(), abs(b).max())
    lines = found.named("dense_1.")
    assert len(lines) == w.size + b.size
    for gid, line in lines.items():
        index = [int(n) for n in gid.partition("[")[2][:-1].split(", ")]
        value = (w if "weights" in gid else b)[tuple(index)]
        assert line.get_color() == (POSITIVE if value > 0 else NEGATIVE)
        assert line.get_linewidth() == pytest.approx(0.4 + 2.6 * abs(value) / largest)
        start, end = np.transpose(line.get_data())
        target = found.artists[f"dense_1[{index[-1]}]"]
        assert math.dist(end, target.center) == pytest.approx(target.radius)
        source = found.artists[f"input[{index[0]}]" if "weights" in gid else "one"]
        if "weights" in gid:
            assert math.dist(start, source.center) == pytest.approx(source.radius)
    wide = max(lines.values(), key=lambda line: line.get_linewidth())
    assert list(lines.values())[-1] is wide  # on top of the others
    assert not found.named("dense_2.biases") and len(found.named("dense_2.weights")) == 8


def test_with_a_row_each_neuron_shows_its_value_in_its_colour() -> None:
    model = built(Dense(4), Activation("tanh"), Dropout(0.5), Dense(3), Softmax())
    found = Picture(model, X)
    hidden = model[1](model[0](X))[0]
    for name, values in (("input", X[0]), ("dense_1", hidden), ("dense_2", model(X)[0])):
        for n, value in enumerate(values):
            circle = found.artists[f"{name}[{n}]"]
            assert found.text_at(circle.center) == _short(float(value))
            red, _, blue = circle.get_facecolor()[:3]
            assert (blue > red) if value > 0 else (red > blue)
            assert float(found.text_at(circle.center).replace("−", "-")) == pytest.approx(
                value, abs=0.005
            )
        strongest = found.artists[f"{name}[{np.argmax(abs(values))}]"].get_facecolor()[:3]
        ink = to_rgb(POSITIVE if values[np.argmax(abs(values))] > 0 else NEGATIVE)
        assert strongest == pytest.approx([1 - 0.55 * (1 - part) for part in ink])
    assert {"tanh", "dropout 0.5", "softmax"} <= set(found.texts)
    assert {"0", "1", "2"} <= set(found.texts)  # the classes


def test_a_picture_changes_nothing_and_is_drawn_from_the_model_s_numbers() -> None:
    model = built(Dense(4), Dropout(0.5), Dense(2))
    before = model.parameters.value.copy()
    state = next(iter(model.generators.values())).bit_generator.state
    model.forward(X)
    remembered = model[0].inputs
    state = next(iter(model.generators.values())).bit_generator.state
    picture(model, X)
    assert np.array_equal(model.parameters.value, before) and model[0].inputs is remembered
    assert next(iter(model.generators.values())).bit_generator.state == state
    model.backward(np.ones((1, 2)))  # the memory is that of the last forward


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.004, "0"), (-0.001, "0"), (0.5, "0.50"), (-1.0, "−1"), (9.996, "10.0"), (-99.96, "−100"),
        (1234.5, "1234"), (123456.7, "1e5"), (math.nan, "nan"), (-math.inf, "-inf"), (7.0, "7"),
    ],
)  # fmt: skip
def test_a_value_has_at_most_five_characters(value: float, text: str) -> None:
    assert _short(value) == text and len(text) <= 5


def test_of_a_wide_layer_the_first_and_the_last_neurons_are_drawn() -> None:
    model = built(Dense(10), Dense(11), Dense(2), row=(1000,))
    found = Picture(model)
    shown = [f"input[{n}]" for n in (0, 1, 2, 3, 4, 997, 998, 999)]
    assert list(found.named("input[")) == shown
    assert len(found.named("dense_1[")) == 10 and len(found.named("dense_2[")) == 8
    assert found.texts.count("⋮") == 2 and {"1,000", "11"} <= set(found.texts)
    assert len(found.named("dense_1.weights")) == 8 * 10
    assert "dense_1.weights[999, 3]" in found.artists
    assert found.figure.get_size_inches()[1] < 9


def test_numbers_that_are_not_finite_are_drawn() -> None:
    model = network()
    model[0].weights.value[0, 0], model[0].weights.value[1, 1] = np.nan, np.inf
    found = Picture(model, X)
    assert np.isfinite([line.get_linewidth() for line in found.named("dense_1.").values()]).all()
    assert "nan" in found.texts
    zero = built(Dense(2, initializer="zeros"))
    assert all(
        line.get_linewidth() < 0.5 for line in Picture(zero, 0 * X).named("dense_1.").values()
    )


# ------------------------------------------------------------------------------- composition


def test_a_skip_connection_passes_above_the_columns_to_a_sign() -> None:
    found = Picture(built(Dense(4), Residual(Dense(4), Activation("tanh"), Dense(4)), Dense(1)), X)
    sign = found.artists["residual_1/add"]
    assert found.text_at(sign.center) == "+"
    arrows = [each for each in found.axes.patches if isinstance(each, FancyArrowPatch)]
    highest = max(each.center[1] for each in found.axes.patches if isinstance(each, Circle))
    bent = [a.get_path().vertices for a in arrows if a.get_path().vertices[:, 1].max() > highest]
    assert len(bent) == 1 and len(arrows) == 3
    for circle in found.named("residual_1/dense_1[").values():
        assert circle.center[1] + circle.radius < bent[0][:, 1].max()


def test_branches_and_graphs_do_not_overlap() -> None:
    a, b = Input((3,), name="image"), Input((2,))
    hidden, label = Activation("tanh")(Dense(4)(a)), Dense(3)(b)
    graph = Graph([a, b], [Softmax()(Dense(3)(Concatenate()(hidden, label))), Dense(1)(hidden)])
    graph.build((3,), (2,), rng=0)
    branches = Branches([Sequential([Dense(3), Activation("tanh"), Dense(2)]), Dense(2)], Add())
    for model, x in ((graph, (X, X[:, :2])), (built(branches, Dense(1)), X)):
        found = Picture(model, x)
        circles = [each for each in found.axes.patches if isinstance(each, Circle)]
        for n, one in enumerate(circles):
            for other in circles[:n]:
                apart = math.dist(one.center, other.center)
                assert apart > one.radius + other.radius
        (left, right), (low, high) = found.axes.get_xlim(), found.axes.get_ylim()
        for circle in circles:
            assert left < circle.center[0] - circle.radius < right
            assert low < circle.center[1] - circle.radius < high
    outputs = [text for text in Picture(graph).texts if text in ("softmax", "output")]
    assert sorted(outputs) == ["output", "softmax"]
    assert {"image", "input", "concatenate"} <= set(Picture(graph).texts)


def test_an_unknown_layer_is_a_box_with_its_name() -> None:
    class Doubled(Layer):
        def forward(self, x: Any) -> Any:
            return 2 * x

        def backward(self, delta: Any) -> Any:
            return 2 * delta

    class DenseOfMine(Dense, repr=False):
        pass

    found = Picture(built(Dense(2), Doubled(), DenseOfMine(3)), X)
    assert {"Doubled()", "DenseOfMine(3)"} <= set(found.texts)
    assert found.artists["doubled_1"].get_width() > 0.5
    assert len(found.named("dense_of_mine_1[")) == 3


def test_a_single_layer_and_a_single_number() -> None:
    layer = Dense(1)
    layer.build((1,), rng=0)
    assert set(Picture(layer, [[2.0]]).named("input[")) == {"input[0]"}
    activation = Activation("tanh")
    activation.build((), rng=0)
    found = Picture(activation, [2.0])
    assert found.text_at(found.artists["input[0]"].center) == "2"


def test_a_deep_network_is_not_wider_than_a_wall() -> None:
    found = Picture(built(*[Dense(2) for _ in range(60)]))
    assert found.figure.get_size_inches()[0] <= 40.0 + 1e-9
    assert len(found.named("dense_60[")) == 2


# ------------------------------------------------------------------------------- maps and steps


def images() -> Any:
    return built(
        Convolution(7, 3), Activation("relu"), MaxPool(2), Convolution(3, (3, 2)), Flatten(),
        Dense(2), row=(8, 8, 1),
    )  # fmt: skip


def test_feature_maps_and_filters_are_images_of_the_model_s_numbers() -> None:
    model = images()
    x = np.random.default_rng(0).random((1, 8, 8, 1))
    found = Picture(model, x)
    maps = model[1](model[0](x))[0]
    assert list(found.named("convolution_1[")) == [f"convolution_1[{n}]" for n in (0, 1, 2, 6)]
    for n in (0, 1, 2, 6):
        assert np.array_equal(found.artists[f"convolution_1[{n}]"].get_array(), maps[..., n])
        kernel = found.artists[f"convolution_1.weights[0, {n}]"]
        assert np.array_equal(kernel.get_array(), model[0].weights.value[..., 0, n])
        assert kernel.norm.vmax == -kernel.norm.vmin == abs(model[0].weights.value).max()
    second = found.named("convolution_2.weights")
    assert len(second) == 3 * 2  # of seven input maps, two
    assert {"max pool 2", "flatten", "3 × 3", "3 × 2", "8 × 8 × 7", "relu"} <= set(found.texts)
    assert found.artists["input[0]"].get_cmap().name == "Greys"
    colours = found.artists["convolution_1[0]"].get_cmap()
    assert [to_hex(colours(edge)) for edge in (0.0, 1.0)] == [NEGATIVE.lower(), POSITIVE.lower()]


def test_without_a_row_maps_are_empty_and_filters_are_not() -> None:
    found = Picture(images())
    assert isinstance(found.artists["convolution_1[0]"], Rectangle)
    assert found.artists["convolution_1[0]"].get_width() == pytest.approx(0.8)
    assert found.artists["convolution_1.weights[0, 0]"].get_array().shape == (3, 3)


@pytest.mark.parametrize("kind", [Convolution, TransposedConvolution])
def test_filters_of_groups_have_the_maps_of_their_group(kind: Any) -> None:
    layer = kind(4, 3, groups=2)
    layer.build((3, 5, 4), rng=0)
    found, w = Picture(layer), layer.weights.value
    name = "convolution" if kind is Convolution else "transposed_convolution"
    for c, k in ((0, 0), (1, 1), (0, 2), (1, 3)):
        taken = w[..., c, k] if kind is Convolution else w[..., 2 * (k // 2) + c, k % 2]
        assert np.array_equal(found.artists[f"{name}.weights[{c}, {k}]"].get_array(), taken)


@pytest.mark.parametrize("row", [(12, 2), (5, 6, 4, 2)])
def test_signals_and_volumes_are_drawn(row: tuple[int, ...]) -> None:
    model = built(Convolution(3, 3), Activation("tanh"), row=row)
    x = np.random.default_rng(0).normal(size=(1, *row))
    found, y = Picture(model, x), model(x)[0]
    if len(row) == 2:
        assert np.array_equal(found.artists["convolution_1[0]"].get_array(), y.T)
        assert found.artists["convolution_1.weights[0, 1]"].get_array().shape == (2, 3)
    else:
        assert np.array_equal(found.artists["convolution_1[1]"].get_array(), y[2, ..., 1])


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (SimpleRNN(4), "RNN"), (LSTM(4, return_sequences=True), "LSTM"), (GRU(4), "GRU"),
        (Bidirectional(LSTM(2, return_sequences=True)), "LSTM"),
    ],
)  # fmt: skip
def test_a_recurrent_layer_is_unrolled(layer: Any, name: str) -> None:
    model = built(layer, row=(9, 3))
    x = np.random.default_rng(0).normal(size=(1, 9, 3))
    found = Picture(model, x)
    assert found.texts.count(name) == 4  # t = 1, 2, 3 and 9
    assert [text for text in found.texts if text.startswith("t = ")] == [
        f"t = {n}" for n in (1, 2, 3, 9)
    ]
    for n in (0, 1, 2, 8):
        assert np.array_equal(found.artists[f"input[{n}]"].get_array(), x[0, n : n + 1])
    path = next(iter(model.children()))
    y = model(x)[0]
    if y.ndim == 2:
        assert np.array_equal(found.artists[f"{path}[8]"].get_array(), y[8:9])
    else:
        assert found.text_at(found.artists[f"{path}[0]"].center) == _short(float(y[0]))
    assert Picture(model).texts.count(name) == 4


def test_a_mask_does_not_shift_the_steps() -> None:
    layer = LSTM(4, return_sequences=True)
    layer.build((None, 3), (None,), rng=0)
    found = Picture(layer, (np.ones((1, 3, 3)), np.ones((1, 3))))
    for n in range(3):
        extents = [found.artists[f"{name}[{n}]"].get_extent() for name in ("input_1", "lstm")]
        assert extents[0][2:] == extents[1][2:]  # at one height
    assert Picture(layer, (np.ones((1, 0, 3)), np.ones((1, 0)))).texts.count("LSTM") == 0


def test_open_axes_have_the_size_of_the_row_or_a_few_items() -> None:
    model = built(SimpleRNN(4, return_sequences=True), row=(None, 3))
    assert "… × 3" in Picture(model).texts
    found = Picture(model, np.zeros((1, 3, 3)))
    assert len(found.named("input[")) == 3 and "3 × 3" in found.texts


# ------------------------------------------------------------------------------- the figure


def test_pyplot_has_the_figure_and_it_can_be_saved(tmp_path: Any) -> None:
    import matplotlib.pyplot as plt

    figure = picture(network(), X)
    assert figure.number in plt.get_fignums()
    figure.savefig(tmp_path / "network.svg")
    assert "dense_1.weights[0, 1]" in (tmp_path / "network.svg").read_text()


# ------------------------------------------------------------------------------- errors

SPATIAL = "picture(model, x[np.newaxis])"


@pytest.mark.parametrize(
    ("x", "kind", "hint"),
    [
        (np.zeros((2, 3)), ShapeError, "picture(model, x[:1])"),
        (np.zeros((0, 3)), ShapeError, "picture(model, x[:1])"),
        (np.zeros(3), ShapeError, SPATIAL),
        (np.zeros((1, 4)), ShapeError, ""),
        ((X, X), ShapeError, ""),
        ("text", ChainruleError, ""),
    ],
)
def test_an_x_that_is_not_one_row_is_a_named_error(x: Any, kind: Any, hint: str) -> None:
    with pytest.raises(kind) as caught:
        picture(network(), x)
    assert hint in str(caught.value)


def test_a_model_that_is_not_built_or_no_layer_is_a_named_error() -> None:
    for x in (None, X):
        with pytest.raises(BuildError, match="is not built yet") as caught:
            picture(Sequential([Dense(3)]), x)
        assert "build(input_shape)" in caught.value.hint
    with pytest.raises(DefinitionError, match="picture needs a layer"):
        picture("dense")
    with pytest.raises(TypeError, match=r"model\.build"):
        picture(network(), X, (8,))
