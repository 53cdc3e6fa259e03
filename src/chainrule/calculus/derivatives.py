"""Derivatives of whole models: send dual numbers instead of arrays through them.

A model with parameters θ maps rows x to y = f(x; θ), and a loss maps y and t to a number C.

    arrays backward          vjp, value_and_gradient        Jᵀ Δ,  ∂C/∂θ
    dual numbers forward     jvp                            J v
    dual numbers through     hvp                            (∂²C/∂θ²) v: the gradient is a function
    forward and backward                                    of θ, and its tangent is this product

These functions do not change the model: each works on a replica that shares the values of the
parameters but has its own gradients, buffers, generators and memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from chainrule.calculus.dual import Dual, level_of
from chainrule.core import input_checks, layer_state, messages
from chainrule.core.errors import ConfigurationError, ShapeError, described
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
        several outputs, `losses.PerOutput`.
    x, t
        A batch of inputs (a tuple for several inputs) and its targets (a tuple for several
        outputs).
    sample_weights
        One weight for each row; by default all rows count equally.
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
        A batch of inputs; a tuple for several inputs.
    delta
        An array of the shape of the output; a tuple for several outputs.

    Returns
    -------
    y, dx, dparameters
        The output; the product for the input (a tuple for several inputs); the product for the
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
        A batch of inputs; a tuple for several inputs.
    dx
        The direction in which the inputs move, with their shape; by default they do not move.
    dparameters
        The direction in which the parameters move, as one flat vector; by default they do not
        move.

    Raises
    ------
    NoTangentRuleError
        If a layer calls a NumPy function that has no tangent rule.
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

    `forward`, `loss.delta` and `backward` compute the gradient ∂C/∂θ from θ. When θ carries the
    tangent v through all three, the gradient carries its derivative along v. One such product
    costs about as much as three gradients and needs no matrix. Pearlmutter 1994.

    Parameters
    ----------
    model, loss, x, t, sample_weights
        As in `value_and_gradient`.
    v
        The direction, a flat vector with the size of ``model.parameters.value``.
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
    """The Jacobian of the output, for each row separately.

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
        If the rows of a batch influence each other, so that a single row has no Jacobian.
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
    """The gradient ∂C_s/∂θ for each row s separately, with shape (batch, parameters.size).

    C_s is the cost of a batch of this one row, so the average over the rows of the result is the
    gradient of the whole batch.

    Parameters
    ----------
    model, loss, x, t
        As in `value_and_gradient`.

    Raises
    ------
    ConfigurationError
        If the rows of a batch influence each other.
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
    """A copy of a model that computes with other numbers and never changes the model.

    Parameters
    ----------
    model
        A built model.
    tangent
        A direction for the parameters, as one flat vector; the parameters of the replica are then
        dual numbers.
    level
        The level of these dual numbers, higher than that of any dual numbers in use.
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
        for state in model.buffers:
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
            "derivatives: loss is not a loss",
            expected="a loss such as losses.HalfSquaredError()",
            received=described(loss),
            hint="losses.PerOutput([…]) combines one loss per output" if is_list else None,
        )


def _inputs(model: Layer, x: Any) -> tuple[Array, ...]:
    messages.require_built(model)
    return input_checks.as_inputs(model, _tuple(x))


def _level(model: Layer, inputs: tuple[Array, ...]) -> int:
    """One more than the level of any dual number in use, for derivatives of derivatives."""
    return 1 + max(level_of(inputs), level_of([p.value for p in model.parameters]))


def _tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def _parts(y: Any) -> tuple[Array, Array]:
    """Value and tangent; the tangent of a plain array is zero."""
    return (y.value, y.tangent) if isinstance(y, Dual) else (y, np.zeros_like(y))


def _like(y: Any, given: Any, name: str) -> Any:
    """``given`` as arrays with the shape and dtype of ``y``."""
    if isinstance(y, tuple):
        return tuple(_like(a, b, name) for a, b in _pairs(y, _tuple(given)))
    array = np.asarray(given, dtype=y.dtype)
    if array.shape != y.shape:
        raise ShapeError(
            f"derivatives: {name} has the wrong shape",
            expected=y.shape,
            received=array.shape,
        )
    return array


def _pairs(one: Sequence[Any], two: Sequence[Any]) -> list[tuple[Any, Any]]:
    if len(one) != len(two):
        raise ShapeError(
            "derivatives: wrong number of directions",
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
            hint="pass a flat vector with the size of model.parameters.value",
        )
    return array


def _refuse_coupled_rows(model: Layer, function: str) -> None:
    for path, layer in model.walk():
        if layer.couples_batch:
            raise ConfigurationError(
                f"{function}: the rows of a batch influence each other in {layer!r}",
                place=path or None,
                expected="layers that treat each row independently",
                received=f"{type(layer).__name__}.couples_batch is True",
                hint="use vjp or jvp for products with the Jacobian of the whole batch",
            )
