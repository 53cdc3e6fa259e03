"""What a user writes with chainrule: pyright and mypy must accept every line in strict mode."""

# pyright: strict

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

import attrs
import numpy as np
import numpy.typing as npt
from attrs import define, frozen

import chainrule
from chainrule import (
    Activation,
    Add,
    Branches,
    Concatenate,
    Dense,
    Dual,
    Ensemble,
    Graph,
    Input,
    Layer,
    Residual,
    Sequential,
    Softmax,
    Trainer,
    callbacks,
    check_layer,
    check_loss,
    datasets,
    derivatives,
    diagram,
    errors,
    explain,
    fitting,
    load,
    losses,
    optimizers,
    schedules,
    summary,
    trace,
)
from chainrule.core.parameter import Parameter
from chainrule.graph.node import Node
from chainrule.training.history import History

Array = npt.NDArray[np.floating[Any]]  # float32 or float64


# ------------------------------------------------------------------------------- layers


class Scale(Layer):
    """y = s x, one learned s for each column."""

    start: float = 1.0

    def build(self, input_shape: tuple[int, ...], **options: Any) -> None:
        self.scale = self.parameter("scale", input_shape, self.start)

    def forward(self, x: Array) -> Array:
        self.x = x
        return x * self.scale.value

    def backward(self, delta: Array) -> Array:
        self.scale.accumulate((delta * self.x).sum(axis=0))
        return delta * self.scale.value


class Difference(Layer):
    """y = a − b: a layer of two inputs, without parameters."""

    def forward(self, a: Array, b: Array) -> Array:
        return a - b

    def backward(self, delta: Array) -> tuple[Array, Array]:
        return delta, -delta

    def apply(self, a: Array, b: Array) -> Array:
        return a - b


class Wrapped(Layer):
    """A layer that holds a layer, and any number of inputs."""

    inner: Layer

    def forward(self, *inputs: Array) -> Any:
        return self.inner.forward(*inputs)

    def backward(self, dy: Array) -> Any:
        return self.inner.backward(dy)


scale = Scale(start=2.0)
scale.build((3,), rng=0, dtype="float64")
assert_type(scale.scale, Parameter)
print(scale.scale.value.sum(), scale.is_built, scale.input_shape, Scale(0.5))

report = check_layer(Scale(), (3,))
print(report)
print(check_layer(Difference(), ((3,), (3,))))
check_loss(losses.HalfSquaredError(), (3,))


# ------------------------------------------------------------------------------- models

x_train, t_train, x_test, t_test = datasets.digits()
assert_type(chainrule.datasets.digits().x_train, npt.NDArray[np.floating[Any]])

sequence = Sequential(
    [Scale(), Dense(8, initializer="glorot_uniform"), Activation("tanh"), Dense(10)]
)
sequence.build((64,), rng=np.random.default_rng(0), dtype="float32")
Dense(3).build((4,), rng=0)
Add().build((4,), (4,), rng=0)

y = sequence(x_test)
assert_type(y, npt.NDArray[Any])
right = (y.argmax(axis=1) == t_test).mean()
assert_type(Softmax()(y), npt.NDArray[Any])
assert_type(Dense(1)([[1.0, 2.0], [3.0, 4.0]]), npt.NDArray[Any])

a, b = Input((4,), name="a"), Input((4,))
h = Residual(Dense(4), Activation("relu"))(a)
node = Dense(2)(Concatenate()(Wrapped(Scale())(h), Difference()(a, b)))
graph = Graph([a, b], {"sum": node, "same": Dense(1)(h)})
graph.build(rng=0)
assert_type(Concatenate()(a, h)[0], Node)
total, same = graph(np.ones((5, 4)), np.zeros((5, 4)))
print(total.shape, same.shape, graph.output_shapes)

twin = sequence.twin().freeze()
for path, layer in sequence.walk():
    print(path, layer.parameters.size, twin.is_built)
for parameter in sequence.parameters:
    print(parameter.path, parameter.shape, parameter.grad.sum())
print(sequence.parameters["dense_1.weights"].value, sequence[0], len(sequence))
first, second = Branches([Dense(2), Dense(3)])(np.ones((1, 4)))
print(first.shape, second.shape)
print(summary(sequence), explain(sequence), diagram(sequence))
print(trace(sequence, x_test[:1], t_test[:1], losses.SoftmaxCrossEntropy()))


assert [each.name for each in attrs.fields(Scale)] == ["start"]

# ------------------------------------------------------------------------------- training


class StopAtHalf(callbacks.Callback):
    """A callback of the user's own."""

    def on_epoch_end(self, trainer: Trainer, epoch: int, row: Mapping[str, float]) -> None:
        if row["loss"] < 0.5:
            trainer.stop("the loss is small")


@frozen
class InverseSquareRoot(schedules.Schedule):
    """A schedule of the user's own."""

    start: float

    def at(self, step: int) -> float:
        return float(self.start / (step + 1) ** 0.5)


@define
class SignDescent(optimizers.Optimizer):
    """An optimizer of the user's own."""

    def step(self, theta: Array, gradient: Array) -> None:
        self.check(theta, gradient)
        theta -= self.learning_rate * np.sign(gradient)


@define
class LogCosh(losses.Loss):
    """A loss of the user's own."""

    def costs(self, y: Array, t: Array) -> Any:
        return np.sum(np.log(np.cosh(y - t)), axis=1)

    def slopes(self, y: Array, t: Array) -> Array:
        return np.tanh(y - t)


@define
class Energy(losses.Loss):
    """A loss of the user's own, without targets."""

    takes_targets = False

    def costs(self, y: Array) -> Any:
        return np.sum(y**4 - y**2, axis=1)

    def slopes(self, y: Array) -> Array:
        return 4 * y**3 - 2 * y


energy = Energy()(np.ones((2, 3)))


def largest_error(y: Array, t: Array) -> float:
    return float(np.abs(y - t).max())


rate = callbacks.LearningRate(schedules.WarmUp(schedules.Cosine(3e-3, steps=100), steps=5))
by_epoch = callbacks.LearningRate(
    schedules.ReduceOnPlateau(0.1), per="epoch", monitor="validation_loss"
)
model = Sequential([Dense(8), Activation("relu"), Dense(10)])
trainer = Trainer(
    model,
    losses.SoftmaxCrossEntropy(),
    optimizers.Adam(1e-3),
    metrics=["accuracy"],
    rng=0,
)
history = trainer.fit(
    x_train[:64],
    t_train[:64],
    epochs=2,
    batch_size=32,
    validation_data=(x_test[:64], t_test[:64]),
    callbacks=[rate, StopAtHalf(), callbacks.EarlyStopping(patience=3)],
    progress=False,
)
assert_type(history, History)
print(history["loss"][-1], trainer.evaluate(x_test, t_test)["accuracy"])

both = losses.PerOutput([losses.HalfSquaredError(), losses.MeanAbsoluteError()])
print(rate, by_epoch, both, callbacks.Checkpoint("runs"), callbacks.CSVLogger("run.csv"))
regression = Trainer(
    Sequential([Dense(1)]),
    LogCosh(),
    SignDescent(0.1),
    metrics=[largest_error, losses.Huber()],
    rng=0,
)
regression.fit(
    np.ones((8, 2)),
    np.ones((8, 1)),
    epochs=1,
    callbacks=[
        callbacks.LearningRate(InverseSquareRoot(0.1)),
        callbacks.FromFunctions(on_epoch_end=lambda trainer, epoch, figures: print(epoch)),
    ],
    progress=False,
)
print(regression.step(np.ones((8, 2)), np.ones((8, 1))))

ensemble = Ensemble(Sequential([Dense(2)]), members=3, gaussian=True, floor=0.1)
likelihood = losses.GaussianNegativeLogLikelihood(floor=0.1)
Trainer(ensemble, [likelihood] * 3, optimizers.Adam(), rng=0).fit(
    np.ones((8, 2)), (np.ones((8, 1)),) * 3, sample_weights=ensemble.bootstrap(8), progress=False
)
assert_type(ensemble.calibrate(np.ones((8, 2)), np.zeros((8, 1))), float)
lower, upper = ensemble.band(np.ones((8, 2)), probability=0.9)
assert_type(lower, npt.NDArray[Any])
posterior = fitting.Laplace(regression.model, np.ones((8, 2)), np.ones((8, 1)), 0.1)
print(posterior.deviation(np.ones((8, 2))) < upper, posterior.log_evidence)


# ------------------------------------------------------------------------------- files, derivatives


def save_and_load(folder: Path) -> Layer:
    model.save(folder / "model.safetensors")
    model.save_weights(str(folder / "weights.safetensors"))
    model.load_weights(folder / "weights.safetensors")
    try:
        return load(folder / "model.safetensors", layers=[Scale])
    except errors.StorageError as error:
        print(error.problem, error.expected, error.received)
        raise


cost, gradient = derivatives.value_and_gradient(
    model, losses.SoftmaxCrossEntropy(), x_test[:8], t_test[:8]
)
assert_type(cost, float)
assert_type(gradient, npt.NDArray[Any])
jacobian = derivatives.jacobian(model, x_test[:2])
assert_type(jacobian, npt.NDArray[Any])
dual = Dual(x_test[:2], np.ones_like(x_test[:2]))
print(model.forward(dual).tangent)


with tempfile.TemporaryDirectory() as folder:
    print(save_and_load(Path(folder)))
