"""Runge-Kutta methods: a step y → y′ from several slopes of the field f, and its backward pass.

    u_1 = y,  k_i = f(u_i),  u_{i+1} = y + h Σ_{j≤i} a_ij k_j,      y′ = the last u

The table a decides the accuracy. Every row of a batch has a step h of its own, so that rows do not
influence each other. Backwards, the chain rule gives for each stage

    ∂C/∂k_j = h Σ_i a_ij ∂C/∂u_{i+1} ,    ∂C/∂u_i = J(u_i)ᵀ ∂C/∂k_i ,    ∂C/∂y = Σ_i ∂C/∂u_i

Source: E. Hairer, S. P. Norsett, G. Wanner, *Solving Ordinary Differential Equations I*, 2nd ed.,
Springer 1993, chapter II.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import frozen

from chainrule.core.arrays import has_values
from chainrule.core.errors import ConvergenceError, NonFiniteError
from chainrule.core.types import Array

Field: TypeAlias = Callable[[Array], Array]
Numbers: TypeAlias = npt.NDArray[Any]


@frozen
class Method:
    """A table a, whose last row gives the new y.

    ``error`` gives the difference to a method of lower order, from all slopes, including the one at
    the new y.
    """

    a: tuple[tuple[float, ...], ...]
    error: tuple[float, ...] = ()

    def step(self, f: Field, y: Array, k: Array, h: Any) -> tuple[Array, list[Array]]:
        """The new y, and all slopes but the one there; k is the slope at y."""
        slopes, u = [k], y
        for n, row in enumerate(self.a):
            if n:
                slopes.append(f(u))
            u = y + h * combination(row, slopes)
        return u, slopes

    def step_back(self, backs: Sequence[Field], of_new: Array, h: Any) -> Array:
        """∂C/∂y from ∂C/∂y′; ``backs`` are the products with J(u_i)ᵀ of the stages."""
        of_slopes: list[Any] = [0.0] * len(self.a)
        of_y, of_u = of_new, of_new
        for n in reversed(range(len(self.a))):
            for j, a in enumerate(self.a[n]):
                if a:
                    of_slopes[j] = of_slopes[j] + (h * a) * of_u
            of_u = backs[n](of_slopes[n])
            of_y = of_y + of_u
        return of_y


def combination(factors: Sequence[float], slopes: Sequence[Array]) -> Array:
    """Σ a_j k_j, without the terms whose factor is zero."""
    total: Any = None
    for factor, slope in zip(factors, slopes, strict=True):
        if factor:
            total = factor * slope if total is None else total + factor * slope
    return total


RK4 = Method(((1 / 2,), (0, 1 / 2), (0, 0, 1), (1 / 6, 1 / 3, 1 / 3, 1 / 6)))
"""The classical method of order 4. Kutta 1901."""
DOPRI5 = Method(
    (
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
)
"""Order 5, with an error of order 4. Dormand and Prince, J. Comput. Appl. Math. 6 (1980)."""


@frozen
class Plan:
    """The steps to take, and after which of them a row reaches each of the times.

    Attributes
    ----------
    steps
        Sizes, (number of steps, batch); 0 for a row that has arrived before the others.
    reached
        For each row and time the number of steps that it has taken then, (batch, times).
    """

    steps: Numbers
    reached: Numbers

    def outputs(self, states: Sequence[Array]) -> Array:
        """The values of y at the times, (batch, times, …), from all that it had after a step."""
        rows = np.arange(len(self.reached))[:, np.newaxis]
        return np.stack(states, axis=1)[rows, self.reached]

    def deltas(self, delta: Array) -> Iterator[Array]:
        """The delta of y after each step, the last one first, and at the start."""
        rows = np.arange(len(delta))
        time = np.full((len(self.steps) + 1, len(delta)), -1)
        time[self.reached, rows[:, np.newaxis]] = np.arange(self.reached.shape[1])
        for number in time[::-1]:
            is_output = column(number >= 0, delta[:, 0]).astype(delta.dtype)
            yield is_output * delta[rows, np.maximum(number, 0)]


def fixed_steps(times: Sequence[float], substeps: int, batch: int, dtype: Any) -> Plan:
    """The same number of equal steps in each interval."""
    sizes = np.repeat(np.diff(times) / substeps, substeps).astype(dtype)
    reached = np.arange(len(times)) * substeps
    return Plan(
        np.broadcast_to(sizes[:, np.newaxis], (len(sizes), batch)),
        np.broadcast_to(reached, (batch, len(times))),
    )


@frozen
class Control:
    """Steps whose error is below ``atol + rtol |y|``, in the mean square over a row."""

    rtol: float
    atol: float
    most_steps: int

    def plan(self, label: str, f: Field, y: Numbers, times: Sequence[float]) -> Plan:
        """The accepted steps of each row, from a trial run of `DOPRI5` with plain arrays."""
        batch, ends = len(y), np.asarray(times)
        now = np.full(batch, ends[0])
        at = np.ones(batch, int)  # the number of the next time
        k = f(y)
        require_finite(label, k, now)
        h = self._first_step(y, k)
        tried: list[Numbers] = []
        arrivals: list[Numbers] = []
        while np.any(is_moving := at < len(ends)):
            if len(tried) >= self.most_steps:
                self._stop(label, f"more than {self.most_steps} steps", now, h, is_moving)
            end = ends[np.minimum(at, len(ends) - 1)]
            left = end - now
            arrives = is_moving & (h >= left * (1 - 1e-10))
            size = np.where(is_moving, np.where(arrives, left, h), 0).astype(y.dtype)
            with np.errstate(all="ignore"):  # a step that is much too long is tried again
                new, slopes = DOPRI5.step(f, y, k, column(size, y))
                slopes.append(f(new))
                error = self._size(column(size, y) * combination(DOPRI5.error, slopes), y, new)
            is_accepted = is_moving & (error <= 1)
            with np.errstate(divide="ignore"):
                factor = np.where(np.isfinite(error), np.clip(0.9 * error**-0.2, 0.2, 10), 0.2)
            following = np.maximum(size * factor, np.where(is_accepted & arrives, h, 0))
            too_short = is_moving & ~is_accepted & (following < 10 * np.spacing(np.abs(now)))
            if np.any(too_short):
                self._stop(label, "a step of vanishing size", now, following, too_short)
            h = np.where(is_moving, following, h)
            now = np.where(is_accepted, np.where(arrives, end, now + size), now)
            tried.append(np.where(is_accepted, size, 0))
            arrivals.append(is_accepted & arrives)
            at = at + arrivals[-1]
            move = column(is_accepted, y)
            y, k = np.where(move, new, y), np.where(move, slopes[-1], k)
        return _without_rejected(tried, arrivals, len(ends), batch, y.dtype)

    def _size(self, error: Numbers, y: Numbers, new: Numbers) -> Numbers:
        rtol = max(self.rtol, 10 * float(np.finfo(y.dtype).eps))
        allowed = self.atol + rtol * np.maximum(np.abs(y), np.abs(new))
        size = np.sqrt(np.mean((error / allowed) ** 2, axis=tuple(range(1, y.ndim))))
        return np.where(np.isnan(size), np.inf, size)

    def _first_step(self, y: Numbers, k: Numbers) -> Numbers:
        """1 % of the time in which y changes by its own size."""
        size, slope = self._size(y, y, y), self._size(k, y, y)
        return np.where((size > 1e-5) & (slope > 1e-5), 0.01 * size / np.maximum(slope, 1e-5), 1e-6)

    def _stop(self, label: str, what: str, now: Numbers, h: Numbers, where: Numbers) -> None:
        row = int(np.flatnonzero(where)[0])
        raise ConvergenceError(
            f"{label}: the solver does not reach the next time in row {row}",
            expected=f"an error below {self.atol:g} + {self.rtol:g} |y| in each step",
            received=f"{what}: {h[row]:.1e} at t = {now[row]:.6g}",
            hint="the solution may diverge there, or change too fast: check the field, raise rtol "
            "and atol, or use solver='rk4'",
        )


def _without_rejected(
    tried: list[Numbers], arrivals: list[Numbers], times: int, batch: int, dtype: Any
) -> Plan:
    """The accepted steps of each row without gaps."""
    nothing = np.zeros((0, batch))
    sizes = np.stack(tried) if tried else nothing
    arrived = np.stack(arrivals) if arrivals else nothing.astype(bool)
    order = np.argsort(sizes == 0, axis=0, kind="stable")
    sizes, arrived = (np.take_along_axis(each, order, axis=0) for each in (sizes, arrived))
    count = int(np.max(np.sum(sizes > 0, axis=0), initial=0))
    reached = np.zeros((batch, times), int)
    step, row = np.nonzero(arrived)
    for number in range(1, times):
        first = np.cumsum(arrived, axis=0)[step, row] == number
        reached[row[first], number] = step[first] + 1
    return Plan(sizes[:count].astype(dtype), reached)


def follow(method: Method, f: Field, y: Array, plan: Plan) -> Iterator[Array]:
    """Yield y after each step of a plan."""
    for h in plan.steps:
        y, _ = method.step(f, y, f(y), column(h, y))
        yield y


def column(of_rows: Numbers, y: Array) -> Numbers:
    """One number for each row, with the axes of y."""
    return of_rows.reshape(len(of_rows), *(1,) * (y.ndim - 1))


def require_finite(label: str, y: Numbers, times: Numbers) -> None:
    """Raise an error for the first row that is not finite; its time is in ``times``."""
    if not has_values(y):
        return
    if np.all(is_finite := np.isfinite(y).all(axis=tuple(range(1, y.ndim)))):
        return
    row = int(np.flatnonzero(~is_finite)[0])
    raise NonFiniteError(
        f"{label}: the solution of row {row} is not finite",
        expected="finite numbers",
        received=f"{y[row].ravel()[:4]} at t = {np.broadcast_to(times, len(y))[row]:.6g}",
        hint="a solution may diverge in finite time; shorten the times, or use more substeps",
    )
