"""A plain function as a model: f(x, a, b), as `scipy.optimize.curve_fit` takes it.

y_s = f(x_s; a, b, …)        one scalar parameter for each argument after the first
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from attrs import field

from chainrule.calculus.formula import Formula
from chainrule.calculus.jet import level_in
from chainrule.core.errors import ConfigurationError, ShapeError, shortened
from chainrule.core.hints import hinted
from chainrule.core.types import Array


@hinted
def curve(function: Callable[..., Any], start: Mapping[str, float] | Sequence[float]) -> Curve:
    """A layer that computes a plain function f(x, a, b, …), with a parameter for each of a, b, ….

    Parameters
    ----------
    function
        The model. Its first argument is x: (batch,) for numbers, (batch, d) for rows of d numbers,
        whose columns are ``x[:, 0]``, …. Its other arguments are numbers, and name the parameters.
        It computes with operators and ``np.*``.
    start
        Where a fit begins: ``{"a": 1.0, "b": 0.1}``, or the numbers in the order of the arguments.
        An argument with a default may be left out and starts there.

    Returns
    -------
    Curve
        A `Formula`: fit it with `least_squares`, train it, put it into a graph.

    Raises
    ------
    ConfigurationError
        The function has no arguments with names, or the start values do not match them.

    Notes
    -----
    The first data create the parameters, or ``decay.build(())`` (``build((d,))`` for rows of d
    numbers). ``decay.parameters["rate"].trainable = False`` then keeps one fixed. Several data sets
    that share parameters are one fit: join them, with a column that says which is which, and choose
    with ``np.where(x[:, 1] == 0, …, …)``.

    Examples
    --------
    >>> decay = fitting.curve(lambda t, amplitude, rate: amplitude * np.exp(-rate * t), [2.0, 1.0])
    >>> decay(np.array([0.0, 1.0])).round(3)
    array([2.   , 0.736])
    >>> decay.parameters.paths
    ['amplitude', 'rate']
    """
    return Curve(function, start)


class Curve(Formula):
    """The layer that `curve` returns.

    Forward  y = f(x, a, b, …)

    Parameters
    ----------
    function, start
        As in `curve`.
    """

    accepts_any_shape: ClassVar[bool] = True

    function: Callable[..., Any]
    start: Any = field()

    def __attrs_post_init__(self) -> None:
        self.start = _checked(self.function, self.start)

    def build(self, *input_shapes: Any, **options: Any) -> None:
        if len(input_shapes) != 1:
            raise ShapeError(
                "curve: x is one array",
                expected="(batch,), or (batch, d) for d numbers in each row",
                received=f"{len(input_shapes)} inputs",
                hint="np.stack([a, b], axis=1), which the function takes apart: x[:, 0], x[:, 1]; "
                "a model with several inputs is a class: class Model(Formula)",
            )
        for name, value in self.start.items():
            self.parameter(name, (), value)

    def forward(self, x: Array) -> Array:
        return self.function(x, *(_number(p.value) for p in self._parameters.values()))


def _number(value: Any) -> Any:
    """The value as an object of its own: ``a /= 2`` must not change the parameter."""
    return value[()] if type(value) is np.ndarray or level_in(value) else value


def _checked(function: Any, start: Any) -> dict[str, float]:
    """The start value of each parameter, in the order of the function's arguments."""
    defaults = _arguments(function)
    example = "{" + ", ".join(f"{name!r}: 1.0" for name in defaults) + "}"
    if isinstance(start, Mapping):
        given = dict(start)
    elif np.ndim(start) == 1 and len(start) <= len(defaults):
        given = dict(zip(defaults, start, strict=False))
    else:
        raise _refused(f"a list of {len(defaults)}, or {example}", shortened(start))
    unknown = [name for name in given if name not in defaults]
    missing = [name for name in defaults if name not in given and defaults[name] is None]
    if unknown or missing:
        what = [f"{name!r} is no argument" for name in unknown]
        what += [f"{name!r} is missing" for name in missing]
        raise _refused(example, f"{shortened(start)}: {', '.join(what)}")
    values = {name: given.get(name, default) for name, default in defaults.items()}
    try:
        numbers = {name: float(value) for name, value in values.items()}
    except (TypeError, ValueError):
        raise _refused(example, shortened(start)) from None
    if not all(np.isfinite(value) for value in numbers.values()):
        raise _refused("finite numbers", shortened(start))
    return numbers


def _arguments(function: Any) -> dict[str, Any]:
    """The arguments of a function after the first, with their defaults, or None."""
    try:
        arguments = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        arguments = []
    positional = [p for p in arguments if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) < 2 or len(positional) < len(arguments):
        raise ConfigurationError(
            "curve: the parameters are the arguments of the function after x",
            expected="a function such as lambda x, a, b: a * np.exp(-b * x)",
            received=shortened(function),
            hint="a model with arrays as parameters is a class: class Model(Formula)",
        )
    return {p.name: None if p.default is p.empty else p.default for p in positional[1:]}


def _refused(expected: str, received: str) -> ConfigurationError:
    return ConfigurationError(
        "curve: the start values do not belong to the function",
        expected=expected,
        received=received,
        hint="start is where a fit begins: a guess of the right size and sign is enough",
    )
