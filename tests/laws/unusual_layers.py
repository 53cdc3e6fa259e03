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

    def update(self, mean, variance):
        m = self.momentum
        self.mean.value = m * self.mean.value + (1 - m) * mean
        self.variance.value = m * self.variance.value + (1 - m) * variance

    def forward(self, x):
        mean, variance = x.mean(axis=0), x.var(axis=0)
        if len(x):
            self.update(mean, variance)
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
        self.mask = self.mask_for(x) / (1 - self.rate)
        return x * self.mask

    def backward(self, delta):
        return delta * self.mask

    def apply(self, x):
        return +x

    def mask_for(self, x):
        return (self.coin.random(x.shape) >= self.rate).astype(x.dtype)


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


def _sigmoid(z):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-z))


class LSTMCell(Layer):
    """One step: x_t, h and c in, h and c out."""

    units: int

    def build(self, x, h, c):
        self.parameter("weights", (x[0] + h[0], 4 * self.units), "glorot_uniform")
        self.parameter("biases", (4 * self.units,))

    def forward(self, x, h, c):
        self.joined, self.c = np.concatenate([x, h], axis=1), c
        z = self.joined @ self.weights.value + self.biases.value
        i, f, g, o = (z[:, n * self.units : (n + 1) * self.units] for n in range(4))
        self.gates = i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
        new = f * c + i * g
        self.bent = np.tanh(new)
        return o * self.bent, new

    def backward(self, deltas):
        (dh, dc), (i, f, g, o) = deltas, self.gates
        dc = dc + dh * o * (1 - self.bent**2)
        dz = [
            dc * g * i * (1 - i),
            dc * self.c * f * (1 - f),
            dc * i * (1 - g**2),
            dh * self.bent * o * (1 - o),
        ]
        dz = np.concatenate(dz, axis=1)
        self.weights.accumulate(self.joined.T @ dz)
        self.biases.accumulate(dz.sum(axis=0))
        d = dz @ self.weights.value.T
        width = d.shape[1] - self.units
        return d[:, :width], d[:, width:], dc * f


class SelfAttention(Layer):
    """One head; the gradient of the key biases is exactly zero, and rounding is what comes out."""

    units: int

    def build(self, input_shape):
        for name in ("query", "key", "value"):
            self.parameter(f"{name}_weights", (input_shape[-1], self.units), "glorot_uniform")
            self.parameter(f"{name}_biases", (self.units,))

    def forward(self, x):
        self.x = x
        self.q = x @ self.query_weights.value + self.query_biases.value
        self.k = x @ self.key_weights.value + self.key_biases.value
        self.v = x @ self.value_weights.value + self.value_biases.value
        z = self.q @ np.swapaxes(self.k, 1, 2) / self.units**0.5
        powers = np.exp(z - z.max(axis=-1, keepdims=True))
        self.a = powers / powers.sum(axis=-1, keepdims=True)
        return self.a @ self.v

    def backward(self, delta):
        dv = np.swapaxes(self.a, 1, 2) @ delta
        da = delta @ np.swapaxes(self.v, 1, 2)
        dz = self.a * (da - (da * self.a).sum(axis=-1, keepdims=True)) / self.units**0.5
        d = {"query": dz @ self.k, "key": np.swapaxes(dz, 1, 2) @ self.q, "value": dv}
        result = np.zeros_like(self.x)
        for name, part in d.items():
            weights, biases = getattr(self, f"{name}_weights"), getattr(self, f"{name}_biases")
            weights.accumulate(np.einsum("bti,btj->ij", self.x, part))
            biases.accumulate(part.sum(axis=(0, 1)))
            result = result + part @ weights.value.T
        return result


class MixtureOfExperts(Layer):
    """Each row is a sum over experts, weighted by a softmax of the row."""

    experts: int

    def build(self, input_shape):
        self.parameter("gate", (*input_shape, self.experts), "glorot_uniform")
        self.parameter("weights", (self.experts, *input_shape), "normal")

    def forward(self, x):
        z = x @ self.gate.value
        powers = np.exp(z - z.max(axis=1, keepdims=True))
        self.x, self.p = x, powers / powers.sum(axis=1, keepdims=True)
        self.y = x[:, np.newaxis] * self.weights.value
        return (self.p[:, :, np.newaxis] * self.y).sum(axis=1)

    def backward(self, delta):
        d = delta[:, np.newaxis]
        dp = (d * self.y).sum(axis=2)
        dz = self.p * (dp - (dp * self.p).sum(axis=1, keepdims=True))
        self.gate.accumulate(self.x.T @ dz)
        self.weights.accumulate((self.p[:, :, np.newaxis] * d * self.x[:, np.newaxis]).sum(axis=0))
        through = (self.p[:, :, np.newaxis] * d * self.weights.value).sum(axis=1)
        return through + dz @ self.gate.value.T


class GatedLinearUnit(Layer):
    """The first half, times the sigmoid of the second."""

    def forward(self, x):
        half = x.shape[1] // 2
        self.a, self.gate = x[:, :half], _sigmoid(x[:, half:])
        return self.a * self.gate

    def backward(self, delta):
        return np.concatenate(
            [delta * self.gate, delta * self.a * self.gate * (1 - self.gate)], axis=1
        )


class StoredPositions(Layer):
    """Adds sines that build has written into a buffer."""

    def build(self, input_shape):
        steps, width = input_shape
        self.buffer("waves", input_shape)
        angles = np.arange(steps)[:, np.newaxis] / 100.0 ** (np.arange(width) / width)
        self.waves.value = np.sin(angles)

    def forward(self, x):
        return x + self.waves.value

    def backward(self, delta):
        return delta


class SpatialDropout(Dropout):
    """Drops whole channels, other ones in each row."""

    def forward(self, x):
        coins = self.coin.random((len(x), 1, x.shape[2]))
        self.mask = (coins >= self.rate).astype(x.dtype) / (1 - self.rate)
        return x * self.mask

    def apply(self, x):
        return +x


class GaussianNoise(Layer):
    """Adds noise in the precision of its input, so that float32 gets other numbers."""

    def build(self, input_shape):
        self.generator("noise")

    def forward(self, x):
        return x + self.noise.standard_normal(x.shape, dtype=x.dtype)

    def backward(self, delta):
        return delta

    def apply(self, x):
        return +x


class NoisyTanh(Layer):
    """The noise is inside: the mean output is not that without noise, and it says so."""

    noise_is_linear: ClassVar[bool] = False

    def build(self, input_shape):
        self.generator("noise")

    def forward(self, x):
        self.y = np.tanh(x + self.noise.standard_normal(x.shape).astype(x.dtype))
        return self.y

    def backward(self, delta):
        return delta * (1 - self.y**2)

    def apply(self, x):
        return np.tanh(x)


class StochasticDepth(Layer):
    """A wrapper that draws itself: in training it leaves out the layer inside for some rows."""

    inner: Layer
    rate: float = 0.3

    def build(self, input_shape):
        self.generator("coin")

    def forward(self, x):
        coins = self.coin.random((len(x), *(1 for _ in x.shape[1:])))
        self.kept = (coins >= self.rate).astype(x.dtype) / (1 - self.rate)
        return x + self.kept * self.inner.forward(x)

    def backward(self, delta):
        return delta + self.inner.backward(self.kept * delta)

    def apply(self, x):
        return x + self.inner.apply(x)


class Wrapper(Layer):
    """Holds a layer and inherits `apply`: what is inside applies."""

    inner: Layer

    def forward(self, x):
        return 2 * self.inner.forward(x)

    def backward(self, delta):
        return self.inner.backward(2 * delta)


class SlowBatchNorm(BatchNorm):
    """Its statistics need a thousand batches."""

    momentum: float = 0.99


class GroupNorm(Layer):
    """Normalizes the channels of a group together."""

    groups: int

    def forward(self, x):
        g = x.reshape(len(x), self.groups, x.shape[1] // self.groups)
        self.deviation = np.sqrt(g.var(axis=2, keepdims=True) + 1e-5)
        self.normal = (g - g.mean(axis=2, keepdims=True)) / self.deviation
        return self.normal.reshape(x.shape)

    def backward(self, delta):
        d = delta.reshape(self.normal.shape)
        along = (d * self.normal).mean(axis=2, keepdims=True)
        result = (d - d.mean(axis=2, keepdims=True) - self.normal * along) / self.deviation
        return result.reshape(delta.shape)


class PReLU(Layer):
    """A slope that is learned, for negative numbers."""

    def build(self, input_shape):
        self.parameter("slope", input_shape, 0.25)

    def forward(self, x):
        self.x = x
        return np.where(x > 0, x, self.slope.value * x)

    def backward(self, delta):
        self.slope.accumulate(np.where(self.x > 0, 0, delta * self.x).sum(axis=0))
        return np.where(self.x > 0, delta, self.slope.value * delta)


class Autoencoder(Layer):
    """Tied weights with a bend between: y = tanh(x W) Wᵀ."""

    units: int

    def build(self, input_shape):
        self.parameter("weights", (*input_shape, self.units), "glorot_uniform")

    def forward(self, x):
        self.x, self.code = x, np.tanh(x @ self.weights.value)
        return self.code @ self.weights.value.T

    def backward(self, delta):
        inner = delta @ self.weights.value * (1 - self.code**2)
        self.weights.accumulate(delta.T @ self.code)
        self.weights.accumulate(self.x.T @ inner)
        return inner @ self.weights.value.T


class WeightNormalized(Layer):
    """W = g V / |V|, column by column."""

    units: int

    def build(self, input_shape):
        self.parameter("directions", (*input_shape, self.units), "normal")
        self.parameter("lengths", (self.units,), "ones")

    def forward(self, x):
        self.x = x
        self.size = np.sqrt((self.directions.value**2).sum(axis=0))
        self.unit = self.directions.value / self.size
        return x @ self.unit * self.lengths.value

    def backward(self, delta):
        d = delta * self.lengths.value
        self.lengths.accumulate((delta * (self.x @ self.unit)).sum(axis=0))
        g = self.x.T @ d
        self.directions.accumulate((g - self.unit * (g * self.unit).sum(axis=0)) / self.size)
        return d @ self.unit.T


class StridedConvolution(Layer):
    """Every second window, of several channels."""

    filters: int

    def build(self, input_shape):
        self.parameter("weights", (3, input_shape[1], self.filters), "glorot_uniform")

    def forward(self, x):
        self.length = x.shape[1]
        windows = np.lib.stride_tricks.sliding_window_view(x, 3, axis=1)[:, ::2]
        self.windows = np.swapaxes(windows, 2, 3)
        return np.einsum("btkc,kcf->btf", self.windows, self.weights.value)

    def backward(self, delta):
        self.weights.accumulate(np.einsum("btkc,btf->kcf", self.windows, delta))
        patches = np.einsum("btf,kcf->btkc", delta, self.weights.value)
        result = np.zeros_like(delta, shape=(len(delta), self.length, patches.shape[3]))
        for k in range(3):
            result[:, k : k + 2 * delta.shape[1] : 2] += patches[:, :, k]
        return result


class MeanOverTime(Layer):
    """The mean of a sequence."""

    def forward(self, x):
        self.steps = x.shape[1]
        return x.mean(axis=1)

    def backward(self, delta):
        return np.repeat(delta[:, np.newaxis] / self.steps, self.steps, axis=1)


class Embedding(Layer):
    """Looks rows up; its input is integers, and their delta is zero."""

    entries: int
    units: int

    def build(self, input_shape):
        self.parameter("weights", (self.entries, self.units), "normal")

    def forward(self, tokens):
        self.tokens = tokens.astype(int)
        return self.weights.value[self.tokens]

    def backward(self, delta):
        gradient = np.zeros_like(self.weights.value)
        np.add.at(gradient, self.tokens, delta)
        self.weights.accumulate(gradient)
        return np.zeros_like(delta, shape=self.tokens.shape)


def tokens(shape):
    """Integers for an embedding of five entries."""
    return np.random.default_rng(3).integers(0, 5, shape)


def tokens_as_floats(shape):
    """The same as floats, as in a table."""
    return tokens(shape).astype(float)


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
    (LSTMCell(2), ((3,), (2,), (2,))),
    (SelfAttention(2), (3, 4)),
    (MixtureOfExperts(3), (4,)),
    (GatedLinearUnit(), (6,)),
    (StoredPositions(), (3, 2)),
    (SpatialDropout(0.4), (3, 2)),
    (GaussianNoise(), (4,)),
    (NoisyTanh(), (4,)),
    (StochasticDepth(Dense(4)), (4,)),
    (StochasticDepth(Dropout(0.5)), (4,)),
    (Wrapper(Dropout(0.5)), (4,)),
    (Wrapper(BatchNorm()), (4,)),
    (Sequential([Dense(3), Dropout(0.5), Wrapper(BatchNorm())]), (4,)),
    (SlowBatchNorm(), (3,)),
    (GroupNorm(2), (6,)),
    (PReLU(), (4,)),
    (Autoencoder(2), (5,)),
    (WeightNormalized(3), (4,)),
    (StridedConvolution(2), (7, 2)),
    (MeanOverTime(), (3, 2)),
    # At an input of zeros all its kinks come together, and no direction has the slope of backward.
    (Sequential([Dense(2, False), Activation("leaky_relu"), Dense(1, False)]), (1,)),
]


WITH_INPUTS: list[tuple[Layer, Any, Any]] = [
    (Embedding(5, 3), (2,), tokens),
    (Embedding(5, 3), (2,), tokens_as_floats),
]
"""Layers that need inputs of their own, and a function that draws them."""
