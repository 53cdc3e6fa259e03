"""TensorBoard events: read back from the files as TensorBoard reads them."""

from __future__ import annotations

import errno
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import RecordWriter

from chainrule.callbacks import Callback, CSVLogger, FromFunctions, LearningRate, TensorBoard
from chainrule.core.errors import ConfigurationError, MissingExtraError, StorageError
from chainrule.schedules import Exponential
from checkpoints.resumption import Kills, fit, killed_and_resumed, trainer_of


def events_in(folder: Path) -> list[Any]:
    """The events of all files in a folder, in the order of the files' names.

    A record is its length, 8 bytes, a checksum of that, 4, the event, and a checksum of it, 4.
    """
    found = []
    for path in sorted(folder.glob("*tfevents*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            found.append(Event.FromString(content[12 : 12 + length]))
            content = content[16 + length :]
    return found


def shown(folder: Path) -> dict[str, dict[int, Any]]:
    """What TensorBoard shows: the start of a session hides the events from its number on."""
    events: list[Any] = []
    for event in events_in(folder):
        if event.session_log.status == SessionLog.START:
            events = [each for each in events if each.step < event.step]
        events += [event] if event.HasField("summary") else []
    curves: dict[str, dict[int, Any]] = {}
    for event in events:
        for value in event.summary.value:
            curve = curves.setdefault(value.tag, {})
            assert event.step not in curve, "a seam"
            curve[event.step] = value.histo if value.HasField("histo") else value.simple_value
    return curves


def float32(values: list[float]) -> dict[int, float]:
    return {n: float(np.float32(value)) for n, value in enumerate(values, start=1)}


def test_the_curves_are_the_history_training_and_validation_in_the_same_charts(
    tmp_path: Path,
) -> None:
    given = [TensorBoard(tmp_path), LearningRate(Exponential(0.1, 0.9))]
    history = fit(trainer_of(), given).history
    assert shown(tmp_path / "training") == {
        "loss": float32(history["loss"]),
        "learning_rate": float32(history["learning_rate"]),
    }
    assert shown(tmp_path / "validation") == {"loss": float32(history["validation_loss"])}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["training", "validation"]


def test_without_validation_data_there_is_one_run(tmp_path: Path) -> None:
    fit(trainer_of(), [TensorBoard(tmp_path)], validation_data=None)
    assert [path.name for path in tmp_path.iterdir()] == ["training"]


def test_costs_are_written_every_given_number_of_steps(tmp_path: Path) -> None:
    costs: list[float] = []
    notes = FromFunctions(on_step_end=lambda trainer, epoch, step, cost: costs.append(cost))
    fit(trainer_of(), [TensorBoard(tmp_path, every_steps=4), notes])
    of_all = float32(costs)
    assert shown(tmp_path / "steps") == {"cost": {n: of_all[n] for n in (4, 8, 12, 16)}}


def test_histograms_of_all_parameters_are_written_every_given_number_of_epochs(
    tmp_path: Path,
) -> None:
    trainer = fit(trainer_of(), [TensorBoard(tmp_path, histograms_every=3)])
    curves = shown(tmp_path / "training")
    parameters = trainer.model.parameters
    for path in parameters.paths:
        curve = curves[path.replace(".", "/")]
        assert list(curve) == [3, 6]
        value, last = parameters[path].value, curve[6]
        assert sum(last.bucket) == last.num == value.size
        assert (last.min, last.max) == (value.min(), value.max())
        assert last.sum == pytest.approx(value.sum())


def test_each_epoch_is_in_the_file_as_soon_as_it_is_over(tmp_path: Path) -> None:
    seen = []

    class Reads(Callback):
        def on_epoch_end(self, trainer: Any, epoch: int, figures: Any) -> None:
            seen.append(len(shown(tmp_path / "training")["loss"]))

    fit(trainer_of(), [TensorBoard(tmp_path), Reads()], epochs=3)
    assert seen == [1, 2, 3]


@pytest.mark.parametrize(
    ("kills", "every"), [(Kills(steps=4), 50), (Kills(steps=8), 5), (Kills(epochs=4), 1)]
)
def test_the_curves_of_a_resumed_run_are_seamless(tmp_path: Path, kills: Kills, every: int) -> None:
    def make() -> list[Any]:
        return [TensorBoard(tmp_path / "resumed", every_steps=1, histograms_every=2)]

    fit(trainer_of(), [TensorBoard(tmp_path / "alone", every_steps=1, histograms_every=2)])
    killed_and_resumed(make, tmp_path / "checkpoints", kills, every)
    for name in ("training", "validation", "steps"):
        assert shown(tmp_path / "resumed" / name) == shown(tmp_path / "alone" / name)


def test_a_new_run_hides_an_earlier_one_in_the_same_folder(tmp_path: Path) -> None:
    given = [TensorBoard(tmp_path, every_steps=1)]
    fit(trainer_of(), given, epochs=5)
    history = fit(trainer_of(rng=9), given, epochs=2).history
    assert shown(tmp_path / "training")["loss"] == float32(history["loss"])
    assert list(shown(tmp_path / "steps")["cost"]) == [1, 2, 3, 4, 5, 6]


def test_no_file_stays_open_no_matter_how_the_run_ends(tmp_path: Path) -> None:
    class Fails(Callback):
        def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
            if epoch == 2:
                raise KeyboardInterrupt

    board = TensorBoard(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit(trainer_of(), [board, Fails()])
    assert board._runs == {} and list(shown(tmp_path / "training")["loss"]) == [1]


# ------------------------------------------------------------------------------- errors


def test_a_folder_that_cannot_be_created_is_refused_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    trainer = trainer_of()
    with pytest.raises(StorageError, match="the TensorBoard events could not be written"):
        fit(trainer, [TensorBoard(tmp_path / "file")])
    assert trainer.steps == 0


def test_a_full_disk_raises_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = RecordWriter.flush

    def flush(writer: Any) -> None:
        if "steps" in writer.path and len(shown(tmp_path / "training")["loss"]) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(writer)

    monkeypatch.setattr(RecordWriter, "flush", flush)
    trainer = trainer_of()
    with pytest.raises(StorageError, match="could not be written") as caught:
        fit(trainer, [TensorBoard(tmp_path, every_steps=1)])
    assert str(tmp_path / "steps") in caught.value.place
    assert "free some space" in str(caught.value.hint)
    assert trainer.history.epochs == 2


def test_without_tensorboardx_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtraError, match="not installed") as caught:
        TensorBoard("runs")
    assert caught.value.hint == "pip install 'chainrule[tensorboard]'"


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: TensorBoard(3), "folder"),
        (lambda: TensorBoard("runs", every_steps=0), "every_steps"),
        (lambda: TensorBoard("runs", histograms_every=1.5), "histograms_every"),
    ],
)
def test_the_error_for_an_invalid_argument_names_it(make: Any, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} has an invalid value") as caught:
        make()
    assert caught.value.place == "TensorBoard" and caught.value.hint


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_folder_that_cannot_be_created_is_refused_before_any_callback_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    table, a_file = tmp_path / "run.csv", tmp_path / "file"
    table.write_text("of yesterday")
    a_file.write_text("")
    trainer = trainer_of()
    with pytest.raises(StorageError, match="could not be written") as caught:
        fit(trainer, [CSVLogger(table), TensorBoard(a_file / below)])
    assert caught.value.place == str(a_file / below)
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path / "runs")
    (tmp_path / "runs").mkdir()
    with pytest.raises(StorageError, match="could not be written"):
        fit(trainer, [CSVLogger(table), TensorBoard(tmp_path / "runs" / below)])
    assert table.read_text() == "of yesterday" and not trainer.model.is_built
    assert not list((tmp_path / "runs").iterdir())
