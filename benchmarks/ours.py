"""The contenders from this package: its layers, and the lecture's plain functions."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.workloads import LEARNING_RATE, Array, Problem, flat
from chainrule import (
    Activation,
    Dense,
    Graph,
    Input,
    Layer,
    Residual,
    Sequential,
    lecture,
    losses,
    optimizers,
)


def sigmoid_network(problem: Problem) -> Layer:
    """The network of a problem as layers in a sequence."""
    layers = [part for b in problem.biases for part in (Dense(b.size), Activation("sigmoid"))]
    return Sequential(layers)


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
    """A model, HalfSquaredError and SGD, with the same step as `Trainer`."""

    def __init__(
        self, problem: Problem, make_model: Callable[[Problem], Layer] = sigmoid_network
    ) -> None:
        self.inputs, self.targets = problem.inputs, problem.targets
        self.model = make_model(problem)
        self.model.build(problem.inputs.shape[1:], rng=0, dtype=problem.dtype)
        self.model.parameters.value = problem.start()
        self.parameters = self.model.parameters
        self.loss = losses.HalfSquaredError()
        self.optimizer = optimizers.SGD(problem.rate)

    def step(self) -> float:
        self.parameters.zero_grad()
        y = self.model.forward(self.inputs)
        cost, delta = self.loss.value_and_delta(y, self.targets)
        self.model.backward_parameters(delta)
        self.optimizer.step(self.parameters.value, self.parameters.grad)
        return float(cost)

    def flat_parameters(self) -> Array:
        return self.parameters.value


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
