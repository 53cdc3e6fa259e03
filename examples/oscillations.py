"""Oscillations: a network continues a sum of two oscillations by itself.

    python examples/oscillations.py

The sequences are x_t = A sin(ω t + α) + B sin(Ω t + β). Frequencies, amplitudes and phases are new
in each of them, and the network sees nothing but x. In training it predicts the next value at each
step. Afterwards it watches 60 values of a new sequence, and then goes on by itself: each prediction
is its next input.

    watch    x_0, x_1, …, x_59  →  y_60
    go on    y_60  →  y_61,    y_61  →  y_62,    y_62  →  y_63,    …

This takes a state that is carried from one call to the next: LSTM(32, stateful=True). Then
``model.forward`` begins where its last call ended, and ``model.reset()`` begins new sequences.

Errors grow, because the network continues its own mistakes. It helps to add noise to the values
that it sees in training. Then it cannot trust a single value, and learns to combine many. Without
noise, the next value is more accurate, but ten steps later the continuation is lost.

How good could it be? A sum of two oscillations obeys exactly

    x_(t+2) + x_(t−2) = 2 (cos ω + cos Ω) (x_(t+1) + x_(t−1)) − (2 + 4 cos ω cos Ω) x_t

With this rule, two numbers have to be found in the values, by least squares, and the continuation
has no error. The network does not know the rule.

The figure shows continuations, and how the error grows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from chainrule import LSTM, Dense, Layer, Sequential, Trainer, losses, optimizers, schedules

BLUE, VERMILION, INK = "#0072B2", "#D55E00", "#444444"
WATCHED, AHEAD, NOISE = 60, 60, 0.1
SLOW, FAST = (0.2, 0.4), (0.6, 1.0)
"""The ranges of ω and Ω, in radians per step: periods of 16 to 31 steps, and of 6 to 10."""


def oscillations(count: int, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Sums of two oscillations: (count, steps, 1)."""
    x, t = np.zeros((count, steps)), np.arange(steps)
    for band in (SLOW, FAST):
        frequency, amplitude, phase = (
            rng.uniform(*limits, (count, 1)) for limits in (band, (0.5, 1.0), (0.0, 2 * np.pi))
        )
        x += amplitude * np.sin(frequency * t + phase)
    return x[..., np.newaxis]


def network(units: int = 32) -> Sequential:
    """All steps of a sequence in, the next value for each of them out."""
    return Sequential([LSTM(units, return_sequences=True, stateful=True), Dense(1)])


def learn(noise: float, steps: int, seed: int) -> Sequential:
    """A network that predicts the next value of sequences of 100 steps, from noisy ones."""
    model = network()

    def batch(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        model.reset()  # new sequences, which do not continue those of the last batch
        x = oscillations(32, 101, rng)
        seen = x[:, :-1] + noise * rng.normal(size=(32, 100, 1))
        return seen.astype("float32"), x[:, 1:].astype("float32")

    Trainer(model, losses.HalfSquaredError(), optimizers.Adam(2e-2), rng=seed).fit(
        batch,
        epochs=10,
        steps_per_epoch=steps // 10,
        callbacks=[schedules.LearningRate(schedules.Cosine(2e-2, steps))],
    )
    return model


def continued(model: Layer, x: np.ndarray, steps: int) -> np.ndarray:
    """What the network predicts after it has seen x: so many values, from its own ones."""
    model.reset()
    found = [model.forward(x)[:, -1:]]
    while len(found) < steps:
        found.append(model.forward(found[-1]))
    return np.concatenate(found, axis=1)


def by_rule(x: np.ndarray, steps: int) -> np.ndarray:
    """The continuation of one sequence by the rule in the docstring: (steps,)."""
    x = list(x)
    near, far = np.add(x[1:-3], x[3:-1]), np.add(x[:-4], x[4:])
    (a, b), *_ = np.linalg.lstsq(np.stack([near, x[2:-2]], axis=1), far, rcond=None)
    for _ in range(steps):
        x.append(a * (x[-1] + x[-3]) + b * x[-2] - x[-4])
    return np.array(x[-steps:])


# ------------------------------------------------------------------------------- the program


def main(steps: int = 2000, seed: int = 0, output: str | Path = "chainrule-demo") -> dict:
    """Train with noise and without, continue new sequences, and return the printed figures."""
    rng = np.random.default_rng(seed + 1)
    x = oscillations(500, WATCHED + AHEAD, rng)
    watched, truth = x[:, :WATCHED].astype("float32"), x[:, WATCHED:]
    ways = {"with noise": NOISE, "without noise": 0.0}
    answers = {
        name: continued(learn(noise, steps, seed), watched, AHEAD) for name, noise in ways.items()
    }
    errors = {name: np.sqrt(((y - truth) ** 2).mean(axis=(0, 2))) for name, y in answers.items()}
    found = {
        f"error {ahead} steps ahead, trained {name}": float(error[ahead - 1])
        for ahead in (1, 10, 60)
        for name, error in errors.items()
    }
    found["error of the output 0"] = float(np.sqrt((truth**2).mean()))
    print(f"{steps} batches of 32 sequences of 100 steps")
    for name, value in found.items():
        print(f"  {name:<44} {value:6.3f}")
    path = Path(output) / "oscillations.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(
        x[:3, :, 0], answers["with noise"][:3, :, 0], errors, found["error of the output 0"]
    ).savefig(path, dpi=150)
    print(f"figure: {path}")
    return found


def draw(x: np.ndarray, y: np.ndarray, errors: dict, without: float) -> Figure:
    """Three sequences with their continuations, and the error of all."""
    figure = Figure(figsize=(12.4, 4.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(2, 1))
    ahead = np.arange(WATCHED, WATCHED + AHEAD)
    panels = left.subplots(3, 1, sharex=True, sharey=True)
    for axes, truth, found in zip(panels, x, y, strict=True):
        axes.plot(truth, color="0.6", lw=5, alpha=0.4, label="truth")
        axes.plot(truth[:WATCHED], "o-", color=INK, ms=2.5, lw=0.8, label="watched")
        axes.plot(ahead, found, "o-", color=BLUE, ms=2.5, lw=1.2, label="continued by itself")
        axes.axvline(WATCHED - 0.5, color=INK, lw=0.8, ls=":")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 0.95))
    panels[-1].set_xlabel("step")

    axes = right.subplots()
    for (name, error), color in zip(errors.items(), (BLUE, VERMILION), strict=True):
        axes.plot(1 + np.arange(AHEAD), error, color=color, lw=2, label=f"trained {name}")
    axes.axhline(without, color=INK, lw=1, ls=":")
    axes.text(1, without, "the output 0", color=INK, ha="left", va="bottom")
    axes.set(title="error, root mean square", xlabel="steps ahead")
    axes.set_ylim(0, 1.25)
    axes.legend(frameon=False, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="chainrule-demo", help="a folder for the figure")
    main(**vars(parser.parse_args()))
