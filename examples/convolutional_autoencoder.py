"""A convolutional autoencoder fills in digits of which every second pixel is missing.

    python examples/convolutional_autoencoder.py

An encoder f shrinks the image to a code of sixteen numbers, and a decoder g makes an image from the
code. The target is the whole digit x, and the input has lost some of its pixels:

    C = ½ ⟨‖g(f(m ⊙ x)) − x‖²⟩        with a new mask m of zeros and ones in every step

Sixteen numbers are too few for an arbitrary image, so they have to describe what digits have in
common, and what is missing follows from that. In the encoder, convolutions with a stride of 2 halve
the image. In the decoder, their transposes double it: each input writes a whole kernel into the
output.

    8 × 8 → 4 × 4 → 2 × 2, with four channels → 4 × 4 → 8 × 8

The program compares the error with those of two linear maps that also have sixteen numbers in the
middle: the projection on the first principal components, and the best linear map of all, from a
regression. The figure shows a digit of each kind with its code, and what the decoder makes of the
codes that are between those of four digits.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from chainrule import (
    Activation,
    Convolution,
    Sequential,
    Trainer,
    TransposedConvolution,
    datasets,
    losses,
    optimizers,
    schedules,
)

CODE = 16


def autoencoder() -> tuple[Sequential, Sequential, Sequential]:
    """The whole network and its two halves, the encoder and the decoder."""
    encoder = Sequential(
        [
            *(Convolution(32, 3), Activation("relu")),
            *(Convolution(32, 3, stride=2), Activation("relu")),
            *(Convolution(64, 3, stride=2), Activation("relu")),
            Convolution(4, 1),
        ]
    )
    decoder = Sequential(
        [
            *(Convolution(64, 2), Activation("relu")),
            *(TransposedConvolution(32, 4, stride=2), Activation("relu")),
            *(TransposedConvolution(32, 4, stride=2), Activation("relu")),
            *(Convolution(1, 3), Activation("sigmoid")),
        ]
    )
    return Sequential([encoder, decoder]), encoder, decoder


def with_holes(
    images: np.ndarray, rng: np.random.Generator, share: float | np.ndarray = 0.5
) -> np.ndarray:
    """The images, each pixel set to zero with this probability."""
    return images * (rng.random(images.shape) >= share).astype(images.dtype)


Map = Callable[[np.ndarray], np.ndarray]


def components(images: np.ndarray) -> Map:
    """The projection on the first principal components of these images."""
    flat = images.reshape(len(images), -1)
    mean = flat.mean(axis=0)
    axes = np.linalg.svd(flat - mean, full_matrices=False)[2][:CODE]
    return lambda x: (mean + (x.reshape(len(x), -1) - mean) @ axes.T @ axes).reshape(x.shape)


def best_linear(images: np.ndarray, targets: np.ndarray) -> Map:
    """The linear map with that many numbers in the middle that has the smallest error.

    It is the regression, projected on the principal components of its values (A. J. Izenman,
    Reduced-rank regression, 1975). If the images are the targets, these are `components`.
    """
    x, t = (array.reshape(len(array), -1) for array in (images, targets))
    mean_x, mean_t = x.mean(axis=0), t.mean(axis=0)
    slope = np.linalg.lstsq(x - mean_x, t - mean_t)[0]
    axes = np.linalg.svd((x - mean_x) @ slope, full_matrices=False)[2][:CODE]
    slope = slope @ axes.T @ axes
    return lambda x: (mean_t + (x.reshape(len(x), -1) - mean_x) @ slope).reshape(x.shape)


def main(epochs: int = 60, seed: int = 0, output: str | Path = "chainrule-demo") -> dict:
    """Train, fill in the test digits, draw them, and return the printed figures."""
    x, _, x_test, t_test = datasets.digits("float32")
    x, x_test = (images.reshape(-1, 8, 8, 1) for images in (x, x_test))
    whole, encoder, decoder = autoencoder()

    def batch(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        chosen = x[rng.integers(0, len(x), 32)]
        return with_holes(chosen, rng, rng.uniform(0, 0.75, (32, 1, 1, 1))), chosen

    steps = -(-len(x) // 32)
    Trainer(whole, losses.HalfSquaredError(), optimizers.Adam(3e-3), rng=seed).fit(
        batch,
        epochs=epochs,
        steps_per_epoch=steps,
        callbacks=[schedules.LearningRate(schedules.Cosine(3e-3, epochs * steps))],
    )

    rng = np.random.default_rng(seed)
    repeated = np.concatenate([x] * 20)
    linear = best_linear(with_holes(repeated, rng), repeated)
    seen = with_holes(x_test, rng)
    variance = ((x_test - x.mean(axis=0)) ** 2).sum()
    answers = {
        "input, half of its pixels missing": seen,
        f"{CODE} principal components": components(x)(seen),
        f"best linear map through {CODE} numbers": linear(seen),
        f"network, {CODE} numbers": whole(seen),
    }
    found = {
        name: float(((images - x_test) ** 2).sum() / variance) for name, images in answers.items()
    }
    print(f"squared error of {len(x_test)} test digits, as a share of their variance;", end=" ")
    print(f"{whole.parameters.size:,} parameters")
    for name, share in found.items():
        print(f"  {name:<40} {100 * share:6.1f} %")
    path = Path(output) / "convolutional_autoencoder.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(encoder, decoder, linear, x_test, seen, t_test).savefig(path, dpi=150)
    print(f"figure: {path}")
    return found


def draw(encoder, decoder, linear, x, seen, labels, across: int = 9) -> Figure:
    """A digit of each kind with its code, and the images of all codes between those of four."""
    figure = Figure(figsize=(12.4, 4.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.85, 1))
    shown = [np.flatnonzero(labels == digit)[2] for digit in range(10)]
    codes = encoder(seen[shown])
    largest = np.abs(codes).max()
    rows = (
        ("half a digit", seen[shown]),
        ("its code", codes.reshape(-1, 4, 4, 1)),
        ("network", decoder(codes)),
        ("best linear map", linear(seen[shown])),
        ("whole digit", x[shown]),
    )
    for axes, (name, images) in zip(left.subplots(len(rows), 1), rows, strict=True):
        if name == "its code":
            axes.imshow(sheet(images), cmap="PuOr", vmin=-largest, vmax=largest)
        else:
            axes.imshow(sheet(images), cmap="gray_r", vmin=0, vmax=1)
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11)

    corners = encoder(x[[shown[digit] for digit in (0, 6, 3, 9)]])
    pictures = decoder(between(corners, across))
    axes = right.subplots()
    lines = [sheet(line) for line in np.split(pictures, across)]
    axes.imshow(np.vstack(lines), cmap="gray_r", vmin=0, vmax=1)
    axes.set_title("between the codes of four digits")
    for axes in figure.axes:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return figure


def between(corners: np.ndarray, across: int) -> np.ndarray:
    """Codes on a square grid, line by line: bilinear between those of its four corners."""
    share = np.linspace(0, 1, across, dtype=corners.dtype)
    edges = np.stack([1 - share, share])  # of the first and of the second
    grid = np.einsum("ai,bj,ab...->ij...", edges, edges, corners.reshape(2, 2, *corners.shape[1:]))
    return grid.reshape(-1, *corners.shape[1:])


def sheet(images: np.ndarray) -> np.ndarray:
    """The images side by side, with a margin that is not drawn."""
    return np.hstack(np.pad(images[..., 0], ((0, 0), (1, 1), (1, 1)), constant_values=np.nan))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="chainrule-demo", help="a folder for the figure")
    main(**vars(parser.parse_args()))
