"""An autoencoder: 64 pixels through two numbers and back.

    python examples/autoencoder.py

An encoder f turns a picture into a code of two numbers, and a decoder g turns the code into a
picture. Both learn together to reproduce the input:

    C = ½ ⟨‖g(f(x)) − x‖²⟩

The network sees no labels. Everything that distinguishes pictures has to pass through the two
numbers, so digits that look alike end up close together in a plane. If f and g were linear, the
best plane would be that of the first two principal components; the program prints the error of
both.

Three graphs share their layers: `whole` learns, and `encoder` and `decoder` are its halves.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from chainrule import Activation, Dense, Graph, Input, Trainer, datasets, losses, optimizers

# Ten colours for readers with any colour vision: P. Tol, "muted", and grey.
COLOURS = ["#332288", "#CC6677", "#117733", "#DDAA33", "#44AA99"]
COLOURS += ["#882255", "#88CCEE", "#999933", "#AA4499", "#777777"]


def autoencoder() -> tuple[Graph, Graph, Graph]:
    """The whole network and its two halves, which share its layers."""
    image = Input((64,), name="image")
    h = Activation("relu")(Dense(128, initializer="he_normal")(image))
    h = Activation("relu")(Dense(64, initializer="he_normal")(h))
    code = Activation("tanh")(Dense(2)(h))  # every code is in the square from −1 to 1
    h = Activation("relu")(Dense(64, initializer="he_normal")(code))
    h = Activation("relu")(Dense(128, initializer="he_normal")(h))
    picture = Activation("sigmoid")(Dense(64)(h))
    return Graph(image, picture), Graph(image, code), Graph(code, picture)


def main(epochs: int = 100, seed: int = 0, output: str | Path = "chainrule-demo") -> dict:
    """Train on the real digits, draw the plane, and return the printed figures."""
    x, t, x_test, t_test = datasets.digits("float32")
    whole, encoder, decoder = autoencoder()
    trainer = Trainer(whole, losses.HalfSquaredError(), optimizers.Adam(2e-3), rng=seed)
    trainer.fit(x, x, epochs=epochs, batch_size=32)

    # The squared error as a share of the variance: of the network, and of the best linear plane
    mean = x.mean(axis=0)
    axes = np.linalg.svd(x - mean, full_matrices=False)[2][:2]
    linear = mean + (x_test - mean) @ axes.T @ axes
    left, left_linear = (((y - x_test) ** 2).sum() for y in (whole(x_test), linear))
    variance = ((x_test - mean) ** 2).sum()
    # Do two numbers identify the digit? Each test code takes the label of its nearest neighbour.
    codes, test_codes = encoder(x), encoder(x_test)
    nearest = np.linalg.norm(test_codes[:, np.newaxis] - codes, axis=-1).argmin(axis=1)
    found = {
        "variance lost by the network": float(left / variance),
        "variance lost by two principal components": float(left_linear / variance),
        "test digits recognized from two numbers": float(np.mean(t[nearest] == t_test)),
    }
    print(f"{len(x_test)} test digits, 64 pixels → 2 numbers → 64 pixels")
    for name, share in found.items():
        print(f"  {name:<46} {100 * share:5.1f} %")

    path = Path(output) / "autoencoder.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(test_codes, t_test, decoder).savefig(path, dpi=150)
    print(f"figure: {path}")
    return found


def draw(codes, labels, decoder, across: int = 15) -> Figure:
    """The plane twice: the codes of the test digits, and the decoder's picture at each point."""
    figure = Figure(figsize=(12.4, 6.6), layout="compressed")
    points, pictures = figure.subplots(1, 2, sharex=True, sharey=True)
    for digit, colour in enumerate(COLOURS):
        here = codes[labels == digit]
        points.scatter(*here.T, s=38, marker=f"${digit}$", color=colour, linewidths=0.4)
        halo = [withStroke(linewidth=4, foreground="white")]
        points.text(
            *np.median(here, axis=0), digit, color=colour, fontsize=24, fontweight="bold",
            ha="center", va="center", path_effects=halo,
        )  # fmt: skip
    points.set(title="the codes of 360 test digits", ylabel="second number of the code")

    # A grid of codes, the top row first; each picture is as wide as its step
    edge = 1.05
    middle = (np.arange(across) + 0.5) / across * 2 * edge - edge
    grid = np.stack(np.meshgrid(middle, middle[::-1]), axis=-1).reshape(-1, 2)
    decoded = decoder(grid.astype(codes.dtype)).reshape(across, across, 8, 8)
    framed = np.pad(decoded, ((0, 0), (0, 0), (1, 1), (1, 1)))  # a white line around each
    sheet = framed.transpose(0, 2, 1, 3).reshape(10 * across, 10 * across)
    pictures.imshow(sheet, cmap="gray_r", vmin=0, vmax=1, extent=(-edge, edge, -edge, edge))
    pictures.set(title="the decoder's picture at each point of the plane")
    for axes in (points, pictures):
        axes.set(xlim=(-edge, edge), ylim=(-edge, edge), aspect="equal")
        axes.set(xlabel="first number of the code", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="chainrule-demo", help="a folder for the figure")
    main(**vars(parser.parse_args()))
