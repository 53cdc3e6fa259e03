"""Several ranks that train one model, as threads: what one process would do, and no rank hangs.

`test_ranks_mpi` does the same with MPI.
"""

from __future__ import annotations

import copy
import pickle
import signal
import threading
from collections import deque

import numpy as np
import pytest

from chainrule import (
    LSTM,
    Activation,
    BatchNorm,
    Convolution,
    Dense,
    Dropout,
    Flatten,
    Graph,
    Input,
    Layer,
    Residual,
    Sequential,
    Trainer,
    callbacks,
    data,
    losses,
    optimizers,
)
from chainrule.core import whole_batch
from chainrule.data.part import Part
from chainrule.errors import ConfigurationError, DataError, NonFiniteError, RankError, ShapeError
from chainrule.training.interruption import Interruption
from chainrule.training.ranks import Ranks, as_ranks
from training.thread_ranks import ThreadRank, on_ranks

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(41, 5)), RNG.normal(size=(41, 2))
LABELS = RNG.integers(3, size=41)
MANY = RNG.normal(size=(2001, 7))
IMAGES = RNG.normal(size=(41, 6, 6, 1))


def dense():
    return Sequential([Dense(8), Activation("tanh"), Dense(2)])


def trained(model, loss, *given, ranks=None, metrics=(), optimizer=None, **how):
    """A trainer after a fit of three epochs."""
    trainer = Trainer(
        model, loss, optimizer or optimizers.Adam(0.01), metrics=metrics, rng=0, ranks=ranks
    )
    trainer.fit(*given, **{"epochs": 3, "batch_size": 10, "progress": False, **how})
    return trainer


def compared(size, make):
    """The trainers of several ranks, after comparing them with one process."""
    alone = make(None)
    ranks = on_ranks(size, make)
    for trainer in ranks:
        assert isinstance(trainer, Trainer), trainer
        assert same_bits(trainer, ranks[0])
        np.testing.assert_allclose(
            trainer.model.parameters.value, alone.model.parameters.value, rtol=0, atol=1e-12
        )
        np.testing.assert_allclose(
            trainer.model.buffers.value, alone.model.buffers.value, rtol=0, atol=1e-12
        )
        assert list(trainer.history) == list(alone.history)
        for name, column in alone.history.items():
            np.testing.assert_allclose(trainer.history[name], column, rtol=1e-11, err_msg=name)
        assert trainer.steps == alone.steps
    return ranks


def same_bits(one, other):
    return (
        one.model.parameters.value.tobytes() == other.model.parameters.value.tobytes()
        and one.model.buffers.value.tobytes() == other.model.buffers.value.tobytes()
        and dict(one.history) == dict(other.history)
    )


def largest_error(y, t):
    return np.abs(y - t).max()


# ---------------------------------------------------------------- as in one process

CASES = {
    "arrays": lambda ranks: trained(dense(), losses.HalfSquaredError(), X, T, ranks=ranks),
    "in order": lambda ranks: trained(
        dense(), losses.HalfSquaredError(), X, T, ranks=ranks, shuffle=False
    ),
    "batches smaller than the ranks": lambda ranks: trained(
        dense(), losses.HalfSquaredError(), X[:7], T[:7], ranks=ranks, batch_size=2
    ),
    "metrics and validation": lambda ranks: trained(
        dense(),
        losses.HalfSquaredError(),
        X,
        T,
        ranks=ranks,
        metrics=["r2", "root_mean_squared_error", "mean_absolute_error", largest_error],
        validation_data=(X[:11], T[:11]),
    ),
    "much validation data": lambda ranks: trained(
        dense(),
        losses.HalfSquaredError(),
        X,
        T,
        ranks=ranks,
        epochs=1,
        metrics=["r2", "mean_squared_error", largest_error],
        validation_data=(Stored(MANY[:, :5]), MANY[:, 5:], MANY[:, 0] ** 2),
    ),
    "several batches in a step": lambda ranks: trained(
        dense(), losses.HalfSquaredError(), X, T, ranks=ranks, accumulate=3
    ),
    "weights": lambda ranks: trained(
        dense(),
        losses.HalfSquaredError(),
        X,
        T,
        ranks=ranks,
        sample_weights=np.linspace(0, 2, 41),
        metrics=["mean_squared_error"],
    ),
    "classes": lambda ranks: trained(
        Sequential([Dense(3)]),
        losses.SoftmaxCrossEntropy(),
        X,
        LABELS,
        ranks=ranks,
        class_weights="balanced",
        metrics=["accuracy", "f1", "top_2_accuracy"],
        validation_data=(X[:3], LABELS[:3]),
    ),
    "labels that do not count": lambda ranks: trained(
        Sequential([Dense(3)]),
        losses.SoftmaxCrossEntropy(ignore=2),
        X,
        LABELS,
        ranks=ranks,
        validation_data=(X, LABELS),
    ),
    "two outputs": lambda ranks: trained(
        two_outputs(),
        [losses.HalfSquaredError(), losses.SoftmaxCrossEntropy(ignore=2)],
        X,
        (T, LABELS),
        ranks=ranks,
        metrics=[["r2", largest_error], ["accuracy"]],
        validation_data=(X, (T, LABELS)),
    ),
    "a layer used twice": lambda ranks: trained(
        shared(), losses.HalfSquaredError(), X, T, ranks=ranks
    ),
    "batch normalization": lambda ranks: trained(
        Sequential([Dense(8), BatchNorm(), Activation("tanh"), Dense(2)]),
        losses.HalfSquaredError(),
        X,
        T,
        ranks=ranks,
        # Adam would magnify the rounding errors of biases whose gradient is zero.
        optimizer=optimizers.SGD(0.1),
        validation_data=(X, T),
    ),
    "batch normalization of images": lambda ranks: trained(
        Sequential(
            [
                Convolution(4, 3),
                BatchNorm(),
                Residual(Sequential([Convolution(4, 3), BatchNorm()])),
                Flatten(),
                Dense(2),
            ]
        ),
        losses.HalfSquaredError(),
        IMAGES,
        T,
        ranks=ranks,
        optimizer=optimizers.SGD(0.01),
        batch_size=3,
        epochs=1,
    ),
    "a recurrent network": lambda ranks: trained(
        Sequential([LSTM(4), Dense(2)]), losses.HalfSquaredError(), X[..., None], T, ranks=ranks
    ),
    "no targets": lambda ranks: trained(
        Sequential([Dense(3)]), losses.MeanSquare(), X, ranks=ranks
    ),
    "a dataset of pairs": lambda ranks: trained(
        dense(), losses.HalfSquaredError(), Pairs(), ranks=ranks, batch_size=3
    ),
    "a list of batches": lambda ranks: trained(
        dense(),
        losses.HalfSquaredError(),
        [(X[:7], T[:7]), (X[7:8], T[7:8]), (X[8:], T[8:])],
        ranks=ranks,
        batch_size=None,
    ),
    "made batches": lambda ranks: trained(
        dense(),
        losses.HalfSquaredError(),
        lambda rng: (lambda x: (x, x[:, :2]))(rng.normal(size=(5, 4))),
        ranks=ranks,
        batch_size=None,
        steps_per_epoch=4,
    ),
    "augmented images": lambda ranks: trained(
        Sequential([Flatten(), Dense(2)]),
        losses.HalfSquaredError(),
        data.augmented(IMAGES, T, shift=1, rotation=5, noise=0.1, flip="both"),
        ranks=ranks,
    ),
    "augmented batches": lambda ranks: trained(
        Sequential([Flatten(), Dense(2)]),
        losses.HalfSquaredError(),
        data.augmented([(IMAGES[:9], T[:9]), (IMAGES[9:], T[9:])], shift=1, noise=0.1),
        ranks=ranks,
        batch_size=None,
    ),
    "a frozen layer": lambda ranks: trained(
        Sequential([Dense(8).freeze(), Dense(2)]), losses.HalfSquaredError(), X, T, ranks=ranks
    ),
}


def two_outputs():
    x = Input((5,))
    h = Dense(6)(x)
    return Graph(x, [Dense(2)(h), Dense(3)(h)])


def shared():
    x, layer = Input((5,)), Dense(5)
    return Graph(x, Dense(2)(layer(layer(x))))


class Pairs:
    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return X[index], T[index]


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("case", CASES)
def test_the_numbers_are_those_of_one_process(case, size):
    compared(size, CASES[case])


@pytest.mark.parametrize("shuffle", [True, "rows", False])
@pytest.mark.parametrize("batch_size", [10, 1])
def test_of_stored_data_each_rank_reads_its_rows_alone(shuffle, batch_size):
    logs = deque()

    def make(ranks):
        stored = Stored(X)
        if ranks is not None:
            logs.append((ranks.Get_rank(), stored))
        return trained(
            dense(),
            losses.HalfSquaredError(),
            stored,
            Stored(T),
            ranks=ranks,
            shuffle=shuffle,
            batch_size=batch_size,
            epochs=1,
        )

    compared(2, make)
    rows = {rank: stored.read for rank, stored in logs}
    # The first rows are read before, and all of a small file, to compare the data of the ranks.
    assert sorted(rows[0][8 + 41 :] + rows[1][8 + 41 :]) == list(range(41))


class Stored:
    """Rows in a file: what has a shape and can be sliced."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.read = []

    def __len__(self):
        return len(self.array)

    def __getitem__(self, rows):
        self.read.extend(range(len(self))[rows])
        return self.array[rows]


def test_two_ranks_give_the_bits_of_one_process_with_two_batches_in_a_step():
    """For equal parts, of layers whose rows do not affect each other: `accumulate=2`."""
    x, t = X[:40].astype(np.float32), T[:40].astype(np.float32)

    def make(ranks, **how):
        model = shared()
        return trained(
            model,
            losses.HalfSquaredError(),
            x,
            t,
            ranks=ranks,
            optimizer=optimizers.SGD(0.1),
            **how,
        )

    alone = make(None, batch_size=5, accumulate=2)
    for trainer in on_ranks(2, make):
        assert same_bits(trainer, alone)


def test_a_communicator_of_one_is_one_process():
    (trainer,) = on_ranks(1, CASES["arrays"])
    assert same_bits(trainer, CASES["arrays"](None))
    assert not trainer.ranks.is_divided


@pytest.mark.parametrize("size", [2, 3])
def test_the_parts_of_a_batch_are_all_of_it_in_order(size):
    for rows in range(10):
        parts = [Part(rank, size).of(rows) for rank in range(size)]
        assert [n for part in parts for n in range(rows)[part]] == list(range(rows))
        lengths = [len(range(rows)[part]) for part in parts]
        assert max(lengths) - min(lengths) <= 1 and lengths == sorted(lengths, reverse=True)


# ---------------------------------------------------------------- steps by hand


@pytest.mark.parametrize("metrics", [False, True])
def test_a_step_by_hand_is_divided_too(metrics):
    def make(ranks):
        trainer = Trainer(
            dense(),
            losses.HalfSquaredError(),
            optimizers.SGD(0.1),
            metrics=["r2", largest_error],
            rng=0,
            ranks=ranks,
        )
        return [trainer.step(X[:n], T[:n], metrics=metrics) for n in (5, 1, 8)], trainer

    (expected, alone), *ranks = make(None), *on_ranks(2, make)
    for found, trainer in ranks:
        as_numbers = [list(c.values()) if metrics else c for c in found]
        wanted = [list(c.values()) if metrics else c for c in expected]
        np.testing.assert_allclose(as_numbers, wanted, rtol=1e-12)
        np.testing.assert_allclose(
            trainer.model.parameters.value, alone.model.parameters.value, atol=1e-14
        )


def test_a_step_by_hand_over_labels_is_divided_too():
    def make(ranks):
        loss = losses.SoftmaxCrossEntropy(ignore=2)
        trainer = Trainer(Sequential([Dense(3)]), loss, optimizers.SGD(0.1), rng=0, ranks=ranks)
        return trainer.step(X[:9], LABELS[:9]), trainer.model.parameters.value

    (cost, value), *ranks = make(None), *on_ranks(3, make)
    for found, other in ranks:
        assert found == pytest.approx(cost, rel=1e-12)
        np.testing.assert_allclose(other, value, atol=1e-14)


# ---------------------------------------------------------------- the start


def test_models_of_different_seeds_begin_with_the_numbers_of_rank_0():
    def make(ranks):
        model = dense()
        model.build((5,), rng=ranks.Get_rank())
        trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.1), ranks=ranks)
        trainer.fit(X, T, epochs=2, progress=False)
        return trainer

    one, other = on_ranks(2, make)
    assert same_bits(one, other)


def test_statistics_begin_with_those_of_rank_0_too():
    def make(ranks):
        model = Sequential([Dense(3), BatchNorm(), Dense(2)])
        model.build((5,), rng=0)
        model.buffers.value = model.buffers.value + ranks.Get_rank()
        return trained(model, losses.HalfSquaredError(), X, T, ranks=ranks, batch_size=None)

    one, other = on_ranks(2, make)
    assert same_bits(one, other)
    (alone,) = on_ranks(1, make)
    np.testing.assert_allclose(one.model.buffers.value, alone.model.buffers.value, atol=1e-12)


DIFFERENCES = {
    "epochs": (lambda rank: {"epochs": 1 + rank}, "epochs: 2, but 1 on rank 0"),
    "lengths": (lambda rank: {"data": (X[: 41 - rank], T[: 41 - rank])}, "x: 40 of (5,)"),
    "data": (lambda rank: {"data": (X + rank, T)}, "x: 41 of (5,), float64, digest"),
    "models": (lambda rank: {"units": 3 + rank}, "the model's layers"),
    "batches": (lambda rank: {"batch_size": 9 + rank}, "batch_size: 10, but 9 on rank 0"),
    "resuming": (
        lambda rank: {"resume_from": [None, "nowhere"][rank]},
        "resume_from: True, but False on rank 0",
    ),
    "validation": (
        lambda rank: {"validation_data": [None, (X, T)][rank]},
        "validation data: True, but False on rank 0",
    ),
    "rates": (lambda rank: {"rate": 0.1 + rank}, "the optimizer"),
    "losses": (
        lambda rank: {"loss": [losses.HalfSquaredError(), losses.MeanSquaredError()][rank]},
        "the loss",
    ),
}


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_ranks_that_differ_are_a_named_error_on_all(difference):
    how, text = DIFFERENCES[difference]

    def make(ranks):
        own = how(ranks.Get_rank())
        model = Sequential([Dense(own.get("units", 3)), Dense(2)])
        trainer = Trainer(
            model,
            own.get("loss", losses.HalfSquaredError()),
            optimizers.SGD(own.get("rate", 0.1)),
            rng=0,
            ranks=ranks,
        )
        names = ("epochs", "batch_size", "resume_from", "validation_data")
        given = {name: own[name] for name in names if name in own}
        trainer.fit(*own.get("data", (X, T)), **{"epochs": 1, "progress": False, **given})

    for error in on_ranks(2, make):
        assert isinstance(error, RankError)
        assert f"rank 1: {text}" in str(error)


def test_what_only_rank_0_has_is_a_difference_too():
    def make(ranks):
        as_ranks(ranks).require_same(lambda: {"a": 1} | ({} if ranks.Get_rank() else {"b": 2}))

    for error in on_ranks(2, make):
        assert "rank 1: b: None, but 2 on rank 0" in str(error)


def test_generators_of_different_kinds_are_a_named_error():
    def make(ranks):
        kind = [np.random.PCG64, np.random.MT19937][ranks.Get_rank()]
        as_ranks(ranks).share_generator(np.random.Generator(kind(0)))

    error = on_ranks(2, make)[1]
    assert isinstance(error, RankError)
    assert (error.expected, error.received) == ("PCG64, as on rank 0", "MT19937")


def test_an_error_has_the_same_parts_on_all_ranks():
    def make(ranks):
        with as_ranks(ranks).together():
            if ranks.Get_rank() == 1:
                raise ShapeError("a", place="b", expected="c", received="d", hint="e")

    for error in on_ranks(2, make):
        assert isinstance(error, ShapeError)
        parts = (error.problem, error.place, error.expected, error.received, error.hint)
        assert parts == ("a", "rank 1 of 2, b", "c", "d", "e")


def test_an_error_in_the_arguments_of_one_rank_is_raised_on_all():
    def make(ranks):
        batch_size = 10 * (ranks.Get_rank() + 1) - 10 or 7
        batch_size = 0 if ranks.Get_rank() == 1 else batch_size
        return trained(dense(), losses.HalfSquaredError(), X, T, ranks=ranks, batch_size=batch_size)

    for error in on_ranks(2, make):
        assert isinstance(error, ConfigurationError)
        assert error.problem == "batch_size must be an integer of at least 1"
        assert error.place == "rank 1 of 2"


class NullRank(ThreadRank):
    """A communicator such as ``MPI.COMM_NULL``, whose methods are errors of MPI."""

    def __bool__(self):
        return False

    def Is_inter(self):  # noqa: N802
        raise RuntimeError("Null communicator")


@pytest.mark.parametrize(
    "given", [3, "MPI.COMM_WORLD", np, Ranks, NullRank(0, [None] * 2, threading.Barrier(2))]
)
def test_what_is_not_a_communicator_is_a_named_error(given):
    with pytest.raises(ConfigurationError, match="from mpi4py import MPI") as caught:
        Trainer(dense(), losses.HalfSquaredError(), optimizers.SGD(0.1), ranks=given)
    assert "chainrule[mpi]" in str(caught.value)


def test_a_second_phase_is_refused():
    make = lambda ranks: trained(dense(), losses.HalfSquaredError(), X, T, ranks=ranks, then="BFGS")  # noqa: E731
    for error in on_ranks(2, make):
        assert isinstance(error, ConfigurationError) and "then is not possible" in str(error)


class Centered(Layer):
    """The rows of a batch minus their mean."""

    couples_batch = True

    def forward(self, inputs):
        return inputs - inputs.mean(axis=0)

    def backward(self, delta):
        return delta - delta.mean(axis=0)


@pytest.mark.parametrize(
    ("layers", "name"),
    [
        ([Dense(3), Centered(), Dense(2)], "Centered.couples_batch is True"),
        ([Sequential([Centered()]), Dense(2)], "Centered.couples_batch is True"),
    ],
)
def test_a_layer_of_the_user_that_couples_the_batch_is_refused_by_name(layers, name):
    def make(ranks):
        model = Sequential(copy.deepcopy(layers))
        return trained(model, losses.HalfSquaredError(), X, T, ranks=ranks)

    for error in on_ranks(2, make):
        assert isinstance(error, ConfigurationError) and name in str(error)
        assert "centered" in str(error.place)


def test_a_layer_that_carries_a_state_is_refused():
    def make(ranks):
        model = Sequential([LSTM(4, stateful=True), Dense(2)])
        return trained(model, losses.HalfSquaredError(), X[..., None], T, ranks=ranks)

    for error in on_ranks(2, make):
        assert isinstance(error, ConfigurationError) and "stateful=False" in str(error)


# ---------------------------------------------------------------- failures


class Failing(Layer):
    """Fails in one forward pass, on one rank."""

    at: int
    how: str

    def build(self, input_shape):
        self.passes = 0

    def forward(self, inputs):
        self.passes += len(inputs) > 0
        if this_rank() == 1 and self.passes >= self.at:
            if self.how == "KeyError":
                raise KeyError("this rank alone")
            if self.how == "KeyboardInterrupt":
                raise KeyboardInterrupt
            if self.how == "NaN":
                return inputs * np.nan
        return inputs * 1.0

    def backward(self, delta):
        return delta

    def apply(self, inputs):
        return inputs


def this_rank():
    return int(threading.current_thread().name.removeprefix("rank "))


def failed(ranks, how="", at=6, given=(X, T), **more):
    """The error of a fit that fails on rank 1, in step ``at``; and the trainer."""
    model = Sequential([Dense(4), BatchNorm(), Failing(at, how), Dense(2)])
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.01), rng=0, ranks=ranks)
    try:
        trainer.fit(*given, **{"epochs": 5, "batch_size": 10, "progress": False, **more})
    except BaseException as error:
        return error, trainer
    return None, trainer


EXPECTED = {
    "KeyError": (RankError, KeyError),
    "KeyboardInterrupt": (KeyboardInterrupt, KeyboardInterrupt),
    "NaN": (NonFiniteError, NonFiniteError),
}


@pytest.mark.parametrize("how", EXPECTED)
def test_an_error_in_a_layer_on_one_rank_is_a_named_error_on_all(how):
    of_ranks = on_ranks(2, lambda ranks: failed(ranks, how))
    whole = on_ranks(2, lambda ranks: failed(ranks, epochs=1))[0][1]
    for (error, trainer), kind in zip(of_ranks, EXPECTED[how], strict=True):
        assert type(error) is kind
        text = f"{error} {getattr(error, '__notes__', '')}"
        assert "rank 1 of 2" in text and text.count("epoch 2, step 2") == 1
        assert (trainer.run.is_failed, trainer.steps, trainer.history.epochs) == (True, 6, 1)
        assert same_bits(trainer, of_ranks[0][1])
        assert trainer.history["loss"] == whole.history["loss"]
    assert "'this rank alone'" in str(of_ranks[0][0]) or how != "KeyError"


def test_of_several_ranks_that_fail_the_first_is_named():
    def make(ranks):
        with as_ranks(ranks).together():
            if ranks.Get_rank():
                raise ValueError(f"broken {ranks.Get_rank()}")

    error, *own = on_ranks(3, make)
    assert isinstance(error, RankError)
    assert "rank 1 of 3" in str(error) and "broken 1" in str(error)
    assert [str(each) for each in own] == ["broken 1", "broken 2"]


def test_the_parameters_and_statistics_are_those_before_the_failed_step():
    class Stop(callbacks.Callback):
        def on_step_end(self, trainer, epoch, step, cost):
            if trainer.steps == 6:
                trainer.stop("here")

    def stopped(ranks):
        return failed(ranks, epochs=2, callbacks=[Stop()])[1]

    before = on_ranks(2, stopped)[0]
    for _, trainer in on_ranks(2, lambda ranks: failed(ranks, "NaN")):
        assert trainer.model.parameters.value.tobytes() == before.model.parameters.value.tobytes()
        assert trainer.model.buffers.value.tobytes() == before.model.buffers.value.tobytes()


def test_after_a_failure_the_ranks_can_train_again():
    def make(ranks):
        _, trainer = failed(ranks, "NaN")
        trainer.model.layers[2].at = 10**9
        trainer.fit(X, T, epochs=1, progress=False)
        return trainer

    one, other = on_ranks(2, make)
    assert isinstance(one, Trainer) and same_bits(one, other) and one.history.epochs == 1


def test_the_bad_batch_has_the_rows_of_all_ranks(tmp_path):
    from safetensors.numpy import load_file

    path = tmp_path / "bad.safetensors"
    batches = [(X[10 * n : 10 * n + 10], T[10 * n : 10 * n + 10]) for n in range(4)]

    def make(ranks):
        return failed(ranks, "NaN", given=(batches,), batch_size=None, bad_batch=path, at=4 + 3)

    (error, _), _ = on_ranks(2, make)
    assert "bad.safetensors" in error.hint
    found = load_file(path)
    np.testing.assert_array_equal(found["x"], batches[2][0])
    np.testing.assert_array_equal(found["t"], batches[2][1])


def test_a_number_in_a_file_that_is_not_finite_is_an_error_on_all():
    bad = X.copy()
    bad[40, 2] = np.nan

    def make(ranks):
        return failed(ranks, given=(Stored(bad), T), shuffle=False)

    for error, _ in on_ranks(2, make):
        assert isinstance(error, DataError) and "row 40, column 2" in str(error)


def test_gradients_whose_sum_overflows_are_a_named_error():
    class Large(losses.Loss):
        def costs(self, y, target):
            return np.zeros(len(y), y.dtype)

        def slopes(self, y, target):
            return np.full_like(y, 3e38 / len(y))

    def make(ranks):
        x = np.ones((2, 1), np.float32)
        trainer = Trainer(Sequential([Dense(1)]), Large(), optimizers.SGD(0.1), rng=0, ranks=ranks)
        trainer.fit(x, x, epochs=1, progress=False)

    for error in on_ranks(2, make):
        assert isinstance(error, NonFiniteError)
        assert error.problem == "the sum of the gradients of all ranks is not finite"
        assert "rank" not in error.place


def test_a_metric_that_fails_on_the_rank_that_computes_it_is_an_error_on_all():
    def broken(y, t):
        raise ValueError("no metric")

    def make(ranks):
        trained(dense(), losses.HalfSquaredError(), X, T, ranks=ranks, metrics=[broken])

    first, second = on_ranks(2, make)
    assert type(first) is ValueError and isinstance(second, RankError)
    assert "no metric" in str(second)


class Drifting(Layer):
    """Keeps the mean of the rows that it sees, which differ from rank to rank."""

    def build(self, input_shape):
        self.seen = self.buffer("seen", input_shape)

    def forward(self, inputs):
        if len(inputs):
            self.seen.value = inputs.mean(axis=0)
        return inputs * 1.0

    def backward(self, delta):
        return delta


def test_a_buffer_that_depends_on_the_rows_of_a_rank_is_a_named_error():
    def make(ranks):
        return trained(
            Sequential([Dense(3), Drifting(), Dense(2)]),
            losses.HalfSquaredError(),
            X,
            T,
            ranks=ranks,
        )

    for error in on_ranks(2, make):
        assert isinstance(error, RankError) and "drifting_1.seen" in str(error)


# ---------------------------------------------------------------- callbacks


class Recording(callbacks.Callback):
    def __init__(self, act=lambda trainer: None):
        self.calls, self.act = [], act

    def on_fit_begin(self, trainer):
        self.calls.append("fit")

    def on_step_end(self, trainer, epoch, step, cost):
        self.calls.append(cost)
        self.act(trainer)

    def figures(self, trainer, epoch):
        return {"norm": float(np.linalg.norm(trainer.model.parameters.value))}

    def on_epoch_end(self, trainer, epoch, figures):
        self.calls.append(figures)

    def on_fit_end(self, trainer):
        self.calls.append("end")


def with_callback(ranks, *given, **how):
    callback = Recording(*given)
    trainer = trained(
        dense(),
        losses.HalfSquaredError(),
        X,
        T,
        ranks=ranks,
        callbacks=[callback],
        optimizer=optimizers.SGD(0.1, momentum=0.5),
        **how,
    )
    return trainer, callback


def test_callbacks_run_on_rank_0_alone_and_see_the_numbers_of_whole_batches():
    (_, expected), *ranks = with_callback(None), *on_ranks(3, with_callback)
    assert [len(callback.calls) for _, callback in ranks] == [len(expected.calls), 0, 0]
    for own, other in zip(ranks[0][1].calls, expected.calls, strict=True):
        if isinstance(own, dict):
            assert own == pytest.approx(other, rel=1e-12)
        else:
            assert own == other or own == pytest.approx(other, rel=1e-12)
    assert all(same_bits(trainer, ranks[0][0]) for trainer, _ in ranks)
    assert list(ranks[2][0].history) == ["loss", "norm"]


def set_rate(trainer):
    trainer.optimizer.learning_rate *= 0.9


def set_momentum(trainer):
    trainer.optimizer.momentum *= 0.9


def change_parameters(trainer):
    trainer.model.parameters.value *= 0.99


def draw(trainer):
    trainer.rng.random()


def freeze(trainer):
    if trainer.steps == 3:
        trainer.model.layers[0].freeze()


def alternate(trainer):
    trainer.optimizer.momentum = 0.9 if trainer.steps % 2 else 0.5


def stop(trainer):
    if trainer.steps == 7:
        trainer.stop("seven")


@pytest.mark.parametrize(
    "act", [set_rate, set_momentum, alternate, change_parameters, draw, freeze, stop]
)
def test_what_a_callback_changes_on_rank_0_holds_on_all(act):
    alone, _ = with_callback(None, act)
    ranks = on_ranks(2, lambda ranks: with_callback(ranks, act))
    for trainer, _ in ranks:
        assert same_bits(trainer, ranks[0][0])
        np.testing.assert_allclose(
            trainer.model.parameters.value, alone.model.parameters.value, atol=1e-13
        )
        assert (trainer.steps, trainer.run.reason) == (alone.steps, alone.run.reason)
        assert trainer.optimizer == alone.optimizer
        assert trainer.rng.bit_generator.state == alone.rng.bit_generator.state


def test_parameters_that_change_after_an_epoch_are_those_of_all():
    def shrink(trainer, epoch, figures):
        trainer.model.parameters.value *= 0.9

    def make(ranks):
        seen = callbacks.FromFunctions(on_epoch_end=shrink)
        loss = losses.HalfSquaredError()
        return trained(dense(), loss, X, T, ranks=ranks, callbacks=[seen], batch_size=None)

    compared(2, make)


def test_a_rate_inside_a_layer_that_a_callback_changes_holds_on_all():
    def change(trainer):
        trainer.model.layers[1].rate = 0.25

    def make(ranks):
        return trained(
            Sequential([Dense(4), Dropout(0.5), Dense(2)]),
            losses.HalfSquaredError(),
            X,
            T,
            ranks=ranks,
            callbacks=[Recording(change)],
        )

    for trainer in on_ranks(2, make):
        assert trainer.model.layers[1].rate == 0.25


def test_an_object_that_a_callback_replaces_is_a_named_error_on_all():
    def change(trainer):
        trainer.model.layers[1].function = Activation("relu").function

    for error in on_ranks(2, lambda ranks: with_callback(ranks, change)):
        assert isinstance(error, ConfigurationError) and "has replaced the function" in str(error)


def test_early_stopping_stops_all_ranks_and_restores_the_best_on_all():
    def make(ranks):
        return trained(
            dense(),
            losses.HalfSquaredError(),
            X,
            T,
            ranks=ranks,
            epochs=60,
            validation_data=(-X, T),
            callbacks=[callbacks.EarlyStopping(patience=2)],
        )

    ranks = compared(2, make)
    assert ranks[0].history.epochs < 60
    assert "did not improve" in ranks[1].run.reason


def test_a_learning_rate_schedule_acts_on_all_ranks():
    from chainrule import schedules

    def make(ranks):
        return trained(
            dense(),
            losses.HalfSquaredError(),
            X,
            T,
            ranks=ranks,
            callbacks=[callbacks.LearningRate(schedules.Cosine(0.01, 15))],
        )

    one, other = compared(2, make)
    assert one.optimizer.learning_rate == other.optimizer.learning_rate < 0.01


@pytest.mark.parametrize(
    "moment", ["on_fit_begin", "on_step_end", "figures", "on_epoch_end", "on_fit_end"]
)
def test_an_error_of_a_callback_on_rank_0_is_an_error_on_all(moment):
    def fail(*given):
        raise ValueError("in the callback")

    def make(ranks):
        callback = type("Mine", (callbacks.Callback,), {moment: fail})()
        return trained(dense(), losses.HalfSquaredError(), X, T, ranks=ranks, callbacks=[callback])

    first, second = on_ranks(2, make)
    assert type(first) is ValueError
    assert isinstance(second, RankError) and "in the callback" in str(second)


def test_a_callback_cannot_train_on_all_ranks():
    def nested(trainer):
        copy.deepcopy(trainer).fit(X, T, epochs=1, progress=False)

    for error in on_ranks(2, lambda ranks: with_callback(ranks, nested)):
        assert isinstance(error, ConfigurationError) and "only rank 0 calls" in str(error)


def test_after_a_stop_the_ranks_can_train_again():
    def make(ranks):
        trainer, _ = with_callback(ranks, stop)
        trainer.fit(X, T, epochs=1, batch_size=10, progress=False)
        return trainer

    for trainer in on_ranks(2, make):
        assert trainer.steps == 5 and trainer.run.reason is None


def test_a_rank_other_than_0_can_ask_to_stop():
    def make(ranks):
        trainer = Trainer(
            dense(), losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0, ranks=ranks
        )

        def make_batch(rng):
            if trainer.steps == 4 and ranks.Get_rank() == 1:
                trainer.stop("rank 1 has had enough")
            x = rng.normal(size=(6, 5))
            return x, x[:, :2]

        trainer.fit(make_batch, epochs=3, steps_per_epoch=4, progress=False)
        return trainer

    for trainer in on_ranks(2, make):
        assert (trainer.steps, trainer.run.reason) == (5, "rank 1 has had enough")


# ---------------------------------------------------------------- files


def checkpointed(ranks, folder, model=dense, **how):
    trainer = trained(
        model(),
        losses.HalfSquaredError(),
        X,
        T,
        ranks=ranks,
        metrics=["r2", "mean_absolute_error"],
        callbacks=[
            callbacks.Checkpoint(folder, every_steps=4, keep=50),
            callbacks.EarlyStopping("loss"),
        ],
        resume_from=folder,
        **how,
    )
    return trainer


def with_noise():
    return Sequential([Dense(8), Dropout(0.5), BatchNorm(), Dense(2)])


@pytest.mark.parametrize("model", [dense, with_noise])
def test_a_run_resumes_on_as_many_ranks_with_the_same_bits(model, tmp_path):
    whole = on_ranks(2, lambda ranks: checkpointed(ranks, tmp_path / "a", model))
    on_ranks(2, lambda ranks: checkpointed(ranks, tmp_path / "b", model, epochs=2))
    for name in sorted(path.name for path in (tmp_path / "b").glob("step*"))[-2:]:
        (tmp_path / "b" / name).unlink()  # in the middle of an epoch
    resumed = on_ranks(2, lambda ranks: checkpointed(ranks, tmp_path / "b", model))
    assert all(isinstance(trainer, Trainer) for trainer in resumed), resumed
    assert resumed[0].is_resumed and resumed[1].is_resumed
    assert all(same_bits(one, two) for one, two in zip(whole, resumed, strict=True))


@pytest.mark.parametrize("before, after", [(1, 2), (2, 1), (2, 3), (3, 2)])
def test_a_run_resumes_on_another_number_of_ranks(before, after, tmp_path):
    (whole,) = on_ranks(1, lambda ranks: checkpointed(ranks, tmp_path / "a"))
    on_ranks(before, lambda ranks: checkpointed(ranks, tmp_path / "b", epochs=2))
    for name in sorted(path.name for path in (tmp_path / "b").glob("step*"))[-2:]:
        (tmp_path / "b" / name).unlink()
    for trainer in on_ranks(after, lambda ranks: checkpointed(ranks, tmp_path / "b")):
        assert isinstance(trainer, Trainer), trainer
        np.testing.assert_allclose(
            trainer.model.parameters.value, whole.model.parameters.value, atol=1e-12
        )
        for name, column in whole.history.items():
            np.testing.assert_allclose(trainer.history[name], column, rtol=1e-12)


def test_files_are_written_on_rank_0_alone(tmp_path):
    def make(ranks):
        own = tmp_path / str(ranks.Get_rank())
        trained(
            dense(),
            losses.HalfSquaredError(),
            X,
            T,
            ranks=ranks,
            callbacks=[callbacks.Checkpoint(own), callbacks.CSVLogger(own.with_suffix(".csv"))],
        )

    assert on_ranks(2, make) == [None, None]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "0.csv"]


# ---------------------------------------------------------------- random numbers


def test_layers_that_draw_have_their_own_stream_on_each_rank():
    drawn = {}

    class Seeing(Layer):
        def forward(self, inputs):
            drawn.setdefault(this_rank(), []).append(inputs == 0)
            return inputs * 1.0

        def backward(self, delta):
            return delta

    def make(ranks):
        x = np.ones((400, 3))
        model = Sequential([Dropout(0.3), Seeing(), Dense(1)])
        return trained(model, losses.MeanSquare(), x, ranks=ranks, batch_size=400, epochs=10)

    one, other = on_ranks(2, make)
    assert same_bits(one, other)
    first, second = (
        np.array([mask for mask in drawn[rank] if len(mask) == 200]) for rank in (0, 1)
    )
    assert first.shape == second.shape == (10, 200, 3)
    n = first.size
    for mask in (first, second):
        assert abs(mask.mean() - 0.3) < 4 * np.sqrt(0.21 / n)
    both = (first & second).mean()  # independent: 0.3²
    assert abs(both - 0.09) < 4 * np.sqrt(0.09 * 0.91 / n)
    assert (first[0] != first[1]).any()
    generators = [trainer.model.generators["dropout_1.draws"] for trainer in (one, other)]
    assert generators[0].random() == generators[1].random()
    again = on_ranks(2, make)[0]
    assert same_bits(again, one)


# ---------------------------------------------------------------- odds and ends


def test_sums_of_the_whole_batch_are_those_given_where_no_batch_is_divided():
    sums = np.ones((1, 3), np.float32)
    assert whole_batch.summed(sums, 4) == (sums, 4)
    with whole_batch.divided(lambda vector: 2 * vector):
        doubled, count = whole_batch.summed(sums, 4)
        assert doubled.dtype == np.float32 and doubled.tolist() == [[2.0] * 3] and count == 8
        with whole_batch.divided(None):
            assert whole_batch.summed(sums, 4) == (sums, 4)
        assert whole_batch.summed(sums, 4)[1] == 8
    assert whole_batch.summed(sums, 4) == (sums, 4)


def test_a_trainer_that_is_pickled_or_copied_keeps_or_loses_its_ranks():
    def make(ranks):
        trainer = Trainer(dense(), losses.HalfSquaredError(), optimizers.SGD(0.1), ranks=ranks)
        assert copy.deepcopy(trainer).ranks is trainer.ranks
        assert not pickle.loads(pickle.dumps(trainer)).ranks.is_divided
        return repr(trainer.ranks)

    assert on_ranks(2, make) == ["rank 0 of 2", "rank 1 of 2"]


def test_many_sums_travel_in_a_second_message():
    def make(ranks):
        return as_ranks(ranks).summed(np.arange(200.0).reshape(2, 100)).tolist()

    assert on_ranks(2, make) == [(2 * np.arange(200.0).reshape(2, 100)).tolist()] * 2


def test_a_step_has_two_exchanges():
    """One for the sums and the status, and one for the gradient."""

    def make(ranks):
        trainer = Trainer(
            dense(), losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0, ranks=ranks
        )
        counts = []
        for epochs in (1, 2, 3):
            before = ranks.exchanges
            trainer.fit(X[:40], T[:40], epochs=epochs, batch_size=4, progress=False)
            counts.append(ranks.exchanges - before)
        return np.diff(counts).tolist()

    assert on_ranks(2, make) == [[2 * 10 + 5] * 2] * 2


def test_a_second_ctrl_c_waits_for_the_end_of_an_exchange():
    done = []
    with Interruption() as interruption, pytest.raises(KeyboardInterrupt):
        with interruption.held():
            with interruption.held():
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
            done.append("inner")
        done.append("outer")
    assert interruption.is_wanted and done == ["inner"]


def test_a_third_ctrl_c_does_not_wait():
    done = []
    with Interruption() as interruption, pytest.raises(KeyboardInterrupt), interruption.held():
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        done.append("inner")
    assert done == []
