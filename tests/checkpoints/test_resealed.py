"""A checkpoint that is invalid although its digest is right: a named error, and nothing changes."""

from __future__ import annotations

import copy
import json
import os
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule import (
    Activation,
    Dense,
    Layer,
    Sequential,
    Trainer,
    callbacks,
    checkpoints,
    losses,
    optimizers,
    schedules,
)
from chainrule.checkpoints import DamagedCheckpointWarning
from chainrule.core.errors import ConfigurationError, NonFiniteError, StorageError
from chainrule.core.layer_state import state_of

X, T = np.random.default_rng(0).normal(size=(2, 12, 3))
SHARE = 40  # the tests try one change of this many


class Noise(Layer):
    """y = x + ξ, with a count, a running mean and a field."""

    deviation: float = 0.1

    def build(self, shape: Any) -> None:
        self.calls = 0
        self.source = self.generator("source")
        self.mean = self.buffer("mean", shape)

    def forward(self, x: Any) -> Any:
        if len(x):
            self.calls += 1
            self.mean.value = 0.9 * self.mean.value + 0.1 * x.mean(axis=0)
        return x + self.deviation * self.source.normal(size=x.shape).astype(x.dtype)

    def backward(self, delta: Any) -> Any:
        return delta

    def apply(self, x: Any) -> Any:
        return x


def changes(trainer: Any, epoch: int, step: int, cost: float) -> None:
    if trainer.steps == 3:
        trainer.optimizer.betas = (0.8, 0.99)
        trainer.model[1].deviation = 0.05
        trainer.model[0].freeze()


def run(folder: Any, *more: Any, epochs: int = 3, data: Any = None, **how: Any) -> Trainer:
    model = Sequential([Dense(4), Noise(), Activation("tanh"), Dense(3)])
    trainer = Trainer(
        model, losses.Huber(1.0), optimizers.Adam(0.01), metrics=["mean_absolute_error"], rng=5
    )
    plateau = schedules.ReduceOnPlateau(schedules.Cosine(0.01, steps=20), patience=1)
    given = [
        callbacks.LearningRate(plateau, monitor="loss"),
        callbacks.EarlyStopping("loss", patience=9),
        callbacks.CSVLogger(Path(folder).parent / "run.csv"),
        *more,
    ]
    x, t = data or (X, T)
    trainer.fit(x, t, epochs=epochs, callbacks=given, progress=False, **how)
    return trainer


class KilledError(Exception):
    """Simulates the end of a process."""


def kills(trainer: Any, epoch: int, step: int, cost: float) -> None:
    if trainer.steps == 5:
        raise KilledError


def make_batch(rng: np.random.Generator) -> Any:
    x = rng.normal(size=(4, 3))
    return x, x


ARRAYS: dict[str, Any] = {"batch_size": 4, "validation_data": (X[:5], T[:5])}
FRESH: dict[str, Any] = {"data": (make_batch, None), "steps_per_epoch": 3}


@pytest.fixture(scope="module", params=["arrays", "fresh"])
def written(request: Any, tmp_path_factory: Any) -> tuple[Any, dict[str, Any]]:
    how = {"arrays": ARRAYS, "fresh": FRESH}[request.param]
    folder = tmp_path_factory.mktemp("written") / "run"
    with pytest.raises(KilledError):
        run(
            folder,
            callbacks.FromFunctions(on_step_end=changes),
            callbacks.Checkpoint(folder, every_steps=1),
            callbacks.FromFunctions(on_step_end=kills),
            **how,
        )
    return checkpoints.newest_in(folder), how


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of everything inside a record."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    if isinstance(value, list):
        for number, item in enumerate(value[:3]):
            yield from places(item, (*path, number))


OTHERS: list[Any] = [
    None, True, -1, 0, 1, 3, 10**30, 0.5, float("nan"), "", "x", [], [0], ["x"], {}, {"x": 1},
    {"array": "x"}, {"array": []}, {"dict": {}}, {"dict": 3}, {"tuple": [1]}, {"layer": 0},
]  # fmt: skip


def mutated(record: Any, path: tuple[Any, ...], how: int, other: Any) -> Any:
    """The record with one change: another type, another count, or another name."""
    if not path:
        return other
    record = copy.deepcopy(record)
    inside = record
    for key in path[:-1]:
        inside = inside[key]
    value, last = inside[path[-1]], path[-1]
    if how == 0:
        inside[last] = copy.deepcopy(other)
    elif how == 1:
        del inside[last]
    elif how == 2 and isinstance(inside, dict):
        inside[f"{last}_"] = inside.pop(last)
    elif how == 2:
        inside.append(copy.deepcopy(value))
    elif isinstance(value, list):
        inside[last] = value[:-1] if how == 3 else [*value, *value[:1], 1]
    elif isinstance(value, dict):
        inside[last] = {**value, "more": other}
    elif isinstance(value, int | float):
        inside[last] = -value - 1 if how == 3 else value + 10**9
    else:
        inside[last] = f"{value}_"
    return record


def resealed(folder: Path, saved: Any, record: Any, arrays: Any) -> None:
    header = {"format": checkpoints.FORMAT, "run": saved.run, "record": json.dumps(record)}
    content = checkpoints.sealed_file.pack(arrays, header)
    (folder / saved.path.name).write_bytes(content)


def require_refused_or_run(folder: Path, how: dict[str, Any], what: str) -> bool:
    """Resume: it runs, or an error with a name leaves everything as it was."""
    model = Sequential([Dense(4), Noise(), Activation("tanh"), Dense(3)])
    model.build((3,), rng=9)
    trainer = Trainer(
        model, losses.Huber(1.0), optimizers.Adam(0.01), metrics=["mean_absolute_error"], rng=5
    )
    given = dict(how)
    x, t = given.pop("data", (X, T))
    plateau = schedules.ReduceOnPlateau(schedules.Cosine(0.01, steps=20), patience=1)
    log = folder.parent / "other.csv"
    log.write_text("mine")
    calls = model[1].calls
    before = [model.parameters.value.copy(), model.buffers.value.copy(), state_of(trainer.rng)]
    started = False

    def starts(trainer: Any) -> None:
        nonlocal started
        started = True

    each = [
        callbacks.FromFunctions(on_fit_begin=starts),
        callbacks.LearningRate(plateau, monitor="loss"),
        callbacks.EarlyStopping("loss", patience=9),
        callbacks.CSVLogger(log),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedCheckpointWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            trainer.fit(x, t, epochs=3, callbacks=each, progress=False, resume_from=folder, **given)
        except NonFiniteError:
            return True  # the value is one that a run can have
        except (StorageError, ConfigurationError):
            assert not started, f"{what}: refused after the run began"
        except Exception as error:
            raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
        else:
            return True
    np.testing.assert_array_equal(model.parameters.value, before[0])
    np.testing.assert_array_equal(model.buffers.value, before[1])
    assert state_of(trainer.rng) == before[2] and trainer.run is None
    assert trainer.optimizer == optimizers.Adam(0.01) and trainer.optimizer.steps == 0
    assert model[1].deviation == 0.1 and model[0].weights.trainable and model[1].calls == calls
    assert log.read_text() == "mine", what
    return False


def test_every_field_of_a_record_can_be_invalid(written, tmp_path):
    """Each is given another type, count or name: a sample of them, all with FUZZ=1."""
    saved, how = written
    draw = random.Random(0)
    every = [
        (path, kind, other)
        for path in places(saved.record)
        for kind in range(5)
        for other in (OTHERS if kind == 0 else [1])
    ]
    folder = tmp_path / "run"
    folder.mkdir()
    refused = 0
    chosen = draw.sample(every, len(every) // (1 if "FUZZ" in os.environ else SHARE))
    for path, kind, other in chosen:
        record = mutated(saved.record, path, kind, other)
        if record == saved.record:
            continue
        resealed(folder, saved, record, saved.arrays)
        refused += not require_refused_or_run(folder, how, f"{path} {kind} {other!r}")
    assert refused > len(chosen) // 4


def test_every_array_can_be_missing_or_another(written, tmp_path):
    saved, how = written
    folder = tmp_path / "run"
    folder.mkdir()
    for name, array in saved.arrays.items():
        arrays = dict(saved.arrays)
        del arrays[name]
        several = [arrays]
        for other in (array[:-1], array[None], array.astype(np.int32), array.astype(bool)):
            if array.ndim or other.ndim:
                several.append({**saved.arrays, name: np.ascontiguousarray(other)})
        for each in several:
            resealed(folder, saved, saved.record, each)
            require_refused_or_run(folder, how, name)
