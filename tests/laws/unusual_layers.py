"""A zoo of layers that are right, each in a way that a careless checker could take for wrong."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from attrs import field

from chainrule.core.layer import Layer
from chainrule.graph.sequential import Sequential
from chainrule.layers.activation import Activation
from chainrule.layers.dense import Dense


class PassesOn(Layer):
    """Returns the very array that it is given."""

    def forward(self, inputs):
        return inputs

    def backward(self, delta):
        return delta


class BatchNorm(Layer):
    """Rows see each other, and it says so; running statistics are a state."""

    couples_batch: ClassVar[bool] = True
    momentum: float = 0.9

    def build(self, input_shape):
        self.parameter("scale", input_shape, "ones")
        self.parameter("shift", input_shape)
        self.buffer("mean", input_shape)
        self.buffer("variance", input_shape, "ones")

    def forward(self, x):
        mean, variance = x.mean(axis=0), x.var(axis=0)
        if len(x):
            self.mean.value = self.momentum * self.mean.value + (1 - self.momentum) * mean
            self.variance.value = (
                self.momentum * self.variance.value + (1 - self.momentum) * variance
            )
        self.deviation = np.sqrt(variance + 1e-5)
        self.normal = (x - mean) / self.deviation
        return self.normal * self.scale.value + self.shift.value

    def backward(self, delta):
        self.scale.accumulate((delta * self.normal).sum(axis=0))
        self.shift.accumulate(delta.sum(axis=0))
        d = delta * self.scale.value
        return (d - d.mean(axis=0) - self.normal * (d * self.normal).mean(axis=0)) / self.deviation

    def apply(self, x):
        normal = (x - self.mean.value) / np.sqrt(self.variance.value + 1e-5)
        return normal * self.scale.value + self.shift.value


class Dropout(Layer):
    """Random in training, from its own generator; the identity in use."""

    rate: float = 0.5

    def build(self, input_shape):
        self.generator("coin")

    def forward(self, x):
        self.mask = (self.coin.random(x.shape) >= self.rate).astype(x.dtype) / (1 - self.rate)
        return x * self.mask

    def backward(self, delta):
        return delta * self.mask

    def apply(self, x):
        return +x


class LayerNorm(Layer):
    """Normalizes each row, with the three terms of its Jacobian."""

    def forward(self, x):
        self.deviation = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
        self.normal = (x - x.mean(axis=-1, keepdims=True)) / self.deviation
        return self.normal

    def backward(self, delta):
        along = (delta * self.normal).mean(axis=-1, keepdims=True)
        return (delta - delta.mean(axis=-1, keepdims=True) - self.normal * along) / self.deviation


class Product(Layer):
    """Two inputs."""

    def forward(self, a, b):
        self.a, self.b = a, b
        return a * b

    def backward(self, delta):
        return delta * self.b, delta * self.a


class Halves(Layer):
    """Two outputs."""

    def forward(self, x):
        self.width = x.shape[1]
        return x[:, : self.width // 2], x[:, self.width // 2 :]

    def backward(self, delta):
        return np.concatenate(delta, axis=1)


class Shuffled(Layer):
    """A fixed permutation, as whole numbers made in build."""

    def build(self, input_shape):
        self.order = self.rng.permutation(input_shape[0])

    def forward(self, x):
        return x[:, self.order]

    def backward(self, delta):
        result = np.zeros_like(delta)
        result[:, self.order] = delta
        return result


class RunningSum(Layer):
    """Its Jacobian is a triangle."""

    def forward(self, x):
        return np.cumsum(x, axis=1)

    def backward(self, delta):
        return np.cumsum(delta[:, ::-1], axis=1)[:, ::-1]


class PeriodicConvolution(Layer):
    """y_i = Σ_k w_k x_{i+k}, on a ring, with a window on the padded input."""

    size: int = 3

    def build(self, input_shape):
        self.parameter("kernel", (self.size,), "normal")

    def forward(self, x):
        ring = np.concatenate([x, x[:, : self.size - 1]], axis=1)
        self.windows = np.lib.stride_tricks.sliding_window_view(ring, self.size, axis=1)
        return self.windows @ self.kernel.value

    def backward(self, delta):
        self.kernel.accumulate(np.einsum("bi,bik->k", delta, self.windows))
        shifted = [np.roll(delta, k, axis=1) * w for k, w in enumerate(self.kernel.value)]
        return sum(shifted[1:], shifted[0])


class Tied(Layer):
    """y = x W Wᵀ: one parameter, two places, two contributions to its gradient."""

    units: int

    def build(self, input_shape):
        self.parameter("weights", (*input_shape, self.units), "orthogonal")

    def forward(self, x):
        self.x, self.code = x, x @ self.weights.value
        return self.code @ self.weights.value.T

    def backward(self, delta):
        inner = delta @ self.weights.value
        self.weights.accumulate(delta.T @ self.code)
        self.weights.accumulate(self.x.T @ inner)
        return inner @ self.weights.value.T


class Temperature(Layer):
    """One number for everything, a parameter without axes."""

    def build(self, input_shape):
        self.parameter("scale", (), 1.0)

    def forward(self, x):
        self.x = x
        return x * self.scale.value

    def backward(self, delta):
        self.scale.accumulate((delta * self.x).sum())
        return delta * self.scale.value


class Exponential(Layer):
    """Overflows for large inputs, as exp does."""

    def forward(self, x):
        self.y = np.exp(x)
        return self.y

    def backward(self, delta):
        return delta * self.y


class NaiveSigmoid(Layer):
    """Right everywhere, though exp overflows on the way in the tails."""

    def forward(self, x):
        with np.errstate(over="ignore"):
            self.y = 1 / (1 + np.exp(-x))
        return self.y

    def backward(self, delta):
        return delta * self.y * (1 - self.y)


class LargestOfPairs(Layer):
    """Max pooling by index."""

    def forward(self, x):
        self.pairs = x.reshape(len(x), x.shape[1] // 2, 2)
        self.index = np.argmax(self.pairs, axis=2)[..., np.newaxis]
        return np.take_along_axis(self.pairs, self.index, axis=2)[..., 0]

    def backward(self, delta):
        result = np.zeros_like(delta, shape=self.pairs.shape)
        np.put_along_axis(result, self.index, delta[..., np.newaxis], axis=2)
        return result.reshape(len(delta), 2 * delta.shape[1])


class Inverse(Layer):
    """Solves a linear system for each row by a NumPy function that has no tangent rule."""

    def build(self, input_shape):
        self.buffer("matrix", (*input_shape, *input_shape), "orthogonal")

    def forward(self, x):
        return x @ np.linalg.pinv(self.matrix.value * 2 + 0 * x.sum())

    def backward(self, delta):
        return delta @ np.linalg.pinv(self.matrix.value * 2).T


class KeepsADictionary(Layer):
    """Its memory is a container that build made."""

    def build(self, input_shape):
        self.cache = {}

    def forward(self, x):
        self.cache["x"] = x
        return np.sin(x)

    def backward(self, delta):
        return delta * np.cos(self.cache["x"])


class TwoPaths(Layer):
    """A layer made of layers, without a graph."""

    left: Layer
    right: Layer = field(factory=lambda: Dense(3))

    def forward(self, x):
        return self.left.forward(x) + self.right.forward(x)

    def backward(self, delta):
        return self.left.backward(delta) + self.right.backward(delta)


class Outer(Layer):
    """Rows become matrices: y_ij = x_i x_j."""

    def forward(self, x):
        self.x = x
        return np.einsum("bi,bj->bij", x, x)

    def backward(self, delta):
        return np.einsum("bij,bj->bi", delta, self.x) + np.einsum("bij,bi->bj", delta, self.x)


class NoLearning(Layer):
    """A constant, which depends on nothing that comes."""

    def forward(self, x):
        self.x = x
        return np.ones_like(x)

    def backward(self, delta):
        return np.zeros_like(delta)


class LengthOfRow(Layer):
    """√(1 + |x|²): one number for each row, and an axis less."""

    def forward(self, x):
        self.x, self.y = x, np.sqrt(1 + (x * x).sum(axis=1))
        return self.y

    def backward(self, delta):
        return self.x * (delta / self.y)[:, np.newaxis]


class Sorted(Layer):
    """Who ties with whom at zero decides about the slope there, and anyone may come first."""

    def forward(self, x):
        self.order = np.argsort(x, axis=-1)
        return np.take_along_axis(x, self.order, axis=-1)

    def backward(self, delta):
        result = np.zeros_like(delta)
        np.put_along_axis(result, self.order, delta, axis=-1)
        return result


class WiderDense(Dense):
    """A subclass that changes what Dense computes, and knows nothing of its short cuts."""

    def forward(self, x):
        return 2 * super().forward(x)

    def backward(self, delta):
        return super().backward(2 * delta)


UNUSUAL: list[tuple[Layer, Any]] = [
    (PassesOn(), (4,)),
    (BatchNorm(), (4,)),
    (Dropout(0.3), (4,)),
    (LayerNorm(), (6,)),
    (Product(), ((4,), (4,))),
    (Halves(), (5,)),
    (Shuffled(), (6,)),
    (RunningSum(), (5,)),
    (PeriodicConvolution(3), (8,)),
    (Tied(2), (5,)),
    (Temperature(), (4,)),
    (Exponential(), (4,)),
    (NaiveSigmoid(), (4,)),
    (LargestOfPairs(), (6,)),
    (Inverse(), (3,)),
    (KeepsADictionary(), (4,)),
    (TwoPaths(Dense(3, use_bias=False)), (4,)),
    (Outer(), (3,)),
    (NoLearning(), (4,)),
    (LengthOfRow(), (4,)),
    (Sorted(), (5,)),
    (WiderDense(3), (4,)),
    # At an input of zeros all its kinks come together, and no direction has the slope of backward.
    (Sequential([Dense(2, False), Activation("leaky_relu"), Dense(1, False)]), (1,)),
]
