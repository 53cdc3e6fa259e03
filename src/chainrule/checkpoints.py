"""Checkpoints: everything that determines the rest of a run, in one file.

A run is a sequence of states, s₀ → s₁ → s₂ → …, each of which depends only on the one before. So
the state s_n determines the rest of the run, bit for bit. The state is

    parameters, running statistics, generators, frozen parameters          of the model
    velocities, moments, counts, the learning rate                         of the optimizer
    schedules, the best so far, …                                          of the callbacks
    epoch, step, sums of the epoch, position in the order of the samples   of the run
    the history

A checkpoint is a safetensors file with the arrays of this state, and everything else as JSON in its
metadata, sealed with a digest (`chainrule.storage.sealed_file`). It is written completely or not at
all (`chainrule.files`); if a file is damaged later, the run resumes from the one before it.
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
from chainrule.core.acceleration import VARIABLE, blas_in_use
from chainrule.core.caller import warn_caller
from chainrule.core.errors import ChainruleError, StorageError, described, shortened
from chainrule.core.types import Array
from chainrule.storage import sealed_file

FORMAT = "chainrule-checkpoint-2"
READABLE = ("chainrule-checkpoint-1", FORMAT)
NAME = re.compile(r"step-(\d{9,})\.safetensors")


class DamagedCheckpointWarning(UserWarning):
    """A checkpoint was skipped because the file is damaged."""


class OtherBlasWarning(UserWarning):
    """A run resumes with another BLAS than that of the checkpoint, so with other last bits."""


@frozen(eq=False)
class Saved:
    """The contents of a checkpoint file.

    Attributes
    ----------
    path
        The file.
    record
        Everything except the arrays.
    arrays
        The arrays, by name.
    run
        The identity of the run that wrote it; None if chainrule 0.1 wrote it.
    blas
        The BLAS that computed the products, such as ``"scipy-openblas 0.3.31"``; None if the file
        does not say.
    """

    path: Path
    record: dict[str, Any]
    arrays: dict[str, Array]
    run: str | None = None
    blas: str | None = None


# ------------------------------------------------------------------------------- writing


def write(
    folder: Path, steps: int, run: str, record: dict[str, Any], arrays: dict[str, Array]
) -> Path:
    """Write a checkpoint into a folder, as ``step-000000150.safetensors``.

    Parameters
    ----------
    folder
        An existing folder.
    steps
        The number of steps that the run has taken.
    run
        The identity of the run.
    record
        Everything except the arrays, in a form that JSON can represent.
    arrays
        The arrays, by name.

    Raises
    ------
    StorageError
        The file could not be written.
    """
    names = {"format": FORMAT, "run": run, "blas": blas_in_use()}
    content = sealed_file.pack(arrays, {**names, "record": json.dumps(record)})
    path = folder / f"step-{steps:09}.safetensors"
    files.write(path, content, "the checkpoint")
    return path


def encoded(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """A value in JSON form; arrays are moved into ``arrays`` and replaced by their names."""
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
        "this state cannot be written into a checkpoint",
        place=name,
        expected="numbers, strings, None, arrays of numbers, and lists and dicts of these",
        received=described(value),
        hint="return from state() only values from which restore() can rebuild the rest",
    )


def decoded(value: Any, arrays: Mapping[str, Array]) -> Any:
    """The value that `encoded` converted."""
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
    """The checkpoints in a folder with their numbers of steps, the newest first."""
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise files.unread(folder, error, "the folder of checkpoints") from error
    matches = [match for name in names if (match := NAME.fullmatch(name))]
    return sorted(((int(match[1]), folder / match[0]) for match in matches), reverse=True)


def number_of(path: Path) -> int:
    """The number of steps in the name of a checkpoint."""
    match = NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def run_of(path: Path) -> str | None:
    """The identity of the run that wrote a checkpoint; None if chainrule 0.1 wrote it.

    An empty string if the file cannot be read.
    """
    try:
        metadata = sealed_file.read_metadata(path, "a checkpoint")
    except StorageError:
        return ""
    return metadata.get("run") if metadata.get("format") in READABLE else ""


def newest_in(folder: Path) -> Saved | None:
    """The newest undamaged checkpoint in a folder; None if there is none.

    Warns
    -----
    DamagedCheckpointWarning
        For each file that is skipped.

    Raises
    ------
    StorageError
        A file cannot be read at all, or was written by a newer chainrule: it may be intact, and
        resuming from an earlier one would lose its progress.
    """
    for _, path in found_in(folder):
        try:
            return read(path)
        except StorageError as error:
            if not is_damaged(error):
                raise
            warn_caller(DamagedCheckpointWarning(f"skipped: {error}"))
    return None


def is_damaged(error: StorageError) -> bool:
    """Whether the file is damaged; otherwise it may be intact, but this program cannot read it."""
    return not error.is_newer and not isinstance(error.__cause__, OSError)


def read(path: Path) -> Saved:
    """Read a checkpoint file.

    Raises
    ------
    StorageError
        The file is damaged or does not exist.
    """
    try:
        with sealed_file.opened(path, "a checkpoint", READABLE) as contents:
            arrays = contents.arrays
        record = sealed_file.parsed(contents.metadata.get("record", ""))
        _require_valid(record, arrays)
        blas = contents.metadata.get("blas")
        return Saved(path, record, arrays, _identity(contents.metadata), blas)
    except StorageError as error:
        error.place = str(path)
        raise
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise invalid(f"{type(error).__name__}: {error!s:.80}", str(path)) from error


def warn_of_another_blas(saved: Saved) -> None:
    """Warn if the products of the run will have other last bits than those before.

    Warns
    -----
    OtherBlasWarning
        The BLAS in use is not the one that the checkpoint names.
    """
    blas = blas_in_use()
    if saved.blas in (None, blas):
        return
    hint = "install the NumPy of that run, for the same bits"
    if "MKL" in str(saved.blas):
        hint = "for the same bits: pip install 'chainrule[fast]', with the same number of threads"
    elif "MKL" in blas:
        hint = f"for the same bits: chainrule.use_fast(False), or {VARIABLE}=0"
    told = ChainruleError(
        "the run resumes with another BLAS, whose products have other last bits",
        place=str(saved.path),
        expected=saved.blas,
        received=blas,
        hint=hint,
    )
    warn_caller(OtherBlasWarning(str(told)))


def _identity(metadata: Mapping[str, str]) -> str | None:
    """The identity of the run; a checkpoint of chainrule 0.1 has none."""
    run = metadata.get("run")
    if metadata["format"] == FORMAT and not re.fullmatch(r"[0-9a-f]{16}", run or ""):
        raise invalid(f"the run {run!r:.40}")
    return run


def _require_valid(record: Any, arrays: Mapping[str, Array]) -> None:
    """Check that every entry exists and has the right type; whether it fits the run comes later."""
    model, position = record["model"], record["position"]
    kinds: list[tuple[Any, dict[str, type]]] = [
        (record, {"made of": dict, "history": list, "optimizer": dict, "callbacks": list}),
        (model, {"generators": dict, "frozen": list}),
        (position, {"epochs_done": int, "steps_done": int, "steps": int, "samples": int}),
        (position, {"sums": list, "batches": dict}),
    ]
    for entries, types in kinds:
        for name, kind in types.items():
            if type(entries[name]) is not kind or (kind is int and entries[name] < 0):
                raise invalid(f"{name} is {shortened(entries[name], 40)}")
    epochs = position["epochs_done"]
    for name in record["history"]:
        if arrays[f"history/{name}"].shape != (epochs,):
            raise invalid(f"{name!r} does not have one number for each of {epochs} epochs")
    if not all(map(_are_numbers, position["sums"])):
        raise invalid(f"the sums are {shortened(position['sums'], 40)}")
    if not all(isinstance(each["class"], str) for each in record["callbacks"]):
        raise invalid("a callback has no class")


def _are_numbers(total: Any) -> bool:
    """Whether it is a number, or the several of a metric: a list, or a table, of numbers."""
    rows = total if isinstance(total, list) else [total]
    columns = [row if isinstance(row, list) and rows is total else [row] for row in rows]
    same = len({len(column) for column in columns}) == 1
    return same and all(type(number) is float for column in columns for number in column)


def invalid(received: str, place: str | None = None) -> StorageError:
    """The error for a file that is intact but not a valid checkpoint."""
    return StorageError(
        "this is not a checkpoint from which a run can resume",
        place=place,
        expected="a file written by callbacks.Checkpoint",
        received=received,
    )
