"""The example keeps its promise: the curves of networks cross at Onsager's temperature."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


@pytest.fixture
def program(example):
    return example("ising_phases")


def test_the_error_bar_covers_the_critical_temperature(program, tmp_path, capsys, png_size):
    found = program["main"](
        sizes=(8, 16), members=8, rows=120, sweeps=15, epochs=20, output=tmp_path
    )
    exact = 2 / np.log(1 + np.sqrt(2))
    assert 0.002 < found["critical error"] < 0.05
    assert abs(found["critical"] - exact) < 3 * found["critical error"]
    assert f"{found['critical']:.3f} ± " in capsys.readouterr().out
    assert png_size(tmp_path / "ising_phases.png") == (1500, 600)


def test_the_sweeps_give_the_energy_and_magnetisation_of_all_states(program):
    """4 × 4 spins have 65,536 states."""
    states = np.array(list(itertools.product([-1, 1], repeat=16)), np.int8).reshape(-1, 4, 4)
    size = np.abs(states.sum(axis=(1, 2))) / 16
    temperatures = np.array([1.8, 2.3, 3.0])
    rng = np.random.default_rng(0)
    samples = program["configurations"](4, np.repeat(temperatures, 4000), 8, rng)
    for number, temperature in enumerate(temperatures):
        weights = np.exp(-energy(states) / temperature)
        weights /= weights.sum()
        own = samples[4000 * number : 4000 * (number + 1)]
        assert np.mean(energy(own)) == pytest.approx(weights @ energy(states), abs=0.6)
        assert np.mean(np.abs(own.mean(axis=(1, 2)))) == pytest.approx(weights @ size, abs=0.02)
        assert abs(np.mean(own)) < 0.06  # both signs are equally frequent


def energy(spins):
    along = sum(spins * np.roll(spins, 1, axis) for axis in (1, 2))
    return -along.sum(axis=(1, 2))


def test_the_clusters_are_the_connected_components(program):
    rng = np.random.default_rng(0)
    first, second = rng.integers(300, size=(2, 200))
    label = program["clusters"](300, first, second)
    _, expected = connected_components(coo_array((np.ones(200), (first, second)), (300, 300)))
    smallest = np.array([np.flatnonzero(expected == own)[0] for own in expected])
    np.testing.assert_array_equal(label, smallest)


def test_a_block_has_the_sign_of_its_majority(program):
    spins = -np.ones((1, 16, 16))
    spins[0, :2, :2] = [[1, 1], [1, -1]]  # three of four
    spins[0, 14:, 14:] = 1
    spins[0, 0, 2] = 1  # one of four
    blocks = program["block_spins"](spins, np.random.default_rng(0))
    expected = -np.ones((8, 8))
    expected[0, 0] = expected[7, 7] = 1
    np.testing.assert_array_equal(blocks[0], expected)
    ties = np.tile([1.0, -1.0], (1000, 16, 8))
    assert abs(program["block_spins"](ties, np.random.default_rng(0)).mean()) < 0.02
    own = np.random.default_rng(0).choice([-1.0, 1.0], (5, 8, 8))
    np.testing.assert_array_equal(program["block_spins"](own, np.random.default_rng(1)), own)


def test_the_fit_recovers_temperature_and_exponent_of_curves_that_scale(program):
    t = program["BETWEEN"]
    rng = np.random.default_rng(0)
    curves = {}
    for size in (8, 16, 32):
        u = (t - 2.3) * (size / 8) ** (1 / 1.5)  # T_c = 2.3 and ν = 1.5
        curves[size] = 0.6 - 0.8 * u + 0.3 * u**2 + 1e-3 * rng.normal(size=(4, len(t)))
    for fit in program["fitted"](curves):
        assert fit["critical"].value == pytest.approx(2.3, abs=2e-3)
        assert fit["nu"].value == pytest.approx(1.5, abs=0.05)
