"""A zoo of layers with one fault each, and the words by which the checker should name it."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.core.layer import Layer


class Linear(Layer):
    """A right layer, of which many of the wrong ones are variants."""

    units: int

    def build(self, input_shape):
        self.parameter("weights", (*input_shape, self.units), "glorot_uniform")
        self.parameter("biases", (self.units,))

    def forward(self, inputs):
        self.inputs = inputs
        return inputs @ self.weights.value + self.biases.value

    def backward(self, delta):
        self.weights.accumulate(self.inputs.T @ delta)
        self.biases.accumulate(delta.sum(axis=0))
        return delta @ self.weights.value.T


class ExtraAverage(Linear):
    """Divides by the batch size, as the lecture's program does in its last layer."""

    def backward(self, delta):
        self.weights.accumulate(self.inputs.T @ delta / len(delta))
        self.biases.accumulate(delta.sum(axis=0))
        return delta @ self.weights.value.T


class MissingAverage(Layer):
    """Averages over the columns, and forgets that on the way back."""

    def forward(self, inputs):
        self.like = inputs
        return inputs.mean(axis=1, keepdims=True)

    def backward(self, delta):
        return delta * np.ones_like(self.like)


class BatchTimesTooLarge(Linear):
    def backward(self, delta):
        self.weights.accumulate(self.inputs.T @ delta * len(delta))
        self.biases.accumulate(delta.sum(axis=0))
        return delta @ self.weights.value.T


class TransposedProduct(Linear):
    """w in place of w.T: with square weights NumPy has nothing against it."""

    def backward(self, delta):
        self.weights.accumulate(self.inputs.T @ delta)
        self.biases.accumulate(delta.sum(axis=0))
        return delta @ self.weights.value


class TransposedGradient(Linear):
    def backward(self, delta):
        self.weights.accumulate(delta.T @ self.inputs)
        self.biases.accumulate(delta.sum(axis=0))
        return delta @ self.weights.value.T


class WrongSign(Linear):
    def backward(self, delta):
        self.weights.accumulate(-self.inputs.T @ delta)
        self.biases.accumulate(delta.sum(axis=0))
        return delta @ self.weights.value.T


class ForgottenBias(Linear):
    def backward(self, delta):
        self.weights.accumulate(self.inputs.T @ delta)
        return delta @ self.weights.value.T


class BiasFromOneRow(Linear):
    """Right for a batch of one."""

    def backward(self, delta):
        self.weights.accumulate(self.inputs.T @ delta)
        self.biases.accumulate(delta[0])
        return delta @ self.weights.value.T


class OnlyFirstRow(Layer):
    """The delta of the first row alone is worked out."""

    def forward(self, inputs):
        self.inputs = inputs
        return inputs**2

    def backward(self, delta):
        result = np.zeros_like(delta)
        if len(delta):
            result[0] = 2 * self.inputs[0] * delta[0]
        return result


class StaleMemory(Linear):
    """Remembers the first batch for ever."""

    def forward(self, inputs):
        if len(inputs) and not hasattr(self, "inputs"):
            self.inputs = inputs
        return inputs @ self.weights.value + self.biases.value

    def backward(self, delta):
        inputs = self.inputs if len(delta) else np.zeros_like(delta, shape=(0, 3))
        self.weights.accumulate(inputs[: len(delta)].T @ delta)
        self.biases.accumulate(delta.sum(axis=0))
        return delta @ self.weights.value.T


class InputChanged(Layer):
    """Cuts off what is negative, in the array that belongs to somebody else."""

    def forward(self, inputs):
        self.positive = inputs > 0
        inputs[~self.positive] = 0
        return inputs

    def backward(self, delta):
        return delta * self.positive


class DeltaChanged(Layer):
    def forward(self, inputs):
        self.inputs = inputs
        return np.sin(inputs)

    def backward(self, delta):
        delta *= np.cos(self.inputs)
        return delta


class DerivativeOfWrongArgument(Layer):
    """The slope is taken at y = f(z) in place of z."""

    def forward(self, inputs):
        self.outputs = np.tanh(inputs)
        return self.outputs

    def backward(self, delta):
        return delta / np.cosh(self.outputs) ** 2


class TurnsIntoFloat64(Layer):
    def forward(self, inputs):
        self.scale = np.full(inputs.shape[1:], 0.5)
        return inputs * self.scale

    def backward(self, delta):
        return delta * self.scale


class LosesDigits(Layer):
    """Computes in float32 whatever comes."""

    def forward(self, inputs):
        return (2 * inputs).astype(np.float32)

    def backward(self, delta):
        return 2 * delta


class WrongInTheTails(Layer):
    """The sigmoid with the derivative of the lecture's program: exp(−z) y²."""

    def forward(self, inputs):
        with np.errstate(over="ignore"):
            self.inputs, self.outputs = inputs, 1 / (1 + np.exp(-inputs))
        return self.outputs

    def backward(self, delta):
        with np.errstate(over="ignore", invalid="ignore"):
            return delta * np.exp(-self.inputs) * self.outputs**2


class ClippedInTheTails(Layer):
    """The identity, whose derivative believes that it is cut off at ±20."""

    def forward(self, inputs):
        self.inputs = inputs
        return +inputs

    def backward(self, delta):
        return delta * (np.abs(self.inputs) < 20)


class WrongAtTheKink(Layer):
    """relu, with a slope of 2 at zero, where only 0 to 1 make sense."""

    def forward(self, inputs):
        self.inputs = inputs
        return np.maximum(inputs, 0)

    def backward(self, delta):
        return delta * ((self.inputs >= 0) * 1.0 + (self.inputs == 0)).astype(delta.dtype)


class ReplacesTheGradient(Linear):
    def backward(self, delta):
        self.weights.grad[...] = self.inputs.T @ delta
        self.biases.accumulate(delta.sum(axis=0))
        return delta @ self.weights.value.T


class GlobalRandomness(Layer):
    def forward(self, inputs):
        self.mask = (np.random.random(inputs.shape) < 0.5).astype(inputs.dtype)
        return inputs * self.mask

    def backward(self, delta):
        return delta * self.mask


class RowsSeeEachOther(Layer):
    """Takes the average of the batch away, rightly, and does not say so."""

    def forward(self, inputs):
        return inputs - inputs.mean(axis=0)

    def backward(self, delta):
        return delta - delta.mean(axis=0)


class OneBufferForAll(Layer):
    """Returns the same array every time."""

    def forward(self, inputs):
        shared = self.__dict__.setdefault("buffers", {})
        if inputs.shape not in shared:
            shared[inputs.shape] = np.zeros_like(inputs)
        shared[inputs.shape][...] = 3 * inputs
        return shared[inputs.shape]

    def backward(self, delta):
        return 3 * delta


class ApplyRemembers(Linear):
    def apply(self, inputs):
        return self.forward(inputs)


class ApplyComputesOtherwise(Linear):
    def apply(self, inputs):
        return inputs @ self.weights.value


class ConfigurationGrows(Linear):
    """Every time that it is made again, it is one unit wider."""

    def __attrs_post_init__(self):
        self.units += 1


class DeltaOfAnotherShape(Linear):
    def backward(self, delta):
        super().backward(delta)
        return delta


class TwiceTheSlope(Layer):
    def forward(self, inputs):
        self.inputs = inputs
        return inputs**2

    def backward(self, delta):
        return 4 * self.inputs * delta


class ForgetsTheDelta(Layer):
    def forward(self, inputs):
        self.inputs = inputs
        return inputs**2

    def backward(self, delta):
        return 2 * self.inputs


class SecondInputLikeFirst(Layer):
    """y = a b with ∂y/∂b = b in place of a."""

    def forward(self, a, b):
        self.a, self.b = a, b
        return a * b

    def backward(self, delta):
        return delta * self.b, delta * self.b


class MissingTerm(Layer):
    """Takes the average of a row away, and passes the delta on as if it hadn't."""

    def forward(self, inputs):
        return inputs - inputs.mean(axis=1, keepdims=True)

    def backward(self, delta):
        return +delta


class FailsForNoRows(Layer):
    def forward(self, inputs):
        self.largest = inputs.max(axis=0)
        return inputs - 0 * self.largest

    def backward(self, delta):
        return delta


class LearnsNothingInFront(Linear):
    """Its short cut for the first place in a network forgets the parameters."""

    def backward_parameters(self, delta):
        pass


class ChangesItsMemory(Layer):
    """Right at the first backward pass, and twice too large at the second."""

    def forward(self, inputs):
        self.inputs = +inputs
        return inputs**2

    def backward(self, delta):
        self.inputs *= 2
        return self.inputs * delta


class KinkAtAnotherPlace(Layer):
    """relu, whose slope begins a little too early."""

    def forward(self, inputs):
        self.inputs = inputs
        return np.maximum(inputs, 0)

    def backward(self, delta):
        return delta * (self.inputs > -0.01)


class ForgetsToReturn(Linear):
    def backward(self, delta):
        self.weights.accumulate(self.inputs.T @ delta)
        self.biases.accumulate(delta.sum(axis=0))


class ByDifferences(Layer):
    """A derivative by differences, right to some digits."""

    def forward(self, inputs):
        self.inputs = inputs
        return np.sin(inputs)

    def backward(self, delta):
        step = 1e-5
        return delta * (np.sin(self.inputs + step) - np.sin(self.inputs - step)) / (2 * step)


BROKEN: list[tuple[Layer, Any, str, str]] = [
    # the layer, the shape of a row, the law that must be broken, words of the diagnosis
    (ExtraAverage(3), (4,), "adjoint", "7 times too small, and 7 is the batch size"),
    (MissingAverage(), (4,), "adjoint", "4 times too large, and 4 is the number of inputs"),
    (BatchTimesTooLarge(3), (4,), "adjoint", "7 times too large, and 7 is the batch size"),
    (TransposedProduct(4), (4,), "adjoint", "transposed"),
    (TransposedGradient(4), (4,), "adjoint", "transposed"),
    (WrongSign(3), (4,), "adjoint", "sign"),
    (ForgottenBias(3), (4,), "adjoint", "omit biases"),
    (BiasFromOneRow(3), (4,), "adjoint", "Only biases is wrong"),
    (OnlyFirstRow(), (4,), "adjoint", "first row"),
    (StaleMemory(3), (3,), "adjoint", "stale memory"),
    (InputChanged(), (4,), "purity", "the input"),
    (DeltaChanged(), (4,), "purity", "the delta"),
    (DerivativeOfWrongArgument(), (4,), "adjoint", "wrong argument"),
    (TurnsIntoFloat64(), (4,), "type", "float64"),
    (LosesDigits(), (4,), "type", "float32"),
    (WrongInTheTails(), (4,), "adjoint", "not finite"),
    (ClippedInTheTails(), (4,), "adjoint", "in the tails"),
    (WrongAtTheKink(), (4,), "adjoint", "kink"),
    (ReplacesTheGradient(3), (4,), "accumulate", "weights"),
    (GlobalRandomness(), (4,), "repeatable", "self.generator"),
    (RowsSeeEachOther(), (4,), "batch", "couples_batch"),
    (OneBufferForAll(), (4,), "purity", "output of forward"),
    (ApplyRemembers(3), (4,), "memory", "apply"),
    (ApplyComputesOtherwise(3), (4,), "inference", "different"),
    (ConfigurationGrows(3), (4,), "return", "saved and loaded"),
    (DeltaOfAnotherShape(3), (4,), "adjoint", "shape"),
    (TwiceTheSlope(), (4,), "adjoint", "2 times what it should be"),
    (ForgetsTheDelta(), (4,), "adjoint", "delta of the input"),
    (SecondInputLikeFirst(), ((4,), (4,)), "adjoint", "Only input 2 is wrong"),
    (MissingTerm(), (4,), "adjoint", "delta of the input"),
    (FailsForNoRows(), (4,), "build", "empty batch"),
    (LearnsNothingInFront(3), (4,), "accumulate", "backward_parameters"),
    (ChangesItsMemory(), (4,), "accumulate", "after one forward"),
    (KinkAtAnotherPlace(), (4,), "adjoint", "near zero"),
    (ForgetsToReturn(3), (4,), "adjoint", "return missing"),
    (ByDifferences(), (4,), "adjoint", "a few digits"),
]
