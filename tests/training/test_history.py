"""The history: a mapping of lists that prints, saves and draws itself."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.core.errors import ConfigurationError, MissingExtraError, StorageError
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


def test_the_error_for_a_missing_name_lists_the_existing_ones() -> None:
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


def test_what_an_epoch_lacks_is_nan_and_a_new_column_is_nan_before() -> None:
    history = History()
    for figures in ({"loss": 3.0}, {"loss": 2.0, "norm": 1.0}, {"loss": 1.0}):
        history.append(figures)
    np.testing.assert_array_equal(history["loss"], [3, 2, 1])
    np.testing.assert_array_equal(history["norm"], [np.nan, 1, np.nan])
    assert history.epochs == 3 and "nan" in str(history)


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="different lengths") as caught:
        History({"loss": [1.0, 2.0], "accuracy": [1.0]})
    assert caught.value.received == "loss: 2, accuracy: 1"


any_history = st.integers(0, 4).flatmap(
    lambda epochs: st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(
            lambda name: name != "epoch"
        ),
        st.lists(st.floats(), min_size=epochs, max_size=epochs),
        min_size=1,
        max_size=4,
    )
)


def bits(history: Mapping[str, list[float]]) -> dict[str, bytes]:
    """Its numbers to the last bit; NaN is NaN, with whatever sign."""
    return {k: np.array([v if v == v else np.nan for v in each]).tobytes()
            for k, each in history.items()}  # fmt: skip


@given(any_history)
def test_its_dictionary_makes_the_same_history_again(figures: dict[str, list[float]]) -> None:
    history = History(figures)
    assert bits(History(history.to_dict())) == bits(history) == bits(figures)
    assert bits(History(json.loads(json.dumps(history.to_dict())))) == bits(figures)


def test_to_dict_gives_copies() -> None:
    history = History(FIGURES)
    history.to_dict()["loss"].append(7.0)
    assert history.epochs == 3


def test_the_best_epoch_is_that_of_the_least_validation_loss_or_else_loss() -> None:
    assert History(FIGURES).best_epoch == 2
    assert History({"loss": [2.0, 1.0, 1.0]}).best_epoch == 2
    assert History({"loss": [1, 1], "validation_loss": [np.nan, 3.0]}).best_epoch == 2
    assert History({"loss": [np.inf, 1, -np.inf, 0]}).best_epoch == 3
    assert History().best_epoch is None


@pytest.mark.parametrize("never", [[np.nan, np.nan], [np.inf, np.nan], [np.inf, np.inf]])
def test_no_epoch_is_the_best_where_the_loss_is_never_finite(never: list[float]) -> None:
    history = History({"loss": [2.0, 1.0], "validation_loss": never})
    assert history.best_epoch is None
    lines = str(history).splitlines()
    assert [line.split()[0] for line in lines] == ["epoch", "1", "2"] and "best" not in str(history)


def test_no_column_can_be_called_as_the_rows_are() -> None:
    history = History({"loss": [1.0]})
    with pytest.raises(ConfigurationError, match="cannot be called 'epoch'") as caught:
        history.append({"loss": 0.5, "epoch": 2.0})
    assert history == {"loss": [1.0]} and caught.value.received == "loss, epoch"
    with pytest.raises(ConfigurationError, match="cannot be called 'epoch'"):
        History({"epoch": [1.0], "loss": [2.0]})
    history.append({"epochs": 1.0, "Epoch": 1.0})


def test_a_file_with_a_column_called_epoch_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    History({"epochs": [1.0]}).save(path)
    path.write_text(path.read_text().replace("epochs", "epoch"))
    with pytest.raises(StorageError, match="the history could not be read"):
        History.load(path)


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
        st.text(min_size=1, max_size=8).filter(lambda name: name != "epoch"),  # the index
        st.lists(st.floats(), min_size=2, max_size=2),
        max_size=4,
    )
)
def test_a_saved_history_is_loaded_to_the_last_bit(
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
    with pytest.raises(StorageError, match="the history could not be read") as caught:
        History.load(path)
    assert caught.value.place == str(path)


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    for read in (History.load, History.from_csv):
        with pytest.raises(StorageError, match="FileNotFoundError") as caught:
            read(tmp_path / "none.json")
        assert caught.value.place == str(tmp_path / "none.json")
    with pytest.raises(StorageError, match="could not be written") as caught:
        History(FIGURES).save(tmp_path / "none" / "history.json")
    assert "none" in str(caught.value)


# ------------------------------------------------------------------------------- tables


@given(any_history)
def test_a_table_gives_back_what_was_written_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, figures: dict[str, list[float]]
) -> None:
    path = tmp_path_factory.mktemp("history") / "history.csv"
    History(figures).to_csv(path)
    assert bits(History.from_csv(path)) == bits(figures)


def test_a_table_is_what_spreadsheets_read(tmp_path: Path) -> None:
    History({**FIGURES, "norm": [np.nan, np.inf, 1e-300]}).to_csv(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_bytes() == (
        b"epoch,loss,validation_loss,norm\n1,2.0,1.5,nan\n2,1.0,0.25,inf\n3,0.5,0.75,1e-300\n"
    )


def test_an_empty_history_is_a_table_without_rows(tmp_path: Path) -> None:
    History().to_csv(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_text() == "epoch\n"
    assert History.from_csv(tmp_path / "history.csv").epochs == 0


def test_a_table_from_a_spreadsheet_with_other_line_ends_is_read(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_bytes(b"\xef\xbb\xbfepoch,loss\r\n1,2\r\n2,1.5\r\n")
    assert History.from_csv(tmp_path / "history.csv") == {"loss": [2.0, 1.5]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "line 1 is ''"),
        (b"loss\n1\n", "line 1 is 'loss'"),
        (b"epoch,loss,loss\n", "line 1 is"),
        (b"epoch,loss\n1,2\n2\n", "line 3 has 1 cells instead of 2"),
        (b"epoch,loss\n1,high\n", "line 2: could not convert"),
        (b"epoch,loss\n1,2\n1,3\n", "line 3 is epoch '1' instead of 2"),
        (b'epoch,loss\n1,"2\n', "line 2"),
        (b"epoch,loss\n1,2.5\n2,0.", "line 3, '2,0.', may be incomplete"),
        (b"epoch,lo", "line 1, 'epoch,lo', may be incomplete"),
        (b"\xff\xfe", "decode"),
    ],
)
def test_an_invalid_table_is_refused_with_the_line(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "history.csv"
    path.write_bytes(content)
    with pytest.raises(StorageError, match="the history could not be read") as caught:
        History.from_csv(path)
    assert caught.value.place == str(path) and said in str(caught.value.received)


@pytest.mark.parametrize("write", ["save", "to_csv"])
def test_what_cannot_be_written_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    def fails(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "history"
    getattr(History(FIGURES), write)(path)
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", fails)
    with pytest.raises(StorageError, match="the history could not be written"):
        getattr(History({"loss": [1.0]}), write)(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


# ------------------------------------------------------------------------------- pandas


def test_as_a_dataframe_the_index_is_the_epoch() -> None:
    frame = History({**FIGURES, "norm": [np.nan, np.inf, 1e-300]}).to_pandas()
    assert list(frame.columns) == ["loss", "validation_loss", "norm"]
    assert frame.index.name == "epoch" and list(frame.index) == [1, 2, 3]
    np.testing.assert_array_equal(frame["norm"], [np.nan, np.inf, 1e-300])
    assert set(map(str, frame.dtypes)) == {"float64"}
    assert frame["validation_loss"].idxmin() == History(FIGURES).best_epoch
    assert History().to_pandas().empty
    assert str(History({"loss": []}).to_pandas()["loss"].dtype) == "float64"


def test_pandas_reads_the_same_from_the_table(tmp_path: Path) -> None:
    import pandas

    history = History({**FIGURES, "norm": [np.nan, np.inf, 1 / 3]})
    history.to_csv(tmp_path / "history.csv")
    read = pandas.read_csv(tmp_path / "history.csv", index_col="epoch")
    pandas.testing.assert_frame_equal(
        read, history.to_pandas(), check_index_type=False, rtol=1e-15, atol=0
    )


def test_without_pandas_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="not installed") as caught:
        History(FIGURES).to_pandas()
    assert "pip install 'chainrule[pandas]'" in str(caught.value.hint)


def test_a_frame_of_it_has_its_columns_and_a_row_for_each_epoch() -> None:
    import pandas

    history = History({**FIGURES, "norm": [np.nan, np.inf, 1e-300]})
    frame = pandas.DataFrame(history)
    pandas.testing.assert_frame_equal(frame, history.to_pandas().reset_index(drop=True))


# ------------------------------------------------------------------------------- a dictionary


@pytest.mark.parametrize(
    "change",
    [
        lambda history: history.update(loss=[1.0]),
        lambda history: history.pop("loss"),
        lambda history: history.popitem(),
        lambda history: history.clear(),
        lambda history: history.setdefault("norm", [1.0]),
        lambda history: history.__setitem__("loss", [1.0]),
        lambda history: history.__delitem__("loss"),
        lambda history: history.__ior__({"loss": [1.0]}),
    ],
)
def test_its_columns_stay_equally_long(change: Any) -> None:
    history = History(FIGURES)
    with pytest.raises(ConfigurationError, match="cannot be replaced") as caught:
        change(history)
    assert "append" in str(caught.value.expected) and history == FIGURES


def test_copies_and_pickles_are_histories() -> None:
    history = History(FIGURES)
    for other in (copy.copy(history), copy.deepcopy(history), pickle.loads(pickle.dumps(history))):
        assert type(other) is History and other == history
        other.append({"loss": 0.25})
        assert history.epochs == 3 and other.epochs == 4
    assert json.loads(json.dumps(history)) == FIGURES


# ------------------------------------------------------------------------------- in a notebook


def test_a_notebook_shows_the_rows_of_its_text_with_a_curve_of_each_column() -> None:
    figures = {"loss": [float(n) for n in range(200, 0, -1)], "a<b": [np.nan] * 200}
    history = History(figures)
    table = ElementTree.fromstring(history._repr_html_())
    head, curves, *rows = [["".join(c.itertext()) for c in row] for row in table.iter("tr")]
    assert head == ["epoch", "loss", "a<b"] and curves == ["curve", "", "–"]
    lines = [line.split() for line in str(history).splitlines()[1:]]
    assert [row[1:] for row in rows] == [line[1:3] for line in lines]
    assert rows[-1][0].split("\xa0") == ["200", "★", "best"]
    (curve,) = table.iter("svg")
    assert curve.get("aria-label") == "from 200.0 to 1.000"
    points = str(curve[0].get("points")).split()
    assert len(points) <= 102
    heights = [float(point.split(",")[1]) for point in points]
    assert heights == sorted(heights)  # downwards is positive


@given(st.lists(st.floats(), max_size=30))
def test_any_numbers_have_a_curve(values: list[float]) -> None:
    ElementTree.fromstring(History({"loss": values})._repr_html_())
