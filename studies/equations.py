"""Differential equations solved by networks: relative errors in L² against exact solutions.

The residual of each equation is an output of a graph of `physics.Derivatives` and a formula, and the
cost is its mean square. Boundary and initial values are built into the network where that is easy,
u = (distance from the boundary) · N(x); for Burgers' equation, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize

from chainrule import Activation, Dense, Formula, Graph, Input, Sequential, derivatives, losses, physics
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


def solve(u: Graph, residual: Layer, uses: str, second: Any, x: Any, steps: int) -> float:
    """Minimize the mean square of the residual with L-BFGS; return the cost."""
    node = Input((x.shape[1],))
    layer = physics.Derivatives(u, order=2, second=second)
    parts = dict(zip("ufs", layer(node), strict=True)) | {"x": node}
    model = Graph(node, residual(*(parts[letter] for letter in uses)))
    model.build((x.shape[1],), rng=0)
    cost = derivatives.function(model, losses.MeanSquare(), x, None)
    found = minimize(
        cost.value_and_gradient, model.parameters.value.copy(), jac=True, method="L-BFGS-B",
        options={"maxiter": steps, "maxfun": 2 * steps, "maxcor": 50, "ftol": 0, "gtol": 1e-9},
    )
    model.parameters.value = found.x
    return float(found.fun)


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
    """The relative errors, and the costs at the end."""
    rng, results = np.random.default_rng(0), {}
    x = np.linspace(0, 1, 60)[:, None]
    u = network(1, Box(), (20, 20))
    cost = solve(u, Poisson1D(), "xs", [(0, 0)], x, 2000)
    grid = np.linspace(0, 1, 501)[:, None]
    results["Poisson, 1-D"] = {"error": relative(u(grid), np.sin(np.pi * grid)), "cost": cost}

    x = rng.uniform(size=(1000, 2))
    u = network(2, Box(), (32, 32))
    cost = solve(u, Poisson2D(), "xs", [(0, 0), (1, 1)], x, 2000)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 101)] * 2), axis=-1).reshape(-1, 2)
    exact = np.prod(np.sin(np.pi * grid), axis=1, keepdims=True)
    results["Poisson, 2-D"] = {"error": relative(u(grid), exact), "cost": cost}

    u = network(2, FromSine(), (32, 32))
    cost = solve(u, Heat(), "fs", [(0, 0)], x, 2000)
    exact = np.exp(-0.1 * np.pi**2 * grid[:, 1:]) * np.sin(np.pi * grid[:, :1])
    results["Heat"] = {"error": relative(u(grid), exact), "cost": cost}

    x = np.stack([rng.uniform(-1, 1, 3000), rng.uniform(0, 1, 3000)], axis=1)
    u = network(2, FromMinusSine(), (20,) * 5)
    cost = solve(u, Burgers(), "ufs", [(0, 0)], x, 6000)
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 256), np.linspace(0, 0.99, 100)), -1)
    grid = grid.reshape(-1, 2)
    exact = burgers_exact(grid[:, 0], np.maximum(grid[:, 1], 1e-9))
    results["Burgers"] = {"error": relative(u(grid)[:, 0], exact), "cost": cost}
    return results
