"""Single layers: forward and backward of chainrule's and of PyTorch's, with the same numbers.

    ratio = (a pass forward and back in chainrule)/(the same in PyTorch)

A pass computes the output, the delta of the input and the gradient of every parameter. Both layers
start with the same parameters, and their outputs, deltas and gradients must agree. Each has its own
order of axes: channels last in chainrule, channels first in PyTorch; the arrays are put in that
order before the clock starts. One thread, float32.

`Training` is a whole step instead: two convolutions, a pool, a dense layer, and Adam.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import contenders
from benchmarks.race import Length, Result, one_thread, race
from benchmarks.workloads import Array

DTYPE = "float32"


@dataclass(frozen=True)
class Contest:
    """A layer, the batch it gets, and the bound for the ratio to PyTorch."""

    name: str
    shape: tuple[int, ...]
    """Of the batch, with channels last."""
    bound: float
    fast: float | None = field(default=None, kw_only=True)
    """The bound with the libraries of the extra `fast`."""

    def __str__(self) -> str:
        return f"{self.name}, batch {' × '.join(map(str, self.shape))}"

    @property
    def bounds(self) -> dict[str, float]:
        return {contenders.LAYER_PEER: self.bound}

    def problem(self, dtype: str) -> Problem:
        rng = np.random.default_rng(0)
        layer = self.layer()
        layer.build(self.shape[1:], rng=rng, dtype=dtype)
        x = rng.normal(size=self.shape).astype(dtype)
        delta = rng.normal(size=(len(x), *layer.output_shape)).astype(dtype)
        return Problem(self, layer, x, delta)

    def ours(self, problem: Problem) -> contenders.Contender:
        return Pass(problem)

    def theirs(self, problem: Problem) -> contenders.Contender:
        return PassOfPyTorch(problem)

    # What each kind of layer says:

    def layer(self) -> Any:
        """The layer of chainrule, not built yet."""
        raise NotImplementedError

    def peer(self, torch: Any, values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """What PyTorch calls, and its parameters by chainrule's names, from chainrule's values."""
        raise NotImplementedError

    def arranged(self, array: Array) -> Array:
        """A batch, with its axes in the order of PyTorch."""
        return array

    def arranged_back(self, name: str, array: Array) -> Array:
        """A gradient, or the "batch" of an output or a delta, in the order of chainrule."""
        return array


@dataclass(frozen=True)
class Problem:
    """What both contenders start with."""

    contest: Contest
    layer: Any
    x: Array
    delta: Array

    def values(self) -> dict[str, Array]:
        return {p.path: p.value.copy() for p in self.layer.parameters}


class Pass:
    """A layer of chainrule, forward and back."""

    def __init__(self, problem: Problem) -> None:
        self.layer, self.x, self.delta = problem.layer, problem.x, problem.delta
        self.parameters = self.layer.parameters

    def step(self) -> float:
        self.parameters.zero_grad()
        self.y = self.layer.forward(self.x)
        self.back = self.layer.backward(self.delta)
        return float(self.y.flat[0])

    def flat_parameters(self) -> Array:
        return scaled(self.y, self.back, [p.grad for p in self.parameters])


class PassOfPyTorch:
    """The same layer in PyTorch, eagerly."""

    def __init__(self, problem: Problem) -> None:
        import torch

        use_threads_of(torch)
        self.contest, values = problem.contest, problem.values()
        tensors = {name: torch.from_numpy(value) for name, value in values.items()}
        self.call, self.parameters = self.contest.peer(torch, tensors)
        self.order = list(values)
        x, delta = (self.contest.arranged(a) for a in (problem.x, problem.delta))
        self.x = torch.from_numpy(np.ascontiguousarray(x)).requires_grad_()
        self.delta = torch.from_numpy(np.ascontiguousarray(delta))

    def step(self) -> float:
        self.x.grad = None
        for parameter in self.parameters.values():
            parameter.grad = None
        self.y = self.call(self.x)
        self.y.backward(self.delta)
        return float(self.y.detach().reshape(-1)[0])

    def flat_parameters(self) -> Array:
        back = self.contest.arranged_back
        # A constant in a Hamiltonian moves nothing: PyTorch has no gradient for it.
        found = {
            name: p.grad if p.grad is not None else 0 * p for name, p in self.parameters.items()
        }
        gradients = [back(name, found[name].detach().numpy()) for name in self.order]
        y, delta = (back("batch", a) for a in (self.y.detach().numpy(), self.x.grad.numpy()))
        return scaled(y, delta, gradients)


def scaled(y: Array, back: Array, gradients: list[Array]) -> Array:
    """All numbers in one vector, those of each kind divided by the largest of them."""
    kinds = [y.ravel(), back.ravel(), np.concatenate([[0], *(g.ravel() for g in gradients)])]
    return np.concatenate([each / max(np.abs(each).max(), 1e-30) for each in kinds])


def use_threads_of(torch: Any) -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))


def _leaf(tensor: Any) -> Any:
    """A copy of a tensor in memory of its own, which gets a gradient."""
    return tensor.detach().contiguous().clone().requires_grad_()


# ------------------------------------------------------------------------------- images


class OnImages(Contest):
    """Channels last in chainrule, first in PyTorch."""

    def arranged(self, array: Array) -> Array:
        return np.moveaxis(array, -1, 1)

    def arranged_back(self, name: str, array: Array) -> Array:
        if name == "batch":
            return np.moveaxis(array, 1, -1)
        return np.moveaxis(array, (0, 1), (-1, -2)) if array.ndim == 4 else array


@dataclass(frozen=True)
class Convolution(OnImages):
    filters: int = 1

    def layer(self) -> Any:
        from chainrule import Convolution

        return Convolution(self.filters, 3)

    def peer(self, torch: Any, values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        leaves = {
            "weights": _leaf(values["weights"].permute(3, 2, 0, 1)),
            "biases": _leaf(values["biases"]),
        }
        conv2d = torch.nn.functional.conv2d
        return lambda x: conv2d(x, leaves["weights"], leaves["biases"], padding=1), leaves


@dataclass(frozen=True)
class Pool(OnImages):
    kind: str = "MaxPool"

    def layer(self) -> Any:
        import chainrule

        return getattr(chainrule, self.kind)(2)

    def peer(self, torch: Any, values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        functions = torch.nn.functional
        pool = functions.max_pool2d if self.kind == "MaxPool" else functions.avg_pool2d
        return lambda x: pool(x, 2), {}


class BatchNorm(OnImages):
    def layer(self) -> Any:
        from chainrule import BatchNorm

        return BatchNorm()

    def peer(self, torch: Any, values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        module = torch.nn.BatchNorm2d(self.shape[-1]).to(values["scale"].dtype)
        return module, {"scale": module.weight, "shift": module.bias}


class LayerNorm(Contest):
    def layer(self) -> Any:
        from chainrule import LayerNorm

        return LayerNorm()

    def peer(self, torch: Any, values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        module = torch.nn.LayerNorm(self.shape[-1]).to(values["scale"].dtype)
        return module, {"scale": module.weight, "shift": module.bias}


# ------------------------------------------------------------------------------- sequences


@dataclass(frozen=True)
class Recurrence(Contest):
    """An LSTM or a GRU that returns all its states."""

    kind: str = "LSTM"
    units: int = 64

    def layer(self) -> Any:
        import chainrule

        return getattr(chainrule, self.kind)(self.units, return_sequences=True)

    def peer(self, torch: Any, values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        module = getattr(torch.nn, self.kind)(self.shape[-1], self.units, batch_first=True)
        module = module.to(values["weights"].dtype)
        parameters = {"weights": module.weight_ih_l0, "biases": module.bias_ih_l0}
        parameters["recurrent_weights"] = module.weight_hh_l0
        if "recurrent_biases" in values:
            parameters["recurrent_biases"] = module.bias_hh_l0
        else:
            module.bias_hh_l0.requires_grad_(False).zero_()
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(values[name].T if values[name].ndim == 2 else values[name])
        return lambda x: module(x)[0], parameters

    def arranged_back(self, name: str, array: Array) -> Array:
        return array.T if name.endswith("weights") else array


@dataclass(frozen=True)
class UserCell(Contest):
    """A user's own cell, h′ = tanh(x w + h v + b), in `Scan` and in a Python loop in PyTorch."""

    units: int = 64

    def layer(self) -> Any:
        from chainrule import Layer, Scan

        class Cell(Layer):
            units: int

            def build(self, x_shape: Any, h_shape: Any, **options: Any) -> None:
                self.weights = self.parameter(
                    "weights", (x_shape[-1], self.units), "glorot_uniform"
                )
                self.carried = self.parameter("carried", (self.units, self.units), "orthogonal")
                self.biases = self.parameter("biases", (self.units,))

            def forward(self, x: Any, h: Any) -> Any:
                self.x, self.h = x, h
                self.y = np.tanh(
                    x @ self.weights.value + h @ self.carried.value + self.biases.value
                )
                return self.y

            def backward(self, delta: Any) -> Any:
                delta = delta * (1 - self.y**2)
                self.weights.accumulate(self.x.T @ delta)
                self.carried.accumulate(self.h.T @ delta)
                self.biases.accumulate(delta.sum(axis=0))
                return delta @ self.weights.value.T, delta @ self.carried.value.T

        return Scan(Cell(self.units), return_sequences=True)

    def peer(self, torch: Any, values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        leaves = {name: _leaf(value) for name, value in values.items()}
        w, v, b = (leaves[f"cell.{name}"] for name in ("weights", "carried", "biases"))

        def loop(x: Any) -> Any:
            h = x.new_zeros(len(x), self.units)
            states = []
            for t in range(x.shape[1]):
                h = torch.tanh(x[:, t] @ w + h @ v + b)
                states.append(h)
            return torch.stack(states, 1)

        return loop, leaves


@dataclass(frozen=True)
class Attention(Contest):
    heads: int = 4

    def layer(self) -> Any:
        from chainrule import MultiHeadAttention

        return MultiHeadAttention(self.heads)

    def peer(self, torch: Any, values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        leaves = {
            name: _leaf(value.T if value.ndim == 2 else value) for name, value in values.items()
        }
        linear = torch.nn.functional.linear
        product = torch.nn.functional.scaled_dot_product_attention

        def attend(x: Any) -> Any:
            batch, time, _ = x.shape
            q, k, v = (
                linear(x, leaves[f"{n}_weights"], leaves[f"{n}_biases"])
                .view(batch, time, self.heads, -1)
                .transpose(1, 2)
                for n in ("query", "key", "value")
            )
            y = product(q, k, v).transpose(1, 2).reshape(batch, time, -1)
            return linear(y, leaves["output_weights"], leaves["output_biases"])

        return attend, leaves

    def arranged_back(self, name: str, array: Array) -> Array:
        return array.T if name.endswith("weights") else array


# ------------------------------------------------------------------------------- an equation


class Residual(Contest):
    """r = ∂u/∂t + u ∂u/∂x − ν ∂²u/∂x² of a network u(x, t), and the gradients of ⟨Δ, r⟩."""

    def layer(self) -> Any:
        from chainrule import Formula, Graph, Input, physics

        class Burgers(Formula):
            def forward(self, u: Any, first: Any, second: Any) -> Any:
                return first[:, 1] + u * first[:, 0] - VISCOSITY * second[:, 0]

        network, x = tanh_network(), Input((2,))
        return Graph(x, Burgers()(*physics.Derivatives(network, order=2, second=[(0, 0)])(x)))

    def peer(self, torch: Any, values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        leaves = {name: _leaf(value) for name, value in values.items()}

        def residual(x: Any) -> Any:
            u = tanh_network_of_pytorch(torch, list(leaves.values()), x)
            (first,) = torch.autograd.grad(u.sum(), x, create_graph=True)
            (second,) = torch.autograd.grad(first[:, 0].sum(), x, create_graph=True)
            return first[:, 1] + u * first[:, 0] - VISCOSITY * second[:, 0]

        return residual, leaves


VISCOSITY = 0.01 / np.pi


class Motion(Contest):
    """(q̇, ṗ) = (∂H/∂p, −∂H/∂q) of a network H(q, p), and the gradients of ⟨Δ, (q̇, ṗ)⟩."""

    def layer(self) -> Any:
        from chainrule import physics

        return physics.Hamiltonian(tanh_network())

    def peer(self, torch: Any, values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        leaves = {name: _leaf(value) for name, value in values.items()}

        def motion(x: Any) -> Any:
            energy = tanh_network_of_pytorch(torch, list(leaves.values()), x)
            (g,) = torch.autograd.grad(energy.sum(), x, create_graph=True)
            half = g.shape[1] // 2
            return torch.cat([g[:, half:], -g[:, :half]], dim=1)

        return motion, leaves


def tanh_network() -> Any:
    """A network with one output."""
    from chainrule import Activation, Dense, Sequential

    hidden = [layer for _ in range(3) for layer in (Dense(64), Activation("tanh"))]
    return Sequential([*hidden, Dense(1)])


def tanh_network_of_pytorch(torch: Any, arrays: list[Any], x: Any) -> Any:
    """The same in PyTorch, from weights and biases in turn."""
    for n in range(0, len(arrays), 2):
        x = x @ arrays[n] + arrays[n + 1]
        x = torch.tanh(x) if n < len(arrays) - 2 else x
    return x[:, 0]


# ------------------------------------------------------------------------------- a step of a CNN


class Training(OnImages):
    """A step of Adam on a small network for digits."""

    def layer(self) -> Any:
        from chainrule import Activation, Convolution, Dense, Flatten, MaxPool, Sequential

        return Sequential(
            [
                *(Convolution(16, 3), Activation("relu")),
                *(Convolution(32, 3), Activation("relu")),
                *(MaxPool(2), Flatten(), Dense(10)),
            ]
        )

    def ours(self, problem: Problem) -> contenders.Contender:
        return Step(problem)

    def theirs(self, problem: Problem) -> contenders.Contender:
        return StepOfPyTorch(problem)


RATE = 1e-3


class Step:
    """The step of chainrule."""

    def __init__(self, problem: Problem) -> None:
        from chainrule import losses, optimizers

        self.model, self.x = problem.layer, problem.x
        self.labels = labels(len(problem.x))
        self.parameters = self.model.parameters
        self.loss, self.optimizer = losses.SoftmaxCrossEntropy(), optimizers.Adam(RATE)

    def step(self) -> float:
        self.parameters.zero_grad()
        cost, delta = self.loss.value_and_delta(self.model.forward(self.x), self.labels)
        self.model.backward_parameters(delta)
        self.optimizer.step(self.parameters.value, self.parameters.grad)
        return float(cost)

    def first_steps(self) -> list[float]:
        """One step: after several, Adam has turned rounding errors into whole steps."""
        return [self.step()]

    def flat_parameters(self) -> Array:
        """The gradient, divided by its largest entry."""
        gradient = self.parameters.grad
        return gradient / np.abs(gradient).max()


class StepOfPyTorch:
    """The step of PyTorch, with the same parameters in its own order."""

    def __init__(self, problem: Problem) -> None:
        import torch

        use_threads_of(torch)
        nn, (*_, height, width, channels) = torch.nn, problem.x.shape
        self.model = nn.Sequential(
            *(nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()),
            *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * (height // 2) * (width // 2), 10)),
        ).to(getattr(torch, problem.x.dtype.name))
        self.image = (height // 2, width // 2, 32)
        with torch.no_grad():
            for parameter, value in zip(
                self.model.parameters(), problem.values().values(), strict=True
            ):
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(self.to_peer(value))))
        self.x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(problem.x, -1, 1)))
        self.labels = torch.from_numpy(labels(len(problem.x)))
        self.loss = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=RATE, eps=1e-8)

    def to_peer(self, value: Array) -> Array:
        if value.ndim == 4:
            return np.moveaxis(value, (-1, -2), (0, 1))
        if value.ndim == 2:
            return np.moveaxis(value.reshape(*self.image, 10), 2, 0).reshape(-1, 10).T
        return value

    def from_peer(self, value: Array) -> Array:
        if value.ndim == 4:
            return np.moveaxis(value, (0, 1), (-1, -2))
        if value.ndim == 2:
            height, width, channels = self.image
            return np.moveaxis(value.T.reshape(channels, height, width, 10), 0, 2)
        return value

    def step(self) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        cost = self.loss(self.model(self.x), self.labels)
        cost.backward()
        self.optimizer.step()
        return float(cost.detach())

    def first_steps(self) -> list[float]:
        return [self.step()]

    def flat_parameters(self) -> Array:
        found = [self.from_peer(p.grad.numpy()) for p in self.model.parameters()]
        gradient = np.concatenate([part.ravel() for part in found])
        return gradient / np.abs(gradient).max()


def labels(count: int) -> Any:
    return np.random.default_rng(1).integers(0, 10, count)


# ------------------------------------------------------------------------------- the contests

CONTESTS: tuple[Contest, ...] = (
    Convolution("convolution 3 × 3, 16 → 32", (32, 28, 28, 16), 1.5, fast=1.1, filters=32),
    Convolution("convolution 3 × 3, 32 → 32", (32, 16, 16, 32), 1.5, fast=1.1, filters=32),
    Convolution("convolution 3 × 3, 64 → 64", (32, 8, 8, 64), 1.5, fast=1.1, filters=64),
    Training("step of a CNN with Adam", (32, 28, 28, 1), 1.2),
    Recurrence("LSTM, 64 units", (32, 50, 64), 1.4, fast=1.3, kind="LSTM", units=64),
    Recurrence("LSTM, 128 units", (32, 50, 128), 1.4, fast=1.3, kind="LSTM", units=128),
    Recurrence("GRU, 64 units", (32, 50, 64), 0.7, kind="GRU", units=64),
    Attention("attention, 4 heads", (16, 64, 128), 1.05),
    Pool("MaxPool 2 × 2", (32, 28, 28, 32), 0.6, kind="MaxPool"),
    Pool("AveragePool 2 × 2", (32, 28, 28, 32), 0.6, kind="AveragePool"),
    BatchNorm("BatchNorm", (32, 28, 28, 32), 1.2),
    LayerNorm("LayerNorm", (32, 64, 128), 1.5),
    UserCell("Scan over a user's cell", (32, 50, 64), 3.0),
    Residual("residual of Burgers' equation, 3 × 64 tanh", (1000, 2), 2.0),
    Motion("Hamiltonian, 3 × 64 tanh", (1000, 4), 2.0),
)


def measure(length: Length, seen: Callable[[], None]) -> list[Result]:
    """Run the races with one thread each, if PyTorch is installed."""
    if "PyTorch" not in contenders.available():
        return []
    names = [contenders.LAYER, contenders.LAYER_PEER]
    with one_thread():
        return [race(contest, DTYPE, names, length, seen) for contest in CONTESTS]
