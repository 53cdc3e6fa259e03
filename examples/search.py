"""Three searches for a network that reads digits: a grid, random draws, and Optuna.

    python examples/search.py

`interop.sklearn.Classifier` is an estimator of scikit-learn, and what a search varies are its
parameters: ``model__dense_1__units`` is the width of the first layer. So nothing here is made for
searching but six lines, `pruning`, which report the loss of each epoch to Optuna and end a trial
that is worse than most others were at this epoch.

The grid runs in processes of this machine, the random draws on a Dask cluster, which here is on
this machine, too.
"""

from __future__ import annotations

import argparse

import joblib
import optuna
from dask.distributed import Client
from scipy.stats import loguniform, randint
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

from chainrule import Activation, Dense, Sequential, callbacks, datasets, interop, optimizers


def classifier(epochs, seed, **how):
    """A small network, of which each search varies the width and the learning rate."""
    model = Sequential([Dense(16), Activation("tanh")])
    return interop.sklearn.Classifier(
        model, learning_rate=1e-2, epochs=epochs, random_state=seed, **how
    )


def grid(epochs, seed, processes, x, t):
    """Every combination of three widths and two learning rates, in processes."""
    choices = {"model__dense_1__units": [4, 16, 64], "learning_rate": [1e-3, 1e-2]}
    search = GridSearchCV(classifier(epochs, seed), choices, cv=3, n_jobs=processes)
    return search.fit(x, t)


def random(epochs, seed, processes, trials, x, t):
    """Random draws on a Dask cluster; another address trains on other machines."""
    draws = {
        "model__dense_1__units": randint(4, 65),
        "model__activation_1__function": ["tanh", "relu", "gelu"],
        "learning_rate": loguniform(1e-3, 1e-1),
    }
    search = RandomizedSearchCV(
        classifier(epochs, seed), draws, n_iter=trials, cv=3, random_state=seed
    )
    where = {"n_workers": processes, "threads_per_worker": 1, "dashboard_address": None}
    with Client(**where), joblib.parallel_config("dask"):
        return search.fit(x, t)


def pruning(trial):
    """A callback that ends a trial which Optuna considers hopeless."""

    def report(trainer, epoch, figures):
        trial.report(figures["validation_loss"], epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    return callbacks.FromFunctions(on_epoch_end=report)


def pruned(epochs, seed, trials, x, t):
    """Optuna draws where earlier trials were good, and ends those that begin badly."""

    def objective(trial):
        network = classifier(epochs, seed, early_stopping=True, callbacks=[pruning(trial)])
        network.set_params(
            model__dense_1__units=trial.suggest_int("units", 4, 64, log=True),
            optimizer=optimizers.Adam(),
            learning_rate=trial.suggest_float("learning_rate", 1e-4, 1.0, log=True),
        )
        return min(network.fit(x, t).history_["validation_loss"])

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2),
    )
    study.optimize(objective, trials)
    return study


def shown(params) -> str:
    """The parameters of a network on one line."""
    each = (f"{name} {v if isinstance(v, str) else f'{v:.3g}'}" for name, v in params.items())
    return ", ".join(each)


def main(epochs: int = 20, trials: int = 10, processes: int = 2, seed: int = 0) -> dict:
    """Search three times, and return the accuracy of each best network on unseen digits."""
    x, t, x_test, t_test = datasets.digits("float32")
    searches = {
        "grid": grid(epochs, seed, processes, x, t),
        "random": random(epochs, seed, processes, trials, x, t),
    }
    found = {}
    for name, search in searches.items():
        found[name] = search.score(x_test, t_test)
        print(f"{name}: {len(search.cv_results_['params'])} networks, three times each")
        print(f"  best {shown(search.best_params_)}")
        print(f"  {100 * found[name]:.1f} % of {len(t_test)} unseen digits recognized")

    study = pruned(epochs, seed, trials, x, t)
    ended = sum(trial.state == optuna.trial.TrialState.PRUNED for trial in study.trials)
    best = classifier(epochs, seed).set_params(
        model__dense_1__units=study.best_params["units"],
        learning_rate=study.best_params["learning_rate"],
    )
    found["optuna"] = best.fit(x, t).score(x_test, t_test)
    print(f"optuna: {len(study.trials)} networks, {ended} of them ended early")
    print(f"  best {shown(study.best_params)}")
    print(f"  {100 * found['optuna']:.1f} % of {len(t_test)} unseen digits recognized")
    return {**found, "ended": ended, "trials": len(study.trials)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    main(**vars(parser.parse_args()))
