"""Prediction in batches: the numbers of the model, whatever holds the samples."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import define

from chainrule import Activation, Concatenate, Dense, Flatten, Graph, Input, Layer, Sequential
from chainrule.core.errors import ConfigurationError, DataError, DtypeError, ShapeError
from data.stored import RowByRow, WithAShape, in_hdf5, in_zarr, mapped

X = np.random.default_rng(0).normal(size=(23, 3)).astype("float32")
T = np.arange(23)


@pytest.fixture(scope="module")
def model() -> Layer:
    layers = Sequential([Dense(4), Activation("tanh"), Dense(2)])
    layers.build((3,), rng=0, dtype="float32")
    return layers


def batch_by_batch(model: Any, x: Any, size: int) -> Any:
    return np.concatenate([model(x[n : n + size]) for n in range(0, len(x), size)])


class Dataset:
    """Samples in one buffer, which each of them overwrites."""

    def __init__(self, item: Callable[[Any, int], Any]) -> None:
        self.item, self.buffer = item, np.zeros(3, "float32")

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, number: int) -> Any:
        if not 0 <= number < len(X):
            raise IndexError
        self.buffer[:] = X[number]
        return self.item(self.buffer, number)


class Loader:
    """Batches of five, in one buffer."""

    def __init__(self, item: Callable[[Any, Any], Any]) -> None:
        self.item, self.buffer = item, np.zeros((5, 3), "float32")

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(X), 5):
            rows = X[start : start + 5]
            self.buffer[: len(rows)] = rows
            yield self.item(self.buffer[: len(rows)], T[start : start + 5])


ARRAYS: dict[str, Any] = {
    "an array": lambda: X,
    "a float64 array": lambda: X.astype("float64"),
    "a big-endian array": lambda: X.astype(">f4"),
    "a list": lambda: X.tolist(),
    "h5py": lambda: in_hdf5(X, 7),
    "zarr": lambda: in_zarr(X, 7),
    "anything with a shape": lambda: WithAShape(X),
    "row by row": lambda: RowByRow(X),
    "a dataset of inputs": lambda: Dataset(lambda x, n: x),
    "a dataset of pairs": lambda: Dataset(lambda x, n: (x, T[n])),
    "a dataset with weights": lambda: Dataset(lambda x, n: (x, T[n], 1.0)),
    "a dataset of lists": lambda: Dataset(lambda x, n: [x, T[n : n + 1]]),
    "a dataset of tuples of one": lambda: Dataset(lambda x, n: (x,)),
}


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("size", [1, 7, 23, 256])
def test_each_batch_has_the_numbers_of_the_model_to_the_last_bit(
    model: Layer, kind: str, size: int
) -> None:
    y = model.predict(ARRAYS[kind](), batch_size=size)
    np.testing.assert_array_equal(y, batch_by_batch(model, X, size))
    assert y.dtype == "float32" and y.shape == (23, 2)


def test_a_memory_map_is_read_in_pieces(model: Layer, tmp_path: Path) -> None:
    y = model.predict(mapped(tmp_path, X), batch_size=4)
    np.testing.assert_array_equal(y, batch_by_batch(model, X, 4))


ITEMS: dict[str, Any] = {
    "x": lambda x, t: x,
    "pair": lambda x, t: (x, t),
    "list": lambda x, t: [x, t],
    "weighted": lambda x, t: (x, t, t),
    "one": lambda x, t: (x,),
}


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
def test_an_iterable_makes_its_own_batches(model: Layer, item: Any) -> None:
    expected = batch_by_batch(model, X, 5)
    np.testing.assert_array_equal(model.predict(Loader(item), batch_size=2), expected)
    np.testing.assert_array_equal(model.predict(iter(Loader(item))), expected)


def test_a_list_of_batches_is_one(model: Layer) -> None:
    batches = [(X[n : n + 5], T[n : n + 5]) for n in range(0, 23, 5)]
    np.testing.assert_array_equal(model.predict(batches), batch_by_batch(model, X, 5))
    np.testing.assert_array_equal(model.predict(batches[:2]), batch_by_batch(model, X[:10], 5))


def test_several_inputs_are_a_tuple_and_several_outputs_too() -> None:
    a, b = Input((3,)), Input((2,))
    h = Concatenate()(a, b)
    graph = Graph([a, b], [Dense(2)(h), Dense(1)(h)])
    graph.build(rng=0, dtype="float32")
    other = X[:, :2] * 2
    parts = [graph(X[n : n + 6], other[n : n + 6]) for n in range(0, 23, 6)]
    expected = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]

    class Pairs(Dataset):
        def __getitem__(self, number: int) -> Any:
            return self.item((X[number], other[number]), number)

    def batches(item: Any) -> Any:
        return (item((X[n : n + 6], other[n : n + 6]), T[n : n + 6]) for n in range(0, 23, 6))

    for given in (
        (X, other),
        (in_hdf5(X, 5), other),
        Pairs(lambda x, n: (x, (0.0, 0.0))),
        Pairs(lambda x, n: x),
        batches(lambda x, t: (x, t)),
        batches(lambda x, t: x),
        list(batches(lambda x, t: (x, t))),
    ):
        found = graph.predict(given, batch_size=6)
        assert isinstance(found, tuple)
        for one, right in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, right)


def test_other_ways_to_pass_several_inputs_have_a_hint() -> None:
    a, b = Input((3,), name="a"), Input((2,), name="b")
    model = Graph([a, b], Dense(2)(Concatenate()(a, b)))
    model.build((3,), (2,))
    with pytest.raises(ConfigurationError, match=r"hint .*model\.predict\(\(a, b\)\)"):
        model.predict(X, X[:, :2])  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"hint .*model\.predict\(\(a, b\)\)"):
        model.predict([X, X[:, :2]])
    with pytest.raises(DtypeError, match=r"hint .*tuple"):
        model.predict({"a": X, "b": X[:, :2]})


def test_no_samples_give_no_outputs(model: Layer) -> None:
    for nothing in (X[:0], in_hdf5(X[:0]), iter([]), []):
        y = model.predict(nothing)
        assert y.shape == (0, 2) and y.dtype == "float32"
    a = Input((3,))
    graph = Graph(a, [Dense(2)(a), Dense(1)(a)])
    graph.build(rng=0)
    assert [y.shape for y in graph.predict(iter([]))] == [(0, 2), (0, 1)]
    steps = Dense(2)
    steps.build((None, 3), rng=0)  # of which the number is open
    assert steps.predict(iter([])).shape == (0, 0, 2)
    assert steps.predict(X.reshape(1, -1, 3)).shape == (1, 23, 2)
    with pytest.raises(DataError, match="not built"):
        Dense(2).predict(iter([]))


def test_only_the_outputs_are_as_long_as_the_data() -> None:
    wide = Sequential([Dense(1000), Activation("tanh"), Dense(1)])
    wide.build((3,), rng=0)
    x = np.ones((20_000, 3))
    wide.predict(x[:256])
    tracemalloc.start()
    wide.predict(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 20,000 outputs, and a few times 256 × 1,000 hidden values; all at once would take 160 MB
    assert peak < 8 * (20_000 + 4 * 256 * 1000)


def test_prediction_applies_and_remembers_nothing() -> None:
    @define
    class Drops(Layer):
        def forward(self, x: Any) -> Any:
            self.kept = x
            return 0 * x

        def backward(self, delta: Any) -> Any:
            return 0 * delta

        def apply(self, x: Any) -> Any:
            return x + 1

    layer = Drops()
    np.testing.assert_array_equal(layer.predict(X), X + 1)
    assert "kept" not in layer.__dict__


def test_a_model_that_is_not_built_is_built_by_the_first_batch() -> None:
    layer = Dense(2)
    assert layer.predict(X, batch_size=5).shape == (23, 2)
    assert layer.dtype == "float32"


def test_the_result_is_a_new_array() -> None:
    positive, layer = np.abs(X), Flatten()
    before = positive.copy()
    layer.predict(positive)[:] = 0  # of the same numbers
    np.testing.assert_array_equal(positive, before)


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        (X[:, :2], ShapeError, "wrong width"),
        (np.array([["a", "b", "c"]]), DtypeError, "real numbers"),
        (3.0, ShapeError, "number of axes"),
        (lambda rng: X, ConfigurationError, "call it"),
        ([[1.0, 2.0, 3.0], [1.0]], ShapeError, "different shapes"),
        ({1: 2}, DtypeError, "real numbers"),
        ((X, X), ShapeError, "1 array(s)"),
        ((X, X[:4]), DataError, "4 rows"),
        (None, DtypeError, "real numbers"),
        (Dataset(lambda x, n: x[: 3 - (n == 9)]), ShapeError, "row 9"),
        ((X[:, :k] for k in (3, 2)), ShapeError, "wrong width"),
    ],
)
def test_what_cannot_be_predicted_from_is_a_named_error(
    model: Layer, given: Any, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind) as caught:
        model.predict(given)
    assert words in str(caught.value)


@pytest.mark.parametrize("size", [0, -1, 2.5, None, "all", True])
def test_an_invalid_batch_size_is_refused(model: Layer, size: Any) -> None:
    with pytest.raises(ConfigurationError, match="batch_size"):
        model.predict(X, batch_size=size)


def test_outputs_of_different_shapes_cannot_be_joined() -> None:
    layer = Activation("tanh")
    batches = [(np.ones((2, n)),) for n in (3, 4)]
    with pytest.raises(ShapeError, match="batch 2") as caught:
        layer.predict(iter(batches))
    assert "[model(x) for x in batches]" in caught.value.hint
