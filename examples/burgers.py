"""A Fourier neural operator that learns one time step of Burgers' equation.

    python examples/burgers.py

Burgers' equation describes a fluid in one dimension. Waves steepen, as fast parts overtake slow
ones, and viscosity smooths the shocks:

    ∂u/∂t + u ∂u/∂x = ν ∂²u/∂x²            on a ring 0 ≤ x < 1

The data are pairs u(x, t), u(x, t + τ) from a spectral solver. A network of spectral convolutions
(Z. Li et al., Fourier Neural Operator, ICLR 2021) learns the map between them. Each of its blocks

    u ← gelu( F⁻¹(R F u) + W u )

multiplies the lowest modes of the Fourier transform by matrices R, so it sees the whole ring at
once; W mixes the channels at every place. A convolutional network with as many parameters, and more
channels, sees only the neighbourhood of each point.

The weights belong to waves, not to grid points: the operator that was trained on 64 points works on
256, with the same error. The kernels of a convolution shrink with the distance of the points.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from chainrule import (
    Activation,
    Add,
    Branches,
    Convolution,
    Sequential,
    SpectralConvolution,
    Trainer,
    losses,
    optimizers,
    schedules,
)

BLUE, VERMILION, INK = "#0072B2", "#D55E00", "#444444"

VISCOSITY, TAU, POINTS = 0.01, 0.5, 64


# ------------------------------------------------------------------------------- the equation


def solve(u: np.ndarray, time: float, steps: int = 200) -> np.ndarray:
    """The fields u, (fields, points), after some time.

    In Fourier space, the viscous term is exact (an integrating factor), and the other one is
    stepped with Runge–Kutta of order 4. Modes above two thirds of the largest are removed from the
    product u², which cannot represent them (S. Orszag 1971).
    """
    points = u.shape[-1]
    k = 2 * np.pi * np.arange(points // 2 + 1)
    keep = np.arange(points // 2 + 1) < points / 3
    step = time / steps
    half = np.exp(-VISCOSITY * k**2 * step / 2)

    def slope(v: np.ndarray) -> np.ndarray:  # of −∂(u²/2)/∂x
        return -0.5j * k * keep * np.fft.rfft(np.fft.irfft(v, points) ** 2)

    v = np.fft.rfft(u)
    for _ in range(steps):
        a = slope(v)
        b = slope(half * (v + step / 2 * a))
        c = slope(half * v + step / 2 * b)
        d = slope(half**2 * v + step * half * c)
        v = half**2 * v + step / 6 * (half**2 * a + 2 * half * (b + c) + d)
    return np.fft.irfft(v, points)


def fields(count: int, points: int, rng: np.random.Generator, modes: int = 5) -> np.ndarray:
    """Random smooth fields: sums of the first waves, of mean square one half."""
    x, k = np.arange(points) / points, np.arange(1, modes + 1)
    size, phase = rng.normal(size=(2, count, modes, 1)) * np.array([1, 100]).reshape(2, 1, 1, 1)
    u = (size / k[:, np.newaxis] * np.sin(2 * np.pi * k[:, np.newaxis] * x + phase)).sum(axis=1)
    return u / np.sqrt(2 * (u**2).mean(axis=1, keepdims=True))


def pairs(count: int, rng: np.random.Generator, points: int = POINTS) -> tuple:
    """Fields and those a time τ later, (fields, points, 1), from a solution on 512 points."""
    before = fields(count, 512, rng)
    after = solve(before, TAU)
    return tuple(u[:, :: 512 // points, np.newaxis].astype("float32") for u in (before, after))


# ------------------------------------------------------------------------------- the networks


def operator(width: int = 20, modes: int = 16, blocks: int = 3) -> Sequential:
    """A Fourier neural operator."""
    layers = [Convolution(width, 1)]
    for _ in range(blocks):
        layers += [Branches([SpectralConvolution(width, modes), Convolution(width, 1)], Add())]
        layers += [Activation("gelu")]
    return Sequential([*layers, Convolution(64, 1), Activation("gelu"), Convolution(1, 1)])


def convolutional(width: int = 50, kernel: int = 5, blocks: int = 3) -> Sequential:
    """As many parameters in more channels: each block sees two points on either side."""
    layers = [Convolution(width, 1)]
    for _ in range(blocks):
        layers += [Convolution(width, kernel, padding="periodic"), Activation("gelu")]
    return Sequential([*layers, Convolution(64, 1), Activation("gelu"), Convolution(1, 1)])


def relative_error(model: Sequential, before: np.ndarray, after: np.ndarray) -> float:
    """√(Σ (y − u)² / Σ u²)."""
    return float(np.sqrt(((model(before) - after) ** 2).sum() / (after**2).sum()))


def trained(
    model: Sequential, data: tuple, epochs: int, seed: int, rate: float = 1e-2
) -> Sequential:
    """The network after training on the pairs."""
    steps = epochs * -(-len(data[0]) // 32)
    Trainer(model, losses.MeanSquaredError(), optimizers.Adam(rate), rng=seed).fit(
        *data,
        epochs=epochs,
        batch_size=32,
        callbacks=[schedules.LearningRate(schedules.Cosine(rate, steps))],
    )
    return model


# ------------------------------------------------------------------------------- the program


def main(
    epochs: int = 30, count: int = 1000, seed: int = 0, output: str | Path = "chainrule-demo"
) -> dict:
    """Train both networks, draw what they predict, and return the printed figures."""
    rng = np.random.default_rng(seed)
    data, test, fine = pairs(count, rng), pairs(200, rng), pairs(200, rng, points=256)
    fourier = trained(operator(), data, epochs, seed)
    local = trained(convolutional(), data, epochs, seed, rate=3e-3)
    found = {
        "operator, 64 points": relative_error(fourier, *test),
        "operator, 256 points": relative_error(fourier, *fine),
        "convolutional network, 64 points": relative_error(local, *test),
        "convolutional network, 256 points": relative_error(local, *fine),
    }
    sizes = [f"{model.parameters.size:,}" for model in (fourier, local)]
    print(f"{count} pairs; operator {sizes[0]} parameters, convolutional network {sizes[1]}")
    for name, value in found.items():
        print(f"  relative error, {name:<34} {value:8.4f}")
    path = Path(output) / "burgers.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(fourier, local, rng).savefig(path, dpi=150)
    print(f"figure: {path}")
    return found


def draw(fourier: Sequential, local: Sequential, rng: np.random.Generator) -> Figure:
    """One step by both networks: of two fields on 64 points, and of one on 256."""
    figure = Figure(figsize=(12.4, 4.2), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    coarse, fine = pairs(2, rng), pairs(1, rng, points=256)
    shown = [*zip(*coarse, strict=True), *zip(*fine, strict=True)]
    for axes, (u, v) in zip(panels, shown, strict=True):
        x, u_only = np.arange(len(u)) / len(u), u[np.newaxis]
        axes.plot(x, u[:, 0], color="#bbbbbb", lw=2, ls=":", label="u(x, t)")
        axes.plot(x, v[:, 0], color=INK, lw=6, alpha=0.3, label="u(x, t + τ)")
        axes.plot(x, local(u_only)[0, :, 0], color=VERMILION, lw=1.4, label="convolutions")
        axes.plot(x, fourier(u_only)[0, :, 0], color=BLUE, lw=2, label="operator")
        axes.set(xlabel="x", title=f"{len(u)} points")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--count", type=int, default=1000, help="pairs to learn from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="chainrule-demo", help="a folder for the figure")
    main(**vars(parser.parse_args()))
