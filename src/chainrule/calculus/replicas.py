"""Replicas: copies of a model that compute with other numbers and never change the model.

A `Replica` has arrays or dual numbers as values, and gradients that can be dual numbers where the
values are arrays. A `RowReplica` keeps the contribution of each row to the gradient apart:

    z = y w   gives   ∂C/∂w = Σ_s y_s Δ_sᵀ,   here without the sum over the rows s
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from chainrule.calculus.dual import Dual
from chainrule.calculus.jet import Jet, JetDelta, level_in
from chainrule.core import input_checks, layer_state
from chainrule.core.arrays import as_array, is_array
from chainrule.core.errors import ConfigurationError, ShapeError
from chainrule.core.layer import Layer
from chainrule.core.parameter import Parameter
from chainrule.core.types import Array


class Replica:
    """A copy of a model that computes with other numbers and never changes the model.

    It shares the values of the parameters, and has its own gradients, buffers, generators and
    memory. Dual numbers can flow through both passes. If the input x moves with velocity v, the
    gradient moves as well, and its tangent is the gradient of a derivative:

        g(x + ε v) = J_θᵀ Δ + ε ∂/∂θ ⟨Δ, Jₓ v⟩

    The values of the parameters are then arrays, and their gradients dual numbers.

    Parameters
    ----------
    model
        A built model.
    dparameters
        The direction in which the parameters move, as one flat vector; their values are then dual
        numbers. Several directions, (k, size), make them jets. By default they do not move.
    level
        The level of these dual numbers; by default one that is not in use, as from `unused_level`.
    with_gradients
        Whether `backward` computes the gradients of the parameters; False saves the time.

    Attributes
    ----------
    layer : Layer
        The copy.
    parameters, buffers : list of Parameter
        Its parameters and buffers, in the order of ``model.parameters`` and ``model.buffers``.
    generators : list of numpy.random.Generator
        Its random generators, in the order of ``model.generators``.

    Raises
    ------
    BuildError
        If the model is not built.
    ShapeError
        If the direction does not fit the parameters.

    Examples
    --------
    The gradient of u″ with respect to the parameters of u(x) = w x³, by two nested velocities:

    >>> cube = Activation(lambda x: x**3, lambda x: 3 * x**2)
    >>> model = Sequential([cube, Dense(1, use_bias=False)])
    >>> model.build((1,), rng=0)
    >>> replica = derivatives.Replica(model)
    >>> u = replica.forward(Dual(Dual(np.array([[2.0]]), 1.0), 1.0))
    >>> delta = replica.backward(np.array([[1.0]]))
    >>> replica.gradient().tangent.tangent  # u″ = 6 w x, so ∂u″/∂w = 6 x
    array([12.])
    """

    def __init__(
        self,
        model: Layer,
        dparameters: Any = None,
        level: int | None = None,
        *,
        with_gradients: bool = True,
    ) -> None:
        is_several = np.ndim(dparameters) == 2
        if is_several:
            tangent = as_vectors(model, dparameters, len(dparameters))
        else:
            tangent = None if dparameters is None else as_vector(model, dparameters)
        vector = model.parameters
        if level is None:
            level = 1 + max(level_in(tangent), level_in([p.value for p in vector]))
        parts: dict[int, Any] = {}
        self.parameters: list[Parameter] = []
        start = 0
        for parameter in vector:
            value: Array = parameter.value
            if tangent is not None:
                window = tangent[..., start : start + parameter.size]
                window = window.reshape((*window.shape[:-1], *parameter.shape))
                if is_several:
                    value = Jet(np.concatenate([value[np.newaxis], window]), (), level)
                else:
                    value = Dual(value, window, level)
            self.parameters.append(self._parameter(parameter.path, value))
            self.parameters[-1]._trainable = with_gradients
            parts[id(parameter)] = self.parameters[-1]
            start += parameter.size
        buffers, generators = list(model.buffers), list(model.generators.values())
        self.buffers = [_ReplicaParameter(b.path, b.value.copy(), b.open_shape) for b in buffers]
        self.generators = [layer_state.copied_generator(g) for g in generators]
        parts.update(zip(map(id, buffers), self.buffers, strict=True))
        parts.update(zip(map(id, generators), self.generators, strict=True))
        self.layer = model.replica(parts)
        self._only_apply = _use_forward(self.layer)
        self._empty = np.zeros(0, model.dtype)
        self._levels: set[int] = set()
        moving = [] if tangent is None or is_several else [Dual(self._empty, self._empty, level)]
        self._take_levels_of([*moving, *(p.value for p in (*self.parameters, *self.buffers))])

    def forward(self, *inputs: Any) -> Any:
        """`Layer.forward` of the copy.

        If anything is a `Dual`, so is each output, even one that does not move.
        """
        admitted = input_checks.as_inputs(self.layer, inputs)
        self._take_levels_of(admitted)
        return self._with_all_levels(self.layer.forward(*admitted))

    def backward(self, delta: Any) -> Any:
        """`Layer.backward` of the copy; adds to its gradients, not to those of the model.

        If anything is a `Dual`, so is each delta that it returns.

        Raises
        ------
        ConfigurationError
            If the model is inside the `apply` of another layer, and one of its layers computes
            something else in `apply` than in `forward`.
        """
        self._require_forward()
        self._take_levels_of(delta)
        return self._with_all_levels(self.layer.backward(delta))

    def backward_parameters(self, delta: Any) -> None:
        """`backward` without ∂C/∂x."""
        self._require_forward()
        self._take_levels_of(delta)
        self.layer.backward_parameters(delta)

    def gradient(self) -> Any:
        """∂C/∂θ as one flat vector: a `Dual` if dual numbers went through, otherwise an array."""
        empty = self._with_all_levels(self._empty)
        return np.concatenate([empty, *(p.grad.ravel() for p in self.parameters)])

    def zero_grad(self) -> None:
        """Reset the gradients of the copy to zero."""
        for parameter in self.parameters:
            parameter.zero_grad()

    def _parameter(self, path: str, value: Array) -> Parameter:
        return _ReplicaParameter(path, value)

    def _require_forward(self) -> None:
        for path, layer in self._only_apply:
            raise ConfigurationError(
                f"derivatives: there is no backward pass through the apply of {layer!r}",
                place=path or None,
                expected="layers that compute the same in training and in inference",
                received="a layer with random numbers or buffers, inside a layer that applies",
                hint="jvp needs no backward pass; or keep such layers outside the one that "
                "differentiates",
            )

    def _take_levels_of(self, arrays: Any) -> None:
        """Make room in gradients and buffers for dual numbers of all levels in these arrays."""
        new = _levels_in(arrays) - self._levels
        if new:
            self._levels |= new
            for parameter in self.parameters:
                parameter.lift_gradient(self._levels)  # type: ignore[attr-defined]
            for buffer in self.buffers:
                buffer.lift_value(self._levels)

    def _with_all_levels(self, arrays: Any) -> Any:
        if isinstance(arrays, tuple):
            return tuple(self._with_all_levels(array) for array in arrays)
        if getattr(getattr(arrays, "dtype", None), "kind", None) != "f":
            return arrays
        return arrays if _levels_in(arrays) == self._levels else _lifted(arrays, self._levels)


Kept: TypeAlias = tuple[list[Any], Layer]
"""A copy of a model, with the fields and arrays that it was made for."""


def without_gradients(model: Layer, known: Kept | None = None) -> Kept:
    """A copy whose `backward` computes ∂C/∂x alone; that of an earlier call, if it still fits.

    A layer that differentiates a network inside uses it in its own `forward`, where the gradients
    of parameters are not wanted. Nothing has to be reset, and anything can flow through it.

    Parameters
    ----------
    model
        A built model.
    known
        What an earlier call has returned for it.
    """
    parameters = [p for _, member in model.walk() for p in member._parameters.values()]
    parts = [*layer_state.field_values(model), *(p.value for p in parameters)]
    if known is not None and layer_state.are_same(known[0], parts):
        return known
    layer = Replica(model, with_gradients=False).layer
    for _, member in layer.walk():
        # While the model is built, a container would run its layers one by one, each occurrence of
        # a shared one with the same memory. The copy has nothing left to build.
        member.__dict__["_rng"] = None
    return parts, layer


class RowReplica(Replica):
    """A replica that keeps the contributions of the rows of a batch to the gradients apart."""

    def __init__(self, model: Layer, batch: int) -> None:
        self._batch = batch
        super().__init__(model)

    def take_rows(self) -> Any:
        """What the last backward pass added, (batch, parameters.size), which is then forgotten.

        None if a layer added a sum over the rows.
        """
        taken = [parameter.take_rows() for parameter in self.parameters]  # type: ignore[attr-defined]
        if any(rows is None for rows in taken):
            return None
        empty = np.zeros((self._batch, 0), self._empty.dtype)
        flat = [rows.reshape(self._batch, math.prod(rows.shape[1:])) for rows in taken]
        return np.concatenate([empty, *flat], axis=1)

    def add_rows(self) -> None:
        """Sum over the rows from now on, as any replica does."""
        for parameter in self.parameters:
            parameter.add_rows()  # type: ignore[attr-defined]

    def _parameter(self, path: str, value: Array) -> Parameter:
        return _RowParameter(path, value, self._batch)


class _ReplicaParameter(Parameter):
    """A parameter or buffer of a replica."""

    __slots__ = ()

    def lift_gradient(self, levels: set[int]) -> None:
        """Make the gradient a Dual of all these levels."""
        self._grad = _lifted(self._gradient(), levels)

    def lift_value(self, levels: set[int]) -> None:
        """Make the value a Dual of all these levels."""
        self._value = _lifted(self._value, levels)


class _RowParameter(_ReplicaParameter):
    """A parameter that keeps the contributions of the rows to its gradient apart."""

    __slots__ = ("_adds_rows", "_batch", "_rows", "_was_summed")

    def __init__(self, name: str, value: Array, batch: int) -> None:
        super().__init__(name, value)
        self._batch = batch
        self._rows: Any = None
        self._was_summed = False
        self._adds_rows = False

    def add_rows(self) -> None:
        """Be an ordinary parameter from now on."""
        self._adds_rows = True
        self.zero_grad()

    def accumulate(self, gradient: Array) -> None:
        """Note that the layer itself has summed over the rows."""
        self._was_summed = True
        if self._adds_rows:
            super().accumulate(gradient)

    def accumulate_product(self, left: Array, right: Array) -> None:
        """Add the product of each row."""
        if self._adds_rows:
            super().accumulate_product(left, right)
            return
        if not self._trainable:
            return
        rows = _product_of_each_row(left, right, self._batch)
        if rows is None or rows.shape[1:] != self.shape or rows.dtype != self.dtype:
            self._was_summed = True
        else:
            self._rows = rows if self._rows is None else self._rows + rows

    @property
    def grad(self) -> Any:
        """Zeros, unless rows are added; a layer that asks for them adds a sum over the rows."""
        self._was_summed = True
        return super().grad

    @grad.setter
    def grad(self, new: Array) -> None:
        self._was_summed = True

    def take_rows(self) -> Any:
        """The contributions, (batch, *shape), which are then forgotten; None if a sum was added."""
        rows, self._rows = self._rows, None
        if self._was_summed:
            return None
        return np.zeros((self._batch, *self.shape), self.dtype) if rows is None else rows


def _product_of_each_row(left: Array, right: Array, batch: int) -> Any:
    """``left @ right`` for each row of the batch, if the product sums over the rows; or None.

    The axis of the sum has the length of the batch, or a multiple of it if each row has several
    entries. Whether it really is the batch, the caller must check.
    """
    count = left.shape[-1]
    each = count // max(batch, 1)
    if right.ndim > 2 or count != len(right) or count != batch * each:
        return None
    a, b = math.prod(left.shape[:-1]), math.prod(right.shape[1:])
    if isinstance(right, JetDelta):
        left, right, each = *_with_parts_inside(left, right), each * len(right.parts)
    columns = np.swapaxes(left.reshape(a, batch, each), 0, 1)  # (batch, a, each)
    rows = right.reshape(batch, each, b)
    products = columns * rows if each == 1 else columns @ rows
    return products.reshape(batch, *left.shape[:-1], *right.shape[1:])


def _with_parts_inside(left: Any, right: JetDelta) -> tuple[Any, Any]:
    """Arrays whose product is that of a jet and a delta for a constant, Σ_p left_p right_p."""
    parts = np.moveaxis(right.parts, 0, 1)  # (count, parts, …)
    if isinstance(left, Jet) and left.level == right.level:
        columns = np.moveaxis(left.parts, 0, -1)
    else:
        columns = np.zeros((*left.shape, parts.shape[1]), left.dtype, like=left)
        columns[..., 0] = left
    return (
        columns.reshape(*left.shape[:-1], left.shape[-1] * parts.shape[1]),
        parts.reshape(parts.shape[0] * parts.shape[1], *parts.shape[2:]),
    )


def unused_level(model: Layer, *arrays: Any) -> int:
    """A level for new dual numbers, above all that the model's parameters and arrays contain.

    A layer that differentiates a network inside needs it for its ``Dual(x, v, level)``. The layer
    itself may be differentiated at the same time, and two velocities of one level would be mistaken
    for the same.

    Parameters
    ----------
    model
        A built model.
    *arrays
        Arrays or dual numbers, also in tuples, that go through the model or serve as directions.
    """
    return 1 + max(level_in(arrays), level_in([p.value for p in model.parameters]))


def as_vector(model: Layer, v: Any) -> Any:
    """A direction of the parameters as a flat vector of their size; None is zeros."""
    size, dtype = model.parameters.size, model.dtype
    array = as_numbers(np.zeros(size) if v is None else v, dtype)
    if array.shape != (size,):
        raise ShapeError(
            "derivatives: the direction does not fit the parameters",
            expected=(size,),
            received=array.shape,
            hint="pass a flat vector with the size of model.parameters.value",
        )
    return array


def as_vectors(model: Layer, v: Any, count: int) -> Any:
    """Several directions of the parameters, (count, size)."""
    array = as_numbers(v, model.dtype)
    if array.shape != (count, model.parameters.size):
        raise ShapeError(
            "derivatives: the directions do not fit the parameters",
            expected=(count, model.parameters.size),
            received=array.shape,
            hint="pass one flat vector with the size of model.parameters.value for each direction",
        )
    return array


def as_numbers(x: Any, dtype: Any) -> Any:
    """An array of this dtype, or a Dual of it; the dtype stays if it is None."""
    if isinstance(x, Dual):
        return x if dtype is None or x.dtype == dtype else x.astype(dtype)
    if not isinstance(x, np.ndarray) and is_array(x):  # an array of another library
        return np.asarray(x, dtype=dtype)
    array = as_array("derivatives: an argument", x)
    return array if dtype is None else array.astype(dtype, copy=False)


def _use_forward(layer: Layer) -> list[tuple[str, Layer]]:
    """Let the layers that apply inside another one, if it is one of them, use their `forward`.

    Only `forward` can be followed by `backward`. A layer without random numbers and buffers
    computes the same in both. The others are returned, with their paths.
    """
    others = []
    for path, member in layer.walk():
        if member.__dict__.get("_applies"):
            if member._generators or member._buffers:
                others.append((path, member))
            else:
                member.__dict__["_applies"] = False
    return others


def _levels_in(x: Any) -> set[int]:
    """The levels of all dual numbers in x, also inside each other."""
    if isinstance(x, Dual):
        return {x.level} | _levels_in(x.value) | _levels_in(x.tangent)
    return set().union(*map(_levels_in, x)) if isinstance(x, list | tuple) else set()


def _lifted(x: Array, levels: set[int]) -> Any:
    """The numbers x as dual numbers of all these levels, with zeros for the missing tangents."""
    lifted: Any = np.zeros(x.shape, x.dtype)
    for level in sorted(levels):
        lifted = Dual(lifted, 0.0, level)
    lifted[...] = x
    return lifted
