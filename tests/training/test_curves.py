"""The learning curves: what is drawn is what the history holds."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np
import pytest

from chainrule.training.history import History

FIGURES = {"loss": [2.0, 1.0, 0.5], "validation_loss": [1.5, 0.25, 0.75]}


def lines_of(ax: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in ax.get_lines() if line.get_label()[0] != "_"}


def test_the_figure_has_a_panel_for_the_losses_and_one_for_each_metric() -> None:
    import matplotlib.pyplot as plt

    history = History({"loss": [2.0, 1.0, 0.5], "accuracy": [0.5, 0.75, 1.0], **FIGURES})
    figure = history.plot()
    loss, accuracy = figure.axes
    assert (loss.get_title("left"), accuracy.get_title("left")) == ("loss", "accuracy")
    assert list(lines_of(loss)) == ["training", "validation"]
    assert list(lines_of(accuracy)) == ["training"]
    for label, name in (("training", "loss"), ("validation", "validation_loss")):
        np.testing.assert_array_equal(lines_of(loss)[label].get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(lines_of(loss)[label].get_ydata(), history[name])
    assert "epoch 2" in loss.get_title("right") and "0.250" in loss.get_title("right")
    plt.close(figure)


@pytest.mark.parametrize(
    ("losses", "scale"),
    [
        ([1.0, 0.5], "linear"),
        ([1.0, 0.01], "log"),
        ([1.0, 0.0], "linear"),
        ([1.0, np.nan], "linear"),
    ],
)
def test_losses_over_more_than_a_decade_have_a_logarithmic_scale(
    losses: list[float], scale: str
) -> None:
    import matplotlib.pyplot as plt

    figure = History({"loss": losses}).plot()
    assert figure.axes[0].get_yscale() == scale
    figure.canvas.draw()
    plt.close(figure)


def test_it_draws_into_axes_that_are_given_and_makes_no_other_figure() -> None:
    import matplotlib.pyplot as plt

    plt.close("all")
    figure, (left, right) = plt.subplots(1, 2)
    assert History({**FIGURES, "accuracy": [0, 0, 1]}).plot(ax=right) is figure
    assert plt.get_fignums() == [figure.number]
    assert not left.get_lines() and list(lines_of(right)) == ["training", "validation"]
    plt.close(figure)


@pytest.mark.parametrize("history", [History(), History({"loss": [1.0]})])
def test_a_history_of_no_or_one_epoch_is_drawn_without_a_warning(history: History) -> None:
    import matplotlib.pyplot as plt

    figure = history.plot()
    figure.canvas.draw()
    plt.close(figure)


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install 'chainrule\[plot\]'"):
        History(FIGURES).plot()


def test_the_learning_rate_has_the_last_panel_and_is_neither_training_nor_validation() -> None:
    import matplotlib.pyplot as plt

    figure = History({"learning_rate": [0.1, 0.2, 0.05], **FIGURES, "accuracy": [0, 0, 1]}).plot()
    titles = [ax.get_title("left") for ax in figure.axes]
    assert titles == ["loss", "accuracy", "learning rate"]
    (line,) = figure.axes[2].get_lines()
    np.testing.assert_array_equal(line.get_ydata(), [0.1, 0.2, 0.05])
    assert figure.axes[2].get_legend() is None and lines_of(figure.axes[2]) == {}
    plt.close(figure)


@pytest.mark.parametrize(
    ("rates", "scale", "bottom"),
    [
        ([0.1, 0.1, 0.1], "linear", 0),
        ([0.1, 0.09, 0.05], "linear", 0),
        ([0.1, 0.09, 1e-9], "linear", 0),
        ([0.1, 0.01, 0.001], "log", None),
    ],
)
def test_learning_rates_have_a_logarithmic_scale_only_if_most_are_small(
    rates: list[float], scale: str, bottom: float | None
) -> None:
    import matplotlib.pyplot as plt

    figure = History({"loss": [3.0, 2.0, 1.0], "learning_rate": rates}).plot()
    ax = figure.axes[1]
    assert ax.get_yscale() == scale
    low, high = ax.get_ylim()
    assert low <= min(rates) and max(rates) < high
    assert bottom is None or -0.01 < low <= bottom
    figure.canvas.draw()
    plt.close(figure)


@pytest.mark.parametrize(
    ("panels", "rows_and_columns"),
    [(1, (1, 1)), (2, (1, 2)), (3, (1, 3)), (4, (2, 2)), (5, (2, 3)), (7, (3, 3)), (10, (4, 3))],
)
def test_panels_are_in_a_grid_of_at_most_three_columns(
    panels: int, rows_and_columns: tuple[int, int]
) -> None:
    import matplotlib.pyplot as plt

    figure = History({f"dense_{n}_loss": [1.0, 0.5] for n in range(panels)}).plot()
    rows, columns = rows_and_columns
    assert len(figure.axes) == panels
    assert tuple(figure.get_size_inches()) == pytest.approx((4.6 * columns, 3.4 * rows))
    places = {ax.get_subplotspec().num1 for ax in figure.axes}
    assert places == set(range(panels))
    plt.close(figure)


def test_no_words_of_the_figure_lie_on_each_other() -> None:
    import matplotlib.pyplot as plt

    outputs = {f"dense_{n}_mean_absolute_error": [1.0, 0.5] for n in range(6)}
    figure = History({**FIGURES, **{k: [*v, 0.1] for k, v in outputs.items()}}).plot()
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    boxes = []
    for ax in figure.axes:
        titles = [ax.title, ax._left_title, ax._right_title, ax.xaxis.label]
        ticks = [*ax.get_xticklabels(), *ax.get_yticklabels()]
        inside = ax.get_window_extent(renderer).padded(15)
        for text in titles + ticks:
            box = text.get_window_extent(renderer)
            shown = text in titles or inside.overlaps(box)
            if text.get_text() and shown and text.get_visible():
                boxes.append(box)
    for n, box in enumerate(boxes):
        assert not any(box.padded(-1).overlaps(other.padded(-1)) for other in boxes[:n])
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
    plt.close(figure)


def test_a_figure_with_gaps_is_drawn_as_dots() -> None:
    import matplotlib.pyplot as plt

    gaps = [1.0, np.nan, np.nan, 0.5] * 10
    figure = History({"loss": [1.0] * 40, "norm": gaps}).plot()
    assert [ax.get_lines()[0].get_marker() for ax in figure.axes] == ["", "o"]
    plt.close(figure)


def test_epochs_without_a_finite_figure_keep_their_place_on_the_axis() -> None:
    import matplotlib.pyplot as plt

    figure = History({"loss": [1.0, *[np.nan] * 3], "accuracy": [0.1, 0.2, 0.3, 0.4]}).plot()
    loss, accuracy = figure.axes
    assert loss.get_xlim() == pytest.approx(accuracy.get_xlim())
    low, high = loss.get_xlim()
    assert 0 < low <= 1 and 4 <= high < 5
    figure.canvas.draw()
    plt.close(figure)


@pytest.mark.parametrize("never", [[np.nan] * 3, [np.inf, np.nan, -np.inf]])
@pytest.mark.parametrize("name", ["loss", "learning_rate"])
def test_a_panel_without_a_finite_value_says_so(name: str, never: list[float]) -> None:
    import matplotlib.pyplot as plt

    figure = History({"accuracy": [0, 0, 1], name: never}).plot()
    ax = next(ax for ax in figure.axes if ax.get_title("left") == name.replace("_", " "))
    assert [text.get_text() for text in ax.texts] == ["no finite value"]
    assert not len(ax.get_yticks()) and not ax.get_title("right")
    low, high = ax.get_xlim()
    figure.canvas.draw()
    assert 0 < low <= 1 and 3 <= high < 4
    assert not any(text.get_text() for text in figure.axes[0].texts if ax is not figure.axes[0])
    plt.close(figure)


def test_a_curve_without_a_point_says_so_in_the_legend() -> None:
    import matplotlib.pyplot as plt

    figure = History({"loss": [2.0, 1.0], "validation_loss": [np.nan, np.inf]}).plot()
    (ax,) = figure.axes
    told = [text.get_text() for text in ax.get_legend().get_texts()]
    assert told == ["training", "validation: no finite value"] and not ax.texts
    assert len(ax.get_yticks()) and not ax.get_title("right")
    figure.canvas.draw()
    plt.close(figure)


def test_a_notebook_shows_the_figure_once_because_it_leaves_pyplot_when_it_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    plt.close("all")
    figure = History(FIGURES).plot()
    assert plt.get_fignums() == [figure.number]
    figure._repr_html_()  # another backend: it stays
    assert plt.get_fignums() == [figure.number]
    name = "module://matplotlib_inline.backend_inline"
    monkeypatch.setattr(mpl, "get_backend", lambda **how: name)
    assert figure._repr_html_() is None
    assert plt.get_fignums() == []
    assert pickle.loads(pickle.dumps(figure)).axes
    plt.close("all")


# ------------------------------------------------------------------------------- the user's style


def test_the_colours_and_the_size_of_text_are_those_of_the_style() -> None:
    import matplotlib as mpl
    import matplotlib.pyplot as plt
    from matplotlib.colors import same_color
    from matplotlib.text import Text

    with plt.style.context(["dark_background", {"font.size": 20}]):
        cycle = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
        figure = History(FIGURES).plot()
    (ax,) = figure.axes
    (title,) = ax.findobj(lambda part: isinstance(part, Text) and part.get_text() == "loss")
    assert same_color(figure.get_facecolor(), "black")
    for text in (title, ax.xaxis.label, *ax.get_xticklabels(), *ax.get_legend().get_texts()):
        assert same_color(text.get_color(), "white")
    assert [line.get_color() for line in ax.lines[:2]] == cycle[:2]
    assert title.get_fontsize() == 22
    plt.close(figure)


def test_without_a_style_the_colours_are_ours() -> None:
    import matplotlib.pyplot as plt
    from matplotlib.colors import to_rgba

    from chainrule.figure_style import CURVES, INK

    with plt.style.context("default"):
        figure = History(FIGURES).plot()
    (ax,) = figure.axes
    assert [line.get_color() for line in ax.lines[:2]] == list(CURVES[:2])
    assert ax.xaxis.label.get_color() == INK and ax.spines["left"].get_edgecolor() == to_rgba(INK)
    plt.close(figure)


@pytest.mark.parametrize("style", ["default", "dark_background", "ggplot", "grayscale"])
def test_every_figure_can_be_read_in_any_style(style: str) -> None:
    """All text has a contrast of at least 3 to the background, as WCAG asks of large text."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import to_rgb
    from matplotlib.text import Text

    from chainrule import Activation, Dense, Sequential, picture
    from chainrule.display import plots

    def light(colour: Any) -> float:
        linear = [(c / 12.92, ((c + 0.055) / 1.055) ** 2.4)[c > 0.04045] for c in to_rgb(colour)]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    model = Sequential([Dense(3), Activation("tanh"), Dense(1)])
    model.build((2,), rng=0)
    with plt.style.context(style):
        figures = [
            History({**FIGURES, "learning_rate": [0.1, 0.01, 0.001]}).plot(),
            picture(model).figure,
            plots.plot_confusion_matrix(np.zeros((3, 3), int)),
        ]
        for figure in figures:
            figure.canvas.draw()
            paper = light(figure.get_facecolor())
            for text in figure.findobj(Text):
                if text.get_text() and text.get_visible():
                    one, two = sorted([light(text.get_color()), paper])
                    assert (two + 0.05) / (one + 0.05) >= 3, (style, text.get_text())
            plt.close(figure)


def test_a_figure_without_a_window_shows_itself(tmp_path: Any) -> None:
    import matplotlib.pyplot as plt

    from chainrule.figure_style import figure_without_window

    before = plt.get_fignums()
    figure = figure_without_window(figsize=(2, 1))
    assert plt.get_fignums() == before
    assert figure._repr_png_().startswith(b"\x89PNG")
    copied = pickle.loads(pickle.dumps(figure))
    assert copied._repr_png_().startswith(b"\x89PNG")
    plt.close("all")
