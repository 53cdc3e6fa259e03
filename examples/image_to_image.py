"""From image to image: find a noisy circle and draw the square around it.

    python examples/image_to_image.py

Five convolutions turn an image into another one of the same size. The network sees circles of any
place and size in strong noise, and learns to draw the square that just contains the circle. No
layer fixes the size of the image: each pixel of the result is computed from its neighbourhood, by
the same weights everywhere. So the network that was trained on 32 × 32 pixels with one circle works
on an image of any size with any number of them.

Dilated convolutions, of every second or fourth pixel, see far enough with few weights. The
neighbourhood of a pixel of the result is

    1 + Σ_layers (kernel − 1) · dilation

pixels wide: here 39, more than twice the largest square.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from chainrule import (
    Activation,
    BatchNorm,
    Convolution,
    Sequential,
    Trainer,
    losses,
    optimizers,
    schedules,
)

SIZE, RADII, NOISE = 32, (4.0, 8.0), 0.5


def network() -> Sequential:
    """Five convolutions; the last one gives one number for each pixel."""
    layers = []
    for dilation in (1, 2, 4, 4):
        layers += [Convolution(16, 3 if dilation < 4 else 5, dilation=dilation, use_bias=False)]
        layers += [BatchNorm(), Activation("relu")]
    return Sequential([*layers, Convolution(1, 1)])


def scenes(
    count: int, rng: np.random.Generator, *, size: int = SIZE, circles: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Images of noisy circles, and those of the squares around them: (count, size, size, 1)."""
    y, x = np.mgrid[:size, :size]
    images, squares = np.zeros((2, count, size, size))
    for image, square in zip(images, squares, strict=True):
        centres: list[np.ndarray] = []
        while len(centres) < circles:
            radius = rng.uniform(*RADII)
            centre = rng.uniform(radius + 1, size - radius - 2, 2)
            if any(np.abs(centre - other).max() < 2 * RADII[1] + 4 for other in centres):
                continue  # squares that touch each other would be no squares
            centres.append(centre)
            across, down = np.abs(x - centre[0]), np.abs(y - centre[1])
            image += np.exp(-((np.hypot(across, down) - radius) ** 2))  # a ring of width 1
            square += np.abs(np.maximum(across, down) - radius) < 0.75
    images += NOISE * rng.normal(size=images.shape)
    return (images[..., np.newaxis].astype("float32"), squares[..., np.newaxis].astype("float32"))


def overlap(drawn: np.ndarray, squares: np.ndarray) -> float:
    """The pixels that are in both, as a share of those in either."""
    found, wanted = drawn > 0, squares > 0
    return float((found & wanted).sum() / (found | wanted).sum())


def main(steps: int = 400, seed: int = 0, output: str | Path = "chainrule-demo") -> dict:
    """Train on fresh images, draw new ones, and return the printed figures."""
    rng = np.random.default_rng(seed)
    model = network()
    trainer = Trainer(
        model, losses.SigmoidCrossEntropy(pos_weight=2.0), optimizers.Adam(1e-2), rng=seed
    )
    trainer.fit(
        lambda rng: scenes(32, rng),
        epochs=10,
        steps_per_epoch=steps // 10,
        callbacks=[schedules.LearningRate(schedules.Cosine(1e-2, steps))],
    )
    small, large = scenes(200, rng), scenes(2, rng, size=96, circles=9)
    found = {
        "overlap with the squares, 32 × 32": overlap(model(small[0]), small[1]),
        "overlap with the squares, 96 × 96": overlap(model(large[0]), large[1]),
    }
    print(f"{steps} steps with 32 images of {SIZE} × {SIZE}, {model.parameters.size:,} parameters")
    for name, value in found.items():
        print(f"  {name:<36} {value:6.3f}")
    path = Path(output) / "image_to_image.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(model, small, large).savefig(path, dpi=150)
    print(f"figure: {path}")
    return found


def draw(model: Sequential, small: tuple, large: tuple) -> Figure:
    """Three small images with their squares, and a large one."""
    figure = Figure(figsize=(12.4, 5.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.45))
    grid = left.subplots(3, 3)
    answers = 1 / (1 + np.exp(-model(small[0][:3])))
    for row, images in zip(grid, zip(small[0], answers, small[1], strict=False), strict=True):
        for axes, image in zip(row, images, strict=True):
            axes.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
    for axes, name in zip(grid[0], ("image", "network", "square"), strict=True):
        axes.set_title(name)
    image, drawn = large[0][0, ..., 0], model(large[0])[0, ..., 0] > 0
    noisy, found = right.subplots(1, 2)
    for axes, shown, name in (
        (noisy, image, "nine times the area"),
        (found, drawn, "the same network"),
    ):
        axes.imshow(shown, cmap="gray_r", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[], title=name)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="chainrule-demo", help="a folder for the figure")
    main(**vars(parser.parse_args()))
