"""The contenders from other libraries, as their documentation recommends; imported on request.

PyTorch runs eagerly: every operation is called from Python, as in chainrule, and recorded in a
graph for the backward pass. JAX compiles the whole step once; it may reuse the memory of the old
parameters for the new ones.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from benchmarks.workloads import LEARNING_RATE, STEPS_TO_AGREE, Array, Problem, flat


class PyTorch:
    """torch.nn.Sequential and torch.optim, in eager mode."""

    how: dict[str, Any] = {}  # noqa: RUF012, how the optimizer steps, if not by default

    def __init__(self, problem: Problem) -> None:
        import torch

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
        dtype = getattr(torch, problem.dtype.name)
        self.linears: list[Any] = []
        for w, b in zip(problem.weights, problem.biases, strict=True):
            linear = torch.nn.Linear(w.shape[0], w.shape[1], dtype=dtype)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(w.T))
                linear.bias.copy_(torch.from_numpy(b))
            self.linears.append(linear)
        self.model = self.network(torch)
        optimizer = getattr(torch.optim, problem.optimizer)
        self.optimizer = optimizer(self.model.parameters(), lr=problem.rate, **self.how)
        self.inputs = torch.from_numpy(problem.inputs)
        self.targets = torch.from_numpy(problem.as_targets(problem.targets))

    def network(self, torch: Any) -> Any:
        """The linear layers with a sigmoid after each."""
        return torch.nn.Sequential(
            *[part for linear in self.linears for part in (linear, torch.nn.Sigmoid())]
        )

    def step(self) -> float:
        return self.step_on(self.inputs, self.targets)

    def step_on(self, inputs: Any, targets: Any) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        cost = self.cost(self.model(inputs), targets)
        cost.backward()
        self.optimizer.step()
        return float(cost.detach())

    def cost(self, y: Any, targets: Any) -> Any:
        return 0.5 * ((y - targets) ** 2).sum(1).mean()

    def flat_parameters(self) -> Array:
        return flat(
            [linear.weight.detach().numpy().T for linear in self.linears],
            [linear.bias.detach().numpy() for linear in self.linears],
        )


class Loop(PyTorch):
    """Whole epochs in the fastest of the usual loops: tensors in memory, and no DataLoader."""

    def __init__(self, problem: Problem) -> None:
        import torch

        self.labels = problem.labels
        super().__init__(problem)
        inputs, targets = problem.epoch()
        self.data = torch.from_numpy(inputs), torch.from_numpy(problem.as_targets(targets))
        self.shuffled, self.steps = torch.randperm, problem.steps
        self.cross_entropy = torch.nn.CrossEntropyLoss()

    def network(self, torch: Any) -> Any:
        if not self.labels:
            return super().network(torch)
        parts = [part for linear in self.linears for part in (linear, torch.nn.ReLU())]
        return torch.nn.Sequential(*parts[:-1])

    def cost(self, y: Any, targets: Any) -> Any:
        return self.cross_entropy(y, targets) if self.labels else super().cost(y, targets)

    def step(self) -> float:
        inputs, targets = self.data
        total = 0.0
        for rows in self.shuffled(len(inputs)).split(len(self.inputs)):
            total += self.step_on(inputs.index_select(0, rows), targets.index_select(0, rows))
        return total / self.steps

    def first_steps(self) -> list[float]:
        return [self.step_on(self.inputs, self.targets) for _ in range(STEPS_TO_AGREE)]


class FusedLoop(Loop):
    """The same, with the optimizer's whole step in one C++ loop."""

    how = {"fused": True}  # noqa: RUF012


class PyTorchResidual(PyTorch):
    """The same with blocks x + F(x), as a custom torch.nn.Module."""

    def network(self, torch: Any) -> Any:
        class Block(torch.nn.Module):  # type: ignore[misc, name-defined]
            def __init__(self, one: Any, two: Any) -> None:
                super().__init__()
                self.one, self.bend, self.two = one, torch.nn.ReLU(), two

            def forward(self, x: Any) -> Any:
                return x + self.two(self.bend(self.one(x)))

        pairs = zip(self.linears[::2], self.linears[1::2], strict=True)
        return torch.nn.Sequential(*[Block(one, two) for one, two in pairs])


class Jax:
    """jax.value_and_grad of the cost and the gradient step, in one jax.jit."""

    def __init__(self, problem: Problem) -> None:
        import jax

        jax.config.update("jax_enable_x64", problem.dtype == np.float64)

        def cost(parameters: Any, inputs: Any, targets: Any) -> Any:
            y = inputs
            for w, b in parameters:
                y = jax.nn.sigmoid(y @ w + b)
            return 0.5 * ((y - targets) ** 2).sum(1).mean()

        def step(parameters: Any, inputs: Any, targets: Any) -> Any:
            value, gradient = jax.value_and_grad(cost)(parameters, inputs, targets)
            change = jax.tree.map(lambda p, g: p - LEARNING_RATE * g, parameters, gradient)
            return value, change

        self.jitted = jax.jit(step, donate_argnums=0)
        self.parameters = [
            (jax.numpy.array(w), jax.numpy.array(b))  # copies, because their memory is donated
            for w, b in zip(problem.weights, problem.biases, strict=True)
        ]
        self.inputs = jax.numpy.asarray(problem.inputs)
        self.targets = jax.numpy.asarray(problem.targets)

    def step(self) -> float:
        cost, self.parameters = self.jitted(self.parameters, self.inputs, self.targets)
        return float(cost)

    def flat_parameters(self) -> Array:
        weights, biases = zip(*self.parameters, strict=True)
        return flat([np.asarray(w) for w in weights], [np.asarray(b) for b in biases])
