"""Figures of a training run and its results.

Two curves show whether a network learns: the cost C of the training data, and that of validation
data. Both fall while the network learns what the two have in common; if the second rises again, the
network overfits: it memorises the training data.

    C_train(epoch) → 0,    C_validation(epoch) → C_min > 0

Each function takes plain data and returns a matplotlib figure, or draws into a given figure or
subfigure ``into``. Nothing here but `plot_confusion_matrix` uses pyplot or its backend:
``figure.savefig("training.png")`` works in any program, and a notebook displays the figure.

The colours are those of M. Okabe and K. Ito, *Color Universal Design* (2002), which people with
any kind of colour vision can distinguish.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import define

from chainrule.core.errors import DataError, ShapeError
from chainrule.figure_style import (
    CURVES,
    figure_without_window,
    ink,
    new_figure,
    on_paper,
    pale,
    quiet,
)
from chainrule.training.curves import draw_panel

VERMILION = CURVES[1]
_VALIDATION = "validation_"


def plot_results(
    history: Mapping[str, Sequence[float]],
    images: npt.ArrayLike,
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
) -> Any:
    """Training and test on one page: curves, images with predictions, worst confusions.

    Parameters
    ----------
    history
        As for `plot_training`.
    images, labels, probabilities
        All test data, as for `plot_confusions`. The first forty images are shown with their
        predictions.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingExtraError, DataError, ShapeError
        As from the functions for the parts.
    """
    true, p = np.asarray(labels), np.asarray(probabilities)
    wrong = worst_confusions(true, p)
    figure = _figure(None, width=12.0, height=7.5)
    above, below = figure.subfigures(2, 1, height_ratios=[1.0, 1.15], hspace=0.04)
    left, right = below.subfigures(1, 2, width_ratios=[1.75, 1.0], wspace=0.03)
    plot_training(history, into=above)
    plot_digits(np.asarray(images)[:40], true[:40], p[:40].argmax(axis=1), into=left)
    plot_confusions(images, true, p, count=6, columns=3, into=right)
    right_ones = len(true) - len(wrong)
    share = f"{right_ones:,} of {len(true):,} correct ({100 * right_ones / len(true):.1f} %)"
    _title(above, "Training")
    _title(left, f"Test: {share}; predictions below the digits")
    _title(right, f"The most certain of {len(wrong):,} errors" if wrong else "Errors")
    return figure


def plot_training(history: Mapping[str, Sequence[float]], into: Any = None) -> Any:
    """The training curves: one panel for the cost and one for each metric, over the epochs.

    Parameters
    ----------
    history
        Lists of one number per epoch: ``"loss"``, any metrics such as ``"accuracy"``, and the
        same for validation data under ``"validation_loss"``, ``"validation_accuracy"``, ….
        `Trainer.fit` returns such a mapping.
    into
        A figure or subfigure to draw into; by default a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    DataError
        If there is no epoch to draw.
    """
    curves = {name: list(history[name]) for name in history if len(history[name])}
    panels = [name for name in curves if not name.startswith(_VALIDATION) and name != "epoch"]
    if "loss" not in panels:
        raise DataError(
            "plot_training: there is no cost to draw",
            expected='a mapping with a list under "loss", one number per epoch',
            received=", ".join(curves) or "nothing",
            hint="pass the result of Trainer.fit, after at least one epoch",
        )
    panels = ["loss", *sorted(set(panels) - {"loss"}, key=panels.index)]
    figure = _figure(into, width=4.4 * len(panels), height=3.4)
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, name in zip(all_axes, panels, strict=True):
        draw_panel(axes, curves, name)
    return figure


def plot_digits(
    images: npt.ArrayLike,
    labels: npt.ArrayLike,
    predictions: npt.ArrayLike,
    columns: int = 10,
    into: Any = None,
) -> Any:
    """A grid of images, each with its prediction; wrong ones are framed.

    Parameters
    ----------
    images
        Shape (samples, height, width), or (samples, n²) for square ones. The largest number is
        black.
    labels, predictions
        The true and the predicted classes: shape (samples,).
    columns
        The number of images in a row.
    into
        A figure or subfigure to draw into; by default a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    ShapeError
        If the lengths of the arrays differ.
    """
    pictures = _pictures("plot_digits", images)
    true, said = np.asarray(labels), np.asarray(predictions)
    _same_length("plot_digits", images=pictures, labels=true, predictions=said)
    wrong = true != said
    captions = [f"{s}, not {t}" if w else f"{s}" for t, s, w in zip(true, said, wrong, strict=True)]
    figure = _figure(into, width=0.75 * columns, height=0.95 * math.ceil(len(pictures) / columns))
    _draw_grid(figure, pictures, captions, wrong, columns)
    return figure


def plot_confusions(
    images: npt.ArrayLike,
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    count: int = 8,
    columns: int = 4,
    into: Any = None,
) -> Any:
    """The wrongly classified images of which the network was most certain.

    Parameters
    ----------
    images
        Shape (samples, height, width), or (samples, n²) for square ones. The largest number is
        black.
    labels
        The true classes: integers, shape (samples,).
    probabilities
        The output of the network: p_k for every class k, shape (samples, classes). The prediction
        is the class with the largest p, and its certainty is that p.
    count
        The maximum number of images, the most certain ones first.
    columns
        The number of images in a row.
    into
        A figure or subfigure to draw into; by default a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    ShapeError
        If the lengths of the arrays differ.
    """
    pictures = _pictures("plot_confusions", images)
    true = np.asarray(labels)
    worst = worst_confusions(true, probabilities, count)
    _same_length("plot_confusions", images=pictures, labels=true)
    captions = [f"{c.said}, not {c.label}\n({percentage(c.certainty)})" for c in worst]
    figure = _figure(into, width=1.3 * columns, height=1.7 * math.ceil(count / columns))
    if worst:
        shown = pictures[[c.sample for c in worst]]
        _draw_grid(figure, shown, captions, np.zeros(len(worst), bool), columns)
    else:
        axes = figure.subplots()
        axes.set_axis_off()
        text = f"all {len(true):,} are correct"
        axes.text(0.5, 0.5, text, ha="center", va="center", color=quiet())
    return figure


def plot_confusion_matrix(
    matrix: npt.ArrayLike, names: Sequence[Any] | None = None, into: Any = None
) -> Any:
    """A confusion matrix, with a row for each true class and a column for each predicted one.

    The colour of a cell is its share of the samples of its true class, so a rare class is as
    visible as a frequent one. Right answers are blue, wrong ones vermilion. On the right is the
    share of each class that was found, the recall; above, the share of each prediction that was
    right, the precision. With more than twenty classes there are only colours.

    Parameters
    ----------
    matrix
        (K, K), as `metrics.confusion_matrix` returns it: counts, or sums of weights.
    names
        The names of the classes; by default their numbers.
    into
        A figure or subfigure to draw into; by default a new figure of pyplot, which a notebook
        shows at the end of the cell.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    ShapeError
        If the matrix is not square, or there is not one name for each class.
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ShapeError(
            "plot_confusion_matrix: the matrix is not square",
            expected="(classes, classes)",
            received=counts.shape,
            hint="plot_confusion_matrix(metrics.confusion_matrix(model(x), labels))",
        )
    classes = len(counts)
    labels = [str(name) for name in (range(classes) if names is None else names)]
    if len(labels) != classes:
        raise ShapeError(
            "plot_confusion_matrix: there is not one name for each class",
            expected=f"{classes} names",
            received=f"{len(labels)}: {', '.join(labels):.60}",
        )
    size = min(1.6 + 0.3 * max(classes, 6), 11.0)
    figure = into or _square_figure(size)
    _draw_matrix(figure.subplots(), counts, labels)
    return figure


@define(frozen=True)
class Confusion:
    """One sample that the network classified wrongly.

    Attributes
    ----------
    sample
        Its index in the data.
    label, said
        The true and the predicted class.
    certainty
        The probability of the predicted class, from 0 to 1.
    """

    sample: int
    label: int
    said: int
    certainty: float


def worst_confusions(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, count: int | None = None
) -> list[Confusion]:
    """The wrongly classified samples, with the most certain ones first.

    Parameters
    ----------
    labels
        The true classes: integers, shape (samples,).
    probabilities
        p_k for every class k, shape (samples, classes).
    count
        The maximum number of samples; by default all.
    """
    true, p = np.asarray(labels), np.asarray(probabilities)
    if p.ndim != 2:
        raise ShapeError(
            "plot_confusions: the probabilities have the wrong number of axes",
            expected="(samples, classes)",
            received=p.shape,
            hint="pass one row of probabilities per sample: Softmax()(model(x))",
        )
    _same_length("plot_confusions", labels=true, probabilities=p)
    said, certainty = p.argmax(axis=1), p.max(axis=1)
    wrong = np.flatnonzero(said != true)
    wrong = wrong[np.argsort(-certainty[wrong], kind="stable")]
    return [
        Confusion(int(n), int(true[n]), int(said[n]), float(certainty[n])) for n in wrong[:count]
    ]


def percentage(share: float) -> str:
    """A fraction as a percentage, which is never rounded up to 100 %.

    >>> percentage(0.973), percentage(0.9986), percentage(1.0)
    ('97 %', '99.8 %', '100 %')
    """
    if 0.99 < share < 1:
        return f"{math.floor(1000 * share) / 10:.1f} %"
    return f"{100 * share:.0f} %"


# ------------------------------------------------------------------------------- the drawing


def _figure(into: Any, width: float, height: float) -> Any:
    if into is not None:
        return into
    figure = figure_without_window(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(rect=(0.01, 0.015, 0.98, 0.97))
    return figure


def _square_figure(size: float) -> Any:
    figure = new_figure(figsize=(size, size), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    return figure


def _draw_matrix(axes: Any, counts: npt.NDArray[Any], labels: list[str]) -> None:
    """The cells with their numbers, recall on the right and precision above."""
    classes, right = len(counts), np.diag(counts)
    true, predicted = counts.sum(axis=1), counts.sum(axis=0)
    shares = counts / np.where(true == 0, 1, true)[:, np.newaxis]
    strength = np.sqrt(shares)[..., np.newaxis]  # a few errors of many samples are visible, too
    is_right = np.eye(classes, dtype=bool)[..., np.newaxis]
    cells = np.where(is_right, on_paper(CURVES[0], strength), on_paper(VERMILION, strength))
    axes.imshow(cells, extent=(0, classes, classes, 0))
    for line in range(1, classes):
        axes.axhline(line, color=pale(), lw=0.6)
        axes.axvline(line, color=pale(), lw=0.6)
    middles = np.arange(classes) + 0.5
    fontsize = float(np.clip(110 / classes, 5, 9))
    longest = max(len(_short_number(count)) for count in counts.flat)
    cell = 72 * 0.3 * max(6 / classes, 1.0)  # points, of which a digit is 0.6 wide
    number_size = float(np.clip(cell / (0.6 * longest + 0.6), 4, fontsize))
    leans = max(map(len, labels)) > 4
    lean = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if leans else {}
    axes.set_xticks(middles, labels, **lean)
    axes.set_yticks(middles, labels)
    axes.set_xlabel("predicted", color=ink("axes.labelcolor"))
    axes.set_ylabel("true", color=ink("axes.labelcolor"))
    axes.spines[:].set_color(ink("axes.edgecolor"))
    axes.tick_params(length=0, colors=ink("xtick.color"), labelsize=fontsize)
    if classes > MOST_NUMBERED:
        return
    for row, column in np.argwhere(counts):
        text = _short_number(counts[row, column])
        colour = "white" if strength[row, column, 0] > 0.7 else ink()
        style = {"ha": "center", "va": "center", "fontsize": number_size, "color": colour}
        axes.text(column + 0.5, row + 0.5, text, **style)
    beside, above = axes.secondary_yaxis("right"), axes.secondary_xaxis("top")
    beside.set_yticks(middles, _percentages(right, true))
    beside.set_ylabel("recall, %", color=quiet())
    above.set_xticks(middles, _percentages(right, predicted))
    above.set_xlabel("precision, %", color=quiet())
    for margin in (beside, above):
        margin.tick_params(length=0, colors=quiet(), labelsize=fontsize)
        margin.spines[:].set_visible(False)


def _percentages(parts: npt.NDArray[Any], wholes: npt.NDArray[Any]) -> list[str]:
    return [
        percentage(part / whole).removesuffix(" %") if whole else "–"
        for part, whole in zip(parts, wholes, strict=True)
    ]


MOST_NUMBERED = 20
"""The largest number of classes with numbers in the cells."""


def _short_number(count: Any) -> str:
    """Counts in full, sums of weights with about three digits."""
    is_count = np.issubdtype(np.asarray(count).dtype, np.integer)
    return f"{count:,}" if is_count else f"{count:,.0f}" if count >= 100 else f"{count:.3g}"


def _title(part: Any, text: str) -> None:
    part.suptitle(text, x=0.01, ha="left", fontsize=12, fontweight="bold")


def _draw_grid(
    figure: Any, pictures: npt.NDArray[Any], captions: list[str], wrong: Any, columns: int
) -> None:
    """Pictures side by side, each above its caption."""
    from matplotlib.patches import Rectangle

    height, width = pictures.shape[1:]
    lines = max(caption.count("\n") + 1 for caption in captions)
    right, down = 1.3 * width, height * (1.2 + 0.25 * lines)  # from one picture to the next
    axes = figure.subplots()
    darkest = max(float(np.max(pictures)), 1e-300)
    for number, (picture, caption, is_wrong) in enumerate(
        zip(pictures, captions, wrong, strict=True)
    ):
        x, y = right * (number % columns), down * (number // columns)
        box = (x, x + width, y + height, y)
        axes.imshow(picture, extent=box, cmap="gray_r", vmin=0, vmax=darkest)
        colour, thickness = (VERMILION, 2.0) if is_wrong else ("0.85", 0.8)
        frame = Rectangle((x, y), width, height, fill=False, edgecolor=colour, linewidth=thickness)
        axes.add_patch(frame)
        axes.text(
            x + width / 2,
            y + 1.1 * height,
            caption,
            ha="center",
            va="top",
            fontsize=9,
            color=VERMILION if is_wrong else quiet(),
            fontweight="bold" if is_wrong else "normal",
        )
    axes.set_xlim(-0.15 * width, right * columns - 0.15 * width)
    axes.set_ylim(down * math.ceil(len(pictures) / columns), -0.1 * height)
    axes.set_anchor("N")
    axes.set_axis_off()


# ------------------------------------------------------------------------------- the data


def _pictures(name: str, images: npt.ArrayLike) -> npt.NDArray[Any]:
    pictures = np.asarray(images)
    if pictures.ndim == 2 and math.isqrt(pictures.shape[1]) ** 2 == pictures.shape[1]:
        side = math.isqrt(pictures.shape[1])
        pictures = pictures.reshape(-1, side, side)
    if pictures.ndim != 3 or not len(pictures):
        raise ShapeError(
            f"{name}: the images have the wrong shape",
            expected="(samples, height, width), or (samples, n²) for square ones; at least one",
            received=np.shape(images),
            hint="reshape each row to an image: x.reshape(-1, height, width)",
        )
    return pictures


def _same_length(name: str, **arrays: npt.NDArray[Any]) -> None:
    if len({np.shape(array)[:1] for array in arrays.values()}) > 1:
        raise ShapeError(
            f"{name}: the arrays have different lengths",
            expected="one entry per sample in each",
            received=", ".join(f"{key} {array.shape}" for key, array in arrays.items()),
        )
