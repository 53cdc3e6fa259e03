"""Least squares: the parameters with which a model is closest to data, and their errors.

    χ²(θ) = Σ_s ((f(x_s; θ) − t_s)/σ_s)²  →  minimum        covariance  C = (Jᵀ J)⁻¹,  J = ∂(f/σ)/∂θ

Near the minimum a model is almost linear in its parameters. If the noise is normal, so are the
fitted parameters, with the covariance C. `Fit.profile` shows how far this approximation holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule.core.arrays import as_array, refuse_write
from chainrule.core.building import unbuilt_on_error
from chainrule.core.errors import ConfigurationError, DataError, ShapeError, shortened
from chainrule.core.hints import hinted
from chainrule.core.layer import Layer
from chainrule.core.messages import label, not_a_layer
from chainrule.core.parameter import ParameterVector
from chainrule.core.validators import is_number
from chainrule.fitting.arguments import by_path, data_of, require_finite_residuals
from chainrule.fitting.fit import Fit
from chainrule.fitting.noise import noise_of
from chainrule.fitting.problem import Problem, free_entries
from chainrule.fitting.solver import Settings, solve

ENDS = (-np.inf, np.inf)
"""What None means as the lower and as the upper bound."""


@hinted
def least_squares(
    model: Layer,
    x: Any,
    t: Any,
    deviations: Any = None,
    start: Any = None,
    *,
    relative: float | None = None,
    sample_weights: Any = None,
    bounds: Mapping[str, Any] | None = None,
    priors: Mapping[str, Any] | None = None,
    loss: str = "linear",
    loss_scale: float = 1.0,
    method: str | None = None,
    max_evaluations: int | None = None,
    tolerance: float | None = None,
) -> Fit:
    """Fit the parameters of a model to data, with error bars.

    The model computes with copies of its parameters until the best ones are found; these are then
    written into it. If anything fails, the model is unchanged, and not built if it was not. Frozen
    parameters never move: ``model.parameters["path"].trainable = False`` freezes one, once the
    model is built.

    Parameters
    ----------
    model
        A `curve`, a `Formula`, or any network or graph. It is built for the data if it is not.
    x, t
        Inputs and targets: rows first; tuples for several inputs or outputs. The targets have
        the shape of the output.
    deviations
        The standard deviations σ of the targets: a number, an array with the shape of ``t``, one
        number for each row or for each entry of a row, or the covariance matrix of all targets,
        (n, n). For several outputs, a tuple with one of these for each. The errors of the
        parameters are then absolute. Without it, all targets count equally, and σ is estimated from
        the residuals: the errors are multiplied by √(χ²/degrees of freedom).
    start
        Where to begin, ``{"path": value}`` or one flat vector; by default the present values.
    relative
        An additional error in proportion to the target: σ² + (relative · t)².
    sample_weights
        A factor for the squares of each row; a row with weight 0 does not count.
    bounds
        ``{"path": (low, high)}``, where low or high may be infinite, or None for no bound.
    priors
        What is known of a parameter from elsewhere, ``{"path": deviation}`` around its start, or
        ``{"path": (mean, deviation)}``. Each is one more datum. They need ``deviations``.
    loss, loss_scale
        A robust loss, which gives outliers less weight: ``"soft_l1"``, ``"huber"``, ``"cauchy"`` or
        ``"arctan"`` instead of the square, for residuals above ``loss_scale`` deviations.
    method
        ``"lm"``, ``"trf"`` or ``"dogbox"``, as in `scipy.optimize.least_squares`; by default
        ``"lm"``, or ``"trf"`` with bounds or a robust loss, and another one where it fails.
    max_evaluations
        The largest number of evaluations of the model; by default 300 for each parameter, and at
        least 3000.
    tolerance
        The relative change of χ², and of the parameters, at which the solver stops; by default
        near machine precision. A network has directions in which χ² hardly changes. The fit also
        ends when 100 evaluations, and 20 more for each parameter, lower χ² by less than a share of
        1e-5; ``tolerance=1e-6`` is usually enough for a network, and faster.

    Returns
    -------
    Fit
        Values, errors, χ², bands and plots.

    Raises
    ------
    ConvergenceError
        No solver found a minimum.
    ConfigurationError
        A path is unknown, a start is outside its bounds, or there are fewer data than parameters.
    ShapeError, DataError
        The targets, deviations or weights do not fit, or are not finite; a deviation is zero.
    NonFiniteError
        The model is not finite at the start.
    MissingExtraError
        SciPy is not installed.

    Notes
    -----
    The Jacobian is exact. Parameters are scaled by the lengths of its columns, and the tolerances
    are near machine precision, which costs one or two evaluations more and gives all digits. With
    a robust loss, J contains the weight that the loss gives to each residual, and an unknown σ
    comes from the robust cost.

    Examples
    --------
    >>> time, counts = np.array([0.0, 1.0, 2.0, 3.0]), np.array([2.01, 1.21, 0.74, 0.44])
    >>> decay = fitting.curve(lambda t, amplitude, rate: amplitude * np.exp(-rate * t), [1.0, 1.0])
    >>> fit = fitting.least_squares(decay, time, counts, deviations=0.01)
    >>> fit["rate"]
    0.5037 ± 0.0051
    """
    if not isinstance(model, Layer):
        raise not_a_layer(
            "least_squares",
            model,
            "a model",
            "fitting.curve(function, start) makes one of f(x, a, b)" if callable(model) else None,
        )
    with unbuilt_on_error(model):
        inputs, targets = data_of(model, x, t)
        _require_repeatable(model)
        parameters = model.parameters
        noise = noise_of(targets, deviations, relative, sample_weights)
        begin = _start(parameters, start)
        given = _priors(parameters, priors, begin, noise.is_known)
        problem = Problem(model, parameters, inputs, targets, noise, given, begin)
        low, high = _bounds(parameters, bounds, begin)
        free = problem.free
        if not len(free):
            raise _all_frozen(model)
        if problem.count < len(free):
            raise _too_few(problem.count, len(free))
        least = max(1e-15, float(np.finfo(model.dtype).eps))
        settings = Settings(
            method, loss, loss_scale, low[free], high[free], max_evaluations,
            _tolerance(tolerance, least),
        )  # fmt: skip
        _require_start(model, problem, begin[free])
        solution = solve(problem, begin[free], settings)
        parameters.value = problem.values(solution.values)
    return Fit(model, parameters, problem, solution, settings, t)


def _require_start(model: Layer, problem: Problem, begin: Any) -> None:
    """Raise an error if the model cannot be evaluated at the start, or is not finite there."""
    with np.errstate(all="ignore"):  # an error says more than a warning
        try:
            residuals = problem.residuals(begin)
        except ValueError as error:
            refuse_write(error, f"{label(model)}.forward")
            raise
        require_finite_residuals(residuals)


def _tolerance(given: float | None, least: float) -> float:
    if given is not None and not (is_number(given) and 0 < given < 1):
        raise ConfigurationError(
            "least_squares: the tolerance is invalid",
            expected="a number between 0 and 1, such as 1e-6; or None, for machine precision",
            received=shortened(given),
        )
    return max(least, float(given or 0.0))


def _require_repeatable(model: Layer) -> None:
    for path, layer in model.walk():
        if not layer.couples_batch and not layer._generators:
            continue
        raise ConfigurationError(
            "least_squares: a fit needs a model that gives the same output for the same row",
            place=path or type(layer).__name__,
            received="a layer that draws random numbers, or whose rows affect each other",
            hint="leave such layers out of a model that is fitted, or use a Trainer",
        )


def _start(parameters: ParameterVector, start: Any) -> Any:
    values = parameters.value.astype(float)
    if start is None:
        return values
    if isinstance(start, Mapping):
        for _, where, (numbers,) in by_path(parameters, start, "start", 1):
            values[where] = numbers
    else:
        given = as_array("least_squares: start", start).astype(float)
        if given.shape != values.shape:
            raise ShapeError(
                "start has the wrong length",
                expected=f"{values.shape}, as model.parameters.value, or {{'path': value}}",
                received=given.shape,
            )
        values = given.copy()
    if not all(p.trainable for p in parameters):
        is_fixed = np.ones(values.shape, bool)
        is_fixed[free_entries(parameters)] = False
        values[is_fixed] = parameters.value[is_fixed]
    if not np.all(np.isfinite(values)):
        raise DataError("start contains a number that is not finite", expected="finite numbers")
    return values


def _priors(
    parameters: ParameterVector, priors: Any, start: Any, is_known: bool
) -> tuple[Any, Any, Any]:
    positions, means, deviations = [], [], []
    if priors is not None and not is_known:
        raise ConfigurationError(
            "priors: how much a prior counts depends on the errors of the data",
            expected="deviations=…, with priors",
            received="no deviations",
        )
    for path, value in (priors or {}).items():
        is_pair = isinstance(value, tuple)
        ((_, where, parts),) = by_path(parameters, {path: value}, "priors", 2 if is_pair else 1)
        if not np.all(parts[-1] > 0) or not np.all(np.isfinite(parts)):
            raise ConfigurationError(
                f"priors: the entry of {path!r} is invalid",
                expected="a positive deviation, or (mean, deviation)",
                received=repr(value),
                hint="model.freeze() or parameter.trainable = False keeps a parameter as it is",
            )
        positions.append(np.arange(where.start, where.stop))
        means.append(parts[0] if is_pair else start[where])
        deviations.append(parts[-1])
    joined = [np.concatenate(each) if each else np.zeros(0) for each in (means, deviations)]
    return np.concatenate(positions) if positions else np.zeros(0, int), joined[0], joined[1]


def _bounds(parameters: ParameterVector, bounds: Any, start: Any) -> tuple[Any, Any]:
    low, high = np.full(start.shape, -np.inf), np.full(start.shape, np.inf)
    for path, where, (lowest, highest) in by_path(parameters, _open(bounds), "bounds", 2):
        low[where], high[where] = lowest, highest
        if not np.all(lowest < highest):
            raise ConfigurationError(
                f"bounds: those of {path!r} leave no room",
                expected="low < high",
                received=f"({lowest}, {highest})",
                hint=f"to keep it fixed: model.parameters[{path!r}].trainable = False",
            )
        if np.any(start[where] < lowest) or np.any(start[where] > highest):
            raise ConfigurationError(
                f"bounds: the start of {path!r} is outside",
                expected=f"a start from {lowest} to {highest}",
                received=f"{start[where]}",
                hint=f"start={{{path!r}: …}}",
            )
    return low, high


def _all_frozen(model: Layer) -> ConfigurationError:
    return ConfigurationError(
        "least_squares: the model has no parameter to fit",
        expected="at least one that is not frozen",
        received=f"{type(model).__name__} with {model.parameters.size} frozen parameters",
        hint="model.unfreeze()"
        if model.parameters.size
        else "create one in build: self.a = self.parameter('a', (), 1.0)",
    )


def _open(bounds: Any) -> Any:
    """The bounds with an infinity for each None."""
    if not isinstance(bounds, Mapping):
        return bounds or {}
    return {
        path: tuple([end if each is None else each for each, end in zip(pair, ENDS, strict=True)])
        if isinstance(pair, tuple | list) and len(pair) == 2
        else pair
        for path, pair in bounds.items()
    }


def _too_few(count: int, parameters: int) -> ConfigurationError:
    return ConfigurationError(
        "least_squares: there are more parameters than data",
        expected=f"at least {parameters} numbers for {parameters} free parameters",
        received=f"{count}, rows with weight 0 not counted",
        hint="freeze parameters (parameter.trainable = False), add data, or add priors",
    )
