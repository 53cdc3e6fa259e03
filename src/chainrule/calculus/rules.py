"""The kinds of tangent rule.

A function y = f(x_1, x_2, ...) maps the tangents ẋ_i of its arguments to that of its result,

    ẏ = Σ_i (∂f/∂x_i) ẋ_i .

Nearly all functions of NumPy do so in one of five ways, each of which is a function below:

    derivatives    elementwise:   ẏ = Σ_i f_i(x_1, x_2, ...) ẋ_i,  with one formula f_i for each i
    linear         ẏ = f(ẋ_1, ẋ_2, ...)                            reshape, sum, concatenate
    multilinear    ẏ = Σ_i f(x_1, ..., ẋ_i, ...)                   matmul, einsum, convolve
    formula        ẏ written out                                   var, sort, linalg.inv
    composition    f written with functions that have a rule       linalg.norm, nanmean, polyval

The tables in `elementwise_rules`, `array_rules` and `linear_algebra_rules` assign a kind to each
function. No rule knows about `Dual`: a rule receives values and tangents as plain arrays and calls
``np.*`` on them.

Values may be complex. The tangent is always the derivative with respect to one real number, so a
rule is linear for real factors only: that of the complex conjugate is ẏ = conj(ẋ).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np


class Evaluation(NamedTuple):
    """An evaluated function, and the tangents to carry through it."""

    again: Callable[[Sequence[Any]], Any]  # repeats the call with other arrays
    result: Any
    values: Sequence[Any]
    tangents: Sequence[Any]  # None for an array without tangent
    options: Mapping[str, Any]  # the other arguments, by name
    through: Callable[[Callable[..., Any]], Any]  # tangent of another function of the same arrays


@dataclass(frozen=True)
class TangentRule:
    """How one function carries tangents.

    Attributes
    ----------
    tangent
        A function that returns the tangent of the result of an `Evaluation`.
    arrays
        Names of the arguments that may carry a tangent. If empty, the first one (all inputs of a
        ufunc, all of ``*name``).
    condition
        Name of an argument of which only the value matters, as in ``np.where(condition, x, y)``.
    accepted
        Names of the arguments that the rule supports; ``None`` means all.
    direct
        The same as ``tangent``, as a function of the result, the values and the tangents; only of
        rules that need no more.
    partials
        Of an elementwise function, ∂f/∂x as a function of the result and the arguments, for each.
    degree
        1 if the function is jointly linear in its arrays, 2 if linear in each separately, else 0.
    """

    tangent: Callable[[Evaluation], Any]
    arrays: tuple[str, ...] = ()
    condition: str | None = None
    accepted: frozenset[str] | None = None
    direct: Callable[[Any, Sequence[Any], Sequence[Any]], Any] | None = None
    partials: tuple[Callable[..., Any], ...] = ()
    degree: int = 0


def derivatives(
    *partials: Callable[..., Any],
    steep: Callable[..., bool] | None = None,
    together: Callable[..., Any] | None = None,
) -> TangentRule:
    """The rule of an elementwise function, from ``partial(result, *values)`` for each argument.

    Arguments without a tangent are skipped and their derivatives never computed, so the logarithm
    in ∂(xᵃ)/∂a causes no problem if the exponent is a plain number. Arrays whose dtype differs from
    the result (integers, or float32 among float64) are converted first, so that the derivative is
    as accurate as the result.

    ``steep`` says for some values whether a slope f_i may be infinite there. What does not move has
    no velocity: where ẋ_i is 0 so is its term, even if f_i is infinite. ``together(result, *values,
    *tangents)`` is a shorter way to compute ẏ if all arguments move and all slopes are finite.
    """

    def direct(result: Any, values: Sequence[Any], tangents: Sequence[Any]) -> Any:
        dtype, moving = result.dtype, []
        for x in values:
            own = getattr(x, "dtype", dtype)
            if own is not dtype and own != dtype:
                values = [x.astype(dtype) if hasattr(x, "dtype") else x for x in values]
                break
        for slope, dx in zip(partials, tangents, strict=True):
            if dx is not None:
                moving.append((slope, dx))
        if steep is None or not steep(*values):
            return total([slope(result, *values) * dx for slope, dx in moving])
        with np.errstate(divide="ignore", invalid="ignore"):
            if together is not None and len(moving) == len(partials):
                usual = together(result, *values, *tangents)
            else:
                usual = total([slope(result, *values) * dx for slope, dx in moving])
            if type(usual) is np.ndarray and math.isfinite(np.vdot(usual, usual).real):
                return usual  # every number is finite
        return total([slope_times(partial(slope, result, *values), dx) for slope, dx in moving])

    return TangentRule(
        lambda at: direct(at.result, at.values, at.tangents), partials=partials, direct=direct
    )


def slope_times(slope: Callable[[], Any], dx: Any) -> Any:
    """The product of a slope and ẋ, which is 0 where ẋ is 0, and without a warning there."""
    with np.errstate(divide="ignore", invalid="ignore"):
        term = slope() * dx
    finite = [np.isfinite(part) for part in parts(term)]
    if all(part.all() for part in finite):
        return term
    still = vanishes(dx)
    if not np.all(still | np.logical_and.reduce(finite)):
        term = slope() * np.where(still, 1, dx)  # again, for NumPy's warning
    return np.where(still, 0, term)


def linear(*arrays: str, condition: str | None = None) -> TangentRule:
    """The rule of a function that is jointly linear in the named arguments.

    A plain array among them is a constant with tangent zero, for example the ``initial`` of a sum
    or the padding of `numpy.pad`.
    """

    def tangent(at: Evaluation) -> Any:
        return at.again(list(map(or_zeros, at.tangents, at.values)))

    return TangentRule(tangent, arrays, condition, degree=1)


def multilinear(*arrays: str) -> TangentRule:
    """The rule of a function that is linear in each of the named arguments separately."""

    def tangent(at: Evaluation) -> Any:
        values = at.values
        return total(
            [
                at.again([*values[:i], or_zeros(dx, values[i]), *values[i + 1 :]])
                for i, dx in enumerate(at.tangents)
                if dx is not None
            ]
        )

    return TangentRule(tangent, arrays, degree=2)


def formula(function: Callable[..., Any], *arrays: str) -> TangentRule:
    """The rule that ``function(result, *values, *tangents, **options)`` computes.

    An array without tangent gets a tangent of zeros. An array that was omitted from the call is
    ``None``, and so is its tangent. Options have their NumPy names; an option that is not a
    parameter of ``function`` raises an error before anything is computed.
    """

    def tangent(at: Evaluation) -> Any:
        tangents = map(or_zeros, at.tangents, at.values)
        dy = function(at.result, *at.values, *tangents, **at.options)
        given = any(dy is dx for dx in at.tangents)
        return np.copy(dy) if given else dy

    return TangentRule(tangent, arrays, accepted=accepted_options(function))


def composition(function: Callable[..., Any], *arrays: str) -> TangentRule:
    """The rule of a function that equals ``function(*arrays, **options)``.

    The latter is written with functions that have a rule; only its tangent is used. Its result may
    lack axes of length 1, so an option such as ``keepdims`` need not be followed. Options are
    treated as by `formula`.
    """

    def tangent(at: Evaluation) -> Any:
        dy = at.through(lambda *given: function(*given, **at.options))
        return dy if dy is None or isinstance(dy, list) else np.reshape(dy, np.shape(at.result))

    return TangentRule(tangent, arrays, accepted=accepted_options(function))


def accepted_options(function: Callable[..., Any]) -> frozenset[str] | None:
    """Names of the parameters of a rule; None if it takes any."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return frozenset(parameter.name for parameter in parameters)


def parts(x: Any) -> list[Any]:
    """The plain arrays in x: itself, or value and tangent in derivatives of derivatives."""
    return [*parts(x.value), *parts(x.tangent)] if hasattr(x, "tangent") else [x]


def vanishes(dx: Any) -> Any:
    """Where a tangent is zero, with all its derivatives."""
    return np.logical_and.reduce([part == 0 for part in parts(dx)])


def or_zeros(tangent: Any, value: Any) -> Any:
    """The tangent, or zeros shaped like the value if there is none."""
    if type(tangent) is np.ndarray:
        return tangent
    if isinstance(value, list | tuple):
        parts = [None] * len(value) if tangent is None else tangent
        return type(value)(map(or_zeros, parts, value))
    if tangent is not None or value is None or isinstance(value, str):
        return tangent if tangent is not None else value
    return np.zeros_like(value)


def total(terms: Sequence[Any]) -> Any:
    """The sum of the terms; a new array if there are several."""
    if len(terms) == 1:
        return terms[0]
    result = terms[0] + terms[1]
    for term in terms[2:]:
        result = result + term
    return result


class Call:
    """One call of a NumPy function, with its arguments accessible by name.

    NumPy passes on the arguments as the caller wrote them, by position or by name. Rules refer to
    them by name; `evaluate` restores the original form of the call.
    """

    def __init__(
        self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        names, rest = parameter_names(function)
        if len(args) > len(names):  # the arguments of *name are named name[0], name[1], ...
            names = (*names, *(f"{rest}[{i}]" for i in range(len(args) - len(names))))
        self.function = function
        self.positional = names[: len(args)]
        self.rest = rest
        self.arguments = {**dict(zip(self.positional, args, strict=True)), **kwargs}

    def arrays_of(self, rule: TangentRule) -> tuple[str, ...]:
        """Names of the arguments of this call that may carry a tangent."""
        return rule.arrays or parameter_names(self.function)[0][:1] or self.positional

    def options(self, rule: TangentRule) -> dict[str, Any]:
        """The other arguments, without defaults that the rule does not know."""
        arrays = self.arrays_of(rule)
        return {
            key: given
            for key, given in self.arguments.items()
            if key not in (*arrays, "out")
            and not (
                rule.accepted is not None
                and key not in rule.accepted
                and is_default(self.function, key, given)
            )
        }

    def evaluate(self, changes: Mapping[str, Any]) -> Any:
        """Call the function again, with some of its arguments changed."""
        arguments = {name: changes.get(name, given) for name, given in self.arguments.items()}
        return self.function(*[arguments.pop(name) for name in self.positional], **arguments)


@cache
def parameter_names(function: Callable[..., Any]) -> tuple[tuple[str, ...], str | None]:
    """Names of a function's positional parameters, and of its ``*name`` parameter if any."""
    if function in NAMES_IN_C:
        return tuple(NAMES_IN_C[function].split()), None
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return (), "argument"
    rest = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return tuple(named), rest[0] if rest else None


def is_default(function: Callable[..., Any], name: str, given: Any) -> bool:
    """Whether an argument has the value that it would have if it were omitted."""
    try:
        parameter = inspect.signature(function).parameters.get(name)
    except ValueError:
        return False
    return parameter is not None and given is parameter.default


# Before NumPy 2.4, functions written in C have no signature to inspect.
NAMES_IN_C: dict[Callable[..., Any], str] = {
    np.array: "object dtype",
    np.asarray: "a dtype order",
    np.asanyarray: "a dtype order",
    np.ascontiguousarray: "a dtype",
    np.asfortranarray: "a dtype",
    np.bincount: "x weights minlength",
    np.concatenate: "arrays axis out",
    np.copyto: "dst src casting where",
    np.dot: "a b out",
    np.inner: "a b",
    np.putmask: "a mask values",
    np.vdot: "a b",
    np.where: "condition x y",
}
