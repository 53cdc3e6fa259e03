"""The arguments of a fit: data as arrays that fit the model, and parameters by their paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.core import input_checks
from chainrule.core.arrays import as_array, read_only
from chainrule.core.errors import ConfigurationError, DataError, NonFiniteError, ShapeError
from chainrule.core.hints import nearest
from chainrule.core.input_checks import as_tuple
from chainrule.core.layer import Layer
from chainrule.core.parameter import ParameterVector


def data_of(model: Layer, x: Any, t: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Inputs and targets as arrays that fit the model, which is built for them if it is not."""
    inputs = input_checks.as_inputs(model, as_tuple(x))
    inputs = input_checks.admit(model, inputs)
    _require_rows(inputs)
    shapes = _output_shapes(model, inputs)
    given = as_tuple(t) if len(shapes) > 1 else (t,)
    targets = tuple([as_array("least_squares: t", each).astype(float) for each in given])
    expected = [(len(inputs[0]), *shape) for shape in shapes]
    if [each.shape for each in targets] != expected:
        raise _unfitting([each.shape for each in targets], expected)
    for name, arrays in (("x", inputs), ("t", targets)):
        for array in arrays:
            require_finite(name, array)
    return tuple([read_only(i.copy()) for i in inputs]), targets


def _output_shapes(model: Layer, inputs: tuple[Any, ...]) -> list[Any]:
    """The shape of a row of each output."""
    if model.input_shapes == tuple([x.shape[1:] for x in inputs]):
        return list(model.output_shapes)
    return [y.shape[1:] for y in as_tuple(model.apply(*(x[:1] for x in inputs)))]


def _unfitting(received: list[Any], expected: list[Any]) -> ShapeError:
    hint = None
    if len(received) == 1 < len(expected) and received * len(expected) == expected:
        hint = (
            f"one target for each output, in a tuple; if all have the same: (t,) * {len(expected)}"
        )
    elif len(received) == len(expected) == 1 and received[0] == expected[0][:-1]:
        hint = "np.asarray(t)[:, None]: the output has an axis more"
    elif len(received) == len(expected) == 1 and received[0][:-1] == expected[0]:
        hint = "t[:, 0]: the output has an axis less; or give x an axis, x[:, None]"
    elif len(received) == len(expected) == 1 and received[0][:1] != expected[0][:1]:
        hint = f"x has {expected[0][0]} rows, and t {(received[0] or (1,))[0]}"
    return ShapeError(
        "least_squares: the targets do not have the shape of the output",
        expected=", ".join(map(str, expected)),
        received=", ".join(map(str, received)),
        hint=hint,
    )


def _require_rows(inputs: tuple[Any, ...]) -> None:
    if not inputs or not len(inputs[0]):
        raise DataError("least_squares: there are no data", expected="at least one row")


def require_finite(name: str, array: Any) -> None:
    """Raise an error that names the first row with a number that is not finite."""
    if not np.all(np.isfinite(array)):
        wrong = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
        raise DataError(
            f"least_squares: {name} contains numbers that are not finite",
            place=f"row {np.flatnonzero(wrong)[0]}" + and_others(int(wrong.sum())),
            expected="finite numbers",
            hint=f"leave these rows out: good = np.isfinite({name}); {name}[good]",
        )


def and_others(count: int) -> str:
    """The words after the first of several places in an error message."""
    return f", and {count - 1} other{'s' * (count > 2)}" if count > 1 else ""


def require_finite_residuals(residuals: Any) -> None:
    """Raise an error if the model is not finite at the start."""
    wrong = np.flatnonzero(~np.isfinite(residuals))
    if wrong.size:
        raise NonFiniteError(
            "least_squares: the model is not finite at the start",
            place=f"number {wrong[0]} of {residuals.size}" + and_others(wrong.size),
            expected="finite numbers to start from",
            received=f"{residuals[wrong[0]]}",
            hint="choose other start values: start={'path': …}; a logarithm, a root or an "
            "exponential may be outside its range",
        )


def windows(parameters: ParameterVector) -> dict[str, slice]:
    """The part of the flat vector that each parameter has, by path."""
    found, begin = {}, 0
    for path, parameter in zip(parameters.paths, parameters, strict=True):
        found[path] = slice(begin, begin + parameter.size)
        begin += parameter.size
    return found


def window(parameters: ParameterVector, path: Any, argument: str) -> slice:
    """The part of the flat vector that one parameter has."""
    known = windows(parameters)
    if path in known:
        return known[path]
    meant = nearest(str(path), known, alike=0.4)
    raise ConfigurationError(
        f"{argument}: the model has no parameter {path!r}",
        expected=f"one of {', '.join(map(repr, list(known)[:12]))}",
        received=repr(path),
        hint=f"do you mean {meant!r}?" if meant else None,
    )


def by_path(
    parameters: ParameterVector, given: Any, argument: str, parts: int
) -> list[tuple[str, slice, list[Any]]]:
    """Each entry of a dictionary {path: number or tuple}: path, window, arrays of its size."""
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"{argument}: this is no dictionary",
            expected=f"{argument}={{'path': …}}, with paths such as those of model.parameters",
            received=type(given).__name__,
        )
    found = []
    for path, value in given.items():
        where = window(parameters, path, argument)
        shape = parameters[path].shape
        pieces: Sequence[Any] = [value] if parts == 1 else value
        try:
            count = len(pieces)
            arrays = [np.broadcast_to(np.asarray(v, float), shape).ravel() for v in pieces]
        except (TypeError, ValueError):
            count, arrays = -1, []
        if count != parts:
            raise ConfigurationError(
                f"{argument}: the entry of {path!r} is invalid",
                expected="a number" if parts == 1 else "two numbers, such as (0, 1)",
                received=repr(value)[:60],
                hint=f"or arrays of the shape {shape}" if shape else None,
            )
        if not parameters[path].trainable:
            raise ConfigurationError(
                f"{argument}: {path!r} is frozen, and does not move",
                expected="parameters that are fitted",
                received=repr(path),
                hint=f"model.parameters[{path!r}].trainable = True; or set its value yourself: "
                f"model.parameters[{path!r}].value = …",
            )
        found.append((path, where, arrays))
    return found
