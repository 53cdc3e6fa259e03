"""The contenders from this package: its layers, and the lecture's plain functions."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.workloads import LEARNING_RATE, STEPS_TO_AGREE, Array, Problem, flat
from chainrule import (
    Activation,
    Dense,
    Graph,
    Input,
    Layer,
    Residual,
    Sequential,
    Trainer,
    lecture,
    losses,
    optimizers,
)


def sigmoid_network(problem: Problem) -> Layer:
    """The network of a problem as layers in a sequence."""
    layers = [part for b in problem.biases for part in (Dense(b.size), Activation("sigmoid"))]
    return Sequential(layers)


def relu_network(problem: Problem) -> Layer:
    """A network that classifies: a relu between the layers, and none after the last."""
    layers = [part for b in problem.biases for part in (Dense(b.size), Activation("relu"))]
    return Sequential(layers[:-1])


def sigmoid_graph(problem: Problem) -> Layer:
    """The same network as a graph: each layer is called on the output of the one before."""
    node = x = Input(problem.inputs.shape[1:])
    for layer in sigmoid_network(problem):
        node = layer(node)
    return Graph(x, node)


def residual_network(problem: Problem) -> Layer:
    """Blocks x + F(x) of two Dense layers each, with a relu between them."""
    widths = [b.size for b in problem.biases]
    pairs = zip(widths[::2], widths[1::2], strict=True)
    return Sequential([Residual(Dense(n), Activation("relu"), Dense(m)) for n, m in pairs])


class Layers:
    """A model, a loss and an optimizer, with the same step as `Trainer`."""

    def __init__(
        self, problem: Problem, make_model: Callable[[Problem], Layer] = sigmoid_network
    ) -> None:
        self.inputs, self.targets = problem.inputs, problem.as_targets(problem.targets)
        self.model = make_model(problem)
        self.model.build(problem.inputs.shape[1:], rng=0, dtype=problem.dtype)
        self.model.parameters.value = problem.start()
        self.parameters = self.model.parameters
        self.loss = losses.SoftmaxCrossEntropy() if problem.labels else losses.HalfSquaredError()
        self.optimizer = getattr(optimizers, problem.optimizer)(problem.rate)

    def step(self) -> float:
        self.parameters.zero_grad()
        y = self.model.forward(self.inputs)
        cost, delta = self.loss.value_and_delta(y, self.targets)
        self.model.backward_parameters(delta)
        self.optimizer.step(self.parameters.value, self.parameters.grad)
        return float(cost)

    def flat_parameters(self) -> Array:
        return self.parameters.value


class Fit(Layers):
    """The same step as a user takes it: an epoch of `Trainer.fit`, which shuffles and gathers."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem, relu_network if problem.labels else sigmoid_network)
        inputs, targets = problem.epoch()
        self.data, self.steps = (inputs, problem.as_targets(targets)), problem.steps
        self.trainer = Trainer(self.model, self.loss, self.optimizer, rng=0)

    def step(self) -> float:
        return self._epoch(*self.data)

    def first_steps(self) -> list[float]:
        return [self._epoch(self.inputs, self.targets) for _ in range(STEPS_TO_AGREE)]

    def _epoch(self, inputs: Array, targets: Array) -> float:
        history = self.trainer.fit(
            inputs, targets, epochs=1, batch_size=len(self.inputs), progress=False
        )
        return history["loss"][-1]


class Lecture:
    """`chainrule.lecture.train_net`: the lecture's program, with a new array for every result."""

    def __init__(self, problem: Problem) -> None:
        self.inputs, self.targets = problem.inputs, problem.targets
        self.weights = [w.copy() for w in problem.weights]
        self.biases = [b.copy() for b in problem.biases]

    def step(self) -> float:
        return lecture.train_net(
            self.inputs, self.targets, LEARNING_RATE, self.weights, self.biases
        )

    def flat_parameters(self) -> Array:
        return flat(self.weights, self.biases)
