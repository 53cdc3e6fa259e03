"""Checkpoints: all that the rest of a run depends on, in one file.

A run is a sequence of steps, s₀ → s₁ → s₂ → …, each of which depends on the state before it and on
nothing else. So whoever has s_n has the rest of the run, bit for bit. The state is

    parameters, running statistics, generators, what is frozen             of the model
    velocities, moments, counts, the learning rate                         of the optimizer
    schedules, the best so far, …                                          of the callbacks
    epoch, step, sums of the epoch, position in the order of the samples   of the run
    the history

and a checkpoint is a safetensors file with the arrays of all that, and the rest as JSON in its
metadata, sealed with a digest (`chainrule.storage.sealed_file`). It is written whole or not at all
(`chainrule.files`); a file that was damaged later is passed over for the one before.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import fields, frozen

from chainrule import files
from chainrule.core.errors import ChainruleError, ConfigurationError, StorageError
from chainrule.core.layer import Layer
from chainrule.core.parameter import Array, Parameter
from chainrule.storage import sealed_file
from chainrule.storage.architecture import records_of
from chainrule.storage.arrays import arrays_of
from chainrule.storage.generators import bits_for, set_states, states_of
from chainrule.training.caller import frames_to_the_caller
from chainrule.training.data.batches import ArrayBatches, Batches
from chainrule.training.data.stored_batches import StoredBatches
from chainrule.training.history import History
from chainrule.training.optimizers import Optimizer

if TYPE_CHECKING:
    from chainrule.training.run import Run

FORMAT = "chainrule-checkpoint-1"
LOOKED_AT = 256
"""Of how many rows the data are known again."""

NAME = re.compile(r"step-(\d{9,})\.safetensors")


class DamagedCheckpointWarning(UserWarning):
    """A checkpoint was passed over, since it is not what was written."""


@frozen(eq=False)
class Saved:
    """What stands in a checkpoint's file.

    Attributes
    ----------
    path
        The file.
    record
        All but the arrays.
    arrays
        The arrays, by name.
    """

    path: Path
    record: dict[str, Any]
    arrays: dict[str, Array]


# ------------------------------------------------------------------------------- writing


def write(run: Run, folder: Path) -> Path:
    """Write where a run is into a folder, as ``step-000000150.safetensors``.

    Raises
    ------
    StorageError
        The file could not be written, or a callback remembers what cannot stand in one.
    """
    arrays: dict[str, Array] = {}
    text = json.dumps(_record_of(run, arrays), default=_plain_number)
    content = sealed_file.pack(arrays, {"format": FORMAT, "record": text})
    path = folder / f"step-{run.steps:09}.safetensors"
    files.write(path, content, "the checkpoint")
    return path


def _record_of(run: Run, arrays: dict[str, Array]) -> dict[str, Any]:
    """All of a run's state as JSON, but for its arrays, which are put into ``arrays``."""
    trainer = run.trainer
    model = trainer.model
    arrays |= {f"model/{name}": array for name, array in arrays_of(model).items()}
    arrays |= {f"history/{name}": np.array(run.history[name]) for name in run.history}
    return {
        "model": {
            "architecture": records_of(model),
            "dtype": str(model.dtype),
            "input_shapes": model.input_shapes,
            "generators": states_of(model),
            "frozen": [path for path, p in _parameters_of(model) if not p.trainable],
        },
        "run": described(run),
        "position": {
            "epochs_done": run.epochs_done,
            "steps_done": run.steps_done,
            "steps": run.steps,
            "sums": run.sums,
            "samples": run.samples,
            "batches": run.batches.position(),
        },
        "history": list(run.history),
        "optimizer": _encoded(trainer.optimizer.state(), "optimizer", arrays),
        "callbacks": [
            {
                "class": type(callback).__name__,
                "state": _encoded(dict(callback.state()), f"callbacks/{number}", arrays),
            }
            for number, callback in enumerate(run.callbacks)
        ],
    }


def _parameters_of(model: Layer) -> Iterator[tuple[str, Parameter]]:
    vector = model.parameters
    return zip(vector.paths, vector, strict=True)


def described(run: Run) -> dict[str, Any]:
    """What has to be the same in the run that goes on, by what it is called."""
    trainer = run.trainer
    return {
        "loss": repr(trainer.loss),
        "optimizer": _configured(trainer.optimizer),
        "columns": list(run.columns.names),
        "batches in an epoch": run.batches.steps,
        "batches in a step": run.accumulate,
        "validation data": run.validation is not None,
        "rows of x": [list(shape) for shape in run.batches.data.row_shapes],
        "data, by some of its rows": _digest_of(run.batches),
    }


def _configured(optimizer: Optimizer) -> str:
    """An optimizer as it was made, without the learning rate: that is part of its state."""
    given = [each.name for each in fields(type(optimizer)) if each.init]
    shown = [f"{n}={getattr(optimizer, n)!r}" for n in given if n != "learning_rate"]
    return f"{type(optimizer).__name__}({', '.join(shown)})"


def _digest_of(batches: Batches) -> str | None:
    """Some rows of the data in a few letters, where the same rows are there in every run."""
    if not isinstance(batches, ArrayBatches | StoredBatches):
        return None
    data = batches.data
    weights = () if data.sample_weights is None else (data.sample_weights,)
    digest = hashlib.sha256()
    for array in (*data.inputs, *data.targets, *weights):
        rows = np.ascontiguousarray(array[:: max(1, len(array) // LOOKED_AT)])
        digest.update(f"{len(array)} {array.shape} {array.dtype}".encode())
        digest.update(rows.tobytes())
    return digest.hexdigest()[:12]


def _encoded(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """A value as JSON; an array goes into ``arrays``, and its name stands for it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return _encoded(value.item(), name, arrays)
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        arrays[name] = value
        return {"array": name}
    if isinstance(value, list | tuple):
        return [_encoded(v, f"{name}/{n}", arrays) for n, v in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _encoded(v, f"{name}/{key}", arrays) for key, v in value.items()}}
    raise StorageError(
        "what is remembered cannot be written into a checkpoint",
        place=name,
        expected="numbers, strings, None, arrays of numbers, and lists and dicts of such",
        received=f"{value!r:.60}, of type {type(value).__name__}",
        mend="let state() return what restore() can make the rest from",
    )


def _plain_number(value: Any) -> Any:
    """The Python number of a NumPy number, which JSON does not know."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r:.60} cannot be written as JSON")


def _decoded(value: Any, arrays: Mapping[str, Array]) -> Any:
    match value:
        case {"array": name}:
            return arrays[name]
        case {"dict": dict(items)}:
            return {key: _decoded(v, arrays) for key, v in items.items()}
        case list(items):
            return [_decoded(v, arrays) for v in items]
    return value


# ------------------------------------------------------------------------------- reading


def found_in(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints in a folder, by the number of steps, the newest first."""
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise files.unread(folder, error, "the folder of checkpoints") from error
    matches = [match for name in names if (match := NAME.fullmatch(name))]
    return sorted(((int(match[1]), folder / match[0]) for match in matches), reverse=True)


def newest_in(folder: Path) -> Saved | None:
    """The newest checkpoint in a folder that is what was written; None where there is none.

    Warns
    -----
    DamagedCheckpointWarning
        Of each that was passed over.

    Raises
    ------
    StorageError
        One cannot be read at all, or was written by a newer chainrule: it may well be whole, and
        to go on from an earlier one would lose what it holds.
    """
    for _, path in found_in(folder):
        try:
            return read(path)
        except StorageError as error:
            if not is_damaged(error):
                raise
            warning = DamagedCheckpointWarning(f"passed over: {error}")
            warnings.warn(warning, stacklevel=frames_to_the_caller())
    return None


def is_damaged(error: StorageError) -> bool:
    """Whether a file is not what was written; else it may be whole, but not for this program."""
    return not error.is_newer and not isinstance(error.__cause__, OSError)


def read(path: Path) -> Saved:
    """What stands in a file, if it is what was written there.

    Raises
    ------
    StorageError
        It is not, or there is no such file.
    """
    content = sealed_file.read(path, "a checkpoint")
    try:
        contents = sealed_file.unpack(content, [FORMAT])
        record = sealed_file.parsed(contents.metadata.get("record", ""))
        _require_sound(record, contents.arrays)
        return Saved(path, record, contents.arrays)
    except StorageError as error:
        error.place = str(path)
        raise
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise _unsound(f"{type(error).__name__}: {error!s:.80}", str(path)) from error


def _require_sound(record: Any, arrays: Mapping[str, Array]) -> None:
    """See that all is there, of the kind that it has to be; what fits the run is seen later."""
    model, position = record["model"], record["position"]
    kinds: list[tuple[Any, dict[str, type]]] = [
        (record, {"run": dict, "history": list, "optimizer": dict, "callbacks": list}),
        (model, {"architecture": list, "dtype": str, "input_shapes": list}),
        (model, {"generators": dict, "frozen": list}),
        (position, {"epochs_done": int, "steps_done": int, "steps": int, "samples": int}),
        (position, {"sums": list, "batches": dict}),
    ]
    for part, wanted in kinds:
        for name, kind in wanted.items():
            if type(part[name]) is not kind or (kind is int and part[name] < 0):
                raise _unsound(f"{name} is {part[name]!r:.40}")
    epochs = position["epochs_done"]
    for name in record["history"]:
        if arrays[f"history/{name}"].shape != (epochs,):
            raise _unsound(f"{name!r} has not one figure for each of {epochs} epochs")
    if not all(type(total) is float for total in position["sums"]):
        raise _unsound(f"the sums are {position['sums']!r:.40}")
    if not all(isinstance(each["class"], str) for each in record["callbacks"]):
        raise _unsound("a callback has no class")


def _unsound(received: str, place: str | None = None) -> StorageError:
    return StorageError(
        "this is no checkpoint that a run could go on from",
        place=place,
        expected="what Checkpoint writes",
        received=received,
    )


# ------------------------------------------------------------------------------- going on


@frozen(eq=False)
class Resumption:
    """A checkpoint that a run can go on from: all of it was compared, and nothing has changed yet.

    Attributes
    ----------
    saved
        What stands in the file.
    """

    saved: Saved

    @classmethod
    def of(cls, saved: Saved, run: Run, model: Layer) -> Resumption:
        """Compare a checkpoint with a run.

        Parameters
        ----------
        saved
            What stands in the file.
        run
            Its batches are brought to where they were; nothing else is changed.
        model
            That of the run, or a trial of it where it is not built yet.

        Raises
        ------
        StorageError, ConfigurationError
            It is one of another model, of other data, or of another kind of run; what differs is
            listed.
        """
        record, arrays = saved.record, saved.arrays
        _require_the_same(saved, run, model)
        _require_arrays(saved, model)
        bits_for(record["model"]["generators"])  # which refuses what is no state of a generator
        position = record["position"]
        if len(position["sums"]) != len(run.sums) or position["steps_done"] > run.steps_per_epoch:
            raise _unsound("a position that the run cannot have", str(saved.path))
        try:
            run.batches.go_to(position["batches"])
            copy.deepcopy(run.trainer.optimizer).restore(_decoded(record["optimizer"], arrays))
        except ChainruleError as error:
            error.place = f"{saved.path}, {error.place}" if error.place else str(saved.path)
            raise
        except Exception as error:  # a state that is none of this kind of batches
            raise _unsound(f"{type(error).__name__}: {error!s:.80}", str(saved.path)) from error
        return cls(saved)

    def restore_callbacks(self, run: Run) -> None:
        """Give each callback what it remembered; one that refuses it says so."""
        for callback, state in _states_of_callbacks(self.saved, run):
            callback.restore(state)

    def apply(self, run: Run) -> None:
        """Put the run, whose model is built, where it was."""
        record, arrays, trainer = self.saved.record, self.saved.arrays, run.trainer
        model = trainer.model
        trainer.optimizer.restore(_decoded(record["optimizer"], arrays))
        for name, array in arrays_of(model).items():
            array[...] = arrays[f"model/{name}"]
        set_states(model, record["model"]["generators"])
        for path, parameter in _parameters_of(model):
            parameter.trainable = path not in record["model"]["frozen"]
        run.batches.go_to(record["position"]["batches"])
        position = record["position"]
        run.epochs_done, run.steps_done = position["epochs_done"], position["steps_done"]
        run.steps, run.samples = position["steps"], position["samples"]
        run.sums = position["sums"]
        run.history = History({n: arrays[f"history/{n}"].tolist() for n in record["history"]})


def _require_the_same(checkpoint: Saved, run: Run, model: Layer) -> None:
    before = checkpoint.record["model"]
    now = {
        "architecture": records_of(model),
        "dtype": str(model.dtype),
        "input_shapes": [list(shape) for shape in model.input_shapes],
    }
    differences = [
        f"the model's {name.replace('_', ' ')}: {_differing(before[name], value)}"
        for name, value in json.loads(json.dumps(now)).items()
        if before[name] != value
    ]
    was = checkpoint.record["run"]
    is_now = json.loads(json.dumps(described(run)))
    differences += [
        f"{name}: {was.get(name)!r:.80} then, {is_now.get(name)!r:.80} now"
        for name in {**was, **is_now}
        if was.get(name) != is_now.get(name)
    ]
    if differences:
        raise StorageError(
            "the checkpoint is one of another run",
            place=str(checkpoint.path),
            expected="the same model, loss, optimizer and data as when it was written",
            received="; ".join(differences),
            mend="call fit as the run was called that wrote it, or give another folder",
        )


def _differing(before: Any, now: Any) -> str:
    """What two architectures differ in first, or the two values."""
    if not (isinstance(before, list) and isinstance(now, list)):
        return f"{before!r:.60} then, {now!r:.60} now"
    for then, is_now in zip(before, now, strict=False):
        if then == is_now:
            continue
        if not isinstance(then, dict) or then["class"] != is_now["class"]:
            break
        fields = {**then["fields"], **is_now["fields"]}
        name = next(k for k in fields if then["fields"].get(k) != is_now["fields"].get(k))
        if '"layer"' in json.dumps(fields[name]):  # which layers it holds: their list says more
            break
        pair = [_shortly(record["fields"].get(name)) for record in (then, is_now)]
        return f"{then['class']}.{name} was {pair[0]}, and is {pair[1]}"
    classes = [[r["class"] if isinstance(r, dict) else r for r in rs] for rs in (before, now)]
    return f"{classes[0]!s:.90} then, {classes[1]!s:.90} now"


def _shortly(value: Any) -> str:
    """A field as one would say it: of an object, its class."""
    match value:
        case {"function": name} | {"initializer": name}:
            return str(name)
        case {"tuple": items}:
            return f"{tuple(items)}"
    return f"{value!r:.60}"


def _states_of_callbacks(checkpoint: Saved, run: Run) -> list[tuple[Any, dict[str, Any]]]:
    """The callbacks that were there before, each with its state.

    Those are the same that have the same class, and stand in the same order among the callbacks of
    that class.
    """
    left = list(run.callbacks)
    found = []
    for record in checkpoint.record["callbacks"]:
        same = [callback for callback in left if type(callback).__name__ == record["class"]]
        state = _decoded(record["state"], checkpoint.arrays)
        if same:
            left.remove(same[0])
            if state:
                found.append((same[0], state))
        elif state:
            raise ConfigurationError(
                f"among the callbacks of the run that wrote the checkpoint was {record['class']}",
                place=str(checkpoint.path),
                expected=f"{record['class']}, which goes on from what it remembered",
                received=f"callbacks={run.callbacks!r:.90}",
                mend="call fit with the same callbacks; more of them may be there",
            )
    return found


def _require_arrays(checkpoint: Saved, model: Layer) -> None:
    """See that the arrays of a model are there, as large as they have to be."""
    for name, array in arrays_of(model).items():
        held = checkpoint.arrays.get(f"model/{name}")
        if held is None or held.shape != array.shape or held.dtype != array.dtype:
            raise StorageError(
                "an array in the checkpoint does not fit its place",
                place=f"{checkpoint.path}, {name}",
                expected=f"{array.shape}, {array.dtype}",
                received="none" if held is None else f"{held.shape}, {held.dtype}",
            )
