"""The critical temperature of the Ising model, from networks that learn its two phases.

    python examples/ising_phases.py

Spins of ±1 on a square lattice, with the energy −Σ s_i s_j over neighbours, order below

    T_c = 2/ln(1 + √2) = 2.2692        (L. Onsager 1944)

A network learns to tell configurations from deep inside the ordered phase, T ≤ 2, from those deep
inside the other, T ≥ 2.6, on a lattice of 8 × 8 (after J. Carrasquilla and R. Melko, Nature Physics
13 (2017) 431). It sees neither T_c nor a temperature near it. Then it judges larger lattices in
between. Each block of their spins is replaced by the sign of its majority, so that 8 × 8 block
spins are left (L. Kadanoff 1966; S.-K. Ma 1976). This hides all distances but long ones, and at T_c
the long distances look the same at every size. So the curves of all sizes cross there,

    P(T, L) = f((T − T_c) L^(1/ν))        with one function f, here a polynomial of degree 3

and a fit of this formula gives T_c and ν, which is 1. The error bars are a bootstrap of the whole
analysis: each member of an `Ensemble` learns from its own sample of the lattices, judges its own
sample of the others, and gets its own fit.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from chainrule import (
    Activation,
    Dense,
    Ensemble,
    Flatten,
    Sequential,
    Trainer,
    fitting,
    losses,
    optimizers,
)

BLUE, VERMILION, INK = "#0072B2", "#D55E00", "#444444"

EXACT = 2 / np.log(1 + np.sqrt(2))
BLOCKS = 8
FAR = np.concatenate([np.linspace(1.6, 2.0, 10), np.linspace(2.6, 3.0, 10)])
BETWEEN = np.linspace(2.15, 2.4, 11)


# ------------------------------------------------------------------------------- Monte Carlo


def cluster_sweep(spins: np.ndarray, bind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One step of R. Swendsen and J.-S. Wang (1987), for many lattices (lattices, L, L) at once.

    Equal neighbours are bound with the probability 1 − exp(−2/T), and each cluster of bound spins
    gets a new random sign. Whole clusters turn at once, so a few sweeps are enough even at T_c.
    """
    sites = np.arange(spins.size, dtype=np.int32).reshape(spins.shape)
    pairs = []
    for axis in (1, 2):
        is_bound = spins == np.roll(spins, -1, axis)
        is_bound &= rng.random(spins.shape, dtype=np.float32) < bind[:, np.newaxis, np.newaxis]
        pairs.append((sites[is_bound], np.roll(sites, -1, axis)[is_bound]))
    cluster = clusters(spins.size, *map(np.concatenate, zip(*pairs, strict=True)))
    signs = 2 * rng.integers(0, 2, spins.size, dtype=np.int8) - 1
    return spins * signs[cluster].reshape(spins.shape)


def clusters(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The smallest number in the cluster of each site, for sites that are bound in pairs."""
    label = np.arange(count, dtype=np.int32)
    while len(first):
        one, two = label[first], label[second]
        np.minimum.at(label, np.maximum(one, two), np.minimum(one, two))
        while not np.array_equal(label[label], label):
            label = label[label]
        apart = label[first] != label[second]
        first, second = first[apart], second[apart]
    return label


def configurations(
    length: int, temperatures: np.ndarray, sweeps: int, rng: np.random.Generator
) -> np.ndarray:
    """An independent lattice for each temperature, from a random start: (lattices, L, L)."""
    spins = rng.choice(np.array([-1, 1], np.int8), (len(temperatures), length, length))
    bind = 1 - np.exp(-2 / temperatures).astype(np.float32)
    for _ in range(sweeps):
        spins = cluster_sweep(spins, bind, rng)
    return spins


def block_spins(spins: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The signs of 8 × 8 equal blocks, (lattices, 8, 8); a tie gets a random sign."""
    count, length, _ = spins.shape
    side = length // BLOCKS
    sums = spins.reshape(count, BLOCKS, side, BLOCKS, side).sum(axis=(2, 4))
    return np.sign(sums + rng.uniform(-0.5, 0.5, sums.shape))


# ------------------------------------------------------------------------------- the networks


def trained(members: int, rows: int, sweeps: int, epochs: int, seed: int) -> Ensemble:
    """Networks for the log odds of order, each trained on its own sample of the lattices."""
    rng = np.random.default_rng([seed, 0])
    temperatures = np.repeat(FAR, rows)
    spins = configurations(BLOCKS, temperatures, sweeps, rng).astype(float)
    is_ordered = (temperatures < 2.3).astype(float)[:, np.newaxis]
    network = Sequential([Flatten(), Dense(8), Activation("tanh"), Dense(1)])
    ensemble = Ensemble(network, members)
    trainer = Trainer(
        ensemble,
        [losses.SigmoidCrossEntropy()] * members,
        optimizers.AdamW(3e-3, weight_decay=0.1),
        rng=seed,
    )
    weights = ensemble.bootstrap(len(spins), rng)
    targets = (is_ordered,) * members
    trainer.fit(spins, targets, epochs=epochs, batch_size=50, sample_weights=weights)
    return ensemble


def judged(ensemble: Ensemble, length: int, rows: int, sweeps: int, seed: int) -> np.ndarray:
    """The mean probability of order at each temperature in between: (members, temperatures).

    Each member judges its own sample of the lattices, drawn with replacement.
    """
    rng = np.random.default_rng([seed, length])
    spins = configurations(length, np.repeat(BETWEEN, rows), sweeps, rng)
    odds = np.stack(ensemble.predict(block_spins(spins, rng)))[..., 0]
    order = (1 / (1 + np.exp(-odds))).reshape(len(odds), len(BETWEEN), rows)
    sample = rng.multinomial(rows, np.full(rows, 1 / rows), order.shape[:2])
    return np.mean(sample * order, axis=-1)


# ------------------------------------------------------------------------------- scaling


def scaling(x, critical, nu, a, b, c, d):
    """f((T − T_c) L^(1/ν)) for rows x = (T, L): the scaling formula."""
    u = (x[:, 0] - critical) * np.exp(np.log(x[:, 1] / BLOCKS) / nu)
    return a + u * (b + u * (c + u * d))


def fitted(curves: dict[int, np.ndarray]) -> list[fitting.Fit]:
    """The fit of the formula to the curves of each member."""
    sizes, orders = list(curves), np.stack(list(curves.values()), axis=1)
    x = np.array([(temperature, size) for size in sizes for temperature in BETWEEN])
    deviations = orders.std(axis=0, ddof=1).reshape(-1)
    start = {"critical": 2.3, "nu": 1.2, "a": 0.5, "b": -1.0, "c": 0.0, "d": 0.0}
    fits = []
    for order in orders:
        model = fitting.curve(scaling, start)
        bounds = {"critical": (BETWEEN[0], BETWEEN[-1]), "nu": (0.3, 3.0)}
        fits.append(fitting.least_squares(model, x, order.reshape(-1), deviations, bounds=bounds))
    return fits


# ------------------------------------------------------------------------------- the program


def main(
    sizes: tuple[int, ...] = (8, 16, 32),
    members: int = 20,
    rows: int = 120,
    sweeps: int = 20,
    epochs: int = 30,
    seed: int = 0,
    output: str | Path = "chainrule-demo",
) -> dict:
    """Train, judge, fit, draw, and return the printed figures."""
    ensemble = trained(members, rows // 2, sweeps, epochs, seed)
    curves = {
        length: judged(ensemble, length, rows * max(sizes) // length, sweeps, seed)
        for length in sizes  # small lattices are cheap
    }
    fits = fitted(curves)
    found = {}
    for name, exact in (("critical", EXACT), ("nu", 1.0)):
        values = np.array([fit[name].value for fit in fits])
        found[name], found[f"{name} error"] = float(values.mean()), float(values.std(ddof=1))
        print(f"  {name:<9} {found[name]:.3f} ± {found[f'{name} error']:.3f}     exact {exact:.3f}")
    path = Path(output) / "ising_phases.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(curves, fits, found).savefig(path, dpi=150)
    print(f"figure: {path}")
    return found


def draw(curves: dict[int, np.ndarray], fits: list, found: dict) -> Figure:
    """The curves that cross, and the same points on one curve, as scaling says."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    t = np.linspace(BETWEEN[0], BETWEEN[-1])
    colors = ["#9ecae1", BLUE, "#08306b", INK]
    for color, (length, orders) in zip(colors, curves.items(), strict=False):
        mean, deviation = orders.mean(axis=0), orders.std(axis=0, ddof=1)
        how = {"color": color, "fmt": "o", "ms": 3.5, "lw": 1, "label": f"L = {length}"}
        left.errorbar(BETWEEN, mean, deviation, **how)
        rows = np.stack([t, np.full(t.size, float(length))], axis=1)
        left.plot(t, np.mean([fit.model(rows) for fit in fits], axis=0), color=color, lw=1)
        u = (BETWEEN - found["critical"]) * (length / BLOCKS) ** (1 / found["nu"])
        right.errorbar(u, mean, deviation, **how)
    left.axvline(EXACT, color=VERMILION, lw=1, label="exact")
    low, high = found["critical"] + np.array([-1, 1]) * found["critical error"]
    left.axvspan(low, high, color=VERMILION, alpha=0.15, lw=0, label="this result, ± 1σ")
    left.set(xlabel="temperature T", ylabel="probability of order, by the network")
    right.set(xlabel="(T − T$_c$) (L/8)$^{1/ν}$", ylabel="probability of order, by the network")
    left.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=20)
    parser.add_argument("--rows", type=int, default=120, help="lattices for each temperature")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="chainrule-demo", help="a folder for the figure")
    main(**vars(parser.parse_args()))
