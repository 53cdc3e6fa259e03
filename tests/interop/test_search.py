"""Searches: in processes, threads and on Dask with the same numbers; trials that are ended."""

from __future__ import annotations

import importlib
import runpy
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import optuna
import pytest
from dask.distributed import Client
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chainrule import (
    Activation,
    Dense,
    Layer,
    Sequential,
    Trainer,
    callbacks,
    datasets,
    losses,
    optimizers,
)
from chainrule.errors import ConfigurationError
from chainrule.interop.sklearn import Classifier, Regressor

pytestmark = pytest.mark.edges

EXAMPLE = Path(__file__).parents[2] / "examples" / "search.py"


@pytest.fixture(scope="module")
def digits() -> Any:
    found = datasets.digits()
    return found.x_train[:200], found.t_train[:200]


@pytest.fixture(scope="module")
def example() -> Any:
    return runpy.run_path(str(EXAMPLE))


def grid(**how: Any) -> GridSearchCV:
    """A search over architectures."""
    model = Sequential([Dense(4), Activation("tanh")])
    pipeline = make_pipeline(StandardScaler(), Classifier(model, epochs=10, random_state=0))
    choices = [
        {
            "classifier__model__dense_1__units": [4, 16],
            "classifier__model__activation_1__function": ["tanh", "relu"],
            "classifier__learning_rate": [0.01],
        },
        {"classifier__model": [None, Sequential([Dense(8), Activation("gelu"), Dense(10)])]},
    ]
    return GridSearchCV(pipeline, choices, cv=2, error_score="raise", **how)


@pytest.fixture(scope="module")
def alone(digits: Any) -> Any:
    """The search in this process."""
    return grid().fit(*digits)


def require_same(found: Any, expected: Any, digits: Any) -> None:
    x, _ = digits
    for name in ("split0_test_score", "split1_test_score"):
        np.testing.assert_array_equal(found.cv_results_[name], expected.cv_results_[name])
    np.testing.assert_allclose(found.predict_proba(x), expected.predict_proba(x), rtol=1e-12)


@pytest.mark.parametrize("where", ["loky", "threading"])
def test_a_search_over_architectures_has_the_same_numbers(alone, digits, where):
    with joblib.parallel_config(where):
        require_same(grid(n_jobs=2).fit(*digits), alone, digits)


def test_a_search_on_dask_has_the_same_numbers(alone, digits):
    where = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with Client(**where), joblib.parallel_config("dask"):
        require_same(grid().fit(*digits), alone, digits)


def test_the_search_finds_what_each_network_scores_alone(alone, digits):
    results = alone.cv_results_
    assert len(results["params"]) == 6
    assert np.ptp(results["mean_test_score"]) > 0.1
    best = results["params"][alone.best_index_]
    refitted = clone(grid().estimator).set_params(**best).fit(*digits)
    np.testing.assert_array_equal(refitted.predict_proba(digits[0]), alone.predict_proba(digits[0]))


def test_the_model_of_the_search_does_not_change(digits):
    search = grid()
    before = repr(search.estimator[-1].model)
    search.fit(*digits)
    assert repr(search.estimator[-1].model) == before
    assert not search.estimator[-1].model.is_built


def test_a_layer_of_your_own_goes_to_other_processes(digits):
    class Scale(Layer):
        factor: float = 1.0

        def forward(self, inputs: Any) -> Any:
            return self.factor * inputs

        def backward(self, delta: Any) -> Any:
            return self.factor * delta

    network = Classifier(Sequential([Scale(1.0), Activation("tanh")]), epochs=5, random_state=0)
    choices = {"model__scale_1__factor": [0.0, 1.0]}
    search = GridSearchCV(network, choices, cv=2, n_jobs=2, error_score="raise").fit(*digits)
    assert search.best_params_ == {"model__scale_1__factor": 1.0}


def test_random_draws_reach_the_optimizer(digits):
    network = Regressor(optimizer=optimizers.SGD(0.1), epochs=2, random_state=0)
    draws = {"optimizer__learning_rate": loguniform(1e-3, 1e-1), "optimizer__momentum": [0.0, 0.9]}
    search = RandomizedSearchCV(network, draws, n_iter=4, cv=2, random_state=0, n_jobs=2)
    search.fit(*digits)
    assert search.best_estimator_.optimizer_.learning_rate == pytest.approx(
        search.best_params_["optimizer__learning_rate"]
    )


def test_a_halving_search_gives_the_best_more_epochs(digits):
    module = importlib.import_module("sklearn.experimental.enable_halving_search_cv")
    assert module is not None  # importing it is what makes the search available
    from sklearn.model_selection import HalvingGridSearchCV

    model = Sequential([Dense(4), Activation("tanh")])
    network = Classifier(model, learning_rate=0.01, random_state=0)
    how = {"resource": "epochs", "min_resources": 3, "max_resources": 27, "cv": 2}
    search = HalvingGridSearchCV(network, {"model__dense_1__units": [2, 8, 32]}, **how)
    search.fit(*digits)
    assert search.best_estimator_.n_iter_ == search.n_resources_[-1] > search.n_resources_[0]
    assert search.best_params_["model__dense_1__units"] == 32


def test_a_network_that_diverges_does_not_end_a_search(digits):
    network = Regressor(Dense(1), optimizer=optimizers.SGD(0.1), random_state=0)
    search = GridSearchCV(network, {"learning_rate": [1e-3, 1e200]}, cv=2)
    with pytest.warns(match="NonFiniteError"), pytest.warns(match="scores are non-finite"):
        search.fit(digits[0], digits[1].astype(float))
    assert search.best_params_ == {"learning_rate": 1e-3}
    assert np.isnan(search.cv_results_["mean_test_score"][1])


def test_a_misspelled_parameter_ends_a_search_with_its_name(digits):
    with pytest.raises(ConfigurationError, match="no parameter 'model__dense_9__units'"):
        GridSearchCV(grid().estimator[-1], {"model__dense_9__units": [3]}).fit(*digits)


# --------------------------------------------------------------------------- trials that are ended


class Seen(callbacks.Callback):
    """Notes that the run has ended."""

    ended = False

    def on_fit_end(self, trainer: Any) -> None:
        self.ended = True


def test_optuna_ends_the_trials_that_are_worse_than_the_median(example, digits):
    study = example["pruned"](12, 0, 12, *digits)
    states = [trial.state for trial in study.trials]
    ended = [t for t in study.trials if t.state == optuna.trial.TrialState.PRUNED]
    complete = optuna.trial.TrialState.COMPLETE
    assert states[:4] == [complete] * 4 and ended
    for trial in ended:
        epoch = max(trial.intermediate_values)
        assert 2 <= epoch < 12  # not in the first
        others = [
            each.intermediate_values[epoch]
            for each in study.trials[: trial.number]
            if each.state == complete and epoch in each.intermediate_values
        ]
        assert min(trial.intermediate_values.values()) > np.median(others)
    assert study.best_value == min(t.value for t in study.trials if t.state == complete)


def test_an_ended_trial_closes_everything_and_leaves_the_best_network(example, digits, tmp_path):
    """`TrialPruned` ends a run as any error in a callback does."""

    class Trial:
        def __init__(self, last: int | None) -> None:
            self.last = last

        def report(self, value: float, step: int) -> None:
            self.step = step

        def should_prune(self) -> bool:
            return self.step == self.last

    model = Sequential([Dense(8), Activation("tanh"), Dense(10)])
    loss, adam = losses.SoftmaxCrossEntropy(), optimizers.Adam(0.01)
    trainer = Trainer(model, loss, adam, rng=0)
    x, t = digits
    how = {"validation_data": (x, t), "epochs": 10}
    seen, kept = Seen(), callbacks.EarlyStopping("validation_loss")
    checkpoint, prune = callbacks.Checkpoint(tmp_path), example["pruning"](Trial(3))
    with pytest.raises(optuna.TrialPruned):
        trainer.fit(x, t, **how, callbacks=[seen, kept, checkpoint, prune])
    assert seen.ended and trainer.history.epochs == kept.best_epoch == 3
    assert trainer.run is not None and trainer.run.is_failed and not trainer.run.is_going
    lowest = trainer.history["validation_loss"][-1]
    assert trainer.evaluate(x, t)["loss"] == pytest.approx(lowest, rel=1e-12)

    # Nothing is locked: the run can be resumed, as one that the system has killed.
    more = [seen, kept, checkpoint, example["pruning"](Trial(None))]
    assert trainer.fit(x, t, **how, callbacks=more, resume_from=tmp_path).epochs == 10


def test_the_example_finds_good_networks(example, capsys):
    found = example["main"](epochs=12, trials=6)
    printed = capsys.readouterr().out
    for name in ("grid", "random", "optuna"):
        assert found[name] > 0.9
        assert f"{100 * found[name]:.1f} % of 360" in printed
    assert found["trials"] == 6
