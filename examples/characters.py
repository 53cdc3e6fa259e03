"""Characters: a network reads this repository's own prose, and continues a sentence.

    python examples/characters.py

A model of a language gives the probability of the next character after those before it. Here the
language is that of the pages in docs/ and the docstrings in src/, a quarter of a million
characters. The network is a table of vectors, one for each character, a GRU that reads them one
after the other, and a dense layer that gives the logits of the next one:

    p(c_(t+1) | c_0 … c_t) = softmax(h_t w + b),    h_t = GRU(v(c_t), h_(t−1))

The text is too long for one pass. It is cut into 32 streams, and the streams into pieces of 32
characters. A batch has one piece of each stream, and the next batch continues all of them, so the
GRU carries its state over: ``stateful=True``, with the batches in order, ``shuffle=False``. Deltas
end where a piece begins, which is called truncated backpropagation through time. A state can hold
more than 32 characters nevertheless.

The measure is the surprise −log₂ p in bits per character; guessing among all characters needs
log₂ 62 ≈ 6. A model that counts which character follows two others, a 3-gram, is the baseline. All
printed numbers are those of paragraphs that no model was trained on.

To write, the network draws a character with the probabilities p^(1/T), normalized, and reads it as
the next one. A temperature T below 1 makes it more careful.

The figure shows how it learns, how much each character of a paragraph surprises it (the first
letters of a word do, its end is nearly certain), and what it writes.
"""

from __future__ import annotations

import argparse
import ast
import re
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from attrs import define, field
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from chainrule import (
    GRU,
    Dense,
    Embedding,
    Layer,
    Sequential,
    Softmax,
    Trainer,
    callbacks,
    losses,
    optimizers,
    schedules,
)

BLUE, VERMILION, INK = "#0072B2", "#D55E00", "#444444"
ROOT = Path(__file__).parents[1]
STREAMS, STEPS = 32, 32


# ------------------------------------------------------------------------------- the text


def paragraphs(root: Path = ROOT) -> list[str]:
    """The sentences of letters and punctuation alone, of the pages and docstrings."""
    texts = [
        path.read_text(encoding="utf-8")
        for path in sorted((root / "docs").rglob("*.md"))
        if path.name != "changelog.md"
    ]
    for path in sorted((root / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                texts.append(ast.get_docstring(node) or "")
    found = [prose for text in texts for prose in map(plain, re.split(r"\n\s*\n", text))]
    return list(dict.fromkeys(filter(None, found)))  # each once


def plain(paragraph: str) -> str:
    """The plain sentences of a paragraph; none of a list, a table or a program."""
    if re.search(r"^(    |\t|[|#>!`~])", paragraph, re.MULTILINE):
        return ""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split()))  # links
    sentences = re.split(r"(?<=\.) (?=[A-Z])", re.sub(r"[`*]", "", text))
    is_plain = re.compile(r"[A-Z][A-Za-z ,;:.()'\"-]+[.:]")
    return " ".join(filter(is_plain.fullmatch, sentences))


@define
class Alphabet:
    """The characters of a text, numbered from 0."""

    characters: str
    number: dict[str, int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.number = {character: n for n, character in enumerate(self.characters)}

    def tokens(self, text: str) -> np.ndarray:
        """The numbers of the characters."""
        return np.array([self.number[character] for character in text])

    def text(self, tokens: np.ndarray) -> str:
        """The characters of the numbers."""
        return "".join(self.characters[n] for n in tokens)


def streams(tokens: np.ndarray, count: int = STREAMS, steps: int = STEPS) -> tuple:
    """Pieces (…, steps) and what follows each token; row n of all batches is one stream."""
    pieces = (len(tokens) - 1) // (count * steps)
    length = count * pieces * steps
    return tuple(
        np.concatenate(np.split(each.reshape(count, pieces * steps), pieces, axis=1))
        for each in (tokens[:length], tokens[1 : length + 1])
    )


# ------------------------------------------------------------------------------- the models


def network(characters: int, units: int) -> Sequential:
    """Tokens in, the logits of the next one for each of them out."""
    read = GRU(units, return_sequences=True, stateful=True)
    return Sequential([Embedding(characters, 32), read, Dense(characters)])


def surprise(model: Layer, tokens: np.ndarray) -> np.ndarray:
    """−log₂ of the probability of each token, (rows, steps), from the second one of a row on."""
    model.reset()
    p = Softmax()(model(tokens[:, :-1]))
    return -np.log2(np.take_along_axis(p, tokens[:, 1:, np.newaxis], axis=2)[..., 0])


def continued(
    model: Layer, tokens: np.ndarray, length: int, rng: np.random.Generator, temperature: float
) -> np.ndarray:
    """The tokens, and so many more that the model draws one after the other."""
    model.reset()
    found, logits = list(tokens), model.forward(tokens[np.newaxis])[0, -1]
    for _ in range(length):
        chances = Softmax()((logits.astype(float) / temperature)[np.newaxis])[0]
        found.append(int(rng.choice(len(chances), p=chances)))
        logits = model.forward(np.array([found[-1:]]))[0, -1]
    return np.array(found)


def trigram_surprise(training: np.ndarray, tokens: np.ndarray, characters: int) -> np.ndarray:
    """−log₂ p of a model that counts: of each token after two others, from the third one on.

    Where two characters were rare, it mixes in what is known of the second one alone, and so on:
    p(c|ab) = (n(abc) + 4 p(c|b)) / (n(ab) + 4).
    """
    p, smoothing = np.full(characters, 1 / characters), 4.0
    for length in (1, 2, 3):
        counts = np.zeros((characters,) * length)
        parts = tuple(training[k : len(training) - length + k + 1] for k in range(length))
        np.add.at(counts, parts, 1)
        p = (counts + smoothing * p) / (counts.sum(axis=-1, keepdims=True) + smoothing)
    return -np.log2(p[tokens[:-2], tokens[1:-1], tokens[2:]])


# ------------------------------------------------------------------------------- the program


def main(
    epochs: int = 12,
    units: int = 192,
    beginning: str = "The network ",
    temperature: float = 0.6,
    seed: int = 0,
    output: str | Path = "chainrule-demo",
) -> dict:
    """Learn the language of the pages, continue a text, and return the printed figures."""
    prose = paragraphs()
    training = "\n".join(text for n, text in enumerate(prose) if n % 10 != 9)
    held_out = "\n".join(prose[9::10])
    alphabet = Alphabet("".join(sorted({*training, *held_out, *beginning})))
    known, unknown = alphabet.tokens(training), alphabet.tokens(held_out)
    rows = unknown[: len(unknown) // STREAMS * STREAMS].reshape(STREAMS, -1)
    size = len(alphabet.characters)
    model = network(size, units)
    model.build((STEPS,), rng=seed, dtype="float32")

    def after_epoch(trainer: Trainer, epoch: int) -> dict[str, float]:
        return {"held out": float(surprise(model, rows).mean())}  # the next epoch begins anew

    x, t = streams(known)
    rate = schedules.LearningRate(schedules.Cosine(1e-2, epochs * (len(x) // STREAMS)))
    optimizer = optimizers.Adam(1e-2, clip_norm=1.0)
    trainer = Trainer(model, losses.SoftmaxCrossEntropy(), optimizer, rng=seed)
    began = time.perf_counter()
    history = trainer.fit(
        x, t, epochs=epochs, batch_size=STREAMS, shuffle=False,
        callbacks=[rate, callbacks.FromFunctions(figures=after_epoch)],
    )  # fmt: skip
    found = {
        "bits per character, network": history["held out"][-1],
        "bits per character, 3-gram": float(trigram_surprise(known, unknown, size).mean()),
        "perplexity, network": 2 ** history["held out"][-1],
        "seconds": time.perf_counter() - began,
    }
    rng = np.random.default_rng(seed)
    written = alphabet.text(continued(model, alphabet.tokens(beginning), 600, rng, temperature))
    print(f"{len(training):,} characters, {model.parameters.size:,} parameters")
    for name, value in found.items():
        print(f"  {name:<30} {value:7.3f}")
    print(textwrap.fill(written.replace("\n", " "), 100))
    path = Path(output) / "characters.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    passage = next(text for text in prose[9::10] if 300 < len(text) < 420)
    bits = surprise(model, alphabet.tokens("\n" + passage)[np.newaxis])[0]
    figure = draw(history, found["bits per character, 3-gram"], passage, bits, written, beginning)
    figure.savefig(path, dpi=150)
    print(f"figure: {path}")
    return found | {"text": written}


def places(text: str, width: int = 66) -> np.ndarray:
    """The row and the column of each character, with lines broken between words."""
    row, column, found = 0, 0, []
    for word in re.findall(r"\S+|\s", text):
        if column + len(word) > width and not word.isspace():
            row, column = row + 1, 0
        found += [(row, column + n) for n in range(len(word))]
        row, column = (row + 1, 0) if word == "\n" else (row, column + len(word))
    return np.array(found)


def draw(
    history: Mapping, baseline: float, passage: str, bits: np.ndarray, written: str, beginning: str
) -> Figure:
    """The learning curves, a passage with the surprise of each character, and a continuation."""
    figure = Figure(figsize=(12.4, 5.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 2.1))
    axes, epochs = left.subplots(), 1 + np.arange(len(history["loss"]))
    axes.plot(
        epochs, np.array(history["loss"]) / np.log(2), "o-", color=BLUE, ms=4, label="training"
    )
    axes.plot(epochs, history["held out"], "o-", color=VERMILION, ms=4, label="held out")
    axes.axhline(baseline, color=INK, ls=":", lw=1.2, label="3-gram, held out")
    axes.set(title="bits per character", xlabel="epoch", xticks=epochs)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)

    above, below = right.subplots(2, 1)
    at = places(passage)
    surprises = np.full(at.max(axis=0) + 1, np.nan)
    surprises[tuple(at.T)] = bits
    image = above.imshow(surprises, cmap="Oranges", vmin=0, vmax=10, aspect="auto")
    figure.colorbar(image, ax=above, label="bits", pad=0.01)
    write(above, passage, ["white" if each > 5.5 else INK for each in bits])
    above.set_title("surprise of each character in a paragraph that it has not seen")
    colors = [INK] * len(beginning) + [BLUE] * (len(written) - len(beginning))
    write(below, written, colors)
    below.set_title("what it writes after the beginning in black")
    return figure


def write(axes: Axes, text: str, colors: list[str], width: int = 66) -> None:
    """The characters of a text, each in its place and colour."""
    at = places(text, width)
    for character, (row, column), color in zip(text, at, colors, strict=True):
        if not character.isspace():
            style = {"family": "monospace", "fontsize": 10, "ha": "center", "va": "center"}
            axes.text(column, row, character, color=color, **style)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(at[:, 0].max() + 0.5, -0.5))
    axes.set_axis_off()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--units", type=int, default=192)
    parser.add_argument("--beginning", default="The network ")
    parser.add_argument("--temperature", type=float, default=0.6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="chainrule-demo", help="a folder for the figure")
    main(**vars(parser.parse_args()))
