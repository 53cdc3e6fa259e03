"""A transformer learns to sort digits.

    python examples/sort_digits.py

The input is a sequence such as 7 2 9 2. The output at place i has to be the i-th smallest digit:
2 2 7 9. It depends on all digits at once, on how many there are of each kind, and attention brings
them together. Place i gives the digit at place j the weight

    a_ij = exp(q_i·k_j/√d) / Σ_l exp(q_i·k_l/√d)

and receives the weighted mean Σ_j a_ij v_j. The query q_i and the key k_j are computed from the
digit and from its place, so a head can look for small digits from the first places, and for large
ones from the last. In the lower half of the figure, where the same weights are in the order of the
digits, such a head has a diagonal. Others look at everything.

Nothing in the network depends on the length, and it learns from sequences of 4 to 12 digits in
turn. It sorts nearly all new ones of these lengths, and fails on longer ones: at those places it
has never been. The program prints both.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from chainrule import (
    Dense,
    Embedding,
    PositionalEncoding,
    Sequential,
    Trainer,
    TransformerBlock,
    losses,
    optimizers,
    schedules,
)

BLUE, VERMILION = "#0072B2", "#D55E00"

SHORTEST, LONGEST = 4, 12
SHOWN = (7, 2, 9, 4, 4, 0, 8, 1, 5, 2)


def network(width: int = 48, heads: int = 2, blocks: int = 2) -> Sequential:
    """A vector for each digit, plus its place; blocks of attention; ten scores for each place."""
    return Sequential(
        [
            *(Embedding(10, width), PositionalEncoding()),
            *(TransformerBlock(heads, 2 * width) for _ in range(blocks)),
            Dense(10),
        ]
    )


def sequences(count: int, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Random digits, and the same digits in order: two arrays (count, length)."""
    digits = rng.integers(0, 10, (count, length))
    return digits, np.sort(digits, axis=1)


def batch(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """64 sequences of one length."""
    return sequences(64, int(rng.integers(SHORTEST, LONGEST + 1)), rng)


def whole(scores: np.ndarray, answers: np.ndarray) -> float:
    """The share of sequences without any mistake."""
    return float((scores.argmax(axis=-1) == answers).all(axis=-1).mean())


def attention(model: Sequential, digits: np.ndarray) -> list[np.ndarray]:
    """The weights a of one sequence, for each head of each block: a place sees a place."""
    model.forward(digits[np.newaxis])
    blocks = (layer for layer in model if isinstance(layer, TransformerBlock))
    return [head for block in blocks for head in block.attention.attention[0]]


def main(steps: int = 3000, seed: int = 0, output: str | Path = "chainrule-demo") -> dict:
    """Train on fresh sequences, sort new ones, and return the printed figures."""
    model = network()
    model.build((None,), rng=seed, dtype="float32")  # of any length
    trainer = Trainer(
        model,
        losses.SoftmaxCrossEntropy(),
        optimizers.Adam(3e-3, clip_norm=1.0),
        metrics=["accuracy", whole],
        rng=seed,
    )
    rng = np.random.default_rng(seed + 1)
    history = trainer.fit(
        batch,
        epochs=20,
        steps_per_epoch=steps // 20,
        validation_data=sequences(500, LONGEST, rng),
        callbacks=[schedules.LearningRate(schedules.Cosine(3e-3, steps))],
    )
    found = {
        length: trainer.evaluate(*sequences(500, length, rng))
        for length in range(SHORTEST, LONGEST + 9)
    }
    print(f"{steps} steps with 64 sequences of {SHORTEST} to {LONGEST} digits, ", end="")
    print(f"{model.parameters.size:,} parameters")
    for length in found:
        print(f"  {length:>2} digits: {found[length]['whole']:.3f} of new sequences")
    path = Path(output) / "sort_digits.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(model, history, found).savefig(path, dpi=150)
    print(f"figure: {path}")
    return found


def draw(model: Sequential, history, found: dict) -> Figure:
    """The attention of each head, in the order of the input and sorted, and how well it sorts."""
    figure = Figure(figsize=(12.4, 5.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(2.2, 1))
    digits = np.array(SHOWN)
    heads = attention(model, digits)
    orders = (np.arange(len(digits)), np.argsort(digits, kind="stable"))
    names = ("the digits of the input", "the same digits, sorted")
    for half, order, name in zip(left.subfigures(2, 1), orders, names, strict=True):
        row = half.subplots(1, len(heads), sharey=True)
        half.supxlabel(name, fontsize=10)
        half.supylabel("place of the output", fontsize=10)
        for n, (axes, weights) in enumerate(zip(row, heads, strict=True)):
            axes.pcolormesh(weights[:, order], cmap="Blues", vmin=0, edgecolor="white", lw=0.3)
            axes.set(aspect="equal", ylim=(len(digits), 0))
            axes.set_title(f"block {2 * n // len(heads) + 1}, head {n % (len(heads) // 2) + 1}")
            axes.set_xticks(np.arange(len(digits)) + 0.5, digits[order])
            axes.set_yticks(np.arange(len(digits)) + 0.5, np.arange(len(digits)) + 1)
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)

    learning, lengths = right.subplots(2, 1, sharey=True)
    lengths.axvspan(SHORTEST - 0.5, LONGEST + 0.5, color=BLUE, alpha=0.1, lw=0)
    lengths.text((SHORTEST + LONGEST) / 2, 0.6, "trained on", color=BLUE, ha="center", va="center")
    epochs = np.arange(1, len(history["loss"]) + 1)
    for name, label, colour in (
        ("accuracy", "digits", BLUE),
        ("whole", "whole sequences", VERMILION),
    ):
        learning.plot(epochs, history[f"validation_{name}"], color=colour, label=label)
        after = [each[name] for each in found.values()]
        lengths.plot([*found], after, color=colour, marker=".")
    learning.set(xlabel="epoch", title=f"share that is right, of {LONGEST} digits", ylim=(0, 1.04))
    lengths.legend(*learning.get_legend_handles_labels(), frameon=False, loc="lower left")
    lengths.set(xlabel="number of digits", title="after training", xticks=[4, 8, 12, 16, 20])
    for axes in (learning, lengths):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="chainrule-demo", help="a folder for the figure")
    main(**vars(parser.parse_args()))
