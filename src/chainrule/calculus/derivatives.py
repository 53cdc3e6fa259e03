"""Derivatives of whole models: send dual numbers instead of arrays through them.

A model with parameters θ maps rows x to y = f(x; θ), and a loss maps y and t to a number C.

    arrays backward          vjp, value_and_gradient        Jᵀ Δ,  ∂C/∂θ
    dual numbers forward     jvp                            J v
    dual numbers through     hvp                            (∂²C/∂θ²) v: the gradient is a function
    forward and backward                                    of θ, and its tangent is this product

All arguments can be dual numbers themselves, and the results are then, too: this gives gradients of
derivatives (see `vjp`). A model with several inputs or outputs takes and returns tuples. Type
checkers cannot know this and infer arrays.

These functions do not change the model: each works on a `Replica` that shares the values of the
parameters but has its own gradients, buffers, generators and memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from chainrule.calculus.dual import Dual
from chainrule.calculus.replicas import Replica as Replica
from chainrule.calculus.replicas import RowReplica, as_numbers, as_vector
from chainrule.calculus.replicas import unused_level as unused_level
from chainrule.core import input_checks, messages
from chainrule.core.errors import ConfigurationError, NoTangentRuleError, ShapeError, described
from chainrule.core.input_checks import as_tuple, one_or_tuple
from chainrule.core.layer import Layer
from chainrule.core.types import Array, Shape


def value_and_gradient(
    model: Layer, loss: Any, x: Any, t: Any = None, sample_weights: Any = None
) -> tuple[float, npt.NDArray[Any]]:
    """The cost C and its gradient ∂C/∂θ, as one flat vector in the order of ``model.parameters``.

    Parameters
    ----------
    model, loss
        A built model, and a loss whose first argument is the model's output; for a model with
        several outputs, `losses.PerOutput`.
    x, t
        A batch of inputs (a tuple for several inputs) and its targets (a tuple for several
        outputs; None for a loss without targets).
    sample_weights
        One weight for each row; by default all rows count equally.
    """
    _require_loss(loss)
    replica = Replica(model)
    y = replica.forward(*_inputs(model, x))
    cost, delta = loss.value_and_delta(y, t, sample_weights)
    replica.backward_parameters(delta)
    return cost if isinstance(cost, Dual) else float(cost), replica.gradient()  # type: ignore[return-value]


def vjp(model: Layer, x: Any, delta: Any) -> tuple[Any, Any, Any]:
    """The vector-Jacobian products: ``(y, Jₓᵀ delta, J_θᵀ delta)``.

    Parameters
    ----------
    x
        A batch of inputs; a tuple for several inputs.
    delta
        An array of the shape of the output; a tuple for several outputs, in which None stands for
        zeros.

    Returns
    -------
    y, dx, dparameters
        The output; the product for the input (a tuple for several inputs); the product for the
        parameters, as one flat vector.

    Notes
    -----
    If x is a `Dual` with the tangent v, so are the results. Their tangents contain the gradients of
    the derivative Jₓ v, because

        ∂/∂ε J(x + ε v)ᵀ Δ = ∂/∂x ⟨Δ, Jₓ v⟩    for dx,    and    ∂/∂θ ⟨Δ, Jₓ v⟩    for dparameters.

    With a tangent Δ̇ of delta as well, J(x)ᵀ Δ̇ is added: it is the gradient of ⟨Δ̇, y⟩.

    Examples
    --------
    For y = w x², the derivative along v is 2 w x v, and its gradients are 2 w v and 2 x v:

    >>> square = Activation(lambda x: x**2, lambda x: 2 * x)
    >>> model = Sequential([square, Dense(1, use_bias=False, initializer=3.0)])
    >>> model.build((1,))
    >>> x, v = np.array([[5.0]]), np.array([[1.0]])
    >>> y, dx, dparameters = derivatives.vjp(model, Dual(x, v), np.array([[1.0]]))
    >>> y.tangent, dx.tangent, dparameters.tangent
    (array([[30.]]), array([[6.]]), array([10.]))
    """
    replica = Replica(model)
    y = replica.forward(*_inputs(model, x))
    dx = replica.backward(_like(y, delta, "delta"))
    return y, dx, replica.gradient()


def jvp(model: Layer, x: Any, dx: Any = None, dparameters: Any = None) -> tuple[Any, Any]:
    """The Jacobian-vector product: ``(y, Jₓ dx + J_θ dparameters)``, exact.

    Parameters
    ----------
    x
        A batch of inputs; a tuple for several inputs.
    dx
        The direction in which the inputs move, with their shape; by default they do not move. In a
        tuple for several inputs, None stands for an input that does not move.
    dparameters
        The direction in which the parameters move, as one flat vector; by default they do not
        move.

    Raises
    ------
    NoTangentRuleError
        If a layer calls a NumPy function that has no tangent rule.
    """
    inputs = _inputs(model, x)
    directions = (None,) * len(inputs) if dx is None else as_tuple(dx)
    vector = as_vector(model, dparameters)
    level = unused_level(model, inputs, directions, vector)
    replica = Replica(model, vector, level)
    pairs = _pairs(inputs, directions, "dx")
    y = replica.forward(*(_moving(i, d, level) for i, d in pairs))
    outputs = as_tuple(y)
    return one_or_tuple([o.value for o in outputs]), one_or_tuple([o.tangent for o in outputs])


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
    direction = as_vector(model, v)
    inputs = _inputs(model, x)
    level = unused_level(model, inputs, direction)
    replica = Replica(model, direction, level)
    y = replica.forward(*(_moving(i, None, level) for i in inputs))
    replica.backward_parameters(loss.delta(y, t, sample_weights))
    return replica.gradient().tangent  # type: ignore[no-any-return]


def jacobian(
    model: Layer, x: Any, with_respect_to: Literal["input", "parameters"] = "input"
) -> npt.NDArray[Any]:
    """The Jacobian of the output, for each row separately.

    Parameters
    ----------
    x
        A batch of rows; a tuple for several inputs.
    with_respect_to
        ``"input"``: ∂y/∂x of each row, of shape (batch, *output_shape, *input_shape).
        ``"parameters"``: ∂y/∂θ, of shape (batch, *output_shape, parameters.size).

    Returns
    -------
    array or tuple
        For several outputs, a tuple with the Jacobian of each output. For several inputs, the
        Jacobian of an output with respect to the input is itself a tuple, with one array for each
        input: ``jacobian(model, (a, b))[output][input]``.

    Raises
    ------
    ConfigurationError
        If the rows of a batch influence each other, so that a single row has no Jacobian with
        respect to its input.

    Notes
    -----
    With respect to the input, it takes one `jvp` for each entry of a row. With respect to the
    parameters, it takes one backward pass for each entry of an output, in which the rows are kept
    apart as in `row_gradients`. If that is impossible, it takes a `jvp` for each parameter or a
    `vjp` for each row, whichever are fewer.
    """
    inputs = _inputs(model, x)
    if with_respect_to == "input":
        _refuse_coupled_rows(model, "jacobian")
        by_input = [_jacobian_of_input(model, inputs, n) for n in range(len(inputs))]
        by_output = [one_or_tuple(arrays) for arrays in zip(*by_input, strict=True)]
    elif with_respect_to == "parameters":
        by_output = _jacobian_of_parameters(model, inputs)
    else:
        raise ConfigurationError(
            "jacobian: unknown with_respect_to",
            expected="'input' or 'parameters'",
            received=repr(with_respect_to),
        )
    return one_or_tuple(by_output)  # type: ignore[no-any-return]


def row_gradients(model: Layer, x: Any, delta: Any) -> npt.NDArray[Any]:
    """J_θᵀ delta for each row separately, with shape (batch, parameters.size).

    Row s is (∂y_s/∂θ)ᵀ Δ_s: what the delta of this row alone adds to the gradient. The sum of all
    rows is the third result of `vjp`.

    Parameters
    ----------
    x, delta
        As in `vjp`.

    Notes
    -----
    The gradient of the weights is a product that sums over the rows, ∂C/∂w = Σ_s y_s Δ_sᵀ. If all
    layers add it with `Parameter.accumulate_product`, as `Dense` does, one backward pass suffices,
    which leaves the sum out. Another pass, with random weights for the rows, checks that these
    were sums over rows. If a layer sums in another way, each row takes its own backward pass.
    """
    inputs = _inputs(model, x)
    parts = [None if d is None else as_numbers(d, model.dtype) for d in as_tuple(delta)]

    def given(y: Any, rows: slice) -> Iterator[Any]:
        yield _like(y, one_or_tuple([None if d is None else d[rows] for d in parts]), "delta")

    found = _rows_apart(model, inputs, given)
    rows: npt.NDArray[Any] = _row_by_row(model, inputs, given) if found is None else found
    return rows[:, 0]


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
    _require_loss(loss)
    _refuse_coupled_rows(model, "per_sample_gradients")
    inputs, is_one = _inputs(model, x), len(model.output_shapes) == 1
    targets = [as_numbers(one, None) for one in ((t,) if is_one else as_tuple(t))]
    gradients, replica, has_state = [], Replica(model), _has_state(model)
    for n in range(len(inputs[0])):
        row = slice(n, n + 1)
        if has_state:  # each row meets the state that the model has now
            replica = Replica(model)
        y = replica.forward(*(i[row] for i in inputs))
        _, delta = loss.value_and_delta(y, one_or_tuple([t[row] for t in targets]))
        replica.zero_grad()
        replica.backward_parameters(delta)
        gradients.append(replica.gradient())
    return np.stack(gradients) if gradients else np.zeros((0, model.parameters.size), model.dtype)


# ------------------------------------------------------------------------------- Jacobians


def _jacobian_of_input(model: Layer, inputs: tuple[Array, ...], number: int) -> list[Any]:
    """∂y/∂x of one input, for each output."""
    x = inputs[number]
    row = x.shape[1:]
    width = math.prod(row) if x.dtype.kind == "f" else 0  # an integer does not move
    directions = np.eye(width, dtype=model.dtype).reshape(width, *row if width else (0,))
    others = [None] * len(inputs)
    moves = (
        (*others[:number], np.broadcast_to(direction, x.shape), *others[number + 1 :])
        for direction in directions
    )
    return _columns(model, inputs, ((dx, None) for dx in moves), row)


def _jacobian_of_parameters(model: Layer, inputs: tuple[Array, ...]) -> list[Any]:
    """∂y/∂θ for each output."""
    size, batch = model.parameters.size, len(inputs[0])
    shapes = [y.shape[1:] for y in as_tuple(Replica(model).forward(*inputs))]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    rows = _rows_apart(model, inputs, _unit_deltas)
    if rows is None and size <= batch * ends[-1]:
        units = ((None, direction) for direction in np.eye(size, dtype=model.dtype))
        try:
            return _columns(model, inputs, units, (size,))
        except NoTangentRuleError:
            pass
    if rows is None:
        rows = _row_by_row(model, inputs, _unit_deltas)
    parts = [rows[:, end - math.prod(s) : end] for s, end in zip(shapes, ends, strict=True)]
    return [part.reshape(batch, *s, size) for s, part in zip(shapes, parts, strict=True)]


def _columns(
    model: Layer,
    inputs: tuple[Array, ...],
    directions: Iterable[tuple[Any, Any]],
    shape: Shape,
) -> list[Any]:
    """J v for each direction v of the inputs and the parameters, for each output.

    The last axes of the result, of this shape, count the directions.
    """
    columns = [as_tuple(jvp(model, inputs, *direction)[1]) for direction in directions]
    if not columns:
        outputs = as_tuple(Replica(model).forward(*inputs))
        return [np.zeros((*y.shape, *shape), model.dtype) for y in outputs]
    stacked = [np.stack(column, axis=-1) for column in zip(*columns, strict=True)]
    return [array.reshape(*array.shape[:-1], *shape) for array in stacked]


# ------------------------------------------------------------------------------- row by row

Deltas = Callable[[Any, slice], Iterator[Any]]
"""Given the output for some rows, and which rows these are: one delta after the other."""


def _unit_deltas(y: Any, rows: slice) -> Iterator[Any]:
    """For each entry of a row of each output, the delta that is one there, in all rows."""
    outputs = as_tuple(y)
    for number, output in enumerate(outputs):
        for entry in np.ndindex(output.shape[1:]):
            deltas = [np.zeros(part.shape, part.dtype) for part in outputs]
            deltas[number][:, *entry] = 1
            yield one_or_tuple(deltas)


def _rows_apart(model: Layer, inputs: tuple[Array, ...], deltas: Deltas) -> Any:
    """J_θᵀ delta for each row and each delta: (batch, number of deltas, parameters.size).

    It takes one backward pass for each delta. None if the layers do not allow it.
    """
    batch = len(inputs[0])
    replica = RowReplica(model, batch)
    y = replica.forward(*inputs)
    found: list[Any] = []
    for delta in deltas(y, slice(None)):
        replica.backward_parameters(delta)
        found.append(replica.take_rows())
        if found[-1] is None:
            return None
    if not found:
        return np.zeros((batch, 0, model.parameters.size), model.dtype)
    rows = np.stack(found, axis=1)
    return rows if _are_rows(model, inputs, deltas, rows) else None


def _are_rows(model: Layer, inputs: tuple[Array, ...], deltas: Deltas, rows: Any) -> bool:
    """Whether the rows were kept apart correctly.

    A product in a layer might sum over something else that has the size of the batch. So one more
    backward pass gives the sum over rows and deltas with random weights r,

        Σ_sn r_sn (J_θᵀ Δ_n)_s = J_θᵀ Σ_n (r_sn Δ_n)_s

    in which no layer keeps rows apart. If the rows are wrong, the two differ for almost every r.
    """
    batch, count = rows.shape[:2]
    weights = np.random.default_rng(0).normal(size=(batch, count)).astype(model.dtype)
    replica = Replica(model)
    y = replica.forward(*inputs)
    total: list[Any] = [0] * len(as_tuple(y))
    for number, delta in enumerate(deltas(y, slice(None))):
        for n, part in enumerate(as_tuple(delta)):
            weight = weights[:, number].reshape(batch, *(1,) * (part.ndim - 1))
            total[n] = total[n] + weight * part
    replica.backward_parameters(one_or_tuple(total))
    plain = _innermost(rows)
    difference = np.abs(np.einsum("sn,snp->p", weights, plain) - _innermost(replica.gradient()))
    size = np.einsum("sn,snp->p", np.abs(weights), np.abs(plain))
    start, tolerance = 0, np.sqrt(np.finfo(model.dtype).eps)
    for parameter in model.parameters:
        window = slice(start, start + parameter.size)
        start += parameter.size
        limit = tolerance * size[window].max(initial=0)
        if not np.all(difference[window] <= limit):  # also if it is not a number
            return False
    return True


def _row_by_row(model: Layer, inputs: tuple[Array, ...], deltas: Deltas) -> Any:
    """The same from separate backward passes for each row, which any layer allows."""
    batch, replica = len(inputs[0]), Replica(model)
    y = replica.forward(*inputs)
    # With other rows or random numbers in it, a row is not the same alone.
    is_alone = not _has_state(model) and not _coupled(model)
    found: list[Any] = []
    for row in range(batch):
        if is_alone:
            rows = slice(row, row + 1)
            its_deltas = deltas(replica.forward(*(x[rows] for x in inputs)), rows)
        else:
            its_deltas = _masked(deltas(y, slice(None)), row)
        for delta in its_deltas:
            replica.zero_grad()
            replica.backward_parameters(delta)
            found.append(replica.gradient())
    count = len(found) // batch if batch else sum(1 for _ in deltas(y, slice(None)))
    size = model.parameters.size
    if not found:
        return np.zeros((batch, count, size), model.dtype)
    return np.stack(found).reshape(batch, count, size)


def _masked(deltas: Iterator[Any], row: int) -> Iterator[Any]:
    """The deltas with zeros in all rows but one."""
    for delta in deltas:
        parts = [np.zeros_like(part) for part in as_tuple(delta)]
        for masked, part in zip(parts, as_tuple(delta), strict=True):
            masked[row] = part[row]
        yield one_or_tuple(parts)


# ------------------------------------------------------------------------------- arguments


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
    return input_checks.as_inputs(model, as_tuple(x))


def _moving(x: Array, direction: Any, level: int) -> Any:
    """The input as a Dual; integers do not move."""
    if x.dtype.kind != "f":
        return x
    return Dual(x, _like(x, direction, "dx"), level)


def _innermost(x: Any) -> npt.NDArray[Any]:
    """The value of the value of … a Dual."""
    while isinstance(x, Dual):
        x = x.value
    return x  # type: ignore[no-any-return]


def _like(y: Any, given: Any, name: str) -> Any:
    """``given`` as numbers with the shape and dtype of ``y``; None is zeros."""
    if isinstance(y, tuple):
        return tuple(_like(a, b, name) for a, b in _pairs(y, as_tuple(given), name))
    if given is None:
        return np.zeros(y.shape, y.dtype)
    array = as_numbers(given, y.dtype)
    if array.shape != y.shape:
        raise ShapeError(
            f"derivatives: {name} has the wrong shape",
            expected=y.shape,
            received=array.shape,
        )
    return array


def _pairs(one: Sequence[Any], two: Sequence[Any], name: str) -> list[tuple[Any, Any]]:
    if len(one) != len(two):
        raise ShapeError(
            f"derivatives: {name} has the wrong number of arrays",
            expected=f"{len(one)} array(s)",
            received=f"{len(two)} array(s)",
            hint="pass a tuple with one array each, or None for zeros" if len(one) > 1 else None,
        )
    return list(zip(one, two, strict=True))


def _has_state(model: Layer) -> bool:
    """Whether a pass may depend on the passes before it."""
    return bool(model.generators) or len(model.buffers) > 0


def _coupled(model: Layer) -> list[tuple[str, Layer]]:
    """The layers, with their paths, in which the rows of a batch influence each other."""
    return [(path, layer) for path, layer in model.walk() if layer.couples_batch]


def _refuse_coupled_rows(model: Layer, function: str) -> None:
    for path, layer in _coupled(model):
        raise ConfigurationError(
            f"{function}: the rows of a batch influence each other in {layer!r}",
            place=path or None,
            expected="layers that treat each row independently",
            received=f"{type(layer).__name__}.couples_batch is True",
            hint="use vjp or jvp for products with the Jacobian of the whole batch",
        )
