"""Differential equations solved by networks: relative errors in L² against exact solutions.

The residual of each equation is the output of a graph of `physics.Derivatives` and a formula; the
cost is its mean square. Boundary and initial values are built into the network where that is easy,
u = (distance from the boundary) · N(x); for Burgers' equation, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import solve as solve_system

from chainrule import (
    Activation,
    Dense,
    Formula,
    Graph,
    Input,
    Sequential,
    derivatives,
    physics,
)
from chainrule.core.layer import Layer

TOLERANCE = 2.0  # the path of an optimizer depends on the processor's last bits


class Poisson1D(Formula):
    """r = u″ + f with f = π² sin πx, for which u = sin πx."""

    def forward(self, x: Any, second: Any) -> Any:
        return second[:, 0] + np.pi**2 * np.sin(np.pi * x[:, 0])


class Poisson2D(Formula):
    """r = ∂²u/∂x² + ∂²u/∂y² + f with f = 2π² sin πx sin πy."""

    def forward(self, x: Any, second: Any) -> Any:
        f = 2 * np.pi**2 * np.sin(np.pi * x[:, 0]) * np.sin(np.pi * x[:, 1])
        return second[:, 0] + second[:, 1] + f


class Heat(Formula):
    """r = ∂u/∂t − κ ∂²u/∂x², with κ = 0.1 and rows (x, t)."""

    def forward(self, first: Any, second: Any) -> Any:
        return first[:, 1] - 0.1 * second[:, 0]


class Burgers(Formula):
    """r = ∂u/∂t + u ∂u/∂x − ν ∂²u/∂x², with ν = 0.01/π."""

    def forward(self, u: Any, first: Any, second: Any) -> Any:
        return first[:, 1] + u * first[:, 0] - 0.01 / np.pi * second[:, 0]


class Box(Formula):
    """u = x (1 − x) N, for all coordinates: zero on the boundary."""

    def forward(self, x: Any, n: Any) -> Any:
        return n * np.prod(x * (1 - x), axis=1, keepdims=True) * 4.0 ** x.shape[1]


class FromSine(Formula):
    """u = sin πx (1 + t N): the initial value and both ends of the heat equation."""

    def forward(self, x: Any, n: Any) -> Any:
        return np.sin(np.pi * x[:, :1]) * (1 + x[:, 1:] * n)


class FromMinusSine(Formula):
    """u = −sin πx + t (1 − x²) N: the initial value and both ends for Burgers' equation."""

    def forward(self, x: Any, n: Any) -> Any:
        return -np.sin(np.pi * x[:, :1]) + x[:, 1:] * (1 - x[:, :1] ** 2) * n


def network(d: int, ansatz: Layer, widths: tuple[int, ...]) -> Graph:
    """N(x) with tanh, inside an ansatz that has the right boundary values."""
    x = Input((d,))
    hidden = [layer for width in widths for layer in (Dense(width), Activation("tanh"))]
    return Graph(x, ansatz(x, Sequential([*hidden, Dense(1)])(x)))


def equation(u: Graph, d: int, residual: Layer, uses: str, second: Any) -> Graph:
    """The residual as a graph of x; ``uses`` are its inputs: x, u, f(irst) and s(econd)."""
    x = Input((d,))
    outputs = physics.Derivatives(u, order=2, second=second)(x)
    parts = dict(zip("ufs", outputs, strict=True)) | {"x": x}
    return Graph(x, residual(*(parts[letter] for letter in uses)))


def solve(model: Graph, draw: Any, steps: int, rounds: int, count: int, added: int) -> float:
    """Minimize the mean square of the residual with Levenberg and Marquardt's method.

    After each round, the points with the largest residuals among twenty times as many new ones are
    added (Lu, Meng, Mao and Karniadakis, SIAM Review 63 (2021) 208). The Jacobian of all residuals
    comes from the same backward pass as a gradient, with the rows kept apart.
    """
    x, damping = draw(count), 1e-2
    for _ in range(rounds):
        r = model(x)
        for _ in range(steps):
            jacobian = derivatives.jacobian(model, x, "parameters")
            normal, slope = jacobian.T @ jacobian, jacobian.T @ r
            start = model.parameters.value.copy()
            for _ in range(12):
                step = solve_system(normal + damping * np.eye(len(normal)), slope, assume_a="pos")
                model.parameters.value = start - step
                moved = model(x)
                if moved @ moved < r @ r:
                    damping = max(damping / 3, 1e-13)
                    break
                damping *= 3
            else:
                model.parameters.value = start
                break
            r = moved
        others = draw(20 * added)
        x = np.concatenate([x, others[np.argsort(np.abs(model(others)))[-added:]]])
    return float(np.mean(r**2))


def relative(u: Any, exact: Any) -> float:
    """‖u − exact‖ / ‖exact‖."""
    return float(np.linalg.norm(u - exact) / np.linalg.norm(exact))


def burgers_exact(x: Any, t: Any, nodes: int = 100) -> Any:
    """The solution by Cole and Hopf, with Gauss–Hermite quadrature.

    u = −∫ sin π(x − η) f(x − η) e^(−η²/4νt) dη / ∫ f(x − η) e^(−η²/4νt) dη with
    f(y) = exp(−cos πy / 2πν). C. Basdevant and others, Computers & Fluids 14 (1986) 23.
    """
    viscosity = 0.01 / np.pi
    z, w = np.polynomial.hermite.hermgauss(nodes)
    y = x[:, None] - z * np.sqrt(4 * viscosity * t[:, None])
    log = -np.cos(np.pi * y) / (2 * np.pi * viscosity)
    f = w * np.exp(log - log.max(axis=1, keepdims=True))
    return -np.sum(f * np.sin(np.pi * y), axis=1) / np.sum(f, axis=1)


def run() -> dict[str, Any]:
    """The relative errors, and the mean squares of the residuals at the end."""
    return {name: result() for name, result in PROBLEMS.items()}


def poisson_1d() -> dict[str, float]:
    rng, grid = np.random.default_rng(0), np.linspace(0, 1, 501)[:, None]
    u = network(1, Box(), (16, 16))
    model = equation(u, 1, Poisson1D(), "xs", [(0, 0)])
    model.build((1,), rng=0)
    cost = solve(model, lambda n: rng.uniform(size=(n, 1)), 100, 1, 200, 0)
    return {"error": relative(u(grid), np.sin(np.pi * grid)), "cost": cost}


def poisson_2d() -> dict[str, float]:
    rng, u = np.random.default_rng(0), network(2, Box(), (16, 16))
    model = equation(u, 2, Poisson2D(), "xs", [(0, 0), (1, 1)])
    model.build((2,), rng=0)
    cost = solve(model, lambda n: rng.uniform(size=(n, 2)), 150, 1, 1000, 0)
    exact = np.prod(np.sin(np.pi * SQUARE), axis=1, keepdims=True)
    return {"error": relative(u(SQUARE), exact), "cost": cost}


def heat() -> dict[str, float]:
    rng, u = np.random.default_rng(0), network(2, FromSine(), (16, 16))
    model = equation(u, 2, Heat(), "fs", [(0, 0)])
    model.build((2,), rng=0)
    cost = solve(model, lambda n: rng.uniform(size=(n, 2)), 150, 1, 1000, 0)
    exact = np.exp(-0.1 * np.pi**2 * SQUARE[:, 1:]) * np.sin(np.pi * SQUARE[:, :1])
    return {"error": relative(u(SQUARE), exact), "cost": cost}


def burgers() -> dict[str, float]:
    rng, u = np.random.default_rng(0), network(2, FromMinusSine(), (20, 20, 20))
    model = equation(u, 2, Burgers(), "ufs", [(0, 0)])
    model.build((2,), rng=0)

    def draw(n: int) -> Any:
        return np.stack([rng.uniform(-1, 1, n), rng.uniform(0, 1, n)], axis=1)

    cost = solve(model, draw, 100, 8, 2500, 300)
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 256), np.linspace(0.01, 1, 100)), axis=-1)
    grid = grid.reshape(-1, 2)
    return {"error": relative(u(grid)[:, 0], burgers_exact(*grid.T)), "cost": cost}


SQUARE = np.stack(np.meshgrid(*[np.linspace(0, 1, 101)] * 2), axis=-1).reshape(-1, 2)
PROBLEMS = {
    "Poisson, one dimension": poisson_1d,
    "Poisson, two dimensions": poisson_2d,
    "heat": heat,
    "Burgers, ν = 0.01/π": burgers,
}
