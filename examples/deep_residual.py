"""Thirty layers, with and without skip connections: why deltas vanish, and how a residual helps.

    python examples/deep_residual.py

In the backward pass, every layer multiplies the delta by its transposed Jacobian. The network has
15 blocks in sequence, each F(y) = w₂ σ(w₁ y + b₁) + b₂ with the sigmoid of the lecture. σ′ is at
most ¼, so each block makes the delta several times smaller, and after fifteen almost nothing is
left:

    plain      y_n = F_n(y_{n−1})              Δ_{n−1} = F_n′ᵀ Δ_n
    residual   y_n = y_{n−1} + F_n(y_{n−1})    Δ_{n−1} = Δ_n + F_n′ᵀ Δ_n

The skip connection adds a 1 to each Jacobian, and the delta passes through this 1 unchanged. Both
networks have the same layers and the same initial parameters; they differ only in the additions.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

from matplotlib.figure import Figure

from chainrule import (
    Activation,
    Dense,
    Residual,
    Sequential,
    Trainer,
    datasets,
    losses,
    optimizers,
    trace,
)

BLOCKS, WIDTH = 15, 32
PLAIN, RESIDUAL = "#D55E00", "#0072B2"


def network(is_residual: bool) -> Sequential:
    """64 pixels, 15 blocks of two Dense of width 32, and the logits of ten digits."""
    layers = [Dense(WIDTH)]
    for _ in range(BLOCKS):
        block = [Dense(WIDTH), Activation("sigmoid"), Dense(WIDTH)]
        layers += [Residual(*block)] if is_residual else block
    return Sequential([*layers, Dense(10)])


def main(epochs: int = 15, seed: int = 0, output: str | Path = "chainrule-demo") -> dict:
    """Trace both networks at the start, train both, and return the data of the figure."""
    x, t, x_test, t_test = datasets.digits("float32")
    loss = losses.SoftmaxCrossEntropy()
    found = {}
    for name, is_residual in (("plain", False), ("residual", True)):
        model = network(is_residual)
        model.build((64,), rng=seed, dtype="float32")
        every = 4 if is_residual else 3  # steps per block; the addition is one of them
        steps = trace(model, x[:256], t[:256], loss).steps[: every * BLOCKS + 1 : every]
        deltas = [step.delta_size for step in steps]  # |Δ_n| = |∂C/∂y_n|, n = 0 … 15
        trainer = Trainer(model, loss, optimizers.Adam(1e-3), metrics=["accuracy"], rng=seed)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            history = trainer.fit(x, t, epochs=epochs, validation_data=(x_test, t_test))
        for warning in caught:  # fit watches the deltas
            print(f"{name}: {str(warning.message).splitlines()[0]}")
        found[name] = {"deltas": deltas, "accuracy": history["validation_accuracy"]}

    print("                               " + "".join(f"{name:>10}" for name in found))
    for n in range(BLOCKS, -1, -5):
        sizes = "".join(f"{of['deltas'][n]:>10.1e}" for of in found.values())
        print(f"{f'|Δ_{n}| before the first step':<31}{sizes}")
    right = "".join(f"{100 * of['accuracy'][-1]:>8.1f} %" for of in found.values())
    print(f"{f'test digits right, {epochs} epochs':<31}{right}   (by chance: 10 %)")

    path = Path(output) / "deep_residual.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(found).savefig(path, dpi=150)
    print(f"figure: {path}")
    return found


def draw(found: dict) -> Figure:
    """The deltas along the depth, and the learning curves."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    depth, learning = figure.subplots(1, 2)
    for (name, of), colour, marker in zip(
        found.items(), (PLAIN, RESIDUAL), ("o", "s"), strict=True
    ):
        style = {"color": colour, "marker": marker, "ms": 4, "lw": 1.5, "label": name}
        depth.plot(of["deltas"], **style)
        percent = [100 * share for share in of["accuracy"]]
        learning.plot(range(1, len(percent) + 1), percent, **style)
    depth.set(yscale="log", title="before training: the deltas come from the right")
    depth.set(xlabel="n, blocks after the first layer", ylabel=r"$|\Delta_n|$, root mean square")
    learning.axhline(10, color="0.5", lw=1, ls="--")
    learning.text(learning.get_xlim()[1], 11.5, "by chance", color="0.4", ha="right")
    learning.set(title="then: one learns, one does not", xlabel="epoch", ylim=(0, 102))
    learning.set(ylabel="right of 360 test digits (%)")
    for axes in (depth, learning):
        axes.legend(frameon=False, loc="center right")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="chainrule-demo", help="a folder for the figure")
    main(**vars(parser.parse_args()))
