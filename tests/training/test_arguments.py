"""Invalid models, losses, optimizers and generators are errors that suggest what was meant.

What `fit` is given besides is in `test_data.py`, with the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from chainrule import (
    Activation,
    Concatenate,
    Dense,
    Flatten,
    Graph,
    Input,
    Reshape,
    Sequential,
    Softmax,
    Trainer,
    losses,
    optimizers,
)
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
        (iter([(X, T)]), "validation_data=list(batches)"),
        ((X, T, W, W), "validation_data=(x, t)"),
        (3, "validation_data=(x, t)"),
    ],
)
def test_the_hint_for_invalid_validation_data_works(given: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match="neither a pair nor a dataset") as caught:
        validated(given)
    assert words in caught.value.hint


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("pair", [list, tuple])
def test_a_list_of_batches_validates_also_if_it_is_of_exactly_two(
    count: int, kind: Any, pair: Any
) -> None:
    size = -(-len(X) // count)
    starts = range(0, len(X), size)
    batches = kind([pair([X[n : n + size], T[n : n + size]]) for n in starts])
    if kind is tuple and pair is list:
        return  # a tuple of two lists is x and t, as lists of rows
    assert validated(batches) == validated((X, T))


def test_two_inputs_and_two_targets_are_not_two_batches() -> None:
    a, b = Input((3,)), Input((3,))
    model = Graph([a, b], [Dense(1)(a), Dense(2)(b)])
    each = [losses.HalfSquaredError(), losses.HalfSquaredError()]
    trainer = Trainer(model, each, optimizers.SGD(0.1), rng=0)
    x, t = (X, X[:, ::-1]), (T, X[:, :2])
    for given in ((x, t), [(x, t)], [((X[:9], x[1][:9]), (T[:9], t[1][:9])),
                                     ((X[9:], x[1][9:]), (T[9:], t[1][9:]))]):  # fmt: skip
        history = trainer.fit(x, t, epochs=1, validation_data=given)
        expected = trainer.evaluate(x, t)["loss"]
        assert history["validation_loss"] == [pytest.approx(expected, rel=1e-14)]


def test_validation_data_may_have_weights() -> None:
    trainer = Trainer(Dense(1), losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
    history = trainer.fit(X, T, epochs=1, validation_data=(X, T, W))
    assert history["validation_loss"] == [trainer.evaluate(X, T, sample_weights=W)["loss"]]
    by_position = np.column_stack([W])
    history = trainer.fit(X, T, epochs=1, validation_data=(X, T, by_position))
    assert history["validation_loss"] == [trainer.evaluate(X, T, sample_weights=W)["loss"]]


@pytest.mark.parametrize("class_weights", [{0: 1.0, 1: 9.0}, "balanced"])
def test_class_weights_apply_to_the_validation_data(class_weights: Any) -> None:
    labels = (X[:, 0] > 0.5).astype(int)
    trainer = Trainer(Dense(2), losses.SoftmaxCrossEntropy(), optimizers.SGD(0.1), rng=0)
    data = {"class_weights": class_weights, "validation_data": (X, labels, W)}
    history = trainer.fit(X, labels, epochs=1, **data)
    counts = np.bincount(labels)
    of_class = [1.0, 9.0] if class_weights != "balanced" else len(labels) / (2 * counts)
    weights = W * np.asarray(of_class)[labels]
    expected = trainer.evaluate(X, labels, sample_weights=weights)["loss"]
    assert history["validation_loss"] == [pytest.approx(expected, rel=1e-14)]
    again = trainer.evaluate(X, labels, sample_weights=W, class_weights=class_weights)
    assert again["loss"] == pytest.approx(expected, rel=1e-14)


def test_class_weights_of_outputs_go_by_number_and_by_name() -> None:
    x = Input((3,))
    model = Graph(x, {"kind": Dense(2)(x), "size": Dense(1)(x)})
    each = [losses.SoftmaxCrossEntropy(), losses.HalfSquaredError()]
    labels = (X[:, 0] > 0).astype(int)
    costs = []
    weights = np.array([1.0, 5.0])[labels]
    for options in (
        {"class_weights": {"kind": [1.0, 5.0]}},
        {"class_weights": {0: {0: 1.0, 1: 5.0}}},
        {"class_weights": ([1.0, 5.0], None)},
        {"sample_weights": (weights, None)},
    ):
        trainer = Trainer(model.unbuilt(), each, optimizers.SGD(0.1), rng=0)
        costs.append(trainer.fit(X, (labels, T), epochs=2, **options)["loss"])
    assert costs == costs[:1] * 4
    with pytest.raises(ConfigurationError, match="kin") as caught:
        trainer.fit(X, (labels, T), class_weights={"kin": [1.0, 5.0]})
    assert caught.value.hint == "did you mean 'kind'?"


@pytest.mark.parametrize(
    "given",
    [
        Pairs(X, T),
        Loader(),
        [(X[:8], T[:8]), (X[8:], T[8:])],
        ((X[n : n + 5], T[n : n + 5]) for n in range(0, 20, 5)),
    ],
    ids=["dataset", "loader", "list", "generator"],
)
def test_datasets_and_loaders_can_be_evaluated(given: Any) -> None:
    metrics = ["r2", "mean_absolute_error", "root_mean_squared_error"]
    loss = losses.HalfSquaredError()
    trainer = Trainer(Dense(1), loss, optimizers.SGD(0.1), metrics=metrics, rng=0)
    trainer.fit(X, T, epochs=1)
    expected = trainer.evaluate(X, T)
    assert trainer.evaluate(given, batch_size=3) == pytest.approx(expected, rel=1e-14)


def test_the_weights_of_a_dataset_count_when_it_is_evaluated() -> None:
    loss = losses.HalfSquaredError()
    trainer = Trainer(Dense(1), loss, optimizers.SGD(0.1), metrics=["r2"], rng=0)
    trainer.fit(X, T, epochs=1)
    expected = trainer.evaluate(X, T, sample_weights=W)
    assert trainer.evaluate(Pairs(X, T, W)) == pytest.approx(expected, rel=1e-14)
    with pytest.raises(ConfigurationError, match="itself"):
        trainer.evaluate(Pairs(X, T), sample_weights=W)
    with pytest.raises(DataError, match="no batches"):
        trainer.evaluate(iter([]))
    with pytest.raises(ConfigurationError, match="a function cannot be evaluated"):
        trainer.evaluate(lambda rng: (X, T))


@pytest.mark.parametrize("outputs", [1, 2])
def test_batches_of_sequences_of_different_lengths_can_be_evaluated(outputs: int) -> None:
    rng = np.random.default_rng(0)
    labels = losses.SoftmaxCrossEntropy(ignore=2)
    inputs = Input((None, 3))
    h = Dense(3)(inputs)
    model = Graph(inputs, [h, Dense(1)(h)] if outputs == 2 else h)
    each: Any = [labels, losses.MeanSquaredError()] if outputs == 2 else labels
    metrics: Any = {0: ["f1"], 1: ["r2"]} if outputs == 2 else ["f1"]
    trainer = Trainer(model, each, optimizers.SGD(0.1), metrics=metrics, rng=0)
    batches = []
    for length in (5, 2, 4):
        x, t = rng.normal(size=(4, length, 3)), rng.integers(0, 3, (4, length))
        batches.append((x, (t, x[..., :1]) if outputs == 2 else t))
    history = trainer.fit(batches, epochs=1, validation_data=batches)
    found = trainer.evaluate(batches)
    assert found == {name: history[f"validation_{name}"][-1] for name in found}
    # The same positions, each as a sequence of length 1.
    flat = np.concatenate([x.reshape(-1, 1, 3) for x, _ in batches])
    ts = [t if isinstance(t, tuple) else (t,) for _, t in batches]
    columns = zip(*ts, strict=True)
    t_1, *more = [np.concatenate([a.reshape(-1, 1, *a.shape[2:]) for a in c]) for c in columns]
    expected = trainer.evaluate(flat, (t_1, *more) if outputs == 2 else t_1)
    if outputs == 2:  # a mean over sequences, each of which is a mean over its positions
        del expected["loss"], expected[next(n for n in expected if "r2" not in n and "2_loss" in n)]
    for name, figure in expected.items():
        assert found[name] == pytest.approx(figure, rel=1e-13)


@pytest.mark.parametrize("call", ["fit", "evaluate", "step"])
def test_a_list_of_inputs_suggests_a_tuple(call: str) -> None:
    a, b = Input((3,)), Input((3,))
    model = Graph([a, b], Dense(1)(Concatenate()(a, b)))
    model.build(rng=0)
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
    for x in ([X, X], [X, X[:, :2]]):
        with pytest.raises((DataError, ShapeError)) as caught:
            getattr(trainer, call)(x, T)
        assert "as a tuple, (x_1, x_2)" in caught.value.hint


# ------------------------------------------------------------------------------- double softmax


@pytest.mark.parametrize(
    ("model", "loss", "what"),
    [
        (lambda: Sequential([Dense(2), Softmax()]), losses.SoftmaxCrossEntropy(), "softmax"),
        (lambda: Sequential([Dense(4), Softmax(), Reshape((2, 2)), Flatten()]),
         losses.SoftmaxCrossEntropy(), "softmax"),
        (lambda: Sequential([Sequential([Dense(2), Activation("sigmoid")])]),
         losses.SigmoidCrossEntropy(), "applies a sigmoid itself, and the model ends with one"),
        (lambda: Sequential([Dense(2), Softmax()]), losses.SigmoidCrossEntropy(),
         "applies a sigmoid itself, and the model ends with a softmax, softmax_1"),
        (lambda: Sequential([Dense(2), Activation("sigmoid")]), losses.SoftmaxCrossEntropy(),
         "applies a softmax itself, and the model ends with a sigmoid, activation_1"),
    ],
)  # fmt: skip
def test_a_softmax_before_a_loss_that_applies_it_warns_once(
    model: Any, loss: Any, what: str
) -> None:
    labels = np.arange(20) % 2
    if isinstance(loss, losses.SigmoidCrossEntropy):
        labels = np.eye(2)[labels]
    trainer = Trainer(model(), loss, optimizers.SGD(0.1), rng=0)
    with pytest.warns(UserWarning, match="takes logits") as caught:
        trainer.fit(X, labels, epochs=1)
    assert what in str(caught[0].message) and len(caught) == 1
    assert caught[0].filename == __file__
    trainer.fit(X, labels, epochs=1)  # a second warning would be an error
    trainer.step(X, labels)
    with pytest.warns(UserWarning, match="takes logits"):
        Trainer(model(), loss, optimizers.SGD(0.1), rng=0).step(X, labels)


@pytest.mark.parametrize(
    ("layers", "loss"),
    [
        ([Dense(2), Softmax()], losses.NegativeLogLikelihood()),
        ([Dense(2), Softmax(), Dense(2)], losses.SoftmaxCrossEntropy()),
        ([Dense(2), Activation("sigmoid"), Dense(2)], losses.SoftmaxCrossEntropy()),
        ([Dense(2), Activation("tanh")], losses.SoftmaxCrossEntropy()),
    ],
)
def test_a_softmax_that_belongs_there_does_not_warn(layers: Any, loss: Any) -> None:
    trainer = Trainer(Sequential(layers), loss, optimizers.SGD(0.1), rng=0)
    trainer.fit(X, np.arange(20) % 2, epochs=1)


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
