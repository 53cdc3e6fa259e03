"""Formulas: layers of which only `forward` is written."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import Activation, Dense, Formula, Sequential
from chainrule.core.layer import Layer


class Decay(Formula):
    def build(self, input_shape):
        self.amplitude = self.parameter("amplitude", (), 2.0)
        self.rate = self.parameter("rate", (), 0.7)

    def forward(self, time):
        return self.amplitude.value * np.exp(-self.rate.value * time)


class Several(Formula):
    """Two inputs, three outputs, parameters of rank 0 to 3."""

    power: int = 2

    def build(self, a, b):
        self.matrix = self.parameter("matrix", (*a, 3), "glorot_uniform")
        self.shift = self.parameter("shift", (3,), 0.3)
        self.stack = self.parameter("stack", (2, 3, 2), "glorot_uniform")
        self.factor = self.parameter("factor", (), 0.5)

    def forward(self, a, b):
        z = np.tanh(a @ self.matrix.value + self.shift.value)
        sums = np.sum(z, axis=1) * np.sin(self.factor.value * b)
        return z**self.power, sums, np.einsum("bi,jik->bjk", z, self.stack.value)


class Around(Formula):
    """A network inside a formula."""

    def build(self, input_shape):
        self.network = Sequential([Dense(3), Activation("tanh"), Dense(*input_shape)])
        self.network.build(input_shape)
        self.share = self.parameter("share", (), 0.7)

    def forward(self, x):
        return self.share.value * self.network.forward(x) - x


class Faster(Decay):
    def forward(self, time):
        return super().forward(2 * time) + self.rate.value


class Filter(Formula):
    """A fixed array, and no parameter."""

    def build(self, input_shape):
        self.kernel = self.buffer("kernel", np.arange(1.0, 1 + input_shape[0]))

    def forward(self, x):
        return np.sum(self.kernel.value * x, axis=1) ** 2


FORMULAS: list[tuple[Layer, Any]] = [
    (Decay(), ()),
    (Decay(), (2, 3)),
    (Several(), ((2,), ())),
    (Around(), (2,)),
    (Faster(), (3,)),
    (Filter(), (3,)),
]
