"""Data of every kind keep the same promises, wherever they come from."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import Activation, Dense, Layer, Sequential, Trainer, losses, optimizers
from chainrule.core.errors import ConfigurationError, DataError, DtypeError, ShapeError
from chainrule.core.input_checks import as_tuple
from chainrule.data.batches import ArrayBatches, Batches, FreshBatches
from chainrule.data.batches_of import batches_of
from chainrule.data.iterated_batches import IteratedBatches
from chainrule.data.pair_batches import PairBatches
from chainrule.data.stored_batches import StoredBatches
from data.stored import STORED, RowByRow, WithAShape, in_hdf5, in_zarr, mapped, small

N = 50
X = np.random.default_rng(0).normal(size=(N, 3)).astype("float32")
T = np.arange(float(N))[:, np.newaxis]  # every target is its row number
W = np.linspace(0.5, 2, N)
LABELS = np.arange(N) % 3
SQUARES, CLASSES = losses.HalfSquaredError(), losses.SoftmaxCrossEntropy()


class Pairs:
    """A dataset like those of other libraries."""

    def __init__(self, x: Any = X, t: Any = T, *more: Any) -> None:
        self.arrays = (x, t, *more)

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, number: int) -> Any:
        return tuple(array[number] for array in self.arrays)


class Loader:
    """A loader like those of other libraries: it shuffles, and every pass begins again."""

    def __init__(self, size: int = 8, has_length: bool = True) -> None:
        self.size, self.rng = size, np.random.default_rng(5)
        self.has_length = has_length

    def __len__(self) -> int:
        if not self.has_length:
            raise TypeError("a stream has no length")
        return -(-N // self.size)

    def __iter__(self) -> Iterator[Any]:
        order = self.rng.permutation(N)
        for start in range(0, N, self.size):
            rows = order[start : start + self.size]
            yield X[rows], T[rows]


def made_of(rng: np.random.Generator) -> Any:
    rows = rng.integers(0, N, 8)
    return X[rows], T[rows]


def endless() -> Iterator[Any]:
    rng = np.random.default_rng(7)
    while True:
        yield made_of(rng)


# The arguments of batches_of, made again for each test.
KINDS: dict[str, Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "arrays": lambda: ((X, T), {"batch_size": 8}),
    "arrays in blocks": lambda: ((X, T), {"batch_size": 8, "shuffle": "blocks"}),
    "arrays in order": lambda: ((X, T), {"batch_size": 8, "shuffle": False}),
    "h5py": lambda: ((in_hdf5(X, 5), T), {"batch_size": 8}),
    "zarr by rows": lambda: ((in_zarr(X, 5), T), {"batch_size": 8, "shuffle": "rows"}),
    "in order": lambda: ((WithAShape(X), WithAShape(T)), {"batch_size": 8, "shuffle": False}),
    "pairs": lambda: ((Pairs(),), {"batch_size": 8}),
    "pairs in order": lambda: ((Pairs(),), {"batch_size": 8, "shuffle": False}),
    "a loader": lambda: ((Loader(),), {}),
    "a loader of so many steps": lambda: ((Loader(),), {"steps_per_epoch": 5}),
    "a list of batches": lambda: (([(X[n : n + 8], T[n : n + 8]) for n in range(0, N, 8)],), {}),
    "a stream": lambda: ((Loader(has_length=False),), {"steps_per_epoch": 5}),
    "a generator": lambda: ((endless(),), {"steps_per_epoch": 5}),
    "a function": lambda: ((made_of,), {"steps_per_epoch": 5}),
}


def fitted(*given: Any, loss: Any = SQUARES, row: Any = (1,), seed: int = 1, **options: Any) -> Any:
    """Batches for a float32 model with one output."""
    rng = options.pop("rng", None) or np.random.default_rng(seed)
    batches = batches_of(*given, rng=rng, **options)
    batches.fit_to(loss, lambda data: (row,), np.dtype("float32"))
    return batches


def of_kind(kind: str, seed: int = 1, **more: Any) -> Batches:
    given_to, options = KINDS[kind]()
    return fitted(*given_to, seed=seed, **options, **more)


def bytes_of(batches: Iterator[Any]) -> Any:
    """All numbers of some batches, as bytes."""
    return [
        (x.tobytes(), x.dtype, t.tobytes(), w is not None and w.tobytes()) for (x,), t, w in batches
    ]


def rows_in(batches: Iterator[Any]) -> list[int]:
    return [int(n) for _, t, _ in batches for n in t[:, 0]]


@pytest.mark.parametrize("kind", KINDS)
def test_every_sample_comes_with_its_own_target(kind: str) -> None:
    with small(block_bytes=50, window_bytes=200):
        batches = of_kind(kind)
        for _ in range(3):
            rows = []
            for (x,), t, _ in batches.epoch():
                np.testing.assert_array_equal(x, X[t[:, 0].astype(int)])
                rows += t[:, 0].tolist()
            if batches.steps == 7:
                assert sorted(rows) == list(range(N))
    batches.close()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10)
@given(asked=st.integers(0, 14), draws=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_a_thread_changes_nothing(kind: str, asked: int, draws: bool, seed: int) -> None:
    def all_of(prefetch: bool) -> Any:
        rng = np.random.default_rng(seed)
        given_to, options = KINDS[kind]()
        batches = fitted(*given_to, **options, prefetch=prefetch, rng=rng)
        seen, left = [], asked
        for _ in range(2):
            for batch in batches.epoch():
                seen += bytes_of(iter([batch]))
                if draws and left % 3 == 0:
                    rng.normal()  # as a callback may
                left -= 1
                if left == 0:
                    seen.append(json.dumps(batches.position()))
        batches.close()
        return seen, rng.bit_generator.state

    with small(block_bytes=50, window_bytes=200):
        assert all_of(True) == all_of(False)


@pytest.mark.parametrize("prefetch", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_position_restores_the_batches_that_would_have_followed(
    kind: str, prefetch: bool
) -> None:
    with small(block_bytes=50, window_bytes=200):
        steps = of_kind(kind).steps
        for epochs, done in itertools.product(range(2), (0, 1, steps - 1, steps)):
            one = of_kind(kind, seed=1, prefetch=prefetch)
            for _ in range(epochs):
                list(one.epoch())
            running = one.epoch() if done else iter(())
            for _ in range(done):
                next(running)
            other = of_kind(kind, seed=2, prefetch=prefetch)
            other.go_to(json.loads(json.dumps(one.position())))
            assert other.position() == one.position()
            if done:  # interrupted in the middle, or at the end, where no batches remain
                rest = bytes_of(other.epoch(done))
                assert rest == bytes_of(running) and len(rest) == steps - done
            assert bytes_of(one.epoch()) == bytes_of(other.epoch())
            assert one.position() == other.position()
            one.close()
            other.close()


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_epoch_can_be_continued(kind: str) -> None:
    with small(block_bytes=50, window_bytes=200):
        whole, left = of_kind(kind), of_kind(kind, prefetch=True)
        expected = bytes_of(whole.epoch())
        running = left.epoch()
        got = bytes_of(next(running) for _ in range(3))
        running.close()  # type: ignore[attr-defined]
        assert got + bytes_of(left.epoch(3)) == expected
        whole.close()
        left.close()


@pytest.mark.parametrize("kind", KINDS)
def test_close_ends_the_thread(kind: str) -> None:
    def threads() -> list[str]:
        return [t.name for t in threading.enumerate() if t.name.startswith("chainrule")]

    batches = of_kind(kind, prefetch=True)
    running = batches.epoch()
    next(running)
    assert threads()
    batches.close()
    assert not threads()
    batches.close()  # twice is no error
    assert not threads()


@pytest.mark.parametrize("kind", KINDS)
def test_a_thread_starts_only_for_files_that_chainrule_reads_or_on_request(kind: str) -> None:
    has_one = kind in ("h5py", "zarr by rows")
    batches = of_kind(kind)
    next(iter(batches.epoch()))
    names = [t.name for t in threading.enumerate()]
    assert any(name.startswith("chainrule") for name in names) is has_one
    batches.close()


@pytest.mark.parametrize("way", STORED)
@pytest.mark.parametrize("shuffle", [True, "rows", False])
def test_every_storage_gives_the_same_batches(way: str, shuffle: Any, tmp_path: Path) -> None:
    with small(block_bytes=7 * 20, window_bytes=3 * 7 * 20):  # blocks of 7 rows, windows of 3
        stored = fitted(STORED[way](tmp_path, X), T, batch_size=8, shuffle=shuffle)
        arrays = fitted(X, T, batch_size=8, shuffle="blocks" if shuffle is True else shuffle)
        assert isinstance(stored, StoredBatches) and isinstance(arrays, ArrayBatches)
        for _ in range(2):
            assert bytes_of(stored.epoch()) == bytes_of(arrays.epoch())
        stored.close()


def test_training_by_rows_from_a_file_equals_training_from_arrays(
    tmp_path: Path,
) -> None:
    trained = []
    for x, t in [(X, T), (mapped(tmp_path, X), T), (Pairs(), None), (in_hdf5(X), in_zarr(T))]:
        trainer = Trainer(Dense(1), SQUARES, optimizers.Adam(0.1), rng=0)
        shuffle = "rows" if t is not None else True
        trainer.fit(x, t, epochs=3, batch_size=8, shuffle=shuffle, progress=False)
        trained.append((trainer.model.parameters.value.tobytes(), trainer.history["loss"]))
    assert all(one == trained[0] for one in trained)


# ------------------------------------------------------------------------------- several, weights


def test_inputs_and_targets_may_each_be_stored_or_in_memory(tmp_path: Path) -> None:
    for x in itertools.product([X, mapped(tmp_path, X)], [T, in_hdf5(T)]):
        for t in itertools.product([T, RowByRow(T)], [LABELS, WithAShape(LABELS)]):
            batches = batches_of(
                x, t, rng=np.random.default_rng(0), outputs=2, sample_weights=W, batch_size=8
            )
            loss = losses.PerOutput([SQUARES, CLASSES])
            batches.fit_to(loss, lambda data: ((1,), (3,)), np.dtype("float32"))
            for (one, other), (numbers, labels), w in batches.epoch():
                rows = numbers[:, 0].astype(int)
                np.testing.assert_array_equal(one, X[rows])
                np.testing.assert_array_equal(other, numbers)
                np.testing.assert_array_equal(labels, LABELS[rows])
                np.testing.assert_array_equal(w, W[rows].astype("float32"))
                assert (one.dtype, other.dtype, labels.dtype.kind) == ("float32", "float32", "i")
            batches.close()


def test_a_dataset_may_give_several_inputs_and_targets_and_a_weight() -> None:
    class Several(Pairs):
        def __getitem__(self, n: int) -> Any:
            return (X[n], T[n]), (T[n], LABELS[n]), W[n]

    batches = batches_of(Several(), rng=np.random.default_rng(0), outputs=2)
    loss = losses.PerOutput([SQUARES, CLASSES])
    batches.fit_to(loss, lambda data: ((1,), (3,)), np.dtype("float64"))
    for (x, same), (t, labels), w in batches.epoch():
        rows = t[:, 0].astype(int)
        np.testing.assert_array_equal(x, X[rows])
        np.testing.assert_array_equal(same, t)
        np.testing.assert_array_equal(labels, LABELS[rows])
        np.testing.assert_array_equal(w, W[rows])
    batches.close()


def test_an_iterable_may_give_weights_with_its_batches() -> None:
    batches = fitted(iter([(X, T, W)] * 2), steps_per_epoch=2)
    for _, _, w in batches.epoch():
        np.testing.assert_array_equal(w, W.astype("float32"))
    batches.close()


def test_a_pass_of_a_loader_is_an_epoch_unless_steps_are_given() -> None:
    by_passes, alone = of_kind("a loader"), Loader()
    for _ in range(2):
        expected = [int(n) for _, t in alone for n in t[:, 0]]
        assert rows_in(by_passes.epoch()) == expected
    by_steps, alone = of_kind("a loader of so many steps"), Loader()
    stream = [t[:, 0].tolist() for _ in range(3) for _, t in alone]
    for start in (0, 5, 10):
        expected = [n for part in stream[start : start + 5] for n in part]
        assert rows_in(by_steps.epoch()) == expected
    by_passes.close()
    by_steps.close()


@pytest.mark.parametrize("prefetch", [False, True])
def test_a_batch_beyond_the_length_of_a_loader_is_an_error_at_the_end_of_the_pass(
    prefetch: bool,
) -> None:
    class Long(Loader):
        def __len__(self) -> int:
            return 6

    batches, seen = fitted(Long(), prefetch=prefetch), []
    with pytest.raises(DataError, match="more batches than its length, which is 6") as caught:
        seen.extend(batch[1] for batch in batches.epoch())
    assert "batch 7 of a pass" in str(caught.value) and "Long" in str(caught.value)
    assert len(seen) == 6 or prefetch
    batches.close()
    trainer = Trainer(Dense(1), SQUARES, optimizers.SGD(0.1), rng=0)
    with pytest.raises(DataError, match="more batches than its length") as caught:
        trainer.fit(Long(), epochs=1, prefetch=prefetch, progress=False)
    assert "epoch 1, step 6" in str(caught.value)


@pytest.mark.parametrize("length", [6, 8])
def test_validation_batches_that_contradict_the_length_of_their_loader_are_an_error(
    length: int,
) -> None:
    class Wrong(Loader):
        def __len__(self) -> int:
            return length

    trainer = Trainer(Dense(1), SQUARES, optimizers.SGD(0.1), rng=0)
    with pytest.raises(DataError, match="not the length of the iterable") as caught:
        trainer.fit(X, T, validation_data=Wrong(), epochs=1, progress=False)
    assert f"{length} batches, the length of Wrong" in str(caught.value)
    assert "7 batches" in str(caught.value) and caught.value.place == "validation_data"


def test_no_more_batches_are_taken_from_an_iterator_than_are_used() -> None:
    given_out = iter([(X, T)] * 7)
    batches = fitted(given_out, steps_per_epoch=3)
    for _ in range(2):
        list(batches.epoch())
    assert len(list(given_out)) == 1
    batches.close()


@pytest.mark.parametrize("kind", ["h5py", "pairs", "a generator", "a function", "arrays"])
@pytest.mark.parametrize("given_as", [{0: 1.0, 1: 2.0, 2: 0.5}, [1.0, 2.0, 0.5]])
def test_class_weights_multiply_sample_weights(kind: str, given_as: Any) -> None:
    def pairs() -> Iterator[Any]:
        while True:
            yield X[:9], LABELS[:9]

    options: dict[str, Any] = {"class_weights": given_as, "loss": CLASSES, "row": (3,)}
    batches = {
        "h5py": lambda: fitted(in_hdf5(X), in_hdf5(LABELS), sample_weights=W, **options),
        "arrays": lambda: fitted(X, LABELS, sample_weights=W, shuffle=False, **options),
        "pairs": lambda: fitted(Pairs(X, LABELS, W), **options),
        "a generator": lambda: fitted(pairs(), steps_per_epoch=2, **options),
        "a function": lambda: fitted(lambda rng: (X, LABELS), steps_per_epoch=2, **options),
    }[kind]()
    of_row = {row.tobytes(): n for n, row in enumerate(X)}
    for (x,), labels, w in batches.epoch():
        rows = [of_row[row.tobytes()] for row in x]
        own = np.ones(N) if kind.startswith("a ") else W
        expected = own[rows].astype("float32") * np.float32([1, 2, 0.5])[labels]
        np.testing.assert_array_equal(w, expected)
        assert w.dtype == "float32"
    batches.close()


def test_balanced_class_weights_are_counted_from_targets_in_memory() -> None:
    labels = np.repeat([0, 1, 2], [30, 15, 5])
    for x in (X, in_hdf5(X)):
        batches = fitted(x, labels, class_weights="balanced", loss=CLASSES, row=(3,))
        for _, t, w in batches.epoch():
            np.testing.assert_array_equal(w, np.float32([50 / 90, 50 / 45, 50 / 15])[t])
        batches.close()


@pytest.mark.parametrize("kind", ["h5py", "pairs", "a generator", "a function", "arrays", "zarr"])
@pytest.mark.parametrize("form", ["of positions", "of outputs", "of both"])
def test_weights_go_with_their_rows_for_positions_and_outputs(kind: str, form: str) -> None:
    rng = np.random.default_rng(3)
    t = rng.normal(size=(N, 2)), rng.normal(size=(N, 2, 3))
    w = {
        "of positions": rng.normal(size=(N, 2)),
        "of outputs": (None, rng.normal(size=N)),
        "of both": (rng.normal(size=N), rng.normal(size=(N, 2, 3))),
    }[form]

    def rows_of(arrays: Any, rows: Any) -> Any:
        if isinstance(arrays, tuple):
            return tuple([None if array is None else array[rows] for array in arrays])
        return arrays[rows]

    if kind == "pairs" and form == "of outputs":
        w = (np.ones(N), w[1])  # a sample has a weight for each output, or one for all

    class Samples(Pairs):
        def __getitem__(self, number: int) -> Any:
            return X[number], rows_of(t, number), rows_of(w, number)

    def made(rng: Any) -> Any:
        return X[:9], rows_of(t, slice(9)), rows_of(w, slice(9))

    def endless() -> Iterator[Any]:
        while True:
            yield made(None)

    given_to: dict[str, Any] = {
        "h5py": ((in_hdf5(X), t), {"sample_weights": w}),
        "zarr": ((in_zarr(X, 5), t), {"sample_weights": w, "shuffle": "rows"}),
        "arrays": ((X, t), {"sample_weights": w}),
        "pairs": ((Samples(),), {}),
        "a generator": ((endless(),), {"steps_per_epoch": 2}),
        "a function": ((made,), {"steps_per_epoch": 2}),
    }
    arguments, options = given_to[kind]
    batches = batches_of(*arguments, rng=rng, outputs=2, **options)
    both = losses.PerOutput([losses.MeanSquaredError(), losses.MeanSquaredError()])
    batches.fit_to(both, lambda data: ((2,), (2, 3)), np.dtype("float32"))
    of_row = {row.tobytes(): n for n, row in enumerate(X)}
    for (x,), _, found in batches.epoch():
        rows = [of_row[row.tobytes()] for row in x]
        expected = rows_of(w, rows)
        assert isinstance(found, tuple) == isinstance(expected, tuple)
        for own, right in zip(as_tuple(found), as_tuple(expected), strict=True):
            if right is None:
                assert own is None
            else:
                np.testing.assert_array_equal(own, right.astype("float32"))
    batches.close()


@pytest.mark.parametrize("weights", [np.ones((N, 3)), np.ones((N, 2, 1)), (np.ones(N),) * 3])
def test_weights_that_fit_no_part_of_the_output_are_refused_before_the_first_step(
    weights: Any,
) -> None:
    with pytest.raises((ShapeError, DataError), match="sample_weights"):
        fitted(X, np.ones((N, 2)), sample_weights=weights, row=(2,))
    with pytest.raises(ShapeError, match=r"use its \.ravel\(\)"):
        fitted(X, LABELS, sample_weights=np.ones((N, 1)), loss=CLASSES, row=(3,))


# ------------------------------------------------------------------------------- what is rejected

BAD = X.copy()
BAD[41, 2] = np.nan
WRONG = LABELS.copy()
WRONG[33] = 3
LATE: dict[str, tuple[Any, Any, list[str]]] = {
    "NaN in x": (SQUARES, lambda: (in_hdf5(BAD), T), ["x, row 41, column 2", "nan; the only one"]),
    "NaN in x of a pair": (SQUARES, lambda: (Pairs(BAD),), ["x, row 41, column 2"]),
    "a label": (CLASSES, lambda: (X, in_hdf5(WRONG)), ["t, SoftmaxCrossEntropy, row 33", "3"]),
    "a label of a pair": (CLASSES, lambda: (Pairs(X, WRONG),), ["SoftmaxCrossEntropy, row 33"]),
    "too large": (SQUARES, lambda: (in_hdf5(np.where(np.isnan(BAD), 1e39, BAD.astype(float))), T),
                  ["x, row 41, column 2", "too large", "float32"]),
}  # fmt: skip


@pytest.mark.parametrize("shuffle", [True, "rows", False])
@pytest.mark.parametrize("prefetch", [True, False])
@pytest.mark.parametrize("what", LATE)
def test_a_bad_row_is_reported_with_its_number_when_it_is_read(
    what: str, prefetch: bool, shuffle: Any
) -> None:
    loss, given_to, words = LATE[what]
    options = {"batch_size": 8, "shuffle": shuffle, "prefetch": prefetch}
    batches = fitted(*given_to(), loss=loss, row=(1,) if loss is SQUARES else (3,), **options)
    with pytest.raises(DataError) as caught:
        list(batches.epoch())
    for word in words:
        assert word in str(caught.value)
    batches.close()


@pytest.mark.parametrize("stored", [0, 1])
def test_bad_arrays_in_memory_are_rejected_before_anything_is_read(stored: int) -> None:
    given_to: list[Any] = [BAD, WRONG]
    given_to[stored] = WithAShape([X, LABELS][stored])
    with pytest.raises(DataError) as caught:
        fitted(*given_to, loss=CLASSES, row=(3,))
    place = "SoftmaxCrossEntropy, row 33" if stored == 0 else "x, row 41, column 2"
    assert place in str(caught.value)


class Gone(RowByRow):
    def __getitem__(self, number: int) -> Any:
        if number == 20:
            raise OSError("the disk is gone")
        return super().__getitem__(number)


@pytest.mark.parametrize("prefetch", [True, False])
@pytest.mark.parametrize("shuffle", ["rows", False])
def test_an_error_while_reading_names_the_batch(prefetch: bool, shuffle: Any) -> None:
    for given_to, note in [
        ((Gone(X), T), "while reading rows 20 to 20 of x" if shuffle else "of x"),
        ((Pairs(Gone(X)),), "while reading sample 20 of the dataset"),
    ]:
        options = {"batch_size": 8, "shuffle": shuffle, "prefetch": prefetch}
        with small():
            batches = fitted(*given_to, **options)
            same = fitted(*((X, T) if len(given_to) == 2 else (Pairs(),)), **options)
            rows = [t[:, 0].tolist() for _, t, _ in same.epoch()]
            at = next(n for n, part in enumerate(rows) if 20 in part)
            running = batches.epoch()
            for _ in range(at):
                next(running)
            with pytest.raises(OSError, match="the disk is gone") as caught:
                next(running)
        assert note in caught.value.__notes__[0]
        assert caught.value.__notes__[1] == f"in batch {at + 1} of the epoch"
        batches.close()
        same.close()


@pytest.mark.parametrize("prefetch", [True, False])
def test_an_iterable_that_fails_or_ends_reports_the_batch(prefetch: bool) -> None:
    def failing() -> Iterator[Any]:
        yield from [(X, T)] * 4
        raise OSError("the disk is gone")

    batches = fitted(failing(), steps_per_epoch=3, prefetch=prefetch)
    assert len(list(batches.epoch())) == 3
    running = batches.epoch()
    next(running)
    with pytest.raises(OSError, match="disk") as caught:
        next(running)
    assert caught.value.__notes__ == ["in the iterable of batches, at batch 5"]
    batches.close()

    batches = fitted(iter([(X, T)] * 4), steps_per_epoch=3, prefetch=prefetch)
    list(batches.epoch())
    running = batches.epoch()
    next(running)
    with pytest.raises(DataError, match="ended after batch 4") as caught_end:
        next(running)
    assert "3 batches for each epoch" in str(caught_end.value)
    batches.close()


def test_a_loader_with_fewer_batches_than_its_length_raises_an_error_after_them() -> None:
    class Short(Loader):
        def __len__(self) -> int:
            return 9

    batches = fitted(Short())
    with pytest.raises(DataError, match="after batch 7, in the middle of an epoch") as caught:
        list(batches.epoch())
    assert "9 batches in each pass, the length of Short" in str(caught.value)
    batches.close()
    with pytest.raises(DataError, match="ended before the first one"):
        fitted(iter([]), steps_per_epoch=1)


@pytest.mark.parametrize(
    ("item", "kind", "words"),
    [
        (X, DataError, ["t of batch 2 is missing", "not a pair"]),
        ((BAD, T), DataError, ["x of batch 2, row 41"]),
        ((X, T, W * np.nan), DataError, ["sample_weights of batch 2, row 0", "finite"]),
    ],
)
def test_a_bad_batch_of_an_iterable_is_reported_with_its_number(
    item: Any, kind: type[Exception], words: list[str]
) -> None:
    batches = fitted(iter([(X, T), item]), steps_per_epoch=2)
    with pytest.raises(kind) as caught:
        list(batches.epoch())
    for word in words:
        assert word in str(caught.value)
    batches.close()


REFUSED: dict[str, tuple[Any, dict[str, Any], type[Exception], list[str]]] = {
    "a wrong shuffle": ((X, T), {"shuffle": "row"}, ConfigurationError, ["shuffle='rows'?"]),
    "a number as shuffle": ((X, T), {"shuffle": 3}, ConfigurationError, ["shuffle=3"]),
    "prefetch of 2": ((X, T), {"prefetch": 2}, ConfigurationError, ["prefetch=2"]),
    "blocks of pairs": ((Pairs(),), {"shuffle": "blocks"}, ConfigurationError, ["shuffle=True"]),
    "blocks of a function": ((made_of,), {"shuffle": "blocks", "steps_per_epoch": 2},
                             ConfigurationError, ["also shuffle='blocks'"]),
    "a loader and a batch size": ((Loader(),), {"batch_size": 3}, ConfigurationError,
                                  ["an iterable, and also batch_size"]),
    "a loader and weights": ((Loader(),), {"sample_weights": W}, ConfigurationError,
                             ["also sample_weights", "(x, t, weights)"]),
    "a generator without steps": ((endless(),), {}, ConfigurationError,
                                  ["generator without a length", "steps_per_epoch=100"]),
    "a stream without steps": ((Loader(has_length=False),), {}, ConfigurationError,
                               ["Loader without a length"]),
    "a list of samples": ((list(zip(X, T, strict=True)),), {}, ConfigurationError,
                          ["x[0]", "x of shape (3,), t of shape (1,)", "np.stack"]),
    "a list of samples that are their own targets": (
        (list(zip(X, X, strict=True)),), {}, ConfigurationError, ["x[0]", "np.stack"]),
    "a list of samples with labels": ((list(zip(X, [1] * N, strict=True)),), {},
                                      ConfigurationError, ["t of shape ()", "np.stack"]),
    "a list of samples of two axes": (([(X, T), (X, T[:9])],), {}, ConfigurationError,
                                      ["x[1]", "x of shape (50, 3), t of shape (9, 1)"]),
    "a list of arrays": (([X, T],), {}, ShapeError, ["rows of x do not all have the same shape"]),
    "a list of batches and a batch size": (([(X, T)],), {"batch_size": 3}, ConfigurationError,
                                           ["also batch_size"]),
    "pairs and weights": ((Pairs(),), {"sample_weights": W}, ConfigurationError,
                          ["(x_i, t_i, weight)"]),
    "steps of a file": ((WithAShape(X), T), {"steps_per_epoch": 2}, ConfigurationError,
                        ["leave out steps_per_epoch"]),
    "a file and no targets": ((WithAShape(X),), {}, DataError, ["t is missing"]),
    "too few targets": ((WithAShape(X), T[:9]), {}, DataError, ["x with 50", "t with 9"]),
    "an empty file": ((WithAShape(X[:0]), T[:0]), {}, DataError, ["no samples"]),
    "an empty dataset": ((Pairs(X[:0], T[:0]),), {}, DataError, ["dataset is empty"]),
    "a dataset of no pairs": ((Pairs(X, T, W, W),), {}, DataError, ["sample 0", "tuple of 4"]),
    "a dataset of inputs": ((RowByRow(X),), {}, DataError, ["ndarray of 3", "fit(dataset, t)"]),
    "a dataset of pairs and triples": (
        (RowByRow([(X[0], T[0]), (X[0], T[0], 1.0)]),), {}, ShapeError, ["sample 1", "3 elements"]),
    "a dataset of unequal rows": ((Pairs([[1.0], [1.0, 2.0]], T),), {}, ShapeError,
                                   ["x, row 1", "(1,), as in row 0"]),
    "text in a file": ((WithAShape(X.astype(str)), T), {}, DtypeError,
                       ["x does not hold real numbers"]),
    "NaN in the first rows": ((WithAShape(BAD[41:]), T[41:]), {}, DataError,
                              ["x[:8], row 0, column 2"]),
    "weights of two outputs": ((X, (T, T)), {"class_weights": [1, 2], "outputs": 2},
                               ConfigurationError, ["class_weights", "2 outputs"]),
    "balanced batches": ((made_of,), {"class_weights": "balanced", "steps_per_epoch": 1},
                         ConfigurationError, ["a function", "by label"]),
    "balanced pairs": ((Pairs(),), {"class_weights": "balanced"}, ConfigurationError, ["by label"]),
    "balanced in a file": ((X, WithAShape(T)), {"class_weights": "balanced"}, ConfigurationError,
                           ["in memory", "batch by batch"]),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_conflicting_arguments_are_rejected(what: str) -> None:
    given_to, options, kind, words = REFUSED[what]
    with pytest.raises(kind) as caught:
        fitted(*given_to, **options)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("given_to", "options", "kind"),
    [
        ((X, T), {}, ArrayBatches),
        ((X.tolist(), T.tolist()), {}, ArrayBatches),
        ((X, WithAShape(T)), {}, StoredBatches),
        (((X, WithAShape(X)), T), {}, StoredBatches),
        ((RowByRow(X), T), {}, StoredBatches),
        ((Pairs(),), {}, PairBatches),
        ((Loader(),), {}, IteratedBatches),
        (([(X, T)],), {}, IteratedBatches),
        ((((X, T), (X[:3], T[:3], W[:3])),), {}, IteratedBatches),
        (([[(X, X), T]],), {"steps_per_epoch": 3}, IteratedBatches),
        ((zip([X], [T], strict=True),), {"steps_per_epoch": 1}, IteratedBatches),
        ((made_of,), {"steps_per_epoch": 1}, FreshBatches),
    ],
)
def test_the_kind_is_decided_by_what_an_object_can_do(
    given_to: Any, options: Any, kind: type
) -> None:
    assert type(batches_of(*given_to, rng=np.random.default_rng(0), **options)) is kind


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("h5py", "batch_size"),
        ("pairs", "batch_size"),
        ("a loader of so many steps", "steps_per_epoch"),
    ],
)
def test_a_position_is_rejected_if_the_batches_have_other_sizes(kind: str, change: str) -> None:
    given_to, options = KINDS[kind]()
    other = fitted(*given_to, **options | {change: 3})
    with pytest.raises(ConfigurationError, match="not those of the run"):
        other.go_to(of_kind(kind).position())
    other.close()


# ---------------------------------------------------------------- rows of several shapes


class MeanOverTime(Layer):
    accepts_any_shape = True

    def forward(self, x):
        self.steps = x.shape[1]
        return x.mean(axis=1)

    def backward(self, delta):
        return np.repeat(delta[:, np.newaxis], self.steps, axis=1) / self.steps


def series_of(lengths):
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(4, n, 2)), rng.normal(size=(4, 3))) for n in lengths]


@pytest.mark.parametrize("shape", [None, (5, 2), (None, 2)])
@pytest.mark.parametrize("kind", ["list", "make_batch"])
def test_batches_may_have_rows_of_other_shapes_if_the_model_accepts_them(kind, shape):
    batches = series_of([5, 9, 3, 5])
    model = Sequential([Dense(4), Activation("tanh"), MeanOverTime(), Dense(3)])
    if shape is not None:
        model.build(shape, rng=0)
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
    if kind == "list":
        history = trainer.fit(batches, epochs=2, progress=False)
    else:
        given = iter(batches * 3)
        history = trainer.fit(lambda rng: next(given), epochs=2, steps_per_epoch=4, progress=False)
    assert trainer.steps == 8 and np.isfinite(history["loss"]).all()
    by_hand = model.unbuilt()
    by_hand.build((5, 2), rng=0)
    if shape is not None:
        loss, optimizer = losses.HalfSquaredError(), optimizers.SGD(0.1)
        for x, t in batches * 2:
            by_hand.parameters.zero_grad()
            by_hand.backward(loss.delta(by_hand.forward(x), t))
            optimizer.descend(by_hand.parameters)
        np.testing.assert_array_equal(model.parameters.value, by_hand.parameters.value)


def test_a_batch_that_the_model_does_not_accept_is_named():
    model = Sequential([Dense(3)])
    (x, t), *_ = series_of([1])
    batches = [(x[:, 0], t), (np.ones((4, 5)), t)]
    with pytest.raises(ShapeError, match="wrong width") as caught:
        Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0).fit(
            batches, epochs=1, progress=False
        )
    assert "batch 2" in str(caught.value)
