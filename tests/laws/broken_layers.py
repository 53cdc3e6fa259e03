"""A zoo of layers with one fault each, and the words by which the checker should name it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from chainrule.core.layer import Layer
from laws.unusual_layers import BatchNorm, Dropout


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
        shared = self.__dict__.setdefault("shared", {})
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


# ------------------------------------------------------------------------------- state that leaks


class AddsThePreviousBatch(Layer):
    """What an earlier batch was like changes the output."""

    def forward(self, inputs):
        before = getattr(self, "level", 0.0)
        self.level = float(inputs.mean()) if inputs.size else 0.0
        return inputs + before

    def backward(self, delta):
        return +delta


class StandardizesLikeTheFirstBatch(Layer):
    def forward(self, inputs):
        if len(inputs) and not hasattr(self, "size"):
            self.size = float(np.abs(inputs).max())
        return inputs / getattr(self, "size", 1.0)

    def backward(self, delta):
        return delta / getattr(self, "size", 1.0)


class MomentumInBackward(Layer):
    """Its delta contains a part of the last one, if that had as many rows."""

    def forward(self, inputs):
        return 2 * inputs

    def backward(self, delta):
        memory = self.__dict__.setdefault("memory", {})
        before = memory.get(delta.shape, 0.0)
        memory[delta.shape] = delta.copy()
        return 2 * delta + 1e-6 * before


class ReseedsTheGlobalGenerator(Layer):
    """Repeatable, at the price of everybody else's random numbers."""

    def forward(self, inputs):
        np.random.seed(0)
        self.mask = (np.random.random(inputs.shape[1:]) < 0.5).astype(inputs.dtype)
        return inputs * self.mask

    def backward(self, delta):
        return delta * self.mask


class ReadsTheGlobalSeed(Layer):
    """Draws nothing, but looks at the state of the global generator."""

    def forward(self, inputs):
        self.factor = 1.0 + float(np.random.get_state()[1][5] % 7)
        return inputs * self.factor

    def backward(self, delta):
        return delta * self.factor


class DependsOnTheClock(Layer):
    def forward(self, inputs):
        self.factor = 1.0 + (time.time() // 100_000) % 100
        return inputs * self.factor

    def backward(self, delta):
        return delta * self.factor


# ------------------------------------------------------------------------------- accumulation


class ForwardResetsTheGradient(Linear):
    def forward(self, inputs):
        self.weights.zero_grad()
        return super().forward(inputs)


class SecondGradientDiffers(Linear):
    """Its delta is right at each backward pass, and its gradient only at the first."""

    def forward(self, inputs):
        self.calls = 0
        return super().forward(inputs)

    def backward(self, delta):
        self.calls += 1
        self.weights.accumulate(self.calls * (self.inputs.T @ delta))
        self.biases.accumulate(delta.sum(axis=0))
        return delta @ self.weights.value.T


class ReturnsTooMuch(Layer):
    def forward(self, inputs):
        return 2 * inputs

    def backward(self, delta):
        return 2 * delta, 2 * delta


class ForgetsToReturnForOneInput(Layer):
    def forward(self, inputs):
        return 3 * inputs

    def backward(self, delta):
        self.delta = 3 * delta


# ------------------------------------------------------------------------------- purity


class WritesIfStrided(Layer):
    """Cuts off what is negative in the caller's array, if that is a view."""

    def forward(self, inputs):
        self.positive = inputs > 0
        if not inputs.flags.c_contiguous:
            inputs[~self.positive] = 0
            return +inputs
        return inputs * self.positive

    def backward(self, delta):
        return delta * self.positive


class WritesIntoLargeDeltas(Layer):
    def forward(self, inputs):
        return 2 * inputs

    def backward(self, delta):
        if len(delta) > 60:
            delta *= 2
            return delta
        return 2 * delta


class NormalizesItsWeights(Linear):
    """Changes the parameter itself, behind the back of the optimizer."""

    def forward(self, inputs):
        self.weights.value = self.weights.value / np.abs(self.weights.value).max()
        return super().forward(inputs)


# ------------------------------------------------------------------------------- batches


class RowsSeeEachOtherInLargeBatches(Layer):
    def forward(self, inputs):
        self.couples = len(inputs) > 50
        return inputs - inputs.mean(axis=0) if self.couples else +inputs

    def backward(self, delta):
        return delta - delta.mean(axis=0) if self.couples else +delta


class SqueezesASingleRow(Linear):
    def backward(self, delta):
        delta_in = super().backward(delta)
        return delta_in.squeeze() if len(delta_in) else delta_in


# ------------------------------------------------------------------------------- types


class HalfPrecision(Layer):
    """For float32, it computes with half the digits, in float16."""

    def forward(self, inputs):
        self.factor = np.float16(0.1) if inputs.dtype == np.float32 else 0.1
        return inputs * inputs.dtype.type(self.factor)

    def backward(self, delta):
        return delta * delta.dtype.type(self.factor)


class AnotherSlopeInFloat32(Linear):
    def backward(self, delta):
        self.weights.accumulate(self.inputs.T @ delta)
        self.biases.accumulate(delta.sum(axis=0))
        factor = 1 if delta.dtype == np.float64 else 2
        return factor * (delta @ self.weights.value.T)


class DropsOtherwiseInFloat32(Layer):
    """A random layer whose gradient is wrong in float32 alone."""

    def build(self, input_shape):
        self.generator("coin")

    def forward(self, inputs):
        self.mask = self.coin.standard_normal(inputs.shape, dtype=inputs.dtype)
        return inputs + self.mask * inputs

    def backward(self, delta):
        wrong = delta.dtype == np.float32
        return delta + (0.5 if wrong else 1.0) * self.mask * delta

    def apply(self, inputs):
        return +inputs


# ------------------------------------------------------------------------------- files


class KeepsItsConfigurationToItself(Layer):
    """What it computes with is no field, so a file does not hold it."""

    def __attrs_post_init__(self):
        KeepsItsConfigurationToItself.made = getattr(type(self), "made", 0) + 1
        self.factor = 1.0 + KeepsItsConfigurationToItself.made

    def forward(self, inputs):
        return self.factor * inputs

    def backward(self, delta):
        return self.factor * delta


# ------------------------------------------------------------------------------- inference


class DropoutNotRescaled(Dropout):
    def forward(self, inputs):
        self.mask = self.mask_for(inputs)
        return inputs * self.mask

    def apply(self, inputs):
        return +inputs


class OneMaskForAllRows(Dropout):
    def mask_for(self, inputs):
        return (self.coin.random((1, *inputs.shape[1:])) >= self.rate).astype(inputs.dtype)


class DropsInApply(Dropout):
    def apply(self, inputs):
        return inputs * self.mask_for(inputs) / (1 - self.rate)


class DropsInApplyFromElsewhere(Dropout):
    """Its own generator is left alone, yet no two calls agree."""

    def apply(self, inputs):
        mask = np.random.default_rng().random(inputs.shape) >= self.rate
        return inputs * mask.astype(inputs.dtype) / (1 - self.rate)


class RescalesInApplyToo(Dropout):
    def apply(self, inputs):
        return inputs * (1 - self.rate)


class MissingShift(BatchNorm):
    def apply(self, inputs):
        normal = (inputs - self.mean.value) / np.sqrt(self.variance.value + 1e-5)
        return normal * self.scale.value


class BatchStatisticsInApply(BatchNorm):
    def apply(self, inputs):
        variance = inputs.var(axis=0) if len(inputs) else 1.0
        mean = inputs.mean(axis=0) if len(inputs) else 0.0
        return (inputs - mean) / np.sqrt(variance + 1e-5) * self.scale.value + self.shift.value


class WrongRunningVariance(BatchNorm):
    """Keeps the mean square, and uses it as the variance."""

    def update(self, mean, variance):
        super().update(mean, variance + mean**2)


class DeviationInsteadOfVariance(BatchNorm):
    def update(self, mean, variance):
        super().update(mean, np.sqrt(variance))


class NeverLearnsItsMean(BatchNorm):
    def update(self, mean, variance):
        super().update(self.mean.value, variance)


class LearnsInApply(BatchNorm):
    def apply(self, inputs):
        if len(inputs):
            self.update(inputs.mean(axis=0), inputs.var(axis=0))
        return super().apply(inputs)


class RunsForwardOfWhatIsInside(Layer):
    """A wrapper whose `apply` trains the layer inside."""

    inner: Layer

    def forward(self, inputs):
        return 2 * self.inner.forward(inputs)

    def backward(self, delta):
        return self.inner.backward(2 * delta)

    def apply(self, inputs):
        return 2 * self.inner.forward(inputs)


class ForgetsItsOwnPartInApply(RunsForwardOfWhatIsInside):
    def apply(self, inputs):
        return self.inner.apply(inputs)


# ------------------------------------------------------------------------------- known layers


class ConvolutionWithoutFlip(Layer):
    """The delta is convolved with the kernel in the wrong direction."""

    def build(self, input_shape):
        self.parameter("kernel", (3,), "normal")

    def forward(self, inputs):
        ring = np.concatenate([inputs, inputs[:, :2]], axis=1)
        self.windows = np.lib.stride_tricks.sliding_window_view(ring, 3, axis=1)
        return self.windows @ self.kernel.value

    def backward(self, delta):
        self.kernel.accumulate(np.einsum("bi,bik->k", delta, self.windows))
        shifted = [np.roll(delta, -k, axis=1) * w for k, w in enumerate(self.kernel.value)]
        return sum(shifted[1:], shifted[0])


class SoftmaxDiagonal(Layer):
    """The derivative of the softmax as if it acted on each entry alone."""

    def forward(self, inputs):
        powers = np.exp(inputs - inputs.max(axis=1, keepdims=True))
        self.y = powers / powers.sum(axis=1, keepdims=True)
        return self.y

    def backward(self, delta):
        return delta * self.y * (1 - self.y)


class LayerNormWithoutVariance(Layer):
    """The variance is taken for a constant."""

    def forward(self, inputs):
        self.deviation = np.sqrt(inputs.var(axis=-1, keepdims=True) + 1e-5)
        return (inputs - inputs.mean(axis=-1, keepdims=True)) / self.deviation

    def backward(self, delta):
        return (delta - delta.mean(axis=-1, keepdims=True)) / self.deviation


class TiedOnce(Layer):
    """y = x W Wᵀ, and one of the two contributions to the gradient of W."""

    def build(self, input_shape):
        self.parameter("weights", (*input_shape, 2), "orthogonal")

    def forward(self, inputs):
        self.inputs = inputs
        return inputs @ self.weights.value @ self.weights.value.T

    def backward(self, delta):
        inner = delta @ self.weights.value
        self.weights.accumulate(self.inputs.T @ inner)
        return inner @ self.weights.value.T


class GateWithoutItsSlope(Layer):
    """y = x σ(x), and the delta of the first factor alone."""

    def forward(self, inputs):
        self.gate = 1 / (1 + np.exp(-np.clip(inputs, -500, 500)))
        return inputs * self.gate

    def backward(self, delta):
        return delta * self.gate


class ForgetsTheSkip(Linear):
    """y = x + x W: the delta goes through W alone."""

    def forward(self, inputs):
        return inputs + super().forward(inputs)


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
    (AddsThePreviousBatch(), (4,), "repeatable", "after a batch"),
    (StandardizesLikeTheFirstBatch(), (4,), "repeatable", "after a batch"),
    (MomentumInBackward(), (4,), "repeatable", "after a batch"),
    (ReseedsTheGlobalGenerator(), (4,), "repeatable", "global random generator"),
    (ReadsTheGlobalSeed(), (4,), "repeatable", "self.generator"),
    (DependsOnTheClock(), (4,), "repeatable", "second time"),
    (ForwardResetsTheGradient(3), (4,), "accumulate", "only zero_grad may reset"),
    (SecondGradientDiffers(3), (4,), "accumulate", "after one forward"),
    (ReturnsTooMuch(), (4,), "adjoint", "2 arrays"),
    (ForgetsToReturnForOneInput(), (4,), "adjoint", "return missing"),
    (WritesIfStrided(), (4,), "purity", "the input has changed"),
    (WritesIntoLargeDeltas(), (4,), "purity", "the delta has changed"),
    (NormalizesItsWeights(3), (4,), "purity", "the value of a parameter"),
    (RowsSeeEachOtherInLargeBatches(), (4,), "batch", "couples_batch"),
    (SqueezesASingleRow(3), (4,), "adjoint", "shape"),
    (HalfPrecision(), (4,), "type", "differs between float32 and float64"),
    (AnotherSlopeInFloat32(3), (4,), "type", "2 times what it should be"),
    (DropsOtherwiseInFloat32(), (4,), "type", "float32"),
    (KeepsItsConfigurationToItself(), (4,), "return", "different outputs"),
    (DropoutNotRescaled(), (4,), "inference", "rescale"),
    (OneMaskForAllRows(), (4,), "inference", "draw for each row"),
    (DropsInApply(), (4,), "inference", "apply draws random numbers"),
    (DropsInApplyFromElsewhere(), (4,), "inference", "deterministic"),
    (RescalesInApplyToo(), (4,), "inference", "not the mean"),
    (MissingShift(), (4,), "inference", "every parameter"),
    (BatchStatisticsInApply(), (4,), "inference", "statistics of the batch"),
    (WrongRunningVariance(), (4,), "inference", "running statistics"),
    (DeviationInsteadOfVariance(), (4,), "inference", "running statistics"),
    (NeverLearnsItsMean(), (4,), "inference", "running statistics"),
    (LearnsInApply(), (4,), "inference", "changes a buffer"),
    (RunsForwardOfWhatIsInside(Dropout()), (4,), "inference", "apply draws random numbers"),
    (RunsForwardOfWhatIsInside(BatchNorm()), (4,), "inference", "changes a buffer"),
    (ForgetsItsOwnPartInApply(Linear(3)), (4,), "inference", "different outputs"),
    (ConvolutionWithoutFlip(), (8,), "adjoint", "Only input is wrong"),
    (SoftmaxDiagonal(), (4,), "adjoint", "delta of the input"),
    (LayerNormWithoutVariance(), (4,), "adjoint", "delta of the input"),
    (TiedOnce(), (5,), "adjoint", "Only weights is wrong"),
    (GateWithoutItsSlope(), (4,), "adjoint", "delta of the input"),
    (ForgetsTheSkip(4), (4,), "adjoint", "Only input is wrong"),
]
