"""Training in two phases: an optimizer on batches, then a solver on all samples."""

from __future__ import annotations

import signal
import sys

import numpy as np
import pytest

from chainrule import Activation, Dense, Sequential, Trainer, callbacks, fitting, losses, optimizers
from chainrule.callbacks import Callback
from chainrule.core.errors import ConfigurationError, MissingExtraError, NonFiniteError

RNG = np.random.default_rng(3)
X = RNG.uniform(-1, 1, size=(60, 2))
T = np.sin(3 * X[:, :1] + X[:, 1:])
LOSS = losses.HalfSquaredError()
THEN = {"method": "L-BFGS-B", "iterations": 25}


def trainer(**options):
    model = Sequential([Dense(6), Activation("tanh"), Dense(1)])
    return Trainer(model, LOSS, optimizers.Adam(0.01), rng=0, **options)


def test_the_second_phase_equals_minimize_after_the_first():
    both, first = trainer(), trainer()
    history = both.fit(X, T, epochs=4, then=THEN)
    first.fit(X, T, epochs=4)
    found = fitting.minimize(first.model, LOSS, X, T, "L-BFGS-B", iterations=25)
    np.testing.assert_array_equal(both.model.parameters.value, first.model.parameters.value)
    assert history["loss"][:4] == first.history["loss"]
    assert history["loss"][4:] == found.history["loss"]
    assert history.epochs == 4 + 25
    assert both.run.minimum.value == found.value == float(LOSS(both.model(X), T))
    assert history["loss"][-1] < 0.3 * history["loss"][3]


def test_metrics_validation_and_callbacks_have_a_row_for_each_iteration(tmp_path):
    class Norm(Callback):
        def __init__(self):
            self.epochs = []

        def figures(self, trainer, epoch):
            return {"norm": float(np.linalg.norm(trainer.model.parameters.value))}

        def on_epoch_end(self, trainer, epoch, figures):
            self.epochs.append(epoch)
            y = trainer.model(X[:9])
            assert figures["validation_loss"] == pytest.approx(float(LOSS(y, T[:9])), rel=1e-12)

    ours, norm = trainer(metrics=["mean_absolute_error"]), Norm()
    table = tmp_path / "history.csv"
    history = ours.fit(
        X, T, epochs=2, validation_data=(X[:9], T[:9]), then=THEN,
        callbacks=[norm, callbacks.CSVLogger(table)],
    )  # fmt: skip
    assert norm.epochs == list(range(1, 28))
    assert list(history) == [
        "loss", "mean_absolute_error", "validation_loss", "validation_mean_absolute_error", "norm",
    ]  # fmt: skip
    assert not any(map(np.isnan, history["norm"] + history["mean_absolute_error"]))
    error = np.abs(ours.model(X) - T).mean()
    assert history["mean_absolute_error"][-1] == pytest.approx(error, rel=0.1)
    assert type(history).from_csv(table).to_dict() == history.to_dict()


def test_weights_of_samples_and_frozen_parameters_hold_in_both_phases():
    ours, weights = trainer(), np.where(np.arange(60) < 30, 1.0, 0.0)
    ours.model.build((2,), rng=0)
    ours.model.layers[0].freeze()
    before = ours.model.layers[0].weights.value.copy()
    ours.fit(X, T, epochs=2, sample_weights=weights, then=THEN)
    np.testing.assert_array_equal(ours.model.layers[0].weights.value, before)
    assert LOSS(ours.model(X[:30]), T[:30]) < LOSS(ours.model(X[30:]), T[30:])


def test_a_run_that_was_stopped_does_not_enter_the_second_phase():
    class Stops(Callback):
        def on_epoch_end(self, trainer, epoch, figures):
            if epoch == self.last:
                trainer.stop("enough")

    stops = Stops()
    stops.last = 2
    ours = trainer()
    assert ours.fit(X, T, epochs=4, then=THEN, callbacks=[stops]).epochs == 2
    assert ours.run.minimum is None
    stops.last = 7
    assert ours.fit(X, T, epochs=4, then=THEN, callbacks=[stops]).epochs == 7
    assert ours.run.reason == "enough"
    assert "stopped: enough" in ours.run.minimum.message


def test_ctrl_c_in_the_second_phase_keeps_the_best_so_far():
    class Presses(Callback):
        def on_epoch_end(self, trainer, epoch, figures):
            if epoch == 6:
                signal.raise_signal(signal.SIGINT)

    ours = trainer()
    history = ours.fit(X, T, epochs=3, then=THEN, callbacks=[Presses()])
    assert history.epochs == 6
    assert ours.run.reason == "Ctrl-C"
    assert float(LOSS(ours.model(X), T)) == pytest.approx(min(history["loss"]), rel=1e-12)


@pytest.mark.parametrize("event", ["figures", "on_epoch_end"])
@pytest.mark.parametrize("kind", [NonFiniteError, KeyboardInterrupt])
def test_an_error_in_the_second_phase_leaves_parameters_and_history_that_agree(event, kind):
    class Fails(Callback):
        def figures(self, trainer, epoch):
            if event == "figures" and epoch == 6:
                raise kind("planted")
            return {}

        def on_epoch_end(self, trainer, epoch, figures):
            if event == "on_epoch_end" and epoch == 5:
                raise kind("planted")

    ours = trainer()
    with pytest.raises(kind, match="planted") as caught:
        ours.fit(X, T, epochs=3, then=THEN, callbacks=[Fails()])
    if kind is NonFiniteError:
        assert caught.value.place == f"iteration {2 + (event == 'figures')} of L-BFGS-B"
    assert ours.history.epochs == 5
    assert ours.history["loss"][4] < ours.history["loss"][3] < ours.history["loss"][2]
    assert float(LOSS(ours.model(X), T)) == pytest.approx(ours.history["loss"][4], rel=1e-12)
    assert ours.run.is_failed


def test_a_run_that_is_resumed_begins_the_second_phase_again(tmp_path):
    once, again, later = trainer(), trainer(), trainer()
    history = once.fit(X, T, epochs=3, then=THEN)
    first = again.fit(X, T, epochs=3, then=THEN, callbacks=[callbacks.Checkpoint(tmp_path)])
    assert first.to_dict() == history.to_dict()
    resumed = later.fit(X, T, epochs=3, then=THEN, resume_from=tmp_path)
    assert resumed.to_dict() == history.to_dict()
    np.testing.assert_array_equal(later.model.parameters.value, once.model.parameters.value)


def test_without_targets_as_for_a_differential_equation():
    model = Sequential([Dense(4), Activation("tanh"), Dense(1)])
    ours = Trainer(model, losses.MeanSquare(), optimizers.Adam(0.01), rng=0)
    history = ours.fit(X, epochs=3, then="L-BFGS-B")
    assert history["loss"][-1] < 1e-12


REFUSED = {
    "an unknown method": ((X, T), "LBFGS", "did you mean 'L-BFGS-B'"),
    "an unknown setting": ((X, T), {"methods": "BFGS"}, "a dictionary of its settings"),
    "a number": ((X, T), 5, "a dictionary of its settings"),
    "batches": (([(X, T), (X, T)],), "BFGS", "needs all samples in memory"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_second_phases_are_refused_before_anything_changes(case):
    data, then, words = REFUSED[case]
    ours = trainer()
    with pytest.raises(ConfigurationError) as caught:
        ours.fit(*data, epochs=2, then=then)
    assert words in str(caught.value)
    assert not ours.model.is_built
    assert ours.run is None


def test_a_missing_scipy_is_named_before_the_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    ours = trainer()
    with pytest.raises(MissingExtraError, match="then=… needs scipy"):
        ours.fit(X, T, then="BFGS")
    assert not ours.model.is_built
