"""The example keeps its promise: the energy of the ground state, by Monte Carlo, in seconds."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import check_layer


@pytest.fixture
def program(example):
    return example("variational_monte_carlo")


def test_the_energy_is_that_of_the_exact_ground_state(program, tmp_path, capsys, png_size):
    """For n spins at h = J, free fermions have the energy −2/sin(π/2n) (P. Pfeuty 1970)."""
    found = program["main"](steps=70, chains=300, output=tmp_path)
    exact = -2 / np.sin(np.pi / 16)
    assert found["exact"] == pytest.approx(exact, rel=1e-12)
    assert found["energy"] == pytest.approx(exact, rel=1e-4)
    assert abs(found["energy"] - found["of all states"]) < 5 * found["standard error"]
    assert exact <= found["of all states"] < exact * (1 - 1e-4)
    assert found["seconds"] < 10
    assert f"{found['energy']:.5f}" in capsys.readouterr().out
    assert png_size(tmp_path / "variational_monte_carlo.png") == (1500, 600)


def test_the_energy_of_a_state_is_that_of_the_matrix(program):
    """E(s) = (H ψ)(s)/ψ(s)."""
    model, matrix = program["wave_function"](rng=1), program["hamiltonian"]()
    states = program["all_states"]()
    psi = np.exp(model(states)[:, 0])
    np.testing.assert_allclose(
        program["local_energies"](model, states), matrix @ psi / psi, rtol=1e-10
    )
    np.testing.assert_array_equal(matrix, matrix.T)


def test_the_chains_visit_the_states_as_often_as_the_square_of_the_wave_function(program):
    rng = np.random.default_rng(0)
    model = program["wave_function"](rng=2)
    model.parameters.value *= 2  # further from a constant
    states = program["all_states"]()
    weights = np.exp(2 * model(states)[:, 0])
    weights /= weights.sum()
    samples = program["metropolis"](model, rng.choice([-1.0, 1.0], (10000, 8)), 15, rng)
    along = np.mean(samples * np.roll(samples, 1, axis=1))
    expected = weights @ np.mean(states * np.roll(states, 1, axis=1), axis=1)
    assert abs(expected) > 0.1
    assert along == pytest.approx(expected, abs=0.02)
    count = np.bincount(((samples < 0) @ (1 << np.arange(8))).astype(int), minlength=256)
    chi_squared = np.sum((count - 10000 * weights) ** 2 / (10000 * weights))
    assert chi_squared < 255 + 5 * np.sqrt(2 * 255)


def test_rotations_keep_the_laws_and_make_the_wave_function_symmetric(program):
    assert check_layer(program["Rotations"](), (5,)).ok
    model = program["wave_function"]()
    state = np.array([[1.0, -1, -1, 1, 1, 1, -1, 1]])
    np.testing.assert_allclose(model(np.roll(state, 3, axis=1)), model(state), rtol=1e-13)


def test_a_step_is_the_gradient_in_the_metric_of_the_states(program):
    """O(s) by central differences, S and g as covariances of the samples."""
    model, rng = program["wave_function"](rng=1), np.random.default_rng(0)
    states = rng.choice([-1.0, 1.0], (60, 8))
    theta, h = model.parameters.value.copy(), 1e-6
    rows = []
    for direction in np.eye(len(theta)):
        moved = []
        for sign in (1, -1):
            model.parameters.value = theta + sign * h * direction
            moved.append(model(states)[:, 0])
        rows.append((moved[0] - moved[1]) / (2 * h))
    model.parameters.value = theta
    energies = program["local_energies"](model, states)
    together = np.cov(np.vstack([rows, energies]), bias=True)
    step = -0.1 * np.linalg.solve(together[:-1, :-1] + 0.01 * np.eye(len(theta)), together[:-1, -1])
    energy, _ = program["reconfigure"](model, states, rate=0.1, shift=0.01)
    assert energy == pytest.approx(energies.mean())
    np.testing.assert_allclose(model.parameters.value - theta, step, rtol=1e-6, atol=1e-9)
