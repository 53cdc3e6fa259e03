"""A convolutional network for handwritten digits, and what it sees.

    python examples/digits_cnn.py

A dense layer connects every pixel with every neuron. A convolution has one small filter for each
feature, 3 × 3 weights that are moved over the whole image:

    z_ijc = Σ_klm x_(i+k)(j+l)m w_klmc + b_c

So a stroke is recognized wherever it is, with a hundred times fewer weights. Two of them, a pool
that keeps the largest of four neighbours, a third convolution, and a dense layer for the ten
digits.

The figure shows the sixteen filters of the first layer, the feature maps that a digit leaves in
each layer, and the test digits that the network gets wrong.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from chainrule import (
    Activation,
    BatchNorm,
    Convolution,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    Sequential,
    Trainer,
    datasets,
    losses,
    optimizers,
    schedules,
)


def network() -> Sequential:
    """Three convolutions, each normalized; dropout leaves out neurons in training."""
    return Sequential(
        [
            *(Convolution(16, 3), BatchNorm(), Activation("relu")),
            *(Convolution(32, 3), BatchNorm(), Activation("relu")),
            *(MaxPool(2), Dropout(0.25)),
            *(Convolution(64, 3), BatchNorm(), Activation("relu")),
            *(Flatten(), Dropout(0.5), Dense(10)),
        ]
    )


def main(epochs: int = 30, seed: int = 0, output: str | Path = "chainrule-demo") -> dict:
    """Train, draw what the layers see, and return the printed figures."""
    x, t, x_test, t_test = datasets.digits("float32")
    x, x_test = (images.reshape(-1, 8, 8, 1) for images in (x, x_test))
    model = network()
    trainer = Trainer(
        model, losses.SoftmaxCrossEntropy(), optimizers.Adam(2e-3), metrics=["accuracy"], rng=seed
    )
    began = time.perf_counter()
    falling = schedules.LearningRate(schedules.Cosine(2e-3, epochs), per="epoch")
    trainer.fit(x, t, epochs=epochs, batch_size=32, callbacks=[falling])
    found = {
        "right of the training digits": trainer.evaluate(x, t)["accuracy"],
        "right of the test digits": trainer.evaluate(x_test, t_test)["accuracy"],
        "seconds": time.perf_counter() - began,
    }
    print(f"{len(x)} digits for training, {model.parameters.size:,} parameters")
    for name, value in found.items():
        print(f"  {name:<30} {value:8.4f}")
    path = Path(output) / "digits_cnn.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(model, x_test, t_test).savefig(path, dpi=150)
    print(f"figure: {path}")
    return found


def feature_maps(model: Sequential, image: np.ndarray) -> list[np.ndarray]:
    """What the activations and the pool make of one image."""
    maps, y = [], image[np.newaxis]
    for layer in model:
        y = layer(y)
        if isinstance(layer, Activation | MaxPool):
            maps.append(y[0])
    return maps


def draw(model: Sequential, x: np.ndarray, labels: np.ndarray, shown: int = 2) -> Figure:
    """The filters, the feature maps of the first test digit of a kind, and the mistakes."""
    figure = Figure(figsize=(12.4, 6.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 2.1))
    filters, wrong = left.subfigures(2, 1, height_ratios=(1.15, 1))

    weights = model[0].weights.value[:, :, 0, :]
    limit = np.abs(weights).max()
    filters.suptitle("16 filters (red: positive weights)")
    for axes, kernel in zip(filters.subplots(4, 4).flat, np.moveaxis(weights, -1, 0), strict=True):
        axes.imshow(kernel, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes.set(xticks=[], yticks=[])

    answers = model(x).argmax(axis=1)
    mistakes = np.flatnonzero(answers != labels)[:8]
    wrong.suptitle("its mistakes in 360 test digits" if len(mistakes) else "no mistakes")
    for axes in wrong.subplots(2, 4).flat:
        axes.set_axis_off()
    for axes, n in zip(wrong.axes, mistakes, strict=False):
        axes.imshow(x[n, ..., 0], cmap="gray_r")
        axes.set_title(f"{labels[n]}, not {answers[n]}", fontsize=9)

    image = x[np.flatnonzero(labels == shown)[0]]
    maps = feature_maps(model, image)
    names = ("first layer", "second layer", "largest of 2 × 2", "third layer")
    heights = [image.shape[-1] / 16 for image in maps]
    grids = right.subfigures(len(maps) + 1, 1, height_ratios=(1.8, *heights))
    digit = grids[0].subplots()
    digit.imshow(image[..., 0], cmap="gray_r")
    digit.set(xticks=[], yticks=[], title="a digit, and its feature maps after each layer")
    for grid, images, name in zip(grids[1:], maps, names, strict=True):
        grid.supylabel(name, fontsize=10)
        rows = grid.subplots(images.shape[-1] // 16, 16, squeeze=False)
        for axes, feature in zip(rows.flat, np.moveaxis(images, -1, 0), strict=True):
            axes.imshow(feature, cmap="gray_r", vmin=0, vmax=images.max())
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_color("#bbbbbb")
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="chainrule-demo", help="a folder for the figure")
    main(**vars(parser.parse_args()))
