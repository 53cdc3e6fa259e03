"""More data than memory: a network learns from a file that is never loaded completely.

    python examples/memory_mapped.py                     512 MB, in chainrule-demo/spectra.npy
    python examples/memory_mapped.py --samples 6000000   6 GB

Each sample is a spectrum of 256 channels: one Lorentzian line on a background, with noise,

    s_c = a / (1 + ((c − c₀)/γ)²) + background + noise

and the network learns the position c₀ of the line. The program writes the file once, and then opens
it with `numpy.load(…, mmap_mode="r")`, as you would open your own measurements. Training reads the
file in blocks, shuffles their rows, and frees the memory again; it reads the next block while the
network learns from the current one.
"""

from __future__ import annotations

import argparse
import resource
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from chainrule import Activation, Dense, Sequential, Trainer, losses, optimizers

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "0.6"
CHANNELS = 256


def spectra(rng, count):
    """Spectra (count, 256), and the positions (count, 1) of their lines, scaled to −1 … 1."""
    channel = np.arange(CHANNELS, dtype="float32")
    place = rng.uniform(20, CHANNELS - 20, size=(count, 1)).astype("float32")
    width = rng.uniform(2, 8, size=(count, 1)).astype("float32")
    height = rng.uniform(0.5, 1, size=(count, 1)).astype("float32")
    slope = rng.uniform(-1, 1, size=(count, 1)).astype("float32")
    line = height / (1 + ((channel - place) / width) ** 2)
    noise = rng.normal(0, 0.5, size=(count, CHANNELS)).astype("float32")
    return line + slope * channel / CHANNELS + noise, 2 * place / CHANNELS - 1


def write(path, samples, rng):
    """Write a file of spectra, block by block, and return the positions of their lines."""
    places = np.empty((samples, 1), "float32")
    header = {"descr": "<f4", "fortran_order": False, "shape": (samples, CHANNELS)}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, samples, 10_000):
            block, there = spectra(rng, min(10_000, samples - start))
            places[start : start + len(there)] = there
            file.write(block.tobytes())
    return places


def memory():
    """The peak memory of this process so far, in MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def main(
    epochs: int = 1, seed: int = 0, output: str | Path = "chainrule-demo", samples: int = 500_000
) -> float:
    """Write the file, learn from it, and return the error on unseen spectra."""
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    path = folder / "spectra.npy"
    places = write(path, samples, rng)

    x = np.load(path, mmap_mode="r")
    model = Sequential([Dense(64), Activation("tanh"), Dense(64), Activation("tanh"), Dense(1)])
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.Adam(1e-3), rng=seed)
    x_test, place = spectra(rng, 2000)
    history = trainer.fit(x, places, epochs=epochs, batch_size=128, validation_data=(x_test, place))

    print(history)
    channels = CHANNELS / 2
    error = channels * np.abs(model(x_test) - place)[:, 0]
    guess = channels * np.abs(2 * x_test.argmax(axis=1) / CHANNELS - 1 - place[:, 0])
    print(f"the file                            {path.stat().st_size / 1e6:8,.0f} MB")
    print(f"peak memory of this process         {memory():8,.0f} MB")
    print(f"median error, network               {np.median(error):8.2f} channels")
    print(f"median error, highest channel       {np.median(guess):8.2f} channels")
    figure = draw(x_test, place, model(x_test), error, guess)
    picture = folder / "memory_mapped.png"
    figure.savefig(picture, dpi=150)
    path.unlink()
    print(f"figure: {picture}")
    return float(np.median(error))


def draw(x, place, y, error, guess):
    """Two spectra with their lines, and the errors of both ways to find them."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    *spectra_, errors = figure.subplots(1, 3)
    for axes, spectrum, true, found in zip(spectra_, x, place[:, 0], y[:, 0], strict=False):
        axes.plot(spectrum, color=GREY, lw=0.7)
        axes.axvline((true + 1) * CHANNELS / 2, color="black", lw=3, alpha=0.3, label="the line")
        axes.axvline((found + 1) * CHANNELS / 2, color=BLUE, lw=1.2, label="network")
        axes.axvline(spectrum.argmax(), color=ORANGE, lw=1.2, ls="--", label="highest channel")
        axes.set(xlabel="channel", title="an unseen spectrum")
    spectra_[0].legend(frameon=False, fontsize=8)
    bins = np.geomspace(0.1, CHANNELS, 40)
    errors.hist(guess, bins, color=ORANGE, alpha=0.6, label="highest channel")
    errors.hist(error, bins, color=BLUE, alpha=0.6, label="network")
    errors.set(xscale="log", xlabel="error in channels", title="2,000 spectra")
    errors.legend(frameon=False, fontsize=8)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="chainrule-demo", help="the folder for file and figure")
    parser.add_argument("--samples", type=int, default=500_000)
    main(**vars(parser.parse_args()))
