"""Training with a loss of the output alone: `fit(x)`."""

from __future__ import annotations

import numpy as np
import pytest
from attrs import define

from chainrule import Dense, Graph, Input, Sequential, Trainer, callbacks, losses, optimizers
from chainrule.core.errors import (
    ConfigurationError,
    DataError,
    DtypeError,
    NonFiniteError,
    ShapeError,
)
from chainrule.losses import Loss

RNG = np.random.default_rng(8)
X = RNG.normal(size=(40, 3))
T = RNG.normal(size=(40, 2))
WEIGHTS = RNG.uniform(size=40)


class Stored:
    """What h5py gives: an array with a shape, in a file."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __len__(self):
        return len(self.array)

    def __getitem__(self, index):
        return self.array[index]


class Pairs:
    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return X[index], None


def trainer(loss=None, **options):
    model = Sequential([Dense(4), Dense(2)])
    return Trainer(model, loss or losses.MeanSquare(), optimizers.SGD(0.05), rng=3, **options)


def reference(**options):
    """The same training, with targets of zeros."""
    ours = trainer(losses.MeanSquaredError())
    return ours, ours.fit(X, 0 * T, epochs=3, batch_size=8, **options)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_fitting_without_targets_equals_fitting_to_zeros(weights):
    expected, history = reference(sample_weights=weights, validation_data=(X[:9], 0 * T[:9]))
    ours = trainer()
    found = ours.fit(
        X, epochs=3, batch_size=8, sample_weights=weights, validation_data=X[:9], progress=False
    )
    np.testing.assert_array_equal(ours.model.parameters.value, expected.model.parameters.value)
    assert found.to_dict() == history.to_dict()
    assert ours.evaluate(X) == expected.evaluate(X, 0 * T)
    assert ours.step(X) == expected.step(X, 0 * T)
    np.testing.assert_array_equal(ours.model.parameters.value, expected.model.parameters.value)


@pytest.mark.parametrize(
    "data",
    [
        (X, None),
        (Stored(X),),
        (Pairs(),),
        ([(X[:20], None), (X[20:], None)],),
        (iter([X[:20], X[20:]] * 3),),
        (lambda rng: rng.normal(size=(20, 3)),),
        (lambda rng: (rng.normal(size=(20, 3)), None, np.ones(20)),),
    ],
)
def test_every_kind_of_data_may_come_without_targets(data):
    needs_steps = callable(data[0]) or hasattr(data[0], "__next__")
    ours = trainer()
    history = ours.fit(*data, epochs=3, **({"steps_per_epoch": 2} if needs_steps else {}))
    assert history["loss"][-1] < history["loss"][0]


def test_validation_data_without_targets_can_be_a_pair_with_none():
    histories = [
        trainer().fit(X, epochs=2, validation_data=given)
        for given in (X[:9], (X[:9], None), (X[:9], None, np.ones(9)), [(X[:9], None)], Pairs())
    ]
    for history in histories[1:4]:
        assert history.to_dict() == histories[0].to_dict()
    assert "validation_loss" in histories[4]


def test_one_output_of_two_may_have_no_target():
    x = Input((3,))
    model = Graph(x, (Dense(2)(x), Dense(2)(x)))
    ours = Trainer(
        model,
        [losses.MeanSquaredError(), losses.MeanSquare()],
        optimizers.SGD(0.05),
        metrics={0: ["mean_absolute_error"]},
        rng=3,
    )
    history = ours.fit(X, (T, None), epochs=3, validation_data=(X, (T, None)))
    assert history["loss"][-1] < history["loss"][0]
    twin = Trainer(model.unbuilt(), [losses.MeanSquaredError()] * 2, optimizers.SGD(0.05), rng=3)
    twin.fit(X, (T, 0 * T), epochs=3)
    np.testing.assert_array_equal(model.parameters.value, twin.model.parameters.value)
    with pytest.raises(DataError, match=r"t\[0\] is missing"):
        ours.fit(X, (None, None))
    with pytest.raises(DataError, match=r"t\[0\] is missing"):
        ours.fit(X)


def test_a_run_without_targets_resumes(tmp_path):
    once, half = trainer(), trainer()
    once.fit(X, epochs=4, batch_size=8)
    half.fit(X, epochs=2, batch_size=8, callbacks=[callbacks.Checkpoint(tmp_path)])
    again = trainer()
    again.fit(X, epochs=4, batch_size=8, resume_from=tmp_path)
    np.testing.assert_array_equal(again.model.parameters.value, once.model.parameters.value)


def test_a_batch_that_produces_infinity_is_written_without_targets(tmp_path):
    from safetensors.numpy import load_file

    @define
    class Steep(Loss):
        takes_targets = False

        def costs(self, y):
            return np.exp(1e6 * y[:, 0])

        def slopes(self, y):
            return np.stack([1e6 * np.exp(1e6 * y[:, 0]), 0 * y[:, 1]], axis=1)

    with pytest.raises(NonFiniteError):
        trainer(Steep()).fit(X, bad_batch=tmp_path / "bad.safetensors")
    assert load_file(tmp_path / "bad.safetensors")["x"].shape == (32, 3)


def test_a_target_for_a_loss_without_and_none_for_a_loss_with_change_nothing():
    ours = trainer()
    with pytest.raises(ConfigurationError, match="depends on the output alone") as caught:
        ours.fit(X, T)
    assert caught.value.place == "t, MeanSquare"
    assert not ours.model.is_built
    other = trainer(losses.MeanSquaredError())
    for call in (other.fit, other.step):
        with pytest.raises(DataError, match="t is missing"):
            call(X)
        assert not other.model.is_built
    with pytest.raises(DataError, match="t of batch 1 is missing"):
        other.fit(lambda rng: X, steps_per_epoch=2)


def test_a_metric_that_needs_a_target_is_refused_before_the_training():
    ours = trainer(metrics=["mean_absolute_error"])
    with pytest.raises(ShapeError, match="mean_absolute_error"):
        ours.fit(X)


def test_targets_of_another_shape_are_converted_and_trained_on():
    @define
    class Total(Loss):
        def target_shape(self, output_shape):
            return ()

        def costs(self, y, target):
            return (y.sum(axis=1) - target) ** 2

        def slopes(self, y, target):
            return np.broadcast_to(2 * (y.sum(axis=1) - target)[:, np.newaxis], y.shape)

    ours = trainer(Total())
    levels = np.arange(-20, 20) // 10
    history = ours.fit(X, levels, epochs=3, validation_data=(X, levels))
    assert history["loss"][-1] < history["loss"][0]
    with pytest.raises(ShapeError) as caught:
        ours.fit(X, T)
    assert caught.value.expected == "(40,), for an output of (40, 2)"


def test_an_own_loss_without_targets_says_how_to_declare_it():
    @define
    class Size(Loss):
        def costs(self, y):
            return np.sum(y**2, axis=1)

        def slopes(self, y):
            return 2 * y

    for call in (lambda: trainer(Size()).fit(X), lambda: trainer(Size()).step(X)):
        with pytest.raises(DataError, match="t is missing") as caught:
            call()
        assert "takes_targets = False" in caught.value.hint
    with pytest.raises(DtypeError) as of_call:
        Size()(X)
    assert "takes_targets = False" in of_call.value.hint
    with pytest.raises(DataError) as known:
        trainer(losses.HalfSquaredError()).fit(X)
    assert "takes_targets" not in known.value.hint
