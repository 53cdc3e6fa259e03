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

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from chainrule import files
from chainrule.core.caller import warn_caller
from chainrule.core.errors import StorageError
from chainrule.core.types import Array
from chainrule.storage import sealed_file

FORMAT = "chainrule-checkpoint-1"
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


def write(folder: Path, steps: int, record: dict[str, Any], arrays: dict[str, Array]) -> Path:
    """Write a checkpoint into a folder, as ``step-000000150.safetensors``.

    Parameters
    ----------
    folder
        Where. It exists.
    steps
        How many steps the run has taken.
    record
        All but the arrays, as JSON has it.
    arrays
        The arrays, by name.

    Raises
    ------
    StorageError
        The file could not be written.
    """
    content = sealed_file.pack(arrays, {"format": FORMAT, "record": json.dumps(record)})
    path = folder / f"step-{steps:09}.safetensors"
    files.write(path, content, "the checkpoint")
    return path


def encoded(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """A value as JSON; an array goes into ``arrays``, and its name stands for it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return encoded(value.item(), name, arrays)
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        arrays[name] = value
        return {"array": name}
    if isinstance(value, list | tuple):
        return [encoded(v, f"{name}/{n}", arrays) for n, v in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"dict": {key: encoded(v, f"{name}/{key}", arrays) for key, v in value.items()}}
    raise StorageError(
        "what is remembered cannot be written into a checkpoint",
        place=name,
        expected="numbers, strings, None, arrays of numbers, and lists and dicts of such",
        received=f"{value!r:.60}, of type {type(value).__name__}",
        hint="let state() return what restore() can make the rest from",
    )


def decoded(value: Any, arrays: Mapping[str, Array]) -> Any:
    """The value of which `encoded` has made JSON."""
    match value:
        case {"array": name}:
            return arrays[name]
        case {"dict": dict(items)}:
            return {key: decoded(v, arrays) for key, v in items.items()}
        case list(items):
            return [decoded(v, arrays) for v in items]
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
            warn_caller(warning)
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
        raise unsound(f"{type(error).__name__}: {error!s:.80}", str(path)) from error


def _require_sound(record: Any, arrays: Mapping[str, Array]) -> None:
    """See that all is there, of the kind that it has to be; what fits the run is seen later."""
    model, position = record["model"], record["position"]
    kinds: list[tuple[Any, dict[str, type]]] = [
        (record, {"made of": dict, "history": list, "optimizer": dict, "callbacks": list}),
        (model, {"generators": dict, "frozen": list}),
        (position, {"epochs_done": int, "steps_done": int, "steps": int, "samples": int}),
        (position, {"sums": list, "batches": dict}),
    ]
    for part, wanted in kinds:
        for name, kind in wanted.items():
            if type(part[name]) is not kind or (kind is int and part[name] < 0):
                raise unsound(f"{name} is {part[name]!r:.40}")
    epochs = position["epochs_done"]
    for name in record["history"]:
        if arrays[f"history/{name}"].shape != (epochs,):
            raise unsound(f"{name!r} has not one figure for each of {epochs} epochs")
    if not all(type(total) is float for total in position["sums"]):
        raise unsound(f"the sums are {position['sums']!r:.40}")
    if not all(isinstance(each["class"], str) for each in record["callbacks"]):
        raise unsound("a callback has no class")


def unsound(received: str, place: str | None = None) -> StorageError:
    """The error for a file that is whole, and says nothing that makes sense."""
    return StorageError(
        "this is no checkpoint that a run could go on from",
        place=place,
        expected="what Checkpoint writes",
        received=received,
    )
