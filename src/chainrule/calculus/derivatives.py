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
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from chainrule.calculus import rows
from chainrule.calculus.dual import Dual
from chainrule.calculus.jet import Jet
from chainrule.calculus.objective import Objective as Objective
from chainrule.calculus.replicas import Replica as Replica
from chainrule.calculus.replicas import as_numbers, as_vector, as_vectors
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


def function(
    model: Layer, loss: Any, x: Any, t: Any = None, sample_weights: Any = None
) -> Objective:
    """The cost as a function of the parameters, for the minimizers of SciPy and others.

    Parameters
    ----------
    model, loss, x, t, sample_weights
        As in `value_and_gradient`.

    Returns
    -------
    Objective
        ``value(θ)``, ``value_and_gradient(θ)``, ``gradient(θ)`` and ``hvp(θ, v)``. None of them
        changes the model.

    Examples
    --------
    A straight line through four points:

    >>> from scipy.optimize import minimize
    >>> model = Sequential([Dense(1)])
    >>> model.build((1,), rng=0)
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> cost = derivatives.function(model, losses.HalfSquaredError(), x, 2 * x + 1)
    >>> start = model.parameters.value
    >>> result = minimize(
    ...     cost.value_and_gradient, start, jac=True, hessp=cost.hvp, method="trust-ncg"
    ... )
    >>> result.x.round(6)
    array([2., 1.])
    >>> model.parameters.value = result.x
    """
    _require_loss(loss)
    return Objective(model, loss, _inputs(model, x), t, sample_weights)


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

    Returns
    -------
    y, product
        The output, and the product with its shape; tuples for several outputs.

    Raises
    ------
    NoTangentRuleError
        If a layer calls a NumPy function that has no tangent rule.

    Notes
    -----
    With an additional first axis of length k, ``dx`` and ``dparameters`` are k directions at once,
    and so is the product: (k, *y.shape). They pass through the model together, as a `Jet`, which
    costs less than k products.
    """
    inputs = _inputs(model, x)
    directions = (None,) * len(inputs) if dx is None else as_tuple(dx)
    count = _count_of(model, inputs, directions, dparameters)
    if count is not None:
        return _several_jvp(model, inputs, directions, dparameters, count)
    vector = as_vector(model, dparameters)
    level = unused_level(model, inputs, directions, vector)
    replica = Replica(model, vector, level)
    pairs = _pairs(inputs, directions, "dx")
    y = replica.forward(*(_moving(i, d, level) for i, d in pairs))
    outputs = as_tuple(y)
    return one_or_tuple([o.value for o in outputs]), one_or_tuple([o.tangent for o in outputs])


def _count_of(model: Layer, inputs: Any, directions: Any, dparameters: Any) -> int | None:
    """How many directions are given, along a first axis; None if there is no such axis."""
    counts = {len(dparameters)} if np.ndim(dparameters) == 2 else set()
    for x, d in _pairs(inputs, directions, "dx"):
        if d is not None and np.ndim(d) == x.ndim + 1:
            counts.add(len(d))
    if len(counts) > 1:
        raise ShapeError(
            "jvp: different numbers of directions",
            expected="one number k for dx and dparameters",
            received=" and ".join(map(str, sorted(counts))),
        )
    return counts.pop() if counts else None


def _several_jvp(
    model: Layer, inputs: Any, directions: Any, dparameters: Any, count: int
) -> tuple[Any, Any]:
    """The products with k directions, which pass together, or one by one where a layer refuses."""
    vectors = None if dparameters is None else as_vectors(model, dparameters, count)
    level = unused_level(model, inputs, directions, vectors)
    try:
        replica = Replica(model, vectors, level)
        y = as_tuple(replica.forward(*map(partial(_jet, count, level), inputs, directions)))
    except NoTangentRuleError:
        if not count:
            raise
        each = []
        for n in range(count):
            dx = tuple([None if d is None else d[n] for d in directions])
            y, product = jvp(model, inputs, dx, None if vectors is None else vectors[n])
            each.append(as_tuple(product))
        return y, one_or_tuple([np.stack(products) for products in zip(*each, strict=True)])
    values = [o.value if isinstance(o, Jet) else o for o in y]
    products = [
        o.first if isinstance(o, Jet) else np.zeros((count, *o.shape), model.dtype) for o in y
    ]
    return one_or_tuple(values), one_or_tuple(products)


def _jet(count: int, level: int, x: Array, directions: Any) -> Any:
    """The input with its directions; integers do not move."""
    if x.dtype.kind != "f" or directions is None:
        return x
    each = as_numbers(directions, x.dtype)
    if each.shape != (count, *x.shape):
        raise ShapeError(
            "jvp: dx has the wrong shape", expected=(count, *x.shape), received=each.shape
        )
    return Jet(np.concatenate([x[np.newaxis], each]), (), level)


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
    parameters, it takes one `jvp` for each, many at once, if they are fewer than the entries of a
    row of the output, as in a `physics.NeuralODE` of a known equation. Otherwise it takes one
    backward pass for each entry, in which the rows are kept apart as in `row_gradients`. If that is
    impossible, it takes a `jvp` for each parameter, or a `vjp` for each row, whichever are fewer.
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
    were sums over rows. If a layer sums in another way, it takes a `jvp` for each parameter, many
    at once, or a backward pass for each row, whichever are fewer.
    """
    inputs = _inputs(model, x)
    parts = [None if d is None else as_numbers(d, model.dtype) for d in as_tuple(delta)]

    def given(y: Any, some: slice) -> Iterator[Any]:
        yield _like(y, one_or_tuple([_rows(d, some) for d in parts]), "delta")

    found = rows.apart(model, inputs, given)
    if found is None:
        jacobians = _parameter_columns(model, inputs, len(inputs[0]))
        if jacobians is not None:
            y = [np.empty(one.shape[:-1], model.dtype) for one in jacobians]
            deltas = as_tuple(next(given(one_or_tuple(y), slice(None))))
            flat = [np.reshape(j, (len(j), -1, j.shape[-1])) for j in jacobians]
            pairs = zip(deltas, flat, strict=True)
            each = [np.reshape(d, (len(d), 1, j.shape[1])) @ j for d, j in pairs]
            return sum(each[1:], each[0])[:, 0]
        found = rows.one_by_one(model, inputs, given)
    return found[:, 0]  # type: ignore[no-any-return]


def _rows(delta: Any, some: slice) -> Any:
    """Some rows, of anything that has rows."""
    return delta if delta is None or not delta.ndim else delta[some]


def per_sample_gradients(model: Layer, loss: Any, x: Any, t: Any = None) -> npt.NDArray[Any]:
    """The gradient ∂C_s/∂θ for each row s separately, with shape (batch, parameters.size).

    C_s is the cost of a batch of this one row, so the average over the rows of the result is the
    gradient of the whole batch. (If the loss ignores labels, the average is weighted with the
    number of labels in each row that count.)

    Parameters
    ----------
    model, loss, x, t
        As in `value_and_gradient`.

    Raises
    ------
    ConfigurationError
        If the rows of a batch influence each other.

    Notes
    -----
    The rows are kept apart as in `row_gradients`. A model with random numbers or buffers takes its
    own pass for each row, which meets the state that the model has now.
    """
    _require_loss(loss)
    _refuse_coupled_rows(model, "per_sample_gradients")
    inputs, is_one = _inputs(model, x), len(model.output_shapes) == 1
    each = (t,) if is_one else (None,) * len(model.output_shapes) if t is None else as_tuple(t)
    targets = [None if one is None else as_numbers(one, None) for one in each]

    known: list[Any] = [None, None]  # the last output, and its deltas

    def given(y: Any, some: slice) -> Iterator[Any]:
        if known[0] is not y:
            own = tuple([None if t is None else t[some] for t in targets])
            known[:] = y, rows.deltas_alone(loss, y, own)
        yield known[1]

    if not rows.has_state(model):
        return rows.of_each(model, inputs, given)[:, 0]  # type: ignore[no-any-return]
    gradients = [np.zeros((0, model.parameters.size), model.dtype)]
    for n in range(len(inputs[0])):
        row = slice(n, n + 1)
        of_row = rows.one_by_one(model, tuple([i[row] for i in inputs]), partial(_at, given, row))
        gradients.append(of_row[:, 0])
    return np.concatenate(gradients)


def _at(deltas: rows.Deltas, row: slice, y: Any, _: slice) -> Iterator[Any]:
    """The deltas of one row."""
    return deltas(y, row)


# ------------------------------------------------------------------------------- Jacobians

AT_ONCE = 32
"""How many directions pass through a model together."""


def _jacobian_of_input(model: Layer, inputs: tuple[Array, ...], number: int) -> list[Any]:
    """∂y/∂x of one input, for each output."""
    x = inputs[number]
    row = x.shape[1:]
    width = math.prod(row) if x.dtype.kind == "f" else 0  # an integer does not move
    units = np.eye(width, dtype=model.dtype).reshape(width, 1, *row if width else (0,))
    others = [None] * len(inputs)

    def product(block: slice) -> Any:
        each = np.broadcast_to(units[block], (len(units[block]), *x.shape))
        return jvp(model, inputs, (*others[:number], each, *others[number + 1 :]))[1]

    return _columns(model, inputs, product, row)


def _jacobian_of_parameters(model: Layer, inputs: tuple[Array, ...]) -> list[Any]:
    """∂y/∂θ for each output."""
    size, batch = model.parameters.size, len(inputs[0])
    columns = _parameter_columns(model, inputs, rows.row_size(model) - 1)
    if columns is not None:
        return columns  # type: ignore[no-any-return]
    shapes: list[Shape] = []

    def unit_deltas(y: Any, some: slice) -> Iterator[Any]:
        shapes[:] = [part.shape[1:] for part in as_tuple(y)]
        return rows.unit_deltas(y, some)

    found = rows.apart(model, inputs, unit_deltas)
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    if found is None:
        columns = _parameter_columns(model, inputs, batch * ends[-1])
        if columns is not None:
            return columns  # type: ignore[no-any-return]
        found = rows.one_by_one(model, inputs, rows.unit_deltas)
    parts = [found[:, end - math.prod(s) : end] for s, end in zip(shapes, ends, strict=True)]
    return [part.reshape(batch, *s, size) for s, part in zip(shapes, parts, strict=True)]


def _parameter_columns(model: Layer, inputs: tuple[Array, ...], most: int) -> Any:
    """∂y/∂θ from a direction for each parameter; None if these are too many, or a rule is missing.

    Layers that sum over the rows themselves allow it, as long as dual numbers can flow through.
    """
    size = model.parameters.size
    if size > most:
        return None
    units = np.eye(size, dtype=model.dtype)
    try:
        return _columns(
            model, inputs, lambda block: jvp(model, inputs, None, units[block])[1], (size,)
        )
    except NoTangentRuleError:
        return None


def _columns(
    model: Layer,
    inputs: tuple[Array, ...],
    product: Callable[[slice], Any],
    shape: Shape,
) -> list[Any]:
    """J e for each unit vector e of an array of this shape, for each output.

    ``product(block)`` is J for some of them. The last axes of the result count them.
    """
    size = math.prod(shape)
    blocks = [as_tuple(product(slice(n, n + AT_ONCE))) for n in range(0, size, AT_ONCE)]
    if not blocks:
        outputs = as_tuple(Replica(model).forward(*inputs))
        return [np.zeros((*y.shape, *shape), model.dtype) for y in outputs]
    joined = [np.concatenate(products) for products in zip(*blocks, strict=True)]
    return [np.copy(np.moveaxis(y, 0, -1)).reshape(*y.shape[1:], *shape) for y in joined]


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


def _refuse_coupled_rows(model: Layer, function: str) -> None:
    for path, layer in rows.coupled(model):
        raise ConfigurationError(
            f"{function}: the rows of a batch influence each other in {layer!r}",
            place=path or None,
            expected="layers that treat each row independently",
            received=f"{type(layer).__name__}.couples_batch is True",
            hint="use vjp or jvp for products with the Jacobian of the whole batch",
        )
