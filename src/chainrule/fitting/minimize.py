"""Minimize the cost of a model with SciPy's solvers, given exact first and second derivatives.

    L-BFGS-B, BFGS, CG           from C(θ) and ∂C/∂θ
    Newton-CG, trust-…           and from the products (∂²C/∂θ²) v

All samples count in every step, so there is no noise, and no learning rate. Small networks and
formulas then converge to the last digits, in tens or hundreds of iterations. The solvers compare
numbers such as the gradient with fixed ones, so they get C in units of the cost at the start: a
factor of the loss changes nothing. J. Nocedal and S. J. Wright, *Numerical Optimization*, 2nd ed.,
Springer 2006.

`minimize` is for a whole fit. `Trainer.fit(…, then="L-BFGS-B")` continues a training with it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from chainrule.calculus import derivatives
from chainrule.core.building import unbuilt_on_error
from chainrule.core.errors import ConfigurationError, NonFiniteError, shortened
from chainrule.core.extras import required
from chainrule.core.hints import hinted, nearest
from chainrule.core.html_table import html_table
from chainrule.core.layer import Layer
from chainrule.core.messages import not_a_layer
from chainrule.core.parameter import ParameterVector
from chainrule.core.terminal import printable
from chainrule.core.validators import is_number
from chainrule.data.samples import Data
from chainrule.losses import Loss
from chainrule.training import arguments
from chainrule.training.guard import quiet
from chainrule.training.history import History
from chainrule.training.interruption import Interruption
from chainrule.training.nonfinite_origin import origin_of
from chainrule.training.progress import Progress

WITH_PRODUCTS = ("Newton-CG", "trust-ncg", "trust-krylov", "trust-constr")
"""The methods that use the products with the Hessian matrix."""

TOLERANCES: dict[str, tuple[str, ...]] = {
    "L-BFGS-B": ("gtol",),
    "BFGS": ("gtol",),
    "CG": ("gtol",),
    "Newton-CG": ("xtol",),
    "trust-ncg": ("gtol",),
    "trust-krylov": ("gtol",),
    "trust-constr": ("gtol", "xtol"),
}
"""The options of each method that are its tolerance."""

OPTIONS: dict[str, dict[str, Any]] = {"L-BFGS-B": {"ftol": 1e-15, "maxfun": 10**9, "maxcor": 20}}
"""Other options of a method: L-BFGS-B would stop before the gradient is small."""


@frozen(eq=False)
class Minimum:
    """Where `minimize` ended.

    Attributes
    ----------
    value
        C, the lowest cost that it found.
    gradient
        ∂C/∂θ there, in the order of ``model.parameters``; 0 for frozen parameters.
    converged
        Whether the largest entry of the gradient is within the tolerance, or the solver found that
        no step lowers the cost any further.
    message
        Why it ended, and what to do if it did not converge.
    history
        One row for each iteration: the columns ``loss`` and ``gradient``, its largest entry.
    """

    value: float
    gradient: npt.NDArray[np.float64] = field(repr=False)
    converged: bool
    message: str
    history: History = field(repr=False)

    @property
    def iterations(self) -> int:
        """The number of iterations."""
        return self.history.epochs

    def _repr_html_(self) -> str:
        rows = [
            ("C", f"{self.value:.6g}"),
            ("largest ∂C/∂θ", f"{np.abs(self.gradient).max(initial=0.0):.2g}"),
            ("iterations", f"{self.iterations:,}"),
            ("converged", "yes" if self.converged else "no"),
        ]
        return html_table(("minimum", "value"), rows, "lr", notes=[self.message])

    @printable
    def __str__(self) -> str:
        return f"C = {self.value:.6g} after {self.iterations} iterations; {self.message}"


def _known_method(settings: object, attribute: Any, given: Any) -> None:
    if given in TOLERANCES:
        return
    spellings = {method.replace("-", "").lower(): method for method in TOLERANCES}
    asked = str(given).replace("-", "").replace("_", "").lower()
    meant = nearest(asked, spellings, alike=0.3)
    raise ConfigurationError(
        "minimize: unknown method",
        expected=", ".join(map(repr, TOLERANCES)),
        received=shortened(given),
        hint=f"did you mean {spellings[meant]!r}?" if meant else None,
    )


def _as_count(given: Any) -> int:
    return arguments.counts(iterations=given)[0]


def _as_tolerance(given: Any) -> float:
    if not is_number(given) or not 0 <= given < math.inf:
        raise ConfigurationError(
            "minimize: the tolerance must be a number, 0 or more",
            expected="tolerance=1e-8, for the gradient divided by the cost at the start",
            received=f"tolerance={shortened(given)}",
        )
    return float(given)


@frozen
class Settings:
    """How to minimize.

    Attributes
    ----------
    method, iterations, tolerance
        As in `minimize`.
    """

    method: str = field(default="L-BFGS-B", validator=_known_method)
    iterations: int = field(default=1000, converter=_as_count)
    tolerance: float = field(default=1e-8, converter=_as_tolerance)

    @property
    def options(self) -> dict[str, Any]:
        """The options for SciPy."""
        return {
            "maxiter": self.iterations,
            **dict.fromkeys(TOLERANCES[self.method], self.tolerance),
            **OPTIONS.get(self.method, {}),
        }


def as_settings(given: Any) -> Settings:
    """The settings for a method, or for a dictionary of method, iterations and tolerance."""
    required("scipy.optimize", "then=… needs")
    if isinstance(given, str):
        return Settings(given)
    if isinstance(given, Mapping) and set(given) <= {"method", "iterations", "tolerance"}:
        return Settings(**given)
    raise ConfigurationError(
        "then must be a method of fitting.minimize, or a dictionary of its settings",
        expected='then="L-BFGS-B", or then={"method": "L-BFGS-B", "iterations": 500}',
        received=f"then={shortened(given, 80)}",
    )


@hinted
def minimize(
    model: Layer,
    loss: Loss | Sequence[Loss],
    x: Any,
    t: Any = None,
    method: str = "L-BFGS-B",
    *,
    sample_weights: Any = None,
    iterations: int = 1000,
    tolerance: float = 1e-8,
    callback: Callable[[int, dict[str, float]], Any] | None = None,
    progress: Any = True,
) -> Minimum:
    """Set the parameters of a model to a minimum of the cost, C(θ), and return what was found.

    Parameters
    ----------
    model
        A model. If it is not built, it is built for the data, with random initial values. Frozen
        parameters do not move. Random numbers, as of a `Dropout`, are the same in each iteration;
        buffers, such as the running statistics of a `BatchNorm`, stay as they are.
    loss, x, t, sample_weights
        As in `Trainer` and `Trainer.fit`, with all samples in memory.
    method
        ``"L-BFGS-B"``, ``"BFGS"`` or ``"CG"``, which use the gradient; ``"Newton-CG"``,
        ``"trust-ncg"``, ``"trust-krylov"`` or ``"trust-constr"``, which use products with the
        Hessian matrix as well. BFGS stores a matrix of P × P numbers for P parameters.
    iterations
        The largest number of iterations.
    tolerance
        It has converged when no entry of the gradient is larger than this times the cost at the
        start. (Newton-CG stops when its step is smaller than this on average.)
    callback
        A function ``callback(iteration, figures)`` that is called after each iteration, with the
        model at that point; ``figures`` has the row of the history. If it returns True, the
        minimization ends.
    progress
        Whether to show a line with the cost, in a terminal or a notebook; or a rich Console.

    Returns
    -------
    Minimum
        The model has the parameters with the lowest cost that was found, also if it has not
        converged.

    Raises
    ------
    ConfigurationError
        The method does not exist, or a number is invalid.
    DefinitionError
        The model is not a layer.
    DtypeError, ShapeError, DataError
        The data do not fit the model or the loss.
    NonFiniteError
        The cost or the gradient at the start is infinite or NaN. (If that happens on the way, the
        solver takes a shorter step.)
    MissingExtraError
        SciPy is not installed: ``pip install 'chainrule[scipy]'``.

    Notes
    -----
    If anything is raised, also by the callback, the model is as before, and not built if it was
    not. Ctrl-C ends the minimization after the current iteration, with the best parameters so far.

    Examples
    --------
    >>> x = np.linspace(0, 1, 20)[:, np.newaxis]
    >>> model = Sequential([Dense(4), Activation("tanh"), Dense(1)])
    >>> model.build((1,), rng=0)
    >>> found = fitting.minimize(model, losses.HalfSquaredError(), x, np.sin(3 * x))
    >>> found.value < 1e-6
    True
    """
    settings = Settings(method, iterations, tolerance)
    arguments.require_progress(progress)
    _require_callback(callback)
    loss = arguments.as_loss(loss, "minimize")
    if not isinstance(model, Layer):
        raise not_a_layer("minimize", model, "a model")
    line = Progress(progress, settings.iterations, 1, unit="iteration")
    notice = "stopping after this iteration; press Ctrl-C again to stop at once"
    with Interruption(lambda: line.say(notice)) as interruption, line, unbuilt_on_error(model):

        def after(iteration: int, figures: dict[str, float]) -> str | None:
            if perf_counter() >= line.due:
                line.show(iteration, 1, figures)
            wants_end = callback is not None and callback(iteration, figures) is True
            if interruption.is_wanted:
                return "Ctrl-C"
            return "the callback returned True" if wants_end else None

        data = _data_of(model, loss, x, t, sample_weights)
        found = descend(model, loss, data, settings, after)
        line.show(found.iterations, 1, {"loss": found.value})
        return found


def _data_of(model: Layer, loss: Loss, x: Any, t: Any, sample_weights: Any) -> Data:
    """The data as the loss and the model take them; the model is built for them if it is not."""
    if model.is_built:
        arguments.require_a_loss_for_each(model.output_shapes, loss)
    data = Data.of(x, t, sample_weights, outputs=len(loss.for_each_output))
    data.require_targets(loss)
    if not model.is_built:
        model.build(*data.row_shapes, dtype=data.dtype)
        arguments.require_a_loss_for_each(model.output_shapes, loss)
    return data.fitted(loss, data.rows_of_outputs(model), model.dtype)


After = Callable[[int, dict[str, float]], str | None]
"""What is called after each iteration; it returns a reason to end, or None."""


def descend(model: Layer, loss: Loss, data: Data, settings: Settings, after: After) -> Minimum:
    """`minimize` for data that were checked and fitted to the model.

    If anything is raised, the parameters are as before.
    """
    solve = required("scipy.optimize", "fitting.minimize needs").minimize
    before = model.parameters.value.copy()
    path = _Path(model, loss, data, settings, after)
    reason = None
    try:
        with np.errstate(**quiet()), warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"scipy\.")
            path.begin()
            if path.free.size and not path.has_converged:
                products = settings.method in WITH_PRODUCTS
                try:
                    ended = solve(
                        path.value_and_gradient, before[path.free].astype(float), jac=True,
                        hessp=path.hvp if products else None, method=settings.method,
                        callback=path.step, options=settings.options,
                    )  # fmt: skip
                    is_early = path.history.epochs < settings.iterations
                    path.is_at_end = is_early and (bool(ended.success) or path.is_flat())
                except _EndedError as end:
                    reason = str(end)
        path.go_to_best()
    except BaseException:
        model.parameters.value = before
        raise
    return path.minimum(reason)


class _EndedError(Exception):
    """Raised out of a solver, to end it between two iterations."""


class _Path:
    """The way of a solver through the free parameters, and the best point on it.

    The solver sees C/u, where u is |C| at the start.
    """

    def __init__(
        self, model: Layer, loss: Loss, data: Data, settings: Settings, after: After
    ) -> None:
        self._model, self._loss, self._data = model, loss, data
        self._settings, self._after = settings, after
        self._parameters: ParameterVector = model.parameters
        inputs = data.inputs if len(data.inputs) > 1 else data.inputs[0]
        self._cost = derivatives.function(model, loss, inputs, data.target, data.sample_weights)
        self._theta = self._parameters.value.astype(float)
        moves = [np.full(p.size, p.trainable) for p in self._parameters]
        self.free = np.flatnonzero(np.concatenate(moves)) if moves else np.zeros(0, int)
        self.history = History()
        self.is_at_end = False
        self._unit = 1.0
        self._last = self._best = (self._theta[self.free], math.inf, np.zeros(self.free.size))

    def begin(self) -> None:
        """Compute the cost at the start, or raise an error that says where it is not finite."""
        value, gradient = self._cost.value_and_gradient(self._theta)
        if not (math.isfinite(value) and np.all(np.isfinite(gradient[self.free]))):
            data = self._data
            raise origin_of(self._model, self._loss, data.inputs, data.target, data.sample_weights)
        self._last = self._best = (self._theta[self.free], value, gradient[self.free])
        self._unit = abs(value) or _largest(gradient[self.free]) or 1.0

    @property
    def tolerance(self) -> float:
        """What the largest entry of the gradient may be at a minimum."""
        return self._settings.tolerance * self._unit

    @property
    def has_converged(self) -> bool:
        """Whether the gradient at the best point is within the tolerance."""
        return _largest(self._best[2]) <= self.tolerance

    def value_and_gradient(self, free: Any) -> tuple[float, Any]:
        """C/u and its gradient; infinity where they are not finite, so the solver steps back."""
        try:
            value, gradient = self._cost.value_and_gradient(self._at(free))
        except NonFiniteError:
            return math.inf, np.zeros(len(free))
        own = gradient[self.free]
        if not (math.isfinite(value) and np.all(np.isfinite(own))):
            return math.inf, np.zeros(len(free))
        self._last = (np.array(free), value, own)
        if value < self._best[1]:
            self._best = self._last
        return value / self._unit, own / self._unit

    def hvp(self, free: Any, v: Any) -> Any:
        """The product with the Hessian matrix of C/u, for the free parameters."""
        direction = np.zeros_like(self._theta)
        direction[self.free] = v
        return self._cost.hvp(self._at(free), direction)[self.free] / self._unit

    def step(self, free: Any, *state: Any) -> None:
        """What the solver calls after each iteration."""
        known = [point for point in (self._last, self._best) if np.array_equal(point[0], free)]
        if not known:
            self.value_and_gradient(free)
        _, value, gradient = known[0] if known else self._last
        figures = {"loss": value, "gradient": _largest(gradient)}
        self.history.append(figures)
        self._parameters.value = self._at(free)
        reason = self._after(self.history.epochs, figures)
        if reason is not None:
            raise _EndedError(reason)

    def is_flat(self) -> bool:
        """Whether along the gradient g, C cannot fall by more than its rounding.

        With the curvature h = gᵀ (∂²C/∂θ²) g/gᵀg, from two gradients, it falls by ½ gᵀg/h.
        """
        theta, value, g = self._best
        epsilon = float(np.finfo(self._model.dtype).eps)
        step = math.sqrt(epsilon) * (1 + np.linalg.norm(theta)) / np.linalg.norm(g)
        beside = self.value_and_gradient(theta + step * g)[1] * self._unit
        curvature = g @ (beside - g) / step / (g @ g)
        return bool(g @ g <= 2 * curvature * epsilon * abs(value))

    def go_to_best(self) -> None:
        """Give the model the parameters with the lowest cost."""
        self._parameters.value = self._at(self._best[0])

    def minimum(self, reason: str | None) -> Minimum:
        """The result."""
        _, value, own = self._best
        gradient = np.zeros_like(self._theta)
        gradient[self.free] = own
        largest, tolerance = _largest(own), self.tolerance
        after = f"the largest entry of the gradient is {largest:.2g}"
        if largest <= tolerance:
            message = f"converged: {after}, the tolerance {tolerance:.2g}"
        elif reason is not None:
            message = f"stopped: {reason}; {after}"
        elif self.is_at_end:
            message = f"converged: no step lowers the cost any further; {after}"
        elif self.history.epochs >= self._settings.iterations:
            message = (
                f"not converged after {self._settings.iterations:,} iterations: {after}, the "
                f"tolerance {tolerance:.2g}; allow more with iterations=…, or try another method"
            )
        else:
            message = (
                f"not converged: {self._settings.method} found no lower cost, and {after}; scale "
                "the data to about 1 in size, or try another method or other starting values"
            )
        converged = largest <= tolerance or (self.is_at_end and reason is None)
        return Minimum(value, gradient, converged, message, self.history)

    def _at(self, free: Any) -> Any:
        theta = self._theta.copy()
        theta[self.free] = free
        return theta


def _largest(gradient: Any) -> float:
    return float(np.max(np.abs(gradient), initial=0))


def _require_callback(given: Any) -> None:
    if given is not None and not callable(given):
        raise ConfigurationError(
            "minimize: callback must be a function",
            expected="callback(iteration, figures), called after each iteration",
            received=shortened(given),
        )
