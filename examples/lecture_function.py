"""The lecture's function of two variables, learned from an endless stream of fresh batches.

    python examples/lecture_function.py

    F(x₀, x₁) = exp(−5 (x₀² + x₁²)) |x₀ + x₁|          for x₀ and x₁ between −½ and ½

has a sharp valley along a diagonal, which a network of smooth neurons can only approximate. As
in the lecture (F. Marquardt, *Machine Learning for Physicists*, lecture 2) the layer sizes are
[2, 150, 150, 100, 1], here with tanh, and every step uses a batch of 200 new points. So there is no
training set, and the network cannot memorise one. During training, a callback evaluates the network
on the whole square.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from chainrule import (
    Activation,
    Dense,
    Sequential,
    Trainer,
    callbacks,
    losses,
    optimizers,
    schedules,
)

BLUE, GREY = "#0072B2", "0.6"
SIDE = 80
"""The number of points along each side of a picture."""


def function(x):
    """F of points (…, 2), as (…, 1)."""
    radius_squared = np.sum(x**2, axis=-1, keepdims=True)
    return np.exp(-5 * radius_squared) * np.abs(np.sum(x, axis=-1, keepdims=True))


def make_batch(rng, count=200):
    """Random points of the square, and F at these points."""
    x = rng.uniform(-0.5, 0.5, size=(count, 2)).astype("float32")
    return x, function(x)


def square():
    """All points of a picture, row by row: x₀ increases to the right, x₁ upwards."""
    axis = np.linspace(-0.5, 0.5, SIDE, dtype="float32")
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


class Pictures(callbacks.Callback):
    """Evaluates the network on the whole square after given numbers of steps."""

    def __init__(self, moments):
        self.moments, self.kept, self.costs = moments, {}, []

    def on_step_end(self, trainer, epoch, step, cost):
        self.costs.append(cost)
        if trainer.steps in self.moments:
            self.kept[trainer.steps] = trainer.model(square()).reshape(SIDE, SIDE)


def main(epochs: int = 30, seed: int = 0, output: str | Path = "chainrule-demo") -> float:
    """Learn the function, draw the progress, and return the root mean square error."""
    layers = [part for n in (150, 150, 100) for part in (Dense(n), Activation("tanh"))]
    model = Sequential([*layers, Dense(1)])
    steps = 100 * epochs
    pictures = Pictures([int(steps * share) for share in (0.01, 0.05, 0.2, 1)])
    rate = callbacks.LearningRate(schedules.Cosine(5e-3, steps=steps))
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.Adam(), rng=seed)
    trainer.fit(make_batch, epochs=epochs, steps_per_epoch=100, callbacks=[rate, pictures])

    truth = function(square()).reshape(SIDE, SIDE)
    print(f"{'steps':>8}   {'root mean square error':>22}   {'largest':>8}")
    for moment, picture in pictures.kept.items():
        error = picture - truth
        rms, largest = np.sqrt(np.mean(error**2)), np.abs(error).max()
        print(f"{moment:>8,}   {rms:>22.5f}   {largest:>8.5f}")
    figure = draw(truth, pictures)
    path = Path(output) / "lecture_function.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    print(f"figure: {path}")
    return float(rms)


def draw(truth, pictures):
    """The network at each moment, the function, the last error, and the cost below."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1, 1.05])
    *learning, last = pictures.kept.items()
    images = [(f"after {moment:,} steps", picture) for moment, picture in [*learning, last]]
    panels = above.subplots(1, len(images) + 2)
    for axes, (title, image) in zip(panels, [*images, ("F itself", truth)], strict=False):
        shown = axes.imshow(
            image, origin="lower", extent=(-0.5, 0.5, -0.5, 0.5), vmin=0, vmax=truth.max()
        )
        axes.set_title(title, fontsize=10)
    above.colorbar(shown, ax=panels[:-1], shrink=0.7, pad=0.01)
    error = last[1] - truth
    limit = np.abs(error).max()
    shown = panels[-1].imshow(
        error, origin="lower", extent=(-0.5, 0.5, -0.5, 0.5), cmap="RdBu", vmin=-limit, vmax=limit
    )
    panels[-1].set_title("last error", fontsize=10)
    above.colorbar(shown, ax=panels[-1], shrink=0.7, pad=0.02)
    for axes in panels:
        axes.set(xticks=[-0.5, 0.5], yticks=[])
    panels[0].set(yticks=[-0.5, 0.5], ylabel="x₁", xlabel="x₀")

    axes = below.subplots()
    steps = np.arange(1, len(pictures.costs) + 1)
    axes.loglog(steps, pictures.costs, color=BLUE, lw=0.6)
    for moment in pictures.kept:
        axes.axvline(moment, color=GREY, lw=1, ls=":")
    axes.set(xlabel="step", ylabel="C of the batch", xlim=(1, len(steps)))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="chainrule-demo", help="a folder for the figure")
    main(**vars(parser.parse_args()))
