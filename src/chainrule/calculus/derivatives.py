"""Derivatives of whole models, by sending other things than arrays through them.

A model with parameters θ maps rows x to y = f(x; θ), and a loss makes a number C of y and t.

    arrays backward          vjp, value_and_gradient        Jᵀ Δ,  ∂C/∂θ
    dual numbers forward     jvp                            J v
    dual numbers through     hvp                            (∂²C/∂θ²) v: the gradient is a function
    forward *and* backward                                  of θ, and its tangent is this product

Nothing here leaves a trace: each function works on a replica of the model that shares the values
of the parameters, and has gradients, states, generators and memory of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from chainrule.calculus.dual import Dual, level_of
from chainrule.core import input_checks, layer_state, messages
from chainrule.core.errors import ConfigurationError, ShapeError
from chainrule.core.layer import Layer
from chainrule.core.parameter import Parameter
from chainrule.core.types import Array


def value_and_gradient(
    model: Layer, loss: Any, x: Any, t: Any, sample_weights: Any = None
) -> tuple[float, npt.NDArray[Any]]:
    """The cost C and its gradient ∂C/∂θ, as one flat vector in the order of ``model.parameters``.

    Parameters
    ----------
    model, loss
        A built model, and a loss whose first argument is the model's output; for a model with
        several outputs `losses.PerOutput`.
    x, t
        A batch of inputs (a tuple for several inputs) and its targets (a tuple for several
        outputs).
    sample_weights
        One weight for each row, if the rows do not count alike.
    """
    _require_loss(loss)
    replica = Replica(model)
    y = replica.layer.forward(*_inputs(model, x))
    cost, delta = loss.value_and_delta(y, t, sample_weights)
    replica.layer.backward_parameters(delta)
    return float(cost), replica.gradient()


def vjp(model: Layer, x: Any, delta: Any) -> tuple[Any, Any, npt.NDArray[Any]]:
    """The vector-Jacobian products: ``(y, Jₓᵀ delta, J_θᵀ delta)``.

    Parameters
    ----------
    x
        A batch of inputs, a tuple for several.
    delta
        An array of the shape of the output; a tuple for several outputs.

    Returns
    -------
    y, dx, dparameters
        The output; the product for the input (a tuple for several inputs); that for the
        parameters, as one flat vector.
    """
    replica = Replica(model)
    y = replica.layer.forward(*_inputs(model, x))
    dx = replica.layer.backward(_like(y, delta, "delta"))
    return y, dx, replica.gradient()


def jvp(model: Layer, x: Any, dx: Any = None, dparameters: Any = None) -> tuple[Any, Any]:
    """The Jacobian-vector product: ``(y, Jₓ dx + J_θ dparameters)``, exact.

    Parameters
    ----------
    x
        A batch of inputs, a tuple for several.
    dx
        The direction in which the inputs move, of their shape; they stand still if not given.
    dparameters
        The direction in which the parameters move, as one flat vector.

    Raises
    ------
    NoTangentRuleError
        Where a layer calls a NumPy function that has no tangent rule.
    """
    inputs = _inputs(model, x)
    directions = tuple(np.zeros_like(i) for i in inputs) if dx is None else _tuple(dx)
    level = _level(model, inputs)
    replica = Replica(model, _vector(model, dparameters), level)
    pairs = _pairs(inputs, directions)
    y = replica.layer.forward(*(Dual(i, _like(i, d, "dx"), level) for i, d in pairs))
    outputs = [_parts(part) for part in _tuple(y)]
    if isinstance(y, tuple):
        return tuple(value for value, _ in outputs), tuple(tangent for _, tangent in outputs)
    return outputs[0]


def hvp(
    model: Layer, loss: Any, x: Any, t: Any, v: Any, sample_weights: Any = None
) -> npt.NDArray[Any]:
    """The Hessian-vector product (∂²C/∂θ²) v, exact, as a flat vector.

    The gradient ∂C/∂θ is what `forward`, `loss.delta` and `backward` compute from θ. Sent through
    the three with the tangent v, θ gives the derivative of the gradient along v. One such product
    costs about three gradients, and no matrix is ever made. Pearlmutter 1994.

    Parameters
    ----------
    model, loss, x, t, sample_weights
        As in `value_and_gradient`.
    v
        The direction, a flat vector as long as ``model.parameters.value``.
    """
    _require_loss(loss)
    direction = _vector(model, v)
    inputs = _inputs(model, x)
    level = _level(model, inputs)
    replica = Replica(model, direction, level)
    y = replica.layer.forward(*(Dual(i, np.zeros_like(i), level) for i in inputs))
    replica.layer.backward_parameters(loss.delta(y, t, sample_weights))
    return replica.tangent_of_gradient()


def jacobian(
    model: Layer, x: Any, with_respect_to: Literal["input", "parameters"] = "input"
) -> npt.NDArray[Any]:
    """The Jacobian of every row's output, by rows.

    Parameters
    ----------
    x
        A batch of rows, for a model with one input.
    with_respect_to
        ``"input"``: ∂y/∂x of each row, of shape (batch, *output_shape, *input_shape).
        ``"parameters"``: ∂y/∂θ, of shape (batch, *output_shape, parameters.size).

    Raises
    ------
    ConfigurationError
        Where rows of the batch see each other, so that rows have no Jacobian of their own.
    """
    _refuse_coupled_rows(model, "jacobian")
    (inputs,) = _inputs(model, x)
    if with_respect_to == "input":
        width = int(np.prod(inputs.shape[1:]))
        directions = np.eye(width, dtype=inputs.dtype).reshape(width, *inputs.shape[1:])
        columns = [jvp(model, inputs, np.broadcast_to(d, inputs.shape))[1] for d in directions]
        shape = inputs.shape[1:]
    elif with_respect_to == "parameters":
        size = model.parameters.size
        columns = [jvp(model, inputs, dparameters=d)[1] for d in np.eye(size, dtype=inputs.dtype)]
        shape = (size,)
    else:
        raise ConfigurationError(
            "jacobian: unknown with_respect_to",
            expected="'input' or 'parameters'",
            received=repr(with_respect_to),
        )
    if not columns:
        return np.zeros((*model(inputs).shape, *shape), inputs.dtype)
    stacked = np.stack(columns, axis=-1)
    return stacked.reshape(*stacked.shape[:-1], *shape)


def per_sample_gradients(model: Layer, loss: Any, x: Any, t: Any) -> npt.NDArray[Any]:
    """∂C_s/∂θ for each row s alone, of shape (batch, parameters.size).

    C_s is the cost of a batch that is this one row, so the average of the rows of the result is
    the gradient of the whole batch.

    Parameters
    ----------
    model, loss, x, t
        As in `value_and_gradient`.

    Raises
    ------
    ConfigurationError
        Where rows of the batch see each other.
    """
    _refuse_coupled_rows(model, "per_sample_gradients")
    inputs, is_one = _inputs(model, x), len(model.output_shapes) == 1
    targets = [np.asarray(one) for one in ((t,) if is_one else _tuple(t))]
    rows = [slice(n, n + 1) for n in range(len(inputs[0]))]
    gradients = np.zeros((len(rows), model.parameters.size), model.dtype)
    for row, gradient in zip(rows, gradients, strict=True):
        one = tuple(i[row] for i in inputs)
        its_targets = tuple(target[row] for target in targets)
        target = its_targets[0] if is_one else its_targets
        gradient[...] = value_and_gradient(model, loss, one, target)[1]
    return gradients


class Replica:
    """A twin of a model that computes with other numbers and leaves the model alone.

    Parameters
    ----------
    model
        A built model.
    tangent
        A direction for the parameters, as one flat vector: the replica's parameters are then dual
        numbers.
    level
        The level of these dual numbers, above that of any that flow already.
    """

    def __init__(
        self, model: Layer, tangent: npt.NDArray[Any] | None = None, level: int | None = None
    ) -> None:
        parts: dict[int, Any] = {}
        self.parameters: list[Parameter] = []
        start = 0
        for parameter in model.parameters:
            value: Array = parameter.value
            if tangent is not None:
                window = tangent[start : start + parameter.size].reshape(parameter.shape)
                value = Dual(value, window, level)
            self.parameters.append(Parameter(parameter.path, value))
            parts[id(parameter)] = self.parameters[-1]
            start += parameter.size
        for state in model.state:
            value = state.value.copy()
            parts[id(state)] = Parameter(
                state.path, value if tangent is None else Dual(value, np.zeros_like(value), level)
            )
        for generator in model.generators.values():
            parts[id(generator)] = layer_state.copied_generator(generator)
        self.layer = model.replica(parts)
        self._empty = np.zeros(0, model.dtype)

    def gradient(self) -> npt.NDArray[Any]:
        """∂C/∂θ as one flat vector."""
        grads = [_parts(p.grad)[0].ravel() for p in self.parameters]
        return np.concatenate([self._empty, *grads])

    def tangent_of_gradient(self) -> npt.NDArray[Any]:
        """The derivative of ∂C/∂θ along the tangent."""
        tangents = [_parts(p.grad)[1].ravel() for p in self.parameters]
        return np.concatenate([self._empty, *tangents])


def _require_loss(loss: Any) -> None:
    if not hasattr(loss, "delta"):
        is_list = isinstance(loss, list | tuple)
        raise ConfigurationError(
            "derivatives: this is no loss",
            expected="a loss such as losses.HalfSquaredError()",
            received=f"{loss!r:.60}, of type {type(loss).__name__}",
            hint="losses.PerOutput([…]) of them, one for each output" if is_list else None,
        )


def _inputs(model: Layer, x: Any) -> tuple[Array, ...]:
    messages.require_built(model)
    return input_checks.as_inputs(model, _tuple(x))


def _level(model: Layer, inputs: tuple[Array, ...]) -> int:
    """One more than that of any dual number that is there: derivatives of derivatives."""
    return 1 + max(level_of(inputs), level_of([p.value for p in model.parameters]))


def _tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def _parts(y: Any) -> tuple[Array, Array]:
    """Value and tangent; an array that came from no dual number stands still."""
    return (y.value, y.tangent) if isinstance(y, Dual) else (y, np.zeros_like(y))


def _like(y: Any, given: Any, name: str) -> Any:
    """``given`` as arrays of the shape and type of ``y``."""
    if isinstance(y, tuple):
        return tuple(_like(a, b, name) for a, b in _pairs(y, _tuple(given)))
    array = np.asarray(given, dtype=y.dtype)
    if array.shape != y.shape:
        raise ShapeError(
            f"derivatives: {name} has another shape than what it belongs to",
            expected=y.shape,
            received=array.shape,
        )
    return array


def _pairs(one: Sequence[Any], two: Sequence[Any]) -> list[tuple[Any, Any]]:
    if len(one) != len(two):
        raise ShapeError(
            "derivatives: a direction is missing, or there is one too many",
            expected=f"{len(one)} array(s)",
            received=f"{len(two)} array(s)",
        )
    return list(zip(one, two, strict=True))


def _vector(model: Layer, v: Any) -> npt.NDArray[Any]:
    size, dtype = model.parameters.size, model.dtype
    array = np.zeros(size, dtype) if v is None else np.asarray(v, dtype=dtype)
    if array.shape != (size,):
        raise ShapeError(
            "derivatives: the direction does not fit the parameters",
            expected=(size,),
            received=array.shape,
            hint="a flat vector as long as model.parameters.value",
        )
    return array


def _refuse_coupled_rows(model: Layer, function: str) -> None:
    for path, layer in model.walk():
        if layer.couples_batch:
            raise ConfigurationError(
                f"{function}: the rows of a batch see each other in {layer!r}",
                place=path or None,
                expected="layers that treat each row on its own",
                received=f"{type(layer).__name__}.couples_batch is True",
                hint="vjp and jvp give products with the Jacobian of the whole batch",
            )
