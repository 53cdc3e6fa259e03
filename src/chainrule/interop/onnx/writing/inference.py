"""What training does at random, or with statistics of the batch, in a file.

    gradients of the inference function    Dropout passes on, BatchNorm has its running statistics
    a training step                        Dropout draws, BatchNorm uses the batch

Only `forward` can be followed by `backward`, and most layers compute the same in `apply`. For the
others the gradient of `apply` is written here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.core.errors import ExportError
from chainrule.core.layer import Layer
from chainrule.core.messages import label
from chainrule.core.types import Array
from chainrule.interop.onnx.writing.moving import filled
from chainrule.interop.onnx.writing.traced import Trace, new, no_counterpart
from chainrule.layers.normalization import BatchNorm
from chainrule.layers.random import Dropout, GaussianDropout, GaussianNoise, SpatialDropout
from chainrule.layers.recurrent import Recurrent


class PassedOn(Layer):
    """y = x: what layers with noise compute in inference."""

    def forward(self, inputs: Array) -> Array:
        """The input."""
        return inputs

    def backward(self, delta: Array) -> Array:
        """The delta."""
        return delta


class FixedNorm(BatchNorm, repr=False):
    """`BatchNorm` with its running statistics: y = (x − μ) · scale / √(σ² + ε) + shift."""

    def forward(self, inputs: Array) -> Array:
        """An affine map of each channel."""
        self.factor = self.scale.value / np.sqrt(self.running_variance.value + self.epsilon)
        return (inputs - self.running_mean.value) * self.factor + self.shift.value

    def backward(self, delta: Array) -> Array:
        """∂C/∂x = Δ · scale / √(σ² + ε)."""
        return delta * self.factor


APPLIED: dict[type[Layer], type[Layer]] = {
    **dict.fromkeys((Dropout, SpatialDropout, GaussianDropout, GaussianNoise), PassedOn),
    BatchNorm: FixedNorm,
}
"""For a layer that computes something else in training, one that does not."""


def apply_in_training(replica: Layer) -> None:
    """Let `forward` of a traced replica be what `apply` is, and `backward` its derivative.

    Raises
    ------
    ExportError
        A layer has random numbers or buffers, and an `apply` of its own.
    """
    for path, member in replica.walk():
        member.__dict__["_applies"] = False
        for parameter in member._parameters.values():
            parameter._trainable = False  # their gradients are not in the file
        applied = APPLIED.get(type(member))
        if applied is not None:
            object.__setattr__(member, "__class__", applied)
        elif isinstance(member, Recurrent):
            member.__dict__["stateful"] = False  # a file begins new sequences
        elif (member._generators or member._buffers) and type(member).apply is not Layer.apply:
            raise ExportError(
                f"there is no backward pass through the apply of {label(member)}",
                place=path or None,
                expected="layers that compute the same in training and in inference",
                received="a layer with random numbers or buffers",
                hint="save the values alone, without gradients='inputs'",
            )


class TracedGenerator:
    """A random generator whose numbers the file draws, in each call anew.

    It has the methods of `numpy.random.Generator` that the layers of chainrule use.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def _drawn(self, kind: str, size: Any, dtype: Any, **options: Any) -> Any:
        shape = filled(self._trace, () if size is None else size, 0, dtype)
        return new(self._trace, kind, [shape], shape.shape, shape.dtype, **options)

    def random(self, size: Any = None, dtype: Any = np.float64) -> Any:
        """Numbers from 0 to 1."""
        return self._drawn("RandomUniformLike", size, dtype, low=0.0, high=1.0)

    def uniform(self, low: float = 0.0, high: float = 1.0, size: Any = None) -> Any:
        """Numbers between two limits."""
        return self._drawn("RandomUniformLike", size, np.float64, low=float(low), high=float(high))

    def standard_normal(self, size: Any = None, dtype: Any = np.float64) -> Any:
        """Standard normal numbers."""
        return self._drawn("RandomNormalLike", size, dtype, mean=0.0, scale=1.0)

    def normal(self, loc: float = 0.0, scale: float = 1.0, size: Any = None) -> Any:
        """Normal numbers."""
        options = {"mean": float(loc), "scale": float(scale)}
        return self._drawn("RandomNormalLike", size, np.float64, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise no_counterpart(self._trace, f"numpy.random.Generator.{name}")
