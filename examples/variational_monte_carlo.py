"""The ground state of a quantum spin chain: a network as wave function, optimised by Monte Carlo.

    python examples/variational_monte_carlo.py

The Ising chain in a transverse field has n spins on a ring,

    H = −J Σ σᶻ_i σᶻ_{i+1} − h Σ σˣ_i            at its critical point, h = J = 1

A network maps a configuration s of ±1 to ln ψ(s). Its energy is the mean, over samples of |ψ|², of

    E(s) = Σ_s' H_ss' ψ(s')/ψ(s) = −J Σ s_i s_{i+1} − h Σ_i ψ(s with spin i flipped)/ψ(s)

which is the same for every s if ψ is an eigenstate: the closer to the ground state, the less noise.
The samples come from Metropolis chains, all moved at once. The parameters follow stochastic
reconfiguration (S. Sorella 1998), a gradient in the geometry of the states:

    S Δθ = −η g        g = ⟨(E − ⟨E⟩) (O − ⟨O⟩)⟩        S = ⟨(O − ⟨O⟩)ᵀ (O − ⟨O⟩)⟩

O(s) = ∂ ln ψ(s)/∂θ, one row for each sample, are `derivatives.row_gradients`. The wave function is
G. Carleo and M. Troyer's (Science 355 (2017) 602): the same filters at every place of the ring.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from chainrule import (
    Activation,
    Dense,
    GlobalAveragePool,
    Layer,
    Sequential,
    derivatives,
)

BLUE, VERMILION, INK = "#0072B2", "#D55E00", "#444444"

SPINS, COUPLING, FIELD = 8, 1.0, 1.0


# ------------------------------------------------------------------------------- the network


def log_cosh(z: np.ndarray) -> np.ndarray:
    """The logarithm of cosh z, also where cosh z overflows."""
    return np.logaddexp(z, -z) - np.log(2)


class Rotations(Layer):
    """All rotations of a ring: row i of the output begins at spin i, (spins,) → (spins, spins)."""

    def forward(self, states: np.ndarray) -> np.ndarray:
        self.numbers = np.arange(states.shape[1])
        return states[:, (self.numbers[:, np.newaxis] + self.numbers) % len(self.numbers)]

    def backward(self, delta: np.ndarray) -> np.ndarray:
        row = self.numbers[:, np.newaxis]
        return delta[:, row, (self.numbers - row) % len(self.numbers)].sum(axis=1)


def wave_function(spins: int = SPINS, filters: int = 4, rng: int = 0) -> Sequential:
    """A network for ln ψ: the same filters for all rotations, ln cosh, and the sum of all."""
    model = Sequential(
        [
            Rotations(),
            Dense(filters),
            Activation(log_cosh, np.tanh),
            GlobalAveragePool(),
            Dense(1, use_bias=False, initializer=float(spins)),
        ]
    )
    model.build((spins,), rng=rng)
    model.parameters.value[:-filters] *= 0.3  # begin near ψ = constant, all spins along the field
    return model


# ------------------------------------------------------------------------------- Monte Carlo


def metropolis(
    model: Sequential, states: np.ndarray, sweeps: int, rng: np.random.Generator
) -> np.ndarray:
    """The states of all chains, (chains, spins), after some sweeps; one spin each at a time.

    A flip is accepted with the probability min(1, |ψ(s')/ψ(s)|²), so the chains visit the states as
    often as |ψ|² says.
    """
    states = states.copy()
    chains = np.arange(len(states))
    log_psi = model(states)[:, 0]
    for _ in range(sweeps * states.shape[1]):
        spin = rng.integers(states.shape[1], size=len(states))
        states[chains, spin] *= -1
        new = model(states)[:, 0]
        refused = np.log(rng.random(len(states))) > 2 * (new - log_psi)
        states[chains[refused], spin[refused]] *= -1
        log_psi = np.where(refused, log_psi, new)
    return states


def local_energies(model: Sequential, states: np.ndarray) -> np.ndarray:
    """E(s) for every state."""
    count, spins = states.shape
    flipped = states[:, np.newaxis] * (1 - 2 * np.eye(spins))
    ratios = np.exp(model(flipped.reshape(-1, spins)).reshape(count, spins) - model(states))
    along = np.sum(states * np.roll(states, 1, axis=1), axis=1)
    return -COUPLING * along - FIELD * ratios.sum(axis=1)


def reconfigure(
    model: Sequential, states: np.ndarray, rate: float, shift: float
) -> tuple[float, float]:
    """One step of stochastic reconfiguration; the energy before it, and its standard error."""
    energies = local_energies(model, states)
    rows = derivatives.row_gradients(model, states, np.ones((len(states), 1)))
    rows -= rows.mean(axis=0)
    gradient = rows.T @ (energies - energies.mean()) / len(states)
    metric = rows.T @ rows / len(states) + shift * np.eye(rows.shape[1])
    model.parameters.value -= rate * np.linalg.solve(metric, gradient)
    return float(energies.mean()), float(energies.std() / np.sqrt(len(states)))


# ------------------------------------------------------------------------------- exact


def all_states(spins: int = SPINS) -> np.ndarray:
    """Every configuration of ±1, (2ⁿ, n)."""
    return 1.0 - 2.0 * ((np.arange(2**spins)[:, np.newaxis] >> np.arange(spins)) & 1)


def hamiltonian(spins: int = SPINS) -> np.ndarray:
    """H as a matrix between all states, (2ⁿ, 2ⁿ)."""
    states, numbers = all_states(spins), np.arange(2**spins)
    matrix = np.diag(-COUPLING * np.sum(states * np.roll(states, 1, axis=1), axis=1))
    for spin in range(spins):
        matrix[numbers, numbers ^ (1 << spin)] -= FIELD
    return matrix


def energy_of_all_states(model: Sequential, matrix: np.ndarray) -> float:
    """⟨ψ|H|ψ⟩/⟨ψ|ψ⟩ from all 2ⁿ states: a check, possible only for a few spins."""
    log_psi = model(all_states(int(np.log2(len(matrix)))))[:, 0]
    psi = np.exp(log_psi - log_psi.max())
    return float(psi @ matrix @ psi / (psi @ psi))


# ------------------------------------------------------------------------------- the program


def main(
    steps: int = 100,
    chains: int = 500,
    seed: int = 0,
    output: str | Path = "chainrule-demo",
) -> dict:
    """Optimise the network, draw the energy, and return the printed figures."""
    begin = time.perf_counter()
    rng = np.random.default_rng(seed)
    model = wave_function(rng=seed)
    states = metropolis(model, rng.choice([-1.0, 1.0], (chains, SPINS)), 10, rng)
    history = []
    for _ in range(steps):
        states = metropolis(model, states, 1, rng)
        history.append(reconfigure(model, states, rate=0.1, shift=1e-4))
    samples = []
    for _ in range(20):  # the final energy: more samples, with the parameters at rest
        states = metropolis(model, states, 2, rng)
        samples.append(local_energies(model, states))
    each = np.mean(samples, axis=0)  # the mean of each chain; different chains are independent
    energy, error = float(each.mean()), float(each.std(ddof=1) / np.sqrt(chains))
    seconds = time.perf_counter() - begin
    matrix = hamiltonian()
    exact = float(np.linalg.eigvalsh(matrix)[0])
    found = {
        "energy": energy,
        "standard error": error,
        "exact": exact,
        "relative difference": abs(energy / exact - 1),
        "of all states": energy_of_all_states(model, matrix),
        "seconds": seconds,
    }
    print(f"{SPINS} spins, {model.parameters.size} parameters, {steps} steps, {chains} chains")
    print(f"  energy by Monte Carlo        {energy:.5f} ± {error:.5f}, in {seconds:.1f} s")
    print(f"  exact diagonalisation        {exact:.5f}")
    print(f"  difference                   {energy - exact:.1e}, relative {energy / exact - 1:.1e}")
    print(f"  check: ψ summed over all 2ⁿ  {found['of all states']:.5f}")
    path = Path(output) / "variational_monte_carlo.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(np.array(history), model, matrix).savefig(path, dpi=150)
    print(f"figure: {path}")
    return found


def draw(history: np.ndarray, model: Sequential, matrix: np.ndarray) -> Figure:
    """How far above the ground state the energy is, and the amplitudes of all states."""
    values, vectors = np.linalg.eigh(matrix)
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    above = np.abs(history[:, 0] / values[0] - 1)
    left.semilogy(above, color=BLUE, lw=1, label="samples of this step")
    left.semilogy(-history[:, 1] / values[0], color=INK, lw=1, ls=":", label="standard error")
    left.axhline(1e-4, color=VERMILION, lw=1, label="one part in 10,000")
    left.set(xlabel="step", ylabel="relative difference to the exact energy")
    left.legend(frameon=False)
    states = all_states(int(np.log2(len(matrix))))
    psi = np.exp(model(states)[:, 0])
    exact = np.abs(vectors[:, 0])
    right.loglog(exact, psi / np.linalg.norm(psi), ".", color=BLUE)
    limits = [exact.min(), exact.max()]
    right.loglog(limits, limits, color=INK, lw=1, zorder=0)
    right.set(xlabel="amplitude by exact diagonalisation", ylabel="amplitude of the network")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--chains", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="chainrule-demo", help="a folder for the figure")
    main(**vars(parser.parse_args()))
