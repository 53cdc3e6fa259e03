"""Two inputs, two outputs, two losses: which digit is it, and how far has it drifted?

    python examples/two_outputs.py

A camera takes noisy pictures of a digit on a table that drifts by d pixels. A sensor on the table
measures d too, with an error of σ_s = ½ pixel. One network takes the picture and the reading, and
returns the logits of the ten digits and an estimate of d. It minimises

    C = C_digit + λ C_drift,    C_drift = ½ ⟨(d_estimated − d)²⟩,    λ = 1/σ²

If σ is the expected error of the estimate, both terms are negative log-likelihoods and can be
added. The best combination of two independent measurements weights them by their inverse
variances: if the combined estimate has the error σ, the sensor's weight in it is σ²/σ_s². The
network has to learn this weight. A Jacobian-vector product shows how far the estimate moves with
the sensor.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from chainrule import (
    Activation,
    Concatenate,
    Dense,
    Graph,
    Input,
    Trainer,
    datasets,
    derivatives,
    losses,
    optimizers,
)

HEIGHT, WIDTH, FARTHEST = 8, 14, 3.0  # of the camera, and the largest drift, in pixels
PIXEL_NOISE, SENSOR_NOISE, EXPECTED = 0.2, 0.5, 0.25
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "0.6"


def observed(x, t, rng):
    """What camera and sensor measure for some digits: ((picture, reading), (digit, drift))."""
    drift = rng.uniform(-FARTHEST, FARTHEST, (len(x), 1)).astype(x.dtype)
    # Column s of the digit falls between two camera columns c: linear interpolation
    s, c = np.arange(8)[:, np.newaxis], np.arange(WIDTH)
    share = np.maximum(0, 1 - np.abs(c - FARTHEST - drift[:, :, np.newaxis] - s))
    picture = (x.reshape(-1, HEIGHT, 8) @ share).reshape(len(x), HEIGHT * WIDTH)
    picture = picture + PIXEL_NOISE * rng.normal(size=picture.shape)
    reading = drift + SENSOR_NOISE * rng.normal(size=drift.shape)
    return (picture.astype(x.dtype), reading.astype(x.dtype)), (t, drift)


def network() -> Graph:
    """One body with two heads, on the picture and the sensor's reading."""
    picture, reading = Input((HEIGHT * WIDTH,), name="picture"), Input((1,), name="reading")
    seen = Activation("relu")(Dense(64)(picture))
    body = Activation("relu")(Dense(64)(Concatenate()(seen, reading)))
    return Graph([picture, reading], {"digit": Dense(10)(body), "drift": Dense(1)(body)})


def main(epochs: int = 60, seed: int = 0, output: str | Path = "chainrule-demo") -> dict:
    """Train on fresh observations, test on unseen digits, and return the printed figures."""
    x, t, x_test, t_test = datasets.digits("float32")
    test = observed(x_test, t_test, np.random.default_rng(seed + 1))

    def make_batch(rng):
        chosen = rng.integers(len(x), size=32)
        return observed(x[chosen], t[chosen], rng)

    model = network()
    each = [losses.SoftmaxCrossEntropy(), losses.HalfSquaredError()]
    trainer = Trainer(model, each, optimizers.Adam(2e-3), loss_weights=[1, EXPECTED**-2], rng=seed)
    history = trainer.fit(make_batch, epochs=epochs, steps_per_epoch=100, validation_data=test)

    (picture, reading), (digit, drift) = test
    logits, estimate = model(picture, reading)
    # How far the estimate moves if the reading moves by one pixel and the picture stays the same
    move = (np.zeros_like(picture), np.ones_like(reading))
    _, (_, follows) = derivatives.jvp(model, (picture, reading), move)
    error, sensor_error = (float(np.sqrt(np.mean((y - drift) ** 2))) for y in (estimate, reading))
    accuracy = float(np.mean(logits.argmax(axis=1) == digit))
    best, follows = error**2 / SENSOR_NOISE**2, float(follows.mean())
    print(model, end="\n\n")
    print(f"{len(digit)} unseen digits, {100 * accuracy:.1f} % recognized")
    print(f"  rms error of the drift: sensor {sensor_error:.2f} px, network {error:.2f} px")
    print(f"  one pixel more from the sensor moves the estimate by {follows:.2f} px;", end=" ")
    print(f"inverse variances give {best:.2f} px")

    path = Path(output) / "two_outputs.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(history, test, logits.argmax(axis=1), estimate).savefig(path, dpi=150)
    print(f"figure: {path}")
    names = ("accuracy", "error", "sensor error", "follows", "best")
    return dict(zip(names, (accuracy, error, sensor_error, follows, best), strict=True))


def draw(history, test, said, estimate) -> Figure:
    """Some pictures with both answers, the curves of both losses, and all estimates of d."""
    (picture, reading), (digit, drift) = test
    figure = Figure(figsize=(12, 6.2), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1, 2.2])
    for n, axes in enumerate(above.subplots(1, 6)):
        axes.imshow(picture[n].reshape(HEIGHT, WIDTH), cmap="gray_r", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        text = f"true {digit[n]}, d = {drift[n, 0]:+.1f}\nsays {said[n]}, d = {estimate[n, 0]:+.1f}"
        is_right = said[n] == digit[n]
        axes.set_xlabel(text.replace("-", "−"), color="black" if is_right else ORANGE)
    above.suptitle("camera pictures and the network's answers (d in pixels)")
    digit_curve, drift_curve, drifts = below.subplots(1, 3)
    epochs = range(1, history.epochs + 1)
    for axes, name, title in (  # the history names each loss after its output
        (digit_curve, "digit_loss", r"$C_\mathrm{digit}$: cross entropy"),
        (drift_curve, "drift_loss", r"$C_\mathrm{drift}$: half squared error (pixels²)"),
    ):
        axes.plot(epochs, history[name], color=BLUE, label="training")
        axes.plot(epochs, history[f"validation_{name}"], color=ORANGE, label="unseen digits")
        axes.set(title=title, xlabel="epoch")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
    drifts.plot(drift, reading, "x", color=GREY, ms=4, label="sensor")
    drifts.plot(drift, estimate, ".", color=BLUE, ms=4, label="network")
    ends = [-FARTHEST, FARTHEST]
    drifts.plot(ends, ends, color="black", lw=1)
    drifts.set(title="the drift of 360 unseen digits", xlabel="true d (pixels)", aspect="equal")
    drifts.set(xticks=[-3, 0, 3], yticks=[-3, 0, 3], ylabel="estimated d (pixels)")
    drifts.legend(frameon=False, loc="upper left")
    for axes in below.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="chainrule-demo", help="a folder for the figure")
    main(**vars(parser.parse_args()))
