"""A neural ODE: a layer whose output is the solution of a differential equation.

    ẏ = f(y),  y(t_0) = x        (x; θ) ↦ (y(t_0), y(t_1), …)

The field f is a network. There are two gradients. The *discrete* one is that of the program:
it goes back through every step of the solver, with the delta recursion of a deep network that has
one layer for each evaluation of f. The *adjoint* is a differential equation of its own, solved
backwards in time,

    λ̇ = −J_fᵀ λ,    ∂C/∂θ = ∫ (∂f/∂θ)ᵀ λ dt,    with λ += ∂C/∂y(t_m) at each t_m

It keeps nothing but the outputs, and is as exact as the solver.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np

from chainrule.calculus.jet_memory import innermost
from chainrule.calculus.replicas import without_gradients
from chainrule.core.errors import ConfigurationError, ShapeError, shortened
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of, label
from chainrule.core.types import Array, Shape
from chainrule.core.validators import (
    a_tolerance,
    as_float,
    as_int,
    at_least_one,
    complain,
    is_number,
    one_of,
)
from chainrule.layers.wrappers import a_layer, current_twins
from chainrule.physics.mechanics import refuse_state
from chainrule.physics.runge_kutta import (
    DOPRI5,
    RK4,
    Control,
    Method,
    Plan,
    column,
    fixed_steps,
    follow,
    require_finite,
)


def _as_times(times: Any) -> Any:
    if isinstance(times, np.ndarray):
        times = times.tolist()
    return tuple(map(as_float, times)) if isinstance(times, list | tuple | range) else times


def _increase(owner: Any, attribute: Any, times: Any) -> None:
    is_plain = isinstance(times, tuple) and all(map(is_number, times))
    hint = "np.linspace(0, 10, 101): the first time belongs to the input"
    if not is_plain or len(times) < 2 or not np.all(np.isfinite(times)):
        complain(owner, attribute.name, "two or more finite numbers", times, hint)
    for n, (a, b) in enumerate(itertools.pairwise(times)):
        if b <= a:
            received = f"times[{n}] = {a:g}, times[{n + 1}] = {b:g}"
            raise ConfigurationError(
                "NeuralODE: the times do not increase",
                expected="each time after the one before",
                received=received,
                hint="sort them; to go back in time, use the field −f",
            )


class NeuralODE(Layer, repr=False):
    """The solution of ẏ = f(y) at given times, from the input y(t_0).

    Forward  x ↦ (y(t_0), …, y(t_T)),  y(t_0) = x,  ẏ = f(y)
    Backward  "discrete": Δ goes back through each step of the solver. "adjoint": λ̇ = −J_fᵀ λ
    backwards in time, ∂C/∂x = λ(t_0),  ∂C/∂θ = ∫ (∂f/∂θ)ᵀ λ dt

    The output is (batch, len(times), …), with the input as its first entry. Each row of the batch
    has steps of its own, so that rows do not influence each other.

    Parameters
    ----------
    field
        The layer f, whose output has the shape of its input. It must be a function of its input:
        no random numbers, no running statistics. A field that depends on time has the time as one
        of its coordinates, whose velocity is 1.
    times
        Increasing numbers; the first belongs to the input.
    solver
        ``"rk4"``: the classical method of order 4, with the same number of steps in each interval.
        ``"dopri5"``: the method of Dormand and Prince of order 5, with steps whose error is below
        ``atol + rtol |y|``. They end at each of the times.
    gradient
        ``"discrete"``: the derivative of what `forward` computes, exact to rounding, with the steps
        of dopri5 held fixed. It remembers each evaluation of f.
        ``"adjoint"``: the derivative of the exact solution, within the error of the solver. Its
        memory does not grow with the number of steps.
    substeps
        For rk4, the steps in each interval.
    rtol, atol
        For dopri5, the error that one step may have. In float32 rtol is at least 1.2e-6.
    most_steps
        For dopri5, the number of steps after which it gives up.

    Raises
    ------
    ConfigurationError
        If the times do not increase, an argument is invalid, the field has random numbers, or its
        rows influence each other.
    ShapeError
        If the field returns another shape than it takes.
    NonFiniteError
        If a solution is not finite; the error names the row and the time.
    ConvergenceError
        If dopri5 needs steps of vanishing size, or more than ``most_steps``.

    Source: R. T. Q. Chen, Y. Rubanova, J. Bettencourt, D. Duvenaud, *Neural Ordinary Differential
    Equations*, NeurIPS 2018.

    Examples
    --------
    Radioactive decay, ẏ = −y:

    >>> decay = Dense(1, use_bias=False, initializer=-1.0)
    >>> layer = physics.NeuralODE(decay, [0.0, 1.0, 2.0], solver="dopri5")
    >>> layer(np.array([[1.0]]))[0, :, 0].round(5)
    array([1.     , 0.36788, 0.13534])
    """

    field: Layer = attrs.field(validator=a_layer)
    times: tuple[float, ...] = attrs.field(converter=_as_times, validator=_increase)
    solver: str = attrs.field(
        default="rk4",
        validator=one_of("rk4", "dopri5", rk45="dopri5", dop853="dopri5", tsit5="dopri5"),
    )
    gradient: str = attrs.field(default="discrete", validator=one_of("discrete", "adjoint"))
    substeps: int = attrs.field(
        default=1, converter=as_int, validator=at_least_one("substeps=4"), kw_only=True
    )
    rtol: float = attrs.field(default=1e-6, converter=as_float, validator=a_tolerance, kw_only=True)
    atol: float = attrs.field(default=1e-9, converter=as_float, validator=a_tolerance, kw_only=True)
    most_steps: int = attrs.field(
        default=10_000, converter=as_int, validator=at_least_one("most_steps=10_000"), kw_only=True
    )

    def build(self, input_shape: Shape, **options: Any) -> None:
        if not self.field.is_built:
            self.field.build(input_shape)
        if self.field.output_shapes != (input_shape,):
            raise ShapeError(
                f"{type(self).__name__}: the field does not return a velocity for each coordinate",
                expected=batch_of(input_shape),
                received=", ".join(map(batch_of, self.field.output_shapes)),
                hint="the field ẏ = f(y) has as many outputs as inputs",
            )
        refuse_state(self, self.field)
        for path, member in self.field.walk():
            if member.couples_batch:
                raise ConfigurationError(
                    f"{type(self).__name__}: the rows of the field influence each other, but each "
                    "has steps of its own",
                    place=path or None,
                    expected="layers that treat each row alone",
                    received=shortened(member),
                )

    @property
    def _method(self) -> Method:
        return RK4 if self.solver == "rk4" else DOPRI5

    def _plan(self, f: Any, y: Any, times: tuple[float, ...]) -> Plan:
        """The steps, which the plain numbers decide, also for dual ones."""
        plain = innermost(y)
        if not len(plain):  # as when it is built: no row has to arrive
            return Plan(np.zeros((0, 0), plain.dtype), np.zeros((0, len(times)), int))
        if self.solver == "rk4":
            return fixed_steps(times, self.substeps, len(plain), plain.dtype)
        control = Control(self.rtol, self.atol, self.most_steps)
        return control.plan(label(self), lambda u: innermost(f(u)), plain, times)

    def _solve(self, f: Any, x: Any, plan: Plan) -> Any:
        y = plan.outputs([x, *follow(self._method, f, x, plan)])
        for n, time in enumerate(self.times):
            require_finite(label(self), innermost(y)[:, n], np.array(time))
        return y

    def apply(self, x: Array) -> Array:
        field = self.field.twin()  # one for all evaluations; without noise, forward is apply
        return self._solve(field.forward, x, self._plan(field.forward, x, self.times))

    def forward(self, x: Array) -> Array:
        if self.gradient == "adjoint":
            self.y = self.apply(x)
            return self.y + 0.0  # the caller's own, in case it writes into it
        self.plan = self._plan(self.field.twin().forward, x, self.times)
        self.twins = current_twins(self.field, self.__dict__.get("twins"))
        calls = self._calls()
        return self._solve(lambda y: next(calls).forward(y), x, self.plan)

    def _calls(self) -> Iterator[Layer]:
        """A copy of the field for each evaluation; more are made when they are needed."""
        twins = self.twins[1]
        for number in itertools.count():
            if number == len(twins):
                twins.append(self.field.twin())
            yield twins[number]

    def backward(self, delta: Array) -> Array:
        return self._adjoint(delta) if self.gradient == "adjoint" else self._discrete(delta)

    def _discrete(self, delta: Array) -> Array:
        """Back through each step: the recursion of a deep network whose layers are the steps."""
        deltas, stages = self.plan.deltas(delta), len(self._method.a)
        of_y = next(deltas)
        for n in reversed(range(len(self.plan.steps))):
            backs = [twin.backward for twin in self.twins[1][n * stages : (n + 1) * stages]]
            h = column(self.plan.steps[n], of_y)
            of_y = self._method.step_back(backs, of_y, h) + next(deltas)
        return of_y

    def _adjoint(self, delta: Array) -> Array:
        """Back in time, interval by interval, from the outputs that are known."""
        inside, field = without_gradients(self.field)[1], self.field.twin()
        points: list[Any] = []  # where the slopes of a step are taken

        def slope(state: Array) -> Array:
            points.append(state)
            return np.stack([-inside.forward(state[:, 0]), inside.backward(state[:, 1])], axis=1)

        of_y = delta[:, -1]
        for n in reversed(range(len(self.times) - 1)):
            state = np.stack([self.y[:, n + 1], of_y], axis=1)
            plan = self._plan(slope, state, (0.0, self.times[n + 1] - self.times[n]))
            points.clear()
            for h, end in zip(plan.steps, follow(self._method, slope, state, plan), strict=True):
                for weight, point in zip(self._method.a[-1], points, strict=True):
                    field.forward(point[:, 0])
                    field.backward_parameters(column(h * weight, of_y) * point[:, 1])
                points.clear()
                state = end
            of_y = state[:, 1] + delta[:, n]
        return of_y
