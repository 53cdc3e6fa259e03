"""The arrays of the user never change, and code of the user runs in order and in its own thread."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import define

from chainrule import (
    Activation,
    Dense,
    Flatten,
    Layer,
    Sequential,
    Trainer,
    losses,
    optimizers,
)
from chainrule.core.errors import DefinitionError, NonFiniteError
from chainrule.losses import Loss
from data.stored import RowByRow, WithAShape, in_hdf5, mapped

N = 48
X = np.random.default_rng(0).normal(size=(N, 3))
T = X @ [[1.0], [-2.0], [0.5]]
W = np.linspace(0.5, 1.5, N)


def trained(*data: Any, model: Any = None, **options: Any) -> Any:
    """The parameters and the history of a short run, in float64 as the data are."""
    loss = options.pop("loss", losses.HalfSquaredError())
    metrics = options.pop("metrics", ())
    trainer = Trainer(model or Dense(1), loss, optimizers.SGD(0.1), rng=0, metrics=metrics)
    trainer.fit(*data, epochs=options.pop("epochs", 2), progress=False, **options)
    return trainer.model.parameters.value.tobytes(), dict(trainer.history)


# ------------------------------------------------------------------------ memory that is reused


class Batches:
    """A loader of 6 batches; with ``reuses``, all are in the same memory."""

    def __init__(self, reuses: bool) -> None:
        self.reuses, self.x, self.t, self.w = reuses, X[:8].copy(), T[:8].copy(), W[:8].copy()

    def __len__(self) -> int:
        return N // 8

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, N, 8):
            rows = slice(start, start + 8)
            if self.reuses:
                self.x[:], self.t[:], self.w[:] = X[rows], T[rows], W[rows]
                yield self.x, self.t, self.w
                self.x[:] = self.t[:] = np.nan
            else:
                yield X[rows].copy(), T[rows].copy(), W[rows].copy()


class Samples:
    """A dataset of pairs; with ``reuses``, all are in the same memory."""

    def __init__(self, reuses: bool) -> None:
        self.reuses, self.x, self.t = reuses, np.zeros(3), np.zeros(1)

    def __len__(self) -> int:
        return N

    def __getitem__(self, number: int) -> Any:
        if not self.reuses:
            return X[number].copy(), T[number].copy()
        self.x[:], self.t[:] = X[number], T[number]
        return self.x, self.t


class Rows(Samples):
    """The same without targets: one row at a time."""

    def __getitem__(self, number: int) -> Any:
        return super().__getitem__(number)[0]


class Slices(WithAShape):
    """Rows of an array; with ``reuses``, all slices are in the same memory."""

    def __init__(self, reuses: bool) -> None:
        super().__init__(X)
        self.reuses, self.memory = reuses, np.zeros_like(X)

    def __getitem__(self, part: slice) -> Any:
        rows = super().__getitem__(part)
        if not self.reuses:
            return rows
        self.memory[: len(rows)] = rows
        return self.memory[: len(rows)]


def function(reuses: bool) -> Callable[[np.random.Generator], Any]:
    loader = Batches(reuses)

    def make_batch(rng: np.random.Generator) -> Any:
        rows = rng.integers(0, N, 8)
        if not reuses:
            return X[rows], T[rows]
        loader.x[:], loader.t[:] = X[rows], T[rows]
        return loader.x, loader.t

    return make_batch


REUSED: dict[str, Callable[[bool], tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "a loader": lambda reuses: ((Batches(reuses),), {}),
    "a generator": lambda reuses: ((endless(Batches(reuses)),), {"steps_per_epoch": 6}),
    "a dataset of pairs": lambda reuses: ((Samples(reuses),), {"batch_size": 8}),
    "a dataset of rows": lambda reuses: ((Rows(reuses), T), {"batch_size": 8}),
    "a source of slices": lambda reuses: ((Slices(reuses), T), {"batch_size": 8}),
    "a function": lambda reuses: ((function(reuses),), {"steps_per_epoch": 6}),
    "validation batches": lambda reuses: ((X, T), {"validation_data": Batches(reuses)}),
    "validation samples": lambda reuses: ((X, T), {"validation_data": Samples(reuses)}),
}


def endless(loader: Batches) -> Iterator[Any]:
    while True:
        yield from loader


@pytest.mark.parametrize("options", [{}, {"prefetch": True}, {"accumulate": 3}])
@pytest.mark.parametrize("kind", REUSED)
def test_memory_may_be_reused_for_the_next_batch_or_sample(
    kind: str, options: dict[str, Any]
) -> None:
    runs = []
    for reuses in (False, True):
        given, own = REUSED[kind](reuses)
        runs.append(trained(*given, **own, **options))
    assert runs[0] == runs[1]


def test_the_batch_at_fault_is_saved_as_it_was(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    x, t = np.ones((4, 1)), np.ones((4, 1))

    def batches() -> Iterator[Any]:
        for size in (1.0, 1e200, 2.0, 3.0):
            x[:] = size
            yield x, t

    with pytest.raises(NonFiniteError):
        trained(batches(), steps_per_epoch=4, epochs=1, bad_batch=tmp_path / "bad.safetensors")
    np.testing.assert_array_equal(load_file(tmp_path / "bad.safetensors")["x"], 1e200)


# ------------------------------------------------------------------------ code that writes


class Writes(Layer):
    """A layer that changes its input."""

    def forward(self, x: Any) -> Any:
        if len(x):
            x -= 1.0
        return x * 1.0

    def backward(self, delta: Any) -> Any:
        return delta


@define
class WritesTarget(Loss):
    """A loss that changes the target."""

    def costs(self, y: Any, target: Any) -> Any:
        target -= y
        return np.sum(target**2, axis=1)

    def slopes(self, y: Any, target: Any) -> Any:
        return 2 * (y - target)


@define
class WritesAtOnce(losses.HalfSquaredError):
    """A loss that changes the target where C and Δ are computed together."""

    def value_and_delta(self, y: Any, target: Any, sample_weights: Any = None) -> Any:
        target *= 0.0
        return super().value_and_delta(y, target, sample_weights)


@define
class WritesWeights(losses.HalfSquaredError):
    """A loss that normalizes the weights where they are."""

    def value_and_delta(self, y: Any, target: Any, sample_weights: Any = None) -> Any:
        sample_weights /= sample_weights.sum()
        return super().value_and_delta(y, target, sample_weights)


def writes_target(y: Any, t: Any) -> float:
    t[:] = 0.0
    return 0.0


def sorts_output(y: Any, t: Any) -> float:
    y.sort(axis=0)
    return 0.0


FAULTY: dict[str, tuple[dict[str, Any], str]] = {
    "a layer": ({"model": Sequential([Writes(), Dense(1)])}, "writes_1"),
    "a layer alone": ({"model": Writes(), "t_as_x": True}, "Writes"),
    "a layer inside": ({"model": Sequential([Sequential([Writes()]), Dense(1)])}, "writes_1"),
    "a loss": ({"loss": WritesTarget()}, "WritesTarget.costs"),
    "a loss at once": ({"loss": WritesAtOnce()}, "WritesAtOnce"),
    "a metric": ({"metrics": [writes_target]}, "the metric 'writes_target'"),
    "a metric and y": ({"metrics": [sorts_output]}, "the metric 'sorts_output'"),
}


@pytest.mark.parametrize(
    "how",
    [{}, {"shuffle": False}, {"shuffle": "blocks"}, {"batch_size": N, "shuffle": False}, "batches"],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("faulty", FAULTY)
def test_code_that_writes_into_its_arguments_is_a_named_error_and_changes_no_data(
    faulty: str, dtype: str, how: Any
) -> None:
    options, who = FAULTY[faulty]
    options = dict(options)
    x, t, w = X.astype(dtype), T.astype(dtype), W.astype(dtype)
    if options.pop("t_as_x", False):
        t = x.copy()
    data: tuple[Any, ...] = (x, t)
    how = {} if how == "batches" else {"sample_weights": w, **how}
    if not how:
        data = ([(x[:24], t[:24]), (x[24:], t[24:])],)
    before = [array.copy() for array in (x, t, w)]
    model = options.pop("model", Dense(1)).unbuilt()
    with pytest.raises(DefinitionError, match="read-only was written into") as caught:
        trained(*data, model=model, **options, **how)
    assert who in str(caught.value) and "x = x.copy()" in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)
    for array, old in zip((x, t, w), before, strict=True):
        np.testing.assert_array_equal(array, old)
        assert array.flags.writeable


@pytest.mark.parametrize("faulty", FAULTY)
def test_validation_and_evaluation_change_no_data_either(faulty: str) -> None:
    options, who = FAULTY[faulty]
    x, t = X.copy(), (X if "t_as_x" in options else T).copy()
    model = options.get("model", Dense(1)).unbuilt()
    model.build((3,), rng=0)
    trainer = Trainer(
        model,
        options.get("loss", losses.HalfSquaredError()),
        optimizers.SGD(0.1),
        metrics=options.get("metrics", ()),
    )
    calls: list[Callable[[], Any]] = [lambda: trainer.evaluate(x, t)]
    if "model" in options:
        calls.append(lambda: model(x))
    if faulty == "a loss":
        calls.append(lambda: options["loss"](x[:, :1], t))
    for call in calls:
        with pytest.raises(DefinitionError, match="read-only was written into") as caught:
            call()
        assert who in str(caught.value)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(t, X if "t_as_x" in options else T)


def test_what_a_model_returns_is_not_a_view_of_the_data() -> None:
    images = np.arange(24.0).reshape(2, 3, 4)
    before = images.copy()
    for model in (
        Flatten(),
        Activation("identity"),
        Sequential([Flatten(), Activation("identity")]),
    ):
        features = model(images)
        features /= 255.0
        np.testing.assert_array_equal(images, before)


# ------------------------------------------------------------------------ in order


class Observed:
    """A dataset of pairs that notes the thread and draws random numbers."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.rng = np.random.default_rng(3)

    def __len__(self) -> int:
        return N

    def __getitem__(self, number: int) -> Any:
        self.threads.add(threading.get_ident())
        return X[number] + self.rng.normal(size=3), T[number]


def test_a_dataset_that_draws_random_numbers_gives_the_same_run_each_time() -> None:
    datasets = [Observed() for _ in range(3)]
    runs = [trained(dataset, batch_size=8) for dataset in datasets]
    assert runs[0] == runs[1] == runs[2]
    assert all(dataset.threads == {threading.get_ident()} for dataset in datasets)


def test_a_loader_that_uses_the_model_sees_it_after_the_last_step() -> None:
    def run(loop: Callable[[Trainer, Iterator[Any]], None]) -> tuple[bytes, list[float]]:
        model, seen = Dense(1), []
        model.build((3,), rng=0)

        def hardest() -> Iterator[Any]:
            while True:
                errors = np.abs(model(X) - T)[:, 0]
                seen.append(float(errors.mean()))
                rows = np.argsort(errors)[-8:]
                yield X[rows], T[rows]

        trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
        loop(trainer, hardest())
        return model.parameters.value.tobytes(), seen

    def by_hand(trainer: Trainer, batches: Iterator[Any]) -> None:
        for _ in range(10):
            x, t = next(batches)
            trainer.step(x, t)

    def by_fit(trainer: Trainer, batches: Iterator[Any]) -> None:
        trainer.fit(batches, epochs=2, steps_per_epoch=5, progress=False)

    assert run(by_fit) == run(by_hand)


@pytest.mark.parametrize("kind", ["pairs", "rows", "slices", "loader", "function"])
def test_a_database_connection_is_used_in_its_own_thread(kind: str) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table rows (n integer, a real, b real, c real, t real)")
    table = [(n, *map(float, x), float(t[0])) for n, (x, t) in enumerate(zip(X, T, strict=True))]
    connection.executemany("insert into rows values (?, ?, ?, ?, ?)", table)

    def read(start: int, stop: int) -> Any:
        query = "select a, b, c, t from rows where n >= ? and n < ? order by n"
        found = np.array(connection.execute(query, (start, stop)).fetchall())
        return found[:, :3], found[:, 3:]

    class Pairs(RowByRow):
        def __getitem__(self, number: int) -> Any:
            x, t = read(number, number + 1)
            return x[0], t[0]

    class OneRow(Pairs):
        def __getitem__(self, number: int) -> Any:
            return super().__getitem__(number)[0]

    class Some(WithAShape):
        def __getitem__(self, part: slice) -> Any:
            return read(part.start, part.stop)[0]

    class Loader(Batches):
        def __iter__(self) -> Iterator[Any]:
            return (read(start, start + 8) for start in range(0, N, 8))

    given: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
        "pairs": ((Pairs(X),), {}),
        "rows": ((OneRow(X), T), {}),
        "slices": ((Some(X), T), {}),
        "loader": ((Loader(False),), {}),
        "function": ((lambda rng: read(0, 8),), {"steps_per_epoch": 3}),
    }
    data, options = given[kind]
    assert trained(*data, **options)[1]["loss"][-1] < 1.0
    connection.close()


def test_code_after_a_batch_runs_when_the_batch_was_used(tmp_path: Path) -> None:
    done: list[str] = []

    class Reports(Batches):
        def __iter__(self) -> Iterator[Any]:
            for number, batch in enumerate(super().__iter__()):
                done.append(f"made {number}")
                yield batch
                done.append(f"after {number}")

    def used(y: Any, t: Any) -> float:
        done.append(done[-1].replace("made", "used"))
        return 0.0

    trained(Reports(False), metrics=[used], epochs=1)
    assert done == [f"{what} {n}" for n in range(6) for what in ("made", "used", "after")]


def test_files_that_chainrule_reads_are_read_ahead_by_default(tmp_path: Path) -> None:
    names: set[str] = set()

    class Watched(Dense):
        def forward(self, x: Any) -> Any:
            names.update(thread.name for thread in threading.enumerate())
            return super().forward(x)

    for x, has_thread in [
        (mapped(tmp_path, X), True),
        (in_hdf5(X), True),
        (X, False),
        (WithAShape(X), False),
        (RowByRow(X), False),
    ]:
        names.clear()
        trained(x, T, model=Watched(1))
        assert any(name.startswith("chainrule") for name in names) is has_thread


@pytest.mark.parametrize(
    "how", ["fit", "in order", "blocks", "whole", "batches", "make_batch", "step"]
)
def test_a_loss_that_writes_into_the_weights_is_a_named_error(how: str) -> None:
    x, t, w = X.copy(), T.copy(), W.copy()
    trainer = Trainer(Dense(1), WritesWeights(), optimizers.SGD(0.1), rng=0)
    orders = {"fit": True, "in order": False, "blocks": "blocks", "whole": False}
    with pytest.raises(DefinitionError, match="read-only was written into"):
        if how == "step":
            trainer.step(x, t, w)
        elif how == "batches":
            trainer.fit([(x, t, w)], epochs=1, progress=False)
        elif how == "make_batch":
            trainer.fit(lambda rng: (x, t, w), epochs=1, steps_per_epoch=1, progress=False)
        else:
            size = N if how == "whole" else 8
            trainer.fit(
                x, t, sample_weights=w, shuffle=orders[how], batch_size=size, progress=False
            )
    np.testing.assert_array_equal(w, W)
    assert w.flags.writeable
