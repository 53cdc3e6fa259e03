"""A custom layer: a trainable wave, y = sin(k x + φ), checked and then fitted to data.

    python examples/own_layer.py

The layer is two methods and a build. `check_layer` checks to machine precision that its backward
pass is the adjoint of its forward pass. Then it works and learns like any other layer.
"""

from __future__ import annotations

import numpy as np

from chainrule import Dense, Layer, Sequential, Trainer, check_layer, losses, optimizers


class Wave(Layer):
    """y = sin(k x + φ), with a wave number k and a phase φ for each column."""

    def build(self, input_shape):
        self.wave_number = self.parameter("wave_number", input_shape, "ones")
        self.phase = self.parameter("phase", input_shape, "zeros")

    def forward(self, x):
        self.x, self.angle = x, self.wave_number.value * x + self.phase.value
        return np.sin(self.angle)

    def backward(self, delta):
        slope = delta * np.cos(self.angle)  # ∂C/∂(k x + φ)
        self.wave_number.accumulate((slope * self.x).sum(axis=0))
        self.phase.accumulate(slope.sum(axis=0))
        return slope * self.wave_number.value


def make_batch(rng):
    """A hundred new random points of 2 sin(3x + ½) − sin(x)."""
    x = rng.uniform(-2, 2, (100, 1))
    return x, 2 * np.sin(3 * x + 0.5) - np.sin(x)


def main() -> float:
    """Check the layer, fit a sum of sixteen waves, and return the last cost."""
    print(check_layer(Wave(), (4,)), "\n")

    model = Sequential([Dense(16, initializer="lecun_normal"), Wave(), Dense(1)])
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.Adam(0.01), rng=0)
    history = trainer.fit(make_batch, epochs=20, steps_per_epoch=100)
    print(model, "\n")
    first, last = history["loss"][0], history["loss"][-1]
    print(f"cost of the first epoch {first:.4f}, of the last {last:.6f}")
    return float(last)


if __name__ == "__main__":
    main()
