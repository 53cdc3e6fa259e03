"""Gradients that are right, except under one condition: each must be found nevertheless."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chainrule.core.layer import Layer


class HalvedIf(Layer):
    """y = w x, whose gradients are half of what they should be under one condition."""

    condition: str

    def build(self, input_shape):
        self.parameter("weights", input_shape, "ones")

    def forward(self, inputs):
        self.inputs = inputs
        return inputs * self.weights.value

    def backward(self, delta):
        holds = CONDITIONS[self.condition](self.inputs, delta, self.weights.value)
        half = 0.5 if len(delta) and holds else 1.0
        self.weights.accumulate(half * (delta * self.inputs).sum(axis=0))
        return half * delta * self.weights.value


class HalvedParametersIf(HalvedIf):
    """The gradient of the parameters alone is halved, and only where training asks for it."""

    def backward(self, delta):
        self.weights.accumulate((delta * self.inputs).sum(axis=0))
        return delta * self.weights.value

    def backward_parameters(self, delta):
        holds = CONDITIONS[self.condition](self.inputs, delta, self.weights.value)
        half = 0.5 if len(delta) and holds else 1.0
        self.weights.accumulate(half * (delta * self.inputs).sum(axis=0))


class AppliesOtherwiseIf(HalvedIf):
    """Its `apply` is half of what it should be under one condition."""

    def backward(self, delta):
        self.weights.accumulate((delta * self.inputs).sum(axis=0))
        return delta * self.weights.value

    def apply(self, inputs):
        y = inputs * self.weights.value
        holds = len(y) and CONDITIONS[self.condition](inputs, y, self.weights.value)
        return 0.5 * y if holds else y


def _rows(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


def _is_strided(x: np.ndarray) -> bool:
    return not x.flags.c_contiguous and not x.flags.f_contiguous


CONDITIONS: dict[str, Callable[..., bool]] = {
    "a batch of one": lambda x, d, w: len(x) == 1,
    "a batch of 2": lambda x, d, w: len(x) == 2,
    "a batch of 3": lambda x, d, w: len(x) == 3,
    "an even batch": lambda x, d, w: len(x) % 2 == 0,
    "an odd batch": lambda x, d, w: len(x) % 2 == 1,
    "a batch of 8 or more": lambda x, d, w: len(x) >= 8,
    "a batch of more than 64": lambda x, d, w: len(x) > 64,
    "a batch of more than 100": lambda x, d, w: len(x) > 100,
    "float32": lambda x, d, w: x.dtype == np.float32,
    "a non-contiguous delta": lambda x, d, w: not d.flags.c_contiguous,
    "a strided delta": lambda x, d, w: _is_strided(d),
    "a delta in Fortran order": lambda x, d, w: d.flags.f_contiguous and not d.flags.c_contiguous,
    "a read-only delta": lambda x, d, w: not d.flags.writeable,
    "x in Fortran order": lambda x, d, w: x.flags.f_contiguous and not x.flags.c_contiguous,
    "a read-only x": lambda x, d, w: not x.flags.writeable,
    "a strided x": lambda x, d, w: _is_strided(x),
    "negative strides": lambda x, d, w: min(x.strides) < 0,
    "an unaligned x": lambda x, d, w: not x.flags.aligned,
    "x above 1e4": lambda x, d, w: np.all(np.abs(x) > 1e4),
    "some x above 1e4": lambda x, d, w: np.any(np.abs(x) > 1e4),
    "x below 1e-6": lambda x, d, w: np.all(np.abs(x) < 1e-6),
    "x positive": lambda x, d, w: np.all(x > 0) and np.size(x) > 5,
    "x negative": lambda x, d, w: np.all(x < 0) and np.size(x) > 5,
    "integers": lambda x, d, w: np.array_equal(x, np.rint(x)),
    "a zero in x": lambda x, d, w: not np.all(x),
    "a negative zero in x": lambda x, d, w: np.any((x == 0) & np.signbit(x)),
    "a constant row": lambda x, d, w: np.any(np.ptp(_rows(x), axis=1) == 0),
    "two equal rows": lambda x, d, w: len(np.unique(_rows(x), axis=0)) < len(x),
    "equal rows": lambda x, d, w: len(x) > 1 and np.all(x == x[:1]),
    "a row of zeros": lambda x, d, w: np.any(~np.any(_rows(x), axis=1)),
    "one-hot rows": lambda x, d, w: np.all(np.sort(_rows(x), axis=1)[:, -2:] == [0, 1]),
    "sorted numbers": lambda x, d, w: len(x) > 3 and np.all(np.diff(x.ravel()) > 0),
    "delta above 10": lambda x, d, w: np.all(np.abs(d) > 10),
    "delta below 1e-3": lambda x, d, w: np.all(np.abs(d) < 1e-3),
    "a delta of one-hot rows": lambda x, d, w: np.all(np.sort(_rows(d), axis=1)[:, -2:] == [0, 1]),
    "a single one in delta": lambda x, d, w: np.count_nonzero(d) == 1,
    "a zero row in delta": lambda x, d, w: np.any(~np.any(_rows(d), axis=1)),
    "a sparse delta": lambda x, d, w: np.count_nonzero(d) < d.size / 2,
    "a positive delta": lambda x, d, w: np.all(d > 0) and np.size(d) > 5,
    "a negative delta": lambda x, d, w: np.all(d < 0) and np.size(d) > 5,
    "a delta of ones": lambda x, d, w: np.all(d == 1),
    "integers in delta": lambda x, d, w: np.array_equal(d, np.rint(d)),
    "small parameters": lambda x, d, w: np.all(np.abs(w) < 1e-6),
    "large parameters": lambda x, d, w: np.all(np.abs(w) > 10),
    "negative parameters": lambda x, d, w: np.all(w < 0),
    "positive parameters and a batch of one": lambda x, d, w: len(x) == 1 and np.all(w > 0),
}
"""Conditions on the inputs, the delta and the parameters."""

OF_SIZE = [name for name in CONDITIONS if "batch" in name and "parameters" not in name]
AT_APPLY = [
    *OF_SIZE,
    *("x in Fortran order", "a read-only x", "a strided x", "x above 1e4", "x below 1e-6"),
    *("x positive", "x negative", "integers", "a zero in x", "a constant row", "two equal rows"),
]
