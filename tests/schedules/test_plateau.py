"""Plateaus: when the rate is reduced, by hand, by properties, and compared with PyTorch."""

from __future__ import annotations

import copy
import math
import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.core.errors import ConfigurationError
from chainrule.schedules import Constant, Exponential, ReduceOnPlateau, Step, WarmUp

STEPS = 100


def rates_of(plateau: ReduceOnPlateau, figures: list[float]) -> list[float]:
    return [plateau.update(figure) for figure in figures]


@pytest.mark.parametrize(
    ("arguments", "figures", "expected"),
    [
        ({"patience": 0}, [2, 1, 1, 0.5, 0.5], [8, 8, 4, 4, 2]),
        ({"patience": 1}, [1, 1, 1, 1, 1, 0.5], [8, 8, 4, 4, 2, 2]),
        ({"patience": 1}, [1, 2, 0.5, 2, 0.4, 2], [8] * 6),
        ({"patience": 0, "cooldown": 2}, [1, 1, 1, 1, 1, 1], [8, 4, 4, 4, 2, 2]),
        ({"patience": 0, "minimum": 3}, [1, 1, 1, 1], [8, 4, 3, 3]),
        ({"patience": 0, "minimum": 9}, [1, 1, 1], [8, 8, 8]),
        ({"patience": 0, "threshold": 0.1}, [1, 0.95, 0.85], [8, 4, 4]),
        ({"patience": 0, "threshold": 0.1, "relative": False}, [10, 9.95, 9.85], [8, 4, 4]),
        ({"patience": 0, "threshold": 1.5, "relative": False}, [10, 9, 8], [8, 4, 4]),
        ({"patience": 0, "mode": "max"}, [0.5, 0.4, 0.6, 0.6], [8, 4, 4, 2]),
        ({"patience": 0, "threshold": 0.1}, [-1, -1.05, -1.2], [8, 4, 4]),
        ({"patience": 0}, [math.nan, 1, math.nan, 0.5], [4, 4, 2, 2]),
        ({"patience": 0}, [math.inf, 1, -math.inf, -math.inf], [4, 4, 4, 2]),
        ({"patience": 0, "threshold": 0.0}, [0, 0, -1e-300], [8, 4, 4]),
    ],
)
def test_the_rate_is_reduced_after_the_patience_of_a_plateau(
    arguments: dict[str, Any], figures: list[float], expected: list[float]
) -> None:
    plateau = ReduceOnPlateau(8.0, factor=0.5, **arguments)
    assert rates_of(plateau, figures) == expected
    assert plateau() == expected[-1]
    plateau.reset()
    assert plateau == ReduceOnPlateau(8.0, factor=0.5, **arguments)
    assert rates_of(plateau, figures) == expected


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60), st.integers(0, 4))
def test_the_rate_of_a_plateau_never_rises_and_stays_above_its_minimum(
    figures: list[float], patience: int
) -> None:
    plateau = ReduceOnPlateau(1.0, factor=0.5, patience=patience, minimum=0.1, cooldown=1)
    found = [1.0, *rates_of(plateau, figures)]
    assert all(later in (earlier, max(earlier / 2, 0.1)) for earlier, later in pairwise(found))
    falls_at = [n for n, (a, b) in enumerate(pairwise(found)) if a != b]
    assert all(later - earlier > patience for earlier, later in pairwise(falls_at))


@pytest.mark.parametrize("start", [WarmUp(Constant(8.0), 3), Exponential(8.0, 0.5), Constant(8.0)])
def test_a_plateau_multiplies_the_schedule_that_it_starts_from(start: Any) -> None:
    plateau = ReduceOnPlateau(start, factor=0.5, patience=0, minimum=0.25)
    for reductions, figure in enumerate([1.0, 1.0, 1.0]):
        plateau.update(figure)
        assert plateau.reductions == reductions
        for t in range(9):
            reduced = start(t) * 0.5**reductions
            assert plateau(t) == max(reduced, min(0.25, start(t)))
    assert plateau.update(1.0, 2) == plateau(2)


@given(st.lists(st.floats(0, 10), max_size=30), st.lists(st.floats(0, 10), max_size=30))
def test_the_state_of_a_plateau_can_be_restored_in_another(
    before: list[float], after: list[float]
) -> None:
    first, second = (ReduceOnPlateau(1.0, factor=0.5, patience=1, cooldown=1) for _ in range(2))
    rates_of(first, before)
    second.restore(first.state())
    assert second == first and rates_of(second, after) == rates_of(first, after)


class Owner:
    """Stands for the trainer."""


def test_a_new_owner_resets_the_figures_even_if_the_old_owner_is_deleted() -> None:
    plateau, first = ReduceOnPlateau(8.0, factor=0.5, patience=0), Owner()
    rates_of(plateau, [1, 1])
    plateau.belong_to(first)
    assert plateau.update(1) == 2.0
    plateau.belong_to(first)
    assert plateau() == 2.0
    copies = [copy.deepcopy(plateau), pickle.loads(pickle.dumps(plateau))]
    del first
    plateau.belong_to(Owner())
    assert plateau == ReduceOnPlateau(8.0, factor=0.5, patience=0)
    for each in copies:  # without an owner
        each.belong_to(Owner())
        assert each() == 2.0
        each.reset()
        each.update(1)
        each.belong_to(Owner())
        assert each.best == 1


# ------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: ReduceOnPlateau(-1), "start"),
        (lambda: ReduceOnPlateau("0.1"), "start"),
        (lambda: ReduceOnPlateau(Constant), "start"),
        (lambda: ReduceOnPlateau(ReduceOnPlateau(1)), "start"),
        (lambda: ReduceOnPlateau(1, factor=1), "factor"),
        (lambda: ReduceOnPlateau(1, patience=-1), "patience"),
        (lambda: ReduceOnPlateau(1, threshold=1), "threshold"),
        (lambda: ReduceOnPlateau(1, threshold=-1), "threshold"),
        (lambda: ReduceOnPlateau(1, relative=None), "relative"),
        (lambda: ReduceOnPlateau(1, cooldown=0.5), "cooldown"),
        (lambda: ReduceOnPlateau(1, minimum=-1), "minimum"),
        (lambda: ReduceOnPlateau(1, mode="least"), "mode"),
        (lambda: ReduceOnPlateau(1).update("low"), "figure"),
        (lambda: ReduceOnPlateau(1).plot([]), "figures"),
        (lambda: ReduceOnPlateau(1).plot([1.0, "low"]), "figure"),
        (lambda: ReduceOnPlateau(1).plot([1.0], steps_per_epoch=0), "steps_per_epoch"),
    ],
)
def test_the_error_for_an_invalid_argument_names_it(make: Any, argument: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{argument} has an invalid value") as caught:
        make()
    error = caught.value
    assert error.place == "ReduceOnPlateau" and error.expected and error.received and error.hint


# ------------------------------------------------------------------------------- figures


def test_the_figure_of_a_plateau_shows_the_figures_and_the_rates_they_lead_to() -> None:
    plateau = ReduceOnPlateau(0.1, factor=0.5, patience=0)
    plateau.update(0.0)
    before = copy.deepcopy(plateau)
    figure = plateau.plot([2.0, 1.0, 1.0, 0.5])
    above, below = figure.axes
    np.testing.assert_array_equal(above.lines[0].get_xydata()[:, 1], [2.0, 1.0, 1.0, 0.5])
    data = below.patches[0].get_data()
    np.testing.assert_array_equal(data.values, [0.1, 0.1, 0.1, 0.05])
    np.testing.assert_array_equal(data.edges, [0.5, 1.5, 2.5, 3.5, 4.5])
    assert (below.get_xlabel(), below.get_ylabel()) == ("epoch", "learning rate η")
    assert above.get_ylabel() == "measurement"
    assert plateau == before
    figure.canvas.draw()


def test_the_figure_of_a_plateau_over_a_schedule_shows_each_step() -> None:
    start = Step(8.0, every=2, factor=0.5)
    figure = ReduceOnPlateau(start, factor=0.5, patience=0).plot([1.0, 1.0, 1.0], steps_per_epoch=2)
    data = figure.axes[1].patches[0].get_data()
    np.testing.assert_array_equal(data.values, [8, 8, 4, 4, 1, 1])
    np.testing.assert_array_equal(data.edges, np.arange(0.5, 4, 0.5))


# ------------------------------------------------------------------------------- PyTorch's


@pytest.mark.peers
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"factor": 0.5, "patience": 2}, {"factor": 0.5, "patience": 2}),
        (
            {"factor": 0.5, "patience": 0, "cooldown": 3, "minimum": 1e-3},
            {"factor": 0.5, "patience": 0, "cooldown": 3, "min_lr": 1e-3},
        ),
        (
            {"patience": 1, "threshold": 0.1, "mode": "max", "factor": 0.9},
            {"patience": 1, "threshold": 0.1, "mode": "max", "factor": 0.9},
        ),
        *[
            (
                {"patience": 1, "threshold": 0.1, "relative": False, "mode": mode, "factor": 0.9},
                {"patience": 1, "threshold": 0.1, "threshold_mode": "abs", "mode": mode}
                | {"factor": 0.9},
            )
            for mode in ("min", "max")
        ],
    ],
)
def test_plateaus_against_pytorch(torch: Any, seed: int, ours: Any, theirs: Any) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, eps=0.0, **theirs)
    plateau = ReduceOnPlateau(0.1, **ours)
    rng = np.random.default_rng(seed)
    figures = np.exp(-np.arange(STEPS) / 20) + 0.3 * rng.random(STEPS)
    figures[rng.integers(STEPS, size=3)] = [np.inf, np.nan, 0.05]
    if ours.get("mode") == "max":
        figures = 1 / figures
    for figure in figures:
        scheduler.step(figure)
        assert plateau.update(figure) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
    assert plateau() < 0.1
