"""Are these two digits equal? One tower of layers is called on both pictures.

    python examples/siamese.py

A siamese network sends two pictures a and b through the same tower f, and the last layer sees only
how far apart the two outputs are, entry by entry:

    z = b_0 + Σ_j w_j (f_j(a) − f_j(b))²,    p(equal) = 1 / (1 + e^−z)

The two calls of the tower share their parameters, so its gradient is the sum over both paths. The
network never sees labels of digits, only whether two are equal; the 1,437 training digits give a
million pairs. The test uses pairs of unseen digits.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from chainrule import (
    Activation,
    Dense,
    Graph,
    Input,
    Multiply,
    Sequential,
    Subtract,
    Trainer,
    datasets,
    losses,
    optimizers,
)

EQUAL, UNEQUAL = "#0072B2", "#D55E00"


def siamese() -> Graph:
    """Two pictures in, z out: positive says equal, negative says unequal."""
    a, b = Input((64,), name="a"), Input((64,), name="b")
    tower = Sequential(
        [Dense(128, initializer="he_normal"), Activation("relu"), Dense(32), Activation("tanh")]
    )
    difference = Subtract()(tower(a), tower(b))
    return Graph([a, b], Dense(1)(Multiply()(difference, difference)))


def pairs(x, t, rng, count):
    """Pairs of different pictures, every other pair of the same digit: (a, b), and 1 or 0."""
    first = rng.integers(len(t), size=count)
    second = np.empty_like(first)
    for n, digit in enumerate(t[first]):
        wanted = t == digit if n % 2 == 0 else t != digit
        wanted[first[n]] = False  # a picture paired with itself would be too easy
        second[n] = rng.choice(np.flatnonzero(wanted))
    return (x[first], x[second]), (t[first] == t[second]).astype(x.dtype)[:, np.newaxis]


def main(epochs: int = 20, seed: int = 0, output: str | Path = "chainrule-demo") -> float:
    """Train on pairs, test on pairs of unseen digits, and return the accuracy."""
    x, t, x_test, t_test = datasets.digits("float32")
    model = siamese()
    trainer = Trainer(model, losses.SigmoidCrossEntropy(), optimizers.Adam(2e-3), rng=seed)
    trainer.fit(lambda rng: pairs(x, t, rng, 32), epochs=epochs, steps_per_epoch=200)

    (a, b), target = pairs(x_test, t_test, np.random.default_rng(seed + 1), 4000)
    z = model(a, b)[:, 0]
    is_equal, p = target[:, 0] == 1, 1 / (1 + np.exp(-z))
    right = (z > 0) == is_equal
    accuracy = float(right.mean())
    print(model, end="\n\n")
    print(f"{len(z):,} pairs of unseen digits, half of them equal")
    print(f"  right                          {100 * accuracy:5.1f} %")
    print(f"  equal, classified as unequal   {100 * np.mean(~right[is_equal]):5.1f} %")
    print(f"  unequal, classified as equal   {100 * np.mean(~right[~is_equal]):5.1f} %")

    path = Path(output) / "siamese.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(a, b, is_equal, p, right).savefig(path, dpi=150)
    print(f"figure: {path}")
    return accuracy


def draw(a, b, is_equal, p, right) -> Figure:
    """Some of all pairs and some of the wrong ones, with their scores; and all scores."""
    figure = Figure(figsize=(12, 5.6), layout="constrained")
    left, scores = figure.subfigures(1, 2, width_ratios=[1.3, 1])
    grid = left.subplots(4, 4, subplot_kw={"frame_on": False, "xticks": [], "yticks": []})
    shown = [*range(8), *np.flatnonzero(~right)[:8]]
    for axes, n in zip(grid.flat, shown, strict=False):  # or fewer, if fewer are wrong
        gap = np.full((8, 1), np.nan)
        both = np.concatenate([a[n].reshape(8, 8), gap, b[n].reshape(8, 8)], axis=1)
        axes.imshow(both, cmap="gray_r", vmin=0, vmax=1)
        mark, colour = ("right", "0.3") if right[n] else ("wrong", UNEQUAL)
        axes.set_title(f"{p[n]:.2f}, {mark}", y=-0.28, fontsize=9, color=colour)
    left.suptitle("p(equal) of the first eight pairs, and of the first eight that are wrong")
    axes = scores.subplots()
    bins = np.linspace(0, 1, 21)
    for which, colour, name in ((is_equal, EQUAL, "equal"), (~is_equal, UNEQUAL, "unequal")):
        axes.hist(p[which], bins, color=colour, alpha=0.55, label=f"{name} pairs")
    axes.axvline(0.5, color="0.3", lw=1, ls="--")
    axes.set(yscale="log", xlabel="p(equal), output of the network", ylabel="pairs")
    axes.set_ylim(bottom=0.8)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.09, 1))
    axes.spines[["top", "right"]].set_visible(False)
    scores.suptitle(f"{len(p):,} pairs of unseen digits, {100 * right.mean():.1f} % right")
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="chainrule-demo", help="a folder for the figure")
    main(**vars(parser.parse_args()))
