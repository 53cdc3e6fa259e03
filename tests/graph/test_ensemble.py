"""Ensembles: members that are networks of their own, and what their spread says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from chainrule import (
    Activation,
    Branches,
    Dense,
    Ensemble,
    Graph,
    Input,
    Sequential,
    Trainer,
    load,
    losses,
    optimizers,
)
from chainrule.core.errors import ConfigurationError, DefinitionError, ShapeError


def network(outputs=1):
    return Sequential([Dense(6), Activation("tanh"), Dense(outputs)])


def built(members=3, outputs=1, **options):
    ensemble = Ensemble(network(outputs), members, **options)
    ensemble.build((1,), rng=0)
    return ensemble


def data(rows=20, seed=0):
    x = np.random.default_rng(seed).uniform(-1, 1, (rows, 1))
    return x, np.sin(3 * x)


def test_the_outputs_are_those_of_the_members_which_differ():
    ensemble, (x, _) = built(), data()
    outputs = ensemble(x)
    assert len(outputs) == 3
    for member, output in zip(ensemble.networks, outputs, strict=True):
        np.testing.assert_array_equal(member(x), output)
    assert not np.allclose(outputs[0], outputs[1]) and not np.allclose(outputs[1], outputs[2])


def test_mean_and_deviation_are_those_of_the_outputs():
    ensemble, (x, _) = built(outputs=2), data()
    a, b, c = ensemble(x)
    mean = (a + b + c) / 3
    np.testing.assert_allclose(ensemble.mean(x), mean, rtol=1e-13)
    spread = np.sqrt(((a - mean) ** 2 + (b - mean) ** 2 + (c - mean) ** 2) / 2)
    np.testing.assert_allclose(ensemble.deviation(x), spread, rtol=1e-12)


def test_the_variance_of_gaussian_members_is_that_of_samples_from_their_mixture():
    ensemble, x = built(members=4, outputs=2, gaussian=True, floor=0.5), np.array([[0.3]])
    rng = np.random.default_rng(0)
    samples = [
        rng.normal(y[0, 0], np.sqrt(np.exp(y[0, 1]) + 0.25), size=200_000) for y in ensemble(x)
    ]
    means = [y[0, 0] for y in ensemble(x)]
    # The variance of the means is estimated from four members: 4/3 of that of the samples.
    expected = np.var(np.concatenate(samples)) + np.var(means) / 3
    assert ensemble.deviation(x).item() ** 2 == pytest.approx(expected, rel=0.01)
    assert ensemble.mean(x).item() == pytest.approx(np.mean(samples), abs=0.01)
    noise = np.mean([np.exp(y[0, 1]) + 0.25 for y in ensemble(x)])
    exact = np.sqrt(noise + np.var(means, ddof=1))
    assert ensemble.deviation(x).item() == pytest.approx(exact, rel=1e-12)
    assert ensemble.mean(x).shape == (1, 1)


@pytest.mark.parametrize("probability", [0.5, 0.95])
def test_the_band_is_the_interval_of_the_normal_distribution(probability):
    ensemble, (x, _) = built(scale=1.7), data()
    band = ensemble.band(x, probability)
    deviation = 1.7 * np.std(ensemble(x), axis=0, ddof=1)
    expected = stats.norm.interval(probability, ensemble.mean(x), deviation)
    np.testing.assert_allclose(band, expected, rtol=1e-10)


@pytest.mark.parametrize("bootstrap", [False, True])
def test_a_member_trains_as_it_would_alone(bootstrap):
    ensemble, (x, t) = built(), data()
    weights = ensemble.bootstrap(len(x), rng=1) if bootstrap else None
    alone = [network() for _ in range(3)]
    for member, copy in zip(ensemble.networks, alone, strict=True):
        copy.build((1,), rng=0)
        copy.parameters.value[...] = member.parameters.value
    loss = losses.MeanSquaredError()
    how = {"epochs": 3, "batch_size": 7, "progress": False}
    trainer = Trainer(ensemble, [loss] * 3, optimizers.Adam(0.01), rng=5)
    trainer.fit(x, (t,) * 3, sample_weights=weights, **how)
    for number, (member, copy) in enumerate(zip(ensemble.networks, alone, strict=True)):
        own = None if weights is None else weights[number]
        Trainer(copy, loss, optimizers.Adam(0.01), rng=5).fit(x, t, sample_weights=own, **how)
        np.testing.assert_allclose(copy.parameters.value, member.parameters.value, rtol=1e-10)


def test_members_learn_classes_from_labels():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=60)
    x = np.eye(3)[labels] + rng.normal(scale=0.1, size=(60, 3))
    ensemble = Ensemble(Dense(3), 2)
    trainer = Trainer(ensemble, [losses.SoftmaxCrossEntropy()] * 2, optimizers.Adam(0.1), rng=0)
    trainer.fit(x, (labels,) * 2, epochs=20, progress=False)
    assert np.mean(ensemble.mean(x).argmax(axis=1) == labels) > 0.95


def test_the_bootstrap_draws_each_row_as_often_as_chance_would():
    counts = built(members=50).bootstrap(100)
    assert len(counts) == 50 and not np.array_equal(counts[0], counts[1])
    assert all(count.sum() == 100 for count in counts)
    # Binomial, n = 100 and p = 1/100: mean 1, and (1 − 1/100)¹⁰⁰ = 36.6 % are left out.
    assert np.mean(np.equal(counts, 0)) == pytest.approx(0.366, abs=0.02)
    assert np.array_equal(built(members=50).bootstrap(100, rng=0), counts)
    assert not np.array_equal(built(members=50).bootstrap(100, rng=1), counts)


def test_calibration_finds_the_scale_that_is_most_likely():
    ensemble, (x, t) = built(outputs=1), data(50)
    deviation, mean = ensemble.deviation(x), ensemble.mean(x)
    scale = ensemble.calibrate(x, t)
    assert scale == ensemble.scale
    np.testing.assert_allclose(ensemble.deviation(x), scale * deviation, rtol=1e-14)
    assert np.mean(((t - mean) / ensemble.deviation(x)) ** 2) == pytest.approx(1)
    likelihood = {
        s: stats.norm.logpdf(t, mean, s * deviation).sum()
        for s in scale * np.array([0.5, 0.99, 1.0, 1.01, 2.0])
    }
    assert max(likelihood, key=likelihood.get) == scale
    assert ensemble.calibrate(x, t) == pytest.approx(scale)  # it does not build on the last one


def test_a_saved_ensemble_returns_with_its_scale(tmp_path):
    ensemble, (x, t) = built(), data()
    ensemble.calibrate(x, t)
    ensemble.save(tmp_path / "model")
    copy = load(tmp_path / "model")
    assert copy == ensemble and copy.scale == ensemble.scale
    np.testing.assert_array_equal(copy.band(x), ensemble.band(x))


def test_an_ensemble_is_part_of_a_graph():
    x = Input((2,))
    model = Graph(x, Ensemble(Dense(3), 2)(Activation("tanh")(x)))
    assert [y.shape for y in model(np.ones((5, 2)))] == [(5, 3), (5, 3)]


@pytest.mark.parametrize(
    "ensemble",
    [Ensemble(Dense(2), 3), Ensemble(network(2), 5, gaussian=True, floor=0.1, scale=2.0)],
)
def test_the_repr_makes_the_same_ensemble(ensemble):
    assert eval(repr(ensemble)) == ensemble
    ensemble.build((1,), rng=0)
    assert eval(repr(ensemble)) == ensemble


def test_the_network_that_is_given_stays_as_it_is():
    given = network()
    ensemble = Ensemble(given, 2)
    ensemble.build((1,), rng=0)
    assert not given.is_built


def refused(kind, make, *words):
    with pytest.raises(kind) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


def test_what_cannot_be_an_ensemble_is_refused():
    done = network()
    done.build((1,), rng=0)
    refused(ConfigurationError, lambda: Ensemble(done, 3), "already built", "network.unbuilt()")
    refused(DefinitionError, lambda: Ensemble([Dense(3)], 3), "copies of a network")
    refused(DefinitionError, lambda: Ensemble(Dense, 3), "Dense")
    for members in (1, 2.5, "3", True, None):
        refused(ConfigurationError, lambda m=members: Ensemble(Dense(2), m), "2 or more")
    refused(ConfigurationError, lambda: Ensemble(Dense(2), 2, scale=-1), "scale")
    refused(ConfigurationError, lambda: Ensemble(Dense(2), 2, gaussian=1), "gaussian")


def test_what_cannot_be_predicted_or_calibrated_is_refused():
    ensemble, (x, t) = built(), data()
    refused(ConfigurationError, lambda: ensemble.band(x, 95), "0 < probability < 1", "0.95")
    refused(ShapeError, lambda: ensemble.calibrate(x, t[:, 0]), "(20, 1)", "np.newaxis")
    refused(ShapeError, lambda: ensemble.calibrate(x[:0], t[:0]), "one target")
    refused(ConfigurationError, lambda: ensemble.calibrate(x, t + np.nan), "cannot be scaled")
    for member in ensemble.networks:
        member.parameters.value[...] = 0.0
    refused(ConfigurationError, lambda: ensemble.calibrate(x, t), "train the ensemble first")
    assert ensemble.scale == 1.0
    odd = built(outputs=3, gaussian=True)
    refused(ShapeError, lambda: odd.mean(x), "means and log variances", "even")
    several = Ensemble(Branches([Dense(1), Dense(1)]), 2)
    several.build((1,), rng=0)
    refused(ShapeError, lambda: several.mean(x), "4 outputs")
