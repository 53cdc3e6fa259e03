"""The growing CSV file: its content at every moment of a run."""

from __future__ import annotations

import csv
import errno
import math
import os
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from chainrule.callbacks import (
    Callback,
    Checkpoint,
    CSVLogger,
    FromFunctions,
    LearningRate,
    csv_logger,
)
from chainrule.core.errors import ConfigurationError, StorageError
from chainrule.schedules import Exponential
from chainrule.training.history import History
from checkpoints.resumption import Kills, fit, killed_and_resumed, trainer_of


def rows_of(path: Path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_the_file_holds_the_history_with_all_digits(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    history = fit(trainer_of(), [CSVLogger(path), LearningRate(Exponential(0.1, 0.9))]).history
    header, *rows = rows_of(path)
    assert header == ["epoch", "loss", "validation_loss", "learning_rate"]
    assert [int(row[0]) for row in rows] == [1, 2, 3, 4, 5, 6]
    for n, name in enumerate(header[1:], start=1):
        assert [float(row[n]) for row in rows] == history[name]
    assert History.from_csv(path) == history


def test_a_row_is_written_as_soon_as_its_epoch_is_over(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    seen = []

    class Reads(Callback):
        def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
            seen.append((epoch, len(path.read_bytes().splitlines())))

    fit(trainer_of(), [CSVLogger(path), Reads()], epochs=3)
    assert seen == [(1, 0)] * 3 + [(2, 2)] * 3 + [(3, 3)] * 3


def test_the_file_stays_the_same_file_so_that_it_can_be_followed(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    inodes = set()
    looks = FromFunctions(
        on_step_end=lambda trainer, epoch, step, cost: inodes.add(os.stat(path).st_ino)
    )
    fit(trainer_of(), [CSVLogger(path), looks])
    assert len(inodes) == 1


def test_a_new_run_replaces_the_file_and_append_adds_to_it(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    first = fit(trainer_of(), [CSVLogger(path)], epochs=2).history
    assert History.from_csv(path) == first
    second = fit(trainer_of(rng=4), [CSVLogger(path)], epochs=3).history
    assert History.from_csv(path) == second
    before = path.read_text()
    third = fit(trainer_of(rng=5), [CSVLogger(path, append=True)], epochs=2).history
    assert path.read_text().startswith(before)
    rows = rows_of(path)[1:]
    assert [row[0] for row in rows] == ["1", "2", "3", "1", "2"]
    assert [float(row[1]) for row in rows] == second["loss"] + third["loss"]


def test_append_starts_a_file_that_is_missing_or_empty(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    first = fit(trainer_of(), [CSVLogger(path, append=True)], epochs=1).history
    assert History.from_csv(path) == first
    path.write_text("")
    fit(trainer_of(), [CSVLogger(path, append=True)], epochs=1)
    assert History.from_csv(path) == first


@pytest.mark.parametrize("lost", [1, 2, 9])
def test_an_incomplete_row_is_neither_taken_as_complete_nor_lost(tmp_path: Path, lost: int) -> None:
    path, trainer = tmp_path / "run.csv", trainer_of()
    fit(trainer_of(), [CSVLogger(path)], epochs=2)
    path.write_text(half := path.read_text()[:-lost])
    with pytest.raises(StorageError, match="after an incomplete row") as caught:
        fit(trainer, [CSVLogger(path, append=True)], epochs=1)
    assert path.read_text() == half and not trainer.model.is_built
    assert caught.value.place == f"{path}, line 3" and "delete the row" in str(caught.value.hint)
    assert half.rpartition("\n")[2] in str(caught.value.received)


def test_an_incomplete_row_of_a_resumed_run_is_written_again(tmp_path: Path) -> None:
    path, alone = tmp_path / "run.csv", tmp_path / "alone.csv"
    for each in (path, alone):
        fit(trainer_of(rng=8), [CSVLogger(each)], epochs=1)
    fit(trainer_of(), [CSVLogger(alone, append=True)], epochs=3)
    fit(trainer_of(), [CSVLogger(path, append=True), Checkpoint(tmp_path / "c")], epochs=2)
    path.write_text(path.read_text()[:-3])
    fit(trainer_of(), [CSVLogger(path, append=True)], epochs=3, resume_from=tmp_path / "c")
    assert path.read_text() == alone.read_text()


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize(
    ("kills", "every"),
    [
        (Kills(steps=4), 50),
        (Kills(steps=8), 5),
        (Kills(steps=9), 1),
        (Kills(epochs=4), 5),
        (Kills(epochs=1), 3),
    ],
)
def test_a_resumed_run_writes_the_file_of_an_uninterrupted_run(
    tmp_path: Path, kills: Kills, every: int, append: bool
) -> None:
    alone, path = tmp_path / "alone.csv", tmp_path / "resumed.csv"
    if append:
        fit(trainer_of(rng=8), [CSVLogger(alone)], epochs=2)
        path.write_bytes(alone.read_bytes())
    fit(trainer_of(), [CSVLogger(alone, append=append)])
    killed_and_resumed(
        lambda: [CSVLogger(path, append=append)], tmp_path / "checkpoints", kills, every
    )
    assert path.read_bytes() == alone.read_bytes()


def test_a_file_that_was_lost_in_between_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    fit(trainer_of(), [CSVLogger(path), Checkpoint(tmp_path / "c")], epochs=2)
    path.unlink()
    resumed = fit(trainer_of(), [CSVLogger(path)], epochs=4, resume_from=tmp_path / "c")
    assert History.from_csv(path) == resumed.history and resumed.history.epochs == 4


def test_a_logger_added_on_resumption_keeps_the_rows_of_others(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    fit(trainer_of(rng=8), [CSVLogger(path)], epochs=2)
    before = path.read_text()
    fit(trainer_of(), [Checkpoint(tmp_path / "c")], epochs=2)
    resumed = fit(
        trainer_of(), [CSVLogger(path, append=True)], epochs=3, resume_from=tmp_path / "c"
    )
    assert path.read_text().startswith(before)
    assert [float(row[1]) for row in rows_of(path)[3:]] == resumed.history["loss"]


def test_a_column_that_is_added_later_is_nan_in_earlier_rows(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    late = FromFunctions(figures=lambda trainer, epoch: {"late": 1.0} if epoch > 2 else {})
    history = fit(trainer_of(), [CSVLogger(path), late], epochs=4).history
    found = History.from_csv(path)
    assert list(found) == list(history) and found["loss"] == history["loss"]
    assert [math.isnan(value) for value in found["late"]] == [True, True, False, False]


def test_names_with_commas_and_quotes_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    odd = FromFunctions(figures=lambda trainer, epoch: {'a,"b"': 0.5})
    history = fit(trainer_of(), [CSVLogger(path), odd], epochs=2).history
    assert History.from_csv(path) == history and rows_of(path)[0][-1] == 'a,"b"'


def test_the_position_of_one_resumed_run_does_not_affect_the_next(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    logger = CSVLogger(path, append=True)
    fit(trainer_of(), [logger, Checkpoint(tmp_path / "with")], epochs=1)
    fit(trainer_of(), [Checkpoint(tmp_path / "without")], epochs=1)
    fit(trainer_of(), [logger], epochs=2, resume_from=tmp_path / "with")
    fit(trainer_of(), [logger], epochs=2, resume_from=tmp_path / "without")
    assert [row[0] for row in rows_of(path)] == ["epoch", "1", "2", "1", "2"]


# ------------------------------------------------------------------------------- errors


def test_a_file_that_cannot_be_written_is_refused_before_the_first_step(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, hint in (
        (tmp_path / "none" / "run.csv", "create it first"),
        (tmp_path, "a folder"),
        (tmp_path / "pipe", "the name of a file"),
    ):
        trainer = trainer_of()
        with pytest.raises(StorageError, match="table of epochs could not be written") as caught:
            fit(trainer, [CSVLogger(path)])
        assert not trainer.model.is_built
        assert caught.value.place == str(path) and hint in str(caught.value.hint)


def test_a_file_without_permission_is_refused_before_any_callback_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text("of yesterday")
    second.write_text("")
    for forbidden in (second, tmp_path):
        monkeypatch.setattr("os.access", lambda path, mode, no=forbidden: Path(path) != no)
        trainer = trainer_of()
        with pytest.raises(StorageError, match="could not be written") as caught:
            fit(trainer, [CSVLogger(first), CSVLogger(second)])
        assert first.read_text() == "of yesterday" and not trainer.model.is_built
        assert "you cannot write" in str(caught.value.hint)


def test_a_refused_resumption_leaves_the_next_run_its_own_rows(tmp_path: Path) -> None:
    class Refuses(Callback):
        def check(self, trainer: Any) -> None:
            raise RuntimeError

    path = tmp_path / "run.csv"
    logger = CSVLogger(path, append=True)
    fit(trainer_of(), [logger, Checkpoint(tmp_path / "c")], epochs=1)
    with pytest.raises(RuntimeError):
        fit(trainer_of(), [logger, Refuses()], resume_from=tmp_path / "c")
    fit(trainer_of(), [logger], epochs=1)
    assert [row[0] for row in rows_of(path)] == ["epoch", "1", "1"]


def test_a_full_disk_raises_an_error_and_earlier_rows_stay_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AlmostFull(FileIO):
        rows = 0

        def write(self, content: Any) -> int:
            AlmostFull.rows += 1
            if AlmostFull.rows == 3:
                return super().write(bytes(content)[:5])
            if AlmostFull.rows == 4:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(content)

    monkeypatch.setattr(csv_logger, "FileIO", AlmostFull)
    path, trainer = tmp_path / "run.csv", trainer_of()
    with pytest.raises(StorageError, match="could not be written") as caught:
        fit(trainer, [CSVLogger(path)])
    assert str(caught.value.place).startswith(str(path)) and "free some space" in str(
        caught.value.hint
    )
    assert trainer.history.epochs == 3
    found = History.from_csv(path)
    assert found["loss"] == trainer.history["loss"][:2]


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(FileIO):
        def write(self, content: Any) -> int:
            return super().write(bytes(content)[:7])

    monkeypatch.setattr(csv_logger, "FileIO", Slow)
    trainer = fit(trainer_of(), [CSVLogger(tmp_path / "run.csv")])
    assert History.from_csv(tmp_path / "run.csv") == trainer.history


@pytest.mark.parametrize(
    ("content", "epochs"),
    [(b"epoch,loss\n1,2\n", 0), (b"dear diary\n", 0), (b"\xff\xfe\x00", 0),
     (b"epoch,loss,validation_loss,accuracy\n1,2,3,4\n", 1)],
)  # fmt: skip
def test_rows_are_not_added_to_a_file_with_other_content(
    tmp_path: Path, content: bytes, epochs: int
) -> None:
    path, trainer = tmp_path / "run.csv", trainer_of()
    path.write_bytes(content)
    with pytest.raises(StorageError, match="other content") as caught:
        fit(trainer, [CSVLogger(path, append=True)])
    assert trainer.history.epochs == epochs and trainer.model.is_built is (epochs > 0)
    assert str(caught.value.place).startswith(str(path))
    assert "append=False" in str(caught.value.hint)
    assert path.read_bytes() == content


def test_the_file_is_closed_no_matter_how_the_run_ends(tmp_path: Path) -> None:
    class Fails(Callback):
        def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
            if epoch == 2:
                raise KeyboardInterrupt

    logger = CSVLogger(tmp_path / "run.csv")
    with pytest.raises(KeyboardInterrupt):
        fit(trainer_of(), [logger, Fails()])
    assert logger._file is None and len(rows_of(tmp_path / "run.csv")) == 2


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: CSVLogger(3), "path"),
        (lambda: CSVLogger(""), "path"),
        (lambda: CSVLogger("a.csv", append=1), "append"),
    ],
)
def test_the_error_for_an_invalid_argument_names_it(make: Any, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} has an invalid value") as caught:
        make()
    assert caught.value.place == "CSVLogger" and caught.value.hint


@pytest.mark.parametrize("other", ["run.csv", "./run.csv", "link/run.csv"])
def test_two_tables_in_one_file_are_refused_before_the_first_step(
    tmp_path: Path, monkeypatch: Any, other: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.symlink(tmp_path, tmp_path / "link")
    trainer = trainer_of()
    with pytest.raises(ConfigurationError, match="2 callbacks write to the same path") as caught:
        fit(trainer, [CSVLogger(tmp_path / "run.csv"), CSVLogger(other, append=True)])
    assert caught.value.place == "CSVLogger" and "run.csv" in caught.value.received
    assert not trainer.model.is_built and not (tmp_path / "run.csv").exists()
    same = CSVLogger(tmp_path / "run.csv")
    with pytest.raises(ConfigurationError, match="same path"):
        fit(trainer_of(), [same, same])
    fit(trainer_of(), [same, CSVLogger(tmp_path / "other.csv")])
    assert (tmp_path / "run.csv").read_text() == (tmp_path / "other.csv").read_text()
