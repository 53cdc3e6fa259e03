"""Invalid models, losses, optimizers and generators are errors that suggest what was meant.

What `fit` is given besides is in `test_data.py`, with the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from chainrule import Dense, Graph, Input, Trainer, losses, optimizers
from chainrule.core.errors import (
    ChainruleError,
    ConfigurationError,
    DataError,
    DefinitionError,
    ShapeError,
)


@pytest.mark.parametrize(
    ("model", "loss", "optimizer", "kind", "words"),
    [
        ([Dense(1)], None, None, DefinitionError, "Sequential([…])"),
        (Dense, None, None, DefinitionError, "Dense(…)"),
        (None, "mse", None, ConfigurationError, "losses.MeanSquaredError(…)"),
        (None, "softmax_cross_entropy", None, ConfigurationError, "losses.SoftmaxCrossEntropy(…)"),
        (None, losses.Huber, None, ConfigurationError, "losses.Huber(…)"),
        (None, optimizers.SGD(1.0), None, ConfigurationError, "losses.HalfSquaredError()"),
        (None, None, "adam", ConfigurationError, "optimizers.Adam(…)"),
        (None, None, optimizers.SGD, ConfigurationError, "optimizers.SGD(…)"),
        (None, None, 0.1, ConfigurationError, "0.1, of type float"),
    ],
)
def test_an_invalid_model_loss_or_optimizer_is_refused(
    model: Any, loss: Any, optimizer: Any, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind) as caught:
        Trainer(model or Dense(1), loss or losses.Huber(), optimizer or optimizers.SGD(0.1))
    assert words in str(caught.value)


@pytest.mark.parametrize("rng", ["x", -1, True, 1.5])
def test_an_invalid_rng_is_refused(rng: Any) -> None:
    with pytest.raises(ConfigurationError, match="rng") as caught:
        Trainer(Dense(1), losses.Huber(), optimizers.SGD(0.1), rng=rng)
    assert repr(rng) in str(caught.value)


# ------------------------------------------------------------------------------- validation data

X = np.random.default_rng(0).normal(size=(20, 3))
T = X[:, :1] ** 2
W = np.linspace(0.0, 2.0, 20)


class Pairs:
    """A dataset of samples."""

    def __init__(self, *arrays: Any) -> None:
        self.arrays = arrays

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, number: int) -> Any:
        return tuple(array[number] for array in self.arrays)


class Loader:
    """An iterable of batches, the last one short; with weights, every second batch has them."""

    def __init__(self, x: Any = X, t: Any = T, weights: Any = None) -> None:
        self.x, self.t, self.weights = x, t, weights

    def __len__(self) -> int:
        return -(-len(self.x) // 8)

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self.x), 8):
            rows = slice(start, start + 8)
            has_weights = self.weights is not None and start % 16 == 0
            weights = (self.weights[rows],) if has_weights else ()
            yield self.x[rows], self.t[rows], *weights


def validated(given: Any) -> list[float]:
    trainer = Trainer(Dense(1), losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
    state = trainer.rng.bit_generator.state
    history = trainer.fit(X, T, epochs=3, shuffle=False, validation_data=given)
    trainer.rng.bit_generator.state = state  # nothing of it has to do with validation
    return history["validation_loss"]


@pytest.mark.parametrize("given", [Pairs(X, T), Loader()], ids=["dataset", "loader"])
def test_validation_data_may_be_anything_that_has_all_samples(given: Any) -> None:
    assert validated(given) == validated((X, T))


def test_the_weights_that_come_with_validation_data_count() -> None:
    trainer = Trainer(Dense(1), losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
    weights = W.copy()
    for given in (Pairs(X, T, W), Loader(X, T, W)):
        history = trainer.fit(X, T, epochs=1, validation_data=given)
        expected = trainer.evaluate(X, T, sample_weights=weights)["loss"]
        assert history["validation_loss"][-1] == pytest.approx(expected, rel=1e-14)
        weights[8:16] = 1.0  # the loader's second batch has none


def test_a_data_set_of_several_outputs_validates_each() -> None:
    x = Input((3,))
    model = Graph(x, [Dense(1)(x), Dense(2)(x)])
    each = [losses.HalfSquaredError(), losses.HalfSquaredError()]
    trainer = Trainer(model, each, optimizers.SGD(0.1), rng=0)

    class Two(Pairs):
        def __getitem__(self, number: int) -> Any:
            return X[number], (T[number], X[number, :2])

    history = trainer.fit(X, (T, X[:, :2]), epochs=1, validation_data=Two(X))
    expected = trainer.evaluate(X, (T, X[:, :2]))["loss"]
    assert history["validation_loss"] == [pytest.approx(expected, rel=1e-14)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda rng: (X, T), "validation_data=make_batch(np.random.default_rng(1))"),
        (X, "the targets with the inputs"),
        ((X, T, W), "omit the weights"),
        ([(X, T)] * 3, "tuple(map(np.concatenate, zip(*batches)))"),
        (iter([(X, T)]), "tuple(map(np.concatenate, zip(*batches)))"),
        (3, "validation_data=(x, t)"),
    ],
)
def test_the_hint_for_invalid_validation_data_works(given: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match="neither a pair nor a dataset") as caught:
        validated(given)
    assert words in caught.value.hint
    batches = [(X[:8], T[:8]), (X[8:], T[8:])]
    assert validated(tuple(map(np.concatenate, zip(*batches, strict=True)))) == validated((X, T))


@pytest.mark.parametrize(
    ("given", "kind", "place"),
    [
        (Pairs(X), DataError, "validation_data, sample 0"),
        (Pairs(X[:0], T[:0]), DataError, "validation_data"),
        (Loader(X, T[:9]), DataError, "validation_data"),
        (Loader(X * np.nan), DataError, "validation_data, x of batch 1, row 0, column 0"),
        (Pairs(X, X), ShapeError, "validation t, HalfSquaredError"),
    ],
)
def test_an_error_in_a_validation_dataset_names_its_place(
    given: Any, kind: type[ChainruleError], place: str
) -> None:
    with pytest.raises(kind) as caught:
        validated(given)
    assert caught.value.place is not None and caught.value.place.startswith(place)
