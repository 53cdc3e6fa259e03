"""The example keeps its promise: the operator learns the step, at every resolution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp


def test_the_operator_learns_a_step_better_than_convolutions_of_the_same_size(
    example, tmp_path, capsys, png_size
):
    found = example("burgers")["main"](epochs=6, count=400, output=tmp_path)
    coarse, fine, local, local_fine = found.values()
    assert coarse < 0.25 and fine < 1.2 * coarse
    assert local > 1.5 * coarse and local_fine > 2 * fine
    assert f"{coarse:8.4f}" in capsys.readouterr().out
    assert png_size(tmp_path / "burgers.png") == (1860, 630)


def test_both_networks_have_the_same_size(example):
    program = example("burgers")
    sizes = []
    for make in ("operator", "convolutional"):
        model = program[make]()
        model.build((64, 1), rng=0)
        sizes.append(model.parameters.size)
    assert sizes[1] == pytest.approx(sizes[0], rel=0.01)


def test_the_solver_agrees_with_finite_differences_of_high_order_in_scipy(example):
    """∂u/∂t from central differences on many points, integrated by an adaptive method."""
    program = example("burgers")
    u = program["fields"](1, 512, np.random.default_rng(0), modes=2)
    after = program["solve"](u, 0.05)

    def slope(time, u):
        h, v = 1 / len(u), u**2 / 2
        first = (8 * (np.roll(v, -1) - np.roll(v, 1)) - (np.roll(v, -2) - np.roll(v, 2))) / (12 * h)
        near, far = np.roll(u, -1) + np.roll(u, 1), np.roll(u, -2) + np.roll(u, 2)
        second = (16 * near - far - 30 * u) / (12 * h**2)
        return program["VISCOSITY"] * second - first

    reference = solve_ivp(slope, (0, 0.05), u[0], method="LSODA", rtol=1e-9, atol=1e-10).y[:, -1]
    np.testing.assert_allclose(after[0], reference, atol=2e-6)


def test_the_mean_of_a_field_is_kept(example):
    program = example("burgers")
    u = program["fields"](3, 512, np.random.default_rng(1)) + 0.3
    np.testing.assert_allclose(program["solve"](u, 0.5).mean(axis=1), 0.3, atol=1e-13)
