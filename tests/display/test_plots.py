"""The figures show the numbers that they were given, legibly, and leave the program alone."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from chainrule.core.errors import DataError, MissingExtraError, ShapeError
from chainrule.display.plots import (
    Confusion,
    percentage,
    plot_confusion_matrix,
    plot_confusions,
    plot_digits,
    plot_results,
    plot_training,
    worst_confusions,
)

HISTORY = {
    "loss": [1.0, 0.2, 0.05],
    "accuracy": [0.5, 0.9, 0.99],
    "validation_loss": [1.1, 0.3, 0.25],
    "validation_accuracy": [0.4, 0.8, 0.85],
}
LABELS = np.array([0, 1, 2, 0])
PROBABILITIES = np.array([[0.9, 0.1, 0.0], [0.7, 0.2, 0.1], [0.0, 0.05, 0.95], [0.1, 0.8, 0.1]])
WRONG = [Confusion(3, 0, 1, 0.8), Confusion(1, 1, 0, 0.7)]


def images(count: int = 4, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random((count, 8, 8))


def captions(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


# ------------------------------------------------------------------------------- the curves


def test_the_curves_are_the_history() -> None:
    figure = plot_training(HISTORY)
    loss, accuracy = figure.axes
    for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
        training, validation = axes.lines[:2]
        assert list(training.get_xdata()) == [1, 2, 3]
        assert list(training.get_ydata()) == HISTORY[name]
        assert list(validation.get_ydata()) == HISTORY[f"validation_{name}"]
        assert training.get_color() != validation.get_color()
        assert training.get_linestyle() != validation.get_linestyle()
        assert axes.get_xlabel() == "epoch"
        assert [text.get_text() for text in axes.get_legend().get_texts()] == [
            "training",
            "validation",
        ]
    titles = [axes.get_title(loc="left") for axes in (loss, accuracy)]
    assert titles == ["loss", "accuracy"]


def test_a_cost_that_falls_by_more_than_ten_times_has_a_logarithmic_scale() -> None:
    assert plot_training({"loss": [1.0, 0.05]}).axes[0].get_yscale() == "log"
    assert plot_training({"loss": [1.0, 0.5]}).axes[0].get_yscale() == "linear"
    assert plot_training({"loss": [1.0, 0.0]}).axes[0].get_yscale() == "linear"
    assert plot_training({"loss": [float("nan")]}).axes[0].get_yscale() == "linear"


def test_accuracy_is_given_in_percent() -> None:
    figure = plot_training(HISTORY)
    FigureCanvasAgg(figure).draw()
    labels = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert "60 %" in labels


def test_without_validation_there_is_one_curve_and_no_legend() -> None:
    (axes,) = plot_training({"loss": [1.0, 0.5]}).axes
    assert [line.get_label()[0] != "_" for line in axes.lines] == [True, False]  # and a ring
    assert axes.get_legend() is None


@pytest.mark.parametrize("history", [{}, {"loss": []}, {"accuracy": [1.0]}])
def test_a_history_without_an_epoch_is_refused_by_name(history: dict[str, list[float]]) -> None:
    with pytest.raises(DataError, match="no cost to draw"):
        plot_training(history)


# ------------------------------------------------------------------------------- the images


def test_every_digit_has_its_prediction_and_wrong_ones_are_framed() -> None:
    figure = plot_digits(images(), LABELS, [0, 0, 2, 1])
    assert captions(figure) == ["0", "0, not 1", "2", "1, not 0"]
    frames = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    colours = [frame.get_edgecolor() for frame in frames]
    assert colours[0] == colours[2] != colours[1] == colours[3]
    assert frames[1].get_linewidth() > frames[0].get_linewidth()


def test_the_images_are_drawn_upright_and_dark_is_large() -> None:
    pictures = images()
    shown = plot_digits(pictures, LABELS, LABELS, columns=2).axes[0].get_images()
    for drawn, picture in zip(shown, pictures, strict=True):
        assert np.array_equal(drawn.get_array(), picture)
        left, right, bottom, top = drawn.get_extent()
        assert (right - left, abs(top - bottom)) == pytest.approx((8, 8))
        assert drawn.cmap(0.0)[:3] == (1.0, 1.0, 1.0)
        assert drawn.get_clim() == (0, pictures.max())
    # The vertical axis points down, and the first row of pixels is on top.
    axes = plot_digits(pictures, LABELS, LABELS, columns=2).axes[0]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert shown[0].origin == "upper"
    assert shown[0].get_extent()[3] < shown[0].get_extent()[2] <= shown[2].get_extent()[3]


def test_rows_of_pixels_are_drawn_as_squares() -> None:
    pictures = images()
    (axes,) = plot_digits(pictures.reshape(4, 64), LABELS, LABELS).axes
    assert np.array_equal(axes.get_images()[1].get_array(), pictures[1])


def test_the_worst_confusions_are_the_most_certain_ones() -> None:
    assert worst_confusions(LABELS, PROBABILITIES) == WRONG
    assert worst_confusions(LABELS, PROBABILITIES, count=1) == WRONG[:1]
    figure = plot_confusions(images(), LABELS, PROBABILITIES)
    assert captions(figure) == ["1, not 0\n(80 %)", "0, not 1\n(70 %)"]
    first = figure.axes[0].get_images()[0]
    assert np.array_equal(first.get_array(), images()[3])


def test_where_nothing_is_wrong_the_figure_says_so() -> None:
    assert captions(plot_confusions(images(3), [0, 1, 2], np.eye(3))) == ["all 3 are correct"]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (0.973, "97 %"), (0.9986, "99.8 %"), (0.99999, "99.9 %"), (1.0, "100 %")],
)
def test_a_hundred_percent_is_said_only_of_all(share: float, text: str) -> None:
    assert percentage(share) == text


def test_what_does_not_fit_together_is_refused_by_name() -> None:
    with pytest.raises(ShapeError, match="different lengths"):
        plot_digits(images(3), LABELS, LABELS)
    with pytest.raises(ShapeError, match="different lengths"):
        plot_confusions(images(4), LABELS, PROBABILITIES[:3])
    with pytest.raises(ShapeError, match="different lengths"):
        plot_confusions(images(5), LABELS, PROBABILITIES)
    with pytest.raises(ShapeError, match="wrong shape"):
        plot_digits(np.zeros((4, 63)), LABELS, LABELS)
    with pytest.raises(ShapeError, match="wrong shape"):
        plot_digits(np.zeros((0, 8, 8)), [], [])
    with pytest.raises(ShapeError, match="wrong number of axes"):
        plot_confusions(images(), LABELS, LABELS)


# ------------------------------------------------------------------------------- the sheet


def sheet(seed: int = 0) -> Figure:
    rng = np.random.default_rng(seed)
    labels = rng.integers(10, size=360)
    said = np.where(rng.random(360) < 0.9, labels, rng.integers(10, size=360))
    probabilities = 0.0001 + 0.999 * np.eye(10)[said]
    figure: Figure = plot_results(HISTORY, images(360, seed), labels, probabilities)
    return figure


def test_no_text_and_no_image_on_the_sheet_overlaps_another_or_leaves_it() -> None:
    figure = sheet()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    texts = [part._suptitle for part in figure.findobj(match=_has_title)]
    for axes in figure.axes:
        texts += axes.texts
        if axes.axison:
            texts += [axes.xaxis.label, axes.yaxis.label, *axes.get_legend().get_texts()]
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                texts += [t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
    shown = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    assert len(shown) > 60
    width, height = canvas.get_width_height()
    for what, box in shown:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, what
    images_shown = [i.get_window_extent(renderer) for axes in figure.axes for i in axes.images]
    assert len(images_shown) == 46
    shown += [("an image", box.shrunk(0.99, 0.99)) for box in images_shown]
    for (one, a), (other, b) in combinations(shown, 2):
        assert not a.overlaps(b), (one, other)


def test_the_sheet_says_how_many_are_right() -> None:
    titles = [part._suptitle.get_text() for part in sheet().findobj(match=_has_title)]
    assert any("of 360 correct" in title for title in titles)


def _has_title(part: Any) -> bool:
    return getattr(part, "_suptitle", None) is not None


def test_a_sheet_is_written_without_pyplot_and_without_a_change_of_backend(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from chainrule.display.plots import plot_confusions\n"
        "assert 'matplotlib' not in sys.modules\n"
        "figure = plot_confusions(np.ones((2, 8, 8)), [0, 1], [[0.5, 0.4], [0.9, 0.1]])\n"
        f"figure.savefig({str(tmp_path / 'figure.png')!r}, dpi=50)\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_part_of_another_figure_can_be_drawn_into() -> None:
    figure = Figure()
    left, right = figure.subfigures(1, 2)
    assert plot_training(HISTORY, into=left) is left
    assert plot_digits(images(), LABELS, LABELS, into=right) is right
    assert len(figure.axes) == 3


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"chainrule\[plot\]"):
        plot_training(HISTORY)
    with pytest.raises(ImportError):
        plot_digits(images(), LABELS, LABELS)


# ------------------------------------------------------------------------------- confusions counted


def test_a_confusion_matrix_shows_counts_names_recall_and_precision():
    figure = plot_confusion_matrix([[950, 12, 0], [9, 29, 0], [0, 0, 0]], names=["a", "b", "c"])
    (axes,) = figure.axes
    assert captions(figure) == ["950", "12", "9", "29"]  # zeros are left white
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["a", "b", "c"]
    beside, above = axes.child_axes
    assert [label.get_text() for label in beside.get_yticklabels()] == ["99", "76", "–"]
    assert [label.get_text() for label in above.get_xticklabels()] == ["99.0", "71", "–"]
    image = axes.images[0].get_array()
    assert np.allclose(image[2], 1.0)  # a class without samples
    assert image[0, 0, 2] > image[0, 0, 0] and image[1, 0, 0] > image[1, 0, 2]  # blue, vermilion
    plt.close(figure)


def test_the_figure_of_a_confusion_matrix_is_one_of_pyplot_and_can_be_drawn_into_another():
    before = plt.get_fignums()
    figure = plot_confusion_matrix(np.eye(2, dtype=int))
    assert plt.get_fignums() == [*before, figure.number]
    figure.savefig(io.BytesIO())
    plt.close(figure)
    own = Figure()
    assert plot_confusion_matrix(np.eye(2) * 1234.5, into=own) is own
    assert captions(own) == ["1,234", "1,234"]
    assert plt.get_fignums() == before


def test_many_classes_are_colours_alone():
    figure = plot_confusion_matrix(np.eye(21, dtype=int))
    assert not figure.axes[0].texts and not figure.axes[0].child_axes
    plt.close(figure)


@pytest.mark.parametrize(
    ("matrix", "names", "words"),
    [
        (np.ones((2, 3)), None, "(2, 3)"),
        (np.ones(4), None, "(4,)"),
        (np.ones((0, 0)), None, "(0, 0)"),
        (np.ones((2, 2)), ["a"], "2 names"),
    ],
)
def test_what_is_no_confusion_matrix_is_refused(matrix, names, words):
    with pytest.raises(ShapeError) as caught:
        plot_confusion_matrix(matrix, names)
    assert words in str(caught.value)
