"""The figure of a trace: the sizes of the steps, legible however many there are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from chainrule import Activation, Dense, Residual, Sequential, Softmax, losses
from chainrule.display.trace import Trace, trace
from chainrule.display.trace_plot import LABELLED


@pytest.fixture(autouse=True)
def no_figure_stays_open() -> Iterator[None]:
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def traced(*layers: Any, loss: Any = None, target: Any = None) -> Trace:
    model = Sequential(list(layers))
    model.build((6,), rng=0)
    x = np.random.default_rng(1).normal(size=(8, 6))
    y = model.forward(x)
    return trace(
        model, x, np.zeros_like(y) if target is None else target, loss or losses.HalfSquaredError()
    )


def plain(depth: int) -> Trace:
    layers = [layer for _ in range(depth) for layer in (Dense(6), Activation("sigmoid"))]
    return traced(*layers, Dense(2))


def drawn(found: Trace) -> Any:
    figure = found.plot()
    FigureCanvasAgg(figure).draw()
    return figure


def test_the_curves_are_the_sizes_of_the_steps() -> None:
    found = plain(3)
    output, delta, gradient = found.plot().axes
    rows = list(range(7))
    assert list(output.lines[0].get_xdata()) == [step.output_size for step in found]
    assert list(delta.lines[0].get_xdata()) == [step.delta_size for step in found]
    assert list(output.lines[0].get_ydata()) == list(delta.lines[0].get_ydata()) == rows
    for line, name in zip(gradient.lines, ("weights", "biases"), strict=True):
        sizes = [step.gradient_sizes[name] for step in found if step.gradients]
        assert list(line.get_xdata()) == sizes
        assert list(line.get_ydata()) == [0, 2, 4, 6]
        assert line.get_label() == name
    assert gradient.lines[0].get_color() != gradient.lines[1].get_color()
    assert gradient.lines[0].get_marker() != gradient.lines[1].get_marker()


def test_the_scales_are_logarithmic_and_equally_steep_in_all_panels() -> None:
    for found in (plain(12), plain(1)):
        spans = []
        for axes in drawn(found).axes:
            assert axes.get_xscale() == "log"
            left, right = axes.get_xlim()
            spans.append(np.log10(right / left))
        assert np.ptp(spans) < 1e-9
        assert spans[0] > 4


def test_a_plain_net_vanishes_where_a_residual_one_does_not() -> None:
    def fall(found: Trace) -> float:
        xs = found.plot().axes[1].lines[0].get_xdata()
        return float(xs[0] / xs[-1])

    blocks = [Residual(Dense(6), Activation("sigmoid")) for _ in range(12)]
    assert fall(plain(12)) < 1e-6
    assert fall(traced(*blocks, Dense(2))) > 1e-2


def test_values_flow_down_and_every_layer_is_named() -> None:
    found = plain(3)
    axes = drawn(found).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [s.place for s in found]
    bottom, top = axes.get_ylim()
    assert bottom > top


@pytest.mark.parametrize("depth", [15, 30, 100])
def test_the_names_of_many_layers_do_not_overlap(depth: int) -> None:
    figure = drawn(plain(depth))
    labels = figure.axes[0].get_yticklabels()
    assert min(2 * depth + 1, LABELLED // 2) <= len(labels) <= LABELLED
    boxes = [label.get_window_extent() for label in labels]
    assert all(a.y0 >= b.y1 - 1 for a, b in pairwise(boxes))
    assert min(box.x0 for box in boxes) >= 0
    assert labels[0].get_fontsize() >= 8


def test_zeros_are_on_the_left_edge_and_are_explained() -> None:
    found = traced(Dense(3, initializer="zeros"), Activation("tanh"), Dense(2))
    output = found.plot().axes[0]
    line, zeros = output.lines
    assert np.isnan(line.get_xdata()[:2]).all()
    assert list(zeros.get_xdata()) == [0.0] * len(zeros.get_xdata())
    assert list(zeros.get_ydata()) == [0, 1, 2]
    assert output.get_xlabel() == "hollow: zero"


def test_what_is_not_finite_is_crossed_and_its_beginning_tinted() -> None:
    model = Sequential([Dense(4), Dense(4), Dense(2)])
    model.build((6,), rng=0)
    model.parameters["dense_2.weights"].value[0, 0] = np.nan
    found = trace(model, np.ones((3, 6)), np.ones((3, 2)), losses.HalfSquaredError())
    figure = drawn(found)
    output, delta, gradient = figure.axes
    assert list(output.lines[1].get_ydata()) == [1, 2]
    assert list(delta.lines[1].get_ydata()) == [0, 1, 2]
    assert output.get_xlabel() == gradient.get_xlabel() == "×: not finite"
    (tint,) = output.patches
    assert (tint.get_y(), tint.get_height()) == (0.5, 1.0)
    assert "weights of dense_2: 1 NaN of 16 numbers" in figure.get_suptitle()


def test_without_a_backward_pass_the_panels_say_so() -> None:
    labels = np.ones(8, int)
    loss = losses.NegativeLogLikelihood()
    model = Sequential([Dense(2), Softmax()])
    model.build((6,), rng=0)
    model.parameters.value[:] = [5000.0, 0.0] * 6 + [0.0, 0.0]
    found = trace(model, np.ones((8, 6)), labels, loss)
    _, delta, gradient = drawn(found).axes
    assert [text.get_text() for text in delta.texts] == ["no backward pass"]
    assert [text.get_text() for text in gradient.texts] == ["no backward pass"]
    found = traced(Activation("tanh"))
    assert [text.get_text() for text in drawn(found).axes[2].texts] == ["no parameters"]


def test_it_draws_into_a_part_of_a_figure() -> None:
    figure = Figure(figsize=(12, 8))
    left, right = figure.subfigures(1, 2)
    assert plain(2).plot(into=left) is left
    assert len(left.axes) == 3
    assert not right.axes


def test_the_largest_and_the_smallest_numbers_have_a_figure() -> None:
    model = Sequential([Dense(1, initializer=1e154), Dense(1, initializer=1e-300)])
    model.build((1,), rng=0)
    for scale in (1e154, 1e-300):
        x = np.full((2, 1), scale)
        figure = drawn(trace(model, x, np.ones((2, 1)), losses.HalfSquaredError()))
        assert len(figure.axes) == 3


def test_a_new_figure_is_registered_with_pyplot_and_leaves_it_when_a_notebook_shows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    plt.close("all")
    figure = plain(2).plot()
    assert plt.get_fignums() == [figure.number]
    name = "module://matplotlib_inline.backend_inline"
    monkeypatch.setattr(mpl, "get_backend", lambda **how: name)
    assert figure._repr_html_() is None and plt.get_fignums() == []
    plt.close("all")
