"""The history: a mapping of lists that prints, saves and draws itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.core.errors import StorageError
from chainrule.training.history import History

FIGURES = {"loss": [2.0, 1.0, 0.5], "validation_loss": [1.5, 0.25, 0.75]}


def test_it_is_a_mapping_of_lists() -> None:
    history = History(FIGURES)
    assert isinstance(history, Mapping)
    assert history["loss"] == [2.0, 1.0, 0.5]
    assert list(history) == ["loss", "validation_loss"] and len(history) == 2
    assert dict(history) == FIGURES and history == FIGURES
    assert "accuracy" not in history and history.get("accuracy") is None
    assert history.epochs == 3 and History().epochs == 0


def test_what_is_not_in_it_is_said_with_what_is() -> None:
    with pytest.raises(KeyError, match="no 'acuracy' in the history; there is loss, validation_l"):
        History(FIGURES)["acuracy"]
    with pytest.raises(KeyError, match="nothing yet"):
        History()["loss"]


def test_epochs_are_appended_as_plain_numbers() -> None:
    history = History()
    history.append({"loss": np.float32(0.5), "accuracy": 1})
    history.append({"loss": np.float64(0.25), "accuracy": 0})
    assert history.to_dict() == {"loss": [0.5, 0.25], "accuracy": [1.0, 0.0]}
    assert {type(value) for values in history.values() for value in values} == {float}


def test_to_dict_gives_copies() -> None:
    history = History(FIGURES)
    history.to_dict()["loss"].append(7.0)
    assert history.epochs == 3


def test_the_best_epoch_is_that_of_the_least_validation_loss_or_else_loss() -> None:
    assert History(FIGURES).best_epoch == 2
    assert History({"loss": [2.0, 1.0, 1.0]}).best_epoch == 2
    assert History({"loss": [1.0], "validation_loss": [float("nan")]}).best_epoch == 1
    assert History({"loss": [1, 1], "validation_loss": [np.nan, 3.0]}).best_epoch == 2
    assert History().best_epoch is None


# ------------------------------------------------------------------------------- printing


def test_it_prints_a_table_with_the_best_epoch_marked() -> None:
    assert str(History(FIGURES)).splitlines() == [
        "epoch    loss  validation_loss",
        "    1   2.000            1.500",
        "    2   1.000           0.2500  ← best",
        "    3  0.5000           0.7500",
    ]
    assert str(History()) == "no epochs yet"


def test_a_long_table_shows_the_first_the_last_the_best_and_round_numbers_between() -> None:
    losses = [1.0] * 100
    losses[36] = 0.5
    lines = str(History({"loss": losses})).splitlines()
    epochs = [int(line.split()[0]) for line in lines[1:]]
    assert epochs == [1, 10, 20, 30, 37, 40, 50, 60, 70, 80, 90, 100]
    assert [line for line in lines if "best" in line] == ["   37  0.5000  ← best"]


@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=400))
def test_a_table_of_any_length_is_short_and_aligned(losses: list[float]) -> None:
    lines = str(History({"loss": losses, "accuracy": losses})).splitlines()
    assert 2 <= len(lines) <= 14
    assert len({len(line.removesuffix("  ← best")) for line in lines}) == 1
    epochs = [int(line.split()[0]) for line in lines[1:]]
    assert epochs == sorted(set(epochs))
    assert {1, len(losses), losses.index(min(losses)) + 1} <= set(epochs)


def test_its_repr_is_one_line() -> None:
    assert repr(History(FIGURES)) == (
        "History(3 epochs: loss 2.000 → 0.5000, validation_loss 1.500 → 0.7500)"
    )
    assert repr(History({"loss": [1.0]})) == "History(1 epoch: loss 1.000 → 1.000)"
    assert repr(History()) == "History(0 epochs)"


# ------------------------------------------------------------------------------- files


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8), st.lists(st.floats(), min_size=2, max_size=2), max_size=4
    )
)
def test_what_was_saved_is_loaded_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, figures: dict[str, list[float]]
) -> None:
    path = tmp_path_factory.mktemp("history") / "history.json"
    History(figures).save(path)
    loaded = History.load(path)
    assert list(loaded) == list(figures)
    for name, values in figures.items():
        np.testing.assert_array_equal(loaded[name], values)


def test_the_file_is_json_as_every_reader_knows_it(tmp_path: Path) -> None:
    def refuse(constant: str) -> Any:
        raise AssertionError(constant)  # NaN and Infinity are no JSON

    History({"loss": [1.0, np.nan, np.inf]}).save(tmp_path / "history.json")
    text = (tmp_path / "history.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse)["history"]["loss"] == [1.0, "nan", "inf"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"format": "chainrule-history-2", "history": {}}',
                '{"format": "chainrule-history-1", "history": {"loss": 3}}',
                '{"format": "chainrule-history-1", "history": {"loss": ["x"]}}']
)  # fmt: skip
def test_a_file_that_is_no_history_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "history.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(StorageError, match="no history could be read") as caught:
        History.load(path)
    assert caught.value.place == str(path)


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="FileNotFoundError"):
        History.load(tmp_path / "none.json")
    with pytest.raises(StorageError, match="could not be written") as caught:
        History(FIGURES).save(tmp_path / "none" / "history.json")
    assert "none" in str(caught.value)
