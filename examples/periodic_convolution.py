"""A convolution on a ring learns to differentiate.

    python examples/periodic_convolution.py

A translation-invariant linear operation on n sites of a ring is a convolution,

    y_i = Σ_k w_k x_{(i+k−r) mod n},    k = 0 … 2r,

with 2r + 1 weights for a reach r. The derivative is such an operation, and five weights can
approximate it. The layer sees random Fourier series with their exact derivatives, and learns its
weights by gradient descent. Numerical analysis has a stencil for the same task, which is exact for
polynomials up to degree four; the learned one minimises the error for the waves in the training
data. The lattice spacing is one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from chainrule import Layer, Sequential, Trainer, check_layer, losses, optimizers

SITES, MODES = 64, 10
STENCIL = np.array([1, -8, 0, 8, -1]) / 12
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "0.55"


class PeriodicConvolution(Layer):
    """y_i = Σ_k w_k x_{(i+k−r) mod n}, with 2r + 1 weights for a reach r."""

    reach: int = 2

    def build(self, input_shape):
        self.kernel = self.parameter("kernel", (2 * self.reach + 1,), "normal")

    def forward(self, x):
        self.windows = self.shifted(x, sign=1)  # x_{i+k−r} at […, i, k]
        return self.windows @ self.kernel.value

    def backward(self, delta):
        # ∂C/∂w_k = Σ δ_i x_{i+k−r}, and x_j contributes to y_{j−k+r}: ∂C/∂x_j = Σ_k w_k δ_{j−k+r}
        self.kernel.accumulate(np.einsum("bi,bik->k", delta, self.windows))
        return self.shifted(delta, sign=-1) @ self.kernel.value

    def shifted(self, a, sign):
        """The rows of a, shifted on the ring by k − r sites, for each k along a new last axis."""
        steps = range(-self.reach, self.reach + 1)
        return np.stack([np.roll(a, -sign * step, axis=1) for step in steps], axis=-1)


def make_batch(rng, size=32):
    """Random Fourier series of ten modes, and their exact derivatives: each (size, 64)."""
    wave_numbers = 2 * np.pi * np.arange(1, MODES + 1)[:, np.newaxis] / SITES
    angle = wave_numbers * np.arange(SITES)
    a, b = rng.normal(size=(2, size, MODES)) / np.sqrt(MODES)
    x = a @ np.cos(angle) + b @ np.sin(angle)
    return x, b @ (wave_numbers * np.cos(angle)) - a @ (wave_numbers * np.sin(angle))


def main(epochs: int = 60, seed: int = 0, output: str | Path = "chainrule-demo"):
    """Check the layer, let it learn the derivative, and return its kernel and the two errors."""
    print(check_layer(PeriodicConvolution(), (SITES,)), end="\n\n")

    model = Sequential([PeriodicConvolution()])
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.Adam(0.01), rng=seed)
    trainer.fit(make_batch, epochs=epochs, steps_per_epoch=100)
    kernel = model.parameters.value.copy()

    x, t = make_batch(np.random.default_rng(seed + 1), 1000)  # unseen signals
    by_stencil = sum(w * np.roll(x, -step, axis=1) for step, w in enumerate(STENCIL, start=-2))
    error, stencil_error = (np.sqrt(np.mean((y - t) ** 2)) for y in (model(x), by_stencil))
    print("offset            " + "".join(f"{step:>9d}" for step in range(-2, 3)) + "   rms error")
    for name, weights, rms in (
        ("learned kernel", kernel, error),
        ("central difference", STENCIL, stencil_error),
    ):
        print(f"{name:<18}" + "".join(f"{w:>9.4f}" for w in weights) + f"   {rms:.5f}")
    even = np.abs(kernel + kernel[::-1]).max() / 2
    print(f"largest even part of the learned kernel: {even:.1e}")

    figure = draw(x[0], t[0], model(x[:1])[0], by_stencil[0], kernel)
    path = Path(output) / "periodic_convolution.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    print(f"figure: {path}")
    return kernel, float(error), float(stencil_error)


def draw(x, t, y, by_stencil, kernel):
    """The signal; its derivative, true and predicted; the errors; the kernel."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    (signal, weights), (derivative, errors) = figure.subplots(2, 2, width_ratios=[1.25, 1])
    site = np.arange(SITES)
    signal.plot(site, x, ".-", color="black", lw=1)
    signal.set(title="an unseen signal", ylabel="x")
    derivative.plot(site, t, color=GREY, lw=4, alpha=0.6, label="true derivative")
    derivative.plot(site, y, ".", color=BLUE, label="learned convolution")
    derivative.set(title="its derivative", ylabel="dx/di", xlabel="site i")
    derivative.legend(frameon=False, ncols=2, loc="upper right")
    derivative.set_ylim(top=1.45 * np.abs(t).max())
    errors.plot(site, by_stencil - t, "s-", color=ORANGE, ms=3, lw=1, label="central difference")
    errors.plot(site, y - t, ".-", color=BLUE, lw=1, label="learned convolution")
    errors.set(title="error: predicted − true", xlabel="site i")
    errors.legend(frameon=False, ncols=2, loc="upper right", fontsize=9)
    errors.set_ylim(top=1.6 * np.abs(by_stencil - t).max())
    offset = np.arange(-2, 3)
    weights.axhline(0, color="0.8", lw=1)
    weights.bar(offset - 0.18, STENCIL, 0.34, color=ORANGE, label="central difference")
    weights.bar(offset + 0.18, kernel, 0.34, color=BLUE, label="learned")
    weights.set(title="the kernel w", xlabel="offset k − r", xticks=offset)
    weights.legend(frameon=False, loc="upper left")
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="chainrule-demo", help="a folder for the figure")
    main(**vars(parser.parse_args()))
