"""Energies that stay: networks that learn a motion, over a hundred periods.

    oscillator        H = (q² + p²)/2
    pendulum          H = p²/2 + 1 − cos q
    double pendulum   L = ω_1² + ω_2²/2 + ω_1 ω_2 cos(φ_1 − φ_2) + 2 cos φ_1 + cos φ_2

A `Hamiltonian` network learns the first two from pairs of states that are 0.2 apart, without noise,
through one step of a `NeuralODE`; a plain network of the same width, for the velocities themselves,
learns from the same pairs with the same optimizer. Then both run for a hundred periods, by rk4 in
steps of 0.1. Its own error is in the results, from the exact field. A `Lagrangian` network learns
the double pendulum from accelerations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import ellipk

from chainrule import (
    Activation,
    Add,
    Dense,
    Graph,
    Input,
    Layer,
    Sequential,
    Slice,
    Trainer,
    callbacks,
    fitting,
    losses,
    optimizers,
    physics,
    schedules,
)

TOLERANCE = 1.0  # the errors of trained networks, on other processors
AMPLITUDES = (0.5, 1.0, 1.5)
STEP, PERIODS, EPOCHS = 0.1, 100, 400


def network(inputs: int, outputs: int, width: int = 32, function: str = "tanh") -> Sequential:
    """Two hidden layers."""
    hidden = [Dense(width), Activation(function), Dense(width), Activation(function)]
    model = Sequential([*hidden, Dense(outputs)])
    model.build((inputs,), rng=0)
    return model


def energy_of(system: str, y: Any) -> Any:
    """The true energy of states (q, p)."""
    q, p = y[..., 0], y[..., 1]
    return p**2 / 2 + (q**2 / 2 if system == "oscillator" else 1 - np.cos(q))


class Exact(Layer):
    """The true velocities, for the error of the solver."""

    system: str

    def forward(self, y: Any) -> Any:
        force = -y[:, 0] if self.system == "oscillator" else -np.sin(y[:, 0])
        return np.stack([y[:, 1], force], axis=1)


def paths(
    field: Callable[[float, Any], Any], starts: Any, times: Any
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Trajectories by SciPy's DOP853, (starts, times, n)."""
    ends = (times[0], times[-1])
    options = {"method": "DOP853", "t_eval": times, "rtol": 1e-11, "atol": 1e-12}
    return np.stack([solve_ivp(field, ends, start, **options).y.T for start in starts])


def learned(system: str, field: Layer) -> Layer:
    """The field, after training on 800 pairs of states that are 0.2 apart."""
    rng = np.random.default_rng(0)
    starts = [s for s in rng.uniform(-2, 2, (200, 2)) if energy_of(system, s) < 1.4][:40]
    truth = Exact(system)
    states = paths(lambda t, y: truth.forward(y[np.newaxis])[0], starts, np.linspace(0, 4, 21))
    pairs = np.concatenate([states[:, n : n + 2] for n in range(20)])
    model = physics.NeuralODE(field, [0.0, 0.2])
    decay = callbacks.LearningRate(schedules.Cosine(0.01, steps=EPOCHS * 8))
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.Adam(0.01), rng=0)
    trainer.fit(
        pairs[:, 0], pairs, epochs=EPOCHS, batch_size=100, callbacks=[decay], progress=False
    )
    return field


def energies(system: str, field: Layer) -> dict[str, Any]:
    """E/E_0 after each period for the middle amplitude, and the largest change of all."""
    ratios = []
    for amplitude in AMPLITUDES:
        period = 4 * ellipk(np.sin(amplitude / 2) ** 2) if system == "pendulum" else 2 * np.pi
        times = np.arange(4 * PERIODS + 1) * period / 4
        substeps = int(np.ceil(period / 4 / STEP))
        y = physics.NeuralODE(field, times, substeps=substeps)(np.array([[amplitude, 0.0]]))[0]
        energy = energy_of(system, y)
        ratios.append(energy / energy[0])
    largest = max(float(np.abs(r - 1).max()) for r in ratios)
    return {"largest change": largest, "each period": ratios[1][::4].round(6).tolist()}


# ------------------------------------------------------------------------------- double pendulum


def accelerations(t: float, y: Any) -> Any:
    """The velocity of a state (φ_1, φ_2, ω_1, ω_2), from the textbook; masses, rods and g are 1."""
    a, b, u, v = y
    mass = [[2, np.cos(a - b)], [np.cos(a - b), 1]]
    force = [-(v**2) * np.sin(a - b) - 2 * np.sin(a), u**2 * np.sin(a - b) - np.sin(b)]
    return np.array([u, v, *np.linalg.solve(mass, force)])


def double_energy(y: Any) -> Any:
    """The true energy, above that of rest."""
    a, b, u, v = np.moveaxis(y, -1, 0)
    return u**2 + v**2 / 2 + u * v * np.cos(a - b) - 2 * np.cos(a) - np.cos(b) + 3


def lagrangian() -> Layer:
    """A network plus a kinetic energy, which makes the mass matrix regular from the start."""
    square = Activation(lambda z: z**2, lambda z: 2 * z)
    kinetic = Sequential([Slice(2, 4), square, Dense(1, use_bias=False, initializer=0.5)])
    x = Input((4,))
    model = Graph(x, Add()(network(4, 1, function="softplus")(x), kinetic(x)))
    return physics.Lagrangian(model)


def double_pendulum() -> dict[str, Any]:
    """Relative L2 errors of five unseen trajectories up to t = 10, and their energies to 100."""
    rng = np.random.default_rng(0)
    starts = np.concatenate([rng.uniform(-1, 1, (45, 2)), np.zeros((45, 2))], axis=1)
    truth = paths(accelerations, starts, np.linspace(0, 10, 51))
    x, test = truth[:40, ::2].reshape(-1, 4), truth[40:]
    t = np.stack([accelerations(0, row) for row in x])
    found = {}
    for name, model in (
        ("lagrangian", lagrangian()),
        ("plain", network(4, 4, function="softplus")),
    ):
        trainer = Trainer(model, losses.HalfSquaredError(), optimizers.Adam(0.01), rng=0)
        trainer.fit(x, t, epochs=60, batch_size=100, progress=False)
        fitting.minimize(model, losses.HalfSquaredError(), x, t, iterations=800, progress=False)
        y = physics.NeuralODE(model, np.linspace(0, 10, 51), substeps=4)(test[:, 0])
        error = np.linalg.norm(y - test, axis=(1, 2)) / np.linalg.norm(test, axis=(1, 2))
        y = physics.NeuralODE(model, np.linspace(0, 100, 101), substeps=20)(test[:, 0])
        energy = double_energy(y)
        found[name] = {
            "relative L2 error": float(np.sqrt(np.mean(error**2))),
            "mean change of energy": float(np.mean(np.abs(energy / energy[:, :1] - 1))),
        }
    return found


def run() -> dict[str, Any]:
    """The energies of the three systems, learned in two ways."""
    found: dict[str, Any] = {}
    for system in ("oscillator", "pendulum"):
        found[system] = {
            "hamiltonian": energies(system, learned(system, physics.Hamiltonian(network(2, 1)))),
            "plain": energies(system, learned(system, network(2, 2))),
            "solver": energies(system, Exact(system))["largest change"],
        }
    found["double pendulum"] = double_pendulum()
    return found
