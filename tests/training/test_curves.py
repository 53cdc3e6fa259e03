"""The learning curves: what is drawn is what the history holds."""

from __future__ import annotations

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
def test_losses_over_more_than_a_decade_stand_on_a_logarithmic_scale(
    losses: list[float], scale: str
) -> None:
    import matplotlib.pyplot as plt

    figure = History({"loss": losses}).plot()
    assert figure.axes[0].get_yscale() == scale
    figure.canvas.draw()
    plt.close(figure)


def test_it_draws_into_axes_that_are_given_and_makes_no_other_figure() -> None:
    import matplotlib.pyplot as plt

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
